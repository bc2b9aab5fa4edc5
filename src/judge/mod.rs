//! The judge: opens a model, takes requests, hands out verdicts.

mod consensus;
mod ensemble;
#[cfg(all(test, not(feature = "shuttle")))]
mod ensemble_tests;
#[cfg(all(test, feature = "shuttle"))]
mod model;
mod orders;
mod prepare;
mod queue;
mod rubric;
mod run;
#[cfg(all(test, not(feature = "shuttle")))]
mod tests;
mod ticket;
mod worker;

use crate::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::config::JudgeConfig;
use crate::engine::{Capabilities, Engine, Generation, Listener, Opened, Patience, Stats, source};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Level, Log};
use crate::prompt::profile::Profile;
use crate::prompt::tokenize::Tokenizer;
use crate::prompt::{Prompt, Prompter};
use crate::request::JudgeRequest;
use crate::verdict::{Flag, Verdict};
use ensemble::Course;
use prepare::Prepared;
use queue::{Entered, Permit, Queue};
use run::{Gather, Reader, Run};
use ticket::Pending;
use worker::Worker;

/// How long a judgment of a batch may wait for its turn.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

pub(crate) use ticket::Waited;
pub use ticket::{Canceller, Ticket};

/// An opened model with its profile. Shared by any number of threads.
///
/// Dropping it ends what is still running: pending tickets complete with [`ErrorKind::Closed`], and all callbacks have
/// returned when the drop has, unless one of them does it.
pub struct Judge {
    config: JudgeConfig,
    prompter: Prompter,
    reader: Arc<Reader>,
    queue: Arc<Queue>,
    /// Bytes of the vocabulary's longest token; `None` where the engine tokenizes itself.
    longest_token: Option<usize>,
    capabilities: Capabilities,
    warnings: Vec<String>,
    /// `None` once the judge is closed.
    engine: RwLock<Option<Arc<dyn Engine>>>,
    log: Log,
    // Dropped after the engine is, whose last completions they still deliver, in this order.
    readers: Worker,
    callbacks: Worker,
}

impl Judge {
    /// Opens a judge: checks the configuration, finds the profile, loads the model.
    ///
    /// # Errors
    /// Of the configuration, the profile or the model; nothing is left open.
    pub fn open(config: JudgeConfig) -> Result<Self> {
        Self::open_logged(config, Log::none())
    }

    /// As [`Judge::open`], for a program that wants to hear what the judge does.
    ///
    /// # Errors
    /// Those of [`Judge::open`].
    pub fn open_logged(config: JudgeConfig, log: Log) -> Result<Self> {
        crate::warm::warm();
        config.check()?;
        let (profile, opened) = source::open(&config)?;
        let notes = profile.notes(&config);
        Self::assemble(config, profile, opened, notes, log)
    }

    /// A judge on an engine of the caller's own.
    ///
    /// # Errors
    /// Of the configuration, the profile or the chat template; nothing is left open.
    pub fn with_engine(config: JudgeConfig, profile: Profile, opened: Opened, log: Log) -> Result<Self> {
        crate::warm::warm();
        config.check()?;
        Self::assemble(config, profile, opened, Vec::new(), log)
    }

    /// Puts a judge together. `notes` are what is odd about it already.
    fn assemble(
        config: JudgeConfig,
        profile: Profile,
        opened: Opened,
        mut notes: Vec<String>,
        log: Log,
    ) -> Result<Self> {
        let Opened { engine, text } = opened;
        let reader = Arc::new(Reader { profile: profile.clone(), policy: config.verdict.clone() });
        let longest_token = text.as_ref().map(|text| longest_token(&text.tokenizer));
        let prompter = Prompter::of(profile, text.as_ref())?;
        let queue = Queue::new(config.limits.max_queue);
        let (readers, callbacks) = (Worker::start("dicast-verdicts")?, Worker::start("dicast-calls")?);
        let capabilities = engine.capabilities().clone();
        log.write(Level::Info, || {
            let Capabilities { engine, context_tokens, max_sequences, .. } = &capabilities;
            let context = context_tokens.map(|tokens| format!(", {tokens} tokens of context")).unwrap_or_default();
            format!("opened {}: {engine} engine{context}, {max_sequences} at once", config.model)
        });
        notes.splice(0..0, engine.warnings().iter().cloned());
        let wanted = config.options.or(&prompter.profile().decoding).reasoning != Some(false);
        if wanted && prompter.closes_reasoning()? {
            notes.push(
                "the chat template closes the reasoning although the judge is to reason: give it the variable that lets the \
                 judge reason (template_variables), or switch reasoning off"
                    .to_owned(),
            );
        }
        for warning in &notes {
            log.write(Level::Warn, || format!("{}: {warning}", config.model));
        }
        let engine = RwLock::new(Some(engine));
        Ok(Self {
            config,
            prompter,
            reader,
            queue,
            longest_token,
            capabilities,
            warnings: notes,
            engine,
            log,
            readers,
            callbacks,
        })
    }

