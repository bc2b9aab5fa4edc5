//! Stops a running computation: on request, and at a deadline.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Asks a running computation to stop; shared with other threads.
#[derive(Clone, Default)]
pub(super) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Stops the running computation, or the next one, unless it ends soon anyway.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is to stop.
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Withdraws the request.
    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// A computation that is stopped has to be repeated: one that takes less time than this runs to its end.
const PATIENCE: Duration = Duration::from_millis(20);

/// When to stop a computation. It stays on the thread that computes; only the flag is shared.
pub(super) struct Watch {
    flag: StopFlag,
    /// From when on a request to stop counts.
    patient_until: Cell<Instant>,
    /// When the computation stops by itself.
    deadline: Cell<Option<Instant>>,
    calls: Cell<u32>,
}

impl Watch {
    pub(super) fn new() -> Self {
        let (flag, deadline, calls) = (StopFlag::default(), Cell::new(None), Cell::new(0));
        Self { flag, patient_until: Cell::new(Instant::now()), deadline, calls }
    }

    /// Stops the computation from another thread.
    pub(super) fn flag(&self) -> &StopFlag {
        &self.flag
    }

    /// A computation begins.
    pub(super) fn begin(&self, deadline: Option<Instant>) {
        self.patient_until.set(Instant::now() + PATIENCE);
        self.deadline.set(deadline);
    }

    /// Whether the computation must stop. Called between its operations.
    ///
    /// Reads the clock only in every eighth call: a small model's step has hundreds of operations that take
    /// microseconds.
    pub(super) fn is_over(&self) -> bool {
        let calls = self.calls.get().wrapping_add(1);
        self.calls.set(calls);
        if !calls.is_multiple_of(8) {
            return false;
        }
        let now = Instant::now();
        let asked = self.flag.is_set() && now >= self.patient_until.get();
        asked || self.deadline.get().is_some_and(|deadline| now >= deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_over_soon(watch: &Watch) -> bool {
        (0..8).any(|_| watch.is_over())
    }

    #[test]
    fn a_request_counts_once_the_computation_takes_long() {
        let watch = Watch::new();
        watch.begin(None);
        watch.flag().set();
        assert!(!is_over_soon(&watch));
        std::thread::sleep(PATIENCE);
        assert!(is_over_soon(&watch));
        watch.flag().clear();
        assert!(!is_over_soon(&watch));
    }

    #[test]
    fn a_deadline_counts_at_once() {
        let watch = Watch::new();
        watch.begin(Some(Instant::now()));
        assert!(is_over_soon(&watch));
        watch.begin(Some(Instant::now() + Duration::from_secs(60)));
        assert!(!is_over_soon(&watch));
    }
}
