#include "trtllm_adapter.h"

#include "dicast/src/engine/trtllm/bridge.rs.h"

#include "tensorrt_llm/common/tllmException.h"
#include "tensorrt_llm/executor/executor.h"
#include "tensorrt_llm/plugins/api/tllmPlugin.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <exception>
#include <functional>
#include <list>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

// Only the stand-in that the tests run against defines it.
extern "C" char const* dicast_trtllm_standin() noexcept __attribute__((weak));

namespace dicast::trtllm
{

namespace tle = tensorrt_llm::executor;
using Clock = std::chrono::steady_clock;

namespace
{

rust::String text(char const* bytes) noexcept
{
    return rust::String::lossy(bytes, std::strlen(bytes));
}

Status failure(Code code, char const* message) noexcept
{
    return Status{code, text(message)};
}

// The one place where exceptions, of whatever type, become a Status.
template <typename Work>
Status guard(Work&& work) noexcept
{
    try
    {
        std::forward<Work>(work)();
        return Status{Code::Ok, rust::String()};
    }
    catch (tensorrt_llm::common::TllmException const& exception)
    {
        return failure(Code::Vendor, exception.what());
    }
    catch (std::bad_alloc const&)
    {
        return failure(Code::Memory, "out of host memory");
    }
    catch (std::exception const& exception)
    {
        return failure(Code::Standard, exception.what());
    }
    catch (...)
    {
        return failure(Code::Foreign, "an exception of an unknown type");
    }
}

// Puts the process's signal handlers back: the library installs its own, which abort.
class SignalHandlers
{
public:
    SignalHandlers() noexcept
    {
        for (int signal = 1; signal < kSignals; ++signal)
        {
            known[signal] = sigaction(signal, nullptr, &saved[signal]) == 0;
        }
    }

    ~SignalHandlers()
    {
        for (int signal = 1; signal < kSignals; ++signal)
        {
            struct sigaction now = {};
            // Only what was changed: another thread of the host may be setting others meanwhile.
            if (known[signal] && sigaction(signal, nullptr, &now) == 0 && now.sa_handler != saved[signal].sa_handler)
            {
                sigaction(signal, &saved[signal], nullptr);
            }
        }
    }

    SignalHandlers(SignalHandlers const&) = delete;
    SignalHandlers& operator=(SignalHandlers const&) = delete;

private:
    static constexpr int kSignals = 32;
    std::array<struct sigaction, kSignals> saved{};
    std::array<bool, kSignals> known{};
};

// Registers the plugins, once in a process. Called under the lock of open_session.
void register_plugins()
{
    static bool registered = false;
    if (!registered)
    {
        registered = initTrtLlmPlugins();
        if (!registered)
        {
            throw std::runtime_error("the TensorRT-LLM plugins could not be registered");
        }
    }
}

template <typename Target, typename Source>
std::vector<Target> vector_of(Source const& source)
{
    return std::vector<Target>(source.begin(), source.end());
}

std::string string_of(rust::String const& source)
{
    return std::string(source.data(), source.size());
}

std::list<tle::VecTokens> words_of(rust::Vec<std::int32_t> const& tokens)
{
    std::list<tle::VecTokens> words;
    for (auto const token : tokens)
    {
        words.push_back({token});
    }
    return words;
}

std::size_t element_bytes(tle::DataType type)
{
    switch (type)
    {
    case tle::DataType::kFP32: return 4;
    case tle::DataType::kFP16:
    case tle::DataType::kBF16: return 2;
    default: throw std::runtime_error("the engine's logits are of a type that cannot be read");
    }
}

float from_bits(std::uint32_t bits)
{
    float value = 0;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

float half_to_float(std::uint16_t half)
{
    std::uint32_t const sign = (half & 0x8000U) << 16;
    std::uint32_t const exponent = (half >> 10) & 0x1FU;
    std::uint32_t const fraction = half & 0x3FFU;
    if (exponent == 0)
    {
        float const magnitude = static_cast<float>(fraction) / 16777216.0F; // 2^-24 each
        return sign != 0 ? -magnitude : magnitude;
    }
    std::uint32_t const widened = exponent == 0x1FU ? 0xFFU : exponent + 112;
    return from_bits(sign | widened << 23 | fraction << 13);
}

float logit_at(void const* data, std::size_t index, tle::DataType type)
{
    if (type == tle::DataType::kFP32)
    {
        return static_cast<float const*>(data)[index];
    }
    auto const bits = static_cast<std::uint16_t const*>(data)[index];
    return type == tle::DataType::kBF16 ? from_bits(static_cast<std::uint32_t>(bits) << 16) : half_to_float(bits);
}

std::uint64_t microseconds(Clock::time_point from, Clock::time_point to)
{
    return to > from ? std::chrono::duration_cast<std::chrono::microseconds>(to - from).count() : 0;
}

} // namespace

// ---- probes

// Follows an output token by token: whether the answer has begun, and how long it is.
struct Walk
{
    bool in_answer = false;
    std::uint32_t answer_bytes = 0;
};

struct Probe::Impl
{
    Impl(ProbePlan const& plan, std::shared_ptr<std::vector<std::uint16_t> const> lengths)
        : prompt_tokens{plan.prompt_tokens}
        , after{plan.after}
        , at{vector_of<std::uint32_t>(plan.at)}
        , ends{vector_of<std::uint32_t>(plan.ends)}
        , tokens{vector_of<std::int32_t>(plan.tokens)}
        , lengths{std::move(lengths)}
        , walk{plan.after < 0, 0}
    {
    }

