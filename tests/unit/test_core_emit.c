/* test_core_emit.c: EMIT to EMITTED: what is stored where, what is refused, and the rules of sequences. */
#include "tests/unit/core_outcome.h"

#include <stdlib.h>

struct stage {
    struct fixture *f;
    struct peer *p;
    uint64_t partition;
};

static struct stage stage_make(uint32_t partitions)
{
    struct stage s = {.f = fixture_create()};
    fixture_start(s.f);
    s.p = peer_welcome(s.f);
    s.partition = peer_topic(s.p, "orders", partitions);
    return s;
}

static struct batch_spec sequenced(struct stage s, int32_t sequence, int32_t count)
{
    return (struct batch_spec){.partition = s.partition,
                               .producer_id = (int64_t)s.p->producer_id,
                               .sequence = sequence,
                               .count = count};
}

Test(emit, offsets_follow_each_other)
{
    struct stage s = stage_make(1);
    assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition, .count = 3}), 0);
    assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition}), 3);
    assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition, .count = 100}), 4);
    fixture_destroy(s.f);
}

Test(emit, is_answered_only_when_it_is_durable)
{
    struct stage s = stage_make(1);
    peer_emit(s.p, &(struct batch_spec){.partition = s.partition}, 1);
    fixture_run(s.f, FIXTURE_COMMIT_US - 1);
    cr_assert_not(peer_has_frame(s.p, FRAME_EMITTED));
    fixture_run(s.f, 1);
    assert_stored(peer_outcome(s.p), 0);
    fixture_destroy(s.f);
}

Test(emit, a_memory_emit_is_answered_when_accepted_and_is_stored_all_the_same)
{
    struct stage s = stage_make(1);
    peer_emit(s.p, &(struct batch_spec){.partition = s.partition, .memory = true}, 1);
    fixture_turn(s.f);
    assert_stored(peer_outcome(s.p), -1);
    fixture_settle(s.f);
    assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition}), 1);
    fixture_destroy(s.f);
}

Test(emit, what_one_turn_gathers_from_many_clients_is_one_entry)
{
    struct stage s = stage_make(1);
    struct peer *peers[20];
    for (size_t i = 0; i < 20; i++)
        peers[i] = peer_welcome(s.f);
    struct store_stats before, after;
    s.f->store->ops->stats(s.f->store, &before);
    for (size_t i = 0; i < 20; i++)
        peer_emit(peers[i], &(struct batch_spec){.partition = s.partition}, 1);
    fixture_settle(s.f);
    s.f->store->ops->stats(s.f->store, &after);
    cr_assert_eq(after.entries - before.entries, 1);
    for (size_t i = 0; i < 20; i++)
        assert_stored(peer_outcome(peers[i]), (int64_t)i);
    fixture_destroy(s.f);
}

/* The entry is one: a memory emit waits for no flush of its own, and the durable one beside it is not answered sooner. */
Test(emit, memory_and_durable_emits_share_a_commit_and_each_has_its_own_answer)
{
    struct stage s = stage_make(1);
    struct peer *durable = peer_welcome(s.f);
    struct batch_spec spec = {.partition = s.partition}, memory = {.partition = s.partition, .memory = true};
    struct store_stats before, after;
    s.f->store->ops->stats(s.f->store, &before);
    peer_emit(s.p, &memory, 1);
    peer_emit(durable, &spec, 1);
    peer_emit(s.p, &memory, 1);
    fixture_turn(s.f);
    assert_stored(peer_outcome(s.p), -1);
    assert_stored(peer_outcome(s.p), -1);
    cr_assert_not(peer_has_frame(durable, FRAME_EMITTED));
    fixture_settle(s.f);
    assert_stored(peer_outcome(durable), 1);
    s.f->store->ops->stats(s.f->store, &after);
    cr_assert_eq(after.commits - before.commits, 1);
    cr_assert_eq(after.entries - before.entries, 1);

    peer_emit(s.p, &memory, 1);
    peer_emit(durable, &spec, 1);
    fixture_turn(s.f);
    fixture_crash(s.f); /* both or neither */
    int64_t offset = peer_emit_one(peer_welcome(s.f), spec).base_offset;
    cr_assert(offset == 3 || offset == 5, "%lld", (long long)offset);
    fixture_destroy(s.f);
}

