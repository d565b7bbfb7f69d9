/* test_codec.c: decompression gives back what went in, or ends at the limit, whatever the bytes claim. */
#include "base/bytes.h"
#include "base/check.h"
#include "base/random.h"
#include "proto/codec.h"
#include "proto/error.h"
#include "tests/support/allocation.h"

#include <criterion/criterion.h>
#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

static const enum batch_codec codecs[] = {BATCH_LZ4, BATCH_ZSTD};

/* Text-like bytes: compressible, yet not trivially. */
static uint8_t *make_text(size_t size)
{
    static const char *const words[] = {"order ", "placed ", "by ", "customer ", "42 ", "at ", "noon\n"};
    struct random random = random_seeded(size);
    uint8_t *text = malloc(size + 16);
    for (size_t at = 0; at < size;) {
        const char *word = words[random_below(&random, ARRAY_SIZE(words))];
        memcpy(text + at, word, strlen(word));
        at += strlen(word);
    }
    return text;
}

static void check_decompresses(enum batch_codec codec, const uint8_t *data, size_t size,
                               const uint8_t *expected, size_t expected_size, size_t limit)
{
    uint8_t *bytes = NULL;
    size_t bytes_size = 0;
    cr_assert_eq(codec_decompress(codec, data, size, limit, &bytes, &bytes_size), 0);
    cr_assert_eq(bytes_size, expected_size);
    cr_assert_eq(memcmp(bytes, expected, expected_size), 0);
    free(bytes);
}

static int decompress_error(enum batch_codec codec, const uint8_t *data, size_t size, size_t limit)
{
    uint8_t *bytes = NULL;
    size_t bytes_size = 0;
    long before = allocation_out();
    int rc = codec_decompress(codec, data, size, limit, &bytes, &bytes_size);
    cr_assert_lt(rc, 0);
    cr_assert_null(bytes, "written on success only");
    cr_assert_eq(allocation_out(), before, "nothing is left behind");
    return rc;
}

Test(codec, gives_back_what_went_in)
{
    static const size_t sizes[] = {1, 10, 1000, 65536, 65537, 300000, 1 << 20};
    for (size_t c = 0; c < ARRAY_SIZE(codecs); c++) {
        for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
            uint8_t *text = make_text(sizes[s]), *packed = malloc(2 * sizes[s] + 1000);
            int64_t size = codec_compress(codecs[c], text, sizes[s], packed, 2 * sizes[s] + 1000);
            cr_assert_gt(size, 0);
            check_decompresses(codecs[c], packed, (size_t)size, text, sizes[s], sizes[s]);
            free(text);
            free(packed);
        }
    }
}

Test(codec, the_limit_is_inclusive)
{
    for (size_t c = 0; c < ARRAY_SIZE(codecs); c++) {
        uint8_t *text = make_text(5000), packed[6000];
        size_t size = (size_t)codec_compress(codecs[c], text, 5000, packed, sizeof(packed));
        check_decompresses(codecs[c], packed, size, text, 5000, 5000);
        cr_assert_eq(decompress_error(codecs[c], packed, size, 4999), WIRE_CRIER_ETOOBIG);
        cr_assert_eq(decompress_error(codecs[c], packed, size, 0), WIRE_CRIER_ETOOBIG);
        check_decompresses(codecs[c], packed, size, text, 5000, SIZE_MAX);
        free(text);
    }
}

Test(codec, compression_that_does_not_fit_is_zero)
{
    for (size_t c = 0; c < ARRAY_SIZE(codecs); c++) {
        uint8_t *text = make_text(100000), *packed = malloc(200000);
        int64_t size = codec_compress(codecs[c], text, 100000, packed, 200000);
        for (int64_t capacity = size + 600; capacity > size - 100; capacity--) {
            memset(packed, 0xee, 200000);
            int64_t made = codec_compress(codecs[c], text, 100000, packed, (size_t)capacity);
            cr_assert(made == 0 || (made == size && made <= capacity));
            cr_assert(made == size || capacity < size + 600, "with some room it is the same as with plenty");
            cr_assert_eq(packed[capacity], 0xee);
        }
        cr_assert_eq(codec_compress(codecs[c], text, 100000, packed, 10), 0);
        free(text);
        free(packed);
    }
}

