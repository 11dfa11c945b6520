//! What a source is made of: parts of files.
//!
//! Rule: bytes go from here to a socket without a stop in this process, whatever kind of source it is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::Stat;
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::medium::{Chunks, Medium, is_kernels, now_ms};
use crate::limits::KERNEL_FILE_BYTES;
use crate::socket::{self, Moved};

/// A sequence of bytes that lies in files, one after the other. Shared by all clients that have it open.
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

/// A piece of a source that is read by a thread of its own.
pub(crate) struct Reading {
    pub(crate) content: Arc<Content>,
    pub(crate) offset: u64,
    pub(crate) count: usize,
}

impl Reading {
    /// What there is of it: less than was asked for where a part of the source ends, and nothing at its end.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        let Some((extent, from, there)) = self.content.locate(self.offset) else { return Ok(Vec::new()) };
        let mut bytes = vec![0; self.count.min(usize::try_from(there).unwrap_or(usize::MAX))];
        let count = loop {
            match rustix::io::pread(&extent.file, &mut bytes[..], from) {
                Err(Errno::INTR) => {}
                read => break read?,
            }
        };
        bytes.truncate(count);
        Ok(bytes)
    }
}

/// Memory that is a file: what is in it can be passed like any other.
pub(crate) fn memory(name: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)
}

/// Whether the kernel makes up what is in a file. Those beneath `/sys` claim a page, most of those beneath `/proc`
/// nothing; neither takes space, as an empty or sparse file does not. The few that claim their true size cannot be
/// passed either, only read.
pub(super) fn is_made_up(file: &OwnedFd, stat: &Stat) -> Result<bool, Errno> {
    if stat.st_blocks > 0 {
        return Ok(false);
    }
    let size = u64::try_from(stat.st_size).unwrap_or_default();
    let last = rustix::io::pread(file, &mut [0; 1], size.saturating_sub(1))?;
    Ok((last > 0) != (size > 0) || size > 0 && is_kernels(file)?)
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
