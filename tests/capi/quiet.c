/* What belongs to the program is left alone: signals, locale, rounding, directory, descriptors. That nothing is printed
   is for whoever runs this to see. */
#include "check.h"

#include <fenv.h>
#include <locale.h>
#include <signal.h>
#include <sys/stat.h>

#define SIGNALS 65

struct state {
    struct sigaction actions[SIGNALS];
    sigset_t mask;
    char locale[256], directory[4096];
    int rounding;
    mode_t umask_bits;
};

static void own_handler(int signal) { UNUSED(signal); }

static void keep(struct state *state) {
    int signal;
    memset(state, 0, sizeof *state);
    for (signal = 1; signal < SIGNALS; signal++) {
        (void)sigaction(signal, NULL, &state->actions[signal]);
    }
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &state->mask) == 0);
    snprintf(state->locale, sizeof state->locale, "%s", setlocale(LC_ALL, NULL));
    CHECK(getcwd(state->directory, sizeof state->directory) != NULL);
    state->rounding = fegetround();
    state->umask_bits = umask(0);
    umask(state->umask_bits);
}

static void check_same(const struct state *before) {
    struct state now;
    int signal;
    keep(&now);
    for (signal = 1; signal < SIGNALS; signal++) {
        CHECK(now.actions[signal].sa_handler == before->actions[signal].sa_handler);
        CHECK(now.actions[signal].sa_flags == before->actions[signal].sa_flags);
        CHECK(sigismember(&now.mask, signal) == sigismember(&before->mask, signal));
    }
    CHECK(strcmp(now.locale, before->locale) == 0 && strcmp(now.directory, before->directory) == 0);
    CHECK(now.rounding == before->rounding && now.umask_bits == before->umask_bits);
}

int main(int argc, char **argv) {
    struct state before;
    dicast_error *error = NULL;
    dicast_verdict *verdict = NULL;
    dicast_judge *judge = NULL;
    dicast_request *request;
    begin(argc);
    setlocale(LC_ALL, "C.UTF-8");
    signal(SIGINT, own_handler);
    signal(SIGTERM, own_handler);
    signal(SIGSEGV, own_handler);
    signal(SIGPIPE, SIG_DFL);
    keep(&before);
    request = make_request(SHORTER);
    judge = open_judge(argv, "");
    check_same(&before);
    OK(error, dicast_judge_judge(judge, request, &verdict, &error));
    check_same(&before);
    dicast_verdict_free(verdict);
    dicast_judge_free(judge);
    FAILS(DICAST_MODEL_NOT_FOUND, error, dicast_judge_open(S("{\"model\": \"nowhere.gguf\"}"), NULL, &judge, &error));
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_judge_judge(NULL, request, &verdict, &error));
    dicast_request_free(request);
    check_same(&before);
    return 0;
}
