//! MPEG transport streams (ISO/IEC 13818-1), in packets of 188 bytes.
//!
//! The header is the program association table and the map of the first program, in packets of their own.
//! A viewer begins with the packet of a picture that says that it is a random access point, or is seen to
//! be one; of a program without video, with any packet that begins a frame.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::bytes::Reader;
use crate::crc::crc32;
use crate::format::{Format, Next, Parser, Probe, Step, Unit};
use crate::mark::Header;
use crate::nal::{Codec, Picture};
use crate::out::{Out, USUAL_GAP};

/// Another producer's packets continue the stream, with tables of their own.
pub(crate) static FORMAT: Format = Format { probe, parser: |_| Box::new(TransportStream::default()), signature: None };

const PACKET: usize = 188;
const SYNC: u8 = 0x47;

/// Three packets in a row.
fn probe(bytes: &[u8]) -> Probe {
    let mut starts = (0..3).map(|packet| bytes.get(packet * PACKET));
    if starts.clone().flatten().any(|start| *start != SYNC) {
        return Probe::No;
    }
    if starts.all(|start| start.is_some()) { Probe::Yes } else { Probe::Pending }
}

#[derive(Debug, Default)]
struct TransportStream {
    /// Whether the last packet was one: then the next begins right after it.
    is_synchronous: bool,
    associations: Table,
    map: Table,
    /// The packets in which the map of the first program comes.
    map_pid: Option<u16>,
    leading: Option<Leading>,
    /// Whether the tables are not those of the last header.
    is_header_due: bool,
    picture: Option<Undecided>,
}

/// The elementary stream that decides where a viewer may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leading {
    pid: u16,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Video; of a coding that is not known here, random access points are only those that say so.
    Video(Option<Codec>),
    Other,
}

/// A picture of which not enough has come.
#[derive(Debug)]
struct Undecided {
    at: u64,
    picture: Picture,
}

impl Parser for TransportStream {
    fn first(&self) -> Next {
        Next::Read { skip: 0, count: PACKET }
    }

    fn step(&mut self, unit: Unit<'_>, out: &mut Out) -> Step {
        // A packet that is not where one was expected needs another one after it.
        let is_packet = match unit.bytes {
            [SYNC, rest @ ..] => self.is_synchronous || rest.get(PACKET - 1).is_none_or(|next| *next == SYNC),
            _ => false,
        };
        self.is_synchronous = is_packet;
        let packet = unit.bytes.get(..PACKET).and_then(Packet::read);
        match packet.filter(|_| is_packet) {
            Some(packet) => {
                self.packet(unit.at, &packet, out);
                Step::used(PACKET, PACKET)
            }
            None if is_packet => Step::used(PACKET, PACKET),
            None => Step::find(SYNC, PACKET + 1),
        }
    }
}

impl TransportStream {
    fn packet(&mut self, at: u64, packet: &Packet<'_>, out: &mut Out) {
        const ASSOCIATIONS_PID: u16 = 0;
        if packet.pid == ASSOCIATIONS_PID {
            if self.associations.packet(packet, PROGRAM_ASSOCIATION) {
                self.associated();
            }
        } else if Some(packet.pid) == self.map_pid {
            if self.map.packet(packet, PROGRAM_MAP) {
                self.leading = leading(&self.map.section);
                self.picture = None;
                self.is_header_due = true;
                self.header(at, out);
            }
        } else if let Some(leading) = self.leading.filter(|leading| leading.pid == packet.pid) {
            self.leading_packet(at, leading.kind, packet, out);
        }
    }

    /// The programs are others now: the map of the first is to come, even if it comes as before.
    fn associated(&mut self) {
        self.map_pid = first_program(&self.associations.section);
        self.map = Table::default();
        self.leading = None;
        self.picture = None;
    }

