// Blocking judgments and batches, everything that can be read from a verdict and from a judge, and how they fail.
#include <algorithm>
#include <atomic>
#include <map>
#include <numeric>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "check.hpp"
#if __cplusplus >= 202002L
#include <span>
#endif

namespace {

dicast::Request request(std::string_view principle) {
    return dicast::Request(principle, question, {{"short", short_text}, {"middle", middle_text}, {"long", long_text}});
}

void check_verdict(const dicast::Verdict &verdict) {
    constexpr std::string_view names[] = {"short", "middle", "long"};
    CHECK(verdict.size() == 3 && verdict.scale_min() == 1 && verdict.scale_max() == 5);
    std::size_t index = 0;
    for (const dicast::Scored &scored : verdict) {
        CHECK(scored.index == index && scored.name == names[index] && scored.name == verdict.name(index));
        CHECK(scored.alias == verdict.alias(index) && scored.alias.substr(0, 6) == "model-");
        CHECK(verdict.find(scored.name) == index);
        CHECK(scored.score >= 1 && scored.score <= 5 && scored.score == verdict.score(scored.name));
        CHECK(scored.expected == verdict.expected(index) && scored.expected == verdict.expected(scored.name));
        CHECK(scored.distribution.size() == 5 && !scored.distribution.empty());
        double mean = 0;
        for (std::size_t at = 0; at < 5; ++at) {
            mean += scored.distribution[at] * static_cast<double>(at + 1);
        }
        CHECK(std::fabs(std::accumulate(scored.distribution.begin(), scored.distribution.end(), 0.0) - 1) < 1e-9);
        CHECK(std::fabs(mean - scored.expected) < 1e-9);
#if __cplusplus >= 202002L
        CHECK(std::span<const double>(scored.distribution).size() == 5);
#endif
        CHECK(scored.rank == verdict.rank(index) && scored.rank == verdict.rank(scored.name));
        CHECK(verdict.ranked(scored.rank) == index && verdict.ranking()[scored.rank] == scored.name);
        ++index;
    }
    CHECK(index == 3 && std::distance(verdict.begin(), verdict.end()) == 3);
    CHECK(!verdict.reasoning().empty() && verdict.raw().find(verdict.reasoning()) != std::string_view::npos);
    CHECK(verdict.json().find("\"ranking\":[") != std::string_view::npos);
    CHECK(verdict.repairs().empty());
    const dicast::Usage usage = verdict.usage();
    CHECK(usage.prompt_tokens > 0 && usage.reasoning_tokens > 0 && usage.verdict_tokens > usage.forced_tokens);
    CHECK(usage.forced_tokens > 0 && usage.reused_tokens <= usage.prompt_tokens);
    CHECK(verdict.timing().verdict.count() > 0 && verdict.timing().queue.count() >= 0);

    CHECK(verdict.name(3).empty() && verdict.alias(dicast::none).empty() && std::isnan(verdict.score(3)));
    CHECK(verdict.criterion_count() == 0 && verdict.criterion_name(0).empty() &&
          std::isnan(verdict.criterion_value(0, 0)));
    CHECK(std::isnan(verdict.win(0)) && std::isnan(verdict.win_over(0, 1)) && !verdict.abstains(0, 1));
    CHECK(std::isnan(verdict.score("nobody")) && std::isnan(verdict.expected("")) && verdict.distribution(3).empty());
    CHECK(verdict.find("nobody") == dicast::none && verdict.rank("nobody") == dicast::none);
    CHECK(verdict.rank(3) == dicast::none && verdict.ranked(3) == dicast::none);
}

void judge_one(const dicast::Judge &judge) {
    const dicast::Verdict verdict = judge.judge(request(shorter));
    check_verdict(verdict);
    CHECK(verdict.ranking() == std::vector<std::string_view>{"short", "middle", "long"});
    CHECK(judge.judge(request(longer)).ranked(0) == 2);

    const dicast::Result<dicast::Verdict> result = judge.try_judge(request(shorter));
    CHECK(result && result.has_value() && result.status() == dicast::Status::ok);
    CHECK(result->raw() == verdict.raw() && (*result).score(0) == verdict.score(0));
    CHECK(near(result.value().expected("long"), verdict.expected("long")));
#ifdef __cpp_lib_expected
    std::expected<dicast::Verdict, dicast::Error> expected = judge.try_judge(request(shorter)).expected();
    CHECK(expected && expected->raw() == verdict.raw());
    expected = judge.try_judge(dicast::Request("", "")).expected();
    CHECK(!expected && expected.error().status() == dicast::Status::invalid_request);
#endif

    // Other containers; options as a struct and as JSON; zero bytes within a text.
    const std::map<std::string, std::string> responses = {{std::string("a\0b", 3), std::string(long_text)},
                                                          {"", "Go."}};
    dicast::Request other(shorter, question, responses);
    dicast::Options options;
    options.mask = dicast::Mask::off;
    options.reasoning = false;
    other.set_options(options);
    const dicast::Verdict quick = judge.judge(other);
    CHECK(quick.alias(1) == std::string_view("a\0b", 3) && quick.name(0).empty() && quick.reasoning().empty());
    other.set_options_json(R"({"mask": "given", "max_reasoning_tokens": 3})");
    const dicast::Verdict cut = judge.judge(other);
    CHECK(cut.alias(1) == "model-2");
    const auto flags = cut.flags();
    CHECK(std::any_of(flags.begin(), flags.end(), [](const dicast::Note &flag) { return !flag.name.empty(); }));

    const auto read = dicast::Request::from_json(
        R"({"principle": "Be short.", "prompt": "Hi", "responses": {"b": "Hello!", "a": "Hello, and welcome to all."}})");
    const dicast::Verdict of_read = judge.judge(read);
    CHECK(of_read.name(0) == "b");
}

void judge_batch(const dicast::Judge &judge) {
    std::vector<dicast::Request> requests;
    requests.push_back(request(shorter));
    requests.emplace_back("No responses.", "Hi");
    requests.push_back(request(longer));
    const std::vector<dicast::Result<dicast::Verdict>> results = judge.judge_batch(requests);
    CHECK(results.size() == 3 && results[0]->ranked(0) == 0 && results[2]->ranked(0) == 2);
    CHECK(!results[1] && results[1].status() == dicast::Status::invalid_request);
    CHECK(judge.judge_batch({}).empty());

    dicast::Request moved_from = std::move(requests[0]);
    CHECK(judge.try_judge_batch(requests).status() == dicast::Status::invalid_argument);
}

void partial_verdict(char **argv) {
    dicast::Config cut = config(argv);
    cut.options.guided = false;
    cut.options.max_verdict_tokens = 4;
    const auto judge = dicast::Judge::open(cut);
    const auto result = judge.try_judge(request(shorter));
    CHECK(!result && result.status() == dicast::Status::invalid_verdict);
    const dicast::Error error = result.error();
    // Without sampling, the result would be the same again.
    CHECK(!error.is_retryable() && error.name() == "invalid_verdict");
    CHECK(error.json().find("\"partial\"") != std::string_view::npos);
    const std::optional<dicast::Partial> partial = error.partial();
    CHECK(partial && !partial->raw().empty() && !partial->reasoning().empty() && partial->size() == 0);
    CHECK(partial->name(0).empty() && std::isnan(partial->score(0)) && partial->ranked(0).empty());
    THROWS(dicast::Status::invalid_verdict, judge.judge(request(shorter)));
    THROWS(dicast::Status::invalid_verdict, result->size());

    // All scores, but no ranking. A caught error can be kept.
    dicast::Error kept(dicast::Status::ok, "");
    std::optional<dicast::Partial> scores;
    try {
        dicast::parse(R"({"scores": {"model-1": 4, "model-2": 2}})", dicast::Aliases::mask({"a", "b"}));
    } catch (const std::exception &thrown) {
        kept = dynamic_cast<const dicast::Error &>(thrown);
        scores = kept.partial();
    }
    CHECK(kept.status() == dicast::Status::invalid_verdict && scores && scores->size() == 2);
    kept = dicast::Error(dicast::Status::io, "something else");
    CHECK(!kept.partial() && kept.json().empty() && kept.what() == std::string_view("something else"));
    CHECK(scores->name(0) == "a" && scores->score(0) + scores->score(1) == 6);
}

void failures(const dicast::Judge &judge, char **argv) {
    using dicast::Status;
    THROWS(Status::invalid_config, dicast::Judge::open("{"));
    THROWS(Status::model_not_found, dicast::Judge::open(R"({"model": "/nowhere/judge.gguf"})"));
    dicast::Config wrong = config(argv);
    wrong.model = "\xff";
    CHECK(dicast::Judge::try_open(wrong).status() == Status::invalid_config);
    wrong = config(argv);
    wrong.options.temperature = std::nan("");
    CHECK(dicast::Judge::try_open(wrong).status() == Status::invalid_config);
    wrong = config(argv);
    wrong.options.mask = static_cast<dicast::Mask>(7);
    CHECK(dicast::Judge::try_open(wrong).status() == Status::invalid_config);
    wrong = config(argv);
    wrong.profile = "/nowhere/profile.json";
    CHECK(dicast::Judge::try_open(wrong).status() == Status::invalid_profile);
    CHECK(dicast::Judge::try_open(config(argv), {[](auto, auto) {}, static_cast<dicast::LogLevel>(9)}).status() ==
          Status::invalid_argument);

    THROWS(Status::invalid_request, dicast::Request("\xff", ""));
    THROWS(Status::invalid_request, dicast::Request::from_json("{}{"));
    dicast::Request grown = request(shorter);
    THROWS(Status::invalid_request, grown.add("name", "\xc3("));
    THROWS(Status::invalid_request, grown.set_options_json(R"({"colour": 1})"));
    CHECK(judge.judge(grown).size() == 3);
    dicast::Options hot;
    hot.temperature = -1;
    CHECK(judge.try_judge(grown.set_options(hot)).status() == Status::invalid_request);
    CHECK(judge.try_judge(request(std::string(5 << 20, 'x'))).status() == Status::too_large);
    CHECK(judge.try_judge(request(std::string(1 << 20, 'x'))).status() == Status::context_overflow);
    const auto twice = dicast::Request("p", "q", {{"a", "1"}, {"a", "2"}});
    CHECK(judge.try_judge(twice).status() == Status::invalid_request);
}

void about_the_judge(char **argv) {
    std::atomic<int> lines = 0;
    std::atomic<bool> opened = false;
    dicast::Log log;
    log.level = dicast::LogLevel::debug;
    log.sink = [&](dicast::LogLevel level, std::string_view line) {
        CHECK(level >= dicast::LogLevel::error && level <= dicast::LogLevel::debug);
        opened = opened || line.find("opened") != std::string_view::npos;
        ++lines;
        throw std::runtime_error("a log that fails must not fail a judgment");
    };
    dicast::Config wanted = config(argv);
    wanted.limits.max_queue = 7;
    wanted.limits.max_responses = 9;
    wanted.local.max_sequences = 3;
    wanted.local.context_tokens = 2048;
    {
        // Moved several times: the log moves along.
        dicast::Judge first = dicast::Judge::open(wanted, log);
        dicast::Judge judge = std::move(first);
        CHECK(opened && lines > 0 && first.get() == nullptr && judge.get() != nullptr);
        const int before = lines;
        check_verdict(judge.judge(request(shorter)));
        CHECK(lines > before);
        const dicast::Info info = judge.info();
        CHECK(info.max_queue == 7 && info.max_responses == 9 && info.max_sequences == 3 && info.context_tokens == 2048);
        CHECK(info.scale_min == 1 && info.scale_max == 5 && info.guided && info.distributions);
        const dicast::Stats stats = judge.stats();
        CHECK(stats.pending == 0 && stats.computed_tokens > 0 && stats.steps > 0);
        CHECK(stats.kv_block_tokens > 0 && stats.kv_blocks > 0 && stats.kv_blocks_used <= stats.kv_blocks);
        CHECK(judge.engine() == "local" && judge.wait_for_room(std::chrono::milliseconds(0)));
        const auto profile = dicast::Profile::from_json(judge.profile_json());
        CHECK(profile.json() == judge.profile_json());

        first = dicast::Judge::open(config(argv));
        first = std::move(judge);
        check_verdict(first.judge(request(shorter)));
        first.close();
        first.close();
        THROWS(dicast::Status::closed, first.judge(request(shorter)));
    }
    const int all = lines;
    CHECK(all > 0);
}

}  // namespace

int main(int, char **argv) {
    begin();
    CHECK(dicast::abi_version() >= DICAST_ABI_VERSION && !dicast::version().empty());
    {
        const auto judge = dicast::Judge::open(config(argv));
        judge_one(judge);
        judge_batch(judge);
        failures(judge, argv);
    }
    partial_verdict(argv);
    about_the_judge(argv);
}