    /// The configuration it was opened with.
    pub fn config(&self) -> &JudgeConfig {
        &self.config
    }

    /// The profile that this judge goes by.
    pub fn profile(&self) -> &Profile {
        self.prompter.profile()
    }

    /// What is odd about its model, in sentences: it works, but maybe not as it was trained. The log has them too.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What there is to know of its engine beside its capabilities, a line for each part, such as each server of the remote
    /// engine; nothing once the judge is closed.
    pub fn about(&self) -> Vec<String> {
        self.engine().map(|engine| engine.about()).unwrap_or_default()
    }

    /// What its engine can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Counters of the engine; all zero once the judge is closed.
    pub fn stats(&self) -> Stats {
        self.engine().map(|engine| engine.stats()).unwrap_or_default()
    }

    /// Judgments that wait or run.
    pub fn pending(&self) -> usize {
        self.config.limits.max_queue.saturating_sub(self.queue.free())
    }

    /// Ends what is pending, and all that is asked later, with [`ErrorKind::Closed`], and unloads the model. Callbacks
    /// may still be under way when this returns.
    pub fn close(&self) {
        self.queue.close();
        let engine = self.engine.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(engine) = engine {
            // Whoever else holds the engine, such as one that cancels: its threads end here, under no lock.
            engine.close();
            // One that is being cancelled may have left the engine without having ended: its callback is queued here, and
            // not on a thread of its canceller's when the judge is gone.
            self.queue.pending().iter().for_each(|pending| pending.complete(Err(Error::closed())));
            self.log.write(Level::Info, || format!("closed {}", self.config.model));
        }
    }

