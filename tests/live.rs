//! One source, many viewers, as the bytes come: pipes, FIFOs, files that grow, folders that change, and
//! FFmpeg's spellings of sources.
//!
//! What a producer writes says of every byte where it stands, so that a viewer can tell where it has
//! joined, and that nothing is missing from there on.

mod support;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::process::Signal;
use support::{A_WHILE, Background, Connection, Folder, Head, PATIENCE, Server, noise, program, run, run_within};
use support::{eventually, multiclient};

// ---- producers

/// The length of a packet of an MPEG transport stream.
const PACKET: usize = 188;

/// A packet as the producer writes it: a sync byte, its number, and bytes that differ from packet to
/// packet, so that nothing but the sync byte looks like one.
fn packet(number: u64) -> [u8; PACKET] {
    let mut packet = [0; PACKET];
    packet[0] = 0x47;
    packet[1..9].copy_from_slice(&number.to_be_bytes());
    for (at, byte) in packet.iter_mut().enumerate().skip(9) {
        *byte = number.wrapping_mul(7).wrapping_add(at as u64) as u8;
    }
    packet
}

fn packets(from: u64, to: u64) -> Vec<u8> {
    let mut packets = Vec::with_capacity((to - from) as usize * PACKET);
    (from..to).for_each(|number| packets.extend_from_slice(&packet(number)));
    packets
}

/// Checks that these are whole packets without a gap, up to and without packet `to`, and gives the number
/// of the first.
#[track_caller]
fn first_of(got: &[u8], to: u64) -> u64 {
    assert!(got.len() >= PACKET && got.len().is_multiple_of(PACKET), "{} bytes are whole packets", got.len());
    let from = u64::from_be_bytes(got[1..9].try_into().expect("eight bytes"));
    assert!(from < to, "{from} comes before {to}");
    same(got, &packets(from, to));
    from
}

#[track_caller]
fn same(got: &[u8], promised: &[u8]) {
    let until = got.iter().zip(promised).take_while(|(a, b)| a == b).count();
    assert!(got == promised, "{} bytes, not those {}; the same up to {until}", got.len(), promised.len());
}

/// Somebody who writes to a pipe, and whom nobody may keep waiting.
struct Producer(File);

impl Producer {
    fn new(pipe: impl Into<OwnedFd>) -> Self {
        let pipe = pipe.into();
        rustix::io::ioctl_fionbio(&pipe, true).expect("a pipe can be made not to wait");
        Self(pipe.into())
    }

    /// Writes all of it.
    #[track_caller]
    fn write(&mut self, bytes: &[u8]) {
        let written = self.write_within(PATIENCE, bytes);
        assert_eq!(written, bytes.len(), "the server reads on");
    }

    /// Writes until it is done, or the other side takes nothing for so long. Says how much was taken.
    fn write_within(&mut self, patience: Duration, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.0.write(&bytes[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let patience = Timespec::try_from(patience).expect("it is short");
                    if poll(&mut [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::OUT)], Some(&patience)) == Ok(0) {
                        break;
                    }
                }
                Err(error) => panic!("the server has given up: {error}"),
            }
        }
        written
    }

    /// Writes until the other side has taken nothing for a while. Says how much it took.
    fn write_until_blocked(&mut self, bytes: &[u8]) -> usize {
        self.write_within(Duration::from_millis(300), bytes)
    }
}

/// A server whose standard input is the other end of this pipe.
fn fed(flags: &[&str]) -> (Server, Producer) {
    let (reader, writer) = io::pipe().expect("there are descriptors left");
    let mut command = multiclient();
    command.args(["-", "0", "--as", "/live.ts", "--log", "text"]).args(flags).stdin(reader).stdout(Stdio::null());
    (Server::run(command), Producer::new(writer))
}

/// What a producer lets pass between two writes: its pace, and nothing that a test waits for.
fn rest(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

/// Makes a FIFO.
fn fifo(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a FIFO can be made");
}

/// Opens a FIFO as a writer, when somebody reads it.
fn write_to_fifo(path: &Path) -> Producer {
    let mut opened = None;
    eventually("somebody reads the FIFO", || {
        opened = rustix::fs::open(path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).ok();
        opened.is_some()
    });
    Producer::new(opened.expect("it was opened"))
}

// ---- viewers

/// A client that watches something without a known length.
struct Viewer {
    connection: Connection,
    head: Head,
    chunked: bool,
    /// What is left of the chunk that is coming.
    left: usize,
    ended: bool,
    got: Vec<u8>,
}

impl Viewer {
    fn of(server: &Server, target: &str) -> Self {
        Self::asks(server.connect(), &format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"))
    }

    fn with_http_10(server: &Server, target: &str) -> Self {
        Self::asks(server.connect(), &format!("GET {target} HTTP/1.0\r\n\r\n"))
    }

    fn asks(mut connection: Connection, request: &str) -> Self {
        connection.send(request);
        let head = connection.head();
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.field("Content-Length"), None, "nobody knows its length: {head:?}");
        assert_eq!(head.said("Cache-Control"), "no-store");
        let chunked = head.field("Transfer-Encoding") == Some("chunked");
        assert_eq!(chunked, request.contains("HTTP/1.1"), "{head:?}");
        Self { connection, head, chunked, left: 0, ended: false, got: Vec::new() }
    }

    /// Reads what there is next.
    fn more(&mut self) {
        assert!(!self.ended, "it has ended after {} bytes", self.got.len());
        let mut piece = [0; 64 << 10];
        if self.chunked && self.left == 0 {
            let size = String::from_utf8(self.connection.line()).expect("a chunk's size is ASCII");
            self.left = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("not a chunk's size: {size:?}"));
            if self.left == 0 {
                assert!(self.connection.line().is_empty(), "nobody has promised trailers");
                self.ended = true;
                return;
            }
        }
        let most = if self.chunked { self.left.min(piece.len()) } else { piece.len() };
        let count = self.connection.read_into(&mut piece[..most]);
        self.got.extend_from_slice(&piece[..count]);
        match count {
            0 if self.chunked => panic!("it ends in the middle of a chunk, after {} bytes", self.got.len()),
            0 => self.ended = true,
            _ if self.chunked => {
                self.left -= count;
                if self.left == 0 {
                    assert!(self.connection.line().is_empty(), "a chunk ends with an empty line");
                }
            }
            _ => {}
        }
    }

    fn until(&mut self, count: usize) {
        while self.got.len() < count {
            self.more();
        }
    }

    /// Reads up to a proper end, and gives all that came.
    fn all(mut self) -> Vec<u8> {
        while !self.ended {
            self.more();
        }
        if self.chunked {
            self.connection.goes_on();
        }
        self.got
    }
}

