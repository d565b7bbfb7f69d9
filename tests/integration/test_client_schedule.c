/* test_client_schedule.c: events that come later, over the real broker: not before their time, once, over crashes; canceled,
 * they never come; listed, in the order they will. */
#include "tests/integration/client_probe.h"
#include "tests/support/broker_fixture.h"

#include "crier/schedule.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND_US INT64_C(1000000)
#define HOUR_US   (3600 * SECOND_US)
#define TOLD_MAX  4096

static struct broker *broker;

/* What emitting and canceling were told: `probe` counts, the rest is in the order of the answers. */
struct told {
    struct probe probe;
    crier_schedule schedules[TOLD_MAX];
    struct crier_schedule_info listed[TOLD_MAX];
    size_t listed_count;
    bool cancel; /* each as soon as its schedule is known */
};

static void setup(void)
{
    broker = broker_start(NULL);
    cr_assert_not_null(broker);
}

static void teardown(void)
{
    cr_assert_eq(broker_destroy(broker), 0);
}

TestSuite(client_schedule, .init = setup, .fini = teardown, .timeout = 120);

static struct told *told_create(void)
{
    struct told *told = calloc(1, sizeof(*told));
    cr_assert_not_null(told);
    probe_init(&told->probe);
    return told;
}

static void told_free(struct told *told)
{
    probe_finish(&told->probe);
    free(told);
}

static crier *bus_open(struct told *told)
{
    struct crier_options options = crier_options_default();
    crier *bus = NULL;
    options.connection = probe_connection;
    options.ctx = &told->probe;
    options.close_timeout_ms = 20000;
    cr_assert_eq(crier_open(broker_url(broker), &options, &bus), 0);
    return bus;
}

static void on_canceled(crier *bus, int code, void *ctx)
{
    probe_done(bus, code, 0, &((struct told *)ctx)->probe);
}

static void on_scheduled(crier *bus, int code, const crier_schedule *schedule, void *ctx)
{
    struct told *told = ctx;
    cr_assert_eq(schedule == NULL, code != 0);
    if (schedule)
        told->schedules[told->probe.done_count] = *schedule;
    if (told->cancel && schedule)
        cr_assert_eq(crier_schedule_cancel_with(bus, schedule, on_canceled, told), 0);
    else
        probe_done(bus, code, 0, &told->probe);
}

static int emit_later(crier *bus, struct told *told, const char *topic, int number, int64_t delay_us)
{
    struct crier_later_options later = crier_later_options_default();
    char value[16];
    int size = snprintf(value, sizeof(value), "%d", number);
    later.delay_us = delay_us;
    later.done = on_scheduled;
    later.ctx = told;
    return crier_emit_later(bus, topic, value, (size_t)size, &later);
}

/* Emits one and waits for its schedule. */
static crier_schedule schedule_one(crier *bus, struct told *told, const char *topic, int64_t delay_us)
{
    size_t before = probe_count(&told->probe, &told->probe.done_count);
    cr_assert_eq(emit_later(bus, told, topic, (int)before, delay_us), 0);
    cr_assert(probe_wait(&told->probe, &told->probe.done_count, before + 1));
    cr_assert_eq(told->probe.last_code, 0);
    return told->schedules[before];
}

static int64_t monotonic_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * SECOND_US + now.tv_nsec / 1000;
}

static int64_t wall_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * SECOND_US + now.tv_nsec / 1000;
}

static void on_listed(void *ctx, const struct crier_schedule_info *info)
{
    struct told *told = ctx;
    struct crier_schedule_info *kept = &told->listed[told->listed_count++];
    cr_assert_leq(told->listed_count, TOLD_MAX);
    *kept = *info;
    kept->topic = info->topic[0] == 'a' ? "a" : "b"; /* the test's topics */
}

