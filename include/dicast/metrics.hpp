/* What a judge has done, for a dashboard. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_METRICS_HPP
#define DICAST_METRICS_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "result.hpp"
#include "status.hpp"

namespace dicast {

/** A part of a judgment's time. */
enum class Phase : std::uint32_t {
    /** From submission to verdict. */
    total = DICAST_PHASE_TOTAL,
    /** From submission to the first computation. */
    queue = DICAST_PHASE_QUEUE,
    /** Computing the prompt. */
    prefill = DICAST_PHASE_PREFILL,
    reasoning = DICAST_PHASE_REASONING,
    verdict = DICAST_PHASE_VERDICT,
};

/** The numbers for a dashboard. Rates are over the last minute, or since the judge was opened. */
struct Figures {
    /** Time since the judge was opened; all counts start there. */
    std::chrono::microseconds elapsed;
    /** Judgments with a verdict. */
    std::uint64_t judged;
    /** Judgments that failed or were refused; see Metrics::ended. */
    std::uint64_t failed;
    /** Judgments that wait or run. */
    std::uint64_t pending;
    /** Tokens of judgments with a verdict. */
    std::uint64_t prompt_tokens;
    /** Of the prompts' tokens, those that were reused from earlier judgments. */
    std::uint64_t reused_tokens;
    std::uint64_t reasoning_tokens;
    std::uint64_t verdict_tokens;
    /** The part of the prompts' tokens that was reused, from 0 to 1. */
    double reused_share;
    /** Judgments with a verdict, per second. */
    double recent_judgments;
    /** Tokens of the prompts of these, per second. */
    double recent_prompt_tokens;
    /** Tokens that these wrote, per second. */
    double recent_written_tokens;
};

/** A snapshot of what a judge has done: see Judge::metrics. It never changes, and may outlive its judge. */
class Metrics {
public:
    using Object = dicast_metrics;

    /** In the text format of Prometheus, for a /metrics page. */
    std::string_view prometheus() const & noexcept DICAST_LIFETIMEBOUND {
        return detail::view(dicast_metrics_prometheus(get()));
    }
    std::string_view prometheus() const && = delete;
    /** All of it as JSON. */
    std::string_view json() const & noexcept DICAST_LIFETIMEBOUND { return detail::view(dicast_metrics_json(get())); }
    std::string_view json() const && = delete;
    Figures figures() const noexcept {
        auto figures = detail::sized<dicast_figures>();
        dicast_metrics_figures(get(), &figures, nullptr);
        return {std::chrono::microseconds(static_cast<std::int64_t>(figures.elapsed_us)),
                figures.judged,
                figures.failed,
                figures.pending,
                figures.prompt_tokens,
                figures.reused_tokens,
                figures.reasoning_tokens,
                figures.verdict_tokens,
                figures.reused_share,
                figures.recent_judgments,
                figures.recent_prompt_tokens,
                figures.recent_written_tokens};
    }
    /** How many judgments ended with this status; Status::ok: with a verdict. */
    std::uint64_t ended(Status status) const noexcept {
        return dicast_metrics_ended(get(), static_cast<std::int32_t>(status));
    }
    /** The upper bounds of the buckets of every histogram, in seconds and rising. */
    std::vector<double> bounds() const {
        std::size_t count = 0;
        const double *data = dicast_metrics_bounds(get(), &count);
        return count == 0 ? std::vector<double>() : std::vector<double>(data, data + count);
    }
    /** The number of judgments in each bucket, and at the end of those above all bounds. */
    std::vector<std::uint64_t> times(Phase phase) const {
        std::size_t count = 0;
        const std::uint64_t *data = dicast_metrics_times(get(), static_cast<std::uint32_t>(phase), &count);
        return count == 0 ? std::vector<std::uint64_t>() : std::vector<std::uint64_t>(data, data + count);
    }
    /** The sum of the times of a phase. */
    std::chrono::duration<double> time_sum(Phase phase) const noexcept {
        return std::chrono::duration<double>(dicast_metrics_time_sum(get(), static_cast<std::uint32_t>(phase)));
    }
    /** The time that a share `q` of the judgments, such as 0.95, did not exceed: an estimate. NaN if there were none.
     */
    std::chrono::duration<double> quantile(Phase phase, double q) const noexcept {
        return std::chrono::duration<double>(dicast_metrics_quantile(get(), static_cast<std::uint32_t>(phase), q));
    }

    /** Takes over a snapshot of dicast.h. */
    static Metrics adopt(Object *object) noexcept { return Metrics(object); }
    /** The snapshot of dicast.h, lent. */
    const Object *get() const noexcept DICAST_LIFETIMEBOUND { return object_.get(); }

private:
    explicit Metrics(Object *object) noexcept : object_(object) {}

    detail::Handle<Object, dicast_metrics_free> object_;
};

}  // namespace dicast

#endif  // DICAST_METRICS_HPP
