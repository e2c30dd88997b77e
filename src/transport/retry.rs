//! When a request is made again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Call, Effect, Fault, Reply, Retry, Transport, classify::classify};

const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

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
    call: &Call,
    limit: Duration,
) -> Result<Reply, Fault> {
    classify(call, transport.send(call, limit).await)
}

/// Makes a request that only reads, again and again until it is answered or `total` is over.
pub(crate) async fn read(
    transport: &dyn Transport,
    call: &Call,
    limit: Duration,
    total: Duration,
) -> Result<Reply, Fault> {
    let mut patience = Patience::new(Instant::now(), total, total);
    loop {
        let fault = match try_once(transport, call, limit.min(patience.left(Instant::now()))).await
        {
            Ok(reply) => return Ok(reply),
            Err(fault) => fault,
        };
        sleep(patience.next(Instant::now(), fault)?).await;
    }
}

/// How long one goes on asking, and when next. Pure but for the jitter.
#[derive(Debug)]
pub(crate) struct Patience {
    /// Until when, while it is certain that nothing has run.
    idle_until: Instant,
    /// Until when, once something may be running.
    busy_until: Instant,
    /// Whether an earlier copy of the request may have run, or may still.
    busy: bool,
    delay: Duration,
    soon: std::slice::Iter<'static, Duration>,
    asked_at_once: bool,
}

impl Patience {
    pub(crate) fn new(now: Instant, idle: Duration, busy: Duration) -> Self {
        Self {
            idle_until: now + idle,
            busy_until: now + busy,
            busy: false,
            delay: FIRST_DELAY,
            soon: SOON.iter(),
            asked_at_once: false,
        }
    }

    /// Whether a copy of the request may have run.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy
    }

    /// The time that is left for one more request.
    pub(crate) fn left(&self, now: Instant) -> Duration {
        let until = if self.busy {
            self.busy_until
        } else {
            self.idle_until
        };
        until
            .saturating_duration_since(now)
            .max(Duration::from_millis(1))
    }

    /// How long to wait before the next request, or the fault when there is to be none.
    pub(crate) fn next(&mut self, now: Instant, fault: Fault) -> Result<Duration, Fault> {
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
        wait.filter(|wait| self.in_time(now, *wait)).ok_or(fault)
    }

    /// How long to wait for something that is known to be running; none when the time is over.
    pub(crate) fn wait_for_running(&mut self, now: Instant) -> Option<Duration> {
        self.busy = true;
        let wait = self.backoff();
        self.in_time(now, wait).then_some(wait)
    }

    fn in_time(&self, now: Instant, wait: Duration) -> bool {
        now + wait
            < if self.busy {
                self.busy_until
            } else {
                self.idle_until
            }
    }

    /// Doubles, with a jitter down to the half, so that many callers do not come together.
    fn backoff(&mut self) -> Duration {
        let delay = self.delay;
        self.delay = (delay * 2).min(LONGEST_DELAY);
        delay.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}
