//! Producers of every speed.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use support::live::{Viewer, fed, pause, server_of};
use support::{Folder, PATIENCE, Server, SetOnDrop, eventually, make_fifo, same};

/// What a server may have in memory besides the buffer of its live source: itself, bytes that were read and not
/// announced, a block that is not given back yet.
const BESIDES: u64 = 48 << 20;

#[test]
fn the_fastest_producer_fills_no_memory() {
    // More than twice what may be in memory.
    const FILM: u64 = 128 << 20;
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
        let _stops = SetOnDrop(&stop);
        let began = Instant::now();
        let mut most = 0;
        while written.load(Ordering::Relaxed) < FILM {
            assert!(began.elapsed() < PATIENCE, "the producer waits");
            // Each viewer gets something; whether it can keep up is another matter.
            let mut connection = server.connect();
            connection.send_request("GET", "/live.ts", &[]);
            assert_eq!(connection.header_section().status, 200);
            let mut piece = vec![0; 1 << 20];
            connection.read_into(&mut piece);
            most = most.max(server.memory_bytes());
        }
        assert!(most < (4 << 20) + BESIDES, "{most} bytes in memory");
    });
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn an_endless_source_fills_no_memory_and_the_server_stops() {
    let server = server_of(File::open("/dev/zero").expect("there is one"), &["--buffer", "4M"]);
    for _ in 0..20 {
        eventually("somebody is quick enough to get some of it", || {
            let mut connection = server.connect();
            connection.send_request("GET", "/live.ts", &[]);
            assert_eq!(connection.header_section().status, 200);
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
fn a_slow_producer_is_served_byte_by_byte() {
    let (server, mut writer) = fed(&[]);
    let viewers: Vec<_> = (0..10).map(|_| Viewer::of(&server, "/live.ts")).collect();
    let viewers: Vec<_> = viewers.into_iter().map(|viewer| thread::spawn(|| viewer.all())).collect();
    for byte in 0..20 {
        writer.write(&[byte]);
        pause(50);
    }
    drop(writer);
    for viewer in viewers {
        same(&viewer.join().expect("a viewer sees the end"), &(0..20).collect::<Vec<u8>>());
    }
}

#[test]
fn a_fifo_in_a_folder_is_not_read() {
    let folder = Folder::new();
    let path = folder.at("pipe.ts");
    make_fifo(&path);
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
