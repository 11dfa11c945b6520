//! The parameter sets of a video stream, as a decoder has them that has read it from the beginning: H.264
//! (ITU-T H.264, section 7.3.2) and H.265 (ITU-T H.265, section 7.3.2).
//!
//! Encoders repeat them with every picture at which a decoder may start. Streams that were copied from a file
//! have them only where the file had an IDR picture.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::bytes::Bits;
use crate::nal::Codec;

/// The newest set of each kind and number, and what it says.
#[derive(Debug)]
pub(crate) struct ParameterSets {
    codec: Codec,
    /// In the order in which decoders need them, without start codes.
    sets: BTreeMap<Name, Vec<u8>>,
}

/// What other sets and pictures call a set by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    kind: Kind,
    number: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Video,
    Sequence,
    /// Of a sequence: auxiliary pictures, and further views.
    Extension,
    Views,
    Picture,
}

/// All sets together, in bytes. With more than this nothing is known: encoders make some hundred bytes.
const MOST_BYTES: usize = 8_192;

impl ParameterSets {
    pub(crate) fn new(codec: Codec) -> Self {
        Self { codec, sets: BTreeMap::new() }
    }

    /// Takes a set, without its start code, in place of the one of that name.
    pub(crate) fn add(&mut self, set: &[u8]) {
        let Some(name) = name(self.codec, set) else { return };
        let before = self.sets.insert(name, set.to_vec());
        if name.kind == Kind::Sequence && before.is_some_and(|before| before != set) {
            // Decoders forget what was meant for the sequence before.
            let codec = self.codec;
            self.sets.retain(|known, set| known.kind != Kind::Picture || sequence(codec, set) != Some(name.number));
        }
        if self.sets.values().map(Vec::len).sum::<usize>() > MOST_BYTES {
            self.sets.clear();
        }
    }

    /// Whether a decoder that has them can decode a picture.
    pub(crate) fn are_complete(&self) -> bool {
        let needed = match self.codec {
            Codec::Mpeg2 => [].as_slice(),
            Codec::H264 => &[Kind::Sequence, Kind::Picture],
            Codec::H265 => &[Kind::Video, Kind::Sequence, Kind::Picture],
        };
        needed.iter().all(|kind| self.sets.keys().any(|name| name.kind == *kind))
    }

    /// Whether they are all among these.
    pub(crate) fn are_among(&self, others: &[Vec<u8>]) -> bool {
        self.sets.values().all(|set| others.contains(set))
    }

    /// All of them, with start codes (annex B of both).
    pub(crate) fn to_stream(&self) -> Vec<u8> {
        let mut stream = Vec::new();
        for set in self.sets.values() {
            stream.extend_from_slice(&[0, 0, 0, 1]);
            stream.extend_from_slice(set);
        }
        stream
    }
}

/// What a set is called. Nothing: it makes no sense, or a decoder of the base layer does not need it.
fn name(codec: Codec, set: &[u8]) -> Option<Name> {
    let bytes = unescaped(set);
    let first = *bytes.first()?;
    let (kind, number) = match codec {
        Codec::Mpeg2 => return None,
        Codec::H264 => match first & 0x1F {
            7 => (Kind::Sequence, golomb(&bytes, 4)?),
            13 => (Kind::Extension, golomb(&bytes, 1)?),
            15 => (Kind::Views, golomb(&bytes, 4)?),
            8 => (Kind::Picture, golomb(&bytes, 1)?),
            _ => return None,
        },
        Codec::H265 if layer(&bytes)? != 0 => return None,
        Codec::H265 => match first >> 1 & 0x3F {
            32 => (Kind::Video, u32::from(*bytes.get(2)? >> 4)),
            33 => (Kind::Sequence, sequence_of_h265(&bytes)?),
            34 => (Kind::Picture, golomb(&bytes, 2)?),
            _ => return None,
        },
    };
    Some(Name { kind, number })
}

/// The sequence that a picture parameter set is meant for.
fn sequence(codec: Codec, set: &[u8]) -> Option<u32> {
    let bytes = unescaped(set);
    let mut bits = Bits::new(bytes.get(if codec == Codec::H264 { 1 } else { 2 }..)?);
    bits.exp_golomb()?;
    bits.exp_golomb()
}

fn golomb(bytes: &[u8], at: usize) -> Option<u32> {
    Bits::new(bytes.get(at..)?).exp_golomb()
}

fn layer(bytes: &[u8]) -> Option<u8> {
    Some((bytes.first()? & 1) << 5 | bytes.get(1)? >> 3)
}

/// The number of a sequence parameter set of H.265, which comes after what it says of profiles and levels
/// (sections 7.3.2.2 and 7.3.3).
fn sequence_of_h265(bytes: &[u8]) -> Option<u32> {
    const PROFILE: usize = 88;
    const LEVEL: usize = 8;
    let mut bits = Bits::new(bytes.get(2..)?);
    bits.skip(4);
    let sub_layers = bits.number(3)?;
    bits.skip(1 + PROFILE + LEVEL);
    let mut more = 0;
    if sub_layers > 0 {
        for _ in 0..8 {
            // Of a layer that is not there, both are zero.
            more += bits.bit()? as usize * PROFILE + bits.bit()? as usize * LEVEL;
        }
    }
    bits.skip(more);
    bits.exp_golomb()
}

