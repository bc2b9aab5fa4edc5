//! Tickets: one pending judgment each.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::engine::{Engine, JobId};
use crate::error::{Error, Result};
use crate::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use crate::verdict::Verdict;

use super::power::Working;
use super::queue::{Entry, Permit, Queue};
use super::worker::Handle;

/// How long past its deadline an engine may take to end a judgment before those who wait for it end it themselves.
const LATE: Duration = Duration::from_millis(30);

type Callback = Box<dyn FnOnce(Result<Verdict>) + Send>;

/// Where a judgment stands.
enum Stage {
    /// Running, and perhaps a task sleeps until it ends.
    Running(Option<Waker>),
    /// Running, with a callback for the outcome.
    Awaited(Callback),
    /// Ended, and nobody has asked yet. Boxed, because a verdict is large, and most stages have none.
    Ended(Box<Result<Verdict>>),
    /// The outcome was handed out.
    Taken,
}

struct State {
    stage: Stage,
    /// The jobs of its runs, and the engine that has taken them.
    jobs: Vec<(Weak<dyn Engine>, JobId)>,
    /// While the engine works on it: the judge does not fall asleep.
    working: Option<Working>,
    /// Its place in the queue, until it ends.
    permit: Option<Permit>,
    /// When it was made.
    begun: Instant,
    /// Its entry among what is pending, until its callback is queued.
    entry: Option<Entry>,
    due: Option<Due>,
    /// Threads that wait for the end: without any, no signal is sent, which would be a system call.
    waiters: usize,
}

/// When a judgment is out of time.
#[derive(Clone, Copy)]
struct Due {
    /// The number of the stage of its runs that has said so.
    number: usize,
    deadline: Instant,
    /// How long it has in all.
    timeout: Duration,
}

impl State {
    /// Nothing but its stage.
    fn of(stage: Stage) -> Self {
        Self {
            stage,
            jobs: Vec::new(),
            working: None,
            permit: None,
            begun: Instant::now(),
            entry: None,
            due: None,
            waiters: 0,
        }
    }
}

/// What a ticket, the engine and the workers share of one judgment.
pub(super) struct Pending {
    state: Mutex<State>,
    /// Signalled to all when the judgment ends, and when its outcome is taken.
    ended: Condvar,
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
    pub(super) fn new(queue: &Arc<Queue>, permit: Permit, callbacks: Handle) -> Arc<Self> {
        let state = State { permit: Some(permit), ..State::of(Stage::Running(None)) };
        let pending = Arc::new(Self { state: Mutex::new(state), ended: Condvar::new(), callbacks });
        let entry = queue.list(&pending);
        pending.state().entry = Some(entry);
        pending
    }

    /// A judgment that never got a place.
    fn failed(error: Error, callbacks: Handle) -> Arc<Self> {
        let state = State::of(Stage::Ended(Box::new(Err(error))));
        Arc::new(Self { state: Mutex::new(state), ended: Condvar::new(), callbacks })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine works on it from now on.
    pub(super) fn works(&self, working: Working) {
        let mut state = self.state();
        // Dropped if the judgment has ended, which the engine then hears of.
        if matches!(state.stage, Stage::Running(_) | Stage::Awaited(_)) {
            state.working = Some(working);
        }
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state().stage, Stage::Ended(_) | Stage::Taken)
    }

    /// Whether the engine works on it.
    pub(super) fn is_working(&self) -> bool {
        self.state().working.is_some()
    }

    /// The engine has taken the job of a run. Where the judgment has ended meanwhile, the job is cancelled.
    pub(super) fn started(&self, engine: &Arc<dyn Engine>, id: JobId) {
        let ended = {
            let mut state = self.state();
            state.jobs.push((Arc::downgrade(engine), id));
            matches!(state.stage, Stage::Ended(_) | Stage::Taken)
        };
        if ended {
            self.cancel_jobs();
        }
    }

