//! Sockets that another server has passed to this one.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::net::{SocketAddrAny, SocketAddrUnix, getsockname};

/// Sockets that were passed and not taken so far.
#[derive(Default)]
pub(crate) struct Passed {
    sockets: Vec<OwnedFd>,
    is_taken: Arc<AtomicBool>,
}

impl Passed {
    pub(crate) fn new(sockets: Vec<OwnedFd>) -> Self {
        Self { sockets, ..Self::default() }
    }

    /// The socket that listens on this address; port 0 is any port.
    pub(crate) fn tcp(&mut self, wanted: SocketAddr) -> Option<OwnedFd> {
        self.take(|address| {
            SocketAddr::try_from(address)
                .is_ok_and(|found| found.ip() == wanted.ip() && [0, found.port()].contains(&wanted.port()))
        })
    }

    /// The socket that listens on this path, as it was written there.
    pub(crate) fn unix(&mut self, path: &Path) -> Option<OwnedFd> {
        self.take(|address| {
            let found = SocketAddrUnix::try_from(address).ok();
            let found = found.as_ref().and_then(|found| found.path_bytes());
            found == Some(path.as_os_str().as_bytes())
        })
    }

    /// Whether the old server has been told that they are this one's now.
    pub(crate) fn is_taken(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_taken)
    }

    fn take(&mut self, is_wanted: impl Fn(SocketAddrAny) -> bool) -> Option<OwnedFd> {
        let at = self.sockets.iter().position(|socket| getsockname(socket).is_ok_and(&is_wanted))?;
        Some(self.sockets.remove(at))
    }
}
