//! What a server publishes, by name.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use rustix::fs::{Access, FileType, Mode};

use super::beneath::{Beneath, READ, refusal};
use super::content::{Content, Passing, Reading};
use super::error::{SourceError, unreadable};
use super::files::{Files, Miss, Resolved, Spot};
use super::folder;
use super::follow::Source;
use super::listings::{Listings, Waiter};
use super::live::{Input, Live, LiveSource, MakeIndex};
use super::medium::Look;
use super::pool::{Owner, Pool, Waiting};
use super::publisher::{Named, Publisher};
use super::root::RootPath;
use super::syntax::{self, Part, Spelled};
use super::view::{Asked, Looked, View};
use crate::contract::{Listing, Portion, Refusal, Window};
use crate::journal::Journal;
use crate::limits::DISK_WAITS;
use crate::socket::Moved;
use crate::sync::lock;

/// What a server publishes: one source, or the files of one folder.
pub struct Sources {
    media_type: Option<String>,
    published: Published,
    files: Files,
    listings: Listings,
    disk: Pool,
}

enum Published {
    /// Files or parts of files, one after the other. They are opened anew for each client, so that one
    /// that was replaced is served as it is now.
    Files { name: Vec<u8>, parts: Vec<Part> },
    /// Everything beneath.
    Folder(RootPath),
    /// Something that is open already.
    Content { name: Vec<u8>, content: Arc<Content> },
    /// Something that comes while it is served.
    Live { name: Vec<u8>, live: LiveSource },
    /// Whatever an embedder makes of names.
    Custom(Custom),
}

/// An embedder's own sources.
struct Custom {
    publisher: Box<dyn Publisher>,
    /// Those that are live and were opened, to end them with the server.
    live: Mutex<Vec<Weak<LiveSource>>>,
}

impl Custom {
    fn open(&self, name: &[u8], files: &Files, look: Look) -> Result<Resolved, Miss> {
        Beneath::new(name).ok_or(Refusal::NotFound)?;
        Ok(match self.publisher.open(name)? {
            Named::Content(content) => Resolved::Source(Source::still(content)),
            Named::File(file) => files.open_given(file, look)?,
            Named::Live(stream) => Resolved::Source(self.watch(stream.source())?),
            Named::Folder => Resolved::Folder,
        })
    }

    fn watch(&self, source: &Arc<LiveSource>) -> Result<Source, Refusal> {
        let mut live = lock(&self.live);
        if live.iter().all(|known| known.as_ptr() != Arc::as_ptr(source)) {
            live.retain(|known| known.strong_count() > 0);
            live.push(Arc::downgrade(source));
        }
        drop(live);
        source.open()
    }

    /// Asks for one entry more than is told, to see whether there are more.
    fn list(&self, portion: &Portion) -> Result<Listing, Refusal> {
        Beneath::new(&portion.folder).ok_or(Refusal::NotFound)?;
        let most = folder::most(portion);
        let mut entries = self.publisher.list(&portion.folder, &portion.after, most + 1)?;
        let complete = entries.len() <= most;
        entries.truncate(most);
        Ok(Listing { entries, complete })
    }
}

impl Sources {
    fn new(published: Published) -> Self {
        let disk = Pool::new("disk", DISK_WAITS);
        Self { media_type: None, published, files: Files::default(), listings: Listings::new(), disk }
    }

    /// Publishes what `path` names: a file or a FIFO at its own name, or everything beneath a folder.
    ///
    /// A file is what the path leads to when a client asks for it. A folder is so too, within a second: a
    /// deployment may swap `current -> release-1` for `release-2`, and each request is answered from one
    /// of them. Absolute links are followed where they lead to something beneath the folder, named by this
    /// path or by its real one.
    ///
    /// A process that confines itself afterwards (Landlock) has to allow reading files and folders beneath
    /// every folder that the path may ever lead to: for releases, the folder that has them all. Rules are
    /// tied to what is there when they are made, and do not follow a link that is re-pointed. Looking the
    /// path up needs no rule. [`paths`](Self::paths) has the paths.
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
                let stream = syntax::pipe(number).map_err(|error| unreadable(&path, error))?;
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