Test(emit, batches_of_one_emit_are_judged_for_themselves)
{
    struct stage s = stage_make(2);
    struct batch_spec specs[] = {{.partition = s.partition},
                                 {.partition = s.partition, .damaged = true},
                                 {.partition = s.partition + 1},
                                 {.partition = 12345},
                                 {.partition = s.partition}};
    peer_emit(s.p, specs, 5);
    fixture_settle(s.f);
    const Wire__Emitted *emitted = peer_expect_beyond_credit(s.p, FRAME_EMITTED);
    cr_assert_eq(emitted->n_parts, 5);
    static const int codes[] = {0, WIRE_CRIER_ECORRUPT, 0, WIRE_CRIER_ENOTOPIC, 0};
    static const int64_t offsets[] = {0, -1, 0, -1, 1};
    for (size_t i = 0; i < 5; i++) {
        cr_assert_eq(emitted->parts[i]->code, codes[i], "part %zu", i);
        cr_assert_eq(emitted->parts[i]->outcome, codes[i] ? WIRE__OUTCOME__REFUSED : WIRE__OUTCOME__OK);
        cr_assert_eq(emitted->parts[i]->base_offset, offsets[i]);
    }
    cr_assert(emitted->text[0], "the first refusal is explained");
    fixture_destroy(s.f);
}

Test(emit, a_damaged_batch_is_refused_and_the_connection_stays)
{
    struct stage s = stage_make(1);
    assert_refused(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition, .damaged = true}),
                   WIRE_CRIER_ECORRUPT);
    assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition}), 0);
    fixture_destroy(s.f);
}

Test(emit, an_event_above_the_limit_is_refused)
{
    struct fixture *f = fixture_create();
    f->config.event_size_max = 1000;
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    uint64_t partition = peer_topic(p, "t", 1);
    assert_refused(peer_emit_one(p, (struct batch_spec){.partition = partition, .value_size = 1001}),
                   WIRE_CRIER_ETOOBIG);
    assert_stored(peer_emit_one(p, (struct batch_spec){.partition = partition, .value_size = 1000}), 0);
    fixture_destroy(f);
}

Test(emit, sequences_that_follow_are_stored)
{
    struct stage s = stage_make(1);
    assert_stored(peer_emit_one(s.p, sequenced(s, 0, 3)), 0);
    assert_stored(peer_emit_one(s.p, sequenced(s, 3, 1)), 3);
    assert_stored(peer_emit_one(s.p, sequenced(s, 4, 5)), 4);
    fixture_destroy(s.f);
}

Test(emit, the_last_batch_again_is_a_duplicate_with_its_offset)
{
    struct stage s = stage_make(1);
    assert_stored(peer_emit_one(s.p, sequenced(s, 0, 3)), 0);
    assert_stored(peer_emit_one(s.p, sequenced(s, 3, 2)), 3);
    assert_duplicate(peer_emit_one(s.p, sequenced(s, 3, 2)), 3);
    assert_duplicate(peer_emit_one(s.p, sequenced(s, 0, 3)), -1);
    assert_stored(peer_emit_one(s.p, sequenced(s, 5, 1)), 5);
    cr_assert_eq(fixture_stats(s.f).duplicates, 2);
    fixture_destroy(s.f);
}

Test(emit, a_gap_a_straddle_and_a_first_sequence_that_is_not_0_are_refused)
{
    struct stage s = stage_make(1);
    assert_refused(peer_emit_one(s.p, sequenced(s, 1, 1)), WIRE_CRIER_ESEQUENCE);
    assert_stored(peer_emit_one(s.p, sequenced(s, 0, 4)), 0);
    assert_refused(peer_emit_one(s.p, sequenced(s, 5, 1)), WIRE_CRIER_ESEQUENCE);
    assert_refused(peer_emit_one(s.p, sequenced(s, 2, 3)), WIRE_CRIER_ESEQUENCE);
    assert_stored(peer_emit_one(s.p, sequenced(s, 4, 1)), 4);
    fixture_destroy(s.f);
}

