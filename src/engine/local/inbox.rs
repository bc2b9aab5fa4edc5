//! What waits for the engine's threads: jobs, which any lane takes, and cancels for the lane that has the job. It also knows
//! which jobs run, and ends what is out of time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::JobId;
use crate::engine::lines::Lines;
use crate::error::Error;

use super::job::{Done, Prepared};

pub(super) type Jobs = Vec<Box<Prepared>>;

/// A lane ends its late jobs between two steps. One that is in the middle of a step for longer than this is not waited for.
const LATE: Duration = Duration::from_millis(10);

/// Shared by the lanes and by those who submit. No completion is called while its lock is held.
pub(super) struct Inbox {
    state: Mutex<State>,
    /// A job or the end has come: whoever sleeps looks again.
    changed: Condvar,
    /// The first deadline has changed, or the end has come: for the thread that keeps the deadlines.
    due: Condvar,
}

struct State {
    waiting: Lines<Box<Prepared>>,
    running: Vec<Running>,
    lanes: Vec<Lane>,
    /// For each lane, which of its jobs are over since it looked: cancelled, or out of time.
    over: Vec<Vec<JobId>>,
    /// For each lane, whether it computes prefixes that are to be kept.
    pinning: Vec<bool>,
    /// For each lane, whether it was nudged since it looked.
    nudged: Vec<bool>,
    /// Nothing is taken in any more.
    shut: bool,
    /// A lane has panicked: that is why.
    dead: bool,
    /// When the thread that keeps the deadlines looks next; `None` while nothing is pending for it.
    alarm: Option<Instant>,
}

/// A job that a lane has.
struct Running {
    id: JobId,
    lane: usize,
    submitted: Instant,
    deadline: Instant,
    done: Done,
    /// Its lane is to drop it.
    over: bool,
}

/// What becomes of a job that is cancelled.
pub(super) enum Cancelled {
    /// It waited. Its end is still to be told.
    Waiting(Box<Prepared>),
    /// Its lane will end it, or it has ended.
    Noted,
}

/// What a lane is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// It has jobs.
    Busy,
    /// It has none: it sleeps, or is on its way to look.
    Idle,
    /// It had none, and is on its way to take one of those that wait.
    Taking,
}

impl State {
    /// Lanes of lower number that have no job, and so come before this one.
    fn ahead(&self, lane: usize) -> usize {
        self.lanes[..lane].iter().filter(|&&other| other != Lane::Busy).count()
    }
}

impl Inbox {
    /// For so many lanes.
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

    /// Takes in a job; gives it back where the engine has ended.
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

    /// Wakes the thread that keeps the deadlines if this one comes before what it waits for.
    fn expect(&self, state: &State, deadline: Instant) {
        if state.alarm.is_none_or(|alarm| deadline < alarm) {
            self.due.notify_one();
        }
    }

    /// Cancels a job. If a lane has it, that lane hears of it, and `stop` is called with its number where the step that it
    /// computes is of use to nobody any more. A step that others need is not thrown away.
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
                // Under the lock: the lane takes it back when it looks.
                stop(lane);
            }
        }
        Cancelled::Noted
    }

    /// Which jobs of this lane are over since it looked; `None` if the lane is to end. A lane that is `idle` sleeps until there is
    /// something for it, or it is nudged. Idle lanes of lower number come first: so requests one after the other meet the same lane, with the
    /// prompts that it keeps, and come out the same. `seen` takes back what asked the lane to look.
    pub(super) fn look(&self, lane: usize, idle: bool, seen: impl FnOnce()) -> Option<Vec<JobId>> {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.lanes[lane], if idle { Lane::Idle } else { Lane::Busy });
        if before == Lane::Taking {
            // The job was taken by another lane, or its deadline passed. Lanes that left it to this one must look again.
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
            // It may have to compute now: jobs are not left to it.
            state.lanes[lane] = Lane::Busy;
        }
        if state.shut {
            return None;
        }
        seen();
        Some(std::mem::take(&mut state.over[lane]))
    }

    /// Wakes every lane: there is something to look at besides the jobs.
    pub(super) fn nudge(&self) {
        self.state().nudged.fill(true);
        self.changed.notify_all();
    }

    /// The waiting job whose turn it is, where `fits` takes it.
    pub(super) fn pop(&self, lane: usize, fits: impl FnOnce(&Prepared) -> bool) -> Option<Box<Prepared>> {
        let mut state = self.state();
        // What this lane was on its way to may have gone to another one, and what waits now may be for a lane ahead of it.
        if state.lanes[lane] != Lane::Busy && state.waiting.len() <= state.ahead(lane) {
            return None;
        }
        let job = if fits(state.waiting.first()?) { state.waiting.pop() } else { None }?;
        state.lanes[lane] = Lane::Busy;
        let Prepared { id, submitted, deadline, .. } = *job;
        state.running.push(Running { id, lane, submitted, deadline, done: job.done.clone(), over: false });
        Some(job)
    }

    /// The time of a patient job has begun.
    pub(super) fn begun(&self, job: &Prepared) {
        let mut state = self.state();
        if let Some(running) = state.running.iter_mut().find(|running| running.id == job.id) {
            (running.submitted, running.deadline) = (job.submitted, job.deadline);
        }
        self.expect(&state, job.deadline);
    }

    /// A lane has a job no longer, and no other one if it is `idle`. To be called before the caller hears of that end: the
    /// caller's next job is then for this lane.
    pub(super) fn left(&self, lane: usize, id: JobId, idle: bool) {
        let mut state = self.state();
        state.running.retain(|running| running.id != id);
        state.over[lane].retain(|over| *over != id);
        if idle {
            state.lanes[lane] = Lane::Idle;
        }
    }

    /// Says whether a lane computes prefixes that are to be kept: its steps are then of use whatever becomes of its jobs.
    pub(super) fn set_pinning(&self, lane: usize, pinning: bool) {
        self.state().pinning[lane] = pinning;
    }

    /// Ends what is out of time, until the inbox is shut: what waits, and what runs in a step that takes long. So a deadline
    /// stops no step that others need.
    pub(super) fn keep_deadlines(&self) {
        let mut state = self.state();
        while !state.shut {
            let now = Instant::now();
            let waiting = state.waiting.extract(|job| job.deadline <= now);
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
            let waiting = state.waiting.iter().map(|job| job.deadline);
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

    /// Jobs that wait.
    pub(super) fn len(&self) -> usize {
        self.state().waiting.len()
    }

    /// Ends the engine because a lane has panicked. As [`Self::shut`].
    pub(super) fn give_up(&self) -> Jobs {
        self.state().dead = true;
        self.shut()
    }

    /// What jobs end as, once this is shut: those of a lane, and those that come too late.
    pub(super) fn error(&self) -> Error {
        if self.state().dead { Error::engine_dead("one of its threads panicked") } else { Error::shut_down() }
    }

    /// Ends the engine: every lane ends before its next step, and what waits is given.
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
