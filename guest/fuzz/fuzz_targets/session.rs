//! Any bytes, cut anywhere, in either dialect: the host of the tests watches that the contract is kept,
//! and the replies must not depend on the cuts.
//!
//! The bits of the first byte are the settings, the second byte is how long a piece is, and the rest is what
//! the client sends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use multiclient_guest::contract::{Dialect, Entry, Window};

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
    host.settings.pages = dialect & 2 == 0;
    host.settings.home = (dialect & 4 != 0).then(|| b"live.ts".to_vec());
    // Listings of more than one portion, and of more than one piece.
    host.portion = 7;
    let entry = |number: u64| Entry {
        name: format!("{number:0>3}{}.mp3", "<".repeat(248)).into(),
        folder: number % 5 == 0,
        size: number,
        modified: None,
    };
    host.folders.insert(b"many".to_vec(), (0..20).map(entry).collect());
    host.settings.dialect = if dialect % 2 == 0 { Dialect::Standard } else { Dialect::Compat };
    let mut live = file(&pattern(2_500));
    live.facts.window = Window { start: 0, end: 100, is_final: false };
    live.growth = vec![Window { start: 7, end: 2_500, is_final: true }];
    host.publish("live.ts", live);

    let whole = host.whole(bytes);
    let pieces = bytes.chunks(usize::from(*piece).max(1)).map(|piece| Input::Bytes(piece.to_vec()));
    let cut = host.run(pieces.clone());
    assert_eq!(whole.text(), cut.text());
    assert_eq!(whole.reports, cut.reports);
    assert_eq!(whole.closed.is_some(), cut.closed.is_some());
    assert!(host.run(pieces.clone().chain([Input::Finish])).closed.is_some() || bytes.is_empty());
    let stops = pieces.chain([Input::Turn, Input::Turn, Input::Stop, Input::Finish]);
    assert!(host.run(stops).closed.is_some() || bytes.is_empty());
});
