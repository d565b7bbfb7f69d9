/* test_client_pool.c: handlers and jobs on a worker pool, against the real crierd. For ThreadSanitizer too, so without
 * Criterion.
 *
 * Promises: events of a key in order, others at the same time; a group's position only past what succeeded from the front; a
 * failure ends the listener before its event; nothing runs any more when the bus is closed, and nothing keeps it from that. */
#include "base/check.h"
#include "base/clock.h"
#include "crier/pool.h"
#include "tests/support/broker_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS    7
#define EVENTS  3000
#define WAIT_MS 20000

struct world {
    struct broker *broker;
    crier *bus, *other;
    crier_pool *pool;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned next[KEYS], handled, handled_b;
    bool running[KEYS], gate_open, released;
    int released_code;
    uint64_t position;
};

static void world_open(struct world *world, unsigned threads)
{
    struct crier_pool_options options = crier_pool_options_default();

    memset(world, 0, sizeof(*world));
    pthread_mutex_init(&world->lock, NULL);
    pthread_cond_init(&world->changed, NULL);
    options.threads = threads;
    options.jobs_max = 1;
    CHECK((world->broker = broker_start(NULL)));
    CHECK(crier_open(broker_url(world->broker), NULL, &world->bus) == 0);
    CHECK(crier_open(broker_url(world->broker), NULL, &world->other) == 0);
    CHECK(crier_pool_create(&options, &world->pool) == 0);
}

static void world_close(struct world *world, int code)
{
    CHECK(crier_close(world->bus) == code);
    CHECK(crier_close(world->other) == 0);
    CHECK(crier_pool_destroy(world->pool) == 0);
    CHECK(broker_destroy(world->broker) == 0);
}

static void changed(struct world *world)
{
    pthread_cond_broadcast(&world->changed);
    pthread_mutex_unlock(&world->lock);
}

static void wait_for(struct world *world, const unsigned *counter, unsigned wanted)
{
    pthread_mutex_lock(&world->lock);
    while (*counter < wanted)
        pthread_cond_wait(&world->changed, &world->lock);
    pthread_mutex_unlock(&world->lock);
}

static void on_released(void *ctx, int code, const char *text)
{
    struct world *world = ctx;

    (void)text;
    pthread_mutex_lock(&world->lock);
    world->released = true;
    world->released_code = code;
    changed(world);
}

static void emit(struct world *world, const char *key, unsigned number)
{
    struct crier_emit_options options = crier_emit_options_default();

    options.key = key;
    options.key_size = strlen(key);
    CHECK(crier_emit_with(world->other, "t", &number, sizeof(number), &options) == 0);
}

static void listen(struct world *world, crier_handler *handler, uint32_t events_max)
{
    struct crier_listen_options options = crier_listen_options_default();

    options.group = "g";
    options.from = CRIER_EARLIEST;
    options.pool = world->pool;
    options.pool_events_max = events_max;
    options.released = on_released;
    CHECK(crier_listen(world->bus, "t", &options, handler, world, NULL) == 0);
}

static void position_tell(void *ctx, const struct crier_group_info *info)
{
    struct world *world = ctx;

    world->position =
        info->partition_count > 0 && info->partitions[0].has_position ? info->partitions[0].position : 0;
}

static uint64_t position(struct world *world)
{
    CHECK(crier_group_describe(world->other, "g", "t", position_tell, world) == 0);
    return world->position;
}

/* ---- order ---- */

static int in_order(crier *bus, const crier_event *event, void *ctx)
{
    struct world *world = ctx;
    unsigned key = (unsigned)(*(const char *)event->key - 'a'), number;

    (void)bus;
    memcpy(&number, event->value, sizeof(number));
    pthread_mutex_lock(&world->lock);
    CHECK(!world->running[key]); /* one key is on one thread at a time */
    CHECK(world->next[key] == number);
    world->running[key] = true;
    pthread_mutex_unlock(&world->lock);
    pthread_mutex_lock(&world->lock);
    world->running[key] = false;
    world->next[key]++;
    world->handled++;
    changed(world);
    return 0;
}

static void keys_keep_their_order(void)
{
    struct world world;

    world_open(&world, 4);
    for (unsigned i = 0; i < EVENTS; i++)
        emit(&world, (char[]){(char)('a' + i % KEYS), '\0'}, i / KEYS);
    CHECK(crier_flush(world.other, -1) == 0);
    listen(&world, in_order, 16); /* so few that it is paused again and again */
    wait_for(&world, &world.handled, EVENTS);
    CHECK(crier_pool_destroy(world.pool) == CRIER_EBUSY);
    CHECK(crier_close(world.bus) == 0); /* commits */
    CHECK(position(&world) == EVENTS);
    CHECK(world.released && world.released_code == 0);
    CHECK(crier_open(broker_url(world.broker), NULL, &world.bus) == 0);
    world_close(&world, 0);
}

