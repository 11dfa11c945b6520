//! Attackers that need nothing but a URL.
//!
//! Rule: what an attacker sends, opens and holds is bounded, and it ends with the trial. The bounds are those of
//! [`Field::connect`] and [`Field::send`], and nobody gets around them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::client::foreign_canary;
use super::content::Content;
use super::fetch::connect;
use super::place::Place;
use super::target::Triggers;
use crate::attack::message;
use crate::claim::Claim;
use crate::noise::Noise;

/// What all attackers of a trial have in common.
pub(crate) struct Field<'a> {
    pub(crate) place: &'a Place,
    pub(crate) content: &'a Content,
    pub(crate) triggers: &'a Triggers,
    pub(crate) over: &'a AtomicBool,
    pub(crate) spent: &'a Spent,
    /// What was somebody else's, in words.
    pub(crate) foreign: &'a Mutex<Vec<String>>,
    pub(crate) began: Instant,
    pub(crate) attempts: &'a Mutex<Vec<Duration>>,
}

/// What all attackers together have spent.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    pub(crate) connections: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) cpu_ns: AtomicU64,
}

impl Spent {
    /// As it is now.
    pub(crate) fn copy(&self) -> Self {
        let copy = |count: &AtomicU64| AtomicU64::new(count.load(Ordering::Relaxed));
        Self { connections: copy(&self.connections), bytes: copy(&self.bytes), cpu_ns: copy(&self.cpu_ns) }
    }
}

/// One attacker, until the trial is over.
pub(crate) type Attacker = fn(&Field<'_>, Noise);

/// The most that the attackers of one trial open and send.
const MOST_CONNECTIONS: u64 = 5_000;
const MOST_BYTES: u64 = 256 << 20;

/// Between two attempts that cost the server little: two hundred in a second.
const PACE: Duration = Duration::from_millis(5);

/// How long an attacker waits for anything.
const PATIENCE: Duration = Duration::from_millis(500);

/// Connections that one attacker of its kind holds.
const STALLED: usize = 8;
const SILENT: usize = 200;
const SLOW: usize = 50;
const IDLE: usize = 300;

/// Who attacks to break a claim from outside, and in which way each of them does it.
pub(crate) fn attackers(claim: Claim, triggers: &Triggers) -> Vec<Attacker> {
    let on = |trigger: &Option<String>, attackers: Vec<Attacker>| if trigger.is_some() { attackers } else { vec![] };
    match claim {
        Claim::Hang => {
            let stalls: Vec<Attacker> = vec![stall_in_heads, stall_in_bodies, read_nothing];
            [stalls, on(&triggers.hang, vec![hang; 4])].concat()
        }
        Claim::Crash => on(&triggers.crash, vec![crash; 2]),
        Claim::Memory => on(&triggers.leak_memory, vec![leak_memory; 2]),
        Claim::Bytes => vec![send_malformed, send_noise, send_huge_heads, send_bombs],
        Claim::Bandwidth => vec![read_greedily; STALLED],
        Claim::Floods => vec![be_silent, send_heads_slowly, half_close, reset],
        Claim::Idle => vec![be_idle; 4],
        Claim::Data => {
            let looks: Vec<Attacker> = vec![look_into_echoes; 6];
            [looks, on(&triggers.peek, vec![peek; 2])].concat()
        }
        _ => Vec::new(),
    }
}

impl Field<'_> {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// A connection, unless there were too many.
    fn connect(&self) -> Option<TcpStream> {
        self.count()?;
        connect(self.place, PATIENCE).ok()
    }

    /// The same, with as little room as the kernel allows for what it receives.
    fn connect_narrow(&self) -> Option<TcpStream> {
        self.count()?;
        let socket = Socket::new(Domain::for_address(self.place.address), Type::STREAM, None).ok()?;
        socket.set_recv_buffer_size(4 << 10).ok()?;
        socket.connect_timeout(&SockAddr::from(self.place.address), PATIENCE).ok()?;
        let stream = TcpStream::from(socket);
        stream.set_write_timeout(Some(PATIENCE)).ok()?;
        Some(stream)
    }

    fn count(&self) -> Option<()> {
        let so_far = self.spent.connections.fetch_add(1, Ordering::Relaxed);
        if so_far >= MOST_CONNECTIONS || !self.goes_on() {
            self.spent.connections.fetch_sub(1, Ordering::Relaxed);
            // Whoever tries again and again does so at a pace.
            thread::sleep(PACE);
            return None;
        }
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).push(self.began.elapsed());
        Some(())
    }

    /// Whether all of it could be sent.
    fn send(&self, stream: &mut TcpStream, bytes: &[u8]) -> bool {
        let so_far = self.spent.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        so_far < MOST_BYTES && self.goes_on() && stream.write_all(bytes).is_ok()
    }

    /// The head of a request without its last line.
    fn head(&self, line: &str) -> String {
        format!("{line} HTTP/1.1\r\nHost: {}\r\n", self.place.host)
    }

    fn get(&self) -> String {
        self.head(&format!("GET {}", self.place.target))
    }

    /// A request for little, on a connection that stays.
    fn get_little(&self) -> String {
        let line = match self.content.ranges {
            super::content::Ranges::Served => format!("{}Range: bytes=0-0\r\n", self.get()),
            super::content::Ranges::Ignored => self.head(&format!("HEAD {}", self.place.target)),
        };
        line + "\r\n"
    }

    /// Holds connections that are each brought into a state, until the trial is over.
    fn hold(&self, count: usize, open: impl Fn() -> Option<TcpStream>) {
        const GIVE_UP: usize = 3;
        let mut held = Vec::new();
        let mut failed = 0;
        for _ in 0..count {
            match open() {
                Some(stream) => held.push(stream),
                None => failed += 1,
            }
            // A server that takes no more is not asked a thousand times.
            if failed == GIVE_UP || !self.goes_on() {
                break;
            }
        }
        while self.goes_on() {
            thread::sleep(PACE);
        }
        drop(held);
    }

    /// Sends what there is, reads what comes of it for a moment, and closes.
    fn try_once(&self, message: &[u8], moment: Duration) {
        let Some(mut stream) = self.connect() else { return };
        self.send(&mut stream, message);
        let _ = stream.set_read_timeout(Some(moment));
        let _ = stream.take(64 << 10).read_to_end(&mut Vec::new());
    }

    /// Asks for a trigger, and returns what it says.
    fn pull(&self, trigger: Option<&String>, canary: &str) -> Vec<u8> {
        let mut response = Vec::new();
        if let (Some(trigger), Some(mut stream)) = (trigger, self.connect()) {
            let request = format!("{}X-Canary: {canary}\r\nConnection: close\r\n\r\n", self.head(trigger));
            if self.send(&mut stream, request.as_bytes()) {
                let _ = stream.take(16 << 20).read_to_end(&mut response);
            }
        }
        response
    }

    fn found(&self, what: String) {
        self.foreign.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// Runs one attacker, and counts the CPU time that it takes.
    pub(crate) fn attack(&self, attacker: Attacker, noise: Noise) {
        attacker(self, noise);
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let ns = time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs();
        self.spent.cpu_ns.fetch_add(ns, Ordering::Relaxed);
    }
}

