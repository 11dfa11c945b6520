//! Ogg (RFC 3533) with the codecs that are common in it: Vorbis, Opus (RFC 7845), FLAC, Speex, Theora, VP8,
//! and Skeleton.
//!
//! The header is the pages with the header packets of all logical streams. A viewer begins with a page; in
//! a stream with video, with one whose first packet is a key frame. Pages that continue a packet will not
//! do for video; for sound decoders throw away the rest of a packet that they have not seen the beginning
//! of. A chained stream begins with new headers, which viewers of the one before read as well.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::bytes::{Reader, append};
use crate::crc::crc32;
use crate::format::{Format, Next, Parser, Probe, Step, Unit};
use crate::mark::{Header, Loss};
use crate::out::{Out, USUAL_GAP};

/// Another producer's pages are a chained stream.
pub(crate) static FORMAT: Format =
    Format { probe: |bytes| Probe::magic(bytes, MAGIC), parser: |_| Box::new(Ogg::default()), signature: None };

const MAGIC: &[u8] = b"OggS";

/// A page up to its segment table (RFC 3533, section 6).
const PAGE_HEADER: usize = 27;

/// More logical streams at once than anybody has; each is remembered.
const MOST_STREAMS: usize = 64;

#[derive(Debug, Default)]
struct Ogg {
    streams: Vec<Stream>,
    /// The pages of the header that have come.
    header: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The first pages of all streams are coming.
    #[default]
    Beginning,
    /// The other header packets are coming.
    Headers,
    Data,
    /// The header was too long: nothing until a chained stream begins.
    Lost,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    serial: u32,
    codec: Codec,
    headers: Headers,
}

/// Which header packets of a stream are still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Headers {
    Packets(u32),
    /// FLAC marks the last.
    UntilMarked,
    /// Skeleton has nothing but headers, and ends before the data.
    UntilEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    Theora,
    Vp8,
    Audio,
    Flac,
    Skeleton,
    /// Its first page is its header.
    Other,
}

impl Parser for Ogg {
    fn first(&self) -> Next {
        Next::Read { skip: 0, count: PAGE_HEADER }
    }

    fn step(&mut self, unit: Unit<'_>, out: &mut Out) -> Step {
        if !unit.bytes.starts_with(b"OggS\0") {
            return Step::find(b'O', PAGE_HEADER);
        }
        let segments = usize::from(unit.bytes.get(PAGE_HEADER - 1).copied().unwrap_or_default());
        let Some(table) = unit.bytes.get(PAGE_HEADER..PAGE_HEADER + segments) else {
            return Step::again(PAGE_HEADER + segments);
        };
        let length = PAGE_HEADER + segments + table.iter().map(|segment| usize::from(*segment)).sum::<usize>();
        if unit.bytes.len() < length {
            return Step::again(length);
        }
        match Page::read(unit.bytes, table) {
            Some(page) => {
                self.page(unit, &page, out);
                Step::read(unit, PAGE_HEADER)
            }
            // Damaged, or not a page: the next may begin anywhere in it.
            None => Step::find(b'O', PAGE_HEADER),
        }
    }
}

impl Ogg {
    fn page(&mut self, unit: Unit<'_>, page: &Page<'_>, out: &mut Out) {
        if page.is_first {
            if self.state != State::Beginning {
                *self = Self::default();
            }
            if self.streams.len() < MOST_STREAMS {
                self.streams.push(Stream::new(page));
            }
            return self.add_header(unit, out);
        }
        if self.state == State::Beginning && !self.streams.is_empty() {
            self.state = State::Headers;
        }
        match self.state {
            State::Headers if self.streams.iter().all(|stream| stream.headers == Headers::Packets(0)) => {
                self.begin_data(unit.at, out);
                self.data(unit.at, page, out);
            }
            State::Headers => {
                if let Some(stream) = self.streams.iter_mut().find(|stream| stream.serial == page.serial) {
                    stream.count_headers(page);
                }
                self.add_header(unit, out);
            }
            State::Data => self.data(unit.at, page, out),
            State::Beginning | State::Lost => {}
        }
    }

    fn add_header(&mut self, unit: Unit<'_>, out: &mut Out) {
        if self.state == State::Lost {
            return;
        }
        if self.header.len() + unit.bytes.len() > out.max_header() {
            self.header = Vec::new();
            self.state = State::Lost;
            return out.lost(Loss::Oversized);
        }
        append(&mut self.header, unit.bytes);
    }

    /// The first page behind the headers.
    fn begin_data(&mut self, at: u64, out: &mut Out) {
        self.state = State::Data;
        let bytes = core::mem::take(&mut self.header);
        let media_type = if self.streams.iter().any(Stream::is_video) { "video/ogg" } else { "audio/ogg" };
        out.header(at, Header { bytes, format: "ogg", media_type: media_type.into() });
    }

    fn data(&mut self, at: u64, page: &Page<'_>, out: &mut Out) {
        let Some(stream) = self.streams.iter().find(|stream| stream.serial == page.serial) else { return };
        match self.streams.iter().find(|stream| stream.is_video()) {
            Some(video) if video.serial != page.serial => {}
            Some(_) if page.is_continued => {}
            Some(_) if page.packets().next().is_some_and(|packet| stream.codec.is_key(packet)) => out.join(at),
            Some(_) => {}
            None if page.begins_packet() => out.join_sparsely(at, USUAL_GAP),
            None => {}
        }
    }
}

