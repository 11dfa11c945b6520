//! Listens, admits clients to its loops, and lets them go when it stops.
//!
//! A loop is a thread with an event queue of its own and some of the clients; a client stays on its loop.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::SocketFlags;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::client::Client;
use crate::ended::{Ended, Life};
use crate::journal::Journal;
use crate::limits::{ACCEPT_REST, ACCEPTS_IN_A_ROW, FAULTS, Limits, PENALTY, SLOW_THREADS, SUSPECTS};
use crate::sandbox::Guest;
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
}

/// A running server. Dropping it cuts all clients off.
pub struct Running {
    shared: Arc<Shared>,
    stop: watch::Sender<Stop>,
    addresses: Vec<SocketAddr>,
    loops: Vec<Runtime>,
}

/// What a server did, when it is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Clients that were admitted.
    pub clients: u64,
    /// Bytes that went to them.
    pub bytes_out: u64,
    /// Clients whose guest failed, broke the contract or ran into a limit.
    pub guest_failures: u64,
    /// Clients that were cut off because the server stopped.
    pub cut_off: u64,
    /// Clients that were closed at once, because the server or their address had too many, or because
    /// clients of their address had failed too often.
    pub turned_away: u64,
}

/// What all clients of a server have in common.
pub(crate) struct Shared {
    guest: RwLock<Arc<Guest>>,
    pub(crate) sources: Sources,
    pub(crate) limits: Arc<Limits>,
    pub(crate) settings: Settings,
    pub(crate) journal: Arc<dyn Journal>,
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
        Self { guest, sources, limits, settings: Settings::default(), journal, loops }
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

    /// How many threads serve clients; the default is one for each core. At least 1.
    pub fn loops(mut self, loops: usize) -> Self {
        self.loops = loops.max(1);
        self
    }

