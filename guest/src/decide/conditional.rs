//! Conditional requests: whether the client's copy of a source is still valid (RFC 9110 section 13).

use alloc::vec::Vec;

use crate::contract::{Facts, Instant};
use crate::date::{self, Seconds, seconds};
use crate::request::{FieldName, Request};
use crate::text::trim;

/// How far from now a source must have changed last, in milliseconds, before its version identifies its
/// content: within this time it may have changed again without a difference in its time. The clock of a file
/// system may be slightly ahead, hence both directions; a time further ahead is simply wrong.
const SETTLED_MS: Instant = 1_000;

/// The validators of a source.
#[derive(Debug, Default)]
pub(crate) struct Validators<'a> {
    /// The entity tag, without quotes. None: the version is not known.
    tag: Option<&'a str>,
    /// When it last changed, but never later than now (RFC 9110 section 8.8.2.1).
    pub(crate) modified: Option<Seconds>,
    /// Whether the content cannot have changed without these changing, too.
    strong: bool,
    now: Seconds,
}

impl<'a> Validators<'a> {
    /// The validators of a source. A source that still grows has none.
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

    /// The validator of a listing: weak, because it is made of the entries, not of the bytes.
    pub(crate) fn of_listing(tag: &'a str, now: Instant) -> Self {
        Self { tag: Some(tag), now: seconds(now), ..Self::default() }
    }

    /// The value of `ETag`. None if there is no tag.
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
    /// Both are strong, and they are equal: the bytes are the same.
    Strong,
    /// They are equal: the meaning is the same.
    Weak,
}

/// The result of a request's conditions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Carry out the request.
    Proceed,
    /// The copy of the client is valid: 304.
    NotModified,
    /// The source is not the one that the client expects: 412.
    Failed,
}

/// Evaluates the conditions of a `GET` or `HEAD` in the order of RFC 9110 section 13.2.2.
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

/// Whether `If-Range` lets a `Range` apply (RFC 9110 section 13.1.5).
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
    // A date is a strong validator only if its second was over at the time (RFC 9110 section 8.8.2.2).
    let settled = |modified: Seconds| validators.strong && modified < validators.now;
    let date = date::parse(value, validators.now);
    date.is_some() && date == validators.modified && validators.modified.is_some_and(settled)
}

/// Whether any tag of a field matches. None if the request does not have the field.
fn any_matches(
    request: &Request,
    name: FieldName,
    validators: &Validators<'_>,
    comparison: Comparison,
) -> Option<bool> {
    let mut there = false;
    for value in request.fields(name) {
        there = true;
        // There is a source at this point, and `*` matches any.
        if value == b"*" {
            return Some(true);
        }
        if tags(value).any(|tag| validators.matches(&tag, comparison)) {
            return Some(true);
        }
    }
    there.then_some(false)
}

/// An entity tag, as the client sent it.
struct EntityTag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Reads a tag at the front, and returns what follows it.
    fn parse(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, text) = text.strip_prefix(b"W/").map_or((false, text), |text| (true, text));
        let text = text.strip_prefix(b"\"")?;
        let end = text.iter().position(|byte| *byte == b'"')?;
        Some((Self { weak, opaque: &text[..end] }, &text[end + 1..]))
    }
}

/// The tags of a list, up to the first invalid one. Tags may contain commas.
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