    /// The judgment has to end by `deadline`; it has `timeout` in all. `number` is that of the stage of its runs, counted
    /// from 0: a run of an earlier stage that begins late, while it is being cancelled, changes nothing.
    pub(super) fn set_deadline(&self, number: usize, deadline: Instant, timeout: Duration) {
        let mut state = self.state();
        if state.due.as_ref().is_some_and(|due| due.number > number) {
            return;
        }
        state.due = Some(Due { number, deadline, timeout });
        // Those who wait already reckon with another one.
        self.signal(&state);
    }

    /// Wakes those who wait.
    fn signal(&self, state: &State) {
        if state.waiters > 0 {
            self.ended.notify_all();
        }
    }

    /// Ends the judgment, unless it has ended.
    pub(super) fn complete(&self, outcome: Result<Verdict>) {
        let mut state = self.state();
        let (mut waker, mut orphan) = (None, None);
        if let (Some(permit), Stage::Running(_) | Stage::Awaited(_)) = (&state.permit, &state.stage) {
            permit.meter().ended(&outcome, state.begun.elapsed());
        }
        match std::mem::replace(&mut state.stage, Stage::Taken) {
            Stage::Running(sleeper) => {
                state.stage = Stage::Ended(Box::new(outcome));
                (state.permit, state.working) = (None, None);
                self.signal(&state);
                waker = sleeper;
            }
            Stage::Awaited(callback) => {
                (state.permit, state.working) = (None, None);
                // Queued under the lock: whoever finds the judgment ended knows that its callback is queued.
                orphan = self.callbacks.run(Box::new(move || callback(outcome)));
            }
            ended => state.stage = ended,
        }
        state.entry = None;
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Some(task) = orphan {
            task();
        }
    }

    /// Ends the judgment with an error, and what still runs of it.
    pub(super) fn fail(&self, error: Error) {
        self.cancel_jobs();
        self.complete(Err(error));
    }

    /// Waits at most `timeout` for the outcome.
    fn wait(&self, timeout: Duration) -> Waited {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.state();
        loop {
            match std::mem::replace(&mut state.stage, Stage::Taken) {
                Stage::Ended(outcome) => {
                    // Others that wait for it learn that it is gone.
                    self.signal(&state);
                    return Waited::Outcome(outcome);
                }
                Stage::Taken => return Waited::Taken,
                running => state.stage = running,
            }
            let now = Instant::now();
            let mut left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(now));
            if left.is_zero() {
                return Waited::Pending;
            }
            if let Some(Due { deadline, timeout, .. }) = state.due {
                let late = (deadline + LATE).saturating_duration_since(now);
                if late.is_zero() {
                    // The engine is in the middle of something long: whoever waits is not kept.
                    drop(state);
                    self.fail(Error::timed_out(timeout));
                    state = self.state();
                    continue;
                }
                left = left.min(late);
            }
            state.waiters += 1;
            state = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.waiters -= 1;
        }
    }

    /// Takes the outcome if it is there; otherwise wakes the task when it is.
    fn poll(&self, waker: &Waker) -> Poll<Result<Verdict>> {
        let mut state = self.state();
        match std::mem::replace(&mut state.stage, Stage::Taken) {
            Stage::Ended(outcome) => Poll::Ready(*outcome),
            Stage::Running(sleeper) => {
                // One task owns the ticket: the waker of its last poll counts.
                let waker = sleeper.filter(|old| old.will_wake(waker)).unwrap_or_else(|| waker.clone());
                state.stage = Stage::Running(Some(waker));
                Poll::Pending
            }
            other => {
                state.stage = other;
                Poll::Pending
            }
        }
    }

    /// Takes the outcome if it is a failure that is already there.
    fn take_failure(&self) -> Option<Error> {
        let mut state = self.state();
        match std::mem::replace(&mut state.stage, Stage::Taken) {
            Stage::Ended(outcome) => match *outcome {
                Err(error) => return Some(error),
                verdict => state.stage = Stage::Ended(Box::new(verdict)),
            },
            other => state.stage = other,
        }
        None
    }

    /// What completes the judgment in any case.
    pub(super) fn completer(self: &Arc<Self>) -> Completer {
        Completer(self.clone())
    }

    /// Ends what still runs of it.
    pub(super) fn cancel_jobs(&self) {
        let jobs = self.state().jobs.clone();
        for (engine, id) in jobs {
            if let Some(engine) = engine.upgrade() {
                engine.cancel(id);
            }
        }
    }

    pub(super) fn cancel(&self) {
        // The engine first: by the time the caller sees the outcome, the place is being freed.
        self.fail(Error::cancelled());
    }
}

