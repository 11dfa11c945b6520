//! Locks whose holder cannot leave anything half-done.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. What these locks guard is in order after each statement, so a panic elsewhere spoils nothing.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
