// The public interface of the executor, and the work on callers' threads.
#include "executor_impl.h"

#include "check.h"
#include "process.h"

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <unistd.h>

namespace tensorrt_llm::executor
{

using dicast::standin::Crash;

Executor::Executor(
    std::filesystem::path const& modelPath, ModelType modelType, ExecutorConfig const& executorConfig)
    : mImpl{std::make_unique<Impl>(modelPath, modelType, executorConfig)}
{
}

Executor::Executor(
    std::filesystem::path const&, std::filesystem::path const&, ModelType, ExecutorConfig const&)
{
    STANDIN_FAIL("the stand-in opens decoder-only engine folders");
}

Executor::Executor(BufferView const&, std::string const&, ModelType, ExecutorConfig const&,
    std::optional<std::map<std::string, Tensor>> const&)
{
    STANDIN_FAIL("the stand-in opens engine folders");
}

Executor::Executor(BufferView const&, std::string const&, BufferView const&, std::string const&, ModelType,
    ExecutorConfig const&)
{
    STANDIN_FAIL("the stand-in opens engine folders");
}

Executor::Executor(std::shared_ptr<Model>, ExecutorConfig const&) { STANDIN_FAIL("the stand-in opens engine folders"); }

Executor::Executor(std::shared_ptr<Model>, std::shared_ptr<Model>, ExecutorConfig const&)
{
    STANDIN_FAIL("the stand-in opens engine folders");
}

Executor::~Executor() = default;

IdType Executor::enqueueRequest(Request const& request) { return mImpl->enqueue(&request, 1).front(); }

std::vector<IdType> Executor::enqueueRequests(std::vector<Request> const& requests)
{
    return mImpl->enqueue(requests.data(), requests.size());
}

std::vector<Response> Executor::awaitResponses(std::optional<std::chrono::milliseconds> const& timeout)
{
    return mImpl->await(timeout);
}

std::vector<Response> Executor::awaitResponses(
    IdType const& requestId, std::optional<std::chrono::milliseconds> const& timeout)
{
    return mImpl->await(requestId, timeout);
}

std::vector<std::vector<Response>> Executor::awaitResponses(
    std::vector<IdType> const& requestIds, std::optional<std::chrono::milliseconds> const& timeout)
{
    using Clock = std::chrono::steady_clock;
    auto const start = Clock::now();
    std::vector<std::vector<Response>> out;
    for (auto const id : requestIds)
    {
        auto left = timeout;
        if (left)
        {
            auto const spent = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start);
            left = std::max(*timeout - spent, std::chrono::milliseconds{0});
        }
        out.push_back(mImpl->await(id, left));
    }
    return out;
}

SizeType32 Executor::getNumResponsesReady(std::optional<IdType> const& requestId) const
{
    return mImpl->ready(requestId);
}

void Executor::cancelRequest(IdType requestId) { mImpl->cancel(requestId); }
void Executor::shutdown() { mImpl->shutdown(); }
std::deque<IterationStats> Executor::getLatestIterationStats() { return mImpl->iterationStats(); }
std::deque<RequestStatsPerIteration> Executor::getLatestRequestStats() { return mImpl->requestStats(); }
bool Executor::canEnqueueRequests() const { return mImpl->canEnqueue(); }
bool Executor::isParticipant() const { return mImpl->isParticipant(); }

