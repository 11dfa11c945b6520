//! What holds for all bytes, however they arrive.

use multiclient_guest::Session;
use multiclient_guest::contract::{Dialect, Entry, Event, Remainder, Settings};
use proptest::prelude::*;
use proptest::sample::select;

use crate::host::{Host, Input, NOW, Outcome, Response, Source, file, pattern};

fn host(dialect: Dialect) -> Host {
    let settings = Settings { dialect, listing: true, pages: true, reports: true, ..Settings::default() };
    // Listings of more than one portion, and of more than one piece.
    let mut host = Host { settings, portion: 7, ..Host::default() };
    let entry = |number: u64| Entry {
        name: format!("{number:0>3}{}.mp3", "<".repeat(248)).into(),
        folder: number.is_multiple_of(5),
        size: number,
        modified: Some(NOW),
    };
    host.folders.insert(b"many".to_vec(), (0..20).map(entry).collect());
    host.folders.insert(b"few".to_vec(), (0..3).map(entry).collect());
    let window = |start, end, is_final| multiclient_guest::contract::Window { start, end, is_final };
    let growth = vec![window(0, 5, false), window(3, 2_000, false), window(3, 2_500, true)];
    let mut live = Source { growth, ..file(&pattern(2_500)) };
    live.facts.window = window(0, 0, false);
    host.publish("live.ts", live);
    host
}

fn dialects() -> impl Strategy<Value = Dialect> {
    select(vec![Dialect::Standard, Dialect::Compat])
}

/// Requests that are in order, nearly in order, or from somebody who knows just enough HTTP.
fn request() -> impl Strategy<Value = String> {
    let method = select(vec!["GET", "GET", "GET", "HEAD", "OPTIONS", "POST", "BREW"]);
    let target = select(vec![
        "/ten",
        "/f.bin",
        "/live.ts",
        "/page",
        "/page/",
        "/sub/",
        "/many/",
        "/few/?sort=size&order=desc",
        "/many/?m3u",
        "/film.mp4?play",
        "/",
        "/nothing",
        "/secret",
        "/busy",
        "/style.css",
        "/%2e%2e/x",
        "/a/../ten",
        "http://h/ten",
        "*",
        "/empty",
        "/film.mp4",
        "/a%2Fb",
    ]);
    let version = select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.7", "HTTP/2.0"]);
    let field = select(vec![
        "Host: other",
        "Connection: close",
        "Connection: keep-alive",
        "Range: bytes=0-4",
        "Range: bytes=-3,0-1,5-6",
        "Range: bytes=99999-",
        "If-None-Match: \"v10\"",
        "If-Match: \"x\"",
        "If-Range: \"v10\"",
        "If-Modified-Since: Fri, 02 Jan 2026 02:04:05 GMT",
        "Accept-Encoding: gzip, br;q=0.5",
        "Accept: application/json",
        "Accept: text/html",
        "Accept: audio/x-mpegurl",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Expect: 100-continue",
        "User-Agent: \u{1F600}",
        "X: y",
        "X : y",
    ]);
    let body = select(vec!["", "", "", "hello", "5\r\nhello\r\n0\r\n\r\n", "0\r\nA: b\r\n\r\n", "zz"]);
    (method, target, version, prop::collection::vec(field, 0..4), body).prop_map(
        |(method, target, version, fields, body)| {
            let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
            format!("{method} {target} {version}\r\nHost: h\r\n{fields}\r\n{body}")
        },
    )
}

fn conversation() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(request(), 1..5).prop_map(|requests| requests.concat().into_bytes())
}

/// A conversation with a few bytes changed, taken out or put in.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), select(b"\r\n\t :/%,;=\"\0".to_vec())];
    let damage = prop::collection::vec((any::<prop::sample::Index>(), byte, 0..3u8), 0..4);
    (conversation(), damage).prop_map(|(mut bytes, damage)| {
        for (place, byte, kind) in damage {
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => {}
            }
        }
        bytes
    })
}

fn garbage() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..300)
}

fn anything() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => conversation(), 3 => damaged(), 1 => garbage()]
}

/// Cuts bytes at places, and sends the pieces.
fn pieces(bytes: &[u8], cuts: &[prop::sample::Index]) -> Vec<Input> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).chain([bytes.len()]).collect();
    ends.sort_unstable();
    let mut start = 0;
    let mut pieces = Vec::new();
    for end in ends {
        if end > start {
            pieces.push(Input::Bytes(bytes[start..end].to_vec()));
            start = end;
        }
    }
    pieces
}

