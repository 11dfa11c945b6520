//! How often a live source is spoken of in the log.
//!
//! What a stream is, where it starts over and where it cannot be joined is found in its bytes, so a producer
//! could fill the log with it.

use std::time::{Duration, Instant};

use crate::limits::LIVE_NOTICES;

/// What was said of a source in this minute.
#[derive(Debug)]
pub(super) struct Notices {
    since: Instant,
    said: u32,
}

/// Whether something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    Yes,
    /// Only that nothing more is said for now.
    Enough,
    Nothing,
}

impl Notices {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, said: 0 }
    }

    /// Whether one more thing is said.
    pub(super) fn next(&mut self, now: Instant) -> Say {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(60) {
            *self = Self::new(now);
        }
        self.said = self.said.saturating_add(1);
        match self.said {
            said if said <= LIVE_NOTICES => Say::Yes,
            said if said == LIVE_NOTICES + 1 => Say::Enough,
            _ => Say::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_is_said_in_a_minute_and_once_that_it_is_enough() {
        let began = Instant::now();
        let mut notices = Notices::new(began);
        for minute in 0..3 {
            let now = began + Duration::from_secs(60 * minute);
            let said: Vec<_> = (0..100_000).map(|_| notices.next(now)).collect();
            let count = |what| said.iter().filter(|said| **said == what).count();
            assert_eq!((count(Say::Yes), count(Say::Enough)), (LIVE_NOTICES as usize, 1));
        }
    }
}
