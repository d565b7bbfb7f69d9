/* `bench` as a judge: a listener that misses an event, gets one twice or out of order must turn the result red. */
#include "tools/bench.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#define RUN 0xbeef

static struct bench_options options;
static struct bench bench;

static void setup(void)
{
    options = (struct bench_options){.event_size = 100, .events = 10, .producers = 2, .listeners = 1};
    bench = (struct bench){.options = &options, .run = RUN, .sample_interval = 1};
    bench.results = calloc(1, sizeof(*bench.results));
    cr_assert(bench.results != NULL);
}

static void teardown(void)
{
    free(bench.results);
}

TestSuite(bench_check, .init = setup, .fini = teardown);

static int64_t at_250_us(void)
{
    return 250;
}

static bool receive(uint64_t producer, uint64_t sequence)
{
    uint8_t value[100] = {0};
    bench_event_put(value, RUN, producer, sequence, 100);
    return bench_listener_note(&bench, &bench.results->listeners[0], value, sizeof(value), at_250_us);
}

static void receive_range(uint64_t producer, uint64_t from, uint64_t to)
{
    for (uint64_t sequence = from; sequence < to; sequence++)
        receive(producer, sequence);
}

static struct bench_summary summary(void)
{
    struct bench_summary sum;
    bench_sum(&bench, 1000, &sum);
    return sum;
}

Test(bench_check, every_event_once_and_in_order_is_right_and_the_last_one_is_told)
{
    receive_range(0, 0, 5);
    receive_range(1, 0, 4);
    cr_assert(receive(1, 4));
    struct bench_summary sum = summary();
    cr_assert(bench_summary_ok(&sum));
    cr_assert(eq(u64, sum.received, 10));
    cr_assert(eq(i64, bench.results->listeners[0].finished_us, 250));
}

Test(bench_check, a_lost_event_is_found)
{
    receive_range(0, 0, 5);
    receive_range(1, 0, 2);
    receive_range(1, 3, 5);
    struct bench_summary sum = summary();
    cr_assert(not(bench_summary_ok(&sum)));
    cr_assert(eq(u64, sum.lost, 1));
}

Test(bench_check, a_lost_end_is_found)
{
    receive_range(0, 0, 5);
    struct bench_summary sum = summary();
    cr_assert(not(bench_summary_ok(&sum)));
    cr_assert(eq(u64, sum.lost, 5));
}

Test(bench_check, a_duplicated_event_is_found_and_does_not_stand_for_another)
{
    receive_range(0, 0, 5);
    receive_range(1, 0, 4);
    cr_assert(not(receive(1, 3)));
    struct bench_summary sum = summary();
    cr_assert(eq(u64, sum.duplicated, 1));
    cr_assert(eq(u64, sum.lost, 1));
    cr_assert(receive(1, 4));
    sum = summary();
    cr_assert(eq(u64, sum.lost, 0));
    cr_assert(not(bench_summary_ok(&sum)));
}

Test(bench_check, reordered_events_are_found)
{
    receive_range(0, 0, 2);
    receive(0, 3);
    receive(0, 2);
    receive(0, 4);
    receive_range(1, 0, 5);
    struct bench_summary sum = summary();
    cr_assert(not(bench_summary_ok(&sum)));
    cr_assert(eq(u64, sum.reordered, 1));
    cr_assert(eq(u64, sum.lost, 0));
}

Test(bench_check, the_order_between_producers_is_nobodys_promise)
{
    for (uint64_t sequence = 0; sequence < 5; sequence++) {
        receive(1, sequence);
        receive(0, sequence);
    }
    struct bench_summary sum = summary();
    cr_assert(bench_summary_ok(&sum));
}

Test(bench_check, events_of_another_run_or_size_or_producer_count_for_nothing)
{
    struct bench_listener *listener = &bench.results->listeners[0];
    uint8_t value[101] = {0};

    bench_event_put(value, RUN + 1, 0, 0, 0);
    cr_assert(not(bench_listener_note(&bench, listener, value, 100, at_250_us)));
    bench_event_put(value, RUN, 0, 0, 0);
    cr_assert(not(bench_listener_note(&bench, listener, value, 101, at_250_us)));
    bench_event_put(value, RUN, 2, 0, 0);
    cr_assert(not(bench_listener_note(&bench, listener, value, 100, at_250_us)));
    bench_event_put(value, RUN, 0, 5, 0);
    cr_assert(not(bench_listener_note(&bench, listener, value, 100, at_250_us)));
    struct bench_summary sum = summary();
    cr_assert(eq(u64, sum.strangers, 4));
    cr_assert(eq(u64, sum.received, 0));
    cr_assert(eq(u64, sum.lost, 10));
}

