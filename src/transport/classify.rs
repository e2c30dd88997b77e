//! What an answer means: by PostgREST's code first, by the status second.
//!
//! The codes are those of <https://docs.postgrest.org/en/stable/references/errors.html>
//! and PostgreSQL's SQLSTATEs. Gateways answer in forms of their own, so a body that is
//! not PostgREST's JSON is judged by its status alone.

use std::time::Duration;

use serde::Deserialize;

use super::{Answer, Call, NoAnswer, Reply};
use crate::error::Error;

/// The oldest PostgREST that reads a function's own `statement_timeout`.
const OLDEST_POSTGREST: u32 = 12;

/// How much of a foreign answer is repeated in an error, in characters.
const EXCERPT: usize = 120;

/// A request that did not bring what it was made for.
#[derive(Debug)]
pub(crate) struct Fault {
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
}

/// Understands what came back for a call.
pub(crate) fn classify(call: &Call, answer: Result<Answer, NoAnswer>) -> Result<Reply, Fault> {
    let answer = answer.map_err(no_answer)?;
    if let Some(version) = too_old(&answer) {
        return Err(fault(
            Error::PostgrestTooOld { version },
            Effect::None,
            Retry::No,
        ));
    }
    if (200..300).contains(&answer.status) {
        return match serde_json::from_str(&answer.body) {
            Ok(value) => Ok(Reply::Json {
                value,
                total: answer.total,
            }),
            // What began as JSON was cut on the way; anything else never was PostgREST's.
            Err(error) if answer.body.trim_start().starts_with(['{', '[', '"']) => {
                Err(no_answer(NoAnswer::Lost(error.into())))
            }
            Err(_) => Err(foreign(&answer, Effect::Unknown)),
        };
    }
    match serde_json::from_str::<Body>(&answer.body) {
        Ok(body) => match body.code.as_deref().filter(|code| is_postgrests(code)) {
            Some(code) => by_code(call, &answer, code, &body),
            None => Err(by_status(&answer, body.message.as_deref())),
        },
        // PostgREST before 13 may say with an empty body that a table is missing.
        Err(_) if answer.status == 404 && answer.body.trim().is_empty() => match call {
            Call::Ledger { .. } => Ok(Reply::NoLedger),
            Call::Function { name, .. } => Err(not_installed(name)),
        },
        Err(_) => Err(by_status(&answer, None)),
    }
}

/// The error of PostgREST, and of gateways, which have no `code` or one of their own.
#[derive(Deserialize)]
struct Body {
    code: Option<String>,
    message: Option<String>,
    details: Option<String>,
    hint: Option<String>,
}

impl Body {
    fn text(&self) -> String {
        let parts = [&self.message, &self.details, &self.hint];
        let parts: Vec<_> = parts
            .into_iter()
            .flatten()
            .map(|part| part.trim())
            .filter(|part| !part.is_empty())
            .collect();
        excerpt(&parts.join("; "), 500)
    }
}

/// Whether it is `PGRST` and more, or an SQLSTATE. Gateways have codes of their own, such as
/// `UPSTREAM_TIMEOUT`, behind which the request may have run.
fn is_postgrests(code: &str) -> bool {
    let digit_or_capital = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
    code.starts_with("PGRST") || (code.len() == 5 && code.bytes().all(digit_or_capital))
}

fn by_code(call: &Call, answer: &Answer, code: &str, body: &Body) -> Result<Reply, Fault> {
    let reason = body.text();
    let again = answer.retry_after.map_or(Retry::Yes, Retry::After);
    let (error, effect, retry) = match (code, call) {
        ("PGRST205" | "42P01", Call::Ledger { .. }) => return Ok(Reply::NoLedger),
        // The last two come from a function whose own tables were taken away.
        ("PGRST202" | "PGRST203" | "42883" | "42P01" | "42703", Call::Function { name, .. }) => {
            return Err(not_installed(name));
        }
        ("PGRST106", _) => (Error::SchemaNotExposed { reason }, Effect::None, Retry::No),
        ("PGRST301" | "PGRST302" | "PGRST303", _) => {
            (Error::KeyRejected { reason }, Effect::None, Retry::No)
        }
        ("42501" | "28000" | "28P01", _) => {
            (Error::PermissionDenied { reason }, Effect::None, Retry::No)
        }
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
        (code, _) => {
            let code = Some(excerpt(code, 20));
            (
                Error::UnexpectedAnswer {
                    status: answer.status,
                    code,
                    message: reason,
                },
                Effect::None,
                Retry::No,
            )
        }
    };
    Err(fault(error, effect, retry))
}

