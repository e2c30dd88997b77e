//! What a response means: by PostgREST's code first, by the status second.
//!
//! The codes are those of <https://docs.postgrest.org/en/stable/references/errors.html>
//! and PostgreSQL's SQLSTATEs. Gateways respond in forms of their own, so a body that is
//! not PostgREST's JSON is judged by its status alone.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{HttpResponse, Request, Response, TransportError};
use crate::{error::Error, install::RPC_VERSION};

/// The oldest PostgREST that reads a function's own `statement_timeout`.
const OLDEST_POSTGREST: u32 = 12;

/// How much of a foreign response is repeated in an error, in characters.
const EXCERPT: usize = 120;

/// A request that did not bring what it was made for.
#[derive(Debug)]
pub(crate) struct RequestError {
    pub(crate) error: Box<Error>,
    pub(crate) effect: Effect,
    pub(crate) retry: Retry,
}

/// What the request did in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing, and nothing will come of it later.
    None,
    /// It may have run, be running, or have been lost on the way.
    Unknown,
}

/// Whether the same request may bring more when it is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    No,
    /// After a while.
    Yes,
    /// Not before this time.
    After(Duration),
    /// A few times and soon: PostgREST may not have read the new schema yet.
    Soon,
    /// For some seconds: clocks that disagree by a moment.
    Clocks,
}

/// Understands what came back for a call.
pub(crate) fn classify(
    request: &Request,
    response: Result<HttpResponse, TransportError>,
) -> Result<Response, RequestError> {
    let response = response.map_err(transport_error)?;
    if let Some(version) = too_old(&response) {
        return Err(request_error(
            Error::PostgrestTooOld { version },
            Effect::None,
            Retry::No,
        ));
    }
    if (200..300).contains(&response.status) {
        return match serde_json::from_str(&response.body) {
            Ok(value) => Ok(Response::Json {
                value,
                total: response.total,
            }),
            // What began as JSON was cut on the way; anything else never was PostgREST's.
            Err(error) if response.body.trim_start().starts_with(['{', '[', '"']) => {
                Err(transport_error(TransportError::Lost(error.into())))
            }
            Err(_) => Err(foreign(&response, Effect::Unknown)),
        };
    }
    let body = serde_json::from_str::<Body>(&response.body).ok();
    if let Some(body) = &body
        && let Some(code) = body.code().filter(|code| is_postgrests(code))
    {
        return by_code(request, &response, code, body);
    }
    // PostgREST before 13 may say with an empty body that a table is missing.
    if response.status == 404 && response.body.trim().is_empty() && is_from_postgrest(&response) {
        return match request {
            Request::Rows { .. } => Ok(Response::NoTable),
            Request::Function { name, .. } => Err(not_installed(name)),
        };
    }
    Err(by_status(&response, body.as_ref()))
}

/// The error of PostgREST, and of gateways, which have no `code` or one of their own. Any of
/// these may be something else than text.
#[derive(Deserialize)]
struct Body {
    code: Option<Value>,
    message: Option<Value>,
    msg: Option<Value>,
    error: Option<Value>,
    details: Option<Value>,
    hint: Option<Value>,
}

impl Body {
    fn code(&self) -> Option<&str> {
        self.code.as_ref()?.as_str()
    }

    fn hint(&self) -> Option<&str> {
        self.hint.as_ref()?.as_str()
    }

    /// Message, details and hint; none where it has none of them.
    fn text(&self) -> Option<String> {
        let text = |part: &Option<Value>| Some(part.as_ref()?.as_str()?.trim().to_owned());
        let message = [&self.message, &self.msg, &self.error];
        let parts = message.into_iter().find_map(text).into_iter();
        let parts = parts.chain([&self.details, &self.hint].into_iter().filter_map(text));
        let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
        (!parts.is_empty()).then(|| excerpt(&parts.join("; "), 500))
    }
}

/// Whether PostgREST itself made the response, as far as its headers say.
fn is_from_postgrest(response: &HttpResponse) -> bool {
    let begins = |header: &Option<String>, name| {
        header
            .as_deref()
            .is_some_and(|text| text.to_ascii_lowercase().starts_with(name))
    };
    begins(&response.server, "postgrest")
        || begins(&response.proxy_status, "postgrest")
        || response.content_profile.is_some()
}

