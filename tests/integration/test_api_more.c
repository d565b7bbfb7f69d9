/* test_api_more.c: the same as test_api.c for what lives on a bus's loop, and for topics, sources and the end: arguments that
 * are none are a code, never a crash, on every kind of bus; and the bus goes on. */
#include "crier/atomic.h"
#include "crier/iterator.h"
#include "crier/monitor.h"
#include "crier/pool.h"
#include "crier/presence.h"
#include "crier/shared.h"
#include "crier/shutdown.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char folder[64];
static crier *bus;

static void setup(bool local)
{
    char url[80] = "local:";
    if (!local) {
        snprintf(folder, sizeof(folder), "/tmp/crier-api-XXXXXX");
        cr_assert_not_null(mkdtemp(folder));
        snprintf(url, sizeof(url), "embed:%s", folder);
    }
    cr_assert_eq(crier_open(url, NULL, &bus), 0);
}

static void teardown(void)
{
    char command[96];
    crier_future *timer;
    cr_assert_eq(crier_after(bus, 0, &timer), 0); /* whatever was asked of it: its loop goes on */
    cr_assert_eq(crier_future_wait(timer, 10000, NULL), 0);
    crier_future_release(timer);
    cr_assert_eq(crier_close(bus), 0);
    if (folder[0] == '\0')
        return;
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    cr_assert_eq(system(command), 0);
}

static int on_event(crier *a_bus, const crier_event *event, void *ctx)
{
    (void)a_bus, (void)event, (void)ctx;
    return 0;
}

static int on_result(const crier_result *result, crier_outcome *ret, void *ctx)
{
    (void)result, (void)ret, (void)ctx;
    return 0;
}

static void on_turn(crier *a_bus, void *ctx)
{
    (void)a_bus, (void)ctx;
}

