//! Any bytes, cut anywhere: the host of the tests watches that the contract of the index is kept, and the
//! marks must not depend on the cuts.
//!
//! The first byte of the input is how long a piece is, and the rest is the source. The streams of the
//! tests are good seeds: `cargo fuzz run index fuzz/corpus/index index/tests/streams`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use multiclient_index::Limits;

use host::{Host, LARGEST_PIECE};

#[path = "../../index/tests/support/mod.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod host;

fuzz_target!(|input: &[u8]| {
    let [piece, source @ ..] = input else {
        return;
    };
    // Short headers are given up more often.
    let limits = Limits { max_header: if piece % 2 == 0 { 0 } else { 1 << 20 } };
    let whole = Host::of(source, limits, [LARGEST_PIECE]);
    let cut = Host::of(source, limits, [usize::from(*piece)]);
    assert_eq!(whole.marks, cut.marks);
    assert_eq!(whole.stream, cut.stream);
});
