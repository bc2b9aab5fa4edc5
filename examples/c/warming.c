/* A principle that is computed before the first judgment and kept until the last one: warming MODEL.gguf */
#include <dicast.h>
#include <stdio.h>

#define PRINCIPLE "I prefer short and concise responses over long and detailed ones."

static int failed(const char *what, dicast_error *error) {
    fprintf(stderr, "%s: %s: %s\n", what, dicast_error_name(error).data, dicast_error_message(error).data);
    dicast_error_free(error);
    return 1;
}

/* Judges two answers to a prompt, and says how much of the judge's prompt was there already. */
static int32_t judge_one(const dicast_judge *judge, const char *prompt, dicast_error **error) {
    dicast_request *request = NULL;
    dicast_verdict *verdict = NULL;
    dicast_usage usage = {0};
    int32_t status = dicast_request_new(dicast_str_cstr(PRINCIPLE), dicast_str_cstr(prompt), &request, error);
    if (status == DICAST_OK) {
        status = dicast_request_add(request, dicast_str_cstr("short"), dicast_str_cstr("It depends."), error);
    }
    if (status == DICAST_OK) {
        status = dicast_request_add(
            request, dicast_str_cstr("long"),
            dicast_str_cstr("There are many ways to look at this question, and each has merits."), error);
    }
    if (status == DICAST_OK) {
        status = dicast_judge_judge(judge, request, &verdict, error);
    }
    usage.struct_size = sizeof usage;
    if (status == DICAST_OK) {
        status = dicast_verdict_usage(verdict, &usage, error);
    }
    if (status == DICAST_OK) {
        printf("%-24s best: %s; %zu of %zu prompt tokens were there already\n", prompt,
               dicast_verdict_name(verdict, dicast_verdict_ranked(verdict, 0)).data, (size_t)usage.reused_tokens,
               (size_t)usage.prompt_tokens);
    }
    dicast_verdict_free(verdict);
    dicast_request_free(request);
    return status;
}

int main(int argc, char **argv) {
    const char *const prompts[] = {"How do I learn Python?", "What is rain?", "Why is the sky blue?"};
    dicast_error *error = NULL;
    dicast_settings *settings = NULL;
    dicast_judge *judge = NULL;
    dicast_request *principle = NULL;
    dicast_pin *pin = NULL;
    int32_t status;
    size_t i;
    if (argc != 2) {
        fprintf(stderr, "usage: warming MODEL.gguf\n");
        return 2;
    }
    if (dicast_settings_new(dicast_str_cstr(argv[1]), &settings, &error) != DICAST_OK ||
        dicast_judge_open(dicast_settings_json(settings), NULL, &judge, &error) != DICAST_OK) {
        return failed("open", error);
    }
    dicast_settings_free(settings);
    /* Without a prompt: the beginning of every prompt with this principle. It needs no responses. */
    if (dicast_request_new(dicast_str_cstr(PRINCIPLE), dicast_str_cstr(""), &principle, &error) != DICAST_OK) {
        return failed("request", error);
    }
    status = dicast_judge_warm(judge, principle, &pin, &error);
    dicast_request_free(principle);
    if (status == DICAST_OK) {
        printf("%zu tokens are kept\n", dicast_pin_tokens(pin));
    } else if (status == DICAST_UNSUPPORTED) {
        /* Another engine than the embedded one. All works as well without it: the first judgment takes longer. */
        printf("nothing is kept: %s\n", dicast_error_message(error).data);
        dicast_error_free(error);
        error = NULL;
    } else {
        return failed("warm", error);
    }
    for (i = 0; i < sizeof prompts / sizeof prompts[0]; i++) {
        if (judge_one(judge, prompts[i], &error) != DICAST_OK) {
            return failed(prompts[i], error);
        }
    }
    /* Freed, it makes room for other prefixes. */
    dicast_pin_free(pin);
    dicast_judge_free(judge);
    return 0;
}
