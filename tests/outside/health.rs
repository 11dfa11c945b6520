//! `multiclient health`.

use std::io::Read;
use std::net::TcpListener;
use std::process::Output;
use std::thread;
use std::time::Instant;

use support::output_of;
use support::{Folder, PATIENCE, Server, eventually, multiclient, run_within, text};

fn health(url: &str) -> Output {
    run_within(PATIENCE, multiclient().args(["health", url, "--timeout", "1s"]))
}

#[test]
fn a_server_that_responds_is_healthy_whatever_the_response() {
    let folder = Folder::new();
    let path = folder.at("health.sock");
    // A folder without an index has nothing at its root, and a file is there by a redirect.
    for (source, status) in [(folder.path().to_owned(), 404), (folder.file("film.mp4", "film"), 302)] {
        let server = Server::start(source, &["--listen", &format!("unix:{}", text(&path))]);
        let by_tcp = health(&server.address().to_string());
        assert_eq!(
            (by_tcp.status.code(), output_of(&by_tcp)),
            (Some(0), format!("{} answers {status}\n", server.address()))
        );
        let by_unix = health(&format!("unix:{}", text(&path)));
        assert_eq!(by_unix.status.code(), Some(0), "{}", output_of(&by_unix));
    }
}

#[test]
fn a_server_that_is_missing_or_full_is_unhealthy() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &["--max-clients", "1"]);
    let (url, mut only_one) = (server.address().to_string(), server.connect());
    // An idle client would give way.
    only_one.send("GET / HTTP/1.1\r\n");
    eventually("the only place is taken", || health(&url).status.code() == Some(1));
    assert_eq!(output_of(&health(&url)), format!("error: {url} answers 503\n"));
    server.stop();
    let gone = health(&url);
    assert_eq!(gone.status.code(), Some(1));
    assert!(output_of(&gone).contains("does not answer: Connection refused"), "{}", output_of(&gone));
}

#[test]
fn a_silent_server_and_another_protocol_are_unhealthy() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let url = listener.local_addr().expect("it has an address").to_string();
    // The kernel accepts the connection, and nothing answers.
    let began = Instant::now();
    let silent = health(&url);
    assert_eq!(
        (silent.status.code(), output_of(&silent)),
        (Some(1), format!("error: {url} does not answer in time\n"))
    );
    assert!(began.elapsed() < PATIENCE / 2, "a second is not {:?}", began.elapsed());

    let strange = thread::spawn(move || {
        use std::io::Write;
        // The first is the one that waited in vain.
        drop(listener.accept().expect("somebody came"));
        let (mut socket, _) = listener.accept().expect("somebody comes");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket can time out");
        socket.write_all(b"SSH-2.0-something\r\n").expect("it listens");
        // Closed before what it says is read, it would be a reset.
        let _ = socket.read(&mut [0; 1024]);
    });
    let answered = health(&url);
    assert_eq!(
        (answered.status.code(), output_of(&answered)),
        (Some(1), format!("error: {url} answers, but not in HTTP\n"))
    );
    strange.join().expect("it was asked");
}
