//! Fragmented MP4 and CMAF (ISO/IEC 14496-12, "ISOBMFF"; ISO/IEC 23000-19, "CMAF").
//!
//! The header is `ftyp` and `moov`. A viewer begins with a fragment whose first sample of the video track
//! can be decoded by itself: with its `moof`, or what comes before that for its sake (`styp`, `sidx`,
//! `prft`, `emsg`).
//!
//! A fragment may say where its samples are as a position in the file (`base-data-offset`), which is only
//! true for those who read the file from its beginning. FFmpeg does, unless told otherwise. As the position
//! is that of the `moof`, the same can be said without a number (`default-base-is-moof`), and is: a patch.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::bytes::{Reader, size};
use crate::format::{Format, Next, Parser, Probe, Step, Unit};
use crate::mark::{Header, Loss, Patch};
use crate::out::Out;
use crate::signature::Signature;

pub(crate) static FORMAT: Format = Format { probe, parser: |_| Box::new(Mp4::default()), signature: Some(&SIGNATURE) };

/// `ftyp` of a size that is usual, with a brand of visible characters.
static SIGNATURE: Signature = Signature {
    anchor: b"ftyp",
    before: 4,
    length: 12,
    check: |window| {
        let mut window = Reader(window);
        let sane = window.be32().is_some_and(|size| (16..512).contains(&size) && size % 4 == 0);
        window.skip(4);
        sane && window.0.iter().all(|byte| (b' '..=b'~').contains(byte))
    },
};

/// Files begin with a short box of one of these types, segments of a stream with the other.
fn probe(bytes: &[u8]) -> Probe {
    match (bytes.first(), bytes.get(4..8)) {
        (Some(1..), _) => Probe::No,
        (_, Some(kind)) => Probe::is(matches!(kind, b"ftyp" | b"styp")),
        (_, None) => Probe::Pending,
    }
}

/// More tracks than anybody has; others are passed over.
const MOST_TRACKS: usize = 64;

/// The size and type of a box (section 4.2).
const BOX_HEADER: usize = 8;

#[derive(Debug, Default)]
struct Mp4 {
    /// Where the file began: positions count from there.
    began: Option<u64>,
    file_type: Vec<u8>,
    movie: Option<Movie>,
    /// Where the boxes began that belong to the next `moof`.
    fragment: Option<u64>,
}

/// What of a `moov` matters here.
#[derive(Debug, Default)]
struct Movie {
    tracks: Vec<Track>,
    fragmented: bool,
    /// Whether there are samples outside of fragments.
    has_samples: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Track {
    id: u32,
    is_video: bool,
    /// The flags of samples that have none of their own: `trex`.
    default_flags: u32,
}

impl Parser for Mp4 {
    fn first(&self) -> Next {
        Next::Read { skip: 0, count: BOX_HEADER }
    }

    fn step(&mut self, unit: Unit<'_>, out: &mut Out) -> Step {
        let began = *self.began.get_or_insert(unit.at);
        let Some(header) = BoxHeader::read(unit.bytes) else { return Step::lost(Loss::Malformed) };
        let BoxHeader { kind, size: length, .. } = match header {
            Ok(header) => header,
            Err(needed) => return Step::again(needed),
        };
        if matches!(&kind, b"ftyp" | b"moov" | b"moof") && unit.bytes.len() as u64 != length {
            let before = if &kind == b"moov" { self.file_type.len() } else { 0 };
            return match length.saturating_add(before as u64) {
                total if total > out.max_header() as u64 => Step::lost(Loss::Oversized),
                _ => Step::again(size(length)),
            };
        }
        match &kind {
            b"ftyp" => self.file_type = unit.bytes.to_vec(),
            b"moov" => {
                if let Err(loss) = self.movie(unit, out) {
                    return Step::lost(loss);
                }
            }
            b"moof" => {
                if let Err(loss) = self.moof(unit, began, out) {
                    return Step::lost(loss);
                }
            }
            b"styp" | b"sidx" | b"prft" | b"emsg" => self.fragment = self.fragment.or(Some(unit.at)),
            kind if !kind.iter().all(|byte| (b' '..=b'~').contains(byte) || *byte == 0xA9) => {
                return Step::lost(Loss::Malformed);
            }
            _ => self.fragment = None,
        }
        Step::skip(unit, length.saturating_sub(unit.bytes.len() as u64), BOX_HEADER)
    }
}

impl Mp4 {
    fn movie(&mut self, unit: Unit<'_>, out: &mut Out) -> Result<(), Loss> {
        let movie = Movie::read(children(unit.bytes)).ok_or(Loss::Malformed)?;
        if !movie.fragmented || movie.has_samples {
            return Err(Loss::Unjoinable);
        }
        let is_video = movie.tracks.iter().any(|track| track.is_video);
        let media_type = if is_video { "video/mp4" } else { "audio/mp4" };
        let bytes = [&self.file_type, unit.bytes].concat();
        out.header(unit.at, Header { bytes, format: "mp4", media_type: media_type.into() });
        self.movie = Some(movie);
        Ok(())
    }