/// Whether it is `PGRST` and more, or an SQLSTATE. Gateways have codes of their own, such as
/// `UPSTREAM_TIMEOUT`, behind which the request may have run.
fn is_postgrests(code: &str) -> bool {
    let digit_or_capital = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
    code.starts_with("PGRST") || (code.len() == 5 && code.bytes().all(digit_or_capital))
}

fn by_code(
    request: &Request,
    response: &HttpResponse,
    code: &str,
    body: &Body,
) -> Result<Response, RequestError> {
    let reason = body.text().unwrap_or_else(|| "no reason given".to_owned());
    let again = response.retry_after.map_or(Retry::Yes, Retry::After);
    let (error, effect, retry) = match (code, request) {
        ("PGRST205" | "42P01", Request::Rows { .. }) => return Ok(Response::NoTable),
        ("PGRST202", Request::Function { .. }) if names_ours(body.hint()) => (
            Error::RpcOutdated {
                installed: None,
                needed: RPC_VERSION,
            },
            Effect::None,
            Retry::Soon,
        ),
        // The last two come from a function whose own tables were taken away.
        ("PGRST202" | "PGRST203" | "42883" | "42P01" | "42703", Request::Function { name, .. }) => {
            return Err(not_installed(name));
        }
        ("PGRST106", _) => (Error::SchemaNotExposed { reason }, Effect::None, Retry::No),
        // A gateway makes a token of a secret key, and its clock may be ahead.
        ("PGRST301" | "PGRST303", _) if is_too_early(&reason) => {
            (Error::ClockSkew { reason }, Effect::None, Retry::Clocks)
        }
        ("PGRST301" | "PGRST302" | "PGRST303", _) => {
            (Error::KeyRejected { reason }, Effect::None, Retry::No)
        }
        ("42501" | "28000" | "28P01", _) => {
            (Error::PermissionDenied { reason }, Effect::None, Retry::No)
        }
        ("25006", _) => (Error::ReadOnly { reason }, Effect::None, Retry::No),
        // A prepared statement was lost, or met another's, behind a transaction pooler.
        ("26000" | "42P05", _) => (
            Error::DatabaseUnavailable { reason },
            Effect::None,
            Retry::Soon,
        ),
        ("PGRST003", _) => (Error::PoolExhausted, Effect::None, again),
        ("PGRST000" | "PGRST002" | "57P03" | "53300", _) => {
            (Error::DatabaseUnavailable { reason }, Effect::None, again)
        }
        ("57014" | "55P03" | "40001" | "40P01", _) => {
            (Error::Cancelled { reason }, Effect::None, again)
        }
        ("PGRST001" | "57P01" | "57P02" | "57P05", _) => (
            Error::DatabaseUnavailable { reason },
            Effect::Unknown,
            again,
        ),
        (code, _) if code.starts_with("08") || code.starts_with("53") => (
            Error::DatabaseUnavailable { reason },
            Effect::Unknown,
            again,
        ),
        (code, _) if is_raised(code) => {
            let sqlstate = code.to_owned();
            (Error::Raised { sqlstate, reason }, Effect::None, Retry::No)
        }
        (code, _) => {
            let code = Some(excerpt(code, 20));
            (
                Error::UnexpectedResponse {
                    status: response.status,
                    code,
                    message: reason,
                },
                Effect::None,
                Retry::No,
            )
        }
    };
    Err(request_error(error, effect, retry))
}

/// Whether a hint of PostgREST suggests a function of ours: an older release is installed.
fn names_ours(hint: Option<&str>) -> bool {
    hint.is_some_and(|hint| hint.contains("public.ctx0_"))
}

fn is_too_early(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    reason.contains("in the future")
        || reason.contains("at future")
        || reason.contains("not yet valid")
}

/// Whether an SQLSTATE is one that PL/pgSQL code raises, by default or of its own: `P0001`, and
/// the classes that the SQL standard leaves to others and PostgreSQL does not use.
fn is_raised(code: &str) -> bool {
    match code.as_bytes() {
        [b'P', b'G', b'R', b'S', b'T', ..] | [b'X', b'X', ..] => false,
        [first, ..] => matches!(first, b'6'..=b'9' | b'I'..=b'Z'),
        [] => false,
    }
}

