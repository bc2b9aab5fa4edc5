/* Threads of the program with small stacks may call everything: the stack that each call uses is measured.
 */
#define _GNU_SOURCE
#include "check.h"

#include <sys/mman.h>

/* The promise of docs/threads.md: enough for every call. */
#define ENOUGH (64u << 10)
#define ROOM (4u << 20)
#define PAINT 0xa5

static dicast_judge *judge;
static char **arguments;

static void open_and_free(void) { dicast_judge_free(open_judge(arguments, "")); }

static void open_what_is_not_there(void) {
    dicast_judge *opened = NULL;
    dicast_error *error = NULL;
    FAILS(DICAST_MODEL_NOT_FOUND, error, dicast_judge_open(S("{\"model\": \"/no/such.gguf\"}"), NULL, &opened, &error));
}

static void memory_need(void) {
    dicast_memory memory = {0};
    dicast_error *error = NULL;
    char config[4096];
    memory.struct_size = sizeof memory;
    snprintf(config, sizeof config, "{\"model\": \"%s\"}", arguments[1]);
    OK(error, dicast_memory_need(S(config), &memory, &error));
}

static void judge_one(void) {
    dicast_request *request = make_request(SHORTER);
    dicast_verdict *verdict = NULL;
    dicast_error *error = NULL;
    OK(error, dicast_judge_judge(judge, request, &verdict, &error));
    CHECK(dicast_verdict_json(verdict).len > 0);
    dicast_verdict_free(verdict);
    dicast_request_free(request);
}

static void submit_one(void) {
    dicast_request *request = make_request(SHORTER);
    dicast_ticket *ticket = NULL;
    dicast_verdict *verdict = NULL;
    dicast_error *error = NULL;
    OK(error, dicast_judge_submit(judge, request, NULL, NULL, &ticket, &error));
    OK(error, dicast_ticket_wait(ticket, 60000, &verdict, &error));
    dicast_verdict_free(verdict);
    dicast_ticket_free(ticket);
    dicast_request_free(request);
}

static void rewards(void) {
    dicast_str responses[2];
    double values[2];
    int32_t statuses[2];
    dicast_error *error = NULL;
    responses[0] = S(SHORT_TEXT);
    responses[1] = S(LONG_TEXT);
    OK(error, dicast_judge_rewards(judge, S(SHORTER), S("How?"), responses, 2, NULL, values, statuses, &error));
}

/* Text with the deepest nesting that anybody can make. */
static char *nested(const char *before, const char *opening, const char *after, size_t times) {
    size_t length = strlen(opening);
    char *text = malloc(strlen(before) + times * length + strlen(after) + 1), *at = text;
    CHECK(text != NULL);
    at += sprintf(at, "%s", before);
    while (times-- > 0) {
        memcpy(at, opening, length);
        at += length;
    }
    strcpy(at, after);
    return text;
}

static void requests_in_json(void) {
    char *deep = nested("{\"principle\": ", "{\"a\": [", "", 50000);
    dicast_request *request = NULL;
    dicast_error *error = NULL;
    const char *whole = "{\"principle\": \"p\", \"prompt\": \"q\", \"responses\": {\"a\": \"x\", \"b\": \"y\"}}";
    OK(error, dicast_request_from_json(S(whole), &request, &error));
    dicast_request_free(request);
    request = NULL;
    FAILS(DICAST_INVALID_REQUEST, error, dicast_request_from_json(S(deep), &request, &error));
    free(deep);
}

static void profiles_and_prompts(void) {
    const char *names[] = {"a", "b"};
    dicast_str views[2];
    dicast_profile *profile = NULL, *again = NULL;
    dicast_aliases *aliases = NULL;
    dicast_request *request = make_request(SHORTER);
    dicast_prompt *prompt = NULL;
    dicast_error *error = NULL;
    char *deep = nested("", "{\"a\": [", "", 50000);
    views[0] = S(names[0]);
    views[1] = S(names[1]);
    OK(error, dicast_profile_builtin(&profile, &error));
    OK(error, dicast_profile_from_json(dicast_profile_json(profile), &again, &error));
    dicast_profile_free(again);
    FAILS(DICAST_INVALID_PROFILE, error, dicast_profile_from_json(S(deep), &again, &error));
    OK(error, dicast_aliases_mask(views, 2, S("model-"), DICAST_MASK_SHUFFLE, 7, &aliases, &error));
    OK(error, dicast_prompt_new(profile, request, &prompt, &error));
    dicast_prompt_free(prompt);
    dicast_aliases_free(aliases);
    dicast_request_free(request);
    dicast_profile_free(profile);
    free(deep);
}

