/* session_listen.c: LISTEN to ENDED: a listener's life, its credit and its group's positions.
 *
 * Happy path:  LISTEN → topic described (and created, if asked) → start offsets found (by time: looked up) → group
 *              joined (first positions durable) → LISTENING → delivery.c. A pattern: see session_pattern.c
 * Failures:    no such topic, a damaged log, a disk that cannot take a first position: ENDED with the code; the connection stays. A listener whose
 *              connection closes leaves its group at once. A COMMIT of an older generation is fenced. */
#include "broker/core/session_internal.h"

/* ---- LISTEN, step by step ---- */

struct listener *listener_find(struct core_connection *connection, uint32_t id)
{
    struct listener *listener = NULL;
    HASH_FIND(hh, connection->listeners, &id, sizeof(id), listener);
    return listener;
}

static void lookup_leave_line(struct listener *listener);

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
        if (listener->sharing)
            sharing_leave(listener, &leave);
        shard_submit(session->shard, &leave);
    }
    while (listener->cursors)
        cursor_destroy(listener->cursors);
    if (listener->queued)
        DL_DELETE2(connection->deliverable, listener, queue_prev, queue_next);
    lookup_leave_line(listener);
    if (inbox_is_one(listener->topic))
        inbox_leave(session, listener->topic);
    else if (presence_is_one(listener->topic))
        presence_leave(session, listener->topic);
    trie_remove(&session->patterns, &listener->pattern);
    if (listener->state != LISTENER_ACTIVE)
        connection_unanswered(connection, -1);
    HASH_DEL(connection->listeners, listener);
    session->listener_count--;
    sharing_destroy(listener);
    free(listener->starts);
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

struct cursor *listener_cursor(struct listener *listener, uint64_t partition)
{
    struct cursor *cursor = listener->cursors;
    while (cursor && cursor->view->id != partition)
        cursor = cursor->next_own;
    return cursor;
}

static bool position_listed(const struct position *positions, size_t count, uint64_t partition)
{
    for (size_t i = 0; i < count; i++)
        if (positions[i].partition == partition)
            return true;
    return false;
}

void listen_partition_fill(const struct cursor *cursor, Wire__ListenPartition *to)
{
    const struct view *view = cursor->view;
    wire__listen_partition__init(to);
    to->partition = view->id;
    to->next = cursor->next;
    to->high_watermark = view->high_watermark;
    to->log_start = view->log_start;
    to->index = view->index;
    to->ephemeral = view->topic->ephemeral;
    if (cursor->listener->pattern.node)
        to->topic = view->topic->name;
}

Wire__ListenPartition **listen_partitions(struct listener *listener, const struct position *only,
                                          size_t *ret_count, Wire__ListenPartition **ret_block)
{
    size_t count = 0, used = 0;
    struct cursor *cursor;
    DL_FOREACH2(listener->cursors, cursor, next_own)
    count++;
    Wire__ListenPartition *block = core_alloc((count + 1) * sizeof(*block));
    Wire__ListenPartition **pointers = core_alloc((count + 1) * sizeof(Wire__ListenPartition *));
    DL_FOREACH2(listener->cursors, cursor, next_own)
    {
        if (only && !position_listed(only, *ret_count, cursor->view->id))
            continue;
        listen_partition_fill(cursor, &block[used]);
        pointers[used] = &block[used];
        used++;
    }
    *ret_count = used;
    *ret_block = block;
    return pointers;
}

static void listening_send(struct listener *listener)
{
    size_t count = 0;
    Wire__ListenPartition *block;
    Wire__ListenPartition **partitions = listen_partitions(listener, NULL, &count, &block);
    Wire__Listening message = WIRE__LISTENING__INIT;
    message.listener = listener->id;
    message.partitions = partitions;
    message.n_partitions = count;
    message.generation = listener->generation;
    struct who who = {.count = 0};
    if (listener->one_too_many && listener->cursors) {
        who_find(listener->cursors->view->topic, &who);
        message.listeners = listener->cursors->view->topic->listener_count;
        message.who = who.pointers;
        message.n_who = who.count;
    }
    listener->one_too_many = false;
    connection_send(listener->connection, FRAME_LISTENING, &message.base, NULL, 0);
    free(partitions);
    free(block);
}

