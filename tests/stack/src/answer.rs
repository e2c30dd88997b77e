//! Where postrust's answers differ from PostgREST's, PostgREST's.

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use serde_json::{Value, json};

/// What is known of a request that found no working connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It had a connection and lost it: whether it was committed is unknown.
    Begun,
    /// The database is away; nothing ran.
    DatabaseDown,
    /// All connections stayed taken; nothing ran.
    NoConnection,
}

/// What to do with an answer.
pub(crate) enum Corrected {
    /// Send it.
    Answer(Response<Bytes>),
    /// Forget it and run the request again.
    Again,
}

/// An error that PostgREST words itself.
pub(crate) struct Fixed {
    status: StatusCode,
    code: &'static str,
    details: Option<&'static str>,
    message: &'static str,
}

pub(crate) const DATABASE_DOWN: Fixed = Fixed {
    status: StatusCode::SERVICE_UNAVAILABLE,
    code: "PGRST002",
    details: None,
    message: "Could not query the database for the schema cache. Retrying.",
};

const CONNECTION_LOST: Fixed = Fixed {
    status: StatusCode::SERVICE_UNAVAILABLE,
    code: "PGRST001",
    details: Some("no connection to the server\n"),
    message: "Database client error. Retrying the connection.",
};

const POOL_EXHAUSTED: Fixed = Fixed {
    status: StatusCode::GATEWAY_TIMEOUT,
    code: "PGRST003",
    details: None,
    message: "Timed out acquiring connection from connection pool.",
};

pub(crate) const INVALID_BODY: Fixed = Fixed {
    status: StatusCode::BAD_REQUEST,
    code: "PGRST102",
    details: None,
    message: "Empty or invalid json",
};

/// A bug of the stack itself.
pub(crate) const INTERNAL: Fixed = Fixed {
    status: StatusCode::INTERNAL_SERVER_ERROR,
    code: "PGRSTX00",
    details: None,
    message: "the stand-in REST layer panicked",
};

impl Fixed {
    pub(crate) fn into_response(&self) -> Response<Body> {
        self.render().map(Body::from)
    }

    fn render(&self) -> Response<Bytes> {
        let Fixed {
            code,
            details,
            message,
            ..
        } = self;
        let body = json!({"code": code, "details": details, "hint": null, "message": message});
        let mut response = Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = self.status;
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
        describe(self.status, code, response.headers_mut());
        response
    }
}

/// Turns an answer of postrust into PostgREST's.
pub(crate) fn correct(response: Response<Bytes>, progress: Progress) -> Corrected {
    if !response.status().is_client_error() && !response.status().is_server_error() {
        return Corrected::Answer(response);
    }
    let Ok(body) = serde_json::from_slice::<Value>(response.body()) else {
        return Corrected::Answer(response);
    };
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    Corrected::Answer(match text("code") {
        "40001" | "40P01" => return Corrected::Again,
        "PGRST500" => match progress {
            Progress::Begun => CONNECTION_LOST.render(),
            Progress::DatabaseDown => DATABASE_DOWN.render(),
            Progress::NoConnection => POOL_EXHAUSTED.render(),
        },
        _ => response,
    })
}

fn describe(status: StatusCode, code: &str, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_str(&format!("PostgREST; error={code}")) {
        headers.insert("proxy-status", value);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("0"));
    }
}
