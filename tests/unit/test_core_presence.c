/* test_core_presence.c: who listens to a topic, told as events to those who listen to "$presence." and its name. */
#include "tests/unit/core_outcome.h"

#include <stdio.h>
#include <string.h>

#define PRESENCE "$presence."

static struct fixture *started(void)
{
    struct fixture *f = fixture_create();
    f->config.ping_interval_ms = f->config.idle_timeout_ms = 600000;
    fixture_start(f);
    return f;
}

static void listen_as(struct peer *p, uint32_t id, const char *topic, const char *group)
{
    peer_listen(p, &(struct listen_spec){.id = id, .topic = topic, .group = group});
    fixture_settle(p->fixture);
    peer_expect_anywhere(p, FRAME_LISTENING);
}

static void leave(struct peer *p, uint32_t id)
{
    peer_unlisten(p, id);
    fixture_settle(p->fixture);
    peer_expect_past(p, FRAME_ENDED);
}

/* ---- what a watcher is told: "listeners t 1 1; listener t 1 <group>" ---- */

static void add_record(char *text, size_t size, const struct batch_record *record)
{
    struct batch_string key, value;
    const uint8_t *cursor = record->headers;
    size_t used = strlen(text);
    used += (size_t)snprintf(text + used, size - used, "%s%.*s %.*s", used ? "; " : "", (int)record->key.size,
                             (const char *)record->key.data, (int)record->value.size,
                             (const char *)record->value.data);
    while (batch_record_header(record, &cursor, &key, &value) == 1) {
        bool shown = memcmp(key.data, "crier.l", 7) == 0 || memcmp(key.data, "crier.g", 7) == 0 ||
                     memcmp(key.data, "crier.t", 7) == 0;
        if (shown)
            used += (size_t)snprintf(text + used, size - used, " %.*s", (int)value.size,
                                     (const char *)value.data);
    }
}

static const char *told(struct peer *watcher)
{
    static char text[1 << 18];
    text[0] = '\0';
    while (peer_has_frame(watcher, FRAME_DELIVER)) {
        peer_expect_beyond_credit(watcher, FRAME_DELIVER);
        const uint8_t *at = watcher->attachment, *end = at + watcher->attachment_size;
        while (at < end) {
            struct batch_header header;
            struct batch_iterator iterator;
            struct batch_record record;
            int64_t size = batch_header_decode(at, (size_t)(end - at), &header);
            cr_assert_gt(size, 0);
            cr_assert(batch_crc_matches(at, (size_t)size));
            cr_assert_eq(batch_iterator_init(&iterator, at, (size_t)size, 1 << 20), 0);
            while (batch_iterator_next(&iterator, &record) == 1)
                add_record(text, sizeof(text), &record);
            batch_iterator_finish(&iterator);
            at += size;
        }
    }
    return text;
}

static struct peer *watcher_of(struct fixture *f, const char *name)
{
    struct peer *watcher = peer_welcome(f);
    peer_listen(watcher, &(struct listen_spec){.id = 1, .topic = name});
    fixture_settle(f);
    const Wire__Listening *listening = peer_expect(watcher, FRAME_LISTENING);
    cr_assert_eq(listening->n_partitions, 1);
    cr_assert(listening->partitions[0]->ephemeral);
    return watcher;
}

Test(presence, tells_first_who_is_there_then_who_comes_and_goes)
{
    struct fixture *f = started();
    struct peer *a = peer_welcome(f), *b = peer_welcome(f);
    peer_topic(a, "t", 3);
    listen_as(a, 1, "t", NULL);
    struct peer *watcher = watcher_of(f, PRESENCE "t");
    cr_assert_str_eq(told(watcher), "listeners t 1 1; listener t 1");
    listen_as(b, 1, "t", NULL);
    listen_as(b, 2, "t", "g");
    cr_assert_str_eq(told(watcher), "newListener t 2; newListener t 3 g");
    leave(b, 1);
    cr_assert_str_eq(told(watcher), "removeListener t 2");
    peer_close(b);
    peer_close(a);
    fixture_settle(f);
    cr_assert_str_eq(told(watcher), "removeListener t 1 g; removeListener t 0");
    fixture_destroy(f);
}

