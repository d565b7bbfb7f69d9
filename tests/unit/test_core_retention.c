/* test_core_retention.c: what topics keep: trimmed by hand, by count, bytes, age and groups; altered; deleted. */
#include "tests/unit/core_outcome.h"

#include <string.h>

#define SECOND_US 1000000

struct stage {
    struct fixture *f;
    struct peer *p;
    uint64_t partition;
};

/* A topic "t" with this retention, and ten events in it, one batch each. */
static struct stage stage_make(const Wire__Retention *retention)
{
    struct stage s = {.f = fixture_create()};
    fixture_start(s.f);
    s.p = peer_welcome(s.f);
    Wire__TopicCreate message = WIRE__TOPIC_CREATE__INIT;
    message.request = 1;
    message.name = (char *)"t";
    message.partitions = 2;
    message.retention = (Wire__Retention *)retention;
    peer_send(s.p, FRAME_TOPIC_CREATE, &message.base);
    fixture_settle(s.f);
    const Wire__Topics *topics = peer_expect(s.p, FRAME_TOPICS);
    cr_assert_eq(topics->code, 0);
    s.partition = topics->topics[0]->partitions[0]->id;
    for (int64_t i = 0; i < 10; i++)
        assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition}), i);
    return s;
}

static const Wire__Topics *topics_of(struct peer *p)
{
    fixture_settle(p->fixture);
    return peer_expect_anywhere(p, FRAME_TOPICS);
}

static const Wire__Topics *describe(struct stage *s)
{
    Wire__TopicDescribe message = WIRE__TOPIC_DESCRIBE__INIT;
    message.request = 2;
    message.name = (char *)"t";
    peer_send(s->p, FRAME_TOPIC_DESCRIBE, &message.base);
    return topics_of(s->p);
}

static uint64_t log_start(struct stage *s)
{
    const Wire__Topics *topics = describe(s);
    cr_assert_eq(topics->code, 0);
    return topics->topics[0]->partitions[0]->log_start;
}

static uint64_t bytes(struct stage *s)
{
    return describe(s)->topics[0]->partitions[0]->bytes;
}

static void trim_send(struct peer *p, const char *name, uint64_t place, uint64_t offset)
{
    Wire__Position position = WIRE__POSITION__INIT, *positions = &position;
    position.partition = place;
    position.offset = offset;
    Wire__TopicTrim message = WIRE__TOPIC_TRIM__INIT;
    message.request = 3;
    message.name = (char *)name;
    message.positions = &positions;
    message.n_positions = 1;
    peer_send(p, FRAME_TOPIC_TRIM, &message.base);
}

static int trim(struct stage *s, uint64_t offset)
{
    trim_send(s->p, "t", 0, offset);
    return topics_of(s->p)->code;
}

static int alter(struct stage *s, uint32_t set, const Wire__Retention *retention)
{
    Wire__TopicAlter message = WIRE__TOPIC_ALTER__INIT;
    message.request = 4;
    message.name = (char *)"t";
    message.set = set;
    message.retention = (Wire__Retention *)retention;
    peer_send(s->p, FRAME_TOPIC_ALTER, &message.base);
    return topics_of(s->p)->code;
}

static void delete_send(struct peer *p, const char *name)
{
    Wire__TopicDelete message = WIRE__TOPIC_DELETE__INIT;
    message.request = 5;
    message.name = (char *)name;
    peer_send(p, FRAME_TOPIC_DELETE, &message.base);
}

static void crash(struct stage *s)
{
    fixture_crash(s->f);
    s->p = peer_welcome(s->f);
}

/* ---- by hand ---- */

Test(retention, what_is_trimmed_is_gone_for_ever)
{
    struct stage s = stage_make(NULL);
    uint64_t all = bytes(&s);
    cr_assert_gt(all, 0);
    cr_assert_eq(trim(&s, 4), 0);
    cr_assert_eq(log_start(&s), 4);
    cr_assert_eq(bytes(&s), all - all / 10 * 4);
    cr_assert_eq(trim(&s, 2), 0, "what is gone already is no error");
    cr_assert_eq(log_start(&s), 4);
    crash(&s);
    cr_assert_eq(log_start(&s), 4);
    cr_assert_eq(bytes(&s), all - all / 10 * 4);
    uint64_t first, next;
    peer_listen(s.p, &(struct listen_spec){.id = 1, .topic = "t", .from = WIRE__FROM__EARLIEST});
    fixture_settle(s.f);
    (void)peer_expect(s.p, FRAME_LISTENING);
    (void)peer_delivered(s.p, &first, &next);
    cr_assert_eq(first, 4);
    fixture_destroy(s.f);
}

