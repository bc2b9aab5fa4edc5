//! Every setting of a judge, read from one JSON form and checked once.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// How the names of the responses are hidden from the judge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mask {
    /// Aliases in an order shuffled by `mask_seed`, as Python's `random.seed(seed); random.shuffle(...)` does it.
    #[default]
    Shuffle,
    /// Aliases in the order given.
    Given,
    /// The real names in the order given.
    Off,
}

/// What may be set by the profile, then by the configuration, then by the request: the later one wins, key by key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Softmax temperature, 0 to 2. 0, the default, is greedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Nucleus sampling: the smallest set of tokens whose probability reaches this, over 0 to 1. Default 1 (off).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Only the k most probable tokens; 0, the default, is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Seed of the sampling. Default 0. The same seed, model, request and options give the same verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Whether the judge thinks before its verdict. Default: true where the profile has a reasoning form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<bool>,
    /// Tokens after which the reasoning is ended for the judge, 0 to 131072. Default 2048.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_reasoning_tokens: Option<u32>,
    /// Tokens for an unguided verdict, 1 to 131072. Default 1024. A guided verdict needs no limit: its form bounds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_verdict_tokens: Option<u32>,
    /// Whether a grammar admits only complete verdicts. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guided: Option<bool>,
    /// Whether a guided ranking must agree with the scores. Default false: what the judge writes is kept, and a
    /// contradiction is flagged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistent_ranking: Option<bool>,
    /// How names are hidden. Default `shuffle`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<Mask>,
    /// Seed of the shuffle. Default 42, the reference system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_seed: Option<u64>,
    /// Milliseconds from submission after which the request fails as timed out, 1 to 86400000. Default 600000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// [`Options`] with every value decided and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// See [`Options::temperature`].
    pub temperature: f32,
    /// See [`Options::top_p`].
    pub top_p: f32,
    /// See [`Options::top_k`].
    pub top_k: u32,
    /// See [`Options::seed`].
    pub seed: u64,
    /// See [`Options::reasoning`].
    pub reasoning: bool,
    /// See [`Options::max_reasoning_tokens`].
    pub max_reasoning_tokens: u32,
    /// See [`Options::max_verdict_tokens`].
    pub max_verdict_tokens: u32,
    /// See [`Options::guided`].
    pub guided: bool,
    /// See [`Options::consistent_ranking`].
    pub consistent_ranking: bool,
    /// See [`Options::mask`].
    pub mask: Mask,
    /// See [`Options::mask_seed`].
    pub mask_seed: u64,
    /// See [`Options::timeout_ms`].
    pub timeout: Duration,
}

/// Longest deadline that can be asked for: one day.
const MAX_TIMEOUT_MS: u64 = 86_400_000;
/// Longest reasoning or verdict that can be asked for, in tokens.
const MAX_TOKENS: u32 = 131_072;

impl Options {
    /// These options, with what they leave open taken from `lower`.
    #[must_use]
    pub fn or(&self, lower: &Self) -> Self {
        Self {
            temperature: self.temperature.or(lower.temperature),
            top_p: self.top_p.or(lower.top_p),
            top_k: self.top_k.or(lower.top_k),
            seed: self.seed.or(lower.seed),
            reasoning: self.reasoning.or(lower.reasoning),
            max_reasoning_tokens: self.max_reasoning_tokens.or(lower.max_reasoning_tokens),
            max_verdict_tokens: self.max_verdict_tokens.or(lower.max_verdict_tokens),
            guided: self.guided.or(lower.guided),
            consistent_ranking: self.consistent_ranking.or(lower.consistent_ranking),
            mask: self.mask.or(lower.mask),
            mask_seed: self.mask_seed.or(lower.mask_seed),
            timeout_ms: self.timeout_ms.or(lower.timeout_ms),
        }
    }

