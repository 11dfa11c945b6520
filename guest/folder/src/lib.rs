//! A published folder, for components with a standard library.
//!
//! Rule: only names come in, and a name cannot lead upwards or to a dotfile. That no link leads out of the
//! folder is the promise of the host that opened it. Outside a sandbox nothing prevents it.

use std::cell::RefCell;
use std::fs::{self, File, FileType, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use multiclient_guest::contract::{
    Entry, Facts, Found, Instant, Listing, Name, Portion, Refusal, Span, Window, names_something,
};
use multiclient_guest::names::Names;

/// The most entries of a portion, as the contract has it.
const PORTION_ENTRIES: u32 = 1_024;

/// The number of bytes to read at once.
pub const PIECE: usize = 64 * 1024;

/// A folder that is published.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// The names of the folder that was listed last.
    listed: RefCell<Option<Names>>,
}

impl Folder {
    /// Publishes what is beneath `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), listed: RefCell::new(None) }
    }

    /// Opens what a name stands for. Returns the file, too, if it is a source.
    pub fn open(&self, name: &[u8]) -> Result<(Found, Option<File>), Refusal> {
        let path = self.path(name)?;
        let is_published = |found: FileType| found.is_file() || found.is_dir();
        // Checked before it is opened, because opening a FIFO waits for its writer.
        let found = fs::metadata(&path).map_err(refusal)?;
        if !is_published(found.file_type()) {
            return Err(Refusal::NotFound);
        }
        if found.is_dir() {
            return Ok((Found::Folder, None));
        }
        let file = File::open(&path).map_err(refusal)?;
        let facts = facts(&file.metadata().map_err(refusal)?);
        Ok((Found::Source(facts), Some(file)))
    }

    /// Lists a portion of a folder: only what could be opened by name, in order.
    pub fn list(&self, portion: &Portion) -> Result<Listing, Refusal> {
        let path = self.path(&portion.folder)?;
        let mut listed = self.listed.borrow_mut();
        let mut names = match listed.take() {
            Some(names) if names.cover(portion) => names,
            _ => read(&path, portion)?,
        };
        let wanted = match portion.limit {
            0 => PORTION_ENTRIES,
            limit => limit.min(PORTION_ENTRIES),
        } as usize;
        let mut cursor = portion.after.clone();
        let mut entries = Vec::new();
        loop {
            let complete = {
                let mut left = names.after(&cursor);
                entries.extend(left.by_ref().filter_map(|name| entry(&path, name)).take(wanted));
                names.are_last() && left.next().is_none()
            };
            // Names may have vanished since they were read, all of them even.
            if complete || !entries.is_empty() {
                *listed = Some(names);
                return Ok(Listing { entries, complete });
            }
            cursor = names.after(&cursor).last().cloned().unwrap_or(cursor);
            names = read(&path, &Portion { after: cursor.clone(), ..portion.clone() })?;
        }
    }

    fn path(&self, name: &[u8]) -> Result<PathBuf, Refusal> {
        if !names_something(name) {
            return Err(Refusal::NotFound);
        }
        Ok(self.root.join(str::from_utf8(name).map_err(|_| Refusal::NotFound)?))
    }
}

/// Reads the names of a folder that come after the cursor of a portion.
fn read(path: &Path, portion: &Portion) -> Result<Names, Refusal> {
    let mut names = Names::of(portion);
    for found in fs::read_dir(path).map_err(refusal)? {
        // A component cannot pass a name to its host that is not UTF-8.
        if let Ok(name) = found.map_err(refusal)?.file_name().into_string() {
            names.add(name.into_bytes());
        }
    }
    Ok(names)
}

/// What is known of the entry of this name. None: it cannot be opened by name.
fn entry(folder: &Path, name: &Name) -> Option<Entry> {
    let found = fs::metadata(folder.join(str::from_utf8(name).ok()?)).ok()?;
    let is_folder = found.is_dir();
    let size = if is_folder { 0 } else { found.len() };
    let entry = Entry { name: name.clone(), folder: is_folder, size, modified: modified(&found) };
    (is_folder || found.is_file()).then_some(entry)
}

/// Passes a span of a file to `take`, at most [`PIECE`] bytes at a time. Fails if the file ends before the
/// span, and if `take` fails.
pub fn pass(file: &mut File, span: Span, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut left = span.count;
    file.seek(SeekFrom::Start(span.offset))?;
    while left > 0 {
        let wanted = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let count = file.read(&mut piece[..wanted])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        take(&piece[..count])?;
        left -= count as u64;
    }
    Ok(())
}

fn facts(found: &Metadata) -> Facts {
    let size = found.len();
    // WASI has no inodes: a file that replaces another within the same nanosecond, with the same size, looks
    // the same.
    let changed = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let version = changed.map(|since| format!("{:x}.{:x}-{size:x}", since.as_secs(), since.subsec_nanos()));
    Facts {
        window: Window { start: 0, end: size, is_final: true },
        modified: modified(found),
        version: version.unwrap_or_default(),
        media_type: None,
    }
}

fn modified(found: &Metadata) -> Option<Instant> {
    let since = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

fn refusal(error: io::Error) -> Refusal {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidInput | ErrorKind::InvalidFilename => {
            Refusal::NotFound
        }
        _ if cfg!(target_os = "wasi") && matches!(error.raw_os_error(), Some(ELOOP | EPERM)) => Refusal::NotFound,
        ErrorKind::PermissionDenied => Refusal::Forbidden,
        ErrorKind::OutOfMemory | ErrorKind::ResourceBusy | ErrorKind::WouldBlock => Refusal::Unavailable,
        _ => Refusal::Failed,
    }
}

