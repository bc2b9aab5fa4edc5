// The script in an engine folder: what is generated and which faults happen. README.md describes the format.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dicast::standin
{

struct Throw
{
    enum class Kind
    {
        kTllm,
        kRequest,
        kStd,
        kInt
    };

    Kind kind{Kind::kTllm};
    std::string message;

    [[noreturn]] void now() const;
};

enum class Hang
{
    kNo,
    kUntilCancelled,
    kUntilShutdown
};

enum class Crash
{
    kNo,
    kWithErrors,
    kSilent,
    // The whole process aborts.
    kProcess
};

// What a log probability is the share of.
enum class LogProbs
{
    kAdmitted,
    kVocabulary
};

struct Rule
{
    std::optional<std::uint64_t> order;
    std::optional<std::uint64_t> every;
    std::optional<std::string> contains;
    std::optional<std::string> endsWith;
    std::vector<std::int32_t> containsTokens;

    std::string text;
    std::vector<std::int32_t> tokens;
    bool ends{true};
    std::map<std::string, float> biasText;
    std::map<std::int32_t, float> biasToken;
    std::chrono::microseconds delay{0};

    std::optional<Throw> atEnqueue;
    std::optional<Throw> atAwait;
    std::optional<Throw> inStep;
    // Thrown in this step and in all later ones, like a permanent CUDA error.
    std::optional<Throw> sticky;
    std::optional<std::string> error;
    std::int32_t errorAfter{0};
    Hang hang{Hang::kNo};
    // Nothing is generated while the folder has this file.
    std::optional<std::string> hold;
    std::optional<int> finishReason;
    Crash crash{Crash::kNo};
    bool twice{false};
};

struct Script
{
    std::chrono::microseconds step{0};
    std::optional<std::int32_t> kvBlocks;
    float strength{20.0F};
    bool mpiInitialised{false};
    LogProbs logProbs{LogProbs::kAdmitted};
    std::chrono::milliseconds shutdown{0};
    std::chrono::milliseconds await{0};
    std::optional<Throw> atOpen;
    std::vector<Rule> rules;

    // The script of an engine folder; an empty one if there is none. Throws if a line cannot be read.
    static Script read(std::filesystem::path const& file);

    [[nodiscard]] bool needsVocabulary() const;
};

} // namespace dicast::standin
