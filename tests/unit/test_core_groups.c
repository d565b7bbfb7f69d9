/* test_core_groups.c: groups: fenced generations, positions that are durable and never go back. How several members share a
 * topic's partitions is in test_core_crew.c. */
#include "tests/unit/core_outcome.h"

struct stage {
    struct fixture *f;
    struct peer *p;
    uint64_t partition;
};

/* Ten events in partition 0 of "orders", each a batch of its own. */
static struct stage stage_make(void)
{
    struct stage s = {.f = fixture_create()};
    fixture_start(s.f);
    s.p = peer_welcome(s.f);
    s.partition = peer_topic(s.p, "orders", 1);
    for (int64_t i = 0; i < 10; i++)
        assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition}), i);
    return s;
}

static void join_begin(struct peer *p, Wire__From from, uint64_t resume)
{
    peer_listen(p, &(struct listen_spec){.id = 1,
                                         .topic = "orders",
                                         .group = "g",
                                         .from = from,
                                         .credit = 1, /* one event and no more */
                                         .resume_partition = 1,
                                         .resume_offset = resume});
}

struct joined {
    uint64_t next, generation;
};

static struct joined join(struct peer *p, Wire__From from)
{
    join_begin(p, from, 0);
    fixture_settle(p->fixture);
    const Wire__Listening *answer = peer_expect(p, FRAME_LISTENING);
    return (struct joined){answer->partitions[0]->next, answer->generation};
}

static int commit_code(struct peer *p, uint64_t generation, uint64_t partition, uint64_t offset)
{
    peer_commit(p, 77, 1, generation, partition, offset);
    fixture_settle(p->fixture);
    while (peer_has_frame(p, FRAME_DELIVER)) {
        uint64_t first, next;
        peer_delivered(p, &first, &next);
    }
    const Wire__Committed *committed = peer_expect(p, FRAME_COMMITTED);
    cr_assert_eq(committed->request, 77);
    return committed->code;
}

Test(groups, the_first_position_is_durable_before_listening_is_answered)
{
    struct stage s = stage_make();
    struct peer *m = peer_welcome(s.f);
    join_begin(m, WIRE__FROM__LIVE, 0);
    fixture_run(s.f, FIXTURE_COMMIT_US - 1);
    peer_expect_nothing(m);
    fixture_run(s.f, 1);
    cr_assert_eq(((const Wire__Listening *)peer_expect(m, FRAME_LISTENING))->partitions[0]->next, 10);
    assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition}), 10);
    fixture_crash(s.f);
    m = peer_welcome(s.f);
    cr_assert_eq(join(m, WIRE__FROM__LIVE).next, 10, "what came after the first join is not skipped");
    fixture_destroy(s.f);
}

Test(groups, a_position_goes_on_over_a_restart_and_over_a_crash)
{
    for (int clean = 0; clean < 2; clean++) {
        struct stage s = stage_make();
        struct peer *m = peer_welcome(s.f);
        struct joined joined = join(m, WIRE__FROM__EARLIEST);
        cr_assert_eq(joined.next, 0);
        cr_assert_eq(commit_code(m, joined.generation, s.partition, 4), 0);
        if (clean)
            fixture_restart(s.f);
        else
            fixture_crash(s.f);
        cr_assert_eq(join(peer_welcome(s.f), WIRE__FROM__LIVE).next, 4);
        fixture_destroy(s.f);
    }
}

Test(groups, a_position_is_known_from_state_rows_alone_too)
{
    struct stage s = stage_make();
    struct peer *m = peer_welcome(s.f);
    cr_assert_eq(commit_code(m, join(m, WIRE__FROM__EARLIEST).generation, s.partition, 4), 0);
    fixture_run(s.f, 3000000);
    struct store_stats stats;
    s.f->store->ops->stats(s.f->store, &stats);
    cr_assert_eq(stats.flushed_index, stats.last_index);
    fixture_crash(s.f);
    cr_assert_eq(join(peer_welcome(s.f), WIRE__FROM__LIVE).next, 4);
    fixture_destroy(s.f);
}

Test(groups, a_position_never_goes_back)
{
    struct stage s = stage_make();
    struct peer *m = peer_welcome(s.f);
    struct joined joined = join(m, WIRE__FROM__EARLIEST);
    cr_assert_eq(commit_code(m, joined.generation, s.partition, 7), 0);
    cr_assert_eq(commit_code(m, joined.generation, s.partition, 3), 0);
    peer_close(m);
    cr_assert_eq(join(peer_welcome(s.f), WIRE__FROM__LIVE).next, 7);
    fixture_destroy(s.f);
}

