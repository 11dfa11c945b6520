//! Where a guest goes that computes for long: off the loop that other clients wait for.
//!
//! A guest runs on the thread of its loop, because that is the cheapest place for the ten microseconds
//! that a call takes. One that is still computing when the clock ticks hands the loop to another thread
//! and goes on beside it. Such guests take turns of a tick, one at a time; whoever has had fewest is next,
//! so that a guest that needs a little more than usual does not wait for those that never end.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::sync::{Mutex, MutexGuard};
use std::thread::{self, Thread};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::task;

use crate::limits::{HAND_OVER, HAND_OVER_REST, SLOW_LANE};
use crate::sync::lock;

/// The lane of one loop.
#[derive(Default)]
pub(crate) struct SlowLane(Mutex<Lane>);

#[derive(Default)]
struct Lane {
    /// Whose turn it is.
    turn: Option<Place>,
    waiting: BTreeMap<Place, Thread>,
    /// How many are about to wait.
    coming: usize,
    /// Counts those who came.
    came: u64,
    /// When there was no thread to hand the loop to, last time.
    failed: Option<Instant>,
}

/// A guest in the lane: how many turns it has had, and when it came. The least of those that wait is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    turns: u32,
    came: u64,
}

/// What becomes of a guest that computes for long.
pub(crate) enum Entry {
    /// It goes on beside its loop.
    Place(Place),
    /// It keeps its loop, as long as its CPU limit lets it: no other thread runs the loop. There is none, or
    /// the machine is so busy that none is seen. A short wait for others is better than the end of a client
    /// that only needed a little longer.
    Alone,
    /// Too many others are there.
    Full,
}

impl SlowLane {
    /// Called on the thread of a loop: hands the loop to another thread, and waits for a turn. A place is
    /// given back by `leave`.
    pub(crate) fn enter(&self) -> Entry {
        let mut lane = self.lock();
        if lane.failed.is_some_and(|failed| failed.elapsed() < HAND_OVER_REST) {
            return Entry::Alone;
        }
        if lane.waiting.len() + lane.coming >= SLOW_LANE {
            return Entry::Full;
        }
        lane.coming += 1;
        lane.came += 1;
        let place = Place { turns: 0, came: lane.came };
        drop(lane);
        let handed_over = hand_over();
        let mut lane = self.lock();
        lane.coming -= 1;
        lane.failed = (!handed_over).then(Instant::now);
        if !handed_over {
            return Entry::Alone;
        }
        self.wait(lane, place);
        Entry::Place(place)
    }

    /// Lets others have their turn, and waits for the next of one's own.
    pub(crate) fn take_turns(&self, place: &mut Place) {
        place.turns += 1;
        let mut lane = self.lock();
        if !lane.waiting.is_empty() {
            lane.pass_on();
            self.wait(lane, *place);
        } else {
            lane.turn = Some(*place);
        }
    }

    /// Gives the place back.
    pub(crate) fn leave(&self) {
        self.lock().pass_on();
    }

    fn wait<'a>(&'a self, mut lane: MutexGuard<'a, Lane>, place: Place) {
        if lane.turn.is_none() {
            lane.turn = Some(place);
            return;
        }
        lane.waiting.insert(place, thread::current());
        while lane.turn != Some(place) {
            drop(lane);
            thread::park();
            lane = self.lock();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lane> {
        lock(&self.0)
    }
}

impl Lane {
    /// Ends a turn.
    fn pass_on(&mut self) {
        self.turn = None;
        if let Some((place, thread)) = self.waiting.pop_first() {
            self.turn = Some(place);
            thread.unpark();
        }
    }
}

/// Has another thread run the loop from here on. False: there is none that could.
fn hand_over() -> bool {
    task::block_in_place(|| {
        // The runtime takes the loop back when this closure ends, unless another thread has it by then.
        // So the closure ends only when the loop is seen to run elsewhere.
        let (runs, seen) = mpsc::sync_channel(1);
        // Without a loop there is nothing to hand over.
        let Ok(runtime) = Handle::try_current() else { return true };
        runtime.spawn(async move {
            // Nobody listens when the wait below was given up.
            let _ = runs.send(());
        });
        seen.recv_timeout(HAND_OVER).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_had_fewest_turns_is_next() {
        let mut lane = Lane { turn: Some(Place { turns: 0, came: 1 }), ..Lane::default() };
        for (turns, came) in [(3, 2), (1, 4), (1, 3), (0, 5)] {
            lane.waiting.insert(Place { turns, came }, thread::current());
        }
        let mut order = Vec::new();
        while lane.turn.is_some() {
            lane.pass_on();
            order.extend(lane.turn.map(|place| place.came));
        }
        assert_eq!(order, [5, 3, 4, 2]);
    }
}
