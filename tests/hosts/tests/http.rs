//! The components in the hosts of others: each reply has the same bytes, whoever carries them.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use multiclient_hosts::{Server, World, imports};

use crate::common::{
    HERE, Program, address, ask, ask_slowly, component, folder, free_port, jco, pattern, program, skip,
};

#[test]
fn wasmtime_serves_the_handler_of_wasi_0_2() {
    let folder = folder();
    let server = Server::start(World::IncomingHandler, &component("multiclient_wasi_http"), folder.path());
    check(server.expect("it starts").address());
}

#[test]
fn wasmtime_serves_the_handler_of_wasi_0_3() {
    let folder = folder();
    // Nothing older is there for it to import.
    let server = Server::start(World::Handler, &component("multiclient_wasi_http_03"), folder.path());
    check(server.expect("it starts").address());
}

#[test]
fn the_handler_of_wasi_0_3_imports_that_version_and_no_other() {
    let imports = imports(&component("multiclient_wasi_http_03")).expect("it is a component");
    assert!(imports.iter().all(|name| name.starts_with("wasi:") && name.ends_with("@0.3.0")), "{imports:?}");
    assert!(imports.iter().all(|name| !name.contains("sockets") && !name.contains("random")), "{imports:?}");
}

#[test]
fn no_link_leads_out_of_the_folder_under_wasmtime() {
    let folder = folder();
    std::os::unix::fs::symlink("/etc/hostname", folder.path().join("out")).expect("a link");
    std::os::unix::fs::symlink("style.css", folder.path().join("in.css")).expect("a link");
    for (world, name) in
        [(World::IncomingHandler, "multiclient_wasi_http"), (World::Handler, "multiclient_wasi_http_03")]
    {
        let server = Server::start(world, &component(name), folder.path()).expect("it starts");
        assert_eq!(ask(server.address(), "GET", "/out", "").status, 404, "{world:?}");
        ask(server.address(), "GET", "/in.css", "").is(200, b"a { color: red }");
    }
}

#[test]
fn jco_runs_inetd_for_each_client_of_socat() {
    let (Some(jco), Some(socat)) = (jco(), program("socat")) else { return };
    check_under_socat(&socat, &format!("{} run --jco-import ./folder.mjs", jco.display()), folder().path());
}

#[test]
fn jco_runs_inetd_for_each_client_of_systemd() {
    let (Some(jco), Some(activate)) = (jco(), program("systemd-socket-activate")) else { return };
    check_under_systemd(&activate, &format!("{} run --jco-import ./folder.mjs", jco.display()), folder().path());
}

#[test]
fn the_command_wasmtime_runs_inetd_for_each_client_of_socat() {
    let (Some(wasmtime), Some(socat)) = (program("wasmtime"), program("socat")) else { return };
    let folder = folder();
    let command = format!("{} run --dir {}::/", wasmtime.display(), folder.path().display());
    check_under_socat(&socat, &command, folder.path());
}

#[test]
fn the_command_wasmtime_runs_inetd_for_each_client_of_systemd() {
    let (Some(wasmtime), Some(activate)) = (program("wasmtime"), program("systemd-socket-activate")) else { return };
    let folder = folder();
    let command = format!("{} run --dir {}::/", wasmtime.display(), folder.path().display());
    check_under_systemd(&activate, &command, folder.path());
}

#[test]
fn python_runs_inetd() {
    let python = Path::new(HERE).join("venv/bin/python");
    if !python.is_file() {
        return skip("wasmtime-py", "not installed in tests/hosts/venv; .ci/run does it");
    }
    let folder = folder();
    let (input, output) = (folder.path().join(".in"), folder.path().join(".out"));
    let requests = "HEAD /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n\
                    GET /film.mp4 HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n\
                    GET /film.mp4 HTTP/1.1\r\nHost: a\r\nRange: bytes=5-9\r\n\r\n\
                    GET /missing HTTP/1.1\r\nHost: a\r\n\r\nGET /film.mp4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    fs::write(&input, requests).expect("a file");
    let mut command = Command::new(python);
    command.arg("inetd.py").arg(component("multiclient-inetd")).arg(folder.path()).arg(&input).arg(&output);
    let status = command.current_dir(HERE).status().expect("an installed program can be run");
    assert!(status.success(), "{status}");
    let said = fs::read(output).expect("it has said something");
    let film = pattern(3_000_000);
    assert!(said.ends_with(&film), "the whole film comes last");
    let heads: Vec<_> = said[..said.len() - film.len()].split(|byte| *byte == b'\n').collect();
    let status = |line: &&[u8]| Some(String::from_utf8_lossy(line.strip_prefix(b"HTTP/1.1 ")?).trim_end().to_owned());
    let statuses: Vec<String> = heads.iter().filter_map(status).collect();
    // The part has no line end behind it.
    let part = [&film[5..10], b"HTTP/1.1 404 Not Found\r"].concat();
    assert_eq!(statuses, ["200 OK", "304 Not Modified", "206 Partial Content", "200 OK"]);
    assert!(heads.contains(&part.as_slice()), "five bytes, and the next reply");
}

