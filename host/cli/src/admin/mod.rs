//! `--admin`: metrics, readiness, and a page that shows the clients, for the operator of this machine.
//!
//! It is a second server of the library, with guests of its own: each connection gets a fresh instance of the
//! built-in guest, over sources that are made in memory when somebody asks for them.
//!
//! Rules: the host learns no HTTP for it; nothing of it can be reached from another machine; a server without
//! `--admin` counts and keeps nothing of this.

mod counts;
mod events;
mod files;
mod metrics;
mod process;
mod view;
mod watched;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use multiclient::{Guest, Journal, Limits, Running, Server, Settings, Sources};

use self::counts::Counts;
use self::events::Events;
use self::files::Files;
use self::process::Process;
use self::watched::Watched;
use crate::address::Address;
use crate::args::Serve;
use crate::bind::{self, UnixPaths};
use crate::failure::Failure;
use crate::passed::Passed;

/// Clients of the operator at once: a few browsers, a few that collect metrics.
const CLIENTS: u32 = 32;

/// The memory of all of them.
const TOTAL_MEMORY: u64 = 64 << 20;

/// What responses may load and run: nothing from elsewhere, and no script but the page's own file.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Who may connect to a unix socket, where the operator does not say it: its owner.
const MODE: u32 = 0o600;

/// What is bound and opened before the walls.
pub(crate) struct Admin {
    listeners: Vec<OwnedFd>,
    unix_paths: UnixPaths,
    counts: Arc<Counts>,
    process: Process,
}

/// The server for the operator.
pub(crate) struct Serving {
    server: Running,
    watched: Arc<Watched>,
    unix_paths: UnixPaths,
}

impl Admin {
    /// Listens where `--admin` says. None: it says nothing.
    pub(crate) fn bind(flags: &Serve, passed: &mut Passed) -> Result<Option<Self>, Failure> {
        let Some(address) = &flags.operation.admin else { return Ok(None) };
        let mut unix_paths = UnixPaths::default();
        let bound = match address {
            Address::Unix(unix) => {
                let mut unix = unix.clone();
                unix.access.mode.get_or_insert(MODE);
                unix_paths.bind(&unix, passed).map(|listener| vec![listener])
            }
            Address::Tcp(tcp) => bind::bind_tcp(tcp, passed).map(|(listeners, _)| listeners),
            Address::Passed => unreachable!("the parser of the flag takes no such address"),
        };
        let listeners = bound.map_err(|error| Failure::bind(address, &error, flags.source()))?;
        let process = Process::open().context("cannot open /proc/self/stat, for --admin").map_err(Failure::host)?;
        Ok(Some(Self { listeners, unix_paths, counts: Arc::default(), process }))
    }

    /// The sockets that it listens on.
    pub(crate) fn listeners(&self) -> &[OwnedFd] {
        &self.listeners
    }

    /// Paths of unix sockets that will be removed.
    pub(crate) fn unix_paths(&self) -> &UnixPaths {
        &self.unix_paths
    }

    /// Has the server for clients count and keep what is shown of it.
    pub(crate) fn observe(&self, server: Server, journal: Arc<dyn Journal>) -> Server {
        server.journal(self.counts.and(journal)).observed()
    }

    /// Starts to show `server`, which serves clients within these limits.
    pub(crate) fn start(self, server: &Running, limits: &Limits) -> Result<Serving, Failure> {
        let Self { listeners, unix_paths, counts, process } = self;
        let watched = Arc::new(Watched {
            observer: server.observer(),
            limits: limits.clone(),
            counts,
            process,
            began: SystemTime::now(),
            is_ready: AtomicBool::new(true),
        });
        let started = serve(listeners, &watched).context("the server for --admin cannot start");
        Ok(Serving { server: started.map_err(Failure::host)?, watched, unix_paths })
    }
}

fn serve(listeners: Vec<OwnedFd>, watched: &Arc<Watched>) -> anyhow::Result<Running> {
    let mut limits = Limits::default();
    (limits.max_clients, limits.reserve, limits.per_address) = (CLIENTS, 4, None);
    limits.total_memory = Some(TOTAL_MEMORY);
    let mut settings = Settings::default();
    let own = [("Content-Security-Policy", POLICY), ("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer")];
    settings.headers = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let events = Events::start(Arc::clone(watched))?;
    let files = Sources::custom(Files::new(Arc::clone(watched), events)?);
    Ok(Server::new(Guest::built_in(limits)?, files).settings(settings).loops(1).start(listeners)?)
}

impl Serving {
    /// Where to find it, for the start-up text.
    pub(crate) fn places(&self) -> Vec<String> {
        let tcp = self.server.addresses().iter().map(|address| format!("http://{address}/     this machine only"));
        tcp.chain(self.unix_paths.iter().map(|path| format!("unix:{}", path.display()))).collect()
    }

    /// Says from now on that the server should get no new clients.
    pub(crate) fn set_not_ready(&self) {
        self.watched.is_ready.store(false, Ordering::Relaxed);
    }

    /// Leaves new connections to another server, which listens on the same sockets.
    pub(crate) fn leave(&mut self) {
        self.server.drain();
        std::mem::take(&mut self.unix_paths).leave();
    }

    /// Stops, when everything else has.
    pub(crate) fn stop(self) {
        let Self { server, unix_paths, .. } = self;
        // While it is still listened on: later it may be the next server's.
        drop(unix_paths);
        server.end_streams();
        server.stop(Duration::from_millis(100));
    }
}
