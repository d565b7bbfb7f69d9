/* test_core_dead_letter.c: which topic the dead letters of a topic go to: chosen, shared, altered, deleted, or one that cannot be. */
#include "tests/unit/shared_rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000)

#define SET_DELIVERIES  524288u
#define SET_DEAD_LETTER 1048576u
#define SET_FIRST       131072u
#define SET_MAX         262144u

struct stage {
    struct fixture *f;
    struct peer *p;
    uint64_t partition;
    struct rig_read *read;
};

static struct stage stage_make(void)
{
    struct stage s = {.f = fixture_create(), .read = calloc(1, sizeof(struct rig_read))};
    s.f->config.disk_free_min = 1000;
    s.f->config.ping_interval_ms = s.f->config.idle_timeout_ms = 600000;
    fixture_start(s.f);
    s.p = peer_welcome(s.f);
    s.partition = peer_topic(s.p, "orders", 1);
    return s;
}

static void stage_end(struct stage *s)
{
    free(s->read);
    fixture_destroy(s->f);
}

static Wire__RetryPolicy policy(const char *dead_letter)
{
    Wire__RetryPolicy retry = WIRE__RETRY_POLICY__INIT;
    retry.dead_letter = (char *)dead_letter;
    return retry;
}

static const Wire__Topics *alter(struct peer *p, const char *topic, uint32_t set, Wire__RetryPolicy retry)
{
    Wire__TopicAlter message = WIRE__TOPIC_ALTER__INIT;
    message.request = 5;
    message.name = (char *)topic;
    message.set = set;
    message.retry = &retry;
    peer_send(p, FRAME_TOPIC_ALTER, &message.base);
    fixture_settle(p->fixture);
    return peer_expect_past(p, FRAME_TOPICS);
}

static int choose(struct peer *p, const char *topic, const char *dead_letter)
{
    return alter(p, topic, SET_DEAD_LETTER, policy(dead_letter))->code;
}

static int create(struct peer *p, const char *name, uint32_t partitions, const char *dead_letter,
                  bool ephemeral)
{
    Wire__RetryPolicy retry = policy(dead_letter);
    Wire__TopicCreate message = WIRE__TOPIC_CREATE__INIT;
    message.request = 6;
    message.name = (char *)name;
    message.partitions = partitions;
    message.retry = &retry;
    message.ephemeral = ephemeral;
    peer_send(p, FRAME_TOPIC_CREATE, &message.base);
    fixture_settle(p->fixture);
    return ((const Wire__Topics *)peer_expect_past(p, FRAME_TOPICS))->code;
}

static struct rig_member *join(struct fixture *f, const char *topic)
{
    return rig_join(f, &(struct rig_listen){.topic = topic, .group = "g"});
}

/* Everything the member has been given dies. */
static void reject_all(struct rig_member *m)
{
    rig_take(m);
    while (m->got_count) {
        struct rig_event event = rig_next(m);
        cr_assert_eq(rig_reject(m, &event, "no"), 0);
    }
    fixture_run(m->peer->fixture, 100000);
}

static size_t held_by(struct stage *s, const char *topic)
{
    rig_read_all(s->f, topic, s->read);
    return s->read->count;
}

/* Returns the code; *ret_moved how many. limit 0: all. */
static int redrive_some(struct peer *p, const char *topic, uint64_t limit, uint64_t *ret_moved)
{
    Wire__Redrive message = WIRE__REDRIVE__INIT;
    message.request = 8;
    message.limit = limit;
    message.topic = (char *)topic;
    peer_send(p, FRAME_REDRIVE, &message.base);
    fixture_run(p->fixture, 100000);
    const Wire__Redriven *answer = peer_expect_past(p, FRAME_REDRIVEN);
    *ret_moved = answer->moved;
    return answer->code;
}

static int redrive(struct peer *p, const char *topic, uint64_t *ret_moved)
{
    return redrive_some(p, topic, 0, ret_moved);
}

