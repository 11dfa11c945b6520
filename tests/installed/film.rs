//! A film to play.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use support::{Folder, require, run};

/// A film of twenty seconds whose index is at its end, as recorders leave it: who plays it over HTTP has to
/// seek before the first picture. Made once, and kept. None: there is no FFmpeg.
pub(crate) fn film() -> Option<&'static Path> {
    static FILM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let film = FILM.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("film-of-twenty-seconds.mp4");
        if !path.exists() {
            let folder = Folder::new();
            make_film(require("ffmpeg")?, &folder.at("film.mp4"));
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
pub(crate) fn beside(film: &Path, folder: &Folder, name: &str) -> PathBuf {
    let path = folder.at(name);
    fs::hard_link(film, &path).or_else(|_| fs::copy(film, &path).map(drop)).expect("a film can be copied");
    path
}
