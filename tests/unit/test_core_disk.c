/* test_core_disk.c: a disk that is full, and one that fails: what is refused, what is unknown, what goes on. */
#include "broker/core/shard.h"
#include "tests/unit/core_outcome.h"

struct stage {
    struct fixture *f;
    struct peer *p;
    uint64_t partition;
};

static struct stage stage_make(void)
{
    struct stage s = {.f = fixture_create()};
    fixture_start(s.f);
    s.p = peer_welcome(s.f);
    s.partition = peer_topic(s.p, "orders", 2);
    return s;
}

static struct batch_spec sequenced(struct stage s, int32_t sequence, int32_t count)
{
    return (struct batch_spec){.partition = s.partition,
                               .producer_id = (int64_t)s.p->producer_id,
                               .sequence = sequence,
                               .count = count};
}

/* Sends it in a turn of its own, so that it becomes an entry of its own while others are with the store. */
static void emit_in_turn(struct stage s, int32_t sequence)
{
    struct batch_spec spec = sequenced(s, sequence, 1);
    peer_emit(s.p, &spec, 1);
    fixture_turn(s.f);
}

/* Everything the partition holds, as a listener sees it. */
static uint64_t end_of(struct stage s)
{
    struct peer *reader = peer_welcome(s.f);
    peer_listen(reader, &(struct listen_spec){.id = 1, .topic = "orders", .from = WIRE__FROM__EARLIEST});
    fixture_settle(s.f);
    const Wire__Listening *listening = peer_expect(reader, FRAME_LISTENING);
    uint64_t end = listening->partitions[0]->high_watermark, first = 0, next = 0;
    for (uint64_t seen = 0; seen < end; seen = next) {
        peer_delivered(reader, &first, &next);
        cr_assert_eq(first, seen);
    }
    peer_close(reader);
    return end;
}

Test(disk, while_it_is_full_emits_are_refused_and_offsets_go_on_without_a_gap)
{
    struct stage s = stage_make();
    assert_stored(peer_emit_one(s.p, sequenced(s, 0, 2)), 0);
    store_memory_fault_full(s.f->store, true);
    assert_refused(peer_emit_one(s.p, sequenced(s, 2, 3)), WIRE_CRIER_EFULL);
    assert_refused(peer_emit_one(s.p, sequenced(s, 2, 3)), WIRE_CRIER_EFULL);
    cr_assert(fixture_logged(s.f, "SHARD-FULL"));
    store_memory_fault_full(s.f->store, false);
    assert_stored(peer_emit_one(s.p, sequenced(s, 2, 1)), 2);
    assert_duplicate(peer_emit_one(s.p, sequenced(s, 2, 1)), 2);
    cr_assert_eq(end_of(s), 3);
    fixture_destroy(s.f);
}

Test(disk, what_stood_behind_a_refused_entry_is_refused_too)
{
    struct stage s = stage_make();
    emit_in_turn(s, 0); /* the commit under way takes this one alone */
    store_memory_fault_full(s.f->store, true);
    for (int32_t i = 1; i < 6; i++)
        emit_in_turn(s, i);
    fixture_settle(s.f);
    assert_stored(peer_outcome(s.p), 0);
    for (int32_t i = 1; i < 6; i++)
        assert_refused(peer_outcome(s.p), WIRE_CRIER_EFULL);
    store_memory_fault_full(s.f->store, false);
    assert_stored(peer_emit_one(s.p, sequenced(s, 1, 1)), 1);
    cr_assert_eq(end_of(s), 2);
    fixture_destroy(s.f);
}

Test(disk, what_comes_after_the_refusal_is_not_refused_with_the_old_epoch)
{
    struct stage s = stage_make();
    store_memory_fault_full(s.f->store, true);
    emit_in_turn(s, 0);
    fixture_settle(s.f);
    assert_refused(peer_outcome(s.p), WIRE_CRIER_EFULL);
    store_memory_fault_full(s.f->store, false);
    for (int32_t i = 0; i < 5; i++)
        emit_in_turn(s, i);
    fixture_settle(s.f);
    for (int32_t i = 0; i < 5; i++)
        assert_stored(peer_outcome(s.p), i);
    fixture_destroy(s.f);
}

