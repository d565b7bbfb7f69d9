/* engine_frames.c: see engine_frames.h. */
#include "tests/fuzz/engine_frames.h"

#include "base/bytes.h"
#include "base/check.h"
#include "proto/batch.h"
#include "proto/crier.pb-c.h"
#include "proto/frame.h"

#include <string.h>

static void bytes_give(struct far_end *far, const uint8_t *bytes, size_t size)
{
    while (size > 0 && far->connected) {
        struct iovec space;
        int rc = engine_input(far->engine, &space);
        CHECK(rc == 0 && space.iov_len > 0);
        size_t part = size < space.iov_len ? size : space.iov_len;
        memcpy(space.iov_base, bytes, part);
        engine_received(far->engine, part, far->now_us);
        bytes += part;
        size -= part;
    }
}

static void frame_give(struct far_end *far, uint8_t kind, const uint8_t *header, size_t header_size,
                       const uint8_t *attachment, size_t attachment_size)
{
    uint8_t frame[FRAME_PREFIX_SIZE + 1024 + 2048];
    CHECK(header_size <= 1024 && attachment_size <= 2048);
    frame_prefix_encode(frame, (enum frame_kind)kind, header_size, attachment_size);
    if (header_size)
        memcpy(frame + FRAME_PREFIX_SIZE, header, header_size);
    if (attachment_size)
        memcpy(frame + FRAME_PREFIX_SIZE + header_size, attachment, attachment_size);
    bytes_give(far, frame, FRAME_PREFIX_SIZE + header_size + attachment_size);
}

static void message_give(struct far_end *far, uint8_t kind, const ProtobufCMessage *message,
                         const uint8_t *attachment, size_t attachment_size)
{
    uint8_t header[1024];
    CHECK(protobuf_c_message_get_packed_size(message) <= sizeof(header));
    frame_give(far, kind, header, protobuf_c_message_pack(message, header), attachment, attachment_size);
}

static void connect_now(struct far_end *far)
{
    Wire__Welcome welcome = WIRE__WELCOME__INIT;
    if (!far->wants)
        return;
    far->wants = false;
    far->connected = true;
    engine_connected(far->engine, far->now_us);
    welcome.version = 1;
    welcome.feature_level = ENGINE_FEATURE_LEVEL;
    welcome.producer_id = 1;
    welcome.frame_size_max = 1 << 20;
    welcome.event_size_max = 1 << 16;
    welcome.grant = 1 << 16;
    welcome.ping_interval_ms = 1000;
    welcome.idle_timeout_ms = 3000;
    message_give(far, FRAME_WELCOME, &welcome.base, NULL, 0);
}

/* ---- a broker that mostly means well ---- */

static void topics_give(struct far_end *far, struct script *script)
{
    Wire__PartitionInfo infos[3], *pointers[3];
    Wire__TopicInfo topic = WIRE__TOPIC_INFO__INIT, *topics[] = {&topic};
    Wire__Topics message = WIRE__TOPICS__INIT;
    uint8_t id[16] = {1};
    for (size_t i = 0; i < 3; i++) {
        wire__partition_info__init(&infos[i]);
        infos[i].id = 1 + i;
        pointers[i] = &infos[i];
    }
    topic.name = (char *)(script_u8(script) & 1 ? "ta" : "tb");
    topic.id = (ProtobufCBinaryData){sizeof(id), id};
    topic.partitions = pointers;
    topic.n_partitions = 1 + script_u8(script) % 3;
    message.request = script_u8(script) % 16;
    message.code = script_u8(script) % 8 == 7 ? -3 : 0;
    message.topics = topics;
    message.n_topics = message.code ? 0 : 1;
    message.more = script_u8(script) % 8 == 7;
    message_give(far, FRAME_TOPICS, &message.base, NULL, 0);
}

