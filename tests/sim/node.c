/* node.c: the broker's process: what crierd does around the core, with links for sockets and the twin for a disk.
 *
 * In:   bytes in pieces become frames as in broker/connection.c: whole ones are slices of what was received, a cut one is
 *       finished in a buffer of its own. A paused connection is not read, and the rest of what was is held.
 * Out:  what the core sends waits until the link takes it, and only then is it reported as sent.
 * Life: start → recover → ready → accept … → crash, or drain → stop. */
#include "tests/sim/sim.h"

#include "base/check.h"
#include "proto/error.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_SIZE      (64u * 1024)
#define PIECES_PER_TURN 8
#define CLOSE_LINGER_US INT64_C(5000000)
#define HALF_CLOSED_US  INT64_C(1000000)
#define AGAIN_PERMILLE  30
#define BUSY_US_MAX     300 /* a turn takes up to so long, and things gather meanwhile */

/* ---- what the core asks for ---- */

static void ops_send(void *owner, const uint8_t *head, size_t head_size, const struct slice *slices,
                     size_t slice_count)
{
    struct server *server = owner;
    size_t size = head_size;
    for (size_t i = 0; i < slice_count; i++)
        size += slices[i].size;
    ledger_down(&server->sim->ledger, server->link->number, head[6], head + FRAME_PREFIX_SIZE,
                head_size - FRAME_PREFIX_SIZE, server->sim->now_us);
    if (!tap_down(&server->tap, head, head_size, slices, slice_count)) {
        server->swallowed += size;
        return;
    }
    if (server->output_first + server->output_size + size > server->output_capacity) {
        size_t capacity = 2 * (server->output_size + size) + 1024;
        uint8_t *output = malloc(capacity);
        CHECK(output);
        if (server->output_size)
            memcpy(output, server->output + server->output_first, server->output_size);
        free(server->output);
        server->output = output;
        server->output_first = 0;
        server->output_capacity = capacity;
    }
    uint8_t *to = server->output + server->output_first + server->output_size;
    memcpy(to, head, head_size);
    to += head_size;
    for (size_t i = 0; i < slice_count; i++) {
        memcpy(to, slices[i].data, slices[i].size);
        to += slices[i].size;
    }
    server->output_size += size;
    if (server->output_size > SIM_UNSENT_MAX)
        report_add(&server->sim->report, 12, "%zu bytes wait for one connection", server->output_size);
}

static void ops_close(void *owner)
{
    struct server *server = owner;
    sim_trace(server->sim, TRACE_BROKER_CLOSES, server->link->client, 0, 0);
    ledger_leaves(&server->sim->ledger, server->link->number, server->sim->now_us);
    server->closing = true;
    server->close_by_us = server->sim->now_us + CLOSE_LINGER_US;
}

static void ops_pause(void *owner, bool paused)
{
    struct server *server = owner;
    server->paused = paused;
    if (paused)
        sim_trace(server->sim, TRACE_PAUSED, server->link->number, 0, 0);
}

static void ops_random(void *ctx, void *to, size_t size)
{
    struct sim *sim = ctx;
    uint8_t *bytes = to;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)random_next(&sim->random);
}

static void ops_log(void *ctx, enum log_level level, const char *id, const char *text)
{
    (void)ctx, (void)level, (void)id, (void)text;
}

static const struct core_ops ops = {
    .send = ops_send, .close = ops_close, .pause = ops_pause, .random = ops_random, .log = ops_log};

/* Whatever comes, the core is told the time first; a turn may begin several times before it ends. */
static void turn_begin(struct sim *sim)
{
    core_turn_begin(sim->node.core, sim->now_us, sim_wall_us(sim));
}

/* ---- connections ---- */

bool node_accepts(const struct sim *sim)
{
    return sim->node.core && sim->node.ready;
}

void node_accept(struct sim *sim, struct link *link)
{
    struct server *server = calloc(1, sizeof(*server));
    CHECK(server);
    server->sim = sim;
    server->link = link;
    tap_init(&server->tap, &sim->taps, &sim->report);
    server->close_by_us = INT64_MAX;
    turn_begin(sim);
    core_turn_begin(sim->node.core, sim->now_us, sim_wall_us(sim)); /* as the reactor does before any event */
    server->core = core_connection_open(sim->node.core, server, "simulated");
    if (!server->core) { /* out of memory: it is not taken */
        tap_finish(&server->tap);
        free(server);
        link_reset(link);
        link->broker_gone = true;
        return;
    }
    server->next = sim->node.servers;
    sim->node.servers = server;
    link->accepted = true;
    sim->node.again = true;
    sim_trace(sim, TRACE_ACCEPT, link->client, link->number, 0);
}

