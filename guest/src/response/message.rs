//! Responses: the head, what follows it, and how it is put on the wire.
//!
//! Rule: what delimits a body is written in one place, from the body itself. So a head cannot promise a
//! length that its body does not have, nor two lengths, nor one where there may be none.

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

/// How much of a text goes into one `send`. The operator of a host may set the bound of one lower than
/// the contract does, and this is far below any that makes sense.
const SEND_LIMIT: usize = 64 * 1024;

/// The lines that are ours alone: they say where the body ends, or belong to this very message. An
/// operator who sets them would make the response contradict itself.
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

/// Where and when a response is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) now: Instant,
}

/// A response, for a host that writes it in its own way.
#[derive(Debug)]
pub struct Message {
    /// The status code.
    pub status: u16,
    /// Names and values, in order. `Content-Length` is among them where there is a body, and for `HEAD`
    /// where there would be one; what concerns the connection is not.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The body, piece by piece. For `HEAD` there is none.
    pub body: Vec<Piece>,
    /// What comes after these pieces. None: they are all.
    pub rest: Option<Rest>,
}

/// The rest of a body that is written while a folder is read.
#[derive(Debug)]
pub struct Rest(ListingBody);

/// What to do about a [`Rest`].
#[derive(Debug)]
pub enum More {
    /// Send these bytes, then ask again.
    Bytes(Vec<u8>),
    /// List this portion, then tell [`Rest::listed`] the result.
    List(Portion),
    /// Nothing: the body is complete.
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

    /// Takes the next portion of the folder. False: it does not continue the listing, and the body cannot
    /// be completed. The client must be able to tell, so it must not look complete.
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
    head: Head,
    pub(crate) body: Body,
}

#[derive(Debug)]
enum Head {
    /// Line by line. `vary` names the request field that the response depends on.
    Lines { bytes: Vec<u8>, vary: Option<&'static str> },
    /// Whole, as FFmpeg's example has it.
    Verbatim(&'static [u8]),
}

impl<'a> Response<'a> {
    /// A response without a body so far.
    pub(crate) fn new(site: Site<'a>, status: Status) -> Self {
        // Holds the head of a file's response without growing.
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(status.line());
        let head = Head::Lines { bytes, vary: None };
        let mut response = Self { settings: site.settings, status, head, body: Body::Nothing };
        response.date("Date", seconds(site.now));
        response
    }

    /// A response in the words of FFmpeg's example, which cannot be changed any more.
    pub(crate) fn verbatim(site: Site<'a>, status: Status, head: &'static [u8], body: Body) -> Self {
        Self { settings: site.settings, status, head: Head::Verbatim(head), body }
    }

    /// Writes a line, unless the operator has one of that name.
    pub(crate) fn field(&mut self, name: &str, value: &[u8]) {
        if !is_said(self.settings, name) {
            self.own(name, value);
        }
    }

    /// Writes a line that the operator cannot replace.
    pub(crate) fn own(&mut self, name: &str, value: &[u8]) {
        if let Head::Lines { bytes, .. } = &mut self.head {
            push_line(bytes, name, value);
        }
    }

    /// Writes a line with a number, unless the operator has one of that name.
    pub(crate) fn number(&mut self, name: &str, number: u64) {
        let mut digits = Vec::with_capacity(20);
        push_decimal(&mut digits, number);
        self.field(name, &digits);
    }

    /// Says that the response depends on a field of the request.
    pub(crate) fn vary(&mut self, field: &'static str) {
        if let Head::Lines { vary, .. } = &mut self.head {
            *vary = Some(field);
        }
    }

    /// Writes a line with a date, unless the operator has one of that name.
    pub(crate) fn time(&mut self, name: &str, time: Seconds) {
        if !is_said(self.settings, name) {
            self.date(name, time);
        }
    }

    fn date(&mut self, name: &str, time: Seconds) {
        let Head::Lines { bytes, .. } = &mut self.head else {
            return;
        };
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        date::push(bytes, time);
        bytes.extend_from_slice(b"\r\n");
    }

    /// Whether the connection must end with this response: its body ends with it, or its head could not say
    /// that it does not.
    pub(crate) fn closes(&self) -> bool {
        let delimiter = match &self.body {
            Body::Stream(stream, _) => Some(stream.delimiter),
            Body::Listing(listing, _) => Some(listing.delimiter),
            _ => None,
        };
        delimiter == Some(Delimiter::Close) || matches!(self.head, Head::Verbatim(_))
    }

    /// Puts the response on the wire. Gives back a body that is not at its end yet.
    pub(crate) fn deliver(self, recipient: Recipient, then: Then, plan: &mut Plan) -> Option<(Sending, Flow)> {
        let mut head = match self.head {
            Head::Verbatim(head) => head.to_vec(),
            Head::Lines { mut bytes, vary } => {
                self.body.push_framing(&mut bytes);
                push_common(&mut bytes, self.settings, vary);
                push_connection(&mut bytes, recipient, then);
                push_operators(&mut bytes, self.settings, &self.body);
                bytes.extend_from_slice(b"\r\n");
                bytes
            }
        };
        match self.body {
            _ if recipient.method == Method::Head => plan.send(head),
            Body::Nothing => plan.send(head),
            Body::Text(text) => {
                head.extend_from_slice(&text);
                head.chunks(SEND_LIMIT).for_each(|piece| plan.send(piece.to_vec()));
            }
            Body::Part(span) => {
                plan.send(head);
                plan.pass(span);
            }
            Body::Parts(parts) => {
                plan.send(head);
                let (parts, end) = parts.into_pieces();
                for (lines, span) in parts {
                    plan.send(lines);
                    plan.pass(span);
                }
                plan.send(end);
            }
            Body::Stream(mut stream, window) => {
                let flow = stream.pour(head, window, plan);
                return Some((Sending::Source(stream), flow));
            }
            Body::Listing(mut listing, beginning) => {
                let flow = listing.begin(head, &beginning, plan);
                return Some((Sending::Listing(listing), flow));
            }
        }
        None
    }
}

impl Response<'_> {
    /// The response as a message, for a host that writes it in its own way.
    pub(crate) fn into_message(self, method: Method) -> Message {
        let fields = match self.head {
            Head::Verbatim(head) => fields(head),
            Head::Lines { mut bytes, vary } => {
                // The host frames what has no length.
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

/// The fields of a head that was written here, behind its status line.
fn fields(head: &[u8]) -> Vec<(String, Vec<u8>)> {
    let lines = head.split(|byte| *byte == b'\n').skip(1);
    let fields = lines.filter_map(|line| split_once(line.strip_suffix(b"\r")?, b':'));
    fields.map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), trim(value).to_vec())).collect()
}

/// What of a request shapes the outside of its response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipient {
    pub(crate) method: Method,
    pub(crate) version: Version,
}

impl Recipient {
    /// Who sent a head that is not in order. Even so a response to HEAD has no body, or it would be taken
    /// for the next response.
    pub(crate) fn of_malformed(head: &[u8]) -> Self {
        let head = head.strip_prefix(b"\r\n").unwrap_or(head);
        let method = if head.starts_with(b"HEAD ") { Method::Head } else { Method::Get };
        Self { method, version: Version::Http11 }
    }

