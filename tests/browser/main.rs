//! The window in a real Chromium, at the daemon of `examples/desktop`, on a real PostgreSQL.
//!
//! Pictures of every state are in `target/tmp/browser` afterwards.

mod appearance;
mod careless;
mod changes;
mod chromium;
mod daemon;
mod electron;
mod failures;
mod flow;
mod model;
mod outage;
mod outside;
mod project;
mod security;
mod waiting;
