// Functions of whole registers, written in those of llama_avx512.h or llama_avx2.h, which include this.
#ifndef DICAST_LLAMA_WIDE_H
#define DICAST_LLAMA_WIDE_H

#include <cstdint>

namespace dicast::DICAST_WIDE {

// Bytes that memory gives at once.
constexpr int64_t LINE = 64;

// The power of e, to single precision: 2^n times a polynomial for what is left, between -ln 2 / 2 and ln 2 / 2.
DICAST_CODE inline Floats power(Floats x) {
    // The second operand passes, if it is not a number.
    x = larger(all(-104.0F), x);
    const Floats n = nearest(multiply(x, all(1.44269504F)));
    // ln 2 in two parts, so that the product with n is exact.
    Floats r = multiply_subtract(n, all(0.693359375F), x);
    r = multiply_subtract(n, all(-2.12194440e-4F), r);
    Floats sum = all(1.0F / 720);
    sum = multiply_add(sum, r, all(1.0F / 120));
    sum = multiply_add(sum, r, all(1.0F / 24));
    sum = multiply_add(sum, r, all(1.0F / 6));
    sum = multiply_add(sum, r, all(0.5F));
    sum = multiply_add(sum, r, all(1.0F));
    sum = multiply_add(sum, r, all(1.0F));
    return scale(sum, n);
}

}  // namespace dicast::DICAST_WIDE

#endif
