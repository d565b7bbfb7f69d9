/* stream_codec.c: frames of zstd and lz4, streamed: a transform that gives out no more than is read.
 *
 * Role:     crier_compress, crier_decompress: one loop for all; what the libraries do stands in stream_frames.c, one step at a time.
 * Thread:   operations: the loop's; a step: the loop's, or the pool's, which has the libraries' state and `out` to itself meanwhile.
 * Owns:     struct codec, the stream's ctx, with the library's context and a buffer for what a step makes. A job holds a reference
 *           to the stream, and so to the chunk that it reads.
 *
 * Happy path:  transform or flush -> codec_go: step -> push ... until the input is through -> done; a push that says wait stops it, and
 *              `read` goes on. So a small chunk that becomes gigabytes is never in memory as a whole. With a pool: step_start: a job
 *              -> the agenda -> step_back -> push, the next job.
 * Failures:    a step's error fails the stream. Destroyed meanwhile: destroy waits for the step, what is owed is done, and `release`
 *              frees. The bus is closed first: `release` comes when the job has. */
#include "client/stream_codec.h"
#include "client/handles.h"

#include "client/bus_internal.h"
#include "client/pool_internal.h"
#include "client/struct_size.h"

#include <stdlib.h>

static void codec_done(struct codec *codec, int rc, const char *text)
{
    crier_stream *stream = codec->stream;

    if (stream->destroyed)
        rc = codec->ending ? CRIER_ECLOSED : 0; /* after a flush that is through, an end would follow */
    codec->owes = false;
    (void)crier_stream_done(stream, rc, text);
}

/* ---- steps ---- */

static void step_begin(struct codec *codec)
{
    codec->again = codec->through = false;
    codec->used = 0;
    codec->text = NULL;
}

/* Hands out what a step has made. true: the next one, please. Inside the push `read` only leaves word. */
static bool step_end(struct codec *codec)
{
    crier_stream *stream = codec->stream;
    int welcome = 1;

    if (codec->rc == 0 && codec->used > 0 && !stream->destroyed)
        welcome = crier_stream_push(stream, codec->out, codec->used);
    if (codec->rc == 0 && !codec->through && !stream->destroyed && (welcome > 0 || codec->again))
        return true;
    codec->busy = false;
    if (codec->rc < 0 || codec->through || stream->destroyed)
        codec_done(codec, codec->rc, codec->text);
    if (codec->closing)
        (void)crier_stream_destroy_done(stream, codec->close_code, NULL);
    return false;
}

static void step_run(struct pool_job *work)
{
    struct codec *codec = LIST_ENTRY(work, struct codec, work);
    struct agenda *agenda = agenda_retain(codec->stream->agenda); /* the stream may be gone when it is told */

    codec->rc = codec->step(codec, &codec->text);
    agenda_add(agenda, AGENDA_IMMEDIATE, &codec->task);
    agenda_release(agenda);
}

static void step_start(struct codec *codec)
{
    step_begin(codec);
    stream_retain(codec->stream);
    pool_submit_lane(codec->pool->pool, (uint32_t)((uintptr_t)codec / 64), &codec->work);
}

static void step_back(struct task *task, bool dropped)
{
    struct codec *codec = LIST_ENTRY(task, struct codec, task);
    crier_stream *stream = codec->stream;

    if (!dropped && step_end(codec)) /* dropped: the bus is closed, and with it the stream */
        step_start(codec);
    stream_release(stream);
}

/* Steps until the input is through, or nobody wants more; then `read` comes back here. */
static void codec_go(struct codec *codec)
{
    crier_stream *stream = codec->stream;

    if (codec->busy) {
        codec->again = true;
        return;
    }
    codec->busy = true;
    if (codec->pool) {
        step_start(codec);
        return;
    }
    stream_retain(stream);
    do {
        step_begin(codec);
        codec->rc = codec->step(codec, &codec->text);
    } while (step_end(codec));
    stream_release(stream);
}

