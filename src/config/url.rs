use std::net::IpAddr;

use url::{Host, Url};

use super::ConfigError;

/// Where PostgREST lives behind Supabase's gateway.
const REST_PATH: &str = "/rest/v1";

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
    if pasted.starts_with("postgres://") || pasted.starts_with("postgresql://") {
        return refuse("this is the connection string of the database, which is not used");
    }
    let Ok(mut url) = Url::parse(&with_scheme(pasted)) else {
        return refuse("this is not a URL");
    };
    if !matches!(url.scheme(), "http" | "https") {
        return refuse("the URL must begin with https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("the URL has a user name or password in it");
    }
    let host = url.host_str().unwrap_or_default().to_owned();
    if matches!(host.as_str(), "supabase.com" | "app.supabase.com") {
        return refuse("this is the page of the dashboard");
    }
    if url.scheme() == "http" && !is_loopback(&url) && plain_http_host != Some(host.as_str()) {
        return Err(ConfigError::PlainHttp { host });
    }
    url.set_query(None);
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').to_owned();
    let prefix = path
        .strip_suffix(REST_PATH)
        .unwrap_or(&path)
        .trim_end_matches('/')
        .to_owned();
    url.set_path(&format!("{prefix}{REST_PATH}"));
    Ok(url)
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
