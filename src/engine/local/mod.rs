//! The embedded engine, on llama.cpp: one thread, one context, many sequences decoded together.

#[expect(unsafe_code, reason = "asks ggml for its devices")]
mod devices;
mod draft;
mod gguf;
mod guide;
mod inbox;
mod job;
#[expect(unsafe_code, reason = "receives llama.cpp's log through a C callback")]
mod native;
#[expect(unsafe_code, reason = "asks what our operations take")]
mod operations;
#[cfg(test)]
#[expect(unsafe_code, reason = "calls ggml")]
mod operations_tests;
mod pace;
mod pins;
mod prefixes;
mod sample;
mod scheduler;
#[expect(unsafe_code, reason = "calls llama.cpp through its shield")]
mod shield;
mod sizes;
mod stamp;
#[cfg(test)]
mod tests;
pub(in crate::engine) mod text;
mod vocabulary;
mod watch;
#[cfg(test)]
mod writer_tests;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::{Value, json};

use crate::config::{JudgeConfig, LocalConfig};
use crate::decode::plan::{CHARACTER_GRACE, Plan, VerdictPlan};
use crate::decode::reasoning::ReasoningTokens;
use crate::decode::transcript::Transcript;
use crate::error::{Error, ErrorKind, Result};
use crate::log::Log;
use crate::prompt::profile::{Profile, ReasoningForm};

use super::exit;
use super::{
    Capabilities, Completion, Engine, EngineKind, Guidance, Input, Job, JobId, Listener, Opened, Pin, Progress,
    Sampling, Stats, TextModel,
};
use inbox::{Cancelled, Inbox};
use job::{Done, Guided, Prepared, TokenWriter, VerdictWriter};
use native::Model;
use pins::Pins;
use prefixes::{Prefixes, Shape};
use sample::Sampler;
use scheduler::Scheduler;
use sizes::Lanes;
use stamp::Files;
use vocabulary::Vocabulary;

pub use devices::{Device, devices};
pub(in crate::engine) use gguf::Header;
pub(crate) use shield::{enter_section, leave_section};
pub use sizes::MemoryNeed;

