// Dicast stand-in for tests: a view of a run of values, as tensor shapes use it.
#pragma once

#include "tensorrt_llm/standin_release.h"

#include <cstddef>

DICAST_STANDIN_COMMON_BEGIN

template <typename T>
class ArrayView
{
public:
    using value_type = T;
    using size_type = std::size_t;
    using const_reference = value_type const&;
    using const_iterator = value_type const*;
    using iterator = value_type*;

    ArrayView(T* data, size_type size)
        : data_{data}
        , size_{size}
    {
    }

    [[nodiscard]] iterator begin() { return data_; }
    [[nodiscard]] iterator end() { return data_ + size_; }
    [[nodiscard]] const_iterator begin() const { return data_; }
    [[nodiscard]] const_iterator end() const { return data_ + size_; }
    [[nodiscard]] size_type size() const { return size_; }
    [[nodiscard]] T& operator[](size_type index) { return data_[index]; }
    [[nodiscard]] const_reference operator[](size_type index) const { return data_[index]; }

private:
    T* data_;
    size_type size_;
};

DICAST_STANDIN_COMMON_END
