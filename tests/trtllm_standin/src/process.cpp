#include "process.h"

#include "check.h"
#include "tensorrt_llm/executor/executor.h"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <unistd.h>

namespace
{

std::atomic<bool> pluginsAreReady{false};

// The vendor's handler aborts all ranks; for a host it matters that its own handler no longer runs.
void onFatalSignal(int)
{
    constexpr char kText[] = "dicast trtllm stand-in: fatal signal\n";
    [[maybe_unused]] auto const written = ::write(STDERR_FILENO, kText, sizeof kText - 1);
    ::_exit(EXIT_FAILURE);
}

std::int32_t environment(char const* name, std::int32_t otherwise)
{
    char const* value = std::getenv(name);
    return value == nullptr ? otherwise : static_cast<std::int32_t>(std::strtol(value, nullptr, 10));
}

} // namespace

extern "C" char const* dicast_trtllm_standin() noexcept
{
    return "Dicast's stand-in for TensorRT-LLM " STANDIN_VERSION ": for tests only, generates scripted text";
}

// No library defines it, like the vendor's references to TensorRT if that is not installed: programs must link without
// it. Nothing calls it.
extern "C" void dicast_trtllm_standin_lies_elsewhere();
extern "C" void dicast_trtllm_standin_unused() { dicast_trtllm_standin_lies_elsewhere(); }

extern "C" void dicast_trtllm_standin_plugins_ready() noexcept { pluginsAreReady = true; }

namespace tensorrt_llm::executor
{

char const* version() noexcept
{
    char const* asked = std::getenv("DICAST_TRTLLM_STANDIN_VERSION");
    return asked == nullptr ? STANDIN_VERSION "+dicast.standin" : asked;
}

} // namespace tensorrt_llm::executor

namespace dicast::standin
{

bool pluginsReady() { return pluginsAreReady; }

void initialiseMpi(bool byHost)
{
    static std::once_flag once;
    std::call_once(once,
        [byHost]
        {
            for (int const number : {SIGABRT, SIGSEGV})
            {
                STANDIN_CHECK(byHost || std::signal(number, onFatalSignal) != SIG_ERR, "a signal handler failed");
            }
        });
}

std::int32_t mpiWorldSize() { return environment("OMPI_COMM_WORLD_SIZE", 1); }
std::int32_t mpiRank() { return environment("OMPI_COMM_WORLD_RANK", 0); }

} // namespace dicast::standin
