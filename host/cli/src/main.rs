//! `multiclient`, the program: from arguments to an exit code.

mod config;
mod health;

use std::fmt;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime};
use std::{io, thread};

use anyhow::Context;
use clap::Parser;
use multiclient::journal::{Log, Silent, Size, Took};
use multiclient::{Guest, Inspection, Journal, Limits, Running, Server, Sources, Summary, listen};
use multiclient_isolate::{self as isolate, Progress, Report};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use tokio::signal::unix::{SignalKind, signal};

use config::{Address, Arguments, Command, Failure, Health, Isolate, LogFormat, Replay, Serve};

fn main() -> ExitCode {
    let began = Instant::now();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // If even this cannot be written there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let done = match &arguments.command {
        Some(Command::Inspect { guest }) => inspect(guest.as_deref()),
        Some(Command::Guest { output }) => write_guest(output),
        Some(Command::Replay(replay)) => live_again(replay),
        Some(Command::Isolate(isolate)) => prove(isolate),
        Some(Command::Health(health)) => feel(health),
        None => serve(&arguments.serve, began),
    };
    done.unwrap_or_else(|failure| {
        tell(format_args!("{failure}"));
        ExitCode::from(failure.exit_code)
    })
}

/// Says a line to the operator. Whoever does not listen any more misses it, and nothing else happens:
/// `println` and its sister would end the program with a panic.
fn tell(line: fmt::Arguments<'_>) {
    // In one piece: the log may be writing too.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Says a line while the server runs or stops, which must not wait for whoever reads stderr.
fn tell_in_passing(line: String) {
    let (told, heard) = mpsc::channel();
    let said = thread::Builder::new().name("tell".into()).spawn(move || {
        tell(format_args!("{line}"));
        // Nobody waits any more when it took too long.
        let _ = told.send(());
    });
    if said.is_ok() {
        let _ = heard.recv_timeout(Duration::from_millis(200));
    }
}

/// Says a line of what was asked for.
fn answer(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Tells what a guest may do.
fn inspect(path: Option<&Path>) -> Result<ExitCode, Failure> {
    let limits = Limits { clients: 1, reserve: 0, ..Limits::default() };
    let (inspection, name) = match path {
        Some(path) => (config::inspect(path)?, path.display().to_string()),
        None => (Guest::built_in(&limits).map_err(Failure::host)?.inspect(), "built in".to_owned()),
    };
    let Inspection { imports, exports, sha256, bytes, memory, unfit } = inspection;
    answer(format_args!("guest    {name}, {}, sha256 {sha256}", Size(bytes as u64)));
    answer(format_args!("memory   {} to begin with", Size(memory)));
    if imports.is_empty() {
        answer(format_args!("imports  nothing: it can compute, and do nothing else"));
    }
    for import in imports {
        answer(format_args!("imports  {}   ({})", import.name, import.verdict));
    }
    for export in exports {
        answer(format_args!("exports  {export}"));
    }
    match unfit {
        None => answer(format_args!("serves   yes")),
        Some(why) => answer(format_args!("serves   no: {why}")),
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the component that is built in, for other hosts.
fn write_guest(path: &Path) -> Result<ExitCode, Failure> {
    let limits = Limits { clients: 1, reserve: 0, ..Limits::default() };
    let guest = Guest::built_in(&limits).map_err(Failure::host)?;
    std::fs::write(path, guest.component()).map_err(|error| Failure::unwritable(path, &error))?;
    Ok(ExitCode::SUCCESS)
}

/// Lives a recorded life again, and says whether it went as it had gone.
fn live_again(replay: &Replay) -> Result<ExitCode, Failure> {
    let replay = replay.run()?;
    answer(format_args!("{replay}"));
    Ok(if replay.is_identical() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tries on this machine whether one client can touch another.
fn prove(isolate: &Isolate) -> Result<ExitCode, Failure> {
    raise_descriptor_limit();
    let plan = isolate.plan()?;
    // A minute later would be too late to find out that they cannot be written.
    let reports = [(&isolate.junit, Report::junit as fn(&Report) -> String), (&isolate.html, Report::html)];
    let mut files = Vec::new();
    for (path, text) in reports {
        if let Some(path) = path {
            let file = File::create(path).map_err(|error| Failure::unwritable(path, &error))?;
            files.push((path, file, text));
        }
    }
    let watched = io::stderr().is_terminal();
    let report = isolate::prove(&plan, &mut |progress| match progress {
        Progress::Trying(claim) if watched => {
            let _ = write!(io::stderr(), "{}: {}", claim.sentence(), claim.attack());
        }
        Progress::Trying(_) => {}
        Progress::Tried(outcome) => {
            if watched {
                // The line that said what is being tried gives way.
                let _ = write!(io::stderr(), "\r\x1b[2K");
            }
            if isolate.json {
                tell(format_args!("{}", outcome.line()));
            } else {
                answer(format_args!("{}", outcome.line()));
            }
        }
    });
    let report = report.map_err(Failure::host)?;
    if isolate.json {
        answer(format_args!("{}", report.json().trim_end()));
    } else {
        answer(format_args!("{}", report.line()));
    }
    // What was found out is told by now. What is not written is not shown.
    let mut exit_code = report.exit_code();
    for (path, file, text) in &mut files {
        if let Err(error) = file.write_all(text(&report).as_bytes()) {
            tell(format_args!("{}", Failure::unwritable(path, &error)));
            exit_code = if exit_code == 0 { 3 } else { exit_code };
        }
    }
    Ok(ExitCode::from(exit_code))
}

/// Tells whether a server is well.
fn feel(health: &Health) -> Result<ExitCode, Failure> {
    let status = health::ask(&health.url, health.timeout).map_err(|ill| Failure::unhealthy(&health.url, &ill))?;
    answer(format_args!("{} answers {status}", health.url));
    Ok(ExitCode::SUCCESS)
}

/// Serves until it is told to stop.
fn serve(serve: &Serve, began: Instant) -> Result<ExitCode, Failure> {
    let mut limits = serve.limits();
    let room = room_for_clients(raise_descriptor_limit(), limits.reserve);
    if room < limits.clients && !serve.quiet {
        tell(format_args!(
            "note     {room} clients at once and not {}: this process may have no more descriptors\n  see  ulimit -n",
            limits.clients
        ));
    }
    limits.clients = limits.clients.min(room);
    let sources = serve.sources()?;
    let listeners = bind(serve)?;
    // Before it is read: what changes from here on is a change.
    let seen = serve.guest.as_deref().and_then(fingerprint);
    let (guest, guest_name) = serve.guest(&limits)?;
    let guest = Arc::new(guest);
    let log = match serve.log_format() {
        Some(format) => Some(Arc::new(Log::new(format, io::stderr()).map_err(Failure::host)?)),
        None => None,
    };
    let journal: Arc<dyn Journal> = match &log {
        Some(log) => Arc::<Log>::clone(log),
        None => Arc::new(Silent),
    };
    let intro = Introduction::new(serve, &sources, &guest_name, &guest.inspect(), &limits);
    // Before the first client is served: a signal that nobody waits for ends the process at once.
    let signals = signals().map_err(Failure::host)?;
    let mut server = Server::new(guest, sources, limits.clone()).settings(serve.settings()).journal(journal.clone());
    if let Some(capsules) = serve.capsules()? {
        server = server.capsules(capsules);
    }
    let server = server.start(listeners).context("the server cannot start").map_err(Failure::host)?;
    if !serve.quiet {
        intro.say(&server, serve, began);
    }
    let programs = (serve.log == LogFormat::Json).then_some(&*journal);
    run(&server, serve, &limits, &signals, programs, seen);
    // While they are still listened on: later they may be the next server's.
    for address in serve.addresses() {
        if let Address::Unix(path) = address {
            // The next server replaces one that is left.
            let _ = std::fs::remove_file(path);
        }
    }
    let summary = drain(server, &signals, limits.drain, serve.quiet);
    if let Some(log) = log {
        log.flush();
    }
    if !serve.quiet {
        say_summary(&summary);
    }
    Ok(ExitCode::from(if summary.cut_off > 0 { 3 } else { 0 }))
}

/// What the operator wants, while the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Stop,
    SwapGuest,
}

/// Waits until it is told to stop, and swaps the guest meanwhile when it is told to or sees it change.
/// `programs` hear of that by the journal, where they read the log.
fn run(
    server: &Running,
    serve: &Serve,
    limits: &Limits,
    signals: &mpsc::Receiver<Told>,
    programs: Option<&dyn Journal>,
    mut seen: Option<Fingerprint>,
) {
    let swap_guest = || {
        let line = swap_guest(server, serve, limits);
        match programs {
            Some(journal) => journal.notice(&line),
            None => tell_in_passing(line),
        }
    };
    loop {
        // The sender lives as long as the process.
        match signals.recv_timeout(WATCH) {
            Ok(Told::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
            Ok(Told::SwapGuest) => swap_guest(),
            Err(mpsc::RecvTimeoutError::Timeout) if serve.watch => {
                let now = serve.guest.as_deref().and_then(fingerprint);
                // A file that is gone is about to come back.
                if now.is_some() && now != seen {
                    seen = now;
                    swap_guest();
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
}

/// How often a guest's file is looked at.
const WATCH: Duration = Duration::from_millis(500);

/// What of a file is different when it has changed.
type Fingerprint = (SystemTime, u64, u64);

fn fingerprint(path: &Path) -> Option<Fingerprint> {
    let metadata = path.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

/// Serves new clients through the guest as its file is now, and tells so. A bad one is refused, and the old
/// one kept.
fn swap_guest(server: &Running, serve: &Serve, limits: &Limits) -> String {
    match serve.guest(limits) {
        Ok((guest, name)) => {
            let line = format!("guest    {}   for new clients from now on", guest_line(&name, &guest.inspect()));
            server.replace_guest(Arc::new(guest));
            line
        }
        Err(failure) => format!("{failure}\n  the guest stays as it is"),
    }
}

/// Drains, and cuts off at the deadline or when it is told to stop once more.
fn drain(server: Running, signals: &mpsc::Receiver<Told>, patience: Duration, quiet: bool) -> Summary {
    server.drain();
    if !quiet && !server.wait(Duration::ZERO) {
        tell_in_passing(format!("draining for up to {}; Ctrl-C again cuts off", Took(patience)));
    }
    let deadline = Instant::now() + patience;
    while !server.wait(Duration::from_millis(20)) {
        if Instant::now() >= deadline || signals.try_iter().any(|told| told == Told::Stop) {
            break;
        }
    }
    server.stop(Duration::ZERO)
}

/// A message for each SIGINT, SIGTERM and SIGHUP.
fn signals() -> io::Result<mpsc::Receiver<Told>> {
    let (told, signals) = mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate, mut hang_up) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
    };
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            loop {
                let what = tokio::select! {
                    _ = interrupt.recv() => Told::Stop,
                    _ = terminate.recv() => Told::Stop,
                    _ = hang_up.recv() => Told::SwapGuest,
                };
                if told.send(what).is_err() {
                    return;
                }
            }
        });
    })?;
    Ok(signals)
}

/// A client is a descriptor, and the usual limit of 1,024 is there for programs that use `select`. How many
/// there may be now.
fn raise_descriptor_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let allowed = if raised { maximum } else { current };
    allowed.map_or(usize::MAX, |allowed| usize::try_from(allowed).unwrap_or(usize::MAX))
}

/// How many clients so many descriptors are enough for. Some are kept for files, or everybody could
/// connect and nobody be served.
fn room_for_clients(descriptors: usize, reserve: usize) -> usize {
    const FOR_FILES: usize = 320;
    descriptors.saturating_sub(reserve + FOR_FILES).max(descriptors / 3).max(1)
}

fn bind(serve: &Serve) -> Result<Vec<OwnedFd>, Failure> {
    let mut listeners = Vec::new();
    for address in serve.addresses() {
        match address {
            Address::Unix(path) => {
                listeners.push(listen::unix(path).map_err(|error| Failure::bind(address, &error, serve))?);
            }
            Address::Passed => {
                let passed = listen::passed().map_err(|error| Failure::bind(address, &error, serve))?;
                if passed.is_empty() {
                    return Err(Failure::nothing_passed());
                }
                listeners.extend(passed);
            }
            Address::Tcp { sockets, .. } => {
                for socket in sockets {
                    listeners.push(listen::tcp(*socket).map_err(|error| Failure::bind(address, &error, serve))?);
                }
            }
        }
    }
    Ok(listeners)
}

/// What the program says of itself when it has started.
struct Introduction {
    source: String,
    guest: String,
    limits: String,
    path: String,
}

impl Introduction {
    fn new(serve: &Serve, sources: &Sources, guest: &str, inspection: &Inspection, limits: &Limits) -> Self {
        let shown = serve.source().display();
        let (source, path) = match sources.only() {
            Some(name) => {
                let size = match sources.size() {
                    Some(size) => format!("   {}", Size(size)),
                    None if sources.is_live() => "   live".to_owned(),
                    None => String::new(),
                };
                (format!("{shown}{size}"), url_path(name))
            }
            None => (format!("{shown}   a folder"), example(serve)),
        };
        let guest = guest_line(guest, inspection);
        let per_address = match limits.clients_per_address {
            0 => "any number".to_owned(),
            count => count.to_string(),
        };
        let limits = format!(
            "{}, {} ms cpu, {} clients, {per_address} per address",
            Size(limits.memory),
            limits.cpu_per_event.as_millis(),
            limits.clients
        );
        Self { source, guest, limits, path }
    }

    fn say(&self, server: &Running, serve: &Serve, began: Instant) {
        tell(format_args!("multiclient {}", env!("CARGO_PKG_VERSION")));
        tell(format_args!("source   {}", self.source));
        for address in server.addresses() {
            let reach = match address.ip() {
                ip if ip.is_loopback() => format!("this machine only; share with 0.0.0.0:{}", address.port()),
                ip if ip.is_unspecified() => "everybody who can reach this machine".to_owned(),
                _ => "everybody who can reach this address".to_owned(),
            };
            tell(format_args!("open     http://{address}/{}     {reach}", self.path));
        }
        for address in serve.addresses() {
            match address {
                Address::Unix(_) => tell(format_args!("open     {address}")),
                Address::Passed => tell(format_args!("open     {address}     where its socket unit says")),
                Address::Tcp { .. } => {}
            }
        }
        tell(format_args!("guest    {}", self.guest));
        tell(format_args!("limits   {}", self.limits));
        tell(format_args!("ready    in {} ms   Ctrl-C drains", began.elapsed().as_millis()));
    }
}

/// What a guest is called, which one it is, and what it may do.
fn guest_line(name: &str, inspection: &Inspection) -> String {
    let imports = match inspection.imports.len() {
        0 => "nothing".to_owned(),
        count => format!("{count} interfaces of an empty WASI"),
    };
    let sha256 = &inspection.sha256;
    format!("{name} {}...{}   imports: {imports}", &sha256[..4], &sha256[sha256.len() - 2..])
}

fn say_summary(summary: &Summary) {
    let Summary { clients, bytes_out, guest_failures, cut_off, turned_away } = summary;
    let mut line = format!("{clients} clients, {} out", Size(*bytes_out));
    for (count, what) in [(guest_failures, "ended by their guest"), (turned_away, "turned away")] {
        if *count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    tell_in_passing(format!("{line}, {cut_off} cut off"));
}

/// What to ask a folder for: the folder, where that is answered, or else one of the files in it.
fn example(serve: &Serve) -> String {
    let folder = serve.source();
    if serve.lists() || folder.join("index.html").is_file() {
        return String::new();
    }
    let files = folder.read_dir().into_iter().flatten().flatten().take(1_000).filter(|entry| entry.path().is_file());
    let names = files.map(|entry| entry.file_name()).filter(|name| !name.as_bytes().starts_with(b"."));
    names.min().map_or_else(String::new, |name| url_path(name.as_bytes()))
}

/// A name as it is written in a URL.
fn url_path(name: &[u8]) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encode(name, KEPT).to_string()
}

/// The name in the same folder that is most like one that is not there.
fn similar(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_string_lossy().into_owned();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names = folder.read_dir().ok()?.filter_map(|entry| Some(entry.ok()?.file_name()));
    names
        .filter(|name| !name.as_bytes().starts_with(b"."))
        .map(|name| name.to_string_lossy().into_owned())
        .map(|name| (strsim::jaro_winkler(&wanted, &name), name))
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| folder.join(name).display().to_string().trim_start_matches("./").to_owned())
}
