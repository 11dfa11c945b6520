//! The memory of all clients together: how much of it is used, and by whom.
//!
//! Rule: whatever holds memory for a client for longer than a turn holds a [`Charge`] for it, which is given
//! back when it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::{CHARGE_STEP, SMALL_CHARGE};

/// The memory of all clients of a server.
#[derive(Debug)]
pub(crate) struct Budget {
    total: u64,
    used: AtomicU64,
}

/// What one holder has of a budget.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
    /// Up to which size it may take of what is kept back.
    small: u64,
}

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

impl Budget {
    /// None: as much as anybody wants.
    pub(crate) fn new(total: Option<u64>) -> Arc<Self> {
        Arc::new(Self { total: total.unwrap_or(u64::MAX), used: AtomicU64::new(0) })
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// What is charged now.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// What is kept back for clients that take little: an eighth.
    fn kept_back(&self) -> u64 {
        self.total / 8
    }

    /// Whether what is left is only for clients that take little. New ones should be told so.
    pub(crate) fn is_short(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.total - self.kept_back()
    }

    /// Whether so little is left that clients which are silent should give theirs back: a quarter, of which those
    /// that are in the middle of something can still have half.
    pub(crate) fn is_scarce(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.total - 2 * self.kept_back()
    }

    /// Whether so many clients may keep their instances though they are silent and others need memory: an eighth of
    /// it. Where it is taken by clients that are in the middle of something, more than that would not help anybody.
    pub(crate) fn spares(&self, silent: usize) -> bool {
        (silent as u64).saturating_mul(SMALL_CHARGE) <= self.kept_back()
    }

    /// A charge of nothing so far.
    pub(crate) fn charge(self: &Arc<Self>) -> Charge {
        Charge { budget: Arc::clone(self), bytes: 0, small: SMALL_CHARGE }
    }

    /// The same for a client that is only told that there is no more: it may take what is kept back, whatever
    /// its guest needs.
    pub(crate) fn last_charge(self: &Arc<Self>) -> Charge {
        Charge { budget: Arc::clone(self), bytes: 0, small: u64::MAX }
    }
}

impl Charge {
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Changes the charge to that for `bytes`, in whole steps: less than a step is not counted. Fails, and
    /// changes nothing, where there is not so much left; the last eighth is for small charges.
    pub(crate) fn set(&mut self, bytes: u64) -> Result<(), Exhausted> {
        let wanted = bytes - bytes % CHARGE_STEP;
        let Budget { total, used } = &*self.budget;
        if wanted <= self.bytes {
            if wanted < self.bytes {
                used.fetch_sub(self.bytes - wanted, Ordering::Relaxed);
            }
        } else {
            let most = if wanted <= self.small { *total } else { total - self.budget.kept_back() };
            let more = wanted - self.bytes;
            let grown = |used: u64| used.checked_add(more).filter(|used| *used <= most);
            used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).map_err(|_| Exhausted)?;
        }
        self.bytes = wanted;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_charged_is_given_back_and_never_more_than_there_is() {
        let budget = Budget::new(Some(64 * CHARGE_STEP));
        let mut charges: Vec<_> = (0..8).map(|_| budget.charge()).collect();
        for charge in &mut charges[..7] {
            assert_eq!(charge.set(8 * CHARGE_STEP + 1), Ok(()));
        }
        assert!(budget.is_scarce() && !budget.is_short());
        // The last eighth is for those that take little.
        assert_eq!(charges[7].set(5 * CHARGE_STEP), Err(Exhausted));
        assert_eq!(charges[0].set(9 * CHARGE_STEP), Err(Exhausted));
        assert_eq!(charges[7].set(4 * CHARGE_STEP), Ok(()));
        assert!(budget.is_short());
        let mut small = budget.charge();
        assert_eq!(small.set(4 * CHARGE_STEP), Ok(()));
        assert_eq!(budget.charge().set(CHARGE_STEP), Err(Exhausted));
        assert_eq!(budget.charge().set(CHARGE_STEP - 1), Ok(()));
        drop(small);
        let mut small = budget.last_charge();
        assert_eq!(small.set(5 * CHARGE_STEP), Err(Exhausted));
        assert_eq!(charges[7].set(0), Ok(()));
        assert_eq!(small.set(5 * CHARGE_STEP), Ok(()));
        // A charge that was refused is what it was.
        assert_eq!(small.set(0), Ok(()));
        assert_eq!(charges[0].set(CHARGE_STEP), Ok(()));
        assert!(!budget.is_short());
        drop((charges, small));
        assert!(!budget.is_scarce());
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn without_a_bound_there_is_as_much_as_anybody_wants() {
        let budget = Budget::new(None);
        let mut charge = budget.charge();
        assert_eq!(charge.set(u64::MAX / 2), Ok(()));
        assert!(!budget.is_short());
    }
}
