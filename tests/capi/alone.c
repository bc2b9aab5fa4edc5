/* Masking, prompts and parsing for programs with an engine of their own: no model is needed. */
#include "check.h"

int main(int argc, char **argv) {
    dicast_error *error = NULL;
    dicast_aliases *aliases = NULL;
    dicast_profile *profile = NULL, *copy = NULL;
    dicast_request *request = make_request(SHORTER);
    dicast_prompt *prompt = NULL;
    dicast_verdict *verdict = NULL;
    dicast_usage usage = {0};
    dicast_str names[5], shown[5];
    char answer[512];
    size_t place;
    begin(argc);
    UNUSED(argv);

    names[0] = S("a"), names[1] = S("b"), names[2] = S("c"), names[3] = S("d"), names[4] = S("e");
    OK(error, dicast_aliases_mask(names, 5, S("model-"), DICAST_MASK_SHUFFLE, 42, &aliases, &error));
    CHECK(dicast_aliases_count(aliases) == 5 && is(dicast_aliases_shown(aliases, 0), "model-1"));
    /* The result of Python's random.seed(42); random.shuffle([0, 1, 2, 3, 4]). */
    static const size_t order[] = {3, 1, 2, 4, 0};
    for (place = 0; place < 5; place++) {
        CHECK(dicast_aliases_index(aliases, place) == order[place]);
        CHECK(dicast_aliases_name(aliases, place).data[0] == "abcde"[order[place]]);
    }
    CHECK(dicast_aliases_index(aliases, 5) == DICAST_NONE && dicast_aliases_shown(aliases, 5).data == NULL);
    dicast_aliases_free(aliases);
    OK(error, dicast_aliases_mask(names, 5, S(""), DICAST_MASK_OFF, 0, &aliases, &error));
    CHECK(is(dicast_aliases_shown(aliases, 4), "e"));
    dicast_aliases_free(aliases);
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_aliases_mask(names, 5, S(""), 3, 0, &aliases, &error));
    FAILS(DICAST_INVALID_REQUEST, error, dicast_aliases_mask(names, 0, S(""), 0, 0, &aliases, &error));
    names[4] = S("a");
    FAILS(DICAST_INVALID_REQUEST, error, dicast_aliases_mask(names, 5, S(""), 0, 0, &aliases, &error));

    OK(error, dicast_profile_builtin(&profile, &error));
    OK(error, dicast_profile_from_json(dicast_profile_json(profile), &copy, &error));
    CHECK(is(dicast_profile_json(copy), dicast_profile_json(profile).data));
    dicast_profile_free(copy);
    FAILS(DICAST_INVALID_PROFILE, error, dicast_profile_from_json(S("{}"), &copy, &error));
    FAILS(DICAST_INVALID_PROFILE, error, dicast_profile_load(S("/nowhere/profile.json"), &copy, &error));
    FAILS(DICAST_IO, error, dicast_profile_import(S("/nowhere/package.whl"), &copy, &error));

    OK(error, dicast_prompt_new(profile, request, &prompt, &error));
    CHECK(dicast_prompt_count(prompt) == 2 && is(dicast_prompt_role(prompt, 0), "system"));
    CHECK(is(dicast_prompt_role(prompt, 1), "user") && dicast_prompt_role(prompt, 2).data == NULL);
    CHECK(holds(dicast_prompt_content(prompt, 1), "{\"principle\": \"I prefer short"));
    CHECK(dicast_aliases_count(dicast_prompt_aliases(prompt)) == 3);

    /* An answer as an engine could have given it, with an extra comma and a byte that is not UTF-8. */
    snprintf(answer, sizeof answer,
             "<think>Shorter is better\xff.</think>{\"scores\": {\"%s\": 5, \"%s\": 3, \"%s\": 1,}, \"best-to-worst\": "
             "[\"%s\", \"%s\", \"%s\"]}",
             dicast_aliases_shown(dicast_prompt_aliases(prompt), 0).data,
             dicast_aliases_shown(dicast_prompt_aliases(prompt), 1).data,
             dicast_aliases_shown(dicast_prompt_aliases(prompt), 2).data,
             dicast_aliases_shown(dicast_prompt_aliases(prompt), 0).data,
             dicast_aliases_shown(dicast_prompt_aliases(prompt), 1).data,
             dicast_aliases_shown(dicast_prompt_aliases(prompt), 2).data);
    OK(error, dicast_parse(S(answer), dicast_prompt_aliases(prompt), profile, S(""), &verdict, &error));
    for (place = 0; place < 3; place++) {
        size_t index = dicast_aliases_index(dicast_prompt_aliases(prompt), place);
        CHECK(dicast_verdict_score(verdict, index) == 5 - 2 * (double)place);
        CHECK(dicast_verdict_rank(verdict, index) == place);
        CHECK(isnan(dicast_verdict_expected(verdict, index)));
        CHECK(dicast_verdict_distribution(verdict, index, NULL) == NULL);
    }
    CHECK(holds(dicast_verdict_reasoning(verdict), "better\xef\xbf\xbd."));
    CHECK(dicast_verdict_repair_count(verdict) == 1 && is(dicast_verdict_repair(verdict, 0), "extra_comma"));
    CHECK(dicast_verdict_repair_detail(verdict, 0).len == 0);
    usage.struct_size = sizeof usage;
    usage.prompt_tokens = 1;
    OK(error, dicast_verdict_usage(verdict, &usage, &error));
    CHECK(usage.prompt_tokens == 0);
    dicast_verdict_free(verdict);
    dicast_prompt_free(prompt);

    shown[0] = S("model-1"), shown[1] = S("model-2");
    OK(error, dicast_aliases_of(shown, names, 2, &aliases, &error));
    verdict = NULL;
    CHECK(dicast_parse(S("{\"scores\": {\"model-1\": 4, \"model-2\": 2}}"), aliases, NULL, S(""), &verdict, &error) ==
          DICAST_INVALID_VERDICT);
    CHECK(dicast_error_partial_count(error) == 2 && dicast_error_partial_score(error, 1) == 2);
    CHECK(is(dicast_error_partial_name(error, 0), "a") && dicast_error_partial_ranked(error, 0).data == NULL);
    dicast_error_free(error);
    CHECK(dicast_parse(S("{\"best-to-worst\": [\"model-2\", \"model-1\"]}"), aliases, NULL, S(""), &verdict, &error) ==
          DICAST_INVALID_VERDICT);
    CHECK(is(dicast_error_partial_ranked(error, 0), "b") && dicast_error_partial_count(error) == 0);
    CHECK(dicast_error_partial_ranked(error, 2).data == NULL && verdict == NULL);
    dicast_error_free(error);
    OK(error, dicast_parse(S("{\"scores\": {\"model-1\": 4, \"model-2\": 9}}"), aliases, NULL,
                           S("{\"incomplete\": \"derive_ranking\", \"clamp\": true}"), &verdict, &error));
    CHECK(dicast_verdict_score_of(verdict, S("b")) == 5 && dicast_verdict_rank_of(verdict, S("b")) == 0);
    CHECK(dicast_verdict_repair_count(verdict) == 2 && is(dicast_verdict_repair_detail(verdict, 0), "model-2"));
    dicast_verdict_free(verdict);
    FAILS(DICAST_INVALID_CONFIG, error, dicast_parse(S("{}"), aliases, NULL, S("{\"x\": 1}"), &verdict, &error));
    dicast_aliases_free(aliases);
    dicast_profile_free(profile);
    dicast_request_free(request);
    return 0;
}
