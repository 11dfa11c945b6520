//! WAVE (Multimedia Programming Interface and Data Specifications 1.0, "RIFF"; EBU Tech 3306, "RF64").
//!
//! The header is the format of the samples, in a file that says of no part how long it is. A viewer begins
//! with any block of samples.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::bytes::Reader;
use crate::format::{Format, Next, Parser, Probe, Step, Unit};
use crate::mark::{Header, Loss};
use crate::out::{Out, USUAL_GAP};
use crate::signature::Signature;

pub(crate) static FORMAT: Format = Format { probe, parser: |_| Box::new(Wav::default()), signature: Some(&SIGNATURE) };

/// A file that begins with the format of its samples, as nearly all do.
static SIGNATURE: Signature =
    Signature { anchor: b"WAVEfmt ", before: 8, length: 16, check: |window| is_file(window.get(..4)) };

fn is_file(kind: Option<&[u8]>) -> bool {
    matches!(kind, Some(b"RIFF" | b"RF64"))
}

fn probe(bytes: &[u8]) -> Probe {
    let kind = if bytes.get(1) == Some(&b'F') { b"RF64" } else { b"RIFF" };
    Probe::magic(bytes, kind).and(|| Probe::magic(bytes.get(8..).unwrap_or_default(), b"WAVE"))
}

/// `RIFF`, a size, and `WAVE`.
const FILE_HEADER: usize = 12;
const CHUNK_HEADER: usize = 8;
/// A size that is not known.
const UNKNOWN: [u8; 4] = [0xFF; 4];

#[derive(Debug, Default)]
struct Wav {
    has_begun: bool,
    /// The chunk with the format of the samples, up to a padding byte.
    format: Vec<u8>,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Chunks,
    /// Joins are so many bytes apart.
    Samples(u64),
}

impl Parser for Wav {
    fn first(&self) -> Next {
        Next::Read { skip: 0, count: FILE_HEADER }
    }

    fn step(&mut self, unit: Unit<'_>, out: &mut Out) -> Step {
        if !self.has_begun {
            self.has_begun = true;
            return Step::read(unit, CHUNK_HEADER);
        }
        match self.state {
            State::Chunks => self.chunk(unit, out),
            State::Samples(distance) => {
                out.join(unit.at);
                Step::skip(unit, distance, 0)
            }
        }
    }
}

impl Wav {
    fn chunk(&mut self, unit: Unit<'_>, out: &mut Out) -> Step {
        let mut chunk = Reader(unit.bytes);
        let (Some(kind), Some(length)) = (chunk.array::<4>(), chunk.le32()) else { return Step::again(CHUNK_HEADER) };
        // Chunks have an even size.
        let whole = CHUNK_HEADER as u64 + u64::from(length).next_multiple_of(2);
        let read = unit.bytes.len() as u64;
        match &kind {
            b"data" => self.samples(unit, out),
            _ if !kind.iter().all(|byte| (b' '..=b'~').contains(byte)) => Step::lost(Loss::Malformed),
            b"fmt " if whole > out.max_header() as u64 / 2 => Step::lost(Loss::Oversized),
            b"fmt " if read < whole => Step::again(whole as usize),
            kind => {
                if kind == b"fmt " {
                    self.format = unit.bytes.to_vec();
                }
                Step::skip(unit, whole - read, CHUNK_HEADER)
            }
        }
    }

    /// All that follows is taken as samples: sizes of live streams are made up.
    fn samples(&mut self, unit: Unit<'_>, out: &mut Out) -> Step {
        const BLOCK_ALIGN: usize = CHUNK_HEADER + 12;
        let block = self.format.get(BLOCK_ALIGN..).and_then(|format| Reader(format).le16()).map(u64::from);
        let Some(block) = block.filter(|block| *block > 0) else { return Step::lost(Loss::Malformed) };
        let bytes = [b"RIFF", &UNKNOWN, b"WAVE", self.format.as_slice(), b"data", &UNKNOWN].concat();
        out.header(unit.at, Header { bytes, format: "wav", media_type: "audio/wav".into() });
        self.state = State::Samples(USUAL_GAP.next_multiple_of(block));
        Step::read(unit, 0)
    }
}
