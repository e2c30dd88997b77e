//! A scripted transport for unit tests: a queue of responses, and a record of the requests.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{BoxFuture, HttpResponse, Request, Transport, TransportError};

/// Responds from a script, and records the requests.
#[derive(Clone)]
pub(crate) struct Fake(Arc<Mutex<State>>);

struct State {
    script: Box<dyn FnMut(&Request) -> Scripted + Send>,
    remembers: bool,
    /// What `ctx0_running` returns. Requests for it come in between, and are only counted.
    running: Value,
    looks: usize,
    asked: Vec<(Request, Instant)>,
}

/// What happens to one request.
#[derive(Clone)]
pub(crate) enum Scripted {
    Response(HttpResponse),
    /// No connection.
    Refused,
    /// The connection breaks.
    Lost,
    /// No response for as long as the caller waits.
    Silent,
    /// This, but later.
    Later(Duration, Box<Scripted>),
}

impl Fake {
    /// Responds from a queue; further requests get the last response again.
    pub(crate) fn new(queue: impl IntoIterator<Item = Scripted>) -> Self {
        let mut queue: VecDeque<_> = queue.into_iter().collect();
        Self::by(move |_| {
            let next = if queue.len() > 1 {
                queue.pop_front()
            } else {
                queue.front().cloned()
            };
            next.expect("an answer is scripted")
        })
    }

    /// Responds to each request as a function decides.
    pub(crate) fn by(script: impl FnMut(&Request) -> Scripted + Send + 'static) -> Self {
        let state = State {
            script: Box::new(script),
            remembers: true,
            running: Value::Null,
            looks: 0,
            asked: Vec::new(),
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Responds as a function decides and records nothing.
    pub(crate) fn forgetful(script: impl FnMut(&Request) -> Scripted + Send + 'static) -> Self {
        let fake = Self::by(script);
        fake.state().remembers = false;
        fake
    }

    /// While it works on a request, it tells this of it.
    pub(crate) fn telling(self, running: Value) -> Self {
        self.state().running = running;
        self
    }

    /// How often it was asked what it works on.
    pub(crate) fn looks(&self) -> usize {
        self.state().looks
    }

    /// The requests so far.
    pub(crate) fn asked(&self) -> Vec<Request> {
        self.state()
            .asked
            .iter()
            .map(|(request, _)| request.clone())
            .collect()
    }

    /// The waits between the requests so far.
    pub(crate) fn waits(&self) -> Vec<Duration> {
        self.state()
            .asked
            .windows(2)
            .map(|pair| pair[1].1 - pair[0].1)
            .collect()
    }

    /// An argument of each function call so far.
    pub(crate) fn arguments(&self, name: &str) -> Vec<Value> {
        let calls = self.asked();
        let bodies = calls.iter().filter_map(|request| match request {
            Request::Function { arguments, .. } => Some(arguments),
            Request::Rows { .. } | Request::Sql { .. } => None,
        });
        bodies
            .map(|body| serde_json::from_slice::<Value>(body).unwrap()[name].clone())
            .collect()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Transport for Fake {
    fn send<'a>(
        &'a self,
        request: &'a Request,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<HttpResponse, TransportError>> {
        let mut scripted = {
            let mut state = self.state();
            if request.name() == "ctx0_running" {
                state.looks += 1;
                let body = json!({"running": state.running}).to_string();
                return Box::pin(std::future::ready(Ok(HttpResponse {
                    status: 200,
                    body,
                    ..HttpResponse::default()
                })));
            }
            if state.remembers {
                state.asked.push((request.clone(), Instant::now()));
            }
            (state.script)(request)
        };
        Box::pin(async move {
            if let Scripted::Later(wait, later) = scripted {
                tokio::time::sleep(wait).await;
                scripted = *later;
            }
            match scripted {
                Scripted::Response(response) => Ok(response),
                Scripted::Refused => Err(TransportError::Unreachable(None, "refused".into())),
                Scripted::Lost => Err(TransportError::Lost("reset".into())),
                Scripted::Silent => {
                    tokio::time::sleep(timeout).await;
                    Err(TransportError::Timeout(timeout))
                }
                Scripted::Later(..) => unreachable!("one delay is enough"),
            }
        })
    }
}

/// A response with this JSON.
pub(crate) fn response(status: u16, body: Value) -> Scripted {
    Scripted::Response(HttpResponse {
        status,
        body: body.to_string(),
        ..HttpResponse::default()
    })
}

/// An error of PostgREST.
pub(crate) fn refusal(status: u16, code: &str, retry_after: Option<u64>) -> Scripted {
    let body = json!({"code": code, "message": "no", "details": null, "hint": null}).to_string();
    let retry_after = retry_after.map(Duration::from_secs);
    Scripted::Response(HttpResponse {
        status,
        body,
        retry_after,
        ..HttpResponse::default()
    })
}
