#include "kv_blocks.h"

#include <algorithm>

namespace dicast::standin
{

KvBlocks::KvBlocks(std::int32_t capacity, std::int32_t tokensPerBlock, bool reuse)
    : capacity_{capacity}
    , tokensPerBlock_{tokensPerBlock}
    , reuse_{reuse}
{
}

std::int32_t KvBlocks::blocksFor(std::size_t tokens) const
{
    auto const size = static_cast<std::size_t>(tokensPerBlock_);
    return static_cast<std::int32_t>((tokens + size - 1) / size);
}

KvBlocks::Key KvBlocks::keyOf(Key parent, Tokens const& tokens)
{
    Key key = parent ^ 0xCBF29CE484222325ULL;
    for (auto const token : tokens)
    {
        key = (key ^ static_cast<Key>(static_cast<std::uint32_t>(token))) * 0x100000001B3ULL;
        key ^= key >> 29;
    }
    return key;
}

KvBlocks::Tokens KvBlocks::blockTokens(Tokens const& tokens, std::size_t index) const
{
    auto const begin = tokens.begin() + static_cast<std::ptrdiff_t>(index * static_cast<std::size_t>(tokensPerBlock_));
    return {begin, begin + tokensPerBlock_};
}

std::int32_t KvBlocks::priorityAt(Retention const& retention, std::size_t token, std::size_t promptLength) const
{
    using Config = tensorrt_llm::executor::KvCacheRetentionConfig;
    if (!retention)
    {
        return Config::kDefaultRetentionPriority;
    }
    if (token >= promptLength)
    {
        return retention->getDecodeRetentionPriority();
    }
    for (auto const& range : retention->getTokenRangeRetentionConfigs())
    {
        auto const at = static_cast<std::int32_t>(token);
        if (at >= range.tokenStart && (!range.tokenEnd || at < *range.tokenEnd))
        {
            return range.priority;
        }
    }
    return Config::kDefaultRetentionPriority;
}

std::int32_t KvBlocks::freeBlocks() const
{
    auto const shared = static_cast<std::int32_t>(blocks_.size() - idle_.size());
    return capacity_ - private_ - shared;
}

void KvBlocks::use(Key key)
{
    auto& block = blocks_.at(key);
    if (block.users++ == 0)
    {
        idle_.erase({block.priority, block.lastUse, key});
    }
    block.lastUse = ++clock_;
}

void KvBlocks::unuse(Key key)
{
    auto& block = blocks_.at(key);
    if (--block.users == 0)
    {
        block.lastUse = ++clock_;
        idle_.emplace(block.priority, block.lastUse, key);
    }
}

std::optional<KvBlocks::Sequence> KvBlocks::acquire(
    Tokens const& prompt, std::int32_t toCome, std::uint64_t salt, Retention const& retention)
{
    Sequence sequence;
    sequence.salt = salt;
    sequence.retention = retention;
    auto const size = static_cast<std::size_t>(tokensPerBlock_);
    // The last token of a prompt is always computed: its logits are needed.
    auto const whole = (prompt.size() - 1) / size;
    Key parent = salt;
    for (std::size_t i = 0; reuse_ && i < whole; ++i)
    {
        auto const tokens = blockTokens(prompt, i);
        auto const key = keyOf(parent, tokens);
        auto const found = blocks_.find(key);
        if (found == blocks_.end() || found->second.tokens != tokens || found->second.parent != parent)
        {
            break;
        }
        sequence.shared.push_back(key);
        parent = key;
    }
    auto const needed = blocksFor(prompt.size() + static_cast<std::size_t>(toCome));
    for (auto const key : sequence.shared)
    {
        use(key);
    }
    auto const matched = static_cast<std::int32_t>(sequence.shared.size());
    if (needed - matched > freeBlocks())
    {
        for (auto const key : sequence.shared)
        {
            unuse(key);
        }
        return std::nullopt;
    }
    sequence.reserved = needed - matched;
    sequence.reused = matched;
    sequence.missed = static_cast<std::int32_t>(whole) - matched;
    private_ += sequence.reserved;
    // Blocks kept for reuse must be evicted if the reservation needs their place.
    while (static_cast<std::int32_t>(blocks_.size()) + private_ > capacity_)
    {
        auto const victim = *idle_.begin();
        idle_.erase(idle_.begin());
        blocks_.erase(std::get<2>(victim));
    }
    allocated_ += needed;
    allocatedNew_ += sequence.reserved;
    reused_ += sequence.reused;
    missed_ += sequence.missed;
    return sequence;
}

void KvBlocks::store(Sequence& sequence, Tokens const& tokens, std::size_t promptLength)
{
    if (!reuse_)
    {
        return;
    }
    Key parent = sequence.shared.empty() ? sequence.salt : sequence.shared.back();
    auto const whole = tokens.size() / static_cast<std::size_t>(tokensPerBlock_);
    for (std::size_t i = sequence.shared.size(); i < whole && sequence.reserved > 0; ++i)
    {
        auto const content = blockTokens(tokens, i);
        auto const key = keyOf(parent, content);
        auto const [found, fresh] = blocks_.try_emplace(key);
        if (fresh)
        {
            found->second.tokens = content;
            found->second.parent = parent;
            found->second.priority
                = priorityAt(sequence.retention, i * static_cast<std::size_t>(tokensPerBlock_), promptLength);
            found->second.users = 1;
            found->second.lastUse = ++clock_;
        }
        else if (found->second.tokens != content || found->second.parent != parent)
        {
            return;
        }
        else
        {
            use(key);
        }
        sequence.shared.push_back(key);
        --sequence.reserved;
        --private_;
        parent = key;
    }
}

void KvBlocks::release(Sequence const& sequence)
{
    // From the end, so that the last block of a chain is evicted first.
    std::for_each(sequence.shared.rbegin(), sequence.shared.rend(), [this](Key key) { unuse(key); });
    private_ -= sequence.reserved;
}

KvBlocks::Stats KvBlocks::stats() const
{
    Stats stats{};
    stats.maxNumBlocks = capacity_;
    stats.freeNumBlocks = freeBlocks();
    stats.usedNumBlocks = capacity_ - stats.freeNumBlocks;
    stats.tokensPerBlock = tokensPerBlock_;
    stats.allocTotalBlocks = allocated_;
    stats.allocNewBlocks = allocatedNew_;
    stats.reusedBlocks = reused_;
    stats.missedBlocks = missed_;
    auto const asked = reused_ + missed_;
    stats.cacheHitRate = asked == 0 ? 0.0F : static_cast<float>(reused_) / static_cast<float>(asked);
    return stats;
}

} // namespace dicast::standin
