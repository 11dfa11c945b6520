//! From a name to the source that answers for it: the index of a folder, a compressed sibling.

use crate::contract::Name;
use crate::media_type;
use crate::request::{Coding, Codings, FieldName, Method, Request};

/// What stands for a folder where there is one.
const INDEX: &[u8] = b"/index.html";

/// One request's way to its source: names to open, one after the other, until one is a source.
#[derive(Debug)]
pub(crate) struct Search {
    /// What the target stands for.
    pub(crate) target: Name,
    pub(crate) place: Place,
    /// How the one that is being opened is compressed.
    pub(crate) coding: Option<Coding>,
    /// The codings to try after it. After these comes the bare source.
    rest: Codings,
}

/// Where the source is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Under the name itself.
    Itself,
    /// In the folder of that name, as its index.
    Index,
}

impl Search {
    /// A search that tries only the name itself.
    pub(crate) fn exact(target: Name) -> Self {
        Self { target, place: Place::Itself, coding: None, rest: Codings::default() }
    }

    /// The search for what a request wants. Parts are always those of the bare source: a client that
    /// seeks counts its bytes.
    pub(crate) fn new(target: Name, place: Place, request: &Request) -> Self {
        let mut search = Self { place, ..Self::exact(target) };
        // Only `GET` has ranges (RFC 9110 section 14.2): a `HEAD` is that of the whole.
        let whole = request.method != Method::Get || request.fields(FieldName::Range).next().is_none();
        let ending = if place == Place::Index { INDEX } else { &search.target };
        if whole && media_type::is_compressible(media_type::of(ending)) {
            search.rest = Codings::of(request);
            search.coding = search.rest.next();
        }
        search
    }

    /// The name of the source without any coding. Its ending tells the media type.
    pub(crate) fn bare(&self) -> Name {
        let index = match self.place {
            Place::Itself => &b""[..],
            Place::Index if self.target.is_empty() => &INDEX[1..],
            Place::Index => INDEX,
        };
        [&self.target, index].concat()
    }

    /// The name to open now.
    pub(crate) fn name(&self) -> Name {
        let mut name = self.bare();
        if let Some(coding) = self.coding {
            name.extend_from_slice(coding.ending());
        }
        name
    }

    /// Goes on to the next name, after a compressed one was not there.
    pub(crate) fn advance(&mut self) {
        self.coding = self.rest.next();
    }
}
