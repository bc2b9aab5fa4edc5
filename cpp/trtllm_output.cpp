#include "trtllm_internal.h"

#include "tensorrt_llm/executor/executor.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <limits>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>

namespace dicast::trtllm {

namespace tle = tensorrt_llm::executor;
using Clock = std::chrono::steady_clock;

namespace {

std::size_t element_bytes(tle::DataType type) {
    switch (type) {
        case tle::DataType::kFP32:
            return 4;
        case tle::DataType::kFP16:
        case tle::DataType::kBF16:
            return 2;
        default:
            throw std::runtime_error("the engine's logits are of a type that cannot be read");
    }
}

float from_bits(std::uint32_t bits) {
    float value = 0;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

float half_to_float(std::uint16_t half) {
    std::uint32_t const sign = (half & 0x8000U) << 16;
    std::uint32_t const exponent = (half >> 10) & 0x1FU;
    std::uint32_t const fraction = half & 0x3FFU;
    if (exponent == 0) {
        float const magnitude = static_cast<float>(fraction) / 16777216.0F;  // 2^-24 each
        return sign != 0 ? -magnitude : magnitude;
    }
    std::uint32_t const widened = exponent == 0x1FU ? 0xFFU : exponent + 112;
    return from_bits(sign | widened << 23 | fraction << 13);
}

float logit_at(void const *data, std::size_t index, tle::DataType type) {
    if (type == tle::DataType::kFP32) {
        return static_cast<float const *>(data)[index];
    }
    auto const bits = static_cast<std::uint16_t const *>(data)[index];
    return type == tle::DataType::kBF16 ? from_bits(static_cast<std::uint32_t>(bits) << 16) : half_to_float(bits);
}

std::uint64_t microseconds(Clock::time_point from, Clock::time_point to) {
    return to > from ? std::chrono::duration_cast<std::chrono::microseconds>(to - from).count() : 0;
}

// Follows an output token by token: whether the answer has begun, and how long it is.
struct Walk {
    bool in_answer = false;
    std::uint32_t answer_bytes = 0;
};

}  // namespace

struct Probe::Impl {
    Impl(ProbePlan const &plan, TokenLengths lengths)
        : prompt_tokens{plan.prompt_tokens},
          after{plan.after},
          at{vector_of<std::uint32_t>(plan.at)},
          ends{vector_of<std::uint32_t>(plan.ends)},
          tokens{vector_of<std::int32_t>(plan.tokens)},
          lengths{std::move(lengths)},
          walk{plan.after < 0, 0} {}

    void step(Walk &state, std::int32_t token) const {
        if (state.in_answer) {
            auto const index = static_cast<std::size_t>(token);
            state.answer_bytes += index < lengths->size() ? (*lengths)[index] : 0;
        } else {
            state.in_answer = token == after;
        }
    }

    // The place that an output has reached, if it is one.
    std::optional<std::size_t> place(Walk const &state) const {
        auto const found = std::lower_bound(at.begin(), at.end(), state.answer_bytes);
        if (!state.in_answer || found == at.end() || *found != state.answer_bytes) {
            return std::nullopt;
        }
        return static_cast<std::size_t>(found - at.begin());
    }

    std::pair<std::size_t, std::size_t> range(std::size_t place) const {
        return {place == 0 ? 0 : ends[place - 1], ends[place]};
    }

    // Copies the logits of the tokens of a place: asynchronously if they are on a GPU, with one copy for each run of
    // neighbouring tokens.
    void capture(std::size_t place, tle::Tensor &logits, tle::StreamPtr const &stream) {
        auto const type = logits.getDataType();
        auto const width = element_bytes(type);
        auto *const base = static_cast<char *>(logits.getData());
        auto const vocabulary = logits.getSize();
        Captured captured{static_cast<std::uint32_t>(place), {}};
        auto const [first, last] = range(place);
        for (auto index = first; index < last;) {
            auto run = index + 1;
            while (run < last && tokens[run] == tokens[run - 1] + 1) {
                ++run;
            }
            auto const start = static_cast<std::size_t>(tokens[index]);
            if (start + (run - index) > vocabulary) {
                throw std::runtime_error("a score's token lies past the engine's vocabulary");
            }
            auto const count = static_cast<tle::Shape::DimType64>(run - index);
            auto const slice = tle::Tensor::of(type, base + start * width, {count});
            captured.runs.push_back(slice.copyToPooledPinned(stream));
            index = run;
        }
        // A step that the executor computed twice, because it paused the request, counts once.
        if (!captures.empty() && captures.back().place == captured.place) {
            captures.back() = std::move(captured);
        } else {
            captures.push_back(std::move(captured));
        }
    }

    void on_logits(tle::Tensor &logits, tle::BeamTokens const &beams, tle::StreamPtr const &stream) {
        std::lock_guard<std::mutex> const lock{mutex};
        auto const &all = beams.at(0);
        for (; seen + prompt_tokens < all.size(); ++seen) {
            step(walk, all[seen + prompt_tokens]);
        }
        if (auto const here = place(walk)) {
            capture(*here, logits, stream);
        }
    }

