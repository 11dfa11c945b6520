//! Responses that are not a source: refusals, redirects, and what the server can do.

use alloc::vec::Vec;

use crate::contract::{Dialect, Refusal};
use crate::request::target::{location, query};
use crate::request::{FieldName, Request, prefers};
use crate::response::body::Body;
use crate::response::compat;
use crate::response::message::{Response, Site};
use crate::status::Status;
use crate::text::push_decimal;

/// What the methods are that a client may use.
const ALLOW: &[u8] = b"GET, HEAD, OPTIONS";
/// What scripts of other sites may send: what is beyond the fields that they may always send.
const CORS_FIELDS: &[u8] = b"Range, If-Range, If-Match, If-None-Match, If-Modified-Since, \
    If-Unmodified-Since, Cache-Control";
/// How long a browser may remember that, in seconds. Chromium's upper bound.
const CORS_AGE: u64 = 7_200;
/// When to come back to a full server, in seconds: long enough for a film to be over somewhere, short
/// enough for somebody to wait.
const RETRY_WHEN_FULL: u64 = 5;
/// When to come back to a server that was short of something for a moment, in seconds.
const RETRY_SOON: u64 = 1;

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Plain,
    Html,
}

impl Format {
    /// Plain text, unless the client would sooner have HTML, as browsers say.
    pub(crate) fn of(request: &Request) -> Self {
        if prefers(request, "text/html", "text/plain") { Self::Html } else { Self::Plain }
    }
}

/// A refusal that needs no more than its status.
pub(crate) fn error(site: Site<'_>, status: Status, format: Format) -> Response<'_> {
    if site.settings.dialect == Dialect::Compat
        && let Some((head, text)) = compat::refusal(status)
    {
        return Response::verbatim(site, status, head, Body::Text(text));
    }
    let mut response = Response::new(site, status);
    response.field("Cache-Control", b"no-store");
    write(&mut response, format);
    response
}

/// What the host refused.
pub(crate) fn refused<'a>(site: Site<'a>, refusal: Refusal, request: &Request) -> Response<'a> {
    let status = match refusal {
        Refusal::NotFound => Status::NotFound,
        Refusal::Forbidden => Status::Forbidden,
        Refusal::Unavailable => Status::Unavailable,
        Refusal::Failed => Status::Internal,
    };
    let mut response = error(site, status, Format::of(request));
    if refusal == Refusal::Unavailable {
        response.number("Retry-After", RETRY_SOON);
    }
    response
}

/// The server has no place for this client.
pub(crate) fn full<'a>(site: Site<'a>, request: &Request) -> Response<'a> {
    let mut response = error(site, Status::Unavailable, Format::of(request));
    response.number("Retry-After", RETRY_WHEN_FULL);
    response
}

/// A method that the server knows and does not have. It must say which it has (RFC 9110 section 15.5.6).
pub(crate) fn method_refused<'a>(site: Site<'a>, request: &Request) -> Response<'a> {
    let mut response = error(site, Status::MethodNotAllowed, Format::of(request));
    response.field("Allow", ALLOW);
    response
}

/// None of the bytes that were asked for is there (RFC 9110 section 15.5.17).
pub(crate) fn unsatisfiable<'a>(site: Site<'a>, size: u64, request: &Request) -> Response<'a> {
    let mut range = b"bytes */".to_vec();
    push_decimal(&mut range, size);
    let mut response = error(site, Status::RangeNotSatisfiable, Format::of(request));
    response.own("Content-Range", &range);
    response
}

/// The root is sent on to the one source that there is. Not for good: tomorrow it may be another.
pub(crate) fn to_home<'a>(site: Site<'a>, home: &[u8], request: &Request) -> Response<'a> {
    let location = location(home, b"", query(request.target()));
    let mut response = redirect(site, Status::Found, &location, request);
    if site.settings.pages {
        // A browser gets a page in its place.
        response.vary("Accept");
    }
    response
}

/// A folder is sent on to its name with a slash, without which the links in it would lead astray.
pub(crate) fn to_folder<'a>(site: Site<'a>, folder: &[u8], request: &Request) -> Response<'a> {
    let location = location(folder, b"/", query(request.target()));
    redirect(site, Status::MovedPermanently, &location, request)
}

fn redirect<'a>(site: Site<'a>, status: Status, location: &[u8], request: &Request) -> Response<'a> {
    let mut response = Response::new(site, status);
    response.field("Location", location);
    write(&mut response, Format::of(request));
    response
}

/// The answer to `OPTIONS`: what may be asked, and to a browser's preflight what scripts may ask. It is
/// the same for all targets, and does not say whether there is something at this one.
pub(crate) fn options<'a>(site: Site<'a>, request: &Request) -> Response<'a> {
    let mut response = Response::new(site, Status::NoContent);
    response.field("Allow", ALLOW);
    let preflight = request.field(FieldName::AccessControlRequestMethod).is_some();
    if preflight && site.settings.cors.is_some() {
        response.field("Access-Control-Allow-Methods", ALLOW);
        response.field("Access-Control-Allow-Headers", CORS_FIELDS);
        response.number("Access-Control-Max-Age", CORS_AGE);
    }
    response
}

/// Writes a body that says the status.
fn write(response: &mut Response<'_>, format: Format) {
    let words = response.status.words();
    let text: Vec<u8> = match format {
        Format::Plain => [words, b"\n"].concat(),
        Format::Html => {
            let parts: [&[u8]; 5] = [b"<!doctype html>\n<title>", words, b"</title>\n<h1>", words, b"</h1>\n"];
            parts.concat()
        }
    };
    response.field(
        "Content-Type",
        match format {
            Format::Plain => b"text/plain; charset=utf-8",
            Format::Html => b"text/html; charset=utf-8",
        },
    );
    response.body = Body::Text(text);
}