fn by_status(response: &HttpResponse, body: Option<&Body>) -> RequestError {
    let status = response.status;
    let told = body.and_then(Body::text);
    let excerpt = told
        .clone()
        .unwrap_or_else(|| excerpt(&response.body, EXCERPT));
    let again = response.retry_after.map_or(Retry::Yes, Retry::After);
    let (error, effect, retry) = match status {
        401 if asks_for_password(response) => {
            let excerpt = "it asks for a user name and password".to_owned();
            (
                Error::NotSupabase { status, excerpt },
                Effect::None,
                Retry::No,
            )
        }
        401 => {
            let reason = match (&response.sent_as_browser, &told) {
                (Some(agent), None) => format!(
                    "{excerpt}; secret keys are refused from browsers, and the User-Agent \"{}\" looks like one: use another",
                    self::excerpt(agent, EXCERPT)
                ),
                _ => excerpt,
            };
            (Error::KeyRejected { reason }, Effect::None, Retry::No)
        }
        // Kong and Envoy, which look at the key.
        403 if told.is_some() || excerpt.starts_with("RBAC") => (
            Error::PermissionDenied { reason: excerpt },
            Effect::None,
            Retry::No,
        ),
        403 => (Error::Blocked { status, excerpt }, Effect::None, Retry::No),
        408 | 425 => (Error::Gateway { status, excerpt }, Effect::Unknown, again),
        413 => (Error::RequestTooLarge, Effect::None, Retry::No),
        429 => (Error::RateLimited, Effect::None, again),
        300..=399 => {
            let location = match response.location.as_deref().map(str::trim) {
                None | Some("") => "an address that it does not name".to_owned(),
                Some(location) => self::excerpt(location, 300),
            };
            (Error::Redirected { location }, Effect::None, Retry::No)
        }
        540 => (Error::ProjectPaused, Effect::None, Retry::No),
        500.. => (Error::Gateway { status, excerpt }, Effect::Unknown, again),
        _ => (
            Error::NotSupabase { status, excerpt },
            Effect::None,
            Retry::No,
        ),
    };
    request_error(error, effect, retry)
}

fn transport_error(cause: TransportError) -> RequestError {
    match cause {
        TransportError::Unreachable(proxy, source) => request_error(
            Error::Unreachable { proxy, source },
            Effect::None,
            Retry::Yes,
        ),
        TransportError::NotTls(source) => {
            request_error(Error::NotTls { source }, Effect::None, Retry::No)
        }
        TransportError::NotHttp(source) => {
            request_error(Error::NotHttp { source }, Effect::Unknown, Retry::Soon)
        }
        TransportError::Tls(source) => {
            request_error(Error::Tls { source }, Effect::None, Retry::No)
        }
        TransportError::Timeout(timeout) => {
            request_error(Error::Timeout { timeout }, Effect::Unknown, Retry::Yes)
        }
        TransportError::Lost(source) => request_error(
            Error::ConnectionLost { source },
            Effect::Unknown,
            Retry::Yes,
        ),
        TransportError::TooLong => {
            let message = "the response is longer than 16 MiB".to_owned();
            request_error(
                Error::UnexpectedResponse {
                    status: 200,
                    code: None,
                    message,
                },
                Effect::Unknown,
                Retry::Yes,
            )
        }
    }
}

fn not_installed(function: &'static str) -> RequestError {
    request_error(
        Error::RpcNotInstalled { function },
        Effect::None,
        Retry::Soon,
    )
}

fn foreign(response: &HttpResponse, effect: Effect) -> RequestError {
    let excerpt = excerpt(&response.body, EXCERPT);
    request_error(
        Error::NotSupabase {
            status: response.status,
            excerpt,
        },
        effect,
        Retry::No,
    )
}

fn request_error(error: Error, effect: Effect, retry: Retry) -> RequestError {
    RequestError {
        error: Box::new(error),
        effect,
        retry,
    }
}

/// The version, where `Server` names a PostgREST that is too old.
fn too_old(response: &HttpResponse) -> Option<String> {
    let version = response.server.as_deref()?.strip_prefix("postgrest/")?;
    let major: u32 = version.split('.').next()?.parse().ok()?;
    (major < OLDEST_POSTGREST).then(|| excerpt(version, 40))
}

