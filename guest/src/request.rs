//! The head of a request: from bytes to a [`Request`], or to the name of what is wrong with it.
//!
//! Rules:
//!
//! - Strict where two readers could disagree on where something ends (RFC 9112 section 11.2): lines end
//!   with CRLF and nothing else does, a field's name touches its colon, nothing is folded. Who sends
//!   otherwise is answered once and gets no second chance on this connection.
//! - What is wrong is judged by its position, never by how the bytes happened to arrive.
//! - The bytes of the head are not copied. A request owns them, and knows where in them things are.

use alloc::string::String;
use alloc::vec::Vec;

use crate::answer::Question;
use crate::body::Framing;
use crate::reply::Status;
use crate::text::{is_token, list, printable, split_once, trim};

/// The longest request line, with its CRLF. RFC 9112 section 3 recommends at least 8,000 bytes.
const LINE_LIMIT: usize = 8 * 1024;
/// The longest head, request line and empty line included. As nginx and Apache have it, give or take;
/// what a browser sends is a tenth of it.
pub(crate) const HEAD_LIMIT: usize = 16 * 1024;
/// The most fields of one head, as Apache has it. Browsers send about twenty.
const FIELD_LIMIT: usize = 100;
/// How many fields are tried for first.
const USUAL_FIELDS: usize = 16;
/// How much of a line from the client goes into the log.
const LOG_LIMIT: usize = 2 * 1024;

/// What a client can do wrong, so that its connection cannot be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A CR without an LF after it (RFC 9112 section 2.2).
    BareCr,
    /// An LF without a CR before it. The RFC lets a server accept it; then a proxy before it may not.
    BareLf,
    /// NUL or another control character (RFC 9110 section 5.5).
    ControlCharacter,
    /// More than one empty line before a request (RFC 9112 section 2.2).
    LeadingEmptyLines,
    /// A line that goes on in the next one (RFC 9112 section 5.2).
    ObsoleteFold,
    /// A request line that is not three words with single blanks between (RFC 9112 section 3). Also what
    /// HTTP/0.9 sent.
    RequestLineInvalid,
    /// A method that is no token.
    MethodInvalid,
    /// A target of none of the four forms, of the wrong form for its method, with a fragment, or with a
    /// broken escape (RFC 9112 section 3.2).
    TargetInvalid,
    /// A path that leads out of the root (RFC 3986 section 5.2.4).
    TargetEscapes,
    /// A request line longer than 8 KiB.
    LineTooLong,
    /// A version that is not `HTTP/` digit `.` digit (RFC 9112 section 2.3).
    VersionInvalid,
    /// A version that is not 1.
    VersionUnsupported,
    /// A head longer than 16 KiB.
    HeadTooLarge,
    /// More than 100 fields.
    TooManyFields,
    /// A line without a colon, without a name, or with blanks before the colon (RFC 9112 section 5.1).
    FieldNameInvalid,
    /// HTTP/1.1 without `Host` (RFC 9112 section 3.2).
    HostMissing,
    /// More than one `Host`.
    HostRepeated,
    /// A `Host` or an authority that is not a host and perhaps a port.
    HostInvalid,
    /// A length that is not one number (RFC 9110 section 8.6).
    ContentLengthInvalid,
    /// Lengths that contradict each other.
    ContentLengthsDiffer,
    /// One length said twice. The RFC lets a server accept it; nobody sends it without a reason.
    ContentLengthRepeated,
    /// `Content-Length` next to `Transfer-Encoding` (RFC 9112 section 6.1): the classic of smuggling.
    LengthWithTransferEncoding,
    /// `Transfer-Encoding` in HTTP/1.0 (RFC 9112 section 6.1).
    TransferEncodingInOldVersion,
    /// A transfer coding that ends nowhere: `chunked` is missing, twice, or not last.
    TransferEncodingInvalid,
    /// A transfer coding other than chunked (RFC 9112 section 6.1).
    TransferEncodingUnknown,
    /// A chunk, its size, its extension or its trailer that is not as RFC 9112 section 7.1 has it.
    ChunkInvalid,
    /// A body longer than 64 KiB, for which nobody here has any use.
    BodyTooLarge,
    /// An expectation other than `100-continue` (RFC 9110 section 10.1.1).
    ExpectationUnknown,
}

