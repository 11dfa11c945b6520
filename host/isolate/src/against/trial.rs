//! Tries one claim from outside: victims in peace, beside attackers, and beside as many polite clients.
//!
//! Rule: load is not harm. What happens beside polite clients as well shows nothing, and what is seen once is not a
//! finding.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::attack::{Attacker, Field, Spent, attackers};
use super::client::{Clients, Sample};
use super::content::Content;
use super::fetch::{PATIENCE, fetch};
use super::response::Loss;
use super::target::{Running, Target};
use crate::claim::Claim;
use crate::noise::Noise;
use crate::plan::Pace;
use crate::report::{Effort, Measure, Outcome, Timeline, Unit, Verdict};

/// What the trials of one server have in common.
pub(crate) struct Ground<'a> {
    pub(crate) target: &'a Target,
    pub(crate) folder: &'a Path,
    pub(crate) mine: Option<&'a str>,
    pub(crate) seed: u64,
    pub(crate) pace: Pace,
    pub(crate) content: Content,
    pub(crate) running: Running,
    /// What was somebody else's, in any trial, in words.
    pub(crate) foreign: Vec<String>,
}

/// Why no more can be tried.
pub(crate) struct Stop(pub(crate) String);

/// Who is beside the victims.
#[derive(Clone, Copy)]
enum Beside {
    Attackers(Claim),
    /// Who make at most so many connections.
    Polite(u64),
}

/// How victims were served over some time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Served {
    replies: u64,
    cut: u64,
    late: u64,
    /// Of the time of all victims, how much they waited for what never came, in percent.
    time_lost: f64,
    p99: Duration,
    bytes_per_second: f64,
    complaint: String,
}

/// What one run of victims and others has shown.
struct Seen {
    peace: Served,
    during: Served,
    spent: Spent,
    timeline: Timeline,
    foreign: Vec<String>,
    died: bool,
    /// The memory that the server has taken and not given back. None: nobody can look.
    kept: Option<u64>,
}

/// Victims. Few: a server that serves one client at a time serves them all in peace.
const VICTIMS: usize = 8;

/// Polite clients at once.
const POLITE: usize = 8;

/// The share of their time that victims lose when they are kept out. Two of eight may be stuck for a while on a
/// machine that is busy with other things; most of them, twice, and not beside polite clients, are kept out.
const TIME_LOST_PERCENT: f64 = 40.0;

/// Memory that a server may keep: allocators and collectors do.
const KEPT: u64 = 64 << 20;

/// An attack on the memory ends here. A machine that swaps is no place to measure anything.
const ENOUGH: u64 = 1 << 30;

/// How long a server may take to give memory back.
const GIVING_BACK: Duration = Duration::from_secs(3);

/// The rate that victims keep beside greedy clients, of what it is beside polite ones.
const RATE_PERCENT: f64 = 10.0;

impl Pace {
    /// How long victims are attacked from outside. Longer than they wait before they call a response lost.
    fn attack_from_outside(self) -> Duration {
        Duration::from_millis(match self {
            Self::Thorough => 5_000,
            Self::Quick => 4_000,
        })
    }
}

