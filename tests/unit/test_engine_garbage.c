/* test_engine_garbage.c: a broker that says anything: frames right and wrong, in any order, with bytes changed.
 *
 * Promise: the engine neither crashes nor reads outside what it received (sanitizers watch), tells no emit twice, keeps
 * its memory bounded, and serves the next honest broker. */
#include "base/check.h"
#include "base/random.h"
#include "client/engine.h"
#include "proto/batch.h"
#include "proto/crier.pb-c.h"
#include "proto/frame.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS      4000
#define FRAMES      24
#define FRAME_BYTES 8192
#define EVENTS      64

struct world {
    struct engine *engine;
    struct random random;
    int64_t now;
    bool connect_wanted;
    bool up; /* between engine_connected and its end */
    unsigned connections;
    int told[EVENTS];
    int emitted;
    uint8_t read; /* of what was sent: that it can be read is the point */
};

static void on_connect(void *ctx, unsigned endpoint)
{
    (void)endpoint;
    ((struct world *)ctx)->connect_wanted = true;
}

static void on_disconnect(void *ctx)
{
    ((struct world *)ctx)->up = false;
}

static void on_connection(void *ctx, bool connected, int code, const char *text)
{
    (void)code;
    cr_assert_not_null(text);
    ((struct world *)ctx)->connections += connected;
    if (!connected)
        ((struct world *)ctx)->up = false;
}

static void on_drain(void *ctx)
{
    (void)ctx;
}

static void on_released(void *ctx, crier_listener *listener)
{
    (void)ctx, (void)listener;
}

static const struct engine_ops ops = {on_connect, on_disconnect, on_connection, on_drain, on_released};

static void on_done(crier *bus, int code, uint64_t offset, void *ctx)
{
    (void)bus, (void)code, (void)offset;
    cr_assert_eq(++*(int *)ctx, 1, "an emit was told twice");
}

static int on_event(crier *bus, const crier_event *event, void *ctx)
{
    crier_header header;
    volatile uint8_t sum = 0;
    (void)bus, (void)ctx;
    for (size_t i = 0; i < event->value_size; i++) /* every byte is there */
        sum ^= ((const uint8_t *)event->value)[i];
    for (int32_t i = 0; i < event->header_count && crier_event_header(event, i, &header) == 0; i++)
        for (size_t b = 0; b < header.value_size; b++)
            sum ^= ((const uint8_t *)header.value)[b];
    return sum % 50 == 49 ? -1 : 0;
}

static void on_answer(void *ctx, const struct engine_answer *answer)
{
    (void)ctx;
    cr_assert_not_null(answer->text);
}

/* ---- frames ---- */

static size_t frame_make(uint8_t *to, enum frame_kind kind, const void *message, const void *data,
                         size_t size)
{
    size_t header = protobuf_c_message_get_packed_size(message);
    frame_prefix_encode(to, kind, header, size);
    protobuf_c_message_pack(message, to + FRAME_PREFIX_SIZE);
    if (size)
        memcpy(to + FRAME_PREFIX_SIZE + header, data, size);
    return FRAME_PREFIX_SIZE + header + size;
}

static uint64_t small(struct world *world)
{
    return random_below(&world->random, 4);
}

static uint32_t listener_id(struct world *world)
{
    return (uint32_t)(1 + small(world)) << 20; /* how the engine numbers its first ones */
}

static size_t batch_make(struct world *world, uint8_t *to, size_t capacity)
{
    struct batch_builder builder;
    struct batch_pair header = {"h", 1, "value", 5};
    size_t size;
    batch_builder_init(&builder, to, capacity);
    for (uint64_t i = 0; i <= small(world); i++)
        CHECK(batch_builder_append(&builder, 1, "k", 1, "value", 5, &header, (size_t)small(world) % 2) == 0);
    size = batch_builder_finish(&builder, -1, -1, -1);
    batch_patch(to, (int64_t)small(world), 0);
    return size;
}

static size_t frame_deliver(struct world *world, uint8_t *to)
{
    Wire__Deliver deliver = WIRE__DELIVER__INIT;
    uint8_t batches[2048];
    size_t size = batch_make(world, batches, 1024);
    if (small(world) == 0)
        size += batch_make(world, batches + size, 1024);
    deliver.listener = listener_id(world);
    deliver.partition = small(world);
    deliver.high_watermark = small(world) * 3;
    deliver.skip_to = small(world) == 0 ? small(world) : 0;
    return frame_make(to, FRAME_DELIVER, &deliver, batches, size);
}

