//! Where postrust's answers differ from PostgREST's, PostgREST's.

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use serde_json::{Value, json};

/// How far a request came that found no working connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It had a connection and lost it: whether it was committed is unknown.
    Begun,
    /// The database is away; nothing ran.
    DatabaseDown,
    /// All connections stayed taken; nothing ran.
    NoConnection,
}

/// What an error's answer depends on besides the error.
pub(crate) struct Context {
    pub(crate) progress: Progress,
    /// Whether the caller is nobody in particular, with or without a token.
    pub(crate) anonymous: bool,
    /// The first selected column that is not there.
    pub(crate) missing_column: Option<String>,
}

/// What to do with an answer.
pub(crate) enum Corrected {
    /// Send it.
    Answer(Response<Bytes>),
    /// Forget it and run the request again.
    Again,
}

/// An error of PostgREST's, as it puts it itself.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) details: Value,
    pub(crate) hint: Value,
}

impl Refusal {
    fn new(status: StatusCode, code: &str, message: &str) -> Refusal {
        Refusal {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
            details: Value::Null,
            hint: Value::Null,
        }
    }

    pub(crate) fn database_down() -> Refusal {
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "PGRST002",
            "Could not query the database for the schema cache. Retrying.",
        )
    }

    fn connection_lost() -> Refusal {
        Refusal {
            details: json!("no connection to the server\n"),
            ..Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "PGRST001",
                "Database client error. Retrying the connection.",
            )
        }
    }

    fn pool_exhausted() -> Refusal {
        Refusal::new(
            StatusCode::GATEWAY_TIMEOUT,
            "PGRST003",
            "Timed out acquiring connection from connection pool.",
        )
    }

    pub(crate) fn invalid_body() -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, "PGRST102", "Empty or invalid json")
    }

    fn bad_token() -> Refusal {
        Refusal {
            details: json!("None of the keys was able to decode the JWT"),
            ..Refusal::new(
                StatusCode::UNAUTHORIZED,
                "PGRST301",
                "No suitable key or wrong key type",
            )
        }
    }

    /// A bug of the stack itself.
    pub(crate) fn internal() -> Refusal {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "PGRSTX00",
            "the stand-in REST layer panicked",
        )
    }

    /// The error that postrust answered with, if it is one.
    fn read(response: &Response<Bytes>) -> Option<Refusal> {
        let status = response.status();
        if !status.is_client_error() && !status.is_server_error() {
            return None;
        }
        let mut body: Value = serde_json::from_slice(response.body()).ok()?;
        Some(Refusal {
            status,
            code: body["code"].as_str()?.to_owned(),
            message: body["message"].as_str()?.to_owned(),
            details: body["details"].take(),
            hint: body["hint"].take(),
        })
    }

    pub(crate) fn response(&self) -> Response<Body> {
        let mut headers = HeaderMap::new();
        self.describe(&mut headers);
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response
    }

    fn body(&self) -> String {
        json!({
            "code": self.code,
            "details": self.details,
            "hint": self.hint,
            "message": self.message,
        })
        .to_string()
    }

    fn describe(&self, headers: &mut HeaderMap) {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
        if let Ok(value) = HeaderValue::from_str(&format!("PostgREST; error={}", self.code)) {
            headers.insert("proxy-status", value);
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("0"));
        }
        if self.code == "PGRST301" || self.code == "PGRST303" {
            let challenge = format!(
                "Bearer error=\"invalid_token\", error_description=\"{}\"",
                self.message
            );
            if let Ok(value) = HeaderValue::from_str(&challenge) {
                headers.insert(header::WWW_AUTHENTICATE, value);
            }
        }
    }
}

/// Turns an answer of postrust's into PostgREST's.
pub(crate) fn correct(response: Response<Bytes>, context: Context) -> Corrected {
    let Some(found) = Refusal::read(&response) else {
        return Corrected::Answer(response);
    };
    let refusal = match found.code.as_str() {
        "40001" | "40P01" => return Corrected::Again,
        "PGRST500" => match context.progress {
            Progress::Begun => Refusal::connection_lost(),
            Progress::DatabaseDown => Refusal::database_down(),
            Progress::NoConnection => Refusal::pool_exhausted(),
        },
        // The server's last words on a connection that it ends. An exception
        // with this SQLSTATE says something else.
        "57P01" if found.message.starts_with("terminating connection") => {
            Refusal::connection_lost()
        }
        "42501" if !context.anonymous => Refusal {
            status: StatusCode::FORBIDDEN,
            ..found
        },
        "PGRST301" => Refusal::bad_token(),
        // PostgREST leaves a read column to the database.
        "PGRST204" => match context.missing_column {
            Some(column) => Refusal {
                code: "42703".to_owned(),
                message: format!("column {column} does not exist"),
                ..found
            },
            None => found,
        },
        _ => found,
    };
    let (mut parts, _) = response.into_parts();
    parts.status = refusal.status;
    if refusal.status != StatusCode::UNAUTHORIZED {
        parts.headers.remove(header::WWW_AUTHENTICATE);
    }
    // The length is that of the old body; the server counts the new one.
    parts.headers.remove(header::CONTENT_LENGTH);
    refusal.describe(&mut parts.headers);
    Corrected::Answer(Response::from_parts(parts, Bytes::from(refusal.body())))
}
