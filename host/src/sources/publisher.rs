//! An embedder's own sources.

use std::sync::Arc;

use super::content::Content;
use crate::contract::{Entry, Refusal};

/// Publishes an embedder's own sources: what a server can have besides files.
///
/// Names come from clients. What is handed on is segments separated by `/`, none of them empty or
/// beginning with a dot; the empty name is the root. It is called on the loops that serve clients: what
/// takes longer than a few microseconds is found beforehand.
pub trait Publisher: Send + Sync {
    /// What there is of this name.
    fn open(&self, name: &[u8]) -> Result<Named, Refusal>;

    /// What is in a folder: entries whose names are greater than `after`, sorted by name byte by byte, at
    /// most `limit` of them. None are left when fewer are returned. The default has no listings.
    fn list(&self, folder: &[u8], after: &[u8], limit: usize) -> Result<Vec<Entry>, Refusal> {
        let _ = (folder, after, limit);
        Err(Refusal::NotFound)
    }
}

/// What a [`Publisher`] has under a name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Named {
    /// Bytes.
    Content(Arc<Content>),
    /// A folder: a client that asks for it without the slash at its end is sent to the one with it.
    Folder,
}