#[test]
fn jco_serves_the_handler_of_wasi_0_2() {
    let Some(jco) = jco() else { return };
    let folder = folder();
    let port = free_port();
    let mut command = Command::new(jco);
    command.arg("serve").arg(component("multiclient_wasi_http")).args(["--host", "127.0.0.1", "--port"]);
    command.arg(port.to_string()).arg("--jco-import").arg("./folder.mjs");
    command.env("FOLDER", folder.path()).env("MULTICLIENT_LIST", "1").current_dir(HERE);
    let _server = Program::start(&mut command, "listening");
    check(SocketAddr::from(([127, 0, 0, 1], port)));
}

#[test]
fn the_command_wasmtime_serves_the_handler_of_wasi_0_2() {
    let Some(wasmtime) = program("wasmtime") else { return };
    let folder = folder();
    let mut command = Command::new(wasmtime);
    command.args(["serve", "-S", "cli", "--addr", "127.0.0.1:0", "--env", "MULTICLIENT_LIST=1", "--dir"]);
    command.arg(format!("{}::/", folder.path().display())).arg(component("multiclient_wasi_http"));
    let server = Program::start(&mut command, "http://");
    check(address(&server.line));
}

// ---- what is asked, and what has to come

/// Asks for what every host has to get right, and no more: for hosts that start a program for each client.
fn check_a_little(address: SocketAddr) {
    let film = pattern(3_000_000);
    let ask = |method: &str, lines: &str| ask(address, method, "/film.mp4", lines);
    let whole = ask("GET", "");
    whole.is(200, &film);
    ask("HEAD", "").is(200, b"");
    ask("GET", "Range: bytes=100000-299999\r\n").is(206, &film[100_000..300_000]);
    let tag = whole.field("etag").trim_start_matches("W/").to_owned();
    ask("GET", &format!("If-None-Match: {tag}\r\n")).is(304, b"");
    self::ask(address, "GET", "/missing", "").is(404, b"404 Not Found\n");
    // What a host has taken from the guest is not lost when the guest ends before the client has read it.
    ask_slowly(address, "GET", "/film.mp4", "", Duration::from_secs(1)).is(200, &film);
}

/// Has socat start a command for each client, which runs the component for one client.
fn check_under_socat(socat: &Path, command: &str, folder: &Path) {
    // A colon ends the command otherwise.
    let run = format!("{command} {}", component("multiclient-inetd").display()).replace(':', "\\:");
    let mut socat = Command::new(socat);
    // By default it waits for half a second after the command has ended, and a slow client loses the rest.
    socat.args(["-t", "60", "-d", "-d", "TCP-LISTEN:0,bind=127.0.0.1,fork"]).arg(format!("EXEC:{run}"));
    let server = Program::start(socat.env("FOLDER", folder).current_dir(HERE), "listening on");
    check_a_little(address(&server.line));
}

/// The same by systemd, as for a unit with `Accept=yes`.
fn check_under_systemd(activate: &Path, command: &str, folder: &Path) {
    let mut activate = Command::new(activate);
    activate.args(["--accept", "--inetd", "--listen"]).arg(format!("127.0.0.1:{}", free_port()));
    activate.arg(format!("--setenv=FOLDER={}", folder.display())).arg("--setenv=PATH");
    activate.args(command.split(' ')).arg(component("multiclient-inetd"));
    let server = Program::start(activate.current_dir(HERE), "listening on");
    check_a_little(address(&server.line));
}

