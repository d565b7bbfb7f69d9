/* test_client_shared.c: shared groups with a real broker: who fails gets it again, who is slow keeps it, who dies loses it, and of a
 * key one event is out at a time. */
#include "crier/pool.h"
#include "crier/shared.h"
#include "tests/integration/client_probe.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 16

/* What the members of a test have done, together. */
struct work {
    struct probe probe; /* every handler call */
    pthread_mutex_t lock;
    uint32_t attempts[4096]; /* by offset: the last that was seen */
    unsigned calls[4096];
    unsigned out[KEYS];  /* of a key, now */
    uint64_t last[KEYS]; /* of a key, the last that was done; +1 */
    unsigned both, backwards;
    unsigned fail_first; /* each offset that is a multiple of it fails the first time; 0: none */
    struct crier_lease leases[64];
    atomic_size_t lease_count, distinct;
};

static struct broker *broker;
static struct work work;

static void setup(void)
{
    memset(&work, 0, sizeof(work));
    probe_init(&work.probe);
    pthread_mutex_init(&work.lock, NULL);
    broker = broker_start(NULL);
    cr_assert(broker);
}

static void teardown(void)
{
    probe_finish(&work.probe);
    pthread_mutex_destroy(&work.lock);
    cr_assert_eq(broker_destroy(broker), 0);
}

TestSuite(shared, .init = setup, .fini = teardown, .timeout = 120);

static crier *open_bus(void)
{
    crier *bus = NULL;
    cr_assert_eq(crier_open(broker_url(broker), NULL, &bus), 0);
    return bus;
}

static void emit(crier *bus, int count)
{
    for (int i = 0; i < count; i++) {
        struct crier_emit_options options = crier_emit_options_default();
        char text[16], key[8];
        options.key = key;
        options.key_size = (size_t)snprintf(key, sizeof(key), "k%d", i % KEYS);
        cr_assert_eq(crier_emit_with(bus, "t", text, (size_t)snprintf(text, sizeof(text), "%d", i), &options),
                     0);
    }
    cr_assert_eq(crier_flush(bus, -1), 0);
}

static void join(crier *bus, const struct crier_shared_options *shared, crier_handler *handler,
                 crier_pool *pool)
{
    struct crier_listen_options options = crier_listen_options_default();
    options.group = "g";
    options.from = CRIER_EARLIEST;
    options.shared = shared;
    options.pool = pool;
    cr_assert_eq(crier_listen(bus, "t", &options, handler, &work, NULL), 0);
}

static void nack_now(crier *bus, const crier_event *event)
{
    struct crier_lease lease = crier_lease_of(event);
    struct crier_nack_options now = crier_nack_options_default();
    now.delay_ms = 1;
    cr_assert_eq(crier_nack(bus, &lease, &now), 0);
}

static int on_work(crier *bus, const crier_event *event, void *ctx)
{
    bool fails;
    (void)ctx;
    pthread_mutex_lock(&work.lock);
    work.attempts[event->offset] = event->attempt;
    fails = work.fail_first && event->offset % work.fail_first == 0 && work.calls[event->offset] == 0;
    if (work.calls[event->offset]++ == 0)
        atomic_fetch_add(&work.distinct, 1);
    pthread_mutex_unlock(&work.lock);
    if (fails)
        nack_now(bus, event);
    probe_handler(bus, event, &work.probe);
    return fails ? CRIER_LATER : 0;
}

Test(shared, more_members_than_partitions_do_each_event_once)
{
    struct crier_shared_options shared = crier_shared_options_default();
    crier *buses[3], *emitter = open_bus();
    struct crier_stats stats;
    uint64_t total = 0;
    int64_t ping_us;
    shared.max_in_flight = 16;
    for (int i = 0; i < 3; i++) {
        buses[i] = open_bus();
        join(buses[i], &shared, on_work, NULL);
    }
    emit(emitter, 2000);
    cr_assert(probe_wait(&work.probe, &work.probe.event_count, 2000));
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(crier_ping(buses[i], &ping_us), 0); /* the last handler has returned, and is counted */
        crier_stats(buses[i], &stats);
        total += stats.delivered;
        cr_assert_gt(stats.delivered, 0, "member %d has done nothing", i);
        cr_assert_eq(crier_close(buses[i]), 0);
    }
    cr_assert_eq(total, 2000);
    for (int i = 0; i < 2000; i++)
        cr_assert_eq(work.calls[i], 1);
    /* What they have done is done for good: who comes next gets what is new alone. */
    buses[0] = open_bus();
    join(buses[0], &shared, on_work, NULL);
    emit(emitter, 1);
    cr_assert(probe_wait(&work.probe, &work.probe.event_count, 2001));
    cr_assert_eq(work.calls[2000], 1);
    cr_assert_eq(crier_close(buses[0]), 0);
    cr_assert_eq(crier_close(emitter), 0);
}

