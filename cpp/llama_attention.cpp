#include "llama_attention.h"

#include "llama_attention_parts.h"
#include "llama_cpu.h"

namespace dicast::attention {

namespace {

const Kernel *find(int64_t size) {
#if DICAST_KERNELS
    switch (cpu::instructions()) {
        case cpu::Instructions::AVX512:
            return avx512::find(size);
        case cpu::Instructions::AVX2:
            return avx2::find(size);
        case cpu::Instructions::OTHERS:
            break;
    }
#endif
    (void)size;
    return nullptr;
}

}  // namespace

bool available(int64_t size) { return find(size) != nullptr; }

int64_t parts(const Problem &problem, int64_t threads) { return cut(problem, threads).parts(); }

size_t scratch(int64_t size) { return find(size)->scratch; }

void compute(const Problem &problem, int64_t threads, int64_t part, void *scratch) {
    const Cut by = cut(problem, threads);
    const int64_t sharing = problem.heads / problem.key_heads;
    const int64_t key_head = part / by.parts_of_key_heads() * by.key_heads;
    const int64_t group = part % by.parts_of_key_heads() / by.parts_of_group();
    const int64_t in_group = part % by.parts_of_group();
    // Where the group begins and how much of it there is, then the same of the part in it.
    const int64_t group_head = group / by.token_groups * by.heads;
    const int64_t group_token = group % by.token_groups * by.tokens;
    const int64_t group_heads = std::min(by.heads, sharing - group_head);
    const int64_t group_tokens = std::min(by.tokens, problem.tokens - group_token);
    const int64_t head = in_group / by.token_parts * by.part_heads;
    const int64_t token = in_group % by.token_parts * by.part_tokens;
    // The last group can be smaller than the others.
    if (head < group_heads && token < group_tokens) {
        const Part one = {
            key_head,
            std::min(by.key_heads, problem.key_heads - key_head),
            group_head + head,
            std::min(by.part_heads, group_heads - head),
            group_token + token,
            std::min(by.part_tokens, group_tokens - token),
            group_token,
            group_tokens,
            group_heads,
        };
        find(problem.size)->compute(problem, one, scratch);
    }
}

}  // namespace dicast::attention
