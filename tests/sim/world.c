/* world.c: a run: its plan, its scheduler, its storm of faults, and how it ends.
 *
 * Swarm testing: each run draws which faults it has at all and how often, how large everything is, how slow the disk and
 * how bad the network, so that some runs are made of nothing but one trouble, and every limit is small in some of them. */
#include "tests/sim/sim.h"

#include "base/check.h"

#include <stdlib.h>

#define READ_ALL_US INT64_C(5000000) /* a reader of everything is through by then */
#define CLOSE_US                                                                                             \
    INT64_C(5000000) /* a client that closes in order has its answers by then, once all is healed */
#define START_US        INT64_C(3000000) /* a broker with a healthy disk is ready by then */
#define RESTART_US_MAX  200000
#define OPERATOR_US_MAX 500000
#define SQUALL_TROUBLES 6
#define AMBUSH_US       5000
#define SQUALL_US       3000
#define STEPS_MAX       2000000 /* a run that goes on longer goes on for ever */

/* ---- the plan ---- */

static uint64_t pick(struct sim *sim, const uint64_t *from, size_t count)
{
    return from[sim_below(sim, count)];
}
#define PICK(sim, ...) pick(sim, (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / 8)

/* Half of the runs do not have a given fault at all. */
static unsigned rate(struct sim *sim, unsigned permille_max)
{
    return sim_chance(sim, 500) ? 0 : (unsigned)sim_below(sim, permille_max + 1);
}

/* One draw a statement, here and everywhere: compilers differ in the order in which they evaluate the others. */
static void plan_faults(struct sim *sim)
{
    struct faults *faults = &sim->plan.faults;
    faults->crash = rate(sim, 50);
    faults->drain = rate(sim, 30);
    faults->reset = rate(sim, 90);
    faults->stall = rate(sim, 60);
    faults->hang = rate(sim, 150);
    faults->vanish = rate(sim, 15);
    faults->close = rate(sim, 15);
    faults->disk_full = rate(sim, 30);
    faults->disk_slow = rate(sim, 30);
    faults->disk_commit = rate(sim, 25);
    faults->disk_flush = rate(sim, 20);
    faults->disk_read = rate(sim, 20);
    faults->clock_jump = rate(sim, 30);
}

static void plan_load(struct sim *sim)
{
    struct plan *plan = &sim->plan;
    plan->actions = 20 + (unsigned)sim_below(sim, 80);
    plan->ambush_permille = (unsigned)PICK(sim, 0, 0, 30, 100);
    plan->squall_permille = (unsigned)PICK(sim, 0, 200, 600);
    plan->action_us_max = (int64_t)PICK(sim, 200, 2000, 10000, 40000);
    plan->topics = 1 + (unsigned)sim_below(sim, SIM_TOPICS_MAX);
    plan->producers = 1 + (unsigned)sim_below(sim, 3);
    plan->listeners = 1 + (unsigned)sim_below(sim, 3);
    plan->memory_permille = (unsigned)PICK(sim, 0, 0, 100, 500);
    plan->key_permille = (unsigned)PICK(sim, 0, 300, 900);
    plan->partition_permille = (unsigned)PICK(sim, 0, 50, 500);
    plan->burst_max = (unsigned)PICK(sim, 1, 4, 20, 60);
    plan->value_max = (uint32_t)PICK(sim, 32, 100, 100, 1000, 6000);
    plan->handler_fails_permille = (unsigned)PICK(sim, 0, 0, 20, 200);
    plan->quality.capacity = (size_t)PICK(sim, 64, 700, 8192, 65536);
    plan->quality.delay_us_max = (int64_t)PICK(sim, 10, 100, 1000, 10000);
    plan->quality.us_per_kilobyte = (int64_t)PICK(sim, 0, 0, 10, 300);
    plan->quality.piece_max = (size_t)PICK(sim, 1, 40, 5000, 65536);
    if (sim_chance(sim, 30)) /* much: what is unsent, read at a time or in a frame reaches its limits */
        plan->value_max = 60000;
    if (plan->value_max >= 6000) { /* or it takes for ever */
        plan->quality.piece_max = 65536;
        plan->quality.capacity = 65536;
        plan->burst_max = plan->burst_max > 20 ? 20 : plan->burst_max;
    }
    if (plan->quality.piece_max == 1 ||
        plan->quality.capacity == 64) { /* byte by byte: little, or it takes for ever */
        plan->value_max = 40;
        plan->burst_max = plan->burst_max > 4 ? 4 : plan->burst_max;
    }
}

