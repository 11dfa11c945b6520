//! Several parts of a source in one body: `multipart/byteranges` (RFC 9110 section 14.6).

use alloc::vec::Vec;

use crate::contract::{Instant, Span};
use crate::text::{Hash, push_decimal};

/// A body of several parts. The bytes of the source stay where they are: each part is a few lines from
/// here and a span for the host to pass.
#[derive(Debug)]
pub(crate) struct Multipart {
    boundary: Vec<u8>,
    /// What stands before a part, and the part.
    parts: Vec<(Vec<u8>, Span)>,
    /// What stands behind the last.
    end: Vec<u8>,
}

impl Multipart {
    /// The parts `spans` of a source of `size` bytes.
    pub(crate) fn new(spans: &[Span], size: u64, media_type: &str, boundary: Vec<u8>) -> Self {
        let mut parts = Vec::with_capacity(spans.len());
        for &span in spans {
            let mut lines = Vec::with_capacity(128);
            // Before the first delimiter the line end is optional (RFC 2046 section 5.1.1). nginx, Apache and
            // lighttpd send it, and zsync asks again for ever where it is missing.
            lines.extend_from_slice(b"\r\n--");
            lines.extend_from_slice(&boundary);
            lines.extend_from_slice(b"\r\nContent-Type: ");
            lines.extend_from_slice(media_type.as_bytes());
            lines.extend_from_slice(b"\r\nContent-Range: ");
            push_content_range(&mut lines, span, Some(size));
            lines.extend_from_slice(b"\r\n\r\n");
            parts.push((lines, span));
        }
        let end = [b"\r\n--", boundary.as_slice(), b"--\r\n"].concat();
        Self { boundary, parts, end }
    }

    /// What `Content-Type` says.
    pub(crate) fn content_type(&self) -> Vec<u8> {
        [b"multipart/byteranges; boundary=", self.boundary.as_slice()].concat()
    }

    /// How long the body is.
    pub(crate) fn length(&self) -> u64 {
        let parts = self.parts.iter().map(|(lines, span)| lines.len() as u64 + span.count);
        parts.sum::<u64>() + self.end.len() as u64
    }

    /// The pieces: what to send, what to pass, and so on, and what to send at the end.
    pub(crate) fn into_pieces(self) -> (Vec<(Vec<u8>, Span)>, Vec<u8>) {
        (self.parts, self.end)
    }
}

/// A boundary of 16 digits, made from what is known of the source and the time (FNV-1a).
///
/// It must not occur in the parts, and nobody here can look at them. Content does not know at which
/// millisecond it will be asked for: that these 16 digits stand in it behind a line end and two dashes
/// is a chance of one in 2^64 for every place where they could. Whoever reads parts by their
/// `Content-Range` does not depend on it at all.
pub(crate) fn boundary(version: &str, size: u64, now: Instant) -> Vec<u8> {
    Hash::new().add(version.as_bytes()).add(&size.to_le_bytes()).add(&now.to_le_bytes()).digits()
}

/// Writes what `Content-Range` says of a part (RFC 9110 section 14.4). No size: it is not known yet.
pub(crate) fn push_content_range(out: &mut Vec<u8>, span: Span, size: Option<u64>) {
    out.extend_from_slice(b"bytes ");
    push_decimal(out, span.offset);
    out.push(b'-');
    push_decimal(out, span.end().saturating_sub(1));
    out.push(b'/');
    match size {
        Some(size) => push_decimal(out, size),
        None => out.push(b'*'),
    }
}
