/* session_frames.c: see session_frames.h. */
#include "tests/fuzz/session_frames.h"

#include "base/check.h"
#include "proto/batch.h"
#include "proto/crier.pb-c.h"
#include "proto/error.h"

#include <string.h>

#define NAME_SIZE 8

/* ---- giving ---- */

static void frame_give(struct peer *peer, uint8_t kind, const uint8_t *header, size_t header_size,
                       const uint8_t *attachment, size_t attachment_size)
{
    struct buffer *buffer = buffer_create(FRAME_PREFIX_SIZE + header_size + attachment_size);
    CHECK(buffer);
    frame_prefix_encode(buffer->data, (enum frame_kind)kind, header_size, attachment_size);
    if (header_size)
        memcpy(buffer->data + FRAME_PREFIX_SIZE, header, header_size);
    if (attachment_size)
        memcpy(buffer->data + FRAME_PREFIX_SIZE + header_size, attachment, attachment_size);
    size_t size = FRAME_PREFIX_SIZE + header_size + attachment_size;
    if (size > core_connection_frame_max(peer->connection, kind)) {
        core_connection_bad(peer->connection, WIRE_CRIER_ETOOBIG, buffer->data, size);
    } else {
        struct frame frame;
        int64_t used = frame_decode(buffer->data, size, FRAME_SIZE_MAX, &frame);
        CHECK(used == (int64_t)size);
        core_connection_received(peer->connection);
        core_connection_frame(peer->connection, &frame, (struct slice){buffer, buffer->data, size});
    }
    buffer_unref(buffer);
}

static void message_give(struct peer *peer, uint8_t kind, const ProtobufCMessage *message)
{
    uint8_t header[512];
    CHECK(protobuf_c_message_get_packed_size(message) <= sizeof(header));
    size_t size = protobuf_c_message_pack(message, header);
    frame_give(peer, kind, header, size, NULL, 0);
}

/* One of three names. */
static char *name(struct script *script, char prefix, char to[NAME_SIZE])
{
    to[0] = prefix;
    to[1] = (char)('a' + script_u8(script) % 3);
    to[2] = '\0';
    return to;
}

void peer_hello(struct peer *peer, struct script *script)
{
    uint8_t instance[16] = {script_u8(script) % 4};
    Wire__Hello message = WIRE__HELLO__INIT;
    message.version = 1;
    message.instance = (ProtobufCBinaryData){sizeof(instance), instance};
    message.producer_id = script_u8(script) % 8;
    message_give(peer, FRAME_HELLO, &message.base);
}

static void say_anything(struct peer *peer, struct script *script)
{
    size_t header_size, attachment_size;
    uint8_t kind = script_u8(script) % 64;
    const uint8_t *header = script_bytes(script, script_u8(script), &header_size);
    const uint8_t *attachment =
        script_bytes(script, kind == FRAME_EMIT ? script_u8(script) : 0, &attachment_size);
    frame_give(peer, kind, header, header_size, attachment, attachment_size);
}

static void say_no_frame(struct peer *peer, struct script *script)
{
    size_t size;
    const uint8_t *bytes = script_bytes(script, 8 + script_u8(script) % 32, &size);
    if (size >= 8)
        core_connection_bad(peer->connection, WIRE_CRIER_EPROTO, bytes, size);
}

/* ---- emits ---- */

/* One batch as a producer builds it; only its numbers are anything. Some events have keys, for key order. */
static size_t batch_make(uint8_t *batch, size_t size_max, bool keys, struct script *script)
{
    struct batch_builder builder;
    size_t value_size;
    batch_builder_init(&builder, batch, size_max);
    unsigned count = 1 + script_u8(script) % 4;
    const uint8_t *value = script_bytes(script, script_u8(script) % 64, &value_size);
    for (unsigned i = 0; i < count; i++) {
        uint8_t key = 'k';
        batch_builder_append(&builder, 1700000000000 + i, &key, keys, value, value_size, NULL, 0);
    }
    return batch_builder_finish(&builder, (int64_t)script_u8(script) - 1, script_u8(script) % 3,
                                script_u8(script) % 16);
}

