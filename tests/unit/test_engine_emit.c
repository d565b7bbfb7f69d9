/* test_engine_emit.c: when batches go, in which frames, and where to. */
#include "tests/unit/engine_rig.h"

#include "base/check.h"
#include "proto/batch.h"
#include "proto/murmur2.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Test(engine_emit, the_topic_is_asked_for_and_events_wait_for_it)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_emit(&rig, "t", "one", NULL);
    rig_emit(&rig, "t", "two", NULL);
    struct sent sent = rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
    cr_assert(((const Wire__TopicDescribe *)sent.message)->create);
    cr_assert(rig_sent_nothing(&rig));
    rig_topics(&rig, &sent, 1);
    sent = rig_expect(&rig, FRAME_EMIT);
    cr_assert_eq(((const Wire__Emit *)sent.message)->parts[0]->partition, RIG_PARTITION);
    cr_assert_eq(rig_count(&sent, 0), 2);
    cr_assert_str_eq(rig_value(&sent, 0, 0), "one");
    cr_assert_str_eq(rig_value(&sent, 0, 1), "two");
    rig_emitted(&rig, &sent, WIRE__OUTCOME__OK, 0, 40);
    cr_assert_eq(rig.done_count, 2);
    cr_assert_eq(rig.done_codes[1], 0);
    cr_assert_eq(rig.done_offsets[0], 40);
    cr_assert_eq(rig.done_offsets[1], 41);
    rig_finish(&rig);
}

Test(engine_emit, a_lone_emit_goes_at_once)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_know(&rig, "t", 1);
    rig_emit(&rig, "t", "now", NULL);
    struct sent sent = rig_expect(&rig, FRAME_EMIT);
    cr_assert_str_eq(rig_value(&sent, 0, 0), "now");
    rig_finish(&rig);
}

Test(engine_emit, with_one_in_flight_events_gather_until_they_lingered)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_know(&rig, "t", 1);
    rig_emit(&rig, "t", "in flight", NULL);
    rig_expect(&rig, FRAME_EMIT);
    for (int i = 0; i < 5; i++)
        rig_emit(&rig, "t", "gathered", NULL);
    rig_wait(&rig, 900);
    cr_assert(rig_sent_nothing(&rig));
    rig_wait(&rig, 200);
    struct sent sent = rig_expect(&rig, FRAME_EMIT);
    cr_assert_eq(rig_count(&sent, 0), 5);
    rig_finish(&rig);
}

Test(engine_emit, events_gathered_go_with_the_answer_to_what_was_in_flight)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_know(&rig, "t", 1);
    rig_emit(&rig, "t", "in flight", NULL);
    struct sent first = rig_expect(&rig, FRAME_EMIT);
    rig_emit(&rig, "t", "a", NULL);
    rig_emit(&rig, "t", "b", NULL);
    cr_assert(rig_sent_nothing(&rig));
    rig_emitted(&rig, &first, WIRE__OUTCOME__OK, 0, 1);
    struct sent second = rig_expect(&rig, FRAME_EMIT);
    cr_assert_eq(rig_count(&second, 0), 2);
    cr_assert_eq(rig_sequence(&second, 0), 2);
    rig_finish(&rig);
}

Test(engine_emit, a_flood_fills_batches_and_keeps_its_order)
{
    struct rig rig;
    char value[101];
    int next = 0;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_know(&rig, "t", 1);
    bool wake;
    for (int i = 0; i < 200; i++) { /* no turn in between: the I/O thread is busy */
        snprintf(value, sizeof(value), "%0100d", i);
        cr_assert_eq(engine_emit(rig.engine, "t", value, 100, NULL, 1000, &wake), 0);
    }
    rig_turn(&rig);
    while (!rig_sent_nothing(&rig)) {
        struct sent sent = rig_expect(&rig, FRAME_EMIT);
        cr_assert_leq(sent.attachment_size, 2048);
        int32_t count = rig_count(&sent, 0);
        cr_assert_eq(rig_sequence(&sent, 0), next + 1);
        for (int i = 0; i < count; i++)
            cr_assert_eq(atoi(rig_value(&sent, 0, i)), next++);
        rig_emitted(&rig, &sent, WIRE__OUTCOME__OK, 0, next + 1 - count);
        if (next < 190)
            cr_assert_gt(count, 15, "a full batch has room for more than %d", count);
    }
    cr_assert_eq(next, 200);
    rig_finish(&rig);
}