Test(presence, says_who_by_client_and_address)
{
    struct fixture *f = started();
    struct peer *a = peer_welcome(f);
    peer_topic(a, "t", 1);
    struct peer *watcher = watcher_of(f, PRESENCE "t");
    (void)told(watcher);
    listen_as(a, 1, "t", NULL);
    peer_expect_beyond_credit(watcher, FRAME_DELIVER);
    bool client = false, address = false;
    for (size_t i = 0; i + 14 < watcher->attachment_size; i++) {
        client |= !memcmp(watcher->attachment + i, "crier.client", 12);
        address |= !memcmp(watcher->attachment + i, "crier.address", 13);
    }
    cr_assert(client && address);
    fixture_destroy(f);
}

Test(presence, of_a_topic_that_is_not_there_yet_tells_when_it_is)
{
    struct fixture *f = started();
    struct peer *a = peer_welcome(f), *watcher = watcher_of(f, PRESENCE "later");
    cr_assert_str_eq(told(watcher), "listeners later 0 0");
    peer_topic(a, "later", 1);
    listen_as(a, 1, "later", NULL);
    cr_assert_str_eq(told(watcher), "newListener later 1");
    fixture_destroy(f);
}

Test(presence, of_a_pattern_tells_of_all_topics_it_matches)
{
    struct fixture *f = started();
    struct peer *a = peer_welcome(f);
    peer_topic(a, "orders.placed", 1);
    peer_topic(a, "orders.paid", 1);
    peer_topic(a, "else", 1);
    listen_as(a, 1, "orders.placed", NULL);
    struct peer *watcher = watcher_of(f, PRESENCE "orders.*");
    cr_assert_str_eq(told(watcher), "listeners orders.* 1 1; listener orders.placed 1");
    listen_as(a, 2, "orders.paid", NULL);
    listen_as(a, 3, "else", NULL);
    cr_assert_str_eq(told(watcher), "newListener orders.paid 1");
    fixture_destroy(f);
}

Test(presence, counts_who_listens_to_a_pattern_in_each_topic_of_it)
{
    struct fixture *f = started();
    struct peer *a = peer_welcome(f);
    peer_topic(a, "orders.placed", 2);
    struct peer *watcher = watcher_of(f, PRESENCE "orders.placed");
    struct peer *other = watcher_of(f, PRESENCE "orders.paid");
    (void)told(watcher);
    (void)told(other);
    listen_as(a, 1, "orders.*", NULL);
    cr_assert_str_eq(told(watcher), "newListener orders.placed 1");
    Wire__TopicCreate message = WIRE__TOPIC_CREATE__INIT;
    message.request = 12;
    message.name = (char *)"orders.paid";
    peer_send(a, FRAME_TOPIC_CREATE, &message.base);
    fixture_settle(f);
    cr_assert_str_eq(told(other), "newListener orders.paid 1", "it joins what comes later");
    fixture_destroy(f);
}

Test(presence, of_a_group_counts_who_has_some_of_the_topic)
{
    struct fixture *f = started();
    struct peer *a = peer_welcome(f), *b = peer_welcome(f);
    peer_topic(a, "t", 1);
    struct peer *watcher = watcher_of(f, PRESENCE "t");
    (void)told(watcher);
    listen_as(a, 1, "t", "g");
    listen_as(b, 1, "t", "g");
    cr_assert_str_eq(told(watcher), "newListener t 1 g", "the other waits in reserve");
    peer_close(a);
    fixture_settle(f);
    fixture_run(f, 1000000);
    cr_assert_str_eq(told(watcher), "newListener t 2 g; removeListener t 1 g",
                     "who takes over is there first");
    fixture_destroy(f);
}

