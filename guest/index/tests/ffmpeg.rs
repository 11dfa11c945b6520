//! Streams made by FFmpeg, joined in the middle: what a late viewer gets decodes without a complaint, and
//! begins with a key frame.

#[path = "support/player.rs"]
mod player;
#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use multiclient_index::Limits;
use player::{ANYWHERE, Case, decode};
use support::{Host, LARGEST_PIECE};

const H264: &str = "-c:v libx264 -preset ultrafast -bf 2 -g 25 -pix_fmt yuv420p";
const AAC: &str = "-c:a aac -b:a 64k";

#[test]
fn late_viewers_of_mpeg_ts_decode_everything() {
    let case = |arguments: &'static str| Case {
        arguments,
        format: "mpeg-ts",
        media_type: "video/mp2t",
        has_video: true,
        joins: 5..=7,
    };
    check(&case("-c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p -c:a aac -f mpegts"));
    check(&case("-c:v libx264 -preset veryfast -bf 3 -g 25 -c:a mp2 -f mpegts"));
    check(&case("-c:v libx265 -preset ultrafast -x265-params keyint=25:log-level=none -c:a aac -f mpegts"));
    check(&case("-c:v mpeg2video -bf 2 -g 25 -c:a ac3 -f mpegts"));
    check(&Case { has_video: false, joins: ANYWHERE, ..case("-vn -c:a aac -f mpegts") });
}

/// Open GOPs: only the first key frame is an IDR picture, which is where copying puts the parameter sets.
const OPEN: &str = "-c:v libx264 -preset veryfast -pix_fmt yuv420p \
                    -x264-params open-gop=1:keyint=25:min-keyint=25:scenecut=0:bframes=2:b-pyramid=none";

#[test]
fn late_viewers_of_copied_mpeg_ts_get_parameter_sets() {
    if !has_ffmpeg() {
        return;
    }
    let closed = "-c:v libx264 -preset ultrafast -bf 2 -g 25 -pix_fmt yuv420p";
    for (encoding, copying, prefaces) in [
        (OPEN, "", 5),
        (OPEN, "-bsf:v h264_mp4toannexb", 5),
        (OPEN, "-bsf:v h264_mp4toannexb,dump_extra=freq=keyframe", 0),
        (closed, "", 0),
        (closed, "-bsf:v h264_mp4toannexb", 0),
    ] {
        let film = encode(&format!("{encoding} -c:a aac -f matroska"));
        let arguments = format!("{copying} -f mpegts");
        let output = player::run("ffmpeg", &format!("-v error -i - -c copy {arguments} -"), &film);
        check_parameter_sets(&format!("{encoding} {arguments}"), &output.stdout, prefaces);
    }
}

#[test]
fn late_viewers_of_mpeg_ts_with_parameter_sets_only_at_its_beginning_get_them() {
    if !has_ffmpeg() {
        return;
    }
    // A parameter set, and anything that is shown.
    type Kind = fn(u8) -> bool;
    let h264: (Kind, Kind) = (|first| matches!(first & 0x1F, 7 | 8), |first| first & 0x1F <= 5);
    let h265: (Kind, Kind) = (|first| matches!(first >> 1, 32..=34), |first| first >> 1 < 32);
    let x264 = "-an -c:v libx264 -preset ultrafast -bf 0 -g 25 -pix_fmt yuv420p -x264-params aud=1";
    let x265 = "-an -c:v libx265 -preset ultrafast \
                -x265-params aud=1:bframes=0:keyint=25:min-keyint=25:scenecut=0:log-level=none";
    for (arguments, format, (is_set, is_shown)) in [(x264, "h264", h264), (x265, "hevc", h265)] {
        let elementary = encode(&format!("{arguments} -f {format}"));
        let stripped = only_at_the_beginning(&elementary, is_set, is_shown);
        assert!(stripped.len() < elementary.len(), "{arguments}");
        let copying = format!("-v error -fflags +genpts -r 25 -f {format} -i - -c copy -f mpegts -");
        let source = player::run("ffmpeg", &copying, &stripped).stdout;
        check_parameter_sets(arguments, &source, 5);
    }
}

#[test]
fn a_stream_without_parameter_sets_has_no_places_to_join() {
    if !has_ffmpeg() {
        return;
    }
    let source = encode("-an -c:v libx264 -preset ultrafast -g 25 -x264-params repeat-headers=0 -f mpegts");
    let runs = Host::of(&source, Limits::default(), [LARGEST_PIECE]).runs();
    assert_eq!(runs[0].joins, []);
}

