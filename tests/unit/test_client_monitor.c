/* The loop monitor: first the numbers, with a clock of the test's own; then on a bus, whose handlers really keep it waiting. */
#include "base/clock.h"
#include "client/monitor.h"
#include "crier/future.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

/* ---- the numbers: time is what the test says ---- */

static struct monitor monitor;
static struct crier_loop_monitor_options told;

static void setup(void)
{
    struct crier_loop_monitor_options options = crier_loop_monitor_options_default();
    options.blocked_us = 50;
    cr_assert(monitor_init(&monitor));
    cr_assert(monitor_start(&monitor, &options, 1000));
}

static void teardown(void)
{
    monitor_finish(&monitor);
}

TestSuite(monitor, .init = setup, .fini = teardown);

static bool call(enum crier_loop_kind kind, const char *topic, int64_t ends_us)
{
    return monitor_called(&monitor, &(crier_loop_call){.kind = kind, .topic = topic}, ends_us, &told);
}

Test(monitor, a_loop_is_active_in_its_turns_and_idle_between_them)
{
    struct crier_loop_stats stats;
    monitor_turn_begin(&monitor, 1100);
    monitor_turn_end(&monitor, 1400);
    monitor_turn_begin(&monitor, 1900);
    monitor_turn_end(&monitor, 2000);
    monitor_stats(&monitor, 2000, &stats);
    cr_assert(eq(i64, stats.active_us, 400));
    cr_assert(eq(i64, stats.idle_us, 600));
    cr_assert(eq(dbl, crier_loop_utilization(&stats, NULL), 0.4));
}

Test(monitor, the_turn_under_way_counts)
{
    struct crier_loop_stats stats;
    monitor_turn_begin(&monitor, 1500);
    monitor_stats(&monitor, 2500, &stats);
    cr_assert(eq(i64, stats.active_us, 1000));
    cr_assert(eq(i64, stats.idle_us, 500));
}

Test(monitor, utilization_can_be_asked_of_a_part_of_the_time)
{
    struct crier_loop_stats before, now;
    monitor_turn_begin(&monitor, 1000);
    monitor_turn_end(&monitor, 2000);
    monitor_stats(&monitor, 2000, &before);
    cr_assert(eq(dbl, crier_loop_utilization(&before, NULL), 1.0));
    monitor_turn_begin(&monitor, 2750);
    monitor_turn_end(&monitor, 3000);
    monitor_stats(&monitor, 3000, &now);
    cr_assert(eq(dbl, crier_loop_utilization(&now, &before), 0.25));
    cr_assert(eq(dbl, crier_loop_utilization(&now, &now), 0.0)); /* of no time at all */
}

Test(monitor, delays_have_a_distribution)
{
    struct crier_loop_stats stats;
    for (int i = 0; i < 99; i++)
        monitor_late(&monitor, 10);
    monitor_late(&monitor, 5010);
    monitor_stats(&monitor, 2000, &stats);
    cr_assert(eq(u64, stats.delay_count, 100));
    cr_assert(eq(i64, stats.delay_min_us, 10));
    cr_assert(eq(i64, stats.delay_max_us, 5010));
    cr_assert(eq(dbl, stats.delay_mean_us, 60));
    cr_assert(stats.delay_stddev_us > 497.4 && stats.delay_stddev_us < 497.6); /* sqrt(247500) */
    cr_assert(eq(i64, monitor_delay(&monitor, 50), 10));
    cr_assert(eq(i64, monitor_delay(&monitor, 99), 10));
    cr_assert(eq(i64, monitor_delay(&monitor, 100), 5010));
}

Test(monitor, a_timer_that_goes_off_early_is_not_late)
{
    struct crier_loop_stats stats;
    monitor_late(&monitor, -3);
    monitor_stats(&monitor, 2000, &stats);
    cr_assert(eq(i64, stats.delay_max_us, 0));
    cr_assert(eq(dbl, stats.delay_stddev_us, 0));
}

Test(monitor, no_delay_was_counted_yet)
{
    struct crier_loop_stats stats;
    monitor_stats(&monitor, 2000, &stats);
    cr_assert(eq(u64, stats.delay_count, 0));
    cr_assert(eq(i64, stats.delay_max_us, 0));
    cr_assert(eq(i64, monitor_delay(&monitor, 99), 0));
    cr_assert(eq(int, (int)stats.slowest.kind, CRIER_LOOP_NOTHING));
    cr_assert_str_eq(stats.slowest.topic, "");
}

Test(monitor, the_slowest_call_is_named)
{
    struct crier_loop_stats stats;
    monitor_turn_begin(&monitor, 1000);
    cr_assert(not(call(CRIER_LOOP_HANDLER, "quick", 1010)));
    cr_assert(call(CRIER_LOOP_HANDLER, "slow", 1110));
    cr_assert(call(CRIER_LOOP_HANDLER, "less.slow", 1160)); /* exactly at the limit */
    cr_assert(not(call(CRIER_LOOP_TICK, "a tick", 1209)));
    monitor_stats(&monitor, 2000, &stats);
    cr_assert_str_eq(stats.slowest.topic, "slow");
    cr_assert(eq(i64, stats.slowest.took_us, 100));
    cr_assert(eq(u64, stats.calls_blocked, 2));
}

