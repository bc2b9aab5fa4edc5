#include "trtllm_internal.h"

#include "tensorrt_llm/common/tllmException.h"
#include "tensorrt_llm/executor/executor.h"
#include "tensorrt_llm/plugins/api/tllmPlugin.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <exception>
#include <list>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

// Only the stand-in for the tests defines it.
extern "C" char const *dicast_trtllm_standin() noexcept __attribute__((weak));

namespace dicast::trtllm {

namespace tle = tensorrt_llm::executor;

namespace {

rust::String text(char const *bytes) noexcept { return rust::String::lossy(bytes, std::strlen(bytes)); }

Status failure(Code code, char const *message) noexcept { return Status{code, text(message)}; }

// Restores the process's signal handlers: the library installs its own, which abort.
class SignalHandlers {
public:
    SignalHandlers() noexcept {
        for (int signal = 1; signal < kSignals; ++signal) {
            known[signal] = sigaction(signal, nullptr, &saved[signal]) == 0;
        }
    }

    ~SignalHandlers() {
        for (int signal = 1; signal < kSignals; ++signal) {
            struct sigaction now = {};
            // Only handlers that have changed: another thread of the host may be setting others meanwhile.
            if (known[signal] && sigaction(signal, nullptr, &now) == 0 && now.sa_handler != saved[signal].sa_handler) {
                sigaction(signal, &saved[signal], nullptr);
            }
        }
    }

