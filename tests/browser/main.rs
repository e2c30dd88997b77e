//! The window in a real Chromium, at the daemon of `examples/desktop`, on a real PostgreSQL.
//!
//! Pictures of every state are in `target/tmp/browser` afterwards.

mod away;
mod changes;
mod chromium;
mod daemon;
mod doors;
mod electron;
mod flow;
mod looks;
mod project;
mod trouble;
