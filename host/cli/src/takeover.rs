//! `--takeover unix:PATH`: a server that starts is passed the sockets of the one that runs, so that no connection is
//! refused in between.
//!
//! 1. The new server connects to PATH. If nobody listens there, it is the first one, and listens there itself.
//! 2. Each side checks that the other runs as the same user, or as root: the kernel says so (`SO_PEERCRED`).
//! 3. The old server sends one message with all sockets that it listens on, PATH's among them. Which address each has
//!    the new server asks the kernel, and takes those that it was told to listen on.
//! 4. When the new server serves, it says so. The old one drains then. If the new one ends before that, the old one
//!    goes on as if nothing had happened.
//!
//! Both share each socket for a moment, and with it the connections that wait there: what the old server does not
//! accept, the new one does.
//!
//! Rule: nobody who connects to PATH is waited for longer than `READY_WITHIN`, and nothing of it runs on the loops.

use std::io::{self, IoSlice, IoSliceMut, PipeReader, PipeWriter, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketFlags, SocketType, sockopt,
};
use rustix::process::{Uid, geteuid};

use crate::address::{Address, UnixAddress};
use crate::args::Serve;
use crate::bind::UnixPaths;
use crate::failure::Failure;
use crate::passed::Passed;
use crate::signals::Signal;

/// What the message with the sockets says: a version, so that two programs that mean something else find out.
const OFFER: &[u8] = b"multiclient takeover 1\n";

/// What the new server says when it serves.
const READY: &[u8] = b"ready\n";

/// The most descriptors that the kernel passes with one message (`SCM_MAX_FD`).
const SOCKETS: usize = 253;

/// How long a server waits for the other's message.
const OFFERED_WITHIN: Duration = Duration::from_secs(10);

/// How long the old server waits for the new one to serve: it may have to compile a guest.
const READY_WITHIN: Timespec = Timespec { tv_sec: 120, tv_nsec: 0 };

/// Who may connect to PATH, where the operator does not say it: its owner.
const MODE: u32 = 0o600;

/// How the next server is waited for.
struct Next {
    listener: OwnedFd,
    /// Made before the walls: behind them there are no new pipes.
    stopped: PipeReader,
    stop: PipeWriter,
}

/// A server's part in a takeover, before it serves.
pub(crate) struct Takeover<'a> {
    at: &'a UnixAddress,
    /// The old server. None: there is none.
    old: Option<UnixStream>,
    next: Option<Next>,
    unix_paths: UnixPaths,
    copies: Vec<OwnedFd>,
    owner: Uid,
    is_taken: Arc<AtomicBool>,
}

impl<'a> Takeover<'a> {
    /// Asks the server that runs for its sockets, if there is one. None: there is no `--takeover`.
    pub(crate) fn meet(flags: &'a Serve) -> Result<(Option<Self>, Passed), Failure> {
        let Some(Address::Unix(at)) = &flags.operation.takeover else { return Ok((None, Passed::default())) };
        let (old, passed) = match UnixStream::connect(&at.path) {
            Ok(old) => {
                let passed = receive(&old).map_err(|error| refused(&at.path, &error))?;
                (Some(old), passed)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                (None, Passed::default())
            }
            Err(error) => return Err(refused(&at.path, &error)),
        };
        let (unix_paths, copies) = (UnixPaths::default(), Vec::new());
        Ok((
            Some(Self { at, old, next: None, unix_paths, copies, owner: geteuid(), is_taken: passed.is_taken() }),
            passed,
        ))
    }

