/* test_core_listen.c: LISTEN to ENDED: where listeners start, what they get, and how far credit goes. */
#include "tests/unit/core_outcome.h"

#include <stdio.h>

struct stage {
    struct fixture *f;
    struct peer *p; /* emits */
    struct peer *l; /* listens */
    uint64_t partition;
};

/* Ten batches of ten events in partition 0 of "orders". */
static struct stage stage_make(size_t cache_bytes_max)
{
    struct stage s = {.f = fixture_create()};
    s.f->config.cache_bytes_max = cache_bytes_max;
    fixture_start(s.f);
    s.p = peer_welcome(s.f);
    s.l = peer_welcome(s.f);
    s.partition = peer_topic(s.p, "orders", 1);
    for (int64_t i = 0; i < 10; i++) {
        fixture_run(s.f, 100000);
        assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition, .count = 10}), 10 * i);
    }
    return s;
}

static const Wire__Listening *listening(struct peer *l, struct listen_spec spec)
{
    spec.id = spec.id ? spec.id : 1;
    spec.topic = spec.topic ? spec.topic : "orders";
    peer_listen(l, &spec);
    fixture_settle(l->fixture);
    return peer_expect(l, FRAME_LISTENING);
}

/* What arrived for the listener runs from `first` to `next` without a gap; first may lie inside a batch. */
static void assert_delivered(struct peer *l, uint64_t first, uint64_t next)
{
    uint64_t at = first, from, to;
    while (at < next) {
        peer_delivered(l, &from, &to);
        cr_assert(from <= at && at < to, "expected %llu, got %llu to %llu", (unsigned long long)at,
                  (unsigned long long)from, (unsigned long long)to);
        cr_assert(from == at || at == first, "delivered twice from %llu on", (unsigned long long)from);
        at = to;
    }
    cr_assert_eq(at, next);
    peer_expect_nothing(l);
}

#define CACHED   (8u << 20)
#define UNCACHED 0

Test(listen, earliest_gets_everything_from_the_cache_and_from_the_log)
{
    static const size_t caches[] = {CACHED, UNCACHED, 1500};
    for (size_t i = 0; i < 3; i++) {
        struct stage s = stage_make(caches[i]);
        const Wire__Listening *answer = listening(s.l, (struct listen_spec){.from = WIRE__FROM__EARLIEST});
        cr_assert_eq(answer->partitions[0]->next, 0);
        cr_assert_eq(answer->partitions[0]->high_watermark, 100);
        assert_delivered(s.l, 0, 100);
        cr_assert_leq(fixture_stats(s.f).cache_bytes, caches[i]);
        fixture_destroy(s.f);
    }
}

Test(listen, live_gets_what_comes_after)
{
    struct stage s = stage_make(CACHED);
    cr_assert_eq(listening(s.l, (struct listen_spec){.from = WIRE__FROM__LIVE})->partitions[0]->next, 100);
    peer_expect_nothing(s.l);
    assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition, .count = 2}), 100);
    assert_delivered(s.l, 100, 102);
    fixture_destroy(s.f);
}

Test(listen, from_an_offset_begins_with_its_batch)
{
    struct stage s = stage_make(UNCACHED);
    const Wire__Listening *answer =
        listening(s.l, (struct listen_spec){.from = WIRE__FROM__OFFSET, .from_value = 37});
    cr_assert_eq(answer->partitions[0]->next, 37);
    assert_delivered(s.l, 37, 100);
    fixture_destroy(s.f);
}

Test(listen, from_an_offset_beyond_the_end_waits_for_it)
{
    struct stage s = stage_make(CACHED);
    listening(s.l, (struct listen_spec){.from = WIRE__FROM__OFFSET, .from_value = 105});
    assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition, .count = 5}), 100);
    peer_expect_nothing(s.l);
    assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition, .count = 5}), 105);
    assert_delivered(s.l, 105, 110);
    fixture_destroy(s.f);
}

