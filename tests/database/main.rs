//! The crate against a real PostgreSQL behind a PostgREST work-alike, looked at from behind
//! the API as well.
//!
//! `CTX0_TEST_SUPABASE_URL`, `CTX0_TEST_SERVICE_KEY` and `CTX0_TEST_DATABASE_URL` point the
//! suite at a Supabase that runs elsewhere. It must have no ctx0 objects, which are removed at
//! the end of each test.

mod backup;
mod baseline;
mod batch;
mod bundled;
mod drift;
mod end_to_end;
mod fleet;
mod hosted;
mod install;
mod install_http;
mod live;
mod messages;
mod older_apps;
mod outside;
mod rehearsal;
mod repair;
mod rest;
mod rights;
mod rollback;
mod session_state;
mod statements;
mod warnings;
