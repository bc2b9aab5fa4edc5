// Shared by the two halves of the adapter. No type of the vendor is complete here.
#pragma once

#include "trtllm_adapter.h"

#include "dicast/src/engine/trtllm/bridge.rs.h"

#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

namespace tensorrt_llm::executor {
class Response;
class Tensor;
}  // namespace tensorrt_llm::executor

namespace tensorrt_llm::runtime {
class CudaStream;
}  // namespace tensorrt_llm::runtime

namespace dicast::trtllm {

// Calls `call(work)`. The only place that turns exceptions, of any type, into a Status.
Status guarded(void (*call)(void *), void *work) noexcept;

template <typename Work>
Status guard(Work &&work) noexcept {
    return guarded([](void *erased) { (*static_cast<std::remove_reference_t<Work> *>(erased))(); }, &work);
}

template <typename Target, typename Source>
std::vector<Target> vector_of(Source const &source) {
    return std::vector<Target>(source.begin(), source.end());
}

// How many bytes each token writes.
using TokenLengths = std::shared_ptr<std::vector<std::uint16_t> const>;

std::shared_ptr<Probe> make_probe(ProbePlan const &plan, TokenLengths lengths);

// Receives the logits of the next token after `beams`, on the executor's thread: copies what the probe needs.
void observe(Probe const &probe, tensorrt_llm::executor::Tensor &logits,
             std::vector<std::vector<std::int32_t>> const &beams,
             std::shared_ptr<tensorrt_llm::runtime::CudaStream> const &stream) noexcept;

std::unique_ptr<Reply> make_reply(tensorrt_llm::executor::Response &&response);

}  // namespace dicast::trtllm
