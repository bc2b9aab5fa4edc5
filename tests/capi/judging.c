/* Blocking judgments, and everything that can be read from a verdict and from a judge. */
#include "check.h"

static int lines, opened;

static void keep_log(void *user_data, uint32_t level, dicast_str line) {
    CHECK(user_data == &lines && level >= DICAST_LOG_ERROR && level <= DICAST_LOG_DEBUG);
    CHECK(line.data[line.len] == 0);
    __atomic_fetch_add(&lines, 1, __ATOMIC_SEQ_CST);
    if (holds(line, "opened")) {
        opened = 1;
    }
}

static void check_verdict(const dicast_verdict *verdict) {
    static const char *const names[] = {"short", "middle", "long"};
    size_t seen = 0, i, len = 7;
    dicast_error *error = NULL;
    dicast_usage usage = {0};
    dicast_timing timing = {0};
    CHECK(dicast_verdict_count(verdict) == 3);
    CHECK(dicast_verdict_scale_min(verdict) == 1 && dicast_verdict_scale_max(verdict) == 5);
    for (i = 0; i < 3; i++) {
        const double *probabilities = dicast_verdict_distribution(verdict, i, &len);
        double sum = 0, mean = 0, score = dicast_verdict_score(verdict, i);
        size_t place = dicast_verdict_rank(verdict, i), at;
        CHECK(is(dicast_verdict_name(verdict, i), names[i]));
        CHECK(strncmp(dicast_verdict_alias(verdict, i).data, "model-", 6) == 0);
        CHECK(dicast_verdict_find(verdict, S(names[i])) == i);
        CHECK(score >= 1 && score <= 5 && score == dicast_verdict_score_of(verdict, S(names[i])));
        CHECK(len == 5);
        for (at = 0; at < len; at++) {
            sum += probabilities[at];
            mean += probabilities[at] * (double)(at + 1);
        }
        CHECK(fabs(sum - 1) < 1e-9 && fabs(mean - dicast_verdict_expected(verdict, i)) < 1e-9);
        CHECK(dicast_verdict_expected_of(verdict, S(names[i])) == dicast_verdict_expected(verdict, i));
        CHECK(place < 3 && place == dicast_verdict_rank_of(verdict, S(names[i])));
        CHECK(dicast_verdict_ranked(verdict, place) == i);
        seen |= (size_t)1 << place;
    }
    CHECK(seen == 7);
    CHECK(dicast_verdict_reasoning(verdict).len > 0 && dicast_verdict_raw(verdict).len > 0);
    CHECK(holds(dicast_verdict_json(verdict), "\"ranking\":["));
    CHECK(dicast_verdict_json(verdict).data == dicast_verdict_json(verdict).data);
    CHECK(dicast_verdict_repair_count(verdict) == 0);
    usage.struct_size = sizeof usage;
    timing.struct_size = sizeof timing;
    OK(error, dicast_verdict_usage(verdict, &usage, &error));
    OK(error, dicast_verdict_timing(verdict, &timing, &error));
    CHECK(usage.prompt_tokens > 0 && usage.verdict_tokens > usage.forced_tokens && usage.forced_tokens > 0);
    CHECK(timing.verdict_us > 0);

    CHECK(dicast_verdict_name(verdict, 3).data == NULL && dicast_verdict_name(verdict, DICAST_NONE).data == NULL);
    CHECK(isnan(dicast_verdict_score(verdict, 3)) && isnan(dicast_verdict_expected(verdict, 3)));
    CHECK(isnan(dicast_verdict_score_of(verdict, S("nobody"))));
    CHECK(dicast_verdict_rank(verdict, 3) == DICAST_NONE && dicast_verdict_ranked(verdict, 3) == DICAST_NONE);
    CHECK(dicast_verdict_rank_of(verdict, S("nobody")) == DICAST_NONE);
    CHECK(dicast_verdict_find(verdict, S("")) == DICAST_NONE);
    CHECK(dicast_verdict_distribution(verdict, 3, &len) == NULL && len == 0);
    CHECK(dicast_verdict_repair(verdict, 0).data == NULL && dicast_verdict_flag(verdict, 99).data == NULL);
}

