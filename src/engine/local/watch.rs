//! Stops a computation while it runs: when somebody asks for it, and at a deadline.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Asks a running computation to stop; shared with other threads.
#[derive(Clone, Default)]
pub(super) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Stops the computation that runs, or the next one, unless it ends soon anyway.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Takes the request back.
    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// A computation that is stopped has to be done again: one that takes less than this is let to its end.
const PATIENCE: Duration = Duration::from_millis(20);

/// When to stop a computation. Lives on the thread that computes; only the flag is shared.
pub(super) struct Watch {
    flag: StopFlag,
    /// When a request to stop begins to count.
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

    /// What stops a computation from another thread.
    pub(super) fn flag(&self) -> &StopFlag {
        &self.flag
    }

    /// A computation begins.
    pub(super) fn begin(&self, deadline: Option<Instant>) {
        self.patient_until.set(Instant::now() + PATIENCE);
        self.deadline.set(deadline);
    }

    /// Whether the computation is to stop. Called between its operations.
    ///
    /// Looks at the clock in every eighth call alone: a small model's step has hundreds of operations of microseconds.
    pub(super) fn is_over(&self) -> bool {
        let calls = self.calls.get().wrapping_add(1);
        self.calls.set(calls);
        if !calls.is_multiple_of(8) {
            return false;
        }
        let now = Instant::now();
        let asked = self.flag.0.load(Ordering::Relaxed) && now >= self.patient_until.get();
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
