//! What is published: everything beneath the folder that the host has opened as `/`.
//!
//! Rule: only names come in, and a name cannot lead upwards or to a dotfile. That no link leads out of
//! the folder is the promise of the host that opened it.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use multiclient_guest::contract::{Entry, Facts, Found, Instant, Listing, Refusal, Span, Window, names_something};
use wasip3::clocks::system_clock;
use wasip3::filesystem::preopens::get_directories;
use wasip3::filesystem::types::{
    Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, OpenFlags, PathFlags,
};
use wasip3::wit_bindgen::rt::async_support::StreamWriter;

/// How many entries of a folder are listed, as the contract has it.
const LISTING_ENTRIES: usize = 4_096;

/// How much is read at once.
const PIECE: usize = 64 * 1024;

/// A folder that is published.
pub(crate) struct Folder {
    root: Descriptor,
}

impl Folder {
    /// The folder that the host has opened as the root. None: it has not.
    pub(crate) fn root() -> Option<Self> {
        let opened = get_directories().into_iter().find(|(_, path)| path == "/");
        opened.map(|(root, _)| Self { root })
    }

    /// Opens what a name stands for. Gives the file too where it is a source.
    pub(crate) async fn open(&self, name: &[u8]) -> Result<(Found, Option<Descriptor>), Refusal> {
        let path = path(name)?;
        let (follow, read) = (PathFlags::SYMLINK_FOLLOW, DescriptorFlags::READ);
        // Looked at before it is opened, because opening a FIFO waits for its writer.
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

    /// Reads what is in a folder: only what could be opened by name.
    pub(crate) async fn list(&self, name: &[u8]) -> Result<Listing, Refusal> {
        let (follow, read) = (PathFlags::SYMLINK_FOLLOW, DescriptorFlags::READ);
        let folder = self.root.open_at(follow, path(name)?, OpenFlags::DIRECTORY, read).await.map_err(refusal)?;
        let (entries, result) = folder.read_directory();
        let mut names: Vec<String> = entries.collect().await.into_iter().map(|entry| entry.name).collect();
        result.await.map_err(refusal)?;
        names.retain(|name| names_something(name.as_bytes()));
        names.sort_unstable();
        let complete = names.len() <= LISTING_ENTRIES;
        names.truncate(LISTING_ENTRIES);
        let mut entries = Vec::with_capacity(names.len());
        for name in names {
            let Ok(found) = folder.stat_at(follow, name.clone()).await else { continue };
            let is_folder = match found.type_ {
                DescriptorType::Directory => true,
                DescriptorType::RegularFile => false,
                _ => continue,
            };
            let modified = found.data_modification_timestamp.and_then(instant);
            let size = if is_folder { 0 } else { found.size };
            entries.push(Entry { name: name.into_bytes(), folder: is_folder, size, modified });
        }
        Ok(Listing { entries, complete })
    }
}

/// Writes a span of a file, in pieces of at most [`PIECE`] bytes. Whether all of it was there and taken.
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

/// A time as the contract has it. None: it was before 1970.
pub(crate) fn instant(time: system_clock::Instant) -> Option<Instant> {
    u64::try_from(time.seconds).ok()?.checked_mul(1_000)?.checked_add(u64::from(time.nanoseconds / 1_000_000))
}

fn refusal(error: ErrorCode) -> Refusal {
    match error {
        // `NotPermitted` is how a sandbox says that a link leads out of it.
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
