/* test_api_memory.c: every allocation that the public calls make fails once, on a bus that talks to a real crierd: the call
 * says so or gets over it, nothing leaks, and the next call finds a bus that works.
 *
 * A polled bus has no thread: everything of the library's happens in this one, so the n-th allocation is one and the same
 * place each time, as far as the network allows. The same small life is lived until it ends before the n-th. */
#include "tests/support/allocation.h"
#include "tests/support/broker_fixture.h"

#include "crier/crier.h"
#include "crier/request.h"
#include "crier/schedule.h"
#include "crier/shared.h"

#include <criterion/criterion.h>

#define LIVES_MAX 4000

struct life {
    crier *bus;
    unsigned done, heard, released, replied, canceled, told;
};

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus, (void)event;
    ((struct life *)ctx)->heard++;
    return 0;
}

static void on_emitted(crier *bus, int code, uint64_t offset, void *ctx)
{
    (void)bus, (void)code, (void)offset;
    ((struct life *)ctx)->done++;
}

static void on_released(void *ctx, int code, const char *text)
{
    (void)code, (void)text;
    ((struct life *)ctx)->released++;
}

static void on_topic(void *ctx, const struct crier_topic_info *info)
{
    (void)info;
    ((struct life *)ctx)->told++;
}

static void on_group(void *ctx, const struct crier_group_info *info)
{
    (void)info;
    ((struct life *)ctx)->told++;
}

static void on_schedule(void *ctx, const struct crier_schedule_info *info)
{
    (void)info;
    ((struct life *)ctx)->told++;
}

/* A code that says something about memory, about what memory has cost (a connection, an answer), or success. */
static void expect_sane(int code, const char *what)
{
    switch (code) {
    case CRIER_OK:
    case CRIER_ENOMEM:
    case CRIER_EUNKNOWN:
    case CRIER_ETIMEDOUT:
    case CRIER_ECONNECT:
    case CRIER_EEXIST: /* it was made before the answer was lost */
        return;
    default:
        cr_expect(0, "%s: %d (%s)", what, code, crier_strerror(code));
    }
}

static unsigned emit_some(struct life *life)
{
    static const crier_header header = {.name = "h", .name_size = 1, .value = "v", .value_size = 1};
    struct crier_emit_options options = crier_emit_options_default();
    unsigned accepted = 0;
    options.key = "k";
    options.key_size = 1;
    options.headers = &header;
    options.header_count = 1;
    options.done = on_emitted;
    options.ctx = life;
    for (int i = 0; i < 3; i++) {
        int rc = crier_emit_with(life->bus, "t", "x", 1, &options);
        expect_sane(rc, "emit");
        accepted += rc == 0;
    }
    return accepted;
}

static void on_replied(crier *bus, int code, const crier_event *reply, void *ctx)
{
    struct life *life = ctx;
    (void)bus, (void)code, (void)reply;
    life->replied++;
}

/* Nobody replies, or nobody listens: each is told once. */
static unsigned request_some(struct life *life)
{
    struct crier_request_options options = crier_request_options_default();
    unsigned accepted = 0;
    options.replied = on_replied;
    options.ctx = life;
    options.timeout_ms = 1;
    for (int i = 0; i < 2; i++) {
        int rc = crier_request(life->bus, i == 0 ? "t" : "nobody", "x", 1, &options, NULL);
        expect_sane(rc, "request");
        accepted += rc == 0;
    }
    return accepted;
}

static void on_scheduled(crier *bus, int code, const crier_schedule *schedule, void *ctx)
{
    (void)schedule;
    on_emitted(bus, code, 0, ctx);
}

static void on_canceled(crier *bus, int code, void *ctx)
{
    (void)bus, (void)code;
    ((struct life *)ctx)->canceled++;
}

/* Far ahead, and one canceled that never was. */
static unsigned schedule_some(struct life *life, unsigned *ret_cancels)
{
    struct crier_later_options options = crier_later_options_default();
    crier_schedule schedule = {INT64_C(1) << 60, 1};
    int rc;
    options.delay_us = INT64_C(3600000000);
    options.done = on_scheduled;
    options.ctx = life;
    rc = crier_emit_later(life->bus, "t", "x", 1, &options);
    expect_sane(rc, "emit later");
    unsigned accepted = rc == 0;
    rc = crier_schedule_cancel_with(life->bus, &schedule, on_canceled, life);
    expect_sane(rc, "cancel");
    *ret_cancels = rc == 0;
    return accepted;
}

