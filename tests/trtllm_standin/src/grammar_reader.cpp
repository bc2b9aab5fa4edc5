#include "grammar_reader.h"

#include "json.h"

#include <algorithm>
#include <cctype>
#include <stdexcept>

namespace dicast::standin
{

namespace
{

bool letter(char c)
{
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.';
}

constexpr std::uint32_t kLastCodePoint = 0x10FFFF;

} // namespace

void GrammarReader::refuse(std::string const& what) const
{
    auto const line = 1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at_), '\n');
    throw std::runtime_error("EBNF grammar, line " + std::to_string(line) + ": " + what);
}

void GrammarReader::blanks()
{
    while (at_ < text_.size())
    {
        if (text_[at_] == '#')
        {
            at_ = std::min(text_.find('\n', at_), text_.size());
        }
        else if (std::isspace(static_cast<unsigned char>(text_[at_])) != 0)
        {
            ++at_;
        }
        else
        {
            return;
        }
    }
}

bool GrammarReader::take(char c)
{
    blanks();
    if (peek() != c)
    {
        return false;
    }
    ++at_;
    return true;
}

// A name followed by `::=` begins the next rule, and so ends the one before it, whatever the line breaks.
std::optional<std::string> GrammarReader::headOfRule()
{
    blanks();
    auto const start = at_;
    if (!letter(peek()))
    {
        return std::nullopt;
    }
    std::string const found = name();
    blanks();
    if (text_.compare(at_, 3, "::=") == 0)
    {
        at_ += 3;
        return found;
    }
    at_ = start;
    return std::nullopt;
}

std::string GrammarReader::name()
{
    auto const start = at_;
    while (letter(peek()))
    {
        ++at_;
    }
    return text_.substr(start, at_ - start);
}

int GrammarReader::number()
{
    blanks();
    if (std::isdigit(static_cast<unsigned char>(peek())) == 0)
    {
        refuse("a number is expected");
    }
    int value = 0;
    while (std::isdigit(static_cast<unsigned char>(peek())) != 0)
    {
        value = value * 10 + (text_[at_++] - '0');
        if (value > kMaxRepeats)
        {
            refuse("too many repetitions");
        }
    }
    return value;
}

std::uint32_t GrammarReader::escape()
{
    ++at_;
    char const c = peek();
    if (at_ >= text_.size())
    {
        refuse("the text ends within an escape");
    }
    ++at_;
    int digits = 0;
    switch (c)
    {
    case 'n': return '\n';
    case 't': return '\t';
    case 'r': return '\r';
    case '0': return 0;
    case 'x': digits = 2; break;
    case 'u': digits = 4; break;
    case 'U': digits = 8; break;
    case '"':
    case '\'':
    case '\\':
    case '/':
    case '-':
    case '[':
    case ']':
    case '^': return static_cast<std::uint32_t>(c);
    default: refuse(std::string{"no such escape: \\"} + c);
    }
    std::uint32_t value = 0;
    for (int i = 0; i < digits; ++i, ++at_)
    {
        if (std::isxdigit(static_cast<unsigned char>(peek())) == 0)
        {
            refuse("an escape lacks digits");
        }
        value = value * 16 + static_cast<std::uint32_t>(std::stoi(std::string{peek()}, nullptr, 16));
    }
    if (value > kLastCodePoint)
    {
        refuse("no such code point");
    }
    return value;
}

std::uint32_t GrammarReader::codePoint()
{
    if (peek() == '\\')
    {
        return escape();
    }
    auto const first = static_cast<unsigned char>(text_[at_++]);
    int const more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC0 ? 1 : 0;
    std::uint32_t value = more == 0 ? first : first & (0x3FU >> more);
    for (int i = 0; i < more; ++i, ++at_)
    {
        if ((static_cast<unsigned char>(peek()) & 0xC0) != 0x80)
        {
            refuse("not UTF-8");
        }
        value = (value << 6) | (static_cast<unsigned char>(peek()) & 0x3F);
    }
    return value;
}

std::int32_t GrammarReader::ruleNamed(std::string const& name)
{
    auto const [found, fresh] = names_.try_emplace(name, static_cast<std::int32_t>(grammar_.rules_.size()));
    if (fresh)
    {
        grammar_.rules_.emplace_back();
        used_.emplace(name, at_);
    }
    return found->second;
}

