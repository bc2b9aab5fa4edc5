/* The memory that a model needs is known before it is opened. */
#include "check.h"

int main(int argc, char **argv) {
    dicast_error *error = NULL;
    dicast_memory memory = {0};
    char config[4096];
    uint64_t small;
    begin(argc);
    memory.struct_size = sizeof memory;
    snprintf(config, sizeof config, "{\"model\": \"%s\", \"local\": {\"context_tokens\": 512}}", argv[1]);
    OK(error, dicast_memory_need(S(config), &memory, &error));
    CHECK(memory.weights > 1000000 && memory.kv_cache > 0 && memory.compute > 0 && memory.kv_tokens >= 512);
    small = memory.kv_cache;
    snprintf(config, sizeof config, "{\"model\": \"%s\", \"local\": {\"context_tokens\": 1024}}", argv[1]);
    OK(error, dicast_memory_need(S(config), &memory, &error));
    CHECK(memory.kv_cache == 2 * small);
    FAILS(DICAST_INVALID_CONFIG, error, dicast_memory_need(S("{}"), &memory, &error));
    FAILS(DICAST_MODEL_NOT_FOUND, error, dicast_memory_need(S("{\"model\": \"/no/such.gguf\"}"), &memory, &error));
    FAILS(DICAST_UNSUPPORTED, error, dicast_memory_need(S("{\"model\": \"http://127.0.0.1:1\"}"), &memory, &error));
    CHECK(memory.kv_cache == 2 * small);
    return 0;
}