    /// Decides what is still open and checks every value.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] naming the key, the value and the range.
    pub fn resolve(&self) -> Result<Settings> {
        Ok(Settings {
            temperature: in_range("temperature", self.temperature.unwrap_or(0.0), 0.0, 2.0)?,
            top_p: in_range("top_p", self.top_p.unwrap_or(1.0), f32::MIN_POSITIVE, 1.0)?,
            top_k: self.top_k.unwrap_or(0),
            seed: self.seed.unwrap_or(0),
            reasoning: self.reasoning.unwrap_or(true),
            max_reasoning_tokens: in_range(
                "max_reasoning_tokens",
                self.max_reasoning_tokens.unwrap_or(2048),
                0,
                MAX_TOKENS,
            )?,
            max_verdict_tokens: in_range("max_verdict_tokens", self.max_verdict_tokens.unwrap_or(1024), 1, MAX_TOKENS)?,
            guided: self.guided.unwrap_or(true),
            consistent_ranking: self.consistent_ranking.unwrap_or(false),
            mask: self.mask.unwrap_or_default(),
            mask_seed: self.mask_seed.unwrap_or(42),
            timeout: Duration::from_millis(in_range(
                "timeout_ms",
                self.timeout_ms.unwrap_or(600_000),
                1,
                MAX_TIMEOUT_MS,
            )?),
        })
    }

    /// As [`Self::resolve`], for options that came with a request.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] naming the key, the value and the range.
    pub fn resolve_request(&self) -> Result<Settings> {
        self.resolve()
            .map_err(|error| Error::new(ErrorKind::InvalidRequest, error.message().to_owned()).context("options"))
    }
}

/// Checks that a setting lies in `min..=max`.
fn in_range<T: Copy + PartialOrd + std::fmt::Display>(key: &str, value: T, min: T, max: T) -> Result<T> {
    // Written so that NaN, which compares with nothing, fails.
    if value >= min && value <= max {
        Ok(value)
    } else {
        Err(Error::new(ErrorKind::InvalidConfig, format!("{key} is {value}: it must be from {min} to {max}")))
    }
}

/// Bounds on what one judge takes in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most responses in one request, 1 to [`MAX_RESPONSES`]. Default 32.
    pub max_responses: usize,
    /// Most bytes of text in one request, 1 to 1 GiB. Default 4 MiB.
    pub max_request_bytes: usize,
    /// Most requests that wait or run at once, 1 to 1000000; the next one is refused as overloaded. Default 1024.
    pub max_queue: usize,
}

/// The most responses that a guided verdict can rank: a 64 bit set tracks those already named.
pub const MAX_RESPONSES: usize = 64;

impl Default for Limits {
    fn default() -> Self {
        Self { max_responses: 32, max_request_bytes: 4 << 20, max_queue: 1024 }
    }
}

/// Settings of the embedded engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalConfig {
    /// Most tokens of one judgment, prompt and output together. 0, the default: 8192, or what the model was trained for
    /// if that is less.
    pub context_tokens: u32,
    /// Judgments that are decoded in one batch, 1 to 64. Default 8. More wait in the queue.
    pub max_sequences: u32,
    /// Tokens of keys and values held for all judgments together. 0, the default: four contexts.
    pub kv_cache_tokens: u32,
    /// Most prompt tokens computed in one step, 32 to 8192. Default 512.
    pub batch_tokens: u32,
    /// Most prompt tokens computed in one step while other judgments are decoding, 16 to 8192. Default 128.
    pub prefill_chunk_tokens: u32,
    /// Threads of the computation. 0, the default: one a physical core, fewer for a model of less than 32 MiB a thread.
    pub threads: u32,
    /// Layers put on the GPU, where this build has one. Default: all.
    pub gpu_layers: u32,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self {
            context_tokens: 0,
            max_sequences: 8,
            kv_cache_tokens: 0,
            batch_tokens: 512,
            prefill_chunk_tokens: 128,
            threads: 0,
            gpu_layers: 10_000,
        }
    }
}

/// Which judgments run when not all of them fit the KV cache of a TensorRT-LLM engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TrtllmScheduler {
    /// A judgment starts once its whole output has room, and then runs to its end.
    #[default]
    GuaranteedNoEvict,
    /// As many as fit now; one may be paused and computed again. More throughput, less even times.
    MaxUtilization,
}

/// How a TensorRT-LLM engine for several GPUs is driven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TrtllmMode {
    /// One process for each GPU, started by `mpirun`; the first one takes requests. Also the mode of one GPU.
    #[default]
    Leader,
    /// This process starts a worker for each GPU. Score distributions then need an engine that gathers its logits.
    Orchestrator,
}

