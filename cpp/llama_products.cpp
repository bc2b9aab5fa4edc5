#include "llama_products.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define DICAST_HAS_PRODUCTS 1
#else
#define DICAST_HAS_PRODUCTS 0
#endif

#if DICAST_HAS_PRODUCTS

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the values that its own header leaves undefined on purpose for a mistake.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>

// The file is compiled for any processor; these functions run only where `available` says so.
#define DICAST_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

namespace dicast::products {

namespace {

// A block of Q8_0, as in ggml-common.h.
struct Block {
    uint16_t scale;
    uint8_t weights[BLOCK];
};
static_assert(sizeof(Block) == weight_row(BLOCK));

// 16 rows: for each block 8 x 16 x 4 weights, then the scales of all blocks, in half precision.
constexpr int64_t PACKED_WEIGHTS = ROWS * BLOCK;

template <class Number>
Number read(const uint8_t *at) {
    Number number;
    std::memcpy(&number, at, sizeof number);
    return number;
}

// So many columns that weights, results and sums stay in registers.
constexpr int64_t TILE = 8;

template <int COLUMNS>
DICAST_AVX512 void tile(const uint8_t *rows, int64_t width, const uint8_t *columns, float *to, size_t stride) {
    const int64_t blocks = width / BLOCK;
    const size_t column = column_size(width);
    const uint8_t *scales = rows + blocks * PACKED_WEIGHTS;
    __m512 results[COLUMNS];
    for (int j = 0; j < COLUMNS; j++) {
        results[j] = _mm512_setzero_ps();
    }
    for (int64_t block = 0; block < blocks; block++) {
        __m512i sums[COLUMNS];
        for (int j = 0; j < COLUMNS; j++) {
            const uint8_t *corrections = columns + j * column + width + 4 * blocks;
            sums[j] = _mm512_set1_epi32(read<int32_t>(corrections + 4 * block));
        }
        for (int part = 0; part < BLOCK / 4; part++) {
            const __m512i weights = _mm512_loadu_si512(rows + block * PACKED_WEIGHTS + part * 64);
            for (int j = 0; j < COLUMNS; j++) {
                const uint8_t *four = columns + j * column + block * BLOCK + 4 * part;
                sums[j] = _mm512_dpbusd_epi32(sums[j], weights, _mm512_set1_epi32(read<int32_t>(four)));
            }
        }
        const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(scales + block * 2 * ROWS));
        const __m512 scale = _mm512_cvtph_ps(halves);
        for (int j = 0; j < COLUMNS; j++) {
            const uint8_t *others = columns + j * column + width;
            const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(read<float>(others + 4 * block)));
            results[j] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[j]), both, results[j]);
        }
    }
    for (int j = 0; j < COLUMNS; j++) {
        _mm512_storeu_ps(to + j * stride, results[j]);
    }
}

using Tile = void (*)(const uint8_t *, int64_t, const uint8_t *, float *, size_t);
constexpr Tile tiles[TILE + 1] = {nullptr, tile<1>, tile<2>, tile<3>, tile<4>, tile<5>, tile<6>, tile<7>, tile<8>};

}  // namespace

bool available() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}

void pack(const void *from, void *to, int64_t rows, int64_t width) {
    const int64_t blocks = width / BLOCK;
    const uint8_t *in = static_cast<const uint8_t *>(from);
    uint8_t *out = static_cast<uint8_t *>(to);
    for (int64_t first = 0; first < rows; first += ROWS) {
        uint8_t *scales = out + blocks * PACKED_WEIGHTS;
        for (int64_t row = 0; row < ROWS; row++) {
            for (int64_t block = 0; block < blocks; block++) {
                const Block one = read<Block>(in);
                in += sizeof(Block);
                std::memcpy(scales + (block * ROWS + row) * 2, &one.scale, 2);
                for (int64_t part = 0; part < BLOCK / 4; part++) {
                    // Adds 128 to each of the four.
                    const uint32_t four = read<uint32_t>(one.weights + 4 * part) ^ 0x80808080U;
                    std::memcpy(out + block * PACKED_WEIGHTS + (part * ROWS + row) * 4, &four, 4);
                }
            }
        }
        out = scales + blocks * ROWS * 2;
    }
}

DICAST_AVX512 void quantize(const float *from, uint8_t *column, int64_t width, int64_t first, int64_t last) {
    uint8_t *scales = column + width;
    uint8_t *corrections = scales + 4 * (width / BLOCK);
    for (int64_t block = first; block < last; block++) {
        const __m512 low = _mm512_loadu_ps(from + block * BLOCK);
        const __m512 high = _mm512_loadu_ps(from + block * BLOCK + 16);
        // The maximum of two numbers passes over one that is none.
        const bool numbers = _mm512_cmp_ps_mask(low, high, _CMP_UNORD_Q) == 0;
        const float most = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high)));
        const bool finite = numbers && most <= FLT_MAX;
        const float scale = finite ? most / 127.0F : NAN;
        // Nothing is left of numbers whose inverse would not be finite.
        const __mmask16 kept = finite && most > 1e-30F ? 0xFFFF : 0;
        const __m512 inverse = _mm512_set1_ps(1.0F / scale);
        const __m512i low_steps = _mm512_maskz_cvtps_epi32(kept, _mm512_mul_ps(low, inverse));
        const __m512i high_steps = _mm512_maskz_cvtps_epi32(kept, _mm512_mul_ps(high, inverse));
        auto *bytes = reinterpret_cast<__m128i *>(column + block * BLOCK);
        _mm_storeu_si128(bytes, _mm512_cvtsepi32_epi8(low_steps));
        _mm_storeu_si128(bytes + 1, _mm512_cvtsepi32_epi8(high_steps));
        const int32_t correction = -128 * _mm512_reduce_add_epi32(_mm512_add_epi32(low_steps, high_steps));
        std::memcpy(scales + 4 * block, &scale, 4);
        std::memcpy(corrections + 4 * block, &correction, 4);
    }
}

void multiply(const uint8_t *rows, int64_t width, const uint8_t *columns, int64_t count, float *to, size_t stride) {
    for (int64_t at = 0; at < count; at += TILE) {
        const int64_t some = std::min(TILE, count - at);
        tiles[some](rows, width, columns + at * column_size(width), to + at * stride, stride);
    }
}

}  // namespace dicast::products

#else

namespace dicast::products {

bool available() { return false; }
void pack(const void *, void *, int64_t, int64_t) {}
void quantize(const float *, uint8_t *, int64_t, int64_t, int64_t) {}
void multiply(const uint8_t *, int64_t, const uint8_t *, int64_t, float *, size_t) {}

}  // namespace dicast::products

#endif