Test(dead_letter, parts_of_the_policy_are_set_one_by_one)
{
    struct stage s = stage_make();
    Wire__RetryPolicy retry = policy("graves");
    retry.first_ms = 5;
    retry.max_ms = 6;
    retry.deliveries = 7;
    cr_assert_eq(alter(s.p, "orders", 65536, retry)->code, 0);
    static const struct {
        uint32_t set, first_ms, max_ms, deliveries;
        const char *dead_letter;
    } steps[] = {{SET_FIRST, 50, 6, 7, "graves"},
                 {SET_MAX, 50, 60, 7, "graves"},
                 {SET_DELIVERIES, 50, 60, 70, "graves"},
                 {SET_DEAD_LETTER, 50, 60, 70, "tombs"}};
    retry = policy("tombs");
    retry.first_ms = 50;
    retry.max_ms = 60;
    retry.deliveries = 70;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        const Wire__Topics *topics = alter(s.p, "orders", steps[i].set, retry);
        cr_assert_eq(topics->code, 0);
        const Wire__RetryPolicy *now = topics->topics[0]->retry;
        cr_assert_eq(now->first_ms, steps[i].first_ms, "%zu", i);
        cr_assert_eq(now->max_ms, steps[i].max_ms, "%zu", i);
        cr_assert_eq(now->deliveries, steps[i].deliveries, "%zu", i);
        cr_assert_str_eq(now->dead_letter, steps[i].dead_letter, "%zu", i);
    }
    fixture_crash(s.f);
    s.p = peer_welcome(s.f);
    const Wire__Topics *topics = alter(s.p, "orders", SET_DEAD_LETTER, policy(""));
    cr_assert_eq(topics->code, 0);
    cr_assert_eq(topics->topics[0]->retry->deliveries, 70, "and the rest was kept");
    cr_assert_str_eq(topics->topics[0]->retry->dead_letter, "", "the default again");
    stage_end(&s);
}

/* What dies is written to the topic whatever its name is: so that may not be one of the broker's own. */
Test(dead_letter, a_name_that_cannot_be_is_refused)
{
    struct stage s = stage_make();
    static const char *const bad[] = {"orders",
                                      "a..b",
                                      ".a",
                                      "*",
                                      "$scheduled",
                                      "$inbox.0123456789abcde",
                                      "$presence.orders",
                                      "error",
                                      "newListener",
                                      "removeListener",
                                      "with space"};
    cr_assert_eq(create(s.p, "fleeting", 1, "", true), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_eq(choose(s.p, "orders", bad[i]), WIRE_CRIER_EINVAL, "%s", bad[i]);
        cr_assert_eq(alter(s.p, "orders", 65536, policy(bad[i]))->code, WIRE_CRIER_EINVAL, "%s", bad[i]);
        if (i > 0)
            cr_assert_eq(create(s.p, "other", 1, bad[i], false), WIRE_CRIER_EINVAL, "%s", bad[i]);
    }
    cr_assert_eq(choose(s.p, "orders", "fleeting"), WIRE_CRIER_EINVAL, "it keeps nothing");
    cr_assert_eq(create(s.p, "fleeting.too", 1, "graves", true), WIRE_CRIER_EINVAL, "of it nothing dies");
    cr_assert_eq(choose(s.p, "fleeting", "graves"), WIRE_CRIER_ENOTSUP, "the same");
    cr_assert_eq(choose(s.p, "orders", "$dead.orders"), 0, "the default by its name");
    cr_assert_eq(choose(s.p, "orders", "$dead.others"), 0, "another's");
    cr_assert_eq(choose(s.p, "nowhere", "graves"), WIRE_CRIER_ENOTOPIC);
    stage_end(&s);
}

