/*
 * Dicast for C++17 and later: owning types over dicast.h. Header only; link with libdicast.
 *
 *     #include <dicast.hpp>
 *
 *     auto judge = dicast::Judge::open(R"({"model": "judge.gguf"})");
 *     dicast::Request request("I prefer concise responses.", "How do I learn Python?",
 *                             {{"short", "Build small projects."}, {"long", "First of all, one should consider…"}});
 *     dicast::Verdict verdict = judge.judge(request);
 *     double reward = verdict.expected("short");
 *
 * These rules hold unless a function says otherwise:
 *
 * - Errors. Each function that can fail exists twice: `judge` throws an Error, `try_judge` returns a Result with the
 * value or the Error. The try_ functions throw only std::bad_alloc. With -fno-exceptions there are only these.
 * - Ownership. Each object owns its handle. It can be moved, not copied. Destroy it only while no call is using it.
 * An object that was moved from can be assigned to and destroyed; other calls with it return Status::invalid_argument,
 * and getters their "none" value: NaN, 0, `none`, empty text.
 * - Text is passed as std::string_view in UTF-8 and read only during the call. A std::string_view that a function
 * returns points into its object and lives as long as that object. Such a function cannot be called on a temporary: it
 * does not compile. Ranges of texts are copied.
 * - Durations may be of any std::chrono type. They are rounded up to milliseconds; a negative one is 0.
 * - Threads. Any number of threads may call `const` member functions of one object at once.
 * - Exceptions do not pass through the library. Each kind of callback says what happens to what it throws.
 */
#ifndef DICAST_HPP
#define DICAST_HPP

#include "dicast/batch.hpp"
#include "dicast/config.hpp"
#include "dicast/engine.hpp"
#include "dicast/events.hpp"
#include "dicast/info.hpp"
#include "dicast/judge.hpp"
#include "dicast/metrics.hpp"
#include "dicast/options.hpp"
#include "dicast/pin.hpp"
#include "dicast/prompt.hpp"
#include "dicast/request.hpp"
#include "dicast/result.hpp"
#include "dicast/rewards.hpp"
#include "dicast/sleep.hpp"
#include "dicast/status.hpp"
#include "dicast/ticket.hpp"
#include "dicast/verdict.hpp"

#endif  // DICAST_HPP
