/* codec.c: lz4 frames and zstd, streamed into a buffer that grows up to a limit.
 *
 * Role:    one decompression loop for both codecs, which differ in a `step`; one call each for compression.
 * Thread:  any that may compute: a step works through as much as it is given.
 * Owner:   contexts live for one call; the decompressed buffer goes to the caller on success only.
 *
 * Happy path:  the size the frame announces (or a guess) → one step → done
 * Failures:    a bomb fills the buffer up to the limit and ends there; an announced size is a hint, never believed. */
#include "proto/codec.h"

#include "proto/error.h"

#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#define ZSTD_WINDOW_LOG_MAX                                                                                  \
    23                /* 8 MiB: what RFC 8878 asks every decoder to support; libraries default to 2 MiB */
#define GUESS_RATIO 4 /* of events in practice; a wrong guess costs a realloc */
#define GUESS_MIN   4096

/* A decompression under way. */
struct inflation {
    const uint8_t *at, *end; /* compressed bytes not yet used */
    uint8_t *out;
    size_t used, capacity, size_max;
    bool between_frames; /* everything so far is whole */
};

/* Each step uses up input and fills output until one of them runs out; 0 or an error. */
typedef int step_fn(void *context, struct inflation *inflation);

/* ---- one step of each codec ---- */

static int step_lz4(void *context, struct inflation *in)
{
    size_t taken = (size_t)(in->end - in->at), made = in->capacity - in->used;
    size_t rest = LZ4F_decompress(context, in->out + in->used, &made, in->at, &taken, NULL);
    if (LZ4F_isError(rest))
        return WIRE_CRIER_ECORRUPT;
    in->at += taken;
    in->used += made;
    in->between_frames = rest == 0;
    return 0;
}

static int step_zstd(void *context, struct inflation *in)
{
    ZSTD_inBuffer from = {in->at, (size_t)(in->end - in->at), 0};
    ZSTD_outBuffer to = {in->out, in->capacity, in->used};
    size_t rest = ZSTD_decompressStream(context, &to, &from);
    if (ZSTD_isError(rest)) {
        ZSTD_ErrorCode code = ZSTD_getErrorCode(rest);
        return code == ZSTD_error_frameParameter_windowTooLarge ? WIRE_CRIER_ETOOBIG
               : code == ZSTD_error_memory_allocation           ? WIRE_CRIER_ENOMEM
                                                                : WIRE_CRIER_ECORRUPT;
    }
    in->at += from.pos;
    in->used = to.pos;
    in->between_frames = rest == 0;
    return 0;
}

/* ---- the loop ---- */

/* Doubles the output, up to the limit and one byte beyond it: a byte that lands there proves that it was passed. */
static int inflation_grow(struct inflation *in, size_t wanted)
{
    if (in->capacity > in->size_max)
        return WIRE_CRIER_ETOOBIG;
    size_t capacity = wanted < in->size_max ? wanted : in->size_max + 1;
    uint8_t *out = realloc(in->out, capacity);
    if (!out)
        return WIRE_CRIER_ENOMEM;
    in->out = out;
    in->capacity = capacity;
    return 0;
}

static int inflation_run(struct inflation *in, step_fn *step, void *context, size_t guess)
{
    int rc = inflation_grow(in, guess);
    while (rc == 0) {
        const uint8_t *at_before = in->at;
        size_t used_before = in->used;
        rc = step(context, in);
        if (rc < 0)
            break;
        if (in->at == in->end && in->between_frames)
            return in->used <= in->size_max ? 0 : WIRE_CRIER_ETOOBIG;
        if (in->used == in->capacity)
            rc = inflation_grow(in, 2 * in->capacity);
        else if (in->at == at_before && in->used == used_before)
            return WIRE_CRIER_ECORRUPT; /* room and nothing to put there: the input is cut off */
    }
    return rc;
}

static size_t guess_of(size_t announced, size_t size)
{
    if (announced > 0)
        return announced;
    return size < GUESS_MIN / GUESS_RATIO ? GUESS_MIN : GUESS_RATIO * size;
}

