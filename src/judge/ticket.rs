//! Tickets: one pending judgment each.

use std::time::Duration;

use crate::error::Result;
use crate::verdict::Verdict;

/// A pending judgment. Dropping it cancels the judgment, unless a callback was set.
pub struct Ticket {}

impl Ticket {
    /// Waits for the outcome. Bounded by the deadline of the request.
    ///
    /// # Errors
    /// Those of the judgment.
    pub fn wait(self) -> Result<Verdict> {
        unimplemented!()
    }

    /// Waits at most `timeout`; gives the ticket back where there is no outcome yet.
    ///
    /// # Errors
    /// The ticket itself, still pending.
    pub fn wait_timeout(self, timeout: Duration) -> std::result::Result<Result<Verdict>, Self> {
        let _ = timeout;
        unimplemented!()
    }

    /// The outcome, if it is there; else the ticket, still pending.
    ///
    /// # Errors
    /// The ticket itself, still pending.
    pub fn try_take(self) -> std::result::Result<Result<Verdict>, Self> {
        self.wait_timeout(Duration::ZERO)
    }

    /// Ends the judgment as cancelled, at whatever stage it is, and frees its place at once. The outcome is then
    /// [`crate::ErrorKind::Cancelled`], unless it was there first.
    pub fn cancel(&self) {
        unimplemented!()
    }

    /// Hands the outcome to `callback`, once, from a thread of the judge's (or from this one, where it is there
    /// already), and gives the ticket up. The callback may submit further requests; it must not block for long.
    pub fn on_completion(self, callback: impl FnOnce(Result<Verdict>) + Send + 'static) {
        let _ = callback;
        unimplemented!()
    }
}
