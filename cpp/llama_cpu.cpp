#include "llama_cpu.h"

#if DICAST_KERNELS

#include <cpuid.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace dicast::cpu {

namespace {

bool has(unsigned word, unsigned bits) { return (word & bits) == bits; }

// Asked of the processor itself: the variables behind __builtin_cpu_supports are not in every compiler's library. The
// bits are those of Intel's manual (CPUID, XGETBV).
Instructions of_processor() {
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    constexpr unsigned fma = 1U << 12;
    constexpr unsigned keeps_registers = 1U << 27;
    constexpr unsigned f16c = 1U << 29;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || !has(c, fma | keeps_registers | f16c)) {
        return Instructions::OTHERS;
    }
    unsigned kept = 0;
    __asm__ volatile("xgetbv" : "=a"(kept), "=d"(d) : "c"(0));
    // The registers of SSE and AVX, and with those of AVX-512.
    constexpr unsigned of_avx = 0x06;
    constexpr unsigned of_avx512 = 0xE6;
    constexpr unsigned avx2 = 1U << 5;
    if (!has(kept, of_avx) || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || !has(b, avx2)) {
        return Instructions::OTHERS;
    }
    constexpr unsigned f = 1U << 16;
    constexpr unsigned dq = 1U << 17;
    constexpr unsigned bw = 1U << 30;
    constexpr unsigned vl = 1U << 31;
    constexpr unsigned vnni = 1U << 11;
    return has(kept, of_avx512) && has(b, f | dq | bw | vl) && has(c, vnni) ? Instructions::AVX512 : Instructions::AVX2;
}

Instructions wanted() {
    const char *name = std::getenv("DICAST_KERNELS");
    if (name != nullptr && std::strcmp(name, "none") == 0) {
        return Instructions::OTHERS;
    }
    return name != nullptr && std::strcmp(name, "avx2") == 0 ? Instructions::AVX2 : Instructions::AVX512;
}

}  // namespace

Instructions instructions() {
    static const Instructions best = std::min(of_processor(), wanted());
    return best;
}

}  // namespace dicast::cpu

#else

namespace dicast::cpu {

Instructions instructions() { return Instructions::OTHERS; }

}  // namespace dicast::cpu

#endif
