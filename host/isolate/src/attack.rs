//! Attackers.
//!
//! Rule: what an attacker sends and holds is bounded, and it ends soon after the trial is over.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::arena::{NAMES_ELSEWHERE, SECRET};
use crate::claim::Claim;
use crate::noise::Noise;
use crate::plan::Failure;
use crate::victims::connect;

/// What all attackers of a trial have in common.
pub(crate) struct Field<'a> {
    pub(crate) address: SocketAddr,
    /// The target of something long.
    pub(crate) longest: &'a str,
    pub(crate) began: Instant,
    pub(crate) over: &'a AtomicBool,
    pub(crate) found: &'a Mutex<Found>,
}

/// What attackers have done, and what they have got hold of.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// When each of them attacked.
    pub(crate) attempts: Vec<Duration>,
    /// Attempts that would have shown somebody else's canary.
    pub(crate) probes: u64,
    /// Canaries that were somebody else's.
    pub(crate) others: u64,
    /// The most handles that one guest had.
    pub(crate) handles: u64,
}

/// One attacker, until the trial is over.
pub(crate) type Attacker = fn(&Field<'_>, Noise);

/// Who attacks to break a claim. The first `n` of each kind, side by side.
pub(crate) fn attackers(claim: Claim) -> Vec<Attacker> {
    match claim {
        Claim::Crash => vec![crash; 2],
        Claim::Hang => vec![spin, open_forever, take_turns_forever],
        Claim::Memory => vec![fill_memory; MEMORY_ATTACKERS],
        Claim::Handles => vec![make_handles, collect_handles, leak],
        Claim::Reports => vec![report],
        Claim::Data => vec![probe; 2],
        Claim::Bandwidth => vec![read_greedily, ask_and_read_nothing],
        Claim::Floods => vec![be_silent, send_header_sections_slowly, half_close, reset],
        Claim::Bytes => vec![send_noise; 2],
        Claim::Authority
        | Claim::Remains
        | Claim::Live
        | Claim::Idle
        | Claim::Pressure
        | Claim::Listings
        | Claim::Work
        | Claim::Walls => Vec::new(),
    }
}

/// How many guests fill their memory at once.
pub(crate) const MEMORY_ATTACKERS: usize = 4;

/// Bytes of a request for a fault, and more.
pub(crate) const LONGEST_REQUEST: u64 = 256;

/// Between two attempts that cost the server little: two hundred in a second.
const PACE: Duration = Duration::from_millis(5);

impl Field<'_> {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn attempt(&self) {
        self.note(|found, now| found.attempts.push(now));
    }

    fn note(&self, note: impl FnOnce(&mut Found, Duration)) {
        note(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner), self.began.elapsed());
    }

    /// Asks for a fault, and reads what comes of it to the end.
    fn ask_for(&self, fault: &str, canary: &str) -> Vec<u8> {
        self.attempt();
        let request = format!("GET /!{fault} HTTP/1.1\r\nHost: attacker\r\nX-Canary: {canary}\r\n\r\n");
        exchange(self.address, &request)
    }

    fn ask_again_and_again(&self, faults: &[&str], pace: Duration, mut noise: Noise) {
        for fault in faults.iter().cycle().take_while(|_| self.goes_on()) {
            self.ask_for(fault, &noise.canary());
            thread::sleep(pace);
        }
    }
}

/// Sends a request on a connection of its own, and reads to the end. Empty where there is no response.
pub(crate) fn exchange(address: SocketAddr, request: &str) -> Vec<u8> {
    const LONGEST: u64 = 1 << 20;
    let mut response = Vec::new();
    if let Ok(mut stream) = connect(address)
        && stream.write_all(request.as_bytes()).is_ok()
    {
        // An attack that is cut off has got what there was to get.
        let _ = stream.take(LONGEST).read_to_end(&mut response);
    }
    response
}

fn crash(field: &Field<'_>, noise: Noise) {
    const FAULTS: [&str; 8] =
        ["trap", "recurse", "read-beyond", "twowaits", "empty", "few-actions", "unopened", "beyond"];
    field.ask_again_and_again(&FAULTS, PACE, noise);
}

fn spin(field: &Field<'_>, noise: Noise) {
    field.ask_again_and_again(&["spin"], Duration::ZERO, noise);
}

fn open_forever(field: &Field<'_>, noise: Noise) {
    // Each of these lasts until the guest has used up what it may compute without progress.
    while field.goes_on() {
        field.attempt();
        if let Ok(mut stream) = connect(field.address) {
            let request = format!("GET /!busy HTTP/1.1\r\nX-Canary: {}\r\n\r\n", Noise(noise.0).canary());
            let _ = stream.write_all(request.as_bytes());
            wait_while(field, Duration::from_millis(200));
        }
    }
}

