//! `Range`: which parts of a source the client wants (RFC 9110 section 14).
//!
//! Rules:
//!
//! - Units other than bytes are ignored, as the RFC demands. Invalid byte ranges are rejected with 416, as in
//!   nginx and Go.
//! - Parts that touch or overlap are joined. They come in the order in which the client asked for them.
//! - Nobody gets more by asking for parts than by asking for the whole: more than 24 parts, or more bytes
//!   than the source has, are answered with the whole.

use alloc::vec::Vec;

use crate::contract::{Span, Window};
use crate::text::{list, split_once, trim};

/// The limit on parts in one response. Each costs two of the 64 actions of a list, and fields of its own. Players ask
/// for one, PDF readers for a few, zsync for 20, and it gives up when it gets the whole.
const PART_LIMIT: usize = 24;

/// The meaning of a `Range`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Everything. The field is ignored.
    Whole,
    /// One part, at least one byte long.
    Part(Span),
    /// Several parts that do not touch.
    Parts(Vec<Span>),
    /// None of the bytes exists.
    Unsatisfiable,
}

/// Reads a `Range` for a source of `size` bytes.
pub(crate) fn wanted(value: &[u8], size: u64) -> Wanted {
    let Some(ranges) = bytes_ranges(value) else {
        return Wanted::Whole;
    };
    let mut spans: Vec<Span> = Vec::new();
    let mut total: u64 = 0;
    let mut number = 0;
    for range in list(ranges) {
        let Some(range) = Range::parse(range) else {
            return Wanted::Unsatisfiable;
        };
        number += 1;
        if let Some(span) = range.within(size) {
            total = total.saturating_add(span.count);
            if number <= PART_LIMIT {
                insert(&mut spans, span);
            }
        }
    }
    match spans.as_slice() {
        _ if number > PART_LIMIT || total > size => Wanted::Whole,
        [] => Wanted::Unsatisfiable,
        [part] => Wanted::Part(*part),
        _ => Wanted::Parts(spans),
    }
}

/// Reads a `Range` for a source that still grows: one part, with both ends in the window. None: the field is
/// ignored.
pub(crate) fn within_window(value: &[u8], window: Window) -> Option<Span> {
    let Range::Between { first, last: Some(last) } = Range::parse(trim(bytes_ranges(value)?))? else {
        return None;
    };
    let there = window.start <= first && last < window.end;
    there.then(|| Span { offset: first, count: last - first + 1 })
}

/// What follows `bytes=`. Units are case-insensitive (RFC 9110 section 14.1).
fn bytes_ranges(value: &[u8]) -> Option<&[u8]> {
    let (unit, ranges) = split_once(value, b'=')?;
    unit.eq_ignore_ascii_case(b"bytes").then_some(ranges)
}

/// One range, as it is written.
enum Range {
    /// `first-last`, or `first-` up to the end.
    Between { first: u64, last: Option<u64> },
    /// `-count`: the last `count` bytes.
    Suffix(u64),
}

impl Range {
    fn parse(text: &[u8]) -> Option<Self> {
        match split_once(text, b'-')? {
            (b"", count) => Some(Self::Suffix(position(count)?)),
            (first, b"") => Some(Self::Between { first: position(first)?, last: None }),
            (first, last) => {
                let (first, last) = (position(first)?, position(last)?);
                (first <= last).then_some(Self::Between { first, last: Some(last) })
            }
        }
    }

    /// The part of a source of this size. None if no byte of it exists.
    fn within(&self, size: u64) -> Option<Span> {
        let (first, end) = match *self {
            Self::Between { first, last } => (first, last.map_or(size, |last| last.saturating_add(1).min(size))),
            Self::Suffix(count) => (size.saturating_sub(count), size),
        };
        (first < end).then(|| Span { offset: first, count: end - first })
    }
}

/// Reads a position. One that does not fit 64 bits is past any end.
fn position(digits: &[u8]) -> Option<u64> {
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    valid.then(|| {
        let digit = |digit: &u8| u64::from(digit - b'0');
        digits.iter().fold(0, |number: u64, next| number.saturating_mul(10).saturating_add(digit(next)))
    })
}

/// Adds a span, joined with all that it touches, in the place of the first of them.
fn insert(spans: &mut Vec<Span>, mut span: Span) {
    let mut place = spans.len();
    while let Some(index) = spans.iter().position(|other| touch(other, &span)) {
        let other = spans.remove(index);
        let offset = other.offset.min(span.offset);
        span = Span { offset, count: other.end().max(span.end()) - offset };
        place = place.min(index);
    }
    spans.insert(place.min(spans.len()), span);
}

