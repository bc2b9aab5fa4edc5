// Creates the static objects that llama.cpp and ggml create on first use, a few at a time.
//
// At exit they are destroyed, the youngest first. An exit handler that waits for the engines' threads only runs before
// the destruction of objects that existed when the handler was registered. So they are created here, and the handler is
// registered again after each step.
#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "llama_warm.h"

// From llama.cpp's src/unicode.h, which it does not install: its version is pinned, and another version would not link.
std::string unicode_byte_to_utf8(uint8_t byte);
uint8_t unicode_utf8_to_byte(const std::string &utf8);
std::vector<std::string> unicode_regex_split(const std::string &text, const std::vector<std::string> &regex_exprs,
                                             bool byte_encode);

namespace {

template <class Object, void (*release)(Object *)>
struct Release {
    void operator()(Object *object) const { release(object); }
};

template <class Object, void (*release)(Object *)>
using Owned = std::unique_ptr<Object, Release<Object, release>>;

ggml_backend_reg_t cpu() {
    ggml_backend_dev_t device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    return device == nullptr ? nullptr : ggml_backend_dev_backend_reg(device);
}

void registry() { (void)ggml_backend_reg_count(); }

void devices() { (void)cpu(); }

// Null if there is none.
ggml_backend_buffer_type_t *extra_buffer_types() {
    ggml_backend_reg_t reg = cpu();
    if (reg == nullptr) {
        return nullptr;
    }
    void *address = ggml_backend_reg_get_proc_address(reg, "ggml_backend_dev_get_extra_bufts");
    if (address == nullptr) {
        return nullptr;
    }
    return reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(address)(ggml_backend_reg_dev_get(reg, 0));
}

void buffer_types() { (void)extra_buffer_types(); }

// The kernels that a weight tensor gets in a buffer of its own type.
void repacking() {
    ggml_backend_buffer_type_t *types = extra_buffer_types();
    for (; types != nullptr && *types != nullptr; types++) {
        const ggml_init_params params = {2 * ggml_tensor_overhead(), nullptr, true};
        Owned<ggml_context, ggml_free> context(ggml_init(params));
        if (context == nullptr) {
            return;
        }
        ggml_new_tensor_2d(context.get(), GGML_TYPE_Q4_0, 32, 32);
        Owned<ggml_backend_buffer, ggml_backend_buffer_free> buffer(
            ggml_backend_alloc_ctx_tensors_from_buft(context.get(), *types));
    }
}

// Tables of the byte-level tokenizer. A step makes one table where another would be used while it is made.
void bytes_to_characters() { (void)unicode_byte_to_utf8('a'); }

void characters_to_bytes() { (void)unicode_utf8_to_byte("a"); }

void categories() { (void)unicode_regex_split("", {}, false); }

void flags_of_characters() {
    // GPT-2's expression: llama.cpp has its own code for it, and compiles no regular expression.
    const char *expression = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)";
    (void)unicode_regex_split("a", {expression}, false);
}

constexpr std::array<void (*)(), 8> steps = {
    registry,
    devices,
    buffer_types,
    repacking,
    bytes_to_characters,
    characters_to_bytes,
    categories,
    flags_of_characters,
};

}  // namespace

const size_t dicast_warm_steps = steps.size();

void dicast_warm_step(size_t step) { steps.at(step)(); }