    /// The engine, unless the judge is closed.
    fn engine(&self) -> Result<Arc<dyn Engine>> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner).clone();
        engine.ok_or_else(Error::closed)
    }

    /// What the judge would read of a request in its first run, without judging it: its tokens, and who hides behind which
    /// alias.
    ///
    /// # Errors
    /// Those of the request, before any generation.
    pub fn prompt(&self, request: &JudgeRequest) -> Result<Prompt> {
        let settings = self.prepare(request)?;
        // A judgment of several runs begins with this one.
        let parts = self.parts(request, &settings)?;
        self.prompter.prompt(&parts[0], &settings)
    }

    /// Judges one request and waits for the verdict. Where the queue is full it first waits for room. The deadline of
    /// the request (`timeout_ms`) covers both.
    ///
    /// # Errors
    /// See [`ErrorKind`]; an incomplete verdict carries what could be read.
    pub fn judge(&self, request: &JudgeRequest) -> Result<Verdict> {
        let submitted = Instant::now();
        let timeout = self.settings(&request.options)?.timeout();
        let ticket = match self.queue.enter_within(timeout) {
            Entered::In(permit) => self.enter(request, submitted, permit, Counted::FromSubmission),
            Entered::Full => self.failed(Error::new(
                ErrorKind::Timeout,
                format!("there was no room in the queue for {} ms (timeout_ms)", timeout.as_millis()),
            )),
            Entered::Closed => self.failed(Error::closed()),
        };
        ticket.wait()
    }

    /// Queues a request. Whatever is wrong with it is found in the ticket, [`ErrorKind::Overloaded`] among it where
    /// `limits.max_queue` judgments are pending already.
    pub fn submit(&self, request: &JudgeRequest) -> Ticket {
        let submitted = Instant::now();
        match self.queue.try_enter() {
            Some(permit) => self.enter(request, submitted, permit, Counted::FromSubmission),
            None => self.failed(self.overloaded()),
        }
    }

    /// As [`Judge::submit`], for somebody who wants to hear the judge's reasoning while it is written, that of the first run of an
    /// ensemble. See [`Listener`].
    pub fn submit_heard(&self, request: &JudgeRequest, listener: Listener) -> Ticket {
        let submitted = Instant::now();
        match self.queue.try_enter() {
            Some(permit) => self.enter_heard(request, submitted, permit, Counted::FromSubmission, Some(listener)),
            None => self.failed(self.overloaded()),
        }
    }

    /// Judges many requests at once; results come in the order of the requests. Where there are more than fit the queue,
    /// the rest waits for room. Deadlines count as for [`Judge::submit_when_free`].
    pub fn judge_batch(&self, requests: &[JudgeRequest]) -> Vec<Result<Verdict>> {
        let tickets: Vec<_> = requests.iter().map(|request| self.submit_when_free(request)).collect();
        tickets.into_iter().map(Ticket::wait).collect()
    }

    /// As [`Judge::submit`], but waits for room in the queue, which is bounded by the deadlines of what is pending. The
    /// request's own deadline (`timeout_ms`) counts from when the engine begins with it: in a batch what comes last would
    /// have no time left otherwise. Servers and TensorRT-LLM do not say when they begin; there it counts from when the request
    /// is in the queue.
    pub fn submit_when_free(&self, request: &JudgeRequest) -> Ticket {
        match self.queue.enter() {
            Some(permit) => self.enter(request, Instant::now(), permit, Counted::FromBegin),
            None => self.failed(Error::closed()),
        }
    }

    /// Waits until a request could be queued, at most `timeout`; false where there is no room by then. Another thread
    /// may take the room first.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] where the judge was closed: there will be no room.
    pub fn wait_for_room(&self, timeout: Duration) -> Result<bool> {
        let free = self.queue.wait(timeout);
        if self.queue.is_closed() { Err(Error::closed()) } else { Ok(free) }
    }

    /// Submits a request that has its place in the queue.
    fn enter(&self, request: &JudgeRequest, submitted: Instant, permit: Permit, counted: Counted) -> Ticket {
        self.enter_heard(request, submitted, permit, counted, None)
    }

    fn enter_heard(
        &self,
        request: &JudgeRequest,
        submitted: Instant,
        permit: Permit,
        counted: Counted,
        listener: Option<Listener>,
    ) -> Ticket {
        let engine = match self.engine() {
            Ok(engine) => engine,
            Err(error) => return self.failed(error),
        };
        let pending = Pending::new(&self.queue, permit, Arc::downgrade(&engine), self.callbacks.handle());
        let ticket = Ticket::of(&pending);
        match self.runs(request, submitted) {
            Ok(Prepared { mut runs, course, timeout }) => {
                // Of several runs the first one is heard: nobody could tell their words apart.
                if let Some(run) = runs.first_mut() {
                    run.job.listener = listener;
                }
                let mut deadline = submitted + timeout;
                if counted == Counted::FromBegin {
                    deadline = submitted + LONGEST_WAIT;
                    let waiting = Arc::downgrade(&pending);
                    let patience = Patience::new(timeout, move |deadline| {
                        if let Some(pending) = waiting.upgrade() {
                            pending.set_deadline(deadline, timeout);
                        }
                    });
                    for Run { job, .. } in &mut runs {
                        job.deadline = deadline;
                        job.patience = Some(patience.clone());
                    }
                }
                // Before the engine has the job, and so may have begun.
                pending.set_deadline(deadline, timeout);
                self.start(engine.as_ref(), runs, course, &pending);
            }
            Err(error) => {
                self.log.failure(&error);
                pending.complete(Err(error));
            }
        }
        ticket
    }

    fn failed(&self, error: Error) -> Ticket {
        self.log.failure(&error);
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

    /// Hands the runs of a judgment to the engine.
    fn start(&self, engine: &dyn Engine, runs: Vec<Run>, course: Course, pending: &Arc<Pending>) {
        // Completes the judgment also where it is dropped: where a thread has died.
        let gather = Gather::new(runs.len(), course, pending.completer());
        for (index, Run { aliases, job, guidance, texts, closed }) in runs.into_iter().enumerate() {
            let (gather, reader, readers, log) =
                (gather.clone(), self.reader.clone(), self.readers.handle(), self.log.clone());
            let greedy = job.sampling.temperature <= 0.0;
            let done = move |generation: Result<Generation>| {
                let read = move || {
                    // Without sampling the judge would write the same again.
                    let lasting = |error: Error| if greedy { error.with_retryable(false) } else { error };
                    let mut result = generation
                        .and_then(|written| reader.read(written, &aliases, &texts, guidance).map_err(lasting));
                    if let (true, Ok(verdict)) = (closed, &mut result) {
                        verdict.flags.push(Flag::ReasoningClosed);
                    }
                    if let Some(outcome) = gather.take(index, result) {
                        log.outcome(&outcome);
                        gather.complete(outcome);
                    }
                };
                // Where the thread is gone the task is dropped, which completes the judgment as closed.
                drop(readers.run(Box::new(read)));
            };
            let id = engine.submit(job, Box::new(done));
            pending.started(id);
        }
    }
}

/// From when on a deadline counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    FromSubmission,
    /// From when the engine begins with the judgment.
    FromBegin,
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
