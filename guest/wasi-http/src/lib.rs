//! The session's responses to requests that a host of `wasi:http` 0.2 has read: `wasmtime serve`, Spin,
//! wasmCloud, jco.
//!
//! It serves the folder that the host has opened for it as `/`. Environment variables set what the flags of
//! the server do: `MULTICLIENT_LIST=1`, `MULTICLIENT_PAGES=1` and `MULTICLIENT_CORS=ORIGIN`.
//!
//! Rule: `multiclient-guest` decides what the response is. This crate opens, lists and streams.

#![cfg(target_family = "wasm")]

#[cfg(feature = "faulty")]
extern crate alloc;

#[cfg(feature = "faulty")]
mod faulty;

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use multiclient_folder::{Folder, pass};
use multiclient_guest::answer::{Answer, Message, More, Next, Piece, Question, Rest};
use multiclient_guest::contract::{Event, Settings};
use wasip2::http::types::{
    ErrorCode, Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam, Scheme,
};

struct Component;

wasip2::http::proxy::export!(Component);

impl wasip2::exports::http::incoming_handler::Guest for Component {
    fn handle(request: IncomingRequest, response: ResponseOutparam) {
        let folder = Folder::at("/");
        let (message, file) = answer(&request, &folder);
        match header_section(&message) {
            Some(header_section) => send(header_section, message, file, &folder, response),
            // Unreachable: what the core writes is a valid header section.
            None => ResponseOutparam::set(response, Err(ErrorCode::InternalError(None))),
        }
    }
}

/// The response to a request, and the file that spans of its body are of.
fn answer(request: &IncomingRequest, folder: &Folder) -> (Message, Option<File>) {
    let method = request.method();
    let target = target(request);
    let fields = request.headers().entries();
    // Its fields are in memory by now: whoever looks there sees something at least.
    #[cfg(feature = "faulty")]
    if let Some(message) = request.path_with_query().and_then(|path| faulty::fail(&path)) {
        return (message, None);
    }
    let question = Question { method: token(&method), target: &target, fields: &fields };
    let mut file = None;
    let mut next = Answer::to(&question, settings(), now());
    loop {
        next = match next {
            Next::Response(message) => return (message, file),
            Next::Open(name, answer) => {
                let found = folder.open(&name).map(|(found, opened)| {
                    file = opened;
                    found
                });
                answer.advance(now(), Event::Opened(found))
            }
            Next::List(portion, answer) => answer.advance(now(), Event::Listed(folder.list(&portion))),
        };
    }
}

/// The URL that was asked for, as far as the host knows it: playlists have whole URLs in them.
fn target(request: &IncomingRequest) -> String {
    let path = request.path_with_query().unwrap_or_else(|| "/".to_owned());
    let scheme = match request.scheme() {
        Some(Scheme::Https) => "https",
        _ => "http",
    };
    match request.authority() {
        Some(authority) if path.starts_with('/') => format!("{scheme}://{authority}{path}"),
        _ => path,
    }
}

fn header_section(message: &Message) -> Option<OutgoingResponse> {
    let response = OutgoingResponse::new(Fields::from_list(&message.fields).ok()?);
    response.set_status_code(message.status).ok()?;
    Some(response)
}

fn send(
    header_section: OutgoingResponse,
    mut message: Message,
    mut file: Option<File>,
    folder: &Folder,
    response: ResponseOutparam,
) {
    // Taken even if there is none: jco needs it before the header section is sent.
    let body = header_section.body().expect("a body is taken once");
    ResponseOutparam::set(response, Ok(header_section));
    let mut output = body.write().expect("a body is written once");
    let sent = message.body.iter().try_for_each(|piece| match (piece, &mut file) {
        (Piece::Bytes(bytes), _) => output.write_all(bytes),
        (Piece::Span(span), Some(file)) => pass(file, *span, |piece| output.write_all(piece)),
        (Piece::Span(_), None) => Err(io::ErrorKind::NotFound.into()),
    });
    let sent = sent.and_then(|()| message.rest.as_mut().map_or(Ok(()), |rest| send_rest(rest, folder, &mut output)));
    let sent = sent.and_then(|()| Write::flush(&mut output));
    drop(output);
    // An unfinished body tells the host, and the host its client, that it is not complete.
    if sent.is_ok() {
        // It may lack what the header section promises for HEAD. The response is complete all the same.
        let _ = OutgoingBody::finish(body, None);
    }
}

/// Writes the rest of a listing, as the folder is read.
fn send_rest(rest: &mut Rest, folder: &Folder, output: &mut impl Write) -> io::Result<()> {
    loop {
        match rest.more() {
            More::Bytes(bytes) => output.write_all(&bytes)?,
            More::List(portion) if rest.listed(folder.list(&portion)) => {}
            More::List(_) => return Err(io::ErrorKind::NotFound.into()),
            More::End => return Ok(()),
        }
    }
}

fn token(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(token) => token,
    }
}

fn settings() -> Settings {
    Settings {
        listing: is_yes("MULTICLIENT_LIST"),
        pages: is_yes("MULTICLIENT_PAGES"),
        // Empty: not set, as compose files have it.
        cors: env::var("MULTICLIENT_CORS").ok().filter(|origin| !origin.is_empty()),
        ..Settings::default()
    }
}

fn is_yes(variable: &str) -> bool {
    env::var(variable).is_ok_and(|value| value == "1" || value == "true")
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
