/* Errors, and results that may be one. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_RESULT_HPP
#define DICAST_RESULT_HPP

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#if defined(__has_include) && __cplusplus > 202002L
#if __has_include(<expected>)
#include <expected>
#endif
#endif

#include "status.hpp"

/* 1 if exceptions are enabled, and with them the functions that throw. */
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define DICAST_HAS_EXCEPTIONS 1
#else
#define DICAST_HAS_EXCEPTIONS 0
#endif

namespace dicast {

/**
 * The parts of an incomplete verdict that could be read. This is not a verdict: the judge did not finish it.
 *
 * Cheap to copy; it keeps the error alive. It never changes: any number of threads may read it.
 */
class Partial {
public:
    /** Number of scores that could be read: one for each response, or 0. */
    std::size_t size() const noexcept { return dicast_error_partial_count(error_.get()); }
    /** The name of the response at `index`, in the order of the request. */
    std::string_view name(std::size_t index) const & noexcept DICAST_LIFETIMEBOUND {
        return detail::view(dicast_error_partial_name(error_.get(), index));
    }
    std::string_view name(std::size_t index) const && = delete;
    /** The score that was read for the response at `index`; NaN if there is none. */
    double score(std::size_t index) const noexcept { return dicast_error_partial_score(error_.get(), index); }
    /** The name at `place` of the ranking, 0 the best; empty if the ranking could not be read. */
    std::string_view ranked(std::size_t place) const & noexcept DICAST_LIFETIMEBOUND {
        return detail::view(dicast_error_partial_ranked(error_.get(), place));
    }
    std::string_view ranked(std::size_t place) const && = delete;
    /** The judge's reasoning. */
    std::string_view reasoning() const & noexcept DICAST_LIFETIMEBOUND {
        return detail::view(dicast_error_partial_reasoning(error_.get()));
    }
    std::string_view reasoning() const && = delete;
    /** The whole output of the judge, unchanged. */
    std::string_view raw() const & noexcept DICAST_LIFETIMEBOUND {
        return detail::view(dicast_error_partial_raw(error_.get()));
    }
    std::string_view raw() const && = delete;

private:
    friend class Error;
    explicit Partial(std::shared_ptr<const dicast_error> error) noexcept : error_(std::move(error)) {}

    std::shared_ptr<const dicast_error> error_;
};

/**
 * What went wrong: a code, a message for people, and the parts of an incomplete verdict that could be read.
 *
 * Copying is cheap and does not fail; the texts live as long as any copy. It never changes: any number of threads may
 * read it.
 */
class Error : public std::exception {
public:
    /** Makes an error, for tests and stand-ins. */
    Error(Status status, std::string message) : kept_(std::make_shared<Kept>(Kept{status, std::move(message), {}})) {}

    /** Takes over an error of dicast.h; `error` may be null. */
    static Error adopt(std::int32_t status, dicast_error *error) {
        detail::Handle<dicast_error, dicast_error_free> owned(error);
        Error made(static_cast<Status>(status), std::string(detail::view(dicast_error_message(error))));
        made.kept_->error = std::move(owned);
        return made;
    }

    /** What the call would have returned in C. */
    Status status() const noexcept { return kept_->status; }
    /** The name of the status, such as `context_overflow`. */
    std::string_view name() const noexcept { return dicast::name(kept_->status); }
    /** What went wrong, where, and what can be done, for people. Its wording may change in any release. */
    const char *what() const noexcept DICAST_LIFETIMEBOUND override { return kept_->message.c_str(); }
    /** As what(). */
    std::string_view message() const & noexcept DICAST_LIFETIMEBOUND { return kept_->message; }
    std::string_view message() const && = delete;
    /** Whether the same request may succeed when it is sent again; after an incomplete verdict, with another seed.
     */
    bool is_retryable() const noexcept {
        const dicast_error *error = kept_->error.get();
        return error ? dicast_error_is_retryable(error) : dicast::is_retryable(kept_->status);
    }
    /** The parts of an incomplete verdict that could be read, at least its raw text; empty if there are none. */
    std::optional<Partial> partial() const noexcept {
        if (!dicast_error_has_partial(kept_->error.get())) {
            return std::nullopt;
        }
        return Partial(std::shared_ptr<const dicast_error>(kept_, kept_->error.get()));
    }
    /** The whole error as JSON; empty for one that the library did not make. */
    std::string_view json() const & noexcept DICAST_LIFETIMEBOUND {
        return detail::view(dicast_error_json(kept_->error.get()));
    }
    std::string_view json() const && = delete;

private:
    struct Kept {
        Status status;
        std::string message;
        detail::Handle<dicast_error, dicast_error_free> error;
    };

    // A move copies it too, so that an Error is never empty.
    std::shared_ptr<Kept> kept_;

public:
    Error(const Error &) noexcept = default;
    Error &operator=(const Error &) noexcept = default;
    ~Error() override = default;
};

class Aliases;
class Judge;
class Profile;
class Prompt;
class Verdict;

namespace detail {

/** Whether member functions of a type return texts that point into it. */
template <class T>
inline constexpr bool lends = std::is_same_v<T, Aliases> || std::is_same_v<T, Judge> || std::is_same_v<T, Profile> ||
                              std::is_same_v<T, Prompt> || std::is_same_v<T, Verdict>;

}  // namespace detail

/**
 * A value, or the Error that explains why there is none. `T` may be void.
 *
 * Look first: `if (result)` says whether there is a value. Asking a failure for its value throws the Error. Asking a
 * success for its error throws std::bad_variant_access or std::bad_optional_access. Without exceptions both end the
 * program.
 */
template <class T>
class [[nodiscard]] Result {
    static_assert(!std::is_same_v<T, bool>, "`if (result)` would be true for a value that is false: see dicast::Room");

public:
    using value_type = T;