// ---- joining

#[test]
fn viewers_that_come_at_any_time_get_the_same_bytes_to_the_end() {
    const BATCH: u64 = 400;
    let (server, mut writer) = fed(&["--burst", "64K"]);
    let mut first = Viewer::of(&server, "/live.ts");
    let mut viewers = Vec::new();
    let mut written = 0;
    for turn in 0..12 {
        writer.write(&packets(written, written + BATCH));
        written += BATCH;
        // The others come when this has arrived, so that it is known where they join.
        first.until(written as usize * PACKET);
        let viewer =
            if turn % 2 == 0 { Viewer::of(&server, "/live.ts") } else { Viewer::with_http_10(&server, "/live.ts") };
        let joined = (written * PACKET as u64).saturating_sub(64 << 10).div_ceil(PACKET as u64);
        viewers.push((joined, thread::spawn(|| viewer.all())));
    }
    drop(writer);
    same(&first.all(), &packets(0, written));
    for (joined, viewer) in viewers {
        assert_eq!(first_of(&viewer.join().expect("a viewer sees the end"), written), joined, "a packet to begin with");
    }
    server.wait_for_line("source ended");
}

#[test]
fn bytes_come_as_they_are_written() {
    let (server, mut writer) = fed(&[]);
    let mut chunked = Viewer::of(&server, "/live.ts");
    let mut bare = Viewer::with_http_10(&server, "/live.ts");
    for (count, byte) in (1..).zip(b"one by one") {
        writer.write(&[*byte]);
        for viewer in [&mut chunked, &mut bare] {
            viewer.until(count);
            same(&viewer.got, &b"one by one"[..count]);
        }
    }
}

/// Where a viewer joins who comes when `written` has come.
fn joins(written: &[u8], flags: &[&str]) -> usize {
    let (server, mut writer) = fed(&[flags, &["--lag", "64M"]].concat());
    let mut first = Viewer::of(&server, "/live.ts");
    for piece in written.chunks(256 << 10) {
        writer.write(piece);
        first.until(first.got.len() + piece.len());
    }
    let viewer = Viewer::of(&server, "/live.ts");
    writer.write(b"and the last");
    drop(writer);
    let got = viewer.all();
    let whole = [written, b"and the last"].concat();
    same(&first.all(), &whole);
    same(&got, &whole[whole.len() - got.len()..]);
    whole.len() - got.len()
}

#[test]
fn who_comes_late_begins_where_the_operator_said() {
    let count = 20_000;
    // The last packet is only half there.
    let film = [packets(0, count), packet(count)[..100].to_vec()].concat();
    let whole = count as usize * PACKET;
    assert_eq!(joins(&film, &["--join", "start"]), 0);
    assert_eq!(joins(&film, &["--join", "edge"]), whole);
    assert_eq!(joins(&packets(0, count), &["--join", "edge"]), whole);
    let burst = (film.len() - 100_000).next_multiple_of(PACKET);
    assert_eq!(joins(&film, &["--burst", "100000"]), burst);
    assert_eq!(joins(&film, &["--burst", "0"]), whole);
    assert_eq!(joins(&film, &["--burst", "64M"]), 0, "there is no more than all");
}

#[test]
fn the_oldest_that_is_kept_begins_with_a_packet_too() {
    let film = packets(0, 40_000);
    for flags in [["--join", "start"], ["--burst", "64M"]] {
        let joined = joins(&film, &[&flags[..], &["--buffer", "1M"]].concat());
        assert!(joined.is_multiple_of(PACKET), "{flags:?}: {joined} is inside of a packet");
        let kept = film.len() - joined;
        assert!((700 << 10..1 << 20).contains(&kept), "{flags:?}: {kept} bytes, and room to fall behind");
    }
}

#[test]
fn what_has_no_packets_is_joined_at_the_very_byte() {
    let film = noise(1, 1_000_003);
    assert_eq!(joins(&film, &["--join", "start"]), 0);
    assert_eq!(joins(&film, &["--join", "edge"]), film.len());
    assert_eq!(joins(&film, &["--burst", "12345"]), film.len() - 12_345);
}

#[test]
fn packets_are_found_behind_a_beginning_that_is_none() {
    let film = [noise(2, 1_001), packets(0, 10_000)].concat();
    assert_eq!(joins(&film, &["--join", "start"]), 0);
    assert_eq!((joins(&film, &["--burst", "100000"]) - 1_001) % PACKET, 0);
}

#[test]
fn what_only_looks_like_the_beginning_of_a_packet_is_none() {
    let mut film = packets(0, 10_000);
    film.chunks_mut(PACKET).for_each(|packet| (packet[9], packet[100]) = (0x47, 0x47));
    for flags in [["--burst", "100001"], ["--burst", "100101"], ["--join", "edge"]] {
        let joined = joins(&film, &flags);
        assert!(joined.is_multiple_of(PACKET), "{flags:?}: {joined}");
    }
}

// ---- slow viewers, and none

