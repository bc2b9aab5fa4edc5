#include "llama_cpu.h"

#if DICAST_KERNELS

#include <cfloat>
#include <cmath>
#include <iterator>

#include "llama_avx512.h"
#include "llama_formats.h"
#include "llama_products_kernels.h"

namespace dicast::products::avx512 {

namespace {

using namespace dicast::avx512;

// So many columns that weights, results and sums stay in registers.
constexpr int64_t TILE = 8;

DICAST_CODE inline __m512 halves(const uint8_t *at) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(at)));
}

DICAST_CODE inline __m512 bytes(const uint8_t *at) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(at))));
}

DICAST_CODE inline __m512 signed_bytes(const uint8_t *at) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(at))));
}

// The weights of ROWS rows at the places 4 part .. 4 part + 3 of a block.
DICAST_CODE inline __m512i nibbles(const uint8_t *low, int part) {
    const __m512i both = _mm512_loadu_si512(low + part % 4 * 64);
    return _mm512_and_si512(part < 4 ? both : _mm512_srli_epi16(both, 4), _mm512_set1_epi8(0x0F));
}

// Adds bits that were moved to their places.
DICAST_CODE inline __m512i with_bits(__m512i low, __m512i moved, char mask) {
    // low | (moved & mask)
    return _mm512_ternarylogic_epi32(low, moved, _mm512_set1_epi8(mask), 0xF8);
}

// Of each format: SCALES, how many scales a block has, for as many parts of it; whether it has MINIMA; the weights of a
// part of a block; the scale of a `section`, which is what shares a scale.

// The scales of Q8_0 and Q4_0.
template <class Layout>
struct WithScales : Layout {
    static constexpr int SCALES = 1;
    static constexpr bool MINIMA = false;
    DICAST_CODE static __m512 scale(const uint8_t *rows, int64_t blocks, int64_t block, int /*section*/) {
        return halves(rows + blocks * Layout::WEIGHTS + block * 2 * ROWS);
    }
};

struct Q8_0 : WithScales<packed::Q8_0> {
    DICAST_CODE static __m512i part(const uint8_t *rows, int64_t block, int part) {
        return _mm512_loadu_si512(rows + block * WEIGHTS + part * 64);
    }
};

struct Q4_0 : WithScales<packed::Q4_0> {
    DICAST_CODE static __m512i part(const uint8_t *rows, int64_t block, int part) {
        return nibbles(rows + block * WEIGHTS, part);
    }
};

// The scales and minima of Q4_K and Q5_K.
template <class Layout>
struct WithMinima : Layout {
    static constexpr int SCALES = 1;
    static constexpr bool MINIMA = true;
    static const uint8_t *span(const uint8_t *rows, int64_t block) { return rows + block / 8 * Layout::PACKED; }
    DICAST_CODE static __m512 scale(const uint8_t *rows, int64_t /*blocks*/, int64_t block, int /*section*/) {
        const uint8_t *at = span(rows, block);
        return _mm512_mul_ps(halves(at + Layout::FACTORS_AT), bytes(at + Layout::SCALES_AT + block % 8 * 2 * ROWS));
    }
    DICAST_CODE static __m512 minimum(const uint8_t *rows, int64_t block) {
        const uint8_t *at = span(rows, block);
        return _mm512_mul_ps(halves(at + Layout::FACTORS_AT + 2 * ROWS),
                             bytes(at + Layout::SCALES_AT + block % 8 * 2 * ROWS + ROWS));
    }
};

struct Q4_K : WithMinima<packed::Q4_K> {
    DICAST_CODE static __m512i part(const uint8_t *rows, int64_t block, int part) {
        return nibbles(span(rows, block) + block % 8 * LOW, part);
    }
};

struct Q5_K : WithMinima<packed::Q5_K> {
    DICAST_CODE static __m512i part(const uint8_t *rows, int64_t block, int part) {
        const uint8_t *at = span(rows, block);
        const __m512i fifth = _mm512_loadu_si512(at + HIGH_AT + block % 8 * 64);
        const __m512i moved = part < 4 ? _mm512_slli_epi16(fifth, static_cast<unsigned>(4 - part))
                                       : _mm512_srli_epi16(fifth, static_cast<unsigned>(part - 4));
        return with_bits(nibbles(at + block % 8 * LOW, part), moved, 0x10);
    }
};

struct Q6_K : packed::Q6_K {
    static constexpr int SCALES = 2;
    static constexpr bool MINIMA = false;
    static const uint8_t *span(const uint8_t *rows, int64_t block) { return rows + block / 8 * PACKED; }
    DICAST_CODE static __m512i part(const uint8_t *rows, int64_t block, int part) {
        const uint8_t *at = span(rows, block);
        const __m512i upper = _mm512_loadu_si512(at + HIGH_AT + block % 8 * 128 + part / 4 * 64);
        const int shift = 4 - 2 * (part % 4);
        const __m512i moved = shift >= 0 ? _mm512_slli_epi16(upper, static_cast<unsigned>(shift))
                                         : _mm512_srli_epi16(upper, static_cast<unsigned>(-shift));
        return with_bits(nibbles(at + block % 8 * LOW, part), moved, 0x30);
    }
    DICAST_CODE static __m512 scale(const uint8_t *rows, int64_t /*blocks*/, int64_t block, int section) {
        const uint8_t *at = span(rows, block);
        return _mm512_mul_ps(halves(at + FACTORS_AT), signed_bytes(at + SCALES_AT + (block % 8 * 2 + section) * ROWS));
    }
};

