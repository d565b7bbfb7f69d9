/* engine.c: the connection: its states, greeting, keep-alive and end; frames in and out.
 *
 * Role:     drives one connection after another: endpoint, HELLO, WELCOME, frames, and on its end the delay before the
 *           next. What frames mean for emits, listeners and requests is in the files named after those.
 * Thread:   the driver's I/O thread; engine_emit and other [emit lock] functions as engine.h says.
 * Owns:     struct engine.
 *
 * Happy path:  engine_start -> CONNECTING -> engine_connected -> GREETING -> WELCOME -> READY -> frames
 * Failures:    whatever goes wrong with a connection ends in connection_end(): every part takes back what was under way,
 *              and after a delay that grows, with jitter, the next endpoint is tried. A broker that breaks the protocol
 *              is left in the same way (engine_fail), never trusted further. */
#include "client/engine_internal.h"
#include "client/leased.h"

#include "base/check.h"
#include "client/atomic.h"
#include "client/topic_name.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BIT(state) (1u << (state))
#define IDLE_GRACE_US                                                                                        \
    INT64_C(1000000) /* from suspecting a dead peer to believing it: time to read the socket */
#define ERROR_TEXT_MAX 512
#define SESSION_BEATS  3 /* at least so many signs of life in a session timeout */

static const uint32_t engine_next[ENGINE_STATES] = {
    [ENGINE_IDLE] = BIT(ENGINE_CONNECTING) | BIT(ENGINE_DROPPED),
    [ENGINE_WAITING] = BIT(ENGINE_CONNECTING) | BIT(ENGINE_DROPPED),
    [ENGINE_CONNECTING] = BIT(ENGINE_GREETING) | BIT(ENGINE_WAITING) | BIT(ENGINE_DROPPED),
    [ENGINE_GREETING] = BIT(ENGINE_READY) | BIT(ENGINE_WAITING) | BIT(ENGINE_DROPPED),
    [ENGINE_READY] = BIT(ENGINE_LEAVING) | BIT(ENGINE_WAITING) | BIT(ENGINE_DROPPED),
    [ENGINE_LEAVING] = BIT(ENGINE_WAITING) | BIT(ENGINE_DROPPED), /* ENGINE_DROPPED: nothing follows */
};

void engine_enter(struct engine *engine, enum engine_state next)
{
    CHECK(engine_next[engine->state] & BIT(next));
    engine->state = next;
    engine->state_due = ENGINE_NEVER;
}

static bool engine_is_up(const struct engine *engine)
{
    return engine->state == ENGINE_READY || engine->state == ENGINE_LEAVING;
}

static bool engine_has_connection(const struct engine *engine)
{
    return engine_is_up(engine) || engine->state == ENGINE_GREETING;
}

/* ---- life ---- */

struct engine *engine_create(const struct engine_config *config, const struct engine_ops *ops, void *ctx)
{
    struct engine *engine = calloc(1, sizeof(*engine));
    const char *name = config->options.name ? config->options.name : "";

    if (!engine)
        return NULL;
    engine->arena_memory = malloc(ENGINE_HEADER_MEMORY_MAX);
    engine->name = text_copy(name);
    engine->producer_name = text_copy(config->options.producer_name ? config->options.producer_name : "");
    if (!engine->arena_memory || !engine->name || !engine->producer_name) {
        free(engine->arena_memory);
        free(engine->name);
        free(engine->producer_name);
        free(engine);
        return NULL;
    }
    arena_init(&engine->arena, engine->arena_memory, ENGINE_HEADER_MEMORY_MAX);
    CHECK(config->endpoint_count > 0);
    engine->config = *config;
    engine->config.options.name = engine->name;
    engine->ops = ops;
    engine->ops_ctx = ctx;
    engine->random = random_seeded(config->seed);
    engine->state_due = ENGINE_NEVER;
    engine->frame_size_max = FRAME_SIZE_MAX;
    stage_init(&engine->stage, &config->options);
    emit_init(engine);
    listen_init(engine);
    request_init(engine);
    return engine;
}

void engine_destroy(struct engine *engine)
{
    if (!engine)
        return;
    listen_finish(engine);
    request_finish(engine);
    emit_finish(engine);
    stage_finish(&engine->stage);
    input_clear(&engine->input);
    output_clear(&engine->output);
    free(engine->arena_memory);
    free(engine->name);
    free(engine->producer_name);
    free(engine);
}