fn touch(one: &Span, other: &Span) -> bool {
    one.offset <= other.end() && other.offset <= one.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Wanted::{Unsatisfiable, Whole};

    fn part(offset: u64, count: u64) -> Wanted {
        Wanted::Part(Span { offset, count })
    }

    fn parts(parts: &[(u64, u64)]) -> Wanted {
        Wanted::Parts(parts.iter().map(|&(offset, count)| Span { offset, count }).collect())
    }

    #[track_caller]
    fn check(value: &str, size: u64, expected: Wanted) {
        assert_eq!(wanted(value.as_bytes(), size), expected, "{value} of {size}");
    }

    /// RFC 9110 section 14.1.2.
    #[test]
    fn one_part_is_cut_to_what_is_there() {
        check("bytes=0-499", 10_000, part(0, 500));
        check("bytes=500-999", 10_000, part(500, 500));
        check("bytes=-500", 10_000, part(9_500, 500));
        check("bytes=9500-", 10_000, part(9_500, 500));
        check("bytes=0-0", 10_000, part(0, 1));
        check("bytes=9999-20000", 10_000, part(9_999, 1));
        check("bytes=-20000", 10_000, part(0, 10_000));
        check("BYTES=0-0", 10_000, part(0, 1));
        check("bytes= 0-0 ,", 10_000, part(0, 1));
    }

    #[test]
    fn what_is_not_there_is_unsatisfiable() {
        check("bytes=10000-", 10_000, Unsatisfiable);
        check("bytes=-0", 10_000, Unsatisfiable);
        check("bytes=0-", 0, Unsatisfiable);
        check("bytes=-1", 0, Unsatisfiable);
        check("bytes=10000-, 20000-", 10_000, Unsatisfiable);
    }

    #[test]
    fn numbers_of_any_size_do_not_overflow() {
        check("bytes=0-18446744073709551615", 10, part(0, 10));
        check("bytes=0-99999999999999999999999999", 10, part(0, 10));
        check("bytes=99999999999999999999999999-", 10, Unsatisfiable);
        check("bytes=-99999999999999999999999999", 10, part(0, 10));
        check("bytes=0-18446744073709551615", u64::MAX, part(0, u64::MAX));
    }

    #[test]
    fn another_unit_is_ignored_and_nonsense_is_refused() {
        check("seconds=0-1", 10, Whole);
        check("bytes", 10, Whole);
        for value in [
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-4",
            "bytes=1",
            "bytes=+1-2",
            "bytes=0 -1",
            "bytes=0-1, x",
            "bytes=--1",
            "bytes=0-1-2",
        ] {
            check(value, 10, Unsatisfiable);
        }
    }

    /// RFC 9110 section 15.3.7.2.
    #[test]
    fn parts_that_touch_are_one_and_the_order_stays() {
        check("bytes=0-1,4-5", 10, parts(&[(0, 2), (4, 2)]));
        check("bytes=8-9,0-1", 10, parts(&[(8, 2), (0, 2)]));
        check("bytes=0-1,2-3", 10, part(0, 4));
        check("bytes=0-3,1-2", 10, part(0, 4));
        check("bytes=0-0,4-4,2-2,1-3", 10, part(0, 5));
        check("bytes=8-8,0-0,4-4,1-2", 10, parts(&[(8, 1), (0, 3), (4, 1)]));
        check("bytes=0-1,99-", 10, part(0, 2));
    }

    #[test]
    fn asking_for_parts_never_gives_more_than_the_whole() {
        check("bytes=0-,0-", 10, Whole);
        check("bytes=0-8,1-9", 10, Whole);
        // One more than there may be.
        let mut many = b"bytes=0-0".to_vec();
        (0..PART_LIMIT).for_each(|_| many.extend_from_slice(b",2-2"));
        assert_eq!(wanted(&many, 100), Whole);
    }

    #[test]
    fn of_a_growing_source_only_what_is_there_can_be_asked_for() {
        let window = Window { start: 10, end: 20, is_final: false };
        let check = |value: &str| within_window(value.as_bytes(), window);
        assert_eq!(check("bytes=10-19"), Some(Span { offset: 10, count: 10 }));
        for value in ["bytes=9-12", "bytes=10-20", "bytes=12-", "bytes=-5", "bytes=10-11,13-14", "x=10-11"] {
            assert_eq!(check(value), None, "{value}");
        }
    }
}
