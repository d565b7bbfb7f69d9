/* test_client_request.c: requests and replies over the real broker: one, several, none, late, failed, from a pool. */
#include "crier/pool.h"
#include "crier/request.h"
#include "tests/integration/client_probe.h"
#include "tests/support/broker_fixture.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static struct broker *broker;
static crier *asker, *answerer;
static struct probe probe;

static crier *bus_open(void)
{
    crier *bus = NULL;
    cr_assert_eq(crier_open(broker_url(broker), NULL, &bus), 0);
    return bus;
}

static void setup(void)
{
    broker = broker_start(NULL);
    cr_assert_not_null(broker);
    probe_init(&probe);
    asker = bus_open();
    answerer = bus_open();
}

static void teardown(void)
{
    if (asker)
        cr_assert_eq(crier_close(asker), 0);
    cr_assert_eq(crier_close(answerer), 0);
    probe_finish(&probe);
    cr_assert_eq(broker_destroy(broker), 0);
}

TestSuite(client_request, .init = setup, .fini = teardown, .timeout = 120);

/* ---- those who answer ---- */

static int echo(crier *bus, const crier_event *event, void *ctx)
{
    char text[64];
    int size = snprintf(text, sizeof(text), "%.*s%s", (int)event->value_size, (const char *)event->value,
                        ctx ? (const char *)ctx : "");
    return crier_reply(bus, event, text, (size_t)size);
}

static int fail(crier *bus, const crier_event *event, void *ctx)
{
    (void)ctx;
    return crier_reply_failed(bus, event, CRIER_EFULL, "no more of that");
}

static int keep_silent(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus, (void)event, (void)ctx;
    return 0;
}

static void on_listening(void *ctx)
{
    (void)ctx;
    probe_listening(&probe);
}

static void answer_on_pool(crier *bus, const char *topic, crier_handler *handler, void *ctx, crier_pool *pool)
{
    struct crier_listen_options options = crier_listen_options_default();
    size_t before = probe_count(&probe, &probe.listening);
    options.ephemeral = true;
    options.pool = pool;
    options.listening = on_listening;
    cr_assert_eq(crier_listen(bus, topic, &options, handler, ctx, NULL), 0);
    cr_assert(probe_wait(&probe, &probe.listening, before + 1));
}

static void answer(const char *topic, crier_handler *handler, void *ctx)
{
    answer_on_pool(answerer, topic, handler, ctx, NULL);
}

/* ---- asking ---- */

static crier_future *ask(const char *topic, const char *value, uint32_t replies, int timeout_ms)
{
    struct crier_request_options options = crier_request_options_default();
    crier_future *future = NULL;
    options.timeout_ms = timeout_ms;
    options.replies = replies;
    cr_assert_eq(crier_request(asker, topic, value, strlen(value), &options, &future), 0);
    return future;
}

static void expect_answer(crier_future *future, int code, const char *value)
{
    crier_result result;
    cr_assert_eq(crier_future_wait(future, 20000, &result), code, "%s", crier_strerror(result.code));
    if (value)
        cr_assert_str_eq(result.pointer, value);
    crier_future_release(future);
}

Test(client_request, a_request_gets_its_reply)
{
    answer("echo", echo, (void *)(uintptr_t) "!");
    expect_answer(ask("echo", "one", 0, 20000), 0, "one!");
    for (int i = 0; i < 200; i++) {
        char text[16], wanted[20];
        snprintf(text, sizeof(text), "%d", i);
        snprintf(wanted, sizeof(wanted), "%d!", i);
        expect_answer(ask("echo", text, 0, 20000), 0, wanted);
    }
}

static void expect_ephemeral(void *ctx, const struct crier_topic_info *info)
{
    *(bool *)ctx = info->ephemeral;
}