Test(shared, what_fails_comes_again_with_its_attempt)
{
    struct crier_shared_options shared = crier_shared_options_default();
    crier *bus = open_bus(), *other = open_bus();
    work.fail_first = 10;
    emit(bus, 500);
    join(bus, &shared, on_work, NULL);
    join(other, &shared, on_work, NULL);
    cr_assert(probe_wait(&work.probe, &work.probe.event_count, 550));
    for (int i = 0; i < 500; i++) {
        cr_assert_eq(work.calls[i], i % 10 == 0 ? 2 : 1, "offset %d: %u calls", i, work.calls[i]);
        cr_assert_eq(work.attempts[i], i % 10 == 0 ? 2 : 1);
    }
    cr_assert_eq(crier_close(bus), 0);
    cr_assert_eq(crier_close(other), 0);
}

static int on_reject(crier *bus, const crier_event *event, void *ctx)
{
    struct crier_lease lease = crier_lease_of(event);
    struct crier_nack_options reject = crier_nack_options_default();
    (void)ctx;
    reject.reject = true;
    reject.reason = "no such customer";
    return crier_nack(bus, &lease, &reject) < 0 ? -1 : CRIER_LATER;
}

struct dead {
    struct probe probe;
    char reason[64], source[64];
};

static int on_dead(crier *bus, const crier_event *event, void *ctx)
{
    struct dead *dead = ctx;
    crier_header header;
    cr_assert_eq(crier_event_header_find(event, "crier.dead.reason", &header), 0);
    snprintf(dead->reason, sizeof(dead->reason), "%.*s", (int)header.value_size, (const char *)header.value);
    cr_assert_eq(crier_event_header_find(event, "crier.dead.topic", &header), 0);
    snprintf(dead->source, sizeof(dead->source), "%.*s", (int)header.value_size, (const char *)header.value);
    return probe_handler(bus, event, &dead->probe);
}

Test(shared, what_is_rejected_is_found_in_the_dead_letter_topic_with_its_reason)
{
    struct crier_shared_options shared = crier_shared_options_default();
    struct crier_listen_options earliest = crier_listen_options_default();
    crier *bus = open_bus();
    static struct dead dead;
    probe_init(&dead.probe);
    earliest.from = CRIER_EARLIEST;
    emit(bus, 1);
    join(bus, &shared, on_reject, NULL);
    cr_assert_eq(crier_listen(bus, "$dead.t", &earliest, on_dead, &dead, NULL), 0);
    cr_assert(probe_wait(&dead.probe, &dead.probe.event_count, 1));
    cr_assert_str_eq(dead.reason, "no such customer");
    cr_assert_str_eq(dead.source, "t");
    cr_assert_str_eq(dead.probe.events[0].value, "0");
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&dead.probe);
}

static int on_later(crier *bus, const crier_event *event, void *ctx)
{
    (void)ctx;
    work.leases[atomic_fetch_add(&work.lease_count, 1) % 64] = crier_lease_of(event);
    pthread_mutex_lock(&work.lock);
    work.calls[event->offset]++;
    pthread_mutex_unlock(&work.lock);
    probe_handler(bus, event, &work.probe);
    return CRIER_LATER;
}

Test(shared, a_lease_that_is_kept_is_settled_from_another_thread_and_bounds_what_is_in_flight)
{
    struct crier_shared_options shared = crier_shared_options_default();
    crier *bus = open_bus();
    shared.max_in_flight = 4;
    emit(bus, 20);
    join(bus, &shared, on_later, NULL);
    for (size_t i = 0; i < 20; i++) {
        cr_assert(probe_wait(&work.probe, &work.probe.event_count, i + 1));
        cr_assert_leq(atomic_load(&work.lease_count), i + 4, "more in flight than it wants");
        cr_assert_eq(crier_extend(bus, &work.leases[i], 60000), 0);
        cr_assert_eq(crier_ack(bus, &work.leases[i]), 0);
        cr_assert_eq(crier_ack(bus, &work.leases[i]), 0); /* once more: ignored */
    }
    for (int i = 0; i < 20; i++)
        cr_assert_eq(work.calls[i], 1);
    cr_assert_eq(crier_close(bus), 0);
    bus = open_bus(); /* nothing comes again */
    join(bus, &shared, on_work, NULL);
    emit(bus, 1);
    cr_assert(probe_wait(&work.probe, &work.probe.event_count, 21));
    cr_assert_eq(work.calls[20], 1);
    cr_assert_eq(crier_close(bus), 0);
}

