/* test_polled.c: a bus on a loop of the caller's: a descriptor, a timeout and crier_process(), on crier:// and embed:. */
#include "tests/integration/client_probe.h"
#include "tests/support/broker_fixture.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <event2/event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

struct world {
    struct broker *broker; /* NULL: it is inside */
    char folder[64];
    crier *bus;
    struct probe probe;
};

static struct crier_options polled(void)
{
    struct crier_options options = crier_options_default();
    options.polled = true;
    return options;
}

static void world_open(struct world *world, bool embed)
{
    struct crier_options options = polled();
    char url[128];
    *world = (struct world){0};
    if (embed) {
        snprintf(world->folder, sizeof(world->folder), "/tmp/crier-polled-XXXXXX");
        cr_assert_not_null(mkdtemp(world->folder));
        snprintf(url, sizeof(url), "embed:%s", world->folder);
    } else {
        world->broker = broker_start(NULL);
        cr_assert_not_null(world->broker);
        snprintf(url, sizeof(url), "%s", broker_url(world->broker));
    }
    probe_init(&world->probe);
    cr_assert_eq(crier_open(url, &options, &world->bus), 0);
    cr_assert_geq(crier_fd(world->bus), 0);
}

static void world_close(struct world *world)
{
    char command[96];
    cr_assert_eq(crier_close(world->bus), 0);
    probe_finish(&world->probe);
    if (world->broker) {
        cr_assert_eq(broker_destroy(world->broker), 0);
    } else {
        snprintf(command, sizeof(command), "rm -rf '%s'", world->folder);
        cr_assert_eq(system(command), 0);
    }
}

/* The caller's loop, until the counter is there: nothing but the descriptor and the timeout moves it. */
static void run_until(struct world *world, const size_t *counter, size_t wanted)
{
    int64_t deadline = clock_monotonic_us() + PROBE_WAIT_MS * INT64_C(1000);
    while (probe_count(&world->probe, counter) < wanted) {
        struct pollfd fd = {.fd = crier_fd(world->bus), .events = POLLIN};
        cr_assert_lt(clock_monotonic_us(), deadline);
        cr_assert_geq(poll(&fd, 1, crier_timeout_ms(world->bus)), 0);
        cr_assert_eq(crier_process(world->bus), 0);
    }
}

static void listen_from_earliest(struct world *world, crier_handler *handler, void *ctx)
{
    struct crier_listen_options options = crier_listen_options_default();
    options.from = CRIER_EARLIEST;
    cr_assert_eq(crier_listen(world->bus, "t", &options, handler, ctx, NULL), 0);
}

