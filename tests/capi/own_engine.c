/* The program's own engine: messages in, a verdict with log probabilities out; cancels, deadlines, closing. */
#include "check.h"

enum { JOBS = 64 };

/* What the engine does with its jobs. */
enum mode { ANSWER, KEEP, FAIL, FREE_TEXT };

struct engine {
    enum mode mode;
    pthread_mutex_t lock;
    dicast_job *kept[JOBS];
    size_t count, cancelled, closed, slept, woken, reloaded;
    uint64_t last_cancelled;
};

static dicast_str part(const char *text) { return dicast_str_cstr(text); }

/* One answer for three names, in the layout of the built-in profile, token by token. */
static void answer(dicast_job *job, int by_tokens) {
    static const double scores[3] = {5, 3, 1};
    dicast_error *error = NULL;
    dicast_choice choices[2];
    dicast_token token;
    char text[64];
    int i;
    memset(&token, 0, sizeof token);
    token.logprob = NAN;
    token.text = part("\n\n{\n  \"scores\": {");
    OK(error, dicast_job_answer_tokens(job, &token, 1, &error));
    for (i = 0; i < 3; i++) {
        char digit[2] = {(char)('0' + (int)scores[i]), 0},
             other[2] = {(char)('0' + (int)scores[i] - (i < 2 ? 1 : -1)), 0};
        snprintf(text, sizeof text, "%s\"model-%d\": ", i == 0 ? "" : ", ", i + 1);
        token.text = part(text), token.choices = NULL, token.choice_count = 0;
        OK(error, dicast_job_answer_tokens(job, &token, 1, &error));
        if (by_tokens) {
            choices[0].text = part(digit), choices[0].logprob = log(0.75);
            choices[1].text = part(other), choices[1].logprob = log(0.25);
            token.text = part(digit), token.logprob = log(0.75), token.choices = choices, token.choice_count = 2;
            OK(error, dicast_job_answer_tokens(job, &token, 1, &error));
        } else {
            OK(error, dicast_job_answer(job, part(digit), &error));
        }
    }
    OK(error,
       dicast_job_answer(job, part("},\n  \"best-to-worst\": [\"model-1\", \"model-2\", \"model-3\"]\n}"), &error));
}

static void generate(void *user_data, dicast_job *job) {
    struct engine *engine = user_data;
    dicast_error *error = NULL;
    dicast_plan plan = {0};
    dicast_usage usage = {0};
    dicast_str grammar = {0};
    uint32_t last = 2;
    plan.struct_size = sizeof plan;
    OK(error, dicast_job_plan(job, &plan, &error));
    CHECK(plan.id > 0 && plan.time_left_ms > 0 && plan.temperature >= 0 && plan.top_p == 1);
    CHECK(dicast_job_message_count(job) == 2 && is(dicast_job_message_role(job, 1), "user"));
    CHECK(dicast_job_message_role(job, 2).data == NULL && dicast_job_tokens(job, NULL) == NULL);
    CHECK(dicast_job_is_wanted(job));
    pthread_mutex_lock(&engine->lock);
    switch (engine->mode) {
        case FAIL:
            dicast_job_fail(job, DICAST_OVERLOADED, S("the engine is busy"));
            break;
        case KEEP:
            CHECK(engine->count < JOBS);
            engine->kept[engine->count++] = job;
            break;
        case FREE_TEXT:
            OK(error, dicast_job_answer(job, S("<think>no</think>I cannot judge that."), &error));
            dicast_job_finish(job, 0);
            break;
        case ANSWER:
            CHECK(plan.reasons == 1 && plan.guided == 1 && is(plan.close, "</think>"));
            OK(error, dicast_job_grammar(job, S(""), DICAST_NOTATION_GBNF, &grammar, &last, &error));
            CHECK(last == (plan.consistent ? 0u : 1u) && holds(grammar, "root ::=") && holds(grammar, "model-3"));
            OK(error, dicast_job_grammar(job, S(""), DICAST_NOTATION_LARK, &grammar, &last, &error));
            CHECK(holds(grammar, "start:"));
            if (plan.consistent) {
                OK(error,
                   dicast_job_grammar(job, S("\n\n{\n  \"scores\": {\"model-1\": 5, \"model-2\": 3, \"model-3\": 1"),
                                      DICAST_NOTATION_EBNF, &grammar, &last, &error));
                CHECK(last == 1 && holds(grammar, "root ::="));
            }
            FAILS(DICAST_INVALID_VERDICT, error, dicast_job_grammar(job, S("no"), 0, &grammar, &last, &error));
            FAILS(DICAST_INVALID_ARGUMENT, error, dicast_job_grammar(job, S(""), 3, &grammar, &last, &error));
            CHECK(holds(dicast_job_schema(job), "\"model-2\""));
            OK(error, dicast_job_reason(job, S("Shorter is "), &error));
            OK(error, dicast_job_reason(job, S("better."), &error));
            answer(job, 1);
            FAILS(DICAST_INVALID_ARGUMENT, error, dicast_job_reason(job, S("too late"), &error));
            usage.struct_size = sizeof usage;
            usage.prompt_tokens = 70;
            usage.verdict_tokens = 30;
            OK(error, dicast_job_usage(job, &usage, &error));
            dicast_job_finish(job, DICAST_CUT_REASONING);
            break;
    }
    pthread_mutex_unlock(&engine->lock);
}

