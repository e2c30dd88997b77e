//! The window in a real Chromium, at the daemon of `examples/desktop`, on a real PostgreSQL.
//!
//! Pictures of every state are in `target/tmp/browser` afterwards.

mod appearance;
mod changes;
mod chromium;
mod daemon;
mod electron;
mod failures;
mod flow;
mod outage;
mod project;
mod security;
mod waiting;
