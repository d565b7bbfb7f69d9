/* test_api_loop_memory.c: as test_api_memory.c, for what lives on a bus's loop (futures, timers, iterators, pools, the monitor), for
 * topics that change, sources and replies, and for the end of a program: every allocation fails once, on a bus of local: and on
 * one that talks to a real crierd. The call says so or gets over it, nothing leaks, the next call finds a bus that works. */
#include "tests/support/allocation.h"
#include "tests/support/broker_fixture.h"

#include "crier/atomic.h"
#include "crier/iterator.h"
#include "crier/monitor.h"
#include "crier/pool.h"
#include "crier/presence.h"
#include "crier/request.h"
#include "crier/shared.h"
#include "crier/shutdown.h"

#include <criterion/criterion.h>

#define LIVES_MAX 4000
#define WAIT_MS   10000

struct life {
    crier *bus;
    unsigned handed_out; /* continuations, ticks and handlers that are to come */
    unsigned came;
};

/* A code that says something about memory, about what memory has cost, or that this kind of bus has no such thing. */
static int sane(int code, const char *what)
{
    switch (code) {
    case CRIER_OK:
    case CRIER_ENOMEM:
    case CRIER_EUNKNOWN:
    case CRIER_ETIMEDOUT:
    case CRIER_ECONNECT:
    case CRIER_ECANCELED:
    case CRIER_ENOTSUP:
    case CRIER_EEXIST:
    case CRIER_ENOTOPIC:
    case CRIER_EHANDLER: /* no memory for a handler's event, on local: */
    case CRIER_EFENCED:  /* the connection was lost for want of memory, and its producer with it */
    case CRIER_ECLOSED:
        break;
    default:
        cr_expect(0, "%s: %d (%s)", what, code, crier_strerror(code));
    }
    return code;
}

#define TRY(call) sane((call), #call)

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    char address[CRIER_REPLY_ADDRESS_SIZE];
    (void)ctx;
    if (crier_reply_address(event, address) == 0) {
        TRY(crier_reply_to(bus, address, 0, "1", 1));
        TRY(crier_reply_failed(bus, event, -1, "2"));
        TRY(crier_reply(bus, event, "3", 1));
    }
    return 0;
}

static int on_leased(crier *bus, const crier_event *event, void *ctx)
{
    struct crier_lease lease = crier_lease_of(event);
    (void)ctx;
    switch (event->offset % 4) {
    case 0:
        return TRY(crier_ack(bus, &lease)) == 0 ? CRIER_LATER : 0;
    case 1:
        return TRY(crier_nack(bus, &lease, NULL)) == 0 ? CRIER_LATER : -1;
    case 2:
        TRY(crier_extend(bus, &lease, 1000));
        return CRIER_LATER;
    default:
        return 0;
    }
}

static int on_result(const crier_result *result, crier_outcome *ret, void *ctx)
{
    (void)result, (void)ret;
    ((struct life *)ctx)->came++;
    return 0;
}

static void on_turn(crier *bus, void *ctx)
{
    (void)bus;
    ((struct life *)ctx)->came++;
}

static int job(crier_outcome *ret, void *ctx)
{
    (void)ctx;
    ret->result.number = 1;
    return 0;
}

static int hook(void *ctx)
{
    (void)ctx;
    return 0;
}

static void on_name(void *ctx, const char *name)
{
    (void)ctx, (void)name;
}

static void on_listener(void *ctx, const crier_listener_info *info)
{
    (void)ctx, (void)info;
}

static void on_inspected(void *ctx, const struct crier_inspected *inspected)
{
    (void)ctx, (void)inspected;
}

/* Waits for it, if it was made, and gives it back. */
static void await(crier_future *future, const char *what)
{
    crier_result result;
    if (!future)
        return;
    sane(crier_future_wait(future, WAIT_MS, NULL), what);
    cr_expect_eq(crier_future_result(future, &result), 0, "%s is still pending", what);
    crier_future_release(future);
}

static void futures(struct life *life)
{
    crier_future *own = NULL, *timer = NULL, *stored = NULL, *signal = NULL, *many[4] = {0}, *next = NULL;
    TRY(crier_future_create(life->bus, &own));
    TRY(crier_future_create(life->bus, &signal));
    TRY(crier_after(life->bus, 0, &timer));
    TRY(crier_emit_future(life->bus, "t", "x", 1, NULL, &stored));
    if (own && timer && stored) {
        crier_future *const all[] = {timer, stored};
        TRY(crier_future_all(life->bus, all, 2, &many[0]));
        TRY(crier_future_all_settled(life->bus, all, 2, &many[1]));
        TRY(crier_future_race(life->bus, all, 2, &many[2]));
        TRY(crier_future_any(life->bus, all, 2, &many[3]));
        life->handed_out += TRY(crier_future_then(own, on_result, on_result, life, &next)) == 0;
        life->handed_out += TRY(crier_future_finally(own, on_result, life, NULL)) == 0;
        if (next)
            TRY(crier_future_catch(next, on_result, life, NULL));
    }
    if (own && signal)
        TRY(crier_future_cancel_on(own, signal));
    if (own) {
        crier_future_release(crier_future_retain(own));
        TRY(crier_future_settle(own, &(crier_result){.number = 1}, NULL));
    }
    if (signal)
        TRY(crier_future_cancel(signal));
    await(own, "own");
    await(next, "next");
    await(timer, "timer");
    await(stored, "stored");
    for (int i = 0; i < 4; i++)
        await(many[i], "of many");
    crier_future_release(signal);
    life->handed_out += TRY(crier_next_tick(life->bus, on_turn, life)) == 0;
    life->handed_out += TRY(crier_immediate(life->bus, on_turn, life)) == 0;
}