#[test]
fn who_stops_reading_is_ended_at_its_lag_and_nobody_else_notices() {
    const BATCH: u64 = 1_000;
    let (server, mut writer) = fed(&["--lag", "1M", "--unsent", "64K"]);
    let mut stalled = Connection::with_small_buffer(server.address());
    stalled.ask_for("GET", "/live.ts", &[]);
    assert_eq!(stalled.head().status, 200);
    let mut quick = [Viewer::of(&server, "/live.ts"), Viewer::with_http_10(&server, "/live.ts")];
    let mut written = 0;
    let mut feed = |written: &mut u64, quick: &mut [Viewer]| {
        writer.write(&packets(*written, *written + BATCH));
        *written += BATCH;
        for viewer in quick {
            viewer.until(*written as usize * PACKET);
        }
    };
    while !server.log().iter().any(|line| line.contains("over limit: lag behind a live source")) {
        feed(&mut written, &mut quick);
        assert!(written < 100_000, "a lag of 1 MiB is over before {written} packets");
    }
    // The others go on as if nothing had been.
    for _ in 0..10 {
        feed(&mut written, &mut quick);
    }
    drop(writer);
    for viewer in quick {
        same(&viewer.all(), &packets(0, written));
    }
    let got = stalled.until_cut();
    assert!(!got.ends_with(b"\r\n0\r\n\r\n"), "it does not look complete");
    assert!(got.len() < 4 << 20, "it was ended long before: {}", got.len());
    let lines = server.stop().lines;
    assert_eq!(lines.iter().filter(|line| line.contains("over limit")).count(), 1, "{lines:?}");
}

#[test]
fn a_rate_below_that_of_the_source_ends_at_the_lag() {
    let (server, mut writer) = fed(&["--rate", "64K", "--lag", "64K"]);
    let mut viewer = Viewer::of(&server, "/live.ts");
    writer.write(&packets(0, 40_000));
    server.wait_for_line("over limit: lag behind a live source");
    let got = viewer.connection.until_cut();
    assert!(!got.ends_with(b"\r\n0\r\n\r\n"), "it does not look complete");
}

#[test]
fn who_has_all_that_there_was_is_not_slow_however_much_comes_at_once() {
    let (server, mut writer) = fed(&["--lag", "64K"]);
    let mut viewers = [Viewer::of(&server, "/live.ts"), Viewer::with_http_10(&server, "/live.ts")];
    for turn in 0..10 {
        writer.write(&packets(turn * 4_000, (turn + 1) * 4_000));
        for viewer in &mut viewers {
            viewer.until((turn as usize + 1) * 4_000 * PACKET);
        }
    }
    drop(writer);
    for viewer in viewers {
        same(&viewer.all(), &packets(0, 40_000));
    }
}

#[test]
fn without_viewers_the_writer_goes_on_and_what_is_old_is_lost() {
    let (server, mut writer) = fed(&["--buffer", "1M", "--burst", "128K"]);
    let count = 100_000;
    let film = packets(0, count);
    assert_eq!(writer.write_until_blocked(&film), film.len(), "nobody watches, and nobody waits");
    let mut viewer = Viewer::of(&server, "/live.ts");
    writer.write(&packet(count));
    viewer.until(PACKET);
    drop(writer);
    let first = first_of(&viewer.all(), count + 1);
    assert!(first > count / 2, "what was first is gone: {first}");
}

#[test]
fn what_is_held_waits_for_its_first_viewer_and_a_head_is_none() {
    let (server, mut writer) = fed(&["--buffer", "8M", "--hold"]);
    let film = packets(0, 100_000);
    let held = writer.write_until_blocked(&film);
    assert!((6 << 20..10 << 20).contains(&held), "the buffer and a pipe full: {held}");
    let mut asking = server.connect();
    assert_eq!(asking.ask("HEAD", "/live.ts", &[]).status(), 200);
    assert_eq!(writer.write_until_blocked(&film[held..]), 0, "who asks for a head watches nothing");
    let mut viewer = Viewer::of(&server, "/live.ts");
    let mut written = held;
    for piece in film[held..].chunks(256 << 10) {
        writer.write(piece);
        written += piece.len();
        // It never catches up. Nor does it fall further behind than when it began.
        viewer.until((written - held + (2 << 20)).min(film.len()));
    }
    drop(writer);
    same(&viewer.all(), &film);
    asking.goes_on();
}

#[test]
fn what_is_held_waits_again_when_the_last_viewer_has_gone() {
    let (server, mut writer) = fed(&["--buffer", "1M", "--hold", "--lag", "64M"]);
    let film = packets(0, 30_000);
    let before = server.descriptors();
    let mut viewer = Viewer::of(&server, "/live.ts");
    writer.write(&film[..1_000_000]);
    viewer.until(1_000_000);
    viewer.connection.vanish();
    server.wait_for_descriptors(before);
    let held = writer.write_until_blocked(&film[1_000_000..]);
    assert!(held < 4 << 20, "it waits: {held}");
    let mut viewer = Viewer::of(&server, "/live.ts");
    viewer.until(1_000_000);
    same(&viewer.got[..1_000_000], &film[..1_000_000]);
}

// ---- ends

#[test]
fn a_short_source_that_has_ended_is_a_file() {
    let (server, mut writer) = fed(&[]);
    let film = packets(0, 5_000);
    writer.write(&film);
    drop(writer);
    server.wait_for_line("source ended");
    let reply = server.get("/live.ts");
    reply.is(200, &film);
    assert_eq!(reply.said("Content-Length"), film.len().to_string());
    assert_eq!(reply.said("Content-Type"), "video/mp2t");
    let part = server.connect().get_range("/live.ts", "bytes=100000-100099");
    part.is(206, &film[100_000..100_100]);
    assert_eq!(part.said("Content-Range"), format!("bytes 100000-100099/{}", film.len()));
}

#[test]
fn a_long_source_that_has_ended_is_gone() {
    let (server, mut writer) = fed(&["--buffer", "1M"]);
    let mut viewer = Viewer::of(&server, "/live.ts");
    for turn in 0..30 {
        writer.write(&packets(turn * 1_000, (turn + 1) * 1_000));
        viewer.until((turn as usize + 1) * 1_000 * PACKET);
    }
    drop(writer);
    same(&viewer.all(), &packets(0, 30_000));
    let reply = server.get("/live.ts");
    assert_eq!(reply.status(), 404);
}

