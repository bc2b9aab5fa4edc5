//! An engine that answers by script, for tests of what stands on an engine: judges, servers, trainers.
//!
//! ```
//! use dicast::engine::scripted::{Reply, Scripted};
//! use dicast::{Judge, JudgeConfig, JudgeRequest, Log, Profile};
//!
//! let engine = Scripted::new(|_job, _number| Reply::text(r#"{"scores": {"model-1": 4}, "best-to-worst": ["model-1"]}"#));
//! let judge = Judge::with_engine(JudgeConfig::new("scripted"), Profile::builtin(), engine.opened(), Log::none())?;
//! assert_eq!(judge.judge(&JudgeRequest::new("Be brief.", "Hi", [("a", "Hello")]))?.scores[0].score, 4.0);
//! # Ok::<(), dicast::Error>(())
//! ```

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::decode::plan::Plan;
use crate::decode::transcript::{Stopwatch, Transcript};
use crate::error::{Error, ErrorKind};
use crate::thread::{JoinHandle, current};

use super::{
    Capabilities, Completion, Engine, EngineKind, Generation, Guidance, Input, Job, JobId, Listener, Opened, Patience,
    Stats,
};

/// Bytes of a piece of the reasoning.
const PIECE: usize = 8;

/// What becomes of one job.
#[derive(Debug)]
pub struct Reply {
    after: Duration,
    what: What,
    distributions: Vec<Vec<f64>>,
}

#[derive(Debug)]
enum What {
    Text(String),
    Error(ErrorKind, String),
    Never,
    Lost,
    Death(String),
}

impl Reply {
    fn of(what: What) -> Self {
        Self { after: Duration::ZERO, what, distributions: Vec::new() }
    }

    /// The judge writes this. Where a reasoning is planned and the text holds its closing tag, what stands before that is
    /// the reasoning.
    pub fn text(text: impl Into<String>) -> Self {
        Self::of(What::Text(text.into()))
    }

    /// The job fails.
    pub fn error(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::of(What::Error(kind, message.into()))
    }

    /// The job works until it is cancelled, times out, or the engine is closed.
    pub fn never() -> Self {
        Self::of(What::Never)
    }

    /// The engine forgets the job: its completion is dropped, not called. An engine must not do that.
    pub fn lost() -> Self {
        Self::of(What::Lost)
    }

    /// The engine dies, with all its jobs, and refuses further ones.
    pub fn death(message: impl Into<String>) -> Self {
        Self::of(What::Death(message.into()))
    }

    /// The job computes so long before that.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.after = delay;
        self
    }

    /// The distribution at each score, in the order the judge sees the responses.
    #[must_use]
    pub fn with_distributions(mut self, distributions: Vec<Vec<f64>>) -> Self {
        self.distributions = distributions;
        self
    }
}

type Script = Box<dyn Fn(&Job, u64) -> Reply + Send + Sync>;

/// The engine. Clones are the same engine.
#[derive(Clone)]
pub struct Scripted {
    capabilities: Capabilities,
    shared: Arc<Shared>,
}

struct Shared {
    script: Script,
    state: Mutex<State>,
    /// Signalled when a job arrives or is cancelled, and when the engine closes; one thread waits.
    changed: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    submitted: u64,
    cancelled: u64,
    most_running: usize,
    waiting: VecDeque<Scheduled>,
    running: Vec<Scheduled>,
    dead: Option<String>,
    closed: bool,
    /// What the judge has asked about its memory: `sleep`, `wake`, `reload <model>`.
    asked: Vec<String>,
}

struct Scheduled {
    id: JobId,
    reply: Reply,
    due: Instant,
    deadline: Instant,
    patience: Option<Patience>,
    plan: Plan,
    prompt_tokens: usize,
    stopwatch: Stopwatch,
    listener: Option<Listener>,
    done: Completion,
}

impl Scripted {
    /// An engine that asks `script` for the reply to each job, numbered from 0. It takes messages, holds verdicts to a
    /// grammar as far as its script does, and decodes 8 jobs at once.
    pub fn new(script: impl Fn(&Job, u64) -> Reply + Send + Sync + 'static) -> Self {
        let capabilities = Capabilities {
            guidance: Guidance::Grammar,
            distributions: true,
            max_sequences: 8,
            ..Capabilities::new(EngineKind::Custom("scripted"))
        };
        let (state, changed, thread) = (Mutex::default(), Condvar::new(), Mutex::default());
        Self { capabilities, shared: Arc::new(Shared { script: Box::new(script), state, changed, thread }) }
    }

