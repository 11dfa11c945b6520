//! A listing on the wire, when it does not fit one piece.

use alloc::vec::Vec;

use crate::contract::Event;
use crate::plan::{Flow, Plan, Wait};
use crate::response::listing::body::{ListingBody, Needs};
use crate::response::stream::Delimiter;
use crate::text::push_hex;

/// The rest of a listing and how its end is told.
#[derive(Debug)]
pub(crate) struct ListingStream {
    pub(crate) body: ListingBody,
    pub(crate) delimiter: Delimiter,
}

impl ListingStream {
    /// Sends the header section, and the piece that was written to know that it is not all.
    pub(crate) fn begin(&mut self, header_section: Vec<u8>, piece: &[u8], plan: &mut Plan) -> Flow {
        self.push(header_section, piece, plan)
    }

    /// What it waits for.
    pub(crate) fn wait(&self) -> Wait {
        match self.body.needs() {
            Needs::Portion(portion) => Wait::List(portion),
            Needs::Time | Needs::Nothing => Wait::Proceed,
        }
    }

    /// Goes on after its turn has come, or with a further portion. None: the event is neither.
    pub(crate) fn resume(&mut self, event: Event, plan: &mut Plan) -> Option<Flow> {
        match (self.body.needs(), event) {
            (Needs::Time, Event::Proceeded) => {}
            (Needs::Portion(_), Event::Listed(Ok(listing))) => {
                if self.body.resume(listing).is_err() {
                    return Some(Flow::Broken);
                }
            }
            (Needs::Portion(_), Event::Listed(Err(_))) => return Some(Flow::Broken),
            _ => return None,
        }
        let piece = self.body.piece();
        Some(self.push(Vec::new(), &piece, plan))
    }

    fn push(&self, mut lead: Vec<u8>, piece: &[u8], plan: &mut Plan) -> Flow {
        let chunked = self.delimiter != Delimiter::Close;
        // An empty chunk would be the last.
        if chunked && !piece.is_empty() {
            push_hex(&mut lead, piece.len() as u64);
            lead.extend_from_slice(b"\r\n");
        }
        lead.extend_from_slice(piece);
        if chunked && !piece.is_empty() {
            lead.extend_from_slice(b"\r\n");
        }
        let ended = matches!(self.body.needs(), Needs::Nothing);
        if chunked && ended {
            lead.extend_from_slice(b"0\r\n\r\n");
        }
        plan.send(lead);
        if ended { Flow::Ended } else { Flow::Goes }
    }
}
