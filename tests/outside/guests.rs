//! Guests other than the built-in one: what they may import, the errors when they import more, and that
//! those with a standard library run in an empty WASI.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};
use support::components::Component;
use support::{
    Folder, PATIENCE, Server, eventually, exit_within, export_guest, make_fifo, multiclient, noise, output_of,
    run_within, text,
};

/// Builds the guest with a standard library, with one of its features or none.
fn guest(feature: &str) -> PathBuf {
    let guest = Component { folder: "tests/std-guest", file: "multiclient_std_guest.wasm", feature, variables: &[] };
    guest.build(env!("CARGO_TARGET_TMPDIR"))
}

#[test]
fn the_exported_guest_serves_as_the_built_in_one() {
    let folder = Folder::new();
    let guest = folder.at("multiclient-session.wasm");
    let written = run_within(PATIENCE, multiclient().args(["export-guest", "--output", text(&guest)]));
    assert!(written.status.success() && written.stdout.is_empty(), "{written:?}");
    let inspected = run_within(PATIENCE, multiclient().args(["inspect", text(&guest)]));
    let said = String::from_utf8_lossy(&inspected.stdout);
    assert!(said.contains("imports  nothing") && said.contains("exports  multiclient:session/handler@0.1.0"), "{said}");
    // The names of functions are in it, for the message of a trap, and nothing else of a debug build.
    let component = fs::read(&guest).expect("it is there");
    let has = |text: &[u8]| component.windows(text.len()).any(|window| window == text);
    assert!(has(b"multiclient_guest") && !has(b".debug_info"), "{} bytes", component.len());
    let server = Server::start(folder.file("film.mp4", "film"), &["--guest", text(&guest)]);
    server.get("/film.mp4").is(200, b"film");

    let nowhere = folder.at("no/such/folder");
    let refused = run_within(PATIENCE, multiclient().args(["export-guest", "--output", text(&nowhere)]));
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn a_guest_with_a_standard_library_runs_in_an_empty_wasi() {
    let folder = Folder::new();
    let guest = guest("");
    let server = Server::start(folder.file("film.mp4", "film"), &["--guest", text(&guest)]);
    server.get("/").is(200, b"0 variables, 0 files, nothing more\n");
    server.wait_for_line("#1 guest: born with 0 variables");
}

#[test]
fn the_output_of_a_guest_is_bounded_and_disconnects_nobody() {
    let folder = Folder::new();
    let guest = guest("");
    let server = Server::start(folder.file("film.mp4", "film"), &["--guest", text(&guest)]);
    server.get("/chatter").is(200, b"0 variables, 0 files, nothing more\n");
    server.wait_for_line("#1 guest: ... and 75927 bytes more, left out");
    server.get("/").is(200, b"0 variables, 0 files, nothing more\n");
    let stopped = server.stop();
    let said: usize = stopped.lines.iter().filter(|line| line.contains(" guest: ")).map(String::len).sum();
    assert!(said < 6_000, "{said} bytes of 80,000 are kept");
    assert!(!stopped.summary().contains("failed by their guest"), "{}", stopped.summary());
}

#[test]
fn a_clock_has_to_be_granted() {
    let folder = Folder::new();
    let (film, guest) = (folder.file("film.mp4", "film"), guest("clocks"));
    let refused = run_within(PATIENCE, multiclient().arg(&film).args(["0", "--guest", text(&guest)]));
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("imports wasi:clocks/") && said.contains("--allow clocks"), "{said}");

    let server = Server::start(&film, &["--guest", text(&guest), "--allow", "clocks"]);
    let response = server.get("/").text();
    let told: u64 = response.rsplit(' ').nth(1).and_then(|word| word.parse().ok()).expect("it tells the time");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
    assert!(now.abs_diff(told) < 60, "{told} is not {now}");
}

