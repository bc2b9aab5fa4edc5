/* Settings on their way into the library, as JSON. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_JSON_HPP
#define DICAST_JSON_HPP

#include <chrono>
#include <cstddef>
#include <limits>
#include <locale>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "status.hpp"

namespace dicast {

namespace detail {

inline std::string json_string(std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string made = "\"";
    for (const char byte : text) {
        const auto code = static_cast<unsigned char>(byte);
        if (code < 0x20) {
            made += "\\u00";
            made += digits[code >> 4U];
            made += digits[code & 0xFU];
        } else {
            if (byte == '"' || byte == '\\') {
                made += '\\';
            }
            made += byte;
        }
    }
    return made + '"';
}

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

template <class T>
inline constexpr bool is_duration = false;
template <class Rep, class Period>
inline constexpr bool is_duration<std::chrono::duration<Rep, Period>> = true;

/** A value as JSON: a truth value, number, text, duration (in milliseconds), a range of these, or nullptr. */
template <class T>
std::string json_text(const T &value) {
    if constexpr (std::is_same_v<T, bool>) {
        return value ? "true" : "false";
    } else if constexpr (std::is_same_v<T, std::nullptr_t>) {
        return "null";
    } else if constexpr (std::is_convertible_v<const T &, std::string_view>) {
        return json_string(value);
    } else if constexpr (is_duration<T>) {
        return std::to_string(milliseconds(value));
    } else if constexpr (std::is_arithmetic_v<T>) {
        static_assert(!std::is_same_v<T, char> && !std::is_same_v<T, wchar_t>, "a number or a text is needed");
        if constexpr (std::is_integral_v<T>) {
            return std::to_string(value);
        } else {
            // The locale of the program may write a decimal comma. NaN and infinity are no JSON, and so an error.
            std::ostringstream written;
            written.imbue(std::locale::classic());
            written.precision(std::numeric_limits<T>::max_digits10);
            written << value;
            return written.str();
        }
    } else {
        std::string made = "[";
        for (const auto &one : value) {
            made += made.size() > 1 ? "," : "";
            made += json_text(one);
        }
        return made + ']';
    }
}

/** A JSON value that is being built: an object, unless it was set to plain JSON. */
class Json {
public:
    /** The member of this name, which is added if there is none. A plain value becomes an object. */
    Json &operator[](std::string_view key) {
        text_.clear();
        for (auto &[name, member] : members_) {
            if (name == key) {
                return member;
            }
        }
        return members_.emplace_back(key, Json()).second;
    }
    /** Replaces this value by JSON text. */
    void set_raw(std::string json) {
        members_.clear();
        text_ = std::move(json);
    }
    template <class T>
    void add(std::string_view key, const T &value) {
        if constexpr (is_optional<T>) {
            if (value) {
                add(key, *value);
            }
        } else if constexpr (std::is_same_v<T, Json>) {
            (*this)[key] = value;
        } else {
            (*this)[key].set_raw(json_text(value));
        }
    }
    std::string text() const {
        if (!text_.empty()) {
            return text_;
        }
        std::string made = "{";
        for (const auto &[name, member] : members_) {
            made += made.size() > 1 ? "," : "";
            made += json_string(name) + ':' + member.text();
        }
        return made + '}';
    }

private:
    std::string text_;
    std::vector<std::pair<std::string, Json>> members_;
};

}  // namespace detail

/**
 * Settings by their names in the configuration, for settings that have no field. The library checks names and
 * values. A value.
 */
class Settings {
public:
    /**
     * Sets the setting at `path`: names joined by dots, such as `local.threads`, or a JSON pointer, such as
     * `/local/threads`. The value is a bool, a number, a text, a duration (written in milliseconds), a range of these,
     * or nullptr. The last value counts.
     */
    template <class T>
    void set(std::string_view path, const T &value) {
        set_json(path, detail::json_text(value));
    }
    /** As set, from JSON. */
    void set_json(std::string_view path, std::string_view json) {
        given_.emplace_back(names(path), json.empty() ? "null" : json);
    }
    /** Writes the settings into a configuration, over its values. */
    void write(detail::Json &root) const {
        for (const auto &[path, json] : given_) {
            detail::Json *at = &root;
            for (const std::string &name : path) {
                at = &(*at)[name];
            }
            at->set_raw(json);
        }
    }

private:
    static std::vector<std::string> names(std::string_view path) {
        const bool pointer = !path.empty() && path.front() == '/';
        std::vector<std::string> made(1);
        for (std::size_t at = pointer ? 1 : 0; at < path.size(); ++at) {
            const char next = at + 1 < path.size() ? path[at + 1] : ' ';
            if (path[at] == (pointer ? '/' : '.')) {
                made.emplace_back();
            } else if (pointer && path[at] == '~' && (next == '0' || next == '1')) {
                made.back() += next == '0' ? '~' : '/';
                ++at;
            } else {
                made.back() += path[at];
            }
        }
        return made;
    }

    std::vector<std::pair<std::vector<std::string>, std::string>> given_;
};

}  // namespace dicast

#endif  // DICAST_JSON_HPP
