//! What the user said, checked once: flags and their environment variables, addresses, sizes, times; and
//! what to say when something of it cannot be.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::{Parser, Subcommand, ValueEnum};
use multiclient::journal::{Format, Size};
use multiclient::{
    Capsule, CapsuleError, Capsules, Grant, Guest, GuestError, Inspection, Join, Limits, Live, Settings, SourceError,
    Sources,
};
use multiclient_isolate::{Claim, Pace, Plan};

use crate::health::Ill;
use crate::similar;

/// Serves files, folders and live media over HTTP to many clients, each in a fresh WebAssembly sandbox.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: Serve,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell what a guest may do
    Inspect {
        /// A component; without one, the guest that is built in
        guest: Option<PathBuf>,
    },
    /// Write the built-in guest, for other hosts of components
    Guest {
        /// Where to, as in multiclient-session.wasm
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Live a recorded client's life again, without network
    Replay(Replay),
    /// Prove on this machine that one client cannot touch another
    Isolate(Isolate),
    /// Ask a server whether it is well: it answers in time, and not with 500 or above
    Health(Health),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Health {
    /// Where it listens: http://HOST:PORT, HOST:PORT, :PORT, PORT, unix:PATH
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = Address::parse)]
    pub(crate) url: Address,

    /// Time for it to answer
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Isolate {
    /// File or folder for the clients to ask for; without one, files that are made for it
    source: Option<PathBuf>,

    /// Look for a quarter of a minute instead of a whole one
    #[arg(long)]
    quick: bool,

    /// What all random choices are made from; without one, the time
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Try this claim only (repeatable): crash, hang, memory, handles, data, bandwidth, floods, authority, remains, bytes, live
    #[arg(long, value_name = "CLAIM", value_delimiter = ',')]
    only: Vec<Claim>,

    /// The handler to try; without one, the guest that is built in
    #[arg(long, value_name = "FILE", env = "MULTICLIENT_GUEST")]
    guest: Option<PathBuf>,

    /// Grant that handler something beyond an empty WASI (repeatable)
    #[arg(
        long,
        value_name = "WHAT",
        env = "MULTICLIENT_ALLOW",
        hide_short_help = true,
        value_delimiter = ',',
        requires = "guest"
    )]
    allow: Vec<Allow>,

    /// Report as JSON, on stdout
    #[arg(long)]
    pub(crate) json: bool,

    /// Write a report for CI here
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,

    /// Write a page for people here
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

impl Isolate {
    pub(crate) fn plan(&self) -> Result<Plan, Failure> {
        if let Some(source) = &self.source {
            Sources::at(source).map_err(|error| Failure::source(&error))?;
        }
        let guest = match &self.guest {
            Some(path) => {
                let component = std::fs::read(path).map_err(|error| Failure::file(path, &error))?;
                let grants = grants(&self.allow);
                // What is wrong with it is said here; to try it, it is compiled again.
                let one = Limits { clients: 1, ..Limits::default() };
                Guest::foreign(component.clone(), &one, &grants).map_err(|error| Failure::guest(path, &error))?;
                Some((component, grants))
            }
            None => None,
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(Plan {
            source: self.source.clone(),
            guest,
            only: self.only.clone(),
            pace: if self.quick { Pace::Quick } else { Pace::Thorough },
            seed: self.seed.unwrap_or(now.as_secs()),
            ..Plan::default()
        })
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    /// A file that --capsules has written
    capsule: PathBuf,

    /// The handler to do it with; without one, the guest that is built in
    #[arg(long, value_name = "FILE", env = "MULTICLIENT_GUEST")]
    guest: Option<PathBuf>,

    /// Grant that handler something beyond an empty WASI (repeatable)
    #[arg(
        long,
        value_name = "WHAT",
        env = "MULTICLIENT_ALLOW",
        hide_short_help = true,
        value_delimiter = ',',
        requires = "guest"
    )]
    allow: Vec<Allow>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// What to serve: a file, a folder, a FIFO, - (stdin), or as FFmpeg spells it: file:, pipe:, concat:, subfile, data:
    #[arg(required = true)]
    source: Option<OsString>,

