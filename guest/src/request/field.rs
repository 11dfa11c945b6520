//! The fields of a header section that mean something to the server.

use alloc::vec::Vec;

use crate::request::malformed::Malformed;
use crate::text::trim;

/// The most fields of one head, as Apache has it. Browsers send about twenty.
pub(crate) const FIELD_LIMIT: usize = 100;
/// How many fields are tried for first.
pub(crate) const USUAL_FIELDS: usize = 16;

/// The fields that mean something to the server. All others are checked for their form and forgotten.
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

/// The fields that a host which reads requests itself has dealt with.
pub(crate) const OF_THE_CONNECTION: [FieldName; 5] =
    [FieldName::Connection, FieldName::ContentLength, FieldName::Expect, FieldName::Host, FieldName::TransferEncoding];

const FIELD_NAMES: [(&str, FieldName); 16] = [
    ("accept", FieldName::Accept),
    ("accept-encoding", FieldName::AcceptEncoding),
    ("access-control-request-method", FieldName::AccessControlRequestMethod),
    ("connection", FieldName::Connection),
    ("content-length", FieldName::ContentLength),
    ("expect", FieldName::Expect),
    ("host", FieldName::Host),
    ("if-match", FieldName::IfMatch),
    ("if-modified-since", FieldName::IfModifiedSince),
    ("if-none-match", FieldName::IfNoneMatch),
    ("if-range", FieldName::IfRange),
    ("if-unmodified-since", FieldName::IfUnmodifiedSince),
    ("range", FieldName::Range),
    ("referer", FieldName::Referer),
    ("transfer-encoding", FieldName::TransferEncoding),
    ("user-agent", FieldName::UserAgent),
];

/// A part of the head's bytes. Heads are shorter than 64 KiB by far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    start: u16,
    end: u16,
}

impl Piece {
    /// Where `part` is in `whole`, of which it is a piece. An empty part may come from anywhere.
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

/// The fields that mean something, of at most `LIMIT`.
pub(crate) fn fields<const LIMIT: usize>(lines: &[u8], head: &[u8]) -> Result<Vec<(FieldName, Piece)>, Malformed> {
    let mut parsed = [httparse::EMPTY_HEADER; LIMIT];
    match httparse::parse_headers(lines, &mut parsed) {
        Ok(httparse::Status::Complete((_, parsed))) => {
            let known = parsed.iter().filter_map(|field| Some((field_name(field.name)?, field.value)));
            Ok(known.map(|(name, value)| (name, Piece::of(trim(value), head))).collect())
        }
        Err(httparse::Error::TooManyHeaders) => Err(Malformed::TooManyFields),
        // All that is left to be wrong in a head that the scanner has passed.
        Ok(httparse::Status::Partial) | Err(_) => Err(Malformed::FieldNameInvalid),
    }
}

pub(crate) fn field_name(name: &str) -> Option<FieldName> {
    let known = FIELD_NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.map(|(_, name)| *name)
}
