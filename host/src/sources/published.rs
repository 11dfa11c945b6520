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

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::beneath::{Beneath, READ};
use super::cache::{Cache, Identity};
use super::content::{Content, Source};
use super::error::{SourceError, unreadable};
use super::folder;
use super::growing::Growing;
use super::live::{Input, Live, LiveSource};
use super::publisher::{Named, Publisher};
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
    Folder { root: OwnedFd },
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
            Published::Folder { .. } | Published::Custom(_) => {}
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
            Published::Folder { .. } | Published::Custom(_) => None,
        }
    }

    /// How large the only source is now; none where a folder or something live is published, or the file
    /// is gone.
    pub fn size(&self) -> Option<u64> {
        match &self.published {
            Published::Files { parts, .. } => match open_parts(parts).ok()? {
                Resolved::Source(source) => Some(source.window().end),
                Resolved::Folder => None,
            },
            Published::Content { content, .. } => Some(content.size()),
            Published::Folder { .. } | Published::Live { .. } | Published::Custom(_) => None,
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

    pub(crate) fn open(&self, name: &[u8]) -> Result<Resolved, Refusal> {
        let published = match &self.published {
            Published::Folder { root } => {
                let beneath = Beneath::new(name).ok_or(Refusal::NotFound)?;
                return self.open_file(name, &Spot::Beneath(root, beneath));
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
                parts => open_parts(parts),
            },
            Published::Content { content, .. } => Ok(Resolved::Source(Source::still(Arc::clone(content)))),
            Published::Live { live, .. } => Ok(Resolved::Source(live.open()?)),
            Published::Folder { .. } | Published::Custom(_) => unreachable!("they were asked above"),
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
        let mut content = Content::empty();
        content.append(file, &stat, 0, None);
        let content = Arc::new(content);
        self.cache.keep(name, &content, Identity::from(&stat));
        Ok(Resolved::Source(Source::still(content)))
    }

    pub(crate) fn list(&self, portion: &Portion) -> Result<Listing, Refusal> {
        match &self.published {
            Published::Folder { root } => folder::list(root, portion),
            Published::Custom(publisher) => list_custom(&**publisher, portion),
            _ => Err(Refusal::NotFound),
        }
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.published {
            Published::Files { .. } => "files",
            Published::Folder { .. } => "folder",
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
            Self::Beneath(root, name) => name.stat(root),
        }
    }
}

/// Whether it is a file or a folder.
fn has_bytes_or_names(stat: &Stat) -> bool {
    matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Directory)
}

fn open_parts(parts: &[Part]) -> Result<Resolved, Refusal> {
    let mut content = Content::empty();
    for Part { path, from, to } in parts {
        let file = Spot::At(path).open()?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Refusal::NotFound);
        }
        content.append(Arc::new(file), &stat, *from, *to);
    }
    Ok(Resolved::Source(Source::still(Arc::new(content))))
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

    fn size(found: Result<Resolved, Refusal>) -> Result<u64, Refusal> {
        found.map(|found| match found {
            Resolved::Source(source) => source.window().end,
            Resolved::Folder => u64::MAX,
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
    fn a_listing_has_what_could_be_opened_and_nothing_else() {
        let (_outside, sources) = published();
        let names = |name: &str| {
            let portion = Portion { folder: name.into(), after: Vec::new(), limit: 0 };
            let listing = sources.list(&portion).expect("a folder");
            let names: Vec<_> = listing.entries.into_iter().map(|entry| (entry.name, entry.size)).collect();
            names
        };
        assert_eq!(names(""), [(b"a".to_vec(), 5), (b"in".to_vec(), 4), (b"sub".to_vec(), 0)]);
        assert_eq!(names("sub"), [(b"b".to_vec(), 4), (b"up".to_vec(), 0)]);
        let not_a_folder = Portion { folder: b"a".to_vec(), after: Vec::new(), limit: 0 };
        assert_eq!(sources.list(&not_a_folder), Err(Refusal::NotFound));
    }

    #[test]
    fn a_version_changes_with_the_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        let version = || {
            let sources = Sources::at(&path).expect("a file is published");
            match sources.open(b"a") {
                Ok(Resolved::Source(source)) => source.content.version.clone(),
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