static void plan_broker(struct sim *sim)
{
    struct core_config *config = &sim->node.config;
    struct store_memory_options *store = &sim->node.store_options;
    *config = core_config_default();
    config->event_size_max = (uint32_t)PICK(sim, 2000, 1u << 20, 1u << 20);
    config->ingest_bytes_max = (size_t)PICK(sim, 16384, 65536, 16u << 20);
    config->producer_window_max = config->ingest_bytes_max / 2;
    config->cache_bytes_max = (size_t)PICK(sim, 0, 3000, 60000, 8u << 20);
    config->ping_interval_ms = (uint32_t)PICK(sim, 50, 500, 5000);
    config->idle_timeout_ms = 3 * config->ping_interval_ms;
    config->flush_interval_us = (int64_t)PICK(sim, 5000, 50000, 1000000);
    config->flush_log_bytes = PICK(sim, 4096, 64u << 20);
    *store = store_memory_options_default(0);
    store->commit.us_max = (int64_t)PICK(sim, 200, 2000, 20000);
    store->flush.us_max = (int64_t)PICK(sim, 300, 5000, 50000);
    store->read.us_max = (int64_t)PICK(sim, 20, 500, 5000);
    store->commit_bytes_max = (size_t)PICK(sim, 1, 4096, 8u << 20);
    if (store->commit_bytes_max < 8u << 20 && store->commit.us_max > 2000) /* slow for each: never done */
        store->commit.us_max = 2000;
}

/* A restart may come with another configuration. */
static void broker_change(struct sim *sim)
{
    if (sim_chance(sim, 200))
        sim->node.config.event_size_max = (uint32_t)PICK(sim, 60, 2000, 1u << 20);
}

static struct crier_options client_options(struct sim *sim)
{
    struct crier_options options = crier_options_default();
    options.linger_us = (int)PICK(sim, 0, 1000, 5000);
    options.batch_size_max = (size_t)PICK(sim, 1024, 8192, 262144);
    options.buffer_size_max = (size_t)PICK(sim, 16384, 32u << 20);
    options.listen_credit = (size_t)PICK(sim, 1, 2000, 50000, 4u << 20);
    options.commit_interval_ms = (int)PICK(sim, 1, 20, 100);
    options.reconnect_delay_ms_min = (int)PICK(sim, 1, 50);
    options.reconnect_delay_ms_max = (int)PICK(sim, 100, 2000);
    options.compression = (enum crier_compression)PICK(sim, CRIER_COMPRESSION_NONE, CRIER_COMPRESSION_NONE,
                                                       CRIER_COMPRESSION_LZ4, CRIER_COMPRESSION_ZSTD);
    return options;
}

/* ---- clients and listeners ---- */

static struct client *client_add(struct sim *sim)
{
    struct crier_options options = client_options(sim);
    struct client *client = client_open(sim, &options, !sim_chance(sim, 250));
    client->busy_us_max = (int64_t)PICK(sim, 50, 200, 200, 5000); /* some are slow */
    client->next = sim->clients;
    sim->clients = client;
    sim->client_count++;
    return client;
}

static void client_drop(struct sim *sim, struct client *client)
{
    struct client **at = &sim->clients;
    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
    sim->client_count--;
    client_free(client);
}

/* One of those that are alive and not closing; NULL: none. */
static struct client *client_any(struct sim *sim)
{
    struct client *found = NULL;
    uint64_t seen = 0;
    for (struct client *client = sim->clients; client; client = client->next)
        if (!client->closing && sim_below(sim, ++seen) == 0)
            found = client;
    return found;
}