Test(emit, a_new_epoch_begins_at_0_and_fences_the_old_one)
{
    struct stage s = stage_make(1);
    assert_stored(peer_emit_one(s.p, sequenced(s, 0, 2)), 0);
    struct batch_spec next = sequenced(s, 7, 1);
    next.epoch = 1;
    assert_refused(peer_emit_one(s.p, next), WIRE_CRIER_ESEQUENCE);
    next.sequence = 0;
    assert_stored(peer_emit_one(s.p, next), 2);
    assert_refused(peer_emit_one(s.p, sequenced(s, 2, 1)), WIRE_CRIER_EFENCED);
    fixture_destroy(s.f);
}

Test(emit, sequences_are_counted_per_partition)
{
    struct stage s = stage_make(2);
    struct batch_spec other = sequenced(s, 0, 1);
    other.partition++;
    assert_stored(peer_emit_one(s.p, sequenced(s, 0, 1)), 0);
    assert_stored(peer_emit_one(s.p, other), 0);
    assert_stored(peer_emit_one(s.p, sequenced(s, 1, 1)), 1);
    fixture_destroy(s.f);
}

Test(emit, sequences_are_a_circle_what_lies_half_of_it_back_is_old)
{
    struct stage s = stage_make(1);
    assert_stored(peer_emit_one(s.p, sequenced(s, 0, 1)), 0);
    assert_duplicate(peer_emit_one(s.p, sequenced(s, INT32_MAX, 1)), -1);
    assert_duplicate(peer_emit_one(s.p, sequenced(s, INT32_MAX, 2)), -1);
    assert_refused(peer_emit_one(s.p, sequenced(s, INT32_MAX, 3)), WIRE_CRIER_ESEQUENCE);
    assert_refused(peer_emit_one(s.p, sequenced(s, INT32_MAX / 2, 1)), WIRE_CRIER_ESEQUENCE);
    fixture_destroy(s.f);
}

Test(emit, batches_in_flight_are_pipelined_in_order)
{
    struct stage s = stage_make(1);
    for (int32_t i = 0; i < 10; i++) {
        struct batch_spec spec = sequenced(s, i, 1);
        peer_emit(s.p, &spec, 1);
        fixture_turn(s.f);
    }
    fixture_settle(s.f);
    for (int64_t i = 0; i < 10; i++)
        assert_stored(peer_outcome(s.p), i);
    fixture_destroy(s.f);
}

Test(emit, a_duplicate_of_something_in_flight_waits_for_it)
{
    struct stage s = stage_make(1);
    struct batch_spec spec = sequenced(s, 0, 2);
    peer_emit(s.p, &spec, 1);
    fixture_turn(s.f);
    struct peer *again = peer_welcome_again(s.f, s.p->producer_id);
    peer_emit(again, &spec, 1);
    fixture_turn(s.f);
    cr_assert_not(peer_has_frame(again, FRAME_EMITTED), "nothing is known yet");
    fixture_settle(s.f);
    assert_duplicate(peer_outcome(again), 0);
    fixture_destroy(s.f);
}

Test(emit, late_bytes_of_a_clients_older_connection_are_not_taken)
{
    struct stage s = stage_make(1);
    struct peer *again = peer_welcome_again(s.f, s.p->producer_id);
    struct batch_spec spec = sequenced(s, 0, 1);
    peer_emit(s.p, &spec, 1); /* was on its way when the client gave the connection up */
    fixture_settle(s.f);
    peer_expect_error(s.p, WIRE_CRIER_EFENCED);
    peer_expect_nothing(s.p);
    assert_stored(peer_emit_one(again, spec), 0);
    fixture_destroy(s.f);
}

Test(emit, a_duplicate_after_a_crash_is_still_one)
{
    struct stage s = stage_make(1);
    assert_stored(peer_emit_one(s.p, sequenced(s, 0, 3)), 0);
    uint64_t producer = s.p->producer_id;
    fixture_crash(s.f);
    s.p = peer_welcome_again(s.f, producer);
    assert_duplicate(peer_emit_one(s.p, sequenced(s, 0, 3)), 0);
    assert_stored(peer_emit_one(s.p, sequenced(s, 3, 1)), 3);
    fixture_destroy(s.f);
}

