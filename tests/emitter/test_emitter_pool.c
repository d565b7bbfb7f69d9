/* Handlers on a worker pool, on a bus of local:. */
#include "crier/crier.h"
#include "crier/pool.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

static crier *bus;
static crier_pool *pool;

/* What handlers on the pool write down, and gates at which they wait. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char trace[4096];
    unsigned inside, released, gate; /* gate: so many may pass */
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void setup(void)
{
    struct crier_pool_options options = crier_pool_options_default();
    options.threads = 2;
    cr_assert_eq(crier_open("local:", NULL, &bus), 0);
    cr_assert_eq(crier_pool_create(&options, &pool), 0);
}

static void teardown(void)
{
    cr_assert_eq(crier_close(bus), 0);
    cr_assert_eq(crier_pool_destroy(pool), 0);
}

TestSuite(local_pool, .init = setup, .fini = teardown, .timeout = 60);

static void note(const char *text, size_t size)
{
    pthread_mutex_lock(&seen.lock);
    strncat(seen.trace, text, size);
    pthread_cond_broadcast(&seen.changed);
    pthread_mutex_unlock(&seen.lock);
}

static void wait_until(const unsigned *counter, unsigned wanted)
{
    pthread_mutex_lock(&seen.lock);
    while (*counter < wanted)
        pthread_cond_wait(&seen.changed, &seen.lock);
    pthread_mutex_unlock(&seen.lock);
}

static void wait_for_trace(size_t length)
{
    pthread_mutex_lock(&seen.lock);
    while (strlen(seen.trace) < length)
        pthread_cond_wait(&seen.changed, &seen.lock);
    pthread_mutex_unlock(&seen.lock);
}

static void let_pass(unsigned count)
{
    pthread_mutex_lock(&seen.lock);
    seen.gate += count;
    pthread_cond_broadcast(&seen.changed);
    pthread_mutex_unlock(&seen.lock);
}

static int on_event(crier *a_bus, const crier_event *event, void *ctx)
{
    (void)a_bus, (void)ctx;
    note(event->value, event->value_size);
    return 0;
}

static int on_gate(crier *a_bus, const crier_event *event, void *ctx)
{
    (void)a_bus, (void)ctx;
    pthread_mutex_lock(&seen.lock);
    seen.inside++;
    pthread_cond_broadcast(&seen.changed);
    while (seen.gate == 0)
        pthread_cond_wait(&seen.changed, &seen.lock);
    seen.gate--;
    pthread_mutex_unlock(&seen.lock);
    note(event->value, event->value_size);
    return 0;
}

static int on_failing(crier *a_bus, const crier_event *event, void *ctx)
{
    (void)a_bus, (void)event, (void)ctx;
    return -7;
}

static int on_gate_failing(crier *a_bus, const crier_event *event, void *ctx)
{
    on_gate(a_bus, event, ctx);
    return -7;
}

static void on_released(void *ctx, int code, const char *text)
{
    (void)ctx, (void)code, (void)text;
    pthread_mutex_lock(&seen.lock);
    seen.released++;
    pthread_cond_broadcast(&seen.changed);
    pthread_mutex_unlock(&seen.lock);
}

static crier_listener *listen_on_pool(const char *topic, crier_handler *handler, uint64_t count,
                                      uint32_t events_max)
{
    struct crier_listen_options options = crier_listen_options_default();
    crier_listener *listener;
    options.pool = pool;
    options.pool_events_max = events_max;
    options.count = count;
    options.released = on_released;
    cr_assert_eq(crier_listen(bus, topic, &options, handler, NULL, &listener), 0);
    return listener;
}

static int emit_keyed(const char *key, const char *value)
{
    struct crier_emit_options options = crier_emit_options_default();
    options.key = key;
    options.key_size = strlen(key);
    return crier_emit_with(bus, "x", value, strlen(value), &options);
}

Test(local_pool, events_of_one_key_run_one_after_the_other)
{
    listen_on_pool("x", on_event, 0, 0);
    for (const char *at = "abcdefghijklmnopqrstuvwxyz"; *at; at++)
        cr_assert_eq(emit_keyed("k", (char[2]){*at, '\0'}), 0);
    wait_for_trace(26);
    cr_assert_str_eq(seen.trace, "abcdefghijklmnopqrstuvwxyz");
}

Test(local_pool, events_of_other_keys_run_at_the_same_time)
{
    listen_on_pool("x", on_gate, 0, 0);
    cr_assert_eq(emit_keyed("1", "a"), 0);
    cr_assert_eq(emit_keyed("2", "b"), 0);
    wait_until(&seen.inside, 2); /* neither waits for the other */
    let_pass(2);
    wait_for_trace(2);
}

