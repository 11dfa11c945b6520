//! What came of it, and how it is told: to people in a terminal, to programs as JSON and JUnit.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde_json::{Value, json};

use crate::claim::Claim;

/// What victims saw during a trial, to be drawn.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// When the attack began, and when it ended.
    pub attack: (Duration, Duration),
    /// When attackers attacked.
    pub attempts: Vec<Duration>,
    /// When a response was asked for, how long its first byte took, how many bytes it had, and whether they
    /// were the right ones.
    pub responses: Vec<(Duration, Duration, u64, bool)>,
}

impl Timeline {
    /// Of a trial without victims.
    pub(crate) fn empty() -> Self {
        Self { attack: (Duration::ZERO, Duration::ZERO), attempts: Vec::new(), responses: Vec::new() }
    }
}

/// Whether a claim holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does, and where there is a control it fails there.
    Held,
    /// It does not.
    Broken,
    /// Nothing was shown.
    Inconclusive,
    /// It cannot be tried with this guest.
    NotApplicable,
    /// It cannot be tried on this server, for the reason that the note gives.
    NotTried,
}

/// What a number is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Time.
    Milliseconds,
    /// Memory.
    Mebibytes,
    /// Of what it was before.
    Percent,
}

/// A number and its bound.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// What was measured.
    pub what: &'static str,
    /// What came of it.
    pub value: f64,
    /// What it may be.
    pub bound: f64,
    /// Whether the bound is the least that it may be; otherwise it is the most.
    pub least: bool,
    /// What both are in.
    pub unit: Unit,
    /// The same before anybody attacked; none: it is of the attack alone.
    pub baseline: Option<f64>,
}

/// A claim tried where it has to fail.
#[derive(Clone, Debug)]
pub struct Control {
    /// Whether it fails, as it must.
    pub broken: bool,
    /// The numbers there.
    pub measures: Vec<Measure>,
    /// What victims saw there.
    pub timeline: Timeline,
}

/// What attackers from outside have spent, and what victims have lost. Of the first of all repetitions.
#[derive(Clone, Debug, PartialEq)]
pub struct Effort {
    /// Connections that attackers opened.
    pub connections: u64,
    /// Bytes that they sent.
    pub bytes: u64,
    /// CPU time that they took.
    pub cpu: Duration,
    /// Responses that victims got meanwhile.
    pub replies: u64,
    /// Responses that they did not get.
    pub lost: u64,
    /// The time to the first byte of 99 in 100 responses beside attackers.
    pub p99_attacked: Duration,
    /// The same before anybody attacked.
    pub p99_peace: Duration,
    /// The same beside as many polite clients.
    pub p99_polite: Duration,
    /// How often the attack was repeated to see whether it does so again.
    pub repetitions: u32,
}

/// What came of one claim.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The claim.
    pub claim: Claim,
    /// Whether it holds.
    pub verdict: Verdict,
    /// The numbers by which that is judged.
    pub measures: Vec<Measure>,
    /// The same where it has to fail; none: there is no such trial.
    pub control: Option<Control>,
    /// What victims saw; none: there were none.
    pub timeline: Option<Timeline>,
    /// What it took; none: it was not tried from outside.
    pub effort: Option<Effort>,
    /// What else is to be said; may be empty.
    pub note: String,
}

/// What came of all claims.
#[derive(Clone, Debug)]
pub struct Report {
    /// In the order in which they were tried.
    pub outcomes: Vec<Outcome>,
    /// What all random choices were made from.
    pub seed: u64,
    /// The fingerprint of the guest that was tried.
    pub guest: String,
    /// Which one that is.
    pub guest_is: &'static str,
    /// How long it took.
    pub took: Duration,
}

impl Measure {
    pub(crate) fn at_most(what: &'static str, value: f64, bound: f64, unit: Unit) -> Self {
        Self { what, value, bound, least: false, unit, baseline: None }
    }

    pub(crate) fn at_least(what: &'static str, value: f64, bound: f64, unit: Unit) -> Self {
        Self { what, value, bound, least: true, unit, baseline: None }
    }

    /// With what it was before anybody attacked.
    pub(crate) fn baseline(self, value: f64) -> Self {
        Self { baseline: Some(value), ..self }
    }

