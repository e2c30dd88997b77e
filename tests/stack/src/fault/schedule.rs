//! Schedules of faults that follow from a seed.

use std::fmt::Write as _;
use std::iter;
use std::time::Duration;

use fastrand::Rng;

use super::{Fault, Page};

/// A random schedule: the same seed and length always give the same faults.
///
/// Every fault occurs, at times from 1 to 30 ms, and about a third of the requests pass, so that
/// a client that tries again gets somewhere.
pub fn schedule(seed: u64, length: usize) -> Vec<Fault> {
    let mut rng = Rng::with_seed(seed);
    let urn: Vec<Make> = WEIGHTS
        .iter()
        .flat_map(|&(weight, make)| iter::repeat_n(make, weight))
        .collect();
    (0..length)
        .map(|_| urn[rng.usize(..urn.len())](&mut rng))
        .collect()
}

/// How to replay [`schedule`] with this seed and length, and what it did: the text for the message
/// of a failed run.
pub fn replay(seed: u64, length: usize) -> String {
    let mut text = format!("replay with schedule({seed}, {length}):");
    for (index, fault) in schedule(seed, length).iter().enumerate() {
        let _ = write!(text, "\n{:4} {fault}", index + 1);
    }
    text
}

fn time(rng: &mut Rng) -> Duration {
    Duration::from_millis(rng.u64(1..=30))
}

fn status(rng: &mut Rng) -> u16 {
    [502, 503, 504][rng.usize(0..3)]
}

fn page(rng: &mut Rng) -> Page {
    [Page::Html, Page::Text, Page::Empty][rng.usize(0..3)]
}

/// A fault with the details that the generator draws for it.
type Make = fn(&mut Rng) -> Fault;

/// How often each fault occurs, relative to the others. Lost answers after upstream had the
/// request count double: they are what exactly once is hard for.
const WEIGHTS: &[(usize, Make)] = &[
    (10, |_| Fault::Pass),
    (1, |rng| Fault::Delay(time(rng))),
    (1, |_| Fault::Refuse),
    (1, |_| Fault::ResetBeforeSending),
    (2, |_| Fault::ResetAfterRequest),
    (2, |_| Fault::ResetAfterAnswer),
    (1, |_| Fault::ResetInAnswer),
    (1, |rng| Fault::Status(status(rng), page(rng))),
    (2, |rng| Fault::StatusAfterRequest(status(rng), page(rng))),
    (1, |_| Fault::Truncated),
    (1, |_| Fault::Oversized(OVERSIZE)),
    (1, |_| Fault::Endless),
    (2, |_| Fault::Duplicate),
    (2, |rng| Fault::LateDuplicate(time(rng))),
    (1, |rng| Fault::SlowBytes {
        chunk: rng.usize(64..=512),
        every: Duration::from_millis(rng.u64(1..=5)),
    }),
];

/// Just over the 16 MiB up to which the library reads an answer.
const OVERSIZE: u64 = (16 << 20) + 1;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{WEIGHTS, replay, schedule};

    #[test]
    fn a_seed_always_gives_the_same_schedule() {
        assert_eq!(schedule(7, 500), schedule(7, 500));
        assert_ne!(schedule(7, 500), schedule(8, 500));
    }

    #[test]
    fn a_longer_schedule_begins_with_the_shorter_one() {
        assert_eq!(schedule(7, 500)[..100], schedule(7, 100));
    }

    #[test]
    fn every_fault_occurs() {
        let faults = schedule(1, 1_000);
        let names: BTreeSet<_> = faults.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), WEIGHTS.len());
    }

    #[test]
    fn a_replay_names_the_seed_and_every_fault() {
        let text = replay(7, 20);
        assert!(text.starts_with("replay with schedule(7, 20):\n"));
        for (line, fault) in text.lines().skip(1).zip(schedule(7, 20)) {
            assert!(line.ends_with(&fault.to_string()), "{line}");
        }
        assert_eq!(text.lines().count(), 21);
    }
}