Test(engine_emit, at_most_32_batches_of_a_partition_are_in_flight)
{
    struct rig rig;
    char value[1500];
    struct sent sent[ENGINE_IN_FLIGHT_MAX];
    struct crier_options options = rig_options();
    options.buffer_size_max = 1 << 20;
    memset(value, 'x', sizeof(value));
    rig_init(&rig, &options);
    rig_ready(&rig, 1 << 20);
    rig_know(&rig, "t", 1);
    for (int i = 0; i < 40; i++)
        cr_assert_eq(rig_emit_raw(&rig, "t", value, sizeof(value), NULL), 0);
    for (int i = 0; i < ENGINE_IN_FLIGHT_MAX; i++)
        sent[i] = rig_expect(&rig, FRAME_EMIT);
    rig_wait(&rig, 10000);
    cr_assert(rig_sent_nothing(&rig));
    rig_emitted(&rig, &sent[0], WIRE__OUTCOME__OK, 0, 1);
    rig_expect(&rig, FRAME_EMIT);
    cr_assert(rig_sent_nothing(&rig));
    rig_finish(&rig);
}

Test(engine_emit, batches_of_several_partitions_share_a_frame)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_know(&rig, "t", 4);
    struct crier_emit_options options = crier_emit_options_default();
    bool wake;
    for (options.partition = 0; options.partition < 4; options.partition++)
        cr_assert_eq(engine_emit(rig.engine, "t", "x", 1, &options, 1000, &wake), 0);
    rig_turn(&rig);
    struct sent sent = rig_expect(&rig, FRAME_EMIT);
    const Wire__Emit *emit = (const Wire__Emit *)sent.message;
    cr_assert_eq(emit->n_parts, 4);
    cr_assert(rig_sent_nothing(&rig));
    rig_finish(&rig);
}

/* Emits to "t" of five partitions, each key as the value, too, before the topic is known and after; returns how many came, each where
 * `place` says. */
static int keyed_emits(struct rig *rig, const char *const *keys, size_t count,
                       uint32_t (*place)(const char *key))
{
    for (size_t i = 0; i < count; i++)
        rig_emit(rig, "t", keys[i], keys[i]);
    struct sent sent = rig_expect(rig, FRAME_TOPIC_DESCRIBE);
    rig_topics(rig, &sent, 5);
    for (size_t i = 0; i < count; i++)
        rig_emit(rig, "t", keys[i], keys[i]);
    rig_wait(rig, 5000);
    int found = 0;
    while (!rig_sent_nothing(rig)) {
        sent = rig_expect(rig, FRAME_EMIT);
        const Wire__Emit *emit = (const Wire__Emit *)sent.message;
        for (size_t part = 0; part < emit->n_parts; part++)
            for (int i = 0; i < rig_count(&sent, part); i++, found++)
                cr_assert_eq(emit->parts[part]->partition, RIG_PARTITION + place(rig_value(&sent, part, i)));
    }
    return found;
}

static uint32_t kafkas_place(const char *key)
{
    return murmur2_partition(key, strlen(key), 5);
}

static uint32_t first_bytes_place(const char *key)
{
    return (uint8_t)*key % 5;
}

Test(engine_emit, a_key_always_goes_to_kafkas_partition)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    static const char *const keys[] = {"a", "21", "foobar", "key-7", "x"};
    int found = keyed_emits(&rig, keys, ARRAY_SIZE(keys), kafkas_place);
    cr_assert_eq(found, 2 * ARRAY_SIZE(keys));
    rig_finish(&rig);
}

/* By the first byte: whatever the number of partitions. */
static uint32_t by_first_byte(void *ctx, const char *topic, const void *key, size_t key_size, uint32_t count)
{
    cr_assert_str_eq(topic, "t");
    cr_assert(key && key_size > 0);
    cr_assert_eq(count, 5);
    (*(int *)ctx)++;
    return *(const uint8_t *)key;
}

