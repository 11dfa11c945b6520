//! What is measured.

use std::fmt;

use crate::load::Open;

/// One kind of work for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// From a start to the first answer.
    Start,
    /// New connections for 1 KiB each, client and server on one core.
    Fresh,
    /// 32 connections that stay, 1 KiB at a time.
    Kept,
    /// 8 connections that stay, 64 KiB somewhere in a large file at a time.
    Range,
    /// A large file to so many clients.
    Bulk(usize),
    /// So many clients that hold something, and a probe beside them.
    Held(Open, usize),
    /// New connections, as in `Fresh`, beside so many others that are open.
    Beside(usize),
    /// Files of so many bytes, over 4 connections that stay.
    Size(u64),
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Fresh => f.write_str("fresh"),
            Self::Kept => f.write_str("kept"),
            Self::Range => f.write_str("range"),
            Self::Bulk(clients) => write!(f, "bulk {clients}"),
            Self::Held(Open::Silent, clients) => write!(f, "held silent {clients}"),
            Self::Held(Open::Idle, clients) => write!(f, "held idle {clients}"),
            Self::Held(Open::Stalled, clients) => write!(f, "held stalled {clients}"),
            Self::Held(Open::StalledKept, clients) => write!(f, "held stalled-kept {clients}"),
            Self::Beside(clients) => write!(f, "beside {clients}"),
            Self::Size(bytes) => write!(f, "size {bytes}"),
        }
    }
}
