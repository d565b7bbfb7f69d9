/* topic_table.c: topics by name. See topic_table.h. */
#include "client/topic_table.h"
#include "client/handles.h"

#include <stdlib.h>

#define BUCKETS_MIN 16

void topic_table_init(struct topic_table *table)
{
    *table = (struct topic_table){0};
    list_init(&table->active);
}

void topic_table_finish(struct topic_table *table)
{
    for (size_t i = 0; table->buckets && i <= table->mask; i++) {
        handle_freed(&topic_handles, table->buckets[i]);
        free(table->buckets[i]);
    }
    free(table->buckets);
    topic_table_init(table);
}

static void place(struct topic_table *table, struct crier_topic *topic)
{
    size_t at = topic->hash & table->mask;

    while (table->buckets[at])
        at = (at + 1) & table->mask;
    table->buckets[at] = topic;
}

/* Room for one more. */
static bool reserve(struct topic_table *table)
{
    struct topic_table grown = *table;
    size_t size = table->buckets ? 2 * (table->mask + 1) : BUCKETS_MIN;

    if (table->buckets && 2 * (table->count + 1) <= table->mask + 1)
        return true;
    if (!(grown.buckets = calloc(size, sizeof(struct crier_topic *))))
        return false;
    grown.mask = size - 1;
    for (size_t i = 0; table->buckets && i <= table->mask; i++)
        if (table->buckets[i])
            place(&grown, table->buckets[i]);
    free(table->buckets);
    table->buckets = grown.buckets;
    table->mask = grown.mask;
    return true;
}

struct crier_topic *topic_table_search(const struct topic_table *table, const char *name, size_t size)
{
    struct crier_topic *topic;
    uint32_t hash;

    if (!table->buckets)
        return NULL;
    hash = topic_hash(name, size);
    for (size_t at = hash;; at++) {
        topic = table->buckets[at & table->mask];
        if (!topic ||
            (topic->hash == hash && topic->name_size == size && topic_name_is(topic->name, name, size)))
            return topic;
    }
}

struct crier_topic *topic_table_get(struct topic_table *table, crier *bus, const char *name)
{
    struct crier_topic *topic = topic_table_find(table, name);
    size_t size = strlen(name);

    if (topic)
        return topic;
    if (!reserve(table) || !(topic = calloc(1, sizeof(*topic) + size + 1)))
        return NULL;
    handle_made(&topic_handles, topic);
    topic->bus = bus;
    topic->hash = topic_hash(name, size);
    topic->name_size = (uint32_t)size;
    list_init(&topic->active);
    memcpy(topic->name, name, size + 1);
    place(table, topic);
    table->count++;
    return topic;
}

/* Those behind it move up, unless they would move before the place their hash names (Knuth, 6.4, algorithm R). */
static void bucket_clear(struct topic_table *table, size_t hole)
{
    size_t mask = table->mask, at = hole, home;

    table->buckets[hole] = NULL;
    for (;;) {
        at = (at + 1) & mask;
        if (!table->buckets[at])
            return;
        home = table->buckets[at]->hash & mask;
        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        table->buckets[hole] = table->buckets[at];
        table->buckets[at] = NULL;
        hole = at;
    }
}

void topic_table_drop(struct topic_table *table, struct crier_topic *topic)
{
    size_t at = topic->hash & table->mask;

    if (topic->pinned || topic->running > 0 || topic->count > 0)
        return;
    while (table->buckets[at] != topic)
        at = (at + 1) & table->mask;
    bucket_clear(table, at);
    for (at = 0; at < TOPIC_RECENT; at++)
        if (table->recent[at] == topic)
            table->recent[at] = NULL;
    table->count--;
    list_remove(&topic->active);
    handle_freed(&topic_handles, topic);
    free(topic);
}
