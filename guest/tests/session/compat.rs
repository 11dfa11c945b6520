//! The compat dialect against recordings of FFmpeg's example server (`tests/ffmpeg_wire`).

use std::fs;

use multiclient_guest::contract::{Dialect, Remainder, Settings};

use crate::host::{Host, Input, Outcome, Response, check_ways, file, get, pattern};

/// One recorded exchange.
struct Recording {
    /// The one source that the original served.
    source: String,
    request: Vec<u8>,
    /// The response; where `whole` is false only its head.
    response: Vec<u8>,
    whole: bool,
    /// How long the whole response was.
    length: usize,
}

impl Recording {
    fn read(case: &str) -> Self {
        let path = format!("{}/tests/ffmpeg_wire/{case}.txt", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let (about, rest) = text.split_once("--- request").expect("a request");
        let (request, response) = rest.split_once("--- response").expect("a response");
        let arguments = about.lines().find_map(|line| line.strip_prefix("server-argv: multi "));
        let (source, _) = arguments.expect("arguments").rsplit_once(' ').expect("two arguments");
        let length = about.lines().find_map(|line| line.strip_prefix("response-bytes: "));
        Self {
            source: source.to_owned(),
            request: unescape(request),
            whole: !response.lines().next().expect("a title").contains("headers only"),
            response: unescape(response),
            length: length.map_or(0, |length| length.parse().expect("a length")),
        }
    }
}

/// Undoes the escapes of a block, without its title. An escaped end of line is written `\n` and followed
/// by a real one, which only makes the recording readable.
fn unescape(block: &str) -> Vec<u8> {
    let (_, text) = block.split_once('\n').expect("a title");
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'\n' => {}
            b'\\' => match rest.next().expect("an escape") {
                b'r' => bytes.push(b'\r'),
                b'n' => bytes.push(b'\n'),
                b'x' => {
                    let digits = [rest.next().expect("a digit"), rest.next().expect("a digit")];
                    let digits = std::str::from_utf8(&digits).expect("ASCII");
                    bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
                }
                other => bytes.push(other),
            },
            other => bytes.push(other),
        }
    }
    bytes
}

fn host() -> Host {
    let settings = Settings { dialect: Dialect::Compat, ..Settings::default() };
    let mut host = Host { settings, ..Host::default() };
    host.publish("dir/file", file(b"nested file\n"));
    host.publish("f\u{e9}.txt", file("\u{e9}\n".as_bytes()));
    host.publish("sp%20ace", file(b"literal percent name\n"));
    host.publish("sp ace", file(b"space\n"));
    host.publish("empty", file(b""));
    host
}

/// The client sends the recorded bytes and then no more.
fn outcome(recording: &Recording) -> Outcome {
    let mut host = host();
    host.sources.retain(|name, _| name == recording.source.as_bytes());
    host.run([Input::Bytes(recording.request.clone()), Input::Finish].into_iter())
}

#[test]
fn sane_responses_are_the_same_byte_for_byte() {
    for case in [
        "get-ok",
        "byte-at-a-time",
        "connection-close",
        "expect-100",
        "halfclose-after-request",
        "icy-metadata",
        "if-none-match",
        "request-gzip",
        "upgrade-h2c",
        "in-nested",
        "in-empty",
        "in-utf8",
        "in-literal-percent",
        "get-root",
        "get-wrong-path",
        "case-differs",
        "dot-segment",
        "dotdot",
        "double-slash",
        "trailing-slash",
        "no-leading-slash",
        "absolute-form",
        "percent-encoded",
        "in-space-pct",
        "in-utf8-pct",
        "query-string",
        "fragment",
        "error-then-retry",
        "pipelined-two",
        "keepalive-second",
        "garbage-one-token",
        "leading-space",
        "space-in-path",
        "nul-in-path",
        "version-bad",
        "http09-simple",
        "http09-blank",
    ] {
        let recording = Recording::read(case);
        let outcome = outcome(&recording);
        let output = &outcome.output;
        assert_eq!(output.len(), recording.length, "{case}: {}", outcome.text());
        if recording.whole {
            assert_eq!(outcome.text(), String::from_utf8_lossy(&recording.response), "{case}");
        } else {
            assert!(output.starts_with(&recording.response), "{case}: {}", outcome.text());
            assert_eq!(Response::read(output, "GET").0.body, pattern(2500), "{case}");
        }
        assert!(outcome.closed.is_some(), "{case}: the original leaves its clients hanging");
    }
}

