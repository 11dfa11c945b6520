//! Guests that answer what nobody can read, and guests that break the rules of the canonical ABI.

use std::borrow::Cow;

use proptest::prelude::*;

use super::wrapped::{Bodies, HEAP, MEMORY};
use super::{Both, Sessions};
use crate::contract::{Action, Entry, Event, Facts, Found, Listing, Refusal, Window};
use crate::ended::{Ended, Limit};
use crate::limits::COMPONENT_HANDLES;
use crate::settings::Settings;

/// Where the list that is returned, and its first action, are in an answer that is well made.
const RETURNED: u32 = HEAP + 8;
const RECORDS: u32 = HEAP + 16;

/// Words of an answer: the address that is returned, a blank, the address of the list and its length, and actions
/// of ten words.
fn answer(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A list of one action.
fn one(action: &[u32]) -> Vec<u32> {
    let mut words = [&[RETURNED, 0, RECORDS, 1], action].concat();
    words.resize(4 + 10, 0);
    words
}

fn session(bodies: &Bodies<'_>) -> Sessions {
    Both::new(&bodies.guest(), &Settings::default(), None).start().expect("it makes a session")
}

fn said(result: &Result<Vec<Action>, Ended>) -> &str {
    match result {
        Ok(_) => "",
        Err(Ended::Trapped { message, .. }) => message,
        Err(ended) => panic!("{ended:?}"),
    }
}

#[test]
fn what_cannot_be_read_ends_its_client_in_both_forms() {
    const OUTSIDE: &str = "list pointer/length out of bounds of memory";
    let both = Both::new(&Bodies::default().guest(), &Settings::default(), None);
    for (what, words, why) in [
        ("a sound answer", one(&[6]), ""),
        ("no actions", vec![RETURNED, 0, RECORDS, 0], ""),
        ("no actions, at the end", vec![RETURNED, 0, MEMORY, 0], ""),
        ("no actions, beyond the end", vec![RETURNED, 0, MEMORY + 8, 0], OUTSIDE),
        ("the last bytes of memory", vec![MEMORY - 8], ""),
        ("an address that is not aligned", vec![RETURNED + 2], "return pointer not aligned"),
        ("half a list", vec![MEMORY - 4], "pointer out of bounds of memory"),
        ("an address beyond the end", vec![MEMORY], "pointer out of bounds of memory"),
        ("the last address of all", vec![u32::MAX - 3], "pointer out of bounds of memory"),
        ("as many actions as there is room for", vec![RETURNED, 0, MEMORY - 40, 1], ""),
        ("one more", vec![RETURNED, 0, MEMORY - 40, 2], OUTSIDE),
        ("actions up to 4 GiB", vec![RETURNED, 0, RECORDS, u32::MAX], OUTSIDE),
        ("actions around 4 GiB", vec![RETURNED, 0, u32::MAX - 7, 1], OUTSIDE),
        ("a count that is 1 in 32 bits", vec![RETURNED, 0, RECORDS, 0x6666_6667], OUTSIDE),
        ("actions that are not aligned", vec![RETURNED, 0, RECORDS + 4, 1], "list pointer is not aligned"),
        ("an unknown action", one(&[9]), "unexpected discriminant: 9"),
        ("the last unknown action", one(&[255]), "unexpected discriminant: 255"),
        ("an unknown phase", one(&[0, 0, 2]), "unexpected discriminant: 2"),
        ("an unknown remainder", one(&[8, 0, 0xff]), "unexpected discriminant: 255"),
        ("a send at the end", one(&[3, 0, MEMORY, 0]), ""),
        ("a send across the end", one(&[3, 0, MEMORY - 1, 2]), OUTSIDE),
        ("a send of 4 GiB", one(&[3, 0, 0, u32::MAX]), OUTSIDE),
        ("a name beyond the end", one(&[1, 0, u32::MAX, 1]), OUTSIDE),
        ("a folder beyond the end", one(&[2, 0, u32::MAX, 1]), OUTSIDE),
        ("an entry beyond the end", one(&[2, 0, 0, 0, MEMORY, 1]), OUTSIDE),
        ("a text across the end", one(&[7, 0, MEMORY - 1, 2]), "string pointer/length out of bounds of memory"),
        (
            "an agent beyond the end",
            one(&[7, 0, 0, 0, 200, 0, 0, MEMORY, 1]),
            "string pointer/length out of bounds of memory",
        ),
    ] {
        let mut sessions = both.start().expect("it makes a session");
        let result = sessions.advance(&Event::Received(answer(&words).into()));
        assert_eq!(said(&result), why, "{what}: {result:?}");
    }
}

#[test]
fn an_instance_that_has_failed_is_not_entered_again() {
    let mut sessions = session(&Bodies::default());
    assert!(sessions.advance(&Event::Received(answer(&one(&[9])).into())).is_err());
    let again = sessions.core.advance(0, &Event::Received(answer(&one(&[6])).into()));
    assert_eq!(said(&again), "wasm trap: cannot enter component instance");
}

#[test]
fn texts_are_utf_8_in_both_forms() {
    let mut sessions = session(&Bodies::default());
    // The report's request is its own status and what follows.
    let result = sessions.advance(&Event::Received(answer(&one(&[7, 0, HEAP + 32, 2, 0xa9_c3])).into()));
    assert!(matches!(result.as_deref(), Ok([Action::Report(report)]) if report.request == "é"), "{result:?}");
    let result = sessions.advance(&Event::Received(answer(&one(&[7, 0, HEAP + 32, 1, 0xc3])).into()));
    assert!(said(&result).contains("utf-8"), "{result:?}");
}

#[test]
fn an_answer_beyond_its_bound_is_an_action_bytes_limit_in_both_forms() {
    let both = Both::new(&Bodies::default().guest(), &Settings::default(), None);
    let most = super::limits().action_bytes();
    // Actions that each send all of the memory that there is.
    let sends = u32::try_from(most / u64::from(MEMORY)).expect("it is small");
    for (count, fits) in [(sends, true), (sends + 1, false)] {
        let mut words = vec![RETURNED, 0, RECORDS, count];
        (0..count).for_each(|_| words.extend([3, 0, 0, MEMORY, 0, 0, 0, 0, 0, 0]));
        let mut sessions = both.start().expect("it makes a session");
        match sessions.advance(&Event::Received(answer(&words).into())) {
            Ok(actions) => assert!(fits && actions.len() == count as usize),
            Err(Ended::OverLimit { limit, .. }) => assert!(!fits && limit == Limit::ActionBytes(most), "{limit:?}"),
            Err(ended) => panic!("{ended:?}"),
        }
    }
}

fn entry(name: &str) -> Entry {
    Entry { modified: Some(3), ..Entry::source(name, 2) }
}

/// One of each kind of event.
fn events() -> Vec<Event<'static>> {
    let window = Window { start: 1, end: u64::MAX, is_final: true };
    let facts = Facts { window, modified: Some(5), version: "v".into(), media_type: Some("a/b".into()) };
    let bare = Facts { window, modified: None, version: Cow::Borrowed(""), media_type: None };
    let listing = Listing { entries: vec![entry("a"), Entry::folder(""), entry("bc")], complete: false };
    vec![
        Event::Received(answer(&one(&[0])).into()),
        Event::Received(Cow::Borrowed(b"")),
        Event::Finished,
        Event::Opened(Ok(Found::Source(facts))),
        Event::Opened(Ok(Found::Source(bare))),
        Event::Opened(Ok(Found::Folder)),
        Event::Opened(Err(Refusal::Failed)),
        Event::Listed(Ok(listing)),
        Event::Listed(Ok(Listing { entries: Vec::new(), complete: true })),
        Event::Listed(Err(Refusal::Unavailable)),
        Event::Available(window),
        Event::Proceeded,
        Event::Stopping,
    ]
}

