//! A listing as a page, for people.

use alloc::vec::Vec;

use crate::contract::Entry;
use crate::date::{self, seconds};
use crate::media_type::{self, Kind};
use crate::response::document::{self, Own, push_ancestors, push_size};
use crate::response::escape::{push_html, push_link};
use crate::response::listing::order::{Key, Order};
use crate::text::push_decimal;

/// The page of a folder.
#[derive(Debug)]
pub(crate) struct Html {
    /// The order of the entries. None: they come by name, because the folder does not fit one portion.
    order: Option<Order>,
    /// Whether media files have pages with a player.
    players: bool,
    /// Whether there may be media files, and so something for a playlist.
    media: bool,
    folders: u64,
    files: u64,
    bytes: u64,
}

impl Html {
    /// The page of a folder whose entries come in this order.
    pub(crate) fn new(order: Option<Order>, players: bool, entries: &[Entry]) -> Self {
        let media =
            order.is_none() || entries.iter().any(|entry| !entry.folder && is_media(media_type::kind(&entry.name)));
        Self { order, players, media, folders: 0, files: 0, bytes: 0 }
    }

    pub(crate) fn push_start(&self, out: &mut Vec<u8>, folder: &[u8]) {
        let title = [b"/", folder].concat();
        document::push_start(out, &title);
        out.extend_from_slice(b"<h1>");
        push_ancestors(out, folder, Own::Folder);
        out.extend_from_slice(b"</h1>\n");
        if self.media {
            out.extend_from_slice(b"<p><a href=\"?m3u\" rel=\"nofollow\">Playlist</a>\n");
        }
        if self.order.is_none() {
            out.extend_from_slice(b"<p>This folder is too large to be sorted; it is listed by name.\n");
        }
        out.extend_from_slice(b"<table>\n<thead><tr>");
        self.push_heading(out, Key::Name, "name", "Name");
        self.push_heading(out, Key::Size, "size", "Size");
        self.push_heading(out, Key::Time, "time", "Changed (UTC)");
        out.extend_from_slice(b"\n<tbody>\n");
    }

    /// Writes the head of a column: a link to the order by it, or to the opposite of the one that there is.
    fn push_heading(&self, out: &mut Vec<u8>, key: Key, parameter: &str, words: &str) {
        out.extend_from_slice(b"<th>");
        let Some(order) = self.order else {
            out.extend_from_slice(words.as_bytes());
            return;
        };
        let descending = if order.key == key { !order.descending } else { key != Key::Name };
        let direction = if descending { "desc" } else { "asc" };
        for part in ["<a href=\"?sort=", parameter, "&amp;order=", direction, "\" rel=\"nofollow\">", words, "</a>"] {
            out.extend_from_slice(part.as_bytes());
        }
        if order.key == key {
            out.extend_from_slice(if order.descending { " \u{2193}".as_bytes() } else { " \u{2191}".as_bytes() });
        }
    }

    pub(crate) fn push_entry(&mut self, out: &mut Vec<u8>, entry: &Entry) {
        let kind = media_type::kind(&entry.name);
        out.extend_from_slice(match kind {
            _ if entry.folder => b"<tr class=\"d\">",
            Kind::Video => b"<tr class=\"v\">",
            Kind::Audio => b"<tr class=\"a\">",
            Kind::Image => b"<tr class=\"i\">",
            Kind::Text | Kind::Other => b"<tr>",
        });
        out.extend_from_slice(b"<td><a href=\"");
        push_link(out, &entry.name);
        out.extend_from_slice(if entry.folder { b"/\">" } else { b"\">" });
        push_html(out, &entry.name);
        out.extend_from_slice(if entry.folder { b"/</a>" } else { b"</a>" });
        if self.players && !entry.folder && is_media(kind) {
            out.extend_from_slice(b"<a class=\"p\" href=\"");
            push_link(out, &entry.name);
            out.extend_from_slice("?play\" rel=\"nofollow\" title=\"Play\">\u{25b6}</a>".as_bytes());
        }
        out.extend_from_slice(b"<td>");
        if entry.folder {
            self.folders += 1;
        } else {
            self.files += 1;
            self.bytes = self.bytes.saturating_add(entry.size);
            push_size(out, entry.size);
        }
        out.extend_from_slice(b"<td>");
        if let Some(modified) = entry.modified {
            date::push_minute(out, seconds(modified));
        }
        out.push(b'\n');
    }

    pub(crate) fn push_end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"</table>\n<p>");
        push_count(out, self.folders, " folder", " folders");
        out.extend_from_slice(b", ");
        push_count(out, self.files, " file", " files");
        if self.files > 0 {
            out.extend_from_slice(b", ");
            push_size(out, self.bytes);
        }
        out.push(b'\n');
    }
}

fn is_media(kind: Kind) -> bool {
    matches!(kind, Kind::Video | Kind::Audio)
}

fn push_count(out: &mut Vec<u8>, count: u64, one: &str, many: &str) {
    push_decimal(out, count);
    out.extend_from_slice(if count == 1 { one } else { many }.as_bytes());
}
