// The executor: a queue, one thread that runs steps over all active requests, and responses to be awaited.
#pragma once

#include "engine_folder.h"
#include "generation.h"
#include "grammar.h"
#include "kv_blocks.h"
#include "request.h"
#include "script.h"
#include "vocabulary.h"

#include "tensorrt_llm/executor/executor.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace tensorrt_llm::executor
{

class Executor::Impl
{
public:
    Impl(std::filesystem::path const& modelPath, ModelType modelType, ExecutorConfig const& config);
    ~Impl();
    Impl(Impl const&) = delete;
    Impl& operator=(Impl const&) = delete;

    std::vector<IdType> enqueue(Request const* requests, std::size_t count);
    std::vector<Response> await(std::optional<std::chrono::milliseconds> const& timeout);
    std::vector<Response> await(IdType requestId, std::optional<std::chrono::milliseconds> const& timeout);
    SizeType32 ready(std::optional<IdType> const& id) const;
    void cancel(IdType id);
    void shutdown();
    std::deque<IterationStats> iterationStats();
    std::deque<RequestStatsPerIteration> requestStats();
    [[nodiscard]] bool canEnqueue() const;
    [[nodiscard]] bool isParticipant() const { return participant_; }

private:
    using Clock = std::chrono::steady_clock;
    using Rule = dicast::standin::Rule;

    struct Queued
    {
        IdType id{0};
        std::uint64_t order{0};
        Request::Impl request;
        Clock::time_point arrival;
    };

    struct Active
    {
        Queued queued;
        Rule const* rule{nullptr};
        // The prompt and the generated tokens, as post-processors get them.
        BeamTokens tokens;
        std::size_t promptLength{0};
        SizeType32 maxTokens{0};
        std::optional<dicast::standin::Generation> generation;
        std::optional<dicast::standin::KvBlocks::Sequence> blocks;
        SizeType32 contextLeft{0};
        SizeType32 iterations{0};
        std::size_t streamed{0};
        std::optional<Tensor> logits;
        std::optional<Tensor> generationLogits;
        std::vector<float> logProbs;
        std::optional<FinishReason> finished;
        std::optional<std::string> error;
        RequestPerfMetrics metrics;

        [[nodiscard]] std::size_t generated() const { return tokens.front().size() - promptLength; }
        [[nodiscard]] bool done() const { return finished || error; }
    };

    using ActiveList = std::list<Active>;

    void checkParallel(ParallelConfig const& parallel);
    void checkUsable() const;
    void fitSequence(SizeType32 tokens);
    [[nodiscard]] Rule const& ruleFor(Request::Impl const& request, std::uint64_t order) const;

    void run();
    bool waitForWork();
    [[nodiscard]] bool stuck() const;
    void fetch();
    Active admit(Queued&& queued);
    void timeOut();
    void takeCancelled();
    [[nodiscard]] bool generates(Active const& active) const;
    void schedule(std::vector<Active*>& generating);
    void forward();
    [[nodiscard]] bool applyFaults(std::vector<Active*> const& generating);
    void startGuide(Active& active);
    void postProcess(std::vector<Active*> const& generating);
    void sample(Active& active);
    void collect();
    void respond(Active& active);
    [[nodiscard]] Result resultOf(Active& active);
    void terminate(IdType id);
    void throwAskedFor(IdType id);
    void publish(std::vector<Response>&& responses);
    void recordStats(SizeType32 completed, double milliseconds);
    void die(dicast::standin::Crash how);

    // Fixed after construction.
    dicast::standin::EngineFolder folder_;
    ExecutorConfig config_;
    LogitsPostProcessorMap namedProcessors_;
    LogitsPostProcessorBatched batchedProcessor_;
    std::vector<TokenIdType> stopTokens_;
    dicast::standin::Vocabulary vocabulary_;
    std::optional<dicast::standin::BaseLogits> base_;
    SizeType32 maxBatch_{0};
    SizeType32 maxInput_{0};
    SizeType32 maxNumTokens_{0};
    SizeType32 maxSequence_{0};
    bool leader_{true};
    bool participant_{true};
    bool guides_{false};
    bool faultsAtEnqueue_{false};
    bool faultsAtAwait_{false};

    // Used only by the execution thread.
    ActiveList active_;
    std::vector<Response> answers_;
    std::optional<dicast::standin::KvBlocks> kv_;
    std::map<std::string, std::shared_ptr<dicast::standin::Grammar>> grammars_;
    IterationType iteration_{0};
    std::optional<dicast::standin::Throw> sticky_;
    // Whether the last step found nothing to do, for example because all wait for blocks that hanging requests hold.
    bool stalled_{false};
    SizeType32 contextTokens_{0};
    SizeType32 contextRequests_{0};
    SizeType32 generatingRequests_{0};
    SizeType32 newlyActive_{0};

    mutable std::mutex queueMutex_;
    std::condition_variable wake_;
    std::deque<Queued> queue_;
    std::unordered_set<IdType> cancelled_;
    IdType lastId_{0};
    std::uint64_t lastOrder_{0};
    bool shutdownCalled_{false};
    bool dead_{false};

    mutable std::mutex responseMutex_;
    std::condition_variable responseReady_;
    std::map<IdType, std::vector<Response>> responses_;
    std::unordered_map<IdType, dicast::standin::Throw> throwAtAwait_;
    // Ids are given in order, so a mark below which all are terminated, and a few ids above it, replace a set that
    // never shrinks.
    IdType terminatedBelow_{1};
    std::unordered_set<IdType> terminated_;
    bool closed_{false};
    bool deadForReaders_{false};

    std::mutex statsMutex_;
    std::deque<IterationStats> iterationStats_;
    std::deque<RequestStatsPerIteration> requestStats_;

    std::thread thread_;
};

} // namespace tensorrt_llm::executor
