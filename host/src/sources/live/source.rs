//! What comes from a pipe: one reader, a bounded memory of the last of it, and any number of viewers.
//!
//! Rule: nothing here waits for a viewer. Who is too slow finds the beginning of its window gone.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::event::{EventfdFlags, eventfd};

use super::life::{Life, Lives, Shared};
use super::options::{Join, Live};
use super::reader::{Input, Reader};
use crate::contract::{Refusal, Window};
use crate::journal::Journal;
use crate::limits::LIVE_STEP;
use crate::sources::content::{Content, Progress, Source, Viewer};
use crate::sync::lock;

/// A source that is read while it is served.
#[derive(Debug)]
pub(crate) struct LiveSource {
    shared: Arc<Shared>,
    /// What is read, until the reader has it.
    input: Mutex<Option<Input>>,
}

/// Somebody who has it open, and keeps the life that was opened. Counted as a viewer from when it takes
/// the first of it: who asks for nothing but a head watches nothing.
#[derive(Debug)]
struct Watching {
    shared: Arc<Shared>,
    _life: Arc<Life>,
    counted: AtomicBool,
}

impl Viewer for Watching {
    fn takes(&self) {
        if self.counted.swap(true, Ordering::Relaxed) {
            return;
        }
        if self.shared.viewers.fetch_add(1, Ordering::Relaxed) == 0 {
            self.shared.wake();
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if *self.counted.get_mut() {
            self.shared.viewers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl LiveSource {
    pub(crate) fn new(input: Input, settings: Live) -> io::Result<Self> {
        let now = Arc::new(Life::new()?);
        let shared = Shared {
            settings,
            lives: Mutex::new(Lives { now, before: Vec::new() }),
            viewers: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        };
        Ok(Self { shared: Arc::new(shared), input: Mutex::new(Some(input)) })
    }

    /// Begins to read. Only the first call does.
    pub(crate) fn start(&self, journal: &Arc<dyn Journal>) -> io::Result<()> {
        let Some(input) = lock(&self.input).take() else { return Ok(()) };
        let reader = Reader::new(Arc::clone(&self.shared), input, Arc::clone(journal))?;
        thread::Builder::new().name("live".into()).spawn(move || reader.run())?;
        Ok(())
    }

    /// Reads no more: that is the source's end, for those who watch and for those who come.
    pub(crate) fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.shared.wake();
    }

    /// Lets somebody watch.
    pub(crate) fn open(&self) -> Result<Source, Refusal> {
        let life = Arc::clone(&self.shared.lives().now);
        let progress = life.progress.subscribe();
        let Progress { window, failed } = progress.borrow().clone();
        if failed.is_some() || window.is_final && window.start > 0 {
            // What is left of it is of use to nobody.
            return Err(Refusal::NotFound);
        }
        let content = Arc::clone(&life.content);
        let shared = Arc::clone(&self.shared);
        let watching = Arc::new(Watching { shared, _life: life, counted: AtomicBool::new(false) });
        let settings = &self.shared.settings;
        // What was held, or is whole, is wanted from its beginning.
        let held = settings.hold && !self.shared.is_watched();
        let join = if window.is_final || held { Join::Start } else { settings.join };
        let behind = match join {
            // Where nothing is gone yet, that is the first byte there was, whatever it is.
            Join::Start if window.start == 0 && (window.is_final || held) => u64::MAX,
            Join::Start => settings.reach(),
            Join::Edge => 0,
            Join::Burst => settings.burst.min(settings.reach()),
        };
        let joined = match window.end.saturating_sub(behind) {
            0 => 0,
            wanted => packet(&content, window, wanted),
        };
        let leash = (window.end - joined).saturating_add(settings.lag.max(LIVE_STEP));
        Ok(Source::live(content, progress, joined, leash, watching))
    }
}

impl Drop for LiveSource {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where the packet of an MPEG transport stream begins that is nearest to `wanted`, from there on or, at
/// the very end, before it. `wanted` itself, where these are not such packets.
fn packet(content: &Content, window: Window, wanted: u64) -> u64 {
    const PACKET: u64 = 188;
    const SYNC: u8 = 0x47;
    /// A byte that only looks like the beginning of a packet has no others behind it.
    const IN_A_ROW: usize = 4;

    let wanted = wanted.max(window.start);
    let mut sample = [0; PACKET as usize * (IN_A_ROW + 1)];
    let Some(from) = window.end.checked_sub(sample.len() as u64).filter(|from| *from >= window.start) else {
        // Too little to tell: from the beginning nothing is missing.
        return window.start;
    };
    let from = from.min(wanted);
    if content.read(from, &mut sample).is_err() {
        return wanted;
    }
    let begins = |at: &usize| (0..IN_A_ROW).all(|n| sample[at + n * PACKET as usize] == SYNC);
    // A stream that began with a packet is the first guess: a byte that stands at the same place in every
    // packet can look like the beginning of one.
    let guess = (PACKET - from % PACKET) as usize;
    match (0..PACKET as usize).map(|n| (guess + n) % PACKET as usize).find(begins) {
        None => wanted,
        Some(at) => {
            let first = from + at as u64;
            let packets = wanted.saturating_sub(first).div_ceil(PACKET);
            let next = first + packets * PACKET;
            if next <= window.end { next } else { next - PACKET }
        }
    }
}
