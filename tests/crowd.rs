//! Many clients at once, and clients that mean no good: nobody waits for somebody else, and nothing of
//! them is left.
//!
//! These look at how long things take and at what the server holds, so each has the machine to itself.

mod support;

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use support::{Connection, Folder, PATIENCE, Server, eventually, noise, raise_descriptor_limit};

/// Waits until no other test of this kind runs, in this process or another, and keeps them out until it is
/// dropped.
fn alone() -> File {
    raise_descriptor_limit();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("crowd.lock");
    let turn = File::create(path).expect("cargo has made the folder");
    turn.lock().expect("a file can be locked");
    turn
}

/// More than all buffers between a server and a client that does not read.
const LONG: u64 = 64 << 20;

// ---- many who mean well

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
        connection.ask_for("GET", "/film.mp4", &[]);
        connection.head();
        let mut piece = vec![0; 64 << 10];
        let mut done = connection.read_into(&mut piece[..1]);
        assert_eq!(piece[0], film[0]);
        all_are_served.wait();
        while done < film.len() {
            let count = connection.read_into(&mut piece);
            assert!(count > 0, "the film ends early: {done}");
            assert!(piece[..count] == film[done..done + count], "other bytes behind {done}");
            done += count;
        }
        connection.goes_on();
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
        connection.ask_for("GET", "/small.ts", &[]);
    }
    for connection in &mut connections {
        connection.reply().is(200, &promised);
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn ten_thousand_lives_leave_descriptors_and_memory_where_they_were() {
    let _turn = alone();
    let folder = Folder::new();
    folder.file("small.ts", noise(3, 1_000));
    folder.file("large.ts", noise(4, 1 << 20));
    folder.hollow_file("long.mp4", LONG);
    let server = Server::start(folder.path(), &["--list"]);
    let before = server.descriptors();
    let live = |lives: usize, at_once: usize| {
        thread::scope(|scope| {
            for offset in 0..at_once {
                let server = &server;
                scope.spawn(move || (offset..lives).step_by(at_once).for_each(|kind| one_life(server, kind)));
            }
        });
        server.wait_for_descriptors(before);
    };
    // More at once than later: what is warm by then is enough for what comes.
    live(10_000, 64);
    let mut resident = vec![server.resident_bytes()];
    // A leak leaks each time. What is only not warm yet grows once.
    while resident.len() <= 3 {
        live(10_000, 8);
        let (before, now) = (resident[resident.len() - 1], server.resident_bytes());
        if now * 100 <= before * 105 {
            return;
        }
        resident.push(now);
    }
    panic!("memory grows and grows: {resident:?}");
}

/// Some ways to live, and to end.
fn one_life(server: &Server, kind: usize) {
    let mut connection = server.connect();
    match kind % 10 {
        0 => (0..3).for_each(|_| assert_eq!(connection.get("/small.ts").status(), 200)),
        1 => assert_eq!(connection.get("/missing").status(), 404),
        2 => assert_eq!(connection.get("/").status(), 200),
        3 => assert_eq!(connection.get_range("/large.ts", "bytes=1000-1999").body.len(), 1_000),
        4 => {
            connection.send("nonsense\r\n\r\n");
            assert_eq!(connection.reply().status(), 400);
            connection.is_closed();
        }
        5 => connection.send("GET /small.ts HTTP/1.1\r\nHo"),
        6 => {
            connection.ask_for("GET", "/long.mp4", &[]);
            connection.head();
            connection.vanish();
        }
        7 => {}
        _ => {
            connection.ask("GET", "/small.ts", &["Connection: close"]).is(200, &noise(3, 1_000));
            connection.is_closed();
        }
    }
}

#[test]
fn a_file_of_any_size_takes_no_memory_and_is_not_read_into_any() {
    const HUGE: u64 = 1 << 30;
    let _turn = alone();
    let folder = Folder::new();
    folder.hollow_file("huge.mp4", HUGE);
    folder.file("small.ts", "small");
    let server = Server::start(folder.path(), &[]);
    server.get("/small.ts").is(200, b"small");
    let before = (server.memory_bytes(), server.reads());

    let mut connection = server.connect();
    connection.ask_for("GET", "/huge.mp4", &[]);
    assert_eq!(connection.head().said("Content-Length"), HUGE.to_string());
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
            connection.ask_for("GET", "/long.mp4", &[]);
            connection.head();
            connection
        })
        .collect();
    let beside_them = fifty_times();
    // Of what it could be if they mattered, this is nothing; of what it is, it may be a lot on a busy machine.
    let bearable = undisturbed * 10 + Duration::from_secs(1);
    assert!(beside_them < bearable, "{beside_them:?} beside stalled clients, {undisturbed:?} without");
    // And they are not given up: whoever reads on gets the rest.
    let last = stalled.last_mut().expect("there are some");
    assert!(last.exactly(LONG as usize).iter().all(|byte| *byte == 0));
    last.goes_on();
}

