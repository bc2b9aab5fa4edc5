// Dicast stand-in for tests: tensors of the executor API of TensorRT-LLM. Here every tensor is in host memory; requests
// for GPU memory throw.
#pragma once

#include "tensorrt_llm/common/arrayView.h"
#include "tensorrt_llm/executor/types.h"

#include <cstdint>
#include <cuda_fp16.h>
#include <initializer_list>
#include <memory>
#include <type_traits>
#include <utility>

namespace tensorrt_llm::runtime
{
class ITensor;
class CudaStream;
} // namespace tensorrt_llm::runtime

namespace tensorrt_llm::executor
{

class Tensor;

namespace detail
{
std::shared_ptr<runtime::ITensor> const& toITensor(Tensor const& tensor);
Tensor ofITensor(std::shared_ptr<runtime::ITensor> tensor);
using DimType64 = int64_t;
} // namespace detail

class Shape : public tensorrt_llm::common::ArrayView<detail::DimType64 const>
{
public:
    using Base = tensorrt_llm::common::ArrayView<detail::DimType64 const>;
    using DimType64 = typename std::remove_cv_t<Base::value_type>;

    Shape()
        : Base{nullptr, 0}
    {
    }

    Shape(DimType64 const* data, Base::size_type size)
        : Base{data, size}
    {
    }

    Shape(std::initializer_list<DimType64> dims)
        : Base{dims.begin(), dims.size()}
    {
    }
};

class Tensor
{
public:
    using CudaStreamPtr = std::shared_ptr<runtime::CudaStream>;

    static Tensor cpu(DataType dataType, Shape shape = {});

    template <typename T>
    static Tensor cpu(Shape shape = {})
    {
        return Tensor::cpu(getRuntimeType<T>(), shape);
    }

    [[nodiscard]] Tensor copyToCpu(Tensor::CudaStreamPtr stream = nullptr) const;

    static Tensor pinned(DataType dataType, Shape shape = {});

    template <typename T>
    static Tensor pinned(Shape shape = {})
    {
        return Tensor::pinned(getRuntimeType<T>(), shape);
    }

    [[nodiscard]] Tensor copyToPinned(Tensor::CudaStreamPtr stream = nullptr) const;

    static Tensor pooledPinned(DataType dataType, Shape shape = {});

    template <typename T>
    static Tensor pooledPinned(Shape shape = {})
    {
        return Tensor::pooledPinned(getRuntimeType<T>(), shape);
    }

    [[nodiscard]] Tensor copyToPooledPinned(Tensor::CudaStreamPtr stream = nullptr) const;

    static Tensor managed(DataType dataType, Shape shape = {});

    template <typename T>
    static Tensor managed(Shape shape = {})
    {
        return Tensor::managed(getRuntimeType<T>(), shape);
    }

    [[nodiscard]] Tensor copyToManaged(Tensor::CudaStreamPtr stream = nullptr) const;

    static Tensor gpu(DataType dataType, CudaStreamPtr stream, Shape shape = {});

    template <typename T>
    static Tensor gpu(CudaStreamPtr stream, Shape shape = {})
    {
        return Tensor::gpu(getRuntimeType<T>(), std::move(stream), shape);
    }

    [[nodiscard]] Tensor copyToGpu(Tensor::CudaStreamPtr stream) const;

    static Tensor of(DataType dataType, void* data, Shape shape);

    template <typename T>
    static Tensor of(T* data, Shape shape)
    {
        return of(getRuntimeType<T>(), static_cast<void*>(data), shape);
    }

    template <typename T>
    static Tensor of(T& data)
    {
        return of(data.data(), {static_cast<Shape::DimType64>(data.size())});
    }

    Tensor() noexcept = default;
    ~Tensor() = default;
    Tensor(Tensor const& other) noexcept = default;
    Tensor(Tensor&& other) noexcept = default;
    Tensor& operator=(Tensor const& other) noexcept = default;
    Tensor& operator=(Tensor&& other) noexcept = default;

    [[nodiscard]] void* getData();
    [[nodiscard]] void const* getData() const;
    [[nodiscard]] DataType getDataType() const;
    [[nodiscard]] MemoryType getMemoryType() const;
    [[nodiscard]] Shape getShape() const;
    [[nodiscard]] std::size_t getSize() const;
    [[nodiscard]] std::size_t getSizeInBytes() const;
    void setZero(CudaStreamPtr stream = nullptr);
    void setFrom(Tensor const& other, CudaStreamPtr stream = nullptr);

    explicit operator bool() const { return static_cast<bool>(tensor_); }

    bool operator==(Tensor const& rhs) const { return tensor_ == rhs.tensor_; }

    bool operator!=(Tensor const& rhs) const { return !(rhs == *this); }

private:
    explicit Tensor(std::shared_ptr<runtime::ITensor> tensor);

    template <typename T>
    static DataType getRuntimeType()
    {
        return TypeTraits<std::remove_cv_t<T>>::value;
    }

    std::shared_ptr<runtime::ITensor> tensor_;

    friend std::shared_ptr<runtime::ITensor> const& detail::toITensor(Tensor const& tensor);
    friend Tensor detail::ofITensor(std::shared_ptr<runtime::ITensor> tensor);
};

} // namespace tensorrt_llm::executor
