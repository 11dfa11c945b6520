//! The way from a client's name to the file system: beneath a folder, and never out of it.
//!
//! Rule: a name reaches the file system only as a [`Beneath`], below a folder's descriptor that the kernel
//! does not let it leave.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::medium::{Look, open_at};
use super::root::Root;
use crate::contract::Refusal;
use crate::limits::LINK_STEPS;

/// Without waiting for the writer of a FIFO, and without becoming anybody's terminal.
pub(super) const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// A name that names something beneath a folder: no segment is empty, begins with a dot (which `.` and
/// `..` do) or contains NUL. The empty name is the folder itself.
pub(super) struct Beneath<'a>(&'a [u8]);

impl<'a> Beneath<'a> {
    pub(super) fn new(name: &'a [u8]) -> Option<Self> {
        let proper = |segment: &[u8]| !segment.is_empty() && segment[0] != b'.' && !segment.contains(&0);
        (name.is_empty() || name.split(|&byte| byte == b'/').all(proper)).then_some(Self(name))
    }

    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Opens it beneath `root`, in one step that the kernel answers for: links may lead to other places
    /// beneath `root`, and nowhere else.
    ///
    /// Fails with `AGAIN` where that takes a longer look.
    pub(super) fn open(&self, root: &Root, flags: OFlags, look: Look) -> Result<OwnedFd, Errno> {
        match open_beneath(root, self.0, flags, look) {
            // Something leads out of `root`; or a link is absolute, which the kernel takes for the same.
            Err(Errno::XDEV) if look == Look::Memory => Err(Errno::AGAIN),
            Err(Errno::XDEV) => open_beneath(root, &without_links(root, self.0)?, flags, look),
            // A kernel before 5.6, or a filter that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => self.open_stepwise(root, flags),
            result => result,
        }
    }

    /// The same without the kernel's help: segment by segment, and no links at all.
    fn open_stepwise(&self, root: &impl AsFd, flags: OFlags) -> Result<OwnedFd, Errno> {
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut above = rustix::fs::openat(root, ".", folder, Mode::empty())?;
        let mut segments = self.0.split(|&byte| byte == b'/').map(OsStr::from_bytes).peekable();
        while let Some(segment) = segments.next() {
            let segment = if self.is_root() { OsStr::new(".") } else { segment };
            if segments.peek().is_none() {
                return rustix::fs::openat(&above, segment, flags | OFlags::NOFOLLOW, Mode::empty());
            }
            above = rustix::fs::openat(&above, segment, folder, Mode::empty())?;
        }
        Err(Errno::NOENT)
    }

    /// What is there now, whatever links lead to: good enough to recognize something that was opened before.
    pub(super) fn stat(&self, root: &Root) -> Result<Stat, Errno> {
        rustix::fs::statat(root, OsStr::from_bytes(self.0), AtFlags::empty())
    }
}

/// Opens a path that the kernel does not let out of `root`.
fn open_beneath(root: &Root, path: &[u8], flags: OFlags, look: Look) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    open_at(root, path, flags, ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS, look)
}

/// The path beneath `root` that `name` leads to, with every link followed, the absolute ones among them.
///
/// It is only a proposal: what it names may be another link by the time it is opened, and whoever opens it
/// has the kernel keep it beneath `root`.
fn without_links(root: &Root, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let segments = |path: &[u8]| path.split(|&byte| byte == b'/').rev().map(<[u8]>::to_owned).collect::<Vec<_>>();
    let mut found: Vec<Vec<u8>> = Vec::new();
    // The next one is the last.
    let mut rest = segments(name);
    for _ in 0..LINK_STEPS {
        let Some(segment) = rest.pop() else { return Ok(found.join(&b'/')) };
        match &segment[..] {
            b"" | b"." => continue,
            b".." if found.pop().is_none() => return Err(Errno::XDEV),
            b".." => continue,
            _ => found.push(segment),
        }
        let Some(target) = link(root, &found.join(&b'/'))? else { continue };
        found.pop();
        if target.starts_with(b"/") {
            found.clear();
            rest.extend(segments(&root.strip(&target).ok_or(Errno::XDEV)?));
        } else {
            rest.extend(segments(&target));
        }
    }
    Err(Errno::LOOP)
}

/// Where the link of this path leads; none if it is none.
fn link(root: &Root, path: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let found = open_beneath(root, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Look::Disk)?;
    match rustix::fs::readlinkat(found, "", Vec::new()) {
        Ok(target) => Ok(Some(target.into_bytes())),
        Err(Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a client is told about a file that cannot be opened.
pub(super) fn refusal(error: Errno) -> Refusal {
    match error {
        // A link that leads out (XDEV) or in a circle, a name longer than any, a socket (NXIO): not published.
        Errno::NOENT | Errno::NOTDIR | Errno::XDEV | Errno::LOOP | Errno::NAMETOOLONG | Errno::INVAL | Errno::NXIO => {
            Refusal::NotFound
        }
        Errno::ACCESS | Errno::PERM => Refusal::Forbidden,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::BUSY | Errno::AGAIN => Refusal::Unavailable,
        _ => Refusal::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn without_the_kernels_help_links_are_refused_and_the_rest_is_the_same() {
        let outside = tempfile::tempdir().expect("a folder");
        let path = outside.path().join("root");
        fs::create_dir_all(path.join("sub")).expect("a folder");
        fs::write(outside.path().join("secret"), "secret").expect("a file");
        fs::write(path.join("a"), "alpha").expect("a file");
        fs::write(path.join("sub/b"), "beta").expect("a file");
        symlink("../secret", path.join("out")).expect("a link");
        symlink("sub/b", path.join("in")).expect("a link");
        symlink("..", path.join("sub/up")).expect("a link");
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let root = rustix::fs::open(&path, flags, Mode::empty()).expect("a folder");
        let opens =
            |name: &str| Beneath::new(name.as_bytes()).is_some_and(|name| name.open_stepwise(&root, READ).is_ok());
        assert!(opens("a") && opens("sub/b") && opens("sub") && opens(""));
        assert!(!opens("in") && !opens("out") && !opens("sub/up/a") && !opens("../secret") && !opens("missing"));
    }
}
