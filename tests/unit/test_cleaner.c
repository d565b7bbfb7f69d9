/* test_cleaner.c: what the cleaner does, and how much work it takes for it, step by step in a time of the test's own. */
#include "tests/unit/store_yard.h"

#include <criterion/criterion.h>

/* Lets it work for so long, or until it has nothing to do. */
static void run_for(struct yard *yard, int64_t us)
{
    int64_t until_us = yard->now_us + us;
    while (yard->now_us < until_us) {
        int64_t next_us = cleaner_step(&yard->cleaner, yard->now_us);
        yard->now_us = next_us > yard->now_us ? next_us : yard->now_us + 100;
    }
}

static bool may_go(struct yard *yard, size_t position)
{
    const struct segment *segment = segments_at(&yard->segments, position);
    return segment->sealed && position + 1 < segments_count(&yard->segments) &&
           segment->last_index <= yard->state.copied_index;
}

static struct worth weigh(struct yard *yard, size_t position)
{
    struct worth worth = {0};
    struct index *index;
    cr_assert_eq(segments_index(&yard->segments, segments_at(&yard->segments, position), &index), 0);
    worth_weigh(&worth, index, &yard->starts);
    index_unref(index);
    return worth;
}

static void expect_no_dead_ones(struct yard *yard)
{
    for (size_t i = 0; i < segments_count(&yard->segments); i++)
        cr_assert(!may_go(yard, i) || weigh(yard, i).live > 0, "segment %zu has nothing any more", i);
}

static void expect_no_mostly_dead_ones(struct yard *yard)
{
    for (size_t i = 0; i < segments_count(&yard->segments); i++) {
        struct worth worth = weigh(yard, i);
        cr_assert(!may_go(yard, i) || worth.live >= worth.total / 2, "segment %zu: %llu of %llu bytes", i,
                  (unsigned long long)worth.live, (unsigned long long)worth.total);
    }
}

/* One log start moves, with a pass after each. */
static void trim_in_turns(struct yard *yard)
{
    for (uint64_t offset = 1; offset <= YARD_OFFSETS; offset++)
        for (uint64_t partition = 1; partition <= YARD_PARTITIONS; partition++) {
            cr_assert_eq(log_starts_raise(&yard->starts, partition, offset), 0);
            run_for(yard, 2 * CLEANER_PASS_US);
            if (partition % 7 == 0)
                expect_no_dead_ones(yard);
        }
}

Test(cleaner, a_segment_is_weighed_a_few_times_however_often_log_starts_move)
{
    struct yard *yard = yard_open(true);
    size_t count = segments_count(&yard->segments);
    cr_assert_gt(count, 15);
    trim_in_turns(yard);
    cr_assert_gt(atomic_load(&yard->health.removed), count - 5);
    cr_assert_leq(atomic_load(&yard->health.weighed), count * 10, "%llu times for %zu segments",
                  (unsigned long long)atomic_load(&yard->health.weighed), count);
    yard_close(yard);
}

/* Every segment has the batches of two or three partitions: all die together, a little at a time. */
Test(cleaner, segments_that_die_all_at_once_are_weighed_a_few_times_too)
{
    struct yard *yard = yard_open(false);
    size_t count = segments_count(&yard->segments);
    trim_in_turns(yard);
    uint64_t most = count * 10 + atomic_load(&yard->health.swept) * 5;
    cr_assert_leq(atomic_load(&yard->health.weighed), most, "%llu times for %zu segments",
                  (unsigned long long)atomic_load(&yard->health.weighed), count);
    expect_no_dead_ones(yard);
    yard_close(yard);
}

Test(cleaner, nothing_is_weighed_while_no_log_start_moves)
{
    struct yard *yard = yard_open(true);
    run_for(yard, YARD_SETTLE_US);
    uint64_t weighed = atomic_load(&yard->health.weighed);
    cr_assert_leq(weighed, segments_count(&yard->segments), "each once");
    run_for(yard, 100 * YARD_SETTLE_US);
    cr_assert_eq(atomic_load(&yard->health.weighed), weighed);
    yard_close(yard);
}

Test(cleaner, what_is_removed_and_swept_at_rest_is_exact)
{
    uint64_t random = 20261126;
    struct yard *yard = yard_open(true);
    for (unsigned round = 0; round < 60; round++) {
        for (unsigned i = 0; i < 25; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            uint64_t partition = 1 + (random >> 33) % YARD_PARTITIONS;
            uint64_t start = log_starts_get(&yard->starts, partition);
            (void)log_starts_raise(&yard->starts, partition, start + 1 + (random >> 50) % 3);
        }
        run_for(yard, 3 * YARD_SETTLE_US);
        expect_no_dead_ones(yard);
        expect_no_mostly_dead_ones(yard);
    }
    cr_assert_gt(atomic_load(&yard->health.swept), 3);
    cr_assert_gt(atomic_load(&yard->health.removed), 10);
    yard_close(yard);
}

/* Marks are a sample, and this one is wrong: nearly all that dies has none. */
Test(cleaner, a_wrong_guess_ends_when_a_segment_comes_to_a_rest)
{
    struct yard *yard = yard_open(false);
    run_for(yard, YARD_SETTLE_US);
    struct worth *worth = &segments_at(&yard->segments, 0)->worth;
    cr_assert(worth->weighed && worth->standing == WORTH_MARKS &&
              worth->marks[WORTH_MARKS - 1].partition == 2);
    for (unsigned i = 1; i < WORTH_MARKS; i++)
        worth->marks[i] = worth->marks[WORTH_MARKS - 1];
    (void)log_starts_raise(&yard->starts, 1, YARD_OFFSETS);
    run_for(yard, YARD_SETTLE_US / 2);
    cr_assert_eq(worth->standing, WORTH_MARKS - 1);
    cr_assert_gt(weigh(yard, 0).total, 2 * weigh(yard, 0).live);
    run_for(yard, 3 * YARD_SETTLE_US);
    cr_assert_eq(atomic_load(&yard->health.swept), 1);
    expect_no_mostly_dead_ones(yard);
    yard_close(yard);
}
