/* Compressing and decompressing, on a bus of local: whose loop the test turns. The tools `zstd` and `lz4` are the judges: they read what
 * is written here, and the other way round. Listed in docs/stream-conformance.md. */
#include "stream_rig.h"

#include "crier/transform.h"

#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define WORDS_SIZE 150000u
#define BOMB_SIZE  (48u << 20)
#define TURNS_MAX  100000

/* Bytes that grow. */
struct bytes {
    unsigned char *data;
    size_t size;
};

static char folder[] = "/tmp/crier-codec-XXXXXX";

static void open_all(void)
{
    cr_assert(mkdtemp(folder));
    rig_open();
}

static void close_all(void)
{
    char command[96];

    rig_close();
    snprintf(command, sizeof(command), "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(codec, .init = open_all, .fini = close_all, .timeout = 120);

static void add(struct bytes *bytes, const void *data, size_t size)
{
    bytes->data = realloc(bytes->data, bytes->size + size + 1);
    cr_assert(bytes->data);
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

static bool equal(const struct bytes *a, const struct bytes *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

/* Text that compresses, and some that does not. */
static struct bytes words_make(size_t size)
{
    struct bytes words = {0};
    uint32_t seed = 1;

    while (words.size < size) {
        char word[32];
        seed = seed * 1664525 + 1013904223;
        snprintf(word, sizeof(word), "order %u,%x\n", seed >> 20, words.size % 999 == 0 ? seed : 7);
        add(&words, word, strlen(word));
    }
    words.size = size;
    return words;
}

/* ---- through a stream ---- */

static void keep(const crier_stream_event *event, void *ctx)
{
    add(ctx, event->chunk->data, event->chunk->size);
}

static void ignore(const crier_stream_event *event, void *ctx)
{
    (void)event, (void)ctx;
}

static struct crier_stream_state turned(crier_stream *stream)
{
    struct crier_stream_state state = {0};

    for (int i = 0; i < TURNS_MAX && !state.closed; i++) {
        crier_process(bus);
        cr_assert_eq(crier_stream_state(stream, &state), 0);
    }
    cr_assert(state.closed);
    return state;
}

/* Writes it in pieces, the first of them of so many bytes. The stream is given back. How it ended. */
static int through(crier_stream *stream, const struct bytes *in, size_t first, size_t piece,
                   struct bytes *ret_out)
{
    struct crier_stream_state state;

    *ret_out = (struct bytes){0};
    cr_assert_eq(crier_stream_on(stream, CRIER_STREAM_DATA, keep, ret_out), 0);
    cr_assert_eq(crier_stream_on(stream, CRIER_STREAM_ERROR, ignore, NULL), 0);
    for (size_t at = 0, size = first; at < in->size; at += size, size = piece) {
        size = size < in->size - at ? size : in->size - at;
        if (crier_stream_write(stream, in->data + at, size) < 0)
            break;
    }
    (void)crier_stream_end(stream);
    state = turned(stream);
    crier_stream_release(stream);
    return state.code;
}

static crier_stream *compressor(enum crier_compression codec, int level)
{
    struct crier_compress_options options = crier_compress_options_default();
    crier_stream *stream;

    options.codec = codec;
    options.level = level;
    cr_assert_eq(crier_compress(bus, &options, &stream), 0);
    return stream;
}

static crier_stream *decompressor(void)
{
    crier_stream *stream;

    cr_assert_eq(crier_decompress(bus, NULL, &stream), 0);
    return stream;
}

static struct bytes packed(const struct bytes *in, enum crier_compression codec, int level)
{
    struct bytes out;

    cr_assert_eq(through(compressor(codec, level), in, 7, 50000, &out), 0);
    return out;
}

/* ---- through a tool ---- */

static struct bytes tool(const char *command, const struct bytes *in)
{
    char line[512], buffer[4096];
    struct bytes out = {0};
    size_t size;
    FILE *file;

    snprintf(line, sizeof(line), "%s/in", folder);
    cr_assert(file = fopen(line, "w"));
    cr_assert(fwrite(in->data, 1, in->size, file) == in->size && fclose(file) == 0);
    snprintf(line, sizeof(line), "%s <%s/in", command, folder);
    cr_assert(file = popen(line, "r"));
    while ((size = fread(buffer, 1, sizeof(buffer), file)) > 0)
        add(&out, buffer, size);
    cr_assert_eq(pclose(file), 0, "%s", command);
    return out;
}

static const enum crier_compression codecs[] = {CRIER_COMPRESSION_LZ4, CRIER_COMPRESSION_ZSTD};

Test(codec, the_tools_read_what_is_compressed)
{
    static const struct {
        enum crier_compression codec;
        int level;
        const char *tool;
    } cases[] = {{CRIER_COMPRESSION_ZSTD, 0, "zstd -dcq"},  {CRIER_COMPRESSION_ZSTD, 19, "zstd -dcq"},
                 {CRIER_COMPRESSION_ZSTD, -5, "zstd -dcq"}, {CRIER_COMPRESSION_LZ4, 0, "lz4 -dcq"},
                 {CRIER_COMPRESSION_LZ4, 12, "lz4 -dcq"},   {CRIER_COMPRESSION_LZ4, -3, "lz4 -dcq"}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        for (int empty = 0; empty < 2; empty++) {
            struct bytes words = words_make(empty ? 0 : WORDS_SIZE);
            struct bytes small = packed(&words, cases[i].codec, cases[i].level);
            struct bytes back = tool(cases[i].tool, &small);
            cr_assert(equal(&back, &words), "case %zu", i);
            cr_assert(empty || small.size < words.size / 2);
            free(words.data), free(small.data), free(back.data);
        }
}

Test(codec, what_the_tools_compress_is_read)
{
    static const char *const tools[] = {
        "zstd -cq",          "zstd -cq -19",        "zstd -cq --ultra -22 --long=27",
        "zstd -cq --fast=9", "zstd -cq --no-check", "lz4 -cq",
        "lz4 -cq -9",        "lz4 -cq -BD -B4",     "lz4 -cq --no-frame-crc"};
    struct bytes words = words_make(WORDS_SIZE), all = {0}, twice = {0};

    for (size_t i = 0; i < sizeof(tools) / sizeof(*tools); i++) {
        struct bytes small = tool(tools[i], &words), back;
        cr_assert_eq(through(decompressor(), &small, 1, 4096, &back), 0, "%s", tools[i]);
        cr_assert(equal(&back, &words), "%s", tools[i]);
        add(&all, small.data, small.size);              /* frames of both kinds, one after the other */
        add(&all, "\x5a\x2a\x4d\x18\x03\0\0\0abc", 11); /* and one to be skipped */
        free(small.data), free(back.data);
    }
    cr_assert_eq(through(decompressor(), &all, 1, 65536, &twice), 0);
    cr_assert_eq(twice.size, words.size * (sizeof(tools) / sizeof(*tools)));
    free(words.data), free(all.data), free(twice.data);
}

Test(codec, frames_may_be_split_at_every_byte)
{
    struct bytes words = words_make(1500), both = {0}, twice = {0}, back;

    for (int i = 0; i < 2; i++) {
        struct bytes small = packed(&words, codecs[i], 0);
        add(&both, small.data, small.size);
        add(&twice, words.data, words.size);
        free(small.data);
    }
    for (size_t at = 1; at < both.size; at++) {
        cr_assert_eq(through(decompressor(), &both, at, both.size, &back), 0, "at %zu", at);
        cr_assert(equal(&back, &twice), "at %zu", at);
        free(back.data);
    }
    cr_assert_eq(through(decompressor(), &both, 1, 1, &back), 0);
    cr_assert(equal(&back, &twice));
    free(words.data), free(both.data), free(twice.data), free(back.data);
}

Test(codec, a_frame_that_is_cut_off_anywhere_is_corrupt)
{
    struct bytes words = words_make(1500), back;

    for (int i = 0; i < 2; i++) {
        struct bytes small = packed(&words, codecs[i], 0);
        for (size_t size = 0, whole = small.size; size < whole; size++) {
            small.size = size;
            cr_assert_eq(through(decompressor(), &small, 100, 100, &back), CRIER_ECORRUPT, "%zu bytes", size);
            free(back.data);
        }
        free(small.data);
    }
    free(words.data);
}

/* A byte that is another one is found, unless it says nothing of what comes out. */
Test(codec, a_frame_that_is_damaged_never_passes_as_something_else)
{
    struct bytes words = words_make(1500), back;
    unsigned refused = 0, tried = 0;

    for (int i = 0; i < 2; i++) {
        struct bytes small = packed(&words, codecs[i], 0);
        for (size_t at = 0; at < small.size; at++)
            for (unsigned bit = 0; bit < 8; bit += 3, tried++) {
                small.data[at] ^= (unsigned char)(1u << bit);
                int rc = through(decompressor(), &small, 100, 100, &back);
                cr_assert(rc == 0 ? equal(&back, &words) : rc == CRIER_ECORRUPT || rc == CRIER_ETOOBIG,
                          "byte %zu: %d", at, rc);
                refused += rc < 0;
                small.data[at] ^= (unsigned char)(1u << bit);
                free(back.data);
            }
        free(small.data);
    }
    cr_assert_gt(refused, tried * 9 / 10);
    free(words.data);
}

Test(codec, what_is_no_frame_is_corrupt)
{
    static const char *const none[] = {"PK\3\4 a zip", "\x1f\x8b\x08 gzip", "\x02\x21\x4c\x18 lz4 -l", "abc"};
    struct bytes words = words_make(1000), back;

    for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
        struct bytes in = {0};
        add(&in, none[i], strlen(none[i]));
        cr_assert_eq(through(decompressor(), &in, 1, 100, &back), CRIER_ECORRUPT);
        free(in.data), free(back.data);
    }
    for (int i = 0; i < 2; i++) {
        struct crier_decompress_options options = crier_decompress_options_default();
        struct bytes small = packed(&words, codecs[i], 0);
        crier_stream *stream;
        options.codec = codecs[1 - i]; /* the other one */
        cr_assert_eq(crier_decompress(bus, &options, &stream), 0);
        cr_assert_eq(through(stream, &small, 100, 100, &back), CRIER_ECORRUPT);
        free(back.data);
        options.codec = codecs[i];
        cr_assert_eq(crier_decompress(bus, &options, &stream), 0);
        cr_assert_eq(through(stream, &small, 100, 100, &back), 0);
        free(back.data);
        add(&small, "garbage", 7); /* behind a whole frame */
        cr_assert_eq(through(decompressor(), &small, 100, 100, &back), CRIER_ECORRUPT);
        free(small.data), free(back.data);
    }
    free(words.data);
}

/* ---- bombs ---- */

static struct bytes bomb_make(enum crier_compression codec)
{
    struct bytes zeros = {.data = calloc(1, BOMB_SIZE), .size = BOMB_SIZE}, bomb;

    cr_assert(zeros.data);
    cr_assert_eq(through(compressor(codec, 0), &zeros, BOMB_SIZE, 1, &bomb), 0);
    cr_assert_lt(bomb.size, BOMB_SIZE / 200);
    free(zeros.data);
    return bomb;
}

/* All of it is there in one chunk, and comes out as it is read. */
Test(codec, a_bomb_takes_no_more_memory_than_the_high_water_mark)
{
    for (int i = 0; i < 2; i++) {
        struct bytes bomb = bomb_make(codecs[i]);
        crier_stream *stream = decompressor();
        struct crier_stream_state state;
        crier_chunk *chunk;
        size_t size = 0;
        cr_assert_geq(crier_stream_write(stream, bomb.data, bomb.size), 0);
        cr_assert_eq(crier_stream_end(stream), 0);
        for (int idle = 0; idle < 20;) {
            crier_process(bus);
            cr_assert_eq(crier_stream_state(stream, &state), 0);
            cr_assert_leq(state.readable_length, 2 * 65536);
            cr_assert_eq(crier_stream_read(stream, CRIER_STREAM_ALL, &chunk), 0);
            size += chunk ? chunk->size : 0;
            idle = chunk ? 0 : idle + 1;
            crier_chunk_release(chunk);
        }
        cr_assert_eq(size, BOMB_SIZE);
        cr_assert(turned(stream).readable_ended);
        crier_stream_release(stream);
        free(bomb.data);
    }
}

Test(codec, more_than_was_allowed_is_too_big)
{
    struct bytes words = words_make(WORDS_SIZE), far = tool("zstd -cq --ultra -22 --long=27 -", &words), back;

    for (int i = 0; i < 2; i++) {
        struct bytes small = packed(&words, codecs[i], 0);
        for (size_t allowed = WORDS_SIZE - 1; allowed <= WORDS_SIZE; allowed++) {
            struct crier_decompress_options options = crier_decompress_options_default();
            crier_stream *stream;
            options.size_max = allowed;
            cr_assert_eq(crier_decompress(bus, &options, &stream), 0);
            cr_assert_eq(through(stream, &small, 100, 5000, &back), allowed < WORDS_SIZE ? CRIER_ETOOBIG : 0);
            cr_assert_leq(back.size, allowed);
            free(back.data);
        }
        free(small.data);
    }
    for (size_t window = 1u << 10; window <= 1u << 28; window <<= 9) { /* 1 KiB, 512 KiB, 256 MiB */
        struct crier_decompress_options options = crier_decompress_options_default();
        crier_stream *stream;
        options.window_size_max = window;
        cr_assert_eq(crier_decompress(bus, &options, &stream), 0);
        cr_assert_eq(through(stream, &far, 100, 5000, &back), window < 1u << 27 ? CRIER_ETOOBIG : 0);
        free(back.data);
    }
    free(words.data), free(far.data);
}

static void destroy_it(const crier_stream_event *event, void *ctx)
{
    if (++*(unsigned *)ctx == 3)
        cr_assert_eq(crier_stream_destroy(event->stream, 0, NULL), 0);
}

Test(codec, it_may_be_destroyed_while_more_is_to_come)
{
    struct bytes bomb = bomb_make(CRIER_COMPRESSION_ZSTD);
    crier_stream *heard = decompressor(), *waits = decompressor(), *closed = decompressor();
    unsigned chunks = 0;

    cr_assert_eq(crier_stream_on(heard, CRIER_STREAM_DATA, destroy_it, &chunks), 0);
    cr_assert_geq(crier_stream_write(heard, bomb.data, bomb.size), 0);
    cr_assert_geq(crier_stream_write(waits, bomb.data, bomb.size), 0);
    cr_assert_geq(crier_stream_write(closed, bomb.data, bomb.size), 0);
    turn();
    cr_assert_eq(crier_stream_destroy(waits, CRIER_ECANCELED, NULL), 0);
    cr_assert_eq(turned(heard).code, 0);
    cr_assert_eq(turned(waits).code, CRIER_ECANCELED);
    cr_assert_eq(chunks, 3);
    crier_stream_release(heard);
    crier_stream_release(waits);
    rig_close(); /* and so may the bus */
    crier_stream_release(closed);
    rig_open();
    free(bomb.data);
}

Test(codec, bad_arguments_of_codecs_are_refused)
{
    struct crier_compress_options in = crier_compress_options_default();
    struct crier_decompress_options out = crier_decompress_options_default();
    crier_stream *stream;

    cr_assert_eq(crier_compress(NULL, NULL, &stream), CRIER_EINVAL);
    cr_assert_eq(crier_compress(bus, NULL, NULL), CRIER_EINVAL);
    cr_assert_eq(crier_decompress(NULL, NULL, &stream), CRIER_EINVAL);
    cr_assert_eq(crier_decompress(bus, NULL, NULL), CRIER_EINVAL);
    in.codec = CRIER_COMPRESSION_NONE;
    cr_assert_eq(crier_compress(bus, &in, &stream), CRIER_EINVAL);
    in.codec = CRIER_COMPRESSION_LZ4;
    in.level = 13;
    cr_assert_eq(crier_compress(bus, &in, &stream), CRIER_EINVAL);
    in.codec = CRIER_COMPRESSION_ZSTD;
    in.level = 23;
    cr_assert_eq(crier_compress(bus, &in, &stream), CRIER_EINVAL);
    in.struct_size = 0;
    cr_assert_eq(crier_compress(bus, &in, &stream), CRIER_EINVAL);
    out.window_size_max = 1023;
    cr_assert_eq(crier_decompress(bus, &out, &stream), CRIER_EINVAL);
    out.window_size_max = 0;
    out.codec = (enum crier_compression)1;
    cr_assert_eq(crier_decompress(bus, &out, &stream), CRIER_EINVAL);
}