Test(presence, ends_with_the_topic_and_goes_on_with_the_next_of_its_name)
{
    struct fixture *f = started();
    struct peer *a = peer_welcome(f);
    peer_topic(a, "t", 1);
    listen_as(a, 1, "t", NULL);
    struct peer *watcher = watcher_of(f, PRESENCE "t");
    (void)told(watcher);
    Wire__TopicDelete message = WIRE__TOPIC_DELETE__INIT;
    message.request = 11;
    message.name = (char *)"t";
    peer_send(a, FRAME_TOPIC_DELETE, &message.base);
    fixture_settle(f);
    cr_assert_str_eq(told(watcher), "removeListener t 0");
    peer_expect_anywhere(a, FRAME_TOPICS);
    peer_topic(a, "t", 1);
    listen_as(a, 1, "t", NULL);
    cr_assert_str_eq(told(watcher), "newListener t 1");
    fixture_destroy(f);
}

Test(presence, is_the_number_that_a_description_tells)
{
    struct fixture *f = started();
    struct peer *a = peer_welcome(f), *b = peer_welcome(f);
    peer_topic(a, "t", 4);
    listen_as(a, 1, "t", NULL);
    listen_as(a, 2, "*", NULL);
    listen_as(b, 1, "t", "g");
    listen_as(b, 2, "t", "h");
    Wire__TopicDescribe message = WIRE__TOPIC_DESCRIBE__INIT;
    message.request = 5;
    message.name = (char *)"t";
    peer_send(a, FRAME_TOPIC_DESCRIBE, &message.base);
    fixture_settle(f);
    const Wire__Topics *topics = peer_expect_anywhere(a, FRAME_TOPICS);
    cr_assert_eq(topics->topics[0]->listeners, 4);
    cr_assert_eq(topics->topics[0]->n_who, 4);
    struct peer *watcher = watcher_of(f, PRESENCE "t");
    cr_assert_eq(strncmp(told(watcher), "listeners t 4 4; ", 17), 0);
    fixture_destroy(f);
}

Test(presence, of_more_changes_than_fit_a_turn_is_told_anew)
{
    enum { MANY = 3000 };
    struct fixture *f = started();
    struct peer *a = peer_welcome(f);
    peer_topic(a, "t", 1);
    struct peer *watcher = watcher_of(f, PRESENCE "t");
    (void)told(watcher);
    for (uint32_t i = 0; i < MANY; i++) {
        listen_as(a, i + 1, "t", NULL);
        (void)told(watcher);
    }
    peer_close(a); /* in one turn */
    fixture_settle(f);
    cr_assert_str_eq(told(watcher), "listeners t 0 0");
    peer_close(watcher);
    watcher = watcher_of(f, PRESENCE "t");
    cr_assert_str_eq(told(watcher), "listeners t 0 0");
    fixture_destroy(f);
}

Test(presence, of_very_many_tells_how_many_of_them_it_names)
{
    enum { MANY = 3000 };
    struct fixture *f = started();
    struct peer *a = peer_welcome(f);
    peer_topic(a, "t", 1);
    for (uint32_t i = 0; i < MANY; i++)
        listen_as(a, i + 1, "t", NULL);
    const char *text = told(watcher_of(f, PRESENCE "t"));
    unsigned count = 0, names = 0, seen = 0;
    cr_assert_eq(sscanf(text, "listeners t %u %u", &count, &names), 2, "%.80s", text);
    for (const char *at = text; (at = strstr(at, "; listener t 3000")); at++)
        seen++;
    cr_assert_eq(count, MANY);
    cr_assert_eq(seen, names);
    cr_assert(names > 1000 && names < MANY, "%u", names);
    fixture_destroy(f);
}

