//! Download managers: wget, aria2 and zsync.

use std::fs;
use std::process::Command;

use support::{Folder, Server, noise, require, run, same};

fn wget() -> Option<Command> {
    require("wget").map(|mut wget| {
        wget.args(["--no-config", "--no-verbose", "--tries=1", "--no-proxy"]);
        wget
    })
}

#[test]
fn wget_resumes_a_download_and_notices_that_it_is_complete() {
    let Some(mut wget) = wget() else { return };
    let folder = Folder::new();
    let film = noise(5, 2 << 20);
    folder.file("from/film.mp4", &film);
    let half = folder.file("to/film.mp4", &film[..1 << 20]);
    let server = Server::start(folder.at("from"), &[]);
    run(wget.arg("-c").arg("-O").arg(&half).arg(server.url("/film.mp4")));
    same(&fs::read(&half).expect("it is there"), &film);
    server.wait_for_line("GET /film.mp4 206 1 MiB ");
    let Some(mut wget) = self::wget() else { return };
    run(wget.arg("-c").arg("-O").arg(&half).arg(server.url("/film.mp4")));
    server.wait_for_line("GET /film.mp4 416 ");
    same(&fs::read(&half).expect("it is there"), &film);
}

#[test]
fn wget_copies_a_listed_folder_with_all_its_odd_names() {
    const NAMES: [&str; 6] = ["sp ace.mp4", "ü.mp4", "100%.mp4", "#1.mp3", "sub/a+b;c.ts", "sub/<&'\">.srt"];
    let Some(mut wget) = wget() else { return };
    let folder = Folder::new();
    for name in NAMES {
        folder.file(&format!("from/{name}"), name);
    }
    let server = Server::start(folder.at("from"), &["--list"]);
    folder.folder("to");
    let to = folder.at("to");
    wget.args(["--recursive", "--no-parent", "--no-host-directories", "--restrict-file-names=nocontrol"]);
    run(wget.arg("--execute=robots=off").arg("-P").arg(&to).arg(server.url("/")));
    for name in NAMES {
        same(&fs::read(to.join(name)).unwrap_or_else(|error| panic!("{name}: {error}")), name.as_bytes());
    }
}

#[test]
fn aria2_gets_a_file_in_pieces_at_once() {
    let Some(mut aria2) = require("aria2c") else { return };
    let folder = Folder::new();
    let film = noise(6, 16 << 20);
    folder.file("from/film.mp4", &film);
    folder.folder("to");
    let server = Server::start(folder.at("from"), &[]);
    aria2.args(["--no-conf", "--quiet", "-x8", "-s8", "-k1M", "--file-allocation=none", "--async-dns=false"]);
    run(aria2.arg("-d").arg(folder.at("to")).arg(server.url("/film.mp4")));
    same(&fs::read(folder.at("to/film.mp4")).expect("it is there"), &film);
    let clients: std::collections::BTreeSet<_> = server
        .log()
        .iter()
        .filter(|line| line.contains("GET /film.mp4 20"))
        .filter_map(|line| Some(line.split_once(' ')?.0.to_owned()))
        .collect();
    assert!(clients.len() >= 4, "it came by several connections: {clients:?}");
}

#[test]
fn zsync_gets_only_the_ranges_that_have_changed() {
    let (Some(mut zsync), Some(mut zsyncmake)) = (require("zsync"), require("zsyncmake")) else { return };
    let folder = Folder::new();
    let new = noise(7, 8 << 20);
    let mut old = new.clone();
    // More places than it asks for in one request.
    for place in 0..24 {
        old[(place * 330_000 + 100_000)..][..1_000].fill(0);
    }
    folder.file("from/film.bin", &new);
    let old = folder.file("to/old.bin", &old);
    run(zsyncmake.current_dir(folder.at("from")).args(["-u", "film.bin", "film.bin"]));
    let server = Server::start(folder.at("from"), &[]);
    zsync.current_dir(folder.at("to")).arg("-i").arg(old).args(["-o", "new.bin"]);
    run(zsync.arg(server.url("/film.bin.zsync")));
    same(&fs::read(folder.at("to/new.bin")).expect("it is there"), &new);
    assert!(!server.log().iter().any(|line| line.contains("GET /film.bin 200 ")), "the whole was sent");
}
