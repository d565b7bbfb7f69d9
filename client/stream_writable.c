/* stream_writable.c: the writable side: one chunk is being written, the others wait; and transforms, which read what is written.
 *
 * Role:     Node's lib/internal/streams/writable.js and transform.js (v20) in C: same states, same ticks.
 * Thread:   the loop's.
 * Owns:     w: the buffer, and a reference to the chunk that is being written.
 *
 * Happy path:  write -> ops.write -> crier_stream_done -> the next of the buffer -> DRAIN; end -> ops.final -> FINISH
 * Failures:    done with a code: what waits is dropped, ERROR, CLOSE. No memory to wait in: nothing was taken; CRIER_ENOMEM. */
#include "client/handles.h"
#include "client/stream_internal.h"

#include "base/check.h"
#include "base/future.h"
#include "client/bus_internal.h"

void writable_init(crier_stream *stream, bool items, size_t high)
{
    stream->w.there = true;
    stream->w.items = items;
    stream->w.high = high;
    stream->w.sync = true;
}

bool writable_needs_drain(const crier_stream *stream)
{
    return stream->w.need_drain && !stream->w.ending && !stream->destroyed;
}

bool writable_is_open(const crier_stream *stream)
{
    return stream->w.there && !stream->w.ending && !stream->w.ended && !stream->destroyed &&
           stream->code == 0;
}

/* ---- finishing ---- */

static bool needs_finish(const crier_stream *stream)
{
    const struct writable *w = &stream->w;

    return w->ending && !stream->destroyed && !w->finished && !w->writing && !stream->error_emitted &&
           !stream->close_emitted && stream->code == 0 && !w->buffered && w->length == 0;
}

static void finish_now(crier_stream *stream)
{
    struct writable *w = &stream->w;

    w->pending--;
    w->finished = true;
    stream_emit_plain(stream, CRIER_STREAM_FINISH);
    if (!stream->r.there || stream->r.end_emitted)
        stream_destroy(stream, 0, NULL);
}

static void final_begin(crier_stream *stream) /* prefinish */
{
    struct writable *w = &stream->w;
    bool has_final = stream->type == CRIER_TRANSFORM || stream->ops.final;

    if (w->prefinished || w->final_called)
        return;
    w->final_called = true;
    if (!has_final || stream->destroyed) {
        w->prefinished = true;
        return;
    }
    w->sync = w->final_pending = true;
    w->pending++;
    if (stream->type != CRIER_TRANSFORM)
        stream->ops.final(stream, stream->ctx);
    else if (stream->ops.flush)
        stream->ops.flush(stream, stream->ctx);
    else
        (void)crier_stream_done(stream, 0, NULL);
    w->sync = false;
}

static void final_done(crier_stream *stream, int code, const char *text) /* onFinish */
{
    struct writable *w = &stream->w;

    w->final_pending = false;
    if (code == 0 && stream->type == CRIER_TRANSFORM)
        (void)readable_push(stream, NULL);
    w->pending--;
    if (code < 0) {
        stream_destroy(stream, code, text);
    } else if (needs_finish(stream)) {
        w->prefinished = true;
        w->pending++;
        stream_tick(stream, TICK_FINISH);
    }
}

/* sync: FINISH comes on a later tick. */
static void finish_maybe(crier_stream *stream, bool sync)
{
    struct writable *w = &stream->w;

    if (!needs_finish(stream))
        return;
    final_begin(stream);
    if (w->pending > 0)
        return;
    if (sync) {
        w->pending++;
        stream_tick(stream, TICK_FINISH_MAYBE);
    } else if (needs_finish(stream)) {
        w->pending++;
        finish_now(stream);
    }
}

static void finish_maybe_now(crier_stream *stream)
{
    if (needs_finish(stream))
        finish_now(stream);
    else
        stream->w.pending--;
}

/* ---- writing ---- */

static void written(crier_stream *stream, int code, const char *text);

