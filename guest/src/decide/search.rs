//! From a name to the source for it: the index of a folder, a compressed sibling.

use alloc::boxed::Box;
use core::mem;

use crate::contract::{Facts, Found, Instant, Name, Refusal};
use crate::media_type;
use crate::request::{Coding, Codings, FieldName, Method, Request};

/// The index of a folder.
const INDEX: &[u8] = b"/index.html";

/// The search for a source: names to open, one after the other, until one is a source.
#[derive(Debug)]
pub(crate) struct Search {
    /// The name that the target stands for.
    pub(crate) target: Name,
    pub(crate) place: Place,
    stage: Stage,
    /// The codings to try next. After these comes the source itself.
    rest: Codings,
}

/// Where to find the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Under the name itself.
    Itself,
    /// In the folder of that name, as its index.
    Index,
}

/// What is being opened. Most folders have no compressed siblings. These are therefore tried first, and the
/// original is opened for comparison only if there is one.
#[derive(Debug)]
enum Stage {
    /// The source itself.
    Original,
    /// A sibling with this compression.
    Sibling(Coding),
    /// The source itself, after a sibling was found that last changed at this time. Boxed: few searches get
    /// here, and all of them are moved around with their request.
    Comparison(Coding, Box<Option<Instant>>),
    /// The sibling again, now that it is known to count.
    Chosen(Coding),
}

impl Search {
    /// A search that tries only the name itself.
    pub(crate) fn exact(target: Name) -> Self {
        Self { target, place: Place::Itself, stage: Stage::Original, rest: Codings::default() }
    }

    /// The search for what a request asks for. Ranges are always those of the source itself, because clients
    /// that seek count its bytes.
    pub(crate) fn new(target: Name, place: Place, request: &Request) -> Self {
        let mut search = Self { place, ..Self::exact(target) };
        // Only `GET` has ranges (RFC 9110 section 14.2). `HEAD` describes the whole.
        let whole = request.method != Method::Get || request.fields(FieldName::Range).next().is_none();
        let ending = if place == Place::Index { INDEX } else { &search.target };
        if whole && media_type::is_compressible(media_type::of(ending)) {
            search.rest = Codings::of(request);
            search.try_next();
        }
        search
    }

    /// The name of the source without a coding. Its ending decides the media type.
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
        if let Stage::Sibling(coding) | Stage::Chosen(coding) = self.stage {
            name.extend_from_slice(coding.ending());
        }
        name
    }

    /// The coding of the source that was found.
    pub(crate) fn coding(&self) -> Option<Coding> {
        match self.stage {
            Stage::Chosen(coding) => Some(coding),
            _ => None,
        }
    }

    /// Takes the result of opening [`Self::name`]. Returns whether the search continues with another name;
    /// otherwise the result is final.
    ///
    /// A sibling counts if it is not empty and not older than the original. Otherwise browsers would show the
    /// old page after somebody edits it and forgets to compress it again. Whatever else is wrong with a
    /// sibling, the original takes its place.
    pub(crate) fn goes_on(&mut self, result: &Result<Found, Refusal>) -> bool {
        match (mem::replace(&mut self.stage, Stage::Original), result) {
            (Stage::Original, _) => return false,
            (Stage::Sibling(coding), Ok(Found::Source(sibling))) if is_whole(sibling) && sibling.window.end > 0 => {
                self.stage = Stage::Comparison(coding, Box::new(sibling.modified));
            }
            (Stage::Sibling(_), _) => self.try_next(),
            (Stage::Comparison(coding, sibling), Ok(Found::Source(original))) => {
                let is_older = sibling.zip(original.modified).is_some_and(|(sibling, original)| sibling < original);
                if is_older || !is_whole(original) {
                    // The original is open already.
                    return false;
                }
                self.stage = Stage::Chosen(coding);
            }
            (Stage::Comparison(coding, _), Err(Refusal::NotFound)) => self.stage = Stage::Chosen(coding),
            (Stage::Comparison(..), _) => return false,
            (Stage::Chosen(coding), Ok(Found::Source(_))) => {
                self.stage = Stage::Chosen(coding);
                return false;
            }
            (Stage::Chosen(_), _) => {}
        }
        true
    }

    fn try_next(&mut self) {
        self.stage = self.rest.next().map_or(Stage::Original, Stage::Sibling);
    }
}

/// Whether all of a source can be read, from its first byte to its last.
fn is_whole(facts: &Facts) -> bool {
    facts.window.is_final && facts.window.start == 0
}
