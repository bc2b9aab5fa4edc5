// Dicast stand-in for tests.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace tensorrt_llm::runtime
{

struct RuntimeDefaults
{
    std::optional<std::vector<std::int32_t>> maxAttentionWindowVec;
    std::optional<std::int32_t> sinkTokenLength;
};

} // namespace tensorrt_llm::runtime
