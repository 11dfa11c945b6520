//! What a client costs without sockets: the instance, an exchange through the component, and the same
//! exchange in the protocol core as native code.
//!
//! Each line is the median of short rounds, which are interleaved, by the thread's own CPU time, so that other
//! load on the machine hardly shows. `cargo bench -p multiclient`; with `-- --test`
//! one round of each, with `-- GUEST.wasm` another guest, with `-- WORDS` only the lines that contain one of them.

#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

use std::hint::black_box;

use multiclient::bench::Sessions;
use multiclient_guest::Session;
use multiclient_guest::contract::{Action, Event, Facts, Found, Settings, Window};
use rustix::time::{ClockId, clock_gettime};

const REQUEST: &[u8] = b"GET /small.bin HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: keep-alive\r\n\r\n";

/// As a browser sends it.
const LONG_REQUEST: &[u8] = b"GET /film.mp4 HTTP/1.1\r\n\
    Host: media.example.org\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: video/webm,video/ogg,video/*;q=0.9,application/ogg;q=0.7,audio/*;q=0.6,*/*;q=0.5\r\n\
    Accept-Language: en-GB,en;q=0.5\r\n\
    Range: bytes=65536-131071\r\n\
    Connection: keep-alive\r\n\
    Referer: http://media.example.org/\r\n\
    Sec-Fetch-Dest: video\r\n\
    Sec-Fetch-Mode: no-cors\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Accept-Encoding: identity\r\n\
    If-Range: \"1f-400-653a1b2c3d4e5\"\r\n\r\n";

/// Sessions in one round: about a few milliseconds.
const IN_ROUND: u32 = 500;

fn main() {
    let rounds = if std::env::args().any(|word| word == "--test") { 1 } else { 101 };
    let path = std::env::args().find(|word| word.ends_with(".wasm"));
    let component = path.map(|path| std::fs::read(path).expect("the guest can be read"));
    let sessions = Sessions::new(component).expect("the guest is in order");
    let (mut session, mut another) = (Session::new(Settings::default()), Session::new(Settings::default()));
    type Work<'a> = (&'a str, Box<dyn FnMut() + 'a>);
    let mut works: Vec<Work<'_>> = vec![
        ("an instance with its session, made and dropped", Box::new(|| drop(black_box(sessions.begin())))),
        (
            "a client: instance, session, one exchange, dropped",
            Box::new(|| {
                black_box(sessions.begin().exchange(black_box(REQUEST)));
            }),
        ),
    ];
    let exchange = |request: &'static [u8]| {
        // Each has an instance of its own that stays.
        let mut session = sessions.begin();
        move || {
            black_box(session.exchange(black_box(request)));
        }
    };
    works.push(("one exchange through the component", Box::new(exchange(REQUEST))));
    works.push(("the same with a browser's header section of 600 bytes", Box::new(exchange(LONG_REQUEST))));
    works.push((
        "one exchange in the core as native code",
        Box::new(|| {
            black_box(natively(&mut session, black_box(REQUEST)));
        }),
    ));
    works.push((
        "the same with a browser's header section of 600 bytes",
        Box::new(|| {
            black_box(natively(&mut another, black_box(LONG_REQUEST)));
        }),
    ));

    let wanted: Vec<_> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-') && !word.ends_with(".wasm")).collect();
    works.retain(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str())));

    let mut times = vec![Vec::new(); works.len()];
    for _ in 0..rounds {
        for ((_, work), times) in works.iter_mut().zip(&mut times) {
            let before = thread_nanoseconds();
            for _ in 0..IN_ROUND {
                work();
            }
            times.push((thread_nanoseconds() - before) as f64 / f64::from(IN_ROUND) / 1e3);
        }
    }
    for ((name, _), times) in works.iter().zip(&mut times) {
        times.sort_unstable_by(f64::total_cmp);
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        println!("{name:<50} {:>7.2} µs   [{:.2}, {:.2}]", at(50), at(10), at(90));
    }
    println!("medians of {rounds} rounds of {IN_ROUND}, with what one in ten was below and one in ten above");
}

fn natively(session: &mut Session, request: &[u8]) -> usize {
    let actions = session.advance(1_767_323_045_000, Event::Received(request.to_vec()));
    assert!(matches!(actions[..], [Action::Open(_)]), "the request is one for a file");
    let facts = Facts {
        window: Window { start: 0, end: 1_024, is_final: true },
        modified: Some(1_767_323_045_000),
        version: "1f-400-653a1b2c3d4e5".into(),
        media_type: None,
    };
    session.advance(1_767_323_045_000, Event::Opened(Ok(Found::Source(facts)))).len()
}

fn thread_nanoseconds() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
