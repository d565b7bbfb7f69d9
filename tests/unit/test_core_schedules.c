/* test_core_schedules.c: events with a time: they come when it is due, once, whatever happens before. */
#include "tests/unit/core_outcome.h"

#include <string.h>

#define SECOND_US INT64_C(1000000)

struct stage {
    struct fixture *f;
    struct peer *p;
    uint64_t partition;
};

static struct stage stage_make(uint32_t window)
{
    struct stage s = {.f = fixture_create()};
    s.f->config.idle_timeout_ms = s.f->config.ping_interval_ms = UINT32_MAX; /* peers here are silent */
    if (window)
        s.f->config.schedule_window = window;
    fixture_start(s.f);
    s.p = peer_welcome(s.f);
    s.partition = peer_topic(s.p, "t", 1);
    return s;
}

struct id {
    int64_t due_us;
    uint64_t number;
};

/* Stored, and how it is called. */
static struct id scheduled(struct stage *s, struct batch_spec spec)
{
    if (!spec.partition)
        spec.partition = s->partition;
    peer_emit(s->p, &spec, 1);
    fixture_settle(s->f);
    const Wire__Emitted *answer = peer_expect_past(s->p, FRAME_EMITTED);
    cr_assert_eq(answer->n_parts, 1);
    cr_assert_eq(answer->parts[0]->outcome, WIRE__OUTCOME__OK, "%s", error_name(answer->parts[0]->code));
    cr_assert_eq(answer->parts[0]->base_offset, -1);
    cr_assert_neq(answer->parts[0]->due_us, 0);
    return (struct id){answer->parts[0]->due_us, answer->parts[0]->schedule};
}

static struct id in(struct stage *s, int64_t delay_us)
{
    return scheduled(s, (struct batch_spec){.delay_us = (uint64_t)delay_us});
}

static uint64_t end_of(struct stage *s, const char *topic)
{
    Wire__TopicDescribe message = WIRE__TOPIC_DESCRIBE__INIT;
    message.request = 2;
    message.name = (char *)topic;
    peer_send(s->p, FRAME_TOPIC_DESCRIBE, &message.base);
    fixture_turn(s->f);
    const Wire__Topics *topics = peer_expect_past(s->p, FRAME_TOPICS);
    cr_assert_eq(topics->code, 0, "%s", error_name(topics->code));
    return topics->topics[0]->partitions[0]->high_watermark;
}

static int cancel(struct stage *s, struct id id)
{
    Wire__ScheduleCancel message = WIRE__SCHEDULE_CANCEL__INIT;
    message.request = 3;
    message.due_us = id.due_us;
    message.schedule = id.number;
    peer_send(s->p, FRAME_SCHEDULE_CANCEL, &message.base);
    fixture_settle(s->f);
    return ((const Wire__Schedules *)peer_expect_past(s->p, FRAME_SCHEDULES))->code;
}

/* How many there are, by pages. */
static size_t listed(struct stage *s, const char *topic, uint32_t limit, size_t *ret_pages)
{
    Wire__ScheduleList message = WIRE__SCHEDULE_LIST__INIT;
    size_t count = 0, pages = 0;
    int64_t last_us = 0;
    message.topic = (char *)topic;
    message.limit = limit;
    for (bool more = true; more; pages++) {
        peer_send(s->p, FRAME_SCHEDULE_LIST, &message.base);
        fixture_settle(s->f);
        const Wire__Schedules *answer = peer_expect_past(s->p, FRAME_SCHEDULES);
        cr_assert_eq(answer->code, 0, "%s", error_name(answer->code));
        for (size_t i = 0; i < answer->n_schedules; i++) {
            cr_assert_geq(answer->schedules[i]->due_us, last_us);
            last_us = answer->schedules[i]->due_us;
        }
        count += answer->n_schedules;
        more = answer->more;
        message.after_due_us = answer->next_due_us;
        message.after_schedule = answer->next_schedule;
    }
    if (ret_pages)
        *ret_pages = pages;
    return count;
}

static void restarted(struct stage *s, bool crash)
{
    if (crash)
        fixture_crash(s->f);
    else
        fixture_restart(s->f);
    s->p = peer_welcome(s->f);
}