static void judge_one(const dicast_judge *judge) {
    dicast_error *error = NULL;
    dicast_verdict *verdict = NULL, *other = NULL;
    dicast_request *request = make_request(SHORTER);
    OK(error, dicast_judge_judge(judge, request, &verdict, &error));
    check_verdict(verdict);
    CHECK(dicast_verdict_ranked(verdict, 0) == 0 && dicast_verdict_ranked(verdict, 2) == 2);
    OK(error, dicast_request_set_options(request, S("{\"mask\": \"off\"}"), &error));
    OK(error, dicast_judge_judge(judge, request, &other, &error));
    CHECK(is(dicast_verdict_alias(other, 1), "middle"));
    dicast_request_free(request);
    dicast_verdict_free(other);

    OK(error,
       dicast_request_from_json(S("{\"principle\": \"" LONGER "\", \"prompt\": \"How?\", \"responses\": "
                                  "{\"a\\u0000b\": \"Just start.\", \"\": \"First one reads a long book and then "
                                  "one thinks about it for a while, and then one starts.\"}}"),
                                &request, &error));
    OK(error, dicast_judge_judge(judge, request, &other, &error));
    CHECK(dicast_verdict_name(other, 0).len == 3 && memcmp(dicast_verdict_name(other, 0).data, "a\0b", 4) == 0);
    CHECK(dicast_verdict_name(other, 1).len == 0 && dicast_verdict_name(other, 1).data != NULL);
    CHECK(dicast_verdict_find(other, (dicast_str){"a\0b", 3}) == 0 &&
          dicast_verdict_find(other, (dicast_str){0, 0}) == 1);
    dicast_request_free(request);
    dicast_verdict_free(other);
    dicast_verdict_free(verdict);
}

static void judge_batch(const dicast_judge *judge) {
    dicast_error *error = NULL, *errors[3];
    dicast_verdict *verdicts[3];
    int32_t statuses[3];
    dicast_request *first = make_request(SHORTER), *empty = NULL, *last = make_request(LONGER);
    const dicast_request *requests[3];
    OK(error, dicast_request_new(S("p"), S("q"), &empty, &error));
    requests[0] = first;
    requests[1] = empty;
    requests[2] = last;
    OK(error, dicast_judge_batch(judge, requests, 3, verdicts, statuses, errors, &error));
    CHECK(statuses[0] == DICAST_OK && statuses[1] == DICAST_INVALID_REQUEST && statuses[2] == DICAST_OK);
    CHECK(verdicts[1] == NULL && errors[0] == NULL && errors[2] == NULL);
    CHECK(dicast_error_code(errors[1]) == DICAST_INVALID_REQUEST &&
          is(dicast_error_name(errors[1]), "invalid_request"));
    CHECK(!dicast_error_is_retryable(errors[1]) && !dicast_error_has_partial(errors[1]));
    CHECK(dicast_verdict_ranked(verdicts[0], 0) == 0 && dicast_verdict_ranked(verdicts[2], 0) == 2);
    dicast_verdict_free(verdicts[0]);
    dicast_verdict_free(verdicts[2]);
    dicast_error_free(errors[1]);
    OK(error, dicast_judge_batch(judge, requests + 1, 1, verdicts, statuses, NULL, &error));
    CHECK(verdicts[0] == NULL && statuses[0] == DICAST_INVALID_REQUEST);
    OK(error, dicast_judge_batch(judge, NULL, 0, NULL, NULL, NULL, &error));
    requests[1] = NULL;
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_judge_batch(judge, requests, 3, verdicts, statuses, errors, &error));
    dicast_request_free(first);
    dicast_request_free(empty);
    dicast_request_free(last);
}

