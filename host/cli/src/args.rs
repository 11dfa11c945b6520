//! The command line, declared once: flags, their environment variables, help, the man page, the shells'
//! completions and `docs/flags.md` all come from here. Long, because it is one declaration.
//!
//! Rules: a flag that sets a limit has the name of the limit. The first paragraph of a flag's comment is its
//! line in `-h`; `--help` has the whole comment as one paragraph.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{BoolishValueParser, PathBufValueParser, PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, ValueHint, value_parser};
use clap_complete::Shell;
use multiclient::Engine;
use multiclient_isolate::Claim;

use crate::address::{Address, ServerUrl};
use crate::listening::Listening;
use crate::privileges::Account;
use crate::values::{
    Bound, bytes, count_or_unlimited, header, memory_or_unlimited, named_command, rate_or_unlimited, size, time,
    time_or_zero, trigger, visible,
};

/// Flags that `-h` shows; `--help` shows all.
const EVERYDAY: [&str; 11] =
    ["list", "page", "follow", "header", "cors", "rate", "max-clients", "guest", "log", "quiet", "qr"];

const SHORT_HELP: &str = "\
{about-with-newline}
{usage-heading} {usage}

{positionals}

{options}

Commands: inspect, export-guest, replay, isolate, health, man, completions
Example:  multiclient ~/Videos :8080 --list --page";

const ENVIRONMENT: &str = "\
Environment:
  Each flag has a variable: MULTICLIENT_MAX_CLIENTS=50 is --max-clients 50. Flags win over
  variables. An empty variable counts as not set.";

const NAMES: &str = "To serve a file with the name of a command, write ./NAME.";

/// The exit codes of the program, with their meanings.
pub(crate) const EXIT_CODES: [(u8, &str); 4] = [
    (0, "served to the end; the replay is identical; all claims held; the server is healthy"),
    (1, "could not start; the replay differs; a claim is broken; the server is not healthy"),
    (2, "wrong usage"),
    (3, "some clients were cut off; the isolation test is inconclusive, or its report was not written"),
];

/// The program's version, and that of its engine, which advisories name.
fn version() -> String {
    format!("{} ({})", env!("CARGO_PKG_VERSION"), Engine::of_this_program().version)
}

/// Serve files, folders and live media over HTTP, each client in a fresh sandbox
#[derive(Debug, Parser)]
#[command(name = "multiclient", version = version(), max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(override_usage = "multiclient [OPTIONS] <SOURCE> [URL] | multiclient <COMMAND>")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: Serve,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the imports and exports of a guest
    Inspect {
        /// Component to inspect [default: the built-in guest]
        #[arg(value_hint = ValueHint::FilePath, conflicts_with = "engine")]
        guest: Option<PathBuf>,

        /// Show the parts of the engine that are compiled in, and the features of WebAssembly that are on
        #[arg(long)]
        engine: bool,
    },
    /// Write the built-in guest to a file, for other hosts
    ExportGuest {
        /// File to write, such as `multiclient-session.wasm`, or `-` for standard output
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: PathBuf,

        /// Write a component that crashes, hangs and leaks on request instead: a test tool for `isolate`
        ///
        /// It serves as usual, and fails at the paths `/!crash`, `/!hang` and `/!leak`; `/!peek` shows what is in its
        /// memory. `session` is the built-in guest; `wasi-http` and `wasi-http-0.3` are handlers for `wasmtime serve`,
        /// `jco serve` and other hosts of `wasi:http` 0.2 and 0.3. Never publish it: it fails for everybody who asks.
        #[arg(long, value_name = "WORLD", num_args = 0..=1, default_missing_value = "session")]
        faulty: Option<Faulty>,
    },
    /// Replay a recorded connection offline and compare the guest's actions
    Replay(Replay),
    /// Test on this machine that one client cannot affect another
    Isolate(Box<Isolate>),
    /// Check that a server responds, with any status below 500
    Health(Health),
    /// Print the man page
    Man {
        /// Command whose page to print [default: the program]
        #[arg(value_name = "COMMAND")]
        of: Option<String>,
    },
    /// Print a script that completes commands and flags in a shell
    Completions {
        /// Shell that will run the script
        shell: Shell,
    },
}