static void server_free(struct server *server)
{
    buffer_unref(server->frame);
    buffer_unref(server->held);
    tap_finish(&server->tap);
    free(server->output);
    free(server);
}

/* The connection is over. core: the core has to be told. */
static void server_close(struct server *server, bool core)
{
    struct sim *sim = server->sim;
    size_t torn = server->frame ? server->frame_filled : server->prefix_size;
    if (torn)
        sim_trace(sim, TRACE_TORN_FRAME, server->link->number, torn, 0);
    tap_gone(&server->tap);
    ledger_gone(&sim->ledger, server->link->number, sim->now_us);
    if (core)
        core_connection_close(server->core, "closed");
    struct server **at = &sim->node.servers;
    while (*at != server)
        at = &(*at)->next;
    *at = server->next;
    link_end(server->link, NET_DOWN, sim->now_us, &sim->random);
    server->link->broker_gone = true;
    server_free(server);
}

/* ---- in ---- */

static void bad(struct server *server, int code, const uint8_t *at, size_t size)
{
    core_connection_bad(server->core, code, at, size);
}

/* The beginning of a frame: it moves to a place of its own. */
static void remainder_keep(struct server *server, const uint8_t *at, size_t size)
{
    if (size < FRAME_PREFIX_SIZE) {
        memcpy(server->prefix, at, size);
        server->prefix_size = size;
        return;
    }
    uint64_t announced = frame_size_announced(at, size);
    if (announced > core_connection_frame_max(server->core, at[6])) {
        bad(server, WIRE_CRIER_ETOOBIG, at, size);
        return;
    }
    if (!(server->frame = buffer_create((size_t)announced))) {
        link_reset(server->link); /* as connection.c does: out of memory, the connection goes */
        return;
    }
    memcpy(server->frame->data, at, size);
    server->frame_size = (size_t)announced;
    server->frame_filled = size;
}

/* A COMMIT of long ago comes once more. */
static void commit_again(struct server *server)
{
    uint8_t *bytes;
    size_t size = tap_again(&server->tap, &bytes);
    if (size == 0)
        return;
    struct buffer *buffer = buffer_create(size);
    if (!buffer) {
        server->tap.again_waits = false;
        free(bytes);
        return;
    }
    memcpy(buffer->data, bytes, size);
    free(bytes);
    struct frame frame;
    int64_t used = frame_decode(buffer->data, size, FRAME_SIZE_MAX, &frame);
    CHECK(used == (int64_t)size);
    core_connection_frame(server->core, &frame, (struct slice){buffer, buffer->data, size});
    buffer_unref(buffer);
}

static void frames_take(struct server *server, struct buffer *buffer, size_t done, size_t size)
{
    while (done < size && !server->closing) {
        struct frame frame;
        uint8_t *at = buffer->data + done;
        int64_t used = frame_decode(at, size - done, FRAME_SIZE_MAX, &frame);
        if (used < 0) {
            bad(server, (int)used, at, size - done);
            return;
        }
        if (used == 0) {
            remainder_keep(server, at, size - done);
            return;
        }
        if (server->paused) {
            server->held = buffer_ref(buffer);
            server->held_first = done;
            server->held_end = size;
            return;
        }
        tap_up(&server->tap, &frame);
        ledger_up(&server->sim->ledger, server->link->number, &frame, server->sim->now_us);
        core_connection_frame(server->core, &frame, (struct slice){buffer, at, (size_t)used});
        done += (size_t)used;
        if (sim_chance(server->sim, AGAIN_PERMILLE) && !server->closing)
            commit_again(server);
    }
}

static void held_take(struct server *server)
{
    struct buffer *held = server->held;
    server->held = NULL;
    frames_take(server, held, server->held_first, server->held_end);
    buffer_unref(held);
}

static bool held_waits(const struct server *server)
{
    return server->held && !server->paused && !server->closing;
}

static void own_frame_done(struct server *server)
{
    struct buffer *buffer = server->frame;
    size_t size = server->frame_size;
    server->frame = NULL;
    frames_take(server, buffer, 0, size);
    buffer_unref(buffer);
}

