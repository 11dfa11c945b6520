//! One producer after the other, on the same source: the second stream can be joined as the first could.

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use multiclient_index::{Join, Limits};
use support::{Host, LARGEST_PIECE, Run, STREAMS, stream};

/// Formats in which a second stream does not continue the first.
const UNCHAINED: [&str; 6] = ["flac", "flv", "matroska", "mp4", "wav", "webm"];

fn runs(source: &[u8]) -> Vec<Run> {
    Host::of(source, Limits::default(), [LARGEST_PIECE]).runs()
}

/// Joins as they are when `offset` bytes come first.
fn moved(joins: &[Join], offset: usize) -> Vec<Join> {
    let moved = |join: &Join| Join { offset: join.offset + offset as u64, preface: join.preface.clone() };
    joins.iter().map(moved).collect()
}

#[test]
fn a_second_stream_ends_the_first_and_can_be_joined() {
    for name in UNCHAINED {
        let once = runs(stream(name)).remove(0);
        let twice = runs(&[stream(name), stream(name)].concat());
        let length = stream(name).len();
        assert_eq!(twice.len(), 2, "{name}");
        assert_eq!(twice[0].end, Some(length as u64), "{name}");
        assert_eq!(twice[1].end, None, "{name}");
        assert_eq!(twice[1].header, once.header, "{name}");
        assert_eq!(twice[1].joins, moved(&once.joins, length), "{name}");
    }
}

#[test]
fn a_producer_may_be_cut_off_anywhere() {
    for name in UNCHAINED {
        let (whole, once) = (stream(name), runs(stream(name)).remove(0));
        // The first join is known by then.
        let begun = once.joins[0].offset as usize + 24;
        for length in (begun..whole.len()).step_by(13) {
            let runs = runs(&[&whole[..length], whole].concat());
            assert_eq!(runs.len(), 2, "{name}, cut off at {length}");
            let end = runs[0].end.unwrap_or_else(|| panic!("{name}, cut off at {length}: no end"));
            // A join may have been seen in the beginning of the next, before it was known to be one.
            assert!((length..length + 16).contains(&(end as usize)), "{name}, cut off at {length}: ends at {end}");
            assert_eq!(runs[1].header, once.header, "{name}, cut off at {length}");
            assert_eq!(runs[1].joins, moved(&once.joins, length), "{name}, cut off at {length}");
        }
    }
}

#[test]
fn a_producer_cut_off_in_its_header_leaves_the_next_alone() {
    for name in UNCHAINED {
        let (whole, once) = (stream(name), runs(stream(name)).remove(0));
        // So much is needed to tell what it is.
        for length in (16..once.joins[0].offset as usize).step_by(3) {
            let runs = runs(&[&whole[..length], whole].concat());
            let last = runs.last().unwrap_or_else(|| panic!("{name}, cut off at {length}: nothing"));
            assert_eq!(last.header, once.header, "{name}, cut off at {length}");
            assert_eq!(last.joins, moved(&once.joins, length), "{name}, cut off at {length}");
        }
    }
}

#[test]
fn chained_ogg_begins_with_new_headers_and_does_not_end() {
    let names = ["ogg-opus", "ogg-theora", "ogg-flac", "ogg-opus"];
    let chained: Vec<u8> = names.iter().flat_map(|name| stream(name)).copied().collect();
    let chained = runs(&chained);
    assert_eq!(chained.len(), names.len());
    let mut offset = 0;
    for (name, run) in names.into_iter().zip(chained) {
        let once = runs(stream(name)).remove(0);
        assert_eq!(run.end, None, "{name}");
        assert_eq!(run.header, once.header, "{name}");
        assert_eq!(run.joins, moved(&once.joins, offset), "{name}");
        offset += stream(name).len();
    }
}

#[test]
fn formats_without_a_header_just_go_on() {
    for (name, source) in STREAMS {
        if UNCHAINED.contains(&name) || name.starts_with("ogg") {
            continue;
        }
        let (once, length) = (runs(source).remove(0), source.len());
        let twice = runs(&[source, source].concat());
        assert_eq!(twice.len(), 1, "{name}: the same header does not come twice");
        assert_eq!(twice[0].end, None, "{name}");
        // Near the seam there may be one more or less, as joins keep a distance.
        let again: Vec<Join> = twice[0].joins.iter().filter(|join| join.offset >= length as u64).cloned().collect();
        assert!(again.len() + 2 >= once.joins.len(), "{name}: {} of {}", again.len(), once.joins.len());
    }
}

#[test]
fn a_transport_stream_with_other_tables_has_another_header() {
    let first = stream("mpeg-ts");
    // The same stream as another program: its number, and with it the checksum, differ.
    let mut second = first.to_vec();
    for packet in second.chunks_mut(188) {
        if packet[1] & 0x5F == 0x40 && packet[2] == 0 {
            packet[5 + 9] = 7;
            let checksum = crc(&packet[5..5 + 12]);
            packet[5 + 12..5 + 16].copy_from_slice(&checksum.to_be_bytes());
        }
    }
    let runs = runs(&[first, &second].concat());
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0].end, None);
    assert_ne!(runs[0].header, runs[1].header);
    assert!(runs[1].joins.iter().all(|join| join.offset >= first.len() as u64));
}

/// The checksum of a section (ISO/IEC 13818-1, annex A).
fn crc(section: &[u8]) -> u32 {
    section.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 })
    })
}