// ---- many who do not

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
                connection.ask_for("GET", "/long.mp4", &[]);
                connection.head();
                connection
            })
            .collect();
        for (number, connection) in connections.into_iter().enumerate() {
            // By a reset, or by a close that becomes one when more is sent.
            if number % 2 == 0 { connection.vanish() } else { drop(connection) }
        }
        server.wait_for_descriptors(before);
        server.wait_for_lines(100 * (round + 1), "GET /long.mp4 200 ");
    }
    assert!(server.log().iter().all(|line| !line.contains("GET ") || line.contains(" cut short ")));
    assert_eq!(server.connect().get_range("/long.mp4", "bytes=-1").body, [0]);
}

#[test]
fn garbage_is_answered_or_ended_and_leaves_nothing_behind() {
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
        let said = connection.until_cut();
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
fn a_thousand_half_sent_heads_leave_the_server_serving() {
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
    server.wait_for_lines(CROWD, " timed out: no whole request ");
    for connection in &mut connections {
        connection.is_closed();
    }
    server.wait_for_descriptors(before);
    server.get("/small.ts").is(200, b"small");
    // What stays is warm places for as many clients as there were.
    let each = (server.resident_bytes() - empty) / CROWD as u64;
    assert!(each < 100 << 10, "{each} bytes for each of them");
}

// ---- time limits

#[test]
fn who_sends_no_whole_request_in_time_is_ended_and_logged() {
    let _turn = alone();
    let folder = Folder::new();
    let small = folder.file("small.ts", "small");
    let server = Server::start(small, &["--header-timeout", "400ms", "--idle-timeout", "1h"]);
    let whole = "GET /small.ts HTTP/1.1\r\nHost: a\r\n\r\n";
    // Half a head; a head without its last byte; a second one that is not whole; and nothing at all.
    for (answered, said) in
        [(false, &whole[..10]), (false, &whole[..whole.len() - 1]), (true, &whole[..20]), (false, "")]
    {
        let mut connection = server.connect();
        if answered {
            connection.get("/small.ts").is(200, b"small");
        }
        let began = Instant::now();
        connection.send(said);
        connection.is_closed();
        let took = began.elapsed();
        assert!(took > Duration::from_millis(300), "{said:?} is ended after {took:?}");
    }
    server.wait_for_line("#1 127.0.0.1 timed out: no whole request   10 B in, 0 B out, ");
    server.wait_for_line("#2 127.0.0.1 timed out: no whole request   34 B in, 0 B out, ");
    server.wait_for_line("#3 127.0.0.1 timed out: no whole request ");
    let lines = server.stop().lines;
    let silent = lines.iter().find(|line| line.starts_with("#4 "));
    assert_eq!(silent, None, "browsers connect in advance and then ask nothing");
}

#[test]
fn a_head_that_trickles_gets_no_more_time_than_any_other() {
    let _turn = alone();
    let folder = Folder::new();
    let server = Server::start(folder.file("small.ts", "small"), &["--header-timeout", "500ms"]);
    let mut connection = server.connect();
    let began = Instant::now();
    connection.send("GET /small.ts HTTP/1.1\r\nX: ");
    while !connection.ends_within(Duration::from_millis(20)) {
        assert!(began.elapsed() < PATIENCE, "each byte buys more time");
        // The last one may meet a closed door.
        let _ = connection.try_send("x");
    }
    server.wait_for_line("#1 127.0.0.1 timed out: no whole request ");
}

#[test]
fn who_asks_nothing_more_is_let_go_without_a_word() {
    let _turn = alone();
    let folder = Folder::new();
    let small = folder.file("small.ts", "small");
    let server = Server::start(small, &["--idle-timeout", "400ms", "--header-timeout", "1h"]);
    let mut connection = server.connect();
    for _ in 0..3 {
        connection.get("/small.ts").is(200, b"small");
    }
    let began = Instant::now();
    connection.is_closed();
    assert!(began.elapsed() > Duration::from_millis(300), "{:?}", began.elapsed());
    let lines = server.stop().lines;
    assert!(!lines.iter().any(|line| line.contains("timed out")), "nobody did anything wrong: {lines:?}");
}

#[test]
fn who_reads_nothing_for_too_long_is_ended_and_logged() {
    let _turn = alone();
    let folder = Folder::new();
    let server = Server::start(folder.hollow_file("long.mp4", LONG), &["--stall-timeout", "400ms"]);
    let before = server.descriptors();
    let mut connection = Connection::with_small_buffer(server.address());
    connection.ask_for("GET", "/long.mp4", &[]);
    connection.head();
    server.wait_for_line("#1 127.0.0.1 timed out: nothing read of the reply ");
    let line = server.wait_for_line("GET /long.mp4 200 ");
    assert!(line.contains(" cut short "), "{line}");
    server.wait_for_descriptors(before);
    assert!(connection.until_cut().len() < LONG as usize);
}

#[test]
fn who_reads_slowly_is_not_ended() {
    let _turn = alone();
    let folder = Folder::new();
    let server = Server::start(folder.hollow_file("long.mp4", LONG), &["--stall-timeout", "1s"]);
    let mut connection = Connection::with_small_buffer(server.address());
    connection.ask_for("GET", "/long.mp4", &[]);
    connection.head();
    let began = Instant::now();
    let mut done = 0;
    while began.elapsed() < Duration::from_millis(2_500) {
        done += connection.exactly(128 << 10).len();
        // The pace of a player, somewhat faster: what is tested is that time passes.
        thread::sleep(Duration::from_millis(50));
    }
    connection.exactly(LONG as usize - done);
    connection.goes_on();
}

#[test]
fn who_takes_less_than_the_kernel_waits_for_has_not_stalled() {
    let _turn = alone();
    let folder = Folder::new();
    // There is room for more only when half of this has been taken, which is longer than the stall.
    let flags = ["--stall-timeout", "500ms", "--unsent", "4M"];
    let server = Server::start(folder.hollow_file("long.mp4", LONG), &flags);
    let mut connection = Connection::with_small_buffer(server.address());
    connection.ask_for("GET", "/long.mp4", &[]);
    connection.head();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2_500) {
        connection.exactly(32 << 10);
        // The pace of a slow player: what is tested is that time passes.
        thread::sleep(Duration::from_millis(50));
    }
    assert!(!server.log().iter().any(|line| line.contains("timed out")), "{:?}", server.log());
}

