//! A listing as an M3U playlist of the media files in it, for players.

use alloc::vec::Vec;

use crate::contract::Entry;
use crate::media_type::{self, Kind};
use crate::response::escape::push_link;
use crate::text::push_path;

/// A playlist of a folder.
#[derive(Debug)]
pub(crate) struct Playlist {
    /// The URL of the folder, with a slash at its end. None: links are relative to the playlist.
    base: Option<Vec<u8>>,
}

impl Playlist {
    /// The playlist of a folder on a server of this origin. A player that has saved the list, or got it on
    /// its standard input, has nothing that relative links could be relative to.
    pub(crate) fn new(origin: Option<Vec<u8>>, folder: &[u8]) -> Self {
        let base = origin.map(|mut base| {
            base.push(b'/');
            if !folder.is_empty() {
                push_path(&mut base, folder);
                base.push(b'/');
            }
            base
        });
        Self { base }
    }

    /// Writes the line that playlists begin with.
    pub(crate) fn push_start(out: &mut Vec<u8>) {
        out.extend_from_slice(b"#EXTM3U\n");
    }

    /// Writes an entry, if it is video or audio.
    pub(crate) fn push_entry(&self, out: &mut Vec<u8>, entry: &Entry) {
        if entry.folder || !matches!(media_type::kind(&entry.name), Kind::Video | Kind::Audio) {
            return;
        }
        // -1: the length is not known.
        out.extend_from_slice(b"#EXTINF:-1,");
        let is_control = |byte: &u8| *byte < b' ' || *byte == 0x7f;
        out.extend(entry.name.iter().map(|byte| if is_control(byte) { b' ' } else { *byte }));
        out.push(b'\n');
        match &self.base {
            Some(base) => {
                out.extend_from_slice(base);
                push_path(out, &entry.name);
            }
            None => push_link(out, &entry.name),
        }
        out.push(b'\n');
    }
}
