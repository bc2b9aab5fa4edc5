// VPMADDUBSW multiplies bytes without sign by bytes with sign, and adds up pairs in 16 bits; VPMADDWD adds up pairs of
// these in 32. Small weights leave room for several pairs in 16 bits, so that the second is rarely needed.
#include "llama_cpu.h"

#if DICAST_KERNELS

#include <cfloat>
#include <cmath>
#include <iterator>

#include "llama_avx2.h"
#include "llama_formats.h"
#include "llama_products_kernels.h"

namespace dicast::products::avx2 {

namespace {

using namespace dicast::avx2;

#if defined(__clang__)
#define DICAST_UNROLL _Pragma("unroll")
#else
#define DICAST_UNROLL _Pragma("GCC unroll 8")
#endif

// So many columns that weights, results and sums stay in registers.
constexpr int64_t TILE = 4;
// The rows of a group are computed in halves of eight.
constexpr int HALVES = ROWS / LANES;
static_assert(HALVES == 2, "a part of 64 bytes is two registers");

DICAST_CODE inline __m256i bytes_at(const uint8_t *at) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(at));
}

DICAST_CODE inline __m256 halves(const uint8_t *at, int half) { return widen(at + half * 2 * LANES); }

DICAST_CODE inline __m256 bytes(const uint8_t *at, int half) {
    const __m128i some = _mm_loadl_epi64(reinterpret_cast<const __m128i *>(at + half * LANES));
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(some));
}

DICAST_CODE inline __m256 signed_bytes(const uint8_t *at, int half) {
    const __m128i some = _mm_loadl_epi64(reinterpret_cast<const __m128i *>(at + half * LANES));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(some));
}

// The weights of half of the rows at the places 4 part .. 4 part + 3 of a block.
DICAST_CODE inline __m256i nibbles(const uint8_t *low, int part, int half) {
    const __m256i both = bytes_at(low + part % 4 * 64 + half * 32);
    return _mm256_and_si256(part < 4 ? both : _mm256_srli_epi16(both, 4), _mm256_set1_epi8(0x0F));
}

// Adds bits that were moved to their places.
DICAST_CODE inline __m256i with_bits(__m256i low, __m256i moved, char mask) {
    return _mm256_or_si256(low, _mm256_and_si256(moved, _mm256_set1_epi8(mask)));
}

// The sums of pairs of products, in 16 bits.
DICAST_CODE inline __m256i pairs(__m256i weights, __m256i column) { return _mm256_maddubs_epi16(weights, column); }

// Of each format: SCALES, how many scales a block has, for as many parts of it; whether it has MINIMA; TOGETHER, of how
// many parts the sums of pairs fit 16 bits; the weights of a part of a block; what they give with a column; the scale
// of a `section`, which is what shares a scale.

// The scales of Q8_0 and Q4_0.
template <class Layout>
struct WithScales : Layout {
    static constexpr int SCALES = 1;
    static constexpr bool MINIMA = false;
    DICAST_CODE static __m256 scale(const uint8_t *rows, int64_t blocks, int64_t block, int /*section*/, int half) {
        return halves(rows + blocks * Layout::WEIGHTS + block * 2 * ROWS, half);
    }
};

struct Q8_0 : WithScales<packed::Q8_0> {
    // 2 * 128 * 127 = 32,512, of 32,767.
    static constexpr int TOGETHER = 1;
    DICAST_CODE static __m256i part(const uint8_t *rows, int64_t block, int part, int half) {
        // Takes away the 128 that was added.
        return _mm256_xor_si256(bytes_at(rows + block * WEIGHTS + part * 64 + half * 32), _mm256_set1_epi8(-128));
    }
    DICAST_CODE static __m256i times(__m256i weights, __m256i column) {
        return pairs(_mm256_abs_epi8(weights), _mm256_sign_epi8(column, weights));
    }
};