/// The worlds that there is a component for that fails on request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Faulty {
    /// `multiclient:session/guest` 0.1.
    Session,
    /// `wasi:http/incoming-handler` 0.2.
    WasiHttp,
    /// `wasi:http/handler` 0.3.
    #[value(name = "wasi-http-0.3")]
    WasiHttp03,
}

#[derive(Debug, Args)]
pub(crate) struct Health {
    /// Address of the server: PORT, :PORT, HOST:PORT, http://HOST:PORT, https://HOST:PORT (with any certificate) or
    /// unix:PATH
    #[arg(value_name = "URL", default_value = "127.0.0.1:8080", value_parser = ServerUrl::parse)]
    pub(crate) url: ServerUrl,

    /// Wait this long for a response
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Isolate {
    /// File or folder that the clients request [default: files made for the test]
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) source: Option<PathBuf>,

    /// Run for 20 s instead of 60 s
    #[arg(long)]
    pub(crate) quick: bool,

    /// Seed of all random choices [default: the time]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Test only this claim (repeatable)
    #[arg(long, value_name = "CLAIM", value_delimiter = ',', value_parser = claim())]
    pub(crate) only: Vec<Claim>,

    #[command(flatten)]
    pub(crate) guest: GuestFlags,

    #[command(flatten)]
    pub(crate) against: AgainstFlags,

    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Write a JUnit report for CI to FILE
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) junit: Option<PathBuf>,

    /// Write an HTML report to FILE
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) html: Option<PathBuf>,

    /// Write a SARIF report for code scanning to FILE, of another server
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "other-server")]
    pub(crate) sarif: Option<PathBuf>,
}

/// Flags for the test of another server, from outside.
#[derive(Debug, Args)]
pub(crate) struct AgainstFlags {
    /// Test another server: URL is something that it serves, of at least 1 MiB
    #[arg(long, value_name = "URL", group = "other-server", conflicts_with_all = ["source", "guest"])]
    pub(crate) against: Option<String>,

    /// Start another server with this command of `sh`, and test it
    ///
    /// `{port}` becomes a free port and `{root}` a folder with a file `film.mp4`. The command must stay until the
    /// server ends. Everything it starts is ended with it.
    #[arg(long, value_name = "COMMAND", group = "other-server", conflicts_with_all = ["source", "guest", "against"])]
    pub(crate) start: Option<String>,

    /// Request this URL of the server that `--start` starts [default: http://127.0.0.1:{port}/film.mp4]
    #[arg(long, value_name = "URL", requires = "start")]
    pub(crate) ready: Option<String>,

    /// Start a server with a command, and test it beside others (repeatable)
    #[arg(long, value_name = "NAME=COMMAND", group = "other-server", value_parser = named_command)]
    #[arg(conflicts_with_all = ["source", "guest", "against", "start"])]
    pub(crate) compare: Vec<(String, String)>,

