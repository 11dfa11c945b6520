//! Accepts clients: one listener on one loop.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use crate::ended::{Closed, Ended};
use crate::limits::{ACCEPT_REST, ACCEPTS_AT_STOP, ACCEPTS_IN_A_ROW, Limits};
use crate::sandbox::slow_lane::SlowLane;
use crate::serve::client::{Carrier, Client};
use crate::serve::greeting::Greeting;
use crate::serve::listen::Proxy;
use crate::serve::shared::{Shared, Stop};
use crate::serve::silent::Silent;
use crate::socket::Socket;

/// One listener on one loop.
pub(crate) struct Acceptor {
    pub(crate) listener: AsyncFd<OwnedFd>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) slow_lane: Arc<SlowLane>,
    pub(crate) silent: Arc<Silent>,
    pub(crate) stop: watch::Receiver<Stop>,
    pub(crate) greeting: Option<Arc<Greeting>>,
}

/// What came of an attempt to accept.
enum Accepted {
    Client(OwnedFd, Option<SocketAddr>),
    Nobody,
    /// Not now: the process or the system is short of something.
    Short,
}

impl Acceptor {
    pub(crate) async fn run(self) {
        let mut stop = self.stop.clone();
        let mut stops = false;
        while !stops {
            tokio::select! {
                biased;
                // Who has been connected by now is still taken in; then the listener is closed.
                _ = stop.wait_for(|stop| *stop != Stop::No) => stops = true,
                ready = self.listener.readable() => match ready {
                    Ok(mut ready) => ready.clear_ready(),
                    Err(_) => return,
                },
            }
            let mut in_a_row = 0;
            loop {
                match accept(self.listener.get_ref().as_fd()) {
                    Accepted::Client(socket, peer) => self.admit(socket, peer).await,
                    Accepted::Nobody => break,
                    Accepted::Short if stops => break,
                    Accepted::Short => tokio::time::sleep(ACCEPT_REST).await,
                }
                in_a_row += 1;
                if in_a_row % ACCEPTS_IN_A_ROW == 0 {
                    stops |= *stop.borrow() != Stop::No;
                    tokio::task::yield_now().await;
                }
                if stops && in_a_row > ACCEPTS_AT_STOP {
                    break;
                }
            }
        }
    }

    async fn admit(&self, socket: OwnedFd, peer: Option<SocketAddr>) {
        let Self { shared, slow_lane, silent, stop, greeting, .. } = self;
        let number = shared.next_number();
        // A proxy has all its clients' connections. Whom they count for is seen when it has said so.
        let counted = greeting.as_ref().map_or(peer, |greeting| match greeting.proxy {
            Proxy::None => peer,
            Proxy::Expected => None,
        });
        match shared.admissions.admit(counted, &shared.limits).await {
            Ok(admission) => {
                let client = Client {
                    number,
                    peer,
                    via: None,
                    carrier: if peer.is_some() { Carrier::Tcp } else { Carrier::Unix },
                    socket: Socket::new(socket),
                    admission,
                    shared: Arc::clone(shared),
                    slow_lane: Arc::clone(slow_lane),
                    silent: Arc::clone(silent),
                    stop: stop.clone(),
                };
                match greeting {
                    None => tokio::spawn(client.serve()),
                    Some(greeting) => tokio::spawn(client.greet_and_serve(Arc::clone(greeting))),
                };
            }
            Err(reason) => {
                drop(socket);
                shared.journal.closed(&Closed::new(number, peer, Ended::Rejected(reason)));
            }
        }
    }
}

fn accept(listener: BorrowedFd<'_>) -> Accepted {
    // To find out that nobody waits, `accept` makes a socket, an inode and a file, and frees them again: ten times
    // the cost of asking. Most calls find nobody: the one after each client, and that of the slower loop.
    let mut asked = [PollFd::from_borrowed_fd(listener, PollFlags::IN)];
    if poll(&mut asked, Some(&Timespec::default())) == Ok(0) {
        return Accepted::Nobody;
    }
    loop {
        return match rustix::net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok((socket, peer)) => Accepted::Client(socket, peer.and_then(|peer| SocketAddr::try_from(peer).ok())),
            Err(Errno::AGAIN) => Accepted::Nobody,
            // A client that left before it was accepted, or whose network failed, is not the next one's
            // problem (accept(2) lists these).
            Err(
                Errno::INTR
                | Errno::CONNABORTED
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::PERM,
            ) => continue,
            Err(_) => Accepted::Short,
        };
    }
}

pub(crate) fn address(listener: &OwnedFd) -> Option<SocketAddr> {
    SocketAddr::try_from(rustix::net::getsockname(listener).ok()?).ok()
}

/// Sets what accepted sockets inherit, so that no client costs a call for it.
pub(crate) fn prepare(listener: &OwnedFd, limits: &Limits) -> io::Result<()> {
    rustix::io::ioctl_fionbio(listener, true)?;
    if address(listener).is_some() {
        let socket = socket2::SockRef::from(listener);
        // Header section and body may be two writes. With Nagle's algorithm the second would wait for the
        // client's delayed acknowledgement of the first.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_notsent_lowat(u32::try_from(limits.unsent).unwrap_or(u32::MAX))?;
        // A client whose machine has vanished is noticed at last, also where nothing is being sent.
        socket.set_keepalive(true)?;
    }
    Ok(())
}