// `FIRST`: the rows were not read before.
template <class Weights, int COLUMNS, bool FIRST>
DICAST_CODE void tile(const uint8_t *rows, int64_t width, const uint8_t *columns, float *to, size_t stride) {
    constexpr int PARTS = BLOCK / 4 / Weights::SCALES;
    constexpr size_t BYTES = Weights::PACKED * BLOCK / Weights::SPAN;
    // For the first cache, or for the second: if there are many columns, then the first is theirs.
    constexpr int CACHE = COLUMNS <= 2 ? 3 : 2;
    const int64_t blocks = width / BLOCK;
    const size_t column = column_size(width);
    __m512 results[COLUMNS];
    for (int j = 0; j < COLUMNS; j++) {
        results[j] = _mm512_setzero_ps();
    }
    for (int64_t block = 0; block < blocks; block++) {
        if constexpr (FIRST) {
            // What follows the last row is not read, and need not exist.
            for (size_t at = 0; at < BYTES; at += LINE) {
                __builtin_prefetch(rows + block * BYTES + AHEAD + at, 0, CACHE);
            }
        }
        for (int section = 0; section < Weights::SCALES; section++) {
            __m512i sums[COLUMNS];
            for (int j = 0; j < COLUMNS; j++) {
                const uint8_t *correction = columns + j * column + Column::correction(width, block) + 4 * section;
                sums[j] = Weights::MINIMA ? _mm512_setzero_si512() : _mm512_set1_epi32(read<int32_t>(correction));
            }
            for (int part = section * PARTS; part < (section + 1) * PARTS; part++) {
                const __m512i weights = Weights::part(rows, block, part);
                for (int j = 0; j < COLUMNS; j++) {
                    const uint8_t *four = columns + j * column + block * BLOCK + 4 * part;
                    sums[j] = _mm512_dpbusd_epi32(sums[j], weights, _mm512_set1_epi32(read<int32_t>(four)));
                }
            }
            const __m512 scale = Weights::scale(rows, blocks, block, section);
            for (int j = 0; j < COLUMNS; j++) {
                const float by = read<float>(columns + j * column + Column::scale(width, block));
                const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(by));
                results[j] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[j]), both, results[j]);
            }
        }
        if constexpr (Weights::MINIMA) {
            const __m512 minimum = Weights::minimum(rows, block);
            for (int j = 0; j < COLUMNS; j++) {
                const float sum = read<float>(columns + j * column + Column::correction(width, block));
                results[j] = _mm512_fnmadd_ps(minimum, _mm512_set1_ps(sum), results[j]);
            }
        }
    }
    for (int j = 0; j < COLUMNS; j++) {
        _mm512_storeu_ps(to + j * stride, results[j]);
    }
}

using Tile = Format::Tile;

template <class W>
constexpr Tile tiles[TILE] = {tile<W, 1, true>, tile<W, 2, true>, tile<W, 3, true>, tile<W, 4, true>,
                              tile<W, 5, true>, tile<W, 6, true>, tile<W, 7, true>, tile<W, 8, true>};

template <class W>
constexpr Format format(Correction correction) {
    return {W::TYPE, W::SPAN, W::FILE, W::PACKED, correction, W::pack, TILE, tiles<W>, tile<W, TILE, false>};
}

constexpr Format formats[] = {
    format<Q4_0>(Correction::BY_8), format<Q8_0>(Correction::BY_128),          format<Q4_K>(Correction::SUM),
    format<Q5_K>(Correction::SUM),  format<Q6_K>(Correction::BY_32_IN_HALVES),
};

DICAST_CODE void quantize(Correction correction, const float *from, uint8_t *column, int64_t width, int64_t first,
                          int64_t last) {
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
        auto *steps = reinterpret_cast<__m128i *>(column + block * BLOCK);
        _mm_storeu_si128(steps, _mm512_cvtsepi32_epi8(low_steps));
        _mm_storeu_si128(steps + 1, _mm512_cvtsepi32_epi8(high_steps));
        std::memcpy(column + Column::scale(width, block), &scale, 4);

        const int32_t sums[2] = {_mm512_reduce_add_epi32(low_steps), _mm512_reduce_add_epi32(high_steps)};
        correct(correction, column, width, block, scale, sums);
    }
}

}  // namespace

const Formats known = {formats, std::size(formats), quantize};

}  // namespace dicast::products::avx512

#endif