#[test]
fn sockets_are_never_granted() {
    let folder = Folder::new();
    let (film, guest) = (folder.file("film.mp4", "film"), guest("sockets"));
    for grants in [&[][..], &["--allow", "clocks,random"]] {
        let mut command = multiclient();
        let refused = run_within(PATIENCE, command.arg(&film).args(["0", "--guest", text(&guest)]).args(grants));
        assert_eq!(refused.status.code(), Some(1));
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("imports wasi:") && said.contains("never granted"), "{said}");
    }
    let inspected = run_within(PATIENCE, multiclient().args(["inspect", text(&guest)]));
    let said = String::from_utf8_lossy(&inspected.stdout);
    assert!(said.lines().any(|line| line.contains("wasi:sockets/tcp@") && line.contains("never granted")), "{said}");
    assert!(said.lines().any(|line| line.starts_with("serves   no: it imports wasi:")), "{said}");
    // Nothing is wrong with what a component does not have, but it is no guest.
    let empty = folder.file("empty.wasm", b"\0asm\x0d\0\x01\0");
    let inspected = run_within(PATIENCE, multiclient().args(["inspect", text(&empty)]));
    let said = String::from_utf8_lossy(&inspected.stdout);
    assert!(said.contains("\nserves   no: it does not export multiclient:session/handler"), "{said}");
}

#[test]
fn what_a_component_calls_its_imports_cannot_forge_a_line() {
    let folder = Folder::new();
    // An import of an interface without functions, by the address of where to find it.
    let name = b"url=<\x1b[2J\nserves   yes>";
    let mut component = b"\0asm\x0d\0\x01\0\x07\x03\x01\x42\0".to_vec();
    component.extend([10, 5 + name.len() as u8, 1, 0, name.len() as u8]);
    component.extend(name);
    component.extend([5, 0]);
    let component = folder.file("forged.wasm", component);
    let inspected = run_within(PATIENCE, multiclient().args(["inspect", text(&component)]));
    let said = String::from_utf8_lossy(&inspected.stdout);
    assert!(said.contains("imports  url=<\\u{1b}[2J\\nserves   yes>   (types only"), "{said}");
    assert!(!said.contains('\x1b') && !said.lines().any(|line| line == "serves   yes"), "{said}");
}

/// The exported guest, with a module in it that takes minutes to compile: many functions with as many branches on as
/// many locals.
fn slow_guest(guest: &Path) -> Vec<u8> {
    const FUNCTIONS: usize = 40;
    const BRANCHES: usize = 4_000;
    const LOCALS: usize = 2_000;
    let section = |id, content: &[u8]| [&[id], leb128(content.len()).as_slice(), content].concat();
    let mut code = [&[1], leb128(LOCALS).as_slice(), &[0x7f]].concat();
    for branch in 0..BRANCHES {
        let [a, b, c] = [branch * 7, branch * 13 + 5, branch * 29 + 3].map(|local| leb128(local % LOCALS));
        // if a { a = b + c }
        code.extend([&[0x20], &a[..], &[0x04, 0x40, 0x20], &b, &[0x20], &c, &[0x6a, 0x21], &a, &[0x0b]].concat());
    }
    code.push(0x0b);
    let function = [leb128(code.len()), code].concat();
    let module = [
        b"\0asm\x01\0\0\0".as_slice(),
        &section(1, &[1, 0x60, 0, 0]),
        &section(3, &[leb128(FUNCTIONS), vec![0; FUNCTIONS]].concat()),
        &section(10, &[leb128(FUNCTIONS), function.repeat(FUNCTIONS)].concat()),
    ];
    let guest = fs::read(guest).expect("it is there");
    [guest, section(1, &module.concat())].concat()
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// Waits until a process compiles a guest.
fn wait_until_it_compiles(pid: Pid) {
    let has_thread = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).expect("it runs");
        let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.into_iter().any(|name| name == "guest\n")
    };
    eventually("a guest is compiled", has_thread);
}