/* positions: what it listens to. */
static void listener_activate(struct listener *listener, const struct position *positions, size_t count)
{
    connection_unanswered(listener->connection, -1);
    listener->state = LISTENER_ACTIVE;
    for (size_t i = 0; i < count; i++)
        cursor_create(listener, positions[i].partition, positions[i].offset);
    free(listener->starts);
    listener->starts = NULL;
    if (listener->pattern.node)
        pattern_listening(listener);
    else
        listening_send(listener);
    struct cursor *cursor;
    if (listener->sharing)
        sharing_begin(listener);
    DL_FOREACH2(listener->cursors, cursor, next_own)
    cursor_wake(cursor);
}

static void listener_join(struct listener *listener)
{
    struct core_connection *connection = listener->connection;
    struct shard_request join = {.kind = SHARD_JOIN,
                                 .token = {connection->id, listener_token(listener)},
                                 .name = listener->topic,
                                 .group = listener->group,
                                 .member = connection->name,
                                 .positions = listener->starts,
                                 .position_count = listener->start_count};
    listener->state = LISTENER_JOINING;
    if (listener->sharing)
        sharing_join(listener, &join);
    shard_submit(connection->session->shard, &join);
}

static uint64_t resume_offset(const struct listener *listener, uint64_t partition)
{
    for (size_t i = 0; i < listener->resume_count; i++)
        if (listener->resume[i].partition == partition)
            return listener->resume[i].offset;
    return UINT64_MAX;
}

/* Every partition's start is known by now. */
static void listener_resolved(struct listener *listener)
{
    if (listener->group) {
        listener_join(listener);
        return;
    }
    for (size_t i = 0; i < listener->start_count; i++) {
        struct position *start = &listener->starts[i];
        uint64_t resume = resume_offset(listener, start->partition);
        if (resume != UINT64_MAX)
            start->offset = resume;
        else if (listener->from == WIRE__FROM__LIVE &&
                 !listener->again) /* not when the topic was looked up */
            start->offset = view_find(listener->connection->session, start->partition)->high_watermark;
    }
    listener_activate(listener, listener->starts, listener->start_count);
}

/* ---- start by time ---- */

/* One lookup at a time for a listener, LOOKUPS_IN_FLIGHT_MAX for all: the store's queue is shared with the reads. */
struct time_lookup {
    struct store_lookup lookup;
    struct time_lookup *prev, *next; /* all that the store holds */
    struct session *session;
    uint64_t connection, listener; /* as in a token */
};

static void lookup_done(struct store_lookup *lookup, void *ctx);

static void lookup_start(struct listener *listener)
{
    struct core_connection *connection = listener->connection;
    struct session *session = connection->session;
    struct time_lookup *lookup = core_alloc(sizeof(*lookup));
    lookup->session = session;
    lookup->connection = connection->id;
    lookup->listener = listener_token(listener);
    lookup->lookup = (struct store_lookup){.done = lookup_done,
                                           .ctx = lookup,
                                           .partition = listener->starts[listener->looked_up].partition,
                                           .time_us = listener->from_value};
    DL_APPEND(session->lookups, lookup);
    session->lookups_in_flight++;
    int rc = session->store->ops->lookup(session->store, &lookup->lookup);
    CHECK(rc == 0); /* the store takes LOOKUPS_IN_FLIGHT_MAX + READS_IN_FLIGHT_MAX and more */
}

/* The next partition's lookup, now or in line; after the last one the listener knows where it starts. */
static void listener_lookup(struct listener *listener)
{
    struct session *session = listener->connection->session;
    listener->state = LISTENER_LOOKUP;
    while (listener->looked_up < listener->start_count && /* nothing to look up there */
           view_find(session, listener->starts[listener->looked_up].partition)->topic->ephemeral)
        listener->looked_up++;
    if (listener->looked_up == listener->start_count) {
        listener_resolved(listener);
    } else if (session->lookups_in_flight < LOOKUPS_IN_FLIGHT_MAX) {
        lookup_start(listener);
    } else {
        listener->lookup_waits = true;
        DL_APPEND2(session->lookup_waiting, listener, queue_prev, queue_next);
    }
}

