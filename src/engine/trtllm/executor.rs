//! Jobs in flight: each waits for the response to one request of its own, and one thread waits for them all.
//!
//! Any thread submits and cancels. The waiting thread sleeps on a condition while nothing is in flight, and in the
//! library's own wait while something is. It also keeps the deadlines, so that a job ends in time even where the library
//! does not answer any more.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cxx::{SharedPtr, UniquePtr};

use crate::engine::{Completion, Generation, JobId, Stats};
use crate::error::{Error, Result};

use super::bridge::Receiver;
use super::bridge::ffi::{Probe, Reply, Session, Statistics};
use super::failure::{failed, told};
use super::job::{EngineRequest, JobWriter};

/// Longest single wait inside the library: after it the thread looks whether it is to end.
const WAIT: Duration = Duration::from_millis(100);
/// How often the library's statistics are taken over while work is in flight: it keeps those of 1,000 iterations.
const STATISTICS_EVERY: Duration = Duration::from_millis(250);

/// An executor with its jobs.
pub(super) struct Executor {
    session: UniquePtr<Session>,
    state: Mutex<State>,
    changed: Condvar,
    statistics: Mutex<Statistics>,
    unresponsive: Duration,
    tokens_per_block: usize,
}

#[derive(Default)]
struct State {
    jobs: HashMap<JobId, InFlight>,
    /// The job of each request that the library works on.
    requests: HashMap<u64, JobId>,
    deadlines: BTreeSet<(Instant, JobId)>,
    /// Requests whose jobs have ended, until the library has answered them too.
    abandoned: HashMap<u64, Instant>,
    /// Answers to requests that the submitting thread has not entered yet, and how many such there may be.
    early: HashMap<u64, UniquePtr<Reply>>,
    entering: usize,
    last_reply: Option<Instant>,
    dead: Option<String>,
    closing: bool,
}

/// A job in flight.
struct InFlight {
    request: Option<u64>,
    /// Taken out while a thread works on it.
    work: Option<Work>,
    submitted: Instant,
    deadline: Instant,
    done: Completion,
}

/// What a job is working on.
struct Work {
    writer: Box<JobWriter>,
    probe: SharedPtr<Probe>,
}

impl InFlight {
    fn timed_out(&self) -> Error {
        Error::timed_out(self.deadline.duration_since(self.submitted))
    }
}

impl State {
    fn remove(&mut self, id: JobId) -> Option<InFlight> {
        let job = self.jobs.remove(&id)?;
        self.deadlines.remove(&(job.deadline, id));
        if let Some(request) = job.request {
            self.requests.remove(&request);
            self.abandoned.insert(request, Instant::now());
        }
        Some(job)
    }

    fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.abandoned.is_empty()
    }

    /// The error of a job that comes too late, where it does.
    fn refusal(&self) -> Option<Error> {
        if let Some(reason) = &self.dead {
            return Some(Error::engine_dead(reason));
        }
        self.closing.then(Error::shut_down)
    }
}

