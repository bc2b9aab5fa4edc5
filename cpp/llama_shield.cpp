#include "llama_shield.h"

#include <ggml.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>

#include "llama_memory.h"
#include "llama_operations.h"
#include "llama_warm.h"

namespace {

// How many shielded calls are active on the current thread.
thread_local int depth = 0;

// An assertion of llama.cpp, on its way to the shield. llama.cpp itself may catch it, where it catches std::exception.
struct Aborted : std::runtime_error {
    using std::runtime_error::runtime_error;
};

thread_local bool aborted = false;

// ggml calls this before it ends the process. Threads of its own pool run outside any shield, and cannot be unwound.
void on_abort(const char *message) {
    if (depth > 0) {
        aborted = true;
        throw Aborted(message == nullptr ? "assertion failed" : message);
    }
}

void write(dicast_shield_message message, const char *text) noexcept {
    if (message.text == nullptr || message.room == 0) {
        return;
    }
    const size_t length = std::min(std::strlen(text), message.room - 1);
    std::memcpy(message.text, text, length);
    message.text[length] = '\0';
}

template <class Work>
int32_t shielded(dicast_shield_message message, Work &&work) noexcept {
    write(message, "");
    aborted = false;
    ++depth;
    int32_t status = DICAST_SHIELD_OK;
    try {
        work();
    } catch (const std::exception &error) {
        write(message, error.what());
        status = DICAST_SHIELD_THREW;
    } catch (...) {
        write(message, "an exception of unknown type");
        status = DICAST_SHIELD_THREW;
    }
    --depth;
    // Checked even if llama.cpp has caught it and gone on.
    return aborted ? DICAST_SHIELD_ABORTED : status;
}

}  // namespace

void dicast_shield_install(void) {
    ggml_set_abort_callback(on_abort);
    dicast_memory_install();
    dicast_operations_install();
}

bool dicast_shield_warm(size_t step, dicast_shield_message message) {
    const int32_t status = shielded(message, [step] { dicast_warm_step(step); });
    return status == DICAST_SHIELD_OK && step + 1 < dicast_warm_steps;
}

int32_t dicast_shield_load(const char *path, const llama_model_params *params, llama_model **model,
                           dicast_shield_message message) {
    *model = nullptr;
    return shielded(message, [&] { *model = llama_model_load_from_file(path, *params); });
}

int32_t dicast_shield_context(llama_model *model, const llama_context_params *params, llama_context **context,
                              dicast_shield_message message) {
    *context = nullptr;
    return shielded(message, [&] { *context = llama_init_from_model(model, *params); });
}

int32_t dicast_shield_tokenize(const llama_vocab *vocab, const char *text, int32_t length, llama_token *tokens,
                               int32_t room, int32_t *result, dicast_shield_message message) {
    *result = 0;
    return shielded(message, [&] { *result = llama_tokenize(vocab, text, length, tokens, room, false, false); });
}

int32_t dicast_shield_piece(const llama_vocab *vocab, llama_token token, char *text, int32_t room, int32_t *result,
                            dicast_shield_message message) {
    *result = 0;
    return shielded(message, [&] { *result = llama_token_to_piece(vocab, token, text, room, 0, true); });
}

int32_t dicast_shield_decode(llama_context *context, const llama_batch *batch, int32_t *result,
                             dicast_shield_message message) {
    *result = 0;
    return shielded(message, [&] { *result = llama_decode(context, *batch); });
}

int32_t dicast_shield_logits(llama_context *context, int32_t position, const float **logits,
                             dicast_shield_message message) {
    *logits = nullptr;
    return shielded(message, [&] { *logits = llama_get_logits_ith(context, position); });
}

int32_t dicast_shield_remove(llama_context *context, llama_seq_id sequence, llama_pos from, bool *whole,
                             dicast_shield_message message) {
    *whole = false;
    return shielded(message, [&] { *whole = llama_memory_seq_rm(llama_get_memory(context), sequence, from, -1); });
}

int32_t dicast_shield_copy(llama_context *context, llama_seq_id from, llama_seq_id to, llama_pos end,
                           dicast_shield_message message) {
    return shielded(message, [&] { llama_memory_seq_cp(llama_get_memory(context), from, to, 0, end); });
}

int32_t dicast_shield_state_size(llama_context *context, llama_seq_id sequence, size_t *size,
                                 dicast_shield_message message) {
    *size = 0;
    return shielded(message, [&] { *size = llama_state_seq_get_size(context, sequence); });
}

int32_t dicast_shield_state_get(llama_context *context, llama_seq_id sequence, uint8_t *state, size_t room,
                                size_t *written, dicast_shield_message message) {
    *written = 0;
    return shielded(message, [&] { *written = llama_state_seq_get_data(context, state, room, sequence); });
}

int32_t dicast_shield_state_set(llama_context *context, llama_seq_id sequence, const uint8_t *state, size_t size,
                                size_t *read, dicast_shield_message message) {
    *read = 0;
    return shielded(message, [&] { *read = llama_state_seq_set_data(context, state, size, sequence); });
}

int32_t dicast_shield_clear(llama_context *context, bool data, dicast_shield_message message) {
    return shielded(message, [&] { llama_memory_clear(llama_get_memory(context), data); });
}
