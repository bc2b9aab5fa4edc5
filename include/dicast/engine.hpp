/* The program's own engine. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_ENGINE_HPP
#define DICAST_ENGINE_HPP

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "result.hpp"
#include "status.hpp"
#include "verdict.hpp"

namespace dicast {

/** A token that could stand at one place of the output. A value. */
struct Choice {
    std::string text;
    /** The natural logarithm of its probability. */
    double logprob;
};

/** A token of the output, and the other tokens that were possible at its place. A value. */
struct Token {
    std::string text;
    /** The natural logarithm of its probability; NaN if it is not known. */
    double logprob = std::numeric_limits<double>::quiet_NaN();
    /** The most probable tokens at this place. They matter only at the scores. */
    std::vector<Choice> choices = {};
};

/** How strictly an engine constrains verdicts. */
enum class Guidance : std::uint32_t {
    free_text = DICAST_GUIDANCE_NONE,
    schema = DICAST_GUIDANCE_SCHEMA,
    grammar = DICAST_GUIDANCE_GRAMMAR,
};

/** The notation of a grammar. */
enum class Notation : std::uint32_t {
    gbnf = DICAST_NOTATION_GBNF,
    ebnf = DICAST_NOTATION_EBNF,
    lark = DICAST_NOTATION_LARK,
};

/** Which judgment goes first if several wait for the engine. */
enum class Priority : std::int32_t {
    low = DICAST_PRIORITY_LOW,
    normal = DICAST_PRIORITY_NORMAL,
    high = DICAST_PRIORITY_HIGH,
};

namespace detail {

/** Tokens as dicast.h takes them; they point into `tokens`. */
class Tokens {
public:
    explicit Tokens(const std::vector<Token> &tokens) {
        choices_.reserve(tokens.size());
        lent_.reserve(tokens.size());
        for (const Token &token : tokens) {
            auto &choices = choices_.emplace_back();
            for (const Choice &choice : token.choices) {
                choices.push_back({str(choice.text), choice.logprob});
            }
            lent_.push_back({str(token.text), token.logprob, choices.data(), choices.size()});
        }
    }

    const dicast_token *data() const noexcept { return lent_.data(); }
    std::size_t size() const noexcept { return lent_.size(); }

private:
    std::vector<std::vector<dicast_choice>> choices_;
    std::vector<dicast_token> lent_;
};

}  // namespace detail

/**
 * One generation for the program's own engine. It can be moved. Only one thread may use it at a time. If it is
 * destroyed without finish or fail, it fails, so that an engine that throws loses no judgment.
 */
class Job {
public:
    using Object = dicast_job;

    /** How to generate it: dicast.h describes each field. Texts live as long as the job. */
    dicast_plan plan() const noexcept {
        auto plan = detail::sized<dicast_plan>();
        dicast_job_plan(object_.get(), &plan, nullptr);
        return plan;
    }
    /** Number of messages; 0 for an engine that takes tokens. */
    std::size_t messages() const noexcept { return dicast_job_message_count(object_.get()); }
    /** `system` or `user`. */
    std::string_view role(std::size_t index) const & noexcept DICAST_LIFETIMEBOUND {
        return detail::view(dicast_job_message_role(object_.get(), index));
    }
    std::string_view role(std::size_t index) const && = delete;
    /** Text of users: the engine must not read control tokens in it. */
    std::string_view content(std::size_t index) const & noexcept DICAST_LIFETIMEBOUND {
        return detail::view(dicast_job_message_content(object_.get(), index));
    }
    std::string_view content(std::size_t index) const && = delete;
    /** The prompt's tokens, for an engine that takes tokens. */
    std::vector<std::uint32_t> tokens() const {
        std::size_t count = 0;
        const std::uint32_t *data = dicast_job_tokens(object_.get(), &count);
        return data == nullptr ? std::vector<std::uint32_t>() : std::vector<std::uint32_t>(data, data + count);
    }

    /** A grammar, and whether the verdict is complete after it. */
    struct Grammar {
        std::string text;
        bool last;
    };
    /** The grammar of the text that may follow `answered`, the verdict so far. */
    Result<Grammar> try_grammar(std::string_view answered, Notation notation) {
        dicast_str text{};
        std::uint32_t last = 0;
        if (auto done = detail::done([&](auto **error) {
                return dicast_job_grammar(object_.get(), detail::str(answered), static_cast<std::uint32_t>(notation),
                                          &text, &last, error);
            });
            !done) {
            return done.error();
        }
        return Grammar{std::string(detail::view(text)), last != 0};
    }
    /** The verdicts as JSON Schema; empty if there is none. */
    std::string_view schema() const & noexcept DICAST_LIFETIMEBOUND {
        return detail::view(dicast_job_schema(object_.get()));
    }
    std::string_view schema() const && = delete;
    /** Whether anybody still waits for it. */
    bool is_wanted() const noexcept { return dicast_job_is_wanted(object_.get()); }