Test(groups, commits_of_one_turn_become_one_command_the_newest)
{
    struct stage s = stage_make();
    struct peer *m = peer_welcome(s.f);
    struct joined joined = join(m, WIRE__FROM__EARLIEST);
    struct store_stats before, after;
    s.f->store->ops->stats(s.f->store, &before);
    for (uint64_t offset = 1; offset <= 5; offset++)
        peer_commit(m, offset, 1, joined.generation, s.partition, offset);
    fixture_settle(s.f);
    s.f->store->ops->stats(s.f->store, &after);
    cr_assert_eq(after.entries - before.entries, 1);
    uint64_t first, next;
    peer_delivered(m, &first, &next);
    for (uint64_t request = 1; request <= 5; request++) {
        const Wire__Committed *committed = peer_expect(m, FRAME_COMMITTED);
        cr_assert(committed->request == request && committed->code == 0);
    }
    peer_close(m);
    cr_assert_eq(join(peer_welcome(s.f), WIRE__FROM__LIVE).next, 5);
    fixture_destroy(s.f);
}

Test(groups, a_second_member_of_one_partition_waits_with_none_and_inherits_it)
{
    struct stage s = stage_make();
    struct peer *m = peer_welcome(s.f), *n = peer_welcome(s.f);
    struct joined joined = join(m, WIRE__FROM__EARLIEST);
    join_begin(n, WIRE__FROM__EARLIEST, 0);
    fixture_settle(s.f);
    cr_assert_eq(((const Wire__Listening *)peer_expect(n, FRAME_LISTENING))->n_partitions, 0);
    cr_assert_eq(commit_code(m, joined.generation, s.partition, 6), 0);
    peer_close(m);
    fixture_settle(s.f);
    const Wire__Assign *assign = peer_expect_past(n, FRAME_ASSIGN);
    cr_assert_eq(assign->n_added, 1);
    cr_assert_eq(assign->added[0]->next, 6, "it starts where the one before it committed");
    fixture_destroy(s.f);
}

Test(groups, of_two_that_join_at_once_one_gets_the_partition)
{
    struct stage s = stage_make();
    struct peer *m = peer_welcome(s.f), *n = peer_welcome(s.f);
    join_begin(m, WIRE__FROM__EARLIEST, 0);
    join_begin(n, WIRE__FROM__EARLIEST, 0);
    fixture_settle(s.f);
    size_t first = ((const Wire__Listening *)peer_expect(m, FRAME_LISTENING))->n_partitions;
    size_t second = ((const Wire__Listening *)peer_expect(n, FRAME_LISTENING))->n_partitions;
    cr_assert_eq(first + second, 1);
    fixture_destroy(s.f);
}

Test(groups, a_member_that_leaves_while_it_joins_frees_the_place)
{
    struct stage s = stage_make();
    struct peer *m = peer_welcome(s.f), *n = peer_welcome(s.f);
    join_begin(m, WIRE__FROM__EARLIEST, 0);
    fixture_turn(s.f);
    peer_unlisten(m, 1);
    fixture_turn(s.f);
    cr_assert_eq(((const Wire__Ended *)peer_expect(m, FRAME_ENDED))->code, 0);
    cr_assert_eq(join(n, WIRE__FROM__LIVE).next, 0, "the first position of the group was already given");
    peer_expect_nothing(m);
    fixture_destroy(s.f);
}

Test(groups, groups_and_topics_do_not_share_places)
{
    struct stage s = stage_make();
    peer_topic(s.p, "other", 1);
    struct peer *m = peer_welcome(s.f);
    struct listen_spec specs[] = {{.id = 1, .topic = "orders", .group = "g"},
                                  {.id = 2, .topic = "orders", .group = "h"},
                                  {.id = 3, .topic = "other", .group = "g"}};
    for (size_t i = 0; i < 3; i++) {
        peer_listen(m, &specs[i]);
        fixture_settle(s.f);
        peer_expect(m, FRAME_LISTENING);
    }
    fixture_destroy(s.f);
}

Test(groups, a_commit_of_an_older_generation_is_fenced)
{
    struct stage s = stage_make();
    struct peer *m = peer_welcome(s.f);
    uint64_t old = join(m, WIRE__FROM__EARLIEST).generation;
    peer_unlisten(m, 1);
    fixture_turn(s.f);
    uint64_t first, next;
    peer_delivered(m, &first, &next);
    peer_expect(m, FRAME_ENDED);
    struct joined again = join(m, WIRE__FROM__EARLIEST);
    cr_assert_neq(again.generation, old);
    cr_assert_eq(commit_code(m, old, s.partition, 5), WIRE_CRIER_EFENCED);
    cr_assert_eq(commit_code(m, again.generation, s.partition, 2), 0);
    peer_close(m);
    cr_assert_eq(join(peer_welcome(s.f), WIRE__FROM__LIVE).next, 2);
    fixture_destroy(s.f);
}

