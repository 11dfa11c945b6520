//! What is published, by name. No path leaves this file.
//!
//! Rule: a name reaches the file system only beneath a folder's descriptor that the kernel does not let
//! it leave, and only after it has become a [`Beneath`].

use std::collections::BinaryHeap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use thiserror::Error;

use crate::limits::LISTING_ENTRIES;

/// What a server publishes: one file, or the files of one folder.
#[derive(Debug)]
pub struct Sources {
    media_type: Option<String>,
    published: Published,
}

#[derive(Debug)]
enum Published {
    /// The file is opened anew for each client, so that one that was replaced is served as it is now.
    File {
        path: PathBuf,
        name: Vec<u8>,
    },
    Folder {
        root: OwnedFd,
    },
}

/// Why there is nothing to publish.
#[derive(Debug, Error)]
pub enum SourceError {
    /// There is nothing of that name.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// It is neither a file nor a folder.
    #[error("{} is neither a file nor a folder", .0.display())]
    NotAFile(PathBuf),
    /// The name that it should be published under could not be asked for.
    #[error(
        "a source cannot be published as {0:?}: its name is segments separated by slashes, none of them empty or beginning with a dot"
    )]
    Name(String),
    /// It cannot be read.
    #[error("{} cannot be read: {}", path.display(), error)]
    Unreadable {
        /// What was to be published.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// What a name turned out to be.
#[derive(Debug)]
pub(crate) enum Found {
    Source(Source),
    Folder,
}

/// Why a name was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotFound,
    Forbidden,
    Unavailable,
    Failed,
}

/// A source that a client has open.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: OwnedFd,
    pub(crate) size: u64,
    /// Milliseconds since 1970; none for a time before.
    pub(crate) modified: Option<u64>,
    /// Differs whenever the content does, as far as the file system tells.
    pub(crate) version: String,
    pub(crate) media_type: Option<String>,
}

/// What is in a folder.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) entries: Vec<Entry>,
    pub(crate) complete: bool,
}

/// One thing in a folder.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) folder: bool,
    pub(crate) size: u64,
    pub(crate) modified: Option<u64>,
}

impl Sources {
    /// Publishes what `path` names: a file at its own name, or everything beneath a folder.
    pub fn at(path: &Path) -> Result<Self, SourceError> {
        let metadata = path.metadata().map_err(|error| unreadable(path, error))?;
        if metadata.is_dir() {
            let enters = rustix::fs::access(path, Access::EXEC_OK);
            enters.map_err(|error| unreadable(path, error.into()))?;
            let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
            let root = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| unreadable(path, error.into()))?;
            return Ok(Self { media_type: None, published: Published::Folder { root } });
        }
        if !metadata.is_file() {
            return Err(SourceError::NotAFile(path.to_owned()));
        }
        File::open(path).map_err(|error| unreadable(path, error))?;
        let absolute = std::path::absolute(path).map_err(|error| unreadable(path, error))?;
        let name = absolute.file_name().ok_or_else(|| SourceError::NotAFile(path.to_owned()))?;
        let name = name.as_bytes().to_owned();
        Ok(Self { media_type: None, published: Published::File { path: absolute, name } })
    }

    /// Publishes a single file under another name; a folder stays as it is.
    pub fn named(mut self, new: &str) -> Result<Self, SourceError> {
        if let Published::File { name, .. } = &mut self.published {
            let new = new.trim_start_matches('/');
            if Beneath::new(new.as_bytes()).is_none_or(|beneath| beneath.is_root()) {
                return Err(SourceError::Name(new.to_owned()));
            }
            *name = new.as_bytes().to_owned();
        }
        Ok(self)
    }

    /// Says what a single file is, instead of letting the guest judge by its name.
    pub fn typed(mut self, media_type: &str) -> Self {
        self.media_type = Some(media_type.to_owned());
        self
    }

    /// The name of the only source there is; none where a folder is published.
    pub fn only(&self) -> Option<&[u8]> {
        match &self.published {
            Published::File { name, .. } => Some(name),
            Published::Folder { .. } => None,
        }
    }

    /// How large the only source is now; none where a folder is published or the file is gone.
    pub fn size(&self) -> Option<u64> {
        match &self.published {
            Published::File { path, .. } => path.metadata().ok().map(|metadata| metadata.len()),
            Published::Folder { .. } => None,
        }
    }

    pub(crate) fn open(&self, name: &[u8]) -> Result<Found, Refusal> {
        let opened = match &self.published {
            Published::File { path, name: published } if name == published => {
                rustix::fs::open(path, READ, Mode::empty())
            }
            Published::File { .. } if name.is_empty() => return Ok(Found::Folder),
            Published::File { .. } => return Err(Refusal::NotFound),
            Published::Folder { root } => Beneath::new(name).ok_or(Refusal::NotFound)?.open(root, READ),
        };
        let file = opened?;
        let stat = rustix::fs::fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Found::Source(Source::new(file, &stat, self.media_type.clone()))),
            FileType::Directory => Ok(Found::Folder),
            _ => Err(Refusal::NotFound),
        }
    }

    pub(crate) fn list(&self, name: &[u8]) -> Result<Listing, Refusal> {
        match &self.published {
            Published::File { .. } => Err(Refusal::NotFound),
            Published::Folder { root } => {
                let folder = Beneath::new(name).ok_or(Refusal::NotFound)?.open(root, READ | OFlags::DIRECTORY)?;
                Ok(list(root, name, &folder)?)
            }
        }
    }
}