#[test]
fn the_time_between_requests_runs_from_the_end_of_the_reply() {
    let _turn = alone();
    let folder = Folder::new();
    let film = noise(3, 96 << 10);
    let server = Server::start(folder.file("film.ts", &film), &["--idle-timeout", "1s", "--rate", "48K"]);
    let mut connection = server.connect();
    connection.get("/film.ts").is(200, &film);
    // Longer than a second after the reply has begun, and much less than that after its end.
    thread::sleep(Duration::from_millis(200));
    connection.goes_on();
}

#[test]
fn the_rate_holds_for_what_is_not_a_file_too() {
    let _turn = alone();
    let folder = Folder::new();
    for number in 0..400 {
        folder.file(&format!("a file with a name that is as long as names often are, number {number}.mp4"), "");
    }
    let server = Server::start(folder.path(), &["--list", "--rate", "64K"]);
    let asked = Instant::now();
    let listing = server.get("/").body.len();
    let (took, least) = (asked.elapsed(), Duration::from_millis(listing as u64 * 1_000 / (96 << 10)));
    assert!(took > least, "{listing} bytes came in {took:?}");
}

// ---- limits on numbers

#[test]
fn one_address_has_only_so_many_clients() {
    let _turn = alone();
    let folder = Folder::new();
    let server = Server::start(folder.file("small.ts", "small"), &["--per-ip", "3"]);
    let from = |last: u8| Connection::from(Ipv4Addr::new(127, 0, 0, last), server.address());
    let mut guests: Vec<_> = (0..3).map(|_| from(2)).collect();
    for guest in &mut guests {
        guest.get("/small.ts").is(200, b"small");
    }
    from(2).is_closed();
    server.wait_for_line("#4 127.0.0.2 turned away: too many clients of its address ");
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
    from(2).is_closed();
    for guest in &mut guests {
        guest.goes_on();
    }
    drop((guests, own, next));
    assert!(server.stop().summary().contains(", 2 turned away, "), "they are counted");
}

