/* session.c: connections: from HELLO to the end, the table of frames, and the clock's part.
 *
 * Happy path:  HELLO → a producer id from the shard → WELCOME → frames by table → close
 * Failures:    a frame that breaks a rule (bytes, state, limits): ERROR with code and text, then close.
 *              Silence: PING after ping_interval, close after idle_timeout. A peer that sends and does not read: paused,
 *              then closed. The connection's listeners leave their groups with it. */
#include "broker/core/session_internal.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- small things ---- */

void session_log(struct session *session, enum log_level level, const char *id, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    session->ops->log(session->ops_ctx, level, id, text);
}

static const char *display_name(const struct core_connection *connection)
{
    return connection->name[0] ? connection->name : "unnamed";
}

struct core_connection *session_find(struct session *session, uint64_t connection_id)
{
    struct core_connection *connection = NULL;
    HASH_FIND(hh, session->connections, &connection_id, sizeof(connection_id), connection);
    return connection;
}

/* ---- states ---- */

static void connection_enter(struct core_connection *connection, enum connection_state next)
{
#define BIT(state) (1u << (state))
    static const unsigned allowed[CONNECTION_STATES] = {
        [CONNECTION_HELLO] = BIT(CONNECTION_WELCOMING) | BIT(CONNECTION_CLOSING),
        [CONNECTION_WELCOMING] = BIT(CONNECTION_READY) | BIT(CONNECTION_CLOSING),
        [CONNECTION_READY] = BIT(CONNECTION_CLOSING),
    };
    CHECK(allowed[connection->state] & BIT(next));
    connection->state = next;
}

/* Nothing is taken or delivered any more. Its listeners end now, not when its last bytes are out: groups go on. */
static void connection_wind_up(struct core_connection *connection)
{
    struct listener *listener, *next;
    connection_enter(connection, CONNECTION_CLOSING);
    HASH_ITER (hh, connection->listeners, listener, next)
        listener_destroy(listener);
    connection->session->ops->close(connection->owner);
}

void connection_refuse(struct core_connection *connection, int code, const char *format, ...)
{
    if (connection->state == CONNECTION_CLOSING)
        return;
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    struct session *session = connection->session;
    session_log(session, LOG_LEVEL_WARN, "SESSION-REFUSED", "connection %llu (%s, %s): %s: %s; closing",
                (unsigned long long)connection->id, connection->peer, display_name(connection),
                error_name(code), text);
    Wire__Error error = WIRE__ERROR__INIT;
    error.code = code;
    error.retriable = error_retriable(code);
    error.text = text;
    connection_send(connection, FRAME_ERROR, &error.base, NULL, 0);
    connection_wind_up(connection);
}

/* Reading stops while too much is unanswered, or unsent: both are the peer's to change. */
void connection_unanswered(struct core_connection *connection, int change)
{
    connection->unanswered = (uint32_t)((int)connection->unanswered + change);
    uint64_t unsent = connection->output_queued - connection->output_sent;
    bool paused = connection->paused
                      ? connection->unanswered >= UNANSWERED_MAX / 2 || unsent > OUTPUT_RESUME_BYTES
                      : connection->unanswered >= UNANSWERED_MAX || unsent > OUTPUT_PAUSE_BYTES;
    if (paused == connection->paused)
        return;
    connection->paused = paused;
    connection->paused_us = connection->session->mono_us;
    if (!paused)
        connection->received_us = connection->session->mono_us; /* nobody has looked whether it is silent */
    connection->session->ops->pause(connection->owner, paused);
}

/* ---- frames every connection may send ---- */

void *frame_unpack(struct core_connection *connection, const ProtobufCMessageDescriptor *type,
                   const struct frame *frame)
{
    struct session *session = connection->session;
    arena_reset(&session->arena);
    void *message =
        protobuf_c_message_unpack(type, &session->arena.allocator, frame->header_size, frame->header);
    if (!message)
        connection_refuse(connection, WIRE_CRIER_EPROTO, "the header of %s cannot be read",
                          frame_kind_name(frame->kind));
    return message;
}

