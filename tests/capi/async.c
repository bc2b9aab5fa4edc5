/* Tickets, and callbacks that call the library. */
#include "check.h"

struct seen {
    const dicast_judge *judge;
    dicast_judge *to_free;
    dicast_ticket *ticket;
    dicast_request *request;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int ready, calls, verdicts, closed, cancelled, other;
};

static void start(struct seen *seen, const dicast_judge *judge, dicast_request *request) {
    memset(seen, 0, sizeof *seen);
    seen->judge = judge;
    seen->request = request;
    pthread_mutex_init(&seen->lock, NULL);
    pthread_cond_init(&seen->changed, NULL);
}

static void note(struct seen *seen, int32_t status, dicast_verdict *verdict, dicast_error *error) {
    CHECK((status == DICAST_OK) == (verdict != NULL) && (verdict == NULL) == (error != NULL));
    CHECK(dicast_error_code(error) == status);
    pthread_mutex_lock(&seen->lock);
    seen->calls++;
    if (status == DICAST_OK) {
        seen->verdicts++;
    } else if (status == DICAST_CLOSED) {
        seen->closed++;
    } else if (status == DICAST_CANCELLED) {
        seen->cancelled++;
    } else {
        seen->other++;
    }
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
    dicast_verdict_free(verdict);
    dicast_error_free(error);
}

static void wait_for(struct seen *seen, int calls) {
    pthread_mutex_lock(&seen->lock);
    while (seen->calls < calls) {
        pthread_cond_wait(&seen->changed, &seen->lock);
    }
    pthread_mutex_unlock(&seen->lock);
}

static void count(void *user_data, int32_t status, dicast_verdict *verdict, dicast_error *error) {
    note(user_data, status, verdict, error);
}

static void tickets(const dicast_judge *judge, dicast_request *request) {
    dicast_error *error = NULL;
    dicast_ticket *ticket = NULL;
    dicast_verdict *verdict = NULL;
    OK(error, dicast_judge_submit(judge, request, NULL, NULL, &ticket, &error));
    CHECK(dicast_ticket_try(ticket, &verdict, &error) == DICAST_PENDING && error == NULL && verdict == NULL);
    CHECK(dicast_ticket_wait(ticket, 1, &verdict, &error) == DICAST_PENDING && verdict == NULL);
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_ticket_wait(ticket, 1, NULL, &error));
    OK(error, dicast_ticket_wait(ticket, DICAST_FOREVER, &verdict, &error));
    CHECK(dicast_verdict_count(verdict) == 3);
    dicast_verdict_free(verdict);
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_ticket_wait(ticket, DICAST_FOREVER, &verdict, &error));
    OK(error, dicast_ticket_cancel(ticket, &error));
    dicast_ticket_free(ticket);

    OK(error, dicast_judge_submit(judge, request, NULL, NULL, &ticket, &error));
    OK(error, dicast_ticket_cancel(ticket, &error));
    OK(error, dicast_ticket_cancel(ticket, &error));
    FAILS(DICAST_CANCELLED, error, dicast_ticket_try(ticket, &verdict, &error));
    dicast_ticket_free(ticket);

    /* Freed while pending: this cancels it. */
    OK(error, dicast_judge_submit(judge, request, NULL, NULL, &ticket, &error));
    dicast_ticket_free(ticket);
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_judge_submit(judge, request, NULL, NULL, NULL, &error));
}

