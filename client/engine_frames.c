/* engine_frames.c: every frame a broker may send, when, and where it is handled: one table.
 *
 * Thread:   the I/O thread, from engine_received. Headers are unpacked into the engine's arena, within a bound.
 * Failures: a frame that is unknown, out of place or cannot be unpacked ends the connection. */
#include "client/engine_internal.h"
#include "client/leased.h"

#include "base/check.h"
#include "client/atomic.h"

#include <string.h>

#define BIT(state)       (1u << (state))
#define LEAVE_TIMEOUT_US INT64_C(10000000)

/* A new data folder under an old address: the same names and numbers there mean other things. Forgets the old id. */
static bool cluster_is_the_same(struct engine *engine, const ProtobufCBinaryData *id)
{
    bool same = !engine->cluster_known || id->len != sizeof(engine->cluster_id) ||
                memcmp(engine->cluster_id, id->data, id->len) == 0;

    engine->cluster_known = same && id->len == sizeof(engine->cluster_id);
    if (engine->cluster_known)
        memcpy(engine->cluster_id, id->data, id->len);
    return same;
}

static void handle_welcome(struct engine *engine, const ProtobufCMessage *message, const struct frame *frame)
{
    const Wire__Welcome *welcome = (const Wire__Welcome *)message;

    (void)frame;
    if (welcome->version != ENGINE_PROTOCOL_VERSION) {
        engine_fail(engine, CRIER_EVERSION, "the broker speaks version %u of the protocol", welcome->version);
        return;
    }
    if (!cluster_is_the_same(engine, &welcome->cluster_id)) {
        emit_forget(engine);
        listen_forget(engine);
        engine_fail(engine, CRIER_ENOTOPIC, "the broker has another log than before");
        return;
    }
    engine_enter(engine, ENGINE_READY);
    engine->feature_level = welcome->feature_level;
    engine->frame_size_max = FRAME_SIZE_MAX;
    if (welcome->frame_size_max > 0 && welcome->frame_size_max < FRAME_SIZE_MAX)
        engine->frame_size_max = welcome->frame_size_max;
    engine->ping_interval = welcome->ping_interval_ms * INT64_C(1000);
    engine->idle_timeout = welcome->idle_timeout_ms * INT64_C(1000);
    engine->attempts = 0;
    engine->reconnects += engine->was_ready;
    engine->was_ready = true;
    emit_ready(engine, welcome);
    listen_ready(engine);
    engine->ops->connection(engine->ops_ctx, true, 0, welcome->software);
}

static void handle_emitted(struct engine *engine, const ProtobufCMessage *message, const struct frame *frame)
{
    (void)frame;
    emit_emitted(engine, (const Wire__Emitted *)message);
}

static void handle_listening(struct engine *engine, const ProtobufCMessage *message,
                             const struct frame *frame)
{
    (void)frame;
    listen_listening(engine, (const Wire__Listening *)message);
}

static void handle_assign(struct engine *engine, const ProtobufCMessage *message, const struct frame *frame)
{
    (void)frame;
    listen_assign(engine, (const Wire__Assign *)message);
}

static void handle_ended(struct engine *engine, const ProtobufCMessage *message, const struct frame *frame)
{
    (void)frame;
    listen_ended(engine, (const Wire__Ended *)message);
}

static void handle_deliver(struct engine *engine, const ProtobufCMessage *message, const struct frame *frame)
{
    listen_deliver(engine, (const Wire__Deliver *)message, frame);
}

static void handle_credit(struct engine *engine, const ProtobufCMessage *message, const struct frame *frame)
{
    const Wire__Credit *credit = (const Wire__Credit *)message;

    (void)frame;
    if (credit->listener == 0)
        emit_credit(engine, credit->total);
    else
        engine_fail(engine, CRIER_EPROTO, "the broker gave credit for a listener");
}

static void handle_committed(struct engine *engine, const ProtobufCMessage *message,
                             const struct frame *frame)
{
    (void)frame;
    listen_committed(engine, (const Wire__Committed *)message);
}

static void handle_settled(struct engine *engine, const ProtobufCMessage *message, const struct frame *frame)
{
    (void)frame;
    settle_settled(engine, (const Wire__Settled *)message);
}

static void handle_topics(struct engine *engine, const ProtobufCMessage *message, const struct frame *frame)
{
    (void)frame;
    request_topics(engine, (const Wire__Topics *)message);
}

static void handle_groups(struct engine *engine, const ProtobufCMessage *message, const struct frame *frame)
{
    (void)frame;
    request_groups(engine, (const Wire__Groups *)message);
}

static void handle_redriven(struct engine *engine, const ProtobufCMessage *message, const struct frame *frame)
{
    (void)frame;
    request_redriven(engine, (const Wire__Redriven *)message);
}

