//! How fast a client gets what is sent to it.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::BURST;

/// A bucket that fills at the rate and holds a short burst.
pub(super) struct Pace {
    rate: f64,
    bucket: f64,
    filled: Instant,
}

impl Pace {
    pub(super) fn new(rate: u64, now: Instant) -> Self {
        let rate = rate.max(1) as f64;
        Self { rate, bucket: rate * BURST.as_secs_f64(), filled: now }
    }

    /// How much may be passed now, or when to ask again. Not sooner than half a burst is there: what
    /// comes in crumbs costs more than it brings.
    pub(super) fn allows(&mut self, now: Instant) -> Result<u64, Instant> {
        let full = (self.rate * BURST.as_secs_f64()).max(1.0);
        let came = self.rate * now.saturating_duration_since(self.filled).as_secs_f64();
        (self.bucket, self.filled) = ((self.bucket + came).min(full), now);
        let wanted = (full / 2.0).max(1.0);
        if self.bucket < wanted {
            return Err(now + Duration::from_secs_f64((wanted - self.bucket) / self.rate));
        }
        Ok(self.bucket as u64)
    }

    pub(super) fn spend(&mut self, count: u64) {
        self.bucket -= count as f64;
    }
}
