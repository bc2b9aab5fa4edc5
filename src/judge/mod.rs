//! The judge: opens a model, takes requests, hands out verdicts.

mod blocks;
#[cfg(all(test, not(feature = "shuttle")))]
mod blocks_tests;
mod calibrated;
#[cfg(all(test, not(feature = "shuttle")))]
mod calibrated_tests;
#[cfg(all(test, not(feature = "shuttle")))]
mod compare_tests;
mod consensus;
mod count;
mod ensemble;
#[cfg(all(test, not(feature = "shuttle")))]
mod ensemble_tests;
mod grammars;
mod launch;
mod line;
mod meter;
#[cfg(all(test, feature = "shuttle"))]
mod model;
mod orders;
mod power;
mod prepare;
mod queue;
mod rubric;
mod run;
mod sleep;
#[cfg(all(test, not(feature = "shuttle")))]
mod sleep_tests;
mod submission;
#[cfg(all(test, not(feature = "shuttle")))]
mod tests;
mod ticket;
mod warm;
mod worker;

use std::fmt;
use std::time::{Duration, Instant};

use crate::config::{JudgeConfig, Options};
use crate::engine::{Capabilities, Listener, Opened, Patience, Progress, Stats};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Level, Log};
use crate::prompt::Prompt;
use crate::prompt::profile::{Profile, VerdictKind};
use crate::prompt::tokenize::Tokenizer;
use crate::request::JudgeRequest;
use crate::sync::Arc;
use crate::verdict::Verdict;
use calibrated::Calibrated;
use grammars::Grammars;
use launch::Launch;
use power::{Loaded, Power};
use prepare::Prepared;
use queue::{Entered, Permit, Queue};
use run::{Reader, Run};
use sleep::Origin;
use ticket::Pending;
use worker::Worker;

/// How long a judgment of a batch may wait for its turn.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

pub use count::TokenCount;
pub(crate) use meter::are_labels;
pub use meter::{BOUNDS, Histogram, Metrics, Phase, Recent};
pub use power::{Arriving, Sleep};
pub(crate) use queue::Waiter;
pub use submission::Submission;
pub(crate) use ticket::Waited;
pub use ticket::{Canceller, Ticket};
pub use warm::Pinned;

/// An opened model with its profile. Shared by any number of threads.
///
/// Dropping it ends what is still running: pending tickets complete with [`ErrorKind::Closed`], and all callbacks have
/// returned when the drop returns, unless one of the callbacks drops it.
pub struct Judge {
    config: JudgeConfig,
    /// The options of a request that sets none: those of the configuration, then those of the profile.
    defaults: Options,
    /// What verdicts are about, by the profile.
    kind: VerdictKind,
    grammars: Grammars,
    reader: Arc<Reader>,
    queue: Arc<Queue>,
    capabilities: Capabilities,
    warnings: Vec<String>,
    calibrated: Option<Arc<Calibrated>>,
    /// The engine, and whether it is open.
    power: Arc<Power>,
    origin: Origin,
    log: Log,
    // Dropped after the engine is, whose last completions they still deliver, in this order.
    readers: Worker,
    callbacks: Worker,
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Capabilities { engine, .. } = &self.capabilities;
        f.debug_struct("Judge").field("model", &self.config.model).field("engine", engine).finish_non_exhaustive()
    }
}

impl Judge {
    /// Opens a judge: checks the configuration, finds the profile, loads the model.
    ///
    /// # Errors
    /// Errors of the configuration, the profile or the model; nothing is left open.
    pub fn open(config: JudgeConfig) -> Result<Self> {
        Self::open_logged(config, Log::none())
    }

    /// Like [`Judge::open`], with a log of what the judge does.
    ///
    /// # Errors
    /// Those of [`Judge::open`].
    pub fn open_logged(config: JudgeConfig, log: Log) -> Result<Self> {
        Self::open_watched(config, log, Progress::default())
    }

    /// Like [`Judge::open_logged`], for a program that watches loading, and may end it; also when the judge wakes or takes
    /// other weights.
    ///
    /// # Errors
    /// Those of [`Judge::open`]; [`ErrorKind::Cancelled`] if `progress` ends it.
    pub fn open_watched(config: JudgeConfig, log: Log, progress: Progress) -> Result<Self> {
        crate::warm::warm();
        config.check()?;
        let (profile, opened, origin) = Origin::open(&config, progress)?;
        let notes = profile.notes(&config);
        Self::assemble(config, profile, opened, origin, notes, log)
    }

