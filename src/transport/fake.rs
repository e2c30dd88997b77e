//! A database of the tests' own behind the seam: a queue of answers, and what was asked.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Answer, BoxFuture, Call, NoAnswer, Transport};

/// Answers from a queue; what is beyond its end gets the last answer again.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    queue: VecDeque<Scripted>,
    asked: Vec<(Call, Instant)>,
}

/// What happens to one request.
#[derive(Clone)]
pub(crate) enum Scripted {
    Answer(Answer),
    /// No connection.
    Refused,
    /// The connection breaks.
    Lost,
    /// No answer for as long as the caller waits.
    Silent,
}

impl Fake {
    pub(crate) fn new(queue: impl IntoIterator<Item = Scripted>) -> Self {
        let state = State {
            queue: queue.into_iter().collect(),
            asked: Vec::new(),
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// The requests so far.
    pub(crate) fn asked(&self) -> Vec<Call> {
        self.state()
            .asked
            .iter()
            .map(|(call, _)| call.clone())
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
        let bodies = calls.iter().filter_map(|call| match call {
            Call::Function { arguments, .. } => Some(arguments),
            Call::Ledger { .. } => None,
        });
        bodies
            .map(|body| serde_json::from_str::<Value>(body).unwrap()[name].clone())
            .collect()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Transport for Fake {
    fn send<'a>(
        &'a self,
        call: &'a Call,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Answer, NoAnswer>> {
        let scripted = {
            let mut state = self.state();
            state.asked.push((call.clone(), Instant::now()));
            if state.queue.len() > 1 {
                state.queue.pop_front()
            } else {
                state.queue.front().cloned()
            }
        };
        Box::pin(async move {
            match scripted.expect("an answer is scripted") {
                Scripted::Answer(answer) => Ok(answer),
                Scripted::Refused => Err(NoAnswer::Unreachable("refused".into())),
                Scripted::Lost => Err(NoAnswer::Lost("reset".into())),
                Scripted::Silent => {
                    tokio::time::sleep(limit).await;
                    Err(NoAnswer::Timeout(limit))
                }
            }
        })
    }
}

/// An answer with this JSON.
pub(crate) fn answer(status: u16, body: Value) -> Scripted {
    Scripted::Answer(Answer {
        status,
        body: body.to_string(),
        ..Answer::default()
    })
}

/// An error of PostgREST.
pub(crate) fn refusal(status: u16, code: &str, retry_after: Option<u64>) -> Scripted {
    let body = json!({"code": code, "message": "no", "details": null, "hint": null}).to_string();
    let retry_after = retry_after.map(Duration::from_secs);
    Scripted::Answer(Answer {
        status,
        body,
        retry_after,
        ..Answer::default()
    })
}
