//! Sockets that listen.

use std::env;
use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::FdFlags;
use rustix::net::sockopt;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::limits::BACKLOG;
use crate::tls::Tls;

/// A socket that listens, and how its clients speak: without more, as they come.
#[derive(Debug)]
pub struct Listener {
    pub(crate) socket: OwnedFd,
    pub(crate) proxy: Proxy,
    pub(crate) tls: Option<Tls>,
}

/// Whether connections begin with a header that says where the client comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    None,
    Expected,
}

impl From<OwnedFd> for Listener {
    fn from(socket: OwnedFd) -> Self {
        Self { socket, proxy: Proxy::None, tls: None }
    }
}

impl Listener {
    /// Expects connections from a proxy only, which begins each with a header of the PROXY protocol, version 1 or 2.
    /// Limits for each address and the journal then go by the address in it. Who connects to this socket can claim
    /// to be anybody: only the proxy may reach it.
    pub fn behind_proxy(mut self) -> Self {
        self.proxy = Proxy::Expected;
        self
    }

    /// Speaks TLS with its clients. The handshake is made before a client has an instance, and guests do not see it.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: &Tls) -> Self {
        self.tls = Some(tls.clone());
        self
    }
}

/// Listens on an address of this machine; port 0: any that is free.
///
/// A server that has just ended does not keep the address busy. `[::]` takes IPv4 clients too.
pub fn tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Has the kernel keep connections to a TCP listener until their first bytes come, so that accepting one and
/// reading its request are one wake-up. A client that says nothing is accepted after `patience`: whole seconds,
/// rounded up; zero accepts at once.
#[expect(unsafe_code, reason = "neither rustix nor socket2 has a name for this option")]
pub fn defer_accept(listener: &OwnedFd, patience: Duration) -> io::Result<()> {
    let seconds = patience.as_secs() + u64::from(patience.subsec_nanos() > 0);
    let seconds = libc::c_int::try_from(seconds).unwrap_or(libc::c_int::MAX);
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and the value is one `int` that lives to the end of the call, as tcp(7) says.
    let set = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            length,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Who may connect to a unix socket: its mode and owner, as `chmod` and `chown` take them. What is not given
/// stays as the process makes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnixAccess {
    /// Permission bits; a client needs the one for writing.
    pub mode: Option<u32>,
    /// The number of the user that owns it.
    pub owner: Option<u32>,
    /// The number of its group.
    pub group: Option<u32>,
}

/// Listens on a unix socket. One that nobody listens on any more is replaced.
pub fn unix(path: &Path, access: UnixAccess) -> io::Result<OwnedFd> {
    let address = SockAddr::unix(path)?;
    let is_socket = path.symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket {
        if is_listened_on(&address)? {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&address)?;
    // Before it listens, so that nobody connects who may not.
    let restricted = restrict(path, access).and_then(|()| socket.listen(BACKLOG));
    if let Err(error) = restricted {
        // It is this process's own, and of no use to anybody.
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    Ok(socket.into())
}

/// Whether somebody listens on a unix socket. Does not wait: a connection to one whose queue is full would
/// wait until the other server accepts, which a stopped one never does.
fn is_listened_on(address: &SockAddr) -> io::Result<bool> {
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        // Connected, not allowed, or `WouldBlock`: the queue is full.
        _ => Ok(true),
    }
}

fn restrict(path: &Path, access: UnixAccess) -> io::Result<()> {
    let UnixAccess { mode, owner, group } = access;
    if owner.is_some() || group.is_some() {
        std::os::unix::fs::chown(path, owner, group)?;
    }
    mode.map_or(Ok(()), |mode| std::fs::set_permissions(path, Permissions::from_mode(mode)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unix_socket_with_a_full_queue_is_found_in_use_at_once() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("full.sock");
        let address = SockAddr::unix(&path).expect("the path is short");
        let full = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket can be made");
        full.bind(&address).and_then(|()| full.listen(0)).expect("the path is free");
        let waiting = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket can be made");
        waiting.connect(&address).expect("a queue of length 0 takes one");
        let error = unix(&path, UnixAccess::default()).expect_err("somebody listens there");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(full);
        unix(&path, UnixAccess::default()).expect("nobody listens there any more");
    }

    #[test]
    fn a_unix_socket_has_the_mode_that_is_asked_for() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("one.sock");
        let access = UnixAccess { mode: Some(0o600), ..UnixAccess::default() };
        let _listener = unix(&path, access).expect("the path is free");
        let mode = path.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
