//! Names in pages: bytes that somebody else chose.
//!
//! Rule: each goes through one escape for where it stands: percent for links, entities for HTML,
//! backslashes for JSON.

use alloc::vec::Vec;

use crate::text::push_path;

/// Writes the link to `name`, relative to the folder that it is in. A colon in the first segment would make
/// a scheme of it (RFC 3986 section 4.2), so such a link begins with a dot segment. Others do not: some
/// clients show only entries whose text equals their link.
pub(crate) fn push_link(out: &mut Vec<u8>, name: &[u8]) {
    let first = name.split(|byte| *byte == b'/').next().unwrap_or_default();
    if first.contains(&b':') {
        out.extend_from_slice(b"./");
    }
    push_path(out, name);
}

/// Writes text into HTML. What is not UTF-8 becomes U+FFFD.
pub(crate) fn push_html(out: &mut Vec<u8>, text: &[u8]) {
    push_escaped(out, text, |out, byte| match byte {
        b'&' => out.extend_from_slice(b"&amp;"),
        b'<' => out.extend_from_slice(b"&lt;"),
        b'>' => out.extend_from_slice(b"&gt;"),
        b'"' => out.extend_from_slice(b"&quot;"),
        _ => out.push(byte),
    });
}

/// Writes text as a JSON string. What is not UTF-8 becomes U+FFFD.
pub(crate) fn push_json(out: &mut Vec<u8>, text: &[u8]) {
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