struct Q4_0 : WithScales<packed::Q4_0> {
    // 2 * 15 * 127 * 4 = 15,240.
    static constexpr int TOGETHER = 4;
    DICAST_CODE static __m256i part(const uint8_t *rows, int64_t block, int part, int half) {
        return nibbles(rows + block * WEIGHTS, part, half);
    }
    DICAST_CODE static __m256i times(__m256i weights, __m256i column) { return pairs(weights, column); }
};

// The scales and minima of Q4_K and Q5_K.
template <class Layout>
struct WithMinima : Layout {
    static constexpr int SCALES = 1;
    static constexpr bool MINIMA = true;
    static const uint8_t *span(const uint8_t *rows, int64_t block) { return rows + block / 8 * Layout::PACKED; }
    DICAST_CODE static __m256 scale(const uint8_t *rows, int64_t /*blocks*/, int64_t block, int /*section*/, int half) {
        const uint8_t *at = span(rows, block);
        return _mm256_mul_ps(halves(at + Layout::FACTORS_AT, half),
                             bytes(at + Layout::SCALES_AT + block % 8 * 2 * ROWS, half));
    }
    DICAST_CODE static __m256 minimum(const uint8_t *rows, int64_t block, int half) {
        const uint8_t *at = span(rows, block);
        return _mm256_mul_ps(halves(at + Layout::FACTORS_AT + 2 * ROWS, half),
                             bytes(at + Layout::SCALES_AT + block % 8 * 2 * ROWS + ROWS, half));
    }
    DICAST_CODE static __m256i times(__m256i weights, __m256i column) { return pairs(weights, column); }
};

struct Q4_K : WithMinima<packed::Q4_K> {
    static constexpr int TOGETHER = 4;
    DICAST_CODE static __m256i part(const uint8_t *rows, int64_t block, int part, int half) {
        return nibbles(span(rows, block) + block % 8 * LOW, part, half);
    }
};

struct Q5_K : WithMinima<packed::Q5_K> {
    // 2 * 31 * 127 * 4 = 31,496.
    static constexpr int TOGETHER = 4;
    DICAST_CODE static __m256i part(const uint8_t *rows, int64_t block, int part, int half) {
        const uint8_t *at = span(rows, block);
        const __m256i fifth = bytes_at(at + HIGH_AT + block % 8 * 64 + half * 32);
        const __m256i moved = part < 4 ? _mm256_slli_epi16(fifth, 4 - part) : _mm256_srli_epi16(fifth, part - 4);
        return with_bits(nibbles(at + block % 8 * LOW, part, half), moved, 0x10);
    }
};

struct Q6_K : packed::Q6_K {
    static constexpr int SCALES = 2;
    static constexpr bool MINIMA = false;
    // 2 * 63 * 127 * 2 = 32,004.
    static constexpr int TOGETHER = 2;
    static const uint8_t *span(const uint8_t *rows, int64_t block) { return rows + block / 8 * PACKED; }
    DICAST_CODE static __m256i part(const uint8_t *rows, int64_t block, int part, int half) {
        const uint8_t *at = span(rows, block);
        const __m256i upper = bytes_at(at + HIGH_AT + block % 8 * 128 + part / 4 * 64 + half * 32);
        const int shift = 4 - 2 * (part % 4);
        const __m256i moved = shift >= 0 ? _mm256_slli_epi16(upper, shift) : _mm256_srli_epi16(upper, -shift);
        return with_bits(nibbles(at + block % 8 * LOW, part, half), moved, 0x30);
    }
    DICAST_CODE static __m256 scale(const uint8_t *rows, int64_t /*blocks*/, int64_t block, int section, int half) {
        const uint8_t *at = span(rows, block);
        return _mm256_mul_ps(halves(at + FACTORS_AT, half),
                             signed_bytes(at + SCALES_AT + (block % 8 * 2 + section) * ROWS, half));
    }
    DICAST_CODE static __m256i times(__m256i weights, __m256i column) { return pairs(weights, column); }
};

