/* test_client_loop.c: a bus on the caller's own libevent loop: no thread of the library's, same promises. */
#include "tests/integration/client_probe.h"
#include "tests/support/broker_fixture.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <event2/event.h>
#include <stdlib.h>

struct world {
    struct broker *broker;
    struct event_base *base;
    crier *bus;
    struct probe probe;
};

static void world_open(struct world *world)
{
    struct crier_options options = crier_options_default();
    world->broker = broker_start(NULL);
    cr_assert_not_null(world->broker);
    world->base = event_base_new();
    probe_init(&world->probe);
    options.base = world->base;
    cr_assert_eq(crier_open(broker_url(world->broker), &options, &world->bus), 0);
}

static void world_close(struct world *world)
{
    cr_assert_eq(crier_close(world->bus), 0);
    event_base_free(world->base);
    probe_finish(&world->probe);
    cr_assert_eq(broker_destroy(world->broker), 0);
}

/* Runs the loop until the counter is there. */
static void run_until(struct world *world, const size_t *counter, size_t wanted)
{
    int64_t deadline = clock_monotonic_us() + PROBE_WAIT_MS * INT64_C(1000);
    struct timeval tick = {.tv_usec = 100000};
    while (*counter < wanted) {
        cr_assert_lt(clock_monotonic_us(), deadline);
        event_base_loopexit(world->base, &tick);
        event_base_loop(world->base, EVLOOP_ONCE);
    }
}

static int thread_count(void)
{
    DIR *folder = opendir("/proc/self/task");
    int count = 0;
    while (readdir(folder))
        count++;
    closedir(folder);
    return count - 2; /* . and .. */
}

Test(client_loop, everything_happens_on_the_callers_loop)
{
    struct world world;
    int threads = thread_count();
    world_open(&world);
    cr_assert_eq(thread_count(), threads);
    struct crier_listen_options earliest = crier_listen_options_default();
    earliest.from = CRIER_EARLIEST;
    cr_assert_eq(crier_listen(world.bus, "t", &earliest, probe_handler, &world.probe, NULL), 0);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(crier_emit(world.bus, "t", "x", 1), 0);
    cr_assert_eq(probe_count(&world.probe, &world.probe.event_count), 0); /* nothing runs but in the loop */
    run_until(&world, &world.probe.event_count, 100);
    world_close(&world);
}

Test(client_loop, blocking_calls_outside_of_callbacks_run_the_loop)
{
    struct world world;
    int64_t us;
    world_open(&world);
    cr_assert_eq(crier_topic_create(world.bus, "t", NULL), 0);
    cr_assert_eq(crier_ping(world.bus, &us), 0);
    cr_assert_eq(crier_emit(world.bus, "t", "x", 1), 0);
    cr_assert_eq(crier_flush(world.bus, -1), 0);
    world_close(&world);
}

struct from_callback {
    crier *bus;
    int flush, close, ping;
    size_t done;
};

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
    struct from_callback *result = ctx;
    int64_t us;
    (void)fd;
    (void)what;
    result->flush = crier_flush(result->bus, 1000);
    result->ping = crier_ping(result->bus, &us);
    result->close = crier_close(result->bus);
    result->done = 1;
}

Test(client_loop, blocking_calls_in_the_callers_own_callbacks_say_edeadlk)
{
    struct world world;
    world_open(&world);
    struct from_callback result = {.bus = world.bus};
    struct timeval now = {0};
    cr_assert_eq(crier_emit(world.bus, "t", "x", 1), 0);
    event_base_once(world.base, -1, EV_TIMEOUT, on_timer, &result, &now);
    run_until(&world, &result.done, 1);
    cr_assert_eq(result.flush, CRIER_EDEADLK);
    cr_assert_eq(result.ping, CRIER_EDEADLK);
    cr_assert_eq(result.close, CRIER_EDEADLK);
    world_close(&world); /* and it still works */
}

static void *emit_from_thread(void *ctx)
{
    crier *bus = ctx;
    for (int i = 0; i < 1000; i++)
        if (crier_emit(bus, "t", "x", 1) != 0)
            return ctx;
    return NULL;
}

Test(client_loop, other_threads_may_emit)
{
    struct world world;
    struct crier_listen_options earliest = crier_listen_options_default();
    pthread_t thread;
    void *failed;
    world_open(&world);
    earliest.from = CRIER_EARLIEST;
    cr_assert_eq(crier_listen(world.bus, "t", &earliest, probe_handler, &world.probe, NULL), 0);
    pthread_create(&thread, NULL, emit_from_thread, world.bus);
    run_until(&world, &world.probe.event_count, 1000);
    pthread_join(thread, &failed);
    cr_assert_null(failed);
    world_close(&world);
}

/* The socket is the loop's own, and goes and comes with the broker: in the loop, and in a call that waits outside it. */
Test(client_loop, a_broker_that_comes_back_finds_the_bus_again)
{
    struct world world;
    int64_t round_trip_us;
    world_open(&world);
    cr_assert_eq(crier_on(world.bus, "t", probe_handler, &world.probe), 0);
    cr_assert_eq(crier_emit(world.bus, "t", "x", 1), 0);
    run_until(&world, &world.probe.event_count, 1);
    broker_kill(world.broker);
    cr_assert(broker_restart(world.broker));
    cr_assert_eq(crier_emit(world.bus, "t", "y", 1), 0);
    run_until(&world, &world.probe.event_count, 2);
    broker_kill(world.broker);
    cr_assert(broker_restart(world.broker));
    cr_assert_eq(crier_emit(world.bus, "t", "z", 1), 0);
    cr_assert_eq(crier_flush(world.bus, PROBE_WAIT_MS), 0);
    cr_assert_eq(crier_ping(world.bus, &round_trip_us), 0);
    run_until(&world, &world.probe.event_count, 3);
    world_close(&world);
}

Test(client_loop, two_buses_share_a_loop)
{
    struct world world;
    struct crier_options options = crier_options_default();
    crier *second;
    world_open(&world);
    options.base = world.base;
    cr_assert_eq(crier_open(broker_url(world.broker), &options, &second), 0);
    struct crier_listen_options earliest = crier_listen_options_default();
    earliest.from = CRIER_EARLIEST;
    cr_assert_eq(crier_listen(second, "t", &earliest, probe_handler, &world.probe, NULL), 0);
    cr_assert_eq(crier_emit(world.bus, "t", "x", 1), 0);
    run_until(&world, &world.probe.event_count, 1);
    cr_assert_eq(crier_close(second), 0);
    world_close(&world);
}

Test(client_loop, a_loop_without_broker_opens_at_once_when_told_not_to_wait)
{
    struct crier_options options = crier_options_default();
    struct event_base *base = event_base_new();
    crier *bus;
    options.base = base;
    options.connect_timeout_ms = 0;
    options.close_timeout_ms = 0;
    cr_assert_eq(crier_open("crier://127.0.0.1:1", &options, &bus), 0);
    cr_assert_eq(crier_emit(bus, "t", "x", 1), 0);
    cr_assert_eq(crier_close(bus), CRIER_ETIMEDOUT);
    event_base_free(base);
}