Test(local_pool, an_emit_does_not_wait_for_its_handlers)
{
    listen_on_pool("x", on_gate, 0, 0);
    cr_assert_eq(crier_emit(bus, "x", "a", 1), 0);
    cr_assert_str_eq(seen.trace, "");
    let_pass(1);
    wait_for_trace(1);
}

Test(local_pool, what_has_no_room_is_refused)
{
    listen_on_pool("x", on_gate, 0, 2);
    cr_assert_eq(crier_emit(bus, "x", "a", 1), 0);
    cr_assert_eq(crier_emit(bus, "x", "b", 1), 0);
    cr_assert_eq(crier_emit(bus, "x", "c", 1), CRIER_EAGAIN);
    let_pass(2);
    wait_for_trace(2);
    cr_assert_str_eq(seen.trace, "ab");
}

Test(local_pool, released_comes_after_the_last_handler)
{
    crier_listener *listener = listen_on_pool("x", on_gate, 0, 0);
    cr_assert_eq(crier_emit(bus, "x", "a", 1), 0);
    wait_until(&seen.inside, 1);
    cr_assert_eq(crier_emit(bus, "x", "b", 1), 0);
    cr_assert_eq(crier_unlisten(listener), 0);
    cr_assert_eq(seen.released, 0);
    let_pass(1);
    wait_until(&seen.released, 1);
    cr_assert_str_eq(seen.trace, "a"); /* what had not begun was not begun any more */
}

Test(local_pool, a_last_event_is_handled_and_then_released)
{
    listen_on_pool("x", on_gate, 1, 0);
    cr_assert_eq(crier_emit(bus, "x", "a", 1), 0);
    cr_assert_eq(crier_emit(bus, "x", "b", 1), 0);
    cr_assert_eq(crier_listener_count(bus, "x", NULL, NULL), 0);
    let_pass(1);
    wait_until(&seen.released, 1);
    cr_assert_str_eq(seen.trace, "a");
}

Test(local_pool, a_pool_that_is_listened_with_is_not_destroyed)
{
    crier_listener *listener = listen_on_pool("x", on_event, 0, 0);
    cr_assert_eq(crier_pool_destroy(pool), CRIER_EBUSY);
    cr_assert_eq(crier_unlisten(listener), 0);
}

static int on_error(crier *a_bus, const crier_event *event, void *ctx)
{
    (void)a_bus, (void)ctx;
    cr_assert_eq(event->error, CRIER_EHANDLER);
    note("!", 1);
    return 0;
}

Test(local_pool, a_handler_that_fails_becomes_an_error)
{
    listen_on_pool("x", on_failing, 0, 0);
    cr_assert_eq(crier_on(bus, "error", on_error, NULL), 0);
    cr_assert_eq(crier_emit(bus, "x", "a", 1), 0);
    wait_for_trace(1);
    cr_assert_eq(crier_listener_count(bus, "x", NULL, NULL), 1);
}

Test(local_pool, a_failure_that_nobody_hears_is_returned_at_the_end)
{
    crier *other;
    struct crier_listen_options options = crier_listen_options_default();
    options.pool = pool;
    cr_assert_eq(crier_open("local:", NULL, &other), 0);
    cr_assert_eq(crier_listen(other, "x", &options, on_gate_failing, NULL, NULL), 0);
    cr_assert_eq(crier_emit(other, "x", "a", 1), 0);
    wait_until(&seen.inside, 1);
    let_pass(1);
    cr_assert_eq(crier_close(other), CRIER_EHANDLER);
}

Test(local_pool, closing_waits_for_handlers_that_run)
{
    crier *other;
    struct crier_listen_options options = crier_listen_options_default();
    options.pool = pool;
    cr_assert_eq(crier_open("local:", NULL, &other), 0);
    cr_assert_eq(crier_listen(other, "x", &options, on_gate, NULL, NULL), 0);
    cr_assert_eq(crier_emit(other, "x", "a", 1), 0);
    wait_until(&seen.inside, 1);
    let_pass(1);
    cr_assert_eq(crier_close(other), 0);
    cr_assert_str_eq(seen.trace, "a");
}

Test(local_pool, what_is_local_to_the_bus_is_told_at_once)
{
    listen_on_pool("newListener", on_event, 0, 0);
    cr_assert_eq(crier_on(bus, "y", on_event, NULL), 0);
    cr_assert_str_eq(seen.trace, "y");
}

static int emit_inside(crier *a_bus, const crier_event *event, void *ctx)
{
    (void)event, (void)ctx;
    return crier_emit(a_bus, "y", "y", 1);
}

Test(local_pool, handlers_may_emit)
{
    cr_assert_eq(crier_on(bus, "y", on_event, NULL), 0);
    listen_on_pool("x", emit_inside, 0, 0);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(emit_keyed((char[2]){(char)('a' + i % 26), '\0'}, "x"), 0);
    wait_for_trace(100);
}
