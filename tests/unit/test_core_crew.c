/* test_core_crew.c: how the members of a group share a topic's partitions: one owner at a time, evenly, few moves.
 *
 * The model is a client's view: a partition is mine from LISTENING or ASSIGN until I send RELEASE, my connection ends or I
 * am ended. Two such views never overlap. */
#include "tests/unit/core_outcome.h"

#include <stdlib.h>

#define MEMBERS_MAX 1000

struct member {
    struct peer *peer; /* NULL: not there */
    uint64_t generation;
    bool listening;
};

struct stage {
    struct fixture *f;
    struct peer *p;
    uint64_t first; /* partition id */
    uint32_t partitions;
    struct member members[MEMBERS_MAX];
    int owner[1024]; /* by partition: a member, or -1 */

    uint64_t moves;
};

static struct stage *stage_make(uint32_t partitions)
{
    struct stage *s = calloc(1, sizeof(*s));
    s->f = fixture_create();
    fixture_start(s->f);
    s->p = peer_welcome(s->f);
    s->partitions = partitions;
    s->first = peer_topic(s->p, "orders", partitions);
    for (size_t i = 0; i < 1024; i++)
        s->owner[i] = -1;
    return s;
}

static void stage_destroy(struct stage *s)
{
    fixture_destroy(s->f);
    free(s);
}

/* ---- a member ---- */

static void gain(struct stage *s, int who, uint64_t partition)
{
    uint64_t place = partition - s->first;
    cr_assert_lt(place, s->partitions);
    cr_assert_eq(s->owner[place], -1, "partition %u is %d's and was given to %d too", (unsigned)place,
                 s->owner[place], who);
    s->owner[place] = who;
    s->moves++;
}

static void release(struct stage *s, int who, const uint64_t *partitions, size_t count)
{
    Wire__Release release = WIRE__RELEASE__INIT;
    release.listener = 1;
    release.generation = s->members[who].generation;
    release.partitions = (uint64_t *)partitions;
    release.n_partitions = count;
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(s->owner[partitions[i] - s->first], who);
        s->owner[partitions[i] - s->first] = -1;
    }
    peer_send(s->members[who].peer, FRAME_RELEASE, &release.base);
}

static void on_assign(struct stage *s, int who, const Wire__Assign *assign)
{
    cr_assert_eq(assign->generation, s->members[who].generation);
    for (size_t i = 0; i < assign->n_added; i++)
        gain(s, who, assign->added[i]->partition);
    uint64_t revoked[1024];
    size_t count = assign->n_revoked;
    for (size_t i = 0; i < count; i++)
        revoked[i] = assign->revoked[i];
    if (count)
        release(s, who, revoked, count);
}

/* Reads what the broker said to this member. Returns whether there was anything. */
static bool member_read(struct stage *s, int who)
{
    struct member *member = &s->members[who];
    bool any = false;
    while (member->peer &&
           (peer_has_frame(member->peer, FRAME_LISTENING) || peer_has_frame(member->peer, FRAME_ASSIGN))) {
        any = true;
        if (!member->listening) {
            const Wire__Listening *listening = peer_expect_past(member->peer, FRAME_LISTENING);
            member->listening = true;
            member->generation = listening->generation;
            for (size_t i = 0; i < listening->n_partitions; i++)
                gain(s, who, listening->partitions[i]->partition);
        } else {
            on_assign(s, who, peer_expect_past(member->peer, FRAME_ASSIGN));
        }
    }
    return any;
}

static void member_join(struct stage *s, int who)
{
    struct member *member = &s->members[who];
    member->peer = peer_welcome(s->f);
    member->listening = false;
    peer_listen(member->peer, &(struct listen_spec){
                                  .id = 1, .topic = "orders", .group = "g", .from = WIRE__FROM__EARLIEST});
}

static void member_leave(struct stage *s, int who)
{
    peer_close(s->members[who].peer);
    s->members[who].peer = NULL;
    for (uint32_t i = 0; i < s->partitions; i++)
        if (s->owner[i] == who)
            s->owner[i] = -1;
}

/* Everybody answers until nobody has anything more to say. */
static void settle(struct stage *s)
{
    bool any = true;
    while (any) {
        fixture_settle(s->f);
        any = false;
        for (int who = 0; who < MEMBERS_MAX; who++)
            if (s->members[who].peer && member_read(s, who))
                any = true;
    }
}

static uint32_t owned(const struct stage *s, int who)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->partitions; i++)
        count += s->owner[i] == who;
    return count;
}