/// `i32.const`, in five bytes.
fn constant(value: u32) -> Vec<u8> {
    let low = |shift: u32| ((value >> shift) & 0x7f) as u8 | 0x80;
    let sign = if value >> 31 == 1 { 0x70 } else { 0 };
    vec![0x41, low(0), low(7), low(14), low(21), ((value >> 28) & 0x0f) as u8 | sign]
}

#[test]
fn memory_that_is_allocated_anywhere_is_the_same_in_both_forms() {
    for address in [0, 1, 2, 4, HEAP, MEMORY - 56, MEMORY - 8, MEMORY - 1, MEMORY, MEMORY + 8, 1 << 31, u32::MAX] {
        let realloc = constant(address);
        let guest = Bodies { realloc: &realloc, ..Bodies::default() }.guest();
        let mut settings = Settings::default();
        for headers in [0, 3] {
            settings.headers = vec![("X-Name".to_owned(), "value".to_owned()); headers];
            let both = Both::new(&guest, &settings, Some(b"home"));
            for event in events() {
                // Either may fail, and then both do.
                let _ = both.start().map(|mut sessions| sessions.advance(&event));
            }
        }
    }
}

#[test]
fn the_rules_for_calls_hold_in_both_forms() {
    const LEAVE: &str = "wasm trap: cannot leave component instance";
    const TRAP: &str = "wasm trap: wasm `unreachable` instruction executed";
    let unknown = |handle: u32| format!("unknown handle index {handle}");
    let make = [0x41, 8, 0x10, 0];
    let realloc = [&make[..], &[0x1a, 0x41, 0x80, 0x08]].concat();
    let dropped_twice = [&make[..], &[0x41, 1, 0x10, 1]].concat();
    let session_dropped = [&[0x41, 1, 0x10, 1][..], Bodies::default().advance].concat();
    let sound = Bodies::default;
    for (what, bodies, why) in [
        ("realloc that leaves", Bodies { realloc: &realloc, ..sound() }, LEAVE.to_owned()),
        ("realloc that traps", Bodies { realloc: &[0], ..sound() }, TRAP.to_owned()),
        ("a constructor that traps", Bodies { constructor: &[0], ..sound() }, TRAP.to_owned()),
        ("a handle of 0", Bodies { constructor: &[0x41, 0], ..sound() }, unknown(0)),
        ("a handle that was never made", Bodies { constructor: &[0x41, 1], ..sound() }, unknown(1)),
        ("a handle that was dropped", Bodies { constructor: &dropped_twice, ..sound() }, unknown(1)),
        ("a session that traps", Bodies { advance: &[0], ..sound() }, TRAP.to_owned()),
        ("a session that is not the guest's to drop", Bodies { advance: &session_dropped, ..sound() }, unknown(1)),
        ("an end of a call that leaves", Bodies { returned: &[0x41, 8, 0x10, 0, 0x1a], ..sound() }, LEAVE.to_owned()),
        ("an end of a call that traps", Bodies { returned: &[0], ..sound() }, TRAP.to_owned()),
    ] {
        let both = Both::new(&bodies.guest(), &Settings::default(), None);
        let event = Event::Received(answer(&one(&[6])).into());
        let result = both.start().and_then(|mut sessions| sessions.advance(&event));
        assert_eq!(said(&result), why, "{what}: {result:?}");
    }
}