    /// Test the servers of a TOML file, side by side
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, group = "other-server")]
    #[arg(conflicts_with_all = ["source", "guest", "against", "start"])]
    pub(crate) targets: Option<PathBuf>,

    /// Look at the descriptors, threads and memory of this process of the server, and of its descendants
    #[arg(long, value_name = "N", requires = "against")]
    pub(crate) pid: Option<u32>,

    /// Look at the descriptors, threads and memory of the server's control group
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath, requires = "other-server")]
    pub(crate) cgroup: Option<PathBuf>,

    /// Crash a handler of the server with this request, such as `GET /boom`
    #[arg(long, value_name = "REQUEST", requires = "other-server", value_parser = trigger)]
    pub(crate) crash: Option<String>,

    /// Make a handler of the server hang with this request
    #[arg(long, value_name = "REQUEST", requires = "other-server", value_parser = trigger)]
    pub(crate) hang: Option<String>,

    /// Make a handler of the server leak memory with this request
    #[arg(long, value_name = "REQUEST", requires = "other-server", value_parser = trigger)]
    pub(crate) leak_memory: Option<String>,

    /// Have a handler of the server show what is in its memory with this request
    #[arg(long, value_name = "REQUEST", requires = "other-server", value_parser = trigger)]
    pub(crate) peek: Option<String>,

    /// Attack a server with a private address, which is yours; otherwise only loopback is attacked
    #[arg(long, value_name = "HOST", requires = "other-server")]
    pub(crate) yes_this_is_mine: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Capsule to replay: a file that `--capsules` wrote
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) capsule: PathBuf,

    #[command(flatten)]
    pub(crate) guest: GuestFlags,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// File, folder or FIFO to serve, `-` for stdin, or an FFmpeg source
    ///
    /// FFmpeg sources are `file:`, `pipe:`, `concat:`, `subfile` and `data:`.
    #[arg(required = true, value_hint = ValueHint::AnyPath)]
    source: Option<OsString>,

    /// Listen on PORT, :PORT, HOST:PORT or unix:PATH [default: 8080]
    ///
    /// `PORT` accepts connections from this machine only, `:PORT` on all IPv4 addresses. Port 0 picks a free
    /// port. `https://HOST:PORT` speaks TLS, with `--cert` and `--key` or with `--self-signed`.
    /// `unix:PATH,mode=660,owner=NAME,group=NAME` sets the permissions of the socket. `systemd:` uses the
    /// sockets of the service's socket unit. Words after any address: `tls`, as in `'systemd: tls'`, adds TLS;
    /// `proxy`, as in `'10.0.0.5:9000 proxy'`, expects connections only from a proxy that begins each with a PROXY
    /// header, which says where the client comes from. Only the proxy may be able to connect to that address.
    #[arg(value_name = "URL", default_value = "127.0.0.1:8080", hide_default_value = true)]
    #[arg(value_parser = Listening::parse)]
    url: Listening,

    #[command(flatten, next_help_heading = "Content")]
    pub(crate) content: ContentFlags,

    #[command(flatten, next_help_heading = "Live sources")]
    pub(crate) live: LiveFlags,

    #[command(flatten, next_help_heading = "Limits")]
    pub(crate) limits: LimitFlags,

    #[command(flatten, next_help_heading = "Sandbox")]
    pub(crate) guest: GuestFlags,

    #[command(flatten, next_help_heading = "Sandbox")]
    pub(crate) sandbox: SandboxFlags,

    #[command(flatten, next_help_heading = "TLS")]
    pub(crate) tls: TlsFlags,

    #[command(flatten, next_help_heading = "Operation")]
    pub(crate) operation: OperationFlags,
}

impl Serve {
    pub(crate) fn source(&self) -> &Path {
        Path::new(self.source.as_ref().expect("clap demands a source where there is no other command"))
    }

    pub(crate) fn listening(&self) -> impl Iterator<Item = &Listening> {
        std::iter::once(&self.url).chain(&self.operation.listen)
    }
}

#[derive(Debug, Args)]
pub(crate) struct ContentFlags {
    /// List folders that have no `index.html`
    ///
    /// The list is HTML, or JSON for clients that ask for JSON.
    #[arg(long)]
    pub(crate) list: bool,

    /// Give browsers a page with a media player
    ///
    /// For a single source, the page is at `/`. In a folder, the page of a file is at its URL with `?play`;
    /// lists link to these pages.
    #[arg(long)]
    pub(crate) page: bool,

    /// Follow files that are still being written
    ///
    /// A file that was modified within `--follow-idle` counts as growing. Clients get the existing data, then new
    /// data as it is appended. The response ends when the file has not grown for that long, or is replaced.
    #[arg(long)]
    pub(crate) follow: bool,

    /// Consider a followed file complete after this long without growth
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    pub(crate) follow_idle: Duration,

    /// Publish a single file or stream under this URL path instead of its name
    #[arg(long = "as", value_name = "PATH")]
    pub(crate) name: Option<String>,

