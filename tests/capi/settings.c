/* Configurations and options without hand-written JSON, in a locale with a decimal comma if there is one. */
#include "check.h"

#include <locale.h>

int main(int argc, char **argv) {
    dicast_error *error = NULL;
    dicast_settings *settings = NULL, *options = NULL;
    dicast_judge *judge = NULL;
    dicast_request *request = make_request(SHORTER);
    const dicast_str bad = {"ab\xc3\x28", 4};
    char buffer[32];
    size_t len = 0;
    begin(argc);
    UNUSED(argv);
    if (setlocale(LC_ALL, "de_DE.UTF-8") == NULL) {
        (void)setlocale(LC_ALL, "C");
    }
    OK(error, dicast_settings_new(S("/nowhere/a \"judge\".gguf"), &settings, &error));
    OK(error, dicast_settings_set_number(settings, S("options.temperature"), 0.6, &error));
    OK(error, dicast_settings_set_int(settings, S("options.seed"), 7, &error));
    OK(error, dicast_settings_set_int(settings, S("options.temperature"), 1, &error));
    OK(error, dicast_settings_set_bool(settings, S("options.guided"), true, &error));
    OK(error, dicast_settings_set_text(settings, S("options.mask"), S("given"), &error));
    OK(error, dicast_settings_set_int(settings, S("local.threads"), 2, &error));
    OK(error, dicast_settings_set_json(settings, S("trtllm.device_ids"), S("[1, 0]"), &error));
    OK(error, dicast_settings_set_json(settings, S("template_variables"), S("{\"effort\": \"low\"}"), &error));
    OK(error, dicast_settings_set_number(settings, S("options.top_p"), 0.25, &error));
    CHECK(holds(dicast_settings_json(settings), "\"model\":\"/nowhere/a \\\"judge\\\".gguf\""));
    CHECK(holds(dicast_settings_json(settings), "\"temperature\":1") && holds(dicast_settings_json(settings), "0.25"));
    CHECK(holds(dicast_settings_json(settings), "\"local\":{\"threads\":2}"));
    CHECK(holds(dicast_settings_json(settings), "\"device_ids\":[1,0]"));

    /* An invalid value is reported at once, and changes nothing. */
    FAILS(DICAST_INVALID_CONFIG, error, dicast_settings_set_int(settings, S("local.threats"), 2, &error));
    FAILS(DICAST_INVALID_CONFIG, error, dicast_settings_set_int(settings, S("threads"), 2, &error));
    FAILS(DICAST_INVALID_CONFIG, error, dicast_settings_set_int(settings, S("local"), 2, &error));
    FAILS(DICAST_INVALID_CONFIG, error, dicast_settings_set_int(settings, S("local.threads"), -1, &error));
    FAILS(DICAST_INVALID_CONFIG, error, dicast_settings_set_number(settings, S("local.threads"), 1.5, &error));
    FAILS(DICAST_INVALID_CONFIG, error, dicast_settings_set_number(settings, S("options.top_p"), NAN, &error));
    FAILS(DICAST_INVALID_CONFIG, error, dicast_settings_set_number(settings, S("options.top_p"), 1.5, &error));
    FAILS(DICAST_INVALID_CONFIG, error, dicast_settings_set_text(settings, S("options.mask"), S("maybe"), &error));
    FAILS(DICAST_INVALID_CONFIG, error, dicast_settings_set_text(settings, S("profile"), bad, &error));
    FAILS(DICAST_INVALID_CONFIG, error, dicast_settings_set_int(settings, S("profile"), 1, &error));
    FAILS(DICAST_INVALID_CONFIG, error, dicast_settings_set_json(settings, S("options.seed"), S("{"), &error));
    CHECK(dicast_settings_set_int(settings, S("local.threats"), 2, &error) == DICAST_INVALID_CONFIG);
    CHECK(holds(dicast_error_message(error), "local.threats"));
    dicast_error_free(error);
    error = NULL;
    CHECK(holds(dicast_settings_json(settings), "\"threads\":2"));
    FAILS(DICAST_MODEL_NOT_FOUND, error, dicast_judge_open(dicast_settings_json(settings), NULL, &judge, &error));

    OK(error, dicast_settings_new_options(&options, &error));
    CHECK(is(dicast_settings_json(options), "{}"));
    OK(error, dicast_settings_set_int(options, S("timeout_ms"), 30000, &error));
    OK(error, dicast_settings_set_json(options, S("guided"), S("null"), &error));
    FAILS(DICAST_INVALID_CONFIG, error, dicast_settings_set_int(options, S("local.threads"), 2, &error));
    FAILS(DICAST_INVALID_CONFIG, error, dicast_settings_set_int(options, S("options.seed"), 2, &error));
    OK(error, dicast_request_set_options(request, dicast_settings_json(options), &error));

    OK(error, dicast_json_quote(S("a\"\n"), NULL, 0, &len, &error));
    CHECK(len == 7);
    OK(error, dicast_json_quote(S("a\"\n"), buffer, 8, &len, &error));
    CHECK(len == 7 && strcmp(buffer, "\"a\\\"\\n\"") == 0);
    FAILS(DICAST_TOO_LARGE, error, dicast_json_quote(S("a\"\n"), buffer, 7, &len, &error));
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_json_quote(bad, buffer, 32, &len, &error));
    FAILS(DICAST_INVALID_ARGUMENT, error, dicast_json_quote(S("a"), NULL, 32, &len, &error));
    CHECK(strcmp(buffer, "\"a\\\"\\n\"") == 0);
    dicast_settings_free(settings);
    dicast_settings_free(options);
    dicast_request_free(request);
    return 0;
}