static void parse_this(const char *text) {
    dicast_str shown[2], names[2];
    dicast_aliases *aliases = NULL;
    dicast_verdict *verdict = NULL;
    dicast_error *error = NULL;
    shown[0] = S("model-1");
    shown[1] = S("model-2");
    names[0] = S("left");
    names[1] = S("right");
    OK(error, dicast_aliases_of(shown, names, 2, &aliases, &error));
    dicast_parse(S(text), aliases, NULL, S(""), &verdict, &error);
    dicast_verdict_free(verdict);
    dicast_error_free(error);
    dicast_aliases_free(aliases);
}

static void parsing(void) {
    const char *openings[] = {"{\"a\": ",
                              "[",
                              "{\"a\": [{\"scores\": {\"model-1\": ",
                              "<think>",
                              "```",
                              "\"",
                              "| ",
                              "model-1: 4\n",
                              "[{\"type\": \"text\", \"text\": ",
                              "> ",
                              "{'",
                              "\\\""};
    size_t i;
    parse_this("{\"scores\": {\"model-1\": 4, \"model-2\": 2}, \"best-to-worst\": [\"model-1\", \"model-2\"]}");
    parse_this(
        "Sure! ```json\n{'scores': {model 1: 4, 'model 2': 2,}, 'best-to-worst': ['model 1', 'model 2']\n``` Done.");
    parse_this("model-1: 4/5\nmodel-2: **2**/5, since it is long.\n\nRanking: model-1 > model-2");
    parse_this("| response | score |\n|---|---|\n| model-1 | 4 |\n| model-2 | 2 |\n");
    parse_this("\"{\\\"scores\\\": \\\"{\\\\\\\"model-1\\\\\\\": 4, \\\\\\\"model-2\\\\\\\": 2}\\\"}\"");
    for (i = 0; i < sizeof openings / sizeof *openings; i++) {
        char *deep = nested("", openings[i], "", 20000);
        parse_this(deep);
        free(deep);
    }
}

static void *call(void *work) {
    ((void (*)(void))(size_t)work)();
    return NULL;
}

static void on_thread(void (*work)(void), pthread_attr_t *attributes) {
    pthread_t thread;
    CHECK(pthread_create(&thread, attributes, call, (void *)(size_t)work) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* Bytes of stack that a thread has touched when it ends, including those of thread-local values. */
static size_t touched(void (*work)(void)) {
    unsigned char *stack = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_attr_t attributes;
    size_t untouched = 0;
    CHECK(stack != MAP_FAILED);
    memset(stack, PAINT, ROOM);
    CHECK(pthread_attr_init(&attributes) == 0 && pthread_attr_setstack(&attributes, stack, ROOM) == 0);
    on_thread(work, &attributes);
    while (untouched < ROOM && stack[untouched] == PAINT) untouched++;
    pthread_attr_destroy(&attributes);
    munmap(stack, ROOM);
    return ROOM - untouched;
}

static void nothing(void) {}

int main(int argc, char **argv) {
    /* With DICAST_SHOW_STACK the figures are printed. */
    const int show = getenv("DICAST_SHOW_STACK") != NULL;
    struct {
        const char *name;
        void (*work)(void);
    } calls[] = {
        {"nothing", nothing},
        {"memory need", memory_need},
        {"open, free", open_and_free},
        {"open a missing model", open_what_is_not_there},
        {"judge", judge_one},
        {"submit, wait", submit_one},
        {"rewards", rewards},
        {"requests in JSON", requests_in_json},
        {"profiles, prompts", profiles_and_prompts},
        {"parse", parsing},
    };
    size_t i, most = 0;
    pthread_attr_t small;
    begin(argc);
    arguments = argv;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (i = 0; i < sizeof calls / sizeof *calls; i++) {
        size_t bytes;
        if (i == 3) judge = open_judge(argv, "");
        bytes = touched(calls[i].work);
        if (show) printf("%-24s %6zu bytes\n", calls[i].name, bytes);
        if (bytes > most) most = bytes;
    }
    CHECK(most <= ENOUGH);
    CHECK(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, ENOUGH) == 0);
    for (i = 0; i < sizeof calls / sizeof *calls; i++) on_thread(calls[i].work, &small);
    dicast_judge_free(judge);
    return 0;
}
