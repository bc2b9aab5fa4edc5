// The data of a Tensor: host memory, owned or borrowed.
#pragma once

#include "tensorrt_llm/executor/tensor.h"

#include <cstdlib>
#include <memory>
#include <vector>

namespace tensorrt_llm::runtime
{

class ITensor
{
public:
    executor::DataType type{executor::DataType::kUNKNOWN};
    executor::MemoryType memory{executor::MemoryType::kUNKNOWN};
    std::vector<std::int64_t> dims;
    void* data{nullptr};
    std::unique_ptr<void, decltype(&std::free)> owned{nullptr, &std::free};

    [[nodiscard]] std::size_t elementSize() const;
    [[nodiscard]] std::size_t elements() const;
};

} // namespace tensorrt_llm::runtime
