// The program's own engine in C++: events, the reasoning while it is written, sleep, exceptions that it throws.
#include <poll.h>

#include <cmath>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.hpp"

namespace {

using dicast::Status;

class Toy : public dicast::OwnEngine {
public:
    bool throws = false;
    bool asleep = false;
    bool ended = false;

    void generate(dicast::Job job) override {
        if (throws) {
            throw std::runtime_error("no");
        }
        const auto plan = job.plan();
        CHECK(plan.guided == 1 && plan.reasons == 1 && job.messages() == 2 && job.role(1) == "user");
        CHECK(job.tokens().empty() && job.is_wanted() && job.schema().find("model-1") != std::string_view::npos);
        const auto grammar = job.try_grammar("", dicast::Notation::gbnf);
        CHECK(grammar && grammar->last && grammar->text.find("root ::=") == 0);
        CHECK(job.try_grammar("x", dicast::Notation::lark).status() == Status::invalid_verdict);
        CHECK(job.try_reason("Short ").status() == Status::ok && job.try_reason("wins.").status() == Status::ok);
        CHECK(job.try_answer("\n\n{\n  \"scores\": {\"model-1\": ").status() == Status::ok);
        CHECK(job.try_answer({{"4", std::log(0.5), {{"4", std::log(0.5)}, {"5", std::log(0.5)}}}}).status() ==
              Status::ok);
        CHECK(job.try_answer("},\n  \"best-to-worst\": [\"model-1\"]\n}").status() == Status::ok);
        dicast::Usage usage{};
        usage.verdict_tokens = 9;
        job.usage(usage);
        // From its own thread.
        std::thread([moved = std::move(job)]() mutable { moved.finish(); }).join();
    }
    void closed() noexcept override { ended = true; }
    bool can_sleep() const noexcept override { return true; }
    Status sleep() noexcept override { return asleep = true, Status::ok; }
    Status wake() noexcept override { return asleep = false, Status::ok; }
    Status reload(std::string_view model) noexcept override { return model == "b" ? Status::ok : Status::io; }
};

}  // namespace

int main() {
    auto toy = std::make_shared<Toy>();
    dicast::Config config;
    config.model = "toy";
    dicast::EngineOptions options;
    options.guidance = dicast::Guidance::grammar;
    options.distributions = true;
    {
        const auto judge = dicast::Judge::open_engine(config, toy, options);
        const dicast::Request request("Be short.", "How?", {{"a", "So."}});
        const auto verdict = judge.judge(request);
        CHECK(verdict.score("a") == 4 && std::fabs(verdict.expected("a") - 4.5) < 1e-6);
        CHECK(verdict.usage().verdict_tokens == 9 && verdict.weights() == 0);

        std::string heard;
        const auto outcome = judge.try_judge_heard(request, [&](std::string_view piece) { heard += piece; });
        CHECK(outcome && heard == "Short wins.");

        const auto events = dicast::Events::make();
        dicast::SubmitOptions submission;
        submission.id = "seven";
        submission.priority = dicast::Priority::high;
        submission.deadline = std::chrono::minutes(1);
        judge.submit(request, events, 7, submission);
        pollfd look{events.descriptor(), POLLIN, 0};
        CHECK(poll(&look, 1, 60000) == 1);
        const auto event = events.next();
        CHECK(event && event->tag == 7 && event->outcome && event->outcome->score("a") == 4);
        CHECK(!events.next() && !events.next(std::chrono::milliseconds(1)));
        CHECK(judge.submit(request, submission).wait().size() == 1);

        judge.sleep();
        CHECK(judge.is_asleep() && toy->asleep);
        judge.wake();
        judge.reload("b");
        CHECK(judge.weights() == 1 && judge.judge(request).weights() == 1);
        dicast::SleepOptions hasty;
        hasty.arriving = dicast::Arriving::fail;
        hasty.patience = std::chrono::seconds(1);
        judge.sleep(hasty);
        THROWS(Status::asleep, judge.judge(request));
        CHECK(judge.try_reload("c").status() == Status::io && judge.is_asleep());
        judge.wake();

        const auto before = judge.metrics("judge=\"toy\"");
        const auto figures = before.figures();
        CHECK(figures.judged == 5 && figures.failed == 1 && figures.verdict_tokens == 45 &&
              figures.elapsed.count() > 0);
        CHECK(before.ended(Status::ok) == 5 && before.ended(Status::asleep) == 1);
        CHECK(before.times(dicast::Phase::total).size() == before.bounds().size() + 1);
        CHECK(before.time_sum(dicast::Phase::total).count() > 0 && figures.recent_judgments > 0);
        CHECK(before.quantile(dicast::Phase::total, 0.5) <= before.quantile(dicast::Phase::total, 1));
        CHECK(std::isnan(before.quantile(dicast::Phase::total, 2).count()));
        CHECK(before.prometheus().find("dicast_weights{judge=\"toy\"} 1\n") != std::string_view::npos);
        CHECK(before.json().find("\"judged\":5") != std::string_view::npos);
        THROWS(Status::invalid_argument, judge.metrics("judge"));

        std::vector<dicast::Group> groups(3, {"Be short.", "How?", {"So."}});
        groups[1].responses.clear();
        groups[2].id = "the third";
        groups[2].priority = dicast::Priority::high;
        groups[2].deadline = std::chrono::minutes(1);
        groups[2].options.seed = 7;
        dicast::BatchOptions together;
        together.priority = dicast::Priority::low;
        together.deadline = std::chrono::minutes(2);
        const auto batch = judge.submit_groups(groups, together);
        CHECK(batch.wait_for(std::chrono::minutes(1)) && batch.size() == 3 && batch.ended() == 3);
        CHECK(batch.status(0) == Status::ok && batch.status(1) == Status::invalid_request);
        const auto rewards = batch.rewards({dicast::Reward::score});
        CHECK(rewards.size() == 3 && rewards[0].values == std::vector<double>{4} && !rewards[1].ok());
        const auto third = batch.take(2);
        CHECK(third.reasoning() == "Short wins.");
        CHECK(batch.try_take(1)->status() == Status::invalid_request);
        CHECK(batch.try_take(2)->status() == Status::invalid_argument);
        CHECK(batch.rewards()[2].statuses[0] == Status::invalid_argument && batch.rewards()[0].ok());
        batch.cancel();
        dicast::RewardOptions late;
        late.deadline = std::chrono::minutes(1);
        CHECK(judge.rewards(groups, late)[0].ok());
        CHECK(judge.try_count(request).status() == Status::unsupported);
        judge.set_log_level(dicast::LogLevel::debug);

        toy->throws = true;
        CHECK(judge.try_judge(request).status() == Status::engine);
    }
    CHECK(toy->ended);
    CHECK(dicast::Judge::try_open_engine(config, toy, options, "{}").status() == Status::invalid_profile);

    const std::vector<dicast::Token> tokens = {{"{\"scores\": {\"a\": "},
                                               {"2", std::log(0.5), {{"2", std::log(0.5)}, {"4", std::log(0.5)}}},
                                               {"}, \"best-to-worst\": [\"a\"]}"}};
    const auto aliases = dicast::Aliases::of({"a"}, {"real"});
    CHECK(std::fabs(dicast::parse(tokens, aliases).expected("real") - 3) < 1e-6);
    return 0;
}
