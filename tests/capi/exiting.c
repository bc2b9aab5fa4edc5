/* The process ends while a judge works: each way ends it in good order. DICAST_EXITS says how often, 5 times each by
 * default. */
#include "check.h"

#include <sys/wait.h>
#include <time.h>

static dicast_judge *the_judge;
static char **arguments;

static void nothing(void *user_data, int32_t status, dicast_verdict *verdict, dicast_error *error) {
    UNUSED(user_data), UNUSED(status);
    dicast_verdict_free(verdict);
    dicast_error_free(error);
}

static void ends(void *user_data, int32_t status, dicast_verdict *verdict, dicast_error *error) {
    nothing(user_data, status, verdict, error);
    exit(0);
}

static void pause_for(long microseconds) {
    struct timespec pause = {0, 0};
    pause.tv_nsec = microseconds * 1000;
    nanosleep(&pause, NULL);
}

static void submit(int count, dicast_callback callback) {
    dicast_request *request = make_request(SHORTER);
    dicast_error *error = NULL;
    int i;
    for (i = 0; i < count; i++) OK(error, dicast_judge_submit(the_judge, request, callback, NULL, NULL, &error));
    dicast_request_free(request);
}

/* In a child: the judge is open and works. */
static void in_flight(long microseconds) {
    the_judge = open_judge(arguments, "");
    submit(12, nothing);
    pause_for(microseconds);
    exit(0);
}

static void in_a_callback(long microseconds) {
    UNUSED(microseconds);
    the_judge = open_judge(arguments, "");
    submit(12, ends);
    for (;;) pause();
}

static void free_the_judge(void) { dicast_judge_free(the_judge); }

/* A handler of the program that runs after the library's own, as the destructor of a global object does. */
static void freed_late(long microseconds) {
    CHECK(atexit(free_the_judge) == 0);
    in_flight(microseconds);
}

static void *opens(void *unused) {
    UNUSED(unused);
    for (;;) {
        dicast_judge *judge = NULL;
        dicast_error *error = NULL;
        char config[4096];
        snprintf(config, sizeof config, "{\"model\": \"%s\"}", arguments[1]);
        if (dicast_judge_open(S(config), NULL, &judge, &error) != DICAST_OK) {
            /* The process is ending. */
            dicast_error_free(error);
            for (;;) pause();
        }
        dicast_judge_free(judge);
    }
    return NULL;
}

static void while_opening(long microseconds) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, opens, NULL) == 0);
    pause_for(microseconds * 10);
    exit(0);
}

/* A child is forked while another thread opens judges: it can open one of its own. */
static void forks_while_opening(long microseconds) {
    pthread_t thread;
    pid_t child;
    int status = 0;
    CHECK(pthread_create(&thread, NULL, opens, NULL) == 0);
    pause_for(microseconds * 3);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(60);
        the_judge = open_judge(arguments, "");
        submit(1, ends);
        for (;;) pause();
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    exit(0);
}

int main(int argc, char **argv) {
    static void (*const ways[])(long) = {in_flight, in_a_callback, freed_late, while_opening, forks_while_opening};
    static const char *const names[] = {"in flight", "in a callback", "freed late", "while opening",
                                        "fork while opening"};
    const char *wanted = getenv("DICAST_EXITS");
    int rounds = wanted ? atoi(wanted) : 5, round, failed = 0;
    size_t way;
    begin(argc);
    arguments = argv;
    for (way = 0; way < sizeof ways / sizeof *ways; way++) {
        for (round = 0; round < rounds; round++) {
            int status = 0;
            pid_t child = fork();
            CHECK(child >= 0);
            if (child == 0) {
                alarm(120);
                ways[way](1000L * (round % 40));
            }
            CHECK(waitpid(child, &status, 0) == child);
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                fprintf(stderr, "%s, round %d: status %#x\n", names[way], round, (unsigned)status);
                failed++;
            }
        }
        alarm(900);
    }
    CHECK(failed == 0);
    return 0;
}
