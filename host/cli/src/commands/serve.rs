//! `multiclient SOURCE [URL]`: serves until a signal stops it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use multiclient::journal::{Format, Log, Silent};
use multiclient::listen::Listener;
use multiclient::{Capsules, Guest, Index, Journal, Limits, Running, Server, Sources, Tls};

use crate::admin::{self, Admin};
use crate::args::{IndexFrom, LogFormat, Serve};
use crate::bind::{self, Bound, UnixPaths};
use crate::certificates;
use crate::failure::Failure;
use crate::guests::{self, Component, Loading};
use crate::listening::Manner;
use crate::log_file::LogFile;
use crate::manager::Manager;
use crate::options;
use crate::output::{report, report_in_passing};
use crate::pid_file::PidFile;
use crate::signals::{self, AtStart, Signal};
use crate::startup::{self, Introduction, Shortage, guest_line};
use crate::takeover::Takeover;
use crate::walls;
use crate::watched::Watched;

use super::stopping::{self, Stopping};

/// How often files are looked at, with `--watch`.
const WATCH: Duration = Duration::from_millis(500);

/// Exit code where clients were cut off.
const CUT_OFF: u8 = 3;

/// Serves until a signal stops it.
pub(crate) fn serve(flags: &Serve, began: Instant, at_start: AtStart) -> Result<ExitCode, Failure> {
    options::check(flags)?;
    // Before there is anything to clean up: a signal that nobody waits for ends the process at once.
    let signals = signals::catch(at_start).map_err(Failure::host)?;
    let limits = fit_descriptors(flags);
    let Sockets { listeners, unix_paths, admin, takeover } = Sockets::bind(flags)?;
    // What only root may do is done by now, but for these two.
    let _pid_file = flags.operation.pid_file.as_deref().map(PidFile::write).transpose()?;
    let log = LogTarget::open(flags)?;
    let certificates = Reloading::open(flags, &listeners)?;
    note_exposed_keys(flags);
    let manners = certificates::of_tcp(&listeners);
    let listeners = certificates::listeners(listeners, certificates.tls.as_ref());
    let manager = manager(flags);
    if let Some(account) = &flags.operation.user {
        account.assume()?;
    }
    let opened = Opened::open(flags)?;

    // The walls hold for this thread and all that it starts. So far there is no other, and must not be.
    let walls = walls::plan(flags, &opened.sources, &unix_paths, (admin.as_ref(), takeover.as_ref())).raise_files();
    let walls = walls.map_err(|missing| Failure::wall(&missing))?;
    let (wake, signals) = signals.listen().map_err(Failure::host)?;
    let log = log.start(flags)?;
    let Some(loaded) = opened.load(flags, limits, &log, (&wake, &signals))? else { return Ok(ExitCode::SUCCESS) };
    let Started { server, introduction, limits, watched } = loaded.start(flags, listeners, &log, admin.as_ref())?;
    let admin = admin.map(|admin| admin.start(&server, &limits)).transpose()?;
    let introduction = introduction.reached_at(&server, flags, &manners).with_tls(flags, certificates.tls.as_ref());
    let introduction = introduction.shown_at(admin.as_ref().map_or_else(Vec::new, admin::Serving::places));
    let walls = walls.raise_calls().map_err(|missing| Failure::wall(&missing))?;
    if !flags.operation.quiet {
        introduction.print(&walls, began);
    }
    let offering = takeover.map(|takeover| takeover.ready(wake.clone())).transpose()?;
    manager.ready(introduction.status());

    let (loading, is_outdated) = (None, false);
    let operation = Operation {
        flags,
        server: &server,
        limits: &limits,
        log: &log,
        manager: (&manager, introduction.status()),
        wake,
        watched,
        certificates,
        loading,
        is_outdated,
    };
    operation.run(&signals);
    let summary = Stopping { flags, server, admin, unix_paths, manager: &manager, offering }.run(&signals);
    log.flush();
    if !flags.operation.quiet {
        report_in_passing(stopping::describe(&summary));
    }
    Ok(if summary.cut_off > 0 { ExitCode::from(CUT_OFF) } else { ExitCode::SUCCESS })
}

