//! Gives memory back to the system when a crowd of clients has gone.
//!
//! glibc's allocator keeps what is freed between pieces that are still in use: after a thousand clients, 10 to 70 MiB.

use std::thread;

use crate::limits::{CROWD, CROWD_REST};
use crate::machine;

/// How many clients there were at once since memory was given back.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    most: u32,
    /// It is about to be given back.
    is_over: bool,
}

impl Crowd {
    /// Notes how many clients there are.
    pub(super) fn note(&mut self, clients: u32) {
        self.most = self.most.max(clients);
    }

    /// Notes how many clients are left. True once for each crowd: most of it has gone.
    pub(super) fn has_gone(&mut self, clients: u32) -> bool {
        let has_gone = !self.is_over && self.most - clients >= CROWD && clients <= self.most / 4;
        self.is_over |= has_gone;
        has_gone
    }

    /// From now on it is about the next crowd.
    pub(super) fn begin_anew(&mut self, clients: u32) {
        *self = Self { most: clients, is_over: false };
    }
}

/// Gives memory back when the rest of the crowd has had the time to go, too. Says when that is done.
pub(super) fn give_back_later(done: impl FnOnce() + Send + 'static) {
    let later = move || {
        thread::sleep(CROWD_REST);
        machine::give_back_memory();
        done();
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
        assert!(!crowd.has_gone(CROWD));
        crowd.begin_anew(CROWD);
        assert!(crowd.has_gone(0));
        crowd.begin_anew(0);
        assert!(!crowd.has_gone(0));
    }
}
