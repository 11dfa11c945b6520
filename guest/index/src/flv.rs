//! FLV (Adobe Flash Video File Format Specification, version 10.1, annex E; Enhanced RTMP, version 2, for
//! codecs with a FourCC).
//!
//! The header is the file header, the metadata, and the tags that configure the decoders. A viewer begins
//! with a key frame, or with any tag of a stream without video.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::bytes::Reader;
use crate::format::{Format, Next, Parser, Probe, Step, Unit};
use crate::mark::{Header, Loss};
use crate::out::{Out, USUAL_GAP};
use crate::signature::Signature;

pub(crate) static FORMAT: Format = Format {
    probe: |bytes| Probe::magic(bytes, MAGIC),
    parser: |_| Box::new(Flv::default()),
    signature: Some(&SIGNATURE),
};

/// The signature and the version that all files have.
const MAGIC: &[u8] = b"FLV\x01";

/// The whole file header (section E.2): its reserved bits are zero, and it says that it has nine bytes.
static SIGNATURE: Signature = Signature {
    anchor: MAGIC,
    before: 0,
    length: FILE_HEADER,
    check: |window| matches!(window, [_, _, _, _, flags, 0, 0, 0, 9] if flags & !(HAS_VIDEO | HAS_AUDIO) == 0),
};

const FILE_HEADER: usize = 9;
const HAS_VIDEO: u8 = 1;
const HAS_AUDIO: u8 = 4;

/// A tag's header (section E.4.1), and the size that follows each tag.
const TAG_HEADER: usize = 11;
const SIZE: usize = 4;

/// Enough of a tag's content to tell what it is: five bytes of an extended header, one of a packet type.
const CONTENT: usize = 6;

/// How much may come without video before a file that announced video is taken to have none.
const PATIENCE: u64 = 256 << 10;

#[derive(Debug, Default)]
struct Flv {
    began: Option<u64>,
    file_header: Vec<u8>,
    metadata: Vec<u8>,
    video: Vec<u8>,
    audio: Vec<u8>,
    has_video: bool,
    has_media: bool,
    /// Whether what configures the decoders has changed since the last header.
    is_header_due: bool,
}

/// What a tag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    Metadata,
    VideoConfiguration,
    AudioConfiguration,
    KeyFrame,
    Audio,
    Other,
}

impl Parser for Flv {
    fn first(&self) -> Next {
        Next::Read { skip: 0, count: FILE_HEADER }
    }

    fn step(&mut self, unit: Unit<'_>, out: &mut Out) -> Step {
        let Some(began) = self.began else { return self.begin(unit) };
        let mut header = Reader(unit.bytes);
        let (Some(kind), Some(length)) = (header.u8(), header.be24()) else { return Step::again(TAG_HEADER) };
        // Times may be anything; the identifier of the stream is always 0.
        if header.skip(4).is_none() || header.be24() != Some(0) || !matches!(kind, 8 | 9 | 18) {
            return Step::lost(Loss::Malformed);
        }
        let whole = TAG_HEADER + length as usize + SIZE;
        let wanted = TAG_HEADER + CONTENT.min(length as usize);
        if unit.bytes.len() < wanted {
            return Step::again(wanted);
        }
        let tag = Tag::read(kind, header.0);
        if tag.is_kept() && unit.bytes.len() < whole {
            return self.keep(tag, whole, unit, out);
        }
        match tag {
            Tag::Metadata if self.has_media => {}
            Tag::Metadata => self.metadata = unit.bytes.to_vec(),
            Tag::VideoConfiguration => {
                self.has_video = true;
                self.is_header_due |= replace(&mut self.video, unit.bytes);
            }
            Tag::AudioConfiguration => self.is_header_due |= replace(&mut self.audio, unit.bytes),
            Tag::KeyFrame => {
                self.has_video = true;
                self.join(unit.at, 0, out);
            }
            Tag::Audio if self.is_audio_only(began, unit.at) => self.join(unit.at, USUAL_GAP, out),
            Tag::Audio | Tag::Other => {}
        }
        self.has_media |= matches!(tag, Tag::KeyFrame | Tag::Audio | Tag::Other);
        Step::skip(unit, (whole - unit.bytes.len()) as u64, TAG_HEADER)
    }
}

