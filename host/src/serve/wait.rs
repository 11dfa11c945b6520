//! Waits for a socket.

use std::future::Future;
use std::io;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::shared::Stop;
use crate::ended::{Ended, Timeout};

/// Waits for the socket, but not beyond the deadline, nor when the server stops in the way `stopped`.
pub(super) async fn until(
    ready: impl Future<Output = io::Result<()>>,
    deadline: Instant,
    timeout: Timeout,
    stop: &mut watch::Receiver<Stop>,
    stopped: Stop,
) -> Result<(), Ended> {
    tokio::select! {
        biased;
        ready = ready => ready.map_err(|error| Ended::HostFault(format!("cannot wait for a socket: {error}"))),
        _ = stop.wait_for(|stop| *stop >= stopped) => {
            if stopped == Stop::Now { Err(Ended::ShutDown) } else { Ok(()) }
        }
        () = sleep_until(deadline) => Err(Ended::TimedOut(timeout)),
    }
}
