//! `multiclient SOURCE [URL]`: serves until a signal stops it.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use multiclient::journal::{Log, Silent, Size, Took};
use multiclient::{Guest, Journal, Limits, Running, Server, Summary};

use crate::args::{LogFormat, Serve};
use crate::bind::{self, Bound};
use crate::failure::Failure;
use crate::guests;
use crate::log_file::LogFile;
use crate::options;
use crate::output::{report, report_in_passing};
use crate::pid_file::PidFile;
use crate::signals::{self, AtStart, Signal};
use crate::startup::{self, Introduction, Shortage, guest_line};

/// How often the file of a guest is looked at, with `--watch`.
const WATCH: Duration = Duration::from_millis(500);

/// How often a drain looks whether it is over, or is to be cut short.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// Exit code where clients were cut off.
const CUT_OFF: u8 = 3;

/// Serves until a signal stops it.
pub(crate) fn serve(flags: &Serve, began: Instant, at_start: AtStart) -> Result<ExitCode, Failure> {
    options::check(flags)?;
    // Before there is anything to clean up: a signal that nobody waits for ends the process at once.
    let signals = signals::listen(at_start).map_err(Failure::host)?;
    let limits = fit_descriptors(flags);
    let Bound { listeners, unix_paths, missing } = bind::bind(flags)?;
    for address in missing {
        note(flags, &format!("note     not listening on {address}: this machine does not have that address"));
    }
    // What only root may do is done by now, but for these two.
    let _pid_file = flags.operation.pid_file.as_deref().map(PidFile::write).transpose()?;
    let log = Logging::open(flags)?;
    if let Some(account) = &flags.operation.user {
        account.assume()?;
    }
    let sources = options::sources(flags)?;
    // Before the guest is read: what changes from here on is a change.
    let watched = Watched::new(flags);
    let guest = fit_address_space(flags, limits)?;
    let limits = guest.limits().clone();
    let guest_line = guest_line(&guests::name(&flags.guest), &guest.inspect());
    let introduction = Introduction::new(flags, &sources, guest_line, &limits);
    let mut server = Server::new(guest, sources).settings(options::settings(flags)).journal(log.journal());
    server = guests::with_index(server, &flags.live)?;
    if let Some(capsules) = options::capsules(flags)? {
        server = server.capsules(capsules);
    }
    let server = server.start(listeners).context("the server cannot start").map_err(Failure::host)?;
    if !flags.operation.quiet {
        introduction.print(&server, flags, began);
    }
    Operation { flags, server: &server, limits: &limits, log: &log, watched }.run(&signals);
    // While they are still listened on: later they may be the next server's.
    drop(unix_paths);
    let summary = drain(server, &signals, flags);
    log.flush();
    if !flags.operation.quiet {
        report_in_passing(describe(&summary));
    }
    Ok(if summary.cut_off > 0 { ExitCode::from(CUT_OFF) } else { ExitCode::SUCCESS })
}

fn note(flags: &Serve, line: &str) {
    if !flags.operation.quiet {
        report(format_args!("{line}"));
    }
}

/// The limits of the command line, for as many clients as there are descriptors for.
fn fit_descriptors(flags: &Serve) -> Limits {
    let mut limits = options::limits(flags);
    let room = startup::room_for_clients(startup::raise_descriptor_limit(), limits.reserve);
    if room < limits.max_clients {
        note(flags, &Shortage::Descriptors.note(room, limits.max_clients));
        limits.max_clients = room;
    }
    limits
}

/// The guest, for as many clients as there is address space for.
fn fit_address_space(flags: &Serve, limits: Limits) -> Result<Guest, Failure> {
    let asked = limits.max_clients;
    let guest = guests::load_fitting(&flags.guest, limits)?;
    let clients = guest.limits().max_clients;
    if clients < asked {
        note(flags, &Shortage::AddressSpace.note(clients, asked));
    }
    Ok(guest)
}

/// Where the log goes.
struct Logging {
    log: Option<Arc<Log>>,
    file: Option<LogFile>,
    /// Whether those who read the log read notices there, and not on standard error.
    takes_notices: bool,
}

impl Logging {
    fn open(flags: &Serve) -> Result<Self, Failure> {
        let operation = &flags.operation;
        let Some(format) = options::log_format(flags) else {
            return Ok(Self { log: None, file: None, takes_notices: false });
        };
        let open = |path: &PathBuf| LogFile::open(path, operation.user.as_ref());
        let file = operation.log_file.as_ref().map(open).transpose()?;
        let log = match &file {
            Some(file) => Log::new(format, file.clone()),
            None => Log::new(format, io::stderr()),
        };
        let log = Arc::new(log.map_err(|error| Failure::new(format!("the log cannot start: {error}")))?);
        let takes_notices = match operation.log {
            LogFormat::Json => true,
            // It has lines for requests only.
            LogFormat::Combined | LogFormat::Off => false,
            LogFormat::Text => file.is_some(),
        };
        Ok(Self { log: Some(log), file, takes_notices })
    }

