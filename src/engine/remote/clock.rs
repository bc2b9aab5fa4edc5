//! The time that a judgment has.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::engine::{Job, Patience};
use crate::error::Error;

use super::pool::Turn;

/// The time of a job. The time of a patient job begins when it gets its first place at a server; until then its
/// deadline is the end of its patience.
pub(super) struct Clock {
    turn: Cell<Turn>,
    begun: Cell<Instant>,
    deadline: Cell<Instant>,
    patience: RefCell<Option<Patience>>,
    changed: Notify,
}

impl Clock {
    pub(super) fn of(job: &mut Job) -> Self {
        Self {
            turn: Cell::new(Turn::New(job.priority)),
            begun: Cell::new(job.submitted),
            deadline: Cell::new(job.deadline),
            patience: RefCell::new(job.patience.take()),
            changed: Notify::new(),
        }
    }

    /// The job has a place at a server.
    pub(super) fn begin(&self) {
        self.turn.set(Turn::Begun);
        let Some(patience) = self.patience.borrow_mut().take() else { return };
        let timeout = patience.timeout();
        let deadline = patience.begin();
        self.begun.set(deadline.checked_sub(timeout).unwrap_or_else(Instant::now));
        self.deadline.set(deadline);
        self.changed.notify_one();
    }

    /// Which turn its next request gets.
    pub(super) fn turn(&self) -> Turn {
        self.turn.get()
    }

    /// Whether this much time is left.
    pub(super) fn has(&self, time: Duration) -> bool {
        Instant::now() + time < self.deadline.get()
    }

    /// How much time is left.
    pub(super) fn left(&self) -> Duration {
        self.deadline.get().saturating_duration_since(Instant::now())
    }

    /// Ends when the time is over.
    pub(super) async fn over(&self) -> Error {
        loop {
            let deadline = self.deadline.get();
            tokio::select! {
                () = tokio::time::sleep_until(deadline.into()) => {
                    return Error::timed_out(deadline.saturating_duration_since(self.begun.get()));
                }
                () = self.changed.notified() => {}
            }
        }
    }
}