    /// A judge on an engine of the caller's own.
    ///
    /// # Errors
    /// Errors of the configuration, the profile or the chat template; nothing is left open.
    pub fn with_engine(config: JudgeConfig, profile: Profile, opened: Opened, log: Log) -> Result<Self> {
        crate::warm::warm();
        config.check()?;
        Self::assemble(config, profile, opened, Origin::given(), Vec::new(), log)
    }

    /// Puts a judge together. `notes` are the warnings about it so far.
    fn assemble(
        config: JudgeConfig,
        profile: Profile,
        opened: Opened,
        origin: Origin,
        mut notes: Vec<String>,
        log: Log,
    ) -> Result<Self> {
        let kind = profile.verdict.kind();
        let reader = Arc::new(Reader { profile: profile.clone(), kind, policy: config.verdict.clone() });
        let loaded = Loaded::new(opened, profile, 0)?;
        let (engine, prompter) = (&loaded.engine, &loaded.prompter);
        engine.log_to(&log);
        let queue = Queue::new(config.limits.max_queue);
        let (readers, callbacks) = (Worker::start("dicast-verdicts")?, Worker::start("dicast-calls")?);
        let capabilities = engine.capabilities().clone();
        log.write(Level::Info, || {
            let Capabilities { engine, context_tokens, max_sequences, .. } = &capabilities;
            let context = context_tokens.map(|tokens| format!(", {tokens} tokens of context")).unwrap_or_default();
            format!("opened {}: {engine} engine{context}, {max_sequences} at once", config.model)
        });
        notes.splice(0..0, engine.warnings().iter().cloned());
        let defaults = config.options.or(&prompter.profile().decoding);
        if defaults.reasoning != Some(false) && prompter.closes_reasoning()? {
            notes.push(
                "the chat template closes the reasoning although the judge should reason: set the variable that \
                 lets the judge reason (template_variables), or turn reasoning off"
                    .to_owned(),
            );
        }
        let calibrated = Calibrated::of(prompter.profile(), origin.fingerprint());
        if let Some(calibration) = &prompter.profile().calibration {
            let settings = defaults.resolve()?;
            let (model, distributions) = (origin.fingerprint(), capabilities.distributions);
            notes.extend(calibration.notes(model, prompter.profile(), &settings, distributions));
        }
        for warning in &notes {
            log.write(Level::Warn, || format!("{}: {warning}", config.model));
        }
        let power = Power::new(loaded, config.limits.max_queue);
        let warnings = notes;
        Ok(Self {
            config,
            defaults,
            kind,
            grammars: Grammars::default(),
            reader,
            queue,
            capabilities,
            warnings,
            calibrated,
            power,
            origin,
            log,
            readers,
            callbacks,
        })
    }

