//! Why a client's connection ended, and what it came to.

use std::fmt;
use std::time::Duration;

use crate::quantity::{Size, Took};

/// Why a client's connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The session closed, and everything it sent is on its way.
    Finished,
    /// The client went away before that.
    Disconnected,
    /// The client kept the server waiting for too long.
    TimedOut(Timeout),
    /// The guest or the client wanted more than a client may have.
    OverLimit {
        /// Of what.
        limit: Limit,
        /// The functions in which the guest was, innermost first. Empty: not known, or not in any.
        backtrace: Vec<String>,
    },
    /// The guest failed.
    Trapped {
        /// How.
        message: String,
        /// The functions in which it was, innermost first. Empty: not known.
        backtrace: Vec<String>,
    },
    /// The guest broke a rule of the contract.
    Breach(Breach),
    /// A source that was being sent could not be read to its promised end.
    SourceFailed(String),
    /// The connection did not begin with a valid PROXY header, where one has to come.
    ProxyFailed,
    /// TLS with the client failed.
    TlsFailed(TlsFault),
    /// The server stopped and did not wait any longer.
    ShutDown,
    /// The client was disconnected right after it was accepted.
    Rejected(Rejection),
    /// The server was full, and the client gave way to a new one: of all clients that were between two
    /// requests or had sent nothing yet, it had been silent longest.
    Displaced,
    /// The host failed. Always worth a report.
    HostFault(String),
}

/// What a client was doing when its time was up: the timeout that it exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Timeout {
    /// Sending a request.
    Header,
    /// Being silent between two requests.
    Idle,
    /// Not accepting what was sent to it.
    Stall,
    /// Waiting for a source that produced nothing.
    Source,
}

/// Why a client was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// The server was full, and so was its reserve.
    MaxClients,
    /// Its address had as many clients as one may have.
    PerAddress,
    /// Too many connections of its address had failed their guest not long ago.
    Faults,
}

/// Why TLS with a client failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsFault {
    /// What it sent is something else, as HTTP without TLS.
    NotTls,
    /// It has no version, cipher or signature in common with the server.
    Incompatible,
    /// It wants none of the protocols that are spoken here (ALPN).
    Protocol,
    /// It gave up with this alert (RFC 8446, section 6.2): it does not trust the certificate, say.
    Alert(u8),
    /// It broke a rule of TLS, or what it sent was changed on the way.
    Invalid,
    /// It left in the middle of the handshake.
    Left,
    /// It was the slowest of too many handshakes at once.
    Handshakes,
}

/// A limit that a guest or its client exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// Memory of its instance, in bytes.
    Memory(u64),
    /// Memory of all clients together, in bytes.
    TotalMemory(u64),
    /// CPU time for one event.
    Cpu(Duration),
    /// CPU time without a byte moved to or from its client.
    IdleCpu(Duration),
    /// Memory of the host for one list of actions, in bytes.
    ActionBytes(u64),
    /// Handles that its instance may hold at once.
    Handles(usize),
    /// How far a client may fall behind the live edge.
    Lag,
    /// Guests at once that compute for long, or the threads that they need.
    SlowLane,
}

/// A rule of the contract that a guest broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Breach {
    /// No action says what is waited for.
    NoWait,
    /// An action follows the one that waits.
    ActionAfterWait,
    /// A list is longer than allowed.
    TooManyActions(usize),
    /// A `send` is longer than allowed.
    LongSend(usize),
    /// A `pass` or `wait` without an open source.
    NothingOpen,
    /// A `pass` of something outside the source's window.
    OutsideWindow,
}

/// One client's connection, after it closed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Closed {
    /// Counts the clients of a server, from 1.
    pub client: u64,
    /// The client's address; none for a unix socket. Behind a proxy that tells it, that is the one which it tells.
    pub peer: Option<std::net::SocketAddr>,
    /// The address of that proxy; none where there is no such proxy, or it connects by a unix socket.
    pub via: Option<std::net::SocketAddr>,
    /// Why it ended.
    pub ended: Ended,
    /// Bytes received from the client.
    pub bytes_in: u64,
    /// Bytes sent to the client.
    pub bytes_out: u64,
    /// Exchanges that the guest reported.
    pub exchanges: u64,
    /// How many of these reports the journal was not told of, because they said more than the client had asked
    /// for: a guest that reports without end would otherwise fill the disk.
    pub reports_left_out: u64,
    /// The most memory that its guest had; 0 if it never had one.
    pub memory_peak: u64,
    /// How long its guest was computing.
    pub cpu: Duration,
    /// What its guest wrote to stdout and stderr, as far as that is kept, and how much is not. Always empty
    /// for the built-in guest.
    pub output: String,
    /// The capsule that it is recorded in, within the folder for capsules.
    pub capsule: Option<String>,
    /// From accept to close.
    pub duration: Duration,
}