Test(listen, from_a_time_begins_with_the_first_batch_appended_at_or_after_it)
{
    struct stage s = stage_make(CACHED);
    int64_t second_us = s.f->wall_us - 750000; /* between the second and the third batch */
    const Wire__Listening *answer =
        listening(s.l, (struct listen_spec){.from = WIRE__FROM__TIME, .from_value = second_us});
    cr_assert_eq(answer->partitions[0]->next, 20);
    assert_delivered(s.l, 20, 100);
    int64_t future_us = s.f->wall_us + 1000000;
    cr_assert_eq(
        listening(s.l, (struct listen_spec){.id = 2, .from = WIRE__FROM__TIME, .from_value = future_us})
            ->partitions[0]
            ->next,
        100);
    fixture_destroy(s.f);
}

Test(listen, resume_overrides_from)
{
    struct stage s = stage_make(CACHED);
    struct listen_spec spec = {
        .from = WIRE__FROM__EARLIEST, .resume_partition = s.partition, .resume_offset = 90};
    cr_assert_eq(listening(s.l, spec)->partitions[0]->next, 90);
    assert_delivered(s.l, 90, 100);
    fixture_destroy(s.f);
}

Test(listen, sees_only_what_is_durable)
{
    struct stage s = stage_make(CACHED);
    listening(s.l, (struct listen_spec){.from = WIRE__FROM__LIVE});
    peer_emit(s.p, &(struct batch_spec){.partition = s.partition, .memory = true}, 1);
    fixture_run(s.f, FIXTURE_COMMIT_US - 1);
    assert_stored(peer_outcome(s.p), -1);
    peer_expect_nothing(s.l);
    fixture_run(s.f, 1);
    assert_delivered(s.l, 100, 101);
    fixture_destroy(s.f);
}

Test(listen, gets_every_partition_of_a_topic)
{
    struct stage s = stage_make(CACHED);
    uint64_t first = peer_topic(s.p, "wide", 3);
    for (uint64_t i = 0; i < 3; i++)
        assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = first + i, .count = 4}), 0);
    const Wire__Listening *answer =
        listening(s.l, (struct listen_spec){.topic = "wide", .from = WIRE__FROM__EARLIEST});
    cr_assert_eq(answer->n_partitions, 3);
    bool seen[3] = {false};
    for (uint64_t i = 0; i < 3; i++) {
        uint64_t from, to;
        const Wire__Deliver *deliver = peer_delivered(s.l, &from, &to);
        cr_assert(from == 0 && to == 4);
        seen[deliver->partition - first] = true;
    }
    cr_assert(seen[0] && seen[1] && seen[2]);
    fixture_destroy(s.f);
}

Test(listen, several_listeners_of_one_connection_share_it_fairly)
{
    struct stage s = stage_make(CACHED);
    s.l->holds = true;
    for (uint32_t id = 1; id <= 3; id++)
        peer_listen(s.l, &(struct listen_spec){.id = id, .topic = "orders", .from = WIRE__FROM__EARLIEST});
    fixture_settle(s.f);
    cr_assert_eq(peer_frame_count(s.l, FRAME_DELIVER), 3);
    peer_release(s.l);
    cr_assert_eq(peer_frame_count(s.l, FRAME_DELIVER), 3, "each got everything in its one frame");
    fixture_destroy(s.f);
}

Test(listen, unlisten_is_confirmed_and_nothing_follows)
{
    struct stage s = stage_make(CACHED);
    listening(s.l, (struct listen_spec){.from = WIRE__FROM__LIVE});
    peer_unlisten(s.l, 1);
    fixture_turn(s.f);
    cr_assert_eq(((const Wire__Ended *)peer_expect(s.l, FRAME_ENDED))->code, 0);
    assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition}), 100);
    peer_expect_nothing(s.l);
    peer_unlisten(s.l, 1); /* it has ended: ignored */
    peer_credit(s.l, 1, 5);
    fixture_turn(s.f);
    peer_expect_nothing(s.l);
    cr_assert_eq(fixture_stats(s.f).listeners, 0);
    fixture_destroy(s.f);
}