Test(disk, a_stored_batch_is_still_a_duplicate_after_a_refusal_threw_away_an_open_entry)
{
    struct stage s = stage_make();
    s.f->store_options.commit = (struct store_memory_delay){FIXTURE_COMMIT_US, FIXTURE_COMMIT_US};
    assert_stored(peer_emit_one(s.p, sequenced(s, 0, 1)), 0);
    store_memory_fault_full(s.f->store, true);
    emit_in_turn(s, 1);
    /* one event in the very turn in which the refusal arrives: it is gathered, and never handed over */
    store_memory_advance(s.f->store, store_memory_next_due(s.f->store));
    struct batch_spec open = sequenced(s, 2, 1), stored = sequenced(s, 0, 1);
    peer_emit(s.p, &open, 1);
    s.f->store->ops->poll(s.f->store, 100);
    peer_emit(s.p, &stored, 1);
    fixture_settle(s.f);
    assert_refused(peer_outcome(s.p), WIRE_CRIER_EFULL);
    assert_refused(peer_outcome(s.p), WIRE_CRIER_EFULL);
    assert_duplicate(peer_outcome(s.p), 0);
    fixture_destroy(s.f);
}

/* Found by the simulator: the broker aborted when it was stopped at its deadline while emits waited for room in the store. */
Test(disk, what_waits_for_room_in_the_store_is_not_begun_by_a_stop)
{
    struct stage s = {.f = fixture_create()};
    s.f->store_options.commit = (struct store_memory_delay){1000000, 1000000};
    fixture_start(s.f);
    s.p = peer_welcome(s.f);
    s.partition = peer_topic(s.p, "orders", 2);
    int32_t sequence = 0;
    for (unsigned i = 0; i < SHARD_IN_FLIGHT_MAX + 2; i++)
        emit_in_turn(s, sequence++);
    for (unsigned i = 0; i < 3; i++) {
        struct batch_spec large = sequenced(s, sequence++, 1);
        large.value_size = SHARD_ENTRY_SIZE - 1000;
        peer_emit(s.p, &large, 1);
        fixture_turn(s.f);
    }
    core_drain(s.f->core, 0);
    core_stop(s.f->core);
    fixture_turn(s.f);
    fixture_resume(s.f, fixture_power_off(s.f));
    s.p = peer_welcome(s.f);
    cr_assert_geq(end_of(s), SHARD_IN_FLIGHT_MAX, "what was with the store is stored");
    cr_assert_lt(end_of(s), (uint64_t)sequence, "what waited was never begun");
    fixture_destroy(s.f);
}

Test(disk, a_topic_whose_creation_was_refused_does_not_exist)
{
    struct stage s = stage_make();
    store_memory_fault_full(s.f->store, true);
    cr_assert_eq(peer_topic_code(s.p, "new", 1), WIRE_CRIER_EFULL);
    store_memory_fault_full(s.f->store, false);
    Wire__TopicDescribe describe = WIRE__TOPIC_DESCRIBE__INIT;
    describe.name = (char *)"new";
    peer_send(s.p, FRAME_TOPIC_DESCRIBE, &describe.base);
    fixture_settle(s.f);
    cr_assert_eq(((const Wire__Topics *)peer_expect(s.p, FRAME_TOPICS))->code, WIRE_CRIER_ENOTOPIC);
    uint64_t partition = peer_topic(s.p, "new", 1);
    assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = partition}), 0);
    fixture_destroy(s.f);
}

Test(disk, a_group_that_could_not_join_leaves_its_place)
{
    struct stage s = stage_make();
    store_memory_fault_full(s.f->store, true);
    struct listen_spec spec = {.id = 1, .topic = "orders", .group = "g"};
    peer_listen(s.p, &spec);
    fixture_settle(s.f);
    cr_assert_eq(((const Wire__Ended *)peer_expect(s.p, FRAME_ENDED))->code, WIRE_CRIER_EFULL);
    store_memory_fault_full(s.f->store, false);
    peer_listen(s.p, &spec);
    fixture_settle(s.f);
    peer_expect(s.p, FRAME_LISTENING);
    fixture_destroy(s.f);
}

