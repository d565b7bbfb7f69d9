/* fuzz_session.c: any sequence of frames from several clients, through the session's real entry points, on a store in memory.
 *
 * A script says which connection does what: HELLO, any frame with any header, an EMIT with a batch that is right, bytes that
 * are no frame, the end; and what happens around it: time, completions, a full or failing disk, power cuts, a drain.
 *
 * Promises: nothing crashes or leaks; what the broker sends is whole frames that unpack; the log can be started from again;
 * when everybody is gone nothing is held for anybody. */
#include "tests/fuzz/fuzz.h"

#include "base/check.h"
#include "broker/core/core.h"
#include "proto/batch.h"
#include "proto/crier.pb-c.h"
#include "proto/error.h"
#include "storage/store_memory.h"
#include "tests/fuzz/script.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define PEERS     4
#define STEPS_MAX 200

struct peer {
    struct core_connection *connection;
    uint64_t request; /* of its next EMIT */
    size_t unsent;
    bool closing;
};

struct world {
    struct core_config config;
    struct store_memory_options options;
    struct store *store;
    struct core *core;
    struct peer peers[PEERS];
    int64_t now_us;
    uint8_t random;
};

/* ---- what the core asks for ---- */

static void ops_send(void *owner, const uint8_t *head, size_t head_size, const struct slice *slices,
                     size_t slice_count)
{
    struct peer *peer = owner;
    size_t size = head_size;
    for (size_t i = 0; i < slice_count; i++)
        size += slices[i].size;
    CHECK(head_size >= FRAME_PREFIX_SIZE && frame_size_announced(head, head_size) == size);
    peer->unsent += size;
}

static void ops_close(void *owner)
{
    struct peer *peer = owner;
    peer->closing = true;
}

static void ops_pause(void *owner, bool paused)
{
    (void)owner, (void)paused; /* a peer that goes on sending all the same */
}

static void ops_random(void *ctx, void *to, size_t size)
{
    struct world *world = ctx;
    memset(to, ++world->random, size);
}

static void ops_log(void *ctx, enum log_level level, const char *id, const char *text)
{
    (void)ctx, (void)level;
    CHECK(id && text);
}

static const struct core_ops ops = {
    .send = ops_send, .close = ops_close, .pause = ops_pause, .random = ops_random, .log = ops_log};

/* ---- turns ---- */

static void turn_begin(struct world *world)
{
    core_turn_begin(world->core, world->now_us, INT64_C(1700000000000000) + world->now_us);
}

static void turn_end(struct world *world)
{
    core_turn_end(world->core);
    for (struct peer *peer = world->peers; peer < world->peers + PEERS; peer++) {
        size_t unsent = peer->unsent;
        peer->unsent = 0;
        if (peer->connection && unsent)
            core_connection_sent(peer->connection, unsent);
        if (peer->connection && peer->closing) {
            core_connection_close(peer->connection, "closed");
            *peer = (struct peer){0};
        }
    }
    core_turn_end(world->core);
}

static void wait(struct world *world, int64_t us)
{
    world->now_us += us;
    store_memory_advance(world->store, world->now_us);
    turn_begin(world);
    world->store->ops->poll(world->store, UINT_MAX);
    turn_end(world);
}

static void core_begin(struct world *world)
{
    char error[256];
    world->core = core_create(&world->config, &ops, world, world->store);
    CHECK(world->core);
    int rc = core_recover(world->core, world->now_us, INT64_C(1700000000000000) + world->now_us, error,
                          sizeof(error));
    CHECK(rc == 0); /* whatever was stored can be started from */
    for (int i = 0; i < 100 && !core_ready(world->core); i++)
        wait(world, 100000);
    CHECK(core_ready(world->core));
}

static void power_cut(struct world *world)
{
    struct store_memory_image *image = store_memory_crash(world->store);
    core_destroy(world->core);
    memset(world->peers, 0, sizeof(world->peers));
    int rc = store_memory_reopen(&world->options, image, &world->store);
    CHECK(rc == 0);
    store_memory_advance(world->store, world->now_us);
    core_begin(world);
}

/* ---- frames ---- */

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

static void hello(struct world *world, struct peer *peer, struct script *script)
{
    uint8_t instance[16] = {script_u8(script) % 4};
    Wire__Hello message = WIRE__HELLO__INIT;
    message.version = 1;
    message.instance = (ProtobufCBinaryData){sizeof(instance), instance};
    message.producer_id = script_u8(script) % 8;
    message_give(peer, FRAME_HELLO, &message.base);
    turn_end(world);
    wait(world, 10000);
    turn_begin(world);
}

static void any_frame(struct peer *peer, struct script *script)
{
    size_t header_size, attachment_size;
    uint8_t kind = script_u8(script) % 64;
    const uint8_t *header = script_bytes(script, script_u8(script), &header_size);
    const uint8_t *attachment =
        script_bytes(script, kind == FRAME_EMIT ? script_u8(script) : 0, &attachment_size);
    frame_give(peer, kind, header, header_size, attachment, attachment_size);
}

