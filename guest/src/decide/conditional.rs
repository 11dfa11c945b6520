//! Conditions: whether the client's copy of a source is still good (RFC 9110 section 13).

use alloc::vec::Vec;

use crate::contract::{Facts, Instant};
use crate::date::{self, Seconds, seconds};
use crate::request::{FieldName, Request};
use crate::text::trim;

/// How far from now a source must have changed last before its version is taken for its content: within this
/// time it may have changed again and look the same. File systems tell times apart at least by this. Their
/// clock may be ahead by a moment; a time that is further ahead is a wrong one, and not just now.
const SETTLED_MS: Instant = 1_000;

/// What a source can be compared by.
#[derive(Debug, Default)]
pub(crate) struct Validators<'a> {
    /// The entity tag, without quotes. None: nothing is known of versions.
    tag: Option<&'a str>,
    /// When it last changed, and never later than now (RFC 9110 section 8.8.2.1).
    pub(crate) modified: Option<Seconds>,
    /// Whether the content can no longer have changed without these changing.
    strong: bool,
    now: Seconds,
}

impl<'a> Validators<'a> {
    /// The validators of a source. One that still grows has none.
    pub(crate) fn of(facts: &'a Facts, now: Instant) -> Self {
        if !facts.window.is_final || facts.window.start > 0 {
            return Self { now: seconds(now), ..Self::default() };
        }
        let settled = |modified: Instant| modified.abs_diff(now) >= SETTLED_MS;
        Self {
            tag: Some(facts.version.as_str()).filter(|version| !version.is_empty()),
            modified: facts.modified.map(|modified| seconds(modified.min(now))),
            strong: facts.modified.is_none_or(settled),
            now: seconds(now),
        }
    }

    /// The validators of a listing. Its tag is made of what it shows, and not of its bytes.
    pub(crate) fn of_listing(tag: &'a str, now: Instant) -> Self {
        Self { tag: Some(tag), now: seconds(now), ..Self::default() }
    }

    /// What `ETag` says. None: there is no tag.
    pub(crate) fn entity_tag(&self) -> Option<Vec<u8>> {
        let tag = self.tag?;
        let mut entity_tag = Vec::with_capacity(tag.len() + 4);
        entity_tag.extend_from_slice(if self.strong { b"\"" } else { b"W/\"" });
        entity_tag.extend_from_slice(tag.as_bytes());
        entity_tag.push(b'"');
        Some(entity_tag)
    }

    fn matches(&self, tag: &EntityTag<'_>, comparison: Comparison) -> bool {
        let equal = self.tag.is_some_and(|own| own.as_bytes() == tag.opaque);
        equal && (comparison == Comparison::Weak || (self.strong && !tag.weak))
    }
}

/// How tags are compared (RFC 9110 section 8.8.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// Both strong and equal: the bytes are the same.
    Strong,
    /// Equal: the meaning is the same.
    Weak,
}

/// What the conditions of a request come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The request is carried out.
    Proceed,
    /// The client's copy is good: 304.
    NotModified,
    /// The source is not what the client takes it for: 412.
    Failed,
}

/// Judges the conditions of a `GET` or `HEAD`, in the order of RFC 9110 section 13.2.2.
pub(crate) fn judge(request: &Request, validators: &Validators<'_>) -> Verdict {
    let date = |name| request.field(name).and_then(|value| date::parse(value, validators.now));
    if let Some(matched) = any_matches(request, FieldName::IfMatch, validators, Comparison::Strong) {
        if !matched {
            return Verdict::Failed;
        }
    } else if let (Some(since), Some(modified)) = (date(FieldName::IfUnmodifiedSince), validators.modified)
        && modified > since
    {
        return Verdict::Failed;
    }
    if let Some(matched) = any_matches(request, FieldName::IfNoneMatch, validators, Comparison::Weak) {
        if matched {
            return Verdict::NotModified;
        }
    } else if let (Some(since), Some(modified)) = (date(FieldName::IfModifiedSince), validators.modified)
        && modified <= since
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether a `Range` may be honoured, for all that `If-Range` says (RFC 9110 section 13.1.5).
pub(crate) fn range_applies(request: &Request, validators: &Validators<'_>) -> bool {
    if request.fields(FieldName::IfRange).next().is_none() {
        return true;
    }
    let Some(value) = request.field(FieldName::IfRange) else {
        return false;
    };
    if let Some((tag, b"")) = EntityTag::parse(value) {
        return validators.matches(&tag, Comparison::Strong);
    }
    // A date is a strong validator only when the second that it names was over (RFC 9110 section 8.8.2.2).
    let settled = |modified: Seconds| validators.strong && modified < validators.now;
    let date = date::parse(value, validators.now);
    date.is_some() && date == validators.modified && validators.modified.is_some_and(settled)
}

/// Whether any tag of a field is the source's. None: the field is not there.
fn any_matches(
    request: &Request,
    name: FieldName,
    validators: &Validators<'_>,
    comparison: Comparison,
) -> Option<bool> {
    let mut there = false;
    for value in request.fields(name) {
        there = true;
        // There is a source, or nobody would be asking; `*` is any.
        if value == b"*" {
            return Some(true);
        }
        if tags(value).any(|tag| validators.matches(&tag, comparison)) {
            return Some(true);
        }
    }
    there.then_some(false)
}

/// An entity tag as a client says it.
struct EntityTag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Reads a tag at the front, and gives what is behind it.
    fn parse(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, text) = text.strip_prefix(b"W/").map_or((false, text), |text| (true, text));
        let text = text.strip_prefix(b"\"")?;
        let end = text.iter().position(|byte| *byte == b'"')?;
        Some((Self { weak, opaque: &text[..end] }, &text[end + 1..]))
    }
}

/// The tags of a list, up to the first that is none. A tag may have commas in it.
fn tags(mut text: &[u8]) -> impl Iterator<Item = EntityTag<'_>> {
    core::iter::from_fn(move || {
        while let [b',', rest @ ..] = trim(text) {
            text = rest;
        }
        let (tag, rest) = EntityTag::parse(trim(text))?;
        text = rest;
        Some(tag)
    })
}
