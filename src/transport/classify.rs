//! What a response means: by PostgREST's code first, by the status second.
//!
//! The codes are those of <https://docs.postgrest.org/en/stable/references/errors.html>
//! and PostgreSQL's SQLSTATEs. Gateways respond in forms of their own, so a body that is
//! not PostgREST's JSON is judged by its status alone.

mod sql;

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use self::sql::classify_sql;
use super::{BoxError, HttpResponse, Request, Response, TransportError};
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
    /// As `Unknown`, but PostgREST lost its connection to the database, perhaps in the middle of it.
    Interrupted,
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
    if let Request::Sql { .. } = request {
        return classify_sql(request, &response);
    }
    if let Some(version) = too_old(&response) {
        return Err(request_error(
            Error::PostgrestTooOld { version },
            Effect::None,
            Retry::No,
        ));
    }
    if (200..300).contains(&response.status) {
        return match serde_json::from_str(&response.body) {
            Ok(value) if answers(request, &value) => Ok(Response::Json {
                value,
                total: response.total,
            }),
            Ok(_) => Err(foreign(&response, Effect::Unknown)),
            // What began as JSON was cut on the way; anything else never was PostgREST's.
            Err(error) if response.body.trim_start().starts_with(['{', '[', '"']) => {
                Err(lost(error.into()))
            }
            Err(_) => Err(match blocked(request, &response) {
                Some(error) => request_error(error, Effect::None, Retry::No),
                None => foreign(&response, Effect::Unknown),
            }),
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
            Request::Sql { .. } => Err(by_status(request, &response, None)),
        };
    }
    Err(by_status(request, &response, body.as_ref()))
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