Test(engine_emit, an_own_partitioner_is_asked_for_what_has_a_key_and_no_partition)
{
    struct rig rig;
    struct crier_options options = crier_options_default();
    struct crier_emit_options placed = crier_emit_options_default();
    static const char *const keys[] = {"a", "b", "ac", "c", "d"};
    int asked = 0;
    bool wake;
    options.partitioner = by_first_byte;
    options.partitioner_ctx = &asked;
    rig_init(&rig, &options);
    rig_ready(&rig, 1 << 20);
    int found = keyed_emits(&rig, keys, ARRAY_SIZE(keys), first_bytes_place);
    cr_assert_eq(found, 2 * ARRAY_SIZE(keys));
    cr_assert_eq(asked, found);
    placed.key = "a";
    placed.key_size = 1;
    placed.partition = 3;
    cr_assert_eq(engine_emit(rig.engine, "t", "x", 1, &placed, 0, &wake), 0);
    rig_emit(&rig, "t", "x", NULL);
    cr_assert_eq(asked, found, "nobody asks for those");
    rig_finish(&rig);
}

Test(engine_emit, events_without_key_take_turns_batch_by_batch)
{
    struct rig rig;
    uint64_t seen = 0;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_know(&rig, "t", 3);
    for (int i = 0; i < 3; i++) {
        rig_emit(&rig, "t", "x", NULL);
        struct sent sent = rig_expect(&rig, FRAME_EMIT);
        seen |= UINT64_C(1) << (((const Wire__Emit *)sent.message)->parts[0]->partition - RIG_PARTITION);
        rig_emitted(&rig, &sent, WIRE__OUTCOME__OK, 0, 1);
    }
    cr_assert_eq(seen, 7);
    rig_finish(&rig);
}

Test(engine_emit, the_partition_asked_for_is_used_and_one_that_is_not_there_refused)
{
    struct rig rig;
    struct crier_emit_options options = crier_emit_options_default();
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_listen_error(&rig);
    options.partition = 2;
    cr_assert_eq(rig_emit_raw(&rig, "t", "right", 5, &options), 0);
    options.partition = 3;
    cr_assert_eq(rig_emit_raw(&rig, "t", "wrong", 5, &options), 0); /* not known yet */
    struct sent sent = rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
    rig_topics(&rig, &sent, 3);
    sent = rig_expect(&rig, FRAME_EMIT);
    cr_assert_eq(((const Wire__Emit *)sent.message)->parts[0]->partition, RIG_PARTITION + 2);
    cr_assert_str_eq(rig_value(&sent, 0, 0), "right");
    cr_assert_eq(rig.error_code, CRIER_EINVAL);
    cr_assert_eq(rig_emit_raw(&rig, "t", "wrong", 5, &options), CRIER_EINVAL); /* known by now */
    rig_finish(&rig);
}

Test(engine_emit, a_topic_that_cannot_be_had_fails_its_events_and_is_asked_for_again)
{
    struct rig rig;
    Wire__Topics topics = WIRE__TOPICS__INIT;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_emit(&rig, "t", "x", NULL);
    struct sent sent = rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
    topics.request = ((const Wire__TopicDescribe *)sent.message)->request;
    topics.code = CRIER_ENOTOPIC;
    rig_receive(&rig, FRAME_TOPICS, &topics, NULL, 0);
    cr_assert_eq(rig.done_count, 1);
    cr_assert_eq(rig.done_codes[0], CRIER_ENOTOPIC);
    cr_assert_eq(rig.progress.pending_bytes, 0);
    rig_emit(&rig, "t", "y", NULL);
    rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
    rig_finish(&rig);
}

Test(engine_emit, a_topic_refused_for_now_is_asked_for_after_a_delay)
{
    struct rig rig;
    Wire__Topics topics = WIRE__TOPICS__INIT;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_emit(&rig, "t", "x", NULL);
    struct sent sent = rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
    topics.request = ((const Wire__TopicDescribe *)sent.message)->request;
    topics.code = CRIER_EFULL;
    rig_receive(&rig, FRAME_TOPICS, &topics, NULL, 0);
    cr_assert(rig_sent_nothing(&rig));
    rig_wait(&rig, 50000);
    sent = rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
    rig_topics(&rig, &sent, 1);
    rig_expect(&rig, FRAME_EMIT);
    cr_assert_eq(rig.done_count, 0);
    rig_finish(&rig);
}