/// What a server listens on.
struct Sockets<'a> {
    listeners: Vec<(OwnedFd, Manner)>,
    unix_paths: UnixPaths,
    admin: Option<Admin>,
    takeover: Option<Takeover<'a>>,
}

impl<'a> Sockets<'a> {
    fn bind(flags: &'a Serve) -> Result<Self, Failure> {
        let (mut takeover, mut passed) = Takeover::meet(flags)?;
        let Bound { listeners, unix_paths, missing } = bind::bind(flags, &mut passed)?;
        for address in missing {
            note(flags, &format!("note     not listening on {address}: this machine does not have that address"));
        }
        let admin = Admin::bind(flags, &mut passed)?;
        if let Some(takeover) = &mut takeover {
            let all = listeners.iter().map(|(listener, _)| listener).chain(admin.iter().flat_map(Admin::listeners));
            takeover.keep(&mut passed, all)?;
        }
        Ok(Self { listeners, unix_paths, admin, takeover })
    }
}

/// What a server opens before the walls, as the user that it runs as.
struct Opened {
    sources: Sources,
    capsules: Option<Capsules>,
    watched: Watched,
    guest: Option<Component>,
    index: Option<Component>,
    /// Threads that serve: asked for here, because the answer depends on files of the control group.
    loops: usize,
}

/// A server that has started.
struct Started {
    server: Running,
    introduction: Introduction,
    limits: Limits,
    watched: Watched,
}

impl Opened {
    fn open(flags: &Serve) -> Result<Self, Failure> {
        let sources = options::sources(flags)?;
        if flags.operation.takeover.is_some() && sources.is_live() && !sources.paths().is_empty() {
            let failure = Failure::usage("--takeover cannot serve a FIFO: two servers would each read half of it");
            return Err(failure.next("pipe the producer into the server"));
        }
        Ok(Self {
            sources,
            // Before the guest is read: what changes from here on is a change.
            watched: Watched::new(flags.guest.guest.clone()),
            guest: guests::read(&flags.guest)?,
            index: guests::read_index(&flags.live)?,
            capsules: options::capsules(flags)?,
            loops: thread::available_parallelism().map_or(1, usize::from),
        })
    }

    /// Loads guest and index. None: a signal has asked for the end meanwhile.
    fn load(
        self,
        flags: &Serve,
        limits: Limits,
        log: &Logging,
        (wake, signals): (&mpsc::Sender<Signal>, &mpsc::Receiver<Signal>),
    ) -> Result<Option<Loaded>, Failure> {
        let Self { sources, capsules, watched, guest, index, loops } = self;
        let is_compiled = guest.is_some() || index.is_some();
        let (asked, guest_flags) = (limits.max_clients, flags.guest.clone());
        let load = move || Ok((guests::load_fitting(guest, &guest_flags, limits)?, guests::load_index(index)?));
        let loaded = if is_compiled {
            let loading = Loading::start(wake, load)?;
            loop {
                match signals.recv() {
                    Ok(Signal::Loaded) => break loading.get()?,
                    Ok(Signal::Stop) | Err(mpsc::RecvError) => return Ok(None),
                    // The guest was read a moment ago, and nobody can take over yet.
                    Ok(Signal::Reload | Signal::ReopenLog | Signal::TakenOver) => log.reopen(),
                }
            }
        } else {
            // What is built in is loaded in a moment.
            load()
        };
        let (guest, index) = loaded?;
        let clients = guest.limits().max_clients;
        if clients < asked {
            note(flags, &Shortage::AddressSpace.note(clients, asked));
        }
        Ok(Some(Loaded { sources, capsules, watched, guest, index, loops }))
    }
}

/// The same with everything compiled.
struct Loaded {
    sources: Sources,
    capsules: Option<Capsules>,
    watched: Watched,
    guest: Guest,
    index: Option<Index>,
    loops: usize,
}

