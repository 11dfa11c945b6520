//! The report for a terminal of 80 columns.

use std::fmt::Write as _;
use std::time::Duration;

use super::comparison::{Comparison, Tried};
use super::rows::ROWS;
use crate::claim::Claim;
use crate::report::{Effort, Outcome, Verdict};

const WIDTH: usize = 80;

impl Comparison {
    /// The report as text, in lines of at most 80 columns where no word is longer.
    pub fn table(&self) -> String {
        let mut text = String::new();
        if self.targets.len() > 1 {
            side_by_side(&mut text, &self.targets);
        }
        for target in &self.targets {
            server(&mut text, target);
        }
        let claims = self.targets.iter().flat_map(|target| &target.outcomes);
        let count = |verdict| claims.clone().filter(|outcome| outcome.verdict == verdict).count();
        let _ = write!(text, "{}: {} held", self.verdict(), count(Verdict::Held));
        for verdict in [Verdict::Broken, Verdict::Inconclusive, Verdict::NotTried] {
            if count(verdict) > 0 {
                let _ = write!(text, ", {} {verdict}", count(verdict));
            }
        }
        let _ = writeln!(text, "   in {:.0} s, seed {}", self.took.as_secs_f64(), self.seed);
        text
    }
}

/// A word that fits into a narrow column. What was not tried must not look like anything that was.
fn short(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Held => "held",
        Verdict::Broken => "BROKEN",
        Verdict::Inconclusive => "unsure",
        Verdict::NotApplicable | Verdict::NotTried => "-",
    }
}

fn side_by_side(text: &mut String, targets: &[Tried]) {
    let rows: Vec<_> = Claim::ALL.into_iter().filter(|claim| ROWS.contains(claim)).collect();
    let _ = write!(text, "{:<14}", "");
    for claim in &rows {
        let _ = write!(text, " {:<6}", claim.name());
    }
    trim(text);
    text.push('\n');
    for target in targets {
        let name: String = target.name.chars().take(14).collect();
        let _ = write!(text, "{name:<14}");
        for claim in &rows {
            let outcome = target.outcomes.iter().find(|outcome| outcome.claim == *claim);
            let (word, width) = (outcome.map_or("-", |outcome| short(outcome.verdict)), claim.name().len().max(6));
            let _ = write!(text, " {word:<width$}");
        }
        trim(text);
        text.push('\n');
    }
    text.push('\n');
}

fn server(text: &mut String, target: &Tried) {
    wrapped(text, "", &format!("{}: {}", target.name, target.origin()));
    if !target.server.is_empty() || target.bytes > 0 {
        let server = if target.server.is_empty() { "a server" } else { &target.server };
        let hash = &target.sha256[..target.sha256.len().min(12)];
        wrapped(text, "  ", &format!("{server}; victims ask for {} bytes, sha256 {hash}", target.bytes));
    }
    let _ = writeln!(text, "{:<24}{:-^25} {:-^30}", "", " attackers ", " victims, p99 in ms ");
    let _ = writeln!(
        text,
        "{:<10} {:<12} {:>6} {:>9} {:>7} {:>7} {:>4} {:>5} {:>5} {:>6}",
        "claim", "verdict", "conns", "sent", "CPU", "replies", "lost", "p99", "peace", "polite"
    );
    for outcome in &target.outcomes {
        row(text, outcome);
    }
    text.push('\n');
}

fn row(text: &mut String, outcome: &Outcome) {
    let _ = write!(text, "{:<10} {:<12}", outcome.claim.name(), outcome.verdict.to_string());
    if let Some(Effort { connections, bytes, cpu, replies, lost, p99_attacked, p99_peace, p99_polite, .. }) =
        &outcome.effort
    {
        let (sent, cpu) = (size(*bytes), seconds(*cpu));
        let [p99, peace, polite] = [p99_attacked, p99_peace, p99_polite].map(|time| ms(*time));
        let _ =
            write!(text, " {connections:>6} {sent:>9} {cpu:>7} {replies:>7} {lost:>4} {p99:>5} {peace:>5} {polite:>6}");
    }
    trim(text);
    text.push('\n');
    if !outcome.note.is_empty() {
        wrapped(text, "           ", &outcome.note);
    }
}

fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.1}") } else { format!("{ms:.0}") }
}

/// At most nine characters, up to a thousand GiB.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 3] = ["KiB", "MiB", "GiB"];
    let mut value = bytes as f64;
    if value < 1_000.0 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    value /= 1_024.0;
    // What is rounded to a thousand has one digit more than there is room for.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1_024.0, unit + 1);
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// At most seven characters, up to a hundred thousand seconds.
fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 99.995 { format!("{seconds:.2} s") } else { format!("{seconds:.0} s") }
}

fn trim(text: &mut String) {
    text.truncate(text.trim_end_matches(' ').len());
}

/// Words in lines, each of which begins with the indent.
fn wrapped(text: &mut String, indent: &str, words: &str) {
    let mut line = indent.to_owned();
    for word in words.split_whitespace() {
        let is_first = line.len() == indent.len();
        if !is_first && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{line}");
            indent.clone_into(&mut line);
        } else if !is_first {
            line.push(' ');
        }
        line.extend(word.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }));
    }
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_into_their_columns() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 KiB"),
            (1_023_948, "999.9 KiB"),
            (1_023_949, "1.0 MiB"),
            (1_040_000, "1.0 MiB"),
            (1 << 30, "1.0 GiB"),
            (999 << 30, "999.0 GiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert!(
            (0..40).flat_map(|power| [1 << power, (1 << power) * 1_023 / 1_024]).all(|bytes| size(bytes).len() <= 9)
        );
        let lengths =
            [0.0, 9.999, 99.99, 99.999, 1e3, 1e5 - 1.0].map(|time| seconds(Duration::from_secs_f64(time)).len());
        assert!(lengths.iter().all(|length| *length <= 7), "{lengths:?}");
    }
}