static void handle_schedules(struct engine *engine, const ProtobufCMessage *message,
                             const struct frame *frame)
{
    (void)frame;
    request_schedules(engine, (const Wire__Schedules *)message);
}

static void handle_inspected(struct engine *engine, const ProtobufCMessage *message,
                             const struct frame *frame)
{
    request_inspected(engine, (const Wire__Inspected *)message, frame);
}

static void handle_ping(struct engine *engine, const ProtobufCMessage *message, const struct frame *frame)
{
    (void)frame;
    engine_send(engine, FRAME_PONG, message); /* the same message, the nonce with it */
}

static void handle_pong(struct engine *engine, const ProtobufCMessage *message, const struct frame *frame)
{
    (void)frame;
    request_pong(engine, ((const Wire__Ping *)message)->nonce);
}

static void handle_goaway(struct engine *engine, const ProtobufCMessage *message, const struct frame *frame)
{
    const Wire__Goaway *goaway = (const Wire__Goaway *)message;

    (void)frame;
    if (engine->state == ENGINE_LEAVING)
        return;
    engine_enter(engine, ENGINE_LEAVING);
    engine->state_due =
        engine->now + (goaway->deadline_ms ? goaway->deadline_ms * INT64_C(1000) : LEAVE_TIMEOUT_US);
}

static void handle_error(struct engine *engine, const ProtobufCMessage *message, const struct frame *frame)
{
    const Wire__Error *error = (const Wire__Error *)message;

    (void)frame;
    if (engine->state == ENGINE_GREETING && error->code == CRIER_EFENCED && engine->producer_name[0])
        atomic_fenced(engine); /* the answer to HELLO: the name is another client's, for good */
    engine_fail(engine, error->code < 0 ? error->code : CRIER_EPROTO, "the broker said: %s", error->text);
}

#define UP (BIT(ENGINE_READY) | BIT(ENGINE_LEAVING))

/* Every frame a broker may send, when, and what it means. */
static const struct frame_row {
    enum frame_kind kind;
    uint32_t states;
    const ProtobufCMessageDescriptor *type;
    void (*handle)(struct engine *engine, const ProtobufCMessage *message, const struct frame *frame);
} frame_rows[] = {
    {FRAME_DELIVER, UP, &wire__deliver__descriptor, handle_deliver},
    {FRAME_EMITTED, UP, &wire__emitted__descriptor, handle_emitted},
    {FRAME_CREDIT, UP, &wire__credit__descriptor, handle_credit},
    {FRAME_COMMITTED, UP, &wire__committed__descriptor, handle_committed},
    {FRAME_SETTLED, UP, &wire__settled__descriptor, handle_settled},
    {FRAME_LISTENING, UP, &wire__listening__descriptor, handle_listening},
    {FRAME_ASSIGN, UP, &wire__assign__descriptor, handle_assign},
    {FRAME_ENDED, UP, &wire__ended__descriptor, handle_ended},
    {FRAME_TOPICS, UP, &wire__topics__descriptor, handle_topics},
    {FRAME_GROUPS, UP, &wire__groups__descriptor, handle_groups},
    {FRAME_REDRIVEN, UP, &wire__redriven__descriptor, handle_redriven},
    {FRAME_SCHEDULES, UP, &wire__schedules__descriptor, handle_schedules},
    {FRAME_INSPECTED, UP, &wire__inspected__descriptor, handle_inspected},
    {FRAME_PING, UP, &wire__ping__descriptor, handle_ping},
    {FRAME_PONG, UP, &wire__ping__descriptor, handle_pong},
    {FRAME_GOAWAY, UP, &wire__goaway__descriptor, handle_goaway},
    {FRAME_WELCOME, BIT(ENGINE_GREETING), &wire__welcome__descriptor, handle_welcome},
    {FRAME_ERROR, UP | BIT(ENGINE_GREETING), &wire__error__descriptor, handle_error},
};

void engine_frame(struct engine *engine, const struct frame *frame)
{
    for (size_t i = 0; i < ARRAY_SIZE(frame_rows); i++) {
        const struct frame_row *row = &frame_rows[i];
        ProtobufCMessage *message;
        if (row->kind != frame->kind)
            continue;
        if (!(row->states & BIT(engine->state)))
            break;
        arena_reset(&engine->arena);
        message =
            protobuf_c_message_unpack(row->type, &engine->arena.allocator, frame->header_size, frame->header);
        if (message)
            row->handle(engine, message, frame);
        else
            engine_fail(engine, CRIER_EPROTO, "the broker sent a %s frame that makes no sense",
                        frame_kind_name(frame->kind));
        return;
    }
    engine_fail(engine, CRIER_EPROTO, "the broker sent a frame out of place: %s (%u)",
                frame_kind_name(frame->kind), frame->kind);
}