impl Executor {
    pub(super) fn new(session: UniquePtr<Session>, unresponsive: Duration, tokens_per_block: usize) -> Self {
        Self {
            session,
            state: Mutex::default(),
            changed: Condvar::new(),
            statistics: Mutex::default(),
            unresponsive,
            tokens_per_block,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a job on. `done` is called once, whatever comes.
    pub(super) fn submit(
        &self,
        id: JobId,
        mut writer: Box<JobWriter>,
        submitted: Instant,
        deadline: Instant,
        done: Completion,
    ) {
        {
            let mut state = self.state();
            if let Some(error) = state.refusal() {
                drop(state);
                done(Err(error));
                return;
            }
            state.jobs.insert(id, InFlight { request: None, work: None, submitted, deadline, done });
            state.deadlines.insert((deadline, id));
        }
        self.changed.notify_one();
        let request = writer.request();
        self.send(id, writer, request, deadline);
    }

    /// Ends a job as cancelled.
    pub(super) fn cancel(&self, id: JobId) {
        let job = self.state().remove(id);
        if let Some(job) = job {
            self.cancel_request(job.request);
            (job.done)(Err(Error::cancelled()));
        }
    }

    fn cancel_request(&self, request: Option<u64>) {
        if let Some(request) = request {
            // Where it fails the request ends by itself, at its limit of tokens or time.
            let _ = self.session.cancel(request);
        }
    }

    fn finish(&self, id: JobId, outcome: Result<Generation>) {
        let job = self.state().remove(id);
        if let Some(job) = job {
            (job.done)(outcome);
        }
    }

    /// Makes a request for a job.
    fn send(&self, id: JobId, writer: Box<JobWriter>, next: EngineRequest, deadline: Instant) {
        let EngineRequest { mut submission, probe } = next;
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        // A deadline that has passed is kept by the waiting thread.
        submission.allotted_ms = i64::try_from(left).unwrap_or(i64::MAX).max(1);
        let probe = probe.map_or_else(SharedPtr::null, |plan| self.session.probe(&plan));
        self.state().entering += 1;
        let mut request = 0;
        // Where the logits are gathered the probe only says which of them are wanted.
        let attached = if submission.gather_generation_logits { SharedPtr::null() } else { probe.clone() };
        let status = self.session.enqueue(&submission, attached, &mut request);
        let mut state = self.state();
        state.entering -= 1;
        let early = state.early.remove(&request);
        if state.entering == 0 {
            // The rest answers nothing that was asked for.
            state.early.clear();
        }
        if !status.is_ok() {
            drop(state);
            self.fail(id, failed("submitting the request", &status), &status.message);
            return;
        }
        let Some(job) = state.jobs.get_mut(&id) else {
            if early.is_none() {
                state.abandoned.insert(request, Instant::now());
                drop(state);
                self.cancel_request(Some(request));
            }
            return;
        };
        job.request = Some(request);
        job.work = Some(Work { writer, probe });
        state.requests.insert(request, id);
        drop(state);
        if let Some(reply) = early {
            self.take(reply);
        }
    }

    /// Takes in an answer.
    fn take(&self, reply: UniquePtr<Reply>) {
        if !reply.is_final() {
            return;
        }
        let request = reply.request();
        let (id, work, submitted, deadline) = {
            let mut state = self.state();
            state.last_reply = Some(Instant::now());
            if state.abandoned.remove(&request).is_some() {
                return;
            }
            let Some(id) = state.requests.remove(&request) else {
                if state.entering > 0 {
                    state.early.insert(request, reply);
                }
                return;
            };
            let Some(job) = state.jobs.get_mut(&id) else { return };
            job.request = None;
            let Some(work) = job.work.take() else { return };
            (id, work, job.submitted, job.deadline)
        };
        let Work { mut writer, probe } = work;
        if reply.failed() {
            let message = reply.error();
            self.fail(id, told("the engine failed on the request", &message), &message);
            return;
        }
        match writer.advance(&reply, probe.as_ref(), submitted) {
            Ok(None) => self.finish(id, Ok(writer.finish())),
            Ok(Some(next)) => self.send(id, writer, next, deadline),
            Err(error) => self.finish(id, Err(error)),
        }
    }

    /// Ends a job that the library failed on, and gives the executor up where it takes no requests any more.
    fn fail(&self, id: JobId, error: Error, reason: &str) {
        let job = self.state().remove(id);
        let mut error = error;
        // Before the caller knows: one that asks again at once is to meet an engine that says that it is dead.
        if !self.session.accepts_requests() {
            self.die(super::failure::first_line(reason));
            error = Error::engine_dead(error.message());
        }
        if let Some(job) = job {
            (job.done)(Err(error));
        }
    }

    /// Ends every job, and refuses further ones.
    fn die(&self, reason: &str) {
        let jobs: Vec<_> = {
            let mut state = self.state();
            state.dead.get_or_insert_with(|| reason.to_owned());
            state.requests.clear();
            state.abandoned.clear();
            state.early.clear();
            state.deadlines.clear();
            state.jobs.drain().collect()
        };
        for (_, job) in jobs {
            (job.done)(Err(Error::engine_dead(reason)));
        }
    }

    /// Works until [`Self::close`].
    pub(super) fn run(&self) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.wait_for_responses()));
        if outcome.is_err() {
            self.die("the waiting thread panicked");
        }
        let jobs: Vec<_> = self.state().jobs.drain().collect();
        for (_, job) in jobs {
            // Shutting down waits until every request has ended.
            self.cancel_request(job.request);
            (job.done)(Err(Error::shut_down()));
        }
    }

    fn wait_for_responses(&self) {
        let mut receiver = Receiver::default();
        let mut counted = Instant::now();
        while let Some(wait) = self.next_wait() {
            let timeout = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
            let status = self.session.await_responses(timeout, &mut receiver);
            for reply in receiver.replies.drain(..) {
                self.take(reply);
            }
            if !status.is_ok() {
                self.die(failed("waiting for responses", &status).message());
            }
            self.expire();
            if counted.elapsed() >= STATISTICS_EVERY {
                counted = Instant::now();
                self.count();
            }
        }
    }

    /// How long to wait for responses; sleeps while there is nothing to wait for. `None` where the thread is to end.
    fn next_wait(&self) -> Option<Duration> {
        let mut state = self.state();
        if state.is_idle() && !state.closing {
            drop(state);
            // The last iterations before the pause.
            self.count();
            state = self.state();
        }
        while state.is_idle() && !state.closing {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closing {
            return None;
        }
        let deadline = state.deadlines.first().map(|(deadline, _)| deadline.saturating_duration_since(Instant::now()));
        // Rounded up: a wait of no time would spin until the deadline.
        Some(deadline.map_or(WAIT, |left| left.min(WAIT) + Duration::from_millis(1)))
    }

    /// Ends the jobs whose time is over, and looks whether the library still answers.
    fn expire(&self) {
        let now = Instant::now();
        let mut expired = Vec::new();
        let unresponsive = {
            let mut state = self.state();
            while let Some(&(deadline, id)) = state.deadlines.first()
                && deadline <= now
            {
                state.deadlines.pop_first();
                expired.extend(state.remove(id));
            }
            let limit = self.unresponsive;
            let silent = |since: Instant| now.saturating_duration_since(since) >= limit;
            let heard = state.last_reply;
            let unresponsive =
                state.abandoned.values().any(|&since| silent(since) && heard.is_none_or(|heard| heard < since));
            // One that is lost among others that are answered is not waited for any longer.
            state.abandoned.retain(|_, since| !silent(*since));
            unresponsive
        };
        for job in expired {
            self.cancel_request(job.request);
            let error = job.timed_out();
            (job.done)(Err(error));
        }
        if unresponsive {
            let waited = self.unresponsive.as_secs_f64();
            self.die(&format!("TensorRT-LLM has not answered for {waited} s, not even a cancellation"));
        }
    }

    /// Takes over what the library has counted.
    fn count(&self) {
        let mut statistics = self.statistics.lock().unwrap_or_else(PoisonError::into_inner);
        // Counters are worth no error: the old ones stand.
        let _ = self.session.statistics(&mut statistics);
    }

    pub(super) fn stats(&self) -> Stats {
        self.count();
        let counted = *self.statistics.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = self.state().jobs.len();
        let waiting = jobs.min(counted.queued as usize);
        let block =
            if counted.tokens_per_block == 0 { self.tokens_per_block } else { counted.tokens_per_block as usize };
        Stats {
            waiting,
            running: jobs - waiting,
            reused_tokens: counted.blocks_reused * block as u64,
            computed_tokens: counted.computed_tokens,
            steps: counted.steps,
            kv_block_tokens: block,
            kv_blocks: counted.blocks_total as usize,
            kv_blocks_used: counted.blocks_used as usize,
            kv_blocks_reused: counted.blocks_reused,
        }
    }

    /// Tells the waiting thread to end.
    pub(super) fn close(&self) {
        self.state().closing = true;
        self.changed.notify_all();
    }

    /// Ends the library's threads. Blocks until they have ended.
    pub(super) fn shut_down(&self) {
        // What it says is of no use to anybody by now.
        let _ = self.session.shut_down();
    }

    /// Whether this process may submit requests.
    pub(super) fn accepts_requests(&self) -> bool {
        self.session.accepts_requests()
    }
}
