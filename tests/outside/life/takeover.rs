//! `--takeover`: a server is replaced by another while clients come and go.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use support::live::Viewer;
use support::{
    Connection, Folder, PATIENCE, Server, SetOnDrop, eventually, make_fifo, multiclient, noise, output_of, run_within,
    text,
};

/// What is served, and where servers take over from each other.
struct Place {
    folder: Folder,
    takeover: String,
}

impl Place {
    fn new() -> Self {
        let folder = Folder::new();
        folder.folder("films");
        let takeover = format!("unix:{}", text(&folder.at("takeover.sock")));
        Self { folder, takeover }
    }

    fn films(&self) -> PathBuf {
        self.folder.at("films")
    }

    fn start_at(&self, url: &str, flags: &[&str]) -> Server {
        let common = ["--takeover", &self.takeover, "--drain", "1h"];
        Server::start_at(self.films(), url, &[&common, flags].concat())
    }
}

/// Clients that come again and again, each time with a connection of their own.
fn keep_coming(server: std::net::SocketAddr, film: &[u8], over: &AtomicBool, served: &AtomicUsize) {
    while !over.load(Ordering::Relaxed) {
        Connection::to(server).get("/film.mp4").is(200, film);
        served.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn under_load_no_connection_is_refused_and_no_download_is_cut() {
    const LONG: usize = 2 << 20;
    const ROUNDS: usize = 3;
    let place = Place::new();
    let film = noise(1, 20_000);
    place.folder.file("films/film.mp4", &film);
    place.folder.hollow_file("films/long.mp4", LONG as u64);
    let growing = place.films().join("growing.ts");
    fs::write(&growing, [1; 1_000]).expect("it can be written");
    let follow = ["--follow", "--follow-idle", "1h", "--per-address", "unlimited"];
    let mut server = place.start_at("0", &follow);
    let address = server.address();
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _over = SetOnDrop(&over);
        for _ in 0..4 {
            scope.spawn(|| keep_coming(address, &film, &over, &served));
        }
        for round in 0..ROUNDS {
            let mut downloads: Vec<_> = (0..50).map(|_| Connection::with_small_buffer(address)).collect();
            for download in &mut downloads {
                download.send_request("GET", "/long.mp4", &[]);
                assert_eq!(download.header_section().status, 200);
            }
            let mut viewer = Viewer::of(&server, "/growing.ts");
            viewer.until(1_000 * (round + 1));

            let new = place.start_at(&address.to_string(), &follow);
            server.wait_for_line(&format!("taken over by process {}", new.pid().as_raw_pid()));
            let before = served.load(Ordering::Relaxed);
            new.wait_for_line(" GET /film.mp4 200 ");
            eventually("clients are served on", || served.load(Ordering::Relaxed) > before + 20);

            let mut file = fs::File::options().append(true).open(&growing).expect("it is there");
            file.write_all(&[1; 1_000]).expect("it can be written");
            viewer.until(1_000 * (round + 2));
            drop(viewer);
            for mut download in downloads {
                assert!(download.read_exactly(LONG).iter().all(|byte| *byte == 0));
            }
            let ended = std::mem::replace(&mut server, new).wait();
            assert_eq!(ended.code, Some(0), "{}", ended.summary());
            assert!(ended.summary().ends_with(" 0 cut off"), "{}", ended.summary());
        }
    });
    server.get("/film.mp4").is(200, &film);
}

#[test]
fn a_connection_that_the_old_server_has_not_accepted_is_the_new_ones() {
    let place = Place::new();
    place.folder.file("films/film.mp4", "film");
    let old = place.start_at("0", &["--defer-accept", "1h"]);
    let address = old.address();
    // It says nothing yet, so the kernel keeps it.
    let mut waiting = old.connect();
    let new = place.start_at(&address.to_string(), &["--defer-accept", "1h"]);
    let ended = old.wait();
    assert_eq!((ended.code, ended.summary()), (Some(0), "0 clients, 0 B out, 0 cut off"));
    waiting.get("/film.mp4").is(200, b"film");
    new.wait_for_line("GET /film.mp4 200 ");
}

#[test]
fn a_connection_that_the_old_server_has_just_accepted_is_answered() {
    let place = Place::new();
    place.folder.file("films/film.mp4", "film");
    let old = place.start_at("0", &["--defer-accept", "0"]);
    let before = old.descriptors();
    let mut client = old.connect();
    old.wait_for_clients(1, before);
    let _new = place.start_at(&old.address().to_string(), &["--defer-accept", "0"]);
    old.wait_for_line("draining for up to ");
    client.get("/film.mp4").is(200, b"film");
    old.wait_for_line("GET /film.mp4 200 ");
}

#[test]
fn unix_sockets_stay_where_they_are_and_go_with_the_last_server() {
    let place = Place::new();
    place.folder.file("films/film.mp4", "film");
    let (socket, admin) = (place.folder.at("films.sock"), place.folder.at("admin.sock"));
    let url = format!("unix:{}", text(&socket));
    let flags = ["--admin", &format!("unix:{}", text(&admin))];
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&path.metadata().expect("it is there"));
    let old = place.start_at(&url, &flags);
    let before = [&socket, &admin].map(|path| inode(path));
    let new = place.start_at(&url, &flags);
    assert_eq!(old.wait().code, Some(0));
    assert_eq!([&socket, &admin].map(|path| inode(path)), before, "the same sockets");
    Connection::to_unix(&socket).get("/film.mp4").is(200, b"film");
    assert_eq!(Connection::to_unix(&admin).get("/ready").status(), 200);
    assert_eq!(new.stop().code, Some(0));
    assert!(!socket.exists() && !admin.exists() && !place.folder.at("takeover.sock").exists());
}

#[test]
fn a_new_server_that_does_not_start_leaves_the_old_one_as_it_is() {
    let place = Place::new();
    place.folder.file("films/film.mp4", "film");
    let old = place.start_at("0", &[]);
    let address = old.address().to_string();
    let mut failing = multiclient();
    failing.arg(place.films()).args([&address, "--takeover", &place.takeover, "--guest", "/no/such/guest"]);
    let output = run_within(PATIENCE, &mut failing);
    assert_eq!(output.status.code(), Some(1), "{}", output_of(&output));
    old.get("/film.mp4").is(200, b"film");
    // It can still be taken over from.
    let new = place.start_at(&address, &[]);
    assert_eq!(old.wait().code, Some(0));
    new.get("/film.mp4").is(200, b"film");
}

#[test]
fn what_cannot_be_taken_over_is_an_error() {
    let place = Place::new();
    let start = |source: &Path| {
        let mut command = multiclient();
        command.arg(source).args(["0", "--takeover", &place.takeover]).stdout(Stdio::null());
        let output = run_within(PATIENCE, &mut command);
        (output.status.code(), output_of(&output))
    };
    let fifo = place.folder.at("fifo");
    make_fifo(&fifo);
    let (code, said) = start(&fifo);
    assert_eq!(code, Some(2));
    assert!(said.starts_with("error: --takeover cannot serve a FIFO"), "{said}");

    // Another program listens there.
    let path = place.folder.at("takeover.sock");
    let _ = fs::remove_file(&path);
    let other = UnixListener::bind(&path).expect("the path is free");
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut client, _) = other.accept().expect("it connects");
            client.write_all(b"220 welcome to another program\r\n").expect("it reads");
        });
        let (code, said) = start(&place.films());
        assert_eq!(code, Some(1));
        assert!(said.contains("cannot take over at unix:") && said.contains("passes nothing"), "{said}");
    });
    assert!(path.exists(), "it is the other's");
}
