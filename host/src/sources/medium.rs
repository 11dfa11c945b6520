//! Where files are: whether looking at one may have to wait, and how that is found out without waiting.
//!
//! Rule: what cannot be told is taken for what waits.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::IoSliceMut;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawMode, ResolveFlags, StatxFlags};
use rustix::io::{Errno, ReadWriteFlags};

use crate::limits::{CHUNKS, LOOKUP_ATTEMPTS, MEDIA, MEDIUM_KEPT, PROBE_BYTES, SEEN_KEPT_MS};
use crate::sync::lock;

/// How long a look may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// No longer than the processor takes: what is not in memory is not looked at (`AGAIN`).
    Memory,
    /// As long as the disk takes. Never on a loop.
    Disk,
}

/// Opens a path from `folder` on. Fails with `AGAIN` where it is not looked at (see [`Look`]).
pub(super) fn open_at(
    folder: impl AsFd,
    path: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
    look: Look,
) -> Result<OwnedFd, Errno> {
    let path = OsStr::from_bytes(path);
    if look == Look::Memory {
        return match rustix::fs::openat2(folder, path, flags, Mode::empty(), resolve | ResolveFlags::CACHED) {
            // Kernels before 5.6 do not know the call, those before 5.12 not the flag, and filters may not.
            Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => Err(Errno::AGAIN),
            result => result,
        };
    }
    if resolve.is_empty() {
        return rustix::fs::openat(folder, path, flags, Mode::empty());
    }
    for _ in 0..LOOKUP_ATTEMPTS {
        match rustix::fs::openat2(&folder, path, flags, Mode::empty(), resolve) {
            // Somebody renamed a folder meanwhile, and the kernel asks to try again.
            Err(Errno::AGAIN) => {}
            result => return result,
        }
    }
    Err(Errno::BUSY)
}

/// What a file's bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    /// They are in memory.
    Memory,
    /// From a disk of this machine; the kernel says which of them are in memory.
    Disk,
    /// From a disk of this machine, and the kernel does not say (overlayfs).
    Untold,
    /// From another machine or program, as with NFS and FUSE: opening it and asking for its size may wait, too.
    Remote,
}

impl Medium {
    /// Finds out; which may wait.
    pub(super) fn of(file: &OwnedFd) -> Result<Self, Errno> {
        Ok(match Self::of_type(file)? {
            Some(medium) => medium,
            None if is_in_memory(file, 0).is_none() => Self::Untold,
            None => Self::Disk,
        })
    }

    /// What the type of a file system says.
    fn of_type(file: &OwnedFd) -> Result<Option<Self>, Errno> {
        let kind = rustix::fs::fstatfs(file)?.f_type;
        #[expect(clippy::useless_conversion, reason = "its type differs between C libraries and architectures")]
        let kind = u32::try_from(i64::from(kind) & i64::from(u32::MAX)).unwrap_or_default();
        Ok(match kind {
            kind if MEMORY.contains(&kind) => Some(Self::Memory),
            kind if REMOTE.contains(&kind) => Some(Self::Remote),
            _ => None,
        })
    }
}

/// tmpfs, ramfs, hugetlbfs.
const MEMORY: [u32; 3] = [0x0102_1994, 0x8584_58f6, 0x9584_58f6];

/// File systems that ask somebody else: FUSE, NFS, SMB (three of them), 9P, Ceph, AFS (two), Coda, NCP, Lustre,
/// GFS2, OCFS2, GPFS, BeeGFS, VirtualBox, autofs. And those whose content is made up while it is read:
/// proc, sysfs.
const REMOTE: [u32; 20] = [
    0x6573_5546,
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x0102_1997,
    0x00c3_6400,
    0x5346_414f,
    0x6b41_4653,
    0x7375_7245,
    0x564c,
    0x0bd0_0bd0,
    0x0116_1970,
    0x7461_636f,
    0x4750_4653,
    0x1983_0326,
    0x786f_4256,
    0x0187,
    0x9fa0,
    0x6265_6572,
];

/// Whether it is beneath `/proc` or `/sys`.
pub(super) fn is_kernels(file: &OwnedFd) -> Result<bool, Errno> {
    let kind = rustix::fs::fstatfs(file)?.f_type;
    #[expect(clippy::useless_conversion, reason = "its type differs between C libraries and architectures")]
    let kind = i64::from(kind);
    Ok([0x9fa0, 0x6265_6572].contains(&kind))
}

/// Whether the byte at this offset can be read without waiting; none where the kernel cannot tell. Past the end
/// of the file it can.
pub(super) fn is_in_memory(file: &OwnedFd, offset: u64) -> Option<bool> {
    let mut byte = [0];
    let mut byte = [IoSliceMut::new(&mut byte)];
    match rustix::io::preadv2(file, &mut byte, offset, ReadWriteFlags::NOWAIT) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM) => None,
        Err(Errno::AGAIN | Errno::INTR) => Some(false),
        // Whatever else is wrong with it is found when it is passed.
        Ok(_) | Err(_) => Some(true),
    }
}

/// Which chunks of a file were seen to be in memory not long ago, by whoever passed them. Looking costs a third
/// of a microsecond each time, which popular files should cost once and not for each client.
#[derive(Debug, Default)]
pub(super) struct Chunks(OnceLock<Box<[AtomicU64]>>);

