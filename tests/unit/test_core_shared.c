/* test_core_shared.c: shared groups: each event is one member's at a time and is settled by itself, durably. Failing, dying and
 * coming back are in test_core_shared_retry.c; the order of keys in test_core_shared_keys.c. */
#include "tests/unit/shared_rig.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

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

static const struct rig_listen plain = {.topic = "orders", .group = "g"};

static const Wire__GroupPartition *described(struct stage s)
{
    Wire__GroupDescribe describe = WIRE__GROUP_DESCRIBE__INIT;
    describe.request = 99;
    describe.name = (char *)"g";
    describe.topic = (char *)"orders";
    peer_send(s.p, FRAME_GROUP_DESCRIBE, &describe.base);
    fixture_settle(s.f);
    const Wire__Groups *groups = peer_expect_past(s.p, FRAME_GROUPS);
    cr_assert_eq(groups->code, 0);
    return groups->groups[0]->partitions[0];
}

Test(shared, more_members_than_partitions_all_get_events)
{
    struct stage s = stage_make(1);
    struct rig_member *m[4];
    for (size_t i = 0; i < 4; i++)
        m[i] = rig_join(s.f, &plain);
    rig_emit_plain(s.p, s.partition, 0, 40);
    size_t sum = 0;
    bool seen[40] = {false};
    for (size_t i = 0; i < 4; i++) {
        rig_take(m[i]);
        cr_assert_eq(m[i]->got_count, 10, "member %zu got %zu", i, m[i]->got_count);
        for (size_t k = 0; k < m[i]->got_count; k++) {
            cr_assert_not(seen[m[i]->got[k].value], "nothing is leased to two");
            seen[m[i]->got[k].value] = true;
            cr_assert_eq(m[i]->got[k].attempt, 1);
        }
        sum += m[i]->got_count;
    }
    cr_assert_eq(sum, 40);
    for (size_t i = 0; i < 4; i++)
        rig_free(m[i]);
    fixture_destroy(s.f);
}

Test(shared, an_ack_is_answered_when_it_is_durable_and_never_delivered_again)
{
    struct stage s = stage_make(1);
    rig_emit_plain(s.p, s.partition, 0, 10);
    struct rig_member *m = rig_join(s.f, &plain);
    cr_assert_eq(m->got_count, 10);
    rig_ack_send(m, m->got, 4);
    rig_ack_send(m, &m->got[7], 1);
    fixture_run(s.f, FIXTURE_COMMIT_US - 1);
    rig_take(m);
    cr_assert_eq(m->settled_request, 0, "not before");
    fixture_run(s.f, 1);
    rig_take(m);
    cr_assert_eq(m->settled_request, 2);
    cr_assert_eq(m->settled_code, 0);
    const Wire__GroupPartition *partition = described(s);
    cr_assert_eq(partition->position, 4);
    cr_assert_eq(partition->done, 1);
    cr_assert_eq(partition->leased, 5);
    fixture_crash(s.f);
    struct rig_member *again = rig_join(s.f, &plain);
    cr_assert_eq(again->got_count, 5);
    for (size_t i = 0; i < 5; i++) {
        static const uint64_t left[] = {4, 5, 6, 8, 9};
        cr_assert_eq(again->got[i].offset, left[i]);
        cr_assert_eq(again->got[i].attempt, 1, "a restart forgets leases, not attempts");
    }
    rig_free(m);
    rig_free(again);
    fixture_destroy(s.f);
}

Test(shared, the_state_is_the_same_from_rows_alone)
{
    struct stage s = stage_make(1);
    rig_emit_plain(s.p, s.partition, 0, 10);
    struct rig_member *m = rig_join(s.f, &plain);
    cr_assert_eq(rig_ack(m, &m->got[3], 3), 0);
    cr_assert_eq(rig_nack(m, &m->got[8], 1, 3600000), 0);
    fixture_run(s.f, 3000000); /* a flush */
    fixture_crash(s.f);
    s.p = peer_welcome(s.f);
    const Wire__GroupPartition *partition = described(s);
    cr_assert_eq(partition->position, 0);
    cr_assert_eq(partition->done, 3);
    cr_assert_eq(partition->retries, 1);
    struct rig_member *again = rig_join(s.f, &plain);
    cr_assert_eq(again->got_count, 6, "0 1 2, 6 7, 9: %zu", again->got_count);
    rig_free(m);
    rig_free(again);
    fixture_destroy(s.f);
}

