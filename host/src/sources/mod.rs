//! What is published, by name. No path leaves this folder.
//!
//! Rule: a name reaches the file system only beneath a folder's descriptor that the kernel does not let
//! it leave, and only after it has become a [`Beneath`].

mod cache;
mod content;
mod growing;
mod live;
mod spelling;

use std::collections::BinaryHeap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use thiserror::Error;

use crate::journal::Journal;
use crate::limits::LISTING_ENTRIES;
use cache::{Cache, Identity};
pub use content::Content;
use content::modified;
pub(crate) use content::{Kind, Lost, Source, Window};
use growing::Growing;
use live::{Input, LiveSource};
pub use live::{Join, Live};
use spelling::{Part, Spelled};

/// What a server publishes: one source, or the files of one folder.
#[derive(Debug)]
pub struct Sources {
    media_type: Option<String>,
    published: Published,
    cache: Cache,
    growing: Option<Growing>,
}

#[derive(Debug)]
enum Published {
    /// Files or parts of files, one behind the other. They are opened anew for each client, so that one
    /// that was replaced is served as it is now.
    Files { name: Vec<u8>, parts: Vec<Part> },
    /// Everything beneath.
    Folder { root: OwnedFd },
    /// Something that is open already.
    Content { name: Vec<u8>, content: Arc<Content> },
    /// Something that comes while it is served.
    Live { name: Vec<u8>, live: LiveSource },
    /// Whatever somebody who embeds the server makes of names.
    Own(Box<dyn Publisher>),
}

/// Publishes somebody's own sources: what a server can have besides files.
///
/// Names come from clients. What is handed on is segments separated by `/`, none of them empty or
/// beginning with a dot; the empty name is the root. It is called on the loops that serve clients: what
/// takes longer than a few microseconds is found beforehand.
pub trait Publisher: Send + Sync + fmt::Debug {
    /// What there is of this name.
    fn open(&self, name: &[u8]) -> Result<Named, Refusal>;
}

/// What a [`Publisher`] has under a name.
#[derive(Clone, Debug)]
pub enum Named {
    /// Bytes.
    Content(Arc<Content>),
    /// A folder: a client that asks for it without the slash at its end is sent to the one with it.
    Folder,
}

/// Why there is nothing to publish.
#[derive(Debug, Error)]
pub enum SourceError {
    /// There is nothing of that name.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// It is nothing that has bytes.
    #[error("{} is neither a file nor a folder nor a FIFO", .0.display())]
    NotAFile(PathBuf),
    /// Only files can be put together, or be served in part.
    #[error("{} is not a file, and only files have parts", .0.display())]
    NoParts(PathBuf),
    /// The name that it should be published under could not be asked for.
    #[error(
        "a source cannot be published as {0:?}: its name is segments separated by slashes, none of them empty or beginning with a dot"
    )]
    Name(String),
    /// It is spelled like one of FFmpeg's protocols, and is none that is taken here.
    #[error("{0}: is not a source here: no network or device is opened because a name says so")]
    Protocol(String),
    /// It begins like one of FFmpeg's spellings, and does not go on like it.
    #[error("{said:?} is not understood: {spelling} is spelled {pattern}")]
    Spelling {
        /// What was said.
        said: String,
        /// What it begins like.
        spelling: &'static str,
        /// How that is spelled.
        pattern: &'static str,
    },
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
pub enum Refusal {
    /// Nothing of that name is published.
    NotFound,
    /// It is there, and the server may not read it.
    Forbidden,
    /// Not now: the server is short of something.
    Unavailable,
    /// It could not be read.
    Failed,
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
    fn new(published: Published) -> Self {
        Self { media_type: None, published, cache: Cache::default(), growing: None }
    }

    /// Publishes what `path` names: a file or a FIFO at its own name, or everything beneath a folder.
    pub fn at(path: &Path) -> Result<Self, SourceError> {
        Self::path(path, &Live::default())
    }

    /// Publishes what is spelled as FFmpeg spells its inputs: a path, `file:`, `-` or `pipe:` (stdin),
    /// `pipe:N`, `concat:a|b|c`, `subfile,,start,A,end,B,,:FILE` and `data:`. No other protocol is taken.
    /// What is not a file is treated as `live` says.
    pub fn spelled(source: &OsStr, live: &Live) -> Result<Self, SourceError> {
        match Spelled::parse(source)? {
            Spelled::Path(path) => Self::path(&path, live),
            Spelled::Parts(parts) => Self::parts(parts),
            Spelled::Pipe(number) => {
                let path = PathBuf::from(source);
                let stream = spelling::pipe(number).map_err(|error| unreadable(&path, error))?;
                Self::stream("live", stream, live.clone()).map_err(|error| unreadable(&path, error))
            }
            Spelled::Data { bytes, media_type } => {
                let content = Content::bytes(&bytes).map_err(|error| unreadable(Path::new("data:"), error))?;
                Self::content("data", content.typed(&media_type))
            }
        }
    }