static void emitted_give(struct far_end *far, struct script *script)
{
    Wire__EmittedPart parts[2], *pointers[2] = {&parts[0], &parts[1]};
    Wire__Emitted message = WIRE__EMITTED__INIT;
    message.request = 1 + script_u8(script) % 8;
    message.n_parts = 1 + script_u8(script) % 2;
    message.parts = pointers;
    for (size_t i = 0; i < 2; i++) {
        wire__emitted_part__init(&parts[i]);
        parts[i].outcome = (Wire__Outcome)(script_u8(script) % 4);
        parts[i].code = parts[i].outcome ? -(int32_t)(script_u8(script) % 30) : 0;
        parts[i].base_offset = (int64_t)script_u8(script) - 1;
        parts[i].duplicate = script_u8(script) & 1;
        parts[i].due_us = parts[i].duplicate ? script_u8(script) : 0;
        parts[i].schedule = (uint64_t)parts[i].due_us;
    }
    message_give(far, FRAME_EMITTED, &message.base, NULL, 0);
}

static void listening_give(struct far_end *far, struct script *script)
{
    Wire__ListenPartition partitions[2], *pointers[2] = {&partitions[0], &partitions[1]};
    uint32_t listener = 1 + script_u8(script) % 4;
    uint64_t generation = script_u8(script) % 4;
    size_t count = script_u8(script) % 3;
    for (size_t i = 0; i < 2; i++) {
        wire__listen_partition__init(&partitions[i]);
        partitions[i].partition = 1 + (uint64_t)script_u8(script) % 3;
        partitions[i].next = script_u8(script) % 8;
        partitions[i].index = (uint32_t)i;
        if (script_u8(script) % 8 == 7)
            partitions[i].topic = (char *)"ta";
    }
    if (script_u8(script) & 1) {
        Wire__Listening message = WIRE__LISTENING__INIT;
        message.listener = listener;
        message.generation = generation;
        message.partitions = pointers;
        message.n_partitions = count;
        message_give(far, FRAME_LISTENING, &message.base, NULL, 0);
    } else {
        Wire__Assign message = WIRE__ASSIGN__INIT;
        uint64_t revoked[] = {1 + (uint64_t)script_u8(script) % 3};
        message.listener = listener;
        message.generation = generation;
        message.added = pointers;
        message.n_added = count;
        message.revoked = revoked;
        message.n_revoked = script_u8(script) & 1;
        message_give(far, FRAME_ASSIGN, &message.base, NULL, 0);
    }
}

/* A batch, mostly as it should be. */
static size_t batch_make(struct far_end *far, uint8_t *batch, size_t capacity, struct script *script)
{
    struct batch_builder builder;
    size_t value_size;
    batch_builder_init(&builder, batch, capacity);
    unsigned count = 1 + script_u8(script) % 4;
    const uint8_t *value = script_bytes(script, script_u8(script) % 64, &value_size);
    for (unsigned i = 0; i < count; i++)
        batch_builder_append(&builder, 1700000000000, value, value_size / 2, value, value_size, NULL, 0);
    size_t size = batch_builder_finish(&builder, 1, 0, 0);
    batch_patch(batch, (int64_t)(script_u8(script) & 1 ? far->next_offset : script_u8(script)), 0);
    far->next_offset += count;
    if (script_u8(script) % 16 == 15) /* a bit that the disk or the line has turned */
        batch[script_u16(script) % size] ^= 1;
    return size;
}

static void deliver_give(struct far_end *far, struct script *script)
{
    Wire__Deliver message = WIRE__DELIVER__INIT;
    uint8_t batch[2048];
    size_t size = batch_make(far, batch, sizeof(batch), script);
    message.listener = 1 + script_u8(script) % 4;
    message.partition = 1 + (uint64_t)script_u8(script) % 3;
    message.high_watermark = 1000;
    message_give(far, FRAME_DELIVER, &message.base, batch, size);
}

/* ---- shared groups ---- */

static void leases_make(Wire__Lease leases[], Wire__Lease *pointers[], size_t count, struct script *script)
{
    for (size_t i = 0; i < count; i++) {
        wire__lease__init(&leases[i]);
        leases[i].partition = 1 + (uint64_t)script_u8(script) % 3;
        leases[i].offset = script_u8(script) % 16;
        leases[i].count = script_u8(script) % 4;
        leases[i].attempt = script_u8(script) % 4;
        pointers[i] = &leases[i];
    }
}