fn by_status(answer: &Answer, message: Option<&str>) -> Fault {
    let status = answer.status;
    let excerpt = excerpt(message.unwrap_or(&answer.body), EXCERPT);
    let again = answer.retry_after.map_or(Retry::Yes, Retry::After);
    let (error, effect, retry) = match status {
        401 => (
            Error::KeyRejected { reason: excerpt },
            Effect::None,
            Retry::No,
        ),
        403 => (
            Error::PermissionDenied { reason: excerpt },
            Effect::None,
            Retry::No,
        ),
        408 | 425 => (Error::Gateway { status, excerpt }, Effect::Unknown, again),
        413 => (Error::RequestTooLarge, Effect::None, Retry::No),
        429 => (Error::RateLimited, Effect::None, again),
        300..=399 => {
            let location = match answer.location.as_deref().map(str::trim) {
                None | Some("") => "an address that it does not name".to_owned(),
                Some(location) => self::excerpt(location, 300),
            };
            (Error::Redirected { location }, Effect::None, Retry::No)
        }
        540 => (Error::ProjectPaused, Effect::None, Retry::No),
        500.. => (Error::Gateway { status, excerpt }, Effect::Unknown, again),
        _ => return foreign(answer, Effect::None),
    };
    fault(error, effect, retry)
}

fn no_answer(cause: NoAnswer) -> Fault {
    match cause {
        NoAnswer::Unreachable(source) => {
            fault(Error::Unreachable { source }, Effect::None, Retry::Yes)
        }
        NoAnswer::Tls(source) => fault(Error::Tls { source }, Effect::None, Retry::No),
        NoAnswer::Timeout(limit) => fault(Error::Timeout { limit }, Effect::Unknown, Retry::Yes),
        NoAnswer::Lost(source) => fault(
            Error::ConnectionLost { source },
            Effect::Unknown,
            Retry::Yes,
        ),
        NoAnswer::TooLong => {
            let message = "the answer is longer than 16 MiB".to_owned();
            fault(
                Error::UnexpectedAnswer {
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

fn not_installed(function: &'static str) -> Fault {
    fault(
        Error::RpcNotInstalled { function },
        Effect::None,
        Retry::Soon,
    )
}

fn foreign(answer: &Answer, effect: Effect) -> Fault {
    let excerpt = excerpt(&answer.body, EXCERPT);
    fault(
        Error::NotSupabase {
            status: answer.status,
            excerpt,
        },
        effect,
        Retry::No,
    )
}

fn fault(error: Error, effect: Effect, retry: Retry) -> Fault {
    Fault {
        error: Box::new(error),
        effect,
        retry,
    }
}

/// The version, where `Server` names a PostgREST that is too old.
fn too_old(answer: &Answer) -> Option<String> {
    let version = answer.server.as_deref()?.strip_prefix("postgrest/")?;
    let major: u32 = version.split('.').next()?.parse().ok()?;
    (major < OLDEST_POSTGREST).then(|| excerpt(version, 40))
}

/// The beginning of a text in one line, without control characters.
fn excerpt(text: &str, limit: usize) -> String {
    let text: String = text
        .chars()
        .take(limit * 8)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = words.chars().take(limit).collect();
    match (short.is_empty(), short.len() < words.len()) {
        (true, _) => "an empty body".to_owned(),
        (_, true) => short + "…",
        (_, false) => short,
    }
}
