/* slab.c: see slab.h. */
#include "broker/core/slab.h"

#include "broker/core/memory.h"

#define BLOCK_SIZE ((size_t)64 << 10) /* with its header: the allocator keeps what follows it aligned */

struct slab_block {
    struct slab_block *before;
    uint64_t bytes[];
};

void *slab_alloc(struct slab *slab, size_t size)
{
    size = (size + 7) & ~(size_t)7;
    if (slab->capacity - slab->used < size) {
        size_t room = BLOCK_SIZE - sizeof(struct slab_block);
        slab->capacity = size > room ? size : room;
        slab->used = 0;
        struct slab_block *block = core_alloc(sizeof(*block) + slab->capacity);
        block->before = slab->last;
        slab->last = block;
    }
    void *piece = (uint8_t *)slab->last->bytes + slab->used;
    slab->used += size;
    return piece;
}

void slab_finish(struct slab *slab)
{
    while (slab->last) {
        struct slab_block *block = slab->last;
        slab->last = block->before;
        free(block);
    }
    *slab = (struct slab){0};
}
