//! Jobs in progress: each waits for the responses to its own requests, and one thread waits for all of them.
//!
//! Any thread submits and cancels. The waiting thread sleeps on a condition while no job is in progress, and otherwise
//! in the library's own wait. It also keeps the deadlines, so that a job ends in time even if the library no longer
//! answers, and watches the library's pulse.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cxx::{SharedPtr, UniquePtr};

use crate::engine::{Completion, Generation, JobId, Patience, Stats};
use crate::error::{Error, Result};

use super::bridge::Receiver;
use super::bridge::ffi::{Probe, Reply, Session, Statistics};
use super::failure::{failed, is_sticky, told};
use super::job::{EngineRequest, JobWriter};
use super::pulse::Pulse;

/// Longest single wait inside the library: after it, the thread checks whether it must end.
const WAIT: Duration = Duration::from_millis(100);
/// How often the library's statistics are read while work is in progress: it keeps those of 1,000 iterations.
const STATISTICS_EVERY: Duration = Duration::from_millis(250);

/// An executor with its jobs.
pub(super) struct Executor {
    session: UniquePtr<Session>,
    state: Mutex<State>,
    changed: Condvar,
    statistics: Mutex<Statistics>,
    statistics_every: Duration,
    tokens_per_block: usize,
    /// Requests that the library computes at once.
    most_at_once: usize,
}

struct State {
    jobs: HashMap<JobId, InFlight>,
    /// The job of each request that the library works on, and its place among the requests of that job.
    requests: HashMap<u64, (JobId, usize)>,
    deadlines: BTreeSet<(Instant, JobId)>,
    /// Patient jobs that wait for their turn, in the order of their requests; some may have ended.
    waiting: VecDeque<JobId>,
    /// How many of them have not ended.
    patient: usize,
    /// Requests whose jobs have ended, until the library has answered these too, or until the limit of the pulse has
    /// passed.
    abandoned: HashMap<u64, Instant>,
    /// Answers to requests that the submitting thread has not entered yet, and how many of them there may be.
    early: HashMap<u64, UniquePtr<Reply>>,
    entering: usize,
    pulse: Pulse,
    dead: Option<String>,
    closing: bool,
}

/// A job in progress.
struct InFlight {
    /// The requests that the library works on.
    requests: Vec<u64>,
    /// The answers to the requests made at once, by their places, and how many are expected. `None` for a request that
    /// failed and is allowed to.
    answers: Vec<(usize, Option<UniquePtr<Reply>>)>,
    awaited: usize,
    /// Taken out while a thread works on it.
    work: Option<Work>,
    submitted: Instant,
    /// When its time began.
    begun: Instant,
    deadline: Instant,
    /// Only for a patient job whose time has not begun.
    patience: Option<Patience>,
    done: Completion,
}

/// The time of a job, as in [`Job`](crate::engine::Job).
pub(super) struct Time {
    pub(super) submitted: Instant,
    pub(super) deadline: Instant,
    pub(super) patience: Option<Patience>,
}

/// What a job is working on.
struct Work {
    writer: Box<JobWriter>,
    probe: SharedPtr<Probe>,
}

/// A job whose answers have arrived.
struct Answered {
    id: JobId,
    work: Work,
    /// In the order of the requests.
    replies: Vec<Option<UniquePtr<Reply>>>,
    submitted: Instant,
}

impl InFlight {
    fn timed_out(&self) -> Error {
        Error::timed_out(self.deadline.saturating_duration_since(self.begun))
    }
}

impl State {
    fn new(pulse: Pulse) -> Self {
        Self {
            jobs: HashMap::new(),
            requests: HashMap::new(),
            deadlines: BTreeSet::new(),
            waiting: VecDeque::new(),
            patient: 0,
            abandoned: HashMap::new(),
            early: HashMap::new(),
            entering: 0,
            pulse,
            dead: None,
            closing: false,
        }
    }

    fn remove(&mut self, id: JobId) -> Option<InFlight> {
        let job = self.jobs.remove(&id)?;
        self.deadlines.remove(&(job.deadline, id));
        self.patient -= usize::from(job.patience.is_some());
        for request in &job.requests {
            self.requests.remove(request);
            self.abandoned.insert(*request, Instant::now());
        }
        Some(job)
    }

    fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.abandoned.is_empty()
    }

    /// Whether the library has requests to work on, as far as is known.
    fn holds_requests(&self) -> bool {
        !self.requests.is_empty() || !self.abandoned.is_empty()
    }

    /// Takes in an answer to a job's request; gives the job if all its answers have arrived.
    fn answer(&mut self, id: JobId, place: usize, reply: Option<UniquePtr<Reply>>) -> Option<Answered> {
        let job = self.jobs.get_mut(&id)?;
        job.answers.push((place, reply));
        self.complete(id)
    }

    /// The job, if all its answers have arrived and no other thread works on it.
    fn complete(&mut self, id: JobId) -> Option<Answered> {
        let job = self.jobs.get_mut(&id)?;
        if job.answers.len() < job.awaited {
            return None;
        }
        let work = job.work.take()?;
        let mut answers = std::mem::take(&mut job.answers);
        answers.sort_by_key(|(place, _)| *place);
        let replies = answers.into_iter().map(|(_, reply)| reply).collect();
        Some(Answered { id, work, replies, submitted: job.submitted })
    }

    /// The error of a job that comes too late, if it does.
    fn refusal(&self) -> Option<Error> {
        if let Some(reason) = &self.dead {
            return Some(Error::engine_dead(reason));
        }
        self.closing.then(Error::shut_down)
    }
}

impl Executor {
    pub(super) fn new(session: UniquePtr<Session>, pulse: Pulse, tokens_per_block: usize, most_at_once: usize) -> Self {
        let statistics_every = STATISTICS_EVERY.min(pulse.limit() / 4);
        Self {
            session,
            state: Mutex::new(State::new(pulse)),
            changed: Condvar::new(),
            statistics: Mutex::default(),
            statistics_every,
            tokens_per_block,
            most_at_once,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a job. `done` is called exactly once.
    pub(super) fn submit(&self, id: JobId, mut writer: Box<JobWriter>, time: Time, done: Completion) {
        let Time { submitted, deadline, patience } = time;
        {
            let mut state = self.state();
            if let Some(error) = state.refusal() {
                drop(state);
                done(Err(error));
                return;
            }
            let (requests, answers) = (Vec::new(), Vec::new());
            if patience.is_some() {
                state.waiting.push_back(id);
                state.patient += 1;
            }
            let job = InFlight {
                requests,
                answers,
                awaited: 0,
                work: None,
                submitted,
                begun: submitted,
                deadline,
                patience,
                done,
            };
            state.jobs.insert(id, job);
            state.deadlines.insert((deadline, id));
        }
        self.changed.notify_one();
        self.begin_waiting();
        let request = writer.request();
        self.send(id, writer, vec![request]);
    }

    /// Begins the time of the patient jobs whose turn it is. The library does not say when it starts a request; but it
    /// takes requests in order, and computes `most_at_once` of them at a time.
    fn begin_waiting(&self) {
        let mut begun = Vec::new();
        let mut state = self.state();
        while let Some(&id) = state.waiting.front()
            && (!state.jobs.contains_key(&id) || state.jobs.len() - state.patient < self.most_at_once)
        {
            state.waiting.pop_front();
            let Some(job) = state.jobs.get_mut(&id) else { continue };
            let Some(patience) = job.patience.take() else { continue };
            let (before, deadline) = (job.deadline, patience.deadline());
            job.deadline = deadline;
            job.begun = deadline.checked_sub(patience.timeout()).unwrap_or(job.begun);
            state.patient -= 1;
            state.deadlines.remove(&(before, id));
            state.deadlines.insert((deadline, id));
            begun.push(patience);
        }
        drop(state);
        for patience in begun {
            patience.begin();
        }
    }

    /// Ends a job as cancelled.
    pub(super) fn cancel(&self, id: JobId) {
        let job = self.state().remove(id);
        if let Some(job) = job {
            self.cancel_requests(&job.requests);
            (job.done)(Err(Error::cancelled()));
        }
    }

    fn cancel_requests(&self, requests: &[u64]) {
        for &request in requests {
            // If this fails, the request ends by itself, at its limit of tokens or time.
            let _ = self.session.cancel(request);
        }
    }

    fn finish(&self, id: JobId, outcome: Result<Generation>) {
        let job = self.state().remove(id);
        if let Some(job) = job {
            (job.done)(outcome);
        }
    }

    /// Sends requests for a job, all at once.
    fn send(&self, id: JobId, writer: Box<JobWriter>, next: Vec<EngineRequest>) {
        let may_fail = writer.is_contesting();
        let mut probe = SharedPtr::null();
        let mut deadline = Instant::now();
        if let Some(job) = self.state().jobs.get_mut(&id) {
            job.awaited = next.len();
            deadline = job.deadline;
        }
        for (place, EngineRequest { mut submission, probe: plan }) in next.into_iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now()).as_millis();
            // The waiting thread handles a deadline that has passed.
            submission.allotted_ms = i64::try_from(left).unwrap_or(i64::MAX).max(1);
            if let Some(plan) = plan {
                probe = self.session.probe(&plan);
            }
            self.state().entering += 1;
            let mut request = 0;
            let status = self.session.enqueue(&submission, probe.clone(), &mut request);
            let mut state = self.state();
            state.entering -= 1;
            let early = state.early.remove(&request);
            if state.entering == 0 {
                // The remaining answers belong to no request.
                state.early.clear();
            }
            if !status.is_ok() {
                let passes = may_fail && !is_sticky(&status.message);
                if passes && state.jobs.contains_key(&id) {
                    state.answer(id, place, None);
                    continue;
                }
                drop(state);
                self.fail(id, failed("submitting the request", &status), &status.message);
                return;
            }
            let Some(job) = state.jobs.get_mut(&id) else {
                if early.is_none() {
                    state.abandoned.insert(request, Instant::now());
                    drop(state);
                    self.cancel_requests(&[request]);
                }
                return;
            };
            job.requests.push(request);
            state.requests.insert(request, (id, place));
            drop(state);
            if let Some(reply) = early {
                self.take(reply);
            }
        }
        let mut state = self.state();
        let Some(job) = state.jobs.get_mut(&id) else { return };
        job.work = Some(Work { writer, probe });
        let answered = state.complete(id);
        drop(state);
        if let Some(answered) = answered {
            self.advance(answered);
        }
    }