static void refuse(const dicast_judge *judge) {
    dicast_error *error = NULL;
    dicast_verdict *verdict = NULL;
    dicast_request *request = make_request(SHORTER);
    char *text = malloc(40000);
    CHECK(text != NULL);
    memset(text, 'x', 40000);
    add(request, "short", "again");
    FAILS(DICAST_INVALID_REQUEST, error, dicast_judge_judge(judge, request, &verdict, &error));
    dicast_request_free(request);
    request = make_request(SHORTER);
    OK(error, dicast_request_add(request, S("huge"), (dicast_str){text, 40000}, &error));
    FAILS(DICAST_CONTEXT_OVERFLOW, error, dicast_judge_judge(judge, request, &verdict, &error));
    dicast_request_free(request);
    request = make_request(SHORTER);
    FAILS(DICAST_INVALID_REQUEST, error, dicast_request_set_options(request, S("{\"heat\": 1}"), &error));
    OK(error, dicast_request_set_options(request, S("{\"temperature\": 3}"), &error));
    FAILS(DICAST_INVALID_REQUEST, error, dicast_judge_judge(judge, request, &verdict, &error));
    OK(error, dicast_request_set_options(request, S("{\"timeout_ms\": 1}"), &error));
    FAILS(DICAST_TIMEOUT, error, dicast_judge_judge(judge, request, &verdict, &error));
    /* Written freely in eight tokens, the answer cannot be a verdict. */
    OK(error, dicast_request_set_options(
                  request, S("{\"guided\": false, \"max_verdict_tokens\": 8, \"reasoning\": false}"), &error));
    CHECK(dicast_judge_judge(judge, request, &verdict, &error) == DICAST_INVALID_VERDICT);
    /* Without sampling, the result would be the same again. */
    CHECK(dicast_error_has_partial(error) && !dicast_error_is_retryable(error));
    CHECK(dicast_status_is_retryable(DICAST_INVALID_VERDICT));
    CHECK(dicast_error_partial_raw(error).data != NULL && dicast_error_partial_reasoning(error).data != NULL);
    CHECK(dicast_error_partial_count(error) == 0 && isnan(dicast_error_partial_score(error, 0)));
    CHECK(holds(dicast_error_json(error), "\"kind\":\"invalid_verdict\""));
    CHECK(verdict == NULL);
    dicast_error_free(error);
    dicast_request_free(request);
    free(text);
}

int main(int argc, char **argv) {
    dicast_judge *judge = NULL;
    dicast_error *error = NULL;
    dicast_open_options options = {0};
    dicast_info info = {0};
    dicast_stats stats = {0};
    char config[4096];
    begin(argc);
    CHECK(dicast_abi_version() >= DICAST_ABI_VERSION);
    snprintf(config, sizeof config, "{\"model\": \"%s\", \"local\": {\"threads\": 1}}", argv[1]);
    options.struct_size = sizeof options;
    options.log = keep_log;
    options.log_user_data = &lines;
    options.log_level = DICAST_LOG_DEBUG;
    OK(error, dicast_judge_open(S(config), &options, &judge, &error));
    CHECK(opened);
    info.struct_size = sizeof info;
    OK(error, dicast_judge_info(judge, &info, &error));
    CHECK(info.struct_size == sizeof info && info.guided == 1 && info.distributions == 1);
    CHECK(info.scale_min == 1 && info.scale_max == 5 && info.max_queue == 1024 && info.max_responses == 32);
    CHECK(is(dicast_judge_engine(judge), "local"));
    CHECK(holds(dicast_judge_profile_json(judge), "dicast-demo"));
    judge_one(judge);
    judge_batch(judge);
    refuse(judge);
    stats.struct_size = sizeof stats;
    OK(error, dicast_judge_stats(judge, &stats, &error));
    CHECK(stats.computed_tokens > 0 && stats.steps > 0 && stats.pending == 0);
    OK(error, dicast_judge_wait_for_room(judge, 0, &error));
    dicast_judge_free(judge);
    CHECK(lines > 6);
    snprintf(config, sizeof config, "{\"model\": \"%s.missing\"}", argv[1]);
    judge = NULL;
    FAILS(DICAST_MODEL_NOT_FOUND, error, dicast_judge_open(S(config), NULL, &judge, &error));
    FAILS(DICAST_INVALID_CONFIG, error, dicast_judge_open(S("{\"modal\": 1}"), NULL, &judge, &error));
    CHECK(judge == NULL);
    return 0;
}
