/* ranges.h: a set of offsets as ascending ranges: what of a partition is done above a group's position.
 *
 * The ranges are disjoint and never touch: adding what closes a hole makes two of them one. A search costs O(log n), a change
 * moves what lies behind it; the caller bounds how many there are (SHARED_OPEN_MAX).
 * Pure; one thread. Memory: as memory.h says. */
#ifndef CRIER_BROKER_CORE_RANGES_H
#define CRIER_BROKER_CORE_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct range {
    uint64_t first, end; /* [first, end), not empty */
};

struct ranges {
    struct range *at;
    size_t count, capacity;
};

/* The place of the first range that ends behind the offset; ranges->count: none. */
size_t ranges_find(const struct ranges *ranges, uint64_t offset);
bool ranges_has(const struct ranges *ranges, uint64_t offset);
void ranges_add(struct ranges *ranges, uint64_t first, uint64_t end); /* nothing if it is empty */
void ranges_cut(struct ranges *ranges, uint64_t below);               /* what is below goes */
uint64_t ranges_sum(const struct ranges *ranges);                     /* how many offsets */
void ranges_finish(struct ranges *ranges);                            /* frees; it is empty then */

#endif
