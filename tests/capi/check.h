/* Shared by the test programs. A failed check prints its place and ends the program; so does a hang, after minutes. */
#ifndef CHECK_H
#define CHECK_H

#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dicast.h"

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
            _exit(1);                                                               \
        }                                                                           \
    } while (0)

#define UNUSED(x) (void)(x)

static inline dicast_str S(const char *text) { return dicast_str_cstr(text); }

static inline int is(dicast_str text, const char *wanted) {
    return text.data != NULL && text.len == strlen(wanted) && strcmp(text.data, wanted) == 0;
}

static inline int holds(dicast_str text, const char *wanted) {
    return text.data != NULL && strstr(text.data, wanted) != NULL;
}

static inline void ok_at(int32_t status, dicast_error *error, const char *file, int line) {
    if (status != DICAST_OK || error != NULL) {
        fprintf(stderr, "%s:%d: status %d: %s\n", file, line, (int)status,
                error ? dicast_error_message(error).data : "no error object");
        _exit(1);
    }
}

/* OK(error, call): the call gives DICAST_OK and no error. */
#define OK(error, call)                            \
    do {                                           \
        int32_t status_ = (call);                  \
        ok_at(status_, error, __FILE__, __LINE__); \
    } while (0)

/* FAILS(code, error, call): the call gives the code and an error with the same code; the error is freed. */
#define FAILS(wanted, error, call)                                                                             \
    do {                                                                                                       \
        int32_t status_ = (call);                                                                              \
        if (status_ != (wanted)) {                                                                             \
            fprintf(stderr, "%s:%d: status %d, not %d: %s\n", __FILE__, __LINE__, (int)status_, (int)(wanted), \
                    error ? dicast_error_message(error).data : "no error object");                             \
            _exit(1);                                                                                          \
        }                                                                                                      \
        CHECK((error) != NULL && dicast_error_code(error) == (wanted));                                        \
        CHECK(dicast_error_message(error).len > 0);                                                            \
        dicast_error_free(error);                                                                              \
        (error) = NULL;                                                                                        \
    } while (0)

/* Opens the model in argv[1], with more configuration in JSON. */
static inline dicast_judge *open_judge(char **argv, const char *more) {
    char config[4096];
    dicast_judge *judge = NULL;
    dicast_error *error = NULL;
    CHECK(argv[1] != NULL);
    snprintf(config, sizeof config, "{\"model\": \"%s\", \"local\": {\"threads\": 1}%s}", argv[1], more);
    OK(error, dicast_judge_open(S(config), NULL, &judge, &error));
    CHECK(judge != NULL);
    return judge;
}

static inline void add(dicast_request *request, const char *name, const char *text) {
    dicast_error *error = NULL;
    OK(error, dicast_request_add(request, S(name), S(text), &error));
}

/* Three answers of different length; the demonstration judge ranks them by a principle about length. */
#define SHORT_TEXT "Build small projects."
#define MIDDLE_TEXT \
    "Read the official tutorial first. Then build a small project every week, and ask for reviews of your code."
#define LONG_TEXT                                                                                                      \
    "There are many things that one should consider before one begins. First of all, a course gives an order to what " \
    "is to be learned. Then there are books, of which some are good and some are not. After that come projects, in "   \
    "which all of this is put to use, and finally the long years of practice that nobody can do without."

static inline dicast_request *make_request(const char *principle) {
    dicast_request *request = NULL;
    dicast_error *error = NULL;
    OK(error, dicast_request_new(S(principle), S("How do I learn Python?"), &request, &error));
    add(request, "short", SHORT_TEXT);
    add(request, "middle", MIDDLE_TEXT);
    add(request, "long", LONG_TEXT);
    return request;
}

#define SHORTER "I prefer short and concise responses over long and detailed ones."
#define LONGER "I prefer long and detailed responses over short and concise ones."

/* A program that hangs is ended by SIGALRM, and so fails. */
static inline void begin(int argc) {
    UNUSED(argc);
    alarm(400);
}

#endif
