/* A judge gives its memory back and takes it again, and gets other weights. Argument 2: "process" for a worker process.
 */
#include "check.h"

/* Resident memory of this process, file mappings included, in KiB. */
static long resident(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = 0, held = 0;
    CHECK(file && fscanf(file, "%ld %ld", &pages, &held) == 2);
    fclose(file);
    return held * (sysconf(_SC_PAGESIZE) / 1024);
}

static double first_score(const dicast_judge *judge, const dicast_request *request, uint64_t weights) {
    dicast_error *error = NULL;
    dicast_verdict *verdict = NULL;
    double score;
    OK(error, dicast_judge_judge(judge, request, &verdict, &error));
    CHECK(dicast_verdict_weights(verdict) == weights);
    score = dicast_verdict_expected(verdict, 0);
    dicast_verdict_free(verdict);
    return score;
}

static void copy_file(const char *from, const char *to) {
    char buffer[65536];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    size_t got;
    CHECK(in && out);
    while ((got = fread(buffer, 1, sizeof buffer, in)) > 0) {
        CHECK(fwrite(buffer, 1, got, out) == got);
    }
    fclose(in);
    CHECK(fclose(out) == 0);
}

int main(int argc, char **argv) {
    dicast_error *error = NULL;
    dicast_judge *judge = NULL;
    dicast_request *request = make_request(SHORTER);
    dicast_ticket *ticket = NULL;
    dicast_verdict *verdict = NULL;
    dicast_sleep_options options = {0};
    dicast_stats before = {0}, after = {0};
    char config[4096], path[256], other[256];
    long held, given;
    double score;
    begin(argc);
    /* A copy that the program may change. */
    snprintf(path, sizeof path, "/tmp/dicast-sleeping-%ld.gguf", (long)getpid());
    snprintf(other, sizeof other, "/tmp/dicast-sleeping-%ld-other.gguf", (long)getpid());
    copy_file(argv[1], path);
    /* Weights in the memory of the process, and a cache that is large enough to be measured. */
    snprintf(config, sizeof config,
             "{\"model\": \"%s\", \"local\": {\"threads\": 2, \"mmap\": false, \"kv_cache_tokens\": 32768}, "
             "\"options\": {\"max_reasoning_tokens\": 64}}",
             path);
    OK(error, dicast_judge_open(S(config), NULL, &judge, &error));
    score = first_score(judge, request, 0);
    before.struct_size = after.struct_size = sizeof before;
    OK(error, dicast_judge_stats(judge, &before, &error));

    held = resident();
    OK(error, dicast_judge_sleep(judge, NULL, &error));
    given = held - resident();
    CHECK(dicast_judge_is_asleep(judge) && dicast_judge_weights(judge) == 0);
    /* The demonstration judge has 4 MiB of weights; the rest is the cache and the memory for computing. */
#ifndef __SANITIZE_ADDRESS__ /* It keeps freed memory for a while. */
    if (given < 12 * 1024) {
        fprintf(stderr, "sleeping gave back %ld KiB of %ld\n", given, held);
        return 1;
    }
#endif
    /* Requests that arrive meanwhile wait, and the counters stay. */
    OK(error, dicast_judge_submit(judge, request, NULL, NULL, &ticket, &error));
    CHECK(dicast_ticket_wait(ticket, 30, &verdict, &error) == DICAST_PENDING);
    OK(error, dicast_judge_stats(judge, &after, &error));
    CHECK(after.computed_tokens == before.computed_tokens && after.pending == 1);
    OK(error, dicast_judge_wake(judge, &error));
    OK(error, dicast_ticket_wait(ticket, DICAST_FOREVER, &verdict, &error));
    CHECK(dicast_verdict_expected(verdict, 0) == score);
    dicast_verdict_free(verdict);
    dicast_ticket_free(ticket);
    OK(error, dicast_judge_stats(judge, &after, &error));
    CHECK(after.computed_tokens > before.computed_tokens);

    options.struct_size = sizeof options;
    options.arriving = DICAST_ARRIVING_FAIL;
    options.patience_ms = 60000;
    OK(error, dicast_judge_sleep(judge, &options, &error));
    FAILS(DICAST_ASLEEP, error, dicast_judge_judge(judge, request, &verdict, &error));
    FAILS(DICAST_ASLEEP, error, dicast_judge_submit(judge, request, NULL, NULL, &ticket, &error));
    /* Waking does not load a file that was replaced meanwhile; reloading does. */
    copy_file(argv[1], other);
    {
        FILE *file = fopen(path, "r+b");
        CHECK(file && fseek(file, -4, SEEK_END) == 0 && fputs("\x01\x02", file) >= 0 && fclose(file) == 0);
    }
    FAILS(DICAST_INVALID_MODEL, error, dicast_judge_wake(judge, &error));
    CHECK(dicast_judge_is_asleep(judge));
    OK(error, dicast_judge_reload(judge, S(""), NULL, &error));
    CHECK(!dicast_judge_is_asleep(judge));
    first_score(judge, request, 1);
    OK(error, dicast_judge_reload(judge, S(other), NULL, &error));
    CHECK(first_score(judge, request, 2) == score && dicast_judge_weights(judge) == 2);

    /* A file that is no model changes nothing. */
    FAILS(DICAST_MODEL_NOT_FOUND, error, dicast_judge_reload(judge, S("/no/such.gguf"), NULL, &error));
    FAILS(DICAST_UNSUPPORTED, error, dicast_judge_reload(judge, S("http://127.0.0.1:1"), NULL, &error));
    CHECK(first_score(judge, request, 2) == score);
    options.arriving = 2;
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_judge_sleep(judge, &options, &error));
    options.arriving = 0;
    options.cancel_running = 2;
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_judge_sleep(judge, &options, &error));

    /* A sleeping judge is closed and freed like any other. */
    OK(error, dicast_judge_sleep(judge, NULL, &error));
    OK(error, dicast_judge_submit(judge, request, NULL, NULL, &ticket, &error));
    dicast_judge_close(judge, NULL);
    FAILS(DICAST_CLOSED, error, dicast_ticket_wait(ticket, DICAST_FOREVER, &verdict, &error));
    FAILS(DICAST_CLOSED, error, dicast_judge_wake(judge, &error));
    dicast_ticket_free(ticket);
    dicast_judge_free(judge);
    dicast_request_free(request);
    remove(path);
    remove(other);
    return 0;
}
