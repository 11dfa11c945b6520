//! The plot, drawn by hand: four panels, all with logarithmic axes, so that a straight line is a power and
//! what lies side by side is a factor.

use std::fmt::Write;

use crate::load::Open;
use crate::report::Report;
use crate::workload::Workload;

const WIDTH: f64 = 1_060.0;
const HEIGHT: f64 = 860.0;

/// The place of a panel's axes within it.
const LEFT: f64 = 62.0;
const TOP: f64 = 64.0;
const ACROSS: f64 = 380.0;
const DOWN: f64 = 280.0;

/// Ours stands out; the others can be told from each other without colour vision by their marks.
const STYLES: &[(&str, &str, &str)] = &[
    ("ours", "#c2410c", "circle"),
    ("nginx", "#15803d", "square"),
    ("lighttpd", "#1d4ed8", "diamond"),
    ("Apache", "#7e22ce", "triangle"),
    ("no sandbox", "#0e7490", "circle"),
    ("FFmpeg", "#525252", "cross"),
];
const OTHER: (&str, &str) = ("#525252", "cross");

struct Panel<'a> {
    title: &'a str,
    across: &'a str,
    lines: Vec<Line>,
    in_bytes: bool,
}

struct Line {
    name: String,
    peer: String,
    dashed: bool,
    points: Vec<(f64, f64)>,
}

pub(crate) fn svg(report: &Report) -> String {
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#262626\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
    );
    for (number, panel) in panels(report).iter().enumerate() {
        let (column, row) = ((number % 2) as f64, (number / 2) as f64);
        let _ = writeln!(text, "<g transform=\"translate({},{})\">", 10.0 + column * 520.0, row * 410.0);
        panel.draw(&mut text);
        text += "</g>\n";
    }
    let note = if cfg!(debug_assertions) {
        "debug build: not a measurement"
    } else {
        "medians; both axes logarithmic; everybody on the same machine, in the same rounds"
    };
    let _ =
        writeln!(text, "<text x=\"{}\" y=\"{}\" fill=\"#737373\">{note}</text>\n</svg>", 10.0 + LEFT, HEIGHT - 14.0);
    text
}

fn panels(report: &Report) -> [Panel<'static>; 4] {
    let beside = |what: Workload| match what {
        Workload::Beside(clients) => Some(clients as f64),
        _ => None,
    };
    let size = |what: Workload| match what {
        Workload::Size(bytes) => Some(bytes as f64),
        _ => None,
    };
    [
        Panel {
            title: "Memory for each client that has stalled, KiB",
            across: "clients that are open",
            lines: memory(report),
            in_bytes: false,
        },
        Panel {
            title: "CPU for a new connection beside others, µs",
            across: "clients that are open",
            lines: lines(report, "cpu_us", &beside),
            in_bytes: false,
        },
        Panel {
            title: "Throughput, GB/s, 4 connections that stay",
            across: "file size, bytes",
            lines: lines(report, "gb_s", &size),
            in_bytes: true,
        },
        Panel {
            title: "CPU seconds for each GB",
            across: "file size, bytes",
            lines: lines(report, "cpu_s_per_gb", &size),
            in_bytes: true,
        },
    ]
}

/// What a client costs that has stalled, and of ours what others cost.
fn memory(report: &Report) -> Vec<Line> {
    let held = |open: Open| {
        move |what: Workload| match what {
            Workload::Held(its, clients) if its == open => Some(clients as f64),
            _ => None,
        }
    };
    let mut memory = lines(report, "kib", &held(Open::Stalled));
    for (open, name) in [(Open::StalledKept, "ours, kept"), (Open::Silent, "ours, silent")] {
        let ours = lines(report, "kib", &held(open)).into_iter().filter(|line| line.name == "ours");
        memory.extend(ours.map(|line| Line { name: name.into(), dashed: true, ..line }));
    }
    memory
}

