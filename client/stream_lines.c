/* stream_lines.c: bytes to lines.
 *
 * Role:     crier_lines: a transform whose readable side is made for items.
 * Thread:   the loop's.
 * Owns:     struct lines, the stream's ctx: the beginning of a line whose end has not come yet.
 *
 * Happy path:  transform: each '\n' ends a line: pushed; what is left is kept -> flush: the last one
 * Failures:    a line above its limit: CRIER_ETOOBIG; no memory to keep it: CRIER_ENOMEM. */
#include "client/grown.h"
#include "client/handles.h"
#include "client/stream_internal.h"
#include "crier/stream_ends.h"

#include <string.h>

#define LINE_SIZE_MAX (1u << 20)

struct lines {
    size_t max;
    struct grown begun;
};

static int keep(struct lines *lines, const char *data, size_t size)
{
    return size > lines->max - lines->begun.size ? CRIER_ETOOBIG : grown_add(&lines->begun, data, size);
}

static void lines_transform(crier_stream *stream, crier_chunk *chunk, void *ctx)
{
    struct lines *lines = ctx;
    const char *at = chunk->data, *end = at + chunk->size, *newline;
    int rc = 0;

    while (rc == 0 && (newline = memchr(at, '\n', (size_t)(end - at)))) {
        if (lines->begun.size > 0) {
            if ((rc = keep(lines, at, (size_t)(newline - at))) < 0)
                break;
            rc = crier_stream_push(stream, lines->begun.data, lines->begun.size);
            lines->begun.size = 0;
        } else if ((size_t)(newline - at) > lines->max) {
            rc = CRIER_ETOOBIG;
        } else {
            rc = crier_stream_push(stream, at, (size_t)(newline - at));
        }
        rc = rc < 0 ? rc : 0; /* above the mark the writer waits */
        at = newline + 1;
    }
    if (rc == 0 && at < end)
        rc = keep(lines, at, (size_t)(end - at));
    (void)crier_stream_done(stream, rc, rc == CRIER_ETOOBIG ? "a line is too long" : NULL);
}

static void lines_flush(crier_stream *stream, void *ctx)
{
    struct lines *lines = ctx;
    int rc = lines->begun.size > 0 ? crier_stream_push(stream, lines->begun.data, lines->begun.size) : 0;

    (void)crier_stream_done(stream, rc < 0 ? rc : 0, NULL);
}

static void lines_release(void *ctx)
{
    grown_finish(&((struct lines *)ctx)->begun);
    free(ctx);
}

int crier_lines(crier *bus, size_t line_size_max, crier_stream **ret_stream)
{
    handle_check(&bus_handles, bus);
    struct crier_stream_options options = crier_stream_options_default();
    struct crier_stream_ops ops = {.struct_size = sizeof(ops),
                                   .transform = lines_transform,
                                   .flush = lines_flush,
                                   .release = lines_release};
    struct lines *lines;
    int rc;

    if (!bus || !ret_stream || line_size_max > SIZE_MAX / 4)
        return CRIER_EINVAL;
    if (!(lines = calloc(1, sizeof(*lines))))
        return CRIER_ENOMEM;
    lines->max = line_size_max ? line_size_max : LINE_SIZE_MAX;
    options.readable_items = true;
    if ((rc = crier_stream_create(bus, CRIER_TRANSFORM, &ops, lines, &options, ret_stream)) < 0)
        free(lines);
    return rc;
}
