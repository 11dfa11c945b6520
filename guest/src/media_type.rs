//! What a source is, judged by the ending of its name.
//!
//! Rule: media first. What players ask for is here in full, what else people keep beside it as far as it
//! is common; the rest is `application/octet-stream`, which nobody misreads.

use crate::text::{split_once, trim};

/// The type of bytes of which nothing is known.
pub(crate) const UNKNOWN: &str = "application/octet-stream";

/// The longest ending in the table.
const LONGEST: usize = 11;

/// The media type of a name, with the charset where one is needed.
pub(crate) fn of(name: &[u8]) -> &'static str {
    let ending = ending(name);
    let mut lower = [0; LONGEST];
    let Some(lower) = lower.get_mut(..ending.len()) else {
        return UNKNOWN;
    };
    lower.copy_from_slice(ending);
    lower.make_ascii_lowercase();
    of_ending(lower)
}

/// What follows the last dot of the last segment. Empty: there is no dot, or only one in front.
fn ending(name: &[u8]) -> &[u8] {
    let last = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    match last.iter().rposition(|byte| *byte == b'.') {
        Some(dot) if dot > 0 => &last[dot + 1..],
        _ => b"",
    }
}

fn of_ending(ending: &[u8]) -> &'static str {
    if ending.is_empty() || ending == b"bin" {
        return UNKNOWN;
    }
    let subjects = [containers, streams, segmented, subtitles, pictures, pages, documents];
    subjects.iter().find_map(|subject| subject(ending)).unwrap_or(UNKNOWN)
}

/// Files that hold several streams.
fn containers(ending: &[u8]) -> Option<&'static str> {
    Some(match ending {
        b"mp4" | b"m4v" | b"mp4v" | b"f4v" => "video/mp4",
        b"m4a" | b"f4a" | b"m4b" => "audio/mp4",
        b"mov" | b"qt" => "video/quicktime",
        b"webm" => "video/webm",
        b"mkv" => "video/matroska",
        b"mk3d" => "video/matroska-3d",
        b"mka" => "audio/matroska",
        // MPEG-TS; a TypeScript source is not something one plays.
        b"ts" | b"m2ts" | b"mts" => "video/mp2t",
        b"mpg" | b"mpeg" | b"mpe" | b"m1v" | b"m2v" | b"vob" => "video/mpeg",
        b"ogv" => "video/ogg",
        b"ogx" => "application/ogg",
        b"avi" => "video/x-msvideo",
        b"flv" => "video/x-flv",
        b"wmv" => "video/x-ms-wmv",
        b"asf" | b"asx" => "video/x-ms-asf",
        b"3gp" | b"3gpp" => "video/3gpp",
        b"3g2" => "video/3gpp2",
        b"mjpg" | b"mjpeg" => "video/x-motion-jpeg",
        b"y4m" => "video/x-yuv4mpeg",
        _ => return None,
    })
}

/// One stream and nothing around it.
fn streams(ending: &[u8]) -> Option<&'static str> {
    Some(match ending {
        b"h264" | b"264" | b"avc" => "video/h264",
        b"h265" | b"265" | b"hevc" => "video/h265",
        b"av1" | b"obu" => "video/av1",
        b"mp3" | b"mp2" | b"mp1" | b"mpga" => "audio/mpeg",
        b"aac" | b"adts" => "audio/aac",
        b"ac3" => "audio/ac3",
        b"ec3" | b"eac3" => "audio/eac3",
        b"dts" => "audio/vnd.dts",
        b"flac" => "audio/flac",
        b"opus" | b"ogg" | b"oga" | b"spx" => "audio/ogg",
        b"wav" | b"wave" => "audio/wav",
        b"weba" => "audio/webm",
        b"aif" | b"aiff" | b"aifc" => "audio/aiff",
        b"amr" => "audio/amr",
        b"wma" => "audio/x-ms-wma",
        b"mid" | b"midi" => "audio/midi",
        b"ape" => "audio/x-ape",
        b"au" | b"snd" => "audio/basic",
        _ => return None,
    })
}

/// HLS, DASH, CMAF, Smooth Streaming, and other lists of films.
fn segmented(ending: &[u8]) -> Option<&'static str> {
    Some(match ending {
        b"m3u8" => "application/vnd.apple.mpegurl",
        b"m3u" => "audio/x-mpegurl",
        b"mpd" => "application/dash+xml",
        b"m4s" => "video/iso.segment",
        b"cmfv" => "video/mp4",
        b"cmfa" => "audio/mp4",
        b"cmft" | b"cmfm" => "application/mp4",
        b"ism" | b"ismc" => "application/vnd.ms-sstr+xml",
        b"ismv" => "video/mp4",
        b"isma" => "audio/mp4",
        b"f4m" => "application/f4m+xml",
        b"pls" => "audio/x-scpls",
        b"xspf" => "application/xspf+xml",
        b"sdp" => "application/sdp",
        _ => return None,
    })
}

