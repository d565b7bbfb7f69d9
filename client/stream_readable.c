/* stream_readable.c: the readable side: what is pushed waits until it is read or flows.
 *
 * Role:     Node's lib/internal/streams/readable.js (v20) in C: same states, same ticks. Names of its functions stand beside ours
 *           where they differ.
 * Thread:   the loop's.
 * Owns:     r: the buffer and the mode.
 *
 * Happy path:  flowing: read -> ops.read -> push -> DATA, without a detour through the buffer; paused: push -> buffer ->
 *              TICK_EMIT_READABLE -> READABLE -> crier_stream_read
 * Failures:    no memory for the buffer or a slice: the stream is destroyed, for a hole in it would be silent. */
#include "client/handles.h"
#include "client/stream_internal.h"

#include "base/check.h"
#include "base/future.h"
#include "client/bus_internal.h"

#include <stdlib.h>

#define HIGH_MAX 0x40000000u /* Node's: a read of more does not raise the mark beyond it */

void readable_init(crier_stream *stream, bool items, size_t high)
{
    stream->r.there = true;
    stream->r.items = items;
    stream->r.high = high;
    stream->r.sync = true;
}

static bool is_broken(const crier_stream *stream)
{
    return stream->destroyed || stream->code != 0;
}

static void data_emit(crier_stream *stream, const struct chunk *chunk)
{
    stream_emit(
        stream, CRIER_STREAM_DATA,
        &(struct crier_stream_event){.kind = CRIER_STREAM_DATA, .stream = stream, .chunk = &chunk->shown});
}

/* ---- READABLE, END, and what reads ahead ---- */

static void flow(crier_stream *stream)
{
    for (struct chunk *chunk; stream->r.flowing && (chunk = readable_read(stream, CRIER_STREAM_ALL));)
        crier_chunk_release(&chunk->shown);
}

static void emit_readable_now(crier_stream *stream) /* emitReadable_ */
{
    struct readable *r = &stream->r;

    if (!is_broken(stream) && (r->length > 0 || r->ended)) {
        stream_emit_plain(stream, CRIER_STREAM_READABLE);
        r->emitted_readable = false;
    }
    if (!r->flowing && !r->ended && r->length <= r->high)
        r->need_readable = true;
    flow(stream);
}

static void emit_readable(crier_stream *stream)
{
    struct readable *r = &stream->r;

    r->need_readable = false;
    if (r->emitted_readable)
        return;
    r->emitted_readable = true;
    stream_tick(stream, TICK_EMIT_READABLE);
}

static void read_more(crier_stream *stream) /* maybeReadMore */
{
    if (stream->r.reading_more)
        return;
    stream->r.reading_more = true;
    stream_tick(stream, TICK_READ_MORE);
}

static void read_nothing(crier_stream *stream)
{
    struct chunk *chunk = readable_read(stream, 0);

    CHECK(!chunk);
}

static void read_more_now(crier_stream *stream)
{
    struct readable *r = &stream->r;
    size_t length;

    while (!r->reading && !r->ended && (r->length < r->high || (r->flowing && r->length == 0))) {
        length = r->length;
        read_nothing(stream);
        if (length == r->length)
            break;
    }
    r->reading_more = false;
}

static void end_readable(crier_stream *stream)
{
    if (stream->r.end_emitted)
        return;
    stream->r.ended = true;
    stream_tick(stream, TICK_END_READABLE);
}

static void end_readable_now(crier_stream *stream)
{
    struct readable *r = &stream->r;

    if (stream->code != 0 || stream->close_emitted || r->end_emitted || r->length > 0)
        return;
    r->end_emitted = true;
    stream_emit_plain(stream, CRIER_STREAM_END);
    if (stream->ends_both && writable_is_open(stream))
        stream_tick(stream, TICK_END_WRITABLE);
    else if (!stream->w.there || stream->w.finished)
        stream_destroy(stream, 0, NULL);
}

/* ---- pushing ---- */

static bool is_welcome(const struct readable *r) /* canPushMore */
{
    return !r->ended && (r->length < r->high || r->length == 0);
}

