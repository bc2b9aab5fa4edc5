//! What waits for the engine's threads: jobs, which any lane takes, and cancels for the lane that has the job. It also
//! knows which jobs run, and ends those whose time is over.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::JobId;
use crate::engine::lines::Lines;
use crate::error::Error;

use super::job::{Done, Prepared};

pub(super) type Jobs = Vec<Box<Prepared>>;

/// A lane ends its late jobs between two steps. A lane whose step takes longer than this is not waited for.
const LATE: Duration = Duration::from_millis(10);

/// Shared by the lanes and the submitting threads. No completion is called while its lock is held.
pub(super) struct Inbox {
    state: Mutex<State>,
    /// A job has come, or the end: sleeping lanes look again.
    changed: Condvar,
    /// The first deadline has changed, or the end has come; for the thread that keeps the deadlines.
    due: Condvar,
}

struct State {
    waiting: Lines<Box<Prepared>>,
    running: Vec<Running>,
    lanes: Vec<Lane>,
    /// For each lane, which of its jobs have ended since it last looked: cancelled, or past their deadline.
    over: Vec<Vec<JobId>>,
    /// For each lane, whether it computes prefixes to be kept.
    pinning: Vec<bool>,
    /// For each lane, whether it was woken since it last looked.
    nudged: Vec<bool>,
    /// No more jobs are accepted.
    shut: bool,
    /// It is shut because a lane has panicked.
    dead: bool,
    /// When the thread that keeps the deadlines looks next; `None` while it has nothing to wait for.
    alarm: Option<Instant>,
}

/// A job that a lane works on.
struct Running {
    id: JobId,
    lane: usize,
    submitted: Instant,
    deadline: Instant,
    done: Done,
    /// Its lane must drop it.
    over: bool,
}

/// What becomes of a job that is cancelled.
pub(super) enum Cancelled {
    /// It was waiting. Its completion is still to be called.
    Waiting(Box<Prepared>),
    /// Its lane will end it, or it has already ended.
    Noted,
}

/// What a lane is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// It has jobs.
    Busy,
    /// It has no job: it sleeps, or is about to look.
    Idle,
    /// It had no job, and is about to take one of those that wait.
    Taking,
}

impl State {
    /// How many lanes of lower number have no job, and so come before this one.
    fn ahead(&self, lane: usize) -> usize {
        self.lanes[..lane].iter().filter(|&&other| other != Lane::Busy).count()
    }
}

