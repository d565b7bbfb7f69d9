/* The loop of a bus of local:, which is there once something needs it: futures, timers, iterators; what is different from one
 * with a broker. What is the same: test_emitter_kinds_loop.c. */
#include "crier/crier.h"
#include "crier/future.h"
#include "crier/iterator.h"
#include "crier/monitor.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <event2/event.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

static crier *bus;
static unsigned drained;

static void setup(void)
{
    cr_assert_eq(crier_open("local:", NULL, &bus), 0);
}

static void teardown(void)
{
    cr_assert_eq(crier_close(bus), 0);
}

TestSuite(local_loop, .init = setup, .fini = teardown, .timeout = 60);

static size_t entries(const char *folder)
{
    DIR *open = opendir(folder);
    size_t count = 0;
    cr_assert_not_null(open);
    while (readdir(open))
        count++;
    closedir(open);
    return count;
}

static int count_event(crier *a_bus, const crier_event *event, void *ctx)
{
    (void)a_bus, (void)event;
    ++*(unsigned *)ctx;
    return 0;
}

static void count_call(crier *a_bus, void *ctx)
{
    (void)a_bus;
    ++*(unsigned *)ctx;
}

Test(local_loop, is_not_there_before_something_needs_it)
{
    size_t threads = entries("/proc/self/task"), descriptors = entries("/proc/self/fd");
    crier_future *future;
    unsigned heard = 0;
    cr_assert_eq(crier_on(bus, "x", count_event, &heard), 0);
    cr_assert_eq(crier_emit(bus, "x", NULL, 0), 0);
    cr_assert_eq(crier_flush(bus, 0), 0);
    cr_assert_eq(entries("/proc/self/task"), threads);
    cr_assert_eq(entries("/proc/self/fd"), descriptors);
    cr_assert_eq(crier_after(bus, 0, &future), 0);
    cr_assert_eq(entries("/proc/self/task"), threads + 1);
    cr_assert_eq(crier_future_wait(future, -1, NULL), 0);
    crier_future_release(future);
}

/* ---- on a loop of the caller's ---- */

static crier *polled_open(void)
{
    struct crier_options options = crier_options_default();
    crier *polled;
    options.polled = true;
    cr_assert_eq(crier_open("local:", &options, &polled), 0);
    return polled;
}

Test(local_loop, can_be_any_that_waits_for_a_descriptor)
{
    size_t threads = entries("/proc/self/task");
    crier *polled = polled_open();
    unsigned ticks = 0;
    cr_assert_geq(crier_fd(polled), 0);
    cr_assert_eq(crier_next_tick(polled, count_call, &ticks), 0);
    struct pollfd fd = {.fd = crier_fd(polled), .events = POLLIN};
    cr_assert_eq(poll(&fd, 1, crier_timeout_ms(polled)) >= 0, true);
    cr_assert_eq(ticks, 0);
    cr_assert_eq(crier_process(polled), 0);
    cr_assert_eq(ticks, 1);
    cr_assert_eq(crier_timeout_ms(polled), -1);
    cr_assert_eq(entries("/proc/self/task"), threads);
    cr_assert_eq(crier_close(polled), 0);
}

static void end_loop(crier *a_bus, void *ctx)
{
    (void)a_bus;
    event_base_loopbreak(ctx);
}

Test(local_loop, can_be_the_callers_libevent_base)
{
    struct crier_options options = crier_options_default();
    crier *based;
    options.base = event_base_new();
    cr_assert_eq(crier_open("local:", &options, &based), 0);
    cr_assert_eq(crier_immediate(based, end_loop, options.base), 0);
    cr_assert_eq(event_base_dispatch(options.base), 0);
    cr_assert_eq(crier_close(based), 0);
    event_base_free(options.base);
}

static int process_inside(crier *a_bus, const crier_event *event, void *ctx)
{
    (void)event;
    *(int *)ctx = crier_process(a_bus);
    return 0;
}

Test(local_loop, is_not_turned_by_a_handler)
{
    crier *polled = polled_open();
    int rc = 0;
    cr_assert_eq(crier_on(polled, "x", process_inside, &rc), 0);
    cr_assert_eq(crier_emit(polled, "x", NULL, 0), 0);
    cr_assert_eq(rc, CRIER_EDEADLK);
    cr_assert_eq(crier_close(polled), 0);
}

/* ---- blocking calls where they would wait for themselves ---- */

struct blocked {
    crier_future *future;
    int waited, flushed, closed;
};

static void block(struct blocked *blocked)
{
    blocked->waited = crier_future_wait(blocked->future, -1, NULL);
    blocked->flushed = crier_flush(bus, -1);
    blocked->closed = crier_close(bus);
}