Test(listen, a_number_used_again_gets_nothing_meant_for_its_predecessor)
{
    struct stage s = stage_make(CACHED);
    peer_listen(s.l, &(struct listen_spec){.id = 1, .topic = "a", .create = true});
    fixture_turn(s.f); /* a is being created */
    peer_unlisten(s.l, 1);
    peer_listen(s.l, &(struct listen_spec){.id = 1, .topic = "b", .create = true});
    fixture_settle(s.f);
    cr_assert_eq(((const Wire__Ended *)peer_expect(s.l, FRAME_ENDED))->code, 0);
    uint64_t listened =
        ((const Wire__Listening *)peer_expect(s.l, FRAME_LISTENING))->partitions[0]->partition;
    Wire__TopicDescribe describe = WIRE__TOPIC_DESCRIBE__INIT;
    describe.name = (char *)"b";
    peer_send(s.p, FRAME_TOPIC_DESCRIBE, &describe.base);
    fixture_settle(s.f);
    const Wire__Topics *topics = peer_expect_beyond_credit(s.p, FRAME_TOPICS);
    cr_assert_eq(topics->topics[0]->partitions[0]->id, listened);
    fixture_destroy(s.f);
}

Test(listen, a_lookup_of_a_predecessor_does_not_move_its_successor)
{
    struct stage s = stage_make(CACHED);
    peer_topic(s.p, "wide", 8);
    s.f->store_options.read = (struct store_memory_delay){5000, 5000};
    peer_listen(s.l,
                &(struct listen_spec){.id = 1, .topic = "wide", .from = WIRE__FROM__TIME, .from_value = 1});
    fixture_turn(s.f); /* eight lookups are under way */
    peer_unlisten(s.l, 1);
    peer_listen(s.l,
                &(struct listen_spec){.id = 1, .topic = "orders", .from = WIRE__FROM__TIME, .from_value = 1});
    fixture_settle(s.f);
    peer_expect(s.l, FRAME_ENDED);
    const Wire__Listening *answer = peer_expect(s.l, FRAME_LISTENING);
    cr_assert_eq(answer->n_partitions, 1);
    cr_assert_eq(answer->partitions[0]->next, 0);
    assert_delivered(s.l, 0, 100);
    fixture_destroy(s.f);
}

Test(listen, a_number_in_use_or_0_breaks_the_protocol)
{
    struct stage s = stage_make(CACHED);
    listening(s.l, (struct listen_spec){.from = WIRE__FROM__LIVE});
    peer_listen(s.l, &(struct listen_spec){.id = 1, .topic = "orders"});
    peer_expect_error(s.l, WIRE_CRIER_EPROTO);
    struct peer *other = peer_welcome(s.f);
    peer_listen(other, &(struct listen_spec){.id = 0, .topic = "orders"});
    peer_expect_error(other, WIRE_CRIER_EPROTO);
    fixture_destroy(s.f);
}

Test(listen, what_makes_no_sense_ends_the_listener_only)
{
    struct stage s = stage_make(CACHED);
    struct listen_spec bad[] = {{.id = 1, .topic = "no\nname"},
                                {.id = 1, .topic = ""},
                                {.id = 1, .topic = "orders", .group = "\xff"},
                                {.id = 1, .topic = "orders", .from = (Wire__From)9},
                                {.id = 1, .topic = "orders", .from = WIRE__FROM__OFFSET, .from_value = -1}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        peer_listen(s.l, &bad[i]);
        fixture_settle(s.f);
        cr_assert_eq(((const Wire__Ended *)peer_expect(s.l, FRAME_ENDED))->code, WIRE_CRIER_EINVAL);
    }
    peer_listen(s.l, &(struct listen_spec){.id = 1, .topic = "missing"});
    fixture_settle(s.f);
    cr_assert_eq(((const Wire__Ended *)peer_expect(s.l, FRAME_ENDED))->code, WIRE_CRIER_ENOTOPIC);
    fixture_destroy(s.f);
}

/* ---- credit ---- */

static size_t attachment_sum(struct peer *l)
{
    size_t sum = 0;
    uint64_t from, to;
    while (peer_has_frame(l, FRAME_DELIVER)) {
        peer_delivered(l, &from, &to);
        sum += l->attachment_size;
    }
    return sum;
}