#[test]
fn a_full_server_says_so_and_takes_clients_again_when_others_leave() {
    const RESERVE: usize = 5;
    let _turn = alone();
    let folder = Folder::new();
    let flags = ["--max-clients", "3", "--reserve", "5", "--header-timeout", "1h"];
    let server = Server::start(folder.file("small.ts", "small"), &flags);
    let empty = server.descriptors();
    let mut inside: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for connection in &mut inside {
        connection.get("/small.ts").is(200, b"small");
    }
    let full = server.descriptors();
    for target in ["/small.ts", "/missing"] {
        let mut connection = server.connect();
        let reply = connection.get(target);
        assert_eq!(reply.status(), 503, "{target}");
        assert!(reply.said("Retry-After").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{reply:?}");
        assert!(reply.closes(), "{reply:?}");
        connection.is_closed();
        server.wait_for_descriptors(full);
    }
    // When there is no place left to say even that, the door is closed.
    let waiting: Vec<_> = (0..RESERVE).map(|_| server.connect()).collect();
    server.wait_for_clients(RESERVE, full);
    server.connect().is_closed();
    server.wait_for_line(" turned away: the server is full ");
    for connection in &mut inside {
        connection.goes_on();
    }
    drop((waiting, inside));
    server.wait_for_descriptors(empty);
    server.get("/small.ts").is(200, b"small");
}

#[test]
fn an_address_whose_clients_keep_failing_stays_away_where_the_operator_wants_it() {
    let _turn = alone();
    let folder = Folder::new();
    let film = folder.file("small.ts", "small");
    let guest = folder.file("faulty.wasm", include_bytes!(concat!(env!("OUT_DIR"), "/faulty.wasm")));
    let guest = guest.to_str().expect("a plain name");
    for (faults, stays_away) in [("2", true), ("0", false)] {
        let server = Server::start(&film, &["--guest", guest, "--faults", faults]);
        let from = |last: u8| Connection::from(Ipv4Addr::new(127, 0, 0, last), server.address());
        for client in 1..=4 {
            let mut connection = from(2);
            if client > 2 && stays_away {
                connection.is_closed();
                server.wait_for_line("#3 127.0.0.2 turned away: too many faults of clients of its address ");
                continue;
            }
            connection.ask_for("GET", "/!trap", &[]);
            connection.until_cut();
            server.wait_for_line(&format!("#{client} 127.0.0.2 trapped: "));
        }
        // Others, and this machine, are served.
        from(3).get("/small.ts").is(200, b"small");
        from(1).get("/small.ts").is(200, b"small");
    }
}

#[test]
fn a_server_without_descriptors_waits_and_goes_on() {
    const LEFT: usize = 20;
    let _turn = alone();
    let folder = Folder::new();
    let server = Server::start(folder.file("small.ts", "small"), &["--header-timeout", "1h"]);
    let before = server.descriptors();
    server.limit_descriptors(LEFT);
    let mut connections: Vec<_> = (0..3 * LEFT).map(|_| server.connect()).collect();
    server.wait_for_clients(LEFT, before);
    // Who is inside is served as far as that goes: a file cannot be opened now.
    let reply = connections[0].get("/small.ts");
    assert_eq!(reply.status(), 503);
    assert!(reply.field("Retry-After").is_some(), "{reply:?}");
    connections[0].goes_on();
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
