/* The judge. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_JUDGE_HPP
#define DICAST_JUDGE_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "batch.hpp"
#include "config.hpp"
#include "engine.hpp"
#include "events.hpp"
#include "info.hpp"
#include "metrics.hpp"
#include "pin.hpp"
#include "request.hpp"
#include "result.hpp"
#include "rewards.hpp"
#include "sleep.hpp"
#include "texts.hpp"
#include "ticket.hpp"
#include "verdict.hpp"

namespace dicast {

/**
 * An opened model with its profile.
 *
 * Any number of threads may use one judge at once, and any number of judges may be open. The destructor ends pending
 * judgments with Status::closed and waits until all callbacks have returned. It requires that no other thread is using
 * the judge; a callback may destroy its own judge. A judge belongs to the process that opened it: after fork, in the
 * child, every call with it is Status::closed.
 */
class Judge {
public:
    using Object = dicast_judge;

#if DICAST_HAS_EXCEPTIONS
    static Judge open(std::string_view config_json, Log log = {}, Progress progress = {}) {
        return try_open(config_json, std::move(log), std::move(progress)).value();
    }
    static Judge open(const Config &config, Log log = {}, Progress progress = {}) {
        return try_open(config, std::move(log), std::move(progress)).value();
    }
    static MemoryNeed memory_need(std::string_view config_json) { return try_memory_need(config_json).value(); }
    static MemoryNeed memory_need(const Config &config) { return try_memory_need(config).value(); }
    static Judge open_engine(const Config &config, std::shared_ptr<OwnEngine> engine, const EngineOptions &options = {},
                             std::string_view profile_json = {}, Log log = {}) {
        return try_open_engine(config, std::move(engine), options, profile_json, std::move(log)).value();
    }
    Verdict judge(const Request &request) const { return try_judge(request).value(); }
    std::vector<Result<Verdict>> judge_batch(const std::vector<Request> &requests) const {
        return try_judge_batch(requests).value();
    }
    Ticket submit(const Request &request) const { return try_submit(request).value(); }
    Ticket submit(const Request &request, const SubmitOptions &options) const {
        return try_submit(request, options).value();
    }
    void submit(const Request &request, const Events &events, std::uint64_t tag,
                const SubmitOptions &options = {}) const {
        try_submit(request, events, tag, options).value();
    }
    template <class Callback>
    CallbackTicket submit(const Request &request, Callback callback) const {
        return try_submit(request, std::move(callback)).value();
    }
    template <class Rep, class Period>
    bool wait_for_room(std::chrono::duration<Rep, Period> timeout) const {
        return try_wait_for_room(timeout).value();
    }
    Pin warm(const Request &request) const { return try_warm(request).value(); }
    void sleep(const SleepOptions &options = {}) const { try_sleep(options).value(); }
    void wake() const { try_wake().value(); }
    void reload(std::string_view model = {}, const SleepOptions &options = {}) const {
        try_reload(model, options).value();
    }
    Batch submit_groups(const std::vector<Group> &groups, const BatchOptions &options = {}) const {
        return try_submit_groups(groups, options).value();
    }
    TokenCount count(const Request &request) const { return try_count(request).value(); }
    void set_log_level(LogLevel level) const { try_set_log_level(level).value(); }
    Info info() const { return try_info().value(); }
    Stats stats() const { return try_stats().value(); }
    Metrics metrics(std::string_view labels = {}) const { return try_metrics(labels).value(); }

    /**
     * Judges in the background. get() of the future returns the verdict or throws the Error, also if the request was
     * refused at once. Dropping the future does not block, and the judgment goes on. See submit for one that can be
     * cancelled.
     */
    std::future<Verdict> judge_async(const Request &request) const {
        std::promise<Verdict> promise;
        auto future = promise.get_future();
        deliver(request, [promise = std::move(promise)](Result<Verdict> outcome) mutable {
            if (outcome) {
                promise.set_value(*std::move(outcome));
            } else {
                promise.set_exception(std::make_exception_ptr(outcome.error()));
            }
        });
        return future;
    }
#endif

