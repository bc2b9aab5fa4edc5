#include "llama_cpu.h"

#if DICAST_KERNELS

#include "llama_avx2.h"
// After it.
#include "llama_attention_kernels.h"

#endif
