/* test_core_pattern.c: a listener to a pattern hears of every topic that it matches, also of those that come later. */
#include "tests/unit/core_outcome.h"

#include <stdio.h>

struct stage {
    struct fixture *f;
    struct peer *p; /* emits */
    struct peer *l; /* listens */
};

static struct stage stage_make(void)
{
    struct stage s = {.f = fixture_create()};
    fixture_start(s.f);
    s.p = peer_welcome(s.f);
    s.l = peer_welcome(s.f);
    return s;
}

static void listen_to(struct stage *s, struct listen_spec spec)
{
    spec.id = 1;
    peer_listen(s->l, &spec);
    fixture_settle(s->f);
}

static void emit_one(struct stage *s, uint64_t partition, int64_t offset)
{
    assert_stored(peer_emit_one(s->p, (struct batch_spec){.partition = partition}), offset);
}

static void expect_deliver(struct stage *s, uint64_t partition, uint64_t first, uint64_t next)
{
    uint64_t from, to;
    const Wire__Deliver *deliver = peer_delivered(s->l, &from, &to);
    cr_assert_eq(deliver->partition, partition);
    cr_assert_eq(from, first);
    cr_assert_eq(to, next);
}

static void expect_ended(struct stage *s, int code)
{
    const Wire__Ended *ended = peer_expect(s->l, FRAME_ENDED);
    cr_assert_eq(ended->listener, 1);
    cr_assert_eq(ended->code, code, "%d: %s", ended->code, ended->text);
}

Test(pattern, it_begins_with_the_topics_that_match_and_names_them)
{
    struct stage s = stage_make();
    uint64_t placed = peer_topic(s.p, "orders.placed", 2), stock = peer_topic(s.p, "stock.low", 1);
    emit_one(&s, placed, 0);
    emit_one(&s, stock, 0);
    listen_to(&s, (struct listen_spec){.topic = "orders.*", .from = WIRE__FROM__EARLIEST});
    const Wire__Listening *listening = peer_expect(s.l, FRAME_LISTENING);
    cr_assert_eq(listening->n_partitions, 2);
    cr_assert_not(listening->more);
    cr_assert_eq(listening->generation, 0);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(listening->partitions[i]->partition, placed + i);
        cr_assert_eq(listening->partitions[i]->index, i);
        cr_assert_str_eq(listening->partitions[i]->topic, "orders.placed");
    }
    expect_deliver(&s, placed, 0, 1);
    peer_expect_nothing(s.l);
    fixture_destroy(s.f);
}

Test(pattern, live_hears_what_comes_and_a_later_topic_from_its_first_event)
{
    struct stage s = stage_make();
    uint64_t placed = peer_topic(s.p, "orders.placed", 1);
    emit_one(&s, placed, 0);
    listen_to(&s, (struct listen_spec){.topic = "orders.**"});
    cr_assert_eq(((const Wire__Listening *)peer_expect(s.l, FRAME_LISTENING))->partitions[0]->next, 1);
    emit_one(&s, placed, 1);
    expect_deliver(&s, placed, 1, 2);

    uint64_t other = peer_topic(s.p, "stock.low", 1), late = peer_topic(s.p, "orders.eu.late", 3);
    const Wire__Assign *assign = peer_expect(s.l, FRAME_ASSIGN);
    cr_assert_eq(assign->listener, 1);
    cr_assert_eq(assign->n_added, 3);
    cr_assert_str_eq(assign->added[2]->topic, "orders.eu.late");
    cr_assert_eq(assign->added[2]->index, 2);
    cr_assert_eq(assign->added[2]->next, 0);
    emit_one(&s, other, 0);
    emit_one(&s, late + 2, 0);
    expect_deliver(&s, late + 2, 0, 1);
    peer_expect_nothing(s.l);
    fixture_destroy(s.f);
}

/* What came while nobody was connected is not lost: known partitions go on, unknown ones are new. */
Test(pattern, after_a_reconnect_known_partitions_resume_and_new_topics_begin)
{
    struct stage s = stage_make();
    uint64_t a = peer_topic(s.p, "t.a", 1);
    for (int64_t i = 0; i < 5; i++)
        emit_one(&s, a, i);
    uint64_t b = peer_topic(s.p, "t.b", 1);
    emit_one(&s, b, 0);
    listen_to(&s,
              (struct listen_spec){.topic = "t.*", .resume_partition = a, .resume_offset = 3, .again = true});
    const Wire__Listening *listening = peer_expect(s.l, FRAME_LISTENING);
    cr_assert_eq(listening->n_partitions, 2);
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(listening->partitions[i]->next, listening->partitions[i]->partition == a ? 3 : 0);
    cr_assert_eq(peer_frame_count(s.l, FRAME_DELIVER), 2);
    fixture_destroy(s.f);
}