Test(monitor, time_between_turns_is_nobodys)
{
    struct crier_loop_stats stats;
    monitor_turn_begin(&monitor, 1000);
    monitor_turn_end(&monitor, 1001);
    monitor_turn_begin(&monitor, 9000);
    cr_assert(not(call(CRIER_LOOP_HANDLER, "t", 9001)));
    monitor_stats(&monitor, 9001, &stats);
    cr_assert(eq(i64, stats.slowest.took_us, 1));
}

Test(monitor, what_was_stopped_stays_as_it_was)
{
    struct crier_loop_stats stats;
    monitor_turn_begin(&monitor, 1500);
    cr_assert(monitor_stop(&monitor, 2000)); /* in the middle of a turn */
    cr_assert(not(monitor_stop(&monitor, 2001)));
    monitor_turn_end(&monitor, 3000);
    monitor_late(&monitor, 77);
    cr_assert(not(call(CRIER_LOOP_HANDLER, "t", 4000)));
    monitor_stats(&monitor, 9000, &stats);
    cr_assert(eq(i64, stats.active_us, 500));
    cr_assert(eq(i64, stats.idle_us, 500));
    cr_assert(eq(u64, stats.delay_count, 0));
    cr_assert(eq(int, (int)stats.slowest.kind, CRIER_LOOP_NOTHING));
}

Test(monitor, a_start_begins_from_zero)
{
    struct crier_loop_monitor_options options = crier_loop_monitor_options_default();
    struct crier_loop_stats stats;
    cr_assert(not(monitor_start(&monitor, &options, 1500))); /* it runs */
    monitor_late(&monitor, 77);
    cr_assert(call(CRIER_LOOP_HANDLER, "t", 4000));
    cr_assert(monitor_stop(&monitor, 5000));
    cr_assert(monitor_start(&monitor, &options, 6000));
    monitor_stats(&monitor, 6500, &stats);
    cr_assert(eq(i64, stats.idle_us, 500));
    cr_assert(eq(u64, stats.delay_count, 0));
    cr_assert(eq(u64, stats.calls_blocked, 0));
}

/* ---- on a bus: one that has no broker, and whose loop the test turns ---- */

#define BLOCKED_US 2000

struct seen {
    crier *bus;
    unsigned handled, blocked, ticks, continued;
    enum crier_loop_kind kind;
    char topic[64];
    void (*function)(void);
    int64_t took_us;
};

static void keep_waiting(void)
{
    for (int64_t until_us = clock_monotonic_us() + BLOCKED_US; clock_monotonic_us() < until_us;)
        ;
}

static void on_blocked(crier *bus, const crier_loop_call *blocked, void *ctx)
{
    struct seen *seen = ctx;
    (void)bus;
    seen->blocked++;
    seen->kind = blocked->kind;
    seen->function = blocked->function;
    seen->took_us = blocked->took_us;
    strncpy(seen->topic, blocked->topic, sizeof(seen->topic) - 1);
}

static int on_error(crier *bus, const crier_event *event, void *ctx)
{
    (void)bus, (void)event;
    keep_waiting();
    ((struct seen *)ctx)->handled++;
    return 0;
}

static void on_tick(crier *bus, void *ctx)
{
    (void)bus;
    keep_waiting();
    ((struct seen *)ctx)->ticks++;
}

static int on_settled(const crier_result *result, crier_outcome *ret, void *ctx)
{
    (void)result, (void)ret;
    keep_waiting();
    ((struct seen *)ctx)->continued++;
    return 0;
}

static void seen_open(struct seen *seen)
{
    struct crier_options options = crier_options_default();
    *seen = (struct seen){0};
    options.polled = true;
    options.connect_timeout_ms = 0;
    options.close_timeout_ms = 0;
    cr_assert(eq(int, crier_open("crier://127.0.0.1:1", &options, &seen->bus), 0));
}

static void measure(struct seen *seen)
{
    struct crier_loop_monitor_options options = crier_loop_monitor_options_default();
    options.blocked_us = BLOCKED_US;
    options.blocked = on_blocked;
    options.ctx = seen;
    cr_assert(eq(int, crier_loop_monitor_start(seen->bus, &options), 0));
}

static void turn_until(struct seen *seen, const unsigned *counter)
{
    for (int turns = 0; *counter == 0; turns++) {
        cr_assert(turns < 1000);
        cr_assert(eq(int, crier_process(seen->bus), 0));
    }
}

