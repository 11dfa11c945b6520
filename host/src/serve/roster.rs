//! Who is connected, and how it goes with them: kept for whoever watches the server, and only then.
//!
//! Rule: what a loop does for this is a few relaxed stores; the lock is taken when a client comes, asks for a
//! source, and goes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::sources::{Edge, Source};
use crate::sync::lock;

/// The clients that are connected, and what all clients so far have come to.
#[derive(Default)]
pub(crate) struct Roster {
    present: Mutex<BTreeMap<u64, Arc<Seen>>>,
    all: Counted,
}

/// What is counted of one client, or of all.
#[derive(Default)]
struct Counted {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    exchanges: AtomicU64,
    cpu_ns: AtomicU64,
}

/// What is known of a client.
struct Seen {
    client: u64,
    peer: Option<SocketAddr>,
    since: Instant,
    counted: Counted,
    /// Of its instance. 0: it has none.
    memory: AtomicU64,
    /// Up to where it has been sent a source that moves.
    position: AtomicU64,
    sending: Mutex<Option<Sending>>,
}

/// The source that a client is sent.
struct Sending {
    name: Box<[u8]>,
    edge: Option<Edge>,
}

/// A client that is connected, as it is now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Connected {
    /// Its number, as in the journal.
    pub client: u64,
    /// Where it comes from; none for a unix socket.
    pub peer: Option<SocketAddr>,
    /// How long it has been connected.
    pub duration: Duration,
    /// Bytes received from it.
    pub bytes_in: u64,
    /// Bytes sent to it.
    pub bytes_out: u64,
    /// Exchanges that its guest has reported.
    pub exchanges: u64,
    /// How long its guest has been computing.
    pub cpu: Duration,
    /// The memory of its instance. 0: it has none yet, or needs none any more.
    pub memory: u64,
    /// The name of the source that it is sent. Any bytes that a name may have, or none.
    pub source: Option<Vec<u8>>,
    /// Of a live source: how many bytes it is behind the live edge.
    pub lag: Option<u64>,
}

/// What all clients so far have come to, those that are connected among them. None of it ever gets less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Exchanges that guests have reported.
    pub exchanges: u64,
    /// How long guests have been computing.
    pub cpu: Duration,
}

impl Roster {
    /// The clients that are connected, longest first.
    pub(crate) fn connected(&self) -> Vec<Connected> {
        // Looked at after the lock is free: a client that comes or goes waits for a list of pointers only.
        let present: Vec<_> = lock(&self.present).values().cloned().collect();
        present.iter().map(|seen| seen.now()).collect()
    }

    pub(crate) fn totals(&self) -> Totals {
        let Totals { bytes_in, bytes_out, exchanges, cpu } = self.all.now();
        Totals { bytes_in, bytes_out, exchanges, cpu }
    }
}

impl Counted {
    fn now(&self) -> Totals {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            bytes_in: load(&self.bytes_in),
            bytes_out: load(&self.bytes_out),
            exchanges: load(&self.exchanges),
            cpu: Duration::from_nanos(load(&self.cpu_ns)),
        }
    }
}

impl Seen {
    fn now(&self) -> Connected {
        let Totals { bytes_in, bytes_out, exchanges, cpu } = self.counted.now();
        let (source, lag) = match &*lock(&self.sending) {
            Some(Sending { name, edge }) => {
                let position = self.position.load(Ordering::Relaxed);
                (Some(name.to_vec()), edge.as_ref().map(|edge| edge.lag(position)))
            }
            None => (None, None),
        };
        Connected {
            client: self.client,
            peer: self.peer,
            duration: self.since.elapsed(),
            bytes_in,
            bytes_out,
            exchanges,
            cpu,
            memory: self.memory.load(Ordering::Relaxed),
            source,
            lag,
        }
    }
}

/// A client's line in the roster, where one is kept. Gone when this is dropped.
#[derive(Default)]
pub(super) struct Line(Option<Entry>);

