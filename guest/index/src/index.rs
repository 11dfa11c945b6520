//! One life of a source: tells its format, hands the parser its units, and finds where another stream
//! begins.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use crate::bytes::size;
use crate::detect;
use crate::format::{Format, Next, Parser, Step, Unit};
use crate::id3;
use crate::mark::{Limits, Loss, Mark, Progress};
use crate::out::Out;
use crate::search::find_byte;
use crate::signature::{Found, Scanner};
use crate::view::View;

/// How much of the beginning may be needed to tell a format: two frames of the longest ADTS.
const PROBED: usize = 17 << 10;

/// No unit is longer than this, except headers: the contract promises that no more is kept (rule 4). The
/// longest is a page of Ogg, of 65,307 bytes.
const LONGEST_UNIT: usize = 64 << 10;

/// The index of one life of a source.
pub struct Index {
    limits: Limits,
    stage: Stage,
    out: Out,
    /// How many bytes have been passed.
    passed: u64,
    /// How many of them nothing will change any more. What was read before the format was known is among
    /// them, and stays.
    settled: u64,
}

enum Stage {
    Probing(Beginning),
    Reading(Reading),
    /// Nothing more is expected of this source.
    Blind,
}

impl Index {
    /// The index of a source of which nothing is known yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, stage: Stage::Probing(Beginning::default()), out: Out::new(limits), passed: 0, settled: 0 }
    }

    /// What follows from the next bytes of the source.
    pub fn advance(&mut self, bytes: &[u8]) -> Progress {
        self.passed = self.passed.saturating_add(bytes.len() as u64);
        match &mut self.stage {
            Stage::Probing(beginning) => {
                if let Some(format) = beginning.extend(bytes, Ends::Later) {
                    self.begin(format);
                }
            }
            Stage::Reading(reading) => reading.advance(bytes, &mut self.out),
            Stage::Blind => {}
        }
        self.progress()
    }

    /// The source has ended: what follows from that.
    pub fn finish(&mut self) -> Vec<Mark> {
        if let Stage::Probing(beginning) = &mut self.stage
            && let Some(format) = beginning.extend(&[], Ends::Here)
        {
            self.begin(format);
        }
        self.stage = Stage::Blind;
        self.out.take()
    }

    fn begin(&mut self, format: Option<&'static Format>) {
        let Stage::Probing(beginning) = mem::replace(&mut self.stage, Stage::Blind) else { return };
        match format {
            None => self.out.lost(Loss::Unrecognized),
            Some(format) => {
                let mut reading = Reading::new(format, self.limits, beginning.at);
                reading.advance(&beginning.bytes, &mut self.out);
                self.stage = Stage::Reading(reading);
            }
        }
    }

    fn progress(&mut self) -> Progress {
        let settled = match &self.stage {
            Stage::Reading(reading) => reading.at.min(self.passed),
            Stage::Probing(_) | Stage::Blind => self.passed,
        };
        self.settled = self.settled.max(settled);
        Progress { marks: self.out.take(), settled: self.settled }
    }
}

/// Whether more of the source may come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Here,
    Later,
}

/// The beginning of a source whose format is not known yet.
#[derive(Default)]
struct Beginning {
    /// Where the bytes begin: behind tags that say nothing of the format.
    at: u64,
    /// Bytes still to come that belong to such a tag.
    skip: u64,
    bytes: Vec<u8>,
}

impl Beginning {
    /// The format, or that there is none, or nothing if more bytes have to come.
    fn extend(&mut self, bytes: &[u8], ends: Ends) -> Option<Option<&'static Format>> {
        self.bytes.extend_from_slice(bytes);
        loop {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(self.bytes.len());
            self.bytes.drain(..skipped);
            self.at += skipped as u64;
            self.skip -= skipped as u64;
            match id3::length(&self.bytes) {
                Some(length) if self.skip == 0 => self.skip = length,
                _ => break,
            }
        }
        if self.skip > 0 && ends == Ends::Later {
            return None;
        }
        let probed = self.bytes.get(..PROBED);
        let whole = probed.is_some() || ends == Ends::Here;
        if !whole && self.may_be_id3() {
            return None;
        }
        detect::format(probed.unwrap_or(&self.bytes), whole)
    }

    /// Whether this may become the header of a tag.
    fn may_be_id3(&self) -> bool {
        self.bytes.len() < size(id3::HEADER) && (b"ID3".starts_with(&self.bytes) || self.bytes.starts_with(b"ID3"))
    }
}

/// A source whose format is known.
struct Reading {
    format: &'static Format,
    limits: Limits,
    parser: Box<dyn Parser>,
    wants: Wants,
    scanner: Option<Scanner>,
    /// Where the stream began that the parser reads.
    began: u64,
    /// Where what is unread begins.
    at: u64,
    /// What is unread and was too short for a unit.
    rest: Vec<u8>,
}

/// What is done with the next bytes.
#[derive(Clone, Copy)]
enum Wants {
    Unit(usize),
    Skip { left: u64, then: usize },
    Find { byte: u8, then: usize },
    Nothing,
}

impl Reading {
    fn new(format: &'static Format, limits: Limits, at: u64) -> Self {
        let parser = (format.parser)(limits);
        let wants = parser.first().into();
        let scanner = format.signature.map(|signature| Scanner::new(signature, at));
        Self { format, limits, parser, wants, scanner, began: at, at, rest: Vec::new() }
    }

