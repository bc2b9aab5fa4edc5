//! An engine in a worker process, so that a fault of its native code ends the worker and not the program.
//!
//! ```text
//! this process                                 worker process (dicast engine-worker)
//! Isolated -> ledger.rs   jobs that wait       worker.rs   opens what Source finds, works on orders
//!          -> supervisor  starts, watches      ...         any engine
//!          -> protocol    frames over a socket <->
//! ```
//!
//! The parent keeps the deadlines, makes the prompts, and loads no native code. When the worker dies, its judgments end
//! with an error that may be retried; the others wait for the next worker, which is started at once. The next worker
//! computes pinned prefixes again.

mod ledger;
#[expect(unsafe_code, reason = "signals: sending without one, dying with the parent, leaving at once")]
mod process;
mod protocol;
mod supervisor;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_pins;
mod worker;

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::config::{Isolation, JudgeConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::log::Log;
use crate::prompt::profile::Profile;
use crate::prompt::tokenize::{RawToken, TokenKind, Tokenizer};

use super::isolation::{Model, Table, TextParts};
use super::{Capabilities, Completion, Engine, EngineKind, Job, JobId, Opened, Pin, Stats, TextModel, cannot_pin};
use ledger::{Held, Times};
use process::Launcher;
use protocol::Order;
use supervisor::{Answer, Opening, Shared};

pub use process::VERB;
pub use worker::serve;

/// The version that library and worker must share.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long [`Engine::stats`] waits for the worker's counters; after that, it gives the last known ones.
const STATS_WAIT: Duration = Duration::from_millis(200);

/// Longest wait for the bytes of a vocabulary.
const VOCABULARY_WAIT: Duration = Duration::from_secs(60);

/// An engine in a worker process.
struct Isolated {
    capabilities: Capabilities,
    warnings: Vec<String>,
    shared: Arc<Shared>,
    supervisor: Mutex<Option<JoinHandle<()>>>,
    /// The process that opened it: its threads do not exist in a forked child.
    home: u32,
}

impl Table {
    fn unresponsive(self, config: &JudgeConfig) -> Duration {
        Duration::from_millis(match self {
            Self::Local => config.local.unresponsive_ms,
            Self::Trtllm => config.trtllm.unresponsive_ms,
        })
    }

    fn program(self, config: &JudgeConfig) -> Result<process::Program> {
        let (key, named) = match self {
            Self::Local => ("worker_path", &config.local.worker_path),
            Self::Trtllm => ("program_path", &config.trtllm.program_path),
        };
        process::Program::find(self.name(), key, named.as_deref())
    }
}

/// Opens a model in a worker process; `text` reads its files meanwhile.
///
/// # Errors
/// Those of the engine; [`ErrorKind::InvalidConfig`] if there is no worker program, [`ErrorKind::InvalidModel`] with
/// the worker's last output if the model crashes it.
pub(super) fn open(model: Model<'_>, text: impl FnOnce() -> Result<TextParts>) -> Result<Opened> {
    let launcher = model.table.program(model.config)?;
    open_with(Box::new(launcher), model, text)
}

/// Like [`open`], with workers of any kind.
fn open_with(
    launcher: Box<dyn Launcher>,
    model: Model<'_>,
    text: impl FnOnce() -> Result<TextParts>,
) -> Result<Opened> {
    let Model { table, place, fingerprint, config, profile } = model;
    let opening = Opening { order: order(config, profile)?, model: fingerprint, place };
    let unresponsive = table.unresponsive(config);
    let shared = Shared::new(table.name(), unresponsive);
    let (first, outcome) = channel();
    let supervised = shared.clone();
    // Not with all signals blocked, as in the other threads: the worker would inherit that.
    let supervisor = std::thread::Builder::new()
        .name("dicast-worker".into())
        .spawn(move || supervisor::run(&supervised, launcher, &opening, &first))
        .map_err(|error| Error::new(ErrorKind::Engine, format!("the supervising thread cannot be started: {error}")))?;
    let mut engine = Isolated {
        capabilities: Capabilities::new(EngineKind::Local),
        warnings: Vec::new(),
        shared: shared.clone(),
        supervisor: Mutex::new(Some(supervisor)),
        home: std::process::id(),
    };
    let text = text();
    let ready = outcome
        .recv()
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "the supervising thread ended while it started")))?;
    engine.capabilities = ready.capabilities();
    engine.warnings.clone_from(&ready.warnings);
    let text = text_model(text?, &shared, unresponsive)?;
    Ok(Opened { engine: Arc::new(engine), text: Some(text) })
}

