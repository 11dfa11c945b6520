//! Sockets that listen.

use std::env;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::FdFlags;
use rustix::net::sockopt;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::limits::BACKLOG;

/// Listens on an address of this machine; port 0: any that is free.
///
/// A server that has just ended does not keep the address busy. `[::]` takes IPv4 clients too.
pub fn tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    listen(socket, &address.into())
}

/// Listens on a unix socket. One that nobody listens on any more is replaced.
pub fn unix(path: &Path) -> io::Result<OwnedFd> {
    let address = SockAddr::unix(path)?;
    let is_socket = path.symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket {
        let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        match probe.connect(&address) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            _ => return Err(io::ErrorKind::AddrInUse.into()),
        }
    }
    listen(Socket::new(Domain::UNIX, Type::STREAM, None)?, &address)
}

/// The sockets that a service manager listens on for this process, as systemd passes them: those of a
/// socket unit. Empty: it has passed none, or they were taken before.
///
/// Fails where something was passed that does not listen: one for each connection (`Accept=yes`), say.
pub fn passed() -> io::Result<Vec<OwnedFd>> {
    /// The first descriptor that is passed (`SD_LISTEN_FDS_START`); the others follow it.
    const FIRST: RawFd = 3;
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name| env::var(name).ok()?.parse::<u32>().ok();
    // What is said to another process is not for this one, which may have inherited the variables.
    if number("LISTEN_PID") != Some(std::process::id()) || TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let count = RawFd::try_from(number("LISTEN_FDS").unwrap_or(0)).unwrap_or(0);
    (FIRST..FIRST.saturating_add(count))
        .map(|fd| {
            // The number is the manager's word. Whether anything is there is seen before it is owned.
            let there = Path::new("/proc/self/fd").join(fd.to_string()).symlink_metadata().is_ok();
            if !there {
                return Err(io::Error::other(format!("descriptor {fd} was promised and is not there")));
            }
            #[expect(unsafe_code, reason = "a descriptor that is passed is a number")]
            // SAFETY: it is open, and by the protocol it is this process's to keep. It is taken once, before
            // anything else that could have been given this number.
            let socket = unsafe { OwnedFd::from_raw_fd(fd) };
            let listens = sockopt::socket_acceptconn(&socket).unwrap_or(false);
            if !listens || sockopt::socket_type(&socket) != Ok(rustix::net::SocketType::STREAM) {
                return Err(io::Error::other(format!("descriptor {fd} is no socket that listens for connections")));
            }
            rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
            Ok(socket)
        })
        .collect()
}

fn listen(socket: Socket, address: &SockAddr) -> io::Result<OwnedFd> {
    socket.bind(address)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
