// Operations of llama.cpp that are computed here, faster than by ggml.
#ifndef DICAST_LLAMA_OPERATIONS_H
#define DICAST_LLAMA_OPERATIONS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Takes over, where the processor has the instructions: products with quantized weights, in models that are loaded with
// `use_extra_bufts` (llama_products.h); and attention with keys and values in half precision (llama_attention.h). Call
// it once, before any model is loaded.
void dicast_operations_install(void);

// The bytes that weights of this type take when they are arranged anew, here or by ggml: `matrices` of `rows` rows of
// `width` numbers, which take `bytes` in the file. 0 if they are computed as they lie there. May count some that ggml
// leaves as they are.
uint64_t dicast_operations_packed(uint32_t type, uint64_t width, uint64_t rows, uint64_t matrices, uint64_t bytes);

#ifdef __cplusplus
}
#endif

#endif
