//! Whatever comes, the index keeps the contract: it never panics, and says the same however it is cut.

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use multiclient_index::{Limits, Loss};
use proptest::prelude::*;
use support::{Host, LARGEST_PIECE, STREAMS};

/// Passes the same bytes in two ways; the host watches the contract.
fn survives(source: &[u8], limits: Limits, piece: usize) {
    let whole = Host::of(source, limits, [LARGEST_PIECE]);
    let cut = Host::of(source, limits, [piece]);
    assert_eq!(whole.marks, cut.marks);
}

/// One of the streams, with something wrong.
#[derive(Clone, Debug)]
enum Harm {
    /// These bits of a byte differ.
    Flip(prop::sample::Index, u8),
    /// So many bytes are missing.
    Cut(prop::sample::Index, usize),
    /// These bytes are in between.
    Insert(prop::sample::Index, Vec<u8>),
    /// Some of it comes a second time.
    Repeat(prop::sample::Index, usize),
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        4 => (at(), 1_u8..).prop_map(|(at, bits)| Harm::Flip(at, bits)),
        1 => (at(), 1_usize..2_000).prop_map(|(at, count)| Harm::Cut(at, count)),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(at, bytes)| Harm::Insert(at, bytes)),
        1 => (at(), 1_usize..2_000).prop_map(|(at, count)| Harm::Repeat(at, count)),
    ]
}

fn apply(source: &mut Vec<u8>, harm: &Harm) {
    if source.is_empty() {
        return;
    }
    let length = source.len();
    match harm {
        // Most of what matters is at the beginning.
        Harm::Flip(at, bits) => source[at.index(length).min(at.index(1_500)).min(length - 1)] ^= bits,
        Harm::Cut(at, count) => drop(source.drain(at.index(length)..(at.index(length) + count).min(length))),
        Harm::Insert(at, bytes) => drop(source.splice(at.index(length)..at.index(length), bytes.iter().copied())),
        Harm::Repeat(at, count) => {
            let again = source[at.index(length)..(at.index(length) + count).min(length)].to_vec();
            source.splice(at.index(length)..at.index(length), again);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn arbitrary_bytes_are_survived(source in prop::collection::vec(any::<u8>(), 0..3_000), piece in 1_usize..50) {
        survives(&source, Limits::default(), piece);
    }

    #[test]
    fn arbitrary_bytes_after_a_magic_number_are_survived(
        number in 0..STREAMS.len(),
        kept in 0_usize..1_000,
        garbage in prop::collection::vec(any::<u8>(), 0..3_000),
        piece in 1_usize..50,
    ) {
        let beginning = STREAMS[number].1;
        let source = [&beginning[..kept.min(beginning.len())], &garbage].concat();
        survives(&source, Limits::default(), piece);
    }

    #[test]
    fn damaged_streams_are_survived(
        number in 0..STREAMS.len(),
        harms in prop::collection::vec(harm(), 1..8),
        max_header in prop_oneof![Just(0_u32), Just(1 << 20)],
        piece in 1_usize..500,
    ) {
        let mut source = STREAMS[number].1.to_vec();
        harms.iter().for_each(|harm| apply(&mut source, harm));
        survives(&source, Limits { max_header }, piece);
    }
}

#[test]
fn garbage_after_a_valid_header_gives_no_joins() {
    let garbage: Vec<u8> = (0_u32..300_000).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (name, source) in STREAMS {
        let host = Host::of(source, Limits::default(), [LARGEST_PIECE]);
        let last_join = host.runs()[0].joins.last().map(|join| join.offset).unwrap_or_default() as usize;
        let broken = [&source[..last_join], &garbage].concat();
        let host = Host::of(&broken, Limits::default(), [LARGEST_PIECE]);
        // In samples any place will do; text is not looked at; of multipart streams the last part goes on.
        if !matches!(name, "wav" | "lines") {
            let joins = &host.runs()[0].joins;
            assert!(joins.iter().all(|join| join.offset as usize <= last_join), "{name}: {:?}", joins.last());
        }
        if matches!(name, "mp4" | "matroska" | "webm" | "flv") {
            assert_eq!(host.losses(), [Loss::Malformed], "{name}");
        }
    }
}
