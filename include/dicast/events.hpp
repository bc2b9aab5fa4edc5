/* Outcomes for an event loop. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_EVENTS_HPP
#define DICAST_EVENTS_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "engine.hpp"
#include "result.hpp"
#include "status.hpp"
#include "verdict.hpp"

namespace dicast {

/** The outcome of one judgment. */
struct Event {
    /** The tag that it was submitted with. */
    std::uint64_t tag;
    Result<Verdict> outcome;
};

/**
 * A list of outcomes with a file descriptor that is readable while the list is not empty: for poll, epoll, libuv and
 * the like. Any number of threads, judges and submissions may use one at once.
 */
class Events {
public:
    using Object = dicast_events;

    /** For at most `limit` judgments: pending ones, and those whose outcome was not taken yet. 0 means 65536. */
    static Result<Events> try_make(std::size_t limit = 0) {
        return detail::made<Events>(
            [&](auto **object, auto **error) { return dicast_events_new(limit, object, error); });
    }
#if DICAST_HAS_EXCEPTIONS
    static Events make(std::size_t limit = 0) { return try_make(limit).value(); }
#endif

    /** It is readable while there is an outcome to take. Only poll it. */
    int descriptor() const noexcept { return dicast_events_fd(get()); }

    /** Takes the next outcome; waits at most `timeout`. Empty if there is none by then. */
    template <class Rep, class Period>
    std::optional<Event> next(std::chrono::duration<Rep, Period> timeout) const {
        auto event = detail::sized<dicast_event>();
        if (dicast_events_next(get(), detail::milliseconds(timeout), &event, nullptr) != DICAST_OK) {
            return std::nullopt;
        }
        if (event.status == DICAST_OK) {
            return Event{event.tag, Verdict::adopt(event.verdict)};
        }
        return Event{event.tag, Error::adopt(event.status, event.error)};
    }
    /** Takes the next outcome if there is one. */
    std::optional<Event> next() const { return next(std::chrono::milliseconds(0)); }

    static Events adopt(Object *object) noexcept { return Events(object); }
    /** The list of dicast.h, lent. */
    const Object *get() const noexcept DICAST_LIFETIMEBOUND { return object_.get(); }

private:
    explicit Events(Object *object) noexcept : object_(object) {}

    detail::Handle<Object, dicast_events_free> object_;
};

/** How a request is submitted. A value. */
struct SubmitOptions {
    /** A name for the judgment, which appears in log lines. */
    std::string id = {};
    Priority priority = Priority::normal;
    /** The judgment ends at most this long after its submission; empty: only the timeout of its options applies. */
    std::optional<std::chrono::milliseconds> deadline = std::nullopt;
};

namespace detail {

inline dicast_submit_options submit_options(const SubmitOptions &options) noexcept {
    auto made = sized<dicast_submit_options>();
    made.id = str(options.id);
    made.priority = static_cast<std::int32_t>(options.priority);
    made.deadline_ms = deadline_ms(options.deadline);
    return made;
}

}  // namespace detail

}  // namespace dicast

#endif  // DICAST_EVENTS_HPP
