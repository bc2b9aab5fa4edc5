// How quantized weights lie in a file (ggml-common.h), and how they are packed for llama_products.h.
#ifndef DICAST_LLAMA_FORMATS_H
#define DICAST_LLAMA_FORMATS_H

#include <cstddef>
#include <cstdint>

namespace dicast::products::packed {

// Of each format:
// - TYPE: the number of the type in GGUF;
// - SPAN: the weights of a row that are described together; FILE: their bytes in a file;
// - PACKED: bytes of the packed spans of 16 rows.
//
// Weights are packed in parts: four that follow each other in a row, of 16 rows, are 64 bytes, and a block of 32 has
// eight parts. Where a weight has four bits, part i has the lower and part i + 4 the upper four of a byte.

// A scale in half precision and 32 bytes. Packed: all weights, with 128 added, then all scales.
struct Q8_0 {
    static constexpr uint32_t TYPE = 8;
    static constexpr int64_t SPAN = 32;
    static constexpr size_t FILE = 34;
    static constexpr int64_t WEIGHTS = 512;
    static constexpr size_t PACKED = WEIGHTS + 32;
    static void pack(const uint8_t *from, uint8_t *to, int64_t spans);
};

// A scale in half precision and 32 times four bits, from which 8 is taken. Packed: all weights, then all scales.
struct Q4_0 {
    static constexpr uint32_t TYPE = 2;
    static constexpr int64_t SPAN = 32;
    static constexpr size_t FILE = 18;
    static constexpr int64_t WEIGHTS = 256;
    static constexpr size_t PACKED = WEIGHTS + 32;
    static void pack(const uint8_t *from, uint8_t *to, int64_t spans);
};

// Eight blocks, each with a scale and a minimum of six bits; a factor for both in half precision; 256 times four bits.
// Packed: for each block 256 bytes; for each block 16 scales and 16 minima; 16 factors of scales, 16 of minima.
struct Q4_K {
    static constexpr uint32_t TYPE = 12;
    static constexpr int64_t SPAN = 256;
    static constexpr size_t FILE = 144;
    static constexpr int64_t LOW = 256;
    static constexpr int64_t SCALES_AT = 8 * LOW;
    static constexpr int64_t FACTORS_AT = SCALES_AT + 256;
    static constexpr size_t PACKED = FACTORS_AT + 64;
    static void pack(const uint8_t *from, uint8_t *to, int64_t spans);
};

// As Q4_K, with a fifth bit. Packed: after the lower bits, for each block 64 bytes of fifth bits: part i has bit i.
struct Q5_K {
    static constexpr uint32_t TYPE = 13;
    static constexpr int64_t SPAN = 256;
    static constexpr size_t FILE = 176;
    static constexpr int64_t LOW = 256;
    static constexpr int64_t HIGH_AT = 8 * LOW;
    static constexpr int64_t SCALES_AT = HIGH_AT + 8 * 64;
    static constexpr int64_t FACTORS_AT = SCALES_AT + 256;
    static constexpr size_t PACKED = FACTORS_AT + 64;
    static void pack(const uint8_t *from, uint8_t *to, int64_t spans);
};

// 256 times six bits, from which 32 is taken; a scale of eight bits for each 16; a factor in half precision. Packed:
// for each block 256 bytes of lower bits; for each block 128 bytes of upper bits, two for each part, of four parts in a
// byte; for each half of a block 16 scales; 16 factors, and room.
struct Q6_K {
    static constexpr uint32_t TYPE = 14;
    static constexpr int64_t SPAN = 256;
    static constexpr size_t FILE = 210;
    static constexpr int64_t LOW = 256;
    static constexpr int64_t HIGH_AT = 8 * LOW;
    static constexpr int64_t SCALES_AT = HIGH_AT + 8 * 128;
    static constexpr int64_t FACTORS_AT = SCALES_AT + 256;
    static constexpr size_t PACKED = FACTORS_AT + 64;
    static void pack(const uint8_t *from, uint8_t *to, int64_t spans);
};

}  // namespace dicast::products::packed

#endif
