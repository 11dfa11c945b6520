//! Bodies that do not fit one list of actions: what is left of one, and what it waits for.

use alloc::vec::Vec;

use crate::contract::Event;
use crate::plan::{Flow, Plan, Wait};
use crate::response::listing::ListingStream;
use crate::response::stream::Stream;

/// The rest of a body.
#[derive(Debug)]
pub(crate) enum Sending {
    /// Of a source that grows, or is sent in chunks.
    Source(Stream),
    /// Of a folder's listing.
    Listing(ListingStream),
}

impl Sending {
    /// What it waits for.
    pub(crate) fn wait(&self) -> Wait {
        match self {
            Self::Source(stream) => Wait::Past(stream.offset),
            Self::Listing(listing) => listing.wait(),
        }
    }

    /// Sends what `event` has brought. None: it does not answer what was waited for.
    pub(crate) fn resume(&mut self, event: Event, plan: &mut Plan) -> Option<Flow> {
        match (self, event) {
            (Self::Source(stream), Event::Available(window)) => Some(stream.pour(Vec::new(), window, plan)),
            (Self::Listing(listing), event) => listing.resume(event, plan),
            _ => None,
        }
    }
}
