//! The replies of the session to requests that a host of `wasi:http` 0.2 has read: `wasmtime serve`, Spin,
//! wasmCloud, jco.
//!
//! It serves the folder that the host has opened for it as `/`. Variables of its environment set what the
//! server's flags do: `MULTICLIENT_LIST=1` and `MULTICLIENT_CORS=ORIGIN`.
//!
//! Rule: what is replied is decided in `multiclient-guest`. This looks where it is told to, and streams.

#![cfg(target_family = "wasm")]

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use multiclient_folder::{Folder, pass};
use multiclient_guest::answer::{Answer, Message, Next, Piece, Question};
use multiclient_guest::contract::{Event, Settings};
use wasip2::http::types::{
    ErrorCode, Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Component;

wasip2::http::proxy::export!(Component);

impl wasip2::exports::http::incoming_handler::Guest for Component {
    fn handle(request: IncomingRequest, response: ResponseOutparam) {
        let (message, file) = reply(&request);
        match head(&message) {
            Some(head) => send(head, &message, file, response),
            // Never: what the core writes is a head.
            None => ResponseOutparam::set(response, Err(ErrorCode::InternalError(None))),
        }
    }
}

/// The reply to a request, and the file that spans of its body are of.
fn reply(request: &IncomingRequest) -> (Message, Option<File>) {
    let folder = Folder::at("/");
    let method = request.method();
    let target = request.path_with_query().unwrap_or_else(|| "/".to_owned());
    let fields = request.headers().entries();
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
            Next::List(name, answer) => answer.advance(now(), Event::Listed(folder.list(&name))),
        };
    }
}

fn head(message: &Message) -> Option<OutgoingResponse> {
    let head = OutgoingResponse::new(Fields::from_list(&message.fields).ok()?);
    head.set_status_code(message.status).ok()?;
    Some(head)
}

fn send(head: OutgoingResponse, message: &Message, mut file: Option<File>, response: ResponseOutparam) {
    // Taken also where there is none: jco wants to have it before the head is sent.
    let body = head.body().expect("a body is taken once");
    ResponseOutparam::set(response, Ok(head));
    let mut output = body.write().expect("a body is written once");
    let sent = message.body.iter().try_for_each(|piece| match (piece, &mut file) {
        (Piece::Bytes(bytes), _) => output.write_all(bytes),
        (Piece::Span(span), Some(file)) => pass(file, *span, |piece| output.write_all(piece)),
        (Piece::Span(_), None) => Err(io::ErrorKind::NotFound.into()),
    });
    let sent = sent.and_then(|()| Write::flush(&mut output));
    drop(output);
    // A body that is not finished is how the host learns that it is not whole, and its client from it.
    if sent.is_ok() {
        // It may miss what a head for HEAD promises. The reply is complete all the same.
        let _ = OutgoingBody::finish(body, None);
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
        listing: env::var("MULTICLIENT_LIST").is_ok_and(|list| list == "1" || list == "true"),
        cors: env::var("MULTICLIENT_CORS").ok(),
        ..Settings::default()
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