Test(bench_check, sampled_events_tell_how_long_they_took)
{
    receive_range(0, 0, 5);
    struct bench_summary sum = summary();
    cr_assert(eq(u64, sum.latency_us.count, 5));
    cr_assert(eq(u64, sum.latency_us.max, 150));
}

Test(bench_check, shares_are_equal_and_none_is_forgotten)
{
    options.events = 1003;
    options.producers = 4;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < 4; i++)
        sum += bench_share(&options, i);
    cr_assert(eq(u64, sum, 1003));
    cr_assert(eq(u64, bench_share(&options, 0), 251));
    cr_assert(eq(u64, bench_share(&options, 3), 250));
}

Test(bench_check, the_time_runs_from_the_first_emit_to_the_last_event_or_ack)
{
    bench.results->producers[0] = (struct bench_producer){.started_us = 2000000, .acked_us = 3000000};
    bench.results->producers[1] = (struct bench_producer){.started_us = 1000000, .acked_us = 5000000};
    bench.results->listeners[0].finished_us = 4000000;
    struct bench_summary sum = summary();
    cr_assert(epsilon_eq(dbl, sum.elapsed_s, 4.0, 1e-9));
    bench.results->listeners[0].finished_us = 6000000;
    sum = summary();
    cr_assert(epsilon_eq(dbl, sum.elapsed_s, 5.0, 1e-9));
}

/* Without listeners it is acks that count: an event without one is lost. */
Test(bench_check, an_emit_that_was_not_acked_is_lost)
{
    options.listeners = 0;
    bench.results->producers[0].acked = 5;
    bench.results->producers[1].acked = 5;
    struct bench_summary sum = summary();
    cr_assert(bench_summary_ok(&sum));
    bench.results->producers[1].acked = 4;
    sum = summary();
    cr_assert(eq(u64, sum.lost, 1));
    cr_assert(not(bench_summary_ok(&sum)));
}

/* ---- a shared group ---- */

static void group_setup(void)
{
    setup();
    options.listeners = 2;
    options.key_ordered = true;
    options.keys = 2; /* of each producer: its even and its odd numbers */
    cr_assert(eq(int, bench_group_init(&bench), 0));
}

static void group_teardown(void)
{
    bench_group_finish(&bench);
    teardown();
}

TestSuite(bench_group, .init = group_setup, .fini = group_teardown);

static bool member_receive(uint64_t member, uint64_t producer, uint64_t sequence)
{
    uint8_t value[100] = {0};
    bench_event_put(value, RUN, producer, sequence, 100);
    return bench_listener_note(&bench, &bench.results->listeners[member], value, sizeof(value), at_250_us);
}

Test(bench_group, each_event_at_some_member_is_right_and_the_last_one_is_told)
{
    for (uint64_t i = 0; i < 5; i++)
        cr_assert(not(member_receive(i % 2, 0, i)));
    for (uint64_t i = 0; i < 4; i++)
        cr_assert(not(member_receive(i / 2, 1, i)));
    cr_assert(not(bench_group_finished(&bench)));
    cr_assert(member_receive(1, 1, 4));
    struct bench_summary sum = summary();
    cr_assert(bench_summary_ok(&sum));
    cr_assert(eq(u64, sum.received, 10));
    cr_assert(eq(dbl, sum.events_per_s, sum.deliveries_per_s));
}

Test(bench_group, one_that_comes_to_two_members_is_found_and_does_not_stand_for_another)
{
    for (uint64_t i = 0; i < 5; i++)
        member_receive(0, 0, i);
    for (uint64_t i = 0; i < 4; i++)
        member_receive(0, 1, i);
    cr_assert(not(member_receive(1, 0, 4)));
    struct bench_summary sum = summary();
    cr_assert(eq(u64, sum.duplicated, 1));
    cr_assert(eq(u64, sum.lost, 1));
}

Test(bench_group, one_before_an_earlier_one_of_its_key_is_found)
{
    member_receive(0, 0, 1);
    member_receive(1, 0, 0); /* another key: any order */
    cr_assert(eq(u64, summary().reordered, 0));
    member_receive(0, 0, 4);
    member_receive(1, 0, 2);
    cr_assert(eq(u64, summary().reordered, 1));
}

Test(bench_group, what_the_broker_knows_no_acknowledgement_for_is_wrong)
{
    for (uint64_t i = 0; i < 5; i++) {
        member_receive(0, 0, i);
        member_receive(1, 1, i);
    }
    struct bench_summary sum = summary();
    cr_assert(bench_summary_ok(&sum));
    sum.unsettled = 1;
    cr_assert(not(bench_summary_ok(&sum)));
}
