// What the stand-in reads from an engine folder.
#pragma once

#include "script.h"

#include <cstdint>
#include <filesystem>
#include <string>

namespace dicast::standin
{

struct EngineFolder
{
    std::filesystem::path path;
    Script script;
    std::int32_t worldSize{1};
    std::int32_t vocabularySize{0};
    std::int32_t maxBatchSize{0};
    std::int32_t maxNumTokens{0};
    std::int32_t maxInputLength{0};
    std::int32_t maxSequenceLength{0};
    std::int32_t tokensPerBlock{0};
    bool pagedContext{false};
    std::string logitsType;

    // Throws if a file is missing or is not the stand-in's.
    static EngineFolder read(std::filesystem::path const& path);
};

} // namespace dicast::standin