    /// The engine with other capabilities, before it is used.
    #[must_use]
    pub fn with_capabilities(mut self, change: impl FnOnce(&mut Capabilities)) -> Self {
        change(&mut self.capabilities);
        self
    }

    /// The engine as a judge takes it.
    pub fn opened(&self) -> Opened {
        Opened { engine: Arc::new(self.clone()), text: None }
    }

    /// Jobs submitted so far.
    pub fn submitted(&self) -> u64 {
        self.shared.state().submitted
    }

    /// Jobs that were cancelled before they ended.
    pub fn cancelled(&self) -> u64 {
        self.shared.state().cancelled
    }

    /// The most jobs that ever ran at once.
    pub fn most_running(&self) -> usize {
        self.shared.state().most_running
    }

    /// What was asked of its memory so far: `sleep`, `wake`, `reload` and the model.
    pub fn asked(&self) -> Vec<String> {
        self.shared.state().asked.clone()
    }

    /// Notes what was asked about its memory. A model called `broken` cannot be loaded.
    fn ask(&self, what: String) -> crate::Result<()> {
        let broken = what.ends_with("broken");
        self.shared.state().asked.push(what);
        if broken { Err(Error::new(ErrorKind::InvalidModel, "the model is broken")) } else { Ok(()) }
    }

    /// Starts the thread with the first job, so that an unused engine has none.
    fn start(&self) {
        let mut thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            let (shared, places) = (self.shared.clone(), self.capabilities.max_sequences);
            let work = move || shared.work(places);
            *thread = crate::thread::spawn("dicast-scripted", work).ok();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, places: usize) {
        let mut state = self.state();
        while !state.closed {
            let now = Instant::now();
            let mut ended = state.take(|job| job.deadline <= now);
            while state.running.len() < places
                && let Some(mut job) = state.waiting.pop_front()
            {
                job.stopwatch.start();
                job.due = now + job.reply.after;
                if let Some(patience) = job.patience.take() {
                    job.deadline = patience.begin();
                }
                state.running.push(job);
            }
            state.most_running = state.most_running.max(state.running.len());
            let due = |job: &Scheduled| job.due <= now && !matches!(job.reply.what, What::Never);
            let mut due: Vec<_> = state.running.extract_if(.., |job| due(job)).collect();
            if let Some(Scheduled { reply: Reply { what: What::Death(reason), .. }, .. }) =
                due.iter().find(|job| matches!(job.reply.what, What::Death(_)))
            {
                state.dead = Some(reason.clone());
                ended.extend(state.take(|_| true));
            }
            if due.is_empty() && ended.is_empty() {
                let wake = state.wake();
                state = match wake.map(|at| at.saturating_duration_since(now)) {
                    Some(wait) => self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0,
                    None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                };
                continue;
            }
            let dead = state.dead.clone();
            drop(state);
            for job in ended {
                let error = dead.as_deref().map_or_else(|| job.timed_out(), Error::engine_dead);
                job.fail(error);
            }
            due.drain(..).for_each(Scheduled::end);
            state = self.state();
        }
        let left = state.take(|_| true);
        drop(state);
        for job in left {
            job.fail(Error::shut_down());
        }
    }
}

impl State {
    /// Takes out the jobs that match, running or waiting.
    fn take(&mut self, mut matches: impl FnMut(&Scheduled) -> bool) -> Vec<Scheduled> {
        let mut taken: Vec<_> = self.running.extract_if(.., |job| matches(job)).collect();
        let (ended, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(matches);
        self.waiting = waiting;
        taken.extend::<VecDeque<_>>(ended);
        taken
    }

    /// When there is next something to do.
    fn wake(&self) -> Option<Instant> {
        let running = self.running.iter().map(|job| match job.reply.what {
            What::Never => job.deadline,
            _ => job.due.min(job.deadline),
        });
        running.chain(self.waiting.iter().map(|job| job.deadline)).min()
    }
}

impl Scheduled {
    fn timed_out(&self) -> Error {
        Error::timed_out(self.deadline.saturating_duration_since(self.due))
    }

