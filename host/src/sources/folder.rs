//! Lists a folder in portions.
//!
//! Rule: a listing holds a bounded number of names, however many entries the folder has.

use std::collections::BinaryHeap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat};

use super::beneath::{Beneath, READ, refusal};
use super::content::modified;
use super::medium::Look;
use super::root::Root;
use crate::contract::{Entry, Listing, Portion, Refusal};
use crate::limits::{LISTING_ENTRIES, LISTING_LOOKED, LISTING_NAMES, LISTING_PAUSE, LISTING_TIME};

/// The most entries that a portion has.
pub(super) fn most(portion: &Portion) -> usize {
    match usize::try_from(portion.limit) {
        Ok(limit @ 1..LISTING_ENTRIES) => limit,
        _ => LISTING_ENTRIES,
    }
}

/// What a portion begins after, without what no name in a folder is compared with: a name has at most 255 bytes, and
/// this is kept with what was read.
pub(super) fn start(after: &[u8]) -> &[u8] {
    const LONGEST: usize = 255;
    &after[..after.len().min(LONGEST + 1)]
}

/// How much is done for a listing: in time, in entries, and only while it is wanted.
pub(super) struct Effort<F> {
    began: Instant,
    looked: usize,
    is_wanted: F,
}

impl<F: Fn() -> bool> Effort<F> {
    pub(super) fn new(is_wanted: F) -> Self {
        Self { began: Instant::now(), looked: 0, is_wanted }
    }

    /// Looks at one more entry. Fails where that is too much.
    fn spend(&mut self) -> Result<(), Refusal> {
        self.looked += 1;
        if !self.looked.is_multiple_of(LISTING_PAUSE) {
            return Ok(());
        }
        if self.looked > LISTING_LOOKED {
            return Err(Refusal::Failed);
        }
        // What nobody waits for is answered with anything.
        if self.began.elapsed() > LISTING_TIME || !(self.is_wanted)() {
            return Err(Refusal::Unavailable);
        }
        Ok(())
    }

    /// Whether so much time has passed that whoever waits is told of what there is.
    fn is_long(&self) -> bool {
        self.began.elapsed() > LISTING_TIME / 8
    }
}

/// Names in a folder that come after one, in order: the first of them, or all.
#[derive(Debug)]
pub(super) struct Names {
    after: Vec<u8>,
    first: Vec<Vec<u8>>,
    all: bool,
}

impl Names {
    /// Where in these the names begin that come after this one; none if they may not have the next one.
    pub(super) fn position(&self, after: &[u8]) -> Option<usize> {
        let knows = *self.after <= *after && (self.all || self.first.last().is_some_and(|last| **last > *after));
        knows.then(|| self.first.partition_point(|name| **name <= *after))
    }

    /// Whether more than these is known to be wanted to see the whole folder.
    pub(super) fn goes_beyond(&self, after: &[u8]) -> bool {
        self.first.last().is_some_and(|last| **last > *after)
    }
}

/// A folder that is to be listed.
pub(super) struct Folder<'a> {
    root: &'a Root,
    name: &'a [u8],
    folder: OwnedFd,
    state: State,
}

/// Which folder it is, and when its entries last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// Device and inode.
    pub(super) identity: (u64, u64),
    changed: [(i64, u64); 2],
}

impl<'a> Folder<'a> {
    pub(super) fn open(root: &'a Root, name: &'a [u8]) -> Result<Self, Refusal> {
        let folder = Beneath::new(name).ok_or(Refusal::NotFound)?;
        let folder = folder.open(root, READ | OFlags::DIRECTORY, Look::Disk).map_err(refusal)?;
        let stat = rustix::fs::fstat(&folder).map_err(refusal)?;
        let changed = [(stat.st_mtime, stat.st_mtime_nsec), (stat.st_ctime, stat.st_ctime_nsec)];
        Ok(Self { root, name, folder, state: State { identity: (stat.st_dev, stat.st_ino), changed } })
    }

    /// As it was when it was opened.
    pub(super) fn state(&self) -> State {
        self.state
    }

    /// At most `most` entries whose names come after this one, and whether nothing comes after them. Of names
    /// that are known already the folder is not asked again. Also returns what is known afterwards.
    pub(super) fn list(
        &self,
        after: &[u8],
        most: usize,
        known: Option<Arc<Names>>,
        mut effort: Effort<impl Fn() -> bool>,
    ) -> Result<(Listing, Arc<Names>), Refusal> {
        let mut entries = Vec::new();
        let mut after = after.to_owned();
        let mut known = known;
        loop {
            let names = match known.take() {
                Some(names) => names,
                None => Arc::new(self.names(&after, &mut effort)?),
            };
            let rest = names.first.get(names.position(&after).unwrap_or_default()..).unwrap_or_default();
            for (number, name) in rest.iter().enumerate() {
                effort.spend()?;
                after.clone_from(name);
                entries.extend(self.entry(name));
                if entries.len() == most || !entries.is_empty() && effort.is_long() {
                    let complete = names.all && number + 1 == rest.len();
                    return Ok((Listing { entries, complete }, names));
                }
            }
            if names.all {
                return Ok((Listing { entries, complete: true }, names));
            }
        }
    }

