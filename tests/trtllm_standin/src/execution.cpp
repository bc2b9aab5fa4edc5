// The execution thread: it admits requests, runs steps over all that are active, and answers them.
#include "executor_impl.h"

#include "check.h"

#include <algorithm>
#include <filesystem>
#include <stdexcept>

namespace tensorrt_llm::executor
{

using dicast::standin::Crash;
using dicast::standin::Hang;

dicast::standin::Rule const& Executor::Impl::ruleFor(Request::Impl const& request, std::uint64_t order) const
{
    static Rule const kNone;
    std::optional<std::string> text;
    auto const prompt = [&]() -> std::string const&
    {
        if (!text)
        {
            text = vocabulary_.decode(request.tokens);
        }
        return *text;
    };
    for (auto const& rule : folder_.script.rules)
    {
        if (rule.order && *rule.order != order)
        {
            continue;
        }
        if (rule.every && order % *rule.every != 0)
        {
            continue;
        }
        if (rule.contains && prompt().find(*rule.contains) == std::string::npos)
        {
            continue;
        }
        if (rule.endsWith
            && (prompt().size() < rule.endsWith->size()
                || prompt().compare(
                       prompt().size() - rule.endsWith->size(), rule.endsWith->size(), *rule.endsWith)
                    != 0))
        {
            continue;
        }
        if (std::search(request.tokens.begin(), request.tokens.end(), rule.containsTokens.begin(),
                rule.containsTokens.end())
                == request.tokens.end()
            && !rule.containsTokens.empty())
        {
            continue;
        }
        return rule;
    }
    return kNone;
}

void Executor::Impl::run()
{
    while (waitForWork())
    {
        auto const start = Clock::now();
        fetch();
        takeCancelled();
        timeOut();
        collect();
        forward();
        auto const before = active_.size();
        collect();
        std::chrono::duration<double, std::milli> const spent = Clock::now() - start;
        // Before the answers, so that a caller with an answer finds it in the statistics.
        recordStats(static_cast<SizeType32>(before - active_.size()), spent.count());
        publish(std::exchange(answers_, {}));
    }
    {
        std::scoped_lock const lock{responseMutex_};
        closed_ = true;
    }
    responseReady_.notify_all();
}

// False once everything that a shutdown must finish is done. While a request is active the loop steps, even if none of
// them can be scheduled, as the vendor's does: its counter of iterations shows that it is alive.
bool Executor::Impl::waitForWork()
{
    std::unique_lock lock{queueMutex_};
    while (true)
    {
        if (shutdownCalled_)
        {
            // A hanging request would hang for ever.
            active_.remove_if(
                [this](Active& active)
                {
                    bool const hangs = active.rule->hang != Hang::kNo;
                    if (hangs && active.blocks)
                    {
                        kv_->release(*active.blocks);
                    }
                    return hangs;
                });
            if (dead_ || (active_.empty() && queue_.empty()))
            {
                return false;
            }
        }
        if (!dead_ && stuck())
        {
            // The step that never ends: nothing advances any more, except the end of the executor.
            wake_.wait(lock, [this] { return shutdownCalled_; });
            continue;
        }
        if (!dead_ && (!active_.empty() || !queue_.empty()))
        {
            if (stalled_)
            {
                wake_.wait_for(lock, std::chrono::milliseconds{1});
            }
            return true;
        }
        wake_.wait(lock);
    }
}

// Whether a request is in the step that does not end.
bool Executor::Impl::stuck() const
{
    return std::any_of(active_.begin(), active_.end(),
        [](Active const& active) { return active.blocks && active.rule->hang == Hang::kUntilShutdown; });
}

void Executor::Impl::fetch()
{
    newlyActive_ = 0;
    while (active_.size() < static_cast<std::size_t>(maxBatch_))
    {
        Queued queued;
        {
            std::scoped_lock const lock{queueMutex_};
            if (queue_.empty())
            {
                return;
            }
            queued = std::move(queue_.front());
            queue_.pop_front();
        }
        auto const id = queued.id;
        auto const clientId = queued.request.clientId;
        try
        {
            active_.push_back(admit(std::move(queued)));
            ++newlyActive_;
        }
        catch (std::exception const& error)
        {
            answers_.emplace_back(
                id, std::string{"Encountered an error when fetching new request: "} + error.what(), clientId);
        }
    }
}

Executor::Impl::Active Executor::Impl::admit(Queued&& queued)
{
    auto const& request = queued.request;
    auto const length = static_cast<SizeType32>(request.tokens.size());
    STANDIN_CHECK(length <= maxInput_, "Prompt length (" + std::to_string(length) + ") exceeds maximum input length ("
            + std::to_string(maxInput_) + ").");
    STANDIN_CHECK(std::all_of(request.tokens.begin(), request.tokens.end(),
                      [this](TokenIdType token) { return token >= 0 && token < folder_.vocabularySize; }),
        "a token id of the prompt lies outside the vocabulary");
    STANDIN_CHECK(!request.endId || (*request.endId >= -1 && *request.endId < folder_.vocabularySize),
        "EndId is not within the acceptable range");
    STANDIN_CHECK(!request.output.returnContextLogits,
        "Return context logit need to build engine with gather_context_logits");
    STANDIN_CHECK(!request.output.returnGenerationLogits || config_.getGatherGenerationLogits(),
        "To return generation logits, gather_generation_logits must be enabled in ExecutorConfig");
    STANDIN_CHECK(!request.guide || guides_,
        "Request is specified with GuidedDecodingParams, but GuidedDecoder is not setup.");
    STANDIN_CHECK(request.postProcessorName != Request::kBatchedPostProcessorName || batchedProcessor_,
        "Batched logits post processor is not defined.");

    Active active;
    // A request for more than the sequence can hold is cut, silently, as the vendor does.
    active.maxTokens = std::min(request.maxTokens, maxSequence_ - length);
    STANDIN_CHECK(kv_->fits(static_cast<std::size_t>(length + active.maxTokens)),
        "the KV cache has too few blocks for this request");
    active.rule = &ruleFor(request, queued.order);
    active.tokens = {request.tokens};
    active.tokens.front().reserve(static_cast<std::size_t>(length) + 64);
    active.promptLength = request.tokens.size();
    active.contextLeft = length;
    active.generation.emplace(
        *active.rule, folder_.script.strength, vocabulary_, *base_, request.sampling, request.endId);
    active.generation->resume(request.tokens);
    active.generation->ban(request.badWords.value_or(std::list<VecTokens>{}));
    // Only now, as in the vendor's library: neither the reported times nor the allotted time include the executor's
    // queue.
    queued.arrival = Clock::now();
    active.metrics.timingMetrics.arrivalTime = queued.arrival;
    active.queued = std::move(queued);
    return active;
}

void Executor::Impl::timeOut()
{
    auto const now = Clock::now();
    for (auto& active : active_)
    {
        auto const& allotted = active.queued.request.allottedTime;
        if (allotted && active.rule->hang == Hang::kNo && now >= active.queued.arrival + *allotted)
        {
            active.finished = FinishReason::kTIMED_OUT;
            active.tokens.front().resize(active.promptLength);
        }
    }
}

void Executor::Impl::takeCancelled()
{
    std::scoped_lock const lock{queueMutex_};
    if (cancelled_.empty())
    {
        return;
    }
    for (auto& active : active_)
    {
        // A request that waits, in the queue or for blocks, is cancelled once it is scheduled.
        if (active.blocks && cancelled_.erase(active.queued.id) != 0)
        {
            active.finished = FinishReason::kCANCELLED;
            active.tokens.front().resize(active.promptLength);
        }
    }
}

// Whether a request whose prompt is computed takes part in the step.
bool Executor::Impl::generates(Active const& active) const
{
    auto const& rule = *active.rule;
    if (rule.hang != Hang::kNo)
    {
        return false;
    }
    if (!rule.hold || !std::filesystem::exists(folder_.path / *rule.hold))
    {
        return true;
    }
    std::scoped_lock const lock{queueMutex_};
    return shutdownCalled_;
}

// Gives each active request its share of the step: blocks, context tokens, or one token to generate.
void Executor::Impl::schedule(std::vector<Active*>& generating)
{
    auto const now = Clock::now();
    SizeType32 budget = maxNumTokens_;
    contextTokens_ = 0;
    contextRequests_ = 0;
    generatingRequests_ = 0;
    for (auto& active : active_)
    {
        if (active.contextLeft == 0)
        {
            ++generatingRequests_;
            --budget;
            if (generates(active))
            {
                generating.push_back(&active);
            }
        }
    }
    for (auto& active : active_)
    {
        bool const held = now < active.queued.arrival + active.rule->delay;
        if (active.contextLeft == 0 || held)
        {
            continue;
        }
        auto const& request = active.queued.request;
        if (!active.blocks)
        {
            active.blocks
                = kv_->acquire(request.tokens, active.maxTokens, request.cacheSalt.value_or(0), request.retention);
            if (!active.blocks)
            {
                // In order: no request overtakes one that waits for blocks.
                break;
            }
            active.contextLeft -= active.blocks->reused * kv_->tokensPerBlock();
            active.metrics.timingMetrics.firstScheduledTime = now;
            active.metrics.firstIter = iteration_;
            auto& kv = active.metrics.kvCacheMetrics;
            kv.numNewAllocatedBlocks = active.blocks->reserved;
            kv.numTotalAllocatedBlocks = active.blocks->reserved + active.blocks->reused;
            kv.numReusedBlocks = active.blocks->reused;
            kv.numMissedBlocks = active.blocks->missed;
            auto const asked = kv.numReusedBlocks + kv.numMissedBlocks;
            kv.kvCacheHitRate
                = asked == 0 ? 0.0F : static_cast<float>(kv.numReusedBlocks) / static_cast<float>(asked);
        }
        bool const chunks = config_.getEnableChunkedContext();
        auto const share = std::min(active.contextLeft, budget);
        if (share <= 0 || (!chunks && share < active.contextLeft))
        {
            break;
        }
        active.contextLeft -= share;
        budget -= share;
        contextTokens_ += share;
        ++contextRequests_;
        if (active.contextLeft == 0)
        {
            kv_->store(*active.blocks, request.tokens, active.promptLength);
            if (generates(active))
            {
                generating.push_back(&active);
            }
        }
    }
}

// Answers finished and streaming requests, and releases the finished ones.
void Executor::Impl::collect()
{
    for (auto active = active_.begin(); active != active_.end();)
    {
        bool const done = active->done();
        auto const& request = active->queued.request;
        if (done || (request.streaming && active->generated() > active->streamed))
        {
            respond(*active);
        }
        if (!done)
        {
            ++active;
            continue;
        }
        if (active->blocks)
        {
            if (active->contextLeft == 0 && !active->error)
            {
                kv_->store(*active->blocks, active->tokens.front(), active->promptLength);
            }
            kv_->release(*active->blocks);
        }
        {
            std::scoped_lock const lock{queueMutex_};
            cancelled_.erase(active->queued.id);
        }
        active = active_.erase(active);
    }
}

void Executor::Impl::respond(Active& active)
{
    auto const id = active.queued.id;
    auto const clientId = active.queued.request.clientId;
    if (faultsAtAwait_ && active.rule->atAwait && active.done())
    {
        std::scoped_lock const lock{responseMutex_};
        throwAtAwait_.emplace(id, *active.rule->atAwait);
    }
    if (active.error)
    {
        answers_.emplace_back(id, *active.error, clientId);
        return;
    }
    auto result = resultOf(active);
    if (active.rule->twice && result.isFinal)
    {
        answers_.emplace_back(id, result, clientId);
    }
    answers_.emplace_back(id, std::move(result), clientId);
}

Result Executor::Impl::resultOf(Active& active)
{
    auto const& request = active.queued.request;
    auto const& tokens = active.tokens.front();
    Result result{};
    result.isFinal = result.isSequenceFinal = active.finished.has_value();
    bool const onlyNew = request.streaming && !request.returnAllGeneratedTokens;
    auto from = request.output.excludeInputFromOutput || request.streaming ? active.promptLength : 0;
    if (onlyNew)
    {
        from = std::min(active.promptLength + active.streamed, tokens.size());
    }
    result.outputTokenIds = {{tokens.begin() + static_cast<std::ptrdiff_t>(from), tokens.end()}};
    active.streamed = active.generated();
    result.finishReasons = {active.finished.value_or(FinishReason::kNOT_FINISHED)};
    result.decodingIter = active.iterations;
    result.avgDecodedTokensPerIter = 1.0F;
    result.generationLogits = request.streaming && active.generationLogits
        ? std::optional{active.generationLogits->copyToCpu()}
        : active.generationLogits;
    if (request.output.returnLogProbs)
    {
        result.logProbs = {active.logProbs};
        float sum = 0;
        for (auto const value : active.logProbs)
        {
            sum += value;
        }
        result.cumLogProbs = {sum};
    }
    if (request.output.returnPerfMetrics)
    {
        active.metrics.iter = iteration_;
        result.requestPerfMetrics = active.metrics;
    }
    return result;
}

void Executor::Impl::publish(std::vector<Response>&& responses)
{
    if (responses.empty())
    {
        return;
    }
    {
        std::scoped_lock const lock{responseMutex_};
        for (auto& response : responses)
        {
            responses_[response.getRequestId()].push_back(std::move(response));
        }
    }
    responseReady_.notify_all();
}

// The worker dies with all its requests.
void Executor::Impl::die(Crash how)
{
    std::deque<Queued> queue;
    {
        std::scoped_lock const lock{queueMutex_};
        dead_ = true;
        queue.swap(queue_);
        cancelled_.clear();
    }
    auto responses = std::exchange(answers_, {});
    for (auto& active : active_)
    {
        responses.emplace_back(active.queued.id, "the worker died", active.queued.request.clientId);
        if (active.blocks)
        {
            kv_->release(*active.blocks);
        }
    }
    for (auto const& queued : queue)
    {
        responses.emplace_back(queued.id, "the worker died", queued.request.clientId);
    }
    active_.clear();
    if (how == Crash::kWithErrors)
    {
        publish(std::move(responses));
    }
    {
        std::scoped_lock const lock{responseMutex_};
        deadForReaders_ = true;
        if (how == Crash::kSilent)
        {
            responses_.clear();
        }
    }
    responseReady_.notify_all();
}

void Executor::Impl::recordStats(SizeType32 completed, double milliseconds)
{
    auto const most = static_cast<std::size_t>(config_.getIterStatsMaxIterations());
    auto const mostRequests = static_cast<std::size_t>(config_.getRequestStatsMaxIterations());
    if (most == 0 && mostRequests == 0)
    {
        return;
    }
    IterationStats stats{};
    stats.iter = iteration_;
    stats.iterLatencyMS = milliseconds;
    stats.numNewActiveRequests = newlyActive_;
    stats.numActiveRequests = static_cast<SizeType32>(active_.size());
    {
        std::scoped_lock const lock{queueMutex_};
        stats.numQueuedRequests = static_cast<SizeType32>(queue_.size());
    }
    stats.numCompletedRequests = completed;
    stats.maxNumActiveRequests = maxBatch_;
    stats.maxBatchSizeStatic = stats.maxBatchSizeRuntime = stats.maxBatchSizeTunerRecommended = maxBatch_;
    stats.maxNumTokensStatic = stats.maxNumTokensRuntime = stats.maxNumTokensTunerRecommended = maxNumTokens_;
    stats.kvCacheStats = kv_->stats();
    InflightBatchingStats batch{};
    batch.numContextRequests = contextRequests_;
    batch.numGenRequests = generatingRequests_;
    batch.numScheduledRequests = contextRequests_ + generatingRequests_;
    batch.numCtxTokens = contextTokens_;
    batch.avgNumDecodedTokensPerIter = 1.0F;
    stats.inflightBatchingStats = batch;

    RequestStatsPerIteration requests{iteration_, {}};
    for (auto const& active : active_)
    {
        RequestStats each{};
        each.id = active.queued.id;
        each.stage = active.contextLeft > 0 ? RequestStage::kCONTEXT_IN_PROGRESS : RequestStage::kGENERATION_IN_PROGRESS;
        each.contextPrefillPosition = static_cast<SizeType32>(active.promptLength) - active.contextLeft;
        each.numGeneratedTokens = static_cast<SizeType32>(active.generated());
        each.avgNumDecodedTokensPerIter = 1.0F;
        each.scheduled = active.blocks.has_value();
        auto const& kv = active.metrics.kvCacheMetrics;
        each.allocTotalBlocksPerRequest = kv.numTotalAllocatedBlocks;
        each.allocNewBlocksPerRequest = kv.numNewAllocatedBlocks;
        each.reusedBlocksPerRequest = kv.numReusedBlocks;
        each.missedBlocksPerRequest = kv.numMissedBlocks;
        each.kvCacheHitRatePerRequest = kv.kvCacheHitRate;
        requests.requestStats.push_back(each);
    }
    // An orchestrator's workers report no empty iterations, except when nothing is active any more.
    bool const reported = participant_ || batch.numScheduledRequests > 0 || active_.empty();
    std::scoped_lock const lock{statsMutex_};
    if (most > 0 && reported)
    {
        iterationStats_.push_back(std::move(stats));
        while (iterationStats_.size() > most)
        {
            iterationStats_.pop_front();
        }
    }
    if (mostRequests > 0)
    {
        requestStats_.push_back(std::move(requests));
        while (requestStats_.size() > mostRequests)
        {
            requestStats_.pop_front();
        }
    }
}

} // namespace tensorrt_llm::executor
