/*
 * Dicast: judges responses by a principle in plain language, with a judge model.
 *
 * Generated from src/capi/ by `make header`; changes belong there.
 *
 * The rules, which hold wherever a function does not say otherwise:
 *
 * - Status. A call that can fail returns an int32_t: DICAST_OK (0), or what went wrong. Codes keep their meaning for
 *   ever; new ones may appear, so handle those you do not know as failures.
 * - Errors. Such a call takes `dicast_error **error` last, which may be NULL. It is always written: NULL on success, an
 *   error that is yours on failure. What was there before is not looked at, so free it first.
 * - Results are written on success only. The arrays of the reward calls are the exception: they always are.
 * - Ownership. What a call gives through a `dicast_x **` is yours until dicast_x_free, which takes NULL too. A
 *   `const dicast_x *` is lent for the call. Freeing twice, or using what was freed, is an error that nothing can catch.
 * - Arguments. NULL for something that is needed is DICAST_INVALID_ARGUMENT, or of a getter the value that says "none":
 *   NaN, 0, DICAST_NONE, a NULL `data`. An array of 0 entries may be NULL.
 * - Text is UTF-8, pointer and length; see dicast_str.
 * - Structs that begin with `struct_size` want it set to their sizeof, and everything else zero but what you set.
 *   Older programs and newer libraries then understand each other, and the other way round.
 * - Threads. A call on one object may run beside any other on it if both take it as `const`, but for its _free. What is
 *   not const, a request that is being built, is for one thread at a time.
 * - Nothing of this library prints, exits, takes over a signal, changes the locale, or throws. A defect inside of it is
 *   DICAST_INTERNAL.
 * - fork: see dicast_judge.
 */


#ifndef DICAST_H
#define DICAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The release of this header. dicast_version() is that of the library that runs. */
#define DICAST_VERSION_MAJOR 0
#define DICAST_VERSION_MINOR 1
#define DICAST_VERSION_PATCH 0

/** An index or place that does not exist. */
#define DICAST_NONE SIZE_MAX

/** A timeout that never comes. */
#define DICAST_FOREVER UINT64_MAX


/**
 * The interface that this header describes. It is counted up with every release that adds to the interface.
 */
#define DICAST_ABI_VERSION 1

/**
 * Done.
 */
#define DICAST_OK 0

/**
 * Not an error: a wait ended before what it waited for. Wait again, or cancel.
 */
#define DICAST_PENDING -1

/**
 * The request is malformed: no responses, a name given twice, text that is not UTF-8, options out of range. Nothing was
 * generated. Mend the request.
 */
#define DICAST_INVALID_REQUEST 1

/**
 * The request passes a limit of the configuration (`limits`). Nothing was generated. Make it smaller or raise the limit.
 */
#define DICAST_TOO_LARGE 2

/**
 * The request and what may be generated do not fit the model's context; the message has the numbers. Nothing was
 * generated. Shorten it, or lower `max_reasoning_tokens`.
 */
#define DICAST_CONTEXT_OVERFLOW 3

/**
 * A setting is unknown or out of its range; the message names the key. Nothing was opened.
 */
#define DICAST_INVALID_CONFIG 4

/**
 * A judge profile cannot be read, or is missing where the model needs one. Nothing was opened.
 */
#define DICAST_INVALID_PROFILE 5

/**
 * There is no model at the given place. Nothing was opened.
 */
#define DICAST_MODEL_NOT_FOUND 6

/**
 * The model is damaged or lacks something that a judge needs. Nothing was opened.
 */
#define DICAST_INVALID_MODEL 7

/**
 * This build or this engine cannot do what was asked; the message names what is missing.
 */
#define DICAST_UNSUPPORTED 8

/**
 * The queue is full (`limits.max_queue`). Nothing was queued. Send the same again when judgments have ended; see
 * dicast_judge_wait_for_room.
 */
#define DICAST_OVERLOADED 9

/**
 * The deadline of the request passed (`timeout_ms`). Its place is free. The same may work when there is less to do.
 */
#define DICAST_TIMEOUT 10

/**
 * The judgment was cancelled. Its place is free.
 */
#define DICAST_CANCELLED 11

/**
 * The judge answered, but not with a complete verdict. The error keeps what could be read, and the judge's whole output.
 * Where the judge samples, the same may work with another seed.
 */
#define DICAST_INVALID_VERDICT 12

/**
 * The engine failed while it worked on the request. Others may have gone on.
 */
#define DICAST_ENGINE 13

/**
 * The judge was closed, or was opened by another process: threads do not come along through fork. Open a new one.
 */
#define DICAST_CLOSED 14

/**
 * A file could not be read or written.
 */
#define DICAST_IO 15

/**
 * A remote service could not be reached or refused. The same may work later.
 */
#define DICAST_NETWORK 16

/**
 * A defect of the library. The call had no effect but what it says; the judge can still be used. Please report it.
 */
#define DICAST_INTERNAL 17

/**
 * The call breaks a rule of this header: NULL where that is not allowed, a wrong `struct_size`. It had no effect.
 */
#define DICAST_INVALID_ARGUMENT 18

/**
 * The engine is dead: this request and all others of the judge fail. Close the judge and open it again.
 */
