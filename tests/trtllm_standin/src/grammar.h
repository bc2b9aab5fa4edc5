// A matcher for the EBNF dialect of guided decoding: rules, literals, character classes, groups, alternatives and
// repetitions. It works on bytes, as a pushdown automaton whose states are found on demand.
#pragma once

#include "vocabulary.h"

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace dicast::standin
{

// Not thread-safe: matching adds states.
class Grammar
{
public:
    using State = std::int32_t;
    static constexpr State kDead = -1;

    // Throws std::runtime_error if the text is no grammar.
    explicit Grammar(std::string const& text);

    [[nodiscard]] State start() const { return start_; }
    // The state after a byte; kDead if the grammar does not admit it.
    State next(State state, unsigned char byte);
    State next(State state, std::string const& bytes);
    // Whether the text so far is complete.
    [[nodiscard]] bool accepts(State state) const { return states_[static_cast<std::size_t>(state)].accepts; }
    // The tokens whose bytes the grammar admits here, by id; valid until the next call.
    std::vector<std::int32_t> const& allowed(State state, Vocabulary const& vocabulary);

private:
    friend class GrammarReader;

    struct Symbol
    {
        enum class Kind : std::uint8_t
        {
            kRange,
            kRule,
            kEnd
        };

        Kind kind{Kind::kEnd};
        unsigned char low{0};
        unsigned char high{0};
        std::int32_t rule{0};
    };

    struct StateData
    {
        std::vector<std::int32_t> stacks;
        bool accepts{false};
        std::array<State, 256> next{};
    };

    // A stack of places in `symbols_`: the one to continue from, and the stack below it.
    struct Frame
    {
        std::int32_t place;
        std::int32_t below;
    };

    static constexpr std::int32_t kEmpty = -1;
    static constexpr State kUnknown = -2;

    std::int32_t frame(std::int32_t place, std::int32_t below);
    void expand(std::int32_t top, std::vector<std::int32_t>& stacks, bool& accepts, std::vector<std::int32_t>& seen);
    State intern(std::vector<std::int32_t> const& tops);
    void refuseLeftRecursion() const;

    std::vector<Symbol> symbols_;
    std::vector<std::vector<std::int32_t>> rules_;
    std::vector<Frame> frames_;
    std::map<std::pair<std::int32_t, std::int32_t>, std::int32_t> frameIds_;
    std::vector<StateData> states_;
    std::map<std::vector<std::int32_t>, State> stateIds_;
    std::unordered_map<State, std::vector<std::int32_t>> allowed_;
    std::size_t allowedSize_{0};
    State start_{0};
};

} // namespace dicast::standin
