//! Gives memory back to the system when a crowd of clients has gone.
//!
//! glibc's allocator keeps what is freed between pieces that are still in use: after a thousand clients, 10 to 70 MiB.

use std::thread;
use std::time::Instant;

use crate::limits::{CROWD, CROWD_REST};
use crate::machine;

/// How many clients there were at once since memory was given back.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    most: u32,
    /// When most of a crowd had gone, last time. What goes until [`CROWD_REST`] later goes with it.
    gone: Option<Instant>,
}

impl Crowd {
    /// Notes how many clients there are.
    pub(super) fn note(&mut self, clients: u32) {
        self.most = self.most.max(clients);
    }

    /// Notes how many clients are left. True once for each crowd: most of it has gone.
    pub(super) fn has_gone(&mut self, clients: u32) -> bool {
        self.most - clients >= CROWD && clients <= self.most / 4 && self.goes(clients, Instant::now())
    }

    fn goes(&mut self, clients: u32, now: Instant) -> bool {
        if self.gone.is_some_and(|gone| now.saturating_duration_since(gone) < CROWD_REST) {
            return false;
        }
        *self = Self { most: clients, gone: Some(now) };
        true
    }
}

/// Gives memory back when the rest of the crowd has had the time to go, too.
pub(super) fn give_back_later() {
    let later = || {
        thread::sleep(CROWD_REST);
        machine::give_back_memory();
    };
    // Without a thread for it, the memory stays for the next crowd.
    let _ = thread::Builder::new().name("memory".into()).spawn(later);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_has_gone_once_and_a_few_clients_are_none() {
        let mut crowd = Crowd::default();
        crowd.note(CROWD - 1);
        assert!(!crowd.has_gone(0));
        crowd.note(8 * CROWD);
        assert!(!crowd.has_gone(2 * CROWD + 1));
        assert!(crowd.has_gone(2 * CROWD));
        assert!(!crowd.has_gone(CROWD), "the rest goes with it");
    }

    #[test]
    fn the_next_crowd_is_another_once_memory_was_given_back() {
        let start = Instant::now();
        let mut crowd = Crowd::default();
        assert!(crowd.goes(0, start));
        crowd.note(CROWD);
        assert!(!crowd.goes(0, start + CROWD_REST / 2) && !crowd.has_gone(1));
        assert!(crowd.goes(0, start + CROWD_REST), "whatever became of the memory of the first");
    }
}
