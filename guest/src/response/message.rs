//! Responses: header section and body, and how they are put on the wire.
//!
//! Rule: the fields that frame a body are written in one place, from the body itself. A header section
//! therefore cannot promise a length that its body does not have, nor two lengths, nor one where none is
//! allowed.

use alloc::string::String;
use alloc::vec::Vec;

use crate::contract::{Instant, Listing, Portion, Refusal, Settings};
use crate::date::{self, Seconds, seconds};
use crate::plan::{Flow, Plan, Then};
use crate::request::{Method, Request, Version};
use crate::response::body::{Body, Piece};
use crate::response::listing::{ListingBody, Needs};
use crate::response::sending::Sending;
use crate::response::stream::Delimiter;
use crate::status::Status;
use crate::text::{push_decimal, split_once, trim};

/// The most text in one `send`. The operator of a host may set a lower limit than the contract does; any
/// sensible one is far above this.
const SEND_LIMIT: usize = 64 * 1024;

/// The fields that the operator cannot set: they frame the body, or belong to this very message, and another
/// value would contradict the response.
const OWN: [&str; 8] = [
    "Connection",
    "Content-Encoding",
    "Content-Length",
    "Content-Range",
    "Date",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
];

/// The settings and the time for a response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) now: Instant,
}

/// A response, for a host that writes it itself.
#[derive(Debug)]
pub struct Message {
    /// The status code.
    pub status: u16,
    /// Names and values, in order. `Content-Length` is among them if the length is known, for `HEAD`, too.
    /// Fields of the connection are not.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The pieces of the body. `HEAD` has none.
    pub body: Vec<Piece>,
    /// What follows these pieces. None if they are all.
    pub rest: Option<Rest>,
}

/// The rest of a body that is written while a folder is read.
#[derive(Debug)]
pub struct Rest(ListingBody);

/// What to do about a [`Rest`].
#[derive(Debug)]
pub enum More {
    /// Send these bytes, then call [`Rest::more`] again.
    Bytes(Vec<u8>),
    /// List this portion, then pass the result to [`Rest::listed`].
    List(Portion),
    /// The body is complete.
    End,
}

impl Rest {
    /// What to do now.
    pub fn more(&mut self) -> More {
        match self.0.needs() {
            Needs::Time => More::Bytes(self.0.piece()),
            Needs::Portion(portion) => More::List(portion),
            Needs::Nothing => More::End,
        }
    }

    /// Takes the next portion of the folder. Returns false if it does not continue the listing: then the body
    /// cannot be completed, and the host must not let it look complete to the client.
    #[must_use]
    pub fn listed(&mut self, result: Result<Listing, Refusal>) -> bool {
        result.is_ok_and(|listing| self.0.resume(listing).is_ok())
    }
}

/// A response that is being written.
#[derive(Debug)]
pub(crate) struct Response<'a> {
    settings: &'a Settings,
    pub(crate) status: Status,
    header: HeaderSection,
    pub(crate) body: Body,
}