Test(emit, a_duplicate_is_known_from_state_rows_alone_too)
{
    struct stage s = stage_make(1);
    assert_stored(peer_emit_one(s.p, sequenced(s, 0, 3)), 0);
    fixture_run(s.f, 3000000); /* the state is flushed */
    struct store_stats stats;
    s.f->store->ops->stats(s.f->store, &stats);
    cr_assert_eq(stats.flushed_index, stats.last_index);
    uint64_t producer = s.p->producer_id;
    fixture_crash(s.f);
    s.p = peer_welcome_again(s.f, producer);
    assert_duplicate(peer_emit_one(s.p, sequenced(s, 0, 3)), 0);
    assert_stored(peer_emit_one(s.p, sequenced(s, 3, 1)), 3);
    fixture_destroy(s.f);
}

Test(emit, a_producer_idle_for_a_day_of_log_time_is_forgotten)
{
    struct stage s = stage_make(1);
    assert_stored(peer_emit_one(s.p, sequenced(s, 0, 1)), 0);
    cr_assert_eq(fixture_stats(s.f).producers, 1);
    core_connection_received(s.p->connection);
    peer_close(s.p);
    fixture_run(s.f, INT64_C(25) * 3600 * 1000000);
    struct peer *other = peer_welcome(s.f);
    assert_stored(peer_emit_one(other, (struct batch_spec){.partition = s.partition}), 1);
    fixture_run(s.f, 2000000); /* the row is deleted with the next flush */
    cr_assert_eq(fixture_stats(s.f).producers, 0);
    fixture_destroy(s.f);
}

Test(emit, after_a_restart_those_idle_longest_are_forgotten_first)
{
    struct stage s = stage_make(1);
    struct batch_spec of[2]; /* of two producers: the second number is idle longer than the first */
    for (int64_t i = 0; i < 2; i++) {
        of[i] = (struct batch_spec){.partition = s.partition, .producer_id = 1000 + i};
        assert_stored(peer_emit_one(s.p, of[i]), (uint64_t)i);
    }
    fixture_run(s.f, INT64_C(10) * 3600 * 1000000);
    s.p = peer_welcome(s.f);
    of[0].sequence = 1;
    assert_stored(peer_emit_one(s.p, of[0]), 2);
    fixture_run(s.f, 3000000); /* the state is flushed */
    fixture_crash(s.f);
    cr_assert_eq(fixture_stats(s.f).producers, 2);
    fixture_run(s.f, INT64_C(15) * 3600 * 1000000);
    s.p = peer_welcome(s.f);
    assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition}), 3);
    fixture_run(s.f, 2000000); /* the row is deleted with the next flush */
    cr_assert_eq(fixture_stats(s.f).producers, 1);
    of[0].sequence = 2; /* the one that is left goes on */
    assert_stored(peer_emit_one(s.p, of[0]), 4);
    fixture_destroy(s.f);
}

/* After a start, whoever was asked for and whoever was not are forgotten at the same time: the log alone decides. */
Test(emit, after_a_restart_a_duplicate_does_not_make_a_producer_live_longer)
{
    struct stage s = stage_make(1);
    struct batch_spec of[3];
    for (int64_t i = 0; i < 3; i++) {
        of[i] = (struct batch_spec){.partition = s.partition, .producer_id = 1000 + i};
        assert_stored(peer_emit_one(s.p, of[i]), (uint64_t)i);
    }
    fixture_run(s.f, 3000000); /* the state is flushed */
    fixture_crash(s.f);
    cr_assert_eq(fixture_stats(s.f).producers, 3);
    fixture_run(s.f, INT64_C(20) * 3600 * 1000000);
    s.p = peer_welcome(s.f);
    assert_duplicate(peer_emit_one(s.p, of[1]), 1); /* it is known as before, and no longer */
    of[2].sequence = 1;
    assert_stored(peer_emit_one(s.p, of[2]), 3);
    cr_assert_eq(fixture_stats(s.f).producers, 3);
    fixture_run(s.f, INT64_C(5) * 3600 * 1000000);
    s.p = peer_welcome(s.f);
    assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition}), 4);
    fixture_run(s.f, 2000000); /* the rows are deleted with the next flush */
    cr_assert_eq(fixture_stats(s.f).producers, 1);
    of[1].sequence = 1;
    assert_refused(peer_emit_one(s.p, of[1]), WIRE_CRIER_ESEQUENCE);
    of[2].sequence = 2;
    assert_stored(peer_emit_one(s.p, of[2]), 5);
    fixture_crash(s.f);
    cr_assert_eq(fixture_stats(s.f).producers, 1);
    fixture_destroy(s.f);
}

