//! What a service manager is told, as sd_notify(3) says: that the server is ready, reloads, or stops.
//!
//! Rule: the socket is connected before the walls, and nothing here waits for the manager.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::time::{ClockId, clock_gettime};

use crate::printable::printable;

/// The service manager that started this program, if there is one that wants to know.
pub(crate) struct Manager(Option<UnixDatagram>);

impl Manager {
    /// Nobody.
    pub(crate) const NONE: Self = Self(None);

    /// The one that the environment names.
    ///
    /// # Errors
    ///
    /// Fails where the environment names one that cannot be reached.
    pub(crate) fn of_environment() -> io::Result<Self> {
        match env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) {
            Some(name) => Self::at(&name),
            None => Ok(Self::NONE),
        }
    }

    fn at(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect_addr(&address)?;
        Ok(Self(Some(socket)))
    }

    /// The server serves, also again after a reload.
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", printable(status)));
    }

    /// Files are read again. `ready` is to follow.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
    }

    /// The server is on its way out.
    pub(crate) fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\nSTATUS={}", printable(status)));
    }

    /// Another process of the service serves from now on.
    pub(crate) fn left_to(&self, process: i32, status: &str) {
        self.tell(&format!("MAINPID={process}\nSTATUS={}", printable(status)));
    }

    fn tell(&self, state: &str) {
        // A manager that does not take it is not waited for.
        let _ = self.0.as_ref().map(|socket| socket.send(state.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_has_a_path_or_an_abstract_name() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("notify");
        let name = format!("multiclient-{}-notify", std::process::id());
        let heard = UnixDatagram::bind(&path).expect("the path is free");
        let address = SocketAddr::from_abstract_name(&name).expect("it is short");
        let heard_too = UnixDatagram::bind_addr(&address).expect("the name is free");
        for (at, heard) in [(path.into_os_string(), heard), (format!("@{name}").into(), heard_too)] {
            Manager::at(&at).expect("somebody hears").ready("a\nREADY=0");
            let mut message = [0; 64];
            let count = heard.recv(&mut message).expect("it was sent");
            assert_eq!(&message[..count], b"READY=1\nSTATUS=a\\nREADY=0");
        }
        for nowhere in ["vsock:2:1", "/no/such/socket"] {
            assert!(Manager::at(OsStr::new(nowhere)).is_err(), "{nowhere}");
        }
    }
}
