/* test_core_client_quota.c: a quota of a client's name: one for all connections that say it, in the place of each one's own. */
#include "tests/unit/core_outcome.h"

#include <stdio.h>
#include <string.h>

#define SECOND INT64_C(1000000)

static void named(struct fixture *f, const char *name, uint64_t events, uint64_t bytes)
{
    struct client_quota *to = &f->config.client_quotas[f->config.client_quota_count++];
    snprintf(to->name, sizeof(to->name), "%s", name);
    to->quota = (struct quota){events, bytes};
}

static struct fixture *fixture_make(uint64_t client_events)
{
    struct fixture *f = fixture_create();
    f->config.client_quota.events = client_events;
    f->config.ping_interval_ms = f->config.idle_timeout_ms = 600000;
    return f;
}

static void take_credit(struct peer *p)
{
    while (peer_has_frame(p, FRAME_CREDIT))
        p->grant = ((const Wire__Credit *)peer_expect(p, FRAME_CREDIT))->total;
}

Test(client_quota, connections_of_one_name_share_it_and_nobody_else_does)
{
    struct fixture *f = fixture_make(0);
    named(f, "importer", 100, 0);
    fixture_start(f);
    struct peer *a = peer_welcome_named(f, "importer"), *b = peer_welcome_named(f, "importer");
    struct peer *other = peer_welcome_named(f, "importer2"), *unnamed = peer_welcome(f);
    struct batch_spec spec = {.partition = peer_topic(a, "t", 1), .count = 100};
    cr_assert_eq(peer_emit_one(a, spec).outcome, WIRE__OUTCOME__OK);
    cr_assert_eq(peer_emit_one(b, spec).outcome, WIRE__OUTCOME__OK);
    cr_assert_eq(peer_emit_one(a, spec).outcome, WIRE__OUTCOME__OK, "within a second's patience");
    peer_emit(b, &spec, 1);
    fixture_settle(f);
    const Wire__Emitted *emitted = peer_expect_beyond_credit(b, FRAME_EMITTED);
    cr_assert_eq(emitted->parts[0]->outcome, WIRE__OUTCOME__REFUSED);
    cr_assert_eq(emitted->parts[0]->code, WIRE_CRIER_EQUOTA);
    cr_assert_not_null(strstr(emitted->text, "client-quota"), "%s", emitted->text);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(peer_emit_one(other, spec).outcome, WIRE__OUTCOME__OK);
        cr_assert_eq(peer_emit_one(unnamed, spec).outcome, WIRE__OUTCOME__OK);
    }
    fixture_destroy(f);
}

/* Two connections that keep to their credit, for ten seconds: together what the quota says, and no error. */
Test(client_quota, who_keeps_to_the_credit_gets_its_events_a_second_and_no_error)
{
    struct fixture *f = fixture_make(0);
    named(f, "importer", 1000, 0);
    fixture_start(f);
    struct peer *peers[] = {peer_welcome_named(f, "importer"), peer_welcome_named(f, "importer")};
    struct batch_spec spec = {.partition = peer_topic(peers[0], "t", 1), .count = 10, .value_size = 100};
    size_t size = emit_frame_size(peers[0], &spec, 1), stored = 0, by_first = 0;
    int64_t end_us = f->mono_us + 10 * SECOND;
    while (f->mono_us < end_us) {
        for (int i = 0; i < 2; i++) {
            take_credit(peers[i]);
            if (peers[i]->grant - peers[i]->emitted_bytes < size)
                continue;
            cr_assert_eq(peer_emit_one(peers[i], spec).outcome, WIRE__OUTCOME__OK);
            stored += 10;
            by_first += i == 0 ? 10 : 0;
        }
        fixture_run(f, 1000);
    }
    cr_assert_geq(stored, 10000);
    cr_assert_leq(stored, 11200, "%zu: a burst of a second, and what was granted before", stored);
    cr_assert_gt(by_first, 2000, "%zu", by_first);
    cr_assert_lt(by_first, stored - 2000, "%zu", by_first);
    fixture_destroy(f);
}

Test(client_quota, it_takes_the_place_of_each_ones_own_and_none_lifts_that)
{
    struct fixture *f = fixture_make(10);
    named(f, "large", 1000, 0);
    named(f, "free", QUOTA_NONE, 0);
    named(f, "bytes", 0, 1 << 30); /* its events are the broker's number */
    fixture_start(f);
    struct peer *large = peer_welcome_named(f, "large"), *unbound = peer_welcome_named(f, "free"),
                *bytes = peer_welcome_named(f, "bytes");
    struct batch_spec spec = {.partition = peer_topic(large, "t", 1), .count = 100};
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(peer_emit_one(large, spec).outcome, WIRE__OUTCOME__OK);
        cr_assert_eq(peer_emit_one(unbound, spec).outcome, WIRE__OUTCOME__OK);
    }
    cr_assert_eq(peer_emit_one(bytes, spec).outcome, WIRE__OUTCOME__OK);
    cr_assert_eq(peer_emit_one(bytes, spec).code, WIRE_CRIER_EQUOTA);
    fixture_destroy(f);
}

