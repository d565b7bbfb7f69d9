/* fuzz_engine.c: the client's engine against a broker that sends anything.
 *
 * A script says what the application does (emit, listen, ask, close) and what the broker does: a proper WELCOME or TOPICS, any
 * frame with any header and attachment, bytes that are no frame, silence, the end of the connection.
 *
 * Promises: nothing crashes or leaks; every emit and every question has one outcome by the time the engine is dropped; what
 * the engine sends is whole frames. */
#include "tests/fuzz/fuzz.h"

#include "base/check.h"
#include "client/engine.h"
#include "proto/batch.h"
#include "proto/crier.pb-c.h"
#include "proto/frame.h"
#include "tests/fuzz/script.h"

#include <stdio.h>
#include <string.h>

#define STEPS_MAX 200

struct world {
    struct engine *engine;
    int64_t now_us;
    bool wants, connected;
    uint64_t emits, outcomes, questions, answers;
    uint64_t next_offset;
};

static void on_connect(void *ctx, unsigned endpoint)
{
    (void)endpoint;
    ((struct world *)ctx)->wants = true;
}

static void on_disconnect(void *ctx)
{
    ((struct world *)ctx)->wants = ((struct world *)ctx)->connected = false;
}

static void on_connection(void *ctx, bool connected, int code, const char *text)
{
    (void)ctx, (void)connected, (void)code;
    CHECK(text);
}

static void on_drain(void *ctx)
{
    (void)ctx;
}

static void on_released(void *ctx, crier_listener *listener)
{
    (void)ctx;
    CHECK(listener);
}

static const struct engine_ops ops = {.connect = on_connect,
                                      .disconnect = on_disconnect,
                                      .connection = on_connection,
                                      .drain = on_drain,
                                      .released = on_released};

static void on_done(crier *bus, int code, uint64_t offset, void *ctx)
{
    (void)bus, (void)code, (void)offset;
    ((struct world *)ctx)->outcomes++;
}

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    size_t size = 0;
    (void)bus, (void)ctx;
    for (size_t i = 0; i < event->value_size; i++) /* every byte is there */
        size += ((const uint8_t *)event->value)[i];
    return size % 7 == 3 ? -1 : 0;
}

static void on_answer(void *ctx, const struct engine_answer *answer)
{
    CHECK(answer->text);
    ((struct world *)ctx)->answers += !answer->more;
}

/* ---- the wire ---- */

static void output_take(struct world *world)
{
    struct iovec pieces[8];
    size_t count;
    for (int i = 0; i < 16 && world->connected; i++) {
        size_t size = 0;
        count = engine_output(world->engine, pieces, 8, world->now_us);
        for (size_t p = 0; p < count; p++)
            size += pieces[p].iov_len;
        if (count == 0 || !world->connected)
            break;
        engine_output_consumed(world->engine, size);
    }
}

static void bytes_give(struct world *world, const uint8_t *bytes, size_t size)
{
    while (size > 0 && world->connected) {
        struct iovec space;
        int rc = engine_input(world->engine, &space);
        CHECK(rc == 0 && space.iov_len > 0);
        size_t part = size < space.iov_len ? size : space.iov_len;
        memcpy(space.iov_base, bytes, part);
        engine_received(world->engine, part, world->now_us);
        bytes += part;
        size -= part;
    }
}

static void frame_give(struct world *world, uint8_t kind, const uint8_t *header, size_t header_size,
                       const uint8_t *attachment, size_t attachment_size)
{
    uint8_t frame[FRAME_PREFIX_SIZE + 1024 + 2048];
    CHECK(header_size <= 1024 && attachment_size <= 2048);
    frame_prefix_encode(frame, (enum frame_kind)kind, header_size, attachment_size);
    if (header_size)
        memcpy(frame + FRAME_PREFIX_SIZE, header, header_size);
    if (attachment_size)
        memcpy(frame + FRAME_PREFIX_SIZE + header_size, attachment, attachment_size);
    bytes_give(world, frame, FRAME_PREFIX_SIZE + header_size + attachment_size);
}

