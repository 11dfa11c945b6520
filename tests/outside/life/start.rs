//! What the server says when it starts, where its log goes, and how its guest is swapped.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use support::{Connection, Folder, Server, eventually, export_guest, multiclient, program_under_test, text};

use super::{signal, stderr};

#[test]
fn the_start_prints_addresses_guest_limits_and_walls() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let limits =
        ["--memory", "2M", "--cpu", "20ms", "--max-clients", "30", "--per-address", "4", "--total-memory", "1G"];
    let server = Server::start(&film, &[&limits[..], &["--walls", "auto"]].concat());
    let lines = server.log();
    let port = server.address().port();
    assert_eq!(lines[0], format!("multiclient {}", env!("CARGO_PKG_VERSION")));
    assert_eq!(lines[1], format!("source   {}   4 B", text(&film)));
    let open = format!("open     http://127.0.0.1:{port}/film.mp4     this machine only; share with :{port}");
    assert_eq!(lines[2], open);
    assert!(lines[3].starts_with("guest    built in ") && lines[3].ends_with("   imports: nothing"), "{lines:?}");
    assert_eq!(lines[4], "limits   2 MiB, 20 ms cpu, 30 clients, 4 per address, 1 GiB for all");
    assert!(lines[5].starts_with("walls    privileges"), "{lines:?}");
    // Unless this machine has not all walls, and says why.
    let ready = lines.last().expect("it is ready");
    assert!(ready.starts_with("ready    in ") && ready.ends_with(" ms   Ctrl-C drains"), "{lines:?}");
}

#[test]
fn standard_output_stays_empty() {
    let folder = Folder::new();
    let mut command = multiclient();
    command.arg(folder.file("film.mp4", "film")).arg("0").stdout(Stdio::piped());
    let mut process = command.stderr(Stdio::piped()).spawn().expect("the program can be run");
    let mut lines = BufReader::new(process.stderr.take().expect("it is piped")).lines();
    let open = lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("open ")).expect("it starts");
    let address = open.split(['/', ' ']).find_map(|part| part.parse().ok()).expect("it says where it is open");
    lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("ready ")).expect("it is ready");
    Connection::to(address).get("/film.mp4").is(200, b"film");
    signal(&process, Signal::TERM);
    let lines: Vec<_> = lines.map_while(Result::ok).collect();
    assert!(lines.iter().any(|line| line.contains("GET /film.mp4 200")), "{lines:?}");
    let mut said = String::new();
    process.stdout.take().expect("it is piped").read_to_string(&mut said).expect("it is text");
    assert_eq!((process.wait().expect("it ends").code(), said.as_str()), (Some(0), ""));
}

#[test]
fn quiet_and_log_off_print_nothing() {
    let folder = Folder::new();
    let path = folder.at("quiet.sock");
    let mut command = multiclient();
    command.arg(folder.file("film.mp4", "film")).arg(format!("unix:{}", text(&path))).args(["-q", "--log", "off"]);
    let process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program can be run");
    eventually("somebody listens", || UnixStream::connect(&path).is_ok());
    Connection::to_unix(&path).get("/film.mp4").is(200, b"film");
    signal(&process, Signal::TERM);
    let output = process.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), stderr(&output).as_str(), output.stdout.as_slice()), (Some(0), "", &b""[..]));
}

#[test]
fn variables_set_flags_and_flags_win() {
    let folder = Folder::new();
    let mut command = multiclient();
    command.arg(folder.path()).args(["0", "--per-address", "5"]).stdout(Stdio::null());
    command.env("MULTICLIENT_MAX_CLIENTS", "7").env("MULTICLIENT_PER_ADDRESS", "6").env("MULTICLIENT_MEMORY", "1M");
    let server = Server::run(command);
    server.wait_for_line("limits   1 MiB, 50 ms cpu, 7 clients, 5 per address");
}

/// Serves a film on a unix socket, so that nothing has to be read of the log to find it.
fn with_its_log_in_a_pipe(folder: &Folder, path: &Path) -> Child {
    let mut command = multiclient();
    command.arg(folder.file("film.mp4", "film")).arg(format!("unix:{}", text(path))).stdout(Stdio::null());
    command.stderr(Stdio::piped()).spawn().expect("the program can be run")
}

#[test]
fn a_closed_log_pipe_stops_nobody() {
    let folder = Folder::new();
    let path = folder.at("log.sock");
    let mut process = with_its_log_in_a_pipe(&folder, &path);
    let log = BufReader::new(process.stderr.take().expect("it is piped"));
    // As `head` would read it. From here on, each write is an error.
    log.lines().map_while(Result::ok).find(|line| line.starts_with("ready ")).expect("it is ready");
    let mut connection = Connection::to_unix(&path);
    for _ in 0..20 {
        connection.get("/film.mp4").is(200, b"film");
    }
    signal(&process, Signal::TERM);
    assert_eq!(process.wait().expect("it ends").code(), Some(0));
}

