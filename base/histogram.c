/* histogram.c: latencies in buckets that grow with the value. See histogram.h.
 *
 * Thread: one at a time. Failures: none; a fraction outside 0..1 means the nearest of the two. */
#include "base/histogram.h"

void histogram_merge(struct histogram *to, const struct histogram *from)
{
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        to->buckets[i] += from->buckets[i];
    to->count += from->count;
    if (from->max > to->max)
        to->max = from->max;
}

/* The largest value that falls into the bucket. */
static uint64_t bucket_top(uint32_t bucket)
{
    if (bucket < HISTOGRAM_SUB_COUNT)
        return bucket;
    uint32_t shift = bucket / HISTOGRAM_SUB_COUNT - 1;
    uint64_t sub = HISTOGRAM_SUB_COUNT + bucket % HISTOGRAM_SUB_COUNT;
    return ((sub + 1) << shift) - 1;
}

uint64_t histogram_percentile(const struct histogram *histogram, double fraction)
{
    double wanted = fraction * (double)histogram->count;
    uint64_t seen = 0;

    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (histogram->buckets[i] > 0 && (double)seen >= wanted)
            return bucket_top(i) < histogram->max ? bucket_top(i) : histogram->max;
    }
    return histogram->max;
}
