/*
 * Dicast: judges responses by a principle in plain language, with a judge model.
 *
 * Generated from src/capi/ by `make header`; changes belong there.
 *
 * These rules hold unless a function says otherwise:
 *
 * - Status. A call that can fail returns an int32_t: DICAST_OK (0), or a code that says what went wrong. A code never
 *   changes its meaning. New codes may appear: treat those that you do not know as failures.
 * - Errors. Such a call takes `dicast_error **error` as its last parameter, which may be NULL. It is always written: NULL
 *   on success, an error that you own on failure. The old value is overwritten and not freed.
 * - Results are written only on success. The arrays of the reward calls are the exception: they are always written.
 * - Ownership. You own what a call returns through a `dicast_x **`, until you pass it to dicast_x_free. Freeing NULL does
 *   nothing. A `const dicast_x *` is only borrowed for the call. The library cannot detect an object that is freed twice
 *   or used after it was freed.
 * - Arguments. NULL where an object is required is DICAST_INVALID_ARGUMENT. A getter returns its "none" value instead:
 *   NaN, 0, DICAST_NONE, or a text whose `data` is NULL. An array of 0 entries may be NULL. No array has more than
 *   16777216 entries; a larger count is DICAST_INVALID_ARGUMENT, and nothing is written.
 * - Text is UTF-8, given as pointer and length; see dicast_str.
 * - Structs that begin with `struct_size`: zero the struct, set `struct_size` to its sizeof, then set the fields you need.
 *   Programs and libraries of different releases then work together.
 * - Threads. Several threads may use one object at once in calls that take it as `const`. Any other call, such as _free or
 *   adding to a request, needs the object for itself. A thread that calls needs a stack of 64 KiB.
 * - The library does not print, exit, handle signals, change the locale, or throw. A defect inside the library is
 *   DICAST_INTERNAL.
 * - fork: see dicast_judge.
 */


#ifndef DICAST_H
#define DICAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The release of this header. dicast_version() returns the release of the loaded library. */
#define DICAST_VERSION_MAJOR 0
#define DICAST_VERSION_MINOR 1
#define DICAST_VERSION_PATCH 0

/** No such index or place. */
#define DICAST_NONE SIZE_MAX

/** No timeout. */
#define DICAST_FOREVER UINT64_MAX


/**
 * The version of the interface in this header. Every release that adds to the interface increases it by one.
 */
#define DICAST_ABI_VERSION 1

/**
 * Done.
 */
#define DICAST_OK 0

/**
 * Not an error: the waiting time ended before there was an outcome. Wait again, or cancel.
 */
#define DICAST_PENDING -1

/**
 * The request is malformed: no responses, a name given twice, text that is not UTF-8, options out of range. Nothing was
 * generated. Correct the request.
 */
#define DICAST_INVALID_REQUEST 1

/**
 * The request exceeds a limit of the configuration (`limits`). Nothing was generated. Make it smaller or raise the limit.
 */
#define DICAST_TOO_LARGE 2

/**
 * The request and the tokens to be generated do not fit the context of the model; the message has the numbers. Nothing
 * was generated. Shorten the request, or lower `max_reasoning_tokens`.
 */
#define DICAST_CONTEXT_OVERFLOW 3

/**
 * A setting is unknown or out of its range; the message names the key. Nothing was opened.
 */
#define DICAST_INVALID_CONFIG 4

/**
 * A judge profile cannot be read, or the model needs one and has none. Nothing was opened.
 */
#define DICAST_INVALID_PROFILE 5

/**
 * There is no model at this path. Nothing was opened.
 */
#define DICAST_MODEL_NOT_FOUND 6

/**
 * The model is damaged or lacks something that a judge needs. Nothing was opened.
 */
#define DICAST_INVALID_MODEL 7

/**
 * This build or this engine cannot do this; the message names what is missing.
 */
#define DICAST_UNSUPPORTED 8

/**
 * The queue is full (`limits.max_queue`). Nothing was queued. Send the request again later; see
 * dicast_judge_wait_for_room.
 */
#define DICAST_OVERLOADED 9

/**
 * The deadline of the request passed (`timeout_ms`). Its place in the queue is free. It may work when the judge is less
 * busy.
 */
#define DICAST_TIMEOUT 10

/**
 * The judgment was cancelled. Its place in the queue is free.
 */
#define DICAST_CANCELLED 11

/**
 * The answer of the judge is not a complete verdict. The error has the whole output and the parts that could be read. If the
 * temperature is above 0, another seed may help.
 */
#define DICAST_INVALID_VERDICT 12

/**
 * The engine failed while it worked on the request. Other requests may not be affected.
 */
#define DICAST_ENGINE 13

/**
 * The judge was closed, or another process opened it: fork does not copy threads. Open a new one.
 */
#define DICAST_CLOSED 14

/**
 * A file could not be read or written.
 */
#define DICAST_IO 15

/**
 * A remote service could not be reached, or refused the request. It may work later.
 */
#define DICAST_NETWORK 16

/**
 * A defect of the library. The judge can still be used. Please report it.
 */
#define DICAST_INTERNAL 17

/**
 * The call breaks a rule of this header, such as NULL for a required object or a wrong `struct_size`. It had no effect.
 */
#define DICAST_INVALID_ARGUMENT 18

/**
 * The engine is dead: this request and all others of the judge fail. Close the judge and open it again.
 */
#define DICAST_ENGINE_DEAD 19

/**
 * The judge sleeps, and dicast_judge_sleep was called so that requests do not wait. Nothing was queued. Wake the judge, or
 * send the request again later.
 */
#define DICAST_ASLEEP 20

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
 * From the submission of a judgment to its verdict.
 */
#define DICAST_PHASE_TOTAL 0

/**
 * From the submission of a judgment to its first computation.
 */
#define DICAST_PHASE_QUEUE 1

/**
 * Computing the prompt.
 */
#define DICAST_PHASE_PREFILL 2

/**
 * Writing the reasoning.
 */
#define DICAST_PHASE_REASONING 3

/**
 * Writing the verdict.
 */
#define DICAST_PHASE_VERDICT 4

/**
 * Requests that arrive while the judge sleeps wait until it wakes; their deadlines keep running.
 */
#define DICAST_ARRIVING_WAIT 0

/**
 * Requests that arrive while the judge sleeps fail at once as DICAST_ASLEEP.
 */
#define DICAST_ARRIVING_FAIL 1

/**
 * The expected score: the mean of the distribution of the score. If the engine returns no distribution, the status is
 * DICAST_UNSUPPORTED.
 */
#define DICAST_REWARD_EXPECTED 0

/**
 * The score as the judge wrote it.
 */
#define DICAST_REWARD_SCORE 1

/**
 * The place in the ranking, from 1 for the best of the group to 0 for the worst, in equal steps; 0.5 for a single response.
 */
#define DICAST_REWARD_RANK 2

/**
 * The expected score if the engine returns a distribution, else the score as written.
 */
#define DICAST_REWARD_EXPECTED_OR_SCORE 3

/**
 * How many standard deviations the expected score (or the score as written if the engine returns no distribution) lies above
 * the mean of its group; 0 for all if the scores of a group are equal. `normalize` does not change it.
 */
#define DICAST_REWARD_GROUP 4

/**
 * The mean probability that the score is above that of another response of the group, from the distributions of the scores;
 * a tie counts half. 0.5 for a single response. If the engine returns no distribution, the status is DICAST_UNSUPPORTED.
 * `normalize` does not change it.
 */
#define DICAST_REWARD_WIN 5

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
 * A grammar in llama.cpp's GBNF.
 */
#define DICAST_NOTATION_GBNF 0

/**
 * A grammar in xgrammar's EBNF, which vLLM, SGLang and TensorRT-LLM take.
 */
#define DICAST_NOTATION_EBNF 1

/**
 * A grammar in llguidance's Lark.
 */
#define DICAST_NOTATION_LARK 2

/**
 * For dicast_job_finish: the budget ended the reasoning.
 */
#define DICAST_CUT_REASONING 1

/**
 * For dicast_job_finish: a token limit ended the verdict.
 */
#define DICAST_CUT_VERDICT 2

/**
 * Jobs and requests that can wait, such as those of a batch.
 */
#define DICAST_PRIORITY_LOW -1

/**
 * Jobs and requests without another priority.
 */
#define DICAST_PRIORITY_NORMAL 0

/**
 * Jobs and requests that somebody waits for.
 */
#define DICAST_PRIORITY_HIGH 1

/**
 * The engine writes free text: verdicts are read by the tolerant reader, and may be incomplete.
 */
#define DICAST_GUIDANCE_NONE 0

/**
 * The engine constrains verdicts by a JSON schema.
 */
#define DICAST_GUIDANCE_SCHEMA 1

/**
 * The engine constrains verdicts by a grammar: every verdict is complete.
 */
#define DICAST_GUIDANCE_GRAMMAR 2

/**
 * Which response the judge sees under which name. Places are numbered from 0 in the order in which the judge sees the
 * responses.
 *
 * You own it, until dicast_aliases_free; its texts live as long as it does. It never changes: any number of threads may
 * read it at once.
 */
typedef struct dicast_aliases dicast_aliases;

/**
 * Many groups that are judged under one handle.
 *
 * Any number of threads may use one at once. You own it, until dicast_batch_free. It may outlive its judge.
 */
typedef struct dicast_batch dicast_batch;

/**
 * What went wrong: a code, a message for people, and the parts of an incomplete verdict that could be read.
 *
 * The receiver owns it, until dicast_error_free. It never changes: any number of threads may read it at once. Its texts
 * live as long as it does.
 */
typedef struct dicast_error dicast_error;

/**
 * A list of outcomes with a file descriptor that is readable while the list is not empty: for poll, epoll, libuv and the like.
 *
 * Any number of threads, judges and submissions may use one at once. You own it, until dicast_events_free.
 */
typedef struct dicast_events dicast_events;

/**
 * One generation for the program's own engine.
 *
 * The generate callback gets it and owns it, until dicast_job_finish or dicast_job_fail; one of these must be called. Only one
 * thread may use it at a time, not always the same one. It may outlive its judge: what is handed to it then is dropped.
 */
typedef struct dicast_job dicast_job;

