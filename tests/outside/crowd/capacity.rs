//! Limits on numbers: clients, clients of one address, failures, descriptors.

use std::net::Ipv4Addr;

use multiclient_isolate::FAULTY;
use support::turn::alone;
use support::{Connection, Folder, Server, eventually, text};

#[test]
fn clients_of_one_address_are_limited() {
    let _turn = alone();
    let folder = Folder::new();
    let server = Server::start(folder.file("small.ts", "small"), &["--per-address", "3"]);
    let from = |last: u8| Connection::from(Ipv4Addr::new(127, 0, 0, last), server.address());
    let mut guests: Vec<_> = (0..3).map(|_| from(2)).collect();
    for guest in &mut guests {
        guest.get("/small.ts").is(200, b"small");
    }
    from(2).expect_closed();
    server.wait_for_line("#4 127.0.0.2 rejected: too many connections from its address ");
    // Others are not touched by it, and this machine's own clients are not counted at all.
    from(3).get("/small.ts").is(200, b"small");
    let mut own: Vec<_> = (0..10).map(|_| from(1)).collect();
    for connection in &mut own {
        connection.get("/small.ts").is(200, b"small");
    }
    // Who leaves makes room for another.
    let before = server.descriptors();
    drop(guests.pop());
    server.wait_for_descriptors(before - 1);
    let mut next = from(2);
    next.get("/small.ts").is(200, b"small");
    from(2).expect_closed();
    for guest in &mut guests {
        guest.expect_open();
    }
    drop((guests, own, next));
    assert!(server.stop().summary().contains(", 2 rejected, "), "they are counted");
}

