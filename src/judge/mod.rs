//! The judge: opens a model, takes requests, hands out verdicts.

mod room;
mod ticket;
mod worker;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::config::{JudgeConfig, Options, Settings, VerdictPolicy};
use crate::decode::plan::Plan;
use crate::decode::score::expected_score;
use crate::engine::{self, Capabilities, Engine, Generation, Job, Opened, Sampling, Stats};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Level, Log};
use crate::prompt::mask::AliasMap;
use crate::prompt::profile::Profile;
use crate::prompt::template::ChatTemplate;
use crate::prompt::{Prompt, Prompter};
use crate::request::JudgeRequest;
use crate::verdict::{self, Flag, Verdict};
use room::{Entry, Room};
use ticket::Pending;
use worker::Worker;

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
    room: Arc<Room>,
    /// Bytes of the vocabulary's longest token.
    longest_token: usize,
    capabilities: Capabilities,
    /// `None` once the judge is closed.
    engine: RwLock<Option<Arc<dyn Engine>>>,
    log: Log,
    // Dropped after the engine is, whose last completions they still deliver, in this order.
    readers: Worker,
    callbacks: Worker,
}

/// Reads verdicts. Apart from the judge, so that what waits in the engine does not keep the engine alive.
struct Reader {
    profile: Profile,
    policy: VerdictPolicy,
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
        config.check()?;
        let opened = engine::open(&config)?;
        Self::with_engine(config, opened, log)
    }

    /// A judge on an engine of the caller's own.
    ///
    /// # Errors
    /// Of the configuration, the profile or the chat template; nothing is left open.
    pub fn with_engine(config: JudgeConfig, opened: Opened, log: Log) -> Result<Self> {
        config.check()?;
        let template = ChatTemplate::new(&opened.chat_template, opened.bos.as_deref(), opened.eos.as_deref())?;
        let reader = Arc::new(Reader { profile: opened.profile.clone(), policy: config.verdict.clone() });
        let tokens = 0..u32::try_from(opened.tokenizer.vocab_size()).unwrap_or(u32::MAX);
        let longest_token = tokens.filter_map(|id| opened.tokenizer.token_bytes(id)).map(<[u8]>::len).max();
        let prompter = Prompter::new(opened.profile, template, opened.tokenizer)?;
        let room = Arc::new(Room::new(config.limits.max_queue));
        let (readers, callbacks) = (Worker::start("dicast-verdicts")?, Worker::start("dicast-calls")?);
        let longest_token = longest_token.unwrap_or(1).max(1);
        let capabilities = opened.engine.capabilities().clone();
        log.write(Level::Info, || {
            let Capabilities { name, context_tokens, max_sequences, .. } = &capabilities;
            let model = &config.model;
            format!("opened {model}: {name} engine, {context_tokens} tokens of context, {max_sequences} at once")
        });
        let engine = RwLock::new(Some(opened.engine));
        Ok(Self { config, prompter, reader, room, longest_token, capabilities, engine, log, readers, callbacks })
    }

    /// The configuration it was opened with.
    pub fn config(&self) -> &JudgeConfig {
        &self.config
    }

    /// The profile that this judge goes by.
    pub fn profile(&self) -> &Profile {
        self.prompter.profile()
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
        self.config.limits.max_queue.saturating_sub(self.room.free())
    }

    /// Ends what is pending, and all that is asked later, with [`ErrorKind::Closed`], and unloads the model. Callbacks
    /// may still be under way when this returns.
    pub fn close(&self) {
        self.room.close();
        let engine = self.engine.write().unwrap_or_else(PoisonError::into_inner).take();
        if engine.is_some() {
            self.log.write(Level::Info, || format!("closed {}", self.config.model));
        }
    }

    /// The engine, unless the judge is closed.
    fn engine(&self) -> Result<Arc<dyn Engine>> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner).clone();
        engine.ok_or_else(Error::closed)
    }

    /// What the judge would read of a request, without judging it: its tokens, and who hides behind which alias.
    ///
    /// # Errors
    /// Those of the request, before any generation.
    pub fn prompt(&self, request: &JudgeRequest) -> Result<Prompt> {
        self.prepare(request).map(|(_, prompt)| prompt)
    }

    /// Judges one request and waits for the verdict. Where the queue is full it first waits for room. The deadline of
    /// the request (`timeout_ms`) covers both.
    ///
    /// # Errors
    /// See [`ErrorKind`]; an incomplete verdict carries what could be read.
    pub fn judge(&self, request: &JudgeRequest) -> Result<Verdict> {
        let submitted = Instant::now();
        let timeout = self.settings(&request.options)?.timeout();
        let ticket = match self.room.enter_within(timeout) {
            Entry::Entered => self.enter(request, submitted),
            Entry::Full => self.failed(Error::new(
                ErrorKind::Timeout,
                format!("there was no room in the queue for {} ms (timeout_ms)", timeout.as_millis()),
            )),
            Entry::Closed => self.failed(Error::closed()),
        };
        ticket.wait()
    }

    /// Queues a request. Whatever is wrong with it is found in the ticket, [`ErrorKind::Overloaded`] among it where
    /// `limits.max_queue` judgments are pending already.
    pub fn submit(&self, request: &JudgeRequest) -> Ticket {
        let submitted = Instant::now();
        if self.room.try_enter() { self.enter(request, submitted) } else { self.failed(self.overloaded()) }
    }

    /// Judges many requests at once; results come in the order of the requests. Where there are more than fit the queue,
    /// the rest waits for room, and its deadlines count from when there is some.
    pub fn judge_batch(&self, requests: &[JudgeRequest]) -> Vec<Result<Verdict>> {
        let tickets: Vec<_> = requests.iter().map(|request| self.submit_when_free(request)).collect();
        tickets.into_iter().map(Ticket::wait).collect()
    }

    /// As [`Judge::submit`], but waits for room in the queue, which is bounded by the deadlines of what is pending.
    pub fn submit_when_free(&self, request: &JudgeRequest) -> Ticket {
        if self.room.enter() { self.enter(request, Instant::now()) } else { self.failed(Error::closed()) }
    }

    /// Waits until a request could be queued, at most `timeout`; false where there is no room by then. Another thread
    /// may take the room first.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] where the judge was closed: there will be no room.
    pub fn wait_for_room(&self, timeout: Duration) -> Result<bool> {
        let free = self.room.wait(timeout);
        if self.room.is_closed() { Err(Error::closed()) } else { Ok(free) }
    }

    /// Submits a request that has its place in the queue.
    fn enter(&self, request: &JudgeRequest, submitted: Instant) -> Ticket {
        let engine = match self.engine() {
            Ok(engine) => engine,
            Err(error) => {
                self.room.leave();
                return self.failed(error);
            }
        };
        let pending = Pending::new(self.room.clone(), Arc::downgrade(&engine), self.callbacks.handle());
        let ticket = Ticket::of(&pending);
        if let Err(error) = self.start(engine.as_ref(), request, submitted, &pending) {
            self.log.failure(&error);
            pending.complete(Err(error));
        }
        ticket
    }

    fn failed(&self, error: Error) -> Ticket {
        self.log.failure(&error);
        Ticket::failed(error, self.callbacks.handle())
    }

    fn overloaded(&self) -> Error {
        if self.room.is_closed() {
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

    /// Refuses, before the work of tokenizing it, text that cannot fit however well it is tokenized.
    fn check_size(&self, request: &JudgeRequest) -> Result<()> {
        let texts = request.text_bytes();
        let (least, context) = (texts / self.longest_token, self.capabilities().context_tokens);
        if least <= context {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ContextOverflow,
            format!("the request has {texts} bytes of text, {least} tokens or more, but the context holds {context}"),
        ))
    }

    /// Settings of one request: its own options, then the configuration's, then the profile's.
    fn settings(&self, options: &Options) -> Result<Settings> {
        options.or(&self.config.options).or(&self.prompter.profile().decoding).resolve_request()
    }

    /// Checks a request, decides its settings and makes its prompt.
    fn prepare(&self, request: &JudgeRequest) -> Result<(Settings, Prompt)> {
        request.check(&self.config.limits)?;
        let settings = self.settings(&request.options)?;
        self.check_size(request)?;
        let prompt = self.prompter.prompt(request, &settings)?;
        Ok((settings, prompt))
    }

    /// Takes a request up to the engine.
    fn start(
        &self,
        engine: &dyn Engine,
        request: &JudgeRequest,
        submitted: Instant,
        pending: &Arc<Pending>,
    ) -> Result<()> {
        let (settings, prompt) = self.prepare(request)?;
        let capabilities = &self.capabilities;
        if settings.guided.unwrap_or(true) && !capabilities.guided {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the {} engine cannot hold a verdict to a grammar: set guided to false", capabilities.name),
            ));
        }
        let plan = Plan::new(self.prompter.profile(), &settings, &prompt.aliases, prompt.reasoning);
        let job = Job {
            prompt: prompt.tokens,
            plan,
            sampling: Sampling {
                temperature: settings.temperature,
                top_p: settings.top_p,
                top_k: settings.top_k,
                seed: settings.seed,
            },
            submitted,
            deadline: submitted + settings.timeout(),
        };
        let (reader, readers, aliases) = (self.reader.clone(), self.readers.handle(), prompt.aliases);
        let log = self.log.clone();
        let guided = settings.guided.unwrap_or(true);
        let greedy = settings.temperature <= 0.0;
        // Completes the judgment also where it is dropped unused: where a thread has died.
        let outcome = pending.completer();
        let done = move |generation: Result<Generation>| {
            let read = move || {
                // Without sampling the judge would write the same again.
                let lasting = |error: Error| if greedy { error.with_retryable(false) } else { error };
                let result = generation.and_then(|written| reader.read(written, &aliases, guided).map_err(lasting));
                log.outcome(&result);
                outcome.complete(result);
            };
            // Where the thread is gone the task is dropped, which completes the judgment as closed.
            drop(readers.run(Box::new(read)));
        };
        let id = engine.submit(job, Box::new(done));
        pending.started(id);
        Ok(())
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.close();
    }
}

