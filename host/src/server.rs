//! Listens, admits clients to its loops, and lets them go when it stops.
//!
//! A loop is a thread with an event queue of its own and some of the clients; a client stays on its loop.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SocketFlags;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};

use crate::capsule::Recording;
use crate::client::Client;
use crate::crowd::{Admission, Crowd, Summary};
use crate::ended::Life;
use crate::journal::Journal;
use crate::keeper::{Capsules, Keeper};
use crate::limits::{ACCEPT_REST, ACCEPTS_AT_STOP, ACCEPTS_IN_A_ROW, LISTINGS, Limits, SLOW_LANE};
use crate::sandbox::{Guest, Sharing};
use crate::slow_lane::SlowLane;
use crate::socket::{self, Socket};
use crate::sources::Sources;

/// What the guest is told about how to answer: the same for every client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether exchanges are reported to the journal. Off saves a little for each.
    pub reports: bool,
    /// Whether folders without an index are listed.
    pub listing: bool,
    /// Whether to answer as FFmpeg's example does.
    pub compat: bool,
    /// Lines for every reply: name and value.
    pub headers: Vec<(String, String)>,
    /// The origin that scripts of other sites may come from.
    pub cors: Option<String>,
}

/// Starts servers: what they serve, to whom, and who hears of it.
pub struct Server {
    guest: Arc<Guest>,
    sources: Sources,
    limits: Limits,
    settings: Settings,
    journal: Arc<dyn Journal>,
    loops: usize,
    capsules: Option<Capsules>,
    sharing: Sharing,
}

/// A running server. Dropping it cuts all clients off.
pub struct Running {
    shared: Arc<Shared>,
    stop: watch::Sender<Stop>,
    addresses: Vec<SocketAddr>,
    loops: Vec<Runtime>,
}

/// What all clients of a server have in common.
pub(crate) struct Shared {
    guest: RwLock<Arc<Guest>>,
    pub(crate) sources: Sources,
    pub(crate) limits: Arc<Limits>,
    pub(crate) settings: Settings,
    pub(crate) journal: Arc<dyn Journal>,
    /// Where lives are recorded.
    keeper: Option<Keeper>,
    pub(crate) sharing: Sharing,
    /// Places for those who want a folder read.
    pub(crate) listings: Arc<Semaphore>,
    crowd: Arc<Crowd>,
    numbers: AtomicU64,
}

/// How much a server wants to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    No,
    /// No new clients; the ones there are finish what they are at.
    Drain,
    /// At once.
    Now,
}

impl Server {
    /// Serves `sources` through `guest` within `limits`, for which the guest must have been prepared.
    pub fn new(guest: Arc<Guest>, sources: Sources, limits: Limits) -> Self {
        let loops = thread::available_parallelism().map_or(1, usize::from);
        let journal = Arc::new(crate::journal::Silent);
        Self {
            guest,
            sources,
            limits,
            settings: Settings::default(),
            journal,
            loops,
            capsules: None,
            sharing: Sharing::default(),
        }
    }

    /// How to answer where there is a choice.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Who hears of clients and exchanges.
    pub fn journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.journal = journal;
        self
    }

    /// Records clients, and keeps capsules of them.
    pub fn capsules(mut self, capsules: Capsules) -> Self {
        self.capsules = Some(capsules);
        self
    }

    /// How many threads serve clients; the default is one for each core. At least 1.
    pub fn loops(mut self, loops: usize) -> Self {
        self.loops = loops.max(1);
        self
    }

    /// Whether each client gets an instance of its own. For the tests of isolation.
    pub(crate) fn sharing(mut self, sharing: Sharing) -> Self {
        self.sharing = sharing;
        self
    }

    /// Serves the clients of `listeners`, which [`listen`](crate::listen) makes, or anybody: sockets that
    /// are bound and listen.
    pub fn start(self, listeners: Vec<OwnedFd>) -> io::Result<Running> {
        let addresses = listeners.iter().filter_map(address).collect();
        for listener in &listeners {
            prepare(listener, &self.limits)?;
        }
        let keeper = self.capsules.map(|capsules| {
            Keeper::start(capsules, self.settings.clone(), self.sources.only(), Arc::clone(&self.journal))
        });
        let shared = Arc::new(Shared {
            keeper: keeper.transpose()?,
            guest: RwLock::new(self.guest),
            sources: self.sources,
            limits: Arc::new(self.limits),
            settings: self.settings,
            journal: self.journal,
            sharing: self.sharing,
            listings: Arc::new(Semaphore::new(LISTINGS)),
            crowd: Arc::default(),
            numbers: AtomicU64::new(0),
        });
        shared.sources.start(&shared.journal)?;
        let stop = watch::Sender::new(Stop::No);
        let mut loops = Vec::new();
        for number in 0..self.loops {
            // A runtime of one worker is a loop that can hand itself to another thread when a guest
            // computes for long (see `slow_lane`), and that shares nothing with its neighbours.
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .max_blocking_threads(SLOW_LANE + LISTINGS)
                .thread_name(format!("loop-{number}"))
                .enable_io()
                .enable_time()
                .build()?;
            let slow_lane = Arc::default();
            for listener in &listeners {
                let door = Door {
                    listener: listener.try_clone()?,
                    shared: Arc::clone(&shared),
                    slow_lane: Arc::clone(&slow_lane),
                    stop: stop.subscribe(),
                };
                runtime.spawn(door.admit());
            }
            loops.push(runtime);
        }
        Ok(Running { shared, stop, addresses, loops })
    }
}

