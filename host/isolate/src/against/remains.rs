//! What is left of clients after they disconnect, where the processes of a server can be looked into.
//!
//! A server may start more workers, and warm up: that grows once. A leak grows with each round of clients.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::process::{Holding, Watched};
use super::trial::{Ground, Stop};
use crate::attack;
use crate::claim::Claim;
use crate::report::{Measure, Outcome, Unit, Verdict};

/// Rounds after the first, which warms the server up.
const ROUNDS: usize = 3;

/// Clients of a round, and how long it lasts at most.
const CLIENTS: usize = 300;
const ROUND: Duration = Duration::from_secs(4);
const AT_ONCE: usize = 8;

/// How long what is left may take to go.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a round may leave, for each client of it. One in four clients leaves something, and it is a leak.
const LEFT_PER_CLIENT: f64 = 0.25;

/// Memory that a round may leave: allocators keep some for the next.
const KEPT: u64 = 8 << 20;

impl Ground<'_> {
    /// Lets clients live and end, in rounds.
    pub(crate) fn remains(&mut self) -> Result<Outcome, Stop> {
        let untried = |why: String| Ok(Outcome::untried(Claim::Remains, Verdict::NotTried, why));
        let Some(watched) = self.target.watched(&self.running) else {
            return untried("needs --pid or --cgroup".to_owned());
        };
        let mut clients = self.round();
        if self.running.is_dead() {
            return untried("the server died; see crash".to_owned());
        }
        let mut held = vec![match settled(&watched, None) {
            Ok(held) => held,
            Err(why) => return untried(why),
        }];
        for _ in 0..ROUNDS {
            clients = clients.min(self.round());
            if self.running.is_dead() {
                return untried("the server died; see crash".to_owned());
            }
            match settled(&watched, held.last()) {
                Ok(holding) => held.push(holding),
                Err(why) => return untried(why),
            }
        }
        let measures = measures(&held, clients);
        let verdict = if measures.iter().all(Measure::holds) { Verdict::Held } else { Verdict::Broken };
        // One that hangs takes nobody in, and so leaves nothing of anybody.
        if verdict == Verdict::Held && !self.recovers() {
            return untried("nobody is served any more; see hang".to_owned());
        }
        let told = measures.iter().filter(|measure| !measure.is_evidence());
        let told: Vec<_> = told.map(|measure| format!("{} {}", measure.text().0, measure.what)).collect();
        let note = format!("each round of {clients} clients left {}", told.join(", "));
        Ok(Outcome { measures, ..Outcome::untried(Claim::Remains, verdict, note) })
    }

    /// Clients that live and end in many ways; how many there were.
    fn round(&self) -> usize {
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let began = Instant::now();
        let place = &self.running.place;
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while began.elapsed() < ROUND {
                        let kind = next.fetch_add(1, Ordering::Relaxed);
                        if kind >= CLIENTS {
                            return;
                        }
                        attack::live(place.address, kind, &place.target, false);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        done.into_inner()
    }
}

/// What they hold when it has come to rest, or does not go back to what it was.
fn settled(watched: &Watched, before: Option<&Holding>) -> Result<Holding, String> {
    let began = Instant::now();
    let mut last = watched.holding()?;
    loop {
        thread::sleep(Duration::from_millis(100));
        let now = watched.holding()?;
        let is_back =
            before.is_none_or(|before| now.descriptors <= before.descriptors && now.threads <= before.threads);
        // Before the first round nobody knows what it was: what stays the same has come to rest.
        if began.elapsed() > PATIENCE || is_back && (now.descriptors, now.threads) == (last.descriptors, last.threads) {
            return Ok(now);
        }
        last = now;
    }
}

/// The least that any round has left. A leak leaks in each.
fn measures(held: &[Holding], clients: usize) -> Vec<Measure> {
    let least = |of: fn(&Holding) -> u64| {
        held.windows(2).map(|two| of(&two[1]).saturating_sub(of(&two[0]))).min().unwrap_or_default()
    };
    let count = (clients as f64 * LEFT_PER_CLIENT).ceil();
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    vec![
        Measure::at_most("descriptors", least(|it| it.descriptors) as f64, count, Unit::Count),
        Measure::at_most("threads", least(|it| it.threads) as f64, count, Unit::Count),
        Measure::at_most("of memory", mebibytes(least(|it| it.memory)), mebibytes(KEPT), Unit::Mebibytes),
        Measure::at_least("clients in each round", clients as f64, 1.0, Unit::Count),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(descriptors: [u64; 4]) -> bool {
        let holding = |descriptors| Holding { descriptors, processes: 1, threads: 1, memory: 1 };
        measures(&descriptors.map(holding), 300).iter().all(Measure::holds)
    }

    #[test]
    fn what_grows_once_is_not_a_leak() {
        assert!(held([10, 10, 10, 10]) && held([10, 900, 900, 900]) && held([10, 90, 300, 310]));
        assert!(!held([10, 310, 610, 910]) && !held([10, 100, 190, 280]));
    }
}
