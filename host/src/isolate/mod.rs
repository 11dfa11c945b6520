//! Whether one client can touch another, tried out on this machine: real servers on loopback, clients
//! that check every byte they get, and attackers that do the worst they can beside them.
//!
//! Each [`Claim`] is tried on a server as it is. Those that matter most are tried again on a server whose
//! clients share one instance, without limits: there they have to fail, or the trial has shown nothing.
//!
//! Rule: this is the only place that starts such a server, and it listens on loopback.

mod arena;
mod attack;
mod claim;
mod live;
mod page;
mod report;
mod trial;
mod victims;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::Grant;
use arena::Ground;

pub use claim::Claim;
pub use report::{Control, Measure, Outcome, Report, Unit, Verdict};
pub use trial::Timeline;

/// What to try, and how.
#[derive(Debug, Default)]
pub struct Plan {
    /// What the clients ask for; without one, files that are made for it.
    pub source: Option<PathBuf>,
    /// The component to be tried, and what it is granted; without one, the guest that is built in.
    /// Somebody else's cannot be asked to fail, so claims that need that are not tried.
    pub guest: Option<(Vec<u8>, BTreeSet<Grant>)>,
    /// The claims to try, in this order. Empty: all.
    pub only: Vec<Claim>,
    /// How long to look.
    pub pace: Pace,
    /// What all random choices are made from.
    pub seed: u64,
    /// What is wrong with the server that is tried.
    #[doc(hidden)]
    pub weakness: Option<Weakness>,
}

/// How long to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// A minute at most.
    #[default]
    Thorough,
    /// A quarter of that.
    Quick,
}

/// Something that must not be found to hold. No server that serves can have it.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// All clients share an instance.
    SharedInstance,
    /// Memory and CPU time are not limited.
    NoLimits,
}

/// Why nothing could be tried.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {why}")]
pub struct Failure {
    doing: &'static str,
    why: String,
}

impl Failure {
    fn of<E: std::fmt::Display>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self { doing, why: format!("{error:#}") }
    }
}

/// What is told while claims are tried.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A claim is about to be tried.
    Trying(Claim),
    /// What came of it.
    Tried(&'a Outcome),
}

/// Tries what the plan says, one claim after the other.
pub fn prove(plan: &Plan, tell: &mut dyn FnMut(Progress<'_>)) -> Result<Report, Failure> {
    let began = Instant::now();
    let ground = Ground::prepare(plan)?;
    let claims = if plan.only.is_empty() { &Claim::ALL } else { plan.only.as_slice() };
    let mut outcomes = Vec::new();
    for claim in claims {
        tell(Progress::Trying(*claim));
        let outcome = trial::outcome(&ground, *claim)?;
        tell(Progress::Tried(&outcome));
        outcomes.push(outcome);
    }
    // What the fingerprint is of has to be said: that of the built-in guest would be another.
    let guest_is = match plan.guest {
        Some(_) => "the given one",
        None => "the built-in one, with faults that can be asked for",
    };
    Ok(Report { outcomes, seed: plan.seed, guest: ground.inspection().sha256, guest_is, took: began.elapsed() })
}

/// The times and counts of a pace.
struct Measures {
    /// Until all victims are connected and warm.
    warm: Duration,
    /// How long the victims are watched undisturbed.
    calm: Duration,
    /// How long they are watched beside attackers.
    struck: Duration,
    victims: usize,
    lives: usize,
    /// How often attackers look into memory before they give up.
    probes: u64,
}

impl Pace {
    fn measures(self) -> Measures {
        let ms = Duration::from_millis;
        match self {
            Self::Thorough => {
                Measures { warm: ms(300), calm: ms(800), struck: ms(1_400), victims: 50, lives: 10_000, probes: 100 }
            }
            Self::Quick => {
                Measures { warm: ms(100), calm: ms(200), struck: ms(350), victims: 30, lives: 1_000, probes: 20 }
            }
        }
    }
}

/// How something begins that nobody else sends, and how many hexadecimal digits follow.
const CANARY: &str = "canary-";
const CANARY_DIGITS: usize = 32;

/// Numbers that look random and are always the same for the same seed (SplitMix64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("less than a usize")
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(count);
        bytes
    }

    /// Something that nobody else sends.
    fn canary(&mut self) -> String {
        format!("{CANARY}{:016x}{:016x}", self.next(), self.next())
    }
}