static int on_block(crier *a_bus, const crier_event *event, void *ctx)
{
    (void)a_bus, (void)event;
    block(ctx);
    return 0;
}

static void on_block_tick(crier *a_bus, void *ctx)
{
    (void)a_bus;
    block(ctx);
}

static void expect_deadlock(struct blocked *blocked)
{
    cr_expect_eq(blocked->waited, CRIER_EDEADLK);
    cr_expect_eq(blocked->flushed, CRIER_EDEADLK);
    cr_expect_eq(blocked->closed, CRIER_EDEADLK);
    blocked->waited = blocked->flushed = blocked->closed = 0;
}

Test(local_loop, blocking_calls_inside_handlers_and_ticks_say_so)
{
    struct blocked blocked = {0};
    crier_future *done;
    cr_assert_eq(crier_future_create(bus, &blocked.future), 0);
    cr_assert_eq(crier_on(bus, "x", on_block, &blocked), 0);
    cr_assert_eq(crier_emit(bus, "x", NULL, 0), 0);
    expect_deadlock(&blocked);
    cr_assert_eq(crier_next_tick(bus, on_block_tick, &blocked), 0);
    cr_assert_eq(crier_after(bus, 0, &done), 0);
    cr_assert_eq(crier_future_wait(done, -1, NULL), 0);
    expect_deadlock(&blocked);
    crier_future_release(done);
    crier_future_release(blocked.future);
}

/* ---- one at a time ---- */

static void *emit_many(void *ctx)
{
    for (int i = 0; i < 2000; i++)
        cr_assert_eq(crier_emit(bus, "x", NULL, 0), 0);
    return ctx;
}

struct alone {
    atomic_int inside;
    unsigned handlers, ticks, together;
};

static void alone_count(struct alone *alone, unsigned *counter)
{
    alone->together += atomic_fetch_add(&alone->inside, 1) != 0;
    ++*counter;
    atomic_fetch_sub(&alone->inside, 1);
}

static int on_alone(crier *a_bus, const crier_event *event, void *ctx)
{
    (void)a_bus, (void)event;
    alone_count(ctx, &((struct alone *)ctx)->handlers);
    return 0;
}

static void on_alone_tick(crier *a_bus, void *ctx)
{
    (void)a_bus;
    alone_count(ctx, &((struct alone *)ctx)->ticks);
}

Test(local_loop, handlers_and_ticks_run_one_at_a_time)
{
    struct alone alone = {0};
    pthread_t thread;
    cr_assert_eq(crier_on(bus, "x", on_alone, &alone), 0);
    cr_assert_eq(pthread_create(&thread, NULL, emit_many, NULL), 0);
    for (int i = 0; i < 2000; i++)
        cr_assert_eq(crier_next_tick(bus, on_alone_tick, &alone), 0);
    pthread_join(thread, NULL);
    crier_future *done;
    cr_assert_eq(crier_after(bus, 0, &done), 0);
    cr_assert_eq(crier_future_wait(done, -1, NULL), 0);
    crier_future_release(done);
    cr_assert_eq(alone.handlers, 2000);
    cr_assert_eq(alone.ticks, 2000);
    cr_assert_eq(alone.together, 0);
}

/* ---- what waits to be asked for is bounded ---- */

static void on_drain(crier *a_bus, void *ctx)
{
    (void)a_bus, (void)ctx;
    drained++;
}

static crier_iterator *bounded(crier *of, uint32_t high, uint32_t low)
{
    struct crier_iterator_options options = crier_iterator_options_default();
    crier_iterator *iterator;
    options.high = high;
    options.low = low;
    cr_assert_eq(crier_iterate(of, "x", &options, &iterator), 0);
    return iterator;
}

static char ask(crier_iterator *iterator)
{
    crier_result result;
    crier_future *next;
    char value;
    cr_assert_eq(crier_iterator_next(iterator, &next), 0);
    cr_assert_eq(crier_future_wait(next, -1, &result), 0);
    value = *(const char *)((const crier_event *)result.pointer)->value;
    crier_future_release(next);
    return value;
}