    /// Set the media type of a single file or stream, instead of deriving it from the name
    #[arg(long = "type", value_name = "MIME", value_parser = visible)]
    pub(crate) media_type: Option<String>,

    /// Add a header field to every response (repeatable)
    ///
    /// A field is a name, a colon and a value, as in `-H 'X-Served-By: me'`.
    #[arg(short = 'H', long = "header", value_name = "FIELD", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,

    /// Let scripts on other sites read responses
    ///
    /// A value restricts this to scripts from one origin.
    #[arg(long, value_name = "ORIGIN", num_args = 0..=1, require_equals = true, default_missing_value = "*")]
    #[arg(value_parser = visible)]
    pub(crate) cors: Option<String>,

    /// Respond like FFmpeg's example server, except where that is unsafe
    #[arg(long)]
    pub(crate) compat: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LiveFlags {
    /// Keep this many bytes of a live source in memory
    #[arg(long, value_name = "BYTES", default_value = "16M", value_parser = size)]
    pub(crate) buffer: u64,

    /// Start viewers at this point of a live source
    ///
    /// A join point is an offset at which a decoder can start. In unknown formats, every byte is a join point.
    #[arg(long, value_name = "POINT", default_value = "burst")]
    pub(crate) join: JoinAt,

    /// With `--join burst`, start viewers up to this many bytes behind the live edge
    #[arg(long, value_name = "BYTES", default_value = "1M", value_parser = bytes)]
    pub(crate) burst: u64,

    /// Disconnect a viewer that falls this many bytes further behind the live edge than when it joined
    ///
    /// Values below 2M count as 2M, because a producer may send 2M at once.
    #[arg(long, value_name = "BYTES", default_value = "4M", value_parser = size)]
    pub(crate) lag: u64,

    /// Component that finds the join points of live sources, or `off` [default: the built-in index]
    ///
    /// The component must export `multiclient:index/marks` and import nothing. With `off`, viewers start at any
    /// byte.
    #[arg(long, value_name = "FILE", value_parser = index_from(), value_hint = ValueHint::FilePath)]
    pub(crate) index: Option<IndexFrom>,

    /// Pause the producer while `--buffer` is full and nobody watches, instead of dropping the oldest bytes
    #[arg(long)]
    pub(crate) hold: bool,

    /// Disconnect clients that have waited this long for new data from a live or growing source
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub(crate) source_timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct LimitFlags {
    /// Bytes per second for each client
    #[arg(long, value_name = "BYTES", default_value = "unlimited", value_parser = rate_or_unlimited)]
    pub(crate) rate: Bound<u64>,

    /// Clients at once
    #[arg(long, value_name = "N", default_value = "1000", value_parser = value_parser!(u32).range(1..=100_000))]
    pub(crate) max_clients: u32,

    /// Clients at once from one address, or `unlimited`
    ///
    /// An IPv6 /64 counts as one address. 127.0.0.1 and ::1 (often a proxy) are exempt.
    #[arg(long, value_name = "N", default_value = "128", value_parser = count_or_unlimited)]
    pub(crate) per_address: Bound<u32>,

    /// Clients beyond `--max-clients` that get a 503 response; further clients are disconnected without one
    #[arg(long, value_name = "N", default_value = "16", value_parser = value_parser!(u32).range(0..=10_000))]
    pub(crate) reserve: u32,

    /// Block an address for 10 s after this many guest failures on its connections
    ///
    /// `unlimited` never blocks. The count starts again after 10 s without a failure. 127.0.0.1 and ::1 (often
    /// a proxy) are never blocked.
    #[arg(long, value_name = "N", default_value = "8", value_parser = count_or_unlimited)]
    pub(crate) faults: Bound<u32>,

    /// Memory of one guest
    #[arg(long, value_name = "BYTES", default_value = "8M", value_parser = size)]
    pub(crate) memory: u64,

    /// Memory of all clients, or `unlimited` [default: half of the memory of the machine or control group]
    ///
    /// Includes guests, pending data and recordings. With less than an eighth left, new clients get 503. `ulimit -d` and
    /// `ulimit -v` lower the default.
    #[arg(long, value_name = "BYTES", value_parser = memory_or_unlimited)]
    pub(crate) total_memory: Option<Bound<u64>>,

    /// CPU time that a guest may use for one event
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = time)]
    pub(crate) cpu: Duration,

