/* test_client_ephemeral.c: ephemeral topics over the real broker: heard by who is there, nothing kept, slow ones counted. */
#include "tests/integration/client_probe.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

static struct broker *broker;

static void setup(void)
{
    broker = broker_start(NULL);
    cr_assert_not_null(broker);
}

static void teardown(void)
{
    cr_assert_eq(broker_destroy(broker), 0);
}

TestSuite(client_ephemeral, .init = setup, .fini = teardown, .timeout = 120);

static crier *bus_open(struct probe *probe)
{
    struct crier_options options = crier_options_default();
    crier *bus = NULL;
    options.connection = probe_connection;
    options.ctx = probe;
    cr_assert_eq(crier_open(broker_url(broker), &options, &bus), 0);
    return bus;
}

static void topic_make(crier *bus, const char *name)
{
    struct crier_topic_options options = crier_topic_options_default();
    options.ephemeral = true;
    cr_assert_eq(crier_topic_create(bus, name, &options), 0);
}

static void describe(void *ctx, const struct crier_topic_info *info)
{
    cr_assert(info->ephemeral);
    *(uint64_t *)ctx += info->partitions[0].high_watermark + 1;
}

Test(client_ephemeral, what_is_emitted_is_heard_and_not_kept)
{
    struct probe probe;
    uint64_t held = 0;
    probe_init(&probe);
    crier *bus = bus_open(&probe);
    topic_make(bus, "now");
    cr_assert_eq(crier_emit(bus, "now", "early", 5),
                 0); /* before its durability is known here; nobody hears it */
    cr_assert_eq(crier_flush(bus, -1), 0);
    cr_assert(probe_listen(&probe, bus, "now", NULL, NULL));
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(crier_emit(bus, "now", "x", 1), 0);
    cr_assert_eq(crier_flush(bus, -1), 0);
    cr_assert(probe_wait(&probe, &probe.event_count, 1000));
    for (size_t i = 0; i < 1000; i++)
        cr_assert_eq(probe.events[i].offset, i + 1);
    cr_assert_eq(crier_topic_describe(bus, "now", describe, &held), 0);
    cr_assert_eq(held, 1, "the log has %llu of it", (unsigned long long)held - 1);
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
}

Test(client_ephemeral, a_listener_goes_on_after_a_restart_though_offsets_begin_anew)
{
    struct probe probe;
    probe_init(&probe);
    crier *bus = bus_open(&probe);
    topic_make(bus, "now");
    cr_assert(probe_listen(&probe, bus, "now", NULL, NULL));
    for (int i = 0; i < 10; i++)
        cr_assert_eq(crier_emit(bus, "now", "x", 1), 0);
    cr_assert_eq(crier_flush(bus, -1), 0);
    cr_assert(probe_wait(&probe, &probe.event_count, 10));
    broker_kill(broker);
    cr_assert(broker_restart(broker));
    cr_assert(probe_wait(&probe, &probe.listening, 2));
    cr_assert_eq(crier_emit(bus, "now", "y", 1), 0);
    cr_assert_eq(crier_flush(bus, -1), 0);
    cr_assert(probe_wait(&probe, &probe.event_count, 11));
    cr_assert_str_eq(probe.events[10].value, "y");
    cr_assert_eq(probe.events[10].offset, 0);
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
}

/* ---- slow ones ---- */

struct sleeper {
    struct probe probe; /* of its listening and released */
    sem_t entered, go;
    size_t handled;
    bool slept;
};

static int on_event_slowly(crier *bus, const crier_event *event, void *ctx)
{
    struct sleeper *sleeper = ctx;
    (void)bus, (void)event;
    if (!sleeper->slept) {
        sleeper->slept = true;
        sem_post(&sleeper->entered);
        while (sem_wait(&sleeper->go) < 0)
            continue;
    }
    return probe_handler(bus, event, &sleeper->probe);
}

static void sleeper_listening(void *ctx)
{
    probe_listening(&((struct sleeper *)ctx)->probe);
}

static void sleeper_released(void *ctx, int code, const char *text)
{
    probe_released(&((struct sleeper *)ctx)->probe, code, text);
}

/* One that sleeps in its first event until EVENTS more have been emitted, with room for few of them. */
#define EVENTS 200

static crier_listener *sleep_through(struct sleeper *sleeper, crier *to, crier *from, enum crier_slow slow)
{
    struct crier_listen_options options = crier_listen_options_default();
    crier_listener *listener;
    char value[1000] = {0};
    options.slow = slow;
    options.queue_size = 10000;
    options.credit = 2000;
    options.listening = sleeper_listening;
    options.released = sleeper_released;
    sem_init(&sleeper->entered, 0, 0);
    sem_init(&sleeper->go, 0, 0);
    cr_assert_eq(crier_listen(to, "now", &options, on_event_slowly, sleeper, &listener), 0);
    cr_assert(probe_wait(&sleeper->probe, &sleeper->probe.listening, 1));
    for (int i = 0; i <= EVENTS; i++) { /* one a batch */
        cr_assert_eq(crier_emit(from, "now", value, sizeof(value)), 0);
        cr_assert_eq(crier_flush(from, -1), 0);
        while (i == 0 && sem_wait(&sleeper->entered) < 0)
            continue;
    }
    return listener;
}

Test(client_ephemeral, a_slow_listener_loses_events_and_knows_how_many)
{
    struct sleeper sleeper = {0};
    struct crier_listener_stats stats;
    struct probe probe;
    probe_init(&probe);
    probe_init(&sleeper.probe);
    crier *from = bus_open(&probe), *to = bus_open(&sleeper.probe);
    topic_make(from, "now");
    crier_listener *listener = sleep_through(&sleeper, to, from, CRIER_DROP_OLDEST);
    sem_post(&sleeper.go);
    cr_assert(probe_wait(&sleeper.probe, &sleeper.probe.event_count, 5));
    cr_assert_eq(crier_emit(from, "now", "last", 4), 0);
    cr_assert_eq(crier_flush(from, -1), 0);
    do
        cr_assert(probe_wait(&sleeper.probe, &sleeper.probe.event_count, ++sleeper.handled));
    while (strcmp(sleeper.probe.events[sleeper.handled - 1].value, "last") != 0);
    cr_assert_eq(crier_listener_stats(listener, &stats), 0);
    cr_assert_gt(stats.dropped, EVENTS / 2);
    cr_assert_eq(sleeper.handled + stats.dropped, EVENTS + 2, "%zu heard, %llu dropped", sleeper.handled,
                 (unsigned long long)stats.dropped);
    cr_assert_eq(crier_close(from), 0);
    cr_assert_eq(crier_close(to), 0);
    probe_finish(&probe);
    probe_finish(&sleeper.probe);
}

Test(client_ephemeral, one_that_would_rather_end_is_told_why)
{
    struct sleeper sleeper = {0};
    struct probe probe;
    probe_init(&probe);
    probe_init(&sleeper.probe);
    crier *from = bus_open(&probe), *to = bus_open(&sleeper.probe);
    topic_make(from, "now");
    (void)sleep_through(&sleeper, to, from, CRIER_DISCONNECT);
    sem_post(&sleeper.go);
    cr_assert(probe_wait(&sleeper.probe, &sleeper.probe.released, 1));
    cr_assert_eq(sleeper.probe.released_code, CRIER_ETOOBIG);
    cr_assert_eq(crier_close(from), 0);
    cr_assert_eq(crier_close(to), 0);
    probe_finish(&probe);
    probe_finish(&sleeper.probe);
}
