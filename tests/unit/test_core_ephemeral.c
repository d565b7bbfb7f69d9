/* test_core_ephemeral.c: what an ephemeral topic promises: at most once, in order, to who is there, and nothing in the log. */
#include "tests/unit/core_outcome.h"

struct stage {
    struct fixture *f;
    struct peer *p; /* emits */
    struct peer *l; /* listens */
    uint64_t topic; /* its partition */
};

static uint64_t topic_create(struct peer *p, const char *name)
{
    Wire__TopicCreate message = WIRE__TOPIC_CREATE__INIT;
    message.request = 7;
    message.name = (char *)(uintptr_t)name;
    message.ephemeral = true;
    peer_send(p, FRAME_TOPIC_CREATE, &message.base);
    fixture_settle(p->fixture);
    const Wire__Topics *topics = peer_expect(p, FRAME_TOPICS);
    cr_assert_eq(topics->code, 0, "%s", topics->text);
    cr_assert(topics->topics[0]->ephemeral);
    cr_assert_eq(topics->topics[0]->durability, WIRE__DURABILITY__MEMORY);
    return topics->topics[0]->partitions[0]->id;
}

static struct stage stage_make(void)
{
    struct stage s = {.f = fixture_create()};
    fixture_start(s.f);
    s.p = peer_welcome(s.f);
    s.l = peer_welcome(s.f);
    s.topic = topic_create(s.p, "now");
    return s;
}

struct slow_spec {
    uint64_t credit, queue_size;
    Wire__Slow slow;
};

static void listen_slowly(struct stage *s, struct peer *peer, struct slow_spec spec)
{
    Wire__Listen listen = WIRE__LISTEN__INIT;
    listen.listener = 1;
    listen.topic = (char *)(uintptr_t) "now";
    listen.credit = spec.credit;
    listen.queue_size = spec.queue_size;
    listen.slow = spec.slow;
    peer_send(peer, FRAME_LISTEN, &listen.base);
    fixture_settle(s->f);
    const Wire__Listening *listening = peer_expect(peer, FRAME_LISTENING);
    cr_assert_eq(listening->n_partitions, 1);
    cr_assert(listening->partitions[0]->ephemeral);
}

static void listen_to(struct stage *s, struct peer *peer)
{
    listen_slowly(s, peer, (struct slow_spec){.credit = 1 << 20});
}

/* One memory emit of so many events; the number of listeners it was handed to. */
static uint32_t emit(struct stage *s, int32_t count)
{
    peer_emit(s->p, &(struct batch_spec){.partition = s->topic, .count = count, .memory = true}, 1);
    fixture_turn(s->f);
    const Wire__Emitted *emitted = peer_expect_beyond_credit(s->p, FRAME_EMITTED);
    cr_assert_eq(emitted->n_parts, 1);
    cr_assert_eq(emitted->parts[0]->outcome, WIRE__OUTCOME__OK, "%d: %s", emitted->parts[0]->code,
                 emitted->text);
    return emitted->parts[0]->listeners;
}

static uint64_t expect_deliver(struct peer *peer, uint64_t first, uint64_t next)
{
    uint64_t from, to;
    const Wire__Deliver *deliver = peer_delivered(peer, &from, &to);
    cr_assert_eq(from, first, "from %llu", (unsigned long long)from);
    cr_assert_eq(to, next, "to %llu", (unsigned long long)to);
    return deliver->dropped;
}

Test(ephemeral, events_reach_who_is_there_in_the_turn_they_come_and_not_the_log)
{
    struct stage s = stage_make();
    uint64_t events = fixture_stats(s.f).events_in;
    cr_assert_eq(emit(&s, 1), 0, "nobody listens yet");
    listen_to(&s, s.l);
    cr_assert_eq(emit(&s, 2), 1);
    expect_deliver(s.l, 1, 3);
    cr_assert_eq(fixture_stats(s.f).events_in, events);
    cr_assert_eq(fixture_stats(s.f).handed, 3);
    cr_assert_eq(fixture_stats(s.f).reads, 0);
    cr_assert_eq(fixture_stats(s.f).backlog_bytes, 0);
    fixture_destroy(s.f);
}