static void cancel(void *user_data, uint64_t job) {
    struct engine *engine = user_data;
    pthread_mutex_lock(&engine->lock);
    engine->cancelled++;
    engine->last_cancelled = job;
    pthread_mutex_unlock(&engine->lock);
}

static void closed(void *user_data) { ((struct engine *)user_data)->closed++; }

static int32_t go_to_sleep(void *user_data) {
    return ((struct engine *)user_data)->slept++ == 0 ? DICAST_OK : DICAST_IO;
}

static int32_t wake_up(void *user_data) { return ((struct engine *)user_data)->woken++, DICAST_OK; }

static int32_t take_weights(void *user_data, dicast_str model) {
    CHECK(is(model, "step-2"));
    return ((struct engine *)user_data)->reloaded++, DICAST_OK;
}

static dicast_judge *open_engine(struct engine *engine, uint32_t guidance) {
    dicast_error *error = NULL;
    dicast_judge *judge = NULL;
    dicast_engine table;
    memset(&table, 0, sizeof table);
    table.struct_size = sizeof table;
    table.user_data = engine;
    table.guidance = guidance;
    table.distributions = 1;
    table.max_sequences = 4;
    table.generate = generate;
    table.cancel = cancel;
    table.close = closed;
    table.sleep = go_to_sleep;
    table.wake = wake_up;
    table.reload = take_weights;
    OK(error, dicast_judge_open_engine(S("{\"model\": \"toy\", \"options\": {\"mask\": \"given\"}}"), NULL, &table,
                                       NULL, &judge, &error));
    CHECK(is(dicast_judge_engine(judge), "custom"));
    return judge;
}

static void refused(void) {
    dicast_error *error = NULL;
    dicast_judge *judge = NULL;
    dicast_engine table;
    memset(&table, 0, sizeof table);
    table.struct_size = sizeof table;
    FAILS(DICAST_INVALID_ARGUMENT, error,
          dicast_judge_open_engine(S("{\"model\": \"x\"}"), NULL, &table, NULL, &judge, &error));
    table.generate = generate;
    table.guidance = 3;
    FAILS(DICAST_INVALID_ARGUMENT, error,
          dicast_judge_open_engine(S("{\"model\": \"x\"}"), NULL, &table, NULL, &judge, &error));
    table.guidance = 0;
    table.sleep = go_to_sleep;
    FAILS(DICAST_INVALID_ARGUMENT, error,
          dicast_judge_open_engine(S("{\"model\": \"x\"}"), NULL, &table, NULL, &judge, &error));
    table.wake = wake_up;
    FAILS(DICAST_INVALID_CONFIG, error, dicast_judge_open_engine(S("{}"), NULL, &table, NULL, &judge, &error));
    table.tokenizer = S("/no/such/folder");
    FAILS(DICAST_INVALID_MODEL, error,
          dicast_judge_open_engine(S("{\"model\": \"x\"}"), NULL, &table, NULL, &judge, &error));
    CHECK(judge == NULL);
}

