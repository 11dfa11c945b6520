//! `--admin`: what the operator sees of a running server.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;
use support::live::{Viewer, fed, packets};
use support::{Connection, Folder, PATIENCE, Server, eventually, multiclient, noise, output_of, run_within, text};

/// The operator of a server, at its unix socket.
struct Operator<'a>(&'a Path);

impl Operator<'_> {
    fn get(&self, target: &str) -> (u16, String) {
        let response = Connection::to_unix(self.0).get(target);
        (response.status(), String::from_utf8(response.body).expect("it is text"))
    }

    /// The value of a metric, with its labels.
    fn metric(&self, name: &str) -> Option<f64> {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200);
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    fn clients(&self) -> Vec<Value> {
        let (status, text) = self.get("/clients.json");
        assert_eq!(status, 200);
        let mut all: Value = serde_json::from_str(&text).expect("it is JSON");
        all["clients"].as_array_mut().map(std::mem::take).expect("it is a list")
    }
}

/// A client that is being sent more than fits on the way to it.
fn downloading(server: &Server, target: &str) -> Connection {
    let mut connection = Connection::with_small_buffer(server.address());
    connection.send_request("GET", target, &[]);
    connection.header_section();
    connection
}

#[test]
fn the_operator_sees_who_is_sent_what_and_how_clients_have_ended() {
    const LONG: u64 = 16 << 20;
    let folder = Folder::new();
    folder.hollow_file("films/film.mp4", LONG);
    let socket = folder.at("admin.sock");
    let flags = ["--admin", &format!("unix:{}", text(&socket)), "--log", "off", "--max-clients", "9"];
    let mut command = multiclient();
    command.arg(folder.at("films")).arg("0").args(flags);
    let server = Server::run(command);
    server.wait_for_line(&format!("admin    unix:{}", text(&socket)));
    let mode = socket.metadata().expect("it listens").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody but its owner");

    let operator = Operator(&socket);
    assert_eq!(operator.metric("multiclient_clients"), Some(0.0));
    let mut download = downloading(&server, "/film.mp4");
    eventually("it is sent something", || operator.clients().iter().any(|client| client["bytes_out"] != 0));
    let clients = operator.clients();
    let [client] = &clients[..] else { panic!("one client: {clients:?}") };
    assert_eq!(client["source"], "film.mp4");
    assert_eq!(client["peer"], download.local_address().to_string());
    assert_eq!(client["lag"], Value::Null, "it is not live");
    assert!(client["memory"].as_u64() > Some(0) && client["cpu_us"].as_u64() > Some(0), "{client}");
    assert_eq!(operator.metric("multiclient_clients"), Some(1.0));
    assert_eq!(operator.metric("multiclient_clients_limit"), Some(9.0));
    let (_, metrics) = operator.get("/metrics");
    assert!(!metrics.contains("127.0.0.1") && !metrics.contains("film"), "nothing of clients: {metrics}");

    download.read_exactly(LONG as usize);
    assert_eq!(download.get("/missing").status(), 404);
    eventually("it is sent nothing any more", || operator.clients()[0]["source"].is_null());
    drop(download);
    eventually("it has left", || operator.metric("multiclient_clients") == Some(0.0));
    assert_eq!(operator.metric("multiclient_exchanges_total{status=\"2xx\"}"), Some(1.0));
    assert_eq!(operator.metric("multiclient_exchanges_total{status=\"4xx\"}"), Some(1.0));
    assert!(operator.metric("multiclient_sent_bytes_total") > Some(LONG as f64));
    let ended = |kind| operator.metric(&format!("multiclient_clients_ended_total{{ended=\"{kind}\"}}"));
    assert_eq!(ended("disconnected").into_iter().chain(ended("finished")).sum::<f64>(), 1.0);
    assert_eq!(server.stop().code, Some(0));
    assert!(!socket.exists());
}

#[test]
fn ends_are_counted_by_the_limit_that_caused_them() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let socket = folder.at("admin.sock");
    let admin = format!("unix:{}", text(&socket));
    let server = Server::start(&film, &["--admin", &admin, "--header-timeout", "50ms"]);
    let mut slow = server.connect();
    slow.send("GET /film.mp4 HTTP/1.1\r\n");
    server.wait_for_line("timed out: no complete request");
    let operator = Operator(&socket);
    assert_eq!(operator.metric("multiclient_clients_ended_total{ended=\"timed-out\"}"), Some(1.0));
    assert_eq!(operator.metric("multiclient_clients_ended_which_total{which=\"header-timeout\"}"), Some(1.0));
}

