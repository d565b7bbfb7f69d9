/* test_core_group_admin.c: groups for people: listed, described, sought and deleted. */
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
    for (int64_t i = 0; i < 10; i++)
        assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition}), i);
    return s;
}

static const Wire__Listening *join(struct peer *p, const char *group)
{
    peer_listen(
        p, &(struct listen_spec){.id = 1, .topic = "orders", .group = group, .from = WIRE__FROM__EARLIEST});
    fixture_settle(p->fixture);
    return peer_expect(p, FRAME_LISTENING);
}

static const Wire__Groups *groups_list(struct peer *p, const char *after, uint32_t limit)
{
    Wire__GroupList list = WIRE__GROUP_LIST__INIT;
    list.request = 1;
    list.after = (char *)after;
    list.limit = limit;
    peer_send(p, FRAME_GROUP_LIST, &list.base);
    fixture_settle(p->fixture);
    return peer_expect_beyond_credit(p, FRAME_GROUPS);
}

static const Wire__Groups *describe(struct peer *p, const char *name)
{
    Wire__GroupDescribe message = WIRE__GROUP_DESCRIBE__INIT;
    message.request = 2;
    message.name = (char *)name;
    message.topic = (char *)"orders";
    peer_send(p, FRAME_GROUP_DESCRIBE, &message.base);
    fixture_settle(p->fixture);
    return peer_expect_beyond_credit(p, FRAME_GROUPS);
}

static int seek_code(struct peer *p, const char *name, uint64_t partition, uint64_t offset)
{
    Wire__Position position = WIRE__POSITION__INIT, *positions = &position;
    position.partition = partition;
    position.offset = offset;
    Wire__GroupSeek message = WIRE__GROUP_SEEK__INIT;
    message.request = 3;
    message.name = (char *)name;
    message.topic = (char *)"orders";
    message.positions = &positions;
    message.n_positions = 1;
    peer_send(p, FRAME_GROUP_SEEK, &message.base);
    fixture_settle(p->fixture);
    return ((const Wire__Groups *)peer_expect_beyond_credit(p, FRAME_GROUPS))->code;
}

static int delete_code(struct peer *p, const char *name)
{
    Wire__GroupDelete message = WIRE__GROUP_DELETE__INIT;
    message.request = 4;
    message.name = (char *)name;
    peer_send(p, FRAME_GROUP_DELETE, &message.base);
    fixture_settle(p->fixture);
    return ((const Wire__Groups *)peer_expect_beyond_credit(p, FRAME_GROUPS))->code;
}

Test(group_admin, groups_are_listed_by_name_in_pieces)
{
    struct stage s = stage_make();
    static const char *const names[] = {"email", "analytics", "inventory"};
    for (size_t i = 0; i < 3; i++)
        join(peer_welcome(s.f), names[i]);
    const Wire__Groups *groups = groups_list(s.p, "", 2);
    cr_assert_eq(groups->n_groups, 2);
    cr_assert(groups->more);
    cr_assert_str_eq(groups->groups[0]->name, "analytics");
    cr_assert_eq(groups->groups[0]->members, 1);
    groups = groups_list(s.p, "email", 2);
    cr_assert_eq(groups->n_groups, 1);
    cr_assert_not(groups->more);
    cr_assert_str_eq(groups->groups[0]->name, "inventory");
    fixture_destroy(s.f);
}

Test(group_admin, a_description_tells_position_end_and_owner)
{
    struct stage s = stage_make();
    struct peer *m = peer_welcome(s.f);
    join(m, "g");
    const Wire__Groups *groups = describe(s.p, "g");
    cr_assert_eq(groups->code, 0);
    cr_assert_eq(groups->groups[0]->n_partitions, 2);
    cr_assert_eq(groups->groups[0]->n_topics, 1);
    cr_assert_str_eq(groups->groups[0]->topics[0], "orders");
    const Wire__GroupPartition *partition = groups->groups[0]->partitions[0];
    cr_assert(partition->has_position);
    cr_assert_eq(partition->position, 0);
    cr_assert_eq(partition->high_watermark, 10);
    cr_assert_eq(describe(s.p, "nobody")->code, WIRE_CRIER_EINVAL);
    fixture_destroy(s.f);
}

