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
#include "proto/frame.h"
#include "storage/store_memory.h"
#include "tests/fuzz/session_frames.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define PEERS     4
#define STEPS_MAX 200

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

static int64_t wall_us(const struct world *world)
{
    return INT64_C(1700000000000000) + world->now_us;
}

static void turn_begin(struct world *world)
{
    core_turn_begin(world->core, world->now_us, wall_us(world));
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
    int rc = core_recover(world->core, world->now_us, wall_us(world), error, sizeof(error));
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

/* ---- steps ---- */

static void peer_step(struct world *world, struct peer *peer, unsigned what, struct script *script)
{
    turn_begin(world);
    if (!peer->connection) {
        peer->connection = core_connection_open(world->core, peer, "fuzz");
        CHECK(peer->connection);
        if (what % 8 != 0) { /* mostly in order */
            peer_hello(peer, script);
            turn_end(world);
            wait(world, 10000);
            turn_begin(world);
        }
        if (!peer->connection)
            return;
    }
    peer->wall_us = wall_us(world);
    peer_say(peer, what, script);
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
    for (int i = 0; i < 10 && stats.entries_in_flight > 0; i++) { /* a schedule has just come */
        wait(world, 100000);
        core_stats(world->core, &stats);
    }
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
            peer_step(&world, &world.peers[what & 3], what >> 2 & (PEER_SAYS - 1), &script);
    }
    all_leave(&world);
    if (shape & 2)
        power_cut(&world);
    struct store_memory_image *image = store_memory_crash(world.store);
    core_destroy(world.core);
    store_memory_image_destroy(image);
    return 0;
}
