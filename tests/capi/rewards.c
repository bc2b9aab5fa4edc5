/* The array form for trainers. */
#include "check.h"

#define N 3

static int all_nan(const double *rewards, const int32_t *statuses, size_t n, int32_t status) {
    size_t i;
    for (i = 0; i < n; i++) {
        if (!isnan(rewards[i]) || statuses[i] != status) {
            return 0;
        }
    }
    return 1;
}

static void reset(double *rewards, int32_t *statuses, size_t n) {
    size_t i;
    for (i = 0; i < n; i++) {
        rewards[i] = 1;
        statuses[i] = 0;
    }
}

static dicast_group group(const char *principle, const dicast_str *responses, size_t count) {
    dicast_group made = {0};
    made.struct_size = sizeof made;
    made.principle = S(principle);
    made.prompt = S("How do I learn Python?");
    made.responses = responses;
    made.response_count = count;
    return made;
}

static void one_prompt(const dicast_judge *judge, const dicast_str *texts) {
    dicast_error *error = NULL;
    dicast_reward_options options = {0};
    double rewards[N], expected[N];
    int32_t statuses[N];
    size_t i;
    OK(error, dicast_judge_rewards(judge, S(SHORTER), S("How?"), texts, N, NULL, expected, statuses, &error));
    CHECK(statuses[0] == 0 && statuses[1] == 0 && statuses[2] == 0);
    CHECK(expected[0] > expected[2] && expected[0] <= 5 && expected[2] >= 1);

    options.struct_size = sizeof options;
    options.normalize = 1;
    OK(error, dicast_judge_rewards(judge, S(SHORTER), S("How?"), texts, N, &options, rewards, statuses, &error));
    for (i = 0; i < N; i++) {
        CHECK(fabs(rewards[i] - (expected[i] - 1) / 4) < 1e-3);
    }
    options.normalize = 0;
    options.reward = DICAST_REWARD_SCORE;
    OK(error, dicast_judge_rewards(judge, S(SHORTER), S("How?"), texts, N, &options, rewards, statuses, &error));
    CHECK(rewards[0] == floor(rewards[0]));
    options.reward = DICAST_REWARD_RANK;
    OK(error, dicast_judge_rewards(judge, S(SHORTER), S("How?"), texts, N, &options, rewards, statuses, &error));
    CHECK(rewards[0] == 1 && rewards[1] == 0.5 && rewards[2] == 0);
    OK(error, dicast_judge_rewards(judge, S(SHORTER), S("How?"), texts, 1, &options, rewards, statuses, &error));
    CHECK(rewards[0] == 0.5);

    options.reward = DICAST_REWARD_GROUP;
    OK(error, dicast_judge_rewards(judge, S(SHORTER), S("How?"), texts, N, &options, rewards, statuses, &error));
    CHECK(fabs(rewards[0] + rewards[1] + rewards[2]) < 1e-9 && rewards[0] > 0 && rewards[2] < 0);
    options.reward = DICAST_REWARD_WIN;
    OK(error, dicast_judge_rewards(judge, S(SHORTER), S("How?"), texts, N, &options, rewards, statuses, &error));
    CHECK(fabs(rewards[0] + rewards[1] + rewards[2] - 1.5) < 1e-9 && rewards[0] > rewards[2]);
    options.options_json = S("{\"orders\": 6}");
    options.reward = DICAST_REWARD_EXPECTED;
    OK(error, dicast_judge_rewards(judge, S(SHORTER), S("How?"), texts, N, &options, rewards, statuses, &error));
    CHECK(rewards[0] > rewards[2]);

    /* Without guidance there is no distribution: an expected score cannot be had, and the written one is not passed off
       as one. */
    options.options_json = S("{\"guided\": false, \"mask\": \"given\"}");
    options.reward = DICAST_REWARD_EXPECTED;
    reset(rewards, statuses, N);
    CHECK(dicast_judge_rewards(judge, S(SHORTER), S("How?"), texts, N, &options, rewards, statuses, &error) !=
          DICAST_OK);
    CHECK(all_nan(rewards, statuses, N, dicast_error_code(error)));
    dicast_error_free(error);
}

