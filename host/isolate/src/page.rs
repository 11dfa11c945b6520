//! The report as one page that needs nothing from anywhere else: verdicts, numbers, and what victims saw
//! over time, with a mark where each attacker attacked.

use std::fmt::Write as _;
use std::time::Duration;

use crate::report::{Measure, Outcome, Report, Timeline, Verdict, escaped};

pub(crate) const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2430;--dim:#66707f;--line:#d9dee5;--paper:#fff;--card:#f7f8fa;\
--held:#18794e;--broken:#c62a2f;--unsure:#9a6700;--blue:#2563c9}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--dim:#98a2b3;--line:#333c49;--paper:#12161c;--card:#1a2028;\
--held:#4cc38a;--broken:#ff7b80;--unsure:#e2b340;--blue:#7aa8f7}}\
body{margin:0 auto;max-width:1080px;padding:32px 24px;background:var(--paper);color:var(--ink);\
font:15px/1.5 system-ui,sans-serif}\
h1{font-size:26px;margin:0}h2{font-size:18px;margin:0}p{margin:4px 0}.dim{color:var(--dim)}\
.held{color:var(--held)}.broken{color:var(--broken)}.inconclusive{color:var(--unsure)}.not-applicable{color:var(--dim)}\
b{font-weight:600}section{border:1px solid var(--line);border-radius:8px;background:var(--card);\
padding:16px 20px;margin:16px 0;overflow-x:auto}header{display:flex;justify-content:space-between;gap:16px;align-items:baseline}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th{text-align:left;font-weight:600;color:var(--dim);font-size:13px}\
th,td{padding:3px 12px 3px 0;vertical-align:top}td.number,th.number{text-align:right}\
.overview td{border-top:1px solid var(--line);padding:6px 12px 6px 0}a{color:inherit}\
.overview td:nth-child(-n+2){white-space:nowrap}.numbers{max-width:640px}\
.pair{display:grid;grid-template-columns:1fr 1fr;gap:20px;margin-top:10px}\
@media(max-width:720px){.pair{grid-template-columns:1fr}body{padding:16px 8px}section{padding:12px}\
.overview,.overview tbody,.overview tr,.overview td{display:block}.overview tr:first-child{display:none}\
.overview td{border:0;padding:1px 0}.overview tr{border-top:1px solid var(--line);padding:6px 0}\
th,td{padding-right:8px}}h3{font-size:14px;margin:8px 0 2px}\
svg{width:100%;height:auto;display:block}svg text{font:11px system-ui,sans-serif;fill:var(--dim)}\
.axis{stroke:var(--line)}.attack{fill:var(--broken);opacity:.07}.strike{stroke:var(--broken);stroke-opacity:.55}\
.p99{fill:none;stroke:var(--blue);stroke-width:1.6;stroke-linecap:round}.rate{fill:var(--blue);opacity:.35}.lost{fill:var(--broken)}";

impl Report {
    /// The report as an HTML page, for people: no scripts and no foreign resources.
    pub fn html(&self) -> String {
        page(self)
    }
}

fn page(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>multiclient isolate: {verdict}</title><style>{STYLE}</style>\n\
         <h1>Can one client touch another? <span class=\"{class}\">{answer}</span></h1>\n\
         <p class=\"dim\">multiclient {version}, guest: {guest_is} (sha256 {guest}), seed {seed}, {took:.1} s</p>\n",
        verdict = report.verdict(),
        class = class(report.verdict()),
        answer = match report.verdict() {
            Verdict::Held => "No.",
            Verdict::Broken => "Yes.",
            Verdict::Inconclusive | Verdict::NotApplicable | Verdict::NotTried => "It was not shown.",
        },
        version = env!("CARGO_PKG_VERSION"),
        guest = escaped(&report.guest[..report.guest.len().min(12)]),
        guest_is = report.guest_is,
        seed = report.seed,
        took = report.took.as_secs_f64(),
    );
    overview(&mut page, report);
    for outcome in &report.outcomes {
        section(&mut page, outcome);
    }
    page += "</html>\n";
    page
}