Test(pattern, from_a_time_each_partition_is_looked_up)
{
    struct stage s = stage_make();
    uint64_t a = peer_topic(s.p, "t.a", 1), b = peer_topic(s.p, "t.b", 1);
    emit_one(&s, a, 0);
    emit_one(&s, b, 0);
    fixture_run(s.f, 1000000);
    int64_t time_us = s.f->wall_us;
    emit_one(&s, b, 1);
    listen_to(&s, (struct listen_spec){.topic = "t.*", .from = WIRE__FROM__TIME, .from_value = time_us});
    const Wire__Listening *listening = peer_expect(s.l, FRAME_LISTENING);
    cr_assert_eq(listening->n_partitions, 2);
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(listening->partitions[i]->next, 1);
    expect_deliver(&s, b, 1, 2);
    fixture_destroy(s.f);
}

/* Takes LISTENING and the frames that go on with it; returns how many partitions they name. */
static size_t take_listening(struct stage *s)
{
    const Wire__Listening *listening = peer_expect(s->l, FRAME_LISTENING);
    size_t count = listening->n_partitions;
    bool more = listening->more;
    while (more) {
        const Wire__Assign *assign = peer_expect(s->l, FRAME_ASSIGN);
        count += assign->n_added;
        more = assign->more;
    }
    return count;
}

Test(pattern, a_topic_that_comes_while_times_are_looked_up_belongs_to_it)
{
    struct stage s = stage_make();
    peer_topic(s.p, "t.wide", 1000); /* their lookups, one after the other, take longer than a commit */
    peer_listen(s.l,
                &(struct listen_spec){.id = 1, .topic = "t.*", .from = WIRE__FROM__TIME, .from_value = 1});
    Wire__TopicCreate create = WIRE__TOPIC_CREATE__INIT;
    create.name = (char *)(uintptr_t) "t.late";
    peer_send(s.p, FRAME_TOPIC_CREATE, &create.base);
    fixture_run(s.f, 2 * FIXTURE_COMMIT_US);
    cr_assert(peer_has_frame(s.p, FRAME_TOPICS));
    cr_assert_not(peer_has_frame(s.l, FRAME_LISTENING));
    fixture_settle(s.f);
    cr_assert_eq(take_listening(&s), 1001);
    fixture_destroy(s.f);
}

Test(pattern, many_partitions_come_in_several_frames)
{
    struct stage s = stage_make();
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof(name), "wide.t%d", i);
        peer_topic(s.p, name, 100);
    }
    listen_to(&s, (struct listen_spec){.topic = "wide.*"});
    cr_assert_eq(take_listening(&s), 300);
    peer_expect_nothing(s.l);
    fixture_destroy(s.f);
}

Test(pattern, more_than_it_can_name_after_a_reconnect_is_refused_at_once_and_later)
{
    struct stage s = stage_make();
    peer_topic(s.p, "wide.a", 1024);
    listen_to(&s, (struct listen_spec){.topic = "wide.*"});
    peer_expect(s.l, FRAME_LISTENING);
    peer_topic(s.p, "wide.b", 1024);
    while (peer_has_frame(s.l, FRAME_ASSIGN))
        peer_expect(s.l, FRAME_ASSIGN);
    peer_topic(s.p, "wide.c", 1);
    expect_ended(&s, WIRE_CRIER_ETOOBIG);
    listen_to(&s, (struct listen_spec){.topic = "wide.*"});
    expect_ended(&s, WIRE_CRIER_ETOOBIG);
    emit_one(&s, peer_topic(s.p, "wide.d", 1), 0); /* nobody is left to be told */
    peer_expect_nothing(s.l);
    fixture_destroy(s.f);
}

Test(pattern, what_makes_no_sense_is_refused_with_a_reason)
{
    static const struct {
        struct listen_spec spec;
        int code;
    } cases[] = {
        {{.topic = "a*"}, WIRE_CRIER_EINVAL},
        {{.topic = "**.a"}, WIRE_CRIER_EINVAL},
        {{.topic = "a..*"}, WIRE_CRIER_EINVAL},
        {{.topic = "a.*", .group = "g"}, WIRE_CRIER_EINVAL},
        {{.topic = "a.*", .from = WIRE__FROM__OFFSET, .from_value = 3}, WIRE_CRIER_EINVAL},
    };
    struct stage s = stage_make();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        listen_to(&s, cases[i].spec);
        expect_ended(&s, cases[i].code);
    }
    fixture_destroy(s.f);
}

Test(pattern, a_listener_that_left_hears_of_no_new_topic)
{
    struct stage s = stage_make();
    listen_to(&s, (struct listen_spec){.topic = "**"});
    cr_assert_eq(((const Wire__Listening *)peer_expect(s.l, FRAME_LISTENING))->n_partitions, 0);
    peer_unlisten(s.l, 1);
    peer_expect(s.l, FRAME_ENDED);
    emit_one(&s, peer_topic(s.p, "t", 1), 0);
    peer_expect_nothing(s.l);
    peer_listen(s.l, &(struct listen_spec){.id = 2, .topic = "**"});
    peer_close(s.l); /* and one whose connection is gone */
    emit_one(&s, peer_topic(s.p, "u", 1), 0);
    fixture_destroy(s.f);
}