static void shared_deliver_give(struct far_end *far, struct script *script)
{
    Wire__Range ranges[4], *pointers[4];
    Wire__Deliver message = WIRE__DELIVER__INIT;
    uint8_t batch[2048];
    size_t size = batch_make(far, batch, sizeof(batch), script);
    message.n_ranges = script_u8(script) % 5;
    message.ranges = pointers;
    for (size_t i = 0; i < 4; i++) {
        wire__range__init(&ranges[i]);
        ranges[i].delta = script_u8(script) % 8;
        ranges[i].count = script_u8(script) % 4;
        ranges[i].attempt = script_u8(script) % 4;
        pointers[i] = &ranges[i];
    }
    message.listener = 1 + script_u8(script) % 4;
    message.partition = 1 + (uint64_t)script_u8(script) % 3;
    message.high_watermark = 1000;
    message.base_offset = script_u8(script) % 4 ? be64_get(batch) : script_u8(script);
    message.held = script_u8(script) % 4 == 3;
    message_give(far, FRAME_DELIVER, &message.base, batch, message.held ? 0 : size);
}

static void settled_give(struct far_end *far, struct script *script)
{
    Wire__Lease leases[3], *pointers[3];
    Wire__Settled message = WIRE__SETTLED__INIT;
    message.request = script_u8(script) % 16;
    message.code = script_u8(script) % 8 == 7 ? -(int32_t)(script_u8(script) % 40) : 0;
    message.n_refused = script_u8(script) % 4;
    message.refused = pointers;
    leases_make(leases, pointers, 3, script);
    message_give(far, FRAME_SETTLED, &message.base, NULL, 0);
}

static void redriven_give(struct far_end *far, struct script *script)
{
    Wire__Redriven message = WIRE__REDRIVEN__INIT;
    message.request = script_u8(script) % 16;
    message.code = script_u8(script) % 4 == 3 ? -3 : 0;
    message.moved = script_u8(script);
    message_give(far, FRAME_REDRIVEN, &message.base, NULL, 0);
}

/* ---- answers ---- */

static void groups_give(struct far_end *far, struct script *script)
{
    Wire__GroupPartition partitions[3], *pointers[3];
    Wire__GroupInfo group = WIRE__GROUP_INFO__INIT, *groups[] = {&group};
    Wire__Groups message = WIRE__GROUPS__INIT;
    char *topics[] = {(char *)"ta", (char *)"tb"};
    for (size_t i = 0; i < 3; i++) {
        wire__group_partition__init(&partitions[i]);
        partitions[i].partition = 1 + i;
        partitions[i].has_position = script_u8(script) & 1;
        partitions[i].position = script_u8(script);
        partitions[i].done = script_u8(script);
        partitions[i].member = (char *)"m";
        pointers[i] = &partitions[i];
    }
    group.name = (char *)"g";
    group.members = script_u8(script);
    group.kind = (Wire__GroupKind)(script_u8(script) % 4);
    group.topics = topics;
    group.n_topics = script_u8(script) % 3;
    group.partitions = pointers;
    group.n_partitions = script_u8(script) % 4;
    message.request = script_u8(script) % 16;
    message.code = script_u8(script) % 8 == 7 ? -3 : 0;
    message.groups = groups;
    message.n_groups = script_u8(script) % 2;
    message.more = script_u8(script) % 4 == 3;
    message_give(far, FRAME_GROUPS, &message.base, NULL, 0);
}

static void schedules_give(struct far_end *far, struct script *script)
{
    Wire__ScheduleInfo schedules[3], *pointers[3];
    Wire__Schedules message = WIRE__SCHEDULES__INIT;
    for (size_t i = 0; i < 3; i++) {
        wire__schedule_info__init(&schedules[i]);
        schedules[i].due_us = script_u8(script);
        schedules[i].schedule = script_u8(script);
        schedules[i].topic = (char *)"ta";
        pointers[i] = &schedules[i];
    }
    message.request = script_u8(script) % 16;
    message.code = script_u8(script) % 8 == 7 ? -3 : 0;
    message.schedules = pointers;
    message.n_schedules = script_u8(script) % 4;
    message.more = script_u8(script) & 1;
    message.next_due_us = script_u8(script);
    message.next_schedule = script_u8(script);
    message.pending = script_u8(script);
    message_give(far, FRAME_SCHEDULES, &message.base, NULL, 0);
}

