//! What a source is made of: parts of files, and how far they go by now.
//!
//! Rule: bytes go from here to a socket without a stop in this process, whatever kind of source it is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::Stat;
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::medium::{Chunks, Medium, now_ms};
use crate::contract::Window;
use crate::limits::{KERNEL_FILE_BYTES, LIVE_JOIN_PATIENCE};
use crate::socket::{self, Moved};

/// A sequence of bytes that lies in files, one behind the other. Shared by all clients that have it open.
#[derive(Debug)]
pub struct Content {
    extents: Vec<Extent>,
    size: u64,
    pub(crate) modified: Option<u64>,
    pub(crate) version: String,
    pub(crate) media_type: Option<String>,
}

/// The longest version that the contract allows.
const VERSION_BYTES: usize = 64;

/// A part of a file, at its place in the content.
#[derive(Debug)]
struct Extent {
    at: u64,
    count: u64,
    file: Arc<OwnedFd>,
    medium: Medium,
    /// What of it is in memory, where that has to be asked.
    chunks: Chunks,
    from: u64,
}

/// Which bytes of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) from: u64,
    /// None: to its end.
    pub(crate) to: Option<u64>,
}

impl Content {
    /// Nothing yet; of no version.
    pub(crate) fn empty() -> Self {
        Self { extents: Vec::new(), size: 0, modified: None, version: String::new(), media_type: None }
    }

    /// The bytes of a file of which nobody knows how many there will be: a window says how many there are.
    pub(crate) fn boundless(file: Arc<OwnedFd>, medium: Medium) -> Self {
        let mut content = Self::empty();
        content.push(file, medium, 0, u64::MAX);
        content
    }

    /// Says when it last changed: a file that grows has such a time, and a live source has none.
    pub(super) fn modified_as(mut self, stat: &Stat) -> Self {
        self.modified = modified(stat);
        self
    }

    /// A regular file as it is now: its bytes, the time of its last change, and a version. One that the
    /// kernel makes up while it is read (beneath `/proc` and `/sys`) is read now, and has neither.
    ///
    /// # Errors
    ///
    /// Fails where such a file has more than 256 KiB.
    pub fn file(file: impl Into<OwnedFd>) -> io::Result<Self> {
        let file = Arc::new(file.into());
        let stat = rustix::fs::fstat(&file)?;
        let medium = Medium::of(&file)?;
        Ok(Self::opened(file, &stat, medium)?)
    }

    /// The same of a file that was looked at already.
    pub(crate) fn opened(file: Arc<OwnedFd>, stat: &Stat, medium: Medium) -> Result<Self, Errno> {
        if is_made_up(&file, stat)? {
            return Self::read_whole(&file);
        }
        let mut content = Self::empty();
        content.append(file, stat, medium, Range { from: 0, to: None });
        Ok(content)
    }