Test(client_request, without_a_listener_it_fails_at_once)
{
    bool ephemeral = false;
    expect_answer(ask("nobody", "hello", 0, 20000), CRIER_ENOLISTENER, NULL);
    cr_assert_eq(crier_topic_describe(asker, "nobody", expect_ephemeral, &ephemeral), 0);
    cr_assert(ephemeral, "a topic that a request makes is ephemeral");
    answer("nobody", echo, NULL); /* somebody, now */
    expect_answer(ask("nobody", "hello", 0, 20000), 0, "hello");
    cr_assert_eq(crier_topic_create(asker, "kept", NULL), 0);
    expect_answer(ask("kept", "hello", 0, 20000), CRIER_ENOLISTENER, NULL);
}

Test(client_request, a_topic_that_is_kept_serves_as_well)
{
    cr_assert_eq(crier_topic_create(asker, "kept", NULL), 0);
    answer("kept", echo, NULL);
    expect_answer(ask("kept", "hello", 0, 20000), 0, "hello");
}

Test(client_request, without_a_reply_it_times_out)
{
    answer("silence", keep_silent, NULL);
    expect_answer(ask("silence", "hello", 0, 50), CRIER_ETIMEDOUT, NULL);
    expect_answer(ask("silence", "hello", 3, 50), CRIER_ETIMEDOUT, NULL);
}

Test(client_request, what_failed_there_says_why)
{
    answer("fails", fail, NULL);
    expect_answer(ask("fails", "hello", 0, 20000), CRIER_EFULL, "no more of that");
}

Test(client_request, several_repliers_are_gathered_in_the_order_they_come)
{
    crier_result result;
    answer("many", echo, (void *)(uintptr_t) "a");
    answer("many", echo, (void *)(uintptr_t) "b");
    answer("many", fail, NULL);
    crier_future *future = ask("many", "x", 3, 20000);
    cr_assert_eq(crier_future_wait(future, 20000, &result), 0);
    cr_assert_eq(result.size, 3);
    const crier_result *replies = result.pointer;
    cr_assert_str_eq(replies[0].pointer, "xa");
    cr_assert_str_eq(replies[1].pointer, "xb");
    cr_assert_eq(replies[2].code, CRIER_EFULL);
    crier_future_release(future);
    future = ask("many", "x", 5, 200); /* more than there are: those that came */
    cr_assert_eq(crier_future_wait(future, 20000, &result), 0);
    cr_assert_eq(result.size, 3);
    crier_future_release(future);
    expect_answer(ask("many", "x", 0, 20000), 0, "xa"); /* the first counts */
}

/* ---- callbacks ---- */

static void on_reply(crier *bus, int code, const crier_event *reply, void *ctx)
{
    struct probe *to = ctx;
    if (reply)
        (void)probe_handler(bus, reply, to);
    else
        probe_done(bus, code, 0, to);
}

Test(client_request, a_callback_hears_each_reply_and_why_there_are_no_more)
{
    struct crier_request_options options = crier_request_options_default();
    answer("many", echo, (void *)(uintptr_t) "a");
    answer("many", echo, (void *)(uintptr_t) "b");
    options.replied = on_reply;
    options.ctx = &probe;
    options.replies = 2;
    cr_assert_eq(crier_request(asker, "many", "x", 1, &options, NULL), 0);
    cr_assert(probe_wait(&probe, &probe.event_count, 2));
    options.replies = 3;
    options.timeout_ms = 100;
    cr_assert_eq(crier_request(asker, "many", "y", 1, &options, NULL), 0);
    cr_assert(probe_wait(&probe, &probe.event_count, 4));
    cr_assert(probe_wait(&probe, &probe.done_count, 1));
    cr_assert_eq(probe.last_code, CRIER_ETIMEDOUT);
    cr_assert_str_eq(probe.events[3].value, "yb");
    cr_assert_eq(crier_request(asker, "nobody", "x", 1, &options, NULL), 0);
    cr_assert(probe_wait(&probe, &probe.done_count, 2));
    cr_assert_eq(probe.last_code, CRIER_ENOLISTENER);
}

/* ---- replies from elsewhere ---- */

