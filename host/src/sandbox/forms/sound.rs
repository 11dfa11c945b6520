//! The built-in guest in both forms: whatever happens to a client, the actions are the same.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Both, limits};
use crate::contract::{Action, Entry, Event, Facts, Found, Listing, Refusal, Window};
use crate::sandbox::guest::Guest;
use crate::settings::Settings;

fn built_in() -> Arc<Guest> {
    thread_local! {
        static GUEST: Arc<Guest> = Arc::new(Guest::built_in(limits()).expect("it is built in"));
    }
    GUEST.with(Arc::clone)
}

/// What may happen next, whatever is waited for.
#[derive(Clone, Debug)]
struct Turn {
    received: Vec<u8>,
    opened: Result<Found<'static>, Refusal>,
    listed: Result<Listing, Refusal>,
    window: Window,
    /// Which event comes although it is not waited for.
    astray: Option<usize>,
}

impl Turn {
    fn event(self, wait: Option<&Action>) -> Event<'static> {
        let Self { received, opened, listed, window, astray } = self;
        let which = astray.unwrap_or(match wait {
            Some(Action::Open(_)) => 2,
            Some(Action::List(_)) => 3,
            Some(Action::Wait(_)) => 4,
            Some(Action::Proceed) => 5,
            _ => 0,
        });
        match which {
            0 => Event::Received(received.into()),
            1 => Event::Finished,
            2 => Event::Opened(opened),
            3 => Event::Listed(listed),
            4 => Event::Available(window),
            5 => Event::Proceeded,
            _ => Event::Stopping,
        }
    }
}

/// Tells a session in both forms what happens next, until nothing does, or it closes or fails. Returns how many lists
/// it answered with.
fn live(both: &Both, mut next: impl FnMut(Option<&Action>) -> Option<Event<'static>>) -> usize {
    // One life is bounded, whatever the session makes of its client.
    const MOST: usize = 2_000;
    let mut sessions = both.start().expect("the built-in guest makes sessions");
    let mut wait = None;
    for lists in 0..MOST {
        let Some(event) = next(wait.as_ref()) else { return lists };
        let Ok(mut actions) = sessions.advance(&event) else { return lists };
        wait = actions.pop();
        if matches!(wait, Some(Action::Close(_))) {
            return lists + 1;
        }
    }
    MOST
}

fn received() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&str] = &[
        "GET /film.mp4 HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\nReferer: http://c/\r\n\r\n",
        "GET /film.mp4?t=1 HTTP/1.1\r\nHost: a\r\nRange: bytes=5-9,20-\r\nIf-Range: \"v\"\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n",
        "GET /folder/ HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n",
        "HEAD /%66ilm.mp4 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "GET /film.mp4 HTTP/1.1\r\nHo",
        "st: a\r\nIf-None-Match: \"v\"\r\n\r\n",
        "GET /\u{fc}/../b HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    prop_oneof![
        8 => prop::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..300),
        1 => (1..16_384usize).prop_map(|length| vec![b'a'; length]),
    ]
}

fn window() -> impl Strategy<Value = Window> {
    let offset = || prop_oneof![3 => 0..100_000u64, 1 => any::<u64>()];
    (offset(), offset(), any::<bool>()).prop_map(|(a, b, is_final)| Window { start: a.min(b), end: a.max(b), is_final })
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop::sample::select(vec![Refusal::NotFound, Refusal::Forbidden, Refusal::Unavailable, Refusal::Failed])
}

fn opened() -> impl Strategy<Value = Result<Found<'static>, Refusal>> {
    let facts = (window(), any::<Option<u64>>(), "[!-~&&[^\"]]{0,64}", prop::option::of("[a-z]{1,9}/[a-z]{1,9}"));
    prop_oneof![
        6 => facts.prop_map(|(window, modified, version, media_type)| {
            let (version, media_type) = (version.into(), media_type.map(Into::into));
            Ok(Found::Source(Facts { window, modified, version, media_type }))
        }),
        2 => Just(Ok(Found::Folder)),
        1 => refusal().prop_map(Err),
    ]
}

