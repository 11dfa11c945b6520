//! How long a connection persists (RFC 9112 section 9), and what the host is told about it.

use multiclient_guest::contract::{Exchange, Phase, Remainder, Settings};

use crate::host::{Host, Input, Outcome, Response, check_ways, get, response_of};

fn settings(settings: Settings) -> Host {
    Host { settings, ..Host::default() }
}

fn statuses(outcome: &Outcome) -> Vec<u16> {
    let mut statuses = Vec::new();
    let mut rest = &outcome.output[..];
    while !rest.is_empty() {
        let (response, after) = Response::read(rest, "GET");
        statuses.push(response.status);
        rest = after;
    }
    statuses
}

/// Section 9.3.
#[test]
fn persistence_depends_on_version_and_connection() {
    for (version, option, said, closes) in [
        ("HTTP/1.1", "", None, false),
        ("HTTP/1.1", "Connection: close\r\n", Some("close"), true),
        ("HTTP/1.1", "Connection: x, CLOSE\r\n", Some("close"), true),
        ("HTTP/1.1", "Connection: x\r\nConnection: close\r\n", Some("close"), true),
        ("HTTP/1.1", "Connection: keep-alive\r\n", None, false),
        ("HTTP/1.1", "Connection: closed\r\n", None, false),
        ("HTTP/1.0", "", Some("close"), true),
        ("HTTP/1.0", "Connection: keep-alive\r\n", Some("keep-alive"), false),
        ("HTTP/1.0", "Connection: Keep-Alive, close\r\n", Some("close"), true),
    ] {
        let request = format!("GET /ten {version}\r\nHost: a\r\n{option}\r\n");
        let outcome = check_ways(&Host::default(), request.as_bytes());
        let (response, _) = Response::read(&outcome.output, "GET");
        assert_eq!(response.field("Connection"), said, "{request}");
        assert_eq!(outcome.closed.is_some(), closes, "{request}");
    }
}

#[test]
fn any_number_of_requests_may_come_at_once() {
    let host = Host::default();
    let one = get("/ten", "");
    let answer = host.whole(one.as_bytes()).output;
    for count in [2, 25, 3_000] {
        let outcome = host.whole(one.repeat(count).as_bytes());
        assert_eq!(outcome.opened.len(), count, "nothing is opened but what was asked for");
        assert_eq!(outcome.output, answer.repeat(count));
        assert_eq!(outcome.closed, None);
    }
}

#[test]
fn responses_without_a_source_do_not_overflow_a_list() {
    let mut host = Host::default();
    host.settings.reports = true;
    let one = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = host.whole(one.as_bytes()).output;
    let outcome = host.whole(one.repeat(1_000).as_bytes());
    assert_eq!(outcome.output, answer.repeat(1_000));
    assert_eq!((outcome.reports.len(), outcome.opened.len()), (1_000, 0));
    assert_eq!(outcome.closed, None);
}

#[test]
fn the_last_exchange_closes_the_connection() {
    let host = settings(Settings { max_exchanges: 2, ..Settings::default() });
    let outcome = host.whole(get("/ten", "").repeat(3).as_bytes());
    let (first, rest) = Response::read(&outcome.output, "GET");
    let (second, rest) = Response::read(rest, "GET");
    assert_eq!((first.field("Connection"), second.field("Connection")), (None, Some("close")));
    assert_eq!((rest, outcome.closed), (&b""[..], Some(Remainder::Unread)));
}

/// Section 9.6.
#[test]
fn the_host_is_told_whether_input_may_be_left() {
    for (request, remainder) in [
        (get("/ten", "Connection: close\r\n"), Remainder::Nothing),
        ("GET /ten HTTP/1.0\r\n\r\n".into(), Remainder::Nothing),
        (get("/ten", "Connection: close\r\n") + "x", Remainder::Unread),
        ("POST /ten HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n".into(), Remainder::Unread),
        ("nonsense\r\n\r\n".into(), Remainder::Unread),
    ] {
        assert_eq!(Host::default().whole(request.as_bytes()).closed, Some(remainder), "{request}");
    }
}

#[test]
fn a_half_closed_client_gets_all_its_responses() {
    let requests = get("/ten", "").repeat(3) + &get("/nothing", "");
    for pieces in [1, 7, 10_000] {
        let bytes = requests.as_bytes().chunks(pieces).map(|piece| Input::Bytes(piece.to_vec()));
        let outcome = Host::default().run(bytes.chain([Input::Finish]));
        assert_eq!(statuses(&outcome), [200, 200, 200, 404]);
        assert_eq!(outcome.closed, Some(Remainder::Nothing));
    }
}

#[test]
fn half_a_request_gets_no_response() {
    let request = get("/ten", "Content-Length: 5\r\n") + "hell";
    for end in 0..request.len() {
        let bytes = request.as_bytes()[..end].iter().map(|byte| Input::Bytes(vec![*byte]));
        let outcome = Host::default().run(bytes.chain([Input::Finish]));
        assert_eq!((outcome.text().as_str(), outcome.closed), ("", Some(Remainder::Nothing)), "{end}");
    }
}