static void inspected_give(struct far_end *far, struct script *script)
{
    Wire__InspectFault fault = WIRE__INSPECT_FAULT__INIT, *faults[] = {&fault};
    Wire__Inspected message = WIRE__INSPECTED__INIT;
    uint8_t cluster[32] = {0};
    size_t size;
    fault.topic = (char *)"ta";
    fault.what = (char *)"a bad checksum";
    message.request = script_u8(script) % 16;
    message.code = script_u8(script) % 8 == 7 ? -3 : 0;
    message.found = script_u8(script) & 1;
    message.size = script_u8(script);
    message.cluster_id = (ProtobufCBinaryData){script_u8(script) % 33, cluster};
    message.fault = faults;
    message.n_fault = script_u8(script) & 1;
    const uint8_t *bytes = script_bytes(script, script_u8(script), &size);
    message_give(far, FRAME_INSPECTED, &message.base, bytes, size);
}

static void committed_give(struct far_end *far, struct script *script)
{
    Wire__Committed message = WIRE__COMMITTED__INIT;
    message.request = script_u8(script) % 16;
    message.code = script_u8(script) % 4 == 3 ? -(int32_t)(script_u8(script) % 40) : 0;
    message_give(far, FRAME_COMMITTED, &message.base, NULL, 0);
}

static void ended_give(struct far_end *far, struct script *script)
{
    Wire__Ended message = WIRE__ENDED__INIT;
    message.listener = 1 + script_u8(script) % 4;
    message.code = script_u8(script) & 1 ? -(int32_t)(script_u8(script) % 40) : 0;
    message_give(far, FRAME_ENDED, &message.base, NULL, 0);
}

/* ---- the connection ---- */

static void connection_give(struct far_end *far, struct script *script)
{
    switch (script_u8(script) % 4) {
    case 0: {
        Wire__Credit message = WIRE__CREDIT__INIT;
        message.listener = script_u8(script) % 3;
        message.total = (uint64_t)script_u16(script) << script_u8(script) % 48;
        message_give(far, FRAME_CREDIT, &message.base, NULL, 0);
        break;
    }
    case 1: {
        Wire__Ping message = WIRE__PING__INIT;
        message.nonce = script_u8(script) % 4;
        message_give(far, script_u8(script) & 1 ? FRAME_PING : FRAME_PONG, &message.base, NULL, 0);
        break;
    }
    case 2: {
        Wire__Goaway message = WIRE__GOAWAY__INIT;
        message.deadline_ms = script_u8(script);
        message_give(far, FRAME_GOAWAY, &message.base, NULL, 0);
        break;
    }
    default: {
        Wire__Error message = WIRE__ERROR__INIT;
        message.code = -(int32_t)(script_u8(script) % 40);
        message.retriable = script_u8(script) & 1;
        message_give(far, FRAME_ERROR, &message.base, NULL, 0);
        break;
    }
    }
}

typedef void say(struct far_end *far, struct script *script);

static say *const says[] = {shared_deliver_give, shared_deliver_give, settled_give,   settled_give,
                            redriven_give,       groups_give,         schedules_give, inspected_give,
                            committed_give,      ended_give,          connection_give};

static void any_frame(struct far_end *far, struct script *script)
{
    size_t header_size, attachment_size;
    uint8_t kind = script_u8(script) % 64;
    const uint8_t *header = script_bytes(script, script_u8(script), &header_size);
    const uint8_t *attachment = script_bytes(script, script_u8(script), &attachment_size);
    frame_give(far, kind, header, header_size, attachment, attachment_size);
}

void far_end_say(struct far_end *far, unsigned what, struct script *script)
{
    size_t size;
    connect_now(far);
    if (what & 0x40) {
        says[what % ARRAY_SIZE(says)](far, script);
        return;
    }
    switch (what & 15) {
    case 0: {
        const uint8_t *bytes = script_bytes(script, script_u8(script), &size);
        bytes_give(far, bytes, size);
        break;
    }
    case 1:
        if (far->connected) {
            far->connected = false;
            engine_disconnected(far->engine, far->now_us, CRIER_ECONNECT, "gone");
        }
        break;
    case 2:
    case 3:
        topics_give(far, script);
        break;
    case 4:
    case 5:
        emitted_give(far, script);
        break;
    case 6:
    case 7:
        listening_give(far, script);
        break;
    case 8:
    case 9:
    case 10:
        deliver_give(far, script);
        break;
    default:
        any_frame(far, script);
        break;
    }
}
