/* test_core_topic_quota.c: a topic's own quota, in the place of the broker's for topics. */
#include "broker/core/message.h"
#include "tests/unit/core_outcome.h"

#include <string.h>

#define SECOND INT64_C(1000000)

static struct fixture *fixture_with(struct quota of_topics)
{
    struct fixture *f = fixture_create();
    f->config.topic_quota = of_topics;
    f->config.ping_interval_ms = f->config.idle_timeout_ms = 600000;
    fixture_start(f);
    return f;
}

/* Returns the TOPICS that answers. */
static const Wire__Topics *create(struct peer *p, const char *name, uint64_t events, uint64_t bytes,
                                  bool ephemeral)
{
    Wire__TopicCreate message = WIRE__TOPIC_CREATE__INIT;
    Wire__TopicQuota quota = WIRE__TOPIC_QUOTA__INIT;
    quota.events = events;
    quota.bytes = bytes;
    message.request = 9;
    message.name = (char *)name;
    message.ephemeral = ephemeral;
    message.quota = &quota;
    peer_send(p, FRAME_TOPIC_CREATE, &message.base);
    fixture_settle(p->fixture);
    const Wire__Topics *topics = peer_expect_beyond_credit(p, FRAME_TOPICS);
    cr_assert_eq(topics->code, 0);
    return topics;
}

static uint64_t created(struct peer *p, const char *name, uint64_t events, uint64_t bytes)
{
    return create(p, name, events, bytes, false)->topics[0]->partitions[0]->id;
}

static const Wire__Topics *alter(struct peer *p, const char *name, uint32_t set, uint64_t events,
                                 uint64_t bytes)
{
    Wire__TopicAlter message = WIRE__TOPIC_ALTER__INIT;
    Wire__TopicQuota quota = WIRE__TOPIC_QUOTA__INIT;
    quota.events = events;
    quota.bytes = bytes;
    message.request = 10;
    message.name = (char *)name;
    message.set = set;
    message.quota = &quota;
    peer_send(p, FRAME_TOPIC_ALTER, &message.base);
    fixture_settle(p->fixture);
    return peer_expect_beyond_credit(p, FRAME_TOPICS);
}

/* So much at once is in time, and its meter is then `count` / rate seconds ahead: what comes next is refused. */
static void assert_full_after(struct peer *p, struct batch_spec spec)
{
    cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
    assert_refused(peer_emit_one(p, spec), WIRE_CRIER_EQUOTA);
}

static void assert_never_full(struct peer *p, struct batch_spec spec)
{
    for (int i = 0; i < 20; i++)
        cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
}

Test(topic_quota, holds_for_its_topic_alone)
{
    struct fixture *f = fixture_with((struct quota){0});
    struct peer *a = peer_welcome(f), *b = peer_welcome(f);
    struct batch_spec own = {.partition = created(a, "own", 10, 0), .count = 100};
    struct batch_spec other = {.partition = peer_topic(a, "other", 1), .count = 100};
    assert_full_after(a, own);
    assert_refused(peer_emit_one(b, own), WIRE_CRIER_EQUOTA);
    assert_never_full(b, other);
    fixture_destroy(f);
}

Test(topic_quota, takes_the_place_of_the_brokers_each_limit_for_itself)
{
    struct fixture *f = fixture_with((struct quota){.events = 10, .bytes = 1000});
    struct peer *p = peer_welcome(f);
    struct batch_spec small = {.partition = created(p, "many", 1000000, 0), .count = 100};
    cr_assert_eq(peer_emit_one(p, small).outcome, WIRE__OUTCOME__OK, "100 events of 10 a second");
    struct batch_spec large = {.partition = small.partition, .count = 1, .value_size = 2500};
    (void)peer_emit_one(peer_welcome(f), large); /* a grant of its own each */
    assert_refused(peer_emit_one(peer_welcome(f), large), WIRE_CRIER_EQUOTA);
    fixture_destroy(f);
}

Test(topic_quota, of_none_lifts_the_brokers)
{
    struct fixture *f = fixture_with((struct quota){.events = 10, .bytes = 10});
    struct peer *p = peer_welcome(f), *q = peer_welcome(f);
    struct batch_spec spec = {.partition = created(p, "free", QUOTA_NONE, QUOTA_NONE), .count = 100};
    struct batch_spec other = {.partition = peer_topic(p, "other", 1), .count = 100};
    assert_never_full(p, spec);
    assert_full_after(q, other);
    fixture_destroy(f);
}