Test(schedules, an_event_with_a_delay_is_not_in_its_topic_before_and_is_there_then)
{
    struct stage s = stage_make(0);
    int64_t now_us = s.f->wall_us;
    struct id id = in(&s, 5 * SECOND_US);
    cr_assert_geq(id.due_us, now_us + 5 * SECOND_US);
    fixture_run(s.f, 5 * SECOND_US - 10000);
    cr_assert_eq(end_of(&s, "t"), 0);
    fixture_run(s.f, 20000);
    cr_assert_eq(end_of(&s, "t"), 1);
    fixture_run(s.f, 60 * SECOND_US);
    cr_assert_eq(end_of(&s, "t"), 1);
    cr_assert_eq(fixture_stats(s.f).schedules, 0);
    fixture_destroy(s.f);
}

Test(schedules, an_event_with_a_time_comes_then_and_at_once_if_that_is_past)
{
    struct stage s = stage_make(0);
    int64_t at_us = s.f->wall_us + 90 * SECOND_US;
    cr_assert_eq(scheduled(&s, (struct batch_spec){.at_us = at_us, .delay_us = 1}).due_us, at_us);
    struct id past = scheduled(&s, (struct batch_spec){.at_us = 1});
    cr_assert_geq(past.due_us, FIXTURE_START_US);
    fixture_run(s.f, SECOND_US);
    cr_assert_eq(end_of(&s, "t"), 1);
    fixture_run(s.f, 90 * SECOND_US);
    cr_assert_eq(end_of(&s, "t"), 2);
    fixture_destroy(s.f);
}

Test(schedules, it_is_delivered_byte_for_byte_with_others)
{
    struct stage s = stage_make(0);
    uint64_t first, next;
    peer_listen(s.p, &(struct listen_spec){.id = 1, .topic = "t", .from = WIRE__FROM__EARLIEST});
    fixture_settle(s.f);
    (void)peer_expect(s.p, FRAME_LISTENING);
    (void)in(&s, SECOND_US);
    assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition}), 0);
    (void)peer_expect_past(s.p, FRAME_DELIVER);
    fixture_run(s.f, 2 * SECOND_US);
    (void)peer_delivered(s.p, &first, &next);
    cr_assert_eq(first, 1);
    cr_assert_eq(next, 2);
    uint8_t bytes[512];
    size_t size = batch_make(bytes, sizeof(bytes), &(struct batch_spec){.partition = s.partition});
    cr_assert_eq(s.p->attachment_size, size);
    cr_assert_arr_eq(s.p->attachment + 16, bytes + 16, size - 16); /* from the magic on */
    fixture_destroy(s.f);
}

Test(schedules, what_waits_survives_crashes_and_comes_once)
{
    struct stage s = stage_make(0);
    for (int i = 0; i < 20; i++)
        (void)in(&s, (10 + i) * SECOND_US);
    for (int i = 0; i < 8; i++) {
        restarted(&s, i % 2 == 0);
        fixture_run(s.f, 3 * SECOND_US);
    }
    fixture_run(s.f, 10 * SECOND_US);
    cr_assert_eq(end_of(&s, "t"), 20);
    cr_assert_eq(fixture_stats(s.f).schedules, 0);
    fixture_destroy(s.f);
}

Test(schedules, what_was_due_while_the_broker_was_down_comes_when_it_is_back)
{
    struct stage s = stage_make(0);
    (void)in(&s, 5 * SECOND_US);
    s.f->wall_us += 60 * SECOND_US;
    restarted(&s, true);
    fixture_run(s.f, SECOND_US / 10);
    cr_assert_eq(end_of(&s, "t"), 1);
    fixture_destroy(s.f);
}

