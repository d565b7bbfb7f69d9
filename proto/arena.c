/* arena.c: a bump allocator in protobuf-c's clothes. See arena.h. */
#include "proto/arena.h"

static void *arena_alloc_callback(void *allocator_data, size_t size)
{
    return arena_allocate(allocator_data, size);
}

static void arena_free_callback(void *allocator_data, void *pointer)
{
    (void)allocator_data; /* arena_reset() takes everything back at once */
    (void)pointer;
}

void arena_init(struct arena *arena, void *bytes, size_t capacity)
{
    *arena = (struct arena){
        .allocator = {.alloc = arena_alloc_callback, .free = arena_free_callback, .allocator_data = arena},
        .bytes = bytes,
        .capacity = capacity,
    };
}

void arena_reset(struct arena *arena)
{
    arena->used = 0;
}

void *arena_allocate(struct arena *arena, size_t size)
{
    size_t padding = -((uintptr_t)arena->bytes + arena->used) % ARENA_ALIGNMENT;
    size_t left = arena->capacity - arena->used;
    if (padding > left || size > left - padding)
        return NULL;
    void *pointer = arena->bytes + arena->used + padding;
    arena->used += padding + size;
    return pointer;
}
