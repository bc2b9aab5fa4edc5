//! What a judge is and has done, as plain structs.

use super::layout::Layout;

/// What a judge is. Set `struct_size` before the call; all else is written by it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dicast_info {
    /// sizeof(dicast_info).
    pub struct_size: usize,
    /// Most tokens of one judgment, prompt and output together; 0 where the engine does not tell.
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
    /// 1 where the engine can hold a verdict to a grammar, else 0.
    pub guided: u32,
    /// 1 where the engine gives the distribution at every score, and so expected scores, else 0.
    pub distributions: u32,
}

// SAFETY: `repr(C)`, words and pairs of halves.
unsafe impl Layout for dicast_info {
    const FIRST_SIZE: usize = 56;
    const NAME: &'static str = "dicast_info";
}

/// Counters of a judge. Set `struct_size` before the call; all else is written by it. All but `pending` are 0 once the
/// judge is closed.
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
    /// Prompt tokens taken over from what was computed before, since the judge was opened.
    pub reused_tokens: u64,
    /// Tokens computed, of prompts and outputs together, since the judge was opened.
    pub computed_tokens: u64,
    /// Batches computed, since the judge was opened.
    pub steps: u64,
    /// Tokens of one block of keys and values.
    pub kv_block_tokens: u64,
    /// Blocks of keys and values that there are.
    pub kv_blocks: u64,
    /// Of these, blocks that running judgments hold.
    pub kv_blocks_used: u64,
    /// Blocks taken over from earlier judgments instead of being computed, since the judge was opened.
    pub kv_blocks_reused: u64,
}

// SAFETY: `repr(C)`, words.
unsafe impl Layout for dicast_stats {
    const FIRST_SIZE: usize = 88;
    const NAME: &'static str = "dicast_stats";
}

/// Tokens of one judgment. Set `struct_size` before the call; all else is written by it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dicast_usage {
    /// sizeof(dicast_usage).
    pub struct_size: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Of these, tokens that had been computed before.
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

/// Where the time of one judgment went, in microseconds. Set `struct_size` before the call; all else is written by it.
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

/// A count as C gets it.
pub(super) fn count(count: usize) -> u64 {
    count as u64
}
