//! A FIFO, which comes back with its next writer.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Stat};
use rustix::io::Errno;

use super::beneath::READ;
use crate::limits::{FIFO_LOOK, FIFO_REST, LIVE_READ_BYTES};

/// A FIFO that is read, and the path at which it is found again.
#[derive(Debug)]
pub(super) struct Fifo {
    path: PathBuf,
    /// Device and inode of the one that is open.
    identity: (u64, u64),
    opened: Instant,
    looked: Instant,
    /// Whether nothing was there at the last look.
    missing: bool,
}

impl Fifo {
    /// Opens the FIFO at this path for reading, without waiting for a writer.
    pub(super) fn open(path: PathBuf) -> io::Result<(Self, OwnedFd)> {
        // Not opened to find out: opening a device may do something.
        identity(&rustix::fs::statat(CWD, &path, AtFlags::empty())?)?;
        let input = rustix::fs::open(&path, READ, Mode::empty())?;
        let identity = identity(&rustix::fs::fstat(&input)?)?;
        // A larger pipe lets the writer go on while what it wrote is told of.
        let _ = rustix::pipe::fcntl_setpipe_size(&input, LIVE_READ_BYTES);
        let now = Instant::now();
        Ok((Self { path, identity, opened: now, looked: now, missing: false }, input))
    }

    /// Opens what is at the path by now: its next writer finds a reader there.
    pub(super) fn reopen(&mut self) -> io::Result<OwnedFd> {
        let (fifo, input) = Self::open(self.path.clone())?;
        *self = fifo;
        Ok(input)
    }

    /// How long reading rests yet, so that writers that come and go in a circle do not keep the reader busy.
    pub(super) fn rest(&self) -> Duration {
        FIFO_REST.saturating_sub(self.opened.elapsed())
    }

    /// While it waits for a writer: whether another FIFO has taken its place, to which the next writer will
    /// go. Looks now and then. Fails where no writer will ever come.
    pub(super) fn was_replaced(&mut self) -> io::Result<bool> {
        if self.looked.elapsed() < FIFO_LOOK {
            return Ok(false);
        }
        self.looked = Instant::now();
        match rustix::fs::statat(CWD, &self.path, AtFlags::empty()) {
            // Somebody may be about to make the next one.
            Err(Errno::NOENT) if !self.missing => self.missing = true,
            Err(error) => return Err(error.into()),
            Ok(stat) => {
                self.missing = false;
                return Ok(identity(&stat)? != self.identity);
            }
        }
        Ok(false)
    }
}

/// Device and inode of a FIFO. Fails where it is something else.
fn identity(stat: &Stat) -> io::Result<(u64, u64)> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => Ok((stat.st_dev, stat.st_ino)),
        _ => Err(io::Error::other("what is there now is not a FIFO")),
    }
}
