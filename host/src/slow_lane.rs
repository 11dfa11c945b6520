//! Where a guest goes that computes for long: off the loop that other clients wait for.
//!
//! A guest runs on the thread of its loop, because that is the cheapest place for the ten microseconds
//! that a call takes. One that is still computing when the clock ticks hands the loop to another thread
//! and goes on beside it, one such guest at a time; the others of its kind wait for their turn.

use std::sync::mpsc;
use std::sync::{Condvar, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::task;

use crate::limits::{SLOW_LANE, TICK};

/// The lane of one loop.
#[derive(Default)]
pub(crate) struct SlowLane {
    taken: Mutex<usize>,
    left: Condvar,
}

/// Where a guest that computes for long goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// Beside the loop: it has a place in the lane, to be given back by `leave`.
    Beside,
    /// On the loop, which had no thread left to be handed to.
    OnTheLoop,
}

impl SlowLane {
    /// Called on the thread of a loop: hands the loop to another thread, and waits for a turn.
    pub(crate) fn enter(&self) -> Where {
        if hand_over() == Where::OnTheLoop {
            return Where::OnTheLoop;
        }
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken =
            self.left.wait_while(taken, |taken| *taken >= SLOW_LANE).unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Where::Beside
    }

    /// Gives the place back.
    pub(crate) fn leave(&self) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.left.notify_one();
    }
}

/// Has another thread run the loop from here on.
fn hand_over() -> Where {
    task::block_in_place(|| {
        // The runtime takes the loop back when this closure ends, unless another thread has it by then.
        // So the closure ends only when the loop is seen to run elsewhere.
        let (runs, seen) = mpsc::sync_channel(1);
        // Without a loop there is nothing to hand over.
        let Ok(runtime) = Handle::try_current() else { return Where::OnTheLoop };
        runtime.spawn(async move {
            // Nobody listens when the wait below was given up.
            let _ = runs.send(());
        });
        match seen.recv_timeout(TICK) {
            Ok(()) => Where::Beside,
            Err(_) => Where::OnTheLoop,
        }
    })
}
