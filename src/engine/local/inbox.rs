//! What waits for the engine's threads: jobs, which any lane takes, and cancels, which every lane looks at.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::engine::JobId;
use crate::engine::lines::Lines;
use crate::error::Error;

use super::job::Prepared;

pub(super) type Jobs = Vec<Box<Prepared>>;

/// Shared by the lanes and by those who submit. No completion is called while its lock is held.
pub(super) struct Inbox {
    state: Mutex<State>,
    /// A job, a cancel or the end has come: whoever sleeps looks again.
    changed: Condvar,
}

struct State {
    waiting: Lines<Box<Prepared>>,
    lanes: Vec<Lane>,
    /// For each lane, what was cancelled since it looked.
    cancelled: Vec<Vec<JobId>>,
    /// For each lane, whether it was nudged since it looked.
    nudged: Vec<bool>,
    /// Nothing is taken in any more.
    shut: bool,
    /// A lane has panicked: that is why.
    dead: bool,
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
            lanes: vec![Lane::Busy; lanes],
            cancelled: vec![Vec::new(); lanes],
            nudged: vec![false; lanes],
            shut: false,
            dead: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
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
            state.waiting.push(job.priority, job);
        }
        self.changed.notify_all();
        Ok(())
    }

    /// Cancels a job. Gives it where it waits; else the lane that has it hears of it.
    pub(super) fn cancel(&self, id: JobId) -> Option<Box<Prepared>> {
        let mut state = self.state();
        if let Some(job) = state.waiting.remove(|job| job.id == id) {
            return Some(job);
        }
        for lane in &mut state.cancelled {
            lane.push(id);
        }
        drop(state);
        self.changed.notify_all();
        None
    }

    /// What was cancelled since this lane looked; `None` if the lane is to end. A lane that is `idle` sleeps until there is
    /// something for it, or it is nudged. Idle lanes of lower number come first: so requests one after the other meet the same lane, with the
    /// prompts that it keeps, and come out the same.
    pub(super) fn look(&self, lane: usize, idle: bool) -> Option<Vec<JobId>> {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.lanes[lane], if idle { Lane::Idle } else { Lane::Busy });
        if before == Lane::Taking {
            // The job was taken by another lane, or its deadline passed. Lanes that left it to this one must look again.
            self.changed.notify_all();
        }
        while idle && !state.nudged[lane] && !state.shut && state.cancelled[lane].is_empty() {
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
        (!state.shut).then(|| std::mem::take(&mut state.cancelled[lane]))
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
        let job = if fits(state.waiting.first()?) { state.waiting.pop() } else { None };
        if job.is_some() {
            state.lanes[lane] = Lane::Busy;
        }
        job
    }

    /// A lane has ended its last job. To be called before the caller hears of that end: the caller's next job is then for
    /// this lane.
    pub(super) fn rest(&self, lane: usize) {
        self.state().lanes[lane] = Lane::Idle;
    }

    /// Takes out the waiting jobs whose time is over.
    pub(super) fn expired(&self, now: Instant) -> Jobs {
        let mut state = self.state();
        state.waiting.extract(|job| job.deadline <= now)
    }

    /// When the first waiting job is out of time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.state().waiting.iter().map(|job| job.deadline).min()
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
        waiting
    }
}
