//! The life of the program: what it says when it starts, where it listens, how it stops, and what it says
//! when it cannot.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use multiclient::{Guest, Limits};
use rustix::process::Signal;
use support::{Connection, Folder, PATIENCE, Server, eventually, multiclient, run_within, skipped};

/// Runs the program with arguments with which it ends by itself.
fn run(arguments: &[&str]) -> Output {
    run_within(PATIENCE, multiclient().args(arguments))
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("the program says nothing that is not UTF-8")
}

/// A port that nobody has and that the system gives to nobody who asks for any.
fn quiet_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    let ports = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed));
    ports.take(1_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port is free")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary files have plain names")
}

// ---- starting

#[test]
fn the_start_says_what_is_open_to_whom_and_within_which_limits() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let flags = ["--memory", "2M", "--cpu", "20ms", "--max-clients", "30", "--per-ip", "4"];
    let server = Server::start(&film, &flags);
    let lines = server.log();
    let port = server.address().port();
    assert_eq!(lines[0], format!("multiclient {}", env!("CARGO_PKG_VERSION")));
    assert_eq!(lines[1], format!("source   {}   4 B", text(&film)));
    let open = format!("open     http://127.0.0.1:{port}/film.mp4     this machine only; share with 0.0.0.0:{port}");
    assert_eq!(lines[2], open);
    assert!(lines[3].starts_with("guest    built in ") && lines[3].ends_with("   imports: nothing"), "{lines:?}");
    assert_eq!(lines[4], "limits   2 MiB, 20 ms cpu, 30 clients, 4 per address");
    assert!(lines[5].starts_with("ready    in ") && lines[5].ends_with(" ms   Ctrl-C drains"), "{lines:?}");
}

#[test]
fn the_standard_output_stays_free() {
    let folder = Folder::new();
    let mut command = multiclient();
    command.arg(folder.file("film.mp4", "film")).arg("0").stdout(Stdio::piped());
    let mut process = command.stderr(Stdio::piped()).spawn().expect("the program can be run");
    let mut lines = BufReader::new(process.stderr.take().expect("it is piped")).lines();
    let open = lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("open ")).expect("it starts");
    let address = open.split(['/', ' ']).find_map(|part| part.parse().ok()).expect("it says where it is open");
    lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("ready ")).expect("it is ready");
    Connection::to(address).get("/film.mp4").is(200, b"film");
    rustix::process::kill_process(rustix::process::Pid::from_child(&process), Signal::TERM).expect("it runs");
    let lines: Vec<_> = lines.map_while(Result::ok).collect();
    assert!(lines.iter().any(|line| line.contains("GET /film.mp4 200")), "{lines:?}");
    let mut said = String::new();
    process.stdout.take().expect("it is piped").read_to_string(&mut said).expect("it is text");
    assert_eq!((process.wait().expect("it ends").code(), said.as_str()), (Some(0), ""));
}

#[test]
fn quiet_and_without_a_log_it_says_nothing() {
    let folder = Folder::new();
    let path = folder.at("quiet.sock");
    let mut command = multiclient();
    command.arg(folder.file("film.mp4", "film")).arg(format!("unix:{}", text(&path))).args(["-q", "--log", "off"]);
    let process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program can be run");
    eventually("somebody listens", || UnixStream::connect(&path).is_ok());
    Connection::to_unix(&path).get("/film.mp4").is(200, b"film");
    rustix::process::kill_process(rustix::process::Pid::from_child(&process), Signal::TERM).expect("it runs");
    let output = process.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), stderr(&output).as_str(), output.stdout.as_slice()), (Some(0), "", &b""[..]));
}

#[test]
fn the_environment_sets_what_flags_do_and_flags_win() {
    let folder = Folder::new();
    let mut command = multiclient();
    command.arg(folder.path()).args(["0", "--per-ip", "5"]).stdout(Stdio::null());
    command.env("MULTICLIENT_MAX_CLIENTS", "7").env("MULTICLIENT_PER_IP", "6").env("MULTICLIENT_MEMORY", "1M");
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
fn a_log_that_nobody_takes_any_more_stops_nobody() {
    let folder = Folder::new();
    let path = folder.at("log.sock");
    let mut process = with_its_log_in_a_pipe(&folder, &path);
    let log = BufReader::new(process.stderr.take().expect("it is piped"));
    // As `head` would read it. From here on, whatever is written is an error.
    log.lines().map_while(Result::ok).find(|line| line.starts_with("ready ")).expect("it is ready");
    let mut connection = Connection::to_unix(&path);
    for _ in 0..20 {
        connection.get("/film.mp4").is(200, b"film");
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&process), Signal::TERM).expect("it runs");
    assert_eq!(process.wait().expect("it ends").code(), Some(0));
}