impl Inbox {
    /// For this many lanes.
    pub(super) fn new(lanes: usize) -> Self {
        let state = State {
            waiting: Lines::default(),
            running: Vec::new(),
            lanes: vec![Lane::Busy; lanes],
            over: vec![Vec::new(); lanes],
            pinning: vec![false; lanes],
            nudged: vec![false; lanes],
            shut: false,
            dead: false,
            alarm: None,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), due: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a single one, whole also after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts a job; gives it back if the engine has ended.
    pub(super) fn push(&self, job: Box<Prepared>) -> Result<(), Box<Prepared>> {
        {
            let mut state = self.state();
            if state.shut {
                return Err(job);
            }
            self.expect(&state, job.deadline);
            state.waiting.push(job.priority, job);
        }
        self.changed.notify_all();
        Ok(())
    }

    /// Wakes the thread that keeps the deadlines if this deadline is earlier than the one it waits for.
    fn expect(&self, state: &State, deadline: Instant) {
        if state.alarm.is_none_or(|alarm| deadline < alarm) {
            self.due.notify_one();
        }
    }

    /// Cancels a job. If a lane has it, the lane is notified, and `stop` is called with the lane's number if no other
    /// job needs the step that it computes. A step that others need is not thrown away.
    pub(super) fn cancel(&self, id: JobId, stop: impl FnOnce(usize)) -> Cancelled {
        let mut state = self.state();
        if let Some(job) = state.waiting.remove(|job| job.id == id) {
            return Cancelled::Waiting(job);
        }
        let State { running, over, pinning, .. } = &mut *state;
        if let Some(job) = running.iter_mut().find(|job| job.id == id && !job.over) {
            job.over = true;
            let lane = job.lane;
            over[lane].push(id);
            if !pinning[lane] && running.iter().all(|job| job.over || job.lane != lane) {
                // Under the lock: the lane clears the request when it looks.
                stop(lane);
            }
        }
        Cancelled::Noted
    }

    /// Which jobs of this lane have ended since it last looked; `None` if the lane must end. An `idle` lane sleeps
    /// until there is something for it, or until it is woken. Idle lanes of lower number come first: so consecutive
    /// requests meet the same lane, with the prompts that it keeps, and give the same results. `seen` clears the
    /// request that made the lane look.
    pub(super) fn look(&self, lane: usize, idle: bool, seen: impl FnOnce()) -> Option<Vec<JobId>> {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.lanes[lane], if idle { Lane::Idle } else { Lane::Busy });
        if before == Lane::Taking {
            // Another lane took the job, or its deadline passed. Lanes that left it to this one must look again.
            self.changed.notify_all();
        }
        while idle && !state.nudged[lane] && !state.shut {
            let above = state.lanes[lane + 1..].iter().filter(|&&other| other == Lane::Taking).count();
            if state.waiting.len() > state.ahead(lane) + above {
                state.lanes[lane] = Lane::Taking;
                break;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if std::mem::take(&mut state.nudged[lane]) && state.lanes[lane] == Lane::Idle {
            // It may have to compute now, so no job is left to it.
            state.lanes[lane] = Lane::Busy;
        }
        if state.shut {
            return None;
        }
        seen();
        Some(std::mem::take(&mut state.over[lane]))
    }

    /// Wakes every lane: there is something to look at other than jobs.
    pub(super) fn nudge(&self) {
        self.state().nudged.fill(true);
        self.changed.notify_all();
    }

    /// The waiting job whose turn it is, if `fits` accepts it.
    pub(super) fn pop(&self, lane: usize, fits: impl FnOnce(&Prepared) -> bool) -> Option<Box<Prepared>> {
        let mut state = self.state();
        // Another lane may have taken the job that this lane was about to take, and the job that waits now may be for a
        // lane ahead of it.
        if state.lanes[lane] != Lane::Busy && state.waiting.len() <= state.ahead(lane) {
            return None;
        }
        let job = if fits(state.waiting.first()?) { state.waiting.pop() } else { None }?;
        state.lanes[lane] = Lane::Busy;
        let Prepared { id, submitted, deadline, .. } = *job;
        state.running.push(Running { id, lane, submitted, deadline, done: job.done.clone(), over: false });
        Some(job)
    }

    /// The time of a patient job begins.
    pub(super) fn begun(&self, job: &Prepared) {
        let mut state = self.state();
        if let Some(running) = state.running.iter_mut().find(|running| running.id == job.id) {
            (running.submitted, running.deadline) = (job.submitted, job.deadline);
        }
        self.expect(&state, job.deadline);
    }

    /// A lane no longer has a job, and has no other one if it is `idle`. Call this before the caller is told that the
    /// job ended: then the caller's next job goes to this lane.
    pub(super) fn left(&self, lane: usize, id: JobId, idle: bool) {
        let mut state = self.state();
        state.running.retain(|running| running.id != id);
        state.over[lane].retain(|over| *over != id);
        if idle {
            state.lanes[lane] = Lane::Idle;
        }
    }

    /// Sets whether a lane computes prefixes to be kept: then its steps are needed whatever happens to its jobs.
    pub(super) fn set_pinning(&self, lane: usize, pinning: bool) {
        self.state().pinning[lane] = pinning;
    }

    /// Ends everything whose deadline has passed, until the inbox is shut: waiting jobs, and jobs in a long step. So a
    /// deadline never stops a step that others need.
    pub(super) fn keep_deadlines(&self) {
        let mut state = self.state();
        while !state.shut {
            let now = Instant::now();
            let waiting = state.waiting.extract(|job| job.due() <= now);
            let State { running, over, .. } = &mut *state;
            let late: Vec<_> = running
                .iter_mut()
                .filter(|job| !job.over && job.deadline + LATE <= now)
                .map(|job| {
                    job.over = true;
                    over[job.lane].push(job.id);
                    (job.done.clone(), Error::timed_out(job.deadline.saturating_duration_since(job.submitted)))
                })
                .collect();
            if !waiting.is_empty() || !late.is_empty() {
                drop(state);
                for job in waiting {
                    let error = job.timed_out();
                    job.fail(error);
                }
                for (done, error) in late {
                    done.tell(Err(error));
                }
                state = self.state();
                continue;
            }
            let waiting = state.waiting.iter().map(|job| job.due());
            let running = state.running.iter().filter(|job| !job.over).map(|job| job.deadline + LATE);
            state.alarm = waiting.chain(running).min();
            state = match state.alarm {
                Some(alarm) => {
                    let wait = alarm.saturating_duration_since(now);
                    self.due.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.due.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Number of waiting jobs.
    pub(super) fn len(&self) -> usize {
        self.state().waiting.len()
    }

    /// Ends the engine because a lane has panicked. Like [`Self::shut`].
    pub(super) fn give_up(&self) -> Jobs {
        self.state().dead = true;
        self.shut()
    }

    /// The error of jobs once this is shut: those of a lane, and those that come too late.
    pub(super) fn error(&self) -> Error {
        if self.state().dead { Error::engine_dead("one of its threads panicked") } else { Error::shut_down() }
    }

    /// Ends the engine: every lane ends before its next step. Gives the jobs that wait.
    pub(super) fn shut(&self) -> Jobs {
        let mut state = self.state();
        state.shut = true;
        let waiting = state.waiting.extract(|_| true);
        drop(state);
        self.changed.notify_all();
        self.due.notify_all();
        waiting
    }
}
