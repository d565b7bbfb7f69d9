/* histogram.h: counts of latencies, in buckets that grow with the value, so that any percentile is at most 1.6 % off.
 *
 * Log-linear: values below 64 have a bucket each; above, every power of two is cut into 64 equal buckets. Plain data
 * of fixed size: it lies in shared memory, and adding costs a few instructions. (Debian has no C library for this.)
 *
 * Thread: one writer; read after it is done. Values are whatever the caller counts, here microseconds. */
#ifndef CRIER_BASE_HISTOGRAM_H
#define CRIER_BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS  6
#define HISTOGRAM_SUB_COUNT (1u << HISTOGRAM_SUB_BITS)
#define HISTOGRAM_VALUE_MAX                                                                                  \
    ((UINT64_C(1) << 40) - 1) /* 12 days in microseconds; larger values count as this */
#define HISTOGRAM_BUCKETS ((40 - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUB_COUNT)

struct histogram {
    uint64_t count;
    uint64_t max; /* exact */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

static inline uint32_t histogram_bucket(uint64_t value)
{
    if (value < HISTOGRAM_SUB_COUNT)
        return (uint32_t)value;
    uint32_t shift = 63 - (uint32_t)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
    return (shift + 1) * HISTOGRAM_SUB_COUNT + (uint32_t)(value >> shift) - HISTOGRAM_SUB_COUNT;
}

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
    if (value > HISTOGRAM_VALUE_MAX)
        value = HISTOGRAM_VALUE_MAX;
    if (value > histogram->max)
        histogram->max = value;
    histogram->buckets[histogram_bucket(value)]++;
    histogram->count++;
}

/* Adds what `from` counted. */
void histogram_merge(struct histogram *to, const struct histogram *from);
/* The value that `fraction` (0..1) of the values do not exceed: the top of its bucket, at most the maximum. 0 if empty. */
uint64_t histogram_percentile(const struct histogram *histogram, double fraction);

#endif
