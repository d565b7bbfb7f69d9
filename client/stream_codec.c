/* stream_codec.c: frames of zstd and lz4, streamed: a transform that gives out no more than is read.
 *
 * Role:     crier_compress, crier_decompress: one loop for all; what the libraries do stands in stream_frames.c, one step at a time.
 * Thread:   the loop's.
 * Owns:     struct codec, the stream's ctx, with the library's context and a buffer for what a step makes.
 *
 * Happy path:  transform or flush -> codec_go: step -> push ... until the input is through -> done; a push that says wait stops it, and
 *              `read` goes on. So a small chunk that becomes gigabytes is never in memory as a whole.
 * Failures:    a step's error fails the stream. Destroyed meanwhile: what is owed is done, and `release` frees. */
#include "client/stream_codec.h"
#include "client/handles.h"

#include "client/bus_internal.h"
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

/* Steps until the input is through, or nobody wants more; then `read` comes back here. Inside a push `read` only leaves word. */
static void codec_go(struct codec *codec)
{
    crier_stream *stream = codec->stream;
    const char *text = NULL;
    int rc = 0, welcome = 1;

    if (codec->busy) {
        codec->again = true;
        return;
    }
    stream_retain(stream);
    codec->busy = true;
    do {
        codec->again = codec->through = false;
        codec->used = 0;
        rc = codec->step(codec, &text);
        if (rc == 0 && codec->used > 0)
            welcome = crier_stream_push(stream, codec->out, codec->used);
    } while (rc == 0 && !codec->through && !stream->destroyed && (welcome > 0 || codec->again));
    codec->busy = false;
    if (rc < 0 || codec->through || stream->destroyed)
        codec_done(codec, rc, text);
    stream_release(stream);
}

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

    if (codec->owes && !codec->busy)
        codec_done(codec, 0, NULL);
    (void)crier_stream_destroy_done(stream, code, NULL);
}

static void codec_release(void *ctx)
{
    struct codec *codec = ctx;

    codec_finish(codec);
    free(codec);
}

static struct codec *codec_create(size_t out_size)
{
    struct codec *codec = malloc(sizeof(*codec) + out_size);

    if (codec)
        *codec = (struct codec){.out_size = out_size};
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
    if (!(codec = codec_create(codec_out_size(&copy))))
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
    if (!(codec = codec_create(CODEC_STEP_SIZE)))
        return CRIER_ENOMEM;
    return codec_open(bus, codec, codec_init_decompress(codec, &copy), ret_stream);
}
