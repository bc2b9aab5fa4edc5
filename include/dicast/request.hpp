/* What to judge. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_REQUEST_HPP
#define DICAST_REQUEST_HPP

#include <initializer_list>
#include <string_view>
#include <utility>

#include "config.hpp"
#include "result.hpp"

namespace dicast {

/**
 * What to judge: a principle, a prompt, responses in order, options.
 *
 * The library copies it: you may change it, use it again or destroy it as soon as a call returns.
 */
class Request {
public:
    using Object = dicast_request;
    using Pairs = std::initializer_list<std::pair<std::string_view, std::string_view>>;

#if DICAST_HAS_EXCEPTIONS
    /** The principle in plain language, and the prompt that the responses answer. Add the responses later. */
    Request(std::string_view principle, std::string_view prompt) : Request(try_new(principle, prompt).value()) {}
    /** With its responses: any range of pairs of name and text, such as a vector of pairs, a map, or `{{"a", "…"}, …}`.
     */
    template <class Responses = Pairs>
    Request(std::string_view principle, std::string_view prompt, Responses &&responses)
        : Request(try_new(principle, prompt, responses).value()) {}
    static Request from_json(std::string_view json) { return try_from_json(json).value(); }
    Request &add(std::string_view name, std::string_view text) {
        try_add(name, text).value();
        return *this;
    }
    Request &set_options(const Options &options) {
        try_set_options(options).value();
        return *this;
    }
    Request &set_options_json(std::string_view json) {
        try_set_options_json(json).value();
        return *this;
    }
#endif

    /** As the constructor. Status::invalid_request if a text is not UTF-8. */
    static Result<Request> try_new(std::string_view principle, std::string_view prompt) {
        return detail::made<Request>([&](auto **object, auto **error) {
            return dicast_request_new(detail::str(principle), detail::str(prompt), object, error);
        });
    }
    /** With its responses: any range of pairs of name and text. */
    template <class Responses = Pairs>
    static Result<Request> try_new(std::string_view principle, std::string_view prompt, Responses &&responses) {
        auto made = try_new(principle, prompt);
        if (!made) {
            return made;
        }
        for (const auto &[name, text] : responses) {
            if (auto added = made->try_add(name, text); !added) {
                return added.error();
            }
        }
        return made;
    }
    /** `{"principle", "prompt", "responses": {name: text, …}, "options"?}`; the order of the responses is kept. */
    static Result<Request> try_from_json(std::string_view json) {
        return detail::made<Request>(
            [&](auto **object, auto **error) { return dicast_request_from_json(detail::str(json), object, error); });
    }
    /**
     * Adds a response. `name` is your name for it and must be unique within the request; this is checked when the
     * request is judged. The judge does not see the name. On failure the request is unchanged.
     */
    Result<void> try_add(std::string_view name, std::string_view text) {
        return detail::done([&](auto **error) {
            return dicast_request_add(object_.get(), detail::str(name), detail::str(text), error);
        });
    }
    /** Sets the options, and drops those set before. Ranges are checked when the request is judged. */
    Result<void> try_set_options(const Options &options) { return try_set_options_json(options.to_json()); }
    /** As try_set_options, from JSON; an unknown key is Status::invalid_request. */
    Result<void> try_set_options_json(std::string_view json) {
        return detail::done(
            [&](auto **error) { return dicast_request_set_options(object_.get(), detail::str(json), error); });
    }

    /** Takes over a request of dicast.h. */
    static Request adopt(Object *object) noexcept { return Request(object); }
    /** The request of dicast.h, lent. */
    const Object *get() const noexcept DICAST_LIFETIMEBOUND { return object_.get(); }

private:
    explicit Request(Object *object) noexcept : object_(object) {}

    detail::Handle<Object, dicast_request_free> object_;
};

}  // namespace dicast

#endif  // DICAST_REQUEST_HPP
