//! Real programs as clients, those that are installed. Where one is not, a printed line says so.
//!
//! What they say is believed; what they asked for is read from the server's log.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use support::{A_WHILE, Background, Folder, Server, noise, program, run, run_within};

#[track_caller]
fn same(got: &[u8], promised: &[u8]) {
    assert!(got == promised, "{} bytes, not those {} that were promised", got.len(), promised.len());
}

// ---- curl

fn curl() -> Option<Command> {
    program("curl").map(|mut curl| {
        // Not what the user has in ~/.curlrc. This must come first.
        curl.args(["-q", "--silent", "--show-error", "--fail"]);
        curl
    })
}

#[test]
fn curl_gets_a_part_and_a_head() {
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
    // What is said before applies to the first alone.
    curl.arg(server.url("/a.ts")).args(["--next", "--silent", "--fail"]).arg(server.url("/b.ts"));
    let got = run(&mut curl).stdout;
    same(&got, &[noise(3, 100_000), noise(4, 100_000)].concat());
    server.wait_for_line("#1 127.0.0.1 GET /a.ts 200 ");
    server.wait_for_line("#1 127.0.0.1 GET /b.ts 200 ");
}

#[test]
fn curl_unpacks_a_compressed_sibling() {
    let (Some(mut curl), Some(mut gzip)) = (curl(), program("gzip")) else { return };
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
fn curl_is_told_that_its_copy_is_still_good() {
    let Some(mut curl) = curl() else { return };
    let folder = Folder::new();
    let path = folder.file("film.mp4", "film");
    let server = Server::start(&path, &[]);
    let got = run(curl.arg("-z").arg(&path).args(["-w", "%{http_code}", &server.url("/film.mp4")]));
    same(&got.stdout, b"304");
}

#[test]
fn curl_is_told_that_it_cannot_upload() {
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
fn curl_comes_by_a_unix_socket() {
    let Some(mut curl) = curl() else { return };
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let path = folder.at("one.sock");
    let _server = Server::start_at(film, &format!("unix:{}", path.display()), &[]);
    same(&run(curl.arg("--unix-socket").arg(&path).arg("http://test/film.mp4")).stdout, b"film");
}

// ---- download managers

fn wget() -> Option<Command> {
    program("wget").map(|mut wget| {
        wget.args(["--no-config", "--no-verbose", "--tries=1", "--no-proxy"]);
        wget
    })
}

#[test]
fn wget_resumes_a_download_and_knows_when_it_has_all() {
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
    let Some(mut aria2) = program("aria2c") else { return };
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

// ---- players

/// A film of twenty seconds whose index is at its end, as recorders leave it: who plays it over HTTP has to
/// seek before the first picture. Made once, and kept. None where nobody can make one.
fn film() -> Option<&'static Path> {
    static FILM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let film = FILM.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("film-of-twenty-seconds.mp4");
        if !path.exists() {
            let folder = Folder::new();
            make_film(program("ffmpeg")?, &folder.at("film.mp4"));
            // Somebody else may be doing the same. Whoever comes last has made the same film.
            let finished = path.with_extension(std::process::id().to_string());
            fs::copy(folder.at("film.mp4"), &finished).expect("there is room in the target folder");
            fs::rename(finished, &path).expect("a file can be renamed");
        }
        Some(path)
    });
    film.as_deref()
}

fn make_film(mut ffmpeg: Command, path: &Path) {
    ffmpeg.args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25:duration=20"]);
    ffmpeg.args(["-f", "lavfi", "-i", "anoisesrc=duration=20:seed=1", "-c:v", "libx264", "-preset", "ultrafast"]);
    ffmpeg.args(["-b:v", "4M", "-minrate", "4M", "-maxrate", "4M", "-bufsize", "4M", "-x264-params", "nal-hrd=cbr"]);
    ffmpeg.args(["-g", "25", "-pix_fmt", "yuv420p", "-c:a", "aac", "-shortest"]);
    run(ffmpeg.arg(path));
    let bytes = fs::read(path).expect("it is there");
    assert!(bytes.len() > 8 << 20, "a film that is worth seeking in: {}", bytes.len());
    let place = |name: &[u8]| bytes.windows(4).rposition(|four| four == name).expect("every film has one");
    assert!(place(b"moov") > bytes.len() / 2, "the index is at the end");
}

/// Puts the film where it is to be served.
fn beside(film: &Path, folder: &Folder, name: &str) -> PathBuf {
    let path = folder.at(name);
    fs::hard_link(film, &path).or_else(|_| fs::copy(film, &path).map(drop)).expect("a film can be copied");
    path
}

