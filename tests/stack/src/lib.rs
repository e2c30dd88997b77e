//! A stand-in Supabase for tests and examples.
//!
//! [`Stack`] puts a gateway and a REST layer in front of a database, on
//! `127.0.0.1` and with the keys of the local Supabase CLI. What a client sees
//! is what it would see at Supabase: roles, privileges, timeouts, statuses and
//! bodies. What a test sees is more: SQL behind the API, and a database and a
//! REST layer that it can kill.
//!
//! ```no_run
//! # async fn example() -> Result<(), ctx0_stack::StackError> {
//! let stack = ctx0_stack::Stack::for_tests().await?;
//! stack.sql("create table notes (id int)").await?;
//! stack.reload_schema().await?;
//! // … a client of `stack.url()` with `stack.service_key()` …
//! let notes = stack.sql("select count(*) from notes").await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Many`](many::Many) has many projects on one PostgreSQL. [`Stack::serve_sql`] puts the real
//! postgres-meta behind `/pg/`, where a self-hosted Supabase has it. [`Options::cron`] has the real pg_cron.
//!
//! `cargo run -p ctx0-stack` starts one to poke at by hand, with `--postgres`
//! on a real PostgreSQL.
//!
//! # Which database
//!
//! | | [`Stack::embedded`] | [`Stack::postgres`] | [`Stack::external`] |
//! |---|---|---|---|
//! | database | PostgreSQL 18 as WebAssembly, in memory | the machine's PostgreSQL, 15 or newer, in a fresh cluster | whatever is there |
//! | needs | some minutes to build it once | Debian's `postgresql`, or `CTX0_TEST_PG_BIN` | `CTX0_TEST_SUPABASE_URL`, `CTX0_TEST_SERVICE_KEY`, and `CTX0_TEST_DATABASE_URL` to look behind it |
//! | REST layer | this crate's | this crate's | its own |
//! | kill and restart | the REST layer | both | nothing |
//!
//! A cluster has one database, `postgres`, and no template database. The first
//! cluster of a PostgreSQL version is kept as a template in
//! `ctx0-templates-*` of the temporary directory, and the embedded PostgreSQL
//! keeps its unpacked runtime in the user's cache directory. Everything else
//! goes with the stack, `kill -9` of the process included: a small shell waits
//! for the end of a pipe and cleans up. Root's clusters run as `postgres` or
//! `nobody`. The crate needs Unix sockets and `sh`, so it is for Linux and
//! macOS.
//!
//! # Limits of the embedded database
//!
//! - It has one session. Requests and [`Stack::sql`] wait for each other, so
//!   there is no contention to test, and no other program can connect.
//! - `statement_timeout` is shown and never fires.
//! - The login is always `supabase_admin`: `session_user` says so, and
//!   `set role` is never refused.
//! - Nothing listens to `notify pgrst`. Instead the REST layer looks at the
//!   catalog after each `POST` to a function, and knows what that changed
//!   before it answers.
//! - There is no `vector`.
//!
//! # Differences from PostgREST
//!
//! The REST layer is postrust behind corrections, and its suite compares it
//! with answers measured at PostgREST 14.12. These differences remain:
//!
//! - Rows are separated by `,` and not by `, \n `, and there is no `Server`
//!   header.
//! - The hint for an unknown column is missing; an unknown column in a filter
//!   is named without its table.
//! - A token that is no JWT is answered like one with a bad signature.
//! - `GET /` is a stub and not an `OpenAPI` document.
//! - `Prefer: timezone` and embedding through views do nothing: what they need
//!   is not read from the catalog.
//! - A role's timeout counts after `notify pgrst, 'reload schema'`, and not
//!   only after `'reload config'`. Of a function's settings, only
//!   `statement_timeout` is set before its call.
//! - After a failure of the database the REST layer is back within 0.1 s, and
//!   not after 2 s.
//! - There are no event triggers that send `notify pgrst` after DDL: what a
//!   test creates with [`Stack::sql`] is known after [`Stack::reload_schema`].

mod account;
mod answer;
mod api;
mod call;
mod cluster;
pub mod distance;
mod embedded;
mod error;
mod external;
pub mod fault;
mod gateway;
mod keys;
pub mod many;
mod meta;
mod port;
pub mod program;
pub mod project;
mod rest;
mod schema;
mod scratch;
mod sql;
mod stack;
mod template;
mod transaction;

pub use error::StackError;
pub use keys::{JWT_SECRET, SECRET_KEY};
pub use port::Port;
pub use sql::{Parser, Rows};
pub use stack::{Cron, Kind, Options, Stack};

/// What makes a fresh database Supabase's.
const BOOTSTRAP: &str = include_str!("bootstrap.sql");