static void listen_somewhere(struct sim *sim, struct client *client)
{
    struct history_listener how = {.client = client->id, .group = HISTORY_NONE};
    how.topic = (uint32_t)sim_below(sim, sim->plan.topics);
    how.from = (enum history_from)sim_below(sim, 4);
    if (sim_chance(sim, 350))
        how.group = (uint32_t)sim_below(sim, SIM_GROUPS_MAX);
    if (how.from == FROM_OFFSET)
        how.from_value = (int64_t)sim_below(sim, 30);
    else if (how.from == FROM_TIME)
        how.from_value = sim_wall_us(sim) - (int64_t)sim_below(sim, 200000);
    if (sim_chance(sim, 150))
        how.count = 1 + sim_below(sim, 5);
    size_t credit = (size_t)PICK(sim, 0, 1, 1000, 100000);
    unsigned emits_permille = sim_chance(sim, 100) ? 100 : 0;
    client_listen(client, &how, credit, sim->plan.handler_fails_permille, emits_permille);
}

static void unlisten_somewhere(struct sim *sim, struct client *client)
{
    uint64_t seen = 0;
    struct subscriber *found = NULL;
    for (struct subscriber *s = client->subscribers; s; s = s->next)
        if (s->listener && !s->unlisten_wanted && sim_below(sim, ++seen) == 0)
            found = s;
    if (found)
        client_unlisten(found);
}

static void emit_burst(struct sim *sim, struct client *client)
{
    uint32_t topic = (uint32_t)sim_below(sim, sim->plan.topics);
    for (uint64_t left = 1 + sim_below(sim, sim->plan.burst_max); left > 0; left--)
        client_emit(client, sim_chance(sim, 800) ? topic : (uint32_t)sim_below(sim, sim->plan.topics));
}

/* ---- faults ---- */

static void power_off(struct sim *sim, int64_t wait_us_max)
{
    if (sim->node.core)
        node_crash(sim);
    sim->restart_at_us = sim->now_us + (int64_t)sim_below(sim, (uint64_t)wait_us_max + 1);
}

static struct link *link_any(struct sim *sim)
{
    struct link *found = NULL;
    uint64_t seen = 0;
    for (struct link *link = sim->links; link; link = link->next)
        if (!link->broker_gone && sim_below(sim, ++seen) == 0)
            found = link;
    return found;
}

static void drain(struct sim *sim)
{
    if (sim->node.core && sim->node.ready && !sim->node.draining)
        node_drain(sim, (uint32_t)PICK(sim, 1, 50, 500));
}

static void reset(struct sim *sim, struct link *link)
{
    if (!link)
        return;
    sim_trace(sim, TRACE_LINK_RESET, link->number, link_pending(link, NET_UP), link_pending(link, NET_DOWN));
    link_reset(link);
}

static void stall(struct sim *sim, struct link *link)
{
    if (!link)
        return;
    int64_t us = (int64_t)PICK(sim, 1000, 100000, 1000000, 30000000);
    unsigned directions = 1 + (unsigned)sim_below(sim, 3);
    sim_trace(sim, TRACE_LINK_STALL, link->number, (uint64_t)us, directions);
    for (enum direction direction = NET_UP; direction <= NET_DOWN; direction++)
        if (directions & (1u << direction))
            link_stall(link, direction, sim->now_us + us);
}

static void disk_full(struct sim *sim)
{
    sim_trace(sim, TRACE_DISK_FULL, 0, 0, 0);
    store_memory_fault_full(sim->disk.inner, true);
    sim->disk_room_at_us = sim->now_us + (int64_t)PICK(sim, 500, 20000, 1000000);
}

static void disk_slow(struct sim *sim)
{
    uint64_t count = 1 + sim_below(sim, 3);
    uint64_t us = PICK(sim, 5000, 100000, 600000);
    sim_trace(sim, TRACE_DISK_SLOW, count, us, 0);
    store_memory_fault_slow(sim->disk.inner, count, (int64_t)us);
}

static void disk_breaks(struct sim *sim, enum trace_event event,
                        void (*fault)(struct store *store, uint64_t nth))
{
    uint64_t nth = 1 + sim_below(sim, 4);
    sim_trace(sim, event, nth, 0, 0);
    fault(sim->disk.inner, nth);
}

