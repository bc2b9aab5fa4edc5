#include "tensor_data.h"

#include "check.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

namespace tensorrt_llm::runtime
{

std::size_t ITensor::elementSize() const
{
    switch (type)
    {
    case executor::DataType::kINT64: return 8;
    case executor::DataType::kINT32:
    case executor::DataType::kFP32: return 4;
    case executor::DataType::kBF16:
    case executor::DataType::kFP16: return 2;
    default: return 1;
    }
}

std::size_t ITensor::elements() const
{
    return static_cast<std::size_t>(
        std::accumulate(dims.begin(), dims.end(), std::int64_t{1}, std::multiplies<std::int64_t>{}));
}

} // namespace tensorrt_llm::runtime

namespace tensorrt_llm::executor
{

namespace
{

std::shared_ptr<runtime::ITensor> allocate(DataType type, Shape shape, MemoryType memory)
{
    auto tensor = std::make_shared<runtime::ITensor>();
    tensor->type = type;
    tensor->memory = memory;
    tensor->dims.assign(shape.begin(), shape.end());
    // Zeroed pages cost nothing until they are written, so logits for every possible token can be offered.
    tensor->owned.reset(std::calloc(std::max<std::size_t>(tensor->elements(), 1), tensor->elementSize()));
    STANDIN_CHECK(tensor->owned, "out of memory for a tensor");
    tensor->data = tensor->owned.get();
    return tensor;
}

Tensor copyTo(Tensor const& from, Tensor to)
{
    to.setFrom(from);
    return to;
}

} // namespace

namespace detail
{

std::shared_ptr<runtime::ITensor> const& toITensor(Tensor const& tensor) { return tensor.tensor_; }

Tensor ofITensor(std::shared_ptr<runtime::ITensor> tensor) { return Tensor{std::move(tensor)}; }

} // namespace detail

Tensor::Tensor(std::shared_ptr<runtime::ITensor> tensor)
    : tensor_{std::move(tensor)}
{
}

Tensor Tensor::cpu(DataType dataType, Shape shape) { return Tensor{allocate(dataType, shape, MemoryType::kCPU)}; }

Tensor Tensor::pinned(DataType dataType, Shape shape)
{
    return Tensor{allocate(dataType, shape, MemoryType::kCPU_PINNED)};
}

Tensor Tensor::of(DataType dataType, void* data, Shape shape)
{
    auto tensor = std::make_shared<runtime::ITensor>();
    tensor->type = dataType;
    tensor->memory = MemoryType::kCPU;
    tensor->dims.assign(shape.begin(), shape.end());
    tensor->data = data;
    return Tensor{std::move(tensor)};
}

Tensor Tensor::pooledPinned(DataType dataType, Shape shape)
{
    return Tensor{allocate(dataType, shape, MemoryType::kCPU_PINNEDPOOL)};
}

Tensor Tensor::managed(DataType dataType, Shape shape) { return Tensor{allocate(dataType, shape, MemoryType::kUVM)}; }

Tensor Tensor::gpu(DataType, CudaStreamPtr, Shape) { STANDIN_FAIL("the stand-in has no GPU"); }

Tensor Tensor::copyToCpu(CudaStreamPtr) const { return copyTo(*this, Tensor::cpu(getDataType(), getShape())); }
Tensor Tensor::copyToPinned(CudaStreamPtr) const { return copyTo(*this, Tensor::pinned(getDataType(), getShape())); }

Tensor Tensor::copyToPooledPinned(CudaStreamPtr) const
{
    return copyTo(*this, Tensor::pooledPinned(getDataType(), getShape()));
}

Tensor Tensor::copyToManaged(CudaStreamPtr) const { return copyTo(*this, Tensor::managed(getDataType(), getShape())); }
Tensor Tensor::copyToGpu(CudaStreamPtr stream) const { return Tensor::gpu(getDataType(), stream, getShape()); }

void* Tensor::getData() { return tensor_ ? tensor_->data : nullptr; }
void const* Tensor::getData() const { return tensor_ ? tensor_->data : nullptr; }
DataType Tensor::getDataType() const { return tensor_ ? tensor_->type : DataType::kUNKNOWN; }
MemoryType Tensor::getMemoryType() const { return tensor_ ? tensor_->memory : MemoryType::kUNKNOWN; }
Shape Tensor::getShape() const { return tensor_ ? Shape{tensor_->dims.data(), tensor_->dims.size()} : Shape{}; }
std::size_t Tensor::getSize() const { return tensor_ ? tensor_->elements() : 0; }
std::size_t Tensor::getSizeInBytes() const { return tensor_ ? tensor_->elements() * tensor_->elementSize() : 0; }

void Tensor::setZero(CudaStreamPtr)
{
    STANDIN_CHECK(tensor_, "an empty tensor");
    std::memset(tensor_->data, 0, getSizeInBytes());
}

void Tensor::setFrom(Tensor const& other, CudaStreamPtr)
{
    STANDIN_CHECK(tensor_ && other.tensor_ && getDataType() == other.getDataType()
            && getSizeInBytes() == other.getSizeInBytes(),
        "tensors of different type or size");
    std::memcpy(tensor_->data, other.getData(), getSizeInBytes());
    tensor_->dims = other.tensor_->dims;
}

} // namespace tensorrt_llm::executor