static void delete_topic(struct stage *s, const char *name, uint64_t request)
{
    Wire__TopicDelete message = WIRE__TOPIC_DELETE__INIT;
    message.request = request;
    message.name = (char *)(uintptr_t)name;
    peer_send(s->p, FRAME_TOPIC_DELETE, &message.base);
    fixture_settle(s->f);
    peer_expect_anywhere(s->p, FRAME_TOPICS);
}

static void expect_topics(struct stage *s, uint64_t listener, const char *first, const char *second)
{
    peer_listen(s->l, &(struct listen_spec){.id = listener, .topic = "*", .from = WIRE__FROM__EARLIEST});
    fixture_settle(s->f);
    const Wire__Listening *listening = peer_expect(s->l, FRAME_LISTENING);
    cr_assert_eq(listening->n_partitions, 2);
    const char *a = listening->partitions[0]->topic, *b = listening->partitions[1]->topic;
    cr_assert((!strcmp(a, first) && !strcmp(b, second)) || (!strcmp(a, second) && !strcmp(b, first)),
              "%s, %s", a, b);
}

/* Names are put in order when the first pattern asks for them. */
Test(pattern, topics_that_came_and_went_before_the_first_pattern_and_after_it_are_known_as_such)
{
    struct stage s = stage_make();
    (void)peer_topic(s.p, "a", 1);
    delete_topic(&s, "a", 100);
    (void)peer_topic(s.p, "b", 1);
    (void)peer_topic(s.p, "c", 1);
    (void)peer_topic(s.p, "d", 1);
    delete_topic(&s, "c", 101);
    expect_topics(&s, 1, "b", "d");
    delete_topic(&s, "d", 102);
    (void)peer_topic(s.p, "e", 1);
    s.l = peer_welcome(s.f);
    expect_topics(&s, 1, "b", "e");
    fixture_destroy(s.f);
}

/* Of what was there at the start, some was used, some is gone and most was never asked for when a pattern comes. */
Test(pattern, what_was_there_at_the_start_is_heard_whether_somebody_used_it_or_not)
{
    struct stage s = stage_make();
    uint64_t used = peer_topic(s.p, "a", 2), unused = peer_topic(s.p, "b", 2);
    (void)peer_topic(s.p, "c", 1);
    emit_one(&s, used + 1, 0);
    emit_one(&s, unused + 1, 0);
    fixture_restart(s.f);
    s.p = peer_welcome(s.f);
    s.l = peer_welcome(s.f);
    emit_one(&s, used + 1, 1);
    delete_topic(&s, "c", 100);
    listen_to(&s, (struct listen_spec){.topic = "*", .from = WIRE__FROM__LIVE});
    const Wire__Listening *listening = peer_expect(s.l, FRAME_LISTENING);
    cr_assert_eq(listening->n_partitions, 4);
    for (size_t i = 0; i < 4; i++) {
        const Wire__ListenPartition *at = listening->partitions[i];
        cr_assert_str_eq(at->topic, at->partition < unused ? "a" : "b");
        cr_assert_eq(at->next, at->partition == used + 1 ? 2 : at->partition == unused + 1);
    }
    emit_one(&s, unused + 1, 1);
    expect_deliver(&s, unused + 1, 1, 2);
    (void)peer_topic(s.p, "d", 1);
    cr_assert_str_eq(((const Wire__Assign *)peer_expect(s.l, FRAME_ASSIGN))->added[0]->topic, "d");
    fixture_destroy(s.f);
}

/* The credit that a read was promised is for the others again when its topic goes. */
Test(pattern, a_topic_that_goes_while_it_is_read_holds_up_no_other)
{
    struct stage s = {.f = fixture_create()};
    s.f->config.cache_bytes_max = 0;
    s.f->store_options.read.us_min = s.f->store_options.read.us_max = 50 * FIXTURE_COMMIT_US;
    fixture_start(s.f);
    s.p = peer_welcome(s.f);
    s.l = peer_welcome(s.f);
    uint64_t staying = peer_topic(s.p, "a", 1), going = peer_topic(s.p, "b", 1);
    emit_one(&s, going, 0);
    emit_one(&s, staying, 0);
    Wire__TopicDelete message = WIRE__TOPIC_DELETE__INIT;
    message.request = 100;
    message.name = (char *)(uintptr_t) "b";
    peer_listen(s.l, &(struct listen_spec){.id = 1, .topic = "*", .from = WIRE__FROM__EARLIEST, .credit = 1});
    fixture_run(s.f, FIXTURE_COMMIT_US);
    peer_expect(s.l, FRAME_LISTENING);
    cr_assert_eq(fixture_stats(s.f).reads, 1);
    peer_send(s.p, FRAME_TOPIC_DELETE, &message.base);
    fixture_settle(s.f);
    expect_deliver(&s, staying, 0, 1);
    fixture_destroy(s.f);
}