static int on_keyed(crier *bus, const crier_event *event, void *ctx)
{
    char number[8];
    snprintf(number, sizeof(number), "%.*s", (int)event->key_size - 1, (const char *)event->key + 1);
    int key = atoi(number);
    bool fails;
    (void)ctx;
    pthread_mutex_lock(&work.lock);
    work.both += work.out[key]++ > 0;
    fails = event->offset % 7 == 0 && work.calls[event->offset] == 0;
    work.calls[event->offset]++;
    pthread_mutex_unlock(&work.lock);
    sched_yield();
    pthread_mutex_lock(&work.lock);
    work.out[key]--;
    if (!fails) {
        work.backwards += event->offset + 1 <= work.last[key];
        work.last[key] = event->offset + 1;
    }
    pthread_mutex_unlock(&work.lock);
    if (fails) {
        nack_now(bus, event);
        return CRIER_LATER;
    }
    return probe_handler(bus, event, &work.probe);
}

Test(shared, of_a_key_one_event_is_out_at_a_time_and_in_order_across_members_and_pools_also_when_it_fails)
{
    struct crier_shared_options shared = crier_shared_options_default();
    crier *emitter = open_bus(), *buses[3];
    crier_pool *pools[3];
    shared.key_ordered = true;
    emit(emitter, 1500);
    for (int i = 0; i < 3; i++) {
        buses[i] = open_bus();
        cr_assert_eq(crier_pool_create(NULL, &pools[i]), 0);
        join(buses[i], &shared, on_keyed, pools[i]);
    }
    cr_assert(probe_wait(&work.probe, &work.probe.event_count, 1500));
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(crier_close(buses[i]), 0);
        cr_assert_eq(crier_pool_destroy(pools[i]), 0);
    }
    cr_assert_eq(work.both, 0, "%u times two events of a key were out", work.both);
    cr_assert_eq(work.backwards, 0, "%u times backwards", work.backwards);
    for (int i = 0; i < 1500; i++)
        cr_assert_eq(work.calls[i], i % 7 == 0 ? 2 : 1);
    cr_assert_eq(crier_close(emitter), 0);
}

Test(shared, a_broker_that_dies_forgets_nothing_that_was_done)
{
    struct crier_shared_options shared = crier_shared_options_default();
    crier *bus = open_bus(), *other = open_bus();
    shared.max_in_flight = 64;
    emit(bus, 3000);
    join(bus, &shared, on_work, NULL);
    join(other, &shared, on_work, NULL);
    for (int i = 1; i <= 3; i++) {
        cr_assert(probe_wait(&work.probe, &work.probe.event_count, (size_t)i * 600));
        broker_kill(broker);
        cr_assert(broker_restart(broker));
    }
    for (size_t seen = 0; atomic_load(&work.distinct) < 3000;) {
        cr_assert(probe_wait(&work.probe, &work.probe.event_count, seen));
        seen = probe_count(&work.probe, &work.probe.event_count) + 1;
    }
    cr_assert_eq(crier_close(bus), 0);
    cr_assert_eq(crier_close(other), 0);
    size_t seen = probe_count(&work.probe, &work.probe.event_count);
    cr_assert_lt(seen, 6000, "%zu calls: not only what was in flight came again", seen);
    bus = open_bus();
    join(bus, &shared, on_work, NULL);
    emit(bus, 1);
    cr_assert(probe_wait(&work.probe, &work.probe.event_count, seen + 1));
    cr_assert_eq(work.calls[3000], 1, "something that was done came again");
    cr_assert_eq(crier_close(bus), 0);
}

static int on_broken(crier *bus, const crier_event *event, void *ctx)
{
    (void)probe_handler(bus, event, ctx);
    return -1;
}

struct described {
    struct crier_retry retry;
    char dead_letter[CRIER_TOPIC_NAME_MAX + 1];
};

static void describe_take(void *ctx, const struct crier_topic_info *info)
{
    struct described *described = ctx;
    described->retry = info->retry;
    snprintf(described->dead_letter, sizeof(described->dead_letter), "%s", info->dead_letter);
}

static void expect_none(void *ctx, const struct crier_topic_info *info)
{
    cr_assert_null(info->dead_letter, "%s", info->name);
    ++*(int *)ctx;
}

/* "$dead." before it would be too long a name; and of what is not kept nothing dies. */
Test(shared, a_topic_that_can_have_no_dead_letters_says_so)
{
    struct crier_topic_options ephemeral = crier_topic_options_default();
    char name[CRIER_TOPIC_NAME_MAX + 1];
    crier *bus = open_bus();
    int described = 0;
    memset(name, 'n', sizeof(name));
    name[CRIER_TOPIC_NAME_MAX - 5] = '\0';
    ephemeral.ephemeral = true;
    cr_assert_eq(crier_topic_create(bus, name, NULL), 0);
    cr_assert_eq(crier_topic_create(bus, "fleeting", &ephemeral), 0);
    cr_assert_eq(crier_topic_describe(bus, name, expect_none, &described), 0);
    cr_assert_eq(crier_topic_describe(bus, "fleeting", expect_none, &described), 0);
    cr_assert_eq(described, 2);
    cr_assert_eq(crier_close(bus), 0);
}

