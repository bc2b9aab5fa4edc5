//! Whether an executor is alive: its counter of iterations is the heartbeat.
//!
//! The executor's loop goes round while any request is active, also where none of them finds room. Answers do not tell: one
//! judgment may take minutes, and a request that waits answers not even a cancellation before it is scheduled.

use std::time::{Duration, Instant};

use super::bridge::ffi::Statistics;

/// The heartbeat of an executor.
pub(super) struct Pulse {
    limit: Duration,
    last: Instant,
    iterations: u64,
    /// As of the last iteration.
    active: u32,
    scheduled: u32,
}

impl Pulse {
    /// A pulse that may stand still for `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, last: Instant::now(), iterations: 0, active: 0, scheduled: 0 }
    }

    /// The longest that it may stand still.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// The executor is alive now: it has answered, or has nothing to do.
    pub(super) fn beat(&mut self, now: Instant) {
        self.last = now;
    }

    /// Takes in counters: where the iterations have moved, that is a beat.
    pub(super) fn observe(&mut self, counted: &Statistics, now: Instant) {
        if counted.iterations != self.iterations {
            self.iterations = counted.iterations;
            self.last = now;
        }
        (self.active, self.scheduled) = (counted.active, counted.scheduled);
    }

    /// Whether it has stood still for too long while work was scheduled, in an executor that holds requests.
    ///
    /// An executor with nothing active has to take the next request at once. One that has active requests but could
    /// schedule none of them may report no iterations: an orchestrator's workers leave out the empty ones.
    pub(super) fn has_stopped(&self, now: Instant) -> bool {
        (self.scheduled > 0 || self.active == 0) && now.saturating_duration_since(self.last) >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_stopped_only_where_nothing_moves_while_work_is_scheduled() {
        let limit = Duration::from_secs(30);
        let mut pulse = Pulse::new(limit);
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let counted =
            |iterations, active, scheduled| Statistics { iterations, active, scheduled, ..Statistics::default() };
        pulse.beat(start);
        assert!(!pulse.has_stopped(after(29)));
        assert!(pulse.has_stopped(after(30)), "nothing active, and the request is not taken");
        pulse.observe(&counted(1, 4, 4), after(31));
        assert!(!pulse.has_stopped(after(60)));
        pulse.observe(&counted(1, 4, 4), after(61));
        assert!(pulse.has_stopped(after(61)), "the same counter is no beat");
        pulse.observe(&counted(2, 4, 0), after(62));
        assert!(!pulse.has_stopped(after(1000)), "what is active waits for room");
        pulse.observe(&counted(3, 4, 1), after(1001));
        pulse.beat(after(1020));
        assert!(!pulse.has_stopped(after(1049)));
        assert!(pulse.has_stopped(after(1050)));
    }
}