#[test]
fn clients_never_wait_for_a_log_that_is_not_read() {
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
    rustix::process::kill_process(rustix::process::Pid::from_child(&process), Signal::TERM).expect("it runs");
    let mut log = String::new();
    process.stderr.take().expect("it is piped").read_to_string(&mut log).expect("it is text");
    assert_eq!(process.wait().expect("it ends").code(), Some(0));
    assert!(log.contains(" lines left out: the log is read too slowly\n"), "what is missing is counted");
    assert!(log.matches("GET /film.mp4?").count() > 100, "and what there was room for is there");
}

#[test]
fn a_log_for_programs_is_json_and_nothing_else() {
    let folder = Folder::new();
    let (path, film) = (folder.at("log.sock"), folder.file("film.mp4", "film"));
    let limits = Limits { clients: 1, reserve: 0, ..Limits::default() };
    let component = Guest::built_in(&limits).expect("it is built in").component().to_vec();
    let guest = folder.file("guest.wasm", component);
    let mut command = multiclient();
    command.arg(film).arg(format!("unix:{}", text(&path))).args(["--log", "json", "-q", "--guest", text(&guest)]);
    let mut process = command.stderr(Stdio::piped()).spawn().expect("the program can be run");
    eventually("somebody listens", || UnixStream::connect(&path).is_ok());
    // More than the pipe and the queue before it hold, so that lines are left out.
    let target = format!("/film.mp4?{}", "q".repeat(2_000));
    let mut connection = Connection::to_unix(&path);
    for _ in 0..1_500 {
        connection.get(&target).is(200, b"film");
    }
    let pid = rustix::process::Pid::from_child(&process);
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
        rustix::process::kill_process(pid, signal).expect("it runs");
    }
    assert_eq!(process.wait().expect("it ends").code(), Some(0));
    assert!(notices.len() == 2 && notices[0].ends_with(" lines left out: the log is read too slowly"), "{notices:?}");
    assert!(notices[1].ends_with("   for new clients from now on"), "{notices:?}");
}

#[test]
fn a_stop_waits_for_nobody_who_does_not_read_the_log() {
    let folder = Folder::new();
    let path = folder.at("log.sock");
    let mut process = with_its_log_in_a_pipe(&folder, &path);
    eventually("somebody listens", || UnixStream::connect(&path).is_ok());
    let target = format!("/film.mp4?{}", "q".repeat(2_000));
    let mut connection = Connection::to_unix(&path);
    // More than the pipe holds: whoever writes to it now waits.
    for _ in 0..100 {
        connection.get(&target).is(200, b"film");
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&process), Signal::TERM).expect("it runs");
    eventually("it ends", || process.try_wait().expect("it is a child").is_some());
    assert_eq!(process.wait().expect("it has ended").code(), Some(0));
    assert!(!path.exists(), "and its socket is gone");
}

#[test]
fn the_guest_is_swapped_while_clients_stay_and_a_bad_one_is_refused() {
    let folder = Folder::new();
    let limits = Limits { clients: 1, reserve: 0, ..Limits::default() };
    let component = Guest::built_in(&limits).expect("it is built in").component().to_vec();
    let guest = folder.file("guest.wasm", &component);
    let replace = |bytes: &[u8]| {
        fs::rename(folder.file("next.wasm", bytes), &guest).expect("a file can be replaced");
    };
    let server = Server::start(folder.file("film.mp4", "film"), &["--guest", text(&guest), "--watch"]);
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
fn fewer_clients_than_asked_for_are_said_where_descriptors_are_few() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let mut command = Command::new("sh");
    let limited = "ulimit -n 1024; exec \"$0\" \"$@\"";
    command.args(["-c", limited, env!("CARGO_BIN_EXE_multiclient"), text(&film), "0"]).stdin(Stdio::null());
    let server = Server::run(command);
    server.wait_for_line("note     688 clients at once and not 1000");
    server.wait_for_line("688 clients, 128 per address");
    server.get("/film.mp4").is(200, b"film");
}