/// A guest that does nothing but ask to be called again.
fn take_turns_forever(field: &Field<'_>, noise: Noise) {
    field.ask_again_and_again(&["restless"], Duration::from_millis(200), noise);
}

fn fill_memory(field: &Field<'_>, noise: Noise) {
    field.ask_again_and_again(&["grow"], PACE, noise);
}

fn make_handles(field: &Field<'_>, noise: Noise) {
    field.ask_again_and_again(&["handles"], PACE, noise);
}

/// A guest that makes some handles with each request, and says how many it has.
fn collect_handles(field: &Field<'_>, _: Noise) {
    // Enough to see that there is no bound.
    const ENOUGH: u64 = 10_000;
    while field.goes_on() {
        field.attempt();
        let Ok(mut stream) = connect(field.address) else { continue };
        let mut handles = 0;
        while handles < ENOUGH && stream.write_all(b"GET /!collect HTTP/1.1\r\n\r\n").is_ok() {
            let mut response = [0; 1 << 10];
            let count = stream.read(&mut response).unwrap_or(0);
            let said = String::from_utf8_lossy(&response[..count]);
            let Some(said) = said.rsplit(' ').next().and_then(|number| number.parse().ok()) else { break };
            handles = said;
            field.note(|found, _| found.handles = found.handles.max(said));
        }
        thread::sleep(PACE);
    }
}

fn report(field: &Field<'_>, noise: Noise) {
    field.ask_again_and_again(&["reporting"], PACE, noise);
}

fn leak(field: &Field<'_>, _: Noise) {
    while field.goes_on() {
        field.attempt();
        let Ok(mut stream) = connect(field.address) else { continue };
        let mut buffer = [0; 1 << 10];
        // Until the guest has no memory left.
        while field.goes_on()
            && stream.write_all(b"GET /!leak HTTP/1.1\r\n\r\n").is_ok()
            && stream.read(&mut buffer).is_ok_and(|count| count > 0)
        {}
        thread::sleep(PACE);
    }
}

fn probe(field: &Field<'_>, mut noise: Noise) {
    let mut bystander = None;
    while field.goes_on() {
        stand_by(field, &mut bystander, &mut noise);
        let own = noise.canary();
        let response = field.ask_for("peek", &own);
        let response = String::from_utf8_lossy(&response);
        let seen: Vec<_> = response.lines().filter(|line| line.starts_with("canary-")).collect();
        // One that does not find its own would not find anybody's.
        let sees = seen.contains(&own.as_str());
        let others = seen.iter().filter(|canary| **canary != own).count() as u64;
        field.note(|found, _| {
            found.probes += u64::from(sees);
            found.others += others;
        });
        thread::sleep(PACE);
    }
}

/// Has somebody be in the middle of a request, with a canary in it: where an instance is shared, it is in
/// its memory for as long as that lasts.
fn stand_by(field: &Field<'_>, bystander: &mut Option<TcpStream>, noise: &mut Noise) {
    if let Some(stream) = bystander
        && stream.write_all(b"X-More: of it\r\n").is_ok()
    {
        return;
    }
    *bystander = connect(field.address).ok();
    if let Some(stream) = bystander {
        // Who is cut off here is there again for the next look.
        let _ = stream.write_all(format!("GET / HTTP/1.1\r\nX-Canary: {}\r\n", noise.canary()).as_bytes());
    }
}

fn read_greedily(field: &Field<'_>, _: Noise) {
    while field.goes_on() {
        field.attempt();
        let Some(mut stream) = ask_for_longest(field) else { continue };
        let mut buffer = vec![0; 64 << 10];
        while field.goes_on() && stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
    }
}

fn ask_and_read_nothing(field: &Field<'_>, _: Noise) {
    field.attempt();
    let stalled: Vec<_> = (0..50).filter_map(|_| ask_for_longest(field)).collect();
    wait_while(field, Duration::MAX);
    drop(stalled);
}

fn ask_for_longest(field: &Field<'_>) -> Option<TcpStream> {
    let mut stream = connect(field.address).ok()?;
    let request = format!("GET {} HTTP/1.1\r\nHost: attacker\r\nConnection: close\r\n\r\n", field.longest);
    stream.write_all(request.as_bytes()).ok()?;
    Some(stream)
}

fn be_silent(field: &Field<'_>, _: Noise) {
    field.attempt();
    let silent: Vec<_> = (0..200).filter_map(|_| connect(field.address).ok()).collect();
    wait_while(field, Duration::MAX);
    drop(silent);
}