#[test]
fn a_source_without_a_byte_ends_for_those_who_wait() {
    let (server, writer) = fed(&[]);
    let waiting = Viewer::of(&server, "/live.ts");
    drop(writer);
    same(&waiting.all(), b"");
    server.get("/live.ts").is(200, b"");
}

#[test]
fn each_writer_of_a_fifo_is_a_life_of_its_own() {
    let folder = Folder::new();
    let path = folder.at("live.ts");
    fifo(&path);
    let server = Server::start(&path, &[]);
    let before = server.descriptors();
    for life in 0..4 {
        // Who waits before the writer comes is served when it does.
        let early = Viewer::of(&server, "/live.ts");
        let mut writer = write_to_fifo(&path);
        let film = packets(life * 1_000, life * 1_000 + 500);
        writer.write(&film);
        let mut viewer = Viewer::with_http_10(&server, "/live.ts");
        viewer.until(1);
        drop(writer);
        same(&early.all(), &film);
        same(&viewer.all(), &film);
        server.wait_for_lines(life as usize + 1, "source ended, and waits for its next writer");
    }
    // A writer that writes nothing is none.
    drop(write_to_fifo(&path));
    let early = Viewer::of(&server, "/live.ts");
    write_to_fifo(&path).write(b"at last");
    same(&early.all(), b"at last");
    server.wait_for_descriptors(before);
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_fifo_that_was_removed_ends_properly_with_its_last_writer() {
    let folder = Folder::new();
    let path = folder.at("live.ts");
    fifo(&path);
    let server = Server::start(&path, &[]);
    let mut writer = write_to_fifo(&path);
    let viewer = Viewer::of(&server, "/live.ts");
    fs::remove_file(&path).expect("a FIFO can be removed");
    writer.write(b"the last");
    drop(writer);
    same(&viewer.all(), b"the last");
    server.wait_for_line("has no next writer");
}

#[test]
fn lives_that_nobody_watches_to_the_end_are_given_up() {
    let folder = Folder::new();
    let path = folder.at("live.ts");
    fifo(&path);
    let server = Server::start(&path, &["--buffer", "8M"]);
    let film = noise(3, 4 << 20);
    let mut idle = Vec::new();
    for life in 1..=16 {
        let mut writer = write_to_fifo(&path);
        let mut viewer = Viewer::of(&server, "/live.ts");
        writer.write(&film);
        drop(writer);
        while !viewer.ended {
            viewer.more();
        }
        same(&viewer.got, &film);
        // It has seen all, and keeps the connection.
        idle.push(viewer);
        server.wait_for_lines(life, "source ended, and waits");
    }
    let memory = server.memory_bytes();
    assert!(memory < 60 << 20, "of sixteen lives of 4 MiB only the last few are left: {memory}");
    for mut viewer in idle {
        viewer.connection.goes_on();
    }
}

// ---- what can be asked of it

#[test]
fn a_live_source_has_no_length_no_versions_and_no_ranges() {
    let (server, mut writer) = fed(&["--burst", "32K"]);
    let mut first = Viewer::of(&server, "/live.ts");
    writer.write(&packets(0, 1_000));
    first.until(1_000 * PACKET);
    let head = server.connect().ask("HEAD", "/live.ts", &[]);
    assert_eq!((head.status(), head.said("Cache-Control")), (200, "no-store"));
    assert_eq!(head.said("Content-Type"), "video/mp2t");
    for absent in ["Content-Length", "ETag", "Last-Modified", "Accept-Ranges"] {
        assert_eq!(head.field(absent), None, "{absent} of what is not over");
    }
    for line in [
        "Range: bytes=0-",
        "Range: bytes=0-99",
        "Range: bytes=-100",
        "Range: bytes=0-1,5-6",
        "If-None-Match: \"a\"",
        "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
    ] {
        let mut viewer = Viewer::asks(server.connect(), &format!("GET /live.ts HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n"));
        assert_eq!(viewer.head.field("Content-Range"), None, "{line}");
        viewer.until(PACKET);
        assert_eq!(viewer.got[0], 0x47, "{line}");
    }
    assert_eq!(server.connect().ask("GET", "/live.ts", &["If-Match: \"a\""]).status(), 412);
}

#[test]
fn a_source_that_gives_nothing_ends_those_who_wait() {
    let (server, _writer) = fed(&["--source-timeout", "300ms"]);
    let mut viewer = Viewer::of(&server, "/live.ts");
    server.wait_for_line("timed out: the source gave nothing");
    assert!(viewer.connection.until_cut().is_empty(), "it does not look complete");
}

#[test]
fn nothing_is_left_of_viewers_that_are_killed() {
    let (server, mut writer) = fed(&[]);
    let before = server.descriptors();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (stop, writer) = (&stop, &mut writer);
        scope.spawn(move || {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                writer.write(&packets(number, number + 500));
                number += 500;
                rest(5);
            }
        });
        for _ in 0..3 {
            let viewers: Vec<_> = (0..20)
                .map(|_| {
                    let mut viewer = Viewer::of(&server, "/live.ts");
                    viewer.until(1_000);
                    viewer
                })
                .collect();
            for (number, viewer) in viewers.into_iter().enumerate() {
                if number % 2 == 0 {
                    viewer.connection.vanish();
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    // Half of them have only closed their side, which shows with the next bytes.
    writer.write(&packets(0, 10));
    eventually("they are gone", || {
        writer.write(&packet(0));
        server.descriptors() <= before
    });
}

#[test]
fn viewers_get_a_proper_end_when_the_server_stops() {
    let (server, mut writer) = fed(&[]);
    let mut viewers = [Viewer::of(&server, "/live.ts"), Viewer::with_http_10(&server, "/live.ts")];
    writer.write(&packets(0, 100));
    for viewer in &mut viewers {
        viewer.until(100 * PACKET);
    }
    server.signal(Signal::TERM);
    for mut viewer in viewers {
        while !viewer.ended {
            viewer.more();
        }
        same(&viewer.got, &packets(0, 100));
    }
    assert_eq!(server.wait().code, Some(0));
    drop(writer);
}

#[test]
fn who_waits_for_a_first_writer_gets_a_proper_end_when_the_server_stops() {
    let folder = Folder::new();
    let path = folder.at("live.ts");
    fifo(&path);
    let server = Server::start(&path, &[]);
    let mut viewer = Viewer::of(&server, "/live.ts");
    server.signal(Signal::TERM);
    while !viewer.ended {
        viewer.more();
    }
    same(&viewer.got, b"");
    assert_eq!(server.wait().code, Some(0));
}

// ---- producers of every speed

/// What a server may have in memory besides the buffer of its live source: itself, what was read and not
/// told of, a block that is not given back yet.
const BESIDES: u64 = 48 << 20;

#[test]
fn a_producer_that_is_as_fast_as_can_be_fills_nothing() {
    let (server, mut writer) = fed(&["--buffer", "4M"]);
    let written = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let piece = vec![7; 1 << 20];
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                writer.write(&piece);
                written.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
        });
        // Also when something below fails.
        let _stops = Stops(&stop);
        let began = Instant::now();
        let mut most = 0;
        while began.elapsed() < Duration::from_secs(2) {
            // Whoever comes gets something; whether it can keep up is another matter.
            let mut connection = server.connect();
            connection.ask_for("GET", "/live.ts", &[]);
            assert_eq!(connection.head().status, 200);
            let mut piece = vec![0; 1 << 20];
            connection.read_into(&mut piece);
            most = most.max(server.memory_bytes());
        }
        assert!(most < (4 << 20) + BESIDES, "{most} bytes in memory");
    });
    let written = written.into_inner();
    assert!(written > 64 << 20, "it was fast: {written}");
    assert_eq!(server.stop().code, Some(0));
}

struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_source_without_end_fills_nothing_and_the_server_stops() {
    let mut command = multiclient();
    command.args(["-", "0", "--as", "/live.bin", "--log", "text", "--buffer", "4M"]);
    command.stdin(File::open("/dev/zero").expect("there is one")).stdout(Stdio::null());
    let server = Server::run(command);
    for _ in 0..20 {
        eventually("somebody is quick enough to get some of it", || {
            let mut connection = server.connect();
            connection.ask_for("GET", "/live.bin", &[]);
            assert_eq!(connection.head().status, 200);
            let mut piece = [1; 1_000];
            let count = connection.read_into(&mut piece);
            piece[..count].ends_with(&[0; 100])
        });
        let memory = server.memory_bytes();
        assert!(memory < (4 << 20) + BESIDES, "{memory} bytes in memory");
    }
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_producer_of_few_bytes_is_no_different() {
    let (server, mut writer) = fed(&[]);
    let viewers: Vec<_> = (0..10).map(|_| Viewer::of(&server, "/live.ts")).collect();
    let viewers: Vec<_> = viewers.into_iter().map(|viewer| thread::spawn(|| viewer.all())).collect();
    for byte in 0..20 {
        writer.write(&[byte]);
        rest(50);
    }
    drop(writer);
    for viewer in viewers {
        same(&viewer.join().expect("a viewer sees the end"), &(0..20).collect::<Vec<u8>>());
    }
}

#[test]
fn a_fifo_in_a_folder_is_left_to_others() {
    let folder = Folder::new();
    let path = folder.at("pipe.ts");
    fifo(&path);
    let server = Server::start(folder.path(), &[]);
    let writing = path.clone();
    let writer = thread::spawn(move || File::options().write(true).open(writing)?.write_all(b"for somebody else"));
    for _ in 0..20 {
        assert_eq!(server.get("/pipe.ts").status(), 404);
    }
    // The writer still waits for its reader, or has not even come.
    let reader = rustix::fs::open(&path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
    let reader = reader.expect("a FIFO can be opened");
    let patience = Timespec::try_from(PATIENCE).expect("it is short");
    poll(&mut [PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN)], Some(&patience)).expect("waiting goes well");
    let mut got = [0; 100];
    let count = rustix::io::read(&reader, &mut got).expect("there is something to read");
    same(&got[..count], b"for somebody else");
    writer.join().expect("writing does not panic").expect("somebody reads");
}

// ---- files that grow

/// Appends to a file, a little every few milliseconds, until it is told to stop. Gives what it wrote.
fn append(path: &Path, stop: &AtomicBool) -> Vec<u8> {
    let mut file = File::options().append(true).open(path).expect("it is there");
    let mut written = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let piece = noise(written.len() as u64, 1_000);
        file.write_all(&piece).expect("there is room");
        written.extend(piece);
        rest(10);
    }
    written
}

#[test]
fn a_file_that_grows_is_followed_and_then_it_is_a_file() {
    let folder = Folder::new();
    let path = folder.at("film.ts");
    let there = noise(4, 300_000);
    fs::write(&path, &there).expect("a file can be written");
    let server = Server::start(folder.path(), &["--follow", "--follow-idle", "2s"]);
    let stop = AtomicBool::new(false);
    let (film, got) = thread::scope(|scope| {
        let more = scope.spawn(|| append(&path, &stop));
        let mut viewer = Viewer::of(&server, "/film.ts");
        viewer.until(there.len());
        same(&viewer.got[..there.len()], &there);
        let part = server.connect().get_range("/film.ts", "bytes=0-99");
        part.is(206, &there[..100]);
        assert_eq!((part.said("Content-Range"), part.said("Cache-Control")), ("bytes 0-99/*", "no-store"));
        for ignored in ["bytes=100-", "bytes=-5", "bytes=0-99999999"] {
            let asked = format!("GET /film.ts HTTP/1.1\r\nHost: a\r\nRange: {ignored}\r\n\r\n");
            Viewer::asks(server.connect(), &asked).until(100);
        }
        // What comes is seen while it does.
        viewer.until(there.len() + 20_000);
        let late = Viewer::with_http_10(&server, "/film.ts");
        stop.store(true, Ordering::Relaxed);
        let film = [there.clone(), more.join().expect("the writer ends")].concat();
        same(&late.all(), &film);
        (film, viewer.all())
    });
    same(&got, &film);
    let reply = server.get("/film.ts");
    reply.is(200, &film);
    assert_eq!(reply.said("Content-Length"), film.len().to_string());
    assert!(reply.field("ETag").is_some() && reply.said("Accept-Ranges") == "bytes", "{:?}", reply.head);
    // And it may grow again.
    fs::write(&path, b"another").expect("a file can be written");
    let mut viewer = Viewer::of(&server, "/film.ts");
    viewer.until(7);
    same(&viewer.got, b"another");
}

