// Shared by the test programs. A failed check prints its place and ends the program; so does a hang, after minutes.
#ifndef CHECK_HPP
#define CHECK_HPP

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dicast.hpp"

// Clang before 16 does not compile the views of libstdc++.
#if __cplusplus >= 202002L && (!defined(__clang__) || __clang_major__ >= 16)
#define HAS_VIEWS 1
#include <ranges>
#else
#define HAS_VIEWS 0
#endif

#define CHECK(...)                                                                         \
    do {                                                                                   \
        if (!(__VA_ARGS__)) {                                                              \
            std::fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #__VA_ARGS__); \
            _exit(1);                                                                      \
        }                                                                                  \
    } while (false)

// The statement throws a dicast::Error of this status, with a message.
#define THROWS(wanted, ...)                                                        \
    do {                                                                           \
        auto thrown_ = dicast::Status::ok;                                         \
        try {                                                                      \
            static_cast<void>(__VA_ARGS__);                                        \
        } catch (const dicast::Error &error_) {                                    \
            CHECK(!error_.message().empty() && error_.message() == error_.what()); \
            thrown_ = error_.status();                                             \
        }                                                                          \
        CHECK(thrown_ == (wanted));                                                \
    } while (false)

// Results that were computed in another batch may differ in the last digits.
inline bool near(double a, double b) { return std::fabs(a - b) < 0.02; }

inline constexpr std::string_view shorter = "I prefer short and concise responses over long and detailed ones.";
inline constexpr std::string_view longer = "I prefer long and detailed responses over short and concise ones.";
inline constexpr std::string_view question = "How do I learn Python?";

// Answers of different length; the demonstration judge ranks them by a principle about length.
inline constexpr std::string_view short_text = "Build small projects.";
inline constexpr std::string_view middle_text =
    "Read the official tutorial first. Then build a small project every week, and ask for reviews of your code.";
inline constexpr std::string_view long_text =
    "There are many things that one should consider before one begins. First of all, a course gives an order to what "
    "is "
    "to be learned. Then there are books, of which some are good and some are not. After that come projects, in which "
    "all of this is put to use, and finally the long years of practice that nobody can do without.";

// A range that makes each text on the fly, in the place of the one before it: earlier texts are gone.
class Fleeting {
public:
    explicit Fleeting(std::vector<std::string> texts) : texts_(std::move(texts)) {}

    class Iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = std::string;
        using difference_type = std::ptrdiff_t;
        using pointer = const std::string *;
        using reference = const std::string &;

        Iterator(const Fleeting *range, std::size_t at) : range_(range), at_(at) {}
        const std::string &operator*() const {
            std::fill(range_->shown_.begin(), range_->shown_.end(), '!');
            return range_->shown_ = range_->texts_[at_];
        }
        Iterator &operator++() {
            ++at_;
            return *this;
        }
        bool operator!=(const Iterator &other) const { return at_ != other.at_; }

    private:
        const Fleeting *range_;
        std::size_t at_;
    };
    // Not const, as in many views.
    Iterator begin() { return {this, 0}; }
    Iterator end() { return {this, texts_.size()}; }

private:
    friend class Iterator;
    std::vector<std::string> texts_;
    mutable std::string shown_;
};

// A range that gives each text by value.
class Made {
public:
    explicit Made(std::vector<std::string> texts) : texts_(std::move(texts)) {}

    class Iterator {
    public:
        explicit Iterator(const std::string *at) : at_(at) {}
        std::string operator*() const { return *at_ + ""; }
        Iterator &operator++() {
            ++at_;
            return *this;
        }
        bool operator!=(const Iterator &other) const { return at_ != other.at_; }

    private:
        const std::string *at_;
    };
    Iterator begin() const { return Iterator(texts_.data()); }
    Iterator end() const { return Iterator(texts_.data() + texts_.size()); }

private:
    std::vector<std::string> texts_;
};

// The configuration of the model in argv[1], on one thread: tests run at the same time.
inline dicast::Config config(char **argv) {
    CHECK(argv[1] != nullptr);
    dicast::Config config;
    config.model = argv[1];
    config.local.threads = 1;
    return config;
}

// A program that hangs is ended by SIGALRM, and so fails.
inline void begin() { alarm(400); }

#endif  // CHECK_HPP
