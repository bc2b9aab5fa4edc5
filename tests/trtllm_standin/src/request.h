// The contents of a request and of a response.
#pragma once

#include "tensorrt_llm/executor/executor.h"

namespace tensorrt_llm::executor
{

class Request::Impl
{
public:
    VecTokens tokens;
    SizeType32 maxTokens{0};
    bool streaming{false};
    SamplingConfig sampling;
    OutputConfig output;
    std::optional<SizeType32> endId;
    std::optional<SizeType32> padId;
    std::optional<std::list<VecTokens>> badWords;
    std::optional<std::list<VecTokens>> stopWords;
    std::optional<KvCacheRetentionConfig> retention;
    std::optional<std::string> postProcessorName;
    std::optional<LogitsPostProcessor> postProcessor;
    std::optional<IdType> clientId;
    bool returnAllGeneratedTokens{false};
    PriorityType priority{Request::kDefaultPriority};
    std::optional<GuidedDecodingParams> guide;
    std::optional<MillisecondsType> allottedTime;
    std::optional<CacheSaltIDType> cacheSalt;
};

class Response::Impl
{
public:
    IdType requestId{0};
    std::optional<IdType> clientId;
    std::optional<std::string> error;
    std::optional<Result> result;
};

} // namespace tensorrt_llm::executor
