/* test_core_shared_time.c: many leases of shared groups that run out at once: a turn takes a part of them. What is counted is
 * work, not time. */
#include "tests/unit/shared_rig.h"

#include <criterion/criterion.h>

#define LEASES     100000u
#define PARTITIONS 16u
#define BATCH      50u
#define MEMBERS    25u
#define LEASE_MS   5000u
#define TURN_MAX   4096u /* of them in a turn */

struct stage {
    struct fixture *f;
    struct peer *p;
    uint64_t partition;
    struct rig_member *members[MEMBERS];
};

struct leases {
    uint64_t leased, retries;
};

static struct leases described(const struct stage *s)
{
    struct leases leases = {0};
    Wire__GroupDescribe describe = WIRE__GROUP_DESCRIBE__INIT;
    describe.request = 99;
    describe.name = (char *)"g";
    describe.topic = (char *)"orders";
    peer_send(s->p, FRAME_GROUP_DESCRIBE, &describe.base);
    fixture_settle(s->f);
    const Wire__Groups *groups = peer_expect_past(s->p, FRAME_GROUPS);
    cr_assert_eq(groups->code, 0);
    for (size_t i = 0; i < groups->groups[0]->n_partitions; i++) {
        leases.leased += groups->groups[0]->partitions[i]->leased;
        leases.retries += groups->groups[0]->partitions[i]->retries;
    }
    return leases;
}

/* All are leased, and their time is over, but no turn has come since. */
static struct stage stage_make(void)
{
    struct stage s = {.f = fixture_create()};
    fixture_start(s.f);
    s.p = peer_welcome(s.f);
    s.partition = peer_topic(s.p, "orders", PARTITIONS);
    for (uint32_t i = 0; i < LEASES / BATCH; i++)
        rig_emit_plain(s.p, s.partition + i % PARTITIONS, i, BATCH);
    for (uint32_t i = 0; i < MEMBERS; i++)
        s.members[i] = rig_join(
            s.f,
            &(struct rig_listen){.topic = "orders", .group = "g", .in_flight = 4096, .lease_ms = LEASE_MS});
    cr_assert_eq(described(&s).leased, LEASES);
    cr_assert_eq(fixture_stats(s.f).run_out, 0);
    return s;
}

static void time_passes(struct stage *s)
{
    s->f->mono_us += LEASE_MS * INT64_C(1000);
    s->f->wall_us += LEASE_MS * INT64_C(1000);
}

/* A turn in which nothing has come; when the next one is due. */
static int64_t lone_turn(struct stage *s)
{
    core_turn_begin(s->f->core, s->f->mono_us, s->f->wall_us);
    return core_turn_end(s->f->core);
}

static void stage_end(struct stage *s)
{
    for (size_t i = 0; i < MEMBERS; i++)
        rig_free(s->members[i]);
    fixture_destroy(s->f);
}

Test(shared_time, leases_that_run_out_at_once_are_taken_over_several_turns)
{
    struct stage s = stage_make();
    time_passes(&s);
    uint64_t before = 0;
    for (size_t turn = 0; before < LEASES; turn++) {
        cr_assert_lt(turn, LEASES / TURN_MAX + 1, "it goes on for ever");
        int64_t due_us = lone_turn(&s);
        uint64_t now = fixture_stats(s.f).run_out;
        cr_assert_gt(now, before);
        cr_assert_leq(now - before, TURN_MAX, "%lu in turn %zu", (unsigned long)(now - before), turn);
        cr_assert(now == LEASES || due_us <= s.f->mono_us, "the rest has to wait");
        before = now;
    }
    fixture_settle(s.f);
    struct leases leases = described(&s);
    cr_assert_eq(leases.leased, 0);
    cr_assert_eq(leases.retries, LEASES);
    stage_end(&s);
}

Test(shared_time, while_the_store_has_no_room_they_wait_and_no_turn_is_due_for_them)
{
    struct stage s = stage_make();
    struct batch_spec lone = {.partition = s.partition};
    uint64_t entries, emits = 0;
    do { /* it finishes nothing meanwhile */
        entries = fixture_stats(s.f).entries_in_flight;
        peer_emit(s.p, &lone, 1);
        emits++;
        fixture_turn(s.f);
    } while (fixture_stats(s.f).entries_in_flight > entries);
    time_passes(&s);
    for (size_t turn = 0; turn < 10; turn++) {
        int64_t due_us = lone_turn(&s);
        cr_assert_eq(fixture_stats(s.f).run_out, TURN_MAX, "turn %zu", turn);
        cr_assert_gt(due_us, s.f->mono_us, "it turns without getting anywhere");
    }
    fixture_settle(s.f);
    cr_assert_eq(fixture_stats(s.f).run_out, LEASES);
    for (; emits > 0; emits--)
        cr_assert_eq(peer_outcome(s.p).outcome, WIRE__OUTCOME__OK);
    cr_assert_eq(described(&s).retries, LEASES);
    stage_end(&s);
}
