//! Sources that are not complete: live ones, growing ones, and the rest of a live one that has ended.

use multiclient_guest::contract::{Remainder, Window};

use crate::host::{Host, Input, Outcome, Response, Source, file, get, pattern, response_of};

fn window(start: u64, end: u64) -> Window {
    Window { start, end, is_final: false }
}

fn last(start: u64, end: u64) -> Window {
    Window { start, end, is_final: true }
}

/// A source that goes through these windows.
fn source(windows: &[Window]) -> Source {
    let (first, growth) = windows.split_first().expect("a source has a window");
    let end = windows.iter().map(|window| window.end).max().expect("a source has a window");
    let mut source = Source { growth: growth.to_vec(), ..file(&pattern(end)) };
    source.facts.window = *first;
    source
}

/// A host with one source, `/live.ts`, that goes through these windows.
fn host(windows: &[Window]) -> Host {
    host_of(source(windows))
}

fn host_of(source: Source) -> Host {
    let mut host = Host::default();
    host.publish("live.ts", source);
    host
}

#[test]
fn a_growing_source_is_sent_in_chunks_until_it_ends() {
    let host = host(&[window(0, 0), window(0, 10), window(5, 300), last(5, 300)]);
    let response = response_of(&host, &get("/live.ts", ""));
    assert_eq!(
        response.head,
        "HTTP/1.1 200 OK\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\nContent-Type: video/mp2t\r\n\
         Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\nX-Content-Type-Options: nosniff\r\n\r\n"
    );
    assert!(response.complete);
    assert_eq!(response.body, pattern(300));
}

#[test]
fn a_client_begins_where_the_window_begins() {
    let response = response_of(&host(&[window(50, 60), last(50, 70)]), &get("/live.ts", ""));
    assert_eq!(response.body, pattern(70)[50..]);
}

#[test]
fn an_http_1_0_client_reads_until_the_connection_ends() {
    let response =
        response_of(&host(&[window(0, 10), last(0, 20)]), "GET /live.ts HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(response.field("Transfer-Encoding"), None);
    assert_eq!(response.field("Connection"), Some("close"));
    assert_eq!(response.body, pattern(20));
}

#[test]
fn a_client_that_falls_behind_can_tell() {
    for request in [get("/live.ts", ""), "GET /live.ts HTTP/1.0\r\n\r\n".into()] {
        let outcome: Outcome = host(&[window(0, 10), window(11, 20)]).whole(request.as_bytes());
        let (response, _) = Response::read(&outcome.output, "GET");
        assert_eq!(response.body, pattern(10));
        assert_eq!(outcome.closed, Some(Remainder::Nothing));
        if request.contains("HTTP/1.1") {
            assert!(!response.complete);
        }
    }
}

#[test]
fn a_broken_stream_is_reported_too() {
    let mut host = host(&[window(0, 10), window(11, 20)]);
    host.settings.reports = true;
    assert_eq!(host.whole(get("/live.ts", "").as_bytes()).reports.len(), 1);
}

#[test]
fn a_large_window_is_passed_in_bounded_pieces() {
    let length = 5 * 1024 * 1024 + 1;
    let response = response_of_once(&host(&[window(0, length), last(0, length)]));
    assert_eq!(response.body, pattern(length));
}

/// Without the byte by byte: this is a lot of bytes.
fn response_of_once(host: &Host) -> Response {
    let outcome = host.whole(get("/live.ts", "").as_bytes());
    let (response, rest) = Response::read(&outcome.output, "GET");
    assert_eq!(rest, b"");
    response
}

#[test]
fn head_does_not_wait_for_a_live_source() {
    let response = response_of(&host(&[window(0, 0)]), "HEAD /live.ts HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(response.field("Transfer-Encoding"), Some("chunked"));
}

#[test]
fn a_part_in_the_window_can_be_requested_before_the_size_is_known() {
    let host = host(&[window(10, 20), last(10, 20)]);
    let response = response_of(&host, &get("/live.ts", "Range: bytes=10-19\r\n"));
    assert_eq!((response.status, response.field("Content-Range")), (206, Some("bytes 10-19/*")));
    assert_eq!(response.body, pattern(20)[10..]);
    for value in ["0-", "10-", "-5", "10-20", "9-10"] {
        let response = response_of(&host, &get("/live.ts", &format!("Range: bytes={value}\r\n")));
        assert_eq!(response.status, 200, "{value}");
    }
    let conditional = get("/live.ts", "Range: bytes=10-19\r\nIf-Range: \"v20\"\r\n");
    assert_eq!(response_of(&host, &conditional).status, 200);
}

#[test]
fn live_input_has_no_parts() {
    let mut source = source(&[window(0, 20), last(0, 20)]);
    (source.facts.modified, source.facts.version) = (None, String::new());
    let live = host_of(source);
    for value in ["0-", "0-9", "-5"] {
        let response = response_of(&live, &get("/live.ts", &format!("Range: bytes={value}\r\n")));
        assert_eq!((response.status, response.field("Content-Range")), (200, None), "{value}");
        assert_eq!(response.body, pattern(20), "{value}");
    }
}

#[test]
fn the_rest_of_an_ended_live_source_has_a_length_and_no_ranges() {
    let response = response_of(&host(&[last(10, 20)]), &get("/live.ts", ""));
    assert_eq!((response.field("Content-Length"), response.field("Accept-Ranges")), (Some("10"), None));
    assert_eq!((response.field("Cache-Control"), response.field("ETag")), (Some("no-store"), None));
    assert_eq!(response.body, pattern(20)[10..]);
}

#[test]
fn a_stream_goes_on_when_the_server_stops_and_is_the_last() {
    let host = host(&[window(0, 0), last(0, 20)]);
    let inputs = [Input::Bytes(get("/live.ts", "").into()), Input::Stop];
    let outcome = host.run(inputs.into_iter());
    let (response, _) = Response::read(&outcome.output, "GET");
    assert_eq!((response.body, response.complete), (pattern(20), true));
    assert_eq!(outcome.closed, Some(Remainder::Nothing));
}