static void message_give(struct world *world, uint8_t kind, const ProtobufCMessage *message,
                         const uint8_t *attachment, size_t attachment_size)
{
    uint8_t header[1024];
    CHECK(protobuf_c_message_get_packed_size(message) <= sizeof(header));
    frame_give(world, kind, header, protobuf_c_message_pack(message, header), attachment, attachment_size);
}

static void connect_now(struct world *world)
{
    Wire__Welcome welcome = WIRE__WELCOME__INIT;
    if (!world->wants)
        return;
    world->wants = false;
    world->connected = true;
    engine_connected(world->engine, world->now_us);
    welcome.version = 1;
    welcome.producer_id = 1;
    welcome.frame_size_max = 1 << 20;
    welcome.event_size_max = 1 << 16;
    welcome.grant = 1 << 16;
    welcome.ping_interval_ms = 1000;
    welcome.idle_timeout_ms = 3000;
    message_give(world, FRAME_WELCOME, &welcome.base, NULL, 0);
}

/* ---- a broker that mostly means well ---- */

static void topics_give(struct world *world, struct script *script)
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
    message_give(world, FRAME_TOPICS, &message.base, NULL, 0);
}

static void emitted_give(struct world *world, struct script *script)
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
    }
    message_give(world, FRAME_EMITTED, &message.base, NULL, 0);
}

static void listening_give(struct world *world, struct script *script)
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
        message_give(world, FRAME_LISTENING, &message.base, NULL, 0);
    } else {
        Wire__Assign message = WIRE__ASSIGN__INIT;
        uint64_t revoked[] = {1 + (uint64_t)script_u8(script) % 3};
        message.listener = listener;
        message.generation = generation;
        message.added = pointers;
        message.n_added = count;
        message.revoked = revoked;
        message.n_revoked = script_u8(script) & 1;
        message_give(world, FRAME_ASSIGN, &message.base, NULL, 0);
    }
}

static void deliver_give(struct world *world, struct script *script)
{
    uint8_t batch[2048];
    struct batch_builder builder;
    Wire__Deliver message = WIRE__DELIVER__INIT;
    size_t value_size;
    batch_builder_init(&builder, batch, sizeof(batch));
    unsigned count = 1 + script_u8(script) % 4;
    const uint8_t *value = script_bytes(script, script_u8(script) % 64, &value_size);
    for (unsigned i = 0; i < count; i++)
        batch_builder_append(&builder, 1700000000000, value, value_size / 2, value, value_size, NULL, 0);
    size_t size = batch_builder_finish(&builder, 1, 0, 0);
    batch_patch(batch, (int64_t)(script_u8(script) & 1 ? world->next_offset : script_u8(script)), 0);
    world->next_offset += count;
    if (script_u8(script) % 16 == 15) /* a bit that the disk or the line has turned */
        batch[script_u16(script) % size] ^= 1;
    message.listener = 1 + script_u8(script) % 4;
    message.partition = 1 + (uint64_t)script_u8(script) % 3;
    message.high_watermark = 1000;
    message_give(world, FRAME_DELIVER, &message.base, batch, size);
}

static void any_frame(struct world *world, struct script *script)
{
    size_t header_size, attachment_size;
    uint8_t kind = script_u8(script) % 64;
    const uint8_t *header = script_bytes(script, script_u8(script), &header_size);
    const uint8_t *attachment = script_bytes(script, script_u8(script), &attachment_size);
    frame_give(world, kind, header, header_size, attachment, attachment_size);
}

static void broker_step(struct world *world, unsigned what, struct script *script)
{
    size_t size;
    connect_now(world);
    switch (what) {
    case 0: {
        const uint8_t *bytes = script_bytes(script, script_u8(script), &size);
        bytes_give(world, bytes, size);
        break;
    }
    case 1:
        if (world->connected) {
            world->connected = false;
            engine_disconnected(world->engine, world->now_us, CRIER_ECONNECT, "gone");
        }
        break;
    case 2:
    case 3:
        topics_give(world, script);
        break;
    case 4:
    case 5:
        emitted_give(world, script);
        break;
    case 6:
    case 7:
        listening_give(world, script);
        break;
    case 8:
    case 9:
    case 10:
        deliver_give(world, script);
        break;
    default:
        any_frame(world, script);
        break;
    }
}

