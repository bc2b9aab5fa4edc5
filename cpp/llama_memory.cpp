// llama.cpp zeroes the keys and values of all sequences when a context is made, so that the system has to provide all
// of this memory at once, of which most judgments use a part. A buffer that is mapped is zeroed by giving its pages
// back.
//
// ggml has no setting for this. Its type of buffers in main memory is a table of functions (ggml-backend-impl.h); the
// one that allocates is replaced, once.
#include "llama_memory.h"

#if defined(__SANITIZE_ADDRESS__)
#define DICAST_MAPS_BUFFERS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DICAST_MAPS_BUFFERS 0
#endif
#endif
// A sanitizer sees accesses out of bounds only in memory that malloc gave.
#if !defined(DICAST_MAPS_BUFFERS) && defined(__linux__)
#define DICAST_MAPS_BUFFERS 1
#endif

#if DICAST_MAPS_BUFFERS

#include <ggml-backend-impl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

// From llama.cpp's src/llama-model.h, which it does not install: its version is pinned, and another one would not link.
const std::vector<std::pair<std::string, ggml_tensor *>> &llama_internal_get_tensor_map(const llama_model *model);

namespace {

// Smaller buffers are left to malloc.
constexpr size_t large = size_t{4} << 20;
constexpr size_t huge_page = size_t{2} << 20;

// The mapped buffers, without a lock, which a child of `fork` could inherit locked. Those that find no place are not
// counted.
struct Mapping {
    std::atomic<void *> begin{nullptr};
    std::atomic<size_t> size{0};
};
Mapping mappings[1024];

ggml_backend_buffer_t (*allocate_before)(ggml_backend_buffer_type_t type, size_t size) = nullptr;

void add(void *begin, size_t size) {
    for (Mapping &mapping : mappings) {
        void *none = nullptr;
        if (mapping.begin.compare_exchange_strong(none, begin)) {
            mapping.size = size;
            return;
        }
    }
}

void unmap(ggml_backend_buffer_t buffer) {
    for (Mapping &mapping : mappings) {
        if (mapping.begin == buffer->context) {
            mapping.size = 0;
            mapping.begin = nullptr;
            break;
        }
    }
    munmap(buffer->context, buffer->size);
}

void clear(ggml_backend_buffer_t buffer, uint8_t value) {
    // Refused for locked memory.
    if (value != 0 || madvise(buffer->context, buffer->size, MADV_DONTNEED) != 0) {
        std::memset(buffer->context, value, buffer->size);
    }
}

// Memory from the system, which begins where a large page can begin; null if there is none. Keys and weights are read
// from beginning to end for every token, and the processor reads ahead only within a page: with large ones one core
// reads almost twice as much a second.
void *map(size_t size) {
    const size_t room = size + huge_page;
    void *mapped = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) {
        return nullptr;
    }
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const auto start = reinterpret_cast<uintptr_t>(mapped);
    const size_t before = (huge_page - start % huge_page) % huge_page;
    const size_t used = (size + page - 1) / page * page;
    char *begin = static_cast<char *>(mapped) + before;
    if (before > 0) {
        munmap(mapped, before);
    }
    if (before + used < room) {
        munmap(begin + used, room - before - used);
    }
    // Where the system has no large pages, small ones do.
    (void)madvise(begin, size, MADV_HUGEPAGE);
    return begin;
}

ggml_backend_buffer_t allocate(ggml_backend_buffer_type_t type, size_t size) {
    void *begin = size >= large ? map(size) : nullptr;
    if (begin == nullptr) {
        return allocate_before(type, size);
    }
    // All other functions are those of any buffer of this type.
    ggml_backend_buffer_t small = allocate_before(type, 64);
    if (small == nullptr) {
        munmap(begin, size);
        return nullptr;
    }
    ggml_backend_buffer_i functions = small->iface;
    ggml_backend_buffer_free(small);
    functions.free_buffer = unmap;
    functions.clear = clear;
    add(begin, size);
    return ggml_backend_buffer_init(type, functions, begin, size);
}

// The bytes of a mapping that are in memory.
size_t resident(void *begin, size_t size) {
    unsigned char pages[4096];
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    size_t found = 0;
    for (size_t at = 0; at < size; at += page * sizeof pages) {
        const size_t length = std::min(size - at, page * sizeof pages);
        // Freed meanwhile.
        if (mincore(static_cast<char *>(begin) + at, length, pages) != 0) {
            return size;
        }
        const size_t count = (length + page - 1) / page;
        found +=
            page * static_cast<size_t>(std::count_if(pages, pages + count, [](unsigned char one) { return one & 1; }));
    }
    return std::min(found, size);
}

}  // namespace

void dicast_memory_install(void) {
    ggml_backend_buffer_type_t type = ggml_backend_cpu_buffer_type();
    allocate_before = type->iface.alloc_buffer;
    type->iface.alloc_buffer = allocate;
}

uint64_t dicast_memory_untouched(void) {
    uint64_t untouched = 0;
    for (Mapping &mapping : mappings) {
        void *begin = mapping.begin;
        const size_t size = mapping.size;
        if (begin != nullptr && size > 0) {
            untouched += size - resident(begin, size);
        }
    }
    return untouched;
}

void dicast_memory_unload(const llama_model *model) {
    const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const void *last = nullptr;
    for (const auto &[name, tensor] : llama_internal_get_tensor_map(model)) {
        ggml_backend_buffer_t buffer = tensor->buffer;
        if (buffer == nullptr || buffer == last || std::strcmp(ggml_backend_buffer_name(buffer), "CPU_Mapped") != 0) {
            continue;
        }
        last = buffer;
        const auto begin = reinterpret_cast<uintptr_t>(ggml_backend_buffer_get_base(buffer));
        const uintptr_t first = (begin + page - 1) / page * page;
        const uintptr_t end = (begin + ggml_backend_buffer_get_size(buffer)) / page * page;
        if (first < end) {
            // The pages of a file that is mapped for reading hold what it holds. Refused for locked memory.
            (void)madvise(reinterpret_cast<void *>(first), end - first, MADV_DONTNEED);
        }
    }
}

#else

void dicast_memory_install(void) {}

void dicast_memory_unload(const llama_model *) {}

uint64_t dicast_memory_untouched(void) { return 0; }

#endif
