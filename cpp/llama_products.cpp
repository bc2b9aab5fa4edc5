#include "llama_products.h"

#include <algorithm>

#include "llama_cpu.h"
#include "llama_products_kernels.h"

namespace dicast::products {

namespace {

const Formats &formats() {
    static constexpr Formats none = {nullptr, 0, nullptr};
#if DICAST_KERNELS
    switch (cpu::instructions()) {
        case cpu::Instructions::AVX512:
            return avx512::known;
        case cpu::Instructions::AVX2:
            return avx2::known;
        case cpu::Instructions::OTHERS:
            break;
    }
#endif
    return none;
}

}  // namespace

const Format *find(uint32_t type) {
    const Formats &known = formats();
    const Format *end = known.all + known.count;
    const Format *found = std::find_if(known.all, end, [&](const Format &one) { return one.type == type; });
    return found == end ? nullptr : found;
}

void pack(const Format &format, const void *from, void *to, int64_t rows, int64_t width) {
    const int64_t spans = width / format.span;
    for (int64_t row = 0; row < rows; row += ROWS) {
        format.pack(static_cast<const uint8_t *>(from) + format.file_bytes * static_cast<size_t>(spans * row),
                    static_cast<uint8_t *>(to) + format.group(width) * static_cast<size_t>(row / ROWS), spans);
    }
}

void quantize(Correction correction, const float *from, uint8_t *column, int64_t width, int64_t first, int64_t last) {
    formats().quantize(correction, from, column, width, first, last);
}

void multiply(const Format &format, const uint8_t *rows, int64_t width, const uint8_t *columns, int64_t count,
              float *to, size_t stride) {
    for (int64_t at = 0; at < count; at += format.together) {
        const int64_t some = std::min(format.together, count - at);
        const Format::Tile tile = at > 0 && some == format.together ? format.again : format.tiles[some - 1];
        tile(rows, width, columns + at * column_size(width), to + at * stride, stride);
    }
}

}  // namespace dicast::products