    /// Publishes bytes that are there already, under this name.
    pub fn content(name: &str, content: Content) -> Result<Self, SourceError> {
        let name = proper(name)?;
        Ok(Self::new(Published::Content { name, content: Arc::new(content) }))
    }

    /// Publishes what comes from a pipe, a socket or a device, under this name. A file is published as
    /// what is in it now.
    pub fn stream(name: &str, stream: OwnedFd, live: Live) -> io::Result<Self> {
        let name = proper(name).map_err(io::Error::other)?;
        if FileType::from_raw_mode(rustix::fs::fstat(&stream)?.st_mode) == FileType::RegularFile {
            return Ok(Self::new(Published::Content { name, content: Arc::new(Content::file(stream)?) }));
        }
        let live = LiveSource::new(Input::Stream(stream), live)?;
        Ok(Self::new(Published::Live { name, live }))
    }

    /// Publishes somebody's own.
    pub fn own(publisher: impl Publisher + 'static) -> Self {
        Self::new(Published::Own(Box::new(publisher)))
    }

    fn path(path: &Path, live: &Live) -> Result<Self, SourceError> {
        let metadata = path.metadata().map_err(|error| unreadable(path, error))?;
        if metadata.is_dir() {
            let enters = rustix::fs::access(path, Access::EXEC_OK);
            enters.map_err(|error| unreadable(path, error.into()))?;
            let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
            let root = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| unreadable(path, error.into()))?;
            return Ok(Self::new(Published::Folder { root }));
        }
        if metadata.file_type().is_fifo() {
            let readable = rustix::fs::access(path, Access::READ_OK);
            readable.map_err(|error| unreadable(path, error.into()))?;
            let (path, name) = absolute(path)?;
            let live = LiveSource::new(Input::Fifo(path.clone()), live.clone());
            let live = live.map_err(|error| unreadable(&path, error))?;
            return Ok(Self::new(Published::Live { name, live }));
        }
        if !metadata.is_file() {
            return Err(SourceError::NotAFile(path.to_owned()));
        }
        Self::parts(vec![Part::whole(path)])
    }

    /// Publishes parts of files as one, at the name of the first.
    fn parts(mut parts: Vec<Part>) -> Result<Self, SourceError> {
        let mut first = None;
        for part in &mut parts {
            let file = File::open(&part.path).map_err(|error| unreadable(&part.path, error))?;
            if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
                return Err(SourceError::NoParts(part.path.clone()));
            }
            let (path, name) = absolute(&part.path)?;
            part.path = path;
            first.get_or_insert(name);
        }
        Ok(Self::new(Published::Files { name: first.unwrap_or_default(), parts }))
    }

    /// Publishes a single source under another name; a folder stays as it is.
    pub fn named(mut self, new: &str) -> Result<Self, SourceError> {
        match &mut self.published {
            Published::Files { name, .. } | Published::Content { name, .. } | Published::Live { name, .. } => {
                *name = proper(new)?;
            }
            Published::Folder { .. } | Published::Own(_) => {}
        }
        Ok(self)
    }

    /// Says what a single source is, instead of letting the guest judge by its name.
    pub fn typed(mut self, media_type: &str) -> Self {
        self.media_type = Some(media_type.to_owned());
        self
    }

    /// Takes files for growing that were written within this time: who asks for one gets what is there
    /// and then what comes, until it has not grown for as long.
    pub fn follow(mut self, idle: Duration) -> Self {
        self.growing = Some(Growing::new(idle));
        self
    }

    /// The name of the only source there is; none where a folder is published.
    pub fn only(&self) -> Option<&[u8]> {
        match &self.published {
            Published::Files { name, .. } | Published::Content { name, .. } | Published::Live { name, .. } => {
                Some(name)
            }
            Published::Folder { .. } | Published::Own(_) => None,
        }
    }

    /// How large the only source is now; none where a folder or something live is published, or the file
    /// is gone.
    pub fn size(&self) -> Option<u64> {
        match &self.published {
            Published::Files { parts, .. } => match open_parts(parts).ok()? {
                Found::Source(source) => Some(source.window().end),
                Found::Folder => None,
            },
            Published::Content { content, .. } => Some(content.size()),
            Published::Folder { .. } | Published::Live { .. } | Published::Own(_) => None,
        }
    }

    /// Whether the only source comes while it is served.
    pub fn is_live(&self) -> bool {
        matches!(self.published, Published::Live { .. })
    }

    pub(crate) fn media_type(&self) -> Option<&str> {
        self.media_type.as_deref()
    }

    /// Begins to read what is live.
    pub(crate) fn start(&self, journal: &Arc<dyn Journal>) -> io::Result<()> {
        match &self.published {
            Published::Live { live, .. } => live.start(journal),
            _ => Ok(()),
        }
    }

    /// Ends what is live: clients get what has come, and then the end.
    pub(crate) fn stop(&self) {
        if let Published::Live { live, .. } = &self.published {
            live.stop();
        }
    }

    pub(crate) fn open(&self, name: &[u8]) -> Result<Found, Refusal> {
        let published = match &self.published {
            Published::Folder { root } => {
                let beneath = Beneath::new(name).ok_or(Refusal::NotFound)?;
                return self.open_file(name, &Spot::Beneath(root, beneath));
            }
            Published::Own(publisher) => {
                Beneath::new(name).ok_or(Refusal::NotFound)?;
                return Ok(match publisher.open(name)? {
                    Named::Content(content) => Found::Source(Source::still(content)),
                    Named::Folder => Found::Folder,
                });
            }
            Published::Files { name, .. } | Published::Content { name, .. } | Published::Live { name, .. } => name,
        };
        match &self.published {
            _ if name.is_empty() => Ok(Found::Folder),
            _ if name != published => Err(Refusal::NotFound),
            Published::Files { parts, .. } => match &parts[..] {
                [part] if part.is_whole() => self.open_file(name, &Spot::At(&part.path)),
                parts => open_parts(parts),
            },
            Published::Content { content, .. } => Ok(Found::Source(Source::still(Arc::clone(content)))),
            Published::Live { live, .. } => Ok(Found::Source(live.open()?)),
            Published::Folder { .. } | Published::Own(_) => unreachable!("they were asked above"),
        }
    }

    fn open_file(&self, name: &[u8], spot: &Spot<'_>) -> Result<Found, Refusal> {
        if let Some(content) = self.cache.get(name, || spot.stat().ok().as_ref().map(Identity::from)) {
            return Ok(Found::Source(Source::still(content)));
        }
        // Not opened to find out: somebody who waits to write to a FIFO would find a reader, and lose it.
        if spot.stat().is_ok_and(|stat| !has_bytes_or_names(&stat)) {
            return Err(Refusal::NotFound);
        }
        let file = Arc::new(spot.open()?);
        let stat = rustix::fs::fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Ok(Found::Folder),
            _ => return Err(Refusal::NotFound),
        }
        let growing = self.growing.as_ref().filter(|growing| growing.may_grow(&stat));
        if let Some(source) = growing.and_then(|growing| growing.follow(&file, &stat)) {
            return Ok(Found::Source(source));
        }
        let mut content = Content::empty();
        content.append(file, &stat, 0, None);
        let content = Arc::new(content);
        self.cache.keep(name, &content, Identity::from(&stat));
        Ok(Found::Source(Source::still(content)))
    }

    pub(crate) fn list(&self, name: &[u8]) -> Result<Listing, Refusal> {
        match &self.published {
            Published::Folder { root } => {
                let folder = Beneath::new(name).ok_or(Refusal::NotFound)?.open(root, READ | OFlags::DIRECTORY)?;
                Ok(list(root, name, &folder)?)
            }
            _ => Err(Refusal::NotFound),
        }
    }
}