    /// Publishes an embedder's own.
    pub fn custom(publisher: impl Publisher + 'static) -> Self {
        Self::new(Published::Custom(Custom { publisher: Box::new(publisher), live: Mutex::default() }))
    }

    fn path(path: &Path, live: &Live) -> Result<Self, SourceError> {
        let metadata = path.metadata().map_err(|error| unreadable(path, error))?;
        if metadata.is_dir() {
            let enters = rustix::fs::access(path, Access::EXEC_OK);
            enters.map_err(|error| unreadable(path, error.into()))?;
            let root = RootPath::new(path).map_err(|error| unreadable(path, error))?;
            return Ok(Self::new(Published::Folder(root)));
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
            let file = open_at_once(&part.path).map_err(|error| unreadable(&part.path, error))?;
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
            Published::Folder(_) | Published::Custom(_) => {}
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
        self.files.follow(idle);
        self
    }

    /// The name of the only source there is; none where a folder is published.
    pub fn only(&self) -> Option<&[u8]> {
        match &self.published {
            Published::Files { name, .. } | Published::Content { name, .. } | Published::Live { name, .. } => {
                Some(name)
            }
            Published::Folder(_) | Published::Custom(_) => None,
        }
    }

    /// How large the only source is now; none where a folder or something live is published, or the file
    /// is gone.
    pub fn size(&self) -> Option<u64> {
        match &self.published {
            Published::Files { parts, .. } => match &parts[..] {
                [part] if part.is_whole() => Some(Content::file(open_at_once(&part.path).ok()?).ok()?.size()),
                parts => Some(self.files.open_parts(parts, Look::Disk).ok()?.size()),
            },
            Published::Content { content, .. } => Some(content.size()),
            Published::Folder(_) | Published::Live { .. } | Published::Custom(_) => None,
        }
    }

    /// What is opened by its path while it is served: the folder, the files, or the FIFO. None for what is open
    /// already.
    pub fn paths(&self) -> Vec<&Path> {
        match &self.published {
            Published::Folder(path) => vec![path.as_path()],
            Published::Files { parts, .. } => parts.iter().map(|part| part.path.as_path()).collect(),
            Published::Live { live, .. } => live.path().into_iter().collect(),
            Published::Content { .. } | Published::Custom(_) => Vec::new(),
        }
    }

    /// Whether the only source comes while it is served.
    pub fn is_live(&self) -> bool {
        matches!(self.published, Published::Live { .. })
    }

    /// The only source, if it is live: its name, what has come of it, and how many watch.
    pub(crate) fn streamed(&self) -> Option<(&[u8], Window, usize)> {
        let Published::Live { name, live } = &self.published else { return None };
        let (window, viewers) = live.now();
        Some((name, window, viewers))
    }

    pub(crate) fn media_type(&self) -> Option<&str> {
        self.media_type.as_deref()
    }

    /// Lists folders without the protection of who waits. For the trial of isolation.
    pub(crate) fn list_without_protection(&mut self) {
        self.listings.take_no_care();
    }

    /// Begins to read what is live, and has a thread ready for what lies on a disk.
    pub(crate) fn start(&self, journal: &Arc<dyn Journal>, index: Option<MakeIndex>) -> io::Result<()> {
        match &self.published {
            Published::Live { live, .. } => live.start(journal, index),
            _ => self.disk.keep_one(),
        }
    }

    /// Reads what is live to the end of the writer that is there.
    pub(crate) fn drain(&self) {
        self.each_live(LiveSource::drain);
    }

    /// Ends what is live or grows: clients get what has come, and then the end.
    pub(crate) fn stop(&self) {
        self.each_live(LiveSource::stop);
        self.files.end_growing();
    }

    fn each_live(&self, act: impl Fn(&LiveSource)) {
        match &self.published {
            Published::Live { live, .. } => act(live),
            Published::Custom(custom) => {
                lock(&custom.live).iter().filter_map(Weak::upgrade).for_each(|live| act(&live));
            }
            Published::Files { .. } | Published::Folder(_) | Published::Content { .. } => {}
        }
    }

    /// Opens what is published under this name, if that needs no disk.
    pub(crate) fn open(&self, view: &mut View, name: &[u8]) -> Option<Result<Resolved, Refusal>> {
        match self.look(view, name, Look::Memory) {
            Ok(resolved) => Some(Ok(resolved)),
            Err(Miss::Refused(refusal)) => Some(Err(refusal)),
            Err(Miss::Disk) => None,
        }
    }

    /// Opens it on a thread that may wait for a disk.
    pub(crate) fn open_from_disk(self: &Arc<Self>, asked: Asked, name: Vec<u8>) -> Waiting<Looked<Resolved>> {
        let sources = Arc::clone(self);
        let Asked { owner, mut view } = asked;
        self.disk.run(owner, move |_| {
            let found = sources.look(&mut view, &name, Look::Disk);
            let found = found.map_err(|miss| match miss {
                Miss::Refused(refusal) => refusal,
                Miss::Disk => Refusal::Unavailable,
            });
            Looked { view, found }
        })
    }

    /// Passes some of a source on a thread that may wait for a disk.
    pub(crate) fn pass_from_disk(&self, owner: Owner, passing: Passing) -> Waiting<io::Result<Moved>> {
        self.disk.run(owner, move |_| passing.pass())
    }

    /// Reads a piece of a source, on a thread.
    pub(crate) fn read_from_disk(&self, owner: Owner, reading: Reading) -> Waiting<io::Result<Vec<u8>>> {
        self.disk.run(owner, move |_| reading.read())
    }

    fn look(&self, view: &mut View, name: &[u8], look: Look) -> Result<Resolved, Miss> {
        let published = match &self.published {
            Published::Folder(path) => {
                let beneath = Beneath::new(name).ok_or(Refusal::NotFound)?;
                return self.files.open(name, &Spot::Beneath(view.root(path, look)?, beneath), look);
            }
            Published::Custom(custom) => return custom.open(name, &self.files, look),
            Published::Files { name, .. } | Published::Content { name, .. } | Published::Live { name, .. } => name,
        };
        match &self.published {
            _ if name.is_empty() => Ok(Resolved::Folder),
            _ if name != published => Err(Refusal::NotFound.into()),
            Published::Files { parts, .. } => match &parts[..] {
                [part] if part.is_whole() => self.files.open(name, &Spot::At(&part.path), look),
                parts => Ok(Resolved::Source(Source::still(Arc::new(self.files.open_parts(parts, look)?)))),
            },
            Published::Content { content, .. } => Ok(Resolved::Source(Source::still(Arc::clone(content)))),
            Published::Live { live, .. } => Ok(Resolved::Source(live.open()?)),
            Published::Folder(_) | Published::Custom(_) => unreachable!("they were asked above"),
        }
    }

    /// Reads a portion of a folder, on a thread.
    pub(crate) fn list(self: &Arc<Self>, asked: Asked, portion: Portion) -> Waiting<Looked<Arc<Listing>>> {
        let sources = Arc::clone(self);
        let Asked { owner, mut view } = asked;
        self.listings.spawn(owner, move |answer, runtime| {
            let root = match &sources.published {
                Published::Folder(path) => view.root(path, Look::Disk).map_err(refusal),
                _ => Err(Refusal::NotFound),
            };
            let root = root.map(Arc::clone);
            let waiter = Waiter { view, answer };
            match (&sources.published, root) {
                (Published::Custom(custom), _) => waiter.answer(custom.list(&portion).map(Arc::new)),
                (_, Ok(root)) => sources.listings.read(&root, &portion, waiter, runtime.as_ref()),
                (_, Err(refusal)) => waiter.answer(Err(refusal)),
            }
        })
    }
}

/// Opens what is at this path, without waiting for the writer of a FIFO.
fn open_at_once(path: &Path) -> io::Result<File> {
    Ok(rustix::fs::open(path, READ, Mode::empty())?.into())
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.published {
            Published::Files { .. } => "files",
            Published::Folder(_) => "folder",
            Published::Content { .. } => "content",
            Published::Live { .. } => "live",
            Published::Custom(_) => "custom",
        };
        f.debug_struct("Sources").field("kind", &kind).field("only", &self.only()).finish_non_exhaustive()
    }
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

#[cfg(test)]
mod tests;
