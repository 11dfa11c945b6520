//! How a live source is kept, and where in it clients begin.

use crate::contract::Window;
use crate::limits::LIVE_STEP;

/// How a live source treats those who watch it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Bytes that are kept of what has come, for those who come late or are slow.
    pub buffer: u64,
    /// Where somebody who comes late begins.
    pub join: Join,
    /// How far behind the newest byte that is, with [`Join::Burst`]: what a player can fill its buffer with.
    pub burst: u64,
    /// How much further than it began a client may fall behind before it is ended. At least 2 MiB, whatever
    /// is said: so much may come at once, and who had all that there was is not slow.
    pub lag: u64,
    /// Whether the writer has to wait, when the buffer is full, until somebody watches. Otherwise what
    /// nobody watches is lost.
    pub hold: bool,
    /// What it is, where nobody has said it of the only source and the guest is not to judge by its name.
    pub media_type: Option<String>,
}

impl Default for Live {
    fn default() -> Self {
        Self { buffer: 16 << 20, join: Join::Burst, burst: 1 << 20, lag: 4 << 20, hold: false, media_type: None }
    }
}

impl Live {
    /// How far behind the newest byte a client may begin. Less than what is kept: who begins with the
    /// oldest byte of all has lost it with the next that comes, however far it was promised to lag.
    pub(super) fn reach(&self) -> u64 {
        self.buffer - self.lag.min(self.buffer / 4)
    }

    /// How far behind the live edge a client may be that began there.
    pub(super) fn leash(&self, window: Window, joined: u64) -> u64 {
        (window.end - joined).saturating_add(self.lag.max(LIVE_STEP))
    }
}

/// Where in a live source a client begins: at a place where a viewer may join, where the index knows such
/// places, or else at any byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// With the oldest place that is kept.
    Start,
    /// With the next place that comes.
    Edge,
    /// With the oldest place within the burst, or else the newest before it.
    Burst,
}