/// The order to open the model: with absolute paths, since this process may change its folder before the next worker
/// starts.
fn order(config: &JudgeConfig, profile: &Profile) -> Result<Order> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Internal, format!("the worker's configuration cannot be written: {error}"))
    };
    let mut config = config.clone();
    if let Ok(path) = std::path::absolute(&config.model)
        && let Some(path) = path.to_str()
    {
        path.clone_into(&mut config.model);
    }
    if let Some(folder) = &mut config.local.prefix_dir
        && let Ok(path) = std::path::absolute(&*folder)
    {
        *folder = path;
    }
    config.profile = None;
    config.local.isolation = None;
    config.local.worker_path = None;
    config.trtllm.isolation = Isolation::None;
    config.trtllm.program_path = None;
    // Calibration is applied in this process.
    let profile = Profile { calibration: None, ..profile.clone() };
    Ok(Order::Open {
        version: VERSION.to_owned(),
        parent: std::process::id(),
        config: serde_json::to_value(config).map_err(|error| failed(&error))?,
        profile: serde_json::from_str(&profile.to_json()).map_err(|error| failed(&error))?,
    })
}

/// Makes what turns text into tokens; if only the engine can do that, the worker is asked for each text.
fn text_model(parts: TextParts, shared: &Arc<Shared>, most: Duration) -> Result<TextModel> {
    let TextParts { chat_template, bos, eos, tokenizer, kinds } = parts;
    let tokenizer = if let Some(tokenizer) = tokenizer {
        tokenizer
    } else {
        let wrong = || Error::new(ErrorKind::Internal, "the worker process gave another answer than asked");
        let Answer::Vocabulary(tokens) = shared.ask(Order::Vocabulary, &[], VOCABULARY_WAIT)? else {
            return Err(wrong());
        };
        let kind = |id: usize| kinds.get(id).copied().unwrap_or(TokenKind::Normal);
        let tokens = tokens.into_iter().enumerate().map(|(id, bytes)| RawToken { bytes, kind: kind(id) }).collect();
        let asked = shared.clone();
        let encode = move |text: &str| match asked.ask(Order::Tokenize, text.as_bytes(), most)? {
            Answer::Tokens(ids) => ids,
            _ => Err(wrong()),
        };
        Tokenizer::from_encoder(Box::new(encode), tokens)?
    };
    Ok(TextModel { chat_template, bos, eos, tokenizer: Arc::new(tokenizer) })
}

impl Engine for Isolated {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn submit(&self, job: Job, done: Completion) -> JobId {
        let Job { input, plan, sampling, submitted, deadline, patience, priority, listener } = job;
        let body = protocol::encode_job(&input, plan, sampling);
        let times = Times { submitted, deadline, patience, listener };
        JobId(self.shared.submit(body, Held { times, priority, done }))
    }

    fn cancel(&self, id: JobId) {
        self.shared.cancel(id.0);
    }

    fn pin(&self, prefix: Vec<u32>, deadline: Instant) -> Result<Pin> {
        match self.capabilities.engine {
            EngineKind::Local => self.shared.pin(&prefix, deadline),
            engine => Err(cannot_pin(engine)),
        }
    }

    fn refuse_pins(&self, refuse: bool) {
        self.shared.refuse_pins(refuse);
    }

    fn log_to(&self, log: &Log) {
        self.shared.log_to(log);
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn stats(&self) -> Stats {
        // Without an answer, the last known counters are given.
        let _ = self.shared.ask(Order::Stats, &[], STATS_WAIT);
        self.shared.stats()
    }

    fn close(&self) {
        if std::process::id() != self.home {
            return;
        }
        self.shared.close();
        let supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(supervisor) = supervisor
            && !self.shared.is_own_thread()
        {
            let _ = supervisor.join();
        }
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        self.close();
    }
}
