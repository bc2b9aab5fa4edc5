//! The TensorRT-LLM engine: a compiled engine in this process, through the adapter in `cpp/`.
//!
//! ```text
//! folder.rs      the engine folder, checked before the library is touched
//! vocabulary.rs  the vocabulary of the guide, and where scores can stand
//! job.rs         the requests of one judgment
//! contest.rs     score distributions where no probe can run
//! executor.rs    all jobs in progress, and the thread that waits
//! pulse.rs       whether the library is alive
//! bridge.rs      the border to C++
//! failure.rs     what the library says, as errors
//! ```

#[expect(unsafe_code, reason = "declares the border to C++, and that its types may change threads")]
#[expect(unreachable_pub, unused_qualifications, reason = "cxx writes such code")]
mod bridge;
mod contest;
mod executor;
mod failure;
mod folder;
mod job;
mod pulse;
mod vocabulary;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cxx::UniquePtr;

use crate::config::{JudgeConfig, TrtllmConfig, TrtllmMode, TrtllmScheduler};
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::Prompter;
use crate::prompt::profile::Profile;
use crate::prompt::tokenize::Tokenizer;
use crate::thread::{JoinHandle, current};

use super::isolation::TextParts;
use super::{Capabilities, Completion, Engine, EngineKind, Guidance, Input, Job, JobId, Opened, Stats, TextModel};
use bridge::ffi::{self, Code, Policy, Session, Settings, Status};
use executor::{Executor, Time};
use folder::EngineFolder;
use job::{JobWriter, Terms};
use pulse::Pulse;
use vocabulary::GuideVocabulary;

/// How long a dropped engine waits for the library's threads. A library that hangs is left behind.
const SHUTDOWN: Duration = Duration::from_secs(10);
/// Least wait for the answer to the first requests of an engine: kernels may be loaded for them.
const FIRST_ANSWER: Duration = Duration::from_secs(120);

/// What this build was linked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Where `libtensorrt_llm.so` was when this was built.
    pub path: &'static str,
    /// The release that this was built for. It runs with the releases of the same minor version.
    pub built_for: &'static str,
    /// The release that is loaded.
    pub version: String,
    /// Empty for the vendor's library; what it says of itself where it is a stand-in for tests.
    pub label: String,
}

/// The library that this build was linked with.
pub fn library() -> Library {
    Library {
        path: env!("DICAST_TRTLLM_LIBRARY"),
        built_for: env!("DICAST_TRTLLM_RELEASE"),
        version: ffi::library_version(),
        label: ffi::library_label(),
    }
}

/// The engine of one model.
struct Trtllm {
    capabilities: Capabilities,
    warnings: Vec<String>,
    terms: Arc<Terms>,
    executor: Arc<Executor>,
    next_id: AtomicU64,
    /// Whether this process only works for another process, under `mpirun`.
    worker: bool,
    /// `None` once the engine is closed.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Status {
    fn is_ok(&self) -> bool {
        self.code == Code::Ok
    }
}

/// What makes the prompts of the engine folder at `path`, whose engine runs in a worker process.
///
/// # Errors
/// Those of the folder, and [`ErrorKind::InvalidConfig`] for an engine that a worker process cannot run.
pub(super) fn text_parts(path: &Path, config: &JudgeConfig) -> Result<TextParts> {
    let folder = EngineFolder::read(path, &config.trtllm)?;
    if folder.ranks > 1 && config.trtllm.mode == TrtllmMode::Leader {
        return Err(Error::new(
            ErrorKind::InvalidConfig,
            "trtllm.isolation is process, but the processes of an engine for several GPUs are started by mpirun: set \
             trtllm.isolation to none, or trtllm.mode to orchestrator",
        ));
    }
    Ok(TextParts {
        tokenizer: Some(Tokenizer::from_json(&folder.tokenizer_json)?),
        chat_template: folder.chat_template,
        bos: folder.bos,
        eos: folder.eos,
        kinds: Vec::new(),
    })
}