#define DICAST_ENGINE_DEAD 19

/**
 * Level of a log line: a defect of the library or of the engine.
 */
#define DICAST_LOG_ERROR 1

/**
 * Level of a log line: a judgment that failed.
 */
#define DICAST_LOG_WARN 2

/**
 * Level of a log line: opening and closing.
 */
#define DICAST_LOG_INFO 3

/**
 * Level of a log line: every judgment.
 */
#define DICAST_LOG_DEBUG 4

/**
 * The expected score: the mean of the distribution that the written score was drawn from. Where the engine gives no
 * distribution, the status is DICAST_UNSUPPORTED.
 */
#define DICAST_REWARD_EXPECTED 0

/**
 * The score as the judge wrote it.
 */
#define DICAST_REWARD_SCORE 1

/**
 * The place in the ranking, from 1 for the best of the group to 0 for the worst in equal steps; 0.5 for a single response.
 */
#define DICAST_REWARD_RANK 2

/**
 * The expected score where the engine gives a distribution, else the score as written.
 */
#define DICAST_REWARD_EXPECTED_OR_SCORE 3

/**
 * Aliases in an order shuffled by the seed, as Python's `random.seed(seed); random.shuffle(responses)` does it.
 */
#define DICAST_MASK_SHUFFLE 0

/**
 * Aliases in the order given.
 */
#define DICAST_MASK_GIVEN 1

/**
 * The names themselves in the order given.
 */
#define DICAST_MASK_OFF 2

/**
 * How responses are shown to a judge, and the way back. Places count in the order shown, from 0.
 *
 * Owned by whoever made it, until dicast_aliases_free; its texts live as long as it does. Never changes: any number of
 * threads may read it at once.
 */
typedef struct dicast_aliases dicast_aliases;

/**
 * What went wrong: a code, a message for people, and what could be read of an incomplete verdict.
 *
 * Owned by whoever received it, until dicast_error_free. Never changes: any number of threads may read it at once. All
 * text and numbers of it live as long as it does.
 */
typedef struct dicast_error dicast_error;

/**
 * An opened model with its profile.
 *
 * Any number of threads may use one judge at once; any number of judges may be open. Owned by whoever opened it, until
 * dicast_judge_free. A judge belongs to the process that opened it: after fork, in the child, every call with it or with
 * its tickets is DICAST_CLOSED, and freeing it there frees nothing, but is safe.
 */
typedef struct dicast_judge dicast_judge;

/**
 * What one judge model needs to be told: system prompt, message layout, score scale, form of the verdict.
 *
 * Owned by whoever made it, until dicast_profile_free. Never changes: any number of threads may use it at once.
 */
typedef struct dicast_profile dicast_profile;

/**
 * The messages that a judge reads for one request, before a chat template, and the aliases of its responses.
 *
 * Owned by whoever made it, until dicast_prompt_free; its texts live as long as it does. Never changes: any number of
 * threads may read it at once.
 */
typedef struct dicast_prompt dicast_prompt;

/**
 * What is to be judged: a principle, a prompt, responses in order, options.
 *
 * Owned by whoever made it, until dicast_request_free. It is copied wherever it is used, never kept: it may be changed,
 * used again or freed as soon as a call returns. Any number of threads may use one at once while none changes it.
 */
typedef struct dicast_request dicast_request;

/**
 * A judgment that was submitted.
 *
 * Any number of threads may use one at once. Owned by whoever submitted, until dicast_ticket_free. It may outlive its
 * judge.
 */
typedef struct dicast_ticket dicast_ticket;

/**
 * A complete verdict: every response has a score on the scale and a place in the ranking. A verdict that is not complete
 * does not exist: it is an error.
 *
 * Responses are counted from 0 in the order of the request, places of the ranking from 0, the best. Owned by whoever
 * received it, until dicast_verdict_free; its texts and arrays live as long as it does. Never changes: any number of
 * threads may read it at once.
 */
typedef struct dicast_verdict dicast_verdict;

/**
 * A piece of text: `len` bytes at `data`, in UTF-8. Zero bytes within it are part of the text.
 *
 * As an argument it is only read during the call. `{NULL, 0}` is the empty text. Bytes that are not UTF-8 are an error
 * wherever a function does not say otherwise.
 *
 * As a result it belongs to the object that it was asked of and lives as long as that, or for ever where there is no such
 * object; `data[len]` is a zero byte, so that `data` is a C string too. `data` is NULL only where there is no such text
 * at all, such as an index out of range.
 */
typedef struct dicast_str {
    /**
     * The first byte.
     */
    const char *data;
    /**
     * Number of bytes, without any zero byte at the end.
     */
    size_t len;
} dicast_str;

/**
 * Takes one line of a judge's log, without a line end. `line` lives as long as the call.
 *
 * Called from any thread, also from several at once, from dicast_judge_open on until dicast_judge_free has returned. It
 * must return quickly, must not call any function with this judge or its tickets, and must not throw or jump out.
 */
typedef void (*dicast_log_callback)(void *user_data, uint32_t level, struct dicast_str line);

/**
 * How a judge is opened, besides its configuration. Zero everything, then set `struct_size`.
 */
