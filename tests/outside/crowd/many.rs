//! Many clients that mean well.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use support::turn::alone;
use support::{Connection, Folder, Server, noise};

use super::LONG;

#[test]
fn two_hundred_clients_at_once_get_identical_bytes() {
    const CLIENTS: usize = 200;
    let _turn = alone();
    let folder = Folder::new();
    let film = noise(1, 4 << 20);
    let server = Server::start(folder.file("film.mp4", &film), &[]);
    let before = server.descriptors();
    let all_are_served = Barrier::new(CLIENTS);
    let one_client = || {
        let mut connection = server.connect();
        connection.send_request("GET", "/film.mp4", &[]);
        connection.header_section();
        let mut piece = vec![0; 64 << 10];
        let mut done = connection.read_into(&mut piece[..1]);
        assert_eq!(piece[0], film[0]);
        all_are_served.wait();
        while done < film.len() {
            let count = connection.read_into(&mut piece);
            assert!(count > 0, "the film ends early: {done}");
            assert!(piece[..count] == film[done..done + count], "other bytes after {done}");
            done += count;
        }
        connection.expect_open();
    };
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let small = thread::Builder::new().stack_size(256 << 10);
            small.spawn_scoped(scope, one_client).expect("a thread can be started");
        }
    });
    server.wait_for_descriptors(before);
    server.wait_for_lines(CLIENTS, "GET /film.mp4 200 4 MiB");
}

#[test]
fn a_burst_of_500_connections_is_served_within_two_seconds() {
    let _turn = alone();
    let folder = Folder::new();
    let server = Server::start(folder.file("small.ts", noise(2, 1_000)), &[]);
    let promised = noise(2, 1_000);
    let began = Instant::now();
    let mut connections: Vec<_> = (0..500).map(|_| server.connect()).collect();
    for connection in &mut connections {
        connection.send_request("GET", "/small.ts", &[]);
    }
    for connection in &mut connections {
        connection.response().is(200, &promised);
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn ten_thousand_clients_leave_descriptors_and_memory_where_they_were() {
    let _turn = alone();
    let folder = Folder::new();
    folder.file("small.ts", noise(3, 1_000));
    folder.file("large.ts", noise(4, 1 << 20));
    folder.hollow_file("long.mp4", LONG);
    let server = Server::start(folder.path(), &["--list"]);
    let before = server.descriptors();
    let run = |clients: usize, at_once: usize| {
        thread::scope(|scope| {
            for offset in 0..at_once {
                let server = &server;
                scope.spawn(move || (offset..clients).step_by(at_once).for_each(|kind| one_client_of(server, kind)));
            }
        });
        server.wait_for_descriptors(before);
    };
    // More at once than later: what is warm by then is enough for what comes.
    run(10_000, 64);
    let mut resident = vec![server.resident_bytes()];
    // A leak leaks each time. What is only not warm yet grows once.
    while resident.len() <= 3 {
        run(10_000, 8);
        let (before, now) = (resident[resident.len() - 1], server.resident_bytes());
        if now * 100 <= before * 105 {
            return;
        }
        resident.push(now);
    }
    panic!("memory grows and grows: {resident:?}");
}

/// Some ways to use a connection, and to end it.
fn one_client_of(server: &Server, kind: usize) {
    let mut connection = server.connect();
    match kind % 10 {
        0 => (0..3).for_each(|_| assert_eq!(connection.get("/small.ts").status(), 200)),
        1 => assert_eq!(connection.get("/missing").status(), 404),
        2 => assert_eq!(connection.get("/").status(), 200),
        3 => assert_eq!(connection.get_range("/large.ts", "bytes=1000-1999").body.len(), 1_000),
        4 => {
            connection.send("nonsense\r\n\r\n");
            assert_eq!(connection.response().status(), 400);
            connection.expect_closed();
        }
        5 => connection.send("GET /small.ts HTTP/1.1\r\nHo"),
        6 => {
            connection.send_request("GET", "/long.mp4", &[]);
            connection.header_section();
            connection.reset();
        }
        7 => {}
        _ => {
            connection.request("GET", "/small.ts", &["Connection: close"]).is(200, &noise(3, 1_000));
            connection.expect_closed();
        }
    }
}

#[test]
fn a_file_of_any_size_is_sent_without_being_read_into_memory() {
    const HUGE: u64 = 1 << 30;
    let _turn = alone();
    let folder = Folder::new();
    folder.hollow_file("huge.mp4", HUGE);
    folder.file("small.ts", "small");
    let server = Server::start(folder.path(), &[]);
    server.get("/small.ts").is(200, b"small");
    let before = (server.memory_bytes(), server.reads());

    let mut connection = server.connect();
    connection.send_request("GET", "/huge.mp4", &[]);
    assert_eq!(connection.header_section().expect_field("Content-Length"), HUGE.to_string());
    let (mut left, mut buffer) = (HUGE, vec![0; 1 << 20]);
    while left > 0 {
        let piece = left.min(buffer.len() as u64) as usize;
        let came = connection.read_into(&mut buffer[..piece]);
        assert!(came > 0, "{left} bytes are missing");
        left -= came as u64;
    }
    let after = (server.memory_bytes(), server.reads());
    assert!(after.0 < before.0 + (1 << 20), "{} bytes of memory more", after.0 - before.0);
    // Each call moved more than all that the server has to read into: the bytes did not come that way.
    let (calls, bytes) = (after.1.0 - before.1.0, after.1.1 - before.1.1);
    assert!(bytes >= HUGE && bytes / calls > 32 << 10, "{bytes} bytes by {calls} calls");
    // The guests of both had the same memory.
    let of = |line: String| {
        line.split(" mem ").nth(1).map(str::to_owned).and_then(|rest| rest.split(" cpu").next().map(str::to_owned))
    };
    let small = of(server.wait_for_line("/small.ts 200"));
    assert_eq!(of(server.wait_for_line("/huge.mp4 200")), small);
}

#[test]
fn a_client_that_stops_reading_delays_nobody() {
    let _turn = alone();
    let folder = Folder::new();
    folder.hollow_file("long.mp4", LONG);
    folder.file("small.ts", noise(5, 1_000));
    let server = Server::start(folder.path(), &["--stall-timeout", "1h"]);
    let fifty_times = || {
        let began = Instant::now();
        for _ in 0..50 {
            server.get("/small.ts").is(200, &noise(5, 1_000));
            assert_eq!(server.get("/missing").status(), 404);
        }
        began.elapsed()
    };
    let undisturbed = fifty_times();
    let mut stalled: Vec<_> = (0..100)
        .map(|_| {
            let mut connection = Connection::with_small_buffer(server.address());
            connection.send_request("GET", "/long.mp4", &[]);
            connection.header_section();
            connection
        })
        .collect();
    let beside_them = fifty_times();
    // Of what it could be if they mattered, this is nothing; of what it is, it may be a lot on a busy machine.
    let bearable = undisturbed * 10 + Duration::from_secs(1);
    assert!(beside_them < bearable, "{beside_them:?} beside stalled clients, {undisturbed:?} without");
    // And they stay connected: one that reads on gets the rest.
    let last = stalled.last_mut().expect("there are some");
    assert!(last.read_exactly(LONG as usize).iter().all(|byte| *byte == 0));
    last.expect_open();
}
