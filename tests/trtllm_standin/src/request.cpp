#include "request.h"

#include "check.h"

#include <utility>

namespace tensorrt_llm::executor
{

Request::Request(VecTokens inputTokenIds, SizeType32 maxTokens, bool streaming, SamplingConfig const& samplingConfig,
    OutputConfig const& outputConfig, std::optional<SizeType32> const& endId, std::optional<SizeType32> const& padId,
    std::optional<std::vector<SizeType32>>, std::optional<std::list<VecTokens>> badWords,
    std::optional<std::list<VecTokens>> stopWords, std::optional<Tensor>, std::optional<ExternalDraftTokensConfig>,
    std::optional<PromptTuningConfig>, std::optional<MultimodalInput>, std::optional<Tensor>,
    std::optional<MropeConfig>, std::optional<LoraConfig>, std::optional<LookaheadDecodingConfig>,
    std::optional<KvCacheRetentionConfig> kvCacheRetentionConfig, std::optional<std::string> logitsPostProcessorName,
    std::optional<LogitsPostProcessor> logitsPostProcessor, std::optional<VecTokens>, std::optional<IdType> clientId,
    bool returnAllGeneratedTokens, PriorityType priority, RequestType type, std::optional<ContextPhaseParams>,
    std::optional<Tensor>, std::optional<SizeType32>, std::optional<Tensor>, SizeType32 numReturnSequences,
    std::optional<EagleConfig>, std::optional<Tensor>, std::optional<GuidedDecodingParams> guidedDecodingParams,
    std::optional<SizeType32>, std::optional<MillisecondsType> allottedTimeMs
#if DICAST_STANDIN_RELEASE >= 101
    ,
    std::optional<CacheSaltIDType> cacheSaltID
#endif
    )
    : mImpl{std::make_unique<Impl>()}
{
    STANDIN_CHECK(!inputTokenIds.empty(), "the input token ids are empty");
    STANDIN_CHECK(maxTokens > 0, "maxTokens must be above 0");
    STANDIN_CHECK(
        type == RequestType::REQUEST_TYPE_CONTEXT_AND_GENERATION, "the stand-in has no disaggregated serving");
    STANDIN_CHECK(numReturnSequences == 1, "the stand-in returns one sequence a request");
    mImpl->tokens = std::move(inputTokenIds);
    mImpl->maxTokens = maxTokens;
    mImpl->streaming = streaming;
    mImpl->sampling = samplingConfig;
    mImpl->output = outputConfig;
    mImpl->endId = endId;
    mImpl->padId = padId;
    mImpl->badWords = std::move(badWords);
    mImpl->stopWords = std::move(stopWords);
    mImpl->retention = std::move(kvCacheRetentionConfig);
    mImpl->postProcessorName = std::move(logitsPostProcessorName);
    mImpl->postProcessor = std::move(logitsPostProcessor);
    mImpl->clientId = clientId;
    mImpl->returnAllGeneratedTokens = returnAllGeneratedTokens;
    setPriority(priority);
    mImpl->guide = std::move(guidedDecodingParams);
    mImpl->allottedTime = allottedTimeMs;
#if DICAST_STANDIN_RELEASE >= 101
    mImpl->cacheSalt = cacheSaltID;
#endif
}

Request::Request(Request const& other)
    : mImpl{std::make_unique<Impl>(*other.mImpl)}
{
}

Request::Request(Request&& other) noexcept = default;

Request& Request::operator=(Request const& other)
{
    if (this != &other)
    {
        mImpl = std::make_unique<Impl>(*other.mImpl);
    }
    return *this;
}

Request& Request::operator=(Request&& other) noexcept = default;
Request::~Request() = default;

VecTokens Request::getInputTokenIds() const { return mImpl->tokens; }
SizeType32 Request::getMaxTokens() const { return mImpl->maxTokens; }
bool Request::getStreaming() const { return mImpl->streaming; }
SamplingConfig Request::getSamplingConfig() const { return mImpl->sampling; }
OutputConfig Request::getOutputConfig() const { return mImpl->output; }
std::optional<SizeType32> Request::getEndId() const { return mImpl->endId; }
std::optional<SizeType32> Request::getPadId() const { return mImpl->padId; }
std::optional<std::list<VecTokens>> Request::getBadWords() const { return mImpl->badWords; }
std::optional<std::list<VecTokens>> Request::getStopWords() const { return mImpl->stopWords; }
std::optional<KvCacheRetentionConfig> Request::getKvCacheRetentionConfig() const { return mImpl->retention; }
std::optional<std::string> Request::getLogitsPostProcessorName() const { return mImpl->postProcessorName; }
std::optional<LogitsPostProcessor> Request::getLogitsPostProcessor() const { return mImpl->postProcessor; }
std::optional<IdType> Request::getClientId() const { return mImpl->clientId; }
PriorityType Request::getPriority() const { return mImpl->priority; }
bool Request::getReturnAllGeneratedTokens() const { return mImpl->returnAllGeneratedTokens; }
std::optional<GuidedDecodingParams> Request::getGuidedDecodingParams() const { return mImpl->guide; }
std::optional<MillisecondsType> Request::getAllottedTimeMs() const { return mImpl->allottedTime; }
#if DICAST_STANDIN_RELEASE >= 101
std::optional<CacheSaltIDType> Request::getCacheSaltID() const { return mImpl->cacheSalt; }
#endif

void Request::setStreaming(bool streaming) { mImpl->streaming = streaming; }
void Request::setSamplingConfig(SamplingConfig const& config) { mImpl->sampling = config; }
void Request::setOutputConfig(OutputConfig const& outputConfig) { mImpl->output = outputConfig; }
void Request::setEndId(SizeType32 endId) { mImpl->endId = endId; }
void Request::setPadId(SizeType32 padId) { mImpl->padId = padId; }
void Request::setBadWords(std::list<VecTokens> const& badWords) { mImpl->badWords = badWords; }
void Request::setStopWords(std::list<VecTokens> const& stopWords) { mImpl->stopWords = stopWords; }

void Request::setKvCacheRetentionConfig(KvCacheRetentionConfig const& kvCacheRetentionConfig)
{
    mImpl->retention = kvCacheRetentionConfig;
}

void Request::setLogitsPostProcessorName(std::string const& logitsPostProcessorName)
{
    mImpl->postProcessorName = logitsPostProcessorName;
}

void Request::setLogitsPostProcessor(std::optional<LogitsPostProcessor> const& logitsPostProcessor)
{
    mImpl->postProcessor = logitsPostProcessor;
}

void Request::setClientId(IdType clientId) { mImpl->clientId = clientId; }

void Request::setPriority(PriorityType priority)
{
    STANDIN_CHECK(priority >= 0.0F && priority <= 1.0F, "a request's priority must lie in [0, 1]");
    mImpl->priority = priority;
}

void Request::setReturnAllGeneratedTokens(bool returnAllGeneratedTokens)
{
    mImpl->returnAllGeneratedTokens = returnAllGeneratedTokens;
}

void Request::setGuidedDecodingParams(GuidedDecodingParams const& guidedDecodingParams)
{
    mImpl->guide = guidedDecodingParams;
}

void Request::setAllottedTimeMs(MillisecondsType allottedTimeMs) { mImpl->allottedTime = allottedTimeMs; }
#if DICAST_STANDIN_RELEASE >= 101
void Request::setCacheSaltID(CacheSaltIDType cacheSaltID) { mImpl->cacheSalt = cacheSaltID; }
#endif

Response::Response(IdType requestId, std::string errorMsg, std::optional<IdType> clientId)
    : mImpl{std::make_unique<Impl>(Impl{requestId, clientId, std::move(errorMsg), std::nullopt})}
{
}

Response::Response(IdType requestId, Result Result, std::optional<IdType> clientId)
    : mImpl{std::make_unique<Impl>(Impl{requestId, clientId, std::nullopt, std::move(Result)})}
{
}

Response::~Response() = default;

Response::Response(Response const& other)
    : mImpl{std::make_unique<Impl>(*other.mImpl)}
{
}

Response::Response(Response&& other) noexcept = default;

Response& Response::operator=(Response const& other)
{
    if (this != &other)
    {
        mImpl = std::make_unique<Impl>(*other.mImpl);
    }
    return *this;
}

Response& Response::operator=(Response&& other) noexcept = default;

IdType Response::getRequestId() const { return mImpl->requestId; }
std::optional<IdType> Response::getClientId() const { return mImpl->clientId; }
bool Response::hasError() const { return mImpl->error.has_value(); }

std::string const& Response::getErrorMsg() const
{
    STANDIN_CHECK(mImpl->error, "this response has no error");
    return *mImpl->error;
}

Result const& Response::getResult() const
{
    STANDIN_CHECK(mImpl->result, "this response has an error and no result");
    return *mImpl->result;
}

} // namespace tensorrt_llm::executor
