/* Masking, prompts and parsing, for programs with their own engine. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_PROMPT_HPP
#define DICAST_PROMPT_HPP

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "config.hpp"
#include "engine.hpp"
#include "request.hpp"
#include "result.hpp"
#include "texts.hpp"
#include "verdict.hpp"

namespace dicast {

/** How one judge model must be prompted and read: system prompt, message layout, score scale, form of the verdict.
 * Never changes. */
class Profile {
public:
    using Object = dicast_profile;

#if DICAST_HAS_EXCEPTIONS
    static Profile builtin() { return try_builtin().value(); }
    static Profile from_json(std::string_view json) { return try_from_json(json).value(); }
    static Profile load(std::string_view path) { return try_load(path).value(); }
    static Profile import_from(std::string_view path) { return try_import_from(path).value(); }
#endif

    /** The profile of a general instruction-following model. */
    static Result<Profile> try_builtin() { return detail::made<Profile>(dicast_profile_builtin); }
    /** Status::invalid_profile names what is wrong. */
    static Result<Profile> try_from_json(std::string_view json) {
        return detail::made<Profile>(
            [&](auto **object, auto **error) { return dicast_profile_from_json(detail::str(json), object, error); });
    }
    /** Reads a profile from a file. */
    static Result<Profile> try_load(std::string_view path) {
        return detail::made<Profile>(
            [&](auto **object, auto **error) { return dicast_profile_load(detail::str(path), object, error); });
    }
    /** The profile of RewardAnything; reads the system prompt of its training from the Python package at `path`. */
    static Result<Profile> try_import_from(std::string_view path) {
        return detail::made<Profile>(
            [&](auto **object, auto **error) { return dicast_profile_import(detail::str(path), object, error); });
    }
    /** The profile as JSON, which from_json reads. */
    std::string_view json() const & noexcept DICAST_LIFETIMEBOUND { return detail::view(dicast_profile_json(get())); }
    std::string_view json() const && = delete;

    /** Takes over a profile of dicast.h. */
    static Profile adopt(Object *object) noexcept { return Profile(object); }
    /** The profile of dicast.h, lent. */
    const Object *get() const noexcept DICAST_LIFETIMEBOUND { return object_.get(); }

private:
    explicit Profile(Object *object) noexcept : object_(object) {}

    detail::Handle<Object, dicast_profile_free> object_;
};

/** Which response the judge sees under which name. Places are numbered from 0 in the order shown. Never changes. */
class Aliases {
public:
    using Object = dicast_aliases;
    using Names = std::initializer_list<std::string_view>;

#if DICAST_HAS_EXCEPTIONS
    template <class Texts = Names>
    static Aliases mask(Texts &&names, Mask mode = Mask::shuffle, std::uint64_t seed = 42,
                        std::string_view prefix = "model-") {
        return try_mask(names, mode, seed, prefix).value();
    }
    template <class Shown = Names, class Meant = Names>
    static Aliases of(Shown &&shown, Meant &&names) {
        return try_of(shown, names).value();
    }
#endif

    /**
     * Masks names. Each gets an alias of the prefix and a number from 1, in the order that `mode` sets. Only the
     * shuffle uses the seed; the reference system's is 42. `names` is any range of texts.
     */
    template <class Texts = Names>
    static Result<Aliases> try_mask(Texts &&names, Mask mode = Mask::shuffle, std::uint64_t seed = 42,
                                    std::string_view prefix = "model-") {
        const detail::Texts texts(names);
        return detail::made<Aliases>([&](auto **object, auto **error) {
            return dicast_aliases_mask(texts.data(), texts.size(), detail::str(prefix),
                                       static_cast<std::uint32_t>(mode), seed, object, error);
        });
    }
    /** The aliases of a judgment made elsewhere: `shown` are the names that the judge saw, `names` the real names. */
    template <class Shown = Names, class Meant = Names>
    static Result<Aliases> try_of(Shown &&shown, Meant &&names) {
        const detail::Texts seen(shown);
        const detail::Texts meant(names);
        if (seen.size() != meant.size()) {
            return Error(Status::invalid_argument, "shown and names differ in length");
        }
        return detail::made<Aliases>([&](auto **object, auto **error) {
            return dicast_aliases_of(seen.data(), meant.data(), seen.size(), object, error);
        });
    }

    std::size_t size() const noexcept { return dicast_aliases_count(get()); }
    /** The name that the judge sees at `place`; empty out of range. */
    std::string_view shown(std::size_t place) const & noexcept DICAST_LIFETIMEBOUND {
        return detail::view(dicast_aliases_shown(get(), place));
    }
    std::string_view shown(std::size_t place) const && = delete;
    /** Your name of the response shown at `place`; empty out of range. */
    std::string_view name(std::size_t place) const & noexcept DICAST_LIFETIMEBOUND {
        return detail::view(dicast_aliases_name(get(), place));
    }
    std::string_view name(std::size_t place) const && = delete;
    /** The index, in the order of the names given, of the response shown at `place`; `none` out of range. */
    std::size_t index(std::size_t place) const noexcept { return dicast_aliases_index(get(), place); }

    /** Takes over aliases of dicast.h. */
    static Aliases adopt(Object *object) noexcept { return Aliases(object); }
    /** The aliases of dicast.h, lent. */
    const Object *get() const noexcept DICAST_LIFETIMEBOUND { return object_.get(); }

private:
    explicit Aliases(Object *object) noexcept : object_(object) {}

