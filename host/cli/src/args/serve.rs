//! The flags of the server.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args, ValueEnum, ValueHint, value_parser};

use crate::address::Address;
use crate::listening::Listening;
use crate::privileges::Account;
use crate::values::{
    Bound, bytes, count_or_unlimited, header, memory_or_unlimited, rate_or_unlimited, size, time, time_or_zero, visible,
};

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

fn index_from() -> impl TypedValueParser<Value = IndexFrom> {
    PathBufValueParser::new().map(|path| if path.as_os_str() == "off" { IndexFrom::Off } else { IndexFrom::File(path) })
}
