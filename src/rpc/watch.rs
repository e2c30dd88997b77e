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
        on_wait: Option<impl FnMut(Wait, Duration) + Send>,
        cancelled: impl Fn() -> Option<T>,
    ) -> Result<T, ExchangeError> {
        let watched = Watched::new(&*self.transport, None, on_wait);
        let mut last = None;
        let request = || {
            let next = change().map(|change| request(&change)).or(last.take());
            last.clone_from(&next);
            next.expect("there is a first request")
        };
        let decide = |response| decide(returned(response)?);
        let tell = |wait, waited| watched.tell(wait, waited);
        exchange(&watched, policy, request, decide, tell, cancelled).await
    }
}

/// Sends requests, and looks at what the database does meanwhile, if anybody listens.
pub(super) struct Watched<'a, F> {
    transport: &'a dyn Transport,
    attempt: Option<Uuid>,
    started: Instant,
    on_wait: Option<Mutex<F>>,
}

impl<'a, F: FnMut(Wait, Duration) + Send> Watched<'a, F> {
    /// `attempt`: the one that a request belongs to which has none of its own.
    pub(super) fn new(
        transport: &'a dyn Transport,
        attempt: Option<Uuid>,
        on_wait: Option<F>,
    ) -> Self {
        Self {
            transport,
            attempt,
            started: Instant::now(),
            on_wait: on_wait.map(Mutex::new),
        }
    }

    fn tell(&self, wait: Wait, waited: Duration) {
        if let Some(on_wait) = &self.on_wait {
            let mut on_wait = on_wait.lock().unwrap_or_else(PoisonError::into_inner);
            on_wait(wait, waited);
        }
    }

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
                self.tell(running.into(), self.started.elapsed());
            }
            sleep(backoff.delay()).await;
        }
    }
}

impl<F: FnMut(Wait, Duration) + Send> Transport for Watched<'_, F> {
    fn send<'a>(
        &'a self,
        request: &'a Request,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<HttpResponse, TransportError>> {
        let response = self.transport.send(request, timeout);
        if self.on_wait.is_none() {
            return response;
        }
        Box::pin(async move {
            tokio::select! {
                biased;
                response = response => response,
                () = self.look(request.attempt().or(self.attempt)) => unreachable!("looking does not end"),
            }
        })
    }
}