fn overview(page: &mut String, report: &Report) {
    *page += "<section><table class=\"overview\"><tr><th>claim<th>verdict<th>fresh instance for each client<th>control: \
              one instance for all</tr>\n";
    for outcome in &report.outcomes {
        let control = match &outcome.control {
            Some(control) if control.broken => {
                let failed = control.measures.iter().find(|measure| !measure.holds());
                let failed = failed.map_or(String::new(), |measure| format!(": {} {}", measure.what, measure.text().0));
                format!("<span class=\"dim\">broken, as it must be{}</span>", escaped(&failed))
            }
            Some(_) => "<span class=\"inconclusive\">held, and must not</span>".to_owned(),
            None => String::new(),
        };
        let _ = writeln!(
            page,
            "<tr><td><a href=\"#{name}\">{sentence}</a><td><b class=\"{class}\">{verdict}</b><td>{telling}<td>{control}</tr>",
            name = outcome.claim.name(),
            sentence = outcome.claim.sentence(),
            class = class(outcome.verdict),
            verdict = outcome.verdict,
            telling = telling(&outcome.measures),
        );
    }
    *page += "</table></section>\n";
}

fn section(page: &mut String, outcome: &Outcome) {
    let _ = write!(
        page,
        "<section id=\"{}\"><header><h2>{}</h2><b class=\"{}\">{}</b></header>\n<p class=\"dim\">{}</p>\n",
        outcome.claim.name(),
        outcome.claim.sentence(),
        class(outcome.verdict),
        outcome.verdict,
        escaped(outcome.claim.attack()),
    );
    if !outcome.note.is_empty() {
        let _ = writeln!(page, "<p>{}</p>", escaped(&outcome.note));
    }
    let control = outcome.control.as_ref();
    if !outcome.measures.is_empty() {
        numbers(page, &outcome.measures, control.map(|control| control.measures.as_slice()));
    }
    if let Some(timeline) = &outcome.timeline {
        // Side by side on the same scale, or they could not be compared.
        let both: Vec<_> = std::iter::once(timeline).chain(control.map(|control| &control.timeline)).collect();
        let scale = Scale::of(&both);
        let _ = write!(page, "<div class=\"pair\"><div><h3>fresh instances</h3>");
        draw(page, timeline, &scale);
        if let Some(control) = control {
            let _ = write!(page, "</div><div><h3>control: one instance for all, no limits</h3>");
            draw(page, &control.timeline, &scale);
        }
        *page += "</div></div>\n";
    }
    *page += "</section>\n";
}

pub(crate) fn numbers(page: &mut String, measures: &[Measure], control: Option<&[Measure]>) {
    let last = if control.is_some() { "<th class=\"number\">control" } else { "" };
    let _ = writeln!(
        page,
        "<table class=\"numbers\"><tr><th>measured<th class=\"number\">number<th class=\"number\">bound{last}</tr>"
    );
    for measure in measures {
        let (value, mut bound) = measure.text();
        if let Some(baseline) = measure.baseline_text() {
            let _ = write!(bound, "; baseline {baseline}");
        }
        let control = control.and_then(|control| control.iter().find(|other| other.what == measure.what));
        let control = control.map_or(String::new(), |control| {
            format!("<td class=\"number {}\">{}", if control.holds() { "dim" } else { "broken" }, control.text().0)
        });
        let class = if measure.holds() { "held" } else { "broken" };
        let _ = writeln!(
            page,
            "<tr><td>{}<td class=\"number {class}\"><b>{value}</b><td class=\"number dim\">{bound}{control}</tr>",
            escaped(measure.what)
        );
    }
    *page += "</table>\n";
}

fn telling(measures: &[Measure]) -> String {
    let telling = measures.iter().find(|measure| !measure.holds()).or(measures.first());
    telling.map_or(String::new(), |measure| {
        let (value, bound) = measure.text();
        format!("{} {value} <span class=\"dim\">({bound})</span>", escaped(measure.what))
    })
}

pub(crate) fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Held => "held",
        Verdict::Broken => "broken",
        Verdict::Inconclusive => "inconclusive",
        Verdict::NotApplicable | Verdict::NotTried => "not-applicable",
    }
}