/// Without waiting for the writer of a FIFO, and without becoming anybody's terminal.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

impl Source {
    fn new(file: OwnedFd, stat: &Stat, media_type: Option<String>) -> Self {
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        // The inode too: a file that was renamed into place can have the size and the time of the old one.
        let version = format!("{:x}.{:x}-{size:x}-{:x}", stat.st_mtime, stat.st_mtime_nsec, stat.st_ino);
        Self { file, size, modified: modified(stat), version, media_type }
    }
}

/// A name that names something beneath a folder: no segment is empty, begins with a dot (which `.` and
/// `..` do) or contains NUL. The empty name is the folder itself.
struct Beneath<'a>(&'a [u8]);

impl<'a> Beneath<'a> {
    fn new(name: &'a [u8]) -> Option<Self> {
        let proper = |segment: &[u8]| !segment.is_empty() && segment[0] != b'.' && !segment.contains(&0);
        (name.is_empty() || name.split(|&byte| byte == b'/').all(proper)).then_some(Self(name))
    }

    fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Opens it beneath `root`, in one step that the kernel answers for: links may lead to other places
    /// beneath `root`, and nowhere else.
    fn open(&self, root: &OwnedFd, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if self.is_root() { OsStr::new(".") } else { OsStr::from_bytes(self.0) };
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(root, path, flags, Mode::empty(), beneath) {
            // A kernel before 5.6, or a filter that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => self.open_stepwise(root, flags),
            // Somebody is renaming folders under us. The kernel asks to try again; so may the client.
            Err(Errno::AGAIN) => Err(Errno::BUSY),
            result => result,
        }
    }

    /// The same without the kernel's help: segment by segment, and no links at all.
    fn open_stepwise(&self, root: &OwnedFd, flags: OFlags) -> Result<OwnedFd, Errno> {
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
}

fn list(root: &OwnedFd, name: &[u8], folder: &OwnedFd) -> Result<Listing, Errno> {
    // The first names in order, whatever order the file system has; the rest is not even looked at.
    let mut first = BinaryHeap::new();
    let mut complete = true;
    for found in rustix::fs::Dir::read_from(folder)? {
        let found = found?;
        let segment = found.file_name().to_bytes();
        if Beneath::new(segment).is_none_or(|segment| segment.is_root()) {
            continue;
        }
        first.push(segment.to_owned());
        if first.len() > LISTING_ENTRIES {
            first.pop();
            complete = false;
        }
    }
    let entry = |segment: Vec<u8>| {
        let stat = listed_stat(root, name, folder, &segment)?;
        let is_folder = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => false,
            FileType::Directory => true,
            _ => return None,
        };
        let size = if is_folder { 0 } else { u64::try_from(stat.st_size).unwrap_or_default() };
        Some(Entry { name: segment, folder: is_folder, size, modified: modified(&stat) })
    };
    Ok(Listing { entries: first.into_sorted_vec().into_iter().filter_map(entry).collect(), complete })
}

/// What is known of one thing in a folder; none if it could not be opened by name.
fn listed_stat(root: &OwnedFd, name: &[u8], folder: &OwnedFd, segment: &[u8]) -> Option<Stat> {
    let stat = rustix::fs::statat(folder.as_fd(), OsStr::from_bytes(segment), AtFlags::SYMLINK_NOFOLLOW).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        return Some(stat);
    }
    let full = if name.is_empty() { segment.to_owned() } else { [name, b"/", segment].concat() };
    let target = Beneath::new(&full)?.open(root, OFlags::PATH | OFlags::CLOEXEC).ok()?;
    rustix::fs::fstat(target).ok()
}

fn modified(stat: &Stat) -> Option<u64> {
    let seconds = u64::try_from(stat.st_mtime).ok()?;
    seconds.checked_mul(1_000)?.checked_add(stat.st_mtime_nsec / 1_000_000)
}

fn unreadable(path: &Path, error: io::Error) -> SourceError {
    match error.kind() {
        io::ErrorKind::NotFound => SourceError::Missing(path.to_owned()),
        _ => SourceError::Unreadable { path: path.to_owned(), error },
    }
}

