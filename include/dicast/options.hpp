/* The options of judgments. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_OPTIONS_HPP
#define DICAST_OPTIONS_HPP

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "json.hpp"
#include "status.hpp"

namespace dicast {

/** How the names of responses are hidden from the judge. */
enum class Mask : std::uint32_t {
    /** Aliases in an order shuffled by the seed, as Python's `random.seed(seed); random.shuffle(responses)` does it. */
    shuffle = DICAST_MASK_SHUFFLE,
    /** Aliases in the order given. */
    given = DICAST_MASK_GIVEN,
    /** The names themselves in the order given. */
    off = DICAST_MASK_OFF,
};

/** Which number of a verdict is the reward. */
enum class Reward : std::uint32_t {
    /** The expected score; Status::unsupported if the engine returns none. */
    expected = DICAST_REWARD_EXPECTED,
    /** The score as written. */
    score = DICAST_REWARD_SCORE,
    /** The place in the ranking, from 1 for the best to 0 for the worst in equal steps; 0.5 for a single response. */
    rank = DICAST_REWARD_RANK,
    /** The expected score if the engine returns it, else the score as written. */
    expected_or_score = DICAST_REWARD_EXPECTED_OR_SCORE,
    /** How many standard deviations the (expected) score lies above the mean of its group; 0 if all are equal. */
    group = DICAST_REWARD_GROUP,
    /** The mean probability that the score is above that of another response; Status::unsupported without
       distributions. */
    win = DICAST_REWARD_WIN,
};

/** Where the ranking comes from. */
enum class RankingFrom {
    /** The judge writes it after the scores. */
    judge,
    /** The scores: the highest first; equal ones by expected score, then in the order given. */
    scores,
};

/** How the rankings of the runs of an ensemble become one. */
enum class RankRule {
    /** The order with the fewest disagreements with the runs (Kendall's distance); exact up to 16 responses. */
    kendall,
    /** By the mean place in the runs (Borda's count). */
    borda,
};

/** When an ensemble ends before all its runs are complete. */
enum class StopEarly {
    /** Never. */
    never,
    /** When the best response is settled. */
    top,
    /** When the whole order is settled. */
    order,
};

/** Whether a group of responses is judged in blocks. */
enum class Blocks {
    /** Never: a group that does not fit the context is an error. */
    never,
    /** If it does not fit the context, or has more than `block_size` responses. */
    when_needed,
};

/** How a rubric is judged. */
enum class RubricMode {
    /** Each criterion by itself, over all responses. */
    separate,
    /** All criteria in one principle. */
    joint,
};

/** How the values of the criteria of a rubric, each from 0 to 1, become one. */
enum class RubricMerge {
    /** The weighted mean. */
    mean,
    /** The least value whose weight is not 0. */
    min,
    /** The weighted geometric mean. */
    product,
    /** 1 if every value with a weight reaches `rubric_pass`, else 0. */
    all_pass,
};

/**
 * A time limit in whole milliseconds, made from any duration. It is rounded up; a negative one is 0, a
 * huge one the largest that fits. A value.
 */
class Timeout {
public:
    template <class Rep, class Period>
    Timeout(std::chrono::duration<Rep, Period> time) noexcept
        : milliseconds_(static_cast<std::int64_t>(detail::milliseconds(time))) {}
    operator std::chrono::milliseconds() const noexcept { return milliseconds_; }
    std::int64_t count() const noexcept { return milliseconds_.count(); }

private:
    std::chrono::milliseconds milliseconds_;
};

/**
 * Options of a judgment. An option that is not set has the value of the judge's configuration, else of its profile.
 * Ranges are checked when it is used. A value.
 */