/* The rows of one table come in the order of groups, and those of the next table begin with the first group again. */
Test(shared, the_state_of_several_groups_is_loaded)
{
    static const char *const names[] = {"a", "b", "c"};
    struct stage s = stage_make(1);
    rig_emit_plain(s.p, s.partition, 0, 10);
    for (size_t i = 0; i < 3; i++) {
        struct rig_member *m = rig_join(s.f, &(struct rig_listen){.topic = "orders", .group = names[i]});
        cr_assert_eq(rig_ack(m, &m->got[3 + i], 1), 0);
        rig_free(m);
    }
    fixture_run(s.f, 3000000); /* a flush */
    fixture_crash(s.f);
    for (size_t i = 0; i < 3; i++) {
        struct rig_member *m = rig_join(s.f, &(struct rig_listen){.topic = "orders", .group = names[i]});
        cr_assert_eq(m->got_count, 9);
        cr_assert_eq(m->got[3 + i].offset, 4 + i, "what was done stays done");
        rig_free(m);
    }
    fixture_destroy(s.f);
}

Test(shared, a_member_has_no_more_in_flight_than_it_asked_for)
{
    struct stage s = stage_make(1);
    rig_emit_plain(s.p, s.partition, 0, 100);
    struct rig_member *m =
        rig_join(s.f, &(struct rig_listen){.topic = "orders", .group = "g", .in_flight = 7});
    cr_assert_eq(m->got_count, 7);
    cr_assert_eq(rig_ack(m, m->got, 3), 0);
    rig_take(m);
    cr_assert_eq(m->got_count, 10, "three more");
    cr_assert_eq(m->deliveries, 2);
    cr_assert_eq(m->held_deliveries, 1, "out of the batch it has");
    rig_free(m);
    fixture_destroy(s.f);
}

Test(shared, without_credit_nothing_is_leased)
{
    struct stage s = stage_make(1);
    rig_emit_plain(s.p, s.partition, 0, 5);
    rig_emit_plain(s.p, s.partition, 5, 5);
    struct rig_member *m = rig_join(s.f, &(struct rig_listen){.topic = "orders", .group = "g", .credit = 1});
    cr_assert_eq(m->got_count, 5, "one batch for a positive balance");
    cr_assert_eq(described(s)->leased, 5, "what was not sent is given back");
    peer_credit(m->peer, m->id, 1 << 20);
    fixture_settle(s.f);
    rig_take(m);
    cr_assert_eq(m->got_count, 10);
    rig_free(m);
    fixture_destroy(s.f);
}

Test(shared, what_a_member_gives_back_goes_to_others_at_the_same_attempt)
{
    struct stage s = stage_make(1);
    rig_emit_plain(s.p, s.partition, 0, 6);
    struct rig_member *a = rig_join(s.f, &plain), *b = rig_join(s.f, &plain);
    cr_assert_eq(a->got_count, 6);
    cr_assert_eq(b->got_count, 0);
    peer_unlisten(a->peer, a->id);
    fixture_settle(s.f);
    rig_take(b);
    cr_assert_eq(b->got_count, 6);
    cr_assert_eq(b->got[0].attempt, 1);
    rig_free(a);
    rig_free(b);
    fixture_destroy(s.f);
}

Test(shared, a_lost_member_keeps_its_leases_for_the_session_timeout)
{
    struct stage s = stage_make(1);
    rig_emit_plain(s.p, s.partition, 0, 6);
    struct rig_listen listen = plain;
    listen.session_timeout_ms = 2000;
    struct rig_member *a = rig_join(s.f, &listen), *b = rig_join(s.f, &plain);
    peer_close(a->peer);
    fixture_run(s.f, 1900000);
    rig_take(b);
    cr_assert_eq(b->got_count, 0);
    fixture_run(s.f, 200000 + 1000000 + FIXTURE_COMMIT_US);
    rig_take(b);
    cr_assert_eq(b->got_count, 6, "%zu", b->got_count);
    cr_assert_eq(b->got[0].attempt, 2, "it may have been the event that did it");
    rig_free(a);
    rig_free(b);
    fixture_destroy(s.f);
}