Test(client_request, a_handler_on_a_pool_replies)
{
    crier_pool *pool;
    cr_assert_eq(crier_pool_create(NULL, &pool), 0);
    crier *bus = bus_open();
    answer_on_pool(bus, "work", echo, NULL, pool);
    crier_future *futures[50];
    for (int i = 0; i < 50; i++)
        futures[i] = ask("work", "w", 0, 20000);
    for (int i = 0; i < 50; i++)
        expect_answer(futures[i], 0, "w");
    cr_assert_eq(crier_close(bus), 0);
    cr_assert_eq(crier_pool_destroy(pool), 0);
}

static char address[CRIER_REPLY_ADDRESS_SIZE];

static int note_address(crier *bus, const crier_event *event, void *ctx)
{
    cr_assert_eq(crier_reply_address(event, address), 0);
    return probe_handler(bus, event, ctx);
}

Test(client_request, a_reply_may_come_later_from_another_bus)
{
    answer("later", note_address, &probe);
    crier_future *future = ask("later", "hello", 0, 20000);
    cr_assert(probe_wait(&probe, &probe.event_count, 1));
    crier *third = bus_open();
    cr_assert_eq(crier_reply_to(third, address, 0, "at last", 7), 0);
    expect_answer(future, 0, "at last");
    cr_assert_eq(crier_reply_to(third, address, 0, "again", 5), 0); /* nobody waits any more */
    cr_assert_eq(crier_flush(third, -1), 0);
    cr_assert_eq(crier_close(third), 0);
}

/* ---- what is no request; ends ---- */

static int reply_to_all(crier *bus, const crier_event *event, void *ctx)
{
    *(atomic_int *)ctx = crier_reply(bus, event, "?", 1);
    return 0;
}

Test(client_request, only_a_request_can_be_replied_to)
{
    atomic_int rc = 1;
    answer("t", reply_to_all, &rc);
    cr_assert_eq(crier_emit(answerer, "t", "x", 1), 0);
    expect_answer(ask("t", "hello", 0, 20000), 0, "?");
    cr_assert_eq(crier_reply_to(asker, "t:1", 0, "x", 1), CRIER_EINVAL);
    cr_assert_eq(crier_reply_to(asker, "$inbox.0123456789abcde", 0, "x", 1), CRIER_EINVAL);
    cr_assert_eq(crier_request(asker, "t", "x", 1, NULL, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_request(asker, "error", "x", 1, NULL, &(crier_future *){NULL}), CRIER_EINVAL);
}

Test(client_request, closing_ends_those_that_wait)
{
    answer("silence", keep_silent, NULL);
    crier_future *future = ask("silence", "hello", 0, 20000);
    cr_assert_eq(crier_flush(asker, -1), 0);
    cr_assert_eq(crier_close(asker), 0);
    asker = NULL;
    crier_result result;
    cr_assert_eq(crier_future_result(future, &result), 0);
    cr_assert_eq(result.code, CRIER_ECLOSED);
    crier_future_release(future);
}

Test(client_request, after_a_restart_requests_go_on)
{
    size_t listening = probe_count(&probe, &probe.listening);
    answer("echo", echo, NULL);
    expect_answer(ask("echo", "one", 0, 20000), 0, "one");
    broker_kill(broker);
    cr_assert(broker_restart(broker));
    cr_assert(probe_wait(&probe, &probe.listening, listening + 2));
    expect_answer(ask("echo", "two", 0, 20000), 0, "two");
}

/* A bus that replies meets many inboxes, and forgets them. */
Test(client_request, many_askers_come_and_go)
{
    answer("echo", echo, NULL);
    for (int i = 0; i < 600; i++) {
        crier_future *future;
        crier *bus = bus_open();
        cr_assert_eq(crier_request(bus, "echo", "x", 1, NULL, &future), 0);
        expect_answer(future, 0, "x");
        cr_assert_eq(crier_close(bus), 0);
    }
}
