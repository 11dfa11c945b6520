//! Whether a client finds what the one before it left in a slot, if the kernel had swapped it out meanwhile.
//!
//! A server with one place serves a client whose half header section holds canaries. The memory of this
//! process is swapped out, the client resets its connection, and the next client gets the same slot and
//! looks for canaries in it.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use rustix::mm::{Advice, madvise};
use socket2::SockRef;

use crate::arena::{Arena, Ground, Role};
use crate::attack;
use crate::claim::Claim;
use crate::noise::Noise;
use crate::plan::Failure;
use crate::report::{Control, Measure, Outcome, Timeline, Unit, Verdict};
use crate::victims::connect;

/// What is seen of one server.
#[derive(Debug, Default)]
struct Seen {
    /// Times that the next client looked, after memory had been swapped out.
    looks: u64,
    /// Canaries of the client before that it found.
    canaries: u64,
}

/// Attempts of the control for each of the trial.
const CONTROL: u64 = 8;

pub(crate) fn pressure(ground: &Ground<'_>) -> Result<Outcome, Failure> {
    if !has_swap() {
        return Ok(Outcome::untried(Claim::Pressure, Verdict::NotApplicable, "no swap on this machine".to_owned()));
    }
    let looks = ground.plan.pace.measures().probes / 4;
    let arena = ground.arena(Role::Small(1))?;
    let seen = look(&arena, looks, &mut Noise(ground.plan.seed));
    let control_arena = ground.arena(Role::Scanned)?;
    // The kernel swaps out what it likes: pages that it has just given to a thread on another core may stay. So the
    // control, which ends with the first canary that it sees, has more attempts than the trial.
    let control_seen = look(&control_arena, CONTROL * looks, &mut Noise(ground.plan.seed.wrapping_add(1)));
    let measures = measures(&seen);
    let broken = control_seen.canaries > 0;
    let (verdict, note) = match () {
        () if seen.canaries > 0 => (Verdict::Broken, ""),
        () if seen.looks == 0 => (Verdict::Inconclusive, "the kernel swapped nothing out"),
        () if !broken => (Verdict::Inconclusive, "the control holds, too: the attack showed nothing"),
        () => (Verdict::Held, ""),
    };
    let control = Some(Control { broken, measures: self::measures(&control_seen), timeline: Timeline::empty() });
    Ok(Outcome {
        claim: Claim::Pressure,
        verdict,
        measures,
        control,
        timeline: None,
        effort: None,
        note: note.to_owned(),
    })
}

fn measures(seen: &Seen) -> Vec<Measure> {
    vec![
        Measure::at_most("canaries of others seen", seen.canaries as f64, 0.0, Unit::Count),
        Measure::at_least("looks into memory", seen.looks as f64, 1.0, Unit::Count),
    ]
}

fn look(arena: &Arena, looks: u64, noise: &mut Noise) -> Seen {
    const PATIENCE: Duration = Duration::from_secs(20);
    let began = Instant::now();
    let mut seen = Seen::default();
    while seen.looks < looks && seen.canaries == 0 && began.elapsed() < PATIENCE {
        let Some(swapped_out) = leave_canaries(arena.address(), noise) else { continue };
        arena.wait();
        let response = attack::exchange(arena.address(), "GET /!peek HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = String::from_utf8_lossy(&response);
        seen.looks += u64::from(swapped_out);
        seen.canaries += response.lines().filter(|line| line.starts_with("canary-")).count() as u64;
        arena.wait();
    }
    seen
}

/// Has a client leave canaries in a slot that is swapped out. Whether anything was.
fn leave_canaries(address: SocketAddr, noise: &mut Noise) -> Option<bool> {
    let mut stream = connect(address).ok()?;
    let canaries: String = (0..150).map(|_| format!("X-Canary: {}\r\n", noise.canary())).collect();
    stream.write_all(format!("GET / HTTP/1.1\r\n{canaries}").as_bytes()).ok()?;
    // Until they are in the guest's memory.
    thread::sleep(Duration::from_millis(50));
    let before = swapped();
    swap_out();
    let swapped_out = swapped() > before;
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok()?;
    Some(swapped_out)
}

/// Asks the kernel to move the anonymous memory of this process to swap.
fn swap_out() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for range in maps.lines().filter_map(anonymous) {
        #[expect(unsafe_code, reason = "there is no safe way to name memory that is not one's own")]
        // SAFETY: MADV_PAGEOUT changes nothing that a program can see of its memory, only where it is kept.
        // A range that is not mapped any more is refused.
        let _ =
            unsafe { madvise(std::ptr::with_exposed_provenance_mut(range.start), range.len(), Advice::LinuxPageOut) };
    }
}

/// The addresses of a mapping that is private, writable and of no file: `7f00-7f10 rw-p 00000000 00:00 0`.
fn anonymous(line: &str) -> Option<Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (range, rights) = (fields.next()?, fields.next()?);
    let inode = fields.nth(2)?;
    let (start, end) = range.split_once('-')?;
    let is_anonymous = rights == "rw-p" && inode == "0";
    is_anonymous.then_some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
}

/// Memory of this process in swap, in KiB.
fn swapped() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSwap:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or_default()
}

fn has_swap() -> bool {
    fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_writable_memory_of_no_file_is_swapped_out() {
        assert_eq!(anonymous("7f00-7f10 rw-p 00000000 00:00 0 "), Some(0x7f00..0x7f10));
        assert_eq!(anonymous("7f00-7f10 rw-p 00000000 00:00 0  [heap]"), Some(0x7f00..0x7f10));
        assert_eq!(anonymous("7f00-7f10 r--p 00000000 00:00 0 "), None);
        assert_eq!(anonymous("7f00-7f10 rw-p 00000000 08:01 42 /lib/x.so"), None);
        assert_eq!(anonymous(""), None);
    }
}
