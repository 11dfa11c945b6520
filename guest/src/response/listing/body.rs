//! A listing that is being written: entries go in by the portion, text comes out by the piece.

use alloc::vec::Vec;
use core::mem;

use crate::contract::{Entry, Listing, Name, Portion};
use crate::response::listing::html::Html;
use crate::response::listing::json;
use crate::response::listing::playlist::Playlist;

/// The entries of a portion. Most folders fit one, and can then be sorted and compared as a whole; with names
/// of the greatest length it is less than 200 KiB.
const PORTION: u32 = 512;

/// The length after which a piece of text ends. Each piece is a call and a write, so it should not be short;
/// the instance, and the host for a client that does not read, hold one.
const PIECE: usize = 32 * 1024;

/// The first portion of a folder.
pub(crate) fn first(folder: &[u8]) -> Portion {
    Portion { folder: folder.to_vec(), after: Name::new(), limit: PORTION }
}

/// How a listing is written.
#[derive(Debug)]
pub(crate) enum Form {
    Html(Html),
    Json,
    Playlist(Playlist),
}

impl Form {
    fn push_start(&self, out: &mut Vec<u8>, folder: &[u8]) {
        match self {
            Self::Html(page) => page.push_start(out, folder),
            Self::Json => json::push_start(out),
            Self::Playlist(_) => Playlist::push_start(out),
        }
    }

    fn push_entry(&mut self, out: &mut Vec<u8>, entry: &Entry, is_first: bool) {
        match self {
            Self::Html(page) => page.push_entry(out, entry),
            Self::Json => json::push_entry(out, entry, is_first),
            Self::Playlist(playlist) => playlist.push_entry(out, entry),
        }
    }

    fn push_end(&self, out: &mut Vec<u8>) {
        match self {
            Self::Html(page) => page.push_end(out),
            Self::Json => json::push_end(out),
            Self::Playlist(_) => {}
        }
    }
}

/// What a listing needs to go on.
#[derive(Debug)]
pub(crate) enum Needs {
    /// Another turn: there is more to write.
    Time,
    /// More of the folder.
    Portion(Portion),
    /// Nothing: all of it was written.
    Nothing,
}

/// The portion does not come after the one before.
#[derive(Debug)]
pub(crate) struct OutOfOrder;

/// A listing on its way out.
#[derive(Debug)]
pub(crate) struct ListingBody {
    form: Form,
    folder: Name,
    entries: Vec<Entry>,
    /// The entry to write next.
    next: usize,
    /// The name of the last entry that was listed.
    after: Name,
    /// Whether the folder ends with these entries.
    complete: bool,
    stage: Stage,
}

/// What was written so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Nothing,
    /// The start, and no entry.
    Start,
    Entries,
    All,
}

impl ListingBody {
    /// The listing that begins with this portion of a folder, in the order in which the entries are.
    pub(crate) fn new(form: Form, folder: Name, listing: Listing) -> Self {
        let Listing { entries, complete } = listing;
        let after = if complete { Name::new() } else { last(&entries) };
        Self { form, folder, entries, next: 0, after, complete, stage: Stage::Nothing }
    }

    /// Takes the next portion. A host that sends the same one again would have the listing go on for ever.
    pub(crate) fn resume(&mut self, listing: Listing) -> Result<(), OutOfOrder> {
        let Listing { entries, complete } = listing;
        let advances = entries.first().map_or(complete, |first| first.name > self.after);
        if !advances {
            return Err(OutOfOrder);
        }
        self.after = last(&entries);
        (self.entries, self.next, self.complete) = (entries, 0, complete);
        Ok(())
    }

    /// What it needs to go on.
    pub(crate) fn needs(&self) -> Needs {
        if self.stage == Stage::All {
            Needs::Nothing
        } else if self.next < self.entries.len() || self.complete || self.stage == Stage::Nothing {
            Needs::Time
        } else {
            Needs::Portion(Portion { folder: self.folder.clone(), after: self.after.clone(), limit: PORTION })
        }
    }

    /// Writes the next piece, as far as there are entries for it.
    pub(crate) fn piece(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.stage == Stage::Nothing {
            self.form.push_start(&mut out, &self.folder);
            self.stage = Stage::Start;
        }
        while let Some(entry) = self.entries.get(self.next) {
            if out.len() >= PIECE {
                return out;
            }
            self.form.push_entry(&mut out, entry, self.stage == Stage::Start);
            self.stage = Stage::Entries;
            self.next += 1;
        }
        self.next = 0;
        drop(mem::take(&mut self.entries));
        if self.complete {
            self.form.push_end(&mut out);
            self.stage = Stage::All;
        }
        out
    }
}

fn last(entries: &[Entry]) -> Name {
    entries.last().map(|entry| entry.name.clone()).unwrap_or_default()
}
