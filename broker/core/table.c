/* table.c: see table.h. At most three slots of four are taken, so that a search ends after two steps on average. */
#include "broker/core/table.h"

#include "base/check.h"
#include "broker/core/memory.h"

#define CAPACITY_MIN 4u
#define MULTIPLIER   UINT64_C(0x9e3779b97f4a7c15) /* 2^64 / the golden ratio: Knuth's multiplicative hashing */

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * MULTIPLIER;
    return hash ^ (hash >> 32);
}

uint32_t table_hash(const void *key, size_t size)
{
    const uint8_t *at = key;
    uint64_t hash = size * MULTIPLIER, word;
    for (; size >= sizeof(word); size -= sizeof(word), at += sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        hash = mix(hash, le64toh(word));
    }
    word = 0;
    for (size_t i = 0; i < size; i++)
        word |= (uint64_t)at[i] << (8 * i);
    return (uint32_t)mix(mix(hash, word), 0);
}

void *table_find(const struct table *table, uint32_t hash, table_is *is, const void *key, size_t key_size)
{
    uint32_t mask = table->capacity - 1;
    if (table->capacity == 0)
        return NULL;
    for (uint32_t at = hash & mask; table->slots[at].item; at = (at + 1) & mask)
        if (table->slots[at].hash == hash && is(table->slots[at].item, key, key_size))
            return table->slots[at].item;
    return NULL;
}

static void put(struct table *table, struct table_slot slot)
{
    uint32_t mask = table->capacity - 1, at = slot.hash & mask;
    while (table->slots[at].item)
        at = (at + 1) & mask;
    table->slots[at] = slot;
}

static void grow(struct table *table)
{
    struct table before = *table;
    CHECK(before.capacity < UINT32_C(1) << 31);
    table->capacity = before.capacity ? before.capacity * 2 : CAPACITY_MIN;
    size_t size = table->capacity * sizeof(*table->slots);
    table->slots = malloc(size);
    CHECK(table->slots);
    memset(table->slots, 0, size); /* calloc's would be touched by a search first, and fault twice */
    for (uint32_t i = 0; i < before.capacity; i++)
        if (before.slots[i].item)
            put(table, before.slots[i]);
    free(before.slots);
}

void table_add(struct table *table, uint32_t hash, void *item)
{
    CHECK(item);
    if (table->count >= table->capacity / 4 * 3)
        grow(table);
    put(table, (struct table_slot){item, hash});
    table->count++;
}

void table_remove(struct table *table, uint32_t hash, const void *item)
{
    CHECK(table->count > 0);
    uint32_t mask = table->capacity - 1, at = hash & mask;
    while (table->slots[at].item != item) {
        CHECK(table->slots[at].item);
        at = (at + 1) & mask;
    }
    for (uint32_t next = (at + 1) & mask; table->slots[next].item; next = (next + 1) & mask) {
        uint32_t home = table->slots[next].hash & mask;
        if (((next - home) & mask) < ((next - at) & mask))
            continue; /* it would come to stand before its home */
        table->slots[at] = table->slots[next];
        at = next;
    }
    table->slots[at].item = NULL;
    if (--table->count == 0)
        table_finish(table);
}

void *table_next(const struct table *table, uint32_t *at)
{
    while (*at < table->capacity) {
        void *item = table->slots[(*at)++].item;
        if (item)
            return item;
    }
    return NULL;
}

void table_finish(struct table *table)
{
    free(table->slots);
    *table = (struct table){0};
}