#[test]
fn a_file_that_is_replaced_has_ended() {
    let folder = Folder::new();
    let path = folder.at("film.ts");
    fs::write(&path, b"the old one").expect("a file can be written");
    let server = Server::start(&path, &["--follow", "--follow-idle", "1h"]);
    let mut viewer = Viewer::of(&server, "/film.ts");
    viewer.until(11);
    fs::write(folder.at("new.ts"), b"the new one").expect("a file can be written");
    fs::rename(folder.at("new.ts"), &path).expect("a file can be renamed");
    same(&viewer.all(), b"the old one");
    let mut viewer = Viewer::of(&server, "/film.ts");
    viewer.until(11);
    same(&viewer.got, b"the new one");
}

#[test]
fn a_file_that_becomes_shorter_while_it_is_followed_has_failed() {
    let folder = Folder::new();
    let path = folder.at("film.ts");
    fs::write(&path, noise(5, 10_000)).expect("a file can be written");
    let server = Server::start(&path, &["--follow", "--follow-idle", "1h"]);
    let mut viewer = Viewer::of(&server, "/film.ts");
    viewer.until(10_000);
    File::options().write(true).open(&path).and_then(|file| file.set_len(10)).expect("a file can be cut");
    server.wait_for_line("source failed: the file has become shorter");
    assert!(viewer.connection.until_cut().is_empty(), "it does not look complete");
}

#[test]
fn nothing_is_left_of_files_that_were_followed() {
    let folder = Folder::new();
    fs::write(folder.at("0.ts"), b"0").expect("a file can be written");
    let server = Server::start(folder.path(), &["--follow", "--follow-idle", "1h"]);
    let before = server.descriptors();
    for number in 0..10 {
        fs::write(folder.at(&format!("{number}.ts")), b"some").expect("a file can be written");
        let mut viewer = Viewer::of(&server, &format!("/{number}.ts"));
        viewer.until(4);
        viewer.connection.vanish();
    }
    server.wait_for_descriptors(before);
}

#[test]
fn an_old_file_is_not_followed() {
    let folder = Folder::new();
    let film = folder.file("film.ts", "film");
    let server = Server::start(film, &["--follow"]);
    let reply = server.get("/film.ts");
    reply.is(200, b"film");
    assert_eq!(reply.said("Content-Length"), "4");
}

// ---- spellings

#[test]
fn parts_of_files_are_one_source_with_one_length() {
    let folder = Folder::new();
    let parts = [noise(6, 70_000), noise(7, 1), noise(8, 0), noise(9, 300_000)];
    let paths: Vec<_> = parts.iter().enumerate().map(|(n, part)| folder.file(&format!("{n}.ts"), part)).collect();
    let whole = parts.concat();
    let spelled: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    let server = Server::start(format!("concat:{}", spelled.join("|")), &[]);
    let reply = server.get("/0.ts");
    reply.is(200, &whole);
    assert_eq!(reply.said("Content-Length"), whole.len().to_string());
    assert!(reply.field("ETag").is_some() && reply.field("Last-Modified").is_some(), "{:?}", reply.head);
    let mut connection = server.connect();
    for (first, last) in
        [(0, 0), (69_999, 70_001), (70_000, 70_000), (70_001, 70_001), (1, 370_000), (370_000, 370_000)]
    {
        let reply = connection.get_range("/0.ts", &format!("bytes={first}-{last}"));
        reply.is(206, &whole[first..=last]);
        assert_eq!(reply.said("Content-Range"), format!("bytes {first}-{last}/{}", whole.len()));
    }
    let reply = connection.get_range("/0.ts", "bytes=69998-70002,200000-200009,-5");
    assert_eq!(reply.status(), 206);
    for part in [&whole[69_998..=70_002], &whole[200_000..200_010], &whole[whole.len() - 5..]] {
        assert!(reply.body.windows(part.len()).any(|window| window == part), "all parts are there");
    }
    // A part that is replaced is served as it is now, and is another version.
    let tag = server.get("/0.ts").said("ETag").to_owned();
    folder.file("1.ts", "xyz");
    let reply = server.get("/0.ts");
    reply.is(200, &[&parts[0][..], b"xyz", &parts[3]].concat());
    assert_ne!(reply.said("ETag"), tag);
}

#[test]
fn a_sequence_of_many_parts_has_a_version_as_short_as_any() {
    let folder = Folder::new();
    let paths: Vec<_> =
        (0..40).map(|n| folder.file(&format!("{n}.ts"), noise(n, 1_000)).display().to_string()).collect();
    let server = Server::start(format!("concat:{}", paths.join("|")), &[]);
    let reply = server.get("/0.ts");
    reply.is(200, &(0..40).flat_map(|n| noise(n, 1_000)).collect::<Vec<_>>());
    let tag = reply.said("ETag").to_owned();
    assert!(tag.trim_start_matches("W/").len() <= 66, "{tag}");
    assert_eq!(server.connect().ask("GET", "/0.ts", &[&format!("If-None-Match: {tag}")]).status(), 304);
    folder.file("39.ts", noise(99, 1_001));
    assert_ne!(server.get("/0.ts").said("ETag"), tag, "the last part counts as well");
}