Test(retention, a_trim_beyond_the_end_takes_everything_and_offsets_go_on)
{
    struct stage s = stage_make(NULL);
    cr_assert_eq(trim(&s, UINT64_MAX), 0);
    cr_assert_eq(log_start(&s), 10);
    cr_assert_eq(bytes(&s), 0);
    assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition}), 10);
    fixture_restart(s.f);
    s.p = peer_welcome(s.f);
    cr_assert_eq(log_start(&s), 10);
    fixture_destroy(s.f);
}

Test(retention, a_trim_of_what_is_not_there_is_refused)
{
    struct stage s = stage_make(NULL);
    trim_send(s.p, "nothing", 0, 1);
    cr_assert_eq(topics_of(s.p)->code, WIRE_CRIER_ENOTOPIC);
    trim_send(s.p, "t", 2, 1);
    cr_assert_eq(topics_of(s.p)->code, WIRE_CRIER_EINVAL);
    cr_assert_eq(log_start(&s), 0);
    fixture_destroy(s.f);
}

Test(retention, trims_at_once_follow_each_other)
{
    struct stage s = stage_make(NULL);
    for (uint64_t i = 1; i <= 8; i++)
        trim_send(s.p, "t", UINT64_MAX, i);
    for (uint64_t i = 1; i <= 8; i++)
        cr_assert_eq(topics_of(s.p)->code, 0);
    cr_assert_eq(log_start(&s), 8);
    uint64_t left = bytes(&s);
    cr_assert_eq(trim(&s, 9), 0);
    cr_assert_eq(bytes(&s), left / 2, "each byte was counted once");
    fixture_destroy(s.f);
}

/* Found by the simulator: the broker aborted when it was stopped between the look-ups of two partitions. */
Test(retention, a_stop_in_the_middle_of_a_trim_ends_it)
{
    struct stage s = stage_make(NULL);
    uint64_t other = describe(&s)->topics[0]->partitions[1]->id;
    for (int64_t i = 0; i < 10; i++)
        assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = other}), i);
    trim_send(s.p, "t", UINT64_MAX, 8);
    fixture_turn(s.f); /* the first look-up is on its way */
    s.f->store->ops->stop(s.f->store);
    fixture_turn(s.f);
    cr_assert_eq(((const Wire__Topics *)peer_expect_anywhere(s.p, FRAME_TOPICS))->code, WIRE_CRIER_ESHUTDOWN);
    fixture_resume(s.f, fixture_power_off(s.f));
    s.p = peer_welcome(s.f);
    cr_assert_eq(log_start(&s), 0);
    cr_assert_eq(trim(&s, 8), 0, "and it can be asked for again");
    cr_assert_eq(log_start(&s), 8);
    fixture_destroy(s.f);
}

Test(retention, a_listener_left_behind_is_told_where_it_goes_on)
{
    struct stage s = stage_make(NULL);
    peer_listen(s.p, &(struct listen_spec){
                         .id = 1, .topic = "t", .group = "g", .from = WIRE__FROM__EARLIEST, .credit = 1});
    fixture_settle(s.f);
    (void)peer_expect(s.p, FRAME_LISTENING);
    uint64_t first, next;
    (void)peer_delivered(s.p, &first, &next); /* any credit is good for one batch */
    cr_assert_eq(next, 1);
    cr_assert_eq(trim(&s, 7), 0);
    peer_credit(s.p, 1, 1u << 20);
    fixture_settle(s.f);
    const Wire__Deliver *gap = peer_delivered(s.p, &first, &next);
    cr_assert_eq(gap->skip_to, 7);
    (void)peer_delivered(s.p, &first, &next);
    cr_assert_eq(first, 7);
    fixture_destroy(s.f);
}

Test(retention, a_refused_trim_leaves_everything_as_it_was)
{
    struct stage s = stage_make(NULL);
    store_memory_fault_full(s.f->store, true);
    cr_assert_eq(trim(&s, 4), WIRE_CRIER_EFULL);
    cr_assert_eq(log_start(&s), 0);
    store_memory_fault_full(s.f->store, false);
    cr_assert_eq(trim(&s, 4), 0);
    cr_assert_eq(log_start(&s), 4);
    fixture_destroy(s.f);
}