// ---- what victims saw

/// The drawing's measures, in its own units.
const WIDTH: f64 = 480.0;
const LEFT: f64 = 52.0;
const HEIGHT: f64 = 64.0;
const GAP: f64 = 26.0;
/// How many pieces time is cut into.
const PIECES: usize = 60;

/// What the axes reach to.
pub(crate) struct Scale {
    end: Duration,
    responses: f64,
    wait_ms: f64,
}

/// What victims saw in a piece of time.
#[derive(Clone, Copy, Default)]
struct Piece {
    responses: usize,
    lost: usize,
    longest_ms: f64,
}

impl Scale {
    pub(crate) fn of(timelines: &[&Timeline]) -> Self {
        let end = timelines.iter().flat_map(|timeline| timeline.responses.iter().map(|response| response.0));
        let end = end.max().unwrap_or_default().max(Duration::from_millis(1));
        let mut scale = Self { end, responses: 1.0, wait_ms: 10.0 };
        for piece in timelines.iter().flat_map(|timeline| scale.pieces(timeline)).collect::<Vec<_>>() {
            scale.responses = scale.responses.max(piece.responses as f64);
            scale.wait_ms = scale.wait_ms.max(piece.longest_ms);
        }
        scale
    }

    fn pieces(&self, timeline: &Timeline) -> Vec<Piece> {
        let mut pieces = vec![Piece::default(); PIECES];
        for (asked, waited, _, right) in &timeline.responses {
            let share = asked.as_secs_f64() / self.end.as_secs_f64();
            let piece = &mut pieces[((share * PIECES as f64) as usize).min(PIECES - 1)];
            if *right {
                piece.responses += 1;
            } else {
                piece.lost += 1;
            }
            piece.longest_ms = piece.longest_ms.max(waited.as_secs_f64() * 1e3);
        }
        pieces
    }

    fn x(&self, at: Duration) -> f64 {
        LEFT + (WIDTH - LEFT) * (at.as_secs_f64() / self.end.as_secs_f64()).min(1.0)
    }

    /// Long and short waits in one drawing: from 0.1 ms on, each line ten times the one below.
    fn y_of_wait(&self, wait_ms: f64) -> f64 {
        let decades = |ms: f64| (ms.max(0.1) / 0.1).log10();
        HEIGHT - HEIGHT * (decades(wait_ms) / decades(self.wait_ms)).min(1.0)
    }
}

pub(crate) fn draw(page: &mut String, timeline: &Timeline, scale: &Scale) {
    let bottom = HEIGHT + GAP + HEIGHT;
    let pieces = scale.pieces(timeline);
    let _ = write!(
        page,
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"responses and waiting over time\">",
        bottom + 34.0
    );
    let _ = write!(page, "<g transform=\"translate(0 14)\">");
    let (from, until) = (scale.x(timeline.attack.0), scale.x(timeline.attack.1));
    let _ = write!(
        page,
        "<rect class=\"attack\" x=\"{from:.1}\" y=\"0\" width=\"{:.1}\" height=\"{bottom}\"/>",
        until - from
    );

    draw_responses(page, &pieces, scale);
    draw_waits(page, &pieces, scale);
    draw_attempts(page, timeline, scale);
    *page += "</g></svg>";
}

/// The upper half: responses from the bottom, and what was lost on top of them.
fn draw_responses(page: &mut String, pieces: &[Piece], scale: &Scale) {
    let step = step();
    for (number, piece) in pieces.iter().enumerate() {
        let x = LEFT + step * number as f64;
        let height = HEIGHT * piece.responses as f64 / scale.responses;
        let _ = write!(
            page,
            "<rect class=\"rate\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
            HEIGHT - height,
            step - 0.8
        );
        if piece.lost > 0 {
            let lost = (HEIGHT * piece.lost as f64 / scale.responses).clamp(2.0, HEIGHT);
            let _ = write!(
                page,
                "<rect class=\"lost\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{lost:.1}\"/>",
                (HEIGHT - height - lost).max(0.0),
                step - 0.8
            );
        }
    }
    let seconds = scale.end.as_secs_f64() / PIECES as f64;
    let _ = write!(
        page,
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{HEIGHT}\" y2=\"{HEIGHT}\"/>\
         <text x=\"{LEFT}\" y=\"-4\">responses in a second, and lost ones</text>\
         <text x=\"{label}\" y=\"9\" text-anchor=\"end\">{:.0}</text>\
         <text x=\"{label}\" y=\"{HEIGHT}\" text-anchor=\"end\">0</text>",
        scale.responses / seconds,
        label = LEFT - 6.0
    );
}