// What COUNT halves of the rows give, from the half `first` on. `FIRST`: the rows were not read before.
template <class Weights, int COLUMNS, int COUNT, bool FIRST>
DICAST_CODE inline void add_up(const uint8_t *rows, int64_t width, const uint8_t *columns, float *to, size_t stride,
                               int first) {
    constexpr int PARTS = BLOCK / 4 / Weights::SCALES;
    constexpr int TOGETHER = Weights::TOGETHER;
    constexpr size_t BYTES = Weights::PACKED * BLOCK / Weights::SPAN;
    // For the first cache, or for the second: if there are many columns, then the first is theirs.
    constexpr int CACHE = COLUMNS <= 2 ? 3 : 2;
    const int64_t blocks = width / BLOCK;
    const size_t column = column_size(width);
    __m256 results[COUNT][COLUMNS];
    for (int i = 0; i < COUNT; i++) {
        for (int j = 0; j < COLUMNS; j++) {
            results[i][j] = _mm256_setzero_ps();
        }
    }
    for (int64_t block = 0; block < blocks; block++) {
        if constexpr (FIRST) {
            // What follows the last row is not read, and need not exist.
            for (size_t at = 0; at < BYTES; at += LINE) {
                __builtin_prefetch(rows + block * BYTES + AHEAD + at, 0, CACHE);
            }
        }
        DICAST_UNROLL
        for (int section = 0; section < Weights::SCALES; section++) {
            __m256i sums[COUNT][COLUMNS];
            for (int i = 0; i < COUNT; i++) {
                for (int j = 0; j < COLUMNS; j++) {
                    const uint8_t *correction = columns + j * column + Column::correction(width, block) + 4 * section;
                    sums[i][j] =
                        Weights::MINIMA ? _mm256_setzero_si256() : _mm256_set1_epi32(read<int32_t>(correction));
                }
            }
            DICAST_UNROLL
            for (int part = section * PARTS; part < (section + 1) * PARTS; part += TOGETHER) {
                for (int i = 0; i < COUNT; i++) {
                    __m256i weights[TOGETHER];
                    for (int one = 0; one < TOGETHER; one++) {
                        weights[one] = Weights::part(rows, block, part + one, first + i);
                    }
                    for (int j = 0; j < COLUMNS; j++) {
                        const uint8_t *fours = columns + j * column + block * BLOCK + 4 * part;
                        __m256i some = Weights::times(weights[0], _mm256_set1_epi32(read<int32_t>(fours)));
                        for (int one = 1; one < TOGETHER; one++) {
                            const __m256i four = _mm256_set1_epi32(read<int32_t>(fours + 4 * one));
                            some = _mm256_add_epi16(some, Weights::times(weights[one], four));
                        }
                        sums[i][j] = _mm256_add_epi32(sums[i][j], _mm256_madd_epi16(some, _mm256_set1_epi16(1)));
                    }
                }
            }
            for (int i = 0; i < COUNT; i++) {
                const __m256 scale = Weights::scale(rows, blocks, block, section, first + i);
                for (int j = 0; j < COLUMNS; j++) {
                    const float by = read<float>(columns + j * column + Column::scale(width, block));
                    const __m256 both = _mm256_mul_ps(scale, _mm256_set1_ps(by));
                    results[i][j] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[i][j]), both, results[i][j]);
                }
            }
        }
        if constexpr (Weights::MINIMA) {
            for (int i = 0; i < COUNT; i++) {
                const __m256 minimum = Weights::minimum(rows, block, first + i);
                for (int j = 0; j < COLUMNS; j++) {
                    const float sum = read<float>(columns + j * column + Column::correction(width, block));
                    results[i][j] = _mm256_fnmadd_ps(minimum, _mm256_set1_ps(sum), results[i][j]);
                }
            }
        }
    }
    for (int i = 0; i < COUNT; i++) {
        for (int j = 0; j < COLUMNS; j++) {
            _mm256_storeu_ps(to + j * stride + (first + i) * LANES, results[i][j]);
        }
    }
}