    fn journal(&self) -> Arc<dyn Journal> {
        match &self.log {
            Some(log) => Arc::<Log>::clone(log),
            None => Arc::new(Silent),
        }
    }

    /// Tells the operator something while the server runs.
    fn notice(&self, text: String) {
        match &self.log {
            Some(log) if self.takes_notices => log.notice(&text.replace("\n  ", "; ")),
            _ => report_in_passing(text),
        }
    }

    fn reopen(&self) {
        if let Some(Err(failure)) = self.file.as_ref().map(LogFile::reopen) {
            self.notice(format!("{failure}\n  the log goes on in the old file"));
        }
    }

    fn flush(&self) {
        if let Some(log) = &self.log {
            log.flush();
        }
    }
}

/// The file of a guest, and how it was when it was last loaded.
struct Watched {
    path: Option<PathBuf>,
    seen: Option<Fingerprint>,
}

/// What of a file is different when it has changed.
type Fingerprint = (SystemTime, u64, u64);

impl Watched {
    fn new(flags: &Serve) -> Self {
        let mut watched = Self { path: flags.guest.guest.clone(), seen: None };
        watched.seen = watched.fingerprint();
        watched
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        let metadata = self.path.as_ref()?.metadata().ok()?;
        Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
    }

    /// Whether the file is another than when this was last asked.
    fn has_changed(&mut self) -> bool {
        let now = self.fingerprint();
        // A file that is gone is about to come back.
        let has_changed = now.is_some() && now != self.seen;
        if has_changed {
            self.seen = now;
        }
        has_changed
    }
}

/// A server that runs, and what is done about signals meanwhile.
struct Operation<'a> {
    flags: &'a Serve,
    server: &'a Running,
    limits: &'a Limits,
    log: &'a Logging,
    watched: Watched,
}

impl Operation<'_> {
    /// Runs until a signal asks for the end.
    fn run(mut self, signals: &mpsc::Receiver<Signal>) {
        loop {
            match signals.recv_timeout(WATCH) {
                // The sender lives as long as the process.
                Ok(Signal::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Ok(Signal::Reload) => {
                    self.log.reopen();
                    self.swap_guest();
                }
                Ok(Signal::ReopenLog) => self.log.reopen(),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if self.flags.sandbox.watch && self.watched.has_changed() {
                        self.swap_guest();
                    }
                }
            }
        }
    }

    /// Serves new clients through the guest as its file is now, and says so. A bad one is refused, and the old
    /// one kept.
    fn swap_guest(&self) {
        let loaded = guests::load(&self.flags.guest, self.limits.clone()).and_then(guests::check_memory);
        let swapped = loaded.and_then(|guest| {
            let line = guest_line(&guests::name(&self.flags.guest), &guest.inspect());
            self.server.replace_guest(guest).map_err(Failure::host)?;
            Ok(line)
        });
        self.log.notice(match swapped {
            Ok(line) => format!("guest    {line}   for new clients from now on"),
            Err(failure) => format!("{failure}\n  the guest stays as it is"),
        });
    }
}

/// Drains, and cuts off at the deadline or at a second signal.
fn drain(server: Running, signals: &mpsc::Receiver<Signal>, flags: &Serve) -> Summary {
    let patience = flags.operation.drain;
    server.drain();
    if !flags.operation.quiet && !server.wait(Duration::ZERO) {
        report_in_passing(format!("draining for up to {}; Ctrl-C again cuts off", Took(patience)));
    }
    let deadline = Instant::now() + patience;
    while !server.wait(DRAIN_LOOK) {
        if Instant::now() >= deadline || signals.try_iter().any(|signal| signal == Signal::Stop) {
            break;
        }
    }
    server.stop(Duration::ZERO)
}

fn describe(summary: &Summary) -> String {
    let Summary { clients, bytes_out, guest_failures, cut_off, rejected, displaced, .. } = summary;
    let mut line = format!("{clients} clients, {} out", Size(*bytes_out));
    let counts = [(guest_failures, "failed by their guest"), (rejected, "rejected"), (displaced, "displaced")];
    for (count, what) in counts {
        if *count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    format!("{line}, {cut_off} cut off")
}