typedef struct dicast_open_options {
    /**
     * sizeof(dicast_open_options).
     */
    size_t struct_size;
    /**
     * Where the log of this judge goes; NULL for nowhere. The library itself never prints.
     */
    dicast_log_callback log;
    /**
     * Given to `log` as it is.
     */
    void *log_user_data;
    /**
     * The last level that is wanted: DICAST_LOG_ERROR to DICAST_LOG_DEBUG. 0 is DICAST_LOG_INFO.
     */
    uint32_t log_level;
    /**
     * 0.
     */
    uint32_t reserved;
} dicast_open_options;

/**
 * What a judge is. Set `struct_size` before the call; all else is written by it.
 */
typedef struct dicast_info {
    /**
     * sizeof(dicast_info).
     */
    size_t struct_size;
    /**
     * Most tokens of one judgment, prompt and output together; 0 where the engine does not tell.
     */
    uint64_t context_tokens;
    /**
     * Judgments that are computed at once.
     */
    uint64_t max_sequences;
    /**
     * Most judgments that wait or run at once; the next one is DICAST_OVERLOADED.
     */
    uint64_t max_queue;
    /**
     * Most responses in one request.
     */
    uint64_t max_responses;
    /**
     * The worst score, such as 1.
     */
    uint32_t scale_min;
    /**
     * The best score, such as 5.
     */
    uint32_t scale_max;
    /**
     * 1 where the engine can hold a verdict to a grammar, else 0.
     */
    uint32_t guided;
    /**
     * 1 where the engine gives the distribution at every score, and so expected scores, else 0.
     */
    uint32_t distributions;
} dicast_info;

/**
 * Counters of a judge. Set `struct_size` before the call; all else is written by it. All but `pending` are 0 once the
 * judge is closed.
 */
typedef struct dicast_stats {
    /**
     * sizeof(dicast_stats).
     */
    size_t struct_size;
    /**
     * Judgments that were submitted and have not ended.
     */
    uint64_t pending;
    /**
     * Judgments that wait for a place in the engine.
     */
    uint64_t waiting;
    /**
     * Judgments that are being computed.
     */
    uint64_t running;
    /**
     * Prompt tokens taken over from what was computed before, since the judge was opened.
     */
    uint64_t reused_tokens;
    /**
     * Tokens computed, of prompts and outputs together, since the judge was opened.
     */
    uint64_t computed_tokens;
    /**
     * Batches computed, since the judge was opened.
     */
    uint64_t steps;
    /**
     * Tokens of one block of keys and values.
     */
    uint64_t kv_block_tokens;
    /**
     * Blocks of keys and values that there are.
     */
    uint64_t kv_blocks;
    /**
     * Of these, blocks that running judgments hold.
     */
    uint64_t kv_blocks_used;
    /**
     * Blocks taken over from earlier judgments instead of being computed, since the judge was opened.
     */
    uint64_t kv_blocks_reused;
} dicast_stats;

/**
 * Takes the outcome of a judgment, exactly once. On DICAST_OK `verdict` is the callee's and `error` is NULL; else `error`
 * is the callee's and `verdict` is NULL.
 *
 * All callbacks of one judge come from one thread of its own, one at a time, never from within a call of the program's.
 * A callback may call anything: submit, cancel, wait for other judgments, free its own ticket, free the judge. Callbacks
 * after it wait meanwhile, but no computation does. It must not throw or jump out.
 */
typedef void (*dicast_callback)(void *user_data,
                                int32_t status,
                                struct dicast_verdict *verdict,
                                struct dicast_error *error);

/**
 * Tokens of one judgment. Set `struct_size` before the call; all else is written by it.
 */
typedef struct dicast_usage {
    /**
     * sizeof(dicast_usage).
     */
    size_t struct_size;
    /**
     * Tokens of the prompt.
     */
    uint64_t prompt_tokens;
    /**
     * Of these, tokens that had been computed before.
     */
    uint64_t reused_tokens;
    /**
     * Tokens of the reasoning, its opening and closing included.
     */
    uint64_t reasoning_tokens;
    /**
     * Tokens of the verdict.
     */
    uint64_t verdict_tokens;
    /**
     * Of these, tokens that the grammar forced.
     */
    uint64_t forced_tokens;
} dicast_usage;

/**
 * Where the time of one judgment went, in microseconds. Set `struct_size` before the call; all else is written by it.
 */
typedef struct dicast_timing {
    /**
     * sizeof(dicast_timing).
     */
    size_t struct_size;
    /**
     * From submission to the first computation.
     */
    uint64_t queue_us;
    /**
     * Computing the prompt.
     */
    uint64_t prefill_us;
    /**
     * Writing the reasoning.
     */
    uint64_t reasoning_us;
    /**
     * Writing the verdict.
     */
    uint64_t verdict_us;
} dicast_timing;

/**
 * Which rewards are wanted. Zero everything, then set `struct_size`.
 */