Test(disk, a_full_disk_at_start_only_delays_readiness)
{
    struct stage s = stage_make();
    struct store_memory_image *image = fixture_power_off(s.f);
    char error[256];
    cr_assert_eq(store_memory_reopen(&s.f->store_options, image, &s.f->store), 0);
    store_memory_fault_full(s.f->store, true);
    s.f->core = fixture_core(s.f);
    cr_assert_eq(core_recover(s.f->core, s.f->mono_us, s.f->wall_us, error, sizeof(error)), 0);
    fixture_run(s.f, 3500000);
    cr_assert_not(core_ready(s.f->core));
    cr_assert_not(core_read_only(s.f->core));
    store_memory_fault_full(s.f->store, false);
    fixture_run(s.f, 1500000);
    cr_assert(core_ready(s.f->core));
    fixture_destroy(s.f);
}

Test(disk, after_an_io_error_the_outcome_is_unknown_and_the_shard_read_only)
{
    struct stage s = stage_make();
    assert_stored(peer_emit_one(s.p, sequenced(s, 0, 1)), 0);
    store_memory_fault_commit(s.f->store, 1);
    assert_unknown(peer_emit_one(s.p, sequenced(s, 1, 1)));
    cr_assert(core_read_only(s.f->core));
    cr_assert(fixture_logged(s.f, "SHARD-READ-ONLY"));
    assert_refused(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition}), WIRE_CRIER_EIO);
    cr_assert_eq(peer_topic_code(s.p, "new", 1), WIRE_CRIER_EIO);
    fixture_destroy(s.f);
}

Test(disk, a_read_only_shard_refuses_nothing_that_may_be_stored)
{
    struct stage s = stage_make();
    assert_stored(peer_emit_one(s.p, sequenced(s, 0, 1)), 0);
    store_memory_fault_commit(s.f->store, 1);
    assert_unknown(peer_emit_one(s.p, sequenced(s, 1, 1)));
    assert_duplicate(peer_emit_one(s.p, sequenced(s, 0, 1)), 0);
    assert_unknown(peer_emit_one(s.p, sequenced(s, 1, 1)));
    fixture_destroy(s.f);
}

Test(disk, a_read_only_shard_still_serves_readers)
{
    struct stage s = stage_make();
    assert_stored(peer_emit_one(s.p, sequenced(s, 0, 5)), 0);
    store_memory_fault_commit(s.f->store, 1);
    assert_unknown(peer_emit_one(s.p, sequenced(s, 5, 1)));
    cr_assert_eq(end_of(s), 5);
    fixture_destroy(s.f);
}

Test(disk, what_was_unknown_is_decided_by_the_restart_and_may_be_resent)
{
    for (uint64_t seed = 1; seed < 20; seed++) { /* the seed decides whether the write survived */
        struct stage s = {.f = fixture_create()};
        s.f->store_options.seed = seed;
        fixture_start(s.f);
        s.p = peer_welcome(s.f);
        s.partition = peer_topic(s.p, "orders", 2);
        assert_stored(peer_emit_one(s.p, sequenced(s, 0, 1)), 0);
        store_memory_fault_commit(s.f->store, 1);
        assert_unknown(peer_emit_one(s.p, sequenced(s, 1, 1)));
        uint64_t producer = s.p->producer_id;
        fixture_crash(s.f);
        s.p = peer_welcome_again(s.f, producer);
        struct outcome outcome = peer_emit_one(s.p, sequenced(s, 1, 1));
        cr_assert_eq(outcome.outcome, WIRE__OUTCOME__OK);
        cr_assert_eq(outcome.base_offset, 1, "stored before or now, at the same place");
        assert_stored(peer_emit_one(s.p, sequenced(s, 2, 1)), 2);
        cr_assert_eq(end_of(s), 3);
        fixture_destroy(s.f);
    }
}

