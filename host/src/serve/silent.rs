//! The silent clients of a loop, longest first: they give way when a server is full, or short of memory.
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
    /// How many of them hold an instance.
    holders: usize,
}

type List = BTreeMap<Turn, Waker>;

/// Whose turn it is to give way: whoever fell silent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    since: Instant,
    client: u64,
    holds: Holds,
}

/// What a silent client holds beside its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holds {
    Nothing,
    /// An instance, which is most of what a client takes of the memory of all.
    Instance,
}

/// What a silent client gives way for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// For one more client with such a place.
    Place(Place),
    /// For another client's instance.
    Memory,
}

impl Lists {
    fn of(&mut self, place: Place) -> &mut List {
        match place {
            Place::Regular => &mut self.regular,
            Place::Reserve => &mut self.reserve,
        }
    }

    /// Whose turn it is of those that can make such room, with the list that it is in.
    fn longest(&mut self, room: Room) -> Option<(Place, Turn)> {
        let place = match room {
            Room::Place(place) => place,
            // Those of the reserve are on their way out.
            Room::Memory => Place::Regular,
        };
        // Short of memory, this looks at those that have never said anything, too: thousands take microseconds.
        let turn = self.of(place).keys().find(|turn| room != Room::Memory || turn.holds == Holds::Instance);
        Some((place, *turn?))
    }

    fn enter(&mut self, place: Place, turn: Turn, waker: Waker) {
        if self.of(place).insert(turn, waker).is_none() && turn.holds == Holds::Instance {
            self.holders += 1;
        }
    }

    fn leave(&mut self, place: Place, turn: Turn) -> Option<Waker> {
        let waker = self.of(place).remove(&turn)?;
        if turn.holds == Holds::Instance {
            self.holders -= 1;
        }
        Some(waker)
    }
}

impl Silent {
    /// Resolves when this client, silent since then, has to give way.
    pub(crate) fn gives_way(&self, place: Place, client: u64, since: Instant, holds: Holds) -> Silence<'_> {
        Silence { silent: self, place, turn: Turn { since, client, holds }, listed: false }
    }

    /// Since when the longest silent client has been silent that can make such room. None: there is none.
    pub(crate) fn longest(&self, room: Room) -> Option<Instant> {
        lock(&self.0).longest(room).map(|(_, turn)| turn.since)
    }

    /// Has the longest silent client give way that can make such room. False: there is none.
    pub(crate) fn displace(&self, room: Room) -> bool {
        let mut lists = lock(&self.0);
        let longest = lists.longest(room).and_then(|(place, turn)| lists.leave(place, turn));
        longest.map(Waker::wake).is_some()
    }

    /// How many silent clients hold an instance.
    pub(crate) fn holders(&self) -> usize {
        lock(&self.0).holders
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
        if self.listed && !lists.of(self.place).contains_key(&self.turn) {
            return Poll::Ready(());
        }
        lists.enter(self.place, self.turn, context.waker().clone());
        drop(lists);
        self.listed = true;
        Poll::Pending
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        if self.listed {
            lock(&self.silent.0).leave(self.place, self.turn);
        }
    }
}