Test(shared, who_comes_back_goes_on_with_what_it_has_in_hand)
{
    for (int restart = 0; restart < 2; restart++) {
        struct stage s = stage_make(1);
        rig_emit_plain(s.p, s.partition, 0, 6);
        struct rig_member *a = rig_join(s.f, &plain);
        struct rig_listen again = plain;
        again.held = a->got;
        again.held_count = 6;
        if (restart)
            fixture_crash(s.f);
        else
            peer_close(a->peer);
        struct rig_member *c = rig_join(s.f, &again);
        cr_assert_eq(c->got_count, 0, "they are not delivered again");
        struct rig_member *b = rig_join(s.f, &plain);
        cr_assert_eq(b->got_count, 0, "nor to others");
        cr_assert_eq(rig_ack(c, a->got, 6), 0);
        cr_assert_eq(c->settled_refused, 0);
        s.p = peer_welcome(s.f);
        cr_assert_eq(described(s)->position, 6);
        rig_free(a);
        rig_free(b);
        rig_free(c);
        fixture_destroy(s.f);
    }
}

Test(shared, an_ack_counts_unless_a_later_attempt_is_leased)
{
    struct stage s = stage_make(1);
    rig_emit_plain(s.p, s.partition, 0, 2);
    struct rig_member *a =
        rig_join(s.f, &(struct rig_listen){.topic = "orders", .group = "g", .lease_ms = 1000});
    struct rig_event both[2] = {a->got[0], a->got[1]};
    fixture_run(s.f, 1100000); /* the lease is over: it waits for its next attempt */
    cr_assert_eq(rig_ack(a, &both[0], 1), 0);
    cr_assert_eq(a->settled_refused, 0, "late, and nobody has it");
    fixture_run(s.f, 1100000);
    rig_take(a);
    cr_assert_eq(a->got_count, 3);
    cr_assert_eq(a->got[2].offset, 1);
    cr_assert_eq(a->got[2].attempt, 2);
    cr_assert_eq(rig_ack(a, &both[1], 1), 0);
    cr_assert_eq(a->settled_refused, 1, "the second attempt is out");
    cr_assert_eq(rig_ack(a, &a->got[2], 1), 0);
    cr_assert_eq(a->settled_refused, 0);
    cr_assert_eq(rig_ack(a, &both[1], 1), 0);
    cr_assert_eq(a->settled_refused, 0, "it is done: nobody gets it again");
    rig_free(a);
    fixture_destroy(s.f);
}

Test(shared, a_lease_can_be_extended_by_who_has_it)
{
    struct stage s = stage_make(1);
    rig_emit_plain(s.p, s.partition, 0, 1);
    struct rig_listen listen = plain;
    listen.lease_ms = 1000;
    struct rig_member *a = rig_join(s.f, &listen), *b = rig_join(s.f, &listen);
    fixture_run(s.f, 900000);
    cr_assert_eq(rig_extend(a, a->got, 1, 5000), 0);
    cr_assert_eq(a->settled_refused, 0);
    cr_assert_eq(rig_extend(b, a->got, 1, 5000), 0);
    cr_assert_eq(b->settled_refused, 1, "not by others");
    fixture_run(s.f, 4000000);
    cr_assert_eq(rig_ack(a, a->got, 1), 0);
    cr_assert_eq(a->settled_refused, 0);
    cr_assert_eq(described(s)->position, 1);
    rig_free(a);
    rig_free(b);
    fixture_destroy(s.f);
}

Test(shared, what_a_full_disk_refuses_does_not_count)
{
    struct stage s = stage_make(1);
    rig_emit_plain(s.p, s.partition, 0, 3);
    struct rig_member *m = rig_join(s.f, &plain);
    store_memory_fault_full(s.f->store, true);
    cr_assert_eq(rig_ack(m, m->got, 2), WIRE_CRIER_EFULL);
    store_memory_fault_full(s.f->store, false);
    cr_assert_eq(described(s)->position, 0);
    cr_assert_eq(described(s)->leased, 3);
    cr_assert_eq(rig_ack(m, m->got, 3), 0);
    cr_assert_eq(described(s)->position, 3);
    rig_free(m);
    fixture_destroy(s.f);
}

/* Like a reactor that finds frames and a completion in one turn: the entry that gathers goes with the one that was refused. */
static void store_done_in_turn(struct fixture *f)
{
    f->mono_us += FIXTURE_COMMIT_US;
    f->wall_us += FIXTURE_COMMIT_US;
    store_memory_advance(f->store, f->mono_us);
    (void)f->store->ops->poll(f->store, UINT_MAX);
}

