//! What is kept of a live source: a bounded memory of the last of it.
//!
//! The memory is a file without a name that only grows: new bytes are written to its end, and the kernel
//! takes back the blocks at its beginning. So a live source is a file whose window moves; it is passed to
//! viewers like any other, and its bytes are in memory once, however many there are.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use rustix::fs::FallocateFlags;
use tokio::sync::watch;

use super::joins::Joins;
use super::options::{Join, Live};
use crate::contract::Window;
use crate::sources::content::{self, Content};
use crate::sources::follow::{Joined, Progress};
use crate::sources::medium::Medium;
use crate::sync::lock;

/// What the reader of a live source and its viewers have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Live,
    pub(super) lives: Mutex<Lives>,
    pub(super) viewers: AtomicUsize,
    pub(super) stopped: AtomicBool,
    /// No writer is waited for any more.
    pub(super) drains: AtomicBool,
    /// Wakes the reader: somebody watches, or it should stop.
    pub(super) wake: OwnedFd,
}

/// What comes between a writer's first byte and its end.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) memory: Arc<OwnedFd>,
    pub(super) content: Arc<Content>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) joins: Mutex<Joins>,
}

/// All of them that somebody may watch.
#[derive(Debug)]
pub(super) struct Lives {
    pub(super) now: Arc<Life>,
    /// Those before that somebody still watches.
    pub(super) before: Vec<Weak<Life>>,
}

impl Shared {
    pub(super) fn lives(&self) -> MutexGuard<'_, Lives> {
        lock(&self.lives)
    }

    pub(super) fn wake(&self) {
        // It can only fail because it is awake already.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    pub(super) fn is_watched(&self) -> bool {
        self.viewers.load(Ordering::Relaxed) > 0
    }
}

impl Life {
    pub(super) fn new(settings: &Live) -> io::Result<Self> {
        let memory = Arc::new(content::memory(c"live")?);
        let mut content = Content::boundless(Arc::clone(&memory), Medium::Memory);
        content.media_type.clone_from(&settings.media_type);
        let content = Arc::new(content);
        Ok(Self { memory, content, progress: watch::Sender::default(), joins: Mutex::default() })
    }

    /// The stream of a client that begins now where `join` says, and that came when the live edge was at
    /// `came`. None: it has to wait for a place to join.
    pub(super) fn begin(&self, window: Window, settings: &Live, join: Join, came: u64) -> Option<Joined> {
        let behind = match join {
            Join::Start => settings.reach(),
            Join::Edge => 0,
            Join::Burst => settings.burst.min(settings.reach()),
        };
        let wanted = window.end.saturating_sub(behind).max(window.start);
        let beginning = {
            let joins = lock(&self.joins);
            if !joins.has_header() || wanted == 0 {
                drop(joins);
                return Some(self.unindexed(window, wanted, settings));
            }
            let oldest = window.end.saturating_sub(settings.reach()).max(window.start);
            match join {
                Join::Start => joins.oldest(&(oldest..=window.end)),
                // As much of the burst as there is, or else the newest place before it: a picture at once is
                // worth more than a short burst.
                Join::Burst => joins.oldest(&(wanted..=window.end)).or_else(|| joins.newest(&(oldest..=window.end))),
                // The next that comes.
                Join::Edge => joins.oldest(&(came..=window.end)),
            }
        };
        let beginning = beginning?;
        Some(match beginning.content(&self.memory) {
            Ok(content) => Joined {
                content: Arc::new(content),
                start: beginning.start(),
                joined: beginning.join(),
                leash: settings.leash(window, beginning.join()),
            },
            // Short of descriptors or memory: it is served as without an index.
            Err(_) => self.unindexed(window, window.end, settings),
        })
    }

    /// The stream of a client that begins at this byte, whatever it is.
    pub(super) fn unindexed(&self, window: Window, joined: u64, settings: &Live) -> Joined {
        let leash = settings.leash(window, joined);
        Joined { content: Arc::clone(&self.content), start: joined, joined, leash }
    }

    /// Gives up all of it, also where a client has it open and does nothing.
    pub(super) fn forget(&self) -> io::Result<()> {
        let mut end = 0;
        self.progress.send_modify(|now| {
            end = now.window.end;
            now.window.start = end;
        });
        // Whole pages: of one that is given back in part the rest is cleared, and may be on its way to somebody.
        const PAGE: u64 = 4 << 10;
        self.give_back(0, end / PAGE * PAGE)
    }

    /// Gives bytes back that are in nobody's window any more. Nobody passes them: whoever does holds what
    /// was changed to say so.
    pub(super) fn give_back(&self, from: u64, to: u64) -> io::Result<()> {
        if from < to {
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&self.memory, hole, from, to - from)?;
        }
        Ok(())
    }
}
