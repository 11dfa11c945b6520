//! `multiclient-bench`: multiclient beside the servers that are installed, on this machine, over loopback.
//!
//! Rules:
//!
//! - Each round starts every server afresh, in an order that turns with the round: what disturbs the machine
//!   falls on all.
//! - CPU time for a unit of work comes first. It is steady where rates are not.
//! - What could not be measured is said.

mod load;
mod machine;
mod peers;
mod plot;
mod report;
mod server;
mod workload;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use load::{Open, Wants, Work};
use peers::{LogIs, Peer};
use report::{Report, Sample};
use server::Server;
use workload::Workload;

const HELP: &str = "Measures multiclient beside the servers that are installed.

usage: tests/bench/run [flags]

  --quick             two rounds of short samples, in less than two minutes
  --rounds N          rounds of each measurement (7; with --quick 2)
  --seconds S         of one sample (1; with --quick 0.3)
  --works A,B         only these: start fresh kept range bulk held beside size
  --only A,B          only these servers, and ours
  --also NAME=COMMAND one more server, with {root} or {file}, and {port}, in its command
  --ours PATH         the program (the one beside this)
  --out DIR           where the table, the numbers and the plot go (target/bench)
  --write             puts them into BENCHMARKS.md and tests/bench/results instead
  --machine-network   not in a network namespace of its own, also where that is allowed
";

/// What was asked for.
struct Arguments {
    quick: bool,
    rounds: usize,
    time: Duration,
    works: Vec<String>,
    only: Vec<String>,
    also: Vec<(String, String)>,
    ours: PathBuf,
    out: PathBuf,
    write: bool,
    machine_network: bool,
}

fn arguments() -> Result<Arguments, String> {
    let here = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut arguments = Arguments {
        quick: false,
        rounds: 0,
        time: Duration::ZERO,
        works: Vec::new(),
        only: Vec::new(),
        also: Vec::new(),
        ours: here.with_file_name("multiclient"),
        // Beside `release` or `debug`.
        out: here.parent().and_then(Path::parent).unwrap_or(Path::new(".")).join("bench"),
        write: false,
        machine_network: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        let list = |value: String| value.split(',').map(str::to_owned).collect();
        match word.as_str() {
            "--quick" => arguments.quick = true,
            "--rounds" => arguments.rounds = value()?.parse().map_err(|_| "--rounds wants a number")?,
            "--seconds" => {
                let seconds = value()?.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                arguments.time = seconds.ok_or("--seconds wants a number")?;
            }
            "--works" => arguments.works = list(value()?),
            "--only" => arguments.only = list(value()?),
            "--also" => {
                let value = value()?;
                let (name, command) = value.split_once('=').ok_or("--also wants NAME=COMMAND")?;
                arguments.also.push((name.to_owned(), command.to_owned()));
            }
            "--ours" => arguments.ours = value()?.into(),
            "--out" => arguments.out = value()?.into(),
            "--write" => arguments.write = true,
            "--machine-network" => arguments.machine_network = true,
            "--help" | "-h" => return Err(String::new()),
            _ => return Err(format!("there is no flag {word}")),
        }
    }
    if arguments.rounds == 0 {
        arguments.rounds = if arguments.quick { 2 } else { 7 };
    }
    if arguments.time.is_zero() {
        arguments.time = Duration::from_millis(if arguments.quick { 300 } else { 1_000 });
    }
    Ok(arguments)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(wrong) => {
            let _ = write!(io::stderr(), "{HELP}");
            return if wrong.is_empty() {
                ExitCode::SUCCESS
            } else {
                say(&wrong);
                ExitCode::from(2)
            };
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error}"));
            ExitCode::FAILURE
        }
    }
}

/// Says a line to whoever watches.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn run(arguments: &Arguments) -> io::Result<()> {
    let own_network = !arguments.machine_network && machine::own_network()?;
    machine::raise_descriptor_limit();
    let niceness = machine::be_urgent();
    let began = Instant::now();
    let bench = Bench::new(arguments)?;
    let (peers, mut left_out) = peers(arguments, &bench)?;
    let samples = measure(arguments, &bench, &peers, &mut left_out);
    let report = Report {
        samples,
        peers: peers.iter().map(|peer| (peer.name.clone(), peer.label.clone())).collect(),
        left_out,
        facts: bench.facts(arguments, own_network, niceness, began.elapsed()),
    };
    keep(arguments, &report)
}

