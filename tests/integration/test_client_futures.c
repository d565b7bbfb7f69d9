/* test_client_futures.c: futures, ticks, immediates and timers of a bus: on its own thread and on a caller's loop, with the
 * real crierd. What base/future.c promises is in tests/unit/test_future*.c; here it is the bus that turns. */
#include "tests/integration/client_probe.h"
#include "tests/support/broker_fixture.h"

#include "base/clock.h"
#include "crier/future.h"

#include <criterion/criterion.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

struct world {
    struct broker *broker;
    struct event_base *base; /* NULL: the bus has a thread */
    crier *bus;
    pthread_mutex_t lock; /* of the trace */
    char trace[256];
};

static struct world world;

static void world_open(bool own_thread)
{
    struct crier_options options = crier_options_default();

    memset(&world, 0, sizeof(world));
    pthread_mutex_init(&world.lock, NULL);
    world.broker = broker_start(NULL);
    cr_assert_not_null(world.broker);
    world.base = own_thread ? NULL : event_base_new();
    options.base = world.base;
    cr_assert_eq(crier_open(broker_url(world.broker), &options, &world.bus), 0);
}

static void world_close(int code)
{
    cr_assert_eq(crier_close(world.bus), code);
    if (world.base)
        event_base_free(world.base);
    cr_assert_eq(broker_destroy(world.broker), 0);
}

static void say(const char *name)
{
    pthread_mutex_lock(&world.lock);
    strncat(world.trace, world.trace[0] ? " " : "", sizeof(world.trace) - strlen(world.trace) - 1);
    strncat(world.trace, name, sizeof(world.trace) - strlen(world.trace) - 1);
    pthread_mutex_unlock(&world.lock);
}

static void expect_trace(const char *wanted)
{
    pthread_mutex_lock(&world.lock);
    cr_assert_str_eq(world.trace, wanted);
    pthread_mutex_unlock(&world.lock);
}

static int say_result(const crier_result *result, crier_outcome *ret, void *ctx)
{
    say(ctx);
    ret->result.number = result->number;
    return 0;
}

static int fail(const crier_result *result, crier_outcome *ret, void *ctx)
{
    (void)result;
    (void)ret;
    (void)ctx;
    return CRIER_EINVAL;
}

static crier_future *emit(const char *value)
{
    crier_future *future;

    cr_assert_eq(crier_emit_future(world.bus, "t", value, strlen(value), NULL, &future), 0);
    return future;
}

static void emits_are_fulfilled_with_their_offsets(void)
{
    crier_future *emits[3], *all;
    crier_result result;
    const crier_result *offsets;

    for (int i = 0; i < 3; i++)
        emits[i] = emit("x");
    cr_assert_eq(crier_future_all(world.bus, emits, 3, &all), 0);
    cr_assert_eq(crier_future_wait(all, PROBE_WAIT_MS, &result), 0);
    cr_assert_eq(result.size, 3);
    offsets = result.pointer;
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(offsets[i].number, i);
        crier_future_release(emits[i]);
    }
    crier_future_release(all);
}

static void continuations_follow(void)
{
    crier_future *stored = emit("x"), *next, *last;

    cr_assert_eq(crier_future_then(stored, say_result, NULL, (void *)"stored", &next), 0);
    cr_assert_eq(crier_future_finally(next, say_result, (void *)"finally", &last), 0);
    cr_assert_eq(crier_future_wait(last, PROBE_WAIT_MS, NULL), 0);
    expect_trace("stored finally");
    crier_future_release(stored);
    crier_future_release(next);
    crier_future_release(last);
}

static void timers_race(void)
{
    crier_future *timers[2], *race, *never;
    crier_result result;

    cr_assert_eq(crier_after(world.bus, INT64_C(3600) * 1000000, &timers[0]), 0);
    cr_assert_eq(crier_after(world.bus, 1000, &timers[1]), 0);
    cr_assert_eq(crier_future_race(world.bus, timers, 2, &race), 0);
    cr_assert_eq(crier_future_wait(race, PROBE_WAIT_MS, NULL), 0);
    cr_assert_eq(crier_future_result(timers[0], &result), CRIER_EAGAIN);
    cr_assert_eq(crier_future_cancel(timers[0]), 0);
    cr_assert_eq(crier_future_wait(timers[0], 0, NULL), CRIER_ECANCELED);
    cr_assert_eq(crier_future_create(world.bus, &never), 0);
    cr_assert_eq(crier_future_wait(never, 20, NULL), CRIER_ETIMEDOUT);
    cr_assert_eq(crier_future_cancel_on(never, timers[1]), 0); /* a signal that has gone off */
    cr_assert_eq(crier_future_wait(never, 0, NULL), CRIER_ECANCELED);
    crier_future_release(timers[0]);
    crier_future_release(timers[1]);
    crier_future_release(race);
    crier_future_release(never);
}