Test(ephemeral, every_listener_gets_every_event_once)
{
    struct stage s = stage_make();
    struct peer *other = peer_welcome(s.f);
    listen_to(&s, s.l);
    listen_to(&s, other);
    for (uint64_t i = 0; i < 20; i++) {
        cr_assert_eq(emit(&s, 1), 2);
        expect_deliver(s.l, i, i + 1);
        expect_deliver(other, i, i + 1);
    }
    peer_expect_nothing(s.l);
    fixture_destroy(s.f);
}

Test(ephemeral, the_topic_survives_a_crash_and_its_offsets_begin_anew)
{
    struct stage s = stage_make();
    emit(&s, 5);
    fixture_crash(s.f);
    s.p = peer_welcome(s.f);
    s.l = peer_welcome(s.f);
    peer_listen(
        s.l, &(struct listen_spec){.id = 1, .topic = "now", .resume_partition = s.topic, .resume_offset = 5});
    fixture_settle(s.f);
    const Wire__Listening *listening = peer_expect(s.l, FRAME_LISTENING);
    cr_assert(listening->partitions[0]->ephemeral);
    cr_assert_eq(listening->partitions[0]->next, 0);
    emit(&s, 1);
    expect_deliver(s.l, 0, 1);
    fixture_destroy(s.f);
}

/* ---- slow listeners ---- */

/* A batch of the tests has less than QUEUED / 3 and more than QUEUED / 4 bytes. */
#define QUEUED 300u

static struct stage slow_stage(Wire__Slow slow)
{
    struct stage s = stage_make();
    listen_slowly(&s, s.l, (struct slow_spec){.credit = 1, .queue_size = QUEUED, .slow = slow});
    emit(&s, 1); /* takes the credit */
    expect_deliver(s.l, 0, 1);
    return s;
}

Test(ephemeral, a_slow_listener_loses_the_oldest_events_and_is_told_how_many)
{
    struct stage s = slow_stage(WIRE__SLOW__DROP_OLDEST);
    for (int i = 0; i < 7; i++)
        emit(&s, 1);
    uint64_t dropped = fixture_stats(s.f).dropped;
    cr_assert(dropped >= 3 && dropped < 7, "%llu", (unsigned long long)dropped);
    peer_credit(s.l, 1, 1 << 20);
    fixture_turn(s.f);
    cr_assert_eq(expect_deliver(s.l, 1 + dropped, 8), dropped);
    emit(&s, 1);
    cr_assert_eq(expect_deliver(s.l, 8, 9), dropped);
    fixture_destroy(s.f);
}

Test(ephemeral, or_the_newest_if_it_chose_so)
{
    struct stage s = slow_stage(WIRE__SLOW__DROP_NEWEST);
    uint32_t taken = 0;
    for (int i = 0; i < 7; i++)
        taken += emit(&s, 1);
    cr_assert(taken > 0 && taken < 7);
    peer_credit(s.l, 1, 1 << 20);
    fixture_turn(s.f);
    cr_assert_eq(expect_deliver(s.l, 1, 1 + taken), 7 - taken);
    emit(&s, 1);
    cr_assert_eq(expect_deliver(s.l, 8, 9), 7 - taken);
    fixture_destroy(s.f);
}

Test(ephemeral, or_ends_and_the_others_go_on)
{
    struct stage s = slow_stage(WIRE__SLOW__DISCONNECT);
    struct peer *other = peer_welcome(s.f);
    listen_to(&s, other);
    for (int i = 0; i < 7; i++)
        emit(&s, 1);
    cr_assert_eq(((const Wire__Ended *)peer_expect(s.l, FRAME_ENDED))->code, WIRE_CRIER_ETOOBIG);
    for (uint64_t i = 1; i < 8; i++)
        expect_deliver(other, i, i + 1);
    cr_assert_eq(emit(&s, 1), 1);
    cr_assert_eq(fixture_stats(s.f).backlog_bytes, 0);
    fixture_destroy(s.f);
}

/* ---- what it is not for ---- */

