//! The clients beside a guest that means harm.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use multiclient::{Ended, Limit, Settings};
use support::{Connection, SetOnDrop, eventually, noise};

use super::arena::{Arena, FAULTS, limits};

/// Well-behaved clients, how long each of them waited for its responses, and when.
struct Victims {
    samples: Mutex<Vec<Duration>>,
    over: AtomicBool,
}

const VICTIMS: usize = 50;

impl Victims {
    /// One client that checks every byte, on one connection and on new ones.
    fn live(&self, address: SocketAddr, number: usize) {
        let (small, large) = (noise(1, 1_000), noise(2, 256 << 10));
        let mut connection = Connection::to(address);
        let mut round = number;
        while !self.over.load(Ordering::Relaxed) {
            round += 1;
            if round.is_multiple_of(4) {
                connection = Connection::to(address);
            }
            let (target, promised) =
                if round.is_multiple_of(8) { ("/large.ts", &large) } else { ("/small.ts", &small) };
            let asked = Instant::now();
            connection.send_request("GET", target, &[]);
            let header = connection.header_section();
            let waited = asked.elapsed();
            assert_eq!(header.status, 200);
            assert!(connection.read_exactly(promised.len()) == *promised, "{target} has other bytes");
            self.samples.lock().unwrap_or_else(PoisonError::into_inner).push(waited);
            // The pace of a player, so that they are many and the machine is not busy with them alone.
            thread::sleep(Duration::from_millis(20 + (number as u64 % 10)));
        }
    }

    /// The time that 99 of 100 responses take at most, of those that begin from now on.
    fn p99_while(&self, mut act: impl FnMut()) -> Duration {
        const ENOUGH: usize = 400;
        self.take();
        eventually("the victims are served", || {
            act();
            self.samples.lock().unwrap_or_else(PoisonError::into_inner).len() >= ENOUGH
        });
        let mut samples = self.take();
        samples.sort_unstable();
        samples[samples.len() * 99 / 100]
    }

    fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[test]
fn clients_beside_every_fault_get_their_bytes_in_time() {
    // What anybody may have to wait on a machine that does other things too; and where wasmtime was built
    // without much optimisation, for a list of actions that it reads byte by byte up to its bound.
    const FLOOR: Duration = Duration::from_millis(if cfg!(debug_assertions) { 60 } else { 20 });
    let arena = Arena::new(limits(), Settings::default());
    let victims = Victims { samples: Mutex::default(), over: AtomicBool::new(false) };
    thread::scope(|scope| {
        for number in 0..VICTIMS {
            let (victims, address) = (&victims, arena.address());
            let small = thread::Builder::new().stack_size(256 << 10);
            small.spawn_scoped(scope, move || victims.live(address, number)).expect("a thread can be started");
        }
        // Should something below fail, the victims must end before the scope does.
        let over = SetOnDrop(&victims.over);
        let undisturbed_pause = || thread::sleep(Duration::from_millis(5));
        // They all connect at once, and spread out after that.
        victims.p99_while(undisturbed_pause);
        let undisturbed = victims.p99_while(undisturbed_pause);
        for (fault, verdict) in FAULTS {
            let strike = || {
                let life = arena.provoke(fault);
                assert!(verdict(&life.ended), "{fault} ended as {:?}", life.ended);
            };
            // Of a machine that was busy for a moment, the next attempts know nothing.
            let bound = FLOOR.max(undisturbed * 3);
            let p99: Vec<_> = (0..3).map(|_| victims.p99_while(strike)).take_while(|p99| *p99 > bound).collect();
            assert!(p99.len() < 3, "beside {fault} the victims wait for {p99:?}, undisturbed for {undisturbed:?}");
        }
        drop(over);
    });
}

#[test]
fn spinning_guests_leave_time_for_others() {
    const CROWD: usize = 128;
    // All of them together take more than six seconds of one core. Each may hold its loop for two ticks, and
    // until another thread runs it, which is what takes time on a busy machine.
    const PATIENT: Duration = Duration::from_secs(4);
    let arena = Arena::new(limits(), Settings::default());
    let mut crowd: Vec<_> = (0..CROWD).map(|_| Connection::to(arena.address())).collect();
    for spinning in &mut crowd {
        spinning.send_request("GET", "/!spin", &[]);
    }
    let mut longest = Duration::ZERO;
    let ended = |connection: &Connection| arena.ends.has(connection.local_address());
    eventually("the crowd is ended", || {
        let asked = Instant::now();
        Connection::to(arena.address()).get("/small.ts").is(200, &noise(1, 1_000));
        longest = longest.max(asked.elapsed());
        crowd.iter().all(ended)
    });
    assert!(longest < PATIENT, "somebody waited for {longest:?}");
    for spinning in &crowd {
        let ended = arena.ends.of(spinning.local_address()).ended;
        assert!(matches!(ended, Ended::OverLimit { limit: Limit::Cpu(_), .. }), "{ended:?}");
    }
}
