//! The index of live streams of `multiclient`: bytes of one source in, marks out.
//!
//! [`Index`] says what a viewer needs who joins a stream late (a header, and an offset at which to begin)
//! for the formats that are common on pipes. It speaks the words of the contract (`wit/index/index.wit`,
//! mirrored in [`Mark`]) and is a pure function of the bytes: how they are cut changes nothing.
//!
//! Rules:
//!
//! - No bytes can make it panic, and none can make it keep more than one header and one unit of the
//!   stream. Each has a limit.
//! - A parser sees the stream as units of a size that it asked for (see `format`). It never sees how the
//!   bytes were cut, so it cannot depend on that.
//! - What is not needed to find a join is skipped, not parsed.
//!
//! ```
//! use multiclient_index::{Index, Limits, Mark};
//!
//! let mut index = Index::new(Limits::default());
//! let progress = index.advance(b"a log of lines that are a little longer than joins have to be apart\nthe next");
//! assert!(matches!(&progress.marks[0], Mark::Header(header) if header.format == "lines"));
//! assert!(matches!(&progress.marks[1], Mark::Join(join) if join.offset == 0));
//! assert!(matches!(&progress.marks[2], Mark::Join(join) if join.offset == 68));
//! ```

#![no_std]
// What comes in is hostile: bytes are reached through what says `None`, never through what panics.
#![warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

extern crate alloc;

mod bytes;
mod crc;
mod detect;
mod flac;
mod flv;
mod format;
mod id3;
mod index;
mod jpeg;
mod lines;
mod mark;
mod matroska;
mod mp4;
mod mpeg_audio;
mod mpeg_ts;
mod multipart;
mod nal;
mod ogg;
mod out;
mod packets;
mod parameters;
mod search;
mod signature;
mod view;
mod wav;

pub use index::Index;
pub use mark::{Header, Join, Limits, Loss, Mark, Patch, Progress};
