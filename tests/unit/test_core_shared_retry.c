/* test_core_shared_retry.c: events of shared groups that fail: tried again later, then dead letters, and back again. */
#include "tests/unit/shared_rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000)

struct stage {
    struct fixture *f;
    struct peer *p;
    uint64_t partition;
    struct rig_read *read;
};

static struct stage stage_make(void)
{
    struct stage s = {.f = fixture_create(), .read = calloc(1, sizeof(struct rig_read))};
    fixture_start(s.f);
    s.p = peer_welcome(s.f);
    s.partition = peer_topic(s.p, "orders", 2);
    return s;
}

static void stage_end(struct stage *s)
{
    free(s->read);
    fixture_destroy(s->f);
}

static const struct rig_listen plain = {.topic = "orders", .group = "g"};

static int alter(struct stage *s, uint32_t first_ms, uint32_t max_ms, uint32_t deliveries, const char *dead)
{
    Wire__RetryPolicy retry = WIRE__RETRY_POLICY__INIT;
    retry.first_ms = first_ms;
    retry.max_ms = max_ms;
    retry.deliveries = deliveries;
    retry.dead_letter = (char *)dead;
    Wire__TopicAlter message = WIRE__TOPIC_ALTER__INIT;
    message.request = 5;
    message.name = (char *)"orders";
    message.set = 65536;
    message.retry = &retry;
    peer_send(s->p, FRAME_TOPIC_ALTER, &message.base);
    fixture_settle(s->f);
    const Wire__Topics *topics = peer_expect_past(s->p, FRAME_TOPICS);
    if (topics->code == 0) {
        cr_assert_eq(topics->topics[0]->retry->deliveries, deliveries);
        cr_assert_str_eq(topics->topics[0]->retry->dead_letter, dead);
    }
    return topics->code;
}

/* How long until something is delivered, in steps of 10 ms. */
static int64_t until_delivered(struct rig_member *m)
{
    int64_t waited = 0;
    for (rig_take(m); m->got_count == 0 && waited < 200 * SECOND; rig_take(m)) {
        fixture_run(m->peer->fixture, 10000);
        waited += 10000;
        if (waited % SECOND == 0) /* it lives */
            peer_send(m->peer, FRAME_PING, NULL);
        while (peer_next_kind(m->peer) == FRAME_PONG)
            (void)peer_expect(m->peer, FRAME_PONG);
    }
    return waited;
}

Test(shared_retry, what_fails_comes_again_after_a_time_that_doubles)
{
    struct stage s = stage_make();
    rig_emit_plain(s.p, s.partition, 7, 1);
    struct rig_member *m = rig_join(s.f, &plain);
    for (uint32_t attempt = 1; attempt < 5; attempt++) {
        struct rig_event event = rig_next(m);
        cr_assert_eq(event.attempt, attempt);
        cr_assert_eq(rig_nack(m, &event, 1, 0), 0);
        int64_t waited = until_delivered(m), full = SECOND << (attempt - 1);
        cr_assert_geq(waited, full / 2 - 10000, "attempt %u after %ld", attempt, (long)waited);
        cr_assert_leq(waited, full + 20000, "attempt %u after %ld", attempt, (long)waited);
    }
    rig_free(m);
    stage_end(&s);
}

Test(shared_retry, a_member_may_say_how_long_to_wait)
{
    struct stage s = stage_make();
    rig_emit_plain(s.p, s.partition, 7, 1);
    struct rig_member *m = rig_join(s.f, &plain);
    struct rig_event event = rig_next(m);
    cr_assert_eq(rig_nack(m, &event, 1, 5000), 0);
    int64_t waited = until_delivered(m);
    cr_assert_geq(waited, 5 * SECOND - 10000);
    cr_assert_leq(waited, 5 * SECOND + 20000);
    rig_free(m);
    stage_end(&s);
}

Test(shared_retry, others_go_on_while_one_waits)
{
    struct stage s = stage_make();
    rig_emit_plain(s.p, s.partition, 0, 4);
    struct rig_member *m =
        rig_join(s.f, &(struct rig_listen){.topic = "orders", .group = "g", .in_flight = 1});
    struct rig_event event = rig_next(m);
    cr_assert_eq(rig_nack(m, &event, 1, 60000), 0);
    for (uint64_t offset = 1; offset < 4; offset++) {
        event = rig_next(m);
        cr_assert_eq(event.offset, offset);
        cr_assert_eq(rig_ack(m, &event, 1), 0);
    }
    rig_free(m);
    stage_end(&s);
}

