/* Groups under one handle: whole verdicts, priorities, deadlines, one cancel; on the program's own engine. */
#include "holding.h"

/* Waits until the engine was given this many jobs. */
static void await_jobs(struct engine *engine, size_t count) {
    size_t there = 0;
    int i;
    for (i = 0; i < 60000; i++) {
        const struct timespec moment = {0, 1000000};
        pthread_mutex_lock(&engine->lock);
        there = engine->count;
        pthread_mutex_unlock(&engine->lock);
        if (there >= count) {
            return;
        }
        nanosleep(&moment, NULL);
    }
    CHECK(!"the jobs have come");
}

static void finish(dicast_job *job) {
    dicast_error *error = NULL;
    OK(error, dicast_job_reason(job, S("It is short."), &error));
    OK(error, dicast_job_answer(job,
                                S("{\"scores\": {\"model-1\": 4, \"model-2\": 2}, \"best-to-worst\": "
                                  "[\"model-1\", \"model-2\"]}"),
                                &error));
    dicast_job_finish(job, 0);
}

static void end_all(struct engine *engine) {
    size_t i;
    for (i = 0; i < engine->count; i++) {
        dicast_job_finish(engine->jobs[i], 0);
    }
    engine->count = 0;
}

int main(int argc, char **argv) {
    struct engine engine = {PTHREAD_MUTEX_INITIALIZER, {0}, 0};
    dicast_error *error = NULL;
    dicast_judge *judge = NULL;
    dicast_batch *batch = NULL, *other = NULL;
    dicast_batch_options options = {0};
    dicast_reward_options wanted = {0};
    dicast_verdict *verdict = NULL;
    dicast_group groups[8];
    dicast_str texts[2];
    double rewards[16];
    int32_t statuses[16];
    dicast_plan plan = {0};
    size_t i;
    begin(argc);
    UNUSED(argv);
    judge =
        open_on(&engine, "{\"model\": \"toy\", \"options\": {\"mask\": \"given\"}, \"limits\": {\"max_queue\": 3}}");
    texts[0] = S("short");
    texts[1] = S("a much longer text");
    memset(groups, 0, sizeof groups);
    for (i = 0; i < 8; i++) {
        groups[i].struct_size = sizeof groups[i];
        groups[i].principle = S(SHORTER);
        groups[i].prompt = S("How?");
        groups[i].responses = texts;
        groups[i].response_count = 2;
    }
    options.struct_size = sizeof options;
    wanted.struct_size = sizeof wanted;
    wanted.reward = DICAST_REWARD_SCORE;
    plan.struct_size = sizeof plan;

    /* More groups than the queue holds: three go to the engine, the others wait for room. */
    groups[1].options_json = S("{\"temperature\": 1.5, \"seed\": 7}");
    groups[1].id = S("the second");
    groups[1].priority = DICAST_PRIORITY_HIGH;
    groups[2].options_json = S("{\"colour\": 1}");
    groups[3].response_count = 0;
    options.options_json = S("{\"temperature\": 0.5}");
    options.priority = DICAST_PRIORITY_LOW;
    OK(error, dicast_judge_submit_groups(judge, groups, 8, &options, &batch, &error));
    await_jobs(&engine, 3);
    CHECK(dicast_batch_count(batch) == 8 && dicast_batch_ended(batch) == 2);
    CHECK(dicast_batch_wait(batch, 1, &error) == DICAST_PENDING && error == NULL);
    CHECK(dicast_batch_status(batch, 0) == DICAST_PENDING && dicast_batch_status(batch, 8) == DICAST_INVALID_ARGUMENT);
    CHECK(dicast_batch_status(batch, 2) == DICAST_INVALID_REQUEST);
    CHECK(dicast_batch_status(batch, 3) == DICAST_INVALID_REQUEST);
    CHECK(dicast_batch_take(batch, 0, &verdict, &error) == DICAST_PENDING && verdict == NULL);
    OK(error, dicast_job_plan(engine.jobs[0], &plan, &error));
    CHECK(plan.temperature == 0.5 && plan.priority == DICAST_PRIORITY_LOW);
    OK(error, dicast_job_plan(engine.jobs[1], &plan, &error));
    CHECK(plan.temperature == 1.5 && plan.seed == 7 && plan.priority == DICAST_PRIORITY_HIGH);
    OK(error, dicast_batch_rewards(batch, &wanted, rewards, statuses, 14, &error));
    CHECK(isnan(rewards[0]) && statuses[0] == DICAST_PENDING && statuses[4] == DICAST_INVALID_REQUEST);
    finish(engine.jobs[1]);
    await_jobs(&engine, 4);
    for (i = 0; dicast_batch_status(batch, 1) == DICAST_PENDING; i++) {
        const struct timespec moment = {0, 1000000};
        CHECK(i < 60000);
        nanosleep(&moment, NULL);
    }
    OK(error, dicast_batch_rewards(batch, &wanted, rewards, statuses, 14, &error));
    CHECK(rewards[2] == 4 && rewards[3] == 2 && statuses[2] == DICAST_OK && isnan(rewards[6]));
    OK(error, dicast_batch_take(batch, 1, &verdict, &error));
    CHECK(dicast_verdict_score(verdict, 0) == 4 && is(dicast_verdict_reasoning(verdict), "It is short."));
    dicast_verdict_free(verdict);
    verdict = NULL;
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_batch_take(batch, 1, &verdict, &error));
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_batch_take(batch, 8, &verdict, &error));
    FAILS(DICAST_INVALID_REQUEST, error, dicast_batch_take(batch, 2, &verdict, &error));
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_batch_take(batch, 2, &verdict, &error));
    CHECK(dicast_batch_status(batch, 1) == DICAST_OK && dicast_batch_status(batch, 2) == DICAST_INVALID_REQUEST);
    OK(error, dicast_batch_rewards(batch, &wanted, rewards, statuses, 14, &error));
    CHECK(isnan(rewards[2]) && statuses[2] == DICAST_INVALID_ARGUMENT && statuses[4] == DICAST_INVALID_REQUEST);
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_batch_rewards(batch, &wanted, rewards, statuses, 13, &error));
    CHECK(isnan(rewards[0]) && statuses[0] == DICAST_INVALID_ARGUMENT);
    wanted.deadline_ms = 1;
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_batch_rewards(batch, &wanted, rewards, statuses, 14, &error));
    wanted.deadline_ms = 0;

    /* One cancel ends running groups, groups in the queue and groups that wait for room. */
    OK(error, dicast_batch_cancel(batch, &error));
    OK(error, dicast_batch_wait(batch, DICAST_FOREVER, &error));
    CHECK(dicast_batch_ended(batch) == 8 && dicast_batch_status(batch, 1) == DICAST_OK);
    CHECK(dicast_batch_status(batch, 0) == DICAST_CANCELLED && dicast_batch_status(batch, 7) == DICAST_CANCELLED);
    FAILS(DICAST_CANCELLED, error, dicast_batch_take(batch, 7, &verdict, &error));
    dicast_batch_free(batch);
    engine.jobs[1] = engine.jobs[--engine.count];
    end_all(&engine);

    /* A deadline for one group, and for all of them; groups that wait for room keep it too. */
    for (i = 1; i < 4; i++) {
        groups[i] = groups[0];
    }
    groups[0].deadline_ms = 20;
    options.deadline_ms = 200;
    OK(error, dicast_judge_submit_groups(judge, groups, 6, &options, &batch, &error));
    OK(error, dicast_batch_wait(batch, 60000, &error));
    for (i = 0; i < 6; i++) {
        CHECK(dicast_batch_status(batch, i) == DICAST_TIMEOUT);
    }
    dicast_batch_free(batch);
    end_all(&engine);

    /* Behind a group that waits for room a deadline also holds, and an invalid group ends. */
    groups[0].deadline_ms = options.deadline_ms = 0;
    groups[4].deadline_ms = 30;
    groups[5].options_json = S("{\"colour\": 1}");
    OK(error, dicast_judge_submit_groups(judge, groups, 6, NULL, &batch, &error));
    await_jobs(&engine, 3);
    CHECK(dicast_batch_status(batch, 5) == DICAST_INVALID_REQUEST);
    for (i = 0; dicast_batch_status(batch, 4) == DICAST_PENDING; i++) {
        const struct timespec moment = {0, 1000000};
        CHECK(i < 60000);
        nanosleep(&moment, NULL);
    }
    CHECK(dicast_batch_status(batch, 4) == DICAST_TIMEOUT && dicast_batch_status(batch, 3) == DICAST_PENDING);
    CHECK(dicast_batch_ended(batch) == 2);
    finish(engine.jobs[0]);
    await_jobs(&engine, 4);
    engine.jobs[0] = engine.jobs[--engine.count];
    dicast_batch_free(batch);
    end_all(&engine);
    groups[4] = groups[5] = groups[0];

    /* Freeing a batch cancels it and frees its places; an empty batch is done at once. */
    OK(error, dicast_judge_submit_groups(judge, groups, 8, NULL, &batch, &error));
    await_jobs(&engine, 3);
    dicast_batch_free(batch);
    OK(error, dicast_judge_wait_for_room(judge, 60000, &error));
    end_all(&engine);
    OK(error, dicast_judge_submit_groups(judge, NULL, 0, NULL, &batch, &error));
    OK(error, dicast_batch_wait(batch, DICAST_FOREVER, &error));
    dicast_batch_free(batch);

    /* Misuse is refused. */
    options.reserved = 1;
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_judge_submit_groups(judge, groups, 1, &options, &other, &error));
    options.reserved = 0;
    options.priority = 5;
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_judge_submit_groups(judge, groups, 1, &options, &other, &error));
    options.priority = 0;
    options.options_json = S("{\"colour\": 1}");
    FAILS(DICAST_INVALID_REQUEST, error, dicast_judge_submit_groups(judge, groups, 1, &options, &other, &error));
    CHECK(other == NULL);

    /* The deadline of a blocking call. */
    wanted.deadline_ms = 30;
    OK(error, dicast_judge_rewards_groups(judge, groups, 5, &wanted, rewards, statuses, 10, NULL, &error));
    CHECK(statuses[0] == DICAST_TIMEOUT && statuses[9] == DICAST_TIMEOUT && isnan(rewards[9]));
    FAILS(DICAST_TIMEOUT, error,
          dicast_judge_rewards(judge, S("p"), S("q"), texts, 2, &wanted, rewards, statuses, &error));
    end_all(&engine);

    /* The judge may be freed first. */
    OK(error, dicast_judge_submit_groups(judge, groups, 8, NULL, &batch, &error));
    await_jobs(&engine, 3);
    dicast_judge_free(judge);
    OK(error, dicast_batch_wait(batch, DICAST_FOREVER, &error));
    CHECK(dicast_batch_status(batch, 0) == DICAST_CLOSED && dicast_batch_status(batch, 7) == DICAST_CLOSED);
    OK(error, dicast_batch_cancel(batch, &error));
    dicast_batch_free(batch);
    end_all(&engine);

    /* A closed judge accepts none. */
    judge = open_on(&engine, "{\"model\": \"toy\"}");
    OK(error, dicast_judge_close(judge, &error));
    FAILS(DICAST_CLOSED, error, dicast_judge_submit_groups(judge, groups, 8, NULL, &other, &error));
    FAILS(DICAST_CLOSED, error, dicast_judge_submit_groups(judge, NULL, 0, NULL, &other, &error));
    CHECK(other == NULL);
    dicast_judge_free(judge);
    return 0;
}
