//! What the crate sends, what it makes of every answer, and what it never gives away.
//!
//! Everything here goes through real sockets on this computer: `wiremock` stands in for
//! Supabase where an answer is HTTP, and a bare listener where it is not.

mod arbitrary;
mod bounds;
mod gateways;
mod outcomes;
mod proxy;
mod requests;
mod responses;
mod results;
mod secrets;
mod support;
mod tls;