Test(codec, others_are_not_supported)
{
    uint8_t bytes[100] = {0};
    static const enum batch_codec others[] = {BATCH_NONE, BATCH_GZIP, BATCH_SNAPPY, (enum batch_codec)5};
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        cr_assert_eq(decompress_error(others[i], bytes, sizeof(bytes), 100), WIRE_CRIER_ENOTSUP);
        cr_assert_eq(codec_compress(others[i], bytes, 10, bytes + 50, 50), WIRE_CRIER_ENOTSUP);
        cr_assert_eq(codec_known(others[i]), WIRE_CRIER_ENOTSUP);
    }
}

/* ---- hostile input ---- */

Test(codec, a_bomb_ends_at_the_limit)
{
    enum { BOMB = 32 << 20, LIMIT = 1 << 20 };
    uint8_t *zeros = calloc(1, BOMB), *packed = malloc(1 << 20);
    for (size_t c = 0; c < ARRAY_SIZE(codecs); c++) {
        int64_t size = codec_compress(codecs[c], zeros, BOMB, packed, 1 << 20);
        cr_assert_gt(size, 0);
        allocation_size_max();
        cr_assert_eq(decompress_error(codecs[c], packed, (size_t)size, LIMIT), WIRE_CRIER_ETOOBIG);
        cr_assert_leq(allocation_size_max(), LIMIT + 1, "and took no more memory than that");
    }
    free(zeros);
    free(packed);
}

Test(codec, a_bomb_that_does_not_announce_its_size_ends_at_the_limit)
{
    enum { BOMB = 8 << 20, LIMIT = 1 << 20 };
    uint8_t *zeros = calloc(1, BOMB), *packed = malloc(2 * BOMB);
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    ZSTD_inBuffer in = {zeros, BOMB, 0};
    ZSTD_outBuffer out = {packed, 2 * BOMB, 0};
    cr_assert_not(ZSTD_isError(ZSTD_compressStream2(zstd, &out, &in, ZSTD_e_continue)));
    cr_assert_eq(ZSTD_compressStream2(zstd, &out, &in, ZSTD_e_end), 0);
    ZSTD_freeCCtx(zstd);
    cr_assert_eq(ZSTD_getFrameContentSize(packed, out.pos), ZSTD_CONTENTSIZE_UNKNOWN);
    allocation_size_max();
    cr_assert_eq(decompress_error(BATCH_ZSTD, packed, out.pos, LIMIT), WIRE_CRIER_ETOOBIG);
    cr_assert_leq(allocation_size_max(), LIMIT + 1);
    check_decompresses(BATCH_ZSTD, packed, out.pos, zeros, BOMB, BOMB);

    size_t size = LZ4F_compressFrame(packed, 2 * BOMB, zeros, BOMB, NULL);
    cr_assert_not(LZ4F_isError(size));
    allocation_size_max();
    cr_assert_eq(decompress_error(BATCH_LZ4, packed, size, LIMIT), WIRE_CRIER_ETOOBIG);
    cr_assert_leq(allocation_size_max(), LIMIT + 1);
    check_decompresses(BATCH_LZ4, packed, size, zeros, BOMB, BOMB);
    free(zeros);
    free(packed);
}

Test(codec, an_announced_size_is_never_believed)
{
    uint8_t *text = make_text(5000), packed[6000];
    LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;
    preferences.frameInfo.contentSize = 5000;
    size_t size = LZ4F_compressFrame(packed, sizeof(packed), text, 5000, &preferences);
    le64_put(packed + 6, UINT64_C(1) << 60); /* magic, flags, block size, then the content's size */
    LZ4F_frameInfo_t info;
    bool forged = false;
    for (int checksum = 0; checksum < 256 && !forged;
         checksum++) { /* the header's own checksum is one byte */
        LZ4F_dctx *context;
        LZ4F_createDecompressionContext(&context, LZ4F_VERSION);
        packed[14] = (uint8_t)checksum;
        size_t taken = size;
        forged = !LZ4F_isError(LZ4F_getFrameInfo(context, &info, packed, &taken));
        LZ4F_freeDecompressionContext(context);
    }
    cr_assert(forged);
    cr_assert_eq(info.contentSize, UINT64_C(1) << 60);
    allocation_size_max();
    cr_assert_eq(decompress_error(BATCH_LZ4, packed, size, 100000), WIRE_CRIER_ECORRUPT);
    cr_assert_leq(allocation_size_max(), 100001);
    free(text);
}

