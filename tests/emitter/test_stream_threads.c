/* Streams and threads: making, giving back, pipelines and their futures on many threads, while the loop moves the bytes on its own. */
#include "crier/stream_ends.h"
#include "crier/transform.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK_THAT(condition)                                                                                \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                  \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

#define THREADS   4
#define PIPELINES 200
#define CHUNKS    20
#define PIPES     50 /* of a thread, one after the other */

static crier *bus;
static crier_pool *pool;
static atomic_size_t bytes;
static atomic_int released;

static void counted_read(crier_stream *stream, size_t size, void *ctx)
{
    int *left = ctx;
    (void)size;
    if ((*left)-- > 0)
        crier_stream_push(stream, "0123456789", 10);
    else
        crier_stream_push_chunk(stream, NULL);
}

static void counted_write(crier_stream *stream, crier_chunk *chunk, void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&bytes, chunk->size);
    crier_stream_done(stream, 0, NULL);
}

static void counted_release(void *ctx)
{
    free(ctx);
    atomic_fetch_add(&released, 1);
}

static crier_stream *counted_source(void)
{
    struct crier_stream_ops reading = {
        .struct_size = sizeof(reading), .read = counted_read, .release = counted_release};
    crier_stream *stream;
    int *left = malloc(sizeof(*left));
    CHECK_THAT(left);
    *left = CHUNKS;
    CHECK_THAT(crier_stream_create(bus, CRIER_READABLE, &reading, left, NULL, &stream) == 0);
    return stream;
}

static crier_stream *counted_sink(void)
{
    struct crier_stream_ops writing = {.struct_size = sizeof(writing), .write = counted_write};
    crier_stream *stream;
    CHECK_THAT(crier_stream_create(bus, CRIER_WRITABLE, &writing, NULL, NULL, &stream) == 0);
    return stream;
}

static void settled(crier_future *future)
{
    CHECK_THAT(crier_future_wait(future, 30000, NULL) == 0);
    crier_future_release(future);
}

/* where: of the compressing; NULL: on the loop. */
static void emit_pipe(crier_pool *where)
{
    struct crier_compress_options compress = crier_compress_options_default();
    struct crier_decompress_options decompress = crier_decompress_options_default();
    crier_stream *in[3] = {counted_source()}, *out[3];
    crier_future *there, *back;
    int ends[2];
    CHECK_THAT(pipe(ends) == 0);
    compress.pool = decompress.pool = where;
    CHECK_THAT(crier_compress(bus, &compress, &in[1]) == 0);
    CHECK_THAT(crier_fd_writable(bus, NULL, ends[1], &in[2]) == 0);
    CHECK_THAT(crier_fd_readable(bus, NULL, ends[0], &out[0]) == 0);
    CHECK_THAT(crier_decompress(bus, &decompress, &out[1]) == 0);
    out[2] = counted_sink();
    CHECK_THAT(crier_pipeline(bus, in, 3, &there) == 0);
    CHECK_THAT(crier_pipeline(bus, out, 3, &back) == 0);
    for (int i = 0; i < 3; i++) {
        crier_stream_release(in[i]);
        crier_stream_release(out[i]);
    }
    settled(there);
    settled(back);
}

static void *emit_pipelines(void *argument)
{
    (void)argument;
    for (int i = 0; i < PIPES; i++)
        emit_pipe(i % 2 ? pool : NULL);
    for (int i = 0; i < PIPELINES; i++) {
        crier_stream *both[2] = {counted_source(), counted_sink()};
        crier_future *future;
        CHECK_THAT(crier_stream_push(both[0], "x", 1) == CRIER_EINVAL); /* not the loop's thread */
        CHECK_THAT(crier_pipeline(bus, both, 2, &future) == 0);
        crier_stream_release(both[0]);
        crier_stream_release(both[1]);
        settled(future);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];

    CHECK_THAT(crier_pool_create(NULL, &pool) == 0);
    CHECK_THAT(crier_open("local:", NULL, &bus) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_THAT(pthread_create(&threads[i], NULL, emit_pipelines, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK_THAT(atomic_load(&bytes) == (size_t)THREADS * (PIPELINES + PIPES) * CHUNKS * 10);
    crier_close(bus);
    CHECK_THAT(crier_pool_destroy(pool) == 0);
    CHECK_THAT(atomic_load(&released) == THREADS * (PIPELINES + PIPES));
    return 0;
}