impl Malformed {
    /// What the client is told.
    pub(crate) fn status(self) -> Status {
        match self {
            Self::LineTooLong => Status::UriTooLong,
            Self::HeadTooLarge | Self::TooManyFields => Status::HeadTooLarge,
            Self::VersionUnsupported => Status::VersionNotSupported,
            Self::TransferEncodingUnknown => Status::NotImplemented,
            Self::BodyTooLarge => Status::ContentTooLarge,
            Self::ExpectationUnknown => Status::ExpectationFailed,
            _ => Status::BadRequest,
        }
    }
}

/// Finds the end of a head, and looks at every byte of it once however it arrives.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    /// The byte to look at next.
    next: usize,
    /// Where the current line begins.
    line: usize,
    /// Where the request line begins: behind the empty line that is tolerated before it.
    start: usize,
}

impl Scanner {
    /// How long the head is whose first bytes these are. None: it has not ended yet. Fails at the first
    /// byte that cannot be part of a head, and says where that is.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, (Malformed, usize)> {
        loop {
            self.skip_plain(bytes);
            let Some(&byte) = bytes.get(self.next) else { return Ok(None) };
            let length = self.next + 1 - self.start;
            let refused = match (byte, bytes.get(self.next + 1)) {
                // The last byte within a limit can only be the LF that is taken together with its CR.
                _ if self.in_request_line() && length >= LINE_LIMIT => Malformed::LineTooLong,
                _ if length >= HEAD_LIMIT => Malformed::HeadTooLarge,
                (b'\r', None) => return Ok(None),
                (b'\r', Some(b'\n')) => match self.end_line(bytes) {
                    Ok(Line::Last) => return Ok(Some(self.next)),
                    Ok(Line::Other) => continue,
                    Err(malformed) => malformed,
                },
                (b'\r', Some(_)) => Malformed::BareCr,
                (b'\n', _) => Malformed::BareLf,
                (b' ' | b'\t', _) if self.next == self.line && !self.in_request_line() => Malformed::ObsoleteFold,
                (b'\t' | b' '..=b'~' | 0x80.., _) => {
                    self.next += 1;
                    continue;
                }
                _ => Malformed::ControlCharacter,
            };
            return Err((refused, self.next));
        }
    }

    /// Steps over bytes that can stand anywhere in a line, eight at a time, up to the next one that has to
    /// be looked at by itself. Most of a head is such bytes.
    fn skip_plain(&mut self, bytes: &[u8]) {
        let limit = if self.in_request_line() { LINE_LIMIT } else { HEAD_LIMIT };
        let end = bytes.len().min(self.start + limit - 1);
        // The first byte of a line may be a fold.
        if self.next == self.line {
            return;
        }
        while let Some(Some(&eight)) = bytes.get(self.next..end).map(<[u8]>::first_chunk::<8>) {
            let special = controls(u64::from_le_bytes(eight));
            if special != 0 {
                // The first byte is the lowest.
                self.next += special.trailing_zeros() as usize / 8;
                return;
            }
            self.next += 8;
        }
    }

    fn in_request_line(&self) -> bool {
        self.line == self.start
    }

    /// Ends a line of `bytes`. The request line is read as soon as it is there: who sends something
    /// else than HTTP would wait for ever for a head to end.
    fn end_line(&mut self, bytes: &[u8]) -> Result<Line, Malformed> {
        let line = &bytes[self.line..self.next];
        let ended = match (line, self.in_request_line()) {
            ([], false) => Line::Last,
            ([], true) if self.start > 0 => return Err(Malformed::LeadingEmptyLines),
            ([], true) => {
                self.start = self.next + 2;
                Line::Other
            }
            (_, true) => {
                request_line(line)?;
                Line::Other
            }
            (_, false) => Line::Other,
        };
        self.next += 2;
        self.line = self.next;
        Ok(ended)
    }

    /// Whether nothing has come yet but the empty line that is tolerated before a request.
    pub(crate) fn is_idle(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.start
    }
}

