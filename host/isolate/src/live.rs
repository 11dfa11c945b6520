//! One live source and many viewers: what some of them do, tried on the others.
//!
//! The source counts: eight bytes for each number, so that a viewer that begins anywhere sees at once when
//! one is missing, doubled or wrong.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};

use crate::arena::Ground;
use crate::attack;
use crate::claim::Claim;
use crate::media::{self, Fed};
use crate::plan::Failure;
use crate::report::{Control, Measure, Outcome, Timeline, Unit, Verdict};
use crate::victims::connect;

/// Viewers that read and check everything.
const VIEWERS: usize = 10;

/// Written at once, and how long the writer rests in between: eight megabytes in a second.
const STEP: usize = 80 << 10;
const REST: Duration = Duration::from_millis(10);

/// What anybody may have to wait for a byte that was written: viewers are told of new ones every 25 ms, and
/// the machine does other things too.
const LATE: Duration = Duration::from_millis(150);

/// What the viewers, the writer and the attackers have in common.
struct Broadcast {
    address: SocketAddr,
    over: AtomicBool,
    /// When each step was written.
    written: Mutex<Vec<Instant>>,
    /// How long the writer had to wait, at most, in microseconds.
    held_up: AtomicU64,
    delays: Mutex<Vec<Duration>>,
    complaints: Mutex<Vec<String>>,
}

/// Lets viewers stall, leave and crash beside those that read, and producers feed hostile media to other servers.
pub(crate) fn live(ground: &Ground<'_>) -> Result<Outcome, Failure> {
    let failed = || Failure::of::<std::io::Error>("a live source cannot be tried");
    let (input, output) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed()(error.into()))?;
    let arena = ground.live_arena(input)?;
    let broadcast = Broadcast::new(arena.address());
    let fed = broadcast.beside_harm(ground, output)?;
    let control = control(ground)?;
    let all_gone = arena.wait();
    let complaints = broadcast.complaints.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut delays = broadcast.delays.into_inner().unwrap_or_else(PoisonError::into_inner);
    delays.sort_unstable();
    let late = delays.get(delays.len() * 99 / 100).copied().unwrap_or_default();
    let held_up = Duration::from_micros(broadcast.held_up.into_inner());
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let measures = vec![
        Measure::at_most("viewers with a gap", complaints.len() as f64, 0.0, Unit::Count),
        gaps(&fed),
        Measure::at_least("streams of hostile media", fed.streams as f64, 1.0, Unit::Count),
        Measure::at_least("stalled viewers ended", arena.ends.lagged() as f64, 1.0, Unit::Count),
        Measure::at_most("p99 from writer to viewer", ms(late), ms(LATE), Unit::Milliseconds),
        Measure::at_most("writer held up", ms(held_up), ms(LATE), Unit::Milliseconds),
        Measure::at_least("steps seen", delays.len() as f64, 1.0, Unit::Count),
        Measure::at_most("clients left", f64::from(u8::from(!all_gone)), 0.0, Unit::Count),
        Measure::at_most("faults of the host", arena.ends.host_faults() as f64, 0.0, Unit::Count),
    ];
    let verdict = verdict(&measures, &control);
    let note = complaints.into_iter().chain(fed.complaints).next().unwrap_or_default();
    Ok(Outcome { claim: Claim::Live, verdict, measures, control: Some(control), timeline: None, effort: None, note })
}

fn control(ground: &Ground<'_>) -> Result<Control, Failure> {
    let fed = media::control(ground)?;
    Ok(Control { broken: !fed.complaints.is_empty(), measures: vec![gaps(&fed)], timeline: Timeline::empty() })
}

fn verdict(measures: &[Measure], control: &Control) -> Verdict {
    let wrong = |measure: &&Measure| !measure.holds();
    match measures.iter().find(wrong) {
        None if control.broken => Verdict::Held,
        None => Verdict::Inconclusive,
        // A busy machine delays, and may leave a stalled viewer too little time to fall behind.
        Some(_) if measures.iter().filter(wrong).all(|m| m.unit == Unit::Milliseconds || m.is_evidence()) => {
            Verdict::Inconclusive
        }
        Some(_) => Verdict::Broken,
    }
}

fn gaps(fed: &Fed) -> Measure {
    Measure::at_most("viewers of hostile media with a gap", fed.complaints.len() as f64, 0.0, Unit::Count)
}

