/* Judges three answers and prints scores and ranking: blocking MODEL.gguf */
#include <dicast.h>
#include <stdio.h>

/* Prints an error, frees it, and gives the exit code. */
static int failed(const char *what, dicast_error *error) {
    fprintf(stderr, "%s: %s: %s\n", what, dicast_error_name(error).data, dicast_error_message(error).data);
    dicast_error_free(error);
    return 1;
}

int main(int argc, char **argv) {
    static const char *const answers[][2] = {
        {"short", "Work through the official tutorial, then build one small project a week."},
        {"vague", "It depends. Everyone learns in their own way."},
        {"long",
         "There are many ways to learn it, and before you choose one you should think about what you want to do "
         "with it later, how much time you have, and which other languages you know already."},
    };
    dicast_error *error = NULL;
    dicast_judge *judge = NULL;
    dicast_request *request = NULL;
    dicast_verdict *verdict = NULL;
    char config[4096];
    size_t i;
    if (argc != 2 || snprintf(config, sizeof config, "{\"model\": \"%s\"}", argv[1]) >= (int)sizeof config) {
        fprintf(stderr, "usage: blocking MODEL.gguf\n");
        return 2;
    }
    if (dicast_judge_open(dicast_str_cstr(config), NULL, &judge, &error) != DICAST_OK) {
        return failed("open", error);
    }
    if (dicast_request_new(dicast_str_cstr("I prefer short and concise responses over long and detailed ones."),
                           dicast_str_cstr("How do I learn Python programming?"), &request, &error) != DICAST_OK) {
        return failed("request", error);
    }
    for (i = 0; i < sizeof answers / sizeof *answers; i++) {
        if (dicast_request_add(request, dicast_str_cstr(answers[i][0]), dicast_str_cstr(answers[i][1]), &error) !=
            DICAST_OK) {
            return failed("response", error);
        }
    }
    if (dicast_judge_judge(judge, request, &verdict, &error) != DICAST_OK) {
        return failed("judge", error);
    }
    for (i = 0; i < dicast_verdict_count(verdict); i++) {
        size_t index = dicast_verdict_ranked(verdict, i);
        printf("%zu. %-6s %.0f (expected %.2f)\n", i + 1, dicast_verdict_name(verdict, index).data,
               dicast_verdict_score(verdict, index), dicast_verdict_expected(verdict, index));
    }
    printf("%s\n", dicast_verdict_reasoning(verdict).data);
    dicast_verdict_free(verdict);
    dicast_request_free(request);
    dicast_judge_free(judge);
    return 0;
}
