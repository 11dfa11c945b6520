//! What a service manager is told.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use rustix::process::Signal;
use support::{Folder, PATIENCE, Server, export_guest, multiclient, text};

/// A service manager that hears what its service says.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("the path is free");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket can time out");
        Self(socket)
    }

    /// The lines of the next message.
    #[track_caller]
    fn hears(&self) -> Vec<String> {
        let mut message = [0; 1024];
        let count = self.0.recv(&mut message).expect("the server says something");
        String::from_utf8_lossy(&message[..count]).lines().map(str::to_owned).collect()
    }

    /// Checks what the next message begins with, and gives its other lines.
    #[track_caller]
    fn expects(&self, first: &str) -> Vec<String> {
        let mut lines = self.hears();
        assert_eq!(lines.remove(0), first, "{lines:?}");
        lines
    }
}

#[test]
fn a_service_manager_is_told_of_start_reloads_and_stop() {
    let folder = Folder::new();
    let film = folder.file("films/film.mp4", "film");
    let guest = folder.at("guest.wasm");
    export_guest(&guest);
    let manager = Manager::at(&folder.at("notify"));
    for flags in [&[][..], &["--guest", text(&guest)]] {
        let mut command = multiclient();
        command.arg(&film).args(["0", "--log", "text"]).args(flags).env("NOTIFY_SOCKET", folder.at("notify"));
        let server = Server::run(command);
        assert_eq!(manager.expects("READY=1"), [format!("STATUS=serving {}", film.display())]);
        server.get("/film.mp4").is(200, b"film");

        server.signal(Signal::HUP);
        let lines = manager.expects("RELOADING=1");
        let clock = lines[0].strip_prefix("MONOTONIC_USEC=").and_then(|micros| micros.parse::<u64>().ok());
        assert!(clock.is_some_and(|micros| micros > 0), "{lines:?}");
        manager.expects("READY=1");

        assert_eq!(server.stop().code, Some(0));
        assert_eq!(manager.expects("STOPPING=1"), ["STATUS=draining for up to 10.0 s"]);
    }
    assert!(fs::exists(folder.at("notify")).expect("it is ours"), "the socket is the manager's");
}

#[test]
fn a_service_manager_that_is_not_there_is_no_reason_not_to_serve() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let mut command = multiclient();
    command.arg(&film).arg("0").env("NOTIFY_SOCKET", folder.at("nobody"));
    let server = Server::run(command);
    server.wait_for_line("note     cannot tell the service manager anything: ");
    server.get("/film.mp4").is(200, b"film");
}

#[test]
fn a_service_manager_is_told_which_process_has_taken_over() {
    let folder = Folder::new();
    let film = folder.file("films/film.mp4", "film");
    let takeover = format!("unix:{}", text(&folder.at("takeover.sock")));
    let manager = Manager::at(&folder.at("notify"));
    let start = |url: &str| {
        let mut command = multiclient();
        command.arg(&film).args([url, "--takeover", &takeover]).env("NOTIFY_SOCKET", folder.at("notify"));
        Server::run(command)
    };
    let old = start("0");
    manager.expects("READY=1");
    let new = start(&old.address().to_string());
    let mut said = [manager.hears(), manager.hears()].map(|lines| lines[0].clone());
    said.sort();
    // Not that it stops: the service goes on.
    assert_eq!(said, [format!("MAINPID={}", new.pid().as_raw_pid()), "READY=1".to_owned()]);
    assert_eq!(old.wait().code, Some(0));
    new.get("/film.mp4").is(200, b"film");
}