void GrammarReader::define(std::int32_t rule, std::vector<Sequence> const& alternatives)
{
    auto& symbols = grammar_.symbols_;
    for (auto const& sequence : alternatives)
    {
        grammar_.rules_[static_cast<std::size_t>(rule)].push_back(static_cast<std::int32_t>(symbols.size()));
        symbols.insert(symbols.end(), sequence.begin(), sequence.end());
        symbols.emplace_back();
        if (symbols.size() > kMaxSymbols)
        {
            refuse("the grammar is too large");
        }
    }
}

std::int32_t GrammarReader::newRule(std::vector<Sequence> const& alternatives)
{
    auto const rule = static_cast<std::int32_t>(grammar_.rules_.size());
    grammar_.rules_.emplace_back();
    define(rule, alternatives);
    return rule;
}

GrammarReader::Symbol GrammarReader::reference(std::int32_t rule) const
{
    Symbol symbol;
    symbol.kind = Symbol::Kind::kRule;
    symbol.rule = rule;
    return symbol;
}

std::int32_t GrammarReader::read()
{
    std::map<std::string, bool> defined;
    for (blanks(); at_ < text_.size(); blanks())
    {
        auto const head = headOfRule();
        if (!head)
        {
            refuse("a rule is expected: name ::= …");
        }
        if (!defined.emplace(*head, true).second)
        {
            refuse("the rule " + *head + " is defined twice");
        }
        auto const rule = ruleNamed(*head);
        define(rule, alternatives(0));
    }
    for (auto const& [name, where] : used_)
    {
        if (defined.count(name) == 0)
        {
            at_ = where;
            refuse("the rule " + name + " is not defined");
        }
    }
    if (defined.count("root") == 0)
    {
        refuse("there is no rule root");
    }
    return names_.at("root");
}

std::vector<GrammarReader::Sequence> GrammarReader::alternatives(int depth)
{
    if (depth > kMaxDepth)
    {
        refuse("groups are nested too deep");
    }
    std::vector<Sequence> out;
    do
    {
        out.push_back(sequence(depth));
    } while (take('|'));
    return out;
}

GrammarReader::Sequence GrammarReader::sequence(int depth)
{
    Sequence out;
    bool any = false;
    while (true)
    {
        blanks();
        char const c = peek();
        if (at_ >= text_.size() || c == '|' || c == ')')
        {
            break;
        }
        if (letter(c))
        {
            auto const start = at_;
            bool const next = headOfRule().has_value();
            at_ = start;
            if (next)
            {
                break;
            }
        }
        Sequence const unit = element(depth);
        Sequence const whole = repeated(unit);
        out.insert(out.end(), whole.begin(), whole.end());
        any = true;
    }
    if (!any)
    {
        refuse("an alternative is empty: write \"\"");
    }
    return out;
}

GrammarReader::Sequence GrammarReader::element(int depth)
{
    char const c = peek();
    if (c == '"')
    {
        return literal();
    }
    if (c == '[')
    {
        return {characterClass()};
    }
    if (c == '.')
    {
        ++at_;
        std::vector<Sequence> any;
        addUtf8(0, kLastCodePoint, any);
        return {reference(newRule(any))};
    }
    if (c == '(')
    {
        ++at_;
        if (peek() == '=')
        {
            refuse("lookahead is not supported by the stand-in");
        }
        auto const group = alternatives(depth + 1);
        if (!take(')'))
        {
            refuse("a group has no end");
        }
        return {reference(newRule(group))};
    }
    if (letter(c))
    {
        return {reference(ruleNamed(name()))};
    }
    refuse(std::string{"unexpected "} + c);
}

GrammarReader::Sequence GrammarReader::literal()
{
    ++at_;
    std::string bytes;
    while (peek() != '"')
    {
        if (at_ >= text_.size() || peek() == '\n')
        {
            refuse("a literal has no end");
        }
        appendUtf8(bytes, codePoint());
    }
    ++at_;
    Sequence out;
    for (char const c : bytes)
    {
        Symbol symbol;
        symbol.kind = Symbol::Kind::kRange;
        symbol.low = symbol.high = static_cast<unsigned char>(c);
        out.push_back(symbol);
    }
    return out;
}