static int order(const crier_schedule *a, const crier_schedule *b)
{
    if (a->due_us != b->due_us)
        return a->due_us < b->due_us ? -1 : 1;
    return (a->number > b->number) - (a->number < b->number);
}

/* ---- coming ---- */

Test(client_schedule, an_event_comes_when_it_is_time_and_not_before)
{
    const int64_t delay_us = 200000;
    struct told *told = told_create();
    crier *bus = bus_open(told);
    cr_assert(probe_listen(&told->probe, bus, "a", NULL, NULL));
    int64_t begin_us = monotonic_us();
    crier_schedule schedule = schedule_one(bus, told, "a", delay_us);
    cr_assert_gt(schedule.due_us, 0);
    cr_assert_eq(crier_emit(bus, "a", "now", 3), 0); /* what is emitted meanwhile goes before */
    cr_assert(probe_wait(&told->probe, &told->probe.event_count, 2));
    cr_assert_geq(monotonic_us() - begin_us, delay_us - delay_us / 100,
                  "the broker's clock is slewed by 1 %%");
    cr_assert_str_eq(told->probe.events[0].value, "now");
    cr_assert_str_eq(told->probe.events[1].value, "0");
    cr_assert_eq(told->probe.events[1].offset, 1);
    cr_assert_eq(crier_close(bus), 0);
    told_free(told);
}

Test(client_schedule, times_are_absolute_too_and_one_that_is_past_is_at_once)
{
    struct told *told = told_create();
    struct crier_later_options later = crier_later_options_default();
    crier *bus = bus_open(told);
    cr_assert(probe_listen(&told->probe, bus, "a", NULL, NULL));
    later.done = on_scheduled;
    later.ctx = told;
    int64_t at_us = wall_us();
    later.at_us = at_us + 300000;
    cr_assert_eq(crier_emit_later(bus, "a", "second", 6, &later), 0);
    later.at_us = 1;
    later.delay_us = HOUR_US; /* does not count beside at_us */
    cr_assert_eq(crier_emit_later(bus, "a", "first", 5, &later), 0);
    cr_assert(probe_wait(&told->probe, &told->probe.event_count, 2));
    cr_assert_str_eq(told->probe.events[0].value, "first");
    cr_assert_str_eq(told->probe.events[1].value, "second");
    cr_assert_eq(told->schedules[0].due_us, at_us + 300000);
    cr_assert_eq(crier_close(bus), 0);
    told_free(told);
}

Test(client_schedule, keys_headers_and_partitions_are_as_emitted)
{
    struct told *told = told_create();
    struct crier_topic_options topic = crier_topic_options_default();
    struct crier_emit_options emit = crier_emit_options_default();
    struct crier_later_options later = crier_later_options_default();
    crier *bus = bus_open(told);
    topic.partitions = 8;
    cr_assert_eq(crier_topic_create(bus, "a", &topic), 0);
    cr_assert(probe_listen(&told->probe, bus, "a", NULL, NULL));
    later.emit = &emit;
    for (int i = 0; i < 32; i++) { /* the same 32 keys now and later: each key's two land beside each other */
        char key[8];
        emit.key = key;
        emit.key_size = (size_t)snprintf(key, sizeof(key), "k%d", i);
        later.delay_us = 1 + i;
        cr_assert_eq(crier_emit_later(bus, "a", "later", 5, &later), 0);
        cr_assert_eq(crier_emit_with(bus, "a", "now", 3, &emit), 0);
    }
    cr_assert(probe_wait(&told->probe, &told->probe.event_count, 64));
    for (size_t i = 0; i < 64; i++)
        for (size_t j = 0; j < 64; j++)
            if (!strcmp(told->probe.events[i].key, told->probe.events[j].key))
                cr_assert_eq(told->probe.events[i].partition, told->probe.events[j].partition);
    cr_assert_eq(crier_close(bus), 0);
    told_free(told);
}

