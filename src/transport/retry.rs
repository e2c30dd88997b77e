//! When a request is made again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Effect, Request, RequestError, Response, Retry, Transport, classify::classify};
use crate::config::LONGEST_RETRY_DELAY;

/// What a request gets at least, even at the deadline: with less, all that could come of it
/// is that there was no answer in time, in place of the error that led here.
const LEAST: Duration = Duration::from_secs(1);

/// The waits for a schema that PostgREST may be reading at this moment, which takes
/// it about 100 ms.
const SOON: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
];

/// Makes a request once.
pub(crate) async fn try_once(
    transport: &dyn Transport,
    request: &Request,
    timeout: Duration,
) -> Result<Response, RequestError> {
    classify(request, transport.send(request, timeout).await)
}

/// Makes a request that only reads, again and again until it is answered or `total` is over.
pub(crate) async fn read(
    transport: &dyn Transport,
    request: &Request,
    timeout: Duration,
    delay: Duration,
    total: Duration,
) -> Result<Response, RequestError> {
    let mut retry = RetryState::new(Instant::now(), delay, total, total);
    loop {
        let fault =
            match try_once(transport, request, timeout.min(retry.left(Instant::now()))).await {
                Ok(reply) => return Ok(reply),
                Err(fault) => fault,
            };
        sleep(retry.next(Instant::now(), fault)?).await;
    }
}

/// How long one goes on asking, and when next. Pure but for the jitter.
#[derive(Debug)]
pub(crate) struct RetryState {
    started: Instant,
    /// How long, while it is certain that nothing has run.
    while_idle: Duration,
    /// How long, once something may be running.
    while_busy: Duration,
    /// Whether an earlier copy of the request may have run, or may still.
    busy: bool,
    delay: Duration,
    soon: std::slice::Iter<'static, Duration>,
    asked_at_once: bool,
}

impl RetryState {
    /// The delay is that before the first repetition.
    pub(crate) fn new(
        now: Instant,
        delay: Duration,
        while_idle: Duration,
        while_busy: Duration,
    ) -> Self {
        Self {
            started: now,
            while_idle,
            while_busy,
            busy: false,
            delay,
            soon: SOON.iter(),
            asked_at_once: false,
        }
    }

