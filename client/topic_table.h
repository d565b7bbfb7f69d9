/* topic_table.h: the topics a bus knows by name: one record each, found by a hash of the name.
 *
 * A record stays as long as somebody needs it: listeners, crier_intern() (pinned), or a call that is using it (running).
 * The table is a power of two of pointers with linear probing, at most half full; the names are the program's own, so the
 * hash is fast instead of keyed. `active` holds the topics that have listeners, in the order in which they got their first.
 *
 * Thread: whoever holds the bus. Owns: the records. Failures: no memory, and nothing has changed. */
#ifndef CRIER_CLIENT_TOPIC_TABLE_H
#define CRIER_CLIENT_TOPIC_TABLE_H

#include "base/list.h"
#include "crier/crier.h"

#include <stdint.h>
#include <string.h>

struct emitter;
struct emitter_array;

struct crier_topic {
    crier *bus;
    struct emitter *emitter;       /* a bus of local:; else NULL */
    struct emitter_array *array;   /* its listeners there; NULL: none */
    struct emitter_array *retired; /* arrays that emits under way may stand in, newest first */
    uint32_t running;              /* calls under way that use the record */
    bool settle_due;               /* something waits for `running` to be 0 */
    bool special;                  /* "error", or some listener is bounded: see emitter_emit.c */
    bool plain;       /* not special, and one listener, which has only a slot: see topic_plain_set() */
    uint32_t bounded; /* listeners whose events wait somewhere */
    bool pinned;      /* stays until the bus is closed */
    bool warned;      /* that there are many listeners */
    uint32_t hash, name_size;
    uint64_t stamp;     /* of the call that is to come to it: see emitter.c */
    uint32_t count;     /* listeners */
    struct list active; /* table.active, while there are listeners */
    char name[];        /* NUL-terminated */
};

#define TOPIC_RECENT_BITS 6
#define TOPIC_RECENT      (1 << TOPIC_RECENT_BITS)

struct topic_table {
    struct crier_topic **buckets; /* NULL: empty */
    size_t mask, count;
    struct list active;
    struct crier_topic *recent[TOPIC_RECENT]; /* by where the name stood in memory; NULL: none */
};

void topic_table_init(struct topic_table *table);
void topic_table_finish(struct topic_table *table); /* frees every record */
/* The record of this name, made if there is none; NULL: no memory. name: valid as a topic's, or local to a bus. */
struct crier_topic *topic_table_get(struct topic_table *table, crier *bus, const char *name);
/* Frees the record if nobody needs it any more. */
void topic_table_drop(struct topic_table *table, struct crier_topic *topic);

/* ---- looking up: once per emit by name ---- */

static inline uint64_t topic_word(const char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof(word));
    return word;
}

static inline uint64_t topic_half(const char *at)
{
    uint32_t half;

    memcpy(&half, at, sizeof(half));
    return half;
}

/* Up to eight bytes, as one number: of more than eight, the first. */
static inline uint64_t topic_head(const char *name, size_t size)
{
    if (size >= 8)
        return topic_word(name);
    if (size >= 4)
        return topic_half(name) | topic_half(name + size - 4) << 32;
    return (uint64_t)(unsigned char)name[0] | (uint64_t)(unsigned char)name[size / 2] << 8 |
           (uint64_t)(unsigned char)name[size - 1] << 16;
}

static inline uint64_t topic_mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15); /* 2^64 divided by the golden ratio, as Knuth's */
    return hash ^ hash >> 32;
}

/* name: of 1 byte at least. Whole words from the front; the last one overlaps the one before. */
static inline uint32_t topic_hash(const char *name, size_t size)
{
    uint64_t hash = topic_mix(size, topic_head(name, size));

    for (size_t at = 8; at + 8 < size; at += 8)
        hash = topic_mix(hash, topic_word(name + at));
    if (size > 8)
        hash = topic_mix(hash, topic_word(name + size - 8));
    return (uint32_t)(hash ^ hash >> 29);
}

/* Of one size, of 1 byte at least. In line, since a call of memcmp() would have everything else saved. */
static inline bool topic_name_is(const char *name, const char *other, size_t size)
{
    if (topic_head(name, size) != topic_head(other, size))
        return false;
    for (size_t at = 8; at + 8 < size; at += 8)
        if (topic_word(name + at) != topic_word(other + at))
            return false;
    return size <= 8 || topic_word(name + (size - 8)) == topic_word(other + (size - 8));
}

/* By its hash. name: of 1 byte at least. NULL: there is none. */
struct crier_topic *topic_table_search(const struct topic_table *table, const char *name, size_t size);

/* A program emits from few places, and there the name is mostly the same constant: so what was found for a name at that address is
 * looked at first. It is compared as any other: somebody may have written another name there. NULL: there is none. */
static inline struct crier_topic *topic_table_find(struct topic_table *table, const char *name)
{
    size_t size = strlen(name);
    uint64_t place = (uint64_t)(uintptr_t)name * UINT64_C(0x9e3779b97f4a7c15) >> (64 - TOPIC_RECENT_BITS);
    struct crier_topic *topic = table->recent[place];

    if (topic && topic->name_size == size && topic_name_is(topic->name, name, size))
        return topic;
    if (size == 0 || !(topic = topic_table_search(table, name, size)))
        return NULL;
    table->recent[place] = topic;
    return topic;
}

#endif
