/* fork before a judge is opened and after it. */
#include "check.h"

#include <sys/wait.h>

static void judge_once(const dicast_judge *judge, const dicast_request *request) {
    dicast_error *error = NULL;
    dicast_verdict *verdict = NULL;
    OK(error, dicast_judge_judge(judge, request, &verdict, &error));
    CHECK(dicast_verdict_ranked(verdict, 0) == 0);
    dicast_verdict_free(verdict);
}

static void never(void *user_data, int32_t status, dicast_verdict *verdict, dicast_error *error) {
    UNUSED(user_data), UNUSED(status), UNUSED(verdict), UNUSED(error);
}

static void join(pid_t child) {
    int status = 0;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv) {
    dicast_error *error = NULL;
    dicast_request *request;
    dicast_judge *judge;
    dicast_ticket *waiting = NULL, *called = NULL;
    dicast_batch *batch = NULL;
    dicast_pin *pin = NULL;
    dicast_group group = {0};
    dicast_str text = S("x");
    dicast_verdict *verdict = NULL;
    pid_t child;
    begin(argc);
    CHECK(dicast_abi_version() == DICAST_ABI_VERSION);
    request = make_request(SHORTER);

    child = fork();
    if (child == 0) {
        begin(argc);
        judge = open_judge(argv, "");
        judge_once(judge, request);
        dicast_judge_free(judge);
        _exit(0);
    }
    join(child);

    judge = open_judge(argv, "");
    judge_once(judge, request);
    OK(error, dicast_judge_submit(judge, request, NULL, NULL, &waiting, &error));
    OK(error, dicast_judge_submit(judge, request, never, NULL, &called, &error));
    OK(error, dicast_judge_warm(judge, request, &pin, &error));
    group.struct_size = sizeof group;
    group.principle = group.prompt = text;
    group.responses = &text;
    group.response_count = 1;
    OK(error, dicast_judge_submit_groups(judge, &group, 1, NULL, &batch, &error));
    child = fork();
    if (child == 0) {
        double rewards[1] = {1};
        int32_t statuses[1] = {0};
        dicast_stats stats = {0};
        dicast_info info = {0};
        dicast_verdict *verdicts[1];
        const dicast_request *requests[1];
        requests[0] = request;
        stats.struct_size = sizeof stats;
        info.struct_size = sizeof info;
        begin(argc);
        FAILS(DICAST_CLOSED, error, dicast_judge_judge(judge, request, &verdict, &error));
        FAILS(DICAST_CLOSED, error, dicast_judge_submit(judge, request, never, NULL, NULL, &error));
        FAILS(DICAST_CLOSED, error, dicast_judge_batch(judge, requests, 1, verdicts, statuses, NULL, &error));
        FAILS(DICAST_CLOSED, error, dicast_judge_wait_for_room(judge, DICAST_FOREVER, &error));
        FAILS(DICAST_CLOSED, error, dicast_judge_stats(judge, &stats, &error));
        FAILS(DICAST_CLOSED, error, dicast_judge_info(judge, &info, &error));
        FAILS(DICAST_CLOSED, error, dicast_judge_close(judge, &error));
        FAILS(DICAST_CLOSED, error,
              dicast_judge_rewards(judge, S("p"), S("q"), &text, 1, NULL, rewards, statuses, &error));
        CHECK(isnan(rewards[0]) && statuses[0] == DICAST_CLOSED);
        FAILS(DICAST_CLOSED, error, dicast_ticket_wait(waiting, DICAST_FOREVER, &verdict, &error));
        FAILS(DICAST_CLOSED, error, dicast_ticket_wait(called, DICAST_FOREVER, NULL, &error));
        FAILS(DICAST_CLOSED, error, dicast_ticket_cancel(waiting, &error));
        FAILS(DICAST_CLOSED, error, dicast_batch_wait(batch, DICAST_FOREVER, &error));
        FAILS(DICAST_CLOSED, error, dicast_batch_take(batch, 0, &verdict, &error));
        FAILS(DICAST_CLOSED, error, dicast_batch_cancel(batch, &error));
        FAILS(DICAST_CLOSED, error, dicast_batch_rewards(batch, NULL, rewards, statuses, 1, &error));
        CHECK(dicast_batch_status(batch, 0) == DICAST_CLOSED && dicast_batch_count(batch) == 1);
        FAILS(DICAST_CLOSED, error, dicast_judge_submit_groups(judge, &group, 1, NULL, &batch, &error));
        FAILS(DICAST_CLOSED, error, dicast_judge_warm(judge, request, &pin, &error));
        dicast_batch_free(batch);
        dicast_pin_free(pin);
        dicast_ticket_free(waiting);
        dicast_ticket_free(called);
        dicast_judge_free(judge);
        /* A judge of its own works. */
        judge = open_judge(argv, "");
        judge_once(judge, request);
        dicast_judge_free(judge);
        _exit(0);
    }
    join(child);
    /* The parent's judge goes on as before. */
    OK(error, dicast_ticket_wait(waiting, DICAST_FOREVER, &verdict, &error));
    OK(error, dicast_ticket_wait(called, DICAST_FOREVER, NULL, &error));
    dicast_verdict_free(verdict);
    dicast_ticket_free(waiting);
    dicast_ticket_free(called);
    OK(error, dicast_batch_wait(batch, DICAST_FOREVER, &error));
    CHECK(dicast_batch_status(batch, 0) == DICAST_OK);
    dicast_batch_free(batch);
    dicast_pin_free(pin);
    judge_once(judge, request);
    dicast_judge_free(judge);
    dicast_request_free(request);
    return 0;
}
