/* Misuse is refused. A generated file adds: every function with nothing but null and zero. */
#include "check.h"

extern int call_everything_with_nothing(void);

static void sizes(void) {
    dicast_error *error = NULL;
    dicast_judge *judge = NULL;
    dicast_open_options options;
    const size_t wrong[] = {0, 1, 7, 8, sizeof options - 1, 4097, SIZE_MAX};
    size_t i;
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memset(&options, 0, sizeof options);
        options.struct_size = wrong[i];
        FAILS(DICAST_INVALID_ARGUMENT, error, dicast_judge_open(S("{\"model\": \"x\"}"), &options, &judge, &error));
    }
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.reserved = 1;
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_judge_open(S("{\"model\": \"x\"}"), &options, &judge, &error));
    options.reserved = 0;
    options.log_level = 9;
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_judge_open(S("{\"model\": \"x\"}"), &options, &judge, &error));
    CHECK(judge == NULL);
}

static void texts(void) {
    dicast_error *error = NULL;
    dicast_request *request = NULL;
    dicast_judge *judge = NULL;
    const dicast_str bad = {"ab\xc3\x28", 4}, lone = {NULL, 5}, absurd = {"x", SIZE_MAX}, none = {NULL, 0};
    FAILS(DICAST_INVALID_REQUEST, error, dicast_request_new(bad, S("x"), &request, &error));
    FAILS(DICAST_INVALID_REQUEST, error, dicast_request_new(S("x"), bad, &request, &error));
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_request_new(lone, S("x"), &request, &error));
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_request_new(S("x"), absurd, &request, &error));
    CHECK(request == NULL);
    OK(error, dicast_request_new(none, none, &request, &error));
    FAILS(DICAST_INVALID_REQUEST, error, dicast_request_add(request, bad, none, &error));
    FAILS(DICAST_INVALID_REQUEST, error, dicast_request_add(request, none, bad, &error));
    FAILS(DICAST_INVALID_REQUEST, error, dicast_request_set_options(request, bad, &error));
    OK(error, dicast_request_add(request, none, none, &error));
    dicast_request_free(request);
    request = NULL;
    FAILS(DICAST_INVALID_REQUEST, error, dicast_request_from_json(bad, &request, &error));
    FAILS(DICAST_INVALID_REQUEST, error, dicast_request_from_json(none, &request, &error));
    FAILS(DICAST_INVALID_CONFIG, error, dicast_judge_open(bad, NULL, &judge, &error));
    FAILS(DICAST_INVALID_CONFIG, error, dicast_judge_open(none, NULL, &judge, &error));
    FAILS(DICAST_INVALID_CONFIG, error,
          dicast_judge_open((dicast_str){"{\"model\":\0\"x\"}", 14}, NULL, &judge, &error));
    CHECK(request == NULL && judge == NULL);
    /* The caller need not take an error. */
    CHECK(dicast_request_new(bad, S("x"), &request, NULL) == DICAST_INVALID_REQUEST);
}

/* Counts that no array can have are refused before anything is written: these arrays are short. */
static void counts(void) {
    const size_t absurd[] = {SIZE_MAX,      SIZE_MAX / 2,    SIZE_MAX / 4, SIZE_MAX / 8,
                             SIZE_MAX / 16, (size_t)1 << 40, (1 << 24) + 1};
    dicast_error *error = NULL, *errors[1] = {NULL};
    dicast_aliases *aliases = NULL;
    dicast_verdict *verdicts[1] = {NULL};
    const dicast_request *requests[1] = {NULL};
    dicast_str texts[1];
    dicast_group groups[1];
    double rewards[1] = {1};
    int32_t seen[1] = {7};
    size_t i;
    texts[0] = S("a");
    memset(groups, 0, sizeof groups);
    groups[0].struct_size = sizeof groups[0];
    groups[0].responses = texts;
    for (i = 0; i < sizeof absurd / sizeof *absurd; i++) {
        const size_t n = absurd[i];
        FAILS(DICAST_INVALID_ARGUMENT, error,
              dicast_judge_rewards(NULL, S("p"), S("q"), texts, n, NULL, rewards, seen, &error));
        FAILS(DICAST_INVALID_ARGUMENT, error,
              dicast_judge_rewards(NULL, S("p"), S("q"), texts, n, NULL, NULL, seen, &error));
        FAILS(DICAST_INVALID_ARGUMENT, error,
              dicast_judge_rewards_groups(NULL, groups, 1, NULL, rewards, seen, n, errors, &error));
        FAILS(DICAST_INVALID_ARGUMENT, error, dicast_judge_batch(NULL, requests, n, verdicts, seen, errors, &error));
        FAILS(DICAST_INVALID_ARGUMENT, error, dicast_aliases_mask(texts, n, S("m"), 0, 0, &aliases, &error));
        FAILS(DICAST_INVALID_ARGUMENT, error, dicast_aliases_of(texts, texts, n, &aliases, &error));
        CHECK(rewards[0] == 1 && seen[0] == 7 && errors[0] == NULL && verdicts[0] == NULL && aliases == NULL);
    }
}

static void statuses(void) {
    CHECK(is(dicast_status_name(DICAST_OK), "ok") && is(dicast_status_name(DICAST_PENDING), "pending"));
    CHECK(is(dicast_status_name(DICAST_INVALID_ARGUMENT), "invalid_argument"));
    CHECK(dicast_status_name(12345).data == NULL && dicast_status_name(-2).data == NULL);
    CHECK(!dicast_status_is_retryable(DICAST_OK) && dicast_status_is_retryable(DICAST_TIMEOUT));
    CHECK(is(dicast_status_name(DICAST_ENGINE_DEAD), "engine_dead") && !dicast_status_is_retryable(DICAST_ENGINE_DEAD));
    CHECK(is(dicast_error_name(NULL), "ok"));
    /* The texts of a null error are empty, and can be printed. */
    CHECK(is(dicast_error_message(NULL), "") && is(dicast_error_json(NULL), ""));
    CHECK(dicast_version().len > 0 && dicast_version().data[dicast_version().len] == 0);
}

static void schema(void) {
    const dicast_str text = dicast_config_schema();
    CHECK(holds(text, "\"temperature\"") && holds(text, "\"kv_memory_fraction\"") && text.data[text.len] == 0);
    CHECK(dicast_config_schema().data == text.data);
}

int main(int argc, char **argv) {
    begin(argc);
    UNUSED(argv);
    CHECK(call_everything_with_nothing() > 80);
    sizes();
    texts();
    counts();
    statuses();
    schema();
    return 0;
}