    /**
     * Opens a judge: checks the configuration, loads the profile and the model. Takes as long as loading takes.
     *
     * `config_json` is `{"model": "judge.gguf", "profile"?, "options"?, "verdict"?, "limits"?, "local"?}`, the settings
     * of the command line's `--config`; an unknown key is an error. On failure nothing is left open. `progress` gets
     * the progress of loading, and may end it: Status::cancelled.
     */
    static Result<Judge> try_open(std::string_view config_json, Log log = {}, Progress progress = {}) {
        if (dicast_abi_version() < DICAST_ABI_VERSION) {
            return Error(Status::unsupported,
                         "the dicast library is older than the header that this was compiled with");
        }
        auto opened = std::make_unique<Opened>();
        opened->log = std::move(log);
        opened->progress = std::move(progress);
        const auto options = opened->options();
        if (auto done = detail::done([&](auto **error) {
                return dicast_judge_open(detail::str(config_json), &options, &opened->judge, error);
            });
            !done) {
            return done.error();
        }
        return Judge(std::move(opened));
    }
    static Result<Judge> try_open(const Config &config, Log log = {}, Progress progress = {}) {
        return try_open(config.to_json(), std::move(log), std::move(progress));
    }

    /**
     * Opens a judge on the program's own engine: Dicast makes prompts and grammars and reads verdicts, and the engine
     * generates. `config.model` is only a name. `profile_json` is a profile as JSON; if it is empty, the one that the
     * configuration names is used, else the built-in one. The engine lives at least as long as the judge.
     */
    static Result<Judge> try_open_engine(const Config &config, std::shared_ptr<OwnEngine> engine,
                                         const EngineOptions &options = {}, std::string_view profile_json = {},
                                         Log log = {}) {
        auto opened = std::make_unique<Opened>();
        opened->log = std::move(log);
        opened->engine = std::move(engine);
        const auto table = detail::engine_table(*opened->engine, options);
        const auto open_options = opened->options();
        const std::string json = config.to_json();
        detail::Handle<dicast_profile, dicast_profile_free> profile;
        if (!profile_json.empty()) {
            dicast_profile *made = nullptr;
            if (auto read = detail::done(
                    [&](auto **error) { return dicast_profile_from_json(detail::str(profile_json), &made, error); });
                !read) {
                return read.error();
            }
            profile.reset(made);
        }
        if (auto done = detail::done([&](auto **error) {
                return dicast_judge_open_engine(detail::str(json), profile.get(), &table, &open_options, &opened->judge,
                                                error);
            });
            !done) {
            return done.error();
        }
        return Judge(std::move(opened));
    }

    /** How much memory opening a judge takes; only the header of its model file is read. For the embedded engine
     * only. */
    static Result<MemoryNeed> try_memory_need(std::string_view config_json) {
        auto need = detail::sized<dicast_memory>();
        if (auto done =
                detail::done([&](auto **error) { return dicast_memory_need(detail::str(config_json), &need, error); });
            !done) {
            return done.error();
        }
        return MemoryNeed{need.weights, need.kv_cache, need.compute, need.kv_tokens, need.available};
    }
    static Result<MemoryNeed> try_memory_need(const Config &config) { return try_memory_need(config.to_json()); }

    /**
     * Ends pending judgments with Status::closed and unloads the model. All later calls return Status::closed too. Use
     * it when other threads may still use the judge. Closing twice does no harm.
     */
    void close() const noexcept { dicast_judge_close(get(), nullptr); }

    /**
     * Computes what the prompts of many judgments begin with, and keeps it until the pin is destroyed: the principle,
     * and the prompt where it is not empty; the responses do not matter. See dicast_judge_warm, also for what it fails
     * with.
     */
    Result<Pin> try_warm(const Request &request) const {
        return detail::made<Pin>(
            [&](auto **object, auto **error) { return dicast_judge_warm(get(), request.get(), object, error); });
    }

