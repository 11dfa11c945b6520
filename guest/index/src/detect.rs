//! Tells a format by how a source begins. Names and endings are not known here.

use crate::format::{Format, Probe};
use crate::{flac, flv, jpeg, lines, matroska, mp4, mpeg_audio, mpeg_ts, multipart, ogg, wav};

/// In the order in which they are tried: magic numbers first, then what is told by its structure, then
/// text, which nearly anything may begin like.
static FORMATS: [&Format; 12] = [
    &mp4::FORMAT,
    &matroska::FORMAT,
    &ogg::FORMAT,
    &flv::FORMAT,
    &flac::FORMAT,
    &wav::FORMAT,
    &mpeg_ts::FORMAT,
    &jpeg::FORMAT,
    &mpeg_audio::ADTS,
    &mpeg_audio::MPEG,
    &multipart::FORMAT,
    &lines::FORMAT,
];

/// The format that begins with these bytes: nothing where more of them have to come, which is never so if
/// these are all (`whole`). As no probe revokes what it said, and all before it have said no, the answer
/// does not depend on when it was asked for.
pub(crate) fn format(bytes: &[u8], whole: bool) -> Option<Option<&'static Format>> {
    for format in FORMATS {
        match (format.probe)(bytes) {
            Probe::Yes => return Some(Some(format)),
            Probe::Pending if !whole => return None,
            Probe::Pending | Probe::No => {}
        }
    }
    Some(None)
}
