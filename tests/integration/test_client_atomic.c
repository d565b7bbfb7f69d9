/* test_client_atomic.c: atomic emits and named producers against a real crierd, also one that is killed. */
#include "crier/atomic.h"
#include "tests/integration/client_probe.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LINES      4000
#define KILLS      5
#define KILL_EVERY 600 /* lines acknowledged between kills of the broker */

static crier *open_named(const struct broker *broker, const char *name)
{
    struct crier_options options = crier_options_default();
    crier *bus = NULL;
    options.producer_name = name;
    cr_assert_eq(crier_open(broker_url(broker), &options, &bus), 0);
    return bus;
}

static uint64_t position_of(crier *bus)
{
    uint64_t position = 0;
    cr_assert_eq(crier_source_position(bus, &position), 0);
    return position;
}

/* A line of the source: an event to each of two topics. */
static int emit_line(crier *bus, uint64_t line, struct probe *probe)
{
    struct crier_atomic_options options = crier_atomic_options_default();
    char text[32];
    int size = snprintf(text, sizeof(text), "%llu", (unsigned long long)line);
    struct crier_atomic_event events[] = {{.topic = "left", .value = text, .value_size = (size_t)size},
                                          {.topic = "right", .value = text, .value_size = (size_t)size}};
    options.source_position = line;
    options.done = probe_done;
    options.ctx = probe;
    return crier_emit_atomic(bus, events, 2, &options);
}

/* The topic holds exactly the lines 1..count, in order. */
static void assert_lines(crier *bus, const char *topic, size_t count)
{
    struct crier_listen_options options = crier_listen_options_default();
    struct probe probe;
    probe_init(&probe);
    options.from = CRIER_EARLIEST;
    cr_assert(probe_listen(&probe, bus, topic, &options, NULL));
    cr_assert(probe_wait(&probe, &probe.event_count, count));
    cr_assert_eq(crier_off(bus, topic, probe_handler, &probe), 0);
    cr_assert(probe_wait(&probe, &probe.released, 1));
    cr_assert_eq(probe.event_count, count, "%s holds %zu events, not %zu", topic, probe.event_count, count);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(strtoull(probe.events[i].value, NULL, 10), i + 1, "%s at %zu: %s", topic, i,
                     probe.events[i].value);
    probe_finish(&probe);
}

