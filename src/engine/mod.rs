//! Engines: what generates. For engine authors; a program that only judges needs [`Judge`](crate::Judge) alone.
//!
//! An [`Engine`] takes a [`Job`] and completes it by callback; `judge/` plans by what its [`Capabilities`] say. An engine
//! of your own is used in four steps: implement [`Engine`], write the output of a job into a
//! [`Transcript`](crate::decode::transcript::Transcript), put the engine into an [`Opened`], and give that to
//! [`Judge::with_engine`](crate::Judge::with_engine). [`source`] says what a model is and opens the engine for it.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::decode::plan::Plan;
use crate::error::{Error, ErrorKind, Result};
use crate::log::Log;
use crate::prompt::messages::Message;
use crate::prompt::tokenize::Tokenizer;
use crate::verdict::{Timing, Usage};

mod exit;
#[cfg(any(feature = "local", feature = "trtllm", test))]
#[cfg_attr(not(unix), path = "unisolated.rs")]
pub mod isolated;
#[cfg(any(feature = "local", feature = "trtllm", test))]
mod isolation;
#[cfg(any(feature = "local", feature = "remote", all(unix, any(feature = "trtllm", test))))]
mod lines;
#[cfg(feature = "local")]
pub mod local;
#[cfg(feature = "remote")]
mod remote;
#[cfg(any(test, feature = "testing"))]
pub mod scripted;
pub mod source;
pub(crate) mod text_folder;
#[cfg(feature = "trtllm")]
pub mod trtllm;
#[cfg(all(test, unix))]
#[expect(unreachable_pub, dead_code, reason = "stands for `isolated` on other systems, and is tested on this one")]
mod unisolated;

/// Which engine a judge runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EngineKind {
    /// llama.cpp in this process.
    Local,
    /// TensorRT-LLM in this process.
    Trtllm,
    /// Servers that speak the `OpenAI` protocol.
    Remote,
    /// An engine of the embedding program's own, by its name.
    Custom(&'static str),
}

impl EngineKind {
    /// The name in messages and JSON, such as `local`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Trtllm => "trtllm",
            Self::Remote => "remote",
            Self::Custom(name) => name,
        }
    }
}

impl std::fmt::Display for EngineKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How far an engine can constrain a verdict, from the least to the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Guidance {
    /// Not at all: verdicts are free text.
    #[default]
    None,
    /// To a JSON schema: every name has a score, but a ranking may name one response twice.
    Schema,
    /// To a grammar: every verdict is complete.
    Grammar,
}

/// What an engine can do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Which engine it is.
    pub engine: EngineKind,
    /// How far it can constrain a verdict.
    pub guidance: Guidance,
    /// Whether it gives the probability distribution at every score.
    pub distributions: bool,
    /// The most tokens of prompt and output together; `None` if the engine does not say.
    pub context_tokens: Option<usize>,
    /// Judgments that it decodes at once.
    pub max_sequences: usize,
}

impl Capabilities {
    /// An engine that writes free text, one judgment at a time, in a context of unknown size.
    pub fn new(engine: EngineKind) -> Self {
        Self { engine, guidance: Guidance::None, distributions: false, context_tokens: None, max_sequences: 1 }
    }
}

/// How tokens are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// 0 is greedy.
    pub temperature: f32,
    /// Nucleus; 1 is off.
    pub top_p: f32,
    /// 0 is off.
    pub top_k: u32,
    /// Seed of this job.
    pub seed: u64,
}

impl Sampling {
    /// Always the most probable token.
    pub const GREEDY: Self = Self { temperature: 0.0, top_p: 1.0, top_k: 0, seed: 0 };
}

/// What an engine reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The prompt as token ids, for an engine that gave a [`TextModel`].
    Tokens {
        /// The whole prompt.
        ids: Vec<u32>,
        /// The number of leading tokens that all prompts of this judge share: worth keeping in a prefix cache.
        shared_prefix: usize,
    },
    /// The messages of a chat, for an engine that renders the template and tokenizes itself.
    Messages(Vec<Message>),
}

/// Which jobs go first if several wait for an engine.
///
/// The highest goes first, but every fourth place goes to the job that has waited longest: nothing starves. The embedded
/// engine follows it; the others take jobs in the order of submission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// For work that can wait, such as a batch.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Somebody waits for it.
    High,
}