Test(shared_retry, due_times_and_attempts_survive_a_crash)
{
    for (int flushed = 0; flushed < 2; flushed++) {
        struct stage s = stage_make();
        rig_emit_plain(s.p, s.partition, 7, 1);
        struct rig_member *m = rig_join(s.f, &plain);
        struct rig_event event = rig_next(m);
        cr_assert_eq(rig_nack(m, &event, 1, 8000), 0);
        if (flushed)
            fixture_run(s.f, 3 * SECOND);
        fixture_crash(s.f);
        rig_free(m);
        m = rig_join(s.f, &plain);
        cr_assert_eq(m->got_count, 0, "not before it is due");
        int64_t waited = until_delivered(m) + (flushed ? 3 * SECOND : 0);
        cr_assert_geq(waited, 7 * SECOND, "%ld", (long)waited);
        cr_assert_leq(waited, 8 * SECOND + 100000, "%ld", (long)waited);
        cr_assert_eq(rig_next(m).attempt, 2);
        rig_free(m);
        stage_end(&s);
    }
}

/* Fails the next event so often; runs until it is delivered again or is dead. */
static void fail(struct rig_member *m, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        (void)until_delivered(m);
        struct rig_event event = rig_next(m);
        cr_assert_eq(rig_nack(m, &event, 1, 1), 0);
        cr_assert_eq(m->settled_refused, 0);
    }
    fixture_run(m->peer->fixture, 100000);
}

static void expect_header(const struct stage *s, size_t i, const char *line)
{
    cr_assert_not_null(strstr(s->read->headers[i], line), "no %s in %s", line, s->read->headers[i]);
}

Test(shared_retry, after_the_last_delivery_it_is_a_dead_letter_whole_with_its_reasons)
{
    struct stage s = stage_make();
    const char *keys[] = {"key"};
    rig_emit_plain(s.p, s.partition + 1, 1, 3);
    rig_emit(s.p, s.partition + 1, keys, 42, 1);
    cr_assert_eq(alter(&s, 1, 1, 3, ""), 0);
    struct rig_member *m = rig_join(s.f, &plain);
    for (int i = 0; i < 3; i++) {
        struct rig_event event = rig_next(m);
        cr_assert_eq(rig_ack(m, &event, 1), 0);
    }
    fail(m, 3);
    rig_take(m);
    cr_assert_eq(m->got_count, 0);
    rig_read_all(s.f, "$dead.orders", s.read);
    cr_assert_eq(s.read->count, 1);
    cr_assert_eq(s.read->events[0].value, 42);
    cr_assert_str_eq(s.read->events[0].key, "key");
    cr_assert_str_eq(s.read->headers[0],
                     "h=original\ncrier.dead.reason=it failed\ncrier.dead.attempts=3\ncrier.dead.group=g\n"
                     "crier.dead.topic=orders\ncrier.dead.partition=1\ncrier.dead.offset=3\n");
    rig_free(m);
    stage_end(&s);
}

Test(shared_retry, a_lease_that_runs_out_is_an_attempt)
{
    struct stage s = stage_make();
    rig_emit_plain(s.p, s.partition, 42, 1);
    cr_assert_eq(alter(&s, 1, 1, 2, "graveyard"), 0);
    struct rig_member *m =
        rig_join(s.f, &(struct rig_listen){.topic = "orders", .group = "g", .lease_ms = 500});
    cr_assert_eq(rig_next(m).attempt, 1);
    (void)until_delivered(m);
    cr_assert_eq(rig_next(m).attempt, 2);
    fixture_run(s.f, SECOND);
    rig_read_all(s.f, "graveyard", s.read);
    cr_assert_eq(s.read->count, 1);
    expect_header(&s, 0, "crier.dead.reason=the lease ran out\n");
    rig_free(m);
    stage_end(&s);
}

