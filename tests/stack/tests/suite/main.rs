//! The stack proves that it is what it stands in for.

mod answers;
mod client;
mod embedded;
mod external;
mod life;
mod roles;