Test(engine_emit, memory_emits_travel_apart_without_sequence)
{
    struct rig rig;
    struct crier_emit_options options = crier_emit_options_default();
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_know(&rig, "t", 1);
    options.durability = CRIER_MEMORY;
    cr_assert_eq(rig_emit_raw(&rig, "t", "m", 1, &options), 0);
    struct sent sent = rig_expect(&rig, FRAME_EMIT);
    cr_assert_eq(((const Wire__Emit *)sent.message)->durability, WIRE__DURABILITY__MEMORY);
    cr_assert_eq(rig_sequence(&sent, 0), -1);
    rig_emit(&rig, "t", "d", NULL);
    sent = rig_expect(&rig, FRAME_EMIT);
    cr_assert_eq(((const Wire__Emit *)sent.message)->durability, WIRE__DURABILITY__DURABLE);
    cr_assert_eq(rig_sequence(&sent, 0), 1); /* the memory event took no number */
    rig_finish(&rig);
}

Test(engine_emit, nothing_is_sent_beyond_the_grant)
{
    struct rig rig;
    char value[1500];
    Wire__Credit credit = WIRE__CREDIT__INIT;
    memset(value, 'x', sizeof(value));
    rig_init(&rig, NULL);
    rig_ready(&rig, 4000);
    rig_know(&rig, "t", 1);
    uint64_t used = rig.sent[rig.sent_first - 1].frame_size;
    for (int i = 0; i < 4; i++)
        cr_assert_eq(rig_emit_raw(&rig, "t", value, sizeof(value), NULL), 0);
    used += rig_expect(&rig, FRAME_EMIT).frame_size;
    used += rig_expect(&rig, FRAME_EMIT).frame_size;
    cr_assert_leq(used, 4000);
    struct sent want = rig_expect(&rig, FRAME_CREDIT_WANT);
    cr_assert(rig_sent_nothing(&rig)); /* asked once */
    credit.total = used + ((const Wire__CreditWant *)want.message)->bytes;
    rig_receive(&rig, FRAME_CREDIT, &credit, NULL, 0);
    used += rig_expect(&rig, FRAME_EMIT).frame_size;
    cr_assert_leq(used, credit.total);
    rig_wait(&rig, 2000);
    rig_expect(&rig, FRAME_CREDIT_WANT); /* and for the last one */
    cr_assert(rig_sent_nothing(&rig));
    rig_finish(&rig);
}

Test(engine_emit, a_full_buffer_says_eagain_and_drain_follows_at_half)
{
    struct rig rig;
    char value[1500];
    int accepted = 0, rc;
    memset(value, 'x', sizeof(value));
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_know(&rig, "t", 1);
    while ((rc = rig_emit_raw(&rig, "t", value, sizeof(value), NULL)) == 0)
        accepted++;
    cr_assert_eq(rc, CRIER_EAGAIN);
    cr_assert_gt(accepted, 35);
    cr_assert_leq(rig.progress.pending_bytes, 64 * 1024);
    for (int acked = 0; acked < accepted; acked++) {
        if (rig.drains == 0)
            cr_assert_gt(rig.progress.pending_bytes, 31 * 1024);
        rig_wait(&rig, 2000);
        struct sent sent = rig_expect(&rig, FRAME_EMIT);
        rig_emitted(&rig, &sent, WIRE__OUTCOME__OK, 0, acked);
    }
    cr_assert_eq(rig.drains, 1);
    cr_assert_eq(rig.progress.pending_bytes, 0);
    cr_assert_eq(rig_emit_raw(&rig, "t", value, sizeof(value), NULL), 0);
    rig_finish(&rig);
}

Test(engine_emit, drain_waits_for_room_for_the_event_that_was_refused)
{
    struct rig rig;
    char *large = calloc(1, 50 * 1024), small[10000] = {0};
    rig_init(&rig, NULL); /* 64 KiB */
    rig_ready(&rig, 1 << 20);
    rig_know(&rig, "t", 1);
    cr_assert_eq(rig_emit_raw(&rig, "t", small, sizeof(small), NULL), 0);
    cr_assert_eq(rig_emit_raw(&rig, "t", small, sizeof(small), NULL), 0);
    cr_assert_eq(rig_emit_raw(&rig, "t", large, 50 * 1024, NULL), CRIER_EAGAIN);
    rig_wait(&rig, 2000);
    cr_assert_eq(rig.drains, 0); /* less than half is pending, but it would be refused again */
    struct sent sent = rig_expect(&rig, FRAME_EMIT);
    rig_emitted(&rig, &sent, WIRE__OUTCOME__OK, 0, 1);
    cr_assert_eq(rig.drains, 1);
    cr_assert_eq(rig_emit_raw(&rig, "t", large, 50 * 1024, NULL), 0);
    free(large);
    rig_finish(&rig);
}