/// A line for each server: what was measured, over where `x` says that it stands.
fn lines(report: &Report, value: &str, x: &dyn Fn(Workload) -> Option<f64>) -> Vec<Line> {
    let mut whats: Vec<Workload> = Vec::new();
    for sample in &report.samples {
        if !whats.contains(&sample.what) {
            whats.push(sample.what);
        }
    }
    // A variant of a server would lie upon its line.
    let peers = report.peers.iter().map(|(name, _)| name).filter(|name| !name.contains(','));
    let line = |name: &String| {
        let point = |what: &Workload| Some((x(*what)?, report.spread(*what, name, value)?.median));
        let points = whats.iter().filter_map(point).filter(|(x, y)| *x > 0.0 && y.is_finite() && *y > 0.0).collect();
        Line { name: name.clone(), peer: name.clone(), dashed: false, points }
    };
    peers.map(line).filter(|line| !line.points.is_empty()).collect()
}

/// A logarithmic axis: from, to, and how long it is.
#[derive(Clone, Copy)]
struct Axis {
    from: f64,
    to: f64,
    length: f64,
}

impl Axis {
    /// Over all of these values, with a little room.
    fn over(values: impl Iterator<Item = f64> + Clone, length: f64, room: f64) -> Option<Self> {
        let from = values.clone().reduce(f64::min)?;
        let to = values.reduce(f64::max)?;
        Some(Self { from: from / room, to: to * room, length })
    }

    fn at(self, value: f64) -> f64 {
        (value / self.from).ln() / (self.to / self.from).ln() * self.length
    }

    /// Round numbers on it: powers of ten, and between them where there are few.
    fn ticks(self) -> Vec<f64> {
        let decades = (self.to / self.from).log10();
        let steps: &[f64] = if decades > 2.5 {
            &[1.0]
        } else if decades > 1.2 {
            &[1.0, 3.0]
        } else {
            &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0]
        };
        let mut ticks = Vec::new();
        let mut decade = 10_f64.powf(self.from.log10().floor());
        while decade <= self.to {
            ticks.extend(steps.iter().map(|step| step * decade).filter(|tick| (self.from..=self.to).contains(tick)));
            decade *= 10.0;
        }
        ticks
    }

    /// Powers of four.
    fn ticks_in_bytes(self) -> Vec<f64> {
        (0..24).map(|power| 4_f64.powi(power)).filter(|tick| (self.from..=self.to).contains(tick)).collect()
    }
}