/// The servers that take part, and why others do not.
fn peers(arguments: &Arguments, bench: &Bench) -> io::Result<(Vec<Peer>, Vec<String>)> {
    if !arguments.ours.is_file() {
        return Err(io::Error::other(format!("{} is not there: build it first", arguments.ours.display())));
    }
    let (mut peers, missing) = peers::everybody(&arguments.ours);
    peers.extend(arguments.also.iter().map(|(name, command)| Peer::of(name, command)));
    if !arguments.only.is_empty() {
        peers.retain(|peer| peer.name.starts_with("ours") || arguments.only.contains(&peer.name));
    }
    let mut left_out: Vec<String> = missing.into_iter().map(|name| format!("{name}: not installed")).collect();
    peers.retain(|peer| match Server::start(peer, &bench.root, SMALL, false) {
        Ok(_) => true,
        Err(error) => {
            left_out.push(format!("{}: {error}", peer.name));
            false
        }
    });
    match peers.iter().any(|peer| peer.name == "ours") {
        true => Ok((peers, left_out)),
        false => Err(io::Error::other(left_out.join("; "))),
    }
}

/// All samples of all rounds. Failures are added to `left_out`.
fn measure(arguments: &Arguments, bench: &Bench, peers: &[Peer], left_out: &mut Vec<String>) -> Vec<Sample> {
    let mut samples = Vec::new();
    for what in plan(arguments) {
        for round in 0..arguments.rounds_of(what) {
            let mut turn: Vec<_> = peers.iter().filter(|peer| takes_part(peer, what)).collect();
            let by = round % turn.len().max(1);
            turn.rotate_left(by);
            for peer in turn {
                let line = format!("{what:<24} {:<12} {:>2}", peer.name, round + 1);
                match bench.sample(peer, what) {
                    Ok(values) => {
                        let shown: Vec<_> =
                            values.iter().map(|(name, value)| format!("{name} {}", report::short(*value))).collect();
                        say(&format!("{line}  {}", shown.join("  ")));
                        samples.push(Sample { what, peer: peer.name.clone(), round, values });
                    }
                    Err(error) => {
                        say(&format!("{line}  failed: {error}"));
                        left_out.push(format!("{} in {what}, round {}: {error}", peer.name, round + 1));
                    }
                }
            }
        }
    }
    samples
}

/// Writes the table, the numbers and the plot, and shows the table.
fn keep(arguments: &Arguments, report: &Report) -> io::Result<()> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = if arguments.write { home.join("results") } else { arguments.out.clone() };
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("bench.json"), report.json())?;
    fs::write(folder.join("bench.svg"), plot::svg(report))?;
    let text = report.markdown();
    if arguments.write {
        let path = home.join("../../BENCHMARKS.md");
        let page = fs::read_to_string(&path)?;
        let parts = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let (before, after) = parts.ok_or_else(|| io::Error::other("BENCHMARKS.md has no place for the table"))?;
        let plot =
            "![Memory and CPU against clients, throughput and CPU against file size](tests/bench/results/bench.svg)";
        fs::write(&path, format!("{before}{BEGIN}\n\n{text}\n{plot}\n\n{END}{after}"))?;
        say(&format!("written to {}", path.display()));
    } else {
        fs::write(folder.join("bench.md"), &text)?;
        say(&format!("written to {}", folder.display()));
    }
    write!(io::stdout(), "{text}")
}

/// Between these the page's measured part is replaced.
const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// What is measured, in order.
fn plan(arguments: &Arguments) -> Vec<Workload> {
    let counts: &[usize] = match machine::descriptor_limit() {
        _ if arguments.quick => &[100, 1_000],
        // A client in the middle of a download is a socket and a file.
        ..25_000 => &[10, 100, 1_000, 5_000],
        _ => &[10, 100, 1_000, 10_000],
    };
    let beside: &[usize] = if arguments.quick { &[1, 1_000] } else { &[1, 1_000, 10_000] };
    let sizes: &[u64] = if arguments.quick { &[10, 14, 18, 22] } else { &[10, 12, 14, 16, 18, 20, 22, 24] };
    let mut plan =
        vec![Workload::Start, Workload::Fresh, Workload::Kept, Workload::Range, Workload::Bulk(1), Workload::Bulk(8)];
    plan.extend(counts.iter().map(|count| Workload::Held(Open::Stalled, *count)));
    plan.push(Workload::Held(Open::StalledKept, 1_000));
    plan.push(Workload::Held(Open::Silent, 1_000));
    plan.extend(beside.iter().map(|count| Workload::Beside(*count)));
    plan.extend(sizes.iter().map(|power| Workload::Size(1 << power)));
    if !arguments.works.is_empty() {
        plan.retain(|what| arguments.works.iter().any(|work| what.to_string().starts_with(work)));
    }
    plan
}

