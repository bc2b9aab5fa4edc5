/* One judge, 32 threads, all forms at once. */
#include "check.h"

#define THREADS 32

struct shared {
    const dicast_judge *judge;
    const dicast_request *request;
    const dicast_verdict *verdict;
};

static int callbacks;

static void count(void *user_data, int32_t status, dicast_verdict *verdict, dicast_error *error) {
    CHECK(status == DICAST_OK || status == DICAST_CANCELLED);
    __atomic_fetch_add((int *)user_data, 1, __ATOMIC_SEQ_CST);
    dicast_verdict_free(verdict);
    dicast_error_free(error);
}

static void *work(void *data) {
    const struct shared *shared = data;
    static int next;
    int number = __atomic_fetch_add(&next, 1, __ATOMIC_SEQ_CST);
    dicast_error *error = NULL;
    dicast_verdict *verdict = NULL;
    dicast_ticket *ticket = NULL;
    CHECK(holds(dicast_verdict_json(shared->verdict), "ranking"));
    if (number % 4 == 0) {
        OK(error, dicast_judge_judge(shared->judge, shared->request, &verdict, &error));
        CHECK(dicast_verdict_score(verdict, 0) == dicast_verdict_score(shared->verdict, 0));
        dicast_verdict_free(verdict);
    } else if (number % 4 == 1) {
        OK(error, dicast_judge_submit(shared->judge, shared->request, count, &callbacks, &ticket, &error));
        OK(error, dicast_ticket_wait(ticket, DICAST_FOREVER, NULL, &error));
        dicast_ticket_free(ticket);
    } else if (number % 4 == 2) {
        OK(error, dicast_judge_submit(shared->judge, shared->request, count, &callbacks, &ticket, &error));
        OK(error, dicast_ticket_cancel(ticket, &error));
        (void)dicast_ticket_wait(ticket, DICAST_FOREVER, NULL, NULL);
        dicast_ticket_free(ticket);
    } else {
        dicast_str texts[2];
        double rewards[2];
        int32_t statuses[2];
        texts[0] = S(SHORT_TEXT);
        texts[1] = S(LONG_TEXT);
        OK(error,
           dicast_judge_rewards(shared->judge, S(SHORTER), S("How?"), texts, 2, NULL, rewards, statuses, &error));
        CHECK(rewards[0] > rewards[1]);
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[THREADS];
    struct shared shared;
    dicast_error *error = NULL;
    dicast_verdict *verdict = NULL;
    dicast_judge *judge;
    dicast_request *request = make_request(SHORTER);
    int i;
    begin(argc);
    judge = open_judge(argv, "");
    OK(error, dicast_judge_judge(judge, request, &verdict, &error));
    shared.judge = judge;
    shared.request = request;
    shared.verdict = verdict;
    for (i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, work, &shared) == 0);
    }
    for (i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(__atomic_load_n(&callbacks, __ATOMIC_SEQ_CST) == THREADS / 2);
    dicast_verdict_free(verdict);
    dicast_request_free(request);
    dicast_judge_free(judge);
    return 0;
}