struct Options {
    /** Temperature of the sampling, 0 to 2; 0 is greedy. */
    std::optional<double> temperature = std::nullopt;
    /** Nucleus sampling: above 0, at most 1; 1 is off. */
    std::optional<double> top_p = std::nullopt;
    /** Sample from this many most probable tokens; 0 is off. */
    std::optional<std::uint32_t> top_k = std::nullopt;
    /** Seed of the sampling. The same model, request, options and seed give the same verdict. */
    std::optional<std::uint64_t> seed = std::nullopt;
    /** Whether the judge reasons before its verdict. */
    std::optional<bool> reasoning = std::nullopt;
    /** Judge without reasoning first, and again with reasoning only if the probability that the best response is really
       the best is below this, 0 to 1. 0 is off. */
    std::optional<double> adaptive_reasoning = std::nullopt;
    /** The reasoning is ended after this many tokens, and the verdict flagged. */
    std::optional<std::uint32_t> max_reasoning_tokens = std::nullopt;
    /** Most tokens of an unguided verdict. */
    std::optional<std::uint32_t> max_verdict_tokens = std::nullopt;
    /** Whether a grammar admits only complete verdicts. */
    std::optional<bool> guided = std::nullopt;
    /** Whether the ranking must agree with the scores. */
    std::optional<bool> consistent_ranking = std::nullopt;
    /** Where the ranking comes from. */
    std::optional<RankingFrom> ranking_from = std::nullopt;
    /** How names are hidden. */
    std::optional<Mask> mask = std::nullopt;
    /** Seed of the shuffle. */
    std::optional<std::uint64_t> mask_seed = std::nullopt;
    /** Judge in this many different orders of the responses and merge the verdicts, 1 to 64. */
    std::optional<std::uint32_t> orders = std::nullopt;
    /** Judge this many times in each order, 1 to 64. More than 1 needs a temperature above 0. */
    std::optional<std::uint32_t> samples = std::nullopt;
    /** How the rankings of several runs become one. */
    std::optional<RankRule> rank_rule = std::nullopt;
    /** End an ensemble when its best response, or its whole order, is settled (a t-test at 99 %). */
    std::optional<StopEarly> stop_early = std::nullopt;
    /** How many runs of an ensemble must give a verdict, 0 to 4096; the others may fail. 0: all of them must. */
    std::optional<std::uint32_t> min_runs = std::nullopt;
    /**
     * Judge a group that does not fit the context, or has more than `block_size` responses, in blocks that share anchor
     * responses, and merge the blocks onto one scale. Not set: if `block_size` is set.
     */
    std::optional<Blocks> blocks = std::nullopt;
    /** The most responses to judge at once, including the anchors: 2 to 64. 0: as many as fit the context. */
    std::optional<std::uint32_t> block_size = std::nullopt;
    /** The number of responses that all blocks share: 1 to 16. */
    std::optional<std::uint32_t> block_anchors = std::nullopt;
    /** Put this reward into the verdict's JSON, under `rewards`. */
    std::optional<Reward> reward = std::nullopt;
    /** How a rubric is judged. */
    std::optional<RubricMode> rubric_mode = std::nullopt;
    /** How the criteria of a rubric become one score. */
    std::optional<RubricMerge> rubric_merge = std::nullopt;
    /** The value that a criterion must reach to pass under RubricMerge::all_pass: above 0, at most 1. */
    std::optional<double> rubric_pass = std::nullopt;
    /** The judgment fails with Status::timeout after this time. Waiting counts too, except in a batch. 1 ms to 1
     * day. */
    std::optional<Timeout> timeout = std::nullopt;

    /** Options that have no field above. They override the fields. */
    Settings more = {};

    /** Sets an option by its name: see Settings::set. */
    template <class T>
    Options &set(std::string_view name, const T &value) {
        more.set(name, value);
        return *this;
    }
    /** The options as JSON. */
    std::string to_json() const { return json().text(); }
    detail::Json json() const {
        constexpr std::array<const char *, 3> masks = {"shuffle", "given", "off"};
        constexpr std::array<const char *, 2> sources = {"judge", "scores"};
        constexpr std::array<const char *, 2> rules = {"kendall", "borda"};
        constexpr std::array<const char *, 3> stops = {"never", "top", "order"};
        constexpr std::array<const char *, 2> block_words = {"never", "when_needed"};
        constexpr std::array<const char *, 6> rewards = {"expected",          "score", "rank",
                                                         "expected_or_score", "group", "win"};
        constexpr std::array<const char *, 2> modes = {"separate", "joint"};
        constexpr std::array<const char *, 4> merges = {"mean", "min", "product", "all_pass"};
        detail::Json json;
        json.add("temperature", temperature);
        json.add("top_p", top_p);
        json.add("top_k", top_k);
        json.add("seed", seed);
        json.add("reasoning", reasoning);
        json.add("adaptive_reasoning", adaptive_reasoning);
        json.add("max_reasoning_tokens", max_reasoning_tokens);
        json.add("max_verdict_tokens", max_verdict_tokens);
        json.add("guided", guided);
        json.add("consistent_ranking", consistent_ranking);
        json.add("ranking_from", word(ranking_from, sources));
        json.add("mask", word(mask, masks));
        json.add("mask_seed", mask_seed);
        json.add("orders", orders);
        json.add("samples", samples);
        json.add("rank_rule", word(rank_rule, rules));
        json.add("stop_early", word(stop_early, stops));
        json.add("min_runs", min_runs);
        json.add("blocks", word(blocks, block_words));
        json.add("block_size", block_size);
        json.add("block_anchors", block_anchors);
        json.add("reward", word(reward, rewards));
        json.add("rubric_mode", word(rubric_mode, modes));
        json.add("rubric_merge", word(rubric_merge, merges));
        json.add("rubric_pass", rubric_pass);
        if (timeout) {
            json.add("timeout_ms", timeout->count());
        }
        more.write(json);
        return json;
    }

private:
    /** The word of a choice; one that does not exist is refused by the library. */
    template <class Choice, std::size_t count>
    static std::optional<std::string> word(std::optional<Choice> choice, const std::array<const char *, count> &words) {
        if (!choice) {
            return std::nullopt;
        }
        const auto index = static_cast<std::size_t>(*choice);
        return std::string(index < count ? words[index] : "unknown");
    }
};

}  // namespace dicast

#endif  // DICAST_OPTIONS_HPP