static void iterators(struct life *life)
{
    struct crier_listen_options listen = crier_listen_options_default();
    struct crier_iterator_options options = crier_iterator_options_default();
    crier_iterator *iterator = NULL;
    crier_future *once = NULL, *next = NULL, *pending = NULL;
    listen.from = CRIER_EARLIEST;
    options.listen = &listen;
    TRY(crier_once_future(life->bus, "i", &listen, &once));
    TRY(crier_iterate(life->bus, "i", &options, &iterator));
    if (iterator) {
        TRY(crier_iterator_next(iterator, &next));
        TRY(crier_iterator_next(iterator, &pending));
    }
    int emitted = TRY(crier_emit(life->bus, "i", "x", 1));
    if (emitted == 0)
        TRY(crier_flush(life->bus, WAIT_MS));
    if (once)
        crier_future_cancel(
            once); /* its event may have been lost with the connection's memory, or not: both are told */
    if (iterator)
        crier_iterator_close(iterator);
    await(once, "once");
    await(next, "next of iterator");
    await(pending, "end of iterator");
}

static void pools(struct life *life)
{
    struct crier_pool_options options = crier_pool_options_default();
    struct crier_listen_options listen = crier_listen_options_default();
    crier_listener *listener = NULL;
    crier_future *done = NULL;
    crier_pool *pool = NULL;
    options.threads = 1;
    if (TRY(crier_pool_create(&options, &pool)) < 0)
        return;
    TRY(crier_pool_submit(pool, life->bus, job, NULL, &done));
    await(done, "job");
    listen.pool = pool;
    listen.pool_events_max = 4;
    if (TRY(crier_listen(life->bus, "p", &listen, on_event, NULL, &listener)) == 0) {
        struct crier_listener_stats stats;
        TRY(crier_listener_stats(listener, &stats));
        TRY(crier_unlisten(listener));
    }
    int64_t us;
    for (int i = 0; i < 100 && crier_pool_destroy(pool) == CRIER_EBUSY; i++) { /* until it is released */
        crier_future *turn = NULL;
        (void)crier_ping(life->bus, &us);
        if (crier_after(life->bus, 1000, &turn) == 0)
            await(turn, "turn");
        cr_expect_lt(i, 99, "the pool's listener was never released");
    }
}

static void monitor(struct life *life)
{
    struct crier_loop_stats stats;
    int64_t delay_us;
    if (TRY(crier_loop_monitor_start(life->bus, NULL)) == 0) {
        TRY(crier_loop_stats(life->bus, &stats));
        TRY(crier_loop_delay(life->bus, 50, &delay_us));
        TRY(crier_loop_monitor_stop(life->bus));
    }
}

static void topics(struct life *life)
{
    struct crier_topic_options options = crier_topic_options_default();
    struct crier_topic_changes changes = {.struct_size = sizeof(changes), .set = CRIER_SET_RETENTION_COUNT};
    struct crier_inspection inspection = {.struct_size = sizeof(inspection), .what = CRIER_INSPECT_LIST};
    const struct crier_atomic_event events[] = {{"t", "x", 1, NULL}, {"u", "y", 1, NULL}};
    struct crier_atomic_options step = crier_atomic_options_default();
    crier_topic *topic = NULL;
    uint64_t position;
    changes.set |= CRIER_SET_EVENTS_MAX;
    changes.quota.events_max = 1000000;
    options.quota.bytes_max = CRIER_QUOTA_NONE;
    changes.retention.count = 1000;
    options.ephemeral = true;
    TRY(crier_topic_create(life->bus, "e", &options));
    struct crier_topic_options with_letters = crier_topic_options_default();
    with_letters.dead_letter = "lost";
    changes.set |= CRIER_SET_DEAD_LETTER;
    changes.dead_letter = "graves";
    TRY(crier_topic_create(life->bus, "u", &with_letters));
    TRY(crier_topic_alter(life->bus, "u", &changes));
    TRY(crier_topic_trim(life->bus, "u", NULL));
    TRY(crier_confirm_time(life->bus));
    TRY(crier_inspect(life->bus, &inspection, on_inspected, NULL));
    if (TRY(crier_source_position(life->bus, &position)) == 0) {
        step.source_position = position + 1;
        TRY(crier_emit_atomic(life->bus, events, 2, &step));
    }
    if (TRY(crier_intern(life->bus, "t", &topic)) == 0)
        TRY(crier_emit_topic(topic, "x", 1));
    TRY(crier_flush(life->bus, WAIT_MS));
    TRY(crier_topic_delete(life->bus, "u"));
}

