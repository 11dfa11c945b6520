//! How a source is cut into pieces changes nothing: same marks, whole, byte by byte, and in random pieces.

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use multiclient_index::Limits;
use proptest::prelude::*;
use support::{Host, LARGEST_PIECE, STREAMS, stream};

fn marks_do_not_depend_on(pieces: &[usize], source: &[u8]) {
    let whole = Host::of(source, Limits::default(), [LARGEST_PIECE]);
    let cut = Host::of(source, Limits::default(), pieces.iter().copied());
    assert_eq!(whole.marks, cut.marks);
    assert!(whole.stream == cut.stream, "patched differently");
}

#[test]
fn marks_are_the_same_whole_and_byte_by_byte() {
    for (name, source) in STREAMS {
        let host = Host::of(source, Limits::default(), [LARGEST_PIECE]);
        let runs = host.runs();
        assert_eq!(runs.len(), 1, "{name}");
        assert!(name.starts_with(runs[0].header.format), "{name} is taken for {}", runs[0].header.format);
        assert!(runs[0].joins.len() > 1, "{name}: {:?}", runs[0].joins);
        assert_eq!(host.losses(), [], "{name}");
        marks_do_not_depend_on(&[1], source);
    }
}

#[test]
fn zeros_after_the_name_of_a_document_type_do_not_matter() {
    let plain = stream("webm");
    let name = plain.windows(7).position(|at| at == b"\x42\x82\x84webm").expect("it is there");
    let mut padded = [&plain[..name], b"\x42\x82\x85webm\0", &plain[name + 7..]].concat();
    // The size of the EBML header has one byte.
    padded[4] += 1;
    let header = Host::of(&padded, Limits::default(), [LARGEST_PIECE]).runs().remove(0).header;
    assert_eq!((header.format, &*header.media_type), ("webm", "video/webm"));
}

#[test]
fn beginnings_are_told_the_same_whenever_they_are_asked_for() {
    let long_line = [b"--x\nLong: ".as_slice(), &[b'y'; 1_100], b"\nContent-Type: image/jpeg\n\n"].concat();
    let long_delimiter = [b"--x".as_slice(), &[b' '; 100], b"\nContent-Type: image/jpeg\n\n"].concat();
    for beginning in [
        long_line.as_slice(),
        &long_delimiter,
        b"\x40\0\0\0ftyp\x10\0".as_slice(),
        b"ID3\x04\0\0\0\0\0\x02..one line of text, which is long enough for a join or two\nand another",
        b"ID3 is what MP3 files begin with\nas this does",
        b"Good morning: not a packet\n",
        b"RIFFraff\n",
        b"--not-a-boundary\nof anything\n",
        b"OggS",
        b"",
    ] {
        marks_do_not_depend_on(&[1], beginning);
    }
}

#[test]
fn a_header_cut_into_single_bytes_is_the_same_header() {
    for (name, source) in STREAMS {
        let whole = Host::of(source, Limits::default(), [LARGEST_PIECE]).runs().remove(0).header;
        let mut host = Host::new(Limits::default());
        let at = source.iter().position(|byte| {
            host.pass(&[*byte]);
            !host.runs().is_empty()
        });
        assert!(at.is_some(), "{name}");
        assert_eq!(host.runs()[0].header, whole, "{name}");
    }
}

#[test]
fn joins_at_the_beginning_compose_the_whole_stream() {
    // What follows the header in these has been left out of none of it.
    for name in ["adts", "flv", "lines", "matroska", "motion-jpeg", "mp4", "mpeg-audio", "ogg-flac", "ogg-opus"] {
        let host = Host::of(stream(name), Limits::default(), [LARGEST_PIECE]);
        let runs = host.runs();
        let composed = host.composed(&runs[0], &runs[0].joins[0]);
        let (first, join) = (runs[0].header.bytes.len() as u64, runs[0].joins[0].offset);
        assert!(first <= join && join - first < 300, "{name}: a header of {first}, then {join}");
        assert_eq!(composed[first as usize..], host.stream[join as usize..], "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn marks_are_the_same_in_random_pieces(
        number in 0..STREAMS.len(),
        pieces in prop::collection::vec(prop_oneof![1_usize..9, 1_usize..300, 1_usize..5_000], 1..400),
    ) {
        marks_do_not_depend_on(&pieces, STREAMS[number].1);
    }
}