Test(schedules, what_is_canceled_never_comes)
{
    struct stage s = stage_make(0);
    struct id canceled = in(&s, 5 * SECOND_US), fired = in(&s, 5 * SECOND_US);
    cr_assert_eq(cancel(&s, canceled), 0);
    cr_assert_eq(cancel(&s, canceled), WIRE_CRIER_ENOSCHEDULE);
    fixture_run(s.f, 6 * SECOND_US);
    cr_assert_eq(end_of(&s, "t"), 1);
    cr_assert_eq(cancel(&s, fired), WIRE_CRIER_ENOSCHEDULE);
    cr_assert_eq(cancel(&s, (struct id){fired.due_us, 12345}), WIRE_CRIER_ENOSCHEDULE);
    restarted(&s, true);
    fixture_run(s.f, 6 * SECOND_US);
    cr_assert_eq(end_of(&s, "t"), 1);
    fixture_destroy(s.f);
}

Test(schedules, one_that_is_ready_to_fire_can_still_be_canceled)
{
    struct stage s = stage_make(0);
    struct id id = in(&s, 5 * SECOND_US);
    fixture_run(s.f, 5 * SECOND_US - 100000); /* read ahead, and not due */
    cr_assert_eq(cancel(&s, id), 0);
    fixture_run(s.f, 6 * SECOND_US);
    cr_assert_eq(end_of(&s, "t"), 0);
    fixture_destroy(s.f);
}

Test(schedules, those_that_wait_are_listed_in_pages_by_topic)
{
    struct stage s = stage_make(4);
    uint64_t other = peer_topic(s.p, "u", 1);
    size_t pages;
    for (int i = 0; i < 30; i++)
        (void)scheduled(&s, (struct batch_spec){.partition = i % 3 ? s.partition : other,
                                                .delay_us = (uint64_t)((100 - i) * SECOND_US)});
    cr_assert_eq(listed(&s, "", 0, NULL), 30);
    fixture_run(s.f, 3 * SECOND_US); /* flushed, and forgotten */
    cr_assert_eq(listed(&s, "", 7, &pages), 30);
    cr_assert_geq(pages, 5);
    cr_assert_eq(listed(&s, "t", 0, NULL), 20);
    cr_assert_eq(listed(&s, "u", 3, NULL), 10);
    cr_assert_eq(listed(&s, "elsewhere", 0, NULL), 0);
    fixture_destroy(s.f);
}

/* A window of four: nearly all are rows only. */
Test(schedules, only_the_next_ones_are_in_memory_and_all_of_them_come)
{
    struct stage s = stage_make(4);
    struct id ids[100];
    for (int i = 0; i < 100; i++) {
        ids[i] = in(&s, (100 + i * 37 % 100) * SECOND_US);
        if (i % 10 == 0)
            fixture_run(s.f, SECOND_US);
    }
    fixture_run(s.f, 3 * SECOND_US);
    for (int i = 0; i < 100; i += 4)
        cr_assert_eq(cancel(&s, ids[i]), 0, "%d", i);
    restarted(&s, false);
    for (int i = 0; i < 100; i += 4)
        cr_assert_eq(cancel(&s, ids[i]), WIRE_CRIER_ENOSCHEDULE, "%d", i);
    for (int i = 0; i < 25; i++) {
        fixture_run(s.f, 10 * SECOND_US);
        if (i % 3 == 0)
            restarted(&s, i % 2);
    }
    cr_assert_eq(end_of(&s, "t"), 75);
    cr_assert_eq(listed(&s, "", 0, NULL), 0);
    fixture_destroy(s.f);
}

static uint64_t reads_of(const struct stage *s)
{
    struct store_stats stats;
    s->f->store->ops->stats(s->f->store, &stats);
    return stats.reads;
}

/* A thousand a second and more are read and fired some at a time. */
Test(schedules, those_due_about_then_are_read_together)
{
    struct stage s = stage_make(0);
    struct id last = {0};
    for (int i = 0; i < 100; i++)
        last = in(&s, 10 * SECOND_US + i * 1000);
    uint64_t before = reads_of(&s);
    fixture_run(s.f, 12 * SECOND_US);
    cr_assert_eq(end_of(&s, "t"), 100);
    cr_assert_eq(cancel(&s, last), WIRE_CRIER_ENOSCHEDULE);
    cr_assert_leq(reads_of(&s) - before, 6);
    cr_assert_geq(reads_of(&s) - before, 2); /* at most 64 in one */
    fixture_destroy(s.f);
}

