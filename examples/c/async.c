/* Submits many requests, takes their verdicts in a callback, and gets the rewards of a group: async MODEL.gguf */
#include <dicast.h>
#include <math.h>
#include <stdio.h>

#define REQUESTS 16

struct tally {
    size_t preferred, failed;
};

/* Called by the judge's thread, one verdict at a time, so that the tally needs no lock. It is read when the judge has
   been freed: then every callback has returned. */
static void done(void *user_data, int32_t status, dicast_verdict *verdict, dicast_error *error) {
    struct tally *tally = user_data;
    if (status == DICAST_OK) {
        tally->preferred += dicast_verdict_rank_of(verdict, dicast_str_cstr("short")) == 0;
    } else {
        if (status != DICAST_CANCELLED) {
            fprintf(stderr, "a judgment failed: %s\n", dicast_error_message(error).data);
        }
        tally->failed++;
    }
    dicast_verdict_free(verdict);
    dicast_error_free(error);
}

static int failed(const char *what, dicast_error *error) {
    fprintf(stderr, "%s: %s: %s\n", what, dicast_error_name(error).data, dicast_error_message(error).data);
    dicast_error_free(error);
    return 1;
}

int main(int argc, char **argv) {
    const dicast_str principle = dicast_str_cstr("I prefer short and concise responses over long and detailed ones.");
    const dicast_str prompt = dicast_str_cstr("How do I learn Python programming?");
    struct tally tally = {0, 0};
    dicast_error *error = NULL;
    dicast_judge *judge = NULL;
    dicast_ticket *tickets[REQUESTS];
    dicast_str texts[2];
    double rewards[2];
    int32_t statuses[2];
    char config[4096];
    size_t i;
    if (argc != 2 || snprintf(config, sizeof config, "{\"model\": \"%s\"}", argv[1]) >= (int)sizeof config) {
        fprintf(stderr, "usage: async MODEL.gguf\n");
        return 2;
    }
    if (dicast_judge_open(dicast_str_cstr(config), NULL, &judge, &error) != DICAST_OK) {
        return failed("open", error);
    }
    texts[0] = dicast_str_cstr("Build small projects.");
    texts[1] = dicast_str_cstr(
        "There are many ways to learn it, and before you choose one you should think about what "
        "you want to do with it later, and how much time you have.");

    for (i = 0; i < REQUESTS; i++) {
        dicast_request *request = NULL;
        int32_t status;
        if (dicast_request_new(principle, prompt, &request, &error) != DICAST_OK ||
            dicast_request_add(request, dicast_str_cstr("short"), texts[0], &error) != DICAST_OK ||
            dicast_request_add(request, dicast_str_cstr("long"), texts[1], &error) != DICAST_OK) {
            return failed("request", error);
        }
        status = dicast_judge_submit(judge, request, done, &tally, &tickets[i], &error);
        dicast_request_free(request); /* it was copied */
        if (status != DICAST_OK) {
            return failed("submit", error);
        }
    }
    dicast_ticket_cancel(tickets[REQUESTS - 1], NULL);
    for (i = 0; i < REQUESTS; i++) {
        /* Waits for the callback to have returned; what went wrong was said there. */
        dicast_ticket_wait(tickets[i], DICAST_FOREVER, NULL, NULL);
        dicast_ticket_free(tickets[i]);
    }

    /* A trainer's step: texts in, rewards out. */
    if (dicast_judge_rewards(judge, principle, prompt, texts, 2, NULL, rewards, statuses, &error) != DICAST_OK) {
        return failed("rewards", error);
    }
    dicast_judge_free(judge);
    printf("%zu of %d preferred the short answer, %zu failed or were cancelled\n", tally.preferred, REQUESTS,
           tally.failed);
    for (i = 0; i < 2; i++) {
        if (statuses[i] == DICAST_OK && !isnan(rewards[i])) {
            printf("reward %zu: %.2f\n", i, rewards[i]);
        }
    }
    return 0;
}
