// Matrix products with weights in Q8_0, on processors that multiply bytes in AVX-512 (VNNI).
//
// ggml's product in Q8_0 computes one result at a time: for 32 products it takes the sign of a weight, multiplies,
// widens, converts and scales. Here 16 rows of weights lie side by side, so that one instruction adds 64 products to 16
// results, and the scales are applied to 16 results at once: 12 instructions for 512 products instead of some 100. The
// weights are stored as they are read: in the order of use, with 128 added to each, because the instruction
// (VPDPBUSD, Intel's "Vector Multiply and Add Unsigned and Signed Bytes") wants one side without sign.
//
// A result depends on its row and its column alone, never on how many columns are computed together.
#ifndef DICAST_LLAMA_PRODUCTS_H
#define DICAST_LLAMA_PRODUCTS_H

#include <cstddef>
#include <cstdint>

namespace dicast::products {

// Weights in a block, which share a scale.
constexpr int64_t BLOCK = 32;
// Rows that lie side by side.
constexpr int64_t ROWS = 16;

// Whether this processor, and this build, has the instructions. Without them no other function may be called.
bool available();

// Bytes of a row of Q8_0.
constexpr size_t weight_row(int64_t width) { return static_cast<size_t>(width / BLOCK * 34); }

// Arranges `rows` rows of Q8_0 in `to`, which takes as many bytes. `rows` is a multiple of ROWS, `width` of BLOCK.
void pack(const void *from, void *to, int64_t rows, int64_t width);

// Bytes of a quantized column of `width` numbers.
constexpr size_t column_size(int64_t width) {
    return (static_cast<size_t>(width + 8 * (width / BLOCK)) + 63) / 64 * 64;
}

// Quantizes the blocks from `first` to `last` of a column: bytes, the scale of each block, and what the 128 that was
// added to the weights adds to the results of the block.
void quantize(const float *from, uint8_t *column, int64_t width, int64_t first, int64_t last);

// Multiplies 16 rows of packed weights by `count` quantized columns that follow each other. The results of a column are
// written at `to`, the next ones `stride` numbers later.
void multiply(const uint8_t *rows, int64_t width, const uint8_t *columns, int64_t count, float *to, size_t stride);

}  // namespace dicast::products

#endif
