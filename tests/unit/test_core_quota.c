/* test_core_quota.c: who emits too much is slowed by its credit, then refused with a reason, and never disconnected. */
#include "tests/unit/core_outcome.h"

#include <string.h>

#define SECOND INT64_C(1000000)

static struct fixture *fixture_with(struct quota client, struct quota topic)
{
    struct fixture *f = fixture_create();
    f->config.client_quota = client;
    f->config.topic_quota = topic;
    f->config.ping_interval_ms = f->config.idle_timeout_ms = 600000;
    fixture_start(f);
    return f;
}

static void take_credit(struct peer *p)
{
    while (peer_has_frame(p, FRAME_CREDIT))
        p->grant = ((const Wire__Credit *)peer_expect(p, FRAME_CREDIT))->total;
}

/* Emits as fast as the credit lets it, for so long; returns how many events were stored. Nothing is refused. */
static uint64_t emit_within_credit(struct fixture *f, struct peer *p, struct batch_spec spec, int64_t us)
{
    uint64_t stored = 0;
    int64_t end_us = f->mono_us + us;
    size_t size = emit_frame_size(p, &spec, 1);
    while (f->mono_us < end_us) {
        if (p->grant - p->emitted_bytes < size) {
            fixture_run(f, 5000);
            take_credit(p);
            continue;
        }
        cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
        stored += (uint64_t)spec.count;
        take_credit(p);
    }
    return stored;
}

Test(quota, a_client_that_keeps_to_its_credit_gets_its_events_a_second_and_no_error)
{
    struct fixture *f = fixture_with((struct quota){.events = 1000}, (struct quota){0});
    struct peer *p = peer_welcome(f);
    struct batch_spec spec = {.partition = peer_topic(p, "t", 1), .count = 10, .value_size = 100};
    uint64_t stored = emit_within_credit(f, p, spec, 10 * SECOND);
    cr_assert_geq(stored, 10000);
    cr_assert_leq(stored, 10000 + 1000 + 100, "a burst of a second, and what was granted before: %lu",
                  (unsigned long)stored);
    cr_assert(fixture_logged(f, "QUOTA-SLOWED"));
    fixture_destroy(f);
}

Test(quota, bytes_are_counted_as_events_are)
{
    struct fixture *f = fixture_with((struct quota){.bytes = 100000}, (struct quota){0});
    struct peer *p = peer_welcome(f);
    struct batch_spec spec = {.partition = peer_topic(p, "t", 1), .count = 1, .value_size = 2000};
    uint64_t bytes = emit_within_credit(f, p, spec, 10 * SECOND) * 2000;
    cr_assert_geq(bytes, 900000);
    cr_assert_leq(bytes, 1150000);
    fixture_destroy(f);
}

Test(quota, a_topics_quota_is_shared_by_all_who_emit_to_it_and_by_nobody_else)
{
    struct fixture *f = fixture_with((struct quota){0}, (struct quota){.events = 100});
    struct peer *a = peer_welcome(f), *b = peer_welcome(f), *c = peer_welcome(f);
    struct batch_spec busy = {.partition = peer_topic(a, "busy", 1), .count = 100};
    struct batch_spec other = {.partition = peer_topic(a, "other", 1), .count = 100};
    cr_assert_eq(peer_emit_one(a, busy).outcome, WIRE__OUTCOME__OK);
    cr_assert_eq(peer_emit_one(b, busy).outcome, WIRE__OUTCOME__OK);
    cr_assert_eq(peer_emit_one(a, busy).outcome, WIRE__OUTCOME__OK, "within a second's patience");
    struct outcome over = peer_emit_one(b, busy);
    cr_assert_eq(over.outcome, WIRE__OUTCOME__REFUSED);
    cr_assert_eq(over.code, WIRE_CRIER_EQUOTA);
    cr_assert_eq(peer_emit_one(c, other).outcome, WIRE__OUTCOME__OK);
    fixture_destroy(f);
}

Test(quota, what_comes_all_the_same_is_refused_with_what_to_do_and_the_connection_stays)
{
    struct fixture *f = fixture_with((struct quota){.events = 10}, (struct quota){0});
    struct peer *p = peer_welcome(f);
    struct batch_spec spec = {.partition = peer_topic(p, "t", 1), .count = 100};
    cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
    spec.count = 1;
    peer_emit(p, &spec, 1);
    fixture_settle(f);
    const Wire__Emitted *emitted = peer_expect_beyond_credit(p, FRAME_EMITTED);
    cr_assert_eq(emitted->parts[0]->outcome, WIRE__OUTCOME__REFUSED);
    cr_assert_eq(emitted->parts[0]->code, WIRE_CRIER_EQUOTA);
    cr_assert_not_null(strstr(emitted->text, "client-events-max"), "%s", emitted->text);
    fixture_run(f, 9 * SECOND);
    cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK, "refused ones did not count");
    cr_assert_not(p->closing);
    fixture_destroy(f);
}

Test(quota, what_is_stored_already_is_told_so_and_not_refused)
{
    struct fixture *f = fixture_with((struct quota){0}, (struct quota){.events = 10});
    struct peer *p = peer_welcome(f);
    struct batch_spec spec = {
        .partition = peer_topic(p, "t", 1), .count = 100, .producer_id = (int64_t)p->producer_id};
    cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
    uint64_t producer_id = p->producer_id;
    peer_close(p);
    p = peer_welcome_again(f, producer_id);
    struct outcome again = peer_emit_one(p, spec);
    cr_assert_eq(again.outcome, WIRE__OUTCOME__OK);
    cr_assert(again.duplicate);
    spec.sequence = 100;
    cr_assert_eq(peer_emit_one(p, spec).code, WIRE_CRIER_EQUOTA);
    fixture_destroy(f);
}

