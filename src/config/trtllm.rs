//! Settings of the TensorRT-LLM engine.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::range::in_range;
use crate::error::{Error, ErrorKind, Result};

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
    pub(super) fn check(&self) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use crate::config::JudgeConfig;
    use crate::error::ErrorKind;

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
