/* test_client_restart.c: brokers that crash and clients that come back: nothing is lost, nothing comes twice. */
#include "tests/integration/client_probe.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static crier *bus_open(struct broker *broker, struct probe *probe)
{
    struct crier_options options = crier_options_default();
    crier *bus = NULL;
    options.connection = probe_connection;
    options.ctx = probe;
    options.close_timeout_ms = 20000;
    cr_assert_eq(crier_open(broker_url(broker), &options, &bus), 0);
    return bus;
}

static void emit_number(crier *bus, int number)
{
    char value[16];
    int size = snprintf(value, sizeof(value), "%d", number), rc;
    while ((rc = crier_emit(bus, "t", value, (size_t)size)) == CRIER_EAGAIN)
        cr_assert_eq(crier_flush(bus, -1), 0);
    cr_assert_eq(rc, 0);
}

static void expect_numbers(const struct probe *probe, size_t count)
{
    cr_assert_eq(probe->event_count, count);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq((size_t)atoi(probe->events[i].value), i, "event %zu is %s", i, probe->events[i].value);
        cr_assert_eq(probe->events[i].offset, i);
    }
}

Test(client_restart, a_broker_killed_under_load_loses_nothing_and_repeats_nothing)
{
    struct broker *broker = broker_start(NULL);
    struct probe producer, consumer;
    struct crier_stats stats;
    crier *from, *to;
    int next = 0;
    bool in_flight = false;
    cr_assert_not_null(broker);
    probe_init(&producer);
    probe_init(&consumer);
    from = bus_open(broker, &producer);
    to = bus_open(broker, &consumer);
    cr_assert(probe_listen(&consumer, to, "t", NULL, NULL));
    for (size_t round = 1; round <= 3; round++) {
        for (int i = 0; i < 20000; i++)
            emit_number(from, next++);
        crier_stats(from, &stats);
        broker_kill(broker);
        in_flight |= stats.pending_bytes > 0;
        for (int i = 0; i < 2000; i++)
            emit_number(from, next++);
        cr_assert(broker_restart(broker));
        cr_assert(probe_wait(&producer, &producer.connections, round + 1));
    }
    cr_assert_eq(crier_flush(from, -1), 0);
    cr_assert(probe_wait(&consumer, &consumer.event_count, (size_t)next));
    cr_assert_eq(crier_close(from), 0);
    cr_assert_eq(crier_close(to), 0);
    expect_numbers(&consumer, (size_t)next);
    cr_assert(in_flight, "nothing was in flight when the broker was killed: this tested nothing");
    probe_finish(&producer);
    probe_finish(&consumer);
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(client_restart, a_broker_stopped_and_started_again_is_found_again)
{
    struct broker *broker = broker_start(NULL);
    struct probe probe;
    struct crier_stats stats;
    cr_assert_not_null(broker);
    probe_init(&probe);
    crier *bus = bus_open(broker, &probe);
    cr_assert(probe_listen(&probe, bus, "t", NULL, NULL));
    emit_number(bus, 0);
    cr_assert_eq(crier_flush(bus, -1), 0);
    cr_assert_eq(broker_stop(broker), 0);
    cr_assert(probe_wait(&probe, &probe.disconnections, 1));
    emit_number(bus, 1); /* waits for the broker */
    cr_assert(broker_restart(broker));
    cr_assert(probe_wait(&probe, &probe.event_count, 2));
    expect_numbers(&probe, 2);
    crier_stats(bus, &stats);
    cr_assert_eq(stats.reconnects, 1);
    cr_assert(stats.connected);
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(client_restart, a_group_goes_on_where_its_last_member_stopped)
{
    struct broker *broker = broker_start(NULL);
    struct crier_listen_options group = crier_listen_options_default();
    cr_assert_not_null(broker);
    group.group = "workers";
    group.from = CRIER_EARLIEST;
    group.count = 7;
    for (int life = 0; life < 4; life++) { /* 7 events each */
        struct probe probe;
        probe_init(&probe);
        crier *bus = bus_open(broker, &probe);
        if (life == 0)
            for (int i = 0; i < 28; i++)
                emit_number(bus, i);
        cr_assert(probe_listen(&probe, bus, "t", &group, NULL));
        cr_assert(probe_wait(&probe, &probe.released, 1));
        cr_assert_eq(crier_close(bus), 0);
        cr_assert_eq(probe.event_count, 7);
        for (int i = 0; i < 7; i++)
            cr_assert_eq(atoi(probe.events[i].value), 7 * life + i);
        probe_finish(&probe);
        if (life == 1) { /* positions are durable */
            broker_kill(broker);
            cr_assert(broker_restart(broker));
        }
    }
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(client_restart, close_commits_the_position)
{
    struct broker *broker = broker_start(NULL);
    struct crier_listen_options group = crier_listen_options_default();
    struct probe first, second;
    cr_assert_not_null(broker);
    group.group = "g";
    group.from = CRIER_EARLIEST;
    probe_init(&first);
    probe_init(&second);
    crier *bus = bus_open(broker, &first);
    for (int i = 0; i < 5; i++)
        emit_number(bus, i);
    cr_assert(probe_listen(&first, bus, "t", &group, NULL));
    cr_assert(probe_wait(&first, &first.event_count, 5));
    cr_assert_eq(crier_close(bus), 0); /* well before commit_interval_ms */
    bus = bus_open(broker, &second);
    cr_assert(probe_listen(&second, bus, "t", &group, NULL));
    emit_number(bus, 5);
    cr_assert(probe_wait(&second, &second.event_count, 1));
    cr_assert_eq(atoi(second.events[0].value), 5);
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&first);
    probe_finish(&second);
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(client_restart, a_second_member_waits_until_the_group_is_free)
{
    struct broker *broker = broker_start(NULL);
    struct crier_listen_options group = crier_listen_options_default();
    struct probe first, second;
    crier_listener *listener;
    cr_assert_not_null(broker);
    group.group = "g";
    group.from = CRIER_EARLIEST;
    probe_init(&first);
    probe_init(&second);
    crier *a = bus_open(broker, &first), *b = bus_open(broker, &second);
    cr_assert(probe_listen(&first, a, "t", &group, &listener));
    cr_assert_eq(crier_listen(b, "t", &group, probe_handler, &second, NULL), 0);
    emit_number(a, 0);
    cr_assert(probe_wait(&first, &first.event_count, 1));
    cr_assert_eq(crier_unlisten(listener), 0);
    cr_assert(probe_wait(&first, &first.released, 1));
    emit_number(a, 1);
    cr_assert(probe_wait(&second, &second.event_count, 1));
    cr_assert_eq(atoi(second.events[0].value), 1);
    cr_assert_eq(probe_count(&first, &first.event_count), 1);
    cr_assert_eq(crier_close(a), 0);
    cr_assert_eq(crier_close(b), 0);
    probe_finish(&first);
    probe_finish(&second);
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(client_restart, once_counts_across_a_crash_of_the_broker)
{
    struct broker *broker = broker_start(NULL);
    struct crier_listen_options three = crier_listen_options_default();
    struct probe probe;
    cr_assert_not_null(broker);
    three.count = 3;
    probe_init(&probe);
    crier *bus = bus_open(broker, &probe);
    cr_assert(probe_listen(&probe, bus, "t", &three, NULL));
    emit_number(bus, 0);
    cr_assert(probe_wait(&probe, &probe.event_count, 1));
    broker_kill(broker);
    cr_assert(broker_restart(broker));
    for (int i = 1; i < 10; i++)
        emit_number(bus, i);
    cr_assert(probe_wait(&probe, &probe.released, 1));
    cr_assert_eq(crier_flush(bus, -1), 0);
    expect_numbers(&probe, 3);
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
    cr_assert_eq(broker_destroy(broker), 0);
}
