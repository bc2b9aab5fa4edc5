// Registers of 16 numbers, for kernels that are compiled for processors with AVX-512.
#ifndef DICAST_LLAMA_AVX512_H
#define DICAST_LLAMA_AVX512_H

#if !defined(__clang__)
// GCC 12 takes the values that its own header leaves undefined on purpose for a mistake.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include <cstdint>

// The namespace of what is here, and of kernels that are compiled with it.
#define DICAST_WIDE avx512
// A function that uses these instructions: to be called only where the processor has them.
#define DICAST_CODE __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))

namespace dicast::avx512 {

// Numbers in a register.
constexpr int64_t LANES = 16;
constexpr int REGISTERS = 32;

using Floats = __m512;

DICAST_CODE inline Floats all(float number) { return _mm512_set1_ps(number); }
// Aligned to a whole register, or not.
DICAST_CODE inline Floats load(const float *at) { return _mm512_load_ps(at); }
DICAST_CODE inline Floats load_any(const float *at) { return _mm512_loadu_ps(at); }
DICAST_CODE inline void store(float *at, Floats numbers) { _mm512_store_ps(at, numbers); }
DICAST_CODE inline void store_any(float *at, Floats numbers) { _mm512_storeu_ps(at, numbers); }
// Numbers in half precision, made single.
DICAST_CODE inline Floats widen(const void *halves) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i *>(halves)));
}

DICAST_CODE inline Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
DICAST_CODE inline Floats subtract(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
DICAST_CODE inline Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
// a * b + c, c - a * b
DICAST_CODE inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
DICAST_CODE inline Floats multiply_subtract(Floats a, Floats b, Floats c) { return _mm512_fnmadd_ps(a, b, c); }
// The second passes, if one of them is not a number.
DICAST_CODE inline Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }
// Those whose bit is set, and the others.
DICAST_CODE inline Floats where(uint64_t bits, Floats those, Floats others) {
    return _mm512_mask_mov_ps(others, static_cast<__mmask16>(bits), those);
}
DICAST_CODE inline float largest(Floats numbers) { return _mm512_reduce_max_ps(numbers); }
DICAST_CODE inline float sum(Floats numbers) { return _mm512_reduce_add_ps(numbers); }
DICAST_CODE inline Floats nearest(Floats x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT); }
// x * 2^n, for whole n of at most 0.
DICAST_CODE inline Floats scale(Floats x, Floats n) { return _mm512_scalef_ps(x, n); }
// The lower half of a register to one place, the upper one to another.
DICAST_CODE inline void store_halves(float *low, float *high, Floats numbers) {
    _mm256_store_ps(low, _mm512_castps512_ps256(numbers));
    _mm256_store_ps(high, _mm512_extractf32x8_ps(numbers, 1));
}
// Which of 64 numbers of 16 bits are not this one.
DICAST_CODE inline uint64_t different(const void *numbers, uint16_t from) {
    const __m512i same = _mm512_set1_epi16(static_cast<int16_t>(from));
    const auto *at = static_cast<const char *>(numbers);
    const uint64_t low = _mm512_cmpneq_epi16_mask(_mm512_loadu_si512(at), same);
    const uint64_t high = _mm512_cmpneq_epi16_mask(_mm512_loadu_si512(at + 64), same);
    return low | high << 32;
}

// Turns as many registers over as one has numbers.
DICAST_CODE inline void turn(Floats (&rows)[LANES]) {
    Floats other[16];
    for (int i = 0; i < 16; i += 2) {
        other[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
        other[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        for (int j = 0; j < 2; j++) {
            const __m512d low = _mm512_castps_pd(other[i + j]);
            const __m512d high = _mm512_castps_pd(other[i + 2 + j]);
            rows[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            rows[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    }
    // Now row 4 i + j has, in its quarter q, the numbers 4 i .. 4 i + 3 of column 4 q + j.
    for (int j = 0; j < 4; j++) {
        other[j] = _mm512_shuffle_f32x4(rows[j], rows[4 + j], 0x88);
        other[4 + j] = _mm512_shuffle_f32x4(rows[j], rows[4 + j], 0xDD);
        other[8 + j] = _mm512_shuffle_f32x4(rows[8 + j], rows[12 + j], 0x88);
        other[12 + j] = _mm512_shuffle_f32x4(rows[8 + j], rows[12 + j], 0xDD);
    }
    for (int j = 0; j < 4; j++) {
        rows[j] = _mm512_shuffle_f32x4(other[j], other[8 + j], 0x88);
        rows[8 + j] = _mm512_shuffle_f32x4(other[j], other[8 + j], 0xDD);
        rows[4 + j] = _mm512_shuffle_f32x4(other[4 + j], other[12 + j], 0x88);
        rows[12 + j] = _mm512_shuffle_f32x4(other[4 + j], other[12 + j], 0xDD);
    }
}

// The sums of so many registers.
DICAST_CODE inline Floats sums_of(Floats (&rows)[LANES]) {
    Floats eight[8];
    for (int i = 0; i < 8; i++) {
        eight[i] = _mm512_add_ps(_mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]),
                                 _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]));
    }
    Floats four[4];
    for (int i = 0; i < 4; i++) {
        const __m512d one = _mm512_castps_pd(eight[2 * i]);
        const __m512d other = _mm512_castps_pd(eight[2 * i + 1]);
        four[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(one, other)),
                                _mm512_castpd_ps(_mm512_unpackhi_pd(one, other)));
    }
    Floats two[2];
    for (int i = 0; i < 2; i++) {
        two[i] = _mm512_add_ps(_mm512_shuffle_f32x4(four[2 * i], four[2 * i + 1], 0x88),
                               _mm512_shuffle_f32x4(four[2 * i], four[2 * i + 1], 0xDD));
    }
    return _mm512_add_ps(_mm512_shuffle_f32x4(two[0], two[1], 0x88), _mm512_shuffle_f32x4(two[0], two[1], 0xDD));
}

}  // namespace dicast::avx512

#include "llama_wide.h"

#endif
