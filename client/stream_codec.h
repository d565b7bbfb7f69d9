/* stream_codec.h: one step of compressing or decompressing: between stream_codec.c, which knows streams, and stream_frames.c, which
 * knows zstd and lz4.
 *
 * A step takes from at..end and fills `out` until one of them runs out. Thread: the loop's, or the pool's: whoever runs it has what
 * it works on to itself meanwhile. */
#ifndef CRIER_CLIENT_STREAM_CODEC_H
#define CRIER_CLIENT_STREAM_CODEC_H

#include "base/pool.h"
#include "client/stream_internal.h"
#include "crier/transform.h"

#include <lz4frame.h>
#include <zstd.h>

#define CODEC_STEP_SIZE  (64u * 1024) /* what a step takes, or makes, at most */
#define CODEC_WINDOW_MIN 1024         /* zstd's */
#define CODEC_MAGIC_SIZE 4

struct frame_reader;

struct codec {
    crier_stream *stream; /* not a reference: its ctx */
    crier_pool *pool;     /* steps are its jobs; NULL: they run on the loop */
    struct pool_job work; /* holds a reference to the stream ... */
    struct task task;     /* ... until it is back on the loop */
    /* 0, or < 0 and perhaps *ret_text, which is static. Sets `through` when nothing is left of the input, nor, when
     * `ending`, of what comes of it. */
    int (*step)(struct codec *codec, const char **ret_text);

    const unsigned char *at, *end; /* input, borrowed; empty while ending */
    bool ending;                   /* there is no more */
    bool through;
    int rc;           /* of the step, with `text` */
    const char *text; /* static, or NULL */

    bool owes;      /* a transform or a flush is under way */
    bool busy;      /* a step, or the push of what it made ... */
    bool again;     /* ... and more was asked for meanwhile */
    bool closing;   /* ... and destroy waits for it */
    int close_code; /* what destroy was given */

    ZSTD_CCtx *zstd; /* one of these is there */
    LZ4F_cctx *lz4;
    ZSTD_DCtx *zstd_reader; /* or both of these */
    LZ4F_dctx *lz4_reader;

    LZ4F_preferences_t lz4_preferences;
    bool lz4_begun; /* the frame */

    /* decompressing */
    enum crier_compression wanted;         /* NONE: both */
    const struct frame_reader *frame;      /* inside one; NULL: between them */
    unsigned char magic[CODEC_MAGIC_SIZE]; /* of the next one ... */
    size_t magic_size;                     /* ... so far */
    bool had_frame;                        /* at least one */
    uint64_t size, size_max;               /* bytes out */

    size_t used, out_size; /* bytes */
    unsigned char out[];
};

/* ---- stream_frames.c ---- */

bool codec_level_is_valid(const struct crier_compress_options *options); /* and the codec */
size_t codec_out_size(const struct crier_compress_options *options);     /* what a step may need */
/* 0 or CRIER_ENOMEM; codec_finish() in either case. */
int codec_init_compress(struct codec *codec, const struct crier_compress_options *options);
int codec_init_decompress(struct codec *codec, const struct crier_decompress_options *options);
void codec_finish(struct codec *codec);

#endif
