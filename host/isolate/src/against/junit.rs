//! The report as JUnit XML, as the schema of Ant's task and its readers have it.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use super::comparison::{Comparison, Tried};
use crate::report::{Outcome, Verdict, escaped};

impl Comparison {
    /// One suite for each server, and in it one test case for each claim.
    pub fn junit(&self) -> String {
        let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n".to_owned();
        for (id, target) in self.targets.iter().enumerate() {
            self.suite(&mut xml, id, target);
        }
        xml + "</testsuites>\n"
    }

    fn suite(&self, xml: &mut String, id: usize, target: &Tried) {
        let count = |verdict| target.outcomes.iter().filter(|outcome| outcome.verdict == verdict).count();
        let time: Duration = target.outcomes.iter().map(watched).sum();
        let _ = writeln!(
            xml,
            "<testsuite id=\"{id}\" name=\"{}\" package=\"isolate\" hostname=\"localhost\" timestamp=\"{}\" tests=\"{}\" \
             failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.3}\">",
            escaped(&target.name),
            date_and_time(self.at),
            target.outcomes.len(),
            count(Verdict::Broken),
            count(Verdict::Inconclusive),
            count(Verdict::NotTried),
            time.as_secs_f64(),
        );
        let _ = writeln!(
            xml,
            "  <properties><property name=\"seed\" value=\"{}\"/><property name=\"kernel\" value=\"{}\"/></properties>",
            self.seed,
            escaped(&self.kernel)
        );
        for outcome in &target.outcomes {
            case(xml, &target.name, outcome);
        }
        let _ = writeln!(xml, "  <system-out>{}</system-out><system-err/>\n</testsuite>", escaped(target.origin()));
    }
}

fn case(xml: &mut String, server: &str, outcome: &Outcome) {
    let note = escaped(&outcome.note);
    let result = match outcome.verdict {
        Verdict::Held => String::new(),
        Verdict::Broken => format!("<failure type=\"broken\" message=\"{note}\"/>"),
        Verdict::Inconclusive => format!("<error type=\"inconclusive\" message=\"{note}\"/>"),
        Verdict::NotApplicable | Verdict::NotTried => format!("<skipped message=\"{note}\"/>"),
    };
    let (class, name, time) = (escaped(server), outcome.claim.sentence(), watched(outcome).as_secs_f64());
    let _ = writeln!(xml, "  <testcase classname=\"{class}\" name=\"{name}\" time=\"{time:.3}\">{result}</testcase>");
}

/// How long victims were watched in the first trial of a claim.
fn watched(outcome: &Outcome) -> Duration {
    outcome.timeline.as_ref().map_or(Duration::ZERO, |timeline| timeline.attack.1)
}

/// In UTC, and without a zone, as the schema has it.
fn date_and_time(at: SystemTime) -> String {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March have their leap day last: "chrono-Compatible Low-Level Date Algorithms", H. Hinnant.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, year) = if month < 10 { (month + 3, year + era * 400) } else { (month - 9, year + era * 400 + 1) };
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_735_689_599, "2024-12-31T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            assert_eq!(date_and_time(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
