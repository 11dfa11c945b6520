//! Where viewers may join a live source, as its index says.
//!
//! Rule: what is kept is bounded, and what has left the buffer is forgotten.

use std::collections::VecDeque;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::contract::{Header, Join};
use crate::limits::{LIVE_ENDS, LIVE_JOINS};
use crate::sources::content::{self, Content};
use crate::sources::medium::Medium;

/// The newest header, and the places to join after it.
#[derive(Debug, Default)]
pub(super) struct Joins {
    header: Option<Arc<Prefix>>,
    places: VecDeque<Join>,
    /// The newest place, which may be too close to the others to be among them.
    newest: Option<Join>,
    /// Where streams ended within this life.
    ends: VecDeque<u64>,
}

/// What goes before the bytes of the source, in memory once for all viewers.
#[derive(Debug)]
struct Prefix {
    bytes: OwnedFd,
    count: u64,
    media_type: Arc<str>,
}

/// Where a viewer begins.
#[derive(Debug)]
pub(super) struct Beginning {
    header: Arc<Prefix>,
    join: Join,
}

impl Joins {
    pub(super) fn header(&mut self, header: &Header) -> io::Result<()> {
        let bytes = content::memory(c"header")?;
        content::write_all(&bytes, &header.bytes, 0)?;
        let media_type = header.media_type.as_str().into();
        self.header = Some(Arc::new(Prefix { bytes, count: header.bytes.len() as u64, media_type }));
        self.places.clear();
        self.newest = None;
        Ok(())
    }

    /// Keeps a place. `buffer` is what the source keeps: places are thinned out to so many in it.
    pub(super) fn join(&mut self, join: Join, buffer: u64) {
        let apart = buffer / LIVE_JOINS as u64;
        let is_apart = self.places.back().is_none_or(|last| join.offset - last.offset >= apart);
        if is_apart {
            if self.places.len() == LIVE_JOINS {
                self.places.pop_front();
            }
            self.places.push_back(join.clone());
        }
        self.newest = Some(join);
    }

    pub(super) fn end(&mut self, offset: u64) {
        self.lose();
        if self.ends.len() == LIVE_ENDS {
            self.ends.pop_front();
        }
        self.ends.push_back(offset);
    }

    /// There are no places until the next header.
    pub(super) fn lose(&mut self) {
        self.header = None;
        self.places.clear();
        self.newest = None;
    }

    /// Forgets what has left the buffer.
    pub(super) fn forget(&mut self, start: u64) {
        while self.places.front().is_some_and(|join| join.offset < start) {
            self.places.pop_front();
        }
        if self.newest.as_ref().is_some_and(|join| join.offset < start) {
            self.newest = None;
        }
        while self.ends.front().is_some_and(|end| *end < start) {
            self.ends.pop_front();
        }
    }

    /// Whether the source has places to join.
    pub(super) fn has_header(&self) -> bool {
        self.header.is_some()
    }

    /// The oldest place within these offsets.
    pub(super) fn oldest(&self, offsets: &RangeInclusive<u64>) -> Option<Beginning> {
        let mut within = self.places.iter().chain(&self.newest).filter(|join| offsets.contains(&join.offset));
        within.find_map(|join| self.beginning(join))
    }

    /// The newest place within these offsets.
    pub(super) fn newest(&self, offsets: &RangeInclusive<u64>) -> Option<Beginning> {
        let newest_first = self.newest.iter().chain(self.places.iter().rev());
        let mut within = newest_first.filter(|join| offsets.contains(&join.offset));
        within.find_map(|join| self.beginning(join))
    }

    /// Where the stream that has the byte at `offset` ends, if it has ended.
    pub(super) fn end_after(&self, offset: u64) -> Option<u64> {
        self.ends.iter().copied().find(|end| *end > offset)
    }

    fn beginning(&self, join: &Join) -> Option<Beginning> {
        let header = Arc::clone(self.header.as_ref()?);
        let prefix = header.count + join.preface.len() as u64;
        // A prefix takes the offsets before its join, so that the source keeps its own.
        (join.offset >= prefix).then(|| Beginning { header, join: join.clone() })
    }
}

impl Beginning {
    /// Offset of the first byte of the source itself.
    pub(super) fn join(&self) -> u64 {
        self.join.offset
    }

    /// Offset of the first byte of the viewer's stream.
    pub(super) fn start(&self) -> u64 {
        self.join.offset - self.header.count - self.join.preface.len() as u64
    }

    /// The viewer's stream: header, preface, and the source from the join on.
    pub(super) fn content(&self, memory: &Arc<OwnedFd>) -> io::Result<Content> {
        let mut content = Content::from_offset(self.start());
        content.push(Arc::new(self.header.bytes.try_clone()?), Medium::Memory, 0, self.header.count);
        if !self.join.preface.is_empty() {
            let preface = content::memory(c"preface")?;
            content::write_all(&preface, &self.join.preface, 0)?;
            content.push(Arc::new(preface), Medium::Memory, 0, self.join.preface.len() as u64);
        }
        content.push(Arc::clone(memory), Medium::Memory, self.join.offset, u64::MAX);
        Ok(content.typed(&self.header.media_type))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joins(header: usize, offsets: &[u64]) -> Joins {
        let mut joins = Joins::default();
        let (format, media_type) = ("test".to_owned(), "video/test".to_owned());
        joins.header(&Header { bytes: vec![b'h'; header], format, media_type }).expect("there is memory");
        for offset in offsets {
            joins.join(Join { offset: *offset, preface: b"pp".to_vec() }, 16 << 20);
        }
        joins
    }

    fn at(beginning: Option<Beginning>) -> Option<u64> {
        beginning.map(|beginning| beginning.join())
    }

    #[test]
    fn a_viewer_begins_where_it_was_asked_to_and_a_header_fits() {
        let joins = joins(10, &[5, 10_000, 20_000, 30_000]);
        assert_eq!(at(joins.oldest(&(0..=9_999))), None, "the header does not fit before it");
        assert_eq!(at(joins.oldest(&(0..=40_000))), Some(10_000));
        assert_eq!(at(joins.oldest(&(10_001..=40_000))), Some(20_000));
        assert_eq!(at(joins.newest(&(0..=29_999))), Some(20_000));
        assert_eq!(at(joins.newest(&(0..=30_000))), Some(30_000));
        assert_eq!(at(joins.newest(&(30_001..=40_000))), None);
    }

    #[test]
    fn a_viewers_stream_is_header_preface_and_source() {
        let memory = Arc::new(content::memory(c"live").expect("there is memory"));
        content::write_all(&memory, b"0123456789abcdefghij", 0).expect("there is room");
        let beginning = joins(3, &[15]).newest(&(0..=20)).expect("there is a place");
        assert_eq!(beginning.start(), 10);
        let content = beginning.content(&memory).expect("it can be composed");
        let mut bytes = [0; 10];
        content.read(10, &mut bytes).expect("it can be read");
        assert_eq!(&bytes, b"hhhppfghij");
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_left_the_buffer_is_forgotten() {
        let every_byte: Vec<u64> = (100..100_000).collect();
        let mut joins = joins(1, &every_byte);
        assert!(joins.places.len() <= LIVE_JOINS);
        assert_eq!(at(joins.newest(&(0..=u64::MAX))), Some(99_999));
        joins.forget(99_000);
        assert!(joins.places.iter().all(|join| join.offset >= 99_000));
        for end in 0..200 {
            joins.end(200_000 + end);
        }
        assert_eq!(joins.ends.len(), LIVE_ENDS);
        assert_eq!(joins.end_after(200_150), Some(200_151));
        assert!(!joins.has_header());
    }
}
