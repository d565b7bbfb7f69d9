/* What the tail cache may hold is a bound on memory: buffers it keeps alive and its own places together. */
#include "broker/core/tail_cache.h"

#include <criterion/criterion.h>

#define LIMIT       ((size_t)256 * 1024)
#define BUFFER_SIZE ((size_t)4096)
#define BATCH_SIZE  ((size_t)64)

struct memory {
    struct tail_cache cache;
    struct tail tails[3];
    uint64_t next_offset[3];
};

static void memory_begin(struct memory *m)
{
    *m = (struct memory){0};
    tail_cache_init(&m->cache, LIMIT);
}

static void memory_end(struct memory *m)
{
    tail_cache_finish(&m->cache);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(m->tails[i].count, 0);
        cr_assert_null(m->tails[i].ring);
    }
    cr_assert_eq(m->cache.pinned_bytes, 0);
}

static void add(struct memory *m, unsigned which, struct buffer *buffer, size_t at)
{
    struct slice batch = {buffer, buffer->data + at, BATCH_SIZE};
    tail_cache_add(&m->cache, &m->tails[which], m->next_offset[which]++, 1, batch);
}

/* One buffer full of batches of one tail. */
static void buffer_add(struct memory *m, unsigned which)
{
    struct buffer *buffer = buffer_create(BUFFER_SIZE);
    cr_assert_not_null(buffer);
    for (size_t at = 0; at < BUFFER_SIZE; at += BATCH_SIZE)
        add(m, which, buffer, at);
    buffer_unref(buffer);
}

/* Counted from outside: each buffer once, each batch its two places. */
static size_t held(const struct memory *m)
{
    size_t sum = 0;
    for (unsigned which = 0; which < 3; which++) {
        const struct buffer *last = NULL;
        for (uint32_t i = 0; i < m->tails[which].count; i++) {
            const struct buffer *buffer = tail_at(&m->tails[which], i)->batch.buffer;
            sum += sizeof(struct cached_batch) + sizeof(struct tail *);
            sum += buffer == last ? 0 : buffer->capacity;
            last = buffer;
        }
    }
    return sum;
}

Test(core_tail, small_batches_and_their_places_stay_under_the_limit)
{
    struct memory m;
    memory_begin(&m);
    size_t most = 0;
    for (unsigned i = 0; i < 200; i++) {
        buffer_add(&m, i % 3);
        cr_assert_leq(held(&m), LIMIT, "after %u buffers", i + 1);
        most = held(&m) > most ? held(&m) : most;
    }
    cr_assert_gt(most, LIMIT - 2 * BUFFER_SIZE, "half of the memory is not used");
    memory_end(&m);
}

Test(core_tail, the_newest_are_found_and_the_oldest_are_not)
{
    struct memory m;
    memory_begin(&m);
    for (unsigned i = 0; i < 200; i++)
        buffer_add(&m, 0);
    uint64_t first = tail_at(&m.tails[0], 0)->base_offset;
    cr_assert_gt(first, 0);
    cr_assert_eq(tail_find(&m.tails[0], first - 1), UINT32_MAX);
    cr_assert_eq(tail_find(&m.tails[0], first), 0);
    cr_assert_eq(tail_find(&m.tails[0], m.next_offset[0] - 1), m.tails[0].count - 1);
    cr_assert_eq(tail_find(&m.tails[0], m.next_offset[0]), UINT32_MAX);
    memory_end(&m);
}

Test(core_tail, what_is_larger_than_the_limit_is_left_to_the_log)
{
    struct memory m;
    memory_begin(&m);
    buffer_add(&m, 0);
    buffer_add(&m, 1);
    struct buffer *large = buffer_create(LIMIT);
    cr_assert_not_null(large);
    add(&m, 0, large, 0);
    buffer_unref(large);
    cr_assert_eq(m.tails[0].count, 0, "what came before it would leave a gap");
    cr_assert_eq(m.tails[1].count, BUFFER_SIZE / BATCH_SIZE, "another partition's stay");
    memory_end(&m);
}

Test(core_tail, a_partition_that_goes_gives_back_what_it_held)
{
    struct memory m;
    memory_begin(&m);
    for (unsigned i = 0; i < 6; i++)
        buffer_add(&m, i % 3);
    tail_cache_drop(&m.cache, &m.tails[1]);
    cr_assert_eq(m.tails[1].count, 0);
    cr_assert_eq(m.cache.pinned_bytes, held(&m));
    memory_end(&m);
}
