//! Sources that are still growing, and those that are sent in chunks for another reason.
//!
//! Rule: the end of a source is said only when it is one. A stream that breaks ends with the connection
//! and without a last chunk, which is how the client can tell (RFC 9112 section 8).

use alloc::vec::Vec;
use core::mem;

use crate::contract::{Span, Window};
use crate::plan::{Flow, Plan};
use crate::text::push_hex;

/// How a body without a known length is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delimiter {
    /// By chunks of at most so many bytes (RFC 9112 section 7.1).
    Chunks(u64),
    /// By the end of the connection, as HTTP/1.0 has it.
    Close,
}

impl Delimiter {
    /// The largest chunk, and the most that is passed before the source's window is asked for again. A
    /// ring of a few MiB may have moved on by then; a file has not, but other clients want their turn.
    pub(crate) const CHUNK: u64 = 1024 * 1024;
}

/// The most chunks of one list of actions. A chunk is two actions; with what else a response needs this
/// stays below the 64 that the contract allows.
const CHUNKS_PER_LIST: usize = 28;

/// A body that is on its way.
#[derive(Debug)]
pub(crate) struct Stream {
    /// The byte to send next.
    pub(crate) offset: u64,
    pub(crate) delimiter: Delimiter,
}

impl Stream {
    /// Sends `lead`, and what the window has of the stream, as far as it fits into one list.
    pub(crate) fn pour(&mut self, mut lead: Vec<u8>, window: Window, plan: &mut Plan) -> Flow {
        if window.start > self.offset {
            return Flow::Broken;
        }
        let mut chunks = 0;
        while self.offset < window.end && chunks < CHUNKS_PER_LIST {
            let left = window.end - self.offset;
            let count = match self.delimiter {
                Delimiter::Chunks(most) => left.min(most),
                Delimiter::Close => left.min(Delimiter::CHUNK),
            };
            self.pass(count, &mut lead, plan);
            chunks += self.chunks_worth(count);
        }
        let ended = window.is_final && self.offset >= window.end;
        if ended && self.delimiter != Delimiter::Close {
            lead.extend_from_slice(b"0\r\n\r\n");
        }
        plan.send(lead);
        if ended { Flow::Ended } else { Flow::Goes }
    }

    /// How many of the chunks of one list a chunk counts for: a large one is the last.
    fn chunks_worth(&self, count: u64) -> usize {
        if count == Delimiter::CHUNK { CHUNKS_PER_LIST } else { 1 }
    }

    fn pass(&mut self, count: u64, lead: &mut Vec<u8>, plan: &mut Plan) {
        let chunked = self.delimiter != Delimiter::Close;
        if chunked {
            push_hex(lead, count);
            lead.extend_from_slice(b"\r\n");
        }
        plan.send(mem::take(lead));
        plan.pass(Span { offset: self.offset, count });
        self.offset += count;
        if chunked {
            lead.extend_from_slice(b"\r\n");
        }
    }
}