static void feed(struct server *server, const uint8_t *bytes, size_t size)
{
    core_connection_received(server->core);
    if (server->frame) {
        size_t missing = server->frame_size - server->frame_filled, own = size < missing ? size : missing;
        memcpy(server->frame->data + server->frame_filled, bytes, own);
        server->frame_filled += own;
        bytes += own;
        size -= own;
        if (own == missing)
            own_frame_done(server);
    }
    if (size == 0 || server->closing)
        return;
    struct buffer *buffer = buffer_create(server->prefix_size + size);
    if (!buffer) {
        link_reset(server->link);
        return;
    }
    memcpy(buffer->data, server->prefix, server->prefix_size);
    memcpy(buffer->data + server->prefix_size, bytes, size);
    size += server->prefix_size;
    server->prefix_size = 0;
    frames_take(server, buffer, 0, size);
    buffer_unref(buffer);
}

/* Reads what has arrived. false: the connection is gone. */
static bool server_read(struct server *server)
{
    static uint8_t piece[PIECE_SIZE]; /* scratch: nothing in it outlives the call */
    struct sim *sim = server->sim;
    if (held_waits(server))
        held_take(server);
    for (int i = 0; i < PIECES_PER_TURN; i++) {
        if (server->paused && !server->half_closed)
            return true;
        if (server->closing && !server->half_closed)
            return true;
        world_link_call(sim, server->link);
        int64_t size = link_read(server->link, NET_UP, piece, sizeof(piece), sim->now_us, &sim->random);
        if (size < 0) {
            server_close(server, true);
            return false;
        }
        if (size == 0)
            return true;
        if (!server->half_closed)
            feed(server, piece, (size_t)size);
    }
    return true;
}

/* ---- out ---- */

static bool server_write(struct server *server)
{
    struct sim *sim = server->sim;
    world_link_call(sim, server->link);
    size_t sent = link_write(server->link, NET_DOWN, server->output + server->output_first,
                             server->output_size, sim->now_us, &sim->random);
    server->output_first += sent;
    server->output_size -= sent;
    if (server->output_size == 0)
        server->output_first = 0;
    sent += server->swallowed;
    server->swallowed = 0;
    if (sent)
        core_connection_sent(server->core, sent);
    return sent > 0;
}

/* What the core wanted to end does so. false: the connection is gone. */
static bool server_end(struct server *server)
{
    struct sim *sim = server->sim;
    if (!server->closing)
        return true;
    if (sim->now_us >= server->close_by_us) {
        server_close(server, true);
        return false;
    }
    if (server->output_size == 0 && !server->half_closed) {
        link_end(server->link, NET_DOWN, sim->now_us, &sim->random);
        server->half_closed = true;
        server->close_by_us = sim->now_us + HALF_CLOSED_US;
    }
    return true;
}

/* ---- turns ---- */

static void servers_read(struct sim *sim)
{
    struct server *next;
    for (struct server *server = sim->node.servers; server; server = next) {
        next = server->next;
        bool something = held_waits(server) || link_readable_at(server->link, NET_UP) <= sim->now_us;
        if (something && !sim_chance(sim, 100))
            server_read(server);
    }
}

static void turn_end(struct sim *sim)
{
    struct node *node = &sim->node;
    node->due_us = core_turn_end(node->core);
    bool wrote = false;
    struct server *next;
    for (struct server *server = node->servers; server; server = next) {
        next = server->next;
        if (server->output_size || server->swallowed)
            wrote |= server_write(server);
        server_end(server);
    }
    if (wrote)
        node->due_us = core_turn_end(node->core);
}

static void check_bounds(struct sim *sim)
{
    struct node *node = &sim->node;
    struct core_stats stats;
    core_stats(node->core, &stats);
    if (stats.ingest_bytes_granted > node->config.ingest_bytes_max + FRAME_SIZE_MAX)
        report_add(&sim->report, 12, "%zu bytes are granted, the budget is %zu", stats.ingest_bytes_granted,
                   node->config.ingest_bytes_max);
    if (stats.cache_bytes > node->config.cache_bytes_max)
        report_add(&sim->report, 12, "the cache pins %zu bytes, its limit is %zu", stats.cache_bytes,
                   node->config.cache_bytes_max);
    if (sim->disk.failed && !core_read_only(node->core))
        report_add(&sim->report, 14, "the disk has failed and the shard is not read-only");
}

static void node_stop(struct sim *sim)
{
    struct node *node = &sim->node;
    sim_trace(sim, TRACE_BROKER_STOP, core_drained(node->core), 0, 0);
    while (node->servers)
        server_close(node->servers, true);
    core_stop(node->core);
    disk_crash(&sim->disk);
    core_destroy(node->core);
    node->core = NULL;
}