impl Running {
    /// Where it listens, unix sockets not among them; the port is the real one where 0 was asked for.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Takes no more clients, and lets those there are finish what they are at. Returns at once.
    ///
    /// What is live ends here: who watches gets what has come, and then the end.
    pub fn drain(&self) {
        self.stop_at_least(Stop::Drain);
        self.shared.sources.stop();
    }

    /// Cuts all clients off. Returns at once.
    pub fn cut(&self) {
        self.stop_at_least(Stop::Now);
    }

    /// Serves new clients through another guest. Those that are there keep theirs to the end. It must have
    /// been prepared for the same limits.
    pub fn replace_guest(&self, guest: Arc<Guest>) {
        *self.shared.guest.write().unwrap_or_else(PoisonError::into_inner) = guest;
    }

    /// Waits until the last client is gone, at most `patience`, and says whether it is. A server that
    /// was not asked to stop may get new clients right after.
    pub fn wait(&self, patience: Duration) -> bool {
        self.shared.crowd.wait_until_empty(patience)
    }

    /// What it has done so far.
    pub fn summary(&self) -> Summary {
        self.shared.crowd.summary()
    }

    /// Stops: drains for at most `patience`, cuts off whoever is left, and says what it did.
    pub fn stop(self, patience: Duration) -> Summary {
        self.drain();
        if !self.wait(patience) {
            self.cut();
            // Each client hears of it at its next turn.
            self.wait(CUT);
        }
        self.flush_capsules();
        self.summary()
    }

    /// Waits until the capsules of clients that are gone are written, but not for ever.
    pub(crate) fn flush_capsules(&self) {
        if let Some(keeper) = &self.shared.keeper {
            keeper.flush();
        }
    }

    fn stop_at_least(&self, stop: Stop) {
        self.stop.send_if_modified(|now| {
            let changes = *now < stop;
            *now = stop.max(*now);
            changes
        });
    }
}

/// How long clients that are cut off may take to notice. Only a guest that is computing takes any time.
const CUT: Duration = Duration::from_secs(2);

impl Drop for Running {
    fn drop(&mut self) {
        self.cut();
        for runtime in self.loops.drain(..) {
            runtime.shutdown_background();
        }
    }
}

/// One listener on one loop.
struct Door {
    listener: OwnedFd,
    shared: Arc<Shared>,
    slow_lane: Arc<SlowLane>,
    stop: watch::Receiver<Stop>,
}

/// What came of an attempt to accept.
enum Accepted {
    Client(OwnedFd, Option<SocketAddr>),
    Nobody,
    /// Not now: the process or the system is short of something.
    Short,
}

impl Door {
    async fn admit(self) {
        let Self { listener, shared, slow_lane, mut stop } = self;
        let Ok(listener) = socket::register(listener) else { return };
        let mut stops = false;
        while !stops {
            tokio::select! {
                biased;
                // Who has been connected by now is still taken in; then the listener is closed.
                _ = stop.wait_for(|stop| *stop != Stop::No) => stops = true,
                ready = listener.readable() => match ready {
                    Ok(mut ready) => ready.clear_ready(),
                    Err(_) => return,
                },
            }
            let mut in_a_row = 0;
            loop {
                match accept(listener.as_fd()) {
                    Accepted::Client(socket, peer) => shared.welcome(socket, peer, &slow_lane, &stop),
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
}

impl Shared {
    /// The guest of a client that comes now.
    pub(crate) fn guest(&self) -> Arc<Guest> {
        Arc::clone(&self.guest.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn welcome(
        self: &Arc<Self>,
        socket: OwnedFd,
        peer: Option<SocketAddr>,
        slow_lane: &Arc<SlowLane>,
        stop: &watch::Receiver<Stop>,
    ) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        match Admission::new(&self.crowd, peer, &self.limits) {
            Ok(admission) => {
                let client = Client {
                    number,
                    peer,
                    socket: Socket::new(socket),
                    admission,
                    shared: Arc::clone(self),
                    slow_lane: Arc::clone(slow_lane),
                    stop: stop.clone(),
                };
                tokio::spawn(client.live());
            }
            Err(reason) => {
                drop(socket);
                self.journal.ended(&Life::turned_away(number, peer, reason));
            }
        }
    }

    /// Begins to record a client, where clients are recorded.
    pub(crate) fn record(&self, client: &Client, guest: &Arc<Guest>) -> Option<Box<Recording>> {
        self.keeper.as_ref()?.record(client.number, client.admission.at_capacity(), guest, &self.limits)
    }

    /// Counts a life that is over, keeps what was recorded of it if that is worth it, and tells of it.
    pub(crate) fn ended(&self, life: Life, recording: Option<Box<Recording>>) {
        self.crowd.ended(&life);
        let untold = match (&self.keeper, recording) {
            (Some(keeper), Some(recording)) => keeper.take(recording, life),
            _ => Some(life),
        };
        if let Some(life) = untold {
            self.journal.ended(&life);
        }
    }
}

fn accept(listener: BorrowedFd<'_>) -> Accepted {
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

fn address(listener: &OwnedFd) -> Option<SocketAddr> {
    SocketAddr::try_from(rustix::net::getsockname(listener).ok()?).ok()
}

/// Sets what accepted sockets inherit, so that no client costs a call for it.
fn prepare(listener: &OwnedFd, limits: &Limits) -> io::Result<()> {
    rustix::io::ioctl_fionbio(listener, true)?;
    if address(listener).is_some() {
        let socket = socket2::SockRef::from(listener);
        // Head and body may be two writes. With Nagle's algorithm the second would wait for the
        // client's delayed acknowledgement of the first.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_notsent_lowat(limits.unsent_bytes)?;
        // A client whose machine has vanished is noticed at last, also where nothing is being sent.
        socket.set_keepalive(true)?;
    }
    Ok(())
}