    /// Takes in an answer.
    fn take(&self, reply: UniquePtr<Reply>) {
        if !reply.is_final() {
            return;
        }
        let request = reply.request();
        let message = reply.failed().then(|| reply.error());
        let mut state = self.state();
        state.pulse.beat(Instant::now());
        if state.abandoned.remove(&request).is_some() {
            drop(state);
            // No job waits for it, but it may say that the GPU is lost.
            if let Some(message) = message.filter(|message| is_sticky(message)) {
                self.die(told("the engine failed on a request", &message).message());
            }
            return;
        }
        let Some((id, place)) = state.requests.remove(&request) else {
            if state.entering > 0 {
                state.early.insert(request, reply);
            }
            return;
        };
        let Some(job) = state.jobs.get_mut(&id) else { return };
        job.requests.retain(|&other| other != request);
        // While the requests are being sent, a failed one is handled later.
        let contesting = job.work.as_ref().is_none_or(|work| work.writer.is_contesting());
        let answered = match message {
            Some(message) if is_sticky(&message) || !contesting => {
                drop(state);
                self.fail(id, told("the engine failed on the request", &message), &message);
                return;
            }
            _ => state.answer(id, place, Some(reply)),
        };
        drop(state);
        if let Some(answered) = answered {
            self.advance(answered);
        }
    }

    /// Processes the answers to a job's requests.
    fn advance(&self, answered: Answered) {
        let Answered { id, work: Work { mut writer, probe }, replies, submitted } = answered;
        let next = if writer.is_contesting() {
            let taken: Vec<_> = replies.into_iter().map(|reply| reply.filter(|reply| !reply.failed())).collect();
            Ok(writer.contested(&taken))
        } else {
            let Some(Some(reply)) = replies.into_iter().next() else { return };
            if reply.failed() {
                let message = reply.error();
                self.fail(id, told("the engine failed on the request", &message), &message);
                return;
            }
            writer.advance(&reply, probe.as_ref(), submitted)
        };
        match next {
            Ok(next) if next.is_empty() => self.finish(id, Ok(writer.finish())),
            Ok(next) => self.send(id, writer, next),
            Err(error) => self.finish(id, Err(error)),
        }
    }

