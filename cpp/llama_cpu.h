// Which vector instructions the kernels may use.
#ifndef DICAST_LLAMA_CPU_H
#define DICAST_LLAMA_CPU_H

// Whether this build has kernels. On Windows, GCC does not align such registers on the stack.
#if defined(__x86_64__) && !defined(_WIN32) && !defined(__CYGWIN__) && (defined(__GNUC__) || defined(__clang__))
#define DICAST_KERNELS 1
#else
#define DICAST_KERNELS 0
#endif

namespace dicast::cpu {

// Each has those before it.
enum class Instructions {
    // None that this build has kernels for.
    OTHERS,
    // AVX2, with FMA and F16C.
    AVX2,
    // AVX-512: F, BW, VL, DQ and VNNI.
    AVX512,
};

// What this processor has, and its system keeps the registers of; or less, if the environment variable DICAST_KERNELS
// is "none" or "avx2" when it is asked for the first time. Any thread may ask.
Instructions instructions();

}  // namespace dicast::cpu

#endif
