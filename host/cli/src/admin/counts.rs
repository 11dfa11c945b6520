//! How clients ended and requests were answered, counted since the start.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use multiclient::{Closed, Ended, Exchange, Journal};

/// How many of the clients that have left are remembered one by one.
const REMEMBERED: usize = 20;

/// Upper bounds of how long an exchange took, in seconds. Those that took longer are in a class of their own.
pub(super) const BUCKETS: [f64; 8] = [0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3_600.0];

/// Classes of status codes; the first is for those that are none.
pub(super) const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// What was counted.
#[derive(Default)]
pub(super) struct Counts {
    ends: Mutex<Ends>,
    by_class: [AtomicU64; CLASSES.len()],
    by_duration: [AtomicU64; BUCKETS.len() + 1],
    micros: AtomicU64,
}

/// How clients have ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends {
    /// By the word for it.
    pub(super) by_kind: BTreeMap<&'static str, u64>,
    /// By the timeout, limit, rule or reason.
    pub(super) by_which: BTreeMap<&'static str, u64>,
    /// The last ones, latest first.
    pub(super) last: VecDeque<Gone>,
}

/// A client that has left.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    pub(super) client: u64,
    pub(super) ended: String,
    pub(super) is_ordinary: bool,
    pub(super) bytes_out: u64,
    pub(super) duration: Duration,
}

/// How long exchanges took.
pub(super) struct Durations {
    /// For each bucket, those that took at most so long; then all.
    pub(super) up_to: [u64; BUCKETS.len() + 1],
    pub(super) sum: Duration,
}

impl Counts {
    fn lock(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A journal that counts, and tells `other` everything.
    pub(super) fn and(self: &Arc<Self>, other: Arc<dyn Journal>) -> Arc<dyn Journal> {
        Arc::new(Both { counts: Arc::clone(self), other })
    }

    /// How clients have ended so far. Each way is there, also where nobody has.
    pub(super) fn ends(&self) -> Ends {
        let mut ends = self.lock().clone();
        for kind in Ended::KINDS {
            ends.by_kind.entry(kind).or_default();
        }
        ends
    }

    /// How many exchanges there were of each class.
    pub(super) fn classes(&self) -> [(&'static str, u64); CLASSES.len()] {
        std::array::from_fn(|at| (CLASSES[at], self.by_class[at].load(Ordering::Relaxed)))
    }

    pub(super) fn durations(&self) -> Durations {
        let mut so_far = 0;
        let up_to = std::array::from_fn(|at| {
            so_far += self.by_duration[at].load(Ordering::Relaxed);
            so_far
        });
        Durations { up_to, sum: Duration::from_micros(self.micros.load(Ordering::Relaxed)) }
    }

    fn exchanged(&self, exchange: &Exchange<'_>) {
        let class = usize::from(exchange.status / 100);
        let class = if class < CLASSES.len() { class } else { 0 };
        self.by_class[class].fetch_add(1, Ordering::Relaxed);
        let seconds = exchange.duration.as_secs_f64();
        self.by_duration[BUCKETS.partition_point(|bound| *bound < seconds)].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(exchange.duration.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn ended(&self, closed: &Closed) {
        let gone = Gone {
            client: closed.client,
            ended: closed
                .ended
                .which()
                .map_or_else(|| closed.ended.kind().to_owned(), |which| format!("{} ({which})", closed.ended.kind())),
            is_ordinary: closed.is_ordinary(),
            bytes_out: closed.bytes_out,
            duration: closed.duration,
        };
        let mut ends = self.lock();
        *ends.by_kind.entry(closed.ended.kind()).or_default() += 1;
        if let Some(which) = closed.ended.which() {
            *ends.by_which.entry(which).or_default() += 1;
        }
        ends.last.truncate(REMEMBERED - 1);
        ends.last.push_front(gone);
    }
}

/// A journal that counts before it tells another.
struct Both {
    counts: Arc<Counts>,
    other: Arc<dyn Journal>,
}

impl Journal for Both {
    fn exchange(&self, exchange: &Exchange<'_>) {
        self.counts.exchanged(exchange);
        self.other.exchange(exchange);
    }

    fn closed(&self, closed: &Closed) {
        self.counts.ended(closed);
        self.other.closed(closed);
    }

    fn notice(&self, text: &str) {
        self.other.notice(text);
    }
}