/* With partitions of its own number; each letter goes back to where it came from. */
Test(dead_letter, one_topic_may_take_the_dead_letters_of_several)
{
    struct stage s = stage_make();
    uint64_t moved;
    cr_assert_eq(create(s.p, "graves", 3, "", false), 0);
    cr_assert_eq(create(s.p, "bills", 2, "graves", false), 0);
    uint64_t bills = peer_topic(s.p, "marker", 1) - 2;
    cr_assert_eq(choose(s.p, "orders", "graves"), 0);
    static const char *const keys[] = {"a", "b", "c", "d", "e", "f"};
    rig_emit(s.p, s.partition, keys, 10, 6);
    rig_emit(s.p, bills + 1, keys, 20, 6);
    struct rig_member *of_orders = join(s.f, "orders"), *of_bills = join(s.f, "bills");
    cr_assert_eq(of_orders->got_count, 6);
    cr_assert_eq(of_bills->got_count, 6);
    reject_all(of_orders);
    reject_all(of_bills);
    cr_assert_eq(held_by(&s, "graves"), 12);
    size_t elsewhere = 0;
    for (size_t i = 0; i < 12; i++)
        elsewhere += s.read->events[i].partition != s.read->events[0].partition;
    cr_assert_gt(elsewhere, 0, "by their keys");
    cr_assert_eq(redrive(s.p, "orders", &moved), 0);
    cr_assert_eq(moved, 12, "all that is there goes back");
    cr_assert_eq(held_by(&s, "graves"), 0);
    rig_take(of_orders);
    rig_take(of_bills);
    cr_assert_eq(of_orders->got_count, 6);
    cr_assert_eq(of_bills->got_count, 6);
    for (size_t i = 0; i < 6; i++) {
        cr_assert_lt(of_orders->got[i].value, 20);
        cr_assert_geq(of_bills->got[i].value, 20);
        cr_assert_eq(of_bills->got[i].partition, bills + 1);
    }
    rig_free(of_bills);
    rig_free(of_orders);
    stage_end(&s);
}

/* What died before it is altered stays where it is; what dies from then on goes to the other. */
Test(dead_letter, it_may_be_altered_at_any_moment_while_an_event_dies)
{
    size_t in_old = 0, in_new = 0;
    for (int64_t after = 0; after < 8000; after += 250) {
        struct stage s = stage_make();
        cr_assert_eq(choose(s.p, "orders", "old"), 0);
        rig_emit_plain(s.p, s.partition, 42, 1);
        struct rig_member *m = join(s.f, "orders");
        struct rig_event event = rig_next(m);
        Wire__RetryPolicy retry = policy("old");
        retry.deliveries = 1;
        cr_assert_eq(alter(s.p, "orders", 65536, retry)->code, 0);
        rig_nack_send(m, &event, 1, 0);
        fixture_run(s.f, after);
        cr_assert_eq(choose(s.p, "orders", "new"), 0);
        fixture_run(s.f, 100000);
        size_t old = held_by(&s, "old"), now = held_by(&s, "new");
        cr_assert_eq(old + now, 1, "%zu and %zu after %ld us", old, now, (long)after);
        in_old += old;
        in_new += now;
        rig_free(m);
        stage_end(&s);
    }
    cr_assert_gt(in_old, 0);
    cr_assert_gt(in_new, 0);
}

/* Deleted with the letters in it; the next one makes it anew. */
Test(dead_letter, it_is_made_again_when_it_was_deleted)
{
    struct stage s = stage_make();
    cr_assert_eq(choose(s.p, "orders", "graves"), 0);
    struct rig_member *m = join(s.f, "orders");
    for (long value = 1; value <= 2; value++) {
        rig_emit_plain(s.p, s.partition, value, 1);
        fixture_settle(s.f);
        reject_all(m);
        cr_assert_eq(held_by(&s, "graves"), 1);
        cr_assert_eq(s.read->events[0].value, value);
        Wire__TopicDelete message = WIRE__TOPIC_DELETE__INIT;
        message.request = 9;
        message.name = (char *)"graves";
        peer_send(s.p, FRAME_TOPIC_DELETE, &message.base);
        fixture_settle(s.f);
        cr_assert_eq(((const Wire__Topics *)peer_expect_past(s.p, FRAME_TOPICS))->code, 0);
    }
    uint64_t moved;
    cr_assert_eq(redrive(s.p, "orders", &moved), 0);
    cr_assert_eq(moved, 0);
    rig_free(m);
    stage_end(&s);
}