Test(shared, what_went_with_a_refused_entry_is_not_waited_for)
{
    struct stage s = stage_make(1);
    rig_emit_plain(s.p, s.partition, 0, 3);
    store_memory_fault_full(s.f->store, true);
    peer_emit(s.p, &(struct batch_spec){.partition = s.partition}, 1);
    fixture_turn(s.f);
    Wire__Listen listen = WIRE__LISTEN__INIT;
    listen.listener = 1;
    listen.topic = (char *)"orders";
    listen.group = (char *)"g";
    listen.kind = WIRE__GROUP_KIND__SHARED;
    peer_send(s.p, FRAME_LISTEN, &listen.base); /* its kind is in the entry that gathers */
    store_done_in_turn(s.f);
    listen.listener = 2;
    listen.kind = WIRE__GROUP_KIND__ORDERED;
    peer_send(s.p, FRAME_LISTEN, &listen.base);
    store_memory_fault_full(s.f->store, false);
    fixture_settle(s.f);
    cr_assert_eq(((const Wire__Ended *)peer_expect_anywhere(s.p, FRAME_ENDED))->code, WIRE_CRIER_EFULL);
    cr_assert_eq(((const Wire__Listening *)peer_expect_anywhere(s.p, FRAME_LISTENING))->listener, 2);
    fixture_destroy(s.f);
}

/* It says so of an earlier copy, and the disk is full; what it is leased meanwhile is still being read. */
static void refused_while_read(struct rig_member *m, const struct rig_event *again, size_t count,
                               const struct rig_event *last)
{
    struct fixture *f = m->peer->fixture;
    store_memory_fault_full(f->store, true);
    rig_nack_send(m, again, count, 0);
    fixture_run(f, 2 * FIXTURE_COMMIT_US); /* refused, and leased to it again */
    rig_nack_send(m, last, 1, 0);
    fixture_run(f, 2 * FIXTURE_COMMIT_US); /* refused, too */
    store_memory_fault_full(f->store, false);
    fixture_settle(f);
}

Test(shared, what_others_may_get_is_not_sent_any_more)
{
    struct fixture *f = fixture_create();
    f->store_options.read = (struct store_memory_delay){10 * FIXTURE_COMMIT_US, 10 * FIXTURE_COMMIT_US};
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    uint64_t partition = peer_topic(p, "orders", 1);
    for (long i = 0; i < 4; i++)
        rig_emit_plain(p, partition, i, 1);
    fixture_restart(f); /* nothing is cached */
    struct rig_member *a = rig_join(f, &plain);
    fixture_settle(f);
    rig_take(a);
    cr_assert_eq(a->got_count, 4);
    refused_while_read(a, a->got, 3, &a->got[1]);
    rig_take(a);
    cr_assert_eq(a->got_count, 7, "each of the three once again, and not %zu", a->got_count - 4);
    const uint64_t order[] = {0, 2, 1};
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(a->got[4 + i].offset, order[i]);
        cr_assert_eq(a->got[4 + i].attempt, 1);
    }
    struct rig_member *b = rig_join(f, &plain);
    refused_while_read(a, a->got, 1, &a->got[0]);
    rig_take(a);
    rig_take(b);
    cr_assert_eq(b->got_count, 1);
    cr_assert_eq(b->got[0].offset, 0);
    cr_assert_eq(b->got[0].attempt, 1);
    cr_assert_eq(a->got_count, 7, "it is the other's");
    cr_assert_eq(rig_ack(a, &a->got[1], 3), 0);
    cr_assert_eq(rig_ack(b, b->got, 1), 0);
    p = peer_welcome(f);
    for (long i = 4; i < 8; i++)
        rig_emit_plain(p, partition, i, 1);
    fixture_settle(f);
    rig_take(a);
    rig_take(b);
    cr_assert_eq(a->got_count, 9, "and it goes on");
    cr_assert_eq(b->got_count, 3);
    rig_free(a);
    rig_free(b);
    fixture_destroy(f);
}

