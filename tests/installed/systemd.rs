//! Sockets that systemd passes, and the units of `deploy/`.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::thread;

use support::components::repository;
use support::program_under_test;
use support::{Connection, Folder, PATIENCE, Server, eventually, output_of, require, run_within, text};

/// An address of this machine that was free a moment ago.
fn free_address() -> SocketAddr {
    let probe = TcpListener::bind("127.0.0.1:0").and_then(|probe| probe.local_addr());
    probe.expect("there is a free port")
}

/// Runs the server as a socket unit would: it is started when the first client comes. That client is given
/// back too.
fn activated(
    folder: &Folder,
    listen: &str,
    connect: impl Fn() -> Option<Connection> + Sync,
) -> Option<(Server, Connection)> {
    let mut activate = require("systemd-socket-activate")?;
    activate.args(["--listen", listen]).arg(program_under_test()).args([text(folder.path()), "systemd:"]);
    activate.stdin(Stdio::null()).stdout(Stdio::null());
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut client = None;
            eventually("somebody listens", || {
                client = connect();
                client.is_some()
            });
            client.expect("it has just connected")
        });
        let server = Server::run(activate);
        Some((server, client.join().expect("it connects")))
    })
}

#[test]
fn the_sockets_that_systemd_passes_are_served() {
    let folder = Folder::new();
    folder.file("film.mp4", "film");
    let address = free_address();
    let connect = || TcpStream::connect(address).is_ok().then(|| Connection::to(address));
    let Some((server, mut client)) = activated(&folder, &address.to_string(), connect) else { return };
    client.get("/film.mp4").is(200, b"film");
    assert_eq!(server.addresses(), [address], "it says where it is open");
    assert_eq!(server.stop().code, Some(0));
    // What is passed is not ours to close for good: the manager would go on listening. Here it has ended too.

    let path = folder.at("passed.sock");
    let connect = || UnixStream::connect(&path).is_ok().then(|| Connection::to_unix(&path));
    let Some((server, mut client)) = activated(&folder, text(&path), connect) else { return };
    client.get("/film.mp4").is(200, b"film");
    assert_eq!(server.stop().code, Some(0));
    assert!(path.exists(), "the socket belongs to the manager, and stays");
}

#[test]
fn the_units_are_valid_and_hardened() {
    let Some(mut analyze) = require("systemd-analyze") else { return };
    let folder = Folder::new();
    let unit = fs::read_to_string(repository("deploy/multiclient.service")).expect("it is shipped");
    // Where the program is here.
    let unit = unit.replace("/usr/local/bin/multiclient", text(&program_under_test()));
    let service = folder.file("multiclient.service", unit);
    let socket = folder.at("multiclient.socket");
    fs::copy(repository("deploy/multiclient.socket"), &socket).expect("it is shipped");

    let verified = run_within(PATIENCE, analyze.args(["verify", "--man=no"]).args([&service, &socket]));
    let complaints: Vec<_> = String::from_utf8_lossy(&verified.stderr)
        .lines()
        .filter(|line| line.contains("multiclient."))
        .map(str::to_owned)
        .collect();
    assert!(verified.status.success() && complaints.is_empty(), "{complaints:?} {}", output_of(&verified));

    // Of 100, where 0 is a program that can do nothing at all.
    let mut analyze = require("systemd-analyze").expect("it was found a moment ago");
    analyze.args(["security", "--no-pager", "--offline=true", "--threshold=10"]).arg(&service);
    let judged = run_within(PATIENCE, &mut analyze);
    assert!(judged.status.success(), "{}", output_of(&judged));
}
