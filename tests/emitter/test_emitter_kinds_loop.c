/* Futures, timers, iterators and pools on every kind of bus: local:, embed: and a broker elsewhere, by the same program. What
 * differs stands in the table of docs/emitter-conformance.md. */
#include "crier/crier.h"
#include "crier/future.h"
#include "crier/iterator.h"
#include "crier/pool.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { LOCAL, EMBED, ELSEWHERE, KINDS };

static struct world {
    enum kind kind;
    crier *bus;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char trace[256];
} world = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void on_every_kind(void (*test)(void))
{
    for (enum kind kind = LOCAL; kind < KINDS; kind++) {
        char folder[] = "/tmp/crier-kinds-XXXXXX", url[128], command[128];
        struct broker *broker = kind == ELSEWHERE ? broker_start(NULL) : NULL;
        cr_assert_not_null(mkdtemp(folder));
        snprintf(url, sizeof(url), "embed:%s/data", folder);
        world.kind = kind;
        world.trace[0] = '\0';
        cr_assert_eq(crier_open(kind == LOCAL   ? "local:"
                                : kind == EMBED ? url
                                                : broker_url(broker),
                                NULL, &world.bus),
                     0);
        test();
        if (world.bus)
            cr_assert_eq(crier_close(world.bus), 0, "kind %d", kind);
        if (broker)
            cr_assert_eq(broker_destroy(broker), 0);
        snprintf(command, sizeof(command), "rm -rf '%s'", folder);
        cr_assert_eq(system(command), 0);
    }
}

static void note(const char *text, size_t size)
{
    pthread_mutex_lock(&world.lock);
    strncat(world.trace, text, size);
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
}

static void expect(const char *wanted)
{
    pthread_mutex_lock(&world.lock);
    while (strlen(world.trace) < strlen(wanted))
        pthread_cond_wait(&world.changed, &world.lock);
    cr_assert_str_eq(world.trace, wanted, "kind %d", world.kind);
    pthread_mutex_unlock(&world.lock);
}

static int settled(crier_future *future, crier_result *result)
{
    int rc = crier_future_wait(future, -1, result);
    crier_future_release(future);
    return rc;
}

static void emit(const char *topic, const char *value)
{
    cr_assert_eq(crier_emit(world.bus, topic, value, strlen(value)), 0, "kind %d", world.kind);
}

/* ---- futures ---- */

static int on_emitted(const crier_result *result, crier_outcome *ret, void *ctx)
{
    (void)result;
    (void)ctx;
    ret->result.number = 42;
    return 0;
}

static void an_emits_future(void)
{
    crier_future *emitted, *next;
    crier_result result;
    cr_assert_eq(crier_emit_future(world.bus, "x", "1", 1, NULL, &emitted), 0);
    cr_assert_eq(crier_future_then(emitted, on_emitted, NULL, NULL, &next), 0);
    cr_assert_eq(settled(emitted, NULL), 0);
    cr_assert_eq(settled(next, &result), 0);
    cr_assert_eq(result.number, 42);
    cr_assert_eq(crier_emit_future(world.bus, "a..b", "1", 1, NULL, &emitted), CRIER_EINVAL);
}
Test(kinds_loop, an_emit_has_a_future)
{
    on_every_kind(an_emits_future);
}

static void combined(void)
{
    crier_future *futures[3], *future, *never;
    crier_result result;
    for (int i = 0; i < 3; i++)
        cr_assert_eq(crier_emit_future(world.bus, "x", "1", 1, NULL, &futures[i]), 0);
    cr_assert_eq(crier_future_all(world.bus, futures, 3, &future), 0);
    cr_assert_eq(settled(future, &result), 0);
    cr_assert_eq(crier_future_all_settled(world.bus, futures, 3, &future), 0);
    cr_assert_eq(settled(future, &result), 0);
    cr_assert_eq(crier_future_any(world.bus, futures, 3, &future), 0);
    cr_assert_eq(settled(future, &result), 0);
    cr_assert_eq(crier_future_create(world.bus, &never), 0);
    cr_assert_eq(crier_after(world.bus, 0, &future), 0);
    cr_assert_eq(crier_future_cancel_on(never, future), 0);
    cr_assert_eq(settled(never, NULL), CRIER_ECANCELED);
    crier_future_release(future);
    cr_assert_eq(crier_future_any(world.bus, NULL, 0, &future), 0);
    cr_assert_eq(settled(future, NULL), CRIER_EINVAL);
    for (int i = 0; i < 3; i++)
        crier_future_release(futures[i]);
}
Test(kinds_loop, futures_combine_and_cancel)
{
    on_every_kind(combined);
}

