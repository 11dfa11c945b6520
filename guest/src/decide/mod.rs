//! Which response a request gets: what to open for it, and what the client has already.

pub(crate) mod guard;
pub(crate) mod way;

mod conditional;
mod folder;
mod search;
mod source;
