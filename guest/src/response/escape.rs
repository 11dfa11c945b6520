//! Escapes for names, which are arbitrary bytes chosen by somebody else.
//!
//! Rule: every name goes through the escape for its place: percent for links, entities for HTML, backslashes
//! for JSON.

use alloc::vec::Vec;

use crate::text::{push_escaped, push_path};

/// Writes a link to `name`, relative to its folder. A colon in the first segment would make it a scheme (RFC
/// 3986 section 4.2), so such a link begins with `./`. Others do not, because some clients show only entries
/// whose text equals their link.
pub(crate) fn push_link(out: &mut Vec<u8>, name: &[u8]) {
    let first = name.split(|byte| *byte == b'/').next().unwrap_or_default();
    if first.contains(&b':') {
        out.extend_from_slice(b"./");
    }
    push_path(out, name);
}

/// Writes text for HTML. Bytes that are not UTF-8 become U+FFFD, and so do control characters: HTML has none, and a
/// terminal that shows the page would obey them.
pub(crate) fn push_html(out: &mut Vec<u8>, text: &[u8]) {
    push_text(
        out,
        text,
        |byte| !matches!(byte, b'&' | b'<' | b'>' | b'"' | 0..0x20 | 0x7f),
        |out, byte| {
            out.extend_from_slice(match byte {
                b'&' => b"&amp;",
                b'<' => b"&lt;",
                b'>' => b"&gt;",
                b'"' => b"&quot;",
                _ => "\u{fffd}".as_bytes(),
            });
        },
    );
}

/// Writes a JSON string. Bytes that are not UTF-8 become U+FFFD.
pub(crate) fn push_json(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    push_text(
        out,
        text,
        |byte| !matches!(byte, b'"' | b'\\' | 0..0x20),
        |out, byte| match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[b'0' + (byte >> 4), b"0123456789abcdef"[usize::from(byte & 0xf)]]);
            }
        },
    );
    out.push(b'"');
}

fn push_text(out: &mut Vec<u8>, text: &[u8], is_plain: impl Fn(u8) -> bool, escape: impl Fn(&mut Vec<u8>, u8)) {
    for chunk in text.utf8_chunks() {
        push_escaped(out, chunk.valid().as_bytes(), &is_plain, &escape);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_reaches_html_as_anything_but_text() {
        let mut html = Vec::new();
        push_html(&mut html, b"<a \x1b[2J\n\x7f\xff & \"ok\">");
        let expected = "&lt;a \u{fffd}[2J\u{fffd}\u{fffd}\u{fffd} &amp; &quot;ok&quot;&gt;";
        assert_eq!(core::str::from_utf8(&html), Ok(expected));
    }
}