typedef struct dicast_reward_options {
    /**
     * sizeof(dicast_reward_options).
     */
    size_t struct_size;
    /**
     * DICAST_REWARD_EXPECTED (0) or another of them.
     */
    uint32_t reward;
    /**
     * 1: scores are mapped from the judge's scale to 0 (worst) to 1 (best). 0: they are as they are, such as 1 to 5.
     */
    uint32_t normalize;
    /**
     * Options of the judgments as JSON, as for dicast_request_set_options; empty for none.
     */
    struct dicast_str options_json;
} dicast_reward_options;

/**
 * One group: responses to one prompt, judged together under one principle.
 */
typedef struct dicast_group {
    /**
     * sizeof(dicast_group).
     */
    size_t struct_size;
    /**
     * The principle to judge by.
     */
    struct dicast_str principle;
    /**
     * What the responses respond to.
     */
    struct dicast_str prompt;
    /**
     * The responses.
     */
    const struct dicast_str *responses;
    /**
     * Their number.
     */
    size_t response_count;
} dicast_group;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The interface of the library that runs. A program runs with every library whose number is not lower than the
 * DICAST_ABI_VERSION that the program was compiled with; the SONAME sees to the rest.
 *
 * Any thread, at any time.
 */
uint32_t dicast_abi_version(void);

/**
 * The release of the library that runs, such as `0.1.0`.
 *
 * Any thread, at any time.
 */
struct dicast_str dicast_version(void);

/**
 * The text of a C string, without its zero byte; `{NULL, 0}` for NULL. It lives as long as the C string.
 */
struct dicast_str dicast_str_cstr(const char *text);

/**
 * The name of a status, such as `context_overflow`: `ok`, `pending`, or the `kind` of errors in JSON. `data` is NULL for a
 * number that is no status of this release.
 *
 * Any thread, at any time. The result lives for ever.
 */
struct dicast_str dicast_status_name(int32_t status);

/**
 * Whether errors of this status may be gone when the same request is sent again. dicast_error_is_retryable answers for one
 * error.
 *
 * Any thread, at any time.
 */
bool dicast_status_is_retryable(int32_t status);

/**
 * Frees an error. NULL is fine.
 */
void dicast_error_free(struct dicast_error *error);

/**
 * The status that the failed call returned. DICAST_OK for NULL.
 */
int32_t dicast_error_code(const struct dicast_error *error);

/**
 * The name of the code, such as `context_overflow`; `ok` for NULL.
 */
struct dicast_str dicast_error_name(const struct dicast_error *error);

/**
 * What went wrong, where, and what can be done. It is for people, not for programs: its wording may change in any release.
 * Empty text, which can be printed, for NULL.
 */
struct dicast_str dicast_error_message(const struct dicast_error *error);

/**
 * Whether the same request may succeed when it is sent again: a verdict that is not complete, with another seed.
 */
bool dicast_error_is_retryable(const struct dicast_error *error);

/**
 * Whether something of an incomplete verdict was kept: its text at least.
 */
bool dicast_error_has_partial(const struct dicast_error *error);

/**
 * Number of scores that could be read: that of the responses, or 0, since one that cannot be trusted spoils them all.
 * They are not a verdict: the judge did not finish it.
 */
size_t dicast_error_partial_count(const struct dicast_error *error);

/**
 * The name of the response at `index`, counted as in the request.
 */
struct dicast_str dicast_error_partial_name(const struct dicast_error *error, size_t index);

/**
 * The score that was read for the response at `index`; NaN where there is none.
 */
double dicast_error_partial_score(const struct dicast_error *error, size_t index);

/**
 * The name at `place` of the ranking, 0 the best, where the ranking alone could be read; else `data` is NULL.
 */
struct dicast_str dicast_error_partial_ranked(const struct dicast_error *error, size_t place);

/**
 * The judge's reasoning.
 */
struct dicast_str dicast_error_partial_reasoning(const struct dicast_error *error);

/**
 * The judge's whole output as it came.
 */
struct dicast_str dicast_error_partial_raw(const struct dicast_error *error);

/**
 * The whole error as JSON: `{"error": {"kind", "message", "retryable", "partial"?: {"scores", "ranking", "reasoning", "raw"}}}`. Made
 * when it is first asked for.
 */
struct dicast_str dicast_error_json(const struct dicast_error *error);

/**
 * The configuration of dicast_judge_open as JSON Schema: each setting with its type, range, default and meaning. Its
 * `properties.options` describes the options of a request.
 *
 * Any thread, at any time. The result lives for ever.
 */
struct dicast_str dicast_config_schema(void);

/**
 * Opens a judge: checks the configuration, loads the profile and the model. Takes as long as loading takes.
 *
 * `config_json` is `{"model": "judge.gguf", "profile"?, "options"?, "verdict"?, "limits"?, "local"?}`, the settings of the
 * command line's `--config`; an unknown key is an error. `options` may be NULL.
 *
 * On success `*judge` is the caller's. Else nothing is left open: DICAST_INVALID_CONFIG, DICAST_INVALID_PROFILE,
 * DICAST_MODEL_NOT_FOUND, DICAST_INVALID_MODEL, DICAST_UNSUPPORTED, DICAST_ENGINE, DICAST_IO.
 */
int32_t dicast_judge_open(struct dicast_str config_json,
                          const struct dicast_open_options *options,
                          struct dicast_judge **judge,
                          struct dicast_error **error);

