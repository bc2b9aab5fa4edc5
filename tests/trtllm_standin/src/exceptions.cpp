#include "tensorrt_llm/common/tllmException.h"

#include <cstdlib>
#include <cxxabi.h>
#include <filesystem>
#include <memory>

DICAST_STANDIN_COMMON_BEGIN

namespace
{

std::string located(std::string const& file, std::size_t line, char const* message)
{
    return std::string{message} + " (" + std::filesystem::path{file}.filename().string() + ":" + std::to_string(line)
        + ")";
}

} // namespace

TllmException::TllmException(char const* file, std::size_t line, char const* msg)
    : std::runtime_error{located(file, line, msg)}
{
}

TllmException::~TllmException() noexcept = default;

std::string TllmException::getTrace() const
{
    return {};
}

std::string TllmException::demangle(char const* name)
{
    int status = 0;
    std::unique_ptr<char, decltype(&std::free)> readable{
        abi::__cxa_demangle(name, nullptr, nullptr, &status), &std::free};
    return readable ? std::string{readable.get()} : std::string{name};
}

RequestSpecificException::RequestSpecificException(
    std::string const& file, std::size_t line, char const* msg, uint64_t requestID, RequestErrorCode errorCode)
    : std::runtime_error{located(file, line, msg)}
    , requestId_{requestID}
    , errorCode_{errorCode}
{
}

RequestSpecificException::~RequestSpecificException() noexcept = default;

uint64_t RequestSpecificException::getRequestId() const noexcept
{
    return requestId_;
}

RequestErrorCode RequestSpecificException::getErrorCode() const noexcept
{
    return errorCode_;
}

DICAST_STANDIN_COMMON_END
