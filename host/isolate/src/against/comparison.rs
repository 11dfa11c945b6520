//! What came of servers that were tried from outside, and how programs are told: JSON and SARIF.
//!
//! Rule: a field of the JSON report that changes its meaning, or goes, changes [`SCHEMA`].

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::content::Content;
use super::rows::{ROWS, attack};
use super::target::Target;
use crate::claim::Claim;
use crate::report::{Effort, Outcome, Verdict, measures};

/// The version of the JSON report, which its field `schema` has. `docs/isolate-report.schema.json` describes it.
pub const SCHEMA: &str = "multiclient-isolate/1";

/// What came of all servers.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// In the order of the plan.
    pub targets: Vec<Tried>,
    /// What all random choices were made from.
    pub seed: u64,
    /// How long it took.
    pub took: Duration,
    /// The version of the kernel.
    pub kernel: String,
    /// How many CPUs there are for this program.
    pub cpus: usize,
    /// When it was done.
    pub at: SystemTime,
}

/// What came of one server.
#[derive(Clone, Debug)]
pub struct Tried {
    /// Its name.
    pub name: String,
    /// The command that started it, before its parts were filled in.
    pub command: Option<String>,
    /// What victims asked for. Empty: the file that was made for it.
    pub url: String,
    /// What the server says that it is; may be empty.
    pub server: String,
    /// The fingerprint of what victims asked for, and its size.
    pub sha256: String,
    /// Bytes of what victims asked for.
    pub bytes: usize,
    /// One for each claim, in the order of [`Claim::ALL`].
    pub outcomes: Vec<Outcome>,
}

impl Tried {
    pub(crate) fn new(target: &Target, content: &Content, outcomes: Vec<Outcome>) -> Self {
        Self {
            name: target.name.clone(),
            command: target.start.clone(),
            url: target.url.clone(),
            server: content.server.clone(),
            sha256: content.sha256.clone(),
            bytes: content.bytes.len(),
            outcomes,
        }
    }

    /// Of a server that was not there.
    pub(crate) fn unreachable(target: &Target, claims: &[Claim], why: String) -> Self {
        let untried = |claim: &Claim| Outcome::untried(*claim, Verdict::NotTried, why.clone());
        Self {
            name: target.name.clone(),
            command: target.start.clone(),
            url: target.url.clone(),
            server: String::new(),
            sha256: String::new(),
            bytes: 0,
            outcomes: claims.iter().map(untried).collect(),
        }
    }

    /// Broken if anything is; inconclusive if anything is, or nothing was held.
    pub fn verdict(&self) -> Verdict {
        let any = |verdict| self.outcomes.iter().any(|outcome| outcome.verdict == verdict);
        match () {
            () if any(Verdict::Broken) => Verdict::Broken,
            () if any(Verdict::Inconclusive) || !any(Verdict::Held) => Verdict::Inconclusive,
            () => Verdict::Held,
        }
    }

    /// Where it is, or what starts it.
    pub(crate) fn origin(&self) -> &str {
        self.command.as_deref().unwrap_or(&self.url)
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "command": self.command,
            "url": self.url,
            "server": self.server,
            "sha256": self.sha256,
            "bytes": self.bytes,
            "verdict": self.verdict().to_string(),
            "claims": self.outcomes.iter().map(claim).collect::<Vec<_>>(),
        })
    }
}

fn claim(outcome: &Outcome) -> Value {
    json!({
        "claim": outcome.claim.name(),
        "attack": attack(outcome.claim),
        "verdict": outcome.verdict.to_string(),
        "note": outcome.note,
        "measures": measures(&outcome.measures),
        "effort": outcome.effort.as_ref().map(effort),
    })
}

fn effort(effort: &Effort) -> Value {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    json!({
        "connections": effort.connections,
        "bytes": effort.bytes,
        "cpu_ms": ms(effort.cpu),
        "replies": effort.replies,
        "lost": effort.lost,
        "p99_ms": ms(effort.p99_attacked),
        "p99_peace_ms": ms(effort.p99_peace),
        "p99_polite_ms": ms(effort.p99_polite),
        "repetitions": effort.repetitions,
    })
}

impl Comparison {
    pub(crate) fn new(targets: Vec<Tried>, seed: u64, took: Duration) -> Self {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
        let cpus = std::thread::available_parallelism().map_or(0, usize::from);
        Self { targets, seed, took, kernel, cpus, at: SystemTime::now() }
    }

    /// Broken if any server is; inconclusive if any other is.
    pub fn verdict(&self) -> Verdict {
        let any = |verdict| self.targets.iter().any(|target| target.verdict() == verdict);
        match () {
            () if any(Verdict::Broken) => Verdict::Broken,
            () if any(Verdict::Inconclusive) || self.targets.is_empty() => Verdict::Inconclusive,
            () => Verdict::Held,
        }
    }

    /// 0: held, 1: broken, 3: inconclusive.
    pub fn exit_code(&self) -> u8 {
        match self.verdict() {
            Verdict::Held => 0,
            Verdict::Broken => 1,
            Verdict::Inconclusive | Verdict::NotApplicable | Verdict::NotTried => 3,
        }
    }

    /// Everything but the victims' responses one by one.
    pub fn json(&self) -> String {
        let report = json!({
            "schema": SCHEMA,
            "version": env!("CARGO_PKG_VERSION"),
            "verdict": self.verdict().to_string(),
            "kernel": self.kernel,
            "cpus": self.cpus,
            "seed": self.seed,
            "seconds": self.took.as_secs_f64(),
            "targets": self.targets.iter().map(Tried::json).collect::<Vec<_>>(),
        });
        format!("{report:#}\n")
    }

    /// One result for each claim of each server, as SARIF 2.1.0.
    pub fn sarif(&self) -> String {
        let rule = |claim: Claim| {
            json!({
                "id": claim.name(),
                "name": claim.name(),
                "shortDescription": { "text": claim.sentence() },
                "fullDescription": { "text": attack(claim) },
            })
        };
        let results = self.targets.iter().flat_map(|target| target.outcomes.iter().map(|it| result(target, it)));
        let sarif = json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": {
                    "name": "multiclient isolate",
                    "version": env!("CARGO_PKG_VERSION"),
                    "rules": ROWS.map(rule),
                }},
                "properties": { "seed": self.seed, "kernel": self.kernel },
                "results": results.collect::<Vec<_>>(),
            }],
        });
        format!("{sarif:#}\n")
    }
}

fn result(target: &Tried, outcome: &Outcome) -> Value {
    let (kind, level) = match outcome.verdict {
        Verdict::Held => ("pass", "none"),
        Verdict::Broken => ("fail", "error"),
        Verdict::Inconclusive => ("open", "none"),
        Verdict::NotApplicable | Verdict::NotTried => ("notApplicable", "none"),
    };
    let note = if outcome.note.is_empty() { String::new() } else { format!(": {}", outcome.note) };
    let text = format!("{}: {} is {}{note}", target.name, outcome.claim.sentence(), outcome.verdict);
    json!({
        "ruleId": outcome.claim.name(),
        "ruleIndex": ROWS.iter().position(|claim| *claim == outcome.claim),
        "kind": kind,
        "level": level,
        "message": { "text": text },
        "locations": [{ "logicalLocations": [{ "name": target.name, "fullyQualifiedName": target.origin() }] }],
        "partialFingerprints": { "serverAndClaim/v1": format!("{}/{}", target.name, outcome.claim.name()) },
    })
}