Test(schedules, one_sent_again_is_answered_with_its_id_and_comes_once)
{
    struct stage s = stage_make(0);
    struct batch_spec spec = {.partition = s.partition, .producer_id = 7, .delay_us = 5 * SECOND_US};
    struct id ids[3];
    for (int i = 0; i < 3; i++) {
        spec.sequence = i;
        ids[i] = scheduled(&s, spec);
    }
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++) {
            spec.sequence = i;
            struct id again = scheduled(&s, spec);
            cr_assert_eq(again.due_us, ids[i].due_us);
            cr_assert_eq(again.number, ids[i].number);
        }
        fixture_run(s.f, 2 * SECOND_US);
        restarted(&s, round == 0);
    }
    spec.delay_us = 0;
    spec.sequence = 3;
    assert_stored(peer_emit_one(s.p, spec), 0); /* the sequences go on */
    fixture_run(s.f, 6 * SECOND_US);
    cr_assert_eq(end_of(&s, "t"), 4);
    fixture_destroy(s.f);
}

/* In one entry the command that schedules stands behind all batches: the producer's numbers must not go back to it. */
Test(schedules, one_stored_with_what_follows_it_does_not_set_its_producer_back)
{
    struct stage s = stage_make(0);
    (void)in(&s, SECOND_US); /* the topic of schedules is there: nothing waits for it */
    struct batch_spec both[2] = {{.partition = s.partition, .producer_id = 7, .delay_us = 3600 * SECOND_US},
                                 {.partition = s.partition, .producer_id = 7, .sequence = 1}};
    for (int life = 0; life < 3; life++) {
        peer_emit(s.p, both, 2);
        fixture_settle(s.f);
        const Wire__Emitted *answer = peer_expect_past(s.p, FRAME_EMITTED);
        for (int i = 0; i < 2; i++) {
            cr_assert_eq(answer->parts[i]->outcome, WIRE__OUTCOME__OK);
            cr_assert_eq(answer->parts[i]->duplicate, life > 0, "life %d, part %d", life, i);
        }
        cr_assert_neq(answer->parts[0]->due_us, 0);
        restarted(&s, life == 0);
    }
    assert_stored(
        peer_emit_one(s.p, (struct batch_spec){.partition = s.partition, .producer_id = 7, .sequence = 2}),
        1);
    fixture_destroy(s.f);
}

Test(schedules, a_time_needs_a_durable_emit_that_is_not_atomic_and_not_too_far_ahead)
{
    struct stage s = stage_make(0);
    (void)in(&s, SECOND_US);
    assert_refused(
        peer_emit_one(s.p, (struct batch_spec){.partition = s.partition, .memory = true, .delay_us = 1}),
        WIRE_CRIER_EINVAL);
    assert_refused(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition, .at_us = -1}),
                   WIRE_CRIER_EINVAL);
    assert_refused(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition, .delay_us = UINT64_MAX}),
                   WIRE_CRIER_EINVAL);
    assert_refused(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition, .at_us = INT64_MAX}),
                   WIRE_CRIER_EINVAL);
    assert_refused(peer_emit_one(s.p, (struct batch_spec){.partition = 999, .delay_us = 1}),
                   WIRE_CRIER_ENOTOPIC);
    fixture_destroy(s.f);
}

Test(schedules, nothing_is_lost_while_the_disk_is_full)
{
    struct stage s = stage_make(0);
    for (int i = 0; i < 10; i++)
        (void)in(&s, 2 * SECOND_US);
    struct id canceled = in(&s, 60 * SECOND_US);
    store_memory_fault_full(s.f->store, true);
    fixture_run(s.f, 5 * SECOND_US);
    cr_assert_eq(end_of(&s, "t"), 0);
    cr_assert_eq(cancel(&s, canceled), WIRE_CRIER_EFULL);
    assert_refused(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition, .delay_us = 1}),
                   WIRE_CRIER_EFULL);
    store_memory_fault_full(s.f->store, false);
    fixture_run(s.f, 3 * SECOND_US);
    cr_assert_eq(end_of(&s, "t"), 10);
    cr_assert_eq(cancel(&s, canceled), 0);
    fixture_destroy(s.f);
}

