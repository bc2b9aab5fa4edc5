/* Outcomes as events, the reasoning while it is written, priorities and deadlines, on an engine of the program's own.
 */
#include "holding.h"

#include <poll.h>

static void finish(dicast_job *job) {
    dicast_error *error = NULL;
    OK(error, dicast_job_reason(job, S("It is "), &error));
    OK(error, dicast_job_reason(job, S("short."), &error));
    OK(error, dicast_job_answer(job,
                                S("{\"scores\": {\"model-1\": 5, \"model-2\": 3, \"model-3\": 1}, \"best-to-worst\": "
                                  "[\"model-1\", \"model-2\", \"model-3\"]}"),
                                &error));
    dicast_job_finish(job, 0);
}

static int readable(const dicast_events *events) {
    struct pollfd look;
    look.fd = dicast_events_fd(events);
    look.events = POLLIN;
    look.revents = 0;
    CHECK(look.fd >= 0 && poll(&look, 1, 0) >= 0);
    return (look.revents & POLLIN) != 0;
}

struct heard {
    char text[256];
    int outcomes;
};

static void hear(void *user_data, dicast_str piece) {
    struct heard *heard = user_data;
    CHECK(heard->outcomes == 0 && strlen(heard->text) + piece.len < sizeof heard->text);
    strncat(heard->text, piece.data, piece.len);
}

static void ended(void *user_data, int32_t status, dicast_verdict *verdict, dicast_error *error) {
    struct heard *heard = user_data;
    CHECK(status == DICAST_OK);
    heard->outcomes++;
    dicast_verdict_free(verdict);
    dicast_error_free(error);
}