    /// Where to listen: http://HOST:PORT, HOST:PORT, :PORT, PORT (this machine only; 0: any free one), unix:PATH,
    /// systemd: (the sockets of its socket unit)
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = Address::parse)]
    url: Address,

    /// Listen here too (repeatable)
    #[arg(long, value_name = "URL", value_parser = Address::parse, env = "MULTICLIENT_LISTEN", hide_short_help = true, value_delimiter = ',')]
    listen: Vec<Address>,

    /// URL path of a single file, instead of its name
    #[arg(long = "as", value_name = "PATH", env = "MULTICLIENT_AS", hide_short_help = true, help_heading = "Content")]
    name: Option<String>,

    /// Media type of a single file, instead of what its name says
    #[arg(long = "type", value_name = "MIME", env = "MULTICLIENT_TYPE", hide_short_help = true, help_heading = "Content", value_parser = visible)]
    media_type: Option<String>,

    /// Treat files as growing that are still being written: send what is there, and then what comes
    #[arg(long, env = "MULTICLIENT_FOLLOW", value_parser = clap::builder::BoolishValueParser::new(), help_heading = "Content")]
    follow: bool,

    /// Time without growth after which such a file is complete
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time, env = "MULTICLIENT_FOLLOW_IDLE", hide_short_help = true, help_heading = "Content")]
    follow_idle: Duration,

    /// List folders that have no index: HTML, or JSON for a client that asks for it
    #[arg(long, env = "MULTICLIENT_LIST", value_parser = clap::builder::BoolishValueParser::new(), help_heading = "Content")]
    list: bool,

    /// Add a header to every reply (repeatable)
    #[arg(short = 'H', long = "header", value_name = "K: V", value_parser = header, env = "MULTICLIENT_HEADER", help_heading = "Content")]
    headers: Vec<(String, String)>,

    /// Let scripts of other sites read replies (of ORIGIN; without a value, of any)
    #[arg(long, value_name = "ORIGIN", num_args = 0..=1, require_equals = true, default_missing_value = "*",
          env = "MULTICLIENT_CORS", value_parser = visible, help_heading = "Content")]
    cors: Option<String>,

    /// Reply as FFmpeg's example server does, wherever that is sane
    #[arg(long, env = "MULTICLIENT_COMPAT", hide_short_help = true, value_parser = clap::builder::BoolishValueParser::new(), help_heading = "Content")]
    compat: bool,

    /// Bytes that are kept of a live source, in memory
    #[arg(long, value_name = "BYTES", default_value = "16M", value_parser = size, env = "MULTICLIENT_BUFFER", hide_short_help = true, help_heading = "Live")]
    buffer: u64,

    /// Where in a live source a client begins: with the oldest byte that is kept, the newest, or --burst before it
    #[arg(
        long,
        value_name = "WHERE",
        default_value = "burst",
        env = "MULTICLIENT_JOIN",
        hide_short_help = true,
        help_heading = "Live"
    )]
    join: JoinAt,

    /// Bytes before the newest with which a client begins
    #[arg(long, value_name = "BYTES", default_value = "1M", value_parser = bytes, env = "MULTICLIENT_BURST", hide_short_help = true, help_heading = "Live")]
    burst: u64,

    /// How much further than it began a client may fall behind a live source before it is ended; 2M at least
    #[arg(long, value_name = "BYTES", default_value = "4M", value_parser = size, env = "MULTICLIENT_LAG", hide_short_help = true, help_heading = "Live")]
    lag: u64,

    /// Let the writer wait while nobody watches and the buffer is full, instead of losing the oldest bytes
    #[arg(long, env = "MULTICLIENT_HOLD", hide_short_help = true, value_parser = clap::builder::BoolishValueParser::new(), help_heading = "Live")]
    hold: bool,

    /// Time for a live or growing source to give nothing to those who wait for it
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time, env = "MULTICLIENT_SOURCE_TIMEOUT", hide_short_help = true, help_heading = "Live")]
    source_timeout: Duration,

    /// Memory of one client's guest
    #[arg(long, value_name = "BYTES", default_value = "8M", value_parser = size, env = "MULTICLIENT_MEMORY", hide_short_help = true, help_heading = "Limits")]
    memory: u64,

    /// CPU time of one client's guest for one event
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = time, env = "MULTICLIENT_CPU", hide_short_help = true, help_heading = "Limits")]
    cpu: Duration,

    /// Time for a client to send a whole request head
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time, env = "MULTICLIENT_HEADER_TIMEOUT", hide_short_help = true, help_heading = "Limits")]
    header_timeout: Duration,

    /// Time for a client to be silent between requests
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time, env = "MULTICLIENT_IDLE_TIMEOUT", hide_short_help = true, help_heading = "Limits")]
    idle_timeout: Duration,

    /// Time for a client to take nothing of what is sent to it
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time, env = "MULTICLIENT_STALL_TIMEOUT", hide_short_help = true, help_heading = "Limits")]
    stall_timeout: Duration,

    /// Bandwidth of one client, in bytes for each second [default: unlimited]
    #[arg(long, value_name = "BYTES", value_parser = rate, env = "MULTICLIENT_RATE", help_heading = "Limits")]
    rate: Option<NonZeroU64>,

    /// CPU time of one client's guest in a row without a byte moved
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time, env = "MULTICLIENT_IDLE_CPU", hide_short_help = true, help_heading = "Limits")]
    idle_cpu: Duration,

    /// Actions that a guest may ask for at once; the contract promises it 64
    #[arg(long, value_name = "COUNT", default_value = "64", value_parser = clap::value_parser!(u32).range(64..=100_000),
          env = "MULTICLIENT_MAX_ACTIONS", hide_short_help = true, help_heading = "Limits")]
    max_actions: u32,

    /// Bytes that a guest may send at once
    #[arg(long, value_name = "BYTES", default_value = "1M", value_parser = size, env = "MULTICLIENT_MAX_SEND", hide_short_help = true, help_heading = "Limits")]
    max_send: u64,

    /// Exchanges on one connection
    #[arg(long, value_name = "COUNT", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..),
          env = "MULTICLIENT_MAX_EXCHANGES", hide_short_help = true, help_heading = "Limits")]
    max_exchanges: u32,

    /// Bytes for one client that may wait in the kernel before they are on the wire
    #[arg(long, value_name = "BYTES", default_value = "256K", value_parser = size, env = "MULTICLIENT_UNSENT", hide_short_help = true, help_heading = "Limits")]
    unsent: u64,

    /// Clients at once
    #[arg(long, value_name = "COUNT", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=100_000),
          env = "MULTICLIENT_MAX_CLIENTS", help_heading = "Limits")]
    max_clients: u32,

    /// Clients at once from one address; 0: any number (127.0.0.1 and ::1 are not counted)
    #[arg(
        long,
        value_name = "COUNT",
        default_value = "128",
        env = "MULTICLIENT_PER_ADDRESS",
        hide_short_help = true,
        help_heading = "Limits",
        value_parser = unlimited
    )]
    per_address: Option<u32>,

    /// Clients beyond --max-clients that are still told that the server is full, before it closes at once
    #[arg(long, value_name = "COUNT", default_value = "16", value_parser = clap::value_parser!(u32).range(0..=10_000),
          env = "MULTICLIENT_RESERVE", hide_short_help = true, help_heading = "Limits")]
    reserve: u32,

    /// Clients of one address that may fail their guests within ten seconds, before it has to stay away for ten; 0: any number
    #[arg(
        long,
        value_name = "COUNT",
        default_value = "8",
        env = "MULTICLIENT_FAULTS",
        hide_short_help = true,
        help_heading = "Limits"
    )]
    faults: u32,

    /// Another handler: a component that exports multiclient:session/handler
    #[arg(long, value_name = "FILE", env = "MULTICLIENT_GUEST", help_heading = "Sandbox")]
    pub(crate) guest: Option<PathBuf>,

    /// Serve new clients through that file again when it changes (SIGHUP does it at any time)
    #[arg(long, env = "MULTICLIENT_WATCH", hide_short_help = true, value_parser = clap::builder::BoolishValueParser::new(), help_heading = "Sandbox")]
    pub(crate) watch: bool,

    /// Grant that handler something beyond an empty WASI (repeatable)
    #[arg(
        long,
        value_name = "WHAT",
        env = "MULTICLIENT_ALLOW",
        hide_short_help = true,
        value_delimiter = ',',
        help_heading = "Sandbox",
        requires = "guest"
    )]
    allow: Vec<Allow>,

    /// Folder for capsules: one file for each client that ended badly, for  multiclient replay
    #[arg(long, value_name = "DIR", env = "MULTICLIENT_CAPSULES", help_heading = "Sandbox")]
    capsules: Option<PathBuf>,

    /// Capsules of all clients
    #[arg(long, env = "MULTICLIENT_RECORD", hide_short_help = true, value_parser = clap::builder::BoolishValueParser::new(), help_heading = "Sandbox")]
    record: bool,

    /// Leave passwords, cookies and queries in capsules
    #[arg(long, env = "MULTICLIENT_CAPSULE_SECRETS", hide_short_help = true, value_parser = clap::builder::BoolishValueParser::new(), help_heading = "Sandbox")]
    capsule_secrets: bool,

    /// The request log, on stderr
    #[arg(long, value_name = "FORMAT", default_value = "text", env = "MULTICLIENT_LOG", help_heading = "Operation")]
    pub(crate) log: LogFormat,

    /// Say more: where in its guest a client ended
    #[arg(short, long, env = "MULTICLIENT_VERBOSE", hide_short_help = true, value_parser = clap::builder::BoolishValueParser::new(), help_heading = "Operation")]
    verbose: bool,

    /// Say nothing but errors and the log
    #[arg(short, long, env = "MULTICLIENT_QUIET", hide_short_help = true, value_parser = clap::builder::BoolishValueParser::new(), help_heading = "Operation")]
    pub(crate) quiet: bool,

    /// Time for clients to finish on SIGTERM or Ctrl-C; a second signal cuts them off
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time, env = "MULTICLIENT_DRAIN", hide_short_help = true, help_heading = "Operation")]
    drain: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Allow {
    /// To read the time
    Clocks,
    /// Random numbers
    Random,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum JoinAt {
    /// With the oldest byte that is kept
    Start,
    /// With the newest
    Edge,
    /// A little before the newest
    Burst,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for each exchange, and for each client that ended badly
    Text,
    /// A JSON object for each exchange and for each client
    Json,
    /// A line for each exchange, as Apache and nginx write it
    Combined,
    /// None
    Off,
}

impl Serve {
    pub(crate) fn source(&self) -> &Path {
        Path::new(self.source.as_ref().expect("clap demands a source where there is no other command"))
    }

    fn live(&self) -> Live {
        let join = match self.join {
            JoinAt::Start => Join::Start,
            JoinAt::Edge => Join::Edge,
            JoinAt::Burst => Join::Burst,
        };
        Live { buffer: self.buffer, join, burst: self.burst.min(self.buffer), lag: self.lag, hold: self.hold }
    }

    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        limits.max_clients = self.max_clients;
        limits.per_address = self.per_address;
        limits.reserve = self.reserve;
        limits.faults = self.faults;
        limits.memory = self.memory;
        limits.cpu = self.cpu;
        limits.idle_cpu = self.idle_cpu;
        limits.header_timeout = self.header_timeout;
        limits.idle_timeout = self.idle_timeout;
        limits.stall_timeout = self.stall_timeout;
        limits.source_timeout = self.source_timeout;
        limits.max_actions = self.max_actions;
        limits.max_send = self.max_send;
        limits.max_exchanges = self.max_exchanges;
        limits.unsent = self.unsent;
        limits.rate = self.rate;
        limits.drain = self.drain;
        limits
    }

    /// How the log looks; none: there is none.
    pub(crate) fn log_format(&self) -> Option<Format> {
        match self.log {
            LogFormat::Text if self.verbose => Some(Format::Verbose),
            LogFormat::Text => Some(Format::Text),
            LogFormat::Json => Some(Format::Json),
            LogFormat::Combined => Some(Format::Combined),
            LogFormat::Off => None,
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        settings.reports = self.log != LogFormat::Off;
        settings.listing = self.list;
        settings.compat = self.compat;
        settings.headers.clone_from(&self.headers);
        settings.cors.clone_from(&self.cors);
        settings
    }

    /// Whether folders are listed.
    pub(crate) fn lists(&self) -> bool {
        self.list
    }

    /// The guest, and what it is called at start-up.
    pub(crate) fn guest(&self, limits: &Limits) -> Result<(Guest, String), Failure> {
        // By itself such a flag may be off, by its variable: then it needs nothing beside it.
        if self.watch && self.guest.is_none() {
            return Err(Failure::usage("--watch watches the file of --guest, which is missing"));
        }
        let name = self.guest.as_ref().map_or("built in".to_owned(), |path| path.display().to_string());
        let guest = guest(self.guest.as_deref(), &self.allow, limits)?;
        match guest.inspect().memory {
            // Its tables count too.
            needs if needs >= limits.memory => Err(Failure::memory(limits.memory, needs)),
            _ => Ok((guest, name)),
        }
    }

    pub(crate) fn capsules(&self) -> Result<Option<Capsules>, Failure> {
        let Some(folder) = &self.capsules else {
            return match self.record || self.capsule_secrets {
                true => Err(Failure::usage("--record and --capsule-secrets are of --capsules, which is missing")),
                false => Ok(None),
            };
        };
        let mut capsules = Capsules::at(folder).map_err(|error| Failure::capsules(folder, &error))?;
        if self.record {
            capsules = capsules.of_all();
        }
        if self.capsule_secrets {
            capsules = capsules.with_secrets();
        }
        Ok(Some(capsules))
    }

    pub(crate) fn sources(&self) -> Result<Sources, Failure> {
        let sources = Sources::spelled(self.source().as_os_str(), &self.live());
        let mut sources = sources.map_err(|error| Failure::source(&error))?;
        if sources.only().is_none() && (self.name.is_some() || self.media_type.is_some()) {
            return Err(Failure::usage("--as and --type are for a single file, and this is a folder"));
        }
        if self.follow {
            sources = sources.follow(self.follow_idle);
        }
        if let Some(name) = &self.name {
            sources = sources.named(name).map_err(|error| Failure::source(&error))?;
        }
        if let Some(media_type) = &self.media_type {
            sources = sources.typed(media_type);
        }
        Ok(sources)
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Address> {
        std::iter::once(&self.url).chain(&self.listen)
    }
}

/// Reads what a component says of itself.
pub(crate) fn inspect(path: &Path) -> Result<Inspection, Failure> {
    let component = std::fs::read(path).map_err(|error| Failure::file(path, &error))?;
    Inspection::of(&component).map_err(|error| Failure::guest(path, &error))
}

impl Replay {
    pub(crate) fn run(&self) -> Result<multiclient::Replay, Failure> {
        let capsule = Capsule::read(&self.capsule).map_err(|error| Failure::capsule(&self.capsule, &error))?;
        let guest = guest(self.guest.as_deref(), &self.allow, &capsule.limits())?;
        Ok(capsule.replay(&Arc::new(guest)))
    }
}

/// The guest in this file, or else the one that is built in.
fn guest(path: Option<&Path>, allow: &[Allow], limits: &Limits) -> Result<Guest, Failure> {
    match path {
        Some(path) => foreign_guest(path, limits, &grants(allow)),
        None => Guest::built_in(limits).map_err(Failure::host),
    }
}

fn grants(allow: &[Allow]) -> BTreeSet<Grant> {
    let grant = |allow: &Allow| match allow {
        Allow::Clocks => Grant::Clocks,
        Allow::Random => Grant::Random,
    };
    allow.iter().map(grant).collect()
}

/// Reads and compiles a guest that is not built in.
fn foreign_guest(path: &Path, limits: &Limits, grants: &BTreeSet<Grant>) -> Result<Guest, Failure> {
    let component = std::fs::read(path).map_err(|error| Failure::file(path, &error))?;
    Guest::foreign(component, limits, grants).map_err(|error| Failure::guest(path, &error))
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// What was said, and the addresses that it stands for.
    Tcp {
        said: String,
        sockets: Vec<SocketAddr>,
    },
    Unix(PathBuf),
    /// The sockets that systemd listens on and passes.
    Passed,
}

impl Address {
    fn parse(said: &str) -> Result<Self, String> {
        match said.strip_prefix("unix:") {
            Some("") => return Err("a path is missing, as in unix:/run/m.sock".into()),
            Some(path) => return Ok(Self::Unix(path.into())),
            None if said == "systemd:" => return Ok(Self::Passed),
            None => {}
        }
        let rest = match said.split_once("://") {
            Some(("http", rest)) => rest.trim_end_matches('/'),
            Some((scheme, _)) => {
                return Err(format!("{scheme} is not spoken here; it is http://HOST:PORT, PORT or unix:PATH"));
            }
            None => said,
        };
        let sockets = if let Ok(port) = rest.parse::<u16>() {
            vec![(Ipv4Addr::LOCALHOST, port).into()]
        } else if !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("{rest} is not a port; a port is a number up to 65535"));
        } else if let Some(port) = rest.strip_prefix(':') {
            let port = port.parse().map_err(|_| format!("{port} is not a port; a port is a number up to 65535"))?;
            // `[::]` takes IPv4 too, but not every machine has IPv6.
            vec![(Ipv4Addr::UNSPECIFIED, port).into()]
        } else {
            let (_, port) = rest
                .rsplit_once(':')
                .filter(|(_, port)| !port.contains(']'))
                .ok_or("a port is missing, as in http://127.0.0.1:8080")?;
            port.parse::<u16>().map_err(|_| format!("{port} is not a port; a port is a number up to 65535"))?;
            rest.to_socket_addrs()
                .map_err(|error| format!("this machine cannot tell the address of {rest}: {error}"))?
                .collect()
        };
        Ok(Self::Tcp { said: said.to_owned(), sockets })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { said, .. } => f.write_str(said.trim_start_matches("http://").trim_end_matches('/')),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Passed => f.write_str("systemd:"),
        }
    }
}

