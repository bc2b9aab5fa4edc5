#include "vocabulary.h"

#include "check.h"
#include "json.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <numeric>
#include <unordered_map>

namespace dicast::standin
{

namespace
{

// Byte-level BPE writes printable Latin-1 bytes as themselves and the others as the code points from 256 on, in order.
std::unordered_map<std::string, char> byteLetters()
{
    std::unordered_map<std::string, char> letters;
    std::uint32_t next = 256;
    for (std::uint32_t byte = 0; byte < 256; ++byte)
    {
        bool const printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        std::string letter;
        appendUtf8(letter, printable ? byte : next++);
        letters.emplace(std::move(letter), static_cast<char>(byte));
    }
    return letters;
}

std::string fromByteLevel(std::string const& entry, std::unordered_map<std::string, char> const& letters)
{
    std::string out;
    for (std::size_t at = 0; at < entry.size();)
    {
        std::size_t length = 1;
        while (at + length < entry.size() && (static_cast<unsigned char>(entry[at + length]) & 0xC0) == 0x80)
        {
            ++length;
        }
        auto const found = letters.find(entry.substr(at, length));
        if (found == letters.end())
        {
            return entry;
        }
        out += found->second;
        at += length;
    }
    return out;
}

} // namespace

Vocabulary::Vocabulary(std::vector<std::string> entries, bool byteLevel)
    : bytes_{std::move(entries)}
{
    if (byteLevel)
    {
        auto const letters = byteLetters();
        for (auto& entry : bytes_)
        {
            entry = fromByteLevel(entry, letters);
        }
    }
    for (std::int32_t id = 0; id < size(); ++id)
    {
        if (!bytes_[static_cast<std::size_t>(id)].empty())
        {
            sorted_.push_back(id);
        }
    }
    std::sort(sorted_.begin(), sorted_.end(),
        [this](std::int32_t a, std::int32_t b)
        {
            int const order = bytes(a).compare(bytes(b));
            return order != 0 ? order < 0 : a < b;
        });
}

Vocabulary Vocabulary::fromTokenizer(std::filesystem::path const& file)
{
    std::ifstream in{file, std::ios::binary};
    STANDIN_CHECK(in, "the stand-in's script has text, and there is neither an encoded vocabulary nor " + file.string());
    std::string const text{std::istreambuf_iterator<char>{in}, {}};
    Json const json = Json::parse(text);
    std::vector<std::string> entries;
    auto const put = [&entries](std::int64_t id, std::string const& bytes)
    {
        STANDIN_CHECK(id >= 0 && id < 1'000'000, "a token's id is out of range");
        if (static_cast<std::size_t>(id) >= entries.size())
        {
            entries.resize(static_cast<std::size_t>(id) + 1);
        }
        entries[static_cast<std::size_t>(id)] = bytes;
    };
    auto const letters = byteLetters();
    for (auto const& [entry, id] : json.at("model").at("vocab").members())
    {
        put(id.integer().value_or(-1), fromByteLevel(entry, letters));
    }
    for (auto const& token : json.at("added_tokens").items())
    {
        put(token.at("id").integer().value_or(-1), token.at("content").string().value_or(""));
    }
    STANDIN_CHECK(!entries.empty(), "no vocabulary in " + file.string());
    return Vocabulary{std::move(entries), false};
}

std::string const& Vocabulary::bytes(std::int32_t id) const
{
    static std::string const kNone;
    return id >= 0 && id < size() ? bytes_[static_cast<std::size_t>(id)] : kNone;
}

std::vector<std::int32_t> Vocabulary::prefixes(std::string_view text) const
{
    std::vector<std::int32_t> found;
    auto begin = sorted_.begin();
    auto end = sorted_.end();
    for (std::size_t depth = 0; depth < text.size() && begin != end; ++depth)
    {
        auto const byteAt = [this, depth](std::int32_t id)
        {
            auto const& token = bytes(id);
            return depth < token.size() ? static_cast<int>(static_cast<unsigned char>(token[depth])) : -1;
        };
        int const wanted = static_cast<unsigned char>(text[depth]);
        begin = std::partition_point(begin, end, [&](std::int32_t id) { return byteAt(id) < wanted; });
        end = std::partition_point(begin, end, [&](std::int32_t id) { return byteAt(id) <= wanted; });
        if (begin != end && bytes(*begin).size() == depth + 1)
        {
            found.push_back(*begin);
        }
    }
    return found;
}

std::string Vocabulary::decode(std::vector<std::int32_t> const& ids) const
{
    return std::accumulate(ids.begin(), ids.end(), std::string{},
        [this](std::string text, std::int32_t id) { return std::move(text) + bytes(id); });
}

} // namespace dicast::standin