static void expect_refused(struct peer *p, int code)
{
    const Wire__Emitted *emitted = peer_expect_beyond_credit(p, FRAME_EMITTED);
    cr_assert_eq(emitted->parts[0]->outcome, WIRE__OUTCOME__REFUSED);
    cr_assert_eq(emitted->parts[0]->code, code, "%d: %s", emitted->parts[0]->code, emitted->text);
}

Test(ephemeral, an_emit_that_wants_to_be_durable_is_refused)
{
    struct stage s = stage_make();
    listen_to(&s, s.l);
    peer_emit(s.p, &(struct batch_spec){.partition = s.topic}, 1);
    fixture_settle(s.f);
    expect_refused(s.p, WIRE_CRIER_EINVAL);
    peer_emit(s.p, &(struct batch_spec){.partition = s.topic, .memory = true, .damaged = true}, 1);
    fixture_settle(s.f);
    expect_refused(s.p, WIRE_CRIER_ECORRUPT);
    peer_expect_nothing(s.l);
    fixture_destroy(s.f);
}

Test(ephemeral, one_emit_may_go_to_both_kinds_of_topics)
{
    struct stage s = stage_make();
    uint64_t kept = peer_topic(s.p, "kept", 1);
    listen_to(&s, s.l);
    const struct batch_spec specs[] = {{.partition = s.topic, .count = 2, .memory = true},
                                       {.partition = kept, .count = 3, .memory = true}};
    peer_emit(s.p, specs, 2);
    fixture_settle(s.f);
    const Wire__Emitted *emitted = peer_expect_beyond_credit(s.p, FRAME_EMITTED);
    cr_assert_eq(emitted->n_parts, 2);
    cr_assert_eq(emitted->parts[0]->listeners, 1);
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(emitted->parts[i]->outcome, WIRE__OUTCOME__OK);
    expect_deliver(s.l, 0, 2);
    cr_assert_eq(fixture_stats(s.f).events_in, 3);
    fixture_destroy(s.f);
}

static void expect_ended(struct stage *s, struct listen_spec spec)
{
    spec.id = 1;
    spec.topic = "now";
    peer_listen(s->l, &spec);
    fixture_settle(s->f);
    cr_assert_eq(((const Wire__Ended *)peer_expect(s->l, FRAME_ENDED))->code, WIRE_CRIER_ENOTSUP);
}

Test(ephemeral, there_are_no_groups_and_there_is_no_replay)
{
    struct stage s = stage_make();
    expect_ended(&s, (struct listen_spec){.group = "g"});
    expect_ended(&s, (struct listen_spec){.from = WIRE__FROM__EARLIEST});
    expect_ended(&s, (struct listen_spec){.from = WIRE__FROM__OFFSET, .from_value = 3});
    fixture_destroy(s.f);
}

Test(ephemeral, a_pattern_hears_it_from_wherever_it_starts)
{
    struct stage s = stage_make();
    uint64_t kept = peer_topic(s.p, "kept", 1);
    assert_stored(peer_emit_one(s.p, (struct batch_spec){.partition = kept}), 0);
    emit(&s, 1);
    peer_listen(s.l, &(struct listen_spec){.id = 1, .topic = "*", .from = WIRE__FROM__TIME, .from_value = 1});
    fixture_settle(s.f);
    const Wire__Listening *listening = peer_expect(s.l, FRAME_LISTENING);
    cr_assert_eq(listening->n_partitions, 2);
    expect_deliver(s.l, 0, 1); /* what is kept */
    emit(&s, 1);
    expect_deliver(s.l, 1, 2);
    s.topic = topic_create(s.p, "later");
    emit(&s, 1);
    (void)peer_expect(s.l, FRAME_ASSIGN);
    expect_deliver(s.l, 0, 1);
    fixture_destroy(s.f);
}