/// Subtitles and cues.
fn subtitles(ending: &[u8]) -> Option<&'static str> {
    Some(match ending {
        b"vtt" => "text/vtt; charset=utf-8",
        b"srt" => "application/x-subrip; charset=utf-8",
        b"ass" | b"ssa" => "text/x-ssa; charset=utf-8",
        b"ttml" | b"dfxp" => "application/ttml+xml",
        b"sub" | b"smi" | b"sbv" | b"lrc" | b"cue" => "text/plain; charset=utf-8",
        _ => return None,
    })
}

/// Pictures.
fn pictures(ending: &[u8]) -> Option<&'static str> {
    Some(match ending {
        b"jpg" | b"jpeg" | b"jpe" => "image/jpeg",
        b"png" => "image/png",
        b"apng" => "image/apng",
        b"gif" => "image/gif",
        b"webp" => "image/webp",
        b"avif" => "image/avif",
        b"heic" => "image/heic",
        b"heif" => "image/heif",
        b"jxl" => "image/jxl",
        b"svg" => "image/svg+xml",
        b"ico" => "image/vnd.microsoft.icon",
        b"bmp" => "image/bmp",
        b"tif" | b"tiff" => "image/tiff",
        _ => return None,
    })
}

/// Pages and what they need.
fn pages(ending: &[u8]) -> Option<&'static str> {
    Some(match ending {
        b"html" | b"htm" => "text/html; charset=utf-8",
        b"xhtml" => "application/xhtml+xml",
        b"css" => "text/css; charset=utf-8",
        b"js" | b"mjs" => "text/javascript; charset=utf-8",
        b"json" | b"map" => "application/json",
        b"webmanifest" => "application/manifest+json",
        b"wasm" => "application/wasm",
        b"xml" => "application/xml",
        b"rss" => "application/rss+xml",
        b"atom" => "application/atom+xml",
        b"woff" => "font/woff",
        b"woff2" => "font/woff2",
        b"ttf" => "font/ttf",
        b"otf" => "font/otf",
        b"ttc" => "font/collection",
        b"eot" => "application/vnd.ms-fontobject",
        _ => return None,
    })
}

/// Documents and archives.
fn documents(ending: &[u8]) -> Option<&'static str> {
    Some(match ending {
        b"txt" | b"text" | b"log" | b"nfo" | b"conf" | b"ini" => "text/plain; charset=utf-8",
        b"md" | b"markdown" => "text/markdown; charset=utf-8",
        b"tsv" => "text/tab-separated-values; charset=utf-8",
        b"csv" => "text/csv; charset=utf-8",
        b"yaml" | b"yml" => "application/yaml",
        b"toml" => "application/toml",
        b"pdf" => "application/pdf",
        b"epub" => "application/epub+zip",
        b"rtf" => "application/rtf",
        b"zip" => "application/zip",
        b"gz" => "application/gzip",
        b"zst" => "application/zstd",
        b"bz2" => "application/x-bzip2",
        b"xz" => "application/x-xz",
        b"7z" => "application/x-7z-compressed",
        b"tar" => "application/x-tar",
        b"iso" => "application/x-iso9660-image",
        b"torrent" => "application/x-bittorrent",
        _ => return None,
    })
}

/// The type alone, without its parameters.
fn essence(media_type: &str) -> &[u8] {
    let media_type = media_type.as_bytes();
    trim(split_once(media_type, b';').map_or(media_type, |(essence, _)| essence))
}

/// What most responses are of: neither a list nor a text by the first look at it, so that the tables need not
/// be gone through.
fn is_plainly_media(media_type: &str) -> bool {
    media_type == UNKNOWN || media_type.starts_with("video/")
}

/// What people see in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Video,
    Audio,
    Image,
    Text,
    Other,
}

/// The kind of a file of this name.
pub(crate) fn kind(name: &[u8]) -> Kind {
    kind_of(of(name))
}