    /**
     * Frees the memory of weights and KV cache until wake(), for example while a trainer on the same GPU needs it.
     * Waits for running judgments or cancels them; requests that arrive meanwhile wait or fail. Status::unsupported if
     * the engine cannot do this; Status::timeout if judgments still ran after `patience`, and the judge then works as
     * before.
     */
    Result<void> try_sleep(const SleepOptions &options = {}) const {
        const auto made = detail::sleep_options(options);
        return detail::done([&](auto **error) { return dicast_judge_sleep(get(), &made, error); });
    }

    /** Loads the model again and starts the waiting requests. After a failure the judge still sleeps. */
    Result<void> try_wake() const {
        return detail::done([&](auto **error) { return dicast_judge_wake(get(), error); });
    }

    /**
     * Replaces the weights by those of `model`, a path; if it is empty, by those that are now at the path of the
     * current weights. A sleeping judge wakes. If `model` is not a model for this engine, the judge works as before; if
     * loading fails later, it sleeps. Verdict::weights says which weights judged.
     */
    Result<void> try_reload(std::string_view model = {}, const SleepOptions &options = {}) const {
        const auto made = detail::sleep_options(options);
        return detail::done([&](auto **error) { return dicast_judge_reload(get(), detail::str(model), &made, error); });
    }

    /** Whether the judge sleeps. */
    bool is_asleep() const noexcept { return dicast_judge_is_asleep(get()); }
    /** Which weights judge: 0 is the set that the judge was opened with, and each reload adds one. */
    std::uint64_t weights() const noexcept { return dicast_judge_weights(get()); }

    /**
     * Judges one request and waits for the verdict. If the queue is full, it first waits for room; the deadline of the
     * request covers both waits.
     */
    Result<Verdict> try_judge(const Request &request) const {
        return detail::made<Verdict>(
            [&](auto **object, auto **error) { return dicast_judge_judge(get(), request.get(), object, error); });
    }

    /**
     * Judges all requests at once and waits for them; returns one result for each, in their order. Requests that do not
     * fit the queue wait for room.
     */
    Result<std::vector<Result<Verdict>>> try_judge_batch(const std::vector<Request> &requests) const {
        std::vector<const dicast_request *> lent;
        for (const Request &request : requests) {
            lent.push_back(request.get());
        }
        std::vector<dicast_verdict *> verdicts(requests.size());
        std::vector<std::int32_t> statuses(requests.size());
        std::vector<dicast_error *> errors(requests.size());
        std::vector<Result<Verdict>> results;
        results.reserve(requests.size());
        if (auto done = detail::done([&](auto **error) {
                return dicast_judge_batch(get(), lent.data(), lent.size(), verdicts.data(), statuses.data(),
                                          errors.data(), error);
            });
            !done) {
            return done.error();
        }
        for (std::size_t index = 0; index < requests.size(); ++index) {
            if (statuses[index] == DICAST_OK) {
                results.emplace_back(Verdict::adopt(verdicts[index]));
            } else {
                results.emplace_back(Error::adopt(statuses[index], errors[index]));
            }
        }
        return results;
    }

    /** Submits a request and returns at once. On failure nothing was submitted. */
    Result<Ticket> try_submit(const Request &request) const {
        return detail::made<Ticket>([&](auto **object, auto **error) {
            return dicast_judge_submit(get(), request.get(), nullptr, nullptr, object, error);
        });
    }

    /**
     * Submits a request and returns at once. `callback(Result<Verdict>)` gets the outcome exactly once, maybe before
     * this call returns. On failure nothing was submitted, and the callback will not be called.
     *
     * Each judge has one thread that only calls callbacks, one at a time. A callback may call any function, also
     * submit, and may destroy the judge. If it throws, CallbackTicket::wait rethrows the exception.
     */
    template <class Callback>
    Result<CallbackTicket> try_submit(const Request &request, Callback callback) const {
        auto ending = std::make_shared<detail::Ending>();
        auto call = std::make_unique<detail::Call<Callback>>(std::move(callback), ending);
        dicast_ticket *ticket = nullptr;
        if (auto submitted = start(request, call, &ticket); !submitted) {
            return submitted.error();
        }
        return CallbackTicket(ticket, std::move(ending));
    }