    /// What runs a task on the thread that calls callbacks, in their order. A task for a thread that is gone is dropped.
    pub(crate) fn caller(&self) -> impl Fn(Box<dyn FnOnce() + Send>) + Send + Sync + 'static {
        // A sender of the standard library's may be used by several threads; that of a model checker may not.
        let calls = crate::sync::Mutex::new(self.callbacks.handle());
        move |task| drop(calls.lock().unwrap_or_else(crate::sync::PoisonError::into_inner).run(task))
    }

    /// The configuration it was opened with.
    pub fn config(&self) -> &JudgeConfig {
        &self.config
    }

    /// The profile of this judge.
    pub fn profile(&self) -> &Profile {
        &self.reader.profile
    }

    /// Writes lines of the log up to this level from now on.
    pub fn set_log_level(&self, level: Level) {
        self.log.set_level(level);
    }

    /// Warnings about its model, in sentences: it works, but maybe not as it was trained. The log has them too.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// More about its engine than its capabilities: one line for each part, such as each server of the remote
    /// engine; nothing once the judge is closed.
    pub fn about(&self) -> Vec<String> {
        self.power.loaded().map(|loaded| loaded.engine.about()).unwrap_or_default()
    }

    /// What its engine can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Counters of the engine since the judge was opened; all zero once it is closed.
    pub fn stats(&self) -> Stats {
        if self.queue.is_closed() {
            return Stats::default();
        }
        let engine = self.power.loaded().map(|loaded| loaded.engine.stats()).unwrap_or_default();
        engine.after(&self.power.earlier())
    }

    /// Counts of its work since it was opened, for a dashboard.
    pub fn metrics(&self) -> Metrics {
        Metrics {
            pending: self.pending(),
            engine: self.stats(),
            weights: self.weights(),
            asleep: self.is_asleep(),
            ..self.queue.meter.read()
        }
    }

    /// Judgments that wait or run.
    pub fn pending(&self) -> usize {
        self.config.limits.max_queue.saturating_sub(self.queue.free())
    }

    /// Whether it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Ends all pending and later judgments with [`ErrorKind::Closed`], and unloads the model. Callbacks
    /// may still be running when this returns.
    pub fn close(&self) {
        self.queue.close();
        let was_open = !self.power.is_closed();
        if let Some(loaded) = self.power.close() {
            // Whoever else holds the engine, such as one that cancels: its threads end here, under no lock.
            loaded.engine.close();
        }
        if was_open {
            // One that is being cancelled may have left the engine without having ended: its callback is queued here, and
            // not on a thread of its canceller's when the judge is gone.
            self.queue.pending().iter().for_each(|pending| pending.complete(Err(Error::closed())));
            self.log.write(Level::Info, || format!("closed {}", self.config.model));
        }
    }

    /// The prompt that the judge would read in the first run of a request (in its first block, if the responses are judged in
    /// several), without judging it: its tokens, and which response has which alias.
    ///
    /// # Errors
    /// Those of the request, before any generation.
    pub fn prompt(&self, request: &JudgeRequest) -> Result<Prompt> {
        let loaded = self.power.awake()?;
        let settings = self.prepare(request)?;
        // A judgment of several runs begins with this one.
        self.first_prompt(&loaded, request, settings)
    }

    /// Judges one request and waits for the verdict. If the queue is full it first waits for room. The deadline of
    /// the request (`timeout_ms`) covers both.
    ///
    /// # Errors
    /// See [`ErrorKind`]; an incomplete verdict carries what could be read.
    pub fn judge(&self, request: &JudgeRequest) -> Result<Verdict> {
        self.judge_with(request, Submission::default())
    }

    /// Like [`Judge::judge`], with a priority, a deadline, or a listener for the reasoning.
    ///
    /// # Errors
    /// Those of [`Judge::judge`].
    pub fn judge_with(&self, request: &JudgeRequest, submission: Submission) -> Result<Verdict> {
        let submitted = Instant::now();
        let timeout = submission.within(submitted, self.settings(&request.options)?.timeout());
        let ticket = match self.queue.enter_within(timeout) {
            Entered::In(permit) => self.enter(request, submission, submitted, permit),
            Entered::Full => self.failed(Error::new(
                ErrorKind::Timeout,
                format!("there was no room in the queue for {} ms (timeout_ms)", timeout.as_millis()),
            )),
            Entered::Closed => self.failed(Error::closed()),
        };
        ticket.wait()
    }

    /// Queues a request. All errors come from the ticket, also [`ErrorKind::Overloaded`] if
    /// `limits.max_queue` judgments are pending already.
    pub fn submit(&self, request: &JudgeRequest) -> Ticket {
        self.submit_with(request, Submission::default())
    }

    /// Like [`Judge::submit`], with a priority, a deadline, or a listener for the reasoning.
    pub fn submit_with(&self, request: &JudgeRequest, submission: Submission) -> Ticket {
        let submitted = Instant::now();
        match self.queue.try_enter() {
            Some(permit) => self.enter(request, submission, submitted, permit),
            None => self.failed(self.overloaded()),
        }
    }

    /// Like [`Judge::submit`], with a listener that receives the judge's reasoning while it is written, that of the first
    /// run of an ensemble. See [`Listener`].
    pub fn submit_heard(&self, request: &JudgeRequest, listener: Listener) -> Ticket {
        self.submit_with(request, Submission::default().listener(listener))
    }

    /// Judges many requests at once; results are in the order of the requests. If there are more than fit in the queue,
    /// the rest waits for room. Deadlines count as for [`Judge::submit_when_free`].
    pub fn judge_batch(&self, requests: &[JudgeRequest]) -> Vec<Result<Verdict>> {
        let tickets: Vec<_> = requests.iter().map(|request| self.submit_when_free(request)).collect();
        tickets.into_iter().map(Ticket::wait).collect()
    }

    /// Like [`Judge::submit`], but waits for room in the queue, at most until the deadlines of the pending judgments. The
    /// request's own deadline (`timeout_ms`) counts from when the engine begins with it: in a batch the last requests would
    /// have no time left otherwise. Over servers it counts from its first place at one; over TensorRT-LLM, which does not say
    /// when it begins, from when fewer judgments are before it than the library computes at once.
    pub fn submit_when_free(&self, request: &JudgeRequest) -> Ticket {
        self.submit_when_free_with(request, Submission::default())
    }

    /// Like [`Judge::submit_when_free`], with a priority, a deadline, or a listener for the reasoning.
    pub fn submit_when_free_with(&self, request: &JudgeRequest, submission: Submission) -> Ticket {
        match self.queue.enter() {
            Some(permit) => self.enter(request, submission.patient(), Instant::now(), permit),
            None => self.failed(Error::closed()),
        }
    }

    /// Waits until a request could be queued, at most `timeout`; false if there is no room by then. Another thread
    /// may take the room first.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] if the judge was closed: there will be no room.
    pub fn wait_for_room(&self, timeout: Duration) -> Result<bool> {
        let free = self.queue.wait(timeout);
        if self.queue.is_closed() { Err(Error::closed()) } else { Ok(free) }
    }

    /// Submits a request that has its place in the queue.
    fn enter(&self, request: &JudgeRequest, submission: Submission, submitted: Instant, permit: Permit) -> Ticket {
        let pending = Pending::new(&self.queue, permit, self.callbacks.handle());
        let ticket = Ticket::of(&pending);
        self.enter_again(request, submission, submitted, &pending);
        ticket
    }

    /// Hands a judgment to the engine.
    fn begin(
        &self,
        loaded: &Loaded,
        request: &JudgeRequest,
        submission: Submission,
        submitted: Instant,
        pending: &Arc<Pending>,
    ) -> Result<()> {
        let id = submission.id.clone();
        let (patient, until) = (submission.is_patient(), submission.deadline);
        let Prepared { mut first, mut second, timeout } = self.runs(loaded, request, submission, submitted)?;
        let mut deadline = submitted + timeout;
        if patient {
            deadline = first.runs.first().map_or(deadline, |run| run.job.deadline);
            // A second stage waits for its turn again, so its time begins again too.
            let stages = std::iter::once(&mut first).chain(second.iter_mut().map(|second| &mut second.stage));
            for (number, stage) in stages.enumerate() {
                let waiting = Arc::downgrade(pending);
                let patience = Patience::new(timeout, move |deadline| {
                    if let Some(pending) = waiting.upgrade() {
                        pending.set_deadline(number, deadline, timeout);
                    }
                });
                let patience = patience.until(until);
                for Run { job, .. } in &mut stage.runs {
                    job.patience = Some(patience.clone());
                }
            }
        }
        // Before the engine has the job, and so may have begun.
        pending.set_deadline(0, deadline, timeout);
        let launch = Arc::new(Launch {
            engine: Arc::downgrade(&loaded.engine),
            reader: self.reader.clone(),
            readers: self.readers.handle(),
            log: self.log.clone(),
            weights: loaded.weights,
            id,
        });
        launch.start(first, second, pending.completer());
        Ok(())
    }

    fn failed(&self, error: Error) -> Ticket {
        self.queue.meter.failed(&error);
        self.log.failure(None, &error);
        Ticket::failed(error, self.callbacks.handle())
    }

    fn overloaded(&self) -> Error {
        if self.queue.is_closed() {
            return Error::closed();
        }
        Error::new(
            ErrorKind::Overloaded,
            format!(
                "{} judgments are pending already (limits.max_queue): try again later",
                self.config.limits.max_queue
            ),
        )
    }
}

/// Bytes of the longest token, at least 1.
fn longest_token(tokenizer: &Tokenizer) -> usize {
    let tokens = 0..u32::try_from(tokenizer.vocab_size()).unwrap_or(u32::MAX);
    tokens.filter_map(|id| tokenizer.token_bytes(id)).map(<[u8]>::len).max().unwrap_or(1).max(1)
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.close();
    }
}