/* Tokens that a program already has for a text, with their log probabilities. */
static void parsing(void) {
    static const char *const texts[] = {"<think>{\"scores\": {\"model-1\": 1}}",
                                        "</think>",
                                        "{\"scores\": {\"model-1\": ",
                                        "4",
                                        ", \"model-2\":  ",
                                        "2",
                                        "}, \"best-to-worst\": [\"model-1\", \"model-2\"]}"};
    dicast_error *error = NULL;
    dicast_aliases *aliases = NULL;
    dicast_verdict *verdict = NULL;
    dicast_str names[2], shown[2];
    dicast_choice choices[3];
    dicast_token tokens[7];
    size_t i;
    names[0] = S("a"), names[1] = S("b"), shown[0] = S("model-1"), shown[1] = S("model-2");
    OK(error, dicast_aliases_of(shown, names, 2, &aliases, &error));
    choices[0].text = S("4"), choices[0].logprob = log(0.5);
    choices[1].text = S("5"), choices[1].logprob = log(0.4);
    choices[2].text = S("}"), choices[2].logprob = log(0.1);
    memset(tokens, 0, sizeof tokens);
    for (i = 0; i < 7; i++) {
        tokens[i].text = S(texts[i]);
        tokens[i].logprob = NAN;
    }
    tokens[3].choices = choices, tokens[3].choice_count = 3;
    tokens[5].logprob = log(0.9);
    OK(error, dicast_parse_tokens(tokens, 7, aliases, NULL, S(""), &verdict, &error));
    CHECK(dicast_verdict_score(verdict, 0) == 4 && dicast_verdict_score(verdict, 1) == 2);
    CHECK(fabs(dicast_verdict_expected(verdict, 0) - (0.5 * 4 + 0.4 * 5) / 0.9) < 1e-6);
    CHECK(dicast_verdict_expected(verdict, 1) == 2);
    dicast_verdict_free(verdict);
    /* If a score is not in its place, there is no number at all. */
    tokens[2].text = S("{\"scores\": {\"model-2\": ");
    tokens[4].text = S(", \"model-1\":  ");
    OK(error, dicast_parse_tokens(tokens, 7, aliases, NULL, S(""), &verdict, &error));
    CHECK(dicast_verdict_score(verdict, 0) == 2 && isnan(dicast_verdict_expected(verdict, 0)));
    dicast_verdict_free(verdict);
    verdict = NULL;
    FAILS(DICAST_INVALID_VERDICT, error, dicast_parse_tokens(tokens, 4, aliases, NULL, S(""), &verdict, &error));
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_parse_tokens(NULL, 4, aliases, NULL, S(""), &verdict, &error));
    CHECK(verdict == NULL);
    dicast_aliases_free(aliases);
}