    /// Who used this method.
    pub(crate) fn of_method(method: &str) -> Self {
        Self { method: Method::of(method.as_bytes()), version: Version::Http11 }
    }

    /// Who sent this request.
    pub(crate) fn of(request: &Request) -> Self {
        Self { method: request.method, version: request.version }
    }
}

/// Whether the operator has a line of that name.
fn is_said(settings: &Settings, name: &str) -> bool {
    settings.headers.iter().any(|own| own.name.eq_ignore_ascii_case(name))
}

fn push_line(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

/// The lines that every response has.
fn push_common(head: &mut Vec<u8>, settings: &Settings, vary: Option<&str>) {
    if !is_said(settings, "X-Content-Type-Options") {
        push_line(head, "X-Content-Type-Options", b"nosniff");
    }
    let mut by_origin = false;
    if let Some(origin) = &settings.cors {
        by_origin = origin != "*";
        if !is_said(settings, "Access-Control-Allow-Origin") {
            push_line(head, "Access-Control-Allow-Origin", origin.as_bytes());
        }
        if !is_said(settings, "Access-Control-Expose-Headers") {
            push_line(
                head,
                "Access-Control-Expose-Headers",
                b"Content-Length, Content-Range, Accept-Ranges, ETag, Date",
            );
        }
    }
    match (vary, by_origin) {
        (None, false) => {}
        (None, true) => push_line(head, "Vary", b"Origin"),
        (Some(field), false) => push_line(head, "Vary", field.as_bytes()),
        (Some(field), true) => push_line(head, "Vary", &[field.as_bytes(), b", Origin"].concat()),
    }
}

/// Says what becomes of the connection where the version does not say it (RFC 9112 section 9.3).
fn push_connection(head: &mut Vec<u8>, recipient: Recipient, then: Then) {
    match (then, recipient.version) {
        (Then::Close(_), _) => push_line(head, "Connection", b"close"),
        (Then::NextRequest, Version::Http10) => push_line(head, "Connection", b"keep-alive"),
        (Then::NextRequest, Version::Http11) => {}
    }
}

fn push_operators(head: &mut Vec<u8>, settings: &Settings, body: &Body) {
    for field in &settings.headers {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        let of_parts = matches!(body, Body::Parts(_)) && is("Content-Type");
        if !of_parts && !OWN.iter().any(|own| is(own)) {
            push_line(head, &field.name, field.value.as_bytes());
        }
    }
}