static void frame_hello(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    Wire__Hello *hello = frame_unpack(connection, &wire__hello__descriptor, frame);
    if (!hello)
        return;
    if (hello->version != WIRE_VERSION) {
        connection_refuse(connection, WIRE_CRIER_EVERSION,
                          "you speak protocol version %u, this broker speaks %u", hello->version,
                          WIRE_VERSION);
        return;
    }
    if (hello->name[0] && !text_valid(hello->name, 255)) {
        connection_refuse(connection, WIRE_CRIER_EINVAL,
                          "the client's name is not 1 to 255 bytes of printable UTF-8");
        return;
    }
    if (hello->producer_name[0] && !text_valid(hello->producer_name, 255)) {
        connection_refuse(connection, WIRE_CRIER_EINVAL,
                          "the producer's name is not 1 to 255 bytes of printable UTF-8");
        return;
    }
    if (hello->producer_name[0])
        connection->producer_name = core_strdup(hello->producer_name);
    snprintf(connection->name, sizeof(connection->name), "%s", hello->name);
    quota_name(connection);
    connection->producer_epoch = hello->producer_epoch;
    if (hello->instance.len == sizeof(connection->instance))
        memcpy(connection->instance, hello->instance.data, sizeof(connection->instance));
    connection->feature_level =
        hello->feature_level < WIRE_FEATURE_LEVEL ? hello->feature_level : WIRE_FEATURE_LEVEL;
    connection_enter(connection, CONNECTION_WELCOMING);
    struct shard_request request = {.kind = SHARD_PRODUCER,
                                    .token = {connection->id, 0},
                                    .name = connection->producer_name,
                                    .producer_id = hello->producer_id};
    shard_submit(connection->session->shard, &request);
}

static void welcome_refuse(struct core_connection *connection, int code)
{
    if (!connection->producer_name)
        connection_refuse(connection, code, "no producer id can be given out");
    else if (code == WIRE_CRIER_EFENCED)
        connection_refuse(connection, code, "producer \"%s\" belongs to a client that came later",
                          connection->producer_name);
    else
        connection_refuse(connection, code, "producer \"%s\" cannot be claimed: %s",
                          connection->producer_name, error_text(code));
}

static void welcome(struct core_connection *connection, const struct shard_reply *reply)
{
    struct session *session = connection->session;
    if (connection->state != CONNECTION_WELCOMING)
        return;
    if (reply->code) {
        welcome_refuse(connection, reply->code);
        return;
    }
    connection->producer_id = reply->producer_id;
    producer_list(connection);
    grant_open(connection);
    connection_enter(connection, CONNECTION_READY);
    Wire__Welcome message = WIRE__WELCOME__INIT;
    message.version = WIRE_VERSION;
    message.feature_level = connection->feature_level;
    message.node_id = session->store->node_id;
    message.cluster_id =
        (ProtobufCBinaryData){sizeof(session->store->cluster_id), session->store->cluster_id};
    message.producer_id = reply->producer_id;
    message.producer_epoch = connection->producer_epoch;
    message.frame_size_max = FRAME_SIZE_MAX;
    message.event_size_max = session->config.event_size_max;
    message.grant = connection->grant.granted;
    message.ping_interval_ms = session->config.ping_interval_ms;
    message.idle_timeout_ms = session->config.idle_timeout_ms;
    message.source_position = reply->source_position;
    message.software = (char *)session->config.software;
    connection_send(connection, FRAME_WELCOME, &message.base, NULL, 0);
    session_log(session, LOG_LEVEL_INFO, "SESSION-OPEN", "connection %llu (%s): %s, producer %llu",
                (unsigned long long)connection->id, connection->peer, display_name(connection),
                (unsigned long long)reply->producer_id);
}

