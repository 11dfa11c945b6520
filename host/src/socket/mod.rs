//! A client's socket, without waiting: each call does what can be done now, and says when that is nothing.
//!
//! Rule: whoever was told `Later` may wait for `readable` or `writable`, and nobody else. The socket is
//! registered with the event loop only when somebody first waits: a client that has sent its request
//! before it was accepted, and takes the whole reply at once, never is.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{Shutdown, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

mod calls;
mod secure;

use secure::Secure;

pub(crate) use calls::{Follows, Moved, send_file};
pub(crate) use secure::{For, Shaken, fault_of};

use crate::tls::Session;

/// Asks a socket how much of what was sent is still under way. The number is that of most architectures
/// and of all that wasmtime compiles for.
const TIOCOUTQ: rustix::ioctl::Opcode = 0x5411;

/// A connected, non-blocking stream socket, TCP or unix: with TLS on it, or without.
pub(crate) struct Socket {
    state: State,
    secure: Option<Box<Secure>>,
    /// Whether the client has shut its side and is known to read on.
    reads_on: bool,
}

enum State {
    Unregistered(Arc<OwnedFd>),
    Registered(AsyncFd<Arc<OwnedFd>>),
    /// Between the two, and after the registration has failed.
    Gone,
}

impl Socket {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { state: State::Unregistered(Arc::new(socket)), secure: None, reads_on: false }
    }

    fn fd(&self) -> Result<BorrowedFd<'_>, Errno> {
        match &self.state {
            State::Unregistered(socket) => Ok(socket.as_fd()),
            State::Registered(socket) => Ok(socket.get_ref().as_fd()),
            State::Gone => Err(Errno::BADF),
        }
    }

    /// Speaks TLS from now on.
    pub(crate) fn secure(&mut self, session: Session) {
        self.secure = Some(Box::new(Secure::new(session)));
    }

    /// Whether what is sent has to be encrypted first.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure.is_some()
    }

    /// The socket, and the TLS on it.
    fn parts(&mut self) -> io::Result<(BorrowedFd<'_>, Option<&mut Secure>)> {
        let socket = match &self.state {
            State::Unregistered(socket) => socket.as_fd(),
            State::Registered(socket) => socket.get_ref().as_fd(),
            State::Gone => return Err(Errno::BADF.into()),
        };
        Ok((socket, self.secure.as_deref_mut()))
    }

    /// Goes on with the handshake of TLS. Without TLS there is none.
    pub(crate) fn shake(&mut self) -> io::Result<Shaken> {
        match self.parts()? {
            (socket, Some(secure)) => secure.shake(socket),
            (_, None) => Ok(Shaken::Done),
        }
    }

    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Moved> {
        match self.parts()? {
            (socket, None) => calls::receive(socket, buffer),
            (socket, Some(secure)) => secure.receive(socket, buffer),
        }
    }

    /// Whether another attempt to receive may find something without waiting, after one that has filled a buffer of
    /// `size` with `count` bytes.
    pub(crate) fn may_have_more(&self, count: usize, size: usize) -> bool {
        match &self.secure {
            None => count == size,
            Some(secure) => !secure.is_emptied(),
        }
    }

    /// Looks at what the next attempt to receive would find, beneath TLS.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<Moved> {
        calls::peek(self.fd()?, buffer)
    }

    /// Receives what nobody will look at.
    pub(crate) fn discard(&mut self, buffer: &mut [u8]) -> io::Result<Moved> {
        calls::receive(self.fd()?, buffer)
    }

    pub(crate) fn send(&mut self, bytes: &[u8], follows: Follows) -> io::Result<Moved> {
        match self.parts()? {
            (socket, None) => calls::send(socket, bytes, follows),
            (socket, Some(secure)) => secure.send(socket, bytes, follows),
        }
    }

    /// Sends what counts as sent and is not, because the kernel had no room for it. False: not all of it.
    pub(crate) fn flush(&mut self, follows: Follows) -> io::Result<bool> {
        match self.parts()? {
            (_, None) => Ok(true),
            (socket, Some(secure)) => secure.flush(socket, follows),
        }
    }

    /// Begins to end the connection in good order, where more than closing belongs to it. [`flush`](Self::flush) says
    /// it to the client.
    pub(crate) fn begin_close(&mut self) {
        if let Some(secure) = &mut self.secure {
            secure.close();
        }
    }

    /// The socket as such, for [`send_file`]. A registered one stays open as long as somebody has it.
    pub(crate) fn borrow(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.fd()?)
    }

    /// The same for another thread, while nobody else sends.
    pub(crate) fn share(&self) -> io::Result<Arc<OwnedFd>> {
        match &self.state {
            State::Unregistered(socket) => Ok(Arc::clone(socket)),
            State::Registered(socket) => Ok(Arc::clone(socket.get_ref())),
            State::Gone => Err(Errno::BADF.into()),
        }
    }

    /// Says to the client that nothing more will come.
    pub(crate) fn finish(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self.fd()?, Shutdown::Write)?)
    }

    /// Has the connection reset when it is closed, instead of ended in good order. Unix sockets know no reset.
    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        Ok(sockopt::set_socket_linger(self.fd()?, Some(Duration::ZERO))?)
    }

    /// Whether bytes of the client have arrived that nobody has taken. A close would then reset the
    /// connection, and the reset destroy what the client has not read yet.
    pub(crate) fn has_unread(&self) -> bool {
        let held = self.secure.as_ref().is_some_and(|secure| secure.has_unread());
        held || self.fd().and_then(rustix::io::ioctl_fionread).is_ok_and(|count| count > 0)
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

    /// Takes note of whether the client has shut its side by now. If so before anything of a response is sent,
    /// it has sent all that it had to say, and reads on.
    pub(crate) fn note_reader(&mut self) {
        let Ok(socket) = self.fd() else { return };
        let mut asked = [PollFd::from_borrowed_fd(socket, PollFlags::RDHUP)];
        self.reads_on |= poll(&mut asked, Some(&Timespec::default())).is_ok_and(|count| count > 0);
    }

    /// Waits until the connection has failed, or is closed in both directions. A client that has only shut its
    /// side may well be reading.
    pub(crate) async fn failed(&mut self) -> io::Result<()> {
        let socket = self.registered()?;
        loop {
            // The end of the connection is one of writing, too. Whoever wants to write tries before it waits.
            let mut guard = socket.ready(Interest::WRITABLE | Interest::ERROR).await?;
            if guard.ready().is_error() || guard.ready().is_write_closed() {
                return Ok(());
            }
            guard.clear_ready();
        }
    }

    /// Waits until the client has left in the middle of a response: the connection has failed, or the client
    /// has shut its side after it had everything that was sent to it by then.
    ///
    /// On TCP, closing looks the same as shutting one's side until something is sent. Programs that shut their
    /// side to say that their request is complete do so with it (`nc -N`), before they have any of the
    /// response; see [`note_reader`](Self::note_reader). One that does so later has closed. (nginx takes every
    /// client that shuts its side for gone while it waits for an upstream.)
    ///
    /// `receive` has to be tried again afterwards, whatever was known.
    pub(crate) async fn left(&mut self) -> io::Result<()> {
        while !self.reads_on {
            let mut guard = self.registered()?.ready(Interest::READABLE | Interest::ERROR).await?;
            let ready = guard.ready();
            if ready.is_error() || ready.is_write_closed() {
                return Ok(());
            }
            guard.clear_ready();
            if ready.is_read_closed() {
                if self.queued() == 0 {
                    return Ok(());
                }
                // It did so before it had the last of what was sent.
                self.reads_on = true;
            }
        }
        self.failed().await
    }

    fn registered(&mut self) -> io::Result<&AsyncFd<Arc<OwnedFd>>> {
        if let State::Unregistered(_) = self.state
            && let State::Unregistered(socket) = std::mem::replace(&mut self.state, State::Gone)
        {
            self.state = State::Registered(register(socket)?);
        }
        match &self.state {
            State::Registered(socket) => Ok(socket),
            State::Unregistered(_) | State::Gone => Err(Errno::BADF.into()),
        }
    }
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{self, TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;
    use tokio::time::timeout;

    use super::*;

    fn connected() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let client = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
        let (socket, _) = listener.accept().expect("a client is there");
        socket.set_nonblocking(true).expect("a socket");
        (Socket::new(socket.into()), client)
    }

    /// Sends something, which the client takes.
    fn responds(socket: &mut Socket, client: &mut impl Read) {
        socket.send(b"response", Follows::Nothing).expect("the client is there");
        client.read_exact(&mut [0; 8]).expect("something was sent");
    }

    async fn leaves(socket: &mut Socket) -> bool {
        timeout(Duration::from_secs(20), socket.left()).await.is_ok()
    }

    async fn stays(socket: &mut Socket) -> bool {
        timeout(Duration::from_millis(100), socket.left()).await.is_err()
    }

    #[tokio::test]
    async fn a_client_that_closes_in_the_middle_of_a_response_has_left() {
        let (mut socket, mut client) = connected();
        socket.note_reader();
        responds(&mut socket, &mut client);
        assert!(stays(&mut socket).await);
        // What it still asks for is no leaving.
        client.write_all(b"more").expect("the server is there");
        assert!(stays(&mut socket).await);
        drop(client);
        assert!(leaves(&mut socket).await);
    }

    #[tokio::test]
    async fn a_client_that_shut_its_side_with_its_request_reads_on_until_it_fails() {
        let (mut socket, mut client) = connected();
        client.shutdown(net::Shutdown::Write).expect("the server is there");
        socket.note_reader();
        for _ in 0..2 {
            responds(&mut socket, &mut client);
            assert!(stays(&mut socket).await);
        }
        drop(client);
        // Nobody reads this: the connection is reset.
        while socket.send(b"response", Follows::Nothing).is_ok() {}
        assert!(leaves(&mut socket).await);
    }

    #[tokio::test]
    async fn on_a_unix_socket_closing_is_told_from_shutting_ones_side() {
        let (socket, mut client) = UnixStream::pair().expect("sockets");
        socket.set_nonblocking(true).expect("a socket");
        let mut socket = Socket::new(socket.into());
        responds(&mut socket, &mut client);
        client.shutdown(net::Shutdown::Write).expect("the server is there");
        let failed = timeout(Duration::from_millis(100), socket.failed()).await;
        assert!(failed.is_err(), "it reads on");
        drop(client);
        assert!(timeout(Duration::from_secs(20), socket.failed()).await.is_ok());
    }
}