/// `8M`, `512K`, `1G`, `65536`; at least one page of a guest.
fn size(text: &str) -> Result<u64, String> {
    match bytes(text)? {
        bytes if (1 << 16..=4 << 30).contains(&bytes) => Ok(bytes),
        _ => Err("it has to be between 64K and 4G".into()),
    }
}

/// A size in a second; slower than a modem is no use to anybody.
fn rate(text: &str) -> Result<NonZeroU64, String> {
    match NonZeroU64::new(bytes(text)?) {
        Some(rate) if rate.get() >= 1 << 10 => Ok(rate),
        _ => Err("a rate is at least 1K".into()),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches("iB").trim_end_matches(['K', 'M', 'G', 'k', 'm', 'g']);
    let shift = match text[digits.len()..].trim_end_matches("iB") {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        _ => return Err("a size is a number and K, M or G, as in 8M".into()),
    };
    let number: u64 = digits.parse().map_err(|_| "a size is a number and K, M or G, as in 8M")?;
    number.checked_mul(1 << shift).ok_or_else(|| "that is more than there is".into())
}

/// `50ms`, `10s`, `2m`, `1h`.
fn time(text: &str) -> Result<Duration, String> {
    const WRONG: &str = "a time is a number and ms, s, m or h, as in 10s";
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| WRONG)?;
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(WRONG.into()),
    };
    match number.checked_mul(unit_ms) {
        // A year is as good as for ever, and fits every clock.
        Some(ms @ 1..=31_536_000_000) => Ok(Duration::from_millis(ms)),
        _ => Err("a time is at least 1ms and at most a year".into()),
    }
}