static void disk_trouble(struct sim *sim)
{
    const struct faults *faults = &sim->plan.faults;
    if (!sim->disk.inner)
        return;
    if (sim_chance(sim, faults->disk_full))
        disk_full(sim);
    if (sim_chance(sim, faults->disk_slow))
        disk_slow(sim);
    if (sim_chance(sim, faults->disk_commit))
        disk_breaks(sim, TRACE_DISK_BREAKS, store_memory_fault_commit);
    if (sim_chance(sim, faults->disk_flush))
        disk_breaks(sim, TRACE_DISK_BREAKS_FLUSH, store_memory_fault_flush);
    if (sim_chance(sim, faults->disk_read))
        disk_breaks(sim, TRACE_DISK_BREAKS_READ, store_memory_fault_read);
}

static void client_trouble(struct sim *sim)
{
    const struct faults *faults = &sim->plan.faults;
    bool vanishes = sim_chance(sim, faults->vanish);
    struct client *client = vanishes || sim_chance(sim, faults->close) ? client_any(sim) : NULL;
    if (!client)
        return;
    if (vanishes) {
        client_vanish(client);
        client_drop(sim, client);
    } else {
        client_close(client);
    }
    if (sim_chance(sim, 700))
        client_add(sim);
}

static void trouble(struct sim *sim)
{
    const struct faults *faults = &sim->plan.faults;
    uint64_t before = sim->trace.events;
    if (sim_chance(sim, faults->crash) && sim->node.core)
        power_off(sim, RESTART_US_MAX);
    else if (sim_chance(sim, faults->drain))
        drain(sim);
    if (sim_chance(sim, faults->reset))
        reset(sim, link_any(sim));
    if (sim_chance(sim, faults->stall))
        stall(sim, link_any(sim));
    if (sim_chance(sim, faults->clock_jump)) {
        int64_t ms = (int64_t)PICK(sim, 1, 1000, 3600000);
        if (sim_chance(sim, 500))
            ms = -ms;
        sim_trace(sim, TRACE_CLOCK_JUMP, (uint64_t)ms, 0, 0);
        sim->wall_offset_us += ms * 1000;
    }
    disk_trouble(sim);
    client_trouble(sim);
    if (sim->trace.events > before && !sim->squall && sim_chance(sim, sim->plan.squall_permille))
        sim->squall = 1 + (unsigned)sim_below(sim, 8);
}

/* In a squall one trouble follows the other, before anything has recovered. */
static int64_t squall(struct sim *sim)
{
    if (!sim->squall)
        return sim->plan.action_us_max;
    sim->squall--;
    for (unsigned i = 0; i < SQUALL_TROUBLES; i++)
        trouble(sim);
    return SQUALL_US;
}

/* ---- the scheduler ---- */

/* What happens by itself: power comes back, the disk gets room, links that nobody holds go. */
static int64_t world_due_us(const struct sim *sim)
{
    int64_t due_us = sim->disk_room_at_us;
    if (sim->node.core == NULL && sim->restart_at_us < due_us)
        due_us = sim->restart_at_us;
    return sim->operator_at_us < due_us ? sim->operator_at_us : due_us;
}

static void links_sweep(struct sim *sim)
{
    for (struct link **at = &sim->links; *at;) {
        struct link *link = *at;
        if (!link->client_gone || !link->broker_gone) {
            at = &link->next;
            continue;
        }
        *at = link->next;
        link_destroy(link);
    }
}

static void world_turn(struct sim *sim)
{
    if (sim->now_us >= sim->disk_room_at_us) {
        sim->disk_room_at_us = INT64_MAX;
        if (sim->disk.inner) {
            sim_trace(sim, TRACE_DISK_ROOM, 0, 0, 0);
            store_memory_fault_full(sim->disk.inner, false);
        }
    }
    if (sim->now_us >= sim->operator_at_us) {
        sim->operator_at_us = INT64_MAX;
        if (sim->node.core && sim->node.read_only)
            power_off(sim, RESTART_US_MAX);
    }
    if (!sim->node.core && sim->now_us >= sim->restart_at_us) {
        sim->restart_at_us = INT64_MAX;
        broker_change(sim);
        node_start(sim);
    }
}

/* Somebody looks after the broker: one that stopped, or whose disk failed, is started again after a while. */
static void operator_look(struct sim *sim)
{
    if (!sim->node.core && sim->restart_at_us == INT64_MAX)
        sim->restart_at_us = sim->now_us + (int64_t)sim_below(sim, RESTART_US_MAX);
    if (sim->node.core && sim->node.read_only && sim->operator_at_us == INT64_MAX)
        sim->operator_at_us = sim->now_us + (int64_t)sim_below(sim, OPERATOR_US_MAX);
}

