//! The one loop that sends a request until its outcome is known.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    error::Error,
    ledger::AttemptAction,
    manifest::Version,
    report::{Wait, WaitReason},
    transport::{Request, RequestError, Response, RetryPolicy, RetryState, Transport, classify},
};

/// What a response means for the exchange.
pub(crate) enum Verdict<T> {
    /// It is the outcome.
    Done(T),
    /// The database is still working on this request, or on something else. It is asked again.
    Running(Wait),
    /// The attempt has ended without effect because a table was in use. This is the outcome unless
    /// the policy allows a new attempt.
    TableInUse(T),
}

/// Why an exchange ended without an outcome.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// The last request failed.
    Failed {
        error: Box<Error>,
        /// Whether a copy of the request may have run.
        may_have_run: bool,
    },
    /// The database was still working at the deadline.
    StillRunning { waited: Duration },
}

impl ExchangeError {
    /// For a request that follows one which has begun something: the database may go on with that.
    pub(crate) fn of_what_is_under_way(self) -> Self {
        match self {
            Self::Failed { error, .. } => Self::Failed {
                error,
                may_have_run: true,
            },
            Self::StillRunning { .. } => self,
        }
    }

    /// For a request that changes the schema or the ledger, beginning with this version.
    pub(crate) fn of_change(self, action: AttemptAction, version: Version) -> Error {
        match self {
            Self::StillRunning { waited } => Error::StillRunning {
                action,
                version,
                waited,
            },
            Self::Failed {
                error: source,
                may_have_run: true,
            } => Error::OutcomeUnknown {
                action,
                version,
                source,
            },
            Self::Failed { error, .. } => *error,
        }
    }
}

/// For requests that change nothing, which need not know whether they have run.
impl From<ExchangeError> for Error {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Failed { error, .. } => *error,
            ExchangeError::StillRunning { .. } => Self::ChangeRunning,
        }
    }
}

/// Sends a request until its outcome is known or the policy gives it up.
///
/// `request` makes the request of each attempt: once, and once more for every new attempt. `decide`
/// says what a response means. `on_wait` gets the reason of each wait and the time waited so far.
/// `cancelled` is asked before each request; the outcome that it gives is that of the exchange.
pub(crate) async fn exchange<T>(
    transport: &dyn Transport,
    policy: RetryPolicy,
    mut request: impl FnMut() -> Request,
    mut decide: impl FnMut(Response) -> Result<Verdict<T>, RequestError>,
    mut on_wait: impl FnMut(Wait, Duration),
    cancelled: impl Fn() -> Option<T>,
) -> Result<T, ExchangeError> {
    let mut state = RetryState::new(policy, Instant::now());
    let mut sent = request();
    let mut requests = 0_u32;
    started(&sent);
    let end = loop {
        if let Some(outcome) = cancelled() {
            break Ok(outcome);
        }
        requests += 1;
        let sent_at = Instant::now();
        let response = transport.send(&sent, state.timeout(sent_at)).await;
        let verdict = classify(&sent, response).and_then(&mut decide);
        let now = Instant::now();
        let waited = state.waited(now);
        let (wait, delay) = match verdict {
            Ok(Verdict::Done(outcome)) => break Ok(outcome),
            Ok(Verdict::Running(wait)) => match state.while_running(now) {
                Some(delay) => {
                    retried(&sent, requests, delay, &"a change or a preview is running");
                    (wait, delay)
                }
                None => break Err(ExchangeError::StillRunning { waited }),
            },
            Ok(Verdict::TableInUse(outcome)) => match state.new_attempt(now) {
                Some(delay) => {
                    retried(&sent, requests, delay, &"a table is in use");
                    sent = request();
                    (WaitReason::TableInUse.into(), delay)
                }
                None => break Ok(outcome),
            },
            Err(failed) => match state.after_error(now, now - sent_at, &failed) {
                Some(delay) => {
                    retried(&sent, requests, delay, &failed.error);
                    (reason(&failed.error).into(), delay)
                }
                None => {
                    break Err(ExchangeError::Failed {
                        error: failed.error,
                        may_have_run: state.may_have_run(),
                    });
                }
            },
        };
        on_wait(wait, waited);
        sleep(delay).await;
    };
    ended(&sent, requests, state.waited(Instant::now()), &end);
    end
}

fn reason(error: &Error) -> WaitReason {
    if matches!(error, Error::RpcNotInstalled { .. }) {
        WaitReason::FunctionsMissing
    } else {
        WaitReason::NoResponse
    }
}

fn started(request: &Request) {
    let attempt = request.attempt().map(tracing::field::display);
    tracing::info!(request = request.name(), attempt, "request started");
}

fn retried(request: &Request, requests: u32, delay: Duration, cause: &dyn std::fmt::Display) {
    let attempt = request.attempt().map(tracing::field::display);
    tracing::info!(request = request.name(), attempt, requests, ?delay, %cause, "request is retried");
}

fn ended<T>(request: &Request, requests: u32, took: Duration, end: &Result<T, ExchangeError>) {
    let attempt = request.attempt().map(tracing::field::display);
    let cause = match end {
        Ok(_) => None,
        Err(ExchangeError::Failed { error, .. }) => Some(error.to_string()),
        Err(ExchangeError::StillRunning { .. }) => Some("a change is still running".to_owned()),
    };
    tracing::info!(
        request = request.name(),
        attempt,
        requests,
        ?took,
        cause,
        "request ended"
    );
}
