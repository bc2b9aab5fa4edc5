// The static objects that llama.cpp and ggml create on first use.
#ifndef DICAST_LLAMA_WARM_H
#define DICAST_LLAMA_WARM_H

#include <llama.h>

#include <cstddef>

extern const size_t dicast_warm_steps;

// Creates the objects of one step, and no longer uses them when it returns. May throw.
void dicast_warm_step(size_t step);

#endif