#[test]
fn half_a_header_section_gets_no_response() {
    for case in ["partial-then-halfclose", "silent-client"] {
        let recording = Recording::read(case);
        let inputs = [recording.request, Vec::new()].into_iter().filter(|bytes| !bytes.is_empty());
        let outcome = host().run(inputs.map(Input::Bytes).chain([Input::Finish]));
        assert_eq!((outcome.text().as_str(), outcome.closed), ("", Some(Remainder::Nothing)), "{case}");
    }
}

/// Where the original's answer is a defect.
#[test]
fn other_responses_follow_the_rfcs() {
    for (case, method, status) in [
        ("head", "HEAD", 200),
        ("post", "POST", 405),
        ("put", "PUT", 405),
        ("delete", "DELETE", 405),
        ("connect", "CONNECT", 405),
        ("options-star", "OPTIONS", 204),
        ("get-lowercase-method", "get", 501),
        ("h2-prior-knowledge", "PRI", 505),
        ("http20-version", "GET", 505),
        ("range", "GET", 206),
        ("http10", "GET", 200),
        ("http10-keepalive", "GET", 200),
        ("leading-crlf", "GET", 200),
        ("bare-lf", "GET", 400),
        ("http-lowercase", "GET", 400),
        ("http-slash-only", "GET", 400),
        ("http-version-junk", "GET", 400),
        ("header-no-colon", "GET", 400),
        ("header-obs-fold", "GET", 400),
        ("multi-space", "GET", 400),
        ("tabs-as-separators", "GET", 400),
        ("no-host", "GET", 400),
        ("empty-host", "GET", 400),
        ("two-hosts", "GET", 400),
    ] {
        let recording = Recording::read(case);
        let outcome = outcome(&recording);
        let (response, _) = Response::read(&outcome.output, method);
        assert_eq!((response.status, response.complete), (status, true), "{case}");
        assert_ne!(outcome.output, recording.response, "{case}");
        assert!(outcome.closed.is_some(), "{case}");
    }
}

#[test]
fn an_http_1_0_client_gets_no_chunks() {
    let outcome = host().whole(b"GET /f.bin HTTP/1.0\r\n\r\n");
    let (response, _) = Response::read(&outcome.output, "GET");
    assert_eq!((response.field("Transfer-Encoding"), response.field("Content-Length")), (None, Some("2500")));
}

#[test]
fn a_body_of_many_chunks_takes_many_lists() {
    let mut host = host();
    host.settings.reports = true;
    for kib in [27, 28, 29, 56, 200] {
        for extra in [0, 1] {
            let bytes = pattern(kib * 1024 + extra);
            host.publish("long", file(&bytes));
            let outcome = check_ways(&host, get("/long", "").as_bytes());
            let (response, rest) = Response::read(&outcome.output, "GET");
            assert_eq!((response.body, response.complete, rest), (bytes, true, &b""[..]));
            assert_eq!(outcome.reports.len(), 1);
        }
    }
}

#[test]
fn errors_are_the_same_byte_for_byte() {
    for (path, expected) in [
        (
            "/secret",
            "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 15\r\n\r\n403 Forbidden\r\n",
        ),
        (
            "/broken",
            "HTTP/1.1 500 Internal server error\r\nContent-Type: text/plain\r\nContent-Length: 27\r\n\r\n\
             500 Internal server error\r\n",
        ),
        ("/page", "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 15\r\n\r\n404 Not Found\r\n"),
        ("/page/", "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 15\r\n\r\n404 Not Found\r\n"),
        ("/", "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 15\r\n\r\n404 Not Found\r\n"),
    ] {
        assert_eq!(check_ways(&host(), get(path, "").as_bytes()).text(), expected, "{path}");
    }
    let busy = host().whole(get("/busy", "").as_bytes());
    assert_eq!(Response::read(&busy.output, "GET").0.field("Retry-After"), Some("1"));
}
