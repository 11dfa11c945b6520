//! Tries one claim: victims alone, then beside attackers, and what the difference comes to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::arena::{Arena, Footprint, Ground, Role, descriptors_left, limits, resident_bytes};
use crate::attack::{self, Field, Found, MEMORY_ATTACKERS};
use crate::claim::Claim;
use crate::live::live;
use crate::noise::Noise;
use crate::plan::Failure;
use crate::report::{Control, Measure, Outcome, Timeline, Unit, Verdict};
use crate::victims::{Sample, Victims};
use crate::{idle, listings, pressure, walls, work};
use multiclient::isolation_testing::{HANDLES, KEPT_RESIDENT, Protection, REPORTS};
use multiclient::journal::Size;

/// What a trial has measured.
struct Trial {
    timeline: Timeline,
    baseline: Watched,
    attacked: Watched,
    before: Footprint,
    /// The most memory that this process had during the attack.
    memory_peak: u64,
    after: Footprint,
    found: Found,
    /// Lives that were recorded, and canaries that are in two of them.
    capsules: (u64, u64),
    host_faults: u64,
    /// Guests that reported by themselves, and the most bytes that one of them did.
    reported: (u64, u64),
}

/// How victims were served over some time.
struct Watched {
    responses: usize,
    lost: usize,
    complaint: Option<String>,
    p99: Duration,
    bytes_per_second: f64,
}

/// Latency that other load on the machine may cause. In a debug build the host's own work on a bad guest
/// takes longer.
const FLOOR: Duration = Duration::from_millis(if cfg!(debug_assertions) { 60 } else { 25 });

/// A baseline latency at which nothing can be measured.
const TOO_BUSY: Duration = Duration::from_millis(250);

/// Memory that may stay behind or come and go for reasons that have nothing to do with clients: pages of
/// the allocator, stacks of threads.
const SLACK: u64 = 8 << 20;

/// Trials of a claim that only fails by time, and of a control that does not fail. A machine that is busy
/// for a moment makes nothing faster.
const ATTEMPTS: usize = 3;

/// How long attackers may take until they have looked often enough, on a slow machine.
const PROBING: Duration = Duration::from_secs(15);

/// Descriptors that victims and attackers of any claim take, both ends of each connection.
const DESCRIPTORS: u64 = 900;

/// A file of less than this is in the kernel's buffers before anybody could stall.
const LONG: u64 = 4 << 20;

/// Tries a claim, and where there is one its control.
pub(crate) fn outcome(ground: &Ground<'_>, claim: Claim) -> Result<Outcome, Failure> {
    if claim.needs_faults() && ground.plan.guest.is_some() && claim != Claim::Data {
        return Ok(Outcome::not_applicable(claim));
    }
    let unshown = |why| Ok(Outcome::untried(claim, Verdict::Inconclusive, why));
    let descriptors = descriptors_left();
    if descriptors < DESCRIPTORS {
        let why = "too few file descriptors (raise `ulimit -n`)";
        return unshown(format!("{why}: {descriptors} are left, {DESCRIPTORS} are needed"));
    }
    if claim == Claim::Bandwidth && ground.longest_bytes < LONG {
        let (longest, long) = (Size(ground.longest_bytes), Size(LONG));
        return unshown(format!("the longest file has {longest}; this claim needs one of {long}"));
    }
    match claim {
        Claim::Authority => authority(ground),
        Claim::Remains => remains(ground),
        Claim::Live => live(ground),
        Claim::Idle => idle::idle(ground),
        Claim::Pressure => pressure::pressure(ground),
        Claim::Listings => listings::listings(ground),
        Claim::Work => work::work(ground),
        Claim::Walls => Ok(walls::walls(ground)),
        _ => beside_attackers(ground, claim),
    }
}

fn beside_attackers(ground: &Ground<'_>, claim: Claim) -> Result<Outcome, Failure> {
    let mut attempt = 1;
    let (trial, measures) = loop {
        // A guest that reports without end is stopped for what the host does for it, sooner or later.
        let role = if claim == Claim::Reports { Role::Impatient(None) } else { Role::Fresh };
        let trial = Trial::run(ground, claim, role)?;
        let measures = trial.measures(ground, claim);
        if !only_late(&measures) || attempt == ATTEMPTS {
            break (trial, measures);
        }
        attempt += 1;
    };
    let control = match claim.has_control() && ground.plan.guest.is_none() {
        true => Some(control(ground, claim)?),
        false => None,
    };
    let (verdict, note) = judge(&trial, &measures, control.as_ref());
    Ok(Outcome { claim, verdict, measures, control, timeline: Some(trial.timeline), effort: None, note })
}

