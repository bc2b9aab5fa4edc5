/* One thread that polls: judgments end as events of a descriptor, beside whatever else a program waits for: events
   MODEL.gguf */
#include <dicast.h>
#include <poll.h>
#include <stdio.h>

#define REQUESTS 16

static int failed(const char *what, dicast_error *error) {
    fprintf(stderr, "%s: %s: %s\n", what, dicast_error_name(error).data, dicast_error_message(error).data);
    dicast_error_free(error);
    return 1;
}

/* Called while the judge reasons. */
static void hear(void *user_data, dicast_str piece) { *(size_t *)user_data += piece.len; }

int main(int argc, char **argv) {
    dicast_error *error = NULL;
    dicast_judge *judge = NULL;
    dicast_events *events = NULL;
    dicast_submit_options options = {0};
    struct pollfd look = {0};
    size_t heard = 0, preferred = 0, lost = 0, ended = 0, i;
    char config[4096];
    if (argc != 2 || snprintf(config, sizeof config, "{\"model\": \"%s\"}", argv[1]) >= (int)sizeof config) {
        fprintf(stderr, "usage: events MODEL.gguf\n");
        return 2;
    }
    if (dicast_judge_open(dicast_str_cstr(config), NULL, &judge, &error) != DICAST_OK ||
        dicast_events_new(REQUESTS, &events, &error) != DICAST_OK) {
        return failed("open", error);
    }
    options.struct_size = sizeof options;
    options.events = events;
    options.on_reasoning = hear;
    options.reasoning_user_data = &heard;
    for (i = 0; i < REQUESTS; i++) {
        dicast_request *request = NULL;
        int32_t status =
            dicast_request_new(dicast_str_cstr("I prefer short and concise responses over long and detailed ones."),
                               dicast_str_cstr("How do I learn Python programming?"), &request, &error);
        if (status == DICAST_OK) {
            status =
                dicast_request_add(request, dicast_str_cstr("short"), dicast_str_cstr("Build small projects."), &error);
        }
        if (status == DICAST_OK) {
            status =
                dicast_request_add(request, dicast_str_cstr("long"),
                                   dicast_str_cstr("There are many ways to learn it, and before you choose one you "
                                                   "should think about what you want to do with it later."),
                                   &error);
        }
        /* The last one is urgent: somebody waits for it. */
        options.tag = i;
        options.priority = i + 1 == REQUESTS ? DICAST_PRIORITY_HIGH : DICAST_PRIORITY_LOW;
        if (status == DICAST_OK) {
            status = dicast_judge_submit_with(judge, request, &options, NULL, &error);
        }
        dicast_request_free(request);
        if (status != DICAST_OK) {
            return failed("submit", error);
        }
    }
    look.fd = dicast_events_fd(events);
    look.events = POLLIN;
    while (ended < REQUESTS) {
        dicast_event event = {0};
        event.struct_size = sizeof event;
        if (poll(&look, 1, -1) < 0) {
            perror("poll");
            return 1;
        }
        while (dicast_events_next(events, 0, &event, NULL) == DICAST_OK) {
            ended++;
            if (event.status == DICAST_OK) {
                preferred += dicast_verdict_rank_of(event.verdict, dicast_str_cstr("short")) == 0;
            } else {
                fprintf(stderr, "judgment %d: %s\n", (int)event.tag, dicast_error_message(event.error).data);
                lost++;
            }
            dicast_verdict_free(event.verdict);
            dicast_error_free(event.error);
        }
    }
    dicast_judge_free(judge);
    dicast_events_free(events);
    printf("%d of %d preferred the short answer, %d failed; %d bytes of reasoning\n", (int)preferred, REQUESTS,
           (int)lost, (int)heard);
    return 0;
}