/// Where a file is looked for.
enum Spot<'a> {
    /// Where the operator said.
    At(&'a Path),
    /// Where a client said, beneath what the operator did.
    Beneath(&'a OwnedFd, Beneath<'a>),
}

impl Spot<'_> {
    fn open(&self) -> Result<OwnedFd, Errno> {
        match self {
            Self::At(path) => rustix::fs::open(*path, READ, Mode::empty()),
            Self::Beneath(root, name) => name.open(root, READ),
        }
    }

    /// What is there now. It may lie outside of what is published: good enough to recognize something
    /// that does not.
    fn stat(&self) -> Result<Stat, Errno> {
        match self {
            Self::At(path) => rustix::fs::statat(CWD, *path, AtFlags::empty()),
            Self::Beneath(root, name) => rustix::fs::statat(root, OsStr::from_bytes(name.0), AtFlags::empty()),
        }
    }
}

/// Whether it is a file or a folder.
fn has_bytes_or_names(stat: &Stat) -> bool {
    matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Directory)
}

fn open_parts(parts: &[Part]) -> Result<Found, Refusal> {
    let mut content = Content::empty();
    for Part { path, from, to } in parts {
        let file = Spot::At(path).open()?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Refusal::NotFound);
        }
        content.append(Arc::new(file), &stat, *from, *to);
    }
    Ok(Found::Source(Source::still(Arc::new(content))))
}

/// A name that can be asked for.
fn proper(name: &str) -> Result<Vec<u8>, SourceError> {
    let name = name.trim_start_matches('/');
    match Beneath::new(name.as_bytes()) {
        Some(beneath) if !beneath.is_root() => Ok(name.as_bytes().to_owned()),
        _ => Err(SourceError::Name(name.to_owned())),
    }
}

/// The path from the root, which stays right when the program goes elsewhere, and the name at its end.
fn absolute(path: &Path) -> Result<(PathBuf, Vec<u8>), SourceError> {
    let absolute = std::path::absolute(path).map_err(|error| unreadable(path, error))?;
    let name = absolute.file_name().map(OsString::from).ok_or_else(|| SourceError::NotAFile(path.to_owned()))?;
    Ok((absolute, name.as_bytes().to_owned()))
}

/// Without waiting for the writer of a FIFO, and without becoming anybody's terminal.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

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
            Found::Source(source) => source.window().end,
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
                Ok(Found::Source(source)) => source.content.version.clone(),
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
