/* Judges over the server at the URL in argv[1]: a response that holds "score=4" gets 4. */
#include "check.h"

int main(int argc, char **argv) {
    char config[512];
    dicast_judge *judge = NULL;
    dicast_error *error = NULL;
    dicast_request *request = NULL;
    dicast_verdict *verdict = NULL;
    dicast_ticket *ticket = NULL;
    begin(argc);
    CHECK(argv[1] != NULL);
    snprintf(config, sizeof config, "{\"model\": \"%s\", \"options\": {\"max_reasoning_tokens\": 64}}", argv[1]);
    OK(error, dicast_judge_open(S(config), NULL, &judge, &error));
    OK(error, dicast_request_new(S("Be brief."), S("A prompt"), &request, &error));
    add(request, "poor", "score=2");
    add(request, "good", "score=4");
    OK(error, dicast_judge_judge(judge, request, &verdict, &error));
    CHECK(dicast_verdict_score_of(verdict, S("poor")) == 2 && dicast_verdict_score_of(verdict, S("good")) == 4);
    CHECK(dicast_verdict_rank_of(verdict, S("good")) == 0 && dicast_verdict_rank_of(verdict, S("poor")) == 1);
    dicast_verdict_free(verdict);
    verdict = NULL;
    OK(error, dicast_judge_submit(judge, request, NULL, NULL, &ticket, &error));
    OK(error, dicast_ticket_wait(ticket, UINT64_MAX, &verdict, &error));
    CHECK(dicast_verdict_score_of(verdict, S("good")) == 4);
    dicast_verdict_free(verdict);
    dicast_ticket_free(ticket);
    dicast_request_free(request);
    dicast_judge_free(judge);

    /* Nothing listens on port 1: the error names the server. */
    judge = NULL;
    FAILS(DICAST_NETWORK, error, dicast_judge_open(S("{\"model\": \"http://127.0.0.1:1\"}"), NULL, &judge, &error));
    CHECK(judge == NULL);
    return 0;
}
