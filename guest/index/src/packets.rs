//! Packets of MPEG transport streams (ISO/IEC 13818-1): reading one, and writing those that a viewer gets before
//! the stream.

use alloc::vec::Vec;

use crate::bytes::Reader;

pub(crate) const PACKET: usize = 188;
pub(crate) const SYNC: u8 = 0x47;

/// What comes before the content of a packet: at least this.
const HEADER: usize = 4;

/// The first stream with video, as it is called in front of a frame.
const VIDEO: u8 = 0xE0;

const UNIT_START: u16 = 0x4000;
const HAS_ADAPTATION: u8 = 0x20;
const HAS_PAYLOAD: u8 = 0x10;

/// A packet (section 2.4.3.2).
#[derive(Debug)]
pub(crate) struct Packet<'a> {
    pub(crate) pid: u16,
    pub(crate) is_unit_start: bool,
    pub(crate) is_scrambled: bool,
    pub(crate) is_random_access: bool,
    /// Counts the packets of its stream that have a payload, from 0 to 15 and over again.
    pub(crate) continuity: u8,
    pub(crate) payload: &'a [u8],
}

/// What is said of a frame in front of it (section 2.4.3.6), and in its packet.
#[derive(Debug)]
pub(crate) struct Frame {
    stream_id: u8,
    /// When it is shown and decoded, as it stands there: 0, 5 or 10 bytes.
    times: Vec<u8>,
    continuity: u8,
}

impl<'a> Packet<'a> {
    /// Nothing where it is damaged or makes no sense.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        const ERROR: u16 = 0x8000;
        const PID: u16 = 0x1FFF;
        const RANDOM_ACCESS: u8 = 0x40;

        let mut packet = Reader(bytes);
        packet.skip(1)?;
        let flags = packet.be16().filter(|flags| flags & ERROR == 0)?;
        let control = packet.u8()?;
        let mut is_random_access = false;
        if control & HAS_ADAPTATION != 0 {
            let length = packet.u8()?;
            let field = packet.take(usize::from(length))?;
            is_random_access = field.first().is_some_and(|flags| flags & RANDOM_ACCESS != 0);
        }
        Some(Self {
            pid: flags & PID,
            is_unit_start: flags & UNIT_START != 0,
            is_scrambled: control & 0xC0 != 0,
            is_random_access,
            continuity: control & 0x0F,
            payload: if control & HAS_PAYLOAD != 0 { packet.0 } else { &[] },
        })
    }

    /// What this packet, in which a frame begins, says of it; and the beginning of the elementary stream.
    pub(crate) fn frame(&self) -> (Frame, &'a [u8]) {
        let continuity = self.continuity;
        match self.payload {
            [0, 0, 1, stream_id, _, _, _, flags, length, rest @ ..] => {
                let times = match flags >> 6 {
                    2 => 5,
                    3 => 10,
                    _ => 0,
                };
                let (fields, elementary) = rest.split_at_checked(usize::from(*length)).unwrap_or((rest, &[]));
                let times = fields.get(..times).unwrap_or_default().to_vec();
                (Frame { stream_id: *stream_id, times, continuity }, elementary)
            }
            _ => (Frame { stream_id: VIDEO, times: Vec::new(), continuity }, &[]),
        }
    }
}

/// A section in packets of its own: whoever begins with them has the whole table, whichever packets of it
/// come next in the stream.
pub(crate) fn of_section(pid: u16, section: &[u8]) -> Vec<u8> {
    const POINTER: u8 = 0;
    const STUFFING: u8 = 0xFF;
    let mut content = Vec::with_capacity(1 + section.len());
    content.push(POINTER);
    content.extend_from_slice(section);
    let mut packets = Vec::new();
    for (number, payload) in content.chunks(PACKET - HEADER).enumerate() {
        push_start(&mut packets, pid, number);
        packets.push(HAS_PAYLOAD | number as u8 & 0x0F);
        packets.extend_from_slice(payload);
        packets.resize(packets.len().next_multiple_of(PACKET), STUFFING);
    }
    packets
}

