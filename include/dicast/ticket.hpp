/* Judgments under way. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_TICKET_HPP
#define DICAST_TICKET_HPP

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

#include "result.hpp"
#include "verdict.hpp"

namespace dicast {

/**
 * A judgment that was submitted. Its outcome goes to whoever waits. It may outlive its judge. Destroying it cancels a
 * pending judgment.
 *
 * Any number of threads may wait at once. One of them gets the outcome; the others, and later calls, get
 * Status::invalid_argument.
 */
class [[nodiscard]] Ticket {
public:
    using Object = dicast_ticket;

#if DICAST_HAS_EXCEPTIONS
    Verdict wait() const { return try_wait().value(); }
    template <class Rep, class Period>
    std::optional<Verdict> wait_for(std::chrono::duration<Rep, Period> timeout) const {
        if (auto outcome = try_wait_for(timeout)) {
            return std::move(*outcome).value();
        }
        return std::nullopt;
    }
#endif

    /** Waits for the outcome, as long as the deadline of the judgment allows, and takes it. */
    Result<Verdict> try_wait() const { return *take(DICAST_FOREVER); }
    /** Waits at most `timeout`; empty if the judgment has not ended by then. A timeout of 0 only looks. */
    template <class Rep, class Period>
    std::optional<Result<Verdict>> try_wait_for(std::chrono::duration<Rep, Period> timeout) const {
        return take(detail::milliseconds(timeout));
    }
    /** Cancels the judgment at any stage; its outcome is then Status::cancelled. Again, or too late, does nothing. */
    void cancel() const noexcept { dicast_ticket_cancel(get(), nullptr); }

    /** Takes over a ticket of dicast.h that has no callback. */
    static Ticket adopt(Object *object) noexcept { return Ticket(object); }
    /** The ticket of dicast.h, lent. */
    const Object *get() const noexcept DICAST_LIFETIMEBOUND { return object_.get(); }

private:
    explicit Ticket(Object *object) noexcept : object_(object) {}

    std::optional<Result<Verdict>> take(std::uint64_t timeout_ms) const {
        dicast_verdict *verdict = nullptr;
        dicast_error *error = nullptr;
        const std::int32_t status = dicast_ticket_wait(get(), timeout_ms, &verdict, &error);
        if (status == DICAST_OK) {
            return Verdict::adopt(verdict);
        }
        if (status == DICAST_PENDING && timeout_ms != DICAST_FOREVER) {
            return std::nullopt;
        }
        return Result<Verdict>(Error::adopt(status, error));
    }

    detail::Handle<Object, dicast_ticket_free> object_;
};

namespace detail {

/** How a callback ended. */
class Ending {
public:
    /** The callback has returned, or thrown what is not null. */
    void set(std::exception_ptr thrown) noexcept {
        const std::lock_guard<std::mutex> lock(mutex_);
        thrown_ = std::move(thrown);
    }
    /** What was thrown. Null if nothing was, and for all but the first call. */
    std::exception_ptr take() noexcept {
        const std::lock_guard<std::mutex> lock(mutex_);
        return std::exchange(thrown_, nullptr);
    }

private:
    std::mutex mutex_;
    std::exception_ptr thrown_;
};

/**
 * A callback on its way through the library. It deletes itself when it is called, which happens once.
 *
 * The library orders what one thread did before it submitted and what another does in the callback. The atomic says so
 * once more, for thread sanitizers, which do not see into the library.
 */
template <class Callback>
class Call {
    static_assert(std::is_invocable_v<Callback &, Result<Verdict>>,
                  "a callback takes a dicast::Result<dicast::Verdict>");

public:
    Call(Callback callback, std::shared_ptr<Ending> ending)
        : callback_(std::move(callback)), ending_(std::move(ending)) {}

    void submitting() noexcept { submitted_.store(true, std::memory_order_release); }

    void operator()(Result<Verdict> outcome) noexcept {
        std::exception_ptr thrown;
#if DICAST_HAS_EXCEPTIONS
        try {
            callback_(std::move(outcome));
        } catch (...) {
            thrown = std::current_exception();
        }
#else
        callback_(std::move(outcome));
#endif
        if (ending_) {
            ending_->set(std::move(thrown));
        }
    }

    static void deliver(void *data, std::int32_t status, dicast_verdict *verdict, dicast_error *error) noexcept {
        const std::unique_ptr<Call> call(static_cast<Call *>(data));
        static_cast<void>(call->submitted_.load(std::memory_order_acquire));
        if (status == DICAST_OK) {
            (*call)(Verdict::adopt(verdict));
        } else {
            (*call)(Error::adopt(status, error));
        }
    }

private:
    Callback callback_;
    std::shared_ptr<Ending> ending_;
    std::atomic<bool> submitted_ = false;
};

}  // namespace detail

/**
 * A judgment whose outcome goes to a callback. It may outlive its judge. Destroying it changes nothing: the judgment
 * goes on, and the callback is called.
 */
class CallbackTicket {
public:
    using Object = dicast_ticket;

    /**
     * Waits until the callback has returned, and returns the status that it got. If the callback threw, the exception
     * is rethrown here, once. Within a callback of the same judge it does not wait: Status::pending.
     */
    Status wait() const { return wait(DICAST_FOREVER); }
    /** As wait, at most `timeout`; Status::pending if the callback has not returned by then. */
    template <class Rep, class Period>
    Status wait_for(std::chrono::duration<Rep, Period> timeout) const {
        return wait(detail::milliseconds(timeout));
    }
    /** Cancels the judgment; the callback gets Status::cancelled. Again, or too late, does nothing. */
    void cancel() const noexcept { dicast_ticket_cancel(object_.get(), nullptr); }

private:
    friend class Judge;
    CallbackTicket(Object *object, std::shared_ptr<detail::Ending> ending) noexcept
        : object_(object), ending_(std::move(ending)) {}

    Status wait(std::uint64_t timeout_ms) const {
        const auto status = static_cast<Status>(dicast_ticket_wait(object_.get(), timeout_ms, nullptr, nullptr));
#if DICAST_HAS_EXCEPTIONS
        if (status != Status::pending && ending_) {
            if (const std::exception_ptr thrown = ending_->take()) {
                std::rethrow_exception(thrown);
            }
        }
#endif
        return status;
    }

    detail::Handle<Object, dicast_ticket_free> object_;
    std::shared_ptr<detail::Ending> ending_;
};

}  // namespace dicast

#endif  // DICAST_TICKET_HPP
