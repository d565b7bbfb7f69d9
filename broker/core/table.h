/* table.h: things found by what they are called, many of them: topics by name, producers by number.
 *
 * An open-addressed hash table of (hash, item) pairs. The hash stands beside the pointer, so that looking for what is not
 * there, and growing, touch the table alone: with 100,000 topics everything an item lies in is a cache miss, and a start
 * that makes them is mostly such misses (docs/decisions/0021). Collisions go to the next slot, and a removal moves back those
 * behind it (Knuth, TAOCP 6.4, Algorithm R): no tombstones. For tables of a few, uthash does (memory.h).
 *
 * The order of table_next() follows from the keys and the order of the calls alone: a replay gives the same.
 * Pure; one thread. Items are the caller's. Memory: as memory.h says; an empty table has none. */
#ifndef CRIER_BROKER_CORE_TABLE_H
#define CRIER_BROKER_CORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_slot {
    void *item; /* NULL: free */
    uint32_t hash;
};

struct table {
    struct table_slot *slots;
    uint32_t count, capacity; /* capacity: 0 or a power of two */
};

typedef bool table_is(const void *item, const void *key, size_t key_size);

uint32_t table_hash(const void *key, size_t size);
/* NULL: not there. hash: of the key. */
void *table_find(const struct table *table, uint32_t hash, table_is *is, const void *key, size_t key_size);
void table_add(struct table *table, uint32_t hash, void *item);          /* which is not there yet */
void table_remove(struct table *table, uint32_t hash, const void *item); /* which is there */
/* The items one by one: *at is 0 at first. NULL: that was the last. The table must not change meanwhile. */
void *table_next(const struct table *table, uint32_t *at);
void table_finish(struct table *table); /* frees the table, not the items; it is empty then */

#endif