/// Receives the reasoning of a job while it is written. Clones share one listener.
///
/// Pieces are whole characters and come in order. An engine that starts a job again, as after the death of a worker process,
/// sends its reasoning from the beginning. Each engine decides whether and how soon it sends it: the generation has all of it.
#[derive(Clone)]
pub struct Listener(Arc<dyn Fn(&str) + Send + Sync>);

impl Listener {
    /// A listener. `hear` is called from a thread of the engine's and must return quickly.
    pub fn new(hear: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    /// Tells a piece.
    pub fn hear(&self, piece: &str) {
        (self.0)(piece);
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}

/// One generation.
pub struct Job {
    /// What the engine reads.
    pub input: Input,
    /// What is generated, phase by phase.
    pub plan: Plan,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// When the caller submitted it.
    pub submitted: Instant,
    /// When it times out. For a patient job: until when it may wait for its turn.
    pub deadline: Instant,
    /// Set for a patient job, whose own time begins when the engine begins with it.
    pub patience: Option<Patience>,
    /// Its priority among the waiting jobs.
    pub priority: Priority,
    /// Who receives the reasoning meanwhile: for a [`Transcript`](crate::decode::transcript::Transcript), which sends it.
    pub listener: Option<Listener>,
}

/// The time of a job of a batch: it runs from the moment at which the engine begins with the job, not from its submission. Else
/// what waits longest would have the least time left. Clones are for the jobs of one judgment: their time begins with the first.
#[derive(Clone)]
pub struct Patience {
    timeout: Duration,
    /// When the job is out of time, whenever the engine begins.
    until: Option<Instant>,
    deadline: Arc<OnceLock<Instant>>,
    begun: Arc<dyn Fn(Instant) + Send + Sync>,
}

impl Patience {
    /// The job may take `timeout` once the engine has begun. `begun` gets the deadline then, from each clone; it must return
    /// quickly.
    pub fn new(timeout: Duration, begun: impl Fn(Instant) + Send + Sync + 'static) -> Self {
        Self { timeout, until: None, deadline: Arc::default(), begun: Arc::new(begun) }
    }

    /// The job is out of time at this moment at the latest, whenever the engine begins.
    #[must_use]
    pub fn until(self, until: Option<Instant>) -> Self {
        Self { until, ..self }
    }

    /// How long the job may take once the engine has begun.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The engine begins with the job now. Gives its deadline, which takes the place of [`Job::deadline`].
    pub fn begin(self) -> Instant {
        let deadline = self.deadline();
        (self.begun)(deadline);
        deadline
    }

    /// The deadline, if the engine has begun with a job.
    #[cfg(feature = "local")]
    pub(crate) fn begun(&self) -> Option<Instant> {
        self.deadline.get().copied()
    }

    /// The deadline, counted from now if no job has begun. Notifies nobody: [`Self::begin`] does.
    pub(crate) fn deadline(&self) -> Instant {
        *self.deadline.get_or_init(|| {
            let own = Instant::now() + self.timeout;
            self.until.map_or(own, |until| until.min(own))
        })
    }
}

impl std::fmt::Debug for Patience {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patience").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// What an engine generated; made by a [`Transcript`](crate::decode::transcript::Transcript).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Generation {
    /// Everything generated, as text; bytes that are not UTF-8 are replaced.
    pub raw: String,
    /// Byte range of the reasoning in `raw`, without its tags, if tokens separated it from the answer.
    pub reasoning: Option<std::ops::Range<usize>>,
    /// Byte offset in `raw` at which the answer begins.
    pub answer: usize,
    /// The distribution at each score, in the order the judge saw the responses; empty if none were taken.
    pub distributions: Vec<Vec<f64>>,
    /// At each score, the probability that lay on the scale, without a grammar; empty if that is not known.
    pub masses: Vec<f64>,
    /// Whether the budget ended the reasoning.
    pub reasoning_truncated: bool,
    /// Whether an unguided verdict was cut by its limit.
    pub verdict_truncated: bool,
    /// Tokens.
    pub usage: Usage,
    /// Times.
    pub timing: Timing,
}

/// Called once with the outcome of a job, from a thread of the engine's or the submitting one; it must return quickly.
pub type Completion = Box<dyn FnOnce(Result<Generation>) + Send>;

/// Names a submitted job to [`Engine::cancel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub u64);

/// Counters of an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Jobs waiting for a sequence.
    pub waiting: usize,
    /// Jobs being computed.
    pub running: usize,
    /// Prompt tokens taken from a cached prefix.
    pub reused_tokens: u64,
    /// Tokens computed, of prompts and outputs together, wrong ones of drafts too.
    pub computed_tokens: u64,
    /// Batches computed.
    pub steps: u64,
    /// Tokens of one block of keys and values.
    pub kv_block_tokens: usize,
    /// All blocks of keys and values.
    pub kv_blocks: usize,
    /// Of these, blocks that running judgments hold.
    pub kv_blocks_used: usize,
    /// Blocks taken over from earlier judgments instead of being computed.
    pub kv_blocks_reused: u64,
    /// Different grammars that a TensorRT-LLM executor received in the last hour. It compiles each between two steps, which
    /// delays every judgment.
    pub grammars_last_hour: u64,
    /// Tokens computed ahead as drafts (`local.draft_tokens`).
    pub drafted_tokens: u64,
    /// Of these, tokens that the judge chose, so that they needed no step of their own.
    pub accepted_tokens: u64,
}

impl Stats {
    /// These counters after those of an engine before this one.
    pub(crate) fn after(self, earlier: &Self) -> Self {
        Self {
            reused_tokens: self.reused_tokens + earlier.reused_tokens,
            computed_tokens: self.computed_tokens + earlier.computed_tokens,
            steps: self.steps + earlier.steps,
            kv_blocks_reused: self.kv_blocks_reused + earlier.kv_blocks_reused,
            drafted_tokens: self.drafted_tokens + earlier.drafted_tokens,
            accepted_tokens: self.accepted_tokens + earlier.accepted_tokens,
            ..self
        }
    }
}

/// What generates.
pub trait Engine: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> &Capabilities;