static void credit_is_respected(size_t cache_bytes_max)
{
    struct stage s = stage_make(cache_bytes_max);
    uint64_t wide = peer_topic(s.p, "wide", 4);
    struct batch_spec spec = {.partition = wide, .value_size = 1000};
    size_t batch = 0;
    for (int i = 0; i < 40; i++, spec.partition = wide + (uint64_t)i % 4) {
        uint8_t bytes[2000];
        batch = batch_make(bytes, sizeof(bytes), &spec);
        cr_assert_eq(peer_emit_one(s.p, spec).outcome, WIRE__OUTCOME__OK);
    }
    uint64_t credit = 1;
    listening(s.l, (struct listen_spec){.topic = "wide", .from = WIRE__FROM__EARLIEST, .credit = credit});
    uint64_t delivered = attachment_sum(s.l);
    while (delivered < 40 * batch) {
        cr_assert_geq(delivered, credit, "a positive balance delivers");
        cr_assert_lt(delivered, credit + batch, "beyond the credit by one batch at most");
        credit = delivered + 1 + batch / 2;
        peer_credit(s.l, 1, credit);
        fixture_settle(s.f);
        uint64_t more = attachment_sum(s.l);
        cr_assert_gt(more, 0, "credit wakes the listener");
        delivered += more;
    }
    fixture_destroy(s.f);
}

Test(listen, credit_is_exceeded_by_one_batch_at_most_from_the_cache)
{
    credit_is_respected(CACHED);
}

Test(listen, credit_is_exceeded_by_one_batch_at_most_from_the_log)
{
    credit_is_respected(UNCACHED);
}

Test(listen, credit_that_goes_back_breaks_the_protocol)
{
    struct stage s = stage_make(CACHED);
    listening(s.l, (struct listen_spec){.from = WIRE__FROM__LIVE, .credit = 1000});
    peer_credit(s.l, 1, 1000); /* said again: no harm */
    fixture_turn(s.f);
    peer_expect_nothing(s.l);
    peer_credit(s.l, 1, 999);
    peer_expect_error(s.l, WIRE_CRIER_EPROTO);
    fixture_destroy(s.f);
}

Test(listen, a_listener_without_credit_does_not_hold_up_another)
{
    struct stage s = stage_make(CACHED);
    listening(s.l, (struct listen_spec){.id = 1, .from = WIRE__FROM__EARLIEST, .credit = 1});
    assert_delivered(s.l, 0, 10);
    listening(s.l, (struct listen_spec){.id = 2, .from = WIRE__FROM__EARLIEST});
    assert_delivered(s.l, 0, 100);
    fixture_destroy(s.f);
}

static void unsent_output_is_bounded(size_t cache_bytes_max)
{
    struct fixture *f = fixture_create();
    f->config.cache_bytes_max = cache_bytes_max;
    fixture_start(f);
    struct peer *p = peer_welcome(f), *l = peer_welcome(f);
    uint64_t partition = peer_topic(p, "big", 1);
    struct batch_spec spec = {.partition = partition, .value_size = 100000};
    for (int i = 0; i < 30; i++) {
        Wire__CreditWant want = WIRE__CREDIT_WANT__INIT;
        want.bytes = 110000;
        peer_send(p, FRAME_CREDIT_WANT, &want.base);
        cr_assert_eq(peer_emit_one(p, spec).base_offset, i);
    }
    l->holds = true;
    peer_listen(l, &(struct listen_spec){.id = 1, .topic = "big", .from = WIRE__FROM__EARLIEST});
    fixture_settle(f);
    cr_assert_leq(l->unsent, 1100000, "%zu bytes wait for a peer that does not read", l->unsent);
    cr_assert_gt(l->unsent, 100000);
    l->holds = false;
    fixture_settle(f);
    uint64_t first, next = 0;
    for (uint64_t at = peer_expect(l, FRAME_LISTENING) ? 0 : 1; at < 30; at = next) {
        peer_delivered(l, &first, &next);
        cr_assert_eq(first, at);
    }
    fixture_destroy(f);
}

Test(listen, what_waits_for_a_slow_reader_is_bounded_from_the_cache)
{
    unsent_output_is_bounded(CACHED);
}

