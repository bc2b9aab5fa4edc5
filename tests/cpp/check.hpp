// What the test programs share. A failed check says where and ends the program; so does a hang, after minutes.
#ifndef CHECK_HPP
#define CHECK_HPP

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>

#include "dicast.hpp"

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

// What was computed in another batch may differ in the last digits.
inline bool near(double a, double b) { return std::fabs(a - b) < 0.02; }

inline constexpr std::string_view shorter = "I prefer short and concise responses over long and detailed ones.";
inline constexpr std::string_view longer = "I prefer long and detailed responses over short and concise ones.";
inline constexpr std::string_view question = "How do I learn Python?";

// Answers of different length; the demonstration judge ranks them by a principle on length.
inline constexpr std::string_view short_text = "Build small projects.";
inline constexpr std::string_view middle_text =
    "Read the official tutorial first. Then build a small project every week, and ask for reviews of your code.";
inline constexpr std::string_view long_text =
    "There are many things that one should consider before one begins. First of all, a course gives an order to what "
    "is "
    "to be learned. Then there are books, of which some are good and some are not. After that come projects, in which "
    "all of this is put to use, and finally the long years of practice that nobody can do without.";

// The judge of the model in argv[1], on one thread: tests run beside each other.
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