    fn moof(&mut self, unit: Unit<'_>, began: u64, out: &mut Out) -> Result<(), Loss> {
        let begin = self.fragment.take().unwrap_or(unit.at);
        let Some(movie) = &self.movie else { return Ok(()) };
        let mut is_join = false;
        let mut patched = None;
        for traf in children(unit.bytes).filter(|child| &child.kind == b"traf") {
            let run = movie.run(&traf).ok_or(Loss::Malformed)?;
            is_join |= run.begins_with_sync && movie.is_leading(run.track);
            if let Some(base) = run.base {
                if began.saturating_add(base.position) != unit.at {
                    return Err(Loss::Unjoinable);
                }
                let patched = patched.get_or_insert_with(|| unit.bytes.to_vec());
                let place = patched.get_mut(base.header_at..base.header_at + base.relative.len());
                place.ok_or(Loss::Malformed)?.copy_from_slice(&base.relative);
            }
        }
        if let Some(bytes) = patched {
            out.patch(Patch { offset: unit.at, bytes });
        }
        if is_join {
            out.join(begin);
        }
        Ok(())
    }
}

impl Movie {
    fn read(moov: Boxes<'_>) -> Option<Self> {
        let mut movie = Self::default();
        let mut defaults = Vec::new();
        for child in moov {
            match &child.kind {
                b"trak" if movie.tracks.len() < MOST_TRACKS => {
                    let (track, has_samples) = read_track(child.children())?;
                    movie.tracks.push(track);
                    movie.has_samples |= has_samples;
                }
                b"mvex" => {
                    movie.fragmented = true;
                    let extends = child.children().filter(|child| &child.kind == b"trex");
                    defaults.extend(extends.filter_map(|child| read_extends(child.content)).take(MOST_TRACKS));
                }
                _ => {}
            }
        }
        for track in &mut movie.tracks {
            let own = defaults.iter().find(|(id, _)| *id == track.id);
            track.default_flags = own.map(|(_, flags)| *flags).unwrap_or_default();
        }
        Some(movie)
    }

    /// Whether this is the track that decides where a viewer may begin: the first with video, or the first
    /// of all.
    fn is_leading(&self, track: u32) -> bool {
        let leading = self.tracks.iter().find(|track| track.is_video).or(self.tracks.first());
        leading.is_some_and(|leading| leading.id == track)
    }