static char names[][2] = {"0", "1", "2", "3", "4"};

static void tick(crier *bus, void *ctx)
{
    (void)bus;
    note(ctx, 1);
}

static int continued(const crier_result *result, crier_outcome *ret, void *ctx)
{
    (void)result;
    (void)ret;
    note(ctx, 1);
    return 0;
}

/* Asks for everything at once, on the loop, as a script of Node's would. */
static void puzzle(crier *bus, void *ctx)
{
    crier_future *timer, *settled_now;
    (void)ctx;
    cr_assert_eq(crier_after(bus, 0, &timer), 0);
    cr_assert_eq(crier_future_then(timer, continued, NULL, names[4], NULL), 0);
    cr_assert_eq(crier_immediate(bus, tick, names[3]), 0);
    cr_assert_eq(crier_future_create(bus, &settled_now), 0);
    cr_assert_eq(crier_future_then(settled_now, continued, NULL, names[2], NULL), 0);
    cr_assert_eq(crier_future_settle(settled_now, &(crier_result){0}, NULL), 0);
    cr_assert_eq(crier_next_tick(bus, tick, names[1]), 0);
    note("0", 1);
    crier_future_release(timer);
    crier_future_release(settled_now);
}

static void the_order(void)
{
    cr_assert_eq(crier_next_tick(world.bus, puzzle, NULL), 0);
    expect("01234");
}
Test(kinds_loop, ticks_then_continuations_then_immediates_then_timers)
{
    on_every_kind(the_order);
}
static int on_error(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus;
    (void)ctx;
    cr_assert_eq(event->error, -77);
    note("!", 1);
    return 0;
}

static void on_listening(void *ctx)
{
    (void)ctx;
    note("l", 1);
}

static void unhandled(void)
{
    struct crier_listen_options options = crier_listen_options_default();
    crier_future *future;
    options.listening = on_listening;
    cr_assert_eq(crier_listen(world.bus, "error", &options, on_error, NULL, NULL), 0);
    expect("l");
    cr_assert_eq(crier_future_create(world.bus, &future), 0);
    cr_assert_eq(crier_future_settle(future, &(crier_result){.code = -77}, NULL), 0);
    crier_future_release(future);
    expect("l!");
}
Test(kinds_loop, a_rejection_that_nobody_looks_at_is_an_error)
{
    on_every_kind(unhandled);
}

static int at_the_end(const crier_result *result, crier_outcome *ret, void *ctx)
{
    (void)ret;
    (void)ctx;
    cr_assert_eq(result->code, CRIER_ECLOSED);
    note("closed", 6);
    return 0;
}

static void pending_at_the_end(void)
{
    crier_future *future, *timer;
    cr_assert_eq(crier_future_create(world.bus, &future), 0);
    cr_assert_eq(crier_future_then(future, NULL, at_the_end, NULL, NULL), 0);
    cr_assert_eq(crier_after(world.bus, INT64_C(3600000000), &timer), 0);
    cr_assert_eq(crier_close(world.bus), 0);
    world.bus = NULL;
    expect("closed");
    cr_assert_eq(settled(future, NULL), CRIER_ECLOSED);
    crier_future_release(timer);
}
Test(kinds_loop, what_is_pending_when_the_bus_is_closed_is_rejected)
{
    on_every_kind(pending_at_the_end);
}