/* Found by the simulator: the member had one event more in flight than it wanted. */
Test(shared, what_is_said_to_be_done_is_not_sent_again_although_the_disk_is_full)
{
    struct fixture *f = fixture_create();
    f->store_options.read = (struct store_memory_delay){10 * FIXTURE_COMMIT_US, 10 * FIXTURE_COMMIT_US};
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    uint64_t partition = peer_topic(p, "orders", 1);
    rig_emit_plain(p, partition, 0, 1);
    rig_emit_plain(p, partition, 1, 1);
    fixture_restart(f); /* nothing is cached */
    struct rig_member *a = rig_join(f, &plain);
    fixture_settle(f);
    rig_take(a);
    cr_assert_eq(a->got_count, 2);
    store_memory_fault_full(f->store, true);
    rig_nack_send(a, a->got, 1, 0);
    fixture_run(f, 2 * FIXTURE_COMMIT_US); /* refused, leased to it again, and being read */
    rig_ack_send(a, a->got, 1);
    fixture_run(f, 2 * FIXTURE_COMMIT_US); /* refused, too */
    store_memory_fault_full(f->store, false);
    fixture_run(f, 50 * FIXTURE_COMMIT_US);
    rig_take(a);
    cr_assert_eq(a->got_count, 2, "it has said that it is done");
    cr_assert_eq(rig_ack(a, a->got, 2), 0, "and may say so again");
    rig_free(a);
    fixture_destroy(f);
}

Test(shared, a_group_does_not_change_its_kind_under_its_members)
{
    struct stage s = stage_make(1);
    struct rig_member *a = rig_join(s.f, &plain);
    cr_assert_eq(a->ended, 1);
    struct rig_listen other = plain;
    other.kind = WIRE__GROUP_KIND__KEY_ORDERED;
    struct rig_member *b = rig_join(s.f, &other);
    cr_assert_eq(b->ended, WIRE_CRIER_EINVAL);
    peer_unlisten(a->peer, a->id);
    fixture_settle(s.f);
    rig_listen(b, &other);
    cr_assert_eq(b->ended, 1, "nobody is in it any more");
    struct rig_listen ordered = plain;
    ordered.ordered = true;
    struct rig_member *c = rig_join(s.f, &ordered);
    cr_assert_eq(c->ended, WIRE_CRIER_EINVAL, "and never back to one position");
    rig_free(a);
    rig_free(b);
    rig_free(c);
    fixture_destroy(s.f);
}

Test(shared, what_retention_takes_is_done_for_the_group)
{
    struct stage s = stage_make(1);
    for (long i = 0; i < 10; i++)
        rig_emit_plain(s.p, s.partition, i, 1);
    struct rig_member *m =
        rig_join(s.f, &(struct rig_listen){.topic = "orders", .group = "g", .in_flight = 2});
    cr_assert_eq(m->got_count, 2);
    Wire__Position position = WIRE__POSITION__INIT;
    Wire__Position *positions[] = {&position};
    position.offset = 7;
    Wire__TopicTrim trim = WIRE__TOPIC_TRIM__INIT;
    trim.request = 5;
    trim.name = (char *)"orders";
    trim.positions = positions;
    trim.n_positions = 1;
    peer_send(s.p, FRAME_TOPIC_TRIM, &trim.base);
    fixture_settle(s.f);
    cr_assert_eq(((const Wire__Topics *)peer_expect_past(s.p, FRAME_TOPICS))->code, 0);
    cr_assert_eq(rig_ack(m, m->got, 2), 0);
    fixture_settle(s.f);
    rig_take(m);
    cr_assert_eq(m->got_count, 4);
    cr_assert_eq(m->got[2].offset, 7);
    fixture_run(s.f, 1000000);
    cr_assert_eq(described(s)->position, 7);
    rig_free(m);
    fixture_destroy(s.f);
}

Test(shared, events_that_are_not_cached_are_read)
{
    struct stage s = stage_make(2);
    for (long i = 0; i < 50; i++)
        rig_emit_plain(s.p, s.partition + (uint64_t)(i % 2), i, 3);
    fixture_restart(s.f);
    struct rig_member *m = rig_join(s.f, &plain);
    fixture_settle(s.f);
    rig_take(m);
    cr_assert_eq(m->got_count, 150);
    cr_assert_gt(fixture_stats(s.f).reads, 0);
    cr_assert_eq(rig_ack(m, m->got, 150), 0);
    cr_assert_eq(m->settled_refused, 0);
    rig_free(m);
    fixture_destroy(s.f);
}

