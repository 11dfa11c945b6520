//! Listens where the operator says.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use multiclient::listen;
use rustix::io::Errno;
use socket2::SockRef;

use crate::address::{Address, TcpAddress, UnixAddress};
use crate::args::Serve;
use crate::failure::Failure;
use crate::listening::{Listening, Manner};
use crate::passed::Passed;

/// What is listened on.
#[derive(Default)]
pub(crate) struct Bound {
    pub(crate) listeners: Vec<(OwnedFd, Manner)>,
    pub(crate) unix_paths: UnixPaths,
    /// Addresses that a name stands for and that this machine does not have.
    pub(crate) missing: Vec<SocketAddr>,
}

/// Unix sockets of this server, removed when it is dropped.
#[derive(Default)]
pub(crate) struct UnixPaths {
    own: Vec<PathBuf>,
    /// The same, once this server has taken over: until then they are another server's.
    passed: Vec<(PathBuf, Arc<AtomicBool>)>,
}

impl UnixPaths {
    /// Listens on one more. One that was passed stays as it is.
    pub(crate) fn bind(&mut self, unix: &UnixAddress, passed: &mut Passed) -> io::Result<OwnedFd> {
        let UnixAddress { path, access } = unix;
        if let Some(listener) = passed.unix(path) {
            self.passed.push((path.clone(), passed.is_taken()));
            return Ok(listener);
        }
        let listener = listen::unix(path, *access)?;
        self.own.push(path.clone());
        Ok(listener)
    }

    /// Leaves the sockets where they are: they are another server's now.
    pub(crate) fn leave(mut self) {
        self.own.clear();
        self.passed.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Path> {
        self.own.iter().chain(self.passed.iter().map(|(path, _)| path)).map(PathBuf::as_path)
    }
}

impl Drop for UnixPaths {
    fn drop(&mut self) {
        let passed = self.passed.iter().filter(|(_, is_taken)| is_taken.load(Ordering::Relaxed));
        for path in self.own.iter().chain(passed.map(|(path, _)| path)) {
            // The next server replaces one that is left.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Listens on all addresses of the command line, through sockets that were passed where there are some.
pub(crate) fn bind(serve: &Serve, passed: &mut Passed) -> Result<Bound, Failure> {
    let mut bound = Bound::default();
    for Listening { address, manner } in serve.listening() {
        let mut listeners = Vec::new();
        let listened = match address {
            Address::Unix(unix) => bound.unix_paths.bind(unix, passed).map(|listener| listeners.push(listener)),
            Address::Passed => match listen::passed() {
                Ok(passed) if passed.is_empty() => return Err(Failure::nothing_passed()),
                passed => passed.map(|passed| listeners.extend(passed)),
            },
            Address::Tcp(tcp) => bind_tcp(tcp, passed).and_then(|(tcp, missing)| {
                for listener in &tcp {
                    listen::defer_accept(listener, serve.operation.defer_accept)?;
                }
                listeners.extend(tcp);
                bound.missing.extend(missing);
                Ok(())
            }),
        };
        listened.map_err(|error| Failure::bind(address, &error, serve.source()))?;
        bound.listeners.extend(listeners.into_iter().map(|listener| (listener, *manner)));
    }
    Ok(bound)
}

/// Tries to find a port that is free on all addresses of a name. One that the kernel has chosen for one of them
/// is nearly always free on the others.
const ATTEMPTS: u32 = 8;

pub(crate) fn bind_tcp(tcp: &TcpAddress, passed: &mut Passed) -> io::Result<(Vec<OwnedFd>, Vec<SocketAddr>)> {
    let is_any = tcp.sockets.iter().any(|socket| socket.port() == 0);
    let mut attempt = 1;
    loop {
        match bind_all(&tcp.sockets, passed) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_any && attempt < ATTEMPTS => attempt += 1,
            bound => return bound,
        }
    }
}

/// Listens on each of these addresses that this machine has, port 0 being the same port on all of them. Fails
/// where it has none.
fn bind_all(sockets: &[SocketAddr], passed: &mut Passed) -> io::Result<(Vec<OwnedFd>, Vec<SocketAddr>)> {
    let (mut listeners, mut missing) = (Vec::new(), Vec::new());
    let mut chosen_port = None;
    for &socket in sockets {
        let mut wanted = socket;
        if socket.port() == 0 {
            wanted.set_port(chosen_port.unwrap_or(0));
        }
        match passed.tcp(wanted).map_or_else(|| listen::tcp(wanted), Ok) {
            Ok(listener) => {
                let port = SockRef::from(&listener).local_addr()?.as_socket().map(|address| address.port());
                chosen_port = chosen_port.or(port);
                listeners.push(listener);
            }
            Err(error) if is_missing(&error) => missing.push((socket, error)),
            Err(error) => return Err(error),
        }
    }
    match missing.pop() {
        Some((_, error)) if listeners.is_empty() => Err(error),
        last => Ok((listeners, missing.into_iter().chain(last).map(|(socket, _)| socket).collect())),
    }
}

/// Whether this machine does not have the address, or not its family: IPv6 may be switched off in either way.
fn is_missing(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(addresses: &[&str]) -> Vec<SocketAddr> {
        addresses.iter().map(|address| address.parse().expect("it is an address")).collect()
    }

    fn port(listener: &OwnedFd) -> u16 {
        let address = SockRef::from(listener).local_addr().expect("it is bound");
        address.as_socket().expect("it is TCP").port()
    }

    #[test]
    fn any_port_is_the_same_on_all_addresses_of_a_name() {
        let (listeners, missing) =
            bind_all(&sockets(&["127.0.0.1:0", "127.0.0.2:0"]), &mut Passed::default()).expect("ports are free");
        assert_eq!((listeners.len(), missing.len()), (2, 0));
        assert_ne!(port(&listeners[0]), 0);
        assert_eq!(port(&listeners[0]), port(&listeners[1]));
    }

    #[test]
    fn addresses_that_this_machine_does_not_have_are_left_out_unless_there_is_no_other() {
        // For documentation (RFC 5737): no machine has it.
        let (listeners, missing) =
            bind_all(&sockets(&["198.51.100.1:0", "127.0.0.1:0"]), &mut Passed::default()).expect("one is there");
        assert_eq!((listeners.len(), missing), (1, sockets(&["198.51.100.1:0"])));
        let error = bind_all(&sockets(&["198.51.100.1:0", "198.51.100.2:0"]), &mut Passed::default())
            .expect_err("none is there");
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn a_port_that_is_taken_fails_for_all() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = taken.local_addr().expect("it is bound");
        let both = [SocketAddr::new([127, 0, 0, 2].into(), address.port()), address];
        let error = bind_all(&both, &mut Passed::default());
        assert_eq!(error.expect_err("it is taken").kind(), io::ErrorKind::AddrInUse);
    }
}
