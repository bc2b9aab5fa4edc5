// Constructors and checks of the configuration classes.
#include "check.h"
#include "tensorrt_llm/executor/executor.h"

#include <utility>

namespace tensorrt_llm::executor
{

namespace
{

template <typename T>
void checkRange(std::optional<T> const& value, T low, T high, char const* name)
{
    STANDIN_CHECK(!value || (*value >= low && *value <= high),
        std::string{name} + " is out of range: " + (value ? std::to_string(*value) : ""));
}

constexpr SizeType32 kMost = 1 << 30;

} // namespace

SamplingConfig::SamplingConfig(SizeType32 beamWidth, std::optional<SizeType32> const& topK,
    std::optional<FloatType> const& topP, std::optional<FloatType> const&, std::optional<TokenIdType> const&,
    std::optional<FloatType> const&, std::optional<RandomSeedType> const& seed,
    std::optional<FloatType> const& temperature, std::optional<SizeType32> const& minTokens,
    std::optional<FloatType> const&, std::optional<FloatType> const& repetitionPenalty,
    std::optional<FloatType> const& presencePenalty, std::optional<FloatType> const& frequencyPenalty,
#if DICAST_STANDIN_RELEASE >= 102
    std::optional<SizeType32> const&,
#endif
    std::optional<FloatType> const&, std::optional<SizeType32> const&,
    std::optional<SizeType32> const&, std::optional<SizeType32> const& numReturnSequences, std::optional<FloatType> const& minP,
    std::optional<std::vector<SizeType32>> const&)
    : beamWidth_{beamWidth}
    , seed_{seed}
{
    setBeamWidth(beamWidth);
    setTopK(topK);
    setTopP(topP);
    setTemperature(temperature);
    setMinTokens(minTokens);
    setRepetitionPenalty(repetitionPenalty);
    setPresencePenalty(presencePenalty);
    setFrequencyPenalty(frequencyPenalty);
    setNumReturnSequences(numReturnSequences);
    setMinP(minP);
}

void SamplingConfig::setBeamWidth(SizeType32 beamWidth)
{
    STANDIN_CHECK(beamWidth == 1, "the stand-in has no beam search: beamWidth must be 1");
    beamWidth_ = beamWidth;
}

void SamplingConfig::setTopK(std::optional<SizeType32> const& topK)
{
    checkRange<SizeType32>(topK, 0, kMost, "topK");
    topK_ = topK;
}

void SamplingConfig::setTopP(std::optional<FloatType> const& topP)
{
    STANDIN_CHECK(!topP || (*topP > 0.0F && *topP <= 1.0F), "topP must be above 0 and at most 1");
    topP_ = topP;
}

void SamplingConfig::setSeed(std::optional<RandomSeedType> const& seed)
{
    seed_ = seed;
}

void SamplingConfig::setTemperature(std::optional<FloatType> const& temperature)
{
    checkRange<FloatType>(temperature, 0.0F, 1e6F, "temperature");
    temperature_ = temperature;
}

void SamplingConfig::setMinTokens(std::optional<SizeType32> const& minTokens)
{
    checkRange<SizeType32>(minTokens, 0, kMost, "minTokens");
    minTokens_ = minTokens;
}

void SamplingConfig::setRepetitionPenalty(std::optional<FloatType> const& repetitionPenalty)
{
    STANDIN_CHECK(!repetitionPenalty || *repetitionPenalty > 0.0F, "repetitionPenalty must be above 0");
    repetitionPenalty_ = repetitionPenalty;
}

void SamplingConfig::setPresencePenalty(std::optional<FloatType> const& presencePenalty)
{
    presencePenalty_ = presencePenalty;
}

void SamplingConfig::setFrequencyPenalty(std::optional<FloatType> const& frequencyPenalty)
{
    frequencyPenalty_ = frequencyPenalty;
}

void SamplingConfig::setNumReturnSequences(std::optional<SizeType32> const& numReturnSequences)
{
    STANDIN_CHECK(!numReturnSequences || *numReturnSequences == 1, "the stand-in returns one sequence a request");
    numReturnSequences_ = numReturnSequences;
}

void SamplingConfig::setMinP(std::optional<FloatType> const& minP)
{
    checkRange<FloatType>(minP, 0.0F, 1.0F, "minP");
    minP_ = minP;
}

OutputConfig::OutputConfig(bool returnLogProbs, bool returnContextLogits, bool returnGenerationLogits,
    bool excludeInputFromOutput, bool returnEncoderOutput, bool returnPerfMetrics,
    std::optional<std::vector<AdditionalModelOutput>> additionalModelOutputs)
    : returnLogProbs{returnLogProbs}
    , returnContextLogits{returnContextLogits}
    , returnGenerationLogits{returnGenerationLogits}
    , excludeInputFromOutput{excludeInputFromOutput}
    , returnEncoderOutput{returnEncoderOutput}
    , returnPerfMetrics{returnPerfMetrics}
    , additionalModelOutputs{std::move(additionalModelOutputs)}
{
}

GuidedDecodingParams::GuidedDecodingParams(GuideType guideType, std::optional<std::string> guide)
    : guideType_{guideType}
    , guide_{std::move(guide)}
{
    STANDIN_CHECK(guideType_ == GuideType::kJSON || guide_, "the guide string must be provided except for kJSON");
}

bool GuidedDecodingParams::operator==(GuidedDecodingParams const& other) const
{
    return guideType_ == other.guideType_ && guide_ == other.guide_;
}

KvCacheRetentionConfig::TokenRangeRetentionConfig::TokenRangeRetentionConfig(SizeType32 tokenStart,
    std::optional<SizeType32> tokenEnd, RetentionPriority priority, std::optional<std::chrono::milliseconds> durationMs)
    : tokenStart{tokenStart}
    , tokenEnd{tokenEnd}
    , priority{priority}
    , durationMs{durationMs}
{
    STANDIN_CHECK(priority >= kMinRetentionPriority && priority <= kMaxRetentionPriority,
        "a retention priority must lie in [0, 100]");
}

bool KvCacheRetentionConfig::TokenRangeRetentionConfig::operator==(TokenRangeRetentionConfig const& other) const
{
    return tokenStart == other.tokenStart && tokenEnd == other.tokenEnd && priority == other.priority
        && durationMs == other.durationMs;
}

KvCacheRetentionConfig::KvCacheRetentionConfig(
    std::vector<TokenRangeRetentionConfig> const& tokenRangeRetentionPriorities,
    RetentionPriority decodeRetentionPriority, std::optional<std::chrono::milliseconds> decodeDurationMs,
    KvCacheTransferMode transferMode, std::string const& directory)
    : ranges_{tokenRangeRetentionPriorities}
    , decodePriority_{decodeRetentionPriority}
    , decodeDuration_{decodeDurationMs}
    , transferMode_{transferMode}
    , directory_{directory}
{
    for (std::size_t i = 0; i < ranges_.size(); ++i)
    {
        for (std::size_t j = i + 1; j < ranges_.size(); ++j)
        {
            auto const& a = ranges_[i];
            auto const& b = ranges_[j];
            bool const before = a.tokenEnd && *a.tokenEnd <= b.tokenStart;
            bool const after = b.tokenEnd && *b.tokenEnd <= a.tokenStart;
            STANDIN_CHECK(before || after, "retention ranges overlap");
        }
    }
}

SchedulerConfig::SchedulerConfig(CapacitySchedulerPolicy capacitySchedulerPolicy,
    std::optional<ContextChunkingPolicy> contextChunkingPolicy, std::optional<DynamicBatchConfig>)
    : policy_{capacitySchedulerPolicy}
    , chunking_{contextChunkingPolicy}
{
}

std::optional<DynamicBatchConfig> SchedulerConfig::getDynamicBatchConfig() const
{
    return std::nullopt;
}

KvCacheConfig::KvCacheConfig(bool enableBlockReuse, std::optional<SizeType32> const& maxTokens,
    std::optional<std::vector<SizeType32>> const&, std::optional<SizeType32> const&,
    std::optional<FloatType> const& freeGpuMemoryFraction, std::optional<size_t> const& hostCacheSize,
    bool onboardBlocks, std::optional<FloatType> const&, std::optional<RetentionPriority> secondaryOffloadMinPriority,
    size_t, bool enablePartialReuse, bool copyOnPartialReuse, bool, SizeType32,
    std::optional<tensorrt_llm::runtime::RuntimeDefaults> const&
#if DICAST_STANDIN_RELEASE >= 101
    ,
    uint64_t const& maxGpuTotalBytes
#endif
    )
    : blockReuse_{enableBlockReuse}
    , maxTokens_{maxTokens}
    , hostCacheSize_{hostCacheSize}
    , onboardBlocks_{onboardBlocks}
    , secondaryOffloadMinPriority_{secondaryOffloadMinPriority}
    , partialReuse_{enablePartialReuse}
    , copyOnPartialReuse_{copyOnPartialReuse}
#if DICAST_STANDIN_RELEASE >= 101
    , maxGpuTotalBytes_{maxGpuTotalBytes}
#endif
{
    if (freeGpuMemoryFraction)
    {
        setFreeGpuMemoryFraction(*freeGpuMemoryFraction);
    }
}

void KvCacheConfig::setFreeGpuMemoryFraction(FloatType freeGpuMemoryFraction)
{
    STANDIN_CHECK(freeGpuMemoryFraction > 0.0F && freeGpuMemoryFraction < 1.0F,
        "freeGpuMemoryFraction must lie between 0 and 1");
    freeGpuMemoryFraction_ = freeGpuMemoryFraction;
}

ExtendedRuntimePerfKnobConfig::ExtendedRuntimePerfKnobConfig(
    bool multiBlockMode, bool enableContextFMHAFP32Acc, bool cudaGraphMode, SizeType32 cudaGraphCacheSize)
    : multiBlockMode_{multiBlockMode}
    , contextFmhaFp32Acc_{enableContextFMHAFP32Acc}
    , cudaGraphMode_{cudaGraphMode}
    , cudaGraphCacheSize_{cudaGraphCacheSize}
{
}

OrchestratorConfig::OrchestratorConfig(bool isOrchestrator, std::string workerExecutablePath,
    std::shared_ptr<mpi::MpiComm> orchLeaderComm, bool spawnProcesses)
    : isOrchestrator_{isOrchestrator}
    , workerExecutablePath_{std::move(workerExecutablePath)}
    , orchLeaderComm_{std::move(orchLeaderComm)}
    , spawnProcesses_{spawnProcesses}
{
}

ParallelConfig::ParallelConfig(CommunicationType commType, CommunicationMode commMode,
    std::optional<std::vector<SizeType32>> deviceIds, std::optional<std::vector<SizeType32>> participantIds,
    std::optional<OrchestratorConfig> const& orchestratorConfig, std::optional<SizeType32> numNodes)
    : type_{commType}
    , mode_{commMode}
    , deviceIds_{std::move(deviceIds)}
    , participantIds_{std::move(participantIds)}
    , orchestratorConfig_{orchestratorConfig}
    , numNodes_{numNodes}
{
    STANDIN_CHECK(!deviceIds_ || !deviceIds_->empty(), "deviceIds must not be empty");
}

GuidedDecodingConfig::GuidedDecodingConfig(GuidedDecodingBackend backend,
    std::optional<std::vector<std::string>> encodedVocab, std::optional<std::string> tokenizerStr,
    std::optional<std::vector<TokenIdType>> stopTokenIds)
    : backend_{backend}
    , encodedVocab_{std::move(encodedVocab)}
    , tokenizerStr_{std::move(tokenizerStr)}
    , stopTokenIds_{std::move(stopTokenIds)}
{
    validate();
}

void GuidedDecodingConfig::validate() const
{
    STANDIN_CHECK(backend_ != GuidedDecodingBackend::kXGRAMMAR || encodedVocab_,
        "guided decoding by XGrammar needs encodedVocab");
}

LogitsPostProcessorConfig::LogitsPostProcessorConfig(std::optional<LogitsPostProcessorMap> processorMap,
    std::optional<LogitsPostProcessorBatched> processorBatched, bool replicate)
    : processorMap_{std::move(processorMap)}
    , processorBatched_{std::move(processorBatched)}
    , replicate_{replicate}
{
}

ExecutorConfig::ExecutorConfig(SizeType32 maxBeamWidth, SchedulerConfig schedulerConfig, KvCacheConfig kvCacheConfig,
    bool enableChunkedContext, bool normalizeLogProbs, SizeType32 iterStatsMaxIterations,
    SizeType32 requestStatsMaxIterations, BatchingType batchingType, std::optional<SizeType32> maxBatchSize,
    std::optional<SizeType32> maxNumTokens, std::optional<ParallelConfig> parallelConfig,
    std::optional<PeftCacheConfig> const&, std::optional<LogitsPostProcessorConfig> logitsPostProcessorConfig,
    std::optional<DecodingConfig>, bool useGpuDirectStorage, float gpuWeightsPercent,
    std::optional<SizeType32> maxQueueSize, ExtendedRuntimePerfKnobConfig const& extendedRuntimePerfKnobConfig,
    std::optional<DebugConfig>, SizeType32 recvPollPeriodMs, uint64_t maxSeqIdleMicroseconds,
    std::optional<SpeculativeDecodingConfig>, std::optional<GuidedDecodingConfig> guidedDecodingConfig,
    std::optional<std::vector<AdditionalModelOutput>>, std::optional<CacheTransceiverConfig>,
    bool gatherGenerationLogits, bool, bool enableTrtOverlap
#if DICAST_STANDIN_RELEASE >= 101
    ,
    bool failFastOnAttentionWindowTooLarge
#endif
    )
    : maxBeamWidth_{maxBeamWidth}
    , schedulerConfig_{std::move(schedulerConfig)}
    , kvCacheConfig_{std::move(kvCacheConfig)}
    , enableChunkedContext_{enableChunkedContext}
    , normalizeLogProbs_{normalizeLogProbs}
    , iterStatsMaxIterations_{iterStatsMaxIterations}
    , requestStatsMaxIterations_{requestStatsMaxIterations}
    , batchingType_{batchingType}
    , maxBatchSize_{maxBatchSize}
    , maxNumTokens_{maxNumTokens}
    , parallelConfig_{std::move(parallelConfig)}
    , logitsPostProcessorConfig_{std::move(logitsPostProcessorConfig)}
    , useGpuDirectStorage_{useGpuDirectStorage}
    , gpuWeightsPercent_{gpuWeightsPercent}
    , maxQueueSize_{maxQueueSize}
    , extendedRuntimePerfKnobConfig_{extendedRuntimePerfKnobConfig}
    , recvPollPeriodMs_{recvPollPeriodMs}
    , maxSeqIdleMicroseconds_{maxSeqIdleMicroseconds}
    , guidedDecodingConfig_{std::move(guidedDecodingConfig)}
    , gatherGenerationLogits_{gatherGenerationLogits}
    , enableTrtOverlap_{enableTrtOverlap}
#if DICAST_STANDIN_RELEASE >= 101
    , failFastOnAttentionWindowTooLarge_{failFastOnAttentionWindowTooLarge}
#endif
{
    STANDIN_CHECK(maxBeamWidth_ > 0, "maxBeamWidth must be above 0");
    STANDIN_CHECK(iterStatsMaxIterations_ >= 0, "iterStatsMaxIterations must not be negative");
    STANDIN_CHECK(requestStatsMaxIterations_ >= 0, "requestStatsMaxIterations must not be negative");
    STANDIN_CHECK(!maxBatchSize_ || *maxBatchSize_ > 0, "maxBatchSize must be above 0");
    STANDIN_CHECK(!maxNumTokens_ || *maxNumTokens_ > 0, "maxNumTokens must be above 0");
    STANDIN_CHECK(gpuWeightsPercent_ >= 0.0F && gpuWeightsPercent_ <= 1.0F, "gpuWeightsPercent must lie in [0, 1]");
}

SchedulerConfig& ExecutorConfig::getSchedulerConfigRef()
{
    return schedulerConfig_;
}

KvCacheConfig& ExecutorConfig::getKvCacheConfigRef()
{
    return kvCacheConfig_;
}

} // namespace tensorrt_llm::executor