    detail::Handle<Object, dicast_aliases_free> object_;
};

/** One message of a prompt. Lives as long as the prompt. */
struct Message {
    /** `system` or `user`. */
    std::string_view role;
    std::string_view content;
};

/** The messages that a judge reads for one request, for programs with their own engine. Never changes. */
class Prompt {
public:
    using Object = dicast_prompt;

#if DICAST_HAS_EXCEPTIONS
    Prompt(const Profile &profile, const Request &request) : Prompt(try_new(profile, request).value()) {}
#endif

    /** Builds the messages of a request as a judge of `profile` was trained to read them. */
    static Result<Prompt> try_new(const Profile &profile, const Request &request) {
        return detail::made<Prompt>([&](auto **object, auto **error) {
            return dicast_prompt_new(profile.get(), request.get(), object, error);
        });
    }
    std::vector<Message> messages() const &DICAST_LIFETIMEBOUND {
        std::vector<Message> messages(dicast_prompt_count(get()));
        for (std::size_t index = 0; index < messages.size(); ++index) {
            messages[index] = {detail::view(dicast_prompt_role(get(), index)),
                               detail::view(dicast_prompt_content(get(), index))};
        }
        return messages;
    }
    std::vector<Message> messages() const && = delete;

    /** Takes over a prompt of dicast.h. */
    static Prompt adopt(Object *object) noexcept { return Prompt(object); }
    /** The prompt of dicast.h, lent. */
    const Object *get() const noexcept DICAST_LIFETIMEBOUND { return object_.get(); }

private:
    explicit Prompt(Object *object) noexcept : object_(object) {}

    detail::Handle<Object, dicast_prompt_free> object_;
};

namespace detail {

inline Result<Verdict> parse(std::string_view text, const dicast_aliases *aliases, const Profile *profile,
                             const VerdictPolicy &policy) {
    const std::string json = policy.to_json();
    return made<Verdict>([&](auto **object, auto **error) {
        return dicast_parse(str(text), aliases, profile == nullptr ? nullptr : profile->get(), str(json), object,
                            error);
    });
}

inline Result<Verdict> parse(const std::vector<Token> &tokens, const dicast_aliases *aliases, const Profile *profile,
                             const VerdictPolicy &policy) {
    const std::string json = policy.to_json();
    const Tokens lent(tokens);
    return made<Verdict>([&](auto **object, auto **error) {
        return dicast_parse_tokens(lent.data(), lent.size(), aliases, profile == nullptr ? nullptr : profile->get(),
                                   str(json), object, error);
    });
}

}  // namespace detail

/**
 * As below, from the tokens of the output: if the tokens at the scores have their choices, the verdict has expected
 * scores. These are left out unless every score is found where it must be.
 */
inline Result<Verdict> try_parse(const std::vector<Token> &tokens, const Aliases &aliases,
                                 const Profile *profile = nullptr, const VerdictPolicy &policy = {}) {
    return detail::parse(tokens, aliases.get(), profile, policy);
}
/** As above, for the answer to a prompt. */
inline Result<Verdict> try_parse(const std::vector<Token> &tokens, const Prompt &prompt,
                                 const Profile *profile = nullptr, const VerdictPolicy &policy = {}) {
    return detail::parse(tokens, dicast_prompt_aliases(prompt.get()), profile, policy);
}
#if DICAST_HAS_EXCEPTIONS
inline Verdict parse(const std::vector<Token> &tokens, const Aliases &aliases, const Profile *profile = nullptr,
                     const VerdictPolicy &policy = {}) {
    return try_parse(tokens, aliases, profile, policy).value();
}
inline Verdict parse(const std::vector<Token> &tokens, const Prompt &prompt, const Profile *profile = nullptr,
                     const VerdictPolicy &policy = {}) {
    return try_parse(tokens, prompt, profile, policy).value();
}
#endif

/**
 * Reads a verdict from the whole output of a judge, for programs with their own engine. The aliases list the
 * names that must be scored and ranked. A null profile is the built-in one. The verdict has no expected scores.
 */
inline Result<Verdict> try_parse(std::string_view text, const Aliases &aliases, const Profile *profile = nullptr,
                                 const VerdictPolicy &policy = {}) {
    return detail::parse(text, aliases.get(), profile, policy);
}
/** As above, for the answer to a prompt. */
inline Result<Verdict> try_parse(std::string_view text, const Prompt &prompt, const Profile *profile = nullptr,
                                 const VerdictPolicy &policy = {}) {
    return detail::parse(text, dicast_prompt_aliases(prompt.get()), profile, policy);
}
#if DICAST_HAS_EXCEPTIONS
inline Verdict parse(std::string_view text, const Aliases &aliases, const Profile *profile = nullptr,
                     const VerdictPolicy &policy = {}) {
    return try_parse(text, aliases, profile, policy).value();
}
inline Verdict parse(std::string_view text, const Prompt &prompt, const Profile *profile = nullptr,
                     const VerdictPolicy &policy = {}) {
    return try_parse(text, prompt, profile, policy).value();
}
#endif

}  // namespace dicast

#endif  // DICAST_PROMPT_HPP
