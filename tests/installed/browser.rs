//! A browser opens the page with a player, for a live stream that it joins late and for a film in a folder.
//!
//! The page runs no script. What its player does is read over the DevTools protocol, which Chromium speaks on
//! two pipes: messages of JSON that end with a zero byte.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::film::{beside, film};

use support::{A_WHILE, Background, Folder, Server, require, skip};

/// How a stream is made whose beginning leaves a buffer of 256K within seconds.
struct Format {
    name: &'static str,
    encoder: &'static [&'static str],
    muxer: &'static [&'static str],
    /// As `canPlayType` wants it.
    media_type: &'static str,
}

const WEBM: Format = Format {
    name: "live.webm",
    encoder: &["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8"],
    // By default FFmpeg keeps five seconds back for each cluster, which are more than the buffer holds.
    muxer: &["-f", "webm", "-cluster_time_limit", "1000"],
    media_type: "video/webm; codecs=vp8",
};

const FRAGMENTED_MP4: Format = Format {
    name: "live.mp4",
    encoder: &["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p"],
    muxer: &["-f", "mp4", "-movflags", "frag_keyframe+empty_moov+default_base_moof"],
    media_type: "video/mp4; codecs=avc1.42c01e",
};

#[test]
fn chromium_plays_live_webm_that_it_joins_late() {
    plays_late(&WEBM);
}

#[test]
fn chromium_plays_live_fragmented_mp4_that_it_joins_late() {
    plays_late(&FRAGMENTED_MP4);
}

fn plays_late(format: &Format) {
    let (Some(chromium), Some(producer)) = (require("chromium"), require("ffmpeg")) else { return };
    let (server, _producer) = late(producer, format);
    let mut browser = Browser::start(chromium);
    if browser.value(&format!("document.createElement('video').canPlayType('{}')", format.media_type)) == "" {
        return skip("chromium-codecs", format.media_type);
    }
    browser.open(&server.url("/"));
    let played = browser.plays();
    assert_eq!(played.size, (320, 180));
    assert!(played.from >= 2.0, "the beginning is over, and the timestamps say so: {}", played.from);
    assert!(server.log().iter().any(|line| line.contains("GET / 200 ")), "the page is at the root");
}

/// A server of a stream whose beginning has left the buffer, and its producer.
fn late(mut ffmpeg: Command, format: &Format) -> (Server, Background) {
    let folder = Folder::new();
    let fifo = folder.at("pipe");
    support::make_fifo(&fifo);
    let at = format!("/{}", format.name);
    let server = Server::start(&fifo, &["--as", &at, "--page", "--buffer", "256K", "--burst", "64K"]);
    ffmpeg.args(["-v", "error", "-nostdin", "-y", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"]);
    ffmpeg.args(format.encoder).args(["-g", "25", "-b:v", "800k", "-threads", "1"]).args(format.muxer);
    let producer = Background::start(ffmpeg.arg("-flush_packets").arg("1").arg(&fifo));
    gone(&server, &at);
    (server, producer)
}

/// Waits until more has come than the buffer holds, with a viewer that counts.
fn gone(server: &Server, at: &str) {
    let mut viewer = support::live::Viewer::of(server, at);
    viewer.until(600 << 10);
}

#[test]
fn chromium_plays_a_film_of_a_folder() {
    let (Some(chromium), Some(film)) = (require("chromium"), film()) else { return };
    let folder = Folder::new();
    folder.folder("root");
    beside(film, &folder, "root/film.mp4");
    let server = Server::start(folder.at("root"), &["--list", "--page"]);
    let mut browser = Browser::start(chromium);
    browser.open(&server.url("/"));
    let link = browser.wait_for("a link to the film's page", |browser| {
        browser.value("document.querySelector('a[href$=\"?play\"]')?.href").as_str().map(str::to_owned)
    });
    assert_eq!(link, server.url("/film.mp4?play"));
    browser.open(&link);
    assert_eq!(browser.plays().size, (640, 360));
    server.wait_for_line("GET /film.mp4 206 ");
}

/// What a player was seen to play.
struct Played {
    from: f64,
    size: (u64, u64),
}

/// A Chromium without a window, with one page.
pub(crate) struct Browser {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    calls: u64,
    _profile: Folder,
}

impl Browser {
    pub(crate) fn start(chromium: Command) -> Self {
        let profile = Folder::new();
        // Chromium reads messages from descriptor 3 and writes them to 4.
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh"]).arg(chromium.get_program());
        for (name, value) in chromium.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.env("HOME", profile.path()).env("TMPDIR", profile.path());
        shell.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        shell.args(["--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"]);
        shell.args(["--disable-sync", "--disable-extensions", "--no-proxy-server", "--mute-audio"]);
        shell.args(["--autoplay-policy=no-user-gesture-required", "--remote-debugging-pipe"]);
        // It may connect to this machine only.
        shell.arg("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1");
        shell.arg(format!("--user-data-dir={}", profile.at("profile").display()));
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = shell.process_group(0).spawn().expect("there is a shell");
        let to = process.stdin.take().expect("it is piped");
        let from = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut browser = Self { process, to, from, session: None, calls: 0, _profile: profile };
        let page = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": page["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        browser
    }

    pub(crate) fn open(&mut self, url: &str) {
        let opened = self.call("Page.navigate", json!({"url": url}));
        assert!(opened.get("errorText").is_none(), "{url}: {opened}");
    }

    /// The value of an expression of JavaScript.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let evaluate = json!({"expression": expression, "returnByValue": true});
        self.call("Runtime.evaluate", evaluate)["result"]["value"].take()
    }

    /// Waits until the page's video has played for a second.
    fn plays(&mut self) -> Played {
        let from = self.wait_for("a picture", |browser| Some(browser.video()?.0).filter(|time| *time > 0.0));
        self.wait_for("a second of it", |browser| {
            let (time, size) = browser.video()?;
            (time >= from + 1.0).then_some(Played { from, size })
        })
    }

    /// The video's position in seconds and the size of its picture. None: it has no picture yet.
    fn video(&mut self) -> Option<(f64, (u64, u64))> {
        let state = self.value(
            "(() => { const video = document.querySelector('video'); return video && { time: video.currentTime, \
             width: video.videoWidth, height: video.videoHeight, ready: video.readyState, \
             error: video.error && video.error.message } })()",
        );
        assert!(state["error"].is_null(), "{state}");
        let size = (state["width"].as_u64()?, state["height"].as_u64()?);
        (state["ready"].as_u64()? >= 2).then_some((state["time"].as_f64()?, size))
    }

    pub(crate) fn wait_for<T>(&mut self, what: &str, find: impl Fn(&mut Self) -> Option<T>) -> T {
        let until = Instant::now() + A_WHILE;
        loop {
            if let Some(found) = find(self) {
                return found;
            }
            assert!(Instant::now() < until, "{what}: not within {A_WHILE:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut message = json!({"id": self.calls, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).expect("the browser is there");
        loop {
            let mut bytes = Vec::new();
            self.from.read_until(0, &mut bytes).expect("a pipe can be read");
            assert_eq!(bytes.pop(), Some(0), "the browser is still there");
            // What it reports by itself has no number.
            let mut message: Value = serde_json::from_slice(&bytes).expect("messages are JSON");
            if message["id"] == self.calls {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].take();
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // All that it has started is in its group.
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.process), Signal::KILL);
        let _ = self.process.wait();
    }
}