/* ---- from one connection to the next ---- */

static void connection_try(struct engine *engine)
{
    engine_enter(engine, ENGINE_CONNECTING);
    engine->state_due = engine->now + ENGINE_ANSWER_TIMEOUT_US;
    engine->ops->connect(engine->ops_ctx, engine->endpoint);
}

/* Within a round of endpoints the next one is tried at once; between rounds the delay doubles, with jitter. */
static int64_t reconnect_delay_us(struct engine *engine)
{
    int64_t delay = engine->config.options.reconnect_delay_ms_min * INT64_C(1000);
    int64_t most = engine->config.options.reconnect_delay_ms_max * INT64_C(1000);

    if (engine->attempts % engine->config.endpoint_count != 0)
        return 0;
    for (unsigned round = engine->attempts / engine->config.endpoint_count; round > 1 && delay < most;
         round--)
        delay *= 2;
    delay = time_min(delay, most);
    return delay / 2 + (int64_t)random_below(&engine->random, (uint64_t)delay / 2 + 1);
}

static void connection_end(struct engine *engine, int code, const char *text)
{
    char kept[sizeof(engine->broken_text)];
    int64_t delay;

    snprintf(kept, sizeof(kept), "%s", text);
    if (engine_is_up(engine))
        engine->attempts = 0;
    engine->attempts++;
    delay = reconnect_delay_us(engine);
    engine->endpoint = (engine->endpoint + 1) % engine->config.endpoint_count;
    engine->broken = 0;
    output_clear(&engine->output);
    input_clear(&engine->input);
    engine_enter(engine, ENGINE_WAITING);
    engine->state_due = engine->now + delay;
    emit_disconnected(engine);
    listen_disconnected(engine);
    request_disconnected(engine);
    engine->ops->connection(engine->ops_ctx, false, code, kept);
}

void engine_fail(struct engine *engine, int code, const char *format, ...)
{
    va_list arguments;

    if (engine->broken)
        return;
    engine->broken = code;
    va_start(arguments, format);
    vsnprintf(engine->broken_text, sizeof(engine->broken_text), format, arguments);
    va_end(arguments);
}

void engine_settle(struct engine *engine)
{
    if (engine->state == ENGINE_LEAVING && !engine->broken && engine->unanswered_count == 0 &&
        engine->commits_unanswered == 0 && engine->requests_sent_count == 0)
        engine_fail(engine, CRIER_ESHUTDOWN, "the broker is going away");
    if (!engine->broken)
        return;
    if (engine->state == ENGINE_CONNECTING || engine_has_connection(engine)) {
        engine->ops->disconnect(engine->ops_ctx);
        connection_end(engine, engine->broken, engine->broken_text);
    }
    engine->broken = 0;
}

void engine_start(struct engine *engine, int64_t now_us)
{
    engine->now = now_us;
    connection_try(engine);
}

void engine_connected(struct engine *engine, int64_t now_us)
{
    Wire__Hello hello = WIRE__HELLO__INIT;

    if (engine->state != ENGINE_CONNECTING)
        return;
    engine->now = engine->last_received = engine->last_sent = engine->last_ping = now_us;
    engine->idle_suspected = 0;
    engine_enter(engine, ENGINE_GREETING);
    engine->state_due = now_us + ENGINE_ANSWER_TIMEOUT_US;
    hello.version = ENGINE_PROTOCOL_VERSION;
    hello.feature_level = ENGINE_FEATURE_LEVEL;
    hello.instance = (ProtobufCBinaryData){sizeof(engine->config.instance), engine->config.instance};
    hello.name = engine->name;
    hello.producer_name = engine->producer_name;
    hello.software = (char *)(uintptr_t) "libcrier " CRIER_VERSION;
    /* Numbers that are lost begin anew in the next epoch. Under another id a producer that has lost its name meanwhile would take it
     * back, and take what others have stored under it since for its own. */
    if (engine->producer_known && engine->producer_epoch + engine->producer_renew <= INT16_MAX) {
        hello.producer_id = engine->producer_id;
        hello.producer_epoch = engine->producer_epoch + engine->producer_renew;
    }
    engine_send(engine, FRAME_HELLO, &hello.base);
    engine_settle(engine);
}

void engine_disconnected(struct engine *engine, int64_t now_us, int code, const char *text)
{
    engine->now = now_us;
    if (engine->state == ENGINE_CONNECTING || engine_has_connection(engine))
        connection_end(engine, code, text);
}

