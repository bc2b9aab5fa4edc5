//! What waits for the engine's threads: jobs, which any lane takes, and cancels for the lane that has the job. It also
//! knows which jobs run, and ends those whose time is over.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::JobId;
use crate::engine::lines::Lines;
use crate::error::Error;

use super::job::{Done, Prepared};
use super::watch::StopFlag;

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
    /// What stops the step of each lane. Set and cleared under the lock, so that a lane clears only what it has looked at.
    stops: Vec<Option<StopFlag>>,
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
    /// Its caller has been told its end.
    told: bool,
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

    /// Stops the step of a lane if all of its jobs are over.
    fn stop_if_unneeded(&self, lane: usize) {
        if !self.pinning[lane]
            && self.running.iter().all(|job| job.over || job.lane != lane)
            && let Some(stop) = &self.stops[lane]
        {
            stop.set();
        }
    }
}

impl Inbox {
    /// For this many lanes.
    pub(super) fn new(lanes: usize) -> Self {
        let state = State {
            waiting: Lines::default(),
            running: Vec::new(),
            stops: vec![None; lanes],
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
            self.expect(&state, job.due());
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

    /// Cancels a job. If a lane has it, the lane hears of it, and its step is stopped if no other job needs it. A step that
    /// others need is not thrown away.
    pub(super) fn cancel(&self, id: JobId) -> Cancelled {
        let mut state = self.state();
        if let Some(job) = state.waiting.remove(|job| job.id == id) {
            return Cancelled::Waiting(job);
        }
        let State { running, over, .. } = &mut *state;
        if let Some(job) = running.iter_mut().find(|job| job.id == id && !job.over) {
            job.over = true;
            let lane = job.lane;
            over[lane].push(id);
            state.stop_if_unneeded(lane);
        }
        Cancelled::Noted
    }

    /// A lane computes with this flag.
    pub(super) fn attach(&self, lane: usize, stop: StopFlag) {
        self.state().stops[lane] = Some(stop);
    }

    /// Which jobs of this lane have ended since it last looked; `None` if the lane must end. An `idle` lane sleeps
    /// until there is something for it, or until it is woken. Idle lanes of lower number come first: so consecutive
    /// requests meet the same lane, with the prompts that it keeps, and give the same results.
    pub(super) fn look(&self, lane: usize, idle: bool) -> Option<Vec<JobId>> {
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
        if let Some(stop) = &state.stops[lane] {
            stop.clear();
        }
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
        let done = job.done.clone();
        state.running.push(Running { id, lane, submitted, deadline, done, over: false, told: false });
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

    /// Ends everything whose deadline has passed, until the inbox is shut: waiting jobs, and jobs in a long step, also
    /// cancelled ones. A deadline stops a step only if no other job needs it.
    pub(super) fn keep_deadlines(&self) {
        let mut state = self.state();
        while !state.shut {
            let now = Instant::now();
            let waiting = state.waiting.extract(|job| job.due() <= now);
            let State { running, over, .. } = &mut *state;
            let mut late = Vec::new();
            for job in running.iter_mut().filter(|job| !job.told && job.deadline + LATE <= now) {
                job.told = true;
                let error = if job.over {
                    Error::cancelled()
                } else {
                    job.over = true;
                    over[job.lane].push(job.id);
                    Error::timed_out(job.deadline.saturating_duration_since(job.submitted))
                };
                late.push((job.lane, job.done.clone(), error));
            }
            for (lane, ..) in &late {
                state.stop_if_unneeded(*lane);
            }
            if !waiting.is_empty() || !late.is_empty() {
                drop(state);
                for job in waiting {
                    let error = job.timed_out();
                    job.fail(error);
                }
                for (_, done, error) in late {
                    done.tell(Err(error));
                }
                state = self.state();
                continue;
            }
            let waiting = state.waiting.iter().map(|job| job.due());
            let running = state.running.iter().filter(|job| !job.told).map(|job| job.deadline + LATE);
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

    /// Ends the engine: every lane stops its step, and ends. Gives the jobs that wait.
    pub(super) fn shut(&self) -> Jobs {
        let mut state = self.state();
        state.shut = true;
        state.stops.iter().flatten().for_each(StopFlag::set);
        let waiting = state.waiting.extract(|_| true);
        drop(state);
        self.changed.notify_all();
        self.due.notify_all();
        waiting
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::error::ErrorKind;

    /// A lane works on a job with so much time.
    fn run(inbox: &Inbox, id: u64, lane: usize, time: Duration) -> Receiver<ErrorKind> {
        let (told, outcome) = channel();
        let done = Done::new(Box::new(move |result| told.send(result.unwrap_err().kind()).unwrap()));
        let submitted = Instant::now();
        let (id, deadline) = (JobId(id), submitted + time);
        inbox.state().running.push(Running { id, lane, submitted, deadline, done, over: false, told: false });
        outcome
    }

    fn two_lanes() -> (Arc<Inbox>, [StopFlag; 2]) {
        let (inbox, stops) = (Arc::new(Inbox::new(2)), [StopFlag::default(), StopFlag::default()]);
        for (lane, stop) in stops.iter().enumerate() {
            inbox.attach(lane, stop.clone());
        }
        (inbox, stops)
    }

    #[test]
    fn a_step_is_stopped_once_all_its_jobs_are_over_whatever_ended_them() {
        const LONG: Duration = Duration::from_secs(60);
        let (inbox, [first, second]) = two_lanes();
        let cancelled = run(&inbox, 0, 0, Duration::from_millis(200));
        let late = run(&inbox, 1, 0, Duration::from_millis(200));
        let other = run(&inbox, 2, 1, LONG);
        inbox.cancel(JobId(0));
        assert!(!first.is_set());
        let keeper = std::thread::spawn({
            let inbox = inbox.clone();
            move || inbox.keep_deadlines()
        });
        assert_eq!(late.recv_timeout(LONG), Ok(ErrorKind::Timeout));
        assert_eq!(cancelled.recv_timeout(LONG), Ok(ErrorKind::Cancelled), "its lane is too slow to say so");
        assert!(first.is_set() && !second.is_set());
        assert_eq!(inbox.look(0, false), Some(vec![JobId(0), JobId(1)]));
        assert!(!first.is_set());
        inbox.give_up();
        assert!(second.is_set(), "a lane that computes does not keep the end waiting");
        assert!(inbox.look(1, false).is_none() && other.try_recv().is_err());
        keeper.join().unwrap();
    }
}
