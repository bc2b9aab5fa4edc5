/* Rewards for trainers. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_REWARDS_HPP
#define DICAST_REWARDS_HPP

#include <optional>
#include <string>
#include <vector>

#include "config.hpp"
#include "result.hpp"

namespace dicast {

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
