/* A judge on an engine of this program's own: a toy that rates answers by their length, on a thread of its own, and
   gives log probabilities at the scores. A host with a real engine has the same parts. No model is needed. */
#include <dicast.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define PLACES 64

/* The engine: a queue of jobs, and a thread that works on them. */
struct engine {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    dicast_job *waiting[PLACES];
    size_t count;
    int closed;
};

/* The length of the text of "model-<number>" in the message, up to the closing quote; 0 where there is none. */
static size_t length_of(const char *message, int number) {
    char key[32];
    const char *at, *end;
    snprintf(key, sizeof key, "\"model-%d\": \"", number);
    at = strstr(message, key);
    if (at == NULL) {
        return 0;
    }
    at += strlen(key);
    for (end = at; *end != 0 && *end != '"'; end++) {
        end += *end == '\\' && end[1] != 0;
    }
    return (size_t)(end - at);
}

/* Writes a verdict as the grammar of the plan says: the built-in profile's layout. */
static void work(dicast_job *job) {
    const char *message = dicast_job_message_content(job, dicast_job_message_count(job) - 1).data;
    int order[PLACES], count = 0, i, j;
    char text[64];
    dicast_job_reason(job, dicast_str_cstr("The shorter, the better."), NULL);
    dicast_job_answer(job, dicast_str_cstr("\n\n{\n  \"scores\": {"), NULL);
    while (count < PLACES && length_of(message, count + 1) > 0) {
        /* 5 for nothing, one less for each 40 letters; beside it the next lower score has a quarter of the chance. */
        const size_t length = length_of(message, count + 1);
        const int score = length >= 160 ? 1 : 5 - (int)(length / 40);
        char digits[2][2] = {{0}};
        dicast_choice choices[2];
        dicast_token token = {0};
        digits[0][0] = (char)('0' + score);
        digits[1][0] = (char)('0' + (score > 1 ? score - 1 : score));
        choices[0].text = dicast_str_cstr(digits[0]), choices[0].logprob = log(0.75);
        choices[1].text = dicast_str_cstr(digits[1]), choices[1].logprob = log(0.25);
        snprintf(text, sizeof text, "%s\"model-%d\": ", count == 0 ? "" : ", ", count + 1);
        dicast_job_answer(job, dicast_str_cstr(text), NULL);
        token.text = choices[0].text, token.logprob = choices[0].logprob;
        token.choices = choices, token.choice_count = 2;
        dicast_job_answer_tokens(job, &token, 1, NULL);
        order[count] = count + 1;
        count++;
    }
    for (i = 0; i < count; i++) {
        for (j = i + 1; j < count; j++) {
            if (length_of(message, order[j]) < length_of(message, order[i])) {
                const int swapped = order[i];
                order[i] = order[j], order[j] = swapped;
            }
        }
    }
    dicast_job_answer(job, dicast_str_cstr("},\n  \"best-to-worst\": ["), NULL);
    for (i = 0; i < count; i++) {
        snprintf(text, sizeof text, "%s\"model-%d\"", i == 0 ? "" : ", ", order[i]);
        dicast_job_answer(job, dicast_str_cstr(text), NULL);
    }
    dicast_job_answer(job, dicast_str_cstr("]\n}"), NULL);
    dicast_job_finish(job, 0);
}

static void *run(void *data) {
    struct engine *engine = data;
    pthread_mutex_lock(&engine->lock);
    while (!engine->closed || engine->count > 0) {
        dicast_job *job;
        if (engine->count == 0) {
            pthread_cond_wait(&engine->changed, &engine->lock);
            continue;
        }
        job = engine->waiting[0];
        memmove(engine->waiting, engine->waiting + 1, --engine->count * sizeof job);
        pthread_mutex_unlock(&engine->lock);
        /* One that was cancelled needs no work. */
        if (dicast_job_is_wanted(job)) {
            work(job);
        } else {
            dicast_job_finish(job, 0);
        }
        pthread_mutex_lock(&engine->lock);
    }
    pthread_mutex_unlock(&engine->lock);
    return NULL;
}

static void generate(void *user_data, dicast_job *job) {
    struct engine *engine = user_data;
    pthread_mutex_lock(&engine->lock);
    if (engine->count == PLACES) {
        dicast_job_fail(job, DICAST_OVERLOADED, dicast_str_cstr("the engine's queue is full"));
    } else {
        engine->waiting[engine->count++] = job;
        pthread_cond_signal(&engine->changed);
    }
    pthread_mutex_unlock(&engine->lock);
}

static void closed(void *user_data) {
    struct engine *engine = user_data;
    pthread_mutex_lock(&engine->lock);
    engine->closed = 1;
    pthread_cond_signal(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
}

int main(void) {
    struct engine engine = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, {0}, 0, 0};
    pthread_t thread;
    dicast_engine table = {0};
    dicast_error *error = NULL;
    dicast_judge *judge = NULL;
    dicast_request *request = NULL;
    dicast_verdict *verdict = NULL;
    size_t place;
    if (pthread_create(&thread, NULL, run, &engine) != 0) {
        return 1;
    }
    table.struct_size = sizeof table;
    table.user_data = &engine;
    table.guidance = DICAST_GUIDANCE_GRAMMAR;
    table.distributions = 1;
    table.generate = generate;
    table.close = closed;
    if (dicast_judge_open_engine(dicast_str_cstr("{\"model\": \"toy\"}"), NULL, &table, NULL, &judge, &error) !=
            DICAST_OK ||
        dicast_request_new(dicast_str_cstr("I prefer short responses."), dicast_str_cstr("How do I learn Python?"),
                           &request, &error) != DICAST_OK ||
        dicast_request_add(request, dicast_str_cstr("middle"),
                           dicast_str_cstr("Read the official tutorial, then build a small project every week."),
                           &error) != DICAST_OK ||
        dicast_request_add(request, dicast_str_cstr("short"), dicast_str_cstr("Build small projects."), &error) !=
            DICAST_OK ||
        dicast_request_add(
            request, dicast_str_cstr("long"),
            dicast_str_cstr("There are many things that one should consider before one begins. First of all, "
                            "a course gives an order to what is to be learned. Then there are books."),
            &error) != DICAST_OK ||
        dicast_judge_judge(judge, request, &verdict, &error) != DICAST_OK) {
        fprintf(stderr, "%s\n", dicast_error_message(error).data);
        return 1;
    }
    for (place = 0; place < dicast_verdict_count(verdict); place++) {
        const size_t index = dicast_verdict_ranked(verdict, place);
        printf("%d. %s: %.0f (expected %.2f)\n", (int)place + 1, dicast_verdict_name(verdict, index).data,
               dicast_verdict_score(verdict, index), dicast_verdict_expected(verdict, index));
    }
    dicast_verdict_free(verdict);
    dicast_request_free(request);
    dicast_judge_free(judge);
    pthread_join(thread, NULL);
    return 0;
}