    /** Submits a request with a priority, a deadline, or a name for the log. */
    Result<Ticket> try_submit(const Request &request, const SubmitOptions &options) const {
        const auto made = detail::submit_options(options);
        return detail::made<Ticket>([&](auto **object, auto **error) {
            return dicast_judge_submit_with(get(), request.get(), &made, object, error);
        });
    }

    /** Submits a request whose outcome becomes an event. Status::overloaded also if `events` is full. */
    Result<void> try_submit(const Request &request, const Events &events, std::uint64_t tag,
                            const SubmitOptions &options = {}) const {
        auto made = detail::submit_options(options);
        made.events = events.get();
        made.tag = tag;
        return detail::done(
            [&](auto **error) { return dicast_judge_submit_with(get(), request.get(), &made, nullptr, error); });
    }

    /**
     * Judges one request, and passes its reasoning to `hear(std::string_view)` while it is written: whole characters,
     * in order. `hear` is called on the thread that calls callbacks, and has returned for the last time when this
     * returns. If it throws, the exception is dropped, and so is the rest of the reasoning.
     */
    template <class Hear>
    Result<Verdict> try_judge_heard(const Request &request, Hear hear, const SubmitOptions &options = {}) const {
        auto made = detail::submit_options(options);
        made.on_reasoning = [](void *data, dicast_str piece) noexcept {
#if DICAST_HAS_EXCEPTIONS
            try {
                (*static_cast<Hear *>(data))(detail::view(piece));
            } catch (...) {
            }
#else
            (*static_cast<Hear *>(data))(detail::view(piece));
#endif
        };
        made.reasoning_user_data = &hear;
        // The callback owns it: this thread may be gone while it is still within set_value.
        auto promise = std::make_unique<std::promise<Result<Verdict>>>();
        auto future = promise->get_future();
        made.callback = [](void *data, std::int32_t status, dicast_verdict *verdict, dicast_error *error) noexcept {
            const std::unique_ptr<std::promise<Result<Verdict>>> outcome(
                static_cast<std::promise<Result<Verdict>> *>(data));
            if (status == DICAST_OK) {
                outcome->set_value(Verdict::adopt(verdict));
            } else {
                outcome->set_value(Error::adopt(status, error));
            }
        };
        made.user_data = promise.get();
        if (auto submitted = detail::done(
                [&](auto **error) { return dicast_judge_submit_with(get(), request.get(), &made, nullptr, error); });
            !submitted) {
            return submitted.error();
        }
        static_cast<void>(promise.release());
        return future.get();
    }

    /** As judge_async, with a Result instead of an exception. */
    std::future<Result<Verdict>> try_judge_async(const Request &request) const {
        std::promise<Result<Verdict>> promise;
        auto future = promise.get_future();
        deliver(request, [promise = std::move(promise)](Result<Verdict> outcome) mutable {
            promise.set_value(std::move(outcome));
        });
        return future;
    }

    /**
     * Waits until the queue has room for a request, at most `timeout`; false if it has none by then. Another thread
     * may take the room first. Status::closed if the judge is closed.
     */
    template <class Rep, class Period>
    Room try_wait_for_room(std::chrono::duration<Rep, Period> timeout) const {
        dicast_error *error = nullptr;
        const std::int32_t status = dicast_judge_wait_for_room(get(), detail::milliseconds(timeout), &error);
        if (status == DICAST_OK || status == DICAST_PENDING) {
            return Room(status == DICAST_OK);
        }
        return Error::adopt(status, error);
    }

    /**
     * Judges responses to one prompt together, as one listwise judgment, and waits for their rewards. `responses` is
     * any range of texts, which are copied. A judgment that fails does not throw: the Rewards have the error.
     */
    template <class Texts = std::initializer_list<std::string_view>>
    Rewards rewards(std::string_view principle, std::string_view prompt, Texts &&responses,
                    const RewardOptions &options = {}) const {
        const detail::Texts texts(responses);
        const detail::WantedRewards wanted(options);
        std::vector<double> values(texts.size());
        std::vector<std::int32_t> statuses(texts.size());
        auto done = detail::done([&](auto **error) {
            return dicast_judge_rewards(get(), detail::str(principle), detail::str(prompt), texts.data(), texts.size(),
                                        &wanted.options, values.data(), statuses.data(), error);
        });
        return detail::rewards_of(values.data(), statuses.data(), texts.size(), done ? nullptr : &done.error());
    }

