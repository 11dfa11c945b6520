//! Matroska and WebM (RFC 9559) in EBML (RFC 8794).
//!
//! The header is the EBML header, a Segment of unknown size, and in it what describes the tracks. What is
//! only true of a whole file is left out: its duration, and all positions in it.
//!
//! A viewer begins with a key frame of the video track, or with any block of a file without video. Where it
//! is the first of its track in a cluster, that is the whole cluster. In the middle of one the preface makes
//! it the first: the beginning of a cluster of unknown size, with the time that the blocks refer to.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use crate::bytes::{Reader, append, size};
use crate::format::{Format, Next, Parser, Probe, Step, Unit};
use crate::mark::{Header, Loss};
use crate::out::{Out, USUAL_GAP};
use crate::signature::Signature;

pub(crate) static FORMAT: Format = Format {
    probe: |bytes| Probe::magic(bytes, &EBML_BYTES),
    parser: |_| Box::new(Matroska::default()),
    signature: Some(&SIGNATURE),
};

const EBML_BYTES: [u8; 4] = id::EBML.to_be_bytes();

/// An EBML header, and the first element in it.
static SIGNATURE: Signature = Signature {
    anchor: &EBML_BYTES,
    before: 0,
    length: 14,
    check: |window| {
        let Some(Ok(header)) = ElementHeader::read(window) else { return false };
        let Some(child) = window.get(header.length..) else { return false };
        let plausible = matches!(child, [0x42, 0x82 | 0x85 | 0x86 | 0x87 | 0xF2 | 0xF3 | 0xF7, ..] | [0xEC | 0xBF, ..]);
        plausible && header.size.is_some_and(|size| size < 4_096)
    },
};

/// Elements, by what identifies them (RFC 8794, section 17.1; RFC 9559, section 27.1).
mod id {
    pub(super) const EBML: u32 = 0x1A45_DFA3;
    pub(super) const DOC_TYPE: u32 = 0x4282;
    pub(super) const VOID: u32 = 0xEC;
    pub(super) const CRC_32: u32 = 0xBF;
    pub(super) const SEGMENT: u32 = 0x1853_8067;
    pub(super) const SEEK_HEAD: u32 = 0x114D_9B74;
    pub(super) const INFO: u32 = 0x1549_A966;
    pub(super) const DURATION: u32 = 0x4489;
    pub(super) const TRACKS: u32 = 0x1654_AE6B;
    pub(super) const TRACK_ENTRY: u32 = 0xAE;
    pub(super) const TRACK_NUMBER: u32 = 0xD7;
    pub(super) const TRACK_TYPE: u32 = 0x83;
    pub(super) const CUES: u32 = 0x1C53_BB6B;
    pub(super) const CHAPTERS: u32 = 0x1043_A770;
    pub(super) const TAGS: u32 = 0x1254_C367;
    pub(super) const ATTACHMENTS: u32 = 0x1941_A469;
    pub(super) const CLUSTER: u32 = 0x1F43_B675;
    pub(super) const TIMESTAMP: u32 = 0xE7;
    pub(super) const SILENT_TRACKS: u32 = 0x5854;
    pub(super) const POSITION: u32 = 0xA7;
    pub(super) const PREV_SIZE: u32 = 0xAB;
    pub(super) const SIMPLE_BLOCK: u32 = 0xA3;
    pub(super) const ENCRYPTED_BLOCK: u32 = 0xAF;
    pub(super) const BLOCK_GROUP: u32 = 0xA0;
    pub(super) const BLOCK: u32 = 0xA1;
    pub(super) const REFERENCE_BLOCK: u32 = 0xFB;
}

/// More tracks than anybody has; others are passed over.
const MOST_TRACKS: usize = 64;

/// An element's identifier and size have together at least this many bytes.
const LEAST_HEADER: usize = 2;

/// Enough of a block to tell its track and flags: a number of up to eight bytes, a time of two, the flags.
const BLOCK_HEADER: u64 = 8 + 2 + 1;

#[derive(Debug, Default)]
struct Matroska {
    document: Document,
    cluster: Option<Cluster>,
    group: Option<Group>,
}

