// What Rust sees of a TensorRT-LLM executor. No type of the vendor's appears here: its headers are included by
// trtllm_adapter.cpp alone.
//
// What can fail gives a Status, and nothing throws. Strings cross as pointer and length, never as std::string, so that
// the C++ ABI of the vendor's library need not be the one that the rest of the program was built with.
#pragma once

#include "rust/cxx.h"

#include <cstdint>
#include <memory>

namespace dicast::trtllm {

// Defined by the bridge.
struct Metrics;
struct ProbePlan;
struct Settings;
struct Statistics;
struct Status;
struct Submission;
class Receiver;

// Copies, while a request is generated, the logits of a few tokens at a few places of its output, and nothing else. The
// executor's thread writes it; it may be read from the request's last response on.
class Probe {
public:
    struct Impl;

    explicit Probe(std::unique_ptr<Impl> impl) noexcept;
    ~Probe();

    // Appends what was copied: for each place its number in the plan, and the logits of its tokens.
    Status read(rust::Vec<std::uint32_t> &places, rust::Vec<float> &logits) const noexcept;

    std::unique_ptr<Impl> const impl;
};

// A response of the executor's.
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
    // What was generated, without the prompt. Lives as long as the reply.
    rust::Slice<std::int32_t const> tokens() const noexcept;
    Metrics metrics() const noexcept;
    // The log probability of the first token that was sampled; NaN where the reply has none.
    float log_prob() const noexcept;

private:
    std::unique_ptr<Impl> const impl;
};

// An executor. Any thread may call any member; only one at a time may call await_responses.
class Session {
public:
    struct Impl;

    explicit Session(std::unique_ptr<Impl> impl) noexcept;
    // Shuts down, which waits for the executor's threads.
    ~Session();

    // A probe for one request.
    std::shared_ptr<Probe> probe(ProbePlan const &plan) const noexcept;

    // Submits a request; `id` is set on success alone. `probe` may be null.
    Status enqueue(Submission const &submission, std::shared_ptr<Probe> probe, std::uint64_t &id) const noexcept;

    // Waits at most `timeout_ms` for responses and hands each to `receiver`, on this thread.
    Status await_responses(std::uint32_t timeout_ms, Receiver &receiver) const noexcept;

    // Asks for the end of a request. Its last response still comes, as cancelled or as whatever it ended with first.
    Status cancel(std::uint64_t id) const noexcept;

    // Adds what was computed since the last call.
    Status statistics(Statistics &statistics) const noexcept;

    // Whether this process may submit requests: false where it is a worker of another one, and once the executor has
    // stopped.
    bool accepts_requests() const noexcept;

    // Ends every request and the executor's threads; blocks until they have ended.
    Status shut_down() const noexcept;

private:
    std::unique_ptr<Impl> const impl;
};

// Opens an engine folder; null where the status says why not. Registers the plugins first, once in a process. The
// process's signal handlers are as they were when it returns.
std::unique_ptr<Session> open_session(Settings const &settings, Status &status) noexcept;

// The release of the library that is loaded.
rust::String library_version() noexcept;

// Empty for the vendor's library; what it says of itself where it is a stand-in for tests.
rust::String library_label() noexcept;

}  // namespace dicast::trtllm
