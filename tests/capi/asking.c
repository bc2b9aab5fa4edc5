/* Before a request is submitted: loading that is watched and ended, counting tokens; and the log level. */
#include "check.h"

struct watch {
    double last;
    int calls;
    /* Ends the loading at this call; 0 means never. */
    int end_at;
};

static bool watch(void *user_data, double part) {
    struct watch *watch = user_data;
    CHECK(part >= watch->last && part <= 1);
    watch->last = part;
    watch->calls++;
    return watch->calls != watch->end_at;
}

struct lines {
    pthread_mutex_t lock;
    int debug;
    int named;
};

static void take_line(void *user_data, uint32_t level, dicast_str line) {
    struct lines *lines = user_data;
    pthread_mutex_lock(&lines->lock);
    lines->debug += level == DICAST_LOG_DEBUG;
    lines->named += holds(line, "judgment number seven");
    pthread_mutex_unlock(&lines->lock);
}

int main(int argc, char **argv) {
    struct watch watching = {0, 0, 0};
    struct lines lines = {PTHREAD_MUTEX_INITIALIZER, 0, 0};
    dicast_error *error = NULL;
    dicast_settings *settings = NULL;
    dicast_judge *judge = NULL;
    dicast_open_options options;
    dicast_submit_options submission = {0};
    dicast_count count = {0};
    dicast_usage usage = {0};
    dicast_ticket *ticket = NULL;
    dicast_verdict *verdict = NULL;
    dicast_request *request = make_request(SHORTER);
    int calls;
    begin(argc);
    CHECK(argv[1] != NULL);
    OK(error, dicast_settings_new(S(argv[1]), &settings, &error));
    OK(error, dicast_settings_set_int(settings, S("local.threads"), 1, &error));
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.progress = watch;
    options.progress_user_data = &watching;
    options.log = take_line;
    options.log_user_data = &lines;

    /* Ended at the first call, in the middle, and not at all. */
    watching.end_at = 1;
    FAILS(DICAST_CANCELLED, error, dicast_judge_open(dicast_settings_json(settings), &options, &judge, &error));
    CHECK(watching.calls == 1);
    watching.end_at = 3;
    watching.calls = 0;
    watching.last = 0;
    FAILS(DICAST_CANCELLED, error, dicast_judge_open(dicast_settings_json(settings), &options, &judge, &error));
    CHECK(watching.calls == 3 && judge == NULL);
    watching.end_at = watching.calls = 0;
    watching.last = 0;
    OK(error, dicast_judge_open(dicast_settings_json(settings), &options, &judge, &error));
    CHECK(watching.calls > 3 && watching.last == 1);

    /* The counted tokens are those that are used. */
    count.struct_size = sizeof count;
    OK(error, dicast_judge_count(judge, request, &count, &error));
    CHECK(count.fits == 1 && count.exact == 1 && count.runs == 1 && count.context_tokens > 0);
    CHECK(count.prompt_tokens == count.all_prompt_tokens && count.shared_tokens < count.prompt_tokens);
    CHECK(count.prompt_tokens + count.output_tokens <= count.context_tokens);
    OK(error, dicast_judge_judge(judge, request, &verdict, &error));
    usage.struct_size = sizeof usage;
    OK(error, dicast_verdict_usage(verdict, &usage, &error));
    CHECK(usage.prompt_tokens == count.prompt_tokens);
    CHECK(usage.reasoning_tokens + usage.verdict_tokens <= count.output_tokens);
    dicast_verdict_free(verdict);
    OK(error, dicast_request_set_options(request, S("{\"max_reasoning_tokens\": 131072}"), &error));
    OK(error, dicast_judge_count(judge, request, &count, &error));
    CHECK(count.fits == 0 && count.output_tokens > 131072);
    FAILS(DICAST_CONTEXT_OVERFLOW, error, dicast_judge_judge(judge, request, &verdict, &error));
    OK(error, dicast_request_set_options(request, S("{\"orders\": 3}"), &error));
    OK(error, dicast_judge_count(judge, request, &count, &error));
    CHECK(count.runs == 3 && count.all_prompt_tokens > 2 * count.prompt_tokens);
    OK(error, dicast_request_set_options(request, S(""), &error));

    /* The log level while the judge works, and the names in its lines. */
    CHECK(lines.debug == 0);
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_judge_set_log_level(judge, 5, &error));
    OK(error, dicast_judge_set_log_level(judge, DICAST_LOG_DEBUG, &error));
    submission.struct_size = sizeof submission;
    submission.id = S("number seven");
    OK(error, dicast_judge_submit_with(judge, request, &submission, &ticket, &error));
    OK(error, dicast_ticket_wait(ticket, DICAST_FOREVER, &verdict, &error));
    dicast_verdict_free(verdict);
    dicast_ticket_free(ticket);
    CHECK(lines.debug == 1 && lines.named == 1);
    OK(error, dicast_judge_set_log_level(judge, DICAST_LOG_ERROR, &error));
    OK(error, dicast_judge_judge(judge, request, &verdict, &error));
    dicast_verdict_free(verdict);
    CHECK(lines.debug == 1);

    /* Waking is watched too, and may be ended: then the judge stays asleep. */
    OK(error, dicast_judge_sleep(judge, NULL, &error));
    FAILS(DICAST_ASLEEP, error, dicast_judge_count(judge, request, &count, &error));
    calls = watching.calls;
    watching.last = 0;
    watching.end_at = calls + 2;
    FAILS(DICAST_CANCELLED, error, dicast_judge_wake(judge, &error));
    CHECK(dicast_judge_is_asleep(judge));
    watching.end_at = 0;
    watching.last = 0;
    OK(error, dicast_judge_wake(judge, &error));
    OK(error, dicast_judge_judge(judge, request, &verdict, &error));
    dicast_verdict_free(verdict);
    dicast_judge_free(judge);
    dicast_settings_free(settings);
    dicast_request_free(request);
    return 0;
}
