//! Servers of any make, tried from outside: the same victims that check every byte, and attackers that need no more
//! than a URL. Where the processes can be looked into, or handlers fail on request, more can be tried.
//!
//! Rules: what cannot be tried is *not tried*, and never *held*. Nothing but loopback is attacked, unless the user
//! calls a private address theirs.

mod attack;
mod client;
mod comparison;
mod content;
mod fetch;
mod junit;
mod page;
mod place;
mod process;
mod remains;
mod response;
mod rows;
mod table;
mod target;
mod trial;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use comparison::{Comparison, SCHEMA, Tried};
pub use target::{Target, Triggers};

use self::content::Content;
use self::process::check_control_group;
use self::rows::ROWS;
use self::trial::{Ground, Stop};
use crate::claim::Claim;
use crate::noise::Noise;
use crate::plan::{Failure, Pace};
use crate::report::{Outcome, Verdict};

/// Which servers to try from outside, and how.
#[derive(Clone, Debug, Default)]
pub struct Against {
    /// The servers, one after the other.
    pub targets: Vec<Target>,
    /// The claims to try. Empty: all that can be tried from outside.
    pub only: Vec<Claim>,
    /// How long to look.
    pub pace: Pace,
    /// What all random choices are made from. Each server is tried with the same.
    pub seed: u64,
    /// A host with a private address that the user has called their own.
    pub mine: Option<String>,
}

/// What is told while servers are tried.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A claim is about to be tried.
    Trying {
        /// The name of the server.
        target: &'a str,
        /// The claim.
        claim: Claim,
        /// How many there were before, of all servers.
        done: usize,
        /// How many there are in all.
        of: usize,
        /// A guess at how long the rest takes.
        left: Duration,
    },
    /// What came of it.
    Tried {
        /// The name of the server.
        target: &'a str,
        /// What it is.
        outcome: &'a Outcome,
    },
}

/// How long a claim takes about, before one was tried.
const GUESS: Duration = Duration::from_secs(10);

/// Files that the servers of a run serve, and their logs.
fn ground(seed: u64) -> std::io::Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("root");
    fs::create_dir(&root)?;
    fs::write(root.join(target::MADE), Noise(seed).bytes(4 << 20))?;
    readable(folder.path())?;
    Ok(folder)
}

/// Servers drop their privileges, and serve as somebody else.
fn readable(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

/// Tries the servers, one after the other.
pub fn run_against(plan: &Against, tell: &mut dyn FnMut(Step<'_>)) -> Result<Comparison, Failure> {
    let began = Instant::now();
    let claims: Vec<_> = ROWS.into_iter().filter(|claim| plan.only.is_empty() || plan.only.contains(claim)).collect();
    let mut progress = Progress { began, done: 0, of: claims.len() * plan.targets.len() };
    let mut tried = Vec::new();
    for target in &plan.targets {
        let folder = ground(plan.seed).map_err(Failure::of("the trial cannot be prepared"))?;
        let result = prepare(plan, target, folder.path());
        let mut ground = match result {
            Ok(ground) => ground,
            // One server is all there is: that is an error. Of several, the others can be tried.
            Err(why) if plan.targets.len() == 1 => return Err(Failure { doing: "the server cannot be tried", why }),
            Err(why) => {
                progress.done += claims.len();
                tried.push(Tried::unreachable(target, &claims, why));
                continue;
            }
        };
        let outcomes = ground.try_all(&claims, &mut progress, tell);
        tried.push(Tried::new(target, &ground.content, outcomes));
    }
    Ok(Comparison::new(tried, plan.seed, began.elapsed()))
}

fn prepare<'a>(plan: &'a Against, target: &'a Target, folder: &'a Path) -> Result<Ground<'a>, String> {
    target.cgroup.as_deref().map_or(Ok(()), check_control_group)?;
    let mine = plan.mine.as_deref();
    let running = target.run(folder, mine)?;
    let content = Content::check(&running.place)?;
    Ok(Ground { target, folder, mine, seed: plan.seed, pace: plan.pace, content, running, foreign: Vec::new() })
}

/// How far it is.
struct Progress {
    began: Instant,
    done: usize,
    of: usize,
}