static void frame_ping(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__Ping *ping = frame_unpack(connection, &wire__ping__descriptor, frame);
    if (!ping)
        return;
    Wire__Ping pong = WIRE__PING__INIT;
    pong.nonce = ping->nonce;
    connection_send(connection, FRAME_PONG, &pong.base, NULL, 0);
}

static void frame_pong(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)connection, (void)frame, (void)bytes; /* that it arrived was the point */
}

static void frame_error(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    (void)bytes;
    const Wire__Error *error = frame_unpack(connection, &wire__error__descriptor, frame);
    if (!error)
        return;
    session_log(connection->session, LOG_LEVEL_WARN, "SESSION-PEER-ERROR",
                "connection %llu (%s): the client says %s: %.200s", (unsigned long long)connection->id,
                connection->peer, error_name(error->code), error->text);
    connection_wind_up(connection);
}

/* ---- the table ---- */

static const struct {
    void (*handle)(struct core_connection *connection, const struct frame *frame, struct slice bytes);
    unsigned states;
} frame_table[] = {
    [FRAME_HELLO] = {frame_hello, BIT(CONNECTION_HELLO)},
    [FRAME_EMIT] = {frame_emit, BIT(CONNECTION_READY)},
    [FRAME_LISTEN] = {frame_listen, BIT(CONNECTION_READY)},
    [FRAME_UNLISTEN] = {frame_unlisten, BIT(CONNECTION_READY)},
    [FRAME_CREDIT] = {frame_credit, BIT(CONNECTION_READY)},
    [FRAME_CREDIT_WANT] = {frame_credit_want, BIT(CONNECTION_READY)},
    [FRAME_CREDIT_RETURN] = {frame_credit_return, BIT(CONNECTION_READY)},
    [FRAME_COMMIT] = {frame_commit, BIT(CONNECTION_READY)},
    [FRAME_RELEASE] = {frame_release, BIT(CONNECTION_READY)},
    [FRAME_ACK] = {frame_ack, BIT(CONNECTION_READY)},
    [FRAME_NACK] = {frame_nack, BIT(CONNECTION_READY)},
    [FRAME_EXTEND] = {frame_extend, BIT(CONNECTION_READY)},
    [FRAME_REDRIVE] = {frame_redrive, BIT(CONNECTION_READY)},
    [FRAME_GROUP_LIST] = {frame_group_list, BIT(CONNECTION_READY)},
    [FRAME_GROUP_DESCRIBE] = {frame_group_describe, BIT(CONNECTION_READY)},
    [FRAME_GROUP_SEEK] = {frame_group_seek, BIT(CONNECTION_READY)},
    [FRAME_GROUP_DELETE] = {frame_group_delete, BIT(CONNECTION_READY)},
    [FRAME_TOPIC_CREATE] = {frame_topic_create, BIT(CONNECTION_READY)},
    [FRAME_TOPIC_DESCRIBE] = {frame_topic_describe, BIT(CONNECTION_READY)},
    [FRAME_TOPIC_LIST] = {frame_topic_list, BIT(CONNECTION_READY)},
    [FRAME_SCHEDULE_CANCEL] = {frame_schedule_cancel, BIT(CONNECTION_READY)},
    [FRAME_SCHEDULE_LIST] = {frame_schedule_list, BIT(CONNECTION_READY)},
    [FRAME_INSPECT] = {frame_inspect, BIT(CONNECTION_READY)},
    [FRAME_TOPIC_ALTER] = {frame_topic_alter, BIT(CONNECTION_READY)},
    [FRAME_TOPIC_DELETE] = {frame_topic_delete, BIT(CONNECTION_READY)},
    [FRAME_TOPIC_TRIM] = {frame_topic_trim, BIT(CONNECTION_READY)},
    [FRAME_PING] = {frame_ping, BIT(CONNECTION_READY)},
    [FRAME_PONG] = {frame_pong, BIT(CONNECTION_READY)},
    [FRAME_ERROR] = {frame_error, BIT(CONNECTION_HELLO) | BIT(CONNECTION_WELCOMING) | BIT(CONNECTION_READY)},
};

