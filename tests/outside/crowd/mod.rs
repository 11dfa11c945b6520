//! Many clients at once, and clients that mean harm: none waits for another, and nothing of them
//! is left.
//!
//! These measure time and memory, so each has the machine to itself.

mod abuse;
mod capacity;
mod many;
mod timeouts;

/// More than all buffers between a server and a client that does not read.
const LONG: u64 = 64 << 20;