/// Headers that the guest does not take from anybody.
const OURS: [&str; 8] = [
    "Connection",
    "Content-Encoding",
    "Content-Length",
    "Content-Range",
    "Date",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
];

/// `Name: value`.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once(':').ok_or("a header is a name, a colon and a value, as in 'X-Served-By: me'")?;
    let value = value.trim();
    if OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
        return Err(format!("{name} says where a reply ends or when it was made, which only the guest knows"));
    }
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)) {
        return Err(format!("{name:?} is not the name of a header"));
    }
    if value.contains(char::is_control) {
        return Err("a header has no control characters in its value".into());
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Text that can stand in a line of a reply.
fn visible(text: &str) -> Result<String, String> {
    if text.is_empty() || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err("it is a line of visible ASCII".into());
    }
    Ok(text.to_owned())
}

/// Why the program ends, and what the user can do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    next: Option<String>,
    pub(crate) exit_code: u8,
}

impl Failure {
    /// What nobody expected.
    pub(crate) fn host(error: impl fmt::Display) -> Self {
        Self { what: format!("{error:#}"), next: None, exit_code: 1 }
    }

    fn usage(what: &str) -> Self {
        Self { what: what.to_owned(), next: Some("see  multiclient --help".to_owned()), exit_code: 2 }
    }

