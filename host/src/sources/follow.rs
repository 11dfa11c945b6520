//! A source that a client has open, and how it follows one that moves.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::content::{Content, Lost};
use crate::contract::Window;
use crate::limits::LIVE_JOIN_PATIENCE;
use crate::socket::Moved;

/// How far a source that moves has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) window: Window,
    /// Why nothing more will come, though the end was not reached.
    pub(crate) failed: Option<String>,
}

/// A source that a client has open.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) content: Arc<Content>,
    moving: Option<Moving>,
}

/// How a client follows a source that moves.
#[derive(Debug)]
pub(crate) struct Moving {
    progress: watch::Receiver<Progress>,
    /// Where the client's stream began, and where in it the bytes of the source begin: what comes before is
    /// a header.
    start: u64,
    joined: u64,
    /// Whether the client still waits for a place to join.
    pending: bool,
    /// What it was last told: the guest may pass nothing else.
    told: Window,
    /// Up to where it has been passed.
    position: u64,
    /// How far it may be behind the end.
    leash: u64,
    /// Held as long as the client has it open.
    viewer: Arc<dyn Viewer>,
}

/// What a source that moves wants to know of a client that has it open. It is dropped with the last of it.
pub(crate) trait Viewer: Send + Sync + std::fmt::Debug {
    /// The client takes bytes, or waits for them.
    fn takes(&self) {}

    /// Where the stream that has the byte at `offset` ends, if that is before the source does.
    fn end_after(&self, _offset: u64) -> Option<u64> {
        None
    }

    /// A stream for a client that waits for a place to join, if there is one by now. At the `last` attempt
    /// there always is.
    fn join(&self, _window: Window, _last: bool) -> Option<Joined> {
        None
    }
}

/// Where a client begins in a live source.
#[derive(Debug)]
pub(crate) struct Joined {
    /// Its stream.
    pub(crate) content: Arc<Content>,
    /// Offset of the first byte of that.
    pub(crate) start: u64,
    /// Offset of the first byte that is of the source itself.
    pub(crate) joined: u64,
    /// How far the client may fall behind the live edge.
    pub(crate) leash: u64,
}

/// The live edge of a source, for others than the client that has it open.
#[derive(Debug)]
pub(crate) struct Edge {
    progress: watch::Receiver<Progress>,
    joined: u64,
}

impl Edge {
    /// How far behind the edge a client is that was passed everything up to this offset.
    pub(crate) fn lag(&self, position: u64) -> u64 {
        self.progress.borrow().window.end.saturating_sub(position.max(self.joined))
    }
}

impl Source {
    /// All of something that does not move.
    pub(crate) fn still(content: Arc<Content>) -> Self {
        Self { content, moving: None }
    }

    /// A file that is being written.
    pub(crate) fn growing(content: Arc<Content>, progress: watch::Receiver<Progress>, viewer: Arc<dyn Viewer>) -> Self {
        Self::follow(Joined { content, start: 0, joined: 0, leash: u64::MAX }, progress, viewer)
    }

    /// What comes from a pipe, for a client that begins there, or that waits for a place to join.
    pub(crate) fn live(
        joined: Option<Joined>,
        content: &Arc<Content>,
        progress: watch::Receiver<Progress>,
        viewer: Arc<dyn Viewer>,
    ) -> Self {
        let pending = joined.is_none();
        let joined = joined.unwrap_or_else(|| Joined { content: Arc::clone(content), start: 0, joined: 0, leash: 0 });
        let mut source = Self::follow(joined, progress, viewer);
        if let Some(moving) = &mut source.moving {
            moving.pending = pending;
        }
        source
    }

    fn follow(joined: Joined, progress: watch::Receiver<Progress>, viewer: Arc<dyn Viewer>) -> Self {
        let Joined { content, start, joined, leash } = joined;
        let mut moving = Moving {
            told: Window::default(),
            progress,
            start,
            joined,
            pending: false,
            position: joined,
            leash,
            viewer,
        };
        let window = moving.progress.borrow().window;
        moving.told = moving.window(window);
        Self { content, moving: Some(moving) }
    }

    /// Whether the client still has to wait for a place to [join](Self::join).
    pub(crate) fn is_pending(&self) -> bool {
        self.moving.as_ref().is_some_and(|moving| moving.pending)
    }

