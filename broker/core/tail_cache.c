/* tail_cache.c: see tail_cache.h. */
#include "broker/core/tail_cache.h"

#include "broker/core/memory.h"

void tail_cache_init(struct tail_cache *cache, size_t pinned_bytes_max)
{
    *cache = (struct tail_cache){.pinned_bytes_max = pinned_bytes_max};
}

static struct tail *order_at(const struct tail_cache *cache, size_t place)
{
    return cache->order[(cache->order_first + place) & (cache->order_capacity - 1)];
}

/* What a batch pins beyond its neighbour of the same tail: its places only, if they share a buffer. */
static size_t pinned_by(const struct cached_batch *batch, const struct cached_batch *neighbour)
{
    if (neighbour && neighbour->batch.buffer == batch->batch.buffer)
        return TAIL_PLACE_SIZE;
    return TAIL_PLACE_SIZE + batch->batch.buffer->capacity;
}

static void tail_grow(struct tail *tail)
{
    uint32_t capacity = tail->capacity ? tail->capacity * 2 : 4;
    struct cached_batch *ring = core_alloc(capacity * sizeof(*ring));
    for (uint32_t i = 0; i < tail->count; i++)
        ring[i] = *tail_at(tail, i);
    free(tail->ring);
    *tail = (struct tail){.ring = ring, .capacity = capacity, .count = tail->count};
}

void tail_push(struct tail *tail, uint64_t base_offset, uint32_t span, struct slice batch)
{
    if (tail->count == tail->capacity)
        tail_grow(tail);
    tail->ring[(tail->first + tail->count) & (tail->capacity - 1)] =
        (struct cached_batch){base_offset, span, slice_ref(batch)};
    tail->count++;
}

struct cached_batch tail_shift(struct tail *tail)
{
    struct cached_batch oldest = *tail_at(tail, 0);
    tail->first = (tail->first + 1) & (tail->capacity - 1);
    tail->count--;
    return oldest;
}

static void tail_cache_evict(struct tail_cache *cache)
{
    struct tail *tail = order_at(cache, 0);
    cache->order_first = (cache->order_first + 1) & (cache->order_capacity - 1);
    cache->order_count--;
    struct cached_batch oldest = tail_shift(tail);
    cache->pinned_bytes -= pinned_by(&oldest, tail->count ? tail_at(tail, 0) : NULL);
    slice_unref(&oldest.batch);
    if (tail->count == 0) {
        free(tail->ring);
        *tail = (struct tail){0};
    }
}

void tail_cache_drop(struct tail_cache *cache, struct tail *tail)
{
    size_t kept = 0;
    for (size_t i = 0; i < cache->order_count; i++) {
        struct tail *at = order_at(cache, i);
        if (at != tail)
            cache->order[(cache->order_first + kept++) & (cache->order_capacity - 1)] = at;
    }
    cache->order_count = kept;
    for (uint32_t i = 0; i < tail->count; i++) {
        const struct cached_batch *batch = tail_at(tail, i);
        struct slice slice = batch->batch;
        cache->pinned_bytes -= pinned_by(batch, i + 1 < tail->count ? tail_at(tail, i + 1) : NULL);
        slice_unref(&slice);
    }
    free(tail->ring);
    *tail = (struct tail){0};
}

void tail_cache_finish(struct tail_cache *cache)
{
    while (cache->order_count)
        tail_cache_evict(cache);
    free(cache->order);
}

static void order_grow(struct tail_cache *cache)
{
    size_t capacity = cache->order_capacity ? cache->order_capacity * 2 : 64;
    struct tail **order = core_alloc(capacity * sizeof(struct tail *));
    for (size_t i = 0; i < cache->order_count; i++)
        order[i] = order_at(cache, i);
    free(cache->order);
    cache->order = order;
    cache->order_capacity = capacity;
    cache->order_first = 0;
}

void tail_cache_add(struct tail_cache *cache, struct tail *tail, uint64_t base_offset, uint32_t span,
                    struct slice batch)
{
    if (TAIL_PLACE_SIZE + batch.buffer->capacity > cache->pinned_bytes_max) {
        while (tail->count) /* it would push all out: it is read from the log, and the tail starts after it */
            tail_cache_evict(cache);
        return;
    }
    if (cache->order_count == cache->order_capacity)
        order_grow(cache);
    struct cached_batch added = {base_offset, span, batch};
    cache->pinned_bytes += pinned_by(&added, tail->count ? tail_at(tail, tail->count - 1) : NULL);
    tail_push(tail, base_offset, span, batch);
    cache->order[(cache->order_first + cache->order_count) & (cache->order_capacity - 1)] = tail;
    cache->order_count++;
    while (cache->pinned_bytes > cache->pinned_bytes_max)
        tail_cache_evict(cache);
}

uint32_t tail_find(const struct tail *tail, uint64_t offset)
{
    if (tail->count == 0 || offset < tail_at(tail, 0)->base_offset)
        return UINT32_MAX;
    uint32_t low = 0, high = tail->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct cached_batch *batch = tail_at(tail, middle);
        if (batch->base_offset + batch->span <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < tail->count ? low : UINT32_MAX;
}
