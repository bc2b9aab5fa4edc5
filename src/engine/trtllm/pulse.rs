//! Whether an executor is alive: its counter of iterations is the heartbeat.
//!
//! The executor's loop runs while any request is active, even if none of them finds room. Answers are no sign of life:
//! one judgment may take minutes, and a waiting request does not answer even a cancellation before it is scheduled.

use std::time::{Duration, Instant};

use super::bridge::ffi::Statistics;

/// The heartbeat of an executor.
pub(super) struct Pulse {
    limit: Duration,
    /// Whether iterations that scheduled nothing are reported too.
    reports_all: bool,
    last: Instant,
    iterations: u64,
    /// As of the last iteration.
    active: u32,
    scheduled: u32,
}

impl Pulse {
    /// A pulse that may stand still for `limit`. `reports_all`: iterations that scheduled nothing are reported too,
    /// which an orchestrator's workers leave out.
    pub(super) fn new(limit: Duration, reports_all: bool) -> Self {
        Self { limit, reports_all, last: Instant::now(), iterations: 0, active: 0, scheduled: 0 }
    }

    /// The longest time that it may stand still.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// The executor is alive now: it has answered, or has nothing to do.
    pub(super) fn beat(&mut self, now: Instant) {
        self.last = now;
    }

    /// Takes in counters: a beat if the iterations have advanced.
    pub(super) fn observe(&mut self, counted: &Statistics, now: Instant) {
        if counted.iterations != self.iterations {
            self.iterations = counted.iterations;
            self.last = now;
        }
        (self.active, self.scheduled) = (counted.active, counted.scheduled);
    }

    /// Whether it has stood still for too long while work was scheduled, in an executor that holds requests.
    ///
    /// An executor that had nothing active, and reports all iterations, must report those of the next request at once.
    pub(super) fn has_stopped(&self, now: Instant) -> bool {
        let works = if self.active > 0 { self.scheduled > 0 } else { self.reports_all };
        works && now.saturating_duration_since(self.last) >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_stopped_only_where_nothing_moves_while_work_is_scheduled() {
        let limit = Duration::from_secs(30);
        let mut pulse = Pulse::new(limit, true);
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

        let mut pulse = Pulse::new(limit, false);
        pulse.beat(start);
        assert!(!pulse.has_stopped(after(30)), "the request may wait for room");
        pulse.observe(&counted(1, 0, 1), after(31));
        assert!(!pulse.has_stopped(after(61)), "what was scheduled has ended");
        pulse.observe(&counted(2, 1, 1), after(62));
        assert!(pulse.has_stopped(after(92)));
    }
}