    /// Queues a job. `done` is called exactly once, whatever happens: also if the job is refused (then before this
    /// returns), cancelled, out of time, or still running when the engine is closed.
    fn submit(&self, job: Job, done: Completion) -> JobId;

    /// Ends a job as cancelled and frees its place. Does nothing if the job has already ended.
    fn cancel(&self, id: JobId);

    /// Counters since the engine was opened.
    fn stats(&self) -> Stats;

    /// The most tokens of the context that a job of this plan may take besides its prompt; `None` if the engine does not say.
    ///
    /// # Errors
    /// Those that the job would end with.
    fn output_tokens(&self, plan: &Plan) -> Result<Option<usize>> {
        let _ = plan;
        Ok(None)
    }

    /// Ends all jobs as closed, stops the engine's threads, and waits for them. Jobs submitted later end as closed.
    ///
    /// The judge calls it when it is closed, whoever else still holds the engine; no `done` is called after it has
    /// returned, but for jobs that are submitted later. Calling it again does nothing. Called from a thread of the
    /// engine's own, it does not wait for that one.
    fn close(&self);

    /// Computes what prompts begin with, and keeps it until the pin is dropped or the engine is closed or asleep: what comes
    /// later and begins with these tokens takes them over. Waits until they are computed, at most until `deadline`.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the engine cannot; [`ErrorKind::Overloaded`] if it keeps enough already;
    /// [`ErrorKind::ContextOverflow`], [`ErrorKind::Timeout`], [`ErrorKind::Cancelled`] after [`Self::refuse_pins`], the engine's
    /// own. Nothing is kept then.
    fn pin(&self, prefix: Vec<u32>, deadline: Instant) -> Result<Pin> {
        let _ = (prefix, deadline);
        Err(cannot_pin(self.capabilities().engine))
    }

    /// `true` ends every [`Self::pin`] that waits, and each that comes, as cancelled, until it is called with `false`. What is
    /// computed already stays.
    fn refuse_pins(&self, refuse: bool) {
        let _ = refuse;
    }

    /// Gives back the memory of weights and cache until [`Self::wake`]. The judge calls it while no job runs, and submits none
    /// until then. Engines that the library opens need none of the three: the judge closes them and opens them again.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the engine cannot; it goes on then as before.
    fn sleep(&self) -> Result<()> {
        Err(self.cannot("sleep"))
    }

    /// Takes back the memory that [`Self::sleep`] gave back.
    ///
    /// # Errors
    /// The engine's own; it still sleeps then.
    fn wake(&self) -> Result<()> {
        Err(self.cannot("sleep"))
    }