fn send_header_sections_slowly(field: &Field<'_>, _: Noise) {
    field.attempt();
    let mut slow: Vec<_> = (0..50).filter_map(|_| connect(field.address).ok()).collect();
    for byte in b"GET / HTTP/1.1\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'x')) {
        if !field.goes_on() {
            return;
        }
        slow.retain_mut(|stream| stream.write_all(&[*byte]).is_ok());
        thread::sleep(PACE);
    }
}

fn half_close(field: &Field<'_>, _: Noise) {
    while field.goes_on() {
        field.attempt();
        if let Ok(mut stream) = connect(field.address) {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHo");
            let _ = stream.shutdown(std::net::Shutdown::Write);
            thread::sleep(PACE);
        }
    }
}

fn reset(field: &Field<'_>, _: Noise) {
    while field.goes_on() {
        field.attempt();
        for _ in 0..4 {
            if let Some(stream) = ask_for_longest(field) {
                // Closing is then a reset.
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
        }
        thread::sleep(PACE);
    }
}

fn send_noise(field: &Field<'_>, mut noise: Noise) {
    while field.goes_on() {
        field.attempt();
        let Ok(mut stream) = connect(field.address) else { continue };
        let _ = stream.set_read_timeout(Some(PACE));
        let _ = stream.write_all(&message(&mut noise, field.longest));
        // A request that is not whole gets no response; others get one that is of no interest.
        let _ = stream.read(&mut [0; 1 << 10]);
        thread::sleep(PACE);
    }
}

/// Something like a request, or nothing like it.
pub(crate) fn message(noise: &mut Noise, target: &str) -> Vec<u8> {
    let count = noise.below(400);
    if noise.below(4) == 0 {
        return noise.bytes(count);
    }
    let fields = ["Range: bytes=0-", "Content-Length: 5", "Transfer-Encoding: chunked", "Expect: 100-continue", "X: y"];
    let mut message = format!("GET {target} HTTP/1.1\r\nHost: a\r\n").into_bytes();
    for _ in 0..noise.below(6) {
        message.extend_from_slice(fields[noise.below(fields.len())].as_bytes());
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(b"\r\n");
    for _ in 0..noise.below(8) {
        let at = noise.below(message.len());
        match noise.below(3) {
            0 => message[at] = noise.bytes(1)[0],
            1 => message.truncate(at + 1),
            _ => message.insert(at, b"\r\n \t\0%:,-/"[noise.below(10)]),
        }
    }
    message
}

/// Waits until the time or the trial is over.
fn wait_while(field: &Field<'_>, time: Duration) {
    let began = Instant::now();
    while field.goes_on() && began.elapsed() < time {
        thread::sleep(PACE);
    }
}

/// Tries every name that leads elsewhere: how many attempts there were, and which of them got somewhere.
pub(crate) fn open_elsewhere(address: SocketAddr) -> Result<(usize, Vec<String>), Failure> {
    let answer = |way: &str, name: &str| {
        let response = exchange(address, &format!("GET /!{way}/{name} HTTP/1.1\r\n\r\n"));
        String::from_utf8_lossy(&response).into_owned()
    };
    if !answer("escape", "small.ts").contains("\r\n\r\nopened: ") {
        let why = "a guest cannot even open what is published".to_owned();
        return Err(Failure { doing: "names cannot be tried", why });
    }
    let tries = ["escape", "list"].into_iter().flat_map(|way| NAMES_ELSEWHERE.map(|name| (way, name)));
    let got = |(way, name): &(&str, &str)| {
        let answer = answer(way, name);
        !answer.ends_with("\r\n\r\nrefused") || answer.contains(SECRET)
    };
    let reached = tries.clone().filter(got).map(|(way, name)| format!("{way} {name}"));
    Ok((tries.count(), reached.collect()))
}

/// One of many sessions, of a kind.
pub(crate) fn live(address: SocketAddr, kind: usize, longest: &str, faults: bool) {
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    match kind % 10 {
        0 => drop(exchange(address, &get("/missing"))),
        1 => drop(exchange(address, "nonsense\r\n\r\n")),
        2 if faults => drop(exchange(address, &get("/!trap"))),
        3 if faults => drop(exchange(address, &get("/!unopened"))),
        4 => drop(connect(address)),
        5 => {
            if let Ok(mut stream) = connect(address) {
                let _ = stream.write_all(b"GET / HTTP/1.1\r\nHo");
            }
        }
        6 => {
            if let Ok(mut stream) = connect(address) {
                let _ = stream.write_all(get(longest).as_bytes());
                let _ = stream.read(&mut [0; 64]);
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
        }
        _ => {
            let range = "Range: bytes=0-999\r\nConnection: close";
            drop(exchange(address, &format!("GET {longest} HTTP/1.1\r\nHost: a\r\n{range}\r\n\r\n")));
        }
    }
}