Test(presence, slow_watchers_lose_events_and_are_told_how_many)
{
    struct fixture *f = started();
    struct peer *a = peer_welcome(f), *watcher = peer_welcome(f);
    peer_topic(a, "t", 1);
    Wire__Listen listen = WIRE__LISTEN__INIT;
    listen.listener = 1;
    listen.topic = (char *)PRESENCE "t";
    listen.credit = 1; /* one batch */
    listen.queue_size = 1;
    peer_send(watcher, FRAME_LISTEN, &listen.base);
    fixture_settle(f);
    peer_expect(watcher, FRAME_LISTENING);
    cr_assert_str_eq(told(watcher), "listeners t 0 0");
    for (uint32_t i = 0; i < 5; i++)
        listen_as(a, i + 1, "t", NULL);
    peer_credit(watcher, 1, 1 << 20);
    fixture_settle(f);
    const Wire__Deliver *deliver = peer_expect_beyond_credit(watcher, FRAME_DELIVER);
    cr_assert_eq(deliver->dropped, 4);
    fixture_destroy(f);
}

Test(presence, watchers_that_end_when_slow_end_and_the_rest_goes_on)
{
    struct fixture *f = started();
    struct peer *a = peer_welcome(f), *slow = peer_welcome(f);
    peer_topic(a, "t", 1);
    Wire__Listen listen = WIRE__LISTEN__INIT;
    listen.listener = 1;
    listen.topic = (char *)PRESENCE "t";
    listen.credit = 1;
    listen.queue_size = 1;
    listen.slow = WIRE__SLOW__DISCONNECT;
    peer_send(slow, FRAME_LISTEN, &listen.base);
    fixture_settle(f);
    struct peer *watcher = watcher_of(f, PRESENCE "t");
    for (uint32_t i = 0; i < 3; i++)
        listen_as(a, i + 1, "t", NULL);
    cr_assert_eq(((const Wire__Ended *)peer_expect_anywhere(slow, FRAME_ENDED))->code, WIRE_CRIER_ETOOBIG);
    cr_assert_str_eq(told(watcher), "listeners t 0 0; newListener t 1; newListener t 2; newListener t 3");
    fixture_destroy(f);
}

Test(presence, is_the_brokers_to_tell_and_nobody_elses)
{
    struct fixture *f = started();
    struct peer *p = peer_welcome(f);
    peer_listen(p, &(struct listen_spec){.id = 1, .topic = PRESENCE "t"});
    fixture_settle(f);
    const Wire__Listening *listening = peer_expect(p, FRAME_LISTENING);
    struct batch_spec spec = {.partition = listening->partitions[0]->partition, .memory = true};
    (void)told(p);
    assert_refused(peer_emit_one(p, spec), WIRE_CRIER_EINVAL);
    static const char *const bad[] = {PRESENCE, PRESENCE "a..b", PRESENCE "a*", PRESENCE "**.a"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        peer_listen(p, &(struct listen_spec){.id = 2, .topic = bad[i]});
        fixture_settle(f);
        cr_assert_eq(((const Wire__Ended *)peer_expect_past(p, FRAME_ENDED))->code, WIRE_CRIER_EINVAL, "%s",
                     bad[i]);
    }
    peer_listen(p, &(struct listen_spec){.id = 2, .topic = PRESENCE "t", .group = "g"});
    fixture_settle(f);
    cr_assert_eq(((const Wire__Ended *)peer_expect_past(p, FRAME_ENDED))->code, WIRE_CRIER_ENOTSUP);
    fixture_destroy(f);
}

Test(presence, watching_twice_on_one_connection_tells_each)
{
    struct fixture *f = started();
    struct peer *p = peer_welcome(f);
    peer_topic(p, "t", 1);
    peer_listen(p, &(struct listen_spec){.id = 1, .topic = PRESENCE "t"});
    fixture_settle(f);
    peer_listen(p, &(struct listen_spec){.id = 2, .topic = PRESENCE "t"});
    fixture_settle(f);
    peer_expect_past(p, FRAME_LISTENING);
    peer_expect_past(p, FRAME_LISTENING);
    cr_assert_str_eq(told(p), "listeners t 0 0");
    peer_unlisten(p, 1);
    peer_unlisten(p, 2);
    fixture_settle(f);
    peer_expect_past(p, FRAME_ENDED);
    peer_expect_past(p, FRAME_ENDED);
    listen_as(p, 1, "t", NULL);
    cr_assert_str_eq(told(p), "", "nobody watches any more");
    fixture_destroy(f);
}