    /// Whether a copy of the request may have run.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy
    }

    /// The time for one more request.
    pub(crate) fn left(&self, now: Instant) -> Duration {
        self.remaining(now).max(LEAST)
    }

    /// How long to wait before the next request, or the fault when there is to be none.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        fault: RequestError,
    ) -> Result<Duration, RequestError> {
        self.busy |= fault.effect == Effect::Unknown;
        let wait = match fault.retry {
            Retry::No => None,
            Retry::Soon => self.soon.next().copied(),
            Retry::Yes => Some(self.backoff()),
            // A server that asks for no delay at all gets one request at once, and not a storm.
            Retry::After(Duration::ZERO) if !self.asked_at_once => {
                self.asked_at_once = true;
                Some(Duration::ZERO)
            }
            Retry::After(at_least) => Some(self.backoff().max(at_least)),
        };
        wait.filter(|wait| *wait < self.remaining(now)).ok_or(fault)
    }

    /// How long to wait for something that is known to be running; none when the time is over.
    pub(crate) fn wait_for_running(&mut self, now: Instant) -> Option<Duration> {
        self.busy = true;
        self.pause(now)
    }

    /// How long to wait for something else; none when the time is over.
    pub(crate) fn pause(&mut self, now: Instant) -> Option<Duration> {
        let wait = self.backoff();
        (wait < self.remaining(now)).then_some(wait)
    }

    /// A limit may be longer than any clock goes, so it is never added to a time.
    fn remaining(&self, now: Instant) -> Duration {
        let limit = if self.busy {
            self.while_busy
        } else {
            self.while_idle
        };
        limit.saturating_sub(now - self.started)
    }

    /// Doubles, with a jitter down to the half, so that many callers do not come together.
    fn backoff(&mut self) -> Duration {
        let delay = self.delay;
        self.delay = (delay * 2).min(LONGEST_RETRY_DELAY);
        delay.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        error::Error,
        manifest::Version,
        transport::fake::{Fake, Scripted, refusal, response},
    };

    const LEDGER: Request = Request::Ledger {
        above: Version::ZERO,
    };
    const STATUS: Request = Request::Function {
        name: "ctx0_schema_status",
        arguments: String::new(),
    };

    /// Reads with a limit of 35 s a request and 30 s in all; the time that it took is paused time.
    async fn run(
        request: &Request,
        queue: impl IntoIterator<Item = Scripted>,
    ) -> (Result<Response, RequestError>, Fake, Duration) {
        let fake = Fake::new(queue);
        let started = Instant::now();
        let reply = read(
            &fake,
            request,
            Duration::from_secs(35),
            Duration::from_millis(200),
            Duration::from_secs(30),
        )
        .await;
        (reply, fake, started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_needs_one_request() {
        let (reply, fake, _) = run(&LEDGER, [response(200, json!([]))]).await;
        assert_eq!((reply.is_ok(), fake.asked().len()), (true, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_asked_again_with_growing_waits() {
        let (reply, fake, _) = run(
            &LEDGER,
            [
                Scripted::Refused,
                Scripted::Lost,
                Scripted::Refused,
                response(200, json!([])),
            ],
        )
        .await;
        assert!(reply.is_ok());
        for (wait, longest) in fake.waits().into_iter().zip([200, 400, 800]) {
            let longest = Duration::from_millis(longest);
            // tokio's clock counts whole milliseconds, rounded up.
            assert!(
                longest / 2 <= wait && wait <= longest + Duration::from_millis(1),
                "{wait:?} of {longest:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_will_not_pass_is_asked_once() {
        for code in ["PGRST301", "42501", "PGRST106", "22023"] {
            let (reply, fake, _) = run(&LEDGER, [refusal(400, code, None)]).await;
            assert_eq!((reply.is_err(), fake.asked().len()), (true, 1), "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn asking_ends_at_the_deadline() {
        for scripted in [
            Scripted::Refused,
            Scripted::Lost,
            Scripted::Silent,
            refusal(503, "PGRST002", Some(0)),
        ] {
            let (reply, _, took) = run(&LEDGER, [scripted]).await;
            assert!(reply.is_err());
            assert!(
                Duration::from_secs(20) < took && took <= Duration::from_secs(31),
                "{took:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_asks_for_no_delay_gets_one_request_at_once_and_no_storm() {
        let (_, fake, _) = run(&LEDGER, [refusal(503, "PGRST002", Some(0))]).await;
        let waits = fake.waits();
        assert!(waits[0] <= Duration::from_millis(1), "{waits:?}");
        assert!(waits[1] >= Duration::from_millis(100), "{waits:?}");
        assert!(waits.len() < 20, "{waits:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_asks_for_a_delay_gets_it() {
        let (reply, fake, _) = run(
            &LEDGER,
            [refusal(503, "PGRST002", Some(7)), response(200, json!([]))],
        )
        .await;
        assert!(reply.is_ok());
        assert!(fake.waits()[0] >= Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_beyond_the_deadline_is_not_waited_for() {
        let (reply, fake, took) = run(&LEDGER, [refusal(503, "PGRST002", Some(3600))]).await;
        assert!(matches!(
            *reply.unwrap_err().error,
            Error::DatabaseUnavailable { .. }
        ));
        assert_eq!((fake.asked().len(), took), (1, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_schema_that_postgrest_may_be_reading_is_waited_for_briefly() {
        let missing = || refusal(404, "PGRST202", None);
        let (reply, _, _) = run(&STATUS, [missing(), missing(), response(200, json!({}))]).await;
        assert!(reply.is_ok());

        let (reply, fake, took) = run(&STATUS, [missing()]).await;
        assert!(matches!(
            *reply.unwrap_err().error,
            Error::RpcNotInstalled { .. }
        ));
        assert_eq!(fake.asked().len(), 4);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}