/* ---- frames out ---- */

void engine_send(struct engine *engine, enum frame_kind kind, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *block;

    if (engine->broken || !engine_has_connection(engine))
        return;
    if (engine->output.count >= ENGINE_OUTPUT_PIECES_MAX) {
        engine_fail(engine, CRIER_EPROTO, "the broker sends but does not read");
        return;
    }
    CHECK(size <= FRAME_HEADER_SIZE_MAX);
    if (output_reserve(&engine->output, 1) < 0 || !(block = malloc(FRAME_PREFIX_SIZE + size))) {
        engine_fail(engine, CRIER_ENOMEM, "out of memory for a %s frame", frame_kind_name((uint8_t)kind));
        return;
    }
    frame_prefix_encode(block, kind, size, 0);
    protobuf_c_message_pack(message, block + FRAME_PREFIX_SIZE);
    output_add(&engine->output, block, FRAME_PREFIX_SIZE + size, block);
}

size_t engine_output(struct engine *engine, struct iovec *to, size_t count, int64_t now_us)
{
    engine->now = now_us;
    emit_callbacks(engine);
    if (engine->state == ENGINE_READY) {
        listen_send(engine);
        settle_send(engine);
        request_send(engine);
        emit_build(engine);
    }
    engine_settle(engine);
    count = output_gather(&engine->output, to, count);
    if (count > 0)
        engine->last_sent = now_us;
    return count;
}

void engine_output_consumed(struct engine *engine, size_t size)
{
    output_consume(&engine->output, size);
}

/* ---- frames in ---- */

int engine_input(struct engine *engine, struct iovec *ret_space)
{
    return input_space(&engine->input, engine->frame_size_max, ret_space);
}

/* Before WELCOME it is most likely somebody else's port. */
static void input_refuse(struct engine *engine, int code)
{
    if (engine->state != ENGINE_GREETING)
        engine_fail(engine, code, "the broker sent bytes that are no frame");
    else if (input_starts_with(&engine->input, "HTTP/"))
        engine_fail(engine, CRIER_EPROTO, "an HTTP server answers there, not a crier broker");
    else
        engine_fail(engine, CRIER_EPROTO, "what answers there is no crier broker");
}

void engine_received(struct engine *engine, size_t size, int64_t now_us)
{
    struct frame frame;
    int64_t used;

    engine->now = engine->last_received = now_us;
    engine->idle_suspected = 0;
    input_received(&engine->input, size);
    while (!engine->broken && (used = input_frame(&engine->input, engine->frame_size_max, &frame)) != 0) {
        if (used > 0)
            engine_frame(engine, &frame);
        else
            input_refuse(engine, (int)used);
    }
    engine_settle(engine);
}

/* ---- time ---- */

static int64_t time_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* To learn whether the broker is there, and, as a group's member, to be heard of in time. */
static int64_t ping_due(const struct engine *engine)
{
    int64_t quiet_since = time_min(engine->last_sent, engine->last_received), due = ENGINE_NEVER;

    if (engine->state != ENGINE_READY)
        return ENGINE_NEVER;
    if (engine->ping_interval > 0)
        due = time_max(quiet_since, engine->last_ping) + engine->ping_interval;
    if (engine->session_timeout > 0)
        due = time_min(due, time_max(engine->last_sent, engine->last_ping) +
                                engine->session_timeout / SESSION_BEATS);
    return due;
}

static int64_t idle_due(const struct engine *engine)
{
    if (!engine_is_up(engine) || engine->idle_timeout == 0)
        return ENGINE_NEVER;
    return engine->idle_suspected ? engine->idle_suspected + IDLE_GRACE_US
                                  : engine->last_received + engine->idle_timeout;
}

int64_t engine_due(const struct engine *engine)
{
    int64_t due = engine->state_due;

    if (engine->state == ENGINE_DROPPED)
        return ENGINE_NEVER;
    due = time_min(due, ping_due(engine));
    due = time_min(due, idle_due(engine));
    due = time_min(due, emit_due(engine));
    due = time_min(due, listen_due(engine));
    return time_min(due, request_due(engine));
}

static void ping(struct engine *engine)
{
    Wire__Ping message = WIRE__PING__INIT; /* nonce 0: nobody waits for it */

    engine->last_ping = engine->now;
    engine_send(engine, FRAME_PING, &message.base);
    input_trim(&engine->input); /* it has been quiet: be small */
    engine->trim_due = true;
}