Test(engine_emit, what_cannot_be_sent_is_refused_at_once)
{
    struct rig rig;
    bool wake;
    struct crier_emit_options options = crier_emit_options_default();
    static const char *const names[] = {
        "", ".a", "a.", "a..b", "a*", "$x", "error", "newListener", "removeListener", "a b", "\xff", "a\n"};
    rig_init(&rig, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        cr_assert_eq(engine_emit(rig.engine, names[i], "x", 1, NULL, 0, &wake), CRIER_EINVAL, "%s", names[i]);
    cr_assert_eq(engine_emit(rig.engine, "t", NULL, 1, NULL, 0, &wake), CRIER_EINVAL);
    options.partition = -2;
    cr_assert_eq(engine_emit(rig.engine, "t", "x", 1, &options, 0, &wake), CRIER_EINVAL);
    options.partition = -1;
    options.header_count = 1;
    cr_assert_eq(engine_emit(rig.engine, "t", "x", 1, &options, 0, &wake), CRIER_EINVAL);
    char *large = calloc(1, 64 * 1024);
    cr_assert_eq(engine_emit(rig.engine, "t", large, 64 * 1024, NULL, 0, &wake), CRIER_ETOOBIG);
    free(large);
    engine_emit_close(rig.engine);
    cr_assert_eq(engine_emit(rig.engine, "t", "x", 1, NULL, 0, &wake), CRIER_ECLOSED);
    cr_assert_eq(rig_emit_raw(&rig, "t", "x", 1, NULL), CRIER_ECLOSED);
    rig_finish(&rig);
}

Test(engine_emit, an_event_larger_than_a_batch_travels_alone)
{
    struct rig rig;
    char value[9000];
    memset(value, 'y', sizeof(value));
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_know(&rig, "t", 1);
    bool wake;
    engine_emit(rig.engine, "t", "before", 6, NULL, 0, &wake);
    engine_emit(rig.engine, "t", value, sizeof(value), NULL, 0, &wake);
    engine_emit(rig.engine, "t", "after", 5, NULL, 0, &wake);
    rig_wait(&rig, 2000);
    struct sent sent = rig_expect(&rig, FRAME_EMIT);
    cr_assert_str_eq(rig_value(&sent, 0, 0), "before");
    sent = rig_expect(&rig, FRAME_EMIT);
    cr_assert_eq(rig_count(&sent, 0), 1);
    cr_assert_gt(sent.attachment_size, sizeof(value));
    sent = rig_expect(&rig, FRAME_EMIT);
    cr_assert_str_eq(rig_value(&sent, 0, 0), "after");
    rig_finish(&rig);
}

Test(engine_emit, the_io_thread_is_woken_once_per_turn_not_per_event)
{
    struct rig rig;
    bool wake;
    int wakes = 0;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_know(&rig, "t", 1);
    for (int i = 0; i < 300; i++) {
        cr_assert_eq(engine_emit(rig.engine, "t", "0123456789", 10, NULL, 0, &wake), 0);
        wakes += wake;
    }
    cr_assert_eq(wakes, 1);
    rig_finish(&rig);
}

Test(engine_emit, flush_waits_for_what_came_before_it_and_for_nothing_later)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_emit(&rig, "t", "waits for its topic", "key");
    uint64_t ticket = engine_flush_ticket(rig.engine);
    cr_assert_lt(rig.progress.oldest_ticket, ticket);
    struct sent sent = rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
    rig_topics(&rig, &sent, 4); /* its event is dealt out to a batch of its own */
    cr_assert_lt(rig.progress.oldest_ticket, ticket);
    sent = rig_expect(&rig, FRAME_EMIT);
    rig_emit(&rig, "t", "later", "key");
    rig_emitted(&rig, &sent, WIRE__OUTCOME__OK, 0, 0);
    cr_assert_geq(rig.progress.oldest_ticket, ticket);
    rig_finish(&rig);
}

Test(engine_emit, flush_does_not_linger)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_know(&rig, "t", 1);
    rig_emit(&rig, "t", "in flight", NULL);
    rig_expect(&rig, FRAME_EMIT);
    rig_emit(&rig, "t", "gathering", NULL);
    cr_assert(rig_sent_nothing(&rig));
    engine_flush_ticket(rig.engine);
    rig_turn(&rig);
    struct sent sent = rig_expect(&rig, FRAME_EMIT);
    cr_assert_str_eq(rig_value(&sent, 0, 0), "gathering");
    rig_finish(&rig);
}

