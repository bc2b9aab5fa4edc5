/* The program's own engine; it holds its jobs until the test ends them. */
#ifndef HOLDING_H
#define HOLDING_H

#include "check.h"

enum { MOST = 64 };

struct engine {
    pthread_mutex_t lock;
    dicast_job *jobs[MOST];
    size_t count;
};

static void hold(void *user_data, dicast_job *job) {
    struct engine *engine = user_data;
    pthread_mutex_lock(&engine->lock);
    CHECK(engine->count < MOST);
    engine->jobs[engine->count++] = job;
    pthread_mutex_unlock(&engine->lock);
}

/* A judge on this engine. */
static inline dicast_judge *open_on(struct engine *engine, const char *config) {
    dicast_judge *judge = NULL;
    dicast_error *error = NULL;
    dicast_engine table;
    memset(&table, 0, sizeof table);
    table.struct_size = sizeof table;
    table.user_data = engine;
    table.generate = hold;
    OK(error, dicast_judge_open_engine(S(config), NULL, &table, NULL, &judge, &error));
    return judge;
}

#endif
