//! The only file that knows `postgrest` and `reqwest`.
//!
//! `postgrest` 1.6 builds the request, and reqwest 0.13 sends it. The reqwest 0.11 that
//! `postgrest` brings has a TLS stack that is no longer maintained, and its header setters would
//! keep the key in a value that `Debug` prints. So `postgrest` gets no secret, and the method,
//! URL and headers of what it built are copied into a new request.

use std::{
    error::Error as StdError,
    io,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use postgrest::Postgrest;
use reqwest::{
    Client, Method, StatusCode, Url,
    header::{
        AUTHORIZATION, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
        LOCATION, RETRY_AFTER, SERVER, WWW_AUTHENTICATE,
    },
    redirect,
};

use super::{
    BoxError, BoxFuture, HttpResponse, MAX_RESPONSE_BYTES, Request, Transport, TransportError,
};
use crate::config::{Config, ConfigError, ServiceKey, SqlApi};

/// How long a document may take, and how large it may be: it must not hold up what it is read for.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

const SCHEMA: &str = "public";
const APIKEY: HeaderName = HeaderName::from_static("apikey");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const CONTENT_PROFILE: HeaderName = HeaderName::from_static("content-profile");

pub(crate) struct Http {
    builder: Postgrest,
    client: Client,
    secrets: HeaderMap,
    key: ServiceKey,
    sql_api: Option<SqlApi>,
    /// The proxy of the environment, where one is used.
    proxy: Option<String>,
    /// The User-Agent, where it looks like a browser's and the key is a secret one.
    sent_as_browser: Option<String>,
    /// Whether rows were read.
    reads_pass: AtomicBool,
}

impl Http {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            builder: Postgrest::new(config.rest_url.as_str()).schema(SCHEMA),
            client: client(&config.rest_url, config)?,
            secrets: secret_headers(&config.key)?,
            key: config.key.clone(),
            sql_api: config.sql_api.clone(),
            proxy: proxy(&config.rest_url),
            sent_as_browser: (config.key.authorization().is_none()
                && config.user_agent.starts_with("Mozilla/"))
            .then(|| config.user_agent.clone()),
            reads_pass: AtomicBool::new(false),
        })
    }

    fn build(&self, request: &Request, timeout: Duration) -> Result<reqwest::Request, BoxError> {
        let mut body = Bytes::new();
        let built = match request {
            Request::Rows { table, above } => {
                // `*`, because a ledger made by hand has fewer columns than an installed one.
                let rows = self
                    .builder
                    .from(table)
                    .select("*")
                    .order("version.asc")
                    .exact_count()
                    // `exact_count` wants nothing but the count, so it asks for one row only.
                    .range(0, i32::MAX as usize);
                if above.get() == 0 {
                    rows
                } else {
                    rows.gt("version", above.to_string())
                }
            }
            // The builder would copy the arguments, which may be megabytes.
            Request::Function {
                name, arguments, ..
            } => {
                body = arguments.clone();
                self.builder.rpc(name, "")
            }
            Request::Sql { text, with_key } => return self.build_sql(text, *with_key, timeout),
        }
        .build()
        .build()?;

        let mut request = reqwest::Request::new(
            Method::from_bytes(built.method().as_str().as_bytes())?,
            Url::parse(built.url().as_str())?,
        );
        for (name, value) in built.headers() {
            let name = HeaderName::from_bytes(name.as_str().as_bytes())?;
            request
                .headers_mut()
                .insert(name, HeaderValue::from_bytes(value.as_bytes())?);
        }
        request.headers_mut().extend(self.secrets.clone());
        *request.timeout_mut() = Some(timeout);
        if !body.is_empty() {
            *request.body_mut() = Some(body.into());
        }
        Ok(request)
    }

    /// The request that runs SQL, which `postgrest` does not build.
    fn build_sql(
        &self,
        sql: &str,
        with_key: bool,
        timeout: Duration,
    ) -> Result<reqwest::Request, BoxError> {
        let (url, secrets) = match &self.sql_api {
            Some(SqlApi::PostgresMeta { url }) => (url, self.secrets.clone()),
            Some(SqlApi::Management { url, token }) => {
                let token = secret_header(&token.authorization())?;
                (url, HeaderMap::from_iter([(AUTHORIZATION, token)]))
            }
            None => return Err("nothing runs SQL over HTTP here".into()),
        };
        let mut request = reqwest::Request::new(Method::POST, url.clone());
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if with_key {
            headers.extend(secrets);
        }
        *request.timeout_mut() = Some(timeout);
        *request.body_mut() = Some(serde_json::json!({ "query": sql }).to_string().into());
        Ok(request)
    }

    /// A text of a server without the secrets in it.
    fn redact(&self, text: &str) -> String {
        let text = self.key.redact(text);
        match &self.sql_api {
            Some(SqlApi::Management { token, .. }) => token.redact(&text),
            Some(SqlApi::PostgresMeta { .. }) | None => text,
        }
    }

    async fn exchange(
        &self,
        request: &Request,
        timeout: Duration,
    ) -> Result<HttpResponse, TransportError> {
        let reads = matches!(request, Request::Rows { .. });
        let request = self.build(request, timeout).map_err(TransportError::Lost)?;
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = match self.client.execute(request).await {
            Ok(response) => self
                .read(response)
                .await
                .map_err(|error| self.transport_error(error, timeout))?,
            Err(error) => Err(self.transport_error(error, timeout)),
        };
        match &response {
            Ok(response) => {
                if reads && response.status < 300 && response.body.starts_with('[') {
                    self.reads_pass.store(true, Ordering::Relaxed);
                }
                tracing::debug!(%method, path, status = response.status, bytes = response.body.len(), "response");
            }
            Err(error) => tracing::debug!(%method, path, ?error, "no response"),
        }
        response
    }

    fn transport_error(&self, error: reqwest::Error, timeout: Duration) -> TransportError {
        let error = error.without_url();
        if error.is_connect() {
            if says(&error, "InvalidContentType") {
                TransportError::NotTls(error.into())
            } else if is_tls(&error) {
                TransportError::Tls(error.into())
            } else {
                TransportError::Unreachable(self.proxy.clone(), error.into())
            }
        } else if error.is_timeout() {
            TransportError::Timeout(timeout)
        } else if says(&error, "invalid HTTP version") || says(&error, "unexpected message") {
            TransportError::NotHttp(error.into())
        } else {
            TransportError::Lost(error.into())
        }
    }

    /// Reads a response up to the bound. The outer error is the connection's.
    async fn read(
        &self,
        mut response: reqwest::Response,
    ) -> Result<Result<HttpResponse, TransportError>, reqwest::Error> {
        let text = |name: HeaderName| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let without_query = |location: String| {
            location
                .split(['?', '#'])
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let mut read = HttpResponse {
            status: response.status().as_u16(),
            total: text(reqwest::header::CONTENT_RANGE)
                .and_then(|range| range.rsplit_once('/')?.1.parse().ok()),
            retry_after: retry_after(response.headers(), SystemTime::now()),
            date: text(DATE).and_then(|date| httpdate::parse_http_date(&date).ok()),
            server: text(SERVER).map(|server| self.redact(&server)),
            proxy_status: text(PROXY_STATUS),
            content_profile: text(CONTENT_PROFILE),
            www_authenticate: text(WWW_AUTHENTICATE),
            sent_as_browser: self.sent_as_browser.clone(),
            leaves_host: text(LOCATION)
                .and_then(|location| response.url().join(&location).ok())
                .is_some_and(|location| location.host() != response.url().host()),
            location: text(LOCATION).map(|location| self.redact(&without_query(location))),
            reads_pass: self.reads_pass.load(Ordering::Relaxed),
            body: String::new(),
        };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
                return Ok(Err(TransportError::TooLong));
            }
            body.extend_from_slice(&chunk);
        }
        read.body = self.redact(&String::from_utf8_lossy(&body));
        Ok(Ok(read))
    }
}