    /// Whether the number is within its bound.
    pub fn holds(&self) -> bool {
        if self.least { self.value >= self.bound } else { self.value <= self.bound }
    }

    /// Whether it says how much was seen. Too little shows nothing, neither this nor that.
    pub(crate) fn is_evidence(&self) -> bool {
        self.least && self.unit == Unit::Count
    }

    fn relation(&self) -> &'static str {
        if self.least { "at least" } else { "at most" }
    }

    /// The number, and its bound, with their unit.
    pub(crate) fn text(&self) -> (String, String) {
        (self.unit.text(self.value), format!("{} {}", self.relation(), self.unit.text(self.bound)))
    }

    /// What it was before anybody attacked, with its unit.
    pub(crate) fn baseline_text(&self) -> Option<String> {
        self.baseline.map(|value| self.unit.text(value))
    }
}

impl Unit {
    fn text(self, number: f64) -> String {
        match self {
            Self::Count => format!("{number:.0}"),
            Self::Milliseconds => format!("{number:.1} ms"),
            Self::Mebibytes => format!("{number:.1} MiB"),
            Self::Percent => format!("{number:.0} %"),
        }
    }
}

impl Outcome {
    pub(crate) fn not_applicable(claim: Claim) -> Self {
        let note = "only a guest that fails when it is asked to can try this".to_owned();
        Self::untried(claim, Verdict::NotApplicable, note)
    }

    /// Of a claim that is not tried, and why.
    pub(crate) fn untried(claim: Claim, verdict: Verdict, note: String) -> Self {
        Self { claim, verdict, measures: Vec::new(), control: None, timeline: None, effort: None, note }
    }

    /// The number that says most: the first that is out of bounds, or the first of all.
    fn telling(measures: &[Measure]) -> Option<&Measure> {
        measures.iter().find(|measure| !measure.holds()).or(measures.first())
    }

    /// One line for a terminal.
    pub fn line(&self) -> String {
        let mut line = format!("{:<34} {:<13}", self.claim.sentence(), self.verdict.to_string());
        if let Some(measure) = Self::telling(&self.measures) {
            let (value, bound) = measure.text();
            let _ = write!(line, " {value} {} ({bound})", measure.what);
        }
        let p99 = self.measures.iter().find(|measure| measure.unit == Unit::Milliseconds && measure.holds());
        if let Some(p99) = p99 {
            let (value, bound) = p99.text();
            let _ = write!(line, ", {} {value} ({bound})", p99.what);
        }
        if let Some(control) = &self.control {
            let verdict = if control.broken { "broken" } else { "held" };
            let _ = write!(line, "; control {verdict}");
            if let Some(measure) = Self::telling(&control.measures) {
                let _ = write!(line, ": {} {}", measure.text().0, measure.what);
            }
        }
        if !self.note.is_empty() {
            let _ = write!(line, "; {}", self.note);
        }
        line
    }

    fn json(&self) -> Value {
        let control = self.control.as_ref().map(|control| {
            let verdict = if control.broken { Verdict::Broken } else { Verdict::Held };
            json!({ "verdict": verdict.to_string(), "measures": measures(&control.measures) })
        });
        json!({
            "claim": self.claim.name(),
            "sentence": self.claim.sentence(),
            "attack": self.claim.attack(),
            "verdict": self.verdict.to_string(),
            "measures": measures(&self.measures),
            "control": control,
            "note": self.note,
        })
    }
}

pub(crate) fn measures(measures: &[Measure]) -> Vec<Value> {
    let json = |measure: &Measure| {
        let unit = match measure.unit {
            Unit::Count => "count",
            Unit::Milliseconds => "ms",
            Unit::Mebibytes => "MiB",
            Unit::Percent => "percent",
        };
        json!({
            "what": measure.what,
            "value": measure.value,
            "bound": measure.bound,
            "bound_is": measure.relation(),
            "unit": unit,
            "baseline": measure.baseline,
            "holds": measure.holds(),
        })
    };
    measures.iter().map(json).collect()
}