static void (*const parts[])(void) = {emits_are_fulfilled_with_their_offsets, continuations_follow,
                                      timers_race};

Test(client_futures, on_a_thread_of_their_own)
{
    world_open(true);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        parts[i]();
    world_close(0);
}

Test(client_futures, on_a_callers_loop)
{
    world_open(false);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        parts[i]();
    world_close(0);
}

/* ---- the loop's order ---- */

static void say_call(crier *bus, void *ctx)
{
    (void)bus;
    say(ctx);
}

static int say_then(const crier_result *result, crier_outcome *ret, void *ctx)
{
    (void)result;
    (void)ret;
    say(ctx);
    return 0;
}

static void say_after(crier *bus, int64_t delay_us, const char *name)
{
    crier_future *timer;

    cr_assert_eq(crier_after(bus, delay_us, &timer), 0);
    cr_assert_eq(crier_future_then(timer, say_then, NULL, (void *)(uintptr_t)name, NULL), 0);
    crier_future_release(timer);
}

/* The classic puzzle, inside an I/O callback, asked for in the "wrong" order. */
static int puzzle(crier *bus, const crier_event *event, void *ctx)
{
    crier_future *done, *end = ctx;

    if (event->offset == 1) {
        say("second");
        cr_assert_eq(crier_after(bus, 0, &done), 0);
        cr_assert_eq(crier_future_cancel_on(end, done), 0);
        crier_future_release(done);
        return 0;
    }
    say("first");
    say_after(bus, 0, "timer");
    cr_assert_eq(crier_immediate(bus, say_call, (void *)"immediate"), 0);
    cr_assert_eq(crier_future_create(bus, &done), 0);
    cr_assert_eq(crier_future_settle(done, &(crier_result){.code = 0}, NULL), 0);
    cr_assert_eq(crier_future_then(done, say_then, NULL, (void *)"continuation", NULL), 0);
    cr_assert_eq(crier_next_tick(bus, say_call, (void *)"tick"), 0);
    crier_future_release(done);
    return 0;
}

static void puzzle_solve(void)
{
    struct crier_listen_options options = crier_listen_options_default();
    crier_future *end, *both[2], *all;

    cr_assert_eq(crier_future_create(world.bus, &end), 0);
    both[0] = emit("one"); /* one batch, so that one turn hands out both */
    both[1] = emit("two");
    cr_assert_eq(crier_future_all(world.bus, both, 2, &all), 0);
    cr_assert_eq(crier_future_wait(all, PROBE_WAIT_MS, NULL), 0);
    options.from = CRIER_EARLIEST;
    cr_assert_eq(crier_listen(world.bus, "t", &options, puzzle, end, NULL), 0);
    cr_assert_eq(crier_future_wait(end, PROBE_WAIT_MS, NULL), CRIER_ECANCELED);
    expect_trace("first tick continuation second immediate timer");
    crier_future_release(both[0]);
    crier_future_release(both[1]);
    crier_future_release(all);
    crier_future_release(end);
}

Test(client_futures, the_order_inside_a_handler_is_nodes)
{
    world_open(true);
    puzzle_solve();
    world_close(0);
}

Test(client_futures, the_order_is_the_same_on_a_callers_loop)
{
    world_open(false);
    puzzle_solve();
    world_close(0);
}

static void tick_again(crier *bus, void *ctx)
{
    crier_next_tick(bus, tick_again, ctx);
}

/* A tick that asks for itself for ever: emits are still acknowledged, timers still come, and close still ends. */
Test(client_futures, a_queue_that_feeds_itself_starves_nobody)
{
    crier_future *timer, *stored;

    world_open(true);
    cr_assert_eq(crier_next_tick(world.bus, tick_again, NULL), 0);
    cr_assert_eq(crier_after(world.bus, 1000, &timer), 0);
    stored = emit("x");
    cr_assert_eq(crier_future_wait(timer, PROBE_WAIT_MS, NULL), 0);
    cr_assert_eq(crier_future_wait(stored, PROBE_WAIT_MS, NULL), 0);
    crier_future_release(timer);
    crier_future_release(stored);
    world_close(0);
}

/* ---- failures ---- */