/// Asks for everything that a host could get wrong.
fn check(address: SocketAddr) {
    check_a_file(address);
    check_a_folder(address);
    check_many_at_once(address);
}

fn check_a_file(address: SocketAddr) {
    let film = pattern(3_000_000);
    let ask = |method: &str, target: &str, lines: &str| ask(address, method, target, lines);
    let get = |target: &str, lines: &str| ask("GET", target, lines);

    let whole = get("/film.mp4", "");
    whole.is(200, &film);
    assert_eq!(whole.field("content-type"), "video/mp4");
    assert_eq!(whole.field("accept-ranges"), "bytes");
    let head = ask("HEAD", "/film.mp4", "");
    head.is(200, b"");
    assert_eq!(head.field("content-length"), "3000000");
    assert_eq!(head.field("etag"), whole.field("etag"));

    let part = get("/film.mp4", "Range: bytes=100000-299999\r\n");
    part.is(206, &film[100_000..300_000]);
    assert_eq!(part.field("content-range"), "bytes 100000-299999/3000000");
    get("/film.mp4", "Range: bytes=-5\r\n").is(206, &film[2_999_995..]);
    let parts = get("/film.mp4", "Range: bytes=0-9,1000000-1000009\r\n");
    assert_eq!(parts.status, 206);
    assert!(parts.field("content-type").starts_with("multipart/byteranges; boundary="));
    for piece in [&film[..10], &film[1_000_000..1_000_010]] {
        assert!(parts.body.windows(10).any(|window| window == piece), "a part is there");
    }
    assert_eq!(get("/film.mp4", "Range: bytes=3000000-\r\n").status, 416);

    let tag = whole.field("etag").trim_start_matches("W/").to_owned();
    get("/film.mp4", &format!("If-None-Match: {tag}\r\n")).is(304, b"");
    assert_eq!(get("/film.mp4", "If-Match: \"other\"\r\n").status, 412);
    let since = format!("If-Modified-Since: {}\r\n", whole.field("last-modified"));
    get("/film.mp4", &since).is(304, b"");
}

fn check_a_folder(address: SocketAddr) {
    let ask = |method: &str, target: &str, lines: &str| ask(address, method, target, lines);
    let get = |target: &str, lines: &str| ask("GET", target, lines);

    get("/missing", "").is(404, b"404 Not Found\n");
    assert_eq!(ask("HEAD", "/missing", "").status, 404);
    assert_eq!(get("/.hidden", "").status, 404);
    assert_eq!(get("/../film.mp4", "").status, 400);
    let post = ask("POST", "/film.mp4", "Content-Length: 0\r\n");
    assert_eq!((post.status, post.field("allow")), (405, "GET, HEAD, OPTIONS"));
    assert_eq!(ask("OPTIONS", "/film.mp4", "").status, 204);

    let small = get("/style.css", "Accept-Encoding: gzip\r\n");
    small.is(200, b"as if compressed");
    assert_eq!((small.field("content-encoding"), small.field("vary")), ("gzip", "Accept-Encoding"));
    get("/style.css", "").is(200, b"a { color: red }");

    let moved = get("/sub?x=1", "");
    assert_eq!((moved.status, moved.field("location")), (301, "/sub/?x=1"));
    get("/sub/", "").is(200, b"<p>index\n");
    get("/empty/", "Accept: application/json\r\n").is(200, b"{\"entries\":[],\"complete\":true}\n");
    let list = get("/", "Accept: application/json\r\n");
    let text = String::from_utf8_lossy(&list.body).into_owned();
    assert!(text.contains("\"film.mp4\"") && text.contains("\"size\":3000000") && !text.contains("hidden"), "{text}");
}

/// Ten clients at once, and none gets another's bytes.
fn check_many_at_once(address: SocketAddr) {
    let film = pattern(3_000_000);
    let clients: Vec<_> = (0..10_usize)
        .map(|number| {
            thread::spawn(move || {
                let (first, last) = (number * 1_000, number * 1_000 + 250_000);
                let range = format!("Range: bytes={first}-{last}\r\n");
                (first, last, self::ask(address, "GET", "/film.mp4", &range))
            })
        })
        .collect();
    for client in clients {
        let (first, last, reply) = client.join().expect("a client does not panic");
        reply.is(206, &film[first..=last]);
    }
}
