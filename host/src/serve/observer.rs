//! What can be seen of a server from outside while it runs.

use std::sync::Arc;

use super::admission::Summary;
use super::roster::{Connected, Totals};
use super::shared::Shared;

/// Looks at a server while it runs. Clones look at the same server; one that has stopped stays as it was.
#[derive(Clone)]
pub struct Observer(pub(super) Arc<Shared>);

/// A live source, as it is now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Streamed {
    /// Its name.
    pub name: Vec<u8>,
    /// Bytes that have come since its current writer began.
    pub received: u64,
    /// Bytes of them that are kept.
    pub buffered: u64,
    /// Clients that watch it.
    pub viewers: u64,
    /// Whether no more will come.
    pub has_ended: bool,
}

impl Observer {
    /// The clients that are connected, longest first. Empty unless the server is
    /// [observed](crate::Server::observed). With 10,000 clients this takes some milliseconds, in which clients that
    /// come or go wait for the first tenth at most.
    pub fn clients(&self) -> Vec<Connected> {
        self.0.roster.as_ref().map(|roster| roster.connected()).unwrap_or_default()
    }

    /// What all clients so far have come to. Nothing unless the server is [observed](crate::Server::observed).
    pub fn totals(&self) -> Totals {
        self.0.roster.as_ref().map(|roster| roster.totals()).unwrap_or_default()
    }

    /// What the server has done so far. Bytes and failures count when their client is gone.
    pub fn summary(&self) -> Summary {
        self.0.admissions.summary()
    }

    /// The live source that the server publishes, if it does.
    pub fn stream(&self) -> Option<Streamed> {
        let (name, window, viewers) = self.0.sources.streamed()?;
        Some(Streamed {
            name: name.to_vec(),
            received: window.end,
            buffered: window.end - window.start,
            viewers: viewers as u64,
            has_ended: window.is_final,
        })
    }

    /// How much of `--total-memory` is charged to clients now.
    pub fn charged_memory(&self) -> u64 {
        self.0.budget.used()
    }
}
