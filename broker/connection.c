/* connection.c: one socket: bytes in, frames to the core; frames from the core, bytes out.
 *
 * In:   every connection receives into one shared slab; whole frames in it become slices of it and are never copied
 *       again. A frame that is cut is moved to a buffer of exactly its size and finished there, with the first bytes of
 *       what follows going to the slab. A sender of big frames gets only BIG_FRAME_PEEK in the slab, so that little is
 *       moved. Nothing is allocated by a length that was not checked against the sender's grant. Once the core wants no
 *       more of a connection, the rest of what was received is held until it does.
 * Out:  references in a ring, small frames gathered in a control buffer, one writev for up to WRITE_PIECES of them. Who
 *       has something to send stands in the reactor's line; a turn serves it from the front, SEND_ONCE_MAX each time,
 *       until SEND_TURN_MAX bytes are sent in all, and who is not done stands at its end again.
 * Ends: a close asked for by the core waits for the output, CLOSE_LINGER_US at the longest, and then DISCARD_US for the
 *       peer to end, whatever it goes on sending. */
#include "broker/reactor_internal.h"

#include "base/check.h"
#include "base/random.h"
#include "proto/error.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define WRITE_PIECES    64
#define CLOSE_LINGER_US (5 * INT64_C(1000000))
#define DISCARD_US      INT64_C(1000000)

/* ---- in ---- */

static struct buffer *slab_for(struct reactor *reactor)
{
    if (reactor->slab && reactor->slab->capacity - reactor->slab_used >= SLAB_SIZE / 8)
        return reactor->slab;
    buffer_unref(reactor->slab);
    reactor->slab = buffer_pool_get(reactor->slabs);
    reactor->slab_used = 0;
    return reactor->slab;
}

static void frame_handle(struct connection *connection, const struct frame *frame, struct slice bytes)
{
    connection->big = bytes.size >= BIG_FRAME;
    core_connection_frame(connection->core, frame, bytes);
}

/* Is the frame that begins here one the core may be given? -1: no, and the peer has been told. */
static int prefix_check(struct connection *connection, const uint8_t *at, size_t size)
{
    uint64_t announced = frame_size_announced(at, size);
    if (announced == 0 || size < FRAME_PREFIX_SIZE)
        return 0;
    if (announced <= core_connection_frame_max(connection->core, at[6]))
        return 0;
    core_connection_bad(connection->core, WIRE_CRIER_ETOOBIG, at, size);
    return -1;
}

/* What is left in the slab is the beginning of a frame: it moves to a place of its own. */
static int remainder_keep(struct connection *connection, const uint8_t *at, size_t size)
{
    if (prefix_check(connection, at, size) < 0)
        return -1;
    if (size < FRAME_PREFIX_SIZE) {
        memcpy(connection->prefix, at, size);
        connection->prefix_size = size;
        return 0;
    }
    size_t whole = (size_t)frame_size_announced(at, size);
    connection->frame = buffer_create(whole);
    if (!connection->frame) {
        core_connection_bad(connection->core, WIRE_CRIER_ENOMEM, at, size);
        return -1;
    }
    memcpy(connection->frame->data, at, size);
    connection->frame_size = whole;
    connection->frame_filled = size;
    return 0;
}

/* The core takes no more for now: the rest waits. The slab goes on to others, so what is in it gets a place of its own. */
static int rest_hold(struct connection *connection, struct buffer *buffer, uint8_t *at, size_t size)
{
    struct slice rest = {buffer, at, size};
    if (buffer != connection->reactor->slab) {
        connection->held = slice_ref(rest);
        return 0;
    }
    rest.buffer = buffer_create(size);
    if (!rest.buffer) {
        core_connection_bad(connection->core, WIRE_CRIER_ENOMEM, at, size);
        return -1;
    }
    rest.data = memcpy(rest.buffer->data, at, size);
    connection->held = rest;
    return 0;
}

/* Takes the whole frames from what was received last, or from what was held. Returns how many bytes of them stay in use, or -1. */
static int64_t frames_parse(struct connection *connection, struct buffer *slab, uint8_t *at, size_t size)
{
    size_t done = 0;
    while (done < size) {
        struct frame frame;
        int64_t used = frame_decode(at + done, size - done, FRAME_SIZE_MAX, &frame);
        if (used < 0) {
            core_connection_bad(connection->core, (int)used, at + done, size - done);
            return -1;
        }
        if (used == 0)
            break;
        if (connection->paused)
            return rest_hold(connection, slab, at + done, size - done) < 0 ? -1 : (int64_t)done;
        frame_handle(connection, &frame, (struct slice){slab, at + done, (size_t)used});
        if (connection->closing)
            return -1;
        done += (size_t)used;
    }
    if (done < size && remainder_keep(connection, at + done, size - done) < 0)
        return -1;
    return (int64_t)done;
}

