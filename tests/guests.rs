//! The example guests: that they serve, that they import nothing, and that their limits hold them too.

mod support;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::{Connection, Folder, PATIENCE, Server, multiclient, noise, run_within, skipped};

/// How long a small guest may take to be built, with what it is made of.
const BUILDING: Duration = Duration::from_secs(300);

/// A file of the examples.
fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/guests").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the target folder has a plain name")
}

#[track_caller]
fn imports_nothing(guest: &Path) {
    let inspected = run_within(PATIENCE, multiclient().args(["inspect", text(guest)]));
    let said = String::from_utf8_lossy(&inspected.stdout).into_owned();
    assert!(said.contains("imports  nothing"), "{said}");
}

// ---- the session behind a password

/// `alice:sesame`.
const RIGHT: &str = "YWxpY2U6c2VzYW1l";

/// Builds the guest that wants this password.
fn basic_auth() -> PathBuf {
    // Where another test builds a guest too: what both are made of is built once.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("std-guest");
    let mut cargo = Command::new(env::var_os("CARGO").expect("the tests are run by cargo"));
    cargo.args(["build", "--quiet", "--release", "--target", "wasm32-wasip2", "--manifest-path"]);
    cargo.arg(example("basic-auth/Cargo.toml")).arg("--target-dir").arg(&target).env("BASIC_AUTH", RIGHT);
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_TARGET_DIR"]
    {
        cargo.env_remove(name);
    }
    let built = run_within(BUILDING, &mut cargo);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    target.join("wasm32-wasip2/release/multiclient_basic_auth.wasm")
}

#[test]
fn who_knows_the_password_is_served_and_nobody_else() {
    let guest = basic_auth();
    imports_nothing(&guest);
    let folder = Folder::new();
    let film = noise(1, 300_000);
    let server = Server::start(folder.file("film.mp4", &film), &["--guest", text(&guest)]);
    let mut connection = server.connect();
    let right = format!("Authorization: Basic {RIGHT}");
    for lines in [vec![right.as_str()], vec!["authorization: bAsIc  YWxpY2U6c2VzYW1l"]] {
        connection.ask("GET", "/film.mp4", &lines).is(200, &film);
    }
    connection.ask("GET", "/film.mp4", &[&right, "Range: bytes=5-9"]).is(206, &film[5..10]);
    // On the same connection, and each of them anew.
    let others =
        ["Basic YWxpY2U6c2VzYW1", "Basic YWxpY2U6c2VzYW1lWA==", "Bearer YWxpY2U6c2VzYW1l", "Basic", "YWxpY2U6c2VzYW1l"];
    for wrong in others {
        let reply = connection.ask("GET", "/film.mp4", &[&format!("Authorization: {wrong}")]);
        reply.is(401, b"401 Unauthorized\n");
        assert_eq!(reply.said("WWW-Authenticate"), "Basic realm=\"multiclient\", charset=\"UTF-8\"");
    }
    assert_eq!(connection.ask("GET", "/film.mp4", &[&right, &right]).status(), 401, "twice is not once");
    assert_eq!(connection.ask("HEAD", "/film.mp4", &[]).status(), 401);
    assert_eq!(connection.get("/nothing").status(), 401, "what is there is not told either");
    connection.ask("GET", "/film.mp4", &[&right]).is(200, &film);
    assert_eq!(server.stop().code, Some(0));
}

// ---- another protocol, in C

/// Builds the Gopher server, with these flags. None where something that it takes is missing.
fn gopher(folder: &Folder, flags: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Where cargo puts what it installs is not in the path of everybody.
    let cargos = env::var_os("CARGO_HOME").map(|home| Path::new(&home).join("bin"));
    let folders: Vec<_> = env::split_paths(&path).chain(cargos).collect();
    for program in ["clang", "wit-bindgen"] {
        if !folders.iter().any(|folder| folder.join(program).is_file()) {
            skipped(&format!("{program} is not installed; examples/guests/c/build.sh says what it takes"));
            return None;
        }
    }
    if !Path::new("/usr/include/wasm32-wasi").exists() && env::var_os("WASI_SYSROOT").is_none() {
        skipped("the C library for WASI is not installed (wasi-libc)");
        return None;
    }
    let guest = folder.at("gopher.wasm");
    let mut build = Command::new("sh");
    build.arg(example("c/build.sh")).arg(&guest).args(flags);
    build.env("PATH", env::join_paths(folders).expect("they were joined before"));
    let built = run_within(BUILDING, &mut build);
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success() && !said.contains("warning"), "{said}");
    Some(guest)
}

/// What a Gopher client gets for a selector.
fn ask(server: &Server, selector: &str) -> Vec<u8> {
    let mut connection = Connection::to(server.address());
    connection.send(format!("{selector}\r\n"));
    connection.rest()
}

#[test]
fn a_guest_in_c_serves_in_a_protocol_of_its_own() {
    let folder = Folder::new();
    let Some(guest) = gopher(&folder, &["-Werror"]) else { return };
    imports_nothing(&guest);
    let film = noise(2, 1_000_000);
    folder.file("root/films/film.mp4", &film);
    folder.file("root/hello.txt", "hello");
    let server = Server::start(folder.at("root"), &["--guest", text(&guest)]);
    for selector in ["/films/film.mp4", "films/film.mp4"] {
        assert!(ask(&server, selector) == film, "the same bytes for {selector}");
    }
    let menu = String::from_utf8(ask(&server, "")).expect("a menu is text here");
    let mut lines: Vec<_> = menu.split_terminator("\r\n").collect();
    assert_eq!(lines.pop(), Some("."));
    lines.sort_unstable();
    assert_eq!(lines, ["1films\t/films\t+\t70", "9hello.txt\t/hello.txt\t+\t70"]);
    assert_eq!(ask(&server, "/films/"), b"9film.mp4\t/films/film.mp4\t+\t70\r\n.\r\n");
    for selector in ["/nothing", "../outside", ".hidden", &"x".repeat(300)] {
        assert!(ask(&server, selector).starts_with(b"3There is nothing"), "{selector}");
    }
    // However it is cut into packets.
    let mut connection = server.connect();
    for byte in b"hello.txt\r\n" {
        connection.send([*byte]);
    }
    assert_eq!(connection.rest(), b"hello");
    server.wait_for_line("\"films/film.mp4\" 200 ");
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_guest_in_c_that_spins_or_leaks_ends_its_client_and_no_other() {
    let folder = Folder::new();
    let Some(guest) = gopher(&folder, &["-DFAULTS"]) else { return };
    let film = noise(3, 100_000);
    folder.file("root/film.mp4", &film);
    let server = Server::start(folder.at("root"), &["--guest", text(&guest)]);
    let mut bystander = server.connect();
    bystander.send("film");
    for (selector, limit) in [("!spin", "over limit: cpu"), ("!leak", "over limit: memory")] {
        let mut connection = server.connect();
        connection.send(format!("{selector}\r\n"));
        assert_eq!(connection.until_cut(), b"", "{selector}");
        server.wait_for_line(limit);
    }
    bystander.send(".mp4\r\n");
    assert!(bystander.rest() == film, "whoever was there before notices nothing");
    assert!(ask(&server, "film.mp4") == film, "nor does whoever comes after");
    assert!(server.stop().summary().contains("2 ended by their guest"));
}
