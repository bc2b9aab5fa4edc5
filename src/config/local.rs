//! Settings of the embedded engine.

use super::table::{Kind, settings, whole, zero_or};
use crate::error::Result;

settings! {
    /// Settings of the embedded engine.
    #[derive(Eq)]
    pub struct LocalConfig in "local" {
        /// Most tokens of one judgment, prompt and output together. 0: 8192, or what the model was trained for if that is
        /// less.
        context_tokens: u32 = 0, zero_or(64, 1 << 20);
        /// Judgments that are decoded in one batch. More wait in the queue.
        max_sequences: u32 = 8, whole(1, 64);
        /// Tokens of keys and values held for all judgments together. 0: four contexts.
        kv_cache_tokens: u32 = 0, zero_or(64, 1 << 24);
        /// Most prompt tokens computed in one step.
        batch_tokens: u32 = 512, whole(32, 8192);
        /// Most prompt tokens computed in one step while other judgments are decoding.
        prefill_chunk_tokens: u32 = 128, whole(16, 8192);
        /// Threads of the computation. 0: one for each physical core, fewer for a model of less than 32 MiB a thread.
        threads: u32 = 0, whole(0, 512);
        /// Layers put on the GPU, where this build has one. The default is all.
        gpu_layers: u32 = 10_000, whole(0, 4_294_967_295);
        /// Whether the weights are computed on where the file lies, mapped into memory. false: they are read into memory of
        /// the process, and the file may change.
        mmap: bool = true, Kind::Switch;
    }
}

impl LocalConfig {
    pub(super) fn check(&self) -> Result<()> {
        self.check_ranges()
    }
}