impl Progress {
    fn left(&self) -> Duration {
        let each = match u32::try_from(self.done) {
            Ok(0) | Err(_) => GUESS,
            Ok(done) => self.began.elapsed() / done,
        };
        each * u32::try_from(self.of.saturating_sub(self.done)).unwrap_or(u32::MAX)
    }
}

impl Ground<'_> {
    fn try_all(&mut self, claims: &[Claim], progress: &mut Progress, tell: &mut dyn FnMut(Step<'_>)) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut stopped: Option<String> = None;
        for claim in claims.iter().copied() {
            let (done, of, left) = (progress.done, progress.of, progress.left());
            tell(Step::Trying { target: &self.target.name, claim, done, of, left });
            let outcome = match (&stopped, outcomes.iter().position(|outcome| outcome.claim == claim)) {
                // Malformed requests have crashed it.
                (_, Some(known)) => outcomes.remove(known),
                (Some(why), None) => Outcome::untried(claim, Verdict::NotTried, why.clone()),
                (None, None) => {
                    self.begin_again().and_then(|()| self.try_row(claim, &mut outcomes)).unwrap_or_else(|Stop(why)| {
                        stopped = Some(why.clone());
                        Outcome::untried(claim, Verdict::NotTried, why)
                    })
                }
            };
            if stopped.is_none() && self.is_lost() {
                stopped = Some("the server died, and it was not started by this program".to_owned());
            }
            progress.done += 1;
            tell(Step::Tried { target: &self.target.name, outcome: &outcome });
            outcomes.push(outcome);
        }
        outcomes.sort_by_key(|outcome| Claim::ALL.iter().position(|claim| *claim == outcome.claim));
        outcomes
    }

    /// Tries one claim. What it shows about another one goes to the outcomes so far.
    fn try_row(&mut self, claim: Claim, outcomes: &mut Vec<Outcome>) -> Result<Outcome, Stop> {
        let triggers = &self.target.triggers;
        let needs = |flag: &str| format!("no handler fails by malformed requests; needs {flag}");
        match claim {
            Claim::Bytes => self.bytes(outcomes),
            Claim::Crash if triggers.crash.is_none() => {
                // Where only this claim is wanted, malformed requests were not tried yet.
                if !outcomes.iter().any(|outcome| outcome.claim == Claim::Bytes) {
                    let mut crashes = Vec::new();
                    self.bytes(&mut crashes)?;
                    if let Some(crash) = crashes.pop() {
                        return Ok(crash);
                    }
                }
                Ok(Outcome::untried(claim, Verdict::NotTried, needs("--crash 'GET /boom'")))
            }
            Claim::Memory if triggers.leak_memory.is_none() => {
                Ok(Outcome::untried(claim, Verdict::NotTried, "needs --leak-memory 'GET /...'".to_owned()))
            }
            Claim::Remains => self.remains(),
            Claim::Data => self.data(),
            _ => Ok(self.try_claim(claim)?.outcome()),
        }
    }

    /// A server that dies of bad bytes has crashed: that is the other claim.
    fn bytes(&mut self, outcomes: &mut Vec<Outcome>) -> Result<Outcome, Stop> {
        let trial = self.try_claim(Claim::Bytes)?;
        if !trial.kills() {
            return Ok(trial.outcome());
        }
        let outcome = trial.outcome();
        let note = format!("{}: of malformed requests", outcome.note);
        outcomes.push(Outcome { claim: Claim::Crash, note, ..outcome });
        Ok(Outcome::untried(Claim::Bytes, Verdict::NotTried, "the server died; see crash".to_owned()))
    }

    /// Data that are not the reader's, here or in an earlier trial.
    fn data(&mut self) -> Result<Outcome, Stop> {
        let mut outcome = self.try_claim(Claim::Data)?.outcome();
        let again = || self.foreign.len() > 1;
        if let Some(what) = self.foreign.first() {
            outcome.verdict = if again() { Verdict::Broken } else { Verdict::Inconclusive };
            let seen = self.foreign.len();
            outcome.note = format!("{what}; seen {seen} {}", if seen == 1 { "time" } else { "times" });
        }
        Ok(outcome)
    }

    /// Whether there is nobody left to try, and nobody who could start it again.
    fn is_lost(&mut self) -> bool {
        self.target.start.is_none() && self.running.is_dead()
    }
}
