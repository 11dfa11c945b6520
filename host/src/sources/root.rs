//! The folder that is published: what its path leads to by now.
//!
//! Rule: whoever looks for something beneath the folder holds one [`Root`] until it is found, so that one
//! request is never answered from two releases.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
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