#define ON_BOTH(name)                                                                                        \
    static void name(bool embed);                                                                            \
    Test(polled, name##_on_crier)                                                                            \
    {                                                                                                        \
        name(false);                                                                                         \
    }                                                                                                        \
    Test(polled, name##_on_embed)                                                                            \
    {                                                                                                        \
        name(true);                                                                                          \
    }                                                                                                        \
    static void name(bool embed)

ON_BOTH(nothing_happens_but_in_crier_process)
{
    struct world world;
    world_open(&world, embed);
    listen_from_earliest(&world, probe_handler, &world.probe);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(crier_emit(world.bus, "t", "x", 1), 0);
    cr_assert_eq(probe_count(&world.probe, &world.probe.event_count), 0);
    run_until(&world, &world.probe.event_count, 100);
    world_close(&world);
}

ON_BOTH(blocking_calls_outside_of_handlers_drive_the_bus)
{
    struct world world;
    int64_t us;
    world_open(&world, embed);
    cr_assert_eq(crier_topic_create(world.bus, "t", NULL), 0);
    cr_assert_eq(crier_ping(world.bus, &us), 0);
    cr_assert_eq(crier_emit(world.bus, "t", "x", 1), 0);
    cr_assert_eq(crier_flush(world.bus, -1), 0);
    world_close(&world);
}

struct from_handler {
    struct world *world;
    int process, flush, ping, close;
    size_t done;
};

static int block_in_handler(crier *bus, const crier_event *event, void *ctx)
{
    struct from_handler *result = ctx;
    int64_t us;
    (void)event;
    result->process = crier_process(bus);
    result->flush = crier_flush(bus, 1000);
    result->ping = crier_ping(bus, &us);
    result->close = crier_close(bus);
    result->done++;
    return 0;
}

ON_BOTH(what_would_wait_for_itself_says_edeadlk)
{
    struct world world;
    struct from_handler result = {.world = &world};
    world_open(&world, embed);
    listen_from_earliest(&world, block_in_handler, &result);
    cr_assert_eq(crier_emit(world.bus, "t", "x", 1), 0);
    run_until(&world, &result.done, 1);
    cr_assert_eq(result.process, CRIER_EDEADLK);
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
    return crier_flush(bus, -1) == 0 ? NULL : ctx; /* waits for the loop's thread */
}

ON_BOTH(other_threads_wake_the_loop)
{
    struct world world;
    pthread_t threads[2];
    void *failed;
    world_open(&world, embed);
    listen_from_earliest(&world, probe_handler, &world.probe);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, emit_from_thread, world.bus);
    run_until(&world, &world.probe.event_count, 2000);
    while (pthread_tryjoin_np(threads[0], &failed) != 0)
        crier_process(world.bus);
    cr_assert_null(failed);
    while (pthread_tryjoin_np(threads[1], &failed) != 0)
        crier_process(world.bus);
    cr_assert_null(failed);
    world_close(&world);
}

ON_BOTH(its_descriptor_may_stand_in_another_epoll)
{
    struct world world;
    struct epoll_event event = {.events = EPOLLIN};
    int outer = epoll_create1(0);
    world_open(&world, embed);
    int fd = crier_fd(world.bus);
    cr_assert_eq(epoll_ctl(outer, EPOLL_CTL_ADD, fd, &event), 0);
    listen_from_earliest(&world, probe_handler, &world.probe);
    cr_assert_eq(crier_emit(world.bus, "t", "x", 1), 0);
    while (probe_count(&world.probe, &world.probe.event_count) < 1) {
        cr_assert_geq(epoll_wait(outer, &event, 1, crier_timeout_ms(world.bus)), 0);
        cr_assert_eq(crier_process(world.bus), 0);
    }
    cr_assert_eq(crier_fd(world.bus), fd);
    close(outer);
    world_close(&world);
}

static int thread_count(void)
{
    DIR *folder = opendir("/proc/self/task");
    int count = 0;
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

Test(polled, no_thread_is_started_and_the_timeout_alone_brings_it_back)
{
    struct world world;
    int threads = thread_count();
    world_open(&world, false);
    cr_assert_eq(thread_count(), threads);
    listen_from_earliest(&world, probe_handler, &world.probe);
    cr_assert_eq(crier_emit(world.bus, "t", "x", 1), 0);
    run_until(&world, &world.probe.event_count, 1);
    broker_kill(world.broker);
    cr_assert_eq(crier_emit(world.bus, "t", "y", 1), 0);
    cr_assert(broker_restart(world.broker));
    run_until(&world, &world.probe.event_count, 2);
    world_close(&world);
}

Test(polled, only_a_polled_bus_has_a_descriptor)
{
    struct broker *broker = broker_start(NULL);
    struct crier_options options = polled();
    struct event_base *base = event_base_new();
    crier *bus;
    cr_assert_not_null(broker);
    cr_assert_eq(crier_open(broker_url(broker), NULL, &bus), 0);
    cr_assert_eq(crier_fd(bus), CRIER_EINVAL);
    cr_assert_eq(crier_process(bus), CRIER_EINVAL);
    cr_assert_eq(crier_timeout_ms(bus), -1);
    cr_assert_eq(crier_close(bus), 0);
    options.base = base;
    cr_assert_eq(crier_open(broker_url(broker), &options, &bus), CRIER_EINVAL);
    cr_assert_eq(crier_fd(NULL), CRIER_EINVAL);
    cr_assert_eq(crier_process(NULL), CRIER_EINVAL);
    cr_assert_eq(crier_timeout_ms(NULL), -1);
    event_base_free(base);
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(polled, the_epoll_example_hears_what_is_typed)
{
    struct broker *broker = broker_start(NULL);
    char command[512];
    cr_assert_not_null(broker);
    snprintf(command, sizeof(command),
             "test \"$(printf 'one\\ntwo\\nthree\\n' | '" EPOLL_LOOP
             "' %s chat)\" = \"$(printf 'one\\ntwo\\nthree')\"",
             broker_url(broker));
    cr_assert_eq(system(command), 0, "%s", command);
    snprintf(command, sizeof(command),
             "f=$(mktemp -d) && test \"$(echo inside | '" EPOLL_LOOP
             "' embed:$f chat)\" = inside && rm -r $f");
    cr_assert_eq(system(command), 0, "%s", command);
    cr_assert_eq(broker_destroy(broker), 0);
}