static void clients_sweep(struct sim *sim)
{
    struct client *next;
    for (struct client *client = sim->clients; client; client = next) {
        next = client->next;
        if (client->closing && client_settled(client))
            client_drop(sim, client);
    }
}

/* Lets whoever is due have a turn, or time pass up to until_us. false: until_us is reached. */
static bool step(struct sim *sim, int64_t until_us)
{
    int64_t soonest_us = world_due_us(sim), node_us = node_due_us(sim);
    soonest_us = node_us < soonest_us ? node_us : soonest_us;
    for (struct client *client = sim->clients; client; client = client->next) {
        int64_t client_us = client_due_us(client);
        soonest_us = client_us < soonest_us ? client_us : soonest_us;
    }
    if (soonest_us > until_us) {
        sim->now_us = until_us > sim->now_us ? until_us : sim->now_us;
        return false;
    }
    if (soonest_us > sim->now_us)
        sim->now_us = soonest_us;
    uint64_t due = 0;
    struct client *client_chosen = NULL;
    bool world_chosen = world_due_us(sim) <= sim->now_us && sim_below(sim, ++due) == 0;
    bool node_chosen = node_us <= sim->now_us && sim_below(sim, ++due) == 0;
    for (struct client *client = sim->clients; client; client = client->next)
        if (client_due_us(client) <= sim->now_us && sim_below(sim, ++due) == 0)
            client_chosen = client;
    if (client_chosen)
        client_turn(client_chosen);
    else if (node_chosen)
        node_turn(sim);
    else if (world_chosen)
        world_turn(sim);
    operator_look(sim);
    clients_sweep(sim);
    links_sweep(sim);
    return true;
}

static bool steps_spent(struct sim *sim)
{
    if (sim->trace.events < STEPS_MAX)
        return false;
    report_add(&sim->report, 13, "the run does not come to an end");
    return true;
}

static void run_until(struct sim *sim, int64_t until_us)
{
    while (!steps_spent(sim) && step(sim, until_us))
        continue;
}

/* Runs until it is true, at most so long. */
static bool run_while(struct sim *sim, bool (*not_yet)(struct sim *sim), int64_t us_max)
{
    int64_t until_us = sim->now_us + us_max;
    while (not_yet(sim))
        if (steps_spent(sim) || !step(sim, until_us))
            return !not_yet(sim);
    return true;
}

/* ---- the four parts ---- */

/* What is hardest on numbers and answers: emits wait for a slow disk, their connection is lost, they are sent again while
 * the first copies are still under way, more follow, and then something else goes wrong. */
static void ambush(struct sim *sim, struct client *client)
{
    if (!sim->node.ready || !sim->node.core)
        return;
    disk_slow(sim);
    emit_burst(sim, client);
    run_until(sim, sim->now_us + (int64_t)sim_below(sim, AMBUSH_US));
    emit_burst(sim, client);
    reset(sim, client->link);
    run_until(sim, sim->now_us + (int64_t)sim_below(sim, 10 * AMBUSH_US));
    if (!sim->disk.inner)
        return;
    uint64_t what = sim_below(sim, 5);
    if (what == 0)
        disk_full(sim);
    else if (what == 1)
        disk_breaks(sim, TRACE_DISK_BREAKS, store_memory_fault_commit);
    else if (what == 2)
        reset(sim, link_any(sim));
    else if (what == 3)
        drain(sim);
}

static void storm(struct sim *sim)
{
    struct plan *plan = &sim->plan;
    for (unsigned i = 0; i < plan->producers + plan->listeners; i++)
        client_add(sim);
    for (uint32_t topic = 0; topic < plan->topics; topic++) {
        struct client *client = client_any(sim);
        uint32_t partitions = 1 + (uint32_t)sim_below(sim, SIM_PARTITIONS_MAX);
        if (sim_chance(sim, 700))
            client_create_topic(client, topic, partitions);
    }
    for (unsigned i = 0; i < plan->actions && sim->report.count == 0; i++) {
        struct client *client = client_any(sim);
        uint64_t what = sim_below(sim, 100);
        if (!client)
            client = client_add(sim);
        if (what < 70)
            emit_burst(sim, client);
        else if (what < 92)
            listen_somewhere(sim, client);
        else
            unlisten_somewhere(sim, client);
        if (sim_chance(sim, plan->ambush_permille))
            ambush(sim, client);
        trouble(sim);
        uint64_t wait_us_max = (uint64_t)squall(sim);
        run_until(sim, sim->now_us + (int64_t)sim_below(sim, wait_us_max + 1));
    }
}