#[test]
fn a_full_server_responds_503_until_others_leave() {
    const RESERVE: usize = 5;
    let _turn = alone();
    let folder = Folder::new();
    const HALF: &str = "GET /small.ts HTTP/1.1\r\nHo";
    // Clients that say nothing take places at once.
    let flags = ["--max-clients", "3", "--reserve", "5", "--header-timeout", "1h", "--defer-accept", "0"];
    let server = Server::start(folder.file("small.ts", "small"), &flags);
    let empty = server.descriptors();
    let mut inside: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for connection in &mut inside {
        connection.get("/small.ts").is(200, b"small");
        // In the middle of a request: an idle client would give way.
        connection.send(HALF);
    }
    let full = server.descriptors();
    for target in ["/small.ts", "/missing"] {
        let mut connection = server.connect();
        let response = connection.get(target);
        assert_eq!(response.status(), 503, "{target}");
        assert!(response.expect_field("Retry-After").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{response:?}");
        assert!(response.closes(), "{response:?}");
        connection.expect_closed();
        server.wait_for_descriptors(full);
    }
    // When there is no place left to say even that, the door is closed.
    let mut waiting: Vec<_> = (0..RESERVE).map(|_| server.connect()).collect();
    for connection in &mut waiting {
        connection.send(HALF);
    }
    server.wait_for_clients(RESERVE, full);
    server.connect().expect_closed();
    server.wait_for_line(" rejected: the server is full ");
    for connection in &mut inside {
        connection.send("st: a\r\n\r\n");
        connection.response().is(200, b"small");
    }
    drop((waiting, inside));
    server.wait_for_descriptors(empty);
    server.get("/small.ts").is(200, b"small");
}

#[test]
fn the_client_that_is_idle_longest_gives_way_when_the_server_is_full() {
    let _turn = alone();
    let folder = Folder::new();
    let flags = ["--max-clients", "3", "--reserve", "0", "--idle-timeout", "1h"];
    let server = Server::start(folder.file("small.ts", "small"), &flags);
    let mut inside = Vec::new();
    for _ in 0..3 {
        // One after the other, so that they are numbered in this order: each loop accepts for itself.
        let mut connection = server.connect();
        connection.get("/small.ts").is(200, b"small");
        inside.push(connection);
    }
    inside[0].send("GET /small.ts HTTP/1.1\r\nHo");
    let mut newcomer = server.connect();
    newcomer.get("/small.ts").is(200, b"small");
    server.wait_for_line("#2 127.0.0.1 displaced: the server is full, and it was silent longest ");
    inside.remove(1).expect_closed();
    inside[0].send("st: a\r\n\r\n");
    inside[0].response().is(200, b"small");
    for connection in inside.iter_mut().chain([&mut newcomer]) {
        connection.expect_open();
    }
    assert!(server.stop().summary().contains(", 1 displaced, "), "it is counted");
}

#[test]
fn idle_clients_give_their_memory_to_newcomers() {
    let _turn = alone();
    let folder = Folder::new();
    // Room for some twenty instances.
    let server = Server::start(folder.file("small.ts", "small"), &["--total-memory", "4M", "--idle-timeout", "1h"]);
    let mut busy = server.connect();
    busy.get("/small.ts").is(200, b"small");
    busy.send("GET /small.ts HTTP/1.1\r\nHo");
    let mut crowd = Vec::new();
    for _ in 0..60 {
        let mut connection = server.connect();
        connection.get("/small.ts").is(200, b"small");
        crowd.push(connection);
    }
    server.wait_for_line("#2 127.0.0.1 displaced: ");
    crowd.remove(0).expect_closed();
    crowd.pop().expect("there are many").expect_open();
    busy.send("st: a\r\n\r\n");
    busy.response().is(200, b"small");
}

#[test]
fn an_address_whose_guests_keep_failing_is_blocked_unless_faults_are_unlimited() {
    let _turn = alone();
    let folder = Folder::new();
    let film = folder.file("small.ts", "small");
    let guest = folder.file("faulty.wasm", FAULTY);
    for (faults, stays_away) in [("2", true), ("unlimited", false)] {
        let server = Server::start(&film, &["--guest", text(&guest), "--faults", faults]);
        let from = |last: u8| Connection::from(Ipv4Addr::new(127, 0, 0, last), server.address());
        for client in 1..=4 {
            let mut connection = from(2);
            if client > 2 && stays_away {
                connection.expect_closed();
                server.wait_for_line("#3 127.0.0.2 rejected: too many failed guests of its address ");
                continue;
            }
            connection.send_request("GET", "/!trap", &[]);
            connection.read_to_cut();
            server.wait_for_line(&format!("#{client} 127.0.0.2 trapped: "));
        }
        // Others, and this machine, are served.
        from(3).get("/small.ts").is(200, b"small");
        from(1).get("/small.ts").is(200, b"small");
    }
}

#[test]
fn a_server_without_descriptors_waits_and_recovers() {
    const LEFT: usize = 20;
    let _turn = alone();
    let folder = Folder::new();
    // Clients that say nothing take descriptors at once.
    let flags = ["--header-timeout", "1h", "--defer-accept", "0"];
    let server = Server::start(folder.file("small.ts", "small"), &flags);
    let before = server.descriptors();
    server.limit_descriptors(LEFT);
    let mut connections: Vec<_> = (0..3 * LEFT).map(|_| server.connect()).collect();
    server.wait_for_clients(LEFT, before);
    // Who is inside is served as far as that goes: a file cannot be opened now.
    let response = connections[0].get("/small.ts");
    assert_eq!(response.status(), 503);
    assert!(response.field("Retry-After").is_some(), "{response:?}");
    connections[0].expect_open();
    // Who is outside waits for others to leave. When many come in at once instead, there may be too few
    // descriptors once more.
    let mut last = connections.pop().expect("there are some");
    drop(connections);
    eventually("who has waited is served", || last.get("/small.ts").status() == 200);
    drop(last);
    server.wait_for_descriptors(before);
    server.get("/small.ts").is(200, b"small");
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_silent_client_costs_no_descriptor_while_accepting_is_deferred() {
    let _turn = alone();
    let folder = Folder::new();
    let server = Server::start(folder.file("small.ts", "small"), &["--defer-accept", "1h"]);
    let before = server.descriptors();
    let mut silent = server.connect();
    // Somebody who came later and speaks is served: whoever comes is not kept waiting by the silent one.
    server.get("/small.ts").is(200, b"small");
    server.wait_for_descriptors(before);
    silent.get("/small.ts").is(200, b"small");
    let server = Server::start(folder.at("small.ts"), &["--defer-accept", "1s"]);
    let before = server.descriptors();
    let _silent = server.connect();
    server.wait_for_clients(1, before);
}