/// Settings of the TensorRT-LLM engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrtllmConfig {
    /// Share of the GPU memory that is free once the engine is loaded, over 0 to 0.99, that the KV cache takes. Default 0.9.
    pub kv_memory_fraction: f32,
    /// Most tokens of the KV cache. 0, the default: as many as fit its share of the memory.
    pub kv_cache_tokens: u32,
    /// Bytes of host memory for blocks that have no room on the GPU, up to 16 TiB. Default 0.
    pub host_cache_bytes: u64,
    /// Whether blocks are shared between judgments whose prompts begin alike. Default true: the system prompt is computed
    /// once.
    pub block_reuse: bool,
    /// Judgments computed in one batch. 0, the default: what the engine was built for, which is the most.
    pub max_batch_size: u32,
    /// Tokens computed in one step. 0, the default: what the engine was built for, which is the most.
    pub max_batch_tokens: u32,
    /// Requests that wait inside the executor before it refuses more, up to 1000000. 0, the default, is no limit but
    /// `limits.max_queue`.
    pub max_queue: u32,
    /// Which judgments run when not all fit. Default `guaranteed_no_evict`.
    pub scheduler: TrtllmScheduler,
    /// Whether a long prompt is computed in several steps. Default true.
    pub chunked_context: bool,
    /// How several GPUs are driven. Default `leader`.
    pub mode: TrtllmMode,
    /// The vendor's `executorWorker` program: in orchestrator mode, and only there.
    pub worker_path: Option<PathBuf>,
    /// The GPUs to use, one for each rank, by their CUDA ids. Default: the first ones.
    pub device_ids: Vec<u32>,
    /// Milliseconds, 100 to 3600000, after which an executor that does not even answer a cancellation is given up as
    /// dead. Default 30000.
    pub unresponsive_ms: u64,
}

impl Default for TrtllmConfig {
    fn default() -> Self {
        Self {
            kv_memory_fraction: 0.9,
            kv_cache_tokens: 0,
            host_cache_bytes: 0,
            block_reuse: true,
            max_batch_size: 0,
            max_batch_tokens: 0,
            max_queue: 0,
            scheduler: TrtllmScheduler::default(),
            chunked_context: true,
            mode: TrtllmMode::default(),
            worker_path: None,
            device_ids: Vec::new(),
            unresponsive_ms: 30_000,
        }
    }
}

impl TrtllmConfig {
    fn check(&self) -> Result<()> {
        in_range("trtllm.kv_memory_fraction", self.kv_memory_fraction, f32::MIN_POSITIVE, 0.99)?;
        if self.kv_cache_tokens != 0 {
            in_range("trtllm.kv_cache_tokens", self.kv_cache_tokens, 64, 1 << 28)?;
        }
        in_range("trtllm.host_cache_bytes", self.host_cache_bytes, 0, 16 << 40)?;
        in_range("trtllm.max_batch_size", self.max_batch_size, 0, 1 << 16)?;
        in_range("trtllm.max_batch_tokens", self.max_batch_tokens, 0, 1 << 20)?;
        in_range("trtllm.max_queue", self.max_queue, 0, 1_000_000)?;
        in_range("trtllm.unresponsive_ms", self.unresponsive_ms, 100, 3_600_000)?;
        let wrong = |message: String| Err(Error::new(ErrorKind::InvalidConfig, message));
        for (place, id) in self.device_ids.iter().enumerate() {
            in_range("trtllm.device_ids", *id, 0, 1023)?;
            if self.device_ids[..place].contains(id) {
                return wrong(format!("trtllm.device_ids names GPU {id} twice"));
            }
        }
        match (self.mode, &self.worker_path) {
            (TrtllmMode::Orchestrator, None) => wrong(
                "trtllm.mode is orchestrator: set trtllm.worker_path to the vendor's executorWorker, which lies in the \
                 bin folder of its wheel"
                    .into(),
            ),
            (TrtllmMode::Leader, Some(path)) => wrong(format!(
                "trtllm.worker_path is {}, but trtllm.mode is leader, which starts no workers: take one of them out",
                path.display()
            )),
            _ => Ok(()),
        }
    }
}

/// What is done with an answer that is not a complete verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Incomplete {
    /// It is an error that carries what could be read.
    #[default]
    Error,
    /// A missing ranking is derived from complete scores (ties by expected score, then by given order) and listed among
    /// the repairs. Missing scores stay an error.
    DeriveRanking,
}