    /// Listens for the next server, and keeps copies of the sockets that will be its.
    pub(crate) fn keep<'b>(
        &mut self,
        passed: &mut Passed,
        sockets: impl Iterator<Item = &'b OwnedFd>,
    ) -> Result<(), Failure> {
        let mut at = self.at.clone();
        at.access.mode.get_or_insert(MODE);
        let next = self.unix_paths.bind(&at, passed).and_then(|listener| {
            for socket in sockets {
                self.copies.push(socket.try_clone()?);
            }
            self.copies.push(listener.try_clone()?);
            rustix::io::ioctl_fionbio(&listener, true)?;
            let (stopped, stop) = io::pipe()?;
            Ok(Next { listener, stopped, stop })
        });
        self.next = Some(next.map_err(|error| refused(&at.path, &error))?);
        Ok(())
    }

    /// The path of the socket.
    pub(crate) fn path(&self) -> &Path {
        &self.at.path
    }

    /// Tells the old server that this one serves, and waits for the next one from now on.
    pub(crate) fn ready(self, wake: mpsc::Sender<Signal>) -> Result<Offering, Failure> {
        let Self { old, next, unix_paths, copies, owner, is_taken, .. } = self;
        if let Some(mut old) = old {
            // One that has ended meanwhile needs no word.
            let _ = old.write_all(READY);
            is_taken.store(true, Ordering::Relaxed);
        }
        let Next { listener, stopped, stop } = next.expect("it was made before the server started");
        let offer = Offer { listener, copies, owner, stopped };
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = thread::Builder::new().name("takeover".into()).spawn(move || {
            let taken_by = offer.run();
            if taken_by.is_some() {
                over.store(true, Ordering::Relaxed);
                // Nobody listens to signals any more: the server stops already.
                let _ = wake.send(Signal::TakenOver);
            }
            taken_by
        });
        Ok(Offering { stop, thread: thread.map_err(Failure::host)?, is_over, unix_paths })
    }
}

/// A server that another may take over from.
pub(crate) struct Offering {
    stop: PipeWriter,
    thread: JoinHandle<Option<i32>>,
    is_over: Arc<AtomicBool>,
    unix_paths: UnixPaths,
}

impl Offering {
    /// Whether another server has taken over.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Passes nothing from now on, and gives the process that has taken over, if one has.
    pub(crate) fn end(self) -> Option<i32> {
        let Self { stop, thread, unix_paths, .. } = self;
        drop(stop);
        // A thread that has panicked has passed nothing.
        let taken_by = thread.join().unwrap_or(None);
        if taken_by.is_some() {
            unix_paths.leave();
        }
        taken_by
    }
}

/// What a server passes to the next one.
struct Offer {
    listener: OwnedFd,
    copies: Vec<OwnedFd>,
    owner: Uid,
    /// Closed on the other side when the server stops.
    stopped: PipeReader,
}

impl Offer {
    /// Waits for the next server until this one stops. Gives the process that has taken over.
    fn run(self) -> Option<i32> {
        while self.wait(self.listener.as_fd(), None) {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let Ok(new) = rustix::net::accept_with(&self.listener, flags) else { continue };
            let new = UnixStream::from(new);
            if let Some(process) = self.pass(&new) {
                return Some(process);
            }
        }
        None
    }

    /// Passes everything to whoever has connected, if that is the next server, and waits until it serves.
    fn pass(&self, mut new: &UnixStream) -> Option<i32> {
        let peer = sockopt::socket_peercred(new).ok().filter(|peer| may_take(peer.uid, self.owner))?;
        send(new, &self.copies).ok()?;
        let mut said = [0; READY.len()];
        // It is written at once, so that it is read at once.
        let is_ready = self.wait(new.as_fd(), Some(&READY_WITHIN)) && new.read(&mut said).is_ok();
        (is_ready && said == READY).then(|| peer.pid.as_raw_pid())
    }

    /// Waits until this can be read. False: the time is up, or the server stops.
    fn wait(&self, fd: BorrowedFd<'_>, patience: Option<&Timespec>) -> bool {
        loop {
            let mut waited = [PollFd::from_borrowed_fd(fd, PollFlags::IN), PollFd::new(&self.stopped, PollFlags::IN)];
            match poll(&mut waited, patience) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(count) => return count > 0 && waited[1].revents().is_empty(),
                Err(_) => return false,
            }
        }
    }
}