/// The engine of one model.
struct Local {
    capabilities: Capabilities,
    context_tokens: usize,
    vocabulary: Arc<Vocabulary>,
    inbox: Arc<Inbox>,
    pins: Arc<Pins>,
    /// Prefixes on disk.
    prefixes: Option<Arc<Prefixes>>,
    /// Whether a judgment reuses what was computed before it. If not, there is nothing to pin.
    shares_prompts: bool,
    /// What each lane does.
    lanes: Vec<Arc<Mutex<Stats>>>,
    next_id: AtomicU64,
    /// The model's files as they were when it was opened.
    files: Files,
    warnings: Vec<String>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Opens the model at `path`, whose header was read.
///
/// # Errors
/// Each thing that can be wrong with the file, the settings or the machine has its own message.
pub(super) fn open(
    path: &Path,
    header: Header,
    config: &JudgeConfig,
    profile: &Profile,
    progress: &Progress,
) -> Result<Opened> {
    let options = config.options.or(&profile.decoding);
    let (reasoning_is_off, is_guided) = (options.reasoning == Some(false), options.guided != Some(false));
    let config = &config.local;
    // A GPU has its own memory.
    let on_gpu = cfg!(any(feature = "cuda", feature = "metal", feature = "vulkan")) && config.gpu_layers > 0;
    let available = if on_gpu { None } else { sizes::available() };
    let (context_tokens, lanes) = sizes::lanes(config, &header, available)?;
    let mut warnings = header.warnings();
    // Weights in memory no longer depend on the file.
    let files = Files::of(if config.mmap { header.files() } else { &[] })?;
    let before = config.prefix_dir.as_ref().map(|_| prefixes::files(&header)).transpose()?;
    let model = Arc::new(Model::load(path, header, config, lanes.repack, progress)?);
    files.check()?;
    warnings.extend(model.warnings().iter().cloned());
    let prefixes = before.map_or(Ok(None), |files| open_prefixes(config, &model, lanes, &files));
    let prefixes = prefixes.unwrap_or_else(|warning| {
        warnings.push(warning);
        None
    });
    let tokenizer = Arc::new(model.tokenizer()?);
    let mut vocabulary = Vocabulary::new(tokenizer.clone(), model.ends_of_text())?;
    if let Some(form) = &profile.reasoning
        && vocabulary.set_reasoning_marks(&form.open, &form.close)?
        && !reasoning_is_off
    {
        let ReasoningForm { open, close, .. } = form;
        warnings.push(format!(
            "the vocabulary has no tokens {open} and {close}: the judge writes them as plain text round its reasoning, and \
             may forget them"
        ));
    }
    if is_guided {
        vocabulary.check_verdicts(profile)?;
    }
    let capabilities = Capabilities {
        engine: EngineKind::Local,
        guidance: Guidance::Grammar,
        distributions: true,
        context_tokens: Some(context_tokens),
        max_sequences: config.max_sequences as usize,
    };
    let mut engine = Local {
        capabilities,
        context_tokens,
        vocabulary: Arc::new(vocabulary),
        inbox: Arc::new(Inbox::new(lanes.count)),
        pins: Arc::new(Pins::new(lanes.count, lanes.bounds.pool_tokens)),
        prefixes: prefixes.map(Arc::new),
        shares_prompts: lanes.bounds.shares_prompts,
        lanes: Vec::new(),
        next_id: AtomicU64::new(0),
        files,
        warnings,
        threads: Mutex::new(Vec::new()),
    };
    engine.start(&model, lanes)?;
    Ok(Opened {
        engine: Arc::new(engine),
        text: Some(TextModel {
            chat_template: text::chat_template(&model.header, &model.place, profile)?.to_owned(),
            bos: text::token(&model.header, "tokenizer.ggml.bos_token_id"),
            eos: text::token(&model.header, "tokenizer.ggml.eos_token_id"),
            tokenizer,
        }),
    })
}

/// The folder of prefixes. `files`: the model's files as they were before it was loaded.
///
/// # Errors
/// A sentence on why there is none.
fn open_prefixes(
    config: &LocalConfig,
    model: &Model,
    lanes: Lanes,
    files: &Value,
) -> std::result::Result<Option<Prefixes>, String> {
    let none =
        |why: &str| Err(format!("local.prefix_dir: {why}: the beginnings of prompts are computed after every start"));
    if model.has_windows() {
        return none(
            "some layers of this model look back over a window only, whose keys and values cannot be copied whole",
        );
    }
    if prefixes::files(&model.header).is_ok_and(|now| now != *files) {
        return none("the model's file has changed while it was loaded");
    }
    let identity = json!({ "files": files, "computing": model.computing(lanes, config) });
    Prefixes::open(config, &identity, Shape::of(&model.header))
}

/// What opening the model of a configuration takes, by its header alone: for a look before it is opened.
///
/// # Errors
/// As for opening it, where the header or the sizes of the context are wrong.
pub fn memory_need(config: &JudgeConfig) -> Result<MemoryNeed> {
    let header = Header::read(Path::new(&config.model))?;
    let (_, lanes) = sizes::lanes(&config.local, &header, None)?;
    Ok(lanes.memory(&header))
}

/// The bytes of memory that this process can still take, by the machine and by its control groups; `None` if the system
/// does not say.
pub fn available_memory() -> Option<u64> {
    sizes::available()
}

/// Sets up llama.cpp.
///
/// Its static objects are created in small steps, each followed by a registration with [`exit`]: an object that is
/// destroyed before the engines are closed is then no longer in use.
pub(crate) fn warm() {
    exit::register();
    native::set_up();
    exit::register();
    let mut step = 0;
    // A step that fails here fails again, with an error, when a model is opened.
    while !exit::is_exiting() && shield::warm(step) {
        exit::register();
        step += 1;
    }
    exit::register();
}

/// Starts a lane and waits until its context is ready.
fn start(
    model: Arc<Model>,
    lanes: Lanes,
    number: usize,
    inbox: Arc<Inbox>,
    pins: Arc<Pins>,
    prefixes: Option<Arc<Prefixes>>,
    stats: Arc<Mutex<Stats>>,
) -> Result<JoinHandle<()>> {
    let (ready, outcome) = channel();
    let work = move || {
        let Some(_busy) = exit::Busy::begin() else {
            let _ = ready.send(Err(Error::closed()));
            return;
        };
        let bounds = lanes.bounds;
        let context = match model.context(bounds, Scheduler::sequences(bounds), lanes.threads) {
            Ok(context) => context,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        inbox.attach(number, context.stop_flag().clone());
        let _ = ready.send(Ok(()));
        // A panic has failed every job by now, and has shut the inbox: every later one fails at submission.
        let _ = scheduler::run(&mut Scheduler::new(context, bounds, inbox, pins, prefixes, number, stats));
    };
    let thread = crate::thread::spawn("dicast-local", work)
        .map_err(|error| Error::new(ErrorKind::Engine, format!("the engine thread cannot be started: {error}")))?;
    outcome
        .recv()
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "the engine thread ended while it started")))?;
    Ok(thread)
}