impl Ground<'_> {
    /// Tries a claim by attackers, and again what they seem to have broken.
    pub(crate) fn try_claim(&mut self, claim: Claim) -> Result<Trial, Stop> {
        let first = self.watch_in_peace(claim)?;
        if self.target.start.is_none() && (first.died || !self.recovers()) {
            // Nobody can try it again. What outlasts the attack is no matter of load.
            let polite = first.peace.clone();
            return Ok(Trial { claim, first, polite, again: Again::Never });
        }
        let polite = self.control(&first)?;
        let mut trial = Trial { claim, first, polite, again: Again::NoNeed };
        if trial.polite.misbehaves() || trial.harm().is_none() {
            return Ok(trial);
        }
        self.begin_again()?;
        trial.again = Again::Seen(Box::new(self.watch_in_peace(claim)?));
        self.begin_again()?;
        Ok(trial)
    }

    /// Whether somebody is served again when the attack is over.
    pub(crate) fn recovers(&self) -> bool {
        const TRIES: usize = 5;
        let part = self.content.part(&mut Noise(self.seed));
        (0..TRIES).any(|_| fetch(&self.running.place, part, PATIENCE).is_ok())
    }

    /// Runs attackers beside victims that are served in peace, or nothing would be shown.
    fn watch_in_peace(&mut self, claim: Claim) -> Result<Seen, Stop> {
        const TRIES: usize = 4;
        let mut last = String::new();
        for _ in 0..TRIES {
            let seen = self.watch(Beside::Attackers(claim));
            self.foreign.extend(seen.foreign.iter().cloned());
            if seen.peace.replies > 0 && seen.peace.cut + seen.peace.late == 0 {
                return Ok(seen);
            }
            last.clone_from(&seen.peace.complaint);
            self.begin_again()?;
        }
        Err(Stop(format!("victims are not served even in peace: {last}")))
    }

    fn control(&mut self, attacked: &Seen) -> Result<Served, Stop> {
        // What the attack has left of it says nothing about polite clients.
        if self.target.start.is_some() && (attacked.died || attacked.during.cut + attacked.during.late > 0) {
            self.begin_again()?;
        }
        let seen = self.watch(Beside::Polite(attacked.spent.connections.load(Ordering::Relaxed)));
        self.foreign.extend(seen.foreign);
        Ok(seen.during)
    }

    /// Starts the server again if it was started here. Another one must still be there.
    pub(crate) fn begin_again(&mut self) -> Result<(), Stop> {
        if self.target.start.is_some() {
            self.running.end();
            self.running = self.target.run(self.folder, self.mine).map_err(Stop)?;
            return Ok(());
        }
        if self.running.is_dead() {
            return Err(Stop("the server died, and it was not started by this program".to_owned()));
        }
        Ok(())
    }

    fn watch(&mut self, beside: Beside) -> Seen {
        let (over, others_over) = (AtomicBool::new(false), AtomicBool::new(false));
        let (samples, foreign, attempts) = Default::default();
        let spent = Spent::default();
        let began = Instant::now();
        let (place, content) = (&self.running.place, &self.content);
        let victims = Clients { place, content, began, over: &over, samples: &samples };
        let (over, triggers) = (&others_over, &self.target.triggers);
        let (spent, foreign, attempts) = (&spent, &foreign, &attempts);
        let field = Field { place, content, triggers, over, spent, foreign, began, attempts };
        // Looking at memory halts the server for a moment.
        let before = matches!(beside, Beside::Attackers(Claim::Memory)).then(|| self.memory()).flatten();
        let attack = self.run_all(beside, &victims, &field, before);
        let samples: Vec<Sample> = samples.into_inner().unwrap_or_else(PoisonError::into_inner);
        let take =
            |list: &Mutex<Vec<Duration>>| std::mem::take(&mut *list.lock().unwrap_or_else(PoisonError::into_inner));
        let timeline = Timeline {
            attack,
            attempts: take(attempts),
            responses: samples.iter().map(|s| (s.asked, s.waited, s.bytes, s.complaint.is_none())).collect(),
        };
        let mut foreign = std::mem::take(&mut *foreign.lock().unwrap_or_else(PoisonError::into_inner));
        let complaints = samples.iter().filter_map(|sample| sample.complaint.as_ref());
        foreign.extend(complaints.filter(|it| it.loss == Loss::Foreign).map(|it| it.what.clone()));
        let answered = |sample: &Sample| sample.asked + sample.waited;
        let in_peace = samples.iter().filter(|sample| answered(sample) < attack.0);
        let beside_others = samples.iter().filter(|sample| answered(sample) >= attack.0);
        Seen {
            peace: Served::new(in_peace, attack.0),
            during: Served::new(beside_others, attack.1 - attack.0),
            spent: spent.copy(),
            timeline,
            foreign,
            died: self.running.is_dead(),
            kept: before.and_then(|before| self.kept(before)),
        }
    }

    /// Runs victims, and after a while the others: when those began, and when all was over.
    fn run_all(
        &self,
        beside: Beside,
        victims: &Clients<'_>,
        field: &Field<'_>,
        before: Option<u64>,
    ) -> (Duration, Duration) {
        let ignored = Mutex::new(Vec::new());
        let polite = Clients { over: field.over, samples: &ignored, ..*victims };
        let mut noise = Noise(self.seed);
        let left = AtomicU64::new(if let Beside::Polite(count) = beside { count } else { 0 });
        thread::scope(|scope| {
            for _ in 0..VICTIMS {
                let noise = Noise(noise.next());
                scope.spawn(move || victims.be_victim(noise));
            }
            thread::sleep(self.peace());
            let since = victims.began.elapsed();
            let mut time = self.pace.attack_from_outside();
            match beside {
                Beside::Attackers(claim) => {
                    for attacker in attackers(claim, field.triggers) {
                        let noise = Noise(noise.next());
                        scope.spawn(move || field.attack(attacker as Attacker, noise));
                    }
                }
                Beside::Polite(_) => {
                    time /= 2;
                    for _ in 0..POLITE {
                        let (polite, left, noise) = (&polite, &left, Noise(noise.next()));
                        scope.spawn(move || polite.be_polite(noise, left));
                    }
                }
            }
            self.wait(time, before);
            field.over.store(true, Ordering::Relaxed);
            victims.over.store(true, Ordering::Relaxed);
            (since, victims.began.elapsed())
        })
    }

    /// The memory of the server's processes. None: nobody can look.
    fn memory(&self) -> Option<u64> {
        Some(self.target.watched(&self.running)?.holding().ok()?.memory)
    }

    /// Waits until the time is over, or the server has taken more memory than an attack may make it take.
    fn wait(&self, time: Duration, before: Option<u64>) {
        let began = Instant::now();
        while began.elapsed() < time {
            let taken = before.and_then(|before| self.memory()?.checked_sub(before));
            if taken.is_some_and(|taken| taken > ENOUGH) {
                return;
            }
            thread::sleep(Duration::from_millis(50).min(time));
        }
    }

    /// What of the memory is not given back.
    fn kept(&self, before: u64) -> Option<u64> {
        let began = Instant::now();
        loop {
            let kept = self.memory()?.saturating_sub(before);
            if kept <= KEPT || began.elapsed() > GIVING_BACK {
                return Some(kept);
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Long enough for some responses to each victim.
    fn peace(&self) -> Duration {
        Duration::from_millis(700).max(self.content.took * 5).min(Duration::from_secs(5))
    }
}

impl Served {
    fn new<'a>(samples: impl Iterator<Item = &'a Sample>, time: Duration) -> Self {
        let mut served = Self::default();
        let (mut waits, mut lost, mut bytes) = (Vec::new(), Duration::ZERO, 0);
        for sample in samples {
            waits.push(sample.waited);
            bytes += sample.bytes;
            match sample.complaint.as_ref().map(|complaint| complaint.loss) {
                // What is somebody else's is a matter of the data, and came in time.
                None | Some(Loss::Foreign) => served.replies += 1,
                Some(Loss::Cut) => served.cut += 1,
                Some(Loss::Late) => {
                    served.late += 1;
                    lost += sample.waited;
                }
            }
            if let Some(complaint) = sample.complaint.as_ref().filter(|it| it.loss != Loss::Foreign)
                && served.complaint.is_empty()
            {
                served.complaint.clone_from(&complaint.what);
            }
        }
        waits.sort_unstable();
        served.p99 = waits.get(waits.len() * 99 / 100).copied().unwrap_or_default();
        served.time_lost = 100.0 * lost.as_secs_f64() / (time.as_secs_f64() * VICTIMS as f64);
        served.bytes_per_second = bytes as f64 / time.as_secs_f64();
        served
    }

    /// Whether victims are not even served beside polite clients.
    fn misbehaves(&self) -> bool {
        self.replies == 0 || self.cut > 0 || self.time_lost > TIME_LOST_PERCENT / 2.0
    }
}

/// A claim, tried.
pub(crate) struct Trial {
    claim: Claim,
    first: Seen,
    polite: Served,
    again: Again,
}

/// The same again, where the first time seems to have shown harm.
enum Again {
    NoNeed,
    Seen(Box<Seen>),
    /// The server is dead or does not recover, and nobody here can start it again.
    Never,
}

impl Trial {
    /// What the first attack has done to victims, in words.
    fn harm(&self) -> Option<String> {
        harm(self.claim, &self.first, &self.polite)
    }

    /// Whether the server died, each time that it was attacked.
    pub(crate) fn kills(&self) -> bool {
        self.first.died && if let Again::Seen(again) = &self.again { again.died } else { true }
    }

    /// What is to be told of it.
    pub(crate) fn outcome(self) -> Outcome {
        let harm = self.harm();
        let (verdict, note) = match (harm, &self.again) {
            _ if self.polite.misbehaves() => {
                let what = &self.polite.complaint;
                (Verdict::Inconclusive, format!("as many polite clients do the same: {what}"))
            }
            (None, Again::Never) => (Verdict::Broken, "nobody is served when the attack is over".to_owned()),
            (None, _) => (Verdict::Held, String::new()),
            (Some(harm), Again::Never) => (Verdict::Broken, format!("{harm}, and nobody started it again")),
            (Some(harm), Again::Seen(again)) if self::harm(self.claim, again, &self.polite).is_some() => {
                (Verdict::Broken, harm)
            }
            (Some(harm), _) => (Verdict::Inconclusive, format!("{harm}, but only once")),
        };
        let repetitions = 1 + u32::from(matches!(self.again, Again::Seen(_)));
        let measures = measures(self.claim, &self.first, &self.polite);
        let effort = Effort {
            connections: self.first.spent.connections.into_inner(),
            bytes: self.first.spent.bytes.into_inner(),
            cpu: Duration::from_nanos(self.first.spent.cpu_ns.into_inner()),
            replies: self.first.during.replies,
            lost: self.first.during.cut + self.first.during.late,
            p99_attacked: self.first.during.p99,
            p99_peace: self.first.peace.p99,
            p99_polite: self.polite.p99,
            repetitions,
        };
        let timeline = Some(self.first.timeline);
        Outcome { claim: self.claim, verdict, measures, control: None, timeline, effort: Some(effort), note }
    }
}

fn harm(claim: Claim, seen: &Seen, polite: &Served) -> Option<String> {
    if seen.died {
        return Some("the server died".to_owned());
    }
    let failed = measures(claim, seen, polite).into_iter().find(|measure| !measure.holds())?;
    let complaint = &seen.during.complaint;
    let why = if complaint.is_empty() { String::new() } else { format!(" ({complaint})") };
    Some(format!("{} {}{why}", failed.text().0, failed.what))
}

fn measures(claim: Claim, seen: &Seen, polite: &Served) -> Vec<Measure> {
    let during = &seen.during;
    let mut measures = vec![
        Measure::at_most("responses cut off", during.cut as f64, 0.0, Unit::Count),
        Measure::at_most("of victims' time lost", during.time_lost, TIME_LOST_PERCENT, Unit::Percent),
    ];
    if let (Claim::Memory, Some(kept)) = (claim, seen.kept) {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        measures.push(Measure::at_most("of memory kept", mebibytes(kept), mebibytes(KEPT), Unit::Mebibytes));
    }
    if claim == Claim::Bandwidth {
        let rate = 100.0 * during.bytes_per_second / polite.bytes_per_second.max(1.0);
        measures.push(Measure::at_least("of victims' rate left", rate, RATE_PERCENT, Unit::Percent));
    }
    measures
}