impl Closed {
    /// Of a client of which nothing is known but that it has ended.
    pub(crate) fn new(client: u64, peer: Option<std::net::SocketAddr>, ended: Ended) -> Self {
        Self {
            client,
            peer,
            via: None,
            ended,
            bytes_in: 0,
            bytes_out: 0,
            exchanges: 0,
            reports_left_out: 0,
            memory_peak: 0,
            cpu: Duration::ZERO,
            output: String::new(),
            capsule: None,
            duration: Duration::ZERO,
        }
    }

    /// Whether nobody did anything out of the ordinary: not worth a line in the log.
    pub fn is_ordinary(&self) -> bool {
        match self.ended {
            Ended::Finished | Ended::Disconnected | Ended::TimedOut(Timeout::Idle) => true,
            // Browsers connect in advance, and then have nothing to ask.
            Ended::TimedOut(Timeout::Header) => self.bytes_in == 0,
            _ => false,
        }
    }
}

impl Ended {
    /// All that [`kind`](Self::kind) can be.
    pub const KINDS: &[&str] = &[
        "finished",
        "disconnected",
        "timed-out",
        "over-limit",
        "trapped",
        "contract-breach",
        "source-failed",
        "proxy-failed",
        "tls-failed",
        "shut-down",
        "rejected",
        "displaced",
        "host-fault",
    ];

    /// One word for it, which stays the same between versions.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Disconnected => "disconnected",
            Self::TimedOut(_) => "timed-out",
            Self::OverLimit { .. } => "over-limit",
            Self::Trapped { .. } => "trapped",
            Self::Breach(_) => "contract-breach",
            Self::SourceFailed(_) => "source-failed",
            Self::ProxyFailed => "proxy-failed",
            Self::TlsFailed(_) => "tls-failed",
            Self::ShutDown => "shut-down",
            Self::Rejected(_) => "rejected",
            Self::Displaced => "displaced",
            Self::HostFault(_) => "host-fault",
        }
    }

    /// Which timeout, limit, rule or reason it was, where there are several: the name of the flag where there
    /// is one. Stays the same between versions.
    pub fn which(&self) -> Option<&'static str> {
        Some(match self {
            Self::TimedOut(timeout) => match timeout {
                Timeout::Header => "header-timeout",
                Timeout::Idle => "idle-timeout",
                Timeout::Stall => "stall-timeout",
                Timeout::Source => "source-timeout",
            },
            Self::OverLimit { limit, .. } => match limit {
                Limit::Memory(_) => "memory",
                Limit::TotalMemory(_) => "total-memory",
                Limit::Cpu(_) => "cpu",
                Limit::IdleCpu(_) => "idle-cpu",
                Limit::ActionBytes(_) => "action-bytes",
                Limit::Handles(_) => "handles",
                Limit::Lag => "lag",
                Limit::SlowLane => "slow-lane",
            },
            Self::Breach(breach) => match breach {
                Breach::NoWait => "no-wait",
                Breach::ActionAfterWait => "action-after-wait",
                Breach::TooManyActions(_) => "max-actions",
                Breach::LongSend(_) => "max-send",
                Breach::NothingOpen => "nothing-open",
                Breach::OutsideWindow => "outside-window",
            },
            Self::TlsFailed(fault) => match fault {
                TlsFault::NotTls => "not-tls",
                TlsFault::Incompatible => "incompatible",
                TlsFault::Protocol => "protocol",
                TlsFault::Alert(_) => "alert",
                TlsFault::Invalid => "invalid",
                TlsFault::Left => "left",
                TlsFault::Handshakes => "handshakes",
            },
            Self::Rejected(reason) => match reason {
                Rejection::MaxClients => "max-clients",
                Rejection::PerAddress => "per-address",
                Rejection::Faults => "faults",
            },
            _ => return None,
        })
    }

    /// The functions in which the guest was, innermost first. Empty: not known, or not in any.
    pub fn backtrace(&self) -> &[String] {
        match self {
            Self::OverLimit { backtrace, .. } | Self::Trapped { backtrace, .. } => backtrace,
            _ => &[],
        }
    }

    /// Whether it is the guest's doing.
    pub fn is_guests_fault(&self) -> bool {
        match self {
            // The client reads too slowly, or the others take too much.
            Self::OverLimit { limit: Limit::Lag | Limit::SlowLane | Limit::TotalMemory(_), .. } => false,
            Self::OverLimit { .. } | Self::Trapped { .. } | Self::Breach(_) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::Disconnected => f.write_str("disconnected"),
            Self::TimedOut(timeout) => write!(f, "timed out: {timeout}"),
            Self::OverLimit { limit, backtrace } => write!(f, "over limit: {limit}{}", In(backtrace)),
            Self::Trapped { message, backtrace } => write!(f, "trapped: {message}{}", In(backtrace)),
            Self::Breach(breach) => write!(f, "contract breach: {breach}"),
            Self::SourceFailed(how) => write!(f, "source failed: {how}"),
            Self::ProxyFailed => f.write_str("no valid PROXY header"),
            Self::TlsFailed(fault) => write!(f, "TLS failed: {fault}"),
            Self::ShutDown => f.write_str("shut down"),
            Self::Rejected(reason) => write!(f, "rejected: {reason}"),
            Self::Displaced => f.write_str("displaced: the server is full, and it was silent longest"),
            Self::HostFault(what) => write!(f, "host fault: {what}"),
        }
    }
}

