// What the kernels of products share.
#ifndef DICAST_LLAMA_PRODUCTS_KERNELS_H
#define DICAST_LLAMA_PRODUCTS_KERNELS_H

#include <cstring>

#include "llama_products.h"

namespace dicast::products {

// Weights are asked for so many bytes before they are used. The processor reads ahead by itself, but not as far as
// memory is slow: with this, products of weights that are not in the cache take down to half of the time.
constexpr size_t AHEAD = size_t{16} << 10;

template <class Number>
Number read(const uint8_t *at) {
    Number number;
    std::memcpy(&number, at, sizeof number);
    return number;
}

// A quantized column: its bytes, the scales of its blocks, and two numbers for each block that correct the results.
struct Column {
    static size_t scale(int64_t width, int64_t block) { return static_cast<size_t>(width + 4 * block); }
    static size_t correction(int64_t width, int64_t block) {
        return static_cast<size_t>(width + 4 * (width / BLOCK) + 8 * block);
    }
};

// Writes the corrections of a block. `sums`: what the numbers of each half of it add up to.
inline void correct(Correction correction, uint8_t *column, int64_t width, int64_t block, float scale,
                    const int32_t (&sums)[2]) {
    const int32_t sum = sums[0] + sums[1];
    int32_t corrections[2] = {0, 0};
    switch (correction) {
        case Correction::NONE:
            break;
        case Correction::BY_128:
            corrections[0] = -128 * sum;
            break;
        case Correction::BY_8:
            corrections[0] = -8 * sum;
            break;
        case Correction::BY_32_IN_HALVES:
            corrections[0] = -32 * sums[0];
            corrections[1] = -32 * sums[1];
            break;
        case Correction::SUM: {
            const float scaled = scale * static_cast<float>(sum);
            std::memcpy(corrections, &scaled, sizeof scaled);
            break;
        }
    }
    std::memcpy(column + Column::correction(width, block), corrections, sizeof corrections);
}

// Formats that kernels compute: `count` of them.
struct Formats {
    const Format *all;
    size_t count;
    void (*quantize)(Correction correction, const float *from, uint8_t *column, int64_t width, int64_t first,
                     int64_t last);
};

// Those of the kernels for the instructions that the namespace is named after.
namespace avx2 {
extern const Formats known;
}
namespace avx512 {
extern const Formats known;
}

}  // namespace dicast::products

#endif