/**
 * An opened model with its profile.
 *
 * Any number of threads may use one judge at once, and any number of judges may be open. You own it, until
 * dicast_judge_free. A judge belongs to the process that opened it. After fork, in the child, every call with it or with
 * its tickets is DICAST_CLOSED; freeing it there is safe and releases nothing.
 */
typedef struct dicast_judge dicast_judge;

/**
 * A snapshot of what a judge has done since it was opened: outcomes, times in histograms, tokens, rates.
 *
 * You own it, until dicast_metrics_free; its texts and arrays live as long as it does. It never changes: any number of
 * threads may read it at once.
 */
typedef struct dicast_metrics dicast_metrics;

/**
 * The beginning of prompts, which a judge keeps computed until dicast_pin_free.
 *
 * You own it. It may outlive its judge. Nothing is kept any more once the judge sleeps, takes other weights or is closed: call
 * dicast_judge_warm again when it is awake. Any number of threads may read one pin at once.
 */
typedef struct dicast_pin dicast_pin;

/**
 * How one judge model must be prompted, and how its output is read: system prompt, message layout, score scale, form of the
 * verdict.
 *
 * You own it, until dicast_profile_free. It never changes: any number of threads may use it at once.
 */
typedef struct dicast_profile dicast_profile;

/**
 * The messages that a judge reads for one request, before a chat template, and the aliases of its responses.
 *
 * You own it, until dicast_prompt_free; its texts live as long as it does. It never changes: any number of threads may read
 * it at once.
 */
typedef struct dicast_prompt dicast_prompt;

/**
 * What to judge: a principle, a prompt, responses in order, options.
 *
 * You own it, until dicast_request_free. The library copies it and does not keep it: you may change it, use it again or
 * free it as soon as a call returns. Any number of threads may use one request at once while none changes it.
 */
typedef struct dicast_request dicast_request;

/**
 * A configuration or the options of a request, setting by setting. The other calls take its JSON.
 *
 * Settings have the names of the documentation: `local.threads`, `options.temperature`, `profile`; in options of a request
 * without the section: `temperature`. Name, type and range are checked when a setting is set. Setting it again replaces the
 * value. Numbers are written the same in every locale.
 *
 * You own it, until dicast_settings_free. Any number of threads may read one at once while none changes it.
 */
typedef struct dicast_settings dicast_settings;

/**
 * A judgment that was submitted.
 *
 * Any number of threads may use one at once. You own it, until dicast_ticket_free. It may outlive its judge.
 */
typedef struct dicast_ticket dicast_ticket;

/**
 * A complete verdict: every response has a score on the scale and a place in the ranking. An incomplete verdict is an
 * error instead.
 *
 * Responses are numbered from 0 in the order of the request. Places in the ranking are numbered from 0, which is the best. The
 * receiver owns the verdict, until dicast_verdict_free; its texts and arrays live as long as it does. It never changes: any
 * number of threads may read it at once.
 */
typedef struct dicast_verdict dicast_verdict;

/**
 * A piece of text: `len` bytes at `data`, in UTF-8. Zero bytes within it are part of the text.
 *
 * As an argument it is read only during the call. `{NULL, 0}` is the empty text. Bytes that are not UTF-8 are an error,
 * unless the function says otherwise.
 *
 * As a result it belongs to the object that the function was called with, and lives as long as that object. Without such
 * an object it lives until the program ends. `data[len]` is a zero byte, so `data` is also a C string. `data` is NULL only
 * if there is no such text, such as for an index out of range.
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
 * Takes one line of a judge's log, without a line end. `line` is valid only during the call.
 *
 * Any thread may call it, also several at once, from the start of dicast_judge_open until dicast_judge_free has returned.
 * It must return quickly. It must not call a function with this judge or its tickets, and must not throw or longjmp.
 */
typedef void (*dicast_log_callback)(void *user_data, uint32_t level, struct dicast_str line);

/**
 * Gets the progress of loading a model: `part` is from 0 to 1 and rises. Returns true to continue; false ends the loading, and
 * the call that loads returns DICAST_CANCELLED.
 *
 * Called on the thread that opens, wakes or reloads the judge, within that call. The embedded engine calls it many times,
 * the one for servers several times a second, others only at the beginning and at the end. It must not throw or longjmp, nor
 * use this judge.
 */
typedef bool (*dicast_progress_callback)(void *user_data, double part);

/**
 * Options of dicast_judge_open besides the configuration. Zero everything, then set `struct_size`.
 */
typedef struct dicast_open_options {
    /**
     * sizeof(dicast_open_options).
     */
    size_t struct_size;
    /**
     * Receives the log of this judge; NULL for no log. The library itself never prints.
     */
    dicast_log_callback log;
    /**
     * Passed to `log` unchanged.
     */
    void *log_user_data;
    /**
     * The least important level to log: DICAST_LOG_ERROR to DICAST_LOG_DEBUG. 0 means DICAST_LOG_INFO.
     */
    uint32_t log_level;
    /**
     * Must be 0.
     */
    uint32_t reserved;
    /**
     * Gets the progress of loading, and may end it; may be NULL. Must live as long as the judge.
     */
    dicast_progress_callback progress;
    /**
     * Passed to `progress` unchanged.
     */
    void *progress_user_data;
} dicast_open_options;

/**
 * How much memory opening a model in the embedded engine takes, in bytes: estimates, a few percent above measured values. Set
 * `struct_size` before the call, which writes the other fields.
 */
typedef struct dicast_memory {
    /**
     * sizeof(dicast_memory).
     */
    size_t struct_size;
    /**
     * The weights. With `local.mmap`, the default, they are mapped from the file, and the system can take this memory back;
     * not so those that `local.repack` arranges for the processor.
     */
    uint64_t weights;
    /**
     * Keys and values of all judgments together.
     */
    uint64_t kv_cache;
    /**
     * Buffers for computing a step, and all the rest.
     */
    uint64_t compute;
    /**
     * Number of tokens that `kv_cache` holds.
     */
    uint64_t kv_tokens;
    /**
     * Memory that this process can still take, limited by the machine and by its control groups; 0 if the system does not say.
     */
    uint64_t available;
} dicast_memory;

/**
 * Properties of a judge. Set `struct_size` before the call, which writes the other fields.
 */
typedef struct dicast_info {
    /**
     * sizeof(dicast_info).
     */
    size_t struct_size;
    /**
     * Most tokens of one judgment, prompt and output together; 0 if the engine does not say.
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
     * 1 if the engine can force a verdict to follow a grammar, else 0.
     */
    uint32_t guided;
    /**
     * 1 if the engine returns the distribution at every score, from which expected scores are computed, else 0.
     */
    uint32_t distributions;
} dicast_info;

/**
 * Counters of a judge. Set `struct_size` before the call, which writes the other fields. All but `pending` are 0 once
 * the judge is closed.
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
     * Prompt tokens reused from earlier judgments, since the judge was opened.
     */
    uint64_t reused_tokens;
    /**
     * Tokens computed, of prompts and outputs together, wrong ones of drafts too, since the judge was opened.
     */
    uint64_t computed_tokens;
    /**
     * Batches computed, since the judge was opened.
     */
    uint64_t steps;
    /**
     * Tokens in one block of the KV cache.
     */
    uint64_t kv_block_tokens;
    /**
     * Blocks in the KV cache.
     */
    uint64_t kv_blocks;
    /**
     * Of these, blocks in use by running judgments.
     */
    uint64_t kv_blocks_used;
    /**
     * Blocks reused from earlier judgments, since the judge was opened.
     */
    uint64_t kv_blocks_reused;
    /**
     * Different grammars that a TensorRT-LLM executor got in the last hour; compiling each one delays a step.
     */
    uint64_t grammars_last_hour;
    /**
     * Tokens computed ahead as drafts (`local.draft_tokens`), since the judge was opened.
     */
    uint64_t drafted_tokens;
    /**
     * Of these, tokens that the judge chose, so that they needed no step of their own.
     */
    uint64_t accepted_tokens;
} dicast_stats;

/**
 * The numbers for a dashboard. Set `struct_size` before the call, which writes the other fields. Judgments and tokens count
 * since the judge was opened. Fields with `recent_` are rates over the last minute, or since the judge was opened.
 */
typedef struct dicast_figures {
    /**
     * sizeof(dicast_figures).
     */
    size_t struct_size;
    /**
     * Microseconds since the judge was opened.
     */
    uint64_t elapsed_us;
    /**
     * Judgments with a verdict.
     */
    uint64_t judged;
    /**
     * Judgments that failed or were refused; see dicast_metrics_ended.
     */
    uint64_t failed;
    /**
     * Judgments that wait or run.
     */
    uint64_t pending;
    /**
     * Tokens of the prompts of judgments with a verdict.
     */
    uint64_t prompt_tokens;
    /**
     * Of these, tokens that were reused from earlier judgments.
     */
    uint64_t reused_tokens;
    /**
     * Tokens of the reasonings of judgments with a verdict.
     */
    uint64_t reasoning_tokens;
    /**
     * Tokens of the verdicts.
     */
    uint64_t verdict_tokens;
    /**
     * The part of the prompts' tokens that was reused, from 0 to 1.
     */
    double reused_share;
    /**
     * Judgments with a verdict, per second.
     */
    double recent_judgments;
    /**
     * Tokens of the prompts of these, per second.
     */
    double recent_prompt_tokens;
    /**
     * Tokens that these wrote, reasonings and verdicts together, per second.
     */
    double recent_written_tokens;
} dicast_figures;

/**
 * How a judge falls asleep. Zero the struct, then set `struct_size`.
 */
typedef struct dicast_sleep_options {
    /**
     * sizeof(dicast_sleep_options).
     */
    size_t struct_size;
    /**
     * DICAST_ARRIVING_WAIT (0) or DICAST_ARRIVING_FAIL: what happens to requests that arrive while the judge sleeps.
     */
    uint32_t arriving;
    /**
     * 0: wait for running judgments, and for dicast_judge_warm. 1: they end as DICAST_CANCELLED.
     */
    uint32_t cancel_running;
    /**
     * How long to wait for running judgments, in milliseconds; 0: as long as their deadlines allow.
     */
    uint64_t patience_ms;
} dicast_sleep_options;