static void callbacks(const dicast_judge *judge, dicast_request *request) {
    dicast_error *error = NULL;
    dicast_ticket *ticket = NULL;
    dicast_verdict *verdict = NULL;
    dicast_request *empty = NULL;
    struct seen seen;
    int i;
    start(&seen, judge, request);
    for (i = 0; i < 5; i++) {
        OK(error, dicast_judge_submit(judge, request, count, &seen, NULL, &error));
    }
    wait_for(&seen, 5);
    CHECK(seen.verdicts == 5);
    OK(error, dicast_judge_submit(judge, request, count, &seen, &ticket, &error));
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_ticket_wait(ticket, 0, &verdict, &error));
    OK(error, dicast_ticket_wait(ticket, DICAST_FOREVER, NULL, &error));
    CHECK(seen.calls == 6);
    OK(error, dicast_ticket_try(ticket, NULL, &error));
    dicast_ticket_free(ticket);
    OK(error, dicast_judge_submit(judge, request, count, &seen, &ticket, &error));
    OK(error, dicast_ticket_cancel(ticket, &error));
    FAILS(DICAST_CANCELLED, error, dicast_ticket_wait(ticket, DICAST_FOREVER, NULL, &error));
    CHECK(seen.calls == 7 && seen.cancelled == 1);
    dicast_ticket_free(ticket);
    /* The ticket is freed, the callback still comes. */
    OK(error, dicast_judge_submit(judge, request, count, &seen, &ticket, &error));
    dicast_ticket_free(ticket);
    wait_for(&seen, 8);
    CHECK(seen.verdicts == 7);
    /* Refused: no ticket, no callback. */
    OK(error, dicast_request_new(S("p"), S("q"), &empty, &error));
    ticket = NULL;
    FAILS(DICAST_INVALID_REQUEST, error, dicast_judge_submit(judge, empty, count, &seen, &ticket, &error));
    CHECK(ticket == NULL);
    dicast_request_free(empty);
    OK(error, dicast_judge_submit(judge, request, count, &seen, NULL, &error));
    wait_for(&seen, 9);
    CHECK(seen.calls == 9 && seen.other == 0);
}

/* Calls everything that a callback may call: it judges and waits, submits, waits for itself, frees its own ticket. */
static void call_back_in(void *user_data, int32_t status, dicast_verdict *verdict, dicast_error *error) {
    struct seen *seen = user_data;
    dicast_error *inner = NULL;
    dicast_verdict *again = NULL;
    dicast_ticket *ticket = NULL;
    CHECK(status == DICAST_OK);
    pthread_mutex_lock(&seen->lock);
    while (!seen->ready) {
        pthread_cond_wait(&seen->changed, &seen->lock);
    }
    pthread_mutex_unlock(&seen->lock);
    OK(inner, dicast_judge_judge(seen->judge, seen->request, &again, &inner));
    dicast_verdict_free(again);
    /* Too late to cancel itself: the verdict is there. */
    OK(inner, dicast_ticket_cancel(seen->ticket, &inner));
    CHECK(dicast_ticket_wait(seen->ticket, DICAST_FOREVER, NULL, &inner) == DICAST_PENDING);
    dicast_ticket_free(seen->ticket);
    OK(inner, dicast_judge_submit(seen->judge, seen->request, count, seen, &ticket, &inner));
    CHECK(dicast_ticket_wait(ticket, DICAST_FOREVER, NULL, &inner) == DICAST_PENDING);
    dicast_ticket_free(ticket);
    note(seen, status, verdict, error);
}

static void reentry(const dicast_judge *judge, dicast_request *request) {
    struct seen seen;
    dicast_error *error = NULL;
    start(&seen, judge, request);
    pthread_mutex_lock(&seen.lock);
    OK(error, dicast_judge_submit(judge, request, call_back_in, &seen, &seen.ticket, &error));
    seen.ready = 1;
    pthread_cond_broadcast(&seen.changed);
    pthread_mutex_unlock(&seen.lock);
    wait_for(&seen, 2);
    CHECK(seen.verdicts == 2);
}

struct at_once {
    dicast_ticket *ticket;
    int done;
};

/* Finds its ticket, even if it runs before the submitting call has returned. Cancels and frees it. */
static void find_own_ticket(void *user_data, int32_t status, dicast_verdict *verdict, dicast_error *error) {
    struct at_once *own = user_data;
    UNUSED(status);
    CHECK(own->ticket != NULL);
    CHECK(dicast_ticket_cancel(own->ticket, NULL) == DICAST_OK);
    dicast_ticket_free(own->ticket);
    dicast_verdict_free(verdict);
    dicast_error_free(error);
    __atomic_store_n(&own->done, 1, __ATOMIC_RELEASE);
}

