// Dicast stand-in for tests: exception types with the public signatures of TensorRT-LLM.
#pragma once

#include "tensorrt_llm/standin_release.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

DICAST_STANDIN_COMMON_BEGIN

enum class RequestErrorCode : uint32_t
{
    kUNKNOWN_ERROR = 0,
    kNETWORK_ERROR = 1000,
};

static constexpr uint64_t kUNKNOWN_REQUEST_ID = std::numeric_limits<uint64_t>::max();

class TllmException : public std::runtime_error
{
public:
    static auto constexpr MAX_FRAMES = 128;

    explicit TllmException(char const* file, std::size_t line, char const* msg);
    ~TllmException() noexcept override;

    [[nodiscard]] std::string getTrace() const;
    static std::string demangle(char const* name);
};

class RequestSpecificException : public std::runtime_error
{
public:
    explicit RequestSpecificException(
        std::string const& file, std::size_t line, char const* msg, uint64_t requestID, RequestErrorCode errorCode);
    ~RequestSpecificException() noexcept override;

    [[nodiscard]] uint64_t getRequestId() const noexcept;
    [[nodiscard]] RequestErrorCode getErrorCode() const noexcept;

private:
    uint64_t requestId_;
    RequestErrorCode errorCode_;
};

DICAST_STANDIN_COMMON_END
