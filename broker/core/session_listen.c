/* session_listen.c: LISTEN to ENDED: a listener's life, its credit and its group's positions.
 *
 * Happy path:  LISTEN → topic described (and created, if asked) → start offsets found (by time: looked up) → group
 *              joined (first positions durable) → LISTENING → delivery.c
 * Failures:    no such topic, a busy group, a damaged log: ENDED with the code; the connection stays. A listener whose
 *              connection closes leaves its group at once. A COMMIT of an older generation is fenced. */
#include "broker/core/session_internal.h"

/* ---- LISTEN, step by step ---- */

static struct listener *listener_find(struct core_connection *connection, uint32_t id)
{
    struct listener *listener = NULL;
    HASH_FIND(hh, connection->listeners, &id, sizeof(id), listener);
    return listener;
}

static uint64_t listener_token(const struct listener *listener)
{
    return TOKEN_LISTENER | (uint64_t)listener->serial << 32 | listener->id;
}

/* The listener a token was made for; NULL: gone, or its number has been given to another. */
static struct listener *listener_by_token(struct core_connection *connection, uint64_t token)
{
    struct listener *listener = listener_find(connection, (uint32_t)token);
    return listener && listener_token(listener) == token ? listener : NULL;
}

static void ended_send(struct core_connection *connection, uint32_t id, int code, const char *text)
{
    Wire__Ended ended = WIRE__ENDED__INIT;
    ended.listener = id;
    ended.code = code;
    ended.text = (char *)text;
    connection_send(connection, FRAME_ENDED, &ended.base, NULL, 0);
}

void listener_destroy(struct listener *listener)
{
    struct core_connection *connection = listener->connection;
    struct session *session = connection->session;
    if (listener->group && listener->state >= LISTENER_JOINING) {
        struct shard_request leave = {.kind = SHARD_LEAVE,
                                      .token = {connection->id, listener_token(listener)},
                                      .group = listener->group};
        shard_submit(session->shard, &leave);
    }
    for (uint32_t i = 0; i < listener->cursor_count; i++)
        cursor_detach(&listener->cursors[i]);
    if (listener->queued)
        DL_DELETE2(connection->deliverable, listener, queue_prev, queue_next);
    if (listener->state != LISTENER_ACTIVE)
        connection_unanswered(connection, -1);
    HASH_DEL(connection->listeners, listener);
    session->listener_count--;
    free(listener->cursors);
    free(listener->resume);
    free(listener->group);
    free(listener->topic);
    free(listener);
}

void listener_end(struct listener *listener, int code, const char *text)
{
    ended_send(listener->connection, listener->id, code, text);
    listener_destroy(listener);
}

static void listening_send(struct listener *listener)
{
    uint32_t count = listener->cursor_count;
    Wire__ListenPartition *partitions = core_alloc(count * sizeof(*partitions));
    Wire__ListenPartition **pointers = core_alloc(count * sizeof(Wire__ListenPartition *));
    for (uint32_t i = 0; i < count; i++) {
        const struct cursor *cursor = &listener->cursors[i];
        wire__listen_partition__init(&partitions[i]);
        partitions[i].partition = cursor->view->id;
        partitions[i].next = cursor->next;
        partitions[i].high_watermark = cursor->view->high_watermark;
        partitions[i].log_start = cursor->view->log_start;
        pointers[i] = &partitions[i];
    }
    Wire__Listening message = WIRE__LISTENING__INIT;
    message.listener = listener->id;
    message.partitions = pointers;
    message.n_partitions = count;
    message.generation = listener->generation;
    connection_send(listener->connection, FRAME_LISTENING, &message.base, NULL, 0);
    free(pointers);
    free(partitions);
}

static void listener_activate(struct listener *listener)
{
    connection_unanswered(listener->connection, -1);
    listener->state = LISTENER_ACTIVE;
    for (uint32_t i = 0; i < listener->cursor_count; i++)
        if (!listener->group && listener->from == WIRE__FROM__LIVE && !listener->resume_count)
            listener->cursors[i].next =
                listener->cursors[i].view->high_watermark; /* live starts here, not earlier */
    listening_send(listener);
    for (uint32_t i = 0; i < listener->cursor_count; i++)
        cursor_wake(&listener->cursors[i]);
}

static void listener_join(struct listener *listener)
{
    struct position *positions = core_alloc(listener->cursor_count * sizeof(*positions));
    for (uint32_t i = 0; i < listener->cursor_count; i++)
        positions[i] = (struct position){listener->cursors[i].view->id, listener->cursors[i].next};
    struct shard_request join = {.kind = SHARD_JOIN,
                                 .token = {listener->connection->id, listener_token(listener)},
                                 .name = listener->topic,
                                 .group = listener->group,
                                 .positions = positions,
                                 .position_count = listener->cursor_count};
    listener->state = LISTENER_JOINING;
    shard_submit(listener->connection->session->shard, &join);
    free(positions);
}

static uint64_t resume_offset(const struct listener *listener, uint64_t partition)
{
    for (size_t i = 0; i < listener->resume_count; i++)
        if (listener->resume[i].partition == partition)
            return listener->resume[i].offset;
    return UINT64_MAX;
}

