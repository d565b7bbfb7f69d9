/* delivery.c: what listeners get: from the tail cache if it is there, else read from the log.
 *
 * A listener has a cursor per partition, not a mode: live and replay are the same code. A cursor that is behind is READY
 * in its listener's list; listeners with something ready and credit left are in their connection's list; a connection
 * gets DELIVER frames only while less than DELIVER_UNSENT_MAX is unsent, so a slow peer holds nothing but its cursors.
 *
 * Happy path:  batch durable → cache, cursors ready → at the turn's end DELIVER, round-robin over listeners and partitions
 * Behind:      the cursor reads: at most READS_IN_FLIGHT_MAX at a time, the others wait in line, no more of one connection's
 *              than that; what was read is delivered when it arrives (so many reads beyond the limit) and not kept.
 * Failures:    a damaged log ends the listener with the code. A listener that is gone: the read's result is dropped. */
#include "broker/core/session_internal.h"

struct delivery_read {
    struct store_read read;
    struct delivery_read *next_free;
    struct session *session;
    struct cursor *cursor; /* NULL: its listener is gone */
    size_t promised;       /* bytes of its credit */
};

/* ---- who is next ---- */

void connection_pump(struct core_connection *connection)
{
    struct session *session = connection->session;
    if (connection->pumped)
        return;
    connection->pumped = true;
    connection->pump_next = NULL;
    if (session->pump_last)
        session->pump_last->pump_next = connection;
    else
        session->pump = connection;
    session->pump_last = connection;
}

uint64_t listener_credit(const struct listener *listener)
{
    uint64_t taken = listener->delivered + listener->reading;
    return taken < listener->credit ? listener->credit - taken : 0;
}

void listener_wake(struct listener *listener)
{
    if (listener->state != LISTENER_ACTIVE || !listener->ready || !listener_credit(listener))
        return;
    if (!listener->queued) {
        listener->queued = true;
        DL_APPEND2(listener->connection->deliverable, listener, queue_prev, queue_next);
    }
    connection_pump(listener->connection);
}

static void listener_sleep(struct listener *listener)
{
    if (listener->queued)
        DL_DELETE2(listener->connection->deliverable, listener, queue_prev, queue_next);
    listener->queued = false;
}

void cursor_wake(struct cursor *cursor)
{
    struct listener *listener = cursor->listener;
    bool behind =
        cursor->backlog ? cursor->backlog->batches.count > 0 : cursor->next < cursor->view->high_watermark;
    if (cursor->state != CURSOR_IDLE || listener->state != LISTENER_ACTIVE || !behind)
        return;
    cursor->state = CURSOR_READY;
    DL_APPEND2(listener->ready, cursor, queue_prev, queue_next);
    listener_wake(listener);
}

/* One of its cursors is no longer being read, or in line: there may be room for another's. */
static void read_left(struct core_connection *connection)
{
    connection->reads--;
    if (connection->deliverable)
        connection_pump(connection);
}

void cursor_sleep(struct cursor *cursor)
{
    struct session *session = cursor->listener->connection->session;
    if (cursor->state == CURSOR_READY) {
        DL_DELETE2(cursor->listener->ready, cursor, queue_prev, queue_next);
    } else if (cursor->state == CURSOR_READ_WAITING) {
        DL_DELETE2(session->read_waiting, cursor, queue_prev, queue_next);
        read_left(cursor->listener->connection);
    }
    cursor->state = CURSOR_IDLE;
}

struct cursor *cursor_create(struct listener *listener, uint64_t partition, uint64_t next)
{
    struct cursor *cursor = core_alloc(sizeof(*cursor));
    cursor->listener = listener;
    cursor->view = view_find(listener->connection->session, partition);
    CHECK(cursor->view);
    cursor->next = next;
    if (cursor->view->topic->ephemeral)
        backlog_create(cursor);
    DL_APPEND2(listener->cursors, cursor, prev, next_own);
    DL_APPEND2(cursor->view->cursors, cursor, view_prev, view_next);
    presence_joined(cursor);
    return cursor;
}

static void reads_forget(struct session *session, struct cursor *cursor);

void cursor_destroy(struct cursor *cursor)
{
    struct listener *listener = cursor->listener;
    if (cursor->state == CURSOR_READING) {
        reads_forget(listener->connection->session, cursor);
        read_left(listener->connection);
    }
    cursor_sleep(cursor);
    if (listener->queued && !listener->ready)
        listener_sleep(listener);
    presence_left(cursor);
    DL_DELETE2(cursor->view->cursors, cursor, view_prev, view_next);
    DL_DELETE2(listener->cursors, cursor, prev, next_own);
    backlog_destroy(cursor);
    free(cursor);
    listener_wake(listener); /* the credit that its read was promised is for the others */
}

