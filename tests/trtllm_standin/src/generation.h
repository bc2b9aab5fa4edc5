// The text of one request: which token comes next. The rule's text gets a higher logit, the logits post-processor may
// change the logits, and the grammar decides last.
#pragma once

#include "grammar.h"
#include "script.h"
#include "vocabulary.h"

#include "tensorrt_llm/executor/executor.h"

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

namespace dicast::standin
{

// The logits that every step of every request begins with: noise that depends only on the token.
class BaseLogits
{
public:
    BaseLogits(std::int32_t size, Vocabulary const& vocabulary);

    [[nodiscard]] std::vector<float> const& row() const { return row_; }
    [[nodiscard]] std::int32_t best() const { return best_; }

private:
    std::vector<float> row_;
    std::int32_t best_{0};
};

class Generation
{
public:
    using Token = tensorrt_llm::executor::TokenIdType;
    using Tokens = tensorrt_llm::executor::VecTokens;

    Generation(Rule const& rule, float strength, Vocabulary const& vocabulary, BaseLogits const& base,
        tensorrt_llm::executor::SamplingConfig const& sampling, std::optional<Token> endId);

    // Continues where the prompt has already begun the text.
    void resume(Tokens const& prompt);
    void guide(std::shared_ptr<Grammar> grammar, std::vector<Token> stopTokens);

    // Words that must not occur, each of one or more tokens.
    void ban(std::list<Tokens> words) { banned_ = std::move(words); }

    // Finds out which tokens this step favours.
    void prepare();
    // Writes this step's logits, before any mask.
    void write(float* row) const;
    // Chooses a token; from `row` if it was written and may have been changed since.
    Token choose(float const* row);
    // The log probability of a token that was just chosen from `row`: among what the mask admits, or in the whole
    // vocabulary; if it is normalised, only among the top-k tokens.
    [[nodiscard]] float logProb(float const* row, Token token, bool masked, bool normalise);
    // Adds the token to the text.
    void advance(Token token);
    [[nodiscard]] bool isStop(Token token) const;

private:
    [[nodiscard]] float value(float const* row, Token token) const;
    [[nodiscard]] bool admits(Token token);
    [[nodiscard]] bool isBanned(Token token) const;
    [[nodiscard]] std::optional<Token> favoured();
    [[nodiscard]] Token greedy(float const* row);
    [[nodiscard]] Token sampled(float const* row);
    [[nodiscard]] std::vector<Token> candidates();

    Rule const& rule_;
    float strength_;
    Vocabulary const& vocabulary_;
    BaseLogits const& base_;
    tensorrt_llm::executor::SamplingConfig sampling_;
    std::optional<Token> endId_;
    std::vector<Token> stopTokens_;
    std::shared_ptr<Grammar> grammar_;
    Grammar::State state_{0};
    std::size_t textAt_{0};
    std::size_t tokenAt_{0};
    Tokens written_;
    std::list<Tokens> banned_;
    std::vector<std::pair<Token, float>> bias_;
    std::vector<std::pair<Token, float>> overrides_;
    std::mt19937_64 random_;
};

} // namespace dicast::standin