    /// CPU time that a guest may use without sending or receiving a byte
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    pub(crate) idle_cpu: Duration,

    /// Disconnect a client that takes this long to send a request
    ///
    /// The time for the first request starts with the connection, and for a later one with its first byte.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(crate) header_timeout: Duration,

    /// Disconnect a client that is silent for this long between requests
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub(crate) idle_timeout: Duration,

    /// Disconnect a client that accepts no data for this long while a response is pending
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    pub(crate) stall_timeout: Duration,

    /// Close a connection after this many requests
    #[arg(long, value_name = "N", default_value = "10000", value_parser = value_parser!(u32).range(1..))]
    pub(crate) max_exchanges: u32,

    /// Actions that a guest may return for one event; the contract guarantees 64
    #[arg(long, value_name = "N", default_value = "64", value_parser = value_parser!(u32).range(64..=100_000))]
    pub(crate) max_actions: u32,

    /// Bytes that a guest may send with one `send` action
    #[arg(long, value_name = "BYTES", default_value = "1M", value_parser = size)]
    pub(crate) max_send: u64,

    /// Keep at most this many unsent bytes in the kernel for one client
    #[arg(long, value_name = "BYTES", default_value = "256K", value_parser = size)]
    pub(crate) unsent: u64,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct GuestFlags {
    /// Run this component instead of the built-in guest
    ///
    /// The component must export `multiclient:session/handler`. It may import WASI 0.2, but gets no files, sockets,
    /// arguments or environment variables.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) guest: Option<PathBuf>,

    /// Let the `--guest` component use clocks or random numbers (repeatable)
    #[arg(long, value_name = "GRANT", value_delimiter = ',', requires = "guest")]
    pub(crate) allow: Vec<Allow>,
}

#[derive(Debug, Args)]
pub(crate) struct SandboxFlags {
    /// Reload the files of `--guest`, `--cert` and `--key` for new clients when they change
    ///
    /// SIGHUP reloads them at once. With `--walls strict`, the guest is never reloaded.
    #[arg(long)]
    pub(crate) watch: bool,

    /// Give up all rights that serving does not need
    ///
    /// Landlock, seccomp and `PR_SET_MDWE` then confine the process to what it serves. At start-up, the server
    /// prints which walls are in place, and why the others are missing. With `auto`, the `--guest` file can be
    /// reloaded, which the wall `code` would prevent.
    #[arg(long, value_name = "WHICH", default_value = "auto")]
    pub(crate) walls: Walls,

    /// Record each session that fails into this folder
    ///
    /// `multiclient replay` replays these files. The folder holds at most 1000 of them, including those of earlier
    /// runs. Only the user that runs the server can read them.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) capsules: Option<PathBuf>,

    /// Record all sessions, not only those that fail
    #[arg(long)]
    pub(crate) record: bool,

