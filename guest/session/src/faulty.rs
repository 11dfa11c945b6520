//! A session that misbehaves on request, for testing the isolation of clients.
//!
//! A request whose target begins with `/!` names a [`Fault`], as in `GET /!spin`; some take a name after a
//! further slash. A field `X-Fault` in the operator's settings names a fault of the constructor. Everything
//! else is answered as by the built-in guest.
//!
//! Rule: this is not part of the guest that serves. It is compiled with the feature `faulty` only, into a
//! component of its own.

#![expect(unsafe_code, reason = "a faulty guest does what safe code cannot do")]

mod peek;

use alloc::format;
use alloc::vec::Vec;
use core::arch::wasm32;
use core::hint::black_box;
use core::ptr;

use multiclient_guest::contract::{
    Action, Event, Exchange, Found, Instant, Name, Phase, Portion, Remainder, Settings, Span,
};

use peek::peek;

/// Waits for the client, in a phase like any other.
const WAIT: Action = Action::Receive(Phase::Partial);

/// A client's session, with or without a fault in it.
pub(crate) struct Session {
    sound: multiclient_guest::Session,
    /// What it is in the middle of.
    at: Option<Doing>,
}

/// What a fault does about later events.
enum Doing {
    /// Opens, whatever comes of it.
    Busy,
    /// Asks to be called again, every time.
    Restless,
    /// Waits for what is there already, whatever it is told.
    Waiting,
    /// Lists, whatever comes of it.
    Listing,
    /// Reports as much as fits, whenever it is called.
    Reporting,
    /// Makes handles with each request, and has so many.
    Collecting(usize),
    /// Asks for more, whatever comes.
    Deaf,
    /// Asks for more, and claims each time to be between two exchanges.
    Idle,
    /// Has opened a source, and passes this much of it, counted from its end.
    Outside { before_end: u64, count: u64 },
    /// Has asked for a name, and reports the result.
    Escape,
}

impl multiclient_shell::Session for Session {
    fn new(settings: Settings) -> Self {
        let fault = settings.headers.iter().find(|field| field.name == "X-Fault");
        if let Some(fault) = fault {
            Self::fail(fault.value.as_bytes(), Name::new());
        }
        Self { sound: multiclient_guest::Session::new(settings), at: None }
    }

    fn advance(&mut self, now: Instant, event: Event) -> Vec<Action> {
        match (&self.at, event) {
            (None, Event::Received(bytes)) => match fault(&bytes) {
                Some((fault, name)) => {
                    let (actions, at) = Self::fail(fault, name.to_vec());
                    self.at = at;
                    actions
                }
                None => self.sound.advance(now, Event::Received(bytes)),
            },
            (None, event) => self.sound.advance(now, event),
            (Some(Doing::Busy), _) => Vec::from([Action::Open(Name::new())]),
            (Some(Doing::Restless), _) => Vec::from([Action::Proceed]),
            (Some(Doing::Waiting), _) => Vec::from([Action::Wait(0)]),
            (Some(Doing::Listing), _) => list(Name::new()),
            (Some(Doing::Reporting), _) => reports(),
            (Some(Doing::Collecting(handles)), Event::Received(_)) => {
                let (actions, at) = collect(*handles);
                self.at = Some(at);
                actions
            }
            (Some(Doing::Idle), _) => Vec::from([Action::Receive(Phase::Idle)]),
            (Some(Doing::Deaf), _) => Vec::from([WAIT]),
            (Some(Doing::Outside { before_end, count }), Event::Opened(Ok(Found::Source(facts)))) => {
                let offset = facts.window.end.wrapping_sub(*before_end);
                Vec::from([Action::Pass(Span { offset, count: *count }), Action::Close(Remainder::Nothing)])
            }
            (Some(Doing::Escape), Event::Opened(Ok(Found::Source(facts)))) => {
                let (offset, count) = (facts.window.start, facts.window.end - facts.window.start);
                let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nopened: ".to_vec();
                let span = Span { offset, count };
                Vec::from([Action::Send(head), Action::Pass(span), Action::Close(Remainder::Nothing)])
            }
            (Some(Doing::Escape), Event::Opened(Ok(Found::Folder)) | Event::Listed(Ok(_))) => {
                reply(b"opened: a folder")
            }
            (Some(_), _) => reply(b"refused"),
        }
    }
}

