//! Requests for a live source, and what becomes of its viewers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;
use support::live::{PACKET, Producer, Viewer, fed, fed_logging, packet, packets, pause};
use support::{Connection, Folder, Server, eventually, make_fifo, same};

#[test]
fn a_live_source_has_no_length_no_versions_and_no_ranges() {
    let (server, mut writer) = fed(&["--burst", "32K"]);
    let mut first = Viewer::of(&server, "/live.ts");
    // All that there was is within the burst; later it is not.
    for (written, joined) in [(100 * PACKET, 0), (1_000 * PACKET, 1_000 * PACKET - (32 << 10))] {
        let film = packets(0, (written / PACKET) as u64);
        writer.write(&film[first.got.len()..]);
        first.until(written);
        no_request_is_for_a_part(&server, &film[joined..]);
    }
    let head = server.connect().request("HEAD", "/live.ts", &[]);
    assert_eq!((head.status(), head.expect_field("Cache-Control")), (200, "no-store"));
    assert_eq!(head.expect_field("Content-Type"), "video/mp2t");
    for absent in ["Content-Length", "ETag", "Last-Modified", "Accept-Ranges"] {
        assert_eq!(head.field(absent), None, "{absent} of what is not over");
    }
    assert_eq!(server.connect().request("GET", "/live.ts", &["If-Match: \"a\""]).status(), 412);
}

fn no_request_is_for_a_part(server: &Server, whole: &[u8]) {
    for line in [
        "Range: bytes=0-",
        "Range: bytes=0-99",
        "Range: bytes=160000-160099",
        "Range: bytes=-100",
        "Range: bytes=0-1,5-6",
        "If-None-Match: \"a\"",
        "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
    ] {
        let mut viewer =
            Viewer::with_request(server.connect(), &format!("GET /live.ts HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n"));
        assert_eq!(viewer.header.field("Content-Range"), None, "{line}");
        viewer.until(whole.len());
        same(&viewer.got, whole);
    }
}

#[test]
fn viewers_of_a_silent_source_are_disconnected() {
    let (server, _writer) = fed(&["--source-timeout", "300ms"]);
    let mut viewer = Viewer::of(&server, "/live.ts");
    server.wait_for_line("timed out: the source produced nothing");
    assert!(viewer.connection.read_to_cut().is_empty(), "it does not look complete");
}

#[test]
fn a_viewer_that_leaves_has_its_line_in_each_log() {
    let film = packets(0, 2_000);
    for (format, line, words) in [
        ("text", " GET /live.ts 200 ", ["cut short", "mem "]),
        ("combined", "\"GET /live.ts HTTP/1.1\" 200 ", ["127.0.0.1 - - [", "\"-\" \"-\""]),
        ("json", "\"event\":\"exchange\"", ["\"complete\":false", "\"status\":200"]),
    ] {
        let (server, mut writer) = fed_logging(format, &[]);
        let mut viewer = Viewer::of(&server, "/live.ts");
        writer.write(&film);
        viewer.until(film.len());
        // It waits for more.
        drop(viewer);
        let logged = server.wait_for_line(line);
        assert!(words.iter().all(|word| logged.contains(word)), "{logged}");
        let sent: usize = match format {
            "combined" => logged.split(' ').nth(9).and_then(|sent| sent.parse().ok()).expect("it is a number"),
            "json" => {
                let sent = logged.split("\"bytes_out\":").nth(1).and_then(|rest| rest.split(',').next());
                sent.and_then(|sent| sent.parse().ok()).expect("it is a number")
            }
            _ => film.len(),
        };
        assert!((film.len()..film.len() + 10_000).contains(&sent), "header section and chunks: {logged}");
    }
}

#[test]
fn a_viewer_that_leaves_in_the_middle_of_sending_has_its_line_too() {
    let (server, mut writer) = fed_logging("combined", &[]);
    let mut viewer = Viewer::with_request(
        Connection::with_small_buffer(server.address()),
        "GET /live.ts HTTP/1.1\r\nHost: test\r\n\r\n",
    );
    viewer.until(0);
    // More than it takes, and so more than can be sent.
    writer.write(&packets(0, 15_000));
    viewer.until(PACKET);
    drop(viewer);
    server.wait_for_line("\"GET /live.ts HTTP/1.1\" 200 ");
}

