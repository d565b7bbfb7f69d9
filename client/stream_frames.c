/* stream_frames.c: what zstd and lz4 do with a step's bytes. Frames: RFC 8878, and lz4_Frame_format.md of the lz4 project.
 *
 * Role:     the steps of stream_codec.c.
 * Thread:   the loop's.
 * Owns:     the libraries' contexts, one or two for a codec.
 *
 * Happy path:  compressing: one frame: begin, update ..., end. Decompressing: the first four bytes say whose frame it is; its reader goes
 *              on until the frame's end; then the next four.
 * Failures:    CRIER_ECORRUPT: what is no frame, or not whole; CRIER_ETOOBIG: more than was allowed, in bytes out or in memory;
 *              CRIER_ENOMEM: theirs. Nothing that a frame announces is believed. */
#include "client/stream_codec.h"

#include <zstd_errors.h>

#define LZ4_LEVEL_MIN   (-65537) /* lz4 takes less for this, too */
#define LZ4_LEVEL_MAX   12
#define LZ4_HEADER_SIZE 19
#define WINDOW_SIZE_MAX (128u << 20) /* the tool's, too */
#define WINDOW_LOG_MIN  10
#define WINDOW_LOG_MAX  31

#define MAGIC_ZSTD      0xfd2fb528u
#define MAGIC_LZ4       0x184d2204u
#define MAGIC_SKIP      0x184d2a50u /* to ...5f: the same of both */
#define MAGIC_SKIP_MASK 0xfffffff0u

/* ---- compressing ---- */

bool codec_level_is_valid(const struct crier_compress_options *options)
{
    if (options->codec == CRIER_COMPRESSION_ZSTD)
        return options->level >= ZSTD_minCLevel() && options->level <= ZSTD_maxCLevel();
    return options->codec == CRIER_COMPRESSION_LZ4 && options->level >= LZ4_LEVEL_MIN &&
           options->level <= LZ4_LEVEL_MAX;
}

static LZ4F_preferences_t lz4_preferences(const struct crier_compress_options *options)
{
    LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;

    preferences.compressionLevel = options->level;
    preferences.frameInfo.blockSizeID = LZ4F_max64KB;
    preferences.frameInfo.contentChecksumFlag =
        options->checksum ? LZ4F_contentChecksumEnabled : LZ4F_noContentChecksum;
    return preferences;
}

size_t codec_out_size(const struct crier_compress_options *options)
{
    LZ4F_preferences_t preferences = lz4_preferences(options);

    if (options->codec == CRIER_COMPRESSION_ZSTD)
        return CODEC_STEP_SIZE;
    return LZ4_HEADER_SIZE + LZ4F_compressBound(CODEC_STEP_SIZE, &preferences);
}

static int zstd_failure(size_t result)
{
    switch (ZSTD_getErrorCode(result)) {
    case ZSTD_error_memory_allocation:
        return CRIER_ENOMEM;
    case ZSTD_error_frameParameter_windowTooLarge:
        return CRIER_ETOOBIG;
    default:
        return CRIER_ECORRUPT;
    }
}

static int lz4_failure(size_t result)
{
    return strcmp(LZ4F_getErrorName(result), "ERROR_allocation_failed") == 0 ? CRIER_ENOMEM : CRIER_ECORRUPT;
}

static int compress_zstd(struct codec *codec, const char **ret_text)
{
    ZSTD_inBuffer in = {codec->at, (size_t)(codec->end - codec->at), 0};
    ZSTD_outBuffer out = {codec->out, codec->out_size, 0};
    size_t left = ZSTD_compressStream2(codec->zstd, &out, &in, codec->ending ? ZSTD_e_end : ZSTD_e_continue);

    (void)ret_text;
    if (ZSTD_isError(left))
        return zstd_failure(left);
    codec->at += in.pos;
    codec->used = out.pos;
    codec->through = codec->at == codec->end && (!codec->ending || left == 0);
    return 0;
}

