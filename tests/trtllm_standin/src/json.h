// A reader of JSON, as far as an engine's config.json and a tokenizer.json need one.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dicast::standin
{

class Json
{
public:
    // Throws std::runtime_error if the text is not JSON.
    static Json parse(std::string_view text);

    // The member with that name; null if this is no object or has no such member.
    [[nodiscard]] Json const& at(std::string const& name) const;
    [[nodiscard]] std::optional<std::int64_t> integer() const;
    [[nodiscard]] std::optional<bool> boolean() const;
    [[nodiscard]] std::optional<std::string> string() const;
    [[nodiscard]] std::vector<Json> const& items() const { return items_; }
    [[nodiscard]] std::map<std::string, Json> const& members() const { return members_; }

private:
    friend class JsonReader;

    enum class Kind
    {
        kNull,
        kBool,
        kNumber,
        kString,
        kArray,
        kObject
    };

    Kind kind_{Kind::kNull};
    double number_{0};
    std::string text_;
    std::vector<Json> items_;
    std::map<std::string, Json> members_;
};

// Appends a code point in UTF-8.
void appendUtf8(std::string& out, std::uint32_t codePoint);

} // namespace dicast::standin