Executor::Impl::Impl(std::filesystem::path const& modelPath, ModelType modelType, ExecutorConfig const& config)
    : folder_{dicast::standin::EngineFolder::read(modelPath)}
    , config_{config}
{
    if (auto const processors = config.getLogitsPostProcessorConfig())
    {
        namedProcessors_ = processors->getProcessorMap().value_or(LogitsPostProcessorMap{});
        batchedProcessor_ = processors->getProcessorBatched().value_or(LogitsPostProcessorBatched{});
    }
    STANDIN_CHECK(modelType == ModelType::kDECODER_ONLY, "the stand-in runs decoder-only models");
    STANDIN_CHECK(config.getMaxBeamWidth() == 1, "the stand-in has no beam search");
    dicast::standin::initialiseMpi(folder_.script.mpiInitialised);
    STANDIN_CHECK(dicast::standin::pluginsReady(), "plugin creator not found: initTrtLlmPlugins was not called");
    checkParallel(config.getParallelConfig().value_or(ParallelConfig{}));
    if (folder_.script.atOpen)
    {
        folder_.script.atOpen->now();
    }

    maxBatch_ = std::min(config.getMaxBatchSize().value_or(folder_.maxBatchSize), folder_.maxBatchSize);
    maxNumTokens_ = std::min(config.getMaxNumTokens().value_or(folder_.maxNumTokens), folder_.maxNumTokens);
    maxInput_ = std::min(folder_.maxInputLength, folder_.maxSequenceLength - 1);
    if (!config.getEnableChunkedContext())
    {
        maxInput_ = std::min(maxInput_, maxNumTokens_);
    }
    auto const& kvConfig = config.getKvCacheConfig();
    STANDIN_CHECK(!kvConfig.getEnableBlockReuse() || folder_.pagedContext,
        "KV cache reuse needs an engine that was built with use_paged_context_fmha");
    constexpr float kAllBlocks = 4096.0F / KvCacheConfig::kDefaultGpuMemFraction;
    auto blocks = folder_.script.kvBlocks.value_or(static_cast<SizeType32>(
        kAllBlocks * kvConfig.getFreeGpuMemoryFraction().value_or(KvCacheConfig::kDefaultGpuMemFraction)));
    if (kvConfig.getMaxTokens())
    {
        blocks = std::min(blocks, (*kvConfig.getMaxTokens() + folder_.tokensPerBlock - 1) / folder_.tokensPerBlock);
    }
    kv_.emplace(std::max(blocks, 1), folder_.tokensPerBlock, kvConfig.getEnableBlockReuse());
    fitSequence(std::max(blocks, 1) * folder_.tokensPerBlock);

    if (auto const guided = config.getGuidedDecodingConfig())
    {
        STANDIN_CHECK(guided->getBackend() == GuidedDecodingConfig::GuidedDecodingBackend::kXGRAMMAR,
            "LLGuidance is not supported for guided decoding in the C++ runtime");
        STANDIN_CHECK(folder_.logitsType == "float32" || folder_.logitsType == "float16",
            "Unsupported logits data type for guided decoding: " + folder_.logitsType);
        // If a tokenizer is given, entries are in its notation; otherwise they are the bytes.
        vocabulary_ = dicast::standin::Vocabulary{*guided->getEncodedVocab(), guided->getTokenizerStr().has_value()};
        guides_ = true;
        stopTokens_ = guided->getStopTokenIds().value_or(std::vector<TokenIdType>{});
    }
    else if (folder_.script.needsVocabulary())
    {
        vocabulary_ = dicast::standin::Vocabulary::fromTokenizer(folder_.path / "tokenizer.json");
    }
    STANDIN_CHECK(vocabulary_.size() <= folder_.vocabularySize, "the vocabulary is larger than the engine's");
    base_.emplace(folder_.vocabularySize, vocabulary_);
    for (auto const& rule : folder_.script.rules)
    {
        faultsAtEnqueue_ = faultsAtEnqueue_ || rule.atEnqueue;
        faultsAtAwait_ = faultsAtAwait_ || rule.atAwait;
    }
    thread_ = std::thread{&Impl::run, this};
}

Executor::Impl::~Impl() { shutdown(); }

// A cache that cannot hold the longest sequence: an error if the configuration asks for it; otherwise the limits are
// reduced silently.
void Executor::Impl::fitSequence(SizeType32 tokens)
{
    maxSequence_ = folder_.maxSequenceLength;
    if (tokens >= maxSequence_)
    {
        return;
    }
#if DICAST_STANDIN_RELEASE >= 101
    STANDIN_CHECK(!config_.getFailFastOnAttentionWindowTooLarge(),
        "Attention window too large to fit even a single sequence in the KV cache. Failing fast rather than attempting "
        "an adjustment of the window sizes.");
#endif
    maxSequence_ = tokens;
    maxInput_ = std::min(maxInput_, maxSequence_ - 1);
}