#[test]
fn ffmpegs_other_spellings_are_served() {
    let folder = Folder::new();
    let film = noise(10, 10_000);
    let path = folder.file("film.ts", &film).display().to_string();
    for (source, target, promised) in [
        (format!("file:{path}"), "/film.ts", &film[..]),
        (format!("subfile,,start,100,end,200,,:{path}"), "/film.ts", &film[100..200]),
        (format!("subfile,,start,9000,end,0,,:{path}"), "/film.ts", &film[9_000..]),
        (format!("subfile,,start,9000,end,20000,,:{path}"), "/film.ts", &film[9_000..]),
        ("data:text/plain;base64,aGVsbG8=".to_owned(), "/data", b"hello"),
        ("data:,a%20b".to_owned(), "/data", b"a b"),
    ] {
        let server = Server::start(&source, &[]);
        let reply = server.get(target);
        reply.is(200, promised);
        let part = server.connect().get_range(target, "bytes=1-2");
        part.is(206, &promised[1..=2]);
        assert_eq!(part.said("Content-Range"), format!("bytes 1-2/{}", promised.len()), "{source}");
        if source.starts_with("data:text/plain;") {
            assert!(reply.said("Content-Type").starts_with("text/plain"), "{:?}", reply.head);
        }
    }
}

#[test]
fn stdin_that_is_a_file_is_a_file() {
    let folder = Folder::new();
    let film = noise(11, 100_000);
    let path = folder.file("film.ts", &film);
    let mut command = multiclient();
    command.args(["pipe:0", "0", "--as", "/film.ts", "--log", "text"]).stdout(Stdio::null());
    command.stdin(File::open(path).expect("it is there"));
    let server = Server::run(command);
    server.get("/film.ts").is(200, &film);
    server.connect().get_range("/film.ts", "bytes=-10").is(206, &film[film.len() - 10..]);
}

#[test]
fn a_pipe_of_any_number_is_served() {
    let (mut reader, writer) = io::pipe().expect("there are descriptors left");
    let mut writer = Producer::new(writer);
    // A shell gives the pipe its number.
    let mut command = Command::new("sh");
    let program = multiclient();
    command.arg("-c").arg("exec 7<&0 0</dev/null; exec \"$0\" pipe:7 0 --as /live.ts --log text");
    command.arg(program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(reader.try_clone().expect("there are descriptors left")).stdout(Stdio::null());
    let server = Server::run(command);
    let viewer = Viewer::of(&server, "/live.ts");
    writer.write(b"by another number");
    drop(writer);
    same(&viewer.all(), b"by another number");
    assert_eq!(reader.read(&mut [0]).ok(), Some(0), "the server has read all");
}

#[test]
fn no_network_is_opened_because_a_source_says_so() {
    let folder = Folder::new();
    let film = folder.file("film.ts", "film").display().to_string();
    for (source, code, said) in [
        ("http://127.0.0.1:1/film.ts", 1, "http: is not a source here"),
        ("tcp://127.0.0.1:1", 1, "tcp: is not a source here"),
        ("async:cache:http://a", 1, "async: is not a source here"),
        ("concat:http://127.0.0.1:1/a|b", 1, "does not exist"),
        (&format!("concat:{film}|{}", folder.path().display()), 1, "only files have parts"),
        (&format!("concat:{film}||{film}"), 1, "concat is spelled concat:FILE|FILE|FILE"),
        ("subfile,,start,x,,:a", 1, "subfile is spelled"),
        ("data:nothing", 1, "data is spelled"),
        ("pipe:x", 1, "pipe is spelled"),
        ("pipe:123", 1, "pipe:123"),
    ] {
        let output = run_within(A_WHILE, multiclient().args([source, "0"]));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(said), "{source}: {stderr}");
        assert_eq!(output.status.code(), Some(code), "{source}: {stderr}");
    }
    let output = run_within(A_WHILE, multiclient().args(["rtmp://a/b", "0"]));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("file:, pipe:, concat:, subfile, data:"), "it says what there is: {stderr}");
}

// ---- real programs

fn ffmpeg() -> Option<Command> {
    program("ffmpeg").map(|mut ffmpeg| {
        ffmpeg.args(["-v", "error", "-nostdin"]);
        ffmpeg
    })
}

/// Has FFmpeg make a film of so many seconds, with an entry point each second.
fn picture(ffmpeg: &mut Command, seconds: u32) {
    ffmpeg.args(["-f", "lavfi", "-i", &format!("testsrc2=size=320x180:rate=25:duration={seconds}")]);
    ffmpeg.args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-pix_fmt", "yuv420p"]);
    ffmpeg.args(["-b:v", "800k", "-threads", "1"]);
}

/// The checksums of all pictures that FFmpeg decodes from there.
fn pictures(url: &str, flags: &[&str]) -> Vec<String> {
    let mut ffmpeg = ffmpeg().expect("it was there a moment ago");
    let output = run(ffmpeg.args(flags).args(["-i", url, "-map", "0:v", "-f", "framecrc", "-"]));
    let text = String::from_utf8(output.stdout).expect("checksums are text");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().unwrap_or_default().trim().to_owned()).collect()
}

#[test]
fn several_players_watch_what_ffmpeg_produces() {
    let Some(mut producer) = ffmpeg() else { return };
    let (reader, writer) = io::pipe().expect("there are descriptors left");
    let mut command = multiclient();
    command.args(["-", "0", "--as", "/live.ts", "--log", "text", "--burst", "64K"]).stdin(reader);
    command.stdout(Stdio::null());
    let server = Server::run(command);
    let url = server.url("/live.ts");
    let mut probe = Viewer::of(&server, "/live.ts");
    let players = thread::scope(|scope| {
        let watch = || scope.spawn(|| pictures(&url, &[]));
        let mut players = vec![watch()];
        producer.arg("-re");
        picture(&mut producer, 6);
        producer.args(["-f", "mpegts", "-flush_packets", "1", "-"]).stdin(Stdio::null()).stdout(writer);
        let mut running = producer.stderr(Stdio::null()).spawn().expect("an installed program can be run");
        drop(producer);
        for count in [150_000, 300_000] {
            probe.until(count);
            players.push(watch());
        }
        assert!(running.wait().is_ok_and(|status| status.success()), "the producer has done its work");
        players.into_iter().map(|player| player.join().expect("a player ends")).collect::<Vec<_>>()
    });
    first_picture_to_last(&players, 150);
    assert!(!probe.all().is_empty(), "the probe saw it as well");
    // Who plays what is over plays it whole.
    assert_eq!(pictures(&url, &[]).len(), 150);
}