/**
 * Ends what is pending, and everything that is asked later, with DICAST_CLOSED, and unloads the model. For programs in
 * which other threads may still be about to use the judge: close it, wait for them, free it. Closing twice is fine.
 *
 * Waits for the step that the engine is computing, not for callbacks.
 */
int32_t dicast_judge_close(const struct dicast_judge *judge,
                           struct dicast_error **error);

/**
 * Closes a judge and frees it. NULL is fine. No other thread may be inside of a call with this judge, or begin one; calls
 * with its tickets, verdicts and errors are fine, then and later.
 *
 * Judgments that are pending end as DICAST_CLOSED, those with a callback by calling it; when this returns, all callbacks
 * of the judge have returned and none will come. In one of its own callbacks a judge may be freed too: then this returns
 * at once, and the callbacks that are left come after that one.
 */
void dicast_judge_free(struct dicast_judge *judge);

/**
 * Judges one request and waits for the verdict. Where the queue is full it first waits for room; the deadline of the
 * request (`timeout_ms`) covers both waits.
 *
 * On success `*verdict` is the caller's. In a callback this works, and holds up the callbacks after it.
 */
int32_t dicast_judge_judge(const struct dicast_judge *judge,
                           const struct dicast_request *request,
                           struct dicast_verdict **verdict,
                           struct dicast_error **error);

/**
 * Judges `count` requests at once and waits for all of them. Where they are more than the queue takes, the rest waits for
 * room.
 *
 * The arrays have `count` entries, in one order. Of each request either `verdicts[i]` is the caller's and `statuses[i]`
 * is DICAST_OK, or `verdicts[i]` is NULL, `statuses[i]` says why, and `errors[i]`, which is NULL otherwise, is the
 * caller's. `errors` may be NULL.
 *
 * DICAST_OK says that the call was made, not that every judgment worked. Else no array was written to.
 */
int32_t dicast_judge_batch(const struct dicast_judge *judge,
                           const struct dicast_request *const *requests,
                           size_t count,
                           struct dicast_verdict **verdicts,
                           int32_t *statuses,
                           struct dicast_error **errors,
                           struct dicast_error **error);

/**
 * Waits until the queue has room for a request, at most `timeout_ms` milliseconds: DICAST_OK, or DICAST_PENDING where there
 * is no room by then. Another thread may take the room first. DICAST_CLOSED where the judge is closed.
 */
int32_t dicast_judge_wait_for_room(const struct dicast_judge *judge,
                                   uint64_t timeout_ms,
                                   struct dicast_error **error);

/**
 * What the judge is. Written to `*info`, whose `struct_size` is set by the caller.
 */
int32_t dicast_judge_info(const struct dicast_judge *judge,
                          struct dicast_info *info,
                          struct dicast_error **error);

/**
 * Counters of the judge. Written to `*stats`, whose `struct_size` is set by the caller.
 */
int32_t dicast_judge_stats(const struct dicast_judge *judge,
                           struct dicast_stats *stats,
                           struct dicast_error **error);

/**
 * The name of the judge's engine: `local`, `trtllm` or `remote`. Lives as long as the judge.
 */
struct dicast_str dicast_judge_engine(const struct dicast_judge *judge);

/**
 * The profile that the judge goes by, as JSON that dicast_profile_from_json reads. Lives as long as the judge.
 */
struct dicast_str dicast_judge_profile_json(const struct dicast_judge *judge);

/**
 * Makes a request without responses: the principle to judge by, in plain language, and what the responses respond to.
 *
 * On success `*request` is the caller's. DICAST_INVALID_REQUEST where a text is not UTF-8.
 */
int32_t dicast_request_new(struct dicast_str principle,
                           struct dicast_str prompt,
                           struct dicast_request **request,
                           struct dicast_error **error);

/**
 * Makes a request from JSON: `{"principle", "prompt", "responses": {name: text, …}, "mask_responses"?, "options"?}`. The
 * order of the responses is kept.
 *
 * On success `*request` is the caller's. DICAST_INVALID_REQUEST names the line, the column and what is wrong.
 */
int32_t dicast_request_from_json(struct dicast_str json,
                                 struct dicast_request **request,
                                 struct dicast_error **error);

/**
 * Adds a response. `name` is the caller's word for it, unique within the request, which is found when it is judged; the
 * judge does not see it. Either text may be empty.
 *
 * DICAST_INVALID_REQUEST where a text is not UTF-8; the request is then as it was.
 */
int32_t dicast_request_add(struct dicast_request *request,
                           struct dicast_str name,
                           struct dicast_str text,
                           struct dicast_error **error);

/**
 * Sets the options of this request, instead of those set before: `{"temperature": 0.6, "seed": 7, "timeout_ms": 30000, …}`.
 * What it does not set stays as the judge's configuration says. Empty text sets nothing.
 *
 * DICAST_INVALID_REQUEST for an unknown key; the request is then as it was. Values out of range are found when it is judged.
 */
int32_t dicast_request_set_options(struct dicast_request *request,
                                   struct dicast_str options_json,
                                   struct dicast_error **error);

/**
 * Frees a request. NULL is fine.
 */
void dicast_request_free(struct dicast_request *request);

