//! A browser that seeks and plays.

use crate::film::{beside, film};

use support::{Background, Folder, Server, require};

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
    let (Some(mut chromium), Some(film)) = (require("chromium"), film()) else { return };
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
    // It may connect to this machine only.
    chromium.arg("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1");
    let browser = Background::start(chromium.arg(server.url("/")));
    for told in ["duration=20&width=640", "seeked=17", "played=true&state=true"] {
        server.wait_for_line(&format!("GET /told?{told} 404 "));
    }
    drop(browser);
    let parts = server.log().iter().filter(|line| line.contains("GET /film.mp4 206 ")).count();
    assert!(parts >= 2, "it has asked for parts: {parts}");
}