#[test]
fn killed_viewers_leave_nothing_behind() {
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
                pause(5);
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
                    viewer.connection.reset();
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
    // The producer goes on for longer than that.
    let (server, mut writer) = fed(&["--drain", "1s"]);
    let mut viewers = [Viewer::of(&server, "/live.ts"), Viewer::with_http_10(&server, "/live.ts")];
    writer.write(&packets(0, 100));
    for viewer in &mut viewers {
        viewer.until(100 * PACKET);
    }
    server.signal(Signal::TERM);
    for mut viewer in viewers {
        viewer.until_end();
        same(&viewer.got, &packets(0, 100));
    }
    let stopped = server.wait();
    assert_eq!(stopped.code, Some(0));
    assert!(stopped.summary().ends_with(", 0 cut off"), "{}", stopped.summary());
    drop(writer);
}

#[test]
fn a_producer_that_ends_within_a_drain_is_heard_to_its_end() {
    let folder = Folder::new();
    let path = folder.at("live.ts");
    make_fifo(&path);
    let fifo = Server::start(&path, &["--drain", "1h"]);
    let of_fifo = Producer::of_fifo(&path);
    let (pipe, of_pipe) = fed(&["--drain", "1h"]);
    for (server, mut writer) in [(fifo, of_fifo), (pipe, of_pipe)] {
        let viewers = [Viewer::of(&server, "/live.ts"), Viewer::with_http_10(&server, "/live.ts")];
        writer.write(&packets(0, 100));
        let viewers = viewers.map(|mut viewer| {
            viewer.until(100 * PACKET);
            viewer
        });
        server.signal(Signal::TERM);
        server.wait_for_line("draining for up to ");
        writer.write(&packets(100, 200));
        drop(writer);
        for mut viewer in viewers {
            viewer.until_end();
            same(&viewer.got, &packets(0, 200));
        }
        assert_eq!(server.wait().code, Some(0));
    }
}

#[test]
fn a_viewer_with_http_10_can_tell_that_it_was_cut_off() {
    let (server, mut writer) = fed(&["--source-timeout", "300ms"]);
    let mut viewer = Viewer::with_http_10(&server, "/live.ts");
    writer.write(&packets(0, 100));
    viewer.until(100 * PACKET);
    assert!(viewer.connection.read_to_reset().is_empty());

    let (server, mut writer) = fed(&["--rate", "64K", "--lag", "64K"]);
    let mut viewer = Viewer::with_http_10(&server, "/live.ts");
    writer.write(&packets(0, 40_000));
    viewer.connection.read_to_reset();

    let (server, mut writer) = fed(&["--drain", "1h"]);
    let mut viewer = Viewer::with_http_10(&server, "/live.ts");
    writer.write(&packets(0, 100));
    viewer.until(100 * PACKET);
    server.signal(Signal::TERM);
    server.wait_for_line("draining for up to ");
    server.signal(Signal::TERM);
    viewer.connection.read_to_reset();
    assert_eq!(server.wait().code, Some(3));
}

#[test]
fn a_viewer_that_closes_while_the_source_is_silent_is_noticed() {
    let (server, mut writer) = fed(&["--source-timeout", "1h"]);
    let before = server.descriptors();
    let mut viewers = [Viewer::of(&server, "/live.ts"), Viewer::with_http_10(&server, "/live.ts")];
    writer.write(&packets(0, 100));
    for viewer in &mut viewers {
        viewer.until(100 * PACKET);
    }
    drop(viewers);
    // Nothing is written any more.
    server.wait_for_descriptors(before);
}

#[test]
fn viewers_that_wait_for_a_writer_get_a_proper_end_when_the_server_stops() {
    let folder = Folder::new();
    let path = folder.at("live.ts");
    make_fifo(&path);
    let server = Server::start(&path, &[]);
    let mut viewer = Viewer::of(&server, "/live.ts");
    server.signal(Signal::TERM);
    viewer.until_end();
    same(&viewer.got, b"");
    assert_eq!(server.wait().code, Some(0));
}