impl From<Errno> for Refusal {
    fn from(error: Errno) -> Self {
        match error {
            // A link that leads out (XDEV) or in a circle, a name longer than any, a socket (NXIO): not published.
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::XDEV
            | Errno::LOOP
            | Errno::NAMETOOLONG
            | Errno::INVAL
            | Errno::NXIO => Self::NotFound,
            Errno::ACCESS | Errno::PERM => Self::Forbidden,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::BUSY | Errno::AGAIN => Self::Unavailable,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn published() -> (tempfile::TempDir, Sources) {
        let outside = tempfile::tempdir().expect("a folder");
        let root = outside.path().join("root");
        fs::create_dir_all(root.join("sub")).expect("a folder");
        fs::write(outside.path().join("secret"), "secret").expect("a file");
        fs::write(root.join("a"), "alpha").expect("a file");
        fs::write(root.join("sub/b"), "beta").expect("a file");
        fs::write(root.join(".hidden"), "hidden").expect("a file");
        symlink("../secret", root.join("out")).expect("a link");
        symlink("sub/b", root.join("in")).expect("a link");
        symlink("loop", root.join("loop")).expect("a link");
        symlink("..", root.join("sub/up")).expect("a link");
        let sources = Sources::at(&root).expect("a folder is published");
        (outside, sources)
    }

    fn size(found: Result<Found, Refusal>) -> Result<u64, Refusal> {
        found.map(|found| match found {
            Found::Source(source) => source.size,
            Found::Folder => u64::MAX,
        })
    }

    #[test]
    fn names_lead_to_what_is_beneath_and_nowhere_else() {
        let (_outside, sources) = published();
        for (name, promised) in [
            ("a", Ok(5)),
            ("sub/b", Ok(4)),
            ("in", Ok(4)),
            ("", Ok(u64::MAX)),
            ("sub", Ok(u64::MAX)),
            ("sub/up", Ok(u64::MAX)),
            ("sub/up/a", Ok(5)),
            ("missing", Err(Refusal::NotFound)),
            ("out", Err(Refusal::NotFound)),
            ("loop", Err(Refusal::NotFound)),
            (".hidden", Err(Refusal::NotFound)),
            ("..", Err(Refusal::NotFound)),
            ("../secret", Err(Refusal::NotFound)),
            ("sub/../a", Err(Refusal::NotFound)),
            ("sub/up/../secret", Err(Refusal::NotFound)),
            ("/a", Err(Refusal::NotFound)),
            ("a/", Err(Refusal::NotFound)),
            ("sub//b", Err(Refusal::NotFound)),
            ("./a", Err(Refusal::NotFound)),
            ("a\0", Err(Refusal::NotFound)),
            ("a/b", Err(Refusal::NotFound)),
        ] {
            assert_eq!(size(sources.open(name.as_bytes())), promised, "{name:?}");
        }
    }

    #[test]
    fn without_the_kernels_help_links_are_refused_and_the_rest_is_the_same() {
        let (_outside, sources) = published();
        let Published::Folder { root } = &sources.published else { panic!("a folder is published") };
        let opens =
            |name: &str| Beneath::new(name.as_bytes()).is_some_and(|name| name.open_stepwise(root, READ).is_ok());
        assert!(opens("a") && opens("sub/b") && opens("sub") && opens(""));
        assert!(!opens("in") && !opens("out") && !opens("sub/up/a") && !opens("../secret") && !opens("missing"));
    }

    #[test]
    fn a_listing_has_what_could_be_opened_and_nothing_else() {
        let (_outside, sources) = published();
        let names = |name: &str| {
            let listing = sources.list(name.as_bytes()).expect("a folder");
            let mut names: Vec<_> = listing.entries.into_iter().map(|entry| (entry.name, entry.size)).collect();
            names.sort();
            names
        };
        assert_eq!(names(""), [(b"a".to_vec(), 5), (b"in".to_vec(), 4), (b"sub".to_vec(), 0)]);
        assert_eq!(names("sub"), [(b"b".to_vec(), 4), (b"up".to_vec(), 0)]);
        assert!(matches!(sources.list(b"a"), Err(Refusal::NotFound)));
    }

    #[test]
    fn a_version_changes_with_the_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        let version = || {
            let sources = Sources::at(&path).expect("a file is published");
            match sources.open(b"a") {
                Ok(Found::Source(source)) => source.version,
                other => panic!("{other:?}"),
            }
        };
        fs::write(&path, "one").expect("a file");
        let before = version();
        assert_eq!(before, version());
        fs::write(folder.path().join("b"), "two").expect("a file");
        fs::rename(folder.path().join("b"), &path).expect("a rename");
        assert_ne!(before, version());
    }
}
