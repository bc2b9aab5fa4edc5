#include "harness.h"

#include "grammar.h"
#include "vocabulary.h"

#include <algorithm>

namespace selftest
{

namespace
{

using dicast::standin::Grammar;

bool matches(std::string const& grammar, std::string const& text)
{
    Grammar automaton{grammar};
    auto const state = automaton.next(automaton.start(), text);
    return state != Grammar::kDead && automaton.accepts(state);
}

bool refused(std::string const& grammar)
{
    return thrown([&grammar] { Grammar{grammar}; }) == "std";
}

} // namespace

void grammars()
{
    CHECK(matches("root ::= \"a\" \"b\"", "ab"));
    CHECK(!matches("root ::= \"a\" \"b\"", "a"));
    CHECK(!matches("root ::= \"a\" \"b\"", "abc"));
    CHECK(matches("root ::= a | b\na ::= \"x\"\nb ::= \"y\" # a comment\n", "y"));
    CHECK(matches("root ::= (\"a\" | \"b\"\n  | \"c\")+", "abcab"));
    CHECK(!matches("root ::= (\"a\" | \"b\")+", ""));
    CHECK(matches("root ::= \"a\"? [0-9]* \"\"", ""));
    CHECK(matches("root ::= \"a\"{2,3}", "aaa"));
    CHECK(!matches("root ::= \"a\"{2,3}", "a"));
    CHECK(!matches("root ::= \"a\"{2,3}", "aaaa"));
    CHECK(matches("root ::= [a-c]{2}", "ca"));
    CHECK(matches("root ::= [ab]{2,}", "ababab"));
    CHECK(matches("root ::= \"\\\"\\n\\\\\\x41\\u00e9\"", "\"\n\\A\xC3\xA9"));
    CHECK(matches("root ::= [^<]* \"</think>\"", "thoughts \xE4\xBD\xA0\xF0\x9F\x98\x80</think>"));
    CHECK(!matches("root ::= [^<]* \"</think>\"", "a<b</think>"));
    CHECK(!matches("root ::= [^a]", "\xFF"));
    CHECK(!matches("root ::= [^a]", "\xED\xA0\x80"));
    CHECK(matches("root ::= [\\u4e00-\\u9fff]+", "\xE4\xBD\xA0\xE5\xA5\xBD"));
    CHECK(!matches("root ::= [\\u4e00-\\u9fff]+", "x"));
    CHECK(matches("root ::= [-a\\]]+", "]-a"));
    CHECK(matches("root ::= \"(\" root \")\" | \"\"", "((()))"));
    CHECK(!matches("root ::= \"(\" root \")\" | \"\"", "(()"));

    // A verdict: each alias once, scores on the scale, a permutation of two.
    std::string const verdict = "root ::= \"{\\\"scores\\\": {\" s \", \" s \"}, \\\"best-to-worst\\\": [\" p \"]}\"\n"
                                "s ::= \"\\\"model-\" [12] \"\\\": \" [1-5]\n"
                                "p ::= \"\\\"model-1\\\", \\\"model-2\\\"\" | \"\\\"model-2\\\", \\\"model-1\\\"\"\n";
    CHECK(matches(verdict,
        "{\"scores\": {\"model-1\": 4, \"model-2\": 2}, \"best-to-worst\": [\"model-1\", \"model-2\"]}"));
    CHECK(!matches(verdict,
        "{\"scores\": {\"model-1\": 6, \"model-2\": 2}, \"best-to-worst\": [\"model-1\", \"model-2\"]}"));

    CHECK(refused(""));
    CHECK(refused("main ::= \"a\""));
    CHECK(refused("root ::= other"));
    CHECK(refused("root ::= \"a"));
    CHECK(refused("root ::= [a-"));
    CHECK(refused("root ::= [z-a]"));
    CHECK(refused("root ::= (\"a\""));
    CHECK(refused("root ::= \"a\")"));
    CHECK(refused("root ::= | \"a\""));
    CHECK(refused("root ::= \"a\"{3,1}"));
    CHECK(refused("root ::= \"a\"{99999}"));
    CHECK(refused("root ::= \"\\q\""));
    CHECK(refused("root ::= \"a\"\nroot ::= \"b\""));
    CHECK(refused("root ::= root \"a\" | \"a\""));
    CHECK(refused("root ::= a root\na ::= \"x\"?"));
    CHECK(refused("root ::= " + std::string(1000, '(')));

    // Repetition by right recursion keeps the number of states small, so long texts cost no more states.
    Grammar loop{"root ::= [^<]* \"<\""};
    auto state = loop.start();
    auto const again = loop.next(loop.next(state, 'a'), 'b');
    CHECK(loop.next(again, 'c') == again);

    // The mask: exactly the tokens whose bytes the automaton accepts.
    dicast::standin::Vocabulary const words{vocabulary(), false};
    Grammar mixed{"root ::= \"<think>\" [^<]* \"</think>\" [1-5]"};
    auto const allowed = mixed.allowed(mixed.start(), words);
    CHECK(allowed == (Tokens{'<', kThink}));
    state = mixed.next(mixed.start(), "<think>");
    auto const inside = mixed.allowed(state, words);
    CHECK(std::count(inside.begin(), inside.end(), kCloseThink) == 1);
    CHECK(std::count(inside.begin(), inside.end(), kHello) == 1);
    CHECK(std::count(inside.begin(), inside.end(), kThink) == 0);
    for (executor::TokenIdType token = 0; token < words.size(); ++token)
    {
        bool const takes = mixed.next(state, words.bytes(token)) != Grammar::kDead;
        CHECK((std::count(inside.begin(), inside.end(), token) == 1) == takes);
    }
}

} // namespace selftest
