//! Settings of the embedded engine.

use std::path::PathBuf;

use super::table::{Kind, settings, whole, words, zero_or};
use crate::error::{Error, ErrorKind, Result};

words! {
    /// Where the embedded engine runs.
    pub enum Isolation {
        /// In this process. A fault of llama.cpp ends the process.
        #[default]
        None = "none",
        /// In a worker process, which is started again when it dies.
        Process = "process",
    }
}

settings! {
    /// Settings of the embedded engine.
    #[derive(Eq)]
    pub struct LocalConfig in "local" {
        /// Most tokens of one judgment, prompt and output together. 0: 8192, or what the model was trained for if that is
        /// less.
        context_tokens: u32 = 0, zero_or(64, 1 << 20);
        /// Most judgments that are decoded at once. More wait in the queue.
        max_sequences: u32 = 8, whole(1, 64);
        /// Tokens of keys and values held for all judgments together. 0: four contexts, or one for each lane of a small model.
        kv_cache_tokens: u32 = 0, zero_or(64, 1 << 24);
        /// Most prompt tokens computed in one step.
        batch_tokens: u32 = 512, whole(32, 8192);
        /// Most prompt tokens computed in one step while other judgments are decoding.
        prefill_chunk_tokens: u32 = 128, whole(16, 8192);
        /// Number of compute threads. 0: one for each physical core. A model with less than 32 MiB per thread splits them into
        /// lanes, which compute several judgments side by side.
        threads: u32 = 0, whole(0, 512);
        /// Number of layers on the GPU, if this build supports one. The default is all.
        gpu_layers: u32 = 10_000, whole(0, 4_294_967_295);
        /// Map the weights from the file instead of copying them. false: they are read into the memory of the process, and
        /// the file may change afterwards.
        mmap: bool = true, Kind::Switch;
        /// Arrange the weights for this processor when they are loaded, where that is known and the memory suffices: judgments
        /// are faster, and the weights take memory of this process. false: they are computed as they lie in the file.
        repack: bool = true, Kind::Switch;
        /// Most tokens of a draft: where a judge that reasons has begun to quote the prompt or itself, what followed there is
        /// computed ahead, in the same step, and kept as far as the judge chooses it. 0: no drafts. Pays where one judgment of
        /// a larger model is in flight, or few. Not with `deterministic`.
        draft_tokens: u32 = 0, whole(0, 7);
        /// A request gives the same bits whatever is judged before it or at the same time. Costs time: a lane computes one
        /// judgment at a time, and each computes its whole prompt.
        deterministic: bool = false, Kind::Switch;
        /// A folder for what is computed of the beginnings of prompts, so that it is read after a restart instead of being
        /// computed again. Not set: none. Not with `deterministic`.
        prefix_dir: Option<PathBuf> = None, Kind::Path;
        /// Most bytes of the files in `prefix_dir`. Those used longest ago are removed.
        prefix_dir_bytes: u64 = 4 << 30, whole(1 << 20, 16 << 40);
        /// Where the engine runs: in this process, or in a worker process whose death ends only the judgments in it. Not
        /// set: in this process, but the program `dicast` uses `process` for its own judgments.
        isolation: Option<Isolation> = None, Kind::Choice(Isolation::WORDS);
        /// The program that runs as the worker process, a `dicast` of the same version. Not set: `dicast` beside the library or
        /// the program, in the `bin` folder next to that, or on the `PATH`.
        worker_path: Option<PathBuf> = None, Kind::Path;
        /// Milliseconds after which a worker process that does not answer is ended and started again.
        unresponsive_ms: u64 = 30_000, whole(100, 3_600_000);
    }
}

impl LocalConfig {
    /// Whether the engine runs in a worker process.
    pub fn is_isolated(&self) -> bool {
        self.isolation == Some(Isolation::Process)
    }

    pub(super) fn check(&self) -> Result<()> {
        self.check_ranges()?;
        let is_empty = |path: &Option<PathBuf>| path.as_ref().is_some_and(|path| path.as_os_str().is_empty());
        let invalid = |message: &str| Err(Error::new(ErrorKind::InvalidConfig, message));
        if is_empty(&self.worker_path) {
            return invalid("local.worker_path is empty: name a dicast program, or leave it out");
        }
        if is_empty(&self.prefix_dir) {
            return invalid("local.prefix_dir is empty: name a folder, or leave it out");
        }
        if self.deterministic && self.prefix_dir.is_some() {
            return invalid(
                "local.deterministic computes every prompt whole, so that nothing in local.prefix_dir can be used: leave one of \
                 the two out",
            );
        }
        if self.deterministic && self.draft_tokens > 0 {
            return invalid(
                "local.deterministic computes each token by itself, but local.draft_tokens several together: leave one of the \
                 two out",
            );
        }
        Ok(())
    }
}
