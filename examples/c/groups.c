/* A batch of groups under one handle, whose whole verdicts are taken as they end, beside an urgent judgment: groups
 * MODEL.gguf */
#include <dicast.h>
#include <stdio.h>

#define GROUPS 16

static int failed(const char *what, dicast_error *error) {
    fprintf(stderr, "%s: %s: %s\n", what, dicast_error_name(error).data, dicast_error_message(error).data);
    dicast_error_free(error);
    return 1;
}

int main(int argc, char **argv) {
    dicast_error *error = NULL;
    dicast_judge *judge = NULL;
    dicast_settings *settings = NULL;
    dicast_batch *batch = NULL;
    dicast_batch_options options = {0};
    dicast_reward_options urgent = {0};
    dicast_group groups[GROUPS] = {0};
    dicast_str texts[2];
    double rewards[2];
    int32_t statuses[2], status;
    size_t preferred = 0, i;
    if (argc != 2) {
        fprintf(stderr, "usage: groups MODEL.gguf\n");
        return 2;
    }
    if (dicast_settings_new(dicast_str_cstr(argv[1]), &settings, &error) != DICAST_OK ||
        dicast_judge_open(dicast_settings_json(settings), NULL, &judge, &error) != DICAST_OK) {
        return failed("open", error);
    }
    dicast_settings_free(settings);
    texts[0] = dicast_str_cstr("Build small projects.");
    texts[1] = dicast_str_cstr(
        "There are many ways to learn it, and before you choose one you should think about what you want to do with it "
        "later.");
    for (i = 0; i < GROUPS; i++) {
        groups[i].struct_size = sizeof groups[i];
        groups[i].principle = dicast_str_cstr("I prefer short and concise responses over long and detailed ones.");
        groups[i].prompt = dicast_str_cstr("How do I learn Python programming?");
        groups[i].responses = texts;
        groups[i].response_count = 2;
    }
    /* All of it can wait, but not longer than five minutes. */
    options.struct_size = sizeof options;
    options.priority = DICAST_PRIORITY_LOW;
    options.deadline_ms = 300000;
    if (dicast_judge_submit_groups(judge, groups, GROUPS, &options, &batch, &error) != DICAST_OK) {
        return failed("submit", error);
    }
    /* Somebody waits for this one: it goes first. */
    urgent.struct_size = sizeof urgent;
    urgent.priority = DICAST_PRIORITY_HIGH;
    if (dicast_judge_rewards(judge, groups[0].principle, groups[0].prompt, texts, 2, &urgent, rewards, statuses,
                             &error) != DICAST_OK) {
        return failed("rewards", error);
    }
    printf("urgent: %.2f and %.2f, while %zu of %d groups had ended\n", rewards[0], rewards[1],
           dicast_batch_ended(batch), GROUPS);
    while ((status = dicast_batch_wait(batch, 100, &error)) == DICAST_PENDING) {
        printf("%zu of %d groups have ended\n", dicast_batch_ended(batch), GROUPS);
    }
    if (status != DICAST_OK) {
        return failed("wait", error);
    }
    for (i = 0; i < GROUPS; i++) {
        dicast_verdict *verdict = NULL;
        if (dicast_batch_take(batch, i, &verdict, &error) != DICAST_OK) {
            return failed("a group", error);
        }
        preferred += dicast_verdict_rank(verdict, 0) == 0;
        if (i == 0) {
            printf("the judge reasoned: %s\n", dicast_verdict_reasoning(verdict).data);
        }
        dicast_verdict_free(verdict);
    }
    printf("%zu of %d preferred the short answer\n", preferred, GROUPS);
    dicast_batch_free(batch);
    dicast_judge_free(judge);
    return 0;
}
