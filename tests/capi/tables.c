/* The table of a rubric, and how much of the probability lay on the scale. */
#include "check.h"

static void judge_by_criteria(const dicast_judge *judge) {
    dicast_error *error = NULL;
    dicast_verdict *verdict = NULL;
    dicast_request *request = NULL;
    size_t i;
    OK(error, dicast_request_from_json(
                  S("{\"prompt\": \"How do I learn Python?\", \"responses\": {\"a\": \"" SHORT_TEXT
                    "\", \"b\": \"" LONG_TEXT "\"}, \"rubric\": [{\"name\": \"brief\", \"criterion\": \"" SHORTER
                    "\", \"weight\": 3}, {\"criterion\": \"Is it polite?\", \"kind\": \"yes_no\"}]}"),
                  &request, &error));
    OK(error, dicast_judge_judge(judge, request, &verdict, &error));
    CHECK(dicast_verdict_criterion_count(verdict) == 2);
    CHECK(is(dicast_verdict_criterion_name(verdict, 0), "brief") && is(dicast_verdict_criterion_name(verdict, 1), "2"));
    CHECK(dicast_verdict_criterion_weight(verdict, 0) == 3 && dicast_verdict_criterion_weight(verdict, 1) == 1);
    for (i = 0; i < 4; i++) {
        const double value = dicast_verdict_criterion_value(verdict, i / 2, i % 2);
        CHECK(value >= 0 && value <= 1);
    }
    CHECK(dicast_verdict_criterion_value(verdict, 0, 0) > dicast_verdict_criterion_value(verdict, 0, 1));
    CHECK(isnan(dicast_verdict_criterion_value(verdict, 0, 2)) && isnan(dicast_verdict_criterion_value(verdict, 2, 0)));
    CHECK(isnan(dicast_verdict_criterion_weight(verdict, 2)) && !dicast_verdict_criterion_name(verdict, 2).data);
    /* This judge has no calibration. */
    CHECK(isnan(dicast_verdict_win(verdict, 0)) && isnan(dicast_verdict_win_over(verdict, 0, 1)));
    CHECK(dicast_verdict_abstains(verdict, 0, 1) == -1 && dicast_verdict_criterion_count(NULL) == 0);
    dicast_request_free(request);
    dicast_verdict_free(verdict);
}

static void judge_by_a_principle(const dicast_judge *judge) {
    dicast_error *error = NULL;
    dicast_verdict *verdict = NULL;
    dicast_request *request = make_request(SHORTER);
    size_t i;
    OK(error, dicast_judge_judge(judge, request, &verdict, &error));
    for (i = 0; i < dicast_verdict_count(verdict); i++) {
        CHECK(dicast_verdict_scale_mass(verdict, i) > 0 && dicast_verdict_scale_mass(verdict, i) <= 1);
    }
    CHECK(isnan(dicast_verdict_scale_mass(verdict, i)) && isnan(dicast_verdict_scale_mass(NULL, 0)));
    CHECK(dicast_verdict_criterion_count(verdict) == 0 && isnan(dicast_verdict_criterion_value(verdict, 0, 0)));
    dicast_request_free(request);
    dicast_verdict_free(verdict);
}

int main(int argc, char **argv) {
    dicast_error *error = NULL;
    dicast_judge *judge = NULL;
    char config[4096];
    begin(argc);
    snprintf(config, sizeof config, "{\"model\": \"%s\", \"local\": {\"threads\": 1}}", argv[1]);
    OK(error, dicast_judge_open(S(config), NULL, &judge, &error));
    judge_by_criteria(judge);
    judge_by_a_principle(judge);
    dicast_judge_free(judge);
    return 0;
}