Test(quota, who_asks_for_a_large_frame_while_slowed_holds_up_nobody_and_gets_it_in_time)
{
    struct fixture *f = fixture_create();
    f->config.client_quota = (struct quota){.events = 10};
    f->config.ingest_bytes_max = 64 * 1024;
    f->config.producer_window_max = 32 * 1024;
    f->config.ping_interval_ms = f->config.idle_timeout_ms = 600000;
    fixture_start(f);
    struct peer *slowed = peer_welcome(f), *other = peer_welcome(f);
    struct batch_spec spec = {.partition = peer_topic(slowed, "t", 1), .count = 50};
    cr_assert_eq(peer_emit_one(slowed, spec).outcome, WIRE__OUTCOME__OK);
    take_credit(slowed);
    Wire__CreditWant want = WIRE__CREDIT_WANT__INIT;
    want.bytes = 20000;
    peer_send(slowed, FRAME_CREDIT_WANT, &want.base);
    peer_send(other, FRAME_CREDIT_WANT, &want.base);
    fixture_settle(f);
    take_credit(slowed);
    take_credit(other);
    cr_assert_geq(other->grant - other->emitted_bytes, 20000);
    cr_assert_lt(slowed->grant - slowed->emitted_bytes, 20000);
    fixture_run(f, 5 * SECOND);
    take_credit(slowed);
    cr_assert_geq(slowed->grant - slowed->emitted_bytes, 20000);
    fixture_destroy(f);
}

Test(quota, other_quotas_hold_from_then_on)
{
    struct fixture *f = fixture_with((struct quota){.events = 10}, (struct quota){0});
    struct peer *p = peer_welcome(f);
    struct batch_spec spec = {.partition = peer_topic(p, "t", 1), .count = 100};
    cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
    cr_assert_eq(peer_emit_one(p, spec).code, WIRE_CRIER_EQUOTA);
    f->config.client_quota.events = 0;
    core_reconfigure(f->core, &f->config);
    cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
    fixture_destroy(f);
}

Test(quota, a_slowed_connection_may_go)
{
    struct fixture *f = fixture_with((struct quota){.events = 10}, (struct quota){0});
    struct peer *p = peer_welcome(f), *other = peer_welcome(f);
    struct batch_spec spec = {.partition = peer_topic(p, "t", 1), .count = 15};
    cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
    cr_assert_eq(peer_emit_one(other, spec).outcome, WIRE__OUTCOME__OK);
    peer_close(p);
    fixture_run(f, 10 * SECOND);
    cr_assert_eq(peer_emit_one(other, spec).outcome, WIRE__OUTCOME__OK);
    fixture_destroy(f);
}

Test(quota, an_ephemeral_topic_has_one_too)
{
    struct fixture *f = fixture_with((struct quota){0}, (struct quota){.events = 10});
    struct peer *p = peer_welcome(f);
    Wire__TopicCreate create = WIRE__TOPIC_CREATE__INIT;
    create.request = 9;
    create.name = (char *)"e";
    create.ephemeral = true;
    peer_send(p, FRAME_TOPIC_CREATE, &create.base);
    fixture_settle(f);
    const Wire__Topics *topics = peer_expect(p, FRAME_TOPICS);
    struct batch_spec spec = {
        .partition = topics->topics[0]->partitions[0]->id, .count = 100, .memory = true};
    cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
    cr_assert_eq(peer_emit_one(p, spec).code, WIRE_CRIER_EQUOTA);
    fixture_destroy(f);
}

Test(quota, listeners_and_topics_beyond_their_limits_are_refused_for_themselves)
{
    struct fixture *f = fixture_create();
    f->config.listeners_max = 1;
    f->config.topics_max = 2;
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    peer_topic(p, "a", 1);
    peer_topic(p, "b", 1);
    cr_assert_eq(peer_topic_code(p, "c", 1), WIRE_CRIER_EQUOTA);
    cr_assert_eq(peer_topic_code(p, "a", 1), WIRE_CRIER_EEXIST);
    peer_listen(p, &(struct listen_spec){.id = 1, .topic = "a"});
    peer_listen(p, &(struct listen_spec){.id = 2, .topic = "a"});
    fixture_settle(f);
    const Wire__Ended *ended = peer_expect_anywhere(p, FRAME_ENDED);
    cr_assert_eq(ended->listener, 2);
    cr_assert_eq(ended->code, WIRE_CRIER_EQUOTA);
    cr_assert_not_null(strstr(ended->text, "listeners-max"));
    peer_unlisten(p, 1);
    fixture_settle(f);
    peer_listen(p, &(struct listen_spec){.id = 2, .topic = "a"});
    fixture_settle(f);
    cr_assert(peer_has_frame(p, FRAME_LISTENING));
    fixture_destroy(f);
}

Test(quota, a_connection_that_is_turned_away_is_told_why)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_open(f);
    core_connection_turn_away(p->connection, "one too many");
    peer_expect_error(p, WIRE_CRIER_EQUOTA);
    fixture_destroy(f);
}