    void step(Walk& state, std::int32_t token) const
    {
        if (state.in_answer)
        {
            auto const index = static_cast<std::size_t>(token);
            state.answer_bytes += index < lengths->size() ? (*lengths)[index] : 0;
        }
        else
        {
            state.in_answer = token == after;
        }
    }

    // The place at which an output stands, if it is one.
    std::optional<std::size_t> place(Walk const& state) const
    {
        auto const found = std::lower_bound(at.begin(), at.end(), state.answer_bytes);
        if (!state.in_answer || found == at.end() || *found != state.answer_bytes)
        {
            return std::nullopt;
        }
        return static_cast<std::size_t>(found - at.begin());
    }

    std::pair<std::size_t, std::size_t> range(std::size_t place) const
    {
        return {place == 0 ? 0 : ends[place - 1], ends[place]};
    }

    // Copies the logits of the tokens of a place: asynchronously where they lie on a GPU, one copy for each run of
    // neighbouring tokens.
    void capture(std::size_t place, tle::Tensor& logits, tle::StreamPtr const& stream)
    {
        auto const type = logits.getDataType();
        auto const width = element_bytes(type);
        auto* const base = static_cast<char*>(logits.getData());
        auto const vocabulary = logits.getSize();
        Captured captured{static_cast<std::uint32_t>(place), {}};
        auto const [first, last] = range(place);
        for (auto index = first; index < last;)
        {
            auto run = index + 1;
            while (run < last && tokens[run] == tokens[run - 1] + 1)
            {
                ++run;
            }
            auto const start = static_cast<std::size_t>(tokens[index]);
            if (start + (run - index) > vocabulary)
            {
                throw std::runtime_error("a score's token lies past the engine's vocabulary");
            }
            auto const count = static_cast<tle::Shape::DimType64>(run - index);
            auto const slice = tle::Tensor::of(type, base + start * width, {count});
            captured.runs.push_back(slice.copyToPooledPinned(stream));
            index = run;
        }
        // A step that the executor computed twice, after it paused the request, counts once.
        if (!captures.empty() && captures.back().place == captured.place)
        {
            captures.back() = std::move(captured);
        }
        else
        {
            captures.push_back(std::move(captured));
        }
    }

