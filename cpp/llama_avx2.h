// Registers of 8 numbers, for kernels that are compiled for processors with AVX2.
#ifndef DICAST_LLAMA_AVX2_H
#define DICAST_LLAMA_AVX2_H

#include <immintrin.h>

#include <cstdint>

// The namespace of what is here, and of kernels that are compiled with it.
#define DICAST_WIDE avx2
// A function that uses these instructions: to be called only where the processor has them.
#define DICAST_CODE __attribute__((target("avx2,fma,f16c")))

namespace dicast::avx2 {

// Numbers in a register.
constexpr int64_t LANES = 8;
constexpr int REGISTERS = 16;

using Floats = __m256;

DICAST_CODE inline Floats all(float number) { return _mm256_set1_ps(number); }
// Aligned to a whole register, or not.
DICAST_CODE inline Floats load(const float *at) { return _mm256_load_ps(at); }
DICAST_CODE inline Floats load_any(const float *at) { return _mm256_loadu_ps(at); }
DICAST_CODE inline void store(float *at, Floats numbers) { _mm256_store_ps(at, numbers); }
DICAST_CODE inline void store_any(float *at, Floats numbers) { _mm256_storeu_ps(at, numbers); }
// Numbers in half precision, made single.
DICAST_CODE inline Floats widen(const void *halves) {
    return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i *>(halves)));
}

DICAST_CODE inline Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
DICAST_CODE inline Floats subtract(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
DICAST_CODE inline Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
// a * b + c, c - a * b
DICAST_CODE inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
DICAST_CODE inline Floats multiply_subtract(Floats a, Floats b, Floats c) { return _mm256_fnmadd_ps(a, b, c); }
// The second passes, if one of them is not a number.
DICAST_CODE inline Floats larger(Floats a, Floats b) { return _mm256_max_ps(a, b); }
// Those whose bit is set, and the others.
DICAST_CODE inline Floats where(uint64_t bits, Floats those, Floats others) {
    const __m256i each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i set = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits & 0xFF)), each);
    return _mm256_blendv_ps(others, those, _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, each)));
}
DICAST_CODE inline float largest(Floats numbers) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(numbers), _mm256_extractf128_ps(numbers, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}
DICAST_CODE inline float sum(Floats numbers) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(numbers), _mm256_extractf128_ps(numbers, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
DICAST_CODE inline Floats nearest(Floats x) {
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// x * 2^n, for whole n between -252 and 0: in two factors, since the smallest numbers are below the smallest factor.
DICAST_CODE inline Floats scale(Floats x, Floats n) {
    const __m256i whole = _mm256_cvtps_epi32(n);
    const __m256i half = _mm256_srai_epi32(whole, 1);
    const __m256i bias = _mm256_set1_epi32(127);
    const __m256i one = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    const __m256i other = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23);
    return multiply(multiply(x, _mm256_castsi256_ps(one)), _mm256_castsi256_ps(other));
}
// The lower half of a register to one place, the upper one to another.
DICAST_CODE inline void store_halves(float *low, float *high, Floats numbers) {
    _mm_store_ps(low, _mm256_castps256_ps128(numbers));
    _mm_store_ps(high, _mm256_extractf128_ps(numbers, 1));
}
// Which of 64 numbers of 16 bits are not this one.
DICAST_CODE inline uint64_t different(const void *numbers, uint16_t from) {
    const __m256i same = _mm256_set1_epi16(static_cast<int16_t>(from));
    const auto *at = static_cast<const __m256i *>(numbers);
    uint64_t equal = 0;
    for (int i = 0; i < 2; i++) {
        const __m256i low = _mm256_cmpeq_epi16(_mm256_loadu_si256(at + 2 * i), same);
        const __m256i high = _mm256_cmpeq_epi16(_mm256_loadu_si256(at + 2 * i + 1), same);
        // Packed, the quarters lie in turns.
        const __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi16(low, high), 0xD8);
        equal |= static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(both))) << (32 * i);
    }
    return ~equal;
}

// Turns as many registers over as one has numbers.
DICAST_CODE inline void turn(Floats (&rows)[LANES]) {
    Floats two[8];
    for (int i = 0; i < 8; i += 2) {
        two[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
        two[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    Floats four[8];
    for (int i = 0; i < 8; i += 4) {
        for (int j = 0; j < 2; j++) {
            const __m256d low = _mm256_castps_pd(two[i + j]);
            const __m256d high = _mm256_castps_pd(two[i + 2 + j]);
            four[i + 2 * j] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, high));
            four[i + 2 * j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, high));
        }
    }
    // Now row 4 i + j has, in its half h, the numbers 4 i .. 4 i + 3 of column 4 h + j.
    for (int j = 0; j < 4; j++) {
        rows[j] = _mm256_permute2f128_ps(four[j], four[4 + j], 0x20);
        rows[4 + j] = _mm256_permute2f128_ps(four[j], four[4 + j], 0x31);
    }
}

// The sums of so many registers.
DICAST_CODE inline Floats sums_of(Floats (&rows)[LANES]) {
    Floats four[4];
    for (int i = 0; i < 4; i++) {
        four[i] = _mm256_add_ps(_mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]),
                                _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]));
    }
    Floats two[2];
    for (int i = 0; i < 2; i++) {
        const __m256d one = _mm256_castps_pd(four[2 * i]);
        const __m256d other = _mm256_castps_pd(four[2 * i + 1]);
        two[i] = _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(one, other)),
                               _mm256_castpd_ps(_mm256_unpackhi_pd(one, other)));
    }
    return _mm256_add_ps(_mm256_permute2f128_ps(two[0], two[1], 0x20), _mm256_permute2f128_ps(two[0], two[1], 0x31));
}

}  // namespace dicast::avx2

#include "llama_wide.h"

#endif
