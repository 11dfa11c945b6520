//! Files that grow while they are served.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;
use support::live::{Viewer, pause};
use support::{Folder, Server, noise, same, until_files_are_looked_up};

/// Appends to a file, a little every few milliseconds, until `stop`. Gives what it wrote.
fn append(path: &Path, stop: &AtomicBool) -> Vec<u8> {
    let mut file = File::options().append(true).open(path).expect("it is there");
    let mut written = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let piece = noise(written.len() as u64, 1_000);
        file.write_all(&piece).expect("there is room");
        written.extend(piece);
        pause(10);
    }
    written
}

#[test]
fn a_growing_file_is_followed_until_it_is_complete() {
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
        assert_eq!(
            (part.expect_field("Content-Range"), part.expect_field("Cache-Control")),
            ("bytes 0-99/*", "no-store")
        );
        for ignored in ["bytes=100-", "bytes=-5", "bytes=0-99999999"] {
            let asked = format!("GET /film.ts HTTP/1.1\r\nHost: a\r\nRange: {ignored}\r\n\r\n");
            Viewer::with_request(server.connect(), &asked).until(100);
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
    let response = server.get("/film.ts");
    response.is(200, &film);
    assert_eq!(response.expect_field("Content-Length"), film.len().to_string());
    assert!(
        response.field("ETag").is_some() && response.expect_field("Accept-Ranges") == "bytes",
        "{:?}",
        response.header
    );
    // And it may grow again.
    fs::write(&path, b"another").expect("a file can be written");
    until_files_are_looked_up();
    let mut viewer = Viewer::of(&server, "/film.ts");
    viewer.until(7);
    same(&viewer.got, b"another");
}

#[test]
fn a_drain_lets_those_who_follow_a_file_see_what_comes() {
    let folder = Folder::new();
    let path = folder.at("film.ts");
    fs::write(&path, b"there").expect("a file can be written");
    let server = Server::start(folder.path(), &["--follow", "--follow-idle", "1h", "--drain", "4s"]);
    let mut viewers = [Viewer::of(&server, "/film.ts"), Viewer::with_http_10(&server, "/film.ts")];
    viewers.iter_mut().for_each(|viewer| viewer.until(5));
    server.signal(Signal::TERM);
    server.wait_for_line("draining for up to ");
    let mut file = File::options().append(true).open(&path).expect("it is there");
    file.write_all(b", and more").expect("there is room");
    // It is not complete when the server stops, and ends for them there.
    for mut viewer in viewers {
        viewer.until_end();
        same(&viewer.got, b"there, and more");
    }
    let stopped = server.wait();
    assert_eq!(stopped.code, Some(0), "{:#?}", stopped.lines);
}

#[test]
fn a_followed_file_ends_when_it_is_replaced() {
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
fn a_followed_file_that_is_truncated_fails() {
    let folder = Folder::new();
    let path = folder.at("film.ts");
    fs::write(&path, noise(5, 10_000)).expect("a file can be written");
    let server = Server::start(&path, &["--follow", "--follow-idle", "1h"]);
    let mut viewer = Viewer::of(&server, "/film.ts");
    viewer.until(10_000);
    File::options().write(true).open(&path).and_then(|file| file.set_len(10)).expect("a file can be cut");
    server.wait_for_line("source failed: the file has become shorter");
    assert!(viewer.connection.read_to_cut().is_empty(), "it does not look complete");
}

#[test]
fn followed_files_leave_nothing_behind() {
    let folder = Folder::new();
    fs::write(folder.at("0.ts"), b"0").expect("a file can be written");
    let server = Server::start(folder.path(), &["--follow", "--follow-idle", "1h"]);
    let before = server.descriptors();
    for number in 0..10 {
        fs::write(folder.at(&format!("{number}.ts")), b"some").expect("a file can be written");
        let mut viewer = Viewer::of(&server, &format!("/{number}.ts"));
        viewer.until(4);
        viewer.connection.reset();
    }
    server.wait_for_descriptors(before);
}

#[test]
fn an_old_file_is_not_followed() {
    let folder = Folder::new();
    let film = folder.file("film.ts", "film");
    let server = Server::start(film, &["--follow"]);
    let response = server.get("/film.ts");
    response.is(200, b"film");
    assert_eq!(response.expect_field("Content-Length"), "4");
}
