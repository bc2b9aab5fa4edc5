/* Ranges of texts on their way into the library. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_TEXTS_HPP
#define DICAST_TEXTS_HPP

#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "status.hpp"

namespace dicast::detail {

/**
 * A copy of a range of texts, in the form that dicast.h takes.
 *
 * The texts are copied because a range may make them on the fly: the text of one step may be gone after the next
 * step. The range is read once.
 */
class Texts {
public:
    template <class Range>
    explicit Texts(Range &&range) {
        for (auto &&text : range) {
            add(text);
        }
        lent_.reserve(ends_.size());
        std::size_t start = 0;
        for (const std::size_t end : ends_) {
            lent_.push_back({bytes_.data() + start, end - start});
            start = end;
        }
    }
    Texts(const Texts &) = delete;
    Texts &operator=(const Texts &) = delete;

    const dicast_str *data() const noexcept { return lent_.data(); }
    std::size_t size() const noexcept { return lent_.size(); }

private:
    template <class Text>
    void add(const Text &text) {
        static_assert(
            std::is_convertible_v<const Text &, std::string_view> || std::is_convertible_v<const Text &, std::string>,
            "a range of texts is needed, such as std::vector<std::string>");
        if constexpr (std::is_convertible_v<const Text &, std::string_view>) {
            bytes_ += static_cast<std::string_view>(text);
        } else {
            bytes_ += static_cast<std::string>(text);
        }
        ends_.push_back(bytes_.size());
    }

    std::string bytes_;
    std::vector<std::size_t> ends_;
    std::vector<dicast_str> lent_;
};

}  // namespace dicast::detail

#endif  // DICAST_TEXTS_HPP