static void emit_give(struct peer *peer, Wire__EmitPart *part, bool atomic, bool keys, struct script *script)
{
    uint8_t batch[1024], header[96];
    size_t size = batch_make(batch, sizeof(batch), keys, script);
    Wire__EmitPart *parts[] = {part};
    Wire__Emit message = WIRE__EMIT__INIT;
    message.request = ++peer->request;
    message.durability = (Wire__Durability)(script_u8(script) % 2);
    message.atomic = atomic;
    part->partition = script_u8(script) % 8;
    part->size = (uint32_t)size;
    message.parts = parts;
    message.n_parts = 1;
    frame_give(peer, FRAME_EMIT, header, wire__emit__pack(&message, header), batch, size);
}

static void say_emit(struct peer *peer, struct script *script)
{
    Wire__EmitPart part = WIRE__EMIT_PART__INIT;
    emit_give(peer, &part, false, false, script);
}

static void say_emit_keyed(struct peer *peer, struct script *script)
{
    Wire__EmitPart part = WIRE__EMIT_PART__INIT;
    part.heard = script_u8(script) % 8 == 0;
    emit_give(peer, &part, false, true, script);
}

static void say_expect(struct peer *peer, struct script *script)
{
    Wire__EmitPart part = WIRE__EMIT_PART__INIT;
    part.expects = true;
    part.expected_offset = script_u8(script) % 8;
    emit_give(peer, &part, true, false, script);
}

static void say_later(struct peer *peer, struct script *script)
{
    Wire__EmitPart part = WIRE__EMIT_PART__INIT;
    unsigned units = script_u8(script);
    if (units & 1)
        part.delay_us = UINT64_C(50000) * units;
    else
        part.at_us = peer->wall_us + INT64_C(50000) * units;
    emit_give(peer, &part, false, false, script);
}

/* ---- listeners ---- */

static void listen_give(struct peer *peer, Wire__Listen *message, unsigned how, struct script *script)
{
    char topic[NAME_SIZE], group[NAME_SIZE];
    message->listener = 1 + script_u8(script) % 4;
    message->topic = how & 1 ? (char *)"t*" : name(script, 't', topic);
    if (message->ephemeral && how & 0x80) /* who listens */
        message->topic = how & 0x40 ? (char *)"$presence.**" : (char *)"$presence.ta";
    message->group = how & 2 ? name(script, 'g', group) : (char *)"";
    message->from = (Wire__From)(how >> 2 & 3);
    message->from_value = script_u8(script);
    message->credit = script_u16(script);
    message->create = true;
    message_give(peer, FRAME_LISTEN, &message->base);
}

static void say_listen(struct peer *peer, struct script *script)
{
    Wire__Listen message = WIRE__LISTEN__INIT;
    unsigned how = script_u8(script);
    listen_give(peer, &message, how, script);
}

static void say_listen_ephemeral(struct peer *peer, struct script *script)
{
    Wire__Listen message = WIRE__LISTEN__INIT;
    unsigned how = script_u8(script);
    message.ephemeral = true;
    message.slow = (Wire__Slow)(how >> 4 & 3);
    message.queue_size = script_u8(script);
    listen_give(peer, &message, how, script);
}

static Wire__Lease lease_of(struct script *script)
{
    Wire__Lease lease = WIRE__LEASE__INIT;
    lease.partition = script_u8(script) % 8;
    lease.offset = script_u8(script) % 16;
    lease.count = script_u8(script) % 4;
    lease.attempt = script_u8(script) % 3;
    return lease;
}

static void say_listen_shared(struct peer *peer, struct script *script)
{
    Wire__Listen message = WIRE__LISTEN__INIT;
    unsigned how = script_u8(script);
    Wire__Lease held = lease_of(script), *list[] = {&held};
    message.kind = how & 0x10 ? WIRE__GROUP_KIND__KEY_ORDERED : WIRE__GROUP_KIND__SHARED;
    message.lease_ms = how & 0x20 ? 1000 : 0;
    message.max_in_flight = how & 0x40 ? 2 : 0;
    message.held = list;
    message.n_held = how >> 7;
    listen_give(peer, &message, (how & ~1u) | 2 | 4, script);
}

static void say_unlisten(struct peer *peer, struct script *script)
{
    Wire__Unlisten message = WIRE__UNLISTEN__INIT;
    message.listener = 1 + script_u8(script) % 4;
    message_give(peer, FRAME_UNLISTEN, &message.base);
}

