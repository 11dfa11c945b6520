//! Starts a server, and stops it.
//!
//! A loop is a thread with an event queue of its own and some of the clients; a client stays on its loop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

use crate::budget::Budget;
use crate::journal::{Journal, Silent};
use crate::limits::{CUT, STREAM_END};
use crate::protection::Protection;
use crate::record::keeper::{Capsules, Keeper};
use crate::sandbox::guest::Guest;
use crate::sandbox::indexer::{Index, Unwalled};
use crate::sandbox::instance::{Form, Sharing, Terms};
use crate::serve::accept::{self, Acceptor};
use crate::serve::admission::Summary;
use crate::serve::event_loop::EventLoop;
use crate::serve::greeting::{Greeting, Handshakes};
use crate::serve::listen::{Listener, Proxy};
use crate::serve::observer::Observer;
use crate::serve::shared::{OtherLimits, Shared, Stop};
use crate::settings::Settings;
use crate::socket;
use crate::sources::{Indexes, MakeIndex, Sources};

/// A server that is being set up: what it serves, how, and who is told of it.
pub struct Server {
    guest: Arc<Guest>,
    sources: Sources,
    settings: Settings,
    journal: Arc<dyn Journal>,
    loops: usize,
    capsules: Option<Capsules>,
    sharing: Sharing,
    lacks: Option<Protection>,
    index: Indexing,
    is_observed: bool,
}

/// How live sources are indexed.
enum Indexing {
    BuiltIn,
    Custom(Arc<Index>),
    Off,
}

/// A running server. Dropping it cuts all clients off.
pub struct Running {
    shared: Arc<Shared>,
    stop: watch::Sender<Stop>,
    addresses: Vec<SocketAddr>,
    loops: Vec<EventLoop>,
}

impl Server {
    /// Serves `sources` through `guest`, within its limits. Servers may share a guest.
    pub fn new(guest: impl Into<Arc<Guest>>, sources: Sources) -> Self {
        Self {
            guest: guest.into(),
            sources,
            settings: Settings::default(),
            journal: Arc::new(Silent),
            loops: thread::available_parallelism().map_or(1, usize::from),
            capsules: None,
            sharing: Sharing::default(),
            lacks: None,
            index: Indexing::BuiltIn,
            is_observed: false,
        }
    }

    /// How to answer where there is a choice.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Who is told of clients and exchanges. The default is nobody.
    pub fn journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.journal = journal;
        self
    }

    /// Records clients and writes capsules of them.
    pub fn capsules(mut self, capsules: Capsules) -> Self {
        self.capsules = Some(capsules);
        self
    }

    /// Finds with this index where viewers may join a live source. Without a call of this it is the built-in
    /// one.
    pub fn index(mut self, index: impl Into<Arc<Index>>) -> Self {
        self.index = Indexing::Custom(index.into());
        self
    }

    /// Serves live sources without an index: viewers begin wherever they come.
    pub fn without_index(mut self) -> Self {
        self.index = Indexing::Off;
        self
    }

    /// Keeps a roster of the clients that are connected, for an [`Observer`].
    pub fn observed(mut self) -> Self {
        self.is_observed = true;
        self
    }

    /// How many threads serve clients; the default is one for each core. At least 1.
    pub fn loops(mut self, loops: usize) -> Self {
        self.loops = loops.max(1);
        self
    }

    /// Whether each client gets an instance of its own. For the trial of isolation.
    #[cfg(feature = "isolation-testing")]
    #[doc(hidden)]
    pub fn sharing(mut self, sharing: Sharing) -> Self {
        self.sharing = sharing;
        self
    }

    /// Serves without one of the protections. For the trial of isolation.
    #[cfg(feature = "isolation-testing")]
    #[doc(hidden)]
    pub fn without(mut self, protection: Protection) -> Self {
        self.lacks = Some(protection);
        self
    }

    /// Serves the clients of `listeners`, which [`listen`](crate::serve::listen) makes, or anybody: sockets that
    /// are bound and listen. A [`Listener`] also says how its clients speak.
    pub fn start(mut self, listeners: Vec<impl Into<Listener>>) -> io::Result<Running> {
        let listeners: Vec<Listener> = listeners.into_iter().map(Into::into).collect();
        let addresses = listeners.iter().filter_map(|listener| accept::address(&listener.socket)).collect();
        for listener in &listeners {
            accept::prepare(&listener.socket, self.guest.limits())?;
        }
        let keeper = self.capsules.map(|capsules| Keeper::start(capsules, Arc::clone(&self.journal))).transpose()?;
        let home = self.sources.only().map(<[u8]>::to_vec);
        let budget = Budget::new(self.guest.limits().total_memory);
        let (sharing, lacks) = (self.sharing, self.lacks);
        let form = Form::Usual;
        let terms = Terms { guest: self.guest, form, settings: self.settings, home, budget, sharing, lacks };
        if lacks == Some(Protection::Listings) {
            self.sources.list_without_protection();
        }
        let mut shared = Shared::new(terms, self.sources, self.journal, keeper);
        shared.roster = self.is_observed.then(Arc::default);
        let shared = Arc::new(shared);
        let index = match self.index {
            _ if !shared.sources.is_live() => None,
            Indexing::BuiltIn => Some(Arc::new(Index::built_in().map_err(io::Error::other)?)),
            Indexing::Custom(index) => Some(index),
            Indexing::Off => None,
        };
        shared.sources.start(&shared.journal, index.map(|index| make_index(index, lacks)))?;
        let stop = watch::Sender::new(Stop::No);
        let mut loops = Vec::new();
        for number in 0..self.loops {
            let event_loop = EventLoop::start(number)?;
            let slow_lane = Arc::default();
            let silent = shared.admissions.add_loop();
            let handshakes = Arc::default();
            let inside = event_loop.handle().enter();
            for listener in &listeners {
                let acceptor = Acceptor {
                    listener: socket::register(listener.socket.try_clone()?)?,
                    greeting: greeting(listener, &handshakes),
                    shared: Arc::clone(&shared),
                    slow_lane: Arc::clone(&slow_lane),
                    silent: Arc::clone(&silent),
                    stop: stop.subscribe(),
                };
                event_loop.handle().spawn(acceptor.run());
            }
            drop(inside);
            loops.push(event_loop);
        }
        Ok(Running { shared, stop, addresses, loops })
    }
}

