//! Whether a picture can be decoded by itself, told from the beginning of its elementary stream: H.264
//! (ITU-T H.264, section 7.3.1), H.265 (ITU-T H.265, section 7.3.1) and MPEG-2 video (ITU-T H.262, section
//! 6.2.2).

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
    /// What follows a start code, as far as it has come.
    unit: [u8; UNIT],
    unit_length: Option<usize>,
    /// Whether the parameters that a decoder begins with came before the picture.
    has_parameters: bool,
}

/// Enough of a unit to tell: its type, and for a slice of H.264 two numbers of at most 31 bits each.
const UNIT: usize = 9;

impl Picture {
    pub(crate) fn new(codec: Codec) -> Self {
        Self { codec, last: [u8::MAX; 3], unit: [0; UNIT], unit_length: None, has_parameters: false }
    }

    /// Whether a decoder may begin with this picture. Nothing: more of it is needed.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Option<bool> {
        bytes.iter().find_map(|byte| self.byte(*byte))
    }

    fn byte(&mut self, byte: u8) -> Option<bool> {
        self.last = [self.last[1], self.last[2], byte];
        if let Some(length) = &mut self.unit_length {
            if let Some(place) = self.unit.get_mut(*length) {
                *place = byte;
                *length += 1;
            }
            let length = *length;
            if length == self.needed() {
                self.unit_length = None;
                return self.judge();
            }
        } else if self.last == [0, 0, 1] {
            self.unit_length = Some(0);
        }
        None
    }

    /// How many bytes of the unit tell what it is.
    fn needed(&self) -> usize {
        let is_slice = self.codec == Codec::H264 && self.has_parameters && self.unit[0] & 0x1F == 1;
        if is_slice { UNIT } else { 1 }
    }

    /// What the unit says.
    fn judge(&mut self) -> Option<bool> {
        match self.codec {
            // Sequence header; picture; group of pictures.
            Codec::Mpeg2 => match self.unit[0] {
                0xB3 => Some(true),
                0x00 | 0xB8 => Some(false),
                _ => None,
            },
            // Sequence parameters; a slice of an IDR picture; of another.
            Codec::H264 => match self.unit[0] & 0x1F {
                7 => self.parameters(),
                5 => Some(self.has_parameters),
                1 if self.has_parameters => Some(is_intra_slice(&self.unit)),
                1..=4 => Some(false),
                _ => None,
            },
            // Sequence parameters; IRAP pictures; others.
            Codec::H265 => match self.unit[0] >> 1 & 0x3F {
                33 => self.parameters(),
                16..=23 => Some(self.has_parameters),
                0..=15 => Some(false),
                _ => None,
            },
        }
    }

    fn parameters(&mut self) -> Option<bool> {
        self.has_parameters = true;
        None
    }
}

/// Whether a slice of H.264 is intra coded (section 7.3.3). With parameters in front it begins a picture that
/// an encoder meant as a point of entry, although it is not an IDR picture.
fn is_intra_slice(unit: &[u8]) -> bool {
    let mut bits = Bits::new(unit.get(1..).unwrap_or_default());
    let (first_macroblock, slice_type) = (bits.exp_golomb(), bits.exp_golomb());
    first_macroblock.is_some() && matches!(slice_type, Some(2 | 7))
}