int main(int argc, char **argv) {
    struct engine engine = {ANSWER, PTHREAD_MUTEX_INITIALIZER, {0}, 0, 0, 0, 0, 0, 0, 0};
    dicast_error *error = NULL;
    dicast_request *request = make_request(SHORTER);
    dicast_verdict *verdict = NULL;
    dicast_ticket *ticket = NULL;
    dicast_usage usage = {0};
    dicast_judge *judge = open_engine(&engine, DICAST_GUIDANCE_GRAMMAR);
    begin(argc);
    UNUSED(argv);

    OK(error, dicast_judge_judge(judge, request, &verdict, &error));
    CHECK(dicast_verdict_score_of(verdict, S("short")) == 5 && dicast_verdict_rank_of(verdict, S("long")) == 2);
    CHECK(fabs(dicast_verdict_expected_of(verdict, S("short")) - 4.75) < 1e-6);
    CHECK(fabs(dicast_verdict_expected_of(verdict, S("long")) - 1.25) < 1e-6);
    CHECK(is(dicast_verdict_reasoning(verdict), "Shorter is better.") &&
          is(dicast_verdict_flag(verdict, 0), "reasoning_truncated"));
    CHECK(dicast_verdict_repair_count(verdict) == 0 && holds(dicast_verdict_raw(verdict), "<think>\nShorter"));
    usage.struct_size = sizeof usage;
    OK(error, dicast_verdict_usage(verdict, &usage, &error));
    CHECK(usage.prompt_tokens == 70 && usage.verdict_tokens == 30);
    dicast_verdict_free(verdict);
    OK(error, dicast_request_set_options(request, S("{\"consistent_ranking\": true}"), &error));
    OK(error, dicast_judge_judge(judge, request, &verdict, &error));
    dicast_verdict_free(verdict);
    OK(error, dicast_request_set_options(request, S("{\"ranking_from\": \"scores\"}"), &error));
    OK(error, dicast_judge_judge(judge, request, &verdict, &error));
    CHECK(dicast_verdict_rank_of(verdict, S("short")) == 0 && dicast_verdict_repair_count(verdict) == 0);
    dicast_verdict_free(verdict);
    OK(error, dicast_request_set_options(request, S(""), &error));

    engine.mode = FAIL;
    FAILS(DICAST_OVERLOADED, error, dicast_judge_judge(judge, request, &verdict, &error));

    /* The engine is told of a cancel and of a deadline; anything that it gives afterwards is dropped. */
    engine.mode = KEEP;
    OK(error, dicast_judge_submit(judge, request, NULL, NULL, &ticket, &error));
    OK(error, dicast_ticket_cancel(ticket, &error));
    FAILS(DICAST_CANCELLED, error, dicast_ticket_wait(ticket, DICAST_FOREVER, &verdict, &error));
    dicast_ticket_free(ticket);
    CHECK(engine.cancelled == 1 && engine.last_cancelled > 0 && !dicast_job_is_wanted(engine.kept[0]));
    answer(engine.kept[0], 0);
    dicast_job_finish(engine.kept[0], 0);
    OK(error, dicast_request_set_options(request, S("{\"timeout_ms\": 30}"), &error));
    FAILS(DICAST_TIMEOUT, error, dicast_judge_judge(judge, request, &verdict, &error));
    dicast_job_fail(engine.kept[1], DICAST_ENGINE, S("late"));
    OK(error, dicast_request_set_options(request, S(""), &error));

    /* Later, from another thread. */
    OK(error, dicast_judge_submit(judge, request, NULL, NULL, &ticket, &error));
    CHECK(dicast_ticket_wait(ticket, 20, &verdict, &error) == DICAST_PENDING);
    answer(engine.kept[2], 0);
    dicast_job_finish(engine.kept[2], 0);
    OK(error, dicast_ticket_wait(ticket, DICAST_FOREVER, &verdict, &error));
    CHECK(isnan(dicast_verdict_expected(verdict, 0)) && dicast_verdict_score(verdict, 0) == 5);
    dicast_verdict_free(verdict);
    dicast_ticket_free(ticket);

    engine.mode = ANSWER;
    OK(error, dicast_judge_sleep(judge, NULL, &error));
    OK(error, dicast_judge_wake(judge, &error));
    OK(error, dicast_judge_reload(judge, S("step-2"), NULL, &error));
    CHECK(engine.slept == 1 && engine.woken == 1 && engine.reloaded == 1);
    OK(error, dicast_judge_judge(judge, request, &verdict, &error));
    CHECK(dicast_verdict_weights(verdict) == 1);
    dicast_verdict_free(verdict);
    FAILS(DICAST_IO, error, dicast_judge_sleep(judge, NULL, &error));
    OK(error, dicast_judge_judge(judge, request, &verdict, &error));
    dicast_verdict_free(verdict);

    /* Closed while the engine has a job: the job ends, and the engine is not called again. */
    engine.mode = KEEP;
    OK(error, dicast_judge_submit(judge, request, NULL, NULL, &ticket, &error));
    dicast_judge_free(judge);
    CHECK(engine.closed == 1);
    FAILS(DICAST_CLOSED, error, dicast_ticket_wait(ticket, DICAST_FOREVER, &verdict, &error));
    dicast_ticket_free(ticket);
    dicast_job_finish(engine.kept[3], 0);

    /* An engine that writes free text. */
    engine.mode = FREE_TEXT;
    judge = open_engine(&engine, DICAST_GUIDANCE_NONE);
    FAILS(DICAST_INVALID_VERDICT, error, dicast_judge_judge(judge, request, &verdict, &error));
    dicast_judge_free(judge);
    dicast_request_free(request);
    refused();
    parsing();
    return 0;
}