/// Most tokens that a job writes.
struct Output {
    /// The tokens fed to open the reasoning.
    opening: usize,
    reasoning: usize,
    verdict: usize,
}

impl Output {
    fn sum(&self) -> usize {
        self.opening + self.reasoning + self.verdict
    }
}

impl Local {
    /// Starts the lanes, one after the other: llama.cpp makes the contexts of a model one at a time.
    fn start(&mut self, model: &Arc<Model>, lanes: Lanes) -> Result<()> {
        let inbox = self.inbox.clone();
        let deadlines = crate::thread::spawn("dicast-deadlines", move || inbox.keep_deadlines()).map_err(|error| {
            Error::new(ErrorKind::Engine, format!("the thread dicast-deadlines cannot be started: {error}"))
        })?;
        self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).push(deadlines);
        for number in 0..lanes.count {
            let stats = Arc::new(Mutex::new(Stats::default()));
            let (inbox, pins, prefixes) = (self.inbox.clone(), self.pins.clone(), self.prefixes.clone());
            let thread = start(model.clone(), lanes, number, inbox, pins, prefixes, stats.clone())?;
            self.lanes.push(stats);
            self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(())
    }

    /// The parts that carry out a plan, and the tokens that it may take.
    fn phases(&self, plan: Plan) -> Result<(Option<ReasoningTokens>, VerdictWriter, Output)> {
        let vocabulary = &self.vocabulary;
        let Plan { reasoning, verdict } = plan;
        let reasoning = reasoning.map(|plan| ReasoningTokens::new(&plan, vocabulary.tokenizer())).transpose()?;
        let (writer, verdict) = match verdict {
            VerdictPlan::Guided { grammar, consistent } => {
                let (guide, most) = vocabulary.guides().guide(&grammar.whole().lark(), &grammar.example())?;
                let most = most + grammar.looks_ahead();
                (VerdictWriter::Guided(Box::new(Guided { guide, grammar, consistent })), most)
            }
            VerdictPlan::Free { max_tokens } => (VerdictWriter::Free { max_tokens }, max_tokens as usize),
        };
        let output = Output {
            opening: reasoning.as_ref().map_or(0, |tokens| tokens.opening.len()),
            reasoning: reasoning
                .as_ref()
                .map_or(0, |tokens| tokens.budget as usize + CHARACTER_GRACE as usize + tokens.forced_most()),
            verdict,
        };
        Ok((reasoning, writer, output))
    }

    fn check_tokens(&self, prompt: &[u32]) -> Result<()> {
        let most = self.vocabulary.banned_in_answer().len();
        let Some(token) = prompt.iter().find(|&&token| token as usize >= most) else { return Ok(()) };
        let message = format!("the tokenizer gave token {token}, which the model lacks");
        Err(Error::new(ErrorKind::InvalidModel, message))
    }

    /// Turns a job into the tokens to feed, the context it needs and a writer, on the calling thread.
    fn prepare(
        &self,
        input: Input,
        plan: Plan,
        sampling: Sampling,
        submitted: Instant,
        listener: Option<Listener>,
    ) -> Result<(Vec<u32>, usize, TokenWriter)> {
        let vocabulary = &self.vocabulary;
        let Input::Tokens { ids: prompt, shared_prefix } = input else {
            return Err(Error::new(ErrorKind::Internal, "the embedded engine takes tokens, not messages"));
        };
        self.check_tokens(&prompt)?;
        if self.prefixes.is_some() {
            // The last token may be merged with what follows it.
            self.pins.add_base(&prompt[..shared_prefix.saturating_sub(1).min(prompt.len())]);
        }
        let (reasoning, verdict, most) = self.phases(plan)?;
        let Output { reasoning: reasoning_tokens, verdict: verdict_tokens, .. } = most;
        let output = most.sum();
        let need = prompt.len() + output;
        let context = self.context_tokens;
        if need > context {
            return Err(Error::new(
                ErrorKind::ContextOverflow,
                format!(
                    "the prompt has {} tokens and may be answered with {output} ({reasoning_tokens} for the reasoning, \
                     {verdict_tokens} for the verdict), {need} in all, but the context holds {context}: shorten the \
                     request, lower max_reasoning_tokens, or raise local.context_tokens",
                    prompt.len()
                ),
            ));
        }
        let sampler = Sampler::new(sampling);
        let transcript = Transcript::new(reasoning.is_some(), prompt.len()).heard_by(listener);
        let mut writer = TokenWriter::new(vocabulary.clone(), sampler, reasoning, verdict, transcript, submitted);
        let mut feed = prompt;
        feed.extend(writer.open());
        Ok((feed, need, writer))
    }
}