/* Takes the reference. */
static void chunk_write(crier_stream *stream, struct chunk *chunk)
{
    struct writable *w = &stream->w;

    CHECK(!w->chunk);
    w->chunk = chunk;
    w->writing_length = w->items ? 1 : chunk->shown.size;
    w->writing = w->sync = w->expects_done = true;
    if (stream->destroyed) { /* by the one before */
        written(stream, CRIER_ECLOSED, "destroyed before everything was written");
    } else if (stream->type == CRIER_TRANSFORM) {
        stream->transform_length = stream->r.length;
        stream->ops.transform(stream, &chunk->shown, stream->ctx);
    } else {
        stream->ops.write(stream, &chunk->shown, stream->ctx);
    }
    w->sync = false;
}

static void buffer_drop(crier_stream *stream) /* errorBuffer */
{
    struct writable *w = &stream->w;

    if (w->writing)
        return;
    for (struct chunk *chunk; (chunk = chunk_queue_take(&w->buffer)); crier_chunk_release(&chunk->shown))
        w->length -= w->items ? 1 : chunk->shown.size;
    w->buffered = false;
}

static void buffer_write(crier_stream *stream) /* clearBuffer */
{
    struct writable *w = &stream->w;
    struct chunk *chunk;

    if (stream->destroyed || w->buffer_processing)
        return;
    w->buffer_processing = true;
    while (!w->writing && (chunk = chunk_queue_take(&w->buffer)))
        chunk_write(stream, chunk);
    if (w->buffer.count == 0)
        w->buffered = false;
    w->buffer_processing = false;
}

static void after_write(crier_stream *stream)
{
    struct writable *w = &stream->w;

    w->after_write_pending = false;
    if (writable_needs_drain(stream) && w->length == 0) {
        w->need_drain = false;
        stream_emit_plain(stream, CRIER_STREAM_DRAIN);
    }
    w->pending--;
    if (stream->destroyed)
        buffer_drop(stream);
    if (w->ending)
        finish_maybe(stream, true);
}

static void write_failed(crier_stream *stream) /* onwriteError */
{
    stream->w.pending--;
    buffer_drop(stream);
    stream_destroy(stream, stream->code, NULL);
}

/* The chunk at hand is written. Node's onwrite; a write inside the call is told of on a later tick, and only if there is somebody to
 * tell: it ticks for DRAIN, and always for items. */
static void written(crier_stream *stream, int code, const char *text)
{
    struct writable *w = &stream->w;
    bool sync = w->sync;

    crier_chunk_release(&w->chunk->shown);
    w->chunk = NULL;
    w->writing = w->expects_done = false;
    w->length -= w->writing_length;
    w->writing_length = 0;
    if (code < 0) {
        stream_fail_note(stream, code, text);
        if (sync)
            stream_tick(stream, TICK_WRITE_FAILED);
        else
            write_failed(stream);
        return;
    }
    if (w->buffered)
        buffer_write(stream);
    if (!sync) {
        after_write(stream);
    } else if (!w->after_write_pending && ((w->need_drain && w->length == 0) || w->items)) {
        w->after_write_pending = true;
        stream_tick(stream, TICK_AFTER_WRITE);
    } else {
        w->pending--;
        if (w->ending)
            finish_maybe(stream, true);
    }
}

static void buffer_append(struct writable *w, struct chunk *chunk)
{
    chunk_queue_append(&w->buffer, chunk);
    w->buffered = true;
}

int writable_write(crier_stream *stream, struct chunk *chunk)
{
    struct writable *w = &stream->w;
    bool more;

    if (w->ending) {
        stream_destroy(stream, CRIER_EINVAL, "written to after its end");
        return CRIER_EINVAL;
    }
    if (stream->destroyed)
        return CRIER_ECLOSED;
    if (w->writing || stream->code != 0) {
        if (chunk_queue_reserve(&w->buffer) < 0)
            return CRIER_ENOMEM;
    }
    (void)crier_chunk_retain(&chunk->shown);
    w->pending++;
    w->length += w->items ? 1 : chunk->shown.size;
    if (w->writing || stream->code != 0)
        buffer_append(w, chunk);
    else
        chunk_write(stream, chunk);
    more = w->length < w->high || w->length == 0;
    if (!more)
        w->need_drain = true;
    if (stream->destroyed || stream->code != 0)
        return 0;
    return more;
}