/// Completes a judgment once; as closed if it is dropped unused.
pub(super) struct Completer(Arc<Pending>);

impl Completer {
    /// The judgment.
    pub(super) fn pending(&self) -> &Arc<Pending> {
        &self.0
    }

    pub(super) fn complete(&self, outcome: Result<Verdict>) {
        self.0.complete(outcome);
    }

    /// Ends the judgment, and what still runs of it.
    pub(super) fn end(&self, outcome: Result<Verdict>) {
        self.0.cancel_jobs();
        self.0.complete(outcome);
    }
}

impl Drop for Completer {
    fn drop(&mut self) {
        if !self.0.has_ended() {
            self.0.complete(Err(Error::shut_down()));
        }
    }
}

/// A pending judgment. Dropping it cancels the judgment, unless a callback was set.
///
/// It is also a [`Future`] of the outcome, for any executor: await it, or poll it together with others. A ticket whose
/// outcome was taken stays pending forever if it is polled again.
#[must_use = "dropping a ticket cancels its judgment"]
pub struct Ticket(Option<Arc<Pending>>);

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").finish_non_exhaustive()
    }
}

impl Ticket {
    pub(super) fn of(pending: &Arc<Pending>) -> Self {
        Self(Some(pending.clone()))
    }

    /// A ticket of a judgment that never got a place.
    pub(super) fn failed(error: Error, callbacks: Handle) -> Self {
        Self(Some(Pending::failed(error, callbacks)))
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

    /// Waits at most `timeout`; returns the ticket if there is no outcome yet.
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

    /// The outcome, if it is there; otherwise the ticket, still pending.
    ///
    /// # Errors
    /// The ticket itself, still pending.
    pub fn try_take(self) -> std::result::Result<Result<Verdict>, Self> {
        self.wait_timeout(Duration::ZERO)
    }

    /// Ends the judgment as cancelled, at whatever stage it is, and frees its place. The outcome is then
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled), unless it was there first.
    pub fn cancel(&self) {
        self.pending().cancel();
    }

    /// Takes the outcome if it is a failure that is already there, such as that of a request that was refused.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.pending().take_failure()
    }

    /// What can cancel the judgment when the ticket is given up for a callback.
    pub fn canceller(&self) -> Canceller {
        Canceller(self.pending().clone())
    }

    /// Passes the outcome to `callback`, once, and consumes the ticket. The callbacks of one judge are called one at a time,
    /// from a thread of the judge that does nothing else, and all have returned when the judge has been dropped. A callback may
    /// submit further requests, wait for them, cancel, or drop the judge; later callbacks wait meanwhile. If the judge
    /// is already gone, `callback` is called before this returns.
    pub fn on_completion(mut self, callback: impl FnOnce(Result<Verdict>) + Send + 'static) {
        let pending = self.0.take().expect("a ticket holds its judgment until it is used up");
        let mut state = pending.state();
        let orphan = if let Stage::Ended(outcome) = std::mem::replace(&mut state.stage, Stage::Taken) {
            pending.callbacks.run(Box::new(move || callback(*outcome)))
        } else {
            state.stage = Stage::Awaited(Box::new(callback));
            None
        };
        drop(state);
        if let Some(task) = orphan {
            task();
        }
    }
}

impl Future for Ticket {
    type Output = Result<Verdict>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(pending) = &self.0 else { return Poll::Pending };
        let outcome = pending.poll(context.waker());
        if outcome.is_ready() {
            self.0 = None;
        }
        outcome
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(pending) = self.0.take() {
            pending.cancel();
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