/// What the client would see, and how the log would read.
fn seen(outcome: Outcome) -> (String, Vec<String>, bool) {
    let reports = outcome.reports.iter().map(|report| format!("{report:?}")).collect();
    (outcome.text(), reports, outcome.closed.is_some())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_the_bytes_gives_the_same_responses(
        dialect in dialects(),
        bytes in anything(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let host = host(dialect);
        let whole = seen(host.whole(&bytes));
        prop_assert_eq!(&whole, &seen(host.run(pieces(&bytes, &cuts).into_iter())));
        prop_assert_eq!(&whole, &seen(host.byte_by_byte(&bytes)));
    }

    #[test]
    fn no_response_contradicts_itself(dialect in dialects(), bytes in anything()) {
        let host = host(dialect);
        let outcome = host.run([Input::Bytes(bytes), Input::Finish].into_iter());
        let methods = outcome.reports.iter().map(|report| match report.request.starts_with("HEAD ") {
            true => "HEAD",
            false => "GET",
        });
        let statuses = outcome.reports.iter().map(|report| report.status);
        let mut rest = &outcome.output[..];
        for (method, status) in methods.zip(statuses) {
            let response = loop {
                let (response, after) = Response::read(rest, method);
                rest = after;
                if response.status >= 200 {
                    break response;
                }
            };
            prop_assert_eq!(response.status, status);
            // Only a stream whose source moved on may break, and that ends the connection.
            prop_assert!(response.complete || rest.is_empty());
            prop_assert_eq!(response.field("Content-Range").is_some(), status == 416
                || status == 206 && !response.field("Content-Type").unwrap_or("").starts_with("multipart/"));
            if response.field("Connection") == Some("close") {
                prop_assert_eq!(rest, &b""[..]);
            }
        }
        // A word to go on may come before a body that never does.
        prop_assert!(rest.is_empty() || rest == b"HTTP/1.1 100 Continue\r\n\r\n");
        prop_assert!(outcome.closed.is_some());
    }

    #[test]
    fn a_server_that_stops_at_any_moment_completes_its_responses(
        bytes in conversation(),
        cut in any::<prop::sample::Index>(),
        home in any::<bool>(),
        turns in 0..8_usize,
    ) {
        let mut host = host(Dialect::Standard);
        host.settings.home = home.then(|| b"live.ts".to_vec());
        let (first, second) = bytes.split_at(cut.index(bytes.len()));
        let inputs = [first, second].map(|piece| Input::Bytes(piece.to_vec()));
        let [first, second] = inputs;
        // The server stops at the wait of the client, or as many waits later.
        let inputs: Vec<Input> = [first].into_iter()
            .chain(vec![Input::Turn; turns])
            .chain([Input::Stop, second, Input::Finish])
            .filter(|input| !matches!(input, Input::Bytes(bytes) if bytes.is_empty())).collect();
        let outcome = host.run(inputs.into_iter());
        prop_assert!(outcome.closed.is_some());
        let mut rest = &outcome.output[..];
        for report in &outcome.reports {
            let method = if report.request.starts_with("HEAD ") { "HEAD" } else { "GET" };
            let response = loop {
                let (response, after) = Response::read(rest, method);
                rest = after;
                if response.status >= 200 {
                    break response;
                }
            };
            prop_assert!(response.complete || rest.is_empty());
        }
    }

    #[test]
    fn unexpected_events_end_the_session(bytes in anything()) {
        let mut session = Session::new(Settings::default());
        session.advance(NOW, Event::Received(bytes));
        session.advance(NOW, Event::Listed(Err(multiclient_guest::contract::Refusal::Failed)));
        session.advance(NOW, Event::Proceeded);
        let actions = session.advance(NOW, Event::Available(multiclient_guest::contract::Window {
            start: 5, end: 1, is_final: true,
        }));
        prop_assert!(!actions.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_folder_is_listed_whole_whatever_a_portion_is(
        count in 0..30_u64,
        portion in 1..15_usize,
        width in select(vec![4, 4, 4, 240]),
        form in select(vec!["GET /f/ HTTP/1.1", "GET /f/ HTTP/1.0", "GET /f/?m3u HTTP/1.1"]),
    ) {
        let entry = |number: u64| Entry {
            name: format!("{number:0>3}{}.mp3", "<".repeat(width)).into(), folder: false, size: number, modified: None,
        };
        let mut host = host(Dialect::Standard);
        host.portion = portion;
        host.folders.insert(b"f".to_vec(), (0..count).map(entry).collect());
        let outcome = host.whole(format!("{form}\r\nHost: a\r\n\r\n").as_bytes());
        let (response, rest) = Response::read(&outcome.output, "GET");
        prop_assert!(response.complete && rest.is_empty());
        prop_assert_eq!(outcome.listed.len() as u64, count.div_ceil(portion as u64).max(1));
        let body = String::from_utf8_lossy(&response.body).into_owned();
        let mut rest = body.as_str();
        for number in 0..count {
            rest = rest.split_once(&format!("{number:0>3}%3C")).expect("each comes after the one before").1;
        }
    }
}

#[test]
fn a_session_closes_after_an_event_that_it_did_not_ask_for() {
    let mut session = Session::new(Settings::default());
    let actions = session.advance(NOW, Event::Opened(Err(multiclient_guest::contract::Refusal::Failed)));
    assert_eq!(actions, [multiclient_guest::contract::Action::Close(Remainder::Unread)]);
}