/// What becomes the header.
#[derive(Debug, Default)]
struct Document {
    /// The EBML header, as it came.
    ebml: Vec<u8>,
    is_webm: bool,
    /// The children of the Segment that are kept.
    children: Vec<u8>,
    tracks: Vec<Track>,
    /// Whether clusters have begun: the header is complete.
    is_complete: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Track {
    number: u64,
    is_video: bool,
}

/// A cluster that is being read.
#[derive(Debug)]
struct Cluster {
    at: u64,
    /// Where it ends. Nothing: with the next element of its level.
    end: Option<u64>,
    /// Its timestamp, as an element.
    timestamp: Vec<u8>,
    /// Whether there has been a block of the leading track.
    has_begun: bool,
}

/// A BlockGroup, whose block is a key frame if it refers to no other.
#[derive(Debug)]
struct Group {
    at: u64,
    end: u64,
    track: Option<u64>,
    has_reference: bool,
}

impl Parser for Matroska {
    fn first(&self) -> Next {
        Next::Read { skip: 0, count: LEAST_HEADER }
    }

    fn step(&mut self, unit: Unit<'_>, out: &mut Out) -> Step {
        let header = match ElementHeader::read(unit.bytes) {
            None => return Step::lost(Loss::Malformed),
            Some(Err(needed)) => return Step::again(needed),
            Some(Ok(header)) => header,
        };
        self.leave(unit.at, out);
        match self.element(unit, &header, out) {
            Ok(step) => step,
            Err(loss) => Step::lost(loss),
        }
    }
}

impl Matroska {
    /// Leaves the group and the cluster that end before `at`.
    fn leave(&mut self, at: u64, out: &mut Out) {
        if let Some(group) = self.group.take_if(|group| at >= group.end)
            && let Some(track) = group.track
        {
            self.block(group.at, track, !group.has_reference, out);
        }
        self.cluster.take_if(|cluster| cluster.end.is_some_and(|end| at >= end));
    }

    fn element(&mut self, unit: Unit<'_>, header: &ElementHeader, out: &mut Out) -> Result<Step, Loss> {
        let end = header.size.map(|size| unit.at.saturating_add(header.length as u64).saturating_add(size));
        match header.id {
            id::EBML => self.whole(unit, header, out),
            id::SEGMENT => Ok(descend(header)),
            id::CLUSTER => {
                self.begin_cluster(unit.at, end, out);
                Ok(descend(header))
            }
            id::INFO | id::TRACKS | id::TAGS | id::ATTACHMENTS => {
                self.cluster = None;
                if self.document.is_complete { pass(header) } else { self.whole(unit, header, out) }
            }
            id::SEEK_HEAD | id::CUES | id::CHAPTERS => {
                self.cluster = None;
                pass(header)
            }
            id::VOID | id::CRC_32 => pass(header),
            _ => self.in_cluster(unit, header, end.ok_or(Loss::Malformed)?, out),
        }
    }

    /// Elements of which all is needed.
    fn whole(&mut self, unit: Unit<'_>, header: &ElementHeader, out: &Out) -> Result<Step, Loss> {
        let length = header.size.ok_or(Loss::Malformed)?.saturating_add(header.length as u64);
        let kept = (self.document.ebml.len() + self.document.children.len()) as u64;
        if length.saturating_add(kept).saturating_add(Document::OVERHEAD) > out.max_header() as u64 {
            // Players do without these.
            let optional = matches!(header.id, id::TAGS | id::ATTACHMENTS);
            return if optional { pass(header) } else { Err(Loss::Oversized) };
        }
        if unit.bytes.len() as u64 != length {
            return Ok(Step::again(size(length)));
        }
        self.document.add(header.id, unit.bytes, header.length).ok_or(Loss::Malformed)?;
        Ok(Step::read(unit, LEAST_HEADER))
    }

    fn begin_cluster(&mut self, at: u64, end: Option<u64>, out: &mut Out) {
        if !self.document.is_complete {
            self.document.is_complete = true;
            if !self.document.tracks.is_empty() {
                out.header(at, self.document.header());
            }
        }
        self.group = None;
        self.cluster = Some(Cluster { at, end, timestamp: Vec::new(), has_begun: false });
    }