    struct Captured {
        std::uint32_t place;
        std::vector<tle::Tensor> runs;
    };

    std::size_t const prompt_tokens;
    std::int32_t const after;
    std::vector<std::uint32_t> const at;
    std::vector<std::uint32_t> const ends;
    std::vector<std::int32_t> const tokens;
    TokenLengths const lengths;

    mutable std::mutex mutex;
    std::size_t seen = 0;
    Walk walk;
    std::vector<Captured> captures;
    std::exception_ptr failed;
};

Probe::Probe(std::unique_ptr<Impl> impl) noexcept : impl{std::move(impl)} {}

Probe::~Probe() = default;

std::shared_ptr<Probe> make_probe(ProbePlan const &plan, TokenLengths lengths) {
    return std::make_shared<Probe>(std::make_unique<Probe::Impl>(plan, std::move(lengths)));
}

void observe(Probe const &probe, tle::Tensor &logits, tle::BeamTokens const &beams,
             tle::StreamPtr const &stream) noexcept {
    // An exception here would fail every request of the batch: it is kept for the reader of this probe.
    try {
        probe.impl->on_logits(logits, beams, stream);
    } catch (...) {
        std::lock_guard<std::mutex> const lock{probe.impl->mutex};
        probe.impl->failed = std::current_exception();
    }
}

Status Probe::read(rust::Vec<std::uint32_t> &places, rust::Vec<float> &logits) const noexcept {
    return guard([&] {
        std::lock_guard<std::mutex> const lock{impl->mutex};
        if (impl->failed) {
            std::rethrow_exception(impl->failed);
        }
        for (auto const &captured : impl->captures) {
            places.push_back(captured.place);
            for (auto const &run : captured.runs) {
                for (std::size_t index = 0; index < run.getSize(); ++index) {
                    logits.push_back(logit_at(run.getData(), index, run.getDataType()));
                }
            }
        }
    });
}

struct Reply::Impl {
    explicit Impl(tle::Response &&moved)
        : response{std::move(moved)},
          request{response.getRequestId()},
          failed{response.hasError()},
          result{failed ? nullptr : &response.getResult()} {
        if (result != nullptr && !result->outputTokenIds.empty()) {
            tokens = &result->outputTokenIds.front();
        }
    }

    tle::Response response;
    std::uint64_t request;
    bool failed;
    // Both point into the response.
    tle::Result const *result;
    tle::VecTokens const *tokens = nullptr;
};

Reply::Reply(std::unique_ptr<Impl> impl) noexcept : impl{std::move(impl)} {}

Reply::~Reply() = default;

std::unique_ptr<Reply> make_reply(tle::Response &&response) {
    return std::make_unique<Reply>(std::make_unique<Reply::Impl>(std::move(response)));
}

std::uint64_t Reply::request() const noexcept { return impl->request; }

bool Reply::is_final() const noexcept { return impl->failed || impl->result->isFinal; }

bool Reply::failed() const noexcept { return impl->failed; }

rust::String Reply::error() const noexcept {
    rust::String message;
    auto const status = guard([&] {
        auto const &error = impl->response.getErrorMsg();
        message = rust::String::lossy(error.data(), error.size());
    });
    return status.code == Code::Ok ? message : status.message;
}

std::int32_t Reply::finish_reason() const noexcept {
    auto const *const result = impl->result;
    auto const reason = result != nullptr && !result->finishReasons.empty() ? result->finishReasons.front()
                                                                            : tle::FinishReason::kNOT_FINISHED;
    return static_cast<std::int32_t>(reason);
}

rust::Slice<std::int32_t const> Reply::tokens() const noexcept {
    if (impl->tokens == nullptr) {
        return {};
    }
    return {impl->tokens->data(), impl->tokens->size()};
}

Metrics Reply::metrics() const noexcept {
    Metrics metrics{};
    if (impl->result != nullptr && impl->result->requestPerfMetrics) {
        auto const &times = impl->result->requestPerfMetrics->timingMetrics;
        metrics.known = true;
        // Not since `arrivalTime`, which is when the request left the executor's queue.
        metrics.scheduled_ago_us = microseconds(times.firstScheduledTime, Clock::now());
        metrics.prefill_us = microseconds(times.firstScheduledTime, times.firstTokenTime);
        metrics.decode_us = microseconds(times.firstTokenTime, times.lastTokenTime);
        auto const reused = impl->result->requestPerfMetrics->kvCacheMetrics.numReusedBlocks;
        metrics.reused_blocks = static_cast<std::uint32_t>(std::max(reused, 0));
    }
    return metrics;
}

float Reply::log_prob() const noexcept {
    auto const *const result = impl->result;
    bool const has =
        result != nullptr && result->logProbs && !result->logProbs->empty() && !result->logProbs->front().empty();
    return has ? result->logProbs->front().front() : std::numeric_limits<float>::quiet_NaN();
}

}  // namespace dicast::trtllm
