//! Players of files: FFmpeg and mpv.

use crate::film::{beside, film};

use support::{Folder, Server, require, run, same};

#[test]
fn ffprobe_finds_the_index_at_the_end() {
    let (Some(mut ffprobe), Some(film)) = (require("ffprobe"), film()) else { return };
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
    let (Some(_), Some(film)) = (require("ffmpeg"), film()) else { return };
    let folder = Folder::new();
    let server = Server::start(beside(film, &folder, "film.mp4"), &[]);
    let frame = |of: &str, second: &str| {
        let mut ffmpeg = require("ffmpeg").expect("it was found a moment ago");
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
    let (Some(_), Some(film)) = (require("ffmpeg"), film()) else { return };
    let folder = Folder::new();
    let server = Server::start(beside(film, &folder, "film.mp4"), &[]);
    let hash = |of: &str| {
        let mut ffmpeg = require("ffmpeg").expect("it was found a moment ago");
        ffmpeg.args(["-v", "error", "-nostdin", "-i", of, "-map", "0", "-c", "copy", "-f", "hash", "-"]);
        run(&mut ffmpeg).stdout
    };
    same(&hash(&server.url("/film.mp4")), &hash(film.to_str().expect("a plain name")));
}

#[test]
fn mpv_seeks_and_plays() {
    let (Some(mut mpv), Some(film)) = (require("mpv"), film()) else { return };
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