fn takes_part(peer: &Peer, what: Workload) -> bool {
    match what {
        Workload::Start => peer.log == LogIs::Off,
        Workload::Fresh | Workload::Held(Open::Stalled, ..=100) => peer.log == LogIs::Off || what == Workload::Fresh,
        Workload::Kept => peer.able,
        _ => peer.able && peer.log == LogIs::Off,
    }
}

impl Arguments {
    /// Long ones are not repeated as often.
    fn rounds_of(&self, what: Workload) -> usize {
        match what {
            Workload::Held(_, 5_000..) | Workload::Beside(10_000..) | Workload::Size(_) => {
                self.rounds.div_ceil(2).min(3)
            }
            Workload::Held(..) | Workload::Beside(_) => self.rounds.min(if self.quick { 1 } else { 5 }),
            _ => self.rounds,
        }
    }
}

const SMALL: &str = "small.bin";
const BIG: &str = "big.bin";
const RANGE: u64 = 64 << 10;

struct Bench {
    time: Duration,
    root: PathBuf,
    big: u64,
    cores: machine::Cores,
    // The files, gone when it ends.
    _scratch: tempfile::TempDir,
}

impl Bench {
    fn new(arguments: &Arguments) -> io::Result<Self> {
        // In memory where that can be had: no disk is measured.
        let memory = Path::new("/dev/shm");
        let mut builder = tempfile::Builder::new();
        builder.prefix("multiclient-bench-");
        let scratch = builder.tempdir_in(memory).or_else(|_| builder.tempdir())?;
        let root = scratch.path().join("root");
        fs::create_dir(&root)?;
        for folder in [scratch.path(), &root] {
            // Workers of some servers run as somebody else.
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        }
        let room = machine::available_memory() > 5 << 30;
        let big = if room { 1 << 30 } else { 256 << 20 };
        fill(&root.join(SMALL), 1_024)?;
        fill(&root.join(BIG), big)?;
        for what in plan(arguments) {
            if let Workload::Size(bytes) = what {
                fill(&root.join(format!("{bytes}.bin")), bytes)?;
            }
        }
        Ok(Self { time: arguments.time, root, big, cores: machine::Cores::new(), _scratch: scratch })
    }

    fn facts(&self, arguments: &Arguments, own_network: bool, niceness: i32, took: Duration) -> Vec<String> {
        let (cpu, memory) = server::accounts();
        let mut facts = vec![
            format!(
                "{} rounds (fewer of the long ones) of {} s a sample, {} s in all; medians, with the smallest and the \
                 largest in brackets. A ratio is the median of the rounds' ratios.",
                arguments.rounds,
                arguments.time.as_secs_f64(),
                took.as_secs()
            ),
            format!(
                "{} cores, {}; Linux {}; niceness {niceness}; load average {}.",
                self.cores.count(),
                machine::model(),
                machine::kernel(),
                machine::load_average()
            ),
            format!(
                "Files in {}, the large one of {} MiB. Loopback in {}; congestion control: {}.",
                if self.root.starts_with("/dev/shm") { "memory" } else { "a temporary folder" },
                self.big >> 20,
                if own_network { "a network namespace of its own" } else { "the machine's network" },
                machine::congestion_control()
            ),
            format!(
                "CPU time by {}; memory by {}.",
                if cpu { "control group" } else { "the threads' own accounts (what ended in between is left out)" },
                if memory {
                    "control group (page tables, kernel stacks and the kernel's objects in it, TCP buffers apart)"
                } else {
                    "the processes' own share and page tables (the kernel's objects are left out)"
                }
            ),
        ];
        if !self.cores.can_pin() {
            facts.push("Nothing was pinned to a core: `taskset` is missing.".into());
        }
        if cfg!(debug_assertions) {
            facts.insert(0, "**debug build: not a measurement**".into());
        }
        facts
    }