static bool broker_not_ready(struct sim *sim)
{
    return !sim->node.core || !sim->node.ready || sim->node.draining;
}

static bool emits_pending(struct sim *sim)
{
    for (const struct client *client = sim->clients; client; client = client->next)
        if (client->pending || client->closing)
            return true;
    return false;
}

/* Is it one that has to reach the end? */
static bool endless(const struct subscriber *subscriber)
{
    return subscriber->listener && !subscriber->unlisten_wanted && !subscriber->counted;
}

/* Something is on its way: bytes, events that are not handled, entries that are not durable (of memory emits, say), or
 * has been so recently that more may follow. Whether everybody is where he should be is for the checker. */
static bool world_busy(struct sim *sim)
{
    struct core_stats stats;
    if (broker_not_ready(sim) || sim->disk.watches || sim->now_us - sim->progress_us < SIM_QUIET_US)
        return true;
    core_stats(sim->node.core, &stats);
    if (stats.entries_in_flight)
        return true;
    for (const struct client *client = sim->clients; client; client = client->next)
        if (!client->ready || engine_dispatch_pending(client->engine))
            return true;
    return emits_pending(sim);
}

/* Still byte by byte, if it was; yet no more a line on which nothing can be in time. */
static void quality_heal(struct net_quality *quality)
{
    quality->us_per_kilobyte = 0;
    if (quality->delay_us_max > 100)
        quality->delay_us_max = 100;
}

static void heal(struct sim *sim)
{
    sim_trace(sim, TRACE_HEAL, 0, 0, 0);
    sim->healing = true;
    sim->plan.faults = (struct faults){0};
    quality_heal(&sim->plan.quality);
    for (struct link *link = sim->links; link; link = link->next) {
        quality_heal(&link->quality);
        if (link_is_stalled(link, sim->now_us))
            sim_trace(sim, TRACE_LINK_RESUME, link->number, 0, 0);
        link_resume(link, sim->now_us);
    }
    for (struct client *client = sim->clients; client; client = client->next)
        client->busy_us_max = 200;
    sim->disk_room_at_us = INT64_MAX;
    if (sim->disk.inner) {
        store_memory_fault_full(sim->disk.inner, false);
        store_memory_fault_slow(sim->disk.inner, 0, 0);
        store_memory_fault_commit(sim->disk.inner, 0);
        store_memory_fault_flush(sim->disk.inner, 0);
        store_memory_fault_read(sim->disk.inner, 0);
    }
    if (!run_while(sim, broker_not_ready, START_US))
        report_add(&sim->report, 15, "the broker is not ready %lld ms after everything healed",
                   (long long)START_US / 1000);
}

/* What is left waits no longer than I13 says. */
static void settle(struct sim *sim)
{
    if (!run_while(sim, emits_pending, SIM_EMITS_HEAL_US)) {
        for (const struct client *client = sim->clients; client; client = client->next)
            if (client->pending || client->closing)
                report_add(&sim->report, 13,
                           "client %u waits for %llu outcomes %lld ms after everything healed", client->id,
                           (unsigned long long)client->pending, (long long)SIM_EMITS_HEAL_US / 1000);
        return;
    }
    if (!run_while(sim, world_busy, SIM_ENDS_HEAL_US))
        report_add(&sim->report, 13, "the world is not quiet %lld ms after everything healed",
                   (long long)SIM_ENDS_HEAL_US / 1000);
    sim_trace(sim, TRACE_QUIET, 0, 0, 0);
}

/* Those that are in place and without an end of their own have to have reached the end. */
static void listeners_mark(struct sim *sim)
{
    for (const struct client *client = sim->clients; client; client = client->next)
        for (const struct subscriber *s = client->subscribers; s; s = s->next)
            if (endless(s) && s->life)
                sim->history.listeners[s->index].must_end = true;
}

