/* arena.h: unpacking protobuf headers without malloc, within a bound.
 *
 *   arena_reset(&arena);
 *   Wire__Emit *emit = wire__emit__unpack(&arena.allocator, frame.header_size, frame.header);
 *   if (!emit) ... malformed, or larger than the arena: the peer broke the protocol ...
 *   no free: the next reset takes it all back
 *
 * A frame's header is at most 64 KiB, but two bytes on the wire can become a hundred in memory (an empty sub-message).
 * The arena is the guard against such bombs: when it is used up, the allocation fails, and so does the unpacking.
 *
 * Thread: its owner's. Ownership: the memory is the caller's; what was allocated lives until the next reset. */
#ifndef CRIER_PROTO_ARENA_H
#define CRIER_PROTO_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#define ARENA_ALIGNMENT 16

struct arena {
    ProtobufCAllocator
        allocator; /* hand &arena.allocator to ..._unpack(); points back at this struct: do not copy */
    uint8_t *bytes;
    size_t capacity, used;
};

void arena_init(struct arena *arena, void *bytes, size_t capacity); /* bytes: borrowed, at any alignment */
void arena_reset(struct arena *arena);
/* Memory aligned to ARENA_ALIGNMENT, or NULL when there is not enough left. */
void *arena_allocate(struct arena *arena, size_t size);

#endif