/// Ends what goes on, however the scope is left.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Broadcast {
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            over: AtomicBool::new(false),
            written: Mutex::default(),
            held_up: AtomicU64::new(0),
            delays: Mutex::default(),
            complaints: Mutex::default(),
        }
    }

    /// Writes and watches, beside viewers who do harm to this source and producers who do so to others.
    fn beside_harm(&self, ground: &Ground<'_>, output: OwnedFd) -> Result<Fed, Failure> {
        let pace = ground.plan.pace.measures();
        thread::scope(|scope| {
            let _ends = Ends(&self.over);
            scope.spawn(move || self.write(output));
            for _ in 0..VIEWERS {
                scope.spawn(move || self.view());
            }
            thread::sleep(pace.warm);
            scope.spawn(move || self.stall());
            scope.spawn(move || self.leave());
            if ground.plan.guest.is_none() {
                scope.spawn(move || self.crash());
            }
            let began = Instant::now();
            let fed = media::feed(ground);
            thread::sleep((pace.baseline + pace.attacked).saturating_sub(began.elapsed()));
            fed
        })
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// Counts, until the trial is over.
    fn write(&self, output: OwnedFd) {
        let mut output = std::fs::File::from(output);
        let mut next = 0_u64;
        while self.goes_on() {
            let step: Vec<u8> = (next..).take(STEP / 8).flat_map(u64::to_be_bytes).collect();
            next += (STEP / 8) as u64;
            let began = Instant::now();
            self.written.lock().unwrap_or_else(PoisonError::into_inner).push(began);
            if output.write_all(&step).is_err() {
                return;
            }
            let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.held_up.fetch_max(took, Ordering::Relaxed);
            thread::sleep(REST);
        }
    }

    /// Watches to the end, and complains of whatever is not the next number.
    fn view(&self) {
        if let Err(complaint) = self.watch() {
            self.complaints.lock().unwrap_or_else(PoisonError::into_inner).push(complaint);
        }
    }

    fn watch(&self) -> Result<(), String> {
        let mut stream = self.ask().map_err(|error| format!("cannot ask: {error}"))?;
        let mut kept = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        let mut next = None;
        let mut in_head = true;
        loop {
            match stream.read(&mut buffer) {
                // The writer has ended: all is well if nothing is missing.
                Ok(0) if !self.goes_on() => return Ok(()),
                Ok(0) => return Err("ended before its time".into()),
                Ok(count) => kept.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("nothing came: {error}")),
            }
            if in_head {
                let Some(end) = kept.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
                kept.drain(..end + 4);
                in_head = false;
            }
            let whole = kept.len() / 8 * 8;
            for number in kept[..whole].chunks_exact(8) {
                let number = u64::from_be_bytes(number.try_into().expect("it is eight bytes"));
                if next.is_some_and(|next| next != number) {
                    return Err(format!("{number} came in place of {next:?}"));
                }
                next = Some(number + 1);
                self.note(number);
            }
            kept.drain(..whole);
        }
    }

    /// Notes how long the last number of a step took.
    fn note(&self, number: u64) {
        let (step, at) = (number / (STEP as u64 / 8), number % (STEP as u64 / 8));
        if at == STEP as u64 / 8 - 1 {
            let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            let written = usize::try_from(step).ok().and_then(|step| written.get(step).copied());
            if let Some(written) = written {
                self.delays.lock().unwrap_or_else(PoisonError::into_inner).push(written.elapsed());
            }
        }
    }

    /// Asks in HTTP/1.0: what comes behind the head is the source.
    fn ask(&self) -> std::io::Result<TcpStream> {
        let mut stream = connect(self.address)?;
        stream.write_all(b"GET /live HTTP/1.0\r\n\r\n")?;
        Ok(stream)
    }

    /// Viewers that read nothing.
    fn stall(&self) {
        let mut stalled = Vec::new();
        for _ in 0..5 {
            stalled.extend(self.ask());
        }
        while self.goes_on() {
            thread::sleep(REST);
        }
    }

    /// Viewers that leave in the middle.
    fn leave(&self) {
        while self.goes_on() {
            if let Ok(mut stream) = self.ask() {
                let _ = stream.read(&mut [0; 4 << 10]);
            }
            thread::sleep(REST);
        }
    }

    /// Viewers whose guests crash.
    fn crash(&self) {
        while self.goes_on() {
            attack::exchange(self.address, "GET /!trap HTTP/1.1\r\nHost: attacker\r\n\r\n");
            thread::sleep(REST);
        }
    }
}