impl Panel<'_> {
    fn draw(&self, text: &mut String) {
        let _ =
            writeln!(text, "<text x=\"{LEFT}\" y=\"30\" font-size=\"15\" font-weight=\"600\">{}</text>", self.title);
        let points = self.lines.iter().flat_map(|line| line.points.iter().copied());
        let across = Axis::over(points.clone().map(|(x, _)| x), ACROSS, 1.25);
        let up = Axis::over(points.map(|(_, y)| y), DOWN, 1.35);
        let (Some(across), Some(up)) = (across, up) else {
            let _ = writeln!(text, "<text x=\"{LEFT}\" y=\"{TOP}\" fill=\"#737373\">not measured in this run</text>");
            return;
        };
        let _ = writeln!(text, "<g transform=\"translate({LEFT},{TOP})\">");
        for tick in up.ticks() {
            let y = DOWN - up.at(tick);
            let _ = writeln!(
                text,
                "<path d=\"M0 {y:.1}H{ACROSS}\" stroke=\"#e5e5e5\"/><text x=\"-8\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}</text>",
                y + 4.0,
                number(tick)
            );
        }
        for tick in if self.in_bytes { across.ticks_in_bytes() } else { across.ticks() } {
            let x = across.at(tick);
            let label = if self.in_bytes { size(tick) } else { number(tick) };
            let _ = writeln!(
                text,
                "<path d=\"M{x:.1} {DOWN}v5\" stroke=\"#737373\"/><text x=\"{x:.1}\" y=\"{}\" \
                 text-anchor=\"middle\">{label}</text>",
                DOWN + 19.0
            );
        }
        let _ = writeln!(
            text,
            "<path d=\"M0 {DOWN}H{ACROSS}\" stroke=\"#737373\"/><text x=\"{}\" y=\"{}\" text-anchor=\"middle\" \
             fill=\"#525252\">{}</text>",
            ACROSS / 2.0,
            DOWN + 38.0,
            self.across
        );
        // Ours last, on top of the others.
        for line in self.lines.iter().rev() {
            draw_line(text, line, across, up);
        }
        for (y, line) in self.label_places(up) {
            let (colour, _) = style(&line.peer);
            let weight = if line.peer == "ours" { " font-weight=\"600\"" } else { "" };
            let _ = writeln!(
                text,
                "<text x=\"{}\" y=\"{:.1}\" fill=\"{colour}\"{weight}>{}</text>",
                ACROSS + 6.0,
                y + 4.0,
                escaped(&line.name)
            );
        }
        text.push_str("</g>\n");
    }

    /// Each line's name at its end, none over another.
    fn label_places(&self, up: Axis) -> Vec<(f64, &Line)> {
        let end = |line: &Line| line.points.last().map_or(0.0, |(_, y)| DOWN - up.at(*y));
        let mut places: Vec<_> = self.lines.iter().map(|line| (end(line), line)).collect();
        places.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        for at in 1..places.len() {
            places[at].0 = places[at].0.max(places[at - 1].0 + 15.0);
        }
        // What has been pushed out below pushes back.
        let mut floor = DOWN + 4.0;
        for place in places.iter_mut().rev() {
            place.0 = place.0.min(floor);
            floor = place.0 - 15.0;
        }
        places
    }
}

fn draw_line(text: &mut String, line: &Line, across: Axis, up: Axis) {
    let (colour, mark) = style(&line.peer);
    let places: Vec<_> = line.points.iter().map(|(x, y)| (across.at(*x), DOWN - up.at(*y))).collect();
    let path: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    let width = if line.peer == "ours" { 2.5 } else { 1.5 };
    let dashes = if line.dashed { " stroke-dasharray=\"2 4\"" } else { "" };
    let _ = writeln!(
        text,
        "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"{dashes}/>",
        path.join("L")
    );
    for (x, y) in places {
        let shape = match mark {
            "circle" => "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
            "square" => "M-3.5 -3.5h7v7h-7z",
            "diamond" => "M0 -5l5 5l-5 5l-5 -5z",
            "triangle" => "M0 -5l4.5 8h-9z",
            _ => "M-4 -1h3v-3h2v3h3v2h-3v3h-2v-3h-3z",
        };
        let fill = if line.dashed { "#ffffff" } else { colour };
        let _ = writeln!(
            text,
            "<path transform=\"translate({x:.1},{y:.1})\" d=\"{shape}\" fill=\"{fill}\" stroke=\"{colour}\"/>"
        );
    }
}

fn style(peer: &str) -> (&'static str, &'static str) {
    let known = STYLES.iter().find(|(name, ..)| *name == peer);
    known.map_or(OTHER, |(_, colour, mark)| (*colour, *mark))
}

fn number(value: f64) -> String {
    match value {
        value if value >= 1_000.0 => format!("{},{:03}", (value / 1_000.0).floor(), value % 1_000.0),
        value if value >= 1.0 => format!("{}", (value * 10.0).round() / 10.0),
        value => format!("{}", (value * 10_000.0).round() / 10_000.0),
    }
}

fn size(bytes: f64) -> String {
    match bytes {
        bytes if bytes >= 1_048_576.0 => format!("{} Mi", bytes / 1_048_576.0),
        bytes if bytes >= 1_024.0 => format!("{} Ki", bytes / 1_024.0),
        bytes => format!("{bytes}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
