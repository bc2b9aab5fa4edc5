// Matrix products with weights in half precision, as they lie in the file, on processors with AVX2.
//
// ggml makes halves of the columns too, and widens both sides for each product. Here columns stay as they are, and a
// weight is widened once for up to six columns. A result depends on its row and its column alone, never on how many are
// computed together.
#ifndef DICAST_LLAMA_HALVES_H
#define DICAST_LLAMA_HALVES_H

#include <cstddef>
#include <cstdint>

namespace dicast::halves {

// The number of rows is a multiple of this, and the width of the other.
constexpr int64_t ROWS = 4;
constexpr int64_t WIDTH = 8;

// Whether this processor, and this build, can compute it. Processors with AVX-512 keep ggml's product: this one was not
// compared with it there.
bool available();

// Multiplies `rows` rows of `width` halves by `count` columns of as many numbers in single precision. Rows and columns
// are so many bytes apart. The results of a column follow each other at `to`, the next ones `stride` numbers later.
void multiply(const char *weights, size_t row, int64_t rows, int64_t width, const char *columns, size_t column,
              int64_t count, float *to, size_t stride);

}  // namespace dicast::halves

#endif
