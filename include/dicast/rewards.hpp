/* Rewards for trainers. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_REWARDS_HPP
#define DICAST_REWARDS_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config.hpp"
#include "engine.hpp"
#include "result.hpp"
#include "status.hpp"

namespace dicast {

/** Which rewards a call returns. A value. */
struct RewardOptions {
    Reward reward = Reward::expected;
    /** Whether scores are mapped from the scale of the judge to 0 (worst) to 1 (best). */
    bool normalize = false;
    /** Options of the judgments. */
    Options options = {};
    Priority priority = Priority::normal;
    /** The whole call ends at most this long after its start; empty: only the timeouts of the options apply. */
    std::optional<std::chrono::milliseconds> deadline = std::nullopt;
};

/** Responses to one prompt, judged together under one principle. A value. */
struct Group {
    std::string principle;
    std::string prompt;
    std::vector<std::string> responses;
    /** Options of this group, which override those of the whole call. */
    Options options = {};
    /** A name for the judgment, which appears in log lines. */
    std::string id = {};
    /** Low or high; normal: that of the whole call. */
    Priority priority = Priority::normal;
    /** The judgment ends at most this long after the start of the call; empty: as for the whole call. */
    std::optional<std::chrono::milliseconds> deadline = std::nullopt;
};

/** How a batch of groups is judged. A value. */
struct BatchOptions {
    /** Options of the judgments; a group's own options override them. */
    Options options = {};
    /** For groups that do not set their own. */
    Priority priority = Priority::normal;
    /** The batch ends at most this long after its start; empty: only the timeouts of the options apply. */
    std::optional<std::chrono::milliseconds> deadline = std::nullopt;
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

namespace detail {

/** Groups as dicast.h takes them; they point into `groups`. */
class Groups {
public:
    explicit Groups(const std::vector<Group> &groups) {
        texts_.reserve(groups.size());
        options_.reserve(groups.size());
        lent_.reserve(groups.size());
        for (const Group &group : groups) {
            auto &texts = texts_.emplace_back();
            texts.reserve(group.responses.size());
            for (const std::string &response : group.responses) {
                texts.push_back(str(response));
            }
            auto &made = lent_.emplace_back(sized<dicast_group>());
            made.principle = str(group.principle);
            made.prompt = str(group.prompt);
            made.responses = texts.data();
            made.response_count = texts.size();
            made.options_json = str(options_.emplace_back(group.options.to_json()));
            made.id = str(group.id);
            made.priority = static_cast<std::int32_t>(group.priority);
            made.deadline_ms = deadline_ms(group.deadline);
            total_ += made.response_count;
        }
    }
    Groups(const Groups &) = delete;
    Groups &operator=(const Groups &) = delete;

    const dicast_group *data() const noexcept { return lent_.data(); }
    std::size_t size() const noexcept { return lent_.size(); }
    /** Responses of a group. */
    std::size_t responses(std::size_t index) const noexcept { return lent_[index].response_count; }
    /** Responses of all groups. */
    std::size_t total() const noexcept { return total_; }

private:
    std::vector<std::vector<dicast_str>> texts_;
    std::vector<std::string> options_;
    std::vector<dicast_group> lent_;
    std::size_t total_ = 0;
};

/** RewardOptions as dicast.h has them, with the text that they lend. */
struct WantedRewards {
    std::string json;
    dicast_reward_options options = sized<dicast_reward_options>();

    explicit WantedRewards(const RewardOptions &wanted) : json(wanted.options.to_json()) {
        options.reward = static_cast<std::uint32_t>(wanted.reward);
        options.normalize = wanted.normalize ? 1 : 0;
        options.options_json = str(json);
        options.priority = static_cast<std::int32_t>(wanted.priority);
        options.deadline_ms = deadline_ms(wanted.deadline);
    }
    WantedRewards(const WantedRewards &) = delete;
    WantedRewards &operator=(const WantedRewards &) = delete;
};

inline Rewards rewards_of(const double *values, const std::int32_t *statuses, std::size_t count, const Error *error) {
    Rewards made;
    made.values.assign(values, values + count);
    made.statuses.reserve(count);
    for (std::size_t index = 0; index < count; ++index) {
        made.statuses.push_back(static_cast<Status>(statuses[index]));
    }
    if (error != nullptr) {
        made.error = *error;
    }
    return made;
}

}  // namespace detail

}  // namespace dicast

#endif  // DICAST_REWARDS_HPP
