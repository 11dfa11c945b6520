//! Requests of every kind, malformed ones too, and what the operator adds to responses.

use support::{Connection, Folder, Server, noise};

// ---- what the operator wants

#[test]
fn the_operators_fields_are_on_every_response() {
    let folder = Folder::new();
    folder.file("film.mp4", "film");
    folder.folder("sub");
    let flags = ["-H", "X-Served-By: me", "--header", "Cache-Control: max-age=60", "--cors=https://app.example"];
    let server = Server::start(folder.path(), &flags);
    let mut connection = server.connect();
    for target in ["/film.mp4", "/missing", "/sub"] {
        let response = connection.get(target);
        assert_eq!(response.expect_field("X-Served-By"), "me", "{target}");
        assert_eq!(response.expect_field("Cache-Control"), "max-age=60", "{target}");
        assert_eq!(response.expect_field("Access-Control-Allow-Origin"), "https://app.example", "{target}");
    }
    let preflight = ["Origin: https://app.example", "Access-Control-Request-Method: GET"];
    let response = connection.request("OPTIONS", "/film.mp4", &preflight);
    assert_eq!(response.status(), 204);
    assert!(response.expect_field("Access-Control-Allow-Headers").contains("Range"), "{response:?}");
}

#[test]
fn a_compressed_sibling_is_sent_to_clients_that_accept_it() {
    let folder = Folder::new();
    folder.file("app.js", "the plain text");
    folder.file("app.js.gz", "as if by gzip");
    folder.file("app.js.br", "as if by brotli");
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    for (accepted, coding, body) in [
        ("gzip", Some("gzip"), "as if by gzip"),
        ("gzip, br", Some("br"), "as if by brotli"),
        ("zstd", None, "the plain text"),
        ("gzip;q=0", None, "the plain text"),
    ] {
        let response = connection.request("GET", "/app.js", &[&format!("Accept-Encoding: {accepted}")]);
        response.is(200, body.as_bytes());
        assert_eq!(response.field("Content-Encoding"), coding, "{accepted}");
        assert_eq!(response.expect_field("Content-Type"), "text/javascript; charset=utf-8", "{accepted}");
        assert_eq!(response.expect_field("Vary"), "Accept-Encoding", "{accepted}");
    }
    let response = connection.request("GET", "/app.js", &["Accept-Encoding: gzip", "Range: bytes=4-8"]);
    response.is(206, b"plain");
    assert_eq!(response.field("Content-Encoding"), None, "parts are those of the plain text");
}

#[test]
fn compat_answers_byte_for_byte_as_the_original() {
    let folder = Folder::new();
    let film = noise(10, 2_500);
    let server = Server::start(folder.file("film.mp4", &film), &["--compat"]);
    let mut connection = server.connect();
    connection.send_request("GET", "/film.mp4", &["Connection: close"]);
    let mut promised =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in film.chunks(1_024) {
        promised.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        promised.extend_from_slice(chunk);
        promised.extend_from_slice(b"\r\n");
    }
    promised.extend_from_slice(b"0\r\n\r\n");
    let got = connection.read_to_close();
    assert!(got == promised, "{}", got.escape_ascii());
    let mut connection = server.connect();
    connection.send_request("GET", "/other", &["Connection: close"]);
    let promised = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 15\r\n\r\n404 Not Found\r\n";
    assert_eq!(connection.read_to_close().escape_ascii().to_string(), promised.escape_ascii().to_string());
}

// ---- requests that are not in order

#[test]
fn malformed_requests_are_rejected_and_the_connection_closes() {
    let folder = Folder::new();
    folder.file("a.txt", "alpha");
    let server = Server::start(folder.path(), &[]);
    let long_line = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(20_000));
    let long_head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 0123456789\r\n".repeat(2_000));
    let long_field = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    for (request, status) in [
        ("GET\r\n\r\n", 400),
        ("GET /a.txt\r\n\r\n", 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", 400),
        ("GET /a.txt HTTP/1.1\r\n\r\n", 400),
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET /a.txt HTTP/1.1\nHost: a\n\n", 400),
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        ("GET /a.txt HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET  /a.txt HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n", 413),
        (&long_line, 414),
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\nExpect: a-miracle\r\n\r\n", 417),
        (&long_head, 431),
        (&long_field, 431),
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        ("GET /a.txt HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ] {
        let mut connection = server.connect();
        // Behind a misdeed nothing is taken for a request, whatever it looks like.
        let _ = connection.try_send([request, "GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
        let response = connection.response();
        let shown = &request[..request.len().min(60)];
        assert_eq!(response.status(), status, "{shown:?}");
        assert!(response.closes(), "{shown:?}: {response:?}");
        connection.expect_closed();
    }
    server.get("/a.txt").is(200, b"alpha");
}

#[test]
fn methods_that_are_not_for_files_are_rejected() {
    let folder = Folder::new();
    folder.file("a.txt", "alpha");
    let server = Server::start(folder.path(), &[]);
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"] {
        let mut connection = server.connect();
        let response = connection.request(method, "/a.txt", &[]);
        assert_eq!((response.status(), response.expect_field("Allow")), (405, "GET, HEAD, OPTIONS"), "{method}");
        connection.expect_open();
    }
    for method in ["BREW", "get", "G%20T", "X-OWN"] {
        assert_eq!(server.connect().request(method, "/a.txt", &[]).status(), 501, "{method}");
    }
    assert_eq!(server.connect().request("CONNECT", "test:443", &[]).status(), 405);
    let response = server.connect().request("OPTIONS", "/a.txt", &[]);
    assert_eq!((response.status(), response.expect_field("Allow")), (204, "GET, HEAD, OPTIONS"));
}

#[test]
fn an_upload_is_rejected_before_it_is_complete() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &[]);
    let mut connection = Connection::with_small_buffer(server.address());
    connection.send("PUT /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n");
    // All of it is taken, far more than fits on the way, and the answer is not destroyed by a reset.
    connection.send(noise(11, 500_000));
    let response = connection.response();
    assert!(response.status() == 405 && response.closes(), "{response:?}");
    connection.expect_closed();
}

#[test]
fn the_body_of_a_get_is_skipped() {
    let folder = Folder::new();
    folder.file("a.txt", "alpha");
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let counted = format!("GET /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{smuggled}", smuggled.len());
    let chunked = format!(
        "GET /a.txt HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x};x=y\r\n{smuggled}\r\n0\r\nT: x\r\n\r\n",
        smuggled.len()
    );
    for request in [counted, chunked] {
        connection.send(request);
        connection.response().is(200, b"alpha");
        connection.expect_open();
    }
}

#[test]
fn expect_100_continue_is_answered() {
    let folder = Folder::new();
    folder.file("a.txt", "alpha");
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    connection.send("GET /a.txt HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(connection.header_section().status, 100);
    connection.send("body");
    connection.response().is(200, b"alpha");
    connection.expect_open();
}