#[test]
fn handles_are_counted_alike_in_both_forms() {
    // loop: i32.const 8, call 0, drop, br 0
    let many = [0x03, 0x40, 0x41, 8, 0x10, 0, 0x1a, 0x0c, 0, 0x0b, 0];
    let mut sessions = session(&Bodies { advance: &many, ..Bodies::default() });
    let ended = sessions.advance(&Event::Finished).expect_err("there is a limit");
    assert!(matches!(ended, Ended::OverLimit { limit: Limit::Handles(COMPONENT_HANDLES), .. }), "{ended:?}");
    // One more with each event, without end.
    let one_more = [&[0x41, 8, 0x10, 0, 0x1a][..], Bodies::default().advance].concat();
    let mut sessions = session(&Bodies { advance: &one_more, ..Bodies::default() });
    let event = Event::Received(answer(&one(&[0])).into());
    let answered = (0..2 * COMPONENT_HANDLES).take_while(|_| sessions.advance(&event).is_ok()).count();
    // The session is one, and what is lent to the call another.
    assert_eq!(answered, COMPONENT_HANDLES - 2);
}

/// A word of an answer: often one that means something.
fn word() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => 0..12u32,
        3 => HEAP..HEAP + 256,
        2 => prop::sample::select(vec![MEMORY - 40, MEMORY - 8, MEMORY - 1, MEMORY, u32::MAX, 1 << 31, 0x6666_6667]),
        1 => any::<u32>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_answer_is_the_same_in_both_forms(answers in prop::collection::vec(
        (
            prop_oneof![8 => Just(RETURNED), 1 => word()],
            prop_oneof![8 => Just(RECORDS), 1 => word()],
            prop_oneof![8 => 0..4u32, 1 => word()],
            prop::collection::vec(word(), 40),
        ),
        64,
    )) {
        thread_local! {
            static BOTH: Both = Both::new(&Bodies::default().guest(), &Settings::default(), None);
        }
        BOTH.with(|both| {
            for (returned, list, count, records) in answers {
                let words = [&[returned, 0, list, count][..], &records].concat();
                let mut sessions = both.start().expect("it makes a session");
                // Either may fail, and then both do.
                let _ = sessions.advance(&Event::Received(answer(&words).into()));
            }
        });
    }
}

