//! From samples to a table, and to numbers for programs.
//!
//! Rule: what is compared was measured in the same round. A ratio is the median of the rounds' ratios and
//! not the ratio of medians.

use std::fmt::Write;

use crate::load::Open;
use crate::workload::Workload;

/// One server in one round of one measurement.
pub(crate) struct Sample {
    pub(crate) what: Workload,
    pub(crate) peer: String,
    pub(crate) round: usize,
    pub(crate) values: Vec<(&'static str, f64)>,
}

/// All that was measured, and how.
pub(crate) struct Report {
    pub(crate) samples: Vec<Sample>,
    /// Name and label of everybody who took part; ours first.
    pub(crate) peers: Vec<(String, String)>,
    pub(crate) left_out: Vec<String>,
    pub(crate) facts: Vec<String>,
}

/// Who ratios are against.
const YARDSTICK: &str = "nginx";

/// Our HTTP code without its sandbox. It leads nothing: nobody could use it.
const FLOOR: &str = "no sandbox";

/// A line of the table.
struct Row {
    work: &'static str,
    what: Workload,
    value: &'static str,
    goal: Goal,
}

/// What is to be reached: must, and aim.
#[derive(Clone, Copy)]
enum Goal {
    /// As a ratio to the yardstick.
    Ratio(f64, f64),
    /// As a ratio to the yardstick, where both write a log.
    RatioWithLog(f64, f64),
    /// In the row's own unit.
    Absolute(f64, f64),
    /// As a ratio to the same beside one client.
    Flat(f64, f64),
}

const ROWS: &[Row] = &[
    row("new connection, `GET` 1 KiB, close: CPU µs (pinned)", Workload::Fresh, "cpu_us", Goal::Ratio(1.15, 1.0)),
    row("the same, both with a log", Workload::Fresh, "cpu_us", Goal::RatioWithLog(1.15, 1.0)),
    row("keep-alive `GET` 1 KiB, 32 connections: CPU µs", Workload::Kept, "cpu_us", Goal::Ratio(0.9, 0.65)),
    row("the same, both with a log", Workload::Kept, "cpu_us", Goal::RatioWithLog(0.9, 0.65)),
    row("64 KiB ranges, 8 connections: CPU µs", Workload::Range, "cpu_us", Goal::Ratio(1.0, 0.85)),
    row("1 GiB to 1 client: CPU s per GB", Workload::Bulk(1), "cpu_s_per_gb", Goal::Ratio(1.05, 0.95)),
    row("1 GiB to 8 clients: CPU s per GB", Workload::Bulk(8), "cpu_s_per_gb", Goal::Ratio(0.95, 0.8)),
    row(
        "first byte of a fresh connection (pinned): p50 µs",
        Workload::Fresh,
        "first_byte_p50_us",
        Goal::Ratio(1.1, 1.0),
    ),
    row(
        "first byte of a fresh connection (pinned): p99 µs",
        Workload::Fresh,
        "first_byte_p99_us",
        Goal::Ratio(1.15, 1.0),
    ),
    row(
        "stalled client of 1,000, to close: KiB",
        Workload::Held(Open::Stalled, 1_000),
        "kib",
        Goal::Absolute(40.0, 20.0),
    ),
    row(
        "stalled client of 1,000, keep-alive: KiB",
        Workload::Held(Open::StalledKept, 1_000),
        "kib",
        Goal::Absolute(28.0, 20.0),
    ),
    row("silent client of 1,000: KiB", Workload::Held(Open::Silent, 1_000), "kib", Goal::Absolute(4.0, 2.0)),
    row(
        "first byte beside 1,000 stalled: p99 µs",
        Workload::Held(Open::Stalled, 1_000),
        "first_byte_p99_us",
        Goal::Ratio(1.2, 1.0),
    ),
    row("start to first answer: ms", Workload::Start, "ms", Goal::Absolute(10.0, 8.0)),
    row("new connection beside 1 open: CPU µs (pinned)", Workload::Beside(1), "cpu_us", Goal::Flat(1.2, 1.1)),
    row("new connection beside 1,000 open: CPU µs (pinned)", Workload::Beside(1_000), "cpu_us", Goal::Flat(1.2, 1.1)),
    row("new connection beside 10,000 open: CPU µs (pinned)", Workload::Beside(10_000), "cpu_us", Goal::Flat(1.2, 1.1)),
];

const fn row(work: &'static str, what: Workload, value: &'static str, goal: Goal) -> Row {
    Row { work, what, value, goal }
}

/// Median, smallest and largest. None of nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Option<Self> {
        let least = values.iter().copied().reduce(f64::min)?;
        let most = values.iter().copied().reduce(f64::max)?;
        Some(Self { median: median(values), least, most })
    }

    fn text(self, show: impl Fn(f64) -> String) -> String {
        format!("{} [{}, {}]", show(self.median), show(self.least), show(self.most))
    }
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// Three digits, as far as they say something.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