static void assert_even(const struct stage *s)
{
    uint32_t members = 0, sum = 0;
    for (int who = 0; who < MEMBERS_MAX; who++)
        members += s->members[who].peer != NULL;
    for (int who = 0; who < MEMBERS_MAX; who++) {
        if (!s->members[who].peer)
            continue;
        uint32_t count = owned(s, who);
        sum += count;
        cr_assert_geq(count, s->partitions / members);
        cr_assert_leq(count, s->partitions / members + 1);
    }
    cr_assert_eq(sum, members ? s->partitions : 0, "every partition has an owner");
}

/* ---- the promises ---- */

Test(crew, the_only_member_has_all_partitions)
{
    struct stage *s = stage_make(7);
    member_join(s, 0);
    settle(s);
    cr_assert_eq(owned(s, 0), 7);
    stage_destroy(s);
}

Test(crew, a_newcomer_gets_its_share_and_nobody_loses_more_than_that)
{
    struct stage *s = stage_make(12);
    for (int who = 0; who < 4; who++) {
        uint64_t before = s->moves;
        member_join(s, who);
        settle(s);
        assert_even(s);
        cr_assert_eq(s->moves - before, 12 / (unsigned)(who + 1), "only the newcomer's share moved");
    }
    stage_destroy(s);
}

Test(crew, what_a_member_had_goes_to_the_others_when_it_is_gone)
{
    struct stage *s = stage_make(12);
    for (int who = 0; who < 4; who++)
        member_join(s, who);
    settle(s);
    uint64_t before = s->moves;
    member_leave(s, 2);
    settle(s);
    assert_even(s);
    cr_assert_eq(s->moves - before, 3, "only what it had moved");
    stage_destroy(s);
}

Test(crew, more_members_than_partitions_leave_some_in_reserve)
{
    struct stage *s = stage_make(2);
    for (int who = 0; who < 5; who++)
        member_join(s, who);
    settle(s);
    assert_even(s);
    member_leave(s, 0);
    member_leave(s, 1);
    settle(s);
    assert_even(s);
    stage_destroy(s);
}

Test(crew, a_partition_is_given_away_only_after_it_was_released)
{
    struct stage *s = stage_make(2);
    member_join(s, 0);
    settle(s);
    member_join(s, 1);
    fixture_settle(s->f);
    const Wire__Assign *assign = peer_expect_past(s->members[0].peer, FRAME_ASSIGN);
    cr_assert_eq(assign->n_revoked, 1);
    uint64_t revoked = assign->revoked[0];
    cr_assert_eq(
        ((const Wire__Listening *)peer_expect_past(s->members[1].peer, FRAME_LISTENING))->n_partitions, 0);
    fixture_run(s->f, 3000000);
    cr_assert_not(peer_has_frame(s->members[1].peer, FRAME_ASSIGN), "its owner has not released it");
    s->members[1].listening = true;
    release(s, 0, &revoked, 1);
    fixture_settle(s->f);
    cr_assert(peer_has_frame(s->members[1].peer, FRAME_ASSIGN));
    stage_destroy(s);
}

Test(crew, the_new_owner_starts_after_what_the_old_one_committed_before_it_released)
{
    struct stage *s = stage_make(2);
    for (int i = 0; i < 10; i++)
        for (uint32_t p = 0; p < 2; p++)
            peer_emit_one(s->p, (struct batch_spec){.partition = s->first + p});
    member_join(s, 0);
    settle(s);
    member_join(s, 1);
    fixture_settle(s->f);
    struct peer *old = s->members[0].peer;
    uint64_t revoked = ((const Wire__Assign *)peer_expect_past(old, FRAME_ASSIGN))->revoked[0];
    peer_expect_past(s->members[1].peer, FRAME_LISTENING);
    peer_commit(old, 1, 1, s->members[0].generation, revoked, 7);
    release(s, 0, &revoked, 1); /* in the same turn: the commit is not durable yet */
    fixture_turn(s->f);
    cr_assert_not(peer_has_frame(s->members[1].peer, FRAME_ASSIGN), "not before the commit is durable");
    fixture_settle(s->f);
    const Wire__Assign *assign = peer_expect_past(s->members[1].peer, FRAME_ASSIGN);
    cr_assert_eq(assign->added[0]->partition, revoked);
    cr_assert_eq(assign->added[0]->next, 7);
    stage_destroy(s);
}