    /// Waits for a place to join, and not longer than a client should have to.
    pub(crate) async fn join(&mut self) -> Result<(), Lost> {
        let deadline = Instant::now() + LIVE_JOIN_PATIENCE;
        let Some(moving) = self.moving.as_mut().filter(|moving| moving.pending) else { return Ok(()) };
        moving.viewer.takes();
        loop {
            let Progress { window, failed } = moving.progress.borrow_and_update().clone();
            let last = window.is_final || failed.is_some() || Instant::now() >= deadline;
            if let Some(joined) = moving.viewer.join(window, last) {
                let Joined { content, start, joined, leash } = joined;
                (moving.start, moving.joined, moving.position, moving.leash) = (start, joined, joined, leash);
                (moving.pending, self.content) = (false, content);
                moving.told = moving.window(window);
                return Ok(());
            }
            if last {
                return Err(Lost::Failed(io::Error::other("the live source has ended")));
            }
            // Time alone is a reason to look again, too.
            if let Ok(changed) = timeout_at(deadline, moving.progress.changed()).await {
                changed.map_err(|_| Lost::Failed(io::Error::other("the live source has ended")))?;
            }
        }
    }

    /// What the client knows of.
    pub(crate) fn window(&self) -> Window {
        match &self.moving {
            Some(moving) => moving.told,
            None => Window { start: 0, end: self.content.size(), is_final: true },
        }
    }

    /// Up to where a source that moves was passed. None: it does not move.
    pub(crate) fn position(&self) -> Option<u64> {
        self.moving.as_ref().map(|moving| moving.position)
    }

    /// The live edge. None: the source is not live.
    pub(crate) fn edge(&self) -> Option<Edge> {
        let moving = self.moving.as_ref().filter(|moving| moving.leash < u64::MAX)?;
        Some(Edge { progress: moving.progress.clone(), joined: moving.joined })
    }

    pub(super) fn is_still(&self) -> bool {
        self.moving.is_none()
    }

    pub(crate) fn moving(&mut self) -> Option<&mut Moving> {
        self.moving.as_mut()
    }

    /// Passes some of what there is from `offset` on, at most `count` bytes.
    pub(crate) fn pass(&mut self, offset: u64, count: usize, socket: BorrowedFd<'_>) -> Result<Moved, Lost> {
        let Some(moving) = &mut self.moving else {
            return self.content.pass(offset, count, socket).map_err(Lost::Failed);
        };
        moving.viewer.takes();
        // Whoever gives up the beginning of the source waits until this is given back, so that what is
        // passed is still there.
        let now = moving.progress.borrow();
        moving.check(&now.window, offset)?;
        let moved = self.content.pass(offset, count, socket).map_err(Lost::Failed)?;
        if let Moved::Bytes(count) = moved {
            moving.position = offset + count as u64;
        }
        Ok(moved)
    }

    /// Reads all of `buffer` from `offset` on.
    pub(crate) fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), Lost> {
        let Some(moving) = &mut self.moving else { return self.content.read(offset, buffer) };
        moving.viewer.takes();
        let now = moving.progress.borrow();
        moving.check(&now.window, offset)?;
        self.content.read(offset, buffer)?;
        moving.position = offset + buffer.len() as u64;
        Ok(())
    }
}

impl Moving {
    /// What the client may know of what the source has now.
    fn window(&self, now: Window) -> Window {
        // A header stays as long as the bytes after it.
        let start = if now.start <= self.joined { self.start } else { now.start };
        match self.viewer.end_after(self.joined) {
            Some(end) if end <= now.end => Window { start, end, is_final: true },
            _ => Window { start, ..now },
        }
    }

    fn check(&self, now: &Window, offset: u64) -> Result<(), Lost> {
        let offset = offset.max(self.joined);
        let behind = offset < now.start || now.end.saturating_sub(offset) > self.leash;
        if behind { Err(Lost::Behind) } else { Ok(()) }
    }

    /// Waits until there are bytes past this offset, or the end.
    pub(crate) async fn past(&mut self, offset: u64) -> Result<Window, Lost> {
        self.position = offset.max(self.position);
        self.viewer.takes();
        loop {
            let Progress { window, failed } = self.progress.borrow_and_update().clone();
            self.check(&window, offset)?;
            let window = self.window(window);
            if window.end > offset || window.is_final {
                self.told = window;
                return Ok(self.told);
            }
            if let Some(why) = failed {
                return Err(Lost::Failed(io::Error::other(why)));
            }
            self.changed().await?;
        }
    }

    /// Waits until the client is too far behind.
    pub(crate) async fn overrun(&mut self) -> Lost {
        loop {
            let window = self.progress.borrow_and_update().window;
            if let Err(behind) = self.check(&window, self.position) {
                return behind;
            }
            if self.changed().await.is_err() {
                // It moves no more, so nobody falls behind.
                std::future::pending::<()>().await;
            }
        }
    }

    async fn changed(&mut self) -> Result<(), Lost> {
        self.progress.changed().await.map_err(|_| Lost::Failed(io::Error::other("nobody reads it any more")))
    }
}