/* ---- too many ---- */

static void topic_with_most(struct peer *p, const char *name, uint32_t most)
{
    Wire__TopicCreate message = WIRE__TOPIC_CREATE__INIT;
    message.request = 13;
    message.name = (char *)name;
    message.max_listeners = most;
    peer_send(p, FRAME_TOPIC_CREATE, &message.base);
    fixture_settle(p->fixture);
    const Wire__Topics *topics = peer_expect(p, FRAME_TOPICS);
    cr_assert_eq(topics->code, 0);
    cr_assert_eq(topics->topics[0]->max_listeners, most);
}

/* Returns how many listeners its LISTENING warns of. */
static uint32_t warned_of(struct peer *p, uint32_t id, const char *topic)
{
    peer_listen(p, &(struct listen_spec){.id = id, .topic = topic});
    fixture_settle(p->fixture);
    const Wire__Listening *listening = peer_expect_anywhere(p, FRAME_LISTENING);
    cr_assert_eq(listening->n_who, listening->listeners);
    return listening->listeners;
}

static void most_alter(struct peer *p, const char *name, uint32_t most)
{
    Wire__TopicAlter message = WIRE__TOPIC_ALTER__INIT;
    message.request = 14;
    message.name = (char *)name;
    message.set = 1024;
    message.max_listeners = most;
    peer_send(p, FRAME_TOPIC_ALTER, &message.base);
    fixture_settle(p->fixture);
    cr_assert_eq(((const Wire__Topics *)peer_expect_anywhere(p, FRAME_TOPICS))->topics[0]->max_listeners,
                 most);
}

Test(too_many, is_told_to_the_one_too_many_with_who_they_are_and_once)
{
    struct fixture *f = started();
    struct peer *a = peer_welcome(f), *b = peer_welcome(f);
    topic_with_most(a, "t", 2);
    cr_assert_eq(warned_of(a, 1, "t"), 0);
    cr_assert_eq(warned_of(a, 2, "t"), 0);
    cr_assert_not(fixture_logged(f, "TOPIC-LISTENERS"));
    cr_assert_eq(warned_of(b, 1, "t"), 3);
    cr_assert(fixture_logged(f, "TOPIC-LISTENERS"));
    cr_assert_eq(warned_of(b, 2, "t"), 0, "once");
    leave(b, 1);
    leave(b, 2);
    cr_assert_eq(warned_of(b, 1, "t"), 0, "and two are there all the time");
    peer_close(b);
    leave(a, 1);
    cr_assert_eq(warned_of(a, 1, "t"), 0);
    cr_assert_eq(warned_of(a, 3, "t"), 3, "it was down to one: anew");
    fixture_destroy(f);
}

Test(too_many, is_any_number_unless_set_and_altered_at_once)
{
    struct fixture *f = started();
    struct peer *a = peer_welcome(f);
    topic_with_most(a, "t", 0);
    for (uint32_t i = 1; i <= 20; i++)
        cr_assert_eq(warned_of(a, i, "t"), 0);
    most_alter(a, "t", 10);
    cr_assert_eq(warned_of(a, 21, "t"), 21);
    most_alter(a, "t", 30);
    cr_assert_eq(warned_of(a, 22, "t"), 0);
    fixture_destroy(f);
}

Test(too_many, counts_all_buses_patterns_and_groups_and_survives_a_restart)
{
    struct fixture *f = started();
    struct peer *a = peer_welcome(f);
    topic_with_most(a, "t", 2);
    fixture_run(f, 5000000); /* a flush: the row has it */
    fixture_crash(f);
    a = peer_welcome(f);
    listen_as(a, 1, "*", NULL);
    listen_as(a, 2, "t", "g");
    cr_assert_eq(warned_of(peer_welcome(f), 1, "t"), 3);
    fixture_destroy(f);
}