impl Reader {
    /// Reads what was generated.
    fn read(&self, generation: Generation, aliases: &AliasMap, guided: bool) -> Result<Verdict> {
        let Generation { raw, reasoning, answer, distributions, reasoning_truncated, verdict_truncated, usage, timing } =
            generation;
        let Self { profile, policy } = self;
        let mut verdict = match reasoning {
            Some(range) => {
                let (thoughts, answer) = (raw[range].to_owned(), raw[answer..].to_owned());
                verdict::parse_parts(raw, &thoughts, &answer, aliases, profile, policy)
            }
            // What the grammar wrote is the verdict from its first byte on, whatever a name may look like.
            None if guided => verdict::parse_parts(raw.clone(), "", &raw, aliases, profile, policy),
            None => verdict::parse(&raw, aliases, profile, policy),
        }
        .map_err(|error| {
            if verdict_truncated { error.context("the verdict reached max_verdict_tokens") } else { error }
        })?;
        for (place, distribution) in distributions.into_iter().enumerate().take(aliases.len()) {
            let scored = &mut verdict.scores[aliases.request_index(place)];
            scored.expected = Some(expected_score(profile.scale, &distribution));
            scored.distribution = Some(distribution);
        }
        verdict.refine_derived_ranking();
        if reasoning_truncated {
            verdict.flags.push(Flag::ReasoningTruncated);
        }
        verdict.usage = usage;
        verdict.timing = timing;
        Ok(verdict)
    }
}
