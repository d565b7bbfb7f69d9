/* ephemeral.c: topics of which nothing is kept: batches go from the emit that brings them to the listeners that are there.
 *
 * The shard and the store see none of it. A partition counts offsets from 0 in each life of the broker, so that a listener
 * knows order and gaps. Every cursor has a backlog of its own: references to batches that wait for credit or for the socket.
 * What does not fit there is dropped, oldest or newest first, or ends the listener: its own choice (LISTEN), counted, and
 * told with each DELIVER. At most once: nothing is sent again, and nobody waits for a slow listener.
 *
 * Called:      frame_emit(), and delivery.c where a cursor's turn has come.
 * Memory:      a backlog has queue_max bytes, all together backlog_bytes_max, and one batch that is larger. A batch pins its
 *              receive buffer: behind the first BACKLOG_SHARED ones, small batches are copied.
 *
 * Happy path:  EMIT → ephemeral_emit: base offset, into the backlogs → EMITTED → at the turn's end backlog_deliver
 * Failures:    an emit that wants to be durable, expects an offset or is atomic: refused, as is what the session found
 *              wanting. No memory for a copy: the buffer stays pinned. */
#include "broker/core/session_internal.h"

#define BACKLOG_SHARED 16u

const char *ephemeral_problem(const struct listener *listener)
{
    if (listener->group)
        return "an ephemeral topic has no groups";
    if (listener->from != WIRE__FROM__LIVE)
        return "an ephemeral topic keeps nothing: listen live";
    return NULL;
}

/* ---- backlogs ---- */

void backlog_create(struct cursor *cursor)
{
    cursor->backlog = core_alloc(sizeof(*cursor->backlog));
    cursor->next = cursor->view->high_watermark; /* wherever it was in an earlier life of the broker */
}

/* The oldest batch leaves; returns how many events it had. */
static uint32_t backlog_shift(struct cursor *cursor)
{
    struct backlog *backlog = cursor->backlog;
    struct cached_batch oldest = tail_shift(&backlog->batches);
    backlog->bytes -= oldest.batch.size;
    cursor->listener->connection->session->backlog_bytes -= oldest.batch.size;
    slice_unref(&oldest.batch);
    return oldest.span;
}

void backlog_destroy(struct cursor *cursor)
{
    if (!cursor->backlog)
        return;
    while (cursor->backlog->batches.count)
        backlog_shift(cursor);
    free(cursor->backlog->batches.ring);
    free(cursor->backlog);
}

void backlog_deliver(struct cursor *cursor)
{
    for (size_t sent = deliver_tail(cursor, &cursor->backlog->batches, 0); sent > 0; sent--)
        (void)backlog_shift(cursor);
}

static bool backlog_has_room(const struct cursor *cursor, size_t size)
{
    const struct session *session = cursor->listener->connection->session;
    return cursor->backlog->batches.count == 0 ||
           (cursor->backlog->bytes + size <= cursor->listener->queue_max &&
            session->backlog_bytes + size <= session->config.backlog_bytes_max);
}

static void note_dropped(struct listener *listener, uint32_t events)
{
    listener->dropped += events;
    listener->connection->session->count_dropped += events;
}

/* The batch in a buffer of its own; without memory, as it is. */
static struct slice batch_copy(struct slice batch)
{
    struct buffer *buffer = buffer_create(batch.size);
    if (!buffer)
        return slice_ref(batch);
    memcpy(buffer->data, batch.data, batch.size);
    return (struct slice){buffer, buffer->data, batch.size};
}

static void backlog_push(struct cursor *cursor, uint64_t base_offset, uint32_t span, struct slice batch)
{
    struct tail *batches = &cursor->backlog->batches;
    bool copies = batches->count >= BACKLOG_SHARED && batch.size < batch.buffer->capacity / 2;
    struct slice own = copies ? batch_copy(batch) : slice_ref(batch);
    tail_push(batches, base_offset, span, own);
    slice_unref(&own);
    cursor->backlog->bytes += batch.size;
    cursor->listener->connection->session->backlog_bytes += batch.size;
    cursor_wake(cursor);
}

bool backlog_hand(struct cursor *cursor, uint64_t base_offset, uint32_t span, struct slice batch)
{
    struct listener *listener = cursor->listener;
    while (!backlog_has_room(cursor, batch.size)) {
        if (listener->slow == WIRE__SLOW__DISCONNECT) {
            listener_end(listener, WIRE_CRIER_ETOOBIG,
                         "more waits for it than it has room for, and it chose to end then");
            return false;
        }
        if (listener->slow == WIRE__SLOW__DROP_NEWEST) {
            note_dropped(listener, span);
            return false;
        }
        note_dropped(listener, backlog_shift(cursor));
    }
    backlog_push(cursor, base_offset, span, batch);
    return true;
}

/* ---- emits ---- */

static void part_hand(struct session *session, struct emit *emit, struct view *view, struct emit_part *part)
{
    part->handed = true;
    part->base_offset = -1;
    if (!part->code && (!emit->memory || view->topic->presence)) /* that is the broker's to say */
        part->code = WIRE_CRIER_EINVAL;
    if (!part->code && part->over) {
        part->code = WIRE_CRIER_EQUOTA;
        emit->why = emit->why ? emit->why : emit->quota;
    }
    if (part->code) {
        part->outcome = EMIT_REFUSED;
        return;
    }
    uint32_t span = (uint32_t)part->header.last_offset_delta + 1;
    uint64_t base_offset = view->high_watermark;
    batch_patch(part->batch.data, (int64_t)base_offset, 0);
    view->high_watermark += span;
    session->count_handed += span;
    for (struct cursor *cursor = view->cursors, *next; cursor; cursor = next) {
        next = cursor->view_next;
        part->listeners += backlog_hand(cursor, base_offset, span, part->batch);
    }
}

bool ephemeral_emit(struct session *session, struct emit *emit)
{
    uint32_t handed = 0;
    for (uint32_t i = 0; i < emit->part_count && !emit->atomic; i++) {
        struct view *view = view_find(session, emit->parts[i].partition);
        if (!view || !view->topic->ephemeral)
            continue;
        part_hand(session, emit, view, &emit->parts[i]);
        if (emit->parts[i].code && !emit->why)
            emit->why = view->topic->presence ? "who listens is the broker's to tell"
                                              : "an ephemeral topic takes memory emits";
        handed++;
    }
    if (handed < emit->part_count || emit->atomic) /* that may have no parts */
        return false;
    session_emitted(session, emit);
    emit_destroy(emit);
    return true;
}