/**
 * Takes the outcome of a judgment. It is called exactly once. On DICAST_OK the callback owns `verdict`, and `error` is
 * NULL. Otherwise it owns `error`, and `verdict` is NULL.
 *
 * Each judge has one thread that only calls callbacks, one at a time. A callback may call any function: submit, cancel,
 * wait for other judgments, free its own ticket, free the judge. While it runs, later callbacks wait, but computations go on.
 * It must not throw or longjmp.
 */
typedef void (*dicast_callback)(void *user_data,
                                int32_t status,
                                struct dicast_verdict *verdict,
                                struct dicast_error *error);

/**
 * Tokens of one judgment. Set `struct_size` before the call, which writes the other fields.
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
     * Of these, tokens that were reused from earlier judgments.
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
 * Where the time of one judgment went, in microseconds. Set `struct_size` before the call, which writes the other fields.
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
 * The outcome of one judgment. Set `struct_size` before the call, which writes the other fields.
 */
typedef struct dicast_event {
    /**
     * sizeof(dicast_event).
     */
    size_t struct_size;
    /**
     * The tag that the judgment was submitted with.
     */
    uint64_t tag;
    /**
     * DICAST_OK, or why there is no verdict.
     */
    int32_t status;
    /**
     * 0.
     */
    uint32_t reserved;
    /**
     * On DICAST_OK the verdict, which you own; otherwise NULL.
     */
    struct dicast_verdict *verdict;
    /**
     * On any other status the error, which you own; otherwise NULL.
     */
    struct dicast_error *error;
} dicast_event;

/**
 * Which rewards a call returns. Zero the struct, then set `struct_size`.
 */
typedef struct dicast_reward_options {
    /**
     * sizeof(dicast_reward_options).
     */
    size_t struct_size;
    /**
     * DICAST_REWARD_EXPECTED (0) or another DICAST_REWARD_….
     */
    uint32_t reward;
    /**
     * 1: scores are mapped from the scale of the judge to 0 (worst) to 1 (best). 0: scores stay on the scale, such as 1 to 5.
     */
    uint32_t normalize;
    /**
     * Options of the judgments as JSON, as for dicast_request_set_options; empty for none.
     */
    struct dicast_str options_json;
    /**
     * DICAST_PRIORITY_NORMAL (0), _LOW or _HIGH.
     */
    int32_t priority;
    /**
     * Must be 0.
     */
    uint32_t reserved;
    /**
     * The whole call ends after this many milliseconds at the latest: groups not judged by then are DICAST_TIMEOUT. 0: only the
     * `timeout_ms` of each judgment applies.
     */
    uint64_t deadline_ms;
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
     * The prompt that the responses answer.
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
    /**
     * Options of this group as JSON, which override those of the whole call; empty for none.
     */
    struct dicast_str options_json;
    /**
     * Your name for the judgment, which appears in log lines; empty for none.
     */
    struct dicast_str id;
    /**
     * DICAST_PRIORITY_LOW or _HIGH; 0: that of the whole call.
     */
    int32_t priority;
    /**
     * Must be 0.
     */
    uint32_t reserved;
    /**
     * The judgment ends at most this many milliseconds after the start of the call; 0: as for the whole call.
     */
    uint64_t deadline_ms;
} dicast_group;

/**
 * How groups are judged. Zero the struct, then set `struct_size`.
 */
typedef struct dicast_batch_options {
    /**
     * sizeof(dicast_batch_options).
     */
    size_t struct_size;
    /**
     * Options of the judgments as JSON, as for dicast_request_set_options; empty for none. A group's own options override them.
     */
    struct dicast_str options_json;
    /**
     * DICAST_PRIORITY_NORMAL (0), _LOW or _HIGH, for groups that do not set their own.
     */
    int32_t priority;
    /**
     * Must be 0.
     */
    uint32_t reserved;
    /**
     * The batch ends after this many milliseconds at the latest: groups not judged by then are DICAST_TIMEOUT. 0: only the
     * `timeout_ms` of each judgment applies.
     */
    uint64_t deadline_ms;
} dicast_batch_options;

/**
 * How many tokens a request takes. Set `struct_size` before the call, which writes the other fields.
 */
typedef struct dicast_count {
    /**
     * sizeof(dicast_count).
     */
    size_t struct_size;
    /**
     * Tokens of the prompt; of the longest one, if the judgment has several runs.
     */
    uint64_t prompt_tokens;
    /**
     * Tokens of the prompts of all runs.
     */
    uint64_t all_prompt_tokens;
    /**
     * Tokens at the start of each prompt that all prompts of this judge have in common.
     */
    uint64_t shared_tokens;
    /**
     * Most tokens that a run may write, reasoning and verdict together.
     */
    uint64_t output_tokens;
    /**
     * Tokens of prompt and output together that the context holds; 0 if the engine does not say.
     */
    uint64_t context_tokens;
    /**
     * Number of generations for the judgment: 1, or more for an ensemble, a rubric or blocks.
     */
    uint64_t runs;
    /**
     * 1 if prompt and output fit the context, or if that is not known. 0: judging the request gives DICAST_CONTEXT_OVERFLOW.
     */
    uint32_t fits;
    /**
     * 1 if the engine itself says how much may be written; 0 if that is an estimate.
     */
    uint32_t exact;
} dicast_count;

/**
 * A token that could stand at one place of the output.
 */
typedef struct dicast_choice {
    /**
     * Its text, which may end inside a character.
     */
    struct dicast_str text;
    /**
     * The natural logarithm of its probability.
     */
    double logprob;
} dicast_choice;

/**
 * A token of the output, and the other tokens that were possible at its place.
 */
typedef struct dicast_token {
    /**
     * Its text, which may end inside a character.
     */
    struct dicast_str text;
    /**
     * The natural logarithm of its probability; NaN if it is not known.
     */
    double logprob;
    /**
     * The most probable tokens at this place, in any order; NULL if they are not known. They matter only at the scores: the more
     * values of the scale they include, the finer the expected score.
     */
    const struct dicast_choice *choices;
    /**
     * Their number.
     */
    size_t choice_count;
} dicast_token;

/**
 * How to generate a job: first the reasoning, if there is one, then the verdict. Set `struct_size` before the call, which
 * writes the other fields. Texts belong to the job.
 */
typedef struct dicast_plan {
    /**
     * sizeof(dicast_plan).
     */
    size_t struct_size;
    /**
     * The number of the job, which the cancel callback names.
     */
    uint64_t id;
    /**
     * 0 is greedy; at most 2.
     */
    double temperature;
    /**
     * Nucleus sampling, above 0; 1 is off.
     */
    double top_p;
    /**
     * Seed of the sampling.
     */
    uint64_t seed;
    /**
     * Sample from this many most probable tokens; 0 is off.
     */
    uint32_t top_k;
    /**
     * DICAST_PRIORITY_LOW, _NORMAL or _HIGH.
     */
    int32_t priority;
    /**
     * Milliseconds until the deadline of the job; it is cancelled then.
     */
    uint64_t time_left_ms;
    /**
     * 1 if the verdict comes after a reasoning, else 0.
     */
    uint32_t reasons;
    /**
     * 1 if the verdict must follow the grammar (dicast_job_grammar) or the schema (dicast_job_schema), 0 if it is free text.
     */
    uint32_t guided;
    /**
     * 1 if the ranking must agree with the scores: dicast_job_grammar then comes in several stages.
     */
    uint32_t consistent;
    /**
     * 1 if the caller wants the reasoning while it is written: hand it over piece by piece.
     */
    uint32_t heard;
    /**
     * Most tokens of the reasoning; 0: close it at once.
     */
    uint64_t reasoning_tokens;
    /**
     * Most tokens of a free verdict; 0 for a guided one, which the grammar ends.
     */
    uint64_t verdict_tokens;
    /**
     * What the engine feeds before the reasoning, such as `<think>` and a line end; empty if the prompt ends with it, or if there is no
     * reasoning. An engine whose chat template already opens the reasoning leaves it out.
     */
    struct dicast_str open;
    /**
     * The text that ends the reasoning, such as `</think>`: sampled, or fed once the budget is spent.
     */
    struct dicast_str close;
} dicast_plan;

/**
 * Takes a job, which the engine then owns: see dicast_job. Called on the thread that submits the request, also by several
 * threads at once. It must return quickly: put the job into the engine's queue, or end it at once. It must not call a function
 * with the judge, and must not throw or longjmp.
 */
typedef void (*dicast_generate_callback)(void *user_data, struct dicast_job *job);

/**
 * Nobody waits for this job any more: it was cancelled or its deadline has passed. The engine should stop working on it and
 * end it when it can; its output is dropped. Called on any thread; it must return quickly. The job may have just ended.
 */
typedef void (*dicast_cancel_callback)(void *user_data, uint64_t job);

/**
 * The judge is closed: no callback is called after this one. The jobs that the engine has may be ended later, or never.
 */
typedef void (*dicast_engine_close_callback)(void *user_data);

/**
 * Frees memory (sleep) or allocates it again (wake), while no job runs. Returns DICAST_OK or a status that says why not. It
 * may take long.
 */
typedef int32_t (*dicast_engine_power_callback)(void *user_data);

/**
 * Loads the weights of `model`. Called while no job runs, also while the engine sleeps; afterwards it is awake. Returns
 * DICAST_OK or a status that says why not.
 */
typedef int32_t (*dicast_engine_reload_callback)(void *user_data, struct dicast_str model);

/**
 * The program's own engine. Zero the struct, then set `struct_size`, `generate` and the other fields that you need.
 */