/// Of eight bytes, marks those that are below a blank or DEL, by their highest bit. What is marked above
/// the lowest mark may be wrong, because the subtractions carry.
fn controls(eight: u64) -> u64 {
    const EACH: u64 = u64::from_le_bytes([1; 8]);
    let below_blank = eight.wrapping_sub(EACH * 0x20) & !eight;
    let less_del = eight ^ (EACH * 0x7f);
    let del = less_del.wrapping_sub(EACH) & !less_del;
    (below_blank | del) & (EACH * 0x80)
}

/// What a line that has just ended means for the head.
enum Line {
    /// The empty one behind the fields.
    Last,
    Other,
}

/// The methods, as far as the server tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Options,
    /// One that the server knows and does not have: 405.
    Refused,
    /// One that the server has never heard of: 501.
    Unknown,
}

impl Method {
    /// Methods are case-sensitive (RFC 9110 section 9.1).
    pub(crate) fn of(token: &[u8]) -> Self {
        match token {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"OPTIONS" => Self::Options,
            // RFC 9110, RFC 5789 and WebDAV (RFC 4918, 3253, 3648, 3744, 5323).
            b"POST" | b"PUT" | b"DELETE" | b"PATCH" | b"TRACE" | b"CONNECT" | b"PROPFIND" | b"PROPPATCH" | b"MKCOL"
            | b"COPY" | b"MOVE" | b"LOCK" | b"UNLOCK" | b"REPORT" | b"SEARCH" | b"ACL" | b"ORDERPATCH" | b"CHECKIN"
            | b"CHECKOUT" | b"UNCHECKOUT" | b"LABEL" | b"UPDATE" | b"MERGE" | b"VERSION-CONTROL" | b"MKACTIVITY"
            | b"MKWORKSPACE" | b"BASELINE-CONTROL" => Self::Refused,
            _ => Self::Unknown,
        }
    }

    /// Whether the server reads the body of such a request, to come to the next one.
    pub(crate) fn is_served(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options)
    }
}

/// The versions that make a difference. A minor version above 1 counts as 1 (RFC 9110 section 2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    Http11,
}

/// What a client expects of the server before it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expectation {
    Nothing,
    /// An interim reply that tells it to send the body.
    Continue,
}

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
const OF_THE_CONNECTION: [FieldName; 5] =
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
struct Piece {
    start: u16,
    end: u16,
}

impl Piece {
    /// Where `part` is in `whole`, of which it is a piece. An empty part may come from anywhere.
    fn of(part: &[u8], whole: &[u8]) -> Self {
        if part.is_empty() {
            return Self { start: 0, end: 0 };
        }
        let start = part.as_ptr() as usize - whole.as_ptr() as usize;
        Self { start: start as u16, end: (start + part.len()) as u16 }
    }