    SignalHandlers(SignalHandlers const &) = delete;
    SignalHandlers &operator=(SignalHandlers const &) = delete;

private:
    static constexpr int kSignals = 32;
    std::array<struct sigaction, kSignals> saved{};
    std::array<bool, kSignals> known{};
};

// Registers the plugins, once per process. Called under the lock of open_session.
void register_plugins() {
    static bool registered = false;
    if (!registered) {
        registered = initTrtLlmPlugins();
        if (!registered) {
            throw std::runtime_error("the TensorRT-LLM plugins could not be registered");
        }
    }
}

std::string string_of(rust::String const &source) { return std::string(source.data(), source.size()); }

std::list<tle::VecTokens> words_of(rust::Vec<std::int32_t> const &tokens) {
    std::list<tle::VecTokens> words;
    for (auto const token : tokens) {
        words.push_back({token});
    }
    return words;
}

}  // namespace

Status guarded(void (*call)(void *), void *work) noexcept {
    try {
        call(work);
        return Status{Code::Ok, rust::String()};
    } catch (tensorrt_llm::common::TllmException const &exception) {
        return failure(Code::Vendor, exception.what());
    } catch (std::bad_alloc const &) {
        return failure(Code::Memory, "out of host memory");
    } catch (std::exception const &exception) {
        return failure(Code::Standard, exception.what());
    } catch (...) {
        return failure(Code::Foreign, "an exception of an unknown type");
    }
}

struct Session::Impl {
    std::unique_ptr<tle::Executor> executor;
    TokenLengths lengths;
};

Session::Session(std::unique_ptr<Impl> impl) noexcept : impl{std::move(impl)} {}

Session::~Session() {
    // A destructor that throws would end the process.
    static_cast<void>(guard([&] { impl->executor.reset(); }));
}

std::shared_ptr<Probe> Session::probe(ProbePlan const &plan) const noexcept {
    std::shared_ptr<Probe> made;
    static_cast<void>(guard([&] { made = make_probe(plan, impl->lengths); }));
    return made;
}

Status Session::enqueue(Submission const &submission, std::shared_ptr<Probe> probe, std::uint64_t &id) const noexcept {
    return guard([&] {
        tle::SamplingConfig sampling;
        if (submission.temperature > 0) {
            sampling.setTemperature(submission.temperature);
            // If neither is set, the library samples greedily.
            sampling.setTopP(submission.top_p);
            if (submission.top_k > 0) {
                sampling.setTopK(submission.top_k);
            }
            sampling.setSeed(submission.seed);
        } else {
            sampling.setTopK(1);
        }
        tle::OutputConfig output;
        output.excludeInputFromOutput = true;
        output.returnPerfMetrics = true;
        output.returnLogProbs = submission.log_probs;
        tle::Request request{vector_of<tle::TokenIdType>(submission.tokens),
                             submission.max_tokens,
                             /*streaming*/ false,
                             sampling,
                             output,
                             submission.end,
                             submission.end};
        if (!submission.stops.empty()) {
            request.setStopWords(words_of(submission.stops));
        }
        if (!submission.banned.empty()) {
            request.setBadWords(words_of(submission.banned));
        }
        if (!submission.guide.empty()) {
            request.setGuidedDecodingParams(tle::GuidedDecodingParams{
                tle::GuidedDecodingParams::GuideType::kEBNF_GRAMMAR, string_of(submission.guide)});
        }
        if (submission.retained_tokens > 0) {
            constexpr tle::RetentionPriority kPrefix = 90;
            request.setKvCacheRetentionConfig(tle::KvCacheRetentionConfig{
                {tle::KvCacheRetentionConfig::TokenRangeRetentionConfig{0, submission.retained_tokens, kPrefix}}});
        }
        if (submission.allotted_ms > 0) {
            request.setAllottedTimeMs(std::chrono::milliseconds{submission.allotted_ms});
        }
        if (submission.first) {
            constexpr tle::PriorityType kFirst = 0.9F;
            request.setPriority(kFirst);
        }
        if (probe) {
            request.setLogitsPostProcessor(
                [probe](tle::IdType, tle::Tensor &logits, tle::BeamTokens const &tokens, tle::StreamPtr const &stream,
                        std::optional<tle::IdType>) { observe(*probe, logits, tokens, stream); });
        }
        id = impl->executor->enqueueRequest(request);
    });
}

Status Session::await_responses(std::uint32_t timeout_ms, Receiver &receiver) const noexcept {
    return guard([&] {
        for (auto &response : impl->executor->awaitResponses(std::chrono::milliseconds{timeout_ms})) {
            receiver.deliver(make_reply(std::move(response)));
        }
    });
}

Status Session::cancel(std::uint64_t id) const noexcept {
    return guard([&] { impl->executor->cancelRequest(id); });
}

Status Session::statistics(Statistics &statistics) const noexcept {
    return guard([&] {
        for (auto const &iteration : impl->executor->getLatestIterationStats()) {
            statistics.iterations += 1;
            statistics.queued = static_cast<std::uint32_t>(std::max(iteration.numQueuedRequests, 0));
            statistics.active = static_cast<std::uint32_t>(std::max(iteration.numActiveRequests, 0));
            if (auto const &batch = iteration.inflightBatchingStats) {
                statistics.scheduled = static_cast<std::uint32_t>(std::max(batch->numScheduledRequests, 0));
                statistics.steps += batch->numScheduledRequests > 0 ? 1 : 0;
                statistics.computed_tokens +=
                    static_cast<std::uint64_t>(std::max(batch->numCtxTokens + batch->numGenRequests, 0));
            }
            if (auto const &cache = iteration.kvCacheStats) {
                statistics.blocks_total = static_cast<std::uint32_t>(std::max(cache->maxNumBlocks, 0));
                statistics.blocks_used = static_cast<std::uint32_t>(std::max(cache->usedNumBlocks, 0));
                statistics.blocks_reused = static_cast<std::uint64_t>(std::max(cache->reusedBlocks, 0));
                statistics.tokens_per_block = static_cast<std::uint32_t>(std::max(cache->tokensPerBlock, 0));
            }
        }
    });
}

bool Session::accepts_requests() const noexcept {
    bool accepts = false;
    static_cast<void>(guard([&] { accepts = impl->executor->canEnqueueRequests(); }));
    return accepts;
}

Status Session::shut_down() const noexcept {
    return guard([&] { impl->executor->shutdown(); });
}

namespace {

tle::ParallelConfig parallel_config(Settings const &settings) {
    tle::ParallelConfig parallel;
    if (!settings.device_ids.empty()) {
        parallel.setDeviceIds(vector_of<tle::SizeType32>(settings.device_ids));
    }
    if (!settings.worker.empty()) {
        parallel.setCommunicationMode(tle::CommunicationMode::kORCHESTRATOR);
        parallel.setOrchestratorConfig(tle::OrchestratorConfig{true, string_of(settings.worker)});
    }
    return parallel;
}

tle::GuidedDecodingConfig guided_config(Settings const &settings) {
    std::vector<std::string> vocabulary;
    vocabulary.reserve(settings.vocabulary_ends.size());
    auto const *const bytes = reinterpret_cast<char const *>(settings.vocabulary.data());
    std::size_t start = 0;
    for (auto const end : settings.vocabulary_ends) {
        vocabulary.emplace_back(bytes + start, end - start);
        start = end;
    }
    return tle::GuidedDecodingConfig{tle::GuidedDecodingConfig::GuidedDecodingBackend::kXGRAMMAR, std::move(vocabulary),
                                     std::nullopt, vector_of<tle::TokenIdType>(settings.ends)};
}

// If the release supports it: a KV cache that is too small for the longest sequence is then an error, and does not
// silently reduce the limits.
template <typename Config>
auto fail_on_small_cache(Config &config, int) -> decltype(config.setFailFastOnAttentionWindowTooLarge(true)) {
    config.setFailFastOnAttentionWindowTooLarge(true);
}

template <typename Config>
void fail_on_small_cache(Config &, long) {}

tle::ExecutorConfig executor_config(Settings const &settings) {
    tle::KvCacheConfig cache{settings.block_reuse};
    cache.setFreeGpuMemoryFraction(settings.kv_memory_fraction);
    if (settings.kv_max_tokens > 0) {
        cache.setMaxTokens(settings.kv_max_tokens);
    }
    if (settings.kv_host_bytes > 0) {
        cache.setHostCacheSize(settings.kv_host_bytes);
    }
    tle::ExecutorConfig config;
    config.setKvCacheConfig(cache);
    config.setSchedulerConfig(tle::SchedulerConfig{settings.policy == Policy::MaxUtilization
                                                       ? tle::CapacitySchedulerPolicy::kMAX_UTILIZATION
                                                       : tle::CapacitySchedulerPolicy::kGUARANTEED_NO_EVICT});
    config.setEnableChunkedContext(settings.chunked_context);
    if (settings.max_batch_size > 0) {
        config.setMaxBatchSize(settings.max_batch_size);
    }
    if (settings.max_batch_tokens > 0) {
        config.setMaxNumTokens(settings.max_batch_tokens);
    }
    if (settings.max_queue > 0) {
        config.setMaxQueueSize(settings.max_queue);
    }
    config.setParallelConfig(parallel_config(settings));
    if (!settings.worker.empty()) {
        // Milliseconds; without it the loop spins.
        config.setRecvPollPeriodMs(1);
    }
    if (settings.probes) {
        // Probes belong to one request: they run on the first rank only.
        config.setLogitsPostProcessorConfig(tle::LogitsPostProcessorConfig{std::nullopt, std::nullopt, false});
    }
    // The log probability is among all tokens that the grammar admits, not among the top-k ones: with greedy sampling
    // that would be 0.
    config.setNormalizeLogProbs(false);
    // This counter shows that the executor is alive.
    config.setIterStatsMaxIterations(tle::ExecutorConfig::kDefaultIterStatsMaxIterations);
    fail_on_small_cache(config, 0);
    if (settings.guided) {
        config.setGuidedDecodingConfig(guided_config(settings));
    }
    return config;
}

TokenLengths token_lengths(Settings const &settings) {
    auto lengths = std::make_shared<std::vector<std::uint16_t>>();
    lengths->reserve(settings.vocabulary_ends.size());
    std::uint32_t start = 0;
    for (auto const end : settings.vocabulary_ends) {
        lengths->push_back(static_cast<std::uint16_t>(std::min<std::uint32_t>(end - start, UINT16_MAX)));
        start = end;
    }
    return lengths;
}

}  // namespace

std::unique_ptr<Session> open_session(Settings const &settings, Status &status) noexcept {
    std::unique_ptr<Session> session;
    status = guard([&] {
        // One at a time: the saved and restored state belongs to the whole process.
        static std::mutex opening;
        std::lock_guard<std::mutex> const lock{opening};
        SignalHandlers const handlers;
        register_plugins();
        auto impl = std::make_unique<Session::Impl>();
        impl->lengths = token_lengths(settings);
        impl->executor = std::make_unique<tle::Executor>(string_of(settings.engine_folder),
                                                         tle::ModelType::kDECODER_ONLY, executor_config(settings));
        session = std::make_unique<Session>(std::move(impl));
    });
    return session;
}

rust::String library_version() noexcept { return text(tle::version()); }

rust::String library_label() noexcept {
    return dicast_trtllm_standin != nullptr ? text(dicast_trtllm_standin()) : rust::String();
}

}  // namespace dicast::trtllm