static void end_pushed(crier_stream *stream) /* onEofChunk */
{
    struct readable *r = &stream->r;

    if (r->ended)
        return;
    r->ended = true;
    if (r->sync) {
        emit_readable(stream);
        return;
    }
    r->need_readable = false;
    r->emitted_readable = true;
    emit_readable_now(stream);
}

/* Takes the reference. */
static int chunk_add(crier_stream *stream, struct chunk *chunk, bool first)
{
    struct readable *r = &stream->r;

    if (r->flowing && !r->sync && stream->listener_counts[CRIER_STREAM_DATA] > 0 && r->length == 0) {
        pipe_awaits_clear(stream);
        data_emit(stream, chunk);
        crier_chunk_release(&chunk->shown);
    } else {
        if (chunk_queue_reserve(&r->buffer) < 0) {
            crier_chunk_release(&chunk->shown);
            stream_destroy(stream, CRIER_ENOMEM, NULL);
            return CRIER_ENOMEM;
        }
        r->length += r->items ? 1 : chunk->shown.size;
        if (first)
            chunk_queue_prepend(&r->buffer, chunk);
        else
            chunk_queue_append(&r->buffer, chunk);
        if (r->need_readable)
            emit_readable(stream);
    }
    read_more(stream);
    return is_welcome(r);
}

int readable_push(crier_stream *stream, struct chunk *chunk)
{
    struct readable *r = &stream->r;

    if (!chunk) {
        r->reading = false;
        end_pushed(stream);
        return 0;
    }
    if (!r->items && chunk->shown.size == 0) {
        crier_chunk_release(&chunk->shown);
        r->reading = false;
        read_more(stream);
        return is_welcome(r);
    }
    if (r->ended || is_broken(stream)) {
        crier_chunk_release(&chunk->shown);
        if (r->ended)
            stream_destroy(stream, CRIER_EINVAL, "pushed to after its end");
        return r->ended ? CRIER_EINVAL : CRIER_ECLOSED;
    }
    r->reading = false;
    return chunk_add(stream, chunk, false);
}

static bool is_readable(const crier_stream *stream)
{
    return stream_is_ours(stream) && stream->r.there;
}

int crier_stream_push_chunk(crier_stream *stream, crier_chunk *chunk)
{
    handle_check(&stream_handles, stream);
    int rc;

    if (!is_readable(stream))
        return CRIER_EINVAL;
    stream_retain(stream);
    rc = readable_push(stream, chunk_inner(crier_chunk_retain(chunk)));
    stream_release(stream);
    return rc;
}

int crier_stream_push(crier_stream *stream, const void *data, size_t size)
{
    handle_check(&stream_handles, stream);
    crier_event event = {.topic = "", .value = data, .value_size = size};
    crier_chunk *chunk;
    int rc;

    if (!is_readable(stream) || (!data && size > 0))
        return CRIER_EINVAL;
    rc = stream->r.items ? crier_chunk_create_item(&event, NULL, 0, &chunk)
                         : crier_chunk_create(data, size, &chunk);
    if (rc < 0) {
        stream_destroy(stream, rc, NULL);
        return rc;
    }
    rc = crier_stream_push_chunk(stream, chunk);
    crier_chunk_release(chunk);
    return rc;
}

int crier_stream_unshift(crier_stream *stream, crier_chunk *chunk)
{
    handle_check(&stream_handles, stream);
    struct readable *r;

    if (!is_readable(stream) || !chunk)
        return CRIER_EINVAL;
    r = &stream->r;
    if (!r->items && chunk->size == 0)
        return is_welcome(r);
    if (r->end_emitted) {
        stream_destroy(stream, CRIER_EINVAL, "put back into after its end");
        return CRIER_EINVAL;
    }
    if (is_broken(stream))
        return CRIER_ECLOSED;
    return chunk_add(stream, chunk_inner(crier_chunk_retain(chunk)), true);
}

/* ---- reading ---- */

static size_t how_much(const struct readable *r, size_t size) /* howMuchToRead */
{
    if (size == 0 || (r->length == 0 && r->ended))
        return 0;
    if (r->items)
        return 1;
    if (size == CRIER_STREAM_ALL)
        return r->flowing && r->length > 0 ? chunk_queue_first(&r->buffer)->shown.size : r->length;
    if (size <= r->length)
        return size;
    return r->ended ? r->length : 0;
}

