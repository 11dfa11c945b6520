//! The responses of FFmpeg's example server, byte for byte.
//!
//! Rule: this is about the form of responses, for clients written against them, and about which target names
//! the source. Parsing, and everything that the original gets wrong (methods, ranges, HTTP/1.0, truncated
//! bodies that look complete), is as in the standard dialect.

use alloc::vec::Vec;

use crate::contract::Name;
use crate::request::{FieldName, Method, Request, Version};
use crate::status::Status;

/// The header section of every 200.
pub(crate) const OK: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Content-Type: application/octet-stream\r\n\
    Transfer-Encoding: chunked\r\n\
    \r\n";

/// The original reads and sends a KiB at a time.
pub(crate) const CHUNK: u64 = 1024;

/// The name of a target: what follows its slash, literally. Nothing is decoded or cut off, and a query is
/// part of the name.
pub(crate) fn name(request: &Request) -> Option<Name> {
    let name = request.target().strip_prefix(b"/")?;
    let is_segment = |segment: &[u8]| !matches!(segment, b"" | b"." | b"..");
    name.split(|byte| *byte == b'/').all(is_segment).then(|| name.to_vec())
}

/// Whether the original's 200 is a correct response to this request. HTTP/1.0 clients do not know chunks, and
/// clients that ask for a range expect one.
pub(crate) fn answers(request: &Request) -> bool {
    request.version == Version::Http11
        && matches!(request.method, Method::Get | Method::Head)
        && request.fields(FieldName::Range).next().is_none()
}

/// Header section and body of an error, for the statuses that the original has.
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
