//! A published folder: everything beneath the folder that the host has opened as `/`.
//!
//! Rule: only names come in, and a name cannot lead upwards or to a dotfile. That no link leads out of the
//! folder is the promise of the host that opened it.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;

use multiclient_guest::contract::{
    Entry, Facts, Found, Instant, Listing, Name, Portion, Refusal, Span, Window, names_something,
};
use multiclient_guest::names::Names;
use wasip3::clocks::system_clock;
use wasip3::filesystem::preopens::get_directories;
use wasip3::filesystem::types::{
    Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, OpenFlags, PathFlags,
};
use wasip3::wit_bindgen::rt::async_support::StreamWriter;

/// The most entries of a portion, as the contract has it.
const PORTION_ENTRIES: u32 = 1_024;

/// The number of bytes to read at once.
const PIECE: usize = 64 * 1024;

/// A folder that is published.
pub(crate) struct Folder {
    root: Descriptor,
    /// The names of the folder that was listed last.
    listed: Cell<Option<Names>>,
}

impl Folder {
    /// The folder that the host has opened as the root. None if it has not.
    pub(crate) fn root() -> Option<Self> {
        let opened = get_directories().into_iter().find(|(_, path)| path == "/");
        opened.map(|(root, _)| Self { root, listed: Cell::new(None) })
    }

    /// Opens what a name stands for. Returns the file, too, if it is a source.
    pub(crate) async fn open(&self, name: &[u8]) -> Result<(Found, Option<Descriptor>), Refusal> {
        let path = path(name)?;
        let (follow, read) = (PathFlags::SYMLINK_FOLLOW, DescriptorFlags::READ);
        // Checked before it is opened, because opening a FIFO waits for its writer.
        let found = self.root.stat_at(follow, path.clone()).await.map_err(refusal)?;
        match found.type_ {
            DescriptorType::Directory => Ok((Found::Folder, None)),
            DescriptorType::RegularFile => {
                let file = self.root.open_at(follow, path, OpenFlags::empty(), read).await.map_err(refusal)?;
                let facts = facts(&file.stat().await.map_err(refusal)?);
                Ok((Found::Source(facts), Some(file)))
            }
            _ => Err(Refusal::NotFound),
        }
    }

    /// Lists a portion of a folder: only what could be opened by name, in order.
    pub(crate) async fn list(&self, portion: &Portion) -> Result<Listing, Refusal> {
        let (follow, read) = (PathFlags::SYMLINK_FOLLOW, DescriptorFlags::READ);
        let path = path(&portion.folder)?;
        let folder = self.root.open_at(follow, path, OpenFlags::DIRECTORY, read).await.map_err(refusal)?;
        let mut names = match self.listed.take() {
            Some(names) if names.cover(portion) => names,
            _ => names(&folder, portion).await?,
        };
        let wanted = match portion.limit {
            0 => PORTION_ENTRIES,
            limit => limit.min(PORTION_ENTRIES),
        } as usize;
        let mut cursor = portion.after.clone();
        let mut entries = Vec::new();
        loop {
            let mut complete = names.are_last();
            for name in names.after(&cursor) {
                if entries.len() == wanted {
                    complete = false;
                    break;
                }
                entries.extend(entry(&folder, name).await);
            }
            // Names may have vanished since they were read, all of them even.
            if complete || !entries.is_empty() {
                self.listed.set(Some(names));
                return Ok(Listing { entries, complete });
            }
            cursor = names.after(&cursor).last().cloned().unwrap_or(cursor);
            names = self::names(&folder, &Portion { after: cursor.clone(), ..portion.clone() }).await?;
        }
    }
}

/// Reads the names of a folder that come after the cursor of a portion.
async fn names(folder: &Descriptor, portion: &Portion) -> Result<Names, Refusal> {
    let mut names = Names::of(portion);
    let (mut entries, result) = folder.read_directory();
    while let Some(entry) = entries.next().await {
        names.add(entry.name.into_bytes());
    }
    result.await.map_err(refusal)?;
    Ok(names)
}

/// What is known of the entry of this name. None: it cannot be opened by name.
async fn entry(folder: &Descriptor, name: &Name) -> Option<Entry> {
    let path = core::str::from_utf8(name).ok()?.to_owned();
    let found = folder.stat_at(PathFlags::SYMLINK_FOLLOW, path).await.ok()?;
    let is_folder = match found.type_ {
        DescriptorType::Directory => true,
        DescriptorType::RegularFile => false,
        _ => return None,
    };
    let modified = found.data_modification_timestamp.and_then(instant);
    Some(Entry { name: name.clone(), folder: is_folder, size: if is_folder { 0 } else { found.size }, modified })
}

/// Writes a span of a file, at most [`PIECE`] bytes at a time. Returns whether all of it was there and taken.
pub(crate) async fn pass(file: &Descriptor, span: Span, output: &mut StreamWriter<u8>) -> bool {
    let (mut input, _result) = file.read_via_stream(span.offset);
    let mut left = span.count;
    let mut piece = Vec::with_capacity(PIECE);
    while left > 0 {
        piece.clear();
        (_, piece) = input.read(piece).await;
        if piece.is_empty() {
            return false;
        }
        piece.truncate(usize::try_from(left).unwrap_or(PIECE));
        left -= piece.len() as u64;
        if !output.write_all(core::mem::replace(&mut piece, Vec::with_capacity(PIECE))).await.is_empty() {
            return false;
        }
    }
    true
}

fn path(name: &[u8]) -> Result<String, Refusal> {
    if !names_something(name) {
        return Err(Refusal::NotFound);
    }
    let path = core::str::from_utf8(name).map_err(|_| Refusal::NotFound)?;
    Ok(if path.is_empty() { "." } else { path }.to_owned())
}

fn facts(found: &DescriptorStat) -> Facts {
    let size = found.size;
    let changed = found.data_modification_timestamp;
    let version = changed.map(|time| format!("{:x}.{:x}-{size:x}", time.seconds, time.nanoseconds));
    Facts {
        window: Window { start: 0, end: size, is_final: true },
        modified: changed.and_then(instant),
        version: version.unwrap_or_default(),
        media_type: None,
    }
}

/// A time as in the contract. None if it was before 1970.
pub(crate) fn instant(time: system_clock::Instant) -> Option<Instant> {
    u64::try_from(time.seconds).ok()?.checked_mul(1_000)?.checked_add(u64::from(time.nanoseconds / 1_000_000))
}

fn refusal(error: ErrorCode) -> Refusal {
    match error {
        // `NotPermitted` is the error of a sandbox for a link that leads out of it.
        ErrorCode::NoEntry
        | ErrorCode::NotDirectory
        | ErrorCode::Loop
        | ErrorCode::NameTooLong
        | ErrorCode::Invalid
        | ErrorCode::NotPermitted => Refusal::NotFound,
        ErrorCode::Access => Refusal::Forbidden,
        ErrorCode::Busy | ErrorCode::InsufficientMemory => Refusal::Unavailable,
        _ => Refusal::Failed,
    }
}