// ---- where it listens

#[test]
fn without_an_address_it_is_port_8080_of_this_machine() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    // Whoever has the port, this test or somebody else: it is taken.
    let _taken = TcpListener::bind("127.0.0.1:8080");
    let output = run(&[text(&film)]);
    let said = format!(
        "error: http://127.0.0.1:8080 is in use\n  try  multiclient {} 8081     or  0  for any free port\n",
        text(&film)
    );
    assert_eq!((output.status.code(), stderr(&output).replace("http://", "")), (Some(1), said.replace("http://", "")));
}

#[test]
fn a_port_in_use_is_said_with_a_way_out() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let first = Server::start(&film, &[]);
    let port = first.address().port();
    let output = run(&[text(&film), &port.to_string()]);
    assert_eq!(output.status.code(), Some(1));
    let (what, next) = stderr(&output).split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).expect("two lines");
    assert!(what.starts_with("error: ") && what.ends_with(&format!("{port} is in use")), "{what}");
    assert!(next.starts_with(&format!("  try  multiclient {} ", text(&film))), "{next}");
    assert!(next.trim_end().ends_with("or  0  for any free port"), "{next}");
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
        assert_ne!(address.port(), 0, "the real port is said");
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
        return skipped("IPv6: this machine has none");
    }
    let server = Server::start_at(&film, "http://[::1]:0", &[]);
    assert_eq!(server.address().ip(), IpAddr::V6(Ipv6Addr::LOCALHOST));
    server.get("/film.mp4").is(200, b"film");
    server.wait_for_line("#1 ::1 GET /film.mp4 200 ");
}

#[test]
fn all_addresses_of_ipv6_are_those_of_ipv4_too() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return skipped("IPv6: this machine has none");
    }
    let server = Server::start_at(&film, "http://[::]:0", &[]);
    assert!(server.wait_for_line("open ").ends_with("everybody who can reach this machine"));
    let port = server.address().port();
    for ip in [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)] {
        Connection::to(SocketAddr::new(ip, port)).get("/film.mp4").is(200, b"film");
    }
    server.wait_for_line("#2 127.0.0.1 GET ");
}

#[test]
fn a_unix_socket_that_nobody_listens_on_is_replaced_and_no_other() {
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
fn a_server_starts_at_once_on_the_port_of_the_one_before() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let port = quiet_port().to_string();
    let mut left_over = Vec::new();
    for _ in 0..3 {
        let server = Server::start_at(&film, &port, &[]);
        // One is closed by the server first, one by the client first, and one the client never closes.
        server.connect().ask("GET", "/film.mp4", &["Connection: close"]).is(200, b"film");
        server.get("/film.mp4").is(200, b"film");
        let mut connection = server.connect();
        connection.get("/film.mp4").is(200, b"film");
        left_over.push(connection);
        assert_eq!(server.stop().code, Some(0));
    }
    for mut connection in left_over {
        connection.is_closed();
    }
}

// ---- stopping

#[test]
fn a_server_without_clients_stops_at_once_and_says_what_it_did() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", support::noise(1, 1 << 20));
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start(&film, &["--drain", "1h"]);
        for _ in 0..3 {
            server.get("/film.mp4");
        }
        server.wait_for_lines(3, "GET /film.mp4 200");
        server.signal(signal);
        let stopped = server.wait();
        assert_eq!(stopped.code, Some(0), "{:?}", stopped.lines);
        assert_eq!(stopped.summary(), "3 clients, 3 MiB out, 0 cut off");
    }
}

/// A client that is being sent more than fits on the way to it.
fn downloading(server: &Server) -> Connection {
    let mut connection = Connection::with_small_buffer(server.address());
    connection.ask_for("GET", "/film.mp4", &[]);
    connection.head();
    connection
}

const LONG: u64 = 64 << 20;

