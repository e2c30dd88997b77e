//! Exponential backoff with jitter: the one formula by which this crate spaces repetitions.

use std::time::Duration;

/// Delays that double from one to the next, each shortened by up to 50 % at random, so that many
/// clients that failed together do not come back together.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            next: first.min(longest),
            longest,
        }
    }

    /// The next delay.
    pub(crate) fn delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = delay.saturating_mul(2).min(self.longest);
        delay.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_with_up_to_half_left_out() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        for longest in [1, 2, 4, 5, 5] {
            let longest = Duration::from_secs(longest);
            let delay = backoff.delay();
            assert!(longest / 2 <= delay && delay <= longest, "{delay:?}");
        }
        let mut backoff = Backoff::new(Duration::MAX, Duration::from_secs(5));
        assert!(backoff.delay() <= Duration::from_secs(5));
    }
}
