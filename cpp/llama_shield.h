// Calls into llama.cpp that end in an error where llama.cpp throws or gives up.
//
// llama.cpp throws C++ exceptions, which must not reach Rust, and asserts, which ends the process. Each function here
// returns a status instead, with what went wrong as text. What was allocated inside a call that was given up leaks.
#ifndef DICAST_LLAMA_SHIELD_H
#define DICAST_LLAMA_SHIELD_H

#include <llama.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum dicast_shield_status {
    DICAST_SHIELD_OK = 0,
    // It threw. The objects in use may be used on, or freed.
    DICAST_SHIELD_THREW = 1,
    // It asserted. The objects in use are broken: they must be neither used nor freed.
    DICAST_SHIELD_ABORTED = 2,
};

// Where the text of a failure goes: `room` bytes at `text`, ended by a zero.
typedef struct {
    char *text;
    size_t room;
} dicast_shield_message;

// Makes an assertion inside the calls below an error. Others end the process as before. Call it once, before any of
// them.
void dicast_shield_install(void);

// Makes those of llama.cpp's static objects that belong to `step`, from 0 on. False where that is the last step, and
// where it failed.
bool dicast_shield_warm(size_t step, dicast_shield_message message);

int32_t dicast_shield_load(const char *path, const struct llama_model_params *params, struct llama_model **model,
                           dicast_shield_message message);

int32_t dicast_shield_context(struct llama_model *model, const struct llama_context_params *params,
                              struct llama_context **context, dicast_shield_message message);

// `result` is that of llama_tokenize.
int32_t dicast_shield_tokenize(const struct llama_vocab *vocab, const char *text, int32_t length, llama_token *tokens,
                               int32_t room, int32_t *result, dicast_shield_message message);

// `result` is that of llama_token_to_piece.
int32_t dicast_shield_piece(const struct llama_vocab *vocab, llama_token token, char *text, int32_t room,
                            int32_t *result, dicast_shield_message message);

// `result` is that of llama_decode. `logits` are those of each position that asks for them, NULL where there are none.
int32_t dicast_shield_decode(struct llama_context *context, const struct llama_batch *batch, int32_t *result,
                             dicast_shield_message message);

int32_t dicast_shield_logits(struct llama_context *context, int32_t position, const float **logits,
                             dicast_shield_message message);

// Removes the positions `from` and on of a sequence; `whole` is what llama_memory_seq_rm says.
int32_t dicast_shield_remove(struct llama_context *context, llama_seq_id sequence, llama_pos from, bool *whole,
                             dicast_shield_message message);

int32_t dicast_shield_copy(struct llama_context *context, llama_seq_id from, llama_seq_id to, llama_pos end,
                           dicast_shield_message message);

// Forgets every sequence; with `data` the memory is zeroed as well.
int32_t dicast_shield_clear(struct llama_context *context, bool data, dicast_shield_message message);

#ifdef __cplusplus
}
#endif

#endif
