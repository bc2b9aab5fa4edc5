//! How a request is submitted, besides what is judged.

use std::time::{Duration, Instant};

use super::LONGEST_WAIT;
use crate::engine::{Listener, Priority};

/// How a request is submitted, besides what is judged. The default is that of [`Judge::submit`](crate::Judge::submit).
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Submission {
    /// Which requests go first if several wait for the engine.
    pub priority: Priority,
    /// The caller's name for the judgment, which the lines of the log have.
    pub id: Option<String>,
    /// The judgment ends at this moment at the latest, whatever `timeout_ms` allows.
    pub deadline: Option<Instant>,
    /// Hears the reasoning while it is written. An engine that gives it at the end only says it in one piece.
    pub listener: Option<Listener>,
    /// Whether its time counts from when the engine begins with it: that of a batch.
    patient: bool,
}

impl Submission {
    /// Of a batch: its time counts from when the engine begins with it. A deadline of its own holds all the same.
    pub(super) fn patient(self) -> Self {
        Self { patient: true, ..self }
    }

    pub(super) fn is_patient(&self) -> bool {
        self.patient
    }

    /// When a judgment submitted then has to end that may take `timeout`: for a patient one, unless the engine begins with it.
    pub(super) fn latest(&self, submitted: Instant, timeout: Duration) -> Instant {
        if !self.patient {
            return submitted + timeout;
        }
        self.deadline.map_or(submitted + LONGEST_WAIT, |deadline| deadline.min(submitted + LONGEST_WAIT))
    }

    /// How long a judgment submitted then may take, of which its settings allow `timeout`.
    pub(super) fn within(&self, submitted: Instant, timeout: Duration) -> Duration {
        if self.patient {
            return timeout;
        }
        self.deadline.map_or(timeout, |deadline| timeout.min(deadline.saturating_duration_since(submitted)))
    }

    /// With a priority.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// With a name for the log.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// With a deadline.
    #[must_use]
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// With somebody who hears the reasoning while it is written. `hear` is called from a thread of the engine's: it must
    /// return quickly, and must not use the judge.
    #[must_use]
    pub fn on_reasoning(self, hear: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.listener(Listener::new(hear))
    }

    /// As [`Self::on_reasoning`].
    #[must_use]
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listener = Some(listener);
        self
    }
}