fn stall_in_heads(field: &Field<'_>, _: Noise) {
    field.hold(STALLED, || {
        let mut stream = field.connect()?;
        field.send(&mut stream, field.get().as_bytes()).then_some(stream)
    });
}

fn stall_in_bodies(field: &Field<'_>, _: Noise) {
    let request = format!("{}Content-Length: 1000\r\n\r\nhalf", field.head(&format!("POST {}", field.place.target)));
    field.hold(STALLED, || {
        let mut stream = field.connect()?;
        field.send(&mut stream, request.as_bytes()).then_some(stream)
    });
}

fn read_nothing(field: &Field<'_>, _: Noise) {
    field.hold(STALLED, || {
        let mut stream = field.connect_narrow()?;
        field.send(&mut stream, format!("{}\r\n", field.get()).as_bytes()).then_some(stream)
    });
}

fn hang(field: &Field<'_>, mut noise: Noise) {
    while field.goes_on() {
        field.pull(field.triggers.hang.as_ref(), &noise.canary());
        thread::sleep(PACE);
    }
}

fn crash(field: &Field<'_>, mut noise: Noise) {
    while field.goes_on() {
        field.pull(field.triggers.crash.as_ref(), &noise.canary());
        thread::sleep(PACE);
    }
}

fn leak_memory(field: &Field<'_>, mut noise: Noise) {
    while field.goes_on() {
        field.pull(field.triggers.leak_memory.as_ref(), &noise.canary());
        thread::sleep(PACE);
    }
}

fn peek(field: &Field<'_>, mut noise: Noise) {
    while field.goes_on() {
        let own = noise.canary();
        let response = field.pull(field.triggers.peek.as_ref(), &own);
        if let Some(canary) = foreign_canary(&String::from_utf8_lossy(&response), &own) {
            field.found(format!("a handler saw somebody else's {canary}"));
        }
        thread::sleep(PACE);
    }
}