Test(client_schedule, what_cannot_be_is_refused_with_a_code)
{
    struct told *told = told_create();
    struct crier_emit_options emit = crier_emit_options_default();
    struct crier_later_options later = crier_later_options_default();
    struct crier_topic_options topic = crier_topic_options_default();
    crier *bus = bus_open(told);
    later.emit = &emit;
    emit.durability = CRIER_MEMORY;
    cr_assert_eq(crier_emit_later(bus, "a", "x", 1, &later), CRIER_EINVAL);
    emit = crier_emit_options_default();
    emit.done = probe_done;
    cr_assert_eq(crier_emit_later(bus, "a", "x", 1, &later), CRIER_EINVAL);
    cr_assert_eq(emit_later(bus, told, "a", 0, -1), CRIER_EINVAL);
    cr_assert_eq(emit_later(bus, told, "a", 0, INT64_MAX), 0); /* the broker says it */
    cr_assert(probe_wait(&told->probe, &told->probe.done_count, 1));
    cr_assert_eq(told->probe.last_code, CRIER_EINVAL);
    topic.ephemeral = true;
    cr_assert_eq(crier_topic_create(bus, "b", &topic), 0);
    cr_assert_eq(emit_later(bus, told, "b", 0, 1), 0);
    cr_assert(probe_wait(&told->probe, &told->probe.done_count, 2));
    cr_assert_eq(told->probe.last_code, CRIER_EINVAL);
    cr_assert_eq(crier_close(bus), 0);
    told_free(told);
}

/* ---- canceling ---- */

Test(client_schedule, a_canceled_one_never_comes)
{
    struct told *told = told_create();
    crier_schedule schedule, other = {HOUR_US, 7};
    crier *bus = bus_open(told);
    cr_assert(probe_listen(&told->probe, bus, "a", NULL, NULL));
    schedule = schedule_one(bus, told, "a", HOUR_US);
    cr_assert_eq(crier_schedule_cancel(bus, &schedule), 0);
    cr_assert_eq(crier_schedule_cancel(bus, &schedule), CRIER_ENOSCHEDULE);
    cr_assert_eq(crier_schedule_cancel(bus, &other), CRIER_ENOSCHEDULE);
    schedule = schedule_one(bus, told, "a", 1);
    cr_assert(probe_wait(&told->probe, &told->probe.event_count, 1));
    cr_assert_str_eq(told->probe.events[0].value, "1");
    cr_assert_eq(crier_schedule_cancel(bus, &schedule), CRIER_ENOSCHEDULE, "it has come");
    cr_assert_eq(crier_close(bus), 0);
    told_free(told);
}

/* Half a second's worth is canceled by its own callbacks as it is stored; what is told as canceled does not come, what is
 * told as too late does. */
Test(client_schedule, canceling_and_coming_exclude_each_other)
{
    enum { EVENTS = 1000 };
    struct told *told = told_create();
    uint64_t pending = 1;
    crier *bus = bus_open(told);
    cr_assert(probe_listen(&told->probe, bus, "a", NULL, NULL));
    told->cancel = true;
    for (int i = 0; i < EVENTS; i++)
        cr_assert_eq(emit_later(bus, told, "a", i, i % 2 ? HOUR_US : 1 + 3 * i), 0);
    cr_assert(probe_wait(&told->probe, &told->probe.done_count, EVENTS));
    size_t late = probe_count(&told->probe, &told->probe.done_failed);
    cr_assert(probe_wait(&told->probe, &told->probe.event_count, late));
    cr_assert_eq(crier_schedule_list(bus, NULL, on_listed, told, &pending), 0);
    cr_assert_eq(pending, 0);
    cr_assert_eq(probe_count(&told->probe, &told->probe.event_count), late);
    cr_assert_lt(late, EVENTS);
    cr_assert_eq(crier_close(bus), 0);
    told_free(told);
}

/* ---- listing ---- */

