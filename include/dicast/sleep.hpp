/* How a judge falls asleep. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_SLEEP_HPP
#define DICAST_SLEEP_HPP

#include <chrono>
#include <cstdint>
#include <optional>

#include "status.hpp"

namespace dicast {

/** What happens to a request that arrives while the judge sleeps. */
enum class Arriving : std::uint32_t {
    /** It waits until the judge wakes; its deadline keeps running. */
    wait = DICAST_ARRIVING_WAIT,
    /** It fails at once as Status::asleep. */
    fail = DICAST_ARRIVING_FAIL,
};

/** How a judge falls asleep. A value. */
struct SleepOptions {
    Arriving arriving = Arriving::wait;
    /** Whether running judgments, and try_warm, end as Status::cancelled. Otherwise the call waits for them. */
    bool cancel_running = false;
    /** How long to wait for running judgments; empty: as long as their deadlines allow. */
    std::optional<std::chrono::milliseconds> patience = std::nullopt;
};

namespace detail {

inline dicast_sleep_options sleep_options(const SleepOptions &options) noexcept {
    auto made = sized<dicast_sleep_options>();
    made.arriving = static_cast<std::uint32_t>(options.arriving);
    made.cancel_running = options.cancel_running ? 1 : 0;
    // 0 means no limit to the library; no patience at all is one millisecond.
    made.patience_ms = options.patience ? milliseconds(*options.patience) : 0;
    if (options.patience && made.patience_ms == 0) {
        made.patience_ms = 1;
    }
    return made;
}

}  // namespace detail

}  // namespace dicast

#endif  // DICAST_SLEEP_HPP
