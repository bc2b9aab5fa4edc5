//! Settings of the embedded engine.

use serde::{Deserialize, Serialize};

use super::range::in_range;
use crate::error::Result;

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

impl LocalConfig {
    pub(super) fn check(&self) -> Result<()> {
        if self.context_tokens != 0 {
            in_range("local.context_tokens", self.context_tokens, 64, 1 << 20)?;
        }
        if self.kv_cache_tokens != 0 {
            in_range("local.kv_cache_tokens", self.kv_cache_tokens, 64, 1 << 24)?;
        }
        in_range("local.max_sequences", self.max_sequences, 1, 64)?;
        in_range("local.batch_tokens", self.batch_tokens, 32, 8192)?;
        in_range("local.prefill_chunk_tokens", self.prefill_chunk_tokens, 16, 8192)?;
        in_range("local.threads", self.threads, 0, 512)?;
        Ok(())
    }
}