void core_connection_frame(struct core_connection *connection, const struct frame *frame, struct slice bytes)
{
    if (connection->state == CONNECTION_CLOSING)
        return;
    if (frame->kind >= ARRAY_SIZE(frame_table) || !frame_table[frame->kind].handle)
        connection_refuse(connection, WIRE_CRIER_EPROTO, "a client does not send frames of kind %u",
                          frame->kind);
    else if (!(frame_table[frame->kind].states & BIT(connection->state)))
        connection_refuse(connection, WIRE_CRIER_EPROTO, "%s is out of place %s",
                          frame_kind_name(frame->kind),
                          connection->state == CONNECTION_READY ? "here" : "before WELCOME");
    else if (frame->flags)
        connection_refuse(connection, WIRE_CRIER_EPROTO, "unknown frame flags %u", frame->flags);
    else if (frame->attachment_size && frame->kind != FRAME_EMIT)
        connection_refuse(connection, WIRE_CRIER_EPROTO, "%s carries no attachment",
                          frame_kind_name(frame->kind));
    else
        frame_table[frame->kind].handle(connection, frame, bytes);
}

size_t core_connection_frame_max(const struct core_connection *connection, uint8_t kind)
{
    const struct grant *grant = &connection->grant;
    if (kind != FRAME_EMIT || connection->state != CONNECTION_READY)
        return FRAME_PREFIX_SIZE + FRAME_HEADER_SIZE_MAX; /* nothing else carries an attachment */
    size_t granted = grant->granted - grant->used;
    return granted < FRAME_SIZE_MAX ? granted : FRAME_SIZE_MAX;
}

static bool looks_like_text(const uint8_t *first, size_t size)
{
    size_t seen = size < 8 ? size : 8;
    for (size_t i = 0; i < seen; i++)
        if (!isprint(first[i]) && !isspace(first[i]))
            return false;
    return seen > 0;
}

void core_connection_bad(struct core_connection *connection, int code, const uint8_t *first, size_t size)
{
    if (connection->state == CONNECTION_HELLO && looks_like_text(first, size))
        connection_refuse(connection, WIRE_CRIER_EPROTO, "it does not speak crier (it begins with \"%.*s\")",
                          (int)(size < 8 ? size : 8), (const char *)first);
    else if (connection->state == CONNECTION_HELLO && size >= 2 && first[0] == 0x16 && first[1] == 0x03)
        connection_refuse(connection, WIRE_CRIER_EPROTO, "it speaks TLS, this port does not");
    else if (code == WIRE_CRIER_ETOOBIG)
        connection_refuse(connection, code, "a frame larger than its kind may be, or than the grant");
    else if (code == WIRE_CRIER_ENOMEM)
        connection_refuse(connection, code, "no memory for this frame");
    else
        connection_refuse(connection, code, "no frame begins like this");
}

/* ---- opening, closing ---- */

struct core_connection *session_connection_open(struct session *session, void *owner, const char *peer)
{
    struct core_connection *connection = calloc(1, sizeof(*connection));
    if (!connection)
        return NULL;
    connection->session = session;
    connection->id = ++session->connection_last;
    connection->owner = owner;
    connection->opened_us = connection->received_us = session->mono_us;
    snprintf(connection->peer, sizeof(connection->peer), "%s", peer);
    HASH_ADD(hh, session->connections, id, sizeof(connection->id), connection);
    return connection;
}

void core_connection_turn_away(struct core_connection *connection, const char *why)
{
    connection_refuse(connection, WIRE_CRIER_EQUOTA, "%s", why);
}

void core_connection_received(struct core_connection *connection)
{
    connection->received_us = connection->session->mono_us;
    connection->pinged = false;
}

