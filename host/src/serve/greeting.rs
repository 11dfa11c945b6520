//! How clients are greeted, and how many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::listen::Proxy;
use super::silent::{Room, Silent};
use crate::limits::HANDSHAKES;
use crate::sandbox::instance::Place;
use crate::tls::Tls;

/// How the clients of one listener on one loop are greeted.
pub(crate) struct Greeting {
    pub(crate) proxy: Proxy,
    pub(crate) tls: Option<Tls>,
    pub(crate) handshakes: Arc<Handshakes>,
}

/// The handshakes that are under way on one loop.
pub(crate) struct Handshakes {
    count: AtomicUsize,
    pub(super) list: Silent,
    /// Computing goes one by one. Otherwise everybody else on the loop would wait for a crowd of newcomers.
    pub(super) turn: Semaphore,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self { count: AtomicUsize::new(0), list: Silent::default(), turn: Semaphore::new(1) }
    }
}

/// A handshake that is under way, until it is dropped.
pub(super) struct UnderWay<'a>(&'a Handshakes);

impl Handshakes {
    /// Counts one more. If there are too many, the one that has taken longest gives way.
    pub(super) fn enter(&self) -> UnderWay<'_> {
        if self.count.fetch_add(1, Ordering::Relaxed) >= HANDSHAKES {
            self.list.displace(Room::Place(Place::Regular));
        }
        UnderWay(self)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}
