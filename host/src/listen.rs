//! Sockets that listen.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

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

fn listen(socket: Socket, address: &SockAddr) -> io::Result<OwnedFd> {
    socket.bind(address)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