#[test]
fn clients_never_wait_for_the_log() {
    let folder = Folder::new();
    let path = folder.at("log.sock");
    let mut process = with_its_log_in_a_pipe(&folder, &path);
    eventually("somebody listens", || UnixStream::connect(&path).is_ok());
    // Lines of 2 KiB each, far more of them than the pipe and the queue before it hold.
    let target = format!("/film.mp4?{}", "q".repeat(2_000));
    let mut connection = Connection::to_unix(&path);
    for _ in 0..1_500 {
        connection.get(&target).is(200, b"film");
    }
    signal(&process, Signal::TERM);
    let mut log = String::new();
    process.stderr.take().expect("it is piped").read_to_string(&mut log).expect("it is text");
    assert_eq!(process.wait().expect("it ends").code(), Some(0));
    assert!(log.contains(" lines left out: the log is read too slowly\n"), "what is missing is counted");
    assert!(log.matches("GET /film.mp4?").count() > 100, "and what there was room for is there");
}

#[test]
fn a_json_log_is_nothing_but_json() {
    let folder = Folder::new();
    let (path, film) = (folder.at("log.sock"), folder.file("film.mp4", "film"));
    let guest = folder.at("guest.wasm");
    export_guest(&guest);
    let mut command = multiclient();
    command.arg(film).arg(format!("unix:{}", text(&path))).args(["--log", "json", "-q", "--walls", "auto"]);
    command.args(["--guest", text(&guest)]);
    let mut process = command.stderr(Stdio::piped()).spawn().expect("the program can be run");
    eventually("somebody listens", || UnixStream::connect(&path).is_ok());
    // More than the pipe and the queue before it hold, so that lines are left out.
    let target = format!("/film.mp4?{}", "q".repeat(2_000));
    let mut connection = Connection::to_unix(&path);
    for _ in 0..1_500 {
        connection.get(&target).is(200, b"film");
    }
    let log = BufReader::new(process.stderr.take().expect("it is piped"));
    let mut notices = Vec::new();
    for line in log.lines().map(|line| line.expect("it is text")) {
        let told: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line} is not JSON"));
        if told["event"] != "notice" {
            continue;
        }
        notices.push(told["text"].as_str().expect("a text").to_owned());
        // The next notice is of the guest that is swapped, and then it is enough.
        let signal = if notices.len() == 1 { Signal::HUP } else { Signal::TERM };
        self::signal(&process, signal);
    }
    assert_eq!(process.wait().expect("it ends").code(), Some(0));
    assert!(notices.len() == 2 && notices[0].ends_with(" lines left out: the log is read too slowly"), "{notices:?}");
    assert!(notices[1].ends_with("   for new clients from now on"), "{notices:?}");
}

#[test]
fn a_log_that_is_not_read_does_not_delay_the_stop() {
    let folder = Folder::new();
    let path = folder.at("log.sock");
    let mut process = with_its_log_in_a_pipe(&folder, &path);
    eventually("somebody listens", || UnixStream::connect(&path).is_ok());
    let target = format!("/film.mp4?{}", "q".repeat(2_000));
    let mut connection = Connection::to_unix(&path);
    // More than the pipe holds: a write to it now blocks.
    for _ in 0..100 {
        connection.get(&target).is(200, b"film");
    }
    signal(&process, Signal::TERM);
    eventually("it ends", || process.try_wait().expect("it is a child").is_some());
    assert_eq!(process.wait().expect("it has ended").code(), Some(0));
    assert!(!path.exists(), "and its socket is gone");
}

#[test]
fn the_guest_is_replaced_while_clients_stay_and_a_bad_one_is_rejected() {
    let folder = Folder::new();
    let guest = folder.at("guest.wasm");
    export_guest(&guest);
    let component = fs::read(&guest).expect("it is there");
    let replace = |bytes: &[u8]| {
        fs::rename(folder.file("next.wasm", bytes), &guest).expect("a file can be replaced");
    };
    let server =
        Server::start(folder.file("film.mp4", "film"), &["--guest", text(&guest), "--watch", "--walls", "auto"]);
    let mut stays = server.connect();
    stays.get("/film.mp4").is(200, b"film");

    replace(b"no component");
    server.wait_for_line("the guest stays as it is");
    stays.get("/film.mp4").is(200, b"film");
    server.get("/film.mp4").is(200, b"film");

    replace(&component);
    server.wait_for_lines(1, "for new clients from now on");
    stays.get("/film.mp4").is(200, b"film");
    server.get("/film.mp4").is(200, b"film");

    server.signal(Signal::HUP);
    server.wait_for_lines(2, "for new clients from now on");
    stays.get("/film.mp4").is(200, b"film");
    server.get("/film.mp4").is(200, b"film");
}

#[test]
fn a_lack_of_descriptors_is_reported_with_the_number_of_clients() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let mut command = Command::new("sh");
    let limited = "ulimit -n 1024; exec \"$0\" \"$@\"";
    command.args(["-c", limited]).arg(program_under_test()).args([text(&film), "0"]).stdin(Stdio::null());
    let server = Server::run(command);
    server.wait_for_line("note     688 clients at once instead of 1000");
    server.wait_for_line("688 clients, 128 per address");
    server.get("/film.mp4").is(200, b"film");
}
