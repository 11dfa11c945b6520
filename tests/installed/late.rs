//! Viewers that join a stream of FFmpeg late: header first, then a key frame, and nothing that a decoder
//! complains of.

use std::fs;
use std::path::Path;

use support::live::{Viewer, fed};
use support::{Folder, require, run};

use crate::live::ffmpeg;

/// A stream as FFmpeg produces it.
struct Produced {
    media: Media,
    /// The arguments that say how it is encoded, and in which format.
    arguments: &'static str,
    /// What a viewer's stream begins with.
    magic: &'static [u8],
    media_type: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Media {
    Video,
    Audio,
}

const H264: &str = "-c:v libx264 -preset ultrafast -tune zerolatency -b:v 800k";

/// Ten seconds, with a key frame each second.
fn produce(produced: &Produced, encoding: &str) -> Vec<u8> {
    let mut ffmpeg = ffmpeg().expect("it was found a moment ago");
    let input = match produced.media {
        Media::Video => "testsrc2=size=320x180:rate=25:duration=10",
        Media::Audio => "anoisesrc=duration=10:seed=1:sample_rate=44100",
    };
    ffmpeg.args(["-f", "lavfi", "-i", input, "-threads", "1", "-g", "25", "-pix_fmt", "yuv420p"]);
    ffmpeg.args(encoding.split_whitespace()).args(produced.arguments.split_whitespace());
    run(ffmpeg.args(["-flush_packets", "1", "-"])).stdout
}

/// What somebody gets who comes when half of this film has come.
fn watch_late(film: &[u8], media_type: &str) -> Vec<u8> {
    let (server, mut writer) = fed(&["--burst", "64K"]);
    let mut first = Viewer::of(&server, "/live.ts");
    writer.write(&film[..film.len() * 3 / 4]);
    // The index may still hold back what it has not seen the end of.
    first.until(film.len() / 2);
    let late = Viewer::of(&server, "/live.ts");
    assert_eq!(late.header.expect_field("Content-Type"), media_type);
    writer.write(&film[film.len() * 3 / 4..]);
    drop(writer);
    assert_eq!(first.all().len(), film.len(), "who was there first gets all of it");
    late.all()
}

/// Checksums of what FFmpeg reads from a file: of decoded pictures, or of the packets of sound, whose samples
/// depend on what came before. It complains of nothing.
fn checksums(path: &Path, media: Media) -> Vec<String> {
    let read = |arguments: &str| {
        let mut ffmpeg = ffmpeg().expect("it was found a moment ago");
        let output = run(ffmpeg.arg("-xerror").arg("-i").arg(path).args(arguments.split_whitespace()));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}: a decoder complains", path.display());
        String::from_utf8(output.stdout).expect("checksums are text")
    };
    let decoded = read("-map 0 -f framecrc -");
    let text = if media == Media::Video { decoded } else { read("-map 0 -c copy -f framecrc -") };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    // The sixth column; what follows tells how many samples a player leaves out.
    lines.map(|line| line.split(',').nth(5).unwrap_or_default().trim().to_owned()).collect()
}

/// The flags of the first packet of a file, as `K__` of a key frame.
fn first_flags(path: &Path) -> String {
    let mut ffprobe = require("ffprobe").expect("it comes with FFmpeg");
    ffprobe.args(["-v", "error", "-show_entries", "packet=flags", "-of", "csv=p=0", "-read_intervals", "%+#1"]);
    let output = run(ffprobe.arg(path));
    String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()
}

fn check(encoding: &str, produced: &Produced) {
    if ffmpeg().is_none() {
        return;
    }
    let film = produce(produced, encoding);
    let got = watch_late(&film, produced.media_type);
    assert!(got.len() < film.len() * 3 / 4, "it came late: {} of {}", got.len(), film.len());
    let begins = got.windows(produced.magic.len()).take(5).any(|bytes| bytes == produced.magic);
    assert!(begins, "a header comes first: {}", got[..16].escape_ascii());
    let folder = Folder::new();
    let (whole, late) = (folder.at("whole"), folder.at("late"));
    fs::write(&whole, film).expect("a file can be written");
    fs::write(&late, got).expect("a file can be written");
    let flags = first_flags(&late);
    assert!(flags.starts_with('K'), "the first frame is a key frame: {flags:?}");
    let (whole, late) = (checksums(&whole, produced.media), checksums(&late, produced.media));
    assert!(late.len() >= 25 && late.len() < whole.len(), "{} frames of {}", late.len(), whole.len());
    assert!(whole.ends_with(&late), "the last {} frames of {}", late.len(), whole.len());
}

#[test]
fn a_transport_stream_is_joined_late() {
    let media_type = "video/mp2t";
    check(H264, &Produced { media: Media::Video, arguments: "-f mpegts", magic: b"\x47\x40\x00", media_type });
}

#[test]
fn fragmented_mp4_is_joined_late() {
    let arguments = "-movflags frag_keyframe+empty_moov+default_base_moof -f mp4";
    check(H264, &Produced { media: Media::Video, arguments, magic: b"ftyp", media_type: "video/mp4" });
}

#[test]
fn webm_is_joined_late() {
    let (vp8, magic) = ("-c:v libvpx -deadline realtime -cpu-used 8 -b:v 800k", b"\x1A\x45\xDF\xA3");
    check(vp8, &Produced { media: Media::Video, arguments: "-f webm", magic, media_type: "video/webm" });
}

#[test]
fn matroska_is_joined_late() {
    let magic = b"\x1A\x45\xDF\xA3";
    check(H264, &Produced { media: Media::Video, arguments: "-f matroska", magic, media_type: "video/matroska" });
}

#[test]
fn flv_is_joined_late() {
    check(H264, &Produced { media: Media::Video, arguments: "-f flv", magic: b"FLV", media_type: "video/x-flv" });
}

#[test]
fn ogg_is_joined_late() {
    let (theora, magic) = ("-c:v libtheora -b:v 800k", b"OggS");
    check(theora, &Produced { media: Media::Video, arguments: "-f ogg", magic, media_type: "video/ogg" });
    let vorbis = "-c:a libvorbis -q:a 10";
    check(vorbis, &Produced { media: Media::Audio, arguments: "-f ogg", magic, media_type: "audio/ogg" });
}

#[test]
fn flac_is_joined_late() {
    let media_type = "audio/flac";
    check("-c:a flac", &Produced { media: Media::Audio, arguments: "-f flac", magic: b"fLaC", media_type });
}
