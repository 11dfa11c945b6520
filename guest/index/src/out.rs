//! The marks of a call, and what the contract promises about them: their order, and how many there may be.

use alloc::vec::Vec;
use core::mem;

use crate::mark::{Header, Join, Limits, Loss, Mark, Patch};

/// Joins are at least this many bytes apart, or a call could return more marks than bytes.
const LEAST_GAP: u64 = 64;

/// Where a format can be joined nearly anywhere, joins are about this many bytes apart: 30 ms of video, or
/// 60 ms of music, and few enough to remember.
pub(crate) const USUAL_GAP: u64 = 1_024;

/// The bytes of headers and prefaces that a life may return beyond as many as were passed (contract, rule 5).
const HEADER_CREDIT: u64 = 64 << 10;

/// No preface is longer (contract, rule 5).
pub(crate) const LONGEST_PREFACE: usize = 2_048;

/// Collects marks.
#[derive(Debug)]
pub(crate) struct Out {
    marks: Vec<Mark>,
    max_header: usize,
    /// How many bytes of headers and prefaces there have been.
    header_bytes: u64,
    /// Whether there is a header that joins can follow.
    joinable: bool,
    /// The last offset that a mark had.
    last: u64,
    last_join: Option<u64>,
    /// No join comes before this offset.
    earliest_join: u64,
}

impl Out {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            marks: Vec::new(),
            max_header: limits.max_header(),
            header_bytes: 0,
            joinable: false,
            last: 0,
            last_join: None,
            earliest_join: 0,
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Mark> {
        mem::take(&mut self.marks)
    }

    pub(crate) fn max_header(&self) -> usize {
        self.max_header
    }

    /// A new header, known when the stream had been read up to `at`. False: not now. There have been too
    /// many bytes of headers for so few of the stream, and there are no joins until a later one is taken.
    pub(crate) fn header(&mut self, at: u64, header: Header) -> bool {
        self.joinable = header.bytes.len() <= self.max_header && self.affords(at, header.bytes.len());
        if self.joinable {
            self.marks.push(Mark::Header(header));
        }
        self.joinable
    }

    /// Whether there may be so many more bytes of headers and prefaces. Counts them if so.
    fn affords(&mut self, at: u64, bytes: usize) -> bool {
        let total = self.header_bytes.saturating_add(bytes as u64);
        let affords = total <= at.saturating_add(HEADER_CREDIT);
        if affords {
            self.header_bytes = total;
        }
        affords
    }

    /// A viewer may begin at `at`. Ignored without a header, and too close after the one before.
    pub(crate) fn join(&mut self, at: u64) {
        self.join_sparsely(at, LEAST_GAP);
    }

    /// As `join`, with at least `gap` bytes until the next.
    pub(crate) fn join_sparsely(&mut self, at: u64, gap: u64) {
        self.join_with(at, gap, Vec::new);
    }

    /// As `join_sparsely`, with something between the header and the source. Ignored, too, after too many bytes of
    /// that for so few of the stream.
    pub(crate) fn join_with(&mut self, at: u64, gap: u64, preface: impl FnOnce() -> Vec<u8>) {
        if self.joinable && at >= self.earliest_join {
            let preface = preface();
            if !self.affords(at, preface.len()) {
                return;
            }
            self.marks.push(Mark::Join(Join { offset: at, preface }));
            self.last = at;
            self.last_join = Some(at);
            self.earliest_join = at.saturating_add(gap.max(LEAST_GAP));
        }
    }

    /// Another stream begins at `at`.
    pub(crate) fn end(&mut self, at: u64) {
        // A join may have been seen in what turned out to be the next beginning.
        let after_join = self.last_join.map_or(0, |last| last.saturating_add(1));
        self.last = self.last.max(at);
        self.marks.push(Mark::End(self.last));
        self.joinable = false;
        self.earliest_join = after_join.max(at);
    }

    pub(crate) fn patch(&mut self, patch: Patch) {
        self.marks.push(Mark::Patch(patch));
    }

    pub(crate) fn lost(&mut self, loss: Loss) {
        self.joinable = false;
        self.marks.push(Mark::Lost(loss));
    }
}
