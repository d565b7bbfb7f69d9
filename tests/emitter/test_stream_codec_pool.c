/* Compressing and decompressing on a worker pool: the same bytes, and the loop goes on meanwhile. Listed in docs/stream-conformance.md.
 *
 * The pool has one thread, which a job of the test keeps until it is let go: so what happens meanwhile is no matter of time. */
#include "stream_rig.h"

#include "crier/transform.h"

#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>

#define SIZE (400u * 1024)

static crier_pool *pool;
static sem_t kept, let_go;
static unsigned char text[SIZE], got[2 * SIZE];
static size_t got_size;

static void open_all(void)
{
    struct crier_pool_options options = crier_pool_options_default();
    uint32_t seed = 1;

    options.threads = 1;
    cr_assert_eq(crier_pool_create(&options, &pool), 0);
    cr_assert(sem_init(&kept, 0, 0) == 0 && sem_init(&let_go, 0, 0) == 0);
    for (size_t i = 0; i < SIZE; i++) {
        seed = seed * 1664525 + 1013904223;
        text[i] = (unsigned char)('a' + (seed >> 28));
    }
    rig_open();
}

static void close_all(void)
{
    rig_close();
    cr_assert_eq(crier_pool_destroy(pool), 0);
}

TestSuite(codec_pool, .init = open_all, .fini = close_all, .timeout = 60);

/* ---- the pool's thread ---- */

static int keep_thread(crier_outcome *ret, void *ctx)
{
    (void)ret, (void)ctx;
    sem_post(&kept);
    sem_wait(&let_go);
    return 0;
}

static void thread_keep(void)
{
    cr_assert_eq(crier_pool_submit(pool, bus, keep_thread, NULL, NULL), 0);
    sem_wait(&kept);
}

static void thread_let_go(void)
{
    sem_post(&let_go);
}

/* ---- streams ---- */

static void keep(const crier_stream_event *event, void *ctx)
{
    (void)ctx;
    cr_assert_leq(got_size + event->chunk->size, sizeof(got));
    memcpy(got + got_size, event->chunk->data, event->chunk->size);
    got_size += event->chunk->size;
}

static void ignore(const crier_stream_event *event, void *ctx)
{
    (void)event, (void)ctx;
}

static crier_stream *heard(crier_stream *stream)
{
    got_size = 0;
    cr_assert_eq(crier_stream_on(stream, CRIER_STREAM_DATA, keep, NULL), 0);
    cr_assert_eq(crier_stream_on(stream, CRIER_STREAM_ERROR, ignore, NULL), 0);
    return stream;
}

static crier_stream *compressor(enum crier_compression codec, crier_pool *where)
{
    struct crier_compress_options options = crier_compress_options_default();
    crier_stream *stream;

    options.codec = codec;
    options.pool = where;
    cr_assert_eq(crier_compress(bus, &options, &stream), 0);
    return heard(stream);
}

static crier_stream *decompressor(crier_pool *where)
{
    struct crier_decompress_options options = crier_decompress_options_default();
    crier_stream *stream;

    options.pool = where;
    cr_assert_eq(crier_decompress(bus, &options, &stream), 0);
    return heard(stream);
}

static int ended(crier_stream *stream)
{
    crier_future *finished;
    int rc;

    cr_assert_eq(crier_stream_finished(stream, &finished), 0);
    rc = crier_future_wait(finished, 20000, NULL);
    crier_future_release(finished);
    crier_stream_release(stream);
    return rc;
}

static int through(crier_stream *stream, const void *data, size_t size)
{
    for (size_t at = 0; at < size; at += 50000)
        (void)crier_stream_write(stream, (const char *)data + at, size - at < 50000 ? size - at : 50000);
    (void)crier_stream_end(stream);
    return ended(stream);
}

Test(codec_pool, makes_and_reads_what_the_loop_does)
{
    static const enum crier_compression codecs[] = {CRIER_COMPRESSION_LZ4, CRIER_COMPRESSION_ZSTD};
    static unsigned char packed[2 * SIZE];
    size_t packed_size;

    for (int i = 0; i < 2; i++) {
        cr_assert_eq(through(compressor(codecs[i], NULL), text, SIZE), 0);
        memcpy(packed, got, packed_size = got_size);
        cr_assert_eq(through(compressor(codecs[i], pool), text, SIZE), 0);
        cr_assert(got_size == packed_size && memcmp(got, packed, got_size) == 0, "codec %d", (int)codecs[i]);
        cr_assert_eq(through(decompressor(pool), packed, packed_size), 0);
        cr_assert(got_size == SIZE && memcmp(got, text, SIZE) == 0, "codec %d", (int)codecs[i]);
        cr_assert_eq(through(decompressor(pool), packed, packed_size - 1), CRIER_ECORRUPT);
        packed[packed_size / 2] ^= 1;
        cr_assert_eq(through(decompressor(pool), packed, packed_size), CRIER_ECORRUPT);
    }
}

Test(codec_pool, lets_the_loop_go_on_meanwhile)
{
    crier_stream *stream = compressor(CRIER_COMPRESSION_ZSTD, pool);
    struct crier_stream_state state;

    thread_keep();
    cr_assert_geq(crier_stream_write(stream, text, SIZE), 0);
    cr_assert_eq(crier_stream_end(stream), 0);
    turn(); /* which comes back */
    cr_assert_eq(crier_stream_state(stream, &state), 0);
    cr_assert(!state.closed && !state.readable_ended);
    cr_assert_eq(got_size, 0);
    thread_let_go();
    cr_assert_eq(ended(stream), 0);
    cr_assert_gt(got_size, 0);
}

/* What the step reads and writes stays until it is through. */
Test(codec_pool, may_be_destroyed_during_a_step)
{
    crier_stream *stream = compressor(CRIER_COMPRESSION_ZSTD, pool);
    struct crier_stream_state state;

    thread_keep();
    cr_assert_geq(crier_stream_write(stream, text, SIZE), 0);
    turn();
    cr_assert_eq(crier_stream_destroy(stream, CRIER_ECANCELED, NULL), 0);
    turn();
    cr_assert_eq(crier_stream_state(stream, &state), 0);
    cr_assert(state.destroyed && !state.closed);
    thread_let_go();
    cr_assert_eq(ended(stream), CRIER_ECANCELED);
    cr_assert_eq(got_size, 0);
}

Test(codec_pool, may_lose_its_bus_during_a_step)
{
    crier_stream *stream = compressor(CRIER_COMPRESSION_LZ4, pool);

    thread_keep();
    cr_assert_geq(crier_stream_write(stream, text, SIZE), 0);
    turn();
    rig_close();
    crier_stream_release(stream);
    thread_let_go();
    cr_assert_eq(crier_pool_destroy(pool), 0); /* its last job was the step */
    cr_assert_eq(crier_pool_create(NULL, &pool), 0);
    rig_open();
    cr_assert_eq(got_size, 0);
}
