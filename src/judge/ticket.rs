//! Tickets: one pending judgment each.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::engine::{Engine, JobId};
use crate::error::{Error, Result};
use crate::verdict::Verdict;

use super::room::Room;
use super::worker::Handle;

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
    callbacks: Handle,
}

/// What somebody who waits for an outcome gets.
pub(crate) enum Waited {
    /// The outcome, which is nobody else's.
    Outcome(Box<Result<Verdict>>),
    /// Not ended by then.
    Pending,
    /// Handed to somebody else.
    Taken,
}

impl Pending {
    /// A judgment that has a place in the queue, and gives it back when it ends.
    pub(super) fn new(room: Arc<Room>, engine: Weak<dyn Engine>, callbacks: Handle) -> Arc<Self> {
        let (state, job) = (Mutex::new(State::Running), Mutex::new(None));
        Arc::new(Self { state, ended: Condvar::new(), job, engine, room, callbacks })
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
        let orphan = match std::mem::replace(&mut *state, State::Taken) {
            State::Running => {
                *state = State::Ended(Box::new(outcome));
                self.room.leave();
                self.ended.notify_all();
                None
            }
            State::Awaited(callback) => {
                self.room.leave();
                // Queued under the lock: whoever finds the judgment ended knows that its callback is queued.
                self.callbacks.run(Box::new(move || callback(outcome)))
            }
            ended => {
                *state = ended;
                None
            }
        };
        drop(state);
        if let Some(task) = orphan {
            task();
        }
    }

    /// Waits at most `timeout` for the outcome.
    fn wait(&self, timeout: Duration) -> Waited {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.state();
        loop {
            match std::mem::replace(&mut *state, State::Taken) {
                State::Ended(outcome) => {
                    // Others that wait for it learn that it is gone.
                    self.ended.notify_all();
                    return Waited::Outcome(outcome);
                }
                State::Taken => return Waited::Taken,
                other => *state = other,
            }
            let left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Waited::Pending;
            }
            state = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes the outcome where it is a failure that is there already.
    fn take_failure(&self) -> Option<Error> {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Ended(outcome) => match *outcome {
                Err(error) => return Some(error),
                verdict => *state = State::Ended(Box::new(verdict)),
            },
            other => *state = other,
        }
        None
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
        self.complete(Err(Error::cancelled()));
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
            pending.complete(Err(Error::shut_down()));
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
    pub(super) fn failed(error: Error, callbacks: Handle) -> Self {
        let pending = Pending {
            state: Mutex::new(State::Ended(Box::new(Err(error)))),
            ended: Condvar::new(),
            job: Mutex::new(None),
            engine: Weak::<Never>::new(),
            room: Arc::new(Room::new(0)),
            callbacks,
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
        match self.take_within(timeout) {
            Waited::Outcome(outcome) => {
                self.0 = None;
                Ok(*outcome)
            }
            Waited::Pending | Waited::Taken => Err(self),
        }
    }

    /// Waits at most `timeout` and takes the outcome; any number of threads may wait, of which one gets it.
    pub(crate) fn take_within(&self, timeout: Duration) -> Waited {
        self.pending().wait(timeout)
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

    /// Takes the outcome where it is a failure that is there already, such as that of a request that was refused.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.pending().take_failure()
    }

    /// What can cancel the judgment when the ticket is given up for a callback.
    pub fn canceller(&self) -> Canceller {
        Canceller(self.pending().clone())
    }

    /// Hands the outcome to `callback`, once, and gives the ticket up. Callbacks of one judge come one at a time, from a
    /// thread of the judge's that does nothing else, and all have returned when the judge has been dropped. One may
    /// submit further requests, wait for them, cancel, or drop the judge; those after it wait meanwhile.
    pub fn on_completion(mut self, callback: impl FnOnce(Result<Verdict>) + Send + 'static) {
        let pending = self.0.take().expect("a ticket holds its judgment until it is used up");
        let mut state = pending.state();
        let orphan = if let State::Ended(outcome) = std::mem::replace(&mut *state, State::Taken) {
            pending.callbacks.run(Box::new(move || callback(*outcome)))
        } else {
            *state = State::Awaited(Box::new(callback));
            None
        };
        drop(state);
        if let Some(task) = orphan {
            task();
        }
    }
}

/// Cancels a judgment whose outcome goes to a callback.
#[derive(Clone)]
pub struct Canceller(Arc<Pending>);

impl Canceller {
    /// As [`Ticket::cancel`].
    pub fn cancel(&self) {
        self.0.cancel();
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
