//! Streams made by GStreamer, whose muxers write other forms than FFmpeg's: late viewers decode them, too.

#[path = "support/player.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod player;
#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use player::{ANYWHERE, Case};

/// Six seconds with a key frame every second.
const VIDEO: &str = "videotestsrc num-buffers=150 ! video/x-raw,width=320,height=240,framerate=25/1";
const AUDIO: &str = "audiotestsrc num-buffers=280 ! audio/x-raw,rate=48000,channels=1";
const H264: &str = "x264enc key-int-max=25 tune=zerolatency speed-preset=ultrafast ! h264parse";
const AAC: &str = "avenc_aac ! aacparse";

#[test]
fn late_viewers_decode_everything() {
    for (muxer, video, audio, format, media_type) in [
        // Clusters of unknown size.
        ("webmmux streamable=true", "vp8enc keyframe-max-dist=25 deadline=1", "vorbisenc", "webm", "video/webm"),
        ("matroskamux streamable=true", H264, "opusenc", "matroska", "video/matroska"),
        ("mpegtsmux", H264, AAC, "mpeg-ts", "video/mp2t"),
        // A fragment for each track.
        ("mp4mux fragment-duration=1000 streamable=true", H264, AAC, "mp4", "video/mp4"),
        ("flvmux streamable=true", H264, AAC, "flv", "video/x-flv"),
        ("oggmux", "theoraenc keyframe-force=25", "vorbisenc", "ogg", "video/ogg"),
        ("oggmux skeleton=true", "theoraenc keyframe-force=25", "vorbisenc", "ogg", "video/ogg"),
    ] {
        let pipeline = format!("{muxer} name=m {VIDEO} ! {video} ! m. {AUDIO} ! {audio} ! m. m.");
        check(&Case { arguments: &pipeline, format, media_type, has_video: true, joins: 5..=7 });
    }
    let (format, media_type) = ("ogg", "audio/ogg");
    for encoder in ["speexenc", "flacenc"] {
        let pipeline = format!("{AUDIO} ! {encoder} ! oggmux");
        check(&Case { arguments: &pipeline, format, media_type, has_video: false, joins: ANYWHERE });
    }
}

/// Makes a stream, joins it, and decodes what comes of it.
fn check(case: &Case<'_>) {
    let package = "ffmpeg gstreamer1.0-tools gstreamer1.0-libav gstreamer1.0-plugins-{base,good,bad,ugly}";
    if !player::has(&["gst-launch-1.0", "ffmpeg", "ffprobe"], package) {
        return;
    }
    let output = player::run("gst-launch-1.0", &format!("-q {} ! fdsink fd=1", case.arguments), &[]);
    assert!(output.status.success(), "{}: {}", case.arguments, String::from_utf8_lossy(&output.stderr));
    player::check(case, &output.stdout);
}
