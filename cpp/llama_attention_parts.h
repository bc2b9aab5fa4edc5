// How attention is cut into parts for threads.
#ifndef DICAST_LLAMA_ATTENTION_PARTS_H
#define DICAST_LLAMA_ATTENTION_PARTS_H

#include <algorithm>

#include "llama_attention.h"

namespace dicast::attention {

// Rows: a head of a token each. So many that their queries and results stay in the cache.
constexpr int64_t ROWS = 32;
// Heads of one token that are computed together, at most.
constexpr int64_t HEADS = 8;
// Heads of keys that a part computes one after the other. They lie side by side in a cell, and memory gives twice as
// much a second of 1 KiB here and there as of 256 bytes.
constexpr int64_t KEY_HEADS = 4;

// The tokens and heads of a part.
struct Part {
    int64_t first_key_head, key_heads;
    // Of the heads that share one of keys.
    int64_t first_head, heads;
    int64_t first_token, tokens;
    // The tokens and the number of heads of the group that the part belongs to.
    int64_t group_token, group_tokens, group_heads;
};

// How a problem is cut: into groups of heads and tokens, and, if there are too few of these for the threads, each group
// into parts. How a block of cells is computed, which shows in the last bits, is decided for the group, so that the
// results do not depend on the number of threads.
struct Cut {
    // Of a whole group, and of a part.
    int64_t heads, tokens;
    int64_t part_heads, part_tokens;
    int64_t head_groups, token_groups;
    // Of a group.
    int64_t head_parts, token_parts;
    // Of a part.
    int64_t key_heads;
    int64_t key_head_parts;

    int64_t parts_of_group() const { return head_parts * token_parts; }
    int64_t parts_of_key_heads() const { return head_groups * token_groups * parts_of_group(); }
    int64_t parts() const { return key_head_parts * parts_of_key_heads(); }
};

// Computes a part, with heads of one size.
struct Kernel {
    int64_t size;
    // Bytes of memory in which it computes.
    size_t scratch;
    void (*compute)(const Problem &, const Part &, void *scratch);
};

// The kernel for this size, compiled for the instructions that the namespace is named after; null if there is none.
namespace avx2 {
const Kernel *find(int64_t size);
}
namespace avx512 {
const Kernel *find(int64_t size);
}

inline int64_t quotient(int64_t number, int64_t divisor) { return (number + divisor - 1) / divisor; }

inline Cut cut(const Problem &problem, int64_t threads) {
    const int64_t sharing = problem.heads / problem.key_heads;
    const int64_t heads = std::min(sharing, HEADS);
    const int64_t tokens = std::min(ROWS / heads, problem.tokens);
    const int64_t key_heads = std::min(problem.key_heads, KEY_HEADS);
    Cut cut{heads,
            tokens,
            heads,
            tokens,
            quotient(sharing, heads),
            quotient(problem.tokens, tokens),
            1,
            1,
            key_heads,
            quotient(problem.key_heads, key_heads)};
    // Two parts a thread: one that is late does not keep all others waiting.
    const auto few = [&](int64_t enough) { return threads > 1 && cut.parts() < enough * threads; };
    while (few(2) && cut.key_heads > 1) {
        cut.key_heads = quotient(cut.key_heads, 2);
        cut.key_head_parts = quotient(problem.key_heads, cut.key_heads);
    }
    while (few(2) && cut.part_tokens > 1) {
        cut.part_tokens = quotient(cut.part_tokens, 2);
        cut.token_parts = quotient(tokens, cut.part_tokens);
    }
    while (few(1) && cut.part_heads > 1) {
        cut.part_heads = quotient(cut.part_heads, 2);
        cut.head_parts = quotient(heads, cut.part_heads);
    }
    return cut;
}

// The query and the result of a row.
struct Place {
    int64_t token, head;
};

inline Place place(const Problem &problem, const Part &part, int64_t key_head, int64_t row) {
    const int64_t sharing = problem.heads / problem.key_heads;
    return {part.first_token + row / part.heads,
            (part.first_key_head + key_head) * sharing + part.first_head + row % part.heads};
}

}  // namespace dicast::attention

#endif