#[test]
fn only_this_machine_can_be_the_operators() {
    let folder = Folder::new();
    for admin in [":0", "0.0.0.0:0", "192.0.2.1:80", "systemd:"] {
        let output = run_within(PATIENCE, multiclient().arg(folder.path()).args(["0", "--admin", admin]));
        assert_eq!(output.status.code(), Some(2));
        let said = output_of(&output);
        assert!(said.contains("only this machine may connect; use unix:PATH, PORT or a loopback address"), "{said}");
    }
}

#[test]
fn a_server_that_is_to_stop_is_not_ready_and_serves_on_for_the_delay() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let socket = folder.at("admin.sock");
    let admin = format!("unix:{}", text(&socket));
    let server = Server::start(&film, &["--admin", &admin, "--drain-delay", "1h", "--drain", "1h"]);
    let operator = Operator(&socket);
    assert_eq!(operator.get("/ready"), (200, "ready\n".to_owned()));
    server.signal(Signal::TERM);
    eventually("it is not ready", || operator.get("/ready").0 == 503);
    assert_eq!(operator.metric("multiclient_ready"), Some(0.0));
    server.get("/film.mp4").is(200, b"film");
    // A reload is no reason to hurry.
    server.signal(Signal::HUP);
    server.get("/film.mp4").is(200, b"film");
    assert_eq!(server.stop().code, Some(0));
}

/// The address of `--admin`, where that is a port.
fn admin_address(server: &Server) -> std::net::SocketAddr {
    let line = server.wait_for_line("admin    http://");
    let url = line.trim_start_matches("admin    http://");
    url.split('/').next().and_then(|address| address.parse().ok()).expect("it is an address")
}

#[test]
fn a_viewer_that_stalls_is_shown_with_its_lag_once_a_second() {
    let (server, mut producer) = fed(&["--admin", "0", "--buffer", "64M", "--lag", "32M", "--burst", "0"]);
    producer.write(&packets(0, 1_000));
    let stalled = downloading(&server, "/live.ts");
    let mut viewer = Viewer::of(&server, "/live.ts");
    let request = "GET /events HTTP/1.1\r\nHost: test\r\n\r\n";
    let mut events = Viewer::with_request(Connection::to(admin_address(&server)), request);
    assert_eq!(events.header.expect_field("Content-Type"), "text/event-stream");
    let stalled_at = stalled.local_address().to_string();
    let mut written = 1_000;
    loop {
        producer.write(&packets(written, written + 10_000));
        viewer.until((written as usize - 1_000) * support::live::PACKET);
        written += 10_000;
        let event = next_event(&mut events);
        let row = event["clients"].as_array().and_then(|rows| rows.iter().find(|row| row["peer"] == *stalled_at));
        if row.is_some_and(|row| row["lag"].as_u64() > Some(4 << 20)) {
            assert_eq!(event["stream"]["name"], "live.ts");
            assert_eq!(event["stream"]["viewers"], 2);
            assert!(event["stream"]["lag"].as_u64() > Some(4 << 20), "{event}");
            break;
        }
        assert!(written < 160_000, "its lag is not shown: {event}");
    }
}

/// The next whole event. What comes before the first may be cut.
fn next_event(events: &mut Viewer) -> Value {
    loop {
        events.until(events.got.len() + 1);
        let Some(end) = events.got.windows(2).position(|two| two == b"\n\n") else { continue };
        let event: Vec<u8> = events.got.drain(..end + 2).collect();
        if let Some(data) = event.strip_prefix(b"data: ") {
            return serde_json::from_slice(data).expect("it is JSON");
        }
    }
}

#[test]
fn the_page_may_load_nothing_from_elsewhere_and_nobody_else_may_frame_it() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", noise(1, 10));
    let server = Server::start(&film, &["--admin", "0"]);
    let address = admin_address(&server);
    let mut connection = Connection::to(address);
    let page = connection.get("/");
    assert_eq!((page.status(), page.header.expect_field("Content-Type")), (200, "text/html; charset=utf-8"));
    let policy = page.header.expect_field("Content-Security-Policy");
    for rule in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert_eq!(page.header.expect_field("Cache-Control"), "no-store");
    let text = String::from_utf8(page.body).expect("it is text");
    assert!(!text.contains("://") && !text.contains(" style=") && !text.contains(" onload="), "{text}");
    for (name, media_type) in [("/admin.js", "text/javascript"), ("/admin.css", "text/css")] {
        let response = connection.get(name);
        let found = response.header.expect_field("Content-Type");
        assert!(response.status() == 200 && found.starts_with(media_type), "{found}");
    }
    assert_eq!(connection.get("/secret").status(), 404);
}
