/* buffer.c: reference-counted buffers and the pools they return to.
 *
 * Role:    bytes received once are shared by everybody who still needs them; the last unref recycles or frees.
 * Thread:  any. A pool's idle list and counts are guarded by its mutex; a buffer's count is atomic.
 * Owner:   a pool is kept alive by its creator and by every buffer that is still out: whoever lets go last frees it.
 * Called:  broker and client sockets (get), storage and sessions (ref, unref).
 *
 * Happy path:  pool_get → fill → ref by each holder → unref by each → back on the idle list
 * Failures:    out of memory: NULL, nothing else changes. */
#include "base/buffer.h"

#include "base/check.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct buffer_pool {
    pthread_mutex_t lock;
    size_t size;         /* bytes of each buffer */
    unsigned keep;       /* idle buffers worth keeping */
    unsigned idle_count; /* on the list below */
    size_t out_count;    /* handed out and not yet back */
    bool destroyed;      /* the creator has let go: the last buffer back frees the pool */
    struct buffer *idle;
};

struct buffer *buffer_create(size_t capacity)
{
    if (capacity > SIZE_MAX - sizeof(struct buffer))
        return NULL;
    struct buffer *buffer = malloc(sizeof(*buffer) + capacity);
    if (!buffer)
        return NULL;
    atomic_init(&buffer->refs, 1);
    buffer->capacity = capacity;
    buffer->pool = NULL;
    buffer->next_free = NULL;
    return buffer;
}

struct buffer *buffer_ref(struct buffer *buffer)
{
    uint32_t refs = atomic_fetch_add_explicit(&buffer->refs, 1, memory_order_relaxed);
    CHECK(refs > 0 && refs < UINT32_MAX);
    return buffer;
}

static void pool_free(struct buffer_pool *pool)
{
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/* Takes back a buffer nobody refers to. */
static void pool_return(struct buffer_pool *pool, struct buffer *buffer)
{
    pthread_mutex_lock(&pool->lock);
    CHECK(pool->out_count > 0);
    pool->out_count--;
    bool kept = !pool->destroyed && pool->idle_count < pool->keep;
    bool last = pool->destroyed && pool->out_count == 0;
    if (kept) {
        buffer->next_free = pool->idle;
        pool->idle = buffer;
        pool->idle_count++;
    }
    pthread_mutex_unlock(&pool->lock);
    if (!kept)
        free(buffer);
    if (last)
        pool_free(pool);
}

void buffer_unref(struct buffer *buffer)
{
    if (!buffer)
        return;
    /* Release: what this holder did to the bytes happens before the acquire of whoever reuses or frees them. */
    uint32_t refs = atomic_fetch_sub_explicit(&buffer->refs, 1, memory_order_acq_rel);
    CHECK(refs > 0);
    if (refs > 1)
        return;
    if (buffer->pool)
        pool_return(buffer->pool, buffer);
    else
        free(buffer);
}

struct buffer_pool *buffer_pool_create(size_t size, unsigned keep)
{
    struct buffer_pool *pool = calloc(1, sizeof(*pool));
    if (!pool)
        return NULL;
    if (pthread_mutex_init(&pool->lock, NULL) != 0) {
        free(pool);
        return NULL;
    }
    pool->size = size;
    pool->keep = keep;
    return pool;
}

struct buffer *buffer_pool_get(struct buffer_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    CHECK(!pool->destroyed);
    struct buffer *buffer = pool->idle;
    if (buffer) {
        pool->idle = buffer->next_free;
        pool->idle_count--;
    }
    pool->out_count++; /* counted before the allocation, so that the pool outlives it */
    pthread_mutex_unlock(&pool->lock);

    if (buffer) {
        buffer->next_free = NULL;
        atomic_store_explicit(&buffer->refs, 1, memory_order_relaxed);
        return buffer;
    }
    buffer = buffer_create(pool->size);
    if (buffer) {
        buffer->pool = pool;
        return buffer;
    }
    pthread_mutex_lock(&pool->lock);
    pool->out_count--;
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

void buffer_pool_destroy(struct buffer_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    CHECK(!pool->destroyed);
    pool->destroyed = true;
    struct buffer *idle = pool->idle;
    pool->idle = NULL;
    pool->idle_count = 0;
    bool last = pool->out_count == 0;
    pthread_mutex_unlock(&pool->lock);

    while (idle) {
        struct buffer *next = idle->next_free;
        free(idle);
        idle = next;
    }
    if (last)
        pool_free(pool);
}
