//! From a name to the source that answers for it: the index of a folder, a compressed sibling.

use crate::contract::{Facts, Found, Instant, Name, Refusal};
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
    stage: Stage,
    /// The codings to try after the one that is being tried. After these comes the source itself.
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

/// What is being opened. Most folders have no compressed siblings, so these are looked for first, and the
/// original is compared with one only where there is one.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// The source itself.
    Original,
    /// A sibling that is compressed so.
    Sibling(Coding),
    /// The source itself, after a sibling was found that last changed then.
    Comparison(Coding, Option<Instant>),
    /// The sibling once more, because it counts.
    Chosen(Coding),
}

impl Search {
    /// A search that tries only the name itself.
    pub(crate) fn exact(target: Name) -> Self {
        Self { target, place: Place::Itself, stage: Stage::Original, rest: Codings::default() }
    }

    /// The search for what a request wants. Parts are always those of the source itself: a client that
    /// seeks counts its bytes.
    pub(crate) fn new(target: Name, place: Place, request: &Request) -> Self {
        let mut search = Self { place, ..Self::exact(target) };
        // Only `GET` has ranges (RFC 9110 section 14.2): a `HEAD` is that of the whole.
        let whole = request.method != Method::Get || request.fields(FieldName::Range).next().is_none();
        let ending = if place == Place::Index { INDEX } else { &search.target };
        if whole && media_type::is_compressible(media_type::of(ending)) {
            search.rest = Codings::of(request);
            search.try_next();
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
        if let Stage::Sibling(coding) | Stage::Chosen(coding) = self.stage {
            name.extend_from_slice(coding.ending());
        }
        name
    }

    /// How the source is compressed that was found.
    pub(crate) fn coding(&self) -> Option<Coding> {
        match self.stage {
            Stage::Chosen(coding) => Some(coding),
            _ => None,
        }
    }

    /// Takes what the name turned out to be. Whether there is another one to open before that says anything.
    ///
    /// A sibling counts if it is not empty and not older than the original: otherwise whoever edits a page and
    /// forgets to compress it again would show browsers the old one. Whatever else keeps a sibling from being
    /// sent, the original will do.
    pub(crate) fn goes_on(&mut self, result: &Result<Found, Refusal>) -> bool {
        match (self.stage, result) {
            (Stage::Original, _) => return false,
            (Stage::Sibling(coding), Ok(Found::Source(sibling))) if is_whole(sibling) && sibling.window.end > 0 => {
                self.stage = Stage::Comparison(coding, sibling.modified);
            }
            (Stage::Sibling(_), _) => self.try_next(),
            (Stage::Comparison(coding, sibling), Ok(Found::Source(original))) => {
                let is_older = sibling.zip(original.modified).is_some_and(|(sibling, original)| sibling < original);
                if is_older || !is_whole(original) {
                    // It is open already.
                    self.stage = Stage::Original;
                    return false;
                }
                self.stage = Stage::Chosen(coding);
            }
            (Stage::Comparison(coding, _), Err(Refusal::NotFound)) => self.stage = Stage::Chosen(coding),
            (Stage::Comparison(..), _) => {
                self.stage = Stage::Original;
                return false;
            }
            (Stage::Chosen(_), Ok(Found::Source(_))) => return false,
            (Stage::Chosen(_), _) => self.stage = Stage::Original,
        }
        true
    }

    fn try_next(&mut self) {
        self.stage = self.rest.next().map_or(Stage::Original, Stage::Sibling);
    }
}

/// Whether a source is all there, from its first byte to its last.
fn is_whole(facts: &Facts) -> bool {
    facts.window.is_final && facts.window.start == 0
}