    /// Keep passwords, cookies and query strings in capsules instead of redacting them
    #[arg(long)]
    pub(crate) capsule_secrets: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TlsFlags {
    /// Certificate chain of `https://` addresses, a PEM file (repeatable)
    ///
    /// The first certificate in the file is the server's own; those that lead to a root follow it. With several
    /// files, a client gets the first certificate that holds for the name that it asks for (SNI), or else the first of
    /// all. SIGHUP reads all files again; `--watch` does when one changes. In the environment variable, `;` separates
    /// files.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_delimiter = ';')]
    pub(crate) cert: Vec<PathBuf>,

    /// Private key of the `--cert` at the same place, an unencrypted PEM file (repeatable)
    ///
    /// The server reads it before it changes to `--user`. To be read again later, it must be readable for that user.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_delimiter = ';')]
    pub(crate) key: Vec<PathBuf>,

    /// Make a certificate in memory, and print its fingerprint
    ///
    /// It is valid for a year, for `localhost`, the name of this machine and the addresses of the server. Clients warn
    /// of it, unless they are told to trust it. For trying TLS out.
    #[arg(long)]
    pub(crate) self_signed: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OperationFlags {
    /// Also listen on this address (repeatable)
    ///
    /// In the environment variable, `;` separates addresses.
    #[arg(long, value_name = "URL", value_parser = Listening::parse, value_delimiter = ';')]
    listen: Vec<Listening>,

    /// Accept a TCP connection only when its client has sent data, or after this long
    ///
    /// This is rounded up to whole seconds. `0` accepts connections immediately.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time_or_zero)]
    pub(crate) defer_accept: Duration,

    /// Print a QR code of the URL, for a phone
    #[arg(long)]
    pub(crate) qr: bool,

    /// Write the log in this format
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log: LogFormat,

    /// Append the log to FILE instead of standard error
    ///
    /// SIGHUP and SIGUSR1 reopen it, for log rotation.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) log_file: Option<PathBuf>,

    /// Log a backtrace for each failed session
    #[arg(short, long)]
    pub(crate) verbose: bool,

    /// Print nothing but errors and the log
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Write the process ID to FILE while the server runs
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) pid_file: Option<PathBuf>,

    /// Run as this user after binding the addresses
    ///
    /// Lets root bind port 80 and then drop privileges. Without GROUP, the server gets all groups of the user.
    #[arg(long, value_name = "USER[:GROUP]", value_parser = Account::parse, value_hint = ValueHint::Username)]
    pub(crate) user: Option<Account>,

    /// Show metrics, readiness and a page with all clients on this address
    ///
    /// The address is `unix:PATH` or a loopback address. `/metrics` is for Prometheus; `/ready` responds with 503 once
    /// the server is to stop; `/` is a page for browsers. Only the user who starts the server can connect to a unix
    /// socket, unless `,mode=` says otherwise.
    #[arg(long, value_name = "URL", value_parser = Address::parse_local)]
    pub(crate) admin: Option<Address>,

    /// Take over from the server that listens at this unix socket, and let the next one take over there
    ///
    /// The running server passes its listening sockets to the new one and drains once that serves, so that no
    /// connection is refused. Both run as the same user, or the new one as root. If nobody listens at the socket, the
    /// server starts as usual.
    #[arg(long, value_name = "unix:PATH", value_parser = Address::parse_unix)]
    pub(crate) takeover: Option<Address>,

    /// Serve on for this long after SIGTERM or Ctrl-C, with `/ready` of `--admin` at 503, before the drain
    ///
    /// A load balancer has this long to notice. A second signal begins the drain.
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = time_or_zero)]
    pub(crate) drain_delay: Duration,

    /// Give clients this long to finish on SIGTERM or Ctrl-C
    ///
    /// A live stream continues until its producer ends, and a growing file until it is complete. Shortly before the
    /// time is up, the server ends the remaining responses cleanly, as if these sources were complete. A second signal
    /// disconnects clients at once.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(crate) drain: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Allow {
    /// Read the time
    Clocks,
    /// Get random numbers
    Random,
}

/// Where the index of live sources comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IndexFrom {
    /// There is no index. To use a file named `off`, write `./off`.
    Off,
    File(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum JoinAt {
    /// The oldest join point still in the buffer
    Start,
    /// The next join point after the live edge
    Edge,
    /// The oldest join point within `--burst` bytes of the live edge, or else the newest one
    Burst,
}

/// Which walls are raised around the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Walls {
    /// All that the system has; with `--guest`, without `code`
    Auto,
    /// All, or the server does not start; it then never reloads its guest
    Strict,
    /// None
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One line for each request, and for each client that the host disconnects for a reason other than idleness
    Text,
    /// One JSON object for each request and each connection
    Json,
    /// One line for each request, in the format of Apache and nginx
    Combined,
    /// No log
    Off,
}

