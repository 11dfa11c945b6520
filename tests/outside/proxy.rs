//! Connections from a proxy that says where the client comes from (PROXY protocol).

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::Value;
use support::{Connection, Folder, PATIENCE, Server, eventually, noise, same, text};

const REQUEST: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

/// A server behind a proxy.
fn behind(flags: &[&str]) -> (Server, Folder) {
    let folder = Folder::new();
    folder.file("a", "first");
    let server = Server::start_at(folder.path(), "http://127.0.0.1:0 proxy", flags);
    (server, folder)
}

/// A connection that begins with this.
#[track_caller]
fn beginning(server: &Server, header: impl AsRef<[u8]>) -> Connection {
    let mut connection = server.connect();
    connection.send(header);
    connection
}

/// A connection whose header says that it comes from this address.
#[track_caller]
fn from(server: &Server, address: &str) -> Connection {
    beginning(server, format!("PROXY TCP4 {address} 192.0.2.99 4660 80\r\n"))
}

/// Version 2, of a client at 192.0.2.7.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\x02\x07\xc0\0\x02\x63\x12\x34\0\x50\x04\0\0";

#[test]
fn the_log_has_the_address_of_the_client() {
    let (server, _folder) = behind(&[]);
    from(&server, "192.0.2.5").get("/a").is(200, b"first");
    server.wait_for_line("192.0.2.5 GET /a 200");
    beginning(&server, BINARY).get("/a").is(200, b"first");
    server.wait_for_line("192.0.2.7 GET /a 200");
    beginning(&server, "PROXY TCP6 2001:db8::5 2001:db8::6 1 2\r\n").get("/a").is(200, b"first");
    server.wait_for_line("2001:db8::5 GET /a 200");
    // The proxy itself, which looks whether the server is there.
    beginning(&server, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").get("/a").is(200, b"first");
    server.wait_for_line("#4 127.0.0.1 GET /a 200");
}

#[test]
fn a_header_may_come_byte_by_byte_and_the_request_right_after_it() {
    let (server, _folder) = behind(&["--defer-accept", "0"]);
    for header in [b"PROXY TCP4 192.0.2.7 192.0.2.99 4660 80\r\n".as_slice(), BINARY] {
        let mut connection = server.connect();
        for byte in header {
            connection.send([*byte]);
        }
        connection.get("/a").is(200, b"first");
        beginning(&server, [header, REQUEST.as_bytes()].concat()).response().is(200, b"first");
    }
    server.wait_for_lines(4, " 192.0.2.7 GET /a 200");
}

#[test]
fn the_log_for_programs_has_both_addresses() {
    let folder = Folder::new();
    folder.file("a", "first");
    let mut command = support::multiclient();
    command.arg(folder.path()).args(["127.0.0.1:0 proxy", "--log", "json"]);
    let server = Server::run(command);
    let mut connection = from(&server, "192.0.2.5");
    connection.get("/a").is(200, b"first");
    let proxy = connection.local_address().to_string();
    drop(connection);
    for event in ["exchange", "closed"] {
        let line = server.wait_for_line(&format!("\"event\":\"{event}\""));
        let told: Value = serde_json::from_str(&line).expect("it is JSON");
        assert_eq!((told["peer"].as_str(), told["via"].as_str()), (Some("192.0.2.5:4660"), Some(proxy.as_str())));
    }
}

#[test]
fn a_connection_without_a_valid_header_is_closed_and_logged() {
    let (server, _folder) = behind(&[]);
    let endless = format!("PROXY TCP4 {}", "1".repeat(200));
    for (count, begin) in [REQUEST, "PROXY TCP4 192.0.2.5 192.0.2.6 0x1 2\r\n", &endless].into_iter().enumerate() {
        let mut stream = TcpStream::connect(server.address()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket can time out");
        stream.write_all(begin.as_bytes()).expect("it is taken");
        // Closed, or reset because nobody has read it.
        assert!(!matches!(stream.read(&mut [0; 100]), Ok(1..)), "nothing is said");
        server.wait_for_lines(count + 1, "no valid PROXY header");
    }
    // Who has said half of it, and finished.
    let mut stream = TcpStream::connect(server.address()).expect("it listens");
    stream.write_all(b"PROXY TCP4 192.").and_then(|()| stream.shutdown(Shutdown::Write)).expect("it is taken");
    server.wait_for_lines(4, "no valid PROXY header");
}

#[test]
fn a_header_that_does_not_come_is_not_waited_for() {
    let (server, _folder) = behind(&["--header-timeout", "300ms", "--defer-accept", "0"]);
    server.connect().expect_closed();
    beginning(&server, "PROXY TCP4 192.0.2.5").expect_closed();
    from(&server, "192.0.2.5").get("/a").is(200, b"first");
}

#[test]
fn an_address_has_no_more_connections_through_a_proxy_than_without() {
    let (server, _folder) = behind(&["--per-address", "2"]);
    let hold = |address| {
        let mut connection = from(&server, address);
        connection.get("/a").is(200, b"first");
        connection
    };
    let (first, _second, _other) = (hold("192.0.2.5"), hold("192.0.2.5"), hold("192.0.2.6"));
    from(&server, "192.0.2.5").expect_closed();
    server.wait_for_line("192.0.2.5 rejected: too many connections from its address");
    // The third is gone, and was never counted.
    drop(first);
    eventually("there is a place again", || {
        let mut connection = from(&server, "192.0.2.5");
        connection.try_send(REQUEST).is_ok() && matches!(connection.try_read(&mut [0; 100]), Ok(1..))
    });
}

#[test]
fn elsewhere_a_header_is_no_more_than_a_bad_request() {
    let folder = Folder::new();
    folder.file("a", "first");
    let server = Server::start(folder.path(), &["--listen", "127.0.0.1:0 proxy"]);
    let mut spoofing = from(&server, "192.0.2.5");
    spoofing.send(REQUEST);
    assert_eq!(spoofing.response().status(), 400);
    let line = server.wait_for_line(" 400 ");
    assert!(line.contains(" 127.0.0.1 "), "{line}");
    // The other listener is told apart.
    let mut trusted = Connection::to(server.addresses()[1]);
    trusted.send("PROXY TCP4 192.0.2.5 192.0.2.6 1 2\r\n");
    trusted.get("/a").is(200, b"first");
    server.wait_for_line("192.0.2.5 GET /a 200");
}

#[test]
fn a_proxy_may_connect_to_a_unix_socket() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let socket = folder.at("m.sock");
    let server = Server::start_at(film, &format!("unix:{} proxy", text(&socket)), &[]);
    let mut connection = Connection::to_unix(&socket);
    connection.send(BINARY);
    connection.get("/film.mp4").is(200, b"film");
    server.wait_for_line("192.0.2.7 GET /film.mp4 200");
}

#[test]
fn another_server_takes_over_behind_the_proxy_and_no_download_breaks() {
    let folder = Folder::new();
    let film = noise(1, 9_000_001);
    folder.file("served/film.mp4", &film);
    folder.file("served/a", "first");
    let takeover = format!("unix:{}", text(&folder.at("takeover.sock")));
    let start = |address: &str| {
        let flags = ["--takeover", &takeover, "--drain", "1h"];
        Server::start_at(folder.at("served"), &format!("http://{address} proxy"), &flags)
    };
    let old = start("127.0.0.1:0");
    let mut idle = from(&old, "192.0.2.4");
    idle.get("/a").is(200, b"first");
    let mut download = Connection::with_small_buffer(old.address());
    download.send("PROXY TCP4 192.0.2.5 192.0.2.99 4660 80\r\n");
    download.send_request("GET", "/film.mp4", &[]);
    assert_eq!(download.header_section().status, 200);

    let new = start(&old.address().to_string());
    old.wait_for_line("taken over by process ");
    // Who comes now has to say where it comes from, as before. For a moment both servers accept connections.
    eventually("the new server serves", || {
        from(&new, "192.0.2.6").get("/a").is(200, b"first");
        new.log().iter().any(|line| line.contains(" 192.0.2.6 GET /a 200 "))
    });
    same(&download.read_exactly(film.len()), &film);
    old.wait_for_line(" 192.0.2.5 GET /film.mp4 200 ");
    drop((download, idle));
    let ended = old.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.summary());
    assert!(ended.summary().ends_with(" 0 cut off"), "{}", ended.summary());
}
