// Shared by the self-tests: checks that report and go on, engine folders, a vocabulary of bytes.
#pragma once

#include "tensorrt_llm/executor/executor.h"

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace selftest
{

namespace executor = tensorrt_llm::executor;

using Executor = executor::Executor;
using Request = executor::Request;
using Response = executor::Response;
using Tokens = executor::VecTokens;

// Long enough for a loaded machine under a sanitizer; a passing test never waits for it.
constexpr std::chrono::milliseconds kPatience{60'000};

// The vocabulary: token i is byte i, followed by these.
constexpr executor::TokenIdType kEnd = 256;
constexpr executor::TokenIdType kThink = 257;
constexpr executor::TokenIdType kCloseThink = 258;
constexpr executor::TokenIdType kHello = 259;
constexpr executor::SizeType32 kVocabulary = 320;

void check(bool condition, char const* text, char const* file, int line);
[[nodiscard]] int failures();

// A fresh engine folder with that script, made by make_engine.sh with those options.
[[nodiscard]] std::filesystem::path makeEngine(std::string const& script, std::string const& options = "");
[[nodiscard]] std::vector<std::string> vocabulary();
[[nodiscard]] executor::ExecutorConfig guidedConfig();
[[nodiscard]] Tokens encode(std::string const& text);
[[nodiscard]] std::string decode(Tokens const& tokens);
[[nodiscard]] Request request(std::string const& prompt, executor::SizeType32 maxTokens = 64);
// The single response of a request that does not stream.
[[nodiscard]] Response await(Executor& executor, executor::IdType id);
[[nodiscard]] Response run(Executor& executor, Request const& request);
[[nodiscard]] std::string textOf(Response const& response);
[[nodiscard]] executor::FinishReason reasonOf(Response const& response);
// What an action throws: "tllm", "request", "std", "other" or "" for nothing.
template <typename Action>
[[nodiscard]] std::string thrown(Action&& action);

void grammars();
void generation();
void concurrency();
void faults();

} // namespace selftest

#define CHECK(condition) ::selftest::check((condition), #condition, __FILE__, __LINE__)

#include "tensorrt_llm/common/tllmException.h"

template <typename Action>
std::string selftest::thrown(Action&& action)
{
    try
    {
        action();
    }
    catch (tensorrt_llm::common::TllmException const&)
    {
        return "tllm";
    }
    catch (tensorrt_llm::common::RequestSpecificException const&)
    {
        return "request";
    }
    catch (std::exception const&)
    {
        return "std";
    }
    catch (...)
    {
        return "other";
    }
    return "";
}
