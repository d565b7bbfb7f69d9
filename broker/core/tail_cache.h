/* tail_cache.h: the newest durable batches of every partition, kept in memory for listeners that keep up.
 *
 * Batches leave in the order they came, over all partitions, when what they pin together passes the limit. What is
 * counted is what is pinned: a batch keeps its whole receive buffer alive, and neighbours usually share one; and its
 * places in the tail and in the order, which are a quarter of it when every batch holds one small event.
 * Owner and thread: the session core's. */
#ifndef CRIER_BROKER_CORE_TAIL_CACHE_H
#define CRIER_BROKER_CORE_TAIL_CACHE_H

#include "base/buffer.h"

#include <stddef.h>
#include <stdint.h>

struct cached_batch {
    uint64_t base_offset;
    uint32_t span;
    struct slice batch;
};

/* In its tail and in the order of all. */
#define TAIL_PLACE_SIZE (sizeof(struct cached_batch) + sizeof(struct tail *))

/* One partition's cached batches, ascending and without a gap between the first and the partition's end. */
struct tail {
    struct cached_batch *ring;
    uint32_t capacity; /* a power of two, or 0 */
    uint32_t count;
    uint32_t first;
};

struct tail_cache {
    struct tail **order; /* whose batch came when: a ring, oldest first */
    size_t order_capacity, order_count, order_first;
    size_t pinned_bytes, pinned_bytes_max;
};

void tail_cache_init(struct tail_cache *cache, size_t pinned_bytes_max);
/* All tails have been emptied by it. */
void tail_cache_finish(struct tail_cache *cache);
/* Adds the newest batch of a tail; references it. May evict the oldest of any tail, also this one. */
void tail_cache_add(struct tail_cache *cache, struct tail *tail, uint64_t base_offset, uint32_t span,
                    struct slice batch);
/* Empties a tail: its partition goes. */
void tail_cache_drop(struct tail_cache *cache, struct tail *tail);
/* The place of the batch that holds `offset` (or, over a gap, follows it) within the tail; UINT32_MAX: not cached. */
uint32_t tail_find(const struct tail *tail, uint64_t offset);

/* For a tail that is in no cache: adds the newest batch, referenced; removes the oldest, whose reference is the caller's. */
void tail_push(struct tail *tail, uint64_t base_offset, uint32_t span, struct slice batch);
struct cached_batch tail_shift(struct tail *tail);

static inline const struct cached_batch *tail_at(const struct tail *tail, uint32_t place)
{
    return &tail->ring[(tail->first + place) & (tail->capacity - 1)];
}

#endif