Test(engine_emit, compressed_batches_are_smaller_and_say_the_same)
{
    static const enum crier_compression codecs[] = {CRIER_COMPRESSION_LZ4, CRIER_COMPRESSION_ZSTD};
    for (size_t i = 0; i < ARRAY_SIZE(codecs); i++) {
        struct rig rig;
        struct crier_options options = rig_options();
        char value[200];
        memset(value, 'z', sizeof(value));
        options.compression = codecs[i];
        rig_init(&rig, &options);
        rig_ready(&rig, 1 << 20);
        rig_know(&rig, "t", 1);
        cr_assert_eq(rig_emit_raw(&rig, "t", value, sizeof(value), NULL), 0);
        struct sent sent = rig_expect(&rig, FRAME_EMIT);
        cr_assert_lt(sent.attachment_size, 150);
        cr_assert_eq(strncmp(rig_value(&sent, 0, 0), value, sizeof(value)), 0);
        rig_finish(&rig);
    }
}

Test(engine_emit, emits_before_the_first_connection_wait_for_it)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_emit(&rig, "t", "early", NULL);
    cr_assert(rig_sent_nothing(&rig));
    rig_ready(&rig, 1 << 20);
    struct sent sent = rig_expect(&rig, FRAME_TOPIC_DESCRIBE);
    rig_topics(&rig, &sent, 1);
    sent = rig_expect(&rig, FRAME_EMIT);
    cr_assert_str_eq(rig_value(&sent, 0, 0), "early");
    rig_finish(&rig);
}

Test(engine_emit, thousands_of_topics_each_get_their_one_event)
{
    struct rig rig;
    struct crier_options options = rig_options();
    char name[32];
    unsigned described = 0, emitted = 0;
    bool wake;
    options.buffer_size_max = 8u << 20;
    rig_init(&rig, &options);
    rig_ready(&rig, 1 << 24);
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "topic.%d", i);
        cr_assert_eq(engine_emit(rig.engine, name, "x", 1, NULL, 0, &wake), 0);
    }
    while (!rig_sent_nothing(&rig)) {
        struct sent sent = rig.sent[rig.sent_first++];
        if (sent.kind == FRAME_TOPIC_DESCRIBE) {
            described++;
            rig_topics(&rig, &sent, 1);
        } else {
            cr_assert_eq(sent.kind, FRAME_EMIT);
            emitted += (unsigned)((const Wire__Emit *)sent.message)->n_parts;
            rig_emitted(&rig, &sent, WIRE__OUTCOME__OK, 0, 0);
        }
        cr_assert_leq(rig.sent_count - rig.sent_first,
                      128); /* a window of questions and of emits, not a flood */
        rig_discard_taken(&rig);
    }
    cr_assert_eq(described, 3000);
    cr_assert_eq(emitted, 3000);
    cr_assert_eq(rig.progress.pending_bytes, 0);
    rig_finish(&rig);
}

Test(engine_emit, a_grant_that_is_not_used_goes_back_and_a_small_one_comes_for_a_lone_emit)
{
    struct rig rig;
    rig_init(&rig, NULL);
    rig_ready(&rig, 1 << 20);
    rig_know(&rig, "t", 1);
    size_t used = rig.sent[rig.sent_first - 1].frame_size;
    rig_wait(&rig, 1900000);
    cr_assert(rig_sent_nothing(&rig));
    rig_wait(&rig, 200000);
    struct sent sent = rig_expect(&rig, FRAME_CREDIT_RETURN);
    cr_assert_eq(((const Wire__CreditReturn *)sent.message)->bytes, (1 << 20) - used);
    Wire__Credit credit = WIRE__CREDIT__INIT;
    credit.total = (1 << 20) + 8 * 1024;
    rig_receive(&rig, FRAME_CREDIT, &credit, NULL, 0);
    rig_wait(&rig, 2500000);
    cr_assert(rig_sent_nothing(&rig)); /* what is lent for a lone emit stays */
    rig_emit(&rig, "t", "lone", NULL);
    rig_expect(&rig, FRAME_EMIT); /* without asking */
    char large[9000] = {0};
    cr_assert_eq(rig_emit_raw(&rig, "t", large, sizeof(large), NULL), 0);
    rig_wait(&rig, 2000);
    rig_expect(&rig, FRAME_CREDIT_WANT); /* what went back is gone */
    rig_finish(&rig);
}