static void ticket_of_a_fast_callback(const dicast_judge *judge) {
    dicast_error *error = NULL;
    dicast_request *hurried = make_request(SHORTER);
    int i;
    OK(error, dicast_request_set_options(hurried, S("{\"timeout_ms\": 5}"), &error));
    for (i = 0; i < 200; i++) {
        struct at_once own = {NULL, 0};
        if (dicast_judge_submit(judge, hurried, find_own_ticket, &own, &own.ticket, NULL) != DICAST_OK) {
            /* The deadline passed before it was submitted: there is no ticket and no callback. */
            CHECK(own.ticket == NULL);
            continue;
        }
        while (!__atomic_load_n(&own.done, __ATOMIC_ACQUIRE)) {
            sched_yield();
        }
    }
    dicast_request_free(hurried);
}

/* Frees the judge with work in flight: every callback comes once before the call returns. */
static void free_in_flight(char **argv, dicast_request *request) {
    dicast_judge *judge = open_judge(argv, "");
    dicast_ticket *kept[2];
    dicast_verdict *verdict = NULL;
    dicast_error *error = NULL;
    struct seen seen;
    int i;
    start(&seen, judge, request);
    for (i = 0; i < 20; i++) {
        OK(error, dicast_judge_submit(judge, request, count, &seen, NULL, &error));
    }
    OK(error, dicast_judge_submit(judge, request, NULL, NULL, &kept[0], &error));
    OK(error, dicast_judge_submit(judge, request, count, &seen, &kept[1], &error));
    dicast_judge_free(judge);
    CHECK(seen.calls == 21 && seen.other == 0 && seen.cancelled == 0 && seen.verdicts + seen.closed == 21);
    CHECK(seen.closed > 0);
    FAILS(DICAST_CLOSED, error, dicast_ticket_wait(kept[0], DICAST_FOREVER, &verdict, &error));
    FAILS(DICAST_CLOSED, error, dicast_ticket_wait(kept[1], DICAST_FOREVER, NULL, &error));
    OK(error, dicast_ticket_cancel(kept[0], &error));
    dicast_ticket_free(kept[0]);
    dicast_ticket_free(kept[1]);
}

static void free_judge(void *user_data, int32_t status, dicast_verdict *verdict, dicast_error *error) {
    struct seen *seen = user_data;
    dicast_judge *judge;
    pthread_mutex_lock(&seen->lock);
    while (!seen->ready) {
        pthread_cond_wait(&seen->changed, &seen->lock);
    }
    judge = seen->to_free;
    seen->to_free = NULL;
    pthread_mutex_unlock(&seen->lock);
    dicast_judge_free(judge);
    note(seen, status, verdict, error);
}

static void free_in_callback(char **argv, dicast_request *request) {
    struct seen seen;
    dicast_error *error = NULL;
    dicast_judge *judge = open_judge(argv, "");
    int i;
    start(&seen, NULL, request);
    seen.to_free = judge;
    for (i = 0; i < 5; i++) {
        OK(error, dicast_judge_submit(judge, request, free_judge, &seen, NULL, &error));
    }
    pthread_mutex_lock(&seen.lock);
    seen.ready = 1;
    pthread_cond_broadcast(&seen.changed);
    pthread_mutex_unlock(&seen.lock);
    wait_for(&seen, 5);
    CHECK(seen.calls == 5 && seen.verdicts >= 1 && seen.verdicts + seen.closed == 5);
}

static void *judge_until_closed(void *data) {
    struct seen *seen = data;
    for (;;) {
        dicast_error *error = NULL;
        dicast_verdict *verdict = NULL;
        int32_t status = dicast_judge_judge(seen->judge, seen->request, &verdict, &error);
        note(seen, status, verdict, error);
        if (status != DICAST_OK) {
            return NULL;
        }
    }
}

/* Closes a judge that other threads still use. */
static void close_in_use(char **argv, dicast_request *request) {
    struct seen seen;
    pthread_t threads[4];
    dicast_error *error = NULL;
    dicast_verdict *verdict = NULL;
    dicast_judge *judge = open_judge(argv, ", \"limits\": {\"max_queue\": 8}");
    int i;
    start(&seen, judge, request);
    for (i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, judge_until_closed, &seen) == 0);
    }
    wait_for(&seen, 2);
    OK(error, dicast_judge_close(judge, &error));
    for (i = 0; i < 4; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(seen.closed == 4 && seen.other == 0);
    OK(error, dicast_judge_close(judge, &error));
    FAILS(DICAST_CLOSED, error, dicast_judge_judge(judge, request, &verdict, &error));
    FAILS(DICAST_CLOSED, error, dicast_judge_submit(judge, request, count, &seen, NULL, &error));
    FAILS(DICAST_CLOSED, error, dicast_judge_wait_for_room(judge, DICAST_FOREVER, &error));
    CHECK(is(dicast_judge_engine(judge), "local"));
    dicast_judge_free(judge);
}

