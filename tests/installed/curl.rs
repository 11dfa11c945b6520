//! curl.

use std::fs;
use std::process::Command;

use support::{A_WHILE, Folder, Server, noise, require, run, run_within, same};

fn curl() -> Option<Command> {
    require("curl").map(|mut curl| {
        // Not what the user has in ~/.curlrc. This must come first.
        curl.args(["-q", "--silent", "--show-error", "--fail"]);
        curl
    })
}

#[test]
fn curl_gets_a_range_and_a_header_section() {
    let folder = Folder::new();
    let film = noise(1, 1_000_000);
    let server = Server::start(folder.file("film.mp4", &film), &[]);
    let url = server.url("/film.mp4");
    let Some(mut curl) = curl() else { return };
    same(&run(curl.args(["-r", "100-199", &url])).stdout, &film[100..200]);
    let Some(mut curl) = self::curl() else { return };
    let head = String::from_utf8(run(curl.args(["-I", &url])).stdout).expect("a head is text");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Content-Length: 1000000\r\n"), "{head}");
    // The one source is at the root too, by a redirect.
    let Some(mut curl) = self::curl() else { return };
    same(&run(curl.args(["-L", &server.url("/")])).stdout, &film);
}

#[test]
fn curl_resumes_a_download() {
    let Some(mut curl) = curl() else { return };
    let folder = Folder::new();
    let film = noise(2, 3 << 20);
    let server = Server::start(folder.file("film.mp4", &film), &[]);
    let half = folder.file("half.mp4", &film[..2 << 20]);
    run(curl.args(["-C", "-", "-o"]).arg(&half).arg(server.url("/film.mp4")));
    same(&fs::read(half).expect("it is there"), &film);
    server.wait_for_line("GET /film.mp4 206 1 MiB ");
}

#[test]
fn curl_gets_two_urls_by_one_connection() {
    let Some(mut curl) = curl() else { return };
    let folder = Folder::new();
    folder.file("a.ts", noise(3, 100_000));
    folder.file("b.ts", noise(4, 100_000));
    let server = Server::start(folder.path(), &[]);
    // Flags apply to the first URL alone.
    curl.arg(server.url("/a.ts")).args(["--next", "--silent", "--fail"]).arg(server.url("/b.ts"));
    let got = run(&mut curl).stdout;
    same(&got, &[noise(3, 100_000), noise(4, 100_000)].concat());
    server.wait_for_line("#1 127.0.0.1 GET /a.ts 200 ");
    server.wait_for_line("#1 127.0.0.1 GET /b.ts 200 ");
}

#[test]
fn curl_unpacks_a_compressed_sibling() {
    let (Some(mut curl), Some(mut gzip)) = (curl(), require("gzip")) else { return };
    let folder = Folder::new();
    let text = "all the same, all the same\n".repeat(10_000);
    let path = folder.file("subtitles.vtt", &text);
    run(gzip.arg("--keep").arg(&path));
    let server = Server::start(folder.path(), &[]);
    same(&run(curl.args(["--compressed", &server.url("/subtitles.vtt")])).stdout, text.as_bytes());
    let line = server.wait_for_line("GET /subtitles.vtt 200 ");
    assert!(line.contains(" 200 1.") || line.contains(" B "), "it was small on the way: {line}");
}

#[test]
fn curl_gets_304_for_a_fresh_copy() {
    let Some(mut curl) = curl() else { return };
    let folder = Folder::new();
    let path = folder.file("film.mp4", "film");
    let server = Server::start(&path, &[]);
    let got = run(curl.arg("-z").arg(&path).args(["-w", "%{http_code}", &server.url("/film.mp4")]));
    same(&got.stdout, b"304");
}

#[test]
fn curl_gets_405_for_an_upload() {
    let Some(mut curl) = curl() else { return };
    let folder = Folder::new();
    let server = Server::start(folder.path(), &[]);
    let film = folder.hollow_file("film.mp4", 4 << 20);
    curl.arg("--no-fail").args(["-o", "/dev/null", "-w", "%{http_code}", "-T"]).arg(film);
    // Whether it minds that not all of it was read is its own affair.
    let output = run_within(A_WHILE, curl.arg(server.url("/new.mp4")));
    same(&output.stdout, b"405");
    assert!(!folder.at("new.mp4").exists());
}

#[test]
fn curl_connects_to_a_unix_socket() {
    let Some(mut curl) = curl() else { return };
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let path = folder.at("one.sock");
    let _server = Server::start_at(film, &format!("unix:{}", path.display()), &[]);
    same(&run(curl.arg("--unix-socket").arg(&path).arg("http://test/film.mp4")).stdout, b"film");
}
