//! The component that is built in, looked at as a component: it imports nothing, and it is the same function
//! as the protocol core that the guest's own tests run natively.

use std::fs;

use multiclient::{Guest, Limits};
use multiclient_guest::Session;
use multiclient_guest::contract as native;
use support::components::repository;
use support::random;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};

use bindings::exports::multiclient::session::handler as wire;

mod bindings {
    wasmtime::component::bindgen!({ path: "../../wit", world: "guest" });
}

const NOW: u64 = 1_767_323_045_000;

/// What is published to both: name and size.
const SOURCES: [(&[u8], u64); 4] =
    [(b"f.bin", 2_500), (b"film.mp4", 100_000), (b"style.css.gz", 7), (b"page/index.html", 9)];

#[test]
fn the_built_in_guest_imports_nothing_and_exports_the_contract() {
    let inspection = built_in().inspect();
    assert_eq!(inspection.imports, []);
    assert_eq!(inspection.exports, ["multiclient:session/handler@0.1.0"]);
}

#[test]
fn the_component_does_what_the_core_does() {
    let engine = Engine::default();
    let component = Component::from_binary(&engine, built_in().component()).expect("the built-in component compiles");
    let linker = Linker::new(&engine);
    let inputs: Vec<_> = seeds().into_iter().chain(made_up()).collect();
    assert!(inputs.len() > 300, "only {} inputs", inputs.len());
    let mut lists = 0;
    for Input { compat, piece, bytes } in inputs {
        let mut store = Store::new(&engine, ());
        let guest = bindings::Guest::instantiate(&mut store, &component, &linker).expect("it needs nothing");
        let guest = guest.multiclient_session_handler().session();
        let settings = settings(compat);
        let session = guest.call_constructor(&mut store, &wire_settings(&settings)).expect("a session");
        let mut core = Session::new(settings);

        let mut pieces = bytes.chunks(piece);
        let mut next = |wait: &native::Action| match wait {
            native::Action::Receive(_) => {
                Some(pieces.next().map_or(native::Event::Finished, |piece| native::Event::Received(piece.to_vec())))
            }
            native::Action::Open(name) => Some(native::Event::Opened(open(name))),
            native::Action::List(_) => Some(native::Event::Listed(Ok(listing()))),
            native::Action::Wait(_) => Some(native::Event::Available(window(SOURCES[0].1))),
            native::Action::Proceed => Some(native::Event::Proceeded),
            _ => None,
        };
        let mut event = next(&native::Action::Receive(native::Phase::Partial));
        // One life is bounded, whatever the session makes of its client.
        for _ in 0..200 {
            let Some(happened) = event.take() else { break };
            let through_wasm = guest.call_advance(&mut store, session, NOW, &wire_event(&happened)).expect("no trap");
            let through_wasm: Vec<_> = through_wasm.into_iter().map(action).collect();
            let native = core.advance(NOW, happened);
            assert_eq!(through_wasm, native, "{:?} in pieces of {piece}", String::from_utf8_lossy(&bytes));
            lists += 1;
            event = native.last().and_then(&mut next);
        }
    }
    assert!(lists > 1_000, "only {lists} lists were compared");
}

struct Input {
    compat: bool,
    piece: usize,
    bytes: Vec<u8>,
}

/// What the fuzzer starts from: the first byte is the dialect, the second how long a piece is.
fn seeds() -> Vec<Input> {
    let folder = repository("guest/fuzz/corpus/session");
    let seeds = fs::read_dir(folder).expect("the fuzzer has seeds").map(|seed| {
        let seed = fs::read(seed.expect("a seed").path()).expect("a seed can be read");
        Input { compat: seed[0] % 2 == 1, piece: usize::from(seed[1]).max(1), bytes: seed[2..].to_vec() }
    });
    seeds.collect()
}

/// Requests, each with a few bytes changed, doubled or lost, always the same ones.
fn made_up() -> impl Iterator<Item = Input> {
    const REQUESTS: [&str; 8] = [
        "GET /f.bin HTTP/1.1\r\nHost: a\r\n\r\nGET /film.mp4?x=1 HTTP/1.1\r\nHost: a\r\nRange: bytes=5-9,20-\r\n\r\n",
        "HEAD /page/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /style.css HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]:80\r\nAccept: application/json\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /f.bin HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"v\"\r\nIf-Modified-Since: Fri, 02 Jan 2026 03:04:05 GMT\r\n\r\n",
        "GET /f.bin HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n3;e=\"x\"\r\nabc\r\n0\r\nT: u\r\n\r\n",
        "POST /f.bin HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /%66.bin HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/f.bin HTTP/1.1\r\nHost: b\r\nRange: bytes=-5\r\nIf-Range: \"v\"\r\n\r\n",
        "GET /a/../../f.bin HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
    ];
    let mut random = random();
    (0..400).map(move |number| {
        let mut bytes = REQUESTS[number % REQUESTS.len()].as_bytes().to_vec();
        for _ in 0..random(4) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = b"\r\n \t:/,-0\0\xff%"[random(12)],
                1 => bytes.insert(at, bytes[at]),
                _ => drop(bytes.remove(at)),
            }
        }
        Input { compat: number % 5 == 4, piece: [1, 7, 50, 10_000][random(4)], bytes }
    })
}