/// Whether a user name and password are wanted, which the API never asks for.
fn asks_for_password(response: &HttpResponse) -> bool {
    let wanted = response.www_authenticate.as_deref().unwrap_or_default();
    wanted.split(',').any(|scheme| {
        let scheme = scheme.trim_start().split(' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case("basic")
    })
}

/// What a web page calls itself.
fn title(page: &str) -> Option<&str> {
    let small = page.to_ascii_lowercase();
    ["title", "h1"].iter().find_map(|tag| {
        let start = small.find(&format!("<{tag}"))?;
        let start = start + small[start..].find('>')? + 1;
        let end = start + small[start..].find("</")?;
        Some(page[start..end].trim()).filter(|title| !title.is_empty())
    })
}

/// The beginning of a text in one line, without control characters.
fn excerpt(text: &str, limit: usize) -> String {
    if text.trim_start().starts_with('<') {
        return match title(text) {
            Some(title) => format!("a web page, \"{}\"", one_line(title, limit)),
            None => "a web page".to_owned(),
        };
    }
    match one_line(text, limit) {
        text if text.is_empty() => "an empty body".to_owned(),
        text => text,
    }
}

fn one_line(text: &str, limit: usize) -> String {
    let text: String = text
        .chars()
        .take(limit * 8)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = words.chars().take(limit).collect();
    if short.len() < words.len() {
        short + "…"
    } else {
        short
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::manifest::Version;

    const LEDGER: Request = Request::Rows {
        table: "ctx0_schema_versions",
        above: Version::ZERO,
    };
    const APPLY: Request = Request::Function {
        name: "ctx0_apply_migration",
        arguments: String::new(),
        attempt: None,
    };

    fn response(status: u16, body: impl Into<String>) -> HttpResponse {
        HttpResponse {
            status,
            body: body.into(),
            ..HttpResponse::default()
        }
    }

    fn refusal(status: u16, code: &str) -> HttpResponse {
        response(status, json!({"code": code, "message": "said"}).to_string())
    }

    /// The error's variant, what the request did, and whether it is made again.
    fn error_of(
        request: &Request,
        response: Result<HttpResponse, TransportError>,
    ) -> (String, Effect, Retry) {
        let error = classify(request, response).expect_err("an error");
        let text = format!("{:?}", error.error);
        let variant = text.chars().take_while(char::is_ascii_alphabetic);
        (variant.collect(), error.effect, error.retry)
    }

    #[test]
    fn a_code_weighs_more_than_the_status() {
        for (code, variant, effect, retry) in [
            ("PGRST000", "DatabaseUnavailable", Effect::None, Retry::Yes),
            (
                "PGRST001",
                "DatabaseUnavailable",
                Effect::Unknown,
                Retry::Yes,
            ),
            ("PGRST002", "DatabaseUnavailable", Effect::None, Retry::Yes),
            ("PGRST003", "PoolExhausted", Effect::None, Retry::Yes),
            ("PGRST106", "SchemaNotExposed", Effect::None, Retry::No),
            ("PGRST202", "RpcNotInstalled", Effect::None, Retry::Soon),
            ("PGRST203", "RpcNotInstalled", Effect::None, Retry::Soon),
            ("PGRST301", "KeyRejected", Effect::None, Retry::No),
            ("PGRST302", "KeyRejected", Effect::None, Retry::No),
            ("PGRST303", "KeyRejected", Effect::None, Retry::No),
            ("42883", "RpcNotInstalled", Effect::None, Retry::Soon),
            ("42P01", "RpcNotInstalled", Effect::None, Retry::Soon),
            ("42703", "RpcNotInstalled", Effect::None, Retry::Soon),
            ("42501", "PermissionDenied", Effect::None, Retry::No),
            ("28000", "PermissionDenied", Effect::None, Retry::No),
            ("28P01", "PermissionDenied", Effect::None, Retry::No),
            ("57014", "Cancelled", Effect::None, Retry::Yes),
            ("55P03", "Cancelled", Effect::None, Retry::Yes),
            ("40001", "Cancelled", Effect::None, Retry::Yes),
            ("40P01", "Cancelled", Effect::None, Retry::Yes),
            ("57P01", "DatabaseUnavailable", Effect::Unknown, Retry::Yes),
            ("57P02", "DatabaseUnavailable", Effect::Unknown, Retry::Yes),
            ("57P03", "DatabaseUnavailable", Effect::None, Retry::Yes),
            ("57P05", "DatabaseUnavailable", Effect::Unknown, Retry::Yes),
            ("08006", "DatabaseUnavailable", Effect::Unknown, Retry::Yes),
            ("53100", "DatabaseUnavailable", Effect::Unknown, Retry::Yes),
            ("53300", "DatabaseUnavailable", Effect::None, Retry::Yes),
            ("PT503", "Raised", Effect::None, Retry::No),
            ("P0001", "Raised", Effect::None, Retry::No),
            ("QX001", "Raised", Effect::None, Retry::No),
            ("25006", "ReadOnly", Effect::None, Retry::No),
            ("26000", "DatabaseUnavailable", Effect::None, Retry::Soon),
            ("42P05", "DatabaseUnavailable", Effect::None, Retry::Soon),
            ("XX000", "UnexpectedResponse", Effect::None, Retry::No),
            ("PGRSTX00", "UnexpectedResponse", Effect::None, Retry::No),
        ] {
            for status in [302, 400, 401, 404, 429, 500, 503] {
                let told = error_of(&APPLY, Ok(refusal(status, code)));
                let wanted = (variant.to_owned(), effect, retry);
                assert_eq!(told, wanted, "{status} {code}");
            }
        }
    }

    #[test]
    fn without_a_code_of_postgrest_the_status_decides() {
        for (status, variant, effect, retry) in [
            (301, "Redirected", Effect::None, Retry::No),
            (400, "NotSupabase", Effect::None, Retry::No),
            (401, "KeyRejected", Effect::None, Retry::No),
            (404, "NotSupabase", Effect::None, Retry::No),
            (408, "Gateway", Effect::Unknown, Retry::Yes),
            (413, "RequestTooLarge", Effect::None, Retry::No),
            (425, "Gateway", Effect::Unknown, Retry::Yes),
            (429, "RateLimited", Effect::None, Retry::Yes),
            (500, "Gateway", Effect::Unknown, Retry::Yes),
            (502, "Gateway", Effect::Unknown, Retry::Yes),
            (504, "Gateway", Effect::Unknown, Retry::Yes),
            (524, "Gateway", Effect::Unknown, Retry::Yes),
            (540, "ProjectPaused", Effect::None, Retry::No),
            (999, "Gateway", Effect::Unknown, Retry::Yes),
        ] {
            for body in [
                "upstream said no",
                "<html></html>",
                "null",
                "[]",
                r#"{"message":"said"}"#,
                r#"{"code":503,"message":"said"}"#,
                r#"{"code":"UPSTREAM_TIMEOUT","message":"said"}"#,
                r#"{"code":"oops!","message":"said"}"#,
                r#"{"code":"","message":"said"}"#,
            ] {
                let told = error_of(&APPLY, Ok(response(status, body)));
                let wanted = (variant.to_owned(), effect, retry);
                assert_eq!(told, wanted, "{status} {body}");
            }
        }
    }

    #[test]
    fn a_transport_error_tells_whether_anything_was_sent() {
        let timeout = Duration::from_secs(1);
        for (cause, variant, effect, retry) in [
            (
                TransportError::Unreachable(None, "x".into()),
                "Unreachable",
                Effect::None,
                Retry::Yes,
            ),
            (
                TransportError::Tls("x".into()),
                "Tls",
                Effect::None,
                Retry::No,
            ),
            (
                TransportError::Timeout(timeout),
                "Timeout",
                Effect::Unknown,
                Retry::Yes,
            ),
            (
                TransportError::Lost("x".into()),
                "ConnectionLost",
                Effect::Unknown,
                Retry::Yes,
            ),
            (
                TransportError::TooLong,
                "UnexpectedResponse",
                Effect::Unknown,
                Retry::Yes,
            ),
        ] {
            let told = error_of(&APPLY, Err(cause));
            assert_eq!(told, (variant.to_owned(), effect, retry));
        }
    }

    #[test]
    fn a_delay_that_the_server_names_goes_with_what_may_pass() {
        let delay = Duration::from_secs(7);
        let named = |response: HttpResponse| HttpResponse {
            retry_after: Some(delay),
            ..response
        };
        for response in [
            refusal(503, "PGRST002"),
            refusal(500, "57014"),
            response(429, ""),
        ] {
            let (_, _, retry) = error_of(&LEDGER, Ok(named(response)));
            assert_eq!(retry, Retry::After(delay));
        }
        let (_, _, retry) = error_of(&LEDGER, Ok(named(response(401, ""))));
        assert_eq!(retry, Retry::No);
    }

    #[test]
    fn a_missing_ledger_is_known_in_every_way_that_it_is_said() {
        let marked = |body: &str| HttpResponse {
            server: Some("postgrest/12.2.12".to_owned()),
            ..response(404, body)
        };
        for response in [
            refusal(404, "PGRST205"),
            refusal(404, "42P01"),
            marked(""),
            marked(" \n"),
        ] {
            assert_eq!(
                classify(&LEDGER, Ok(response)).ok(),
                Some(Response::NoTable)
            );
        }
        let (variant, _, retry) = error_of(&APPLY, Ok(marked("")));
        assert_eq!((variant.as_str(), retry), ("RpcNotInstalled", Retry::Soon));
    }

    #[test]
    fn a_status_of_success_needs_json() {
        let whole = Response::Json {
            value: json!([1]),
            total: None,
        };
        assert_eq!(
            classify(&LEDGER, Ok(response(206, "[1]"))).ok(),
            Some(whole)
        );
        for cut in ["[1", "{", "\"a", " [", "[1]]"] {
            let lost = ("ConnectionLost".to_owned(), Effect::Unknown, Retry::Yes);
            assert_eq!(error_of(&APPLY, Ok(response(200, cut))), lost, "{cut}");
        }
        for foreign in ["", "<html>", "hello", "nul"] {
            let other = ("NotSupabase".to_owned(), Effect::Unknown, Retry::No);
            assert_eq!(
                error_of(&APPLY, Ok(response(200, foreign))),
                other,
                "{foreign}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100_000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_response_is_understood_as_something(response in responses(), reads in any::<bool>()) {
            let request = if reads { LEDGER } else { APPLY };
            let (status, empty) = (response.status, response.body.trim().is_empty());
            let by_postgrest = serde_json::from_str::<Body>(&response.body)
                .is_ok_and(|body| body.code().is_some_and(is_postgrests));
            match classify(&request, Ok(response)) {
                Ok(Response::Json { .. }) => prop_assert!((200..300).contains(&status)),
                Ok(Response::NoTable) => prop_assert!(reads && (by_postgrest || (status == 404 && empty))),
                Err(error) => {
                    let text = error.error.to_string();
                    prop_assert!(text.chars().count() < 1_000, "{}", text);
                    prop_assert!(!text.contains(char::is_control), "{:?}", text);
                    // Only PostgREST knows that nothing ran, and whoever did not let the request in.
                    if status >= 500 && status != 540 && !by_postgrest {
                        let too_old = matches!(*error.error, Error::PostgrestTooOld { .. });
                        prop_assert!(too_old || error.effect == Effect::Unknown);
                    }
                }
            }
        }
    }

    /// Any status, any headers, and a body that is often PostgREST's. All of it comes out of one
    /// seed: a strategy for each part takes a minute for a hundred thousand cases.
    fn responses() -> impl Strategy<Value = HttpResponse> {
        any::<u64>().prop_map(|seed| {
            let rng = &mut Rng::with_seed(seed);
            let body = match rng.u8(..3) {
                0 => text(rng, 60),
                1 => (0..rng.usize(..20)).map(|_| one_of(rng, &JSON)).collect(),
                _ => {
                    let code = [text(rng, 12), one_of(rng, &CODES).to_owned()];
                    json!({"code": one_of(rng, &code), "message": text(rng, 40)}).to_string()
                }
            };
            let name = ["", "postgrest/", "postgrest/1"];
            HttpResponse {
                status: if rng.bool() {
                    rng.u16(..)
                } else {
                    one_of(rng, &STATUSES)
                },
                total: rng.bool().then(|| rng.usize(..)),
                retry_after: rng.bool().then(|| Duration::from_secs(rng.u64(..))),
                server: rng
                    .bool()
                    .then(|| one_of(rng, &name).to_owned() + &text(rng, 20)),
                location: rng.bool().then(|| text(rng, 400)),
                www_authenticate: rng.bool().then(|| text(rng, 40)),
                proxy_status: rng.bool().then(|| one_of(rng, &name).to_owned()),
                content_profile: rng.bool().then(|| text(rng, 10)),
                sent_as_browser: rng.bool().then(|| text(rng, 40)),
                body,
            }
        })
    }

    const STATUSES: [u16; 12] = [200, 204, 206, 302, 400, 401, 403, 404, 413, 500, 503, 540];
    const CODES: [&str; 8] = [
        "PGRST001", "PGRST202", "PGRST205", "42P01", "42501", "57014", "08006", "XX000",
    ];
    const JSON: [&str; 12] = [
        "[", "]", "{", "}", "\"", ":", ",", "0", "null", "\\", " ", "é",
    ];

    /// Any bytes, as far as they are text, as `http.rs` reads them.
    fn text(rng: &mut Rng, longest: usize) -> String {
        let bytes: Vec<u8> = (0..rng.usize(..longest)).map(|_| rng.u8(..)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn one_of<T: Clone>(rng: &mut Rng, choices: &[T]) -> T {
        choices[rng.usize(..choices.len())].clone()
    }
}
