//! A guest in C that speaks another protocol.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::components::{BUILDING, repository};
use support::programs::folders;
use support::{Connection, Folder, PATIENCE, Server, multiclient, noise, output_of, require, run_within, skip, text};

/// Builds the Gopher server, with these flags. None where something that it takes is missing.
fn gopher(folder: &Folder, flags: &[&str]) -> Option<PathBuf> {
    require("clang")?;
    require("wit-bindgen")?;
    if !Path::new("/usr/include/wasm32-wasi").exists() && env::var_os("WASI_SYSROOT").is_none() {
        skip("wasi-libc", "not installed; examples/guests/c/build.sh says what the build takes");
        return None;
    }
    let guest = folder.at("gopher.wasm");
    let mut build = Command::new("sh");
    build.arg(repository("examples/guests/c/build.sh")).arg(&guest).args(flags);
    build.env("PATH", env::join_paths(folders()).expect("they come from PATH"));
    let built = run_within(BUILDING, &mut build);
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success() && !said.contains("warning"), "{said}");
    Some(guest)
}

/// What a Gopher client gets for a selector.
fn ask(server: &Server, selector: &str) -> Vec<u8> {
    let mut connection = Connection::to(server.address());
    connection.send(format!("{selector}\r\n"));
    connection.read_to_close()
}

#[test]
fn a_guest_in_c_serves_its_own_protocol() {
    let folder = Folder::new();
    let Some(guest) = gopher(&folder, &["-Werror"]) else { return };
    let inspected = run_within(PATIENCE, multiclient().args(["inspect", text(&guest)]));
    assert!(output_of(&inspected).contains("imports  nothing"), "{inspected:?}");
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
    assert_eq!(connection.read_to_close(), b"hello");
    server.wait_for_line("\"films/film.mp4\" 200 ");
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_guest_in_c_that_spins_or_leaks_disconnects_its_client_and_no_other() {
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
        assert_eq!(connection.read_to_cut(), b"", "{selector}");
        server.wait_for_line(limit);
    }
    bystander.send(".mp4\r\n");
    assert!(bystander.read_to_close() == film, "a client from before notices nothing");
    assert!(ask(&server, "film.mp4") == film, "nor does a later one");
    assert!(server.stop().summary().contains("2 failed by their guest"));
}