/// The beginning of a unit without the bytes that keep start codes out of it (section 7.4.1 of H.264, 7.4.2 of
/// H.265).
fn unescaped(unit: &[u8]) -> Vec<u8> {
    // The longest of what is read here: a sequence of seven layers.
    const ENOUGH: usize = 128;
    let mut bytes = Vec::with_capacity(ENOUGH);
    for byte in unit.iter().take(ENOUGH) {
        if *byte != 3 || !bytes.ends_with(&[0, 0]) {
            bytes.push(*byte);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of x264: profile High, level 1.3, sequence 0; its pictures 0.
    const H264_SEQUENCE: [u8; 12] = [0x67, 0x64, 0x00, 0x0D, 0xAC, 0xD9, 0x41, 0x41, 0xFB, 0x01, 0x10, 0x01];
    const H264_PICTURE: [u8; 6] = [0x68, 0xEB, 0xE3, 0xCB, 0x22, 0xC0];

    fn sets(codec: Codec, units: &[&[u8]]) -> ParameterSets {
        let mut sets = ParameterSets::new(codec);
        units.iter().for_each(|unit| sets.add(unit));
        sets
    }

    #[test]
    fn a_decoder_of_h264_needs_a_sequence_and_a_picture() {
        assert!(!sets(Codec::H264, &[]).are_complete());
        assert!(!sets(Codec::H264, &[&H264_SEQUENCE]).are_complete());
        assert!(!sets(Codec::H264, &[&H264_PICTURE]).are_complete());
        assert!(sets(Codec::H264, &[&H264_PICTURE, &H264_SEQUENCE]).are_complete());
    }

    #[test]
    fn sets_come_in_the_order_in_which_they_are_needed_whatever_the_order_was() {
        let both = sets(Codec::H264, &[&H264_PICTURE, &H264_SEQUENCE, &H264_SEQUENCE]);
        let expected = [&[0, 0, 0, 1], H264_SEQUENCE.as_slice(), &[0, 0, 0, 1], &H264_PICTURE].concat();
        assert_eq!(both.to_stream(), expected);
    }

    #[test]
    fn a_new_sequence_takes_the_place_of_the_old_and_drops_its_pictures() {
        let mut other = H264_SEQUENCE;
        other[3] = 0x1F;
        let mut sets = sets(Codec::H264, &[&H264_SEQUENCE, &H264_PICTURE]);
        sets.add(&other);
        assert!(!sets.are_complete());
        sets.add(&H264_PICTURE);
        assert_eq!(sets.to_stream().len(), 4 + other.len() + 4 + H264_PICTURE.len());
    }

    #[test]
    fn pictures_of_other_numbers_stay() {
        // Exp-Golomb: `010` is 1, `1` is 0.
        let second = [0x68, 0b0101_0000];
        let sets = sets(Codec::H264, &[&H264_SEQUENCE, &H264_PICTURE, &second]);
        assert!(sets.are_among(&[H264_SEQUENCE.to_vec(), H264_PICTURE.to_vec(), second.to_vec()]));
        assert!(!sets.are_among(&[H264_SEQUENCE.to_vec(), H264_PICTURE.to_vec()]));
    }

    #[test]
    fn the_number_of_a_sequence_of_h265_is_found_after_its_profile() {
        // Of x265: Main, with bytes that keep start codes out.
        let x265 = [
            0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x3C,
            0xA0, 0x0A, 0x08, 0x0F, 0x16,
        ];
        assert_eq!(name(Codec::H265, &x265), Some(Name { kind: Kind::Sequence, number: 0 }));
        // Two sub-layers, of which one tells its level: one byte more, and the number is 1.
        let mut layers = [0x42, 0x01, 0x02].to_vec();
        layers.extend([0xAA; 12]);
        layers.extend([0b0100_0000, 0x00, 0xAA, 0b0100_0000]);
        assert_eq!(name(Codec::H265, &layers), Some(Name { kind: Kind::Sequence, number: 1 }));
    }

    #[test]
    fn sets_of_other_layers_and_what_makes_no_sense_are_left_out() {
        let of_another_layer = [0x40, 0x09, 0x0C, 0x01];
        for unit in [of_another_layer.as_slice(), &[0x40], &[0x42, 0x01, 0x01], &[0x44, 0x01], &[], &[0x26, 0x01, 0xAF]]
        {
            assert_eq!(name(Codec::H265, unit), None, "{unit:?}");
        }
        for unit in [[0x67, 0x64].as_slice(), &[0x68], &[0x68, 0, 0], &[0x65, 0x88]] {
            assert_eq!(name(Codec::H264, unit), None, "{unit:?}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut sets = ParameterSets::new(Codec::H264);
        for number in 0..60_000_u32 {
            // Numbers of any length, and much after them.
            let code = (number + 1).to_be_bytes();
            let zeros = [0].repeat((32 - (number + 1).leading_zeros() as usize) / 8);
            sets.add(&[&[0x68], zeros.as_slice(), &code, &[0x55; 200]].concat());
            assert!(sets.to_stream().len() <= 2 * MOST_BYTES);
        }
    }
}