#[test]
fn a_guest_that_takes_minutes_to_compile_does_not_keep_the_server_from_stopping() {
    let folder = Folder::new();
    let (film, guest) = (folder.file("film.mp4", "film"), folder.at("guest.wasm"));
    export_guest(&guest);
    let slow = slow_guest(&guest);
    let server = Server::start(&film, &["--guest", text(&guest), "--walls", "off"]);
    fs::write(&guest, slow).expect("it can be written");
    server.signal(Signal::HUP);
    wait_until_it_compiles(server.pid());
    server.get("/film.mp4").is(200, b"film");
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code, Some(0));
    for signal in [Signal::TERM, Signal::INT] {
        let mut starting = multiclient().arg(&film).args(["0", "--guest", text(&guest)]).spawn().expect("it starts");
        wait_until_it_compiles(Pid::from_child(&starting));
        kill_process(Pid::from_child(&starting), signal).expect("it runs");
        let stopped = exit_within(PATIENCE, &mut starting);
        starting.kill().expect("it is stopped by now, or never will be");
        assert_eq!(stopped.and_then(|status| status.code()), Some(0), "{signal:?}");
    }
}

#[test]
fn a_fifo_is_no_guest_and_is_not_waited_for() {
    let folder = Folder::new();
    let (film, fifo) = (folder.file("film.mp4", "film"), folder.at("guest.wasm"));
    make_fifo(&fifo);
    for flag in ["--guest", "--index"] {
        let refused = run_within(PATIENCE, multiclient().arg(&film).args(["0", flag, text(&fifo)]));
        assert_eq!(refused.status.code(), Some(1), "{}", output_of(&refused));
    }
}

// ---- the session behind a password

/// `alice:sesame`.
const RIGHT: &str = "YWxpY2U6c2VzYW1l";

/// Builds the guest that wants this password.
fn basic_auth() -> PathBuf {
    let guest = Component {
        folder: "examples/guests/basic-auth",
        file: "multiclient_basic_auth.wasm",
        feature: "",
        variables: &[("BASIC_AUTH", RIGHT)],
    };
    guest.build(env!("CARGO_TARGET_TMPDIR"))
}

#[test]
fn only_clients_with_the_password_are_served() {
    let guest = basic_auth();
    let inspected = run_within(PATIENCE, multiclient().args(["inspect", text(&guest)]));
    assert!(output_of(&inspected).contains("imports  nothing"), "{inspected:?}");
    let folder = Folder::new();
    let film = noise(1, 300_000);
    let server = Server::start(folder.file("film.mp4", &film), &["--guest", text(&guest)]);
    let mut connection = server.connect();
    let right = format!("Authorization: Basic {RIGHT}");
    for lines in [vec![right.as_str()], vec!["authorization: bAsIc  YWxpY2U6c2VzYW1l"]] {
        connection.request("GET", "/film.mp4", &lines).is(200, &film);
    }
    connection.request("GET", "/film.mp4", &[&right, "Range: bytes=5-9"]).is(206, &film[5..10]);
    // On the same connection, and each of them anew.
    let others =
        ["Basic YWxpY2U6c2VzYW1", "Basic YWxpY2U6c2VzYW1lWA==", "Bearer YWxpY2U6c2VzYW1l", "Basic", "YWxpY2U6c2VzYW1l"];
    for wrong in others {
        let response = connection.request("GET", "/film.mp4", &[&format!("Authorization: {wrong}")]);
        response.is(401, b"401 Unauthorized\n");
        assert_eq!(response.expect_field("WWW-Authenticate"), "Basic realm=\"multiclient\", charset=\"UTF-8\"");
    }
    assert_eq!(connection.request("GET", "/film.mp4", &[&right, &right]).status(), 401, "twice is not once");
    assert_eq!(connection.request("HEAD", "/film.mp4", &[]).status(), 401);
    assert_eq!(connection.get("/nothing").status(), 401, "names are not revealed either");
    connection.request("GET", "/film.mp4", &[&right]).is(200, &film);
    assert_eq!(server.stop().code, Some(0));
}
