// The instructions of AVX-512, for files that are compiled for any processor.
#ifndef DICAST_LLAMA_AVX512_H
#define DICAST_LLAMA_AVX512_H

#if !defined(__clang__)
// GCC 12 takes the values that its own header leaves undefined on purpose for a mistake.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

// A function that uses them: to be called only where the processor has them.
#define DICAST_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))

namespace dicast {

// Whether this processor and its system have them.
inline bool has_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}

}  // namespace dicast

#endif