/// Packets that carry something of a stream right before the one in which `frame` begins. They have its times, so
/// that players take both for one frame, and the numbers that come before its own.
pub(crate) fn before(pid: u16, frame: &Frame, elementary: &[u8]) -> Vec<u8> {
    const MARKER: u8 = 0x80;
    let Frame { stream_id, times, continuity } = frame;
    let has_times = match times.len() {
        10 => 0xC0,
        5 => 0x80,
        _ => 0,
    };
    let fields = [&[MARKER, has_times, times.len() as u8], times.as_slice()].concat();
    // Its length is said, so that it is complete before the next packet comes.
    let length = u16::try_from(fields.len() + elementary.len()).unwrap_or_default();
    let content = [&[0, 0, 1, *stream_id], length.to_be_bytes().as_slice(), &fields, elementary].concat();
    let pieces = content.chunks(PACKET - HEADER);
    let first = continuity.wrapping_sub(pieces.len() as u8);
    let mut packets = Vec::new();
    for (number, payload) in pieces.enumerate() {
        push_start(&mut packets, pid, number);
        let control = HAS_PAYLOAD | first.wrapping_add(number as u8) & 0x0F;
        push_stuffed(&mut packets, control, payload);
    }
    packets
}

/// The beginning of packet `number` of a unit, up to what controls its content.
fn push_start(packets: &mut Vec<u8>, pid: u16, number: usize) {
    let unit_start = if number == 0 { UNIT_START } else { 0 };
    packets.push(SYNC);
    packets.extend((pid | unit_start).to_be_bytes());
}

/// The rest of a packet, filled up in front of its payload as frames have to be (section 2.4.3.4).
fn push_stuffed(packets: &mut Vec<u8>, control: u8, payload: &[u8]) {
    const NO_FLAGS: u8 = 0;
    const STUFFING: u8 = 0xFF;
    match (PACKET - HEADER).saturating_sub(payload.len()) {
        0 => packets.push(control),
        missing => {
            packets.extend([control | HAS_ADAPTATION, missing as u8 - 1]);
            if missing > 1 {
                packets.push(NO_FLAGS);
                packets.resize(packets.len() + missing - 2, STUFFING);
            }
        }
    }
    packets.extend_from_slice(payload);
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const TIMES: [u8; 10] = [0x31, 0, 9, 0x10, 0xA1, 0x11, 0, 7, 0xD8, 0x61];

    fn frame(continuity: u8) -> Frame {
        Frame { stream_id: VIDEO, times: TIMES.to_vec(), continuity }
    }

    #[test]
    fn packets_before_a_frame_have_its_times_and_the_numbers_before_its_own() {
        for count in [1, 100, 164, 165, 166, 167, 168, 349, 350, 351, 1_500] {
            let elementary: Vec<u8> = (0..count).map(|n| n as u8).collect();
            let packets = before(0x100, &frame(3), &elementary);
            assert_eq!(packets.len() % PACKET, 0, "{count}");
            let packets: Vec<_> =
                packets.chunks(PACKET).map(|packet| Packet::read(packet).expect("a packet")).collect();
            let numbers: Vec<_> = packets.iter().map(|packet| packet.continuity).collect();
            let expected: Vec<_> = (0..packets.len()).rev().map(|back| (18 - back as u8) & 0x0F).collect();
            assert_eq!(numbers, expected, "{count}");
            assert!(packets.iter().all(|packet| packet.pid == 0x100 && !packet.is_random_access));
            assert!(packets[0].is_unit_start && packets[1..].iter().all(|packet| !packet.is_unit_start));
            let (Frame { stream_id, times, .. }, begins) = packets[0].frame();
            assert_eq!((stream_id, times.as_slice()), (VIDEO, TIMES.as_slice()));
            let rest = packets[1..].iter().flat_map(|packet| packet.payload);
            assert_eq!(begins.iter().chain(rest).copied().collect::<Vec<_>>(), elementary, "{count}");
            let length = u16::from_be_bytes([packets[0].payload[4], packets[0].payload[5]]);
            assert_eq!(usize::from(length), 3 + TIMES.len() + count, "{count}");
        }
    }

    #[test]
    fn what_does_not_begin_as_a_frame_has_no_times() {
        let mut packet = [0x55; PACKET];
        packet[..HEADER].copy_from_slice(&[SYNC, 0x41, 0x00, 0x17]);
        let (frame, elementary) = Packet::read(&packet).expect("a packet").frame();
        assert_eq!((frame.times.len(), frame.continuity, elementary.len()), (0, 7, 0));
    }
}
