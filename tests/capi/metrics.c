/* A judge's counters, for a dashboard; on the program's own engine, which answers at once. */
#include "check.h"

static void generate(void *user_data, dicast_job *job) {
    int *broken = user_data;
    dicast_error *error = NULL;
    dicast_usage usage = {0};
    if (*broken) {
        dicast_job_fail(job, DICAST_ENGINE, S("it broke"));
        return;
    }
    usage.struct_size = sizeof usage;
    usage.prompt_tokens = 100;
    usage.reused_tokens = 40;
    usage.reasoning_tokens = 7;
    usage.verdict_tokens = 5;
    OK(error, dicast_job_usage(job, &usage, &error));
    OK(error, dicast_job_answer(job,
                                S("{\"scores\": {\"model-1\": 5, \"model-2\": 3, \"model-3\": 1}, \"best-to-worst\": "
                                  "[\"model-1\", \"model-2\", \"model-3\"]}"),
                                &error));
    dicast_job_finish(job, 0);
}

static uint64_t sum(const uint64_t *counts, size_t len) {
    uint64_t total = 0;
    size_t i;
    for (i = 0; i < len; i++) {
        total += counts[i];
    }
    return total;
}

int main(int argc, char **argv) {
    int broken = 0, i;
    dicast_error *error = NULL;
    dicast_judge *judge = NULL;
    dicast_metrics *metrics = NULL, *later = NULL;
    dicast_figures figures = {0};
    dicast_verdict *verdict = NULL;
    dicast_request *request = make_request(SHORTER);
    dicast_engine table;
    const double *bounds;
    const uint64_t *counts;
    size_t len = 0, more = 0, place;
    begin(argc);
    UNUSED(argv);
    memset(&table, 0, sizeof table);
    table.struct_size = sizeof table;
    table.user_data = &broken;
    table.generate = generate;
    OK(error, dicast_judge_open_engine(S("{\"model\": \"toy\"}"), NULL, &table, NULL, &judge, &error));
    for (i = 0; i < 3; i++) {
        OK(error, dicast_judge_judge(judge, request, &verdict, &error));
        dicast_verdict_free(verdict);
    }
    broken = 1;
    FAILS(DICAST_ENGINE, error, dicast_judge_judge(judge, request, &verdict, &error));

    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_judge_metrics(judge, S("no labels"), &metrics, &error));
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_judge_metrics(judge, S("a=\"b\"} 1\n#"), &metrics, &error));
    CHECK(metrics == NULL);
    OK(error, dicast_judge_metrics(judge, S("judge=\"toy\""), &metrics, &error));
    figures.struct_size = sizeof figures;
    OK(error, dicast_metrics_figures(metrics, &figures, &error));
    CHECK(figures.judged == 3 && figures.failed == 1 && figures.pending == 0 && figures.elapsed_us > 0);
    CHECK(figures.prompt_tokens == 300 && figures.reused_tokens == 120);
    CHECK(figures.reasoning_tokens == 21 && figures.verdict_tokens == 15);
    CHECK(fabs(figures.reused_share - 0.4) < 1e-12 && figures.recent_judgments > 0);
    CHECK(fabs(figures.recent_prompt_tokens / figures.recent_judgments - 100) < 1e-6);
    CHECK(fabs(figures.recent_written_tokens / figures.recent_judgments - 12) < 1e-6);
    CHECK(dicast_metrics_ended(metrics, DICAST_OK) == 3 && dicast_metrics_ended(metrics, DICAST_ENGINE) == 1);
    CHECK(dicast_metrics_ended(metrics, DICAST_TIMEOUT) == 0 && dicast_metrics_ended(metrics, 4711) == 0);

    bounds = dicast_metrics_bounds(metrics, &len);
    CHECK(bounds != NULL && len > 4);
    for (place = 1; place < len; place++) {
        CHECK(bounds[place - 1] < bounds[place]);
    }
    counts = dicast_metrics_times(metrics, DICAST_PHASE_TOTAL, &more);
    CHECK(counts != NULL && more == len + 1 && sum(counts, more) == 3);
    counts = dicast_metrics_times(metrics, DICAST_PHASE_VERDICT, NULL);
    CHECK(counts != NULL && sum(counts, more) == 3);
    CHECK(dicast_metrics_times(metrics, 5, &more) == NULL && more == 0);
    CHECK(dicast_metrics_time_sum(metrics, DICAST_PHASE_TOTAL) >= 0);
    CHECK(dicast_metrics_quantile(metrics, DICAST_PHASE_TOTAL, 0.5) <=
          dicast_metrics_quantile(metrics, DICAST_PHASE_TOTAL, 0.95));
    CHECK(isnan(dicast_metrics_quantile(metrics, DICAST_PHASE_TOTAL, 2)) && isnan(dicast_metrics_time_sum(metrics, 9)));

    CHECK(holds(dicast_metrics_prometheus(metrics), "\ndicast_judgments_total{judge=\"toy\",outcome=\"ok\"} 3\n"));
    CHECK(holds(dicast_metrics_prometheus(metrics), "\ndicast_judgments_total{judge=\"toy\",outcome=\"engine\"} 1\n"));
    CHECK(dicast_metrics_prometheus(metrics).data == dicast_metrics_prometheus(metrics).data);
    CHECK(holds(dicast_metrics_json(metrics), "\"judged\":3") && holds(dicast_metrics_json(metrics), "\"p95\":"));

    /* A snapshot does not change, and outlives its judge; a closed judge still reports its counters. */
    broken = 0;
    OK(error, dicast_judge_judge(judge, request, &verdict, &error));
    dicast_verdict_free(verdict);
    OK(error, dicast_judge_close(judge, &error));
    OK(error, dicast_judge_metrics(judge, S(""), &later, &error));
    dicast_judge_free(judge);
    CHECK(dicast_metrics_ended(metrics, DICAST_OK) == 3 && dicast_metrics_ended(later, DICAST_OK) == 4);
    CHECK(holds(dicast_metrics_prometheus(later), "\ndicast_judgments_total{outcome=\"ok\"} 4\n"));
    dicast_metrics_free(metrics);
    dicast_metrics_free(later);
    dicast_request_free(request);
    return 0;
}