static size_t frame_listening(struct world *world, uint8_t *to)
{
    Wire__Listening listening = WIRE__LISTENING__INIT;
    Wire__ListenPartition partition = WIRE__LISTEN_PARTITION__INIT, *partitions[] = {&partition, &partition};
    partition.partition = small(world);
    partition.next = small(world);
    listening.listener = listener_id(world);
    listening.partitions = partitions;
    listening.n_partitions = small(world) % 3;
    listening.generation = small(world);
    return frame_make(to, FRAME_LISTENING, &listening, NULL, 0);
}

static size_t frame_topics(struct world *world, uint8_t *to)
{
    Wire__Topics topics = WIRE__TOPICS__INIT;
    Wire__TopicInfo info = WIRE__TOPIC_INFO__INIT, *infos = &info;
    Wire__PartitionInfo partition = WIRE__PARTITION_INFO__INIT,
                        *partitions[] = {&partition, &partition, &partition};
    info.name = (char *)(uintptr_t) "t";
    info.partitions = partitions;
    info.n_partitions = small(world);
    topics.request = 1 + small(world);
    topics.code = small(world) == 0 ? CRIER_EFULL : 0;
    topics.topics = &infos;
    topics.n_topics = small(world) > 0;
    topics.more = small(world) == 0;
    return frame_make(to, FRAME_TOPICS, &topics, NULL, 0);
}

static size_t frame_emitted(struct world *world, uint8_t *to)
{
    static const int codes[] = {0, CRIER_EFULL, CRIER_ESEQUENCE, CRIER_EIO, CRIER_ENOTOPIC, 77};
    Wire__Emitted emitted = WIRE__EMITTED__INIT;
    Wire__EmittedPart part = WIRE__EMITTED_PART__INIT, *parts[] = {&part, &part, &part};
    emitted.request = 1 + small(world);
    emitted.parts = parts;
    emitted.n_parts = small(world) % 4;
    part.outcome = (Wire__Outcome)small(world);
    part.code = codes[random_below(&world->random, ARRAY_SIZE(codes))];
    return frame_make(to, FRAME_EMITTED, &emitted, NULL, 0);
}

static size_t frame_welcome(uint8_t *to)
{
    Wire__Welcome welcome = WIRE__WELCOME__INIT;
    welcome.version = ENGINE_PROTOCOL_VERSION;
    welcome.producer_id = 1;
    welcome.grant = 1 << 20;
    welcome.idle_timeout_ms = 1000;
    welcome.ping_interval_ms = 300;
    return frame_make(to, FRAME_WELCOME, &welcome, NULL, 0);
}

static size_t frame_any(struct world *world, uint8_t *to)
{
    Wire__Credit credit = WIRE__CREDIT__INIT;
    Wire__Committed committed = WIRE__COMMITTED__INIT;
    Wire__Ended ended = WIRE__ENDED__INIT;
    Wire__Ping ping = WIRE__PING__INIT;
    Wire__Goaway goaway = WIRE__GOAWAY__INIT;
    Wire__Error error = WIRE__ERROR__INIT;
    switch (random_below(&world->random, 16)) {
    case 0:
        return frame_welcome(to);
    case 1:
        credit.total = small(world) * 1000000;
        return frame_make(to, FRAME_CREDIT, &credit, NULL, 0);
    case 2:
        committed.request = 1 + small(world);
        committed.code = small(world) == 0 ? CRIER_EFENCED : 0;
        return frame_make(to, FRAME_COMMITTED, &committed, NULL, 0);
    case 3:
        ended.listener = listener_id(world);
        ended.code = small(world) == 0 ? CRIER_EBUSY : small(world) == 0 ? CRIER_EIO : 0;
        return frame_make(to, FRAME_ENDED, &ended, NULL, 0);
    case 4:
        ping.nonce = small(world);
        return frame_make(to, small(world) % 2 ? FRAME_PING : FRAME_PONG, &ping, NULL, 0);
    case 5:
        goaway.deadline_ms = (uint32_t)small(world);
        return frame_make(to, small(world) ? FRAME_PING : FRAME_GOAWAY, &goaway, NULL, 0);
    case 6:
        return frame_make(to, small(world) ? FRAME_PING : FRAME_ERROR, &error, NULL, 0);
    case 7:
    case 8:
        return frame_topics(world, to);
    case 9:
    case 10:
        return frame_listening(world, to);
    case 11:
    case 12:
        return frame_emitted(world, to);
    default:
        return frame_deliver(world, to);
    }
}

/* ---- the driver ---- */

static void receive(struct world *world, const uint8_t *bytes, size_t size)
{
    while (size > 0 && world->up) {
        struct iovec space;
        size_t part = small(world) ? size : 1 + (size_t)random_below(&world->random, size);
        CHECK(engine_input(world->engine, &space) == 0);
        part = part < space.iov_len ? part : space.iov_len;
        memcpy(space.iov_base, bytes, part);
        engine_received(world->engine, part, world->now);
        bytes += part;
        size -= part;
    }
}

