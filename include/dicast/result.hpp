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

/* 1 where the throwing half is there. */
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define DICAST_HAS_EXCEPTIONS 1
#else
#define DICAST_HAS_EXCEPTIONS 0
#endif

namespace dicast {

/**
 * What could be read of a verdict that is not complete. It is no verdict: the judge did not finish it.
 *
 * A cheap view that keeps the error alive; copy it as you like. Never changes: any number of threads may read it.
 */
class Partial {
public:
    /** Number of scores that could be read: that of the responses, or 0. */
    std::size_t size() const noexcept { return dicast_error_partial_count(error_.get()); }
    /** The name of the response at `index`, counted as in the request. */
    std::string_view name(std::size_t index) const noexcept {
        return detail::view(dicast_error_partial_name(error_.get(), index));
    }
    /** The score that was read for the response at `index`; NaN where there is none. */
    double score(std::size_t index) const noexcept { return dicast_error_partial_score(error_.get(), index); }
    /** The name at `place` of the ranking, 0 the best, where the ranking could be read; else empty. */
    std::string_view ranked(std::size_t place) const noexcept {
        return detail::view(dicast_error_partial_ranked(error_.get(), place));
    }
    /** The judge's reasoning. */
    std::string_view reasoning() const noexcept { return detail::view(dicast_error_partial_reasoning(error_.get())); }
    /** The judge's whole output as it came. */
    std::string_view raw() const noexcept { return detail::view(dicast_error_partial_raw(error_.get())); }

private:
    friend class Error;
    explicit Partial(std::shared_ptr<const dicast_error> error) noexcept : error_(std::move(error)) {}

    std::shared_ptr<const dicast_error> error_;
};

/**
 * What went wrong: a code, a message for people, and what could be read of an incomplete verdict.
 *
 * Thrown by the throwing half, held by a Result in the other. Copying is cheap and does not fail; the texts live as
 * long as any copy. Never changes: any number of threads may read it.
 */
class Error : public std::exception {
public:
    /** An error of the program's own, for tests and stand-ins. */
    Error(Status status, std::string message) : kept_(std::make_shared<Kept>(Kept{status, std::move(message), {}})) {}

    /** Takes over an error of dicast.h; `error` may be null where the call gave none. */
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
    /** What went wrong, where, and what can be done: for people; its wording may change in any release. */
    const char *what() const noexcept override { return kept_->message.c_str(); }
    /** As what(). */
    std::string_view message() const noexcept { return kept_->message; }
    /** Whether the same request may succeed when it is sent again unchanged. */
    bool is_retryable() const noexcept { return dicast::is_retryable(kept_->status); }
    /** What could be read of an incomplete verdict, its raw text at least, where something was kept. */
    std::optional<Partial> partial() const noexcept {
        if (!dicast_error_has_partial(kept_->error.get())) {
            return std::nullopt;
        }
        return Partial(std::shared_ptr<const dicast_error>(kept_, kept_->error.get()));
    }
    /** The whole error as JSON; empty for one that the library did not make. */
    std::string_view json() const noexcept { return detail::view(dicast_error_json(kept_->error.get())); }

private:
    struct Kept {
        Status status;
        std::string message;
        detail::Handle<dicast_error, dicast_error_free> error;
    };

    // Copied also where it is moved, so that there is no empty Error.
    std::shared_ptr<Kept> kept_;

public:
    Error(const Error &) noexcept = default;
    Error &operator=(const Error &) noexcept = default;
    ~Error() override = default;
};

/**
 * A value or the Error that stands in its place. `T` may be void.
 *
 * Asking for the value of a failure throws its Error, and ends the program where there are no exceptions; asking for
 * the error of a success does likewise. Look first: `if (result)`.
 */
template <class T>
class [[nodiscard]] Result {
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
    const Error &error() const { return std::get<1>(held_); }

    T &value() & { return check(), *std::get_if<0>(&held_); }
    const T &value() const & { return check(), *std::get_if<0>(&held_); }
    T &&value() && { return check(), std::move(*std::get_if<0>(&held_)); }
    T &operator*() & { return value(); }
    const T &operator*() const & { return value(); }
    T &&operator*() && { return std::move(*this).value(); }
    T *operator->() { return &value(); }
    const T *operator->() const { return &value(); }

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
    const Error &error() const {
#if DICAST_HAS_EXCEPTIONS
        return error_.value();
#else
        return error_ ? *error_ : (std::abort(), *error_);
#endif
    }

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

namespace detail {

/** Makes a call that gives nothing but its success. */
template <class Call>
Result<void> done(Call &&call) {
    dicast_error *error = nullptr;
    const std::int32_t status = call(&error);
    if (status == DICAST_OK) {
        return {};
    }
    return Error::adopt(status, error);
}

/** Makes a call that gives an object, and wraps it. */
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