typedef struct dicast_engine {
    /**
     * sizeof(dicast_engine).
     */
    size_t struct_size;
    /**
     * Passed to each callback unchanged.
     */
    void *user_data;
    /**
     * Empty: the engine takes messages and renders the chat template itself. Else a folder with the model's
     * `tokenizer.json` and `tokenizer_config.json`, as on the Hugging Face hub: the engine takes token ids.
     */
    struct dicast_str tokenizer;
    /**
     * DICAST_GUIDANCE_NONE, _SCHEMA or _GRAMMAR: how strictly the engine constrains verdicts.
     */
    uint32_t guidance;
    /**
     * 1 if the engine gives the possible tokens at the scores (dicast_job_answer_tokens), else 0.
     */
    uint32_t distributions;
    /**
     * Most tokens of prompt and output together; 0: not known. With a tokenizer, prompts that do not fit are refused.
     */
    uint64_t context_tokens;
    /**
     * Number of jobs that the engine works on at once, for dicast_info; 0 means 1. It gets more jobs than that, up to
     * `limits.max_queue`.
     */
    uint64_t max_sequences;
    /**
     * Takes a job. Must not be NULL.
     */
    dicast_generate_callback generate;
    /**
     * Stops a job; may be NULL: see dicast_job_is_wanted.
     */
    dicast_cancel_callback cancel;
    /**
     * Called when the judge is closed; may be NULL.
     */
    dicast_engine_close_callback close;
    /**
     * Frees memory. If NULL, dicast_judge_sleep returns DICAST_UNSUPPORTED.
     */
    dicast_engine_power_callback sleep;
    /**
     * Allocates the memory again; must be NULL if `sleep` is NULL, and must not be otherwise.
     */
    dicast_engine_power_callback wake;
    /**
     * Loads other weights. If NULL, dicast_judge_reload returns DICAST_UNSUPPORTED.
     */
    dicast_engine_reload_callback reload;
} dicast_engine;

/**
 * Takes a piece of the reasoning while it is written: whole characters, in order. `piece` is valid only during the call.
 *
 * It is called on the thread that calls the other callbacks of the judge, one at a time. If it is slow, it gets several pieces
 * as one. All pieces come before the callback or the event of the judgment; dicast_ticket_wait may return before the last
 * one. It must not throw or longjmp.
 */
typedef void (*dicast_reasoning_callback)(void *user_data, struct dicast_str piece);

/**
 * How a request is submitted. Zero the struct, then set `struct_size`.
 */
typedef struct dicast_submit_options {
    /**
     * sizeof(dicast_submit_options).
     */
    size_t struct_size;
    /**
     * Your name for the judgment, which appears in log lines; empty for none. Copied.
     */
    struct dicast_str id;
    /**
     * DICAST_PRIORITY_NORMAL (0), _LOW or _HIGH: which judgment goes first if several wait for the engine. The highest goes first,
     * but every fourth place goes to the one that has waited longest, so that nothing starves. The embedded engine does this.
     */
    int32_t priority;
    /**
     * Must be 0.
     */
    uint32_t reserved;
    /**
     * The judgment ends at most this many milliseconds after its submission; 0: only the `timeout_ms` of its options applies.
     */
    uint64_t deadline_ms;
    /**
     * Gets the reasoning while it is written; may be NULL. From an engine that gives the reasoning only at its end, it gets one piece.
     */
    dicast_reasoning_callback on_reasoning;
    /**
     * Passed to `on_reasoning` unchanged.
     */
    void *reasoning_user_data;
    /**
     * Gets the outcome; NULL: `events` or dicast_ticket_wait gets it.
     */
    dicast_callback callback;
    /**
     * Passed to `callback` unchanged.
     */
    void *user_data;
    /**
     * Gets the outcome as an event, instead of a callback; NULL for none. It may be freed before the judgment ends.
     */
    const struct dicast_events *events;
    /**
     * Returned in the event.
     */
    uint64_t tag;
} dicast_submit_options;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the interface of the loaded library. A program needs a library whose version is at least the
 * DICAST_ABI_VERSION that the program was compiled with.
 *
 * Any thread, at any time.
 */
uint32_t dicast_abi_version(void);

/**
 * The release of the loaded library, such as `0.1.0`.
 *
 * Any thread, at any time.
 */
struct dicast_str dicast_version(void);

/**
 * What the loaded library was built with, names separated by commas: the engines `local`, `remote`, `trtllm`, and the GPUs of the
 * embedded engine, `cuda`, `metal`, `vulkan`. Empty if it has no engine. New names may appear.
 *
 * Any thread, at any time. The text lives as long as the library is loaded.
 */
struct dicast_str dicast_features(void);

/**
 * The text of a C string, without its zero byte; `{NULL, 0}` for NULL. It lives as long as the C string.
 */
struct dicast_str dicast_str_cstr(const char *text);

/**
 * The name of a status, such as `context_overflow`: `ok`, `pending`, or the `kind` of an error in JSON. `data` is NULL for
 * a number that is not a status in this release.
 *
 * Any thread, at any time. The result is valid until the program ends.
 */
struct dicast_str dicast_status_name(int32_t status);

/**
 * Whether the same request may succeed when it is sent again after an error of this status. dicast_error_is_retryable answers
 * for one error.
 *
 * Any thread, at any time.
 */
bool dicast_status_is_retryable(int32_t status);

/**
 * Frees an error. NULL does nothing.
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
 * For NULL it is an empty text, which can be printed.
 */
struct dicast_str dicast_error_message(const struct dicast_error *error);

/**
 * Whether the same request may succeed when it is sent again; after a verdict that is not complete, with another seed.
 */
bool dicast_error_is_retryable(const struct dicast_error *error);

/**
 * Whether parts of an incomplete verdict were kept: at least its text.
 */
bool dicast_error_has_partial(const struct dicast_error *error);

/**
 * Number of scores that could be read: one for each response, or 0. One doubtful score discards all scores. These scores
 * are not a verdict: the judge did not finish it.
 */
size_t dicast_error_partial_count(const struct dicast_error *error);

/**
 * The name of the response at `index`, in the order of the request.
 */
struct dicast_str dicast_error_partial_name(const struct dicast_error *error, size_t index);

/**
 * The score that was read for the response at `index`; NaN if there is none.
 */
double dicast_error_partial_score(const struct dicast_error *error, size_t index);

/**
 * The name at `place` of the ranking (0 is the best), if only the ranking could be read; otherwise `data` is NULL.
 */
struct dicast_str dicast_error_partial_ranked(const struct dicast_error *error,
                                              size_t place);

/**
 * The judge's reasoning.
 */
struct dicast_str dicast_error_partial_reasoning(const struct dicast_error *error);

/**
 * The whole output of the judge, unchanged.
 */
struct dicast_str dicast_error_partial_raw(const struct dicast_error *error);

/**
 * The whole error as JSON: `{"error": {"kind", "message", "retryable", "partial"?}}`, where `partial` is
 * `{"scores", "ranking", "reasoning", "raw"}`. Made on the first call. Empty text for NULL.
 */
struct dicast_str dicast_error_json(const struct dicast_error *error);

/**
 * From now on, logs lines up to this level: DICAST_LOG_ERROR to DICAST_LOG_DEBUG; 0 means DICAST_LOG_INFO. Has no effect if the
 * judge was opened without a log. Any thread, at any time.
 */
int32_t dicast_judge_set_log_level(const struct dicast_judge *judge,
                                   uint32_t log_level,
                                   struct dicast_error **error);

/**
 * The configuration of dicast_judge_open as JSON Schema: each setting with its type, range, default and meaning. Its
 * `properties.options` describes the options of a request.
 *
 * Any thread, at any time. The result is valid until the program ends.
 */
struct dicast_str dicast_config_schema(void);

/**
 * Begins a configuration for a model, for dicast_judge_open.
 *
 * On success you own `*settings`. DICAST_INVALID_CONFIG if the text is not UTF-8.
 */
int32_t dicast_settings_new(struct dicast_str model,
                            struct dicast_settings **settings,
                            struct dicast_error **error);

/**
 * Begins the options of a request, for dicast_request_set_options and every `options_json`.
 *
 * On success you own `*settings`.
 */
int32_t dicast_settings_new_options(struct dicast_settings **settings, struct dicast_error **error);

/**
 * Frees settings. NULL does nothing.
 */
void dicast_settings_free(struct dicast_settings *settings);

/**
 * Sets a whole number or a number: `local.threads`, `options.temperature`. DICAST_INVALID_CONFIG names the setting and what it must
 * be; nothing is changed then.
 */
int32_t dicast_settings_set_int(struct dicast_settings *settings,
                                struct dicast_str name,
                                int64_t value,
                                struct dicast_error **error);

/**
 * Sets a number: `options.temperature`. As dicast_settings_set_int; NaN and infinity are refused.
 */
int32_t dicast_settings_set_number(struct dicast_settings *settings,
                                   struct dicast_str name,
                                   double value,
                                   struct dicast_error **error);

/**
 * Sets a switch: `options.guided`. As dicast_settings_set_int.
 */
int32_t dicast_settings_set_bool(struct dicast_settings *settings,
                                 struct dicast_str name,
                                 bool value,
                                 struct dicast_error **error);

/**
 * Sets a text, a path or a word: `profile`, `options.mask`. As dicast_settings_set_int. The text is escaped for JSON.
 */
int32_t dicast_settings_set_text(struct dicast_settings *settings,
                                 struct dicast_str name,
                                 struct dicast_str value,
                                 struct dicast_error **error);

/**
 * Sets any value, given as JSON: lists such as `remote.api_keys`, objects such as `template_variables`, `null` for "not set". As
 * dicast_settings_set_int.
 */
int32_t dicast_settings_set_json(struct dicast_settings *settings,
                                 struct dicast_str name,
                                 struct dicast_str json,
                                 struct dicast_error **error);

/**
 * The settings as JSON. Lives until the settings are changed or freed.
 */
struct dicast_str dicast_settings_json(const struct dicast_settings *settings);

/**
 * Writes a text as a JSON string, with quotation marks and a zero byte at the end, into `buffer`, which has `size` bytes. `*len`
 * becomes the number of bytes without the zero byte. With a `size` of 0, `buffer` may be NULL: only `*len` is written.
 *
 * DICAST_TOO_LARGE if it does not fit: nothing is written then. DICAST_INVALID_ARGUMENT if the text is not UTF-8. Any thread, at
 * any time.
 */
int32_t dicast_json_quote(struct dicast_str text,
                          char *buffer,
                          size_t size,
                          size_t *len,
                          struct dicast_error **error);

/**
 * Opens a judge: checks the configuration, loads the profile and the model. Takes as long as loading takes.
 *
 * `config_json` is `{"model": "judge.gguf", "profile"?, "options"?, "verdict"?, "limits"?, "local"?}`, the settings of the
 * command line's `--config`; an unknown key is an error. `options` may be NULL.
 *
 * On success you own `*judge`. On failure nothing is left open: DICAST_INVALID_CONFIG, DICAST_INVALID_PROFILE,
 * DICAST_MODEL_NOT_FOUND, DICAST_INVALID_MODEL, DICAST_UNSUPPORTED, DICAST_ENGINE, DICAST_IO; DICAST_CANCELLED if
 * `options->progress` ended it.
 */