/* The frame with a buffer of its own is whole. */
static int own_frame_done(struct connection *connection)
{
    struct buffer *buffer = connection->frame;
    size_t size = connection->frame_size;
    connection->frame = NULL;
    struct frame frame;
    int64_t used = frame_decode(buffer->data, size, FRAME_SIZE_MAX, &frame);
    int rc = 0;
    if (used != (int64_t)size) {
        core_connection_bad(connection->core, used < 0 ? (int)used : WIRE_CRIER_EPROTO, buffer->data, size);
        rc = -1;
    } else {
        frame_handle(connection, &frame, (struct slice){buffer, buffer->data, size});
        rc = connection->closing ? -1 : 0;
    }
    buffer_unref(buffer);
    return rc;
}

/* One readv. Returns the bytes received, 0 when there is nothing more now, -1 when the connection takes no more. */
static ssize_t receive_once(struct connection *connection)
{
    struct reactor *reactor = connection->reactor;
    struct buffer *slab = slab_for(reactor);
    if (!slab) {
        connection_destroy(connection, "out of memory");
        return -1;
    }
    uint8_t *space = slab->data + reactor->slab_used;
    size_t kept = connection->prefix_size;
    memcpy(space, connection->prefix, kept);
    size_t room = slab->capacity - reactor->slab_used - kept;
    if (connection->big && room > BIG_FRAME_PEEK)
        room = BIG_FRAME_PEEK;
    size_t missing = connection->frame ? connection->frame_size - connection->frame_filled : 0;
    struct iovec pieces[2] = {{missing ? connection->frame->data + connection->frame_filled : NULL, missing},
                              {space + kept, room}};
    ssize_t received =
        missing ? readv(connection->fd, pieces, 2) : recv(connection->fd, space + kept, room, 0);
    if (received < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (received <= 0) {
        connection_destroy(connection, received == 0 ? "closed by the client" : strerror(errno));
        return -1;
    }
    core_connection_received(connection->core);
    size_t own = (size_t)received < missing ? (size_t)received : missing;
    size_t rest = (size_t)received - own;
    connection->frame_filled += own;
    if (missing && own == missing && own_frame_done(connection) < 0)
        return -1;
    if (rest == 0)
        return received;
    connection->prefix_size = 0;
    int64_t used = frames_parse(connection, slab, space, kept + rest);
    if (used < 0)
        used = (int64_t)(kept + rest); /* frames before the bad one may be in use */
    reactor->slab_used += ((size_t)used + 7) & ~(size_t)7;
    if (reactor->slab_used > slab->capacity)
        reactor->slab_used = slab->capacity;
    return connection->closing ? -1 : received;
}

static void held_take(struct connection *connection)
{
    struct slice held = connection->held;
    connection->held = (struct slice){0};
    (void)frames_parse(connection, held.buffer, held.data, held.size);
    slice_unref(&held);
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd, (void)what;
    struct connection *connection = ctx;
    reactor_turn_begin(connection->reactor);
    size_t sum = 0;
    if (connection->held.buffer && !connection->paused)
        held_take(connection);
    while (sum < RECEIVE_TURN_MAX && !connection->paused && !connection->closing) {
        ssize_t received = receive_once(connection);
        if (received <= 0)
            return;
        sum += (size_t)received;
        if (received < BIG_FRAME_PEEK)
            return; /* most likely there is no more: the next turn will tell, without a system call */
    }
}

/* ---- out ---- */

static struct slice *chunk_at(struct connection *connection, size_t place)
{
    return &connection->chunks[(connection->chunk_first + place) & (connection->chunk_capacity - 1)];
}

static void chunk_push(struct connection *connection, struct slice chunk)
{
    if (connection->chunk_count == connection->chunk_capacity) {
        size_t capacity = connection->chunk_capacity ? connection->chunk_capacity * 2 : 8;
        struct slice *chunks = malloc(capacity * sizeof(*chunks));
        CHECK(chunks);
        for (size_t i = 0; i < connection->chunk_count; i++)
            chunks[i] = *chunk_at(connection, i);
        free(connection->chunks);
        connection->chunks = chunks;
        connection->chunk_capacity = capacity;
        connection->chunk_first = 0;
    }
    connection->chunk_count++;
    *chunk_at(connection, connection->chunk_count - 1) = slice_ref(chunk);
}

static void mark_dirty(struct connection *connection)
{
    struct reactor *reactor = connection->reactor;
    if (connection->dirty)
        return;
    connection->dirty = true;
    connection->dirty_next = NULL;
    connection->dirty_prev = reactor->dirty_last;
    if (reactor->dirty_last)
        reactor->dirty_last->dirty_next = connection;
    else
        reactor->dirty = connection;
    reactor->dirty_last = connection;
}

static void unmark_dirty(struct connection *connection)
{
    if (!connection->dirty)
        return;
    if (connection->dirty_prev)
        connection->dirty_prev->dirty_next = connection->dirty_next;
    else
        connection->reactor->dirty = connection->dirty_next;
    if (connection->dirty_next)
        connection->dirty_next->dirty_prev = connection->dirty_prev;
    else
        connection->reactor->dirty_last = connection->dirty_prev;
    connection->dirty = false;
}

/* Small frames stand one behind the other in the control buffer: neighbours become one piece of a writev. */
static void control_push(struct connection *connection, const uint8_t *bytes, size_t size)
{
    while (size) {
        if (!connection->control || connection->control_used == connection->control->capacity) {
            buffer_unref(connection->control);
            connection->control = buffer_pool_get(connection->reactor->controls);
            CHECK(connection->control);
            connection->control_used = 0;
        }
        size_t room = connection->control->capacity - connection->control_used;
        size_t now = size < room ? size : room;
        uint8_t *to = connection->control->data + connection->control_used;
        memcpy(to, bytes, now);
        struct slice *last =
            connection->chunk_count ? chunk_at(connection, connection->chunk_count - 1) : NULL;
        if (last && last->buffer == connection->control && last->data + last->size == to)
            last->size += now;
        else
            chunk_push(connection, (struct slice){connection->control, to, now});
        connection->control_used += now;
        bytes += now;
        size -= now;
    }
}

static void ops_send(void *owner, const uint8_t *head, size_t head_size, const struct slice *slices,
                     size_t slice_count)
{
    struct connection *connection = owner;
    control_push(connection, head, head_size);
    for (size_t i = 0; i < slice_count; i++)
        chunk_push(connection, slices[i]);
    if (!connection->write_armed) /* else the socket is full: it says when it is not */
        mark_dirty(connection);
}

static void chunks_consume(struct connection *connection, size_t size)
{
    while (size) {
        struct slice *first = chunk_at(connection, 0);
        if (size < first->size) {
            first->data += size;
            first->size -= size;
            return;
        }
        size -= first->size;
        slice_unref(first);
        connection->chunk_first = (connection->chunk_first + 1) & (connection->chunk_capacity - 1);
        connection->chunk_count--;
    }
}

static void output_release(struct connection *connection)
{
    while (connection->chunk_count)
        chunks_consume(connection, chunk_at(connection, 0)->size);
    buffer_unref(connection->control);
    connection->control = NULL;
}

static ssize_t write_once(struct connection *connection)
{
    struct iovec pieces[WRITE_PIECES];
    size_t count = 0;
    for (size_t left = SEND_ONCE_MAX; left && count < connection->chunk_count && count < WRITE_PIECES;
         count++) {
        const struct slice *chunk = chunk_at(connection, count);
        size_t now = chunk->size < left ? chunk->size : left;
        pieces[count] = (struct iovec){chunk->data, now};
        left -= now;
    }
    if (count == 1) /* one answer, most often: the kernel has less to look at */
        return send(connection->fd, pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL);
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    return sendmsg(connection->fd, &message, MSG_NOSIGNAL);
}

/* Everything is sent. Closing now, with bytes of the peer unread, would reset the connection and destroy the ERROR it
 * has not read yet: so only our side ends, and what still comes is thrown away until it ends too, or for DISCARD_US. */
static void on_discard(evutil_socket_t fd, short what, void *ctx)
{
    (void)what;
    struct connection *connection = ctx;
    reactor_turn_begin(connection->reactor);
    uint8_t nowhere[4096];
    ssize_t received = 0;
    for (int i = 0; i < 64; i++)
        if ((received = read(fd, nowhere, sizeof(nowhere))) <= 0)
            break;
    if (received == 0 || (received < 0 && errno != EAGAIN && errno != EINTR))
        connection_destroy(connection, "closed");
}

static void on_discarded(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd, (void)what;
    struct connection *connection = ctx;
    reactor_turn_begin(connection->reactor);
    connection_destroy(connection, "closed, though it goes on sending");
}

static void half_close(struct connection *connection)
{
    struct timeval linger = {.tv_sec = DISCARD_US / 1000000};
    shutdown(connection->fd, SHUT_WR);
    event_assign(&connection->read_event, connection->reactor->base, connection->fd, EV_READ | EV_PERSIST,
                 on_discard, connection);
    event_add(&connection->read_event, NULL);
    event_assign(&connection->write_event, connection->reactor->base, -1, 0, on_discarded, connection);
    event_add(&connection->write_event, &linger);
}

/* The socket takes no more: it stands in nobody's line until it says that it does. */
static void write_arm(struct connection *connection)
{
    if (!connection->write_armed)
        event_add(&connection->write_event, NULL);
    connection->write_armed = true;
}

static void all_sent(struct connection *connection)
{
    output_release(connection); /* an idle connection keeps no buffer */
    if (connection->write_armed)
        event_del(&connection->write_event);
    connection->write_armed = false;
    if (connection->closing)
        half_close(connection);
}

size_t connection_flush(struct connection *connection)
{
    unmark_dirty(connection);
    if (!connection->chunk_count) {
        all_sent(connection);
        return 0;
    }
    ssize_t sent = write_once(connection);
    if (sent < 0 && errno == EAGAIN) {
        write_arm(connection);
        return 0;
    }
    if (sent < 0 && errno != EINTR) {
        connection_destroy(connection, strerror(errno));
        return 0;
    }
    size_t done = sent < 0 ? 0 : (size_t)sent;
    chunks_consume(connection, done);
    core_connection_sent(connection->core, done);
    if (connection->chunk_count)
        mark_dirty(connection);
    else
        all_sent(connection);
    return done;
}

static void on_writable(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    struct connection *connection = ctx;
    reactor_turn_begin(connection->reactor);
    if ((what & EV_TIMEOUT) ||
        (connection->closing && connection->reactor->mono_us >= connection->close_by_us))
        connection_destroy(connection, "closed, without waiting longer for it to read");
    else
        mark_dirty(connection);
}

/* ---- what the core asks for ---- */

static void ops_close(void *owner)
{
    struct connection *connection = owner;
    connection->closing = true;
    connection->close_by_us = connection->reactor->mono_us + CLOSE_LINGER_US;
    event_del(&connection->read_event);
    struct timeval linger = {.tv_sec = CLOSE_LINGER_US / 1000000};
    event_add(&connection->write_event, &linger);
    connection->write_armed = true;
}

static void ops_pause(void *owner, bool paused)
{
    struct connection *connection = owner;
    if (connection->closing || connection->paused == paused)
        return;
    connection->paused = paused;
    if (paused) {
        event_del(&connection->read_event);
        return;
    }
    event_add(&connection->read_event, NULL);
    if (connection->held.buffer) /* also if nothing more comes */
        event_active(&connection->read_event, EV_READ, 0);
}

static void ops_random(void *ctx, void *to, size_t size)
{
    (void)ctx;
    int rc = random_system(to, size);
    CHECK(rc == 0);
}

static void ops_log(void *ctx, enum log_level level, const char *id, const char *text)
{
    const struct reactor *reactor = ctx;
    if (log_enabled(reactor->log, level))
        log_line(reactor->log, level, id, "%s", text);
}

const struct core_ops reactor_core_ops = {
    .send = ops_send, .close = ops_close, .pause = ops_pause, .random = ops_random, .log = ops_log};

/* ---- life ---- */

static struct connection *connection_create(struct reactor *reactor, int fd, const char *peer)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    if (!connection) {
        close(fd);
        return NULL;
    }
    connection->reactor = reactor;
    connection->fd = fd;
    snprintf(connection->peer, sizeof(connection->peer), "%s", peer);
    connection->core = core_connection_open(reactor->core, connection, peer);
    if (!connection->core) {
        close(fd);
        free(connection);
        return NULL;
    }
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on,
                     sizeof(on)); /* fails on UNIX sockets, which need none */
    event_assign(&connection->read_event, reactor->base, fd, EV_READ | EV_PERSIST, on_readable, connection);
    event_assign(&connection->write_event, reactor->base, fd, EV_WRITE | EV_PERSIST, on_writable, connection);
    event_add(&connection->read_event, NULL);
    connection->next = reactor->connections;
    if (reactor->connections)
        reactor->connections->prev = connection;
    reactor->connections = connection;
    return connection;
}

void connection_accept(struct reactor *reactor, int fd, const char *peer)
{
    if (connection_create(reactor, fd, peer))
        reactor->connection_count++;
}

void connection_turn_away(struct reactor *reactor, int fd, const char *peer, const char *why)
{
    struct connection *connection = connection_create(reactor, fd, peer);
    if (!connection)
        return;
    connection->turned_away = true;
    reactor->turned_away_count++;
    core_connection_turn_away(connection->core, why);
}

void connection_destroy(struct connection *connection, const char *reason)
{
    struct reactor *reactor = connection->reactor;
    connection->closing = true; /* the core may still ask for a pause while it says goodbye */
    core_connection_close(connection->core, reason);
    unmark_dirty(connection);
    event_del(&connection->read_event);
    event_del(&connection->write_event);
    close(connection->fd);
    output_release(connection);
    free(connection->chunks);
    buffer_unref(connection->frame);
    slice_unref(&connection->held);
    if (connection->prev)
        connection->prev->next = connection->next;
    else
        reactor->connections = connection->next;
    if (connection->next)
        connection->next->prev = connection->prev;
    if (connection->turned_away)
        reactor->turned_away_count--;
    else
        reactor->connection_count--;
    free(connection);
}