/// Whether a value has the shape of what was asked for. Other servers respond to every path.
fn answers(request: &Request, value: &Value) -> bool {
    match (request, value) {
        (Request::Rows { .. }, Value::Array(rows)) => {
            rows.iter().all(|row| row.get("version").is_some())
        }
        (Request::Function { .. }, Value::Object(_)) | (Request::Sql { .. }, _) => true,
        (Request::Rows { .. } | Request::Function { .. }, _) => false,
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
    code.starts_with("PGRST") || is_sqlstate(code)
}

fn is_sqlstate(code: &str) -> bool {
    let digit_or_capital = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
    code.len() == 5 && code.bytes().all(digit_or_capital)
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
        ("XX000" | "42704", Request::Function { name, .. }) if is_replaced(&reason) => (
            Error::RpcNotInstalled { function: name },
            Effect::None,
            again,
        ),
        ("PGRST106", _) => (Error::SchemaNotExposed { reason }, Effect::None, Retry::No),
        // A gateway makes a token of a secret key, and its clock may be ahead.
        ("PGRST301" | "PGRST303", _) if is_too_early(&reason) => {
            (Error::ClockSkew { reason }, Effect::None, Retry::Clocks)
        }
        // PGRST300: the server has nothing to check the key with.
        ("PGRST300" | "PGRST301" | "PGRST302" | "PGRST303", _) => {
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
        // A timeout of the session that ends its connection: again, it would end in the same way.
        ("25P03" | "25P04", _) => (Error::Cancelled { reason }, Effect::None, Retry::No),
        ("PGRST001" | "57P01" | "57P02" | "57P05", _) => (
            Error::DatabaseUnavailable { reason },
            Effect::Interrupted,
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
            // An internal error of PostgreSQL: a change beside the call may have caused it.
            let retry = match code {
                "XX000" => Retry::Soon,
                _ => Retry::No,
            };
            let error = Error::UnexpectedResponse {
                status: response.status,
                code: Some(excerpt(code, 20)),
                message: reason,
            };
            (error, Effect::None, retry)
        }
    };
    Err(request_error(error, effect, retry))
}

/// Whether the functions were replaced between the planning of a call and its end.
fn is_replaced(reason: &str) -> bool {
    reason.starts_with("cache lookup failed for ")
        || reason.contains(" with OID ")
        || reason == "function in FROM has unsupported return type"
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

fn by_status(request: &Request, response: &HttpResponse, body: Option<&Body>) -> RequestError {
    if let Some(error) = blocked(request, response) {
        return request_error(error, Effect::None, Retry::No);
    }
    let status = response.status;
    let body_text = body.and_then(Body::text);
    let excerpt = body_text.clone().unwrap_or_else(|| said(&response.body));
    let again = response.retry_after.map_or(Retry::Yes, Retry::After);
    let (error, effect, retry) = match status {
        401 if asks_for_password(response) => {
            let excerpt = "a user name and password".to_owned();
            (
                Error::LoginInFront { status, excerpt },
                Effect::None,
                Retry::No,
            )
        }
        401 => {
            let reason = match (&response.sent_as_browser, &body_text) {
                (Some(agent), None) => format!(
                    "{excerpt}; secret keys are refused from browsers, and the User-Agent \"{}\" looks like one: use another",
                    self::excerpt(agent, EXCERPT)
                ),
                _ => excerpt,
            };
            (Error::KeyRejected { reason }, Effect::None, Retry::No)
        }
        402 => (
            Error::ProjectRestricted { reason: excerpt },
            Effect::None,
            Retry::No,
        ),
        // Kong and Envoy, which look at the key.
        403 if body_text.is_some() || excerpt.starts_with("RBAC") => (
            Error::PermissionDenied { reason: excerpt },
            Effect::None,
            Retry::No,
        ),
        403 => (
            blocked_by(request, status, excerpt),
            Effect::None,
            Retry::No,
        ),
        408 | 425 => (Error::Gateway { status, excerpt }, Effect::Unknown, again),
        413 => (Error::RequestTooLarge, Effect::None, Retry::No),
        429 => {
            let retry_after = response.retry_after;
            (Error::RateLimited { retry_after }, Effect::None, again)
        }
        300..=399 => (redirected(request, response), Effect::None, Retry::No),
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

/// The error of a response that a firewall in front of Supabase made: by what its page says, or because a function's
/// response is a page or a redirect at an address that has just served rows.
fn blocked(request: &Request, response: &HttpResponse) -> Option<Error> {
    let status = response.status;
    let (Request::Rows { .. } | Request::Function { .. }) = request else {
        return None;
    };
    let refused_after_reads = response.reads_pass && matches!(request, Request::Function { .. });
    let excerpt = match status {
        // These say more themselves, or leave open whether the request has run.
        401 | 402 | 408 | 413 | 425 | 429 | 500.. => return None,
        300..=399 if refused_after_reads && !has_moved(request, response) => {
            match location(response) {
                Some(location) => format!("a redirect to {location}"),
                None => "a redirect".to_owned(),
            }
        }
        300..=399 => return None,
        _ if is_firewalls(&response.body) => said(&response.body),
        _ if refused_after_reads && is_page(&response.body) => said(&response.body),
        _ => return None,
    };
    Some(blocked_by(request, status, excerpt))
}

fn blocked_by(request: &Request, status: u16, excerpt: String) -> Error {
    let (method, path) = match request {
        Request::Rows { table, .. } => ("GET", format!("/rest/v1/{table}")),
        Request::Function { .. } => ("POST", "/rest/v1/rpc/ctx0_*".to_owned()),
        Request::Sql { .. } => ("POST", "/pg/query".to_owned()),
    };
    Error::Blocked {
        status,
        excerpt,
        method,
        path,
    }
}

fn is_page(body: &str) -> bool {
    body.trim_start().starts_with('<')
}

/// Whether a text is one of those with which firewalls respond: of ModSecurity, F5, Cloudflare, Imperva, Sucuri,
/// FortiWeb and AWS.
fn is_firewalls(body: &str) -> bool {
    const SAID: [&str; 9] = [
        "mod_security",
        "modsecurity",
        "the requested url was rejected",
        "<title>request rejected</title>",
        "you have been blocked",
        "incapsula incident id",
        "sucuri website firewall",
        "web page blocked",
        "web application firewall",
    ];
    let beginning: String = body.chars().take(8192).collect();
    let beginning = beginning.to_ascii_lowercase();
    SAID.iter().any(|said| beginning.contains(said))
}

/// What a redirect means: the API is somewhere else, or something in front wants a person to log in.
fn redirected(request: &Request, response: &HttpResponse) -> Error {
    let Some(location) = location(response) else {
        return Error::Redirected { location: None };
    };
    let small = location.to_ascii_lowercase();
    let names_login = ["login", "signin", "sign-in", "sign_in", "oauth"]
        .iter()
        .any(|name| small.contains(name));
    let is_sql = matches!(request, Request::Sql { .. });
    if !is_sql && !has_moved(request, response) && (names_login || response.leaves_host) {
        return Error::LoginInFront {
            status: response.status,
            excerpt: format!("a redirect to {location}"),
        };
    }
    let location = Some(location);
    Error::Redirected { location }
}

/// Whether a redirect leads to the same path at another address.
fn has_moved(request: &Request, response: &HttpResponse) -> bool {
    location(response).is_some_and(|location| location.ends_with(request.name()))
}

fn location(response: &HttpResponse) -> Option<String> {
    let location = response.location.as_deref()?.trim();
    (!location.is_empty()).then(|| excerpt(location, 300))
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

fn lost(cause: BoxError) -> RequestError {
    transport_error(TransportError::Lost(cause))
}

fn not_installed(function: &'static str) -> RequestError {
    request_error(
        Error::RpcNotInstalled { function },
        Effect::None,
        Retry::Soon,
    )
}

fn foreign(response: &HttpResponse, effect: Effect) -> RequestError {
    request_error(
        Error::NotSupabase {
            status: response.status,
            excerpt: said(&response.body),
        },
        effect,
        Retry::No,
    )
}

/// The error of a function's response that no release of the functions gives.
pub(crate) fn not_an_answer(value: &Value) -> RequestError {
    let response = HttpResponse {
        status: 200,
        body: value.to_string(),
        ..HttpResponse::default()
    };
    foreign(&response, Effect::Unknown)
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

/// What a foreign body says: its message where it is JSON that has one, or the beginning of its text.
fn said(body: &str) -> String {
    let json = serde_json::from_str::<Value>(body).ok();
    let message = json.as_ref().and_then(message);
    excerpt(message.unwrap_or(body), EXCERPT)
}

/// The first text in a JSON body under a name that gateways have for it.
fn message(body: &Value) -> Option<&str> {
    const NAMES: [&str; 6] = [
        "message",
        "msg",
        "error_description",
        "error",
        "errors",
        "detail",
    ];
    match body {
        Value::String(text) => Some(text.trim()).filter(|text| !text.is_empty()),
        Value::Array(items) => items.iter().find_map(message),
        Value::Object(fields) => NAMES.iter().find_map(|name| message(fields.get(*name)?)),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// The beginning of a text in one line, without control characters.
fn excerpt(text: &str, limit: usize) -> String {
    if is_page(text) {
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
mod tests;