int32_t dicast_judge_open(struct dicast_str config_json,
                          const struct dicast_open_options *options,
                          struct dicast_judge **judge,
                          struct dicast_error **error);

/**
 * How much memory opening a judge of `config_json` takes. Only the header of the model file is read; nothing is loaded. For
 * the embedded engine only; with other models it is DICAST_UNSUPPORTED. On failure `*memory` is unchanged:
 * DICAST_INVALID_CONFIG, DICAST_MODEL_NOT_FOUND, DICAST_INVALID_MODEL, DICAST_UNSUPPORTED, DICAST_IO.
 */
int32_t dicast_memory_need(struct dicast_str config_json,
                           struct dicast_memory *memory,
                           struct dicast_error **error);

/**
 * Ends all pending judgments with DICAST_CLOSED and unloads the model. All later calls return DICAST_CLOSED too. Use it when
 * other threads may still use the judge: close it, join them, free it. Closing twice does no harm.
 *
 * Waits until the engine has finished its current step. Does not wait for callbacks.
 */
int32_t dicast_judge_close(const struct dicast_judge *judge,
                           struct dicast_error **error);

/**
 * Closes a judge and frees it. NULL does nothing. Requires that no other thread is using the judge; its tickets, verdicts
 * and errors may be used meanwhile and later.
 *
 * Pending judgments end as DICAST_CLOSED; their callbacks are called. When this returns, all callbacks of the judge have
 * returned and no more will come. A callback may free its own judge: this then returns at once, and the remaining
 * callbacks come after that one.
 */
void dicast_judge_free(struct dicast_judge *judge);

/**
 * Judges one request and waits for the verdict. If the queue is full, it first waits for room; the deadline of the
 * request (`timeout_ms`) covers both waits.
 *
 * On success you own `*verdict`. A callback may call this too; later callbacks then wait for it.
 */
int32_t dicast_judge_judge(const struct dicast_judge *judge,
                           const struct dicast_request *request,
                           struct dicast_verdict **verdict,
                           struct dicast_error **error);

/**
 * Judges `count` requests at once and waits for all of them. Requests that do not fit the queue wait for room.
 *
 * The arrays have `count` entries in the same order. If request i was judged, `statuses[i]` is DICAST_OK, you own
 * `verdicts[i]`, and `errors[i]` is NULL. If it failed, `statuses[i]` says why, `verdicts[i]` is NULL, and you own
 * `errors[i]`. `errors` may be NULL.
 *
 * DICAST_OK does not mean that every judgment worked: check `statuses`. On any other status no array was written.
 */
int32_t dicast_judge_batch(const struct dicast_judge *judge,
                           const struct dicast_request *const *requests,
                           size_t count,
                           struct dicast_verdict **verdicts,
                           int32_t *statuses,
                           struct dicast_error **errors,
                           struct dicast_error **error);

/**
 * Waits until the queue has room for a request, at most `timeout_ms` milliseconds: DICAST_OK, or DICAST_PENDING if there
 * is no room by then. Another thread may take the room first. DICAST_CLOSED if the judge is closed.
 */
int32_t dicast_judge_wait_for_room(const struct dicast_judge *judge,
                                   uint64_t timeout_ms,
                                   struct dicast_error **error);

/**
 * Properties of the judge. Set `info->struct_size` before the call.
 */
int32_t dicast_judge_info(const struct dicast_judge *judge,
                          struct dicast_info *info,
                          struct dicast_error **error);

/**
 * Counters of the judge. Set `stats->struct_size` before the call.
 */
int32_t dicast_judge_stats(const struct dicast_judge *judge,
                           struct dicast_stats *stats,
                           struct dicast_error **error);

/**
 * The name of the judge's engine: `local`, `trtllm` or `remote`. Lives as long as the judge.
 */
struct dicast_str dicast_judge_engine(const struct dicast_judge *judge);

/**
 * The profile of the judge, as JSON that dicast_profile_from_json reads. Lives as long as the judge.
 */
struct dicast_str dicast_judge_profile_json(const struct dicast_judge *judge);

/**
 * Takes a snapshot of what the judge has done since it was opened. Works on a closed judge too.
 *
 * `labels` is put into every line of dicast_metrics_prometheus, such as `judge="a",node="7"`; empty for none. Values may hold
 * `\\`, `\"` and `\n`.
 *
 * On success you own `*metrics`. DICAST_INVALID_ARGUMENT if `labels` is not a list of labels.
 */
int32_t dicast_judge_metrics(const struct dicast_judge *judge,
                             struct dicast_str labels,
                             struct dicast_metrics **metrics,
                             struct dicast_error **error);

/**
 * Frees a snapshot. NULL does nothing.
 */
void dicast_metrics_free(struct dicast_metrics *metrics);

/**
 * All of it in the text format of Prometheus, version 0.0.4, for a /metrics page. Made on the first call.
 */
struct dicast_str dicast_metrics_prometheus(const struct dicast_metrics *metrics);

/**
 * All of it as JSON: `elapsed_seconds`, `judged`, `failed` by the names of statuses, `pending`, `times` by phase, each with
 * `count`, `sum_seconds`, `p50`, `p95`, `p99` and `buckets`; `tokens`, `reused_share`, `recent`, `engine`, `weights`,
 * `asleep`. Made on the first call.
 */
struct dicast_str dicast_metrics_json(const struct dicast_metrics *metrics);

/**
 * The numbers. Set `figures->struct_size` before the call.
 */
int32_t dicast_metrics_figures(const struct dicast_metrics *metrics,
                               struct dicast_figures *figures,
                               struct dicast_error **error);

/**
 * How many judgments ended with `status`: with a verdict for DICAST_OK, for any other status those that failed or were refused
 * with it. 0 for NULL.
 */
uint64_t dicast_metrics_ended(const struct dicast_metrics *metrics,
                              int32_t status);

/**
 * The upper bounds of the buckets of every histogram, in seconds and rising. If `len` is not NULL, `*len` becomes their number.
 * NULL and 0 for NULL.
 */
const double *dicast_metrics_bounds(const struct dicast_metrics *metrics,
                                    size_t *len);

/**
 * The histogram of the times of a phase, DICAST_PHASE_…, of judgments with a verdict: the number of judgments in each bucket (each
 * judgment is in exactly one), and at the end the number above all bounds. If `len` is not NULL, `*len` becomes the number of
 * entries, one more than there are bounds. NULL and 0 for NULL and an unknown phase.
 */
const uint64_t *dicast_metrics_times(const struct dicast_metrics *metrics,
                                     uint32_t phase,
                                     size_t *len);

/**
 * The sum of the times of a phase in seconds; NaN for NULL and an unknown phase.
 */
double dicast_metrics_time_sum(const struct dicast_metrics *metrics, uint32_t phase);

/**
 * The time in seconds that a share `q` of the judgments, such as 0.95, did not exceed in a phase: an estimate within a bucket. NaN
 * if there were none, and if `q` is not from 0 to 1.
 */
double dicast_metrics_quantile(const struct dicast_metrics *metrics,
                               uint32_t phase,
                               double q);

/**
 * Frees the memory of weights and KV cache until dicast_judge_wake, for example while a trainer on the same GPU needs it.
 *
 * Waits for running judgments or cancels them, as `options` says; with NULL it waits. Requests that arrive meanwhile wait or
 * fail. An embedded or TensorRT-LLM engine is closed; an isolated one ends its worker process. If the judge already sleeps,
 * only `arriving` is changed. Any thread, also a callback of the judge.
 *
 * DICAST_UNSUPPORTED if the engine cannot do this (the memory of a server is not in this process); DICAST_TIMEOUT if judgments
 * still ran after `patience_ms`; DICAST_CLOSED. After a failure the judge works as before.
 */
int32_t dicast_judge_sleep(const struct dicast_judge *judge,
                           const struct dicast_sleep_options *options,
                           struct dicast_error **error);

/**
 * Loads the model again and starts the waiting requests. Does nothing if the judge does not sleep. Takes as long as loading
 * the model.
 *
 * DICAST_INVALID_MODEL if the model's file has changed meanwhile (dicast_judge_reload loads it as it is now), any error of
 * dicast_judge_open, DICAST_CLOSED. After a failure the judge still sleeps: it may be woken again.
 */
int32_t dicast_judge_wake(const struct dicast_judge *judge,
                          struct dicast_error **error);

/**
 * Replaces the weights by those of `model`, a path; with an empty text, by those that are now at the path of the current
 * weights. Only one set of weights is in memory at a time.
 *
 * Running judgments end with the old weights or are cancelled; requests that arrive meanwhile wait or fail, as `options` says.
 * A sleeping judge wakes. The new model must have the same engine, context and number of places; the profile stays the same.
 * Each verdict says which weights judged: see dicast_verdict_weights.
 *
 * DICAST_MODEL_NOT_FOUND, DICAST_INVALID_MODEL, DICAST_UNSUPPORTED, DICAST_TIMEOUT, DICAST_CLOSED. If `model` is not a model, or
 * not one for this engine, the judge works as before. If loading fails later, the judge sleeps: reload another model, or wake
 * it with the old one.
 */
int32_t dicast_judge_reload(const struct dicast_judge *judge,
                            struct dicast_str model,
                            const struct dicast_sleep_options *options,
                            struct dicast_error **error);

/**
 * Whether the judge sleeps; false for NULL and if it is closed.
 */
bool dicast_judge_is_asleep(const struct dicast_judge *judge);

/**
 * Which weights judge: 0 is the set that the judge was opened with, and each dicast_judge_reload adds one. 0 for NULL.
 */
uint64_t dicast_judge_weights(const struct dicast_judge *judge);

/**
 * Makes a request without responses: the principle to judge by, in plain language, and the prompt that the responses answer.
 *
 * On success you own `*request`. DICAST_INVALID_REQUEST if a text is not UTF-8.
 */
int32_t dicast_request_new(struct dicast_str principle,
                           struct dicast_str prompt,
                           struct dicast_request **request,
                           struct dicast_error **error);