Test(disk, a_failed_state_flush_loses_nothing)
{
    struct stage s = stage_make();
    assert_stored(peer_emit_one(s.p, sequenced(s, 0, 4)), 0);
    store_memory_fault_flush(s.f->store, 1);
    fixture_run(s.f, 3000000);
    uint64_t producer = s.p->producer_id;
    fixture_crash(s.f);
    s.p = peer_welcome_again(s.f, producer);
    assert_duplicate(peer_emit_one(s.p, sequenced(s, 0, 4)), 0);
    cr_assert_eq(end_of(s), 4);
    fixture_destroy(s.f);
}

Test(disk, damage_met_while_reading_ends_that_listener_only)
{
    struct fixture *f = fixture_create();
    f->config.cache_bytes_max = 0;
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    uint64_t partition = peer_topic(p, "t", 1);
    assert_stored(peer_emit_one(p, (struct batch_spec){.partition = partition}), 0);
    store_memory_fault_read(f->store, 1);
    peer_listen(p, &(struct listen_spec){.id = 1, .topic = "t", .from = WIRE__FROM__EARLIEST});
    fixture_settle(f);
    peer_expect(p, FRAME_LISTENING);
    cr_assert_eq(((const Wire__Ended *)peer_expect(p, FRAME_ENDED))->code, WIRE_CRIER_ECORRUPT);
    peer_listen(p, &(struct listen_spec){.id = 1, .topic = "t", .from = WIRE__FROM__EARLIEST});
    fixture_settle(f);
    peer_expect(p, FRAME_LISTENING);
    uint64_t first, next;
    peer_delivered(p, &first, &next);
    fixture_destroy(f);
}

/* One row a turn, while each turn changes rows: what is written is the state where the flush began, or a new life would meet
 * entries above the cut that are in the state already. */
Test(disk, a_flush_of_many_turns_is_the_state_at_its_first_one)
{
    struct fixture *f = fixture_create();
    f->config.flush_rows_per_turn = 1;
    f->config.flush_log_bytes = 1200; /* about once a round */
    fixture_start(f);
    enum { PARTITIONS = 16, ROUNDS = 20 };
    struct peer *p = peer_welcome(f);
    uint64_t first = peer_topic(p, "orders", PARTITIONS);
    for (int32_t round = 0; round < ROUNDS; round++)
        for (uint64_t i = 0; i < PARTITIONS;
             i++) /* there and back: the row that waits longest changes next */
            assert_stored(
                peer_emit_one(p,
                              (struct batch_spec){.partition = first + (round % 2 ? PARTITIONS - 1 - i : i),
                                                  .producer_id = (int64_t)p->producer_id,
                                                  .sequence = round}),
                round);
    struct store_stats stats;
    f->store->ops->stats(f->store, &stats);
    cr_assert(stats.flushed_index > PARTITIONS && stats.flushed_index < stats.last_index, "%d of %d",
              (int)stats.flushed_index, (int)stats.last_index);
    fixture_crash(f);
    p = peer_welcome(f);
    for (uint64_t i = 0; i < PARTITIONS; i++)
        assert_stored(peer_emit_one(p, (struct batch_spec){.partition = first + i}), ROUNDS);
    fixture_destroy(f);
}

/* The twin has no files; and what makes no sense is not asked. */
Test(disk, questions_about_files_are_answered_or_refused)
{
    struct stage s = stage_make();
    Wire__Inspect question = WIRE__INSPECT__INIT;
    question.request = 7;
    peer_send(s.p, FRAME_INSPECT, &question.base);
    const Wire__Inspected *answer = peer_expect(s.p, FRAME_INSPECTED);
    cr_assert_eq(answer->request, 7);
    cr_assert_eq(answer->code, WIRE_CRIER_ENOTSUP);
    assert_stored(peer_emit_one(s.p, sequenced(s, 0, 1)), 0);
    fixture_destroy(s.f);
}
