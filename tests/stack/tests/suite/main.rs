//! The stack proves that it is what it stands in for.

mod answers;
mod client;
mod embedded;
mod life;
mod roles;