/**
 * Makes a request from JSON: `{"principle", "prompt", "responses": {name: text, …}, "rubric"?, "mask_responses"?,
 * "options"?}`. The order of the responses is kept.
 *
 * On success you own `*request`. DICAST_INVALID_REQUEST names the line, the column and what is wrong.
 */
int32_t dicast_request_from_json(struct dicast_str json,
                                 struct dicast_request **request,
                                 struct dicast_error **error);

/**
 * Adds a response. `name` is your name for it and must be unique within the request; this is checked when the request is
 * judged. The judge does not see the name. Either text may be empty.
 *
 * DICAST_INVALID_REQUEST if a text is not UTF-8; the request is then unchanged.
 */
int32_t dicast_request_add(struct dicast_request *request,
                           struct dicast_str name,
                           struct dicast_str text,
                           struct dicast_error **error);

/**
 * Sets the options of this request, and drops those set before: `{"temperature": 0.6, "seed": 7, "timeout_ms": 30000, …}`.
 * Options that are not set have the values of the judge's configuration. An empty text sets no option.
 *
 * DICAST_INVALID_REQUEST for an unknown key; the request is then unchanged. Ranges are checked when it is judged.
 */
int32_t dicast_request_set_options(struct dicast_request *request,
                                   struct dicast_str options_json,
                                   struct dicast_error **error);

/**
 * Frees a request. NULL does nothing.
 */
void dicast_request_free(struct dicast_request *request);

/**
 * Submits a request and returns at once. `callback` gets the outcome. If it is NULL, dicast_ticket_wait gets it.
 *
 * On success you own `*ticket`. With a callback `ticket` may be NULL; the callback is called anyway. The callback
 * may be called before this call has returned; `*ticket` is written before that.
 *
 * On failure nothing was submitted, no ticket was made and the callback will not be called. Either the request itself is
 * wrong, or the status is DICAST_OVERLOADED or DICAST_CLOSED.
 */
int32_t dicast_judge_submit(const struct dicast_judge *judge,
                            const struct dicast_request *request,
                            dicast_callback callback,
                            void *user_data,
                            struct dicast_ticket **ticket,
                            struct dicast_error **error);

/**
 * Waits for the outcome and takes it. Waits at most `timeout_ms` milliseconds; with DICAST_FOREVER as long as the deadline
 * of the judgment allows. On DICAST_OK you own `*verdict`. DICAST_PENDING if the judgment has not ended by then. Any other
 * status is the failure of the judgment. An outcome can be taken once: later calls, and other threads that wait, get
 * DICAST_INVALID_ARGUMENT.
 *
 * For a ticket with a callback or events `verdict` must be NULL. The call then waits until the callback has returned or the
 * event is there, and returns the status of the judgment, any number of times. Within a callback of the same judge it does not wait.
 */
int32_t dicast_ticket_wait(const struct dicast_ticket *ticket,
                           uint64_t timeout_ms,
                           struct dicast_verdict **verdict,
                           struct dicast_error **error);

/**
 * Takes the outcome if the judgment has ended: dicast_ticket_wait with a timeout of 0.
 */
int32_t dicast_ticket_try(const struct dicast_ticket *ticket,
                          struct dicast_verdict **verdict,
                          struct dicast_error **error);

/**
 * Cancels the judgment at any stage and frees its place in the queue. Its outcome is then DICAST_CANCELLED, unless it had
 * already ended; callback or waiter still get the outcome. Cancelling again, or too late, does nothing.
 */
int32_t dicast_ticket_cancel(const struct dicast_ticket *ticket,
                             struct dicast_error **error);

/**
 * Frees a ticket. NULL does nothing. Requires that no other thread is using the ticket.
 *
 * With a callback the judgment goes on, and the callback is called. Without one nobody can get the outcome any more: a pending
 * judgment is cancelled, and an outcome that was not taken is freed.
 */
void dicast_ticket_free(struct dicast_ticket *ticket);

/**
 * Frees a verdict. NULL does nothing.
 */
void dicast_verdict_free(struct dicast_verdict *verdict);

/**
 * Number of responses. 0 for NULL.
 */
size_t dicast_verdict_count(const struct dicast_verdict *verdict);

/**
 * Your name of the response at `index`; `data` is NULL out of range.
 */
struct dicast_str dicast_verdict_name(const struct dicast_verdict *verdict, size_t index);

/**
 * The name under which the judge saw the response at `index`, such as `model-2`; empty if the first block of several did not
 * hold it. `data` is NULL out of range.
 */
struct dicast_str dicast_verdict_alias(const struct dicast_verdict *verdict,
                                       size_t index);

/**
 * The index of the response called `name`; DICAST_NONE if there is none.
 */
size_t dicast_verdict_find(const struct dicast_verdict *verdict, struct dicast_str name);

/**
 * The score of the response at `index` as the judge wrote it, on the scale; NaN out of range.
 */
double dicast_verdict_score(const struct dicast_verdict *verdict, size_t index);

/**
 * As dicast_verdict_score, by name; NaN if there is no such response.
 */
double dicast_verdict_score_of(const struct dicast_verdict *verdict, struct dicast_str name);

/**
 * The expected score of the response at `index`: the mean of the distribution of its score, a finer reward than the written
 * digit. NaN out of range, and if the engine returned no distribution.
 */
double dicast_verdict_expected(const struct dicast_verdict *verdict,
                               size_t index);

/**
 * As dicast_verdict_expected, by name; NaN also if there is no such response.
 */
double dicast_verdict_expected_of(const struct dicast_verdict *verdict, struct dicast_str name);

/**
 * The probability of each score of the scale for the response at `index`, the worst score first; they sum to 1. If `len`
 * is not NULL, `*len` becomes their number, scale_max - scale_min + 1. NULL and 0 out of range, and if the engine returned
 * no distribution.
 */
const double *dicast_verdict_distribution(const struct dicast_verdict *verdict,
                                          size_t index,
                                          size_t *len);

/**
 * How likely the judge would have written a score of the scale for the response at `index` if no grammar had held it to one: far below 1,
 * it had something else in mind. The embedded engine sees all tokens; of a server it is the sum over the tokens that it lists, so
 * at least so much. NaN out of range, and if the engine does not tell.
 */
double dicast_verdict_scale_mass(const struct dicast_verdict *verdict,
                                 size_t index);

/**
 * The worst score of the scale, such as 1; 0 for NULL.
 */
uint32_t dicast_verdict_scale_min(const struct dicast_verdict *verdict);

/**
 * The best score of the scale, such as 5; 0 for NULL.
 */
uint32_t dicast_verdict_scale_max(const struct dicast_verdict *verdict);

/**
 * The place of the response at `index`; 0 is the best. DICAST_NONE out of range.
 */
size_t dicast_verdict_rank(const struct dicast_verdict *verdict, size_t index);

/**
 * As dicast_verdict_rank, by name; DICAST_NONE if there is no such response.
 */
size_t dicast_verdict_rank_of(const struct dicast_verdict *verdict, struct dicast_str name);

/**
 * The index of the response at `place`; 0 is the best. DICAST_NONE out of range.
 */
size_t dicast_verdict_ranked(const struct dicast_verdict *verdict, size_t place);

/**
 * Which weights judged: 0 is the set that the judge was opened with, and each dicast_judge_reload adds one. 0 for NULL.
 */
uint64_t dicast_verdict_weights(const struct dicast_verdict *verdict);

/**
 * The reasoning of the judge, without its tags; empty if there is none.
 */
struct dicast_str dicast_verdict_reasoning(const struct dicast_verdict *verdict);

/**
 * The whole output of the judge, unchanged.
 */
struct dicast_str dicast_verdict_raw(const struct dicast_verdict *verdict);

/**
 * Number of repairs that were needed to read the verdict.
 */
size_t dicast_verdict_repair_count(const struct dicast_verdict *verdict);

/**
 * The name of a repair, such as `extra_comma`. New ones may appear in any release.
 */
struct dicast_str dicast_verdict_repair(const struct dicast_verdict *verdict, size_t index);

/**
 * What a repair quotes, such as the name as the judge wrote it; empty if it quotes nothing.
 */
struct dicast_str dicast_verdict_repair_detail(const struct dicast_verdict *verdict, size_t index);

/**
 * Number of flags: remarks on a valid verdict.
 */
size_t dicast_verdict_flag_count(const struct dicast_verdict *verdict);

/**
 * The name of a flag: `inconsistent_ranking`, `ties`, `dropped_name`, `reasoning_truncated`. New ones may appear in any
 * release.
 */
struct dicast_str dicast_verdict_flag(const struct dicast_verdict *verdict,
                                      size_t index);

/**
 * What a flag quotes, such as the dropped name; empty if it quotes nothing.
 */
struct dicast_str dicast_verdict_flag_detail(const struct dicast_verdict *verdict, size_t index);

/**
 * Number of criteria that were judged separately (a rubric); 0 for a verdict by one principle.
 */
size_t dicast_verdict_criterion_count(const struct dicast_verdict *verdict);

/**
 * The name of a criterion, in the order of the rubric; one without a name has its number. `data` is NULL out of range.
 */
struct dicast_str dicast_verdict_criterion_name(const struct dicast_verdict *verdict,
                                                size_t criterion);

/**
 * The weight of a criterion; NaN out of range.
 */
double dicast_verdict_criterion_weight(const struct dicast_verdict *verdict, size_t criterion);

/**
 * What a criterion gave the response at `index`: from 0 for the worst score to 1 for the best one; of a criterion that is met or not, the
 * probability that it is met. NaN out of range.
 */
double dicast_verdict_criterion_value(const struct dicast_verdict *verdict,
                                      size_t criterion,
                                      size_t index);

/**
 * By the calibration of the judge's profile, the probability that the response at `index` is better than another one, on average over all
 * others. NaN out of range, and without a calibration.
 */
double dicast_verdict_win(const struct dicast_verdict *verdict,
                          size_t index);

/**
 * By the calibration of the judge's profile, the probability that the response at `first` is better than the one at `second`. NaN out of range, for equal
 * indexes, without a calibration, and for more than 32 responses, whose pairs are not listed.
 */
double dicast_verdict_win_over(const struct dicast_verdict *verdict,
                               size_t first,
                               size_t second);

/**
 * Whether the calibrated judge abstains on two responses: 1 if they are too close to call, 0 if not. -1 out of range, for equal indexes, and
 * without a calibration.
 */
