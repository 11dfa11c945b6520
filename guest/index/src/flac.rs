//! FLAC without a container (RFC 9639).
//!
//! The header is the metadata, without what is only true of the whole file: how long it is, its checksum,
//! and where to seek. A viewer begins with a frame. A frame is told by its header, whose checksum has eight
//! bits only, and by its number, which follows that of the frame before.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::bytes::{Reader, append};
use crate::crc::crc8;
use crate::format::{Format, Next, Parser, Probe, Step, Unit};
use crate::mark::{Header, Loss};
use crate::out::{Out, USUAL_GAP};
use crate::signature::Signature;

pub(crate) static FORMAT: Format = Format {
    probe: |bytes| Probe::magic(bytes, MAGIC),
    parser: |_| Box::new(Flac::default()),
    signature: Some(&SIGNATURE),
};

const MAGIC: &[u8] = b"fLaC";

/// The marker, and the beginning of the block that always comes first (section 8.2).
static SIGNATURE: Signature = Signature {
    anchor: MAGIC,
    before: 0,
    length: 8,
    check: |window| matches!(window, [_, _, _, _, 0x00 | 0x80, 0, 0, STREAM_INFO_LENGTH]),
};

const STREAM_INFO_LENGTH: u8 = 34;
const BLOCK_HEADER: usize = 4;

#[derive(Debug, Default)]
struct Flac {
    state: State,
    /// The metadata that is kept.
    header: Vec<u8>,
    /// Where the header of the last block in it begins.
    last_block: usize,
    info: Info,
    /// The number that the next frame has.
    expected: Option<u64>,
    /// The number that the next frame has if the last that did not fit was one.
    rival: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Marker,
    Metadata,
    Frames,
}

/// What of the STREAMINFO block all frames have in common (section 8.2).
#[derive(Clone, Copy, Debug, Default)]
struct Info {
    sample_rate: u32,
    channels: u8,
    bits_per_sample: u8,
}

impl Parser for Flac {
    fn first(&self) -> Next {
        Next::Read { skip: 0, count: MAGIC.len() }
    }

    fn step(&mut self, unit: Unit<'_>, out: &mut Out) -> Step {
        match self.state {
            State::Marker if unit.bytes == MAGIC => {
                self.header = MAGIC.to_vec();
                self.state = State::Metadata;
                Step::read(unit, BLOCK_HEADER)
            }
            State::Marker => Step::lost(Loss::Malformed),
            State::Metadata => self.metadata(unit, out),
            State::Frames => self.frame(unit, out),
        }
    }
}

/// Types of metadata blocks (section 8.1).
mod block {
    pub(super) const STREAM_INFO: u8 = 0;
    pub(super) const PADDING: u8 = 1;
    pub(super) const SEEK_TABLE: u8 = 3;
    pub(super) const CUE_SHEET: u8 = 5;
    pub(super) const INVALID: u8 = 127;
}

const IS_LAST: u8 = 0x80;

impl Flac {
    fn metadata(&mut self, unit: Unit<'_>, out: &mut Out) -> Step {
        let mut block = Reader(unit.bytes);
        let (Some(first), Some(length)) = (block.u8(), block.be24()) else { return Step::again(BLOCK_HEADER) };
        let kind = first & !IS_LAST;
        let is_info = kind == block::STREAM_INFO;
        if is_info != (self.header.len() == MAGIC.len())
            || is_info && length != u32::from(STREAM_INFO_LENGTH)
            || kind == block::INVALID
        {
            return Step::lost(Loss::Malformed);
        }
        let whole = BLOCK_HEADER + length as usize;
        // Players do without a picture, or whatever else is too long.
        let is_kept = !matches!(kind, block::PADDING | block::SEEK_TABLE | block::CUE_SHEET)
            && self.header.len() + whole <= out.max_header();
        if is_kept && unit.bytes.len() < whole {
            return Step::again(whole);
        }
        if is_kept {
            self.last_block = self.header.len();
            self.header.push(kind);
            append(&mut self.header, unit.bytes.get(1..).unwrap_or_default());
        }
        if is_info && self.info().is_none() {
            return Step::lost(Loss::Malformed);
        }
        let skip = (whole - unit.bytes.len()) as u64;
        if first & IS_LAST == 0 {
            return Step::skip(unit, skip, BLOCK_HEADER);
        }
        self.begin_frames(unit.at, out);
        Step::skip(unit, skip, FrameHeader::SYNC)
    }

    /// Reads the STREAMINFO block, and clears what is not true of what a viewer gets.
    fn info(&mut self) -> Option<()> {
        const SAMPLE_RATE: usize = MAGIC.len() + BLOCK_HEADER + 10;
        let [_, _, third, fourth, count @ ..] = self.header.get_mut(SAMPLE_RATE..)?.first_chunk_mut::<24>()?;
        *fourth &= 0xF0;
        count.fill(0);
        let (third, fourth) = (*third, *fourth);
        let sample_rate = Reader(self.header.get(SAMPLE_RATE..)?).be24()? >> 4;
        self.info =
            Info { sample_rate, channels: (third >> 1 & 7) + 1, bits_per_sample: ((third & 1) << 4 | fourth >> 4) + 1 };
        Some(())
    }

    fn begin_frames(&mut self, at: u64, out: &mut Out) {
        self.state = State::Frames;
        if let Some(last) = self.header.get_mut(self.last_block) {
            *last |= IS_LAST;
        }
        let bytes = core::mem::take(&mut self.header);
        out.header(at, Header { bytes, format: "flac", media_type: "audio/flac".into() });
    }

