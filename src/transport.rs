//! One request to PostgREST: how it is built and sent, what its response means, and whether it is
//! sent again.

mod classify;
#[cfg(test)]
pub(crate) mod fake;
mod http;
mod retry;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde_json::Value;
use uuid::Uuid;

pub(crate) use self::{
    classify::{Effect, RequestError, Retry, classify, not_an_answer},
    http::{Document, Fetched, Http},
    retry::{RetryPolicy, RetryState},
};
use crate::manifest::Version;

/// The largest response that is read, in bytes.
pub(crate) const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;

/// The requests that this crate makes.
///
/// Each may be repeated: a function that changes something knows a request again by its attempt, the
/// SQL can run any number of times, and everything else only reads.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// A table's rows above a version, lowest first.
    Rows { table: &'static str, above: Version },
    /// A function with its arguments as JSON, of which no request makes a copy.
    Function {
        name: &'static str,
        arguments: Bytes,
        attempt: Option<Uuid>,
    },
    /// SQL, past PostgREST. Without the key only to see whether that is refused.
    Sql { text: Arc<str>, with_key: bool },
}

impl Request {
    /// The table or function.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Rows { table, .. } => table,
            Self::Function { name, .. } => name,
            Self::Sql { .. } => "sql",
        }
    }

    /// The id by which the database knows a repeated request again.
    pub(crate) fn attempt(&self) -> Option<Uuid> {
        match self {
            Self::Rows { .. } | Self::Sql { .. } => None,
            Self::Function { attempt, .. } => *attempt,
        }
    }
}

/// A response as it arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    /// The total behind the slash of `Content-Range`.
    pub(crate) total: Option<usize>,
    /// `Retry-After`, from now on.
    pub(crate) retry_after: Option<Duration>,
    /// `Date`: the server's clock.
    pub(crate) date: Option<SystemTime>,
    /// `Server`.
    pub(crate) server: Option<String>,
    /// `Proxy-Status`.
    pub(crate) proxy_status: Option<String>,
    /// `Content-Profile`.
    pub(crate) content_profile: Option<String>,
    /// `WWW-Authenticate`.
    pub(crate) www_authenticate: Option<String>,
    /// The User-Agent of the request, where it looks like a browser's and the key is a secret one.
    pub(crate) sent_as_browser: Option<String>,
    /// `Location`, without its query.
    pub(crate) location: Option<String>,
    /// Whether that is on another host.
    pub(crate) leaves_host: bool,
    /// Whether the same client has read rows before, so that this address is a Supabase API.
    pub(crate) reads_pass: bool,
    pub(crate) body: String,
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum TransportError {
    /// There was no connection, so nothing was sent. With the proxy that it went through.
    Unreachable(Option<String>, BoxError),
    /// The server does not speak TLS, so nothing was sent.
    NotTls(BoxError),
    /// The response is not HTTP.
    NotHttp(BoxError),
    /// There was no secure connection, so nothing was sent.
    Tls(BoxError),
    /// No response arrived within this time.
    Timeout(Duration),
    /// The connection broke, or the response was not HTTP.
    Lost(BoxError),
    /// The response was longer than [`MAX_RESPONSE_BYTES`].
    TooLong,
}

/// A response that was understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Response {
    /// A JSON value, and for rows how many there are in all.
    Json { value: Value, total: Option<usize> },
    /// The table does not exist.
    NoTable,
    /// PostgreSQL refused the SQL. Nothing was changed.
    Refused(SqlRefusal),
}

/// An error of PostgreSQL.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SqlRefusal {
    pub(crate) sqlstate: String,
    pub(crate) reason: String,
}

/// The error of a library below.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A future that can be stored.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Sends one request once. Tests put a database of their own here.
pub(crate) trait Transport: Send + Sync {
    fn send<'a>(
        &'a self,
        request: &'a Request,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<HttpResponse, TransportError>>;
}
