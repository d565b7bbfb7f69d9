/* producers_idle.c: see producers_idle.h. */
#include "broker/core/producers_idle.h"

#include "broker/core/memory.h"

enum idle_state { ASLEEP, AWAKE, GONE };

struct idle_producer {
    struct producer_key key;
    int64_t used_us;
    uint64_t last_base_offset;
    int32_t last_sequence, last_base_sequence;
    int16_t epoch;
    uint8_t state;
};

static int compare(const struct producer_key *a, const struct producer_key *b)
{
    if (a->producer_id != b->producer_id)
        return a->producer_id < b->producer_id ? -1 : 1;
    return (a->partition > b->partition) - (a->partition < b->partition);
}

bool idle_add(struct idle_producers *idle, const struct producer_key *key, const struct producer_state *state,
              int64_t used_us)
{
    if (idle->count == UINT32_MAX ||
        (idle->count > 0 && compare(&idle->items[idle->count - 1].key, key) >= 0))
        return false;
    idle->items = core_grow(idle->items, idle->count, &idle->capacity, sizeof(*idle->items));
    idle->items[idle->count++] = (struct idle_producer){.key = *key,
                                                        .used_us = used_us,
                                                        .last_base_offset = state->last_base_offset,
                                                        .last_sequence = state->last_sequence,
                                                        .last_base_sequence = state->last_base_sequence,
                                                        .epoch = state->epoch};
    if (idle->left == 0 || used_us < idle->oldest_us)
        idle->oldest_us = used_us;
    idle->left++;
    idle->asleep++;
    return true;
}

uint32_t idle_find(const struct idle_producers *idle, const struct producer_key *key)
{
    uint32_t low = 0, high = idle->asleep > 0 ? idle->count : 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare(&idle->items[middle].key, key);
        if (order == 0)
            return idle->items[middle].state == ASLEEP ? middle + 1 : 0;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

void idle_wake(struct idle_producers *idle, uint32_t number, struct producer_state *ret_state,
               int64_t *ret_used_us)
{
    struct idle_producer *item = &idle->items[number - 1];
    CHECK(item->state == ASLEEP);
    item->state = AWAKE;
    idle->asleep--;
    *ret_state = (struct producer_state){.exists = true,
                                         .epoch = item->epoch,
                                         .last_sequence = item->last_sequence,
                                         .last_base_sequence = item->last_base_sequence,
                                         .last_base_offset = item->last_base_offset};
    *ret_used_us = item->used_us;
}

void idle_leave(struct idle_producers *idle, uint32_t number)
{
    struct idle_producer *item = &idle->items[number - 1];
    CHECK(item->state == AWAKE);
    item->state = GONE;
    if (--idle->left == 0)
        idle_finish(idle);
}

struct by_use {
    int64_t used_us;
    uint32_t place;
};

static int by_use(const void *a, const void *b)
{
    const struct by_use *left = a, *right = b;
    if (left->used_us != right->used_us)
        return left->used_us < right->used_us ? -1 : 1;
    return left->place < right->place ? -1 : 1;
}

static void sort(struct idle_producers *idle)
{
    struct by_use *uses = core_alloc(idle->count * sizeof(*uses));
    for (uint32_t i = 0; i < idle->count; i++)
        uses[i] = (struct by_use){idle->items[i].used_us, i};
    qsort(uses, idle->count, sizeof(*uses), by_use);
    idle->order = core_alloc(idle->count * sizeof(*idle->order));
    for (uint32_t i = 0; i < idle->count; i++)
        idle->order[i] = uses[i].place;
    free(uses);
}

/* They are put in order when the first of them may have been: a start does not wait for that. */
bool idle_before(struct idle_producers *idle, int64_t time_us, struct producer_key *ret_key)
{
    if (idle->left == 0 || idle->oldest_us >= time_us)
        return false;
    if (!idle->order)
        sort(idle);
    const struct idle_producer *item = &idle->items[idle->order[idle->order_at]];
    while (item->state == GONE)
        item = &idle->items[idle->order[++idle->order_at]];
    idle->oldest_us = item->used_us;
    *ret_key = item->key;
    return item->used_us < time_us;
}

void idle_finish(struct idle_producers *idle)
{
    free(idle->items);
    free(idle->order);
    *idle = (struct idle_producers){0};
}
