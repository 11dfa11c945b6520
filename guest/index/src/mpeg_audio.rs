//! Audio in frames that say how long they are: AAC in ADTS (ISO/IEC 13818-7, section 6.2), and MPEG audio
//! of all layers, such as MP3 (ISO/IEC 11172-3, section 2.4.1; ISO/IEC 13818-3, section 2.4.2).
//!
//! There is no header. A viewer begins with a frame: what looks like one, at the place where the frame
//! before ends. Tags between frames are passed over.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::bytes::{Reader, size};
use crate::format::{Format, Next, Parser, Probe, Step, Unit};
use crate::id3;
use crate::mark::Header;
use crate::out::{Out, USUAL_GAP};

pub(crate) static ADTS: Format = Format {
    probe: |bytes| probe(Codec::Adts, bytes),
    parser: |_| Box::new(Frames::new(Codec::Adts)),
    signature: None,
};

pub(crate) static MPEG: Format = Format {
    probe: |bytes| probe(Codec::Mpeg, bytes),
    parser: |_| Box::new(Frames::new(Codec::Mpeg)),
    signature: None,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    Adts,
    Mpeg,
}

/// How a frame begins.
#[derive(Clone, Copy, Debug)]
struct Frame {
    length: usize,
    /// What all frames of a stream have in common.
    kind: u32,
}

/// Three frames of a kind in a row.
fn probe(codec: Codec, bytes: &[u8]) -> Probe {
    let mut rest = bytes;
    let mut kind = None;
    for _ in 0..3 {
        let Some(header) = rest.get(..codec.header()) else {
            let may_be = rest.first().is_none_or(|first| *first == SYNC);
            return if may_be { Probe::Pending } else { Probe::No };
        };
        match codec.frame(header).filter(|frame| kind.is_none_or(|kind| kind == frame.kind)) {
            None => return Probe::No,
            Some(frame) => {
                kind = Some(frame.kind);
                rest = rest.get(frame.length..).unwrap_or_default();
            }
        }
    }
    Probe::Yes
}

/// Every frame begins with it.
const SYNC: u8 = 0xFF;

#[derive(Debug)]
struct Frames {
    codec: Codec,
    has_begun: bool,
    /// The kind of the frame that ends where the next is expected.
    kind: Option<u32>,
    /// Whether that frame was itself where one was expected.
    is_synchronous: bool,
}

impl Frames {
    fn new(codec: Codec) -> Self {
        Self { codec, has_begun: false, kind: None, is_synchronous: true }
    }
}

impl Parser for Frames {
    fn first(&self) -> Next {
        Next::Read { skip: 0, count: self.codec.header() }
    }

    fn step(&mut self, unit: Unit<'_>, out: &mut Out) -> Step {
        if !self.has_begun {
            self.has_begun = true;
            out.header(unit.at, self.codec.stream());
        }
        let header = self.codec.header();
        let frame = unit.bytes.get(..header).and_then(|header| self.codec.frame(header));
        match frame {
            Some(frame) => {
                self.is_synchronous |= self.kind == Some(frame.kind);
                self.kind = Some(frame.kind);
                if self.is_synchronous {
                    out.join_sparsely(unit.at, USUAL_GAP);
                }
                Step::skip(unit, frame.length.saturating_sub(unit.bytes.len()) as u64, header)
            }
            None if unit.bytes.starts_with(b"ID3") && unit.bytes.len() < size(id3::HEADER) => {
                Step::again(size(id3::HEADER))
            }
            None => match tag_length(unit.bytes) {
                Some(length) => Step::skip(unit, length.saturating_sub(unit.bytes.len() as u64), header),
                None => {
                    self.kind = None;
                    self.is_synchronous = false;
                    Step::find(SYNC, header)
                }
            },
        }
    }
}

/// The length of a tag: ID3v2, or ID3v1, which always has 128 bytes.
fn tag_length(bytes: &[u8]) -> Option<u64> {
    const ID3V1: u64 = 128;
    if bytes.starts_with(b"TAG") { Some(ID3V1) } else { id3::length(bytes) }
}

impl Codec {
    /// The length of a frame's header.
    fn header(self) -> usize {
        match self {
            Self::Adts => 7,
            Self::Mpeg => 4,
        }
    }

    fn stream(self) -> Header {
        let (format, media_type) = match self {
            Self::Adts => ("adts", "audio/aac"),
            Self::Mpeg => ("mpeg-audio", "audio/mpeg"),
        };
        Header { bytes: Vec::new(), format, media_type: media_type.into() }
    }

    fn frame(self, header: &[u8]) -> Option<Frame> {
        match self {
            Self::Adts => adts_frame(header),
            Self::Mpeg => mpeg_frame(header),
        }
    }
}

fn adts_frame(header: &[u8]) -> Option<Frame> {
    const SAMPLE_RATES: u8 = 13;
    let [SYNC, second, third, fourth, fifth, sixth, _] = *header else { return None };
    // The sync word has four more bits, and the layer is always 0.
    if second & 0xF6 != 0xF0 || third >> 2 & 0x0F >= SAMPLE_RATES {
        return None;
    }
    let length = usize::from(fourth & 0x03) << 11 | usize::from(fifth) << 3 | usize::from(sixth >> 5);
    let has_checksum = second & 0x01 == 0;
    let kind = u32::from_be_bytes([0, second, third & !0x02, fourth & 0xC0]);
    (length > header.len() + if has_checksum { 2 } else { 0 }).then_some(Frame { length, kind })
}

fn mpeg_frame(header: &[u8]) -> Option<Frame> {
    /// In kbit/s, for MPEG-1 of layers 1, 2 and 3, then MPEG-2 of layer 1, and of the others.
    const BIT_RATES: [[u32; 14]; 5] = [
        [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    const SAMPLE_RATES: [u32; 3] = [44_100, 48_000, 32_000];

    let mut reader = Reader(header);
    let (first, second, third) = (reader.u8()?, reader.u8()?, reader.u8()?);
    if first != SYNC || second & 0xE0 != 0xE0 {
        return None;
    }
    // MPEG-2.5, which is no standard and half as fast again; reserved; MPEG-2; MPEG-1.
    let (is_mpeg_1, divisor) = match second >> 3 & 3 {
        0 => (false, 4),
        2 => (false, 2),
        3 => (true, 1),
        _ => return None,
    };
    let layer = usize::from(4_u8.checked_sub(second >> 1 & 3).filter(|layer| *layer < 4)?);
    let rates = BIT_RATES.get(if is_mpeg_1 { layer - 1 } else { layer.min(2) + 2 })?;
    let bit_rate = 1_000 * rates.get(usize::from(third >> 4).checked_sub(1)?)?;
    let sample_rate = SAMPLE_RATES.get(usize::from(third >> 2 & 3))? / divisor;
    let padding = u32::from(third >> 1 & 1);
    let length = match (layer, is_mpeg_1) {
        (1, _) => (12 * bit_rate / sample_rate + padding) * 4,
        (3, false) => 72 * bit_rate / sample_rate + padding,
        _ => 144 * bit_rate / sample_rate + padding,
    };
    let kind = u32::from_be_bytes([0, 0, second & 0xFE, third & 0x0C]);
    Some(Frame { length: length as usize, kind })
}
