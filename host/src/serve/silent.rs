//! The silent clients of a loop, longest first: they give way when a server is full.
//!
//! Rules: a client is in here only while it waits for bytes and is in the middle of nothing. Each loop has
//! a list of its own, so that its lock is free whenever a client enters or leaves; only a server that is
//! full looks into the lists of other loops.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use crate::sandbox::instance::Place;
use crate::sync::lock;

/// The silent clients of one loop.
#[derive(Default)]
pub(crate) struct Silent(Mutex<Lists>);

#[derive(Default)]
struct Lists {
    regular: List,
    reserve: List,
}

type List = BTreeMap<Turn, Waker>;

/// Whose turn it is to give way: whoever fell silent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    since: Instant,
    client: u64,
}

impl Lists {
    fn of(&mut self, place: Place) -> &mut List {
        match place {
            Place::Regular => &mut self.regular,
            Place::Reserve => &mut self.reserve,
        }
    }
}

impl Silent {
    /// Resolves when this client, silent since then, has to give way.
    pub(crate) fn gives_way(&self, place: Place, client: u64, since: Instant) -> Silence<'_> {
        Silence { silent: self, place, turn: Turn { since, client }, listed: false }
    }

    /// Since when the longest silent client with such a place has been silent. None: nobody is silent.
    pub(crate) fn longest(&self, place: Place) -> Option<Instant> {
        lock(&self.0).of(place).first_key_value().map(|(turn, _)| turn.since)
    }

    /// Has the longest silent client give way. False: nobody is silent.
    pub(crate) fn displace(&self, place: Place) -> bool {
        let longest = lock(&self.0).of(place).pop_first();
        longest.map(|(_, waker)| waker.wake()).is_some()
    }
}

/// A client that is silent, until it is dropped.
pub(crate) struct Silence<'a> {
    silent: &'a Silent,
    place: Place,
    turn: Turn,
    /// Whether it was entered in the list. It may have been taken out since.
    listed: bool,
}

impl Future for Silence<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut lists = lock(&self.silent.0);
        let list = lists.of(self.place);
        if self.listed && !list.contains_key(&self.turn) {
            return Poll::Ready(());
        }
        list.insert(self.turn, context.waker().clone());
        drop(lists);
        self.listed = true;
        Poll::Pending
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        if self.listed {
            lock(&self.silent.0).of(self.place).remove(&self.turn);
        }
    }
}
