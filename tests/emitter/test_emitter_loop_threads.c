/* A bus of local: with everything at once: threads that emit, a listener on a pool, an iterator, timers and ticks. Nothing is
 * lost, and order is kept. And a bus that is closed while threads wait for futures of it: they are told, and the bus waits for them
 * to have gone. A plain program, for ThreadSanitizer. */
#include "base/check.h"
#include "crier/iterator.h"
#include "crier/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define EMITTERS 4
#define EMITS    1000
#define WAITERS  3
#define CLOSES   200

static crier *bus;
static atomic_uint on_pool, ticks;
static unsigned last[EMITTERS]; /* of a key: touched by one handler at a time */

struct value {
    unsigned emitter, number;
};

static int on_event(crier *a_bus, const crier_event *event, void *ctx)
{
    struct value value;

    (void)a_bus, (void)ctx;
    CHECK(event->value_size == sizeof(value));
    memcpy(&value, event->value, sizeof(value)); /* a copy that waits for the pool stands at any address */
    CHECK(value.number == last[value.emitter] + 1);
    last[value.emitter] = value.number;
    atomic_fetch_add(&on_pool, 1);
    return 0;
}

static void on_tick(crier *a_bus, void *ctx)
{
    (void)a_bus, (void)ctx;
    atomic_fetch_add(&ticks, 1);
}

static void *emit_all(void *ctx)
{
    struct value value = {.emitter = *(unsigned *)ctx};
    struct crier_emit_options options = crier_emit_options_default();

    options.key = &value.emitter;
    options.key_size = sizeof(value.emitter);
    for (value.number = 1; value.number <= EMITS; value.number++) {
        CHECK(crier_emit_with(bus, "x", &value, sizeof(value), &options) == 0);
        CHECK(crier_next_tick(bus, on_tick, NULL) == 0);
    }
    return NULL;
}

static void *read_all(void *ctx)
{
    unsigned seen[EMITTERS] = {0};

    for (unsigned i = 0; i < EMITTERS * EMITS; i++) {
        struct value value;
        crier_future *next;
        crier_result result;
        CHECK(crier_iterator_next(ctx, &next) == 0);
        CHECK(crier_future_wait(next, -1, &result) == 0 && result.pointer);
        memcpy(&value, ((const crier_event *)result.pointer)->value, sizeof(value));
        CHECK(value.number == ++seen[value.emitter]);
        crier_future_release(next);
    }
    return NULL;
}

static atomic_uint on_their_way;

static void *wait_for(void *ctx)
{
    crier_future *future = ctx;

    atomic_fetch_add(&on_their_way, 1);
    CHECK(crier_future_wait(future, -1, NULL) == CRIER_ECLOSED);
    crier_future_release(future);
    return NULL;
}

/* Wherever they are just then: about to wait, waiting, or not there yet. */
static void a_bus_is_closed_while_threads_wait(const char *url)
{
    struct crier_options options = crier_options_default();

    options.connect_timeout_ms = options.close_timeout_ms = 0; /* nobody has to be there */
    for (unsigned i = 0; i < CLOSES; i++) {
        pthread_t waiters[WAITERS];
        CHECK(crier_open(url, &options, &bus) == 0);
        atomic_store(&on_their_way, 0);
        for (unsigned j = 0; j < WAITERS; j++) {
            crier_future *future;
            CHECK(crier_future_create(bus, &future) == 0);
            CHECK(pthread_create(&waiters[j], NULL, wait_for, future) == 0);
        }
        while (atomic_load(&on_their_way) < i % (WAITERS + 1))
            continue;
        CHECK(crier_close(bus) == 0);
        for (unsigned j = 0; j < WAITERS; j++)
            pthread_join(waiters[j], NULL);
    }
}

int main(void)
{
    struct crier_options options = crier_options_default();
    struct crier_listen_options listen = crier_listen_options_default();
    struct crier_iterator_options iterate = crier_iterator_options_default();
    pthread_t emitters[EMITTERS], reader;
    unsigned numbers[EMITTERS];
    crier_iterator *iterator;
    crier_future *timer;
    crier_pool *pool;

    options.emit_blocks = true;
    CHECK(crier_pool_create(NULL, &pool) == 0);
    CHECK(crier_open("local:", &options, &bus) == 0);
    listen.pool = pool;
    listen.pool_events_max = 8;
    iterate.high = 8;
    iterate.low = 4;
    CHECK(crier_listen(bus, "x", &listen, on_event, NULL, NULL) == 0);
    CHECK(crier_iterate(bus, "x", &iterate, &iterator) == 0);
    CHECK(pthread_create(&reader, NULL, read_all, iterator) == 0);
    for (unsigned i = 0; i < EMITTERS; i++) {
        numbers[i] = i;
        CHECK(pthread_create(&emitters[i], NULL, emit_all, &numbers[i]) == 0);
    }
    for (int i = 0; i < 100; i++) {
        CHECK(crier_after(bus, 0, &timer) == 0);
        CHECK(crier_future_wait(timer, -1, NULL) == 0);
        crier_future_release(timer);
    }
    for (unsigned i = 0; i < EMITTERS; i++)
        pthread_join(emitters[i], NULL);
    pthread_join(reader, NULL);
    crier_iterator_close(iterator);
    while (atomic_load(&on_pool) < EMITTERS * EMITS) { /* a turn of the loop at a time */
        CHECK(crier_after(bus, 0, &timer) == 0);
        CHECK(crier_future_wait(timer, -1, NULL) == 0);
        crier_future_release(timer);
    }
    CHECK(crier_close(bus) == 0);
    CHECK(crier_pool_destroy(pool) == 0);
    CHECK(atomic_load(&ticks) == EMITTERS * EMITS);
    a_bus_is_closed_while_threads_wait("local:");
    a_bus_is_closed_while_threads_wait("crier://127.0.0.1:1");
    return 0;
}
