//! What the client is told: header sections, bodies, and how they are put on the wire.

pub(crate) mod body;
pub(crate) mod compat;
pub(crate) mod listing;
pub(crate) mod message;
pub(crate) mod multipart;
pub(crate) mod page;
pub(crate) mod stream;
