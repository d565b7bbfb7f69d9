/* test_core_table.c: a table finds exactly what was added and not removed, whatever collides. */
#include "base/check.h"
#include "base/random.h"
#include "broker/core/table.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THINGS = 600, STEPS = 200000 };

struct thing {
    unsigned key;
    bool in;
};

static bool thing_is(const void *item, const void *key, size_t size)
{
    cr_assert_eq(size, sizeof(unsigned));
    return memcmp(&((const struct thing *)item)->key, key, size) == 0;
}

static void check_all(const struct table *table, const struct thing *things, const uint32_t *hashes)
{
    unsigned in = 0, seen = 0;
    for (unsigned i = 0; i < THINGS; i++) {
        const void *found = table_find(table, hashes[i], thing_is, &things[i].key, sizeof(unsigned));
        cr_assert_eq(found, things[i].in ? &things[i] : NULL, "thing %u", i);
        in += things[i].in;
    }
    cr_assert_eq(table->count, in);
    uint32_t at = 0;
    for (const struct thing *thing; (thing = table_next(table, &at)); seen++)
        cr_assert(thing->in);
    cr_assert_eq(seen, in);
}

/* Hashes from so few that nearly everything collides, and wraps around the end. */
static void play(uint64_t seed, uint32_t hash_count)
{
    static struct thing things[THINGS];
    static uint32_t hashes[THINGS];
    struct table table = {0};
    struct random random = random_seeded(seed);
    for (unsigned i = 0; i < THINGS; i++) {
        things[i] = (struct thing){.key = i};
        hashes[i] = UINT32_MAX - (uint32_t)random_below(&random, hash_count);
    }
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned i = (unsigned)random_below(&random, THINGS);
        if (things[i].in)
            table_remove(&table, hashes[i], &things[i]);
        else
            table_add(&table, hashes[i], &things[i]);
        things[i].in = !things[i].in;
        if (step % 4096 == 0)
            check_all(&table, things, hashes);
    }
    check_all(&table, things, hashes);
    table_finish(&table);
    cr_assert_eq(table.count, 0);
}

Test(core_table, what_was_added_and_not_removed_is_found)
{
    play(1, UINT32_MAX);
    play(2, THINGS);
}

Test(core_table, whatever_collides)
{
    play(3, 7);
    play(4, 1);
}

Test(core_table, an_empty_table_holds_nothing_and_has_no_memory)
{
    struct table table = {0};
    struct thing thing = {.key = 1};
    uint32_t hash = table_hash(&thing.key, sizeof(thing.key));
    cr_assert_null(table_find(&table, hash, thing_is, &thing.key, sizeof(thing.key)));
    table_add(&table, hash, &thing);
    cr_assert_eq(table_find(&table, hash, thing_is, &thing.key, sizeof(thing.key)), &thing);
    table_remove(&table, hash, &thing);
    cr_assert_null(table.slots);
}

/* Names as people number them fill a table evenly: no slot is far from home. */
Test(core_table, numbered_names_spread)
{
    enum { NAMES = 100000, SLOTS = 1 << 18 };
    static unsigned char hits[SLOTS];
    unsigned most = 0;
    for (unsigned i = 0; i < NAMES; i++) {
        char name[32];
        int size = snprintf(name, sizeof(name), "orders.%u.placed", i);
        unsigned hit = ++hits[table_hash(name, (size_t)size) % SLOTS];
        most = hit > most ? hit : most;
    }
    cr_assert_lt(most, 10, "%u names in one of %d slots", most, SLOTS);
}
