//! A listing as JSON, for programs.

use alloc::vec::Vec;

use crate::contract::Entry;
use crate::date::{self, seconds};
use crate::response::escape::{push_json, push_link};
use crate::text::push_decimal;

/// Begins the one object that there is.
pub(crate) fn push_start(out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"entries\":[");
}

/// Writes an entry. A name that is not UTF-8 cannot be written in JSON; the link always works.
pub(crate) fn push_entry(out: &mut Vec<u8>, entry: &Entry, is_first: bool) {
    if !is_first {
        out.push(b',');
    }
    out.extend_from_slice(b"{\"name\":");
    push_json(out, &entry.name);
    out.extend_from_slice(b",\"href\":\"");
    push_link(out, &entry.name);
    out.extend_from_slice(if entry.folder { b"/\",\"folder\":true" } else { b"\",\"folder\":false" });
    out.extend_from_slice(b",\"size\":");
    push_decimal(out, entry.size);
    out.extend_from_slice(b",\"modified\":");
    match entry.modified {
        Some(modified) => {
            out.push(b'"');
            date::push_iso(out, seconds(modified));
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

/// Ends the object. A listing that breaks off does not come to this, and is not JSON.
pub(crate) fn push_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"],\"complete\":true}\n");
}
