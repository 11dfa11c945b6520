//! What comes from a pipe: one reader, a bounded memory of the last of it, and any number of viewers.
//!
//! The memory is a file without a name that only grows: new bytes are written to its end, and the kernel
//! takes back the blocks at its beginning. So a live source is a file whose window moves; it is passed to
//! viewers like any other, and its bytes are in memory once, however many there are.
//!
//! Rule: nothing here waits for a viewer. Who is too slow finds the beginning of its window gone.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use tokio::sync::watch;

use super::content::{self, Content, Progress, Source, Viewer};
use super::fifo::Fifo;
use super::medium::Medium;
use crate::contract::{Refusal, Window};
use crate::journal::{Journal, Size};
use crate::limits::{FIFO_LOOK, LIVE_BLOCK, LIVE_LIVES, LIVE_READ_BYTES, LIVE_REST, LIVE_STEP, LIVE_UNSEEN};
use crate::sync::lock;

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
}

impl Default for Live {
    fn default() -> Self {
        Self { buffer: 16 << 20, join: Join::Burst, burst: 1 << 20, lag: 4 << 20, hold: false }
    }
}

impl Live {
    /// How far behind the newest byte a client may begin. Less than what is kept: who begins with the
    /// oldest byte of all has lost it with the next that comes, however far it was promised to lag.
    fn reach(&self) -> u64 {
        self.buffer - self.lag.min(self.buffer / 4)
    }
}

/// Where in a live source a client begins. In an MPEG transport stream that is a whole packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// With the oldest byte that is kept.
    Start,
    /// With the newest.
    Edge,
    /// A little before that.
    Burst,
}

/// A source that is read while it is served.
#[derive(Debug)]
pub(crate) struct LiveSource {
    shared: Arc<Shared>,
    /// What is read, until the reader has it.
    input: Mutex<Option<Input>>,
}

/// Where it comes from.
#[derive(Debug)]
pub(crate) enum Input {
    /// A pipe, a socket, a device: it ends once.
    Stream(OwnedFd),
    /// A FIFO: it comes back with its next writer.
    Fifo(PathBuf),
}

#[derive(Debug)]
struct Shared {
    settings: Live,
    lives: Mutex<Lives>,
    viewers: AtomicUsize,
    stopped: AtomicBool,
    /// Wakes the reader: somebody watches, or it should stop.
    wake: OwnedFd,
}

/// What comes between a writer's first byte and its end.
#[derive(Debug)]
struct Life {
    memory: Arc<OwnedFd>,
    content: Arc<Content>,
    progress: watch::Sender<Progress>,
}

#[derive(Debug)]
struct Lives {
    now: Arc<Life>,
    /// Those before that somebody still watches.
    before: Vec<Weak<Life>>,
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

impl Shared {
    fn lives(&self) -> MutexGuard<'_, Lives> {
        lock(&self.lives)
    }

    fn wake(&self) {
        // It can only fail because it is awake already.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn is_watched(&self) -> bool {
        self.viewers.load(Ordering::Relaxed) > 0
    }
}

impl Life {
    fn new() -> io::Result<Self> {
        let memory = Arc::new(content::memory(c"live")?);
        let content = Arc::new(Content::boundless(Arc::clone(&memory), Medium::Memory));
        Ok(Self { memory, content, progress: watch::Sender::default() })
    }