static bool reader_behind(struct sim *sim)
{
    for (const struct client *client = sim->clients; client; client = client->next) {
        uint64_t expected = 0;
        for (const struct subscriber *s = client->subscribers; s && client->reader; s = s->next) {
            struct crier_listener_stats stats = {0};
            if (!s->listener)
                return true; /* ended: never */
            for (uint32_t p = 0; p < sim->history.partitions[s->topic]; p++)
                expected += disk_end(&sim->disk, s->topic, p);
            engine_listener_stats(s->listener, &stats);
            if (stats.delivered < expected)
                return true;
            expected = 0;
        }
    }
    return false;
}

/* A fresh client reads everything from the beginning. */
static void read_all(struct sim *sim, uint32_t number)
{
    struct crier_options options = crier_options_default();
    sim_trace(sim, TRACE_READER, number, 0, 0);
    struct client *reader = client_open(sim, &options, true);
    reader->reader = true;
    reader->dispatch_max = 1000;
    reader->next = sim->clients;
    sim->clients = reader;
    sim->client_count++;
    for (uint32_t topic = 0; topic < sim->plan.topics; topic++) {
        struct history_listener how = {.client = reader->id,
                                       .topic = topic,
                                       .group = HISTORY_NONE,
                                       .from = FROM_EARLIEST,
                                       .truth = number};
        if (sim->history.partitions[topic])
            client_listen(reader, &how, 0, 0, 0);
    }
    if (!run_while(sim, reader_behind, READ_ALL_US))
        report_add(&sim->report, 13, "reader %u is not at the end after %lld ms", number,
                   (long long)READ_ALL_US / 1000);
    client_drop(sim, reader);
}

static void truth(struct sim *sim)
{
    read_all(sim, 1);
    if (sim_chance(sim, 500) && sim->node.ready && sim->node.core)
        node_drain(sim, 1000);
    else
        power_off(sim, 1000);
    if (sim->node.core)
        run_while(sim, broker_not_ready, START_US);
    if (!run_while(sim, broker_not_ready, START_US))
        report_add(&sim->report, 15, "the broker is not ready after the last restart");
    read_all(sim, 2);
}

static bool closing(struct sim *sim)
{
    return sim->clients != NULL;
}

static void finish(struct sim *sim)
{
    for (struct client *client = sim->clients; client; client = client->next)
        client_close(client);
    if (!run_while(sim, closing, CLOSE_US))
        report_add(&sim->report, 13, "client %u cannot close", sim->clients->id);
}

static void verdict(struct sim *sim)
{
    if (sim->node.core)
        node_crash(sim);
    checker_run(&sim->history, &sim->report);
    disk_check_state(&sim->disk, &sim->node.config);
}

static void sim_free(struct sim *sim)
{
    while (sim->clients)
        client_drop(sim, sim->clients);
    if (sim->node.core)
        node_crash(sim);
    while (sim->links) {
        struct link *link = sim->links;
        sim->links = link->next;
        link_destroy(link);
    }
    disk_finish(&sim->disk);
    history_finish(&sim->history);
    free(sim);
}

void sim_run(const struct sim_options *options, struct trace *ret_trace, struct report *ret_report)
{
    struct sim *sim = calloc(1, sizeof(*sim));
    CHECK(sim);
    sim->random = random_seeded(options->seed);
    sim->trace.print = options->print;
    sim->now_us = 1000000;
    sim->restart_at_us = sim->operator_at_us = sim->disk_room_at_us = INT64_MAX;
    history_init(&sim->history);
    disk_init(&sim->disk, &sim->trace, &sim->history, &sim->report);
    plan_faults(sim);
    plan_load(sim);
    plan_broker(sim);
    sim->node.store_options.complete_before_durable = options->plant_ack_before_commit;
    node_start(sim);
    storm(sim);
    heal(sim);
    settle(sim);
    listeners_mark(sim);
    if (sim->report.count == 0)
        truth(sim);
    if (sim->report.count == 0)
        finish(sim);
    if (sim->report.count == 0)
        verdict(sim);
    *ret_trace = sim->trace;
    *ret_report = sim->report;
    sim_free(sim);
}