void core_connection_sent(struct core_connection *connection, size_t bytes)
{
    connection->output_sent += bytes;
    connection->sent_us = connection->session->mono_us;
    CHECK(connection->output_sent <= connection->output_queued);
    grant_sent(connection);
    if (connection->paused)
        connection_unanswered(connection, 0);
    if (connection->deliverable)
        connection_pump(connection);
}

static void pump_remove(struct core_connection *connection)
{
    struct session *session = connection->session;
    if (connection->pumped)
        LL_DELETE2(session->pump, connection, pump_next);
    session->pump_last = session->pump;
    while (session->pump_last && session->pump_last->pump_next)
        session->pump_last = session->pump_last->pump_next;
}

void core_connection_close(struct core_connection *connection, const char *reason)
{
    struct session *session = connection->session;
    session_log(session, LOG_LEVEL_INFO, "SESSION-CLOSED", "connection %llu (%s, %s): %s",
                (unsigned long long)connection->id, connection->peer, display_name(connection), reason);
    struct listener *listener, *next;
    HASH_ITER (hh, connection->listeners, listener, next) {
        listener_destroy(listener);
    }
    grant_close(connection);
    quota_forget(connection);
    producer_unlist(connection);
    pump_remove(connection);
    HASH_DEL(session->connections, connection);
    free(connection->producer_name);
    free(connection);
}

/* ---- turns ---- */

void session_turn_begin(struct session *session, int64_t mono_us, int64_t wall_us)
{
    session->mono_us = mono_us;
    session->wall_us = wall_us;
}

static void connection_tick(struct core_connection *connection)
{
    struct session *session = connection->session;
    int64_t silent_us = session->mono_us - connection->received_us;
    if (connection->paused && session->mono_us - connection->paused_us > OUTPUT_STUCK_US &&
        connection->output_queued - connection->output_sent > OUTPUT_RESUME_BYTES)
        connection_refuse(connection, WIRE_CRIER_ETIMEDOUT, "it has not read its answers for 30 s");
    else if (!connection->paused && silent_us > session->config.idle_timeout_ms * INT64_C(1000))
        connection_refuse(connection, WIRE_CRIER_ETIMEDOUT, "silent for %lld ms",
                          (long long)(silent_us / 1000));
    else if (connection->state == CONNECTION_HELLO &&
             session->mono_us - connection->opened_us > session->config.idle_timeout_ms * INT64_C(1000))
        connection_refuse(connection, WIRE_CRIER_ETIMEDOUT, "no HELLO yet, however slowly");
    else if (!connection->pinged && connection->state == CONNECTION_READY &&
             silent_us > session->config.ping_interval_ms * INT64_C(1000)) {
        Wire__Ping ping = WIRE__PING__INIT;
        connection_send(connection, FRAME_PING, &ping.base, NULL, 0);
        connection->pinged = true;
    }
    struct listener *listener, *next;
    HASH_ITER (hh, connection->listeners, listener, next)
        listener_tick(listener);
}

/* When the broker itself has stood still, what came meanwhile may not have been read yet: nobody is judged before the next tick. */
static void session_tick(struct session *session)
{
    bool late = session->mono_us - session->ticked_us > 2 * TICK_US;
    session->ticked_us = session->mono_us;
    grant_tick(session);
    struct core_connection *connection, *next;
    HASH_ITER (hh, session->connections, connection, next) {
        if (connection->state != CONNECTION_CLOSING && !late)
            connection_tick(connection);
    }
}

int64_t session_turn_end(struct session *session)
{
    if (session->mono_us - session->ticked_us >= TICK_US)
        session_tick(session);
    quota_release(session);
    presence_turn_end(session);
    session_deliver(session);
    int64_t due_us = session->connections ? session->ticked_us + TICK_US : INT64_MAX;
    int64_t presence_us = session->mono_us + PRESENCE_AGAIN_US;
    if (session->presences_dirty &&
        presence_us < due_us) /* delivery has ended some, or there was no memory */
        due_us = presence_us;
    return session->quota_due_us < due_us ? session->quota_due_us : due_us;
}

