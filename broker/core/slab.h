/* slab.h: memory for what a start makes a hundred thousand of and keeps: pieces one behind the other in large blocks, none of
 * which is freed by itself. An allocation of its own would cost each a header, a search, and a place away from the others.
 *
 * Owner and thread: the core's. */
#ifndef CRIER_BROKER_CORE_SLAB_H
#define CRIER_BROKER_CORE_SLAB_H

#include <stddef.h>

struct slab_block;

struct slab { /* all zero: empty */
    struct slab_block *last;
    size_t used, capacity; /* of the last block */
};

/* So many bytes, zeroed and aligned to 8, until slab_finish(). */
void *slab_alloc(struct slab *slab, size_t size);
void slab_finish(struct slab *slab); /* frees all of it: empty again */

#endif