static void say_credit(struct peer *peer, struct script *script)
{
    Wire__Credit message = WIRE__CREDIT__INIT;
    message.listener = 1 + script_u8(script) % 4;
    message.total = 16 * script_u16(script);
    message_give(peer, FRAME_CREDIT, &message.base);
}

static void say_commit(struct peer *peer, struct script *script)
{
    Wire__Position position = WIRE__POSITION__INIT, *list[] = {&position};
    Wire__Commit message = WIRE__COMMIT__INIT;
    message.request = script_u8(script);
    message.listener = 1 + script_u8(script) % 4;
    message.generation = script_u8(script) % 4;
    position.partition = script_u8(script) % 8;
    position.offset = script_u8(script) % 16;
    message.positions = list;
    message.n_positions = 1;
    message_give(peer, FRAME_COMMIT, &message.base);
}

/* ---- shared groups ---- */

static void say_ack(struct peer *peer, struct script *script)
{
    Wire__Lease leases[] = {lease_of(script), lease_of(script)}, *list[] = {&leases[0], &leases[1]};
    Wire__Ack message = WIRE__ACK__INIT;
    message.request = script_u8(script);
    message.listener = 1 + script_u8(script) % 4;
    message.leases = list;
    message.n_leases = script_u8(script) % 3;
    message_give(peer, FRAME_ACK, &message.base);
}

static void say_nack(struct peer *peer, struct script *script)
{
    Wire__Lease lease = lease_of(script), *list[] = {&lease};
    Wire__Nack message = WIRE__NACK__INIT;
    unsigned how = script_u8(script);
    message.request = script_u8(script);
    message.listener = 1 + script_u8(script) % 4;
    message.leases = list;
    message.n_leases = 1;
    message.delay_ms = how & 1 ? 0 : how;
    message.reject = how & 2;
    message.reason = how & 4 ? (char *)"a reason" : (char *)"";
    message_give(peer, FRAME_NACK, &message.base);
}

static void say_extend(struct peer *peer, struct script *script)
{
    Wire__Lease lease = lease_of(script), *list[] = {&lease};
    Wire__Extend message = WIRE__EXTEND__INIT;
    message.request = script_u8(script);
    message.listener = 1 + script_u8(script) % 4;
    message.leases = list;
    message.n_leases = 1;
    message.lease_ms = 10 * script_u8(script);
    message_give(peer, FRAME_EXTEND, &message.base);
}

static void say_redrive(struct peer *peer, struct script *script)
{
    char topic[NAME_SIZE];
    Wire__Redrive message = WIRE__REDRIVE__INIT;
    message.request = script_u8(script);
    message.topic = name(script, 't', topic);
    message.limit = script_u8(script) % 4;
    message_give(peer, FRAME_REDRIVE, &message.base);
}

/* ---- topics ---- */

static void say_create(struct peer *peer, struct script *script)
{
    char topic[NAME_SIZE];
    Wire__TopicCreate message = WIRE__TOPIC_CREATE__INIT;
    message.request = script_u8(script);
    message.name = name(script, 't', topic);
    message.partitions = script_u8(script) % 4;
    message_give(peer, FRAME_TOPIC_CREATE, &message.base);
}

/* Settings from a byte: what is kept, and how often a failed event is tried, where it goes in the end. */
static void settings_of(unsigned how, Wire__Retention *retention, Wire__RetryPolicy *retry,
                        char dead_letter[NAME_SIZE], struct script *script)
{
    retention->count = how & 1 ? 1 + how % 8 : 0;
    retention->bytes = how & 2 ? 100 : 0;
    retention->time_us = how & 4 ? 1000000 : 0;
    retention->until_consumed = how & 8;
    retry->first_ms = how & 16 ? 10 : 0;
    retry->max_ms = how & 16 ? 100 : 0;
    retry->deliveries = how >> 5 & 3;
    retry->dead_letter = how & 0x80 ? name(script, 't', dead_letter) : (char *)"";
}

static void quota_take(unsigned how, Wire__TopicQuota *quota)
{
    quota->events = how & 1 ? 1 + how % 64 : how & 2 ? UINT64_MAX : 0;
    quota->bytes = how & 4 ? 1000 + how : how & 8 ? UINT64_MAX : 0;
}