Test(emit, refused_batches_leave_nothing_behind)
{
    struct stage s = stage_make(1);
    for (int64_t id = 1; id <= 50; id++) {
        struct batch_spec spec = {.partition = s.partition, .producer_id = 1000 + id, .sequence = 7};
        assert_refused(peer_emit_one(s.p, spec), WIRE_CRIER_ESEQUENCE);
    }
    cr_assert_eq(fixture_stats(s.f).producers, 0, "a peer could fill the memory with refused batches");
    fixture_destroy(s.f);
}

Test(emit, a_memory_emit_carries_no_sequence)
{
    struct stage s = stage_make(1);
    struct batch_spec spec = sequenced(s, 0, 1);
    spec.memory = true;
    assert_refused(peer_emit_one(s.p, spec), WIRE_CRIER_EINVAL);
    fixture_destroy(s.f);
}

Test(emit, requests_count_up_by_one)
{
    struct stage s = stage_make(1);
    s.p->emits = 1; /* the next one says 2 */
    peer_emit(s.p, &(struct batch_spec){.partition = s.partition}, 1);
    peer_expect_error(s.p, WIRE_CRIER_EPROTO);
    fixture_destroy(s.f);
}

static void emit_with_sizes(struct peer *p, uint64_t partition, const uint32_t *sizes, size_t count,
                            size_t attachment_size)
{
    uint8_t *attachment = calloc(1, attachment_size ? attachment_size : 1);
    Wire__EmitPart parts[4], *pointers[4];
    for (size_t i = 0; i < count; i++) {
        wire__emit_part__init(&parts[i]);
        parts[i].partition = partition;
        parts[i].size = sizes[i];
        pointers[i] = &parts[i];
    }
    Wire__Emit emit = WIRE__EMIT__INIT;
    emit.request = 1;
    emit.parts = pointers;
    emit.n_parts = count;
    peer_send_attached(p, FRAME_EMIT, &emit.base, attachment, attachment_size);
    free(attachment);
}

Test(emit, parts_must_fill_the_attachment_exactly)
{
    static const struct {
        uint32_t sizes[4];
        size_t count, attachment;
    } cases[] = {{{0}, 0, 0},        {{100}, 1, 99},          {{100}, 1, 101},
                 {{50, 51}, 2, 100}, {{UINT32_MAX, 1}, 2, 0}, {{UINT32_MAX, UINT32_MAX, 2, 100}, 4, 100}};
    struct stage s = stage_make(1);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct peer *p = peer_welcome(s.f);
        emit_with_sizes(p, s.partition, cases[i].sizes, cases[i].count, cases[i].attachment);
        peer_expect_error(p, WIRE_CRIER_EPROTO);
        peer_close(p);
    }
    fixture_destroy(s.f);
}

Test(emit, a_part_smaller_than_a_batch_is_refused_for_itself)
{
    struct stage s = stage_make(1);
    emit_with_sizes(s.p, s.partition, (uint32_t[]){0, 60, 40}, 3, 100);
    fixture_settle(s.f);
    const Wire__Emitted *emitted = peer_expect_beyond_credit(s.p, FRAME_EMITTED);
    cr_assert_eq(emitted->n_parts, 3);
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(emitted->parts[i]->outcome, WIRE__OUTCOME__REFUSED);
    fixture_destroy(s.f);
}

Test(emit, of_a_client_that_is_gone_is_stored_all_the_same)
{
    struct stage s = stage_make(1);
    struct batch_spec spec = sequenced(s, 0, 1);
    peer_emit(s.p, &spec, 1);
    fixture_turn(s.f);
    peer_close(s.p);
    fixture_settle(s.f);
    struct peer *again = peer_welcome_again(s.f, s.p->producer_id);
    assert_duplicate(peer_emit_one(again, spec), 0);
    fixture_destroy(s.f);
}
