//! What pages for people have in common: their beginning, their style, and what they may load.
//!
//! Rule: a page loads nothing from elsewhere and runs no script.

use alloc::vec::Vec;

use crate::response::escape::push_html;
use crate::text::push_decimal;

/// The style of all pages, for light and dark, wide and narrow screens. The icons are here and not in the
/// text of links, because some clients compare that with the target.
const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--soft:#8882}\
body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:0 auto;padding:1rem}\
h1{font-size:1.25rem;overflow-wrap:anywhere}a{text-decoration:none}a:hover{text-decoration:underline}\
table{width:100%;border-collapse:collapse}th{text-align:start}th,td{padding:.3rem .5rem;border-bottom:1px solid var(--line)}\
tbody tr:hover{background:var(--soft)}td:first-child{overflow-wrap:anywhere;padding-left:2.25em;text-indent:-1.75em}\
td+td,th+th{text-align:end;white-space:nowrap;font-variant-numeric:tabular-nums}\
td:first-child:before{content:'\\1f4c4';display:inline-block;width:1.75em;text-indent:0}.d td:first-child:before{content:'\\1f4c1'}\
.v td:first-child:before{content:'\\1f3ac'}.a td:first-child:before{content:'\\1f3b5'}\
.i td:first-child:before{content:'\\1f5bc'}.p{padding:0 .5rem}video,audio{display:block;width:100%;max-height:80vh;margin:1rem 0}\
video{background:#000}p{color:GrayText}\
@media(max-width:40rem){body{padding:.5rem}td:last-child,th:last-child{display:none}}";

/// The SHA-256 of the style in Base64. A test computes it again.
const STYLE_HASH: &str = "+k06DllMpiaYi3qKDStqupQyYMdRQ0Abp+FpMxzVvP0=";

/// Writes the beginning of a page, up to its heading. `title` is a name. The empty icon keeps browsers from asking
/// for `/favicon.ico`, which the operator may not have.
pub(crate) fn push_start(out: &mut Vec<u8>, title: &[u8]) {
    out.extend_from_slice(
        b"<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
          <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
          <link rel=\"icon\" href=\"data:,\">\n<title>",
    );
    push_html(out, title);
    out.extend_from_slice(b"</title>\n<style>");
    out.extend_from_slice(STYLE.as_bytes());
    out.extend_from_slice(b"</style>\n");
}

/// The value of `Content-Security-Policy`.
pub(crate) fn policy() -> Vec<u8> {
    let rest = "'; img-src 'self' data:; media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    ["default-src 'none'; style-src 'sha256-", STYLE_HASH, rest].concat().into_bytes()
}

/// Writes the root and the folders on the way to `folder` as links relative to the page. The last one is `./`
/// on the page of a file, and plain text on the folder's own page.
pub(crate) fn push_ancestors(out: &mut Vec<u8>, folder: &[u8], own: Own) {
    let segments = || folder.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty());
    let depth = segments().count();
    for (place, segment) in [&b""[..]].into_iter().chain(segments()).enumerate() {
        let linked = place < depth || own == Own::File;
        if linked {
            out.extend_from_slice(b"<a href=\"");
            match depth - place {
                0 => out.extend_from_slice(b"./"),
                above => (0..above).for_each(|_| out.extend_from_slice(b"../")),
            }
            out.extend_from_slice(b"\">");
        }
        push_html(out, segment);
        out.extend_from_slice(if linked { b"/</a>" } else { b"/" });
    }
}

/// What a page is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    /// The folder itself.
    Folder,
    /// A file in the folder.
    File,
}

/// Writes a size with two or three digits, such as `700 MiB`.
pub(crate) fn push_size(out: &mut Vec<u8>, size: u64) {
    let mut unit = 0;
    let mut rest = size;
    while rest >= 1_000 << 10 && unit < UNITS.len() - 2 {
        rest >>= 10;
        unit += 1;
    }
    if rest < 1_000 && unit == 0 {
        push_decimal(out, rest);
    } else {
        // With tenths, so that 1.4 MiB is not shown as 1 MiB.
        unit += 1;
        let tenths = rest * 10 / 1_024;
        push_decimal(out, tenths / 10);
        if tenths < 1_000 {
            out.push(b'.');
            push_decimal(out, tenths % 10);
        }
    }
    out.push(b' ');
    out.extend_from_slice(UNITS[unit].as_bytes());
}

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use sha2::{Digest, Sha256};

    #[test]
    fn the_policy_has_the_hash_of_the_style() {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut hash = String::new();
        for three in Sha256::digest(STYLE).chunks(3) {
            let padded = [0, 1, 2].map(|at| u32::from(three.get(at).copied().unwrap_or(0)));
            let bits = padded[0] << 16 | padded[1] << 8 | padded[2];
            for place in 0..4 {
                let digit = char::from(DIGITS[(bits >> (18 - 6 * place)) as usize & 63]);
                hash.push(if place <= three.len() { digit } else { '=' });
            }
        }
        assert_eq!(STYLE_HASH, hash);
    }

    #[test]
    fn sizes_have_two_or_three_digits() {
        for (size, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "0.9 KiB"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (102_400, "100 KiB"),
            (1_023_999, "999 KiB"),
            (1_048_576, "1.0 MiB"),
            (734_003_200, "700 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            let mut out = Vec::new();
            push_size(&mut out, size);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    #[test]
    fn ancestors_are_linked_relative_to_the_page() {
        #[track_caller]
        fn check(folder: &str, own: Own, expected: &str) {
            let mut out = Vec::new();
            push_ancestors(&mut out, folder.as_bytes(), own);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
        check("", Own::Folder, "/");
        check("", Own::File, "<a href=\"./\">/</a>");
        check("a", Own::Folder, "<a href=\"../\">/</a>a/");
        check("a/b<", Own::Folder, "<a href=\"../../\">/</a><a href=\"../\">a/</a>b&lt;/");
        check("a/b", Own::File, "<a href=\"../../\">/</a><a href=\"../\">a/</a><a href=\"./\">b/</a>");
    }
}