void node_turn(struct sim *sim)
{
    struct node *node = &sim->node;
    unsigned polled_max = 1 + (unsigned)sim_below(sim, 16);
    node->again = false;
    store_memory_advance(sim->disk.inner, sim->now_us);
    turn_begin(sim);
    servers_read(sim);
    if (node->store->ops->poll(node->store, polled_max) == polled_max)
        node->again = true;
    turn_end(sim);
    check_bounds(sim);
    node->busy_until_us = sim->now_us + (int64_t)sim_below(sim, BUSY_US_MAX);
    if (!node->ready && core_ready(node->core)) {
        node->ready = true;
        sim_trace(sim, TRACE_BROKER_READY, 0, 0, 0);
    }
    if (!node->read_only && core_read_only(node->core)) {
        node->read_only = true;
        sim_trace(sim, TRACE_BROKER_READ_ONLY, 0, 0, 0);
    }
    if (node->draining && (core_drained(node->core) || sim->now_us >= node->stop_by_us))
        node_stop(sim);
}

static int64_t server_due_us(const struct server *server, int64_t now_us)
{
    int64_t due_us = server->close_by_us;
    if ((server->output_size && link_room(server->link, NET_DOWN)) || held_waits(server))
        due_us = now_us;
    if (server->half_closed || (!server->paused && !server->closing)) {
        int64_t readable_us = link_readable_at(server->link, NET_UP);
        due_us = readable_us < due_us ? readable_us : due_us;
    }
    return due_us;
}

int64_t node_due_us(const struct sim *sim)
{
    const struct node *node = &sim->node;
    if (!node->core)
        return INT64_MAX;
    int64_t due_us = node->again ? sim->now_us : node->due_us;
    int64_t store_us = store_memory_next_due(sim->disk.inner);
    if ((store_us == INT64_MAX && sim->disk.watches) || /* refused at once: finished, nobody has been told */
        sim->disk.inspect_count)
        store_us = sim->now_us;
    due_us = store_us < due_us ? store_us : due_us;
    if (node->draining && node->stop_by_us < due_us)
        due_us = node->stop_by_us;
    for (const struct server *server = node->servers; server; server = server->next) {
        int64_t server_us = server_due_us(server, sim->now_us);
        due_us = server_us < due_us ? server_us : due_us;
    }
    return due_us > node->busy_until_us ? due_us : node->busy_until_us;
}

/* ---- life ---- */

void node_start(struct sim *sim)
{
    struct node *node = &sim->node;
    char error[256] = "";
    node->store_options.seed = random_next(&sim->random);
    ledger_restart(&sim->ledger);
    node->store = disk_open(&sim->disk, &node->store_options);
    store_memory_advance(sim->disk.inner, sim->now_us);
    node->core = core_create(&node->config, &ops, sim, node->store);
    CHECK(node->core);
    int rc = core_recover(node->core, sim->now_us, sim_wall_us(sim), error, sizeof(error));
    sim_trace(sim, TRACE_BROKER_START, ++node->life, (uint64_t)rc, 0);
    if (rc < 0) { /* the run ends here */
        report_add(&sim->report, 15, "life %llu cannot begin: %s", (unsigned long long)node->life, error);
        node_crash(sim);
        return;
    }
    node->ready = node->draining = node->read_only = false;
    node->again = true;
    node->busy_until_us = sim->now_us;
}

void node_crash(struct sim *sim)
{
    struct node *node = &sim->node;
    struct core_stats stats;
    core_stats(node->core, &stats);
    sim_trace(sim, TRACE_BROKER_CRASH, stats.entries_in_flight, 0, 0);
    disk_crash(&sim->disk);
    for (struct server *server = node->servers; server; server = server->next)
        tap_gone(&server->tap);
    core_destroy(node->core); /* closes its connections by itself: nobody hears of it */
    node->core = NULL;
    while (node->servers) {
        link_reset(node->servers->link);
        server_close(node->servers, false);
    }
}

void node_drain(struct sim *sim, uint32_t ms)
{
    struct node *node = &sim->node;
    sim_trace(sim, TRACE_BROKER_DRAIN, ms, 0, 0);
    node->draining = true;
    node->stop_by_us = sim->now_us + ms * INT64_C(1000);
    node->again = true;
    turn_begin(sim);
    core_drain(node->core, ms);
}
