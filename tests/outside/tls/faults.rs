//! Clients that do not get as far as a request.

use std::io::{Read, Write};
use std::net::Shutdown;

use serde_json::Value;
use support::{Folder, eventually};

use super::client::{Secure, connect, hello, trusting};
use super::{Tls, certificate, serve};

/// The log's object for the first client.
#[track_caller]
fn ended(tls: &Tls) -> Value {
    let line = tls.server.wait_for_line("\"event\":\"closed\"");
    serde_json::from_str(&line).expect("it is JSON")
}

/// A server that says everything for programs.
fn told(flags: &[&str]) -> Tls {
    let folder = Folder::new();
    folder.file("a", "first");
    serve(folder.path(), &[&["--log", "json"], flags].concat())
}

#[track_caller]
fn is_told(tls: &Tls, kind: &str, which: Option<&str>) {
    let ended = ended(tls);
    assert_eq!((ended["ended"].as_str(), ended["which"].as_str()), (Some(kind), which), "{ended}");
    assert_eq!(
        (ended["memory_peak"].as_u64(), ended["exchanges"].as_u64()),
        (Some(0), Some(0)),
        "no instance: {ended}"
    );
}

#[test]
fn who_speaks_without_tls_gets_no_instance_and_one_line() {
    let tls = told(&[]);
    let mut client = connect(tls.server.address());
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("the server takes it");
    let mut said = Vec::new();
    // Closed or reset: there is nothing to be said to it.
    let _ = client.read_to_end(&mut said);
    assert_eq!(said, b"");
    is_told(&tls, "tls-failed", Some("not-tls"));
}

#[test]
fn who_does_not_trust_the_certificate_says_so_in_the_log() {
    let tls = told(&[]);
    let folder = Folder::new();
    let other = certificate(&folder, "other", &["localhost"]);
    let failed = Secure::named("localhost", tls.server.address(), &trusting(&other.der));
    assert!(failed.is_err());
    is_told(&tls, "tls-failed", Some("alert"));
}

#[test]
fn who_speaks_another_protocol_is_told_so() {
    let tls = told(&[]);
    let mut config = trusting(&tls.certificate.der);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let error = Secure::named("localhost", tls.server.address(), &config).err().expect("nobody speaks h2");
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    is_told(&tls, "tls-failed", Some("protocol"));
}

#[test]
fn who_breaks_the_protocol_is_told_so() {
    let tls = told(&[]);
    let mut client = connect(tls.server.address());
    // A record of the handshake with a message that is none.
    client.write_all(&[22, 3, 1, 0, 4, 99, 0, 0, 0]).expect("the server takes it");
    let mut said = Vec::new();
    let _ = client.read_to_end(&mut said);
    assert_eq!(said.first(), Some(&21), "an alert: {said:?}");
    is_told(&tls, "tls-failed", Some("invalid"));
}

#[test]
fn who_leaves_in_the_middle_of_the_handshake_is_logged_and_who_said_nothing_is_not() {
    let tls = serve(Folder::new().path(), &["--defer-accept", "0"]);
    drop(connect(tls.server.address()));
    let mut client = connect(tls.server.address());
    client.write_all(&first_words(&tls)[..100]).expect("the server takes it");
    client.shutdown(Shutdown::Both).expect("it is connected");
    let line = tls.server.wait_for_line("TLS failed");
    assert!(line.contains("the client left in the middle of the handshake"), "{line}");
    assert_eq!(tls.server.log().iter().filter(|line| line.starts_with('#')).count(), 1);
}

#[test]
fn who_says_half_a_hello_is_not_waited_for() {
    let tls = told(&["--header-timeout", "300ms"]);
    let mut client = connect(tls.server.address());
    client.write_all(&first_words(&tls)[..100]).expect("the server takes it");
    assert_eq!(client.read(&mut [0]).expect("the server closes"), 0);
    is_told(&tls, "timed-out", Some("header-timeout"));
}

#[test]
fn who_makes_the_handshake_and_is_silent_is_not_waited_for() {
    let tls = told(&["--header-timeout", "300ms"]);
    let mut client = tls.connect();
    assert_eq!(client.rest().expect("the server says that it is over"), b"");
    is_told(&tls, "timed-out", Some("header-timeout"));
}

#[test]
fn a_record_that_is_changed_on_the_way_ends_the_connection() {
    let tls = told(&[]);
    let mut client = tls.connect();
    // It looks like a record with bytes of the client, and was made with no key.
    client.0.sock.write_all(&[23, 3, 3, 0, 40]).and_then(|()| client.0.sock.write_all(&[7; 40])).expect("it is taken");
    assert!(client.rest().is_err(), "an alert");
    is_told(&tls, "tls-failed", Some("invalid"));
}

#[test]
fn handshakes_that_are_never_finished_keep_nobody_out() {
    let folder = Folder::new();
    folder.file("a", "first");
    let tls = serve(folder.path(), &["--max-clients", "2000", "--header-timeout", "1h", "--defer-accept", "0"]);
    let hello = first_words(&tls);
    let before = tls.server.descriptors();
    // More than all loops of a machine with 4 cores may have under way.
    let half: Vec<_> = (0..1_100)
        .map(|_| {
            let mut client = connect(tls.server.address());
            client.write_all(&hello[..100]).expect("the server takes it");
            client
        })
        .collect();
    assert_eq!(tls.connect().get("/a").1, b"first");
    let loops = std::thread::available_parallelism().map_or(1, usize::from);
    if loops * 256 < half.len() {
        tls.server.wait_for_line("too many handshakes at once, and it took longest");
    }
    drop(half);
    eventually("all of them are freed", || tls.server.descriptors() <= before);
}

/// What a client says first.
fn first_words(tls: &Tls) -> Vec<u8> {
    let mut said = Vec::new();
    hello("localhost", &trusting(&tls.certificate.der)).write_tls(&mut said).expect("a vector takes everything");
    said
}
