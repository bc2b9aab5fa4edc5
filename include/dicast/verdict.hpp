/* The result of a judgment. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_VERDICT_HPP
#define DICAST_VERDICT_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>
#include <vector>

#include "status.hpp"

namespace dicast {

/** The probability of each score of the scale, the worst first. A view into a Verdict: as cheap as a pointer. */
class Distribution {
public:
    Distribution(const double *data DICAST_LIFETIMEBOUND, std::size_t size) noexcept : data_(data), size_(size) {}

    const double *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    const double *begin() const noexcept { return data_; }
    const double *end() const noexcept { return data_ + size_; }
    /** Not checked. */
    double operator[](std::size_t index) const noexcept { return data_[index]; }

private:
    const double *data_;
    std::size_t size_;
};

/** The result for one response. Its texts and its distribution live as long as the verdict. */
struct Scored {
    /** Its place in the request, from 0. */
    std::size_t index;
    /** Your name for it. */
    std::string_view name;
    /** The name under which the judge saw it. */
    std::string_view alias;
    /** The score as the judge wrote it, on the scale. */
    double score;
    /** The mean of the distribution; NaN if the engine returned none. */
    double expected;
    /** Empty if the engine returned none. */
    Distribution distribution;
    /** The place in the ranking; 0 is the best. */
    std::size_t rank;
};

/** Something that a verdict notes about itself: a repair or a flag, and what it quotes. Lives as long as the verdict.
 */
struct Note {
    /** Such as `extra_comma` or `ties`. New ones may appear in any release. */
    std::string_view name;
    /** Such as the name as the judge wrote it; empty if it quotes nothing. */
    std::string_view detail;
};

/** Tokens of one judgment; all 0 for a verdict from parse. */
struct Usage {
    std::uint64_t prompt_tokens;
    /** Of the prompt's tokens, those that were reused from earlier judgments. */
    std::uint64_t reused_tokens;
    std::uint64_t reasoning_tokens;
    std::uint64_t verdict_tokens;
    /** Of the verdict's tokens, those that the grammar forced. */
    std::uint64_t forced_tokens;
};

/** The time that each stage of one judgment took; all 0 for a verdict from parse. */
struct Timing {
    /** From submission to the first computation. */
    std::chrono::microseconds queue;
    /** Computing the prompt. */
    std::chrono::microseconds prefill;
    std::chrono::microseconds reasoning;
    std::chrono::microseconds verdict;
};

/**
 * A complete verdict: every response has a score on the scale and a place in the ranking.
 *
 * Responses are counted from 0 in the order of the request, places from 0, the best. A getter takes well under a
 * microsecond and allocates nothing, unless it returns a vector. A verdict never changes: any number of threads may
 * read it.
 *
 * Texts, notes and distributions point into the verdict. Functions that return them cannot be called on a temporary:
 * give the verdict a name first. `for (const auto &scored : judge.judge(request))` is fine.
 */
class Verdict {
public:
    using Object = dicast_verdict;

    /** Number of responses. */
    std::size_t size() const noexcept { return dicast_verdict_count(get()); }
    /** Your name of the response at `index`; empty out of range. */
    std::string_view name(std::size_t index) const & noexcept DICAST_LIFETIMEBOUND {
        return detail::view(dicast_verdict_name(get(), index));
    }
    std::string_view name(std::size_t index) const && = delete;
    /** The name under which the judge saw it, such as `model-2`; empty out of range. */
    std::string_view alias(std::size_t index) const & noexcept DICAST_LIFETIMEBOUND {
        return detail::view(dicast_verdict_alias(get(), index));
    }
    std::string_view alias(std::size_t index) const && = delete;
    /** The index of the response called `name`, or `none`. */
    std::size_t find(std::string_view name) const noexcept { return dicast_verdict_find(get(), detail::str(name)); }

