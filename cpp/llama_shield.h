// Calls into llama.cpp that return an error if llama.cpp throws or asserts.
//
// llama.cpp throws C++ exceptions, which must not reach Rust, and asserts, which ends the process. Each function here
// returns a status instead, with a description of the failure. Memory that an aborted call has allocated leaks.
#ifndef DICAST_LLAMA_SHIELD_H
#define DICAST_LLAMA_SHIELD_H

#include <llama.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum dicast_shield_status {
    DICAST_SHIELD_OK = 0,
    // It threw. The objects involved may still be used, or freed.
    DICAST_SHIELD_THREW = 1,
    // It asserted. The objects involved are broken: they must be neither used nor freed.
    DICAST_SHIELD_ABORTED = 2,
};

// Receives the text of a failure: `room` bytes at `text`, ended by a zero.
typedef struct {
    char *text;
    size_t room;
} dicast_shield_message;

// Turns assertions inside the calls below into errors, and lets large buffers take memory only as they are used. Other
// assertions end the process as before. Call it once, before any of these calls.
void dicast_shield_install(void);

// Creates the static objects of llama.cpp that belong to `step`, counted from 0. False if that is the last step, and if
// it failed.
bool dicast_shield_warm(size_t step, dicast_shield_message message);

int32_t dicast_shield_load(const char *path, const struct llama_model_params *params, struct llama_model **model,
                           dicast_shield_message message);

int32_t dicast_shield_context(struct llama_model *model, const struct llama_context_params *params,
                              struct llama_context **context, dicast_shield_message message);

// `result` is the one of llama_tokenize.
int32_t dicast_shield_tokenize(const struct llama_vocab *vocab, const char *text, int32_t length, llama_token *tokens,
                               int32_t room, int32_t *result, dicast_shield_message message);

// `result` is the one of llama_token_to_piece.
int32_t dicast_shield_piece(const struct llama_vocab *vocab, llama_token token, char *text, int32_t room,
                            int32_t *result, dicast_shield_message message);

// `result` is the one of llama_decode. `logits` are those of each position that asks for them, NULL if there are none.
int32_t dicast_shield_decode(struct llama_context *context, const struct llama_batch *batch, int32_t *result,
                             dicast_shield_message message);

int32_t dicast_shield_logits(struct llama_context *context, int32_t position, const float **logits,
                             dicast_shield_message message);

// Removes the positions of a sequence from `from` on; `whole` is the result of llama_memory_seq_rm.
int32_t dicast_shield_remove(struct llama_context *context, llama_seq_id sequence, llama_pos from, bool *whole,
                             dicast_shield_message message);

int32_t dicast_shield_copy(struct llama_context *context, llama_seq_id from, llama_seq_id to, llama_pos end,
                           dicast_shield_message message);

// The bytes that the keys and values of a sequence take in a state. `size` is the one of llama_state_seq_get_size.
int32_t dicast_shield_state_size(struct llama_context *context, llama_seq_id sequence, size_t *size,
                                 dicast_shield_message message);

// Copies the keys and values of a sequence; `written` is the result of llama_state_seq_get_data, 0 after a failure.
int32_t dicast_shield_state_get(struct llama_context *context, llama_seq_id sequence, uint8_t *state, size_t room,
                                size_t *written, dicast_shield_message message);

// Replaces the keys and values of a sequence; `read` is the result of llama_state_seq_set_data, 0 after a failure,
// which leaves the sequence empty.
int32_t dicast_shield_state_set(struct llama_context *context, llama_seq_id sequence, const uint8_t *state, size_t size,
                                size_t *read, dicast_shield_message message);

// Clears every sequence; with `data`, the memory is zeroed as well.
int32_t dicast_shield_clear(struct llama_context *context, bool data, dicast_shield_message message);

#ifdef __cplusplus
}
#endif

#endif
