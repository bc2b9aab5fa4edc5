/* What a judge is and has done, as plain structs. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_INFO_HPP
#define DICAST_INFO_HPP

#include <cstdint>

#include "status.hpp"

namespace dicast {

/** Properties of a judge. */
struct Info {
    /** Most tokens of one judgment, prompt and output together. */
    std::uint64_t context_tokens;
    /** Judgments that are computed at once. */
    std::uint64_t max_sequences;
    /** Most judgments that wait or run at once; the next one is Status::overloaded. */
    std::uint64_t max_queue;
    /** Most responses in one request. */
    std::uint64_t max_responses;
    /** The worst score, such as 1. */
    std::uint32_t scale_min;
    /** The best score, such as 5. */
    std::uint32_t scale_max;
    /** Whether the engine can force a verdict to follow a grammar. */
    bool guided;
    /** Whether the engine returns the distribution at every score, from which expected scores are computed. */
    bool distributions;
};

/** How much memory opening a model in the embedded engine takes, in bytes: estimates, a few percent above measured
 * values. */
struct MemoryNeed {
    /** The weights. With `local.mmap`, the default, they are mapped from the file, and the system can take this memory
     * back; not so those that `local.repack` arranges for the processor. */
    std::uint64_t weights;
    /** Keys and values of all judgments together. */
    std::uint64_t kv_cache;
    /** Buffers for computing a step, and all the rest. */
    std::uint64_t compute;
    /** Number of tokens that the keys and values are for. */
    std::uint64_t kv_tokens;
    /** Memory that this process can still take, limited by the machine and by its control groups; 0 if the system does
     * not say. */
    std::uint64_t available;
};

/** How many tokens a request takes. */
struct TokenCount {
    /** Tokens of the prompt; of the longest one, if the judgment has several runs. */
    std::uint64_t prompt_tokens;
    /** Tokens of the prompts of all runs. */
    std::uint64_t all_prompt_tokens;
    /** Tokens at the start of each prompt that all prompts of this judge have in common. */
    std::uint64_t shared_tokens;
    /** Most tokens that a run may write, reasoning and verdict together. */
    std::uint64_t output_tokens;
    /** Tokens of prompt and output together that the context holds; 0 if the engine does not say. */
    std::uint64_t context_tokens;
    /** Number of generations for the judgment: 1, or more for an ensemble, a rubric or blocks. */
    std::uint64_t runs;
    /** Whether prompt and output fit the context; also true if that is not known. */
    bool fits;
    /** Whether the engine itself says how much may be written; otherwise it is an estimate. */
    bool exact;
};

/** Counters of a judge. All but `pending` are 0 once it is closed. */
struct Stats {
    /** Judgments that were submitted and have not ended. */
    std::uint64_t pending;
    /** Judgments that wait for a place in the engine. */
    std::uint64_t waiting;
    /** Judgments that are being computed. */
    std::uint64_t running;
    /** Prompt tokens reused from earlier judgments, since the judge was opened. */
    std::uint64_t reused_tokens;
    /** Tokens computed, of prompts and outputs together, wrong ones of drafts too, since the judge was opened. */
    std::uint64_t computed_tokens;
    /** Batches computed, since the judge was opened. */
    std::uint64_t steps;
    /** Tokens in one block of the KV cache. */
    std::uint64_t kv_block_tokens;
    /** Blocks in the KV cache. */
    std::uint64_t kv_blocks;
    /** Of these, blocks in use by running judgments. */
    std::uint64_t kv_blocks_used;
    /** Blocks reused from earlier judgments, since the judge was opened. */
    std::uint64_t kv_blocks_reused;
    /** Different grammars that a TensorRT-LLM executor got in the last hour; compiling each one delays a step. */
    std::uint64_t grammars_last_hour;
    /** Tokens computed ahead as drafts (`local.draft_tokens`), since the judge was opened. */
    std::uint64_t drafted_tokens;
    /** Of these, tokens that the judge chose, so that they needed no step of their own. */
    std::uint64_t accepted_tokens;
};

}  // namespace dicast

#endif  // DICAST_INFO_HPP