int32_t dicast_verdict_abstains(const struct dicast_verdict *verdict,
                                size_t first,
                                size_t second);

/**
 * Tokens of the judgment. Set `usage->struct_size` before the call. All 0 for a verdict from dicast_parse.
 */
int32_t dicast_verdict_usage(const struct dicast_verdict *verdict,
                             struct dicast_usage *usage,
                             struct dicast_error **error);

/**
 * The time that each stage took. Set `timing->struct_size` before the call. All 0 for a verdict from dicast_parse.
 */
int32_t dicast_verdict_timing(const struct dicast_verdict *verdict,
                              struct dicast_timing *timing,
                              struct dicast_error **error);

/**
 * The whole verdict as JSON: `scores`, `expected_scores`, `distributions` (objects by name, in the order of the request),
 * `ranking`, `reasoning`, `repairs`, `flags`, `aliases`, `usage`, `timing_ms`, `raw`. Made on the first call.
 */
struct dicast_str dicast_verdict_json(const struct dicast_verdict *verdict);

/**
 * Makes a list for at most `limit` judgments. Pending ones count, and those whose outcome was not taken yet; a further
 * submission returns DICAST_OVERLOADED. 0 means 65536.
 *
 * On success you own `*events`. DICAST_IO if the system has no descriptor left.
 */
int32_t dicast_events_new(size_t limit,
                          struct dicast_events **events,
                          struct dicast_error **error);

/**
 * The descriptor: it is readable (POLLIN) while there is an outcome to take. Only poll it: do not read, write or close it. -1
 * for NULL and on systems without descriptors.
 */
int32_t dicast_events_fd(const struct dicast_events *events);

/**
 * Takes the next outcome, in the order in which the judgments ended. Waits at most `timeout_ms` milliseconds; 0 does not wait.
 * DICAST_OK: `*event` was written, and you own its verdict or error. DICAST_PENDING: there is no outcome by then; `*event` is
 * unchanged. Set `event->struct_size` before the call.
 *
 * When the descriptor is readable, call it until it returns DICAST_PENDING.
 */
int32_t dicast_events_next(const struct dicast_events *events,
                           uint64_t timeout_ms,
                           struct dicast_event *event,
                           struct dicast_error **error);

/**
 * Gives back the outcome that dicast_events_next has written to `*event`: it becomes the next one again, and the descriptor
 * readable. For programs that may be interrupted before they can use an outcome, as by a signal that becomes an exception.
 *
 * `event->verdict` or `event->error` must be one of this library that you own; on success they are the list's, and both fields
 * are NULL. DICAST_INVALID_ARGUMENT, if both are NULL or both are set; nothing has changed then.
 */
int32_t dicast_events_return(const struct dicast_events *events,
                             struct dicast_event *event,
                             struct dicast_error **error);

/**
 * Frees a list and the outcomes that were not taken. NULL does nothing. Judgments go on; their outcomes are dropped. Requires
 * that no other thread is using the list or polling its descriptor.
 */
void dicast_events_free(struct dicast_events *events);

/**
 * Judges `count` responses to one prompt together, as one listwise judgment, and waits for their rewards.
 *
 * `rewards` and `statuses` have `count` entries in the order of `responses`. On success every status is DICAST_OK. On any
 * failure **every reward is NaN and every status is the one that the call returns**; each array that is not NULL is written.
 * If `options` is NULL, the rewards are expected scores on the judge's scale. If the queue is full, the call first waits for room.
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
 * Judges many groups at once and waits for all their rewards. Each group is one listwise judgment. Groups that do not fit
 * the queue wait for room.
 *
 * `groups` has `group_count` entries. `rewards` and `statuses` have `total` entries: first those of the first group, in the
 * order of its responses, then those of the second, and so on. `total` must be the sum of all `response_count`. A group
 * that fails has **NaN for every reward and a status that says why**; the other groups have their rewards. `errors` has
 * `group_count` entries, or is NULL. You own the error of each group that failed; the entry of any other group is NULL.
 *
 * DICAST_OK does not mean that every judgment worked: check `statuses`. On any other status every reward is NaN, every
 * status is the one that the call returns, and `errors` was not written. A `total` above 16777216 is DICAST_INVALID_ARGUMENT, and
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
 * Judges many groups, each as one listwise judgment, and returns at once; a thread submits them as the queue has room. `groups`
 * has `group_count` entries, which are copied, with their texts. `options` may be NULL.
 *
 * On success you own `*batch`. What is wrong with one group ends that group alone, with its own status: its texts, its
 * `options_json`, `priority`, `reserved`, or its number of responses. What concerns all groups fails the call, and nothing is
 * judged: DICAST_INVALID_ARGUMENT for NULL, sizes that differ, and `options` out of range; DICAST_INVALID_REQUEST for
 * `options->options_json`; DICAST_CLOSED if the judge is closed.
 */
int32_t dicast_judge_submit_groups(const struct dicast_judge *judge,
                                   const struct dicast_group *groups,
                                   size_t group_count,
                                   const struct dicast_batch_options *options,
                                   struct dicast_batch **batch,
                                   struct dicast_error **error);

/**
 * Waits until all groups have ended, at most `timeout_ms` milliseconds: DICAST_OK, or DICAST_PENDING if some have not ended by then.
 */
int32_t dicast_batch_wait(const struct dicast_batch *batch,
                          uint64_t timeout_ms,
                          struct dicast_error **error);

/**
 * Cancels all groups that have not ended; they end as DICAST_CANCELLED. Cancelling again, or too late, does nothing.
 */
int32_t dicast_batch_cancel(const struct dicast_batch *batch,
                            struct dicast_error **error);

/**
 * Number of groups. 0 for NULL.
 */
size_t dicast_batch_count(const struct dicast_batch *batch);

/**
 * Number of groups that have ended. 0 for NULL.
 */
size_t dicast_batch_ended(const struct dicast_batch *batch);

/**
 * How the group at `index` ended: DICAST_OK with a verdict, DICAST_PENDING if it has not ended, else why it failed.
 * DICAST_INVALID_ARGUMENT out of range and for NULL; DICAST_CLOSED in a forked child.
 */
int32_t dicast_batch_status(const struct dicast_batch *batch,
                            size_t index);

/**
 * Takes the outcome of the group at `index`: the whole verdict, with flags, usage and reasoning. On DICAST_OK you own `*verdict`.
 * DICAST_PENDING if it has not ended; any other status is its failure. An outcome can be taken once: later calls return
 * DICAST_INVALID_ARGUMENT. dicast_batch_status does not change.
 */
int32_t dicast_batch_take(const struct dicast_batch *batch,
                          size_t index,
                          struct dicast_verdict **verdict,
                          struct dicast_error **error);

/**
 * The rewards of all groups, as dicast_judge_rewards_groups gives them: `rewards` and `statuses` have `total` entries, group after
 * group. The statuses of a group are DICAST_PENDING if it has not ended, and DICAST_INVALID_ARGUMENT if its verdict was taken.
 * `options` may be NULL; only its `reward` and `normalize` are used, and its options of the judgments must be empty.
 */
int32_t dicast_batch_rewards(const struct dicast_batch *batch,
                             const struct dicast_reward_options *options,
                             double *rewards,
                             int32_t *statuses,
                             size_t total,
                             struct dicast_error **error);

/**
 * Cancels all groups that have not ended and frees the batch. NULL does nothing. Requires that no other thread is using it.
 */
void dicast_batch_free(struct dicast_batch *batch);

/**
 * Counts the tokens of a request and says whether it fits, without judging it. Set `tokens->struct_size` before the call. Takes as
 * long as making the prompt: some tens of microseconds for a kilobyte of text.
 *
 * DICAST_UNSUPPORTED if the engine makes the tokens itself, as most servers do. The errors of the request;
 * DICAST_CONTEXT_OVERFLOW if its text is too long to fit, however it is tokenized. DICAST_ASLEEP, DICAST_CLOSED.
 */
int32_t dicast_judge_count(const struct dicast_judge *judge,
                           const struct dicast_request *request,
                           struct dicast_count *tokens,
                           struct dicast_error **error);

/**
 * The profile of a general instruction-following model. On success you own `*profile`.
 */
int32_t dicast_profile_builtin(struct dicast_profile **profile, struct dicast_error **error);

/**
 * Reads a profile from JSON. On success you own `*profile`; DICAST_INVALID_PROFILE names what is wrong.
 */
int32_t dicast_profile_from_json(struct dicast_str json,
                                 struct dicast_profile **profile,
                                 struct dicast_error **error);

/**
 * Reads a profile from a file. On success you own `*profile`; DICAST_INVALID_PROFILE names what is wrong.
 */
int32_t dicast_profile_load(struct dicast_str path,
                            struct dicast_profile **profile,
                            struct dicast_error **error);

/**
 * Makes the profile of RewardAnything: reads the system prompt of its training from the Python package `rewardanything`, a
 * wheel or a `.py` file at `path`. No code of it is run. Save the text of dicast_profile_json beside the model as
 * `<model without .gguf>.profile.json`; dicast_judge_open then uses it.
 *
 * On success you own `*profile`. DICAST_IO if the file cannot be read, DICAST_INVALID_PROFILE if it has no such
 * prompt.
 */
int32_t dicast_profile_import(struct dicast_str path,
                              struct dicast_profile **profile,
                              struct dicast_error **error);

/**
 * The profile as JSON. Lives as long as the profile.
 */
struct dicast_str dicast_profile_json(const struct dicast_profile *profile);

/**
 * Frees a profile. NULL does nothing.
 */
void dicast_profile_free(struct dicast_profile *profile);

/**
 * Masks `count` names, given in the order of the request. Each gets an alias of `prefix` and a number from 1, such as
 * `model-1`, in the order that `mode` (DICAST_MASK_SHUFFLE, …) sets. Only the shuffle uses `seed`; the reference system's
 * is 42.
 *
 * On success you own `*aliases`. DICAST_INVALID_REQUEST if there are no names or one is given twice.
 */
int32_t dicast_aliases_mask(const struct dicast_str *names,
                            size_t count,
                            struct dicast_str prefix,
                            uint32_t mode,
                            uint64_t seed,
                            struct dicast_aliases **aliases,
                            struct dicast_error **error);

