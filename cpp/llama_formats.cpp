#include "llama_formats.h"

#include <cstring>

namespace dicast::products::packed {

namespace {

constexpr int64_t ROWS = 16;
constexpr int64_t PARTS = 8;
constexpr uint32_t FOUR_BITS = 0x0F0F0F0F;

// Four weights that follow each other, a byte each.
uint32_t word(const uint8_t *at) {
    uint32_t four = 0;
    std::memcpy(&four, at, 4);
    return four;
}

void put(uint8_t *at, uint32_t four) { std::memcpy(at, &four, 4); }

// Packs the lower four bits of a block of a row.
void put_low(uint8_t *block, int64_t row, const uint32_t (&parts)[PARTS]) {
    for (int64_t part = 0; part < 4; part++) {
        const uint32_t both = (parts[part] & FOUR_BITS) | (parts[part + 4] & FOUR_BITS) << 4;
        put(block + (part * ROWS + row) * 4, both);
    }
}

// The six bits of a scale and of a minimum, of eight each in 12 bytes.
void scale_and_minimum(const uint8_t *from, int block, uint8_t &scale, uint8_t &minimum) {
    if (block < 4) {
        scale = from[block] & 63;
        minimum = from[block + 4] & 63;
    } else {
        scale = static_cast<uint8_t>((from[block + 4] & 15) | from[block - 4] >> 6 << 4);
        minimum = static_cast<uint8_t>(from[block + 4] >> 4 | from[block] >> 6 << 4);
    }
}

// What Q4_K and Q5_K share: factors, scales and the lower bits, which begin at `low`.
template <class Format>
void pack_with_minima(const uint8_t *from, const uint8_t *low, uint8_t *to, int64_t row) {
    std::memcpy(to + Format::FACTORS_AT + 2 * row, from, 2);
    std::memcpy(to + Format::FACTORS_AT + 2 * (ROWS + row), from + 2, 2);
    for (int block = 0; block < 8; block++) {
        uint8_t *scales = to + Format::SCALES_AT + block * 2 * ROWS;
        scale_and_minimum(from + 4, block, scales[row], scales[ROWS + row]);
        uint32_t parts[PARTS];
        for (int64_t part = 0; part < PARTS; part++) {
            parts[part] = word(low + block / 2 * 32 + part * 4) >> block % 2 * 4;
        }
        put_low(to + block * Format::LOW, row, parts);
    }
}

}  // namespace

void Q8_0::pack(const uint8_t *from, uint8_t *to, int64_t spans) {
    for (int64_t row = 0; row < ROWS; row++) {
        for (int64_t block = 0; block < spans; block++, from += FILE) {
            std::memcpy(to + spans * WEIGHTS + (block * ROWS + row) * 2, from, 2);
            for (int64_t part = 0; part < PARTS; part++) {
                // Adds 128 to each of the four.
                put(to + block * WEIGHTS + (part * ROWS + row) * 4, word(from + 2 + part * 4) ^ 0x80808080U);
            }
        }
    }
}

void Q4_0::pack(const uint8_t *from, uint8_t *to, int64_t spans) {
    for (int64_t row = 0; row < ROWS; row++) {
        for (int64_t block = 0; block < spans; block++, from += FILE) {
            std::memcpy(to + spans * WEIGHTS + (block * ROWS + row) * 2, from, 2);
            // As in the file: the lower bits are those of the first half.
            for (int64_t part = 0; part < 4; part++) {
                put(to + block * WEIGHTS + (part * ROWS + row) * 4, word(from + 2 + part * 4));
            }
        }
    }
}

void Q4_K::pack(const uint8_t *from, uint8_t *to, int64_t spans) {
    for (int64_t row = 0; row < ROWS; row++) {
        for (int64_t span = 0; span < spans; span++, from += FILE) {
            pack_with_minima<Q4_K>(from, from + 16, to + span * PACKED, row);
        }
    }
}

void Q5_K::pack(const uint8_t *from, uint8_t *to, int64_t spans) {
    for (int64_t row = 0; row < ROWS; row++) {
        for (int64_t span = 0; span < spans; span++, from += FILE) {
            uint8_t *out = to + span * PACKED;
            pack_with_minima<Q5_K>(from, from + 48, out, row);
            for (int block = 0; block < 8; block++) {
                uint32_t bits = 0;
                for (int part = 0; part < PARTS; part++) {
                    bits |= (word(from + 16 + part * 4) >> block & 0x01010101U) << part;
                }
                put(out + HIGH_AT + block * 64 + row * 4, bits);
            }
        }
    }
}

void Q6_K::pack(const uint8_t *from, uint8_t *to, int64_t spans) {
    for (int64_t row = 0; row < ROWS; row++) {
        for (int64_t span = 0; span < spans; span++, from += FILE) {
            uint8_t *out = to + span * PACKED;
            std::memcpy(out + FACTORS_AT + 2 * row, from + 208, 2);
            for (int64_t half = 0; half < 16; half++) {
                out[SCALES_AT + half * ROWS + row] = from[192 + half];
            }
            for (int64_t block = 0; block < 8; block++) {
                // Of four blocks the first two have the lower four bits of 64 bytes, the last two the upper ones; the
                // 32 bytes of upper bits have two for each of the four.
                const uint8_t *low = from + block / 4 * 64 + block % 2 * 32;
                const uint8_t *high = from + 128 + block / 4 * 32;
                uint32_t parts[PARTS];
                uint32_t bits[2] = {0, 0};
                for (int part = 0; part < PARTS; part++) {
                    parts[part] = word(low + part * 4) >> block % 4 / 2 * 4;
                    const uint32_t two = word(high + part * 4) >> block % 4 * 2 & 0x03030303U;
                    bits[part / 4] |= two << part % 4 * 2;
                }
                put_low(out + block * LOW, row, parts);
                put(out + HIGH_AT + block * 128 + row * 4, bits[0]);
                put(out + HIGH_AT + block * 128 + 64 + row * 4, bits[1]);
            }
        }
    }
}

}  // namespace dicast::products::packed