Test(shared_retry, what_is_rejected_is_dead_at_once)
{
    struct stage s = stage_make();
    rig_emit_plain(s.p, s.partition, 42, 2);
    struct rig_member *m = rig_join(s.f, &plain);
    struct rig_event event = rig_next(m);
    cr_assert_eq(rig_reject(m, &event, "no such customer"), 0);
    fixture_run(s.f, 100000);
    rig_read_all(s.f, "$dead.orders", s.read);
    cr_assert_eq(s.read->count, 1);
    expect_header(&s, 0, "crier.dead.reason=no such customer\n");
    expect_header(&s, 0, "crier.dead.attempts=1\n");
    event = rig_next(m);
    cr_assert_eq(rig_ack(m, &event, 1), 0);
    rig_free(m);
    stage_end(&s);
}

/* Power goes at every moment between the last NACK and the dead letter: there is exactly one, or the event comes again. */
Test(shared_retry, a_dead_letter_is_written_once_whenever_the_power_goes)
{
    size_t written = 0;
    for (int64_t after = 0; after < 8000; after += 500) {
        struct stage s = stage_make();
        rig_emit_plain(s.p, s.partition, 42, 1);
        cr_assert_eq(alter(&s, 1, 1, 1, ""), 0);
        struct rig_member *m = rig_join(s.f, &plain);
        struct rig_event event = rig_next(m);
        rig_nack_send(m, &event, 1, 0);
        fixture_run(s.f, after);
        fixture_crash(s.f);
        rig_free(m);
        m = rig_join(s.f, &plain);
        fixture_run(s.f, 100000);
        rig_take(m);
        if (m->got_count) { /* the NACK was not durable yet */
            cr_assert_eq(m->got[0].attempt, 1);
            cr_assert_eq(rig_nack(m, m->got, 1, 0), 0);
            fixture_run(s.f, 100000);
        } else {
            written++;
        }
        rig_read_all(s.f, "$dead.orders", s.read);
        cr_assert_eq(s.read->count, 1, "%zu after %ld us", s.read->count, (long)after);
        rig_free(m);
        stage_end(&s);
    }
    cr_assert_gt(written, 3);
}

static int redrive(struct rig_member *m, uint64_t limit)
{
    Wire__Redrive message = WIRE__REDRIVE__INIT;
    message.request = 8;
    message.topic = (char *)"orders";
    message.limit = limit;
    m->redriven = UINT64_MAX;
    peer_send(m->peer, FRAME_REDRIVE, &message.base);
    fixture_run(m->peer->fixture, 100000);
    rig_take(m);
    return (int)m->redriven;
}

Test(shared_retry, dead_letters_go_back_to_where_they_came_from)
{
    struct stage s = stage_make();
    rig_emit_plain(s.p, s.partition, 10, 4);
    rig_emit_plain(s.p, s.partition + 1, 20, 4);
    struct rig_member *m = rig_join(s.f, &plain);
    cr_assert_eq(m->got_count, 8);
    for (size_t i = 0; i < 8; i++)
        cr_assert_eq(rig_reject(m, &m->got[i], "no"), 0);
    fixture_run(s.f, 100000);
    rig_read_all(s.f, "$dead.orders", s.read);
    cr_assert_eq(s.read->count, 8);
    m->got_count = 0;
    cr_assert_eq(redrive(m, 3), 3);
    cr_assert_eq(redrive(m, 0), 5);
    cr_assert_eq(redrive(m, 0), 0, "there are no more");
    fixture_crash(s.f);
    rig_free(m);
    m = rig_join(s.f, &plain);
    cr_assert_eq(m->got_count, 8);
    for (size_t i = 0; i < 8; i++) {
        cr_assert_eq(m->got[i].attempt, 1, "as a new event");
        cr_assert_eq(m->got[i].partition, s.partition + (m->got[i].value >= 20));
    }
    rig_read_all(s.f, "$dead.orders", s.read);
    cr_assert_eq(s.read->count, 0);
    rig_read_all(s.f, "orders", s.read);
    cr_assert_eq(s.read->count, 16);
    cr_assert_str_eq(s.read->headers[15], "h=original\n", "as it was");
    rig_free(m);
    stage_end(&s);
}

