//! Programs that speak TLS: openssl, curl, wget, FFmpeg, mpv and Chromium. Each but the last checks the certificate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::film::{beside, film};

use support::{Background, Folder, Server, noise, require, run, same, text};

/// A server with TLS, and what its clients trust.
struct Secure {
    server: Server,
    trust: PathBuf,
    _keys: Folder,
}

/// Serves with a certificate for `localhost`. None: there is no openssl to make it.
fn serve(source: &Path) -> Option<Secure> {
    let keys = Folder::new();
    let (trust, key) = (keys.at("chain.pem"), keys.at("key.pem"));
    let mut openssl = require("openssl")?;
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    run(openssl.arg("-keyout").arg(&key).arg("-out").arg(&trust));
    let flags = ["--cert", text(&trust), "--key", text(&key)];
    let server = Server::start_at(source, "https://127.0.0.1:0", &flags);
    Some(Secure { server, trust, _keys: keys })
}

impl Secure {
    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.server.address().port())
    }
}

#[test]
fn openssl_gets_a_response_with_each_version() {
    let folder = Folder::new();
    folder.file("a.txt", "hello");
    let Some(secure) = serve(folder.path()) else { return };
    for version in ["-tls1_2", "-tls1_3"] {
        let mut openssl = require("openssl").expect("it has made the certificate");
        openssl.args(["s_client", "-quiet", "-verify_return_error", "-servername", "localhost", version, "-CAfile"]);
        openssl.arg(&secure.trust).arg("-connect").arg(secure.server.address().to_string());
        let request = folder.file("request", "GET /a.txt HTTP/1.0\r\n\r\n");
        openssl.stdin(Stdio::from(fs::File::open(request).expect("it is there")));
        let output = openssl.output().expect("it can be run");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with("\r\n\r\nhello"), "{version}: {said}");
    }
}

#[test]
fn curl_resumes_a_download_over_tls_and_asks_twice_on_a_connection() {
    let Some(mut curl) = require("curl") else { return };
    let folder = Folder::new();
    let film = noise(1, 3 << 20);
    let Some(secure) = serve(&folder.file("from/film.mp4", &film)) else { return };
    let half = folder.file("half.mp4", &film[..1 << 20]);
    curl.args(["-q", "--silent", "--show-error", "--fail", "--cacert"]).arg(&secure.trust);
    run(curl.args(["-C", "-", "-o"]).arg(&half).args([secure.url("/film.mp4")]));
    same(&fs::read(half).expect("it is there"), &film);
    let Some(mut curl) = require("curl") else { return };
    curl.args(["-q", "--silent", "--show-error", "--fail", "--tlsv1.2", "--tls-max", "1.2", "--cacert"]);
    curl.arg(&secure.trust).args(["-r", "0-9", "-w", "%{num_connects}", &secure.url("/film.mp4")]);
    curl.args(["-w", "%{num_connects}", &secure.url("/film.mp4")]);
    let said = run(&mut curl).stdout;
    same(&said, &[&film[..10], b"1", &film[..10], b"0"].concat());
}

#[test]
fn wget_gets_a_file_over_tls() {
    let Some(mut wget) = require("wget") else { return };
    let folder = Folder::new();
    let film = noise(2, 2 << 20);
    let Some(secure) = serve(&folder.file("from/film.mp4", &film)) else { return };
    wget.args(["--no-config", "--no-verbose", "--tries=1", "--no-proxy", "-O-", "--ca-certificate"]);
    same(&run(wget.arg(&secure.trust).arg(secure.url("/film.mp4"))).stdout, &film);
}

#[test]
fn ffmpeg_and_mpv_seek_over_tls() {
    let (Some(mut ffprobe), Some(mut mpv), Some(film)) = (require("ffprobe"), require("mpv"), film()) else { return };
    let folder = Folder::new();
    let Some(secure) = serve(&beside(film, &folder, "film.mp4")) else { return };
    ffprobe.args(["-v", "error", "-tls_verify", "1", "-ca_file"]).arg(&secure.trust);
    ffprobe.args(["-show_entries", "format=duration", "-of", "flat"]);
    let said = String::from_utf8(run(ffprobe.arg(secure.url("/film.mp4"))).stdout).expect("it is text");
    assert!(said.contains("format.duration=\"20."), "{said}");
    mpv.env("HOME", folder.path()).args(["--no-config", "--vo=null", "--ao=null", "--ytdl=no", "--start=17"]);
    mpv.args(["--frames=5", "--term-playing-msg=position=${=time-pos}", "--tls-verify"]);
    mpv.arg(format!("--tls-ca-file={}", text(&secure.trust)));
    let said = String::from_utf8_lossy(&run(mpv.arg(secure.url("/film.mp4"))).stdout).into_owned();
    let position = said.split("position=").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    assert!(position.is_some_and(|position| (16.5..17.5).contains(&position)), "{said}");
}

/// A page that plays the film, and tells the server so by what it asks for.
const PAGE: &str = r#"<!doctype html>
<video id="video" muted preload="auto" src="film.mp4"></video>
<script>
video.onloadedmetadata = () => { video.currentTime = 17; };
video.onseeked = () => fetch('/told?' + Math.round(video.currentTime) + '&' + location.protocol);
</script>
"#;

fn headless(mut chromium: Command, folder: &Folder) -> Command {
    chromium.env("HOME", folder.path()).env("TMPDIR", folder.path());
    chromium.arg(format!("--user-data-dir={}", folder.at("profile").display()));
    chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
    chromium.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    chromium.args(["--autoplay-policy=no-user-gesture-required", "--mute-audio", "--no-proxy-server"]);
    chromium.args(["--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost", "--ignore-certificate-errors"]);
    chromium
}

#[test]
fn chromium_seeks_over_tls() {
    let (Some(chromium), Some(film)) = (require("chromium"), film()) else { return };
    let folder = Folder::new();
    folder.file("root/index.html", PAGE);
    beside(film, &folder, "root/film.mp4");
    let Some(secure) = serve(&folder.at("root")) else { return };
    let _browser = Background::start(headless(chromium, &folder).arg(secure.url("/")));
    secure.server.wait_for_line("GET /told?17&https: 404 ");
}