impl Chunks {
    /// Up to where in this range of a file that ends there the bytes are in memory; its start: none are.
    ///
    /// Looks at the first and the last byte of each chunk: the kernel reads files in pieces about as large,
    /// and mostly forgets them so. Where only what lies between is missing, a loop waits once for a disk.
    pub(super) fn in_memory(&self, file: &OwnedFd, file_end: u64, range: Range<u64>, now_ms: u64) -> u64 {
        let are_there = |first, end: u64| [first, end - 1].iter().all(|&at| is_in_memory(file, at) != Some(false));
        let mut at = range.start;
        while at < range.end {
            let chunk = at / PROBE_BYTES;
            let chunk_end = (chunk + 1).saturating_mul(PROBE_BYTES).min(file_end);
            let end = chunk_end.min(range.end);
            if !self.was_seen(file_end, chunk, now_ms) {
                if are_there(chunk * PROBE_BYTES, chunk_end) {
                    self.slot(file_end, chunk).store(mark(chunk, now_ms), Ordering::Relaxed);
                } else if !are_there(at, end) {
                    break;
                }
            }
            at = end;
        }
        at
    }

    fn was_seen(&self, file_end: u64, chunk: u64, now_ms: u64) -> bool {
        let seen = self.slot(file_end, chunk).load(Ordering::Relaxed);
        let age = mark(chunk, now_ms).wrapping_sub(seen);
        // Of another chunk, the upper half differs, and so it is far too old.
        seen != 0 && age < SEEN_KEPT_MS
    }

    fn slot(&self, file_end: u64, chunk: u64) -> &AtomicU64 {
        let count = file_end.div_ceil(PROBE_BYTES).clamp(1, CHUNKS);
        let slots = self.0.get_or_init(|| (0..count).map(|_| AtomicU64::new(0)).collect());
        &slots[usize::try_from(chunk % slots.len() as u64).unwrap_or_default()]
    }
}

/// A chunk and a time in one number: of different chunks, further apart than any two times that matter.
fn mark(chunk: u64, now_ms: u64) -> u64 {
    ((chunk + 1) << 32) | (now_ms & u64::from(u32::MAX))
}

/// A clock that is as cheap as reading memory, and a few milliseconds coarse.
pub(super) fn now_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    u64::try_from(now.tv_sec).unwrap_or_default() * 1_000 + u64::try_from(now.tv_nsec).unwrap_or_default() / 1_000_000
}

/// What is known of the devices that files are on.
#[derive(Debug, Default)]
pub(super) struct Media(Mutex<HashMap<u64, (Medium, Instant)>>);

impl Media {
    /// What a device is, if that was found out not long ago: its number may mean another one later. That of a disk
    /// never means something remote, which has no device and so the major number 0.
    pub(super) fn get(&self, device: u64) -> Option<Medium> {
        let media = lock(&self.0);
        let (medium, found) = media.get(&device)?;
        (rustix::fs::major(device) != 0 || found.elapsed() < MEDIUM_KEPT).then_some(*medium)
    }

    /// Finds out, which may wait, or remembers.
    pub(super) fn find(&self, device: u64, file: &OwnedFd) -> Result<Medium, Errno> {
        if let Some(medium) = self.get(device) {
            return Ok(medium);
        }
        let medium = Medium::of(file)?;
        let mut media = lock(&self.0);
        if media.len() >= MEDIA {
            media.retain(|_, (_, found)| found.elapsed() < MEDIUM_KEPT);
        }
        if media.len() < MEDIA {
            media.insert(device, (medium, Instant::now()));
        }
        Ok(medium)
    }
}

/// What can be said of something that was looked up without asking whoever has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Glance {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) kind: FileType,
}

impl Glance {
    pub(super) fn at(found: impl AsFd) -> Result<Self, Errno> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let stat = rustix::fs::statx(found, c"", flags, StatxFlags::TYPE | StatxFlags::INO)?;
        Ok(Self {
            device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            kind: FileType::from_raw_mode(RawMode::from(stat.stx_mode)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_told_from_what_waits_for_others() {
        let medium = |path: &str| {
            let file = std::fs::File::open(path).expect("it is there");
            Medium::of(&file.into()).expect("it has a file system")
        };
        assert_eq!(medium("/proc/version"), Medium::Remote);
        assert_eq!(medium("/dev/shm"), Medium::Memory);
        let file = tempfile::NamedTempFile::new().expect("a file");
        let glance = Glance::at(file.as_file()).expect("it is there");
        let stat = rustix::fs::fstat(file.as_file()).expect("it is there");
        let Glance { device, inode, kind } = glance;
        assert_eq!((device, inode, kind), (stat.st_dev, stat.st_ino, FileType::RegularFile));
        let media = Media::default();
        assert_eq!(media.get(device), None);
        let opened = file.reopen().expect("the same file").into();
        let found = media.find(device, &opened).expect("it has a file system");
        assert_eq!(media.get(device), Some(found));
        assert_ne!(found, Medium::Remote);
    }

    #[test]
    fn what_was_seen_to_be_in_memory_is_not_looked_at_again_for_a_while() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let size = 3 * PROBE_BYTES + 1;
        file.as_file().set_len(size).expect("there is room");
        let opened = file.reopen().expect("the same file").into();
        let chunks = Chunks::default();
        let now = now_ms();
        assert_eq!(chunks.in_memory(&opened, size, 5..5, now), 5);
        // Read by somebody, it is in memory; or this file system does not tell.
        std::fs::read(file.path()).expect("it can be read");
        assert_eq!(chunks.in_memory(&opened, size, 1..size, now), size);
        for chunk in 0..4 {
            assert!(chunks.was_seen(size, chunk, now + SEEN_KEPT_MS - 1));
            assert!(!chunks.was_seen(size, chunk, now + SEEN_KEPT_MS));
        }
        // They share their places with others.
        let chunks = Chunks::default();
        chunks.slot(u64::MAX, 1).store(mark(1, now), Ordering::Relaxed);
        assert!(chunks.was_seen(u64::MAX, 1, now) && !chunks.was_seen(u64::MAX, 1 + CHUNKS, now));
        assert!(!chunks.was_seen(u64::MAX, 0, now));
    }
}