// Of more columns than one or two, the results of both halves would not stay in registers: one half is computed after
// the other, and finds its weights in the cache.
template <class Weights, int COLUMNS, bool FIRST>
DICAST_CODE void tile(const uint8_t *rows, int64_t width, const uint8_t *columns, float *to, size_t stride) {
    if constexpr (COLUMNS <= 2) {
        add_up<Weights, COLUMNS, HALVES, FIRST>(rows, width, columns, to, stride, 0);
    } else {
        add_up<Weights, COLUMNS, 1, FIRST>(rows, width, columns, to, stride, 0);
        add_up<Weights, COLUMNS, 1, false>(rows, width, columns, to, stride, 1);
    }
}

using Tile = Format::Tile;

template <class W>
constexpr Tile tiles[TILE] = {tile<W, 1, true>, tile<W, 2, true>, tile<W, 3, true>, tile<W, 4, true>};

template <class W>
constexpr Format format(Correction correction) {
    return {W::TYPE, W::SPAN, W::FILE, W::PACKED, correction, W::pack, TILE, tiles<W>, tile<W, TILE, false>};
}

constexpr Format formats[] = {
    format<Q4_0>(Correction::BY_8),
    format<Q8_0>(Correction::NONE),
    format<Q4_K>(Correction::SUM),
    format<Q5_K>(Correction::SUM),
    format<Q6_K>(Correction::BY_32_IN_HALVES),
};

DICAST_CODE void quantize(Correction correction, const float *from, uint8_t *column, int64_t width, int64_t first,
                          int64_t last) {
    constexpr int REGISTERS = BLOCK / LANES;
    for (int64_t block = first; block < last; block++) {
        __m256 numbers[REGISTERS];
        __m256 most = _mm256_setzero_ps();
        __m256 ordered = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
        for (int i = 0; i < REGISTERS; i++) {
            numbers[i] = _mm256_loadu_ps(from + block * BLOCK + i * LANES);
            // The maximum of two numbers passes over one that is none.
            ordered = _mm256_and_ps(ordered, _mm256_cmp_ps(numbers[i], numbers[i], _CMP_ORD_Q));
            most = _mm256_max_ps(most, _mm256_andnot_ps(_mm256_set1_ps(-0.0F), numbers[i]));
        }
        const float peak = largest(most);
        const bool finite = _mm256_movemask_ps(ordered) == 0xFF && peak <= FLT_MAX;
        const float scale = finite ? peak / 127.0F : NAN;
        std::memcpy(column + Column::scale(width, block), &scale, 4);
        // Nothing is left of numbers whose inverse would not be finite.
        const __m256i kept = _mm256_set1_epi32(finite && peak > 1e-30F ? -1 : 0);
        const __m256 inverse = _mm256_set1_ps(1.0F / scale);
        __m256i steps[REGISTERS];
        for (int i = 0; i < REGISTERS; i++) {
            steps[i] = _mm256_and_si256(_mm256_cvtps_epi32(_mm256_mul_ps(numbers[i], inverse)), kept);
        }
        const __m256i low = _mm256_packs_epi32(steps[0], steps[1]);
        const __m256i high = _mm256_packs_epi32(steps[2], steps[3]);
        // Packed twice, the fours lie as 0, 2, 4, 6, 1, 3, 5, 7.
        const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        const __m256i packed = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(column + block * BLOCK), packed);

        // Sums of eights, in 64 bits, then of the halves of the block.
        const __m256i ones = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), packed), _mm256_set1_epi16(1));
        const __m256i pairs_of_fours = _mm256_add_epi32(ones, _mm256_srli_epi64(ones, 32));
        const __m256i halves_of_block = _mm256_add_epi32(pairs_of_fours, _mm256_srli_si256(pairs_of_fours, 8));
        const int32_t sums[2] = {_mm256_extract_epi32(halves_of_block, 0), _mm256_extract_epi32(halves_of_block, 4)};
        correct(correction, column, width, block, scale, sums);
    }
}

}  // namespace

const Formats known = {formats, std::size(formats), quantize};

}  // namespace dicast::products::avx2

#endif
