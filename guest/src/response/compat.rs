//! The responses of FFmpeg's example server, byte for byte.
//!
//! Rule: this is about how responses look, for the clients that were written against them, and about which
//! target stands for the source. How requests are read, and whatever the original gets wrong (methods,
//! ranges, HTTP/1.0, truncated bodies that look complete), is as in the standard dialect.

use alloc::vec::Vec;

use crate::contract::Name;
use crate::request::{FieldName, Method, Request, Version};
use crate::status::Status;

/// The head of every 200.
pub(crate) const OK: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Content-Type: application/octet-stream\r\n\
    Transfer-Encoding: chunked\r\n\
    \r\n";

/// The original reads and sends a KiB at a time.
pub(crate) const CHUNK: u64 = 1024;

/// The name that a target stands for: what follows its slash, literally. Nothing is decoded, folded or
/// cut off, so that a query is a part of the name.
pub(crate) fn name(request: &Request) -> Option<Name> {
    let name = request.target().strip_prefix(b"/")?;
    let is_segment = |segment: &[u8]| !matches!(segment, b"" | b"." | b"..");
    name.split(|byte| *byte == b'/').all(is_segment).then(|| name.to_vec())
}

/// Whether the original's 200 is a right answer to this request. A client of HTTP/1.0 does not know
/// chunks, and one that wants a part knows what to do with one.
pub(crate) fn answers(request: &Request) -> bool {
    request.version == Version::Http11
        && matches!(request.method, Method::Get | Method::Head)
        && request.fields(FieldName::Range).next().is_none()
}

/// Head and body of a refusal, for the statuses that the original knows.
pub(crate) fn refusal(status: Status) -> Option<(&'static [u8], Vec<u8>)> {
    let (head, text): (&[u8], &[u8]) = match status {
        Status::BadRequest => (
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 17\r\n\r\n",
            b"400 Bad Request\r\n",
        ),
        Status::Forbidden => {
            (b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 15\r\n\r\n", b"403 Forbidden\r\n")
        }
        Status::NotFound => {
            (b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 15\r\n\r\n", b"404 Not Found\r\n")
        }
        Status::Internal => (
            b"HTTP/1.1 500 Internal server error\r\nContent-Type: text/plain\r\nContent-Length: 27\r\n\r\n",
            b"500 Internal server error\r\n",
        ),
        _ => return None,
    };
    Some((head, text.to_vec()))
}
