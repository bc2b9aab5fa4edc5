/* Statuses and versions. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_STATUS_HPP
#define DICAST_STATUS_HPP

#if !(__cplusplus >= 201703L || (defined(_MSVC_LANG) && _MSVC_LANG >= 201703L))
#error "dicast.hpp needs C++17 or later"
#endif

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <ratio>
#include <string_view>

#include "../dicast.h"

/*
 * Marks functions whose result points into their object. Clang and MSVC warn if the result outlives the object.
 * Every compiler refuses to call a function that returns texts on a temporary.
 */
#if defined(__has_cpp_attribute)
#if __has_cpp_attribute(clang::lifetimebound)
#define DICAST_LIFETIMEBOUND [[clang::lifetimebound]]
#elif __has_cpp_attribute(msvc::lifetimebound)
#define DICAST_LIFETIMEBOUND [[msvc::lifetimebound]]
#endif
#endif
#ifndef DICAST_LIFETIMEBOUND
#define DICAST_LIFETIMEBOUND
#endif

namespace dicast {

/** No such index or place. */
inline constexpr std::size_t none = DICAST_NONE;

/**
 * How a call or a judgment ended. dicast.h describes each at its DICAST_… constant. New ones may appear in any release:
 * treat those that you do not know as failures.
 */
enum class Status : std::int32_t {
    ok = DICAST_OK,
    pending = DICAST_PENDING,
    invalid_request = DICAST_INVALID_REQUEST,
    too_large = DICAST_TOO_LARGE,
    context_overflow = DICAST_CONTEXT_OVERFLOW,
    invalid_config = DICAST_INVALID_CONFIG,
    invalid_profile = DICAST_INVALID_PROFILE,
    model_not_found = DICAST_MODEL_NOT_FOUND,
    invalid_model = DICAST_INVALID_MODEL,
    unsupported = DICAST_UNSUPPORTED,
    overloaded = DICAST_OVERLOADED,
    timeout = DICAST_TIMEOUT,
    cancelled = DICAST_CANCELLED,
    invalid_verdict = DICAST_INVALID_VERDICT,
    engine = DICAST_ENGINE,
    closed = DICAST_CLOSED,
    io = DICAST_IO,
    network = DICAST_NETWORK,
    internal = DICAST_INTERNAL,
    invalid_argument = DICAST_INVALID_ARGUMENT,
    engine_dead = DICAST_ENGINE_DEAD,
    asleep = DICAST_ASLEEP,
};

namespace detail {

template <auto Free>
struct Freer {
    template <class T>
    void operator()(T *object) const noexcept {
        Free(object);
    }
};

/** An object of dicast.h with the function that frees it. */
template <class T, auto Free>
using Handle = std::unique_ptr<T, Freer<Free>>;

inline dicast_str str(std::string_view text) noexcept { return {text.data(), text.size()}; }

inline std::string_view view(dicast_str text) noexcept { return {text.data, text.len}; }

/** A struct of dicast.h that announces its size. */
template <class T>
T sized() noexcept {
    T value{};
    value.struct_size = sizeof(T);
    return value;
}

/** Any duration in whole milliseconds, rounded up; 0 for a negative one and NaN, the largest that fits for a huge one.
 */
template <class Rep, class Period>
std::uint64_t milliseconds(std::chrono::duration<Rep, Period> time) noexcept {
    // Floating point cannot overflow where hours become milliseconds.
    const long double count = std::chrono::duration<long double, std::milli>(time).count();
    // Less than 2^63, and so neither DICAST_FOREVER nor too much for std::chrono::milliseconds.
    constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (!(count > 0)) {
        return 0;
    }
    if (count >= static_cast<long double>(most)) {
        return most;
    }
    const auto whole = static_cast<std::uint64_t>(count);
    return static_cast<long double>(whole) < count ? whole + 1 : whole;
}

/** A deadline as dicast.h takes it, where 0 is none. */
inline std::uint64_t deadline_ms(const std::optional<std::chrono::milliseconds> &deadline) noexcept {
    if (!deadline) {
        return 0;
    }
    const std::uint64_t made = milliseconds(*deadline);
    return made == 0 ? 1 : made;
}

}  // namespace detail

/** The name of a status, such as `context_overflow`; empty for one that the library does not have. */
inline std::string_view name(Status status) noexcept {
    return detail::view(dicast_status_name(static_cast<std::int32_t>(status)));
}

/** Whether the same request may succeed when it is sent again after this status; Error::is_retryable answers for one
 * error. */
inline bool is_retryable(Status status) noexcept {
    return dicast_status_is_retryable(static_cast<std::int32_t>(status));
}

/** The release of the loaded library, such as `0.1.0`. */
inline std::string_view version() noexcept { return detail::view(dicast_version()); }

/** What the loaded library was built with, such as `local,remote`. */
inline std::string_view features() noexcept { return detail::view(dicast_features()); }

/** The interface of the loaded library. It must be at least DICAST_ABI_VERSION; Judge::open checks this. */
inline std::uint32_t abi_version() noexcept { return dicast_abi_version(); }

}  // namespace dicast

#endif  // DICAST_STATUS_HPP
