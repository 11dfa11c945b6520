//! How a live source ends, and begins again.

use std::fs;

use support::live::{PACKET, Producer, Viewer, fed, packets};
use support::{Folder, Server, make_fifo, noise, same};

#[test]
fn a_short_source_that_has_ended_is_served_as_a_file() {
    let (server, mut writer) = fed(&[]);
    let film = packets(0, 5_000);
    writer.write(&film);
    drop(writer);
    server.wait_for_line("source ended");
    let response = server.get("/live.ts");
    response.is(200, &film);
    assert_eq!(response.expect_field("Content-Length"), film.len().to_string());
    assert_eq!(response.expect_field("Content-Type"), "video/mp2t");
    let part = server.connect().get_range("/live.ts", "bytes=100000-100099");
    part.is(206, &film[100_000..100_100]);
    assert_eq!(part.expect_field("Content-Range"), format!("bytes 100000-100099/{}", film.len()));
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
    let response = server.get("/live.ts");
    assert_eq!(response.status(), 404);
}

#[test]
fn an_empty_source_ends_properly_for_those_who_wait() {
    let (server, writer) = fed(&[]);
    let waiting = Viewer::of(&server, "/live.ts");
    drop(writer);
    same(&waiting.all(), b"");
    server.get("/live.ts").is(200, b"");
}

#[test]
fn each_writer_of_a_fifo_is_a_source_of_its_own() {
    let folder = Folder::new();
    let path = folder.at("live.ts");
    make_fifo(&path);
    let server = Server::start(&path, &[]);
    let before = server.descriptors();
    for life in 0..4 {
        // Who waits before the writer comes is served when it does.
        let early = Viewer::of(&server, "/live.ts");
        let mut writer = Producer::of_fifo(&path);
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
    drop(Producer::of_fifo(&path));
    let early = Viewer::of(&server, "/live.ts");
    Producer::of_fifo(&path).write(b"at last");
    same(&early.all(), b"at last");
    server.wait_for_descriptors(before);
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_fifo_that_was_removed_ends_properly_with_its_last_writer() {
    let folder = Folder::new();
    let path = folder.at("live.ts");
    make_fifo(&path);
    let server = Server::start(&path, &[]);
    let mut writer = Producer::of_fifo(&path);
    let viewer = Viewer::of(&server, "/live.ts");
    fs::remove_file(&path).expect("a FIFO can be removed");
    writer.write(b"the last");
    drop(writer);
    same(&viewer.all(), b"the last");
    server.wait_for_line("has no next writer");
}

#[test]
fn sources_that_nobody_watches_to_the_end_are_freed() {
    let folder = Folder::new();
    let path = folder.at("live.ts");
    make_fifo(&path);
    let server = Server::start(&path, &["--buffer", "8M"]);
    let film = noise(3, 4 << 20);
    let mut idle = Vec::new();
    for life in 1..=16 {
        let mut writer = Producer::of_fifo(&path);
        let mut viewer = Viewer::of(&server, "/live.ts");
        writer.write(&film);
        drop(writer);
        viewer.until_end();
        same(&viewer.got, &film);
        // It has seen all, and keeps the connection.
        idle.push(viewer);
        server.wait_for_lines(life, "source ended, and waits");
    }
    let memory = server.memory_bytes();
    assert!(memory < 60 << 20, "of sixteen sources of 4 MiB only the last few are kept: {memory}");
    for mut viewer in idle {
        viewer.connection.expect_open();
    }
}