Test(atomic, events_to_several_topics_are_stored_together)
{
    struct broker *broker = broker_start(NULL);
    struct probe probe;
    crier *bus = open_named(broker, "file");
    probe_init(&probe);
    cr_assert_eq(position_of(bus), 0);
    for (uint64_t line = 1; line <= 100; line++)
        cr_assert_eq(emit_line(bus, line, &probe), 0);
    cr_assert_eq(crier_flush(bus, -1), 0);
    cr_assert_eq(probe.done_count, 100);
    cr_assert_eq(probe.done_failed, 0);
    cr_assert_eq(probe.last_offset, 99);
    cr_assert_eq(position_of(bus), 100);
    assert_lines(bus, "left", 100);
    assert_lines(bus, "right", 100);
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(atomic, a_source_is_resumed_by_its_name_and_what_is_stored_is_not_stored_again)
{
    struct broker *broker = broker_start(NULL);
    struct probe probe;
    crier *bus = open_named(broker, "file");
    probe_init(&probe);
    for (uint64_t line = 1; line <= 10; line++)
        cr_assert_eq(emit_line(bus, line, &probe), 0);
    cr_assert_eq(crier_close(bus), 0);
    broker_kill(broker);
    cr_assert(broker_restart(broker));
    bus = open_named(broker, "file");
    cr_assert_eq(position_of(bus), 10);
    for (uint64_t line = 6; line <= 15; line++) /* five of them again */
        cr_assert_eq(emit_line(bus, line, &probe), 0);
    cr_assert_eq(crier_flush(bus, -1), 0);
    cr_assert_eq(emit_line(bus, 15, &probe), CRIER_EINVAL, "a position grows");
    cr_assert_eq(probe.done_failed, 0);
    assert_lines(bus, "left", 15);
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
    cr_assert_eq(broker_destroy(broker), 0);
}

/* The broker dies in the middle of many steps in flight, again and again; nobody starts anything anew. */
Test(atomic, a_broker_killed_mid_source_leaves_no_gap_and_no_repeat, .timeout = 120)
{
    struct broker *broker = broker_start(NULL);
    struct probe probe;
    crier *bus = open_named(broker, "file");
    size_t killed_at = 0;
    int kills = 0;
    probe_init(&probe);
    for (uint64_t line = 1; line <= LINES; line++) {
        cr_assert_eq(emit_line(bus, line, &probe), 0);
        size_t acked = probe_count(&probe, &probe.done_count);
        if (kills < KILLS && acked >= killed_at + KILL_EVERY) {
            broker_kill(broker);
            cr_assert(broker_restart(broker));
            killed_at = acked;
            kills++;
        } else if (line > acked + 200) {
            cr_assert(probe_wait(&probe, &probe.done_count, acked + 1));
        }
    }
    cr_assert_eq(crier_flush(bus, 60000), 0);
    cr_assert_eq(kills, KILLS);
    cr_assert_eq(probe.done_count, LINES);
    cr_assert_eq(probe.done_failed, 0);
    cr_assert_eq(position_of(bus), LINES);
    assert_lines(bus, "left", LINES);
    assert_lines(bus, "right", LINES);
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
    cr_assert_eq(broker_destroy(broker), 0);
}

Test(atomic, the_newer_bus_of_a_name_fences_the_older)
{
    struct broker *broker = broker_start(NULL);
    struct probe probe, other;
    crier *older = open_named(broker, "file");
    uint64_t position;
    probe_init(&probe);
    probe_init(&other);
    cr_assert_eq(emit_line(older, 1, &probe), 0);
    cr_assert_eq(crier_flush(older, -1), 0);
    crier *newer = open_named(broker, "file");
    cr_assert_eq(position_of(newer), 1);
    cr_assert_eq(emit_line(newer, 2, &other), 0);
    cr_assert_eq(crier_flush(newer, -1), 0);
    while (crier_source_position(older, &position) == 0) { /* until it has heard */
        struct crier_stats stats;
        (void)crier_ping(older, &(int64_t){0});
        crier_stats(older, &stats);
    }
    cr_assert_eq(crier_source_position(older, &position), CRIER_EFENCED);
    cr_assert_eq(emit_line(older, 3, &probe), CRIER_EFENCED);
    cr_assert_eq(emit_line(newer, 3, &other), 0);
    cr_assert_eq(crier_emit(older, "plain", "x", 1), 0, "it goes on without its name");
    cr_assert_eq(crier_flush(older, -1), 0);
    cr_assert_eq(crier_flush(newer, -1), 0);
    assert_lines(newer, "left", 3);
    cr_assert_eq(crier_close(older), 0);
    cr_assert_eq(crier_close(newer), 0);
    probe_finish(&probe);
    probe_finish(&other);
    cr_assert_eq(broker_destroy(broker), 0);
}

/* Compare and append: of those who expect the same end, one wins. */
Test(atomic, an_expected_offset_lets_one_of_two_writers_through)
{
    struct broker *broker = broker_start(NULL);
    struct probe probe;
    crier *bus = NULL;
    struct crier_emit_options expects = crier_emit_options_default();
    struct crier_atomic_options options = crier_atomic_options_default();
    struct crier_atomic_event event = {.topic = "t", .value = "x", .value_size = 1, .options = &expects};
    probe_init(&probe);
    cr_assert_eq(crier_open(broker_url(broker), NULL, &bus), 0);
    options.done = probe_done;
    options.ctx = &probe;
    expects.expects = true;
    for (size_t i = 0; i < 20; i++) {
        expects.expected_offset = i / 2; /* each twice: the second is too late */
        cr_assert_eq(crier_emit_atomic(bus, &event, 1, &options), 0);
    }
    cr_assert_eq(crier_flush(bus, -1), 0);
    cr_assert_eq(probe.done_count, 20);
    cr_assert_eq(probe.done_failed, 10);
    cr_assert_eq(probe.last_code, CRIER_EOFFSET);
    cr_assert_eq(crier_emit_with(bus, "t", "x", 1, &expects), CRIER_EINVAL, "only an atomic emit expects");
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
    cr_assert_eq(broker_destroy(broker), 0);
}

/* An older program's options are shorter; a newer one's are longer, and wish for nothing this library does not know. */
Test(atomic, options_of_another_version_are_taken)
{
    struct broker *broker = broker_start(NULL);
    struct probe probe;
    crier *bus = NULL;
    struct {
        struct crier_emit_options options;
        uint64_t later;
    } newer = {crier_emit_options_default(), 0};
    struct crier_emit_options older = crier_emit_options_default();
    struct crier_atomic_event events[] = {
        {"t", "x", 1, NULL}, {"t", "y", 1, &older}, {"t", "z", 1, &newer.options}};
    struct crier_atomic_options options = crier_atomic_options_default();
    probe_init(&probe);
    options.done = probe_done;
    options.ctx = &probe;
    older.struct_size = offsetof(struct crier_emit_options, expects);
    older.expects = true; /* behind its end: says nothing */
    older.expected_offset = 99;
    newer.options.struct_size = sizeof(newer);
    cr_assert_eq(crier_open(broker_url(broker), NULL, &bus), 0);
    cr_assert_eq(crier_emit_atomic(bus, events, 3, &options), 0);
    newer.later = 1;
    cr_assert_eq(crier_emit_atomic(bus, events, 3, &options), CRIER_EINVAL);
    cr_assert_eq(crier_flush(bus, -1), 0);
    cr_assert_eq(probe.done_count, 1);
    cr_assert_eq(probe.done_failed, 0);
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
    cr_assert_eq(broker_destroy(broker), 0);
}

/* A topic that was deleted and made anew has other partitions: the first step finds out, the next goes there. */
Test(atomic, a_topic_that_was_deleted_is_found_again)
{
    struct broker *broker = broker_start(NULL);
    struct probe probe;
    crier *bus = open_named(broker, "file");
    probe_init(&probe);
    cr_assert_eq(emit_line(bus, 1, &probe), 0);
    cr_assert_eq(crier_flush(bus, -1), 0);
    cr_assert_eq(crier_topic_delete(bus, "left"), 0);
    cr_assert_eq(emit_line(bus, 2, &probe), 0);
    cr_assert_eq(crier_flush(bus, -1), 0);
    cr_assert_eq(probe.done_failed, 1);
    cr_assert_eq(probe.last_code, CRIER_ENOTOPIC);
    cr_assert_eq(emit_line(bus, 3, &probe), 0);
    cr_assert_eq(crier_flush(bus, -1), 0);
    cr_assert_eq(probe.done_failed, 1);
    cr_assert_eq(probe.done_count, 3);
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&probe);
    cr_assert_eq(broker_destroy(broker), 0);
}