static int wait_inside(crier *bus, const crier_event *event, void *ctx)
{
    crier_future *future = ctx;
    (void)bus;
    (void)event;
    note(crier_future_wait(future, -1, NULL) == CRIER_EDEADLK ? "d" : "?", 1);
    return 0;
}

static void waiting_in_a_handler(void)
{
    struct crier_listen_options options = crier_listen_options_default();
    crier_future *future;
    cr_assert_eq(crier_future_create(world.bus, &future), 0);
    options.from = CRIER_EARLIEST;
    cr_assert_eq(crier_listen(world.bus, "x", &options, wait_inside, future, NULL), 0);
    emit("x", "1");
    expect("d");
    crier_future_release(future);
}
Test(kinds_loop, waiting_for_a_future_in_a_handler_is_a_deadlock_that_is_told)
{
    on_every_kind(waiting_in_a_handler);
}

/* ---- events by asking ---- */

static void the_next_event(void)
{
    struct crier_listen_options options = crier_listen_options_default();
    crier_future *next, *canceled;
    crier_result result;
    options.from = CRIER_EARLIEST;
    cr_assert_eq(crier_once_future(world.bus, "x", &options, &next), 0);
    cr_assert_eq(crier_once_future(world.bus, "y", &options, &canceled), 0);
    cr_assert_eq(crier_future_cancel(canceled), 0);
    emit("x", "1");
    emit("x", "2");
    cr_assert_eq(crier_future_wait(next, -1, &result), 0);
    cr_assert_eq(*(const char *)((const crier_event *)result.pointer)->value, '1');
    crier_future_release(next);
    crier_future_release(canceled);
}
Test(kinds_loop, once_gives_the_next_event_as_a_future)
{
    on_every_kind(the_next_event);
}

static void all_events(void)
{
    struct crier_iterator_options options = crier_iterator_options_default();
    struct crier_listen_options listen = crier_listen_options_default();
    crier_iterator *iterator;
    crier_future *next, *signal;
    crier_result result;
    listen.from = CRIER_EARLIEST;
    options.listen = &listen;
    cr_assert_eq(crier_future_create(world.bus, &signal), 0);
    options.signal = signal;
    cr_assert_eq(crier_iterate(world.bus, "x", &options, &iterator), 0);
    for (char value = 'a'; value <= 'z'; value++)
        emit("x", (char[2]){value, '\0'});
    for (char value = 'a'; value <= 'z'; value++) {
        cr_assert_eq(crier_iterator_next(iterator, &next), 0);
        cr_assert_eq(crier_future_wait(next, -1, &result), 0);
        cr_assert_eq(*(const char *)((const crier_event *)result.pointer)->value, value);
        crier_future_release(next);
    }
    cr_assert_eq(crier_iterator_next(iterator, &next), 0);
    cr_assert_eq(crier_future_cancel(signal), 0); /* as an abort signal */
    cr_assert_eq(settled(next, &result), CRIER_ECANCELED);
    crier_iterator_close(iterator);
    crier_future_release(signal);
}
Test(kinds_loop, an_iterator_gives_all_events_in_order_until_it_is_aborted)
{
    on_every_kind(all_events);
}

static void on_iterator_listening(void *ctx)
{
    (void)ctx;
    note("l", 1);
}

/* Slow to ask: what waited is not lost when the last one has come. */
static void counted(void)
{
    struct crier_listen_options listen = crier_listen_options_default();
    struct crier_iterator_options options = crier_iterator_options_default();
    crier_iterator *iterator;
    crier_future *next[5];
    crier_result result;
    listen.count = 3;
    listen.listening = on_iterator_listening;
    options.listen = &listen;
    cr_assert_eq(crier_iterate(world.bus, "x", &options, &iterator), 0);
    expect("l");
    for (int i = 0; i < 5; i++)
        emit("x", (const char *[]){"1", "2", "3", "4", "5"}[i]);
    cr_assert_eq(crier_flush(world.bus, -1), 0);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(crier_iterator_next(iterator, &next[i]), 0);
        cr_assert_eq(crier_future_wait(next[i], -1, &result), 0);
        if (i < 3)
            cr_assert_eq(*(const char *)((const crier_event *)result.pointer)->value, '1' + i);
        else
            cr_assert_null(result.pointer, "kind %d", world.kind);
        crier_future_release(next[i]);
    }
    crier_iterator_close(iterator);
}
Test(kinds_loop, an_iterator_with_a_count_ends_after_so_many)
{
    on_every_kind(counted);
}