impl Transport for Http {
    fn send<'a>(
        &'a self,
        request: &'a Request,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<HttpResponse, TransportError>> {
        Box::pin(self.exchange(request, timeout))
    }
}

/// A document that is not the project's. It is read without a secret: there is none here to send.
pub(crate) struct Document {
    client: Client,
    url: Url,
}

/// What has become of a document.
pub(crate) enum Fetched {
    New {
        body: Vec<u8>,
        etag: Option<String>,
    },
    /// It is as it was with the ETag of the request.
    Unchanged,
}

impl Document {
    pub(crate) fn new(url: &Url, config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            client: client(url, config)?,
            url: url.clone(),
        })
    }

    /// Reads it once, or says why not.
    pub(crate) async fn fetch(&self, etag: Option<&str>) -> Result<Fetched, String> {
        let mut request = reqwest::Request::new(Method::GET, self.url.clone());
        *request.timeout_mut() = Some(DOCUMENT_TIMEOUT);
        if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            request.headers_mut().insert(IF_NONE_MATCH, etag);
        }
        let failed = |error: reqwest::Error| {
            let error = error.without_url();
            match causes(&error).last() {
                _ if error.is_timeout() => {
                    format!("no response within {} s", DOCUMENT_TIMEOUT.as_secs())
                }
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            }
        };
        let mut response = self.client.execute(request).await.map_err(failed)?;
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED {
            return Ok(Fetched::Unchanged);
        } else if status.is_redirection() {
            return Err(format!(
                "status {}, and redirects are not followed",
                status.as_u16()
            ));
        } else if status != StatusCode::OK {
            return Err(format!("status {}", status.as_u16()));
        }
        let etag = response.headers().get(ETAG);
        let etag = etag.and_then(|etag| Some(etag.to_str().ok()?.to_owned()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_DOCUMENT_BYTES {
                return Err(format!(
                    "it is larger than {} KiB",
                    MAX_DOCUMENT_BYTES / 1024
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched::New { body, etag })
    }
}

/// A client for one server.
fn client(url: &Url, config: &Config) -> Result<Client, ConfigError> {
    let client_error = |error: reqwest::Error| ConfigError::Client {
        source: error.without_url().into(),
    };
    let mut client = Client::builder()
        .user_agent(&config.user_agent)
        .connect_timeout(config.connect_timeout)
        // A redirect would take the header `apikey` along to another host.
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false);
    let is_plain = url.scheme() == "http";
    if is_plain {
        // A proxy would see the key; over https it only sees a tunnel.
        client = client.no_proxy();
    }
    client = match &config.ca_pem {
        // No certificate is looked at, so the system's authorities, which may not be installed, are not wanted.
        None if is_plain => client.tls_certs_only([]),
        ca_pem => {
            let tls = config.trust.tls(ca_pem.as_deref());
            client.tls_backend_preconfigured(tls.map_err(|source| ConfigError::Client { source })?)
        }
    };
    client.build().map_err(client_error)
}

fn secret_headers(key: &ServiceKey) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::from_iter([(APIKEY, secret_header(key.apikey())?)]);
    if let Some(bearer) = key.authorization() {
        headers.insert(AUTHORIZATION, secret_header(&bearer)?);
    }
    Ok(headers)
}