static int on_presence(crier *bus, const crier_event *event, void *ctx)
{
    struct crier_presence presence;
    (void)bus, (void)ctx;
    return crier_presence_read(event, &presence);
}

static void listeners(struct life *life)
{
    crier_header header;
    crier_future *answer = NULL;
    struct crier_request_options options = crier_request_options_default();
    TRY(crier_on(life->bus, CRIER_PRESENCE "e", on_presence, NULL));
    TRY(crier_on(life->bus, "e", on_event, NULL));
    TRY(crier_once(life->bus, "e", on_event, NULL));
    TRY(crier_prepend(life->bus, "t", on_event, NULL));
    TRY(crier_prepend_once(life->bus, "t", on_event, NULL));
    TRY(crier_event_names(life->bus, on_name, NULL));
    TRY(crier_listeners(life->bus, "e", on_listener, NULL));
    TRY(crier_raw_listeners(life->bus, "e", on_listener, NULL));
    TRY(crier_emit_error(life->bus, CRIER_ECANCELED, NULL)); /* nobody hears */
    options.timeout_ms = 1;
    TRY(crier_request(life->bus, "e", "?", 1, &options, &answer));
    if (answer) { /* an answer, none, or nobody */
        (void)crier_future_wait(answer, WAIT_MS, NULL);
        crier_future_release(answer);
    }
    cr_expect_eq(crier_event_header(&(crier_event){0}, 0, &header), CRIER_EINVAL);
    cr_expect_eq(crier_event_header_find(&(crier_event){0}, "h", &header), CRIER_EINVAL);
    TRY(crier_flush(life->bus, WAIT_MS));
    TRY(crier_remove_all(life->bus, NULL));
}

static void leases(struct life *life)
{
    struct crier_listen_options listen = crier_listen_options_default();
    struct crier_shared_options shared = crier_shared_options_default();
    int64_t round_trip_us;
    listen.group = "leases";
    listen.shared = &shared;
    listen.from = CRIER_EARLIEST;
    shared.max_in_flight = 2;
    TRY(crier_listen(life->bus, "t", &listen, on_leased, NULL, NULL));
    TRY(crier_emit(life->bus, "t", "x", 1));
    TRY(crier_flush(life->bus, WAIT_MS));
    TRY(crier_ping(life->bus, &round_trip_us));
}

static void the_end(void)
{
    crier_shutdown *shutdown = NULL;
    if (TRY(crier_shutdown_open(NULL, &shutdown)) < 0)
        return;
    TRY(crier_shutdown_add(shutdown, "a hook", hook, NULL));
    cr_expect_geq(crier_shutdown_fd(shutdown), 0);
    crier_shutdown_ask(shutdown);
    TRY(crier_shutdown_wait(shutdown, 0));
    TRY(crier_shutdown_close(shutdown));
}

/* Returns whether the allocation after `skip` ones was asked for, and failed. */
static bool life_with_failure(const char *url, unsigned skip)
{
    struct crier_options options = crier_options_default();
    struct life life = {0};
    long out = allocation_out();
    options.polled = true;
    options.producer_name = "p";
    options.reconnect_delay_ms_min = options.reconnect_delay_ms_max = 1;
    allocation_fail_after(skip);
    if (TRY(crier_open(url, &options, &life.bus)) == 0) {
        monitor(&life);
        futures(&life);
        topics(&life);
        iterators(&life);
        pools(&life);
        leases(&life);
        listeners(&life);
        (void)TRY(crier_close(life.bus));
    }
    the_end();
    bool failed = allocation_failed();
    allocation_never_fail();
    cr_expect_geq(life.came, life.handed_out, "%u: %u of %u calls came", skip, life.came, life.handed_out);
    cr_expect_eq(allocation_out(), out, "%u: %ld blocks leaked", skip, allocation_out() - out);
    return failed;
}

static void every_allocation_fails_once(const char *url)
{
    unsigned skip = 0;
    (void)life_with_failure(url, UINT32_MAX); /* what the process allocates only once */
    while (skip < LIVES_MAX && life_with_failure(url, skip))
        skip++;
    cr_assert_lt(skip, LIVES_MAX);
    cr_assert_gt(skip, 60); /* it was about something */
}

Test(api_loop_memory, any_allocation_may_fail_on_local, .timeout = 240)
{
    every_allocation_fails_once("local:");
    every_allocation_fails_once("local:name");
}

Test(api_loop_memory, any_allocation_may_fail_with_a_broker, .timeout = 240)
{
    struct broker *broker = broker_start(NULL);
    cr_assert_not_null(broker);
    every_allocation_fails_once(broker_url(broker));
    cr_assert_eq(broker_destroy(broker), 0);
}