/* Every cursor knows its start by now. */
static void listener_resolved(struct listener *listener)
{
    if (listener->group) {
        listener_join(listener);
        return;
    }
    for (uint32_t i = 0; i < listener->cursor_count; i++) {
        uint64_t resume = resume_offset(listener, listener->cursors[i].view->id);
        if (resume != UINT64_MAX)
            listener->cursors[i].next = resume;
    }
    listener_activate(listener);
}

/* ---- start by time ---- */

struct time_lookup {
    struct store_lookup lookup;
    struct time_lookup *prev, *next; /* all that the store holds */
    struct session *session;
    uint64_t connection, listener; /* as in a token */
    uint32_t cursor;
};

static void lookup_done(struct store_lookup *lookup, void *ctx)
{
    struct time_lookup *done = ctx;
    DL_DELETE(done->session->lookups, done);
    struct core_connection *connection = session_find(done->session, done->connection);
    struct listener *listener = connection ? listener_by_token(connection, done->listener) : NULL;
    uint32_t place = done->cursor;
    int status = lookup->status;
    bool found = lookup->found;
    uint64_t offset = lookup->offset;
    free(done);
    if (!listener || listener->state != LISTENER_LOOKUP)
        return;
    listener->lookups--;
    if (status < 0) {
        listener_end(listener, status, "the log could not be searched by time");
        return;
    }
    struct cursor *cursor = &listener->cursors[place];
    cursor->next = found ? offset : cursor->view->high_watermark;
    if (listener->lookups == 0)
        listener_resolved(listener);
}

static int lookup_start(struct listener *listener, uint32_t place)
{
    struct core_connection *connection = listener->connection;
    struct session *session = connection->session;
    struct time_lookup *lookup = core_alloc(sizeof(*lookup));
    lookup->session = session;
    lookup->connection = connection->id;
    lookup->listener = listener_token(listener);
    lookup->cursor = place;
    lookup->lookup = (struct store_lookup){.done = lookup_done,
                                           .ctx = lookup,
                                           .partition = listener->cursors[place].view->id,
                                           .time_us = listener->from_value};
    int rc = session->store->ops->lookup(session->store, &lookup->lookup);
    if (rc < 0) {
        free(lookup);
        return rc;
    }
    DL_APPEND(session->lookups, lookup);
    listener->lookups++;
    return 0;
}

void lookups_destroy(struct session *session)
{
    struct time_lookup *lookup, *next;
    DL_FOREACH_SAFE (session->lookups, lookup, next)
        free(lookup);
    session->lookups = NULL;
}

static void listener_lookup(struct listener *listener)
{
    listener->state = LISTENER_LOOKUP;
    for (uint32_t i = 0; i < listener->cursor_count; i++) {
        int rc = lookup_start(listener, i);
        if (rc < 0) {
            listener_end(listener, WIRE_CRIER_ELIMIT, "too many lookups are waiting; try again");
            return;
        }
    }
}

/* ---- the topic is known ---- */

static uint64_t start_offset(const struct listener *listener, const struct view *view)
{
    uint64_t offset = view->high_watermark;
    if (listener->from == WIRE__FROM__EARLIEST)
        offset = view->log_start;
    else if (listener->from == WIRE__FROM__OFFSET)
        offset = (uint64_t)listener->from_value;
    return offset < view->log_start ? view->log_start : offset;
}

static void listener_topic(struct listener *listener, const struct topic_info *topic)
{
    listener->cursors = core_alloc(topic->partition_count * sizeof(struct cursor));
    listener->cursor_count = topic->partition_count;
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        struct view *view = view_find(listener->connection->session, topic->partitions[i].id);
        CHECK(view);
        listener->cursors[i].listener = listener;
        cursor_attach(&listener->cursors[i], view);
        listener->cursors[i].next = start_offset(listener, view);
    }
    if (listener->from == WIRE__FROM__TIME)
        listener_lookup(listener);
    else
        listener_resolved(listener);
}

static void listener_joined(struct listener *listener, const struct shard_reply *reply)
{
    listener->generation = reply->generation;
    CHECK(reply->position_count == listener->cursor_count);
    for (uint32_t i = 0; i < listener->cursor_count; i++) {
        struct cursor *cursor = &listener->cursors[i];
        uint64_t resume = resume_offset(listener, cursor->view->id);
        cursor->next = reply->positions[i].offset;
        if (resume != UINT64_MAX &&
            resume > cursor->next) /* handled before the reconnect, not committed yet */
            cursor->next = resume;
    }
    listener_activate(listener);
}

void listener_replied(struct core_connection *connection, const struct shard_reply *reply)
{
    struct listener *listener = listener_by_token(connection, reply->token.request);
    if (!listener || listener->state == LISTENER_ACTIVE)
        return;
    if (reply->code)
        listener_end(listener, reply->code, error_text(reply->code));
    else if (reply->kind == SHARD_JOINED)
        listener_joined(listener, reply);
    else
        listener_topic(listener, &reply->topics[0]);
}

/* ---- frames ---- */