#[test]
fn ffprobe_finds_the_index_at_the_end() {
    let (Some(mut ffprobe), Some(film)) = (program("ffprobe"), film()) else { return };
    let folder = Folder::new();
    let server = Server::start(beside(film, &folder, "film.mp4"), &[]);
    ffprobe.args(["-v", "error", "-show_entries", "format=duration,format_name:stream=codec_name", "-of", "flat"]);
    let said = String::from_utf8(run(ffprobe.arg(server.url("/film.mp4"))).stdout).expect("it is text");
    assert!(said.contains("format.duration=\"20.") && said.contains("\"h264\"") && said.contains("\"aac\""), "{said}");
    server.wait_for_line("GET /film.mp4 206 ");
    let requests = server.stop().lines.iter().filter(|line| line.contains("GET /film.mp4 206 ")).count();
    assert!(requests >= 2, "it has asked for another part: {requests}");
}

#[test]
fn ffmpeg_seeks_to_the_very_frame() {
    let (Some(_), Some(film)) = (program("ffmpeg"), film()) else { return };
    let folder = Folder::new();
    let server = Server::start(beside(film, &folder, "film.mp4"), &[]);
    let frame = |of: &str, second: &str| {
        let mut ffmpeg = program("ffmpeg").expect("it was there a moment ago");
        ffmpeg.args(["-v", "error", "-nostdin", "-ss", second, "-i", of, "-frames:v", "1"]);
        run(ffmpeg.args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-"])).stdout
    };
    for second in ["0.5", "17.2", "9.96"] {
        let promised = frame(film.to_str().expect("a plain name"), second);
        assert_eq!(promised.len(), 640 * 360 * 3);
        same(&frame(&server.url("/film.mp4"), second), &promised);
    }
}

#[test]
fn ffmpeg_copies_a_film_whole() {
    let (Some(_), Some(film)) = (program("ffmpeg"), film()) else { return };
    let folder = Folder::new();
    let server = Server::start(beside(film, &folder, "film.mp4"), &[]);
    let hash = |of: &str| {
        let mut ffmpeg = program("ffmpeg").expect("it was there a moment ago");
        ffmpeg.args(["-v", "error", "-nostdin", "-i", of, "-map", "0", "-c", "copy", "-f", "hash", "-"]);
        run(&mut ffmpeg).stdout
    };
    same(&hash(&server.url("/film.mp4")), &hash(film.to_str().expect("a plain name")));
}

#[test]
fn mpv_seeks_and_plays() {
    let (Some(mut mpv), Some(film)) = (program("mpv"), film()) else { return };
    let folder = Folder::new();
    let server = Server::start(beside(film, &folder, "film.mp4"), &[]);
    mpv.env("HOME", folder.path()).env("TMPDIR", folder.path()).args([
        "--no-config",
        "--vo=null",
        "--ao=null",
        "--ytdl=no",
        "--start=17",
        "--frames=5",
    ]);
    mpv.arg("--term-playing-msg=seekable=${seekable} duration=${=duration} position=${=time-pos}");
    let said = String::from_utf8_lossy(&run(mpv.arg(server.url("/film.mp4"))).stdout).into_owned();
    assert!(said.contains("seekable=yes duration=20."), "{said}");
    let position = said.split("position=").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    assert!(position.is_some_and(|position| (16.5..17.5).contains(&position)), "{said}");
    server.wait_for_line("GET /film.mp4 206 ");
}

/// A page that seeks in the film and plays it, and tells the server what came of it by what it asks for.
const PAGE: &str = r#"<!doctype html>
<video id="video" muted preload="auto" src="film.mp4"></video>
<script>
const tell = (what) => fetch('/told?' + what);
video.onerror = () => tell('failed=' + video.error.code + '&' + encodeURIComponent(video.error.message));
video.onloadedmetadata = () => {
    tell('duration=' + Math.round(video.duration) + '&width=' + video.videoWidth);
    video.currentTime = 17;
};
video.onseeked = () => {
    video.onseeked = null;
    tell('seeked=' + video.currentTime);
    video.ontimeupdate = () => {
        if (video.currentTime < 17.5) return;
        video.ontimeupdate = null;
        tell('played=' + (video.error === null) + '&state=' + (video.readyState >= 2));
    };
    video.play();
};
</script>
"#;

#[test]
fn chromium_seeks_and_plays_in_a_page() {
    let (Some(mut chromium), Some(film)) = (program("chromium"), film()) else { return };
    let folder = Folder::new();
    folder.file("root/index.html", PAGE);
    beside(film, &folder, "root/film.mp4");
    let server = Server::start(folder.at("root"), &[]);
    chromium
        .env("HOME", folder.path())
        .env("TMPDIR", folder.path())
        .arg(format!("--user-data-dir={}", folder.at("profile").display()));
    chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
    chromium.args([
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
    ]);
    chromium.args(["--autoplay-policy=no-user-gesture-required", "--mute-audio", "--no-proxy-server"]);
    // It is to talk to this machine and nobody else.
    chromium.arg("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1");
    let browser = Background::start(chromium.arg(server.url("/")));
    for told in ["duration=20&width=640", "seeked=17", "played=true&state=true"] {
        server.wait_for_line(&format!("GET /told?{told} 404 "));
    }
    drop(browser);
    let parts = server.log().iter().filter(|line| line.contains("GET /film.mp4 206 ")).count();
    assert!(parts >= 2, "it has asked for parts: {parts}");
}