/* ---- by settings ---- */

Test(retention, by_count_keeps_the_newest)
{
    Wire__Retention retention = WIRE__RETENTION__INIT;
    retention.count = 3;
    struct stage s = stage_make(&retention);
    fixture_run(s.f, 3 * SECOND_US);
    cr_assert_eq(log_start(&s), 7);
    cr_assert_eq(describe(&s)->topics[0]->retention->count, 3);
    crash(&s);
    cr_assert_eq(log_start(&s), 7);
    assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition}), 10);
    fixture_run(s.f, 3 * SECOND_US);
    cr_assert_eq(log_start(&s), 8, "the settings are there after a crash, too");
    fixture_destroy(s.f);
}

Test(retention, by_bytes_never_keeps_less_than_asked)
{
    struct stage s = stage_make(NULL);
    for (int64_t i = 10; i < 210; i++)
        assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition, .value_size = 1000}),
                      i);
    Wire__Retention retention = WIRE__RETENTION__INIT;
    retention.bytes = 50000;
    cr_assert_eq(alter(&s, 4, &retention), 0);
    fixture_run(s.f, 3 * SECOND_US);
    cr_assert_geq(bytes(&s), 50000);
    cr_assert_leq(bytes(&s), 50000 + 1200);
    cr_assert_geq(log_start(&s), 160);
    fixture_destroy(s.f);
}

Test(retention, by_time_takes_what_is_older)
{
    Wire__Retention retention = WIRE__RETENTION__INIT;
    retention.time_us = 20 * SECOND_US;
    struct stage s = stage_make(&retention);
    fixture_run(s.f, 15 * SECOND_US);
    cr_assert_eq(log_start(&s), 0);
    s.p = peer_welcome(s.f);
    assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition}), 10);
    fixture_run(s.f, 8 * SECOND_US);
    cr_assert_eq(log_start(&s), 10);
    fixture_destroy(s.f);
}

Test(retention, by_time_waits_after_a_leap_of_the_clock_until_somebody_confirms_it)
{
    Wire__Retention retention = WIRE__RETENTION__INIT;
    retention.time_us = 3600 * (uint64_t)SECOND_US;
    struct stage s = stage_make(&retention);
    s.f->wall_us += 7200 * (int64_t)SECOND_US;
    fixture_run(s.f, 5 * SECOND_US);
    cr_assert(fixture_logged(s.f, "SHARD-TIME"));
    crash(&s); /* now it would even have started at the new time */
    fixture_run(s.f, 5 * SECOND_US);
    cr_assert_eq(log_start(&s), 0);
    Wire__TopicTrim confirm = WIRE__TOPIC_TRIM__INIT;
    confirm.request = 9;
    confirm.confirm_time = true;
    peer_send(s.p, FRAME_TOPIC_TRIM, &confirm.base);
    cr_assert_eq(topics_of(s.p)->code, 0);
    fixture_run(s.f, 120 * (int64_t)SECOND_US);
    s.p = peer_welcome(s.f);
    cr_assert_eq(log_start(&s), 10);
    fixture_destroy(s.f);
}

Test(retention, until_consumed_follows_the_slowest_group)
{
    Wire__Retention retention = WIRE__RETENTION__INIT;
    retention.until_consumed = true;
    struct stage s = stage_make(&retention);
    fixture_run(s.f, 3 * SECOND_US);
    cr_assert_eq(log_start(&s), 0, "nobody has consumed anything");
    uint64_t generation[2];
    for (uint32_t i = 0; i < 2; i++) {
        peer_listen(s.p,
                    &(struct listen_spec){
                        .id = i + 1, .topic = "t", .group = i ? "b" : "a", .from = WIRE__FROM__EARLIEST});
        fixture_settle(s.f);
        generation[i] = ((const Wire__Listening *)peer_expect_anywhere(s.p, FRAME_LISTENING))->generation;
    }
    peer_commit(s.p, 1, 1, generation[0], s.partition, 9);
    peer_commit(s.p, 2, 2, generation[1], s.partition, 5);
    fixture_run(s.f, 3 * SECOND_US);
    cr_assert_eq(log_start(&s), 5);
    peer_commit(s.p, 3, 2, generation[1], s.partition, 10);
    fixture_run(s.f, 3 * SECOND_US);
    cr_assert_eq(log_start(&s), 9);
    fixture_destroy(s.f);
}