fn secret_header(text: &str) -> Result<HeaderValue, ConfigError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| crate::config::KeyError::Character)?;
    // Keeps it out of `Debug` and out of the table by which HTTP/2 compresses headers.
    value.set_sensitive(true);
    Ok(value)
}

/// The delay that `Retry-After` asks for, in seconds or until a date. The date counts from the
/// server's own clock where it sends one, since this computer's may be wrong.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name| Some(headers.get(name)?.to_str().ok()?.trim());
    let date = |text| httpdate::parse_http_date(text).ok();
    let value = text(RETRY_AFTER)?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now = text(DATE).and_then(date).unwrap_or(now);
    Some(date(value)?.duration_since(now).unwrap_or_default())
}

/// What a client of reqwest 0.13 reads from the environment for `https://`, without user name
/// and password; none where `NO_PROXY` names the host.
fn proxy(url: &Url) -> Option<String> {
    let read = |names: &[&'static str]| {
        let set = |name: &&'static str| Some((*name, std::env::var(name).ok()?));
        let mut values = names.iter().filter_map(set);
        values.find(|(_, value)| !value.trim().is_empty())
    };
    let host = url.host_str()?;
    let (_, exceptions) = read(&["NO_PROXY", "no_proxy"]).unwrap_or_default();
    let excepted = exceptions.split(',').map(str::trim).any(|name| {
        let name = name.trim_start_matches('.');
        name == "*" || host == name || (!name.is_empty() && host.ends_with(&format!(".{name}")))
    });
    if url.scheme() != "https" || excepted {
        return None;
    }
    let (variable, proxy) = read(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])?;
    let address = proxy.rsplit('@').next().unwrap_or_default();
    let address = address.rsplit("//").next().unwrap_or_default();
    Some(format!("{} of {variable}", address.trim_end_matches('/')))
}

/// What an error is by the texts below it: the types are of libraries that only reqwest knows.
fn says(error: &reqwest::Error, what: &str) -> bool {
    causes(error).any(|cause| cause.to_string().contains(what))
}

/// The TLS library reports what it does not trust as invalid data of the stream.
fn is_tls(error: &reqwest::Error) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::InvalidData)
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |cause| inner(*cause))
}

/// What an error wraps: an `io::Error` leaves that out of its `source`, which is one further down.
fn inner<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(error) => Some(error.get_ref()?),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_2_keeps_the_key_out_of_its_compression() {
        // {"role":"service_role"}
        for key in ["sb_secret_test", "e30.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.e30"] {
            let headers = secret_headers(&ServiceKey::new(key).unwrap()).unwrap();
            assert!(headers.contains_key(APIKEY));
            assert!(headers.values().all(HeaderValue::is_sensitive));
        }
    }

    #[test]
    fn a_delay_is_asked_for_in_seconds_or_until_a_date() {
        let now = httpdate::parse_http_date("Wed, 25 Nov 2026 10:00:00 GMT").unwrap();
        let delay = |value: &'static str, date: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            headers.extend(date.map(|date| (DATE, HeaderValue::from_static(date))));
            retry_after(&headers, now).map(|delay| delay.as_secs())
        };
        for (value, seconds) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Wed, 25 Nov 2026 10:00:09 GMT", Some(9)),
            ("Wednesday, 25-Nov-26 10:00:09 GMT", Some(9)),
            ("Wed Nov 25 10:00:09 2026", Some(9)),
            ("Wed, 25 Nov 2026 09:59:59 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
        ] {
            assert_eq!(delay(value, None), seconds, "{value}");
        }
        let an_hour_ahead = Some("Wed, 25 Nov 2026 11:00:00 GMT");
        assert_eq!(
            delay("Wed, 25 Nov 2026 11:00:09 GMT", an_hour_ahead),
            Some(9)
        );
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