    void on_logits(tle::Tensor& logits, tle::BeamTokens const& beams, tle::StreamPtr const& stream)
    {
        std::lock_guard<std::mutex> const lock{mutex};
        auto const& all = beams.at(0);
        for (; seen + prompt_tokens < all.size(); ++seen)
        {
            step(walk, all[seen + prompt_tokens]);
        }
        if (auto const here = place(walk))
        {
            capture(*here, logits, stream);
        }
    }

    struct Captured
    {
        std::uint32_t place;
        std::vector<tle::Tensor> runs;
    };

    std::size_t const prompt_tokens;
    std::int32_t const after;
    std::vector<std::uint32_t> const at;
    std::vector<std::uint32_t> const ends;
    std::vector<std::int32_t> const tokens;
    std::shared_ptr<std::vector<std::uint16_t> const> const lengths;

    mutable std::mutex mutex;
    std::size_t seen = 0;
    Walk walk;
    std::vector<Captured> captures;
    std::exception_ptr failed;
};

Probe::Probe(std::unique_ptr<Impl> impl) noexcept
    : impl{std::move(impl)}
{
}

Probe::~Probe() = default;

Status Probe::read(rust::Vec<std::uint32_t>& places, rust::Vec<float>& logits) const noexcept
{
    return guard(
        [&]
        {
            std::lock_guard<std::mutex> const lock{impl->mutex};
            if (impl->failed)
            {
                std::rethrow_exception(impl->failed);
            }
            for (auto const& captured : impl->captures)
            {
                places.push_back(captured.place);
                for (auto const& run : captured.runs)
                {
                    for (std::size_t index = 0; index < run.getSize(); ++index)
                    {
                        logits.push_back(logit_at(run.getData(), index, run.getDataType()));
                    }
                }
            }
        });
}

// ---- replies

struct Reply::Impl
{
    explicit Impl(tle::Response&& moved)
        : response{std::move(moved)}
        , request{response.getRequestId()}
        , failed{response.hasError()}
        , result{failed ? nullptr : &response.getResult()}
    {
        if (result != nullptr && !result->outputTokenIds.empty())
        {
            tokens = &result->outputTokenIds.front();
        }
    }