Test(group_admin, a_seek_moves_a_position_both_ways_and_survives_a_crash)
{
    struct stage s = stage_make();
    struct peer *m = peer_welcome(s.f);
    join(m, "g");
    cr_assert_eq(seek_code(s.p, "g", s.partition, 8), WIRE_CRIER_EBUSY, "not while somebody stands on it");
    peer_close(m);
    cr_assert_eq(seek_code(s.p, "g", s.partition, 8), 0);
    cr_assert_eq(describe(s.p, "g")->groups[0]->partitions[0]->position, 8);
    cr_assert_eq(seek_code(s.p, "g", s.partition, 3), 0);
    cr_assert_eq(seek_code(s.p, "g", s.partition, 11), WIRE_CRIER_EINVAL, "beyond the end");
    fixture_crash(s.f);
    const Wire__Listening *listening = join(peer_welcome(s.f), "g");
    cr_assert_eq(listening->partitions[0]->next, 3);
    fixture_destroy(s.f);
}

Test(group_admin, a_seek_makes_a_group_that_was_not_there)
{
    struct stage s = stage_make();
    cr_assert_eq(seek_code(s.p, "fresh", s.partition, 4), 0);
    cr_assert_eq(join(peer_welcome(s.f), "fresh")->partitions[0]->next, 4);
    fixture_destroy(s.f);
}

Test(group_admin, a_seek_of_no_partition_is_refused_and_nobody_waits_for_it)
{
    struct stage s = stage_make();
    Wire__GroupSeek message = WIRE__GROUP_SEEK__INIT;
    message.request = 3;
    message.name = (char *)"g";
    message.topic = (char *)"orders";
    for (int i = 0; i < 2; i++) {
        peer_send(s.p, FRAME_GROUP_SEEK, &message.base);
        fixture_settle(s.f);
        cr_assert_eq(((const Wire__Groups *)peer_expect(s.p, FRAME_GROUPS))->code, WIRE_CRIER_EINVAL);
    }
    cr_assert_eq(groups_list(s.p, "", 10)->n_groups, 0);
    cr_assert_eq(join(peer_welcome(s.f), "g")->n_partitions, 2);
    fixture_destroy(s.f);
}

Test(group_admin, who_joins_while_a_seek_is_under_way_starts_where_it_leads)
{
    struct stage s = stage_make();
    Wire__Position position = WIRE__POSITION__INIT, *positions = &position;
    position.partition = s.partition;
    position.offset = 5;
    Wire__GroupSeek message = WIRE__GROUP_SEEK__INIT;
    message.request = 3;
    message.name = (char *)"g";
    message.topic = (char *)"orders";
    message.positions = &positions;
    message.n_positions = 1;
    struct peer *m = peer_welcome(s.f);
    peer_send(s.p, FRAME_GROUP_SEEK, &message.base);
    cr_assert_eq(join(m, "g")->partitions[0]->next, 5);
    fixture_destroy(s.f);
}

Test(group_admin, who_is_gone_before_a_seek_is_done_leaves_no_member_behind)
{
    struct stage s = stage_make();
    Wire__Position position = WIRE__POSITION__INIT, *positions = &position;
    position.partition = s.partition;
    position.offset = 5;
    Wire__GroupSeek message = WIRE__GROUP_SEEK__INIT;
    message.request = 3;
    message.name = (char *)"g";
    message.topic = (char *)"orders";
    message.positions = &positions;
    message.n_positions = 1;
    struct peer *m = peer_welcome(s.f);
    peer_send(s.p, FRAME_GROUP_SEEK, &message.base);
    peer_listen(m, &(struct listen_spec){.id = 1, .topic = "orders", .group = "g", .credit = 1});
    fixture_turn(s.f);
    peer_close(m);
    fixture_settle(s.f);
    cr_assert_eq(((const Wire__Groups *)peer_expect(s.p, FRAME_GROUPS))->code, 0);
    cr_assert_eq(join(peer_welcome(s.f), "g")->n_partitions, 2, "nobody holds them");
    fixture_destroy(s.f);
}

