//! MPEG transport streams (ISO/IEC 13818-1), in packets of 188 bytes.
//!
//! The header is the program association table and the map of the first program, in packets of their own.
//! A viewer begins with the packet of a picture that says that it is a random access point, or is seen to
//! be one; of a program without video, with any packet that begins a frame.
//! Where the picture comes without parameter sets that came before, its preface has them: a decoder that was
//! there from the beginning knows them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::bytes::Reader;
use crate::crc::crc32;
use crate::format::{Format, Next, Parser, Probe, Step, Unit};
use crate::mark::Header;
use crate::nal::{Codec, Picture};
use crate::out::{LONGEST_PREFACE, Out, USUAL_GAP};
use crate::packets::{self, Frame, PACKET, Packet, SYNC};
use crate::parameters::ParameterSets;

/// Another producer's packets continue the stream, with tables of their own.
pub(crate) static FORMAT: Format = Format { probe, parser: |_| Box::new(TransportStream::default()), signature: None };

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
    /// Of the leading stream, where its coding has some.
    parameters: Option<ParameterSets>,
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
    says_random_access: bool,
    /// The packet in which it begins, as far as what comes before it must agree with it.
    frame: Frame,
    /// The number of its newest packet.
    continuity: u8,
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
                self.mapped();
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
        self.mapped();
    }

    /// The map is another one now. What was known of a stream that it goes on with, players know, too.
    fn mapped(&mut self) {
        let before = self.leading;
        self.leading = leading(&self.map.section);
        if self.leading != before {
            self.parameters = match self.leading {
                Some(Leading { kind: Kind::Video(Some(codec @ (Codec::H264 | Codec::H265))), .. }) => {
                    Some(ParameterSets::new(codec))
                }
                _ => None,
            };
        }
        self.picture = None;
    }

    fn leading_packet(&mut self, at: u64, kind: Kind, packet: &Packet<'_>, out: &mut Out) {
        if !packet.is_unit_start {
            return self.picture_goes_on(packet, out);
        }
        self.picture_ends();
        match kind {
            Kind::Other => self.join(at, USUAL_GAP, out),
            Kind::Video(Some(codec @ (Codec::H264 | Codec::H265))) if !packet.is_scrambled => {
                self.picture_begins(at, codec, packet, out);
            }
            Kind::Video(_) if packet.is_random_access => self.join(at, 0, out),
            Kind::Video(Some(codec)) if !packet.is_scrambled => self.picture_begins(at, codec, packet, out),
            Kind::Video(_) => {}
        }
    }

    fn picture_begins(&mut self, at: u64, codec: Codec, packet: &Packet<'_>, out: &mut Out) {
        let (frame, elementary) = packet.frame();
        let mut picture = Picture::new(codec);
        let decided = picture.read(elementary);
        let (says_random_access, continuity) = (packet.is_random_access, packet.continuity);
        self.picture = Some(Undecided { at, says_random_access, frame, continuity, picture });
        self.decide(decided, out);
    }

    fn picture_goes_on(&mut self, packet: &Packet<'_>, out: &mut Out) {
        let Some(undecided) = &mut self.picture else { return };
        if packet.payload.is_empty() || packet.continuity == undecided.continuity {
            // Only a clock, or the same packet once more.
            return;
        }
        if packet.continuity != undecided.continuity.wrapping_add(1) & 0x0F {
            // Some of it is missing, so that a parameter set may be damaged.
            self.picture = None;
            return;
        }
        undecided.continuity = packet.continuity;
        let decided = undecided.picture.read(packet.payload);
        self.decide(decided, out);
    }

    /// What was in front of a picture that never came still holds.
    fn picture_ends(&mut self) {
        if let (Some(undecided), Some(parameters)) = (self.picture.take(), &mut self.parameters) {
            undecided.picture.into_sets().iter().for_each(|set| parameters.add(set));
        }
    }

    fn decide(&mut self, decided: Option<bool>, out: &mut Out) {
        let Some(is_key) = decided else { return };
        let Some(Undecided { at, says_random_access, frame, picture, .. }) = self.picture.take() else { return };
        let preface = self.preface(&frame, &picture.into_sets());
        if let Some(preface) = preface.filter(|_| is_key || says_random_access)
            && preface.len() <= LONGEST_PREFACE
            && self.header(at, out)
        {
            out.join_with(at, 0, || preface);
        }
    }

    /// What a decoder that begins with this frame has to get before it, beside the sets in front of it. Nothing: it
    /// cannot begin there.
    fn preface(&mut self, frame: &Frame, sets: &[Vec<u8>]) -> Option<Vec<u8>> {
        let Some(parameters) = &mut self.parameters else { return Some(Vec::new()) };
        sets.iter().for_each(|set| parameters.add(set));
        if parameters.are_among(sets) {
            return parameters.are_complete().then(Vec::new);
        }
        let pid = self.leading.map(|leading| leading.pid)?;
        parameters.are_complete().then(|| packets::before(pid, frame, &parameters.to_stream()))
    }

    fn join(&mut self, at: u64, gap: u64, out: &mut Out) {
        if self.header(at, out) {
            out.join_sparsely(at, gap);
        }
    }

    /// The header, if it is another one than before. False: there is none for the tables as they are.
    fn header(&mut self, at: u64, out: &mut Out) -> bool {
        if self.is_header_due && !self.map.section.is_empty() {
            let mut bytes = packets::of_section(0, &self.associations.section);
            bytes.extend(packets::of_section(self.map_pid.unwrap_or_default(), &self.map.section));
            let header = Header { bytes, format: "mpeg-ts", media_type: "video/mp2t".into() };
            self.is_header_due = !out.header(at, header);
        }
        !self.is_header_due
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