Test(client_schedule, what_waits_is_listed_in_the_order_it_will_come)
{
    enum { EVENTS = 450 }; /* several answers of the broker's */
    struct told *told = told_create();
    struct crier_schedule_list_options page = crier_schedule_list_options_default();
    uint64_t pending;
    crier *bus = bus_open(told);
    for (int i = 0; i < EVENTS; i++)
        cr_assert_eq(emit_later(bus, told, i % 3 ? "a" : "b", i, HOUR_US + (i * 7919 % EVENTS) * SECOND_US),
                     0);
    cr_assert(probe_wait(&told->probe, &told->probe.done_count, EVENTS));
    cr_assert_eq(told->probe.done_failed, 0);
    cr_assert_eq(crier_schedule_list(bus, NULL, on_listed, told, &pending), 0);
    cr_assert_eq(told->listed_count, EVENTS);
    cr_assert_eq(pending, EVENTS);
    for (size_t i = 1; i < EVENTS; i++)
        cr_assert_lt(order(&told->listed[i - 1].schedule, &told->listed[i].schedule), 0);
    told->listed_count = 0;
    page.topic = "b";
    page.count_max = 60;
    for (size_t pages = 1; pages <= 3; pages++) { /* 60, 60, 30 */
        cr_assert_eq(crier_schedule_list(bus, &page, on_listed, told, NULL), 0);
        cr_assert_eq(told->listed_count, pages < 3 ? 60 * pages : EVENTS / 3);
        page.after = told->listed[told->listed_count - 1].schedule;
    }
    for (size_t i = 0; i < told->listed_count; i++) {
        cr_assert_str_eq(told->listed[i].topic, "b");
        cr_assert(i == 0 || order(&told->listed[i - 1].schedule, &told->listed[i].schedule) < 0);
        cr_assert_gt(told->listed[i].size, 0);
        cr_assert_leq(told->listed[i].created_us, told->listed[i].schedule.due_us - HOUR_US);
    }
    cr_assert_eq(crier_schedule_cancel(bus, &told->listed[0].schedule), 0);
    cr_assert_eq(crier_close(bus), 0);
    told_free(told);
}