/**
 * Submits a request and returns at once. The outcome goes to `callback`; where that is NULL it goes to whoever waits for
 * the ticket.
 *
 * On success `*ticket` is the caller's. With a callback `ticket` may be NULL: the callback comes all the same. The callback
 * may come before this call has returned; `*ticket` is written before that.
 *
 * On failure nothing was submitted, no ticket was made and the callback will not come. The request itself is wrong, or
 * DICAST_OVERLOADED, DICAST_CLOSED.
 */
int32_t dicast_judge_submit(const struct dicast_judge *judge,
                            const struct dicast_request *request,
                            dicast_callback callback,
                            void *user_data,
                            struct dicast_ticket **ticket,
                            struct dicast_error **error);

/**
 * Waits for the outcome, at most `timeout_ms` milliseconds (DICAST_FOREVER: as long as the judgment's own deadline lets
 * it run), and takes it: on DICAST_OK `*verdict` is the caller's. DICAST_PENDING where it has not ended by then; else the
 * failure of the judgment. Of several threads that wait one gets the outcome, and the others DICAST_INVALID_ARGUMENT, as
 * do those that ask for it later.
 *
 * Where the ticket has a callback, `verdict` must be NULL: this waits until the callback has returned, and gives the
 * status that it was called with, any number of times. From within a callback of the same judge it does not wait.
 */
int32_t dicast_ticket_wait(const struct dicast_ticket *ticket,
                           uint64_t timeout_ms,
                           struct dicast_verdict **verdict,
                           struct dicast_error **error);

/**
 * Takes the outcome if it is there: dicast_ticket_wait with a timeout of 0.
 */
int32_t dicast_ticket_try(const struct dicast_ticket *ticket,
                          struct dicast_verdict **verdict,
                          struct dicast_error **error);

/**
 * Ends the judgment as DICAST_CANCELLED, at whatever stage it is, and frees its place. The outcome, which still goes to the
 * callback or to whoever waits, is that, unless it was there first. Cancelling again, or too late, is fine.
 */
int32_t dicast_ticket_cancel(const struct dicast_ticket *ticket,
                             struct dicast_error **error);

/**
 * Frees a ticket. NULL is fine. No other thread may be inside of a call with it, or begin one.
 *
 * Where it has a callback, the judgment goes on and the callback comes. Where it has none, nobody could get the outcome
 * any more: a judgment that is pending is cancelled, and an outcome that nobody has taken is freed.
 */
void dicast_ticket_free(struct dicast_ticket *ticket);

/**
 * Frees a verdict. NULL is fine.
 */
void dicast_verdict_free(struct dicast_verdict *verdict);

/**
 * Number of responses. 0 for NULL.
 */
size_t dicast_verdict_count(const struct dicast_verdict *verdict);

/**
 * The caller's name of the response at `index`; `data` is NULL out of range.
 */
struct dicast_str dicast_verdict_name(const struct dicast_verdict *verdict, size_t index);

/**
 * The name under which the judge saw the response at `index`, such as `model-2`; `data` is NULL out of range.
 */
struct dicast_str dicast_verdict_alias(const struct dicast_verdict *verdict, size_t index);

/**
 * The index of the response called `name`; DICAST_NONE where there is none.
 */
size_t dicast_verdict_find(const struct dicast_verdict *verdict, struct dicast_str name);

/**
 * The score of the response at `index` as the judge wrote it, on the scale; NaN out of range.
 */
double dicast_verdict_score(const struct dicast_verdict *verdict, size_t index);

/**
 * As dicast_verdict_score, by name; NaN where there is no such response.
 */
double dicast_verdict_score_of(const struct dicast_verdict *verdict, struct dicast_str name);

/**
 * The expected score of the response at `index`: the mean of the distribution that the written score was drawn from, a
 * finer reward than the digit. NaN out of range, and where the engine gave no distribution.
 */
double dicast_verdict_expected(const struct dicast_verdict *verdict,
                               size_t index);

/**
 * As dicast_verdict_expected, by name; NaN also where there is no such response.
 */
double dicast_verdict_expected_of(const struct dicast_verdict *verdict, struct dicast_str name);

/**
 * The probability of each score of the scale for the response at `index`, the worst score first; they sum to 1. `*len`,
 * where it is not NULL, becomes their number, scale_max - scale_min + 1. NULL and 0 out of range, and where the engine
 * gave no distribution.
 */
const double *dicast_verdict_distribution(const struct dicast_verdict *verdict,
                                          size_t index,
                                          size_t *len);

/**
 * The worst score of the scale, such as 1; 0 for NULL.
 */
uint32_t dicast_verdict_scale_min(const struct dicast_verdict *verdict);

/**
 * The best score of the scale, such as 5; 0 for NULL.
 */
uint32_t dicast_verdict_scale_max(const struct dicast_verdict *verdict);

/**
 * The place of the response at `index`, 0 the best; DICAST_NONE out of range.
 */
size_t dicast_verdict_rank(const struct dicast_verdict *verdict, size_t index);

/**
 * As dicast_verdict_rank, by name; DICAST_NONE where there is no such response.
 */
size_t dicast_verdict_rank_of(const struct dicast_verdict *verdict, struct dicast_str name);

