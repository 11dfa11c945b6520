//! Which response a request gets: what is opened on the way, and what the client has already.

pub(crate) mod guard;
pub(crate) mod way;

mod conditional;
mod folder;
mod search;
mod source;