Test(retention, settings_are_altered_one_by_one_and_must_not_contradict_each_other)
{
    struct stage s = stage_make(NULL);
    Wire__Retention retention = WIRE__RETENTION__INIT;
    retention.count = 100;
    retention.bytes = 7;
    cr_assert_eq(alter(&s, 8, &retention), 0);
    const Wire__Retention *now = describe(&s)->topics[0]->retention;
    cr_assert_eq(now->count, 100);
    cr_assert_eq(now->bytes, 0, "it was not among those set");
    retention.until_consumed = true;
    cr_assert_eq(alter(&s, 16, &retention), WIRE_CRIER_EINVAL);
    retention.count = 0;
    cr_assert_eq(alter(&s, 8 | 16, &retention), 0);
    cr_assert(describe(&s)->topics[0]->retention->until_consumed);
    cr_assert_eq(alter(&s, 1u << 30, &retention), WIRE_CRIER_EINVAL);
    store_memory_fault_full(s.f->store, true);
    retention.until_consumed = false;
    cr_assert_eq(alter(&s, 16, &retention), WIRE_CRIER_EFULL);
    cr_assert(describe(&s)->topics[0]->retention->until_consumed);
    fixture_destroy(s.f);
}

/* ---- the disk guard ---- */

Test(retention, with_little_left_on_the_disk_only_emits_are_refused)
{
    struct stage s = {.f = fixture_create()};
    s.f->config.disk_free_min = 1000;
    fixture_start(s.f);
    s.p = peer_welcome(s.f);
    s.partition = peer_topic(s.p, "t", 2);
    struct batch_spec spec = {.partition = s.partition, .producer_id = (int64_t)s.p->producer_id};
    assert_stored(peer_emit_one(s.p, spec), 0);
    store_memory_fault_disk_free(s.f->store, 999);
    fixture_run(s.f, SECOND_US);
    cr_assert(fixture_logged(s.f, "SHARD-GUARD"));
    assert_duplicate(peer_emit_one(s.p, spec), 0);
    spec.sequence = 1;
    assert_refused(peer_emit_one(s.p, spec), WIRE_CRIER_EFULL);
    peer_listen(s.p,
                &(struct listen_spec){.id = 1, .topic = "t", .group = "g", .from = WIRE__FROM__EARLIEST});
    fixture_settle(s.f);
    uint64_t generation = ((const Wire__Listening *)peer_expect_anywhere(s.p, FRAME_LISTENING))->generation;
    peer_commit(s.p, 1, 1, generation, s.partition, 1);
    fixture_settle(s.f);
    cr_assert_eq(((const Wire__Committed *)peer_expect_anywhere(s.p, FRAME_COMMITTED))->code, 0);
    cr_assert_eq(trim(&s, 1), 0);
    store_memory_fault_disk_free(s.f->store, 1100);
    fixture_run(s.f, SECOND_US);
    assert_refused(peer_emit_one(s.p, spec), WIRE_CRIER_EFULL);
    store_memory_fault_disk_free(s.f->store, 1250);
    fixture_run(s.f, SECOND_US);
    assert_stored(peer_emit_one(s.p, spec), 1);
    delete_send(s.p, "t");
    cr_assert_eq(topics_of(s.p)->code, 0);
    fixture_destroy(s.f);
}

/* ---- deleting ---- */

Test(retention, a_deleted_topic_ends_its_listeners_and_takes_no_events)
{
    struct stage s = stage_make(NULL);
    peer_listen(s.p, &(struct listen_spec){.id = 1, .topic = "t"});
    peer_listen(s.p, &(struct listen_spec){.id = 2, .topic = "t", .group = "g"});
    fixture_settle(s.f);
    for (unsigned i = 0; i < 2; i++)
        (void)peer_expect(s.p, FRAME_LISTENING);
    delete_send(s.p, "t");
    fixture_settle(s.f);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(((const Wire__Ended *)peer_expect(s.p, FRAME_ENDED))->code, WIRE_CRIER_ENOTOPIC);
    cr_assert_eq(topics_of(s.p)->code, 0);
    assert_refused(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition}), WIRE_CRIER_ENOTOPIC);
    cr_assert_eq(describe(&s)->code, WIRE_CRIER_ENOTOPIC);
    delete_send(s.p, "t");
    cr_assert_eq(topics_of(s.p)->code, WIRE_CRIER_ENOTOPIC);
    crash(&s);
    cr_assert_eq(describe(&s)->code, WIRE_CRIER_ENOTOPIC);
    fixture_destroy(s.f);
}