static size_t power_of_two(size_t size) /* computeNewHighWaterMark */
{
    size_t power = 1;

    while (power < size && power < HIGH_MAX)
        power <<= 1;
    return power;
}

/* The first `size` bytes of the first chunk, which has more. */
static struct chunk *head_slice(struct readable *r, size_t size)
{
    struct chunk *whole = chunk_queue_first(&r->buffer);
    struct chunk *head = chunk_slice(whole, 0, size);
    struct chunk *tail = head ? chunk_slice(whole, size, whole->shown.size - size) : NULL;

    if (!tail) {
        crier_chunk_release(head ? &head->shown : NULL);
        return NULL;
    }
    r->buffer.ring[r->buffer.first] = tail;
    crier_chunk_release(&whole->shown);
    return head;
}

/* The first `size` bytes of several chunks, in one. */
static struct chunk *joined(struct readable *r, size_t size)
{
    void *memory;
    struct chunk *chunk = chunk_create(size, &memory), *part;

    if (!chunk)
        return NULL;
    for (unsigned char *bytes = memory; size > 0; crier_chunk_release(&part->shown)) {
        part = chunk_queue_first(&r->buffer);
        if (part->shown.size > size && !(part = head_slice(r, size))) {
            crier_chunk_release(&chunk->shown); /* what was copied is lost: the stream is destroyed */
            return NULL;
        }
        if (part == chunk_queue_first(&r->buffer))
            chunk_queue_take(&r->buffer);
        memcpy(bytes, part->shown.data, part->shown.size);
        bytes += part->shown.size;
        size -= part->shown.size;
    }
    return chunk;
}

static struct chunk *buffer_take(struct readable *r, size_t size) /* fromList */
{
    struct chunk *first = chunk_queue_first(&r->buffer);

    if (!first)
        return NULL;
    if (r->items || first->shown.size == size)
        return chunk_queue_take(&r->buffer);
    return first->shown.size > size ? head_slice(r, size) : joined(r, size);
}

/* Should more be asked for, now? */
static void read_start(crier_stream *stream, size_t size)
{
    struct readable *r = &stream->r;
    bool wanted = r->need_readable || r->length == 0 || r->length - size < r->high;

    if (!wanted || r->reading || r->ended || is_broken(stream))
        return;
    r->reading = r->sync = true;
    if (r->length == 0)
        r->need_readable = true;
    if (stream->type == CRIER_TRANSFORM)
        transform_read(stream);
    else if (stream->ops.read)
        stream->ops.read(stream, r->high, stream->ctx);
    r->sync = false;
}

struct chunk *readable_read(crier_stream *stream, size_t size)
{
    struct readable *r = &stream->r;
    struct chunk *chunk;
    size_t wanted = size;

    if (size != CRIER_STREAM_ALL && size > r->high)
        r->high = power_of_two(size);
    if (size != 0)
        r->emitted_readable = false;
    if (size == 0 && r->need_readable && ((r->high > 0 ? r->length >= r->high : r->length > 0) || r->ended)) {
        if (r->length == 0 && r->ended)
            end_readable(stream);
        else
            emit_readable(stream);
        return NULL;
    }
    size = how_much(r, size);
    if (size == 0 && r->ended) {
        if (r->length == 0)
            end_readable(stream);
        return NULL;
    }
    read_start(stream, size);
    if (!r->reading)
        size = how_much(r, wanted);
    if (size > r->length)
        size = r->length; /* what it called has read, too */
    chunk = size > 0 ? buffer_take(r, size) : NULL;
    if (!chunk && size > 0 && r->length > 0) {
        stream_destroy(stream, CRIER_ENOMEM, NULL);
        return NULL;
    }
    if (!chunk) {
        r->need_readable |= r->length <= r->high;
        size = 0;
    } else {
        r->length -= size;
        pipe_awaits_clear(stream);
    }
    if (r->length == 0) {
        if (!r->ended)
            r->need_readable = true;
        if (wanted != size && r->ended)
            end_readable(stream);
    }
    if (chunk && !stream->error_emitted && !stream->close_emitted)
        data_emit(stream, chunk);
    return chunk;
}

