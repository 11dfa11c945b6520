//! That each connection ends with one word to the journal.

use std::net::SocketAddr;
use std::sync::Arc;

use super::shared::Shared;
use crate::ended::{Closed, Ended};
use crate::record::recording::Recording;

/// A client whose end was not told yet. Where serving it panics, or it is dropped with its loop, that is told
/// too.
pub(super) struct Untold {
    client: u64,
    peer: Option<SocketAddr>,
    via: Option<Box<SocketAddr>>,
    /// None: it was told.
    shared: Option<Arc<Shared>>,
}

impl Untold {
    pub(super) fn new(client: u64, peer: Option<SocketAddr>, shared: &Arc<Shared>) -> Self {
        Self { client, peer, via: None, shared: Some(Arc::clone(shared)) }
    }

    /// Notes where it has come from, as far as a proxy has told.
    pub(super) fn came(&mut self, peer: Option<SocketAddr>, via: Option<SocketAddr>) {
        (self.peer, self.via) = (peer, via.map(Box::new));
    }

    /// The same, with why it ended.
    pub(super) fn closed(&self, ended: Ended) -> Closed {
        Closed { via: self.via.as_deref().copied(), ..Closed::new(self.client, self.peer, ended) }
    }

    pub(super) fn tell(mut self, closed: Closed, recording: Option<Box<Recording>>) {
        if let Some(shared) = self.shared.take() {
            shared.closed(closed, recording);
        }
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            let panics = std::thread::panicking();
            let ended = if panics { Ended::HostFault("it panicked".into()) } else { Ended::ShutDown };
            shared.closed(self.closed(ended), None);
        }
    }
}