/* ---- the application ---- */

static void emit(struct world *world, struct script *script)
{
    struct crier_emit_options options = crier_emit_options_default();
    size_t size;
    bool wake;
    const char *topic = (char *)(script_u8(script) & 1 ? "ta" : "tb");
    const uint8_t *value = script_bytes(script, script_u8(script) % 64, &size);
    options.done = on_done;
    options.ctx = world;
    options.durability = script_u8(script) & 1 ? CRIER_MEMORY : CRIER_DURABLE;
    options.partition = (int32_t)(script_u8(script) % 4) - 1;
    if (engine_emit(world->engine, topic, value, size, &options, 1700000000000, &wake) == 0)
        world->emits++;
}

static void listen(struct world *world, struct script *script)
{
    struct crier_listen_options options = crier_listen_options_default();
    crier_listener *listener;
    unsigned how = script_u8(script);
    options.group = how & 1 ? "g" : NULL;
    options.from = (enum crier_from)(how >> 1 & 3);
    options.count = how & 8 ? 2 : 0;
    if (engine_listener_create(world->engine, how & 16 && !(how & 1) ? "t*" : "ta", &options, on_event, world,
                               &listener) == 0)
        engine_listen(world->engine, listener);
}

static void ask(struct world *world, struct script *script)
{
    const struct crier_group_seek_options seek = crier_group_seek_options_default();
    int rc;
    switch (script_u8(script) % 6) {
    case 0:
        rc = engine_topic_list(world->engine, on_answer, world, world->now_us);
        break;
    case 1:
        rc = engine_topic_describe(world->engine, "ta", on_answer, world, world->now_us);
        break;
    case 2:
        rc = engine_group_describe(world->engine, "g", "ta", on_answer, world, world->now_us);
        break;
    case 3:
        rc = engine_group_seek(world->engine, "g", "ta", &seek, on_answer, world, world->now_us);
        break;
    case 4:
        rc = engine_group_list(world->engine, on_answer, world, world->now_us);
        break;
    default:
        rc = engine_ping(world->engine, on_answer, world, world->now_us);
        break;
    }
    world->questions += rc == 0;
}

static void turn(struct world *world, int64_t us)
{
    world->now_us += us;
    if (engine_due(world->engine) <= world->now_us)
        engine_tick(world->engine, world->now_us);
    engine_dispatch(world->engine, 16, world->now_us);
    engine_collect(world->engine, world->now_us);
    output_take(world);
}

static void application_step(struct world *world, unsigned what, struct script *script)
{
    if (what == 0)
        turn(world, INT64_C(100000) * script_u8(script));
    else if (what < 4)
        emit(world, script);
    else if (what < 6)
        listen(world, script);
    else
        ask(world, script);
    turn(world, 1000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script script = {data, size};
    struct world world = {.now_us = 1000000};
    struct engine_config config = {
        .options = crier_options_default(), .instance = "0123456789abcde", .seed = 1, .endpoint_count = 1};
    config.options.batch_size_max = 2048;
    config.options.buffer_size_max = 64 * 1024;
    config.options.listen_credit = 4096;
    world.engine = engine_create(&config, &ops, &world);
    CHECK(world.engine);
    engine_start(world.engine, world.now_us);
    for (int step = 0; step < STEPS_MAX && !script_over(&script); step++) {
        unsigned what = script_u8(&script);
        if (what & 0x80)
            application_step(&world, what & 7, &script);
        else
            broker_step(&world, what & 15, &script);
        turn(&world, 10);
    }
    engine_emit_close(world.engine);
    engine_close(world.engine, world.now_us);
    turn(&world, 1000);
    engine_drop(world.engine, CRIER_ECLOSED);
    engine_collect(world.engine, world.now_us);
    engine_destroy(world.engine);
    CHECK(world.emits == world.outcomes && world.questions == world.answers);
    return 0;
}