/**
 * The index of the response at `place`, 0 the best; DICAST_NONE out of range.
 */
size_t dicast_verdict_ranked(const struct dicast_verdict *verdict, size_t place);

/**
 * The judge's reasoning, without its tags; empty where it did not think.
 */
struct dicast_str dicast_verdict_reasoning(const struct dicast_verdict *verdict);

/**
 * The judge's whole output as it came.
 */
struct dicast_str dicast_verdict_raw(const struct dicast_verdict *verdict);

/**
 * Number of repairs: what had to be mended to read the verdict.
 */
size_t dicast_verdict_repair_count(const struct dicast_verdict *verdict);

/**
 * The name of a repair, such as `extra_comma`. New ones may appear in any release.
 */
struct dicast_str dicast_verdict_repair(const struct dicast_verdict *verdict, size_t index);

/**
 * What a repair quotes, such as the name as it was written; empty where it quotes nothing.
 */
struct dicast_str dicast_verdict_repair_detail(const struct dicast_verdict *verdict, size_t index);

/**
 * Number of flags: what a reader of the verdict should know.
 */
size_t dicast_verdict_flag_count(const struct dicast_verdict *verdict);

/**
 * The name of a flag: `inconsistent_ranking`, `ties`, `dropped_name`, `reasoning_truncated`. New ones may appear in any
 * release.
 */
struct dicast_str dicast_verdict_flag(const struct dicast_verdict *verdict,
                                      size_t index);

/**
 * What a flag quotes, such as the dropped name; empty where it quotes nothing.
 */
struct dicast_str dicast_verdict_flag_detail(const struct dicast_verdict *verdict, size_t index);

/**
 * Tokens of the judgment. Written to `*usage`, whose `struct_size` is set by the caller. All 0 for a verdict that was
 * only parsed.
 */
int32_t dicast_verdict_usage(const struct dicast_verdict *verdict,
                             struct dicast_usage *usage,
                             struct dicast_error **error);

/**
 * Where the time went. Written to `*timing`, whose `struct_size` is set by the caller. All 0 for a verdict that was only
 * parsed.
 */
int32_t dicast_verdict_timing(const struct dicast_verdict *verdict,
                              struct dicast_timing *timing,
                              struct dicast_error **error);

/**
 * The whole verdict as JSON: `scores`, `expected_scores`, `distributions` (objects by name, in the order of the request),
 * `ranking`, `reasoning`, `repairs`, `flags`, `aliases`, `usage`, `timing_ms`, `raw`. Made when it is first asked for.
 */
struct dicast_str dicast_verdict_json(const struct dicast_verdict *verdict);

/**
 * Judges `count` responses to one prompt together, as one listwise judgment, and waits for their rewards.
 *
 * `rewards` and `statuses` have `count` entries in the order of `responses`. On success every status is DICAST_OK. On any
 * failure **every reward is NaN and every status says why**, which is also what is returned; the arrays are written to
 * whenever they are not NULL. `options` may be NULL: expected scores, as they are. Where the queue is full the call first
 * waits for room.
 *
 * A `count` above 16777216 is DICAST_INVALID_ARGUMENT, and nothing is written.
 */
int32_t dicast_judge_rewards(const struct dicast_judge *judge,
                             struct dicast_str principle,
                             struct dicast_str prompt,
                             const struct dicast_str *responses,
                             size_t count,
                             const struct dicast_reward_options *options,
                             double *rewards,
                             int32_t *statuses,
                             struct dicast_error **error);

/**
 * Judges many groups at once and waits for all their rewards. Each group is one listwise judgment; where they are more
 * than the queue takes, the rest waits for room.
 *
 * `groups` has `group_count` entries. `rewards` and `statuses` have `total` entries: those of the first group in the
 * order of its responses, then those of the second, and so on; `total` is the sum of all `response_count`, checked here.
 * A group that fails has **NaN for every reward and a status that says why**; the others have theirs. `errors` has
 * `group_count` entries, or is NULL: the error of each group that failed is the caller's, that of the others is NULL.
 *
 * DICAST_OK says that the groups were judged, not that every judgment worked. On anything else every reward is NaN, every
 * status is what is returned, and `errors` was not written to. A `total` above 16777216 is DICAST_INVALID_ARGUMENT, and
 * nothing is written.
 */
int32_t dicast_judge_rewards_groups(const struct dicast_judge *judge,
                                    const struct dicast_group *groups,
                                    size_t group_count,
                                    const struct dicast_reward_options *options,
                                    double *rewards,
                                    int32_t *statuses,
                                    size_t total,
                                    struct dicast_error **errors,
                                    struct dicast_error **error);

/**
 * The profile of a general instruction-following model. On success `*profile` is the caller's.
 */
int32_t dicast_profile_builtin(struct dicast_profile **profile, struct dicast_error **error);

/**
 * Reads a profile from JSON. On success `*profile` is the caller's; DICAST_INVALID_PROFILE names what is wrong.
 */
int32_t dicast_profile_from_json(struct dicast_str json,
                                 struct dicast_profile **profile,
                                 struct dicast_error **error);

/**
 * Reads a profile from a file. On success `*profile` is the caller's; DICAST_INVALID_PROFILE names what is wrong.
 */
