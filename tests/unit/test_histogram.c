/* Latencies in buckets: percentiles may be a little too high, by at most 1.6 %, and never too low. */
#include "base/histogram.h"

#include "base/random.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

Test(histogram, an_empty_one_answers_zero)
{
    struct histogram histogram = {0};
    cr_assert(eq(u64, histogram_percentile(&histogram, 0.5), 0));
    cr_assert(eq(u64, histogram_percentile(&histogram, 1.0), 0));
}

Test(histogram, small_values_are_exact)
{
    struct histogram histogram = {0};
    for (uint64_t i = 0; i < 60; i++)
        histogram_add(&histogram, i);
    cr_assert(eq(u64, histogram_percentile(&histogram, 0.0), 0));
    cr_assert(eq(u64, histogram_percentile(&histogram, 0.5), 29));
    cr_assert(eq(u64, histogram_percentile(&histogram, 1.0), 59));
}

Test(histogram, one_slow_event_in_a_thousand_shows_in_p999_and_max_only)
{
    struct histogram histogram = {0};
    for (int i = 0; i < 999; i++)
        histogram_add(&histogram, 50);
    histogram_add(&histogram, 123456);
    cr_assert(eq(u64, histogram_percentile(&histogram, 0.99), 50));
    cr_assert(eq(u64, histogram_percentile(&histogram, 0.999), 50));
    cr_assert(eq(u64, histogram_percentile(&histogram, 0.9995), 123456));
    cr_assert(eq(u64, histogram.max, 123456));
}

Test(histogram, every_bucket_is_in_bounds_and_they_are_in_order)
{
    uint32_t previous = 0;
    for (uint64_t value = 1; value <= HISTOGRAM_VALUE_MAX; value += 1 + value / 200) {
        uint32_t bucket = histogram_bucket(value);
        cr_assert(bucket >= previous && bucket < HISTOGRAM_BUCKETS, "value %llu", (unsigned long long)value);
        previous = bucket;
    }
    cr_assert(eq(u32, histogram_bucket(HISTOGRAM_VALUE_MAX), HISTOGRAM_BUCKETS - 1));
}

Test(histogram, a_value_beyond_the_largest_counts_as_the_largest)
{
    struct histogram histogram = {0};
    histogram_add(&histogram, UINT64_MAX);
    cr_assert(eq(u64, histogram.max, HISTOGRAM_VALUE_MAX));
    cr_assert(eq(u64, histogram_percentile(&histogram, 1.0), HISTOGRAM_VALUE_MAX));
}

Test(histogram, percentiles_are_at_most_one_point_six_percent_too_high_and_never_too_low)
{
    static const double fractions[] = {0.01, 0.5, 0.9, 0.99, 0.999, 1.0};
    enum { COUNT = 20000 };
    struct random random = random_seeded(42);
    struct histogram histogram = {0};
    uint64_t *values = malloc(COUNT * sizeof(*values));

    cr_assert(values != NULL);
    for (int i = 0; i < COUNT; i++) {
        values[i] = random_below(&random, (uint64_t)1 << (1 + random_below(&random, 39)));
        histogram_add(&histogram, values[i]);
    }
    qsort(values, COUNT, sizeof(*values), compare);
    for (size_t i = 0; i < sizeof(fractions) / sizeof(fractions[0]); i++) {
        uint64_t exact = values[(size_t)(fractions[i] * COUNT + 0.5) - 1];
        uint64_t told = histogram_percentile(&histogram, fractions[i]);
        cr_assert(told >= exact, "fraction %g: %llu told, %llu is true", fractions[i],
                  (unsigned long long)told, (unsigned long long)exact);
        cr_assert(1000 * told <= 1016 * exact, "fraction %g: %llu told, %llu is true", fractions[i],
                  (unsigned long long)told, (unsigned long long)exact);
    }
    free(values);
}

Test(histogram, two_merged_are_as_if_one_had_counted_all)
{
    struct random random = random_seeded(7);
    struct histogram one = {0}, two = {0}, all = {0};

    for (int i = 0; i < 5000; i++) {
        uint64_t value = random_below(&random, 1000000);
        histogram_add(i % 3 == 0 ? &one : &two, value);
        histogram_add(&all, value);
    }
    histogram_merge(&one, &two);
    cr_assert(eq(u64, one.count, all.count));
    cr_assert(eq(u64, one.max, all.max));
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        cr_assert(eq(u64, one.buckets[i], all.buckets[i]));
}
