//! What TLS makes of what has come.

/// What came of the bytes of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// How many of its own bytes were in them.
    pub(crate) plain: usize,
    /// Whether the handshake is over, so that they may be asked for.
    pub(crate) established: bool,
}