/* ---- a stream's operations ---- */

static void codec_transform(crier_stream *stream, crier_chunk *chunk, void *ctx)
{
    struct codec *codec = ctx;

    (void)stream;
    codec->at = chunk->data;
    codec->end = codec->at + chunk->size;
    codec->owes = true;
    codec_go(codec);
}

static void codec_flush(crier_stream *stream, void *ctx)
{
    struct codec *codec = ctx;

    (void)stream;
    codec->ending = codec->owes = true;
    codec_go(codec);
}

static void codec_read(crier_stream *stream, size_t size, void *ctx)
{
    struct codec *codec = ctx;

    (void)stream, (void)size;
    if (codec->owes)
        codec_go(codec);
}

static void codec_destroy(crier_stream *stream, int code, void *ctx)
{
    struct codec *codec = ctx;

    codec->closing = true;
    codec->close_code = code;
    if (codec->busy)
        return;
    if (codec->owes)
        codec_done(codec, 0, NULL);
    (void)crier_stream_destroy_done(stream, code, NULL);
}

static void codec_release(void *ctx)
{
    struct codec *codec = ctx;

    codec_finish(codec);
    free(codec);
}

static struct codec *codec_create(crier_pool *pool, size_t out_size)
{
    struct codec *codec = malloc(sizeof(*codec) + out_size);

    if (!codec)
        return NULL;
    *codec = (struct codec){.pool = pool, .out_size = out_size, .work.run = step_run, .task.run = step_back};
    list_init(&codec->work.link);
    list_init(&codec->task.link);
    return codec;
}

/* rc: of its making. codec: taken. */
static int codec_open(crier *bus, struct codec *codec, int rc, crier_stream **ret_stream)
{
    static const struct crier_stream_ops ops = {.struct_size = sizeof(ops),
                                                .read = codec_read,
                                                .transform = codec_transform,
                                                .flush = codec_flush,
                                                .destroy = codec_destroy,
                                                .release = codec_release};

    if (rc == 0)
        rc = crier_stream_create(bus, CRIER_TRANSFORM, &ops, codec, NULL, &codec->stream);
    if (rc < 0)
        codec_release(codec);
    else
        *ret_stream = codec->stream;
    return rc;
}

int crier_compress(crier *bus, const struct crier_compress_options *options, crier_stream **ret_stream)
{
    handle_check(&bus_handles, bus);
    struct crier_compress_options copy = crier_compress_options_default();
    struct codec *codec;

    if (!bus || !ret_stream || !struct_take(&copy, sizeof(copy), options) || !codec_level_is_valid(&copy))
        return CRIER_EINVAL;
    handle_check(&pool_handles, copy.pool);
    if (!(codec = codec_create(copy.pool, codec_out_size(&copy))))
        return CRIER_ENOMEM;
    return codec_open(bus, codec, codec_init_compress(codec, &copy), ret_stream);
}

int crier_decompress(crier *bus, const struct crier_decompress_options *options, crier_stream **ret_stream)
{
    handle_check(&bus_handles, bus);
    struct crier_decompress_options copy = crier_decompress_options_default();
    struct codec *codec;

    if (!bus || !ret_stream || !struct_take(&copy, sizeof(copy), options) ||
        (copy.codec != CRIER_COMPRESSION_NONE && copy.codec != CRIER_COMPRESSION_LZ4 &&
         copy.codec != CRIER_COMPRESSION_ZSTD) ||
        (copy.window_size_max > 0 && copy.window_size_max < CODEC_WINDOW_MIN))
        return CRIER_EINVAL;
    handle_check(&pool_handles, copy.pool);
    if (!(codec = codec_create(copy.pool, CODEC_STEP_SIZE)))
        return CRIER_ENOMEM;
    return codec_open(bus, codec, codec_init_decompress(codec, &copy), ret_stream);
}