static int inflate_lz4(struct inflation *in)
{
    LZ4F_dctx *context;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)))
        return WIRE_CRIER_ENOMEM;
    LZ4F_frameInfo_t info = LZ4F_INIT_FRAMEINFO;
    size_t size = (size_t)(in->end - in->at), taken = size;
    int rc = WIRE_CRIER_ECORRUPT;
    if (!LZ4F_isError(LZ4F_getFrameInfo(context, &info, in->at, &taken))) {
        in->at += taken;
        rc = inflation_run(in, step_lz4, context, guess_of(info.contentSize, size));
    }
    LZ4F_freeDecompressionContext(context);
    return rc;
}

static int inflate_zstd(struct inflation *in)
{
    ZSTD_DCtx *context = ZSTD_createDCtx();
    if (!context)
        return WIRE_CRIER_ENOMEM;
    size_t size = (size_t)(in->end - in->at);
    unsigned long long announced = ZSTD_getFrameContentSize(in->at, size);
    int rc = WIRE_CRIER_ECORRUPT;
    if (announced != ZSTD_CONTENTSIZE_ERROR) {
        ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
        rc = inflation_run(in, step_zstd, context,
                           guess_of(announced == ZSTD_CONTENTSIZE_UNKNOWN ? 0 : (size_t)announced, size));
    }
    ZSTD_freeDCtx(context);
    return rc;
}

int codec_known(enum batch_codec codec)
{
    return codec == BATCH_LZ4 || codec == BATCH_ZSTD ? 0 : WIRE_CRIER_ENOTSUP;
}

int codec_decompress(enum batch_codec codec, const uint8_t *data, size_t size, size_t size_max,
                     uint8_t **ret_bytes, size_t *ret_size)
{
    struct inflation in = {
        .at = data, .end = data + size, .size_max = size_max < SIZE_MAX ? size_max : SIZE_MAX - 1};
    int rc = codec == BATCH_LZ4    ? inflate_lz4(&in)
             : codec == BATCH_ZSTD ? inflate_zstd(&in)
                                   : WIRE_CRIER_ENOTSUP;
    if (rc < 0) {
        free(in.out);
        return rc;
    }
    *ret_bytes = in.out;
    *ret_size = in.used;
    return 0;
}

/* ---- compression ---- */

/* Independent blocks of 64 KiB: Kafka's own clients read no others. */
static int64_t deflate_lz4(const uint8_t *data, size_t size, uint8_t *to, size_t capacity)
{
    LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;
    preferences.frameInfo.blockMode = LZ4F_blockIndependent;
    preferences.frameInfo.blockSizeID = LZ4F_max64KB;
    preferences.frameInfo.contentSize = size;
    /* The library writes only where the worst case fits, which is more than the input; we want less than the input. */
    size_t bound = LZ4F_compressFrameBound(size, &preferences);
    uint8_t *scratch = capacity < bound ? malloc(bound) : NULL;
    if (capacity < bound && !scratch)
        return WIRE_CRIER_ENOMEM;
    size_t made = LZ4F_compressFrame(scratch ? scratch : to, bound, data, size, &preferences);
    int64_t result = LZ4F_isError(made) ? WIRE_CRIER_ENOMEM : made <= capacity ? (int64_t)made : 0;
    if (result > 0 && scratch)
        memcpy(to, scratch, made);
    free(scratch);
    return result;
}

static int64_t deflate_zstd(const uint8_t *data, size_t size, uint8_t *to, size_t capacity)
{
    size_t made = ZSTD_compress(to, capacity, data, size, ZSTD_CLEVEL_DEFAULT);
    if (!ZSTD_isError(made))
        return (int64_t)made;
    return ZSTD_getErrorCode(made) == ZSTD_error_dstSize_tooSmall ? 0 : WIRE_CRIER_ENOMEM;
}

int64_t codec_compress(enum batch_codec codec, const uint8_t *data, size_t size, uint8_t *to, size_t capacity)
{
    switch (codec) {
    case BATCH_LZ4:
        return deflate_lz4(data, size, to, capacity);
    case BATCH_ZSTD:
        return deflate_zstd(data, size, to, capacity);
    default:
        return WIRE_CRIER_ENOTSUP;
    }
}