    /** Appends to the reasoning, without the texts that open and close it. */
    Result<void> try_reason(std::string_view text) {
        return detail::done([&](auto **error) { return dicast_job_reason(object_.get(), detail::str(text), error); });
    }
    /** Appends text to the answer. */
    Result<void> try_answer(std::string_view text) {
        return detail::done([&](auto **error) { return dicast_job_answer(object_.get(), detail::str(text), error); });
    }
    /** Appends tokens to the answer; expected scores are computed from the choices of the tokens at the scores. */
    Result<void> try_answer(const std::vector<Token> &tokens) {
        const detail::Tokens lent(tokens);
        return detail::done(
            [&](auto **error) { return dicast_job_answer_tokens(object_.get(), lent.data(), lent.size(), error); });
    }
    /** Sets the token counts of the job; unknown counts are 0. */
    void usage(const Usage &usage) noexcept {
        auto made = detail::sized<dicast_usage>();
        made.prompt_tokens = usage.prompt_tokens;
        made.reused_tokens = usage.reused_tokens;
        made.reasoning_tokens = usage.reasoning_tokens;
        made.verdict_tokens = usage.verdict_tokens;
        made.forced_tokens = usage.forced_tokens;
        dicast_job_usage(object_.get(), &made, nullptr);
    }

    /** Ends it with what was written. `cut` is 0, DICAST_CUT_REASONING, DICAST_CUT_VERDICT or both. */
    void finish(std::uint32_t cut = 0) noexcept { dicast_job_finish(object_.release(), cut); }
    /** Ends it with a failure. */
    void fail(Status status, std::string_view message) noexcept {
        dicast_job_fail(object_.release(), static_cast<std::int32_t>(status), detail::str(message));
    }

    /** Takes over a job of dicast.h. */
    static Job adopt(Object *object) noexcept { return Job(object); }

private:
    explicit Job(Object *object) noexcept : object_(object) {}

    struct Dropped {
        void operator()(Object *object) const noexcept {
            dicast_job_fail(object, DICAST_ENGINE, detail::str("the engine dropped the job"));
        }
    };
    std::unique_ptr<Object, Dropped> object_;
};

/** The program's own engine. Its functions are called from several threads; they must return quickly. */
class OwnEngine {
public:
    OwnEngine() = default;
    OwnEngine(const OwnEngine &) = delete;
    OwnEngine &operator=(const OwnEngine &) = delete;
    virtual ~OwnEngine() = default;

    /** Takes a job: puts it into the engine's queue, or ends it. An exception fails the job. */
    virtual void generate(Job job) = 0;
    /** Nobody waits for the job with this number (plan().id) any more. It may have ended. */
    virtual void cancel(std::uint64_t job) noexcept { static_cast<void>(job); }
    /** The judge is closed: no other function is called after this one. */
    virtual void closed() noexcept {}
    /** Whether the three functions below are implemented. */
    virtual bool can_sleep() const noexcept { return false; }
    /** Frees memory, while no job runs. */
    virtual Status sleep() noexcept { return Status::unsupported; }
    /** Allocates the memory again. */
    virtual Status wake() noexcept { return Status::unsupported; }
    /** Loads other weights, also while it sleeps; it is awake afterwards. */
    virtual Status reload(std::string_view model) noexcept { return static_cast<void>(model), Status::unsupported; }
};

/** What the program's own engine can do. A value. */
struct EngineOptions {
    Guidance guidance = Guidance::free_text;
    /** Whether it gives the possible tokens at the scores. */
    bool distributions = false;
    /** Most tokens of prompt and output together; 0: not known. */
    std::uint64_t context_tokens = 0;
    /** Number of jobs that it works on at once. */
    std::uint64_t max_sequences = 1;
    /** Empty: it takes messages. Else the folder of the model's tokenizer: it takes token ids. */
    std::string tokenizer = {};
};

namespace detail {

/** The callbacks of dicast.h for an engine. `user_data` is the engine. */
inline dicast_engine engine_table(OwnEngine &engine, const EngineOptions &options) noexcept {
    auto table = sized<dicast_engine>();
    table.user_data = &engine;
    table.tokenizer = str(options.tokenizer);
    table.guidance = static_cast<std::uint32_t>(options.guidance);
    table.distributions = options.distributions ? 1 : 0;
    table.context_tokens = options.context_tokens;
    table.max_sequences = options.max_sequences;
    table.generate = [](void *data, dicast_job *job) noexcept {
        Job owned = Job::adopt(job);
#if DICAST_HAS_EXCEPTIONS
        try {
            static_cast<OwnEngine *>(data)->generate(std::move(owned));
        } catch (...) {
        }
#else
        static_cast<OwnEngine *>(data)->generate(std::move(owned));
#endif
    };
    table.cancel = [](void *data, std::uint64_t job) noexcept { static_cast<OwnEngine *>(data)->cancel(job); };
    table.close = [](void *data) noexcept { static_cast<OwnEngine *>(data)->closed(); };
    if (engine.can_sleep()) {
        table.sleep = [](void *data) noexcept {
            return static_cast<std::int32_t>(static_cast<OwnEngine *>(data)->sleep());
        };
        table.wake = [](void *data) noexcept {
            return static_cast<std::int32_t>(static_cast<OwnEngine *>(data)->wake());
        };
        table.reload = [](void *data, dicast_str model) noexcept {
            return static_cast<std::int32_t>(static_cast<OwnEngine *>(data)->reload(view(model)));
        };
    }
    return table;
}

}  // namespace detail

}  // namespace dicast

#endif  // DICAST_ENGINE_HPP
