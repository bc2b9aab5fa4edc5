// The interface of a TensorRT-LLM executor for Rust. It contains no type of the vendor: only trtllm_adapter.cpp
// includes the vendor's headers.
//
// Functions that can fail return a Status, and nothing throws. Strings are passed as pointer and length, never as
// std::string, so that the vendor's library may have another C++ ABI than the rest of the program.
#pragma once

#include "rust/cxx.h"

#include <cstdint>
#include <memory>

namespace dicast::trtllm {

// The bridge defines these.
struct Metrics;
struct ProbePlan;
struct Settings;
struct Statistics;
struct Status;
struct Submission;
class Receiver;

// While a request is generated, copies the logits of a few tokens at a few places of its output, and nothing else. The
// executor's thread writes it; it may be read once the request's last response has arrived.
class Probe {
public:
    struct Impl;

    explicit Probe(std::unique_ptr<Impl> impl) noexcept;
    ~Probe();

    // Appends the copied data: for each place its number in the plan, and the logits of its tokens.
    Status read(rust::Vec<std::uint32_t> &places, rust::Vec<float> &logits) const noexcept;

    std::unique_ptr<Impl> const impl;
};

// A response of the executor.
class Reply {
public:
    struct Impl;

    explicit Reply(std::unique_ptr<Impl> impl) noexcept;
    ~Reply();

    std::uint64_t request() const noexcept;
    // Whether the request is over.
    bool is_final() const noexcept;
    // Whether the executor answers with an error, and which.
    bool failed() const noexcept;
    rust::String error() const noexcept;
    // The vendor's FinishReason as a number.
    std::int32_t finish_reason() const noexcept;
    // The generated tokens, without the prompt. They live as long as the reply.
    rust::Slice<std::int32_t const> tokens() const noexcept;
    Metrics metrics() const noexcept;
    // The log probability of the first sampled token; NaN if the reply has none.
    float log_prob() const noexcept;

private:
    std::unique_ptr<Impl> const impl;
};

// An executor. Any thread may call any member, but only one thread at a time may call await_responses.
class Session {
public:
    struct Impl;

    explicit Session(std::unique_ptr<Impl> impl) noexcept;
    // Shuts down, which waits for the executor's threads.
    ~Session();

    // A probe for one request.
    std::shared_ptr<Probe> probe(ProbePlan const &plan) const noexcept;

    // Submits a request; `id` is set only on success. `probe` may be null.
    Status enqueue(Submission const &submission, std::shared_ptr<Probe> probe, std::uint64_t &id) const noexcept;

    // Waits at most `timeout_ms` for responses and hands each to `receiver`, on this thread.
    Status await_responses(std::uint32_t timeout_ms, Receiver &receiver) const noexcept;

    // Asks to end a request. Its last response still comes, as cancelled or with the reason for which it ended first.
    Status cancel(std::uint64_t id) const noexcept;

    // Adds what was computed since the last call.
    Status statistics(Statistics &statistics) const noexcept;

    // Whether this process may submit requests: false if it is a worker of another process, and once the executor has
    // stopped.
    bool accepts_requests() const noexcept;

    // Ends every request and the executor's threads; blocks until they have ended.
    Status shut_down() const noexcept;

private:
    std::unique_ptr<Impl> const impl;
};

// Opens an engine folder; null if that failed, and the status says why. Registers the plugins first, once per process.
// When it returns, the process's signal handlers are as they were before.
std::unique_ptr<Session> open_session(Settings const &settings, Status &status) noexcept;

// The release of the loaded library.
rust::String library_version() noexcept;

// Empty for the vendor's library; for a stand-in for tests, its description of itself.
rust::String library_label() noexcept;

}  // namespace dicast::trtllm