impl Flv {
    /// The file header, and behind it the size of the tag before the first: 0 (section E.3).
    fn begin(&mut self, unit: Unit<'_>) -> Step {
        let length = Reader(unit.bytes.get(5..).unwrap_or_default()).be32().unwrap_or_default() as usize;
        if length < FILE_HEADER {
            return Step::lost(Loss::Malformed);
        }
        self.began = Some(unit.at);
        let flags = unit.bytes.get(4).copied().unwrap_or_default();
        self.file_header = [MAGIC, &[flags, 0, 0, 0, FILE_HEADER as u8], &[0; SIZE]].concat();
        self.is_header_due = true;
        Step::skip(unit, (length - FILE_HEADER + SIZE) as u64, TAG_HEADER)
    }

    /// Waits for a whole tag that goes into the header.
    fn keep(&self, tag: Tag, whole: usize, unit: Unit<'_>, out: &Out) -> Step {
        let others = [&self.file_header, &self.metadata, &self.video, &self.audio];
        let total = others.iter().fold(whole, |total, other| total.saturating_add(other.len()));
        if total <= out.max_header() {
            return Step::again(whole);
        }
        // Players do without metadata.
        match tag {
            Tag::Metadata => Step::skip(unit, (whole - unit.bytes.len()) as u64, TAG_HEADER),
            _ => Step::lost(Loss::Oversized),
        }
    }

    fn is_audio_only(&self, began: u64, at: u64) -> bool {
        let announced = self.file_header.get(4).is_some_and(|flags| flags & HAS_VIDEO != 0);
        !self.has_video && (!announced || at - began > PATIENCE)
    }

    fn join(&mut self, at: u64, gap: u64, out: &mut Out) {
        if self.is_header_due {
            let bytes = [self.file_header.as_slice(), &self.metadata, &self.video, &self.audio].concat();
            self.is_header_due = !out.header(at, Header { bytes, format: "flv", media_type: "video/x-flv".into() });
        }
        if !self.is_header_due {
            out.join_sparsely(at, gap);
        }
    }
}

impl Tag {
    /// Tells a tag by its type and the beginning of its content.
    fn read(kind: u8, content: &[u8]) -> Self {
        match (kind, content) {
            (18, _) => Self::Metadata,
            (9, [first, rest @ ..]) => Self::video(*first, rest),
            (8, [first, rest @ ..]) => Self::audio(*first, rest),
            _ => Self::Other,
        }
    }

    /// Section E.4.3.1; Enhanced RTMP, "Enhanced Video".
    fn video(first: u8, rest: &[u8]) -> Self {
        const EXTENDED: u8 = 0x80;
        const KEY_FRAME: u8 = 1;
        let is_key = first >> 4 & 0x07 == KEY_FRAME;
        if first & EXTENDED != 0 {
            return match first & 0x0F {
                // Sequence start, also of codecs in MPEG-2 TS.
                0 | 5 => Self::VideoConfiguration,
                // Coded frames, without and with a composition time.
                1 | 3 if is_key => Self::KeyFrame,
                // Several tracks, or with modifiers: what follows is of either kind.
                6 | 7 if is_key => Self::KeyFrame,
                _ => Self::Other,
            };
        }
        const AVC: u8 = 7;
        const HEVC: u8 = 12;
        match (first & 0x0F, rest.first()) {
            (AVC | HEVC, Some(0)) => Self::VideoConfiguration,
            (AVC | HEVC, Some(1)) if is_key => Self::KeyFrame,
            (AVC | HEVC, _) => Self::Other,
            _ if is_key => Self::KeyFrame,
            _ => Self::Other,
        }
    }

    /// Section E.4.2.1; Enhanced RTMP, "Enhanced Audio".
    fn audio(first: u8, rest: &[u8]) -> Self {
        const EXTENDED: u8 = 9;
        const AAC: u8 = 10;
        match (first >> 4, first & 0x0F, rest.first()) {
            (EXTENDED, 0, _) | (AAC, _, Some(0)) => Self::AudioConfiguration,
            _ => Self::Audio,
        }
    }

    fn is_kept(self) -> bool {
        matches!(self, Self::Metadata | Self::VideoConfiguration | Self::AudioConfiguration)
    }
}

/// Keeps a tag. Whether it is another than before, its time aside.
fn replace(kept: &mut Vec<u8>, tag: &[u8]) -> bool {
    let is_new = kept.get(TAG_HEADER..) != tag.get(TAG_HEADER..);
    if is_new {
        *kept = tag.to_vec();
    }
    is_new
}