    tle::Response response;
    std::uint64_t request;
    bool failed;
    // Both point into the response.
    tle::Result const* result;
    tle::VecTokens const* tokens = nullptr;
};

Reply::Reply(std::unique_ptr<Impl> impl) noexcept
    : impl{std::move(impl)}
{
}

Reply::~Reply() = default;

std::uint64_t Reply::request() const noexcept
{
    return impl->request;
}

bool Reply::is_final() const noexcept
{
    return impl->failed || impl->result->isFinal;
}

bool Reply::failed() const noexcept
{
    return impl->failed;
}

rust::String Reply::error() const noexcept
{
    rust::String message;
    auto const status = guard(
        [&]
        {
            auto const& error = impl->response.getErrorMsg();
            message = rust::String::lossy(error.data(), error.size());
        });
    return status.code == Code::Ok ? message : status.message;
}

std::int32_t Reply::finish_reason() const noexcept
{
    auto const* const result = impl->result;
    auto const reason = result != nullptr && !result->finishReasons.empty() ? result->finishReasons.front()
                                                                            : tle::FinishReason::kNOT_FINISHED;
    return static_cast<std::int32_t>(reason);
}

rust::Slice<std::int32_t const> Reply::tokens() const noexcept
{
    if (impl->tokens == nullptr)
    {
        return {};
    }
    return {impl->tokens->data(), impl->tokens->size()};
}

Metrics Reply::metrics() const noexcept
{
    Metrics metrics{};
    if (impl->result != nullptr && impl->result->requestPerfMetrics)
    {
        auto const& times = impl->result->requestPerfMetrics->timingMetrics;
        metrics.queue_us = microseconds(times.arrivalTime, times.firstScheduledTime);
        metrics.prefill_us = microseconds(times.firstScheduledTime, times.firstTokenTime);
        metrics.decode_us = microseconds(times.firstTokenTime, times.lastTokenTime);
        auto const reused = impl->result->requestPerfMetrics->kvCacheMetrics.numReusedBlocks;
        metrics.reused_blocks = static_cast<std::uint32_t>(std::max(reused, 0));
    }
    return metrics;
}

Status Reply::gathered(
    Probe const& probe, rust::Vec<std::uint32_t>& places, rust::Vec<float>& logits) const noexcept
{
    return guard(
        [&]
        {
            if (impl->result == nullptr || !impl->result->generationLogits || impl->tokens == nullptr)
            {
                throw std::runtime_error("the engine gave no generation logits");
            }
            auto const& tensor = *impl->result->generationLogits;
            auto const shape = tensor.getShape();
            if (shape.size() != 3 || shape[0] != 1)
            {
                throw std::runtime_error("the engine's generation logits have an unknown shape");
            }
            auto const rows = static_cast<std::size_t>(shape[1]);
            auto const vocabulary = static_cast<std::size_t>(shape[2]);
            auto const& plan = *probe.impl;
            Walk walk{plan.after < 0, 0};
            for (std::size_t row = 0; row < std::min(rows, impl->tokens->size()); ++row)
            {
                if (auto const place = plan.place(walk))
                {
                    places.push_back(static_cast<std::uint32_t>(*place));
                    auto const [first, last] = plan.range(*place);
                    for (auto index = first; index < last; ++index)
                    {
                        auto const token = static_cast<std::size_t>(plan.tokens[index]);
                        if (token >= vocabulary)
                        {
                            throw std::runtime_error("a score's token lies past the engine's vocabulary");
                        }
                        logits.push_back(logit_at(tensor.getData(), row * vocabulary + token, tensor.getDataType()));
                    }
                }
                plan.step(walk, (*impl->tokens)[row]);
            }
        });
}

// ---- sessions

struct Session::Impl
{
    std::unique_ptr<tle::Executor> executor;
    // Bytes that each token writes.
    std::shared_ptr<std::vector<std::uint16_t> const> lengths;
};

Session::Session(std::unique_ptr<Impl> impl) noexcept
    : impl{std::move(impl)}
{
}

Session::~Session()
{
    // A destructor that throws would end the process.
    static_cast<void>(guard([&] { impl->executor.reset(); }));
}

std::shared_ptr<Probe> Session::probe(ProbePlan const& plan) const noexcept
{
    std::shared_ptr<Probe> made;
    static_cast<void>(guard(
        [&] { made = std::make_shared<Probe>(std::make_unique<Probe::Impl>(plan, impl->lengths)); }));
    return made;
}

Status Session::enqueue(
    Submission const& submission, std::shared_ptr<Probe> probe, std::uint64_t& id) const noexcept
{
    return guard(
        [&]
        {
            tle::SamplingConfig sampling;
            if (submission.temperature > 0)
            {
                sampling.setTemperature(submission.temperature);
                // Neither of them set means greedy to the library.
                sampling.setTopP(submission.top_p);
                if (submission.top_k > 0)
                {
                    sampling.setTopK(submission.top_k);
                }
                sampling.setSeed(submission.seed);
            }
            else
            {
                sampling.setTopK(1);
            }
            tle::OutputConfig output;
            output.excludeInputFromOutput = true;
            output.returnPerfMetrics = true;
            output.returnGenerationLogits = submission.gather_generation_logits;
            tle::Request request{vector_of<tle::TokenIdType>(submission.tokens), submission.max_tokens,
                /*streaming*/ false, sampling, output, submission.end, submission.end};
            if (!submission.stops.empty())
            {
                request.setStopWords(words_of(submission.stops));
            }
            if (!submission.banned.empty())
            {
                request.setBadWords(words_of(submission.banned));
            }
            if (!submission.guide.empty())
            {
                request.setGuidedDecodingParams(tle::GuidedDecodingParams{
                    tle::GuidedDecodingParams::GuideType::kEBNF_GRAMMAR, string_of(submission.guide)});
            }
            if (submission.retained_tokens > 0)
            {
                constexpr tle::RetentionPriority kPrefix = 90;
                request.setKvCacheRetentionConfig(tle::KvCacheRetentionConfig{
                    {tle::KvCacheRetentionConfig::TokenRangeRetentionConfig{0, submission.retained_tokens, kPrefix}}});
            }
            if (submission.allotted_ms > 0)
            {
                request.setAllottedTimeMs(std::chrono::milliseconds{submission.allotted_ms});
            }
            if (probe)
            {
                request.setLogitsPostProcessor(
                    [probe](tle::IdType, tle::Tensor& logits, tle::BeamTokens const& tokens,
                        tle::StreamPtr const& stream, std::optional<tle::IdType>)
                    {
                        // An exception here would fail every request of the batch.
                        try
                        {
                            probe->impl->on_logits(logits, tokens, stream);
                        }
                        catch (...)
                        {
                            std::lock_guard<std::mutex> const lock{probe->impl->mutex};
                            probe->impl->failed = std::current_exception();
                        }
                    });
            }
            id = impl->executor->enqueueRequest(request);
        });
}

Status Session::await_responses(std::uint32_t timeout_ms, Receiver& receiver) const noexcept
{
    return guard(
        [&]
        {
            for (auto& response : impl->executor->awaitResponses(std::chrono::milliseconds{timeout_ms}))
            {
                receiver.deliver(std::make_unique<Reply>(std::make_unique<Reply::Impl>(std::move(response))));
            }
        });
}

Status Session::cancel(std::uint64_t id) const noexcept
{
    return guard([&] { impl->executor->cancelRequest(id); });
}

Status Session::statistics(Statistics& statistics) const noexcept
{
    return guard(
        [&]
        {
            for (auto const& iteration : impl->executor->getLatestIterationStats())
            {
                statistics.steps += 1;
                statistics.queued = static_cast<std::uint32_t>(std::max(iteration.numQueuedRequests, 0));
                statistics.active = static_cast<std::uint32_t>(std::max(iteration.numActiveRequests, 0));
                if (auto const& batch = iteration.inflightBatchingStats)
                {
                    statistics.computed_tokens
                        += static_cast<std::uint64_t>(std::max(batch->numCtxTokens + batch->numGenRequests, 0));
                }
                if (auto const& cache = iteration.kvCacheStats)
                {
                    statistics.blocks_total = static_cast<std::uint32_t>(std::max(cache->maxNumBlocks, 0));
                    statistics.blocks_used = static_cast<std::uint32_t>(std::max(cache->usedNumBlocks, 0));
                    statistics.blocks_reused = static_cast<std::uint64_t>(std::max(cache->reusedBlocks, 0));
                    statistics.tokens_per_block = static_cast<std::uint32_t>(std::max(cache->tokensPerBlock, 0));
                }
            }
        });
}

bool Session::accepts_requests() const noexcept
{
    bool accepts = false;
    static_cast<void>(guard([&] { accepts = impl->executor->canEnqueueRequests(); }));
    return accepts;
}

Status Session::shut_down() const noexcept
{
    return guard([&] { impl->executor->shutdown(); });
}

namespace
{

tle::ParallelConfig parallel_config(Settings const& settings)
{
    tle::ParallelConfig parallel;
    if (!settings.device_ids.empty())
    {
        parallel.setDeviceIds(vector_of<tle::SizeType32>(settings.device_ids));
    }
    if (!settings.worker.empty())
    {
        parallel.setCommunicationMode(tle::CommunicationMode::kORCHESTRATOR);
        parallel.setOrchestratorConfig(tle::OrchestratorConfig{true, string_of(settings.worker)});
    }
    return parallel;
}

tle::GuidedDecodingConfig guided_config(Settings const& settings)
{
    std::vector<std::string> vocabulary;
    vocabulary.reserve(settings.vocabulary_ends.size());
    auto const* const bytes = reinterpret_cast<char const*>(settings.vocabulary.data());
    std::size_t start = 0;
    for (auto const end : settings.vocabulary_ends)
    {
        vocabulary.emplace_back(bytes + start, end - start);
        start = end;
    }
    return tle::GuidedDecodingConfig{tle::GuidedDecodingConfig::GuidedDecodingBackend::kXGRAMMAR, std::move(vocabulary),
        std::nullopt, vector_of<tle::TokenIdType>(settings.ends)};
}

tle::ExecutorConfig executor_config(Settings const& settings)
{
    tle::KvCacheConfig cache{settings.block_reuse};
    cache.setFreeGpuMemoryFraction(settings.kv_memory_fraction);
    if (settings.kv_max_tokens > 0)
    {
        cache.setMaxTokens(settings.kv_max_tokens);
    }
    if (settings.kv_host_bytes > 0)
    {
        cache.setHostCacheSize(settings.kv_host_bytes);
    }
    tle::ExecutorConfig config;
    config.setKvCacheConfig(cache);
    config.setSchedulerConfig(tle::SchedulerConfig{settings.policy == Policy::MaxUtilization
            ? tle::CapacitySchedulerPolicy::kMAX_UTILIZATION
            : tle::CapacitySchedulerPolicy::kGUARANTEED_NO_EVICT});
    config.setEnableChunkedContext(settings.chunked_context);
    if (settings.max_batch_size > 0)
    {
        config.setMaxBatchSize(settings.max_batch_size);
    }
    if (settings.max_batch_tokens > 0)
    {
        config.setMaxNumTokens(settings.max_batch_tokens);
    }
    if (settings.max_queue > 0)
    {
        config.setMaxQueueSize(settings.max_queue);
    }
    config.setParallelConfig(parallel_config(settings));
    if (!settings.worker.empty())
    {
        // Milliseconds; the default of none is a loop that spins.
        config.setRecvPollPeriodMs(1);
    }
    if (settings.probes)
    {
        // Probes belong to one request: they run on the first rank alone.
        config.setLogitsPostProcessorConfig(tle::LogitsPostProcessorConfig{std::nullopt, std::nullopt, false});
    }
    config.setGatherGenerationLogits(settings.gather_generation_logits);
    config.setGuidedDecodingConfig(guided_config(settings));
    return config;
}

std::shared_ptr<std::vector<std::uint16_t> const> token_lengths(Settings const& settings)
{
    auto lengths = std::make_shared<std::vector<std::uint16_t>>();
    lengths->reserve(settings.vocabulary_ends.size());
    std::uint32_t start = 0;
    for (auto const end : settings.vocabulary_ends)
    {
        lengths->push_back(static_cast<std::uint16_t>(std::min<std::uint32_t>(end - start, UINT16_MAX)));
        start = end;
    }
    return lengths;
}

} // namespace

std::unique_ptr<Session> open_session(Settings const& settings, Status& status) noexcept
{
    std::unique_ptr<Session> session;
    status = guard(
        [&]
        {
            // One at a time: what is saved and put back belongs to the whole process.
            static std::mutex opening;
            std::lock_guard<std::mutex> const lock{opening};
            SignalHandlers const handlers;
            register_plugins();
            auto impl = std::make_unique<Session::Impl>();
            impl->lengths = token_lengths(settings);
            impl->executor = std::make_unique<tle::Executor>(
                string_of(settings.engine_folder), tle::ModelType::kDECODER_ONLY, executor_config(settings));
            session = std::make_unique<Session>(std::move(impl));
        });
    return session;
}

rust::String library_version() noexcept
{
    return text(tle::version());
}

rust::String library_label() noexcept
{
    return dicast_trtllm_standin != nullptr ? text(dicast_trtllm_standin()) : rust::String();
}

} // namespace dicast::trtllm
