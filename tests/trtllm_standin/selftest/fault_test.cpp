#include "harness.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace selftest
{

namespace
{

using executor::FinishReason;

void opening()
{
    auto const open = [](std::filesystem::path const& folder, executor::ExecutorConfig const& config)
    { return thrown([&] { Executor{folder, executor::ModelType::kDECODER_ONLY, config}; }); };
    executor::ExecutorConfig const plain;
    CHECK(open("/nonexistent", plain) == "tllm");
    CHECK(open(makeEngine("throw_at_open tllm out of GPU memory\n"), plain) == "tllm");
    CHECK(open(makeEngine("throw_at_open std x\n"), plain) == "std");
    CHECK(open(makeEngine("throw_at_open int x\n"), plain) == "other");
    CHECK(open(makeEngine("nonsense\n"), plain) == "tllm");
    CHECK(open(makeEngine("rule\nnonsense\n"), plain) == "tllm");
    CHECK(open(makeEngine("rule\ntext without a vocabulary\n"), plain) == "tllm");
    CHECK(open(makeEngine("", "--no-paged-context"), plain) == "tllm");
    auto const foreign = makeEngine("");
    std::ofstream{foreign / "rank0.engine"} << "something else";
    CHECK(open(foreign, plain) == "tllm");
    std::filesystem::remove(foreign / "rank0.engine");
    CHECK(open(foreign, plain) == "tllm");
    std::ofstream{foreign / "config.json"} << "{";
    CHECK(open(foreign, plain) == "std");

    // Two ranks: refused alone, but accepted with mpirun, and as an orchestrator with a worker that can be run.
    auto const two = makeEngine("", "--tp 2");
    CHECK(open(two, plain) == "tllm");
    auto orchestrated = plain;
    using executor::OrchestratorConfig;
    auto const parallel = [](std::string const& worker)
    {
        return executor::ParallelConfig{executor::CommunicationType::kMPI, executor::CommunicationMode::kORCHESTRATOR,
            std::nullopt, std::nullopt, OrchestratorConfig{true, worker}};
    };
    orchestrated.setParallelConfig(parallel("/nonexistent"));
    CHECK(open(two, orchestrated) == "tllm");
    orchestrated.setParallelConfig(parallel("/bin/sh"));
    CHECK(open(two, orchestrated).empty());
    orchestrated.setLogitsPostProcessorConfig(executor::LogitsPostProcessorConfig{});
    CHECK(open(two, orchestrated) == "tllm");
    ::setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
    CHECK(open(two, plain).empty());
    ::setenv("OMPI_COMM_WORLD_RANK", "1", 1);
    {
        Executor follower{two, executor::ModelType::kDECODER_ONLY, plain};
        CHECK(!follower.canEnqueueRequests() && follower.isParticipant());
        CHECK(thrown([&] { (void) follower.enqueueRequest(request("x")); }) == "tllm");
    }
    ::unsetenv("OMPI_COMM_WORLD_SIZE");
    ::unsetenv("OMPI_COMM_WORLD_RANK");
}

void perRequest()
{
    Executor engine{makeEngine("rule contains [enqueue tllm]\nthrow_at_enqueue tllm no\n"
                               "rule contains [enqueue std]\nthrow_at_enqueue std no\n"
                               "rule contains [enqueue int]\nthrow_at_enqueue int no\n"
                               "rule contains [await]\ntext ok\nthrow_at_await request no\n"
                               "rule contains [error]\ntext ok\nerror out of memory\n"
                               "rule contains [error after]\ntext ok\nerror_after 1 out of memory\n"
                               "rule contains [reason]\ntext ok\nfinish_reason 99\n"
                               "rule contains [twice]\ntext ok\ntwice\n"
                               "rule contains [step]\nthrow_in_step std broken\n"
                               "rule contains [hang]\nhang\n"
                               "rule every 1000\ntext never\nrule ends [end]\ntext end\nrule\ntext ok\n"),
        executor::ModelType::kDECODER_ONLY, guidedConfig()};
    auto const enqueue = [&](char const* prompt)
    { return thrown([&] { (void) engine.enqueueRequest(request(prompt)); }); };
    CHECK(enqueue("[enqueue tllm]") == "tllm");
    CHECK(enqueue("[enqueue std]") == "std");
    CHECK(enqueue("[enqueue int]") == "other");
    CHECK(textOf(run(engine, request("fine"))) == "ok");
    CHECK(textOf(run(engine, request("at the [end]"))) == "end");
    auto const awaited = engine.enqueueRequest(request("[await]"));
    CHECK(thrown([&] { (void) engine.awaitResponses(awaited, kPatience); }) == "request");
    CHECK(textOf(await(engine, awaited)) == "ok");
    CHECK(textOf(run(engine, request("[error]"))) == "error: out of memory");
    CHECK(textOf(run(engine, request("[error after]"))) == "error: out of memory");
    CHECK(static_cast<int>(reasonOf(run(engine, request("[reason]")))) == 99);
    auto const twice = engine.enqueueRequest(request("[twice]"));
    CHECK(engine.awaitResponses(twice, kPatience).size() == 2);
    auto const hanging = engine.enqueueRequest(request("[hang]"));
    CHECK(engine.awaitResponses(hanging, std::chrono::milliseconds{5}).empty());
    CHECK(textOf(run(engine, request("[step]"))).find("broken") != std::string::npos);
    CHECK(await(engine, hanging).hasError());
    auto const again = engine.enqueueRequest(request("[hang]"));
    engine.cancelRequest(again);
    CHECK(reasonOf(await(engine, again)) == FinishReason::kCANCELLED);
    CHECK(textOf(run(engine, request("fine"))) == "ok");
    CHECK(engine.canEnqueueRequests());
}

// A request that generates nothing while a file exists delays no other, and a shutdown lets it go on.
void holding()
{
    auto const folder = makeEngine("rule contains [hold]\ntext held\nhold held\nrule\ntext ok\n");
    std::ofstream{folder / "held"};
    Executor engine{folder, executor::ModelType::kDECODER_ONLY, guidedConfig()};
    auto const held = engine.enqueueRequest(request("[hold]"));
    CHECK(textOf(run(engine, request("fine"))) == "ok");
    CHECK(engine.awaitResponses(held, std::chrono::milliseconds{5}).empty());
    std::filesystem::remove(folder / "held");
    CHECK(textOf(await(engine, held)) == "held");
    std::ofstream{folder / "held"};
    (void) engine.enqueueRequest(request("[hold]"));
    engine.shutdown();
}

void crashes()
{
    for (bool const silent : {false, true})
    {
        Executor engine{makeEngine(std::string{"rule contains hang\nhang\nrule\n"} + (silent ? "crash_silent\n" : "crash\n")),
            executor::ModelType::kDECODER_ONLY, guidedConfig()};
        auto const hanging = engine.enqueueRequest(request("hang"));
        auto const fatal = engine.enqueueRequest(request("fatal"));
        for (auto const id : {hanging, fatal})
        {
            auto const outcome = thrown([&] { CHECK(engine.awaitResponses(id, kPatience).at(0).hasError()); });
            CHECK(outcome == (silent ? "tllm" : ""));
        }
        CHECK(thrown([&] { (void) engine.awaitResponses(); }) == "tllm");
        CHECK(thrown([&] { (void) engine.enqueueRequest(request("more")); }) == "tllm");
        CHECK(!engine.canEnqueueRequests());
        engine.shutdown();
    }
}

// A permanent error, in an executor that goes on accepting requests; and a step that never ends.
void lasting()
{
    Executor engine{makeEngine("rule contains [sticky]\nsticky std illegal memory access\nrule\ntext ok\n"),
        executor::ModelType::kDECODER_ONLY, guidedConfig()};
    CHECK(textOf(run(engine, request("fine"))) == "ok");
    for (auto const* prompt : {"[sticky]", "fine", "fine"})
    {
        CHECK(textOf(run(engine, request(prompt))).find("illegal memory access") != std::string::npos);
    }
    CHECK(engine.canEnqueueRequests());

    Executor stuck{makeEngine("rule contains hang\nhang_hard\nrule\ntext ok\n"), executor::ModelType::kDECODER_ONLY,
        guidedConfig()};
    auto const id = stuck.enqueueRequest(request("hang"));
    auto const steps = [&] { return stuck.getLatestIterationStats(); };
    auto seen = steps();
    while (seen.empty() || seen.back().inflightBatchingStats->numScheduledRequests == 0)
    {
        seen = steps();
    }
    stuck.cancelRequest(id);
    (void) stuck.enqueueRequest(request("fine"));
    CHECK(stuck.awaitResponses(std::chrono::milliseconds{20}).empty());
    CHECK(steps().empty());
}

// Engines and constructors that the stand-in does not support.
void refusals()
{
    auto const folder = makeEngine("rule\n", "--logits-dtype bfloat16");
    CHECK(thrown([&] { Executor{folder, executor::ModelType::kDECODER_ONLY, guidedConfig()}; }) == "tllm");
    CHECK(thrown([&] { Executor{folder, executor::ModelType::kDECODER_ONLY, executor::ExecutorConfig{}}; }).empty());
    CHECK(thrown([&] { Executor{folder, folder, executor::ModelType::kENCODER_DECODER, guidedConfig()}; }) == "tllm");
    CHECK(thrown([] { Executor{std::shared_ptr<executor::Model>{}, executor::ExecutorConfig{}}; }) == "tllm");
}

} // namespace

void faults()
{
    lasting();
    refusals();
    opening();
    perRequest();
    holding();
    crashes();
}

} // namespace selftest