static int job(crier_outcome *ret, void *ctx)
{
    (void)ret, (void)ctx;
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

#define EXPECT_EINVAL(call) cr_expect_eq((call), CRIER_EINVAL, "%s", #call)

ParameterizedTestParameters(api_more, futures)
{
    static bool kinds[] = {true, false};
    return cr_make_param_array(bool, kinds, 2);
}

ParameterizedTest(bool *local, api_more, futures, .timeout = 60)
{
    crier_result result = {0};
    crier_future *future = NULL, *next;
    setup(*local);
    cr_assert_eq(crier_future_create(bus, &future), 0);
    EXPECT_EINVAL(crier_future_create(NULL, &next));
    EXPECT_EINVAL(crier_future_create(bus, NULL));
    EXPECT_EINVAL(crier_after(NULL, 0, &next));
    EXPECT_EINVAL(crier_after(bus, 0, NULL));
    EXPECT_EINVAL(crier_after(bus, -1, &next));
    EXPECT_EINVAL(crier_emit_future(NULL, "t", "x", 1, NULL, &next));
    EXPECT_EINVAL(crier_emit_future(bus, NULL, "x", 1, NULL, &next));
    EXPECT_EINVAL(crier_emit_future(bus, "t", "x", 1, NULL, NULL));
    EXPECT_EINVAL(crier_future_settle(NULL, &result, NULL));
    EXPECT_EINVAL(crier_future_settle(future, NULL, NULL));
    EXPECT_EINVAL(crier_future_result(NULL, &result));
    EXPECT_EINVAL(crier_future_result(future, NULL));
    EXPECT_EINVAL(crier_future_wait(NULL, 0, &result));
    EXPECT_EINVAL(crier_future_cancel(NULL));
    EXPECT_EINVAL(crier_future_cancel_on(NULL, future));
    EXPECT_EINVAL(crier_future_cancel_on(future, NULL));
    EXPECT_EINVAL(crier_future_then(NULL, on_result, on_result, NULL, &next));
    EXPECT_EINVAL(crier_future_catch(NULL, on_result, NULL, &next));
    EXPECT_EINVAL(crier_future_finally(NULL, on_result, NULL, &next));
    EXPECT_EINVAL(crier_future_all(NULL, &future, 1, &next));
    EXPECT_EINVAL(crier_future_all(bus, NULL, 1, &next));
    EXPECT_EINVAL(crier_future_all(bus, (crier_future *[]){future, NULL}, 2, &next));
    EXPECT_EINVAL(crier_future_all_settled(bus, NULL, 1, &next));
    EXPECT_EINVAL(crier_future_race(bus, NULL, 1, &next));
    EXPECT_EINVAL(crier_future_any(bus, &future, 1, NULL));
    EXPECT_EINVAL(crier_next_tick(NULL, on_turn, NULL));
    EXPECT_EINVAL(crier_next_tick(bus, NULL, NULL));
    EXPECT_EINVAL(crier_immediate(NULL, on_turn, NULL));
    EXPECT_EINVAL(crier_immediate(bus, NULL, NULL));
    cr_expect_null(crier_future_retain(NULL));
    crier_future_release(NULL);
    cr_expect_eq(crier_future_result(future, &result), CRIER_EAGAIN); /* nothing has settled it */
    crier_future_release(future);
    teardown();
}

ParameterizedTestParameters(api_more, iterators_pools_and_monitors)
{
    static bool kinds[] = {true, false};
    return cr_make_param_array(bool, kinds, 2);
}

ParameterizedTest(bool *local, api_more, iterators_pools_and_monitors, .timeout = 60)
{
    struct crier_iterator_options options = crier_iterator_options_default();
    struct crier_loop_stats stats;
    crier_iterator *iterator;
    crier_future *future;
    crier_pool *pool;
    int64_t delay_us;
    setup(*local);
    EXPECT_EINVAL(crier_once_future(NULL, "t", NULL, &future));
    EXPECT_EINVAL(crier_once_future(bus, NULL, NULL, &future));
    EXPECT_EINVAL(crier_once_future(bus, "t", NULL, NULL));
    EXPECT_EINVAL(crier_iterate(NULL, "t", NULL, &iterator));
    EXPECT_EINVAL(crier_iterate(bus, NULL, NULL, &iterator));
    EXPECT_EINVAL(crier_iterate(bus, "t", NULL, NULL));
    options.low = options.high;
    EXPECT_EINVAL(crier_iterate(bus, "t", &options, &iterator));
    EXPECT_EINVAL(crier_iterator_next(NULL, &future));
    cr_assert_eq(crier_iterate(bus, "t", NULL, &iterator), 0);
    EXPECT_EINVAL(crier_iterator_next(iterator, NULL));
    crier_iterator_close(iterator);
    crier_iterator_close(NULL);
    EXPECT_EINVAL(crier_pool_create(NULL, NULL));
    cr_assert_eq(crier_pool_create(NULL, &pool), 0);
    EXPECT_EINVAL(crier_pool_submit(NULL, bus, job, NULL, &future));
    EXPECT_EINVAL(crier_pool_submit(pool, NULL, job, NULL, &future));
    EXPECT_EINVAL(crier_pool_submit(pool, bus, NULL, NULL, &future));
    cr_expect_eq(crier_pool_destroy(pool), 0);
    cr_expect_eq(crier_pool_destroy(NULL), 0);
    EXPECT_EINVAL(crier_loop_monitor_start(NULL, NULL));
    EXPECT_EINVAL(crier_loop_monitor_stop(NULL));
    EXPECT_EINVAL(crier_loop_monitor_stop(bus));
    EXPECT_EINVAL(crier_loop_stats(NULL, &stats));
    EXPECT_EINVAL(crier_loop_stats(bus, &stats)); /* it was never started */
    cr_assert_eq(crier_loop_monitor_start(bus, NULL), 0);
    EXPECT_EINVAL(crier_loop_stats(bus, NULL));
    EXPECT_EINVAL(crier_loop_delay(NULL, 50, &delay_us));
    EXPECT_EINVAL(crier_loop_delay(bus, 50, NULL));
    EXPECT_EINVAL(crier_loop_delay(bus, 101, &delay_us));
    EXPECT_EINVAL(crier_fd(NULL));
    EXPECT_EINVAL(crier_fd(bus)); /* it has a thread */
    EXPECT_EINVAL(crier_process(NULL));
    EXPECT_EINVAL(crier_process(bus));
    cr_expect_eq(crier_timeout_ms(NULL), -1);
    cr_expect_eq(crier_timeout_ms(bus), -1);
    teardown();
}

ParameterizedTestParameters(api_more, listeners_topics_and_sources)
{
    static bool kinds[] = {true, false};
    return cr_make_param_array(bool, kinds, 2);
}

ParameterizedTest(bool *local, api_more, listeners_topics_and_sources, .timeout = 60)
{
    struct crier_topic_changes changes = {.struct_size = sizeof(changes)};
    struct crier_inspection inspection = {.struct_size = sizeof(inspection)};
    const struct crier_atomic_event event = {"t", "x", 1, NULL}, none = {NULL, "x", 1, NULL};
    uint64_t position;
    setup(*local);
    EXPECT_EINVAL(crier_prepend(NULL, "t", on_event, NULL));
    EXPECT_EINVAL(crier_prepend(bus, NULL, on_event, NULL));
    EXPECT_EINVAL(crier_prepend_once(NULL, "t", on_event, NULL));
    EXPECT_EINVAL(crier_prepend_once(bus, "t", NULL, NULL));
    EXPECT_EINVAL(crier_remove_all(NULL, "t"));
    EXPECT_EINVAL(crier_event_names(NULL, on_name, NULL));
    EXPECT_EINVAL(crier_event_names(bus, NULL, NULL));
    EXPECT_EINVAL(crier_listeners(NULL, "t", on_listener, NULL));
    EXPECT_EINVAL(crier_listeners(bus, "t", NULL, NULL));
    EXPECT_EINVAL(crier_raw_listeners(bus, NULL, on_listener, NULL));
    EXPECT_EINVAL(crier_raw_listeners(bus, "t", NULL, NULL));
    EXPECT_EINVAL(crier_listener_count(NULL, "t", NULL, NULL));
    EXPECT_EINVAL(crier_presence_read(NULL, &(struct crier_presence){0}));
    EXPECT_EINVAL(crier_presence_read(&(crier_event){.topic = "t"}, &(struct crier_presence){0}));
    EXPECT_EINVAL(crier_set_max_listeners(bus, -1));
    EXPECT_EINVAL(crier_get_max_listeners(NULL));
    EXPECT_EINVAL(crier_emit_error(NULL, -1, NULL));
    EXPECT_EINVAL(crier_emit_error(bus, 1, NULL));
    EXPECT_EINVAL(crier_intern(bus, NULL, &(crier_topic *){NULL}));
    EXPECT_EINVAL(crier_emit_topic(NULL, "x", 1));
    cr_expect_null(crier_topic_name(NULL));
    EXPECT_EINVAL(crier_emit_atomic(NULL, &event, 1, NULL));
    EXPECT_EINVAL(crier_emit_atomic(bus, NULL, 1, NULL));
    EXPECT_EINVAL(crier_emit_atomic(bus, &event, 0, NULL));
    EXPECT_EINVAL(crier_emit_atomic(bus, &none, 1, NULL));
    EXPECT_EINVAL(crier_source_position(NULL, &position));
    EXPECT_EINVAL(crier_source_position(bus, NULL));
    EXPECT_EINVAL(crier_source_position(bus, &position)); /* it has no producer_name */
    EXPECT_EINVAL(crier_topic_alter(NULL, "t", &changes));
    EXPECT_EINVAL(crier_topic_alter(bus, NULL, &changes));
    EXPECT_EINVAL(crier_topic_alter(bus, "t", NULL));
    EXPECT_EINVAL(crier_topic_delete(NULL, "t"));
    EXPECT_EINVAL(crier_topic_delete(bus, NULL));
    EXPECT_EINVAL(crier_topic_trim(NULL, "t", NULL));
    EXPECT_EINVAL(crier_topic_trim(bus, NULL, NULL));
    EXPECT_EINVAL(crier_confirm_time(NULL));
    EXPECT_EINVAL(crier_inspect(NULL, &inspection, on_inspected, NULL));
    EXPECT_EINVAL(crier_inspect(bus, NULL, on_inspected, NULL));
    EXPECT_EINVAL(crier_inspect(bus, &inspection, NULL, NULL));
    teardown();
}

Test(api_more, leases_that_are_none_are_refused)
{
    struct crier_listen_options listen = crier_listen_options_default();
    struct crier_shared_options shared = crier_shared_options_default();
    struct crier_nack_options nack = crier_nack_options_default();
    struct crier_lease lease = {.offset = 1, .assignment = 1, .attempt = 1}, none = {0};
    EXPECT_EINVAL(crier_ack(NULL, &lease));
    EXPECT_EINVAL(crier_ack(bus, NULL));
    EXPECT_EINVAL(crier_ack(bus, &none));
    EXPECT_EINVAL(crier_nack(NULL, &lease, NULL));
    EXPECT_EINVAL(crier_nack(bus, NULL, NULL));
    EXPECT_EINVAL(crier_extend(NULL, &lease, 0));
    EXPECT_EINVAL(crier_extend(bus, NULL, 0));
    EXPECT_EINVAL(crier_extend(bus, &lease, CRIER_LEASE_MS_MAX + 1));
    nack.delay_ms = CRIER_NACK_DELAY_MS_MAX + 1ull;
    EXPECT_EINVAL(crier_nack(bus, &lease, &nack));
    nack.struct_size = 0;
    EXPECT_EINVAL(crier_nack(bus, &lease, &nack));
    listen.shared = &shared;
    EXPECT_EINVAL(crier_listen(bus, "t", &listen, on_event, NULL, NULL)); /* no group */
    listen.group = "g";
    listen.commits_atomically = true;
    EXPECT_EINVAL(crier_listen(bus, "t", &listen, on_event, NULL, NULL));
    listen.commits_atomically = false;
    shared.max_in_flight = CRIER_IN_FLIGHT_MAX + 1;
    EXPECT_EINVAL(crier_listen(bus, "t", &listen, on_event, NULL, NULL));
    shared.max_in_flight = 0;
    shared.lease_ms = CRIER_LEASE_MS_MAX + 1;
    EXPECT_EINVAL(crier_listen(bus, "t", &listen, on_event, NULL, NULL));
}

Test(api_more, the_end)
{
    crier_shutdown *shutdown;
    EXPECT_EINVAL(crier_shutdown_open(NULL, NULL));
    cr_assert_eq(crier_shutdown_open(NULL, &shutdown), 0);
    EXPECT_EINVAL(crier_shutdown_add(NULL, "x", hook, NULL));
    EXPECT_EINVAL(crier_shutdown_add(shutdown, NULL, hook, NULL));
    EXPECT_EINVAL(crier_shutdown_add(shutdown, "x", NULL, NULL));
    EXPECT_EINVAL(crier_shutdown_fd(NULL));
    EXPECT_EINVAL(crier_shutdown_wait(NULL, 0));
    crier_shutdown_ask(NULL);
    cr_expect_eq(crier_shutdown_wait(shutdown, 0), CRIER_ETIMEDOUT);
    cr_expect_eq(crier_shutdown_close(NULL), 0);
    cr_expect_eq(crier_shutdown_close(shutdown), 0);
}