fn listed() -> impl Strategy<Value = Result<Listing, Refusal>> {
    let name = prop::collection::vec(any::<u8>(), 1..40);
    let entry = (name, any::<bool>(), any::<u64>(), any::<Option<u64>>());
    let entry = entry.prop_map(|(name, folder, size, modified)| Entry { name, folder, size, modified });
    prop_oneof![
        6 => (prop::collection::vec(entry, 0..30), any::<bool>()).prop_map(|(entries, complete)| {
            Ok(Listing { complete: complete || entries.is_empty(), entries })
        }),
        1 => refusal().prop_map(Err),
    ]
}

fn turn() -> impl Strategy<Value = Turn> {
    let astray = prop_oneof![12 => Just(None), 1 => (0..7usize).prop_map(Some)];
    (received(), opened(), listed(), window(), astray).prop_map(|(received, opened, listed, window, astray)| Turn {
        received,
        opened,
        listed,
        window,
        astray,
    })
}

fn settings() -> impl Strategy<Value = Settings> {
    let headers = prop::collection::vec(("[A-Za-z-]{1,12}", "[ -~]{0,30}"), 0..4);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (flags, headers, prop::option::of("[*]|https://[a-z]{1,8}")).prop_map(|(flags, headers, cors)| {
        let (reports, listing, pages, compat) = flags;
        Settings { reports, listing, pages, compat, headers, cors }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_life_is_the_same_in_both_forms(
        settings in settings(),
        has_home in any::<bool>(),
        turns in prop::collection::vec(turn(), 1..24),
    ) {
        let mut turns = turns.into_iter();
        let both = Both::new(&built_in(), &settings, has_home.then_some(b"film.mp4"));
        live(&both, |wait| turns.next().map(|turn| turn.event(wait)));
    }
}

/// What the fuzzer of the protocol core starts from: the first byte is the settings, the second how long a piece is.
#[test]
fn what_the_fuzzer_has_found_is_the_same_in_both_forms() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest/fuzz/corpus/session");
    let mut lists = 0;
    for seed in fs::read_dir(folder).expect("the fuzzer has seeds") {
        let seed = fs::read(seed.expect("a seed").path()).expect("a seed can be read");
        let [dialect, piece, bytes @ ..] = seed.as_slice() else { panic!("a seed has two bytes at least") };
        let settings = Settings {
            reports: true,
            listing: true,
            pages: dialect & 2 == 0,
            compat: dialect & 1 != 0,
            ..Settings::default()
        };
        let both = Both::new(&built_in(), &settings, (dialect & 4 != 0).then_some(b"live.ts"));
        for found in [Found::Source(facts()), Found::Folder] {
            let mut pieces = bytes.chunks(usize::from(*piece).max(1));
            lists += live(&both, |wait| {
                Some(match wait {
                    Some(Action::Open(_)) => Event::Opened(Ok(found.clone())),
                    Some(Action::List(_)) => Event::Listed(Ok(listing())),
                    Some(Action::Wait(_)) => Event::Available(facts().window),
                    Some(Action::Proceed) => Event::Proceeded,
                    _ => pieces.next().map_or(Event::Finished, |piece| Event::Received(piece.to_vec().into())),
                })
            });
        }
    }
    assert!(lists > 100, "only {lists} lists were compared");
}

fn facts() -> Facts<'static> {
    let window = Window { start: 0, end: 2_500, is_final: true };
    Facts { window, modified: Some(1_767_323_040_000), version: "v".into(), media_type: None }
}

fn listing() -> Listing {
    let entry = Entry { modified: Some(1_767_323_040_000), ..Entry::source("<b>.mp4", 5) };
    Listing { entries: vec![entry], complete: true }
}