Test(crew, a_commit_for_a_partition_that_was_released_is_fenced)
{
    struct stage *s = stage_make(2);
    peer_emit_one(s->p, (struct batch_spec){.partition = s->first});
    peer_emit_one(s->p, (struct batch_spec){.partition = s->first + 1});
    member_join(s, 0);
    settle(s);
    member_join(s, 1);
    settle(s);
    uint64_t lost = s->owner[0] == 1 ? s->first : s->first + 1;
    struct peer *old = s->members[0].peer;
    peer_commit(old, 9, 1, s->members[0].generation, lost, 1);
    fixture_settle(s->f);
    const Wire__Committed *committed = peer_expect_past(old, FRAME_COMMITTED);
    cr_assert_eq(committed->code, WIRE_CRIER_EFENCED);
    stage_destroy(s);
}

Test(crew, a_read_for_a_partition_that_is_revoked_does_not_keep_the_others_waiting)
{
    struct fixture *f = fixture_create();
    f->store_options.read = (struct store_memory_delay){5000, 5000};
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    uint64_t first = peer_topic(p, "orders", 2);
    for (uint32_t i = 0; i < 2; i++)
        peer_emit_one(p, (struct batch_spec){.partition = first + i});
    struct listen_spec join = {
        .id = 1, .topic = "orders", .group = "g", .from = WIRE__FROM__EARLIEST, .credit = 1};
    peer_listen(peer_welcome(f), &join);
    fixture_settle(f);  /* the group has its first positions: who joins now does so at once */
    fixture_restart(f); /* and events have to be read */
    struct peer *member = peer_welcome(f), *newcomer = peer_welcome(f);
    peer_listen(member, &join);
    fixture_turn(f); /* all of its credit is promised to a read */
    peer_expect(member, FRAME_LISTENING);
    join.credit = 0;
    peer_listen(newcomer, &join);
    fixture_turn(f);
    uint64_t revoked = ((const Wire__Assign *)peer_expect(member, FRAME_ASSIGN))->revoked[0];
    fixture_settle(f);
    const Wire__Deliver *deliver = peer_expect(member, FRAME_DELIVER);
    cr_assert_eq(deliver->partition, revoked == first ? first + 1 : first);
    fixture_destroy(f);
}

Test(crew, whose_connection_is_being_closed_has_left)
{
    struct stage *s = stage_make(2);
    member_join(s, 0);
    member_join(s, 1);
    settle(s);
    cr_assert_eq(owned(s, 1), 1);
    peer_send(s->members[0].peer, FRAME_WELCOME, NULL); /* not a client's to send: ERROR, and the end */
    fixture_settle(s->f);
    peer_expect_past(s->members[0].peer, FRAME_ERROR);
    for (uint32_t i = 0; i < 2; i++)
        s->owner[i] = s->owner[i] == 0 ? -1 : s->owner[i];
    s->members[0].peer = NULL; /* never closed: its last bytes are on their way */
    settle(s);
    cr_assert_eq(owned(s, 1), 2);
    stage_destroy(s);
}

Test(crew, a_member_that_keeps_what_it_was_asked_for_is_ended)
{
    struct stage *s = stage_make(2);
    member_join(s, 0);
    settle(s);
    member_join(s, 1);
    fixture_settle(s->f);
    Wire__Ping ping = WIRE__PING__INIT;
    for (int i = 0; i < 12; i++) { /* it lives, it only does not release */
        peer_send(s->members[0].peer, FRAME_PING, &ping.base);
        peer_send(s->members[1].peer, FRAME_PING, &ping.base);
        fixture_run(s->f, 1000000);
    }
    cr_assert(peer_has_frame(s->members[0].peer, FRAME_ENDED));
    cr_assert(peer_has_frame(s->members[1].peer, FRAME_ASSIGN), "the other has it now");
    stage_destroy(s);
}

/* A slow line with deliveries in front: so many seconds, of which in each a little goes out. */
static void slow_line(struct stage *s, struct peer *peer, int seconds, size_t bytes)
{
    Wire__Ping ping = WIRE__PING__INIT;
    for (int i = 0; i < seconds; i++) {
        peer_send(peer, FRAME_PING, &ping.base);
        peer_send(s->members[1].peer, FRAME_PING, &ping.base);
        if (bytes)
            core_connection_sent(peer->connection, bytes);
        peer->unsent -= bytes;
        fixture_run(s->f, 1000000);
    }
}

