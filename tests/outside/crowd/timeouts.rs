//! Timeouts and rates: which clients are disconnected, and which are only slow.

use std::thread;
use std::time::{Duration, Instant};

use support::turn::alone;
use support::{Connection, Folder, PATIENCE, Server, noise};

use super::LONG;

#[test]
fn a_client_that_sends_no_complete_request_in_time_is_disconnected_and_logged() {
    let _turn = alone();
    let folder = Folder::new();
    let small = folder.file("small.ts", "small");
    let server = Server::start(small, &["--header-timeout", "400ms", "--idle-timeout", "1h"]);
    let whole = "GET /small.ts HTTP/1.1\r\nHost: a\r\n\r\n";
    // Half a header section; one without its last byte; an incomplete second one; and nothing at all.
    for (answered, said) in
        [(false, &whole[..10]), (false, &whole[..whole.len() - 1]), (true, &whole[..20]), (false, "")]
    {
        let mut connection = server.connect();
        if answered {
            connection.get("/small.ts").is(200, b"small");
        }
        let began = Instant::now();
        connection.send(said);
        connection.expect_closed();
        let took = began.elapsed();
        assert!(took > Duration::from_millis(300), "{said:?} is disconnected after {took:?}");
    }
    server.wait_for_line("#1 127.0.0.1 timed out: no complete request   10 B in, 0 B out, ");
    server.wait_for_line("#2 127.0.0.1 timed out: no complete request   34 B in, 0 B out, ");
    server.wait_for_line("#3 127.0.0.1 timed out: no complete request ");
    let lines = server.stop().lines;
    let silent = lines.iter().find(|line| line.starts_with("#4 "));
    assert_eq!(silent, None, "browsers connect in advance and then ask nothing");
}

#[test]
fn a_header_section_that_trickles_gets_no_more_time_than_any_other() {
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
    server.wait_for_line("#1 127.0.0.1 timed out: no complete request ");
}

#[test]
fn an_idle_client_is_disconnected_without_a_line_in_the_log() {
    let _turn = alone();
    let folder = Folder::new();
    let small = folder.file("small.ts", "small");
    let server = Server::start(small, &["--idle-timeout", "400ms", "--header-timeout", "1h"]);
    let mut connection = server.connect();
    for _ in 0..3 {
        connection.get("/small.ts").is(200, b"small");
    }
    let began = Instant::now();
    connection.expect_closed();
    assert!(began.elapsed() > Duration::from_millis(300), "{:?}", began.elapsed());
    let lines = server.stop().lines;
    assert!(!lines.iter().any(|line| line.contains("timed out")), "an idle client is ordinary: {lines:?}");
}

#[test]
fn a_client_that_accepts_no_data_for_too_long_is_disconnected_and_logged() {
    let _turn = alone();
    let folder = Folder::new();
    let server = Server::start(folder.hollow_file("long.mp4", LONG), &["--stall-timeout", "400ms"]);
    let before = server.descriptors();
    let mut connection = Connection::with_small_buffer(server.address());
    connection.send_request("GET", "/long.mp4", &[]);
    connection.header_section();
    server.wait_for_line("#1 127.0.0.1 timed out: accepted no data ");
    let line = server.wait_for_line("GET /long.mp4 200 ");
    assert!(line.contains(" cut short "), "{line}");
    server.wait_for_descriptors(before);
    assert!(connection.read_to_cut().len() < LONG as usize);
}

#[test]
fn a_client_that_reads_slowly_stays_connected() {
    /// On a machine that is busy with other things, this test may itself rest for as long as a client that stalls.
    const ATTEMPTS: usize = 5;
    const STALL: Duration = Duration::from_secs(1);
    let _turn = alone();
    let folder = Folder::new();
    let server = Server::start(folder.hollow_file("long.mp4", LONG), &["--stall-timeout", "1s"]);
    let pauses: Vec<_> = (0..ATTEMPTS)
        .map(|_| read_slowly(&server))
        .take_while(|(pause, end)| !(end.is_ok() && *pause < STALL))
        .collect();
    let was_steady = |(pause, _): &&(Duration, Result<(), String>)| *pause < STALL / 2;
    assert_eq!(pauses.iter().find(was_steady), None, "a client is cut off that reads all the time");
    assert!(pauses.len() < ATTEMPTS, "this machine is too busy: {pauses:?}");
}

/// Reads a long file slowly for some time, and then to its end. Gives the longest time between two reads, the waits for
/// the server not among it.
fn read_slowly(server: &Server) -> (Duration, Result<(), String>) {
    let mut connection = Connection::with_small_buffer(server.address());
    connection.send_request("GET", "/long.mp4", &[]);
    connection.header_section();
    let began = Instant::now();
    let (mut done, mut longest, mut last) = (0, Duration::ZERO, began);
    let mut piece = vec![0; 128 << 10];
    while done < LONG {
        longest = longest.max(last.elapsed());
        let read = connection.try_read(&mut piece);
        last = Instant::now();
        match read {
            Ok(count) if count > 0 => done += count as u64,
            end => return (longest, Err(format!("{end:?} after {done} bytes"))),
        }
        if began.elapsed() < Duration::from_millis(2_500) {
            // The pace of a player, somewhat faster: what is tested is that time passes.
            thread::sleep(Duration::from_millis(10));
        }
    }
    connection.expect_open();
    (longest, Ok(()))
}

#[test]
fn a_client_that_reads_less_than_the_kernel_reports_has_not_stalled() {
    let _turn = alone();
    let folder = Folder::new();
    // There is room for more only when half of this has been taken, which is longer than the stall.
    let flags = ["--stall-timeout", "500ms", "--unsent", "4M"];
    let server = Server::start(folder.hollow_file("long.mp4", LONG), &flags);
    let mut connection = Connection::with_small_buffer(server.address());
    connection.send_request("GET", "/long.mp4", &[]);
    connection.header_section();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2_500) {
        connection.read_exactly(32 << 10);
        // The pace of a slow player: what is tested is that time passes.
        thread::sleep(Duration::from_millis(50));
    }
    assert!(!server.log().iter().any(|line| line.contains("timed out")), "{:?}", server.log());
}

#[test]
fn the_idle_timeout_runs_from_the_end_of_the_response() {
    let _turn = alone();
    let folder = Folder::new();
    let film = noise(3, 96 << 10);
    let server = Server::start(folder.file("film.ts", &film), &["--idle-timeout", "1s", "--rate", "48K"]);
    let mut connection = server.connect();
    connection.get("/film.ts").is(200, &film);
    // Longer than a second after the response has begun, and much less than that after its end.
    thread::sleep(Duration::from_millis(200));
    connection.expect_open();
}

#[test]
fn the_rate_limits_listings_too() {
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