/// The help that the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Help {
    /// One screen.
    Short,
    /// Everything.
    Long,
}

impl Help {
    fn wanted(arguments: &[OsString]) -> Self {
        let is_long = |argument: &OsString| argument == "--help";
        match arguments.get(1).is_some_and(|first| first == "help") || arguments.iter().any(is_long) {
            true => Self::Long,
            false => Self::Short,
        }
    }
}

/// Reads the command line and the environment.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut command = command(Help::wanted(&arguments));
    let mut matches = command.try_get_matches_from_mut(arguments)?;
    Arguments::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// The whole command line, with environment variables, for this kind of help.
pub(crate) fn command(help: Help) -> clap::Command {
    let command = with_rules(Arguments::command(), help);
    match help {
        // The line of --log names its values.
        Help::Short => command.help_template(SHORT_HELP).mut_arg("log", |log| log.hide_possible_values(true)),
        Help::Long => command.after_long_help(after_help()),
    }
}

fn after_help() -> String {
    let exit_codes: Vec<_> = EXIT_CODES.iter().map(|(code, meaning)| format!("  {code}  {meaning}")).collect();
    format!("{ENVIRONMENT}\n\nExit codes:\n{}\n\n{NAMES}", exit_codes.join("\n"))
}

/// Applies the rules for all flags of all commands: an environment variable each, and which flags `-h` shows.
fn with_rules(command: clap::Command, help: Help) -> clap::Command {
    let command = command.mut_args(|arg| {
        let arg = in_one_paragraph(arg);
        match arg.get_long() {
            Some(long) => {
                let variable = variable(long);
                let is_hidden = help == Help::Short && !EVERYDAY.contains(&long);
                with_environment(arg, variable, |variable| env::var_os(variable)).hide_short_help(is_hidden)
            }
            None => arg,
        }
    });
    command.mut_subcommands(|command| {
        let everything = with_rules(command, help);
        // Subcommands have few flags, so `-h` shows all of them.
        everything.mut_args(|arg| arg.hide_short_help(false))
    })
}

/// The environment variable of a flag.
pub(crate) fn variable(long: &str) -> String {
    format!("MULTICLIENT_{}", long.replace('-', "_").to_uppercase())
}

/// Lets an environment variable set a flag. Ignores an empty variable: compose files set those for missing values.
fn with_environment(arg: clap::Arg, variable: String, get: impl Fn(&OsStr) -> Option<OsString>) -> clap::Arg {
    let arg = match arg.get_action() {
        ArgAction::SetTrue => arg.value_parser(BoolishValueParser::new()),
        _ => arg,
    };
    if get(OsStr::new(&variable)).is_some_and(|value| value.is_empty()) {
        return arg;
    }
    arg.env(variable).hide_env(true)
}

/// Makes the long help of a flag one paragraph.
fn in_one_paragraph(arg: clap::Arg) -> clap::Arg {
    match paragraph(&arg) {
        Some(paragraph) if arg.get_long_help().is_some() => arg.long_help(paragraph),
        _ => arg,
    }
}

/// The whole comment of a flag as one paragraph: its line in `-h`, then the rest.
pub(crate) fn paragraph(arg: &clap::Arg) -> Option<String> {
    let (first, all) = (arg.get_help()?.to_string(), arg.get_long_help().map(ToString::to_string));
    let rest = all.as_deref().and_then(|all| all.split_once("\n\n")).map(|(_, rest)| rest.replace('\n', " "));
    Some(match rest {
        Some(rest) => format!("{first}. {rest}"),
        None => all.unwrap_or(first),
    })
}

fn index_from() -> impl TypedValueParser<Value = IndexFrom> {
    PathBufValueParser::new().map(|path| if path.as_os_str() == "off" { IndexFrom::Off } else { IndexFrom::File(path) })
}