static struct peer *open_named(struct fixture *f, const char *producer_name)
{
    struct peer *peer = peer_open(f);
    Wire__Hello hello = WIRE__HELLO__INIT;
    hello.version = 1;
    hello.producer_name = (char *)producer_name;
    peer_send(peer, FRAME_HELLO, &hello.base);
    return peer;
}

/* One entry decides about the seek, about whose the name is, and about who joins: it is answered in that order. */
Test(group_admin, who_is_fenced_by_the_entry_its_join_waits_for_leaves_no_member_behind)
{
    struct stage s = stage_make();
    Wire__Position position = WIRE__POSITION__INIT, *positions = &position;
    position.partition = s.partition;
    Wire__GroupSeek message = WIRE__GROUP_SEEK__INIT;
    message.request = 3;
    message.name = (char *)"g";
    message.topic = (char *)"orders";
    message.positions = &positions;
    message.n_positions = 1;
    struct peer *older = open_named(s.f, "source");
    fixture_settle(s.f);
    (void)peer_expect(older, FRAME_WELCOME);
    peer_send(s.p, FRAME_GROUP_SEEK, &message.base);
    struct peer *newer = open_named(s.f, "source");
    peer_listen(older, &(struct listen_spec){.id = 1, .topic = "orders", .group = "g"});
    fixture_settle(s.f);
    (void)peer_expect(newer, FRAME_WELCOME);
    peer_expect_error(older, WIRE_CRIER_EFENCED);
    cr_assert_eq(join(peer_welcome(s.f), "g")->n_partitions, 2, "nobody holds them");
    fixture_destroy(s.f);
}

Test(group_admin, a_deleted_group_is_gone_for_good_and_its_name_is_free)
{
    struct stage s = stage_make();
    struct peer *m = peer_welcome(s.f);
    join(m, "g");
    cr_assert_eq(delete_code(s.p, "g"), WIRE_CRIER_EBUSY);
    peer_close(m);
    cr_assert_eq(seek_code(s.p, "g", s.partition, 6), 0);
    fixture_run(s.f, 2000000); /* its rows are in the store */
    cr_assert_eq(delete_code(s.p, "g"), 0);
    cr_assert_eq(groups_list(s.p, "", 10)->n_groups, 0);
    cr_assert_eq(delete_code(s.p, "g"), WIRE_CRIER_EINVAL);
    fixture_run(s.f, 2000000);
    fixture_crash(s.f);
    s.p = peer_welcome(s.f);
    cr_assert_eq(groups_list(s.p, "", 10)->n_groups, 0, "also after its rows were flushed");
    cr_assert_eq(join(peer_welcome(s.f), "g")->partitions[0]->next, 0, "a new group begins anew");
    fixture_destroy(s.f);
}

Test(group_admin, a_delete_that_was_refused_leaves_the_group)
{
    struct stage s = stage_make();
    struct peer *m = peer_welcome(s.f);
    join(m, "g");
    peer_close(m);
    store_memory_fault_full(s.f->store, true);
    cr_assert_eq(delete_code(s.p, "g"), WIRE_CRIER_EFULL);
    cr_assert_eq(seek_code(s.p, "g", s.partition, 5), WIRE_CRIER_EFULL);
    store_memory_fault_full(s.f->store, false);
    cr_assert_eq(join(peer_welcome(s.f), "g")->partitions[0]->next, 0);
    fixture_destroy(s.f);
}
