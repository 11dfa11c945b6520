//! How connections end: whoever is told that it is over has everything.

use std::io::{self, Read};

use rustix::process::Signal;
use support::{Folder, noise, same};

use super::client::{Secure, connect, hello, trusting};
use super::serve;

#[test]
fn a_client_that_has_finished_still_gets_its_response() {
    let folder = Folder::new();
    let film = noise(1, 3 << 20);
    folder.file("film.mp4", &film);
    let tls = serve(folder.path(), &[]);
    let mut client = tls.connect();
    client.send("GET /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n");
    // It finishes its side; the connection beneath stays as it is.
    client.0.conn.send_close_notify();
    client.0.conn.complete_io(&mut client.0.sock).expect("the server takes it");
    same(&client.response().1, &film);
    assert_eq!(client.rest().expect("the server finishes, too"), b"");
}

#[test]
fn a_response_that_breaks_off_does_not_look_complete() {
    let folder = Folder::new();
    let film = folder.hollow_file("film.mp4", 64 << 20);
    let tls = serve(&film, &["--drain", "1ms"]);
    let mut client = tls.connect();
    client.send("GET /film.mp4 HTTP/1.0\r\n\r\n");
    client.0.read_exact(&mut [0; 1_000]).expect("it begins");
    tls.server.signal(Signal::TERM);
    let error = client.rest().expect_err("it is cut off");
    assert!(matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof), "{error:?}");
    assert_eq!(tls.server.wait().code, Some(3));
}

#[test]
fn a_client_that_is_idle_is_told_that_it_is_over() {
    let folder = Folder::new();
    folder.file("a", "first");
    let tls = serve(folder.path(), &["--idle-timeout", "200ms"]);
    let mut client = tls.connect();
    assert_eq!(client.get("/a").1, b"first");
    assert_eq!(client.rest().expect("the server says that it is over"), b"");
}

#[test]
fn a_handshake_that_is_under_way_when_the_server_stops_is_finished_and_answered() {
    let folder = Folder::new();
    folder.file("a", "first");
    let tls = serve(folder.path(), &["--drain", "1h"]);
    let mut stream = connect(tls.server.address());
    let mut connection = hello("localhost", &trusting(&tls.certificate.der));
    // The server has answered: it is in the middle of the handshake.
    connection.write_tls(&mut stream).expect("the server takes it");
    connection.read_tls(&mut stream).expect("the server answers");
    connection.process_new_packets().expect("it speaks TLS");
    tls.server.signal(Signal::TERM);
    tls.server.wait_for_line("draining for up to ");
    let mut client = Secure::over(stream, connection).expect("the handshake is finished");
    assert_eq!(client.get("/a").1, b"first");
    assert_eq!(client.rest().expect("the server says that it is over"), b"");
    assert_eq!(tls.server.wait().code, Some(0));
}