    fn fail(self, error: Error) {
        (self.done)(Err(error));
    }

    fn end(self) {
        let Self { reply, plan, prompt_tokens, stopwatch, listener, done, .. } = self;
        match reply.what {
            What::Text(text) => {
                done(Ok(written(&text, reply.distributions, &plan, prompt_tokens, stopwatch, listener)));
            }
            What::Error(kind, message) => done(Err(Error::new(kind, message))),
            What::Death(reason) => done(Err(Error::engine_dead(reason))),
            What::Never | What::Lost => drop(done),
        }
    }
}

/// The transcript of a text; a token is a byte.
fn written(
    text: &str,
    distributions: Vec<Vec<f64>>,
    plan: &Plan,
    prompt_tokens: usize,
    mut stopwatch: Stopwatch,
    listener: Option<Listener>,
) -> Generation {
    let close = plan.reasoning.as_ref().map(|form| form.close.as_str());
    let split = close.and_then(|close| text.split_once(close).map(|(thoughts, answer)| (thoughts, close, answer)));
    let mut transcript = Transcript::new(split.is_some(), prompt_tokens).heard_by(listener);
    stopwatch.prefilled();
    let answer = match split {
        Some((thoughts, close, answer)) => {
            let open = plan.reasoning.as_ref().and_then(|form| form.open.as_deref()).unwrap_or_default();
            let opened = if thoughts.starts_with(open) { open.len() } else { 0 };
            transcript.open(&thoughts.as_bytes()[..opened]);
            // In pieces, as models write it.
            thoughts.as_bytes()[opened..].chunks(PIECE).for_each(|piece| transcript.reason(piece));
            transcript.close(close.as_bytes());
            transcript.usage.reasoning_tokens = text.len() - answer.len();
            answer
        }
        None => text,
    };
    stopwatch.reasoned();
    transcript.answer(answer.as_bytes());
    transcript.usage.verdict_tokens = answer.len();
    transcript.distributions = distributions;
    transcript.finish(stopwatch.stop())
}

impl Engine for Scripted {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn submit(&self, job: Job, done: Completion) -> JobId {
        let mut state = self.shared.state();
        let id = JobId(state.submitted);
        state.submitted += 1;
        let refusal = state.dead.as_deref().map(Error::engine_dead).or_else(|| state.closed.then(Error::closed));
        drop(state);
        if let Some(error) = refusal {
            done(Err(error));
            return id;
        }
        let reply = (self.shared.script)(&job, id.0);
        let prompt_tokens = match &job.input {
            Input::Tokens { ids, .. } => ids.len(),
            Input::Messages(messages) => messages.iter().map(|message| message.content.len()).sum(),
        };
        let Job { plan, submitted, deadline, patience, listener, .. } = job;
        let (due, stopwatch) = (submitted, Stopwatch::new(submitted));
        let scheduled =
            Scheduled { id, reply, due, deadline, patience, plan, prompt_tokens, stopwatch, listener, done };
        self.start();
        let mut state = self.shared.state();
        if state.closed || state.dead.is_some() {
            let error = state.dead.as_deref().map_or_else(Error::closed, Error::engine_dead);
            drop(state);
            scheduled.fail(error);
        } else {
            state.waiting.push_back(scheduled);
            drop(state);
            self.shared.changed.notify_one();
        }
        id
    }

    fn cancel(&self, id: JobId) {
        let mut state = self.shared.state();
        let jobs = state.take(|job| job.id == id);
        state.cancelled += jobs.len() as u64;
        drop(state);
        self.shared.changed.notify_one();
        for job in jobs {
            job.fail(Error::cancelled());
        }
    }

    fn sleep(&self) -> crate::Result<()> {
        self.ask("sleep".to_owned())
    }

    fn wake(&self) -> crate::Result<()> {
        self.ask("wake".to_owned())
    }

    fn reload(&self, model: &str) -> crate::Result<()> {
        self.ask(format!("reload {model}"))
    }

    fn stats(&self) -> Stats {
        let state = self.shared.state();
        Stats { waiting: state.waiting.len(), running: state.running.len(), ..Stats::default() }
    }

    fn close(&self) {
        self.shared.state().closed = true;
        self.shared.changed.notify_one();
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != current().id()
        {
            let _ = thread.join();
        }
    }
}