/// The function of a backtrace that says most, as the end of a sentence: the innermost that is not of a
/// standard library, where everything ends that fails.
pub(crate) struct In<'a>(pub(crate) &'a [String]);

impl fmt::Display for In<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LIBRARY: [&str; 6] = ["core::", "alloc::", "std::", "rust_", "dlmalloc", "abort"];
        let is_library = |function: &str| {
            let path = function.trim_start_matches(['<', '_']);
            LIBRARY.iter().any(|name| path.starts_with(name))
        };
        match self.0.iter().find(|function| !is_library(function)).or(self.0.first()) {
            Some(function) => write!(f, ", in {function}"),
            None => Ok(()),
        }
    }
}

impl From<Limit> for Ended {
    /// Not in any function of the guest.
    fn from(limit: Limit) -> Self {
        Self::OverLimit { limit, backtrace: Vec::new() }
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "no complete request",
            Self::Idle => "no further request",
            Self::Stall => "accepted no data",
            Self::Source => "the source produced nothing",
        })
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MaxClients => "the server is full",
            Self::PerAddress => "too many connections from its address",
            Self::Faults => "too many failed guests of its address",
        })
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTls => f.write_str("the client does not speak TLS"),
            Self::Incompatible => f.write_str("no version, cipher or signature in common"),
            Self::Protocol => f.write_str("the client wants another protocol than http/1.1"),
            Self::Alert(alert) => match alert_name(*alert) {
                Some(name) => write!(f, "the client sent alert {alert}, {name}"),
                None => write!(f, "the client sent alert {alert}"),
            },
            Self::Invalid => f.write_str("the client broke the protocol"),
            Self::Left => f.write_str("the client left in the middle of the handshake"),
            Self::Handshakes => f.write_str("too many handshakes at once, and it took longest"),
        }
    }
}

impl std::error::Error for TlsFault {}

/// The names of those alerts by which clients say what they have against a server.
fn alert_name(alert: u8) -> Option<&'static str> {
    Some(match alert {
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        48 => "unknown_ca",
        70 => "protocol_version",
        90 => "user_canceled",
        _ => return None,
    })
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(bytes) => write!(f, "memory {}", Size(*bytes)),
            Self::TotalMemory(bytes) => write!(f, "memory of all clients {}", Size(*bytes)),
            Self::Cpu(time) => write!(f, "cpu {} for one event", Took(*time)),
            Self::IdleCpu(time) => write!(f, "cpu {} without a byte moved", Took(*time)),
            Self::ActionBytes(bytes) => write!(f, "{} for a list of actions", Size(*bytes)),
            Self::Handles(count) => write!(f, "{count} handles"),
            Self::Lag => f.write_str("lag behind the live edge"),
            Self::SlowLane => f.write_str("guests that compute for long"),
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWait => f.write_str("a list of actions that waits for nothing"),
            Self::ActionAfterWait => f.write_str("an action after the one that waits"),
            Self::TooManyActions(count) => write!(f, "{count} actions in one list"),
            Self::LongSend(bytes) => write!(f, "{bytes} bytes in one send"),
            Self::NothingOpen => f.write_str("a pass or wait without an open source"),
            Self::OutsideWindow => f.write_str("a pass of something outside the source"),
        }
    }
}
