//! What follows a header section.

use alloc::vec::Vec;

use crate::contract::{Span, Window};
use crate::response::listing::{ListingBody, ListingStream};
use crate::response::multipart::Multipart;
use crate::response::stream::{Delimiter, Stream};
use crate::text::push_decimal;

/// What follows the head.
#[derive(Debug)]
pub(crate) enum Body {
    /// Nothing, and nothing is said of it: 204, 304.
    Nothing,
    /// What the guest has written itself.
    Text(Vec<u8>),
    /// A part of the source, or all of it.
    Part(Span),
    /// Several parts of the source.
    Parts(Multipart),
    /// What the window has now, and what comes.
    Stream(Stream, Window),
    /// A listing, of which this is the beginning.
    Listing(ListingStream, Vec<u8>),
}

impl Body {
    /// Writes the lines that say where the body ends (RFC 9112 section 6).
    pub(crate) fn push_framing(&self, head: &mut Vec<u8>) {
        let length = match self {
            Self::Nothing => return,
            Self::Stream(Stream { delimiter, .. }, _) | Self::Listing(ListingStream { delimiter, .. }, _) => {
                if *delimiter != Delimiter::Close {
                    head.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                }
                return;
            }
            Self::Text(text) => text.len() as u64,
            Self::Part(span) => span.count,
            Self::Parts(parts) => parts.length(),
        };
        head.extend_from_slice(b"Content-Length: ");
        push_decimal(head, length);
        head.extend_from_slice(b"\r\n");
    }
}

impl Body {
    /// The pieces that it is made of, and what is left of a listing.
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