static const char *listen_problem(struct core_connection *connection, const Wire__Listen *message)
{
    if (!text_valid(message->topic, TOPIC_NAME_MAX))
        return "a topic name is 1 to 255 bytes of printable UTF-8";
    if (message->group[0] && !text_valid(message->group, GROUP_NAME_MAX))
        return "a group name is 1 to 255 bytes of printable UTF-8";
    if (message->from > WIRE__FROM__TIME || message->from_value < 0)
        return "from is live, earliest, an offset or a time";
    if (HASH_COUNT(connection->listeners) >= LISTENERS_MAX)
        return "too many listeners on one connection";
    return NULL;
}

static struct listener *listener_create(struct core_connection *connection, const Wire__Listen *message)
{
    struct listener *listener = core_alloc(sizeof(*listener));
    listener->id = message->listener;
    listener->serial = ++connection->session->listener_last & INT32_MAX;
    listener->connection = connection;
    listener->topic = core_strdup(message->topic);
    listener->group = message->group[0] ? core_strdup(message->group) : NULL;
    listener->from = message->from;
    listener->from_value = message->from_value;
    listener->credit = message->credit;
    listener->resume_count = message->n_resume;
    if (message->n_resume)
        listener->resume = core_alloc(message->n_resume * sizeof(struct position));
    for (size_t i = 0; i < message->n_resume; i++)
        listener->resume[i] = (struct position){message->resume[i]->partition, message->resume[i]->offset};
    HASH_ADD(hh, connection->listeners, id, sizeof(listener->id), listener);
    connection->session->listener_count++;
    connection_unanswered(connection, +1);
    return listener;
}

void frame_listen(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    struct session *session = connection->session;
    const Wire__Listen *message = frame_unpack(connection, &wire__listen__descriptor, frame);
    if (!message)
        return;
    if (message->listener == 0 || listener_find(connection, message->listener)) {
        connection_refuse(connection, WIRE_CRIER_EPROTO, "LISTEN %u: this number is 0 or in use",
                          message->listener);
        return;
    }
    const char *problem = listen_problem(connection, message);
    if (problem) {
        ended_send(connection, message->listener, WIRE_CRIER_EINVAL, problem);
        return;
    }
    if (session->draining) {
        ended_send(connection, message->listener, WIRE_CRIER_ESHUTDOWN, error_text(WIRE_CRIER_ESHUTDOWN));
        return;
    }
    struct listener *listener = listener_create(connection, message);
    struct shard_request request = {.kind = SHARD_TOPIC_DESCRIBE,
                                    .token = {connection->id, listener_token(listener)},
                                    .name = listener->topic,
                                    .create = message->create,
                                    .memory = session->config.durability_memory};
    session->ops->random(session->ops_ctx, request.topic_id, TOPIC_ID_SIZE);
    shard_submit(session->shard, &request);
}

void frame_unlisten(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__Unlisten *message = frame_unpack(connection, &wire__unlisten__descriptor, frame);
    if (!message)
        return;
    struct listener *listener = listener_find(connection, message->listener);
    if (listener) /* else it has ended by itself, and the client knows or will */
        listener_end(listener, 0, "");
}

void frame_credit(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__Credit *message = frame_unpack(connection, &wire__credit__descriptor, frame);
    if (!message)
        return;
    struct listener *listener = listener_find(connection, message->listener);
    if (!listener)
        return; /* ended meanwhile */
    if (message->total < listener->credit) {
        connection_refuse(connection, WIRE_CRIER_EPROTO, "the credit of listener %u goes back",
                          message->listener);
        return;
    }
    listener->credit = message->total;
    listener_wake(listener);
}

static void committed_send(struct core_connection *connection, uint64_t request, int code)
{
    Wire__Committed committed = WIRE__COMMITTED__INIT;
    committed.request = request;
    committed.code = code;
    committed.text = (char *)(code ? error_text(code) : "");
    connection_send(connection, FRAME_COMMITTED, &committed.base, NULL, 0);
}

void frame_commit(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__Commit *message = frame_unpack(connection, &wire__commit__descriptor, frame);
    if (!message)
        return;
    const struct listener *listener = listener_find(connection, message->listener);
    if (!listener || !listener->group || listener->state != LISTENER_ACTIVE ||
        listener->generation != message->generation) {
        committed_send(connection, message->request, WIRE_CRIER_EFENCED);
        return;
    }
    struct position *positions = core_alloc((message->n_positions + 1) * sizeof(*positions));
    for (size_t i = 0; i < message->n_positions; i++)
        positions[i] = (struct position){message->positions[i]->partition, message->positions[i]->offset};
    struct shard_request request = {.kind = SHARD_COMMIT,
                                    .token = {connection->id, message->request},
                                    .group = listener->group,
                                    .generation = listener->generation,
                                    .positions = positions,
                                    .position_count = message->n_positions};
    connection_unanswered(connection, +1);
    shard_submit(connection->session->shard, &request);
    free(positions);
}

void committed_replied(struct core_connection *connection, const struct shard_reply *reply)
{
    committed_send(connection, reply->token.request, reply->code);
    connection_unanswered(connection, -1);
}
