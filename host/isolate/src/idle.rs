//! More idle connections than a server has places: are new clients still served?

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::arena::{Ground, Role};
use crate::attack;
use crate::claim::Claim;
use crate::plan::Failure;
use crate::report::{Measure, Outcome, Unit, Verdict};
use crate::victims::connect;

/// Places of the server that is tried. Few, so that the crowd is small too.
const PLACES: u32 = 64;

/// New clients, before the crowd comes and beside it.
const NEWCOMERS: usize = 50;

/// Latency that other load on the machine may cause.
const FLOOR: Duration = Duration::from_millis(if cfg!(debug_assertions) { 100 } else { 40 });

pub(crate) fn idle(ground: &Ground<'_>) -> Result<Outcome, Failure> {
    let arena = ground.arena(Role::Small(PLACES))?;
    let request =
        format!("GET {} HTTP/1.1\r\nHost: a\r\nRange: bytes=0-99\r\nConnection: close\r\n\r\n", ground.longest);
    let (baseline, unserved_before) = newcomers(arena.address(), &request);
    let crowd = crowd(arena.address(), ground);
    let (p99, unserved) = newcomers(arena.address(), &request);
    drop(crowd);
    arena.wait();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let bound = FLOOR.max(baseline * 3);
    let measures = vec![
        Measure::at_most("newcomers not served", unserved as f64, 0.0, Unit::Count),
        Measure::at_most("p99 first byte", ms(p99), ms(bound), Unit::Milliseconds).baseline(ms(baseline)),
        Measure::at_most("faults of the host", arena.ends.host_faults() as f64, 0.0, Unit::Count),
    ];
    let (verdict, note) = match () {
        () if unserved_before > 0 => (Verdict::Inconclusive, "clients are not served even without a crowd"),
        () if measures.iter().all(Measure::holds) => (Verdict::Held, ""),
        () if unserved == 0 && p99 < 2 * bound => {
            (Verdict::Inconclusive, "latency rose, but not beyond what other load on this machine can cause")
        }
        () => (Verdict::Broken, ""),
    };
    Ok(Outcome {
        claim: Claim::Idle,
        verdict,
        measures,
        control: None,
        timeline: None,
        effort: None,
        note: note.to_owned(),
    })
}

/// Twice as many connections as there are places: half of them silent since they connected, half of them
/// since a response.
fn crowd(address: SocketAddr, ground: &Ground<'_>) -> Vec<TcpStream> {
    let kept = format!("GET {} HTTP/1.1\r\nHost: a\r\nRange: bytes=0-9\r\n\r\n", ground.longest);
    let idle = |number: u32| {
        let mut stream = connect(address).ok()?;
        if number.is_multiple_of(2) {
            stream.write_all(kept.as_bytes()).ok()?;
            // Whatever comes: the connection is idle afterwards, or has given way.
            let _ = stream.read(&mut [0; 1 << 10]);
        }
        Some(stream)
    };
    (0..2 * PLACES).filter_map(idle).collect()
}

/// Clients that come one after the other: the longest wait of 99 in 100, and how many were not served.
fn newcomers(address: SocketAddr, request: &str) -> (Duration, usize) {
    let mut unserved = 0;
    let mut waits: Vec<_> = (0..NEWCOMERS)
        .map(|_| {
            let began = Instant::now();
            let response = attack::exchange(address, request);
            unserved += usize::from(!response.starts_with(b"HTTP/1.1 20"));
            began.elapsed()
        })
        .collect();
    waits.sort_unstable();
    (waits[waits.len() * 99 / 100], unserved)
}
