// The accounting of a paged KV cache: blocks in use, blocks kept for reuse, and which of them are evicted first.
#pragma once

#include "tensorrt_llm/executor/executor.h"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

namespace dicast::standin
{

class KvBlocks
{
public:
    using Tokens = tensorrt_llm::executor::VecTokens;
    using Retention = std::optional<tensorrt_llm::executor::KvCacheRetentionConfig>;
    using Stats = tensorrt_llm::executor::KvCacheStats;
    using Key = std::uint64_t;

    // The blocks of one sequence.
    struct Sequence
    {
        // Blocks shared with others or kept for them, from the first token on.
        std::vector<Key> shared;
        std::int32_t reserved{0};
        std::int32_t reused{0};
        std::int32_t missed{0};
        std::uint64_t salt{0};
        Retention retention;
    };

    KvBlocks(std::int32_t capacity, std::int32_t tokensPerBlock, bool reuse);

    // Whether a sequence of that length could ever be held.
    [[nodiscard]] bool fits(std::size_t tokens) const { return blocksFor(tokens) <= capacity_; }
    // Reserves the most that a prompt and the tokens to come may need, and takes over kept blocks with the same
    // beginning; nothing if too few blocks are free.
    std::optional<Sequence> acquire(
        Tokens const& prompt, std::int32_t toCome, std::uint64_t salt, Retention const& retention);
    // The full blocks of these tokens become available to others.
    void store(Sequence& sequence, Tokens const& tokens, std::size_t promptLength);
    void release(Sequence const& sequence);

    [[nodiscard]] Stats stats() const;
    [[nodiscard]] std::int32_t tokensPerBlock() const { return tokensPerBlock_; }

private:
    struct Block
    {
        Tokens tokens;
        Key parent{0};
        std::int32_t users{0};
        std::int32_t priority{0};
        std::uint64_t lastUse{0};
    };

    using Order = std::tuple<std::int32_t, std::uint64_t, Key>;

    [[nodiscard]] std::int32_t blocksFor(std::size_t tokens) const;
    [[nodiscard]] static Key keyOf(Key parent, Tokens const& tokens);
    [[nodiscard]] Tokens blockTokens(Tokens const& tokens, std::size_t index) const;
    [[nodiscard]] std::int32_t priorityAt(Retention const& retention, std::size_t token, std::size_t promptLength) const;
    void use(Key key);
    void unuse(Key key);
    [[nodiscard]] std::int32_t freeBlocks() const;

    std::int32_t capacity_;
    std::int32_t tokensPerBlock_;
    bool reuse_;
    std::map<Key, Block> blocks_;
    std::set<Order> idle_;
    // Blocks that sequences reserve for themselves, in addition to the shared ones.
    std::int32_t private_{0};
    std::uint64_t clock_{0};
    std::int32_t allocated_{0};
    std::int32_t allocatedNew_{0};
    std::int32_t reused_{0};
    std::int32_t missed_{0};
};

} // namespace dicast::standin
