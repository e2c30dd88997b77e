//! One request to PostgREST: build, send, understand, and repeat where that is safe.

mod classify;
#[cfg(test)]
pub(crate) mod fake;
mod http;
mod retry;

use std::{future::Future, pin::Pin, time::Duration};

use serde_json::Value;

pub(crate) use self::{
    classify::{Effect, RequestError, Retry},
    http::Http,
    retry::{RetryState, read, try_once},
};
use crate::manifest::Version;

/// The largest answer that is read, in bytes.
pub(crate) const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;

/// The two requests that this crate makes.
///
/// Both may be repeated: one only reads, and the functions that are called either
/// read too or know a request again by its attempt.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// The ledger's rows above a version, lowest first.
    Ledger { above: Version },
    /// A function with its arguments as JSON.
    Function {
        name: &'static str,
        arguments: String,
    },
}

/// What came back, whatever it means.
#[derive(Clone, Debug, Default)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    /// The total behind the slash of `Content-Range`.
    pub(crate) total: Option<usize>,
    /// `Retry-After` in seconds.
    pub(crate) retry_after: Option<Duration>,
    /// `Server`.
    pub(crate) server: Option<String>,
    /// `Location`, without query.
    pub(crate) location: Option<String>,
    pub(crate) body: String,
}

/// Why nothing came back.
#[derive(Debug)]
pub(crate) enum TransportError {
    /// No connection came about, so nothing was sent.
    Unreachable(BoxError),
    /// No secure connection came about, so nothing was sent.
    Tls(BoxError),
    /// Not within this time.
    Timeout(Duration),
    /// The connection broke, or the answer was not HTTP.
    Lost(BoxError),
    /// The answer was longer than [`MAX_RESPONSE_BYTES`].
    TooLong,
}

/// An answer that was understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Response {
    /// A JSON value, and how many rows there are in all where that was asked.
    Json { value: Value, total: Option<usize> },
    /// The table of the ledger does not exist.
    NoLedger,
}

/// What a library below reports.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A future that can be stored.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Sends one request once. The seam at which tests put a database of their own.
pub(crate) trait Transport: Send + Sync {
    fn send<'a>(
        &'a self,
        request: &'a Request,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<HttpResponse, TransportError>>;
}