#[test]
fn stopping_lets_downloads_end_and_takes_no_new_clients() {
    let folder = Folder::new();
    let server = Server::start(folder.hollow_file("film.mp4", LONG), &["--drain", "1h"]);
    let mut download = downloading(&server);
    let mut idle = server.connect();
    idle.get("/missing");
    let mut silent = server.connect();
    let mut asking = server.connect();
    // The first request is answered, so the half of the second has been heard too.
    asking.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /film.mp4 HTTP/1.1\r\nRange: bytes=0-3\r\n");
    assert_eq!(asking.reply().status(), 404);
    server.signal(Signal::TERM);
    server.wait_for_line("draining for up to ");
    idle.is_closed();
    silent.is_closed();
    asking.send("Host: a\r\n\r\n");
    asking.reply().is(206, &[0; 4]);
    asking.is_closed();
    let address = server.address();
    eventually("nobody is let in any more", || TcpStream::connect(address).is_err());
    let body = download.exactly(LONG as usize);
    assert!(body.iter().all(|byte| *byte == 0), "all of the film arrives");
    download.is_closed();
    let stopped = server.wait();
    assert_eq!(stopped.code, Some(0), "{:#?}", stopped.lines);
    assert!(stopped.summary().ends_with(", 0 cut off"), "{}", stopped.summary());
}

#[test]
fn clients_that_only_stay_do_not_delay_the_stop() {
    let folder = Folder::new();
    let server = Server::start(folder.file("film.mp4", "film"), &["--drain", "1h"]);
    let mut stay: Vec<_> = (0..40).map(|_| server.connect()).collect();
    for connection in &mut stay[..20] {
        connection.get("/film.mp4").is(200, b"film");
    }
    let began = Instant::now();
    let stopped = server.stop();
    // Less than the time that is given to whoever is in the middle of something.
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    assert_eq!((stopped.code, stopped.summary().ends_with(", 0 cut off")), (Some(0), true), "{}", stopped.summary());
}

#[test]
fn a_request_that_has_arrived_before_the_stop_is_answered() {
    let folder = Folder::new();
    folder.file("film.mp4", "film");
    // Among many that come right before the signal, some will not have been looked at. Be it the first of
    // their clients, or the second.
    for number in [1, 2, 1, 2] {
        let server = Server::start(folder.path(), &["--drain", "1h"]);
        let before = server.descriptors();
        let mut connections: Vec<_> = (0..50).map(|_| server.connect()).collect();
        server.wait_for_clients(50, before);
        if number == 2 {
            connections.iter_mut().for_each(|connection| assert_eq!(connection.get("/missing").status(), 404));
        }
        for connection in &mut connections {
            connection.ask_for("GET", "/film.mp4", &[]);
        }
        server.signal(Signal::TERM);
        for connection in &mut connections {
            connection.reply().is(200, b"film");
            connection.is_closed();
        }
        assert_eq!(server.wait().code, Some(0));
    }
}

#[test]
fn who_is_not_done_at_the_deadline_is_cut_off() {
    let folder = Folder::new();
    let server = Server::start(folder.hollow_file("film.mp4", LONG), &["--drain", "300ms"]);
    let mut download = downloading(&server);
    server.signal(Signal::TERM);
    let stopped = server.wait();
    assert_eq!(stopped.code, Some(3), "{:#?}", stopped.lines);
    assert!(stopped.summary().ends_with(", 1 cut off"), "{}", stopped.summary());
    assert!(stopped.lines.iter().any(|line| line.starts_with("#1 127.0.0.1 shut down")), "{:#?}", stopped.lines);
    assert!(download.until_cut().len() < LONG as usize);
}

#[test]
fn a_second_signal_cuts_everybody_off() {
    let folder = Folder::new();
    for signals in [[Signal::TERM, Signal::TERM], [Signal::INT, Signal::INT], [Signal::TERM, Signal::INT]] {
        let server = Server::start(folder.hollow_file("film.mp4", LONG), &["--drain", "1h"]);
        let mut downloads = [downloading(&server), downloading(&server)];
        server.signal(signals[0]);
        server.wait_for_line("draining for up to ");
        server.signal(signals[1]);
        let stopped = server.wait();
        assert_eq!(stopped.code, Some(3), "{:#?}", stopped.lines);
        assert!(stopped.summary().ends_with(", 2 cut off"), "{}", stopped.summary());
        for download in &mut downloads {
            assert!(download.until_cut().len() < LONG as usize);
        }
    }
}

// ---- when it cannot