    /// Ends a job on which the library failed. Gives up the executor if it accepts no more requests, or if the error is
    /// permanent.
    fn fail(&self, id: JobId, error: Error, reason: &str) {
        let job = self.state().remove(id);
        let mut error = error;
        // Before the caller is told: a caller that asks again at once must meet an engine that reports that it is dead.
        if is_sticky(reason) || !self.session.accepts_requests() {
            self.die(super::failure::first_line(reason));
            error = Error::engine_dead(error.message());
        }
        if let Some(job) = job {
            self.cancel_requests(&job.requests);
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
            state.waiting.clear();
            state.patient = 0;
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
            // The shutdown waits until every request has ended.
            self.cancel_requests(&job.requests);
            (job.done)(Err(Error::shut_down()));
        }
    }

    /// Ends every job as closed, without calling the library, which may hang.
    pub(super) fn abandon(&self) {
        let jobs: Vec<_> = self.state().jobs.drain().collect();
        for (_, job) in jobs {
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
            if counted.elapsed() >= self.statistics_every {
                counted = Instant::now();
                self.count();
            }
            self.expire();
        }
    }

    /// How long to wait for responses; sleeps while there is nothing to wait for. `None` if the thread must end.
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
            state.pulse.beat(Instant::now());
        }
        if state.closing {
            return None;
        }
        let deadline = state.deadlines.first().map(|(deadline, _)| deadline.saturating_duration_since(Instant::now()));
        // Rounded up: a wait of zero would spin until the deadline.
        Some(deadline.map_or(WAIT, |left| left.min(WAIT) + Duration::from_millis(1)))
    }

    /// Ends the jobs whose time is over, and checks whether the library is alive.
    fn expire(&self) {
        self.begin_waiting();
        let now = Instant::now();
        let mut expired = Vec::new();
        let (stopped, limit) = {
            let mut state = self.state();
            while let Some(&(deadline, id)) = state.deadlines.first()
                && deadline <= now
            {
                state.deadlines.pop_first();
                expired.extend(state.remove(id));
            }
            let limit = state.pulse.limit();
            if !state.holds_requests() {
                state.pulse.beat(now);
            }
            let stopped = state.pulse.has_stopped(now);
            // A request without an answer for so long waits its turn, or was lost. An answer that still comes is not
            // needed.
            state.abandoned.retain(|_, since| now.saturating_duration_since(*since) < limit);
            (stopped, limit)
        };
        for mut job in expired {
            self.cancel_requests(&job.requests);
            let outcome = match job.work.take() {
                // The verdict is complete; it gets no distributions.
                Some(work) if work.writer.is_contesting() => Ok(work.writer.finish()),
                _ => Err(job.timed_out()),
            };
            (job.done)(outcome);
        }
        if stopped {
            let waited = limit.as_secs_f64();
            self.die(&format!("TensorRT-LLM has not computed a step for {waited} s although it had work"));
        }
    }

    /// Reads the library's counters.
    fn count(&self) {
        let mut statistics = self.statistics.lock().unwrap_or_else(PoisonError::into_inner);
        // Counters are not worth an error: the old ones stay.
        if self.session.statistics(&mut statistics).is_ok() {
            let counted = *statistics;
            drop(statistics);
            self.state().pulse.observe(&counted, Instant::now());
        }
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
            ..Stats::default()
        }
    }

    /// Tells the waiting thread to end.
    pub(super) fn close(&self) {
        self.state().closing = true;
        self.changed.notify_all();
    }

    /// Ends the library's threads. Blocks until they have ended.
    pub(super) fn shut_down(&self) {
        // Its outcome no longer matters.
        let _ = self.session.shut_down();
    }

    /// Whether this process may submit requests.
    pub(super) fn accepts_requests(&self) -> bool {
        self.session.accepts_requests()
    }
}