    fn memory(allowed: u64, needs: u64) -> Self {
        let what = format!("--memory {} is not enough for a guest that is born with {}", Size(allowed), Size(needs));
        Self { what, next: Some(format!("try  --memory {}K", (2 * needs).div_ceil(1 << 10))), exit_code: 2 }
    }

    fn source(error: &SourceError) -> Self {
        let next = match error {
            SourceError::Missing(path) => similar(path).map(|name| format!("did you mean {name}?")),
            SourceError::NotAFile(_) => Some("serve a file, a folder or a FIFO".to_owned()),
            SourceError::Protocol(scheme) => Some(format!(
                "what there is: a path, -, file:, pipe:, concat:, subfile, data:     a file of that name is ./{scheme}:..."
            )),
            SourceError::Name(_)
            | SourceError::NoParts(_)
            | SourceError::Spelling { .. }
            | SourceError::Unreadable { .. } => None,
        };
        Self { what: error.to_string(), next, exit_code: 1 }
    }

    /// A server that is not well.
    pub(crate) fn unhealthy(address: &Address, ill: &Ill) -> Self {
        Self { what: format!("{address} {ill}"), next: None, exit_code: 1 }
    }

    /// A file that cannot be written.
    pub(crate) fn unwritable(path: &Path, error: &io::Error) -> Self {
        Self { what: format!("{} cannot be written: {error}", path.display()), next: None, exit_code: 1 }
    }