int main(int argc, char **argv) {
    struct engine engine = {PTHREAD_MUTEX_INITIALIZER, {0}, 0};
    struct heard heard = {{0}, 0};
    dicast_error *error = NULL;
    dicast_judge *judge = NULL;
    dicast_events *events = NULL;
    dicast_event event = {0};
    dicast_submit_options options = {0};
    dicast_request *request = make_request(SHORTER);
    dicast_ticket *ticket = NULL;
    dicast_plan plan = {0};
    size_t i;
    begin(argc);
    UNUSED(argv);
    judge = open_on(&engine, "{\"model\": \"toy\", \"options\": {\"mask\": \"given\"}}");
    OK(error, dicast_events_new(3, &events, &error));
    CHECK(!readable(events));
    event.struct_size = sizeof event;
    options.struct_size = sizeof options;
    options.events = events;

    /* No more than there is room for. */
    for (i = 0; i < 3; i++) {
        options.tag = 100 + i;
        options.id = S("batch");
        options.priority = i == 2 ? DICAST_PRIORITY_HIGH : DICAST_PRIORITY_LOW;
        OK(error, dicast_judge_submit_with(judge, request, &options, NULL, &error));
    }
    FAILS(DICAST_OVERLOADED, error, dicast_judge_submit_with(judge, request, &options, NULL, &error));
    plan.struct_size = sizeof plan;
    OK(error, dicast_job_plan(engine.jobs[2], &plan, &error));
    CHECK(plan.priority == DICAST_PRIORITY_HIGH && plan.heard == 0);
    CHECK(dicast_events_next(events, 0, &event, &error) == DICAST_PENDING && !readable(events));
    finish(engine.jobs[1]);
    OK(error, dicast_events_next(events, 60000, &event, &error));
    CHECK(event.tag == 101 && event.status == DICAST_OK && event.error == NULL && !readable(events));
    CHECK(dicast_verdict_score(event.verdict, 0) == 5);
    dicast_verdict_free(event.verdict);
    dicast_job_fail(engine.jobs[0], DICAST_ENGINE, S("it broke"));
    finish(engine.jobs[2]);
    OK(error, dicast_events_next(events, 60000, &event, &error));
    CHECK(event.tag == 100 && event.status == DICAST_ENGINE && event.verdict == NULL);
    CHECK(is(dicast_error_message(event.error), "it broke"));
    dicast_error_free(event.error);
    for (i = 0; !readable(events); i++) {
        CHECK(i < 60000);
        poll(NULL, 0, 1);
    }
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_events_next(events, 0, NULL, &error));
    CHECK(readable(events));
    OK(error, dicast_events_next(events, 0, &event, &error));
    CHECK(event.tag == 102);

    /* An outcome that is given back is the next one again. */
    OK(error, dicast_events_return(events, &event, &error));
    CHECK(event.verdict == NULL && event.error == NULL && event.tag == 102 && readable(events));
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_events_return(events, &event, &error));
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_events_return(events, NULL, &error));
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_events_return(NULL, &event, &error));
    OK(error, dicast_events_next(events, 0, &event, &error));
    CHECK(event.tag == 102 && event.status == DICAST_OK && dicast_verdict_score(event.verdict, 0) == 5);
    dicast_verdict_free(event.verdict);
    CHECK(!readable(events));

    /* With a ticket: it cancels, and tells when the event is there. A refused submission keeps no place. */
    engine.count = 0;
    for (i = 0; i < 5; i++) {
        dicast_request *empty = NULL;
        OK(error, dicast_request_new(S("p"), S("q"), &empty, &error));
        FAILS(DICAST_INVALID_REQUEST, error, dicast_judge_submit_with(judge, empty, &options, NULL, &error));
        dicast_request_free(empty);
    }
    OK(error, dicast_judge_submit_with(judge, request, &options, &ticket, &error));
    OK(error, dicast_ticket_cancel(ticket, &error));
    FAILS(DICAST_CANCELLED, error, dicast_ticket_wait(ticket, DICAST_FOREVER, NULL, &error));
    OK(error, dicast_events_next(events, 0, &event, &error));
    CHECK(event.status == DICAST_CANCELLED);
    OK(error, dicast_events_return(events, &event, &error));
    OK(error, dicast_events_next(events, 0, &event, &error));
    CHECK(event.status == DICAST_CANCELLED && event.verdict == NULL && !readable(events));
    dicast_error_free(event.error);
    dicast_ticket_free(ticket);
    dicast_job_finish(engine.jobs[0], 0);

    /* A deadline for the submission, though the options allow minutes. */
    options.deadline_ms = 20;
    OK(error, dicast_judge_submit_with(judge, request, &options, NULL, &error));
    OK(error, dicast_events_next(events, 60000, &event, &error));
    CHECK(event.status == DICAST_TIMEOUT);
    dicast_error_free(event.error);
    dicast_job_finish(engine.jobs[1], 0);
    options.deadline_ms = 0;

    /* The reasoning comes before the outcome, whole and in order. */
    engine.count = 0;
    options.events = NULL;
    options.on_reasoning = hear;
    options.reasoning_user_data = &heard;
    options.callback = ended;
    options.user_data = &heard;
    OK(error, dicast_judge_submit_with(judge, request, &options, &ticket, &error));
    OK(error, dicast_job_plan(engine.jobs[0], &plan, &error));
    CHECK(plan.heard == 1);
    finish(engine.jobs[0]);
    OK(error, dicast_ticket_wait(ticket, DICAST_FOREVER, NULL, &error));
    CHECK(heard.outcomes == 1 && strcmp(heard.text, "It is short.") == 0);
    dicast_ticket_free(ticket);

    /* Misuse is refused. */
    options.events = events;
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_judge_submit_with(judge, request, &options, NULL, &error));
    options.callback = NULL;
    options.events = NULL;
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_judge_submit_with(judge, request, &options, NULL, &error));
    options.priority = 2;
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_judge_submit_with(judge, request, &options, &ticket, &error));
    options.priority = 0;

    /* The list may be freed before the judgment ends, and the judge before the list is read. */
    engine.count = 0;
    options.on_reasoning = NULL;
    options.events = events;
    OK(error, dicast_judge_submit_with(judge, request, &options, NULL, &error));
    dicast_judge_free(judge);
    OK(error, dicast_events_next(events, 0, &event, &error));
    CHECK(event.status == DICAST_CLOSED);
    dicast_error_free(event.error);
    dicast_job_finish(engine.jobs[0], 0);
    engine.count = 0;
    judge = open_on(&engine, "{\"model\": \"toy\"}");
    OK(error, dicast_judge_submit_with(judge, request, &options, NULL, &error));
    dicast_events_free(events);
    finish(engine.jobs[0]);
    dicast_judge_free(judge);
    dicast_request_free(request);
    return 0;
}
