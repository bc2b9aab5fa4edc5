// Dicast stand-in for tests: the release whose signatures these headers have.
#pragma once

namespace tensorrt_llm::executor
{
static auto constexpr kTensorRtLlmVersion = "1.2.1";
}