void writable_end(crier_stream *stream)
{
    struct writable *w = &stream->w;

    if (w->ending || stream->code != 0)
        return;
    w->ending = true;
    finish_maybe(stream, true);
    w->ended = true;
}

static bool is_writable(const crier_stream *stream)
{
    return stream_is_ours(stream) && stream->w.there;
}

int crier_stream_write_chunk(crier_stream *stream, crier_chunk *chunk)
{
    handle_check(&stream_handles, stream);
    int rc;

    if (!is_writable(stream) || !chunk)
        return CRIER_EINVAL;
    stream_retain(stream);
    rc = writable_write(stream, chunk_inner(chunk));
    stream_release(stream);
    return rc;
}

int crier_stream_write(crier_stream *stream, const void *data, size_t size)
{
    handle_check(&stream_handles, stream);
    crier_event event = {.topic = "", .value = data, .value_size = size};
    crier_chunk *chunk;
    int rc;

    if (!is_writable(stream) || (!data && size > 0))
        return CRIER_EINVAL;
    rc = stream->w.items ? crier_chunk_create_item(&event, NULL, 0, &chunk)
                         : crier_chunk_create(data, size, &chunk);
    if (rc < 0)
        return rc;
    rc = crier_stream_write_chunk(stream, chunk);
    crier_chunk_release(chunk);
    return rc;
}

int crier_stream_end(crier_stream *stream)
{
    handle_check(&stream_handles, stream);
    if (!is_writable(stream))
        return CRIER_EINVAL;
    stream_retain(stream);
    writable_end(stream);
    stream_release(stream);
    return 0;
}

/* ---- transforms: what was written counts as written when there is room for what comes of it ---- */

static void transformed(crier_stream *stream, int code, const char *text)
{
    struct readable *r = &stream->r;

    stream->w.expects_done = false;
    if (code < 0)
        written(stream, code, text);
    else if (r->ended)
        stream_tick(stream, TICK_WRITTEN);
    else if (stream->w.ended || stream->transform_length == r->length || r->length < r->high)
        written(stream, 0, NULL);
    else
        stream->transform_waits = true;
}

void transform_read(crier_stream *stream)
{
    if (stream->transform_waits) {
        stream->transform_waits = false;
        written(stream, 0, NULL);
    } else if (stream->ops.read && (stream->w.expects_done || stream->w.final_pending)) {
        stream->ops.read(stream, stream->r.high, stream->ctx);
    }
}

/* ---- what the operations tell ---- */

int crier_stream_done(crier_stream *stream, int code, const char *text)
{
    handle_check(&stream_handles, stream);
    int rc = 0;

    if (!is_writable(stream))
        return CRIER_EINVAL;
    code = code < 0 ? code : 0;
    stream_retain(stream);
    if (stream->w.expects_done && stream->type == CRIER_TRANSFORM) {
        transformed(stream, code, text);
    } else if (stream->w.expects_done) {
        written(stream, code, text);
    } else if (stream->w.final_pending) {
        final_done(stream, code, text);
    } else {
        rc = CRIER_EINVAL;
        stream_destroy(stream, rc, "said to be done more than once");
    }
    stream_release(stream);
    return rc;
}

static void written_late(crier_stream *stream)
{
    written(stream, 0, NULL);
}

static void end_late(crier_stream *stream)
{
    if (writable_is_open(stream))
        writable_end(stream);
}

void writable_tick(crier_stream *stream, enum stream_tick tick)
{
    static void (*const ticks[])(crier_stream * stream) = {
        [TICK_END_WRITABLE] = end_late,         [TICK_AFTER_WRITE] = after_write,
        [TICK_WRITE_FAILED] = write_failed,     [TICK_FINISH] = finish_now,
        [TICK_FINISH_MAYBE] = finish_maybe_now, [TICK_DROP_BUFFER] = buffer_drop,
        [TICK_WRITTEN] = written_late};

    ticks[tick](stream);
}
