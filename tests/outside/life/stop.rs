//! How the server stops: who is still served, who is cut off, and its exit code.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{Connection, Folder, Server, eventually, noise};

#[test]
fn a_server_without_clients_stops_at_once_with_a_summary() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", noise(1, 1 << 20));
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start(&film, &["--drain", "1h"]);
        for _ in 0..3 {
            server.get("/film.mp4");
        }
        server.wait_for_lines(3, "GET /film.mp4 200");
        server.signal(signal);
        let stopped = server.wait();
        assert_eq!(stopped.code, Some(0), "{:?}", stopped.lines);
        assert_eq!(stopped.summary(), "3 clients, 3 MiB out, 0 cut off");
    }
}

/// A client that is being sent more than fits on the way to it.
fn downloading(server: &Server) -> Connection {
    let mut connection = Connection::with_small_buffer(server.address());
    connection.send_request("GET", "/film.mp4", &[]);
    connection.header_section();
    connection
}

const LONG: u64 = 64 << 20;

#[test]
fn a_drain_completes_downloads_and_accepts_no_new_clients() {
    let folder = Folder::new();
    // A client that says nothing is accepted, and told.
    let server = Server::start(folder.hollow_file("film.mp4", LONG), &["--drain", "1h", "--defer-accept", "0"]);
    let mut download = downloading(&server);
    let mut idle = server.connect();
    idle.get("/missing");
    let mut silent = server.connect();
    let mut asking = server.connect();
    // The first request is answered, so the half of the second has been heard too.
    asking.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /film.mp4 HTTP/1.1\r\nRange: bytes=0-3\r\n");
    assert_eq!(asking.response().status(), 404);
    server.signal(Signal::TERM);
    server.wait_for_line("draining for up to ");
    idle.expect_closed();
    silent.expect_closed();
    asking.send("Host: a\r\n\r\n");
    asking.response().is(206, &[0; 4]);
    asking.expect_closed();
    let address = server.address();
    eventually("no connection is accepted any more", || TcpStream::connect(address).is_err());
    let body = download.read_exactly(LONG as usize);
    assert!(body.iter().all(|byte| *byte == 0), "all of the film arrives");
    download.expect_closed();
    let stopped = server.wait();
    assert_eq!(stopped.code, Some(0), "{:#?}", stopped.lines);
    assert!(stopped.summary().ends_with(", 0 cut off"), "{}", stopped.summary());
}

#[test]
fn idle_clients_do_not_delay_the_stop() {
    let folder = Folder::new();
    let server = Server::start(folder.file("film.mp4", "film"), &["--drain", "1h"]);
    let mut stay: Vec<_> = (0..40).map(|_| server.connect()).collect();
    for connection in &mut stay[..20] {
        connection.get("/film.mp4").is(200, b"film");
    }
    let began = Instant::now();
    let stopped = server.stop();
    // Less than the time for clients in the middle of something.
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    assert_eq!((stopped.code, stopped.summary().ends_with(", 0 cut off")), (Some(0), true), "{}", stopped.summary());
}

#[test]
fn a_request_that_has_arrived_before_the_stop_gets_its_response() {
    let folder = Folder::new();
    folder.file("film.mp4", "film");
    // Among many that come right before the signal, some will not have been looked at. Be it the first of
    // their clients, or the second.
    for number in [1, 2, 1, 2] {
        let server = Server::start(folder.path(), &["--drain", "1h"]);
        let before = server.descriptors();
        let mut connections: Vec<_> = (0..50).map(|_| server.connect()).collect();
        server.wait_for_clients(50, before);
        if number == 2 {
            connections.iter_mut().for_each(|connection| assert_eq!(connection.get("/missing").status(), 404));
        }
        for connection in &mut connections {
            connection.send_request("GET", "/film.mp4", &[]);
        }
        server.signal(Signal::TERM);
        for connection in &mut connections {
            connection.response().is(200, b"film");
            connection.expect_closed();
        }
        assert_eq!(server.wait().code, Some(0));
    }
}

#[test]
fn a_client_that_is_not_done_at_the_deadline_is_cut_off() {
    let folder = Folder::new();
    let server = Server::start(folder.hollow_file("film.mp4", LONG), &["--drain", "300ms"]);
    let mut download = downloading(&server);
    server.signal(Signal::TERM);
    let stopped = server.wait();
    assert_eq!(stopped.code, Some(3), "{:#?}", stopped.lines);
    assert!(stopped.summary().ends_with(", 1 cut off"), "{}", stopped.summary());
    assert!(stopped.lines.iter().any(|line| line.starts_with("#1 127.0.0.1 shut down")), "{:#?}", stopped.lines);
    assert!(download.read_to_cut().len() < LONG as usize);
}

#[test]
fn a_second_signal_cuts_all_clients_off() {
    let folder = Folder::new();
    for signals in [[Signal::TERM, Signal::TERM], [Signal::INT, Signal::INT], [Signal::TERM, Signal::INT]] {
        let server = Server::start(folder.hollow_file("film.mp4", LONG), &["--drain", "1h"]);
        let mut downloads = [downloading(&server), downloading(&server)];
        server.signal(signals[0]);
        server.wait_for_line("draining for up to ");
        server.signal(signals[1]);
        let stopped = server.wait();
        assert_eq!(stopped.code, Some(3), "{:#?}", stopped.lines);
        assert!(stopped.summary().ends_with(", 2 cut off"), "{}", stopped.summary());
        for download in &mut downloads {
            assert!(download.read_to_cut().len() < LONG as usize);
        }
    }
}