static void failures(const dicast_judge *judge, const dicast_str *texts) {
    dicast_error *error = NULL;
    dicast_reward_options options = {0};
    dicast_str bad[N];
    double rewards[N];
    int32_t statuses[N];
#define EXPECT(code, call)                          \
    do {                                            \
        reset(rewards, statuses, N);                \
        FAILS(code, error, call);                   \
        CHECK(all_nan(rewards, statuses, N, code)); \
    } while (0)
    memcpy(bad, texts, sizeof bad);
    bad[1].data = "\xff";
    bad[1].len = 1;
    EXPECT(DICAST_INVALID_REQUEST,
           dicast_judge_rewards(judge, S(SHORTER), S("How?"), bad, N, NULL, rewards, statuses, &error));
    bad[1].data = NULL;
    EXPECT(DICAST_INVALID_ARGUMENT,
           dicast_judge_rewards(judge, S(SHORTER), S("How?"), bad, N, NULL, rewards, statuses, &error));
    EXPECT(DICAST_INVALID_ARGUMENT,
           dicast_judge_rewards(NULL, S(SHORTER), S("How?"), texts, N, NULL, rewards, statuses, &error));
    EXPECT(DICAST_INVALID_ARGUMENT,
           dicast_judge_rewards(judge, S(SHORTER), S("How?"), NULL, N, NULL, rewards, statuses, &error));
    EXPECT(DICAST_INVALID_ARGUMENT,
           dicast_judge_rewards(judge, S(SHORTER), S("How?"), texts, N, &options, rewards, statuses, &error));
    options.struct_size = sizeof options;
    options.reward = 99;
    EXPECT(DICAST_INVALID_ARGUMENT,
           dicast_judge_rewards(judge, S(SHORTER), S("How?"), texts, N, &options, rewards, statuses, &error));
    options.reward = 0;
    options.normalize = 2;
    EXPECT(DICAST_INVALID_ARGUMENT,
           dicast_judge_rewards(judge, S(SHORTER), S("How?"), texts, N, &options, rewards, statuses, &error));
    options.normalize = 0;
    options.options_json = S("{\"timeout_ms\": 1}");
    EXPECT(DICAST_TIMEOUT,
           dicast_judge_rewards(judge, S(SHORTER), S("How?"), texts, N, &options, rewards, statuses, &error));
    FAILS(DICAST_INVALID_REQUEST, error,
          dicast_judge_rewards(judge, S(SHORTER), S("How?"), NULL, 0, NULL, NULL, NULL, &error));
    /* If one array is missing, the other one still says that there is no reward. */
    reset(rewards, statuses, N);
    FAILS(DICAST_INVALID_ARGUMENT, error,
          dicast_judge_rewards(judge, S(SHORTER), S("How?"), texts, N, NULL, rewards, NULL, &error));
    CHECK(isnan(rewards[0]) && isnan(rewards[2]));
    FAILS(DICAST_INVALID_ARGUMENT, error,
          dicast_judge_rewards(judge, S(SHORTER), S("How?"), texts, N, NULL, NULL, statuses, &error));
    CHECK(statuses[0] == DICAST_INVALID_ARGUMENT);
}

/* Counts that no array can have, with a judge: nothing is written past these arrays, nor into them. */
static void absurd_counts(const dicast_judge *judge, const dicast_str *texts) {
    const size_t absurd[] = {SIZE_MAX, SIZE_MAX / 4, SIZE_MAX / 8, SIZE_MAX / 16, (size_t)1 << 40};
    dicast_error *error = NULL, *errors[1] = {NULL};
    dicast_verdict *verdicts[1] = {NULL};
    const dicast_request *requests[1] = {NULL};
    dicast_group groups[1];
    double rewards[N];
    int32_t statuses[N];
    size_t i;
    groups[0] = group(SHORTER, texts, N);
    reset(rewards, statuses, N);
    for (i = 0; i < sizeof absurd / sizeof *absurd; i++) {
        const size_t n = absurd[i];
        FAILS(DICAST_INVALID_ARGUMENT, error,
              dicast_judge_rewards(judge, S(SHORTER), S("How?"), texts, n, NULL, rewards, statuses, &error));
        FAILS(DICAST_INVALID_ARGUMENT, error,
              dicast_judge_rewards_groups(judge, groups, 1, NULL, rewards, statuses, n, errors, &error));
        FAILS(DICAST_INVALID_ARGUMENT, error,
              dicast_judge_batch(judge, requests, n, verdicts, statuses, errors, &error));
        CHECK(rewards[0] == 1 && rewards[2] == 1 && statuses[0] == 0 && errors[0] == NULL && verdicts[0] == NULL);
        FAILS(DICAST_INVALID_ARGUMENT, error,
              dicast_judge_rewards_groups(judge, groups, n, NULL, rewards, statuses, N, errors, &error));
        CHECK(all_nan(rewards, statuses, N, DICAST_INVALID_ARGUMENT));
        reset(rewards, statuses, N);
    }
}

