// Large memory of llama.cpp that takes room only as far as it is used.
#ifndef DICAST_LLAMA_MEMORY_H
#define DICAST_LLAMA_MEMORY_H

#include <llama.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Lets llama.cpp's large buffers in main memory be mapped from the system, whose new pages read as zero and take no
// memory until they are written. Call it once, before any model is loaded. Does nothing on systems other than Linux.
void dicast_memory_install(void);

// Takes the pages of a model's file out of this process's memory, where the model is computed from copies. They come
// back, from the system's cache if it still has them, when something reads them. For a model that is in use by no other
// thread.
void dicast_memory_unload(const struct llama_model *model);

// The bytes of such buffers that take no memory yet. Any thread may ask at any time.
uint64_t dicast_memory_untouched(void);

#ifdef __cplusplus
}
#endif

#endif