static void say_set(struct peer *peer, struct script *script)
{
    char topic[NAME_SIZE], dead_letter[NAME_SIZE];
    Wire__TopicCreate message = WIRE__TOPIC_CREATE__INIT;
    Wire__Retention retention = WIRE__RETENTION__INIT;
    Wire__RetryPolicy retry = WIRE__RETRY_POLICY__INIT;
    Wire__TopicQuota quota = WIRE__TOPIC_QUOTA__INIT;
    settings_of(script_u8(script), &retention, &retry, dead_letter, script);
    message.request = script_u8(script);
    message.name = name(script, 't', topic);
    message.partitions = script_u8(script) % 4;
    message.ephemeral = script_u8(script) % 4 == 0;
    message.durability = (Wire__Durability)(script_u8(script) % 2);
    message.retention = &retention;
    message.retry = &retry;
    quota_take(script_u8(script), &quota);
    message.quota = &quota;
    message.max_listeners = script_u8(script) % 4;
    message_give(peer, FRAME_TOPIC_CREATE, &message.base);
}

static void say_alter(struct peer *peer, struct script *script)
{
    char topic[NAME_SIZE], dead_letter[NAME_SIZE];
    Wire__TopicAlter message = WIRE__TOPIC_ALTER__INIT;
    Wire__Retention retention = WIRE__RETENTION__INIT;
    Wire__RetryPolicy retry = WIRE__RETRY_POLICY__INIT;
    Wire__TopicQuota quota = WIRE__TOPIC_QUOTA__INIT;
    settings_of(script_u8(script), &retention, &retry, dead_letter, script);
    message.request = script_u8(script);
    message.name = name(script, 't', topic);
    message.set = (script_u8(script) & 31u) | (script_u8(script) & 31u) << 16 | (script_u8(script) & 7u) << 8;
    quota_take(script_u8(script), &quota);
    message.quota = &quota;
    message.max_listeners = script_u8(script) % 4;
    message.durability = (Wire__Durability)(script_u8(script) % 2);
    message.retention = &retention;
    message.retry = &retry;
    message_give(peer, FRAME_TOPIC_ALTER, &message.base);
}

static void say_delete(struct peer *peer, struct script *script)
{
    char topic[NAME_SIZE];
    Wire__TopicDelete message = WIRE__TOPIC_DELETE__INIT;
    message.request = script_u8(script);
    message.name = name(script, 't', topic);
    message_give(peer, FRAME_TOPIC_DELETE, &message.base);
}

static void say_trim(struct peer *peer, struct script *script)
{
    char topic[NAME_SIZE];
    Wire__Position position = WIRE__POSITION__INIT, *list[] = {&position};
    Wire__TopicTrim message = WIRE__TOPIC_TRIM__INIT;
    unsigned how = script_u8(script);
    message.request = script_u8(script);
    message.name = name(script, 't', topic);
    message.time_us = how & 1 ? INT64_C(1700000000000000) + INT64_C(100000) * how : 0;
    position.partition = how & 2 ? UINT64_MAX : how >> 2 & 3;
    position.offset = script_u8(script) % 16;
    message.positions = list;
    message.n_positions = 1;
    message_give(peer, FRAME_TOPIC_TRIM, &message.base);
}

/* ---- questions ---- */

static void say_describe(struct peer *peer, struct script *script)
{
    char topic[NAME_SIZE], group[NAME_SIZE];
    Wire__TopicDescribe about_topic = WIRE__TOPIC_DESCRIBE__INIT;
    Wire__GroupDescribe about_group = WIRE__GROUP_DESCRIBE__INIT;
    about_topic.name = about_group.topic = name(script, 't', topic);
    about_group.name = name(script, 'g', group);
    about_group.first = script_u8(script) % 4;
    message_give(peer, FRAME_TOPIC_DESCRIBE, &about_topic.base);
    if (peer->connection && !peer->closing)
        message_give(peer, FRAME_GROUP_DESCRIBE, &about_group.base);
}