#[derive(Debug)]
enum HeaderSection {
    /// Field by field. `vary` names the request field that the response depends on.
    Lines { bytes: Vec<u8>, vary: Option<&'static str> },
    /// Complete, as FFmpeg's example has it.
    Verbatim(&'static [u8]),
}

impl<'a> Response<'a> {
    /// A response without a body so far.
    pub(crate) fn new(site: Site<'a>, status: Status) -> Self {
        // Enough for the response to a file without a reallocation.
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(status.line());
        let header = HeaderSection::Lines { bytes, vary: None };
        let mut response = Self { settings: site.settings, status, header, body: Body::Nothing };
        response.date("Date", seconds(site.now));
        response
    }

    /// A response with a header section of FFmpeg's example, which cannot be changed any more.
    pub(crate) fn verbatim(site: Site<'a>, status: Status, header: &'static [u8], body: Body) -> Self {
        Self { settings: site.settings, status, header: HeaderSection::Verbatim(header), body }
    }

    /// Writes a field, unless the operator has set it.
    pub(crate) fn field(&mut self, name: &str, value: &[u8]) {
        if !is_said(self.settings, name) {
            self.own(name, value);
        }
    }

    /// Writes a field that the operator cannot replace.
    pub(crate) fn own(&mut self, name: &str, value: &[u8]) {
        if let HeaderSection::Lines { bytes, .. } = &mut self.header {
            push_line(bytes, name, value);
        }
    }

    /// Writes a field with a number, unless the operator has set it.
    pub(crate) fn number(&mut self, name: &str, number: u64) {
        let mut digits = Vec::with_capacity(20);
        push_decimal(&mut digits, number);
        self.field(name, &digits);
    }

    /// Adds a request field to `Vary`.
    pub(crate) fn vary(&mut self, field: &'static str) {
        if let HeaderSection::Lines { vary, .. } = &mut self.header {
            *vary = Some(field);
        }
    }

    /// Writes a field with a date, unless the operator has set it.
    pub(crate) fn time(&mut self, name: &str, time: Seconds) {
        if !is_said(self.settings, name) {
            self.date(name, time);
        }
    }

    fn date(&mut self, name: &str, time: Seconds) {
        let HeaderSection::Lines { bytes, .. } = &mut self.header else {
            return;
        };
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        date::push(bytes, time);
        bytes.extend_from_slice(b"\r\n");
    }

    /// Whether the connection must end with this response: because its body ends so, or because its header
    /// section cannot say otherwise.
    pub(crate) fn closes(&self) -> bool {
        let delimiter = match &self.body {
            Body::Stream(stream, _) => Some(stream.delimiter),
            Body::Listing(listing, _) => Some(listing.delimiter),
            _ => None,
        };
        delimiter == Some(Delimiter::Close) || matches!(self.header, HeaderSection::Verbatim(_))
    }

    /// Puts the response on the wire. Returns the rest of a body that is not complete.
    pub(crate) fn deliver(self, recipient: Recipient, then: Then, plan: &mut Plan) -> Option<(Sending, Flow)> {
        let mut header = match self.header {
            HeaderSection::Verbatim(header) => header.to_vec(),
            HeaderSection::Lines { mut bytes, vary } => {
                self.body.push_framing(&mut bytes);
                push_common(&mut bytes, self.settings, vary);
                push_connection(&mut bytes, recipient, then);
                push_operators(&mut bytes, self.settings, &self.body);
                bytes.extend_from_slice(b"\r\n");
                bytes
            }
        };
        match self.body {
            _ if recipient.method == Method::Head => plan.send(header),
            Body::Nothing => plan.send(header),
            Body::Text(text) => {
                header.extend_from_slice(&text);
                header.chunks(SEND_LIMIT).for_each(|piece| plan.send(piece.to_vec()));
            }
            Body::Part(span) => {
                plan.send(header);
                plan.pass(span);
            }
            Body::Parts(parts) => {
                plan.send(header);
                let (parts, end) = parts.into_pieces();
                for (lines, span) in parts {
                    plan.send(lines);
                    plan.pass(span);
                }
                plan.send(end);
            }
            Body::Stream(mut stream, window) => {
                let flow = stream.pour(header, window, plan);
                return Some((Sending::Source(stream), flow));
            }
            Body::Listing(mut listing, beginning) => {
                let flow = listing.begin(header, &beginning, plan);
                return Some((Sending::Listing(listing), flow));
            }
        }
        None
    }
}

impl Response<'_> {
    /// The response as a message, for a host that writes it itself.
    pub(crate) fn into_message(self, method: Method) -> Message {
        let fields = match self.header {
            HeaderSection::Verbatim(header) => fields(header),
            HeaderSection::Lines { mut bytes, vary } => {
                // The host frames a body without a length.
                if !matches!(self.body, Body::Listing(..)) {
                    self.body.push_framing(&mut bytes);
                }
                push_common(&mut bytes, self.settings, vary);
                push_operators(&mut bytes, self.settings, &self.body);
                fields(&bytes)
            }
        };
        let (body, rest) = if method == Method::Head { (Vec::new(), None) } else { self.body.into_pieces() };
        Message { status: self.status.code(), fields, body, rest: rest.map(Rest) }
    }
}

/// The fields of a header section that was written here, without its status line.
fn fields(header: &[u8]) -> Vec<(String, Vec<u8>)> {
    let lines = header.split(|byte| *byte == b'\n').skip(1);
    let fields = lines.filter_map(|line| split_once(line.strip_suffix(b"\r")?, b':'));
    fields.map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), trim(value).to_vec())).collect()
}