/* Its calls want room for the worst case: so the input is cut, and a step is one of update and end. */
static int compress_lz4(struct codec *codec, const char **ret_text)
{
    size_t take = (size_t)(codec->end - codec->at), made = 0;

    (void)ret_text;
    if (!codec->lz4_begun) {
        made = LZ4F_compressBegin(codec->lz4, codec->out, codec->out_size, &codec->lz4_preferences);
        if (LZ4F_isError(made))
            return lz4_failure(made);
        codec->lz4_begun = true;
        codec->used = made;
    }
    take = take < CODEC_STEP_SIZE ? take : CODEC_STEP_SIZE;
    if (codec->ending)
        made = LZ4F_compressEnd(codec->lz4, codec->out + codec->used, codec->out_size - codec->used, NULL);
    else
        made = LZ4F_compressUpdate(codec->lz4, codec->out + codec->used, codec->out_size - codec->used,
                                   codec->at, take, NULL);
    if (LZ4F_isError(made))
        return lz4_failure(made);
    codec->at += take;
    codec->used += made;
    codec->through = codec->at == codec->end;
    return 0;
}

static int init_zstd(struct codec *codec, const struct crier_compress_options *options)
{
    codec->step = compress_zstd;
    if (!(codec->zstd = ZSTD_createCCtx()))
        return CRIER_ENOMEM;
    (void)ZSTD_CCtx_setParameter(codec->zstd, ZSTD_c_compressionLevel, options->level);
    (void)ZSTD_CCtx_setParameter(codec->zstd, ZSTD_c_checksumFlag, options->checksum);
    return 0;
}

static int init_lz4(struct codec *codec, const struct crier_compress_options *options)
{
    codec->step = compress_lz4;
    codec->lz4_preferences = lz4_preferences(options);
    return LZ4F_isError(LZ4F_createCompressionContext(&codec->lz4, LZ4F_VERSION)) ? CRIER_ENOMEM : 0;
}

int codec_init_compress(struct codec *codec, const struct crier_compress_options *options)
{
    return options->codec == CRIER_COMPRESSION_ZSTD ? init_zstd(codec, options) : init_lz4(codec, options);
}

/* ---- decompressing: inside a frame ---- */

/* Takes from *at..end, adds to `out`. *ret_whole: the frame has ended. 0 or an error. */
struct frame_reader {
    enum crier_compression codec;
    int (*read)(struct codec *codec, const unsigned char **at, const unsigned char *end, bool *ret_whole);
};

static int read_zstd(struct codec *codec, const unsigned char **at, const unsigned char *end, bool *ret_whole)
{
    ZSTD_inBuffer in = {*at, (size_t)(end - *at), 0};
    ZSTD_outBuffer out = {codec->out, codec->out_size, codec->used};
    size_t left = ZSTD_decompressStream(codec->zstd_reader, &out, &in);

    if (ZSTD_isError(left))
        return zstd_failure(left);
    *at += in.pos;
    codec->used = out.pos;
    *ret_whole = left == 0;
    return 0;
}

static int read_lz4(struct codec *codec, const unsigned char **at, const unsigned char *end, bool *ret_whole)
{
    size_t taken = (size_t)(end - *at), made = codec->out_size - codec->used;
    size_t left = LZ4F_decompress(codec->lz4_reader, codec->out + codec->used, &made, *at, &taken, NULL);

    if (LZ4F_isError(left))
        return lz4_failure(left);
    *at += taken;
    codec->used += made;
    *ret_whole = left == 0;
    return 0;
}

static const struct frame_reader zstd_frame = {CRIER_COMPRESSION_ZSTD, read_zstd};
static const struct frame_reader lz4_frame = {CRIER_COMPRESSION_LZ4, read_lz4};

/* ---- decompressing: whose frame it is ---- */

static const struct frame_reader *frame_of(const unsigned char magic[CODEC_MAGIC_SIZE],
                                           enum crier_compression wanted)
{
    uint32_t number =
        (uint32_t)magic[0] | (uint32_t)magic[1] << 8 | (uint32_t)magic[2] << 16 | (uint32_t)magic[3] << 24;
    const struct frame_reader *frame = NULL;