/* ---- DELIVER ---- */

void deliver_send(struct cursor *cursor, const struct slice *slices, size_t count, uint64_t next)
{
    struct listener *listener = cursor->listener;
    struct session *session = listener->connection->session;
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += slices[i].size;
    Wire__Deliver deliver = WIRE__DELIVER__INIT;
    deliver.listener = listener->id;
    deliver.partition = cursor->view->id;
    deliver.high_watermark = cursor->view->high_watermark;
    deliver.skip_to = count ? 0 : next;
    deliver.dropped = listener->dropped;
    connection_send(listener->connection, FRAME_DELIVER, &deliver.base, slices, count);
    cursor->next = next;
    listener->delivered += bytes;
    session->count_batches += count;
    session->count_bytes += bytes;
}

#define DELIVER_BATCHES_MAX 64

size_t deliver_tail(struct cursor *cursor, const struct tail *tail, uint32_t place)
{
    struct slice slices[DELIVER_BATCHES_MAX];
    size_t count = 0, bytes = 0;
    uint64_t credit = listener_credit(cursor->listener);
    size_t bytes_max = credit < DELIVER_FRAME_BYTES ? (size_t)credit : DELIVER_FRAME_BYTES;
    uint64_t next = cursor->next;
    while (place < tail->count && count < DELIVER_BATCHES_MAX) {
        const struct cached_batch *cached = tail_at(tail, place++);
        if (count && bytes + cached->batch.size > bytes_max)
            break;
        slices[count++] = cached->batch;
        bytes += cached->batch.size;
        next = cached->base_offset + cached->span;
    }
    deliver_send(cursor, slices, count, next);
    return count;
}

/* Sends what the cache holds from the cursor on; false: not cached. */
static bool deliver_cached(struct cursor *cursor)
{
    uint32_t place = tail_find(&cursor->view->tail, cursor->next);
    if (place == UINT32_MAX)
        return false;
    cursor->listener->connection->session->count_cached += deliver_tail(cursor, &cursor->view->tail, place);
    return true;
}

static void read_done(struct store_read *read, void *ctx);

static void read_start(struct session *session, struct cursor *cursor)
{
    struct delivery_read *request = session->reads_free;
    if (request)
        session->reads_free = request->next_free;
    else
        request = core_alloc(sizeof(*request));
    request->session = session;
    request->cursor = cursor;
    struct store_read *read = &request->read;
    read->done = read_done;
    read->ctx = request;
    read->partition = cursor->view->id;
    read->offset = cursor->next;
    read->until = cursor->view->high_watermark;
    uint64_t credit = listener_credit(cursor->listener);
    request->promised = credit < READ_BYTES ? (size_t)credit : READ_BYTES;
    cursor->listener->reading += request->promised;
    read->bytes_max = request->promised;
    read->count = 0;
    read->status = 0;
    cursor->state = CURSOR_READING;
    cursor->listener->connection->reads++;
    session->reads_in_flight++;
    session->count_reads++;
    request->next_free = session->reads_active;
    session->reads_active = request;
    int rc = session->store->ops->read(session->store, read);
    CHECK(rc == 0); /* the store takes at least READS_IN_FLIGHT_MAX */
}

/* Not cached: in line for a read. */
void cursor_read(struct session *session, struct cursor *cursor)
{
    cursor_sleep(cursor);
    if (session->reads_in_flight < READS_IN_FLIGHT_MAX) {
        read_start(session, cursor);
        return;
    }
    cursor->state = CURSOR_READ_WAITING;
    cursor->listener->connection->reads++;
    DL_APPEND2(session->read_waiting, cursor, queue_prev, queue_next);
}

static void reads_forget(struct session *session, struct cursor *cursor)
{
    for (struct delivery_read *read = session->reads_active; read; read = read->next_free) {
        if (read->cursor != cursor)
            continue;
        cursor->listener->reading -= read->promised;
        read->cursor = NULL;
    }
}

/* What was read, in frames of the usual size: together with a last, large batch it could pass the frame limit. Others of
 * the listener's cursors may have used more than their share of its credit meanwhile: what is then left over is read again
 * when there is credit. */