Test(loop_monitor, tells_which_handler_has_blocked)
{
    struct seen seen;
    struct crier_loop_stats stats;
    seen_open(&seen);
    cr_assert(eq(int, crier_on(seen.bus, "error", on_error, &seen), 0));
    measure(&seen);
    cr_assert(eq(int, crier_emit_error(seen.bus, CRIER_EIO, "x"), 0));
    turn_until(&seen, &seen.handled);
    cr_assert(ge(uint, seen.blocked, 1));
    cr_assert(eq(int, (int)seen.kind, CRIER_LOOP_HANDLER));
    cr_assert_str_eq(seen.topic, "error");
    cr_assert(seen.function == (void (*)(void))on_error);
    cr_assert(ge(i64, seen.took_us, BLOCKED_US));
    cr_assert(eq(int, crier_loop_stats(seen.bus, &stats), 0));
    cr_assert(ge(i64, stats.slowest.took_us, BLOCKED_US));
    cr_assert(ge(i64, stats.active_us, BLOCKED_US));
    crier_close(seen.bus);
}

Test(loop_monitor, tells_of_ticks_and_continuations)
{
    crier_future *future;
    struct seen seen;
    seen_open(&seen);
    measure(&seen);
    cr_assert(eq(int, crier_next_tick(seen.bus, on_tick, &seen), 0));
    turn_until(&seen, &seen.ticks);
    cr_assert(eq(int, (int)seen.kind, CRIER_LOOP_TICK));
    cr_assert(seen.function == (void (*)(void))on_tick);
    cr_assert(eq(int, crier_future_create(seen.bus, &future), 0));
    cr_assert(eq(int, crier_future_then(future, on_settled, NULL, &seen, NULL), 0));
    cr_assert(eq(int, crier_future_settle(future, &(crier_result){0}, NULL), 0));
    turn_until(&seen, &seen.continued);
    cr_assert(eq(int, (int)seen.kind, CRIER_LOOP_CONTINUATION));
    cr_assert(seen.function == (void (*)(void))on_settled);
    crier_future_release(future);
    crier_close(seen.bus);
}

Test(loop_monitor, what_is_kept_waiting_is_the_timer_too)
{
    struct crier_loop_stats stats = {0};
    int64_t delay_us;
    struct seen seen;
    seen_open(&seen);
    measure(&seen);
    for (int64_t until_us = clock_monotonic_us() + 30000; clock_monotonic_us() < until_us;)
        ; /* the loop has no turn while the timer (10 ms) is due */
    for (int turns = 0; stats.delay_count == 0; turns++) {
        cr_assert(turns < 1000);
        cr_assert(eq(int, crier_process(seen.bus), 0));
        cr_assert(eq(int, crier_loop_stats(seen.bus, &stats), 0));
    }
    cr_assert(ge(i64, stats.delay_max_us, 20000));
    cr_assert(eq(int, crier_loop_delay(seen.bus, 100, &delay_us), 0));
    cr_assert(eq(i64, delay_us, stats.delay_max_us));
    crier_close(seen.bus);
}

Test(loop_monitor, has_one_state_after_the_other)
{
    struct crier_loop_stats stats;
    struct seen seen;
    seen_open(&seen);
    cr_assert(eq(int, crier_loop_monitor_stop(seen.bus), CRIER_EINVAL));
    cr_assert(eq(int, crier_loop_stats(seen.bus, &stats), CRIER_EINVAL));
    measure(&seen);
    cr_assert(eq(int, crier_loop_monitor_start(seen.bus, NULL), CRIER_EEXIST));
    cr_assert(eq(int, crier_loop_monitor_stop(seen.bus), 0));
    cr_assert(eq(int, crier_loop_monitor_stop(seen.bus), CRIER_EINVAL));
    cr_assert(eq(int, crier_loop_stats(seen.bus, &stats), 0));
    measure(&seen);
    crier_close(seen.bus); /* while it measures */
}

Test(loop_monitor, options_out_of_range_are_refused)
{
    struct crier_loop_monitor_options options = crier_loop_monitor_options_default();
    int64_t delay_us;
    struct seen seen;
    seen_open(&seen);
    cr_assert(eq(int, crier_loop_monitor_start(NULL, NULL), CRIER_EINVAL));
    options.resolution_us = 999;
    cr_assert(eq(int, crier_loop_monitor_start(seen.bus, &options), CRIER_EINVAL));
    options.resolution_us = 60000001;
    cr_assert(eq(int, crier_loop_monitor_start(seen.bus, &options), CRIER_EINVAL));
    options.resolution_us = 1000;
    options.blocked_us = 0;
    cr_assert(eq(int, crier_loop_monitor_start(seen.bus, &options), CRIER_EINVAL));
    measure(&seen);
    cr_assert(eq(int, crier_loop_delay(seen.bus, -1, &delay_us), CRIER_EINVAL));
    cr_assert(eq(int, crier_loop_delay(seen.bus, 101, &delay_us), CRIER_EINVAL));
    cr_assert(eq(int, crier_loop_delay(seen.bus, 50, NULL), CRIER_EINVAL));
    cr_assert(eq(int, crier_loop_stats(seen.bus, NULL), CRIER_EINVAL));
    cr_assert(eq(int, crier_loop_stats(NULL, NULL), CRIER_EINVAL));
    cr_assert(eq(int, crier_loop_monitor_stop(NULL), CRIER_EINVAL));
    crier_close(seen.bus);
}
