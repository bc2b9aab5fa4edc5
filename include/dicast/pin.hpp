/* The beginning of prompts, kept computed. Part of dicast.hpp, which has the rules. */
#ifndef DICAST_PIN_HPP
#define DICAST_PIN_HPP

#include <cstddef>

#include "result.hpp"

namespace dicast {

/**
 * The beginning of prompts, which a judge keeps computed until this is destroyed. Made by Judge::warm.
 *
 * It may outlive its judge. Nothing is kept any more once the judge sleeps, takes other weights or is closed: warm it
 * up again when it is awake.
 */
class Pin {
public:
    using Object = dicast_pin;

    /** How many tokens are kept, of all criteria of a rubric together. */
    std::size_t tokens() const noexcept { return dicast_pin_tokens(get()); }

    /** Takes over a pin of dicast.h. */
    static Pin adopt(Object *object) noexcept { return Pin(object); }
    /** The pin of dicast.h, lent. */
    const Object *get() const noexcept DICAST_LIFETIMEBOUND { return object_.get(); }

private:
    explicit Pin(Object *object) noexcept : object_(object) {}

    detail::Handle<Object, dicast_pin_free> object_;
};

}  // namespace dicast

#endif  // DICAST_PIN_HPP
