// The bytes of each token, and the search for tokens by their bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace dicast::standin
{

class Vocabulary
{
public:
    Vocabulary() = default;

    // One entry for each id. Entries are the bytes themselves, or, if `byteLevel` is set, the notation of byte-level
    // BPE vocabularies, in which each byte is a printable letter.
    Vocabulary(std::vector<std::string> entries, bool byteLevel);

    // Reads a Hugging Face tokenizer.json with a byte-level vocabulary.
    static Vocabulary fromTokenizer(std::filesystem::path const& file);

    [[nodiscard]] bool empty() const { return bytes_.empty(); }
    [[nodiscard]] std::int32_t size() const { return static_cast<std::int32_t>(bytes_.size()); }
    // Empty for ids without text.
    [[nodiscard]] std::string const& bytes(std::int32_t id) const;
    // All ids with text, in the order of their bytes.
    [[nodiscard]] std::vector<std::int32_t> const& sorted() const { return sorted_; }
    // The tokens that begin `text`, shortest first.
    [[nodiscard]] std::vector<std::int32_t> prefixes(std::string_view text) const;
    [[nodiscard]] std::string decode(std::vector<std::int32_t> const& ids) const;

private:
    std::vector<std::string> bytes_;
    std::vector<std::int32_t> sorted_;
};

} // namespace dicast::standin