    /** The score as the judge wrote it; NaN if there is no such response. */
    double score(std::size_t index) const noexcept { return dicast_verdict_score(get(), index); }
    double score(std::string_view name) const noexcept { return dicast_verdict_score_of(get(), detail::str(name)); }
    /**
     * The expected score: the mean of the distribution of the score, a finer reward than the written digit. NaN if
     * there is no such response, and if the engine returned no distribution.
     */
    double expected(std::size_t index) const noexcept { return dicast_verdict_expected(get(), index); }
    double expected(std::string_view name) const noexcept {
        return dicast_verdict_expected_of(get(), detail::str(name));
    }
    /** Empty out of range, and if the engine returned none. */
    Distribution distribution(std::size_t index) const & noexcept DICAST_LIFETIMEBOUND {
        std::size_t count = 0;
        const double *data = dicast_verdict_distribution(get(), index, &count);
        return {data, count};
    }
    Distribution distribution(std::size_t index) const && = delete;
    /**
     * How likely the judge would have written a score of the scale there if no grammar had held it to one. NaN out of
     * range, and if the engine does not see all tokens; the embedded engine does.
     */
    double scale_mass(std::size_t index) const noexcept { return dicast_verdict_scale_mass(get(), index); }
    /** The worst score of the scale, such as 1. */
    std::uint32_t scale_min() const noexcept { return dicast_verdict_scale_min(get()); }
    /** The best score of the scale, such as 5. */
    std::uint32_t scale_max() const noexcept { return dicast_verdict_scale_max(get()); }

    /** The place of a response; 0 is the best. `none` if there is no such response. */
    std::size_t rank(std::size_t index) const noexcept { return dicast_verdict_rank(get(), index); }
    std::size_t rank(std::string_view name) const noexcept { return dicast_verdict_rank_of(get(), detail::str(name)); }
    /** The index of the response at `place`; `none` out of range. */
    std::size_t ranked(std::size_t place) const noexcept { return dicast_verdict_ranked(get(), place); }
    /** All names, the best first. */
    std::vector<std::string_view> ranking() const &DICAST_LIFETIMEBOUND {
        std::vector<std::string_view> names(size());
        for (std::size_t place = 0; place < names.size(); ++place) {
            names[place] = name(ranked(place));
        }
        return names;
    }
    std::vector<std::string_view> ranking() const && = delete;

    /** Number of criteria that were judged separately (a rubric); 0 for a verdict by one principle. */
    std::size_t criterion_count() const noexcept { return dicast_verdict_criterion_count(get()); }
    /** The name of a criterion, in the order of the rubric; empty out of range. */
    std::string_view criterion_name(std::size_t criterion) const & noexcept DICAST_LIFETIMEBOUND {
        return detail::view(dicast_verdict_criterion_name(get(), criterion));
    }
    std::string_view criterion_name(std::size_t criterion) const && = delete;
    /** The weight of a criterion; NaN out of range. */
    double criterion_weight(std::size_t criterion) const noexcept {
        return dicast_verdict_criterion_weight(get(), criterion);
    }
    /** What a criterion gave a response, from 0 to 1; NaN out of range. */
    double criterion_value(std::size_t criterion, std::size_t index) const noexcept {
        return dicast_verdict_criterion_value(get(), criterion, index);
    }
    /**
     * By the calibration of the judge's profile, the probability that the response is better than another one, on
     * average over all others. NaN out of range, and without a calibration.
     */
    double win(std::size_t index) const noexcept { return dicast_verdict_win(get(), index); }
    /** The probability that `first` is better than `second`; NaN if that is not known. */
    double win_over(std::size_t first, std::size_t second) const noexcept {
        return dicast_verdict_win_over(get(), first, second);
    }
    /** Whether the calibrated judge finds the two too close to call; nothing if that is not known. */
    std::optional<bool> abstains(std::size_t first, std::size_t second) const noexcept {
        const auto answer = dicast_verdict_abstains(get(), first, second);
        return answer < 0 ? std::nullopt : std::optional<bool>(answer == 1);
    }

    /** Everything about the response at `index`; out of range every field says "none". */
    Scored operator[](std::size_t index) const & noexcept DICAST_LIFETIMEBOUND {
        return {index, name(index), alias(index), score(index), expected(index), distribution(index), rank(index)};
    }
    Scored operator[](std::size_t index) const && = delete;

    /** Walks through the responses in the order of the request. */
    class Iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = Scored;
        using difference_type = std::ptrdiff_t;
        using pointer = void;
        using reference = Scored;

