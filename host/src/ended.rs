//! Why a client's life was over, and what it came to.

use std::fmt;
use std::time::Duration;

use crate::quantity::{Size, Took};

/// Why a client's life was over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The session closed, and everything it sent is on its way.
    Finished,
    /// The client went away before that.
    Disconnected,
    /// The client kept the server waiting for too long.
    TimedOut(Phase),
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
    /// The server stopped and did not wait any longer.
    ShutDown,
    /// The client was closed at once.
    TurnedAway(Reason),
    /// The host failed. Always worth a report.
    HostFault(String),
}

/// What a client was doing when its time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Sending a request.
    Head,
    /// Being silent between two requests.
    Idle,
    /// Not reading what was sent to it.
    Stall,
    /// Waiting for a source that gave nothing.
    Source,
}

/// Why a client was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The server was full, and so was its reserve.
    Full,
    /// Its address had as many clients as one may have.
    Address,
    /// Too many clients of its address had ended by their guest's fault, not long ago.
    Penalty,
}

/// A bound that a guest or its client ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Memory of its instance, in bytes.
    Memory(u64),
    /// CPU time for one event.
    Cpu(Duration),
    /// CPU time without anything moved to or from its client.
    Progress(Duration),
    /// Memory of the host for one list of actions, in bytes.
    Actions(u64),
    /// How far a client may be behind a live source.
    Lag,
    /// Guests at once that compute for long.
    Turn,
}

/// A rule of the contract that a guest broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// No action says what is waited for.
    NoWait,
    /// An action stands behind the one that waits.
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

/// One client's life, when it is over.
#[derive(Clone, Debug)]
pub struct Life {
    /// Counts the clients of a server, from 1.
    pub client: u64,
    /// Where it came from; none for a unix socket.
    pub peer: Option<std::net::SocketAddr>,
    /// Why it is over.
    pub ended: Ended,
    /// Bytes that came from the client.
    pub bytes_in: u64,
    /// Bytes that went to the client.
    pub bytes_out: u64,
    /// Exchanges that the guest reported.
    pub exchanges: u64,
    /// The most memory that its guest had; 0 if it never had one.
    pub memory_peak: usize,
    /// How long its guest was computing.
    pub cpu: Duration,
    /// What its guest wrote to stdout and stderr, as far as that is kept, and how much is not. Always empty for the guest that
    /// is built in.
    pub output: String,
    /// The file that it is recorded in, within the folder for such.
    pub capsule: Option<String>,
    /// From accept to close.
    pub duration: Duration,
}

impl Life {
    pub(crate) fn turned_away(client: u64, peer: Option<std::net::SocketAddr>, reason: Reason) -> Self {
        Self {
            client,
            peer,
            ended: Ended::TurnedAway(reason),
            bytes_in: 0,
            bytes_out: 0,
            exchanges: 0,
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
            Ended::Finished | Ended::Disconnected | Ended::TimedOut(Phase::Idle) => true,
            // Browsers connect in advance, and then have nothing to ask.
            Ended::TimedOut(Phase::Head) => self.bytes_in == 0,
            _ => false,
        }
    }
}

impl Ended {
    /// All that [`kind`](Self::kind) can be.
    pub(crate) const KINDS: [&str; 10] = [
        "finished",
        "disconnected",
        "timed-out",
        "over-limit",
        "trapped",
        "contract-breach",
        "source-failed",
        "shut-down",
        "turned-away",
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
            Self::ShutDown => "shut-down",
            Self::TurnedAway(_) => "turned-away",
            Self::HostFault(_) => "host-fault",
        }
    }

    /// Which phase, limit, rule or reason it was, where there are several: one word that stays the same
    /// between versions.
    pub fn which(&self) -> Option<&'static str> {
        Some(match self {
            Self::TimedOut(phase) => match phase {
                Phase::Head => "head",
                Phase::Idle => "idle",
                Phase::Stall => "stall",
                Phase::Source => "source",
            },
            Self::OverLimit { limit, .. } => match limit {
                Limit::Memory(_) => "memory",
                Limit::Cpu(_) => "cpu",
                Limit::Progress(_) => "progress",
                Limit::Actions(_) => "actions",
                Limit::Lag => "lag",
                Limit::Turn => "turn",
            },
            Self::Breach(breach) => match breach {
                Breach::NoWait => "no-wait",
                Breach::ActionAfterWait => "action-after-wait",
                Breach::TooManyActions(_) => "too-many-actions",
                Breach::LongSend(_) => "long-send",
                Breach::NothingOpen => "nothing-open",
                Breach::OutsideWindow => "outside-window",
            },
            Self::TurnedAway(reason) => match reason {
                Reason::Full => "full",
                Reason::Address => "address",
                Reason::Penalty => "penalty",
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
            // The one is its client's, which reads too slowly; the other that of all who compute for long.
            Self::OverLimit { limit: Limit::Lag | Limit::Turn, .. } => false,
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
            Self::TimedOut(phase) => write!(f, "timed out: {phase}"),
            Self::OverLimit { limit, backtrace } => write!(f, "over limit: {limit}{}", In(backtrace)),
            Self::Trapped { message, backtrace } => write!(f, "trapped: {message}{}", In(backtrace)),
            Self::Breach(breach) => write!(f, "contract breach: {breach}"),
            Self::SourceFailed(how) => write!(f, "source failed: {how}"),
            Self::ShutDown => f.write_str("shut down"),
            Self::TurnedAway(reason) => write!(f, "turned away: {reason}"),
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

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "no whole request",
            Self::Idle => "no further request",
            Self::Stall => "nothing read of the reply",
            Self::Source => "the source gave nothing",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the server is full",
            Self::Address => "too many clients of its address",
            Self::Penalty => "too many faults of clients of its address",
        })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(bytes) => write!(f, "memory {}", Size(*bytes)),
            Self::Cpu(time) => write!(f, "cpu {} for one event", Took(*time)),
            Self::Progress(time) => write!(f, "cpu {} without progress", Took(*time)),
            Self::Actions(bytes) => write!(f, "{} for a list of actions", Size(*bytes)),
            Self::Lag => f.write_str("lag behind a live source"),
            Self::Turn => f.write_str("guests that compute for long"),
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWait => f.write_str("a list of actions that waits for nothing"),
            Self::ActionAfterWait => f.write_str("an action behind the one that waits"),
            Self::TooManyActions(count) => write!(f, "{count} actions in one list"),
            Self::LongSend(bytes) => write!(f, "{bytes} bytes in one send"),
            Self::NothingOpen => f.write_str("a pass or wait without an open source"),
            Self::OutsideWindow => f.write_str("a pass of something outside the source"),
        }
    }
}