/* Made ephemeral after it was chosen: nothing is lost, and somebody is told. */
Test(dead_letter, an_event_waits_while_its_topic_can_take_none)
{
    struct stage s = stage_make();
    cr_assert_eq(choose(s.p, "orders", "graves"), 0);
    cr_assert_eq(create(s.p, "graves", 1, "", true), 0);
    rig_emit_plain(s.p, s.partition, 1, 2);
    struct rig_member *m = join(s.f, "orders");
    reject_all(m);
    cr_assert(fixture_logged(s.f, "SHARED-DEAD"));
    fixture_run(s.f, 2 * SECOND);
    cr_assert_eq(choose(s.p, "orders", "tombs"), 0);
    fixture_run(s.f, 11 * SECOND);
    cr_assert_eq(held_by(&s, "tombs"), 2);
    rig_free(m);
    stage_end(&s);
}

/* A batch of letters that somebody else has written, compressed as clients do. */
static void emit_letters(struct peer *p, uint64_t partition, const char *topic, int count, size_t value_size)
{
    size_t capacity = 1024 + (size_t)count * (value_size + 256);
    uint8_t *bytes = malloc(capacity), *packed = malloc(capacity), *value = calloc(1, value_size);
    struct batch_builder builder;
    struct batch_pair headers[] = {{"crier.dead.topic", 16, topic, strlen(topic)},
                                   {"crier.dead.partition", 20, "0", 1}};
    cr_assert(bytes && packed && value);
    batch_builder_init(&builder, bytes, capacity);
    for (int i = 0; i < count; i++)
        cr_assert_eq(
            batch_builder_append(&builder, 1700000000000, NULL, 0, (char *)value, value_size, headers, 2), 0);
    int64_t size = (int64_t)batch_builder_finish(&builder, -1, -1, -1);
    int64_t smaller = batch_compress(bytes, (size_t)size, BATCH_ZSTD, packed, capacity);
    Wire__EmitPart part = WIRE__EMIT_PART__INIT;
    Wire__EmitPart *parts[] = {&part};
    part.partition = partition;
    part.size = (uint32_t)(smaller > 0 ? smaller : size);
    Wire__Emit emit = WIRE__EMIT__INIT;
    emit.request = ++p->emits;
    emit.parts = parts;
    emit.n_parts = 1;
    peer_send_attached(p, FRAME_EMIT, &emit.base, smaller > 0 ? packed : bytes, part.size);
    fixture_settle(p->fixture);
    const Wire__Emitted *answer = peer_expect_past(p, FRAME_EMITTED);
    cr_assert_eq(answer->parts[0]->outcome, WIRE__OUTCOME__OK);
    free(value);
    free(packed);
    free(bytes);
}

/* Anybody may write to a dead-letter topic, and what a letter says of itself is not to be believed. */
Test(dead_letter, a_forged_letter_does_not_get_into_the_brokers_own_topics)
{
    struct stage s = stage_make();
    uint64_t graves = peer_topic(s.p, "graves", 1), moved;
    cr_assert_eq(choose(s.p, "orders", "graves"), 0);
    peer_emit(s.p, &(struct batch_spec){.partition = s.partition, .count = 1, .delay_us = 3600 * SECOND}, 1);
    fixture_settle(s.f);
    (void)peer_expect_past(s.p, FRAME_EMITTED);
    emit_letters(s.p, graves, "$scheduled", 1, 1);
    cr_assert_eq(redrive(s.p, "orders", &moved), WIRE_CRIER_ENOTOPIC);
    cr_assert_eq(moved, 0);
    cr_assert_eq(held_by(&s, "graves"), 1);
    fixture_crash(s.f);
    s.p = peer_welcome(s.f);
    stage_end(&s);
}