/// The lower half: the longest wait for a first byte.
fn draw_waits(page: &mut String, pieces: &[Piece], scale: &Scale) {
    let top = HEIGHT + GAP;
    let _ = write!(
        page,
        "<g transform=\"translate(0 {top})\"><text x=\"{LEFT}\" y=\"-4\">longest wait for a first byte</text>"
    );
    let decades = [1.0, 10.0, 100.0, 1_000.0];
    for ms in decades.into_iter().filter(|ms| *ms <= scale.wait_ms) {
        let y = scale.y_of_wait(ms);
        let text = if ms < 1_000.0 { format!("{ms} ms") } else { "1 s".to_owned() };
        let _ = write!(
            page,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            LEFT - 6.0,
            y + 4.0
        );
    }
    // A piece of time without responses has no wait: the line has a gap there, and a dot where it is alone.
    let seen = pieces.iter().enumerate().collect::<Vec<_>>();
    for run in seen.split(|(_, piece)| piece.responses + piece.lost == 0).filter(|run| !run.is_empty()) {
        let point = |(number, piece): &(usize, &Piece)| {
            format!("{:.1},{:.1}", LEFT + step() * (*number as f64 + 0.5), scale.y_of_wait(piece.longest_ms))
        };
        let mut points: Vec<_> = run.iter().map(point).collect();
        if let [alone] = points.as_slice() {
            points.push(alone.clone());
        }
        let _ = write!(page, "<polyline class=\"p99\" points=\"{}\"/>", points.join(" "));
    }
    *page += "</g>";
}

/// Below: when attackers attacked. More marks than can be told apart say nothing more.
fn draw_attempts(page: &mut String, timeline: &Timeline, scale: &Scale) {
    let (bottom, from) = (HEIGHT + GAP + HEIGHT, scale.x(timeline.attack.0));
    let mut marked = f64::MIN;
    let mut attempts: Vec<_> = timeline.attempts.iter().map(|strike| scale.x(*strike)).collect();
    attempts.sort_by(f64::total_cmp);
    for x in attempts {
        if x - marked >= 1.5 {
            let _ = write!(
                page,
                "<line class=\"strike\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{}\"/>",
                bottom + 6.0
            );
            marked = x;
        }
    }
    let _ = write!(
        page,
        "<text x=\"{from:.1}\" y=\"{y}\">{} attempts</text><text x=\"{WIDTH}\" y=\"{y}\" text-anchor=\"end\">{:.1} s</text>",
        timeline.attempts.len(),
        scale.end.as_secs_f64(),
        y = bottom + 18.0
    );
}

/// The width of one piece of time.
fn step() -> f64 {
    (WIDTH - LEFT) / PIECES as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_broken_where_nobody_was_answered() {
        let response = |at: u64| (Duration::from_millis(at), Duration::from_millis(1), 1, true);
        let line = |responses: &[u64]| {
            let responses = responses.iter().copied().map(response).collect();
            let timeline = Timeline { attack: (Duration::ZERO, Duration::ZERO), attempts: Vec::new(), responses };
            let mut page = String::new();
            draw(&mut page, &timeline, &Scale::of(&[&timeline]));
            page.matches("<polyline").count()
        };
        let whole: Vec<_> = (0..=600).map(|response| response * 10).collect();
        assert_eq!(line(&whole), 1);
        assert_eq!(line(&[&whole[..200], &whole[300..]].concat()), 2);
        assert_eq!(line(&[&whole[..200], &whole[252..253], &whole[400..]].concat()), 3);
    }
}