struct Entry {
    roster: Arc<Roster>,
    seen: Arc<Seen>,
}

impl Line {
    pub(super) fn new(roster: Option<&Arc<Roster>>, client: u64, peer: Option<SocketAddr>) -> Self {
        Self(roster.map(|roster| {
            let seen = Arc::new(Seen {
                client,
                peer,
                since: Instant::now(),
                counted: Counted::default(),
                memory: AtomicU64::new(0),
                position: AtomicU64::new(0),
                sending: Mutex::new(None),
            });
            lock(&roster.present).insert(client, Arc::clone(&seen));
            Entry { roster: Arc::clone(roster), seen }
        }))
    }

    fn count(&self, which: impl Fn(&Counted) -> &AtomicU64, count: u64) {
        if let Some(Entry { roster, seen }) = &self.0 {
            for counted in [&seen.counted, &roster.all] {
                which(counted).fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn received(&self, bytes: u64) {
        self.count(|counted| &counted.bytes_in, bytes);
    }

    /// Notes that bytes were sent, and how far that has brought a source that moves.
    pub(super) fn sent(&self, bytes: u64, source: Option<&Source>) {
        self.count(|counted| &counted.bytes_out, bytes);
        if let Some(entry) = &self.0
            && let Some(position) = source.and_then(Source::position)
        {
            entry.seen.position.store(position, Ordering::Relaxed);
        }
    }

    /// Notes that the client's guest has been computing for so long by now, and has so much memory. None: its
    /// instance is gone.
    pub(super) fn computed(&self, cpu: Duration, memory: Option<u64>) {
        let Some(Entry { roster, seen }) = &self.0 else { return };
        let now = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
        let before = seen.counted.cpu_ns.swap(now, Ordering::Relaxed);
        roster.all.cpu_ns.fetch_add(now.saturating_sub(before), Ordering::Relaxed);
        seen.memory.store(memory.unwrap_or(0), Ordering::Relaxed);
    }

    /// Notes that this source was opened for the client.
    pub(super) fn opened(&self, name: &[u8], source: &Source) {
        let Some(Entry { seen, .. }) = &self.0 else { return };
        seen.position.store(source.position().unwrap_or(0), Ordering::Relaxed);
        *lock(&seen.sending) = Some(Sending { name: name.into(), edge: source.edge() });
    }

    /// Notes that an exchange is over.
    pub(super) fn exchanged(&self) {
        self.count(|counted| &counted.exchanges, 1);
        if let Some(Entry { seen, .. }) = &self.0 {
            *lock(&seen.sending) = None;
        }
    }

    /// Whether there is a roster.
    pub(super) fn is_kept(&self) -> bool {
        self.0.is_some()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.roster.present).remove(&self.seen.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_the_roster_stays_in_its_totals() {
        let roster = Arc::new(Roster::default());
        let one = Line::new(Some(&roster), 1, None);
        let two = Line::new(Some(&roster), 2, None);
        one.received(10);
        one.sent(100, None);
        one.computed(Duration::from_micros(3), Some(65_536));
        one.computed(Duration::from_micros(5), None);
        two.computed(Duration::from_micros(7), Some(131_072));
        two.exchanged();
        let now: Vec<_> = roster.connected().iter().map(|c| (c.client, c.bytes_out, c.memory, c.exchanges)).collect();
        assert_eq!(now, [(1, 100, 0, 0), (2, 0, 131_072, 1)]);
        drop(one);
        assert_eq!(roster.connected().len(), 1);
        let totals = Totals { bytes_in: 10, bytes_out: 100, exchanges: 1, cpu: Duration::from_micros(12) };
        assert_eq!(roster.totals(), totals);
    }

    #[test]
    fn without_a_roster_nothing_is_kept() {
        let line = Line::new(None, 1, None);
        line.sent(1, None);
        assert!(!line.is_kept());
    }
}