        /** An iterator over nothing, which can only be compared and assigned to. */
        Iterator() noexcept = default;
        Iterator(const Verdict *verdict, std::size_t index) noexcept : verdict_(verdict), index_(index) {}
        Scored operator*() const noexcept { return (*verdict_)[index_]; }
        Iterator &operator++() noexcept {
            ++index_;
            return *this;
        }
        Iterator operator++(int) noexcept {
            Iterator before = *this;
            ++index_;
            return before;
        }
        bool operator==(const Iterator &other) const noexcept { return index_ == other.index_; }
        bool operator!=(const Iterator &other) const noexcept { return index_ != other.index_; }

    private:
        const Verdict *verdict_ = nullptr;
        std::size_t index_ = 0;
    };
    Iterator begin() const & noexcept DICAST_LIFETIMEBOUND { return {this, 0}; }
    Iterator begin() const && = delete;
    Iterator end() const & noexcept DICAST_LIFETIMEBOUND { return {this, size()}; }
    Iterator end() const && = delete;

    /** Which weights judged: 0 is the set that the judge was opened with, and each Judge::reload adds one. */
    std::uint64_t weights() const noexcept { return dicast_verdict_weights(get()); }
    /** The reasoning of the judge, without its tags; empty if there is none. */
    std::string_view reasoning() const & noexcept DICAST_LIFETIMEBOUND {
        return detail::view(dicast_verdict_reasoning(get()));
    }
    std::string_view reasoning() const && = delete;
    /** The whole output of the judge, unchanged. */
    std::string_view raw() const & noexcept DICAST_LIFETIMEBOUND { return detail::view(dicast_verdict_raw(get())); }
    std::string_view raw() const && = delete;
    /** The whole verdict as JSON; made on the first call. */
    std::string_view json() const & noexcept DICAST_LIFETIMEBOUND { return detail::view(dicast_verdict_json(get())); }
    std::string_view json() const && = delete;
    /** The repairs that were needed to read the verdict. */
    std::vector<Note> repairs() const &DICAST_LIFETIMEBOUND {
        return notes(dicast_verdict_repair_count, dicast_verdict_repair, dicast_verdict_repair_detail);
    }
    std::vector<Note> repairs() const && = delete;
    /** Remarks on a valid verdict, such as `inconsistent_ranking` or `ties`. */
    std::vector<Note> flags() const &DICAST_LIFETIMEBOUND {
        return notes(dicast_verdict_flag_count, dicast_verdict_flag, dicast_verdict_flag_detail);
    }
    std::vector<Note> flags() const && = delete;
    Usage usage() const noexcept {
        auto usage = detail::sized<dicast_usage>();
        dicast_verdict_usage(get(), &usage, nullptr);
        return {usage.prompt_tokens, usage.reused_tokens, usage.reasoning_tokens, usage.verdict_tokens,
                usage.forced_tokens};
    }
    Timing timing() const noexcept {
        const auto time = [](std::uint64_t us) { return std::chrono::microseconds(static_cast<std::int64_t>(us)); };
        auto timing = detail::sized<dicast_timing>();
        dicast_verdict_timing(get(), &timing, nullptr);
        return {time(timing.queue_us), time(timing.prefill_us), time(timing.reasoning_us), time(timing.verdict_us)};
    }

    /** Takes over a verdict of dicast.h. */
    static Verdict adopt(Object *object) noexcept { return Verdict(object); }
    /** The verdict of dicast.h, lent. */
    const Object *get() const noexcept DICAST_LIFETIMEBOUND { return object_.get(); }

private:
    explicit Verdict(Object *object) noexcept : object_(object) {}

    template <class Count, class Name, class Detail>
    std::vector<Note> notes(Count count, Name name_of, Detail detail_of) const {
        std::vector<Note> notes(count(get()));
        for (std::size_t index = 0; index < notes.size(); ++index) {
            notes[index] = {detail::view(name_of(get(), index)), detail::view(detail_of(get(), index))};
        }
        return notes;
    }

    detail::Handle<Object, dicast_verdict_free> object_;
};

}  // namespace dicast

#endif  // DICAST_VERDICT_HPP
