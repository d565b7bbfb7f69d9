/* bench_route.c: what does it cost to bring a batch to those who listen to it by a pattern?
 *
 * The broker's core alone, without sockets: 100,000 ephemeral topics, 10,000 listeners to patterns, of which ten match each
 * topic. Then batches of one event come in for topics drawn at random, and go out to ten listeners each. Prints one JSON object: CPU
 * time per batch, from the EMIT frame to ten DELIVER frames and EMITTED, and the same with nobody to deliver to: the difference is
 * finding the ten and delivering to them. Exit status 1 if not every batch came to ten. Thread: one. */
#include "base/check.h"
#include "base/random.h"
#include "broker/core/core.h"
#include "proto/batch.h"
#include "proto/crier.pb-c.h"
#include "storage/store_memory.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GROUPS   1000u /* t0.* .. t999.* */
#define TOPICS   100u  /* of each */
#define SAME     10u   /* listeners to each pattern */
#define BATCHES  200000u
#define PER_TURN 16u

struct peer {
    struct core_connection *connection;
    size_t unsent;
    uint64_t frames; /* sent to it */
    uint64_t emits;
};

static struct core *core;
static struct store *store;
static int64_t now_us = 1000000;

static void on_send(void *owner, const uint8_t *head, size_t head_size, const struct slice *slices,
                    size_t count)
{
    struct peer *peer = owner;
    (void)head;
    peer->unsent += head_size;
    peer->frames++;
    for (size_t i = 0; i < count; i++)
        peer->unsent += slices[i].size;
}

static void on_close(void *owner)
{
    (void)owner;
    CHECK(!"the core closes a connection");
}

static void on_pause(void *owner, bool paused)
{
    (void)owner, (void)paused;
}

static void on_random(void *ctx, void *to, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)to)[i] = (uint8_t)random_next(ctx);
}

static void on_log(void *ctx, enum log_level level, const char *id, const char *text)
{
    (void)ctx;
    if (level >= LOG_LEVEL_WARN)
        fprintf(stderr, "%s: %s\n", id, text);
}

static const struct core_ops ops = {
    .send = on_send, .close = on_close, .pause = on_pause, .random = on_random, .log = on_log};

/* Ends the turn, and lets the store and the sockets do what they have. */
static void turn(struct peer *peers, size_t count)
{
    (void)core_turn_end(core);
    now_us += 100;
    store_memory_advance(store, now_us);
    core_turn_begin(core, now_us, now_us);
    (void)store->ops->poll(store, UINT_MAX);
    for (size_t i = 0; i < count; i++) {
        size_t sent = peers[i].unsent;
        peers[i].unsent = 0;
        if (sent)
            core_connection_sent(peers[i].connection, sent);
    }
}

static void give(struct peer *peer, enum frame_kind kind, const ProtobufCMessage *header,
                 const uint8_t *attachment, size_t size)
{
    size_t header_size = protobuf_c_message_get_packed_size(header),
           all = FRAME_PREFIX_SIZE + header_size + size;
    struct buffer *buffer = buffer_create(all);
    struct frame frame;
    CHECK(buffer);
    frame_prefix_encode(buffer->data, kind, header_size, size);
    protobuf_c_message_pack(header, buffer->data + FRAME_PREFIX_SIZE);
    if (size)
        memcpy(buffer->data + FRAME_PREFIX_SIZE + header_size, attachment, size);
    CHECK(frame_decode(buffer->data, all, FRAME_SIZE_MAX, &frame) == (int64_t)all);
    core_connection_received(peer->connection);
    core_connection_frame(peer->connection, &frame, (struct slice){buffer, buffer->data, all});
    buffer_unref(buffer);
}

static void welcome(struct peer *peer)
{
    Wire__Hello hello = WIRE__HELLO__INIT;
    hello.version = 1;
    peer->connection = core_connection_open(core, peer, "bench");
    give(peer, FRAME_HELLO, &hello.base, NULL, 0);
}