impl Session {
    /// Misbehaves. An unknown fault is a trap.
    fn fail(fault: &[u8], name: Name) -> (Vec<Action>, Option<Doing>) {
        let actions = match fault {
            // The second word is that of the handlers for `wasi:http`.
            b"spin" | b"hang" => loop {
                black_box(());
            },
            b"recurse" => Vec::from([Action::Wait(recurse(0))]),
            b"grow" => fill_memory(),
            b"hoard" => {
                core::mem::forget(black_box(alloc::vec![1u8; 4 << 20]));
                Vec::from([Action::Send(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()), WAIT])
            }
            b"leak" => {
                core::mem::forget(black_box(Vec::<u8>::with_capacity(256 << 10)));
                (0..1_000).for_each(|_| new_handle());
                Vec::from([Action::Send(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()), WAIT])
            }
            b"handles" => loop {
                new_handle();
            },
            b"collect" => {
                let (actions, at) = collect(0);
                return (actions, Some(at));
            }
            b"actions" => (0..1_000_000).map(|_| WAIT).collect(),
            b"few-actions" => (0..65).map(|_| Action::Send(Vec::new())).collect(),
            b"send" => Vec::from([Action::Send(alloc::vec![0; (1 << 20) + 1]), WAIT]),
            b"sends" => {
                wasm32::memory_grow(0, 16);
                (0..64).map(|_| Action::Send(memory_from(0, 1 << 20))).collect()
            }
            b"beyond" => Vec::from([Action::Send(memory_from(64 << 10, 1 << 30)), WAIT]),
            b"read-beyond" => memory_from(wasm32::memory_size(0) << 16, 1).into_iter().map(|_| WAIT).collect(),
            b"unopened" => Vec::from([Action::Pass(Span { offset: 0, count: 1 }), WAIT]),
            b"empty" => Vec::new(),
            b"nowait" => Vec::from([Action::Send(b"x".to_vec())]),
            b"twowaits" => Vec::from([WAIT, WAIT]),
            b"peek" => reply(&peek()),
            b"busy" => return (Vec::from([Action::Open(Name::new())]), Some(Doing::Busy)),
            b"waiting" => return (Vec::from([Action::Open(name)]), Some(Doing::Waiting)),
            b"listing" => return (list(Name::new()), Some(Doing::Listing)),
            b"reporting" => return (reports(), Some(Doing::Reporting)),
            b"restless" => return (Vec::from([Action::Proceed]), Some(Doing::Restless)),
            b"idle" => return (Vec::from([Action::Receive(Phase::Idle)]), Some(Doing::Idle)),
            b"deaf" => return (Vec::from([WAIT]), Some(Doing::Deaf)),
            b"escape" => return (Vec::from([Action::Open(name)]), Some(Doing::Escape)),
            b"list-after" => {
                let after = alloc::vec![b'0'; 2 << 20];
                let portion = Portion { folder: name, after, limit: 0 };
                return (Vec::from([Action::List(portion)]), Some(Doing::Escape));
            }
            b"list" => return (list(name), Some(Doing::Escape)),
            b"outside" => {
                return (Vec::from([Action::Open(name)]), Some(Doing::Outside { before_end: 1, count: 2 }));
            }
            b"overflow" => {
                return (Vec::from([Action::Open(name)]), Some(Doing::Outside { before_end: 1, count: u64::MAX }));
            }
            _ => trap(),
        };
        (actions, None)
    }
}

/// Takes all the memory that there is, and fails when there is no more.
fn fill_memory() -> ! {
    loop {
        let page = wasm32::memory_grow(0, 1);
        if page == usize::MAX {
            trap();
        }
        let page = ptr::with_exposed_provenance_mut::<u8>(page << 16);
        // SAFETY: the page is new, and nobody else's.
        unsafe { page.write_bytes(1, 1 << 16) };
    }
}

/// The fault that a request asks for, and the name after it.
fn fault(request: &[u8]) -> Option<(&[u8], &[u8])> {
    let target = request.strip_prefix(b"GET /!")?;
    let target = &target[..target.iter().position(|byte| *byte == b' ')?];
    let end = target.iter().position(|byte| *byte == b'/').unwrap_or(target.len());
    Some((&target[..end], target.get(end + 1..).unwrap_or_default()))
}

fn list(folder: Name) -> Vec<Action> {
    Vec::from([Action::List(Portion { folder, after: Name::new(), limit: 0 })])
}

/// A list as long as may be, of reports that say as much as is written down of them.
fn reports() -> Vec<Action> {
    let text = || "report ".repeat(290);
    let report = || Exchange { request: text(), status: 200, referrer: text(), agent: text() };
    let reports = (0..63).map(|_| Action::Report(report()));
    reports.chain([Action::Proceed]).collect()
}

/// Makes some more handles, and says how many there are.
fn collect(handles: usize) -> (Vec<Action>, Doing) {
    const MORE: usize = 100;
    (0..MORE).for_each(|_| new_handle());
    let handles = handles + MORE;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{handles:10}");
    (Vec::from([Action::Send(head.into_bytes()), WAIT]), Doing::Collecting(handles))
}

fn reply(body: &[u8]) -> Vec<Action> {
    let mut bytes = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    bytes.extend_from_slice(body);
    Vec::from([Action::Send(bytes), Action::Close(Remainder::Nothing)])
}

fn trap() -> ! {
    wasm32::unreachable()
}

#[expect(unconditional_recursion, reason = "that is the fault")]
fn recurse(depth: u64) -> u64 {
    let here = black_box([depth; 8]);
    recurse(here[0] + 1) + here[7]
}

/// Memory that was never allocated, or is somebody else's, as a list of bytes.
fn memory_from(address: usize, count: usize) -> Vec<u8> {
    // SAFETY: none. The list is a lie about this instance's own memory, and the host has to find out.
    unsafe { Vec::from_raw_parts(ptr::with_exposed_provenance_mut(address.max(1)), count, count) }
}

#[link(wasm_import_module = "[export]multiclient:session/handler@0.1.0")]
unsafe extern "C" {
    /// Makes an entry in the host's table of this instance's sessions.
    #[link_name = "[resource-new]session"]
    fn resource_new(representation: usize) -> u32;
}

fn new_handle() {
    // SAFETY: the number means nothing to anybody, because the handle is given to nobody.
    unsafe { resource_new(8) };
}