/// How strictly an answer is read. Whatever these allow is listed among the repairs of the verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VerdictPolicy {
    /// What an incomplete verdict is.
    pub incomplete: Incomplete,
    /// Whether a score off the scale is moved to the nearest end of it. Default false: it is an error.
    pub clamp: bool,
}

/// Everything that opens a judge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JudgeConfig {
    /// The model: a path to a `.gguf` file, or to a folder with a TensorRT-LLM engine. (The command line also takes `hf:owner/repo` and fetches it first.)
    pub model: String,
    /// The judge profile; by default the one beside the model, else the built-in one.
    pub profile: Option<PathBuf>,
    /// Options for every request of this judge.
    pub options: Options,
    /// How answers are read.
    pub verdict: VerdictPolicy,
    /// Bounds on requests.
    pub limits: Limits,
    /// Settings of the embedded engine.
    pub local: LocalConfig,
    /// Settings of the TensorRT-LLM engine.
    pub trtllm: TrtllmConfig,
}

impl JudgeConfig {
    /// The default configuration for a model.
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Reads a configuration from JSON and checks it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] naming the key, or the line and column.
    pub fn from_json(json: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(json).map_err(|error| {
            Error::new(ErrorKind::InvalidConfig, format!("the configuration is not valid: {error}"))
        })?;
        config.check()?;
        Ok(config)
    }

    /// Checks every setting. [`crate::Judge::open`] does this first.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] naming the key, the value and the range.
    pub fn check(&self) -> Result<()> {
        if self.model.is_empty() {
            return Err(Error::new(ErrorKind::InvalidConfig, "model is empty: name a model file"));
        }
        self.options.resolve().map_err(|error| error.context("options"))?;
        in_range("limits.max_responses", self.limits.max_responses, 1, MAX_RESPONSES)?;
        in_range("limits.max_request_bytes", self.limits.max_request_bytes, 1, 1 << 30)?;
        in_range("limits.max_queue", self.limits.max_queue, 1, 1_000_000)?;
        let local = &self.local;
        if local.context_tokens != 0 {
            in_range("local.context_tokens", local.context_tokens, 64, 1 << 20)?;
        }
        if local.kv_cache_tokens != 0 {
            in_range("local.kv_cache_tokens", local.kv_cache_tokens, 64, 1 << 24)?;
        }
        in_range("local.max_sequences", local.max_sequences, 1, 64)?;
        in_range("local.batch_tokens", local.batch_tokens, 32, 8192)?;
        in_range("local.prefill_chunk_tokens", local.prefill_chunk_tokens, 16, 8192)?;
        in_range("local.threads", local.threads, 0, 512)?;
        self.trtllm.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_tensorrt_llm_are_checked() {
        let read = |trtllm: &str| JudgeConfig::from_json(&format!("{{\"model\": \"engine\", \"trtllm\": {trtllm}}}"));
        let full = r#"{"kv_memory_fraction": 0.5, "host_cache_bytes": 1073741824, "scheduler": "max_utilization",
            "mode": "orchestrator", "worker_path": "/opt/executorWorker", "device_ids": [1, 0], "max_queue": 10}"#;
        assert_eq!(read(full).unwrap().trtllm.device_ids, [1, 0]);
        for (bad, word) in [
            (r#"{"kv_memory_fraction": 0}"#, "kv_memory_fraction"),
            (r#"{"kv_memory_fraction": 1.5}"#, "kv_memory_fraction"),
            (r#"{"host_cache_bytes": 99999999999999999}"#, "host_cache_bytes"),
            (r#"{"max_queue": 1000001}"#, "max_queue"),
            (r#"{"unresponsive_ms": 0}"#, "unresponsive_ms"),
            (r#"{"device_ids": [0, 1, 0]}"#, "GPU 0 twice"),
            (r#"{"mode": "orchestrator"}"#, "worker_path"),
            (r#"{"worker_path": "/opt/executorWorker"}"#, "leader"),
            (r#"{"scheduler": "static_batch"}"#, "static_batch"),
            (r#"{"gpu_fraction": 0.5}"#, "gpu_fraction"),
        ] {
            let error = read(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{bad}");
            assert!(error.message().contains(word), "{error}");
        }
    }
}