static unsigned listen_some(struct life *life)
{
    struct crier_listen_options options = crier_listen_options_default();
    unsigned accepted = 0;
    options.from = CRIER_EARLIEST;
    options.released = on_released;
    for (int i = 0; i < 2; i++) {
        options.group = i == 0 ? "g" : NULL;
        int rc = crier_listen(life->bus, "t", &options, on_event, life, NULL);
        expect_sane(rc, "listen");
        accepted += rc == 0;
    }
    return accepted;
}

static void ask(struct life *life)
{
    int64_t us;
    expect_sane(crier_ping(life->bus, &us), "ping");
    expect_sane(crier_topic_describe(life->bus, "t", on_topic, life), "describe");
    expect_sane(crier_topic_describe(life->bus, NULL, on_topic, life), "list");
    expect_sane(crier_group_list(life->bus, on_group, life), "groups");
    crier_schedule never = {INT64_C(1) << 60, 1};
    int rc = crier_schedule_cancel(life->bus, &never);
    if (rc != CRIER_ENOSCHEDULE)
        expect_sane(rc, "cancel");
    expect_sane(crier_schedule_list(life->bus, NULL, on_schedule, life, NULL), "schedules");
    expect_sane(crier_group_seek(life->bus, "idle", "t", NULL), "seek");
    rc = crier_redrive(life->bus, "t", 0, NULL);
    if (rc != CRIER_ENOTOPIC) /* nor was the topic made, then */
        expect_sane(rc, "redrive");
    rc = crier_group_describe(life->bus, "idle", "t", on_group, life);
    if (rc != CRIER_EINVAL) /* the seek that would have made it has failed */
        expect_sane(rc, "group");
}

/* Returns whether the allocation after `skip` ones was asked for, and failed. */
static bool life_with_failure(const char *url, unsigned skip)
{
    struct crier_options options = crier_options_default();
    struct life life = {0};
    unsigned emitted = 0, listening = 0, requested = 0, canceled = 0;
    long out = allocation_out();
    options.polled = true;
    options.reconnect_delay_ms_min = options.reconnect_delay_ms_max = 1;
    allocation_fail_after(skip);
    int rc = crier_open(url, &options, &life.bus);
    expect_sane(rc, "open");
    if (rc == 0) {
        expect_sane(crier_topic_create(life.bus, "t", NULL), "create");
        listening = listen_some(&life);
        emitted = emit_some(&life);
        emitted += schedule_some(&life, &canceled);
        requested = request_some(&life);
        rc = crier_flush(life.bus, 10000);
        expect_sane(rc, "flush");
        ask(&life);
        expect_sane(crier_close(life.bus), "close");
    }
    bool failed = allocation_failed();
    allocation_never_fail();
    cr_expect_eq(life.done, emitted, "%u: %u of %u emits were told", skip, life.done, emitted);
    cr_expect_eq(life.replied, requested, "%u: %u of %u requests were told", skip, life.replied, requested);
    cr_expect_eq(life.canceled, canceled, "%u: %u of %u cancels were told", skip, life.canceled, canceled);
    cr_expect_eq(life.released, listening, "%u: %u of %u listeners released", skip, life.released, listening);
    cr_expect_eq(allocation_out(), out, "%u: %ld blocks leaked", skip, allocation_out() - out);
    return failed;
}

Test(api_memory, any_allocation_of_the_public_calls_may_fail, .timeout = 240)
{
    struct broker *broker = broker_start(NULL);
    unsigned skip = 0;
    cr_assert_not_null(broker);
    while (skip < LIVES_MAX && life_with_failure(broker_url(broker), skip))
        skip++;
    cr_assert_lt(skip, LIVES_MAX);
    cr_assert_gt(skip, 30); /* it was about something */
    cr_assert_eq(broker_destroy(broker), 0);
}