void session_drain(struct session *session, uint32_t deadline_ms)
{
    session->draining = true;
    Wire__Goaway goaway = WIRE__GOAWAY__INIT;
    goaway.deadline_ms = deadline_ms;
    goaway.text = (char *)"the broker is shutting down";
    for (struct core_connection *connection = session->connections; connection;
         connection = connection->hh.next)
        if (connection->state == CONNECTION_READY)
            connection_send(connection, FRAME_GOAWAY, &goaway.base, NULL, 0);
}

bool session_idle(const struct session *session)
{
    for (const struct core_connection *connection = session->connections; connection;
         connection = connection->hh.next)
        if (connection->unanswered || connection->output_queued != connection->output_sent)
            return false;
    return true;
}

/* ---- replies ---- */

void session_reply(void *ctx, const struct shard_reply *reply)
{
    struct core_connection *connection = session_find(ctx, reply->token.connection);
    if (!connection)
        return; /* gone meanwhile: the answer is dropped, what was stored stays stored */
    switch (reply->kind) {
    case SHARD_PRODUCER_ID:
        welcome(connection, reply);
        break;
    case SHARD_TOPICS:
        topics_replied(connection, reply);
        break;
    case SHARD_JOINED:
    case SHARD_ASSIGNED:
    case SHARD_REVOKED:
    case SHARD_LEASED:
    case SHARD_UNLEASED:
        listener_replied(connection, reply);
        break;
    case SHARD_GROUPS:
        groups_replied(connection, reply);
        break;
    case SHARD_SETTLED:
    case SHARD_REDRIVEN:
        settled_replied(connection, reply);
        break;
    case SHARD_COMMITTED:
        committed_replied(connection, reply);
        break;
    case SHARD_SCHEDULES:
        schedules_replied(connection, reply);
        break;
    }
}

/* ---- life ---- */

struct session *session_create(const struct core_config *config, const struct core_ops *ops, void *ops_ctx,
                               struct store *store)
{
    struct session *session = calloc(1, sizeof(*session));
    uint8_t *scratch = malloc(ARENA_SIZE);
    if (!session || !scratch) {
        free(session);
        free(scratch);
        return NULL;
    }
    session->config = *config;
    session->ops = ops;
    session->ops_ctx = ops_ctx;
    session->store = store;
    session->scratch = scratch;
    session->quota_due_us = INT64_MAX;
    arena_init(&session->arena, scratch, ARENA_SIZE);
    tail_cache_init(&session->cache, config->cache_bytes_max);
    return session;
}

void session_reconfigure(struct session *session, const struct core_config *config)
{
    session->config.durability_memory = config->durability_memory;
    session->config.event_size_max = config->event_size_max;
    quota_reconfigure(session, config);
    session->config.listeners_max = config->listeners_max;
    session->config.backlog_bytes_max = config->backlog_bytes_max;
}

void session_set_shard(struct session *session, struct shard *shard)
{
    session->shard = shard;
}

void session_destroy(struct session *session)
{
    if (!session)
        return;
    while (session->connections)
        core_connection_close(session->connections, "the broker stops");
    presences_destroy(session);
    lookups_destroy(session);
    inspections_destroy(session);
    delivery_destroy(session);
    free(session->scratch);
    free(session);
}

void session_stats(const struct session *session, struct core_stats *stats)
{
    stats->connections = HASH_COUNT(session->connections);
    stats->listeners = session->listener_count;
    stats->delivered_batches = session->count_batches;
    stats->delivered_bytes = session->count_bytes;
    stats->cache_hits = session->count_cached;
    stats->reads = session->count_reads;
    stats->handed = session->count_handed;
    stats->dropped = session->count_dropped;
    stats->backlog_bytes = session->backlog_bytes;
    stats->ingest_bytes_granted = session->ingest_granted;
    stats->cache_bytes = session->cache.pinned_bytes;
}
