//! Whether one client can touch another, tried out on this machine: real servers on loopback, clients
//! that check every byte they get, and attackers that do the worst they can beside them.
//!
//! Each [`Claim`] is tried on a server as it is. Those that matter most are tried again on a server without the
//! protection in question: there they have to fail, or the trial has shown nothing.
//!
//! Rule: this is the only place that starts such a server, and it listens on loopback.

mod against;
mod arena;
mod attack;
mod claim;
mod idle;
mod listings;
mod live;
mod media;
mod noise;
mod page;
mod plan;
mod pressure;
mod probe;
mod report;
mod trial;
mod victims;
mod walls;
mod work;

use std::time::Instant;

use arena::Ground;

pub use against::{Against, Comparison, SCHEMA, Step, Target, Tried, Triggers, run_against};
pub use claim::Claim;
pub use plan::{FAULTY, FAULTY_WASI_HTTP, FAULTY_WASI_HTTP_03, Failure, Pace, Plan, Weakness};
pub use probe::probe;
pub use report::{Control, Effort, Measure, Outcome, Report, Timeline, Unit, Verdict};

/// What is told while claims are tried.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A claim is about to be tried.
    Trying(Claim),
    /// What came of it.
    Tried(&'a Outcome),
}

/// Tries what the plan says, one claim after the other.
pub fn run(plan: &Plan, tell: &mut dyn FnMut(Progress<'_>)) -> Result<Report, Failure> {
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
    Ok(Report { outcomes, seed: plan.seed, guest: ground.sha256(), guest_is, took: began.elapsed() })
}
