//! Replies: the head, what follows it, and how it is put on the wire.
//!
//! Rule: what delimits a body is written in one place, from the body itself. So a head cannot promise a
//! length that its body does not have, nor two lengths, nor one where there may be none.

use alloc::string::String;
use alloc::vec::Vec;

use crate::answer::{Message, Piece};
use crate::compat;
use crate::conditional::{self, Validators, Verdict};
use crate::connection::{Plan, Then};
use crate::contract::{Dialect, Facts, Instant, Settings, Span, Window};
use crate::date::{self, Seconds, seconds};
use crate::media_type;
use crate::multipart::{self, Multipart, push_content_range};
use crate::negotiate::Coding;
use crate::page::{self, Format};
use crate::range::{self, Wanted};
use crate::request::{FieldName, Method, Request, Version};
use crate::stream::{Delimiter, Flow, Stream};
use crate::text::{push_decimal, split_once, trim};

/// How much of a text goes into one `send`. The operator of a host may set the bound of one lower than
/// the contract does, and this is far below any that makes sense.
const SEND_LIMIT: usize = 64 * 1024;

/// The lines that are ours alone: they say where the body ends, or belong to this very message. An
/// operator who sets them would make the reply contradict itself.
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

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $code:literal $reason:literal,)*) => {
        /// The statuses that this server has.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Status { $($(#[$doc])* $name,)* }

        impl Status {
            /// The number.
            pub(crate) fn code(self) -> u16 {
                match self { $(Self::$name => $code,)* }
            }

            /// The status line.
            fn line(self) -> &'static [u8] {
                match self {
                    $(Self::$name => concat!("HTTP/1.1 ", $code, " ", $reason, "\r\n").as_bytes(),)*
                }
            }
        }
    };
}

statuses! {
    Ok = 200 "OK",
    NoContent = 204 "No Content",
    PartialContent = 206 "Partial Content",
    MovedPermanently = 301 "Moved Permanently",
    Found = 302 "Found",
    NotModified = 304 "Not Modified",
    BadRequest = 400 "Bad Request",
    Unauthorized = 401 "Unauthorized",
    Forbidden = 403 "Forbidden",
    NotFound = 404 "Not Found",
    MethodNotAllowed = 405 "Method Not Allowed",
    PreconditionFailed = 412 "Precondition Failed",
    ContentTooLarge = 413 "Content Too Large",
    UriTooLong = 414 "URI Too Long",
    RangeNotSatisfiable = 416 "Range Not Satisfiable",
    ExpectationFailed = 417 "Expectation Failed",
    HeadTooLarge = 431 "Request Header Fields Too Large",
    Internal = 500 "Internal Server Error",
    NotImplemented = 501 "Not Implemented",
    Unavailable = 503 "Service Unavailable",
    VersionNotSupported = 505 "HTTP Version Not Supported",
}

impl Status {
    /// Number and reason, as pages show them.
    pub(crate) fn words(self) -> &'static [u8] {
        let line = self.line();
        &line[b"HTTP/1.1 ".len()..line.len() - b"\r\n".len()]
    }
}

/// Where and when a reply is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) now: Instant,
}

/// What follows the head.
#[derive(Debug)]
pub(crate) enum Body {
    /// Nothing, and nothing is said of it: 204, 304.
    Nothing,
    /// What the guest has written itself.
    Text(Vec<u8>),
    /// A part of the source, or all of it.
    Part(Span),
    /// Several parts of the source.
    Parts(Multipart),
    /// What the window has now, and what comes.
    Stream(Stream, Window),
}

impl Body {
    /// Writes the lines that say where the body ends (RFC 9112 section 6).
    fn push_framing(&self, head: &mut Vec<u8>) {
        let length = match self {
            Self::Nothing => return,
            Self::Stream(stream, _) => {
                if stream.delimiter != Delimiter::Close {
                    head.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                }
                return;
            }
            Self::Text(text) => text.len() as u64,
            Self::Part(span) => span.count,
            Self::Parts(parts) => parts.length(),
        };
        head.extend_from_slice(b"Content-Length: ");
        push_decimal(head, length);
        head.extend_from_slice(b"\r\n");
    }
}

