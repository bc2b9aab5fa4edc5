/* Settings without JSON, loading that is watched, a request that is counted before it is judged, and what a dashboard
   shows: dashboard MODEL.gguf */
#include <dicast.h>
#include <stdio.h>

#define REQUESTS 16

static int failed(const char *what, dicast_error *error) {
    fprintf(stderr, "%s: %s: %s\n", what, dicast_error_name(error).data, dicast_error_message(error).data);
    dicast_error_free(error);
    return 1;
}

/* Called while the model is loaded; false would end it. */
static bool say_progress(void *user_data, double part) {
    (void)user_data;
    fprintf(stderr, "\rloading: %3.0f %%", 100 * part);
    return true;
}

static dicast_judge *open_judge(const char *model, dicast_error **error) {
    dicast_settings *settings = NULL;
    dicast_open_options options = {0};
    dicast_judge *judge = NULL;
    options.struct_size = sizeof options;
    options.progress = say_progress;
    if (dicast_settings_new(dicast_str_cstr(model), &settings, error) == DICAST_OK &&
        dicast_settings_set_int(settings, dicast_str_cstr("local.max_sequences"), 4, error) == DICAST_OK &&
        dicast_settings_set_number(settings, dicast_str_cstr("options.temperature"), 0.0, error) == DICAST_OK) {
        dicast_judge_open(dicast_settings_json(settings), &options, &judge, error);
    }
    dicast_settings_free(settings);
    fprintf(stderr, "\n");
    return judge;
}

int main(int argc, char **argv) {
    dicast_error *error = NULL;
    dicast_judge *judge = NULL;
    dicast_request *request = NULL;
    dicast_metrics *metrics = NULL;
    dicast_count count = {0};
    dicast_figures figures = {0};
    size_t preferred = 0, i;
    if (argc != 2) {
        fprintf(stderr, "usage: dashboard MODEL.gguf\n");
        return 2;
    }
    judge = open_judge(argv[1], &error);
    if (judge == NULL) {
        return failed("open", error);
    }
    if (dicast_request_new(dicast_str_cstr("I prefer short and concise responses over long and detailed ones."),
                           dicast_str_cstr("How do I learn Python programming?"), &request, &error) != DICAST_OK ||
        dicast_request_add(request, dicast_str_cstr("short"), dicast_str_cstr("Build small projects."), &error) !=
            DICAST_OK ||
        dicast_request_add(request, dicast_str_cstr("long"),
                           dicast_str_cstr("There are many ways to learn it, and before you choose one you should "
                                           "think about what you want to do with it later."),
                           &error) != DICAST_OK) {
        return failed("request", error);
    }
    count.struct_size = sizeof count;
    if (dicast_judge_count(judge, request, &count, &error) != DICAST_OK) {
        return failed("count", error);
    }
    printf("the prompt has %llu tokens, the answer at most %llu, the context holds %llu: it %s\n",
           (unsigned long long)count.prompt_tokens, (unsigned long long)count.output_tokens,
           (unsigned long long)count.context_tokens, count.fits ? "fits" : "does not fit");
    for (i = 0; i < REQUESTS; i++) {
        dicast_verdict *verdict = NULL;
        if (dicast_judge_judge(judge, request, &verdict, &error) != DICAST_OK) {
            return failed("judge", error);
        }
        preferred += dicast_verdict_rank(verdict, 0) == 0;
        dicast_verdict_free(verdict);
    }
    if (dicast_judge_metrics(judge, dicast_str_cstr("judge=\"demo\""), &metrics, &error) != DICAST_OK) {
        return failed("metrics", error);
    }
    figures.struct_size = sizeof figures;
    dicast_metrics_figures(metrics, &figures, NULL);
    printf(
        "%llu judged, half of them within %.1f ms, 95 %% within %.1f ms; %.0f %% of the prompts' tokens were reused\n",
        (unsigned long long)figures.judged, 1e3 * dicast_metrics_quantile(metrics, DICAST_PHASE_TOTAL, 0.5),
        1e3 * dicast_metrics_quantile(metrics, DICAST_PHASE_TOTAL, 0.95), 100 * figures.reused_share);
    printf("%.1f judgments and %.0f written tokens a second\n", figures.recent_judgments,
           figures.recent_written_tokens);
    /* What a program answers on /metrics. */
    printf("%s", dicast_metrics_prometheus(metrics).data);
    printf("%zu of %d preferred the short answer\n", preferred, REQUESTS);
    dicast_metrics_free(metrics);
    dicast_request_free(request);
    dicast_judge_free(judge);
    return 0;
}
