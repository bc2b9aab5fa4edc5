#include "grammar.h"

#include "grammar_reader.h"

#include <algorithm>
#include <functional>
#include <stdexcept>

namespace dicast::standin
{

namespace
{

constexpr std::size_t kMaxStates = 100'000;
// Token ids that are cached over all states: 16 MiB.
constexpr std::size_t kMaxAllowed = 4U << 20;

} // namespace

Grammar::Grammar(std::string const& text)
{
    auto const root = GrammarReader{text, *this}.read();
    refuseLeftRecursion();
    std::vector<std::int32_t> tops;
    for (auto const place : rules_[static_cast<std::size_t>(root)])
    {
        tops.push_back(frame(place, kEmpty));
    }
    start_ = intern(tops);
}

// A rule that begins with itself would push without end.
void Grammar::refuseLeftRecursion() const
{
    std::vector<bool> nullable(rules_.size(), false);
    auto const mayBeEmpty = [&](std::int32_t place)
    {
        auto at = static_cast<std::size_t>(place);
        while (symbols_[at].kind == Symbol::Kind::kRule && nullable[static_cast<std::size_t>(symbols_[at].rule)])
        {
            ++at;
        }
        return symbols_[at].kind == Symbol::Kind::kEnd;
    };
    for (bool changed = true; changed;)
    {
        changed = false;
        for (std::size_t rule = 0; rule < rules_.size(); ++rule)
        {
            if (!nullable[rule] && std::any_of(rules_[rule].begin(), rules_[rule].end(), mayBeEmpty))
            {
                nullable[rule] = true;
                changed = true;
            }
        }
    }
    enum class Mark
    {
        kNew,
        kOpen,
        kDone
    };
    std::vector<Mark> marks(rules_.size(), Mark::kNew);
    std::function<void(std::size_t, int)> const visit = [&](std::size_t rule, int depth)
    {
        if (marks[rule] == Mark::kOpen)
        {
            throw std::runtime_error("EBNF grammar: a rule begins with itself (left recursion)");
        }
        if (marks[rule] == Mark::kDone)
        {
            return;
        }
        if (depth > 20'000)
        {
            throw std::runtime_error("EBNF grammar: rules are nested too deep");
        }
        marks[rule] = Mark::kOpen;
        for (auto const place : rules_[rule])
        {
            for (auto at = static_cast<std::size_t>(place); symbols_[at].kind == Symbol::Kind::kRule; ++at)
            {
                visit(static_cast<std::size_t>(symbols_[at].rule), depth + 1);
                if (!nullable[static_cast<std::size_t>(symbols_[at].rule)])
                {
                    break;
                }
            }
        }
        marks[rule] = Mark::kDone;
    };
    for (std::size_t rule = 0; rule < rules_.size(); ++rule)
    {
        visit(rule, 0);
    }
}

std::int32_t Grammar::frame(std::int32_t place, std::int32_t below)
{
    auto const [found, fresh] = frameIds_.try_emplace({place, below}, static_cast<std::int32_t>(frames_.size()));
    if (fresh)
    {
        frames_.push_back({place, below});
    }
    return found->second;
}

// Follows rule references and ends until only byte ranges are left on top.
void Grammar::expand(
    std::int32_t top, std::vector<std::int32_t>& stacks, bool& accepts, std::vector<std::int32_t>& seen)
{
    std::vector<std::int32_t> todo{top};
    while (!todo.empty())
    {
        auto const current = todo.back();
        todo.pop_back();
        if (current == kEmpty)
        {
            accepts = true;
            continue;
        }
        if (std::find(seen.begin(), seen.end(), current) != seen.end())
        {
            continue;
        }
        seen.push_back(current);
        auto const [place, below] = frames_[static_cast<std::size_t>(current)];
        auto const& symbol = symbols_[static_cast<std::size_t>(place)];
        switch (symbol.kind)
        {
        case Symbol::Kind::kRange: stacks.push_back(current); break;
        case Symbol::Kind::kEnd: todo.push_back(below); break;
        case Symbol::Kind::kRule:
        {
            // After a reference in last place there is nothing left to do, so no frame is kept for it: a rule that
            // repeats by calling itself last keeps its stack, and so the number of states, bounded.
            bool const last = symbols_[static_cast<std::size_t>(place) + 1].kind == Symbol::Kind::kEnd;
            auto const back = last ? below : frame(place + 1, below);
            for (auto const alternative : rules_[static_cast<std::size_t>(symbol.rule)])
            {
                todo.push_back(frame(alternative, back));
            }
            break;
        }
        }
    }
}

Grammar::State Grammar::intern(std::vector<std::int32_t> const& tops)
{
    std::vector<std::int32_t> stacks;
    std::vector<std::int32_t> seen;
    bool accepts = false;
    for (auto const top : tops)
    {
        expand(top, stacks, accepts, seen);
    }
    if (stacks.empty() && !accepts)
    {
        return kDead;
    }
    std::sort(stacks.begin(), stacks.end());
    auto key = stacks;
    key.push_back(accepts ? 1 : 0);
    auto const [found, fresh] = stateIds_.try_emplace(std::move(key), static_cast<State>(states_.size()));
    if (fresh)
    {
        if (states_.size() >= kMaxStates)
        {
            throw std::runtime_error("EBNF grammar: more states than the stand-in keeps");
        }
        auto& state = states_.emplace_back();
        state.stacks = std::move(stacks);
        state.accepts = accepts;
        state.next.fill(kUnknown);
    }
    return found->second;
}

Grammar::State Grammar::next(State state, unsigned char byte)
{
    if (state == kDead)
    {
        return kDead;
    }
    auto const known = states_[static_cast<std::size_t>(state)].next[byte];
    if (known != kUnknown)
    {
        return known;
    }
    std::vector<std::int32_t> tops;
    for (auto const stack : states_[static_cast<std::size_t>(state)].stacks)
    {
        auto const [place, below] = frames_[static_cast<std::size_t>(stack)];
        auto const& symbol = symbols_[static_cast<std::size_t>(place)];
        if (byte >= symbol.low && byte <= symbol.high)
        {
            tops.push_back(frame(place + 1, below));
        }
    }
    State const target = tops.empty() ? kDead : intern(tops);
    states_[static_cast<std::size_t>(state)].next[byte] = target;
    return target;
}

Grammar::State Grammar::next(State state, std::string const& bytes)
{
    for (char const c : bytes)
    {
        state = next(state, static_cast<unsigned char>(c));
    }
    return state;
}

std::vector<std::int32_t> const& Grammar::allowed(State state, Vocabulary const& vocabulary)
{
    auto const known = allowed_.find(state);
    if (known != allowed_.end())
    {
        return known->second;
    }
    if (allowedSize_ >= kMaxAllowed)
    {
        allowed_.clear();
        allowedSize_ = 0;
    }
    std::vector<std::int32_t> out;
    auto const& sorted = vocabulary.sorted();
    using Place = std::vector<std::int32_t>::const_iterator;
    // Tokens are sorted by their bytes: tokens with the same beginning are neighbours and are excluded together.
    std::function<void(Place, Place, std::size_t, State)> const walk
        = [&](Place begin, Place end, std::size_t depth, State at)
    {
        for (; begin != end && vocabulary.bytes(*begin).size() == depth; ++begin)
        {
            out.push_back(*begin);
        }
        while (begin != end)
        {
            auto const byte = static_cast<unsigned char>(vocabulary.bytes(*begin)[depth]);
            auto const group = std::partition_point(begin, end, [&](std::int32_t id)
                { return static_cast<unsigned char>(vocabulary.bytes(id)[depth]) == byte; });
            State const target = next(at, byte);
            if (target != kDead)
            {
                walk(begin, group, depth + 1, target);
            }
            begin = group;
        }
    };
    walk(sorted.begin(), sorted.end(), 0, state);
    std::sort(out.begin(), out.end());
    allowedSize_ += out.size();
    return allowed_.emplace(state, std::move(out)).first->second;
}

} // namespace dicast::standin
