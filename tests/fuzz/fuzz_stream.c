/* fuzz_stream.c: what files hold that streams read: tables ('t'), and frames of zstd and lz4 ('z'). The second byte says how long the
 * chunks are.
 *
 * Promises: it is read, or refused as corrupt or too big; what comes out does not depend on where chunks end; a table that was read is the
 * same when it was written and read again; a frame gives no more than it may. */
#include "tests/fuzz/fuzz.h"

#include "base/check.h"
#include "crier/transform.h"

#include <stdlib.h>
#include <string.h>

#define OUT_MAX   (256u * 1024)
#define TURNS_MAX 1000000

static crier *bus;

/* What came out of a stream, in a form in which nothing that differs looks the same. */
struct out {
    uint8_t *data;
    size_t size;
};

static void out_add(struct out *out, const void *data, size_t size)
{
    CHECK(out->data = realloc(out->data, out->size + size + 1));
    if (size > 0)
        memcpy(out->data + out->size, data, size);
    out->size += size;
}

static void out_field(struct out *out, const void *data, size_t size)
{
    out_add(out, &size, sizeof(size));
    out_add(out, data, size);
}

static void on_bytes(const crier_stream_event *event, void *ctx)
{
    out_add(ctx, event->chunk->data, event->chunk->size);
}

static void on_row(const crier_stream_event *event, void *ctx)
{
    const crier_event *row = event->chunk->event;
    crier_header field;

    out_add(ctx, &row->header_count, sizeof(row->header_count));
    for (int32_t i = 0; i < row->header_count; i++) {
        CHECK(crier_event_header(row, i, &field) == 0);
        out_field(ctx, field.name, field.name_size);
        out_field(ctx, field.value, field.value_size);
    }
}

static void on_error(const crier_stream_event *event, void *ctx)
{
    (void)ctx;
    CHECK(event->text[0]);
}

/* How it ended. */
static int ended(crier_stream *stream)
{
    struct crier_stream_state state = {0};

    (void)crier_stream_end(stream);
    for (int i = 0; !state.closed; i++) {
        CHECK(i < TURNS_MAX && crier_process(bus) == 0 && crier_stream_state(stream, &state) == 0);
    }
    crier_stream_release(stream);
    return state.code;
}

static void hear(crier_stream *stream, crier_stream_handler *handler, struct out *out)
{
    CHECK(crier_stream_on(stream, CRIER_STREAM_DATA, handler, out) == 0);
    CHECK(crier_stream_on(stream, CRIER_STREAM_ERROR, on_error, NULL) == 0);
}

static int through(crier_stream *stream, crier_stream_handler *handler, const uint8_t *data, size_t size,
                   size_t piece, struct out *out)
{
    *out = (struct out){0};
    out_add(out, NULL, 0);
    hear(stream, handler, out);
    for (size_t at = 0; at < size; at += piece)
        if (crier_stream_write(stream, data + at, piece < size - at ? piece : size - at) < 0)
            break;
    return ended(stream);
}

static crier_stream *reader(void)
{
    struct crier_csv_options options = crier_csv_options_default();
    crier_stream *stream;

    options.row_size_max = 200;
    CHECK(crier_csv_reader(bus, &options, &stream) == 0);
    return stream;
}

static crier_stream *decompressor(void)
{
    struct crier_decompress_options options = crier_decompress_options_default();
    crier_stream *stream;

    options.size_max = OUT_MAX;
    options.window_size_max = 1u << 20;
    CHECK(crier_decompress(bus, &options, &stream) == 0);
    return stream;
}

/* Written and read again it is the same; quotes may make a row longer than it was. */
static void again(const uint8_t *data, size_t size, const struct out *rows)
{
    crier_stream *from, *to, *both[2];
    struct out bytes = {0}, same;
    crier_future *done;

    CHECK(crier_csv_reader(bus, NULL, &from) == 0 && crier_csv_writer(bus, NULL, &to) == 0);
    both[0] = from;
    both[1] = to;
    out_add(&bytes, NULL, 0);
    hear(to, on_bytes, &bytes);
    CHECK(crier_pipeline(bus, both, 2, &done) == 0);
    (void)crier_stream_write(from, data, size);
    CHECK(ended(from) == 0 && ended(to) == 0);
    crier_future_release(done);
    CHECK(crier_csv_reader(bus, NULL, &from) == 0);
    CHECK(through(from, on_row, bytes.data, bytes.size, bytes.size + 1, &same) == 0);
    CHECK(same.size == rows->size && memcmp(same.data, rows->data, same.size) == 0);
    free(bytes.data);
    free(same.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct crier_options options = crier_options_default();
    struct out whole, pieces;
    int rc, same;

    if (size < 2 || size > 65536)
        return 0;
    options.polled = true;
    CHECK(bus || crier_open("local:", &options, &bus) == 0);
    bool table = data[0] == 't';
    size_t piece = data[1] % 16 + 1u;
    crier_stream_handler *handler = table ? on_row : on_bytes;
    data += 2;
    size -= 2;
    rc = through(table ? reader() : decompressor(), handler, data, size, size + 1, &whole);
    same = through(table ? reader() : decompressor(), handler, data, size, piece, &pieces);
    CHECK(rc == 0 || rc == CRIER_ECORRUPT || rc == CRIER_ETOOBIG);
    CHECK(whole.size <= OUT_MAX || table);
    CHECK((rc == 0) == (same == 0)); /* of several things that are wrong either may be found first */
    if (rc == 0)
        CHECK(whole.size == pieces.size && memcmp(whole.data, pieces.data, whole.size) == 0);
    if (rc == 0 && table)
        again(data, size, &whole);
    free(whole.data);
    free(pieces.data);
    return 0;
}
