//! Guards: what they see, and what follows from their decision.

use multiclient_guest::contract::Dialect;
use multiclient_guest::{Asked, Denied};

use crate::host::{Host, Response, get, response_of};

/// Admits requests with the word, keeps `GET /ten` from everybody, and challenges others.
fn doorkeeper(asked: &Asked<'_>) -> Result<(), Denied> {
    let mut words = asked.fields("x-word");
    match (words.next(), words.next()) {
        _ if asked.target() == b"/ten" && asked.method() == b"GET" => Err(Denied::Forbidden),
        (Some(b"please"), None) => Ok(()),
        _ => Err(Denied::Unauthorized(b"Basic realm=\"films\"".to_vec())),
    }
}

fn guarded() -> Host {
    Host { guard: Some(doorkeeper), ..Host::default() }
}

#[test]
fn an_admitted_request_gets_the_usual_response() {
    let (guarded, open) = (guarded(), Host::default());
    for lines in ["X-Word: please\r\n", "x-word:please\r\n", "A: b\r\nX-WORD: \t please \r\nRange: bytes=0-3\r\n"] {
        assert_eq!(
            response_of(&guarded, &get("/f.bin", lines)),
            response_of(&open, &get("/f.bin", lines)),
            "{lines:?}"
        );
    }
}

#[test]
fn a_rejected_request_gets_a_challenge_and_nothing_is_opened() {
    for lines in
        ["", "X-Word:\r\n", "X-Word: Please\r\n", "X-Word: please\r\nX-Word: please\r\n", "X-Words: please\r\n"]
    {
        for dialect in [Dialect::Standard, Dialect::Compat] {
            let mut host = guarded();
            host.settings.dialect = dialect;
            let response = response_of(&host, &get("/f.bin", lines));
            assert_eq!(response.status, 401, "{lines:?}");
            assert_eq!(response.field("WWW-Authenticate"), Some("Basic realm=\"films\""));
            assert_eq!(response.field("Cache-Control"), Some("no-store"));
            assert_eq!(response.body, b"401 Unauthorized\n");
            assert!(host.whole(get("/f.bin", lines).as_bytes()).opened.is_empty());
        }
    }
}

#[test]
fn rejection_does_not_reveal_what_exists() {
    let host = guarded();
    assert_eq!(response_of(&host, &get("/f.bin", "")), response_of(&host, &get("/nothing", "")));
    assert_eq!(response_of(&host, &get("/ten", "X-Word: please\r\n")).status, 403);
}

#[test]
fn every_request_of_a_connection_is_checked() {
    let host = guarded();
    let requests = [get("/f.bin", "X-Word: please\r\n"), get("/f.bin", ""), get("/film.mp4", "X-Word: please\r\n")];
    let mut output = &host.whole(requests.concat().as_bytes()).output[..];
    for status in [200, 401, 200] {
        let (response, rest) = Response::read(output, "GET");
        assert_eq!((response.status, response.complete), (status, true));
        output = rest;
    }
    assert_eq!(output, b"");
}

#[test]
fn a_request_within_a_body_does_not_count() {
    let host = guarded();
    let inner = get("/f.bin", "X-Word: please\r\n");
    let outer = get("/film.mp4", &format!("Content-Length: {}\r\n", inner.len())) + &inner;
    let response = response_of(&host, &outer);
    assert_eq!(response.status, 401, "what is in a body does not speak for who sent it");
}

#[test]
fn other_methods_are_checked_too() {
    let host = guarded();
    for method in ["HEAD", "OPTIONS", "POST", "BREW"] {
        let request = format!("{method} /f.bin HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(response_of(&host, &request).status, 401, "{method}");
    }
    // `/ten` is kept from GET, and this is another method.
    assert_eq!(response_of(&host, "HEAD /ten HTTP/1.1\r\nHost: a\r\nX-Word: please\r\n\r\n").status, 200);
}

#[test]
fn a_full_server_does_not_ask_for_credentials() {
    let mut host = guarded();
    host.settings.at_capacity = true;
    assert_eq!(response_of(&host, &get("/f.bin", "")).status, 503);
}
