//! Engines: what generates. Each takes a job and completes it by callback; `judge/` plans by what it can do.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::config::JudgeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::profile::{Profile, read_bounded};
use crate::verdict::{Timing, Usage};

#[cfg(feature = "local")]
pub mod local;
#[cfg(feature = "trtllm")]
pub mod trtllm;

/// What an engine can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The engine's name: `local`, `trtllm` or `remote`.
    pub name: &'static str,
    /// Whether it can hold a verdict to a grammar.
    pub guided: bool,
    /// Whether it gives the distribution at every score.
    pub distributions: bool,
    /// Most tokens of prompt and output together.
    pub context_tokens: usize,
    /// Judgments that it decodes at once.
    pub max_sequences: usize,
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

/// One generation.
pub struct Job {
    /// Token ids of the prompt.
    pub prompt: Vec<u32>,
    /// What is generated, phase by phase.
    pub plan: crate::decode::plan::Plan,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// When the caller submitted it.
    pub submitted: Instant,
    /// When it times out.
    pub deadline: Instant,
}

/// What an engine generated.
#[derive(Clone, Debug, Default)]
pub struct Generation {
    /// Everything generated, as text; bytes that are not UTF-8 are replaced.
    pub raw: String,
    /// Byte range of the reasoning in `raw`, without its tags, where tokens told it from the answer.
    pub reasoning: Option<std::ops::Range<usize>>,
    /// Byte offset in `raw` at which the answer begins.
    pub answer: usize,
    /// The distribution at each score, in the order the judge saw the responses; empty where none were taken.
    pub distributions: Vec<Vec<f64>>,
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
pub struct Stats {
    /// Jobs waiting for a sequence.
    pub waiting: usize,
    /// Jobs being computed.
    pub running: usize,
    /// Prompt tokens taken from a cached prefix.
    pub reused_tokens: u64,
    /// Tokens computed, of prompts and outputs together.
    pub computed_tokens: u64,
    /// Batches computed.
    pub steps: u64,
    /// Tokens of one block of keys and values.
    pub kv_block_tokens: usize,
    /// Blocks of keys and values that there are.
    pub kv_blocks: usize,
    /// Of these, blocks that running judgments hold.
    pub kv_blocks_used: usize,
    /// Blocks taken over from earlier judgments instead of being computed.
    pub kv_blocks_reused: u64,
}

/// What generates.
pub trait Engine: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> &Capabilities;

    /// Queues a job. `done` is called exactly once, whatever happens: also where the job is refused (then before this
    /// returns), cancelled, out of time, or still running when the engine is dropped.
    fn submit(&self, job: Job, done: Completion) -> JobId;

    /// Ends a job as cancelled and frees its place. Nothing happens where it has ended already.
    fn cancel(&self, id: JobId);

    /// Counters since the engine was opened.
    fn stats(&self) -> Stats;
}

/// An opened model: the engine and what turns text into its tokens.
pub struct Opened {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// The profile that goes with the model.
    pub profile: Profile,
    /// The model's chat template, as Jinja.
    pub chat_template: String,
    /// The text of the token that begins a text, where the model has one.
    pub bos: Option<String>,
    /// The text of the token that ends a text, where the model has one.
    pub eos: Option<String>,
    /// The model's tokenizer.
    pub tokenizer: Arc<crate::prompt::tokenize::Tokenizer>,
}

/// Opens the engine that a model asks for.
///
/// # Errors
/// [`ErrorKind::Unsupported`] where this build has no engine for it, naming the feature; else the engine's own.
pub fn open(config: &JudgeConfig) -> Result<Opened> {
    let model = config.model.as_str();
    if model.starts_with("http://") || model.starts_with("https://") {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("{model}: judging through another server needs the remote engine, which this build does not have"),
        ));
    }
    let path = Path::new(model);
    // Said by every build alike: which engine it has matters only for what is there.
    if matches!(path.try_exists(), Ok(false)) {
        return Err(Error::new(ErrorKind::ModelNotFound, format!("{model}: there is no such model file")));
    }
    if is_engine_folder(path) { open_engine_folder(path, config) } else { open_file(path, config) }
}

/// Whether a path is a folder with a TensorRT-LLM engine in it, whole or not: anything of what `trtllm-build` writes.
fn is_engine_folder(path: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(path) else { return false };
    let is_engine = |name: &str| name.ends_with(".engine");
    if entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(is_engine)) {
        return true;
    }
    let config = read_bounded(&path.join("config.json"), 16 << 20).unwrap_or_default();
    serde_json::from_slice::<serde_json::Value>(&config).is_ok_and(|config| config.get("build_config").is_some())
}

#[cfg(feature = "trtllm")]
fn open_engine_folder(path: &Path, config: &JudgeConfig) -> Result<Opened> {
    trtllm::open(path, config)
}

#[cfg(not(feature = "trtllm"))]
fn open_engine_folder(path: &Path, _: &JudgeConfig) -> Result<Opened> {
    Err(Error::new(
        ErrorKind::Unsupported,
        format!(
            "{}: a folder with a TensorRT-LLM engine needs the TensorRT-LLM engine: build with the feature `trtllm`",
            path.display()
        ),
    ))
}

#[cfg(feature = "local")]
fn open_file(path: &Path, config: &JudgeConfig) -> Result<Opened> {
    local::open(path, config)
}

#[cfg(not(feature = "local"))]
fn open_file(path: &Path, _: &JudgeConfig) -> Result<Opened> {
    Err(Error::new(
        ErrorKind::Unsupported,
        format!("{}: model files need the embedded engine: build with the feature `local`", path.display()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_folders_are_known_whole_or_not() {
        let folder = std::env::temp_dir().join(format!("dicast-registry-{}", std::process::id()));
        let made = |files: &[(&str, &str)]| {
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir(&folder).unwrap();
            for (name, text) in files {
                std::fs::write(folder.join(name), text).unwrap();
            }
            is_engine_folder(&folder)
        };
        assert!(made(&[("config.json", "{}"), ("rank0.engine", "x")]));
        assert!(made(&[("rank1.engine", "")]));
        assert!(made(&[("config.json", "{\"build_config\": {}}")]));
        assert!(!made(&[("config.json", "{\"model_type\": \"qwen3\"}"), ("model.safetensors", "x")]));
        assert!(!made(&[]));
        assert!(!is_engine_folder(&folder.join("model.gguf")));
        #[cfg(not(feature = "trtllm"))]
        {
            made(&[("rank1.engine", "")]);
            let Err(error) = open(&JudgeConfig::new(folder.to_str().unwrap())) else { panic!("it was opened") };
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains("feature `trtllm`"), "{error}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
