//! Whether a picture can be decoded by itself, told from the beginning of its elementary stream: H.264
//! (ITU-T H.264, section 7.3.1), H.265 (ITU-T H.265, section 7.3.1) and MPEG-2 video (ITU-T H.262, section
//! 6.2.2). Parameter sets that come before it are collected on the way.

use alloc::vec::Vec;

use crate::bytes::Bits;

/// How a video is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Mpeg2,
    H264,
    H265,
}

/// Reads the beginning of a picture, piece by piece, until it is known.
#[derive(Debug)]
pub(crate) struct Picture {
    codec: Codec,
    /// The last three bytes.
    last: [u8; 3],
    /// What follows a start code, as far as it has come and matters.
    unit: Option<Vec<u8>>,
    /// The parameter sets before the picture, without start codes.
    sets: Vec<Vec<u8>>,
    has_sequence: bool,
}

/// Enough of a unit to tell: its type, and for a slice of H.264 two numbers of at most 31 bits each.
const UNIT: usize = 9;

/// Parameter sets in front of a picture, and the longest of them. More are not what an encoder makes.
const MOST_SETS: usize = 64;
pub(crate) const LONGEST_SET: usize = 2_048;

impl Picture {
    pub(crate) fn new(codec: Codec) -> Self {
        Self { codec, last: [u8::MAX; 3], unit: None, sets: Vec::new(), has_sequence: false }
    }

    /// Whether a decoder that has the parameter sets may begin with this picture. Nothing: more of it is needed.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Option<bool> {
        bytes.iter().find_map(|byte| self.byte(*byte))
    }

    /// The parameter sets that came before it, without start codes.
    pub(crate) fn into_sets(mut self) -> Vec<Vec<u8>> {
        if let Some(unit) = self.unit.take().filter(|unit| self.is_set(unit)) {
            self.keep(unit);
        }
        self.sets
    }

    fn byte(&mut self, byte: u8) -> Option<bool> {
        self.last = [self.last[1], self.last[2], byte];
        if self.last == [0, 0, 1] {
            return self.next_unit();
        }
        let (codec, has_sequence) = (self.codec, self.has_sequence);
        let unit = self.unit.as_mut()?;
        let needed = needed(codec, has_sequence, unit);
        if unit.len() >= needed {
            return None;
        }
        unit.push(byte);
        if unit.len() == 1 || unit.len() == needed { self.judge() } else { None }
    }

    /// A start code has come: a parameter set before it is complete, and a slice is shorter than expected.
    fn next_unit(&mut self) -> Option<bool> {
        let unit = self.unit.replace(Vec::new())?;
        if self.is_set(&unit) {
            self.keep(unit);
            return None;
        }
        let is_short = !unit.is_empty() && unit.len() < needed(self.codec, self.has_sequence, &unit);
        is_short.then(|| is_intra_slice(&unit))
    }

    fn keep(&mut self, mut unit: Vec<u8>) {
        // Zeros before the next start code are not of the unit, which ends with a one.
        while unit.last() == Some(&0) {
            unit.pop();
        }
        if unit.len() <= LONGEST_SET && self.sets.len() < MOST_SETS {
            self.sets.push(unit);
        }
    }

    fn is_set(&self, unit: &[u8]) -> bool {
        unit.first().is_some_and(|first| is_set(self.codec, *first))
    }

    /// What the unit says, of which enough is there.
    fn judge(&mut self) -> Option<bool> {
        let unit = self.unit.as_deref().unwrap_or_default();
        let first = *unit.first()?;
        match self.codec {
            // Sequence header; picture; group of pictures.
            Codec::Mpeg2 => match first {
                0xB3 => Some(true),
                0x00 | 0xB8 => Some(false),
                _ => None,
            },
            // Sequence parameters; a slice of an IDR picture; of another.
            Codec::H264 => match first & 0x1F {
                7 => self.sequence(),
                5 => Some(true),
                1 if self.has_sequence => (unit.len() == UNIT).then(|| is_intra_slice(unit)),
                1..=4 => Some(false),
                _ => None,
            },
            // Sequence parameters; IRAP pictures; others.
            Codec::H265 => match first >> 1 & 0x3F {
                33 => self.sequence(),
                16..=23 => Some(true),
                0..=15 => Some(false),
                _ => None,
            },
        }
    }

    fn sequence(&mut self) -> Option<bool> {
        self.has_sequence = true;
        None
    }
}

/// How many bytes of a unit matter.
fn needed(codec: Codec, has_sequence: bool, unit: &[u8]) -> usize {
    match unit.first() {
        Some(first) if is_set(codec, *first) => LONGEST_SET + 1,
        Some(first) if codec == Codec::H264 && has_sequence && first & 0x1F == 1 => UNIT,
        _ => 1,
    }
}

/// Whether a unit with this first byte is a parameter set.
fn is_set(codec: Codec, first: u8) -> bool {
    match codec {
        Codec::Mpeg2 => false,
        // Of a sequence, with its extension and its variant for other views; of pictures.
        Codec::H264 => matches!(first & 0x1F, 7 | 8 | 13 | 15),
        // Of a video, a sequence, pictures.
        Codec::H265 => matches!(first >> 1 & 0x3F, 32..=34),
    }
}

/// Whether a slice of H.264 is intra coded (section 7.3.3). With parameters in front it begins a picture that
/// an encoder meant as a point of entry, although it is not an IDR picture.
fn is_intra_slice(unit: &[u8]) -> bool {
    let mut bits = Bits::new(unit.get(1..).unwrap_or_default());
    let (first_macroblock, slice_type) = (bits.exp_golomb(), bits.exp_golomb());
    first_macroblock.is_some() && matches!(slice_type, Some(2 | 7))
}
