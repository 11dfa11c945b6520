//! The folder that is published: what its path leads to by now.
//!
//! Rule: whoever looks for something beneath the folder holds one [`Root`] until it is found, so that one
//! request is never answered from two releases.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::{CWD, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::medium::{Glance, Look, now_ms, open_at};
use crate::limits::ROOT_KEPT_MS;
use crate::sync::lock;

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::PATH).union(OFlags::CLOEXEC);

/// A folder, open as it was found.
#[derive(Debug)]
pub(super) struct Root {
    folder: OwnedFd,
    identity: (u64, u64),
    /// How it was found.
    path: Arc<Path>,
}

impl Root {
    fn open(path: Arc<Path>, look: Look) -> Result<Self, Errno> {
        let folder = open_at(CWD, path.as_os_str().as_bytes(), FOLDER, ResolveFlags::empty(), look)?;
        let Glance { device, inode, .. } = Glance::at(&folder)?;
        Ok(Self { folder, identity: (device, inode), path })
    }

    /// Device and inode.
    pub(super) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// What is left of an absolute path beneath this folder; none if it leads elsewhere. The folder is
    /// recognized by the path that it was found by, and by its real one.
    pub(super) fn strip(&self, path: &[u8]) -> Option<Vec<u8>> {
        let path = Path::new(OsStr::from_bytes(path));
        let rest = match path.strip_prefix(&self.path) {
            Ok(rest) => rest,
            Err(_) => path.strip_prefix(self.real_path()?).ok()?,
        };
        Some(rest.as_os_str().as_bytes().to_owned())
    }

    fn real_path(&self) -> Option<PathBuf> {
        let link = rustix::fs::readlink(format!("/proc/self/fd/{}", self.folder.as_raw_fd()), Vec::new()).ok()?;
        Some(std::ffi::OsString::from_vec(link.into_bytes()).into())
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

/// Where the folder is found.
#[derive(Debug)]
pub(super) struct RootPath {
    path: Arc<Path>,
    found: Mutex<Found>,
}

#[derive(Debug)]
struct Found {
    root: Result<Arc<Root>, Errno>,
    /// By the coarse clock.
    looked_ms: u64,
}

impl RootPath {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let path: Arc<Path> = std::path::absolute(path)?.into();
        let root = Root::open(Arc::clone(&path), Look::Disk)?;
        let found = Mutex::new(Found { root: Ok(Arc::new(root)), looked_ms: now_ms() });
        Ok(Self { path, found })
    }

    pub(super) fn as_path(&self) -> &Path {
        &self.path
    }

    /// What the path leads to, as of [`ROOT_KEPT_MS`] ago at most. Fails with `AGAIN` where that takes a longer
    /// look.
    pub(super) fn now(&self, look: Look) -> Result<Arc<Root>, Errno> {
        let found = lock(&self.found);
        if now_ms().saturating_sub(found.looked_ms) < ROOT_KEPT_MS {
            return found.root.clone();
        }
        // Others go on meanwhile, each with what it finds.
        drop(found);
        let now = Root::open(Arc::clone(&self.path), look).map(Arc::new);
        let mut found = lock(&self.found);
        match now {
            // That says nothing of the folder: what was found before is good until the next look.
            Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR) => {}
            Err(Errno::AGAIN) => return Err(Errno::AGAIN),
            now => found.root = now,
        }
        found.looked_ms = now_ms();
        found.root.clone()
    }
}