impl Engine for Local {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn submit(&self, job: Job, done: Completion) -> JobId {
        let id = JobId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let Job { input, plan, sampling, submitted, deadline, patience, priority, listener } = job;
        match self.files.check().and_then(|()| self.prepare(input, plan, sampling, submitted, listener)) {
            Ok((feed, need, writer)) => {
                let prompt_tokens = writer.prompt_tokens();
                let done = Done::new(done);
                let prepared =
                    Prepared { id, feed, prompt_tokens, need, writer, submitted, deadline, patience, priority, done };
                if let Err(unsent) = self.inbox.push(Box::new(prepared)) {
                    unsent.fail(self.inbox.error());
                }
            }
            Err(error) => done(Err(error)),
        }
        id
    }

    fn output_tokens(&self, plan: &Plan) -> Result<Option<usize>> {
        let (_, _, most) = self.phases(plan.clone())?;
        Ok(Some(most.sum()))
    }

    fn cancel(&self, id: JobId) {
        if let Cancelled::Waiting(job) = self.inbox.cancel(id) {
            job.fail(Error::cancelled());
        }
    }

    fn pin(&self, prefix: Vec<u32>, deadline: Instant) -> Result<Pin> {
        self.files.check()?;
        self.check_tokens(&prefix)?;
        if !self.shares_prompts {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "local.deterministic computes every prompt whole, so that nothing can be pinned: leave one of the two out",
            ));
        }
        if prefix.len() >= self.context_tokens {
            return Err(Error::new(
                ErrorKind::ContextOverflow,
                format!(
                    "the prefix has {} tokens, but the context holds {}: shorten it, or raise local.context_tokens",
                    prefix.len(),
                    self.context_tokens
                ),
            ));
        }
        let tokens = prefix.len();
        // Here and not on the engine's thread, which may have other work.
        let stored = self.prefixes.as_ref().and_then(|prefixes| prefixes.read(&prefix));
        let id = self.pins.add(prefix, stored)?;
        let (pins, inbox) = (self.pins.clone(), self.inbox.clone());
        // Created first, so that it is released if waiting fails.
        let pin = Pin::new(tokens, move || {
            pins.remove(id);
            inbox.nudge();
        });
        self.inbox.nudge();
        self.pins.wait(id, deadline, || self.inbox.error())?;
        Ok(pin)
    }

    fn refuse_pins(&self, refuse: bool) {
        self.pins.refuse(refuse);
    }

    fn log_to(&self, log: &Log) {
        if let Some(prefixes) = &self.prefixes {
            prefixes.log_to(log);
        }
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn stats(&self) -> Stats {
        let mut sum = Stats { waiting: self.inbox.len(), ..Stats::default() };
        for lane in &self.lanes {
            let lane = *lane.lock().unwrap_or_else(PoisonError::into_inner);
            sum.running += lane.running;
            sum.reused_tokens += lane.reused_tokens;
            sum.computed_tokens += lane.computed_tokens;
            sum.steps += lane.steps;
            sum.drafted_tokens += lane.drafted_tokens;
            sum.accepted_tokens += lane.accepted_tokens;
            sum.kv_block_tokens = lane.kv_block_tokens;
            sum.kv_blocks += lane.kv_blocks;
            sum.kv_blocks_used += lane.kv_blocks_used;
            sum.kv_blocks_reused += lane.kv_blocks_reused;
        }
        sum
    }

    fn close(&self) {
        let waiting = self.inbox.shut();
        self.pins.end();
        for job in waiting {
            job.fail(Error::shut_down());
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let own = std::thread::current().id();
        for thread in threads {
            if thread.thread().id() != own {
                let _ = thread.join();
            }
        }
        if let Some(prefixes) = &self.prefixes {
            prefixes.close();
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.close();
    }
}