    fn file(path: &Path, error: &io::Error) -> Self {
        let (what, next) = match error.kind() {
            io::ErrorKind::NotFound => {
                ("does not exist".to_owned(), similar(path).map(|name| format!("did you mean {name}?")))
            }
            _ => (format!("cannot be read: {error}"), None),
        };
        Self { what: format!("{} {what}", path.display()), next, exit_code: 1 }
    }

    fn capsules(folder: &Path, error: &io::Error) -> Self {
        let what = format!("no capsules can be kept in {}: {error}", folder.display());
        Self { what, next: None, exit_code: 1 }
    }

    fn capsule(path: &Path, error: &CapsuleError) -> Self {
        match error {
            CapsuleError::Unreadable(error) => Self::file(path, error),
            _ => Self { what: format!("{}: {error}", path.display()), next: None, exit_code: 1 },
        }
    }

    fn guest(path: &Path, error: &GuestError) -> Self {
        let next = match error {
            GuestError::NotGranted { grant, .. } => Some(format!("grant it with  --allow {grant}")),
            GuestError::NeverGranted(_) => Some(format!("see  multiclient inspect {}", path.display())),
            GuestError::NotAComponent(_) => {
                Some("a guest is a component, not a core module: build it for wasm32-wasip2".to_owned())
            }
            GuestError::NotAGuest(_) => Some("see  wit/session.wit  for what a guest exports".to_owned()),
            GuestError::Host(_) => None,
        };
        let what = match error {
            GuestError::Host(_) => error.to_string(),
            _ => format!("{} cannot be a guest: {error}", path.display()),
        };
        Self { what, next, exit_code: 1 }
    }

