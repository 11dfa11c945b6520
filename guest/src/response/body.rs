//! Bodies of responses.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::contract::{Span, Window};
use crate::response::listing::{ListingBody, ListingStream};
use crate::response::multipart::Multipart;
use crate::response::stream::Stream;
use crate::text::push_decimal;

/// The body of a response.
#[derive(Debug)]
pub(crate) enum Body {
    /// No body, and no field about one: 204, 304.
    Nothing,
    /// Text that the guest has written.
    Text(Vec<u8>),
    /// A part of the source, or all of it.
    Part(Span),
    /// Several parts of the source.
    Parts(Multipart),
    /// The current window, and what follows.
    Stream(Stream, Window),
    /// A listing that begins with these bytes.
    Listing(Box<ListingStream>, Vec<u8>),
}

impl Body {
    /// Writes the fields that frame the body (RFC 9112 section 6).
    pub(crate) fn push_framing(&self, header: &mut Vec<u8>) {
        let length = match self {
            Self::Nothing => return,
            Self::Stream(stream, _) => return stream.delimiter.push_framing(header),
            Self::Listing(listing, _) => return listing.delimiter.push_framing(header),
            Self::Text(text) => text.len() as u64,
            Self::Part(span) => span.count,
            Self::Parts(parts) => parts.length(),
        };
        header.extend_from_slice(b"Content-Length: ");
        push_decimal(header, length);
        header.extend_from_slice(b"\r\n");
    }
}

impl Body {
    /// The pieces of the body, and the rest of a listing.
    pub(crate) fn into_pieces(self) -> (Vec<Piece>, Option<ListingBody>) {
        let pieces = match self {
            Self::Nothing => Vec::new(),
            Self::Text(text) => Vec::from([Piece::Bytes(text)]),
            Self::Part(span) => Vec::from([Piece::Span(span)]),
            Self::Parts(parts) => {
                let (parts, end) = parts.into_pieces();
                let pieces = parts.into_iter().flat_map(|(lines, span)| [Piece::Bytes(lines), Piece::Span(span)]);
                pieces.chain([Piece::Bytes(end)]).collect()
            }
            Self::Stream(_, Window { start, end, .. }) => {
                Vec::from([Piece::Span(Span { offset: start, count: end - start })])
            }
            Self::Listing(listing, beginning) => {
                return (Vec::from([Piece::Bytes(beginning)]), Some(listing.body));
            }
        };
        (pieces, None)
    }
}

/// A piece of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A span of the source that was opened last.
    Span(Span),
}