Test(client_schedule, a_schedule_has_a_text)
{
    static const char *const bad[] = {
        "", "-", "1-", "-1", "1-2-3", "1-g", "ffffffffffffffff-1", "1-11111111111111111"};
    crier_schedule schedule = {1795770000000000, 35}, again = {0};
    char text[CRIER_SCHEDULE_TEXT_SIZE];
    crier_schedule_to_text(&schedule, text);
    cr_assert_eq(crier_schedule_from_text(text, &again), 0);
    cr_assert_eq(order(&schedule, &again), 0);
    schedule = (crier_schedule){INT64_MAX, UINT64_MAX};
    crier_schedule_to_text(&schedule, text);
    cr_assert_eq(crier_schedule_from_text(text, &again), 0);
    cr_assert_eq(order(&schedule, &again), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(crier_schedule_from_text(bad[i], &again), CRIER_EINVAL, "\"%s\"", bad[i]);
}

/* ---- crashes ---- */

static void expect_each_once(const struct probe *probe, size_t count)
{
    unsigned char seen[TOLD_MAX] = {0};
    cr_assert_eq(probe->event_count, count);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(seen[atoi(probe->events[i].value)]++, 0, "%s came twice", probe->events[i].value);
}

Test(client_schedule, a_broker_killed_while_events_come_due_loses_none_and_repeats_none)
{
    enum { EVENTS = 3000 };
    struct told *told = told_create();
    crier *bus = bus_open(told);
    size_t seen = 0, in_time = 0;
    cr_assert(probe_listen(&told->probe, bus, "a", NULL, NULL));
    for (int i = 0; i < EVENTS; i++)
        cr_assert_eq(emit_later(bus, told, "a", i, 1 + 500 * i), 0);
    cr_assert(probe_wait(&told->probe, &told->probe.done_count, EVENTS));
    cr_assert_eq(told->probe.done_failed, 0);
    for (int kills = 0; kills < 3; kills++) {
        cr_assert(
            probe_wait(&told->probe, &told->probe.event_count, seen + 50 < EVENTS ? seen + 50 : EVENTS));
        broker_kill(broker);
        seen = probe_count(&told->probe, &told->probe.event_count);
        in_time += seen < EVENTS;
        cr_assert(broker_restart(broker));
    }
    cr_assert_gt(in_time, 0, "all had come before any kill: this tested nothing");
    cr_assert(probe_wait(&told->probe, &told->probe.event_count, EVENTS));
    cr_assert_eq(crier_flush(bus, -1), 0);
    expect_each_once(&told->probe, EVENTS);
    cr_assert_eq(crier_close(bus), 0);
    told_free(told);
}

/* Emits that were in flight are sent again, and are the same schedules: each has a name, no two have one, and that is how
 * they are canceled. */
Test(client_schedule, emits_sent_again_are_the_same_schedules)
{
    enum { EVENTS = 2000 };
    struct told *told = told_create();
    uint64_t pending = 0;
    size_t named = 0;
    crier *bus = bus_open(told);
    cr_assert_eq(crier_topic_create(bus, "a", NULL), 0);
    for (int i = 0; i < EVENTS; i++) {
        cr_assert_eq(emit_later(bus, told, "a", i, HOUR_US), 0);
        if (i == EVENTS / 2) {
            cr_assert(probe_wait(&told->probe, &told->probe.done_count, 1));
            broker_kill(broker);
        }
    }
    cr_assert_lt(probe_count(&told->probe, &told->probe.done_count), EVENTS);
    cr_assert(broker_restart(broker));
    cr_assert(probe_wait(&told->probe, &told->probe.done_count, EVENTS));
    cr_assert_eq(told->probe.done_failed, 0);
    struct crier_schedule_list_options all = crier_schedule_list_options_default();
    all.count_max = TOLD_MAX;
    cr_assert_eq(crier_schedule_list(bus, &all, on_listed, told, &pending), 0);
    cr_assert_eq(pending, EVENTS);
    cr_assert_eq(told->listed_count, EVENTS);
    for (size_t i = 0; i < EVENTS; i++)
        for (size_t j = 0; j < EVENTS; j++)
            named += order(&told->schedules[i], &told->listed[j].schedule) == 0;
    cr_assert_eq(named, EVENTS);
    for (size_t i = 0; i < EVENTS; i++)
        cr_assert_eq(crier_schedule_cancel_with(bus, &told->schedules[i], on_canceled, told), 0);
    cr_assert(probe_wait(&told->probe, &told->probe.done_count, (size_t)2 * EVENTS));
    cr_assert_eq(told->probe.done_failed, 0);
    broker_kill(broker);
    cr_assert(broker_restart(broker));
    cr_assert_eq(crier_schedule_list(bus, &all, on_listed, told, &pending), 0);
    cr_assert_eq(pending, 0, "what is canceled is canceled for good");
    cr_assert_eq(crier_close(bus), 0);
    told_free(told);
}

Test(client_schedule, a_local_bus_keeps_nothing)
{
    crier_schedule schedule = {1, 1};
    crier *bus;
    cr_assert_eq(crier_open("local:", NULL, &bus), 0);
    cr_assert_eq(crier_emit_later(bus, "a", "x", 1, NULL), CRIER_ENOTSUP);
    cr_assert_eq(crier_schedule_cancel(bus, &schedule), CRIER_ENOTSUP);
    cr_assert_eq(crier_schedule_cancel_with(bus, &schedule, NULL, NULL), CRIER_ENOTSUP);
    cr_assert_eq(crier_schedule_list(bus, NULL, on_listed, NULL, NULL), CRIER_ENOTSUP);
    cr_assert_eq(crier_close(bus), 0);
}