    fn leading_packet(&mut self, at: u64, kind: Kind, packet: &Packet<'_>, out: &mut Out) {
        if !packet.is_unit_start {
            if let Some(undecided) = &mut self.picture {
                let (at, decided) = (undecided.at, undecided.picture.read(packet.payload));
                self.decide(at, decided, out);
            }
            return;
        }
        self.picture = None;
        match kind {
            Kind::Other => self.join(at, USUAL_GAP, out),
            Kind::Video(_) if packet.is_random_access => self.join(at, 0, out),
            Kind::Video(Some(codec)) if !packet.is_scrambled => {
                let mut picture = Picture::new(codec);
                let decided = picture.read(elementary(packet.payload));
                self.picture = Some(Undecided { at, picture });
                self.decide(at, decided, out);
            }
            Kind::Video(_) => {}
        }
    }

    fn decide(&mut self, at: u64, decided: Option<bool>, out: &mut Out) {
        let Some(is_key) = decided else { return };
        self.picture = None;
        if is_key {
            self.join(at, 0, out);
        }
    }

    fn join(&mut self, at: u64, gap: u64, out: &mut Out) {
        if self.header(at, out) {
            out.join_sparsely(at, gap);
        }
    }

    /// The header, if it is another one than before. False: there is none for the tables as they are.
    fn header(&mut self, at: u64, out: &mut Out) -> bool {
        if self.is_header_due && !self.map.section.is_empty() {
            let mut bytes = packets(0, &self.associations.section);
            bytes.extend(packets(self.map_pid.unwrap_or_default(), &self.map.section));
            let header = Header { bytes, format: "mpeg-ts", media_type: "video/mp2t".into() };
            self.is_header_due = !out.header(at, header);
        }
        !self.is_header_due
    }
}

/// A packet (section 2.4.3.2).
#[derive(Debug)]
struct Packet<'a> {
    pid: u16,
    is_unit_start: bool,
    is_scrambled: bool,
    is_random_access: bool,
    payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Nothing where it is damaged or makes no sense.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        const ERROR: u16 = 0x8000;
        const UNIT_START: u16 = 0x4000;
        const PID: u16 = 0x1FFF;
        const RANDOM_ACCESS: u8 = 0x40;

        let mut packet = Reader(bytes);
        packet.skip(1)?;
        let flags = packet.be16().filter(|flags| flags & ERROR == 0)?;
        let control = packet.u8()?;
        let mut is_random_access = false;
        if control & 0x20 != 0 {
            let length = packet.u8()?;
            let field = packet.take(usize::from(length))?;
            is_random_access = field.first().is_some_and(|flags| flags & RANDOM_ACCESS != 0);
        }
        Some(Self {
            pid: flags & PID,
            is_unit_start: flags & UNIT_START != 0,
            is_scrambled: control & 0xC0 != 0,
            is_random_access,
            payload: if control & 0x10 != 0 { packet.0 } else { &[] },
        })
    }
}

/// The elementary stream in the first packet of a PES packet (section 2.4.3.6).
fn elementary(payload: &[u8]) -> &[u8] {
    match payload {
        [0, 0, 1, _, _, _, _, _, length, rest @ ..] => rest.get(usize::from(*length)..).unwrap_or_default(),
        _ => &[],
    }
}

const PROGRAM_ASSOCIATION: u8 = 0;
const PROGRAM_MAP: u8 = 2;

/// A table of one section, as it comes in packets (section 2.4.4).
#[derive(Debug, Default)]
struct Table {
    /// The last whole section; empty until there is one.
    section: Vec<u8>,
    /// What has come of the next.
    partial: Option<Vec<u8>>,
}

impl Table {
    /// Section length, and what comes before it.
    const START: usize = 3;
    /// No section of these tables is longer.
    const LONGEST: usize = 1_024;

    /// Whether the table is another one after this packet.
    fn packet(&mut self, packet: &Packet<'_>, table: u8) -> bool {
        if !packet.is_unit_start {
            return self.extend(packet.payload, table);
        }
        let Some((pointer, rest)) = packet.payload.split_first() else { return false };
        let Some((before, from)) = rest.split_at_checked(usize::from(*pointer)) else { return false };
        let is_new = self.extend(before, table);
        self.partial = Some(Vec::new());
        self.extend(from, table) || is_new
    }

