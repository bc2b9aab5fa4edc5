// One way to throw the release's exception type.
#pragma once

#include "tensorrt_llm/common/tllmException.h"

#include <string>

namespace dicast::standin
{

[[noreturn]] inline void fail(char const* file, int line, std::string const& message)
{
    throw tensorrt_llm::common::TllmException(file, static_cast<std::size_t>(line), message.c_str());
}

} // namespace dicast::standin

#define STANDIN_FAIL(message) ::dicast::standin::fail(__FILE__, __LINE__, (message))
#define STANDIN_CHECK(condition, message)                                                                              \
    do                                                                                                                 \
    {                                                                                                                  \
        if (!(condition))                                                                                              \
        {                                                                                                              \
            STANDIN_FAIL(message);                                                                                     \
        }                                                                                                              \
    } while (false)