    /**
     * Judges many groups at once and waits for all their rewards; returns one Rewards for each, in their order. Groups
     * that do not fit the queue wait for room. A judgment that fails does not throw: its Rewards have the error.
     */
    std::vector<Rewards> rewards(const std::vector<Group> &groups, const RewardOptions &options = {}) const {
        const detail::Groups lent(groups);
        const detail::WantedRewards wanted(options);
        std::vector<double> values(lent.total());
        std::vector<std::int32_t> statuses(lent.total());
        std::vector<dicast_error *> errors(groups.size());
        auto done = detail::done([&](auto **error) {
            return dicast_judge_rewards_groups(get(), lent.data(), lent.size(), &wanted.options, values.data(),
                                               statuses.data(), lent.total(), errors.data(), error);
        });
        std::vector<Rewards> made;
        made.reserve(groups.size());
        std::size_t at = 0;
        for (std::size_t index = 0; index < groups.size(); ++index) {
            std::optional<Error> failed;
            if (!done) {
                failed = done.error();
            } else if (errors[index] != nullptr) {
                failed = Error::adopt(dicast_error_code(errors[index]), errors[index]);
            }
            const std::size_t count = lent.responses(index);
            made.push_back(
                detail::rewards_of(values.data() + at, statuses.data() + at, count, failed ? &*failed : nullptr));
            at += count;
        }
        return made;
    }

    /**
     * Judges many groups under one handle and returns at once; a thread submits them as the queue has room. What is
     * wrong with one group ends that group alone, with its own status; what concerns all groups, such as `options`,
     * fails the call.
     */
    Result<Batch> try_submit_groups(const std::vector<Group> &groups, const BatchOptions &options = {}) const {
        const detail::Groups lent(groups);
        const std::string json = options.options.to_json();
        auto made = detail::sized<dicast_batch_options>();
        made.options_json = detail::str(json);
        made.priority = static_cast<std::int32_t>(options.priority);
        made.deadline_ms = detail::deadline_ms(options.deadline);
        dicast_batch *batch = nullptr;
        if (auto done = detail::done([&](auto **error) {
                return dicast_judge_submit_groups(get(), lent.data(), lent.size(), &made, &batch, error);
            });
            !done) {
            return done.error();
        }
        return Batch(batch, lent);
    }

    Result<Info> try_info() const {
        auto info = detail::sized<dicast_info>();
        if (auto done = detail::done([&](auto **error) { return dicast_judge_info(get(), &info, error); }); !done) {
            return done.error();
        }
        return Info{info.context_tokens, info.max_sequences, info.max_queue,   info.max_responses,
                    info.scale_min,      info.scale_max,     info.guided != 0, info.distributions != 0};
    }
    Result<Stats> try_stats() const {
        auto stats = detail::sized<dicast_stats>();
        if (auto done = detail::done([&](auto **error) { return dicast_judge_stats(get(), &stats, error); }); !done) {
            return done.error();
        }
        return Stats{stats.pending,
                     stats.waiting,
                     stats.running,
                     stats.reused_tokens,
                     stats.computed_tokens,
                     stats.steps,
                     stats.kv_block_tokens,
                     stats.kv_blocks,
                     stats.kv_blocks_used,
                     stats.kv_blocks_reused,
                     stats.grammars_last_hour,
                     stats.drafted_tokens,
                     stats.accepted_tokens};
    }
    /**
     * Takes a snapshot of what the judge has done since it was opened. `labels` is put into every line of
     * Metrics::prometheus, such as `judge="a",node="7"`.
     */
    Result<Metrics> try_metrics(std::string_view labels = {}) const {
        return detail::made<Metrics>([&](auto **object, auto **error) {
            return dicast_judge_metrics(get(), detail::str(labels), object, error);
        });
    }
    /** Counts the tokens of a request and says whether it fits, without judging it. */
    Result<TokenCount> try_count(const Request &request) const {
        auto count = detail::sized<dicast_count>();
        if (auto done =
                detail::done([&](auto **error) { return dicast_judge_count(get(), request.get(), &count, error); });
            !done) {
            return done.error();
        }
        return TokenCount{count.prompt_tokens, count.all_prompt_tokens, count.shared_tokens,
                          count.output_tokens, count.context_tokens,    count.runs,
                          count.fits != 0,     count.exact != 0};
    }
    /** From now on, logs lines up to this level. Has no effect if the judge was opened without a log. */
    Result<void> try_set_log_level(LogLevel level) const {
        return detail::done(
            [&](auto **error) { return dicast_judge_set_log_level(get(), static_cast<std::uint32_t>(level), error); });
    }
    /** The name of the judge's engine, such as `local`. */
    std::string_view engine() const & noexcept DICAST_LIFETIMEBOUND { return detail::view(dicast_judge_engine(get())); }
    std::string_view engine() const && = delete;
    /** The profile of the judge, as JSON that Profile::from_json reads. */
    std::string_view profile_json() const & noexcept DICAST_LIFETIMEBOUND {
        return detail::view(dicast_judge_profile_json(get()));
    }
    std::string_view profile_json() const && = delete;

