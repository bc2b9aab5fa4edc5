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
 * The rules, which hold wherever a function does not say otherwise:
 *
 * - Errors, by choice. A function that can fail comes twice: `judge` throws an Error, `try_judge` gives a Result, which
 *   holds the value or the Error. The try_ half throws nothing but std::bad_alloc, and is all there is under
 *   -fno-exceptions.
 * - Ownership. A type here owns what it stands for; it can be moved, not copied, and may be destroyed at any time but
 *   during a call with it. One that was moved from can be assigned to and destroyed; calls with it give
 *   Status::invalid_argument or, of a getter, the value that says "none": NaN, 0, `none`, empty text.
 * - Text goes in as std::string_view, in UTF-8, and is only read during the call. A std::string_view that comes out
 *   belongs to the object that it was asked of and lives as long as that.
 * - Threads. Any number of threads may call `const` member functions of one object at once.
 * - Nothing that is thrown passes through the library: what becomes of it stands at each kind of callback.
 */
#ifndef DICAST_HPP
#define DICAST_HPP

#include "dicast/config.hpp"
#include "dicast/judge.hpp"
#include "dicast/prompt.hpp"
#include "dicast/request.hpp"
#include "dicast/result.hpp"
#include "dicast/rewards.hpp"
#include "dicast/status.hpp"
#include "dicast/ticket.hpp"
#include "dicast/verdict.hpp"

#endif  // DICAST_HPP