    /// Takes other weights of the same model, from a place that the engine knows. The judge calls it while no job runs, also
    /// while the engine sleeps; afterwards it is awake.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the engine cannot; it goes on then as before. After any other the engine sleeps.
    fn reload(&self, model: &str) -> Result<()> {
        let _ = model;
        Err(self.cannot("take other weights"))
    }

    /// The error for something that it cannot do.
    #[doc(hidden)]
    fn cannot(&self, what: &str) -> Error {
        let engine = self.capabilities().engine;
        Error::new(
            ErrorKind::Unsupported,
            format!("the {engine} engine cannot {what}: its memory is not in this process"),
        )
    }

    /// Takes the log of the judge, for what the engine has to say after it was opened. The judge calls it once, before the first
    /// job.
    fn log_to(&self, log: &Log) {
        let _ = log;
    }

    /// Warnings about the model, in sentences: it works, but maybe not as it was trained.
    fn warnings(&self) -> &[String] {
        &[]
    }

    /// More about it than its capabilities: one line for each part, such as each server of the remote engine.
    fn about(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Prefixes that an engine keeps at once.
pub(crate) const MOST_PINS: usize = 8;

/// The error of [`Engine::pin`] at its deadline. The judge adds how long that was.
#[cfg(any(feature = "local", all(unix, any(feature = "trtllm", test))))]
pub(crate) fn pin_late() -> Error {
    Error::new(ErrorKind::Timeout, "the prefix was not computed in time")
}

/// The error of [`Engine::pin`] after [`Engine::refuse_pins`].
#[cfg(any(feature = "local", all(unix, any(feature = "trtllm", test))))]
pub(crate) fn pin_cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "warming up was cancelled: the judge falls asleep (cancel_running)")
}

/// The error of an engine that cannot keep a prefix on request.
pub(crate) fn cannot_pin(engine: EngineKind) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "the {engine} engine cannot pin a prefix: its own cache decides what stays. To fill that cache, judge one request \
             with this principle first"
        ),
    )
}

/// Computed prompt tokens that an engine keeps. Dropping it releases them.
pub struct Pin {
    tokens: usize,
    release: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Pin {
    /// An engine keeps this many `tokens`. `release` releases them; it may be called on any thread, also when the engine is closed, and
    /// must return quickly.
    pub fn new(tokens: usize, release: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self { tokens, release: Some(Box::new(release)) }
    }

    /// The number of tokens that are kept.
    pub fn tokens(&self) -> usize {
        self.tokens
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            release();
        }
    }
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pin").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

/// Gives freed memory back to the system if the allocator would otherwise keep it.
#[cfg_attr(all(target_os = "linux", target_env = "gnu"), expect(unsafe_code, reason = "a function of the C library"))]
pub(crate) fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes a number; any thread may call it at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Receives the progress of loading a model, and may end the loading. Clones share one receiver.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(f32) -> bool + Send + Sync>>);

impl Progress {
    /// `goes_on` gets the part that is loaded, from 0 to 1 and rising, from the thread that opens the model; false ends the
    /// loading as [`ErrorKind::Cancelled`]. The embedded engine reports continually, the one for servers reports 0 several times
    /// a second until they have answered, others report at the beginning and at the end.
    pub fn new(goes_on: impl Fn(f32) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(goes_on)))
    }

    /// Reports the progress. Returns false if loading is to end.
    pub fn say(&self, part: f32) -> bool {
        self.0.as_ref().is_none_or(|goes_on| goes_on(part))
    }

    /// Like [`Self::say`].
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] if loading is to end.
    pub(crate) fn check(&self, part: f32) -> Result<()> {
        if self.say(part) { Ok(()) } else { Err(Self::ended()) }
    }

    /// The error if the program ended the loading.
    pub(crate) fn ended() -> Error {
        Error::new(ErrorKind::Cancelled, "loading the model was cancelled")
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Progress")
    }
}

/// What turns text into a model's tokens.
#[derive(Clone)]
pub struct TextModel {
    /// The model's chat template, as Jinja.
    pub chat_template: String,
    /// The text of the token that begins a text, if the model has one.
    pub bos: Option<String>,
    /// The text of the token that ends a text, if the model has one.
    pub eos: Option<String>,
    /// The model's tokenizer.
    pub tokenizer: Arc<Tokenizer>,
}

/// An opened model.
pub struct Opened {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// What makes its prompts; `None` for an engine that takes messages.
    pub text: Option<TextModel>,
}