int crier_stream_read(crier_stream *stream, size_t size, crier_chunk **ret_chunk)
{
    handle_check(&stream_handles, stream);
    struct chunk *chunk;
    bool broken;

    if (!is_readable(stream))
        return CRIER_EINVAL;
    stream_retain(stream);
    broken = stream->code == CRIER_ENOMEM;
    chunk = readable_read(stream, size);
    broken = !broken && !chunk && stream->code == CRIER_ENOMEM;
    stream_release(stream);
    if (ret_chunk)
        *ret_chunk = chunk ? &chunk->shown : NULL;
    else
        crier_chunk_release(chunk ? &chunk->shown : NULL);
    return broken ? CRIER_ENOMEM : 0;
}

/* ---- modes ---- */

void readable_resume(crier_stream *stream)
{
    struct readable *r = &stream->r;

    if (!r->flowing) {
        r->has_mode = true;
        r->flowing = !r->readable_listening;
        if (!r->resume_scheduled) {
            r->resume_scheduled = true;
            stream_tick(stream, TICK_RESUME);
        }
    }
    r->has_paused = true;
    r->paused = false;
}

static void resume_now(crier_stream *stream) /* resume_ */
{
    struct readable *r = &stream->r;

    if (!r->reading)
        read_nothing(stream);
    r->resume_scheduled = false;
    stream_emit_plain(stream, CRIER_STREAM_RESUME);
    flow(stream);
    if (r->flowing && !r->reading)
        read_nothing(stream);
}

void readable_pause(crier_stream *stream)
{
    struct readable *r = &stream->r;

    if (!r->has_mode || r->flowing) {
        r->has_mode = true;
        r->flowing = false;
        stream_emit_plain(stream, CRIER_STREAM_PAUSE);
    }
    r->has_paused = r->paused = true;
}

int crier_stream_resume(crier_stream *stream)
{
    handle_check(&stream_handles, stream);
    if (!is_readable(stream))
        return CRIER_EINVAL;
    readable_resume(stream);
    return 0;
}

int crier_stream_pause(crier_stream *stream)
{
    handle_check(&stream_handles, stream);
    if (!is_readable(stream))
        return CRIER_EINVAL;
    readable_pause(stream);
    return 0;
}

/* ---- what listeners mean ---- */

void readable_listened(crier_stream *stream, enum crier_stream_kind kind)
{
    struct readable *r = &stream->r;

    if (kind == CRIER_STREAM_DATA) {
        r->readable_listening |= stream->listener_counts[CRIER_STREAM_READABLE] > 0;
        if (!r->has_mode || r->flowing)
            readable_resume(stream);
    } else if (kind == CRIER_STREAM_READABLE && !r->end_emitted && !r->readable_listening) {
        r->readable_listening = r->need_readable = r->has_mode = true;
        r->flowing = r->emitted_readable = false;
        if (r->length > 0)
            emit_readable(stream);
        else if (!r->reading)
            stream_tick(stream, TICK_READ_FIRST);
    }
}

void readable_unlistened(crier_stream *stream, enum crier_stream_kind kind)
{
    if (kind == CRIER_STREAM_READABLE)
        stream_tick(stream, TICK_UPDATE_LISTENING);
}

static void update_listening(crier_stream *stream) /* updateReadableListening */
{
    struct readable *r = &stream->r;

    r->readable_listening = stream->listener_counts[CRIER_STREAM_READABLE] > 0;
    if (r->resume_scheduled && r->has_paused && !r->paused)
        r->has_mode = r->flowing = true;
    else if (stream->listener_counts[CRIER_STREAM_DATA] > 0)
        readable_resume(stream);
    else if (!r->readable_listening)
        r->has_mode = r->flowing = false;
}

void readable_tick(crier_stream *stream, enum stream_tick tick)
{
    static void (*const ticks[])(crier_stream * stream) = {[TICK_EMIT_READABLE] = emit_readable_now,
                                                           [TICK_READ_MORE] = read_more_now,
                                                           [TICK_RESUME] = resume_now,
                                                           [TICK_END_READABLE] = end_readable_now,
                                                           [TICK_READ_FIRST] = read_nothing,
                                                           [TICK_UPDATE_LISTENING] = update_listening};

    ticks[tick](stream);
}
