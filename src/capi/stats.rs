//! What a judge is and has done, as plain structs.

use super::layout::Layout;

/// Properties of a judge. Set `struct_size` before the call, which writes the other fields.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dicast_info {
    /// sizeof(dicast_info).
    pub struct_size: usize,
    /// Most tokens of one judgment, prompt and output together; 0 if the engine does not say.
    pub context_tokens: u64,
    /// Judgments that are computed at once.
    pub max_sequences: u64,
    /// Most judgments that wait or run at once; the next one is DICAST_OVERLOADED.
    pub max_queue: u64,
    /// Most responses in one request.
    pub max_responses: u64,
    /// The worst score, such as 1.
    pub scale_min: u32,
    /// The best score, such as 5.
    pub scale_max: u32,
    /// 1 if the engine can force a verdict to follow a grammar, else 0.
    pub guided: u32,
    /// 1 if the engine returns the distribution at every score, from which expected scores are computed, else 0.
    pub distributions: u32,
}

// SAFETY: `repr(C)`, words and pairs of halves.
unsafe impl Layout for dicast_info {
    const FIRST_SIZE: usize = 56;
    const NAME: &'static str = "dicast_info";
}

/// How much memory opening a model in the embedded engine takes, in bytes: estimates, a few percent above measured values. Set
/// `struct_size` before the call, which writes the other fields.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dicast_memory {
    /// sizeof(dicast_memory).
    pub struct_size: usize,
    /// The weights. With `local.mmap`, the default, they are mapped from the file, and the system can take this memory back;
    /// not so those that `local.repack` arranges for the processor.
    pub weights: u64,
    /// Keys and values of all judgments together.
    pub kv_cache: u64,
    /// Buffers for computing a step, and all the rest.
    pub compute: u64,
    /// Number of tokens that `kv_cache` holds.
    pub kv_tokens: u64,
    /// Memory that this process can still take, limited by the machine and by its control groups; 0 if the system does not say.
    pub available: u64,
}

// SAFETY: `repr(C)`, words.
unsafe impl Layout for dicast_memory {
    const FIRST_SIZE: usize = 48;
    const NAME: &'static str = "dicast_memory";
}

/// Counters of a judge. Set `struct_size` before the call, which writes the other fields. All but `pending` are 0 once
/// the judge is closed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dicast_stats {
    /// sizeof(dicast_stats).
    pub struct_size: usize,
    /// Judgments that were submitted and have not ended.
    pub pending: u64,
    /// Judgments that wait for a place in the engine.
    pub waiting: u64,
    /// Judgments that are being computed.
    pub running: u64,
    /// Prompt tokens reused from earlier judgments, since the judge was opened.
    pub reused_tokens: u64,
    /// Tokens computed, of prompts and outputs together, wrong ones of drafts too, since the judge was opened.
    pub computed_tokens: u64,
    /// Batches computed, since the judge was opened.
    pub steps: u64,
    /// Tokens in one block of the KV cache.
    pub kv_block_tokens: u64,
    /// Blocks in the KV cache.
    pub kv_blocks: u64,
    /// Of these, blocks in use by running judgments.
    pub kv_blocks_used: u64,
    /// Blocks reused from earlier judgments, since the judge was opened.
    pub kv_blocks_reused: u64,
    /// Different grammars that a TensorRT-LLM executor got in the last hour; compiling each one delays a step.
    pub grammars_last_hour: u64,
    /// Tokens computed ahead as drafts (`local.draft_tokens`), since the judge was opened.
    pub drafted_tokens: u64,
    /// Of these, tokens that the judge chose, so that they needed no step of their own.
    pub accepted_tokens: u64,
}

// SAFETY: `repr(C)`, words.
unsafe impl Layout for dicast_stats {
    const FIRST_SIZE: usize = 88;
    const NAME: &'static str = "dicast_stats";
}

/// Tokens of one judgment. Set `struct_size` before the call, which writes the other fields.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dicast_usage {
    /// sizeof(dicast_usage).
    pub struct_size: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Of these, tokens that were reused from earlier judgments.
    pub reused_tokens: u64,
    /// Tokens of the reasoning, its opening and closing included.
    pub reasoning_tokens: u64,
    /// Tokens of the verdict.
    pub verdict_tokens: u64,
    /// Of these, tokens that the grammar forced.
    pub forced_tokens: u64,
}

// SAFETY: `repr(C)`, words.
unsafe impl Layout for dicast_usage {
    const FIRST_SIZE: usize = 48;
    const NAME: &'static str = "dicast_usage";
}

/// Where the time of one judgment went, in microseconds. Set `struct_size` before the call, which writes the other fields.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dicast_timing {
    /// sizeof(dicast_timing).
    pub struct_size: usize,
    /// From submission to the first computation.
    pub queue_us: u64,
    /// Computing the prompt.
    pub prefill_us: u64,
    /// Writing the reasoning.
    pub reasoning_us: u64,
    /// Writing the verdict.
    pub verdict_us: u64,
}

// SAFETY: `repr(C)`, words.
unsafe impl Layout for dicast_timing {
    const FIRST_SIZE: usize = 40;
    const NAME: &'static str = "dicast_timing";
}

/// A count for C.
pub(super) fn count(count: usize) -> u64 {
    count as u64
}