/* ---- the position ---- */

/* Key a waits at the gate; key b runs past it. */
static int gated(crier *bus, const crier_event *event, void *ctx)
{
    struct world *world = ctx;

    (void)bus;
    pthread_mutex_lock(&world->lock);
    while (*(const char *)event->key == 'a' && !world->gate_open)
        pthread_cond_wait(&world->changed, &world->lock);
    world->handled++;
    world->handled_b += *(const char *)event->key == 'b';
    changed(world);
    return 0;
}

static void the_position_waits_for_the_slowest(void)
{
    struct world world;
    int64_t round_trip;

    world_open(&world, 2);
    emit(&world, "b", 0);
    emit(&world, "a", 1);
    for (unsigned i = 0; i < 50; i++)
        emit(&world, "b", 2 + i);
    CHECK(crier_flush(world.other, -1) == 0);
    listen(&world, gated, 0);
    wait_for(&world, &world.handled_b, 51);
    while (position(&world) < 1) /* the first is committed */
        CHECK(crier_ping(world.other, &round_trip) == 0);
    CHECK(position(&world) == 1); /* and no more: offset 1 is at the gate */
    pthread_mutex_lock(&world.lock);
    world.gate_open = true;
    changed(&world);
    while (position(&world) < 52)
        CHECK(crier_ping(world.other, &round_trip) == 0);
    world_close(&world, 0);
}

/* ---- failures ---- */

static int fail_at_5(crier *bus, const crier_event *event, void *ctx)
{
    struct world *world = ctx;

    (void)bus;
    pthread_mutex_lock(&world->lock);
    world->handled++;
    changed(world);
    return event->offset == 5 ? -1 : 0;
}

static void a_failure_ends_the_listener_before_its_event(void)
{
    struct world world;

    world_open(&world, 2);
    for (unsigned i = 0; i < 20; i++)
        emit(&world, "a", i);
    CHECK(crier_flush(world.other, -1) == 0);
    listen(&world, fail_at_5, 0);
    pthread_mutex_lock(&world.lock);
    while (!world.released)
        pthread_cond_wait(&world.changed, &world.lock);
    CHECK(world.released_code == CRIER_EHANDLER);
    CHECK(world.handled == 6 || world.handled > 6); /* what had begun meanwhile */
    pthread_mutex_unlock(&world.lock);
    while (position(&world) < 5) /* its COMMIT is on its way */
        continue;
    CHECK(position(&world) == 5);
    world_close(&world, CRIER_EHANDLER);
}

/* ---- jobs ---- */

static int square(crier_outcome *ret, void *ctx)
{
    ret->result.number = *(unsigned *)ctx * *(unsigned *)ctx;
    return *(unsigned *)ctx == 3 ? CRIER_EINVAL : 0;
}

static int hold(crier_outcome *ret, void *ctx)
{
    struct world *world = ctx;

    (void)ret;
    pthread_mutex_lock(&world->lock);
    world->handled++;
    pthread_cond_broadcast(&world->changed);
    while (!world->gate_open)
        pthread_cond_wait(&world->changed, &world->lock);
    pthread_mutex_unlock(&world->lock);
    return 0;
}

static void jobs_have_futures(void)
{
    struct world world;
    crier_future *held, *waiting, *job;
    crier_result result;
    unsigned two = 2, three = 3;

    world_open(&world, 1);
    CHECK(crier_pool_submit(world.pool, world.bus, square, &two, &job) == 0);
    CHECK(crier_future_wait(job, WAIT_MS, &result) == 0 && result.number == 4);
    crier_future_release(job);
    CHECK(crier_pool_submit(world.pool, world.bus, square, &three, &job) == 0);
    CHECK(crier_future_wait(job, WAIT_MS, NULL) == CRIER_EINVAL);
    crier_future_release(job);
    CHECK(crier_pool_submit(world.pool, world.bus, hold, &world, &held) == 0);
    wait_for(&world, &world.handled, 1);
    CHECK(crier_pool_submit(world.pool, world.bus, square, &two, &waiting) == 0);
    CHECK(crier_pool_submit(world.pool, world.bus, square, &two, &job) == CRIER_EAGAIN);
    CHECK(crier_future_cancel(waiting) == 0); /* makes room */
    CHECK(crier_pool_submit(world.pool, world.bus, square, &two, &job) == 0);
    pthread_mutex_lock(&world.lock);
    world.gate_open = true;
    changed(&world);
    CHECK(crier_future_wait(job, WAIT_MS, &result) == 0 && result.number == 4);
    crier_future_release(job);
    crier_future_release(held);
    crier_future_release(waiting);
    world_close(&world, 0);
}