static void turn(struct world *world)
{
    struct iovec pieces[8];
    size_t count;
    world->now += (int64_t)small(world) * 100000;
    if (engine_due(world->engine) <= world->now)
        engine_tick(world->engine, world->now);
    if (world->connect_wanted) {
        world->connect_wanted = false;
        world->up = true;
        engine_connected(world->engine, world->now);
    }
    engine_dispatch(world->engine, 1 + (size_t)small(world), world->now);
    struct engine_progress progress = engine_collect(world->engine, world->now);
    cr_assert_leq(progress.pending_bytes, 64u * 1024);
    if (small(world) == 0)
        return; /* the network is slow */
    while ((count = engine_output(world->engine, pieces, 8, world->now)) > 0 && world->up) {
        size_t size = 0;
        for (size_t i = 0; i < count; i++) {
            for (size_t b = 0; b < pieces[i].iov_len; b++) /* the kernel would read it all */
                world->read ^= ((const uint8_t *)pieces[i].iov_base)[b];
            size += pieces[i].iov_len;
        }
        engine_output_consumed(world->engine, small(world) ? size : (size + 1) / 2);
    }
}

static void act(struct world *world)
{
    struct crier_emit_options options = crier_emit_options_default();
    bool wake;
    switch (small(world)) {
    case 0:
        if (world->emitted == EVENTS)
            return;
        options.done = on_done;
        options.ctx = &world->told[world->emitted];
        options.durability = small(world) ? CRIER_DURABLE : CRIER_MEMORY;
        options.key = small(world) ? "k" : NULL;
        options.key_size = options.key ? 1 : 0;
        world->emitted += engine_emit(world->engine, "t", "v", 1, &options, 1, &wake) == 0;
        return;
    case 1:
        engine_topic_list(world->engine, on_answer, world, world->now);
        return;
    default:
        return;
    }
}

static void listen(struct world *world, const char *group, uint64_t count)
{
    struct crier_listen_options options = crier_listen_options_default();
    crier_listener *listener;
    options.group = group;
    options.count = count;
    CHECK(engine_listener_create(world->engine, "t", &options, on_event, world, &listener) == 0);
    engine_listen(world->engine, listener);
}

static void round_run(struct world *world, uint64_t seed)
{
    struct crier_options options = crier_options_default();
    struct engine_config config = {.seed = seed, .endpoint_count = 1};
    uint8_t frame[FRAME_BYTES];
    options.batch_size_max = 1024;
    options.buffer_size_max = 64 * 1024;
    options.listen_credit = 2000;
    config.options = options;
    *world = (struct world){.random = random_seeded(seed), .now = 1000000};
    CHECK((world->engine = engine_create(&config, &ops, world)));
    engine_start(world->engine, world->now);
    listen(world, NULL, 0);
    listen(world, "g", 0);
    listen(world, NULL, 2);
    for (int i = 0; i < FRAMES; i++) {
        size_t size;
        turn(world);
        act(world);
        size = small(world) == 0 || !world->connections ? frame_welcome(frame) : frame_any(world, frame);
        for (uint64_t changes = small(world) == 0 ? 1 + small(world) : 0; changes > 0; changes--)
            frame[random_below(&world->random, size)] = (uint8_t)random_next(&world->random);
        receive(world, frame, size);
    }
}

/* After all that, an honest broker is served: it gets HELLO and is believed. */
static void honest_end(struct world *world)
{
    uint8_t frame[FRAME_BYTES];
    unsigned before;
    engine_disconnected(world->engine, world->now, CRIER_ECONNECT, "");
    world->up = false;
    while (!world->up) {
        world->now += 1000000;
        turn(world);
    }
    before = world->connections;
    receive(world, frame, frame_welcome(frame));
    cr_assert_eq(world->connections, before + 1);
}

Test(engine_garbage, whatever_a_broker_says_the_engine_serves_the_next_one)
{
    static struct world world;
    unsigned connections = 0;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        round_run(&world, seed);
        honest_end(&world);
        connections += world.connections;
        engine_emit_close(world.engine);
        engine_collect(world.engine, world.now);
        engine_drop(world.engine, CRIER_ECLOSED);
        for (int i = 0; i < world.emitted; i++)
            cr_assert_eq(world.told[i], 1, "seed %llu: event %d was told %d times", (unsigned long long)seed,
                         i, world.told[i]);
        engine_destroy(world.engine);
    }
    cr_assert_gt(connections, 2 * ROUNDS, "most conversations never began");
}
