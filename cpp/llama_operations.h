// Operations of llama.cpp that are computed here, faster than by ggml.
#ifndef DICAST_LLAMA_OPERATIONS_H
#define DICAST_LLAMA_OPERATIONS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Takes over, where the processor has the instructions: products with quantized weights, in models that are loaded with
// `use_extra_bufts` (llama_products.h); and attention with keys and values in half precision (llama_attention.h). Call
// it once, before any model is loaded.
void dicast_operations_install(void);

// Whether a matrix of this type with so many rows is arranged anew when it is loaded, here or by ggml. May say so of
// one that ggml leaves as it is.
bool dicast_operations_packs(uint32_t type, uint64_t rows);

#ifdef __cplusplus
}
#endif

#endif
