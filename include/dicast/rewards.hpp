/* Rewards for trainers. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_REWARDS_HPP
#define DICAST_REWARDS_HPP

#include <optional>
#include <string>
#include <vector>

#include "config.hpp"
#include "result.hpp"

namespace dicast {

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
    /** How many standard deviations the (expected) score lies above the mean of its group; 0 where all are equal. */
    group = DICAST_REWARD_GROUP,
    /** The mean probability that the score is above that of another response; Status::unsupported without
       distributions. */
    win = DICAST_REWARD_WIN,
};

/** Which rewards a call returns. A value. */
struct RewardOptions {
    Reward reward = Reward::expected;
    /** Whether scores are mapped from the scale of the judge to 0 (worst) to 1 (best). */
    bool normalize = false;
    /** Options of the judgments. */
    Options options = {};
};

/** Responses to one prompt, judged together under one principle. A value. */
struct Group {
    std::string principle;
    std::string prompt;
    std::vector<std::string> responses;
};

/**
 * The rewards of one group, in the order of its responses. A value.
 *
 * **A failure never looks like a reward**: every value is NaN, every status says why, and `error` has the message.
 */
struct Rewards {
    std::vector<double> values = {};
    /** One for each value. */
    std::vector<Status> statuses = {};
    /** Why there are no rewards; empty if there are. */
    std::optional<Error> error = std::nullopt;

    bool ok() const noexcept { return !error.has_value(); }
};

}  // namespace dicast

#endif  // DICAST_REWARDS_HPP
