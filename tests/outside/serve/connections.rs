//! Connections that carry several requests, and what the log says of them.

use support::{Connection, Folder, Server, eventually, noise};

// ---- connections

#[test]
fn a_connection_serves_many_requests() {
    let folder = Folder::new();
    folder.file("a.txt", "alpha");
    folder.file("b.txt", noise(12, 20_000));
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    for _ in 0..200 {
        connection.get("/a.txt").is(200, b"alpha");
        connection.get("/b.txt").is(200, &noise(12, 20_000));
        assert_eq!(connection.get("/missing").status(), 404);
    }
    eventually("all of them are in the log, of one client", || {
        server.log().iter().filter(|line| line.starts_with("#1 ")).count() == 600
    });
}

#[test]
fn requests_sent_at_once_are_answered_in_order() {
    let folder = Folder::new();
    for number in 0..10 {
        folder.file(&format!("{number}.bin"), noise(number, 3_000 * number as usize));
    }
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    let requests: String =
        (0..500).map(|number| format!("GET /{}.bin HTTP/1.1\r\nHost: a\r\n\r\n", number % 10)).collect();
    std::thread::scope(|scope| {
        // The responses are more than the buffers between the two hold: who only sends would wait for ever.
        let mut writer = connection.second_handle();
        scope.spawn(move || writer.send(requests));
        for number in 0..500 {
            connection.response().is(200, &noise(number % 10, 3_000 * (number % 10) as usize));
        }
    });
    connection.expect_open();
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let folder = Folder::new();
    folder.file("a.txt", "alpha");
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    for _ in 0..2 {
        for byte in b"GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2\r\n\r\n" {
            connection.send([*byte]);
        }
        connection.response().is(206, b"lp");
    }
}

#[test]
fn who_leaves_in_the_middle_of_a_long_listing_has_a_line() {
    let folder = Folder::new();
    for number in 0..3_000 {
        folder.file(&format!("{number:0>200}.mp4"), "");
    }
    for (target, fields) in [("/", &[][..]), ("/?x", &["Accept: application/json"])] {
        let server = Server::start(folder.path(), &["--list"]);
        let mut connection = Connection::with_small_buffer(server.address());
        connection.send_request("GET", target, fields);
        assert_eq!(connection.header_section().status, 200);
        connection.reset();
        let line = server.wait_for_line(&format!("GET {target} 200"));
        assert!(line.contains("cut short"), "{line}");
    }
}

#[test]
fn the_request_decides_whether_the_connection_stays_open() {
    let folder = Folder::new();
    folder.file("a.txt", "alpha");
    let server = Server::start(folder.path(), &[]);
    for (request, goes_on) in [
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", true),
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false),
        ("GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", false),
        ("GET /a.txt HTTP/1.0\r\n\r\n", false),
        ("GET /a.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
        ("GET /a.txt HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false),
    ] {
        let mut connection = server.connect();
        connection.send(request);
        let response = connection.response();
        response.is(200, b"alpha");
        assert_eq!(
            response.field("Connection") == Some("keep-alive"),
            goes_on && request.contains("1.0"),
            "{request:?}"
        );
        assert_eq!(response.closes(), !goes_on, "{request:?}");
        if goes_on { connection.expect_open() } else { connection.expect_closed() }
    }
}

#[test]
fn a_client_that_has_closed_its_sending_half_is_served_in_full() {
    let folder = Folder::new();
    let film = noise(13, 8 << 20);
    folder.file("film.mp4", &film);
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    connection.send_request("GET", "/film.mp4", &[]);
    connection.send_request("GET", "/missing", &[]);
    connection.finish();
    connection.response().is(200, &film);
    assert_eq!(connection.response().status(), 404);
    connection.expect_closed();
    // Who stops in the middle of a request gets no answer, only an end.
    let mut connection = server.connect();
    connection.send("GET /film.mp4 HT");
    connection.finish();
    connection.expect_closed();
}

// ---- the log

#[test]
fn every_exchange_is_a_line_of_the_log() {
    let folder = Folder::new();
    folder.file("sp ace.mp4", noise(14, 2 << 20));
    let server = Server::start(folder.path(), &[]);
    let mut connection = server.connect();
    connection.get_range("/sp%20ace.mp4?t=1", "bytes=0-1048575");
    connection.get("/missing");
    server.connect().request("HEAD", "/sp%20ace.mp4", &[]);
    let line = server.wait_for_line("#1 127.0.0.1 GET /sp%20ace.mp4?t=1 206 1 MiB ");
    assert!(line.contains(" ms   mem ") && line.contains(" KiB cpu "), "{line}");
    server.wait_for_line("#1 127.0.0.1 GET /missing 404 ");
    server.wait_for_line("#2 127.0.0.1 HEAD /sp%20ace.mp4 200 ");
}

#[test]
fn a_client_cannot_forge_a_line_of_the_log() {
    let folder = Folder::new();
    folder.file("new\nline", "alpha");
    let server = Server::start(folder.path(), &[]);
    server.get("/new%0Aline").is(200, b"alpha");
    server.wait_for_line("#1 127.0.0.1 GET /new%0Aline 200 ");
    for request in [
        "GET /x\n#7 127.0.0.1 GET /forged 200 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /x\r#7 127.0.0.1 GET /forged 200 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\x1b[2J\x1b[31m HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\u{202e}drow HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\u{85}#7 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nHost: a\r\nReferer: \u{9b}31m\r\nUser-Agent: \u{2066}\r\n\r\n",
    ] {
        let mut connection = server.connect();
        connection.send(request);
        connection.response();
    }
    let log = server.stop().lines;
    let lines_of_clients = log.iter().filter(|line| line.starts_with('#')).count();
    assert_eq!(lines_of_clients, 7, "one for each exchange: {log:#?}");
    assert!(!log.iter().any(|line| line.starts_with("#7 127.0.0.1 GET /forged")), "{log:#?}");
    let moves_the_cursor = |c: char| c.is_control() || matches!(c, '\u{200e}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!log.iter().any(|line| line.contains(moves_the_cursor)), "{log:#?}");
}