    /// Gives up all of it, also where a client has it open and does nothing.
    fn forget(&self) -> io::Result<()> {
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
    fn give_back(&self, from: u64, to: u64) -> io::Result<()> {
        if from < to {
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&self.memory, hole, from, to - from)?;
        }
        Ok(())
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

/// The one that reads.
struct Reader {
    shared: Arc<Shared>,
    journal: Arc<dyn Journal>,
    input: OwnedFd,
    /// Where the input is found again when its writer is gone.
    fifo: Option<Fifo>,
    life: Arc<Life>,
    buffer: Vec<u8>,
    /// How much of this life has been written to its memory, and how much of that was said.
    written: u64,
    said: u64,
    said_at: Instant,
    began: Instant,
}

/// Why reading has come to a stop.
enum Stop {
    /// The writer is gone.
    WriterGone,
    /// The server stops.
    Told,
}

impl Reader {
    fn new(shared: Arc<Shared>, input: Input, journal: Arc<dyn Journal>) -> io::Result<Self> {
        let (input, fifo) = match input {
            Input::Stream(stream) => {
                // A larger pipe lets the writer go on while what it wrote is told of. Not everything is a pipe.
                let _ = rustix::pipe::fcntl_setpipe_size(&stream, LIVE_READ_BYTES);
                (stream, None)
            }
            Input::Fifo(path) => {
                let (fifo, input) = Fifo::open(path)?;
                (input, Some(fifo))
            }
        };
        let life = Arc::clone(&shared.lives().now);
        let now = Instant::now();
        Ok(Self {
            shared,
            journal,
            input,
            fifo,
            life,
            buffer: vec![0; LIVE_READ_BYTES],
            written: 0,
            said: 0,
            said_at: now,
            began: now,
        })
    }

    fn run(mut self) {
        loop {
            match self.read_to_the_end() {
                Ok(Stop::Told) => return self.end(),
                Ok(Stop::WriterGone) if self.fifo.is_none() => {
                    self.end();
                    return self.journal.notice(&format!("source ended   {}", self.so_far()));
                }
                Ok(Stop::WriterGone) => {
                    if let Err(error) = self.next_life() {
                        // The last writer was in order, and its viewers get to its end.
                        self.end();
                        return self
                            .journal
                            .notice(&format!("source ended   {}   and has no next writer: {error}", self.so_far()));
                    }
                }
                Err(why) => return self.fail(&why),
            }
        }
    }

    fn read_to_the_end(&mut self) -> Result<Stop, String> {
        loop {
            if self.shared.stopped.load(Ordering::Relaxed) {
                return Ok(Stop::Told);
            }
            let due = LIVE_REST.saturating_sub(self.said_at.elapsed());
            let unsaid = self.written - self.said;
            if unsaid > 0 && (due.is_zero() || unsaid >= LIVE_UNSEEN) {
                self.say().map_err(|error| format!("it cannot be kept: {error}"))?;
            }
            let patience = (self.written > self.said).then_some(due);
            if !self.wait(patience).map_err(|error| format!("it cannot be waited for: {error}"))? {
                self.follow_fifo().map_err(|error| format!("it has no next writer: {error}"))?;
                continue;
            }
            match rustix::io::read(&self.input, &mut self.buffer[..]) {
                Ok(0) => return Ok(Stop::WriterGone),
                Ok(count) => {
                    if self.written == 0 {
                        self.began = Instant::now();
                        self.journal.notice("source begins");
                    }
                    self.keep(count).map_err(cannot_be_kept)?;
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(format!("it cannot be read: {error}")),
            }
        }
    }

    /// Waits for the input, and says whether there may be something.
    fn wait(&self, mut patience: Option<Duration>) -> io::Result<bool> {
        let settings = &self.shared.settings;
        let mut held = settings.hold && self.written >= settings.reach() && !self.shared.is_watched();
        if let Some(fifo) = self.fifo.as_ref().filter(|_| self.written == 0) {
            let rest = fifo.rest();
            held |= !rest.is_zero();
            patience = Some(if rest.is_zero() { FIFO_LOOK } else { rest });
        }
        let wake = self.shared.wake.as_fd();
        let mut waited = vec![PollFd::from_borrowed_fd(wake, PollFlags::IN)];
        if !held {
            waited.push(PollFd::from_borrowed_fd(self.input.as_fd(), PollFlags::IN));
        }
        let patience = patience.map(|patience| Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(patience.subsec_nanos()),
        });
        match poll(&mut waited, patience.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        if !waited[0].revents().is_empty() {
            clear(wake);
        }
        Ok(waited.get(1).is_some_and(|input| !input.revents().is_empty()))
    }

    /// While no writer is there: goes where the next one will come.
    fn follow_fifo(&mut self) -> io::Result<()> {
        if let Some(fifo) = self.fifo.as_mut().filter(|_| self.written == 0)
            && fifo.was_replaced()?
        {
            self.input = fifo.reopen()?;
        }
        Ok(())
    }

    fn keep(&mut self, count: usize) -> Result<(), Errno> {
        let mut bytes = &self.buffer[..count];
        while !bytes.is_empty() {
            let kept = rustix::io::pwrite(&self.life.memory, bytes, self.written)?;
            self.written += kept as u64;
            bytes = &bytes[kept..];
        }
        Ok(())
    }

    /// Tells everybody how far it has come, and gives up what is too old.
    fn say(&mut self) -> io::Result<()> {
        // Whole blocks, so that the kernel takes pages away and never clears a part of one that is still
        // on its way to somebody.
        let start = self.written.saturating_sub(self.shared.settings.buffer) / LIVE_BLOCK * LIVE_BLOCK;
        let mut before = 0;
        self.life.progress.send_modify(|now| {
            before = now.window.start;
            (now.window.start, now.window.end) = (start, self.written);
        });
        self.life.give_back(before, start)?;
        (self.said, self.said_at) = (self.written, Instant::now());
        Ok(())
    }

    /// Tells everybody that this is all.
    fn end(&self) {
        self.life.progress.send_modify(|now| (now.window.end, now.window.is_final) = (self.written, true));
    }

    fn fail(&self, why: &str) {
        self.life.progress.send_modify(|now| {
            now.window.end = self.written;
            now.failed = Some(why.to_owned());
        });
        self.journal.notice(&format!("source failed: {why}"));
    }

    /// Waits for the next writer of a FIFO.
    fn next_life(&mut self) -> io::Result<()> {
        if let Some(fifo) = &mut self.fifo {
            // Before the old one is closed: somebody who writes already must not find nobody listening.
            self.input = fifo.reopen()?;
        }
        if self.written == 0 {
            // A writer that wrote nothing was none.
            return Ok(());
        }
        let next = Arc::new(Life::new()?);
        {
            let mut lives = self.shared.lives();
            let before = std::mem::replace(&mut lives.now, Arc::clone(&next));
            lives.before.retain(|life| life.strong_count() > 0);
            lives.before.push(Arc::downgrade(&before));
            if lives.before.len() > LIVE_LIVES {
                // Somebody is slow to watch the end of it, and writers come and go: it is memory.
                if let Some(oldest) = lives.before.remove(0).upgrade() {
                    oldest.forget()?;
                }
            }
        }
        self.end();
        self.journal.notice(&format!("source ended, and waits for its next writer   {}", self.so_far()));
        (self.life, self.written, self.said) = (next, 0, 0);
        Ok(())
    }

    fn so_far(&self) -> String {
        format!("{} in {} s", Size(self.written), self.began.elapsed().as_secs())
    }
}

/// What a live source has in memory counts as a file, and may be limited like one.
fn cannot_be_kept(error: Errno) -> String {
    match error {
        Errno::FBIG => "it is larger than a file may be here (raise `ulimit -f`, or LimitFSIZE= of the service)".into(),
        error => format!("it cannot be kept: {error}"),
    }
}

fn clear(eventfd: BorrowedFd<'_>) {
    // There is nothing in it, or there is: both are fine.
    let _ = rustix::io::read(eventfd, &mut [0; 8]);
}

#[cfg(test)]
mod tests;
