//! The stack proves that it is what it stands in for.

mod client;
mod embedded;
mod external;
mod lifecycle;
mod responses;
mod roles;