Test(crew, a_member_has_the_session_timeout_from_when_the_assign_has_left)
{
    struct stage *s = stage_make(2);
    member_join(s, 0);
    settle(s);
    struct peer *slow = s->members[0].peer;
    slow->holds = true;
    member_join(s, 1);
    fixture_settle(s->f);
    slow_line(s, slow, 15, 1);
    cr_assert_not(peer_has_frame(slow, FRAME_ENDED), "it cannot know yet");
    peer_release(slow);
    slow_line(s, slow, 9, 0);
    cr_assert_not(peer_has_frame(slow, FRAME_ENDED));
    slow_line(s, slow, 3, 0);
    cr_assert(peer_has_frame(slow, FRAME_ENDED));
    stage_destroy(s);
}

Test(crew, a_member_that_reads_nothing_has_it_from_when_it_was_asked)
{
    struct stage *s = stage_make(2);
    member_join(s, 0);
    settle(s);
    s->members[0].peer->holds = true;
    member_join(s, 1);
    fixture_settle(s->f);
    slow_line(s, s->members[0].peer, 12, 0);
    cr_assert(peer_has_frame(s->members[0].peer, FRAME_ENDED));
    cr_assert(peer_has_frame(s->members[1].peer, FRAME_ASSIGN), "the other has it now");
    stage_destroy(s);
}

Test(crew, a_silent_member_loses_its_partitions_after_the_session_timeout)
{
    struct stage *s = stage_make(2);
    member_join(s, 0);
    settle(s);
    member_join(s, 1);
    settle(s);
    Wire__Ping ping = WIRE__PING__INIT;
    for (int i = 0; i < 11; i++) {
        peer_send(s->members[1].peer, FRAME_PING, &ping.base);
        fixture_run(s->f, 1000000);
    }
    cr_assert(peer_has_frame(s->members[0].peer, FRAME_ENDED));
    cr_assert(peer_has_frame(s->members[1].peer, FRAME_ASSIGN));
    stage_destroy(s);
}

Test(crew, whatever_comes_and_goes_a_partition_has_one_owner_and_shares_are_even)
{
    struct random random = random_seeded(42);
    for (int run = 0; run < 12; run++) {
        struct stage *s = stage_make(1 + (uint32_t)random_below(&random, 20));
        for (int step = 0; step < 60; step++) {
            int who = (int)random_below(&random, 10);
            if (!s->members[who].peer)
                member_join(s, who);
            else if (random_below(&random, 2))
                member_leave(s, who);
            else
                member_read(s, who); /* some answer early, others late */
            if (random_below(&random, 3) == 0)
                fixture_settle(s->f);
            if (random_below(&random, 8) == 0) {
                settle(s);
                assert_even(s);
            }
        }
        settle(s);
        assert_even(s);
        stage_destroy(s);
    }
}

Test(crew, a_hundred_members_of_a_hundred_partitions_settle_with_few_moves)
{
    struct stage *s = stage_make(100);
    for (int who = 0; who < 100; who++)
        member_join(s, who);
    settle(s);
    assert_even(s);
    uint64_t before = s->moves;
    for (int who = 0; who < 50; who++)
        member_leave(s, who);
    settle(s);
    assert_even(s);
    cr_assert_leq(s->moves - before, 60, "at least 50 partitions had to move: %llu did",
                  (unsigned long long)(s->moves - before));
    stage_destroy(s);
}

/* The least that makes shares even again moved, whatever came or went: counted, not timed (tests/torture/group_storm.c
 * does that, on real sockets). gain() sees to it that no partition has two owners. */
Test(crew, a_thousand_members_of_a_thousand_partitions_move_no_more_than_they_must)
{
    struct stage *s = stage_make(1000);
    for (int who = 0; who < 100; who++) { /* one by one */
        uint64_t before = s->moves;
        member_join(s, who);
        settle(s);
        cr_assert_eq(s->moves - before, 1000 / (unsigned)(who + 1), "only the newcomer's share moved");
    }
    for (int who = 100; who < 1000; who++) /* all at once */
        member_join(s, who);
    uint64_t before = s->moves;
    settle(s);
    assert_even(s);
    cr_assert_eq(s->moves - before, 900, "each of 900 newcomers gets one");
    before = s->moves;
    for (int who = 0; who < 1000; who += 2)
        member_leave(s, who);
    settle(s);
    assert_even(s);
    cr_assert_eq(s->moves - before, 500, "what the leavers had");
    before = s->moves;
    for (int who = 0; who < 1000; who += 2)
        member_join(s, who);
    settle(s);
    assert_even(s);
    cr_assert_eq(s->moves - before, 500, "what the others have too much");
    stage_destroy(s);
}
