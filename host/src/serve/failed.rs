//! What a failed call means for a connection.

use std::io;

use crate::ended::{Ended, Limit};
use crate::socket::fault_of;
use crate::sources::Lost;

impl From<Lost> for Ended {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Behind => Limit::Lag.into(),
            Lost::Shorter => Self::SourceFailed("the file has become shorter".into()),
            Lost::Failed(error) => source_or_socket(&error),
        }
    }
}

/// Why nothing can be sent or received any more.
pub(super) fn lost(error: &io::Error) -> Ended {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, HostUnreachable, NetworkUnreachable, NotConnected, TimedOut,
        UnexpectedEof,
    };
    if let Some(fault) = fault_of(error) {
        return Ended::TlsFailed(fault);
    }
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | HostUnreachable | NetworkUnreachable | NotConnected
        | TimedOut | UnexpectedEof => Ended::Disconnected,
        _ => Ended::HostFault(format!("a socket fails: {error}")),
    }
}

/// The same where a source may be at fault too.
fn source_or_socket(error: &io::Error) -> Ended {
    match lost(error) {
        Ended::HostFault(_) => Ended::SourceFailed(error.to_string()),
        ended => ended,
    }
}