Test(local_loop, an_emit_that_has_no_room_with_an_iterator_is_refused_before_anybody_hears_it)
{
    struct crier_options options = crier_options_default();
    crier_topic *topic;
    unsigned heard = 0;
    crier *small;
    options.polled = true;
    options.drain = on_drain;
    cr_assert_eq(crier_open("local:", &options, &small), 0);
    cr_assert_eq(crier_on(small, "x", count_event, &heard), 0);
    crier_iterator *iterator = bounded(small, 2, 1);
    cr_assert_eq(crier_intern(small, "x", &topic), 0);
    cr_assert_eq(crier_emit(small, "x", "1", 1), 0);
    cr_assert_eq(crier_emit_topic(topic, "2", 1), 0);
    cr_assert_eq(crier_emit(small, "x", "3", 1), CRIER_EAGAIN);
    cr_assert_eq(crier_emit_topic(topic, "3", 1), CRIER_EAGAIN);
    struct crier_emit_options emit = crier_emit_options_default();
    cr_assert_eq(crier_emit_with(small, "x", "3", 1, &emit), CRIER_EAGAIN);
    cr_assert_eq(heard, 2);
    struct crier_stats stats;
    crier_stats(small, &stats);
    cr_assert_eq(stats.emitted, 2);
    cr_assert_eq(ask(iterator), '1');
    cr_assert_eq(crier_process(small), 0);
    cr_assert_eq(drained, 1);
    cr_assert_eq(crier_emit(small, "x", "3", 1), 0);
    cr_assert_eq(heard, 3);
    cr_assert_eq(ask(iterator), '2');
    cr_assert_eq(ask(iterator), '3');
    crier_iterator_close(iterator);
    cr_assert_eq(crier_emit(small, "x", "4", 1), 0); /* it is a topic as any other */
    cr_assert_eq(crier_close(small), 0);
}

static void *emit_ten(void *ctx)
{
    char value = '0';
    for (int i = 0; i < 10; i++, value++)
        cr_assert_eq(crier_emit(ctx, "x", &value, 1), 0);
    return NULL;
}

Test(local_loop, an_emit_may_wait_for_room_instead)
{
    struct crier_options options = crier_options_default();
    pthread_t thread;
    crier *small;
    options.emit_blocks = true;
    cr_assert_eq(crier_open("local:", &options, &small), 0);
    crier_iterator *iterator = bounded(small, 2, 1);
    cr_assert_eq(pthread_create(&thread, NULL, emit_ten, small), 0);
    for (char value = '0'; value <= '9'; value++)
        cr_assert_eq(ask(iterator), value);
    pthread_join(thread, NULL);
    crier_iterator_close(iterator);
    cr_assert_eq(crier_close(small), 0);
}

Test(local_loop, an_iterator_outlives_its_bus)
{
    crier_future *next, *other;
    crier_result result;
    crier *gone;
    cr_assert_eq(crier_open("local:", NULL, &gone), 0);
    crier_iterator *iterator = bounded(gone, 8, 4);
    cr_assert_eq(crier_emit(gone, "x", "1", 1), 0);
    cr_assert_eq(crier_emit(gone, "x", "2", 1), 0);
    cr_assert_eq(crier_iterator_next(iterator, &next), 0);
    cr_assert_eq(crier_close(gone), 0);
    cr_assert_eq(crier_future_wait(next, -1, &result), 0);
    cr_assert_eq(*(const char *)((const crier_event *)result.pointer)->value, '1');
    cr_assert_eq(crier_iterator_next(iterator, &other), CRIER_ECLOSED);
    crier_iterator_close(iterator);
    crier_future_release(next);
}

Test(local_loop, patterns_and_positions_are_refused_to_iterators_too)
{
    struct crier_iterator_options options = crier_iterator_options_default();
    struct crier_listen_options listen = crier_listen_options_default();
    crier_iterator *iterator;
    crier_future *future;
    cr_assert_eq(crier_iterate(bus, "a.*", NULL, &iterator), CRIER_ENOTSUP);
    cr_assert_eq(crier_once_future(bus, "a.*", NULL, &future), CRIER_ENOTSUP);
    options.listen = &listen;
    listen.from = CRIER_OFFSET;
    cr_assert_eq(crier_iterate(bus, "a", &options, &iterator), CRIER_ENOTSUP);
    cr_assert_eq(crier_iterate(bus, "newListener", NULL, &iterator), CRIER_EINVAL);
    cr_assert_eq(crier_iterate(bus, "error", NULL, &iterator), CRIER_EINVAL);
}

Test(local_loop, can_be_monitored)
{
    struct crier_loop_stats stats;
    crier_future *done;
    cr_assert_eq(crier_loop_monitor_start(bus, NULL), 0);
    cr_assert_eq(crier_after(bus, 0, &done), 0);
    cr_assert_eq(crier_future_wait(done, -1, NULL), 0);
    crier_future_release(done);
    cr_assert_eq(crier_loop_stats(bus, &stats), 0);
    cr_assert_geq(stats.active_us + stats.idle_us, 0);
    cr_assert_eq(crier_loop_monitor_stop(bus), 0);
}