/// Whether somebody who runs as `user` may have the sockets of `owner`.
fn may_take(user: Uid, owner: Uid) -> bool {
    user == owner || user.is_root()
}

fn send(new: &UnixStream, sockets: &[OwnedFd]) -> io::Result<()> {
    let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    if sockets.len() > SOCKETS || !message.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(io::Error::other("more sockets than one message takes"));
    }
    let sent = rustix::net::sendmsg(new, &[IoSlice::new(OFFER)], &mut message, SendFlags::NOSIGNAL)?;
    if sent == OFFER.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives the sockets of the server that runs.
fn receive(old: &UnixStream) -> io::Result<Passed> {
    let peer = sockopt::socket_peercred(old)?;
    if !may_take(peer.uid, geteuid()) {
        return Err(io::Error::other("another user's process listens there"));
    }
    old.set_read_timeout(Some(OFFERED_WITHIN))?;
    let mut said = [0; OFFER.len()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(old, &mut [IoSliceMut::new(&mut said)], &mut message, RecvFlags::CMSG_CLOEXEC)?;
    let mut sockets = Vec::new();
    for part in message.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = part {
            sockets.extend(passed);
        }
    }
    if received.bytes != OFFER.len() || said != OFFER {
        return Err(io::Error::other("what listens there passes nothing, or is of another version"));
    }
    let listens = |socket: &OwnedFd| {
        sockopt::socket_acceptconn(socket) == Ok(true) && sockopt::socket_type(socket) == Ok(SocketType::STREAM)
    };
    if !sockets.iter().all(listens) {
        return Err(io::Error::other("what listens there passes something else than sockets that listen"));
    }
    Ok(Passed::new(sockets))
}

fn refused(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot take over at unix:{}: {error}", path.display()))
        .next("stop what listens there, or choose another path")
}

#[cfg(test)]
mod tests {
    use super::*;
    use multiclient::listen;
    use std::net::SocketAddr;

    #[test]
    fn sockets_are_passed_and_found_by_their_addresses() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("one.sock");
        let tcp = listen::tcp("127.0.0.1:0".parse().expect("an address")).expect("a port is free");
        let unix = listen::unix(&path, listen::UnixAccess::default()).expect("the path is free");
        let address = SocketAddr::try_from(rustix::net::getsockname(&tcp).expect("it is bound")).expect("it is TCP");
        let (old, new) = UnixStream::pair().expect("sockets can be made");
        send(&old, &[tcp, unix]).expect("it can be sent");
        let mut passed = receive(&new).expect("it was sent");
        assert!(passed.tcp(SocketAddr::new([127, 0, 0, 2].into(), address.port())).is_none());
        assert!(passed.unix(&folder.path().join("other.sock")).is_none());
        assert!(passed.tcp(SocketAddr::new(address.ip(), 0)).is_some(), "any port");
        assert!(passed.tcp(address).is_none(), "each once");
        assert!(passed.unix(&path).is_some());
    }

    #[test]
    fn what_is_no_offer_is_refused() {
        let (mut old, new) = UnixStream::pair().expect("sockets can be made");
        old.write_all(b"HTTP/1.1 400 Bad Request\r\n").expect("it is open");
        assert!(receive(&new).is_err());
        let (old, new) = UnixStream::pair().expect("sockets can be made");
        let file: OwnedFd = std::fs::File::open("/dev/null").expect("it is there").into();
        send(&old, &[file]).expect("it can be sent");
        assert!(receive(&new).is_err(), "it does not listen");
    }

    #[test]
    fn sockets_are_for_the_same_user_and_for_root() {
        let (root, one, other) = (Uid::ROOT, Uid::from_raw(1_001), Uid::from_raw(1_002));
        assert!(may_take(one, one) && may_take(root, one));
        assert!(!may_take(other, one) && !may_take(one, root));
    }
}
