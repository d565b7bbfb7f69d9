/* chunk.c: what flows through streams: bytes and items, counted; slices of them; queues of them.
 *
 * Thread:   chunks: any, by atomic counts; a queue is its stream's.
 * Owns:     a chunk's bytes stand behind its struct, so one allocation each; a slice holds a reference to the whole.
 *
 * Happy path:  chunk_create -> filled by its maker -> pushed, written, piped: a reference each -> freed with the last.
 * Failures:    no memory: NULL or CRIER_ENOMEM, and nothing happened. */
#include "client/emitter_headers.h"
#include "client/stream_internal.h"

#include "base/check.h"

#include <stdlib.h>

#define QUEUE_CAPACITY_MIN 8

struct bytes_chunk {
    struct chunk chunk;
    unsigned char bytes[];
};

static void chunk_init(struct chunk *chunk, const void *data, size_t size)
{
    *chunk = (struct chunk){.shown = {.data = data, .size = size}};
    atomic_init(&chunk->references, 1);
}

struct chunk *chunk_create(size_t size, void **ret_bytes)
{
    struct bytes_chunk *made = size <= SIZE_MAX - sizeof(*made) ? malloc(sizeof(*made) + size) : NULL;

    if (!made)
        return NULL;
    chunk_init(&made->chunk, made->bytes, size);
    *ret_bytes = made->bytes;
    return &made->chunk;
}

struct chunk *chunk_slice(struct chunk *chunk, size_t at, size_t size)
{
    struct chunk *slice = malloc(sizeof(*slice));

    if (!slice)
        return NULL;
    chunk_init(slice, (const unsigned char *)chunk->shown.data + at, size);
    slice->whole = chunk->whole ? chunk->whole : chunk;
    (void)crier_chunk_retain(&slice->whole->shown);
    return slice;
}

struct item *item_of_event(const crier_event *event)
{
    struct item *item = malloc(sizeof(*item) + event_copy_size(event));

    if (!item)
        return NULL;
    event_copy_fill(&item->copy, item->bytes, event);
    chunk_init(&item->chunk, item->copy.event.value, item->copy.event.value_size);
    item->chunk.shown.event = &item->copy.event;
    return item;
}

int crier_chunk_create(const void *data, size_t size, crier_chunk **ret_chunk)
{
    struct chunk *chunk;
    void *bytes;

    if (!ret_chunk)
        return CRIER_EINVAL;
    if (!(chunk = chunk_create(size, &bytes)))
        return CRIER_ENOMEM;
    if (data && size > 0)
        memcpy(bytes, data, size);
    else
        memset(bytes, 0, size);
    *ret_chunk = &chunk->shown;
    return 0;
}

int crier_chunk_create_item(const crier_event *event, const crier_header *headers, size_t header_count,
                            crier_chunk **ret_chunk)
{
    struct crier_emit_options options = {.headers = headers, .header_count = header_count};
    struct emitter_event encoded;
    struct item *item;
    crier_event copy;
    int rc;

    if (!event || !ret_chunk || (!event->key && event->key_size > 0) ||
        (!event->value && event->value_size > 0))
        return CRIER_EINVAL;
    if ((rc = emitter_event_make(&encoded, NULL, 0, &options)) < 0)
        return rc;
    copy = *event;
    copy.topic = event->topic ? event->topic : "";
    if (header_count > 0) {
        copy.internal = encoded.event.internal;
        copy.header_count = encoded.event.header_count;
    }
    item = item_of_event(&copy);
    emitter_event_finish(&encoded);
    if (!item)
        return CRIER_ENOMEM;
    *ret_chunk = &item->chunk.shown;
    return 0;
}

crier_chunk *crier_chunk_retain(const crier_chunk *chunk)
{
    if (chunk)
        atomic_fetch_add_explicit(&chunk_inner(chunk)->references, 1, memory_order_relaxed);
    return (crier_chunk *)(uintptr_t)chunk;
}

void crier_chunk_release(crier_chunk *shown)
{
    struct chunk *chunk = chunk_inner(shown), *whole;

    if (!chunk || atomic_fetch_sub_explicit(&chunk->references, 1, memory_order_acq_rel) > 1)
        return;
    whole = chunk->whole;
    if (chunk->released)
        chunk->released(chunk);
    else
        free(chunk); /* the first of its block */
    if (whole)
        crier_chunk_release(&whole->shown);
}

/* ---- queues ---- */

int chunk_queue_reserve(struct chunk_queue *queue)
{
    size_t capacity = queue->capacity ? 2 * queue->capacity : QUEUE_CAPACITY_MIN;
    struct chunk **ring;

    if (queue->count < queue->capacity)
        return 0;
    if (!(ring = malloc(capacity * sizeof(*ring))))
        return CRIER_ENOMEM;
    for (size_t i = 0; i < queue->count; i++)
        ring[i] = queue->ring[(queue->first + i) & (queue->capacity - 1)];
    free(queue->ring);
    *queue = (struct chunk_queue){.ring = ring, .count = queue->count, .capacity = capacity};
    return 0;
}

void chunk_queue_append(struct chunk_queue *queue, struct chunk *chunk)
{
    CHECK(queue->count < queue->capacity);
    queue->ring[(queue->first + queue->count++) & (queue->capacity - 1)] = chunk;
}

void chunk_queue_prepend(struct chunk_queue *queue, struct chunk *chunk)
{
    CHECK(queue->count < queue->capacity);
    queue->first = (queue->first - 1) & (queue->capacity - 1);
    queue->ring[queue->first] = chunk;
    queue->count++;
}

struct chunk *chunk_queue_first(const struct chunk_queue *queue)
{
    return queue->count > 0 ? queue->ring[queue->first] : NULL;
}

struct chunk *chunk_queue_take(struct chunk_queue *queue)
{
    struct chunk *chunk = chunk_queue_first(queue);

    if (chunk) {
        queue->first = (queue->first + 1) & (queue->capacity - 1);
        queue->count--;
    }
    return chunk;
}

void chunk_queue_finish(struct chunk_queue *queue)
{
    for (struct chunk *chunk; (chunk = chunk_queue_take(queue));)
        crier_chunk_release(&chunk->shown);
    free(queue->ring);
    *queue = (struct chunk_queue){0};
}
