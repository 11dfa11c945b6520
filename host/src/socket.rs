//! A client's socket, without waiting: each call does what can be done now, and says when that is nothing.
//!
//! Rule: whoever was told `Later` may wait for `readable` or `writable`, and nobody else. The socket is
//! registered with the event loop only when somebody first waits: a client that has sent its request
//! before it was accepted, and takes the whole reply at once, never is.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Asks a socket how much of what was sent is still under way. The number is that of most architectures
/// and of all that wasmtime compiles for.
const TIOCOUTQ: rustix::ioctl::Opcode = 0x5411;

/// A connected, non-blocking stream socket: TCP or unix.
pub(crate) struct Socket(State);

enum State {
    Unregistered(Arc<OwnedFd>),
    Registered(AsyncFd<Arc<OwnedFd>>),
    /// Between the two, and after the registration has failed.
    Gone,
}

/// How far an attempt went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// So many bytes, at least one.
    Bytes(usize),
    /// There will never be more: the client has shut its side, or the file has ended.
    End,
    /// Nothing now.
    Later,
}

/// Whether more bytes follow at once, so that the kernel should not send a small packet yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    More,
    Nothing,
}

impl Socket {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self(State::Unregistered(Arc::new(socket)))
    }

    fn fd(&self) -> Result<BorrowedFd<'_>, Errno> {
        match &self.0 {
            State::Unregistered(socket) => Ok(socket.as_fd()),
            State::Registered(socket) => Ok(socket.get_ref().as_fd()),
            State::Gone => Err(Errno::BADF),
        }
    }

    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Moved> {
        let received = retry(|| rustix::net::recv(self.fd()?, &mut *buffer, RecvFlags::DONTWAIT));
        moved(received.map(|(count, _)| count))
    }

    pub(crate) fn send(&self, bytes: &[u8], follows: Follows) -> io::Result<Moved> {
        let more = match follows {
            Follows::More => SendFlags::MORE,
            Follows::Nothing => SendFlags::empty(),
        };
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL | more;
        moved(retry(|| rustix::net::send(self.fd()?, bytes, flags)))
    }

    /// The socket as such, for [`send_file`]. A registered one stays open as long as somebody has it.
    pub(crate) fn borrow(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.fd()?)
    }

    /// The same for another thread, while nobody else sends.
    pub(crate) fn share(&self) -> io::Result<Arc<OwnedFd>> {
        match &self.0 {
            State::Unregistered(socket) => Ok(Arc::clone(socket)),
            State::Registered(socket) => Ok(Arc::clone(socket.get_ref())),
            State::Gone => Err(Errno::BADF.into()),
        }
    }

    /// Says to the client that nothing more will come.
    pub(crate) fn finish(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self.fd()?, Shutdown::Write)?)
    }

    /// Whether bytes of the client have arrived that nobody has taken. A close would then reset the
    /// connection, and the reset destroy what the client has not read yet.
    pub(crate) fn has_unread(&self) -> bool {
        self.fd().and_then(rustix::io::ioctl_fionread).is_ok_and(|count| count > 0)
    }

    /// How many of the bytes that were sent the client has not acknowledged.
    #[expect(unsafe_code, reason = "there is no safe wrapper of this call")]
    pub(crate) fn queued(&self) -> u32 {
        // SAFETY: TIOCOUTQ (tcp(7): SIOCOUTQ) writes one `int`, which is as large as a `u32`.
        let asked = unsafe { rustix::ioctl::Getter::<TIOCOUTQ, u32>::new() };
        // SAFETY: the descriptor is a socket, and the call changes nothing.
        self.fd().and_then(|socket| unsafe { rustix::ioctl::ioctl(socket, asked) }).unwrap_or_default()
    }

    /// Waits until `receive` is worth another attempt.
    pub(crate) async fn readable(&mut self) -> io::Result<()> {
        // Cleared before the attempt, not after: what arrives in between is then seen by the attempt
        // or wakes the next wait.
        self.registered()?.readable().await?.clear_ready();
        Ok(())
    }

    /// Waits until `send` or `send_file` is worth another attempt; also when the connection has failed.
    pub(crate) async fn writable(&mut self) -> io::Result<()> {
        self.registered()?.writable().await?.clear_ready();
        Ok(())
    }

    /// Waits until the connection has failed. A client that has only shut its side may well be reading.
    pub(crate) async fn failed(&mut self) -> io::Result<()> {
        self.registered()?.ready(Interest::ERROR).await?.retain_ready();
        Ok(())
    }

    fn registered(&mut self) -> io::Result<&AsyncFd<Arc<OwnedFd>>> {
        if let State::Unregistered(_) = self.0
            && let State::Unregistered(socket) = std::mem::replace(&mut self.0, State::Gone)
        {
            self.0 = State::Registered(register(socket)?);
        }
        match &self.0 {
            State::Registered(socket) => Ok(socket),
            State::Unregistered(_) | State::Gone => Err(Errno::BADF.into()),
        }
    }
}

/// Sends up to `count` bytes of `file` from `offset` on. They do not pass through this process. Does not wait for
/// the socket; for the file it may.
pub(crate) fn send_file(
    socket: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    mut offset: u64,
    count: usize,
) -> io::Result<Moved> {
    moved(retry(|| rustix::fs::sendfile(socket, file, Some(&mut offset), count)))
}

/// Has one open descriptor, the same until it is dropped.
pub(crate) trait Steady: AsRawFd {}

impl Steady for OwnedFd {}

impl Steady for Arc<OwnedFd> {}

/// Has the event loop watch a descriptor.
#[expect(unsafe_code, reason = "tokio cannot know of a type whether its descriptor stays the same")]
pub(crate) fn register<T: Steady>(descriptor: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: it has one open descriptor, the same until it is dropped, and the `AsyncFd` owns it.
    let registered = unsafe { AsyncFd::register(descriptor) };
    registered.map_err(io::Error::from)
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

fn moved(result: Result<usize, Errno>) -> io::Result<Moved> {
    match result {
        Ok(0) => Ok(Moved::End),
        Ok(count) => Ok(Moved::Bytes(count)),
        Err(Errno::AGAIN) => Ok(Moved::Later),
        Err(error) => Err(error.into()),
    }
}
