//! Tickets: one pending judgment each.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::engine::{Engine, JobId};
use crate::error::{Error, ErrorKind, Result};
use crate::verdict::Verdict;

use super::room::Room;

type Callback = Box<dyn FnOnce(Result<Verdict>) + Send>;

/// Where a judgment stands.
enum State {
    Running,
    /// Ended, and nobody has asked yet. Boxed: a verdict is large, and most states are not it.
    Ended(Box<Result<Verdict>>),
    /// Running, with somebody to tell.
    Awaited(Callback),
    /// The outcome was handed out.
    Taken,
}

/// What a ticket, the engine and the worker share of one judgment.
pub(super) struct Pending {
    state: Mutex<State>,
    ended: Condvar,
    job: Mutex<Option<JobId>>,
    engine: Weak<dyn Engine>,
    room: Arc<Room>,
}

impl Pending {
    /// A judgment that has a place in the queue, and gives it back when it ends.
    pub(super) fn new(room: Arc<Room>, engine: Weak<dyn Engine>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::Running), ended: Condvar::new(), job: Mutex::new(None), engine, room })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn job(&self) -> MutexGuard<'_, Option<JobId>> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine has taken the job.
    pub(super) fn started(&self, id: JobId) {
        *self.job() = Some(id);
    }

    /// Ends the judgment, unless it has ended.
    pub(super) fn complete(&self, outcome: Result<Verdict>) {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Running => {
                *state = State::Ended(Box::new(outcome));
                drop(state);
                self.room.leave();
                self.ended.notify_all();
            }
            State::Awaited(callback) => {
                drop(state);
                self.room.leave();
                callback(outcome);
            }
            ended => *state = ended,
        }
    }

    /// What completes the judgment in any case.
    pub(super) fn completer(self: &Arc<Self>) -> Completer {
        Completer(Some(self.clone()))
    }

    fn cancel(&self) {
        // The engine first: by the time the caller sees the outcome, the place is being freed.
        if let (Some(id), Some(engine)) = (*self.job(), self.engine.upgrade()) {
            engine.cancel(id);
        }
        self.complete(Err(Error::new(ErrorKind::Cancelled, "the judgment was cancelled")));
    }
}

/// Completes a judgment once; as closed where it is dropped unused.
pub(super) struct Completer(Option<Arc<Pending>>);

impl Completer {
    pub(super) fn complete(mut self, outcome: Result<Verdict>) {
        if let Some(pending) = self.0.take() {
            pending.complete(outcome);
        }
    }
}

impl Drop for Completer {
    fn drop(&mut self) {
        if let Some(pending) = self.0.take() {
            pending.complete(Err(Error::new(ErrorKind::Closed, "the judge was shut down before the judgment ended")));
        }
    }
}

/// A pending judgment. Dropping it cancels the judgment, unless a callback was set.
#[must_use = "dropping a ticket cancels its judgment"]
pub struct Ticket(Option<Arc<Pending>>);

impl Ticket {
    pub(super) fn of(pending: &Arc<Pending>) -> Self {
        Self(Some(pending.clone()))
    }

    /// A ticket of a judgment that never got a place.
    pub(super) fn failed(error: Error) -> Self {
        let pending = Pending {
            state: Mutex::new(State::Ended(Box::new(Err(error)))),
            ended: Condvar::new(),
            job: Mutex::new(None),
            engine: Weak::<Never>::new(),
            room: Arc::new(Room::new(0)),
        };
        Self(Some(Arc::new(pending)))
    }

    fn pending(&self) -> &Arc<Pending> {
        self.0.as_ref().expect("a ticket holds its judgment until it is used up")
    }

    /// Waits for the outcome. Bounded by the deadline of the request.
    ///
    /// # Errors
    /// Those of the judgment.
    pub fn wait(self) -> Result<Verdict> {
        let mut ticket = self;
        loop {
            // The engine ends every job at its deadline; this only spares the addition of "for ever" to a clock.
            match ticket.wait_timeout(Duration::from_secs(3600)) {
                Ok(outcome) => return outcome,
                Err(pending) => ticket = pending,
            }
        }
    }

    /// Waits at most `timeout`; gives the ticket back where there is no outcome yet.
    ///
    /// # Errors
    /// The ticket itself, still pending.
    pub fn wait_timeout(mut self, timeout: Duration) -> std::result::Result<Result<Verdict>, Self> {
        let deadline = Instant::now().checked_add(timeout);
        let outcome = {
            let pending = self.pending();
            let mut state = pending.state();
            loop {
                match std::mem::replace(&mut *state, State::Taken) {
                    State::Ended(outcome) => break Some(*outcome),
                    other => *state = other,
                }
                let left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
                if left.is_zero() {
                    break None;
                }
                state = pending.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        };
        match outcome {
            Some(outcome) => {
                self.0 = None;
                Ok(outcome)
            }
            None => Err(self),
        }
    }

    /// The outcome, if it is there; else the ticket, still pending.
    ///
    /// # Errors
    /// The ticket itself, still pending.
    pub fn try_take(self) -> std::result::Result<Result<Verdict>, Self> {
        self.wait_timeout(Duration::ZERO)
    }

    /// Ends the judgment as cancelled, at whatever stage it is, and frees its place. The outcome is then
    /// [`ErrorKind::Cancelled`], unless it was there first.
    pub fn cancel(&self) {
        self.pending().cancel();
    }

    /// Hands the outcome to `callback`, once, from a thread of the judge's (or from this one, where it is there
    /// already), and gives the ticket up. The callback may submit further requests; it must not block for long.
    pub fn on_completion(mut self, callback: impl FnOnce(Result<Verdict>) + Send + 'static) {
        let pending = self.0.take().expect("a ticket holds its judgment until it is used up");
        let mut state = pending.state();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Ended(outcome) => {
                drop(state);
                callback(*outcome);
            }
            _ => *state = State::Awaited(Box::new(callback)),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(pending) = self.0.take() {
            pending.cancel();
        }
    }
}

/// The engine of judgments that never reached one.
enum Never {}

impl Engine for Never {
    fn capabilities(&self) -> &crate::engine::Capabilities {
        match *self {}
    }

    fn submit(&self, _: crate::engine::Job, _: crate::engine::Completion) -> JobId {
        match *self {}
    }

    fn cancel(&self, _: JobId) {
        match *self {}
    }

    fn stats(&self) -> crate::engine::Stats {
        match *self {}
    }
}
