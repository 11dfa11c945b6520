//! The session's responses to requests that a host of `wasi:http` 0.3 has read.
//!
//! It does the same as the handler for 0.2: it serves the folder that the host has opened for it as `/`, and
//! takes the same environment variables.
//!
//! Rules:
//!
//! - `multiclient-guest` decides what the response is. This crate opens, lists and streams.
//! - No standard library: Rust's is made for WASI 0.2, and any use of it would be an import that a host of
//!   0.3 need not have.

#![cfg_attr(target_family = "wasm", no_std)]
#![cfg(target_family = "wasm")]

extern crate alloc;

#[cfg(feature = "faulty")]
#[path = "../../wasi-http/src/faulty.rs"]
mod faulty;
mod folder;
mod memory;

use alloc::borrow::ToOwned;
use alloc::string::String;

use multiclient_guest::answer::{Answer, Message, More, Next, Piece, Question};
use multiclient_guest::contract::{Event, Instant, Settings};
use wasip3::cli::environment::get_environment;
use wasip3::clocks::system_clock;
use wasip3::filesystem::types::Descriptor;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme};
use wasip3::wit_bindgen::rt::async_support::{FutureWriter, StreamWriter};
use wasip3::{wit_bindgen, wit_future, wit_stream};

use folder::Folder;

/// Tells the host how a body ended.
type End = FutureWriter<Result<Option<Fields>, ErrorCode>>;

struct Component;

wasip3::http::service::export!(Component);

#[panic_handler]
fn trap(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

impl wasip3::exports::http::handler::Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let folder = Folder::root().ok_or(ErrorCode::ConfigurationError)?;
        let (message, file) = answer(&request, &folder).await;
        let fields = Fields::from_list(&message.fields).map_err(|_| ErrorCode::InternalError(None))?;
        // No trailers, unless something goes wrong.
        let (end, trailers) = wit_future::new(|| Ok(None));
        let status = message.status;
        let contents = if message.body.is_empty() {
            None
        } else {
            let (output, contents) = wit_stream::new();
            wit_bindgen::spawn_local(send(output, message, file, folder, end));
            Some(contents)
        };
        let (response, _) = Response::new(fields, contents, trailers);
        response.set_status_code(status).map_err(|()| ErrorCode::InternalError(None))?;
        Ok(response)
    }
}

/// The response to a request, and the file that spans of its body are of.
async fn answer(request: &Request, folder: &Folder) -> (Message, Option<Descriptor>) {
    let method = request.get_method();
    let target = target(request);
    let fields = request.get_headers().copy_all();
    // Its fields are in memory by now: whoever looks there sees something at least.
    #[cfg(feature = "faulty")]
    if let Some(message) = request.get_path_with_query().and_then(|path| faulty::fail(&path)) {
        return (message, None);
    }
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
            Next::List(portion, answer) => answer.advance(now(), Event::Listed(folder.list(&portion).await)),
        };
    }
}

/// The URL that was asked for, as far as the host knows it: playlists have whole URLs in them.
fn target(request: &Request) -> String {
    let path = request.get_path_with_query().unwrap_or_else(|| "/".to_owned());
    let scheme = match request.get_scheme() {
        Some(Scheme::Https) => "https",
        _ => "http",
    };
    match request.get_authority() {
        Some(authority) if path.starts_with('/') => [scheme, "://", &authority, &path].concat(),
        _ => path,
    }
}

/// Writes a body. If it cannot be completed, the host is told, so that it does not look complete to its
/// client.
async fn send(mut output: StreamWriter<u8>, message: Message, file: Option<Descriptor>, folder: Folder, end: End) {
    if write(&mut output, message, file, &folder).await {
        return;
    }
    // A host that does not listen has found out itself.
    let _ = end.write(Err(ErrorCode::InternalError(None))).await;
}

/// Writes a body. Returns whether all of it was there and taken.
async fn write(output: &mut StreamWriter<u8>, message: Message, file: Option<Descriptor>, folder: &Folder) -> bool {
    for piece in message.body {
        let taken = match (piece, &file) {
            (Piece::Bytes(bytes), _) => output.write_all(bytes).await.is_empty(),
            (Piece::Span(span), Some(file)) => folder::pass(file, span, output).await,
            (Piece::Span(_), None) => false,
        };
        if !taken {
            return false;
        }
    }
    let Some(mut rest) = message.rest else { return true };
    loop {
        let goes_on = match rest.more() {
            More::Bytes(bytes) => output.write_all(bytes).await.is_empty(),
            More::List(portion) => rest.listed(folder.list(&portion).await),
            More::End => return true,
        };
        if !goes_on {
            return false;
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
    let variables = get_environment();
    let said = |name: &str| variables.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
    let is_yes = |value: String| value == "1" || value == "true";
    Settings {
        listing: said("MULTICLIENT_LIST").is_some_and(is_yes),
        pages: said("MULTICLIENT_PAGES").is_some_and(is_yes),
        // Empty: not set, as compose files have it.
        cors: said("MULTICLIENT_CORS").filter(|origin| !origin.is_empty()),
        ..Settings::default()
    }
}

fn now() -> Instant {
    let now = system_clock::now();
    folder::instant(now).unwrap_or_default()
}