    /// Serves the clients of `listeners`, which [`listen`](crate::listen) makes, or anybody: sockets that
    /// are bound and listen.
    pub fn start(self, listeners: Vec<OwnedFd>) -> io::Result<Running> {
        let addresses = listeners.iter().filter_map(|listener| address(listener)).collect();
        for listener in &listeners {
            prepare(listener, &self.limits)?;
        }
        let shared = Arc::new(Shared {
            guest: RwLock::new(self.guest),
            sources: self.sources,
            limits: Arc::new(self.limits),
            settings: self.settings,
            journal: self.journal,
            crowd: Arc::default(),
            numbers: AtomicU64::new(0),
        });
        let stop = watch::Sender::new(Stop::No);
        let mut loops = Vec::new();
        for number in 0..self.loops {
            // A runtime of one worker is a loop that can hand itself to another thread when a guest
            // computes for long (see `slow_lane`), and that shares nothing with its neighbours.
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .max_blocking_threads(SLOW_THREADS)
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
    pub fn drain(&self) {
        self.stop_at_least(Stop::Drain);
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
        self.shared.crowd.lock().summary
    }

    /// Stops: drains for at most `patience`, cuts off whoever is left, and says what it did.
    pub fn stop(self, patience: Duration) -> Summary {
        self.drain();
        if !self.wait(patience) {
            self.cut();
            // Each client hears of it at its next turn.
            self.wait(CUT);
        }
        self.summary()
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
        let Ok(listener) = socket::register(self.listener) else { return };
        let mut stop = self.stop;
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop != Stop::No) => return,
                ready = listener.readable() => match ready {
                    Ok(mut ready) => ready.clear_ready(),
                    Err(_) => return,
                },
            }
            let mut in_a_row = 0;
            loop {
                match accept(listener.as_fd()) {
                    Accepted::Client(socket, peer) => self.shared.welcome(socket, peer, &self.slow_lane, &stop),
                    Accepted::Nobody => break,
                    Accepted::Short => tokio::time::sleep(ACCEPT_REST).await,
                }
                in_a_row += 1;
                if in_a_row % ACCEPTS_IN_A_ROW == 0 {
                    tokio::task::yield_now().await;
                }
                if *stop.borrow() != Stop::No {
                    return;
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
            Some(admission) => {
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
            None => {
                drop(socket);
                self.journal.ended(&Life::turned_away(number, peer));
            }
        }
    }

    /// Counts a life that is over, and tells of it.
    pub(crate) fn ended(&self, life: &Life) {
        let mut crowd = self.crowd.lock();
        crowd.summary.bytes_out += life.bytes_out;
        crowd.summary.guest_failures += u64::from(life.ended.is_guests_fault());
        crowd.summary.cut_off += u64::from(life.ended == Ended::ShutDown);
        if life.ended.is_guests_fault()
            && let Some(address) = life.peer.and_then(|peer| counted_as(peer.ip()))
        {
            crowd.suspects.fault(address, Instant::now());
        }
        drop(crowd);
        self.journal.ended(life);
    }
}

/// Who is there.
#[derive(Default)]
struct Crowd {
    state: Mutex<Present>,
    empty: Condvar,
}

#[derive(Default)]
struct Present {
    clients: usize,
    /// Whether somebody waits for them to leave: telling nobody costs a system call too.
    awaited: bool,
    by_address: HashMap<IpAddr, usize>,
    suspects: Suspects,
    summary: Summary,
}

/// Addresses whose clients ended by their guest's fault not long ago.
#[derive(Default)]
struct Suspects(HashMap<IpAddr, Suspect>);

struct Suspect {
    faults: u32,
    last: Instant,
}

impl Suspects {
    fn fault(&mut self, address: IpAddr, now: Instant) {
        if self.0.len() >= SUSPECTS && !self.0.contains_key(&address) {
            self.0.retain(|_, suspect| now.duration_since(suspect.last) < PENALTY);
            // All of them are recent. One more or less makes no difference to whoever has so many addresses.
            if self.0.len() >= SUSPECTS {
                return;
            }
        }
        let suspect = self.0.entry(address).or_insert(Suspect { faults: 0, last: now });
        if now.duration_since(suspect.last) >= PENALTY {
            suspect.faults = 0;
        }
        suspect.faults = suspect.faults.saturating_add(1);
        suspect.last = now;
    }

    /// Whether an address has to stay away for now.
    fn is_barred(&self, address: IpAddr, now: Instant) -> bool {
        !self.0.is_empty()
            && self
                .0
                .get(&address)
                .is_some_and(|suspect| suspect.faults >= FAULTS && now.duration_since(suspect.last) < PENALTY)
    }
}

/// A client's place among the others, given back when it is dropped.
pub(crate) struct Admission {
    crowd: Arc<Crowd>,
    counted: Option<IpAddr>,
    at_capacity: bool,
}

impl Admission {
    /// None: there is no place, not even in the reserve.
    fn new(crowd: &Arc<Crowd>, peer: Option<SocketAddr>, limits: &Limits) -> Option<Self> {
        let address = peer.and_then(|peer| counted_as(peer.ip()));
        let mut present = crowd.lock();
        let barred = address.is_some_and(|address| present.suspects.is_barred(address, Instant::now()));
        let counted = address.filter(|_| limits.clients_per_address > 0);
        let neighbours = counted.and_then(|address| present.by_address.get(&address)).copied().unwrap_or_default();
        let crowded = counted.is_some() && neighbours >= limits.clients_per_address;
        if barred || crowded || present.clients >= limits.clients + limits.reserve {
            present.summary.turned_away += 1;
            return None;
        }
        let at_capacity = present.clients >= limits.clients;
        present.clients += 1;
        present.summary.clients += 1;
        if let Some(address) = counted {
            present.by_address.insert(address, neighbours + 1);
        }
        drop(present);
        Some(Self { crowd: Arc::clone(crowd), counted, at_capacity })
    }

    /// Whether this place is one of the reserve, there to be told that the server is full.
    pub(crate) fn at_capacity(&self) -> bool {
        self.at_capacity
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut present = self.crowd.lock();
        present.clients -= 1;
        if let Some(address) = self.counted
            && let Some(count) = present.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                present.by_address.remove(&address);
            }
        }
        if present.clients == 0 && present.awaited {
            self.crowd.empty.notify_all();
        }
    }
}

impl Crowd {
    fn lock(&self) -> MutexGuard<'_, Present> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until_empty(&self, patience: Duration) -> bool {
        let began = Instant::now();
        let mut present = self.lock();
        present.awaited = true;
        while present.clients > 0 {
            let Some(left) = patience.checked_sub(began.elapsed()) else { return false };
            (present, _) = self.empty.wait_timeout(present, left).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }
}

/// The address that a client counts for; none if it does not count.
fn counted_as(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST) => None,
        IpAddr::V4(address) => Some(address.into()),
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()),
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
                | Errno::OPNOTSUPP
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