impl Report {
    /// Broken if anything is; inconclusive if anything else is.
    pub fn verdict(&self) -> Verdict {
        let any = |verdict| self.outcomes.iter().any(|outcome| outcome.verdict == verdict);
        match () {
            () if any(Verdict::Broken) => Verdict::Broken,
            () if any(Verdict::Inconclusive) || !any(Verdict::Held) => Verdict::Inconclusive,
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

    /// One line for a terminal, below those of the claims.
    pub fn line(&self) -> String {
        let count = |verdict| self.outcomes.iter().filter(|outcome| outcome.verdict == verdict).count();
        let mut line = format!("{}: {} held", self.verdict(), count(Verdict::Held));
        for verdict in [Verdict::Broken, Verdict::Inconclusive, Verdict::NotApplicable] {
            if count(verdict) > 0 {
                let _ = write!(line, ", {} {verdict}", count(verdict));
            }
        }
        let _ = write!(line, "   in {:.1} s, seed {}", self.took.as_secs_f64(), self.seed);
        line
    }

    /// Everything but the victims' responses one by one.
    pub fn json(&self) -> String {
        let report = json!({
            "verdict": self.verdict().to_string(),
            "claims": self.outcomes.iter().map(Outcome::json).collect::<Vec<_>>(),
            "seed": self.seed,
            "guest_sha256": self.guest,
            "guest_is": self.guest_is,
            "seconds": self.took.as_secs_f64(),
            "version": env!("CARGO_PKG_VERSION"),
        });
        format!("{report:#}\n")
    }

    /// One test case for each claim.
    pub fn junit(&self) -> String {
        let count = |verdict| self.outcomes.iter().filter(|outcome| outcome.verdict == verdict).count();
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"multiclient isolate\" tests=\"{}\" \
             failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.3}\">\n",
            self.outcomes.len(),
            count(Verdict::Broken),
            count(Verdict::Inconclusive),
            count(Verdict::NotApplicable),
            self.took.as_secs_f64(),
        );
        for outcome in &self.outcomes {
            let said = escaped(&outcome.line());
            let result = match outcome.verdict {
                Verdict::Held => format!("<system-out>{said}</system-out>"),
                Verdict::Broken => format!("<failure message=\"{said}\"/>"),
                Verdict::Inconclusive => format!("<error message=\"{said}\"/>"),
                Verdict::NotApplicable | Verdict::NotTried => "<skipped/>".to_owned(),
            };
            let name = outcome.claim.sentence();
            let _ = writeln!(xml, "  <testcase classname=\"isolate\" name=\"{name}\">{result}</testcase>");
        }
        xml + "</testsuite>\n"
    }
}

/// Text as it stands in XML and HTML.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML has no way to write these.
            _ if character.is_control() => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
    }
    escaped
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Held => "held",
            Self::Broken => "broken",
            Self::Inconclusive => "inconclusive",
            Self::NotApplicable => "not applicable",
            Self::NotTried => "not tried",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: &[Verdict]) -> Report {
        let outcome = |verdict: &Verdict| Outcome { verdict: *verdict, ..Outcome::not_applicable(Claim::Crash) };
        let outcomes = verdicts.iter().map(outcome).collect();
        Report { outcomes, seed: 1, guest: String::new(), guest_is: "", took: Duration::ZERO }
    }

    #[test]
    fn one_broken_claim_breaks_them_all_and_nothing_shown_is_not_held() {
        use Verdict::{Broken, Held, Inconclusive, NotApplicable};
        for (verdicts, exit_code) in [
            (&[Held, Held, NotApplicable][..], 0),
            (&[Held, Inconclusive, Broken], 1),
            (&[Held, Inconclusive], 3),
            (&[NotApplicable], 3),
        ] {
            assert_eq!(report(verdicts).exit_code(), exit_code, "{verdicts:?}");
        }
    }

    #[test]
    fn a_bound_is_part_of_what_is_allowed() {
        assert!(Measure::at_most("lost", 0.0, 0.0, Unit::Count).holds());
        assert!(!Measure::at_most("lost", 1.0, 0.0, Unit::Count).holds());
        assert!(Measure::at_least("rate", 50.0, 50.0, Unit::Percent).holds());
        assert!(!Measure::at_least("rate", f64::NAN, 50.0, Unit::Percent).holds(), "no number holds nothing");
    }

    #[test]
    fn notes_cannot_break_the_xml_around_them() {
        assert_eq!(escaped("<a & \"b\"\u{1b}>"), "&lt;a &amp; &quot;b&quot;\u{fffd}&gt;");
    }
}
