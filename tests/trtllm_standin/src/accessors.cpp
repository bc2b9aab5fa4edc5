// Getters and setters of the configuration classes that only store.
#include "tensorrt_llm/executor/executor.h"

#include <utility>

namespace tensorrt_llm::executor
{

GuidedDecodingParams::GuideType GuidedDecodingParams::getGuideType() const { return guideType_; }
std::optional<std::string> GuidedDecodingParams::getGuide() const { return guide_; }

std::vector<KvCacheRetentionConfig::TokenRangeRetentionConfig> KvCacheRetentionConfig::getTokenRangeRetentionConfigs() const
{
    return ranges_;
}
RetentionPriority KvCacheRetentionConfig::getDecodeRetentionPriority() const { return decodePriority_; }
std::optional<std::chrono::milliseconds> KvCacheRetentionConfig::getDecodeDurationMs() const { return decodeDuration_; }
KvCacheTransferMode KvCacheRetentionConfig::getTransferMode() const { return transferMode_; }
std::string const& KvCacheRetentionConfig::getDirectory() const { return directory_; }

CapacitySchedulerPolicy SchedulerConfig::getCapacitySchedulerPolicy() const { return policy_; }
std::optional<ContextChunkingPolicy> SchedulerConfig::getContextChunkingPolicy() const { return chunking_; }

bool KvCacheConfig::getEnableBlockReuse() const { return blockReuse_; }
bool KvCacheConfig::getEnablePartialReuse() const { return partialReuse_; }
bool KvCacheConfig::getCopyOnPartialReuse() const { return copyOnPartialReuse_; }
std::optional<SizeType32> KvCacheConfig::getMaxTokens() const { return maxTokens_; }
std::optional<FloatType> KvCacheConfig::getFreeGpuMemoryFraction() const { return freeGpuMemoryFraction_; }
std::optional<size_t> KvCacheConfig::getHostCacheSize() const { return hostCacheSize_; }
bool KvCacheConfig::getOnboardBlocks() const { return onboardBlocks_; }
std::optional<RetentionPriority> KvCacheConfig::getSecondaryOffloadMinPriority() const
{
    return secondaryOffloadMinPriority_;
}
#if DICAST_STANDIN_RELEASE >= 101
uint64_t KvCacheConfig::getMaxGpuTotalBytes() const { return maxGpuTotalBytes_; }
#endif
void KvCacheConfig::setEnableBlockReuse(bool enableBlockReuse) { blockReuse_ = enableBlockReuse; }
void KvCacheConfig::setEnablePartialReuse(bool enablePartialReuse) { partialReuse_ = enablePartialReuse; }
void KvCacheConfig::setCopyOnPartialReuse(bool copyOnPartialReuse) { copyOnPartialReuse_ = copyOnPartialReuse; }
void KvCacheConfig::setMaxTokens(std::optional<SizeType32> maxTokens) { maxTokens_ = std::move(maxTokens); }
void KvCacheConfig::setHostCacheSize(size_t hostCacheSize) { hostCacheSize_ = hostCacheSize; }
void KvCacheConfig::setOnboardBlocks(bool onboardBlocks) { onboardBlocks_ = onboardBlocks; }
void KvCacheConfig::setSecondaryOffloadMinPriority(std::optional<RetentionPriority> secondaryOffloadMinPriority)
{
    secondaryOffloadMinPriority_ = std::move(secondaryOffloadMinPriority);
}
#if DICAST_STANDIN_RELEASE >= 101
void KvCacheConfig::setMaxGpuTotalBytes(uint64_t maxGpuTotalBytes) { maxGpuTotalBytes_ = maxGpuTotalBytes; }
#endif

bool ExtendedRuntimePerfKnobConfig::getMultiBlockMode() const { return multiBlockMode_; }
bool ExtendedRuntimePerfKnobConfig::getEnableContextFMHAFP32Acc() const { return contextFmhaFp32Acc_; }
bool ExtendedRuntimePerfKnobConfig::getCudaGraphMode() const { return cudaGraphMode_; }
SizeType32 ExtendedRuntimePerfKnobConfig::getCudaGraphCacheSize() const { return cudaGraphCacheSize_; }
void ExtendedRuntimePerfKnobConfig::setMultiBlockMode(bool multiBlockMode) { multiBlockMode_ = multiBlockMode; }
void ExtendedRuntimePerfKnobConfig::setEnableContextFMHAFP32Acc(bool enableContextFMHAFP32Acc)
{
    contextFmhaFp32Acc_ = enableContextFMHAFP32Acc;
}
void ExtendedRuntimePerfKnobConfig::setCudaGraphMode(bool cudaGraphMode) { cudaGraphMode_ = cudaGraphMode; }
void ExtendedRuntimePerfKnobConfig::setCudaGraphCacheSize(SizeType32 cacheSize) { cudaGraphCacheSize_ = cacheSize; }

bool OrchestratorConfig::getIsOrchestrator() const { return isOrchestrator_; }
std::string OrchestratorConfig::getWorkerExecutablePath() const { return workerExecutablePath_; }
std::shared_ptr<mpi::MpiComm> OrchestratorConfig::getOrchLeaderComm() const { return orchLeaderComm_; }
bool OrchestratorConfig::getSpawnProcesses() const { return spawnProcesses_; }
void OrchestratorConfig::setIsOrchestrator(bool isOrchestrator) { isOrchestrator_ = isOrchestrator; }
void OrchestratorConfig::setWorkerExecutablePath(std::string const& workerExecutablePath)
{
    workerExecutablePath_ = workerExecutablePath;
}
void OrchestratorConfig::setOrchLeaderComm(std::shared_ptr<mpi::MpiComm> const& orchLeaderComm)
{
    orchLeaderComm_ = orchLeaderComm;
}
void OrchestratorConfig::setSpawnProcesses(bool spawnProcesses) { spawnProcesses_ = spawnProcesses; }

CommunicationType ParallelConfig::getCommunicationType() const { return type_; }
CommunicationMode ParallelConfig::getCommunicationMode() const { return mode_; }
std::optional<std::vector<SizeType32>> ParallelConfig::getDeviceIds() const { return deviceIds_; }
std::optional<std::vector<SizeType32>> ParallelConfig::getParticipantIds() const { return participantIds_; }
std::optional<OrchestratorConfig> ParallelConfig::getOrchestratorConfig() const { return orchestratorConfig_; }
std::optional<SizeType32> ParallelConfig::getNumNodes() const { return numNodes_; }
void ParallelConfig::setCommunicationType(CommunicationType type) { type_ = type; }
void ParallelConfig::setCommunicationMode(CommunicationMode mode) { mode_ = mode; }
void ParallelConfig::setDeviceIds(std::vector<SizeType32> const& deviceIds) { deviceIds_ = deviceIds; }
void ParallelConfig::setParticipantIds(std::vector<SizeType32> const& participantIds)
{
    participantIds_ = participantIds;
}
void ParallelConfig::setOrchestratorConfig(OrchestratorConfig const& orchestratorConfig)
{
    orchestratorConfig_ = orchestratorConfig;
}
void ParallelConfig::setNumNodes(SizeType32 numNodes) { numNodes_ = numNodes; }

GuidedDecodingConfig::GuidedDecodingBackend GuidedDecodingConfig::getBackend() const { return backend_; }
std::optional<std::vector<std::string>> GuidedDecodingConfig::getEncodedVocab() const { return encodedVocab_; }
std::optional<std::string> GuidedDecodingConfig::getTokenizerStr() const { return tokenizerStr_; }
std::optional<std::vector<TokenIdType>> GuidedDecodingConfig::getStopTokenIds() const { return stopTokenIds_; }
void GuidedDecodingConfig::setBackend(GuidedDecodingBackend const& backend) { backend_ = backend; }
void GuidedDecodingConfig::setEncodedVocab(std::vector<std::string> const& encodedVocab)
{
    encodedVocab_ = encodedVocab;
}
void GuidedDecodingConfig::setTokenizerStr(std::string const& tokenizerStr) { tokenizerStr_ = tokenizerStr; }
void GuidedDecodingConfig::setStopTokenIds(std::vector<TokenIdType> const& stopTokenIds)
{
    stopTokenIds_ = stopTokenIds;
}

std::optional<LogitsPostProcessorMap> LogitsPostProcessorConfig::getProcessorMap() const { return processorMap_; }
std::optional<LogitsPostProcessorBatched> LogitsPostProcessorConfig::getProcessorBatched() const
{
    return processorBatched_;
}
bool LogitsPostProcessorConfig::getReplicate() const { return replicate_; }
void LogitsPostProcessorConfig::setProcessorMap(LogitsPostProcessorMap const& processorMap)
{
    processorMap_ = processorMap;
}
void LogitsPostProcessorConfig::setProcessorBatched(LogitsPostProcessorBatched const& processorBatched)
{
    processorBatched_ = processorBatched;
}
void LogitsPostProcessorConfig::setReplicate(bool replicate) { replicate_ = replicate; }

SizeType32 ExecutorConfig::getMaxBeamWidth() const { return maxBeamWidth_; }
SchedulerConfig ExecutorConfig::getSchedulerConfig() const { return schedulerConfig_; }
KvCacheConfig ExecutorConfig::getKvCacheConfig() const { return kvCacheConfig_; }
bool ExecutorConfig::getEnableChunkedContext() const { return enableChunkedContext_; }
bool ExecutorConfig::getNormalizeLogProbs() const { return normalizeLogProbs_; }
SizeType32 ExecutorConfig::getIterStatsMaxIterations() const { return iterStatsMaxIterations_; }
SizeType32 ExecutorConfig::getRequestStatsMaxIterations() const { return requestStatsMaxIterations_; }
BatchingType ExecutorConfig::getBatchingType() const { return batchingType_; }
std::optional<SizeType32> ExecutorConfig::getMaxBatchSize() const { return maxBatchSize_; }
std::optional<SizeType32> ExecutorConfig::getMaxNumTokens() const { return maxNumTokens_; }
std::optional<ParallelConfig> ExecutorConfig::getParallelConfig() const { return parallelConfig_; }
std::optional<LogitsPostProcessorConfig> ExecutorConfig::getLogitsPostProcessorConfig() const
{
    return logitsPostProcessorConfig_;
}
bool ExecutorConfig::getUseGpuDirectStorage() const { return useGpuDirectStorage_; }
float ExecutorConfig::getGpuWeightsPercent() const { return gpuWeightsPercent_; }
std::optional<SizeType32> ExecutorConfig::getMaxQueueSize() const { return maxQueueSize_; }
ExtendedRuntimePerfKnobConfig ExecutorConfig::getExtendedRuntimePerfKnobConfig() const
{
    return extendedRuntimePerfKnobConfig_;
}
SizeType32 ExecutorConfig::getRecvPollPeriodMs() const { return recvPollPeriodMs_; }
uint64_t ExecutorConfig::getMaxSeqIdleMicroseconds() const { return maxSeqIdleMicroseconds_; }
std::optional<GuidedDecodingConfig> ExecutorConfig::getGuidedDecodingConfig() const { return guidedDecodingConfig_; }
bool ExecutorConfig::getGatherGenerationLogits() const { return gatherGenerationLogits_; }
bool ExecutorConfig::getEnableTrtOverlap() const { return enableTrtOverlap_; }
#if DICAST_STANDIN_RELEASE >= 101
bool ExecutorConfig::getFailFastOnAttentionWindowTooLarge() const { return failFastOnAttentionWindowTooLarge_; }
#endif
void ExecutorConfig::setMaxBeamWidth(SizeType32 maxBeamWidth) { maxBeamWidth_ = maxBeamWidth; }
void ExecutorConfig::setMaxBatchSize(SizeType32 maxBatchSize) { maxBatchSize_ = maxBatchSize; }
void ExecutorConfig::setMaxNumTokens(SizeType32 maxNumTokens) { maxNumTokens_ = maxNumTokens; }
void ExecutorConfig::setSchedulerConfig(SchedulerConfig const& schedulerConfig) { schedulerConfig_ = schedulerConfig; }
void ExecutorConfig::setKvCacheConfig(KvCacheConfig const& kvCacheConfig) { kvCacheConfig_ = kvCacheConfig; }
void ExecutorConfig::setEnableChunkedContext(bool enableChunkedContext)
{
    enableChunkedContext_ = enableChunkedContext;
}
void ExecutorConfig::setNormalizeLogProbs(bool normalizeLogProbs) { normalizeLogProbs_ = normalizeLogProbs; }
void ExecutorConfig::setIterStatsMaxIterations(SizeType32 iterStatsMaxIterations)
{
    iterStatsMaxIterations_ = iterStatsMaxIterations;
}
void ExecutorConfig::setRequestStatsMaxIterations(SizeType32 requestStatsMaxIterations)
{
    requestStatsMaxIterations_ = requestStatsMaxIterations;
}
void ExecutorConfig::setBatchingType(BatchingType batchingType) { batchingType_ = batchingType; }
void ExecutorConfig::setParallelConfig(ParallelConfig const& parallelConfig) { parallelConfig_ = parallelConfig; }
void ExecutorConfig::setLogitsPostProcessorConfig(LogitsPostProcessorConfig const& logitsPostProcessorConfig)
{
    logitsPostProcessorConfig_ = logitsPostProcessorConfig;
}
void ExecutorConfig::setUseGpuDirectStorage(bool const& useGpuDirectStorage)
{
    useGpuDirectStorage_ = useGpuDirectStorage;
}
void ExecutorConfig::setGpuWeightsPercent(float const& gpuWeightsPercent) { gpuWeightsPercent_ = gpuWeightsPercent; }
void ExecutorConfig::setMaxQueueSize(std::optional<SizeType32> const& maxQueueSize) { maxQueueSize_ = maxQueueSize; }
void ExecutorConfig::setExtendedRuntimePerfKnobConfig(ExtendedRuntimePerfKnobConfig const& extendedRuntimePerfKnobConfig)
{
    extendedRuntimePerfKnobConfig_ = extendedRuntimePerfKnobConfig;
}
void ExecutorConfig::setRecvPollPeriodMs(SizeType32 const& recvPollPeriodMs) { recvPollPeriodMs_ = recvPollPeriodMs; }
void ExecutorConfig::setMaxSeqIdleMicroseconds(uint64_t maxSeqIdleMicroseconds)
{
    maxSeqIdleMicroseconds_ = maxSeqIdleMicroseconds;
}
void ExecutorConfig::setGuidedDecodingConfig(GuidedDecodingConfig const& guidedDecodingConfig)
{
    guidedDecodingConfig_ = guidedDecodingConfig;
}
void ExecutorConfig::setGatherGenerationLogits(bool gatherGenerationLogits)
{
    gatherGenerationLogits_ = gatherGenerationLogits;
}
void ExecutorConfig::setEnableTrtOverlap(bool enableTrtOverlap) { enableTrtOverlap_ = enableTrtOverlap; }
#if DICAST_STANDIN_RELEASE >= 101
void ExecutorConfig::setFailFastOnAttentionWindowTooLarge(bool failFastOnAttentionWindowTooLarge)
{
    failFastOnAttentionWindowTooLarge_ = failFastOnAttentionWindowTooLarge;
}
#endif

} // namespace tensorrt_llm::executor
