// Operations of llama.cpp that are computed here, faster than by ggml.
#ifndef DICAST_LLAMA_OPERATIONS_H
#define DICAST_LLAMA_OPERATIONS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Takes over, where the processor has the instructions (llama_cpu.h): products with quantized weights, in models that
// are loaded with `use_extra_bufts` (llama_products.h); products with weights in half precision (llama_halves.h); and
// attention with keys and values in half precision (llama_attention.h). Call it once, before any model is loaded.
void dicast_operations_install(void);

// How many bytes of memory a tensor of this type takes once it is loaded and arranged for the processor, here or by
// ggml. It holds `matrices` matrices of `rows` rows and `width` columns, and takes `bytes` in the file. 0: it is not
// arranged. The result can be too large: ggml leaves some of these tensors as they are.
uint64_t dicast_operations_packed(uint32_t type, uint64_t width, uint64_t rows, uint64_t matrices, uint64_t bytes);

#ifdef __cplusplus
}
#endif

#endif
