//! Decides whether and when a request is sent again. Pure but for the jitter.

use std::{slice, time::Duration};

use tokio::time::Instant;

use super::{Effect, RequestError, Retry};
use crate::{backoff::Backoff, config::LONGEST_RETRY_DELAY};

/// The shortest timeout of a request, even at the deadline. With less, the request could only
/// time out, and that error would hide the one that led here.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);

/// The delays while PostgREST may be reloading its schema cache, which takes it about 100 ms.
const RELOAD_DELAYS: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
];

/// How often a request is sent whose connection to the database ends while it runs. An administrator may have ended it,
/// or the server may have run out of memory, and would again.
const INTERRUPTIONS: u32 = 3;

/// A connection that had ended before is noticed at once.
const RAN_FOR: Duration = Duration::from_secs(1);

/// How long clocks that disagree are waited for.
const CLOCKS: Duration = Duration::from_secs(10);

/// How long a request is repeated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryPolicy {
    /// The timeout of one request.
    pub(crate) timeout: Duration,
    /// The first backoff.
    pub(crate) delay: Duration,
    /// The deadline as long as it is certain that nothing has run.
    pub(crate) deadline: Duration,
    /// The deadline once a copy of the request may have run, or is running.
    pub(crate) running_deadline: Duration,
    /// How many new attempts may follow one that found a table in use.
    pub(crate) new_attempts: usize,
}

/// Where a request stands in its [`RetryPolicy`].
#[derive(Debug)]
pub(crate) struct RetryState {
    policy: RetryPolicy,
    started: Instant,
    attempt_started: Instant,
    /// The deadline of this attempt as long as nothing of it has run.
    idle_deadline: Duration,
    new_attempts: usize,
    may_have_run: bool,
    backoff: Backoff,
    reload_delays: slice::Iter<'static, Duration>,
    retried_at_once: bool,
    interruptions: u32,
    /// Since when the clocks of the servers disagree.
    clocks_disagree: Option<Instant>,
}

impl RetryState {
    pub(crate) fn new(policy: RetryPolicy, now: Instant) -> Self {
        Self {
            policy,
            started: now,
            attempt_started: now,
            idle_deadline: policy.deadline,
            new_attempts: policy.new_attempts,
            may_have_run: false,
            backoff: Backoff::new(policy.delay, LONGEST_RETRY_DELAY),
            reload_delays: RELOAD_DELAYS.iter(),
            retried_at_once: false,
            interruptions: 0,
            clocks_disagree: None,
        }
    }

    /// Whether a copy of the request may have run.
    pub(crate) fn may_have_run(&self) -> bool {
        self.may_have_run
    }

    /// The time since the first request.
    pub(crate) fn waited(&self, now: Instant) -> Duration {
        now - self.started
    }

    /// The timeout of the next request.
    pub(crate) fn timeout(&self, now: Instant) -> Duration {
        let remaining = self.remaining(now).max(SHORTEST_TIMEOUT);
        self.policy.timeout.min(remaining)
    }

    /// The delay before the request is sent again after this error, which took so long. `None`: it is not.
    pub(crate) fn after_error(
        &mut self,
        now: Instant,
        took: Duration,
        error: &RequestError,
    ) -> Option<Duration> {
        self.may_have_run |= error.effect != Effect::None;
        if error.effect == Effect::Interrupted && took >= RAN_FOR {
            self.interruptions += 1;
            if self.interruptions == INTERRUPTIONS {
                return None;
            }
        }
        let delay = match error.retry {
            Retry::No => return None,
            Retry::Soon => self.reload_delays.next().copied()?,
            Retry::Yes => self.backoff.delay(),
            Retry::Clocks => {
                let since = *self.clocks_disagree.get_or_insert(now);
                if now - since >= CLOCKS {
                    return None;
                }
                self.backoff.delay()
            }
            // `Retry-After: 0` is followed once. A server that restarts for two seconds would get
            // a storm of requests otherwise.
            Retry::After(Duration::ZERO) if !self.retried_at_once => {
                self.retried_at_once = true;
                Duration::ZERO
            }
            Retry::After(at_least) => self.backoff.delay().max(at_least),
        };
        self.within_deadline(now, delay)
    }

    /// The delay before asking again for something that runs in the database. `None`: the deadline
    /// has passed.
    pub(crate) fn while_running(&mut self, now: Instant) -> Option<Duration> {
        self.may_have_run = true;
        let delay = self.backoff.delay();
        self.within_deadline(now, delay)
    }

    /// Starts a new attempt after one that has ended without effect, and returns the delay before
    /// it. `None`: the attempts are used up, or the deadline has passed.
    pub(crate) fn new_attempt(&mut self, now: Instant) -> Option<Duration> {
        self.new_attempts = self.new_attempts.checked_sub(1)?;
        let left = self
            .policy
            .running_deadline
            .saturating_sub(self.waited(now));
        *self = Self {
            started: self.started,
            new_attempts: self.new_attempts,
            idle_deadline: self.policy.deadline.min(left),
            ..Self::new(self.policy, now)
        };
        let delay = self.backoff.delay();
        self.within_deadline(now, delay)
    }

    fn within_deadline(&self, now: Instant, delay: Duration) -> Option<Duration> {
        (delay < self.remaining(now)).then_some(delay)
    }

    /// A deadline may be longer than any clock goes, so it is never added to a time.
    fn remaining(&self, now: Instant) -> Duration {
        if self.may_have_run {
            self.policy
                .running_deadline
                .saturating_sub(now - self.started)
        } else {
            self.idle_deadline
                .saturating_sub(now - self.attempt_started)
        }
    }
}