Test(listen, what_waits_for_a_slow_reader_is_bounded_from_the_log)
{
    unsent_output_is_bounded(UNCACHED);
}

Test(listen, many_readers_behind_take_turns)
{
    struct stage s = stage_make(UNCACHED);
    struct peer *peers[40];
    for (size_t i = 0; i < 40; i++) {
        peers[i] = peer_welcome(s.f);
        peer_listen(peers[i],
                    &(struct listen_spec){.id = 1, .topic = "orders", .from = WIRE__FROM__EARLIEST});
    }
    fixture_settle(s.f);
    for (size_t i = 0; i < 40; i++) {
        peer_expect(peers[i], FRAME_LISTENING);
        assert_delivered(peers[i], 0, 100);
    }
    fixture_destroy(s.f);
}

/* While somebody waits for his first batch nobody gets more than the log gives him at a time: a long replay does not hold up
 * those that come after it. */
Test(listen, whoever_comes_to_the_log_is_served_before_others_are_served_again)
{
    enum { READERS = 24, BATCHES = 1500, READ_FRAMES = 3 };
    struct stage s = stage_make(UNCACHED);
    for (int i = 0; i < BATCHES; i++)
        assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition, .value_size = 1000}),
                      100 + i);
    struct peer *peers[READERS];
    for (size_t i = 0; i < READERS; i++) {
        peers[i] = peer_welcome(s.f);
        peer_listen(peers[i],
                    &(struct listen_spec){.id = 1, .topic = "orders", .from = WIRE__FROM__EARLIEST});
        fixture_turn(s.f);
    }
    size_t least = 0, most = 0;
    for (int step = 0; step < 100000 && least == 0; step++) {
        fixture_run(s.f, 20);
        least = SIZE_MAX;
        for (size_t i = 0; i < READERS; i++) {
            size_t frames = peer_frame_count(peers[i], FRAME_DELIVER);
            least = frames < least ? frames : least;
            most = frames > most ? frames : most;
        }
        cr_assert(least > 0 || most <= READ_FRAMES, "one has %zu frames, another none", most);
    }
    cr_assert_gt(least, 0);
    fixture_settle(s.f);
    for (size_t i = 0; i < READERS; i++) {
        peer_expect(peers[i], FRAME_LISTENING);
        assert_delivered(peers[i], 0, 100 + BATCHES);
    }
    fixture_destroy(s.f);
}

Test(listen, a_reader_that_leaves_while_its_read_is_under_way_is_forgotten)
{
    struct stage s = stage_make(UNCACHED);
    for (int i = 0; i < 12; i++) {
        struct peer *p = peer_welcome(s.f);
        peer_listen(p, &(struct listen_spec){.id = 1, .topic = "orders", .from = WIRE__FROM__EARLIEST});
        fixture_turn(s.f);
        if (i % 2)
            peer_close(p);
        else
            peer_unlisten(p, 1);
    }
    fixture_settle(s.f);
    listening(s.l, (struct listen_spec){.from = WIRE__FROM__EARLIEST});
    assert_delivered(s.l, 0, 100);
    fixture_destroy(s.f);
}

Test(listen, from_a_time_works_for_more_partitions_and_listeners_than_the_store_takes_lookups)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    uint64_t partition = peer_topic(p, "wide", 300);
    assert_stored(peer_emit_one(p, (struct batch_spec){.partition = partition}), 0);
    struct peer *readers[300];
    for (size_t i = 0; i < 300; i++) {
        readers[i] = peer_welcome(f);
        peer_listen(readers[i], &(struct listen_spec){.id = 1, .topic = "wide", .from = WIRE__FROM__TIME});
    }
    peer_close(readers[299]); /* while it waits in line */
    for (int i = 0; i < 4000 && !peer_has_frame(readers[298], FRAME_LISTENING); i++)
        fixture_settle(f);
    for (size_t i = 0; i < 299; i++)
        cr_assert_eq(((const Wire__Listening *)peer_expect(readers[i], FRAME_LISTENING))->n_partitions, 300);
    fixture_destroy(f);
}
