//! An embedder's own sources.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::content::Content;
use super::live::{Input, Live, LiveSource};
use crate::contract::{Entry, Refusal};
use crate::journal::{Journal, Silent};

/// Publishes an embedder's own sources: what a server can have besides files.
///
/// Names come from clients. What is handed on is segments separated by `/`, none of them empty or
/// beginning with a dot; the empty name is the root.
pub trait Publisher: Send + Sync {
    /// What there is of this name. Called on the loops that serve clients: what takes longer than a few
    /// microseconds is found beforehand. May be called twice for one request, and on other threads.
    fn open(&self, name: &[u8]) -> Result<Named, Refusal>;

    /// What is in a folder: entries whose names are greater than `after`, sorted by name byte by byte, at
    /// most `limit` of them. None are left when fewer are returned. Called on a thread that may take its time.
    /// The default has no listings.
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
    /// A file that is open, as it is now. Where the sources [follow](crate::Sources::follow) files, one that
    /// was written not long ago grows: clients get what is there and then what comes.
    File(Arc<OwnedFd>),
    /// Something that comes while it is served.
    Live(LiveStream),
    /// A folder: a client that asks for it without the slash at its end is sent to the one with it.
    Folder,
}

/// A live source of an embedder: one thread reads it, any number of clients watch it. Clones are the same source,
/// and it ends with the last of them.
///
/// It is read from a pipe, a socket or a device. An embedder that makes the bytes itself writes them to a pipe,
/// and drops its end when that was all:
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use std::io::Write;
/// use multiclient::{Live, LiveStream, Named};
///
/// let (reader, mut writer) = std::io::pipe()?;
/// let stream = LiveStream::new(reader, Live::default())?;
/// writer.write_all(b"what viewers get")?;
/// // What a `Publisher` returns for the stream's name, each time that it is asked for.
/// let named = Named::Live(stream.clone());
/// # drop(named);
/// # Ok(())
/// # }
/// ```
///
/// A server that drains lets it come to its end, and ends it for its clients shortly before the drain is over.
///
/// It has no index: that belongs to a server, and this is read before there is one. Viewers begin wherever they come,
/// which suits formats without a header (MPEG-TS, MP3, ADTS, lines of text).
#[derive(Clone, Debug)]
pub struct LiveStream(Arc<LiveSource>);

impl LiveStream {
    /// Reads this from now on.
    ///
    /// # Errors
    ///
    /// Fails where there is no memory or no thread for it.
    pub fn new(reader: impl Into<OwnedFd>, live: Live) -> io::Result<Self> {
        Self::with_journal(reader, live, &(Arc::new(Silent) as Arc<dyn Journal>))
    }

    /// The same, and tells the journal when the source begins, ends and fails.
    ///
    /// # Errors
    ///
    /// Fails where there is no memory or no thread for it.
    pub fn with_journal(reader: impl Into<OwnedFd>, live: Live, journal: &Arc<dyn Journal>) -> io::Result<Self> {
        let source = LiveSource::new(Input::Stream(reader.into()), live)?;
        source.start(journal, None)?;
        Ok(Self(Arc::new(source)))
    }

    /// How many clients watch it now.
    pub fn viewers(&self) -> usize {
        self.0.now().1
    }

    pub(super) fn source(&self) -> &Arc<LiveSource> {
        &self.0
    }
}
