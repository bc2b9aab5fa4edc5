// The instructions of AVX-512, for files that are compiled for any processor.
#ifndef DICAST_LLAMA_AVX512_H
#define DICAST_LLAMA_AVX512_H

#if !defined(__clang__)
// GCC 12 takes the values that its own header leaves undefined on purpose for a mistake.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <cpuid.h>
#include <immintrin.h>

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

}  // namespace dicast

#endif
