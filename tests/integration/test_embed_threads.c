/* test_embed_threads.c: buses of many threads on a few folders, opened and closed all the time: each folder has one broker
 * while anybody needs it, and everything acknowledged is there in the end. A plain program, so that TSan can run it. */
#include "base/check.h"
#include "crier/crier.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 8
#define FOLDERS 2
#define ROUNDS  12
#define EVENTS  20

struct world {
    char parent[64];
    pthread_t threads[THREADS];
};

struct task {
    struct world *world;
    int number;
};

static void url_of(const struct world *world, int folder, char url[128])
{
    snprintf(url, 128, "embed:%s/%d", world->parent, folder);
}

static void on_emitted(crier *bus, int code, uint64_t offset, void *ctx)
{
    (void)bus;
    (void)offset;
    CHECK(code == 0);
    ++*(int *)ctx;
}

static void *emit_rounds(void *argument)
{
    const struct task *task = argument;
    for (int round = 0; round < ROUNDS; round++) {
        struct crier_emit_options options = crier_emit_options_default();
        char url[128];
        int acked = 0;
        crier *bus;
        url_of(task->world, (task->number + round) % FOLDERS, url);
        CHECK(crier_open(url, NULL, &bus) == 0);
        options.done = on_emitted;
        options.ctx = &acked;
        for (int i = 0; i < EVENTS; i++)
            CHECK(crier_emit_with(bus, "t", "x", 1, &options) == 0);
        CHECK(crier_close(bus) == 0);
        CHECK(acked == EVENTS);
    }
    return NULL;
}

static void add_watermark(void *ctx, const struct crier_topic_info *info)
{
    *(uint64_t *)ctx += info->partitions[0].high_watermark;
}

int main(void)
{
    struct world world = {.parent = "/tmp/crier-embed-threads-XXXXXX"};
    struct task tasks[THREADS];
    char command[128];
    uint64_t events = 0;
    CHECK(mkdtemp(world.parent));
    for (int i = 0; i < THREADS; i++) {
        tasks[i] = (struct task){.world = &world, .number = i};
        CHECK(pthread_create(&world.threads[i], NULL, emit_rounds, &tasks[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(world.threads[i], NULL);
    for (int i = 0; i < FOLDERS; i++) {
        char url[128];
        crier *bus;
        url_of(&world, i, url);
        CHECK(crier_open(url, NULL, &bus) == 0);
        CHECK(crier_topic_describe(bus, "t", add_watermark, &events) == 0);
        CHECK(crier_close(bus) == 0);
    }
    CHECK(events == THREADS * ROUNDS * EVENTS);
    snprintf(command, sizeof(command), "rm -rf '%s'", world.parent);
    return system(command) == 0 ? 0 : 1;
}