/// A stream of NAL units without those of a kind, except the ones before the first that is shown.
fn only_at_the_beginning(stream: &[u8], is_set: fn(u8) -> bool, is_shown: fn(u8) -> bool) -> Vec<u8> {
    let starts: Vec<_> = (0..stream.len() - 3).filter(|at| stream[*at..].starts_with(&[0, 0, 1])).collect();
    let ends = starts[1..].iter().copied().chain([stream.len()]);
    let mut shown = false;
    let mut kept = Vec::new();
    for (start, end) in starts.iter().zip(ends) {
        let first = stream[start + 3];
        if !(shown && is_set(first)) {
            kept.extend_from_slice(&stream[*start..end]);
        }
        shown |= is_shown(first);
    }
    kept
}

/// Checks a transport stream in which so many places to join lack parameter sets: what goes before them makes up
/// for it, and belongs to their first frame.
fn check_parameter_sets(arguments: &str, source: &[u8], prefaces: usize) {
    let case = Case { arguments, format: "mpeg-ts", media_type: "video/mp2t", has_video: true, joins: 6..=6 };
    player::check(&case, source);
    let host = Host::of(source, Limits::default(), [LARGEST_PIECE]);
    let run = &host.runs()[0];
    assert_eq!(run.joins.iter().filter(|join| !join.preface.is_empty()).count(), prefaces, "{arguments}");
    for join in run.joins.iter().skip(1) {
        let times = |stream: &[u8], all: &str| {
            let select = "-v error -select_streams v:0 -show_entries packet=pts,dts -of csv=p=0";
            let output = player::run("ffprobe", &format!("{select} {all} -"), stream);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let first = times(&host.composed(run, join), "-read_intervals %+#1").remove(0);
        assert!(!first.contains("N/A"), "{arguments}, joined at {}: a frame without times", join.offset);
        assert!(times(source, "").contains(&first), "{arguments}, joined at {}: {first}", join.offset);
    }
}

#[test]
fn late_viewers_of_fragmented_mp4_decode_everything() {
    let case = |arguments: &str| {
        check(&Case { arguments, format: "mp4", media_type: "video/mp4", has_video: true, joins: 5..=7 });
    };
    for flags in [
        "frag_keyframe+empty_moov",
        "frag_keyframe+empty_moov+default_base_moof",
        "frag_keyframe+empty_moov+separate_moof",
        "cmaf+frag_keyframe",
        "dash+frag_keyframe+empty_moov",
    ] {
        case(&format!("{H264} {AAC} -movflags {flags} -f mp4"));
    }
    case(&format!("{H264} {AAC} -movflags empty_moov+default_base_moof -frag_duration 200000 -f mp4"));
    case(&format!(
        "-c:v libx265 -preset ultrafast -x265-params keyint=25:log-level=none {AAC} -movflags frag_keyframe+empty_moov -f mp4"
    ));
    let arguments = "-vn -c:a aac -movflags empty_moov -frag_duration 500000 -f mp4";
    check(&Case { arguments, format: "mp4", media_type: "audio/mp4", has_video: false, joins: ANYWHERE });
}

#[test]
fn late_viewers_of_matroska_decode_everything() {
    let case = |arguments: &str, format: &str, media_type: &str| {
        check(&Case { arguments, format, media_type, has_video: true, joins: 5..=7 });
    };
    case(&format!("{H264} {AAC} -f matroska"), "matroska", "video/matroska");
    case(&format!("{H264} -c:a flac -live 1 -f matroska"), "matroska", "video/matroska");
    let vp8 = "-c:v libvpx -deadline realtime -cpu-used 8 -g 25 -c:a libvorbis";
    case(&format!("{vp8} -f webm"), "webm", "video/webm");
    case(&format!("{vp8} -cluster_size_limit 20000 -f webm"), "webm", "video/webm");
    case("-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 25 -c:a libopus -f webm", "webm", "video/webm");
    let (arguments, media_type) = ("-vn -c:a libopus -cluster_time_limit 500 -f webm", "audio/webm");
    check(&Case { arguments, format: "webm", media_type, has_video: false, joins: ANYWHERE });
}

#[test]
fn late_viewers_of_ogg_decode_everything() {
    let case = |arguments: &str| {
        let media_type = "audio/ogg";
        check(&Case { arguments, format: "ogg", media_type, has_video: false, joins: 3..=2_000 });
    };
    case("-vn -c:a libvorbis -f ogg");
    case("-vn -c:a libvorbis -page_duration 100000 -f ogg");
    case("-vn -c:a libopus -f ogg");
    case("-vn -c:a libopus -page_duration 20000 -f opus");
    case("-vn -c:a flac -f ogg");
    for arguments in ["-c:v libtheora -g 25 -c:a libvorbis -f ogg", "-c:v libvpx -deadline realtime -g 25 -an -f ogg"] {
        check(&Case { arguments, format: "ogg", media_type: "video/ogg", has_video: true, joins: 5..=7 });
    }
}

#[test]
fn late_viewers_of_flv_decode_everything() {
    let (format, media_type) = ("flv", "video/x-flv");
    for arguments in [&format!("{H264} {AAC} -f flv"), "-c:v flv -g 25 -c:a libmp3lame -ar 44100 -f flv"] {
        check(&Case { arguments, format, media_type, has_video: true, joins: 5..=7 });
    }
    check(&Case { arguments: "-vn -c:a aac -f flv", format, media_type, has_video: false, joins: ANYWHERE });
}

#[test]
fn late_listeners_decode_everything() {
    for (arguments, format, media_type) in [
        ("-vn -c:a flac -f flac", "flac", "audio/flac"),
        ("-vn -c:a aac -f adts", "adts", "audio/aac"),
        ("-vn -c:a libmp3lame -f mp3", "mpeg-audio", "audio/mpeg"),
        ("-vn -c:a mp2 -f mp2", "mpeg-audio", "audio/mpeg"),
        ("-vn -c:a pcm_s16le -ac 2 -f wav", "wav", "audio/wav"),
        ("-vn -c:a pcm_s32le -ac 1 -rf64 always -f wav", "wav", "audio/wav"),
    ] {
        check(&Case { arguments, format, media_type, has_video: false, joins: ANYWHERE });
    }
}

#[test]
fn late_viewers_of_pictures_decode_everything() {
    for (arguments, format, media_type) in [
        ("-an -c:v mjpeg -f mjpeg", "motion-jpeg", "video/x-motion-jpeg"),
        ("-an -c:v mjpeg -f mpjpeg", "multipart", "multipart/x-mixed-replace; boundary=ffmpeg"),
    ] {
        check(&Case { arguments, format, media_type, has_video: true, joins: 150..=151 });
    }
}

#[test]
fn pictures_are_told_without_the_help_of_the_multiplexer() {
    if !has_ffmpeg() {
        return;
    }
    for arguments in [
        "-c:v libx264 -preset ultrafast -bf 2 -g 25 -pix_fmt yuv420p -c:a aac -f mpegts",
        "-c:v libx264 -preset veryfast -g 25 -x264-params open-gop=1 -an -f mpegts",
        "-c:v libx265 -preset ultrafast -x265-params keyint=25:log-level=none -an -f mpegts",
        "-c:v mpeg2video -bf 2 -g 25 -c:a mp2 -f mpegts",
    ] {
        let mut source = encode(arguments);
        let told = Host::of(&source, Limits::default(), [LARGEST_PIECE]).runs().remove(0).joins;
        for packet in source.chunks_mut(188) {
            // The random access indicator of a packet that has an adaptation field.
            if packet[3] & 0x20 != 0 && packet[4] > 0 {
                packet[5] &= !0x40;
            }
        }
        let seen = Host::of(&source, Limits::default(), [LARGEST_PIECE]).runs().remove(0).joins;
        assert_eq!(seen, told, "{arguments}");
    }
}

#[test]
fn viewers_of_a_second_producer_decode_everything() {
    if !has_ffmpeg() {
        return;
    }
    let aac = "-c:a aac -b:a 64k";
    for (first, second) in [
        (
            format!("{H264} {aac} -movflags frag_keyframe+empty_moov -f mp4"),
            "-c:v libx264 -preset ultrafast -g 10 -an -movflags frag_keyframe+empty_moov -f mp4",
        ),
        (format!("{H264} {aac} -f matroska"), "-c:v libx264 -preset ultrafast -g 10 -an -f matroska"),
        (format!("{H264} {aac} -f flv"), "-c:v libx264 -preset ultrafast -g 10 -an -f flv"),
        ("-vn -c:a flac -f flac".into(), "-vn -ac 2 -c:a flac -f flac"),
        ("-vn -c:a libvorbis -f ogg".into(), "-vn -ac 2 -c:a libopus -f ogg"),
    ] {
        let first = encode(&first);
        let host =
            Host::of(&[&first[..first.len() * 2 / 3], &encode(second)].concat(), Limits::default(), [LARGEST_PIECE]);
        let runs = host.runs();
        assert_eq!(runs.len(), 2, "{second}");
        let join = &runs[1].joins[runs[1].joins.len() / 2];
        let case = Case { arguments: second, format: "", media_type: "", has_video: false, joins: ANYWHERE };
        assert_eq!(decode(&case, &host.composed(&runs[1], join)), "", "{second}");
    }
}

/// Encodes six seconds, joins them, and decodes what comes of it.
fn check(case: &Case<'_>) {
    if has_ffmpeg() {
        player::check(case, &encode(case.arguments));
    }
}

fn has_ffmpeg() -> bool {
    player::has(&["ffmpeg", "ffprobe"], "ffmpeg")
}

fn encode(arguments: &str) -> Vec<u8> {
    let inputs =
        "-v error -f lavfi -i testsrc=size=320x240:rate=25 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 6";
    let output = player::run("ffmpeg", &format!("{inputs} {arguments} -"), &[]);
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(!output.stdout.is_empty(), "{arguments}");
    output.stdout
}
