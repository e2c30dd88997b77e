//! Looks, while a change of the schema is under way, how far it is.
//!
//! The response to the change comes only when it has ended, or a gateway has given up. So the database
//! is asked in other requests. Nothing depends on their responses.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    Call, ChangeOutcomes, ChangeSchema, ExchangeError, Function, RequestError, RetryPolicy, Rpc,
    Running, Verdict, exchange::exchange, request, returned,
};
use crate::{
    backoff::Backoff,
    report::Wait,
    transport::{BoxFuture, HttpResponse, Request, Transport, TransportError, classify},
};

/// How long a change takes before the database is asked, and the longest delay between two requests.
const LOOKS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// How long a response is waited for.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks what is changing the schema.
#[derive(Serialize)]
struct WhatRuns {
    p_attempt: Option<Uuid>,
}

#[derive(Deserialize)]
struct WhatRunsResponse {
    running: Option<Running>,
}

impl Call for WhatRuns {
    type Response = WhatRunsResponse;

    fn function(&self) -> Function {
        Function::Running
    }
}

impl Rpc {
    /// Changes the schema, as [`Rpc::call`]. `on_wait` also gets what is seen of it while the database
    /// works on a request. Where `change` returns nothing, the last request is made again.
    pub(crate) async fn change<'c, T>(
        &self,
        policy: RetryPolicy,
        mut change: impl FnMut() -> Option<ChangeSchema<'c>>,
        mut decide: impl FnMut(ChangeOutcomes) -> Result<Verdict<T>, RequestError>,
        on_wait: impl FnMut(Wait, Duration) + Send,
        cancelled: impl Fn() -> Option<T>,
    ) -> Result<T, ExchangeError> {
        let started = Instant::now();
        let on_wait = Mutex::new(on_wait);
        let tell = |wait, waited| {
            let mut on_wait = on_wait.lock().unwrap_or_else(PoisonError::into_inner);
            on_wait(wait, waited);
        };
        let watched = Watched {
            transport: &*self.transport,
            attempt: None,
            on_seen: |wait| tell(wait, started.elapsed()),
        };
        let mut last = None;
        let request = || {
            let next = change().map(|change| request(&change)).or(last.take());
            last.clone_from(&next);
            next.expect("there is a first request")
        };
        let decide = |response| decide(returned(response)?);
        exchange(&watched, policy, request, decide, tell, cancelled).await
    }
}

/// Sends requests, and looks at what the database does meanwhile.
pub(super) struct Watched<'a, F> {
    pub(super) transport: &'a dyn Transport,
    /// The attempt that a request belongs to which has none of its own.
    pub(super) attempt: Option<Uuid>,
    pub(super) on_seen: F,
}

impl<F: Fn(Wait) + Send + Sync> Transport for Watched<'_, F> {
    fn send<'a>(
        &'a self,
        request: &'a Request,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<HttpResponse, TransportError>> {
        Box::pin(async move {
            tokio::select! {
                biased;
                response = self.transport.send(request, timeout) => response,
                () = self.look(request.attempt().or(self.attempt)) => unreachable!("looking does not end"),
            }
        })
    }
}

impl<F: Fn(Wait) + Send + Sync> Watched<'_, F> {
    async fn look(&self, attempt: Option<Uuid>) {
        let [first, longest] = LOOKS;
        let mut backoff = Backoff::new(first, longest);
        let what_runs = request(&WhatRuns { p_attempt: attempt });
        sleep(first).await;
        loop {
            let response = self.transport.send(&what_runs, TIMEOUT).await;
            let response = classify(&what_runs, response).and_then(returned::<WhatRunsResponse>);
            if let Ok(WhatRunsResponse {
                running: Some(running),
            }) = response
            {
                (self.on_seen)(running.into());
            }
            sleep(backoff.delay()).await;
        }
    }
}