void Executor::Impl::checkParallel(ParallelConfig const& parallel)
{
    auto const ranks = folder_.worldSize;
    if (auto const devices = parallel.getDeviceIds())
    {
        STANDIN_CHECK(static_cast<SizeType32>(devices->size()) == ranks,
            "When specifying deviceIds, deviceIds size must be equal to tp*pp*cp");
    }
    if (parallel.getCommunicationMode() == CommunicationMode::kORCHESTRATOR)
    {
        auto const orchestrator = parallel.getOrchestratorConfig();
        STANDIN_CHECK(orchestrator, "When using ORCHESTRATOR mode, orchestrator config must be set");
        STANDIN_CHECK(orchestrator->getSpawnProcesses() && orchestrator->getIsOrchestrator(),
            "the stand-in's orchestrator spawns its workers");
        STANDIN_CHECK(dicast::standin::mpiWorldSize() == 1,
            "When using the orchestrator mode and isOrchestrator is true, expect MPI worldSize to be 1.");
        STANDIN_CHECK(!parallel.getParticipantIds(), "participantIds cannot be set where workers are spawned");
        // Workers are not run here; a wrong path shows that they could not be.
        STANDIN_CHECK(::access(orchestrator->getWorkerExecutablePath().c_str(), X_OK) == 0,
            "MPI_Comm_spawn failed: no executable at " + orchestrator->getWorkerExecutablePath());
        STANDIN_CHECK(!config_.getLogitsPostProcessorConfig(),
            "Serialization of executorConfig with logitsPostProcessor is currently not supported.");
        participant_ = false;
        return;
    }
    auto const participants = parallel.getParticipantIds();
    STANDIN_CHECK(participants || dicast::standin::mpiWorldSize() == ranks,
        "With communicationMode kLEADER, MPI worldSize is expected to be equal to tp*pp*cp when participantIds are "
        "not specified");
    STANDIN_CHECK(!participants || static_cast<SizeType32>(participants->size()) == ranks,
        "participantIds size must be equal to tp*pp*cp");
    auto const rank = dicast::standin::mpiRank();
    leader_ = participants ? participants->front() == rank : rank == 0;
    participant_ = !participants || std::find(participants->begin(), participants->end(), rank) != participants->end();
}

// With queueMutex_ held.
void Executor::Impl::checkUsable() const
{
    STANDIN_CHECK(!shutdownCalled_, "Shutdown called");
    STANDIN_CHECK(leader_, "only the leader can use this executor");
}

std::vector<IdType> Executor::Impl::enqueue(Request const* requests, std::size_t count)
{
    std::vector<Queued> fresh;
    fresh.reserve(count);
    for (std::size_t i = 0; i < count; ++i)
    {
        auto& queued = fresh.emplace_back();
        queued.request = *requests[i].mImpl;
        queued.arrival = Clock::now();
        STANDIN_CHECK(participant_ || !queued.request.postProcessor,
            "Serialization of Request with logitsPostProcessor is currently not supported.");
        auto const& name = queued.request.postProcessorName;
        if (name && *name != Request::kBatchedPostProcessorName)
        {
            STANDIN_CHECK(namedProcessors_.count(*name) != 0, "Logits post processor " + *name + " not found.");
        }
    }
    std::vector<IdType> ids;
    {
        std::scoped_lock const lock{queueMutex_};
        checkUsable();
        STANDIN_CHECK(!dead_, "the worker of this executor died");
        for (auto& queued : fresh)
        {
            queued.order = ++lastOrder_;
            if (faultsAtEnqueue_)
            {
                auto const& rule = ruleFor(queued.request, queued.order);
                if (rule.atEnqueue)
                {
                    rule.atEnqueue->now();
                }
            }
        }
        auto const most = config_.getMaxQueueSize().value_or(0);
        STANDIN_CHECK(most <= 0 || queue_.size() + count <= static_cast<std::size_t>(most),
            "Maximum queue size of " + std::to_string(most) + " has been reached, please try again later");
        for (auto& queued : fresh)
        {
            queued.id = ++lastId_;
            ids.push_back(queued.id);
            auto const behind = std::upper_bound(queue_.begin(), queue_.end(), queued.request.priority,
                [](PriorityType priority, Queued const& other) { return priority > other.request.priority; });
            queue_.insert(behind, std::move(queued));
        }
    }
    wake_.notify_one();
    return ids;
}

// With responseMutex_ held.
void Executor::Impl::throwAskedFor(IdType id)
{
    auto const found = throwAtAwait_.find(id);
    if (found != throwAtAwait_.end())
    {
        auto const thrown = found->second;
        throwAtAwait_.erase(found);
        thrown.now();
    }
}

// With responseMutex_ held.
void Executor::Impl::terminate(IdType id)
{
    terminated_.insert(id);
    while (terminated_.erase(terminatedBelow_) != 0)
    {
        ++terminatedBelow_;
    }
}

