/* Many groups under one handle. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_BATCH_HPP
#define DICAST_BATCH_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "result.hpp"
#include "rewards.hpp"
#include "status.hpp"
#include "verdict.hpp"

namespace dicast {

/**
 * Groups that are judged: see Judge::submit_groups. It may outlive its judge. Destroying it cancels groups that have
 * not ended. Any number of threads may use one at once.
 */
class [[nodiscard]] Batch {
public:
    using Object = dicast_batch;

    /** Takes over a batch of dicast.h, made of these groups. */
    Batch(Object *object, const detail::Groups &groups) : object_(object) {
        for (std::size_t index = 0; index < groups.size(); ++index) {
            counts_.push_back(groups.responses(index));
        }
    }

    /** Number of groups. */
    std::size_t size() const noexcept { return dicast_batch_count(get()); }
    /** Number of groups that have ended. */
    std::size_t ended() const noexcept { return dicast_batch_ended(get()); }
    /** How a group ended: Status::ok with a verdict, Status::pending if it has not ended, else why it failed. */
    Status status(std::size_t index) const noexcept { return static_cast<Status>(dicast_batch_status(get(), index)); }
    /** Waits until all groups have ended. */
    void wait() const noexcept { dicast_batch_wait(get(), DICAST_FOREVER, nullptr); }
    /** Waits at most this long; true if all groups have ended. */
    template <class Rep, class Period>
    bool wait_for(std::chrono::duration<Rep, Period> timeout) const noexcept {
        return dicast_batch_wait(get(), detail::milliseconds(timeout), nullptr) == DICAST_OK;
    }
    /** Cancels all groups that have not ended. */
    void cancel() const noexcept { dicast_batch_cancel(get(), nullptr); }

    /** Takes the outcome of a group, once; empty if it has not ended. */
    std::optional<Result<Verdict>> try_take(std::size_t index) const {
        dicast_verdict *verdict = nullptr;
        dicast_error *error = nullptr;
        const std::int32_t status = dicast_batch_take(get(), index, &verdict, &error);
        if (status == DICAST_PENDING) {
            return std::nullopt;
        }
        if (status == DICAST_OK) {
            return Result<Verdict>(Verdict::adopt(verdict));
        }
        return Result<Verdict>(Error::adopt(status, error));
    }
#if DICAST_HAS_EXCEPTIONS
    /** Waits for all groups, and takes the verdict of one. */
    Verdict take(std::size_t index) const {
        wait();
        if (auto outcome = try_take(index)) {
            return std::move(*outcome).value();
        }
        throw Error(Status::closed, "the batch belongs to another process");
    }
#endif

    /**
     * The rewards of all groups. Those of a group that has not ended are NaN with Status::pending. Do not take verdicts
     * before: their rewards would be missing. Of the options only `reward` and `normalize` are used.
     */
    std::vector<Rewards> rewards(const RewardOptions &options = {}) const {
        const detail::WantedRewards wanted(options);
        std::size_t total = 0;
        for (const std::size_t count : counts_) {
            total += count;
        }
        std::vector<double> values(total);
        std::vector<std::int32_t> statuses(total);
        auto wanted_options = wanted.options;
        wanted_options.options_json = {nullptr, 0};
        auto done = detail::done([&](auto **error) {
            return dicast_batch_rewards(get(), &wanted_options, values.data(), statuses.data(), total, error);
        });
        std::vector<Rewards> made;
        std::size_t at = 0;
        for (std::size_t index = 0; index < counts_.size(); ++index) {
            const std::size_t count = counts_[index];
            std::optional<Error> failed;
            const Status ended = count > 0 ? static_cast<Status>(statuses[at]) : status(index);
            if (!done) {
                failed = done.error();
            } else if (ended != Status::ok) {
                failed = Error(ended, "the group has no rewards; see Batch::try_take");
            }
            made.push_back(
                detail::rewards_of(values.data() + at, statuses.data() + at, count, failed ? &*failed : nullptr));
            at += count;
        }
        return made;
    }

    /** The batch of dicast.h, lent. */
    const Object *get() const noexcept DICAST_LIFETIMEBOUND { return object_.get(); }

private:
    detail::Handle<Object, dicast_batch_free> object_;
    std::vector<std::size_t> counts_;
};

}  // namespace dicast

#endif  // DICAST_BATCH_HPP