static int wait_inside(crier *bus, const crier_event *event, void *ctx)
{
    crier_future *never, *told = ctx;
    int rc;

    (void)event;
    cr_assert_eq(crier_future_create(bus, &never), 0);
    rc = crier_future_wait(never, 1000, NULL);
    crier_future_cancel(never);
    crier_future_release(never);
    crier_future_settle(told, &(crier_result){.number = (uint64_t)-rc}, NULL);
    return 0;
}

Test(client_futures, waiting_on_the_loops_own_thread_says_edeadlk)
{
    crier_future *told;
    crier_result result;
    struct crier_listen_options options = crier_listen_options_default();

    world_open(true);
    options.from = CRIER_EARLIEST;
    cr_assert_eq(crier_future_create(world.bus, &told), 0);
    cr_assert_eq(crier_listen(world.bus, "t", &options, wait_inside, told, NULL), 0);
    cr_assert_eq(crier_emit(world.bus, "t", "x", 1), 0);
    cr_assert_eq(crier_future_wait(told, PROBE_WAIT_MS, &result), 0);
    cr_assert_eq(-(int)result.number, CRIER_EDEADLK);
    crier_future_release(told);
    world_close(0);
}

Test(client_futures, a_rejection_nobody_looks_at_becomes_an_error_event)
{
    struct probe probe;
    crier_future *stored;

    world_open(true);
    probe_init(&probe);
    cr_assert_eq(crier_on(world.bus, "error", probe_handler, &probe), 0);
    stored = emit("x");
    cr_assert_eq(crier_future_then(stored, fail, NULL, NULL, NULL), 0);
    crier_future_release(stored);
    cr_assert(probe_wait(&probe, &probe.event_count, 1));
    cr_assert_eq(probe.events[0].error, CRIER_EINVAL);
    world_close(0);
    probe_finish(&probe);
}

Test(client_futures, with_nobody_on_error_the_code_is_returned_by_close)
{
    crier_future *stored, *next;

    world_open(true);
    stored = emit("x");
    cr_assert_eq(crier_future_then(stored, fail, NULL, NULL, &next), 0);
    crier_future_release(stored);
    crier_future_release(next);
    world_close(CRIER_EINVAL);
}

/* What is called last, when closing rejects what is pending, may fail too. */
Test(client_futures, so_is_one_of_the_very_last_moment)
{
    crier_future *never;

    world_open(true);
    cr_assert_eq(crier_future_create(world.bus, &never), 0);
    cr_assert_eq(crier_future_catch(never, fail, NULL, NULL), 0);
    world_close(CRIER_EINVAL);
    crier_future_release(never);
}

/* Closing settles what is pending, tells it, and leaves futures that can still be looked at. */
Test(client_futures, closing_the_bus_settles_everything)
{
    crier_future *never, *next, *timer;
    crier_result result;

    world_open(true);
    cr_assert_eq(crier_future_create(world.bus, &never), 0);
    cr_assert_eq(crier_after(world.bus, INT64_C(3600) * 1000000, &timer), 0);
    cr_assert_eq(crier_future_catch(never, say_result, (void *)"told", &next), 0);
    world_close(0);
    expect_trace("told");
    cr_assert_eq(crier_future_result(never, &result), 0);
    cr_assert_eq(result.code, CRIER_ECLOSED);
    cr_assert_eq(crier_future_wait(timer, -1, NULL), CRIER_ECLOSED);
    cr_assert_eq(crier_future_then(never, say_result, NULL, NULL, NULL), CRIER_ECLOSED);
    crier_future_release(never);
    crier_future_release(next);
    crier_future_release(timer);
}

Test(client_futures, bad_arguments_are_refused)
{
    crier_future *future;
    crier_result result = {.code = 0};
    struct crier_emit_options options = crier_emit_options_default();

    world_open(true);
    options.done = probe_done;
    cr_assert_eq(crier_emit_future(world.bus, "t", "x", 1, &options, &future), CRIER_EINVAL);
    cr_assert_eq(crier_emit_future(world.bus, "", "x", 1, NULL, &future), CRIER_EINVAL);
    cr_assert_eq(crier_emit_future(NULL, "t", "x", 1, NULL, &future), CRIER_EINVAL);
    cr_assert_eq(crier_after(world.bus, -1, &future), CRIER_EINVAL);
    cr_assert_eq(crier_future_create(world.bus, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_future_settle(NULL, &result, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_future_all(world.bus, NULL, 1, &future), CRIER_EINVAL);
    cr_assert_eq(crier_future_any(world.bus, (crier_future *[]){NULL}, 1, &future), CRIER_EINVAL);
    cr_assert_eq(crier_next_tick(world.bus, NULL, NULL), CRIER_EINVAL);
    crier_future_release(NULL);
    world_close(0);
}
