/* test_core_topics.c: creating, describing and listing topics. */
#include "tests/unit/core_outcome.h"

#include <stdio.h>
#include <string.h>

static const Wire__Topics *topics_of(struct peer *p)
{
    fixture_settle(p->fixture);
    return peer_expect_beyond_credit(p, FRAME_TOPICS);
}

static void describe(struct peer *p, uint64_t request, const char *name, bool create)
{
    Wire__TopicDescribe message = WIRE__TOPIC_DESCRIBE__INIT;
    message.request = request;
    message.name = (char *)name;
    message.create = create;
    peer_send(p, FRAME_TOPIC_DESCRIBE, &message.base);
}

static void create(struct peer *p, uint64_t request, const char *name, uint32_t partitions)
{
    Wire__TopicCreate message = WIRE__TOPIC_CREATE__INIT;
    message.request = request;
    message.name = (char *)name;
    message.partitions = partitions;
    peer_send(p, FRAME_TOPIC_CREATE, &message.base);
}

Test(topics, are_described_as_they_were_created)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    uint64_t first = peer_topic(p, "orders", 3);
    assert_stored(peer_emit_one(p, (struct batch_spec){.partition = first + 1, .count = 7}), 0);
    describe(p, 9, "orders", false);
    const Wire__Topics *topics = topics_of(p);
    cr_assert_eq(topics->request, 9);
    cr_assert_eq(topics->code, 0);
    cr_assert_eq(topics->n_topics, 1);
    const Wire__TopicInfo *topic = topics->topics[0];
    cr_assert_str_eq(topic->name, "orders");
    cr_assert_eq(topic->id.len, 16);
    cr_assert_eq(topic->n_partitions, 3);
    cr_assert_eq(topic->partitions[1]->high_watermark, 7);
    cr_assert_eq(topic->partitions[2]->high_watermark, 0);
    cr_assert_geq(topic->created_us, FIXTURE_START_US);
    fixture_destroy(f);
}

Test(topics, keep_their_ids_and_ends_over_a_crash)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    uint64_t first = peer_topic(p, "orders", 2);
    uint8_t id[16];
    memcpy(id, ((const Wire__Topics *)p->message)->topics[0]->id.data, 16);
    assert_stored(peer_emit_one(p, (struct batch_spec){.partition = first, .count = 7}), 0);
    fixture_crash(f);
    p = peer_welcome(f);
    describe(p, 1, "orders", false);
    const Wire__TopicInfo *topic = topics_of(p)->topics[0];
    cr_assert_eq(topic->partitions[0]->id, first);
    cr_assert_eq(topic->partitions[0]->high_watermark, 7);
    cr_assert_eq(memcmp(topic->id.data, id, 16), 0);
    cr_assert_neq(peer_topic(p, "other", 2), first);
    fixture_destroy(f);
}

Test(topics, exist_once)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    peer_topic(p, "orders", 1);
    cr_assert_eq(peer_topic_code(p, "orders", 1), WIRE_CRIER_EEXIST);
    fixture_destroy(f);
}

Test(topics, a_creation_waits_for_another_of_the_same_name)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f), *q = peer_welcome(f);
    create(p, 1, "orders", 2);
    fixture_turn(f);
    create(q, 1, "orders", 5);
    describe(q, 2, "orders", true);
    fixture_turn(f);
    peer_expect_nothing(q);
    cr_assert_eq(topics_of(p)->topics[0]->n_partitions, 2);
    cr_assert_eq(topics_of(q)->code, WIRE_CRIER_EEXIST);
    cr_assert_eq(topics_of(q)->topics[0]->n_partitions, 2);
    fixture_destroy(f);
}

Test(topics, an_emit_to_a_topic_that_is_not_durable_yet_finds_none)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    uint64_t next = peer_topic(p, "a", 1) + 1;
    create(p, 1, "b", 1);
    peer_emit(p, &(struct batch_spec){.partition = next}, 1);
    fixture_turn(f);
    assert_refused(peer_outcome(p), WIRE_CRIER_ENOTOPIC);
    fixture_destroy(f);
}