Test(retention, a_deleted_name_can_be_taken_anew)
{
    struct stage s = stage_make(NULL);
    uint8_t id[16];
    memcpy(id, describe(&s)->topics[0]->id.data, sizeof(id));
    peer_listen(s.p,
                &(struct listen_spec){.id = 1, .topic = "t", .group = "g", .from = WIRE__FROM__EARLIEST});
    fixture_settle(s.f);
    delete_send(s.p, "t");
    Wire__TopicCreate create = WIRE__TOPIC_CREATE__INIT; /* at once: it waits for the deletion */
    create.request = 6;
    create.name = (char *)"t";
    peer_send(s.p, FRAME_TOPIC_CREATE, &create.base);
    fixture_settle(s.f);
    cr_assert_eq(topics_of(s.p)->n_topics, 0);
    const Wire__Topics *topics = topics_of(s.p);
    cr_assert_eq(topics->code, 0);
    cr_assert_neq(memcmp(id, topics->topics[0]->id.data, sizeof(id)), 0);
    uint64_t partition = topics->topics[0]->partitions[0]->id;
    cr_assert_gt(partition, s.partition + 1);
    assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = partition}), 0);
    for (unsigned life = 0; life < 2; life++) {
        peer_listen(s.p,
                    &(struct listen_spec){.id = 7, .topic = "t", .group = "g", .from = WIRE__FROM__EARLIEST});
        fixture_settle(s.f);
        const Wire__Listening *listening = peer_expect_anywhere(s.p, FRAME_LISTENING);
        cr_assert_eq(listening->partitions[0]->next, 0, "the old position is gone");
        fixture_run(s.f, 3 * SECOND_US); /* a flush takes the old rows away */
        crash(&s);
    }
    assert_refused(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition}), WIRE_CRIER_ENOTOPIC);
    fixture_destroy(s.f);
}

Test(retention, what_is_on_its_way_when_a_topic_goes_has_a_definite_end)
{
    struct stage s = stage_make(NULL);
    peer_listen(s.p,
                &(struct listen_spec){.id = 1, .topic = "t", .group = "g", .from = WIRE__FROM__EARLIEST});
    fixture_settle(s.f);
    uint64_t generation = ((const Wire__Listening *)peer_expect(s.p, FRAME_LISTENING))->generation;
    struct batch_spec spec = {.partition = s.partition};
    peer_emit(s.p, &spec, 1); /* one turn: stored, deleted, refused, a commit in between */
    peer_commit(s.p, 1, 1, generation, s.partition, 3);
    delete_send(s.p, "t");
    peer_emit(s.p, &spec, 1);
    peer_commit(s.p, 2, 1, generation, s.partition, 4);
    peer_listen(s.p,
                &(struct listen_spec){.id = 2, .topic = "t", .group = "h", .from = WIRE__FROM__EARLIEST});
    trim_send(s.p, "t", UINT64_MAX, 2);
    fixture_settle(s.f);
    const Wire__Emitted *emitted = peer_expect_anywhere(s.p, FRAME_EMITTED);
    cr_assert_eq(emitted->parts[0]->outcome, WIRE__OUTCOME__OK);
    emitted = peer_expect_anywhere(s.p, FRAME_EMITTED);
    cr_assert_eq(emitted->parts[0]->outcome, WIRE__OUTCOME__REFUSED);
    cr_assert_eq(emitted->parts[0]->code, WIRE_CRIER_ENOTOPIC);
    fixture_run(s.f, 3 * SECOND_US);
    crash(&s);
    cr_assert_eq(describe(&s)->code, WIRE_CRIER_ENOTOPIC);
    fixture_destroy(s.f);
}

Test(retention, a_refused_deletion_leaves_the_topic_as_it_was)
{
    struct stage s = stage_make(NULL);
    store_memory_fault_full(s.f->store, true);
    delete_send(s.p, "t");
    struct batch_spec spec = {.partition = s.partition};
    peer_emit(s.p, &spec, 1);
    fixture_settle(s.f);
    assert_refused(peer_outcome(s.p), WIRE_CRIER_EFULL);
    cr_assert_eq(topics_of(s.p)->code, WIRE_CRIER_EFULL);
    store_memory_fault_full(s.f->store, false);
    assert_stored(peer_emit_one(s.p, spec), 10);
    delete_send(s.p, "t");
    cr_assert_eq(topics_of(s.p)->code, 0);
    fixture_destroy(s.f);
}