impl Body {
    /// The pieces that it is made of.
    fn into_pieces(self) -> Vec<Piece> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Text(text) => Vec::from([Piece::Bytes(text)]),
            Self::Part(span) => Vec::from([Piece::Span(span)]),
            Self::Parts(parts) => {
                let (parts, end) = parts.into_pieces();
                let pieces = parts.into_iter().flat_map(|(lines, span)| [Piece::Bytes(lines), Piece::Span(span)]);
                pieces.chain([Piece::Bytes(end)]).collect()
            }
            Self::Stream(_, Window { start, end, .. }) => {
                Vec::from([Piece::Span(Span { offset: start, count: end - start })])
            }
        }
    }
}

/// A reply that is being written.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    settings: &'a Settings,
    pub(crate) status: Status,
    head: Head,
    pub(crate) body: Body,
}

#[derive(Debug)]
enum Head {
    /// Line by line. `vary` names the request field that the reply depends on.
    Lines { bytes: Vec<u8>, vary: Option<&'static str> },
    /// Whole, as FFmpeg's example has it.
    Verbatim(&'static [u8]),
}

impl<'a> Reply<'a> {
    /// A reply without a body so far.
    pub(crate) fn new(site: Site<'a>, status: Status) -> Self {
        // Holds the head of a file's reply without growing.
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(status.line());
        let head = Head::Lines { bytes, vary: None };
        let mut reply = Self { settings: site.settings, status, head, body: Body::Nothing };
        reply.date("Date", seconds(site.now));
        reply
    }

    /// A reply in the words of FFmpeg's example, which cannot be changed any more.
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

    /// Says that the reply depends on a field of the request.
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

    /// Whether the connection must end with this reply: its body ends with it, or its head could not say
    /// that it does not.
    pub(crate) fn closes(&self) -> bool {
        let until_close = matches!(&self.body, Body::Stream(s, _) if s.delimiter == Delimiter::Close);
        until_close || matches!(self.head, Head::Verbatim(_))
    }

    /// Puts the reply on the wire. Gives back a body that is not at its end yet.
    pub(crate) fn deliver(self, recipient: Recipient, then: Then, plan: &mut Plan) -> Option<(Stream, Flow)> {
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
                return Some((stream, flow));
            }
        }
        None
    }
}

impl Reply<'_> {
    /// The reply as a message, for a host that writes it in its own way.
    pub(crate) fn into_message(self, method: Method) -> Message {
        let fields = match self.head {
            Head::Verbatim(head) => fields(head),
            Head::Lines { mut bytes, vary } => {
                self.body.push_framing(&mut bytes);
                push_common(&mut bytes, self.settings, vary);
                push_operators(&mut bytes, self.settings, &self.body);
                fields(&bytes)
            }
        };
        let body = if method == Method::Head { Vec::new() } else { self.body.into_pieces() };
        Message { status: self.status.code(), fields, body }
    }
}

/// The fields of a head that was written here, behind its status line.
fn fields(head: &[u8]) -> Vec<(String, Vec<u8>)> {
    let lines = head.split(|byte| *byte == b'\n').skip(1);
    let fields = lines.filter_map(|line| split_once(line.strip_suffix(b"\r")?, b':'));
    fields.map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), trim(value).to_vec())).collect()
}

/// What of a request shapes the outside of its reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipient {
    pub(crate) method: Method,
    pub(crate) version: Version,
}

impl Recipient {
    /// Who sent a head that is not in order. Even so a reply to HEAD has no body, or it would be taken
    /// for the next reply.
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

/// The lines that every reply has.
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

/// The source that was found for a request.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its name without a coding.
    pub(crate) name: Vec<u8>,
    /// How it is compressed.
    pub(crate) coding: Option<Coding>,
    pub(crate) facts: Facts,
}

impl Source {
    fn media_type(&self) -> &str {
        match &self.facts.media_type {
            Some(media_type) if self.coding.is_none() => media_type,
            _ => media_type::of(&self.name),
        }
    }