    /// The first names in order after this one, whatever order the file system has.
    fn names(&self, after: &[u8], effort: &mut Effort<impl Fn() -> bool>) -> Result<Names, Refusal> {
        let mut first = BinaryHeap::new();
        let mut all = true;
        for found in Dir::read_from(&self.folder).map_err(refusal)? {
            effort.spend()?;
            let found = found.map_err(refusal)?;
            let name = found.file_name().to_bytes();
            if name <= after || !can_be_opened(name, found.file_type()) {
                continue;
            }
            if first.len() < LISTING_NAMES {
                first.push(name.to_owned());
                continue;
            }
            all = false;
            if let Some(mut greatest) = first.peek_mut()
                && name < greatest.as_slice()
            {
                *greatest = name.to_owned();
            }
        }
        Ok(Names { after: after.to_owned(), first: first.into_sorted_vec(), all })
    }

    fn entry(&self, name: &[u8]) -> Option<Entry> {
        let stat = self.stat(name)?;
        let is_folder = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => false,
            FileType::Directory => true,
            _ => return None,
        };
        let size = if is_folder { 0 } else { u64::try_from(stat.st_size).unwrap_or_default() };
        Some(Entry { name: name.to_owned(), folder: is_folder, size, modified: modified(&stat) })
    }

    /// What is known of one thing in the folder; none if it could not be opened by name.
    fn stat(&self, segment: &[u8]) -> Option<Stat> {
        let stat = rustix::fs::statat(self.folder.as_fd(), OsStr::from_bytes(segment), AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.ok()?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Some(stat);
        }
        let full = if self.name.is_empty() { segment.to_owned() } else { [self.name, b"/", segment].concat() };
        let target = Beneath::new(&full)?.open(self.root, OFlags::PATH | OFlags::CLOEXEC, Look::Disk).ok()?;
        rustix::fs::fstat(target).ok()
    }
}

/// Whether something of this name and type may be opened by a client.
fn can_be_opened(name: &[u8], kind: FileType) -> bool {
    let kind = matches!(kind, FileType::RegularFile | FileType::Directory | FileType::Symlink | FileType::Unknown);
    kind && Beneath::new(name).is_some_and(|name| !name.is_root())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::sources::root::RootPath;

    fn root(path: &std::path::Path) -> Arc<Root> {
        RootPath::new(path).and_then(|path| Ok(path.now(Look::Disk)?)).expect("a folder")
    }

    #[test]
    fn portions_are_sorted_and_together_they_are_all_there_is() {
        let folder = tempfile::tempdir().expect("a folder");
        for number in 0..50 {
            fs::write(folder.path().join(format!("{:02}", (number * 37) % 50)), "").expect("a file");
        }
        let root = root(folder.path());
        for limit in [1, 7, 49, 50, 51, 0] {
            let mut portion = Portion { folder: Vec::new(), after: Vec::new(), limit };
            let (mut seen, mut known) = (Vec::new(), None);
            loop {
                let folder = Folder::open(&root, b"").expect("it is there");
                let listing = folder.list(&portion.after, most(&portion), known.take(), Effort::new(|| true));
                let (Listing { entries, complete }, names) = listing.expect("it can be listed");
                // What is known is used, or not.
                known = Some(names).filter(|_| limit == 7);
                assert!(limit == 0 || entries.len() <= limit as usize);
                seen.extend(entries.into_iter().map(|entry| entry.name));
                if complete {
                    break;
                }
                portion.after = seen.last().expect("never empty unless complete").clone();
            }
            let all: Vec<_> = (0..50).map(|number| format!("{number:02}").into_bytes()).collect();
            assert_eq!(seen, all, "in portions of {limit}");
        }
    }

    /// A folder of more names than are held at once, of which only the last can be opened.
    #[test]
    fn names_that_cannot_be_opened_are_passed_over_however_many_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        for number in 0..=LISTING_NAMES {
            symlink("nowhere", folder.path().join(format!("{number:06}"))).expect("a link");
        }
        fs::write(folder.path().join("z"), "").expect("a file");
        let root = root(folder.path());
        let folder = Folder::open(&root, b"").expect("it is there");
        let listing = folder.list(b"", LISTING_ENTRIES, None, Effort::new(|| true));
        let (listing, names) = listing.expect("it can be listed");
        assert!(listing.complete);
        assert_eq!((names.position(b""), names.position(b"z")), (None, Some(2)), "only the last are known");
        assert_eq!(listing.entries.iter().map(|entry| &entry.name[..]).collect::<Vec<_>>(), [b"z"]);
        let unwanted = folder.list(b"", LISTING_ENTRIES, None, Effort::new(|| false));
        assert_eq!(unwanted.err(), Some(Refusal::Unavailable), "not read to its end");
        let long = Effort { began: Instant::now(), looked: LISTING_LOOKED, is_wanted: || true };
        assert_eq!(folder.list(b"", LISTING_ENTRIES, None, long).err(), Some(Refusal::Failed));
    }
}
