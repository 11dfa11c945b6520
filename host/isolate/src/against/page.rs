//! The report on servers that were tried from outside, as one page that needs nothing from anywhere else.

use std::fmt::Write as _;
use std::time::Duration;

use super::comparison::{Comparison, Tried};
use super::rows::{ROWS, attack};
use crate::claim::Claim;
use crate::page::{STYLE, Scale, class, draw, numbers};
use crate::report::{Effort, Outcome, Verdict, escaped};

/// What the page of our own server does not need. Wide tables scroll by themselves, and not the page.
const MORE_STYLE: &str = "\
.sides{font-size:14px}.sides td{border-top:1px solid var(--line);padding:6px 10px 6px 0;white-space:nowrap}\
.sides th{padding-right:10px}code{font-size:13px;overflow-wrap:anywhere;white-space:pre-wrap}details{margin:8px 0}\
summary{cursor:pointer;display:flex;gap:0 12px;align-items:baseline;flex-wrap:wrap}summary b{min-width:92px}\
summary .what{min-width:190px}.one{max-width:560px}h2{margin-bottom:4px}";

impl Comparison {
    /// The report as an HTML page, for people: no scripts and no foreign resources.
    pub fn html(&self) -> String {
        let verdict = self.verdict();
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>multiclient isolate: {verdict}</title><style>{STYLE}{MORE_STYLE}</style>\n\
             <h1>Can one client touch another? <span class=\"{}\">{}</span></h1>\n\
             <p class=\"dim\">multiclient {}, Linux {}, {} CPUs, seed {}, {:.0} s; attacked from outside</p>\n",
            class(verdict),
            answer(verdict, self.targets.len()),
            env!("CARGO_PKG_VERSION"),
            escaped(&self.kernel),
            self.cpus,
            self.seed,
            self.took.as_secs_f64(),
        );
        side_by_side(&mut page, &self.targets);
        for target in &self.targets {
            server(&mut page, target);
        }
        page += "</html>\n";
        page
    }
}

fn answer(verdict: Verdict, servers: usize) -> &'static str {
    match verdict {
        Verdict::Held => "Not in what was tried.",
        Verdict::Broken if servers > 1 => "On some servers.",
        Verdict::Broken => "Yes.",
        Verdict::Inconclusive | Verdict::NotApplicable | Verdict::NotTried => "It was not shown.",
    }
}

fn rows() -> impl Iterator<Item = Claim> {
    Claim::ALL.into_iter().filter(|claim| ROWS.contains(claim))
}

fn side_by_side(page: &mut String, targets: &[Tried]) {
    *page += "<section><table class=\"sides\"><tr><th>server";
    for claim in rows() {
        let _ = write!(page, "<th title=\"{}\">{claim}", escaped(attack(claim)));
    }
    *page += "</tr>\n";
    for (number, target) in targets.iter().enumerate() {
        let _ = write!(page, "<tr><td><a href=\"#s{number}\">{}</a>", escaped(&target.name));
        for claim in rows() {
            let outcome = target.outcomes.iter().find(|outcome| outcome.claim == claim);
            let verdict = outcome.map_or(Verdict::NotTried, |outcome| outcome.verdict);
            let _ = write!(page, "<td><b class=\"{}\">{verdict}</b>", class(verdict));
        }
        *page += "</tr>\n";
    }
    *page += "</table></section>\n";
}

fn server(page: &mut String, target: &Tried) {
    let number = page.matches("<section id=").count();
    let _ = writeln!(
        page,
        "<section id=\"s{number}\"><header><h2>{}</h2><b class=\"{}\">{}</b></header>\n<p><code>{}</code></p>",
        escaped(&target.name),
        class(target.verdict()),
        target.verdict(),
        target.origin().lines().map(escaped).collect::<Vec<_>>().join("\n"),
    );
    let server = if target.server.is_empty() { "a server without a name" } else { &target.server };
    let _ = writeln!(
        page,
        "<p class=\"dim\">{}; victims ask for {} bytes <code>sha256 {}</code></p>",
        escaped(server),
        target.bytes,
        escaped(&target.sha256)
    );
    for outcome in &target.outcomes {
        row(page, outcome);
    }
    *page += "</section>\n";
}

fn row(page: &mut String, outcome: &Outcome) {
    // What is broken is to be read without a click.
    let open = if outcome.verdict == Verdict::Broken { " open" } else { "" };
    let _ = writeln!(
        page,
        "<details{open}><summary><b class=\"{}\">{}</b><span class=\"what\">{}</span><span class=\"dim\">{}</span></summary>",
        class(outcome.verdict),
        outcome.verdict,
        outcome.claim.sentence(),
        escaped(attack(outcome.claim)),
    );
    if !outcome.note.is_empty() {
        let _ = writeln!(page, "<p>{}</p>", escaped(&outcome.note));
    }
    if !outcome.measures.is_empty() {
        numbers(page, &outcome.measures, None);
    }
    if let Some(effort) = &outcome.effort {
        self::effort(page, effort);
    }
    if let Some(timeline) = &outcome.timeline {
        *page += "<div class=\"one\">";
        draw(page, timeline, &Scale::of(&[timeline]));
        *page += "</div>";
    }
    *page += "</details>\n";
}

fn effort(page: &mut String, effort: &Effort) {
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    let again = match effort.repetitions {
        1 => String::new(),
        times => format!("; tried {times} times"),
    };
    let _ = writeln!(
        page,
        "<p class=\"dim\">Attackers: {} connections, {:.1} KiB sent, {:.2} s of CPU time{again}. Victims: {} responses, \
         {} lost, p99 to the first byte {} ({} in peace, {} beside as many polite clients).</p>",
        effort.connections,
        effort.bytes as f64 / 1_024.0,
        effort.cpu.as_secs_f64(),
        effort.replies,
        effort.lost,
        ms(effort.p99_attacked),
        ms(effort.p99_peace),
        ms(effort.p99_polite),
    );
}