    fn in_cluster(&mut self, unit: Unit<'_>, header: &ElementHeader, end: u64, out: &mut Out) -> Result<Step, Loss> {
        let Some(cluster) = &mut self.cluster else { return Err(Loss::Malformed) };
        let limit = self.group.as_ref().map(|group| group.end).or(cluster.end);
        if limit.is_some_and(|limit| end > limit) {
            return Err(Loss::Malformed);
        }
        match (header.id, &mut self.group) {
            (id::SIMPLE_BLOCK, None) => {
                let Some((track, flags)) = block_header(unit, header)? else { return block_again(header) };
                const KEY_FRAME: u8 = 0x80;
                self.block(unit.at, track, flags & KEY_FRAME != 0, out);
            }
            (id::BLOCK_GROUP, None) => {
                self.group = Some(Group { at: unit.at, end, track: None, has_reference: false });
                return Ok(descend(header));
            }
            (id::BLOCK, Some(group)) => {
                let Some((track, _)) = block_header(unit, header)? else { return block_again(header) };
                group.track = Some(track);
            }
            (id::REFERENCE_BLOCK, Some(group)) => group.has_reference = true,
            // Whatever else a group has.
            (_, Some(_)) => {}
            (id::TIMESTAMP, None) => {
                let length = header.length + size(header.size.filter(|size| *size <= 8).ok_or(Loss::Malformed)?);
                if unit.bytes.len() < length {
                    return Ok(Step::again(length));
                }
                cluster.timestamp = unit.bytes.to_vec();
            }
            (id::SILENT_TRACKS | id::POSITION | id::PREV_SIZE | id::ENCRYPTED_BLOCK, None) => {}
            // In a cluster whose end is not known, anything might be the bytes of something else.
            (_, None) if cluster.end.is_none() => return Err(Loss::Malformed),
            (_, None) => {}
        }
        let read = unit.bytes.len() as u64;
        Ok(Step::skip(unit, end.saturating_sub(unit.at).saturating_sub(read), LEAST_HEADER))
    }

    /// A block of a track, in an element that begins at `at`.
    fn block(&mut self, at: u64, track: u64, is_key: bool, out: &mut Out) {
        let Some(leading) = self.document.leading().filter(|leading| leading.number == track) else { return };
        let Some(cluster) = &mut self.cluster else { return };
        let is_first = !mem::replace(&mut cluster.has_begun, true);
        let gap = if leading.is_video { 0 } else { USUAL_GAP };
        match (is_key, is_first) {
            (true, true) => out.join_sparsely(cluster.at, gap),
            (true, false) if !cluster.timestamp.is_empty() => {
                out.join_with(at, gap, || [&Cluster::BEGINNING, cluster.timestamp.as_slice()].concat());
            }
            _ => {}
        }
    }
}

impl Cluster {
    /// A cluster of unknown size.
    const BEGINNING: [u8; 12] = [0x1F, 0x43, 0xB6, 0x75, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
}

impl Document {
    /// A Segment of unknown size, as FFmpeg writes it. Everybody reads that.
    const SEGMENT: [u8; 12] = [0x18, 0x53, 0x80, 0x67, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];

    /// What the header has beyond the elements that came: the Segment, and a longer size for Info.
    const OVERHEAD: u64 = Self::SEGMENT.len() as u64 + 8;

    /// Adds a whole element, whose header has `header` bytes.
    fn add(&mut self, id: u32, whole: &[u8], header: usize) -> Option<()> {
        let content = whole.get(header..)?;
        match id {
            id::EBML => {
                self.ebml = whole.to_vec();
                self.is_webm =
                    Elements(content).any(|child| child.id == id::DOC_TYPE && text(child.content) == b"webm");
            }
            id::INFO => self.add_info(content),
            _ => {
                if id == id::TRACKS {
                    let entries = Elements(content).filter(|child| child.id == id::TRACK_ENTRY);
                    self.tracks = entries.map(|entry| Track::read(entry.content)).take(MOST_TRACKS).collect();
                }
                append(&mut self.children, whole);
            }
        }
        Some(())
    }

    /// Adds an Info element without a duration, and without a checksum, which would not be right any more.
    fn add_info(&mut self, content: &[u8]) {
        let is_kept = |child: &Element<'_>| !matches!(child.id, id::DURATION | id::CRC_32 | id::VOID);
        let kept = || Elements(content).filter(is_kept).map(|child| child.whole);
        let length: usize = kept().map(<[u8]>::len).sum();
        const EIGHT_BYTES: u64 = 1 << 56;
        self.children.extend(id::INFO.to_be_bytes());
        self.children.extend((EIGHT_BYTES | length as u64).to_be_bytes());
        self.children.extend(kept().flatten());
    }