Test(ephemeral, it_goes_with_what_waits_for_its_listeners)
{
    struct stage s = slow_stage(WIRE__SLOW__DROP_OLDEST);
    emit(&s, 1);
    Wire__TopicDelete message = WIRE__TOPIC_DELETE__INIT;
    message.request = 8;
    message.name = (char *)(uintptr_t) "now";
    peer_send(s.p, FRAME_TOPIC_DELETE, &message.base);
    fixture_settle(s.f);
    cr_assert_eq(((const Wire__Topics *)peer_expect(s.p, FRAME_TOPICS))->code, 0);
    cr_assert_eq(((const Wire__Ended *)peer_expect(s.l, FRAME_ENDED))->code, WIRE_CRIER_ENOTOPIC);
    cr_assert_eq(fixture_stats(s.f).backlog_bytes, 0);
    fixture_destroy(s.f);
}

/* ---- requests ---- */

/* A memory emit that has to be heard. */
static void emit_heard(struct stage *s, uint64_t partition)
{
    uint8_t batch[512];
    Wire__Emit emit = WIRE__EMIT__INIT;
    Wire__EmitPart part = WIRE__EMIT_PART__INIT, *parts = &part;
    part.partition = partition;
    part.size = (uint32_t)batch_make(batch, sizeof(batch), &(struct batch_spec){.partition = partition});
    part.heard = true;
    emit.request = ++s->p->emits;
    emit.durability = WIRE__DURABILITY__MEMORY;
    emit.parts = &parts;
    emit.n_parts = 1;
    peer_send_attached(s->p, FRAME_EMIT, &emit.base, batch, part.size);
    fixture_settle(s->f);
}

static void expect_heard(struct stage *s, uint64_t partition, int code)
{
    emit_heard(s, partition);
    const Wire__Emitted *emitted = peer_expect_beyond_credit(s->p, FRAME_EMITTED);
    cr_assert_eq(emitted->parts[0]->code, code, "%s", error_name(emitted->parts[0]->code));
}

Test(ephemeral, an_emit_that_has_to_be_heard_is_refused_when_nobody_listens)
{
    struct stage s = stage_make();
    uint64_t kept = peer_topic(s.p, "kept", 1);
    expect_heard(&s, s.topic, WIRE_CRIER_ENOLISTENER);
    expect_heard(&s, kept, WIRE_CRIER_ENOLISTENER);
    cr_assert_eq(fixture_stats(s.f).events_in, 0, "what is refused is not stored");
    listen_to(&s, s.l);
    expect_heard(&s, s.topic, 0);
    peer_listen(s.l, &(struct listen_spec){.id = 2, .topic = "kept"});
    fixture_settle(s.f);
    expect_heard(&s, kept, 0);
    peer_unlisten(s.l, 1);
    fixture_settle(s.f);
    expect_heard(&s, s.topic, WIRE_CRIER_ENOLISTENER);
    fixture_destroy(s.f);
}

#define INBOX           "$inbox.0123456789abcde"
#define INBOX_PARTITION (UINT64_C(1) << 63 | UINT64_C(0x0123456789abcde))

Test(ephemeral, an_inbox_is_there_while_somebody_listens_to_it)
{
    struct stage s = stage_make();
    expect_heard(&s, INBOX_PARTITION, WIRE_CRIER_ENOTOPIC);
    peer_listen(s.l, &(struct listen_spec){.id = 1, .topic = INBOX});
    fixture_turn(s.f);
    const Wire__Listening *listening = peer_expect(s.l, FRAME_LISTENING);
    cr_assert_eq(listening->partitions[0]->partition, INBOX_PARTITION);
    s.topic = INBOX_PARTITION;
    cr_assert_eq(emit(&s, 1), 1);
    expect_deliver(s.l, 0, 1);
    peer_unlisten(s.l, 1);
    fixture_settle(s.f);
    expect_heard(&s, INBOX_PARTITION, WIRE_CRIER_ENOTOPIC);
    fixture_destroy(s.f);
}

Test(ephemeral, an_inbox_goes_with_its_connection_and_patterns_do_not_see_it)
{
    struct stage s = stage_make();
    struct peer *other = peer_welcome(s.f);
    peer_listen(other, &(struct listen_spec){.id = 1, .topic = "**"});
    fixture_settle(s.f);
    (void)peer_expect(other, FRAME_LISTENING);
    peer_listen(s.l, &(struct listen_spec){.id = 1, .topic = INBOX});
    fixture_settle(s.f);
    peer_expect_nothing(other);
    peer_close(s.l);
    expect_heard(&s, INBOX_PARTITION, WIRE_CRIER_ENOTOPIC);
    fixture_destroy(s.f);
}