/// Opens the engine folder at `path`.
///
/// # Errors
/// Each thing that can be wrong with the folder, the settings, the library or the machine has its own message.
pub(super) fn open(path: &Path, config: &JudgeConfig, profile: &Profile) -> Result<Opened> {
    let folder = EngineFolder::read(path, &config.trtllm)?;
    let guided = config.trtllm.scheduler != TrtllmScheduler::MaxUtilization;
    if !guided && config.options.guided != Some(false) {
        return Err(Error::new(
            ErrorKind::InvalidConfig,
            "trtllm.scheduler is max_utilization, which pauses judgments: TensorRT-LLM then starts the grammar again in the \
             middle of a verdict (its issue 18891). Set it to guaranteed_no_evict, or options.guided to false",
        ));
    }
    let library = library();
    if !folder::runs_on(library.built_for, &library.version) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "this dicast was built for TensorRT-LLM {}, but the library that is loaded is {}: their interfaces differ. \
                 Load a library of the same minor release, or build dicast with the headers of the one that is loaded",
                library.built_for, library.version
            ),
        ));
    }
    if !folder::is_supported(&library.version) || !folder::runs_on(&folder.version, &library.version) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "{}: the engine was built by TensorRT-LLM {}, but the library that is loaded is {}: build the engine \
                 again, or load the release that built it",
                path.display(),
                folder.version,
                library.version
            ),
        ));
    }
    let tokenizer = Arc::new(Tokenizer::from_json(&folder.tokenizer_json)?);
    let text = TextModel {
        chat_template: folder.chat_template.clone(),
        bos: folder.bos.clone(),
        eos: folder.eos.clone(),
        tokenizer: tokenizer.clone(),
    };
    check_prompt(&folder, profile, &text)?;
    let mut ends = folder.ends.clone();
    if ends.is_empty() {
        ends.extend(folder.eos.as_deref().and_then(|eos| tokenizer.special(eos)));
    }
    let mut vocabulary = GuideVocabulary::new(tokenizer.clone(), ends, folder.vocabulary)?;
    if let Some(form) = &profile.reasoning {
        vocabulary.set_reasoning_tokens(&form.open, &form.close)?;
    }

    let trtllm = &config.trtllm;
    // A probe is a function in this process: it runs only if the last layers of the first rank do.
    let probes = guided && trtllm.mode == TrtllmMode::Leader && folder.pipeline_ranks == 1;
    let session = open_session(&settings(&folder, trtllm, &vocabulary, guided, probes)?)
        .map_err(|error| error.context(path.display()))?;
    let unresponsive = Duration::from_millis(trtllm.unresponsive_ms);
    let mut warnings = Vec::new();
    let mut contests = false;
    if guided && !probes && session.accepts_requests() {
        contests = contest::is_understood(&session, &vocabulary, unresponsive.max(FIRST_ANSWER))
            .map_err(|error| error.context(path.display()))?;
        if !contests {
            warnings.push(
                "this engine's log probabilities are not those of the grammar's choices: verdicts have no score \
                 distributions"
                    .to_owned(),
            );
        }
    }
    let max_sequences = [trtllm.max_batch_size, folder.max_batch_size].into_iter().filter(|&size| size > 0).min();
    let capabilities = Capabilities {
        engine: EngineKind::Trtllm,
        guidance: if guided { Guidance::Grammar } else { Guidance::None },
        distributions: probes || contests,
        context_tokens: Some(folder.max_tokens),
        max_sequences: max_sequences.unwrap_or(1) as usize,
    };
    let terms = Terms {
        vocabulary,
        max_input_tokens: folder.max_input_tokens,
        max_tokens: folder.max_tokens,
        tokens_per_block: folder.tokens_per_block,
        block_reuse: trtllm.block_reuse,
        probes,
        contests,
    };
    let pulse = Pulse::new(unresponsive, trtllm.mode == TrtllmMode::Leader);
    let executor = Arc::new(Executor::new(session, pulse, folder.tokens_per_block, capabilities.max_sequences));
    let waiting = executor.clone();
    let thread = crate::thread::spawn("dicast-trtllm", move || waiting.run())
        .map_err(|error| Error::new(ErrorKind::Engine, format!("the waiting thread cannot be started: {error}")))?;
    let engine = Trtllm {
        capabilities,
        warnings,
        terms: Arc::new(terms),
        worker: !executor.accepts_requests(),
        executor,
        next_id: AtomicU64::new(0),
        thread: Mutex::new(Some(thread)),
    };
    Ok(Opened { engine: Arc::new(engine), text: Some(text) })
}

/// Checks that the engine can read a prompt at all.
///
/// # Errors
/// [`ErrorKind::InvalidModel`] if even the prompt of an empty request is too long.
fn check_prompt(folder: &EngineFolder, profile: &Profile, text: &TextModel) -> Result<()> {
    let least = Prompter::of(profile.clone(), Some(text))?.least_tokens()?;
    if least < folder.max_input_tokens {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidModel,
        format!(
            "{}: the prompt of an empty request has {least} tokens by the profile {:?}, but the engine was built to read \
             {} (max_input_len): build it with a larger --max_input_len",
            folder.path.display(),
            profile.name,
            folder.max_input_tokens
        ),
    ))
}