Test(topic_quota, is_told_and_what_an_alteration_does_not_name_stays)
{
    struct fixture *f = fixture_with((struct quota){0});
    struct peer *p = peer_welcome(f);
    created(p, "t", 10, 20);
    const Wire__TopicInfo *info = alter(p, "t", TOPIC_SET_QUOTA_BYTES, 1, QUOTA_NONE)->topics[0];
    cr_assert_eq(info->quota->events, 10);
    cr_assert_eq(info->quota->bytes, QUOTA_NONE);
    info = alter(p, "t", TOPIC_SET_QUOTA_EVENTS | TOPIC_SET_QUOTA_BYTES, 0, 0)->topics[0];
    cr_assert_null(info->quota, "as the broker says");
    fixture_destroy(f);
}

Test(topic_quota, that_is_raised_lets_who_it_slowed_go_on_at_once)
{
    struct fixture *f = fixture_with((struct quota){0});
    struct peer *p = peer_welcome(f), *admin = peer_welcome(f);
    struct batch_spec spec = {.partition = created(p, "t", 1, 0), .count = 100};
    cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
    Wire__CreditWant want = WIRE__CREDIT_WANT__INIT;
    want.bytes = 4 << 20;
    while (peer_has_frame(p, FRAME_CREDIT))
        p->grant = ((const Wire__Credit *)peer_expect(p, FRAME_CREDIT))->total;
    peer_send(p, FRAME_CREDIT_WANT, &want.base);
    fixture_run(f, 10 * SECOND);
    cr_assert_not(peer_has_frame(p, FRAME_CREDIT), "it is slowed for 99 s");
    alter(admin, "t", TOPIC_SET_QUOTA_EVENTS, 1000000, 0);
    fixture_run(f, SECOND);
    cr_assert(peer_has_frame(p, FRAME_CREDIT));
    assert_never_full(admin, spec);
    fixture_destroy(f);
}

Test(topic_quota, that_goes_with_its_topic_lets_who_it_slowed_go_on)
{
    struct fixture *f = fixture_with((struct quota){.events = 1});
    struct peer *p = peer_welcome(f);
    struct batch_spec spec = {.partition = peer_topic(p, "t", 1), .count = 100};
    cr_assert_eq(peer_emit_one(p, spec).outcome, WIRE__OUTCOME__OK);
    Wire__TopicDelete message = WIRE__TOPIC_DELETE__INIT;
    message.request = 11;
    message.name = (char *)"t";
    peer_send(p, FRAME_TOPIC_DELETE, &message.base);
    fixture_settle(f);
    cr_assert_eq(((const Wire__Topics *)peer_expect_beyond_credit(p, FRAME_TOPICS))->code, 0);
    fixture_run(f, 10 * SECOND);
    spec.partition = created(p, "t", 5, 0);
    assert_full_after(p, spec);
    fixture_destroy(f);
}

Test(topic_quota, is_there_after_a_restart_and_after_a_crash)
{
    struct fixture *f = fixture_with((struct quota){0});
    struct peer *p = peer_welcome(f);
    struct batch_spec spec = {.partition = created(p, "t", 0, 0), .count = 100};
    alter(p, "t", TOPIC_SET_QUOTA_EVENTS, 10, 0);
    fixture_restart(f);
    assert_full_after(peer_welcome(f), spec);
    p = peer_welcome(f);
    alter(p, "t", TOPIC_SET_QUOTA_EVENTS, 20, 0);
    fixture_run(f, 5 * SECOND); /* a flush: the row has it */
    fixture_crash(f);
    assert_full_after(peer_welcome(f), spec);
    fixture_destroy(f);
}

Test(topic_quota, of_an_ephemeral_topic_can_be_altered_what_it_keeps_cannot)
{
    struct fixture *f = fixture_with((struct quota){0});
    struct peer *p = peer_welcome(f);
    const Wire__TopicInfo *info = create(p, "e", 10, 0, true)->topics[0];
    struct batch_spec spec = {.partition = info->partitions[0]->id, .count = 100, .memory = true};
    assert_full_after(p, spec);
    cr_assert_eq(alter(p, "e", TOPIC_SET_QUOTA_EVENTS | TOPIC_SET_COUNT, 0, 0)->code, WIRE_CRIER_ENOTSUP);
    cr_assert_eq(alter(p, "e", TOPIC_SET_QUOTA_EVENTS, QUOTA_NONE, 0)->code, 0);
    assert_never_full(p, spec);
    fixture_destroy(f);
}

Test(topic_quota, refused_by_the_disk_is_not_the_topics)
{
    struct fixture *f = fixture_with((struct quota){0});
    struct peer *p = peer_welcome(f);
    struct batch_spec spec = {.partition = created(p, "t", 0, 0), .count = 100};
    store_memory_fault_full(f->store, true);
    cr_assert_neq(alter(p, "t", TOPIC_SET_QUOTA_EVENTS, 1, 0)->code, 0);
    store_memory_fault_full(f->store, false);
    assert_never_full(p, spec);
    fixture_destroy(f);
}
