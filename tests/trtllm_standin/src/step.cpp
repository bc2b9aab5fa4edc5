// One step over all active requests: what is generated, and which faults happen on demand.
#include "executor_impl.h"

#include "check.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <thread>

namespace tensorrt_llm::executor
{

using dicast::standin::Crash;
using dicast::standin::Grammar;

namespace
{

constexpr std::size_t kMaxGrammars = 32;

bool endsWith(VecTokens const& tokens, std::size_t promptLength, VecTokens const& word)
{
    return tokens.size() - promptLength >= word.size() && !word.empty()
        && std::equal(word.rbegin(), word.rend(), tokens.rbegin());
}

} // namespace

void Executor::Impl::forward()
{
    std::vector<Active*> generating;
    schedule(generating);
    ++iteration_;
    stalled_ = generating.empty() && contextRequests_ == 0;
    if (stalled_)
    {
        return;
    }
    if (folder_.script.step.count() > 0)
    {
        std::this_thread::sleep_for(folder_.script.step);
    }
    try
    {
        if (sticky_)
        {
            sticky_->now();
        }
        for (auto* active : generating)
        {
            if (active->iterations == 0)
            {
                startGuide(*active);
            }
            ++active->iterations;
            active->generation->prepare();
        }
        if (!applyFaults(generating))
        {
            return;
        }
        postProcess(generating);
        for (auto* active : generating)
        {
            sample(*active);
        }
    }
    catch (std::exception const& error)
    {
        // A failure of one request within a step fails all of them, as in the vendor's library.
        for (auto& active : active_)
        {
            active.error = std::string{"Encountered an error in forwardAsync function: "} + error.what();
        }
    }
}

// False if no request is left to continue with.
bool Executor::Impl::applyFaults(std::vector<Active*> const& generating)
{
    for (auto* active : generating)
    {
        if (active->rule->inStep)
        {
            active->rule->inStep->now();
        }
        if (active->rule->sticky)
        {
            sticky_ = active->rule->sticky;
            sticky_->now();
        }
        if (active->rule->crash == Crash::kProcess)
        {
            std::abort();
        }
        if (active->rule->crash != Crash::kNo)
        {
            die(active->rule->crash);
            return false;
        }
    }
    return true;
}

void Executor::Impl::startGuide(Active& active)
{
    auto const& guide = active.queued.request.guide;
    if (!guide)
    {
        return;
    }
    STANDIN_CHECK(guide->getGuideType() == GuidedDecodingParams::GuideType::kEBNF_GRAMMAR,
        "the stand-in guides by EBNF grammars alone");
    auto const text = *guide->getGuide();
    auto found = grammars_.find(text);
    if (found == grammars_.end())
    {
        if (grammars_.size() >= kMaxGrammars)
        {
            grammars_.clear();
        }
        found = grammars_.emplace(text, std::make_shared<Grammar>(text)).first;
    }
    active.generation->guide(found->second, stopTokens_);
}

void Executor::Impl::postProcess(std::vector<Active*> const& generating)
{
    std::vector<IdType> ids;
    std::vector<Tensor> logits;
    std::vector<std::reference_wrapper<BeamTokens const>> tokens;
    std::vector<std::optional<IdType>> clientIds;
    StreamPtr const stream;
    auto const size = static_cast<std::int64_t>(folder_.vocabularySize);
    for (auto* active : generating)
    {
        auto const& request = active->queued.request;
        bool const wanted = request.postProcessor || request.postProcessorName;
        if (!wanted && !request.output.returnGenerationLogits && !request.output.returnLogProbs)
        {
            continue;
        }
        if (!active->logits)
        {
            active->logits = Tensor::cpu(DataType::kFP32, {1, 1, size});
        }
        auto* row = static_cast<float*>(active->logits->getData());
        active->generation->write(row);
        if (request.output.returnGenerationLogits)
        {
            if (!active->generationLogits)
            {
                active->generationLogits = Tensor::cpu(
                    DataType::kFP32, {1, request.streaming ? 1 : static_cast<std::int64_t>(active->maxTokens), size});
            }
            auto const at = request.streaming ? 0 : active->generated() * static_cast<std::size_t>(size);
            std::copy(row, row + size, static_cast<float*>(active->generationLogits->getData()) + at);
        }
        if (request.postProcessor)
        {
            (*request.postProcessor)(active->queued.id, *active->logits, active->tokens, stream, request.clientId);
        }
        else if (request.postProcessorName == Request::kBatchedPostProcessorName)
        {
            ids.push_back(active->queued.id);
            logits.push_back(*active->logits);
            tokens.emplace_back(active->tokens);
            clientIds.push_back(request.clientId);
        }
        else if (request.postProcessorName)
        {
            namedProcessors_.at(*request.postProcessorName)(
                active->queued.id, *active->logits, active->tokens, stream, request.clientId);
        }
    }
    if (!ids.empty())
    {
        batchedProcessor_(ids, logits, tokens, stream, clientIds);
    }
}

void Executor::Impl::sample(Active& active)
{
    auto const& request = active.queued.request;
    float const* row = active.logits ? static_cast<float const*>(active.logits->getData()) : nullptr;
    auto const token = active.generation->choose(row);
    auto& tokens = active.tokens.front();
    auto const now = Clock::now();
    if (active.generated() == 0)
    {
        active.metrics.timingMetrics.firstTokenTime = now;
    }
    active.metrics.timingMetrics.lastTokenTime = now;
    active.metrics.lastIter = iteration_;
    if (request.output.returnLogProbs && row != nullptr)
    {
        bool const masked = folder_.script.logProbs == dicast::standin::LogProbs::kAdmitted;
        active.logProbs.push_back(active.generation->logProb(row, token, masked, config_.getNormalizeLogProbs()));
    }
    if (active.generation->isStop(token))
    {
        // The end token itself is not part of the output.
        active.finished = FinishReason::kEND_ID;
    }
    else
    {
        tokens.push_back(token);
        active.generation->advance(token);
        auto const ends = [&](VecTokens const& word) { return endsWith(tokens, active.promptLength, word); };
        if (request.stopWords && std::any_of(request.stopWords->begin(), request.stopWords->end(), ends))
        {
            active.finished = FinishReason::kSTOP_WORDS;
        }
        else if (active.generated() >= static_cast<std::size_t>(active.maxTokens))
        {
            active.finished = FinishReason::kLENGTH;
        }
    }
    auto const& rule = *active.rule;
    if (rule.error && (active.finished || active.generated() >= static_cast<std::size_t>(rule.errorAfter)))
    {
        active.error = rule.error;
    }
    if (active.finished && rule.finishReason)
    {
        active.finished = static_cast<FinishReason>(*rule.finishReason);
    }
}

} // namespace tensorrt_llm::executor