impl Loaded {
    fn start(
        self,
        flags: &Serve,
        listeners: Vec<Listener>,
        log: &Logging,
        admin: Option<&Admin>,
    ) -> Result<Started, Failure> {
        let Self { sources, capsules, watched, guest, index, loops } = self;
        let limits = guest.limits().clone();
        let guest_line = guest_line(&guests::name(&flags.guest), &guest);
        let introduction = Introduction::new(flags, &sources, guest_line, &limits);
        let server = Server::new(guest, sources).settings(options::settings(flags));
        let server = match admin {
            Some(admin) => admin.observe(server, log.journal()),
            None => server.journal(log.journal()),
        };
        let mut server = match (index, &flags.live.index) {
            (Some(index), _) => server.index(index),
            (None, Some(IndexFrom::Off)) => server.without_index(),
            (None, _) => server,
        };
        if let Some(capsules) = capsules {
            server = server.capsules(capsules);
        }
        let server = server.loops(loops).start(listeners).context("the server cannot start").map_err(Failure::host)?;
        Ok(Started { server, introduction, limits, watched })
    }
}

fn note_exposed_keys(flags: &Serve) {
    for key in certificates::exposed_keys(flags) {
        let key = key.display();
        note(flags, &format!("note     everybody on this machine can read {key}\n  `chmod o-r {key}`"));
    }
}