Test(shared, after_as_many_deliveries_as_the_topic_says_an_event_is_dead)
{
    struct crier_shared_options shared = crier_shared_options_default();
    struct crier_listen_options listen = crier_listen_options_default(),
                                earliest = crier_listen_options_default();
    struct crier_topic_options options = crier_topic_options_default();
    struct crier_topic_changes changes = {.struct_size = sizeof(changes), .set = CRIER_SET_RETRY};
    struct described described;
    crier *bus = open_bus();
    static struct dead dead;
    probe_init(&dead.probe);
    options.retry.first_ms = options.retry.max_ms = 1;
    options.retry.deliveries = 9;
    cr_assert_eq(crier_topic_create(bus, "t", &options), 0);
    changes.retry = options.retry;
    changes.retry.deliveries = 3;
    cr_assert_eq(crier_topic_alter(bus, "t", &changes), 0);
    cr_assert_eq(crier_topic_describe(bus, "t", describe_take, &described), 0);
    cr_assert_eq(described.retry.first_ms, 1);
    cr_assert_eq(described.retry.deliveries, 3);
    cr_assert_str_eq(described.dead_letter, "$dead.t");
    emit(bus, 1);
    listen.group = "g";
    listen.from = earliest.from = CRIER_EARLIEST;
    listen.shared = &shared;
    cr_assert_eq(crier_listen(bus, "t", &listen, on_broken, &work.probe, NULL), 0);
    cr_assert_eq(crier_listen(bus, described.dead_letter, &earliest, on_dead, &dead, NULL), 0);
    cr_assert(probe_wait(&dead.probe, &dead.probe.event_count, 1));
    cr_assert_eq(probe_count(&work.probe, &work.probe.event_count), 3);
    cr_assert_str_eq(dead.reason, "its handler returned -1");
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&dead.probe);
}

/* Fails the first time it is delivered, and is done when it comes back. */
static int on_broken_once(crier *bus, const crier_event *event, void *ctx)
{
    (void)ctx;
    (void)probe_handler(bus, event, &work.probe);
    return event->offset == 0 ? -1 : 0;
}

static void expect_dead_letter(crier *bus, const char *expected)
{
    struct described described;
    cr_assert_eq(crier_topic_describe(bus, "t", describe_take, &described), 0);
    cr_assert_str_eq(described.dead_letter, expected);
    cr_assert_eq(described.retry.deliveries, 2, "what was not set stays");
}

Test(shared, dead_letters_go_to_the_topic_that_was_chosen_and_come_back)
{
    struct crier_shared_options shared = crier_shared_options_default();
    struct crier_listen_options earliest = crier_listen_options_default();
    struct crier_topic_options options = crier_topic_options_default();
    struct crier_topic_changes changes = {.struct_size = sizeof(changes), .set = CRIER_SET_DEAD_LETTER};
    char chosen[] = "t.failed";
    crier *bus = open_bus();
    static struct dead dead;
    uint64_t moved;
    probe_init(&dead.probe);
    options.retry.first_ms = options.retry.max_ms = 1;
    options.retry.deliveries = 2;
    options.dead_letter = chosen;
    cr_assert_eq(crier_topic_create(bus, "t", &options), 0);
    memset(chosen, 'x', sizeof(chosen) - 1); /* it was copied */
    expect_dead_letter(bus, "t.failed");
    emit(bus, 1);
    join(bus, &shared, on_broken_once, NULL);
    earliest.from = CRIER_EARLIEST;
    cr_assert_eq(crier_listen(bus, "t.failed", &earliest, on_dead, &dead, NULL), 0);
    cr_assert(probe_wait(&dead.probe, &dead.probe.event_count, 1));
    cr_assert_eq(probe_count(&work.probe, &work.probe.event_count), 2);
    cr_assert_str_eq(dead.source, "t");
    cr_assert_str_eq(dead.probe.events[0].value, "0");
    cr_assert_eq(crier_redrive(bus, "t", 0, &moved), 0);
    cr_assert_eq(moved, 1);
    cr_assert(probe_wait(&work.probe, &work.probe.event_count, 3));
    cr_assert_str_eq(work.probe.events[2].value, "0");
    cr_assert_eq(work.probe.events[2].offset, 1, "as a new event");
    changes.dead_letter = "t.lost";
    cr_assert_eq(crier_topic_alter(bus, "t", &changes), 0);
    expect_dead_letter(bus, "t.lost");
    changes.dead_letter = "";
    cr_assert_eq(crier_topic_alter(bus, "t", &changes), 0);
    expect_dead_letter(bus, "$dead.t");
    cr_assert_eq(crier_close(bus), 0);
    probe_finish(&dead.probe);
}