/* Else who is over it would only have to connect again. */
Test(client_quota, a_new_connection_is_no_new_quota)
{
    struct fixture *f = fixture_make(0);
    named(f, "importer", 10, 0);
    fixture_start(f);
    struct peer *p = peer_welcome_named(f, "importer");
    struct batch_spec spec = {.partition = peer_topic(p, "t", 1), .count = 100};
    cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
    peer_close(p);
    p = peer_welcome_named(f, "importer");
    cr_assert_eq(peer_emit_one(p, spec).code, WIRE_CRIER_EQUOTA);
    fixture_run(f, 10 * SECOND);
    cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK, "made good by then");
    fixture_destroy(f);
}

/* Of a name only the first 63 bytes are remembered: a longer one is not mistaken for one that has a quota. */
Test(client_quota, a_long_name_is_not_taken_for_another)
{
    struct fixture *f = fixture_make(0);
    char name[CLIENT_QUOTA_NAME_MAX + 3];
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    named(f, name, 10, 0); /* shortened to what a quota may name */
    cr_assert_eq(strlen(f->config.client_quotas[0].name), CLIENT_QUOTA_NAME_MAX);
    fixture_start(f);
    struct peer *p = peer_welcome_named(f, name);
    struct peer *same = peer_welcome_named(f, f->config.client_quotas[0].name);
    struct batch_spec spec = {.partition = peer_topic(p, "t", 1), .count = 100};
    for (int i = 0; i < 3; i++)
        cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
    cr_assert_eq(peer_emit_one(same, spec).outcome, WIRE__OUTCOME__OK);
    cr_assert_eq(peer_emit_one(same, spec).code, WIRE_CRIER_EQUOTA);
    fixture_destroy(f);
}

Test(client_quota, others_hold_from_then_on_for_who_is_connected)
{
    struct fixture *f = fixture_make(0);
    fixture_start(f);
    struct peer *p = peer_welcome_named(f, "importer");
    struct batch_spec spec = {.partition = peer_topic(p, "t", 1), .count = 100};
    for (int i = 0; i < 3; i++)
        cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
    named(f, "someone", 1, 0);
    named(f, "importer", 10, 0);
    core_reconfigure(f->core, &f->config);
    cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
    cr_assert_eq(peer_emit_one(p, spec).code, WIRE_CRIER_EQUOTA);
    f->config.client_quotas[1].quota.events = 20;
    core_reconfigure(f->core, &f->config);
    cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK,
                 "what was too much under the old one is not");
    cr_assert_eq(peer_emit_one(p, spec).code, WIRE_CRIER_EQUOTA);
    f->config.client_quotas[1].quota.events = QUOTA_NONE;
    core_reconfigure(f->core, &f->config);
    cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK, "goes on at once");
    f->config.client_quota_count = 0;
    core_reconfigure(f->core, &f->config);
    cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
    fixture_destroy(f);
}

static void topic_quota(struct peer *p, uint64_t events)
{
    Wire__TopicQuota quota = WIRE__TOPIC_QUOTA__INIT;
    Wire__TopicAlter message = WIRE__TOPIC_ALTER__INIT;
    quota.events = events;
    message.request = 3;
    message.name = (char *)"t";
    message.set = 256;
    message.quota = &quota;
    peer_send(p, FRAME_TOPIC_ALTER, &message.base);
    fixture_settle(p->fixture);
    cr_assert_eq(((const Wire__Topics *)peer_expect_past(p, FRAME_TOPICS))->code, 0);
}

static uint64_t credit_left(struct peer *p)
{
    take_credit(p);
    return p->grant - p->emitted_bytes;
}

Test(client_quota, a_topics_quota_that_is_lifted_does_not_lift_the_names)
{
    struct fixture *f = fixture_make(0);
    named(f, "importer", 10, 0);
    fixture_start(f);
    struct peer *p = peer_welcome_named(f, "importer"), *admin = peer_welcome(f);
    struct batch_spec spec = {.partition = peer_topic(p, "t", 1), .count = 30};
    topic_quota(admin, 1);
    cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK); /* 2 s too much, and 29 s */
    Wire__CreditWant want = WIRE__CREDIT_WANT__INIT;
    want.bytes = 20000;
    peer_send(p, FRAME_CREDIT_WANT, &want.base);
    fixture_run(f, SECOND);
    topic_quota(admin, QUOTA_NONE);
    fixture_run(f, SECOND / 2);
    cr_assert_lt(credit_left(p), 20000);
    fixture_run(f, SECOND);
    cr_assert_geq(credit_left(p), 20000);
    fixture_destroy(f);
}