Test(shared_retry, a_redrive_is_whole_whenever_the_power_goes)
{
    for (int64_t after = 0; after < 6000; after += 500) {
        struct stage s = stage_make();
        rig_emit_plain(s.p, s.partition, 10, 5);
        struct rig_member *m = rig_join(s.f, &plain);
        for (size_t i = 0; i < 5; i++)
            cr_assert_eq(rig_reject(m, &m->got[i], "no"), 0);
        fixture_run(s.f, 100000);
        Wire__Redrive message = WIRE__REDRIVE__INIT;
        message.request = 8;
        message.topic = (char *)"orders";
        peer_send(m->peer, FRAME_REDRIVE, &message.base);
        fixture_run(s.f, after);
        fixture_crash(s.f);
        rig_read_all(s.f, "$dead.orders", s.read);
        size_t dead = s.read->count;
        rig_read_all(s.f, "orders", s.read);
        cr_assert_eq(dead + s.read->count, 10, "%zu dead, %zu in all after %ld us", dead, s.read->count,
                     (long)after);
        rig_free(m);
        stage_end(&s);
    }
}

/* Its read is done, and its events are being written, when the disk fails. */
Test(shared_retry, a_redrive_that_the_disk_fails_is_answered)
{
    struct stage s = stage_make();
    rig_emit_plain(s.p, s.partition, 10, 2);
    struct rig_member *m = rig_join(s.f, &plain);
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(rig_reject(m, &m->got[i], "no"), 0);
    fixture_run(s.f, 100000);
    Wire__Redrive message = WIRE__REDRIVE__INIT;
    message.request = 8;
    message.topic = (char *)"orders";
    store_memory_fault_commit(s.f->store, 1);
    peer_send(s.p, FRAME_REDRIVE, &message.base);
    fixture_run(s.f, 100000);
    const Wire__Redriven *answer = peer_expect_past(s.p, FRAME_REDRIVEN);
    cr_assert_eq(answer->code, WIRE_CRIER_EIO);
    cr_assert_eq(answer->moved, 0);
    rig_free(m);
    stage_end(&s);
}

Test(shared_retry, what_cannot_be_is_refused)
{
    struct stage s = stage_make();
    cr_assert_eq(alter(&s, 86400001, 0, 0, ""), WIRE_CRIER_EINVAL);
    cr_assert_eq(alter(&s, 0, 0, 1001, ""), WIRE_CRIER_EINVAL);
    cr_assert_eq(alter(&s, 0, 0, 0, "orders"), WIRE_CRIER_EINVAL, "not its own");
    cr_assert_eq(alter(&s, 0, 0, 0, "a..b"), WIRE_CRIER_EINVAL);
    cr_assert_eq(alter(&s, 5, 6, 7, "graves"), 0);
    fixture_run(s.f, 3 * SECOND);
    fixture_crash(s.f);
    s.p = peer_welcome(s.f);
    cr_assert_eq(alter(&s, 5, 6, 7, "graves"), 0, "and kept");
    stage_end(&s);
}

/* Found by the simulator: two members had the same attempt, one of them by an EXTEND that counted. */
Test(shared_retry, what_a_member_has_claimed_is_not_given_back_for_it)
{
    struct fixture *f = fixture_create();
    f->store_options.read = (struct store_memory_delay){10 * FIXTURE_COMMIT_US, 10 * FIXTURE_COMMIT_US};
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    uint64_t partition = peer_topic(p, "orders", 1);
    rig_emit_plain(p, partition, 0, 1);
    rig_emit_plain(p, partition, 1, 1); /* the member holds this batch, not the one before */
    fixture_restart(f);                 /* nothing is cached */
    struct rig_member *a = rig_join(f, &plain);
    fixture_settle(f);
    rig_take(a);
    struct rig_event event = rig_next(a);
    store_memory_fault_full(f->store, true);
    rig_nack_send(a, &event, 1, 0);
    fixture_run(f, 2 * FIXTURE_COMMIT_US); /* refused, leased to it again, and being read */
    store_memory_fault_full(f->store, false);
    rig_extend_send(a, &event, 1, 0);
    fixture_run(f, 2 * FIXTURE_COMMIT_US); /* it counts */
    peer_close(a->peer);                   /* what was not sent is given back */
    struct rig_member *b = rig_join(f, &plain);
    fixture_settle(f);
    rig_take(b);
    cr_assert_eq(b->got_count, 0, "the first member may come back and has it");
    rig_free(b);
    rig_free(a);
    fixture_destroy(f);
}
