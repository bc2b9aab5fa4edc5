// Reads the text of a grammar into symbols.
#pragma once

#include "grammar.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dicast::standin
{

class GrammarReader
{
public:
    GrammarReader(std::string const& text, Grammar& grammar)
        : text_{text}
        , grammar_{grammar}
    {
    }

    // The number of the rule `root`.
    std::int32_t read();

private:
    using Symbol = Grammar::Symbol;
    using Sequence = std::vector<Symbol>;
    using Ranges = std::vector<std::pair<std::uint32_t, std::uint32_t>>;

    static constexpr int kMaxDepth = 100;
    static constexpr int kMaxRepeats = 10'000;
    static constexpr std::size_t kMaxSymbols = 4'000'000;

    [[noreturn]] void refuse(std::string const& what) const;
    void blanks();
    [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    bool take(char c);
    [[nodiscard]] std::optional<std::string> headOfRule();
    std::string name();
    int number();
    std::uint32_t codePoint();
    std::uint32_t escape();

    std::int32_t ruleNamed(std::string const& name);
    std::int32_t newRule(std::vector<Sequence> const& alternatives);
    void define(std::int32_t rule, std::vector<Sequence> const& alternatives);
    Symbol reference(std::int32_t rule) const;

    std::vector<Sequence> alternatives(int depth);
    Sequence sequence(int depth);
    Sequence element(int depth);
    Sequence literal();
    Symbol characterClass();
    Sequence repeated(Sequence const& unit);
    Symbol anyNumber(Sequence const& unit);
    void addUtf8(std::uint32_t low, std::uint32_t high, std::vector<Sequence>& out) const;

    std::string const& text_;
    Grammar& grammar_;
    std::size_t at_{0};
    std::map<std::string, std::int32_t> names_;
    std::map<std::string, std::size_t> used_;
};

} // namespace dicast::standin