Test(schedules, the_first_one_of_a_folder_is_refused_if_there_is_no_room_for_their_topic)
{
    struct stage s = stage_make(0);
    store_memory_fault_full(s.f->store, true);
    assert_refused(peer_emit_one(s.p, (struct batch_spec){.partition = s.partition, .delay_us = 1}),
                   WIRE_CRIER_EFULL);
    store_memory_fault_full(s.f->store, false);
    (void)in(&s, 1);
    fixture_run(s.f, SECOND_US);
    cr_assert_eq(end_of(&s, "t"), 1);
    fixture_destroy(s.f);
}

Test(schedules, one_that_cannot_be_read_is_tried_again)
{
    struct stage s = stage_make(0);
    (void)in(&s, 5 * SECOND_US);
    store_memory_fault_read(s.f->store, 1);
    fixture_run(s.f, 10 * SECOND_US);
    cr_assert_eq(end_of(&s, "t"), 0);
    cr_assert(fixture_logged(s.f, "SCHEDULE-READ"));
    fixture_run(s.f, 60 * SECOND_US);
    cr_assert_eq(end_of(&s, "t"), 1);
    fixture_destroy(s.f);
}

static unsigned told(const struct fixture *f, const char *id)
{
    unsigned count = 0;
    for (const char *at = f->log_ids; (at = strstr(at, id)); at++)
        count++;
    return count;
}

Test(schedules, many_that_cannot_be_read_are_one_line_of_the_log)
{
    struct stage s = stage_make(0);
    int64_t at_us = s.f->wall_us + 10 * SECOND_US; /* all of one moment: one read takes 64 of them */
    for (int i = 0; i < 100; i++)
        (void)scheduled(&s, (struct batch_spec){.at_us = at_us});
    store_memory_fault_read(s.f->store, 1);
    fixture_run(s.f, 15 * SECOND_US);
    uint64_t came = end_of(&s, "t");
    cr_assert_lt(came, 50, "%llu came at once: this tested nothing", (unsigned long long)came);
    cr_assert_eq(told(s.f, "SCHEDULE-READ"), 1);
    fixture_run(s.f, 60 * SECOND_US);
    cr_assert_eq(end_of(&s, "t"), 100);
    fixture_destroy(s.f);
}

static int deleted(struct stage *s, const char *topic)
{
    Wire__TopicDelete message = WIRE__TOPIC_DELETE__INIT;
    message.request = 4;
    message.name = (char *)topic;
    peer_send(s->p, FRAME_TOPIC_DELETE, &message.base);
    fixture_settle(s->f);
    return ((const Wire__Topics *)peer_expect_past(s->p, FRAME_TOPICS))->code;
}

Test(schedules, with_its_topic_a_schedule_goes_too)
{
    struct stage s = stage_make(0);
    struct id id = in(&s, 5 * SECOND_US);
    cr_assert_eq(deleted(&s, "t"), 0);
    cr_assert_eq(cancel(&s, id), WIRE_CRIER_ENOSCHEDULE);
    cr_assert_eq(listed(&s, "", 0, NULL), 0);
    s.partition = peer_topic(s.p, "t", 1);
    fixture_run(s.f, 10 * SECOND_US);
    cr_assert_eq(end_of(&s, "t"), 0);
    cr_assert_eq(fixture_stats(s.f).schedules, 0);
    restarted(&s, true);
    cr_assert_eq(end_of(&s, "t"), 0);
    fixture_destroy(s.f);
}