std::vector<Response> Executor::Impl::await(std::optional<std::chrono::milliseconds> const& timeout)
{
    {
        std::scoped_lock const lock{queueMutex_};
        checkUsable();
    }
    std::vector<Response> out;
    std::unique_lock lock{responseMutex_};
    auto const ready = [this] { return !responses_.empty() || closed_ || deadForReaders_; };
    if (timeout)
    {
        if (!responseReady_.wait_for(lock, *timeout, ready))
        {
            return out;
        }
    }
    else
    {
        responseReady_.wait(lock, ready);
    }
    STANDIN_CHECK(!responses_.empty() || closed_ || !deadForReaders_, "the worker of this executor died");
    for (auto const& entry : responses_)
    {
        throwAskedFor(entry.first);
    }
    if (!responses_.empty() && folder_.script.await.count() > 0)
    {
        lock.unlock();
        std::this_thread::sleep_for(folder_.script.await);
        lock.lock();
    }
    for (auto& [id, ready] : responses_)
    {
        bool const last = ready.back().hasError() || ready.back().getResult().isFinal;
        std::move(ready.begin(), ready.end(), std::back_inserter(out));
        if (last)
        {
            terminate(id);
        }
    }
    responses_.clear();
    return out;
}

std::vector<Response> Executor::Impl::await(IdType requestId, std::optional<std::chrono::milliseconds> const& timeout)
{
    {
        std::scoped_lock const lock{queueMutex_};
        checkUsable();
    }
    std::unique_lock lock{responseMutex_};
    if (requestId < terminatedBelow_ || terminated_.count(requestId) != 0)
    {
        return {Response{
            requestId, "ReqId " + std::to_string(requestId) + " has already been processed and was terminated."}};
    }
    auto const ready = [this, requestId] { return responses_.count(requestId) != 0 || closed_ || deadForReaders_; };
    if (timeout)
    {
        if (!responseReady_.wait_for(lock, *timeout, ready))
        {
            return {};
        }
    }
    else
    {
        responseReady_.wait(lock, ready);
    }
    STANDIN_CHECK(responses_.count(requestId) != 0 || closed_ || !deadForReaders_, "the worker of this executor died");
    throwAskedFor(requestId);
    // As in the vendor's library, a shutdown meanwhile makes this throw std::out_of_range.
    std::vector<Response> out = std::move(responses_.at(requestId));
    responses_.erase(requestId);
    if (out.back().hasError() || out.back().getResult().isFinal)
    {
        terminate(requestId);
    }
    return out;
}

SizeType32 Executor::Impl::ready(std::optional<IdType> const& id) const
{
    {
        std::scoped_lock const lock{queueMutex_};
        checkUsable();
    }
    std::scoped_lock const lock{responseMutex_};
    std::size_t count = 0;
    for (auto const& [other, ready] : responses_)
    {
        count += !id || *id == other ? ready.size() : 0;
    }
    return static_cast<SizeType32>(count);
}

void Executor::Impl::cancel(IdType id)
{
    {
        std::scoped_lock const lock{responseMutex_};
        if (id < terminatedBelow_ || terminated_.count(id) != 0)
        {
            std::scoped_lock const queueLock{queueMutex_};
            checkUsable();
            return;
        }
    }
    {
        std::scoped_lock const lock{queueMutex_};
        checkUsable();
        cancelled_.insert(id);
    }
    wake_.notify_one();
}

void Executor::Impl::shutdown()
{
    {
        std::scoped_lock const lock{queueMutex_};
        shutdownCalled_ = true;
    }
    wake_.notify_one();
    std::this_thread::sleep_for(folder_.script.shutdown);
    if (thread_.joinable())
    {
        thread_.join();
    }
}

std::deque<IterationStats> Executor::Impl::iterationStats()
{
    {
        std::scoped_lock const lock{queueMutex_};
        checkUsable();
    }
    std::scoped_lock const lock{statsMutex_};
    return std::exchange(iterationStats_, {});
}

std::deque<RequestStatsPerIteration> Executor::Impl::requestStats()
{
    {
        std::scoped_lock const lock{queueMutex_};
        checkUsable();
    }
    std::scoped_lock const lock{statsMutex_};
    return std::exchange(requestStats_, {});
}

bool Executor::Impl::canEnqueue() const
{
    std::scoped_lock const lock{queueMutex_};
    return !shutdownCalled_ && !dead_ && leader_;
}

} // namespace tensorrt_llm::executor
