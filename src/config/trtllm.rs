//! Settings of the TensorRT-LLM engine.

use std::path::PathBuf;

use super::local::Isolation;
use super::table::{Kind, above, settings, whole, words, zero_or};
use crate::error::{Error, ErrorKind, Result};

words! {
    /// Which judgments run when not all of them fit the KV cache of a TensorRT-LLM engine.
    pub enum TrtllmScheduler {
        /// A judgment starts once its whole output has room, and then runs to its end.
        #[default]
        GuaranteedNoEvict = "guaranteed_no_evict",
        /// As many as fit now; a judgment may be paused and computed again. Only without grammars (`options.guided` false),
        /// because the library restarts the grammar when it continues a paused judgment.
        MaxUtilization = "max_utilization",
    }
}

words! {
    /// How a TensorRT-LLM engine for several GPUs is driven.
    pub enum TrtllmMode {
        /// One process for each GPU, started by `mpirun`; the first one takes requests. Also the mode of one GPU.
        #[default]
        Leader = "leader",
        /// This process starts a worker for each GPU. Score distributions then take further
        /// short requests.
        Orchestrator = "orchestrator",
    }
}

settings! {
    /// Settings of the TensorRT-LLM engine.
    pub struct TrtllmConfig in "trtllm" {
        /// The share that the KV cache takes of the GPU memory that is free after loading.
        kv_memory_fraction: f32 = 0.9, above(0.0, 0.99);
        /// Most tokens of the KV cache. 0: as many as fit its share of the memory.
        kv_cache_tokens: u32 = 0, zero_or(64, 1 << 28);
        /// Bytes of host memory for blocks that have no room on the GPU.
        host_cache_bytes: u64 = 0, whole(0, 16 << 40);
        /// Share blocks between judgments whose prompts begin alike, so that the system prompt is computed once.
        block_reuse: bool = true, Kind::Switch;
        /// Most judgments computed in one batch. 0: the number that the engine was built for, which cannot be exceeded.
        max_batch_size: u32 = 0, whole(0, 1 << 16);
        /// Most tokens computed in one step. 0: the number that the engine was built for, which cannot be exceeded.
        max_batch_tokens: u32 = 0, whole(0, 1 << 20);
        /// Most requests that wait inside the executor; more are refused. 0: only `limits.max_queue` limits them.
        max_queue: u32 = 0, whole(0, 1_000_000);
        /// Which judgments run when not all of them fit.
        scheduler: TrtllmScheduler = TrtllmScheduler::GuaranteedNoEvict, Kind::Choice(TrtllmScheduler::WORDS);
        /// Compute a long prompt in several steps.
        chunked_context: bool = true, Kind::Switch;
        /// How several GPUs are driven.
        mode: TrtllmMode = TrtllmMode::Leader, Kind::Choice(TrtllmMode::WORDS);
        /// The vendor's `executorWorker` program. Required in orchestrator mode, refused in leader mode.
        worker_path: Option<PathBuf> = None, Kind::Path;
        /// The GPUs to use, one for each rank, by their CUDA ids. Default: the first ones.
        device_ids: Vec<u32> = Vec::new(), Kind::Wholes(1023);
        /// Milliseconds after which an executor that has work but computes no step counts as dead.
        unresponsive_ms: u64 = 30_000, whole(100, 3_600_000);
        /// Where the engine runs: in this process, or in a worker process whose death ends only the judgments in it.
        isolation: Isolation = Isolation::None, Kind::Choice(Isolation::WORDS);
        /// The program that runs as the worker process of an isolated engine, a `dicast` of the same version that was built with
        /// TensorRT-LLM. Not set: `dicast` beside the library or the program, in the `bin` folder next to that, or on the
        /// `PATH`.
        program_path: Option<PathBuf> = None, Kind::Path;
    }
}

impl TrtllmConfig {
    /// Whether the engine runs in a worker process.
    pub fn is_isolated(&self) -> bool {
        self.isolation == Isolation::Process
    }

    pub(super) fn check(&self) -> Result<()> {
        self.check_ranges()?;
        let wrong = |message: String| Err(Error::new(ErrorKind::InvalidConfig, message));
        for (place, id) in self.device_ids.iter().enumerate() {
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
