#include "script.h"

#include "check.h"

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace dicast::standin
{

namespace
{

std::string unescape(std::string const& text)
{
    std::string out;
    for (std::size_t at = 0; at < text.size(); ++at)
    {
        if (text[at] != '\\' || at + 1 == text.size())
        {
            out += text[at];
            continue;
        }
        switch (text[++at])
        {
        case 'n': out += '\n'; break;
        case 't': out += '\t'; break;
        case 'r': out += '\r'; break;
        case 's': out += ' '; break;
        case 'x':
            STANDIN_CHECK(at + 2 < text.size(), "\\x needs two digits");
            out += static_cast<char>(std::stoi(text.substr(at + 1, 2), nullptr, 16));
            at += 2;
            break;
        default: out += text[at];
        }
    }
    return out;
}

// The words of one line after its key.
class Words
{
public:
    explicit Words(std::string const& rest)
        : in_{rest}
    {
    }

    std::string word()
    {
        std::string out;
        STANDIN_CHECK(static_cast<bool>(in_ >> out), "a word is missing");
        return out;
    }

    template <typename T>
    T number()
    {
        T out{};
        STANDIN_CHECK(static_cast<bool>(in_ >> out), "a number is missing");
        return out;
    }

    std::vector<std::int32_t> numbers()
    {
        std::vector<std::int32_t> out;
        for (std::int32_t id = 0; in_ >> id;)
        {
            out.push_back(id);
        }
        STANDIN_CHECK(in_.eof() && !out.empty(), "a list of token ids is expected");
        return out;
    }

    std::string rest()
    {
        std::string out;
        std::getline(in_ >> std::ws, out);
        return unescape(out);
    }

    Throw thrown()
    {
        std::string const kind = word();
        static std::map<std::string, Throw::Kind> const kKinds{{"tllm", Throw::Kind::kTllm},
            {"request", Throw::Kind::kRequest}, {"std", Throw::Kind::kStd}, {"int", Throw::Kind::kInt}};
        auto const found = kKinds.find(kind);
        STANDIN_CHECK(found != kKinds.end(), "the kinds of throw are tllm, request, std and int, not " + kind);
        return {found->second, rest()};
    }

private:
    std::istringstream in_;
};

void readCondition(Rule& rule, std::string const& rest)
{
    if (rest.find_first_not_of(' ') == std::string::npos)
    {
        return;
    }
    Words words{rest};
    std::string const condition = words.word();
    if (condition == "order")
    {
        rule.order = words.number<std::uint64_t>();
    }
    else if (condition == "every")
    {
        rule.every = words.number<std::uint64_t>();
        STANDIN_CHECK(*rule.every > 0, "every 0");
    }
    else if (condition == "contains")
    {
        rule.contains = words.rest();
    }
    else if (condition == "ends")
    {
        rule.endsWith = words.rest();
    }
    else if (condition == "tokens")
    {
        rule.containsTokens = words.numbers();
    }
    else
    {
        STANDIN_FAIL("a rule's conditions are order, every, contains, ends and tokens, not " + condition);
    }
}

bool readRuleLine(Rule& rule, std::string const& key, Words& words)
{
    if (key == "text")
    {
        rule.text += words.rest();
    }
    else if (key == "tokens")
    {
        rule.tokens = words.numbers();
    }
    else if (key == "no_end")
    {
        rule.ends = false;
    }
    else if (key == "bias")
    {
        auto const value = words.number<float>();
        rule.biasText[words.rest()] = value;
    }
    else if (key == "bias_token")
    {
        auto const value = words.number<float>();
        rule.biasToken[words.number<std::int32_t>()] = value;
    }
    else if (key == "delay_us")
    {
        rule.delay = std::chrono::microseconds{words.number<std::int64_t>()};
    }
    else if (key == "throw_at_enqueue")
    {
        rule.atEnqueue = words.thrown();
    }
    else if (key == "throw_at_await")
    {
        rule.atAwait = words.thrown();
    }
    else if (key == "throw_in_step")
    {
        rule.inStep = words.thrown();
        STANDIN_CHECK(rule.inStep->kind != Throw::Kind::kInt, "what is no std::exception would end the process here");
    }
    else if (key == "sticky")
    {
        rule.sticky = words.thrown();
        STANDIN_CHECK(rule.sticky->kind != Throw::Kind::kInt, "what is no std::exception would end the process here");
    }
    else if (key == "error")
    {
        rule.error = words.rest();
    }
    else if (key == "error_after")
    {
        rule.errorAfter = words.number<std::int32_t>();
        rule.error = words.rest();
    }
    else if (key == "hang")
    {
        rule.hang = Hang::kUntilCancelled;
    }
    else if (key == "hang_hard")
    {
        rule.hang = Hang::kUntilShutdown;
    }
    else if (key == "hold")
    {
        rule.hold = words.word();
    }
    else if (key == "finish_reason")
    {
        rule.finishReason = words.number<int>();
    }
    else if (key == "crash")
    {
        rule.crash = Crash::kWithErrors;
    }
    else if (key == "crash_silent")
    {
        rule.crash = Crash::kSilent;
    }
    else if (key == "crash_process")
    {
        rule.crash = Crash::kProcess;
    }
    else if (key == "twice")
    {
        rule.twice = true;
    }
    else
    {
        return false;
    }
    return true;
}

bool readEngineLine(Script& script, std::string const& key, Words& words)
{
    if (key == "step_us")
    {
        script.step = std::chrono::microseconds{words.number<std::int64_t>()};
    }
    else if (key == "kv_blocks")
    {
        script.kvBlocks = words.number<std::int32_t>();
    }
    else if (key == "strength")
    {
        script.strength = words.number<float>();
    }
    else if (key == "log_probs_unmasked")
    {
        script.logProbs = LogProbs::kVocabulary;
    }
    else if (key == "shutdown_ms")
    {
        script.shutdown = std::chrono::milliseconds{words.number<std::int64_t>()};
    }
    else if (key == "await_ms")
    {
        script.await = std::chrono::milliseconds{words.number<std::int64_t>()};
    }
    else if (key == "mpi_initialised")
    {
        script.mpiInitialised = true;
    }
    else if (key == "throw_at_open")
    {
        script.atOpen = words.thrown();
    }
    else
    {
        return false;
    }
    return true;
}

} // namespace

void Throw::now() const
{
    switch (kind)
    {
    case Kind::kTllm: STANDIN_FAIL(message);
    case Kind::kRequest:
        throw tensorrt_llm::common::RequestSpecificException(
            __FILE__, __LINE__, message.c_str(), 0, tensorrt_llm::common::RequestErrorCode::kNETWORK_ERROR);
    case Kind::kStd: throw std::logic_error(message);
    case Kind::kInt: break;
    }
    throw 42;
}

Script Script::read(std::filesystem::path const& file)
{
    Script script;
    std::ifstream in{file};
    std::string line;
    for (int number = 1; std::getline(in, line); ++number)
    {
        auto const start = line.find_first_not_of(" \t");
        if (start == std::string::npos || line[start] == '#')
        {
            continue;
        }
        auto const end = line.find_first_of(" \t", start);
        std::string const key = line.substr(start, end - start);
        std::string const rest = end == std::string::npos ? "" : line.substr(end + 1);
        try
        {
            Words words{rest};
            if (key == "rule")
            {
                readCondition(script.rules.emplace_back(), rest);
            }
            else
            {
                bool const known = script.rules.empty() ? readEngineLine(script, key, words)
                                                        : readRuleLine(script.rules.back(), key, words);
                STANDIN_CHECK(known, "no such key here: " + key);
            }
        }
        catch (std::exception const& error)
        {
            STANDIN_FAIL(file.string() + ", line " + std::to_string(number) + ": " + error.what());
        }
    }
    return script;
}

bool Script::needsVocabulary() const
{
    for (auto const& rule : rules)
    {
        if (!rule.text.empty() || rule.contains || rule.endsWith || !rule.biasText.empty())
        {
            return true;
        }
    }
    return false;
}

} // namespace dicast::standin
