//! Where a project runs SQL: over HTTP besides PostgREST, and in its editor.

use std::fmt;

use url::Url;

use super::{
    ConfigError, key,
    url::{gateway_url, hosted_project, is_loopback},
};

/// The Management API of hosted projects.
pub(super) const MANAGEMENT_API: &str = "https://api.supabase.com";

/// The ports of the local Supabase CLI: its gateway, and Studio.
pub(crate) const LOCAL_CLI: u16 = 54321;
const LOCAL_STUDIO: u16 = 54323;

/// What runs SQL over HTTP.
#[derive(Clone, Debug)]
pub(crate) enum SqlApi {
    /// postgres-meta behind the gateway of a self-hosted installation, open to the service key.
    PostgresMeta { url: Url },
    /// The Management API of a hosted project, open to a personal access token.
    Management { url: Url, token: AccessToken },
}

impl SqlApi {
    /// That of a project. `None`: it is hosted, and there is no token.
    pub(super) fn of(
        rest_url: &Url,
        project: Option<&str>,
        token: Option<AccessToken>,
        management: &Url,
    ) -> Option<Self> {
        let below = |base: &Url, path: &str| {
            let mut url = base.clone();
            url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
            url
        };
        match (project, token) {
            (Some(project), Some(token)) => {
                let path = format!("/v1/projects/{project}/database/query");
                let url = below(management, &path);
                Some(Self::Management { url, token })
            }
            (Some(_), None) => None,
            (None, _) => Some(Self::PostgresMeta {
                url: below(&gateway_url(rest_url), "/pg/query"),
            }),
        }
    }
}

/// A personal access token of the Management API. It is never printed.
#[derive(Clone)]
pub(crate) struct AccessToken(String);

impl AccessToken {
    pub(super) fn new(text: &str) -> Result<Self, ConfigError> {
        let of_a_project = text.starts_with("sb_") || text.starts_with("ey");
        if text.is_empty() || of_a_project || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ConfigError::AccessToken);
        }
        Ok(Self(text.to_owned()))
    }

    /// The value of the header `Authorization`.
    pub(crate) fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// The text without the token and without long pieces of it, should a server have repeated them.
    pub(crate) fn redact(&self, text: &str) -> String {
        key::redact(&self.0, text)
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The project of these names: one that was set, or that of a host of supabase.co.
pub(super) fn project(rest_url: &Url, set: Option<String>) -> Result<Option<String>, ConfigError> {
    let Some(set) = set else {
        return Ok(hosted_project(rest_url).map(str::to_owned));
    };
    if set.is_empty() || !set.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(ConfigError::ProjectRef);
    }
    Ok(Some(set))
}

pub(super) fn management_api(text: &str) -> Result<Url, ConfigError> {
    let url = Url::parse(text).map_err(|_| ConfigError::ManagementApi)?;
    let safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    if safe && url.username().is_empty() && url.password().is_none() {
        Ok(url)
    } else {
        Err(ConfigError::ManagementApi)
    }
}

/// The page on which SQL is pasted. `None` where only the operator knows it.
pub(super) fn editor_url(rest_url: &Url, project: Option<&str>) -> Option<String> {
    const PAGE: &str = "/project/default/sql/new";
    if let Some(project) = project {
        return Some(format!(
            "https://supabase.com/dashboard/project/{project}/sql/new"
        ));
    }
    let mut url = gateway_url(rest_url);
    if is_loopback(rest_url) && rest_url.port() == Some(LOCAL_CLI) {
        url.set_port(Some(LOCAL_STUDIO)).ok()?;
    } else if url.path() != "/" {
        // Studio is behind the same gateway, but not below a path of its own.
        return None;
    }
    url.set_path(PAGE);
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn sql_runs_where_the_project_has_an_interface_for_it() {
        let token = || AccessToken::new("sbp_test").unwrap();
        let management = url(MANAGEMENT_API);
        let of = |rest: &str, token| {
            let rest = url(rest);
            SqlApi::of(&rest, hosted_project(&rest), token, &management)
        };
        for (rest, expected) in [
            (
                "http://127.0.0.1:54321/rest/v1",
                "http://127.0.0.1:54321/pg/query",
            ),
            (
                "https://db.example.org/rest/v1",
                "https://db.example.org/pg/query",
            ),
            (
                "https://example.org/supabase/rest/v1",
                "https://example.org/supabase/pg/query",
            ),
        ] {
            for token in [None, Some(token())] {
                let Some(SqlApi::PostgresMeta { url }) = of(rest, token) else {
                    panic!("{rest}")
                };
                assert_eq!(url.as_str(), expected);
            }
        }
        let hosted = "https://abcdefghijklmnopqrst.supabase.co/rest/v1";
        assert!(of(hosted, None).is_none());
        let Some(SqlApi::Management { url, .. }) = of(hosted, Some(token())) else {
            panic!("the Management API")
        };
        assert_eq!(
            url.as_str(),
            "https://api.supabase.com/v1/projects/abcdefghijklmnopqrst/database/query"
        );
    }

    #[test]
    fn the_editor_is_that_of_the_project() {
        for (rest, expected) in [
            (
                "https://abcdefghijklmnopqrst.supabase.co/rest/v1",
                Some("https://supabase.com/dashboard/project/abcdefghijklmnopqrst/sql/new"),
            ),
            (
                "http://127.0.0.1:54321/rest/v1",
                Some("http://127.0.0.1:54323/project/default/sql/new"),
            ),
            (
                "https://db.example.org/rest/v1",
                Some("https://db.example.org/project/default/sql/new"),
            ),
            ("https://example.org/supabase/rest/v1", None),
        ] {
            let rest = url(rest);
            let editor = editor_url(&rest, hosted_project(&rest));
            assert_eq!(editor.as_deref(), expected);
        }
    }

    #[test]
    fn a_token_is_refused_that_is_a_key_or_was_not_copied_whole_and_is_never_printed() {
        for text in [
            "",
            "sbp_a b",
            "sbp_a\n",
            "sb_secret_a",
            "eyJhbGciOiJIUzI1NiJ9.a.b",
        ] {
            assert!(
                matches!(AccessToken::new(text), Err(ConfigError::AccessToken)),
                "{text}"
            );
        }
        let token = AccessToken::new("sbp_hush").unwrap();
        assert_eq!(format!("{token:?}"), "[redacted]");
        assert_eq!(token.redact("no sbp_hush here"), "no [redacted] here");
    }

    #[test]
    fn the_token_goes_nowhere_unencrypted() {
        for (text, accepted) in [
            ("https://api.supabase.com", true),
            ("http://127.0.0.1:9", true),
            ("http://api.supabase.com", false),
            ("https://me:hush@api.supabase.com", false),
            ("api.supabase.com", false),
        ] {
            assert_eq!(management_api(text).is_ok(), accepted, "{text}");
        }
    }
}