static void *judge_once(void *data) {
    struct seen *seen = data;
    dicast_error *error = NULL;
    dicast_verdict *verdict = NULL;
    int32_t status = dicast_judge_judge(seen->judge, seen->request, &verdict, &error);
    note(seen, status, verdict, error);
    return NULL;
}

static void *reward_once(void *data) {
    struct seen *seen = data;
    dicast_str texts[2];
    double rewards[2];
    int32_t statuses[2], status;
    dicast_error *error = NULL;
    texts[0] = S(SHORT_TEXT);
    texts[1] = S(MIDDLE_TEXT);
    status = dicast_judge_rewards(seen->judge, S(SHORTER), S("How?"), texts, 2, NULL, rewards, statuses, &error);
    CHECK(status == DICAST_OK && error == NULL && statuses[0] == DICAST_OK && statuses[1] == DICAST_OK);
    CHECK(!isnan(rewards[0]) && !isnan(rewards[1]));
    return NULL;
}

/* More blocking calls than the queue has places: they wait for room, and none is refused. */
static void wait_for_a_place(char **argv, dicast_request *request) {
    struct seen seen;
    pthread_t threads[16];
    dicast_judge *judge = open_judge(argv, ", \"limits\": {\"max_queue\": 2}");
    int i;
    start(&seen, judge, request);
    for (i = 0; i < 16; i++) {
        CHECK(pthread_create(&threads[i], NULL, i % 2 == 0 ? judge_once : reward_once, &seen) == 0);
    }
    for (i = 0; i < 16; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(seen.verdicts == 8 && seen.calls == 8);
    dicast_judge_free(judge);
}

static void overload(char **argv, dicast_request *request) {
    dicast_judge *judge = open_judge(argv, ", \"limits\": {\"max_queue\": 1}");
    dicast_ticket *held = NULL;
    dicast_verdict *verdict = NULL;
    dicast_request *hurried = make_request(SHORTER);
    dicast_error *error = NULL;
    dicast_stats stats = {0};
    OK(error, dicast_judge_submit(judge, request, NULL, NULL, &held, &error));
    CHECK(dicast_judge_wait_for_room(judge, 0, &error) == DICAST_PENDING);
    CHECK(dicast_judge_submit(judge, request, NULL, NULL, &held, &error) == DICAST_OVERLOADED);
    CHECK(dicast_error_is_retryable(error) && dicast_status_is_retryable(DICAST_OVERLOADED));
    dicast_error_free(error);
    stats.struct_size = sizeof stats;
    OK(error, dicast_judge_stats(judge, &stats, &error));
    CHECK(stats.pending == 1);
    /* The wait for room counts towards the deadline. */
    OK(error, dicast_request_set_options(hurried, S("{\"timeout_ms\": 5}"), &error));
    FAILS(DICAST_TIMEOUT, error, dicast_judge_judge(judge, hurried, &verdict, &error));
    dicast_request_free(hurried);
    dicast_ticket_free(held);
    OK(error, dicast_judge_wait_for_room(judge, DICAST_FOREVER, &error));
    dicast_judge_free(judge);
}

int main(int argc, char **argv) {
    dicast_request *request = make_request(SHORTER);
    dicast_judge *judge;
    begin(argc);
    judge = open_judge(argv, "");
    tickets(judge, request);
    callbacks(judge, request);
    reentry(judge, request);
    ticket_of_a_fast_callback(judge);
    dicast_judge_free(judge);
    free_in_flight(argv, request);
    free_in_callback(argv, request);
    close_in_use(argv, request);
    wait_for_a_place(argv, request);
    overload(argv, request);
    dicast_request_free(request);
    return 0;
}
