//! Decides when the next check is due. Pure except for the jitter.

use std::time::Duration;

use crate::backoff::Backoff;

/// The wait after the first failed check; doubles with each failure in a row.
const FIRST_RETRY: Duration = Duration::from_secs(60);

/// The waits between checks.
#[derive(Clone, Debug)]
pub(crate) struct Timetable {
    interval: Duration,
    /// Whether the last wait was the randomized one.
    spread: bool,
    /// The waits after failures, while checks fail.
    retries: Option<Backoff>,
}

impl Timetable {
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            spread: false,
            retries: None,
        }
    }

    /// How long to wait after a check; never longer than the interval.
    ///
    /// Daemons that a release starts in the same minute would otherwise check in the same
    /// minute every six hours. So the first wait after a start or a failure is a random part
    /// of the interval, which spreads them evenly; later waits are the whole interval, which
    /// keeps them spread.
    pub(crate) fn wait_after(&mut self, succeeded: bool) -> Duration {
        if !succeeded {
            self.spread = false;
            let new = || Backoff::new(FIRST_RETRY, self.interval);
            return self.retries.get_or_insert_with(new).delay();
        }
        self.retries = None;
        if std::mem::replace(&mut self.spread, true) {
            self.interval
        } else {
            self.interval.mul_f64(0.05 + 0.95 * fastrand::f64())
        }
    }
}