static void say_list(struct peer *peer, struct script *script)
{
    char after[NAME_SIZE];
    unsigned how = script_u8(script);
    Wire__TopicList topics = WIRE__TOPIC_LIST__INIT;
    Wire__GroupList groups = WIRE__GROUP_LIST__INIT;
    topics.limit = groups.limit = how >> 1 & 7;
    topics.after = groups.after = how & 0x10 ? name(script, 't', after) : (char *)"";
    if (how & 1)
        message_give(peer, FRAME_TOPIC_LIST, &topics.base);
    else
        message_give(peer, FRAME_GROUP_LIST, &groups.base);
}

static void say_group_change(struct peer *peer, struct script *script)
{
    char group[NAME_SIZE], topic[NAME_SIZE];
    Wire__GroupSeek seek = WIRE__GROUP_SEEK__INIT;
    Wire__GroupDelete gone = WIRE__GROUP_DELETE__INIT;
    Wire__Position position = WIRE__POSITION__INIT, *list[] = {&position};
    unsigned how = script_u8(script);
    seek.name = gone.name = name(script, 'g', group);
    seek.topic = name(script, 't', topic);
    position.partition = how >> 1 & 7;
    position.offset = how >> 4;
    seek.positions = list;
    seek.n_positions = 1;
    if (how & 1)
        message_give(peer, FRAME_GROUP_SEEK, &seek.base);
    else
        message_give(peer, FRAME_GROUP_DELETE, &gone.base);
}

/* Ids of schedules count up from 1, and their times are what say_later() asked for. */
static void say_cancel(struct peer *peer, struct script *script)
{
    Wire__ScheduleCancel message = WIRE__SCHEDULE_CANCEL__INIT;
    message.request = script_u8(script);
    message.schedule = 1 + script_u8(script) % 8;
    message.due_us = peer->wall_us + INT64_C(50000) * (script_u8(script) - 64);
    message_give(peer, FRAME_SCHEDULE_CANCEL, &message.base);
}

static void say_schedules(struct peer *peer, struct script *script)
{
    char topic[NAME_SIZE];
    Wire__ScheduleList message = WIRE__SCHEDULE_LIST__INIT;
    unsigned how = script_u8(script);
    message.request = how;
    message.topic = how & 1 ? name(script, 't', topic) : (char *)"";
    message.after_schedule = how >> 1 & 3;
    message.limit = how >> 3 & 3;
    message_give(peer, FRAME_SCHEDULE_LIST, &message.base);
}

static void say_inspect(struct peer *peer, struct script *script)
{
    Wire__Inspect message = WIRE__INSPECT__INIT;
    unsigned how = script_u8(script);
    message.request = script_u8(script);
    message.what = (Wire__Inspection)(how & 3);
    message.file = (Wire__InspectedFile)(how >> 2 & 3);
    message.after = message.number = how >> 4 & 3;
    message.position = script_u8(script);
    message.size = script_u8(script);
    message_give(peer, FRAME_INSPECT, &message.base);
}

/* ---- any of them ---- */

static void say_goodbye(struct peer *peer, struct script *script)
{
    (void)script;
    core_connection_close(peer->connection, "gone");
    *peer = (struct peer){0};
}

static void say_question(struct peer *peer, struct script *script)
{
    static void (*const says[])(struct peer *, struct script *) = {say_list, say_describe, say_schedules,
                                                                   say_inspect};
    says[script_u8(script) % ARRAY_SIZE(says)](peer, script);
}

static void say_of_listener(struct peer *peer, struct script *script)
{
    static void (*const says[])(struct peer *, struct script *) = {say_commit, say_credit, say_unlisten,
                                                                   say_group_change};
    says[script_u8(script) % ARRAY_SIZE(says)](peer, script);
}

/* Inputs of the corpus count on these places: what is new takes one of say_anything's. */
void peer_say(struct peer *peer, unsigned what, struct script *script)
{
    static void (*const says[PEER_SAYS])(struct peer *, struct script *) = {
        say_no_frame,   say_goodbye,    say_create,   say_listen,   say_listen,        say_emit,
        say_emit,       say_emit,       say_anything, say_anything, say_anything,      say_anything,
        say_anything,   say_anything,   say_anything, say_anything, say_listen_shared, say_listen_ephemeral,
        say_emit_keyed, say_expect,     say_later,    say_cancel,   say_ack,           say_nack,
        say_extend,     say_redrive,    say_set,      say_alter,    say_delete,        say_trim,
        say_question,   say_of_listener};
    says[what](peer, script);
}
