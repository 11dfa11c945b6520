//! Several parts of a source in one body: `multipart/byteranges` (RFC 9110 section 14.6).

use alloc::vec::Vec;

use crate::contract::{Instant, Span};
use crate::text::{Hash, push_decimal};

/// A body of several parts. The bytes of the source do not come in here: each part is a few lines and a span
/// for the host to pass.
#[derive(Debug)]
pub(crate) struct Multipart {
    boundary: Vec<u8>,
    /// The lines before a part, and the part.
    parts: Vec<(Vec<u8>, Span)>,
    /// What follows the last part.
    end: Vec<u8>,
}

impl Multipart {
    /// The parts `spans` of a source of `size` bytes.
    pub(crate) fn new(spans: &[Span], size: u64, media_type: &str, boundary: Vec<u8>) -> Self {
        let mut parts = Vec::with_capacity(spans.len());
        for &span in spans {
            let mut lines = Vec::with_capacity(128);
            // Before the first delimiter the line end is optional (RFC 2046 section 5.1.1). nginx, Apache and
            // lighttpd send it, and zsync retries for ever without it.
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

    /// The value of `Content-Type`.
    pub(crate) fn content_type(&self) -> Vec<u8> {
        [b"multipart/byteranges; boundary=", self.boundary.as_slice()].concat()
    }

    /// The length of the body.
    pub(crate) fn length(&self) -> u64 {
        let parts = self.parts.iter().map(|(lines, span)| lines.len() as u64 + span.count);
        parts.sum::<u64>() + self.end.len() as u64
    }

    /// The parts, each as what to send and what to pass, and what to send at the end.
    pub(crate) fn into_pieces(self) -> (Vec<(Vec<u8>, Span)>, Vec<u8>) {
        (self.parts, self.end)
    }
}

/// A boundary of 16 digits, made from the version, the size and the time.
///
/// It must not occur in the parts, which nobody here can look at. Content cannot know the millisecond at
/// which it is requested: the chance that these digits follow a line end and two dashes in it is one in 2^64
/// for every such place. Clients that read parts by their `Content-Range` do not depend on it.
pub(crate) fn boundary(version: &str, size: u64, now: Instant) -> Vec<u8> {
    Hash::new().add(version.as_bytes()).add(&size.to_le_bytes()).add(&now.to_le_bytes()).digits()
}

/// Writes the value of `Content-Range` for a part (RFC 9110 section 14.4). No size: it is not known yet.
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
