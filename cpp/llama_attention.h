// Attention over the keys and values of many judgments, on processors with AVX-512 or AVX2.
//
// The cells of all judgments lie in one pool, and a mask says which of them a token sees. ggml looks at each cell for
// each head of each token, and adds up its values in half precision. Here the tokens of a step that see the same cells,
// and the heads that share keys, are computed together: a block of 64 cells is read once for all of them, and passed
// over if none of them sees it. Everything is summed in single precision.
#ifndef DICAST_LLAMA_ATTENTION_H
#define DICAST_LLAMA_ATTENTION_H

#include <cstddef>
#include <cstdint>

namespace dicast::attention {

// The number of cells is a multiple of this.
constexpr int64_t CELLS = 64;

// Numbers in half precision are held as uint16_t; strides are in bytes.
struct Problem {
    // Numbers of a head.
    int64_t size;
    int64_t tokens;
    int64_t heads;
    // Heads of the keys: each is shared by heads / key_heads heads that follow each other.
    int64_t key_heads;
    int64_t cells;
    // Factor of the product of a query and a key.
    float scale;
    // Single precision.
    const char *queries;
    size_t query_token, query_head;
    // Half precision.
    const char *keys;
    size_t key_cell, key_head;
    const char *values;
    size_t value_cell, value_head;
    // Half precision, for each token and cell: what is added to the score; minus infinity hides the cell.
    const char *mask;
    size_t mask_token;
    // Single precision: the heads of a token follow each other.
    float *results;
};

// Whether this processor, and this build, can compute it, and heads of this size are known.
bool available(int64_t size);

// The parts that a problem falls into, for `threads` threads. Parts can be computed in any order and at the same time.
int64_t parts(const Problem &problem, int64_t threads);

// Bytes of memory in which a thread computes, to be aligned to 64.
size_t scratch(int64_t size);

// Computes one part of `parts(problem, threads)`.
void compute(const Problem &problem, int64_t threads, int64_t part, void *scratch);

}  // namespace dicast::attention

#endif