fn claim() -> impl TypedValueParser<Value = Claim> {
    PossibleValuesParser::new(Claim::ALL.map(Claim::name)).map(|name| {
        let named = Claim::ALL.into_iter().find(|claim| claim.name() == name);
        named.expect("clap takes the names of claims only")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(help: Help) -> Vec<String> {
        let mut command = command(help).term_width(80);
        let text = match help {
            Help::Short => command.render_help(),
            Help::Long => command.render_long_help(),
        };
        text.to_string().trim_end().lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_declaration_is_consistent() {
        command(Help::Long).debug_assert();
    }

    #[test]
    fn the_short_help_fits_a_screen_and_no_line_wraps() {
        let lines = lines_of(Help::Short);
        let text = lines.join("\n");
        // One line of a screen of 24 is left for the prompt.
        assert!(lines.len() <= 23, "{} lines:\n{text}", lines.len());
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
        for flag in EVERYDAY {
            assert!(text.contains(&format!("--{flag}")), "--{flag} is missing:\n{text}");
        }
        assert!(!text.contains("--idle-cpu"), "{text}");
    }

    #[test]
    fn the_long_help_has_a_paragraph_for_each_flag_and_the_rule_of_the_environment_once() {
        let text = lines_of(Help::Long).join("\n");
        for arg in command(Help::Long).get_arguments() {
            let name = arg.get_long().map_or(String::new(), |long| format!("--{long}"));
            assert!(text.contains(&name), "{name} is missing:\n{text}");
            let help = arg.get_long_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.contains("\n\n"), "{name} has more than a paragraph: {help}");
        }
        assert_eq!(text.matches("MULTICLIENT_").count(), 1, "it has an example:\n{text}");
    }

    /// Commands and their flags, each with its variable.
    fn variables(command: &clap::Command) -> Vec<(String, Option<String>)> {
        let of = |arg: &clap::Arg| {
            let set = arg.get_env().map(|variable| variable.to_string_lossy().into_owned());
            arg.get_long().map(|long| (long.to_owned(), set))
        };
        let own = command.get_arguments().filter_map(of);
        own.chain(command.get_subcommands().flat_map(variables)).collect()
    }

    #[test]
    fn each_flag_has_its_variable() {
        let all = variables(&command(Help::Long));
        assert!(all.len() > 40, "{all:?}");
        for (long, set) in all {
            assert_eq!(set, Some(format!("MULTICLIENT_{}", long.replace('-', "_").to_uppercase())));
        }
    }

    #[test]
    fn an_empty_variable_is_none() {
        let with = |value: &'static str| {
            let arg = clap::Arg::new("rate").long("rate").action(ArgAction::Set);
            with_environment(arg, "MULTICLIENT_RATE".to_owned(), |_| Some(value.into()))
        };
        assert!(with("").get_env().is_none());
        assert!(with("2M").get_env().is_some());
    }

    fn serve(arguments: &[&str]) -> Result<Serve, clap::Error> {
        let program = ["multiclient"].iter().chain(arguments).map(OsString::from);
        parse(program).map(|arguments| arguments.serve)
    }

    #[test]
    fn limits_can_be_lifted_where_it_makes_sense() {
        let lifted = ["a", "--rate", "unlimited", "--per-address", "unlimited", "--faults", "unlimited"];
        let limits = serve(&lifted).expect("it is right").limits;
        assert_eq!((limits.rate, limits.per_address, limits.faults), (Bound(None), Bound(None), Bound(None)));
        assert!(serve(&["a", "--max-clients", "unlimited"]).is_err());
        assert!(serve(&["a", "--memory", "unlimited"]).is_err());
    }

    #[test]
    fn several_addresses_are_given_one_by_one_or_in_a_list() {
        let flags = serve(&["a", "0", "--listen", "9000;unix:m.sock,mode=660", "--listen", ":9001"]);
        let urls: Vec<_> =
            flags.expect("it is right").listening().map(|listening| listening.address.to_string()).collect();
        assert_eq!(urls, ["0", "9000", "unix:m.sock", ":9001"]);
    }
}