    /// What a file has that does not say how much that is.
    fn read_whole(file: &OwnedFd) -> Result<Self, Errno> {
        let mut bytes = vec![0; KERNEL_FILE_BYTES + 1];
        let mut count = 0;
        while count < bytes.len() {
            match rustix::io::pread(file, &mut bytes[count..], count as u64) {
                Ok(0) => return Self::in_memory(&bytes[..count]),
                Ok(more) => count += more,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Errno::FBIG)
    }

    /// These bytes, in memory. They have no version, so that clients cannot ask whether they have changed.
    pub fn bytes(bytes: &[u8]) -> io::Result<Self> {
        Ok(Self::in_memory(bytes)?)
    }

    fn in_memory(bytes: &[u8]) -> Result<Self, Errno> {
        let memory = memory(c"bytes")?;
        let mut written = 0;
        while written < bytes.len() {
            written += rustix::io::pwrite(&memory, &bytes[written..], written as u64)?;
        }
        let mut content = Self::empty();
        content.push(Arc::new(memory), Medium::Memory, 0, bytes.len() as u64);
        Ok(content)
    }

    /// Says what it is, instead of letting the guest judge by its name.
    pub fn typed(mut self, media_type: &str) -> Self {
        self.media_type = Some(media_type.to_owned());
        self
    }

    /// Says which version it is: something that differs whenever the content does. Visible ASCII without
    /// blanks or quotes, at most 64 bytes, or it is not taken.
    pub fn versioned(mut self, version: &str) -> Self {
        let proper = version.bytes().all(|byte| matches!(byte, b'!'..=b'~') && byte != b'"');
        if proper && version.len() <= VERSION_BYTES {
            version.clone_into(&mut self.version);
        }
        self
    }

    /// Puts a part of a file after what is there.
    pub(crate) fn append(&mut self, file: Arc<OwnedFd>, stat: &Stat, medium: Medium, range: Range) {
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let to = range.to.unwrap_or(size).min(size);
        let from = range.from.min(to);
        self.modified = self.modified.max(modified(stat));
        if !self.version.is_empty() {
            self.version.push('+');
        }
        // The inode too: a file that was renamed into place can have the size and the time of the old one.
        // And when the inode changed, which nobody can set: a file that was rewritten can have its old time
        // put back. That a version changes with the rights, too, costs a client one download.
        let Stat { st_mtime, st_mtime_nsec, st_ino, st_ctime, st_ctime_nsec, .. } = stat;
        self.version +=
            &format!("{st_mtime:x}.{st_mtime_nsec:x}-{:x}-{st_ino:x}-{st_ctime:x}.{st_ctime_nsec:x}", to - from);
        self.push(file, medium, from, to - from);
        if self.version.len() > VERSION_BYTES {
            // What has many parts: nobody needs to see which.
            self.version = Sha256::digest(&self.version).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        }
    }

    /// Nothing yet, and what comes begins at this offset.
    pub(super) fn from_offset(offset: u64) -> Self {
        Self { size: offset, ..Self::empty() }
    }

    pub(super) fn push(&mut self, file: Arc<OwnedFd>, medium: Medium, from: u64, count: u64) {
        let chunks = Chunks::default();
        self.extents.push(Extent { at: self.size, count, file, medium, chunks, from });
        self.size = self.size.saturating_add(count);
    }

    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether only somebody else can say what it is by now.
    pub(super) fn is_remote(&self) -> bool {
        self.extents.iter().any(|extent| extent.medium == Medium::Remote)
    }

    /// The extent that has the byte at this offset, where in its file that is, and how many bytes it has from
    /// there on.
    fn locate(&self, offset: u64) -> Option<(&Extent, u64, u64)> {
        let next = self.extents.partition_point(|extent| extent.at <= offset);
        let extent = self.extents.get(next.checked_sub(1)?)?;
        let into = offset - extent.at;
        (into < extent.count).then(|| (extent, extent.from + into, extent.count - into))
    }

    /// How many of `count` bytes from `offset` on can be passed without waiting for a disk. Where there are no
    /// bytes, passing says so without waiting.
    pub(crate) fn ready(&self, offset: u64, count: usize) -> usize {
        let Some((extent, from, there)) = self.locate(offset) else { return count };
        match extent.medium {
            Medium::Memory | Medium::Untold => return count,
            Medium::Remote => return 0,
            Medium::Disk => {}
        }
        let (end, file_end) = (from + there.min(count as u64), from.saturating_add(there));
        let ready = extent.chunks.in_memory(&extent.file, file_end, from..end, now_ms()) - from;
        usize::try_from(ready).unwrap_or(usize::MAX)
    }

    /// Passes some of what there is from `offset` on, at most `count` bytes. Waits for the disk where it is not
    /// [`ready`](Self::ready), and never for the socket.
    pub(crate) fn pass(&self, offset: u64, count: usize, socket: BorrowedFd<'_>) -> io::Result<Moved> {
        let Some((extent, from, there)) = self.locate(offset) else { return Ok(Moved::End) };
        let count = count.min(usize::try_from(there).unwrap_or(usize::MAX));
        socket::send_file(socket, extent.file.as_fd(), from, count)
    }

    pub(crate) fn read(&self, mut offset: u64, mut buffer: &mut [u8]) -> Result<(), Lost> {
        while !buffer.is_empty() {
            let Some((extent, from, there)) = self.locate(offset) else { return Err(Lost::Shorter) };
            let wanted = buffer.len().min(usize::try_from(there).unwrap_or(usize::MAX));
            match rustix::io::pread(&extent.file, &mut buffer[..wanted], from) {
                Ok(0) => return Err(Lost::Shorter),
                Ok(count) => {
                    offset += count as u64;
                    buffer = &mut buffer[count..];
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(Lost::Failed(io::Error::from(error))),
            }
        }
        Ok(())
    }
}

/// A piece of a source that is passed by a thread of its own.
pub(crate) struct Passing {
    pub(crate) content: Arc<Content>,
    pub(crate) offset: u64,
    pub(crate) count: usize,
    pub(crate) socket: Arc<OwnedFd>,
}

impl Passing {
    pub(super) fn pass(&self) -> io::Result<Moved> {
        self.content.pass(self.offset, self.count, self.socket.as_fd())
    }
}

/// Memory that is a file: what is in it can be passed like any other.
pub(crate) fn memory(name: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)
}

/// Whether a file has not the size that it claims: the kernel makes up what is in it. Those beneath `/sys`
/// claim a page, those beneath `/proc` nothing; neither takes space, as an empty or sparse file does not.
pub(super) fn is_made_up(file: &OwnedFd, stat: &Stat) -> Result<bool, Errno> {
    if stat.st_blocks > 0 {
        return Ok(false);
    }
    let size = u64::try_from(stat.st_size).unwrap_or_default();
    let last = rustix::io::pread(file, &mut [0; 1], size.saturating_sub(1))?;
    Ok((last > 0) != (size > 0))
}

/// Writes all of this at an offset of a file.
pub(super) fn write_all(file: &OwnedFd, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, offset) {
            Ok(count) => {
                offset += count as u64;
                bytes = &bytes[count..];
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

pub(crate) fn modified(stat: &Stat) -> Option<u64> {
    let seconds = u64::try_from(stat.st_mtime).ok()?;
    seconds.checked_mul(1_000)?.checked_add(stat.st_mtime_nsec / 1_000_000)
}

/// Why bytes of a source could not be had.
#[derive(Debug)]
pub(crate) enum Lost {
    /// It has become shorter than it was.
    Shorter,
    /// It moves, and has moved on.
    Behind,
    /// What the system says.
    Failed(io::Error),
}

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
    pub(crate) kind: Kind,
    /// Held as long as the client has it open.
    viewer: Arc<dyn Viewer>,
}

/// Why a source moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Somebody is writing to its end.
    Growing,
    /// It comes from a pipe, and only the last of it is kept.
    Live,
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

impl Source {
    /// All of something that does not move.
    pub(crate) fn still(content: Arc<Content>) -> Self {
        Self { content, moving: None }
    }

    /// A file that is being written.
    pub(crate) fn growing(content: Arc<Content>, progress: watch::Receiver<Progress>, viewer: Arc<dyn Viewer>) -> Self {
        Self::follow(Joined { content, start: 0, joined: 0, leash: u64::MAX }, progress, Kind::Growing, viewer)
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
        let mut source = Self::follow(joined, progress, Kind::Live, viewer);
        if let Some(moving) = &mut source.moving {
            moving.pending = pending;
        }
        source
    }

    fn follow(joined: Joined, progress: watch::Receiver<Progress>, kind: Kind, viewer: Arc<dyn Viewer>) -> Self {
        let Joined { content, start, joined, leash } = joined;
        let mut moving = Moving {
            told: Window::default(),
            progress,
            start,
            joined,
            pending: false,
            position: joined,
            leash,
            kind,
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
            None => Window { start: 0, end: self.content.size, is_final: true },
        }
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