int32_t dicast_profile_load(struct dicast_str path,
                            struct dicast_profile **profile,
                            struct dicast_error **error);

/**
 * Makes the profile of RewardAnything: reads the system prompt that its weights were trained with out of the Python
 * package `rewardanything`, a wheel or a `.py` file at `path`, without running any of it. Save dicast_profile_json
 * beside the model as `<model without .gguf>.profile.json`, and the judge is opened with it.
 *
 * On success `*profile` is the caller's. DICAST_IO where the file cannot be read, DICAST_INVALID_PROFILE where it has no
 * such prompt.
 */
int32_t dicast_profile_import(struct dicast_str path,
                              struct dicast_profile **profile,
                              struct dicast_error **error);

/**
 * The profile as JSON. Lives as long as the profile.
 */
struct dicast_str dicast_profile_json(const struct dicast_profile *profile);

/**
 * Frees a profile. NULL is fine.
 */
void dicast_profile_free(struct dicast_profile *profile);

/**
 * Masks `count` names, in the order of the request: `prefix` and a number from 1, such as `model-1`, stands for each, in
 * the order that `mode` (DICAST_MASK_SHUFFLE, …) says. `seed` counts for the shuffle alone; 42 is the reference system's.
 *
 * On success `*aliases` is the caller's. DICAST_INVALID_REQUEST where there are no names or one is given twice.
 */
int32_t dicast_aliases_mask(const struct dicast_str *names,
                            size_t count,
                            struct dicast_str prefix,
                            uint32_t mode,
                            uint64_t seed,
                            struct dicast_aliases **aliases,
                            struct dicast_error **error);

/**
 * The aliases of a judgment made elsewhere: `shown[i]` is the name that the judge saw at place i, `names[i]` the one that
 * it stood for. Where nothing was hidden, give the same array twice.
 *
 * On success `*aliases` is the caller's. DICAST_INVALID_REQUEST where there are no names or one is given twice.
 */
int32_t dicast_aliases_of(const struct dicast_str *shown,
                          const struct dicast_str *names,
                          size_t count,
                          struct dicast_aliases **aliases,
                          struct dicast_error **error);

/**
 * Number of responses. 0 for NULL.
 */
size_t dicast_aliases_count(const struct dicast_aliases *aliases);

/**
 * The name that the judge sees at `place`; `data` is NULL out of range.
 */
struct dicast_str dicast_aliases_shown(const struct dicast_aliases *aliases, size_t place);

/**
 * The caller's name of the response shown at `place`; `data` is NULL out of range.
 */
struct dicast_str dicast_aliases_name(const struct dicast_aliases *aliases, size_t place);

/**
 * The index, in the order of the names given, of the response shown at `place`; DICAST_NONE out of range.
 */
size_t dicast_aliases_index(const struct dicast_aliases *aliases, size_t place);

/**
 * Frees aliases. NULL is fine.
 */
void dicast_aliases_free(struct dicast_aliases *aliases);

/**
 * Builds the messages of a request as a judge of `profile` was trained to read them. Of the request's options those that
 * hide the names count (`mask`, `mask_seed`), then those of the profile.
 *
 * On success `*prompt` is the caller's. DICAST_INVALID_REQUEST, DICAST_TOO_LARGE (more than 64 responses, 1 GiB of text).
 */
int32_t dicast_prompt_new(const struct dicast_profile *profile,
                          const struct dicast_request *request,
                          struct dicast_prompt **prompt,
                          struct dicast_error **error);

/**
 * Number of messages: 1 or 2. 0 for NULL.
 */
size_t dicast_prompt_count(const struct dicast_prompt *prompt);

/**
 * The role of the message at `index`: `system` or `user`; `data` is NULL out of range.
 */
struct dicast_str dicast_prompt_role(const struct dicast_prompt *prompt, size_t index);

/**
 * The text of the message at `index`; `data` is NULL out of range.
 */
struct dicast_str dicast_prompt_content(const struct dicast_prompt *prompt, size_t index);

/**
 * The aliases of the prompt, which dicast_parse needs for the answer. They belong to the prompt: not to be freed.
 */
const struct dicast_aliases *dicast_prompt_aliases(const struct dicast_prompt *prompt);

/**
 * Frees a prompt and its aliases. NULL is fine.
 */
void dicast_prompt_free(struct dicast_prompt *prompt);

/**
 * Reads a verdict out of a judge's whole output, for programs with an engine of their own.
 *
 * `aliases` says which names must be scored and ranked. `profile` may be NULL: the built-in one. `policy_json` is the
 * `verdict` part of a configuration, `{"incomplete": "derive_ranking", "clamp": true}`, or empty: strict. In `text` bytes
 * that are not UTF-8 are replaced by U+FFFD: a character that was cut is no reason not to read the rest.
 *
 * On success `*verdict` is the caller's; it has no expected scores. Any thread, at any time.
 */
int32_t dicast_parse(struct dicast_str text,
                     const struct dicast_aliases *aliases,
                     const struct dicast_profile *profile,
                     struct dicast_str policy_json,
                     struct dicast_verdict **verdict,
                     struct dicast_error **error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* DICAST_H */