/* One entry has both: the event, then the topic's end, and behind them what is written when it is sealed. */
Test(schedules, one_that_is_scheduled_just_before_its_topic_is_deleted_goes_with_it)
{
    struct stage s = stage_make(0);
    in(&s, SECOND_US);
    Wire__TopicDelete message = WIRE__TOPIC_DELETE__INIT;
    message.request = 4;
    message.name = (char *)"t";
    peer_emit(s.p,
              &(struct batch_spec){
                  .partition = s.partition, .producer_id = 1, .delay_us = (uint64_t)(2 * SECOND_US)},
              1);
    peer_send(s.p, FRAME_TOPIC_DELETE, &message.base);
    fixture_settle(s.f);
    cr_assert_eq(((const Wire__Emitted *)peer_expect_past(s.p, FRAME_EMITTED))->parts[0]->outcome,
                 WIRE__OUTCOME__OK, "it was there when the topic was");
    cr_assert_eq(((const Wire__Topics *)peer_expect_past(s.p, FRAME_TOPICS))->code, 0);
    fixture_crash(s.f);
    s.p = peer_welcome(s.f);
    cr_assert_eq(listed(&s, "", 0, NULL), 0);
    fixture_run(s.f, 5 * SECOND_US);
    cr_assert_eq(fixture_stats(s.f).schedules, 0);
    fixture_destroy(s.f);
}

Test(schedules, nobody_else_writes_or_changes_the_topic_where_they_wait)
{
    struct stage s = stage_make(0);
    (void)in(&s, 5 * SECOND_US);
    Wire__TopicDescribe message = WIRE__TOPIC_DESCRIBE__INIT;
    message.request = 2;
    message.name = (char *)"$scheduled";
    peer_send(s.p, FRAME_TOPIC_DESCRIBE, &message.base);
    fixture_turn(s.f);
    uint64_t partition =
        ((const Wire__Topics *)peer_expect_past(s.p, FRAME_TOPICS))->topics[0]->partitions[0]->id;
    assert_refused(peer_emit_one(s.p, (struct batch_spec){.partition = partition}), WIRE_CRIER_ENOTOPIC);
    assert_refused(peer_emit_one(s.p, (struct batch_spec){.partition = partition, .delay_us = 1}),
                   WIRE_CRIER_ENOTOPIC);
    cr_assert_eq(deleted(&s, "$scheduled"), WIRE_CRIER_EINVAL);
    Wire__Position everything = WIRE__POSITION__INIT, *positions = &everything;
    Wire__TopicTrim trim = WIRE__TOPIC_TRIM__INIT;
    everything.partition = everything.offset = UINT64_MAX;
    trim.name = (char *)"$scheduled";
    trim.n_positions = 1;
    trim.positions = &positions;
    peer_send(s.p, FRAME_TOPIC_TRIM, &trim.base);
    fixture_settle(s.f);
    cr_assert_eq(((const Wire__Topics *)peer_expect_past(s.p, FRAME_TOPICS))->code, WIRE_CRIER_EINVAL);
    fixture_run(s.f, 6 * SECOND_US);
    cr_assert_eq(end_of(&s, "t"), 1);
    fixture_destroy(s.f);
}

static uint64_t waiting_bytes(struct stage *s)
{
    Wire__TopicDescribe message = WIRE__TOPIC_DESCRIBE__INIT;
    uint64_t bytes = 0;
    message.request = 2;
    message.name = (char *)"$scheduled";
    peer_send(s->p, FRAME_TOPIC_DESCRIBE, &message.base);
    fixture_turn(s->f);
    const Wire__Topics *topics = peer_expect_past(s->p, FRAME_TOPICS);
    for (size_t i = 0; i < topics->topics[0]->n_partitions; i++)
        bytes += topics->topics[0]->partitions[i]->bytes;
    return bytes;
}

Test(schedules, the_space_of_what_has_come_comes_back_beside_one_that_waits_for_long)
{
    struct stage s = stage_make(0);
    struct id id = in(&s, 24 * 3600 * SECOND_US);
    uint64_t one = waiting_bytes(&s);
    for (int i = 0; i < 50; i++)
        (void)in(&s, (1 + i) * SECOND_US);
    cr_assert_geq(waiting_bytes(&s), 50 * one);
    fixture_run(s.f, 200 * SECOND_US); /* the first class is past, and was looked at */
    cr_assert_eq(end_of(&s, "t"), 50);
    cr_assert_eq(waiting_bytes(&s), one);
    cr_assert_eq(cancel(&s, id), 0);
    fixture_destroy(s.f);
}