    /// What of a `traf` matters here.
    fn run(&self, traf: &Child<'_>) -> Option<Run> {
        let mut run = Run::header(&traf.children().find(|child| &child.kind == b"tfhd")?)?;
        let default = self.tracks.iter().find(|track| track.id == run.track).map(|track| track.default_flags);
        let default = run.default_flags.or(default).unwrap_or_default();
        if let Some(first) = traf.children().find(|child| &child.kind == b"trun") {
            run.begins_with_sync = first_sample_flags(first.content, default)? & NOT_SYNC == 0;
        }
        Some(run)
    }
}

/// `sample_is_non_sync_sample` (section 8.8.3.1).
const NOT_SYNC: u32 = 0x0001_0000;

/// The samples that a fragment has for a track.
#[derive(Debug)]
struct Run {
    track: u32,
    default_flags: Option<u32>,
    begins_with_sync: bool,
    base: Option<Base>,
}

/// Where the samples are, as a position in the file.
#[derive(Debug)]
struct Base {
    position: u64,
    /// Where in the `moof` the `tfhd` begins that says so.
    header_at: usize,
    /// The `tfhd` that says the same relative to the `moof`, as long as the one that it replaces.
    relative: Vec<u8>,
}

impl Run {
    /// Reads a `tfhd` (section 8.8.7).
    fn header(tfhd: &Child<'_>) -> Option<Self> {
        const BASE_DATA_OFFSET: u32 = 0x01;
        const SAMPLE_DESCRIPTION: u32 = 0x02;
        const DEFAULT_DURATION: u32 = 0x08;
        const DEFAULT_SIZE: u32 = 0x10;
        const DEFAULT_FLAGS: u32 = 0x20;
        const BASE_IS_MOOF: u32 = 0x02_0000;

        let mut header = Reader(tfhd.content);
        let version_and_flags = header.be32()?;
        let has = |flag| version_and_flags & flag != 0;
        let track = header.be32()?;
        let mut base = None;
        if has(BASE_DATA_OFFSET) {
            let position = header.be64()?;
            // Without the eight bytes of the position it is eight bytes shorter, just as much as an empty box
            // has that fills the gap.
            let short = u32::try_from(tfhd.length - BOX_HEADER).ok().filter(|_| tfhd.has_short_header())?;
            let relative = [
                &short.to_be_bytes(),
                b"tfhd",
                &(version_and_flags & !BASE_DATA_OFFSET | BASE_IS_MOOF).to_be_bytes(),
                &track.to_be_bytes(),
                header.0,
                &8_u32.to_be_bytes(),
                b"free",
            ];
            base = Some(Base { position, header_at: tfhd.at, relative: relative.concat() });
        }
        for (flag, length) in [(SAMPLE_DESCRIPTION, 4), (DEFAULT_DURATION, 4), (DEFAULT_SIZE, 4)] {
            header.skip(if has(flag) { length } else { 0 })?;
        }
        let default_flags = if has(DEFAULT_FLAGS) { Some(header.be32()?) } else { None };
        Some(Self { track, default_flags, begins_with_sync: false, base })
    }
}

/// The flags of the first sample of a `trun` (section 8.8.8). Of a run without samples, as if it began with
/// one that is none to begin with.
fn first_sample_flags(content: &[u8], default: u32) -> Option<u32> {
    const DATA_OFFSET: u32 = 0x01;
    const FIRST_FLAGS: u32 = 0x04;
    const DURATION: u32 = 0x100;
    const SIZE: u32 = 0x200;
    const FLAGS: u32 = 0x400;

    let mut run = Reader(content);
    let flags = run.be32()?;
    let has = |flag| flags & flag != 0;
    if run.be32()? == 0 {
        return Some(NOT_SYNC);
    }
    run.skip(if has(DATA_OFFSET) { 4 } else { 0 })?;
    if has(FIRST_FLAGS) {
        return run.be32();
    }
    run.skip(if has(DURATION) { 4 } else { 0 })?;
    run.skip(if has(SIZE) { 4 } else { 0 })?;
    if has(FLAGS) { run.be32() } else { Some(default) }
}

/// A `trak`, and whether it has samples of its own.
fn read_track(trak: Boxes<'_>) -> Option<(Track, bool)> {
    let mut track = Track::default();
    let mut has_samples = false;
    for child in trak {
        match &child.kind {
            // Version 0 has times of 32 bits before the identifier, version 1 of 64 (section 8.3.2).
            b"tkhd" => {
                let mut header = Reader(child.content);
                let version = header.u8()?;
                header.skip(if version == 0 { 3 + 8 } else { 3 + 16 })?;
                track.id = header.be32()?;
            }
            b"mdia" => {
                for child in child.children() {
                    match &child.kind {
                        b"hdlr" => track.is_video = child.content.get(8..12)? == b"vide",
                        b"minf" => has_samples = samples(child.children()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some((track, has_samples))
}

/// Whether a `minf` has a sample table that is not empty: one whose `stsz` or `stz2` counts any (section
/// 8.7.3).
fn samples(minf: Boxes<'_>) -> bool {
    let mut tables = minf.filter(|child| &child.kind == b"stbl").flat_map(|child| child.children());
    tables.any(|table| {
        matches!(&table.kind, b"stsz" | b"stz2") && table.content.get(8..12).is_some_and(|count| count != [0; 4])
    })
}

/// The track and the default flags of a `trex` (section 8.8.3).
fn read_extends(content: &[u8]) -> Option<(u32, u32)> {
    let mut extends = Reader(content);
    extends.skip(4)?;
    let track = extends.be32()?;
    extends.skip(12)?;
    Some((track, extends.be32()?))
}

/// How a box begins.
struct BoxHeader {
    kind: [u8; 4],
    /// With this header.
    size: u64,
    /// Of this header.
    length: usize,
}

impl BoxHeader {
    /// Nothing where this is no box, or how many bytes it takes to tell.
    fn read(bytes: &[u8]) -> Option<Result<Self, usize>> {
        const LARGE: usize = 16;
        let mut header = Reader(bytes);
        let (Some(short), Some(kind)) = (header.be32(), header.array()) else { return Some(Err(BOX_HEADER)) };
        let (size, length) = match short {
            // To the end of the file, which a stream does not have.
            0 => (u64::MAX, BOX_HEADER),
            1 => match header.be64() {
                Some(size) => (size, LARGE),
                None => return Some(Err(LARGE)),
            },
            size => (u64::from(size), BOX_HEADER),
        };
        (size >= length as u64).then_some(Ok(Self { kind, size, length }))
    }
}

/// The boxes in a whole box.
fn children(whole: &[u8]) -> Boxes<'_> {
    let header = BoxHeader::read(whole).and_then(Result::ok).map_or(BOX_HEADER, |header| header.length);
    Boxes { rest: whole.get(header..).unwrap_or_default(), at: header }
}

/// A box in another.
struct Child<'a> {
    kind: [u8; 4],
    content: &'a [u8],
    /// Where it begins in the outermost box.
    at: usize,
    /// With its header.
    length: usize,
}

impl<'a> Child<'a> {
    fn children(&self) -> Boxes<'a> {
        Boxes { rest: self.content, at: self.at + self.length - self.content.len() }
    }

    fn has_short_header(&self) -> bool {
        self.length - self.content.len() == BOX_HEADER
    }
}

/// Boxes in a row. Ends where one is not whole.
struct Boxes<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Boxes<'a> {
    type Item = Child<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let header = BoxHeader::read(self.rest)?.ok()?;
        let (whole, rest) = self.rest.split_at_checked(size(header.size))?;
        let child = Child { kind: header.kind, content: whole.get(header.length..)?, at: self.at, length: whole.len() };
        self.rest = rest;
        self.at += whole.len();
        Some(child)
    }
}