/* They are events that the broker writes: below the guard they would fill what is kept for retention and positions. */
Test(dead_letter, none_are_written_while_little_is_left_on_the_disk)
{
    struct stage s = stage_make();
    uint64_t moved;
    rig_emit_plain(s.p, s.partition, 1, 4);
    struct rig_member *m = join(s.f, "orders");
    struct rig_event first = rig_next(m);
    cr_assert_eq(rig_reject(m, &first, "no"), 0);
    fixture_run(s.f, SECOND);
    cr_assert_eq(held_by(&s, "$dead.orders"), 1);
    store_memory_fault_disk_free(s.f->store, 999);
    fixture_run(s.f, SECOND);
    reject_all(m);
    cr_assert_eq(m->settled_code, 0, "what is settled goes on");
    cr_assert_eq(redrive(s.p, "orders", &moved), WIRE_CRIER_EFULL);
    cr_assert_eq(moved, 0);
    fixture_run(s.f, 30 * SECOND);
    cr_assert_eq(held_by(&s, "$dead.orders"), 1);
    store_memory_fault_disk_free(s.f->store, 1250);
    fixture_run(s.f, 12 * SECOND);
    cr_assert_eq(held_by(&s, "$dead.orders"), 4);
    cr_assert_eq(redrive(s.p, "orders", &moved), 0);
    cr_assert_eq(moved, 4);
    rig_free(m);
    stage_end(&s);
}

static uint64_t reads(const struct fixture *f)
{
    struct store_stats stats;
    f->store->ops->stats(f->store, &stats);
    return stats.reads;
}

/* Events of 300 KB; the log keeps them as they are. */
static void emit_large(struct peer *p, uint64_t partition, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        struct batch_spec spec = {.partition = partition, .count = 1, .value_size = 300000};
        Wire__CreditWant want = WIRE__CREDIT_WANT__INIT;
        want.bytes = emit_frame_size(p, &spec, 1);
        peer_send(p, FRAME_CREDIT_WANT, &want.base);
        fixture_settle(p->fixture);
        cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
    }
}

/* What has been read waits in memory, and in one entry: a disk that stands still must not make that grow. */
Test(dead_letter, no_more_are_read_than_the_store_takes)
{
    enum { LETTERS = 160 };
    struct stage s = stage_make();
    peer_topic(s.p, "$dead.orders", 1);
    emit_large(s.p, s.partition, LETTERS);
    struct rig_member *m =
        rig_join(s.f, &(struct rig_listen){.topic = "orders", .group = "g", .in_flight = LETTERS});
    cr_assert_eq(m->got_count, LETTERS);
    Wire__RetryPolicy retry = policy("");
    retry.deliveries = 1;
    cr_assert_eq(alter(s.p, "orders", SET_DELIVERIES, retry)->code, 0);
    uint64_t before = reads(s.f);
    rig_nack_send(m, m->got, LETTERS, 0);
    fixture_run(s.f, FIXTURE_COMMIT_US); /* durable: they die */
    store_memory_fault_slow(s.f->store, 1, 60 * SECOND);
    fixture_run(s.f, 30 * SECOND);
    uint64_t read = reads(s.f) - before;
    cr_assert_geq(read, 64);
    cr_assert_leq(read, 64 + 8, "%lu", (unsigned long)read);
    fixture_run(s.f, 60 * SECOND);
    cr_assert_eq(reads(s.f) - before, LETTERS, "then the others");
    rig_free(m);
    stage_end(&s);
}

static uint64_t bytes_of(struct peer *p, const char *topic)
{
    Wire__TopicDescribe message = WIRE__TOPIC_DESCRIBE__INIT;
    message.request = 7;
    message.name = (char *)topic;
    peer_send(p, FRAME_TOPIC_DESCRIBE, &message.base);
    fixture_settle(p->fixture);
    return ((const Wire__Topics *)peer_expect_past(p, FRAME_TOPICS))->topics[0]->partitions[0]->bytes;
}

