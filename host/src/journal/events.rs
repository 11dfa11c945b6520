//! What is told of clients and their exchanges.

use std::net::SocketAddr;
use std::time::Duration;

use crate::ended::Closed;

/// Hears of what clients do. Called on the loops that serve them: whatever takes longer than a few
/// microseconds belongs on a thread of the journal's own.
pub trait Journal: Send + Sync + 'static {
    /// An exchange is over.
    fn exchange(&self, exchange: &Exchange<'_>) {
        let _ = exchange;
    }

    /// A connection is closed. Called exactly once for each client.
    fn closed(&self, closed: &Closed) {
        let _ = closed;
    }

    /// Something that the operator should know, and that is no single client's doing. Said once.
    fn notice(&self, text: &str) {
        let _ = text;
    }
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Journal for Silent {}

/// One request and its response, as the guest reported them, and what the host has measured.
///
/// What the guest says comes from the client in the end: any text at all, of any length that fits a list
/// of actions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Exchange<'a> {
    /// The client's number.
    pub client: u64,
    /// Where the client came from; none for a unix socket. Behind a proxy that tells it, that is what it tells.
    pub peer: Option<SocketAddr>,
    /// The address of that proxy; none where there is no such proxy, or it connects by a unix socket.
    pub via: Option<SocketAddr>,
    /// What was asked for: for HTTP the request line. Empty: it was not understood.
    pub request: &'a str,
    /// How it was answered: for HTTP the status code.
    pub status: u16,
    /// Where the client says it was led here from; may be empty.
    pub referrer: &'a str,
    /// What the client says it is; may be empty.
    pub agent: &'a str,
    /// Bytes sent since the report before: header section and body.
    pub bytes_out: u64,
    /// Whether all of the response was sent. Otherwise the connection ends with this exchange.
    pub complete: bool,
    /// From the first byte of the request to the last of the response.
    pub duration: Duration,
    /// The most memory that this client's guest has had so far.
    pub memory_peak: u64,
    /// How long this client's guest has been computing so far.
    pub cpu: Duration,
}
