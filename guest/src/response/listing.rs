//! What is in a folder, as a page or as JSON.
//!
//! Rule: names are bytes that somebody else chose. Each goes through one escape for where it stands:
//! percent for links, entities for HTML, backslashes for JSON.

use alloc::vec::Vec;

use crate::contract::{Entry, Listing};
use crate::date::{self, seconds};
use crate::request::{Request, prefers};
use crate::response::body::Body;
use crate::response::message::{Response, Site};
use crate::status::Status;
use crate::text::{push_decimal, push_path};

/// How long a list may get, in bytes. 4,096 long names with every byte escaped would be ten times that.
const LIMIT: usize = 1024 * 1024;

/// The response that lists a folder: folders first, then by name.
pub(crate) fn response<'a>(site: Site<'a>, folder: &[u8], mut listing: Listing, request: &Request) -> Response<'a> {
    listing.entries.sort_unstable_by(|a, b| (!a.folder, &a.name).cmp(&(!b.folder, &b.name)));
    let mut response = Response::new(site, Status::Ok);
    // There is nothing to compare two lists by, so a cache has to ask each time.
    response.field("Cache-Control", b"no-cache");
    response.vary("Accept");
    if prefers(request, "application/json", "text/html") {
        response.field("Content-Type", b"application/json");
        response.body = Body::Text(json(&listing));
    } else {
        response.field("Content-Type", b"text/html; charset=utf-8");
        response.body = Body::Text(html(folder, &listing));
    }
    response
}

fn html(folder: &[u8], listing: &Listing) -> Vec<u8> {
    let mut page = Vec::with_capacity(512 + 128 * listing.entries.len().min(1_024));
    page.extend_from_slice(b"<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>/");
    push_html(&mut page, folder);
    page.extend_from_slice(b"</title>\n<h1>/");
    push_html(&mut page, folder);
    page.extend_from_slice(b"</h1>\n<table>\n");
    if !folder.is_empty() {
        page.extend_from_slice(b"<tr><td><a href=\"../\">../</a>\n");
    }
    let complete = push_entries(&mut page, listing, push_row);
    page.extend_from_slice(b"</table>\n");
    if !complete {
        page.extend_from_slice(b"<p>There is more than fits here.\n");
    }
    page
}

fn push_row(page: &mut Vec<u8>, entry: &Entry) {
    let slash: &[u8] = if entry.folder { b"/" } else { b"" };
    page.extend_from_slice(b"<tr><td><a href=\"");
    push_link(page, entry);
    page.extend_from_slice(b"\">");
    push_html(page, &entry.name);
    page.extend_from_slice(slash);
    page.extend_from_slice(b"</a><td>");
    if !entry.folder {
        push_decimal(page, entry.size);
    }
    page.extend_from_slice(b"<td>");
    if let Some(modified) = entry.modified {
        date::push_iso(page, seconds(modified));
    }
    page.push(b'\n');
}

fn json(listing: &Listing) -> Vec<u8> {
    let mut list = Vec::with_capacity(64 + 128 * listing.entries.len().min(1_024));
    list.extend_from_slice(b"{\"entries\":[");
    let complete = push_entries(&mut list, listing, push_object);
    if list.ends_with(b",") {
        list.pop();
    }
    list.extend_from_slice(b"],\"complete\":");
    list.extend_from_slice(if complete { b"true" } else { b"false" });
    list.extend_from_slice(b"}\n");
    list
}

fn push_object(list: &mut Vec<u8>, entry: &Entry) {
    list.extend_from_slice(b"{\"name\":");
    push_json(list, &entry.name);
    // A name that is not UTF-8 cannot be said in JSON. The link always works.
    list.extend_from_slice(b",\"href\":\"");
    push_link(list, entry);
    list.extend_from_slice(if entry.folder { b"\",\"folder\":true" } else { b"\",\"folder\":false" });
    list.extend_from_slice(b",\"size\":");
    push_decimal(list, entry.size);
    list.extend_from_slice(b",\"modified\":");
    match entry.modified {
        Some(modified) => {
            list.push(b'"');
            date::push_iso(list, seconds(modified));
            list.push(b'"');
        }
        None => list.extend_from_slice(b"null"),
    }
    list.extend_from_slice(b"},");
}

/// Writes entries as long as they fit. Whether these are all that the folder has.
fn push_entries(out: &mut Vec<u8>, listing: &Listing, push: fn(&mut Vec<u8>, &Entry)) -> bool {
    for entry in &listing.entries {
        let before = out.len();
        push(out, entry);
        if out.len() > LIMIT {
            out.truncate(before);
            return false;
        }
    }
    listing.complete
}

/// Writes the link to an entry, relative to its folder. The dot keeps a name with a colon from being
/// taken for a scheme.
fn push_link(out: &mut Vec<u8>, entry: &Entry) {
    out.extend_from_slice(b"./");
    push_path(out, &entry.name);
    if entry.folder {
        out.push(b'/');
    }
}

/// Writes text into HTML. What is not UTF-8 becomes U+FFFD.
fn push_html(out: &mut Vec<u8>, text: &[u8]) {
    push_escaped(out, text, |out, byte| match byte {
        b'&' => out.extend_from_slice(b"&amp;"),
        b'<' => out.extend_from_slice(b"&lt;"),
        b'>' => out.extend_from_slice(b"&gt;"),
        b'"' => out.extend_from_slice(b"&quot;"),
        _ => out.push(byte),
    });
}

/// Writes text as a JSON string. What is not UTF-8 becomes U+FFFD.
fn push_json(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    push_escaped(out, text, |out, byte| match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        0..0x20 => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[b'0' + (byte >> 4), b"0123456789abcdef"[usize::from(byte & 0xf)]]);
        }
        _ => out.push(byte),
    });
    out.push(b'"');
}

fn push_escaped(out: &mut Vec<u8>, text: &[u8], push: fn(&mut Vec<u8>, u8)) {
    for chunk in text.utf8_chunks() {
        chunk.valid().bytes().for_each(|byte| push(out, byte));
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}