/// The kind of this media type. Lists of films are text, and so are those whose type begins with `audio/`; a
/// segment of a stream is nothing that one would play by itself.
pub(crate) fn kind_of(media_type: &str) -> Kind {
    let starts = |prefix: &str| media_type.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    let essence = essence(media_type);
    if is_playlist(media_type) || LISTS.contains(&essence) || is_compressible(media_type) && !starts("image/") {
        Kind::Text
    } else if essence == b"video/iso.segment" {
        Kind::Other
    } else if starts("video/") {
        Kind::Video
    } else if starts("audio/") {
        Kind::Audio
    } else if starts("image/") {
        Kind::Image
    } else {
        Kind::Other
    }
}

/// Lists of films that are not rewritten while a stream goes on.
const LISTS: [&[u8]; 1] = [b"audio/x-scpls"];

const PLAYLISTS: [&[u8]; 6] = [
    b"application/vnd.apple.mpegurl",
    b"application/x-mpegurl",
    b"audio/mpegurl",
    b"audio/x-mpegurl",
    b"application/dash+xml",
    b"application/vnd.ms-sstr+xml",
];

/// Whether this is a list of segments or of films, which may be rewritten while a stream goes on.
pub(crate) fn is_playlist(media_type: &str) -> bool {
    if is_plainly_media(media_type) {
        return false;
    }
    let essence = essence(media_type);
    PLAYLISTS.iter().any(|playlist| playlist.eq_ignore_ascii_case(essence))
}

/// Whether this is a playlist of HLS.
pub(crate) fn is_hls(media_type: &str) -> bool {
    PLAYLISTS[..2].iter().any(|hls| hls.eq_ignore_ascii_case(essence(media_type)))
}

/// Whether compressing helps, so that a compressed sibling may lie beside it.
///
/// Playlists are text and compress well. They are rewritten every few seconds, and a sibling that is
/// rewritten a moment later or not at all would show players the past.
pub(crate) fn is_compressible(media_type: &str) -> bool {
    if is_plainly_media(media_type) {
        return false;
    }
    let essence = essence(media_type);
    let text = essence.starts_with(b"text/") || essence.ends_with(b"+xml") || essence.ends_with(b"+json");
    (text || COMPRESSIBLE.contains(&essence)) && !is_playlist(media_type)
}

/// What compresses well without being called text.
const COMPRESSIBLE: [&[u8]; 13] = [
    b"application/json",
    b"application/xml",
    b"application/wasm",
    b"application/yaml",
    b"application/toml",
    b"application/rtf",
    b"application/x-subrip",
    b"application/vnd.ms-fontobject",
    b"font/ttf",
    b"font/otf",
    b"font/collection",
    b"image/bmp",
    b"image/vnd.microsoft.icon",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_decides_in_either_case() {
        assert_eq!(of(b"a/film.mp4"), "video/mp4");
        assert_eq!(of(b"FILM.MP4"), "video/mp4");
        assert_eq!(of(b"live.ts"), "video/mp2t");
        assert_eq!(of(b"a.tar.gz"), "application/gzip");
        assert_eq!(of(b"app.webmanifest"), "application/manifest+json");
    }

    #[test]
    fn what_has_no_known_ending_is_just_bytes() {
        for name in ["", "film", ".mp4", "a.mp4/film", "film.", "film.averyveryverylongending"] {
            assert_eq!(of(name.as_bytes()), UNKNOWN, "{name}");
        }
    }

    #[test]
    fn a_kind_is_what_one_would_do_with_a_file() {
        for (name, expected) in [
            ("a.mp4", Kind::Video),
            ("a.TS", Kind::Video),
            ("a.mkv", Kind::Video),
            ("a.mp3", Kind::Audio),
            ("a.opus", Kind::Audio),
            ("a.m3u8", Kind::Text),
            ("a.m3u", Kind::Text),
            ("a.pls", Kind::Text),
            ("a.srt", Kind::Text),
            ("a.svg", Kind::Image),
            ("a.png", Kind::Image),
            ("a.m4s", Kind::Other),
            ("a.zip", Kind::Other),
            ("a", Kind::Other),
        ] {
            assert_eq!(kind(name.as_bytes()), expected, "{name}");
        }
        assert_eq!(kind_of("Video/WebM; codecs=vp9"), Kind::Video);
    }

    #[test]
    fn media_and_playlists_have_no_compressed_siblings() {
        assert!(is_compressible(of(b"a.css")) && is_compressible(of(b"a.json")));
        assert!(is_compressible(of(b"a.svg")) && is_compressible(of(b"a.vtt")));
        for name in ["a.mp4", "a.m3u8", "a.mpd", "a.png", "a.woff2", "a.zip", "a"] {
            assert!(!is_compressible(of(name.as_bytes())), "{name}");
        }
    }
}