static void topics_make(struct peer *peers)
{
    char name[32];
    for (unsigned i = 0; i < GROUPS * TOPICS; i++) {
        Wire__TopicCreate create = WIRE__TOPIC_CREATE__INIT;
        snprintf(name, sizeof(name), "t%u.%u", i / TOPICS, i % TOPICS);
        create.request = i + 1;
        create.name = name;
        create.ephemeral = true;
        give(&peers[0], FRAME_TOPIC_CREATE, &create.base, NULL, 0);
        if (i % 100 == 99)
            for (int k = 0; k < 30; k++)
                turn(peers, 2);
    }
}

static void listeners_make(struct peer *peers)
{
    char name[32];
    for (unsigned i = 0; i < GROUPS * SAME; i++) {
        Wire__Listen listen = WIRE__LISTEN__INIT;
        snprintf(name, sizeof(name), "t%u.*", i / SAME);
        listen.listener = i + 1;
        listen.topic = name;
        listen.credit = UINT64_C(1) << 60;
        give(&peers[1], FRAME_LISTEN, &listen.base, NULL, 0);
        turn(peers, 2);
    }
}

/* CPU nanoseconds per batch. Partitions are numbered from 1, in the order of their topics. */
static double batches_run(struct peer *peers, struct random *random)
{
    uint8_t memory[512];
    struct timespec from, to;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    for (unsigned i = 0; i < BATCHES; i++) {
        struct batch_builder builder;
        Wire__Emit emit = WIRE__EMIT__INIT;
        Wire__EmitPart part = WIRE__EMIT_PART__INIT, *parts = &part;
        batch_builder_init(&builder, memory, sizeof(memory));
        CHECK(batch_builder_append(&builder, 1, NULL, 0, "sixteen bytes...", 16, NULL, 0) == 0);
        part.size = (uint32_t)batch_builder_finish(&builder, -1, -1, -1);
        part.partition = 1 + random_below(random, GROUPS * TOPICS);
        emit.request = ++peers[0].emits;
        emit.durability = WIRE__DURABILITY__MEMORY;
        emit.parts = &parts;
        emit.n_parts = 1;
        give(&peers[0], FRAME_EMIT, &emit.base, memory, part.size);
        if (i % PER_TURN == PER_TURN - 1)
            turn(peers, 2);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    return ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / BATCHES;
}

int main(void)
{
    struct random random = random_seeded(1);
    struct store_memory_options options = store_memory_options_default(1);
    struct core_config config = core_config_default();
    struct peer peers[2] = {0};
    char error[256];
    CHECK(store_memory_open(&options, &store) == 0);
    CHECK((core = core_create(&config, &ops, &random, store)));
    CHECK(core_recover(core, now_us, now_us, error, sizeof(error)) == 0);
    core_turn_begin(core, now_us, now_us);
    while (!core_ready(core))
        turn(peers, 0);
    welcome(&peers[0]);
    welcome(&peers[1]);
    for (int i = 0; i < 100; i++)
        turn(peers, 2);
    topics_make(peers);
    double alone_ns = batches_run(peers, &random);
    listeners_make(peers);
    uint64_t before = peers[1].frames;
    double routed_ns = batches_run(peers, &random);
    turn(peers, 2);
    uint64_t delivered = peers[1].frames - before;
    printf("{\"topics\":%u,\"listeners\":%u,\"matching\":%u,\"batches\":%u,\"delivers\":%llu,\"cpu_ns_per_"
           "batch\":%.0f,"
           "\"cpu_ns_alone\":%.0f,\"routing_ns_per_batch\":%.0f}\n",
           GROUPS * TOPICS, GROUPS * SAME, SAME, BATCHES, (unsigned long long)delivered, routed_ns, alone_ns,
           routed_ns - alone_ns);
    core_connection_close(peers[0].connection, "done");
    core_connection_close(peers[1].connection, "done");
    return delivered <
           (uint64_t)BATCHES * SAME * 95 / 100; /* two batches for one topic in a turn share a DELIVER */
}