static void many_groups(const dicast_judge *judge, const dicast_str *texts) {
    dicast_error *error = NULL, *errors[4];
    dicast_group groups[4];
    double rewards[9];
    int32_t statuses[9];
    dicast_str bad = {"\xff", 1};
    groups[0] = group(SHORTER, texts, 3);
    groups[1] = group(SHORTER, &bad, 1);
    groups[2] = group(LONGER, texts, 3);
    groups[3] = group(SHORTER, texts + 1, 2);
    OK(error, dicast_judge_rewards_groups(judge, groups, 4, NULL, rewards, statuses, 9, errors, &error));
    CHECK(rewards[0] > rewards[2] && rewards[4] < rewards[6] && !isnan(rewards[7]) && !isnan(rewards[8]));
    CHECK(isnan(rewards[3]) && statuses[3] == DICAST_INVALID_REQUEST);
    CHECK(dicast_error_code(errors[1]) == DICAST_INVALID_REQUEST && errors[0] == NULL && errors[3] == NULL);
    dicast_error_free(errors[1]);
    OK(error, dicast_judge_rewards_groups(judge, groups, 2, NULL, rewards, statuses, 4, NULL, &error));
    CHECK(!isnan(rewards[0]) && isnan(rewards[3]));
    OK(error, dicast_judge_rewards_groups(judge, NULL, 0, NULL, NULL, NULL, 0, NULL, &error));

    reset(rewards, statuses, 9);
    FAILS(DICAST_INVALID_ARGUMENT, error,
          dicast_judge_rewards_groups(judge, groups, 4, NULL, rewards, statuses, 8, errors, &error));
    CHECK(all_nan(rewards, statuses, 8, DICAST_INVALID_ARGUMENT) && rewards[8] == 1);
    groups[1] = group(SHORTER, texts, SIZE_MAX);
    FAILS(DICAST_INVALID_ARGUMENT, error,
          dicast_judge_rewards_groups(judge, groups, 4, NULL, rewards, statuses, 9, errors, &error));
    groups[1] = group(SHORTER, &bad, 1);
    groups[2].struct_size -= 8;
    FAILS(DICAST_INVALID_ARGUMENT, error,
          dicast_judge_rewards_groups(judge, groups, 4, NULL, rewards, statuses, 9, errors, &error));
    CHECK(all_nan(rewards, statuses, 9, DICAST_INVALID_ARGUMENT));
}

/* A program of a later release, whose groups are larger. */
static void later_groups(const dicast_judge *judge, const dicast_str *texts) {
    struct {
        dicast_group known;
        uint64_t later;
    } groups[2];
    dicast_error *error = NULL;
    double rewards[6];
    int32_t statuses[6];
    memset(groups, 0, sizeof groups);
    groups[0].known = group(SHORTER, texts, 3);
    groups[1].known = group(LONGER, texts, 3);
    groups[0].known.struct_size = groups[1].known.struct_size = sizeof groups[0];
    OK(error, dicast_judge_rewards_groups(judge, &groups[0].known, 2, NULL, rewards, statuses, 6, NULL, &error));
    CHECK(rewards[0] > rewards[2] && rewards[3] < rewards[5]);
    groups[1].later = 1;
    FAILS(DICAST_INVALID_ARGUMENT, error,
          dicast_judge_rewards_groups(judge, &groups[0].known, 2, NULL, rewards, statuses, 6, NULL, &error));
}

int main(int argc, char **argv) {
    dicast_str texts[N];
    dicast_judge *judge;
    begin(argc);
    texts[0] = S(SHORT_TEXT);
    texts[1] = S(MIDDLE_TEXT);
    texts[2] = S(LONG_TEXT);
    /* A queue of two: more groups than that have to wait for room. */
    judge = open_judge(argv, ", \"limits\": {\"max_queue\": 2}");
    one_prompt(judge, texts);
    failures(judge, texts);
    absurd_counts(judge, texts);
    many_groups(judge, texts);
    later_groups(judge, texts);
    dicast_judge_free(judge);
    return 0;
}