/// Who is told what the server does.
fn manager(flags: &Serve) -> Manager {
    Manager::of_environment().unwrap_or_else(|error| {
        note(flags, &format!("note     cannot tell the service manager anything: {error}"));
        Manager::NONE
    })
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

/// Where the log will go.
struct LogTarget {
    format: Option<Format>,
    file: Option<LogFile>,
}

impl LogTarget {
    fn open(flags: &Serve) -> Result<Self, Failure> {
        let operation = &flags.operation;
        let format = options::log_format(flags);
        let open = |path: &PathBuf| LogFile::open(path, operation.user.as_ref());
        let file = operation.log_file.as_ref().filter(|_| format.is_some()).map(open).transpose()?;
        Ok(Self { format, file })
    }

    /// Starts the thread that writes.
    fn start(self, flags: &Serve) -> Result<Logging, Failure> {
        let Self { format, file } = self;
        let log = format.map(|format| match &file {
            Some(file) => Log::new(format, file.clone()),
            None => Log::new(format, io::stderr()),
        });
        let log = log.transpose().context("the log cannot start").map_err(Failure::host)?;
        let takes_notices = match flags.operation.log {
            LogFormat::Json => true,
            // It has lines for requests only.
            LogFormat::Combined | LogFormat::Off => false,
            LogFormat::Text => file.is_some(),
        };
        Ok(Logging { log: log.map(Arc::new), file, takes_notices })
    }
}

/// Where the log goes.
struct Logging {
    log: Option<Arc<Log>>,
    file: Option<LogFile>,
    /// Whether those who read the log read notices there, and not on standard error.
    takes_notices: bool,
}

impl Logging {
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

/// Certificates that are read again while the server runs.
struct Reloading {
    tls: Option<Tls>,
    watched: Watched,
    /// Whether a file has changed and others may follow it: a key comes with its certificate.
    is_settling: bool,
}

impl Reloading {
    fn open(flags: &Serve, listeners: &[(OwnedFd, Manner)]) -> Result<Self, Failure> {
        // Before they are read: what changes from here on is a change.
        let watched = Watched::new(flags.tls.cert.iter().chain(&flags.tls.key).cloned());
        Ok(Self { tls: certificates::open(flags, listeners)?, watched, is_settling: false })
    }

    /// Reads certificates again that have changed, once nothing changes any more.
    fn look(&mut self, log: &Logging) {
        if self.watched.has_changed() {
            self.is_settling = true;
        } else if self.is_settling {
            self.reload(log);
        }
    }

    /// Reads certificates and keys again, and says so. Bad ones are refused, and the old ones kept.
    fn reload(&mut self, log: &Logging) {
        self.is_settling = false;
        let Some(tls) = self.tls.as_ref().filter(|tls| !tls.is_in_memory()) else { return };
        log.notice(match tls.reload() {
            Ok(()) => format!("tls      certificates read again; the first has SHA-256 {}", tls.fingerprint()),
            Err(error) => format!("{error}\n  the certificates stay as they are"),
        });
    }
}

/// A server that runs, and what is done about signals meanwhile.
struct Operation<'a> {
    flags: &'a Serve,
    server: &'a Running,
    limits: &'a Limits,
    log: &'a Logging,
    /// The service manager, and what it is told when the server is ready again.
    manager: (&'a Manager, &'a str),
    wake: mpsc::Sender<Signal>,
    watched: Watched,
    certificates: Reloading,
    /// The guest that takes the place of the one that serves, and whether there is a newer one by now.
    loading: Option<Loading<Result<Guest, Failure>>>,
    is_outdated: bool,
}

impl Operation<'_> {
    /// Runs until a signal asks for the end.
    fn run(mut self, signals: &mpsc::Receiver<Signal>) {
        loop {
            match signals.recv_timeout(WATCH) {
                // The sender lives as long as the process.
                Ok(Signal::Stop | Signal::TakenOver) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Ok(Signal::Reload) => {
                    self.manager.0.reloading();
                    self.log.reopen();
                    self.certificates.reload(self.log);
                    self.reload_guest();
                    self.tell_ready();
                }
                Ok(Signal::Loaded) => {
                    self.swap_guest();
                    self.tell_ready();
                }
                Ok(Signal::ReopenLog) => self.log.reopen(),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if self.flags.sandbox.watch {
                        self.look();
                    }
                }
            }
        }
    }

    /// What `--watch` does.
    fn look(&mut self) {
        if self.watched.has_changed() {
            self.load_guest();
        }
        self.certificates.look(self.log);
    }

    /// Tells the service manager that a reload is over, if it is.
    fn tell_ready(&self) {
        if self.loading.is_none() {
            let (manager, status) = self.manager;
            manager.ready(status);
        }
    }

    /// What SIGHUP asks for. The built-in guest has no file that could have changed.
    fn reload_guest(&mut self) {
        match (walls::reloaded_guest(self.flags), &self.flags.guest.guest) {
            (Some(_), _) => self.load_guest(),
            (None, Some(_)) => self.log.notice(
                "the guest stays as it is: behind `--walls strict` no other can be loaded\n  restart the server".into(),
            ),
            (None, None) => {}
        }
    }

    /// Begins to load the guest as its file is now. One at a time: compiling takes a core and much memory.
    fn load_guest(&mut self) {
        self.is_outdated = self.loading.is_some();
        if self.is_outdated {
            return;
        }
        let (flags, limits) = (self.flags.guest.clone(), self.limits.clone());
        let load = move || guests::load(&flags, limits).and_then(guests::check_memory);
        match Loading::start(&self.wake, load) {
            Ok(loading) => self.loading = Some(loading),
            Err(failure) => self.tell_swapped(Err(failure)),
        }
    }

    /// Serves new clients through the guest that was loaded, and says so. A bad one is refused, and the old one
    /// kept.
    fn swap_guest(&mut self) {
        let Some(loading) = self.loading.take() else { return };
        let swapped = loading.get().flatten().and_then(|guest| {
            let line = guest_line(&guests::name(&self.flags.guest), &guest);
            self.server.replace_guest(guest).map_err(Failure::host)?;
            Ok(line)
        });
        self.tell_swapped(swapped);
        if self.is_outdated {
            self.load_guest();
        }
    }

    fn tell_swapped(&self, swapped: Result<String, Failure>) {
        self.log.notice(match swapped {
            Ok(line) => format!("guest    {line}   for new clients from now on"),
            Err(failure) => format!("{failure}\n  the guest stays as it is"),
        });
    }
}
