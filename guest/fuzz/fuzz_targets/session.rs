//! Any bytes, cut anywhere, in either dialect: the host of the tests watches that the contract is kept,
//! and the replies must not depend on the cuts.
//!
//! The first byte of the input is the dialect, the second how long a piece is, and the rest is what the
//! client sends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use multiclient_guest::contract::{Dialect, Window};

use host::{Host, Input, file, pattern};

#[path = "../../tests/session/host.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod host;

fuzz_target!(|input: &[u8]| {
    let [dialect, piece, bytes @ ..] = input else {
        return;
    };
    let mut host = Host::default();
    host.settings.reports = true;
    host.settings.listing = true;
    host.settings.dialect = if dialect % 2 == 0 { Dialect::Standard } else { Dialect::Compat };
    let mut live = file(&pattern(2_500));
    live.facts.window = Window { start: 0, end: 100, is_final: false };
    live.growth = vec![Window { start: 7, end: 2_500, is_final: true }];
    host.publish("live.ts", live);

    let whole = host.whole(bytes);
    let pieces = bytes.chunks(usize::from(*piece).max(1)).map(|piece| Input::Bytes(piece.to_vec()));
    let cut = host.live(pieces.clone());
    assert_eq!(whole.text(), cut.text());
    assert_eq!(whole.reports, cut.reports);
    assert_eq!(whole.closed.is_some(), cut.closed.is_some());
    assert!(host.live(pieces.chain([Input::Finish])).closed.is_some() || bytes.is_empty());
});