/**
 * The aliases of a judgment made elsewhere: `shown[i]` is the name that the judge saw at place i, `names[i]` is the real name.
 * If no name was hidden, pass the same array twice.
 *
 * On success you own `*aliases`. DICAST_INVALID_REQUEST if there are no names or one is given twice.
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
 * Your name of the response shown at `place`; `data` is NULL out of range.
 */
struct dicast_str dicast_aliases_name(const struct dicast_aliases *aliases, size_t place);

/**
 * The index, in the order of the names given, of the response shown at `place`; DICAST_NONE out of range.
 */
size_t dicast_aliases_index(const struct dicast_aliases *aliases, size_t place);

/**
 * Frees aliases. NULL does nothing.
 */
void dicast_aliases_free(struct dicast_aliases *aliases);

/**
 * Builds the messages of a request as a judge of `profile` was trained to read them. Of the options only `mask` and
 * `mask_seed` matter here; those of the request override those of the profile.
 *
 * On success you own `*prompt`. DICAST_INVALID_REQUEST, DICAST_TOO_LARGE (more than 64 responses, 1 GiB of text).
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
 * The aliases of the prompt, which dicast_parse needs to read the answer. They belong to the prompt: do not free them.
 */
const struct dicast_aliases *dicast_prompt_aliases(const struct dicast_prompt *prompt);

/**
 * Frees a prompt and its aliases. NULL does nothing.
 */
void dicast_prompt_free(struct dicast_prompt *prompt);

/**
 * Reads a verdict from the whole output of a judge, for programs with their own engine.
 *
 * `aliases` lists the names that must be scored and ranked. If `profile` is NULL, the built-in one is used. `policy_json`
 * is the `verdict` part of a configuration, such as `{"incomplete": "derive_ranking", "clamp": true}`; empty text is the
 * strict default. Bytes of `text` that are not UTF-8 are replaced by U+FFFD, so a character cut at the end does no harm.
 *
 * On success you own `*verdict`; it has no expected scores: see dicast_parse_tokens. Any thread, at any time.
 */
int32_t dicast_parse(struct dicast_str text,
                     const struct dicast_aliases *aliases,
                     const struct dicast_profile *profile,
                     struct dicast_str policy_json,
                     struct dicast_verdict **verdict,
                     struct dicast_error **error);

/**
 * As dicast_parse, from the tokens of the output. If the tokens at the scores have their choices, the verdict has expected
 * scores and distributions. These are left out unless all scores are whole, each equals the score that was read, and they
 * stand in JSON, in the order in which the judge saw the names, or in the profile's layout, if that has no names: a number
 * never belongs to the wrong response.
 */
int32_t dicast_parse_tokens(const struct dicast_token *tokens,
                            size_t count,
                            const struct dicast_aliases *aliases,
                            const struct dicast_profile *profile,
                            struct dicast_str policy_json,
                            struct dicast_verdict **verdict,
                            struct dicast_error **error);

/**
 * How to generate the job. Set `plan->struct_size` before the call.
 */
int32_t dicast_job_plan(const struct dicast_job *job, struct dicast_plan *plan, struct dicast_error **error);

/**
 * Number of messages; 0 for an engine that takes tokens, and for NULL.
 */
size_t dicast_job_message_count(const struct dicast_job *job);

/**
 * The role of the message at `index`: `system` or `user`; `data` is NULL out of range.
 */
struct dicast_str dicast_job_message_role(const struct dicast_job *job, size_t index);

/**
 * The text of the message at `index`; `data` is NULL out of range. It is text of users: the engine must not read control
 * tokens in it.
 */
struct dicast_str dicast_job_message_content(const struct dicast_job *job,
                                             size_t index);

/**
 * The ids of the prompt's tokens, for an engine that takes tokens. If `len` is not NULL, `*len` becomes their number. NULL and
 * 0 for an engine that takes messages.
 */
const uint32_t *dicast_job_tokens(const struct dicast_job *job,
                                  size_t *len);

/**
 * The grammar of the text that may follow `answered`, which is the verdict so far, empty at first. `notation` is one of
 * DICAST_NOTATION_…. `*last` becomes 1 if the verdict is complete after this grammar. Otherwise, as for long or consistent
 * rankings, call it again with the whole verdict written by then. `*grammar` belongs to the job.
 *
 * DICAST_UNSUPPORTED for a job that is not guided; DICAST_INVALID_VERDICT if `answered` is not in the grammar.
 */
int32_t dicast_job_grammar(struct dicast_job *job,
                           struct dicast_str answered,
                           uint32_t notation,
                           struct dicast_str *grammar,
                           uint32_t *last,
                           struct dicast_error **error);

/**
 * The verdicts as JSON Schema; `data` is NULL for a job that is not guided, and if the profile's layout is not JSON.
 */
struct dicast_str dicast_job_schema(const struct dicast_job *job);

/**
 * Whether anybody still waits for the job: false once it is cancelled, its deadline has passed, or the judge is closed. End it then.
 */
bool dicast_job_is_wanted(const struct dicast_job *job);

/**
 * Appends to the reasoning, without the texts that open and close it. Call it before the answer. An engine with
 * DICAST_GUIDANCE_NONE that cannot separate the two hands over its whole output as the answer: the tags are found in it.
 *
 * DICAST_INVALID_ARGUMENT after the answer has begun, and for a job without a reasoning.
 */
int32_t dicast_job_reason(struct dicast_job *job,
                          struct dicast_str text,
                          struct dicast_error **error);

/**
 * Appends text to the answer. Its scores then have no distribution.
 */
int32_t dicast_job_answer(struct dicast_job *job, struct dicast_str text, struct dicast_error **error);

/**
 * Appends tokens to the answer. The tokens at the scores should have `choices`, from which expected scores are computed.
 */
int32_t dicast_job_answer_tokens(struct dicast_job *job,
                                 const struct dicast_token *tokens,
                                 size_t count,
                                 struct dicast_error **error);

/**
 * Sets the token counts of the job, for dicast_verdict_usage. Unknown counts are 0.
 */
int32_t dicast_job_usage(struct dicast_job *job,
                         const struct dicast_usage *usage,
                         struct dicast_error **error);

/**
 * Ends a job with what was written, and frees it. `cut` is 0, DICAST_CUT_REASONING, DICAST_CUT_VERDICT or both. Any thread,
 * also within the generate callback. A judgment that has already ended does not change. NULL does nothing.
 */
void dicast_job_finish(struct dicast_job *job,
                       uint32_t cut);

/**
 * Ends a job with a failure, and frees it. `status` is a status of this header, such as DICAST_ENGINE, DICAST_OVERLOADED or
 * DICAST_CONTEXT_OVERFLOW; any other number is DICAST_ENGINE. `message` is for people. NULL does nothing.
 */
void dicast_job_fail(struct dicast_job *job,
                     int32_t status,
                     struct dicast_str message);

/**
 * Opens a judge on the program's own engine: Dicast makes prompts and grammars and reads verdicts, and the engine generates.
 *
 * `config_json` is as for dicast_judge_open; its `model` is only a name. If `profile` is NULL, the one that the configuration
 * names is used, else the built-in one. `engine` and its text are copied. `options` may be NULL.
 *
 * On success you own `*judge`. DICAST_INVALID_CONFIG, DICAST_INVALID_PROFILE, DICAST_INVALID_MODEL for the tokenizer; in these
 * cases no callback was called.
 */
int32_t dicast_judge_open_engine(struct dicast_str config_json,
                                 const struct dicast_profile *profile,
                                 const struct dicast_engine *engine,
                                 const struct dicast_open_options *options,
                                 struct dicast_judge **judge,
                                 struct dicast_error **error);

/**
 * As dicast_judge_submit, with `options`, which may be NULL.
 *
 * On success you own `*ticket`. With a callback or events `ticket` may be NULL; the outcome is delivered anyway.
 *
 * On failure nothing was submitted, no ticket was made, and there will be no callback and no event. Either the request itself
 * is wrong, or the status is DICAST_OVERLOADED (the queue or `events` is full), DICAST_CLOSED or DICAST_ASLEEP.
 */
int32_t dicast_judge_submit_with(const struct dicast_judge *judge,
                                 const struct dicast_request *request,
                                 const struct dicast_submit_options *options,
                                 struct dicast_ticket **ticket,
                                 struct dicast_error **error);

/**
 * Computes the shared beginning of the prompts of many judgments before the first of them, and keeps it, whatever else is
 * judged meanwhile, until dicast_pin_free. Waits until that is done, at most for the `timeout_ms` of the request's options.
 * Any thread.
 *
 * It keeps the beginning of all prompts with the principle of `request`, or, if its prompt is not empty, of all prompts with
 * this principle and this prompt; for a rubric, that of each criterion. The responses do not matter; there may be none. Only
 * the embedded engine can do this, also in a worker process (`local.isolation`); if that dies, the next one computes the
 * prefixes again. It keeps up to 8 prefixes in up to half of its keys and values. If a
 * judgment needs the room of a prefix, it gets it; the prefix is kept again once a judgment has computed it, or after another
 * call of this function. While it waits for room, no judgment begins that would take it. dicast_judge_sleep and
 * dicast_judge_reload wait for it as for a judgment; with `cancel_running` they end it.
 *
 * On success you own `*pin`. DICAST_UNSUPPORTED on other engines and with
 * `local.deterministic`: judge one request instead. DICAST_OVERLOADED if too much is kept already: free a pin; also for a
 * rubric of more than 8 criteria. DICAST_INVALID_REQUEST, DICAST_TOO_LARGE, DICAST_CONTEXT_OVERFLOW, DICAST_TIMEOUT,
 * DICAST_CANCELLED, DICAST_ASLEEP, DICAST_CLOSED, DICAST_ENGINE. Nothing is kept then.
 */
int32_t dicast_judge_warm(const struct dicast_judge *judge,
                          const struct dicast_request *request,
                          struct dicast_pin **pin,
                          struct dicast_error **error);

/**
 * How many tokens are kept, of all criteria of a rubric together; 0 for NULL.
 */
size_t dicast_pin_tokens(const struct dicast_pin *pin);

/**
 * Frees a pin: what it kept makes room. NULL does nothing.
 */
void dicast_pin_free(struct dicast_pin *pin);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* DICAST_H */
