#include "llama_halves.h"

#include "llama_cpu.h"

#if DICAST_KERNELS

#include <algorithm>
#include <iterator>

#include "llama_avx2.h"

namespace dicast::halves {

namespace {

using namespace dicast::avx2;

static_assert(WIDTH == LANES, "whole registers");

// The results of COUNT rows and COLUMNS columns.
template <int COUNT, int COLUMNS>
DICAST_CODE inline void rows_by_columns(const char *weights, size_t row, int64_t width, const char *columns,
                                        size_t column, float *to, size_t stride) {
    Floats sums[COUNT][COLUMNS];
    for (int i = 0; i < COUNT; i++) {
        for (int j = 0; j < COLUMNS; j++) {
            sums[i][j] = all(0.0F);
        }
    }
    for (int64_t at = 0; at < width; at += LANES) {
        Floats some[COUNT];
        for (int i = 0; i < COUNT; i++) {
            some[i] = widen(weights + i * row + 2 * at);
        }
        for (int j = 0; j < COLUMNS; j++) {
            const Floats numbers = load_any(reinterpret_cast<const float *>(columns + j * column) + at);
            for (int i = 0; i < COUNT; i++) {
                sums[i][j] = multiply_add(some[i], numbers, sums[i][j]);
            }
        }
    }
    for (int i = 0; i < COUNT; i++) {
        for (int j = 0; j < COLUMNS; j++) {
            to[j * stride + i] = sum(sums[i][j]);
        }
    }
}

// The results of ROWS rows and COLUMNS columns: of two rows after the other two, if not all stay in registers.
template <int COLUMNS>
DICAST_CODE void tile(const char *weights, size_t row, int64_t width, const char *columns, size_t column, float *to,
                      size_t stride) {
    constexpr int COUNT = COLUMNS <= 2 ? 4 : 2;
    for (int first = 0; first < ROWS; first += COUNT) {
        rows_by_columns<COUNT, COLUMNS>(weights + first * row, row, width, columns, column, to + first, stride);
    }
}

using Tile = void (*)(const char *weights, size_t row, int64_t width, const char *columns, size_t column, float *to,
                      size_t stride);

constexpr Tile tiles[] = {tile<1>, tile<2>, tile<3>, tile<4>, tile<5>, tile<6>};

}  // namespace

bool available() { return cpu::instructions() == cpu::Instructions::AVX2; }

void multiply(const char *weights, size_t row, int64_t rows, int64_t width, const char *columns, size_t column,
              int64_t count, float *to, size_t stride) {
    constexpr auto most = static_cast<int64_t>(std::size(tiles));
    for (int64_t first = 0; first < rows; first += ROWS) {
        for (int64_t at = 0; at < count; at += most) {
            tiles[std::min(most, count - at) - 1](weights + first * row, row, width, columns + at * column, column,
                                                  to + at * stride + first, stride);
        }
    }
}

}  // namespace dicast::halves

#else

namespace dicast::halves {

bool available() { return false; }
void multiply(const char *, size_t, int64_t, int64_t, const char *, size_t, int64_t, float *, size_t) {}

}  // namespace dicast::halves

#endif
