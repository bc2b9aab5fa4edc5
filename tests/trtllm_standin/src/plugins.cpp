// The plugin library: loading it is not enough, it must be initialised.
#include "process.h"
#include "tensorrt_llm/plugins/api/tllmPlugin.h"

#include <cstring>

namespace tensorrt_llm::plugins::api
{

nvinfer1::ILogger* LoggerManager::defaultLogger() noexcept { return nullptr; }

} // namespace tensorrt_llm::plugins::api

extern "C" bool initTrtLlmPlugins(void*, char const* libNamespace)
{
    if (libNamespace == nullptr || std::strcmp(libNamespace, tensorrt_llm::plugins::api::kDefaultNamespace) != 0)
    {
        return false;
    }
    dicast_trtllm_standin_plugins_ready();
    return true;
}
