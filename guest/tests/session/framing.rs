//! Where a request ends, and what can be wrong with it (RFC 9112).

use crate::host::{Host, Response, check_ways, response_of};

/// The request gets this status, and the connection is closed.
#[track_caller]
fn refused(request: &str, status: u16) {
    let outcome = check_ways(&Host::default(), request.as_bytes());
    let (response, rest) = Response::read(&outcome.output, "GET");
    assert_eq!((response.status, rest), (status, &b""[..]), "{request:?}");
    assert_eq!(response.field("Connection"), Some("close"));
    assert!(outcome.closed.is_some(), "{request:?}");
}

/// The request gets this status, and the one after it is answered, too.
#[track_caller]
fn answered(request: &str, status: u16) {
    let outcome = check_ways(&Host::default(), request.as_bytes());
    let (response, rest) = Response::read(&outcome.output, "GET");
    assert_eq!((response.status, rest), (status, &b""[..]), "{request:?}");
    assert_eq!(outcome.closed, None, "{request:?}");
}

fn with(lines: &str) -> String {
    format!("GET /ten HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

/// Section 2.2.
#[test]
fn lines_end_with_crlf_only() {
    refused("GET /ten HTTP/1.1\nHost: a\n\n", 400);
    refused("GET /ten HTTP/1.1\r\nHost: a\n\r\n", 400);
    refused("GET /ten HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", 400);
    refused("GET /ten HTTP/1.1\r\nHost: a\r\r\n\r\n", 400);
    refused("GET /t\ren HTTP/1.1\r\nHost: a\r\n\r\n", 400);
}

/// Section 2.2.
#[test]
fn one_empty_line_before_a_request_is_skipped() {
    answered(&["\r\n", &with("")].concat(), 200);
    refused(&["\r\n\r\n", &with("")].concat(), 400);
    refused(&["\n", &with("")].concat(), 400);
}

/// Section 3.
#[test]
fn a_request_line_is_three_words_with_single_blanks() {
    for line in [
        "GET /ten",
        "GET  /ten HTTP/1.1",
        "GET /ten  HTTP/1.1",
        "GET /ten HTTP/1.1 ",
        " GET /ten HTTP/1.1",
        "GET\t/ten\tHTTP/1.1",
        "GET\t/ten HTTP/1.1",
        "GET /t en HTTP/1.1",
        "GET /t\ten HTTP/1.1",
        "GARBAGE",
        "G(T /ten HTTP/1.1",
        "GET",
        "GET ",
    ] {
        refused(&format!("{line}\r\nHost: a\r\n\r\n"), 400);
    }
}

/// Sections 2.3 and 9110-2.5.
#[test]
fn minor_versions_do_not_matter_and_other_majors_are_rejected() {
    answered("GET /ten HTTP/1.2\r\nHost: a\r\n\r\n", 200);
    answered("GET /ten HTTP/1.9\r\nHost: a\r\n\r\n", 200);
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/3.1"] {
        refused(&format!("GET /ten {version}\r\nHost: a\r\n\r\n"), 505);
    }
    refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
    for version in ["http/1.1", "HTTP/1", "HTTP/1.", "HTTP/1.10", "HTTP/11", "HTTP/a.b", "HTTP/", "FTP/1.1"] {
        refused(&format!("GET /ten {version}\r\nHost: a\r\n\r\n"), 400);
    }
}

/// Section 3.2.
#[test]
fn a_target_has_the_form_that_its_method_requires() {
    answered("GET http://a/ten HTTP/1.1\r\nHost: other\r\n\r\n", 200);
    answered("GET HTTPS://a:1/ten?x HTTP/1.1\r\nHost: other\r\n\r\n", 200);
    answered("GET http://[fe80::1%25eth0]:8080/ten HTTP/1.1\r\nHost: a\r\n\r\n", 200);
    answered("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", 204);
    answered("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 405);
    answered("TRACE /ten HTTP/1.1\r\nHost: a\r\n\r\n", 405);
    for target in [
        "*",
        "ten",
        "a:80",
        "ftp://a/ten",
        "http:/ten",
        "http://",
        "http:///ten",
        "http://u@a/ten",
        "http://a b/",
        "/ten#x",
        "/%zz",
        "/%00",
        "/../ten",
        "http://[::1/ten",
        "http://[::g]/ten",
        "http://[1::2::3]/ten",
        "http://[fe80::1%]/ten",
    ] {
        refused(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    }
}

/// Section 3.2: missing, double, invalid.
#[test]
fn there_is_exactly_one_valid_host() {
    for host in [
        "a",
        "a:80",
        "a:",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:80",
        "[1:2:3:4:5:6:7:8]",
        "[::ffff:192.0.2.1]:80",
        "[fe80::1%25eth0]:80",
        "[fe80::1%eth0.5]",
        "[v1.a:b]",
        "a_b.example",
        "%41",
        "a%2db%41",
    ] {
        answered(&format!("GET /ten HTTP/1.1\r\nHost: {host}\r\n\r\n"), 200);
    }
    refused("GET /ten HTTP/1.1\r\n\r\n", 400);
    refused("GET /ten HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400);
    refused("GET /ten HTTP/1.0\r\nHost: a\r\nhost: a\r\n\r\n", 400);
    for host in ["", "a b", "a/b", "a:b", "u@a", "a:80:80", "[]", "[::1", "[g]", "[::1]80", "a\\b"]
        .into_iter()
        .chain(["a%", "a%z0", "%4", "%%41", "a%4:80"])
        .chain(["[::g]", "[1]", "[:::]", "[1:2:3:4:5:6:7:8:9]", "[12345::]", "[::1.2.3]", "[::256.1.1.1]"])
        .chain([
            "[::1%]",
            "[::1%25]",
            "[::1%a b]",
            "[::1%a/b]",
            "[::1%%]",
            "[%eth0]",
            "[v1]",
            "[v.a]",
            "[vg.a]",
            "[v1.]",
        ])
    {
        refused(&format!("GET /ten HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400);
    }
}

/// Sections 5.1 and 5.2, 9110-5.5 and 9110-5.6.2.
#[test]
fn a_field_is_a_token_a_colon_and_a_value_without_controls() {
    answered(&with("x:\r\ny:   z \t \r\n!#$%&'*+-.^_`|~: \u{e9}\"\r\n"), 200);
    for line in [
        "X : y",
        "X\t: y",
        " X: y",
        "\tX: y",
        "X",
        ": y",
        "X y: z",
        "X(: y",
        "\u{e9}: y",
        "X: a\0b",
        "X: a\x08b",
        "X: a\x7fb",
        "X: a\r\n folded",
        "X: a\r\n\tfolded",
    ] {
        refused(&with(&format!("{line}\r\n")), 400);
    }
    refused("GET /ten HTTP/1.1\r\n folded\r\nHost: a\r\n\r\n", 400);
}

#[test]
fn a_header_section_is_bounded() {
    let fields = |count: usize| "X: y\r\n".repeat(count - 1);
    answered(&with(&fields(100)), 200);
    refused(&with(&fields(101)), 431);
    let head = |length: usize| with(&format!("X: {}\r\n", "y".repeat(length - with("X: \r\n").len())));
    answered(&head(16 * 1024), 200);
    refused(&head(16 * 1024 + 1), 431);
    let line = |length: usize| {
        let path = "y".repeat(length - "GET / HTTP/1.1".len());
        format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n")
    };
    answered(&line(8 * 1024 - 2), 404);
    refused(&line(8 * 1024 - 1), 414);
    refused(&line(70_000), 414);
    refused(&with(&format!("X: {}\r\n", "y".repeat(70_000))), 431);
}

/// Sections 6.1 to 6.3, 9110-8.6.
#[test]
fn a_body_is_framed_in_one_way_or_rejected() {
    answered(&[&with("Content-Length: 5\r\n"), "hello"].concat(), 200);
    answered(&[&with("Content-Length:\t005 \r\n"), "hello"].concat(), 200);
    answered(&with("Content-Length: 0\r\n"), 200);
    for lines in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5,\r\n",
        "Content-Length:\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: ,\r\n",
    ] {
        refused(&with(lines), 400);
    }
    for lines in ["gzip", "gzip, chunked", "chunked, gzip", "identity", "xchunked", "chunked;x=y", "\"chunked\""] {
        refused(&with(&format!("Transfer-Encoding: {lines}\r\n")), 501);
    }
    refused("GET /ten HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
}

fn chunked(body: &str) -> String {
    [&with("Transfer-Encoding: Chunked\r\n"), body].concat()
}

/// Section 7.1.
#[test]
fn a_chunked_body_is_read_to_its_end() {
    for body in [
        "0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
        "000005;ext=\"x y\";b\r\nhello\r\n00;e\r\n\r\n",
        "5\r\nhello\r\n0\r\nTrailer: x\r\nOther: GET / HTTP/1.1\r\n\r\n",
        "2\r\n\r\n\r\n0\r\n\r\n",
    ] {
        answered(&chunked(body), 200);
    }
    for body in [
        "\r\n",
        ";x\r\n",
        "-1\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhellooo\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "0\r\n folded\r\n\r\n",
        "0\r\n: x\r\n\r\n",
        "0\r\nTrailer: \x01\r\n\r\n",
        "5\rhello",
    ] {
        refused(&chunked(body), 400);
    }
}

#[test]
fn a_body_is_bounded_in_data_and_in_overhead() {
    let long = "x".repeat(64 * 1024);
    answered(&[&with("Content-Length: 65536\r\n"), long.as_str()].concat(), 200);
    refused(&with("Content-Length: 65537\r\n"), 413);
    refused(&with("Content-Length: 65537\r\nExpect: 100-continue\r\n"), 413);
    answered(&chunked(&format!("10000\r\n{long}\r\n0\r\n\r\n")), 200);
    refused(&chunked("10001\r\n"), 413);
    refused(&chunked(&format!("10000\r\n{long}\r\n1\r\n")), 413);
    refused(&chunked("ffffffffffffffffffffffff\r\n"), 413);
    refused(&chunked(&format!("{}5\r\n", "0".repeat(17_000))), 413);
    refused(&chunked(&format!("5;{}\r\n", "x".repeat(17_000))), 413);
    refused(&chunked(&format!("0\r\n{}", "X: y\r\n".repeat(3_000))), 413);
    refused(&chunked(&"1\r\nx\r\n".repeat(4_000)), 413);
}

/// Section 9110-10.1.1.
#[test]
fn a_client_that_expects_continue_gets_it() {
    let request = with("Content-Length: 5\r\nExpect: 100-Continue\r\n");
    let outcome = check_ways(&Host::default(), [&request, "hello"].concat().as_bytes());
    let (interim, rest) = Response::read(&outcome.output, "GET");
    assert_eq!(interim.head, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(Response::read(rest, "GET").0.status, 200);
    assert_eq!(Host::default().whole(request.as_bytes()).text(), "HTTP/1.1 100 Continue\r\n\r\n");

    answered(&with("Expect: 100-continue\r\n"), 200);
    refused(&with("Expect: 200-ok\r\n"), 417);
    refused(&with("Expect: 100-continue, x\r\n"), 417);
    let old = "GET /ten HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\nExpect: x\r\n\r\nhello";
    answered(old, 200);
}

/// Section 9110-9.1.
#[test]
fn known_methods_are_not_allowed_and_unknown_ones_not_implemented() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "PROPFIND", "TRACE"] {
        let response = response_of(&Host::default(), &format!("{method} /ten HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!((response.status, response.field("Allow")), (405, Some("GET, HEAD, OPTIONS")), "{method}");
    }
    for method in ["get", "BREW", "SOURCE", "GETT"] {
        answered(&format!("{method} /ten HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
    }
}

#[test]
fn an_unread_body_closes_the_connection() {
    for lines in [
        "Content-Length: 9999999999\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 1\r\nExpect: 100-continue\r\n",
    ] {
        refused(&format!("POST /ten HTTP/1.1\r\nHost: a\r\n{lines}\r\n"), 405);
    }
}