    /// The header, which is not needed a second time.
    fn header(&mut self) -> Header {
        let media_type = match (self.is_webm, self.tracks.iter().any(|track| track.is_video)) {
            (true, true) => "video/webm",
            (true, false) => "audio/webm",
            (false, true) => "video/matroska",
            (false, false) => "audio/matroska",
        };
        let format = if self.is_webm { "webm" } else { "matroska" };
        let (ebml, children) = (mem::take(&mut self.ebml), mem::take(&mut self.children));
        let bytes = [&ebml, Self::SEGMENT.as_slice(), &children].concat();
        Header { bytes, format, media_type: media_type.into() }
    }

    /// The track that decides where a viewer may begin: the first with video, or the first of all.
    fn leading(&self) -> Option<&Track> {
        self.tracks.iter().find(|track| track.is_video).or(self.tracks.first())
    }
}

impl Track {
    fn read(entry: &[u8]) -> Self {
        const VIDEO: u64 = 1;
        let unsigned = |id| {
            let element = Elements(entry).find(|child| child.id == id);
            let bytes = element.map(|element| element.content).unwrap_or_default();
            bytes.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte))
        };
        Self { number: unsigned(id::TRACK_NUMBER), is_video: unsigned(id::TRACK_TYPE) == VIDEO }
    }
}

/// A string, which zeros may follow (RFC 8794, section 7.4).
fn text(content: &[u8]) -> &[u8] {
    content.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Goes on with the first child of an element.
fn descend(header: &ElementHeader) -> Step {
    Step::used(header.length, LEAST_HEADER)
}

/// Goes on behind an element.
fn pass(header: &ElementHeader) -> Result<Step, Loss> {
    let skip = header.size.ok_or(Loss::Malformed)?;
    Ok(Step { used: header.length, next: Next::Read { skip, count: LEAST_HEADER } })
}

/// The track and the flags of a block (RFC 9559, section 10). Nothing: more of it is needed.
fn block_header(unit: Unit<'_>, header: &ElementHeader) -> Result<Option<(u64, u8)>, Loss> {
    let content = unit.bytes.get(header.length..).unwrap_or_default();
    let wanted = header.size.unwrap_or_default().min(BLOCK_HEADER);
    if (content.len() as u64) < wanted {
        return Ok(None);
    }
    let mut block = Reader(content);
    let read = |block: &mut Reader<'_>| {
        let track = number(block)?;
        block.skip(2)?;
        Some((track?, block.u8()?))
    };
    read(&mut block).map(Some).ok_or(Loss::Malformed)
}

fn block_again(header: &ElementHeader) -> Result<Step, Loss> {
    Ok(Step::again(header.length + size(header.size.unwrap_or_default().min(BLOCK_HEADER))))
}

/// How an element begins.
#[derive(Debug)]
struct ElementHeader {
    id: u32,
    /// Of its content. Nothing: unknown.
    size: Option<u64>,
    /// Of this header.
    length: usize,
}

impl ElementHeader {
    /// Nothing where this is no element, or how many bytes it takes to tell (RFC 8794, sections 5 and 6).
    fn read(bytes: &[u8]) -> Option<Result<Self, usize>> {
        const LONGEST_ID: usize = 4;
        let id_length = bytes.first()?.leading_zeros() as usize + 1;
        if id_length > LONGEST_ID {
            return None;
        }
        let Some(size) = bytes.get(id_length) else { return Some(Err(id_length + 1)) };
        let length = id_length + size.leading_zeros() as usize + 1;
        if *size == 0 {
            return None;
        }
        if bytes.len() < length {
            return Some(Err(length));
        }
        let id = bytes.get(..id_length)?.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
        let size = number(&mut Reader(bytes.get(id_length..)?))?;
        Some(Ok(Self { id, size, length }))
    }
}

/// A number that says how long it is (RFC 8794, section 4): of all ones it is an unknown one.
fn number(bytes: &mut Reader<'_>) -> Option<Option<u64>> {
    let first = bytes.u8()?;
    let more = first.leading_zeros();
    if more > 7 {
        return None;
    }
    let mask = (1_u64 << (7 * (more + 1))) - 1;
    let rest = bytes.take(more as usize)?;
    let number = rest.iter().fold(u64::from(first), |number, byte| number << 8 | u64::from(*byte)) & mask;
    Some((number != mask).then_some(number))
}

/// A whole element.
struct Element<'a> {
    id: u32,
    content: &'a [u8],
    whole: &'a [u8],
}

/// Elements in a row. Ends where one is not whole.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let header = ElementHeader::read(self.0)?.ok()?;
        let length = header.length.saturating_add(size(header.size?));
        let (whole, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Element { id: header.id, content: whole.get(header.length..)?, whole })
    }
}
