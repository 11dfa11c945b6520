//! JPEG pictures in a row (ITU-T T.81, annex B), as cameras and `ffmpeg -f mjpeg` send them.
//!
//! There is no header. A viewer begins with a picture. Pictures can hold others (thumbnails), so they are
//! read marker by marker.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::format::{Format, Next, Parser, Probe, Step, Unit};
use crate::mark::Header;
use crate::out::Out;

pub(crate) static FORMAT: Format = Format {
    probe: |bytes| Probe::magic(bytes, &[0xFF, START, 0xFF]),
    parser: |_| Box::new(Pictures::default()),
    signature: None,
};

/// The second bytes of markers (table B.1).
const START: u8 = 0xD8;
const END: u8 = 0xD9;
const SCAN: u8 = 0xDA;

const MARKER: usize = 2;
/// A marker and the length of its segment.
const SEGMENT: usize = 4;

#[derive(Debug, Default)]
struct Pictures {
    has_begun: bool,
    place: Place,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Between,
    InPicture,
    /// In coded data, which markers interrupt.
    InScan,
}

impl Parser for Pictures {
    fn first(&self) -> Next {
        Next::Read { skip: 0, count: MARKER }
    }

    fn step(&mut self, unit: Unit<'_>, out: &mut Out) -> Step {
        if !self.has_begun {
            self.has_begun = true;
            let media_type = "video/x-motion-jpeg".into();
            out.header(unit.at, Header { bytes: Vec::new(), format: "motion-jpeg", media_type });
        }
        match (unit.bytes, self.place) {
            ([0xFF, START, ..], Place::Between | Place::InPicture) => {
                self.place = Place::InPicture;
                out.join(unit.at);
                Step::read(unit, MARKER)
            }
            (_, Place::Between) => Step::find(0xFF, MARKER),
            // Any number of these may come before a marker.
            ([0xFF, 0xFF, ..], Place::InPicture) => Step::used(1, MARKER),
            ([0xFF, 0xFF, ..], Place::InScan) => Step::find(0xFF, MARKER),
            // A byte of data, or a restart: neither ends a scan.
            ([0xFF, 0x00 | 0xD0..=0xD7, ..], Place::InScan) => Step::find(0xFF, MARKER),
            ([0xFF, END, ..], _) => {
                self.place = Place::Between;
                Step::read(unit, MARKER)
            }
            ([0xFF, 0x01 | 0xD0..=0xD7, ..], _) => Step::read(unit, MARKER),
            ([0xFF, 0xC0..=0xFF, high, low, ..], _) => self.segment(unit, u16::from_be_bytes([*high, *low])),
            ([0xFF, 0xC0..=0xFF], _) => Step::again(SEGMENT),
            _ => self.broken(),
        }
    }
}

impl Pictures {
    /// A marker with a segment, whose length counts itself.
    fn segment(&mut self, unit: Unit<'_>, length: u16) -> Step {
        let Some(length) = length.checked_sub(2) else { return self.broken() };
        let is_scan = unit.bytes.get(1) == Some(&SCAN);
        self.place = if is_scan { Place::InScan } else { Place::InPicture };
        if is_scan && length == 0 {
            return Step { used: unit.bytes.len(), next: Next::Find { byte: 0xFF, count: MARKER } };
        }
        Step::skip(unit, u64::from(length), MARKER)
    }

    /// The next picture may begin anywhere.
    fn broken(&mut self) -> Step {
        self.place = Place::Between;
        Step::find(0xFF, MARKER)
    }
}
