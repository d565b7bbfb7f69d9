/* stream_rig.h: what the tests of streams share: a bus whose loop the test turns, and streams that write down what they are called with
 * and what they tell.
 *
 * A trace is one line of words, parted by blanks: NAME.write(DATA) of the operation, NAME.EVENT of events. */
#ifndef CRIER_TESTS_EMITTER_STREAM_RIG_H
#define CRIER_TESTS_EMITTER_STREAM_RIG_H

#include "crier/stream.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define rig_trace(expected)                                                                                  \
    do {                                                                                                     \
        char taken[sizeof(trace)];                                                                           \
        memcpy(taken, trace, sizeof(taken));                                                                 \
        trace[0] = '\0';                                                                                     \
        cr_assert_str_eq(taken, expected, "\"%s\", not \"%s\"", taken, expected);                            \
    } while (0)

static char trace[8192];
static crier *bus;

/* A stream and what its operations do. */
struct rig {
    const char *name;
    crier_stream *stream;
    const char *const *source; /* `read` pushes the next; NULL: the end */
    bool holds;                /* `write` and `transform` wait for rig_done() */
    int fails;                 /* they are done with this code */
};

static inline void say(const struct rig *rig, const char *what, const void *data, size_t size)
{
    size_t at = strlen(trace);
    snprintf(trace + at, sizeof(trace) - at, "%s%s.%s%s%.*s%s", at ? " " : "", rig->name, what,
             data ? "(" : "", data ? (int)size : 0, data ? (const char *)data : "", data ? ")" : "");
}

static inline void rig_open(void)
{
    struct crier_options options = crier_options_default();
    options.polled = true;
    cr_assert_eq(crier_open("local:", &options, &bus), 0);
}

static inline void rig_close(void)
{
    crier_close(bus);
}

static inline void turn(void)
{
    for (int i = 0; i < 8; i++)
        crier_process(bus);
}

static inline void rig_read(crier_stream *stream, size_t size, void *ctx)
{
    struct rig *rig = ctx;
    (void)size;
    if (!rig->source)
        return;
    if (*rig->source)
        crier_stream_push(stream, *rig->source, strlen(*rig->source));
    else
        crier_stream_push_chunk(stream, NULL);
    rig->source += *rig->source != NULL;
}

static inline void rig_write(crier_stream *stream, crier_chunk *chunk, void *ctx)
{
    struct rig *rig = ctx;
    say(rig, "write", chunk->data, chunk->size);
    if (!rig->holds)
        crier_stream_done(stream, rig->fails, rig->fails ? "broken" : NULL);
}

static inline void rig_transform(crier_stream *stream, crier_chunk *chunk, void *ctx)
{
    struct rig *rig = ctx;
    if (rig->fails == 0) {
        crier_stream_push(stream, "<", 1);
        crier_stream_push_chunk(stream, chunk);
    }
    if (!rig->holds)
        crier_stream_done(stream, rig->fails, rig->fails ? "broken" : NULL);
}

static inline void rig_flush(crier_stream *stream, void *ctx)
{
    (void)ctx;
    crier_stream_push(stream, "!", 1);
    crier_stream_done(stream, 0, NULL);
}

static inline void rig_event(const crier_stream_event *event, void *ctx)
{
    static const char *const names[CRIER_STREAM_KINDS] = {
        "data", "readable", "end", "drain", "finish", "error", "close", "pause", "resume", "pipe", "unpipe"};
    if (event->chunk)
        say(ctx, names[event->kind], event->chunk->data, event->chunk->size);
    else
        say(ctx, names[event->kind], event->text, event->text ? strlen(event->text) : 0);
}

/* high: of both sides, 0: the default; hears: END, DRAIN, FINISH, ERROR and CLOSE. */
static inline crier_stream *rig_stream(struct rig *rig, enum crier_stream_type type, size_t high)
{
    struct crier_stream_options options = crier_stream_options_default();
    struct crier_stream_ops ops = {.struct_size = sizeof(ops)};
    if (high > 0)
        options.readable_high_watermark = options.writable_high_watermark = high;
    if (type == CRIER_TRANSFORM) {
        ops.transform = rig_transform;
        ops.flush = rig_flush;
    } else {
        ops.read = type & CRIER_READABLE ? rig_read : NULL;
        ops.write = type & CRIER_WRITABLE ? rig_write : NULL;
    }
    cr_assert_eq(crier_stream_create(bus, type, &ops, rig, &options, &rig->stream), 0);
    for (int kind = CRIER_STREAM_END; kind <= CRIER_STREAM_CLOSE; kind++)
        cr_assert_eq(crier_stream_on(rig->stream, (enum crier_stream_kind)kind, rig_event, rig), 0);
    return rig->stream;
}

static inline void rig_on(struct rig *rig, enum crier_stream_kind kind)
{
    cr_assert_eq(crier_stream_on(rig->stream, kind, rig_event, rig), 0);
}

static inline struct crier_stream_state rig_state(const struct rig *rig)
{
    struct crier_stream_state state;
    cr_assert_eq(crier_stream_state(rig->stream, &state), 0);
    return state;
}

/* What a read of so much gives; NULL: nothing. */
static inline void read_text(struct rig *rig, size_t size, const char *expected)
{
    crier_chunk *chunk;
    cr_assert_eq(crier_stream_read(rig->stream, size, &chunk), 0);
    if (!expected) {
        cr_assert_null(chunk);
        return;
    }
    cr_assert(chunk && chunk->size == strlen(expected) && memcmp(chunk->data, expected, chunk->size) == 0);
    crier_chunk_release(chunk);
}

/* What a settled future holds; it is given back. */
static inline int rig_code(crier_future *future)
{
    crier_result result;
    int rc = crier_future_result(future, &result);
    crier_future_release(future);
    return rc < 0 ? rc : result.code;
}

#endif
