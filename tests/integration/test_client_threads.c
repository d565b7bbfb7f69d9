/* test_client_threads.c: one bus, many threads, every call at once. Made for ThreadSanitizer; a program of its own,
 * because Criterion cannot run under it. With an argument the bus is an embedded broker's.
 *
 * Promise: any thread may call any function on a bus; every accepted emit has one outcome and is heard once, in the order
 * of its thread. */
#include "tests/support/broker_fixture.h"

#include "crier/crier.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EMITTERS    8
#define EVENTS_EACH 10500
#define CHURNERS    2
#define CHURNS      40
#define REQUIRE(what)                                                                                        \
    do {                                                                                                     \
        if (!(what)) {                                                                                       \
            fprintf(stderr, "%s:%d: %s is not so\n", __FILE__, __LINE__, #what);                             \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

struct world {
    struct broker *broker;
    crier *bus;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned heard, next[EMITTERS]; /* per emitter: the next number expected */
    unsigned echoes;
    unsigned released;
    atomic_uint done, drains, not_echoed;
};

struct worker {
    struct world *world;
    unsigned number;
    pthread_t thread;
};

static void on_done(crier *bus, int code, uint64_t offset, void *ctx)
{
    struct world *world = ctx;
    (void)bus;
    (void)offset;
    REQUIRE(code == 0);
    atomic_fetch_add(&world->done, 1);
}

static void on_drain(crier *bus, void *ctx)
{
    struct world *world = ctx;
    (void)bus;
    atomic_fetch_add(&world->drains, 1);
}

/* In a handler nothing blocks: what does not fit is left out, and counted. */
static void echo(crier *bus, struct world *world, const char *text)
{
    int rc = crier_emit(bus, "echo", text, strlen(text));
    REQUIRE(rc == 0 || rc == CRIER_EAGAIN);
    if (rc == CRIER_EAGAIN)
        atomic_fetch_add(&world->not_echoed, 1);
}

/* "<emitter> <number>", in order per emitter; every hundredth is answered from inside the handler. */
static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    struct world *world = ctx;
    unsigned emitter, number;
    char text[32];
    snprintf(text, sizeof(text), "%.*s", (int)event->value_size, (const char *)event->value);
    REQUIRE(sscanf(text, "%u %u", &emitter, &number) == 2);
    if (number % 100 == 0)
        echo(bus, world, text);
    pthread_mutex_lock(&world->lock);
    REQUIRE(number == world->next[emitter]);
    world->next[emitter]++;
    world->heard++;
    pthread_cond_signal(&world->changed);
    pthread_mutex_unlock(&world->lock);
    return 0;
}

static int on_echo(crier *bus, const crier_event *event, void *ctx)
{
    struct world *world = ctx;
    (void)bus;
    (void)event;
    pthread_mutex_lock(&world->lock);
    world->echoes++;
    pthread_cond_signal(&world->changed);
    pthread_mutex_unlock(&world->lock);
    return 0;
}

static int on_churn(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus;
    (void)event;
    (void)ctx;
    return 0;
}

static void on_released(void *ctx, int code, const char *text)
{
    struct world *world = ctx;
    (void)text;
    REQUIRE(code == 0);
    pthread_mutex_lock(&world->lock);
    world->released++;
    pthread_cond_signal(&world->changed);
    pthread_mutex_unlock(&world->lock);
}

static void *emit_run(void *ctx)
{
    struct worker *worker = ctx;
    struct crier_emit_options options = crier_emit_options_default();
    char text[32];
    for (unsigned i = 0; i < EVENTS_EACH; i++) {
        int size = snprintf(text, sizeof(text), "%u %u", worker->number, i);
        options.done = i % 3 == 0 ? on_done : NULL;
        options.ctx = worker->world;
        REQUIRE(crier_emit_with(worker->world->bus, "t", text, (size_t)size, &options) == 0);
        if (i % 1000 == 999)
            REQUIRE(crier_flush(worker->world->bus, -1) == 0);
    }
    return NULL;
}

/* Listeners come and go, questions are asked, while the others emit. */
static void *churn_run(void *ctx)
{
    struct worker *worker = ctx;
    struct world *world = worker->world;
    struct crier_listen_options options = crier_listen_options_default();
    struct crier_stats stats;
    crier_listener *listener;
    int64_t us;
    char topic[32];
    options.released = on_released;
    for (unsigned i = 0; i < CHURNS; i++) {
        snprintf(topic, sizeof(topic), "churn.%u.%u", worker->number, i % 3);
        REQUIRE(crier_listen(world->bus, topic, &options, on_churn, world, &listener) == 0);
        REQUIRE(crier_emit(world->bus, topic, "x", 1) == 0);
        crier_stats(world->bus, &stats);
        REQUIRE(crier_ping(world->bus, &us) == 0);
        REQUIRE(i % 2 ? crier_unlisten(listener) == 0 : crier_off(world->bus, topic, on_churn, world) == 0);
    }
    return NULL;
}

static void wait_for(struct world *world, const unsigned *counter, unsigned wanted)
{
    pthread_mutex_lock(&world->lock);
    while (*counter < wanted) /* ctest ends what takes too long */
        pthread_cond_wait(&world->changed, &world->lock);
    pthread_mutex_unlock(&world->lock);
}

static void world_open(struct world *world, const char *url)
{
    struct crier_options options = crier_options_default();
    *world = (struct world){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    world->broker = url ? NULL : broker_start(NULL);
    REQUIRE(url || world->broker);
    options.emit_blocks = true;
    options.drain = on_drain;
    options.ctx = world;
    options.buffer_size_max = 256 * 1024;
    options.batch_size_max = 16 * 1024;
    REQUIRE(crier_open(url ? url : broker_url(world->broker), &options, &world->bus) == 0);
}

static void every_call_at_once(const char *url)
{
    struct world world;
    struct worker workers[EMITTERS + CHURNERS];
    struct crier_listen_options earliest = crier_listen_options_default();
    world_open(&world, url);
    earliest.from = CRIER_EARLIEST;
    REQUIRE(crier_listen(world.bus, "t", &earliest, on_event, &world, NULL) == 0);
    REQUIRE(crier_listen(world.bus, "echo", &earliest, on_echo, &world, NULL) == 0);
    for (unsigned i = 0; i < EMITTERS + CHURNERS; i++) {
        workers[i] = (struct worker){.world = &world, .number = i};
        REQUIRE(pthread_create(&workers[i].thread, NULL, i < EMITTERS ? emit_run : churn_run, &workers[i]) ==
                0);
    }
    for (unsigned i = 0; i < EMITTERS + CHURNERS; i++)
        pthread_join(workers[i].thread, NULL);
    REQUIRE(crier_flush(world.bus, -1) == 0);
    REQUIRE(atomic_load(&world.done) == EMITTERS * EVENTS_EACH / 3);
    wait_for(&world, &world.heard, EMITTERS * EVENTS_EACH);
    wait_for(&world, &world.echoes, EMITTERS * EVENTS_EACH / 100 - atomic_load(&world.not_echoed));
    wait_for(&world, &world.released, CHURNERS * CHURNS);
    REQUIRE(crier_close(world.bus) == 0);
    REQUIRE(broker_destroy(world.broker) == 0);
}

/* Emits race the end of the broker: flush returns in time, and close tells every emit. */
static void the_broker_dies_meanwhile(void)
{
    struct world world;
    struct crier_options options = crier_options_default();
    struct crier_stats stats;
    world = (struct world){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    world.broker = broker_start(NULL);
    REQUIRE(world.broker);
    options.close_timeout_ms = 100;
    options.buffer_size_max = 1 << 20;
    REQUIRE(crier_open(broker_url(world.broker), &options, &world.bus) == 0);
    for (int i = 0; i < 1000; i++)
        REQUIRE(crier_emit(world.bus, "t", "x", 1) == 0);
    broker_kill(world.broker);
    for (int i = 0; i < 1000; i++)
        REQUIRE(crier_emit(world.bus, "t", "x", 1) == 0);
    REQUIRE(crier_flush(world.bus, 10) == CRIER_ETIMEDOUT);
    crier_stats(world.bus, &stats);
    REQUIRE(stats.emitted == 2000);
    REQUIRE(crier_close(world.bus) == CRIER_ETIMEDOUT);
    broker_destroy(world.broker);
}

static void every_call_at_once_inside(void)
{
    char folder[] = "/tmp/crier-threads-XXXXXX", text[64];
    REQUIRE(mkdtemp(folder));
    snprintf(text, sizeof(text), "embed:%s", folder);
    every_call_at_once(text);
    snprintf(text, sizeof(text), "rm -rf '%s'", folder);
    REQUIRE(system(text) == 0);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        every_call_at_once_inside();
    } else {
        every_call_at_once(NULL);
        the_broker_dies_meanwhile();
    }
    puts("ok");
    return 0;
}
