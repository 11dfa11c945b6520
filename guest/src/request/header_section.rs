//! The header section of a request: from bytes to a [`Request`], or to the name of what is wrong with it.
//!
//! Rule: the bytes are not copied. A request owns them, and knows where in them things are.

use alloc::string::String;
use alloc::vec::Vec;

use crate::request::authority::check_host;
use crate::request::field::{FIELD_LIMIT, FieldName, OF_THE_CONNECTION, Piece, USUAL_FIELDS, field_name, fields};
use crate::request::line::{Method, Version, first_line, request_line};
use crate::request::malformed::Malformed;
use crate::request::scan::Scanner;
use crate::text::{list, printable, split_once, trim};

/// How much of a line from the client goes into the log.
const LOG_LIMIT: usize = 2 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expectation {
    Nothing,
    /// An interim response that tells it to send the body.
    Continue,
}

/// The head of a request that is in order.
#[derive(Debug)]
pub(crate) struct Request {
    head: Vec<u8>,
    pub(crate) method: Method,
    pub(crate) version: Version,
    line: Piece,
    target: Piece,
    fields: Vec<(FieldName, Piece)>,
}

impl Request {
    /// Reads a whole head, as the scanner found it. Gives the head back where it is not in order.
    pub(crate) fn parse(head: Vec<u8>) -> Result<Self, (Malformed, Vec<u8>)> {
        match parts(&head) {
            Ok((method, version, line, target, fields)) => Ok(Self { head, method, version, line, target, fields }),
            Err(malformed) => Err((malformed, head)),
        }
    }

    /// The request that a host has read itself. It goes through the same hands as one from a socket, and
    /// has to bear the same scrutiny: the head that it would have been is written, and read.
    pub(crate) fn written(method: &str, target: &str, fields: &[(String, Vec<u8>)]) -> Result<Self, Malformed> {
        let mut head = Vec::with_capacity(512);
        for word in [method, " ", target] {
            head.extend_from_slice(word.as_bytes());
        }
        // The version that needs no `Host`: for whom it is has been settled.
        head.extend_from_slice(b" HTTP/1.0\r\n");
        let of_the_connection = |name: &str| {
            let known = field_name(name);
            known.is_some_and(|known| OF_THE_CONNECTION.contains(&known))
        };
        for (name, value) in fields.iter().filter(|(name, _)| !of_the_connection(name)) {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n");
        // A line end within a word would make two lines of one.
        let lines = head.iter().filter(|byte| **byte == b'\n').count();
        let kept = fields.iter().filter(|(name, _)| !of_the_connection(name)).count();
        if lines != kept + 2 {
            return Err(Malformed::ControlCharacter);
        }
        match Scanner::default().scan(&head) {
            Ok(Some(end)) if end == head.len() => Self::parse(head).map_err(|(misdeed, _)| misdeed),
            Ok(_) => Err(Malformed::ControlCharacter),
            Err((misdeed, _)) => Err(misdeed),
        }
    }

    /// The bytes of the head, once nothing else of the request is needed.
    pub(crate) fn into_head(self) -> Vec<u8> {
        self.head
    }

    /// The request line, as it was sent.
    pub(crate) fn line(&self) -> &[u8] {
        self.line.in_bytes(&self.head)
    }

    /// The request target, as it was sent.
    pub(crate) fn target(&self) -> &[u8] {
        self.target.in_bytes(&self.head)
    }

    /// The values of a field, in order.
    pub(crate) fn fields(&self, name: FieldName) -> impl Iterator<Item = &[u8]> {
        let of_that_name = self.fields.iter().filter(move |(field, _)| *field == name);
        of_that_name.map(|(_, place)| place.in_bytes(&self.head))
    }

    /// Every field, also one that means nothing to the server: name and value, in order.
    pub(crate) fn all_fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let (_, lines) = first_line(&self.head);
        let fields = lines.split(|byte| *byte == b'\n').filter_map(|line| split_once(line, b':'));
        fields.map(|(name, value)| (name, trim(value.strip_suffix(b"\r").unwrap_or(value))))
    }

    /// The value of a field that makes sense only once. Said twice, it says nothing.
    pub(crate) fn field(&self, name: FieldName) -> Option<&[u8]> {
        let mut values = self.fields(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// What the client waits for before it sends the body.
    pub(crate) fn expectation(&self) -> Result<Expectation, Malformed> {
        // RFC 9110 section 10.1.1: in HTTP/1.0 the field means nothing.
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

    /// A field's value, for the log. Empty: not said.
    pub(crate) fn field_for_log(&self, name: FieldName) -> String {
        printable(self.field(name).unwrap_or_default(), LOG_LIMIT)
    }
}

/// The request line of a head that is not in order, as far as there is one, for the log.
pub(crate) fn line_for_log(bytes: &[u8]) -> String {
    let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next();
    printable(line.unwrap_or_default(), LOG_LIMIT)
}

type Parts = (Method, Version, Piece, Piece, Vec<(FieldName, Piece)>);

fn parts(head: &[u8]) -> Result<Parts, Malformed> {
    let (line, rest) = first_line(head);
    let (method, target, version) = request_line(line)?;
    // Room for many fields costs as much as reading a few.
    let fields = match fields::<USUAL_FIELDS>(rest, head) {
        Err(Malformed::TooManyFields) => fields::<FIELD_LIMIT>(rest, head),
        fields => fields,
    }?;
    let host = fields.iter().filter(|(name, _)| *name == FieldName::Host);
    check_host(host.map(|(_, place)| place.in_bytes(head)), version)?;
    Ok((method, version, Piece::of(line, head), Piece::of(target, head), fields))
}
