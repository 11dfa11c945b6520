//! Where the server listens.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU16, Ordering};

use support::{Connection, Folder, Server, skip, text};

use super::{run, stderr};

/// A port that is free, and that the kernel does not give to programs that ask for any.
fn quiet_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    let ports = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed));
    ports.take(1_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port is free")
}

#[test]
fn without_an_address_it_is_port_8080_of_this_machine() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    // Whoever has the port, this test or somebody else: it is taken.
    let _taken = TcpListener::bind("127.0.0.1:8080");
    let output = run(&[text(&film)]);
    let said = format!(
        "error: 127.0.0.1:8080 is in use\n  try `multiclient {} 8081`, or port 0 for any free port\n",
        text(&film)
    );
    assert_eq!((output.status.code(), stderr(&output)), (Some(1), said));
}

#[test]
fn a_port_in_use_is_reported_with_another() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let first = Server::start(&film, &[]);
    let port = first.address().port();
    let output = run(&[text(&film), &port.to_string()]);
    assert_eq!(output.status.code(), Some(1));
    let (what, next) = stderr(&output).split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).expect("two lines");
    assert!(what.starts_with("error: ") && what.ends_with(&format!("{port} is in use")), "{what}");
    assert!(next.starts_with(&format!("  try `multiclient {} ", text(&film))), "{next}");
    assert!(next.trim_end().ends_with("or port 0 for any free port"), "{next}");
    first.get("/film.mp4").is(200, b"film");
}

#[test]
fn several_addresses_serve_the_same() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let path = folder.at("one.sock");
    let unix = format!("unix:{}", text(&path));
    let server =
        Server::start(&film, &["--listen", "http://127.0.0.1:0", "--listen", "127.0.0.2:0", "--listen", &unix]);
    assert_eq!(server.addresses().len(), 3, "{:?}", server.log());
    for address in server.addresses() {
        assert_ne!(address.port(), 0, "the real port is printed");
        Connection::to(*address).get("/film.mp4").is(200, b"film");
    }
    Connection::to_unix(&path).get("/film.mp4").is(200, b"film");
    server.wait_for_line(&format!("open     {unix}"));
    server.wait_for_line("#4 unix GET /film.mp4 200 ");
}

#[test]
fn ipv6_is_served() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return skip("ipv6", "this machine has none");
    }
    let server = Server::start_at(&film, "http://[::1]:0", &[]);
    assert_eq!(server.address().ip(), IpAddr::V6(Ipv6Addr::LOCALHOST));
    server.get("/film.mp4").is(200, b"film");
    server.wait_for_line("#1 ::1 GET /film.mp4 200 ");
}

#[test]
fn the_unspecified_ipv6_address_accepts_ipv4_too() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return skip("ipv6", "this machine has none");
    }
    let server = Server::start_at(&film, "http://[::]:0", &[]);
    // It prints the addresses under which the machine is reached, its own first.
    assert_eq!(server.address().ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    let port = server.address().port();
    for ip in [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)] {
        Connection::to(SocketAddr::new(ip, port)).get("/film.mp4").is(200, b"film");
    }
    server.wait_for_line("#2 127.0.0.1 GET ");
}

#[test]
fn only_a_unix_socket_that_nobody_listens_on_is_replaced() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let path = folder.at("one.sock");
    let url = format!("unix:{}", text(&path));
    drop(UnixListener::bind(&path).expect("a socket can be made"));
    let first = Server::start_at(&film, &url, &[]);
    Connection::to_unix(&path).get("/film.mp4").is(200, b"film");
    let second = run(&[text(&film), &url]);
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr(&second).starts_with("error: "), "{}", stderr(&second));
    Connection::to_unix(&path).get("/film.mp4").is(200, b"film");
    assert_eq!(first.stop().code, Some(0));
    // A file of that name is somebody's.
    fs::remove_file(&path).or_else(|error| if path.exists() { Err(error) } else { Ok(()) }).expect("it can be removed");
    folder.file("one.sock", "mine");
    assert_eq!(run(&[text(&film), &url]).status.code(), Some(1));
    assert_eq!(fs::read(&path).expect("it is there"), b"mine");
}

#[test]
fn a_server_restarts_at_once_on_the_same_port() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let port = quiet_port().to_string();
    let mut left_over = Vec::new();
    for _ in 0..3 {
        let server = Server::start_at(&film, &port, &[]);
        // One is closed by the server first, one by the client first, and one the client never closes.
        server.connect().request("GET", "/film.mp4", &["Connection: close"]).is(200, b"film");
        server.get("/film.mp4").is(200, b"film");
        let mut connection = server.connect();
        connection.get("/film.mp4").is(200, b"film");
        left_over.push(connection);
        assert_eq!(server.stop().code, Some(0));
    }
    for mut connection in left_over {
        connection.expect_closed();
    }
}
