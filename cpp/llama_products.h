// Matrix products with quantized weights, on processors that multiply bytes in AVX-512 (VNNI) or AVX2.
//
// ggml computes one result after the other: for some products it takes signs, multiplies, widens, converts and scales.
// Here 16 rows of weights lie side by side, so that one instruction (VPDPBUSD) adds 64 products to 16 results, and
// scales are applied to 16 results at once: about 12 instructions for 512 products. AVX2 takes two or three for 32
// products of eight rows. The instructions want one side without sign, so weights are stored with a number added that
// makes them so; what that adds to a result is known from the column alone.
//
// A result depends on its row and its column alone, never on how many columns are computed together.
#ifndef DICAST_LLAMA_PRODUCTS_H
#define DICAST_LLAMA_PRODUCTS_H

#include <cstddef>
#include <cstdint>

namespace dicast::products {

// Numbers of a column that share a scale.
constexpr int64_t BLOCK = 32;
// Rows that lie side by side.
constexpr int64_t ROWS = 16;

// What is kept of a column besides its numbers, to take back what was added to the weights of each block.
enum class Correction {
    // Nothing.
    NONE,
    // What the 128 that was added to the weights adds.
    BY_128,
    // The same for 8.
    BY_8,
    // The same for 32, for each half of the block.
    BY_32_IN_HALVES,
    // The sum of the block, for formats that have a number to add for each block.
    SUM,
};

// A format of weights.
struct Format {
    // The number of the type in GGUF.
    uint32_t type;
    // A row is a multiple of so many numbers.
    int64_t span;
    // Bytes of a span in a file, and of ROWS spans as they are packed.
    size_t file_bytes;
    size_t packed_bytes;
    Correction correction;
    // Packs ROWS rows of `spans` spans.
    void (*pack)(const uint8_t *from, uint8_t *to, int64_t spans);
    // Multiplies ROWS packed rows by quantized columns.
    using Tile = void (*)(const uint8_t *rows, int64_t width, const uint8_t *columns, float *to, size_t stride);
    // How many columns at most. Those of 1 to so many; that of so many, for rows that were read just before.
    int64_t together;
    const Tile *tiles;
    Tile again;

    // Bytes of ROWS packed rows.
    size_t group(int64_t width) const { return packed_bytes * static_cast<size_t>(width / span); }
};

// The format of a type, if it is known and this processor has the instructions; otherwise null.
const Format *find(uint32_t type);

// Arranges rows as they are in a file. Their number is a multiple of ROWS.
void pack(const Format &format, const void *from, void *to, int64_t rows, int64_t width);

// Bytes of a quantized column of `width` numbers.
constexpr size_t column_size(int64_t width) {
    return (static_cast<size_t>(width + 12 * (width / BLOCK)) + 63) / 64 * 64;
}

// Quantizes the blocks from `first` to `last` of a column: bytes, the scale of each block, and the corrections.
void quantize(Correction correction, const float *from, uint8_t *column, int64_t width, int64_t first, int64_t last);

// Multiplies ROWS packed rows by `count` quantized columns that follow each other. The results of a column are written
// at `to`, the next ones `stride` numbers later.
void multiply(const Format &format, const uint8_t *rows, int64_t width, const uint8_t *columns, int64_t count,
              float *to, size_t stride);

}  // namespace dicast::products

#endif