Test(topics, describe_creates_when_asked_and_allowed)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    describe(p, 1, "new", false);
    cr_assert_eq(topics_of(p)->code, WIRE_CRIER_ENOTOPIC);
    describe(p, 2, "new", true);
    const Wire__Topics *topics = topics_of(p);
    cr_assert_eq(topics->code, 0);
    cr_assert_eq(topics->topics[0]->n_partitions, 1);
    fixture_destroy(f);
}

Test(topics, describe_creates_nothing_where_that_is_switched_off)
{
    struct fixture *f = fixture_create();
    f->config.auto_create = false;
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    describe(p, 1, "new", true);
    cr_assert_eq(topics_of(p)->code, WIRE_CRIER_ENOTOPIC);
    peer_listen(p, &(struct listen_spec){.id = 1, .topic = "new", .create = true});
    fixture_settle(f);
    cr_assert_eq(((const Wire__Ended *)peer_expect(p, FRAME_ENDED))->code, WIRE_CRIER_ENOTOPIC);
    peer_topic(p, "new", 1);
    fixture_destroy(f);
}

Test(topics, names_that_cannot_be_are_refused)
{
    static const char *const names[] = {
        "",     ".",        "a.",       ".a",          "a..b",           "a*",
        "*",    "$a",       "error",    "newListener", "removeListener", "a b",
        "a\nb", "\xff\xfe", "\xc0\x80", "\xed\xa0\x80"};
    char longest[256 + 1];
    memset(longest, 'n', 256);
    longest[256] = 0;
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        cr_assert_eq(peer_topic_code(p, names[i], 1), WIRE_CRIER_EINVAL, "\"%s\"", names[i]);
    cr_assert_eq(peer_topic_code(p, longest, 1), WIRE_CRIER_EINVAL);
    longest[255] = 0;
    cr_assert_eq(peer_topic_code(p, longest, 1), 0);
    cr_assert_eq(peer_topic_code(p, "größe.ordnung", 1), 0);
    cr_assert_eq(peer_topic_code(p, "a.b.c", 1), 0);
    fixture_destroy(f);
}

Test(topics, have_a_bounded_number_of_partitions)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    cr_assert_eq(peer_topic_code(p, "a", 1025), WIRE_CRIER_EINVAL);
    cr_assert_eq(peer_topic_code(p, "a", UINT32_MAX), WIRE_CRIER_EINVAL);
    peer_topic(p, "a", 1024);
    fixture_destroy(f);
}

Test(topics, are_listed_by_name_in_pieces)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    char name[16];
    for (unsigned i = 0; i < 150; i++) {
        snprintf(name, sizeof(name), "t%03u", (i * 37) % 150);
        peer_topic(p, name, 1);
    }
    unsigned seen = 0;
    char after[16] = "";
    for (bool more = true; more;) {
        Wire__TopicList list = WIRE__TOPIC_LIST__INIT;
        list.request = 5;
        list.after = after;
        peer_send(p, FRAME_TOPIC_LIST, &list.base);
        const Wire__Topics *topics = topics_of(p);
        cr_assert_gt(topics->n_topics, 0);
        for (size_t i = 0; i < topics->n_topics; i++, seen++) {
            snprintf(name, sizeof(name), "t%03u", seen);
            cr_assert_str_eq(topics->topics[i]->name, name);
        }
        strcpy(after, name);
        more = topics->more;
    }
    cr_assert_eq(seen, 150);
    fixture_destroy(f);
}

Test(topics, a_list_fits_a_frame_whatever_the_topics_are_like)
{
    struct fixture *f = fixture_create();
    fixture_start(f);
    struct peer *p = peer_welcome(f);
    char name[256];
    memset(name, 'n', 255);
    for (unsigned i = 0; i < 5; i++) {
        snprintf(name + 250, 6, "%05u", i);
        peer_topic(p, name, 1024);
    }
    Wire__TopicList list = WIRE__TOPIC_LIST__INIT;
    peer_send(p, FRAME_TOPIC_LIST, &list.base);
    const Wire__Topics *topics = topics_of(p);
    cr_assert_gt(topics->n_topics, 0);
    cr_assert(topics->more);
    fixture_destroy(f);
}
