//! Many clients that mean harm.

use support::turn::alone;
use support::{Connection, Folder, Server, noise};

use super::LONG;

#[test]
fn clients_that_vanish_leave_nothing_behind() {
    let _turn = alone();
    let folder = Folder::new();
    let server = Server::start(folder.hollow_file("long.mp4", LONG), &["--stall-timeout", "1h"]);
    let before = server.descriptors();
    for round in 0..3 {
        let connections: Vec<_> = (0..100)
            .map(|_| {
                let mut connection = Connection::with_small_buffer(server.address());
                connection.send_request("GET", "/long.mp4", &[]);
                connection.header_section();
                connection
            })
            .collect();
        for (number, connection) in connections.into_iter().enumerate() {
            // By a reset, or by a close that becomes one when more is sent.
            if number % 2 == 0 { connection.reset() } else { drop(connection) }
        }
        server.wait_for_descriptors(before);
        server.wait_for_lines(100 * (round + 1), "GET /long.mp4 200 ");
    }
    assert!(server.log().iter().all(|line| !line.contains("GET ") || line.contains(" cut short ")));
    assert_eq!(server.connect().get_range("/long.mp4", "bytes=-1").body, [0]);
}

#[test]
fn garbage_is_rejected_and_leaves_nothing_behind() {
    let _turn = alone();
    let folder = Folder::new();
    let server = Server::start(folder.file("small.ts", "small"), &["--header-timeout", "2s", "--idle-timeout", "2s"]);
    let before = server.descriptors();
    let mut connections: Vec<_> = (0..300).map(|_| server.connect()).collect();
    for (seed, connection) in connections.iter_mut().enumerate() {
        let garbage = noise(seed as u64, 1 << (seed % 16));
        // What is refused early is not read to its end.
        let _ = match seed % 3 {
            0 => connection.try_send(garbage),
            1 => connection.try_send([b"GET /small.ts HTTP/1.1\r\nHost: a\r\nX: ", garbage.as_slice()].concat()),
            _ => connection.try_send([b"GET /small.ts HTTP/1.1\r\nHost: a\r\n\r\n", garbage.as_slice()].concat()),
        };
    }
    server.get("/small.ts").is(200, b"small");
    for (seed, connection) in connections.iter_mut().enumerate() {
        let said = connection.read_to_cut();
        let good = seed % 3 == 2;
        assert_eq!(said.starts_with(b"HTTP/1.1 200 OK\r\n"), good, "{seed}: {}", said.escape_ascii());
        let refusals = said.windows(24).filter(|text| text == b"HTTP/1.1 400 Bad Request").count();
        assert!(refusals <= 1, "{seed}: who is refused is not listened to any more: {}", said.escape_ascii());
    }
    server.wait_for_descriptors(before);
    let stopped = server.stop();
    assert_eq!(stopped.code, Some(0));
    // Nobody's instance has failed of it.
    assert!(
        stopped.summary().starts_with("301 clients, ") && stopped.summary().ends_with(" out, 0 cut off"),
        "{}",
        stopped.summary()
    );
}

#[test]
fn the_server_serves_beside_a_thousand_half_sent_requests() {
    const CROWD: usize = 1_000;
    let _turn = alone();
    let folder = Folder::new();
    let small = folder.file("small.ts", "small");
    let server = Server::start(small, &["--max-clients", "1100", "--header-timeout", "3s"]);
    let before = server.descriptors();
    let empty = server.resident_bytes();
    let mut connections: Vec<_> = (0..CROWD).map(|_| server.connect()).collect();
    for (number, connection) in connections.iter_mut().enumerate() {
        connection.send(&b"GET /small.ts HTTP/1.1\r\nHost: a\r\nX: y"[..number % 37 + 1]);
    }
    server.wait_for_clients(CROWD, before);
    for _ in 0..20 {
        server.get("/small.ts").is(200, b"small");
    }
    server.wait_for_lines(CROWD, " timed out: no complete request ");
    for connection in &mut connections {
        connection.expect_closed();
    }
    server.wait_for_descriptors(before);
    server.get("/small.ts").is(200, b"small");
    // What stays is warm places for as many clients as there were.
    let each = (server.resident_bytes() - empty) / CROWD as u64;
    assert!(each < 100 << 10, "{each} bytes for each of them");
}