fn settings(
    folder: &EngineFolder,
    config: &TrtllmConfig,
    vocabulary: &GuideVocabulary,
    guided: bool,
    probes: bool,
) -> Result<Settings> {
    let signed = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let text = |path: &Path| {
        path.to_str()
            .map(str::to_owned)
            .ok_or_else(|| Error::new(ErrorKind::InvalidConfig, format!("the path {} is not UTF-8", path.display())))
    };
    let worker = config.worker_path.as_deref().map(|worker| {
        if worker.is_file() {
            text(worker)
        } else {
            Err(Error::new(
                ErrorKind::InvalidConfig,
                format!("trtllm.worker_path is {}: there is no such file", worker.display()),
            ))
        }
    });
    let (bytes, vocabulary_ends) = vocabulary.for_guide();
    Ok(Settings {
        engine_folder: text(&folder.path)?,
        kv_memory_fraction: config.kv_memory_fraction,
        kv_max_tokens: signed(config.kv_cache_tokens),
        kv_host_bytes: config.host_cache_bytes,
        block_reuse: config.block_reuse,
        max_batch_size: signed(config.max_batch_size),
        max_batch_tokens: signed(config.max_batch_tokens),
        max_queue: signed(config.max_queue),
        policy: match config.scheduler {
            TrtllmScheduler::GuaranteedNoEvict => Policy::NoEviction,
            TrtllmScheduler::MaxUtilization => Policy::MaxUtilization,
        },
        chunked_context: config.chunked_context,
        device_ids: config.device_ids.iter().map(|&id| signed(id)).collect(),
        worker: worker.transpose()?.unwrap_or_default(),
        guided,
        probes,
        vocabulary: bytes,
        vocabulary_ends,
        ends: vocabulary.ends().iter().map(|end| end.cast_signed()).collect(),
    })
}

fn open_session(settings: &Settings) -> Result<UniquePtr<Session>> {
    let mut status = Status { code: Code::Ok, message: String::new() };
    let session = ffi::open_session(settings, &mut status);
    if session.is_null() { Err(failure::failed("opening the engine", &status)) } else { Ok(session) }
}

impl Trtllm {
    fn prepare(&self, input: Input, plan: crate::decode::plan::Plan, sampling: super::Sampling) -> Result<JobWriter> {
        if self.worker {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "this process is a worker of an engine for several GPUs: only the first one under mpirun takes requests",
            ));
        }
        JobWriter::new(self.terms.clone(), input, plan, sampling, Instant::now())
    }
}

impl Engine for Trtllm {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn submit(&self, job: Job, done: Completion) -> JobId {
        let id = JobId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let Job { input, plan, sampling, submitted, deadline, patience, listener, .. } = job;
        match self.prepare(input, plan, sampling) {
            Ok(mut writer) => {
                writer.listen(listener);
                self.executor.submit(id, Box::new(writer), Time { submitted, deadline, patience }, done);
            }
            Err(error) => done(Err(error)),
        }
        id
    }

    fn cancel(&self, id: JobId) {
        self.executor.cancel(id);
    }

    fn stats(&self) -> Stats {
        Stats { grammars_last_hour: self.terms.vocabulary.grammars_last_hour(), ..self.executor.stats() }
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn close(&self) {
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        self.executor.close();
        // A callback may close the judge: the thread cannot wait for itself.
        let thread = (thread.thread().id() != current().id()).then_some(thread);
        let (ended, end) = channel();
        let executor = self.executor.clone();
        // On a thread of its own, including the wait for the other thread: either may hang in the library.
        let shut_down = move || {
            if let Some(thread) = thread {
                let _ = thread.join();
            }
            executor.shut_down();
            drop(executor);
            let _ = ended.send(());
        };
        let helper = crate::thread::spawn("dicast-trtllm-end", shut_down);
        match helper {
            // A worker ends when the first process does.
            Ok(_) if self.worker => drop(end.recv()),
            Ok(_) => drop(end.recv_timeout(SHUTDOWN)),
            Err(_) => self.executor.shut_down(),
        }
        // If the library hangs, waiting jobs still end.
        self.executor.abandon();
    }
}

impl Drop for Trtllm {
    fn drop(&mut self) {
        self.close();
    }
}