    /// The reply that has this source, or a part of it, or says that the client has it already.
    pub(crate) fn reply<'a>(&self, site: Site<'a>, request: &Request) -> Reply<'a> {
        if site.settings.dialect == Dialect::Compat && compat::answers(request) {
            let stream = self.stream(Delimiter::Chunks(compat::CHUNK));
            return Reply::verbatim(site, Status::Ok, compat::OK, stream);
        }
        let validators = Validators::of(&self.facts, site.now);
        match conditional::judge(request, &validators) {
            Verdict::Proceed => self.content(site, request, &validators),
            Verdict::NotModified => {
                let mut reply = Reply::new(site, Status::NotModified);
                self.describe(&mut reply, &validators);
                reply
            }
            Verdict::Failed => page::error(site, Status::PreconditionFailed, Format::of(request)),
        }
    }

    fn content<'a>(&self, site: Site<'a>, request: &Request, validators: &Validators<'_>) -> Reply<'a> {
        let wanted = self.wanted(request, validators);
        let mut reply = match wanted {
            Wanted::Unsatisfiable => {
                return page::unsatisfiable(site, self.facts.window.end, request);
            }
            Wanted::Whole => Reply::new(site, Status::Ok),
            Wanted::Part(_) | Wanted::Parts(_) => Reply::new(site, Status::PartialContent),
        };
        if let Wanted::Parts(spans) = &wanted {
            let boundary = multipart::boundary(&self.facts.version, self.facts.window.end, site.now);
            let parts = Multipart::new(spans, self.facts.window.end, self.media_type(), boundary);
            reply.own("Content-Type", &parts.content_type());
            reply.body = Body::Parts(parts);
        } else {
            reply.field("Content-Type", self.media_type().as_bytes());
            reply.body = self.body(&wanted, request);
        }
        if let Wanted::Part(span) = wanted {
            let mut range = Vec::with_capacity(64);
            let size = self.facts.window.is_final.then_some(self.facts.window.end);
            push_content_range(&mut range, span, size);
            reply.own("Content-Range", &range);
        }
        if let Some(coding) = self.coding {
            reply.own("Content-Encoding", coding.token().as_bytes());
        }
        self.describe(&mut reply, validators);
        reply
    }

    /// What of the source the request asks for. Ranges are defined for `GET` alone (RFC 9110 section
    /// 14.2), and count the bytes of the bare source.
    fn wanted(&self, request: &Request, validators: &Validators<'_>) -> Wanted {
        let Some(value) = request.field(FieldName::Range) else {
            return Wanted::Whole;
        };
        if request.method != Method::Get || !conditional::range_applies(request, validators) {
            return Wanted::Whole;
        }
        if self.is_whole() {
            return range::wanted(value, self.facts.window.end);
        }
        range::within_window(value, self.facts.window).map_or(Wanted::Whole, Wanted::Part)
    }

    fn body(&self, wanted: &Wanted, request: &Request) -> Body {
        let Window { start, end, is_final } = self.facts.window;
        match (wanted, request.version) {
            (Wanted::Part(span), _) => Body::Part(*span),
            _ if is_final => Body::Part(Span { offset: start, count: end - start }),
            (_, Version::Http11) => self.stream(Delimiter::Chunks(Delimiter::CHUNK)),
            (_, Version::Http10) => self.stream(Delimiter::Close),
        }
    }

    fn stream(&self, delimiter: Delimiter) -> Body {
        let window = self.facts.window;
        Body::Stream(Stream { offset: window.start, delimiter }, window)
    }

    /// Whether all of the source is there, from its first byte to its last. Else it is live, or the end
    /// of what was.
    fn is_whole(&self) -> bool {
        self.facts.window.is_final && self.facts.window.start == 0
    }

    /// The lines that are the same whether the content follows or not (RFC 9110 section 15.4.5).
    fn describe(&self, reply: &mut Reply<'_>, validators: &Validators<'_>) {
        let tag = validators.entity_tag();
        if let Some(modified) = validators.modified
            && (tag.is_none() || reply.status != Status::NotModified)
        {
            reply.time("Last-Modified", modified);
        }
        if let Some(tag) = tag {
            reply.field("ETag", &tag);
        }
        if !self.is_whole() {
            reply.field("Cache-Control", b"no-store");
        } else if media_type::is_playlist(self.media_type()) {
            reply.field("Cache-Control", b"no-cache");
        }
        if self.is_whole() && reply.status != Status::NotModified && self.coding.is_none() {
            reply.field("Accept-Ranges", b"bytes");
        }
        if media_type::is_compressible(media_type::of(&self.name)) {
            reply.vary("Accept-Encoding");
        }
    }
}
