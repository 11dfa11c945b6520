//! The header section of a request: from bytes to a [`Request`], or to what is wrong with it.
//!
//! Rule: the bytes are not copied. A request owns them, and knows where its parts are.

use alloc::string::String;
use alloc::vec::Vec;

use crate::request::authority::check_host;
use crate::request::field::{FIELD_LIMIT, FieldName, OF_THE_CONNECTION, Piece, USUAL_FIELDS, field_name, fields};
use crate::request::line::{Method, Version, first_line, request_line};
use crate::request::malformed::Malformed;
use crate::request::scan::Scanner;
use crate::text::{list, printable, split_once, trim};

/// The limit on a line from the client in the log.
const LOG_LIMIT: usize = 2 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expectation {
    Nothing,
    /// An interim response that tells it to send the body.
    Continue,
}

/// A well-formed header section.
#[derive(Debug)]
pub(crate) struct Request {
    header: Vec<u8>,
    pub(crate) method: Method,
    pub(crate) version: Version,
    line: Piece,
    target: Piece,
    fields: Vec<(FieldName, Piece)>,
}

impl Request {
    /// Parses a whole header section, as the scanner found it. Returns the bytes if it is malformed.
    pub(crate) fn parse(header: Vec<u8>) -> Result<Self, (Malformed, Vec<u8>)> {
        match parts(&header) {
            Ok((method, version, line, target, fields)) => Ok(Self { header, method, version, line, target, fields }),
            Err(malformed) => Err((malformed, header)),
        }
    }

    /// A request that a host has read. It gets the same scrutiny as one from a socket: this writes the header
    /// section that it would have had, and parses that.
    pub(crate) fn written(method: &str, target: &str, fields: &[(String, Vec<u8>)]) -> Result<Self, Malformed> {
        let mut header = Vec::with_capacity(512);
        for word in [method, " ", target] {
            header.extend_from_slice(word.as_bytes());
        }
        // HTTP/1.0 needs no `Host`: the host has settled whom the request is for.
        header.extend_from_slice(b" HTTP/1.0\r\n");
        let of_the_connection = |name: &str| {
            let known = field_name(name);
            known.is_some_and(|known| OF_THE_CONNECTION.contains(&known))
        };
        for (name, value) in fields.iter().filter(|(name, _)| !of_the_connection(name)) {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                header.extend_from_slice(part);
            }
        }
        header.extend_from_slice(b"\r\n");
        // A line end within a word would split a line in two.
        let lines = header.iter().filter(|byte| **byte == b'\n').count();
        let kept = fields.iter().filter(|(name, _)| !of_the_connection(name)).count();
        if lines != kept + 2 {
            return Err(Malformed::ControlCharacter);
        }
        match Scanner::default().scan(&header) {
            Ok(Some(end)) if end == header.len() => Self::parse(header).map_err(|(malformed, _)| malformed),
            Ok(_) => Err(Malformed::ControlCharacter),
            Err((malformed, _)) => Err(malformed),
        }
    }

    /// The bytes, when nothing else of the request is needed.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.header
    }

    /// The request line, as it was sent.
    pub(crate) fn line(&self) -> &[u8] {
        self.line.in_bytes(&self.header)
    }

    /// The request target, as it was sent.
    pub(crate) fn target(&self) -> &[u8] {
        self.target.in_bytes(&self.header)
    }

    /// The values of a field, in order.
    pub(crate) fn fields(&self, name: FieldName) -> impl Iterator<Item = &[u8]> {
        let of_that_name = self.fields.iter().filter(move |(field, _)| *field == name);
        of_that_name.map(|(_, place)| place.in_bytes(&self.header))
    }

    /// Every field, including those that mean nothing to the server: name and value, in order.
    pub(crate) fn all_fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let (_, lines) = first_line(&self.header);
        let fields = lines.split(|byte| *byte == b'\n').filter_map(|line| split_once(line, b':'));
        fields.map(|(name, value)| (name, trim(value.strip_suffix(b"\r").unwrap_or(value))))
    }

    /// The value of a field that may occur only once. None if it occurs twice.
    pub(crate) fn field(&self, name: FieldName) -> Option<&[u8]> {
        let mut values = self.fields(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// What the client waits for before it sends the body.
    pub(crate) fn expectation(&self) -> Result<Expectation, Malformed> {
        // In HTTP/1.0 the field means nothing (RFC 9110 section 10.1.1).
        if self.version == Version::Http10 {
            return Ok(Expectation::Nothing);
        }
        let mut expectation = Expectation::Nothing;
        for expected in self.fields(FieldName::Expect).flat_map(list) {
            if !expected.eq_ignore_ascii_case(b"100-continue") {
                return Err(Malformed::ExpectationUnknown);
            }
            expectation = Expectation::Continue;
        }
        Ok(expectation)
    }

    /// Whether the client wants to send more requests on this connection (RFC 9112 section 9.3).
    pub(crate) fn is_persistent(&self) -> bool {
        let says = |option: &[u8]| {
            let mut options = self.fields(FieldName::Connection).flat_map(list);
            options.any(|said| said.eq_ignore_ascii_case(option))
        };
        match self.version {
            Version::Http11 => !says(b"close"),
            Version::Http10 => says(b"keep-alive") && !says(b"close"),
        }
    }

    /// The request line, for the log.
    pub(crate) fn line_for_log(&self) -> String {
        printable(self.line(), LOG_LIMIT)
    }

    /// The value of a field, for the log. Empty if the client did not send it.
    pub(crate) fn field_for_log(&self, name: FieldName) -> String {
        printable(self.field(name).unwrap_or_default(), LOG_LIMIT)
    }
}

/// The request line of a malformed header section, for the log, as far as it goes.
pub(crate) fn line_for_log(bytes: &[u8]) -> String {
    let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next();
    printable(line.unwrap_or_default(), LOG_LIMIT)
}

type Parts = (Method, Version, Piece, Piece, Vec<(FieldName, Piece)>);

fn parts(header: &[u8]) -> Result<Parts, Malformed> {
    let (line, rest) = first_line(header);
    let (method, target, version) = request_line(line)?;
    // To make room for many fields costs as much as to read a few.
    let fields = match fields::<USUAL_FIELDS>(rest, header) {
        Err(Malformed::TooManyFields) => fields::<FIELD_LIMIT>(rest, header),
        fields => fields,
    }?;
    let host = fields.iter().filter(|(name, _)| *name == FieldName::Host);
    check_host(host.map(|(_, place)| place.in_bytes(header)), version)?;
    Ok((method, version, Piece::of(line, header), Piece::of(target, header), fields))
}
