//! The record of a client's session: capsules, and the replay of one.

pub(crate) mod capsule;
pub(crate) mod keeper;
pub(crate) mod recording;
mod redact;
pub(crate) mod replay;