/* ---- the end ---- */

static void closing_waits_for_what_runs(void)
{
    struct world world;

    world_open(&world, 3);
    for (unsigned i = 0; i < 500; i++)
        emit(&world, (char[]){(char)('a' + i % KEYS), '\0'}, i / KEYS);
    CHECK(crier_flush(world.other, -1) == 0);
    listen(&world, in_order, 0);
    wait_for(&world, &world.handled, 10);
    CHECK(crier_close(world.bus) == 0); /* in the middle */
    pthread_mutex_lock(&world.lock);
    CHECK(world.released);
    unsigned handled = world.handled;
    pthread_mutex_unlock(&world.lock);
    CHECK(crier_pool_destroy(world.pool) == 0);
    CHECK(handled == world.handled); /* nothing ran after close */
    CHECK(position(&world) <= handled);
    CHECK(crier_close(world.other) == 0);
    CHECK(broker_destroy(world.broker) == 0);
}

/* A handler may wait for what only the loop can bring, and at the end the loop waits for the handler: it is told that nothing comes. */
enum wait_for { WAIT_FLUSH, WAIT_PING, WAIT_EMIT, WAIT_NEVER, WAITS };

struct waiting {
    struct world *world;
    enum wait_for what;
    crier_future *never;
    int code;
};

static int future_code(crier_future *future)
{
    int code = crier_future_wait(future, -1, NULL);

    crier_future_release(future);
    return code;
}

static int wait_inside(crier *bus, const crier_event *event, void *ctx)
{
    struct waiting *waiting = ctx;
    crier_future *future;
    int64_t round_trip_us;

    (void)event;
    CHECK(kill(broker_pid(waiting->world->broker), SIGSTOP) == 0); /* nothing is answered any more */
    CHECK(crier_emit_future(bus, "other", "x", 1, NULL, &future) == 0);
    pthread_mutex_lock(&waiting->world->lock);
    waiting->world->handled++;
    changed(waiting->world);
    if (waiting->what == WAIT_EMIT)
        waiting->code = future_code(future);
    else
        crier_future_release(future);
    if (waiting->what == WAIT_FLUSH)
        waiting->code = crier_flush(bus, -1);
    else if (waiting->what == WAIT_PING)
        waiting->code = crier_ping(bus, &round_trip_us);
    else if (waiting->what == WAIT_NEVER)
        waiting->code = future_code(waiting->never);
    return 0;
}

static void closing_ends_what_handlers_wait_for(void)
{
    for (int what = 0; what < WAITS; what++) {
        struct crier_options options = crier_options_default();
        struct crier_listen_options listen = crier_listen_options_default();
        struct world world;
        struct waiting waiting = {.world = &world, .what = (enum wait_for)what};
        crier *bus;
        world_open(&world, 1);
        options.close_timeout_ms = 50;
        options.request_timeout_ms = 600000;
        CHECK(crier_open(broker_url(world.broker), &options, &bus) == 0);
        CHECK(crier_future_create(bus, &waiting.never) == 0);
        CHECK(crier_emit(world.other, "t", "x", 1) == 0 && crier_flush(world.other, -1) == 0);
        listen.pool = world.pool;
        listen.from = CRIER_EARLIEST;
        CHECK(crier_listen(bus, "t", &listen, wait_inside, &waiting, NULL) == 0);
        wait_for(&world, &world.handled, 1);
        CHECK(crier_close(bus) == CRIER_ETIMEDOUT);
        CHECK(waiting.code < 0);
        if (what != WAIT_NEVER)
            crier_future_release(waiting.never);
        CHECK(kill(broker_pid(world.broker), SIGCONT) == 0);
        world_close(&world, 0);
    }
}

int main(void)
{
    keys_keep_their_order();
    the_position_waits_for_the_slowest();
    a_failure_ends_the_listener_before_its_event();
    jobs_have_futures();
    closing_waits_for_what_runs();
    closing_ends_what_handlers_wait_for();
    return 0;
}