Test(shared, holes_are_capped_and_then_filled_first)
{
    struct stage s = stage_make(1);
    for (long i = 0; i < 80; i++)
        rig_emit_plain(s.p, s.partition, i * 250, 250);
    struct rig_member *m =
        rig_join(s.f, &(struct rig_listen){.topic = "orders", .group = "g", .in_flight = 4096});
    struct rig_event *first = calloc(1, sizeof(*first));
    *first = m->got[0];
    size_t handled = 1; /* every second one is left open */
    bool more = true;
    while (more) {
        struct rig_event *batch = calloc(4096, sizeof(*batch));
        size_t count = 0;
        rig_take(m);
        for (; handled < m->got_count && count < 2000; handled++)
            if (m->got[handled].offset % 2)
                batch[count++] = m->got[handled];
        more = count > 0;
        if (more)
            cr_assert_eq(rig_ack(m, batch, count), 0);
        free(batch);
    }
    const Wire__GroupPartition *partition = described(s);
    cr_assert_eq(partition->position, 0);
    cr_assert_leq(partition->leased, 4096);
    cr_assert_leq(partition->leased + partition->done, 8192 + 1);
    cr_assert_eq(rig_ack(m, first, 1), 0);
    cr_assert_eq(described(s)->position, 2);
    free(first);
    rig_free(m);
    fixture_destroy(s.f);
}

Test(shared, leases_that_make_no_sense_are_refused)
{
    struct stage s = stage_make(1);
    rig_emit_plain(s.p, s.partition, 0, 1);
    struct rig_member *m = rig_join(s.f, &plain);
    struct rig_event wrong = m->got[0];
    wrong.attempt = 0;
    cr_assert_eq(rig_ack(m, &wrong, 1), WIRE_CRIER_EINVAL);
    wrong = m->got[0];
    wrong.partition = 77;
    cr_assert_eq(rig_ack(m, &wrong, 1), WIRE_CRIER_EINVAL);
    wrong = m->got[0];
    wrong.offset = 12345;
    cr_assert_eq(rig_ack(m, &wrong, 1), 0);
    cr_assert_eq(m->settled_refused, 1);
    uint32_t id = m->id;
    m->id = 9;
    cr_assert_eq(rig_ack(m, m->got, 1), WIRE_CRIER_EFENCED);
    m->id = id;
    cr_assert_eq(rig_ack(m, m->got, 1), 0);
    rig_free(m);
    fixture_destroy(s.f);
}

/* Each of them is told by itself, with a count that the question need not have. */
Test(shared, as_many_as_may_be_asked_for_can_be_refused)
{
    struct stage s = stage_make(1);
    struct rig_member *m = rig_join(s.f, &plain);
    struct rig_event *none = calloc(4096, sizeof(*none));
    for (uint64_t i = 0; i < 4096; i++)
        none[i] =
            (struct rig_event){.partition = s.partition, .offset = (UINT64_C(1) << 50) + 2 * i, .attempt = 1};
    cr_assert_eq(rig_ack(m, none, 4096), 0);
    cr_assert_eq(m->settled_refused, 4096);
    free(none);
    rig_free(m);
    fixture_destroy(s.f);
}

Test(shared, a_topic_and_a_group_can_be_deleted_with_all_they_have)
{
    struct stage s = stage_make(1);
    rig_emit_plain(s.p, s.partition, 0, 20);
    struct rig_member *m = rig_join(s.f, &plain);
    cr_assert_eq(rig_ack(m, &m->got[5], 2), 0);
    cr_assert_eq(rig_nack(m, &m->got[9], 1, 100000), 0);
    rig_ack_send(m, &m->got[12], 1); /* on its way */
    Wire__TopicDelete delete = WIRE__TOPIC_DELETE__INIT;
    delete.request = 5;
    delete.name = (char *)"orders";
    peer_send(s.p, FRAME_TOPIC_DELETE, &delete.base);
    fixture_settle(s.f);
    cr_assert_eq(((const Wire__Topics *)peer_expect_past(s.p, FRAME_TOPICS))->code, 0);
    rig_take(m);
    cr_assert_eq(m->ended, WIRE_CRIER_ENOTOPIC);
    fixture_run(s.f, 3000000);
    fixture_crash(s.f);
    s.p = peer_welcome(s.f);
    s.partition = peer_topic(s.p, "orders", 1);
    rig_emit_plain(s.p, s.partition, 0, 3);
    rig_free(m);
    m = rig_join(s.f, &plain);
    cr_assert_eq(m->got_count, 3);
    rig_free(m);
    fixture_destroy(s.f);
}
