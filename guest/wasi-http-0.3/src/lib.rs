//! The replies of the session to requests that a host of `wasi:http` 0.3 has read.
//!
//! The same as the handler for 0.2, and as little: it serves the folder that the host has opened for it
//! as `/`, and takes the same variables of its environment.
//!
//! Rules:
//!
//! - What is replied is decided in `multiclient-guest`. This looks where it is told to, and streams.
//! - There is no standard library in here: Rust's is made for WASI 0.2, and whatever of it were used would
//!   be an import that a host of 0.3 need not have.

#![cfg_attr(target_family = "wasm", no_std)]
#![cfg(target_family = "wasm")]

extern crate alloc;

mod folder;
mod memory;

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use multiclient_guest::answer::{Answer, Message, Next, Piece, Question};
use multiclient_guest::contract::{Event, Instant, Settings};
use wasip3::cli::environment::get_environment;
use wasip3::clocks::system_clock;
use wasip3::filesystem::types::Descriptor;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response};
use wasip3::wit_bindgen::rt::async_support::StreamWriter;
use wasip3::{wit_bindgen, wit_future, wit_stream};

use folder::Folder;

struct Component;

wasip3::http::service::export!(Component);

#[panic_handler]
fn trap(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

impl wasip3::exports::http::handler::Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let folder = Folder::root().ok_or(ErrorCode::ConfigurationError)?;
        let (message, file) = reply(&request, &folder).await;
        let fields = Fields::from_list(&message.fields).map_err(|_| ErrorCode::InternalError(None))?;
        // No trailers, also where nobody gets to say so.
        let (_, trailers) = wit_future::new(|| Ok(None));
        let contents = if message.body.is_empty() {
            None
        } else {
            let (output, contents) = wit_stream::new();
            wit_bindgen::spawn_local(send(output, message.body, file));
            Some(contents)
        };
        let (response, _) = Response::new(fields, contents, trailers);
        response.set_status_code(message.status).map_err(|()| ErrorCode::InternalError(None))?;
        Ok(response)
    }
}

/// The reply to a request, and the file that spans of its body are of.
async fn reply(request: &Request, folder: &Folder) -> (Message, Option<Descriptor>) {
    let method = request.get_method();
    let target = request.get_path_with_query().unwrap_or_else(|| "/".to_owned());
    let fields = request.get_headers().copy_all();
    let question = Question { method: token(&method), target: &target, fields: &fields };
    let mut file = None;
    let mut next = Answer::to(&question, settings(), now());
    loop {
        next = match next {
            Next::Response(message) => return (message, file),
            Next::Open(name, answer) => {
                let found = folder.open(&name).await.map(|(found, opened)| {
                    file = opened;
                    found
                });
                answer.advance(now(), Event::Opened(found))
            }
            Next::List(name, answer) => answer.advance(now(), Event::Listed(folder.list(&name).await)),
        };
    }
}

/// Writes a body. Where it ends early, the length in the head tells the host, and its client, that it has.
async fn send(mut output: StreamWriter<u8>, body: Vec<Piece>, file: Option<Descriptor>) {
    for piece in body {
        let taken = match (piece, &file) {
            (Piece::Bytes(bytes), _) => output.write_all(bytes).await.is_empty(),
            (Piece::Span(span), Some(file)) => folder::pass(file, span, &mut output).await,
            (Piece::Span(_), None) => false,
        };
        if !taken {
            return;
        }
    }
    // The file is open up to here: its stream would end with it.
    drop(file);
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
    let variables = get_environment();
    let said = |name: &str| variables.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
    let is_yes = |value: String| value == "1" || value == "true";
    Settings {
        listing: said("MULTICLIENT_LIST").is_some_and(is_yes),
        cors: said("MULTICLIENT_CORS"),
        ..Settings::default()
    }
}

fn now() -> Instant {
    let now = system_clock::now();
    folder::instant(now).unwrap_or_default()
}
