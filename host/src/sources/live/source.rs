//! What comes from a pipe: one reader, a bounded memory of the last of it, and any number of viewers.
//!
//! Rule: nothing here waits for a viewer. Who is too slow finds the beginning of its window gone.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::event::{EventfdFlags, eventfd};

use super::indexed::MakeIndex;
use super::life::{Life, Lives, Shared};
use super::options::{Join, Live};
use super::reader::{Input, Reader};
use crate::contract::{Refusal, Window};
use crate::journal::Journal;
use crate::sources::follow::{Joined, Progress, Source, Viewer};
use crate::sync::lock;

/// A source that is read while it is served.
#[derive(Debug)]
pub(crate) struct LiveSource {
    shared: Arc<Shared>,
    /// Of a FIFO, which is opened anew for each writer.
    path: Option<PathBuf>,
    /// What is read, until the reader has it.
    input: Mutex<Option<Input>>,
}

/// Somebody who has it open, and keeps the life that was opened. Counted as a viewer from when it takes
/// the first of it: who asks for nothing but a head watches nothing.
#[derive(Debug)]
struct Watching {
    shared: Arc<Shared>,
    life: Arc<Life>,
    /// Where the live edge was when it was opened.
    came: u64,
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

    fn end_after(&self, offset: u64) -> Option<u64> {
        lock(&self.life.joins).end_after(offset)
    }

    fn join(&self, window: Window, last: bool) -> Option<Joined> {
        let settings = &self.shared.settings;
        let found = self.life.begin(window, settings, settings.join, self.came);
        // Whoever has waited for long enough begins with what comes next, as without an index.
        found.or_else(|| last.then(|| self.life.unindexed(window, window.end, settings)))
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
        let now = Arc::new(Life::new(&settings)?);
        let shared = Shared {
            settings,
            lives: Mutex::new(Lives { now, before: Vec::new() }),
            viewers: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            drains: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        };
        let path = match &input {
            Input::Fifo(path) => Some(path.clone()),
            Input::Stream(_) => None,
        };
        Ok(Self { shared: Arc::new(shared), path, input: Mutex::new(Some(input)) })
    }

    /// The path of a FIFO.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Begins to read. Only the first call does.
    pub(crate) fn start(&self, journal: &Arc<dyn Journal>, index: Option<MakeIndex>) -> io::Result<()> {
        let Some(input) = lock(&self.input).take() else { return Ok(()) };
        let reader = Reader::new(Arc::clone(&self.shared), input, Arc::clone(journal), index)?;
        thread::Builder::new().name("live".into()).spawn(move || reader.run())?;
        Ok(())
    }

    /// Reads to the end of the writer that is there, and waits for no other.
    pub(crate) fn drain(&self) {
        self.shared.drains.store(true, Ordering::Relaxed);
        self.shared.wake();
    }

    /// Reads no more: that is the source's end, for those who watch and for those who come.
    pub(crate) fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.shared.wake();
    }

    /// What its current life has come to, and how many watch.
    pub(crate) fn now(&self) -> (Window, usize) {
        let window = self.shared.lives().now.progress.borrow().window;
        (window, self.shared.viewers.load(Ordering::Relaxed))
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
        let settings = &self.shared.settings;
        // What was held, or is whole, is wanted from its beginning.
        let held = settings.hold && !self.shared.is_watched();
        let join = if window.is_final || held { Join::Start } else { settings.join };
        let joined = match join {
            // Where nothing is gone yet, that is the first byte there was, whatever it is.
            Join::Start if window.start == 0 && (window.is_final || held) => Some(life.unindexed(window, 0, settings)),
            join => life.begin(window, settings, join, window.end),
        };
        let (shared, content) = (Arc::clone(&self.shared), Arc::clone(&life.content));
        let watching = Arc::new(Watching { shared, life, came: window.end, counted: AtomicBool::new(false) });
        Ok(Source::live(joined, &content, progress, watching))
    }
}

impl Drop for LiveSource {
    fn drop(&mut self) {
        self.stop();
    }
}
