// The instructions of AVX-512, for files that are compiled for any processor, and functions of whole registers.
#ifndef DICAST_LLAMA_AVX512_H
#define DICAST_LLAMA_AVX512_H

#if !defined(__clang__)
// GCC 12 takes the values that its own header leaves undefined on purpose for a mistake.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <cpuid.h>
#include <immintrin.h>

#include <cstdint>

// A function that uses them: to be called only where the processor has them.
#define DICAST_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))

namespace dicast {

// Whether this processor has them, and its system keeps their registers. Asked of the processor itself: the variables
// behind __builtin_cpu_supports are not in every compiler's library. The bits are those of Intel's manual (CPUID,
// XGETBV).
inline bool has_avx512() {
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    constexpr unsigned keeps_registers = 1U << 27;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & keeps_registers) == 0) {
        return false;
    }
    unsigned kept = 0;
    __asm__ volatile("xgetbv" : "=a"(kept), "=d"(d) : "c"(0));
    // Those of SSE, AVX and AVX-512.
    constexpr unsigned all = 0xE6;
    if ((kept & all) != all || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) {
        return false;
    }
    constexpr unsigned f = 1U << 16;
    constexpr unsigned dq = 1U << 17;
    constexpr unsigned bw = 1U << 30;
    constexpr unsigned vl = 1U << 31;
    constexpr unsigned vnni = 1U << 11;
    return (b & (f | dq | bw | vl)) == (f | dq | bw | vl) && (c & vnni) != 0;
}

// Bytes that memory gives at once.
constexpr int64_t LINE = 64;

// The power of e, to single precision: 2^n times a polynomial for what is left, between -ln 2 / 2 and ln 2 / 2.
DICAST_AVX512 inline __m512 power(__m512 x) {
    // The second operand passes, if it is not a number.
    x = _mm512_max_ps(_mm512_set1_ps(-104.0F), x);
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504F)), _MM_FROUND_TO_NEAREST_INT);
    // ln 2 in two parts, so that the product with n is exact.
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375F), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4F), r);
    __m512 sum = _mm512_set1_ps(1.0F / 720);
    sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0F / 120));
    sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0F / 24));
    sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0F / 6));
    sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(0.5F));
    sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0F));
    sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0F));
    return _mm512_scalef_ps(sum, n);
}

// Turns 16 registers with 16 numbers each over.
DICAST_AVX512 inline void turn(__m512 (&rows)[16]) {
    __m512 other[16];
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

// The sums of 16 registers.
DICAST_AVX512 inline __m512 sums_of(__m512 (&rows)[16]) {
    __m512 eight[8];
    for (int i = 0; i < 8; i++) {
        eight[i] = _mm512_add_ps(_mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]),
                                 _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]));
    }
    __m512 four[4];
    for (int i = 0; i < 4; i++) {
        const __m512d one = _mm512_castps_pd(eight[2 * i]);
        const __m512d other = _mm512_castps_pd(eight[2 * i + 1]);
        four[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(one, other)),
                                _mm512_castpd_ps(_mm512_unpackhi_pd(one, other)));
    }
    __m512 two[2];
    for (int i = 0; i < 2; i++) {
        two[i] = _mm512_add_ps(_mm512_shuffle_f32x4(four[2 * i], four[2 * i + 1], 0x88),
                               _mm512_shuffle_f32x4(four[2 * i], four[2 * i + 1], 0xDD));
    }
    return _mm512_add_ps(_mm512_shuffle_f32x4(two[0], two[1], 0x88), _mm512_shuffle_f32x4(two[0], two[1], 0xDD));
}

}  // namespace dicast

#endif