static void lookup_leave_line(struct listener *listener)
{
    if (listener->lookup_waits)
        DL_DELETE2(listener->connection->session->lookup_waiting, listener, queue_prev, queue_next);
    listener->lookup_waits = false;
}

static void lookup_answered(struct listener *listener, int status, bool found, uint64_t offset)
{
    struct position *start = &listener->starts[listener->looked_up++];
    if (status < 0) {
        listener_end(listener, status, "the log could not be searched by time");
        return;
    }
    const struct view *view = view_find(listener->connection->session, start->partition);
    start->offset = found ? offset : view->high_watermark;
    if (start->offset < view->log_start) /* the store still has what is gone for others */
        start->offset = view->log_start;
    listener_lookup(listener);
}

static void lookup_done(struct store_lookup *lookup, void *ctx)
{
    struct time_lookup *done = ctx;
    struct session *session = done->session;
    DL_DELETE(session->lookups, done);
    session->lookups_in_flight--;
    if (session->lookup_waiting) { /* its turn comes before the next of whoever was answered just now */
        struct listener *waiting = session->lookup_waiting;
        lookup_leave_line(waiting);
        lookup_start(waiting);
    }
    struct core_connection *connection = session_find(session, done->connection);
    struct listener *listener = connection ? listener_by_token(connection, done->listener) : NULL;
    if (listener && listener->state == LISTENER_LOOKUP)
        lookup_answered(listener, lookup->status, lookup->found, lookup->offset);
    free(done);
}

void lookups_destroy(struct session *session)
{
    struct time_lookup *lookup, *next;
    DL_FOREACH_SAFE (session->lookups, lookup, next)
        free(lookup);
    session->lookups = NULL;
}

/* ---- the topic is known ---- */

static uint64_t start_offset(const struct listener *listener, const struct view *view)
{
    uint64_t offset = view->high_watermark;
    if (listener->from == WIRE__FROM__EARLIEST || listener->again)
        offset = view->log_start;
    else if (listener->from == WIRE__FROM__OFFSET)
        offset = (uint64_t)listener->from_value;
    return offset < view->log_start ? view->log_start : offset;
}

void listener_start(struct listener *listener, const struct view *view)
{
    listener->starts = core_grow(listener->starts, listener->start_count, &listener->start_capacity,
                                 sizeof(listener->starts[0]));
    listener->starts[listener->start_count++] = (struct position){view->id, start_offset(listener, view)};
}

static void listener_started(struct listener *listener)
{
    if (listener->from == WIRE__FROM__TIME && !listener->again)
        listener_lookup(listener);
    else
        listener_resolved(listener);
}

static void listener_topic(struct listener *listener, const struct topic_info *topic)
{
    const char *problem = topic->ephemeral ? ephemeral_problem(listener) : NULL;
    if (problem) {
        listener_end(listener, WIRE_CRIER_ENOTSUP, problem);
        return;
    }
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        const struct view *view = view_find(listener->connection->session, topic->partitions[i].id);
        CHECK(view);
        listener_start(listener, view);
    }
    listener_started(listener);
}

/* An inbox, or who listens: in no catalogue, so there is nothing to wait for. */
static bool is_unlisted(const char *topic)
{
    return inbox_is_one(topic) || presence_is_one(topic);
}

static bool is_pattern(const char *topic)
{
    return trie_is_pattern(topic) && !presence_is_one(topic);
}

static void listener_unlisted(struct listener *listener)
{
    struct session *session = listener->connection->session;
    const struct topic_view *inbox = inbox_is_one(listener->topic) ? inbox_open(session, listener->topic)
                                                                   : presence_open(session, listener->topic);
    const char *problem = inbox ? ephemeral_problem(listener)
                                : "an inbox has fifteen hexadecimal digits; $presence. a topic or a pattern";
    if (problem) {
        listener_end(listener, inbox ? WIRE_CRIER_ENOTSUP : WIRE_CRIER_EINVAL, problem);
        return;
    }
    listener_start(listener, &inbox->views[0]);
    listener_started(listener);
}