    /** The judge of dicast.h, lent. */
    const Object *get() const noexcept DICAST_LIFETIMEBOUND { return opened_ ? opened_->judge : nullptr; }

private:
    /** A judge, its log and its engine, which must outlive it at an address that does not change. */
    struct Opened {
        Log log;
        Progress progress;
        std::shared_ptr<OwnEngine> engine;
        dicast_judge *judge = nullptr;

        Opened() = default;
        Opened(const Opened &) = delete;
        Opened &operator=(const Opened &) = delete;
        ~Opened() { dicast_judge_free(judge); }

        dicast_open_options options() noexcept {
            auto made = detail::sized<dicast_open_options>();
            made.log = log.sink ? write_log : nullptr;
            made.log_user_data = &log;
            made.log_level = static_cast<std::uint32_t>(log.level);
            made.progress = progress ? say_progress : nullptr;
            made.progress_user_data = &progress;
            return made;
        }
    };

    explicit Judge(std::unique_ptr<Opened> opened) noexcept : opened_(std::move(opened)) {}

    static void write_log(void *data, std::uint32_t level, dicast_str line) noexcept {
        const auto &log = *static_cast<const Log *>(data);
#if DICAST_HAS_EXCEPTIONS
        try {
            log.sink(static_cast<LogLevel>(level), detail::view(line));
        } catch (...) {
        }
#else
        log.sink(static_cast<LogLevel>(level), detail::view(line));
#endif
    }

    static bool say_progress(void *data, double part) noexcept {
        const auto &progress = *static_cast<const Progress *>(data);
#if DICAST_HAS_EXCEPTIONS
        try {
            return progress(part);
        } catch (...) {
            return false;
        }
#else
        return progress(part);
#endif
    }

    /** Hands a callback to the library, which owns it only on success. */
    template <class Callback>
    Result<void> start(const Request &request, std::unique_ptr<detail::Call<Callback>> &call,
                       dicast_ticket **ticket) const {
        call->submitting();
        auto submitted = detail::done([&](auto **error) {
            return dicast_judge_submit(get(), request.get(), detail::Call<Callback>::deliver, call.get(), ticket,
                                       error);
        });
        if (submitted) {
            // The library owns it. It may have been called and deleted by now.
            static_cast<void>(call.release());
        }
        return submitted;
    }

    /** Calls the callback with an outcome in any case, also if the request is refused. */
    template <class Callback>
    void deliver(const Request &request, Callback callback) const {
        auto call = std::make_unique<detail::Call<Callback>>(std::move(callback), nullptr);
        if (auto submitted = start(request, call, nullptr); !submitted) {
            (*call)(submitted.error());
        }
    }

    std::unique_ptr<Opened> opened_;
};

}  // namespace dicast

#endif  // DICAST_JUDGE_HPP