    Result(T value) noexcept(std::is_nothrow_move_constructible_v<T>)
        : held_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) noexcept : held_(std::in_place_index<1>, error) {}

    bool has_value() const noexcept { return held_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }
    /** Status::ok, or that of the error. */
    Status status() const noexcept {
        const Error *error = std::get_if<1>(&held_);
        return error == nullptr ? Status::ok : error->status();
    }
    const Error &error() const &DICAST_LIFETIMEBOUND { return std::get<1>(held_); }
    Error error() && { return std::get<1>(held_); }

    T &value() & DICAST_LIFETIMEBOUND { return check(), *std::get_if<0>(&held_); }
    const T &value() const &DICAST_LIFETIMEBOUND { return check(), *std::get_if<0>(&held_); }
    /** Returns the value itself: a reference would point into a result that is about to be destroyed. */
    T value() && { return check(), std::move(*std::get_if<0>(&held_)); }
    T &operator*() & DICAST_LIFETIMEBOUND { return value(); }
    const T &operator*() const &DICAST_LIFETIMEBOUND { return value(); }
    T operator*() && { return std::move(*this).value(); }
    T *operator->() & DICAST_LIFETIMEBOUND { return &value(); }
    const T *operator->() const &DICAST_LIFETIMEBOUND { return &value(); }
    template <class U = T, std::enable_if_t<!detail::lends<U>, int> = 0>
        U *operator->() &&
        DICAST_LIFETIMEBOUND {
        return &value();
    }
    /** Deleted for values that return texts which point into them: name the result, or write `(*call()).score(0)`. */
    template <class U = T, std::enable_if_t<detail::lends<U>, int> = 0>
    U *operator->() && = delete;

#ifdef __cpp_lib_expected
    /** The same as the standard's type. */
    std::expected<T, Error> expected() && {
        if (has_value()) {
            return std::move(*std::get_if<0>(&held_));
        }
        return std::unexpected(error());
    }
#endif

private:
    void check() const {
        if (!has_value()) {
#if DICAST_HAS_EXCEPTIONS
            throw Error(error());
#else
            std::abort();
#endif
        }
    }

    std::variant<T, Error> held_;
};

template <>
class [[nodiscard]] Result<void> {
public:
    using value_type = void;

    Result() noexcept = default;
    Result(Error error) noexcept : error_(error) {}

    bool has_value() const noexcept { return !error_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }
    /** Status::ok, or that of the error. */
    Status status() const noexcept { return error_ ? error_->status() : Status::ok; }
    const Error &error() const &DICAST_LIFETIMEBOUND {
#if DICAST_HAS_EXCEPTIONS
        return error_.value();
#else
        return error_ ? *error_ : (std::abort(), *error_);
#endif
    }
    Error error() && { return static_cast<const Result &>(*this).error(); }

    void value() const {
        if (error_) {
#if DICAST_HAS_EXCEPTIONS
            throw Error(*error_);
#else
            std::abort();
#endif
        }
    }

#ifdef __cpp_lib_expected
    /** The same as the standard's type. */
    std::expected<void, Error> expected() && {
        if (error_) {
            return std::unexpected(*error_);
        }
        return {};
    }
#endif

private:
    std::optional<Error> error_;
};

/** Whether the queue has room for a request. It is true only if there is room, and false after a failure. */
class [[nodiscard]] Room {
public:
    explicit Room(bool free) noexcept : free_(free) {}
    Room(Error error) noexcept : error_(error) {}

    /** There is room. */
    explicit operator bool() const noexcept { return free_; }
    /** Status::ok: there is room. Status::pending: there is none yet. Any other status is the failure of the call. */
    Status status() const noexcept {
        if (error_) {
            return error_->status();
        }
        return free_ ? Status::ok : Status::pending;
    }
    /** Why the call failed; empty if it did not. */
    const std::optional<Error> &error() const & noexcept DICAST_LIFETIMEBOUND { return error_; }
    std::optional<Error> error() && noexcept { return error_; }
    /** Whether there is room. Throws the Error of a call that failed; without exceptions it ends the program.
     */
    bool value() const {
        if (error_) {
#if DICAST_HAS_EXCEPTIONS
            throw Error(*error_);
#else
            std::abort();
#endif
        }
        return free_;
    }
    bool operator*() const { return value(); }

private:
    bool free_ = false;
    std::optional<Error> error_;
};

namespace detail {

/** Makes a call that returns only a status. */
template <class Call>
Result<void> done(Call &&call) {
    dicast_error *error = nullptr;
    const std::int32_t status = call(&error);
    if (status == DICAST_OK) {
        return {};
    }
    return Error::adopt(status, error);
}

/** Makes a call that returns an object, and wraps it. */
template <class Wrapper, class Call>
Result<Wrapper> made(Call &&call) {
    typename Wrapper::Object *object = nullptr;
    dicast_error *error = nullptr;
    const std::int32_t status = call(&object, &error);
    if (status == DICAST_OK) {
        return Wrapper::adopt(object);
    }
    return Error::adopt(status, error);
}

}  // namespace detail

}  // namespace dicast

#endif  // DICAST_RESULT_HPP