impl Report {
    /// By round.
    fn values(&self, what: Workload, peer: &str, value: &str) -> Vec<(usize, f64)> {
        let of = self.samples.iter().filter(|sample| sample.what == what && sample.peer == peer);
        let one = |sample: &Sample| {
            let (_, number) = sample.values.iter().find(|(name, _)| *name == value)?;
            Some((sample.round, *number))
        };
        of.filter_map(one).collect()
    }

    pub(crate) fn spread(&self, what: Workload, peer: &str, value: &str) -> Option<Spread> {
        let numbers: Vec<_> = self.values(what, peer, value).into_iter().map(|(_, number)| number).collect();
        Spread::of(&numbers)
    }

    /// One against another, round by round.
    fn ratio(&self, of: (Workload, &str), to: (Workload, &str), value: &str) -> Option<Spread> {
        let to = self.values(to.0, to.1, value);
        let ratios: Vec<_> = self
            .values(of.0, of.1, value)
            .into_iter()
            .filter_map(|(round, number)| Some(number / to.iter().find(|(its, _)| *its == round)?.1))
            .collect();
        Spread::of(&ratios)
    }

    /// The table and what belongs to it, as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let shown: Vec<&str> =
            self.peers.iter().map(|(name, _)| name.as_str()).filter(|name| !name.ends_with(", log")).collect();
        let mut text = String::new();
        for fact in &self.facts {
            let _ = writeln!(text, "- {fact}");
        }
        let _ = writeln!(text, "\n| work | {} | leads | against | must | aim | |", shown.join(" | "));
        let _ = writeln!(text, "| --- |{}", " ---: |".repeat(shown.len()) + " --- |" + &" ---: |".repeat(3) + " --- |");
        for row in ROWS {
            let Some(line) = self.line(row, &shown) else { continue };
            let _ = writeln!(text, "{line}");
        }
        let _ = writeln!(text, "\nWho took part:\n");
        for (name, label) in &self.peers {
            let _ = writeln!(text, "- {name}: {label}");
        }
        for line in &self.left_out {
            let _ = writeln!(text, "- left out: {line}");
        }
        let _ = writeln!(text, "\n{}", self.care());
        text
    }

    fn line(&self, row: &Row, shown: &[&str]) -> Option<String> {
        let with_log = matches!(row.goal, Goal::RatioWithLog(..));
        let name = |peer: &str| if with_log { format!("{peer}, log") } else { peer.to_owned() };
        let ours = self.spread(row.what, &name("ours"), row.value)?;
        let cells: Vec<_> = shown
            .iter()
            .map(|peer| self.spread(row.what, &name(peer), row.value).map_or(String::new(), |all| all.text(short)))
            .collect();
        let two = |ratio: f64| format!("{ratio:.2}");
        let (must, aim, reached) = match row.goal {
            Goal::Ratio(must, aim) | Goal::RatioWithLog(must, aim) => {
                let (us, them) = (name("ours"), name(YARDSTICK));
                (must, aim, self.ratio((row.what, &us), (row.what, &them), row.value))
            }
            Goal::Flat(must, aim) => {
                (must, aim, self.ratio((row.what, "ours"), (Workload::Beside(1), "ours"), row.value))
            }
            Goal::Absolute(must, aim) => (must, aim, Some(ours)),
        };
        let (against, verdict) = match reached {
            None => (String::new(), ""),
            Some(reached) => {
                let verdict = match reached.median {
                    median if median <= aim => "aim",
                    median if median <= must => "must",
                    _ => "missed",
                };
                let absolute = matches!(row.goal, Goal::Absolute(..));
                (if absolute { String::new() } else { reached.text(two) }, verdict)
            }
        };
        let leads = self.leads(row, shown, name);
        Some(format!("| {} | {} | {leads} | {against} | {must} | {aim} | {verdict} |", row.work, cells.join(" | ")))
    }

    /// Who has the least, of the servers that one could use.
    fn leads<'a>(&self, row: &Row, shown: &[&'a str], name: impl Fn(&str) -> String) -> &'a str {
        let median = |peer: &str| self.spread(row.what, &name(peer), row.value).map(|all| all.median);
        let peers = shown.iter().filter(|peer| **peer != FLOOR).filter_map(|peer| Some((median(peer)?, *peer)));
        peers.min_by(|(one, _), (other, _)| one.total_cmp(other)).map_or("", |(_, peer)| peer)
    }

    /// What has to be known to read the numbers right.
    fn care(&self) -> String {
        let mut text = String::from(
            "*against* is our number divided by that of nginx in the same round; in the rows *new connection \
             beside*, our number divided by our own beside 1 open. *must* and *aim* are our targets for *against*, \
             or for our number where *against* is empty; the last column says which of them is met. *leads* is the \
             server with the least, *no sandbox* left aside: it is what remains of ours without the sandbox. The load \
             generator is a thread of the measuring program, which throws bodies away inside the kernel.",
        );
        let share = |sample: &Sample| sample.values.iter().find(|(name, _)| *name == "load_share").map(|found| found.1);
        let mut full: Vec<String> = Vec::new();
        for sample in &self.samples {
            let name = format!("{} ({})", sample.what, sample.peer);
            if share(sample).is_some_and(|share| share > 0.9) && !full.contains(&name) {
                full.push(name);
            }
        }
        if full.is_empty() {
            text += " It never took more than 90 % of a core: it was not the bottleneck.";
        } else {
            let _ = write!(
                text,
                " It took more than 90 % of a core, so that the rate is its own and only the server's CPU time says \
                 something, in: {}.",
                full.join(", ")
            );
        }
        let mut dropped: Vec<String> = Vec::new();
        for sample in &self.samples {
            let wanted = match sample.what {
                Workload::Held(_, clients) | Workload::Beside(clients) => clients,
                _ => continue,
            };
            let there = sample.values.iter().find(|(name, _)| *name == "still_there").map_or(0.0, |found| found.1);
            if there < wanted as f64 {
                dropped.push(format!("{} ({}): {there:.0}", sample.what, sample.peer));
            }
        }
        if !dropped.is_empty() {
            let _ = write!(text, " Fewer clients than intended stayed connected in: {}.", dropped.join(", "));
        }
        text
    }

    /// Everything, for programs.
    pub(crate) fn json(&self) -> String {
        let samples: Vec<_> = self
            .samples
            .iter()
            .map(|sample| {
                let values: serde_json::Map<_, _> =
                    sample.values.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
                serde_json::json!({
                    "what": sample.what.to_string(), "server": sample.peer, "round": sample.round, "values": values,
                })
            })
            .collect();
        let servers: serde_json::Map<_, _> =
            self.peers.iter().map(|(name, label)| (name.clone(), label.clone().into())).collect();
        let all = serde_json::json!({
            "facts": self.facts, "servers": servers, "left_out": self.left_out, "samples": samples,
        });
        format!("{all:#}\n")
    }
}