/// Whoever has begun a request must complete it in time, also after another one: the idle timeout is long.
#[test]
fn the_host_is_told_whether_a_request_has_begun() {
    let (whole, body) = (get("/ten", ""), get("/ten", "Content-Length: 5\r\n"));
    for (bytes, phase) in [
        ("\r\n".to_owned(), Phase::Partial),
        ("GET".to_owned(), Phase::Partial),
        (whole.clone(), Phase::Idle),
        (whole.clone() + "\r", Phase::Partial),
        (whole.clone() + "\r\n", Phase::Idle),
        (whole.clone() + "\r\nG", Phase::Partial),
        (whole.clone() + "GET /ten HTTP/1.1\r\n", Phase::Partial),
        (whole.repeat(40), Phase::Idle),
        (whole.repeat(40) + "G", Phase::Partial),
        (body.clone() + "hell", Phase::Partial),
        (body.clone() + "hello", Phase::Idle),
        (get("/ten", "Content-Length: 5\r\nExpect: 100-continue\r\n"), Phase::Partial),
    ] {
        assert_eq!(Host::default().whole(bytes.as_bytes()).phase, Some(phase), "{bytes:?}");
        assert_eq!(Host::default().byte_by_byte(bytes.as_bytes()).phase, Some(phase), "{bytes:?}");
    }
}

#[test]
fn an_idle_client_is_disconnected_when_the_server_stops() {
    // The second is the empty line that may stand before a request: it does not make one.
    for bytes in [&b""[..], b"\r\n"] {
        let request = get("/ten", "");
        let pieces = request.as_bytes().chunks(request.len()).chain([bytes]).filter(|piece| !piece.is_empty());
        let inputs = pieces.map(|piece| Input::Bytes(piece.to_vec())).chain([Input::Stop]);
        let outcome = Host::default().run(inputs);
        assert_eq!((statuses(&outcome), outcome.closed), (vec![200], Some(Remainder::Nothing)));
    }
}

#[test]
fn a_client_in_a_request_gets_its_response_when_the_server_stops() {
    let request = get("/ten", "Content-Length: 5\r\n") + "hello";
    for split in 1..request.len() {
        let (first, second) = request.as_bytes().split_at(split);
        let inputs = [Input::Bytes(first.to_vec()), Input::Stop, Input::Bytes(second.to_vec())];
        let outcome = Host::default().run(inputs.into_iter());
        let (response, rest) = Response::read(&outcome.output, "GET");
        assert_eq!((response.field("Connection"), rest), (Some("close"), &b""[..]), "{split}");
        assert_eq!(outcome.closed, Some(Remainder::Nothing));
    }
}

#[test]
fn an_open_or_list_is_repeated_when_the_server_stops() {
    let host = settings(Settings { listing: true, ..Settings::default() });
    for path in ["/ten", "/sub/"] {
        let inputs = [Input::Bytes(get(path, "").into()), Input::Stop];
        let outcome = host.run(inputs.into_iter());
        assert_eq!(statuses(&outcome), [200], "{path}");
        assert_eq!(outcome.closed, Some(Remainder::Nothing));
    }
}

fn reporting() -> Host {
    settings(Settings { reports: true, ..Settings::default() })
}

#[test]
fn every_exchange_is_reported_once() {
    let lines = "Referer: http://a/\u{1F600}\r\nUser-Agent: me \"1\"\r\n";
    let outcome = check_ways(&reporting(), (get("/ten", lines) + &get("/nothing", "")).as_bytes());
    let first = Exchange {
        request: "GET /ten HTTP/1.1".into(),
        status: 200,
        referrer: "http://a/\\xf0\\x9f\\x98\\x80".into(),
        agent: "me \"1\"".into(),
    };
    let second = Exchange {
        request: "GET /nothing HTTP/1.1".into(),
        status: 404,
        referrer: String::new(),
        agent: String::new(),
    };
    assert_eq!(outcome.reports, [first, second]);
}

#[test]
fn a_malformed_request_is_reported_as_far_as_it_was_read() {
    for (bytes, request, status) in [
        ("GET /ten HTTP/1.1\r\n\r\n".to_owned(), "GET /ten HTTP/1.1".to_owned(), 400),
        ("\x16\x03\x01\x02".to_owned(), String::new(), 400),
        ("GET /\x1b[2J HTTP/1.1\r\n\r\n".to_owned(), "GET /".to_owned(), 400),
        ("\r\nnonsense\r\n\r\n".to_owned(), "nonsense".to_owned(), 400),
        (format!("GET /{}", "y".repeat(9_000)), format!("GET /{}", "y".repeat(2_043)), 414),
    ] {
        let outcome = check_ways(&reporting(), bytes.as_bytes());
        let report = outcome.reports.first().expect("a report");
        assert_eq!((report.request.as_str(), report.status), (request.as_str(), status));
        assert_eq!(outcome.reports.len(), 1);
    }
}

#[test]
fn reports_can_be_switched_off() {
    assert_eq!(Host::default().whole(get("/ten", "").as_bytes()).reports, []);
    assert_eq!(response_of(&Host::default(), &get("/ten", "")).status, 200);
}