#[test]
fn wrong_usage_is_exit_2_and_says_what_is_wrong() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let film = text(&film);
    for (arguments, said) in [
        (&[][..], "SOURCE"),
        (&[film, "0", "surplus"], "surplus"),
        (&[film, "0", "--nonsense"], "--nonsense"),
        (&[film, "https://127.0.0.1:0"], "https is not spoken here"),
        (&[film, "127.0.0.1"], "a port is missing"),
        (&[film, "http://127.0.0.1:x"], "x is not a port"),
        (&[film, "70000"], "70000"),
        (&[film, "0", "--header-timeout", "10"], "a time is a number and ms, s, m or h"),
        (&[film, "0", "--memory", "8X"], "a size is a number and K, M or G"),
        (&[film, "0", "--memory", "1"], "between 64K and 4G"),
        (&[film, "0", "--max-clients", "0"], "--max-clients"),
        (&[film, "0", "-H", "no colon"], "a header is a name, a colon and a value"),
        (&[film, "0", "-H", "X: a\r\nY: b"], "control characters"),
        (&[film, "0", "--type", "a\nb"], "a line of visible ASCII"),
        (&[film, "0", "--log", "loud"], "loud"),
        (&[text(folder.path()), "0", "--as", "/x"], "--as and --type are for a single file"),
        (&["inspect", "--nonsense"], "--nonsense"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).starts_with("error: ") || arguments.is_empty(), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_file_that_is_not_there_is_said_with_the_one_that_may_be_meant() {
    let folder = Folder::new();
    folder.file("movie.mp4", "movie");
    let said = |name: &str| {
        let path = folder.at(name);
        let output = run(&[text(&path), "0"]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        stderr(&output).replace(&format!("{}/", text(folder.path())), "")
    };
    assert_eq!(said("movie.mpv"), "error: movie.mpv does not exist\n  did you mean movie.mp4?\n");
    assert_eq!(said("something else"), "error: something else does not exist\n");
    assert_eq!(said("no/such/folder/movie.mp4"), "error: no/such/folder/movie.mp4 does not exist\n");
}

#[test]
fn what_cannot_be_served_is_said() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let _socket = UnixListener::bind(folder.at("socket")).expect("a socket can be made");
    for (arguments, said) in [
        ([text(&folder.at("socket")), "0"], "is neither a file nor a folder"),
        ([text(&film), "192.0.2.1:8080"], "192.0.2.1:8080 is not an address of this machine"),
        ([text(&film), "unix:/no/such/folder/one.sock"], "cannot listen on unix:/no/such/folder/one.sock"),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", stderr(&output));
        let said_it = stderr(&output).starts_with("error: ") && stderr(&output).contains(said);
        assert!(said_it && !stderr(&output).contains("panicked"), "{arguments:?}: {}", stderr(&output));
    }
}

// ---- what it says of itself

#[test]
fn the_guest_imports_nothing_and_exports_sessions() {
    let output = run(&["inspect"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = String::from_utf8(output.stdout).expect("it is text");
    let of = |word: &str| said.lines().filter_map(|line| line.strip_prefix(word)).map(str::trim).collect::<Vec<_>>();
    assert_eq!(of("imports"), ["nothing: it can compute, and do nothing else"], "{said}");
    assert_eq!(of("exports"), ["multiclient:session/handler@0.1.0"], "{said}");
    let guest = of("guest").join("");
    let sha256 = guest.rsplit(' ').next().unwrap_or_default();
    assert!(sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit()), "{said}");
}

#[test]
fn help_and_version_are_told() {
    let output = run(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("multiclient {}\n", env!("CARGO_PKG_VERSION")));
    let help = |flag: &str| {
        let output = run(&[flag]);
        assert_eq!(output.status.code(), Some(0), "{flag}");
        String::from_utf8(output.stdout).expect("it is text")
    };
    // The short one is for a screen, the long one tells everything.
    let short = help("-h");
    assert!(short.lines().count() <= 50 && short.lines().all(|line| line.chars().count() <= 100), "{short}");
    assert!(["SOURCE", "URL", "inspect", "--log"].iter().all(|word| short.contains(word)), "{short}");
    let long = help("--help");
    for flag in [
        "--as",
        "--type",
        "--list",
        "--header",
        "--cors",
        "--compat",
        "--memory",
        "--cpu",
        "--header-timeout",
        "--idle-timeout",
        "--stall-timeout",
        "--max-clients",
        "--per-ip",
        "--listen",
        "--log",
        "--quiet",
        "--drain",
    ] {
        assert!(long.contains(flag), "{flag}: {long}");
        let variable = format!("MULTICLIENT_{}", flag.trim_start_matches('-').replace('-', "_").to_uppercase());
        assert!(long.contains(&variable), "{variable}: {long}");
    }
}