/* The time of the state has run out. */
static void state_timeout(struct engine *engine)
{
    engine->state_due = ENGINE_NEVER;
    switch (engine->state) {
    case ENGINE_WAITING:
        connection_try(engine);
        break;
    case ENGINE_CONNECTING:
    case ENGINE_GREETING:
        engine_fail(engine, CRIER_ECONNECT, "the broker does not answer");
        break;
    default:
        engine_fail(engine, CRIER_ESHUTDOWN, "the broker is going away");
        break;
    }
}

void engine_tick(struct engine *engine, int64_t now_us)
{
    engine->now = now_us;
    if (engine->state == ENGINE_DROPPED)
        return;
    if (now_us >= engine->state_due)
        state_timeout(engine);
    if (now_us >= ping_due(engine))
        ping(engine);
    if (now_us >= idle_due(engine)) {
        /* The thread may have been kept from reading by a long handler: believe it only after another look. */
        if (engine->idle_suspected)
            engine_fail(engine, CRIER_ETIMEDOUT, "nothing was heard from the broker for %lld ms",
                        (long long)((now_us - engine->last_received) / 1000));
        else
            engine->idle_suspected = now_us;
    }
    emit_tick(engine);
    listen_tick(engine);
    request_tick(engine);
    engine_settle(engine);
}

/* ---- errors without a caller ---- */

void engine_error(struct engine *engine, int code, const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (!listen_tell_error(engine, code, text) && engine->error == 0)
        engine->error = code;
}

int engine_error_take(struct engine *engine)
{
    int error = engine->error;

    engine->error = 0;
    return error;
}

/* ---- closing and looking ---- */

void engine_emit_close(struct engine *engine)
{
    engine->stage.closed = true;
    engine->stage.flush_ticket = engine->stage.ticket_next;
}

void engine_close(struct engine *engine, int64_t now_us)
{
    engine->now = now_us;
    engine->closing = true;
    listen_close(engine);
    engine_settle(engine);
}

bool engine_is_settled(const struct engine *engine)
{
    return emit_is_settled(engine) && listen_is_settled(engine) && request_is_settled(engine);
}

void engine_give_up(struct engine *engine, int code)
{
    bool connected = engine->state == ENGINE_CONNECTING || engine_has_connection(engine);

    if (engine->state == ENGINE_DROPPED)
        return;
    engine_enter(engine, ENGINE_DROPPED);
    output_clear(&engine->output);
    input_clear(&engine->input);
    if (connected)
        engine->ops->disconnect(engine->ops_ctx);
    emit_drop(engine, code);
    request_drop(engine, code);
}

void engine_drop(struct engine *engine, int code)
{
    engine_give_up(engine, code);
    listen_drop(engine);
    engine->broken = 0;
}

void engine_stats(const struct engine *engine, struct crier_stats *ret_stats)
{
    *ret_stats = engine->stage.stats;
    ret_stats->pending_bytes = engine->stage.pending_bytes;
    ret_stats->skipped = atomic_load_explicit(&engine->skipped, memory_order_relaxed);
}

int engine_emit(struct engine *engine, const char *topic, const void *value, size_t value_size,
                const struct crier_emit_options *options, int64_t timestamp_ms, bool *ret_wake)
{
    return stage_emit(&engine->stage, topic, value, value_size, options, NULL, timestamp_ms, ret_wake);
}

int engine_emit_later(struct engine *engine, const char *topic, const void *value, size_t value_size,
                      const struct crier_later_options *later, int64_t timestamp_ms, bool *ret_wake)
{
    return stage_emit(&engine->stage, topic, value, value_size, later->emit, later, timestamp_ms, ret_wake);
}

int engine_emit_atomic(struct engine *engine, const struct crier_atomic_event *events, size_t count,
                       const struct crier_atomic_options *options, int64_t timestamp_ms, bool *ret_wake)
{
    return stage_emit_atomic(&engine->stage, events, count, options, timestamp_ms, ret_wake);
}

int engine_source_position(const struct engine *engine, uint64_t *ret_position)
{
    *ret_position = atomic_load(&engine->source_position);
    return engine->stage.fenced ? CRIER_EFENCED : engine->stage.named ? 0 : CRIER_EINVAL;
}

uint64_t engine_flush_ticket(struct engine *engine)
{
    engine->stage.flush_ticket = engine->stage.ticket_next;
    return engine->stage.flush_ticket;
}
