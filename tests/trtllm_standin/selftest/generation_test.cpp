#include "harness.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <thread>

namespace selftest
{

namespace
{

using executor::FinishReason;

void texts()
{
    Executor engine{makeEngine("rule contains two\ntext second answer\nrule order 3\ntokens 72 105\n"
                               "rule contains letters\nno_end\nrule\ntext hello\\x20world\n"),
        executor::ModelType::kDECODER_ONLY, guidedConfig()};
    auto const first = run(engine, request("one"));
    CHECK(textOf(first) == "hello world");
    CHECK(first.getResult().outputTokenIds.front().front() == kHello);
    CHECK(reasonOf(first) == FinishReason::kEND_ID);
    CHECK(first.getResult().isFinal && first.getResult().isSequenceFinal);
    CHECK(textOf(run(engine, request("number two"))) == "second answer");
    CHECK(textOf(run(engine, request("three"))) == "Hi");
    auto const cut = run(engine, request("letters", 10));
    CHECK(reasonOf(cut) == FinishReason::kLENGTH);
    CHECK(cut.getResult().outputTokenIds.front().size() == 10);

    auto whole = request("one");
    whole.setOutputConfig(executor::OutputConfig{});
    whole.setClientId(77);
    auto const withPrompt = run(engine, whole);
    CHECK(textOf(withPrompt) == "onehello world");
    CHECK(withPrompt.getClientId() == std::optional<executor::IdType>{77});

    auto stops = request("one");
    stops.setStopWords({encode("wor")});
    auto const stopped = run(engine, stops);
    CHECK(textOf(stopped) == "hello wor");
    CHECK(reasonOf(stopped) == FinishReason::kSTOP_WORDS);

    auto banned = request("one", 8);
    banned.setBadWords({{kHello}, encode("ll")});
    CHECK(textOf(run(engine, banned)).rfind("hel", 0) == 0);
    CHECK(textOf(run(engine, banned)).find("ll") == std::string::npos);

    auto streaming = request("one");
    streaming.setStreaming(true);
    auto const id = engine.enqueueRequest(streaming);
    std::string text;
    int parts = 0;
    for (bool last = false; !last;)
    {
        for (auto const& part : engine.awaitResponses(id, kPatience))
        {
            text += textOf(part);
            last = part.hasError() || part.getResult().isFinal;
            ++parts;
        }
    }
    CHECK(text == "hello world");
    CHECK(parts > 5);
    CHECK(engine.awaitResponses(id, kPatience).front().hasError());
    CHECK(engine.awaitResponses(id + 100, std::chrono::milliseconds{1}).empty());
    CHECK(engine.awaitResponses(std::chrono::milliseconds{1}).empty());

    auto const ids = engine.enqueueRequests({request("a"), request("b"), request("c")});
    CHECK(engine.awaitResponses(ids, kPatience).size() == 3);
    CHECK(engine.getNumResponsesReady() == 0);
}

void limits()
{
    auto config = guidedConfig();
    config.setMaxQueueSize(1);
    Executor engine{makeEngine("rule contains hang\nhang\nrule contains letters\nno_end\nrule\ntext ok\n",
                        "--max-input-len 100 --max-seq-len 120 --max-batch-size 2"),
        executor::ModelType::kDECODER_ONLY, config};
    CHECK(textOf(run(engine, request(std::string(101, 'x')))).find("exceeds maximum input length (100)")
        != std::string::npos);
    auto const cut = run(engine, request("letters" + std::string(90, 'x'), 64));
    CHECK(cut.getResult().outputTokenIds.front().size() == 120 - 97);
    CHECK(textOf(run(engine, Request{{1, 2, kVocabulary}, 5})).find("vocabulary") != std::string::npos);

    auto logits = request("x");
    logits.setOutputConfig(executor::OutputConfig{false, false, true, true});
    CHECK(run(engine, logits).hasError());
    auto named = request("x");
    named.setLogitsPostProcessorName("none");
    CHECK(thrown([&] { (void) engine.enqueueRequest(named); }) == "tllm");
    CHECK(thrown([] { Request{{}, 5}; }) == "tllm");
    CHECK(thrown([] { Request{{1}, 0}; }) == "tllm");

    // Two requests that hang fill the batch and a third one the queue, each once the queue has room; then every request
    // is refused.
    std::vector<executor::IdType> ids;
    for (auto const* prompt : {"hang", "hang", "fine"})
    {
        while (thrown([&] { ids.push_back(engine.enqueueRequest(request(prompt))); }) == "tllm")
        {
            std::this_thread::yield();
        }
    }
    CHECK(thrown([&] { (void) engine.enqueueRequest(request("fine")); }) == "tllm");
    CHECK(thrown([&] { (void) engine.enqueueRequests({request("fine"), request("fine")}); }) == "tllm");
    for (std::size_t i = 0; i < 2; ++i)
    {
        engine.cancelRequest(ids[i]);
        CHECK(reasonOf(await(engine, ids[i])) == FinishReason::kCANCELLED);
    }
    CHECK(textOf(await(engine, ids[2])) == "ok");
}

void timesAndCancels()
{
    Executor engine{makeEngine("step_us 200\nrule\nno_end\n", "--max-seq-len 100000"),
        executor::ModelType::kDECODER_ONLY, guidedConfig()};
    auto timed = request("x", 90'000);
    timed.setAllottedTimeMs(std::chrono::milliseconds{20});
    auto const late = run(engine, timed);
    CHECK(reasonOf(late) == FinishReason::kTIMED_OUT);
    CHECK(late.getResult().outputTokenIds.front().empty());
    auto const id = engine.enqueueRequest(request("x", 90'000));
    engine.cancelRequest(id);
    auto const cancelled = await(engine, id);
    CHECK(reasonOf(cancelled) == FinishReason::kCANCELLED);
    CHECK(cancelled.getResult().outputTokenIds.front().empty());
    engine.cancelRequest(id);
}

void guidance()
{
    Executor engine{makeEngine("rule contains stubborn\ntext I will not answer with a number\n"
                               "rule\ntext <think>\\nso it is</think>\\n\\n4\nbias 19 3\n"),
        executor::ModelType::kDECODER_ONLY, guidedConfig()};
    using Params = executor::GuidedDecodingParams;
    auto const guided = [&](std::string const& prompt, std::string const& grammar)
    {
        auto out = request(prompt, 200);
        out.setGuidedDecodingParams(Params{Params::GuideType::kEBNF_GRAMMAR, grammar});
        return out;
    };
    std::string const whole = "root ::= \"<think>\" [^<]* \"</think>\\n\\n\" [1-5]";
    auto const answer = run(engine, guided("judge", whole));
    CHECK(textOf(answer) == "<think>\nso it is</think>\n\n4");
    CHECK(answer.getResult().outputTokenIds.front().front() == kThink);
    CHECK(reasonOf(answer) == FinishReason::kEND_ID);
    CHECK(textOf(run(engine, guided("stubborn", "root ::= \"score: \" [1-5]"))).rfind("score: ", 0) == 0);

    // In two requests: the reasoning is cut off, the caller closes it, and the verdict follows.
    auto const cut = run(engine, request("judge", 5));
    CHECK(reasonOf(cut) == FinishReason::kLENGTH);
    CHECK(textOf(run(engine, guided("judge" + textOf(cut) + "</think>\n\n", "root ::= [1-5]"))) == "4");
    CHECK(textOf(run(engine, guided("judge" + textOf(cut), whole.substr(0, 9) + " [^<]* \"</think>\\n\\n\" [1-5]")))
        == textOf(answer).substr(textOf(cut).size()));

    // If the grammar forbids the favoured token, the best admitted one is taken: the biased one.
    CHECK(textOf(run(engine, guided("judge<think>x</think>\n\n", "root ::= [1-3]"))) == "3");

    auto sampled = guided("judge", "root ::= [1-5]{40}");
    sampled.setSamplingConfig(executor::SamplingConfig{1, 5, std::nullopt, std::nullopt, std::nullopt, std::nullopt,
        executor::RandomSeedType{7}, 5.0F});
    auto const once = textOf(run(engine, sampled));
    CHECK(once.size() == 40);
    CHECK(once.find_first_not_of("12345") == std::string::npos);
    CHECK(std::count(once.begin(), once.end(), '3') > 5);
    CHECK(textOf(run(engine, sampled)) == once);
    sampled.setSamplingConfig(executor::SamplingConfig{1, 5, std::nullopt, std::nullopt, std::nullopt, std::nullopt,
        executor::RandomSeedType{8}, 5.0F});
    CHECK(textOf(run(engine, sampled)) != once);

    // A malformed grammar fails the step, and the executor goes on.
    CHECK(textOf(run(engine, guided("judge", "root ::= \"a"))).find("forwardAsync") != std::string::npos);
    CHECK(textOf(run(engine, guided("judge", whole))) == textOf(answer));
}

void logits()
{
    auto config = guidedConfig();
    std::vector<float> seen;
    std::size_t calls = 0;
    std::map<std::size_t, std::size_t> batches;
    auto const look = [&](executor::IdType, executor::Tensor& tensor, executor::BeamTokens const& tokens,
                          executor::StreamPtr const& stream, std::optional<executor::IdType> client)
    {
        auto const shape = tensor.getShape();
        CHECK(shape.size() == 3 && shape[0] == 1 && shape[1] == 1 && shape[2] == kVocabulary);
        CHECK(tensor.getDataType() == executor::DataType::kFP32);
        CHECK(tokens.size() == 1 && tokens.front().size() == 5 + calls);
        CHECK(!stream && client == std::optional<executor::IdType>{9});
        auto const* row = static_cast<float const*>(tensor.getData());
        seen = {row['3'], row['4'], row['5']};
        ++calls;
    };
    auto const batched = [&](std::vector<executor::IdType> const& ids, std::vector<executor::Tensor>& tensors,
                             std::vector<std::reference_wrapper<executor::BeamTokens const>> const& tokens,
                             executor::StreamPtr const&, std::vector<std::optional<executor::IdType>> const& clients)
    {
        CHECK(ids.size() == tensors.size() && ids.size() == tokens.size() && ids.size() == clients.size());
        ++batches[ids.size()];
        for (auto& tensor : tensors)
        {
            static_cast<float*>(tensor.getData())['!'] = 100.0F;
        }
    };
    config.setLogitsPostProcessorConfig(
        executor::LogitsPostProcessorConfig{executor::LogitsPostProcessorMap{{"look", look}}, batched});
    config.setGatherGenerationLogits(true);
    Executor engine{
        makeEngine("step_us 500\nrule\ntext 44\nbias 19 3\n"), executor::ModelType::kDECODER_ONLY, config};
    auto one = request("score", 2);
    one.setClientId(9);
    one.setLogitsPostProcessorName("look");
    CHECK(textOf(run(engine, one)) == "44");
    CHECK(calls == 2);
    CHECK(seen.size() == 3 && seen[0] == 19.0F && seen[1] == 20.0F && std::abs(seen[2]) <= 1.0F);

    calls = 0;
    auto dynamic = request("score", 1);
    dynamic.setClientId(9);
    dynamic.setLogitsPostProcessor(executor::LogitsPostProcessor{look});
    CHECK(textOf(run(engine, dynamic)) == "4" && calls == 1);

    auto changed = request("score", 3);
    changed.setLogitsPostProcessorName(Request::kBatchedPostProcessorName);
    auto const ids = engine.enqueueRequests({changed, changed, changed, changed});
    for (auto const id : ids)
    {
        CHECK(textOf(await(engine, id)) == "!!!");
    }
    CHECK(batches.rbegin()->first > 1);

    auto gathered = request("score", 3);
    gathered.setOutputConfig(executor::OutputConfig{true, false, true, true, false, true});
    auto const result = run(engine, gathered).getResult();
    auto const shape = result.generationLogits->getShape();
    CHECK(shape.size() == 3 && shape[0] == 1 && shape[1] == 3 && shape[2] == kVocabulary);
    auto const* row = static_cast<float const*>(result.generationLogits->getData()) + kVocabulary;
    CHECK(row['3'] == 19.0F && row['4'] == 20.0F);
    CHECK(result.logProbs && result.logProbs->front().front() < 0.0F && result.logProbs->front().front() > -0.5F);
    CHECK(result.requestPerfMetrics && result.requestPerfMetrics->kvCacheMetrics.numTotalAllocatedBlocks > 0);
}

executor::KvCacheStats latest(Executor& engine)
{
    executor::KvCacheStats last{};
    for (auto const& stats : engine.getLatestIterationStats())
    {
        last = stats.kvCacheStats.value_or(last);
    }
    return last;
}

void blocks()
{
    auto config = guidedConfig();
    config.setRequestStatsMaxIterations(100);
    Executor engine{makeEngine("kv_blocks 20\nrule contains hang\nhang\nrule\ntext ok\n"),
        executor::ModelType::kDECODER_ONLY, config};
    std::string const prefix(32 * 5, 'p');
    (void) run(engine, request(prefix + "first", 10));
    auto stats = latest(engine);
    CHECK(stats.maxNumBlocks == 20 && stats.reusedBlocks == 0 && stats.missedBlocks == 5);
    auto second = request(prefix + "second", 10);
    second.setOutputConfig(executor::OutputConfig{false, false, false, true, false, true});
    auto const reused = run(engine, second).getResult().requestPerfMetrics->kvCacheMetrics;
    CHECK(reused.numReusedBlocks == 5 && reused.numNewAllocatedBlocks == 1);
    stats = latest(engine);
    CHECK(stats.reusedBlocks == 5 && stats.usedNumBlocks == 0 && stats.freeNumBlocks == 20);
    CHECK(!engine.getLatestRequestStats().empty());

#if DICAST_STANDIN_RELEASE >= 101
    auto salted = second;
    salted.setCacheSaltID(5);
    CHECK(run(engine, salted).getResult().requestPerfMetrics->kvCacheMetrics.numReusedBlocks == 0);
#endif

    // Blocks with a high priority survive a flood of others.
    using Retention = executor::KvCacheRetentionConfig;
    auto kept = request(std::string(32 * 3, 'k') + "x", 5);
    kept.setKvCacheRetentionConfig(Retention{{Retention::TokenRangeRetentionConfig{0, 96, 100}}});
    (void) run(engine, kept);
    for (char c = 'a'; c < 'j'; ++c)
    {
        (void) run(engine, request(std::string(32 * 8, c), 5));
    }
    kept.setOutputConfig(executor::OutputConfig{false, false, false, true, false, true});
    CHECK(run(engine, kept).getResult().requestPerfMetrics->kvCacheMetrics.numReusedBlocks == 3);

    // A request that can never fit is an error; one that does not fit now waits.
    CHECK(run(engine, request(std::string(32 * 20, 'z'), 5)).hasError());
    auto const hanging = engine.enqueueRequest(request("hang", 32 * 10));
    auto const waiting = engine.enqueueRequest(request(std::string(32 * 12, 'w'), 5));
    auto const queued = engine.enqueueRequest(request(std::string(32 * 12, 'q'), 5));
    // Cancelling a request that waits for blocks is answered once it is scheduled; the loop steps meanwhile.
    engine.cancelRequest(queued);
    CHECK(engine.awaitResponses(queued, std::chrono::milliseconds{20}).empty());
    CHECK(engine.getLatestIterationStats().size() > 2);
    engine.cancelRequest(hanging);
    CHECK(reasonOf(await(engine, hanging)) == FinishReason::kCANCELLED);
    CHECK(textOf(await(engine, waiting)) == "ok");
    CHECK(reasonOf(await(engine, queued)) == FinishReason::kCANCELLED);

    auto off = guidedConfig();
    off.setKvCacheConfig(executor::KvCacheConfig{false});
    Executor plain{makeEngine("rule\ntext ok\n", "--no-paged-context"), executor::ModelType::kDECODER_ONLY, off};
    (void) run(plain, request(prefix));
    CHECK(run(plain, second).getResult().requestPerfMetrics->kvCacheMetrics.numReusedBlocks == 0);
}

// The cache holds less than the longest sequence.
void smallCache()
{
    auto const folder = makeEngine("kv_blocks 2\nrule\ntext ok\n");
    auto config = guidedConfig();
    auto const open = [&] { return Executor{folder, executor::ModelType::kDECODER_ONLY, config}; };
    {
        auto engine = open();
        CHECK(textOf(run(engine, request("x"))) == "ok");
        CHECK(textOf(run(engine, request(std::string(64, 'x')))).find("exceeds maximum input length (63)")
            != std::string::npos);
    }
#if DICAST_STANDIN_RELEASE >= 101
    config.setFailFastOnAttentionWindowTooLarge(true);
    CHECK(thrown(open) == "tllm");
#endif
}

// The log probability of a sampled token: among what the mask admits, and among the top-k tokens if it is normalised.
void logProbs()
{
    for (auto const* setting : {"", "log_probs_unmasked\n"})
    {
        for (bool const normalise : {false, true})
        {
            auto config = guidedConfig();
            config.setNormalizeLogProbs(normalise);
            Executor engine{makeEngine(std::string{setting} + "rule\nbias 21 7\nbias 20 8\nbias 19 9\n"),
                executor::ModelType::kDECODER_ONLY, config};
            auto asked = request("x", 1);
            asked.setOutputConfig(executor::OutputConfig{true, false, false, true});
            asked.setGuidedDecodingParams(executor::GuidedDecodingParams{
                executor::GuidedDecodingParams::GuideType::kEBNF_GRAMMAR, "root ::= \"8\" | \"9\""});
            executor::SamplingConfig sampling;
            sampling.setTopK(1);
            asked.setSamplingConfig(sampling);
            auto const result = run(engine, asked);
            CHECK(textOf(result) == "8");
            float const logProb = result.getResult().logProbs->front().front();
            double const others = *setting == '\0' ? 0.0 : std::exp(1.0) + 1.0;
            double const expected = normalise ? (*setting == '\0' ? 0.0 : -1.0) : -std::log(1.0 + std::exp(-1.0) + others);
            CHECK(std::abs(logProb - expected) < (*setting == '\0' ? 1e-5 : 0.2));
        }
    }
}

} // namespace

void generation()
{
    smallCache();
    logProbs();
    texts();
    limits();
    timesAndCancels();
    guidance();
    logits();
    blocks();
}

} // namespace selftest
