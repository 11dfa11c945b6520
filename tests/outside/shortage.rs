//! A machine that is short of threads, at the start and while clients are served: nobody panics, and who cannot be
//! served is told so.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use support::log::Log;
use support::wait::exit_within;
use support::{
    Connection, ControlGroup, Folder, Limited, PATIENCE, Server, eventually, export_guest, multiclient, text,
    without_settings,
};

/// More threads than any server starts with here.
const PLENTY: u64 = 200;

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("small.ts", "small");
    folder.file("folder/one.ts", "one");
    folder
}

fn serve(folder: &Folder, group: &ControlGroup, flags: &[&str]) -> Server {
    let mut program = multiclient();
    program.arg(folder.path()).args(["0", "--list", "--log", "text"]).args(flags);
    let mut program = group.around(&program);
    program.stdin(Stdio::null()).stdout(Stdio::null());
    Server::run(program)
}

#[test]
fn with_few_threads_the_server_starts_or_says_what_to_do() {
    let Some(group) = ControlGroup::new(Limited::Threads(1)) else { return };
    let folder = folder();
    let served: Vec<_> = (1..=16).map(|threads| starts(&folder, &group, threads)).collect();
    assert!(served.contains(&true) && served.contains(&false), "{served:?}");
}

/// Whether the server starts with so many threads. It serves then, and can be stopped; or it says what to do.
fn starts(folder: &Folder, group: &ControlGroup, threads: u64) -> bool {
    group.set(threads).expect("the limit can be changed");
    let socket = folder.at("one.sock");
    let mut program = multiclient();
    program.arg(folder.path()).arg(format!("unix:{}", socket.display())).arg("--list");
    let mut program = group.around(&program);
    let mut process = program.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a shell can be run");
    let log = Log::of(process.stderr.take().expect("it is piped"));
    let decided = |line: &str| line.starts_with("ready ") || line.starts_with("error: ");
    let starts = log.wait_for("it is ready, or says why it is not", decided).starts_with("ready ");
    if starts {
        Connection::to_unix(&socket).get("/small.ts").is(200, b"small");
        let listing = Connection::to_unix(&socket).get("/folder/").status();
        assert!(matches!(listing, 200 | 503), "{threads} threads: {listing}");
        kill_process(Pid::from_child(&process), Signal::TERM).expect("it runs");
    }
    let code = exit_within(PATIENCE, &mut process).expect("it ends").code();
    let said = log.wait_for_end();
    assert!(!said.iter().any(|line| line.contains("panicked")), "{threads} threads: {said:?}");
    assert_eq!(code, Some(if starts { 0 } else { 1 }), "{threads} threads: {said:?}");
    let is_advised = said.last().is_some_and(|line| line.starts_with("  "));
    assert!(starts || is_advised, "{threads} threads: no word about what to do: {said:?}");
    starts
}

#[test]
fn without_another_thread_clients_get_files_and_are_told_to_wait_for_listings() {
    let Some(group) = ControlGroup::new(Limited::Threads(PLENTY)) else { return };
    let folder = folder();
    let guests = Folder::new();
    let guest = guests.at("guest.wasm");
    export_guest(&guest);
    let server = serve(&folder, &group, &["--guest", text(&guest)]);
    let mut stays = server.connect();
    stays.get("/small.ts").is(200, b"small");
    group.set(1).expect("the limit can be changed");
    let response = stays.get("/folder/");
    assert_eq!(response.status(), 503, "{response:?}");
    response.expect_field("Retry-After");
    stays.get("/small.ts").is(200, b"small");
    server.get("/small.ts").is(200, b"small");
    // Loading the guest again takes a thread, too.
    server.signal(Signal::HUP);
    server.wait_for_line("the guest stays as it is");
    server.get("/small.ts").is(200, b"small");
    group.set(PLENTY).expect("the limit can be changed");
    assert_eq!(stays.get("/folder/").status(), 200);
    let stopped = server.stop();
    assert_eq!(stopped.code, Some(0));
    assert!(!stopped.lines.iter().any(|line| line.contains("panicked")), "{:?}", stopped.lines);
}

#[test]
fn clients_that_read_nothing_do_not_end_a_server_with_little_address_space() {
    let folder = folder();
    for number in 0..4_096 {
        folder.file(&format!("names/{number:04}-{}", "n".repeat(200)), "");
    }
    let program = multiclient();
    let mut shell = without_settings("sh");
    shell.args(["-c", "ulimit -v 1024000 && exec \"$0\" \"$@\""]).arg(program.get_program());
    shell.arg(folder.path()).args(["0", "--list", "--log", "text"]).stdin(Stdio::null()).stdout(Stdio::null());
    let server = Server::run(shell);
    // More than it has said that it can serve, so that some are turned away.
    let mut crowd: Vec<_> = (0..80).map(|_| Connection::with_small_buffer(server.address())).collect();
    crowd.iter_mut().for_each(|client| client.send_request("GET", "/names/", &[]));
    for client in &mut crowd[..8] {
        assert!(matches!(client.header_section().status, 200 | 503), "those that it has room for are answered");
    }
    drop(crowd);
    eventually("there is room again", || server.get("/small.ts").status() == 200);
    assert_eq!(server.stop().code, Some(0));
}
