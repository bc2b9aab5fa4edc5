#include "harness.h"

#include "tensorrt_llm/plugins/api/tllmPlugin.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace selftest
{

namespace
{

#if defined(__SANITIZE_ADDRESS__)
constexpr char const* kSanitizer = "address";
#elif defined(__SANITIZE_THREAD__)
constexpr char const* kSanitizer = "thread";
#else
constexpr char const* kSanitizer = "none";
#endif

int checks = 0;
int failed = 0;
int folders = 0;

std::filesystem::path const& scratch()
{
    static std::filesystem::path const kScratch = []
    {
        std::string name = (std::filesystem::temp_directory_path() / "dicast-standin-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr)
        {
            std::perror("mkdtemp");
            std::exit(1);
        }
        return std::filesystem::path{name};
    }();
    return kScratch;
}

// Before the plugins are registered, and before the first executor has taken over the signals.
void firstExecutor()
{
    auto const folder = makeEngine("rule\ntokens 65 66\n");
    auto const open = [&folder] { Executor{folder, executor::ModelType::kDECODER_ONLY, executor::ExecutorConfig{}}; };
    auto const mine = [](int) {};
    std::signal(SIGABRT, mine);
    CHECK(thrown(open) == "tllm");
    CHECK(!initTrtLlmPlugins(nullptr, "elsewhere"));
    CHECK(initTrtLlmPlugins(nullptr, "tensorrt_llm"));
    CHECK(thrown(open).empty());
    CHECK(std::signal(SIGABRT, mine) != static_cast<void (*)(int)>(mine));
    CHECK(thrown(open).empty());
    CHECK(std::signal(SIGABRT, SIG_DFL) == static_cast<void (*)(int)>(mine));
    CHECK(std::strstr(executor::version(), "standin") != nullptr);
    CHECK(std::strstr(dicast_trtllm_standin(), "for tests only") != nullptr);
}

} // namespace

void check(bool condition, char const* text, char const* file, int line)
{
    ++checks;
    if (!condition)
    {
        ++failed;
        std::fprintf(stderr, "%s:%d: %s\n", file, line, text);
    }
}

int failures() { return failed; }

std::filesystem::path makeEngine(std::string const& script, std::string const& options)
{
    auto const folder = scratch() / std::to_string(folders++);
    auto const file = scratch() / "script";
    std::ofstream{file} << script;
    std::string const command = std::string{STANDIN_SOURCE} + "/make_engine.sh --vocab-size "
        + std::to_string(kVocabulary) + " --script " + file.string() + " " + options + " " + folder.string();
    CHECK(std::system(command.c_str()) == 0);
    return folder;
}

std::vector<std::string> vocabulary()
{
    std::vector<std::string> entries;
    for (int byte = 0; byte < 256; ++byte)
    {
        entries.emplace_back(1, static_cast<char>(byte));
    }
    for (auto const* word : {"<|im_end|>", "<think>", "</think>", "hello"})
    {
        entries.emplace_back(word);
    }
    return entries;
}

executor::ExecutorConfig guidedConfig()
{
    using Guided = executor::GuidedDecodingConfig;
    executor::ExecutorConfig config;
    config.setGuidedDecodingConfig(Guided{Guided::GuidedDecodingBackend::kXGRAMMAR, vocabulary(), std::nullopt,
        std::vector<executor::TokenIdType>{kEnd}});
    return config;
}

Tokens encode(std::string const& text)
{
    Tokens tokens;
    for (char const c : text)
    {
        tokens.push_back(static_cast<unsigned char>(c));
    }
    return tokens;
}

std::string decode(Tokens const& tokens)
{
    auto const entries = vocabulary();
    std::string text;
    for (auto const token : tokens)
    {
        text += entries.at(static_cast<std::size_t>(token));
    }
    return text;
}

Request request(std::string const& prompt, executor::SizeType32 maxTokens)
{
    Request request{encode(prompt), maxTokens};
    request.setEndId(kEnd);
    request.setOutputConfig(executor::OutputConfig{false, false, false, true});
    return request;
}

Response await(Executor& executor, executor::IdType id)
{
    auto const responses = executor.awaitResponses(id, kPatience);
    CHECK(responses.size() == 1);
    return responses.empty() ? Response{id, std::string{"no response in time"}} : responses.front();
}

Response run(Executor& executor, Request const& request) { return await(executor, executor.enqueueRequest(request)); }

std::string textOf(Response const& response)
{
    return response.hasError() ? "error: " + response.getErrorMsg()
                               : decode(response.getResult().outputTokenIds.front());
}

executor::FinishReason reasonOf(Response const& response)
{
    return response.hasError() ? executor::FinishReason::kNOT_FINISHED : response.getResult().finishReasons.front();
}

} // namespace selftest

int main()
{
    selftest::firstExecutor();
    selftest::grammars();
    selftest::generation();
    selftest::faults();
    selftest::concurrency();
    std::filesystem::remove_all(selftest::scratch());
    std::printf("%d checks, %d failed, sanitizer: %s\n", selftest::checks, selftest::failures(), selftest::kSanitizer);
    return selftest::failures() == 0 ? 0 : 1;
}