fn built_in() -> Guest {
    let mut limits = Limits::default();
    (limits.max_clients, limits.reserve) = (1, 0);
    Guest::built_in(limits).expect("the built-in guest is in order")
}

fn settings(compat: bool) -> native::Settings {
    native::Settings {
        dialect: if compat { native::Dialect::Compat } else { native::Dialect::Standard },
        home: None,
        listing: true,
        pages: true,
        headers: vec![native::Field { name: "X-A".into(), value: "b".into() }],
        cors: Some("*".into()),
        max_exchanges: 100,
        reports: true,
        secure: true,
        at_capacity: false,
    }
}

fn window(size: u64) -> native::Window {
    native::Window { start: 0, end: size, is_final: true }
}

fn open(name: &[u8]) -> Result<native::Found, native::Refusal> {
    if name.is_empty() || name == b"page" {
        return Ok(native::Found::Folder);
    }
    let (_, size) = SOURCES.iter().find(|(published, _)| *published == name).ok_or(native::Refusal::NotFound)?;
    let facts =
        native::Facts { window: window(*size), modified: Some(NOW - 5_000), version: "v".into(), media_type: None };
    Ok(native::Found::Source(facts))
}

fn listing() -> native::Listing {
    let entry = native::Entry { name: b"<b>.mp4".to_vec(), folder: false, size: 5, modified: Some(NOW) };
    native::Listing { entries: vec![entry], complete: false }
}

// ---- the same words in the two vocabularies

fn wire_settings(settings: &native::Settings) -> wire::Settings {
    let field = |field: &native::Field| wire::Field { name: field.name.clone(), value: field.value.clone() };
    wire::Settings {
        dialect: match settings.dialect {
            native::Dialect::Standard => wire::Dialect::Standard,
            native::Dialect::Compat => wire::Dialect::Compat,
        },
        home: settings.home.clone(),
        listing: settings.listing,
        pages: settings.pages,
        headers: settings.headers.iter().map(field).collect(),
        cors: settings.cors.clone(),
        max_exchanges: settings.max_exchanges,
        reports: settings.reports,
        secure: settings.secure,
        at_capacity: settings.at_capacity,
    }
}

fn wire_window(window: native::Window) -> wire::Window {
    wire::Window { start: window.start, end: window.end, final_: window.is_final }
}

fn wire_refusal(refusal: native::Refusal) -> wire::Refusal {
    match refusal {
        native::Refusal::NotFound => wire::Refusal::NotFound,
        native::Refusal::Forbidden => wire::Refusal::Forbidden,
        native::Refusal::Unavailable => wire::Refusal::Unavailable,
        native::Refusal::Failed => wire::Refusal::Failed,
    }
}

fn wire_event(event: &native::Event) -> wire::Event {
    match event {
        native::Event::Received(bytes) => wire::Event::Received(bytes.clone()),
        native::Event::Finished => wire::Event::Finished,
        native::Event::Proceeded => wire::Event::Proceeded,
        native::Event::Stopping => wire::Event::Stopping,
        native::Event::Available(window) => wire::Event::Available(wire_window(*window)),
        native::Event::Opened(Err(refusal)) => wire::Event::Opened(Err(wire_refusal(*refusal))),
        native::Event::Opened(Ok(native::Found::Folder)) => wire::Event::Opened(Ok(wire::Found::Folder)),
        native::Event::Opened(Ok(native::Found::Source(facts))) => {
            wire::Event::Opened(Ok(wire::Found::Source(wire::Facts {
                window: wire_window(facts.window),
                modified: facts.modified,
                version: facts.version.clone(),
                media_type: facts.media_type.clone(),
            })))
        }
        native::Event::Listed(Err(refusal)) => wire::Event::Listed(Err(wire_refusal(*refusal))),
        native::Event::Listed(Ok(listing)) => {
            let entry = |entry: &native::Entry| wire::Entry {
                name: entry.name.clone(),
                folder: entry.folder,
                size: entry.size,
                modified: entry.modified,
            };
            let entries = listing.entries.iter().map(entry).collect();
            wire::Event::Listed(Ok(wire::Listing { entries, complete: listing.complete }))
        }
    }
}

fn action(action: wire::Action) -> native::Action {
    match action {
        wire::Action::Receive(wire::Phase::Idle) => native::Action::Receive(native::Phase::Idle),
        wire::Action::Receive(wire::Phase::Partial) => native::Action::Receive(native::Phase::Partial),
        wire::Action::Proceed => native::Action::Proceed,
        wire::Action::Open(name) => native::Action::Open(name),
        wire::Action::List(wire::Portion { folder, after, limit }) => {
            native::Action::List(native::Portion { folder, after, limit })
        }
        wire::Action::Send(bytes) => native::Action::Send(bytes),
        wire::Action::Pass(span) => native::Action::Pass(native::Span { offset: span.offset, count: span.count }),
        wire::Action::Wait(offset) => native::Action::Wait(offset),
        wire::Action::Report(wire::Exchange { request, status, referrer, agent }) => {
            native::Action::Report(native::Exchange { request, status, referrer, agent })
        }
        wire::Action::Close(wire::Remainder::Nothing) => native::Action::Close(native::Remainder::Nothing),
        wire::Action::Close(wire::Remainder::Unread) => native::Action::Close(native::Remainder::Unread),
    }
}
