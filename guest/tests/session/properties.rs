//! What holds for all bytes, however they arrive.

use multiclient_guest::Session;
use multiclient_guest::contract::{Dialect, Event, Remainder, Settings};
use proptest::prelude::*;
use proptest::sample::select;

use crate::host::{Host, Input, Life, NOW, Response, Source, file, pattern};

fn host(dialect: Dialect) -> Host {
    let settings = Settings { dialect, listing: true, reports: true, ..Settings::default() };
    let mut host = Host { settings, ..Host::default() };
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
fn seen(life: Life) -> (String, Vec<String>, bool) {
    let reports = life.reports.iter().map(|report| format!("{report:?}")).collect();
    (life.text(), reports, life.closed.is_some())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_the_bytes_gives_the_same_replies(
        dialect in dialects(),
        bytes in anything(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let host = host(dialect);
        let whole = seen(host.whole(&bytes));
        prop_assert_eq!(&whole, &seen(host.live(pieces(&bytes, &cuts).into_iter())));
        prop_assert_eq!(&whole, &seen(host.byte_by_byte(&bytes)));
    }

    #[test]
    fn no_reply_contradicts_itself(dialect in dialects(), bytes in anything()) {
        let host = host(dialect);
        let life = host.live([Input::Bytes(bytes), Input::Finish].into_iter());
        let methods = life.reports.iter().map(|report| match report.request.starts_with("HEAD ") {
            true => "HEAD",
            false => "GET",
        });
        let statuses = life.reports.iter().map(|report| report.status);
        let mut rest = &life.output[..];
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
        prop_assert!(life.closed.is_some());
    }

    #[test]
    fn a_server_that_stops_at_any_moment_still_gives_whole_replies(
        bytes in conversation(),
        cut in any::<prop::sample::Index>(),
    ) {
        let host = host(Dialect::Standard);
        let (first, second) = bytes.split_at(cut.index(bytes.len()));
        let inputs = [first, second].map(|piece| Input::Bytes(piece.to_vec()));
        let [first, second] = inputs;
        let inputs: Vec<Input> = [first, Input::Stop, second, Input::Finish].into_iter()
            .filter(|input| !matches!(input, Input::Bytes(bytes) if bytes.is_empty())).collect();
        let life = host.live(inputs.into_iter());
        prop_assert!(life.closed.is_some());
    }

    #[test]
    fn events_that_answer_nothing_end_the_session(bytes in anything()) {
        let mut session = Session::new(Settings::default());
        session.advance(NOW, Event::Received(bytes));
        session.advance(NOW, Event::Listed(Err(multiclient_guest::contract::Refusal::Failed)));
        let actions = session.advance(NOW, Event::Available(multiclient_guest::contract::Window {
            start: 5, end: 1, is_final: true,
        }));
        prop_assert!(!actions.is_empty());
    }
}

#[test]
fn a_session_closes_with_unread_when_it_is_told_nonsense() {
    let mut session = Session::new(Settings::default());
    let actions = session.advance(NOW, Event::Opened(Err(multiclient_guest::contract::Refusal::Failed)));
    assert_eq!(actions, [multiclient_guest::contract::Action::Close(Remainder::Unread)]);
}
