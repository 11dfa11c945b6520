//! What the client is told: header sections, bodies, and how they are put on the wire.

pub(crate) mod body;
pub(crate) mod compat;
pub(crate) mod document;
pub(crate) mod escape;
pub(crate) mod listing;
pub(crate) mod message;
pub(crate) mod multipart;
pub(crate) mod page;
pub(crate) mod player;
pub(crate) mod sending;
pub(crate) mod stream;