    fn sample(&self, peer: &Peer, what: Workload) -> io::Result<Values> {
        match what {
            Workload::Start => self.start(peer),
            Workload::Fresh => {
                let _pinned = self.cores.pin();
                Ok(fresh(&self.fresh(peer, &self.serve(peer, SMALL)?)?))
            }
            Workload::Kept => Ok(exchanges(&self.kept(peer, SMALL, 32, Wants::Whole)?)),
            Workload::Range => Ok(exchanges(&self.kept(peer, BIG, 8, Wants::Range { length: RANGE, of: self.big })?)),
            Workload::Bulk(clients) => Ok(bytes(&self.kept(peer, BIG, clients, Wants::Whole)?)),
            Workload::Held(open, clients) => self.held(peer, open, clients),
            Workload::Beside(clients) => self.beside(peer, clients),
            Workload::Size(size) => Ok(bytes(&self.kept(peer, &format!("{size}.bin"), 4, Wants::Whole)?)),
        }
    }

    fn serve(&self, peer: &Peer, file: &str) -> io::Result<Server> {
        Server::start(peer, &self.root, file, true)
    }

    /// A part of the time of a sample that is not measured.
    fn warm(&self) -> Duration {
        self.time.mul_f64(0.15)
    }

    fn start(&self, peer: &Peer) -> io::Result<Values> {
        let mut starts = Vec::new();
        for _ in 0..5 {
            starts.push(Server::start(peer, &self.root, SMALL, false)?.start.as_secs_f64() * 1e3);
        }
        Ok(vec![("ms", report::median(&starts))])
    }

    /// New connections for the small file.
    fn fresh(&self, peer: &Peer, server: &Server) -> io::Result<Work> {
        load::fresh(server.port, &format!("/{SMALL}"), peer.ends, self.warm(), self.time, server)
    }

    /// Connections that stay, for one file.
    fn kept(&self, peer: &Peer, file: &str, clients: usize, wants: Wants) -> io::Result<Work> {
        let server = self.serve(peer, if file == BIG { BIG } else { SMALL })?;
        load::kept(server.port, &format!("/{file}"), clients, wants, self.warm(), self.time, &server)
    }

    /// Clients that hold something: what each costs, and what a probe beside them finds.
    fn held(&self, peer: &Peer, open: Open, clients: usize) -> io::Result<Values> {
        let file = format!("/{}", if open == Open::Silent { SMALL } else { BIG });
        let server = self.serve(peer, SMALL)?;
        // Once through all of its code, so that this is not among what the clients cost.
        load::hold(server.port, &file, 2, open)?;
        server.settle();
        let before = server.memory();
        let held = load::hold(server.port, &file, clients, open)?;
        server.settle();
        let mut values = vec![("kib", server.memory().each_since(before, clients) / 1_024.0)];
        if clients >= 100 {
            values.extend(fresh(&self.fresh(peer, &server)?));
        }
        values.push(("still_there", load::still_there(&held) as f64));
        Ok(values)
    }

    /// New connections beside others that are open.
    fn beside(&self, peer: &Peer, clients: usize) -> io::Result<Values> {
        let _pinned = self.cores.pin();
        let server = self.serve(peer, SMALL)?;
        let held = load::hold(server.port, &format!("/{SMALL}"), clients, Open::Idle)?;
        server.settle();
        let mut values = fresh(&self.fresh(peer, &server)?);
        values.push(("still_there", load::still_there(&held) as f64));
        Ok(values)
    }
}

/// What a sample came to: names and numbers.
type Values = Vec<(&'static str, f64)>;

fn fresh(work: &Work) -> Values {
    vec![
        ("cpu_us", work.cpu_us()),
        ("first_byte_p50_us", work.first_byte_us(50)),
        ("first_byte_p99_us", work.first_byte_us(99)),
        ("per_s", work.exchanges as f64 / work.wall.as_secs_f64()),
        ("load_share", work.own_share()),
    ]
}

fn exchanges(work: &Work) -> Values {
    let per_s = work.exchanges as f64 / work.wall.as_secs_f64();
    vec![("cpu_us", work.cpu_us()), ("per_s", per_s), ("load_share", work.own_share())]
}

fn bytes(work: &Work) -> Values {
    let gb_s = work.bytes as f64 / 1e9 / work.wall.as_secs_f64();
    vec![("cpu_s_per_gb", work.cpu_s_per_gb()), ("gb_s", gb_s), ("load_share", work.own_share())]
}

/// Makes a file whose bytes are all there: a hole would be passed on from one and the same page.
fn fill(path: &Path, bytes: u64) -> io::Result<()> {
    let block: Vec<u8> = (0..1_u32 << 18).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let mut file = File::create(path)?;
    let mut left = bytes;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        file.write_all(&block[..count])?;
        left -= count as u64;
    }
    Ok(())
}
