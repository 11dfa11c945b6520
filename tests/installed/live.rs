//! Live media with real producers and players.

use std::io;
use std::process::{Command, Stdio};
use std::thread;

use support::live::{Viewer, fed, server_of};
use support::make_fifo;
use support::{A_WHILE, Background, Folder, Server, eventually, require, run, run_within, same, skip};

pub(crate) fn ffmpeg() -> Option<Command> {
    require("ffmpeg").map(|mut ffmpeg| {
        ffmpeg.args(["-v", "error", "-nostdin"]);
        ffmpeg
    })
}

/// Makes FFmpeg produce a film of this many seconds, with an entry point each second.
fn picture(ffmpeg: &mut Command, seconds: u32) {
    ffmpeg.args(["-f", "lavfi", "-i", &format!("testsrc2=size=320x180:rate=25:duration={seconds}")]);
    ffmpeg.args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-pix_fmt", "yuv420p"]);
    ffmpeg.args(["-b:v", "800k", "-threads", "1"]);
}

/// The checksums of all pictures that FFmpeg decodes from there.
fn pictures(url: &str, flags: &[&str]) -> Vec<String> {
    let mut ffmpeg = ffmpeg().expect("it was found a moment ago");
    let output = run(ffmpeg.args(flags).args(["-i", url, "-map", "0:v", "-f", "framecrc", "-"]));
    let text = String::from_utf8(output.stdout).expect("checksums are text");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().unwrap_or_default().trim().to_owned()).collect()
}

#[test]
fn several_players_watch_what_ffmpeg_produces() {
    let Some(mut producer) = ffmpeg() else { return };
    let (reader, writer) = io::pipe().expect("there are descriptors left");
    let server = server_of(reader, &["--burst", "64K"]);
    let url = server.url("/live.ts");
    let mut probe = Viewer::of(&server, "/live.ts");
    let players = thread::scope(|scope| {
        let watch = || scope.spawn(|| pictures(&url, &[]));
        let mut players = vec![watch()];
        producer.arg("-re");
        picture(&mut producer, 6);
        producer.args(["-f", "mpegts", "-flush_packets", "1", "-"]).stdin(Stdio::null()).stdout(writer);
        let mut running = producer.stderr(Stdio::null()).spawn().expect("an installed program can be run");
        drop(producer);
        for count in [150_000, 300_000] {
            probe.until(count);
            players.push(watch());
        }
        assert!(running.wait().is_ok_and(|status| status.success()), "the producer has done its work");
        players.into_iter().map(|player| player.join().expect("a player ends")).collect::<Vec<_>>()
    });
    first_picture_to_last(&players, 150);
    assert!(!probe.all().is_empty(), "the probe saw it as well");
    // Who plays what is over plays it whole.
    assert_eq!(pictures(&url, &[]).len(), 150);
}

/// The first player has seen all; the others have decoded the same pictures, each from some point on. What
/// comes before the first entry point is of no use to a decoder, which may complain of it; a gap or
/// damage after it would change a checksum.
fn first_picture_to_last(players: &[Vec<String>], all: usize) {
    let whole = &players[0];
    assert_eq!(whole.len(), all, "who was there first has decoded all");
    for player in &players[1..] {
        assert!(player.len() >= 25, "a second at least: {}", player.len());
        assert!(player.len() < all, "it came late");
        assert!(whole.ends_with(player), "the same {} pictures", player.len());
    }
}

#[test]
fn a_killed_producer_can_be_restarted() {
    let Some(_) = ffmpeg() else { return };
    let folder = Folder::new();
    let path = folder.at("live.ts");
    make_fifo(&path);
    let server = Server::start(&path, &["--burst", "64K"]);
    for life in 1..=2 {
        let viewer = Viewer::of(&server, "/live.ts");
        let mut producer = ffmpeg().expect("it was found a moment ago");
        producer.args(["-re"]);
        picture(&mut producer, 60);
        let producer = Background::start(producer.args(["-y", "-f", "mpegts"]).arg(&path));
        let mut viewer = viewer;
        viewer.until(50_000);
        // By a signal that lets it say nothing more.
        drop(producer);
        viewer.until_end();
        assert_eq!(viewer.got[0], 0x47, "a life begins with a packet");
        server.wait_for_lines(life, "source ended, and waits for its next writer");
    }
}

