/* memory.h: small allocations of the core, and uthash set up for it.
 *
 * The core's own records (a topic, a row, a cursor) are small and their number is bounded by other limits. Being out of
 * memory for one of them in the middle of applying a durable entry leaves no honest way on, so it stops the process:
 * nothing acknowledged is lost, and a restart replays. What a peer can make big (batches, frames, reads) is never
 * allocated here: those paths return CRIER_ENOMEM. */
#ifndef CRIER_BROKER_CORE_MEMORY_H
#define CRIER_BROKER_CORE_MEMORY_H

#include "base/check.h"
#include "proto/murmur2.h"

#include <stdlib.h>
#include <string.h>

/* uthash's own hash function is a switch that falls through; ours is at hand and as good. */
#define HASH_FUNCTION(key, size, value) ((value) = murmur2((key), (size)))
#define uthash_fatal(message)           check_failed(__FILE__, __LINE__, __func__, message)
#include <uthash.h>
#include <utlist.h>

static inline void *core_alloc(size_t size)
{
    CHECK(size > 0);
    void *memory = calloc(1, size);
    CHECK(memory);
    return memory;
}

static inline char *core_strdup(const char *text)
{
    char *copy = strdup(text);
    CHECK(copy);
    return copy;
}

/* Makes room for one more element in a growing array; returns the array. */
static inline void *core_grow(void *array, size_t count, size_t *capacity, size_t element_size)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity ? *capacity * 2 : 8;
    array = realloc(array, *capacity * element_size);
    CHECK(array);
    return array;
}

#endif