GrammarReader::Symbol GrammarReader::characterClass()
{
    ++at_;
    bool const negated = peek() == '^';
    at_ += negated ? 1 : 0;
    Ranges ranges;
    while (peek() != ']')
    {
        if (at_ >= text_.size() || peek() == '\n')
        {
            refuse("a character class has no end");
        }
        std::uint32_t const low = codePoint();
        std::uint32_t high = low;
        if (peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']')
        {
            ++at_;
            high = codePoint();
        }
        if (high < low)
        {
            refuse("a range of a character class runs backwards");
        }
        ranges.emplace_back(low, high);
    }
    ++at_;
    std::sort(ranges.begin(), ranges.end());
    std::vector<Sequence> out;
    if (negated)
    {
        std::uint32_t from = 0;
        for (auto const& [low, high] : ranges)
        {
            if (low > from)
            {
                addUtf8(from, low - 1, out);
            }
            from = std::max(from, high + 1);
        }
        if (from <= kLastCodePoint)
        {
            addUtf8(from, kLastCodePoint, out);
        }
    }
    else
    {
        for (auto const& [low, high] : ranges)
        {
            addUtf8(low, high, out);
        }
    }
    if (out.empty())
    {
        refuse("a character class admits nothing");
    }
    return reference(newRule(out));
}

// Splits a range of code points into runs whose UTF-8 forms are products of byte ranges.
void GrammarReader::addUtf8(std::uint32_t low, std::uint32_t high, std::vector<Sequence>& out) const
{
    constexpr std::uint32_t kSurrogates = 0xD800;
    constexpr std::uint32_t kBehindSurrogates = 0xE000;
    if (low < kBehindSurrogates && high >= kSurrogates)
    {
        if (low < kSurrogates)
        {
            addUtf8(low, kSurrogates - 1, out);
        }
        if (high >= kBehindSurrogates)
        {
            addUtf8(kBehindSurrogates, high, out);
        }
        return;
    }
    for (std::uint32_t const last : {0x7FU, 0x7FFU, 0xFFFFU})
    {
        if (low <= last && high > last)
        {
            addUtf8(low, last, out);
            addUtf8(last + 1, high, out);
            return;
        }
    }
    int const more = high < 0x80 ? 0 : high < 0x800 ? 1 : high < 0x10000 ? 2 : 3;
    for (int i = 1; i <= more; ++i)
    {
        std::uint32_t const mask = (1U << (6 * i)) - 1;
        if ((low & ~mask) == (high & ~mask))
        {
            continue;
        }
        if ((low & mask) != 0)
        {
            addUtf8(low, low | mask, out);
            addUtf8((low | mask) + 1, high, out);
            return;
        }
        if ((high & mask) != mask)
        {
            addUtf8(low, (high & ~mask) - 1, out);
            addUtf8(high & ~mask, high, out);
            return;
        }
    }
    std::string first;
    std::string last;
    appendUtf8(first, low);
    appendUtf8(last, high);
    Sequence bytes;
    for (std::size_t i = 0; i < first.size(); ++i)
    {
        Symbol symbol;
        symbol.kind = Symbol::Kind::kRange;
        symbol.low = static_cast<unsigned char>(first[i]);
        symbol.high = static_cast<unsigned char>(last[i]);
        bytes.push_back(symbol);
    }
    out.push_back(std::move(bytes));
}

// The rule R ::= unit R | "".
GrammarReader::Symbol GrammarReader::anyNumber(Sequence const& unit)
{
    auto const rule = static_cast<std::int32_t>(grammar_.rules_.size());
    grammar_.rules_.emplace_back();
    Sequence more = unit;
    more.push_back(reference(rule));
    define(rule, {more, Sequence{}});
    return reference(rule);
}

GrammarReader::Sequence GrammarReader::repeated(Sequence const& unit)
{
    blanks();
    if (take('*'))
    {
        return repeated({anyNumber(unit)});
    }
    if (take('+'))
    {
        Sequence out = unit;
        out.push_back(anyNumber(unit));
        return repeated({reference(newRule({out}))});
    }
    if (take('?'))
    {
        return repeated({reference(newRule({unit, Sequence{}}))});
    }
    if (!take('{'))
    {
        return unit;
    }
    int const least = number();
    int most = least;
    bool bounded = true;
    if (take(','))
    {
        blanks();
        bounded = peek() != '}';
        most = bounded ? number() : least;
    }
    if (!take('}'))
    {
        refuse("a repetition has no end");
    }
    if (most < least)
    {
        refuse("a repetition runs backwards");
    }
    Symbol const one = reference(newRule({unit}));
    Sequence out(static_cast<std::size_t>(least), one);
    if (!bounded)
    {
        out.push_back(anyNumber({one}));
    }
    else if (most > least)
    {
        // Nested options: each copy comes only after the one before it, so that the automaton stays small.
        Symbol rest = reference(newRule({{one}, Sequence{}}));
        for (int i = least + 1; i < most; ++i)
        {
            rest = reference(newRule({{one, rest}, Sequence{}}));
        }
        out.push_back(rest);
    }
    return {reference(newRule({out}))};
}

} // namespace dicast::standin