#[test]
fn mpv_and_curl_watch_a_pipe() {
    let (Some(mut mpv), Some(mut curl), Some(mut producer)) = (require("mpv"), require("curl"), ffmpeg()) else {
        return;
    };
    let (server, mut writer) = fed(&["--hold"]);
    picture(&mut producer, 3);
    let film = run(producer.args(["-f", "mpegts", "-"])).stdout;
    let folder = Folder::new();
    let url = server.url("/live.ts");
    let (mpv, curl) = thread::scope(|scope| {
        mpv.env("HOME", folder.path()).env("TMPDIR", folder.path());
        mpv.args(["--no-config", "--vo=null", "--ao=null", "--ytdl=no", "--untimed", "--no-cache"]);
        let mpv = mpv.arg("--term-status-msg=frame=${estimated-frame-number}").arg(&url);
        let mpv = scope.spawn(|| run_within(A_WHILE, mpv));
        let curl = scope.spawn(|| run(curl.args(["-q", "--silent", "--show-error", "--fail", "--no-buffer", &url])));
        // Both are there before the first byte.
        server.wait_for_clients(2, 0);
        writer.write(&film);
        drop(writer);
        (mpv.join().expect("mpv ends"), curl.join().expect("curl ends"))
    });
    same(&curl.stdout, &film);
    assert!(mpv.status.success(), "{}", String::from_utf8_lossy(&mpv.stdout));
    let said = String::from_utf8_lossy(&mpv.stdout).into_owned() + &String::from_utf8_lossy(&mpv.stderr);
    let frames = said
        .split("frame=")
        .skip(1)
        .filter_map(|rest| rest.split(|byte: char| !byte.is_ascii_digit()).next()?.parse::<u32>().ok());
    assert!(frames.max().is_some_and(|most| most >= 70), "{said}");
}

#[test]
fn a_playlist_plays_while_it_is_written() {
    let Some(mut producer) = ffmpeg() else { return };
    let folder = Folder::new();
    let server = Server::start(folder.path(), &[]);
    producer.arg("-re");
    picture(&mut producer, 5);
    producer.args(["-f", "hls", "-hls_time", "1", "-hls_list_size", "0", "-hls_playlist_type", "event"]);
    let producer = Background::start(producer.arg(folder.at("live.m3u8")));
    eventually("there is something to play", || folder.at("live1.ts").exists() && folder.at("live.m3u8").exists());
    let playlist = server.get("/live.m3u8");
    assert_eq!((playlist.status(), playlist.expect_field("Cache-Control")), (200, "no-cache"));
    let next = server.get("/live99.ts");
    assert_eq!((next.status(), next.expect_field("Cache-Control")), (404, "no-store"));
    let played = pictures(&server.url("/live.m3u8"), &["-live_start_index", "0"]);
    assert_eq!(played.len(), 125, "all of five seconds");
    drop(producer);
}

#[test]
fn a_dash_folder_plays() {
    let Some(mut producer) = ffmpeg() else { return };
    let demuxers = run(Command::new("ffmpeg").args(["-v", "error", "-demuxers"])).stdout;
    if !String::from_utf8_lossy(&demuxers).contains(" dash ") {
        return skip("ffmpeg-dash", "this ffmpeg does not read DASH");
    }
    let folder = Folder::new();
    let server = Server::start(folder.path(), &[]);
    picture(&mut producer, 4);
    run(producer.args(["-f", "dash", "-seg_duration", "1"]).arg(folder.at("live.mpd")));
    let manifest = server.get("/live.mpd");
    assert_eq!((manifest.status(), manifest.expect_field("Cache-Control")), (200, "no-cache"));
    assert_eq!(pictures(&server.url("/live.mpd"), &[]).len(), 100, "all of four seconds");
}
