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
use std::time::Instant;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::limits::ROOT_KEPT;
use crate::sync::lock;

/// A folder, open as it was found.
#[derive(Debug)]
pub(super) struct Root {
    folder: OwnedFd,
    /// How it was found.
    path: Arc<Path>,
}

impl Root {
    fn open(path: Arc<Path>) -> Result<Self, Errno> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&*path, flags, Mode::empty())?;
        Ok(Self { folder, path })
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
    looked: Instant,
}

impl RootPath {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let path: Arc<Path> = std::path::absolute(path)?.into();
        let root = Root::open(Arc::clone(&path))?;
        let found = Mutex::new(Found { root: Ok(Arc::new(root)), looked: Instant::now() });
        Ok(Self { path, found })
    }

    /// What the path leads to, as of [`ROOT_KEPT`] ago at most.
    pub(super) fn now(&self) -> Result<Arc<Root>, Errno> {
        let mut found = lock(&self.found);
        if found.looked.elapsed() >= ROOT_KEPT {
            found.looked = Instant::now();
            match Root::open(Arc::clone(&self.path)) {
                Ok(root) => found.root = Ok(Arc::new(root)),
                // That says nothing of the folder: what was found before is good until the next look.
                Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR) => {}
                Err(error) => found.root = Err(error),
            }
        }
        found.root.clone()
    }
}