/* A few KB of them may be many MB: what goes back in one entry is bounded by what it is there. */
Test(dead_letter, compressed_ones_go_back_in_entries_as_large_as_others)
{
    struct stage s = stage_make();
    struct store_stats before, after;
    uint64_t moved, bytes;
    uint64_t graves = peer_topic(s.p, "$dead.orders", 1);
    emit_letters(s.p, graves, "orders", 64, 100000);
    emit_letters(s.p, graves, "orders", 1, 300000);
    bytes = bytes_of(s.p, "$dead.orders");
    emit_letters(s.p, graves, "orders", 1, 300000);
    bytes = bytes_of(s.p, "$dead.orders") - bytes;
    s.f->store->ops->stats(s.f->store, &before);
    cr_assert_eq(redrive_some(s.p, "orders", 65, &moved), 0);
    cr_assert_eq(moved, 65);
    cr_assert_eq(bytes_of(s.p, "$dead.orders"), bytes, "what is left, %lu",
                 (unsigned long)bytes_of(s.p, "$dead.orders"));
    s.f->store->ops->stats(s.f->store, &after);
    cr_assert_geq(after.entries - before.entries, 16, "%lu entries for 6.4 MB",
                  (unsigned long)(after.entries - before.entries));
    cr_assert_eq(held_by(&s, "$dead.orders"), 1);
    stage_end(&s);
}

/* What a topic holds is what its retention by bytes goes by. */
Test(dead_letter, what_is_left_behind_counts_still)
{
    struct stage s = stage_make();
    uint64_t graves = peer_topic(s.p, "$dead.orders", 1), moved, each;
    emit_letters(s.p, graves, "orders", 1, 1);
    each = bytes_of(s.p, "$dead.orders");
    for (int i = 1; i < 8; i++)
        emit_letters(s.p, graves, "orders", 1, 1);
    cr_assert_eq(bytes_of(s.p, "$dead.orders"), 8 * each);
    for (uint64_t left = 8; left > 2; left -= 3) {
        cr_assert_eq(redrive_some(s.p, "orders", 3, &moved), 0);
        cr_assert_eq(moved, 3);
        cr_assert_eq(bytes_of(s.p, "$dead.orders"), (left - 3) * each, "%lu of %lu",
                     (unsigned long)bytes_of(s.p, "$dead.orders"), (unsigned long)((left - 3) * each));
    }
    stage_end(&s);
}

/* Nobody is a member any more: what has died is among the dead letters all the same, and a redrive finds it. */
Test(dead_letter, it_is_written_after_a_crash_without_any_member)
{
    size_t written = 0;
    for (int64_t after = 0; after < 8000; after += 500) {
        struct stage s = stage_make();
        rig_emit_plain(s.p, s.partition, 42, 1);
        struct rig_member *m = join(s.f, "orders");
        struct rig_event event = rig_next(m);
        Wire__RetryPolicy retry = policy("");
        retry.deliveries = 1;
        cr_assert_eq(alter(s.p, "orders", SET_DELIVERIES, retry)->code, 0);
        rig_nack_send(m, &event, 1, 0);
        fixture_run(s.f, after);
        fixture_crash(s.f);
        rig_free(m);
        fixture_run(s.f, SECOND);
        size_t letters = held_by(&s, "$dead.orders");
        m = join(s.f, "orders");
        cr_assert_eq(letters + m->got_count, 1, "%zu after %ld us", letters, (long)after);
        written += letters;
        rig_free(m);
        stage_end(&s);
    }
    cr_assert_gt(written, 3);
}

/* The disk was full, and the last member left before there was room. */
Test(dead_letter, it_is_written_when_there_is_room_though_the_last_member_has_left)
{
    struct stage s = stage_make();
    peer_topic(s.p, "$dead.orders", 1);
    rig_emit_plain(s.p, s.partition, 42, 1);
    struct rig_member *m = join(s.f, "orders");
    struct rig_event event = rig_next(m);
    Wire__RetryPolicy retry = policy("");
    retry.deliveries = 1;
    cr_assert_eq(alter(s.p, "orders", SET_DELIVERIES, retry)->code, 0);
    rig_nack_send(m, &event, 1, 0);
    fixture_run(s.f, FIXTURE_COMMIT_US);
    store_memory_fault_full(s.f->store, true);
    fixture_run(s.f, SECOND / 2);
    rig_take(m);
    cr_assert_eq(m->settled_refused, 0, "it has died");
    peer_unlisten(m->peer, m->id);
    fixture_run(s.f, SECOND / 4);
    store_memory_fault_full(s.f->store, false);
    fixture_run(s.f, 15 * SECOND);
    cr_assert_eq(held_by(&s, "$dead.orders"), 1);
    rig_free(m);
    stage_end(&s);
}