static void read_deliver(struct cursor *cursor, struct store_read *read)
{
    struct slice slices[STORE_READ_BATCHES_MAX];
    size_t count = 0, bytes = 0;
    uint64_t next = read->until; /* nothing is left in there: a gap */
    for (uint32_t i = 0; i < read->count; i++) {
        const struct store_batch *batch = &read->batches[i];
        if (cursor->listener->delivered + bytes >= cursor->listener->credit)
            break;
        if (count && bytes + batch->batch.size > DELIVER_FRAME_BYTES) {
            deliver_send(cursor, slices, count, next);
            count = bytes = 0;
        }
        slices[count++] = batch->batch;
        bytes += batch->batch.size;
        next = batch->base_offset + batch->span;
    }
    if (count || read->count == 0)
        deliver_send(cursor, slices, count, next);
}

/* The line moves; who has no credit left by now waits for that instead. */
static void reads_go_on(struct session *session)
{
    while (session->read_waiting && session->reads_in_flight < READS_IN_FLIGHT_MAX) {
        struct cursor *cursor = session->read_waiting;
        cursor_sleep(cursor);
        if (listener_credit(cursor->listener))
            read_start(session, cursor);
        else
            cursor_wake(cursor);
    }
}

static void read_done(struct store_read *read, void *ctx)
{
    struct delivery_read *request = ctx;
    struct session *session = request->session;
    struct cursor *cursor = request->cursor;
    LL_DELETE2(session->reads_active, request, next_free);
    session->reads_in_flight--;
    if (cursor) {
        cursor->state = CURSOR_IDLE;
        read_left(cursor->listener->connection);
        cursor->listener->reading -= request->promised;
        if (read->status < 0) {
            listener_end(cursor->listener,
                         read->status == STORE_ECORRUPT ? WIRE_CRIER_ECORRUPT : WIRE_CRIER_EIO,
                         "the log could not be read here; the broker's log names the place");
        } else if (cursor->listener->sharing) {
            shared_read_back(cursor, read);
        } else {
            if (cursor->next >=
                cursor->view->log_start) /* else what was read has gone since: told of as a gap */
                read_deliver(cursor, read);
            cursor_wake(cursor);
            listener_wake(cursor->listener); /* the read may have brought less than was promised to it */
        }
    }
    for (uint32_t i = 0; i < read->count; i++)
        slice_unref(&read->batches[i].batch);
    request->next_free = session->reads_free;
    session->reads_free = request;
    reads_go_on(session);
}

/* ---- the turn's end ---- */

/* One DELIVER for the listener whose turn it is, or a read begun. */
static void listener_deliver(struct listener *listener)
{
    struct session *session = listener->connection->session;
    struct cursor *cursor = listener->ready;
    listener_sleep(listener);
    if (!listener_credit(listener))
        return; /* CREDIT wakes it */
    if (cursor->backlog) {
        backlog_deliver(cursor);
        cursor_sleep(cursor);
        cursor_wake(cursor);
    } else if (listener->sharing) {
        shared_deliver(cursor);
    } else if (cursor->next < cursor->view->log_start) {
        cursor_sleep(cursor);
        deliver_send(cursor, NULL, 0, cursor->view->log_start);
        cursor_wake(cursor);
    } else if (deliver_cached(cursor)) {
        cursor_sleep(cursor);
        cursor_wake(cursor); /* behind its siblings, if there is more */
    } else {
        cursor_read(session, cursor);
    }
    listener_wake(listener);
}

void session_deliver(struct session *session)
{
    while (session->pump &&
           !session->draining) { /* a drain finishes what is asked, it does not go on telling */
        struct core_connection *connection = session->pump;
        session->pump = connection->pump_next;
        if (!session->pump)
            session->pump_last = NULL;
        while (connection->deliverable && connection->state == CONNECTION_READY &&
               connection->reads < READS_IN_FLIGHT_MAX &&
               connection->output_queued - connection->output_sent < DELIVER_UNSENT_MAX)
            listener_deliver(connection->deliverable);
        connection->pumped = false;
    }
}

void session_durable(void *ctx, const struct durable_part *part)
{
    struct session *session = ctx;
    struct view *view = view_find(session, part->partition);
    if (!view)
        return; /* its topic was deleted in the same entry */
    CHECK(part->base_offset >= view->high_watermark);
    view->high_watermark = part->base_offset + part->span;
    tail_cache_add(&session->cache, &view->tail, part->base_offset, part->span, part->batch);
    for (struct cursor *cursor = view->cursors; cursor; cursor = cursor->view_next)
        cursor_wake(cursor);
}

void delivery_destroy(struct session *session)
{
    tail_cache_finish(&session->cache);
    views_destroy(session);
    while (session->reads_free) {
        struct delivery_read *read = session->reads_free;
        session->reads_free = read->next_free;
        free(read);
    }
    while (session->reads_active) { /* the store was stopped: nobody answers them */
        struct delivery_read *read = session->reads_active;
        session->reads_active = read->next_free;
        free(read);
    }
}