Test(ephemeral, what_is_no_inbox_is_told_so)
{
    struct stage s = stage_make();
    const char *const names[] = {"$inbox.", "$inbox.0123456789abcd", "$inbox.0123456789abcdef",
                                 "$inbox.0123456789ABCDE"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        peer_listen(s.l, &(struct listen_spec){.id = 1, .topic = names[i]});
        fixture_settle(s.f);
        cr_assert_eq(((const Wire__Ended *)peer_expect(s.l, FRAME_ENDED))->code, WIRE_CRIER_EINVAL);
    }
    peer_listen(s.l, &(struct listen_spec){.id = 1, .topic = INBOX, .group = "g"});
    fixture_settle(s.f);
    cr_assert_eq(((const Wire__Ended *)peer_expect(s.l, FRAME_ENDED))->code, WIRE_CRIER_ENOTSUP);
    fixture_destroy(s.f);
}

/* ---- who is there ---- */

static void expect_listeners(struct peer *p, const char *name, uint32_t count)
{
    Wire__TopicDescribe message = WIRE__TOPIC_DESCRIBE__INIT;
    message.request = 9;
    message.name = (char *)(uintptr_t)name;
    peer_send(p, FRAME_TOPIC_DESCRIBE, &message.base);
    fixture_settle(p->fixture);
    const Wire__Topics *topics = peer_expect_past(p, FRAME_TOPICS);
    cr_assert_eq(topics->topics[0]->listeners, count, "%u", topics->topics[0]->listeners);
}

Test(ephemeral, a_description_counts_each_listener_once_and_patterns_too)
{
    struct stage s = stage_make();
    (void)peer_topic(s.p, "kept.a", 3);
    (void)peer_topic(s.p, "kept.b", 2);
    expect_listeners(s.p, "kept.b", 0);
    peer_listen(s.l, &(struct listen_spec){.id = 1, .topic = "kept.b"});
    peer_listen(s.l, &(struct listen_spec){.id = 2, .topic = "kept.*"});
    peer_listen(s.l, &(struct listen_spec){.id = 3, .topic = "kept.b", .group = "g"});
    peer_listen(s.l, &(struct listen_spec){.id = 4, .topic = "kept.b", .group = "g"});
    fixture_settle(s.f);
    expect_listeners(s.p, "kept.b", 4);
    expect_listeners(s.p, "kept.a", 1);
    peer_unlisten(s.l, 1);
    fixture_settle(s.f);
    expect_listeners(s.p, "kept.b", 3);
    peer_close(s.l);
    fixture_settle(s.f);
    expect_listeners(s.p, "kept.b", 0);
    fixture_destroy(s.f);
}

Test(ephemeral, a_description_of_the_largest_topic_says_who_listens_and_fits_a_frame)
{
    struct stage s = stage_make();
    char group[256];
    memset(group, 'g', 255);
    group[255] = '\0';
    (void)peer_topic(s.p, "wide", 1024);
    for (uint32_t id = 1; id <= 40; id++)
        peer_listen(s.l, &(struct listen_spec){.id = id, .topic = "wide", .group = group});
    fixture_settle(s.f);
    Wire__TopicDescribe message = WIRE__TOPIC_DESCRIBE__INIT;
    message.request = 9;
    message.name = (char *)"wide";
    peer_send(s.p, FRAME_TOPIC_DESCRIBE, &message.base);
    fixture_settle(s.f);
    const Wire__Topics *topics = peer_expect_past(s.p, FRAME_TOPICS);
    const Wire__TopicInfo *info = topics->topics[0];
    cr_assert_eq(info->n_partitions, 1024);
    cr_assert_eq(info->n_who, 32);
    for (size_t i = 0; i < info->n_who; i++)
        cr_assert_str_eq(info->who[i]->group, group);
    fixture_destroy(s.f);
}