/// The parts of a request that decide how its response is framed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipient {
    pub(crate) method: Method,
    pub(crate) version: Version,
}

impl Recipient {
    /// The sender of a malformed request. A response to HEAD has no body even then, or the client would take
    /// it for the next response.
    pub(crate) fn of_malformed(header: &[u8]) -> Self {
        let header = header.strip_prefix(b"\r\n").unwrap_or(header);
        let method = if header.starts_with(b"HEAD ") { Method::Head } else { Method::Get };
        Self { method, version: Version::Http11 }
    }

    /// The sender of a request with this method.
    pub(crate) fn of_method(method: &str) -> Self {
        Self { method: Method::of(method.as_bytes()), version: Version::Http11 }
    }

    /// The sender of this request.
    pub(crate) fn of(request: &Request) -> Self {
        Self { method: request.method, version: request.version }
    }
}

/// Whether the operator has set a field of this name.
fn is_said(settings: &Settings, name: &str) -> bool {
    settings.headers.iter().any(|own| own.name.eq_ignore_ascii_case(name))
}

fn push_line(header: &mut Vec<u8>, name: &str, value: &[u8]) {
    header.extend_from_slice(name.as_bytes());
    header.extend_from_slice(b": ");
    header.extend_from_slice(value);
    header.extend_from_slice(b"\r\n");
}

/// Writes the fields that every response has.
fn push_common(header: &mut Vec<u8>, settings: &Settings, vary: Option<&str>) {
    if !is_said(settings, "X-Content-Type-Options") {
        push_line(header, "X-Content-Type-Options", b"nosniff");
    }
    let mut by_origin = false;
    if let Some(origin) = &settings.cors {
        by_origin = origin != "*";
        if !is_said(settings, "Access-Control-Allow-Origin") {
            push_line(header, "Access-Control-Allow-Origin", origin.as_bytes());
        }
        if !is_said(settings, "Access-Control-Expose-Headers") {
            push_line(
                header,
                "Access-Control-Expose-Headers",
                b"Content-Length, Content-Range, Accept-Ranges, ETag, Date",
            );
        }
    }
    match (vary, by_origin) {
        (None, false) => {}
        (None, true) => push_line(header, "Vary", b"Origin"),
        (Some(field), false) => push_line(header, "Vary", field.as_bytes()),
        (Some(field), true) => push_line(header, "Vary", &[field.as_bytes(), b", Origin"].concat()),
    }
}

/// Writes `Connection` where the version does not imply it (RFC 9112 section 9.3).
fn push_connection(header: &mut Vec<u8>, recipient: Recipient, then: Then) {
    match (then, recipient.version) {
        (Then::Close(_), _) => push_line(header, "Connection", b"close"),
        (Then::NextRequest, Version::Http10) => push_line(header, "Connection", b"keep-alive"),
        (Then::NextRequest, Version::Http11) => {}
    }
}

fn push_operators(header: &mut Vec<u8>, settings: &Settings, body: &Body) {
    for field in &settings.headers {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        let of_parts = matches!(body, Body::Parts(_)) && is("Content-Type");
        if !of_parts && !OWN.iter().any(|own| is(own)) {
            push_line(header, &field.name, field.value.as_bytes());
        }
    }
}
