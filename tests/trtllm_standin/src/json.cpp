#include "json.h"

#include <cctype>
#include <cstdlib>
#include <stdexcept>

namespace dicast::standin
{

void appendUtf8(std::string& out, std::uint32_t c)
{
    if (c < 0x80)
    {
        out += static_cast<char>(c);
        return;
    }
    if (c < 0x800)
    {
        out += static_cast<char>(0xC0 | (c >> 6));
    }
    else
    {
        if (c < 0x10000)
        {
            out += static_cast<char>(0xE0 | (c >> 12));
        }
        else
        {
            out += static_cast<char>(0xF0 | (c >> 18));
            out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
        }
        out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    }
    out += static_cast<char>(0x80 | (c & 0x3F));
}

class JsonReader
{
public:
    explicit JsonReader(std::string_view text)
        : text_{text}
    {
    }

    Json document()
    {
        Json value = read(0);
        blanks();
        require(at_ == text_.size(), "text after the document");
        return value;
    }

private:
    static constexpr int kMaxDepth = 64;

    void require(bool condition, char const* what) const
    {
        if (!condition)
        {
            throw std::runtime_error("not JSON: " + std::string{what} + " at byte " + std::to_string(at_));
        }
    }

    void blanks()
    {
        while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0)
        {
            ++at_;
        }
    }

    [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    bool take(char c)
    {
        blanks();
        if (peek() != c)
        {
            return false;
        }
        ++at_;
        return true;
    }

    bool word(std::string_view expected)
    {
        if (text_.substr(at_, expected.size()) != expected)
        {
            return false;
        }
        at_ += expected.size();
        return true;
    }

    Json read(int depth)
    {
        require(depth < kMaxDepth, "nested too deep");
        blanks();
        Json value;
        if (take('{'))
        {
            value.kind_ = Json::Kind::kObject;
            if (!take('}'))
            {
                do
                {
                    blanks();
                    std::string name = readString();
                    require(take(':'), "a colon is missing");
                    value.members_.insert_or_assign(std::move(name), read(depth + 1));
                } while (take(','));
                require(take('}'), "an object has no end");
            }
        }
        else if (take('['))
        {
            value.kind_ = Json::Kind::kArray;
            if (!take(']'))
            {
                do
                {
                    value.items_.push_back(read(depth + 1));
                } while (take(','));
                require(take(']'), "an array has no end");
            }
        }
        else if (peek() == '"')
        {
            value.kind_ = Json::Kind::kString;
            value.text_ = readString();
        }
        else if (word("true"))
        {
            value.kind_ = Json::Kind::kBool;
            value.number_ = 1;
        }
        else if (word("false"))
        {
            value.kind_ = Json::Kind::kBool;
        }
        else if (!word("null"))
        {
            std::string const digits{text_.substr(at_, text_.find_first_not_of("+-.0123456789eE", at_) - at_)};
            char* end = nullptr;
            value.kind_ = Json::Kind::kNumber;
            value.number_ = std::strtod(digits.c_str(), &end);
            require(!digits.empty() && *end == '\0', "neither a value nor a number");
            at_ += digits.size();
        }
        return value;
    }

    std::uint32_t hex4()
    {
        require(at_ + 4 <= text_.size(), "an escape has no end");
        std::uint32_t value = 0;
        for (int i = 0; i < 4; ++i)
        {
            char const c = text_[at_++];
            require(std::isxdigit(static_cast<unsigned char>(c)) != 0, "an escape is no number");
            value = value * 16 + static_cast<std::uint32_t>(std::isdigit(static_cast<unsigned char>(c)) != 0
                        ? c - '0'
                        : std::tolower(static_cast<unsigned char>(c)) - 'a' + 10);
        }
        return value;
    }

    std::string readString()
    {
        require(peek() == '"', "a string is expected");
        ++at_;
        std::string out;
        while (peek() != '"')
        {
            require(at_ < text_.size(), "a string has no end");
            char const c = text_[at_++];
            if (c != '\\')
            {
                out += c;
                continue;
            }
            char const escape = peek();
            ++at_;
            switch (escape)
            {
            case 'b': out += '\b'; break;
            case 'f': out += '\f'; break;
            case 'n': out += '\n'; break;
            case 'r': out += '\r'; break;
            case 't': out += '\t'; break;
            case 'u':
            {
                std::uint32_t code = hex4();
                if (code >= 0xD800 && code < 0xDC00 && word("\\u"))
                {
                    code = 0x10000 + ((code - 0xD800) << 10) + (hex4() - 0xDC00);
                }
                appendUtf8(out, code);
                break;
            }
            default: out += escape;
            }
        }
        ++at_;
        return out;
    }

    std::string_view text_;
    std::size_t at_{0};
};

Json Json::parse(std::string_view text) { return JsonReader{text}.document(); }

Json const& Json::at(std::string const& name) const
{
    static Json const kNothing;
    auto const found = members_.find(name);
    return found == members_.end() ? kNothing : found->second;
}

std::optional<std::int64_t> Json::integer() const
{
    return kind_ == Kind::kNumber ? std::optional{static_cast<std::int64_t>(number_)} : std::nullopt;
}

std::optional<bool> Json::boolean() const { return kind_ == Kind::kBool ? std::optional{number_ != 0} : std::nullopt; }

std::optional<std::string> Json::string() const { return kind_ == Kind::kString ? std::optional{text_} : std::nullopt; }

} // namespace dicast::standin
