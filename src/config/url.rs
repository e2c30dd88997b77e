use std::net::{IpAddr, Ipv6Addr};

use url::{Host, Url};

use super::ConfigError;

/// Where PostgREST lives behind Supabase's gateway.
const REST_PATH: &str = "/rest/v1";

/// The services behind Supabase's gateway, each below `/<name>/v1`.
const SERVICES: [&str; 7] = [
    "rest",
    "auth",
    "storage",
    "functions",
    "realtime",
    "graphql",
    "analytics",
];

/// The hosts of the dashboard.
const DASHBOARDS: [&str; 5] = [
    "supabase.com",
    "www.supabase.com",
    "app.supabase.com",
    "app.supabase.io",
    "supabase.io",
];

/// The host of the Management API.
const MANAGEMENT_HOST: &str = "api.supabase.com";

/// Makes the base of every request from what a person pasted.
pub(super) fn rest_url(pasted: &str, plain_http_host: Option<&str>) -> Result<Url, ConfigError> {
    let pasted = pasted.trim();
    let refuse = |reason: &str| {
        Err(ConfigError::Url {
            reason: reason.to_owned(),
        })
    };
    if pasted.is_empty() {
        return refuse("the URL is empty");
    }
    let small = pasted.to_ascii_lowercase();
    if small.starts_with("postgres://") || small.starts_with("postgresql://") {
        return refuse("this is a database connection string, not the address of the API");
    }
    let (slip, mended) = match slip(pasted) {
        Some((slip, mended)) => (Some(slip), mended),
        None => (None, with_scheme(pasted)),
    };
    let Ok(mut url) = Url::parse(&mended) else {
        return refuse("this is not a URL");
    };
    if !matches!(url.scheme(), "http" | "https") {
        return refuse("the URL must begin with https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("the URL has a user name or password in it");
    }
    let host = url.host_str().unwrap_or_default().to_owned();
    if DASHBOARDS.contains(&host.as_str()) {
        return match project_after(&url, "project") {
            Some(project) => Err(ConfigError::Dashboard {
                url: format!("https://{project}.supabase.co"),
            }),
            None => refuse("this is a page of the Supabase dashboard"),
        };
    }
    if host == MANAGEMENT_HOST {
        return match project_after(&url, "projects") {
            Some(project) => Err(ConfigError::OtherAddress {
                reason: "this is the Management API",
                url: format!("https://{project}.supabase.co"),
            }),
            None => refuse("this is the Management API, which is not the API of a project"),
        };
    }
    if let Some(project) = project_of_database(&host) {
        return Err(ConfigError::OtherAddress {
            reason: "this is the host of the database, not of the API",
            url: format!("https://{project}.supabase.co"),
        });
    }
    if let Some(reason) = slip {
        let origin = url.origin().ascii_serialization();
        let url = format!("{origin}{}", gateway_path(url.path()));
        return Err(ConfigError::OtherAddress { reason, url });
    }
    let allowed = plain_http_host.and_then(host_of);
    if url.scheme() == "http" && !is_loopback(&url) && allowed.as_deref() != Some(host.as_str()) {
        return Err(ConfigError::PlainHttp { host });
    }
    url.set_query(None);
    url.set_fragment(None);
    let path = format!("{}{REST_PATH}", gateway_path(url.path()));
    url.set_path(&path);
    Ok(url)
}

/// The address of the gateway behind which PostgREST is.
pub(super) fn gateway_url(rest_url: &Url) -> Url {
    let mut url = rest_url.clone();
    url.set_path(rest_url.path().trim_end_matches(REST_PATH));
    url
}

/// The project on supabase.co that a URL leads to.
pub(crate) fn hosted_project(rest_url: &Url) -> Option<&str> {
    let project = rest_url.host_str()?.strip_suffix(".supabase.co")?;
    (!project.contains('.')).then_some(project)
}

/// The path of the gateway, without that of a service behind it and what follows that.
fn gateway_path(path: &str) -> String {
    let segments: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let service = |pair: &[&str]| SERVICES.contains(&pair[0]) && pair[1] == "v1";
    let end = segments.windows(2).position(service).unwrap_or_else(|| {
        // postgres-meta has no version in its path.
        match segments[..] {
            [.., "pg"] => segments.len() - 1,
            [.., "pg", "query"] => segments.len() - 2,
            _ => segments.len(),
        }
    });
    segments[..end]
        .iter()
        .flat_map(|part| ["/", *part])
        .collect()
}

/// What is wrong at the beginning of a URL, and the URL without that.
fn slip(pasted: &str) -> Option<(&'static str, String)> {
    let (scheme, rest) = pasted.split_once(':')?;
    let is_http = |text: &str| {
        ["http", "https"]
            .iter()
            .any(|http| text.eq_ignore_ascii_case(http))
    };
    if !is_http(scheme) || !rest.starts_with('/') {
        return None;
    }
    let Some(rest) = rest.strip_prefix("//") else {
        let reason = "a slash is missing at the beginning of the URL";
        return Some((reason, format!("{scheme}:/{rest}")));
    };
    let (inner, _) = rest.split_once(":/")?;
    let mended = slip(rest).map_or_else(|| rest.to_owned(), |(_, mended)| mended);
    is_http(inner).then_some(("the URL has http:// or https:// twice", mended))
}

/// The host in a setting that may have been given with its scheme or port, as a URL has it.
fn host_of(setting: &str) -> Option<String> {
    let host = setting.trim();
    let host = host.split_once("://").map_or(host, |(_, rest)| rest);
    let host = match host.parse::<Ipv6Addr>() {
        Ok(_) => format!("[{host}]"),
        Err(_) => host.to_owned(),
    };
    let url = Url::parse(&format!("http://{host}")).ok()?;
    url.host_str().map(str::to_owned)
}

/// The project whose database has this host.
fn project_of_database(host: &str) -> Option<&str> {
    let project = host.strip_prefix("db.")?.strip_suffix(".supabase.co")?;
    (!project.contains('.')).then_some(project)
}

/// The project that a page is about, as in `/dashboard/project/<ref>/editor`.
fn project_after<'a>(url: &'a Url, name: &str) -> Option<&'a str> {
    let mut segments = url
        .path_segments()?
        .skip_while(|part| *part != name)
        .skip(1);
    let is_ref =
        |part: &&str| part.len() == 20 && part.bytes().all(|byte| byte.is_ascii_lowercase());
    segments.next().filter(is_ref)
}