impl Stream {
    /// The stream that begins with a page.
    fn new(page: &Page<'_>) -> Self {
        let packet = page.packets().next().unwrap_or_default();
        let (codec, headers) = Codec::tell(packet);
        Self { serial: page.serial, codec, headers }
    }

    fn is_video(&self) -> bool {
        matches!(self.codec, Codec::Theora | Codec::Vp8)
    }

    /// Counts the header packets that end in a page.
    fn count_headers(&mut self, page: &Page<'_>) {
        match self.headers {
            Headers::Packets(left) => self.headers = Headers::Packets(left.saturating_sub(page.ends())),
            Headers::UntilEnd if page.is_last => self.headers = Headers::Packets(0),
            Headers::UntilEnd => {}
            // A metadata block begins with a flag for the last (RFC 9639, section 8.1). A long one goes on
            // in pages that begin with the rest of it.
            Headers::UntilMarked => {
                let begun = page.packets().skip(usize::from(page.is_continued));
                if begun.filter_map(|packet| packet.first()).any(|first| first & 0x80 != 0) {
                    self.headers = Headers::Packets(u32::from(!page.ends_whole()));
                }
            }
        }
    }
}

impl Codec {
    /// Tells a codec, and how many header packets follow the first.
    fn tell(packet: &[u8]) -> (Self, Headers) {
        const SPEEX_EXTRA_HEADERS: usize = 68;
        match packet {
            [0x01, b'v', b'o', b'r', b'b', b'i', b's', ..] => (Self::Audio, Headers::Packets(2)),
            [0x80, b't', b'h', b'e', b'o', b'r', b'a', ..] => (Self::Theora, Headers::Packets(2)),
            [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', ..] => (Self::Audio, Headers::Packets(1)),
            [b'S', b'p', b'e', b'e', b'x', b' ', b' ', b' ', ..] => {
                let extra = packet.get(SPEEX_EXTRA_HEADERS..).and_then(|bytes| Reader(bytes).le32());
                (Self::Audio, Headers::Packets(extra.unwrap_or_default().saturating_add(1)))
            }
            // The number of header packets, 0 if it is not known (Ogg mapping of FLAC, RFC 9639, section 10.1).
            [0x7F, b'F', b'L', b'A', b'C', _, _, 0, 0, ..] => (Self::Flac, Headers::UntilMarked),
            [0x7F, b'F', b'L', b'A', b'C', _, _, high, low, ..] => {
                (Self::Flac, Headers::Packets(u32::from(u16::from_be_bytes([*high, *low]))))
            }
            [b'O', b'V', b'P', b'8', b'0', ..] => (Self::Vp8, Headers::Packets(1)),
            [b'f', b'i', b's', b'h', b'e', b'a', b'd', 0, ..] => (Self::Skeleton, Headers::UntilEnd),
            _ => (Self::Other, Headers::Packets(0)),
        }
    }

    /// Whether a packet of data can be decoded by itself.
    fn is_key(self, packet: &[u8]) -> bool {
        let first = packet.first().copied();
        match self {
            // Not a header, and an intra frame (Theora specification, section 7.1).
            Self::Theora => first.is_some_and(|first| first & 0xC0 == 0),
            // RFC 6386, section 9.1.
            Self::Vp8 => first.is_some_and(|first| first & 1 == 0),
            Self::Audio | Self::Flac | Self::Skeleton | Self::Other => true,
        }
    }
}

/// A page.
#[derive(Debug)]
struct Page<'a> {
    serial: u32,
    is_continued: bool,
    is_first: bool,
    is_last: bool,
    table: &'a [u8],
    content: &'a [u8],
}

impl<'a> Page<'a> {
    /// Nothing where its checksum is not right.
    fn read(whole: &'a [u8], table: &'a [u8]) -> Option<Self> {
        let mut header = Reader(whole);
        header.skip(MAGIC.len() + 1)?;
        let flags = header.u8()?;
        header.skip(8)?;
        let serial = header.le32()?;
        header.skip(4)?;
        let before = whole.get(..22)?;
        let checksum = header.le32()?;
        // It is taken as if it were zero itself.
        let computed = crc32(crc32(crc32(0, before), &[0; 4]), header.0);
        (computed == checksum).then_some(Self {
            serial,
            is_continued: flags & 1 != 0,
            is_first: flags & 2 != 0,
            is_last: flags & 4 != 0,
            table,
            content: whole.get(PAGE_HEADER + table.len()..)?,
        })
    }

    /// How many packets end in it.
    fn ends(&self) -> u32 {
        self.table.iter().filter(|segment| **segment < u8::MAX).map(|_| 1).sum()
    }

    fn ends_whole(&self) -> bool {
        self.table.last().is_none_or(|last| *last < u8::MAX)
    }

    /// Whether a packet begins in it.
    fn begins_packet(&self) -> bool {
        self.packets().nth(usize::from(self.is_continued)).is_some()
    }

    /// What it holds of packets: of the first and the last perhaps not all.
    fn packets(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut content = Reader(self.content);
        let mut packets = self.table.split_inclusive(|segment| *segment < u8::MAX);
        core::iter::from_fn(move || content.take(packets.next()?.iter().map(|segment| usize::from(*segment)).sum()))
    }
}
