//! What the client prefers: `Accept` and `Accept-Encoding` (RFC 9110 sections 12.4.2, 12.5.1, 12.5.3).

use crate::request::field::FieldName;
use crate::request::header_section::Request;
use crate::text::{decimal, list, split_once, trim};

/// A weight in thousandths. 0: not acceptable.
type Weight = u16;

/// A way to compress, which a sibling of a source may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Brotli,
    Zstd,
    Gzip,
}

impl Coding {
    /// In the order in which they are taken where the client does not care: the smallest first.
    const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// What `Content-Encoding` says.
    pub(crate) fn token(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// How the name of a sibling ends.
    pub(crate) fn ending(self) -> &'static [u8] {
        match self {
            Self::Brotli => b".br",
            Self::Zstd => b".zst",
            Self::Gzip => b".gz",
        }
    }
}

/// Codings to try, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Codings([Option<Coding>; 3]);

impl Codings {
    /// What the client takes, except where it likes the bare source better. A client that says nothing
    /// gets none: RFC 9110 would allow any, and no server does it.
    pub(crate) fn of(request: &Request) -> Self {
        let members = || request.fields(FieldName::AcceptEncoding).flat_map(list).map(weighted);
        let weight_of = |coding: &str| {
            let named = members().find(|(name, _)| name.eq_ignore_ascii_case(coding.as_bytes()));
            named.map(|(_, weight)| weight)
        };
        let any = weight_of("*").unwrap_or(0);
        let bare = weight_of("identity").unwrap_or(0);
        let mut codings = [None; 3];
        let mut weights = [0; 3];
        for coding in Coding::ALL {
            let weight = weight_of(coding.token()).unwrap_or(any);
            if weight == 0 || weight < bare {
                continue;
            }
            let place = weights.iter().position(|better| *better < weight).unwrap_or(2);
            weights[place..].rotate_right(1);
            codings[place..].rotate_right(1);
            (weights[place], codings[place]) = (weight, Some(coding));
        }
        Self(codings)
    }
}

impl Iterator for Codings {
    type Item = Coding;

    fn next(&mut self) -> Option<Coding> {
        self.0.rotate_left(1);
        self.0[2].take()
    }
}

/// Whether the client would sooner have `this` than `that`. Both are media types without parameters.
pub(crate) fn prefers(request: &Request, this: &str, that: &str) -> bool {
    media_weight(request, this) > media_weight(request, that)
}

/// Whether the client names HTML among what it takes, as browsers do for pages and nothing else does.
pub(crate) fn names_html(request: &Request) -> bool {
    let mut ranges = request.fields(FieldName::Accept).flat_map(list).map(weighted);
    ranges.any(|(range, weight)| weight > 0 && range.eq_ignore_ascii_case(b"text/html"))
}

/// The weight of the most specific range that has the type (RFC 9110 section 12.5.1). A client that says
/// nothing takes anything.
fn media_weight(request: &Request, media_type: &str) -> Weight {
    let media_type = media_type.as_bytes();
    let mut ranges = request.fields(FieldName::Accept).flat_map(list).map(weighted).peekable();
    if ranges.peek().is_none() {
        return 1_000;
    }
    let mut best = (0, 0);
    for (range, weight) in ranges {
        let specific = match range {
            b"*/*" => 1,
            [kind @ .., b'*'] if media_type.starts_with(kind) && kind.ends_with(b"/") => 2,
            _ if range.eq_ignore_ascii_case(media_type) => 3,
            _ => continue,
        };
        if specific > best.0 {
            best = (specific, weight);
        }
    }
    best.1
}

/// A member of a list and its weight: `gzip;q=0.5`. A weight that is none counts as 0.
fn weighted(member: &[u8]) -> (&[u8], Weight) {
    let mut parts = member.split(|byte| *byte == b';').map(trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| match part {
        [b'q' | b'Q', b'=', weight @ ..] => Some(thousandths(weight).unwrap_or(0)),
        _ => None,
    });
    (name, weight.unwrap_or(1_000))
}

/// `1`, `0.5`, `0.123`: at most three digits behind the point.
fn thousandths(weight: &[u8]) -> Option<Weight> {
    let (whole, fraction) = split_once(weight, b'.').unwrap_or((weight, b""));
    let whole = match whole {
        b"0" => 0,
        b"1" => 1_000,
        _ => return None,
    };
    let parts = match fraction.len() {
        0 => 0,
        length @ 1..=3 => decimal(fraction)? as Weight * [100, 10, 1][length - 1],
        _ => return None,
    };
    Some(whole + parts).filter(|weight| *weight <= 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn request(field: &str) -> Request {
        let head = alloc::format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
        Request::parse(head.into_bytes()).expect("a request in order")
    }

    #[track_caller]
    fn check(accept_encoding: &str, expected: &[Coding]) {
        let mut field = String::from("Accept-Encoding: ");
        field.push_str(accept_encoding);
        let codings: Vec<_> = Codings::of(&request(&field)).collect();
        assert_eq!(codings, expected, "{accept_encoding}");
    }

    #[test]
    fn the_weight_decides_and_then_the_size() {
        use Coding::{Brotli, Gzip, Zstd};
        check("gzip, deflate, br, zstd", &[Brotli, Zstd, Gzip]);
        check("gzip;q=1.0, br;q=0.5", &[Gzip, Brotli]);
        check("GZIP", &[Gzip]);
        check("*", &[Brotli, Zstd, Gzip]);
        check("*;q=0.5, gzip", &[Gzip, Brotli, Zstd]);
        check("br;q=0, *", &[Zstd, Gzip]);
        check("gzip;q=0.2, br;q=0.3, zstd;q=0.1", &[Brotli, Gzip, Zstd]);
    }

    #[test]
    fn nothing_is_compressed_for_who_does_not_want_it() {
        check("", &[]);
        check("identity", &[]);
        check("deflate", &[]);
        check("gzip;q=0", &[]);
        check("gzip;q=nonsense", &[]);
        check("gzip;q=1.001", &[]);
        check("identity, gzip;q=0.5", &[]);
        assert_eq!(Codings::of(&request("X: y")).next(), None);
    }

    #[test]
    fn the_most_specific_range_gives_the_weight() {
        let html_first = |accept: &str| prefers(&request(accept), "text/html", "text/plain");
        assert!(html_first("Accept: text/html,application/xml;q=0.9,*/*;q=0.8"));
        assert!(html_first("Accept: text/*;q=0.5, text/html"));
        assert!(html_first("Accept: text/plain;q=0.5, */*"));
        assert!(!html_first("Accept: */*"));
        assert!(!html_first("Accept: text/html;q=0.1, text/*"));
        assert!(!html_first("X: y"));
    }
}