/// How the clients of a listener are greeted on one loop. None: they are not.
fn greeting(listener: &Listener, handshakes: &Arc<Handshakes>) -> Option<Arc<Greeting>> {
    let (proxy, tls) = (listener.proxy, listener.tls.clone());
    let is_greeted = tls.is_some() || proxy == Proxy::Expected;
    is_greeted.then(|| Arc::new(Greeting { proxy, tls, handshakes: Arc::clone(handshakes) }))
}

/// What makes the indexes of a live source.
fn make_index(index: Arc<Index>, lacks: Option<Protection>) -> MakeIndex {
    Arc::new(move || {
        let index = index.start()?;
        Ok(match lacks {
            Some(Protection::Index) => Box::new(Unwalled(index)),
            _ => Box::new(index) as Box<dyn Indexes>,
        })
    })
}

impl Running {
    /// Where it listens, unix sockets not among them; the port is the real one where 0 was asked for.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What looks at the server while it runs.
    pub fn observer(&self) -> Observer {
        Observer(Arc::clone(&self.shared))
    }

    /// Accepts no more clients, and lets the connected ones finish what they are doing. Returns at once.
    ///
    /// Live sources go on to the end of the producer that is there, and growing files until they are complete or
    /// [`end_streams`](Self::end_streams) is called.
    pub fn drain(&self) {
        self.stop_at_least(Stop::Drain);
        self.shared.sources.drain();
    }

    /// Ends live sources and growing files where they are now: viewers get what has come, and then the end in good
    /// order. Returns at once.
    pub fn end_streams(&self) {
        self.shared.sources.stop();
    }

    /// How long streams go on in a drain of this length. The rest of it is for viewers to take the end.
    pub fn streams_last(drain: Duration) -> Duration {
        drain - STREAM_END.min(drain / 4)
    }

    /// Cuts all clients off. Returns at once.
    pub fn cut(&self) {
        self.stop_at_least(Stop::Now);
    }

    /// Serves new clients through another guest. Those that are connected keep theirs to the end.
    ///
    /// # Errors
    ///
    /// Fails where the new guest was made with other limits: what is shared by all clients was made for
    /// these.
    pub fn replace_guest(&self, guest: impl Into<Arc<Guest>>) -> Result<(), OtherLimits> {
        self.shared.replace_guest(guest.into())
    }

    /// Waits until the last client is gone, at most `patience`, and says whether it is. A server that
    /// was not asked to stop may get new clients right after.
    pub fn wait(&self, patience: Duration) -> bool {
        self.shared.admissions.wait_until_empty(patience)
    }

    /// What it has done so far.
    pub fn summary(&self) -> Summary {
        self.shared.admissions.summary()
    }

    /// Stops: drains for at most `patience`, cuts off whoever is left, and says what it did. Streams whose producers
    /// go on [end](Self::end_streams) shortly before.
    pub fn stop(self, patience: Duration) -> Summary {
        self.drain();
        let last = Self::streams_last(patience);
        if !self.wait(last) && !patience.is_zero() {
            self.end_streams();
        }
        if !self.wait(patience - last) {
            self.cut();
            // Each client hears of it at its next turn.
            self.wait(CUT);
        }
        self.flush_capsules();
        self.summary()
    }

    /// Waits until the capsules of clients that are gone are written, but not for ever.
    pub fn flush_capsules(&self) {
        self.shared.flush_capsules();
    }

    fn stop_at_least(&self, stop: Stop) {
        self.stop.send_if_modified(|now| {
            let changes = *now < stop;
            *now = stop.max(*now);
            changes
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cut();
        self.loops.clear();
    }
}