/// Whether nothing is wrong but the time that something took.
fn only_late(measures: &[Measure]) -> bool {
    let mut wrong = measures.iter().filter(|measure| !measure.holds()).peekable();
    wrong.peek().is_some() && wrong.all(|measure| measure.unit == Unit::Milliseconds)
}

/// Tries a claim where it must fail. A prober that a busy machine leaves no time may miss what is there.
fn control(ground: &Ground<'_>, claim: Claim) -> Result<Control, Failure> {
    let mut attempt = 1;
    loop {
        let role = match claim {
            Claim::Handles => Role::Lacking(Protection::Handles),
            Claim::Reports => Role::Impatient(Some(Protection::Reports)),
            _ => Role::Shared,
        };
        let trial = Trial::run(ground, claim, role)?;
        let measures = trial.measures(ground, claim);
        let broken = match claim {
            // Only that shows what the attack is about.
            Claim::Data | Claim::Handles | Claim::Reports => !measures[0].holds(),
            _ => !measures.iter().all(Measure::holds),
        };
        if broken || attempt == ATTEMPTS {
            return Ok(Control { broken, measures, timeline: trial.timeline });
        }
        attempt += 1;
    }
}

fn judge(trial: &Trial, measures: &[Measure], control: Option<&Control>) -> (Verdict, String) {
    let complaint = || trial.attacked.complaint.clone().unwrap_or_default();
    if let Some(complaint) = &trial.baseline.complaint {
        return (Verdict::Inconclusive, format!("responses are lost or wrong even without an attack: {complaint}"));
    }
    if trial.baseline.p99 > TOO_BUSY {
        let (baseline, limit) = (trial.baseline.p99.as_millis(), TOO_BUSY.as_millis());
        return (
            Verdict::Inconclusive,
            format!("machine too busy: baseline latency is already {baseline} ms (limit {limit} ms)"),
        );
    }
    if only_late(measures) && trial.attacked.p99 < 2 * FLOOR.max(trial.baseline.p99 * 3) {
        let why = "latency rose, but not beyond what other load on this machine can cause";
        return (Verdict::Inconclusive, why.to_owned());
    }
    if !measures.iter().all(Measure::holds) {
        if measures.iter().all(|measure| measure.holds() || measure.is_evidence()) {
            return (Verdict::Inconclusive, "too few samples".to_owned());
        }
        return (Verdict::Broken, complaint());
    }
    match control {
        Some(control) if !control.broken => {
            (Verdict::Inconclusive, "the control holds, too: the attack showed nothing".to_owned())
        }
        _ => (Verdict::Held, String::new()),
    }
}

/// What the threads of a trial leave behind.
struct Watch {
    baseline_since: Duration,
    attack: (Duration, Duration),
    before: Footprint,
    memory_peak: u64,
    samples: Vec<Sample>,
    found: Found,
}