    if ((number & MAGIC_SKIP_MASK) == MAGIC_SKIP)
        return &zstd_frame;
    if (number == MAGIC_ZSTD)
        frame = &zstd_frame;
    if (number == MAGIC_LZ4)
        frame = &lz4_frame;
    return frame && (wanted == CRIER_COMPRESSION_NONE || wanted == frame->codec) ? frame : NULL;
}

/* Between frames: collects the next one's magic number, and has its reader read it. */
static int frame_begin(struct codec *codec, const char **ret_text)
{
    const unsigned char *magic = codec->magic;
    bool whole;

    while (codec->magic_size < CODEC_MAGIC_SIZE && codec->at < codec->end)
        codec->magic[codec->magic_size++] = *codec->at++;
    if (codec->magic_size < CODEC_MAGIC_SIZE)
        return 0;
    codec->magic_size = 0;
    codec->had_frame = true;
    if (!(codec->frame = frame_of(codec->magic, codec->wanted))) {
        *ret_text = "no frame of a known codec begins here";
        return CRIER_ECORRUPT;
    }
    return codec->frame->read(codec, &magic, magic + CODEC_MAGIC_SIZE, &whole);
}

/* Until input or room is used up. */
static int frames_read(struct codec *codec, const char **ret_text)
{
    int rc = 0;

    while (rc == 0 && codec->used < codec->out_size) {
        const unsigned char *before = codec->at;
        size_t used = codec->used;
        bool whole;

        if (!codec->frame && codec->at == codec->end)
            break;
        if (!codec->frame) {
            rc = frame_begin(codec, ret_text);
            continue;
        }
        if ((rc = codec->frame->read(codec, &codec->at, codec->end, &whole)) < 0)
            break;
        if (whole)
            codec->frame = NULL;
        else if (codec->at == before && codec->used == used)
            break; /* it waits for input */
    }
    return rc;
}

static int decompress_step(struct codec *codec, const char **ret_text)
{
    int rc = frames_read(codec, ret_text);

    if (rc < 0)
        return rc;
    codec->size += codec->used;
    if (codec->size_max > 0 && codec->size > codec->size_max) {
        *ret_text = "more comes out than size_max";
        return CRIER_ETOOBIG;
    }
    codec->through = codec->used < codec->out_size; /* else the library may have more */
    if (codec->ending && codec->through && (codec->frame || codec->magic_size > 0 || !codec->had_frame)) {
        *ret_text = codec->had_frame || codec->magic_size > 0 ? "it ends inside a frame" : "there is nothing";
        return CRIER_ECORRUPT;
    }
    return 0;
}

static int window_log(size_t size)
{
    int log = WINDOW_LOG_MIN;

    while (log < WINDOW_LOG_MAX && size >> (log + 1) > 0)
        log++;
    return log;
}

int codec_init_decompress(struct codec *codec, const struct crier_decompress_options *options)
{
    size_t window = options->window_size_max ? options->window_size_max : WINDOW_SIZE_MAX;

    codec->step = decompress_step;
    codec->wanted = options->codec;
    codec->size_max = options->size_max;
    if (!(codec->zstd_reader = ZSTD_createDCtx()) ||
        LZ4F_isError(LZ4F_createDecompressionContext(&codec->lz4_reader, LZ4F_VERSION)))
        return CRIER_ENOMEM;
    (void)ZSTD_DCtx_setParameter(codec->zstd_reader, ZSTD_d_windowLogMax, window_log(window));
    return 0;
}

void codec_finish(struct codec *codec) /* all of them take NULL */
{
    ZSTD_freeCCtx(codec->zstd);
    LZ4F_freeCompressionContext(codec->lz4);
    ZSTD_freeDCtx(codec->zstd_reader);
    LZ4F_freeDecompressionContext(codec->lz4_reader);
}