/* One batch as a producer builds it; only its numbers are anything. */
static void good_emit(struct peer *peer, struct script *script)
{
    uint8_t batch[1024], header[64];
    struct batch_builder builder;
    size_t value_size;
    batch_builder_init(&builder, batch, sizeof(batch));
    unsigned count = 1 + script_u8(script) % 4;
    const uint8_t *value = script_bytes(script, script_u8(script) % 64, &value_size);
    for (unsigned i = 0; i < count; i++)
        batch_builder_append(&builder, 1700000000000 + i, NULL, 0, value, value_size, NULL, 0);
    size_t size = batch_builder_finish(&builder, (int64_t)script_u8(script) - 1, script_u8(script) % 3,
                                       script_u8(script) % 16);
    Wire__EmitPart part = WIRE__EMIT_PART__INIT, *parts[] = {&part};
    Wire__Emit message = WIRE__EMIT__INIT;
    message.request = ++peer->request;
    message.durability = (Wire__Durability)(script_u8(script) % 2);
    part.partition = script_u8(script) % 8;
    part.size = (uint32_t)size;
    message.parts = parts;
    message.n_parts = 1;
    frame_give(peer, FRAME_EMIT, header, wire__emit__pack(&message, header), batch, size);
}

static char *name(struct script *script, char prefix, char to[8])
{
    to[0] = prefix;
    to[1] = (char)('a' + script_u8(script) % 3);
    to[2] = '\0';
    return to;
}

static void good_listen(struct peer *peer, struct script *script)
{
    char topic[8], group[8];
    Wire__Listen message = WIRE__LISTEN__INIT;
    unsigned how = script_u8(script);
    message.listener = 1 + script_u8(script) % 4;
    message.topic = how & 1 ? (char *)"t*" : name(script, 't', topic);
    message.group = how & 2 ? name(script, 'g', group) : (char *)"";
    message.from = (Wire__From)(how >> 2 & 3);
    message.from_value = script_u8(script);
    message.credit = script_u16(script);
    message.create = true;
    message_give(peer, FRAME_LISTEN, &message.base);
}

static void good_create(struct peer *peer, struct script *script)
{
    char topic[8];
    Wire__TopicCreate message = WIRE__TOPIC_CREATE__INIT;
    message.request = script_u8(script);
    message.name = name(script, 't', topic);
    message.partitions = script_u8(script) % 4;
    message_give(peer, FRAME_TOPIC_CREATE, &message.base);
}

static void no_frame(struct peer *peer, struct script *script)
{
    size_t size;
    const uint8_t *bytes = script_bytes(script, 8 + script_u8(script) % 32, &size);
    if (size >= 8)
        core_connection_bad(peer->connection, WIRE_CRIER_EPROTO, bytes, size);
}

/* ---- steps ---- */

static void peer_step(struct world *world, struct peer *peer, unsigned what, struct script *script)
{
    turn_begin(world);
    if (!peer->connection) {
        peer->connection = core_connection_open(world->core, peer, "fuzz");
        CHECK(peer->connection);
        if (what % 8 != 0) /* mostly in order */
            hello(world, peer, script);
        if (!peer->connection)
            return;
    }
    switch (what) {
    case 0:
        no_frame(peer, script);
        break;
    case 1:
        core_connection_close(peer->connection, "gone");
        *peer = (struct peer){0};
        break;
    case 2:
        good_create(peer, script);
        break;
    case 3:
    case 4:
        good_listen(peer, script);
        break;
    case 5:
    case 6:
    case 7:
        good_emit(peer, script);
        break;
    default:
        any_frame(peer, script);
        break;
    }
    turn_end(world);
}

static void world_step(struct world *world, unsigned what, struct script *script)
{
    switch (what) {
    case 0:
        power_cut(world);
        break;
    case 1:
        store_memory_fault_full(world->store, script_u8(script) & 1);
        break;
    case 2:
        store_memory_fault_commit(world->store, script_u8(script) % 4);
        break;
    case 3:
        store_memory_fault_read(world->store, script_u8(script) % 4);
        break;
    case 4:
        wait(world, INT64_C(1000000) * script_u8(script));
        break;
    case 5:
        turn_begin(world);
        core_drain(world->core, script_u8(script));
        turn_end(world);
        break;
    default:
        wait(world, INT64_C(100) * script_u8(script));
        break;
    }
}

static void all_leave(struct world *world)
{
    struct core_stats stats;
    store_memory_fault_full(world->store, false);
    store_memory_fault_commit(world->store, 0);
    turn_begin(world);
    for (struct peer *peer = world->peers; peer < world->peers + PEERS; peer++) {
        if (peer->connection)
            core_connection_close(peer->connection, "the end");
        *peer = (struct peer){0};
    }
    turn_end(world);
    for (int i = 0; i < 50; i++)
        wait(world, 100000);
    core_stats(world->core, &stats);
    CHECK(stats.connections == 0 && stats.listeners == 0 && stats.ingest_bytes_granted == 0);
    CHECK(stats.entries_in_flight == 0 || core_read_only(world->core));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script script = {data, size};
    struct world world = {.config = core_config_default(), .options = store_memory_options_default(1)};
    world.options.commit = world.options.read = world.options.flush = (struct store_memory_delay){100, 100};
    world.config.ingest_bytes_max = 64 * 1024;
    world.config.producer_window_max = 32 * 1024;
    unsigned shape = script_u8(&script);
    world.config.cache_bytes_max = shape & 1 ? 0 : 4096;
    world.now_us = 1000000;
    int rc = store_memory_open(&world.options, &world.store);
    CHECK(rc == 0);
    core_begin(&world);
    for (int step = 0; step < STEPS_MAX && !script_over(&script); step++) {
        unsigned what = script_u8(&script);
        if (what & 0x80)
            world_step(&world, what & 7, &script);
        else
            peer_step(&world, &world.peers[what & 3], what >> 2 & 15, &script);
    }
    all_leave(&world);
    if (shape & 2)
        power_cut(&world);
    struct store_memory_image *image = store_memory_crash(world.store);
    core_destroy(world.core);
    store_memory_image_destroy(image);
    return 0;
}
