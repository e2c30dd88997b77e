//! A stand-in Supabase for tests and examples.

mod account;
mod answer;
mod api;
mod call;
mod cluster;
mod embedded;
mod error;
pub mod fault;
mod gateway;
mod keys;
mod rest;
mod schema;
mod scratch;
mod sql;
mod stack;
mod template;
mod transaction;

pub use error::StackError;
pub use keys::{JWT_SECRET, SECRET_KEY};
pub use sql::Rows;
pub use stack::{Kind, Options, Stack};

/// What makes a fresh database Supabase's.
const BOOTSTRAP: &str = include_str!("bootstrap.sql");
