/* buffer.h: reference-counted byte buffers, so that bytes received once are never copied again.
 *
 * A batch is received into a buffer, and from then on the log writer, the tail cache and every listener's output
 * hold slices of that same buffer. The last unref returns it to its pool (or frees it).
 *
 * Thread:  refs are atomic; any thread may ref and unref. The bytes belong to whoever fills them until the first
 *          slice is shared, and are read-only from then on.
 * Limits:  a pool keeps at most `keep` idle buffers; buffers beyond that are freed, so memory follows the load. */
#ifndef CRIER_BASE_BUFFER_H
#define CRIER_BASE_BUFFER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct buffer_pool;

struct buffer {
    _Atomic uint32_t refs;
    size_t capacity;          /* bytes at `data` */
    struct buffer_pool *pool; /* where it returns to, or NULL: freed */
    struct buffer *next_free; /* while idle in the pool */
    uint8_t data[];
};

/* A piece of a buffer. An empty slice has buffer NULL and size 0. Copying the struct does not take a reference. */
struct slice {
    struct buffer *buffer; /* referenced for as long as the slice is kept; NULL: bytes owned elsewhere */
    uint8_t *data;
    size_t size;
};

/* Returns a buffer with one reference and at least `capacity` bytes, or NULL (out of memory). */
struct buffer *buffer_create(size_t capacity);
struct buffer *buffer_ref(struct buffer *buffer);
void buffer_unref(struct buffer *buffer); /* accepts NULL */

/* A pool of buffers of exactly `size` bytes that keeps up to `keep` idle ones. NULL: out of memory. */
struct buffer_pool *buffer_pool_create(size_t size, unsigned keep);
struct buffer *buffer_pool_get(struct buffer_pool *pool); /* one reference, or NULL (out of memory) */
/* Frees the pool once its last buffer has come back; buffers still out stay valid. Accepts NULL. */
void buffer_pool_destroy(struct buffer_pool *pool);

static inline struct slice slice_ref(struct slice slice)
{
    if (slice.buffer)
        buffer_ref(slice.buffer);
    return slice;
}

static inline void slice_unref(struct slice *slice)
{
    buffer_unref(slice->buffer);
    *slice = (struct slice){0};
}

#endif