    fn advance(&mut self, bytes: &[u8], out: &mut Out) {
        let mut view = View::new(mem::take(&mut self.rest), bytes);
        while self.turn(&mut view, out) {}
        self.rest = view.into_rest();
    }

    /// Does what is wanted next. False: there are not enough bytes for it.
    fn turn(&mut self, view: &mut View<'_>, out: &mut Out) -> bool {
        match self.wants {
            Wants::Unit(count) => self.unit(count, view, out),
            Wants::Skip { left: 0, then } => {
                self.wants = Wants::Unit(then);
                true
            }
            Wants::Skip { left, then } => {
                let count = usize::try_from(left).unwrap_or(usize::MAX);
                let Some(skipped) = self.skip(count, view, out) else { return true };
                self.wants = Wants::Skip { left: left - skipped as u64, then };
                skipped > 0
            }
            Wants::Find { byte, then } => {
                let found = find_byte(byte, view.piece());
                let count = found.unwrap_or(view.piece().len());
                let Some(skipped) = self.skip(count, view, out) else { return true };
                if found.is_some() {
                    self.wants = Wants::Unit(then);
                }
                found.is_some() || skipped > 0
            }
            Wants::Nothing => self.skip(usize::MAX, view, out).is_none_or(|skipped| skipped > 0),
        }
    }

    /// Passes over at most `count` bytes of one piece, and says over how many. Nothing: another stream
    /// begins, and is being read.
    fn skip(&mut self, count: usize, view: &mut View<'_>, out: &mut Out) -> Option<usize> {
        let piece = view.piece();
        let piece = piece.get(..count).unwrap_or(piece);
        let (found, skipped) = (self.search(&[piece]), piece.len());
        if let Some(found) = found {
            self.restart(&found, view, out);
            return None;
        }
        view.advance(skipped);
        self.at = self.at.saturating_add(skipped as u64);
        Some(skipped)
    }

    /// Hands the parser a unit. False: it is not complete.
    fn unit(&mut self, count: usize, view: &mut View<'_>, out: &mut Out) -> bool {
        let [first, second] = view.pieces();
        let first = first.get(..count).unwrap_or(first);
        let second = second.get(..count - first.len()).unwrap_or(second);
        // What has come of a unit is searched although it is not complete: it may never be.
        if let Some(found) = self.search(&[first, second]) {
            self.restart(&found, view, out);
            return true;
        }
        let Some(bytes) = view.unit(count) else { return false };
        let step = self.parser.step(Unit { at: self.at, bytes }, out);
        let used = step.used.min(count);
        view.advance(used);
        self.at = self.at.saturating_add(used as u64);
        let next = bounded(step, count, out.max_header());
        if let Next::Nothing(loss) = next {
            out.lost(loss);
        }
        self.wants = next.into();
        true
    }

    /// Where another stream begins in the unread bytes.
    fn search(&mut self, pieces: &[&[u8]]) -> Option<Found> {
        let scanner = self.scanner.as_mut()?;
        let mut at = self.at;
        for piece in pieces {
            while let Some(found) = scanner.search(at, piece) {
                // A stream's own beginning is not another one.
                if found.at != self.began {
                    return Some(found);
                }
            }
            at = at.saturating_add(piece.len() as u64);
        }
        None
    }

    /// Another stream begins, which does not continue this one.
    fn restart(&mut self, found: &Found, view: &mut View<'_>, out: &mut Out) {
        // The signature ends in unread bytes, so whatever of it has been read is in its window.
        match usize::try_from(found.at.saturating_sub(self.at)).unwrap_or(usize::MAX) {
            0 => {
                let read = usize::try_from(self.at - found.at).unwrap_or(0);
                view.rewind(found.window.get(..read).unwrap_or_default());
            }
            ahead => view.advance(ahead),
        }
        out.end(found.at);
        self.parser = (self.format.parser)(self.limits);
        self.wants = self.parser.first().into();
        self.began = found.at;
        self.at = found.at;
    }
}

/// What a parser wants, if that is within the limit and can come: it never gets the same unit twice, as that
/// would go on for ever.
fn bounded(step: Step, count: usize, max_header: usize) -> Next {
    match step.next {
        Next::Read { count: wanted, .. } if wanted > max_header.saturating_add(LONGEST_UNIT) => {
            Next::Nothing(Loss::Oversized)
        }
        Next::Read { skip: 0, count: wanted } if step.used == 0 && wanted <= count => {
            debug_assert!(false, "a parser wants the unit that it has");
            Next::Nothing(Loss::Malformed)
        }
        Next::Find { .. } if step.used == 0 && count > 0 => {
            debug_assert!(false, "a parser may find what it has");
            Next::Nothing(Loss::Malformed)
        }
        next => next,
    }
}

impl From<Next> for Wants {
    fn from(next: Next) -> Self {
        match next {
            Next::Read { skip: 0, count } => Self::Unit(count),
            Next::Read { skip, count } => Self::Skip { left: skip, then: count },
            Next::Find { byte, count } => Self::Find { byte, then: count },
            Next::Nothing(_) => Self::Nothing,
        }
    }
}