/// A guest whose answer is all that it was given: the numbers that it was called with, and its memory.
#[test]
fn every_setting_and_event_arrives_in_both_forms() {
    const KEPT: u32 = 16 << 10;
    // What was allocated so far is counted at 0. Blocks do not overlap, and are aligned.
    let realloc = [
        &[0x41, 0, 0x28, 2, 0][..],
        &constant(HEAP),
        &[0x6a, 0x41, 0, 0x41, 0, 0x28, 2, 0, 0x20, 3, 0x6a, 0x41, 7, 0x6a, 0x41, 0x78, 0x71, 0x36, 2, 0],
    ]
    .concat();
    // address, local.get, and i64.store or i32.store
    let keep = |at: u32, index: u8, long: bool| {
        [&constant(at + 8 * u32::from(index))[..], &[0x20, index, if long { 0x37 } else { 0x36 }, 2, 0]].concat()
    };
    let constructor = (0..15).map(|index| keep(KEPT, index, false));
    let constructor = constructor.chain([vec![0x41, 8, 0x10, 0]]).collect::<Vec<_>>().concat();
    let keep_words = (0..15).map(|index| keep(KEPT + 256, index, matches!(index, 1 | 3..=6 | 9)));
    let say = [(64, 72), (68, 1), (72, 3), (80, HEAP), (84, KEPT + 512 - HEAP)];
    let say = say.map(|(at, word)| [&constant(at)[..], &constant(word), &[0x36, 2, 0]].concat());
    let advance = keep_words.chain(say).chain([constant(64)]).collect::<Vec<_>>().concat();
    let guest = Bodies { realloc: &realloc, constructor: &constructor, advance: &advance, ..Bodies::default() };
    let guest = guest.guest();
    for home in [None, Some(&b"home"[..])] {
        for of_all in [false, true] {
            let settings = Settings {
                reports: of_all,
                listing: !of_all,
                pages: of_all,
                compat: !of_all,
                headers: vec![("X-Name".to_owned(), "value".to_owned()); if of_all { 3 } else { 0 }],
                cors: of_all.then(|| "*".to_owned()),
            };
            let both = Both::new(&guest, &settings, home);
            for event in events() {
                let said = both.start().expect("it makes a session").advance(&event);
                let Ok([Action::Send(said)]) = said.as_deref() else { panic!("{said:?}") };
                assert!(said.windows(2).any(|bytes| bytes != [0, 0]), "it was given something");
            }
        }
    }
}