Test(groups, generations_grow_over_restarts)
{
    struct stage s = stage_make();
    uint64_t last = 0;
    for (int i = 0; i < 4; i++) {
        uint64_t generation = join(peer_welcome(s.f), WIRE__FROM__EARLIEST).generation;
        cr_assert_gt(generation, last);
        last = generation;
        fixture_crash(s.f);
    }
    fixture_destroy(s.f);
}

Test(groups, a_new_member_starts_after_what_the_old_one_committed_last)
{
    struct stage s = stage_make();
    struct peer *m = peer_welcome(s.f), *n = peer_welcome(s.f);
    struct joined joined = join(m, WIRE__FROM__EARLIEST);
    peer_commit(m, 1, 1, joined.generation, s.partition, 6);
    peer_close(m); /* the commit is not durable yet */
    join_begin(n, WIRE__FROM__EARLIEST, 0);
    fixture_turn(s.f);
    peer_expect_nothing(n);
    fixture_settle(s.f);
    cr_assert_eq(((const Wire__Listening *)peer_expect(n, FRAME_LISTENING))->partitions[0]->next, 6);
    fixture_destroy(s.f);
}

Test(groups, resume_ahead_of_the_position_wins_and_behind_it_does_not)
{
    struct stage s = stage_make();
    struct peer *m = peer_welcome(s.f);
    cr_assert_eq(commit_code(m, join(m, WIRE__FROM__EARLIEST).generation, s.partition, 4), 0);
    static const uint64_t resumes[][2] = {{7, 7}, {2, 4}};
    for (size_t i = 0; i < 2; i++) {
        peer_close(m);
        m = peer_welcome(s.f);
        join_begin(m, WIRE__FROM__EARLIEST, resumes[i][0]);
        fixture_settle(s.f);
        cr_assert_eq(((const Wire__Listening *)peer_expect(m, FRAME_LISTENING))->partitions[0]->next,
                     resumes[i][1]);
    }
    fixture_destroy(s.f);
}

Test(groups, a_position_of_another_topic_or_beyond_the_end_is_refused)
{
    struct stage s = stage_make();
    uint64_t other = peer_topic(s.p, "other", 1);
    struct peer *m = peer_welcome(s.f);
    uint64_t generation = join(m, WIRE__FROM__EARLIEST).generation;
    cr_assert_eq(commit_code(m, generation, other, 0), WIRE_CRIER_EINVAL);
    cr_assert_eq(commit_code(m, generation, 999, 0), WIRE_CRIER_EINVAL);
    cr_assert_eq(commit_code(m, generation, s.partition, 11), WIRE_CRIER_EINVAL);
    cr_assert_eq(commit_code(m, generation, s.partition, 10), 0);
    fixture_destroy(s.f);
}

Test(groups, a_listener_without_a_group_cannot_commit)
{
    struct stage s = stage_make();
    struct peer *m = peer_welcome(s.f);
    peer_listen(m, &(struct listen_spec){.id = 1, .topic = "orders", .from = WIRE__FROM__LIVE});
    fixture_settle(s.f);
    peer_expect(m, FRAME_LISTENING);
    cr_assert_eq(commit_code(m, 0, s.partition, 1), WIRE_CRIER_EFENCED);
    fixture_destroy(s.f);
}

Test(groups, a_refused_commit_leaves_the_position_and_the_next_one_works)
{
    struct stage s = stage_make();
    struct peer *m = peer_welcome(s.f);
    uint64_t generation = join(m, WIRE__FROM__EARLIEST).generation;
    cr_assert_eq(commit_code(m, generation, s.partition, 3), 0);
    store_memory_fault_full(s.f->store, true);
    cr_assert_eq(commit_code(m, generation, s.partition, 5), WIRE_CRIER_EFULL);
    cr_assert_eq(commit_code(m, generation, s.partition, 3), 0, "already durable");
    store_memory_fault_full(s.f->store, false);
    cr_assert_eq(commit_code(m, generation, s.partition, 5), 0);
    peer_close(m);
    cr_assert_eq(join(peer_welcome(s.f), WIRE__FROM__LIVE).next, 5);
    fixture_destroy(s.f);
}