/// Whether a URL leads to this computer.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

fn with_scheme(pasted: &str) -> String {
    if pasted.contains("://") {
        return pasted.to_owned();
    }
    // Without a scheme `localhost:54321` would parse as the scheme `localhost`.
    match Url::parse(&format!("http://{pasted}")) {
        Ok(url) if is_loopback(&url) => format!("http://{pasted}"),
        _ => format!("https://{pasted}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_in_every_form_that_people_paste() {
        for (pasted, expected) in [
            ("https://abc.supabase.co", "https://abc.supabase.co/rest/v1"),
            (
                " https://abc.supabase.co/\n",
                "https://abc.supabase.co/rest/v1",
            ),
            (
                "https://abc.supabase.co///",
                "https://abc.supabase.co/rest/v1",
            ),
            (
                "https://abc.supabase.co/rest/v1",
                "https://abc.supabase.co/rest/v1",
            ),
            (
                "https://abc.supabase.co/rest/v1/",
                "https://abc.supabase.co/rest/v1",
            ),
            ("HTTPS://ABC.supabase.co", "https://abc.supabase.co/rest/v1"),
            ("abc.supabase.co", "https://abc.supabase.co/rest/v1"),
            (
                "https://abc.supabase.co/?apikey=x#top",
                "https://abc.supabase.co/rest/v1",
            ),
            (
                "https://example.org:8443/supabase",
                "https://example.org:8443/supabase/rest/v1",
            ),
            (
                "https://example.org/supabase/rest/v1/",
                "https://example.org/supabase/rest/v1",
            ),
            (
                "https://abc.supabase.co/auth/v1",
                "https://abc.supabase.co/rest/v1",
            ),
            (
                "https://abc.supabase.co/storage/v1/object/a",
                "https://abc.supabase.co/rest/v1",
            ),
            (
                "https://abc.supabase.co/functions/v1/hello",
                "https://abc.supabase.co/rest/v1",
            ),
            (
                "https://abc.supabase.co/realtime/v1/",
                "https://abc.supabase.co/rest/v1",
            ),
            (
                "https://abc.supabase.co/graphql/v1",
                "https://abc.supabase.co/rest/v1",
            ),
            (
                "https://abc.supabase.co/rest/v1/ctx0_entries?select=*",
                "https://abc.supabase.co/rest/v1",
            ),
            (
                "https://abc.supabase.co//rest//v1//rpc/f",
                "https://abc.supabase.co/rest/v1",
            ),
            (
                "https://example.org/proxy/auth/v1/health",
                "https://example.org/proxy/rest/v1",
            ),
            (
                "https://example.org/proxy/pg/",
                "https://example.org/proxy/rest/v1",
            ),
            (
                "https://example.org/pg/query",
                "https://example.org/rest/v1",
            ),
            (
                "https://example.org/pg/proxy",
                "https://example.org/pg/proxy/rest/v1",
            ),
            (
                "https://example.org/rest",
                "https://example.org/rest/rest/v1",
            ),
            ("http://127.0.0.1:54321", "http://127.0.0.1:54321/rest/v1"),
            ("127.0.0.1:54321", "http://127.0.0.1:54321/rest/v1"),
            ("localhost:54321", "http://localhost:54321/rest/v1"),
            ("http://[::1]:54321/", "http://[::1]:54321/rest/v1"),
            ("http://api.localhost", "http://api.localhost/rest/v1"),
        ] {
            assert_eq!(
                rest_url(pasted, None).unwrap().as_str(),
                expected,
                "{pasted}"
            );
        }
    }

    #[test]
    fn what_cannot_be_a_project_is_refused() {
        for pasted in [
            "",
            "   ",
            "https://",
            "not a url",
            "ftp://abc.supabase.co",
            "file:///etc/passwd",
            "https://user:password@abc.supabase.co",
            "postgresql://postgres:secret@db.abc.supabase.co:5432/postgres",
            "https://supabase.com/dashboard/project/abc",
        ] {
            assert!(
                matches!(rest_url(pasted, None), Err(ConfigError::Url { .. })),
                "{pasted}"
            );
        }
    }

    #[test]
    fn a_page_of_the_dashboard_names_the_project() {
        let project = "abcdefghijklmnopqrst";
        for page in [
            "https://supabase.com/dashboard/project/abcdefghijklmnopqrst",
            "www.supabase.com/dashboard/project/abcdefghijklmnopqrst/editor/17?schema=public",
            "https://app.supabase.com/project/abcdefghijklmnopqrst/settings/api",
        ] {
            let error = rest_url(page, None).unwrap_err().to_string();
            assert!(
                error.ends_with(&format!("https://{project}.supabase.co")),
                "{error}"
            );
        }
        for page in [
            "https://www.supabase.com",
            "https://supabase.com/dashboard/project/_/sql",
        ] {
            assert!(
                matches!(rest_url(page, None), Err(ConfigError::Url { .. })),
                "{page}"
            );
        }
    }

    #[test]
    fn an_address_that_is_not_the_project_s_names_the_one_that_is() {
        let project = "https://abcdefghijklmnopqrst.supabase.co";
        for (pasted, expected) in [
            (
                "https://api.supabase.com/v1/projects/abcdefghijklmnopqrst",
                project,
            ),
            (
                "api.supabase.com/v1/projects/abcdefghijklmnopqrst/database/query",
                project,
            ),
            ("db.abcdefghijklmnopqrst.supabase.co", project),
            ("https://DB.abcdefghijklmnopqrst.supabase.co:5432", project),
            (
                "https://https://abcdefghijklmnopqrst.supabase.co/rest/v1",
                project,
            ),
            ("HTTPS://http:/127.0.0.1:8000/", "http://127.0.0.1:8000"),
            ("http:/127.0.0.1:8000", "http://127.0.0.1:8000"),
            (
                "https:/example.org/supabase/",
                "https://example.org/supabase",
            ),
        ] {
            let error = rest_url(pasted, None).unwrap_err();
            assert!(
                matches!(&error, ConfigError::OtherAddress { url, .. } if url == expected),
                "{pasted}: {error}"
            );
        }
        for pasted in [
            "https://api.supabase.com",
            "POSTGRESQL://postgres:hush@db.abc.supabase.co/postgres",
            "https://https://me:hush@abc.supabase.co",
        ] {
            let error = rest_url(pasted, None).unwrap_err();
            assert!(
                matches!(error, ConfigError::Url { .. }),
                "{pasted}: {error}"
            );
            assert!(!error.to_string().contains("hush"), "{error}");
        }
        // A host may be called so.
        let rest = rest_url("https://http.example.org/https:/x", None).unwrap();
        assert_eq!(rest.host_str(), Some("http.example.org"));
    }

    #[test]
    fn the_allowed_host_may_have_capitals_a_scheme_or_a_port() {
        for (url, host) in [
            ("http://Kong:8000", "Kong"),
            ("http://kong:8000", "KONG"),
            ("http://kong:8000", "kong:8000"),
            ("http://kong:8000", " http://kong:8000/ "),
            ("http://[FD00::1]:8000", "fd00::1"),
            ("http://[fd00::1]:8000", "[FD00::1]"),
            ("http://[fd00:0::1]:8000", "http://[fd00::1]:8000"),
        ] {
            assert!(rest_url(url, Some(host)).is_ok(), "{url} {host}");
        }
        for host in ["", "kong.example.org", "example.org/kong", "*", "http://"] {
            assert!(rest_url("http://kong:8000", Some(host)).is_err(), "{host}");
        }
    }

    #[test]
    fn plain_http_goes_to_loopback_only_unless_the_host_is_allowed_by_name() {
        let refused = |url, host| matches!(rest_url(url, host), Err(ConfigError::PlainHttp { .. }));
        assert!(refused("http://abc.supabase.co", None));
        assert!(refused("http://192.168.1.5:8000", None));
        assert!(refused("http://192.168.1.5:8000", Some("192.168.1.6")));
        assert!(refused("http://localhost.example.org", None));
        assert!(!refused("http://192.168.1.5:8000", Some("192.168.1.5")));
        assert!(!refused("http://127.8.8.8", None));
    }
}
