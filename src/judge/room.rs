//! Room in the queue: how many judgments may be pending at once.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Counts the places of the queue.
pub(super) struct Room {
    places: Mutex<Places>,
    left: Condvar,
}

struct Places {
    free: usize,
    closed: bool,
}

/// What somebody who asks for a place gets.
pub(super) enum Entry {
    /// A place.
    Entered,
    /// No place within the time given.
    Full,
    /// The room is closed.
    Closed,
}

impl Room {
    pub(super) fn new(places: usize) -> Self {
        Self { places: Mutex::new(Places { free: places, closed: false }), left: Condvar::new() }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, if there is one.
    pub(super) fn try_enter(&self) -> bool {
        let mut places = self.places();
        let entered = places.free > 0;
        places.free -= usize::from(entered);
        entered
    }

    /// Takes a place; waits for one at most `timeout`.
    pub(super) fn enter_within(&self, timeout: Duration) -> Entry {
        let full = |places: &mut Places| places.free == 0 && !places.closed;
        let waited = self.left.wait_timeout_while(self.places(), timeout, full);
        let (mut places, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if places.closed {
            return Entry::Closed;
        }
        if places.free == 0 {
            return Entry::Full;
        }
        places.free -= 1;
        Entry::Entered
    }

    /// Takes a place; waits until there is one, which is bounded, since every pending judgment has a deadline. False
    /// where the room is closed.
    pub(super) fn enter(&self) -> bool {
        let full = |places: &mut Places| places.free == 0 && !places.closed;
        let mut places = self.left.wait_while(self.places(), full).unwrap_or_else(PoisonError::into_inner);
        if places.closed {
            return false;
        }
        places.free -= 1;
        true
    }

    /// Waits for a place without taking it. True also where the room is closed: nothing is left to wait for.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let full = |places: &mut Places| places.free == 0 && !places.closed;
        let (places, _) =
            self.left.wait_timeout_while(self.places(), timeout, full).unwrap_or_else(PoisonError::into_inner);
        places.free > 0 || places.closed
    }

    /// Gives a place back.
    pub(super) fn leave(&self) {
        self.places().free += 1;
        self.left.notify_one();
    }

    /// Lets nobody in any more, and sends away those who wait.
    pub(super) fn close(&self) {
        self.places().closed = true;
        self.left.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.places().closed
    }

    /// Places that are free.
    pub(super) fn free(&self) -> usize {
        self.places().free
    }
}