    fn in_bytes(self, bytes: &[u8]) -> &[u8] {
        &bytes[usize::from(self.start)..usize::from(self.end)]
    }
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
    pub(crate) fn asked(question: &Question<'_>) -> Result<Self, Malformed> {
        let mut head = Vec::with_capacity(512);
        for word in [question.method, " ", question.target] {
            head.extend_from_slice(word.as_bytes());
        }
        // For whom it is has been settled, and nothing depends on it.
        head.extend_from_slice(b" HTTP/1.1\r\nHost: here\r\n");
        let of_the_connection = |name: &str| {
            let known = field_name(name);
            known.is_some_and(|known| OF_THE_CONNECTION.contains(&known))
        };
        for (name, value) in question.fields.iter().filter(|(name, _)| !of_the_connection(name)) {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n");
        // A line end within a word would make two lines of one.
        let lines = head.iter().filter(|byte| **byte == b'\n').count();
        let kept = question.fields.iter().filter(|(name, _)| !of_the_connection(name)).count();
        if lines != kept + 3 {
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

    /// How the body is framed that comes next. None: there is none.
    pub(crate) fn framing(&self) -> Result<Option<Framing>, Malformed> {
        Framing::of(self)
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

/// The fields that mean something, of at most `LIMIT`.
fn fields<const LIMIT: usize>(lines: &[u8], head: &[u8]) -> Result<Vec<(FieldName, Piece)>, Malformed> {
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

/// The request line of a head that the scanner has passed, and what comes behind it. Every line ends with
/// CRLF, and an empty one may stand before the first.
fn first_line(head: &[u8]) -> (&[u8], &[u8]) {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    let (line, rest) = split_once(head, b'\n').unwrap_or((head, b""));
    (line.strip_suffix(b"\r").unwrap_or(line), rest)
}

fn request_line(line: &[u8]) -> Result<(Method, &[u8], Version), Malformed> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Malformed::RequestLineInvalid);
    };
    if !is_token(method) {
        return Err(Malformed::MethodInvalid);
    }
    if target.is_empty() || target.contains(&b'\t') {
        return Err(Malformed::TargetInvalid);
    }
    let version = match version {
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Version::Http11,
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            return Err(Malformed::VersionUnsupported);
        }
        _ => return Err(Malformed::VersionInvalid),
    };
    Ok((Method::of(method), target, version))
}

fn field_name(name: &str) -> Option<FieldName> {
    let known = FIELD_NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.map(|(_, name)| *name)
}

fn check_host<'a>(mut values: impl Iterator<Item = &'a [u8]>, version: Version) -> Result<(), Malformed> {
    match (values.next(), values.next()) {
        (None, _) if version == Version::Http10 => Ok(()),
        (None, _) => Err(Malformed::HostMissing),
        (Some(_), Some(_)) => Err(Malformed::HostRepeated),
        (Some(host), None) if is_authority(host) => Ok(()),
        (Some(_), None) => Err(Malformed::HostInvalid),
    }
}

/// Whether this is a host and perhaps a port (RFC 9110 section 4.2.1: the host is not empty).
pub(crate) fn is_authority(text: &[u8]) -> bool {
    let is_port = |port: &[u8]| port.iter().all(u8::is_ascii_digit);
    if let Some(address) = text.strip_prefix(b"[") {
        let Some((address, port)) = split_once(address, b']') else {
            return false;
        };
        let is_address = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        return !address.is_empty()
            && address.iter().all(is_address)
            && (port.is_empty() || port.strip_prefix(b":").is_some_and(is_port));
    }
    let (host, port) = split_once(text, b':').unwrap_or((text, b""));
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(byte);
    !host.is_empty() && host.iter().all(is_host) && is_port(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bytes_at_once_find_the_first_control_character_that_one_by_one_finds() {
        let others = *b"a~ \x80\xff!\x21\xa0";
        for place in 0..8 {
            for byte in 0..=u8::MAX {
                for behind in [b'a', 0, 0x1f, 0x7f, 0xff] {
                    let mut eight = others;
                    eight[place] = byte;
                    eight[place + 1..].fill(behind);
                    let first = eight.iter().position(|byte| *byte < b' ' || *byte == 0x7f);
                    let marks = controls(u64::from_le_bytes(eight));
                    let marked = (marks != 0).then(|| marks.trailing_zeros() as usize / 8);
                    assert_eq!(marked, first, "{eight:?}");
                }
            }
        }
    }
}
