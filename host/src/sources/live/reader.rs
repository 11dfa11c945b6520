//! Reads a live source, on a thread of its own.
//!
//! Rule: nothing here waits for a viewer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::io::Errno;

use super::life::{Life, Shared};
use crate::journal::{Journal, Size};
use crate::limits::{LIVE_BLOCK, LIVE_LIVES, LIVE_READ_BYTES, LIVE_REST, LIVE_UNSEEN};
use crate::sources::beneath::READ;

/// Where it comes from.
#[derive(Debug)]
pub(crate) enum Input {
    /// A pipe, a socket, a device: it ends once.
    Stream(OwnedFd),
    /// A FIFO: it comes back with its next writer.
    Fifo(PathBuf),
}

/// The one that reads.
pub(super) struct Reader {
    shared: Arc<Shared>,
    journal: Arc<dyn Journal>,
    input: OwnedFd,
    /// Where the input is found again when its writer is gone.
    fifo: Option<PathBuf>,
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
    pub(super) fn new(shared: Arc<Shared>, input: Input, journal: Arc<dyn Journal>) -> io::Result<Self> {
        let (input, fifo) = match input {
            Input::Stream(stream) => (stream, None),
            Input::Fifo(path) => (rustix::fs::open(&path, READ, Mode::empty())?, Some(path)),
        };
        // A larger pipe lets the writer go on while what it wrote is told of. Not everything is a pipe.
        let _ = rustix::pipe::fcntl_setpipe_size(&input, LIVE_READ_BYTES);
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

    pub(super) fn run(mut self) {
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
                Err(error) => return self.fail(&error),
            }
        }
    }

    fn read_to_the_end(&mut self) -> io::Result<Stop> {
        loop {
            if self.shared.stopped.load(Ordering::Relaxed) {
                return Ok(Stop::Told);
            }
            let due = LIVE_REST.saturating_sub(self.said_at.elapsed());
            let unsaid = self.written - self.said;
            if unsaid > 0 && (due.is_zero() || unsaid >= LIVE_UNSEEN) {
                self.say()?;
            }
            let patience = (self.written > self.said).then_some(due);
            if !self.wait(patience)? {
                continue;
            }
            match rustix::io::read(&self.input, &mut self.buffer[..]) {
                Ok(0) => return Ok(Stop::WriterGone),
                Ok(count) => {
                    if self.written == 0 {
                        self.began = Instant::now();
                        self.journal.notice("source begins");
                    }
                    self.keep(count)?;
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for the input, and says whether there may be something.
    fn wait(&self, patience: Option<Duration>) -> io::Result<bool> {
        let settings = &self.shared.settings;
        let held = settings.hold && self.written >= settings.reach() && !self.shared.is_watched();
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

    fn keep(&mut self, count: usize) -> io::Result<()> {
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

    fn fail(&self, error: &io::Error) {
        self.life.progress.send_modify(|now| {
            now.window.end = self.written;
            now.failed = Some(format!("it cannot be read: {error}"));
        });
        self.journal.notice(&format!("source failed: {error}"));
    }

    /// Waits for the next writer of a FIFO.
    fn next_life(&mut self) -> io::Result<()> {
        if let Some(path) = &self.fifo {
            // Before the old one is closed: somebody who writes already must not find nobody listening.
            self.input = rustix::fs::open(path, READ, Mode::empty())?;
            let _ = rustix::pipe::fcntl_setpipe_size(&self.input, LIVE_READ_BYTES);
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

fn clear(eventfd: BorrowedFd<'_>) {
    // There is nothing in it, or there is: both are fine.
    let _ = rustix::io::read(eventfd, &mut [0; 8]);
}
