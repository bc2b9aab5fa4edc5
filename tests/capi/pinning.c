/* A prefix is computed before the first judgment, and is kept whatever else is judged. */
#include "check.h"

#define MOST 8

/* Tokens of the prompt that were reused. */
static size_t reused(const dicast_judge *judge, const dicast_request *request) {
    dicast_error *error = NULL;
    dicast_verdict *verdict = NULL;
    dicast_usage usage = {0};
    OK(error, dicast_judge_judge(judge, request, &verdict, &error));
    usage.struct_size = sizeof usage;
    OK(error, dicast_verdict_usage(verdict, &usage, &error));
    dicast_verdict_free(verdict);
    return usage.reused_tokens;
}

static dicast_request *prefix(const char *principle, const char *prompt) {
    dicast_error *error = NULL;
    dicast_request *request = NULL;
    OK(error, dicast_request_new(S(principle), S(prompt), &request, &error));
    return request;
}

static dicast_judge *open_with(const char *model, const char *local) {
    char config[4096];
    dicast_error *error = NULL;
    dicast_judge *judge = NULL;
    snprintf(config, sizeof config, "{\"model\": \"%s\", \"local\": {\"threads\": 1, %s}}", model, local);
    OK(error, dicast_judge_open(S(config), NULL, &judge, &error));
    return judge;
}

int main(int argc, char **argv) {
    dicast_error *error = NULL;
    dicast_judge *judge;
    dicast_pin *pin = NULL, *more[MOST] = {NULL}, *none = NULL;
    dicast_request *request = make_request(SHORTER), *whole = prefix(SHORTER, "How do I learn Python?"),
                   *principle = prefix(SHORTER, "");
    size_t tokens, index;
    begin(argc);
    judge = open_with(argv[1], "\"kv_cache_tokens\": 16384");
    OK(error, dicast_judge_warm(judge, principle, &pin, &error));
    tokens = dicast_pin_tokens(pin);
    CHECK(tokens > 0);
    CHECK(reused(judge, request) + 1 >= tokens);
    OK(error, dicast_judge_warm(judge, whole, &more[0], &error));
    CHECK(dicast_pin_tokens(more[0]) > tokens);
    dicast_pin_free(more[0]);

    /* Other prompts do not evict it. */
    for (index = 0; index < 6; ++index) {
        char text[64];
        dicast_request *other = NULL;
        snprintf(text, sizeof text, "%zu times as long is better.", index + 2);
        other = make_request(text);
        reused(judge, other);
        dicast_request_free(other);
    }
    CHECK(reused(judge, request) + 1 >= tokens);

    /* Their number has a limit; freeing one makes room. */
    for (index = 0; index + 1 < MOST; ++index) {
        char text[64];
        dicast_request *other = NULL;
        snprintf(text, sizeof text, "Principle %zu.", index);
        other = prefix(text, "");
        OK(error, dicast_judge_warm(judge, other, &more[index], &error));
        dicast_request_free(other);
    }
    FAILS(DICAST_OVERLOADED, error, dicast_judge_warm(judge, whole, &none, &error));
    CHECK(none == NULL);
    dicast_pin_free(more[0]);
    OK(error, dicast_judge_warm(judge, whole, &more[0], &error));
    /* A prefix that is already kept takes no further place. */
    OK(error, dicast_judge_warm(judge, whole, &none, &error));
    dicast_pin_free(none);
    none = NULL;

    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_judge_warm(judge, NULL, &none, &error));
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_judge_warm(judge, principle, NULL, &error));
    OK(error, dicast_judge_sleep(judge, NULL, &error));
    FAILS(DICAST_ASLEEP, error, dicast_judge_warm(judge, principle, &none, &error));
    OK(error, dicast_judge_wake(judge, &error));
    OK(error, dicast_judge_warm(judge, principle, &none, &error));

    /* Pins may outlive their judge. */
    dicast_judge_free(judge);
    CHECK(dicast_pin_tokens(pin) == tokens);
    dicast_pin_free(pin);
    dicast_pin_free(none);
    for (index = 0; index + 1 < MOST; ++index) {
        dicast_pin_free(more[index]);
    }
    dicast_request_free(request);
    dicast_request_free(whole);

    /* A judge that computes every prompt completely keeps no prefix. */
    judge = open_with(argv[1], "\"deterministic\": true");
    FAILS(DICAST_UNSUPPORTED, error, dicast_judge_warm(judge, principle, &none, &error));
    dicast_request_free(principle);
    dicast_judge_free(judge);
    return 0;
}