    fn extend(&mut self, bytes: &[u8], table: u8) -> bool {
        let Some(mut partial) = self.partial.take() else { return false };
        partial.extend_from_slice(bytes);
        let length = match partial.get(..Self::START) {
            Some([_, high, low]) => Self::START + usize::from(u16::from_be_bytes([*high, *low]) & 0x0FFF),
            _ => Self::START,
        };
        if length > Self::LONGEST {
            return false;
        }
        if partial.len() < length || length == Self::START {
            self.partial = Some(partial);
            return false;
        }
        partial.truncate(length);
        let is_new = is_current(&partial, table) && partial != self.section;
        if is_new {
            self.section = partial;
        }
        is_new
    }
}

/// Whether a section is the first of its table, holds now, and is undamaged.
fn is_current(section: &[u8], table: u8) -> bool {
    // With its checksum the checksum of a section is zero (annex A).
    matches!(section, [id, _, _, _, _, now, 0, ..] if *id == table && now & 1 == 1) && crc32(u32::MAX, section) == 0
}

/// What a section holds between its header of eight bytes and its checksum of four.
fn entries(section: &[u8]) -> Reader<'_> {
    let content = section.get(8..section.len().saturating_sub(4));
    Reader(content.unwrap_or_default())
}

/// Where the map of the first program comes (section 2.4.4.3). Program 0 is none: it names the network.
fn first_program(section: &[u8]) -> Option<u16> {
    let mut programs = entries(section);
    loop {
        let (number, pid) = (programs.be16()?, programs.be16()? & 0x1FFF);
        if number != 0 {
            return Some(pid);
        }
    }
}

/// The stream of a program that decides where a viewer may begin: the first with video, or the first of all
/// (section 2.4.4.8).
fn leading(map: &[u8]) -> Option<Leading> {
    let mut streams = entries(map);
    streams.skip(2)?;
    let descriptors = streams.be16()? & 0x0FFF;
    streams.skip(usize::from(descriptors))?;
    let mut first = None;
    while let Some(stream) = read_stream(&mut streams) {
        if stream.kind != Kind::Other {
            return Some(stream);
        }
        first = first.or(Some(stream));
    }
    first
}

fn read_stream(streams: &mut Reader<'_>) -> Option<Leading> {
    let kind = match streams.u8()? {
        0x01 | 0x02 => Kind::Video(Some(Codec::Mpeg2)),
        0x1B => Kind::Video(Some(Codec::H264)),
        0x24 => Kind::Video(Some(Codec::H265)),
        // MPEG-4 visual, JPEG 2000, H.266, AVS (also 2 and 3), Dirac, VC-1.
        0x10 | 0x21 | 0x33 | 0x42 | 0xD1 | 0xD2 | 0xD4 | 0xEA => Kind::Video(None),
        _ => Kind::Other,
    };
    let pid = streams.be16()? & 0x1FFF;
    let descriptors = streams.be16()? & 0x0FFF;
    streams.skip(usize::from(descriptors))?;
    Some(Leading { pid, kind })
}

/// A section in packets of its own: whoever begins with them has the whole table, whichever packets of it
/// come next in the stream.
fn packets(pid: u16, section: &[u8]) -> Vec<u8> {
    const HEADER: usize = 4;
    const POINTER: u8 = 0;
    const STUFFING: u8 = 0xFF;
    let mut content = Vec::with_capacity(1 + section.len());
    content.push(POINTER);
    content.extend_from_slice(section);
    let mut packets = Vec::new();
    for (number, payload) in content.chunks(PACKET - HEADER).enumerate() {
        let unit_start = if number == 0 { 0x4000 } else { 0 };
        let continuity = number as u8 & 0x0F;
        packets.push(SYNC);
        packets.extend((pid | unit_start).to_be_bytes());
        packets.push(0x10 | continuity);
        packets.extend_from_slice(payload);
        packets.resize(packets.len().next_multiple_of(PACKET), STUFFING);
    }
    packets
}
