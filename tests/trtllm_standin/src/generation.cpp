#include "generation.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace dicast::standin
{

namespace
{

// Never chosen: ids of the padded vocabulary that have no token.
constexpr float kPadding = -30.0F;

float noise(std::int32_t token)
{
    auto x = static_cast<std::uint32_t>(token) * 0x9E3779B9U;
    x ^= x >> 16;
    x *= 0x85EBCA6BU;
    x ^= x >> 13;
    return static_cast<float>(x) / 2147483648.0F - 1.0F;
}

} // namespace

BaseLogits::BaseLogits(std::int32_t size, Vocabulary const& vocabulary)
    : row_(static_cast<std::size_t>(size))
{
    for (std::int32_t token = 0; token < size; ++token)
    {
        bool const padding = !vocabulary.empty() && vocabulary.bytes(token).empty();
        row_[static_cast<std::size_t>(token)] = padding ? kPadding : noise(token);
    }
    best_ = static_cast<std::int32_t>(std::max_element(row_.begin(), row_.end()) - row_.begin());
}

Generation::Generation(Rule const& rule, float strength, Vocabulary const& vocabulary, BaseLogits const& base,
    tensorrt_llm::executor::SamplingConfig const& sampling, std::optional<Token> endId)
    : rule_{rule}
    , strength_{strength}
    , vocabulary_{vocabulary}
    , base_{base}
    , sampling_{sampling}
    , endId_{endId && *endId >= 0 ? endId : std::nullopt}
    , random_{sampling.getSeed().value_or(0)}
{
    for (auto const& [text, logit] : rule.biasText)
    {
        auto const tokens = vocabulary_.prefixes(text);
        if (tokens.empty() || vocabulary_.bytes(tokens.back()) != text)
        {
            throw std::runtime_error("the script's bias is no single token: " + text);
        }
        bias_.emplace_back(tokens.back(), logit);
    }
    bias_.insert(bias_.end(), rule.biasToken.begin(), rule.biasToken.end());
}

void Generation::resume(Tokens const& prompt)
{
    auto const& text = rule_.text;
    if (text.empty())
    {
        return;
    }
    // A token of the prompt that begins further back cannot matter.
    std::size_t length = 0;
    auto from = prompt.end();
    while (from != prompt.begin() && length < text.size() + 16)
    {
        length += std::max<std::size_t>(vocabulary_.bytes(*--from).size(), 1);
    }
    std::string const tail = vocabulary_.decode({from, prompt.end()});
    for (std::size_t overlap = std::min(text.size(), tail.size()); overlap > 0; --overlap)
    {
        if (tail.compare(tail.size() - overlap, overlap, text, 0, overlap) == 0)
        {
            textAt_ = overlap;
            break;
        }
    }
    // Reasoning that was cut short and closed by the caller: the text continues after its own reasoning.
    constexpr char const* kBlank = " \n\r\t";
    std::string const close = "</think>";
    auto const last = tail.find_last_not_of(kBlank);
    auto const closed = text.find(close);
    if (closed != std::string::npos && last != std::string::npos && last + 1 >= close.size()
        && tail.compare(last + 1 - close.size(), close.size(), close) == 0)
    {
        auto const behind = closed + close.size();
        bool const blanks = last + 1 < tail.size();
        textAt_ = std::max(textAt_, blanks ? std::min(text.find_first_not_of(kBlank, behind), text.size()) : behind);
    }
}

void Generation::guide(std::shared_ptr<Grammar> grammar, std::vector<Token> stopTokens)
{
    grammar_ = std::move(grammar);
    state_ = grammar_->start();
    stopTokens_ = std::move(stopTokens);
}

bool Generation::isStop(Token token) const { return endId_ && token == *endId_; }

bool Generation::admits(Token token)
{
    bool const stop = isStop(token) || std::find(stopTokens_.begin(), stopTokens_.end(), token) != stopTokens_.end();
    if (stop && static_cast<std::int32_t>(written_.size()) < sampling_.getMinTokens().value_or(0))
    {
        return false;
    }
    if (isBanned(token))
    {
        return false;
    }
    if (!grammar_)
    {
        return true;
    }
    if (stop)
    {
        return state_ != Grammar::kDead && grammar_->accepts(state_);
    }
    auto const& bytes = vocabulary_.bytes(token);
    return !bytes.empty() && grammar_->next(state_, bytes) != Grammar::kDead;
}

bool Generation::isBanned(Token token) const
{
    return std::any_of(banned_.begin(), banned_.end(),
        [this, token](Tokens const& word)
        {
            return !word.empty() && word.back() == token && written_.size() + 1 >= word.size()
                && std::equal(word.rbegin() + 1, word.rend(), written_.rbegin());
        });
}

std::optional<Generation::Token> Generation::favoured()
{
    if (tokenAt_ < rule_.tokens.size())
    {
        return rule_.tokens[tokenAt_];
    }
    if (textAt_ < rule_.text.size())
    {
        auto const prefixes = vocabulary_.prefixes(std::string_view{rule_.text}.substr(textAt_));
        auto const found
            = std::find_if(prefixes.rbegin(), prefixes.rend(), [this](Token token) { return admits(token); });
        if (found != prefixes.rend())
        {
            return *found;
        }
    }
    else if (!rule_.ends)
    {
        // Something to continue with: the letters of byte-level vocabularies, in turn.
        auto const letters = std::min<std::int32_t>(static_cast<std::int32_t>(base_.row().size()), 94);
        return static_cast<Token>(written_.size() * 31 + 7) % letters;
    }
    return endId_;
}

void Generation::prepare()
{
    overrides_ = bias_;
    if (auto const token = favoured())
    {
        overrides_.emplace_back(*token, strength_);
    }
}

void Generation::write(float* row) const
{
    std::memcpy(row, base_.row().data(), base_.row().size() * sizeof(float));
    for (auto const& [token, logit] : overrides_)
    {
        row[token] = logit;
    }
}

float Generation::value(float const* row, Token token) const
{
    if (row != nullptr)
    {
        return row[token];
    }
    auto const found = std::find_if(
        overrides_.rbegin(), overrides_.rend(), [token](auto const& override) { return override.first == token; });
    return found == overrides_.rend() ? base_.row()[static_cast<std::size_t>(token)] : found->second;
}

std::vector<Generation::Token> Generation::candidates()
{
    std::vector<Token> out;
    auto const size = static_cast<Token>(base_.row().size());
    if (grammar_)
    {
        for (auto const token : grammar_->allowed(state_, vocabulary_))
        {
            if (token < size && !isStop(token) && !isBanned(token)
                && std::find(stopTokens_.begin(), stopTokens_.end(), token) == stopTokens_.end())
            {
                out.push_back(token);
            }
        }
        auto stops = stopTokens_;
        if (endId_)
        {
            stops.push_back(*endId_);
        }
        std::copy_if(stops.begin(), stops.end(), std::back_inserter(out), [this](Token token) { return admits(token); });
    }
    else
    {
        for (Token token = 0; token < size; ++token)
        {
            if (admits(token))
            {
                out.push_back(token);
            }
        }
    }
    if (out.empty())
    {
        throw std::runtime_error("no token is admissible");
    }
    return out;
}

Generation::Token Generation::greedy(float const* row)
{
    Token best = base_.best();
    if (row != nullptr)
    {
        best = static_cast<Token>(std::max_element(row, row + base_.row().size()) - row);
    }
    else
    {
        for (auto const& override : overrides_)
        {
            best = value(row, override.first) > value(row, best) ? override.first : best;
        }
    }
    if (admits(best))
    {
        return best;
    }
    auto const all = candidates();
    return *std::max_element(
        all.begin(), all.end(), [&](Token a, Token b) { return value(row, a) < value(row, b); });
}

Generation::Token Generation::sampled(float const* row)
{
    // The share of tokens this far below the best is too small to matter.
    constexpr double kNegligible = 18.0;
    auto const all = candidates();
    double const temperature = std::max<double>(sampling_.getTemperature().value_or(1.0F), 1e-3);
    float top = value(row, all.front());
    for (auto const token : all)
    {
        top = std::max(top, value(row, token));
    }
    std::vector<std::pair<double, Token>> shares;
    for (auto const token : all)
    {
        double const below = (value(row, token) - top) / temperature;
        if (below > -kNegligible)
        {
            shares.emplace_back(std::exp(below), token);
        }
    }
    std::sort(shares.begin(), shares.end(), std::greater<>{});
    auto const topK = static_cast<std::size_t>(sampling_.getTopK().value_or(0));
    if (topK > 0 && shares.size() > topK)
    {
        shares.resize(topK);
    }
    double total = 0;
    for (auto const& share : shares)
    {
        total += share.first;
    }
    double const topP = sampling_.getTopP().value_or(0.0F) > 0.0F ? *sampling_.getTopP() : 1.0;
    double const minP = sampling_.getMinP().value_or(0.0F);
    double kept = 0;
    std::size_t count = 0;
    while (count < shares.size() && kept < topP * total && shares[count].first >= minP * shares.front().first)
    {
        kept += shares[count++].first;
    }
    double draw = std::uniform_real_distribution<double>{0.0, kept}(random_);
    for (std::size_t i = 0; i < count; ++i)
    {
        draw -= shares[i].first;
        if (draw <= 0)
        {
            return shares[i].second;
        }
    }
    return shares.front().second;
}

Generation::Token Generation::choose(float const* row)
{
    auto const topK = sampling_.getTopK().value_or(0);
    bool const random = topK > 1 || (topK == 0 && sampling_.getTopP().value_or(0.0F) > 0.0F);
    return random ? sampled(row) : greedy(row);
}

float Generation::logProb(float const* row, Token token, bool masked, bool normalise)
{
    double const temperature = std::max<double>(sampling_.getTemperature().value_or(1.0F), 1e-3);
    std::vector<double> logits;
    auto const take = [&](Token other) { logits.push_back(static_cast<double>(row[other]) / temperature); };
    if (masked && grammar_)
    {
        auto const all = candidates();
        std::for_each(all.begin(), all.end(), take);
    }
    else
    {
        for (Token other = 0; other < static_cast<Token>(base_.row().size()); ++other)
        {
            take(other);
        }
    }
    auto const topK = static_cast<std::size_t>(sampling_.getTopK().value_or(0));
    if (normalise && topK > 0 && topK < logits.size())
    {
        std::partial_sort(
            logits.begin(), logits.begin() + static_cast<std::ptrdiff_t>(topK), logits.end(), std::greater<>{});
        logits.resize(topK);
    }
    double const top = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (auto const logit : logits)
    {
        sum += std::exp(logit - top);
    }
    return static_cast<float>(row[token] / temperature - top - std::log(sum));
}

void Generation::advance(Token token)
{
    written_.push_back(token);
    auto const& bytes = vocabulary_.bytes(token);
    if (grammar_)
    {
        state_ = grammar_->next(state_, bytes);
    }
    if (tokenAt_ < rule_.tokens.size())
    {
        tokenAt_ += rule_.tokens[tokenAt_] == token ? 1 : 0;
    }
    else if (!bytes.empty() && rule_.text.compare(textAt_, bytes.size(), bytes) == 0)
    {
        textAt_ += bytes.size();
    }
}

} // namespace dicast::standin