static void listener_joined(struct listener *listener, const struct shard_reply *reply)
{
    struct position *positions = core_alloc((reply->position_count + 1) * sizeof(*positions));
    listener->generation = reply->generation;
    for (size_t i = 0; i < reply->position_count; i++) {
        uint64_t resume = resume_offset(listener, reply->positions[i].partition);
        positions[i] = reply->positions[i];
        if (!listener->sharing && resume != UINT64_MAX &&
            resume > positions[i].offset) /* handled before a reconnect, not committed yet */
            positions[i].offset = resume;
    }
    listener_activate(listener, positions, reply->position_count);
    free(positions);
}

void listener_replied(struct core_connection *connection, const struct shard_reply *reply)
{
    struct listener *listener = listener_by_token(connection, reply->token.request);
    if (!listener)
        return;
    if (reply->code == WIRE_CRIER_EINVAL && reply->kind == SHARD_JOINED)
        listener_end(listener, reply->code,
                     "the group is of another kind, or the topic has no dead-letter topic");
    else if (reply->code)
        listener_end(listener, reply->code, error_text(reply->code));
    else if (reply->kind == SHARD_JOINED)
        listener_joined(listener, reply);
    else if (reply->kind == SHARD_LEASED)
        listener_leased(listener, reply);
    else if (reply->kind == SHARD_UNLEASED)
        listener_unleased(listener, reply);
    else if (reply->kind == SHARD_ASSIGNED)
        listener_assigned(listener, reply);
    else if (reply->kind == SHARD_REVOKED)
        listener_revoked(listener, reply);
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
    if (message->slow > WIRE__SLOW__DISCONNECT || message->queue_size > QUEUE_SIZE_MAX)
        return "a slow listener drops the oldest or the newest events or is disconnected; its queue has 64 "
               "MiB at most";
    if (HASH_COUNT(connection->listeners) >= LISTENERS_MAX)
        return "too many listeners on one connection";
    if (sharing_problem(message))
        return sharing_problem(message);
    return is_pattern(message->topic) ? pattern_problem(message) : NULL;
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
    listener->slow = message->slow;
    listener->queue_max = message->queue_size ? (size_t)message->queue_size : QUEUE_SIZE;
    listener->again = message->again && is_pattern(message->topic);
    uint32_t timeout_ms = message->session_timeout_ms ? message->session_timeout_ms : SESSION_TIMEOUT_MS;
    listener->session_timeout_us = timeout_ms * INT64_C(1000);
    listener->resume_count = message->n_resume;
    if (message->n_resume)
        listener->resume = core_alloc(message->n_resume * sizeof(struct position));
    for (size_t i = 0; i < message->n_resume; i++)
        listener->resume[i] = (struct position){message->resume[i]->partition, message->resume[i]->offset};
    sharing_create(listener, message);
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
    if (session->listener_count >= session->config.listeners_max) {
        ended_send(connection, message->listener, WIRE_CRIER_EQUOTA,
                   "the broker has as many listeners as it may (listeners-max): end some, or raise it");
        return;
    }
    struct listener *listener = listener_create(connection, message);
    if (is_unlisted(listener->topic)) {
        listener_unlisted(listener);
        return;
    }
    if (is_pattern(listener->topic)) {
        if (pattern_begin(listener))
            listener_started(listener);
        return;
    }
    struct shard_request request = {.kind = SHARD_TOPIC_DESCRIBE,
                                    .token = {connection->id, listener_token(listener)},
                                    .name = listener->topic,
                                    .create = message->create,
                                    .ephemeral = message->ephemeral,
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
    if (!listener)
        return; /* it has ended by itself, and the client knows or will */
    listener->unlistened = true;
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
    sharing_ask(listener);
}
