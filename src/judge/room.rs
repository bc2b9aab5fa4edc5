//! Room in the queue: how many judgments may be pending at once.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Counts the places of the queue.
pub(super) struct Room {
    free: Mutex<usize>,
    left: Condvar,
}

impl Room {
    pub(super) fn new(places: usize) -> Self {
        Self { free: Mutex::new(places), left: Condvar::new() }
    }

    fn free(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, if there is one.
    pub(super) fn try_enter(&self) -> bool {
        let mut free = self.free();
        let entered = *free > 0;
        *free -= usize::from(entered);
        entered
    }

    /// Takes a place; waits until there is one. Bounded, since every pending judgment has a deadline.
    pub(super) fn enter(&self) {
        let mut free = self.left.wait_while(self.free(), |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
    }

    /// Waits for a place without taking it.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let (free, _) = self
            .left
            .wait_timeout_while(self.free(), timeout, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free > 0
    }

    /// Gives a place back.
    pub(super) fn leave(&self) {
        *self.free() += 1;
        self.left.notify_one();
    }
}