/// Asks for names that are not there: many servers repeat them, and should not repeat anybody else's.
fn look_into_echoes(field: &Field<'_>, mut noise: Noise) {
    while field.goes_on() {
        let own = noise.canary();
        let request = format!(
            "{}X-Canary: {own}\r\nReferer: http://{own}/\r\nConnection: close\r\n\r\n",
            field.head(&format!("GET /{own}"))
        );
        let Some(mut stream) = field.connect() else { continue };
        let mut response = Vec::new();
        if field.send(&mut stream, request.as_bytes()) {
            // One in four leaves before it is served.
            if noise.below(4) == 0 {
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                continue;
            }
            let _ = stream.take(64 << 10).read_to_end(&mut response);
        }
        if let Some(canary) = foreign_canary(&String::from_utf8_lossy(&response), &own) {
            field.found(format!("somebody else's {canary} in a response"));
        }
        thread::sleep(PACE);
    }
}

fn read_greedily(field: &Field<'_>, _: Noise) {
    let request = format!("{}Connection: close\r\n\r\n", field.get());
    let mut buffer = vec![0; 64 << 10];
    while field.goes_on() {
        let Some(mut stream) = field.connect() else { continue };
        field.send(&mut stream, request.as_bytes());
        while field.goes_on() && stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
    }
}

fn be_silent(field: &Field<'_>, _: Noise) {
    field.hold(SILENT, || field.connect());
}

fn send_heads_slowly(field: &Field<'_>, _: Noise) {
    let mut slow: Vec<_> = (0..SLOW).map_while(|_| field.connect()).collect();
    let head = format!("{}X-Slow: ", field.get());
    for byte in head.bytes().chain(std::iter::repeat(b'x')) {
        if !field.goes_on() {
            return;
        }
        slow.retain_mut(|stream| field.send(stream, &[byte]));
        thread::sleep(PACE);
    }
}

fn half_close(field: &Field<'_>, _: Noise) {
    let half = field.get();
    while field.goes_on() {
        if let Some(mut stream) = field.connect() {
            field.send(&mut stream, &half.as_bytes()[..half.len() - 4]);
            let _ = stream.shutdown(Shutdown::Write);
            thread::sleep(PACE);
        }
    }
}

fn reset(field: &Field<'_>, _: Noise) {
    let request = format!("{}\r\n", field.get());
    while field.goes_on() {
        if let Some(mut stream) = field.connect() {
            field.send(&mut stream, request.as_bytes());
            // Closing is then a reset.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        thread::sleep(PACE);
    }
}

/// Connections that are idle after a response. What was never answered is a flood.
fn be_idle(field: &Field<'_>, _: Noise) {
    let request = field.get_little();
    field.hold(IDLE, || {
        let mut stream = field.connect()?;
        field.send(&mut stream, request.as_bytes());
        // Whatever comes: the connection is idle afterwards, or closed.
        (stream.read(&mut [0; 4 << 10]).ok()? > 0).then_some(stream)
    });
}

/// One of each kind of message that is known to be misread.
const MALFORMED: [&str; 12] = [
    "nonsense\r\n\r\n",
    "GET\r\n\r\n",
    "GET /\r\n\r\n",
    "GET / HTTP/9.9\r\n\r\n",
    "GET http://[::1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /%00%ff%2e%2e/%zz HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nx",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nx",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
    "GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=9223372036854775807-,-9223372036854775808\r\n\r\n",
    "GET / HTTP/1.1\r\n: a\r\n b\r\n\0\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

fn send_malformed(field: &Field<'_>, _: Noise) {
    for message in MALFORMED.iter().cycle().take_while(|_| field.goes_on()) {
        field.try_once(message.as_bytes(), 2 * PACE);
        thread::sleep(PACE);
    }
}

fn send_noise(field: &Field<'_>, mut noise: Noise) {
    while field.goes_on() {
        field.try_once(&message(&mut noise, &field.place.target), PACE);
        thread::sleep(PACE);
    }
}

fn send_huge_heads(field: &Field<'_>, _: Noise) {
    let long = format!("{}X-Long: {}\r\n\r\n", field.get(), "x".repeat(1 << 20));
    let many = format!("{}{}\r\n", field.get(), "X-Many: of them\r\n".repeat(20_000));
    let target = format!("{}\r\n", field.head(&format!("GET /{}", "a".repeat(100_000))));
    for head in [long, many, target].iter().cycle().take_while(|_| field.goes_on()) {
        field.try_once(head.as_bytes(), 4 * PACE);
        thread::sleep(4 * PACE);
    }
}

/// Many requests at once, and one request for many parts.
fn send_bombs(field: &Field<'_>, _: Noise) {
    let pipeline = field.get_little().repeat(500);
    let parts: Vec<_> = (0..1_000).map(|part| format!("{part}-{part}")).collect();
    let ranges = format!("{}Range: bytes={}\r\nConnection: close\r\n\r\n", field.get(), parts.join(","));
    for bomb in [pipeline, ranges].iter().cycle().take_while(|_| field.goes_on()) {
        field.try_once(bomb.as_bytes(), 4 * PACE);
        thread::sleep(4 * PACE);
    }
}
