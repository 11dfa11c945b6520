//! What a server publishes, by name.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, Stat};
use rustix::io::Errno;

use super::beneath::{Beneath, READ};
use super::cache::{Cache, Identity};
use super::content::{Content, Source, is_made_up};
use super::error::{SourceError, unreadable};
use super::folder;
use super::growing::Growing;
use super::live::{Input, Live, LiveSource, MakeIndex};
use super::publisher::{Named, Publisher};
use super::root::{Root, RootPath};
use super::syntax::{self, Part, Spelled};
use crate::contract::{Listing, Portion, Refusal};
use crate::journal::Journal;
use crate::limits::LISTING_ENTRIES;

/// What a server publishes: one source, or the files of one folder.
pub struct Sources {
    media_type: Option<String>,
    published: Published,
    cache: Cache,
    growing: Option<Growing>,
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
    Custom(Box<dyn Publisher>),
}

/// What a name turned out to be.
#[derive(Debug)]
pub(crate) enum Resolved {
    Source(Source),
    Folder,
}

/// What a request sees of what is published: the same folder from its first look to its last, also where
/// another one takes its place meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct View(Option<Result<Arc<Root>, Errno>>);

impl View {
    fn root(&self) -> Result<&Root, Refusal> {
        match &self.0 {
            Some(Ok(root)) => Ok(root),
            Some(Err(error)) => Err((*error).into()),
            None => Err(Refusal::NotFound),
        }
    }
}

impl Sources {
    fn new(published: Published) -> Self {
        Self { media_type: None, published, cache: Cache::default(), growing: None }
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
    /// path up needs no rule.
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
        Self::new(Published::Custom(Box::new(publisher)))
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
        self.growing = Some(Growing::new(idle));
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
                [part] if part.is_whole() => Some(Content::file(Spot::At(&part.path).open().ok()?).ok()?.size()),
                parts => Some(open_parts(parts).ok()?.size()),
            },
            Published::Content { content, .. } => Some(content.size()),
            Published::Folder(_) | Published::Live { .. } | Published::Custom(_) => None,
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
    pub(crate) fn start(&self, journal: &Arc<dyn Journal>, index: Option<MakeIndex>) -> io::Result<()> {
        match &self.published {
            Published::Live { live, .. } => live.start(journal, index),
            _ => Ok(()),
        }
    }

    /// Ends what is live: clients get what has come, and then the end.
    pub(crate) fn stop(&self) {
        if let Published::Live { live, .. } = &self.published {
            live.stop();
        }
    }

    /// What is published now, for a client that is about to ask for some of it.
    pub(crate) fn view(&self) -> View {
        View(match &self.published {
            Published::Folder(path) => Some(path.now()),
            _ => None,
        })
    }

    pub(crate) fn open(&self, view: &View, name: &[u8]) -> Result<Resolved, Refusal> {
        let published = match &self.published {
            Published::Folder(_) => {
                let beneath = Beneath::new(name).ok_or(Refusal::NotFound)?;
                return self.open_file(name, &Spot::Beneath(view.root()?, beneath));
            }
            Published::Custom(publisher) => {
                Beneath::new(name).ok_or(Refusal::NotFound)?;
                return Ok(match publisher.open(name)? {
                    Named::Content(content) => Resolved::Source(Source::still(content)),
                    Named::Folder => Resolved::Folder,
                });
            }
            Published::Files { name, .. } | Published::Content { name, .. } | Published::Live { name, .. } => name,
        };
        match &self.published {
            _ if name.is_empty() => Ok(Resolved::Folder),
            _ if name != published => Err(Refusal::NotFound),
            Published::Files { parts, .. } => match &parts[..] {
                [part] if part.is_whole() => self.open_file(name, &Spot::At(&part.path)),
                parts => Ok(Resolved::Source(Source::still(Arc::new(open_parts(parts)?)))),
            },
            Published::Content { content, .. } => Ok(Resolved::Source(Source::still(Arc::clone(content)))),
            Published::Live { live, .. } => Ok(Resolved::Source(live.open()?)),
            Published::Folder(_) | Published::Custom(_) => unreachable!("they were asked above"),
        }
    }

    fn open_file(&self, name: &[u8], spot: &Spot<'_>) -> Result<Resolved, Refusal> {
        if let Some(content) = self.cache.get(name, || spot.stat().ok().as_ref().map(Identity::from)) {
            return Ok(Resolved::Source(Source::still(content)));
        }
        // Not opened to find out: somebody who waits to write to a FIFO would find a reader, and lose it.
        if spot.stat().is_ok_and(|stat| !has_bytes_or_names(&stat)) {
            return Err(Refusal::NotFound);
        }
        let file = Arc::new(spot.open()?);
        let stat = rustix::fs::fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Ok(Resolved::Folder),
            _ => return Err(Refusal::NotFound),
        }
        let growing = self.growing.as_ref().filter(|growing| growing.may_grow(&stat));
        if let Some(source) = growing.and_then(|growing| growing.follow(&file, &stat)) {
            return Ok(Resolved::Source(source));
        }
        let content = Arc::new(Content::opened(file, &stat).map_err(unread)?);
        // What has no version may be another one for the next client.
        if !content.version.is_empty() {
            self.cache.keep(name, &content, Identity::from(&stat));
        }
        Ok(Resolved::Source(Source::still(content)))
    }

    pub(crate) fn list(&self, view: &View, portion: &Portion) -> Result<Listing, Refusal> {
        match &self.published {
            Published::Folder(_) => folder::list(view.root()?, portion),
            Published::Custom(publisher) => list_custom(&**publisher, portion),
            _ => Err(Refusal::NotFound),
        }
    }
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

/// Asks for one entry more than is told, to see whether there are more.
fn list_custom(publisher: &dyn Publisher, portion: &Portion) -> Result<Listing, Refusal> {
    Beneath::new(&portion.folder).ok_or(Refusal::NotFound)?;
    let most = usize::try_from(portion.limit).unwrap_or(LISTING_ENTRIES);
    let most = if most == 0 { LISTING_ENTRIES } else { most.min(LISTING_ENTRIES) };
    let mut entries = publisher.list(&portion.folder, &portion.after, most + 1)?;
    let complete = entries.len() <= most;
    entries.truncate(most);
    Ok(Listing { entries, complete })
}

/// Where a file is looked for.
enum Spot<'a> {
    /// Where the operator said.
    At(&'a Path),
    /// Where a client said, beneath what the operator did.
    Beneath(&'a Root, Beneath<'a>),
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
            Self::Beneath(root, name) => name.stat(root),
        }
    }
}

/// Whether it is a file or a folder.
fn has_bytes_or_names(stat: &Stat) -> bool {
    matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Directory)
}

/// Opens parts of files as one. What the kernel makes up has no parts.
fn open_parts(parts: &[Part]) -> Result<Content, Refusal> {
    let mut content = Content::empty();
    for Part { path, from, to } in parts {
        let file = Spot::At(path).open()?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Refusal::NotFound);
        }
        if is_made_up(&file, &stat).map_err(unread)? {
            return Err(Refusal::Failed);
        }
        content.append(Arc::new(file), &stat, *from, *to);
    }
    Ok(content)
}

/// What it means when something that was found cannot be read.
fn unread(error: Errno) -> Refusal {
    match error.into() {
        Refusal::NotFound => Refusal::Failed,
        other => other,
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