/// Watches victims alone and then beside attackers.
fn watch(ground: &Ground<'_>, claim: Claim, arena: &Arena) -> Result<Watch, Failure> {
    let pace = ground.plan.pace.measures();
    let idle = Footprint::now();
    let (over, attack_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let (samples, found) = (Mutex::new(Vec::new()), Mutex::new(Found::default()));
    let began = Instant::now();
    let address = arena.address();
    let victims = Victims { address, pieces: &ground.pieces, began, over: &over, samples: &samples };
    let field = Field { address, longest: &ground.longest, began, over: &attack_over, found: &found };
    let mut noise = Noise(ground.plan.seed);
    let mut memory_peak = 0;
    let (baseline_since, attack, before) = thread::scope(|scope| {
        let spawn = || thread::Builder::new().stack_size(256 << 10);
        let failed = || Failure::of::<std::io::Error>("a thread cannot be started");
        // Whatever happens in here, all threads see the end, and the scope with them.
        let _ends = (Ends(&over), Ends(&attack_over));
        for _ in 0..pace.victims {
            let (victims, noise) = (&victims, Noise(noise.next()));
            spawn().spawn_scoped(scope, move || victims.run(noise)).map_err(failed())?;
        }
        thread::sleep(pace.warm);
        let baseline_since = began.elapsed();
        thread::sleep(pace.baseline);
        let before = Footprint { descriptors: idle.descriptors, ..Footprint::now() };
        let attack_since = began.elapsed();
        for attacker in attack::attackers(claim) {
            let (field, noise) = (&field, Noise(noise.next()));
            spawn().spawn_scoped(scope, move || attacker(field, noise)).map_err(failed())?;
        }
        // Looking into memory is a matter of how often, not of how long.
        let looked = || {
            let found = lock(&found);
            claim != Claim::Data || ground.plan.guest.is_some() || found.others > 0 || found.probes >= pace.probes
        };
        let goes_on = |time: Duration| time < pace.attacked || (time < PROBING && !looked());
        while goes_on(began.elapsed() - attack_since) {
            memory_peak = memory_peak.max(resident_bytes());
            thread::sleep(Duration::from_millis(10));
        }
        attack_over.store(true, Ordering::Relaxed);
        let attack_until = began.elapsed();
        thread::sleep(pace.warm);
        Ok((baseline_since, (attack_since, attack_until), before))
    })?;
    let samples = samples.into_inner().unwrap_or_else(PoisonError::into_inner);
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Watch { baseline_since, attack, before, memory_peak, samples, found })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Trial {
    fn run(ground: &Ground<'_>, claim: Claim, role: Role) -> Result<Self, Failure> {
        let arena = match claim {
            Claim::Data => ground.recorded_arena(role)?,
            _ => ground.arena(role)?,
        };
        let Watch { baseline_since, attack, before, memory_peak, samples, found } = watch(ground, claim, &arena)?;
        arena.wait();
        let after = settled(before);
        let responses = samples.iter().map(|s| (s.asked, s.waited, s.bytes, s.complaint.is_none())).collect();
        Ok(Self {
            // Responses that came after the attack began do not belong to the baseline.
            baseline: Watched::new(
                samples.iter().filter(|sample| sample.asked >= baseline_since && sample.answered() < attack.0),
                attack.0 - baseline_since,
            ),
            // What an attack does to others it may also do when it is over.
            attacked: Watched::new(
                samples.iter().filter(|sample| sample.answered() >= attack.0),
                attack.1 + ground.plan.pace.measures().warm - attack.0,
            ),
            timeline: Timeline { attack, attempts: found.attempts.clone(), responses },
            before,
            memory_peak,
            after,
            found,
            capsules: arena.canaries_in_capsules().map_err(Failure::of("capsules cannot be read"))?,
            host_faults: arena.ends.host_faults(),
            reported: arena.ends.reported(),
        })
    }

    fn handles(&self) -> Vec<Measure> {
        let most = self.found.handles as f64;
        vec![
            Measure::at_most("handles of one guest", most, HANDLES as f64, Unit::Count),
            Measure::at_least("handles seen", most, 1.0, Unit::Count),
        ]
    }

    fn reports(&self) -> Vec<Measure> {
        let (guests, most) = self.reported;
        let bound = REPORTS + attack::LONGEST_REQUEST;
        vec![
            Measure::at_most("bytes reported by one guest", most as f64, bound as f64, Unit::Count),
            Measure::at_least("guests that reported", guests as f64, 1.0, Unit::Count),
        ]
    }

    fn measures(&self, ground: &Ground<'_>, claim: Claim) -> Vec<Measure> {
        let custom = ground.plan.guest.is_some();
        // Once something is found, there is nothing left to look for.
        let probes = if self.found.others > 0 { 1 } else { ground.plan.pace.measures().probes };
        let count = |what, value: u64| Measure::at_most(what, value as f64, 0.0, Unit::Count);
        let memory =
            |what, bytes: u64, bound: u64| Measure::at_most(what, mebibytes(bytes), mebibytes(bound), Unit::Mebibytes);
        // Slots that were used stay warm, and attackers may have filled any of them. Who connects anew has
        // two for a moment.
        let slots = 2 * (ground.plan.pace.measures().victims + MEMORY_ATTACKERS) as u64;
        let warm = KEPT_RESIDENT as u64 * slots;
        let kept = memory("memory kept", self.after.memory.saturating_sub(self.before.memory), SLACK + warm);
        let left = self.after.descriptors.saturating_sub(self.before.descriptors) as u64;
        let mut measures = match claim {
            Claim::Data if !custom => vec![
                count("canaries of others seen", self.found.others),
                Measure::at_least("looks into memory", self.found.probes as f64, probes as f64, Unit::Count),
                count("canaries in two capsules", self.capsules.1),
                Measure::at_least("capsules", self.capsules.0 as f64, 1.0, Unit::Count),
            ],
            Claim::Data => vec![
                count("canaries in two capsules", self.capsules.1),
                Measure::at_least("capsules", self.capsules.0 as f64, 1.0, Unit::Count),
            ],
            Claim::Memory => {
                let taken = self.memory_peak.saturating_sub(self.before.memory);
                let bound = MEMORY_ATTACKERS as u64 * limits().memory + SLACK + warm;
                vec![memory("memory taken", taken, bound), kept]
            }
            Claim::Handles => [self.handles(), vec![count("descriptors left", left), kept]].concat(),
            Claim::Reports => self.reports(),
            Claim::Floods => vec![count("descriptors left", left), kept],
            Claim::Bandwidth => {
                let rate = 100.0 * self.attacked.bytes_per_second / self.baseline.bytes_per_second.max(1.0);
                vec![Measure::at_least("victims' rate", rate, 50.0, Unit::Percent)]
            }
            _ => Vec::new(),
        };
        measures.extend([
            count("responses lost or wrong", self.attacked.lost as u64),
            Measure::at_least("responses", self.attacked.responses as f64, 1.0, Unit::Count),
            Measure::at_most(
                "p99 first byte",
                ms(self.attacked.p99),
                ms(FLOOR.max(self.baseline.p99 * 3)),
                Unit::Milliseconds,
            )
            .baseline(ms(self.baseline.p99)),
            count("faults of the host", self.host_faults),
        ]);
        measures
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// What this process holds when all that was going on has come to rest. On a busy machine that may take
/// as long as a client is listened to that is not done sending, and more.
fn settled(before: Footprint) -> Footprint {
    const PATIENCE: Duration = Duration::from_secs(5);
    let began = Instant::now();
    loop {
        let now = Footprint::now();
        if now.descriptors <= before.descriptors || began.elapsed() > PATIENCE {
            return now;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Watched {
    fn new<'a>(samples: impl Iterator<Item = &'a Sample> + Clone, time: Duration) -> Self {
        let seen = || samples.clone();
        let mut waits: Vec<_> = seen().map(|sample| sample.waited).collect();
        waits.sort_unstable();
        let bytes: u64 = seen().map(|sample| sample.bytes).sum();
        Self {
            responses: seen().filter(|sample| sample.complaint.is_none()).count(),
            lost: seen().filter(|sample| sample.complaint.is_some()).count(),
            complaint: seen().find_map(|sample| sample.complaint.clone()),
            p99: waits.get(waits.len() * 99 / 100).copied().unwrap_or_default(),
            bytes_per_second: bytes as f64 / time.as_secs_f64(),
        }
    }
}

/// Names cannot be tried beside victims: they would say nothing about it.
fn authority(ground: &Ground<'_>) -> Result<Outcome, Failure> {
    let arena = ground.arena_of_made(Role::Fresh)?;
    let (tries, reached) = attack::open_elsewhere(arena.address())?;
    let measures = vec![
        Measure::at_most("names that led elsewhere", reached.len() as f64, 0.0, Unit::Count),
        Measure::at_least("names tried", tries as f64, 1.0, Unit::Count),
    ];
    let verdict = if reached.is_empty() { Verdict::Held } else { Verdict::Broken };
    let note = reached.join(", ");
    Ok(Outcome { claim: Claim::Authority, verdict, measures, control: None, timeline: None, effort: None, note })
}

/// Lets clients live and end, and looks at what is left of them.
fn remains(ground: &Ground<'_>) -> Result<Outcome, Failure> {
    const AT_ONCE: usize = 8;
    const ROUNDS: usize = 3;
    const KEPT: u64 = 4 << 20;
    let sessions = ground.plan.pace.measures().sessions;
    let arena = ground.arena(Role::Fresh)?;
    let faults = ground.plan.guest.is_none();
    let live = |sessions: usize, at_once: usize| {
        thread::scope(|scope| {
            for first in 0..at_once {
                let (address, longest) = (arena.address(), &ground.longest);
                scope.spawn(move || {
                    (first..sessions).step_by(at_once).for_each(|kind| attack::live(address, kind, longest, faults));
                });
            }
        });
        arena.wait()
    };
    // More at once than later: what is warm by then is enough for what comes.
    live(sessions / 4, AT_ONCE * 4);
    let before = Footprint::now();
    let mut all_gone = true;
    let mut kept = 0;
    let mut last = before;
    // A leak leaks each time. What is only not warm yet grows once.
    for _ in 0..ROUNDS {
        all_gone &= live(sessions, AT_ONCE);
        let now = settled(before);
        kept = now.memory.saturating_sub(last.memory);
        last = now;
        if kept <= KEPT {
            break;
        }
    }
    let left = last.descriptors.saturating_sub(before.descriptors);
    let measures = vec![
        Measure::at_most("descriptors left", left as f64, 0.0, Unit::Count),
        Measure::at_most("clients left", f64::from(u8::from(!all_gone)), 0.0, Unit::Count),
        Measure::at_most("memory kept", mebibytes(kept), mebibytes(KEPT), Unit::Mebibytes),
        Measure::at_most("faults of the host", arena.ends.host_faults() as f64, 0.0, Unit::Count),
        Measure::at_least("sessions", sessions as f64, 1.0, Unit::Count),
    ];
    let verdict = if measures.iter().all(Measure::holds) { Verdict::Held } else { Verdict::Broken };
    Ok(Outcome {
        claim: Claim::Remains,
        verdict,
        measures,
        control: None,
        timeline: None,
        effort: None,
        note: String::new(),
    })
}
