#include "harness.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <random>
#include <thread>

namespace selftest
{

namespace
{

using executor::FinishReason;

// Many threads enqueue, some cancel, some limit the time, one waits: each request is answered once.
void everybodyIsAnswered()
{
    constexpr int kThreads = 4;
    constexpr int kEach = 250;
    auto config = guidedConfig();
    config.setMaxBatchSize(32);
    Executor engine{makeEngine("step_us 20\nrule every 7\ntext <think>a longer thought, to be cut</think>3\n"
                               "rule every 11\nerror broken\nrule\ntext 4\n"),
        executor::ModelType::kDECODER_ONLY, config};
    std::mutex mutex;
    std::map<executor::IdType, int> answers;
    std::atomic<int> wrong{0};
    std::thread waiting{[&]
        {
            for (int left = kThreads * kEach; left > 0;)
            {
                auto const responses = engine.awaitResponses(kPatience);
                if (responses.empty())
                {
                    ++wrong;
                    return;
                }
                std::scoped_lock const lock{mutex};
                for (auto const& response : responses)
                {
                    ++answers[response.getRequestId()];
                    auto const reason = reasonOf(response);
                    bool const known = response.hasError() || reason == FinishReason::kEND_ID
                        || reason == FinishReason::kCANCELLED || reason == FinishReason::kTIMED_OUT;
                    wrong += known ? 0 : 1;
                    --left;
                }
            }
        }};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kThreads; ++thread)
    {
        threads.emplace_back(
            [&engine, thread]
            {
                std::mt19937 random{static_cast<unsigned>(thread)};
                for (int i = 0; i < kEach; ++i)
                {
                    auto one = request("prompt " + std::to_string(random() % 50), 60);
                    if (random() % 5 == 0)
                    {
                        one.setAllottedTimeMs(std::chrono::milliseconds{random() % 3});
                    }
                    auto const id = engine.enqueueRequest(one);
                    if (random() % 4 == 0)
                    {
                        engine.cancelRequest(id);
                    }
                    if (random() % 16 == 0)
                    {
                        (void) engine.getLatestIterationStats();
                        (void) engine.getNumResponsesReady();
                    }
                }
            });
    }
    for (auto& thread : threads)
    {
        thread.join();
    }
    waiting.join();
    CHECK(wrong == 0);
    CHECK(answers.size() == kThreads * kEach);
    CHECK(std::all_of(answers.begin(), answers.end(), [](auto const& entry) { return entry.second == 1; }));
    CHECK(textOf(run(engine, request("afterwards"))) != "");
}

// Requests share steps: many requests take hardly more steps than one.
void batching()
{
    auto config = guidedConfig();
    Executor engine{makeEngine("step_us 1000\nrule\nno_end\n"), executor::ModelType::kDECODER_ONLY, config};
    std::vector<Request> const requests(16, request("x", 20));
    auto const ids = engine.enqueueRequests(requests);
    for (auto const& responses : engine.awaitResponses(ids, kPatience))
    {
        CHECK(responses.size() == 1 && reasonOf(responses.front()) == FinishReason::kLENGTH);
    }
    executor::IterationType last = 0;
    executor::SizeType32 widest = 0;
    for (auto const& stats : engine.getLatestIterationStats())
    {
        last = std::max(last, stats.iter);
        widest = std::max(widest, stats.inflightBatchingStats->numScheduledRequests);
    }
    CHECK(last < 40);
    CHECK(widest == 16);
}

void shutdowns()
{
    for (int i = 0; i < 100; ++i)
    {
        Executor engine{makeEngine("rule\nno_end\n"), executor::ModelType::kDECODER_ONLY, executor::ExecutorConfig{}};
        if (i % 2 == 0)
        {
            (void) engine.enqueueRequest(request("x", 50));
        }
    }
    Executor engine{makeEngine("rule contains hang\nhang_hard\nrule\ntext ok\n"),
        executor::ModelType::kDECODER_ONLY, guidedConfig()};
    (void) engine.enqueueRequest(request("hang"));
    std::thread waiting{[&engine]
        {
            auto const outcome = thrown(
                [&]
                {
                    while (true)
                    {
                        (void) engine.awaitResponses();
                    }
                });
            CHECK(outcome == "tllm");
        }};
    engine.shutdown();
    waiting.join();
    engine.shutdown();
    CHECK(!engine.canEnqueueRequests());
    CHECK(thrown([&] { (void) engine.enqueueRequest(request("x")); }) == "tllm");
    CHECK(thrown([&] { engine.cancelRequest(1); }) == "tllm");
    CHECK(thrown([&] { (void) engine.getNumResponsesReady(); }) == "tllm");
}

} // namespace

void concurrency()
{
    everybodyIsAnswered();
    batching();
    shutdowns();
}

} // namespace selftest