Test(codec, a_window_no_producer_uses_is_refused_before_it_is_allocated)
{
    uint8_t packed[1000];
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_windowLog, 27);
    ZSTD_inBuffer in = {"hello", 5, 0};
    ZSTD_outBuffer out = {packed, sizeof(packed), 0};
    ZSTD_compressStream2(zstd, &out, &in, ZSTD_e_flush);
    cr_assert_eq(ZSTD_compressStream2(zstd, &out, &in, ZSTD_e_end), 0);
    ZSTD_freeCCtx(zstd);
    cr_assert_eq(decompress_error(BATCH_ZSTD, packed, out.pos, 1000), WIRE_CRIER_ETOOBIG);
}

Test(codec, every_truncation_is_damage)
{
    for (size_t c = 0; c < ARRAY_SIZE(codecs); c++) {
        uint8_t *text = make_text(3000), packed[4000];
        size_t size = (size_t)codec_compress(codecs[c], text, 3000, packed, sizeof(packed));
        for (size_t cut = 0; cut < size; cut++) {
            uint8_t *exact = malloc(cut ? cut : 1);
            memcpy(exact, packed, cut);
            cr_assert_eq(decompress_error(codecs[c], exact, cut, 10000), WIRE_CRIER_ECORRUPT, "%zu", cut);
            free(exact);
        }
        free(text);
    }
}

Test(codec, garbage_behind_the_frame_is_damage_and_a_second_frame_is_not)
{
    for (size_t c = 0; c < ARRAY_SIZE(codecs); c++) {
        uint8_t *text = make_text(6000), packed[8000];
        size_t size = (size_t)codec_compress(codecs[c], text, 3000, packed, sizeof(packed));
        memset(packed + size, 0xee, 20);
        cr_assert_eq(decompress_error(codecs[c], packed, size + 20, 10000), WIRE_CRIER_ECORRUPT);
        size_t more =
            (size_t)codec_compress(codecs[c], text + 3000, 3000, packed + size, sizeof(packed) - size);
        check_decompresses(codecs[c], packed, size + more, text, 6000, 10000);
        free(text);
    }
}

Test(codec, flipped_bits_never_crash_and_never_pass_the_limit)
{
    for (size_t c = 0; c < ARRAY_SIZE(codecs); c++) {
        uint8_t *text = make_text(600), packed[800];
        size_t size = (size_t)codec_compress(codecs[c], text, 600, packed, sizeof(packed));
        for (size_t bit = 0; bit < size * 8; bit++) {
            packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
            uint8_t *bytes = NULL;
            size_t bytes_size = 0;
            if (codec_decompress(codecs[c], packed, size, 2000, &bytes, &bytes_size) == 0)
                cr_assert_leq(bytes_size, 2000);
            free(bytes);
            packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        free(text);
    }
}

Test(codec, out_of_memory_is_an_error_and_leaks_nothing)
{
    for (size_t c = 0; c < ARRAY_SIZE(codecs); c++) {
        uint8_t *text = make_text(5000), packed[6000];
        size_t size = (size_t)codec_compress(codecs[c], text, 5000, packed, sizeof(packed));
        allocation_fail_after(0);
        cr_assert_eq(decompress_error(codecs[c], packed, size, 5000), WIRE_CRIER_ENOMEM);
        free(text);
    }
    uint8_t bytes[1000] = {0}, to[1000];
    allocation_fail_after(0);
    cr_assert_eq(codec_compress(BATCH_LZ4, bytes, sizeof(bytes), to, sizeof(to)), WIRE_CRIER_ENOMEM);
    allocation_never_fail();
}