/// The error of WASI for links that lead in a circle.
const ELOOP: i32 = 32;
/// The error of WASI for a link that leads out of the sandbox. A file that may not be read is `EACCES`.
const EPERM: i32 = 63;

#[cfg(test)]
mod tests {
    use super::*;

    fn published() -> (tempfile::TempDir, Folder) {
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir(root.path().join("sub")).expect("a folder");
        fs::write(root.path().join("a"), "alpha").expect("a file");
        fs::write(root.path().join("sub/b"), "beta").expect("a file");
        fs::write(root.path().join(".hidden"), "hidden").expect("a file");
        let folder = Folder::at(root.path());
        (root, folder)
    }

    #[test]
    fn names_lead_to_what_is_beneath_and_nowhere_else() {
        let (_root, folder) = published();
        for (name, promised) in [
            ("a", Ok(5)),
            ("sub/b", Ok(4)),
            ("", Ok(u64::MAX)),
            ("sub", Ok(u64::MAX)),
            ("missing", Err(Refusal::NotFound)),
            (".hidden", Err(Refusal::NotFound)),
            ("..", Err(Refusal::NotFound)),
            ("sub/../a", Err(Refusal::NotFound)),
            ("/a", Err(Refusal::NotFound)),
            ("a/", Err(Refusal::NotFound)),
            ("sub//b", Err(Refusal::NotFound)),
            ("a\0", Err(Refusal::NotFound)),
            ("a/b", Err(Refusal::NotFound)),
        ] {
            let size = folder.open(name.as_bytes()).map(|(found, _)| match found {
                Found::Source(facts) => facts.window.end,
                Found::Folder => u64::MAX,
            });
            assert_eq!(size, promised, "{name:?}");
        }
    }

    #[test]
    fn a_listing_has_what_could_be_opened_and_nothing_else() {
        let (_root, folder) = published();
        let portion = |folder: &str, after: &str, limit| Portion { folder: folder.into(), after: after.into(), limit };
        let listing = folder.list(&portion("", "", 0)).expect("a folder");
        let names: Vec<_> = listing.entries.into_iter().map(|entry| (entry.name, entry.size)).collect();
        assert_eq!(names, [(b"a".to_vec(), 5), (b"sub".to_vec(), 0)]);
        assert!(listing.complete);
        assert_eq!(folder.list(&portion("a", "", 0)), Err(Refusal::NotFound));
        let first = folder.list(&portion("", "", 1)).expect("a folder");
        assert_eq!((first.entries[0].name.as_slice(), first.complete), (&b"a"[..], false));
        let second = folder.list(&portion("", "a", 1)).expect("a folder");
        assert_eq!((second.entries[0].name.as_slice(), second.complete), (&b"sub"[..], true));
    }

    #[test]
    fn a_folder_of_any_size_is_listed_whole_and_in_order() {
        let root = tempfile::tempdir().expect("a folder");
        let names: Vec<Vec<u8>> = (0..9_000).map(|number| format!("{number:0>5}").into_bytes()).collect();
        for name in &names {
            File::create(root.path().join(str::from_utf8(name).expect("ASCII"))).expect("a file");
        }
        let folder = Folder::at(root.path());
        let mut listed: Vec<Vec<u8>> = Vec::new();
        loop {
            let after = listed.last().cloned().unwrap_or_default();
            let listing = folder.list(&Portion { folder: Vec::new(), after, limit: 700 }).expect("a folder");
            assert!(!listing.entries.is_empty() && listing.entries.len() <= 700);
            listed.extend(listing.entries.into_iter().map(|entry| entry.name));
            if listing.complete {
                break;
            }
        }
        assert_eq!(listed, names);
    }

    #[test]
    fn names_that_vanish_between_two_portions_do_not_end_the_listing() {
        let root = tempfile::tempdir().expect("a folder");
        let path = |number: u32| root.path().join(format!("{number:0>5}"));
        (0..9_000).for_each(|number| drop(File::create(path(number)).expect("a file")));
        let folder = Folder::at(root.path());
        let portion = |after: &str| Portion { folder: Vec::new(), after: after.into(), limit: 10 };
        assert!(!folder.list(&portion("")).expect("a folder").complete);
        (10..8_900).for_each(|number| fs::remove_file(path(number)).expect("a file"));
        let listing = folder.list(&portion("00009")).expect("a folder");
        assert_eq!((listing.entries[0].name.as_slice(), listing.complete), (&b"08900"[..], false));
    }

    #[test]
    fn a_span_comes_in_pieces_and_a_file_that_has_shrunk_is_told_from_one_that_has_not() {
        let (root, _) = published();
        let bytes: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
        fs::write(root.path().join("large"), &bytes).expect("a file");
        let mut file = File::open(root.path().join("large")).expect("it is there");
        let mut got = Vec::new();
        let collected = pass(&mut file, Span { offset: 7, count: 150_000 }, |piece| {
            assert!(piece.len() <= PIECE);
            got.extend_from_slice(piece);
            Ok(())
        });
        assert!(collected.is_ok() && got == bytes[7..150_007]);
        let error = pass(&mut file, Span { offset: 199_999, count: 2 }, |_| Ok(())).expect_err("one byte is there");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
