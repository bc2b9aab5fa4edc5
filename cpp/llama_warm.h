// The static objects that llama.cpp and ggml make on first use.
#ifndef DICAST_LLAMA_WARM_H
#define DICAST_LLAMA_WARM_H

#include <llama.h>

#include <cstddef>

extern const size_t dicast_warm_steps;

// Makes those of one step, and uses them no longer when it returns. May throw.
void dicast_warm_step(size_t step);

#endif