    fn frame(&mut self, unit: Unit<'_>, out: &mut Out) -> Step {
        let nothing = Step::find(0xFF, FrameHeader::SYNC);
        let header = match FrameHeader::read(unit.bytes) {
            None => return nothing,
            Some(Err(needed)) => return Step::again(needed),
            Some(Ok(header)) => header,
        };
        if !header.fits(&self.info) {
            return nothing;
        }
        let next = Some(header.number.saturating_add(header.step));
        if self.expected.is_some_and(|expected| expected != header.number) && self.rival != Some(header.number) {
            self.rival = next;
            return nothing;
        }
        self.expected = next;
        self.rival = None;
        out.join_sparsely(unit.at, USUAL_GAP);
        Step { used: header.length, next: Next::Find { byte: 0xFF, count: FrameHeader::SYNC } }
    }
}

/// How a frame begins (section 9.1).
#[derive(Debug)]
struct FrameHeader {
    length: usize,
    /// Nothing: as the STREAMINFO block has it.
    sample_rate: Option<u32>,
    channels: u8,
    bits_per_sample: Option<u8>,
    /// Of the frame, or, where frames differ in size, of its first sample.
    number: u64,
    /// How much greater the number of the next frame is.
    step: u64,
}

impl FrameHeader {
    /// The bytes that every frame begins with.
    const SYNC: usize = 2;

    /// Nothing where this is no frame, or how many bytes it takes to tell.
    fn read(bytes: &[u8]) -> Option<Result<Self, usize>> {
        const LEAST: usize = 6;
        let has_fixed_size = match bytes {
            [0xFF, 0xF8, ..] => true,
            [0xFF, 0xF9, ..] => false,
            _ => return None,
        };
        let [_, _, sizes, format, first_of_number, ..] = *bytes else { return Some(Err(LEAST)) };
        let number_length = number_length(first_of_number)?;
        let (block_size, sample_rate, channels) = (sizes >> 4, sizes & 0x0F, format >> 4);
        if block_size == 0 || sample_rate == 15 || channels > 10 || format & 1 != 0 {
            return None;
        }
        let length = 4 + number_length + extra_length(block_size, sample_rate) + 1;
        if bytes.len() < length {
            return Some(Err(length));
        }
        let header = bytes.get(..length).filter(|header| crc8(header) == 0)?;
        let mut rest = Reader(header.get(4..)?);
        let number = coded_number(rest.take(number_length)?);
        let block_size = read_block_size(block_size, &mut rest)?;
        Some(Ok(Self {
            length,
            sample_rate: read_sample_rate(sample_rate, &mut rest)?,
            // Up to eight channels by themselves, or two that are told from one another.
            channels: if channels < 8 { channels + 1 } else { 2 },
            bits_per_sample: read_sample_size(format >> 1 & 7)?,
            number,
            step: if has_fixed_size { 1 } else { block_size },
        }))
    }

    fn fits(&self, info: &Info) -> bool {
        self.channels == info.channels
            && self.sample_rate.is_none_or(|rate| rate == info.sample_rate)
            && self.bits_per_sample.is_none_or(|bits| bits == info.bits_per_sample)
    }
}

/// How many bytes a coded number has that begins with this one.
fn number_length(first: u8) -> Option<usize> {
    match first.leading_ones() {
        0 => Some(1),
        ones @ 2..=7 => Some(ones as usize),
        _ => None,
    }
}

/// How many bytes follow the number for a size and a rate that are not in the tables.
fn extra_length(block_size: u8, sample_rate: u8) -> usize {
    let for_size = usize::from(block_size.checked_sub(5).filter(|code| *code < 3).unwrap_or_default());
    let for_rate = match sample_rate {
        12 => 1,
        13 | 14 => 2,
        _ => 0,
    };
    for_size + for_rate
}

/// A number as UTF-8 would code it (section 9.1.5).
fn coded_number(bytes: &[u8]) -> u64 {
    let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let first = if rest.is_empty() { *first } else { first & (0x7F_u8 >> bytes.len()) };
    rest.iter().fold(u64::from(first), |number, byte| number << 6 | u64::from(byte & 0x3F))
}

/// Section 9.1.1.
fn read_block_size(code: u8, rest: &mut Reader<'_>) -> Option<u64> {
    Some(match code {
        1 => 192,
        2..=5 => 144 << code,
        6 => u64::from(rest.u8()?) + 1,
        7 => u64::from(rest.be16()?) + 1,
        _ => 1 << code,
    })
}

/// Section 9.1.2. Nothing in the inner one: as in the STREAMINFO block.
fn read_sample_rate(code: u8, rest: &mut Reader<'_>) -> Option<Option<u32>> {
    const RATES: [u32; 11] = [88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000];
    Some(match code {
        0 => None,
        12 => Some(u32::from(rest.u8()?) * 1_000),
        13 => Some(u32::from(rest.be16()?)),
        14 => Some(u32::from(rest.be16()?) * 10),
        code => Some(*RATES.get(usize::from(code - 1))?),
    })
}

/// Section 9.1.4. Nothing in the inner one: as in the STREAMINFO block.
fn read_sample_size(code: u8) -> Option<Option<u8>> {
    const SIZES: [Option<u8>; 8] = [None, Some(8), Some(12), None, Some(16), Some(20), Some(24), Some(32)];
    if code == 3 { None } else { SIZES.get(usize::from(code)).copied() }
}