    /// Nobody has passed a socket.
    pub(crate) fn nothing_passed() -> Self {
        Self {
            what: "systemd has passed no sockets".to_owned(),
            next: Some("start the socket unit of this service, or say where to listen".to_owned()),
            exit_code: 1,
        }
    }

    pub(crate) fn bind(address: &Address, error: &io::Error, serve: &Serve) -> Self {
        let source = serve.source().display();
        let (what, next) = match (error.kind(), address) {
            (io::ErrorKind::AddrInUse, Address::Tcp { sockets, .. }) => {
                let next = sockets.first().map_or(8081, |socket| socket.port().checked_add(1).unwrap_or(8081));
                (
                    format!("{address} is in use"),
                    format!("try  multiclient {source} {next}     or  0  for any free port"),
                )
            }
            (io::ErrorKind::PermissionDenied, Address::Tcp { .. }) => (
                format!("{address} is not for this user: ports below 1024 belong to the administrator"),
                format!("try  multiclient {source} 8080"),
            ),
            (io::ErrorKind::AddrNotAvailable, _) => (
                format!("{address} is not an address of this machine"),
                format!("try  multiclient {source} 0.0.0.0:8080"),
            ),
            _ => (format!("cannot listen on {address}: {error}"), format!("try  multiclient {source} 8081")),
        };
        Self { what, next: Some(next), exit_code: 1 }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        match &self.next {
            Some(next) => write!(f, "\n  {next}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn addresses_are_read_as_documented() {
        for (said, promised) in [
            ("9000", "127.0.0.1:9000"),
            (":9000", "0.0.0.0:9000"),
            ("0.0.0.0:9000", "0.0.0.0:9000"),
            ("http://0.0.0.0:9000", "0.0.0.0:9000"),
            ("http://127.0.0.1:9000/", "127.0.0.1:9000"),
            ("http://[::]:0", "[::]:0"),
            ("[::1]:80", "[::1]:80"),
        ] {
            match Address::parse(said) {
                Ok(Address::Tcp { sockets, .. }) => assert_eq!(sockets[0].to_string(), promised, "{said}"),
                other => panic!("{said}: {other:?}"),
            }
        }
        for said in ["https://127.0.0.1:9000", "http://127.0.0.1", "rtmp://x:1", "70000", ":x", "[::1]", ""] {
            assert!(Address::parse(said).is_err(), "{said}");
        }
    }

    #[test]
    fn sizes_and_times_are_read_as_documented() {
        assert_eq!(size("8M"), Ok(8 << 20));
        assert_eq!(size("64KiB"), Ok(64 << 10));
        assert_eq!(size("65536"), Ok(65_536));
        for text in ["", "M", "8X", "-1", "1", "99999G", "8MB"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!(time("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        for text in ["", "s", "10", "0s", "1.5s", "99999999999h"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_header_cannot_smuggle_a_line() {
        assert_eq!(header("X-A: b c"), Ok(("X-A".into(), "b c".into())));
        for text in ["X-A", ": b", "X A: b", "content-length: 5", "Connection: close", "X: a\r\nY: b", "X\n: a"] {
            assert!(header(text).is_err(), "{text:?}");
        }
    }
}