/* Who asked and went away, before there was one, takes none with him; nor does he who comes back. */
static void asked_in_vain(void)
{
    struct crier_listen_options listen = crier_listen_options_default();
    struct crier_iterator_options options = crier_iterator_options_default();
    crier_iterator *iterator;
    crier_future *signal, *next;
    crier_result result;

    listen.count = 3;
    listen.listening = on_iterator_listening;
    options.listen = &listen;
    cr_assert_eq(crier_iterate(world.bus, "x", &options, &iterator), 0);
    expect("l");
    cr_assert_eq(crier_future_create(world.bus, &signal), 0);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(crier_iterator_next(iterator, &next), 0);
        if (i == 1)
            cr_assert_eq(crier_future_cancel_on(next, signal), 0);
        if (i == 1)
            cr_assert_eq(crier_future_settle(signal, &(crier_result){.code = 0}, NULL), 0);
        else
            cr_assert_eq(crier_future_cancel(next), 0);
        cr_assert_eq(settled(next, &result), CRIER_ECANCELED);
    }
    crier_future_release(signal);
    for (int i = 0; i < 3; i++)
        emit("x", names[i]);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(crier_iterator_next(iterator, &next), 0);
        cr_assert_eq(crier_future_wait(next, -1, &result), 0);
        if (i < 3)
            cr_assert_eq(*(const char *)((const crier_event *)result.pointer)->value, '0' + i);
        else
            cr_assert_null(result.pointer, "kind %d", world.kind);
        crier_future_release(next);
    }
    crier_iterator_close(iterator);
}
Test(kinds_loop, what_was_asked_for_and_canceled_takes_no_event)
{
    on_every_kind(asked_in_vain);
}

static void local_topics(void)
{
    static const char *const topics[] = {"error", CRIER_ERROR_MONITOR, "newListener", "removeListener",
                                         CRIER_WARNING};
    crier_iterator *iterator;
    for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++)
        cr_assert_eq(crier_iterate(world.bus, topics[i], NULL, &iterator), CRIER_EINVAL);
}
Test(kinds_loop, an_iterator_refuses_topics_that_are_local_to_a_bus)
{
    on_every_kind(local_topics);
}

/* ---- pools ---- */

static int on_pool(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus;
    (void)ctx;
    note(event->value, event->value_size);
    return 0;
}

static int job(crier_outcome *ret, void *ctx)
{
    ret->result.number = *(int *)ctx + 1;
    return 0;
}

static void work_on_a_pool(void)
{
    struct crier_listen_options options = crier_listen_options_default();
    struct crier_emit_options keyed = crier_emit_options_default();
    crier_future *done;
    crier_result result;
    crier_pool *pool;
    int number = 41;
    cr_assert_eq(crier_pool_create(NULL, &pool), 0);
    options.pool = pool;
    options.from = CRIER_EARLIEST;
    keyed.key = "k";
    keyed.key_size = 1;
    cr_assert_eq(crier_listen(world.bus, "x", &options, on_pool, NULL, NULL), 0);
    for (char value = 'a'; value <= 'j'; value++)
        cr_assert_eq(crier_emit_with(world.bus, "x", &value, 1, &keyed), 0);
    expect("abcdefghij");
    cr_assert_eq(crier_pool_submit(pool, world.bus, job, &number, &done), 0);
    cr_assert_eq(settled(done, &result), 0);
    cr_assert_eq(result.number, 42);
    cr_assert_eq(crier_close(world.bus), 0);
    world.bus = NULL;
    cr_assert_eq(crier_pool_destroy(pool), 0);
}
Test(kinds_loop, a_pool_runs_handlers_in_order_per_key_and_jobs)
{
    on_every_kind(work_on_a_pool);
}