/// The first player has seen all; the others have decoded the same pictures, each from some point on. What
/// comes before the first entry point is of no use to a decoder, which may complain of it; a gap or a
/// damage behind it would change a checksum.
fn first_picture_to_last(players: &[Vec<String>], all: usize) {
    let whole = &players[0];
    assert_eq!(whole.len(), all, "who was there first has decoded all");
    for player in &players[1..] {
        assert!(player.len() >= 25, "a second at least: {}", player.len());
        assert!(player.len() < all, "it came late");
        assert!(whole.ends_with(player), "the same {} pictures", player.len());
    }
}

#[test]
fn a_producer_that_is_killed_and_comes_again_is_watched_again() {
    let Some(_) = ffmpeg() else { return };
    let folder = Folder::new();
    let path = folder.at("live.ts");
    fifo(&path);
    let server = Server::start(&path, &["--burst", "64K"]);
    for life in 1..=2 {
        let viewer = Viewer::of(&server, "/live.ts");
        let mut producer = ffmpeg().expect("it was there a moment ago");
        producer.args(["-re"]);
        picture(&mut producer, 60);
        let producer = Background::start(producer.args(["-y", "-f", "mpegts"]).arg(&path));
        let mut viewer = viewer;
        viewer.until(50_000);
        // By a signal that lets it say nothing more.
        drop(producer);
        while !viewer.ended {
            viewer.more();
        }
        assert_eq!(viewer.got[0], 0x47, "a life begins with a packet");
        server.wait_for_lines(life, "source ended, and waits for its next writer");
    }
}

#[test]
fn mpv_and_curl_watch_a_pipe() {
    let (Some(mut mpv), Some(mut curl), Some(mut producer)) = (program("mpv"), program("curl"), ffmpeg()) else {
        return;
    };
    let (server, mut writer) = fed(&["--hold"]);
    picture(&mut producer, 3);
    let film = run(producer.args(["-f", "mpegts", "-"])).stdout;
    let folder = Folder::new();
    let url = server.url("/live.ts");
    let (mpv, curl) = thread::scope(|scope| {
        mpv.env("HOME", folder.path()).env("TMPDIR", folder.path());
        mpv.args(["--no-config", "--vo=null", "--ao=null", "--ytdl=no", "--untimed", "--no-cache"]);
        let mpv = mpv.arg("--term-status-msg=frame=${estimated-frame-number}").arg(&url);
        let mpv = scope.spawn(|| run_within(A_WHILE, mpv));
        let curl = scope.spawn(|| run(curl.args(["-q", "--silent", "--show-error", "--fail", "--no-buffer", &url])));
        // Both are there before the first byte.
        server.wait_for_clients(2, 0);
        writer.write(&film);
        drop(writer);
        (mpv.join().expect("mpv ends"), curl.join().expect("curl ends"))
    });
    same(&curl.stdout, &film);
    assert!(mpv.status.success(), "{}", String::from_utf8_lossy(&mpv.stdout));
    let said = String::from_utf8_lossy(&mpv.stdout).into_owned() + &String::from_utf8_lossy(&mpv.stderr);
    let frames = said
        .split("frame=")
        .skip(1)
        .filter_map(|rest| rest.split(|byte: char| !byte.is_ascii_digit()).next()?.parse::<u32>().ok());
    assert!(frames.max().is_some_and(|most| most >= 70), "{said}");
}

#[test]
fn a_playlist_is_played_while_it_is_written() {
    let Some(mut producer) = ffmpeg() else { return };
    let folder = Folder::new();
    let server = Server::start(folder.path(), &[]);
    producer.arg("-re");
    picture(&mut producer, 5);
    producer.args(["-f", "hls", "-hls_time", "1", "-hls_list_size", "0", "-hls_playlist_type", "event"]);
    let producer = Background::start(producer.arg(folder.at("live.m3u8")));
    eventually("there is something to play", || folder.at("live1.ts").exists() && folder.at("live.m3u8").exists());
    let playlist = server.get("/live.m3u8");
    assert_eq!((playlist.status(), playlist.said("Cache-Control")), (200, "no-cache"));
    let next = server.get("/live99.ts");
    assert_eq!((next.status(), next.said("Cache-Control")), (404, "no-store"));
    let played = pictures(&server.url("/live.m3u8"), &["-live_start_index", "0"]);
    assert_eq!(played.len(), 125, "all of five seconds");
    drop(producer);
}

#[test]
fn a_dash_folder_is_played() {
    let Some(mut producer) = ffmpeg() else { return };
    let demuxers = run(Command::new("ffmpeg").args(["-v", "error", "-demuxers"])).stdout;
    if !String::from_utf8_lossy(&demuxers).contains(" dash ") {
        return support::skipped("this ffmpeg does not read DASH");
    }
    let folder = Folder::new();
    let server = Server::start(folder.path(), &[]);
    picture(&mut producer, 4);
    run(producer.args(["-f", "dash", "-seg_duration", "1"]).arg(folder.at("live.mpd")));
    let manifest = server.get("/live.mpd");
    assert_eq!((manifest.status(), manifest.said("Cache-Control")), (200, "no-cache"));
    assert_eq!(pictures(&server.url("/live.mpd"), &[]).len(), 100, "all of four seconds");
}
