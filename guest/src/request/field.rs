//! The header fields that mean something to the server.

use alloc::vec::Vec;

use crate::request::malformed::Malformed;
use crate::text::trim;

/// The limit on fields in a header section, as in Apache. Browsers send about twenty.
pub(crate) const FIELD_LIMIT: usize = 100;
/// The number of fields to make room for first.
pub(crate) const USUAL_FIELDS: usize = 16;

/// The fields that mean something to the server. All others are only checked for their form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldName {
    Accept,
    AcceptEncoding,
    AccessControlRequestMethod,
    Connection,
    ContentLength,
    Expect,
    Host,
    IfMatch,
    IfModifiedSince,
    IfNoneMatch,
    IfRange,
    IfUnmodifiedSince,
    Range,
    Referer,
    TransferEncoding,
    UserAgent,
}

/// The fields that hosts have dealt with which read requests themselves.
pub(crate) const OF_THE_CONNECTION: [FieldName; 5] =
    [FieldName::Connection, FieldName::ContentLength, FieldName::Expect, FieldName::Host, FieldName::TransferEncoding];

/// A part of a header section. These are much shorter than 64 KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    start: u16,
    end: u16,
}

impl Piece {
    /// The place of `part` within `whole`. An empty part may come from anywhere.
    pub(crate) fn of(part: &[u8], whole: &[u8]) -> Self {
        if part.is_empty() {
            return Self { start: 0, end: 0 };
        }
        let start = part.as_ptr() as usize - whole.as_ptr() as usize;
        Self { start: start as u16, end: (start + part.len()) as u16 }
    }

    pub(crate) fn in_bytes(self, bytes: &[u8]) -> &[u8] {
        &bytes[usize::from(self.start)..usize::from(self.end)]
    }
}

/// The fields that mean something, out of at most `LIMIT`.
pub(crate) fn fields<const LIMIT: usize>(lines: &[u8], header: &[u8]) -> Result<Vec<(FieldName, Piece)>, Malformed> {
    let mut parsed = [httparse::EMPTY_HEADER; LIMIT];
    match httparse::parse_headers(lines, &mut parsed) {
        Ok(httparse::Status::Complete((_, parsed))) => {
            let known = parsed.iter().filter_map(|field| Some((field_name(field.name)?, field.value)));
            Ok(known.map(|(name, value)| (name, Piece::of(trim(value), header))).collect())
        }
        Err(httparse::Error::TooManyHeaders) => Err(Malformed::TooManyFields),
        // The only fault left in a header section that the scanner has passed.
        Ok(httparse::Status::Partial) | Err(_) => Err(Malformed::FieldNameInvalid),
    }
}

/// The field of this name, in either case. Every field of every request comes here, and most mean nothing:
/// the length leaves one or two names to compare with.
pub(crate) fn field_name(name: &str) -> Option<FieldName> {
    let candidates: &[(&str, FieldName)] = match name.len() {
        4 => &[("host", FieldName::Host)],
        5 => &[("range", FieldName::Range)],
        6 => &[("accept", FieldName::Accept), ("expect", FieldName::Expect)],
        7 => &[("referer", FieldName::Referer)],
        8 => &[("if-match", FieldName::IfMatch), ("if-range", FieldName::IfRange)],
        10 => &[("connection", FieldName::Connection), ("user-agent", FieldName::UserAgent)],
        13 => &[("if-none-match", FieldName::IfNoneMatch)],
        14 => &[("content-length", FieldName::ContentLength)],
        15 => &[("accept-encoding", FieldName::AcceptEncoding)],
        17 => &[("if-modified-since", FieldName::IfModifiedSince), ("transfer-encoding", FieldName::TransferEncoding)],
        19 => &[("if-unmodified-since", FieldName::IfUnmodifiedSince)],
        29 => &[("access-control-request-method", FieldName::AccessControlRequestMethod)],
        _ => return None,
    };
    candidates.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, field)| *field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_found_in_either_case() {
        for (name, field) in [
            ("Accept", FieldName::Accept),
            ("Accept-Encoding", FieldName::AcceptEncoding),
            ("Access-Control-Request-Method", FieldName::AccessControlRequestMethod),
            ("CONNECTION", FieldName::Connection),
            ("content-length", FieldName::ContentLength),
            ("Expect", FieldName::Expect),
            ("hOST", FieldName::Host),
            ("If-Match", FieldName::IfMatch),
            ("If-Modified-Since", FieldName::IfModifiedSince),
            ("If-None-Match", FieldName::IfNoneMatch),
            ("If-Range", FieldName::IfRange),
            ("If-Unmodified-Since", FieldName::IfUnmodifiedSince),
            ("Range", FieldName::Range),
            ("Referer", FieldName::Referer),
            ("Transfer-Encoding", FieldName::TransferEncoding),
            ("User-Agent", FieldName::UserAgent),
        ] {
            assert_eq!(field_name(name), Some(field), "{name}");
        }
        for name in ["", "X", "hos", "hosts", "Accept-Language", "Ranges"] {
            assert_eq!(field_name(name), None, "{name}");
        }
    }
}
