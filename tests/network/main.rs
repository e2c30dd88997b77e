//! The crate over a network that fails, on a real PostgreSQL that is looked at from behind the
//! API: each version is applied exactly once or not at all, and every report is the truth.
//!
//! - `CTX0_CHAOS_RUNS=10000` tries more seeded schedules of faults than the usual 1,000,
//!   `CTX0_CHAOS_SEED=7` replays a single one.
//! - `CTX0_LONG_SECONDS=90/5` takes a longer migration behind a gateway that gives up later than
//!   the usual `10/1`.

mod cancelled;
mod chaos;
mod contention;
mod crashes;
mod duplicates;
mod failures;
mod install;
mod long_running;
mod lost_responses;
mod outside;
mod position;
mod rehearsal;
mod repair;
mod round_trips;
mod support;
